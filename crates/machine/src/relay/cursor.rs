//! A connection's position in the log: no queue of events, only where it is (`docs/protocol.md` §1, Turns, Sync).
use std::sync::Arc;
use tautline_protocol::{Dialect, Epoch, Role, Seq};
use super::log::Log;
use super::record::Event;

/// Bytes of an outgoing message.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Punctuation.
    Static(&'static str),
    /// This connection's own.
    Own(String),
    /// Shared by all connections at the same place.
    Shared(Arc<str>),
}

impl Piece {
    /// Its text.
    pub fn as_str(&self) -> &str {
        match self { Self::Static(s) => s, Self::Own(s) => s, Self::Shared(s) => s }
    }
}

/// One WebSocket text message, in pieces to be written one after the other.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The pieces.
    pub pieces: Vec<Piece>,
    /// Their bytes together.
    pub len: usize,
}

/// What a connection may be sent next.
#[derive(Debug)]
pub enum Taken {
    /// These messages, in one write. `events` of the log are in it; `synced` when it ends a sync.
    Turn {
        /// The messages.
        messages: Vec<Message>,
        /// How many events of the log they hold.
        events: usize,
        /// Whether a sync (`orders:sync` or the snapshot after auth) is complete with it.
        synced: bool,
    },
    /// It is at the head.
    Idle,
    /// The events after this position are in the store only: read some and [`Cursor::supply`] them.
    Read {
        /// The position it is at.
        after: Seq,
    },
    /// It fell off the tail: close 4008.
    TooSlow,
}

/// The client holds events this log never had: [`Log::begin_epoch`] and commit it; cursors then reset by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct HistoryLost;

/// See the module.
#[derive(Debug)]
pub struct Cursor { _todo: () }

impl Cursor {
    /// The next turn: at most 64 events or 128 KiB, at least one event if there is any.
    pub fn take(&mut self, _log: &Log) -> Taken { todo!() }
    /// Events read from the store for [`Taken::Read`]: those right after the position, in order; shared with other
    /// cursors at the same place. Empty when the store has them no more. Ignored when not (any longer) asked for.
    pub fn supply(&mut self, _epoch: &Epoch, _events: Arc<[Arc<Event>]>) { todo!() }
    /// A client's `orders:sync`: from its position if the log still has what follows, else the whole set.
    pub fn sync(&mut self, _log: &Log, _role: Role, _id: Option<String>, _position: Option<(&Epoch, Seq)>) -> Result<(), HistoryLost> { todo!() }
    /// The position: everything up to it has been taken.
    pub fn at(&self) -> Seq { todo!() }
    /// The dialect it writes.
    pub fn dialect(&self) -> Dialect { todo!() }
}
