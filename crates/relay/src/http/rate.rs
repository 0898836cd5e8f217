use super::problem::Problem;
use crate::limit;
use crate::parse::Rate;
use crate::token::Identity;
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tautline_protocol::limits::hit;
use tautline_protocol::{NackCode, Role};

/// Buckets kept; those that are full again go first when there are more.
const MANY: usize = 4096;

/// HTTP writes of one token's `sub` (`docs/operations.md`, Limits); `service` has the append queue only.
#[derive(Debug)]
pub(crate) struct Writes {
    rate: Rate,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn refilled(self, rate: Rate, now: Instant) -> Self {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(rate.per_s);
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
            buckets: Mutex::default(),
        }
    }

    /// Takes one, or says when the next may come.
    pub(in crate::http) fn take(&self, caller: &Identity) -> Result<(), Problem> {
        if caller.role == Role::Service {
            return Ok(());
        }
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY {
            let full = f64::from(self.rate.burst);
            buckets.retain(|_, bucket| bucket.refilled(self.rate, now).left < full);
        }
        let fresh = Bucket {
            left: f64::from(self.rate.burst),
            at: now,
        };
        let bucket = buckets.entry(caller.sub.clone()).or_insert(fresh);
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
    }
}
