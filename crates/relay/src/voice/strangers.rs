//! Datagrams that belong to no call: so many of an address, whatever the port, then those of it that name no call are not
//! looked into for a while. The table is bounded; when it is full, the address that came first makes room.

use crate::peer;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use tautline_machine::Time;
use tautline_machine::relay::Address;
use tautline_protocol::limits;

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The second it is counted in began then.
    from: Time,
    count: u32,
    /// Not listened to before then.
    until: Time,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    seen: HashMap<Address, Seen>,
    /// In the order of their arrival.
    order: VecDeque<Address>,
}

impl Strangers {
    /// Whether that address is not listened to.
    pub(crate) fn ignores(&self, from: IpAddr, now: Time) -> bool {
        let from = peer::account(from.to_canonical());
        self.seen.get(&from).is_some_and(|seen| now < seen.until)
    }

    /// One more of that address; `true` when from here on it is not listened to.
    pub(crate) fn add(&mut self, from: IpAddr, now: Time) -> bool {
        let from = peer::account(from.to_canonical());
        if !self.seen.contains_key(&from) {
            if self.seen.len() >= limits::UDP_STRANGERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.seen.remove(&oldest);
            }
            self.order.push_back(from);
        }
        let seen = self.seen.entry(from).or_insert(Seen {
            from: now,
            count: 0,
            until: now,
        });
        if now - seen.from >= 1_000 {
            (seen.from, seen.count) = (now, 0);
        }
        seen.count += 1;
        if seen.count <= limits::UDP_STRANGER_PER_S {
            return false;
        }
        seen.until = now + limits::UDP_STRANGER_IGNORED_MS;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn fifty_a_second_then_ten_seconds_of_nothing() {
        let at = Time::from_ms;
        let mut strangers = Strangers::default();
        for round in 0..3 {
            for _ in 0..limits::UDP_STRANGER_PER_S {
                assert!(!strangers.add(ip(1), at(round * 1_000)));
            }
        }
        assert!(!strangers.ignores(ip(1), at(2_000)));
        assert!(strangers.add(ip(1), at(2_001)));
        assert!(strangers.ignores(ip(1), at(12_000)) && !strangers.ignores(ip(1), at(12_001)));
        assert!(!strangers.ignores(ip(2), at(2_001)));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut strangers = Strangers::default();
        for n in 0..20_000 {
            strangers.add(ip(n), Time::from_ms(0));
        }
        assert_eq!(strangers.seen.len(), limits::UDP_STRANGERS);
        assert_eq!(strangers.order.len(), limits::UDP_STRANGERS);
    }
}
