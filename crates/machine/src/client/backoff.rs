//! How long to wait before the next attempt (`docs/protocol.md` §1, Backoff).

use super::record::Fields;
use crate::Rng;

/// Full jitter: each wait is drawn between 100 ms and a step that doubles up to a cap.
#[derive(Debug)]
pub(super) struct Backoff {
    step_ms: u64,
    cap_ms: u64,
    failures: u32,
}

/// The least of a jittered wait.
const FLOOR_MS: u64 = 100;

impl Backoff {
    pub(super) fn new(step_ms: u64, cap_ms: u64) -> Self {
        Self {
            step_ms: step_ms.max(FLOOR_MS),
            cap_ms: cap_ms.max(FLOOR_MS),
            failures: 0,
        }
    }

    pub(super) fn fields(&mut self, f: &mut impl Fields) {
        f.small(&mut self.failures);
    }

    /// Failures since the connection last held for long enough.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure that is retried without a wait, so that a loop of such failures does not stay without one.
    pub(super) fn count(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The wait after another failure, never less than the close code asks for; `spread_ms` takes the place of the
    /// first step after an abnormal close.
    pub(super) fn next_ms(
        &mut self,
        at_least_ms: u64,
        spread_ms: Option<u64>,
        rng: &mut Rng,
    ) -> u64 {
        self.count();
        let step = match spread_ms {
            Some(spread) if self.failures == 1 => spread,
            _ => self
                .step_ms
                .saturating_mul(1 << (self.failures - 1).min(20)),
        };
        let low = at_least_ms.max(FLOOR_MS);
        // A least wait is spread too: a relay that sheds load closes many connections in one instant.
        let high = step
            .min(self.cap_ms)
            .max(at_least_ms + at_least_ms / 4)
            .max(low);
        rng.between(low, high)
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_is_between_the_floor_and_the_capped_step(seed: u64, step in 100u64..10_000, cap in 100u64..60_000, n in 1u32..40) {
            let (mut backoff, mut rng) = (Backoff::new(step, cap), Rng::new(seed));
            for i in 1..=n {
                let wait = backoff.next_ms(0, None, &mut rng);
                let bound = step.saturating_mul(1u64 << (i - 1).min(20)).min(cap);
                prop_assert!((FLOOR_MS..=bound.max(FLOOR_MS)).contains(&wait), "{wait} of {bound}");
            }
        }

        #[test]
        fn a_least_wait_is_kept_and_spread(seed: u64, at_least in 1_000u64..70_000) {
            let wait = Backoff::new(2_000, 30_000).next_ms(at_least, None, &mut Rng::new(seed));
            prop_assert!((at_least..=(at_least + at_least / 4).max(2_000)).contains(&wait));
        }

        #[test]
        fn an_abnormal_close_spreads_the_first_return(seed: u64, spread in 500u64..20_000) {
            let wait = Backoff::new(2_000, 30_000).next_ms(0, Some(spread), &mut Rng::new(seed));
            prop_assert!((FLOOR_MS..=spread).contains(&wait));
        }
    }
}
