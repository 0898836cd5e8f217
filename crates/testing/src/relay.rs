//! The driver: sessions, cursors and logs, and what JavaScript is to do. The order of things is that of
//! `crates/relay/src/shard`: judge, commit, answer, then everybody's turn.

use crate::effect::Effect;
use crate::http::{Asked, Reply};
use crate::restaurant::Restaurant;
use crate::tokens::Tokens;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::session::{self, Input, Output};
use tautline_machine::relay::{
    Answer, By, Cursor, Judged, Moment, Nack, Place, Scope, Session, Taken, Viewer, Waiter,
};
use tautline_protocol::limits::{self, Limits};
use tautline_protocol::order::Order;
use tautline_protocol::request::Command;
use tautline_protocol::{AuthCode, CloseCode, Epoch, JsonWriter, NackCode, Role, Seq};

/// Waits for the answer to a request; connections have numbers above it.
const HTTP: Waiter = Waiter(0);

#[derive(Debug)]
struct Peer {
    session: Session,
    at: Option<(String, Cursor)>,
    wake: Option<Time>,
}

/// Where a connection wants to begin.
struct Attach {
    restaurant: String,
    viewer: Viewer,
    resume: Option<(Epoch, Seq)>,
    sync: bool,
}

/// What becomes of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Revoked,
    RanOut,
}

/// A fault that waits for its command: of a type, or any.
#[derive(Debug)]
enum Fault {
    Nack(Nack),
    LoseAck,
}

#[derive(Debug)]
pub(crate) struct Relay {
    config: Arc<session::Config>,
    pub(crate) at: Moment,
    restaurants: BTreeMap<String, Restaurant>,
    peers: BTreeMap<u32, Peer>,
    pub(crate) tokens: Tokens,
    epochs: u32,
    orders: u32,
    /// The answer to the request under way.
    answered: Option<Answer>,
    faults: Vec<(Option<String>, Fault)>,
    /// The command whose answer is to be lost, and the type the fault is for.
    losing: Option<(Waiter, Option<String>)>,
    overloaded: bool,
    effects: VecDeque<Effect>,
}

impl Relay {
    pub(crate) fn new(heartbeat_ms: u64) -> Self {
        let config = session::Config {
            heartbeat_ms,
            limits: Limits::default(),
        };
        Self {
            config: Arc::new(config),
            at: Moment {
                now: Time::default(),
                wall_ms: 0,
            },
            restaurants: BTreeMap::new(),
            peers: BTreeMap::new(),
            tokens: Tokens::default(),
            epochs: 0,
            orders: 0,
            answered: None,
            faults: Vec::new(),
            losing: None,
            overloaded: false,
            effects: VecDeque::new(),
        }
    }

    pub(crate) fn clock(&mut self, at: Moment) {
        self.at = at;
    }

    pub(crate) fn poll(&mut self) -> Option<String> {
        self.effects.pop_front().map(|effect| effect.json())
    }

    pub(crate) fn wake_at(&self) -> Option<Time> {
        self.peers.values().filter_map(|peer| peer.wake).min()
    }

    pub(crate) fn tick(&mut self) {
        let now = self.at.now;
        for id in self.ids() {
            if self
                .peers
                .get(&id)
                .is_some_and(|peer| peer.wake.is_some_and(|at| at <= now))
            {
                self.input(id, Input::Tick);
            }
        }
        for name in self.restaurants.keys().cloned().collect::<Vec<_>>() {
            if let Some(restaurant) = self.restaurants.get_mut(&name)
                && restaurant.log.tick(self.at)
            {
                self.commit(&name);
            }
        }
    }

    fn ids(&self) -> Vec<u32> {
        self.peers.keys().copied().collect()
    }

    // Sockets.

    pub(crate) fn open(&mut self, id: u32, v1: bool) {
        let peer = Peer {
            session: Session::new(Arc::clone(&self.config)),
            at: None,
            wake: None,
        };
        self.peers.insert(id, peer);
        self.input(id, Input::Opened { v1 });
    }

    pub(crate) fn text(&mut self, id: u32, text: &str) {
        if text.len() > self.config.limits.max_message as usize {
            return self.input(id, Input::TooBig);
        }
        self.input(id, Input::Frame(text));
    }

    pub(crate) fn binary(&mut self, id: u32) {
        self.input(id, Input::Binary);
    }

    pub(crate) fn pong(&mut self, id: u32) {
        self.input(id, Input::Pong);
    }

