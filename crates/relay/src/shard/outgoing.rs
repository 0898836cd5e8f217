//! What a socket has not taken yet: a position in shared bytes, never a copy of them.

use super::wire::Wire;
use crate::socket::Socket;
use crate::ws;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use tautline_machine::relay::{Message, Piece, SharedTurn};
use tautline_protocol::{CloseCode, limits};

/// Slices in one write; a turn of 64 events in one array is 130 of them.
const SLICES: usize = 192;

#[derive(Debug)]
enum Chunk {
    Bytes(Bytes),
    Piece(Piece),
    Shared(Arc<SharedTurn<Wire>>),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Piece(piece) => piece.as_str().len(),
            Self::Shared(turn) => turn.wire.len(),
        }
    }

    /// What of it goes with its neighbours; a shared turn goes by itself.
    fn slice(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Piece(piece) => Some(piece.as_str().as_bytes()),
            Self::Shared(_) => None,
        }
    }
}

/// One turn at most, and the acks and pongs that go before the next.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// A shared turn, where there is nothing before it: the usual case, without a queue.
    shared: Option<Arc<SharedTurn<Wire>>>,
    /// What follows it. Queues that are empty keep no room: most connections are idle.
    chunks: VecDeque<Chunk>,
    /// Bytes of the shared turn, else of the first chunk, that are gone.
    taken: usize,
    /// Whole frames of this connection's own, for the next frame boundary.
    control: VecDeque<Bytes>,
    /// Whether the close frame is among them: nothing is added any more.
    closing: bool,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.shared.is_none() && self.chunks.is_empty() && self.control.is_empty()
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

    /// A turn that other connections are sent too.
    pub(super) fn shared(&mut self, turn: Arc<SharedTurn<Wire>>) {
        if self.shared.is_none() && self.chunks.is_empty() {
            self.shared = Some(turn);
        } else {
            self.chunks.push_back(Chunk::Shared(turn));
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
            if self.shared.is_none() && self.chunks.is_empty() {
                let control = std::mem::take(&mut self.control);
                self.chunks.extend(control.into_iter().map(Chunk::Bytes));
            }
            let wrote = match (&self.shared, self.chunks.front()) {
                (Some(turn), _) | (None, Some(Chunk::Shared(turn))) => {
                    turn.wire.send(self.taken, socket)
                }
                (None, Some(_)) => self.write_slices(socket),
                (None, None) => return Ok(written),
            };
            match wrote {
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

    fn write_slices(&self, socket: &Socket) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let chunks = self.chunks.iter().map_while(Chunk::slice);
        for (slot, chunk) in slices.iter_mut().zip(chunks) {
            let from = if count == 0 { self.taken } else { 0 };
            *slot = IoSlice::new(chunk.get(from..).unwrap_or_default());
            count += 1;
        }
        match slices.get(..count).unwrap_or_default() {
            [only] => socket.try_write(only),
            several => socket.try_write_vectored(several),
        }
    }

    fn advance(&mut self, mut n: usize) {
        n += self.taken;
        if let Some(turn) = &self.shared {
            let len = turn.wire.len();
            if n < len {
                self.taken = n;
                return;
            }
            n -= len;
            self.shared = None;
        }
        while let Some(first) = self.chunks.front() {
            let len = first.len();
            if n < len {
                break;
            }
            n -= len;
            self.chunks.pop_front();
        }
        self.taken = n;
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }
}
