use crate::Time;

/// A rate with a burst, in one number (the generic cell rate algorithm): when the bucket would be full again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    interval_us: u64,
    burst: u64,
    full_at_us: u64,
}

impl Rate {
    pub(super) fn new(per_s: u32, burst: u32) -> Self {
        Self::every(1_000_000 / u64::from(per_s.max(1)), burst)
    }

    pub(super) fn per_minute(per_min: u32, burst: u32) -> Self {
        Self::every(60_000_000 / u64::from(per_min.max(1)), burst)
    }

    fn every(interval_us: u64, burst: u32) -> Self {
        Self {
            interval_us,
            burst: u64::from(burst.max(1)),
            full_at_us: 0,
        }
    }

    /// Takes one, or says how many milliseconds until there is one.
    pub(super) fn take(&mut self, now: Time) -> Result<(), u64> {
        self.has(now)?;
        let now = now.as_ms() * 1000;
        self.full_at_us = self.full_at_us.max(now) + self.interval_us;
        Ok(())
    }

    /// Whether one could be taken.
    pub(super) fn has(&self, now: Time) -> Result<(), u64> {
        let now = now.as_ms() * 1000;
        let most = self.interval_us * (self.burst - 1);
        match (self.full_at_us.max(now) - now).checked_sub(most) {
            Some(over) if over > 0 => Err(over.div_ceil(1000)),
            _ => Ok(()),
        }
    }

    /// Whether nothing has been taken for so long that it is as good as new.
    pub(super) fn is_full(&self, now: Time) -> bool {
        self.full_at_us <= now.as_ms() * 1000
    }
}
