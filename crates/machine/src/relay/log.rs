//! One restaurant's log: commands are judged in arrival order against committed plus pending state, and shown only
//! when committed (`docs/protocol.md` §1; Storage, embedded).

use super::Moment;
use super::about::About;
use super::budget::Weight;
use super::cursor::Cursor;
use super::dedupe::{self, Memory};
use super::fold::{self, Effect, Live, View};
use super::hits::Hits;
use super::record::{Ack, Answer, Dedupe, Event, Nack, OrderRow, Record, Stored, Ticket};
use super::snapshot::Snapshot;
use super::view::{Scope, Viewer};
use crate::Time;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock, Weak};
use tautline_protocol::filter::Traits;
use tautline_protocol::limits::hit;
use tautline_protocol::order::Order;
use tautline_protocol::request::{Command, Fact};
use tautline_protocol::{Epoch, NackCode, Role, Seq, limits, rfc3339, rfc3339_ms, server_frame};

/// Orders that one `orders:archived` takes out at most: its frame stays well under the frame limit.
const ARCHIVE_AT_ONCE: usize = 1_000;

/// A number the driver gave with a command, handed back with the answer; the log never reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// Who a command is from and who waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Who the token speaks for.
    pub scope: &'a Scope,
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
    /// Answered at once, because nothing is pending that the answer could rest on.
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

#[derive(Debug)]
struct Pending {
    record: Arc<Record>,
    answer: Answer,
    waiters: Vec<Waiter>,
    /// When its row of the duplicate memory may be forgotten.
    remember_until: Time,
    /// Whether its answer is that of a command applied before, which holds whatever the store does now.
    remembered: bool,
}

/// The committed part read by many, the pending part written by one; see the module.
#[derive(Debug)]
pub struct Log {
    restaurant_id: String,
    // Committed: all that anyone is shown.
    epoch: Epoch,
    head: Seq,
    /// Contiguous, ending at the head.
    tail: VecDeque<Arc<Event>>,
    tail_bytes: usize,
    /// Frame sizes of what is kept for resume, in memory or store, ending at the head.
    sizes: VecDeque<u32>,
    kept_bytes: usize,
    live: Live,
    memory: Memory,
    snapshot: OnceLock<Arc<Snapshot>>,
    /// Snapshots for those who see less, while anybody is being sent one.
    partial: RefCell<BTreeMap<String, Weak<Snapshot>>>,
    // Speculative: committed plus pending.
    pending: VecDeque<Pending>,
    in_flight: usize,
    next_ticket: u64,
    next_epoch: Epoch,
    next_seq: Seq,
    /// Orders that pending records change, by the last record that does.
    overlay: BTreeMap<String, (Ticket, Option<Arc<Order>>)>,
    /// The speculative live set's.
    weight: Weight,
    pending_keys: BTreeMap<String, Ticket>,
    archived: Option<Time>,
    keep_final_ms: u64,
    tail_events: usize,
    hits: Hits,
}

impl Log {
    /// A log as the store has it. For a restaurant never seen the driver makes an epoch and stores it first.
    pub fn load(restaurant_id: &str, epoch: Epoch, stored: Stored, at: Moment) -> Self {
        let mut log = Self {
            restaurant_id: restaurant_id.to_owned(),
            head: stored.head,
            tail: VecDeque::new(),
            tail_bytes: 0,
            sizes: VecDeque::new(),
            kept_bytes: 0,
            live: Live::default(),
            memory: Memory::default(),
            snapshot: OnceLock::new(),
            partial: RefCell::default(),
            pending: VecDeque::new(),
            in_flight: 0,
            next_ticket: 1,
            next_epoch: epoch.clone(),
            next_seq: stored.head + 1,
            overlay: BTreeMap::new(),
            weight: Weight::of(stored.orders.iter().map(|(order, _)| order)),
            pending_keys: BTreeMap::new(),
            archived: None,
            keep_final_ms: limits::KEEP_FINAL_MS,
            tail_events: limits::TAIL_EVENTS,
            hits: Hits::default(),
            epoch,
        };
        for size in stored.sizes {
            log.keep(size);
        }
        for event in stored.tail {
            log.tail_bytes += event.stored().len();
            log.tail.push_back(Arc::new(event));
        }
        log.trim_memory();
        for (order, changed_ms) in stored.orders {
            log.live.put(Arc::new(order), changed_ms);
        }
        for row in stored.dedupe {
            let age = at.wall_ms.saturating_sub(row.at_ms).min(limits::DEDUPE_MS);
            log.memory
                .remember(&row, at.now + (limits::DEDUPE_MS - age));
        }
        log
    }

