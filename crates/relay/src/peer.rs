//! Whose connection this is: the socket's peer, or the client that a trusted proxy names; and whether it may have one
//! (`docs/protocol.md`, Limits).

use crate::clock::Clock;
use crate::limit;
use axum::http::{HeaderMap, HeaderName};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tautline_machine::relay::admission::Bounds;
use tautline_machine::relay::{Address, Admission, Refusal};
use tautline_protocol::limits;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An address or a network of them: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    ip: IpAddr,
    bits: u8,
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not an address or a network like 10.0.0.0/8");
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { ip, bits })
    }
}

impl Net {
    fn holds(self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(net).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(net).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// All who are connected.
#[derive(Debug)]
pub(crate) struct Peers {
    admission: Mutex<Admission>,
    trusted: Vec<Net>,
    clock: Clock,
    refusing: std::sync::atomic::AtomicUsize,
}

/// The account of one address; of IPv6 its network of 64 bits, which is what one host has.
pub(crate) fn account(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address(u128::from(ip.to_ipv6_mapped())),
        IpAddr::V6(ip) => Address(u128::from(ip) & !u128::from(u64::MAX)),
    }
}

impl Peers {
    pub(crate) fn new(bounds: Bounds, trusted: Vec<Net>) -> Arc<Self> {
        Arc::new(Self {
            admission: Mutex::new(Admission::new(bounds)),
            trusted,
            clock: Clock::start(),
            refusing: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Addresses that have an account.
    pub(crate) fn addresses(&self) -> usize {
        self.admission().addresses(self.clock.now())
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.holds(ip))
    }

    /// A socket was accepted. `None`: it is cut without a word, too many are being told already.
    pub(crate) fn accept(self: &Arc<Self>, peer: SocketAddr) -> Option<Peer> {
        use std::sync::atomic::Ordering::Relaxed;
        let ip = peer.ip().to_canonical();
        let exempt = ip.is_loopback() || self.trusts(ip);
        let mut place = Place {
            peers: Arc::clone(self),
            socket: false,
            account: None,
            refused: false,
        };
        let refused = {
            let mut admission = self.admission();
            match admission.opened() {
                Err(refusal) => Some(refusal),
                Ok(()) => {
                    let came = (!exempt).then(|| admission.came(account(ip), self.clock.now()));
                    match came.transpose() {
                        Ok(account) => {
                            place.account = account;
                            place.socket = true;
                            None
                        }
                        Err(refusal) => {
                            admission.closed();
                            Some(refusal)
                        }
                    }
                }
            }
        };
        if let Some(refusal) = refused {
            limit::hit(refusal.limit);
            place.refused = true;
            if self.refusing.fetch_add(1, Relaxed) >= limits::REFUSALS_AT_ONCE {
                return None;
            }
        }
        Some(Peer {
            place: Arc::new(place),
            ip,
            refused,
        })
    }
}

/// What a connection takes up; dropping it gives it back.
#[derive(Debug)]
struct Place {
    peers: Arc<Peers>,
    socket: bool,
    account: Option<Address>,
    refused: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.refused {
            self.peers
                .refusing
                .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        }
        if self.socket || self.account.is_some() {
            let mut admission = self.peers.admission();
            if self.socket {
                admission.closed();
            }
            if let Some(account) = self.account {
                admission.left(account);
            }
        }
    }
}

/// The other end of a socket, with every request on it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    place: Arc<Place>,
    ip: IpAddr,
    refused: Option<Refusal>,
}

impl Peer {
    /// Why nothing is served on this socket, if nothing is.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    /// Who is behind a request, for accounts by address; `None` is exempt.
    fn client(&self, headers: &HeaderMap) -> Option<Address> {
        let peers = &self.place.peers;
        if !peers.trusts(self.ip) {
            return (!self.ip.is_loopback()).then(|| account(self.ip));
        }
        let named: Vec<&str> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .map(|value| value.to_str().unwrap_or("?"))
            .flat_map(|value| value.split(','))
            .collect();
        // From the right: each was written by the proxy before it, and the first that is no proxy of ours is whom
        // they speak for. Left of it anyone may have written anything.
        for name in named.iter().rev() {
            match forwarded(name.trim()) {
                Some(ip) if peers.trusts(ip) => {}
                Some(ip) => return Some(account(ip)),
                // A proxy that names nobody: one account for all of them.
                None => return Some(account(IpAddr::V6(Ipv6Addr::UNSPECIFIED))),
            }
        }
        None
    }

    /// Whether a token in this request is looked at.
    pub(crate) fn may_try(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(client) = self.client(headers) else {
            return Ok(());
        };
        let peers = &self.place.peers;
        peers
            .admission()
            .may_try(client, peers.clock.now())
            .inspect_err(|refusal| limit::hit(refusal.limit))
    }

    /// The token in this request was refused.
    pub(crate) fn auth_failed(&self, headers: &HeaderMap) {
        if let Some(client) = self.client(headers) {
            let peers = &self.place.peers;
            peers.admission().auth_failed(client, peers.clock.now());
        }
    }

