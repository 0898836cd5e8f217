//! The developer's door: `cargo xtask <command>`. Standard library only, so that it compiles in seconds.
//!
//! What needs sockets, npm or a browser is in `scripts/` (Node), which a fresh machine can run before anything
//! is compiled; this calls it and adds what only Rust code needs.

mod faults;
mod fuzz;
mod guards;
mod hostile;
mod long_run;
mod lookups;
mod planting;
mod report;
mod rounds;
mod shown;
mod simulate;
mod sources;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const HELP: &str = "\
cargo xtask <command>
  doctor            says what is missing on this machine
  check             formatting, clippy (native and wasm), source checks, documentation; warnings are errors
  test [suite…]     npm test: native, wasm, package, e2e, or all of them
  sim [--seeds N] [--seconds N] [--from SEED] [--write] | --seed SEED
                    the simulation beyond what the tests run, or one schedule with its story;
                    prints the first seed that fails; --write puts the figures into docs/reliability.md
  bugs [--write] [name…]
                    plants each bug of crates/machine/tests/sim/bugs.md in a copy of the machines and
                    shows that the simulation finds it within 10 s
  replay FILE       plays a client's recording (recording().export()) again and prints its story
  faults [--kills N] [--cuts N] [--seed N] [--write]
                    the store under faults: 100 kills and 200 power cuts unless told otherwise;
                    --write puts the figures into docs/reliability.md
  fuzz [--seconds N] [--write] [target…]
                    hostile input, a minute for each target unless told otherwise; --write puts the
                    figures into docs/reliability.md; --input FILE target plays one input again;
                    --keep adds inputs that reach something new to fuzz/corpus
  hostile [--peers N] [--write]
                    hostile peers and the reconnect storm with ten thousand peers unless told
                    otherwise; --write puts the storm's figures into docs/reliability.md
  rounds [--sessions N] [--rounds N] [--write]
                    voice sessions that die in every way there is: 150 at once, 20 rounds unless told
                    otherwise; --write puts the figures into docs/reliability.md
  guards [--only NAME]… [--write]
                    takes away each guard of tests/guards.md in a copy of this tree and shows that a
                    test fails; --write puts the table into docs/reliability.md
  lookups [--write] what it costs to find one of 10 to 10 000 voice sessions";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = arguments
        .split_first()
        .map_or(("help", &[][..]), |(command, rest)| {
            (command.as_str(), rest)
        });
    let done = match command {
        "doctor" => run("doctor", node("scripts/setup.mjs").arg("--check")),
        "check" => check(),
        "test" => run("test", node("scripts/test.mjs").args(rest)),
        "sim" => simulate::sim(rest),
        "bugs" => simulate::plant(rest),
        "replay" => replay(rest),
        "fuzz" => fuzz::fuzz(rest),
        "faults" => faults::faults(rest),
        "hostile" => hostile::hostile(rest),
        "rounds" => rounds::rounds(rest),
        "guards" => guards::guards(rest),
        "lookups" => lookups::lookups(rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            true
        }
        other => {
            eprintln!("there is no command \"{other}\"\n{HELP}");
            false
        }
    };
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The workspace's root: the folder above this crate's.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script);
    command
}

fn cargo(arguments: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments.split_whitespace());
    command
}

/// Runs one program in the root and says how it went.
fn run(what: &str, command: &mut Command) -> bool {
    match command.current_dir(root()).status() {
        Ok(status) if status.success() => true,
        Ok(status) => {
            eprintln!("{what}: {status}");
            false
        }
        Err(error) => {
            eprintln!(
                "{what}: cannot run {}: {error}",
                command.get_program().display()
            );
            false
        }
    }
}

/// Everything is looked at, whatever fails first: one run shows all there is to mend.
fn check() -> bool {
    let began = Instant::now();
    let mut failed = Vec::new();
    let mut step = |what: &'static str, done: bool| {
        if !done {
            failed.push(what);
        }
    };
    step(
        "formatting",
        run("formatting", &mut cargo("fmt --all --check")),
    );
    step("sources", sources::check(&root()));
    step(
        "clippy",
        run(
            "clippy",
            &mut cargo(
                "clippy --quiet --keep-going --workspace --exclude tautline --all-targets -- -D warnings",
            ),
        ),
    );
    step(
        "clippy for wasm",
        run(
            "clippy for wasm",
            &mut cargo(
                "clippy --quiet --keep-going -p tautline --all-targets --target wasm32-unknown-unknown -- -D warnings",
            ),
        ),
    );
    step(
        "clippy for wasm, without voice",
        run(
            "clippy for wasm, without voice",
            &mut cargo(
                "clippy --quiet --keep-going -p tautline --no-default-features --lib --target wasm32-unknown-unknown -- -D warnings",
            ),
        ),
    );
    step(
        "documentation",
        run(
            "documentation",
            cargo("doc --quiet --workspace --exclude tautline --exclude xtask --no-deps --document-private-items")
                .env("RUSTDOCFLAGS", "-D warnings"),
        ) && run(
            "documentation for wasm",
            cargo("doc --quiet -p tautline --no-deps --document-private-items --target wasm32-unknown-unknown")
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
    );
    let seconds = began.elapsed().as_secs();
    if failed.is_empty() {
        println!(
            "check: formatting, sources, clippy (native, wasm), documentation: ok, {seconds} s"
        );
        true
    } else {
        eprintln!("check: FAILED: {}, {seconds} s", failed.join(", "));
        false
    }
}

/// Plays a client's recording again.
fn replay(arguments: &[String]) -> bool {
    let [file] = arguments else {
        eprintln!("replay: one file, please\n{HELP}");
        return false;
    };
    // Cargo runs the test in the crate's folder.
    let Ok(path) = std::path::absolute(file) else {
        eprintln!("replay: {file} is no path");
        return false;
    };
    let mut command = cargo("test -q -p tautline-machine --test replay given -- --nocapture");
    command.env("TAUTLINE_RECORDING", path);
    run("replay", &mut command)
}
