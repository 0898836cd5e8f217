//! The addresses that one call's peer is tried at: how many there are, what may go to one before it has answered.

use super::stun::{self, Transaction};
use crate::limit;
use std::collections::VecDeque;
use std::net::SocketAddr;
use str0m::net::Protocol;
use tautline_protocol::limits::{self, hit};

/// Requests of ours to one address that may still be answered.
const ASKED: usize = 32;

/// An address that a valid check came from, and nothing else: only there is anything ever sent.
#[derive(Debug)]
struct Path {
    protocol: Protocol,
    address: SocketAddr,
    received: u64,
    sent: u64,
    /// It has answered a request of ours, so what is sent there arrives where it is wanted.
    proven: bool,
    asked: VecDeque<Transaction>,
}

/// A change of where a call is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    To(Protocol, SocketAddr),
    From(Protocol, SocketAddr),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: Vec<Path>,
    /// Addresses that are new, and those that are gone, since the indexes were told.
    moved: Vec<Moved>,
}

impl Paths {
    /// What the indexes have to be told.
    pub(super) fn moved(&mut self) -> impl Iterator<Item = Moved> + use<> {
        std::mem::take(&mut self.moved).into_iter()
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = (Protocol, SocketAddr)> + '_ {
        self.known.iter().map(|path| (path.protocol, path.address))
    }

    fn find(&mut self, protocol: Protocol, address: SocketAddr) -> Option<&mut Path> {
        let is = |path: &&mut Path| path.protocol == protocol && path.address == address;
        self.known.iter_mut().find(is)
    }

    /// A datagram from there is to be counted. Only a valid check makes an address known. `Err` is the label of why it is not
    /// taken.
    pub(super) fn received(
        &mut self,
        protocol: Protocol,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), &'static str> {
        let kind = stun::kind(datagram);
        if self.find(protocol, from).is_none() {
            if !matches!(kind, stun::Kind::Request { .. }) {
                return Err("no_check");
            }
            self.add(protocol, from)?;
        }
        if let Some(path) = self.find(protocol, from) {
            path.received += datagram.len() as u64;
            if let stun::Kind::Success(transaction) = kind
                && path.asked.contains(&transaction)
            {
                path.proven = true;
                path.asked.clear();
            }
        }
        Ok(())
    }

    fn add(&mut self, protocol: Protocol, address: SocketAddr) -> Result<(), &'static str> {
        if self.known.len() >= limits::VOICE_PATHS {
            // Whoever has not answered makes room: a peer that wanders gets through.
            let Some(stale) = self.known.iter().position(|path| !path.proven) else {
                limit::hit(hit::VOICE_PATHS);
                return Err("paths");
            };
            let gone = self.known.remove(stale);
            self.moved.push(Moved::From(gone.protocol, gone.address));
        }
        self.moved.push(Moved::To(protocol, address));
        self.known.push(Path {
            protocol,
            address,
            received: 0,
            sent: 0,
            // TCP's own handshake has shown that it is there.
            proven: protocol != Protocol::Udp,
            asked: VecDeque::new(),
        });
        Ok(())
    }

    /// Whether a datagram may go there; counted if so. `Err` is the label of why it may not.
    pub(super) fn send(
        &mut self,
        protocol: Protocol,
        to: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), &'static str> {
        let path = self.find(protocol, to).ok_or("not_checked")?;
        let len = datagram.len() as u64;
        if !path.proven {
            if path.sent + len > path.received * limits::UDP_AMPLIFICATION {
                limit::hit(hit::UDP_AMPLIFICATION);
                return Err("amplification");
            }
            if stun::is_request(datagram)
                && let Some(transaction) = stun::transaction(datagram)
            {
                if path.asked.len() >= ASKED {
                    path.asked.pop_front();
                }
                path.asked.push_back(transaction);
            }
        }
        path.sent += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::seen::met;

    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

    /// A binding request of that transaction, or the answer to it, with a name as ICE has it.
    fn stun(kind: u16, transaction: u8) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend(8_u16.to_be_bytes());
        bytes.extend(COOKIE);
        bytes.extend([transaction; 12]);
        bytes.extend([0, 6, 0, 3]);
        bytes.extend(*b"a:b\0");
        bytes
    }

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn moved(paths: &mut Paths) -> Vec<Moved> {
        paths.moved().collect()
    }

    #[test]
    fn there_are_so_many_and_who_has_not_answered_makes_room() {
        met(hit::VOICE_PATHS);
        let most = u16::try_from(limits::VOICE_PATHS).unwrap();
        let udp = Protocol::Udp;
        let mut paths = Paths::default();
        for port in 1..=most {
            assert_eq!(paths.received(udp, at(port), &stun(0x0001, 1)), Ok(()));
            assert_eq!(moved(&mut paths), [Moved::To(udp, at(port))]);
        }
        // One more takes the place of the first, which has not answered.
        assert_eq!(paths.received(udp, at(100), &stun(0x0001, 1)), Ok(()));
        let instead = [Moved::From(udp, at(1)), Moved::To(udp, at(100))];
        assert_eq!(moved(&mut paths), instead);
        for port in (2..=most).chain([100]) {
            assert_eq!(paths.send(udp, at(port), &stun(0x0001, 9)), Ok(()));
            assert_eq!(paths.received(udp, at(port), &stun(0x0101, 9)), Ok(()));
        }
        assert!(!met(hit::VOICE_PATHS));
        assert_eq!(
            paths.received(udp, at(200), &stun(0x0001, 1)),
            Err("paths"),
            "all have answered"
        );
        assert!(met(hit::VOICE_PATHS) && moved(&mut paths).is_empty());
        assert_eq!(paths.addresses().count(), limits::VOICE_PATHS);
    }

    #[test]
    fn three_times_what_came_from_it_until_it_has_answered() {
        let udp = Protocol::Udp;
        let mut paths = Paths::default();
        assert_eq!(paths.send(udp, at(1), b"x"), Err("not_checked"));
        assert_eq!(paths.received(udp, at(1), b"x"), Err("no_check"));
        let check = stun(0x0001, 1);
        assert_eq!(paths.received(udp, at(1), &check), Ok(()));
        for _ in 0..limits::UDP_AMPLIFICATION {
            assert_eq!(paths.send(udp, at(1), &check), Ok(()));
        }
        assert_eq!(paths.send(udp, at(1), b"x"), Err("amplification"));
        // The answer to something that was never asked proves nothing.
        assert_eq!(paths.received(udp, at(1), &stun(0x0101, 2)), Ok(()));
        assert_eq!(paths.send(udp, at(1), &[0; 200]), Err("amplification"));
        assert_eq!(paths.received(udp, at(1), &stun(0x0101, 1)), Ok(()));
        assert_eq!(paths.send(udp, at(1), &[0; 2_000]), Ok(()));
    }
}