    pub(crate) fn closed(&mut self, id: u32) {
        self.peers.remove(&id);
    }

    fn input(&mut self, id: u32, input: Input<'_>) {
        let (at, head) = (self.at, self.head(id));
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.session
            .handle(input, at, head, limits::RECONNECT_SPREAD_MS);
        while let Some(peer) = self.peers.get_mut(&id) {
            match peer.session.poll_output() {
                Output::Wait(wake) => {
                    peer.wake = wake.map(|(at, _)| at);
                    return self.turns(id);
                }
                output => self.perform(id, output),
            }
        }
    }

    fn head(&self, id: u32) -> Seq {
        let peer = self.peers.get(&id).and_then(|peer| peer.at.as_ref());
        peer.and_then(|(name, _)| self.restaurants.get(name))
            .map_or(0, |restaurant| restaurant.log.head())
    }

    fn perform(&mut self, id: u32, output: Output) {
        match output {
            Output::Send(text) => self.effects.push_back(Effect::Send(id, text)),
            Output::Ping => self.effects.push_back(Effect::Ping(id)),
            Output::Verify { token, .. } => {
                let verified = self.tokens.check(token.expose(), self.at.wall_ms);
                self.input(id, Input::Verified(verified));
            }
            Output::Attach {
                restaurant_id,
                viewer,
                resume,
                sync,
            } => self.place(
                id,
                Attach {
                    restaurant: restaurant_id,
                    viewer: *viewer,
                    resume,
                    sync,
                },
            ),
            Output::Submit {
                number,
                kind,
                command,
                key,
            } => {
                let key = key.as_ref().map(|key| (key.id.as_str(), key.hash));
                self.submit(id, number, kind, &command, key);
            }
            Output::Sync { id: sync, position } => self.sync(id, sync, position),
            Output::Account => {
                if let Some((restaurant, cursor)) = self.at(id)
                    && let Some(frame) = cursor.account(&restaurant.log)
                {
                    self.effects.push_back(Effect::Send(id, frame));
                }
            }
            Output::Filter { number, filter } => {
                let told = filter.json();
                if let Some((_, cursor)) = self.at(id) {
                    let at = cursor.filter(filter);
                    let filter = told;
                    self.input(id, Input::Filtered { number, at, filter });
                }
            }
            Output::Rescope(scope) => {
                if let Some((restaurant, cursor)) = self.at(id) {
                    cursor.rescope(&restaurant.log, scope);
                }
            }
            Output::Close(code, reason) => {
                self.effects.push_back(Effect::Close(id, code.0, reason));
            }
            Output::Drop => {
                self.effects.push_back(Effect::Drop(id));
                self.peers.remove(&id);
            }
            Output::Wait(_) => {}
        }
    }

    /// Where an authenticated connection stands.
    fn at(&mut self, id: u32) -> Option<(&Restaurant, &mut Cursor)> {
        let (name, cursor) = self.peers.get_mut(&id)?.at.as_mut()?;
        Some((self.restaurants.get(name)?, cursor))
    }

    /// Turns until the connection is at the head.
    fn turns(&mut self, id: u32) {
        loop {
            let Some(peer) = self.peers.get_mut(&id) else {
                return;
            };
            if peer.session.is_ending() || peer.session.identity().is_none() {
                return;
            }
            let Some((restaurant, cursor)) = self.at(id) else {
                return;
            };
            match cursor.take(&restaurant.log) {
                Taken::Idle => return,
                Taken::TooSlow => {
                    let why = "fell behind what is kept for resume";
                    return self.input(id, Input::End(CloseCode::SLOW_CONSUMER, why));
                }
                Taken::Read { after } => {
                    cursor.supply(restaurant.log.epoch(), restaurant.read(after));
                }
                Taken::Turn {
                    messages, synced, ..
                } => {
                    let sent = messages
                        .iter()
                        .map(|message| Effect::Send(id, message.text()));
                    self.effects.extend(sent);
                    if synced {
                        self.input(id, Input::Synced);
                    }
                }
            }
        }
    }

    // Logs.

    /// A restaurant, made when it is first asked for.
    pub(crate) fn restaurant(&mut self, name: &str) -> &mut Restaurant {
        let (epochs, at) = (&mut self.epochs, self.at);
        self.restaurants.entry(name.to_owned()).or_insert_with(|| {
            *epochs += 1;
            Restaurant::new(name, Epoch::new(&format!("epoch-{epochs}")), at)
        })
    }

