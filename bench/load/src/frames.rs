//! The listening side of a WebSocket: counts whole events, and looks at as few of their bytes as it can.

use crate::events::{DIGITS, number};
use memchr::memmem::Finder;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

/// What a listener needs to keep of the beginning of a message.
const HEAD: usize = 256;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// An event, all of it.
    Event(u64),
    /// A ping that wants its payload back.
    Ping(Vec<u8>),
    /// The server closed.
    Closed(Vec<u8>),
}

/// One connection's place in the stream.
pub(crate) struct Listener {
    /// `tautline.v1`: several events may be in one message, so all of it is searched.
    batches: bool,
    /// The beginning of the frame under way: its header, and as much as [`HEAD`] of its payload (all of it for
    /// batches and control frames).
    kept: Vec<u8>,
    /// Bytes of the frame that are still to come and need not be looked at.
    skip: usize,
    /// The event that is whole when they have come.
    event: Option<u64>,
}

struct Header {
    opcode: u8,
    size: usize,
    payload: usize,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (size, payload) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
        ),
        short => (2, usize::from(short)),
    };
    Some(Header {
        opcode: first & 0x0f,
        size,
        payload,
    })
}

impl Listener {
    pub(crate) fn new(batches: bool) -> Self {
        Self {
            batches,
            kept: Vec::new(),
            skip: 0,
            event: None,
        }
    }

    /// Takes bytes as they came from the socket; `lead` finds what stands before an event's number.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        lead: &Finder<'_>,
        mut heard: impl FnMut(Heard),
    ) {
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                if self.skip > 0 {
                    return;
                }
                if let Some(n) = self.event.take() {
                    heard(Heard::Event(n));
                }
            }
            if bytes.is_empty() {
                return;
            }
            if self.kept.is_empty() {
                // The usual case: the head of a frame is in what was read.
                match self.frame(bytes, lead, &mut heard) {
                    Some(used) => bytes = bytes.get(used..).unwrap_or_default(),
                    None => {
                        self.kept.extend_from_slice(bytes);
                        return;
                    }
                }
            } else {
                let before = self.kept.len();
                let mut kept = std::mem::take(&mut self.kept);
                kept.extend_from_slice(bytes);
                match self.frame(&kept, lead, &mut heard) {
                    Some(used) => bytes = bytes.get(used - before..).unwrap_or_default(),
                    None => {
                        self.kept = kept;
                        return;
                    }
                }
            }
        }
    }

    /// Takes the head of a frame, or the whole of one that must be seen whole; how many bytes that was, `None` when
    /// there are too few.
    fn frame(
        &mut self,
        bytes: &[u8],
        lead: &Finder<'_>,
        heard: &mut impl FnMut(Heard),
    ) -> Option<usize> {
        let Header {
            opcode,
            size,
            payload,
        } = header(bytes)?;
        let whole = opcode != TEXT || self.batches;
        let needed = if whole { payload } else { payload.min(HEAD) };
        let content = bytes.get(size..size + needed)?;
        if !whole {
            self.event = lead
                .find(content)
                .and_then(|at| number(content.get(at + lead.needle().len()..)?.get(..DIGITS)?));
            self.skip = payload - needed;
            if self.skip == 0
                && let Some(n) = self.event.take()
            {
                heard(Heard::Event(n));
            }
            return Some(size + needed);
        }
        match opcode {
            TEXT => events(content, lead, heard),
            PING => heard(Heard::Ping(content.to_vec())),
            CLOSE => heard(Heard::Closed(content.to_vec())),
            _ => {}
        }
        Some(size + needed)
    }
}

/// The payload of the frame these bytes begin with, and how long the frame is; `None` when there is more to come.
pub(crate) fn whole(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let head = header(bytes)?;
    let end = head.size + head.payload;
    Some((bytes.get(head.size..end)?, end))
}

/// Every event in a message: an event's own bytes hold no second lead.
fn events(content: &[u8], lead: &Finder<'_>, heard: &mut impl FnMut(Heard)) {
    for at in lead.find_iter(content) {
        let after = content.get(at + lead.needle().len()..).unwrap_or_default();
        if let Some(n) = after.get(..DIGITS).and_then(number) {
            heard(Heard::Event(n));
        }
    }
}

/// A masked frame, as clients send them.
pub(crate) fn client_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode);
    if let Ok(short) = u8::try_from(payload.len())
        && short < 126
    {
        out.push(0x80 | short);
    } else if let Ok(middle) = u16::try_from(payload.len()) {
        out.push(0x80 | 126);
        out.extend_from_slice(&middle.to_be_bytes());
    } else {
        out.push(0x80 | 127);
        out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
}

/// A text message of a client's.
pub(crate) fn text(out: &mut Vec<u8>, payload: &str, mask: [u8; 4]) {
    client_frame(out, TEXT, payload.as_bytes(), mask);
}

/// The answer to a ping.
pub(crate) fn pong(out: &mut Vec<u8>, payload: &[u8], mask: [u8; 4]) {
    client_frame(out, 0xA, payload, mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{LEAD, event};

    fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0x80 | opcode];
        if payload.len() < 126 {
            out.push(payload.len() as u8);
        } else {
            out.push(126);
            out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
        out.extend_from_slice(payload);
        out
    }

    /// However the stream is cut, each event is heard once, in order, and pings with their payload.
    #[test]
    fn cut_anywhere() {
        let lead = Finder::new(LEAD);
        let mut stream = server_frame(1, br#"{"type":"connected"}"#);
        for n in 0..5 {
            stream.extend(server_frame(1, event(n, 900).as_bytes()));
        }
        stream.extend(server_frame(9, b"hi"));
        stream.extend(server_frame(1, event(5, 0).as_bytes()));
        let array = format!("[{},{}]", event(6, 10), event(7, 300));
        let mut batches = server_frame(1, array.as_bytes());
        batches.extend(server_frame(1, event(8, 20).as_bytes()));
        for cut in 1..200 {
            for (stream, is_batches, first) in [(&stream, false, 0), (&batches, true, 6)] {
                let mut listener = Listener::new(is_batches);
                let (mut numbers, mut pings) = (Vec::new(), 0);
                for piece in stream.chunks(cut) {
                    listener.take(piece, &lead, |heard| match heard {
                        Heard::Event(n) => numbers.push(n),
                        Heard::Ping(payload) => {
                            assert_eq!(payload, b"hi");
                            pings += 1;
                        }
                        Heard::Closed(_) => panic!("nobody closed"),
                    });
                }
                let wanted: Vec<u64> = if is_batches {
                    (6..9).collect()
                } else {
                    (0..6).collect()
                };
                assert_eq!(numbers, wanted, "cut every {cut} bytes from {first}");
                assert_eq!(pings, u32::from(!is_batches));
            }
        }
    }
}
