//! `cargo xtask hostile`: the hostile peers of `crates/relay/tests/hostile` in their thousands.

use crate::{report, shown};

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
    let mut storm = None;
    // One after the other: each wants the machine for itself.
    let passed = shown::test(
        "test -p tautline-relay --test hostile -- --nocapture --test-threads=1",
        &[("TAUTLINE_HOSTILE_PEERS", &peers)],
        "storm: ",
        |figures| storm = Some(figures.to_owned()),
    );
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
