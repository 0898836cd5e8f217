//! What passes between the log and its store, and back to those who asked.

use super::about::About;
use super::view::Class;
use std::sync::{Arc, OnceLock};
use tautline_protocol::order::Order;
use tautline_protocol::permission::Operation;
use tautline_protocol::server_frame::{left_twin, plain_twin, public_twin};
use tautline_protocol::{Dialect, Epoch, NackCode, Outcome, Seq};

/// The number of a record in the order of judging; grows by one, never reused while the log is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// One event, encoded once in each way that anybody reads it, shared by all who read it that way.
#[derive(Debug)]
pub struct Event {
    /// Its position.
    pub seq: Seq,
    /// Its type.
    pub kind: String,
    /// The wall clock when it was judged.
    pub at_ms: u64,
    /// Whom it concerns.
    pub about: About,
    seen_by: Operation,
    v1: Arc<str>,
    plain: OnceLock<Arc<str>>,
    rare: OnceLock<Box<Rare>>,
}

/// Encodings that most events never need.
#[derive(Debug, Default)]
struct Rare {
    public_v1: OnceLock<Arc<str>>,
    public_plain: OnceLock<Arc<str>>,
    left_v1: OnceLock<Option<Arc<str>>>,
    left_plain: OnceLock<Option<Arc<str>>>,
}

impl Event {
    /// An event from its `tautline.v1` frame.
    pub fn new(seq: Seq, kind: String, at_ms: u64, about: About, v1: Arc<str>) -> Self {
        Self {
            seq,
            seen_by: Operation::to_see(&kind),
            kind,
            at_ms,
            about,
            v1,
            plain: OnceLock::new(),
            rare: OnceLock::new(),
        }
    }

    /// The frame that the store keeps.
    pub fn stored(&self) -> &Arc<str> {
        &self.v1
    }

    /// Its frame in a dialect for a class; all but the stored one are made on first need, at most once.
    pub fn frame(&self, dialect: Dialect, class: Class) -> &Arc<str> {
        let plain = |v1: &Arc<str>| match plain_twin(&self.kind, v1) {
            Some(twin) => twin.into(),
            None => Arc::clone(v1),
        };
        let public = || {
            self.rare()
                .public_v1
                .get_or_init(|| match public_twin(&self.v1) {
                    Some(twin) => twin.into(),
                    None => Arc::clone(&self.v1),
                })
        };
        match (dialect, class) {
            (Dialect::V1, Class::Staff) => &self.v1,
            (Dialect::Plain, Class::Staff) => self.plain.get_or_init(|| plain(&self.v1)),
            (Dialect::V1, Class::Public) => public(),
            (Dialect::Plain, Class::Public) => {
                self.rare().public_plain.get_or_init(|| plain(public()))
            }
        }
    }

    /// What those are told who saw the order before and may not see it after.
    pub(super) fn left(&self, dialect: Dialect) -> Option<&Arc<str>> {
        let About::Order { id, .. } = &self.about else {
            return None;
        };
        let v1 = self
            .rare()
            .left_v1
            .get_or_init(|| left_twin(&self.v1, id).map(Arc::from));
        match dialect {
            Dialect::V1 => v1.as_ref(),
            Dialect::Plain => self
                .rare()
                .left_plain
                .get_or_init(|| {
                    let v1 = v1.as_ref()?;
                    let twin = plain_twin(tautline_protocol::event::ORDER_DELETED, v1);
                    Some(twin.map_or_else(|| Arc::clone(v1), Arc::from))
                })
                .as_ref(),
        }
    }

    /// What it takes to see it.
    pub(super) fn seen_by(&self) -> Operation {
        self.seen_by
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
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
