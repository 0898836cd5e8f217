//! Several addresses of one server (`url: string[]`): which of them the next attempt goes to.

use super::record::Fields;
use crate::Time;

/// How long a failure counts against an address.
const REMEMBERED_MS: u64 = 60_000;

/// The addresses by their place in the list; the text of each stays with the driver.
#[derive(Debug)]
pub(super) struct Addresses {
    all: Vec<Address>,
    current: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Address {
    /// In a row.
    failures: u32,
    failed_at: Option<Time>,
}

impl Address {
    fn recent_failures(&self, now: Time) -> u32 {
        match self.failed_at {
            Some(at) if now - at <= REMEMBERED_MS => self.failures,
            _ => 0,
        }
    }
}

impl Addresses {
    pub(super) fn new(count: usize) -> Self {
        Self {
            all: vec![Address::default(); count.max(1)],
            current: 0,
        }
    }

    /// The one that failed least of late; of equals the first in the list.
    pub(super) fn choose(&mut self, now: Time) -> usize {
        let best = self
            .all
            .iter()
            .enumerate()
            .min_by_key(|(_, address)| address.recent_failures(now));
        self.current = best.map_or(0, |(at, _)| at);
        self.current
    }

    /// The one in use could not be reached, or was lost.
    pub(super) fn failed(&mut self, now: Time) {
        if let Some(address) = self.all.get_mut(self.current) {
            address.failures = address.recent_failures(now).saturating_add(1);
            address.failed_at = Some(now);
        }
    }

    /// The one in use has held.
    pub(super) fn held(&mut self) {
        if let Some(address) = self.all.get_mut(self.current) {
            *address = Address::default();
        }
    }

    /// Whether there is one that has not failed of late.
    pub(super) fn has_unfailed(&self, now: Time) -> bool {
        self.all
            .iter()
            .any(|address| address.recent_failures(now) == 0)
    }

    pub(super) fn fields(&mut self, f: &mut impl Fields) {
        let mut current = self.current as u64;
        f.n(&mut current);
        self.current = usize::try_from(current).unwrap_or_default();
        for address in &mut self.all {
            f.small(&mut address.failures);
            f.at(&mut address.failed_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn the_first_that_has_not_failed_of_late_is_next() {
        let mut addresses = Addresses::new(3);
        assert_eq!(addresses.choose(at(0)), 0);
        addresses.failed(at(0));
        assert_eq!(addresses.choose(at(1)), 1);
        addresses.failed(at(1));
        assert!(addresses.has_unfailed(at(2)));
        assert_eq!(addresses.choose(at(2)), 2);
        addresses.failed(at(2));
        assert!(!addresses.has_unfailed(at(3)));
        assert_eq!(addresses.choose(at(3)), 0, "each has failed once");
        addresses.failed(at(3));
        assert_eq!(addresses.choose(at(4)), 1, "the one that failed least");
    }

    #[test]
    fn a_failure_is_forgotten_after_a_minute_and_by_a_connection_that_held() {
        let mut addresses = Addresses::new(2);
        addresses.choose(at(0));
        addresses.failed(at(0));
        assert_eq!(addresses.choose(at(REMEMBERED_MS)), 1);
        assert_eq!(addresses.choose(at(REMEMBERED_MS + 1)), 0);
        addresses.failed(at(REMEMBERED_MS + 1));
        assert_eq!(addresses.choose(at(REMEMBERED_MS + 2)), 1);
        addresses.failed(at(REMEMBERED_MS + 2));
        addresses.choose(at(REMEMBERED_MS + 3));
        addresses.held();
        assert!(addresses.has_unfailed(at(REMEMBERED_MS + 4)));
    }

    #[test]
    fn the_only_one_is_always_next() {
        let mut addresses = Addresses::new(0);
        for ms in 0..5 {
            assert_eq!(addresses.choose(at(ms)), 0);
            addresses.failed(at(ms));
            assert!(!addresses.has_unfailed(at(ms)));
        }
    }
}
