//! Which way a quantity goes, judged by all of it.
//!
//! The last sample against the first says where in its saw-tooth each was taken. What a process cannot give back is the
//! floor under the teeth: so the least value of each stretch of time is kept, and the slope is the median of the slopes
//! between any two of those (Theil 1950, Sen 1968), which a fifth of wild values does not move. Whether it is more than chance
//! is the Mann-Kendall test.

use crate::Time;

/// Stretches kept; with more, each two become one. So the span grows and the memory does not.
const STRETCHES: usize = 64;
/// Fewer floors say nothing: the test could hardly be sure of anything.
const ENOUGH: usize = 8;
/// Floors compared at most. More of them would be closer together than the teeth are, and follow one another up and down a
/// tooth, which the test would take for a trend. One more, and each two become one, which leaves enough.
const FLOORS: usize = 2 * ENOUGH - 1;
/// Two-sided 1 %. One false alarm in a hundred would be too many for what is looked at all day: the change must also be
/// [`WORTH_SAYING`].
const SURE: f64 = 2.576;
/// Of the level, over the span: less is not worth a person's time.
const WORTH_SAYING: f64 = 0.1;

#[derive(Clone, Copy, Debug)]
struct Stretch {
    began: Time,
    least_at: Time,
    least: f64,
}

/// The samples of one quantity, in bounded memory.
#[derive(Clone, Debug)]
pub struct Floor {
    stretch_ms: u64,
    kept: Vec<Stretch>,
    samples: u64,
}

/// Which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Too little is known.
    Unknown,
    /// It comes back to where it was.
    Stable,
    /// Its floor rises.
    Growing,
    /// Its floor sinks.
    Shrinking,
}

impl Direction {
    /// As reports name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stable => "stable",
            Self::Growing => "growing",
            Self::Shrinking => "shrinking",
        }
    }
}

/// The verdict, with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// The verdict.
    pub direction: Direction,
    /// Change of the floor in an hour, in units of the samples.
    pub per_hour: f64,
    /// How sure: standard deviations from what chance would give. Beyond ±2.576 chance does so once in a hundred times.
    pub z: f64,
    /// Samples it rests on.
    pub samples: u64,
    /// Floors that were compared.
    pub floors: usize,
    /// From the first to the last of them.
    pub span_ms: u64,
    /// The least and the greatest floor.
    pub from_to: (f64, f64),
}

impl Floor {
    /// Keeps the least of each `stretch_ms` at first; they grow longer as time passes.
    pub fn new(stretch_ms: u64) -> Self {
        Self {
            stretch_ms: stretch_ms.max(1),
            kept: Vec::new(),
            samples: 0,
        }
    }

    /// One sample. What is no number, or comes before the last one, is left out.
    pub fn sample(&mut self, value: f64, now: Time) {
        if !value.is_finite() {
            return;
        }
        let stretch_ms = self.stretch_ms;
        match self.kept.last_mut() {
            Some(last) if now < last.began => return,
            Some(last) if now - last.began < stretch_ms => {
                if value < last.least {
                    (last.least, last.least_at) = (value, now);
                }
            }
            _ => self.kept.push(Stretch {
                began: now,
                least_at: now,
                least: value,
            }),
        }
        self.samples += 1;
        if self.kept.len() > STRETCHES {
            self.halve();
        }
    }

    /// Each two neighbours become one, of twice the length.
    fn halve(&mut self) {
        self.stretch_ms *= 2;
        self.kept = joined(&self.kept, 2);
    }

    /// What the samples say so far. The stretch that is not over yet is left out: its floor may still come.
    pub fn trend(&self) -> Trend {
        let known = self.kept.split_last().map_or(&[][..], |(_, known)| known);
        let known = &*joined(known, known.len().div_ceil(FLOORS).max(1));
        let span_ms = match (known.first(), known.last()) {
            (Some(first), Some(last)) => last.least_at - first.least_at,
            _ => 0,
        };
        let floors = || known.iter().map(|stretch| stretch.least);
        let mut trend = Trend {
            direction: Direction::Unknown,
            per_hour: 0.0,
            z: 0.0,
            samples: self.samples,
            floors: known.len(),
            span_ms,
            from_to: (
                floors().reduce(f64::min).unwrap_or_default(),
                floors().reduce(f64::max).unwrap_or_default(),
            ),
        };
        if known.len() < ENOUGH || span_ms == 0 {
            return trend;
        }
        trend.per_hour = slope(known) * 3_600_000.0;
        trend.z = mann_kendall(known);
        let change = slope(known) * span_ms as f64;
        let level = median(floors().collect()).abs();
        trend.direction = match trend.z {
            z if z.abs() < SURE || change.abs() < level * WORTH_SAYING => Direction::Stable,
            z if z > 0.0 => Direction::Growing,
            _ => Direction::Shrinking,
        };
        trend
    }
}

/// So many neighbours become one.
fn joined(stretches: &[Stretch], many: usize) -> Vec<Stretch> {
    let one = |some: &[Stretch]| {
        let least = some.iter().min_by(|a, b| a.least.total_cmp(&b.least))?;
        Some(Stretch {
            began: some.first()?.began,
            ..*least
        })
    };
    stretches.chunks(many).filter_map(one).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.get(middle.wrapping_sub(1))) {
        (Some(&upper), Some(&lower)) if values.len().is_multiple_of(2) => {
            f64::midpoint(lower, upper)
        }
        (Some(&value), _) => value,
        _ => 0.0,
    }
}

/// Theil-Sen, a millisecond.
fn slope(floors: &[Stretch]) -> f64 {
    let slopes = pairs(floors).filter(|(a, b)| b.least_at > a.least_at);
    median(
        slopes
            .map(|(a, b)| (b.least - a.least) / (b.least_at - a.least_at) as f64)
            .collect(),
    )
}

fn pairs(floors: &[Stretch]) -> impl Iterator<Item = (&Stretch, &Stretch)> {
    floors
        .iter()
        .enumerate()
        .flat_map(move |(at, a)| floors.iter().skip(at + 1).map(move |b| (a, b)))
}

/// The test's statistic: how many more pairs rise than fall, in standard deviations, values that tie taken account of.
fn mann_kendall(floors: &[Stretch]) -> f64 {
    let score: i64 = pairs(floors)
        .map(|(a, b)| match b.least.total_cmp(&a.least) {
            std::cmp::Ordering::Greater => 1,
            std::cmp::Ordering::Less => -1,
            std::cmp::Ordering::Equal => 0,
        })
        .sum();
    let spread = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut values: Vec<f64> = floors.iter().map(|stretch| stretch.least).collect();
    values.sort_unstable_by(f64::total_cmp);
    let ties: f64 = values
        .chunk_by(|a, b| a.total_cmp(b).is_eq())
        .map(|equal| spread(equal.len() as f64))
        .sum();
    let variance = (spread(floors.len() as f64) - ties) / 18.0;
    if variance <= 0.0 {
        return 0.0;
    }
    // One pair less: the score moves in steps of two.
    (score - score.signum()) as f64 / variance.sqrt()
}

#[cfg(test)]
mod tests;
