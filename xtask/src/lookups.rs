//! `cargo xtask lookups`: what it costs to find one of the voice sessions, by how many there are.

use crate::{report, shown};
use std::fmt::Write;

pub(crate) fn lookups(arguments: &[String]) -> bool {
    let write = match arguments {
        [] => false,
        [flag] if flag == "--write" => true,
        [other, ..] => {
            eprintln!("lookups: unknown flag {other}");
            return false;
        }
    };
    let mut text = format!(
        "`cargo xtask lookups {}`:\n\n| sessions | ns to find one |\n| ---: | ---: |\n",
        arguments.join(" ")
    );
    let passed = shown::test(
        "test -p tautline-relay --lib defect_o_n_look_up -- --nocapture",
        &[],
        "lookups: ",
        |figure| {
            if let Some((sessions, ns)) = figure.split_once(' ') {
                let _ = writeln!(text, "| {sessions} | {ns} |");
            }
        },
    );
    if passed && write {
        report::section("lookups", &text);
    }
    passed
}
