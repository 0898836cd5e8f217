//! `cargo xtask sim` plays the simulation beyond what the tests run; `cargo xtask bugs` plants each bug of
//! `crates/machine/tests/sim/bugs.md` in a copy of the machines and shows that the simulation finds it.

use crate::long_run::{self, LongRun};
use crate::planting::{self, Hunk, planted, put};
use crate::{cargo, report, root};
use std::fmt::Write;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const BUGS: &str = "crates/machine/tests/sim/bugs.md";
const INVARIANTS: &str = "crates/machine/tests/sim/check.rs";
/// How long the simulation may run until it finds a bug, by the processor's time on each core.
const SECONDS: u64 = 10;

/// What a run of the simulation printed.
#[derive(Default)]
struct Played {
    schedules: u64,
    ms: u64,
    /// What each core ran of that: others may have run on them too.
    core_ms: u64,
    /// Seed, milliseconds, invariant and words.
    found: Option<(String, u64, String)>,
    counts: Vec<(u64, String)>,
    ok: bool,
}

impl Played {
    /// The invariant that a failure names.
    fn invariant(&self) -> Option<&str> {
        let (.., words) = self.found.as_ref()?;
        let (name, _) = words.strip_prefix('[')?.split_once(']')?;
        Some(name)
    }
}

/// Runs a built simulation; its lines are shown as they come unless `quiet`.
fn play(command: &mut Command, quiet: bool) -> io::Result<Played> {
    command.current_dir(root()).stdout(Stdio::piped());
    if quiet {
        command.env("RUST_BACKTRACE", "0").stderr(Stdio::null());
    }
    let mut child = command.spawn()?;
    let mut played = Played::default();
    for line in child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufReader::lines)
    {
        let line = line?;
        let mut words = line.splitn(4, ' ');
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
        if let Some(count) = line.strip_prefix("count: ") {
            if let Some((count, what)) = count.split_once(' ') {
                played.counts.push((number(Some(count)), what.to_owned()));
            }
        } else if line.starts_with("found: ") {
            let seed = words.nth(1).unwrap_or_default().to_owned();
            let ms = number(words.next());
            played.found = Some((seed, ms, words.next().unwrap_or_default().to_owned()));
        } else if line.contains(" schedules in ") {
            let mut words = line.split(' ');
            played.schedules = number(words.next());
            played.ms = number(words.nth(2));
            played.core_ms = number(words.nth(1));
        }
        if !quiet {
            println!("{line}");
        }
    }
    played.ok = child.wait()?.success();
    Ok(played)
}

/// The simulation with optimisations and all checks.
fn built() -> Command {
    cargo(
        "test --profile sim -p tautline-machine --test sim -- --nocapture --exact every_schedule_keeps_its_promises",
    )
}

/// `npm test` plays a fixed number of schedules; here as many as asked for. With `--write` all of them, from where the last
/// call left off, into `docs/reliability.md`; `--anew` from the first.
pub(crate) fn sim(arguments: &[String]) -> bool {
    let mut command = built();
    let (mut write, mut anew, mut seeds) = (false, false, None);
    let mut words = arguments.iter();
    while let Some(flag) = words.next() {
        let variable = match flag.as_str() {
            "--seeds" => "TAUTLINE_SCHEDULES",
            "--from" => "TAUTLINE_FIRST",
            "--seed" => "TAUTLINE_SEED",
            "--seconds" => "TAUTLINE_SECONDS",
            "--write" => {
                write = true;
                continue;
            }
            "--anew" => {
                anew = true;
                continue;
            }
            other => {
                eprintln!("sim: unknown flag {other}");
                return false;
            }
        };
        let Some(value) = words.next().and_then(|value| value.parse::<u64>().ok()) else {
            eprintln!("sim: {flag} needs a number");
            return false;
        };
        match flag.as_str() {
            "--seeds" => seeds = Some(value),
            _ if write => {
                eprintln!(
                    "sim: with --write, --seeds says how many, and the document where to go on"
                );
                return false;
            }
            _ => {}
        }
        command.env(variable, value.to_string());
    }
    let played = match (write, seeds) {
        (true, Some(seeds)) => long_run(arguments, seeds, anew),
        (true, None) => {
            eprintln!("sim: --write needs --seeds");
            return false;
        }
        (false, _) => play(&mut command, false).map(|played| played.ok),
    };
    played.unwrap_or_else(|error| {
        eprintln!("sim: {error}");
        false
    })
}

/// So many schedules in all, in parts.
fn long_run(arguments: &[String], seeds: u64, anew: bool) -> io::Result<bool> {
    let mut run = match anew {
        true => LongRun::default(),
        false => LongRun::so_far(),
    };
    while run.next() <= seeds {
        let first = run.next();
        let part = long_run::PART.min(seeds + 1 - first);
        let mut command = built();
        command
            .env("TAUTLINE_FIRST", first.to_string())
            .env("TAUTLINE_SCHEDULES", part.to_string());
        let played = play(&mut command, true)?;
        if let Some((seed, _, words)) = &played.found {
            eprintln!(
                "seed {seed} fails: {words}\nreplay it with\n  cargo xtask sim --seed {seed}"
            );
        }
        if !played.ok || played.schedules != part {
            return Ok(false);
        }
        run.passed(part, played.core_ms, &played.counts);
        run.write(arguments);
        println!("{} of {seeds}", run.next() - 1);
    }
    Ok(true)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

struct Bug {
    name: String,
    breaks: String,
    file: String,
    hunks: Vec<Hunk>,
}

/// Reads the list: under each heading a line of `Breaks:` and `In:`.
fn bugs(text: &str) -> Vec<Bug> {
    let read = planting::sections(text).into_iter().map(|section| {
        let named = |mark| section.named(mark).unwrap_or_default().to_owned();
        Bug {
            breaks: named("Breaks: "),
            file: named("In: "),
            name: section.name,
            hunks: section.hunks,
        }
    });
    read.collect()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    } else {
        put(to, &fs::read_to_string(from)?)
    }
}

