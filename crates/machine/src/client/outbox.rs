//! What the page wants the server to do and has no answer for yet (`docs/protocol.md` §1, Commands).
//!
//! In v1 an entry stays until its ack and is resent under the same id; in the plain dialect it is written once. Where the
//! outbox outlives the page (`docs/decisions/0041-an-outbox-that-outlives-the-tab.md`) nothing is sent that is not in
//! storage, marked there as what may be on the wire.

mod stored;

use super::io::{Answer, AttemptId, Command, Failure, Output};
use super::pace::Pace;
use super::record::Fields;
use crate::Time;
use crate::sorted::{SortedMap, SortedSet};
use std::collections::VecDeque;
use stored::is_for_good;
use tautline_protocol::limits::{self, DEDUPE_MS};
use tautline_protocol::{Dialect, ErrorCode, NackCode, Outcome, Seq, client_frame, is_command_id};

/// Commands without an answer on the wire at once: well below what the relay queues of answers for one connection.
const WINDOW: usize = limits::CLIENT_IN_FLIGHT;
/// More than the frame around type, id and payload takes.
const FRAME_BYTES: usize = 40;

/// An entry's place in the line; those of dead pages come before all that this one sends.
type Key = i64;

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Waiting for the connection or its turn.
    Queued,
    /// Written, unanswered.
    Sent,
    /// Acked; waiting for the order set to show it.
    Acked,
}

/// An entry as `outbox()` shows it.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// Where it is.
    pub state: EntryState,
    /// How long it has been here.
    pub age_ms: u64,
    /// Bytes of its payload.
    pub bytes: usize,
    /// The payload.
    pub payload: &'a str,
    /// How long it may wait for a connection.
    pub ttl_ms: u64,
    /// How long ago it was first written.
    pub sent_age_ms: Option<u64>,
    /// Whether a page that is dead left it.
    pub adopted: bool,
}

/// What of an entry is in storage; `bool`: with the mark that it may be on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Nothing, and nothing is to be: memory has to do.
    No,
    /// Nothing yet.
    New,
    /// A write is under way.
    Writing(bool),
    Written(bool),
}

#[derive(Debug)]
struct Entry {
    id: String,
    kind: String,
    payload: String,
    queued_at: Time,
    /// How old it was then: it is of another page.
    earlier_ms: u64,
    ttl_ms: u64,
    deadline: Option<Time>,
    until_shown: bool,
    state: EntryState,
    first_sent: Option<Time>,
    /// How long before that another page had sent it.
    sent_earlier_ms: u64,
    kept: Kept,
    adopted: bool,
    /// It was on the wire when a connection ended: that copy may yet arrive.
    copy_abroad: bool,
    /// The event it caused, seen before its ack.
    seen: Option<Option<Seq>>,
    /// The position that its answer waits for, in which history.
    waits_for: Option<(u32, Seq)>,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.kind.len() + self.id.len() + self.payload.len()
    }

    fn fits(&self, max_message: u32) -> bool {
        self.bytes() + FRAME_BYTES <= max_message as usize
    }

    fn age_ms(&self, now: Time) -> u64 {
        (now - self.queued_at).saturating_add(self.earlier_ms)
    }

    fn sent_age_ms(&self, now: Time) -> Option<u64> {
        self.first_sent
            .map(|at| (now - at).saturating_add(self.sent_earlier_ms))
    }

    /// Whether sent again it could be applied twice: the server may have forgotten it, or remembers nothing.
    fn is_forgotten(&self, dialect: Dialect, dedupe_ms: u64, now: Time) -> bool {
        self.sent_age_ms(now)
            .is_some_and(|age| dialect == Dialect::Plain || age > dedupe_ms)
    }

    /// Why it is not to be sent on a connection that is there now.
    fn hopeless(
        &self,
        dialect: Dialect,
        dedupe_ms: u64,
        max_message: u32,
        now: Time,
    ) -> Option<ErrorCode> {
        if self.age_ms(now) > self.ttl_ms || self.is_forgotten(dialect, dedupe_ms, now) {
            Some(ErrorCode::OutboxExpired)
        } else if !self.fits(max_message) {
            Some(ErrorCode::MessageTooLarge)
        } else {
            None
        }
    }

    /// The answer of one that is given up: what is known of it, else why and what may have become of it.
    fn given_up(&self, code: ErrorCode) -> Answer {
        match (self.waits_for, self.seen) {
            (Some((_, seq)), _) => Answer::Acked { seq: Some(seq) },
            (None, Some(seq)) => Answer::Confirmed { seq },
            (None, None) => Answer::Failed {
                code,
                outcome: self.outcome(code),
            },
        }
    }

    fn outcome(&self, code: ErrorCode) -> Outcome {
        // What a disposed service leaves in storage another page sends.
        let left = code == ErrorCode::Disposed && self.kept != Kept::No;
        if self.first_sent.is_some() || left {
            Outcome::Unknown
        } else {
            Outcome::NotSent
        }
    }
}

