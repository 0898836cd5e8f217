//! Keeping below the relay's rate, so that a thousand queued commands leave without one refusal.

use super::record::Fields;
use crate::Time;
use tautline_protocol::limits::Limits;

/// A token bucket a little smaller and slower than the relay's: its clock is not ours, and the network bunches up
/// what left evenly.
#[derive(Debug)]
pub(super) struct Pace {
    rate_per_s: u64,
    burst_milli: u64,
    milli: u64,
    at: Time,
    blocked_until: Option<Time>,
}

impl Pace {
    pub(super) fn new(now: Time) -> Self {
        let mut pace = Self {
            rate_per_s: 1,
            burst_milli: 0,
            milli: 0,
            at: now,
            blocked_until: None,
        };
        pace.limits(Limits::default());
        pace.milli = pace.burst_milli;
        pace
    }

    pub(super) fn fields(&mut self, f: &mut impl Fields) {
        f.n(&mut self.rate_per_s);
        f.n(&mut self.burst_milli);
        f.n(&mut self.milli);
        f.time(&mut self.at);
        f.at(&mut self.blocked_until);
    }

    /// Takes over what `auth:success` advertises. What is left in the bucket stays: the relay may count by token.
    pub(super) fn limits(&mut self, limits: Limits) {
        self.rate_per_s = u64::from(limits.rate_per_s.max(1));
        self.burst_milli = (u64::from(limits.burst) * 900).max(1_000);
        self.milli = self.milli.min(self.burst_milli);
    }

    /// Takes one, or says when there will be one.
    pub(super) fn take(&mut self, now: Time) -> Result<(), Time> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(until);
            }
            self.blocked_until = None;
        }
        // 95 % of the rate: tokens per second are milli-tokens per ms.
        let refill = (now - self.at).saturating_mul(self.rate_per_s) * 95 / 100;
        if refill > 0 {
            self.milli = self.milli.saturating_add(refill).min(self.burst_milli);
            self.at = now;
        }
        if self.milli >= 1_000 {
            self.milli -= 1_000;
            return Ok(());
        }
        let missing = 1_000 - self.milli;
        Err(now + (missing * 100).div_ceil(self.rate_per_s * 95).max(1))
    }

    /// The relay refused one for its rate: nothing leaves until it says.
    pub(super) fn wait(&mut self, retry_after_ms: Option<u64>, now: Time) {
        self.milli = 0;
        self.blocked_until = Some(now + retry_after_ms.unwrap_or(1_000).clamp(100, 60_000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_stay_below_the_relays_bucket() {
        let limits = Limits::default();
        let (mut pace, mut now) = (Pace::new(Time::default()), Time::default());
        pace.limits(limits);
        let (mut theirs, mut seen) = (f64::from(limits.burst), now);
        for _ in 0..1_000 {
            while let Err(at) = pace.take(now) {
                assert!(at > now);
                now = at;
            }
            theirs = (theirs + (now - seen) as f64 * f64::from(limits.rate_per_s) / 1000.0)
                .min(f64::from(limits.burst))
                - 1.0;
            seen = now;
            assert!(theirs >= 0.0);
        }
        assert!(now.as_ms() < 60_000, "took {} ms", now.as_ms());
    }
}
