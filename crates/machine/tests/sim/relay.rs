//! The relay's driver in the simulation: sessions, cursors, one restaurant's log, and a store that forgets what it had
//! not synced when the process dies.

use crate::net::{Down, Link, Up};
use crate::world::Tally;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tautline_machine::relay::{
    About, Answer, By, Claims, Cursor, Dedupe, Event, Input, Judged, Log, Moment, Output, Place,
    Record, Scope, Session, Stored, Taken, Viewer, Waiter, session,
};
use tautline_machine::{Rng, Time};
use tautline_protocol::limits::Limits;
use tautline_protocol::order::Order;
use tautline_protocol::request::Command;
use tautline_protocol::{AuthCode, CloseCode, Epoch, Role};

pub const RESTAURANT: &str = "grow";
/// What the sockets' buffers hold before the relay's writes would block.
const BUFFERS: usize = 96 * 1024;

/// An event as the disk has it: seq, type, time, whom it concerns, frame.
pub type Row = (u64, String, u64, Option<String>, Arc<str>);

fn event((seq, kind, at_ms, about, frame): &Row) -> Event {
    let about = About::from_stored(about.as_deref());
    Event::new(*seq, kind.clone(), *at_ms, about, Arc::clone(frame))
}

/// What is on the disk.
#[derive(Debug, Default)]
pub struct Disk {
    pub epoch: Option<Epoch>,
    pub events: Vec<Row>,
    /// Events of histories before the one in force.
    pub past: Vec<Row>,
    orders: BTreeMap<String, (String, u64)>,
    dedupe: Vec<Dedupe>,
    /// Ids of every command ever applied.
    commands: BTreeSet<String>,
}

impl Disk {
    fn apply(&mut self, record: &Record) {
        if let Some(epoch) = &record.epoch {
            self.epoch = Some(epoch.clone());
            self.past.append(&mut self.events);
        }
        if let Some(event) = &record.event {
            self.events.push((
                event.seq,
                event.kind.clone(),
                event.at_ms,
                event.about.stored(),
                Arc::clone(event.stored()),
            ));
        }
        for row in &record.orders {
            match &row.order {
                Some(order) => self
                    .orders
                    .insert(row.id.clone(), (order.stored(), row.changed_ms)),
                None => self.orders.remove(&row.id),
            };
        }
        self.dedupe.extend(record.dedupe.clone());
        if !record.forgotten.is_empty() {
            let gone = |row: &Dedupe| {
                let mut keys = record.forgotten.iter();
                keys.any(|(sub, id)| *sub == row.sub && *id == row.id)
            };
            self.dedupe.retain(|row| !gone(row));
        }
        self.commands
            .extend(record.dedupe.iter().map(|row| row.id.clone()));
    }

    /// The event of that number: they go on from one history to the next.
    pub fn event(&self, seq: u64) -> Option<&Row> {
        let index = usize::try_from(seq).ok()?.checked_sub(1)?;
        match index.checked_sub(self.past.len()) {
            None => self.past.get(index),
            Some(index) => self.events.get(index),
        }
    }

    /// Every event ever written, in order.
    pub fn all(&self) -> impl Iterator<Item = &Row> {
        self.past.iter().chain(&self.events)
    }

    /// Whether the command was applied.
    pub fn has_command(&self, id: &str) -> bool {
        self.commands.contains(id)
    }

    fn load(&self, head: u64, keep: usize) -> Stored {
        let kept = self.events.len().saturating_sub(keep);
        // Less in memory than on the disk, so that some resumes read from the store.
        let in_memory = self.events.len().saturating_sub(keep.min(8));
        Stored {
            epoch: self.epoch.clone(),
            head,
            tail: self.events[in_memory..].iter().map(event).collect(),
            sizes: self.events[kept..]
                .iter()
                .map(|(.., frame)| u32::try_from(frame.len()).unwrap())
                .collect(),
            orders: self
                .orders
                .values()
                .map(|(json, ms)| (Order::from_stored(json).unwrap(), *ms))
                .collect(),
            dedupe: self.dedupe.clone(),
        }
    }
}

/// What `auth` asked for.
struct Placing {
    viewer: Box<Viewer>,
    resume: Option<(Epoch, u64)>,
    sync: bool,
}

struct Peer {
    session: Session,
    cursor: Option<Cursor>,
    /// A placement that waits for a new epoch to be durable.
    placing: Option<Placing>,
    wake: Option<u64>,
    blocked: bool,
    verifying: Option<(u64, Result<Claims, AuthCode>)>,
}

