//! A connection's position in the log: no queue of events, only where it is (`docs/protocol.md` §1, Turns, Sync).

use super::log::{Log, Resume};
use super::record::Event;
use super::snapshot::Snapshot;
use super::turns::{self, SharedTurn, Turns};
use super::view::{Scope, Shown, Viewer};
use std::sync::Arc;
use tautline_protocol::filter::Filter;
use tautline_protocol::{Dialect, Epoch, Seq, limits, server_frame};

/// Events looked at in one turn of a connection that sees few of them.
const LOOKED_AT: usize = 1_024;
/// About what a cursor frame adds to a turn.
const CURSOR_BYTES: usize = 96;

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
        match self {
            Self::Static(text) => text,
            Self::Own(text) => text,
            Self::Shared(text) => text,
        }
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

impl Message {
    /// The whole text, copied together.
    pub fn text(&self) -> String {
        self.pieces.iter().map(Piece::as_str).collect()
    }

    fn push(&mut self, piece: Piece) {
        self.len += piece.as_str().len();
        self.pieces.push(piece);
    }

    fn own(text: String) -> Self {
        let mut message = Self::default();
        message.push(Piece::Own(text));
        message
    }
}

/// What a connection may be sent next.
#[derive(Debug)]
pub enum Taken {
    /// These messages, in one write; none when all that was looked at is not this connection's, and there is more.
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

/// A snapshot under way.
#[derive(Debug)]
struct Sending {
    snapshot: Arc<Snapshot>,
    _sender: Arc<()>,
    /// The next part.
    next: usize,
    sync_id: String,
    /// A connection that was at a position gets the events up to the snapshot first: they are not only about orders.
    catch_up: bool,
    /// Fresh ones before it that came too late.
    stale: u32,
    /// The one before it, parts of which the client holds: it is told that they are void.
    aborts: Option<String>,
}

impl Sending {
    /// The snapshot whose parts the client holds while it waits for more.
    fn begun(&self) -> Option<&String> {
        if self.next > 0 {
            Some(&self.sync_id)
        } else {
            self.aborts.as_ref()
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Cursor {
    viewer: Box<Viewer>,
    epoch: Epoch,
    at: Seq,
    /// The position the client knows of; behind `at` by what was not for its eyes.
    told: Seq,
    /// Where it is to be told of, whatever is for its eyes: a pong named this head.
    promised: Option<Seq>,
    sending: Option<Box<Sending>>,
    /// Where a sync that resumed is complete.
    mark: Option<Seq>,
    /// Events read from the store, shared with others at the same place.
    chunk: Option<Arc<[Arc<Event>]>>,
    /// The store had no more of what was asked for.
    fell_off: bool,
    /// Snapshots named by the relay.
    named: u32,
}

impl Cursor {
    /// Everything up to `at` is known to the client.
    pub(super) fn at_position(viewer: Viewer, epoch: Epoch, at: Seq) -> Self {
        Self {
            viewer: Box::new(viewer),
            epoch,
            at,
            told: at,
            promised: None,
            sending: None,
            mark: None,
            chunk: None,
            fell_off: false,
            named: 0,
        }
    }

    /// The client knows nothing and gets a snapshot first.
    pub(super) fn at_snapshot(viewer: Viewer, snapshot: Arc<Snapshot>) -> Self {
        let mut cursor = Self::at_position(viewer, snapshot.epoch.clone(), snapshot.seq);
        cursor.send(snapshot, None, false, 0);
        cursor
    }

    /// The next turn: at most 64 events or 128 KiB, at least one event if there is any.
    pub fn take(&mut self, log: &Log) -> Taken {
        if *log.epoch() != self.epoch {
            return self.reset(log);
        }
        let mut most = log.head();
        if let Some(sending) = &self.sending
            && sending.snapshot.seq < log.oldest()
        {
            // It cannot fall off the tail while a snapshot is sent; but it cannot go on for ever either.
            let stale = sending.stale + 1;
            if stale > limits::SNAPSHOTS_IN_A_ROW {
                return Taken::TooSlow;
            }
            // Parts of two snapshots are never under one id.
            let sync_id = (sending.next == 0).then(|| sending.sync_id.clone());
            self.send(log.snapshot(&self.viewer), sync_id, false, stale);
        }
        if let Some(sync_id) = self.sending.as_mut().and_then(|one| one.aborts.take()) {
            return Taken::Turn {
                messages: vec![Message::own(server_frame::sync_aborted(
                    &sync_id, "replaced",
                ))],
                events: 0,
                synced: false,
            };
        }
        if let Some(sending) = &mut self.sending {
            let reached =
                self.fell_off || self.at >= sending.snapshot.seq || self.at < log.oldest();
            if reached || !sending.catch_up {
                return self.part();
            }
            most = sending.snapshot.seq;
        }
        if let Some(mark) = self.mark {
            if self.at >= mark {
                self.mark = None;
                let complete = server_frame::sync_resumed(&self.epoch, mark);
                let frames = self.tell().into_iter().chain([complete]);
                return Taken::Turn {
                    messages: frames.map(Message::own).collect(),
                    events: 0,
                    synced: true,
                };
            }
            most = mark;
        }
        self.events(log, most)
    }

    /// The next turn when others are owed just the same, as bytes that all of them share. `None` when this one stands
    /// alone, or is at the head: [`Cursor::take`] then. `frame` makes of the messages what is sent.
    pub fn take_shared<W>(
        &mut self,
        log: &Log,
        turns: &mut Turns<W>,
        frame: impl FnOnce(&[Message]) -> W,
    ) -> Option<Arc<SharedTurn<W>>> {
        let alone = self.sending.is_some()
            || self.mark.is_some()
            || self.fell_off
            || self.at >= log.head()
            || *log.epoch() != self.epoch
            || log.event(self.at + 1).is_none();
        let place = turns::Place {
            alike: self.viewer.alike().filter(|_| !alone)?,
            after: self.at,
            told: self.told,
            head: log.head(),
        };
        let turn = match turns.find(place) {
            turns::Known::No => return None,
            turns::Known::Turn(turn) => turn,
            turns::Known::Once => {
                let Taken::Turn {
                    messages, events, ..
                } = self.events(log, log.head())
                else {
                    return None;
                };
                if messages.is_empty() {
                    return None;
                }
                let turn = Arc::new(SharedTurn {
                    wire: frame(&messages),
                    events,
                    upto: self.at,
                    told: self.told,
                });
                turns.keep(place, &turn);
                turn
            }
        };
        self.chunk = None;
        (self.at, self.told) = (turn.upto, turn.told);
        Some(turn)
    }

    /// Events read from the store for [`Taken::Read`]: those right after the position, in order; shared with other
    /// cursors at the same place. Empty when the store has them no more. Ignored when no longer asked for.
    pub fn supply(&mut self, epoch: &Epoch, events: Arc<[Arc<Event>]>) {
        if *epoch != self.epoch {
            return;
        }
        match events.first() {
            None => self.fell_off = true,
            Some(first) if first.seq == self.at + 1 => self.chunk = Some(events),
            Some(_) => {}
        }
    }

    /// A client's `orders:sync`: from its position if the log still has what follows, else the whole set.
    pub fn sync(
        &mut self,
        log: &Log,
        id: Option<String>,
        position: Option<(&Epoch, Seq)>,
    ) -> Result<(), HistoryLost> {
        match log.resumes(self.viewer.scope().role, position) {
            Resume::From(seq) if *log.epoch() == self.epoch => {
                // Not beyond what was sent, whatever the client says it has.
                self.at = self.at.min(seq);
                self.told = self.at;
                self.sending = None;
                self.chunk = None;
                self.mark = Some(log.head());
                Ok(())
            }
            Resume::From(_) | Resume::No => {
                self.mark = None;
                self.send(log.snapshot(&self.viewer), id, self.stands(), 0);
                Ok(())
            }
            Resume::Lost => {
                self.mark = None;
                self.send(log.snapshot(&self.viewer), id, self.stands(), 0);
                Err(HistoryLost)
            }
        }
    }

    /// The position: everything up to it has been taken.
    pub fn at(&self) -> Seq {
        self.at
    }

    /// Who reads.
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// The cursor frame that takes the client's position to this one: `None` when it is there, or when a snapshot on
    /// its way will take it further. Once a heartbeat, and before a pong that names the head; if it is not at the head
    /// yet, another follows there.
    pub fn account(&mut self, log: &Log) -> Option<String> {
        if self.at < log.head() {
            self.promised = Some(log.head());
        }
        self.tell()
    }

    fn tell(&mut self) -> Option<String> {
        let due = self.viewer.dialect() == Dialect::V1
            && self.told < self.at
            && self
                .sending
                .as_ref()
                .is_none_or(|sending| sending.begun().is_none());
        due.then(|| {
            let from = std::mem::replace(&mut self.told, self.at);
            server_frame::cursor(&self.epoch, from, self.at)
        })
    }

    /// Another filter from here on; the position from which it holds.
    pub fn filter(&mut self, filter: Filter) -> (Epoch, Seq) {
        *self.viewer = self.viewer.with_filter(filter);
        (self.epoch.clone(), self.at)
    }

    /// The token speaks for somebody else now: what is left to see follows as a snapshot.
    pub fn rescope(&mut self, log: &Log, scope: Scope) {
        *self.viewer = self.viewer.with_scope(scope);
        self.mark = None;
        self.send(log.snapshot(&self.viewer), None, self.stands(), 0);
    }

    /// Whether the client is at a position, so that events can follow it; else it waits for a snapshot to give it one.
    fn stands(&self) -> bool {
        self.sending.as_ref().is_none_or(|sending| sending.catch_up)
    }

    pub(super) fn sending(&self) -> Option<&Arc<Snapshot>> {
        self.sending.as_ref().map(|sending| &sending.snapshot)
    }

    fn send(
        &mut self,
        snapshot: Arc<Snapshot>,
        sync_id: Option<String>,
        catch_up: bool,
        stale: u32,
    ) {
        let sync_id = sync_id.unwrap_or_else(|| {
            self.named += 1;
            format!("relay.{}", self.named)
        });
        let before = self
            .sending
            .as_ref()
            .filter(|_| self.viewer.dialect() == Dialect::V1);
        let aborts = before.and_then(|one| one.begun().cloned());
        self.sending = Some(Box::new(Sending {
            _sender: snapshot.sender(),
            snapshot,
            next: 0,
            sync_id,
            catch_up,
            stale,
            aborts,
        }));
    }

    /// The log has another history now: what was under way is void, and a snapshot of the new one follows.
    fn reset(&mut self, log: &Log) -> Taken {
        let mut messages = Vec::new();
        if self.viewer.dialect() == Dialect::V1 {
            if let Some(sync_id) = self.sending.as_ref().and_then(|sending| sending.begun()) {
                messages.push(Message::own(server_frame::sync_aborted(sync_id, "epoch")));
            }
            messages.push(Message::own(server_frame::reset(log.epoch(), log.head())));
        }
        let asked = self.sending.take().map(|sending| sending.sync_id);
        self.epoch = log.epoch().clone();
        self.at = log.head();
        self.told = self.at;
        self.mark = None;
        self.chunk = None;
        self.fell_off = false;
        self.send(log.snapshot(&self.viewer), asked, false, 0);
        if messages.is_empty() {
            self.part()
        } else {
            Taken::Turn {
                messages,
                events: 0,
                synced: false,
            }
        }
    }

    fn part(&mut self) -> Taken {
        let Some(sending) = &mut self.sending else {
            return Taken::Idle;
        };
        let snapshot = Arc::clone(&sending.snapshot);
        let mut message = Message::default();
        if let Some(orders) = snapshot.parts.get(sending.next) {
            sending.next += 1;
            let (seq, parts) = (snapshot.seq, snapshot.parts.len());
            let begin = server_frame::snapshot_begin(
                &sending.sync_id,
                &snapshot.epoch,
                seq,
                sending.next,
                parts,
            );
            message.push(Piece::Own(begin));
            message.push(Piece::Shared(Arc::clone(orders)));
            message.push(Piece::Static(server_frame::SNAPSHOT_END));
        }
        let synced = sending.next >= snapshot.parts.len();
        if synced {
            self.at = snapshot.seq;
            self.told = self.at;
            self.chunk = None;
            self.fell_off = false;
            self.sending = None;
        }
        Taken::Turn {
            messages: vec![message],
            events: 0,
            synced,
        }
    }

    fn events(&mut self, log: &Log, most: Seq) -> Taken {
        if self.fell_off || self.at < log.oldest() {
            return Taken::TooSlow;
        }
        let v1 = self.viewer.dialect() == Dialect::V1;
        let mut turn = Vec::new();
        let (mut events, mut bytes, mut looked) = (0, 0, 0);
        while self.at < most && events < limits::TURN_EVENTS && looked < LOOKED_AT {
            let Some(event) = self.next(log) else { break };
            looked += 1;
            let Some(frame) = self.viewer.frame(&event) else {
                self.at = event.seq;
                continue;
            };
            let frame = match frame {
                Shown::Shared(frame) => Piece::Shared(frame),
                Shown::Own(frame) => Piece::Own(frame),
            };
            let skipped = v1 && self.told + 1 < event.seq;
            bytes += frame.as_str().len() + if skipped { CURSOR_BYTES } else { 0 };
            if events > 0 && bytes > limits::TURN_BYTES {
                break;
            }
            if skipped {
                let cursor = server_frame::cursor(&self.epoch, self.told, event.seq - 1);
                turn.push(Piece::Own(cursor));
            }
            self.at = event.seq;
            self.told = event.seq;
            turn.push(frame);
            events += 1;
        }
        let promised = self.promised.take_if(|seq| self.at >= *seq).is_some();
        if events > 0 || promised {
            turn.extend(self.tell().map(Piece::Own));
        }
        if turn.is_empty() {
            if looked == 0 && self.at < most {
                return Taken::Read { after: self.at };
            }
            if looked == 0 || (self.at >= most && self.sending.is_none() && self.mark.is_none()) {
                return Taken::Idle;
            }
        }
        Taken::Turn {
            messages: messages(self.viewer.dialect(), turn),
            events,
            synced: false,
        }
    }

    fn next(&mut self, log: &Log) -> Option<Arc<Event>> {
        let seq = self.at + 1;
        if let Some(event) = log.event(seq) {
            self.chunk = None;
            return Some(Arc::clone(event));
        }
        let chunk = self.chunk.as_ref()?;
        let first = chunk.first()?.seq;
        let event = chunk
            .get(usize::try_from(seq.checked_sub(first)?).ok()?)
            .cloned();
        if event.is_none() {
            self.chunk = None;
        }
        event
    }
}

/// One array in v1, one frame each in plain.
fn messages(dialect: Dialect, frames: Vec<Piece>) -> Vec<Message> {
    let single = |frame| {
        let mut message = Message::default();
        message.push(frame);
        message
    };
    if dialect == Dialect::Plain || frames.len() < 2 {
        return frames.into_iter().map(single).collect();
    }
    let mut message = Message {
        pieces: Vec::with_capacity(frames.len() * 2 + 1),
        len: 0,
    };
    for (n, frame) in frames.into_iter().enumerate() {
        message.push(Piece::Static(if n == 0 { "[" } else { "," }));
        message.push(frame);
    }
    message.push(Piece::Static("]"));
    vec![message]
}