#[derive(Debug)]
pub(super) struct Outbox {
    entries: SortedMap<Key, Entry>,
    by_id: SortedMap<String, Key>,
    queued: SortedSet<Key>,
    deadlines: SortedSet<(Time, Key)>,
    /// Acked and not shown yet: history, event, entry.
    waiting: SortedSet<(u32, Seq, Key)>,
    in_flight: usize,
    bytes: usize,
    next: Key,
    /// Whether it outlives the page.
    stored: bool,
    /// Storage was asked so often for what dead pages left, and has not answered: it goes first.
    asked: u32,
    limit: usize,
    limit_bytes: usize,
    dedupe_ms: u64,
    writable: bool,
    pace: Pace,
}

impl Outbox {
    pub(super) fn new(limit: usize, limit_bytes: usize, stored: bool, now: Time) -> Self {
        Self {
            entries: SortedMap::new(),
            by_id: SortedMap::new(),
            queued: SortedSet::new(),
            deadlines: SortedSet::new(),
            waiting: SortedSet::new(),
            in_flight: 0,
            bytes: 0,
            next: 0,
            stored,
            asked: 0,
            limit,
            limit_bytes,
            dedupe_ms: DEDUPE_MS,
            writable: true,
            pace: Pace::new(now),
        }
    }

    /// Of an empty one.
    pub(super) fn fields(&mut self, f: &mut impl Fields) {
        let mut next = self.next.cast_unsigned();
        f.n(&mut next);
        self.next = next.cast_signed();
        f.n(&mut self.dedupe_ms);
        f.flag(&mut self.writable);
        self.pace.fields(f);
    }

    pub(super) fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    pub(super) fn set_dedupe_ms(&mut self, ms: u64) {
        self.dedupe_ms = ms;
    }

    pub(super) fn set_writable(&mut self, writable: bool) {
        self.writable = writable;
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an answer is held back until a position is reached.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn oldest_ms(&self, now: Time) -> Option<u64> {
        self.entries.values().next().map(|entry| entry.age_ms(now))
    }

    /// Whether it waits for storage to say what dead pages left.
    pub(super) fn is_held(&self) -> bool {
        self.asked > 0
    }

    pub(super) fn entries(&self, now: Time) -> impl Iterator<Item = EntryView<'_>> {
        self.entries.values().map(move |entry| EntryView {
            id: &entry.id,
            kind: &entry.kind,
            state: entry.state,
            age_ms: entry.age_ms(now),
            bytes: entry.payload.len(),
            payload: &entry.payload,
            ttl_ms: entry.ttl_ms,
            sent_age_ms: entry.sent_age_ms(now),
            adopted: entry.adopted,
        })
    }

