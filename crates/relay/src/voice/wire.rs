//! A WebSocket of `/v1/realtime`, on the relay's own codec: whole messages in, text out, pings, an end to whoever does
//! not read.

use super::{Ending, gate};
use crate::clock;
use crate::limit;
use crate::socket::{Detached, Socket};
use crate::ws::{self, Decoder, Message};
use bytes::{Buf, BytesMut};
use std::io;
use std::time::Duration;
use tautline_machine::relay::voice::ApiError;
use tautline_protocol::CloseCode;
use tautline_protocol::limits::{self, hit};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

const CHUNK: usize = 16 * 1024;
/// From one ping to the next; without a byte for two of them the peer is gone.
const BEAT: Duration = Duration::from_millis(limits::HEARTBEAT_MS);
/// For the close handshake.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What comes of a WebSocket.
#[derive(Debug)]
pub(crate) enum Heard {
    Text(String),
    /// A message that is no event, whatever it held.
    Unfit(Unfit),
    /// It has ended, or is to be ended like that.
    Gone(Ending),
}

/// Why a message is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is not text.
    Binary,
    /// It has more bytes than that; it was passed over.
    TooBig(usize),
}

impl From<Unfit> for ApiError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Binary => gate::not_text(),
            Unfit::TooBig(most) => gate::too_large(most),
        }
    }
}

/// See the module.
pub(crate) struct Wire {
    socket: Socket,
    decoder: Decoder,
    max_message: usize,
    /// What a message over that is counted under.
    row: &'static str,
    pending: BytesMut,
    out: BytesMut,
    heard_at: Instant,
    wrote_at: Instant,
    beat_at: Instant,
    /// What the peer's close frame said.
    pub(crate) closed: Option<CloseCode>,
}

impl Wire {
    /// A socket after its handshake, with what came early.
    ///
    /// # Errors
    /// This thread's reactor does not take it.
    pub(crate) fn new(socket: Detached, early: &[u8], max_message: usize) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            socket: Socket::attach(socket)?,
            decoder: Decoder::new(max_message).with_binary().passing_over(),
            max_message,
            row: hit::REALTIME_MESSAGE,
            pending: early.into(),
            out: BytesMut::new(),
            heard_at: now,
            wrote_at: now,
            beat_at: clock::after(BEAT),
            closed: None,
        })
    }

    /// From now on a message may have that many bytes, and one over that is counted there.
    pub(crate) fn limit(&mut self, max_message: usize, row: &'static str) {
        self.decoder.set_limit(max_message);
        self.max_message = max_message;
        self.row = row;
    }

    /// Queues a text message; `false` when the peer has left too much unread.
    pub(crate) fn send(&mut self, text: &str) -> bool {
        if self.out.len() + text.len() > limits::VOICE_QUEUE_BYTES && !self.out.is_empty() {
            return false;
        }
        self.restart_if_idle();
        ws::data_header(&mut self.out, text.len());
        self.out.extend_from_slice(text.as_bytes());
        true
    }

    fn restart_if_idle(&mut self) {
        if self.out.is_empty() {
            self.wrote_at = Instant::now();
        }
    }

    fn control(&mut self, frame: &[u8]) -> bool {
        self.restart_if_idle();
        self.out.extend_from_slice(frame);
        self.out.len() <= limits::VOICE_QUEUE_BYTES
    }

    /// The next message. Meanwhile what is queued is written. May be dropped and called again at any time.
    pub(crate) async fn recv(&mut self) -> Heard {
        loop {
            match self.decode() {
                Some(heard) => return heard,
                None if self.closed.is_some() => return Heard::Gone(Ending::CLIENT),
                None => {}
            }
            let stalled_at =
                self.wrote_at + clock::takes(Duration::from_millis(limits::WRITE_STALL_MS));
            tokio::select! {
                ready = self.socket.readable() => if ready.is_err() || !self.read() {
                    return Heard::Gone(Ending::CLIENT);
                },
                ready = self.socket.writable(), if !self.out.is_empty() => {
                    if ready.is_err() || self.write().is_err() {
                        return Heard::Gone(Ending::CLIENT);
                    }
                }
                () = tokio::time::sleep_until(stalled_at), if !self.out.is_empty() => {
                    return Heard::Gone(Ending::SLOW);
                }
                () = tokio::time::sleep_until(self.beat_at) => {
                    self.beat_at = clock::after(BEAT);
                    if self.heard_at.elapsed() > clock::takes(BEAT * 2) {
                        return Heard::Gone(Ending::SILENCE);
                    }
                    if !self.control(&ws::ping_frame(b"")) {
                        return Heard::Gone(Ending::SLOW);
                    }
                }
            }
        }
    }

    fn decode(&mut self) -> Option<Heard> {
        loop {
            let mut input = &self.pending[..];
            let before = input.len();
            let decoded = self.decoder.next(&mut input);
            let used = before - input.len();
            self.pending.advance(used);
            match decoded {
                Ok(Some(Message::Text(text))) => return Some(Heard::Text(text)),
                Ok(Some(Message::Binary(_))) => return Some(Heard::Unfit(Unfit::Binary)),
                Ok(Some(Message::TooBig)) => {
                    limit::hit(self.row);
                    return Some(Heard::Unfit(Unfit::TooBig(self.max_message)));
                }
                Ok(Some(Message::Ping(payload))) => {
                    if !self.control(&ws::pong_frame(&payload)) {
                        return Some(Heard::Gone(Ending::SLOW));
                    }
                }
                Ok(Some(Message::Pong)) => {}
                Ok(Some(Message::Close(code))) => {
                    self.closed = Some(code);
                    return Some(Heard::Gone(Ending::CLIENT));
                }
                Ok(None) => {
                    if self.pending.is_empty() {
                        // What a large message took is given back.
                        self.pending = BytesMut::new();
                    }
                    return None;
                }
                Err(violation) => {
                    return Some(Heard::Gone(Ending {
                        code: violation.code,
                        text: violation.reason,
                        ..Ending::PROTOCOL
                    }));
                }
            }
        }
    }

    /// `false` at the end.
    fn read(&mut self) -> bool {
        let mut chunk = [0; CHUNK];
        match self.socket.try_read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.heard_at = Instant::now();
                self.pending
                    .extend_from_slice(chunk.get(..n).unwrap_or_default());
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match self.socket.try_write(&self.out) {
            Ok(n) => {
                self.out.advance(n);
                self.wrote_at = Instant::now();
                if self.out.is_empty() {
                    self.out = BytesMut::new();
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says goodbye, within its time.
    pub(crate) async fn close(mut self, code: CloseCode, reason: &str) {
        // A close is answered with its own code (RFC 6455 §5.5.1).
        let (code, reason) = match self.closed {
            Some(code) => (code, ""),
            None => (code, reason),
        };
        let frame = ws::close_frame(code, reason);
        self.out.extend_from_slice(&frame);
        let goodbye = async {
            let out = std::mem::take(&mut self.out);
            if self.socket.write_all(&out).await.is_err() || self.socket.shutdown().await.is_err() {
                return;
            }
            // What is still on its way is taken, or the close frame would be lost to a reset.
            while self.socket.readable().await.is_ok() {
                let mut chunk = [0; CHUNK];
                match self.socket.try_read(&mut chunk) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, goodbye).await;
    }
}
