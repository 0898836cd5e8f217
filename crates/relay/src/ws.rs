//! The server's half of RFC 6455: the handshake's answer, frames in, frame headers out.
//!
//! The relay writes shared bytes straight to sockets and reads into one scratch buffer per thread, so the codec
//! works on slices and owns no socket. Extensions are not negotiated (`docs/operations.md`, Safety).

mod decode;
mod encode;
mod handshake;
mod utf8;

pub use decode::{Decoder, Message, Violation};
pub use encode::{close_frame, data_header, ping_frame, pong_frame};
pub use handshake::{Handshake, Refused, handshake};

/// A socket as it leaves its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The subprotocol `tautline.v1` was offered and echoed.
    pub v1: bool,
    /// The request had an `Origin`: it came from a page.
    pub from_page: bool,
}
