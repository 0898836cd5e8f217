//! The WebSocket codec: whatever the bytes and however they are cut, the same messages come out, or the same breach.

use tautline_relay::ws::{Decoder, Message, Violation};

const LIMITS: [usize; 6] = [0, 1, 125, 1_000, 16 * 1024, 64 * 1024];

/// First byte: the limit, and in its top bits whether binary messages are taken and large ones passed over; second: how
/// to cut; then what the peer sends.
pub(crate) fn run(data: &[u8]) {
    let Some((&[limit, cut], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (takes_binary, passes_over) = (limit & 0x80 != 0, limit & 0x40 != 0);
    let limit = LIMITS[usize::from(limit & 0x3f) % LIMITS.len()];
    let new = || {
        let mut decoder = Decoder::new(limit);
        if takes_binary {
            decoder = decoder.with_binary();
        }
        if passes_over {
            decoder = decoder.passing_over();
        }
        decoder
    };
    let whole = read(bytes, new(), || bytes.len());
    for message in &whole.0 {
        match message {
            Message::Text(text) => assert!(text.len() <= limit, "a message over its limit"),
            Message::Binary(data) => assert!(data.len() <= limit, "a message over its limit"),
            Message::Ping(payload) => assert!(payload.len() <= 125, "a long ping"),
            Message::TooBig => assert!(passes_over, "passed over unasked"),
            Message::Pong | Message::Close(_) => {}
        }
    }
    if let Some(violation) = &whole.1 {
        assert!(matches!(violation.code.0, 1002 | 1003 | 1007 | 1009));
        assert!(violation.code.0 != 1009 || !passes_over);
    }
    assert_eq!(whole, read(bytes, new(), || 1), "byte by byte");
    // A small generator from one byte: pieces of 1 to 16.
    let mut state = u32::from(cut) | 0x100;
    let pieces = read(bytes, new(), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 24) as usize % 16
    });
    assert_eq!(whole, pieces, "in pieces");
}

/// Every message until the end of the bytes or the first breach.
fn read(
    mut bytes: &[u8],
    mut decoder: Decoder,
    mut size: impl FnMut() -> usize,
) -> (Vec<Message>, Option<Violation>) {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (mut piece, rest) = bytes.split_at(size().clamp(1, bytes.len()));
        bytes = rest;
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
        assert!(piece.is_empty(), "all input is taken");
    }
    (messages, None)
}
