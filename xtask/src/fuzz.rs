//! `cargo xtask fuzz`: builds the targets of `fuzz/` under libFuzzer and runs them, two at a time, for so long each.
//!
//! On stable Rust: the coverage that guides libFuzzer is an LLVM pass that any rustc can be told to run
//! (`fuzz/rustc.sh`). What a run finds interesting stays in `target/fuzz/work`, so that the next one goes on from
//! there.

use crate::{cargo, report, root, run};
use std::collections::VecDeque;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

/// The targets, as `fuzz/src/lib.rs` names them, with the longest input worth trying.
const TARGETS: [(&str, u32); 9] = [
    ("socket", 4096),
    ("auth", 2048),
    ("commands", 512),
    ("http", 4096),
    ("ws", 4096),
    ("client", 4096),
    ("voice", 2048),
    ("peer", 2048),
    ("watch", 4096),
];

/// One input that takes longer hangs.
const TIMEOUT_S: u32 = 10;
/// A target that takes more memory leaks, or lets a stranger fill it.
const MEMORY_MB: u32 = 1024;

struct Asked {
    seconds: u64,
    targets: Vec<(&'static str, u32)>,
    input: Option<PathBuf>,
    keep: bool,
    write: bool,
}

/// What a run came to.
struct Ran {
    target: &'static str,
    ok: bool,
    executions: u64,
    seconds: f64,
    /// Edges covered by the kept inputs, and at the end.
    seeds: u64,
    reached: u64,
    failure: Option<PathBuf>,
}

pub(crate) fn fuzz(arguments: &[String]) -> bool {
    let asked = match asked(arguments) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("fuzz: {why}");
            return false;
        }
    };
    let mut build = cargo("build -p tautline-fuzz --features engine --bin fuzz");
    build.env("RUSTC_WORKSPACE_WRAPPER", root().join("fuzz/rustc.sh"));
    if !run("building the targets", &mut build) {
        return false;
    }
    if let Some(input) = &asked.input {
        return replay(&asked, input);
    }
    if asked.keep {
        return asked.targets.iter().all(|&(target, _)| keep(target));
    }
    let began = Instant::now();
    let waiting = Mutex::new(VecDeque::from(asked.targets.clone()));
    let done = Mutex::new(Vec::new());
    let at_once = thread::available_parallelism().map_or(2, |cores| cores.get().min(2));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((target, longest)) =
                    waiting.lock().ok().and_then(|mut w| w.pop_front())
                {
                    let ran = one(target, longest, asked.seconds);
                    println!("{}", ran.line());
                    if let Ok(mut done) = done.lock() {
                        done.push(ran);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    let order = |ran: &Ran| TARGETS.iter().position(|(name, _)| *name == ran.target);
    done.sort_by_key(order);
    if asked.write && done.iter().all(|ran| ran.ok) {
        report::section("fuzz", &table(&done, asked.seconds));
    }
    let failed: Vec<_> = done.iter().filter(|ran| !ran.ok).collect();
    for ran in &failed {
        match &ran.failure {
            Some(input) => eprintln!(
                "{0}: FAILED; see target/fuzz/{0}.log, and again with\n  cargo xtask fuzz --input {1} {0}",
                ran.target,
                input.display()
            ),
            None => eprintln!("{0}: FAILED; see target/fuzz/{0}.log", ran.target),
        }
    }
    println!(
        "fuzz: {} passed, {} failed, {} s",
        done.len() - failed.len(),
        failed.len(),
        began.elapsed().as_secs()
    );
    failed.is_empty() && done.len() == asked.targets.len()
}

fn asked(arguments: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        seconds: 60,
        targets: Vec::new(),
        input: None,
        keep: false,
        write: false,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => {
                let seconds = words.next().and_then(|text| text.parse().ok());
                asked.seconds = seconds.ok_or("--seconds needs a number")?;
            }
            "--input" => {
                asked.input = Some(words.next().ok_or("--input needs a file")?.into());
            }
            "--keep" => asked.keep = true,
            "--write" => asked.write = true,
            name => {
                let target = TARGETS.iter().find(|(target, _)| *target == name);
                let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
                asked.targets.push(*target.ok_or_else(|| {
                    format!("there is no target {name}; there are {}", names.join(", "))
                })?);
            }
        }
    }
    if asked.input.is_some() && asked.targets.len() != 1 {
        return Err("--input needs the one target that it is for".into());
    }
    if asked.targets.is_empty() {
        asked.targets = TARGETS.to_vec();
    }
    Ok(asked)
}

