//! A run of many schedules, in parts: `docs/reliability.md` holds what was played so far, and the next call goes on there.
//! So it may be broken off, and a million need not be an hour in which the machine does nothing else.

use crate::report;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

/// Schedules in a part: about a minute of two quiet cores.
pub(crate) const PART: u64 = 20_000;
const SECTION: &str = "sim-run";

/// Seeds played one after the other on one state of the code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    first: u64,
    last: u64,
    commit: String,
    core_s: u64,
}

/// What was played, and what happened in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LongRun {
    stretches: Vec<Stretch>,
    counts: BTreeMap<String, u64>,
}

impl LongRun {
    /// As the document has it.
    pub(crate) fn so_far() -> Self {
        report::read(SECTION).map_or_else(Self::default, |text| Self::parse(&text))
    }

    /// The first seed that was not played.
    pub(crate) fn next(&self) -> u64 {
        self.stretches.last().map_or(1, |stretch| stretch.last + 1)
    }

    /// Seeds from [`LongRun::next`] on have passed.
    pub(crate) fn passed(&mut self, schedules: u64, core_ms: u64, counts: &[(u64, String)]) {
        let (first, commit) = (self.next(), commit());
        let last = first + schedules - 1;
        let core_s = core_ms.div_ceil(1_000);
        match self.stretches.last_mut() {
            Some(stretch) if stretch.commit == commit => {
                stretch.last = last;
                stretch.core_s += core_s;
            }
            _ => self.stretches.push(Stretch {
                first,
                last,
                commit,
                core_s,
            }),
        }
        for (count, what) in counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
    }

    pub(crate) fn write(&self, arguments: &[String]) {
        report::section(SECTION, &self.text(arguments));
    }

    fn text(&self, arguments: &[String]) -> String {
        let (schedules, core_s) = (
            self.next() - 1,
            self.stretches.iter().map(|of| of.core_s).sum::<u64>(),
        );
        let mut text = format!(
            "`cargo xtask sim {}`: {schedules} schedules, none broke an invariant; {} a second where the simulation has both cores.\n\n| first seed | last seed | commit | seconds of each core |\n| ---: | ---: | --- | ---: |\n",
            arguments.join(" "),
            schedules / core_s.max(1),
        );
        for of in &self.stretches {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                of.first, of.last, of.commit, of.core_s
            );
        }
        text.push_str("\n| what happened | how often |\n| --- | ---: |\n");
        for (what, count) in &self.counts {
            let _ = writeln!(text, "| {what} | {count} |");
        }
        text
    }

    fn parse(text: &str) -> Self {
        let mut run = Self::default();
        for line in text.lines() {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let number = |at: usize| cells.get(at).and_then(|cell| cell.parse::<u64>().ok());
            match (cells.as_slice(), number(0), number(1), number(3)) {
                (&[_, _, commit, _], Some(first), Some(last), Some(core_s)) => {
                    run.stretches.push(Stretch {
                        first,
                        last,
                        commit: commit.to_owned(),
                        core_s,
                    });
                }
                (&[what, _], _, Some(count), _) => {
                    run.counts.insert(what.to_owned(), count);
                }
                _ => {}
            }
        }
        run
    }
}

/// The state of the code, shortened; with a word if it has changes.
fn commit() -> String {
    let said = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let name = said(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into());
    // The machines and what plays them; a document that this very run writes is no change.
    let code = [
        "status",
        "--porcelain",
        "--",
        "crates/machine",
        "crates/protocol",
    ];
    match said(&code) {
        Some(changes) if changes.is_empty() => name,
        _ => format!("{name} with changes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_gone_on_with() {
        let mut run = LongRun::default();
        assert_eq!(run.next(), 1);
        let counts = [(7, "steps".to_owned()), (2, "kills, of both".to_owned())];
        run.passed(PART, 70_400, &counts);
        run.passed(PART, 70_400, &counts);
        assert_eq!(run.next(), 2 * PART + 1);
        assert_eq!(run.stretches.len(), 1, "of one commit");
        let text = run.text(&["--seeds".into(), "1000000".into()]);
        assert_eq!(LongRun::parse(&text), run);
        assert_eq!(run.counts["steps"], 14);
        assert_eq!(LongRun::parse("Not run yet.\n").next(), 1);
    }
}