pub struct Relay {
    pub disk: Disk,
    kept: usize,
    head: u64,
    pub log: Option<Log>,
    peers: BTreeMap<u32, Peer>,
    in_flight: Option<(u64, Vec<Arc<Record>>)>,
    pub down_until: u64,
    /// The disk refuses the next commit.
    pub full: bool,
    config: Arc<session::Config>,
    epochs: u32,
    orders: u32,
    /// Milliseconds that its wall clock is off by.
    pub wall_skew: i64,
    /// Answers to those who came by HTTP.
    pub http: BTreeMap<u64, Answer>,
    pub tally: Tally,
}

impl Relay {
    /// `kept`: events that a restart still finds for resume.
    pub fn new(kept: usize) -> Self {
        let config = session::Config {
            heartbeat_ms: 15_000,
            limits: Limits::default(),
        };
        Self {
            disk: Disk::default(),
            kept,
            head: 0,
            log: None,
            peers: BTreeMap::new(),
            in_flight: None,
            down_until: 0,
            full: false,
            config: Arc::new(config),
            epochs: 0,
            orders: 0,
            wall_skew: 0,
            http: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    pub fn wall(&self, now: u64) -> u64 {
        1_790_000_000_000u64.saturating_add_signed(self.wall_skew) + now
    }

    fn at(&self, now: u64) -> Moment {
        Moment {
            now: Time::from_ms(now),
            wall_ms: self.wall(now),
        }
    }

    pub fn start(&mut self, now: u64) {
        if self.disk.epoch.is_none() {
            self.epochs += 1;
            self.disk.epoch = Some(Epoch::new(&format!("epoch-{}", self.epochs)));
        }
        let epoch = self.disk.epoch.clone().unwrap();
        self.head = self
            .disk
            .event((self.disk.past.len() + self.disk.events.len()) as u64)
            .map_or(0, |&(seq, ..)| seq);
        self.log = Some(Log::load(
            RESTAURANT,
            epoch,
            self.disk.load(self.head, self.kept),
            self.at(now),
        ));
    }

    /// The process dies. What the disk was writing is there afterwards, or is not; what was answered is.
    pub fn kill(&mut self, now: u64, back_at: u64, synced: bool, links: &mut BTreeMap<u32, Link>) {
        if let Some((_, batch)) = self.in_flight.take() {
            if synced {
                batch.iter().for_each(|record| self.disk.apply(record));
                self.tally.restarts_with_last_write += 1;
            } else {
                self.tally.restarts_without_last_write += 1;
            }
        }
        self.log = None;
        self.down_until = back_at;
        for id in std::mem::take(&mut self.peers).into_keys() {
            if let Some(link) = links.get_mut(&id) {
                link.relay_closed = true;
                link.send_down(now, 0, Down::Broken);
            }
        }
    }

    /// SIGTERM: every client is told when to come back.
    pub fn drain(&mut self, now: u64, links: &mut BTreeMap<u32, Link>, rng: &mut Rng) {
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            let reconnect_after_ms = rng.between(0, 2_000);
            self.input(id, Input::Drain { reconnect_after_ms }, now, links, rng);
        }
    }

    /// The log cannot vouch for its history any more: a repair, a restore.
    pub fn new_history(&mut self, now: u64, rng: &mut Rng) {
        self.epochs += 1;
        let epoch = Epoch::new(&format!("epoch-{}", self.epochs));
        if let Some(log) = &mut self.log {
            log.begin_epoch(epoch);
        }
        self.write(now, rng);
    }

    pub fn sessions(&self) -> usize {
        self.peers.len()
    }

    /// `/dev/trouble expire` and the sessions API end a connection like this.
    pub fn end(
        &mut self,
        id: u32,
        code: CloseCode,
        now: u64,
        links: &mut BTreeMap<u32, Link>,
        rng: &mut Rng,
    ) {
        self.input(id, Input::End(code, "ended"), now, links, rng);
    }

    pub fn next_at(&self) -> Option<u64> {
        let store = self.in_flight.as_ref().map(|&(at, _)| at);
        let peers = self.peers.values().filter_map(|peer| {
            let verify = peer.verifying.as_ref().map(|&(at, _)| at);
            peer.wake.into_iter().chain(verify).min()
        });
        let restart = self.log.is_none().then_some(self.down_until);
        peers.chain(store).chain(restart).min()
    }

    /// Whatever is due.
    pub fn tick(&mut self, now: u64, links: &mut BTreeMap<u32, Link>, rng: &mut Rng) {
        if self.log.is_none() {
            if now >= self.down_until {
                self.start(now);
            }
            return;
        }
        if self.in_flight.as_ref().is_some_and(|&(at, _)| at <= now) {
            self.commit(now, links, rng);
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&id) else {
                continue;
            };
            if let Some((_, verified)) = peer.verifying.take_if(|(at, _)| *at <= now) {
                self.input(id, Input::Verified(verified), now, links, rng);
            }
            if self
                .peers
                .get(&id)
                .is_some_and(|peer| peer.wake.is_some_and(|at| at <= now))
            {
                self.input(id, Input::Tick, now, links, rng);
            }
        }
    }