    /// This request leaves with its socket.
    pub(crate) fn visit(&self, headers: &HeaderMap) -> Result<Visit, Refusal> {
        self.may_try(headers)?;
        let peers = &self.place.peers;
        let client = self.client(headers);
        let behind = match client.filter(|_| peers.trusts(self.ip)) {
            None => None,
            Some(client) => {
                let came = peers.admission().came(client, peers.clock.now());
                let account = came.inspect_err(|refusal| limit::hit(refusal.limit))?;
                Some(Place {
                    peers: Arc::clone(peers),
                    socket: false,
                    account: Some(account),
                    refused: false,
                })
            }
        };
        Ok(Visit {
            _socket: Some(Arc::clone(&self.place)),
            _behind: behind,
            client: client.map(|client| (Arc::clone(peers), client)),
        })
    }
}

/// An address as proxies write it: bare, with a port, in brackets.
fn forwarded(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()))
        .ok()
        .map(|ip: IpAddr| ip.to_canonical())
}

/// A WebSocket's place among all, held as long as the socket.
#[derive(Debug)]
pub(crate) struct Visit {
    _socket: Option<Arc<Place>>,
    _behind: Option<Place>,
    client: Option<(Arc<Peers>, Address)>,
}

impl Visit {
    /// One that takes up nothing.
    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        Self {
            _socket: None,
            _behind: None,
            client: None,
        }
    }

    /// Its token was refused.
    pub(crate) fn auth_failed(&self) {
        if let Some((peers, client)) = &self.client {
            peers.admission().auth_failed(*client, peers.clock.now());
        }
    }
}

/// Connections that the file limit leaves room for, each with so many files.
pub(crate) fn most_connections(wanted: usize, files_each: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    // Where so few are left that nothing would remain, a quarter: the reserve is for more than is usual then.
    let room = files
        .saturating_sub(limits::FILES_RESERVED)
        .max(files / 4)
        .div_euclid(files_each)
        .max(1);
    if room < wanted {
        tracing::warn!(
            connections = room,
            files,
            "fewer connections than asked for: the limit of open files (ulimit -n) leaves no room for more"
        );
    }
    wanted.min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(trusted: &[&str]) -> Arc<Peers> {
        let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
        Peers::new(Bounds::default(), trusted)
    }

    fn peer(peers: &Arc<Peers>, address: &str) -> Peer {
        peers
            .accept(SocketAddr::new(address.parse().unwrap(), 9))
            .unwrap()
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values
            .iter()
            .map(|value| (FORWARDED_FOR, value.parse().unwrap()));
        values.collect()
    }

    #[test]
    fn networks() {
        let holds = |net: &str, ip: &str| net.parse::<Net>().unwrap().holds(ip.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.9.8.7") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.7", "10.0.0.7") && !holds("10.0.0.7", "10.0.0.6"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(
            holds("::/0", "fd00::1")
                && holds("fd00::/8", "fd12::1")
                && !holds("fd00::/8", "fe00::1")
        );
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "x",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_its_own_word() {
        let peers = peers(&["10.0.0.0/8", "127.0.0.1"]);
        let client = |from: &str, values: &[&str]| peer(&peers, from).client(&headers(values));
        let of = |ip: &str| Some(account(ip.parse().unwrap()));
        assert_eq!(
            client("9.9.9.9", &["1.1.1.1"]),
            of("9.9.9.9"),
            "not a proxy of ours"
        );
        assert_eq!(
            client("::1", &["1.1.1.1"]),
            None,
            "loopback is exempt, and no proxy here"
        );
        assert_eq!(client("127.0.0.1", &[]), None, "the proxy itself");
        assert_eq!(
            client("10.0.0.1", &["6.6.6.6, 1.1.1.1"]),
            of("1.1.1.1"),
            "the right-most"
        );
        assert_eq!(
            client("10.0.0.1", &["6.6.6.6, 1.1.1.1", "10.0.0.2,127.0.0.1"]),
            of("1.1.1.1"),
            "behind two"
        );
        assert_eq!(client("10.0.0.1", &["10.0.0.2"]), None);
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, unknown"]),
            of("::"),
            "no way to choose another account"
        );
        assert_eq!(client("10.0.0.1", &["1.1.1.1:443"]), of("1.1.1.1"));
        assert_eq!(
            client("10.0.0.1", &["[2001:db8::1]:443"]),
            of("2001:db8::2"),
            "one network"
        );
        assert_eq!(client("10.0.0.1", &["::ffff:1.1.1.1"]), of("1.1.1.1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn places_are_given_back() {
        let peers = peers(&["127.0.0.1"]);
        let direct = peer(&peers, "9.9.9.9");
        let proxy = peer(&peers, "127.0.0.1");
        let visits: Vec<_> = (0..3)
            .map(|_| proxy.visit(&headers(&["1.1.1.1"])).unwrap())
            .collect();
        let direct_visit = direct.visit(&HeaderMap::new()).unwrap();
        drop((direct, proxy));
        assert_eq!(
            peers.admission().open(),
            2,
            "the sockets live on in their visits"
        );
        drop((visits, direct_visit));
        assert_eq!(peers.admission().open(), 0);
    }

    #[test]
    fn past_the_bound_of_an_address_others_are_served_on() {
        let peers = peers(&[]);
        let one: Vec<_> = (0..=limits::ADDRESS_CONNECTIONS)
            .map(|_| peer(&peers, "9.9.9.9"))
            .collect();
        let refused: Vec<_> = one.iter().filter_map(Peer::refused).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].limit, limits::hit::ADDRESS_CONNECTIONS);
        assert_eq!(peer(&peers, "9.9.9.8").refused(), None);
        assert_eq!(peers.admission().open(), limits::ADDRESS_CONNECTIONS);
        drop(one);
        assert_eq!(peers.admission().open(), 0);
    }
}
