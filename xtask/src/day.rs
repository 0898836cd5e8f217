//! `cargo xtask day` and `cargo xtask soak`: a day of restaurants before a relay whose clock is hurried, and before one whose
//! clock is not.

use crate::{report, shown};
use std::fmt::Write;

/// A day of 24 hours in four minutes: at more, a stall of the machine is longer than what a peer gets to answer in.
const PACE: &str = "360";
const DAY: &str = "1440";
const MINUTES: &str = "5";
/// Customers a minute in the busiest hour.
const BUSIEST: &str = "12";
const BUSIEST_OF_A_SOAK: &str = "60";
const COLUMNS: &str = "\
| hour | customers | sockets | voice sessions | tasks | timers | descriptors | orders | events kept | history | commands remembered | addresses, writers, secrets | logs MB | disk MB | memory MB | label sets |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

/// What the test printed, each line behind `day: `.
#[derive(Default)]
struct Figures {
    took: String,
    counts: Vec<String>,
    rows: String,
    trend: String,
}

impl Figures {
    fn line(&mut self, line: &str) {
        if let Some(row) = line.strip_prefix("row ") {
            let _ = writeln!(self.rows, "| {row} |");
        } else if let Some(count) = line.strip_prefix("count ") {
            self.counts.push(count.to_owned());
        } else if let Some(trend) = line.strip_prefix("trend ") {
            trend.clone_into(&mut self.trend);
        } else {
            line.clone_into(&mut self.took);
        }
    }

    fn text(&self, command: &str) -> String {
        format!(
            "`cargo xtask {command}`: {}. {}.\n\n{COLUMNS}{}\nFrom the twelfth hour on: {}. After the last client every count was what it was before the first.\n",
            self.took,
            self.counts.join(", "),
            self.rows,
            self.trend,
        )
    }
}

fn run(minutes: &str, pace: &str, busiest: &str) -> Option<Figures> {
    let mut figures = Figures::default();
    let passed = shown::test(
        "test -p tautline-relay --test day -- --nocapture",
        &[
            ("TAUTLINE_DAY_MINUTES", minutes),
            ("TAUTLINE_DAY_PACE", pace),
            ("TAUTLINE_DAY_BUSIEST", busiest),
        ],
        "day: ",
        |figure| figures.line(figure),
    );
    passed.then_some(figures)
}

/// 24 hours in minutes.
pub(crate) fn day(arguments: &[String]) -> bool {
    let write = match arguments {
        [] => false,
        [flag] if flag == "--write" => true,
        _ => {
            eprintln!("day: [--write]");
            return false;
        }
    };
    let Some(figures) = run(DAY, PACE, BUSIEST) else {
        return false;
    };
    if write {
        report::section("day", &figures.text("day --write"));
    }
    true
}

/// As long as is asked for, by a clock's own pace.
pub(crate) fn soak(arguments: &[String]) -> bool {
    let (mut minutes, mut write) = (MINUTES.to_owned(), false);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--write" => write = true,
            "--minutes" => match words
                .next()
                .filter(|text| text.parse::<u32>().is_ok_and(|of| of > 1))
            {
                Some(text) => minutes.clone_from(text),
                None => {
                    eprintln!("soak: --minutes needs a number from 2 on");
                    return false;
                }
            },
            other => {
                eprintln!("soak: unknown flag {other}");
                return false;
            }
        }
    }
    let Some(figures) = run(&minutes, "1", BUSIEST_OF_A_SOAK) else {
        return false;
    };
    if write {
        let command = format!("soak --minutes {minutes} --write");
        report::section("soak", &figures.text(&command));
    }
    true
}