    fn commit(&mut self, now: u64, links: &mut BTreeMap<u32, Link>, rng: &mut Rng) {
        let Some((_, batch)) = self.in_flight.take() else {
            return;
        };
        let at = self.at(now);
        let (Some(log), Some(last)) = (&mut self.log, batch.last()) else {
            return;
        };
        let answers = if std::mem::take(&mut self.full) {
            self.tally.store_failures += 1;
            log.failed()
        } else {
            batch.iter().for_each(|record| self.disk.apply(record));
            self.tally.commits += 1;
            self.tally.commits_of_many += u64::from(batch.len() > 1);
            self.tally.histories +=
                batch.iter().filter(|record| record.epoch.is_some()).count() as u64;
            log.committed(last.ticket, at)
        };
        for (waiter, answer) in answers {
            self.answer(waiter, answer, now, links, rng);
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.place(id, now, links, rng);
            self.turns(id, now, links, rng);
        }
        self.write(now, rng);
    }

    fn answer(
        &mut self,
        waiter: Waiter,
        answer: Answer,
        now: u64,
        links: &mut BTreeMap<u32, Link>,
        rng: &mut Rng,
    ) {
        if waiter.0 >> 32 == 0 {
            self.http.insert(waiter.0, answer);
        } else {
            let (id, number) = ((waiter.0 >> 32) as u32, waiter.0 & 0xffff_ffff);
            self.input(id, Input::Answered { number, answer }, now, links, rng);
        }
    }

    fn write(&mut self, now: u64, rng: &mut Rng) {
        let Some(log) = &mut self.log else { return };
        if self.in_flight.is_none() && log.has_batch() {
            let batch = log.take_batch(512, 1 << 20);
            let slow = if rng.between(0, 30) == 0 { 400 } else { 12 };
            self.in_flight = Some((now + rng.between(1, slow), batch));
        }
    }

    /// A command by HTTP; the answer is in `http` when it comes.
    pub fn post(
        &mut self,
        number: u64,
        command: &Command,
        key: Option<(&str, u128)>,
        now: u64,
        rng: &mut Rng,
    ) {
        let at = self.at(now);
        self.orders += 1;
        let fresh = format!("order-{}", self.orders);
        let Some(log) = &mut self.log else { return };
        let by = By {
            scope: &Scope::new("till", Role::Service),
            key,
            waiter: Waiter(number),
        };
        if let Judged::Now(answer) = log.judge(command, by, &fresh, at) {
            self.http.insert(number, answer);
        }
        self.write(now, rng);
    }

    /// A connection reached the port.
    pub fn accept(&mut self, id: u32, now: u64, links: &mut BTreeMap<u32, Link>, rng: &mut Rng) {
        let Some(link) = links.get_mut(&id) else {
            return;
        };
        if self.log.is_none() {
            link.relay_closed = true;
            return link.send_down(now, 0, Down::Broken);
        }
        link.send_down(now, 0, Down::Opened);
        let session = Session::new(Arc::clone(&self.config));
        self.peers.insert(
            id,
            Peer {
                session,
                cursor: None,
                placing: None,
                wake: None,
                blocked: false,
                verifying: None,
            },
        );
        self.input(id, Input::Opened { v1: false }, now, links, rng);
    }

    pub fn heard(
        &mut self,
        id: u32,
        what: Up,
        now: u64,
        links: &mut BTreeMap<u32, Link>,
        rng: &mut Rng,
    ) {
        match what {
            Up::Handshake => self.accept(id, now, links, rng),
            Up::Text(text) => self.input(id, Input::Frame(&text), now, links, rng),
            Up::Pong => self.input(id, Input::Pong, now, links, rng),
            Up::Close => self.lost(id, now, links, rng),
        }
    }

