//! `cargo xtask faults`: the store under faults for longer than the tests do it, and what came of it.

use crate::{cargo, report, root};
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Rounds unless told otherwise.
const KILLS: u64 = 100;

/// Runs the tests of `crates/relay/tests/faults`, the killing and the cutting as often as asked for.
pub(crate) fn faults(arguments: &[String]) -> bool {
    let (mut kills, mut cuts, mut seed, mut write) = (KILLS, None, 1, false);
    let mut words = arguments.iter();
    while let Some(flag) = words.next() {
        let mut number = || words.next().and_then(|value| value.parse::<u64>().ok());
        let given = match flag.as_str() {
            "--kills" => number().map(|given| kills = given),
            "--cuts" => number().map(|given| cuts = Some(given)),
            "--seed" => number().map(|given| seed = given),
            "--write" => {
                write = true;
                Some(())
            }
            other => {
                eprintln!("faults: unknown flag {other}");
                return false;
            }
        };
        if given.is_none() {
            eprintln!("faults: {flag} needs a number");
            return false;
        }
    }
    let cuts = cuts.unwrap_or(2 * kills);
    let mut command = cargo("test -p tautline-relay --test faults -- --show-output");
    command
        .env("TAUTLINE_KILLS", kills.to_string())
        .env("TAUTLINE_CUTS", cuts.to_string())
        .env("TAUTLINE_SEED", seed.to_string())
        .current_dir(root())
        .stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("faults: cannot run cargo: {error}");
            return false;
        }
    };
    let mut figures = Vec::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            match line.strip_prefix("figure ") {
                Some(figure) => figures.push(figure.to_owned()),
                None => println!("{line}"),
            }
        }
    }
    let passed = child.wait().is_ok_and(|status| status.success());
    let table = table(figures);
    println!("\n{table}");
    if !passed {
        eprintln!("faults: FAILED, seed {seed}");
        return false;
    }
    if write {
        let text = format!(
            "`cargo xtask faults --kills {kills} --cuts {cuts} --seed {seed} --write`; what each test demands is in \
             `crates/relay/tests/faults`.\n\n{table}"
        );
        report::section("store", &text);
    }
    passed
}

/// A test's figures stay together (all but the first begin with `…`); tests end in any order.
fn table(figures: Vec<String>) -> String {
    let mut groups: Vec<Vec<String>> = Vec::new();
    for figure in figures {
        match groups.last_mut() {
            Some(group) if figure.starts_with("| … ") => group.push(figure),
            _ => groups.push(vec![figure]),
        }
    }
    groups.sort();
    let mut text = String::from("| fault | |\n|---|---:|\n");
    for figure in groups.into_iter().flatten() {
        let _ = writeln!(text, "{figure}");
    }
    text
}
