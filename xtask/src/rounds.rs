//! `cargo xtask rounds`: voice sessions that die in every way there is, 150 at once, round after round.

use crate::{report, shown};
use std::fmt::Write;

const SESSIONS: &str = "150";
const ROUNDS: &str = "20";

/// What the test printed, each line behind `rounds: `.
#[derive(Default)]
struct Figures {
    took: String,
    deaths: Vec<(String, String)>,
    memory: Vec<u64>,
    trend: String,
}

impl Figures {
    fn line(&mut self, line: &str) {
        if let Some(death) = line.strip_prefix("death ") {
            if let Some((name, count)) = death.split_once(' ') {
                self.deaths.push((name.to_owned(), count.to_owned()));
            }
        } else if let Some(bytes) = line.strip_prefix("memory ") {
            self.memory.extend(bytes.parse::<u64>());
        } else if let Some(trend) = line.strip_prefix("trend ") {
            trend.clone_into(&mut self.trend);
        } else {
            line.clone_into(&mut self.took);
        }
    }

    fn text(&self, arguments: &[String]) -> String {
        let mut text = format!(
            "`cargo xtask rounds {}`: {}. After each round sessions, tasks, timers, threads and descriptors are what they were after the first.\n\n| died of | how many |\n| --- | ---: |\n",
            arguments.join(" "),
            self.took,
        );
        for (death, count) in &self.deaths {
            let _ = writeln!(text, "| {death} | {count} |");
        }
        let memory: Vec<_> = self
            .memory
            .iter()
            .map(|bytes| format!("{:.1}", *bytes as f64 / 1e6))
            .collect();
        let _ = write!(
            text,
            "\nResident memory after each round, MB: {}. Of the rounds after the tenth, by the Mann-Kendall test and the Theil-Sen slope (`crates/machine/src/trend.rs`): {}.\n",
            memory.join(", "),
            self.trend,
        );
        text
    }
}

pub(crate) fn rounds(arguments: &[String]) -> bool {
    let (mut sessions, mut rounds, mut write) = (SESSIONS.to_owned(), ROUNDS.to_owned(), false);
    let mut words = arguments.iter();
    while let Some(flag) = words.next() {
        let value = match flag.as_str() {
            "--write" => {
                write = true;
                continue;
            }
            "--sessions" => &mut sessions,
            "--rounds" => &mut rounds,
            other => {
                eprintln!("rounds: unknown flag {other}");
                return false;
            }
        };
        match words.next().filter(|text| text.parse::<u32>().is_ok()) {
            Some(text) => value.clone_from(text),
            None => {
                eprintln!("rounds: {flag} needs a number");
                return false;
            }
        }
    }
    let mut figures = Figures::default();
    let passed = shown::test(
        "test -p tautline-relay --test voice rounds:: -- --nocapture",
        &[
            ("TAUTLINE_SESSIONS", &sessions),
            ("TAUTLINE_ROUNDS", &rounds),
        ],
        "rounds: ",
        |figure| figures.line(figure),
    );
    if passed && write {
        report::section("rounds", &figures.text(arguments));
    }
    passed
}
