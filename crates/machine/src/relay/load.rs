//! Load shedding: what goes first when the relay does not keep up (`docs/operations.md`, Overload).
//!
//! A delay over its limit for 2 s raises the stage by one, another 2 s by one more; all delays under half their
//! limits for 2 s lower it by one. Between the two the stage stays.

use crate::Time;
use tautline_protocol::limits;

/// What is refused; each stage refuses what the ones before it do, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Nothing.
    #[default]
    Normal,
    /// New sockets: 503.
    Sockets,
    /// The connections furthest behind: 1013, some at a time.
    Cursors,
    /// Commands: `overloaded`.
    Commands,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Normal, Self::Sockets, Self::Cursors, Self::Commands];

    /// Its number, for a place that holds numbers only.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The stage of a number.
    pub fn of(number: u8) -> Self {
        Self::ALL
            .get(usize::from(number))
            .copied()
            .unwrap_or(Self::Commands)
    }

    fn up(self) -> Self {
        Self::of(self.number().saturating_add(1))
    }

    fn down(self) -> Self {
        Self::of(self.number().saturating_sub(1))
    }
}

/// Delays at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// How long the event loop takes to get to something that is due.
    pub loop_ms: u64,
    /// How long records have waited for their commit.
    pub commit_ms: u64,
}

impl Sample {
    fn is_over(self) -> bool {
        self.loop_ms > limits::LOOP_DELAY_MS || self.commit_ms > limits::COMMIT_DELAY_MS
    }

    fn is_calm(self) -> bool {
        self.loop_ms <= limits::LOOP_DELAY_MS / 2 && self.commit_ms <= limits::COMMIT_DELAY_MS / 2
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Load {
    stage: Stage,
    over_since: Option<Time>,
    calm_since: Option<Time>,
}

impl Load {
    /// A look at the delays; the stage from here on.
    pub fn sample(&mut self, sample: Sample, now: Time) -> Stage {
        let since = |before: Option<Time>, holds: bool| holds.then(|| before.unwrap_or(now));
        self.over_since = since(self.over_since, sample.is_over());
        self.calm_since = since(self.calm_since, sample.is_calm());
        let lasts = |since: Option<Time>| since.is_some_and(|at| now - at >= limits::OVERLOAD_MS);
        if lasts(self.over_since) {
            self.stage = self.stage.up();
            self.over_since = Some(now);
        } else if lasts(self.calm_since) {
            self.stage = self.stage.down();
            self.calm_since = Some(now);
        }
        self.stage
    }

    /// The stage in force.
    pub fn stage(&self) -> Stage {
        self.stage
    }
}

/// How many of those behind are ended in one look, of all that are connected.
pub fn cursors_to_end(connections: usize) -> usize {
    (connections / 100).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEP_MS: u64 = 100;

    /// Samples in a row; the stage after each.
    fn run(load: &mut Load, from_ms: u64, samples: &[Sample]) -> Vec<Stage> {
        let mut at = from_ms;
        let mut stages = Vec::new();
        for sample in samples {
            stages.push(load.sample(*sample, Time::from_ms(at)));
            at += STEP_MS;
        }
        stages
    }

    fn slow(loop_ms: u64, commit_ms: u64, ms: u64) -> Vec<Sample> {
        vec![Sample { loop_ms, commit_ms }; (ms / STEP_MS) as usize + 1]
    }

    #[test]
    fn at_the_limits_nothing_is_shed_and_above_either_all_in_order() {
        let at_limit = slow(limits::LOOP_DELAY_MS, limits::COMMIT_DELAY_MS, 60_000);
        let stages = run(&mut Load::default(), 0, &at_limit);
        assert!(stages.iter().all(|&stage| stage == Stage::Normal));
        for (loop_ms, commit_ms) in [
            (limits::LOOP_DELAY_MS + 1, 0),
            (0, limits::COMMIT_DELAY_MS + 1),
        ] {
            let mut load = Load::default();
            let stages = run(&mut load, 0, &slow(loop_ms, commit_ms, 10_000));
            let first = |wanted| {
                stages
                    .iter()
                    .position(|&stage| stage == wanted)
                    .map(|n| n as u64 * STEP_MS)
            };
            assert_eq!(first(Stage::Sockets), Some(limits::OVERLOAD_MS));
            assert_eq!(first(Stage::Cursors), Some(2 * limits::OVERLOAD_MS));
            assert_eq!(first(Stage::Commands), Some(3 * limits::OVERLOAD_MS));
            assert!(stages.is_sorted());
        }
    }

    #[test]
    fn a_short_delay_is_no_overload_and_calm_ends_it_a_stage_at_a_time() {
        let mut load = Load::default();
        let short = slow(limits::LOOP_DELAY_MS * 9, 0, limits::OVERLOAD_MS - STEP_MS);
        assert_eq!(run(&mut load, 0, &short).last(), Some(&Stage::Normal));
        run(&mut load, 10_000, &slow(0, 0, 0));
        run(
            &mut load,
            20_000,
            &slow(limits::LOOP_DELAY_MS * 9, 0, 60_000),
        );
        assert_eq!(load.stage(), Stage::Commands);
        // Under the limit, but not by much: it stays, or it would swing.
        let near = slow(limits::LOOP_DELAY_MS, 0, 60_000);
        assert_eq!(
            run(&mut load, 100_000, &near).last(),
            Some(&Stage::Commands)
        );
        let stages = run(
            &mut load,
            200_000,
            &slow(
                limits::LOOP_DELAY_MS / 2,
                limits::COMMIT_DELAY_MS / 2,
                10_000,
            ),
        );
        let first = |wanted| {
            stages
                .iter()
                .position(|&stage| stage == wanted)
                .map(|n| n as u64 * STEP_MS)
        };
        assert_eq!(first(Stage::Cursors), Some(limits::OVERLOAD_MS));
        assert_eq!(first(Stage::Sockets), Some(2 * limits::OVERLOAD_MS));
        assert_eq!(first(Stage::Normal), Some(3 * limits::OVERLOAD_MS));
    }

    proptest! {
        #[test]
        fn a_stage_moves_by_one_and_never_twice_within_its_time(
            samples in prop::collection::vec((0u64..400, 0u64..2_000, 1u64..1_500), 1..200),
        ) {
            let (mut load, mut now, mut moved) = (Load::default(), 0, None);
            for (loop_ms, commit_ms, wait) in samples {
                now += wait;
                let before = load.stage();
                let after = load.sample(Sample { loop_ms, commit_ms }, Time::from_ms(now));
                prop_assert!(after.number().abs_diff(before.number()) <= 1);
                prop_assert_eq!(Stage::of(after.number()), after);
                if after != before {
                    prop_assert!(moved.is_none_or(|at| now - at >= limits::OVERLOAD_MS));
                    moved = Some(now);
                }
            }
        }
    }
}