    /// When the next request's time is over.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Takes a message in; `id` is made by the caller when the command has none.
    pub(super) fn push(
        &mut self,
        command: Command,
        id: String,
        ttl_ms: u64,
        max_message: u32,
        now: Time,
    ) -> Result<(), Failure> {
        let refuse = |code, message| {
            Err(Failure {
                code,
                message,
                stage: None,
                close: None,
            })
        };
        if !is_command_id(&id) {
            return refuse(
                ErrorCode::InvalidArgument,
                "an id has 1 to 64 of the letters A-Z a-z 0-9 . _ ~ -",
            );
        }
        if self.by_id.contains_key(&id) {
            return refuse(
                ErrorCode::InvalidArgument,
                "a message with this id is in the outbox already; use another id",
            );
        }
        let entry = Entry {
            id: id.clone(),
            kind: command.kind,
            payload: command.payload,
            queued_at: now,
            earlier_ms: 0,
            ttl_ms,
            deadline: command.timeout_ms.map(|ms| now + ms),
            until_shown: command.until_shown,
            state: EntryState::Queued,
            first_sent: command.sent_at,
            sent_earlier_ms: 0,
            kept: if self.stored { Kept::New } else { Kept::No },
            adopted: false,
            copy_abroad: command.sent_at.is_some(),
            seen: None,
            waits_for: None,
        };
        if !entry.fits(max_message) {
            return refuse(
                ErrorCode::MessageTooLarge,
                "the message is larger than the server takes; send less at once",
            );
        }
        if self.entries.len() >= self.limit || self.bytes + entry.bytes() > self.limit_bytes {
            return refuse(
                ErrorCode::OutboxFull,
                "the outbox is full; wait for the connection, or raise outboxLimit",
            );
        }
        let key = self.next;
        self.next += 1;
        self.insert(key, entry);
        Ok(())
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        self.bytes += entry.bytes();
        if let Some(at) = entry.deadline {
            self.deadlines.insert((at, key));
        }
        self.by_id.insert(entry.id.clone(), key);
        self.queued.insert(key);
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.bytes -= entry.bytes();
        self.by_id.remove(&entry.id);
        self.queued.remove(&key);
        if let Some((history, seq)) = entry.waits_for {
            self.waiting.remove(&(history, seq, key));
        }
        if entry.state == EntryState::Sent {
            self.in_flight -= 1;
        }
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, key));
        }
        Some(entry)
    }

    fn settle(&mut self, key: Key, answer: Answer, out: &mut VecDeque<Output>) {
        if let Some(entry) = self.remove(key) {
            self.over(entry, answer, out);
        }
    }

    fn give_up(&mut self, key: Key, code: ErrorCode, out: &mut VecDeque<Output>) {
        if let Some(entry) = self.remove(key) {
            let answer = entry.given_up(code);
            self.over(entry, answer, out);
        }
    }

    fn over(&self, entry: Entry, answer: Answer, out: &mut VecDeque<Output>) {
        let id = entry.id;
        if self.stored {
            match &answer {
                // The next page goes on with it.
                Answer::Failed {
                    code: ErrorCode::Disposed,
                    ..
                } => {}
                answer if is_for_good(answer) => {
                    out.push_back(Output::SetAside(id.clone(), answer.clone()));
                }
                _ => out.push_back(Output::Unstore(id.clone())),
            }
        }
        out.push_back(Output::Settled(id, answer));
    }

    /// A connection is there: gives up what waited too long or is more than this server takes, and leaves the rest
    /// lined up in call order, what was sent before and never answered first of all.
    pub(super) fn connected(
        &mut self,
        dialect: Dialect,
        max_message: u32,
        now: Time,
        out: &mut VecDeque<Output>,
    ) {
        self.writable = true;
        let queued: Vec<Key> = self.queued.iter().copied().collect();
        for key in queued {
            self.judge(key, dialect, max_message, now, out);
        }
    }

    fn judge(
        &mut self,
        key: Key,
        dialect: Dialect,
        max_message: u32,
        now: Time,
        out: &mut VecDeque<Output>,
    ) {
        let entry = self.entries.get(&key);
        let why = entry.and_then(|entry| entry.hopeless(dialect, self.dedupe_ms, max_message, now));
        if let Some(code) = why {
            self.give_up(key, code, out);
        }
    }

    /// The connection is gone: whatever was on the wire leaves again on the next one.
    pub(super) fn disconnected(&mut self) {
        for (&key, entry) in self.entries.iter_mut() {
            if entry.state == EntryState::Sent {
                entry.state = EntryState::Queued;
                entry.copy_abroad = true;
                self.queued.insert(key);
            }
        }
        self.in_flight = 0;
    }

    /// Writes what may leave now; says when more may, if the pace is what holds it.
    pub(super) fn flush(
        &mut self,
        attempt: AttemptId,
        dialect: Dialect,
        now: Time,
        out: &mut VecDeque<Output>,
    ) -> Option<Time> {
        if self.is_held() {
            return None;
        }
        while self.writable && (self.in_flight < WINDOW || dialect == Dialect::Plain) {
            let key = *self.queued.first()?;
            let entry = self.entries.get(&key)?;
            if entry.is_forgotten(dialect, self.dedupe_ms, now) {
                self.give_up(key, ErrorCode::OutboxExpired, out);
                continue;
            }
            if !matches!(entry.kept, Kept::No | Kept::Written(true)) {
                self.mark(out);
                return None;
            }
            if let Err(at) = self.pace.take(now) {
                return Some(at);
            }
            self.queued.remove(&key);
            let entry = self.entries.get_mut(&key)?;
            let frame = client_frame::command(&entry.kind, Some(&entry.id), &entry.payload);
            out.push_back(Output::Send(attempt, frame));
            entry.first_sent.get_or_insert(now);
            match dialect {
                Dialect::Plain => self.settle(key, Answer::Written, out),
                Dialect::V1 => {
                    entry.state = EntryState::Sent;
                    self.in_flight += 1;
                }
            }
        }
        None
    }

    /// The server acked: answers, or keeps the answer until the position is reached. `place` is the history and the
    /// position in it of an order set that will show the event.
    pub(super) fn acked(
        &mut self,
        id: &str,
        seq: Option<Seq>,
        place: Option<(u32, Option<Seq>)>,
        out: &mut VecDeque<Output>,
    ) {
        let Some(&key) = self.by_id.get(id) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let shown_at = match (seq, place) {
            (Some(seq), Some((history, position)))
                if entry.until_shown && position.is_none_or(|at| at < seq) =>
            {
                (history, seq)
            }
            _ => return self.settle(key, Answer::Acked { seq }, out),
        };
        match std::mem::replace(&mut entry.state, EntryState::Acked) {
            EntryState::Sent => self.in_flight -= 1,
            EntryState::Queued => {
                self.queued.remove(&key);
            }
            // A second ack says nothing new.
            EntryState::Acked => return,
        }
        entry.waits_for = Some(shown_at);
        self.waiting.insert((shown_at.0, shown_at.1, key));
        out.push_back(Output::Keep(entry.id.clone()));
    }

    /// The position is here now: answers everything the order set shows. What waited in an earlier history is in the
    /// snapshot that began this one, or nowhere.
    pub(super) fn reached(&mut self, history: u32, position: Seq, out: &mut VecDeque<Output>) {
        while let Some(&(then, seq, key)) = self.waiting.first() {
            if (then, seq) > (history, position) {
                break;
            }
            self.settle(key, Answer::Acked { seq: Some(seq) }, out);
        }
    }

    /// Answers everything that only waited to be shown: there is no set to show it.
    pub(super) fn stop_waiting(&mut self, out: &mut VecDeque<Output>) {
        for (_, seq, key) in std::mem::take(&mut self.waiting).into_iter() {
            self.settle(key, Answer::Acked { seq: Some(seq) }, out);
        }
    }

    /// The server refused. One refused for its rate leaves again by itself: the page did nothing wrong.
    ///
    /// "Not applied" is said of the copy that arrived. Where an earlier connection may still bring another, only a refusal
    /// that would meet that one too is the last word.
    pub(super) fn nacked(
        &mut self,
        id: &str,
        code: NackCode,
        outcome: Outcome,
        retry_after_ms: Option<u64>,
        now: Time,
        out: &mut VecDeque<Output>,
    ) {
        let Some(&key) = self.by_id.get(id) else {
            return;
        };
        let entry = self.entries.get(&key);
        // Whoever sent it is no more, and cannot try again by itself.
        let by_itself = entry.is_some_and(|entry| entry.adopted) && code.retryable();
        if code != NackCode::RateLimited && !by_itself {
            let last_word = matches!(code, NackCode::Invalid | NackCode::IdReused);
            let abroad = entry.is_some_and(|entry| entry.copy_abroad);
            let outcome = if abroad && !last_word {
                Outcome::Unknown
            } else {
                outcome
            };
            return self.settle(
                key,
                Answer::Nacked {
                    code,
                    outcome,
                    retry_after_ms,
                },
                out,
            );
        }
        self.pace.wait(retry_after_ms, now);
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.state == EntryState::Sent
        {
            entry.state = EntryState::Queued;
            self.in_flight -= 1;
            self.queued.insert(key);
        }
    }

    /// An event caused by the command came: it was applied, whatever becomes of its ack.
    pub(super) fn seen(&mut self, id: &str, seq: Option<Seq>) {
        if let Some(entry) = self.by_id.get(id).and_then(|key| self.entries.get_mut(key)) {
            entry.seen = Some(seq);
        }
    }

    /// Answers requests whose time is over.
    pub(super) fn expire(&mut self, now: Time, out: &mut VecDeque<Output>) {
        while let Some(&(at, key)) = self.deadlines.first() {
            if at > now {
                break;
            }
            self.deadlines.remove(&(at, key));
            self.give_up(key, ErrorCode::RequestTimeout, out);
        }
    }

    /// The caller gave up on one.
    pub(super) fn cancel(&mut self, id: &str, out: &mut VecDeque<Output>) -> bool {
        let Some(&key) = self.by_id.get(id) else {
            return false;
        };
        self.give_up(key, ErrorCode::Aborted, out);
        true
    }

    /// `disconnect()`: nothing may keep a timer, so what has a deadline or only waits to be shown is answered.
    pub(super) fn rest(&mut self, out: &mut VecDeque<Output>) {
        self.stop_waiting(out);
        for (_, key) in std::mem::take(&mut self.deadlines).into_iter() {
            self.give_up(key, ErrorCode::Aborted, out);
        }
    }

    /// `dispose()`: everything is answered.
    pub(super) fn dispose(&mut self, out: &mut VecDeque<Output>) {
        self.stop_waiting(out);
        let keys: Vec<Key> = self.entries.keys().copied().collect();
        for key in keys {
            self.give_up(key, ErrorCode::Disposed, out);
        }
    }
}
