//! `cargo xtask sim` plays the simulation beyond what the tests run.

use crate::long_run::{self, LongRun};
use crate::{cargo, root};
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

/// What a run of the simulation printed.
#[derive(Default)]
pub(crate) struct Played {
    pub(crate) schedules: u64,
    ms: u64,
    /// What each core ran of that: others may have run on them too.
    core_ms: u64,
    /// Seed, milliseconds, invariant and words.
    pub(crate) found: Option<(String, u64, String)>,
    counts: Vec<(u64, String)>,
    ok: bool,
}

impl Played {
    /// The invariant that a failure names.
    pub(crate) fn invariant(&self) -> Option<&str> {
        let (.., words) = self.found.as_ref()?;
        let (name, _) = words.strip_prefix('[')?.split_once(']')?;
        Some(name)
    }
}

/// Runs a built simulation; its lines are shown as they come unless `quiet`.
pub(crate) fn play(command: &mut Command, quiet: bool) -> io::Result<Played> {
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
