//! The relay's driver in the simulation: sessions, cursors, one restaurant's log, and a store that may refuse, break,
//! and forget what it had not synced when the process dies.

use crate::check::holds;
pub use crate::disk::Disk;
use crate::disk::event;
use crate::monitor::Monitor;
use crate::net::{Down, Link, Up};
use crate::oracle::{self, Eyes, Wanted};
use crate::tally::Tally;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use tautline_machine::relay::{
    Answer, By, Claims, Cursor, Input, Judged, Log, Moment, Output, Place, Record, Scope, Session,
    Taken, Viewer, Waiter, session,
};
use tautline_machine::{Rng, Time};
use tautline_protocol::limits::Limits;
use tautline_protocol::request::Command;
use tautline_protocol::{AuthCode, CloseCode, Epoch, Role};

/// What the sockets' buffers hold before the relay's writes would block.
const BUFFERS: usize = 96 * 1024;

/// What a relay does things with.
pub struct Net<'a> {
    pub now: u64,
    pub links: &'a mut BTreeMap<u32, Link>,
    pub rng: &'a mut Rng,
}

impl Net<'_> {
    fn send(&mut self, id: u32, what: Down) {
        if let Some(link) = self.links.get_mut(&id) {
            link.send_down(self.now, 0, what);
        }
    }

    fn is_full(&self, id: u32) -> bool {
        self.links
            .get(&id)
            .is_some_and(|link| link.down_bytes() > BUFFERS)
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
    monitor: Monitor,
    cursor: Option<Cursor>,
    /// A placement that waits for a new epoch to be durable.
    placing: Option<Placing>,
    wake: Option<u64>,
    blocked: Option<u64>,
    verifying: Option<(u64, Result<Claims, AuthCode>)>,
}

/// How the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    #[default]
    Well,
    /// It refuses the next commit.
    Refuses,
    /// The disk is full until then.
    Full(u64),
    /// The next commit gives an I/O error: nobody knows what is on the disk, so the process ends.
    Breaks,
}

pub struct Relay {
    pub restaurant: &'static str,
    /// Which of the world's relays it is: its epochs and orders are named after it.
    site: usize,
    pub disk: Disk,
    kept: usize,
    pub log: Option<Log>,
    peers: BTreeMap<u32, Peer>,
    in_flight: Option<(u64, Vec<Arc<Record>>)>,
    pub down_until: u64,
    pub store: Store,
    config: Arc<session::Config>,
    epochs: u32,
    orders: u32,
    /// Milliseconds that its wall clock is off by.
    pub wall_skew: i64,
    /// Answers to those who came by HTTP, not fetched yet.
    pub http: Vec<(u64, Answer)>,
    /// Who sent each command, with its frame.
    authors: BTreeMap<String, Vec<(Eyes, Rc<Value>)>>,
    pub tally: Tally,
}

