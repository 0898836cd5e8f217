use super::utf8::Utf8;
use tautline_protocol::CloseCode;

/// What a client sent, whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message, reassembled, UTF-8.
    Text(String),
    /// A binary message, reassembled; only from a decoder that takes them ([`Decoder::with_binary`]).
    Binary(Vec<u8>),
    /// A message over the limit, passed over to its end; only from a decoder that does so ([`Decoder::passing_over`]).
    TooBig,
    /// A ping; its payload goes back in a pong.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// The peer's close; [`CloseCode::NO_STATUS`] when it gave no code.
    Close(CloseCode),
}

/// A breach of the framing rules: the connection is closed with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The close code that answers it.
    pub code: CloseCode,
    /// The close reason, for the peer's log.
    pub reason: &'static str,
}

const fn protocol(reason: &'static str) -> Violation {
    Violation {
        code: CloseCode::PROTOCOL,
        reason,
    }
}

/// Room for `more` bytes: doubled like any vector, but never beyond the frame, which an unauthenticated peer may leave
/// unfinished for as long as it has.
fn grow(bytes: &mut Vec<u8>, more: usize, frame: usize) {
    let len = bytes.len();
    if bytes.capacity() < len + more {
        let room = (bytes.capacity() * 2).clamp(len + more, len + frame);
        bytes.reserve_exact(room - len);
    }
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// A frame whose header has been read.
#[derive(Debug)]
struct Open {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Payload bytes still to come.
    left: usize,
    /// Payload bytes taken, which is where the mask stands.
    taken: usize,
}

/// Turns bytes into messages, in whatever pieces they come. Holds no more than one message of at most the limit
/// and one control payload.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    header: [u8; 14],
    header_len: usize,
    frame: Option<Open>,
    /// The data message being put together; `Some` from its first frame to its last.
    data: Option<Vec<u8>>,
    /// Whether that message is binary.
    is_binary: bool,
    utf8: Utf8,
    control: Vec<u8>,
    takes_binary: bool,
    passes_over: bool,
    /// The data message under way is over the limit: nothing of it is kept.
    is_too_big: bool,
    deaf: bool,
}

