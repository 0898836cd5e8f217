use tautline_machine::Time;

/// How much may come: so much a second, and so much at once. In thousandths, so that nothing is lost to rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    per_s: u64,
    most: u64,
    left: u64,
    at: Time,
}

impl Pace {
    pub(crate) fn new(per_s: u64, burst: u64, now: Time) -> Self {
        let most = burst.saturating_mul(1000);
        Self {
            per_s,
            most,
            left: most,
            at: now,
        }
    }

    /// Takes that much if it is there.
    pub(crate) fn take(&mut self, much: u64, now: Time) -> bool {
        self.left = (now - self.at)
            .saturating_mul(self.per_s)
            .saturating_add(self.left)
            .min(self.most);
        self.at = now;
        match self.left.checked_sub(much.saturating_mul(1000)) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let at = Time::from_ms;
        let mut pace = Pace::new(100, 200, at(0));
        let taken = (0..300).filter(|_| pace.take(1, at(0))).count();
        assert_eq!(taken, 200);
        assert!(!pace.take(1, at(9)) && pace.take(1, at(10)));
        assert!(!pace.take(201, at(100_000)) && pace.take(200, at(100_000)));
    }
}