impl Relay {
    /// `kept`: events that a restart still finds for resume.
    pub fn new(site: usize, restaurant: &'static str, kept: usize) -> Self {
        let config = session::Config {
            heartbeat_ms: 15_000,
            limits: Limits::default(),
        };
        Self {
            restaurant,
            site,
            disk: Disk::default(),
            kept,
            log: None,
            peers: BTreeMap::new(),
            in_flight: None,
            down_until: 0,
            store: Store::Well,
            config: Arc::new(config),
            epochs: 0,
            orders: 0,
            wall_skew: 0,
            http: Vec::new(),
            authors: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// A standby begins from another's backup, in a history of its own.
    pub fn restore(&mut self, backup: &Disk) {
        let epoch = self.next_epoch();
        self.disk = backup.restored(epoch);
    }

    fn next_epoch(&mut self) -> Epoch {
        self.epochs += 1;
        Epoch::new(&format!("epoch-{}-{}", self.site, self.epochs))
    }

    fn fresh_order(&mut self) -> String {
        self.orders += 1;
        format!("order-{}-{}", self.site, self.orders)
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
            self.disk.epoch = Some(self.next_epoch());
        }
        let epoch = self.disk.epoch.clone().unwrap();
        let stored = self.disk.load(self.disk.history.head(), self.kept);
        let log = Log::load(self.restaurant, epoch, stored, self.at(now));
        self.log = Some(log);
    }

    /// The process dies. What the disk was writing is there afterwards, or is not; what was answered is.
    pub fn kill(&mut self, back_at: u64, synced: bool, net: &mut Net<'_>) {
        if let Some((_, batch)) = self.in_flight.take() {
            if synced {
                self.apply(&batch);
                self.tally.restarts_with_last_write += 1;
            } else {
                self.tally.restarts_without_last_write += 1;
            }
        }
        self.log = None;
        self.down_until = back_at;
        for id in std::mem::take(&mut self.peers).into_keys() {
            if let Some(link) = net.links.get_mut(&id) {
                link.relay_closed = true;
                link.send_down(net.now, 0, Down::Broken);
            }
        }
    }

    /// SIGTERM: every client is told when to come back.
    pub fn drain(&mut self, net: &mut Net<'_>) {
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            let reconnect_after_ms = net.rng.between(0, 2_000);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.monitor.allowed = Some(CloseCode::RESTART.0);
            }
            self.input(id, Input::Drain { reconnect_after_ms }, net);
        }
    }

    /// The log cannot vouch for its history any more: a repair.
    pub fn new_history(&mut self, net: &mut Net<'_>) {
        let epoch = self.next_epoch();
        if let Some(log) = &mut self.log {
            log.begin_epoch(epoch);
        }
        self.write(net);
    }

    /// Archives what has been final for that long.
    pub fn archive(&mut self, keep_ms: u64, net: &mut Net<'_>) {
        let at = self.at(net.now);
        if let Some(log) = &mut self.log {
            log.keep_final(keep_ms);
            self.tally.archived += u64::from(log.tick(at));
        }
        self.write(net);
    }

    /// Whose eyes a connection's are.
    pub fn eyes(&self, id: u32) -> Option<&Eyes> {
        self.peers.get(&id)?.monitor.eyes()
    }

    pub fn sessions(&self) -> usize {
        self.peers.len()
    }

    /// `/dev/trouble expire` and the sessions API end a connection like this.
    pub fn end(&mut self, id: u32, code: CloseCode, net: &mut Net<'_>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.monitor.allowed = Some(code.0);
        }
        self.input(id, Input::End(code, "ended"), net);
    }

    pub fn next_at(&self) -> Option<u64> {
        let store = self.in_flight.as_ref().map(|&(at, _)| at);
        let peers = self.peers.values().filter_map(|peer| {
            let verify = peer.verifying.as_ref().map(|&(at, _)| at);
            peer.wake.into_iter().chain(verify).min()
        });
        let restart = (self.log.is_none() && self.down_until < u64::MAX).then_some(self.down_until);
        peers.chain(store).chain(restart).min()
    }

    /// Whatever is due.
    pub fn tick(&mut self, net: &mut Net<'_>) {
        let now = net.now;
        if self.log.is_none() {
            if now >= self.down_until {
                self.start(now);
            }
            return;
        }
        if self.in_flight.as_ref().is_some_and(|&(at, _)| at <= now) {
            self.commit(net);
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&id) else {
                continue;
            };
            if let Some((_, verified)) = peer.verifying.take_if(|(at, _)| *at <= now) {
                self.input(id, Input::Verified(verified), net);
            }
            let due = |peer: &Peer| peer.wake.is_some_and(|at| at <= now);
            if self.peers.get(&id).is_some_and(due) {
                self.input(id, Input::Tick, net);
            }
            if let Some(peer) = self.peers.get(&id) {
                peer.monitor.looks(now);
            }
        }
    }

    fn apply(&mut self, batch: &[Arc<Record>]) {
        for record in batch {
            self.disk.apply(record);
            if let Some(row) = &record.dedupe
                && record.event.is_some()
                && let Some(asked) = self.authors.get(&row.id)
            {
                let history = &self.disk.history;
                let seq = history.head();
                let may = |(eyes, frame): &(Eyes, Rc<Value>)| {
                    let id = frame["payload"]["order_id"].as_str().unwrap_or_default();
                    oracle::permits(eyes, frame, history.order_at(id, seq - 1))
                };
                holds!(
                    "applied",
                    asked.iter().any(may),
                    "event {seq}, {:?}, was made by one who may not: {asked:?}",
                    history.frame(seq)
                );
            }
        }
    }

    fn commit(&mut self, net: &mut Net<'_>) {
        let Some((_, batch)) = self.in_flight.take() else {
            return;
        };
        let at = self.at(net.now);
        let Some(last) = batch.last().map(|record| record.ticket) else {
            return;
        };
        let refused = match self.store {
            Store::Well => false,
            Store::Refuses => {
                self.store = Store::Well;
                true
            }
            Store::Full(until) if net.now < until => {
                self.tally.full += 1;
                true
            }
            Store::Full(_) => {
                self.store = Store::Well;
                false
            }
            Store::Breaks => {
                self.store = Store::Well;
                self.tally.broken += 1;
                self.in_flight = Some((net.now, batch));
                self.drain(net);
                let (back_at, synced) =
                    (net.now + net.rng.between(1, 3_000), net.rng.between(0, 1));
                return self.kill(back_at, synced == 0, net);
            }
        };
        if refused {
            self.tally.store_failures += 1;
        } else {
            self.apply(&batch);
            self.tally.commits += 1;
            self.tally.commits_of_many += u64::from(batch.len() > 1);
            let epochs = batch.iter().filter(|record| record.epoch.is_some());
            self.tally.histories += epochs.count() as u64;
        }
        let Some(log) = &mut self.log else { return };
        let answers = if refused {
            log.failed()
        } else {
            log.committed(last, at)
        };
        for (waiter, answer) in answers {
            self.answer(waiter, answer, net);
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.place(id, net);
            self.turns(id, net);
        }
        self.write(net);
    }

    fn answer(&mut self, waiter: Waiter, answer: Answer, net: &mut Net<'_>) {
        if waiter.0 >> 32 == 0 {
            self.http.push((waiter.0, answer));
        } else {
            let (id, number) = ((waiter.0 >> 32) as u32, waiter.0 & 0xffff_ffff);
            self.input(id, Input::Answered { number, answer }, net);
        }
    }

    fn write(&mut self, net: &mut Net<'_>) {
        let Some(log) = &mut self.log else { return };
        if self.in_flight.is_none() && log.has_batch() {
            let batch = log.take_batch(512, 1 << 20);
            let slow = if net.rng.between(0, 30) == 0 { 400 } else { 12 };
            self.in_flight = Some((net.now + net.rng.between(1, slow), batch));
        }
    }

    /// A command of the back end's, by HTTP; whether anybody listens. The answer is in `http` when it comes.
    pub fn post(
        &mut self,
        number: u64,
        command: &Command,
        key: Option<(&str, u128)>,
        net: &mut Net<'_>,
    ) -> bool {
        let at = self.at(net.now);
        let fresh = self.fresh_order();
        let Some(log) = &mut self.log else {
            return false;
        };
        let by = By {
            scope: &Scope::new("till", Role::Service),
            key,
            waiter: Waiter(number),
        };
        if let Judged::Now(answer) = log.judge(command, by, &fresh, at) {
            self.http.push((number, answer));
        }
        self.write(net);
        true
    }

    /// A connection reached the port.
    fn accept(&mut self, id: u32, net: &mut Net<'_>) {
        if self.log.is_none() {
            if let Some(link) = net.links.get_mut(&id) {
                link.relay_closed = true;
            }
            return net.send(id, Down::Broken);
        }
        net.send(id, Down::Opened);
        self.peers.insert(
            id,
            Peer {
                session: Session::new(Arc::clone(&self.config)),
                monitor: Monitor::new(net.now),
                cursor: None,
                placing: None,
                wake: None,
                blocked: None,
                verifying: None,
            },
        );
        self.input(id, Input::Opened { v1: false }, net);
    }

    pub fn heard(&mut self, id: u32, what: Up, net: &mut Net<'_>) {
        match what {
            Up::Handshake => self.accept(id, net),
            Up::Text(text) => {
                if let Some(peer) = self.peers.get_mut(&id)
                    && !peer.session.is_ending()
                {
                    peer.monitor.heard(&text, net.now);
                    if let Some(eyes) = peer.monitor.eyes() {
                        let frame: Value = serde_json::from_str(&text).unwrap();
                        if let Some(command) = frame["id"].as_str() {
                            let asked = (eyes.clone(), Rc::new(frame.clone()));
                            let asked_before = self.authors.entry(command.to_owned()).or_default();
                            asked_before.push(asked);
                        }
                    }
                }
                self.input(id, Input::Frame(&text), net);
            }
            Up::Pong => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.monitor.pong(net.now);
                }
                self.input(id, Input::Pong, net);
            }
            Up::Close => {
                self.input(id, Input::Closed, net);
                self.remove(id, net);
            }
        }
    }

    fn remove(&mut self, id: u32, net: &mut Net<'_>) {
        self.peers.remove(&id);
        if let Some(link) = net.links.get_mut(&id) {
            link.relay_closed = true;
        }
    }

    /// The socket's buffers have room again.
    pub fn drained(&mut self, id: u32, net: &mut Net<'_>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.blocked.is_none() || net.is_full(id) {
            return;
        }
        peer.blocked = None;
        self.input(id, Input::Wrote { empty: true }, net);
        self.turns(id, net);
    }

    fn input(&mut self, id: u32, input: Input<'_>, net: &mut Net<'_>) {
        let at = self.at(net.now);
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
                    peer.wake = wake.map(|(at, _)| at.as_ms().max(net.now + 1));
                    self.write(net);
                    return self.turns(id, net);
                }
                output => self.perform(id, output, net),
            }
        }
        panic!("[bounded] a session that never waits");
    }

    fn text(&mut self, id: u32, text: &str, net: &mut Net<'_>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            let frames = peer.monitor.sent(text, &self.disk, net.now);
            let refused =
                |frame: &Rc<Value>| frame["type"] == "auth:failed" && frame["renewal"] == true;
            self.tally.renewals_refused += u64::from(frames.iter().any(refused));
            net.send(id, Down::Frames(frames, text.len()));
        }
    }

    fn perform(&mut self, id: u32, output: Output, net: &mut Net<'_>) {
        let at = self.at(net.now);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        match output {
            Output::Send(text) => self.text(id, &text, net),
            Output::Ping => net.send(id, Down::Ping),
            Output::Verify { token, .. } => {
                let verified = verify(token.expose(), self.restaurant, at.wall_ms);
                peer.verifying = Some((net.now + net.rng.between(0, 3), verified));
            }
            Output::Attach {
                viewer,
                resume,
                sync,
                restaurant_id,
            } => {
                assert_eq!(restaurant_id, self.restaurant);
                peer.placing = Some(Placing {
                    viewer,
                    resume,
                    sync,
                });
                self.place(id, net);
            }
            Output::Submit {
                number,
                command,
                key,
                ..
            } => {
                // A token that ran out in the same millisecond: the command goes with the connection, as in the relay.
                let Some(identity) = peer.session.identity() else {
                    return;
                };
                let scope = identity.scope.clone();
                let fresh = self.fresh_order();
                let by = By {
                    scope: &scope,
                    key: key.as_ref().map(|key| (key.id.as_str(), key.hash)),
                    waiter: Waiter((u64::from(id) << 32) | number),
                };
                let Some(log) = &mut self.log else { return };
                if let Judged::Now(answer) = log.judge(&command, by, &fresh, at) {
                    self.input(id, Input::Answered { number, answer }, net);
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
                    panic!("[durable] nothing shown is ever lost here, so no client can be ahead");
                }
            }
            Output::Account => {
                if let (Some(log), Some(cursor)) = (&self.log, &mut peer.cursor)
                    && let Some(frame) = cursor.account(log)
                {
                    self.tally.accounts += 1;
                    self.text(id, &frame, net);
                }
            }
            Output::Filter { number, filter } => {
                let Some(cursor) = &mut peer.cursor else {
                    return;
                };
                let told = filter.json();
                let at = cursor.filter(filter);
                self.tally.filters += 1;
                let filtered = Input::Filtered {
                    number,
                    at,
                    filter: told,
                };
                self.input(id, filtered, net);
            }
            Output::Rescope(scope) => {
                if let (Some(log), Some(cursor)) = (&self.log, &mut peer.cursor) {
                    cursor.rescope(log, scope);
                    self.tally.rescopes += 1;
                }
            }
            Output::Close(code, reason) => {
                self.tally.slow_closes += u64::from(code == CloseCode::SLOW_CONSUMER);
                self.tally.tokens_ran_out += u64::from(code == CloseCode::TOKEN_EXPIRED);
                peer.monitor.closes(code.0, peer.blocked, net.now);
                net.send(id, Down::Close(code.0, reason));
            }
            Output::Drop => {
                peer.monitor.cuts(net.now);

                net.send(id, Down::Broken);
                self.remove(id, net);
            }
            Output::Wait(_) => unreachable!("handled by the caller"),
        }
    }

    fn place(&mut self, id: u32, net: &mut Net<'_>) {
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
        let resume = resume.as_ref().map(|(epoch, seq)| (epoch, *seq));
        match log.place(*viewer, resume, sync) {
            Place::At {
                cursor,
                epoch,
                seq,
                resumed,
            } => {
                peer.cursor = Some(cursor);
                self.tally.resumed += u64::from(resumed);
                self.tally.not_resumed += u64::from(!resumed);
                let attached = Input::Attached {
                    epoch,
                    seq,
                    resumed,
                };
                self.input(id, attached, net);
            }
            Place::HistoryLost => {
                panic!("[durable] nothing shown is ever lost here, so no client can be ahead")
            }
        }
    }

    /// Turns until the cursor is at the head or the socket takes no more.
    fn turns(&mut self, id: u32, net: &mut Net<'_>) {
        for _ in 0..10_000 {
            let (Some(peer), Some(log)) = (self.peers.get_mut(&id), &self.log) else {
                return;
            };
            if peer.blocked.is_some()
                || peer.session.is_ending()
                || peer.session.identity().is_none()
            {
                return;
            }
            let Some(cursor) = &mut peer.cursor else {
                return;
            };
            match cursor.take(log) {
                Taken::Idle => return,
                Taken::TooSlow => return self.end(id, CloseCode::SLOW_CONSUMER, net),
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
                    let (mut turn, mut bytes) = (Vec::new(), 0);
                    for message in messages {
                        let text: String =
                            message.pieces.iter().map(|piece| piece.as_str()).collect();
                        assert_eq!(text.len(), message.len, "a message knows its length");
                        bytes += text.len();
                        let frames = peer.monitor.sent(&text, &self.disk, net.now);
                        turn.push(Rc::clone(&frames));
                        net.send(id, Down::Frames(frames, text.len()));
                    }
                    peer.monitor.turn(&turn, bytes);
                    let full = net.is_full(id);
                    if full {
                        peer.blocked.get_or_insert(net.now);
                    }
                    if synced {
                        self.input(id, Input::Synced, net);
                    }
                    if full {
                        self.tally.blocked += 1;
                        return self.input(id, Input::Blocked, net);
                    }
                }
            }
        }
        panic!("[bounded] a cursor that never idles");
    }

    /// After quiet.
    pub fn settled(&self) {
        let Some(log) = &self.log else { return };
        holds!(
            "reply",
            log.pending() == 0,
            "commands wait for a store that is idle"
        );
        holds!(
            "durable",
            log.head() == self.disk.history.head() && log.epoch().as_str() == self.disk.epoch(),
            "the log is at {} of {}, the disk at {} of {}",
            log.head(),
            log.epoch().as_str(),
            self.disk.history.head(),
            self.disk.epoch()
        );
        for peer in self.peers.values() {
            peer.monitor.settled(log.head());
        }
        oracle::everybody(&self.disk.history, |id, order| {
            let ours = log.order(id).map(|order| {
                let wire: Value = serde_json::from_str(&order.wire()).unwrap();
                wire
            });
            holds!(
                "set",
                ours.as_ref() == order.map(|order| &**order),
                "the relay's {id} is {ours:?}, the disk's {order:?}"
            );
        });
    }
}

