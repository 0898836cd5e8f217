use super::problem::Problem;
use crate::clock::Clock;
use crate::limit;
use crate::parse::Rate;
use crate::token::Identity;
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tautline_machine::Time;
use tautline_protocol::limits::hit;
use tautline_protocol::{NackCode, Role};

/// Time between two looks for buckets that are full again, ms.
const SWEEP_EVERY_MS: u64 = 60_000;

/// HTTP writes of one token's `sub` (`docs/operations.md`, Limits); `service` has the append queue only.
#[derive(Debug)]
pub(crate) struct Writes {
    rate: Rate,
    clock: Clock,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    buckets: HashMap<String, Bucket>,
    swept: Time,
}

impl Known {
    /// One that is full again says nothing that a fresh one does not.
    fn sweep(&mut self, rate: Rate, now: Time) {
        self.swept = now;
        let full = f64::from(rate.burst);
        self.buckets
            .retain(|_, bucket| bucket.refilled(rate, now).left < full);
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Time,
}

impl Bucket {
    fn refilled(self, rate: Rate, now: Time) -> Self {
        let more = (now - self.at) as f64 / 1000.0 * f64::from(rate.per_s);
        Self {
            left: (self.left + more).min(f64::from(rate.burst)),
            at: now,
        }
    }
}

impl Writes {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            clock: Clock::start(),
            known: Mutex::default(),
        }
    }

    /// Who has written lately.
    pub(in crate::http) fn count(&self) -> usize {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.sweep(self.rate, self.clock.now());
        known.buckets.len()
    }

    /// Takes one, or says when the next may come.
    pub(in crate::http) fn take(&self, caller: &Identity) -> Result<(), Problem> {
        if caller.role == Role::Service {
            return Ok(());
        }
        let now = self.clock.now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if now - known.swept >= SWEEP_EVERY_MS {
            known.sweep(self.rate, now);
        }
        let fresh = Bucket {
            left: f64::from(self.rate.burst),
            at: now,
        };
        let bucket = known.buckets.entry(caller.sub.clone()).or_insert(fresh);
        *bucket = bucket.refilled(self.rate, now);
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        limit::hit(hit::HTTP_WRITES);
        let wait_ms = ((1.0 - bucket.left) * 1000.0 / f64::from(self.rate.per_s)).ceil() as u64;
        let detail = format!(
            "{} writes a second, {} at once",
            self.rate.per_s, self.rate.burst
        );
        Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            NackCode::RateLimited.as_str(),
            detail,
        )
        .retry_after_ms(wait_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Scope;

    #[test]
    fn a_burst_then_the_rate_and_service_is_exempt() {
        let writes = Writes::new(Rate { per_s: 1, burst: 3 });
        let who = |role| Identity {
            sub: "s".into(),
            role,
            scope: Scope::One("r".into()),
            expires_at_ms: 0,
            issued_at_ms: None,
            order_ids: std::sync::Arc::default(),
        };
        let taken = (0..5)
            .filter(|_| writes.take(&who(Role::Server)).is_ok())
            .count();
        assert_eq!(taken, 3);
        assert!((0..100).all(|_| writes.take(&who(Role::Service)).is_ok()));
        assert_eq!(writes.count(), 1);
    }

    #[test]
    fn who_has_not_written_lately_is_forgotten() {
        let rate = Rate { per_s: 1, burst: 3 };
        let mut known = Known::default();
        for n in 0..10_000 {
            let at = Time::from_ms(n * 1_000);
            if at - known.swept >= SWEEP_EVERY_MS {
                known.sweep(rate, at);
            }
            known
                .buckets
                .insert(n.to_string(), Bucket { left: 0.0, at });
        }
        assert!(known.buckets.len() <= 64, "{}", known.buckets.len());
        known.sweep(rate, Time::from_ms(10_003_000));
        assert!(known.buckets.is_empty());
    }
}
