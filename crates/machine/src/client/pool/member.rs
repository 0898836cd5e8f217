//! One of the pool's connections: how it does, and how much it is trusted.

use super::super::ConnectionState;
use super::io::Place;
use crate::Time;
use tautline_protocol::Seq;

/// Failures count for this long.
const MEMORY_MS: u64 = 60_000;
/// More of them than this make it no worse.
const FAILURES: usize = 16;
/// Pings in a row that go unanswered until it is unhealthy, and that are answered until it is healthy again.
const PROOFS: u32 = 2;
/// An average takes in an eighth of each new round trip, as TCP's does (RFC 6298).
const WEIGHT: u64 = 8;
/// What a failure of the last minute weighs beside a round trip, ms.
const FAILURE_MS: u64 = 250;
/// What stands for the round trip of one that was never measured, ms.
const UNMEASURED_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not connected, and not wanted to be: a spare.
    Resting,
    Opening,
    Up,
    /// Lost or refused; it tries again by itself.
    Down,
    /// It has given up.
    Failed,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) phase: Phase,
    pub(super) healthy: bool,
    /// What the page was told.
    pub(super) told_fit: bool,
    /// Commands that it has not answered.
    pub(super) pending: usize,
    /// Where its events begin to be whole: everything after it was taken, or known already. `None` without numbers.
    pub(super) whole_from: Option<Place>,
    /// What it was last told to resume from.
    pub(super) asked: Option<Seq>,
    pub(super) missed: u32,
    proofs: u32,
    answered: bool,
    /// [`WEIGHT`] times the average, so that nothing is lost to rounding.
    latency: Option<u64>,
    failures: Vec<Time>,
}

impl Member {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Resting,
            healthy: true,
            told_fit: false,
            pending: 0,
            whole_from: None,
            asked: None,
            missed: 0,
            proofs: 0,
            answered: false,
            latency: None,
            failures: Vec::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    pub(super) fn is_fit(&self) -> bool {
        self.is_up() && self.healthy
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Down | Phase::Failed)
    }

    pub(super) fn opening(&mut self, asked: Option<Seq>) {
        self.phase = Phase::Opening;
        self.asked = asked;
    }

    pub(super) fn up(&mut self, place: Option<Place>, now: Time) {
        self.phase = Phase::Up;
        self.whole_from = place;
        self.missed = 0;
        self.proofs = 0;
        // Of the interval under way no answer is expected.
        self.answered = true;
        self.healthy |= self.failures(now) == 0;
    }

    /// It has no connection now; `failed` unless that was wanted.
    pub(super) fn over(&mut self, phase: Phase, failed: bool, now: Time) {
        self.phase = phase;
        self.whole_from = None;
        if failed {
            self.failed(now);
        }
    }

    fn failed(&mut self, now: Time) {
        self.healthy = false;
        self.proofs = 0;
        self.failures.retain(|&at| now - at < MEMORY_MS);
        if self.failures.len() < FAILURES {
            self.failures.push(now);
        }
    }

    pub(super) fn pong(&mut self, rtt_ms: u64) {
        self.latency = Some(match self.latency {
            None => rtt_ms * WEIGHT,
            Some(sum) => sum - sum / WEIGHT + rtt_ms,
        });
        self.answered = true;
        self.missed = 0;
        self.proofs += 1;
        self.healthy |= self.proofs >= PROOFS;
    }

    /// An interval is over in which it pinged.
    pub(super) fn check(&mut self, now: Time) {
        if self.is_up() && !std::mem::take(&mut self.answered) {
            self.missed += 1;
            self.proofs = 0;
            if self.missed == PROOFS {
                self.failed(now);
            }
        }
    }

    pub(super) fn latency_ms(&self) -> Option<u64> {
        self.latency.map(|sum| sum / WEIGHT)
    }

    /// Failures of the last minute.
    pub(super) fn failures(&self, now: Time) -> usize {
        let recent = |&&at: &&Time| now - at < MEMORY_MS;
        self.failures.iter().filter(recent).count()
    }

    /// How little it recommends itself.
    pub(super) fn score(&self, now: Time) -> u64 {
        self.latency_ms().unwrap_or(UNMEASURED_MS) + FAILURE_MS * self.failures(now) as u64
    }

    pub(super) fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::Resting => ConnectionState::Disconnected,
            Phase::Opening => ConnectionState::Connecting,
            Phase::Up => ConnectionState::Connected,
            Phase::Down => ConnectionState::Reconnecting,
            Phase::Failed => ConnectionState::Error,
        }
    }
}
