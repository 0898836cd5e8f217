//! The memory the process takes, and which way it goes.

use crate::clock::{self, Clock};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tautline_machine::trend::{Direction, Floor, Trend};

/// How often it is looked at: one small file of the system's.
const EVERY: Duration = Duration::from_secs(10);
/// The first stretches whose least value is compared; they grow as the process grows older.
const STRETCH_MS: u64 = 60_000;

/// Bytes in RAM; `None` where the system does not tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// What `GET /api/v1/diagnostics` says of it, with what that rests on.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    resident_bytes: Option<u64>,
    trend: &'static str,
    /// The floor rises, and by more than chance and caches explain.
    leak_warning: bool,
    evidence: Evidence,
}

#[derive(Debug, Serialize)]
struct Evidence {
    method: &'static str,
    bytes_per_hour: i64,
    z: f64,
    samples: u64,
    floors: usize,
    span_ms: u64,
    least_bytes: u64,
    most_bytes: u64,
}

/// Watches it for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Monitor {
    clock: Clock,
    floor: Mutex<Floor>,
}

impl Monitor {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            floor: Mutex::new(Floor::new(STRETCH_MS)),
        }
    }

    /// Never ends.
    pub(crate) async fn watch(&self) {
        let mut every = clock::interval(EVERY);
        loop {
            every.tick().await;
            if let Some(bytes) = resident_bytes() {
                let mut floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
                floor.sample(bytes as f64, self.clock.now());
            }
        }
    }

    pub(crate) fn report(&self) -> Report {
        let trend = {
            let floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
            floor.trend()
        };
        Report::of(resident_bytes(), &trend)
    }
}

impl Report {
    fn of(resident_bytes: Option<u64>, trend: &Trend) -> Self {
        let (least, most) = trend.from_to;
        Self {
            resident_bytes,
            trend: trend.direction.as_str(),
            leak_warning: trend.direction == Direction::Growing,
            evidence: Evidence {
                method: "Theil-Sen slope and Mann-Kendall test over the least value of each stretch",
                bytes_per_hour: trend.per_hour as i64,
                z: (trend.z * 100.0).round() / 100.0,
                samples: trend.samples,
                floors: trend.floors,
                span_ms: trend.span_ms,
                least_bytes: least as u64,
                most_bytes: most as u64,
            },
        }
    }
}
