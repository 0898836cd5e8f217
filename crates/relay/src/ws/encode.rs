use bytes::{BufMut, Bytes, BytesMut};
use tautline_protocol::CloseCode;

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Appends the header of one unfragmented text frame with a payload of `len` bytes. A server never masks
/// (RFC 6455 §5.1), so the payload can be bytes shared by many connections.
pub fn data_header(out: &mut BytesMut, len: usize) {
    out.put_u8(FIN | TEXT);
    if len < 126 {
        out.put_u8(len as u8);
    } else if let Ok(len) = u16::try_from(len) {
        out.put_u8(126);
        out.put_u16(len);
    } else {
        out.put_u8(127);
        out.put_u64(len as u64);
    }
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    // At most 125 bytes (RFC 6455 §5.5); what is longer is ours alone, a close reason, and is cut.
    let payload = payload.get(..125).unwrap_or(payload);
    let mut out = BytesMut::with_capacity(2 + payload.len());
    out.put_u8(FIN | opcode);
    out.put_u8(payload.len() as u8);
    out.put_slice(payload);
    out.freeze()
}

/// A ping.
pub fn ping_frame(payload: &[u8]) -> Bytes {
    control(PING, payload)
}

/// The answer to a ping.
pub fn pong_frame(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

/// A close frame; codes that never travel (1005, 1006) leave it empty.
pub fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    if code.is_abnormal() {
        return control(CLOSE, &[]);
    }
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.extend_from_slice(&code.0.to_be_bytes());
    payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
    control(CLOSE, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_use_the_shortest_form() {
        for (len, size) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = BytesMut::new();
            data_header(&mut out, len);
            assert_eq!(out.len(), size, "{len}");
            assert_eq!(out[0], 0x81);
            assert_eq!(out[1] & 0x80, 0, "servers do not mask");
        }
    }

    #[test]
    fn close_reasons_are_cut_at_a_character() {
        let frame = close_frame(CloseCode::POLICY, &"é".repeat(100));
        assert_eq!(&frame[..4], &[0x88, 124, 3, 0xf0]);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
        assert_eq!(&close_frame(CloseCode::NO_STATUS, "")[..], &[0x88, 0]);
    }
}
