use tautline_machine::Time;

/// How much may come: so much a second, and so much at once. One thing that is more than may come at once is taken when all
/// of that is there, and the rest of it is owed. In thousandths, so that nothing is lost to rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    per_s: u64,
    most: u64,
    left: u64,
    owed: u64,
    at: Time,
}

impl Pace {
    pub(crate) fn new(per_s: u64, burst: u64, now: Time) -> Self {
        let most = burst.saturating_mul(1000);
        Self {
            per_s,
            most,
            left: most,
            owed: 0,
            at: now,
        }
    }

    /// Takes that much if it is there.
    pub(crate) fn take(&mut self, much: u64, now: Time) -> bool {
        self.earn(now);
        let wanted = much.saturating_mul(1000);
        if wanted == 0 {
            return true;
        }
        if self.owed > 0 || self.left < wanted.min(self.most) {
            return false;
        }
        self.owed = wanted.saturating_sub(self.left);
        self.left = self.left.saturating_sub(wanted);
        true
    }

    /// How long until that much is taken, ms.
    pub(crate) fn wait_ms(&mut self, much: u64, now: Time) -> u64 {
        self.earn(now);
        let wanted = much.saturating_mul(1000).min(self.most);
        let lacks = wanted.saturating_add(self.owed).saturating_sub(self.left);
        lacks.div_ceil(self.per_s.max(1))
    }

    fn earn(&mut self, now: Time) {
        let earned = (now - self.at).saturating_mul(self.per_s);
        let kept = earned.saturating_sub(self.owed);
        self.owed = self.owed.saturating_sub(earned);
        self.left = self.left.saturating_add(kept).min(self.most);
        self.at = now;
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
        assert!(!pace.take(200, at(1_000)) && pace.take(100, at(1_010)));
    }

    #[test]
    fn more_than_a_burst_is_taken_when_a_whole_burst_is_there_and_then_owed() {
        let at = Time::from_ms;
        let mut pace = Pace::new(100, 200, at(0));
        assert!(pace.take(500, at(0)));
        // 300 are owed, and paid before anything else is taken.
        assert_eq!(pace.wait_ms(1, at(0)), 3_010);
        assert!(pace.take(0, at(0)), "nothing is no more");
        assert!(!pace.take(1, at(3_009)) && pace.take(1, at(3_010)));
        assert_eq!(pace.wait_ms(10_000, at(3_010)), 2_000);
        assert!(!pace.take(10_000, at(5_009)) && pace.take(10_000, at(5_010)));
        assert!(!pace.take(1, at(100_000)));
    }
}
