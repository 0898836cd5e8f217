//! What passes between the log and its store, and back to those who asked.

use std::sync::{Arc, OnceLock};

use tautline_protocol::order::Order;
use tautline_protocol::server_frame::plain_twin;
use tautline_protocol::{Dialect, Epoch, NackCode, Outcome, Seq};

/// The number of a record in the order of judging; grows by one, never reused while the log is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// One event, encoded once, shared by every connection of a dialect.
#[derive(Debug)]
pub struct Event {
    /// Its position.
    pub seq: Seq,
    /// Its type.
    pub kind: String,
    /// The wall clock when it was judged.
    pub at_ms: u64,
    v1: Arc<str>,
    plain: OnceLock<Arc<str>>,
}

impl Event {
    /// An event from its `tautline.v1` frame.
    pub fn new(seq: Seq, kind: String, at_ms: u64, v1: Arc<str>) -> Self {
        Self {
            seq,
            kind,
            at_ms,
            v1,
            plain: OnceLock::new(),
        }
    }

    /// Its frame in a dialect; the plain twin is made on first need, at most once.
    pub fn frame(&self, dialect: Dialect) -> &Arc<str> {
        match dialect {
            Dialect::V1 => &self.v1,
            Dialect::Plain => self
                .plain
                .get_or_init(|| match plain_twin(&self.kind, &self.v1) {
                    Some(twin) => twin.into(),
                    None => Arc::clone(&self.v1),
                }),
        }
    }
}

/// What became of an order: the row to write, or to remove.
#[derive(Clone, Debug)]
pub struct OrderRow {
    /// The order's id: the row's key.
    pub id: String,
    /// The order as it is now; `None` when it left the live set.
    pub order: Option<Arc<Order>>,
    /// The wall clock of its last change, kept in the row.
    pub changed_ms: u64,
}

/// A command that was applied, remembered with its ack (`docs/protocol.md` §1, Once).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// Whose command: the token's `sub`.
    pub sub: String,
    /// The command's id, or the `Idempotency-Key`.
    pub id: String,
    /// The hash of its type and payload.
    pub hash: u128,
    /// What was answered.
    pub ack: Arc<Ack>,
    /// The wall clock when it was judged.
    pub at_ms: u64,
}

/// Everything the store writes for one judged command, in one transaction.
#[derive(Debug)]
pub struct Record {
    /// Its place in the order of judging.
    pub ticket: Ticket,
    /// The event to append, with the epoch in force.
    pub event: Option<Arc<Event>>,
    /// A new epoch that begins here.
    pub epoch: Option<Epoch>,
    /// Order rows to write or to remove.
    pub orders: Vec<OrderRow>,
    /// The duplicate memory's new row.
    pub dedupe: Option<Dedupe>,
    /// `(sub, id)` of rows the duplicate memory no longer holds.
    pub forgotten: Vec<(String, String)>,
    /// About how many bytes it is, for the bound of a batch.
    pub bytes: usize,
}

impl Record {
    /// Whether there is nothing to write: it only waits for its turn to be answered.
    pub fn is_empty(&self) -> bool {
        self.event.is_none()
            && self.epoch.is_none()
            && self.orders.is_empty()
            && self.dedupe.is_none()
            && self.forgotten.is_empty()
    }
}

/// What a loaded store gives back.
#[derive(Debug, Default)]
pub struct Stored {
    /// The epoch in force; `None` for a restaurant never seen: the driver makes one and stores it first.
    pub epoch: Option<Epoch>,
    /// The last event's position, 0 when there is none.
    pub head: Seq,
    /// The newest events of the epoch in order, without holes, ending at `head`; as many as fit in memory.
    pub tail: Vec<Event>,
    /// Frame sizes of all events of the epoch still in the store, newest last, ending at `head`; at most
    /// [`tautline_protocol::limits::TAIL_EVENTS`]. They say how far back a resume is served.
    pub sizes: Vec<u32>,
    /// The live set: each row's order and the wall clock of its last change.
    pub orders: Vec<(Order, u64)>,
    /// The duplicate memory, oldest first.
    pub dedupe: Vec<Dedupe>,
}

/// What an applied command is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The event's position, with its epoch; `None` when nothing changed.
    pub at: Option<(Epoch, Seq)>,
    /// The result, as JSON.
    pub result: Option<String>,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The code.
    pub code: NackCode,
    /// What to do about it.
    pub message: String,
    /// Whether it may have been applied all the same.
    pub outcome: Outcome,
    /// When to come back.
    pub retry_after_ms: Option<u64>,
    /// The limit it is over ([`tautline_protocol::limits::hit`]), for the driver to count.
    pub limit: Option<&'static str>,
}

impl Nack {
    /// A refusal that changed nothing.
    pub fn new(code: NackCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            outcome: Outcome::NotApplied,
            retry_after_ms: None,
            limit: None,
        }
    }

    /// A refusal because of a limit.
    pub fn over(limit: &'static str, code: NackCode, message: impl Into<String>) -> Self {
        Self {
            limit: Some(limit),
            ..Self::new(code, message)
        }
    }
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds and is durable.
    Ack(Arc<Ack>),
    /// It was refused.
    Nack(Nack),
}
