//! `cargo xtask hostile`: the hostile peers of `crates/relay/tests/hostile` in their thousands.

use crate::{cargo, report, root};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// As many as the relay takes at once by default, and a file limit of 20 000 lets the test have.
const PEERS: &str = "9900";

pub(crate) fn hostile(arguments: &[String]) -> bool {
    let (mut peers, mut write) = (PEERS.to_owned(), false);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--write" => write = true,
            "--peers" => match words.next().filter(|text| text.parse::<usize>().is_ok()) {
                Some(text) => peers.clone_from(text),
                None => {
                    eprintln!("hostile: --peers needs a number");
                    return false;
                }
            },
            other => {
                eprintln!("hostile: unknown flag {other}");
                return false;
            }
        }
    }
    // One after the other: each wants the machine for itself.
    let child = cargo("test -p tautline-relay --test hostile -- --nocapture --test-threads=1")
        .env("TAUTLINE_HOSTILE_PEERS", &peers)
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("hostile: cannot run cargo: {error}");
            return false;
        }
    };
    let mut storm = None;
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).lines().map_while(Result::ok))
    {
        println!("{line}");
        if let Some((_, figures)) = line.split_once("storm: ") {
            storm = Some(figures.to_owned());
        }
    }
    let passed = child.wait().is_ok_and(|status| status.success());
    match storm {
        Some(figures) if passed && write => {
            let text = format!("`cargo xtask hostile --peers {peers} --write`: {figures}.");
            report::section("storm", &text);
        }
        None => {
            eprintln!("hostile: the storm gave no figures");
            return false;
        }
        Some(_) => {}
    }
    passed
}
