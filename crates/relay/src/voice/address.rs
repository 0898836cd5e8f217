//! Where peers reach the relay: what is advertised in every answer, and which of those a datagram came in by.

use crate::parse::ReachedAt;
use std::net::SocketAddr;
use str0m::net::{Protocol, TcpType};
use str0m::{Candidate, error::IceError};

/// Every address, in the order they are offered.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Vec<(Protocol, SocketAddr)>);

impl Addresses {
    /// Those of the two sockets, as peers know them.
    pub(super) fn new(
        udp: Option<SocketAddr>,
        tcp: Option<SocketAddr>,
        public: &[ReachedAt],
    ) -> Self {
        let mut all = Vec::new();
        for (protocol, bound) in [(Protocol::Udp, udp), (Protocol::Tcp, tcp)] {
            let Some(bound) = bound else { continue };
            let named = public.iter().map(|at| {
                let port = at.port.unwrap_or(bound.port());
                (protocol, SocketAddr::new(at.ip, port))
            });
            all.extend(named);
            // Nobody is reached at 0.0.0.0.
            if public.is_empty() && !bound.ip().is_unspecified() {
                all.push((protocol, bound));
            }
        }
        Self(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As ICE offers them.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Result<Candidate, IceError>> + '_ {
        self.0.iter().map(|&(protocol, at)| match protocol {
            Protocol::Udp => Candidate::builder().udp().host(at).build(),
            _ => Candidate::builder()
                .tcp()
                .host(at)
                .tcptype(TcpType::Passive)
                .build(),
        })
    }

    /// The one that what came from there was sent to, as its sender sees it.
    pub(super) fn sent_to(&self, protocol: Protocol, from: SocketAddr) -> Option<SocketAddr> {
        let mut of = self.0.iter().filter(|(of, _)| *of == protocol);
        let first = of.clone().next();
        of.find(|(_, at)| at.is_ipv4() == from.is_ipv4())
            .or(first)
            .map(|&(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn as_peers_know_them() {
        let public = |text: &str| crate::parse::reached_at(text).unwrap();
        let (udp, tcp) = (Some(at("0.0.0.0:3478")), Some(at("0.0.0.0:443")));
        assert!(Addresses::new(udp, tcp, &[]).is_empty());
        let named = [public("203.0.113.7"), public("[2001:db8::7]:9")];
        let all = Addresses::new(udp, tcp, &named);
        let lines: Vec<_> = all
            .candidates()
            .map(|one| one.unwrap().to_sdp_string())
            .collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].contains("203.0.113.7 3478 typ host"));
        assert!(lines[2].contains("203.0.113.7 443 typ host tcptype passive"));
        let to = |protocol, from| all.sent_to(protocol, at(from));
        assert_eq!(
            to(Protocol::Udp, "198.51.100.1:5"),
            Some(at("203.0.113.7:3478"))
        );
        assert_eq!(
            to(Protocol::Tcp, "[2001:db8::1]:5"),
            Some(at("[2001:db8::7]:9"))
        );
        let here = Addresses::new(Some(at("127.0.0.1:7")), None, &[]);
        assert_eq!(
            here.sent_to(Protocol::Udp, at("127.0.0.1:9")),
            Some(at("127.0.0.1:7"))
        );
        assert_eq!(here.sent_to(Protocol::Tcp, at("127.0.0.1:9")), None);
    }
}