/// A token's text: `sub:role:order,order:expiry`, the expiry by the relay's wall clock.
pub fn token(sub: &str, role: &str, ids: &BTreeSet<String>, expiry: u64) -> String {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    format!("{sub}:{role}:{}:{expiry}", ids.join(","))
}

fn parts(token: &str) -> Option<[&str; 4]> {
    let parts: Vec<&str> = token.split(':').collect();
    parts.try_into().ok()
}

fn ids(list: &str) -> impl Iterator<Item = String> {
    list.split(',')
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
}

/// Whose eyes a token's are.
pub fn who(token: &str, wanted: Wanted, plain: bool) -> Eyes {
    let [sub, role, list, _] = parts(token).expect("tokens here have four parts");
    Eyes {
        role: role.to_owned(),
        sub: sub.to_owned(),
        ids: ids(list).collect(),
        wanted,
        plain,
    }
}

fn verify(token: &str, restaurant: &str, wall: u64) -> Result<Claims, AuthCode> {
    let [sub, role, list, expiry] = parts(token).ok_or(AuthCode::TokenInvalid)?;
    let expiry: u64 = expiry.parse().map_err(|_| AuthCode::TokenInvalid)?;
    if wall > expiry + 30_000 {
        return Err(AuthCode::TokenExpired);
    }
    Ok(Claims {
        sub: sub.to_owned(),
        restaurants: Some(vec![restaurant.to_owned()]),
        role: role.to_owned(),
        order_ids: ids(list).collect(),
        expires_at: expiry.to_string(),
        expires_in_ms: expiry.saturating_sub(wall),
        issued_at_ms: None,
    })
}