    /// Judges a command against committed and pending state. `fresh_id` becomes the id of an order if one is made.
    pub fn judge(&mut self, command: &Command, by: By<'_>, fresh_id: &str, at: Moment) -> Judged {
        if self.pending.len() >= limits::APPEND_QUEUE {
            let mut nack = Nack::over(
                hit::APPEND_QUEUE,
                NackCode::Overloaded,
                "the store is behind; try again",
            );
            nack.retry_after_ms = Some(1_000);
            return Judged::Now(Answer::Nack(nack));
        }
        let key = by.key.map(|(id, _)| dedupe::key(&by.scope.sub, id));
        if let Some((key, (_, hash))) = key.as_ref().zip(by.key) {
            if let Some(ticket) = self.pending_keys.get(key).copied()
                && let Some(first) = self.pending_at(ticket)
            {
                let same = first
                    .record
                    .dedupe
                    .as_ref()
                    .is_some_and(|row| row.hash == hash);
                if same {
                    first.waiters.push(by.waiter);
                    return Judged::Queued;
                }
                return self.answer(id_reused(), by.waiter);
            }
            if let Some((remembered, ack)) = self.memory.recall(key) {
                let answer = if remembered == hash {
                    Answer::Ack(Arc::clone(ack))
                } else {
                    id_reused()
                };
                let judged = self.answer(answer, by.waiter);
                if let (Judged::Queued, Some(last)) = (&judged, self.pending.back_mut()) {
                    last.remembered = true;
                }
                return judged;
            }
        }
        let timestamp = rfc3339(self.stamp(command, at));
        let mut effect = self.effect(command, by.scope, fresh_id, &timestamp);
        if let Ok(Some(limit)) = effect
            .as_ref()
            .map(|effect| self.over_weight(command, effect))
        {
            // Room is made by an event of its own, so what follows has another position.
            effect = self.make_room(limit, at).and_then(|()| {
                let effect = self.effect(command, by.scope, fresh_id, &timestamp)?;
                self.over_weight(command, &effect)
                    .map_or(Ok(effect), |limit| Err(no_room(limit)))
            });
        }
        match effect {
            Err(nack) => self.answer(Answer::Nack(nack), by.waiter),
            Ok(effect) => {
                self.push(effect, Some((by, key)), &timestamp, at);
                Judged::Queued
            }
        }
    }

    /// How long final orders stay in the live set, in place of [`limits::KEEP_FINAL_MS`].
    pub fn keep_final(&mut self, ms: u64) {
        self.keep_final_ms = ms;
    }

    /// How many events are kept for resume, in place of [`limits::TAIL_EVENTS`].
    pub fn keep_tail(&mut self, events: usize) {
        self.tail_events = events;
        self.trim_kept();
        self.trim_memory();
    }

    /// Limits it met since the last time, for the driver to count.
    pub fn hits(&mut self) -> &mut Hits {
        &mut self.hits
    }

    /// Bytes of events in memory.
    pub fn memory_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Keeps no event in memory: who is behind reads from the store.
    pub fn forget_memory(&mut self) {
        self.tail.clear();
        self.tail_bytes = 0;
    }

    /// Archives what has been final for long enough, at most once a minute; call it about as often. Whether there is
    /// something new for [`Log::take_batch`].
    pub fn tick(&mut self, at: Moment) -> bool {
        let old = at.wall_ms.saturating_sub(self.keep_final_ms);
        self.archive(at, |changed_ms| changed_ms <= old)
    }