    fn begin_epoch(&mut self, name: &str) {
        self.epochs += 1;
        let epoch = Epoch::new(&format!("epoch-{}", self.epochs));
        self.restaurant(name).log.begin_epoch(epoch);
        self.commit(name);
    }

    fn place(&mut self, id: u32, attach: Attach) {
        let resume = attach.resume.as_ref().map(|(epoch, seq)| (epoch, *seq));
        let log = &self.restaurant(&attach.restaurant).log;
        match log.place(attach.viewer.clone(), resume, attach.sync) {
            Place::At {
                cursor,
                epoch,
                seq,
                resumed,
            } => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.at = Some((attach.restaurant, cursor));
                }
                self.input(
                    id,
                    Input::Attached {
                        epoch,
                        seq,
                        resumed,
                    },
                );
            }
            // With a new epoch the position names a history that is not this one: placed, the second time.
            Place::HistoryLost => {
                self.begin_epoch(&attach.restaurant);
                self.place(id, attach);
            }
        }
    }

    fn sync(&mut self, id: u32, sync: Option<String>, position: Option<(Epoch, Seq)>) {
        let position = position.as_ref().map(|(epoch, seq)| (epoch, *seq));
        let Some((restaurant, cursor)) = self.at(id) else {
            return;
        };
        if cursor.sync(&restaurant.log, sync, position).is_err() {
            let name = restaurant.log.restaurant_id().to_owned();
            self.begin_epoch(&name);
        }
    }

    fn submit(
        &mut self,
        id: u32,
        number: u64,
        kind: &str,
        command: &Command,
        key: Option<(&str, u128)>,
    ) {
        let waiter = Waiter((u64::from(id) << 32) | number);
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let (Some(identity), Some((name, _))) = (peer.session.identity(), &peer.at) else {
            return;
        };
        let (scope, name) = (identity.scope.clone(), name.clone());
        let refused = match self.take_fault(kind) {
            Some((_, Fault::Nack(nack))) => Some(nack),
            Some((kind, Fault::LoseAck)) => {
                self.losing = Some((waiter, kind));
                None
            }
            None => self.overloaded.then(overloaded),
        };
        match refused {
            Some(nack) => self.answer(waiter, Answer::Nack(nack)),
            None => self.judge(&name, &scope, command, key, waiter),
        }
    }

    /// Has a command judged and stored; whoever waits is answered before this returns.
    fn judge(
        &mut self,
        name: &str,
        scope: &Scope,
        command: &Command,
        key: Option<(&str, u128)>,
        waiter: Waiter,
    ) {
        let fresh = match command {
            Command::Create(_) => {
                self.orders += 1;
                format!("order-{:03}", self.orders)
            }
            _ => String::new(),
        };
        let at = self.at;
        let by = By { scope, key, waiter };
        let restaurant = self.restaurant(name);
        match restaurant.log.judge(command, by, &fresh, at) {
            Judged::Now(answer) => self.answer(waiter, answer),
            Judged::Queued => self.commit(name),
        }
    }

    fn commit(&mut self, name: &str) {
        let at = self.at;
        while let Some(answers) = self.restaurant(name).commit(at) {
            for (waiter, answer) in answers {
                self.answer(waiter, answer);
            }
        }
        for id in self.ids() {
            self.turns(id);
        }
    }

    fn answer(&mut self, waiter: Waiter, answer: Answer) {
        if waiter == HTTP {
            self.answered = Some(answer);
            return;
        }
        let (id, number) = ((waiter.0 >> 32) as u32, waiter.0 & 0xffff_ffff);
        if let Some((_, kind)) = self.losing.take_if(|(losing, _)| *losing == waiter) {
            if matches!(answer, Answer::Ack(_)) {
                self.peers.remove(&id);
                return self.effects.push_back(Effect::Drop(id));
            }
            // Nothing was applied: it waits for the next.
            self.faults.push((kind, Fault::LoseAck));
        }
        self.input(id, Input::Answered { number, answer });
    }

    // Requests.

    pub(crate) fn request(&mut self, token: Option<&str>, asked: &Asked<'_>) -> Reply {
        let Some(restaurant) = asked.restaurant() else {
            return asked.outside();
        };
        if self.overloaded {
            return overloaded().into();
        }
        let token = token.unwrap_or_default();
        match self.tokens.scope(token, restaurant, self.at.wall_ms) {
            Ok(scope) => self.ask(&scope, asked),
            Err(code) => Reply::unauthorized(code),
        }
    }

    pub(crate) fn act(&mut self, role: Role, asked: &Asked<'_>) -> Reply {
        self.ask(&Scope::new("test", role), asked)
    }

    /// Has a request's command judged.
    pub(crate) fn judged(
        &mut self,
        restaurant: &str,
        scope: &Scope,
        command: &Command,
        key: Option<(&str, u128)>,
    ) -> Answer {
        self.judge(restaurant, scope, command, key, HTTP);
        self.answered.take().unwrap_or_else(|| {
            let message = "the log gave no answer";
            Answer::Nack(Nack::new(NackCode::Unavailable, message))
        })
    }

    pub(crate) fn orders(&mut self, restaurant: &str) -> String {
        let log = &self.restaurant(restaurant).log;
        let mut orders: Vec<&Arc<Order>> = log.orders().collect();
        orders.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        let orders: Vec<String> = orders.into_iter().map(|order| order.wire()).collect();
        format!("[{}]", orders.join(","))
    }

    pub(crate) fn events(&mut self, restaurant: &str) -> String {
        let events = self.restaurant(restaurant).events().iter();
        let frames: Vec<&str> = events.map(|event| &**event.stored()).collect();
        format!("[{}]", frames.join(","))
    }

    pub(crate) fn issue(&mut self, claims: &str) -> Result<String, String> {
        self.tokens.issue(claims, self.at.wall_ms)
    }

    pub(crate) fn connections(&self) -> String {
        let views = self.peers.iter().filter_map(|(&id, peer)| {
            let identity = peer.session.identity()?;
            let client = identity.client.map(|client| {
                JsonWriter::object()
                    .opt_str("name", client.name.as_deref())
                    .opt_str("version", client.version.as_deref())
                    .end()
            });
            let view = JsonWriter::object()
                .u64("id", u64::from(id))
                .str("restaurantId", identity.restaurant_id)
                .str("sub", &identity.scope.sub)
                .str("role", identity.scope.role.as_str())
                .str("protocol", peer.session.dialect().as_str())
                .opt_raw("client", client.as_deref());
            Some(view.end())
        });
        format!("[{}]", views.collect::<Vec<_>>().join(","))
    }

    // Faults.

    pub(crate) fn nack_next(
        &mut self,
        code: NackCode,
        message: &str,
        retry_after_ms: Option<u64>,
        kind: Option<String>,
    ) {
        let nack = Nack {
            retry_after_ms,
            ..Nack::new(code, message)
        };
        self.faults.push((kind, Fault::Nack(nack)));
    }

    pub(crate) fn lose_next_ack(&mut self, kind: Option<String>) {
        self.faults.push((kind, Fault::LoseAck));
    }

    pub(crate) fn forget_faults(&mut self) {
        self.faults.clear();
    }

    fn take_fault(&mut self, kind: &str) -> Option<(Option<String>, Fault)> {
        let meant = |(wanted, _): &(Option<String>, Fault)| {
            wanted.as_ref().is_none_or(|wanted| wanted == kind)
        };
        let at = self.faults.iter().position(meant)?;
        Some(self.faults.remove(at))
    }

    pub(crate) fn overload(&mut self, overloaded: bool) {
        self.overloaded = overloaded;
    }

    pub(crate) fn refuse_tokens(&mut self, refusal: Refusal, sub: Option<&str>) {
        let (code, why) = match refusal {
            Refusal::Revoked => (AuthCode::TokenInvalid, "the token was revoked"),
            Refusal::RanOut => (AuthCode::TokenExpired, "the token ran out"),
        };
        self.tokens.refuse(code, sub);
        for id in self.ids() {
            let meant = self.peers.get(&id).is_some_and(|peer| {
                let identity = peer.session.identity();
                identity.is_some_and(|who| sub.is_none_or(|sub| *who.scope.sub == *sub))
            });
            if meant {
                self.input(id, Input::End(CloseCode::TOKEN_EXPIRED, why));
            }
        }
    }

    pub(crate) fn restart(&mut self, reconnect_after_ms: Option<u64>, lost: bool) {
        for id in self.ids() {
            match reconnect_after_ms {
                Some(reconnect_after_ms) => self.input(id, Input::Drain { reconnect_after_ms }),
                None => self.effects.push_back(Effect::Drop(id)),
            }
        }
        self.peers.clear();
        if lost {
            self.restaurants.clear();
        }
    }
}

fn overloaded() -> Nack {
    let message = "the relay is overloaded; try again";
    Nack {
        retry_after_ms: Some(1_000),
        ..Nack::new(NackCode::Overloaded, message)
    }
}