    /// The page's end is gone.
    pub fn lost(&mut self, id: u32, now: u64, links: &mut BTreeMap<u32, Link>, rng: &mut Rng) {
        self.input(id, Input::Closed, now, links, rng);
        self.remove(id, links);
    }

    fn remove(&mut self, id: u32, links: &mut BTreeMap<u32, Link>) {
        self.peers.remove(&id);
        if let Some(link) = links.get_mut(&id) {
            link.relay_closed = true;
        }
    }

    /// The socket's buffers have room again.
    pub fn drained(&mut self, id: u32, now: u64, links: &mut BTreeMap<u32, Link>, rng: &mut Rng) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if !peer.blocked
            || links
                .get(&id)
                .is_some_and(|link| link.down_bytes() > BUFFERS)
        {
            return;
        }
        peer.blocked = false;
        self.input(id, Input::Wrote { empty: true }, now, links, rng);
        self.turns(id, now, links, rng);
    }

    fn input(
        &mut self,
        id: u32,
        input: Input<'_>,
        now: u64,
        links: &mut BTreeMap<u32, Link>,
        rng: &mut Rng,
    ) {
        let at = self.at(now);
        let head = self.log.as_ref().map_or(0, Log::head);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.session.handle(input, at, head, 500);
        for _ in 0..10_000 {
            let Some(peer) = self.peers.get_mut(&id) else {
                return;
            };
            match peer.session.poll_output() {
                Output::Wait(wake) => {
                    peer.wake = wake.map(|(at, _)| at.as_ms().max(now + 1));
                    self.write(now, rng);
                    return self.turns(id, now, links, rng);
                }
                output => self.perform(id, output, now, links, rng),
            }
        }
        panic!("a session that never waits");
    }

    fn perform(
        &mut self,
        id: u32,
        output: Output,
        now: u64,
        links: &mut BTreeMap<u32, Link>,
        rng: &mut Rng,
    ) {
        let at = self.at(now);
        let wall = at.wall_ms;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        match output {
            Output::Send(text) => send(links, id, now, Down::Text(text)),
            Output::Ping => send(links, id, now, Down::Ping),
            Output::Verify { token, .. } => {
                let verified = verify(token.expose(), wall);
                peer.verifying = Some((now + rng.between(0, 3), verified));
            }
            Output::Attach {
                viewer,
                resume,
                sync,
                restaurant_id,
            } => {
                assert_eq!(restaurant_id, RESTAURANT);
                peer.placing = Some(Placing {
                    viewer,
                    resume,
                    sync,
                });
                self.place(id, now, links, rng);
            }
            Output::Submit {
                number,
                command,
                key,
                ..
            } => {
                self.orders += 1;
                let fresh = format!("order-{}", self.orders);
                let scope = peer.session.identity().unwrap().scope.clone();
                let by = By {
                    scope: &scope,
                    key: key.as_ref().map(|key| (key.id.as_str(), key.hash)),
                    waiter: Waiter((u64::from(id) << 32) | number),
                };
                let Some(log) = &mut self.log else { return };
                if let Judged::Now(answer) = log.judge(&command, by, &fresh, at) {
                    self.input(id, Input::Answered { number, answer }, now, links, rng);
                }
            }
            Output::Sync {
                id: sync_id,
                position,
            } => {
                let (Some(log), Some(cursor)) = (&mut self.log, &mut peer.cursor) else {
                    return;
                };
                let position = position.as_ref().map(|(epoch, seq)| (epoch, *seq));
                if cursor.sync(log, sync_id, position).is_err() {
                    panic!("nothing shown is ever lost here, so no client can be ahead");
                }
            }
            Output::Account => {
                if let (Some(log), Some(cursor)) = (&self.log, &mut peer.cursor)
                    && let Some(frame) = cursor.account(log)
                {
                    send(links, id, now, Down::Text(frame));
                }
            }
            Output::Filter { number, filter } => {
                let Some(cursor) = &mut peer.cursor else {
                    return;
                };
                let told = filter.json();
                let at = cursor.filter(filter);
                let filtered = Input::Filtered {
                    number,
                    at,
                    filter: told,
                };
                self.input(id, filtered, now, links, rng);
            }
            Output::Rescope(scope) => {
                if let (Some(log), Some(cursor)) = (&self.log, &mut peer.cursor) {
                    cursor.rescope(log, scope);
                }
            }
            Output::Close(code, reason) => {
                if code == CloseCode::SLOW_CONSUMER {
                    self.tally.slow_closes += 1;
                }
                send(links, id, now, Down::Close(code.0, reason));
            }
            Output::Drop => {
                send(links, id, now, Down::Broken);
                self.remove(id, links);
            }
            Output::Wait(_) => unreachable!("handled by the caller"),
        }
    }

    fn place(&mut self, id: u32, now: u64, links: &mut BTreeMap<u32, Link>, rng: &mut Rng) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(Placing {
            viewer,
            resume,
            sync,
        }) = peer.placing.take()
        else {
            return;
        };
        let Some(log) = &self.log else { return };
        match log.place(
            *viewer,
            resume.as_ref().map(|(epoch, seq)| (epoch, *seq)),
            sync,
        ) {
            Place::At {
                cursor,
                epoch,
                seq,
                resumed,
            } => {
                peer.cursor = Some(cursor);
                self.tally.resumed += u64::from(resumed);
                self.tally.not_resumed += u64::from(!resumed);
                self.input(
                    id,
                    Input::Attached {
                        epoch,
                        seq,
                        resumed,
                    },
                    now,
                    links,
                    rng,
                );
            }
            Place::HistoryLost => {
                panic!("nothing shown is ever lost here, so no client can be ahead")
            }
        }
    }

    /// Turns until the cursor is at the head or the socket takes no more.
    fn turns(&mut self, id: u32, now: u64, links: &mut BTreeMap<u32, Link>, rng: &mut Rng) {
        for _ in 0..10_000 {
            let (Some(peer), Some(log)) = (self.peers.get_mut(&id), &self.log) else {
                return;
            };
            if peer.blocked || peer.session.is_ending() {
                return;
            }
            let Some(cursor) = &mut peer.cursor else {
                return;
            };
            match cursor.take(log) {
                Taken::Idle => return,
                Taken::TooSlow => return self.end(id, CloseCode::SLOW_CONSUMER, now, links, rng),
                Taken::Read { after } => {
                    self.tally.store_reads += 1;
                    let events: Vec<_> = self
                        .disk
                        .events
                        .iter()
                        .filter(|&&(seq, ..)| seq > after && seq <= log.head())
                        .take(5)
                        .map(|row| Arc::new(event(row)))
                        .collect();
                    let epoch = log.epoch().clone();
                    cursor.supply(&epoch, events.into());
                }
                Taken::Turn {
                    messages, synced, ..
                } => {
                    for message in messages {
                        let text: String =
                            message.pieces.iter().map(|piece| piece.as_str()).collect();
                        assert_eq!(text.len(), message.len, "a message knows its length");
                        send(links, id, now, Down::Text(text));
                    }
                    let full = links
                        .get(&id)
                        .is_some_and(|link| link.down_bytes() > BUFFERS);
                    peer.blocked = full;
                    if synced {
                        self.input(id, Input::Synced, now, links, rng);
                    }
                    if full {
                        self.tally.blocked += 1;
                        return self.input(id, Input::Blocked, now, links, rng);
                    }
                }
            }
        }
        panic!("a cursor that never idles");
    }
}

fn send(links: &mut BTreeMap<u32, Link>, id: u32, now: u64, what: Down) {
    if let Some(link) = links.get_mut(&id) {
        link.send_down(now, 0, what);
    }
}

/// Tokens here are `sub:expiry`, the expiry by the relay's wall clock.
fn verify(token: &str, wall: u64) -> Result<Claims, AuthCode> {
    let (sub, expiry) = token.split_once(':').ok_or(AuthCode::TokenInvalid)?;
    let expiry: u64 = expiry.parse().map_err(|_| AuthCode::TokenInvalid)?;
    if wall > expiry + 30_000 {
        return Err(AuthCode::TokenExpired);
    }
    Ok(Claims {
        sub: sub.to_owned(),
        restaurants: Some(vec![RESTAURANT.to_owned()]),
        role: "manager".to_owned(),
        order_ids: Vec::new(),
        expires_at: "2026-01-01T00:00:00Z".to_owned(),
        expires_in_ms: expiry.saturating_sub(wall),
        issued_at_ms: None,
    })
}
