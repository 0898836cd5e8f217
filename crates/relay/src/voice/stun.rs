//! As much of STUN (RFC 8489) as it takes to find a call: what a datagram is, whose name is on it, which request it
//! belongs to. Whether it is genuine is the ICE agent's to check.

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;
const USERNAME: u16 = 0x0006;

/// Twelve bytes of chance.
pub(crate) type Transaction = [u8; 12];

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A binding request for the call with this name.
    Request { ufrag: &'a str },
    /// A binding request of ours is answered well.
    Success(Transaction),
    /// STUN of some other kind.
    OtherStun,
    /// DTLS, RTP or RTCP (RFC 7983).
    Media,
    /// None of these.
    Unknown,
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(two.try_into().ok()?))
}

/// The transaction of a STUN message, whichever kind.
pub(crate) fn transaction(bytes: &[u8]) -> Option<Transaction> {
    is_stun(bytes).then(|| bytes.get(8..HEADER)?.try_into().ok())?
}

fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && bytes.first().is_some_and(|first| first >> 6 == 0)
        && bytes.get(4..8) == Some(&COOKIE)
        && number(bytes, 2).is_some_and(|len| usize::from(len) + HEADER == bytes.len())
}

/// Whether it is a binding request of ours.
pub(crate) fn is_request(bytes: &[u8]) -> bool {
    is_stun(bytes) && number(bytes, 0) == Some(0x0001)
}

/// See [`Kind`].
pub(crate) fn kind(bytes: &[u8]) -> Kind<'_> {
    match bytes.first() {
        Some(0..=3) if is_stun(bytes) => match number(bytes, 0) {
            Some(0x0001) => username(bytes)
                .and_then(|name| name.split_once(':'))
                .map_or(Kind::OtherStun, |(ufrag, _)| Kind::Request { ufrag }),
            Some(0x0101) => transaction(bytes).map_or(Kind::OtherStun, Kind::Success),
            _ => Kind::OtherStun,
        },
        Some(20..=63 | 128..=191) => Kind::Media,
        _ => Kind::Unknown,
    }
}

/// The first `USERNAME`; attributes are padded to four bytes.
fn username(bytes: &[u8]) -> Option<&str> {
    let mut at = HEADER;
    loop {
        let (kind, len) = (number(bytes, at)?, usize::from(number(bytes, at + 2)?));
        let value = bytes.get(at + 4..at + 4 + len)?;
        if kind == USERNAME {
            return std::str::from_utf8(value).ok();
        }
        at += 4 + len.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(COOKIE);
        bytes.extend([7; 12]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn whose_name_is_on_it() {
        let request = message(1, &[(0x8022, b"agent"), (USERNAME, b"ours:theirs")]);
        assert_eq!(kind(&request), Kind::Request { ufrag: "ours" });
        assert!(is_request(&request));
        assert_eq!(transaction(&request), Some([7; 12]));
        assert_eq!(kind(&message(0x0101, &[])), Kind::Success([7; 12]));
        for other in [
            message(1, &[]),
            message(1, &[(USERNAME, b"no colon")]),
            message(1, &[(USERNAME, b"\xff:x")]),
            message(0x0111, &[]),
        ] {
            assert_eq!(kind(&other), Kind::OtherStun);
        }
    }

    #[test]
    fn what_is_cut_off_or_something_else() {
        let whole = message(1, &[(USERNAME, b"ours:theirs")]);
        for len in 0..whole.len() {
            assert_eq!(kind(&whole[..len]), Kind::Unknown, "{len}");
        }
        assert_eq!(kind(&[22, 254, 253]), Kind::Media);
        assert_eq!(kind(&[0x80, 0, 1]), Kind::Media);
        assert_eq!(kind(&[64]), Kind::Unknown);
        let mut lying = whole.clone();
        lying[23] = 200;
        assert_eq!(
            kind(&lying),
            Kind::OtherStun,
            "an attribute longer than the message"
        );
    }
}
