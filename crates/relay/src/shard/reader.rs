//! The reading half of a connection: a small task that wakes for its client's bytes only.

use super::conn::ConnId;
use super::journal::{self, By};
use super::{Shard, task};
use crate::socket::Socket;
use crate::ws::{Decoder, Message, Violation, pong_frame};
use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};
use tautline_machine::relay::session::Input;
use tautline_protocol::{CloseCode, limits};
use tokio::sync::Notify;

thread_local! {
    /// One buffer for all connections of a thread: bytes go through it into a message at once.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// A read of so many bytes lets others go first.
const YIELD_AFTER: usize = 4 * 1024;

/// What to do after a message.
pub(super) enum After {
    /// Read on; messages may be this long.
    Go(usize),
    /// The connection has gone.
    Stop,
}

pub(super) fn spawn(
    shard: Weak<RefCell<Shard>>,
    id: ConnId,
    socket: Rc<Socket>,
    early: Bytes,
) -> task::Task {
    task::spawn(async move {
        let mut decoder = Decoder::new(limits::MAX_MESSAGE_BEFORE_AUTH);
        if !feed(&shard, id, &mut decoder, &early) {
            return;
        }
        drop(early);
        loop {
            // Cancel-safe: nothing has been taken from the socket yet.
            let ready = socket.readable().await;
            while let Some(stall) = stalled(&shard, id) {
                stall.notified().await;
            }
            let read = match ready {
                Ok(()) => take(&shard, id, &mut decoder, &socket),
                Err(error) => Err(error),
            };
            // `readable` comes back at once while there is more: whoever sends faster than is read would have the
            // thread for itself.
            match read {
                Ok(Some(YIELD_AFTER..)) => tokio::task::yield_now().await,
                Ok(Some(_)) => tokio::task::coop::consume_budget().await,
                Ok(None) => return,
                Err(_) => break,
            }
        }
        if let Some(shard) = shard.upgrade() {
            shard.borrow_mut().lost(id);
        }
    })
}

/// What to wait for while `/dev/trouble` holds the connection up.
fn stalled(shard: &Weak<RefCell<Shard>>, id: ConnId) -> Option<Rc<Notify>> {
    let shard = shard.upgrade()?;
    let shard = shard.borrow();
    shard
        .conns
        .get(&id)
        .filter(|conn| conn.is_stalled())
        .map(|conn| Rc::clone(&conn.unstalled))
}

/// Reads what is there; how many bytes, `None` when the connection has gone meanwhile.
fn take(
    shard: &Weak<RefCell<Shard>>,
    id: ConnId,
    decoder: &mut Decoder,
    socket: &Socket,
) -> io::Result<Option<usize>> {
    SCRATCH.with_borrow_mut(|scratch| match socket.try_read(scratch) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(n) => {
            let bytes = scratch.get(..n).unwrap_or_default();
            Ok(feed(shard, id, decoder, bytes).then_some(n))
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(Some(0))
        }
        Err(error) => Err(error),
    })
}

/// Gives every message in the bytes to the session; `false` when the connection has gone.
fn feed(shard: &Weak<RefCell<Shard>>, id: ConnId, decoder: &mut Decoder, mut bytes: &[u8]) -> bool {
    if let Some(shard) = shard.upgrade() {
        // It may have become authenticated since its last message: placed once its restaurant was loaded.
        let shard = shard.borrow();
        if let Some(conn) = shard.conns.get(&id) {
            decoder.set_limit(conn.message_limit(&shard.session));
        }
    }
    loop {
        let message = decoder.next(&mut bytes);
        let Some(shard) = shard.upgrade() else {
            return false;
        };
        let after = match message {
            Ok(None) => return true,
            Ok(Some(message)) => shard.borrow_mut().message(id, message),
            Err(violation) => {
                shard.borrow_mut().violated(id, violation);
                // What follows cannot be understood. It is still read, so that the close frame is not lost to a
                // reset, until the peer closes or the session's patience ends.
                *decoder = Decoder::deaf();
                return true;
            }
        };
        match after {
            After::Go(limit) => decoder.set_limit(limit),
            After::Stop => return false,
        }
    }
}

impl Shard {
    /// A whole message of a client's.
    fn message(&mut self, id: ConnId, message: Message) -> After {
        let now = self.clock.now();
        match message {
            Message::Text(text) => self.with_conn(id, |shard, conn| {
                journal::frame_in(conn, &text);
                conn.heard(&text, now);
                shard.tell(conn, Input::Frame(&text));
            }),
            Message::Binary(_) => self.input(id, Input::Binary),
            Message::TooBig => self.input(id, Input::TooBig),
            Message::Ping(payload) => self.with_conn(id, |shard, conn| {
                if !conn.out.control(pong_frame(&payload)) {
                    crate::limit::hit(limits::hit::CONTROL_QUEUE);
                    shard.tell(
                        conn,
                        Input::End(CloseCode::SLOW_CONSUMER, "answers are not being read"),
                    );
                }
            }),
            Message::Pong => self.with_conn(id, |shard, conn| {
                conn.last_pong = now;
                if let Some(pinged) = conn.pinged.take() {
                    conn.rtt_ms = Some(now - pinged);
                }
                shard.tell(conn, Input::Pong);
            }),
            Message::Close(code) => self.with_conn(id, |shard, conn| {
                // The answer to ours, or theirs, which is answered in kind; either way it is over.
                conn.ends(code, By::Client, "closed");
                if !conn.out.is_closing() {
                    conn.out.close(code, "");
                    let _ = conn.out.write(&conn.socket);
                }
                shard.tell(conn, Input::Closed);
                conn.gone = true;
            }),
        }
        match self.conns.get(&id) {
            Some(conn) => After::Go(conn.message_limit(&self.session)),
            None => After::Stop,
        }
    }

    /// The peer broke RFC 6455.
    fn violated(&mut self, id: ConnId, violation: Violation) {
        let input = match violation.code {
            CloseCode::TOO_BIG => Input::TooBig,
            CloseCode::UNSUPPORTED => Input::Binary,
            code => Input::End(code, violation.reason),
        };
        self.input(id, input);
    }

    /// The socket ended or broke.
    pub(super) fn lost(&mut self, id: ConnId) {
        self.with_conn(id, |shard, conn| {
            shard.tell(conn, Input::Closed);
            conn.gone = true;
        });
    }
}
