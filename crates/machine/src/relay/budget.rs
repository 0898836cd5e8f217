//! What orders and events may weigh: the live set of a restaurant, the tails of all (`docs/protocol.md`, Limits).

use crate::Time;
use std::collections::BTreeMap;
use tautline_protocol::order::Order;

/// The live set as a log judges it, committed plus pending: how many orders, how many bytes of JSON.
#[derive(Debug, Default)]
pub(super) struct Weight {
    sizes: BTreeMap<String, usize>,
    bytes: usize,
}

impl Weight {
    pub(super) fn of<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Self {
        let mut weight = Self::default();
        for order in orders {
            weight.set(&order.id, Some(order));
        }
        weight
    }

    /// An order is there now, or is not any more.
    pub(super) fn set(&mut self, id: &str, order: Option<&Order>) {
        let now = order.map(|order| order.wire().len());
        let before = match now {
            Some(size) => self.sizes.insert(id.to_owned(), size),
            None => self.sizes.remove(id),
        };
        self.bytes = self.bytes + now.unwrap_or(0) - before.unwrap_or(0);
    }

    /// How many bytes there would be with this order in place of the one of its id.
    pub(super) fn with(&self, order: &Order) -> usize {
        self.bytes + order.wire().len() - self.sizes.get(&order.id).copied().unwrap_or(0)
    }

    pub(super) fn count(&self) -> usize {
        self.sizes.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a restaurant's events weigh in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail<K> {
    /// Whose.
    pub key: K,
    /// Bytes.
    pub bytes: usize,
    /// When someone last wanted something of it.
    pub last_used: Time,
}

/// Which tails leave memory when all together are over their bound: those longest out of use, until there is some
/// room to spare. The store has them all the same.
pub fn to_forget<K: Copy>(mut tails: Vec<Tail<K>>, bound: usize) -> Vec<K> {
    let mut sum: usize = tails.iter().map(|tail| tail.bytes).sum();
    if sum <= bound {
        return Vec::new();
    }
    tails.sort_by_key(|tail| tail.last_used);
    let enough = bound - bound / 16;
    let mut gone = Vec::new();
    for tail in tails.into_iter().filter(|tail| tail.bytes > 0) {
        if sum <= enough {
            break;
        }
        sum -= tail.bytes;
        gone.push(tail.key);
    }
    gone
}

/// Whether a restaurant that nobody hangs on has been idle for long enough to leave memory.
pub fn is_idle(last_used: Time, now: Time, bound_ms: u64) -> bool {
    now - last_used > bound_ms
}

/// Whether one more restaurant needs another to leave first.
pub fn is_full(restaurants: usize, bound: usize) -> bool {
    restaurants >= bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use tautline_protocol::limits;

    fn tails(count: u64) -> Vec<Tail<u64>> {
        let tail = |n| Tail {
            key: n,
            bytes: limits::TAIL_MEMORY_BYTES,
            last_used: Time::from_ms(n * 7 % count),
        };
        (0..count).map(tail).collect()
    }

    #[test]
    fn tails_leave_oldest_first_and_only_over_the_bound() {
        const FULL: u64 = (limits::TAIL_MEMORY_ALL_BYTES / limits::TAIL_MEMORY_BYTES) as u64;
        assert!(to_forget(tails(FULL), limits::TAIL_MEMORY_ALL_BYTES).is_empty());
        let over = tails(FULL + 1);
        let gone = to_forget(over.clone(), limits::TAIL_MEMORY_ALL_BYTES);
        assert_eq!(gone.len(), 17, "a sixteenth to spare");
        let used = |key: &u64| {
            over.iter()
                .find(|tail| tail.key == *key)
                .map(|t| t.last_used)
        };
        let newest_gone = gone.iter().filter_map(used).max();
        let kept = over.iter().filter(|tail| !gone.contains(&tail.key));
        assert!(kept.map(|tail| tail.last_used).min() > newest_gone);
    }

    #[test]
    fn restaurants_are_idle_after_their_time_and_many_at_their_number() {
        let at = Time::from_ms;
        let idle = |ms| is_idle(at(7), at(7 + ms), limits::RESTAURANT_IDLE_MS);
        assert!(!idle(limits::RESTAURANT_IDLE_MS) && idle(limits::RESTAURANT_IDLE_MS + 1));
        let full = |n| is_full(n, limits::RESTAURANTS);
        assert!(!full(limits::RESTAURANTS - 1) && full(limits::RESTAURANTS));
    }
}