/// The workspace's manifest with nothing but the two crates in it.
fn manifest() -> io::Result<String> {
    let whole = fs::read_to_string(root().join("Cargo.toml"))?;
    let mut text = String::from(
        "[workspace]\nmembers = [\"crates/protocol\", \"crates/machine\"]\nresolver = \"3\"\n",
    );
    let mut keep = false;
    for line in whole.lines() {
        if line.starts_with('[') {
            keep = line.starts_with("[workspace.") || line.starts_with("[profile.");
        }
        if keep {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

fn copy_machines(to: &Path) -> io::Result<()> {
    put(&to.join("Cargo.toml"), &manifest()?)?;
    for path in ["rust-toolchain.toml", "Cargo.lock"] {
        copy(&root().join(path), &to.join(path))?;
    }
    for name in ["protocol", "machine"] {
        let path = format!("crates/{name}");
        copy(&root().join(&path), &to.join(&path))?;
    }
    Ok(())
}

/// Builds the copy and lets the simulation run from seed 1; `Err` is a copy that does not build.
fn hunt(folder: &Path) -> Result<Played, String> {
    let inside = |arguments: &str| {
        let mut command = cargo(arguments);
        command
            .arg("--manifest-path")
            .arg(folder.join("Cargo.toml"));
        command.arg("--target-dir").arg(root().join("target"));
        // Most of the time goes into compiling: what is found, is found in the first few schedules.
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
        command
    };
    let built = inside("test --quiet --offline -p tautline-machine --test sim --no-run")
        .current_dir(root())
        .stdout(Stdio::null())
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return Err("does not build".to_owned());
    }
    let mut run = inside("test --quiet --offline -p tautline-machine --test sim");
    run.args([
        "--",
        "--nocapture",
        "--exact",
        "every_schedule_keeps_its_promises",
    ]);
    run.env("TAUTLINE_SECONDS", SECONDS.to_string());
    play(&mut run, true).map_err(|error| error.to_string())
}

/// Plants each bug in turn, or those named.
pub(crate) fn plant(arguments: &[String]) -> bool {
    let write = arguments.iter().any(|word| word == "--write");
    let only: Vec<&String> = arguments
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    match plant_all(&only, write) {
        Ok(done) => done,
        Err(error) => {
            eprintln!("bugs: {error}");
            false
        }
    }
}

fn plant_all(only: &[&String], write: bool) -> io::Result<bool> {
    let folder = root().join("target/bugs");
    let list = bugs(&fs::read_to_string(root().join(BUGS))?);
    let checks = fs::read_to_string(root().join(INVARIANTS))?;
    let mut rows = String::from(
        "| bug | in | meant to break | found by | seed | seconds |\n| --- | --- | --- | --- | ---: | ---: |\n",
    );
    let (mut failed, mut alive) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let chosen = list
        .iter()
        .filter(|bug| only.is_empty() || only.contains(&&bug.name));
    for bug in chosen {
        copy_machines(&folder)?;
        let source = fs::read_to_string(root().join(&bug.file)).unwrap_or_default();
        let ran = planted(&source, &bug.hunks).and_then(|text| {
            put(&folder.join(&bug.file), &text).map_err(|error| error.to_string())?;
            hunt(&folder)
        });
        let file = bug.file.rsplit_once("/src/").map_or("", |(_, file)| file);
        let row = match ran {
            Err(why) => Err(why),
            Ok(played) => match &played.found {
                None => Err(format!(
                    "not found in {SECONDS} s, {} schedules",
                    played.schedules
                )),
                Some((seed, ms, words)) => match played.invariant() {
                    None => Err(format!(
                        "a panic that names no invariant, at seed {seed}: {words}"
                    )),
                    Some(by) => {
                        alive.push(by.to_owned());
                        let seconds = *ms as f64 / 1000.0;
                        Ok(format!(
                            "| {} | `{file}` | {} | {by} | {seed} | {seconds:.1} |",
                            bug.name, bug.breaks
                        ))
                    }
                },
            },
        };
        match row {
            Ok(row) => {
                println!("{row}");
                let _ = writeln!(rows, "{row}");
            }
            Err(why) => {
                println!("FAILED {}: {why}", bug.name);
                failed.push(bug.name.clone());
            }
        }
    }
    if only.is_empty() {
        for name in invariants(&checks) {
            if !alive.contains(&name) {
                println!("FAILED no bug is found by {name}");
                failed.push(name);
            }
        }
    }
    println!(
        "bugs: {} planted, {} failed, {} s",
        list.len(),
        failed.len(),
        began.elapsed().as_secs()
    );
    if write && only.is_empty() && failed.is_empty() {
        let text = format!(
            "`cargo xtask bugs`: {} bugs, each found from seed 1 within {SECONDS} s of running (development profile, {} cores).\n\n{rows}",
            list.len(),
            cores()
        );
        report::section("sim-bugs", &text);
    }
    Ok(failed.is_empty())
}

/// The names in the list of invariants.
fn invariants(checks: &str) -> Vec<String> {
    let list = checks
        .split_once("pub const INVARIANTS")
        .map_or("", |(_, list)| list);
    let list = list.split_once("];").map_or("", |(list, _)| list);
    let parts = list.split("(\"").skip(1);
    parts
        .filter_map(|part| part.split_once('"').map(|(name, _)| name.to_owned()))
        .collect()
}