fn folder() -> PathBuf {
    root().join("target/fuzz")
}

fn corpus(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

fn program(target: &str) -> Command {
    let mut command = Command::new(root().join("target/debug/fuzz"));
    command
        .env("TAUTLINE_FUZZ", target)
        .arg(format!("-timeout={TIMEOUT_S}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB}"))
        .current_dir(root());
    command
}

fn replay(asked: &Asked, input: &Path) -> bool {
    asked.targets.iter().all(|&(target, _)| {
        let mut command = program(target);
        command.arg(fs::canonicalize(input).unwrap_or_else(|_| input.to_owned()));
        run(target, &mut command)
    })
}

fn one(target: &'static str, longest: u32, seconds: u64) -> Ran {
    let work = folder().join("work").join(target);
    let failures = folder().join("failures");
    let log = folder().join(format!("{target}.log"));
    let began = Instant::now();
    let status = fs::create_dir_all(&work)
        .and_then(|()| fs::create_dir_all(&failures))
        .and_then(|()| fs::File::create(&log))
        .and_then(|file| {
            program(target)
                .arg(format!("-max_total_time={seconds}"))
                .arg(format!("-max_len={longest}"))
                .arg(format!(
                    "-dict={}",
                    root().join("fuzz/words.dict").display()
                ))
                .arg(format!("-artifact_prefix={}/{target}-", failures.display()))
                .arg("-print_final_stats=1")
                .args([&work, &corpus(target)])
                .stdout(Stdio::null())
                .stderr(file)
                .status()
        });
    let text = fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    if let Err(error) = &status {
        eprintln!("{target}: {error}");
    }
    let covered = |line: &str| after(line, "cov: ");
    Ran {
        target,
        ok: status.is_ok_and(|status| status.success()),
        executions: after(&text, "stat::number_of_executed_units: ").unwrap_or(0),
        seconds: began.elapsed().as_secs_f64(),
        seeds: text
            .lines()
            .find(|line| line.contains("INITED"))
            .and_then(covered)
            .unwrap_or(0),
        reached: text.lines().rev().find_map(covered).unwrap_or(0),
        failure: text
            .lines()
            .find_map(|line| line.split_once("Test unit written to "))
            .map(|(_, path)| path.trim().into()),
    }
}

/// The number behind the last of these words.
fn after(text: &str, words: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(words)?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

impl Ran {
    fn per_second(&self) -> u64 {
        (self.executions as f64 / self.seconds.max(0.001)) as u64
    }

    fn line(&self) -> String {
        format!(
            "{:9} {:>11} executions, {:>6}/s, edges {} → {} {}",
            self.target,
            self.executions,
            self.per_second(),
            self.seeds,
            self.reached,
            if self.ok { "" } else { "FAILED" }
        )
        .trim_end()
        .to_owned()
    }
}

/// For `docs/reliability.md`.
fn table(done: &[Ran], seconds: u64) -> String {
    let mut text = format!(
        "`cargo xtask fuzz --seconds {seconds} --write`, two targets at a time on 2 cores; no failure.\n\n\
         | target | executions | per second | edges: at the start → reached |\n|---|---:|---:|---:|\n"
    );
    for ran in done {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} → {} |",
            ran.target,
            ran.executions,
            ran.per_second(),
            ran.seeds,
            ran.reached
        );
    }
    text
}

/// Adds to the kept inputs, of all that the runs found, a few that cover what those do not.
fn keep(target: &str) -> bool {
    let work = folder().join("work").join(target);
    let mut command = program(target);
    command
        .args(["-set_cover_merge=1", "-max_len=1024"])
        .args([&corpus(target), &work])
        .stderr(Stdio::null());
    run(target, &mut command)
}