impl Decoder {
    /// A decoder for messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            header: [0; 14],
            header_len: 0,
            frame: None,
            data: None,
            is_binary: false,
            utf8: Utf8::default(),
            control: Vec::new(),
            takes_binary: false,
            passes_over: false,
            is_too_big: false,
            deaf: false,
        }
    }

    /// Takes binary messages too. Orders sockets do not; conformance is tested with both kinds.
    pub fn with_binary(self) -> Self {
        Self {
            takes_binary: true,
            ..self
        }
    }

    /// Passes over a message that is over the limit, and goes on after it, instead of refusing it. It is not read: not even
    /// whether it is UTF-8.
    pub fn passing_over(self) -> Self {
        Self {
            passes_over: true,
            ..self
        }
    }

    /// Takes everything and understands nothing: what follows a breach of the rules.
    pub fn deaf() -> Self {
        Self {
            deaf: true,
            ..Self::new(0)
        }
    }

    /// Changes the limit for what is announced from now on (it grows with `auth`).
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes off the front of `input` until a message is whole or the input is used up.
    ///
    /// # Errors
    /// The peer broke RFC 6455; nothing further can be read from it.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Violation> {
        if self.deaf {
            *input = &[];
            return Ok(None);
        }
        loop {
            let Some(frame) = &mut self.frame else {
                if !self.take_header(input)? {
                    return Ok(None);
                }
                continue;
            };
            let take = frame.left.min(input.len());
            let (now, rest) = input.split_at_checked(take).unwrap_or((input, &[]));
            *input = rest;
            let is_control = frame.opcode >= CLOSE;
            if is_control || !self.is_too_big {
                let target = if is_control {
                    &mut self.control
                } else {
                    self.data.get_or_insert_default()
                };
                let from = target.len();
                grow(target, take, frame.left);
                let mask = frame.mask.iter().cycle().skip(frame.taken % 4);
                target.extend(now.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
                let is_text = !is_control && !self.is_binary;
                if is_text && !self.utf8.push(target.get(from..).unwrap_or_default()) {
                    return Err(Violation {
                        code: CloseCode::INVALID_DATA,
                        reason: "not UTF-8",
                    });
                }
            }
            frame.left -= take;
            frame.taken += take;
            if frame.left > 0 {
                return Ok(None);
            }
            let (fin, opcode) = (frame.fin, frame.opcode);
            self.frame = None;
            if opcode >= CLOSE {
                return Self::control(opcode, std::mem::take(&mut self.control)).map(Some);
            }
            if fin && std::mem::take(&mut self.is_too_big) {
                self.data = None;
                return Ok(Some(Message::TooBig));
            }
            if fin && self.is_binary {
                return Ok(Some(Message::Binary(self.data.take().unwrap_or_default())));
            }
            if fin {
                if !std::mem::take(&mut self.utf8).complete() {
                    return Err(Violation {
                        code: CloseCode::INVALID_DATA,
                        reason: "not UTF-8",
                    });
                }
                let text = self.data.take().unwrap_or_default();
                let text = String::from_utf8(text).map_err(|_| Violation {
                    code: CloseCode::INVALID_DATA,
                    reason: "not UTF-8",
                })?;
                return Ok(Some(Message::Text(text)));
            }
        }
    }

    /// Collects a frame header; `true` once it is whole and lawful.
    fn take_header(&mut self, input: &mut &[u8]) -> Result<bool, Violation> {
        loop {
            let [first, second, ..] = self.header;
            let need = match self.header_len {
                0 | 1 => 2,
                _ => {
                    2 + 4
                        + match second & 0x7f {
                            126 => 2,
                            127 => 8,
                            _ => 0,
                        }
                }
            };
            if self.header_len == 2 {
                self.lawful(first, second)?;
            }
            if self.header_len >= 2 && self.header_len == need {
                self.header_len = 0;
                self.open(first, second)?;
                return Ok(true);
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(false);
            };
            *input = rest;
            if let Some(slot) = self.header.get_mut(self.header_len) {
                *slot = byte;
            }
            self.header_len += 1;
        }
    }

    /// What the first two bytes already tell (RFC 6455 §5.2).
    fn lawful(&self, first: u8, second: u8) -> Result<(), Violation> {
        let (fin, opcode, short) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
        if first & 0x70 != 0 {
            return Err(protocol("reserved bits are set"));
        }
        if second & 0x80 == 0 {
            return Err(protocol("a client's frames are masked"));
        }
        match opcode {
            CONTINUATION if self.data.is_none() => Err(protocol("nothing to continue")),
            TEXT | BINARY if self.data.is_some() => {
                Err(protocol("the message before is not finished"))
            }
            BINARY if !self.takes_binary => Err(Violation {
                code: CloseCode::UNSUPPORTED,
                reason: "text frames only",
            }),
            CLOSE | PING | PONG if !fin => Err(protocol("control frames are not fragmented")),
            CLOSE | PING | PONG if short > 125 => {
                Err(protocol("control frames carry at most 125 bytes"))
            }
            CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => Ok(()),
            _ => Err(protocol("reserved opcode")),
        }
    }

    fn open(&mut self, first: u8, second: u8) -> Result<(), Violation> {
        let h = &self.header;
        let (len, mask) = match second & 0x7f {
            126 => (
                u64::from(u16::from_be_bytes([h[2], h[3]])),
                [h[4], h[5], h[6], h[7]],
            ),
            127 => (
                u64::from_be_bytes([h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9]]),
                [h[10], h[11], h[12], h[13]],
            ),
            short => (u64::from(short), [h[2], h[3], h[4], h[5]]),
        };
        let minimal = match second & 0x7f {
            126 => len > 125,
            127 => len > 0xffff,
            _ => true,
        };
        if !minimal || len >> 63 != 0 {
            return Err(protocol("a length is written in its shortest form"));
        }
        let opcode = first & 0x0f;
        if opcode < CLOSE {
            // Refused when announced, before a byte of it is kept.
            let so_far = self.data.as_ref().map_or(0, Vec::len) as u64;
            if so_far.saturating_add(len) > self.limit as u64 {
                if !self.passes_over {
                    return Err(Violation {
                        code: CloseCode::TOO_BIG,
                        reason: "message over the limit",
                    });
                }
                self.is_too_big = true;
                // What came of it goes at once.
                self.data = Some(Vec::new());
                self.utf8 = Utf8::default();
            }
            self.data.get_or_insert_default();
            if opcode != CONTINUATION {
                self.is_binary = opcode == BINARY;
            }
        }
        self.frame = Some(Open {
            fin: first & 0x80 != 0,
            opcode,
            mask,
            left: usize::try_from(len).unwrap_or(usize::MAX),
            taken: 0,
        });
        Ok(())
    }

    fn control(opcode: u8, payload: Vec<u8>) -> Result<Message, Violation> {
        match opcode {
            PING => Ok(Message::Ping(payload)),
            PONG => Ok(Message::Pong),
            _ => match payload.split_first_chunk::<2>() {
                None if payload.is_empty() => Ok(Message::Close(CloseCode::NO_STATUS)),
                None => Err(protocol("a close carries nothing or a code")),
                Some((code, reason)) => {
                    let code = u16::from_be_bytes(*code);
                    // RFC 6455 §7.4: these never travel, or are nobody's.
                    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                        return Err(protocol("no such close code"));
                    }
                    if std::str::from_utf8(reason).is_err() {
                        return Err(Violation {
                            code: CloseCode::INVALID_DATA,
                            reason: "not UTF-8",
                        });
                    }
                    Ok(Message::Close(CloseCode(code)))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked client frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ 0..126 => out.push(0x80 | len as u8),
            len @ 126..65_536 => {
                out.push(0x80 | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(0x80 | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        out
    }

    /// Every message of `bytes`, fed in pieces of `chunk`.
    fn read(bytes: &[u8], chunk: usize) -> Result<Vec<Message>, Violation> {
        let mut decoder = Decoder::new(70_000);
        let mut out = Vec::new();
        for mut piece in bytes.chunks(chunk) {
            while let Some(message) = decoder.next(&mut piece)? {
                out.push(message);
            }
            assert!(piece.is_empty(), "all input is taken");
        }
        Ok(out)
    }

    fn code(bytes: &[u8]) -> u16 {
        let codes: Vec<u16> = [1, 2, 3, 7, bytes.len().max(1)]
            .iter()
            .map(|&n| read(bytes, n).unwrap_err().code.0)
            .collect();
        assert!(
            codes.windows(2).all(|w| w[0] == w[1]),
            "the same whatever the pieces: {codes:?}"
        );
        codes[0]
    }

    #[test]
    fn messages_of_every_length_form_and_in_any_pieces() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let text = "x".repeat(len);
            for chunk in [1, 2, 5, 4096, 100_000] {
                assert_eq!(
                    read(&frame(0x81, text.as_bytes()), chunk).unwrap(),
                    [Message::Text(text.clone())]
                );
            }
        }
    }

    #[test]
    fn fragments_with_control_frames_between_are_one_message() {
        let mut bytes = frame(0x01, "κό".as_bytes());
        bytes.extend(frame(0x89, b"hi"));
        bytes.extend(frame(0x00, &"σ".as_bytes()[..1]));
        bytes.extend(frame(0x8a, b""));
        bytes.extend(frame(0x80, &"σ".as_bytes()[1..]));
        for chunk in [1, 3, 1000] {
            assert_eq!(
                read(&bytes, chunk).unwrap(),
                [
                    Message::Ping(b"hi".to_vec()),
                    Message::Pong,
                    Message::Text("κόσ".into())
                ]
            );
        }
    }

    #[test]
    fn binary_messages_are_for_those_who_ask_for_them() {
        let bytes = [
            frame(0x02, b"\xff"),
            frame(0x80, b"\xfe"),
            frame(0x81, b"a"),
        ]
        .concat();
        for chunk in [1, 4, 1000] {
            let mut decoder = Decoder::new(100).with_binary();
            let mut out = Vec::new();
            for mut piece in bytes.chunks(chunk) {
                while let Some(message) = decoder.next(&mut piece).unwrap() {
                    out.push(message);
                }
            }
            assert_eq!(
                out,
                [Message::Binary(vec![0xff, 0xfe]), Message::Text("a".into())]
            );
        }
        assert_eq!(code(&bytes), 1003);
    }

    #[test]
    fn breaches_get_their_code() {
        assert_eq!(code(&frame(0xc1, b"a")), 1002, "reserved bit");
        assert_eq!(code(&frame(0x83, b"a")), 1002, "reserved opcode");
        assert_eq!(code(&frame(0x8b, b"a")), 1002, "reserved control opcode");
        assert_eq!(code(&[0x81, 0x01, b'a']), 1002, "not masked");
        assert_eq!(code(&frame(0x80, b"a")), 1002, "nothing to continue");
        assert_eq!(
            code(&[frame(0x01, b"a"), frame(0x81, b"b")].concat()),
            1002,
            "not finished"
        );
        assert_eq!(code(&frame(0x09, b"a")), 1002, "fragmented ping");
        assert_eq!(code(&frame(0x89, &[0; 126])), 1002, "long ping");
        assert_eq!(
            code(&[0x81, 0xfe, 0, 5, 0, 0, 0, 0]),
            1002,
            "length not in its shortest form"
        );
        assert_eq!(
            code(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            1002,
            "length with its top bit"
        );
        assert_eq!(code(&frame(0x82, b"a")), 1003, "binary");
        assert_eq!(code(&frame(0x81, b"\xff")), 1007);
        assert_eq!(
            code(&frame(0x81, b"\xe2\x82")),
            1007,
            "ends inside a character"
        );
        assert_eq!(
            code(&frame(0x01, b"\xf4\x90")),
            1007,
            "refused before the message ends"
        );
        assert_eq!(code(&frame(0x88, b"\x03")), 1002, "half a code");
        for bad in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            assert_eq!(code(&frame(0x88, &bad.to_be_bytes())), 1002, "{bad}");
        }
        assert_eq!(code(&frame(0x88, b"\x03\xe8\xff")), 1007, "reason");
    }

    #[test]
    fn over_the_limit_is_passed_over_by_those_who_ask_for_it() {
        let long = "x".repeat(101);
        let bytes = [
            frame(0x81, long.as_bytes()),
            frame(0x81, &long.as_bytes()[..100]),
            // In parts, with something between: the first is dropped when the second is announced.
            frame(0x01, &[b'a'; 60]),
            frame(0x89, b"hi"),
            frame(0x00, &[0xff; 60]),
            frame(0x80, b"b"),
            frame(0x82, &[0; 300]),
            frame(0x81, "κ".as_bytes()),
        ]
        .concat();
        for chunk in [1, 7, 1000] {
            let mut decoder = Decoder::new(100).with_binary().passing_over();
            let mut out = Vec::new();
            for mut piece in bytes.chunks(chunk) {
                while let Some(message) = decoder.next(&mut piece).unwrap() {
                    out.push(message);
                }
                let kept = decoder.data.as_ref().map_or(0, Vec::capacity);
                assert!(kept <= 128, "{kept} bytes are kept");
            }
            assert_eq!(
                out,
                [
                    Message::TooBig,
                    Message::Text("x".repeat(100)),
                    Message::Ping(b"hi".to_vec()),
                    Message::TooBig,
                    Message::TooBig,
                    Message::Text("κ".into())
                ]
            );
        }
    }

    #[test]
    fn over_the_limit_is_refused_when_announced() {
        assert_eq!(code(&frame(0x81, &[b'a'; 70_001])[..14]), 1009);
        assert_eq!(
            code(
                &[
                    frame(0x01, &[b'a'; 60_000]),
                    frame(0x80, &[b'a'; 10_001])[..8].to_vec()
                ]
                .concat()
            ),
            1009
        );
    }

    #[test]
    fn closes_with_and_without_a_code() {
        assert_eq!(
            read(&frame(0x88, b""), 1).unwrap(),
            [Message::Close(CloseCode::NO_STATUS)]
        );
        for good in [1000u16, 1001, 1011, 3000, 4100, 4999] {
            let payload = [&good.to_be_bytes()[..], b"bye"].concat();
            assert_eq!(
                read(&frame(0x88, &payload), 2).unwrap(),
                [Message::Close(CloseCode(good))]
            );
        }
    }
}
