//! One restaurant's log: judged on speculative state, shown only when committed (`docs/protocol.md` §1).

use std::sync::Arc;
use tautline_protocol::request::Command;
use tautline_protocol::{Dialect, Epoch, Role, Seq};
use super::cursor::Cursor;
use super::record::{Answer, Event, Record, Stored, Ticket};
use super::snapshot::Snapshot;
use super::Moment;

/// A number the driver gave with a command, handed back with the answer; the log never reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// Who a command is from and who waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// The token's `sub`.
    pub sub: &'a str,
    /// The token's role.
    pub role: Role,
    /// The command's id (or `Idempotency-Key`) and the hash of its type and payload, when it has an id.
    pub key: Option<(&'a str, u128)>,
    /// Gets the answer.
    pub waiter: Waiter,
}

/// What judging came to.
#[derive(Debug)]
#[must_use]
pub enum Judged {
    /// In the queue: the answer comes with [`Log::committed`] or [`Log::failed`].
    Queued,
    /// Answered at once: a refusal or a remembered ack, with nothing pending before it.
    Now(Answer),
}

/// Where a connection begins.
#[derive(Debug)]
pub enum Place {
    /// At this cursor.
    At {
        /// The position, to be driven by [`Cursor::take`].
        cursor: Cursor,
        /// The epoch to announce in `auth:success`.
        epoch: Epoch,
        /// The head to announce.
        seq: Seq,
        /// Whether the missed events follow.
        resumed: bool,
    },
    /// The client holds events this log never had: [`Log::begin_epoch`], commit, and place it again.
    HistoryLost,
}

/// The committed part read by many, the pending part written by one; see the module.
#[derive(Debug)]
pub struct Log { _todo: () }

impl Log {
    /// A log as the store has it. `stored.epoch` must be there (the driver makes and stores a first one).
    pub fn load(_restaurant_id: &str, _epoch: Epoch, _stored: Stored, _at: Moment) -> Self { todo!() }
    /// Judges a command against committed and pending state. `fresh_id` is the id of an order if one is made.
    pub fn judge(&mut self, _command: &Command, _by: By<'_>, _fresh_id: &str, _at: Moment) -> Judged { todo!() }
    /// Archives what has been final for long enough, at most once a minute; call it about as often.
    /// Whether there is something new for [`Log::take_batch`].
    pub fn tick(&mut self, _at: Moment) -> bool { todo!() }
    /// Begins a new epoch: a record of its own, in force once committed.
    pub fn begin_epoch(&mut self, _epoch: Epoch) { todo!() }
    /// The next records for the store, in order, each handed out once: at most `records` of them and about `bytes`
    /// (at least one if there is any).
    pub fn take_batch(&mut self, _records: usize, _bytes: usize) -> Vec<Arc<Record>> { todo!() }
    /// Everything up to this ticket is durable: shows the events and gives the answers in the order of judging.
    pub fn committed(&mut self, _upto: Ticket) -> Vec<(Waiter, Answer)> { todo!() }
    /// The store refused: everything pending is nacked `unavailable` / `not_applied`, and judging starts again
    /// from the committed state. Reports for older tickets may still arrive; they do nothing.
    pub fn failed(&mut self) -> Vec<(Waiter, Answer)> { todo!() }
    /// Whether records wait that [`Log::take_batch`] has not handed out.
    pub fn has_batch(&self) -> bool { todo!() }
    /// Records judged and not yet committed.
    pub fn pending(&self) -> usize { todo!() }
    /// The epoch in force.
    pub fn epoch(&self) -> &Epoch { todo!() }
    /// The last committed event's position.
    pub fn head(&self) -> Seq { todo!() }
    /// The restaurant.
    pub fn restaurant_id(&self) -> &str { todo!() }
    /// Where a connection begins: resumed at `resume` when the log still has what follows, else with a snapshot if
    /// `sync`, else at the head.
    pub fn place(&self, _dialect: Dialect, _role: Role, _resume: Option<(&Epoch, Seq)>, _sync: bool) -> Place { todo!() }
    /// The committed live set at the head, made once and shared until the head moves.
    pub fn snapshot(&self) -> Arc<Snapshot> { todo!() }
    /// A committed order of the live set. Its phone number is for HTTP only.
    pub fn order(&self, _id: &str) -> Option<&Arc<tautline_protocol::order::Order>> { todo!() }
    /// The committed live set, by id.
    pub fn orders(&self) -> impl Iterator<Item = &Arc<tautline_protocol::order::Order>> { std::iter::empty() }
    /// The oldest position whose successors are still served (from memory or store).
    pub fn oldest(&self) -> Seq { todo!() }
    /// The event at a position, when it is in memory.
    pub fn event(&self, _seq: Seq) -> Option<&Arc<Event>> { todo!() }
}
