//! What a socket has not taken yet: a position in shared bytes, never a copy of them.

use crate::socket::Socket;
use crate::ws;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use tautline_machine::relay::{Message, Piece};
use tautline_protocol::{CloseCode, limits};

/// Slices in one write; a turn of 64 events in one array is 130 of them.
const SLICES: usize = 192;

#[derive(Debug)]
enum Chunk {
    Bytes(Bytes),
    Piece(Piece),
}

impl Chunk {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Piece(piece) => piece.as_str().as_bytes(),
        }
    }
}

/// One turn at most, and the acks and pongs that go before the next.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are gone.
    taken: usize,
    /// Whole frames of this connection's own, for the next frame boundary.
    control: VecDeque<Bytes>,
    /// Whether the close frame is among them: nothing is added any more.
    closing: bool,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.control.is_empty()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// A text frame of the session's own; `false` when too many wait.
    pub(super) fn send(&mut self, text: &str) -> bool {
        let mut frame = BytesMut::with_capacity(10 + text.len());
        ws::data_header(&mut frame, text.len());
        frame.extend_from_slice(text.as_bytes());
        self.control(frame.freeze())
    }

    /// A control frame; `false` when too many wait.
    pub(super) fn control(&mut self, frame: Bytes) -> bool {
        if self.closing {
            return true;
        }
        self.control.push_back(frame);
        self.control.len() <= limits::CONTROL_QUEUE
    }

    /// The last frame.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        if !self.closing {
            self.control.push_back(ws::close_frame(code, reason));
            self.closing = true;
        }
    }

    /// A turn from the log.
    pub(super) fn turn(&mut self, messages: Vec<Message>) {
        for message in messages {
            let mut header = BytesMut::with_capacity(10);
            ws::data_header(&mut header, message.len);
            self.chunks.push_back(Chunk::Bytes(header.freeze()));
            self.chunks
                .extend(message.pieces.into_iter().map(Chunk::Piece));
        }
    }

    /// Writes what the socket takes now; how many bytes that was.
    ///
    /// # Errors
    /// The connection is broken; `WouldBlock` is not an error here but 0 bytes.
    pub(super) fn write(&mut self, socket: &Socket) -> io::Result<usize> {
        let mut written = 0;
        loop {
            if self.chunks.is_empty() {
                self.chunks.extend(self.control.drain(..).map(Chunk::Bytes));
            }
            if self.chunks.is_empty() {
                return Ok(written);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
                let from = if count == 0 { self.taken } else { 0 };
                *slot = IoSlice::new(chunk.as_bytes().get(from..).unwrap_or_default());
                count += 1;
            }
            match socket.try_write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    written += n;
                    self.advance(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn advance(&mut self, mut n: usize) {
        n += self.taken;
        while let Some(first) = self.chunks.front() {
            let len = first.as_bytes().len();
            if n < len {
                break;
            }
            n -= len;
            self.chunks.pop_front();
        }
        self.taken = n;
    }
}