    /// Begins a new epoch: a record of its own, in force once committed.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.next_epoch = epoch.clone();
        let ticket = self.ticket();
        let record = Record {
            ticket,
            event: None,
            epoch: Some(epoch),
            orders: Vec::new(),
            dedupe: None,
            forgotten: Vec::new(),
            bytes: 64,
        };
        self.pending.push_back(Pending {
            record: Arc::new(record),
            answer: Answer::Ack(Arc::new(Ack {
                at: None,
                result: None,
            })),
            waiters: Vec::new(),
            remember_until: Time::default(),
            remembered: false,
        });
    }

    /// The next records for the store, in order: at most `records` of them and about `bytes` (at least one if there
    /// is any). One batch is out at a time: until it is [`Log::committed`] or [`Log::failed`] there is no other.
    pub fn take_batch(&mut self, records: usize, bytes: usize) -> Vec<Arc<Record>> {
        if self.in_flight > 0 {
            return Vec::new();
        }
        let mut sum = 0;
        let batch: Vec<_> = self
            .pending
            .iter()
            .take(records)
            .take_while(|pending| {
                let first = sum == 0;
                sum += pending.record.bytes.max(1);
                first || sum <= bytes
            })
            .map(|pending| Arc::clone(&pending.record))
            .collect();
        self.in_flight = batch.len();
        batch
    }

    /// Everything up to this ticket is durable: shows the events and gives the answers in the order of judging.
    pub fn committed(&mut self, upto: Ticket, at: Moment) -> Vec<(Waiter, Answer)> {
        let mut answers = Vec::new();
        while let Some(pending) = self
            .pending
            .pop_front_if(|pending| pending.record.ticket <= upto)
        {
            self.in_flight = self.in_flight.saturating_sub(1);
            self.show(&pending, at);
            answers.extend(
                pending
                    .waiters
                    .iter()
                    .map(|&waiter| (waiter, pending.answer.clone())),
            );
        }
        answers
    }

    /// The store refused the batch: everything pending is nacked `unavailable` / `not_applied`, and judging starts
    /// again from the committed state.
    pub fn failed(&mut self) -> Vec<(Waiter, Answer)> {
        let nack = Answer::Nack(Nack::new(
            NackCode::Unavailable,
            "the store cannot take it now; try again",
        ));
        let answers = self.pending.drain(..).flat_map(|pending| {
            // A command that was applied long ago only waited for its turn to be told so.
            let answer = if pending.remembered {
                pending.answer
            } else {
                nack.clone()
            };
            pending
                .waiters
                .into_iter()
                .map(move |waiter| (waiter, answer.clone()))
        });
        let answers = answers.collect();
        self.in_flight = 0;
        self.overlay.clear();
        self.pending_keys.clear();
        self.memory.stay();
        self.next_epoch = self.epoch.clone();
        self.next_seq = self.head + 1;
        self.weight = Weight::of(self.live.iter().map(Arc::as_ref));
        answers
    }

    /// Whether [`Log::take_batch`] would give something.
    pub fn has_batch(&self) -> bool {
        self.in_flight == 0 && !self.pending.is_empty()
    }

    /// Records judged and not yet committed.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The epoch in force.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The last committed event's position.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The restaurant.
    pub fn restaurant_id(&self) -> &str {
        &self.restaurant_id
    }

    /// Applied commands remembered.
    pub fn remembered(&self) -> usize {
        self.memory.len()
    }

    /// Where a connection begins: resumed at `resume` when what follows is still there, else with a snapshot if
    /// `sync`, else at the head.
    pub fn place(&self, viewer: Viewer, resume: Option<(&Epoch, Seq)>, sync: bool) -> Place {
        let epoch = self.epoch.clone();
        let (cursor, resumed) = match self.resumes(viewer.scope().role, resume) {
            Resume::Lost => return Place::HistoryLost,
            Resume::From(seq) => (Cursor::at_position(viewer, epoch.clone(), seq), true),
            Resume::No if sync => {
                let snapshot = self.snapshot(&viewer);
                (Cursor::at_snapshot(viewer, snapshot), false)
            }
            Resume::No => (Cursor::at_position(viewer, epoch.clone(), self.head), false),
        };
        Place::At {
            cursor,
            epoch,
            seq: self.head,
            resumed,
        }
    }

    /// Whether what comes after a position is still there.
    pub fn follows(&self, (epoch, seq): (&Epoch, Seq)) -> bool {
        *epoch == self.epoch && (self.oldest()..=self.head).contains(&seq)
    }

    pub(super) fn resumes(&self, role: Role, position: Option<(&Epoch, Seq)>) -> Resume {
        match position {
            Some((epoch, seq)) if *epoch == self.epoch => match seq {
                // Only staff is believed: a new epoch costs everyone a snapshot.
                _ if seq > self.head && role.is_staff() => Resume::Lost,
                _ if seq > self.head || seq < self.oldest() => Resume::No,
                _ => Resume::From(seq),
            },
            _ => Resume::No,
        }
    }

    /// What a viewer is shown of the committed live set at the head; made once for all who are shown the same.
    pub fn snapshot(&self, viewer: &Viewer) -> Arc<Snapshot> {
        let make = || {
            let epoch = self.epoch.clone();
            Arc::new(self.live.snapshot(epoch, self.head, viewer))
        };
        if viewer.shows_every_order() {
            return Arc::clone(self.snapshot.get_or_init(make));
        }
        let mut partial = self.partial.borrow_mut();
        let key = viewer.key();
        if let Some(snapshot) = partial.get(&key).and_then(Weak::upgrade) {
            return snapshot;
        }
        let snapshot = make();
        partial.insert(key, Arc::downgrade(&snapshot));
        snapshot
    }

    /// What was made of the state before is not what comes now.
    fn moved(&mut self) {
        self.snapshot = OnceLock::new();
        self.partial.get_mut().clear();
    }

    /// A committed order of the live set. Its phone number is for [`Order::stored`] alone.
    pub fn order(&self, id: &str) -> Option<&Arc<Order>> {
        self.live.get(id)
    }

    /// The committed live set, by id.
    pub fn orders(&self) -> impl Iterator<Item = &Arc<Order>> {
        self.live.iter()
    }

    /// The oldest position whose successors are still served, from memory or store.
    pub fn oldest(&self) -> Seq {
        self.head.saturating_sub(self.sizes.len() as u64)
    }

    /// The event at a position, when it is in memory.
    pub fn event(&self, seq: Seq) -> Option<&Arc<Event>> {
        let first = self.tail.front()?.seq;
        self.tail
            .get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    fn pending_at(&mut self, ticket: Ticket) -> Option<&mut Pending> {
        let first = self.pending.front()?.record.ticket;
        self.pending
            .get_mut(usize::try_from(ticket.0.checked_sub(first.0)?).ok()?)
    }

    fn speculative(&self, id: &str) -> Option<Arc<Order>> {
        match self.overlay.get(id) {
            Some((_, order)) => order.clone(),
            None => self.live.get(id).cloned(),
        }
    }

    /// Answers in order of judging: an answer may rest on something pending, so it waits for that.
    fn answer(&mut self, answer: Answer, waiter: Waiter) -> Judged {
        if self.pending.is_empty() {
            return Judged::Now(answer);
        }
        let ticket = self.ticket();
        let record = Record {
            ticket,
            event: None,
            epoch: None,
            orders: Vec::new(),
            dedupe: None,
            forgotten: Vec::new(),
            bytes: 1,
        };
        let waiters = vec![waiter];
        self.pending.push_back(Pending {
            record: Arc::new(record),
            answer,
            waiters,
            remember_until: Time::default(),
            remembered: false,
        });
        Judged::Queued
    }

    /// The time that a change is given. `updated_at` is how a page tells two versions of an order apart, so two changes
    /// of one order never share a millisecond.
    fn stamp(&self, command: &Command, at: Moment) -> u64 {
        let id = match command {
            Command::Status { order_id, .. }
            | Command::ItemStatus { order_id, .. }
            | Command::Cancel { order_id, .. } => order_id,
            Command::Fact(fact) => match fact.as_ref() {
                Fact::Status { order_id, .. } | Fact::ItemStatus { order_id, .. } => order_id,
                Fact::Created(_) | Fact::Updated(_) | Fact::Deleted { .. } => return at.wall_ms,
            },
            Command::Create(_) | Command::Delete { .. } | Command::Publish { .. } => {
                return at.wall_ms;
            }
        };
        let last = self.speculative(id).and_then(|order| {
            let updated = rfc3339_ms(order.updated_at.as_deref()?)?;
            u64::try_from(updated).ok()
        });
        // Further ahead it is another clock's, and no rush's.
        match last {
            Some(last) if (at.wall_ms..at.wall_ms + 1_000).contains(&last) => last + 1,
            _ => at.wall_ms,
        }
    }

    /// What a command comes to on the speculative state.
    fn effect(
        &self,
        command: &Command,
        scope: &Scope,
        fresh_id: &str,
        timestamp: &str,
    ) -> Result<Effect, Nack> {
        let find = |id: &str| self.speculative(id);
        let view = View {
            find: &find,
            restaurant_id: &self.restaurant_id,
            scope,
            fresh_id,
            seq: self.next_seq,
            at: timestamp,
        };
        view.judge(command)
    }

    /// The bound of the live set that an order made or replaced would break. A change of state is never refused for
    /// the few bytes that it may add.
    fn over_weight(&self, command: &Command, effect: &Effect) -> Option<&'static str> {
        let brings = match command {
            Command::Create(_) => true,
            Command::Fact(fact) => matches!(**fact, Fact::Created(_) | Fact::Updated(_)),
            Command::Status { .. }
            | Command::ItemStatus { .. }
            | Command::Cancel { .. }
            | Command::Delete { .. }
            | Command::Publish { .. } => false,
        };
        let order = effect.orders.first()?.1.as_ref().filter(|_| brings)?;
        let new = self.speculative(&order.id).is_none();
        if new && self.weight.count() >= limits::LIVE_ORDERS {
            return Some(hit::LIVE_ORDERS);
        }
        let with = self.weight.with(order);
        (with > limits::LIVE_BYTES && with > self.weight.bytes()).then_some(hit::LIVE_BYTES)
    }

    /// At a bound of the live set the oldest final orders leave for a new one.
    fn make_room(&mut self, limit: &'static str, at: Moment) -> Result<(), Nack> {
        if self.archive(at, |_| true) {
            self.hits.hit(limit);
            return Ok(());
        }
        Err(no_room(limit))
    }

    fn archive(&mut self, at: Moment, which: impl Fn(u64) -> bool) -> bool {
        if self
            .archived
            .is_some_and(|last| at.now - last < limits::ARCHIVE_EVERY_MS)
        {
            return false;
        }
        let finals = self
            .live
            .finals()
            .filter(|&(changed_ms, _)| which(changed_ms));
        // Not those that something pending touches: its word is the newer one.
        let mut old: Vec<_> = finals
            .filter(|(_, order)| !self.overlay.contains_key(&order.id))
            .map(|(changed_ms, order)| (changed_ms, order.id.clone()))
            .collect();
        if old.is_empty() {
            return false;
        }
        old.sort();
        old.truncate(ARCHIVE_AT_ONCE);
        self.archived = Some(at.now);
        let effect = fold::archived(old.into_iter().map(|(_, id)| id).collect());
        self.push(effect, None, &rfc3339(at.wall_ms), at);
        true
    }

    /// Gives an effect its place in the log: from here on it holds for everything judged after it.
    fn push(
        &mut self,
        effect: Effect,
        by: Option<(By<'_>, Option<String>)>,
        timestamp: &str,
        at: Moment,
    ) {
        let ticket = self.ticket();
        let about = self.about(&effect);
        let event = effect.event.map(|(kind, payload)| {
            let seq = self.next_seq;
            self.next_seq += 1;
            let frame = server_frame::event(server_frame::Event {
                kind: &kind,
                seq,
                epoch: &self.next_epoch,
                restaurant_id: &self.restaurant_id,
                timestamp,
                command_id: by.as_ref().and_then(|(by, _)| by.key).map(|(id, _)| id),
                payload: &payload,
            });
            Arc::new(Event::new(seq, kind, at.wall_ms, about, frame.into()))
        });
        let ack = Arc::new(Ack {
            at: event
                .as_ref()
                .map(|event| (self.next_epoch.clone(), event.seq)),
            result: effect.result,
        });
        let mut orders = Vec::with_capacity(effect.orders.len());
        for (id, order) in effect.orders {
            self.weight.set(&id, order.as_deref());
            self.overlay.insert(id.clone(), (ticket, order.clone()));
            orders.push(OrderRow {
                id,
                order,
                changed_ms: at.wall_ms,
            });
        }
        let (waiters, dedupe) = match by {
            None => (Vec::new(), None),
            Some((by, key)) => {
                let row = key.zip(by.key).map(|(key, (id, hash))| {
                    self.pending_keys.insert(key, ticket);
                    Dedupe {
                        sub: by.scope.sub.to_string(),
                        id: id.to_owned(),
                        hash,
                        ack: Arc::clone(&ack),
                        at_ms: at.wall_ms,
                    }
                });
                (vec![by.waiter], row)
            }
        };
        let forgotten = self
            .memory
            .leave(at.now, self.pending_keys.len(), &mut self.hits);
        let frame = event.as_ref().map_or(0, |event| event.stored().len());
        let record = Record {
            ticket,
            bytes: frame * if orders.is_empty() { 1 } else { 2 } + 128,
            event,
            epoch: None,
            orders,
            dedupe,
            forgotten,
        };
        self.pending.push_back(Pending {
            record: Arc::new(record),
            answer: Answer::Ack(ack),
            waiters,
            remember_until: at.now + limits::DEDUPE_MS,
            remembered: false,
        });
    }

    /// Whom the effect's event concerns, as things stand before it.
    fn about(&self, effect: &Effect) -> About {
        let before = |id: &str| {
            self.speculative(id)
                .map(|order| Box::new(Traits::of(&order)))
        };
        match (effect.orders.as_slice(), &effect.about) {
            ([(id, after)], _) => About::Order {
                id: id.clone(),
                before: before(id),
                after: after.as_ref().map(|order| Box::new(Traits::of(order))),
            },
            // One that has left the live set is still somebody's by its id.
            ([], Some(id)) => {
                let as_it_is = before(id);
                About::Order {
                    id: id.clone(),
                    before: as_it_is.clone(),
                    after: as_it_is,
                }
            }
            ([], None) => About::Nothing,
            (orders, _) => About::Archived(
                orders
                    .iter()
                    .map(|(id, _)| (id.clone(), before(id).and_then(|traits| traits.owner)))
                    .collect(),
            ),
        }
    }

    /// Makes a durable record part of what everyone sees.
    fn show(&mut self, pending: &Pending, at: Moment) {
        let record = &pending.record;
        if let Some(epoch) = &record.epoch {
            // Positions of the old history are void, so nothing before the head is served any more.
            self.epoch = epoch.clone();
            self.tail.clear();
            self.tail_bytes = 0;
            self.sizes.clear();
            self.kept_bytes = 0;
            self.moved();
        }
        if let Some(event) = &record.event {
            self.head = event.seq;
            let size = event.stored().len();
            self.keep(u32::try_from(size).unwrap_or(u32::MAX));
            self.tail_bytes += size;
            self.tail.push_back(Arc::clone(event));
            self.trim_memory();
            self.moved();
        }
        for row in &record.orders {
            match &row.order {
                Some(order) => self.live.put(Arc::clone(order), row.changed_ms),
                None => self.live.remove(&row.id),
            }
            if self
                .overlay
                .get(&row.id)
                .is_some_and(|&(ticket, _)| ticket == record.ticket)
            {
                self.overlay.remove(&row.id);
            }
        }
        if let Some(row) = &record.dedupe {
            self.pending_keys.remove(&dedupe::key(&row.sub, &row.id));
            self.memory
                .remember(row, pending.remember_until.max(at.now));
        }
        self.memory.left(record.forgotten.len());
    }

    fn keep(&mut self, size: u32) {
        self.sizes.push_back(size);
        self.kept_bytes += size as usize;
        self.trim_kept();
    }

    fn trim_kept(&mut self) {
        loop {
            let limit = if self.sizes.len() > self.tail_events {
                hit::TAIL_EVENTS
            } else if self.kept_bytes > limits::TAIL_BYTES {
                hit::TAIL_BYTES
            } else {
                break;
            };
            let Some(oldest) = self.sizes.pop_front() else {
                break;
            };
            self.hits.hit(limit);
            self.kept_bytes -= oldest as usize;
        }
    }

    fn trim_memory(&mut self) {
        while self.tail.len() > self.sizes.len() || self.tail_bytes > limits::TAIL_MEMORY_BYTES {
            let Some(oldest) = self.tail.pop_front() else {
                break;
            };
            if self.tail.len() < self.sizes.len() {
                self.hits.hit(hit::TAIL_MEMORY);
            }
            self.tail_bytes -= oldest.stored().len();
        }
    }
}

/// Whether a client's position can be continued.
#[derive(Debug)]
pub(super) enum Resume {
    From(Seq),
    No,
    Lost,
}

fn no_room(limit: &'static str) -> Nack {
    Nack {
        retry_after_ms: Some(limits::ARCHIVE_EVERY_MS),
        ..Nack::over(
            limit,
            NackCode::Overloaded,
            "too many open orders; complete or cancel some",
        )
    }
}

fn id_reused() -> Answer {
    Answer::Nack(Nack::new(
        NackCode::IdReused,
        "this id was used for another command; make a new one",
    ))
}
