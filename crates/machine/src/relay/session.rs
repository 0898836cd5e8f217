//! The peer's protocol on one orders socket: what its frames mean and what is said back (`docs/protocol.md` §1, Life
//! of a connection). It never reads the log; the driver carries its commands there and the answers back.

use super::grant::{self, Grant, Terms};
use super::hits::Hits;
use super::rate::Rate;
use super::record::{Ack, Answer, Nack};
use super::replies::{Refusals, Replies};
use super::view::{Scope, Viewer};
use super::{Moment, Token};
use crate::{Time, Timers};
use std::collections::VecDeque;
use std::sync::Arc;
use tautline_protocol::filter::Filter;
use tautline_protocol::limits::{self, Limits, hit};
use tautline_protocol::request::{self, AuthRequest, ClientInfo, Command, Key, Refused, Request};
use tautline_protocol::server_frame::{self, Place};
use tautline_protocol::{AuthCode, CloseCode, Dialect, Epoch, NackCode, Role, Seq, rfc3339};

/// WebSocket pings a peer may leave unanswered.
const PINGS_UNANSWERED: u32 = 2;

/// What the relay announces and allows; one for all sessions.
#[derive(Clone, Debug)]
pub struct Config {
    /// The heartbeat announced in `connected`, and the interval of WebSocket pings.
    pub heartbeat_ms: u64,
    /// The command rate and message size announced in `auth:success`.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_ms: limits::HEARTBEAT_MS,
            limits: Limits::default(),
        }
    }
}

/// What a token says, after its signature, issuer, audience and times were checked by the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub sub: String,
    /// The restaurants it names; `None` is `"*"` (the driver lets only `service` have it).
    pub restaurants: Option<Vec<String>>,
    /// The role's name, known or not.
    pub role: String,
    /// Orders that are its own whoever made them.
    pub order_ids: Vec<String>,
    /// `exp`, RFC 3339.
    pub expires_at: String,
    /// How long it lives yet, leeway not counted; 0 when it is in the leeway.
    pub expires_in_ms: u64,
    /// When it was made, wall clock, if it says so.
    pub issued_at_ms: Option<u64>,
}

/// Who a session is, once authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Who the token speaks for.
    pub scope: &'a Scope,
    /// The restaurant served.
    pub restaurant_id: &'a str,
    /// When its token was made, wall clock, if it says so.
    pub issued_at_ms: Option<u64>,
    /// What the client calls itself.
    pub client: Option<&'a ClientInfo>,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The socket is open; whether the subprotocol `tautline.v1` was offered and echoed.
    Opened {
        /// Offered and echoed.
        v1: bool,
    },
    /// A text message.
    Frame(&'a str),
    /// A binary message.
    Binary,
    /// A message over the limit (the driver stopped reading it).
    TooBig,
    /// A WebSocket pong (any message counts as life, too).
    Pong,
    /// The answer to [`Output::Verify`].
    Verified(Result<Claims, AuthCode>),
    /// The answer to [`Output::Attach`]: where the cursor was placed.
    Attached {
        /// The log's epoch.
        epoch: Epoch,
        /// Its head.
        seq: Seq,
        /// Whether the missed events follow.
        resumed: bool,
    },
    /// The answer to [`Output::Submit`].
    Answered {
        /// The number it was submitted under.
        number: u64,
        /// The answer.
        answer: Answer,
    },
    /// The answer to [`Output::Filter`].
    Filtered {
        /// The number it was asked under.
        number: u64,
        /// Where it holds from.
        at: (Epoch, Seq),
        /// What holds, as JSON.
        filter: String,
    },
    /// A sync is complete ([`super::Taken::Turn`], `synced`).
    Synced,
    /// Bytes were handed to the socket and it did not take all of them: from now on it must make progress.
    Blocked,
    /// The blocked socket took some bytes.
    Wrote {
        /// Nothing waits any more.
        empty: bool,
    },
    /// The relay is going down: close 1012 with this wait.
    Drain {
        /// How long this client should wait.
        reconnect_after_ms: u64,
    },
    /// The driver ends it (too slow, overloaded, `/dev/trouble`, the sessions API).
    End(CloseCode, &'static str),
    /// The socket is closed, by whomever.
    Closed,
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Send this frame, before any events not yet taken from the cursor.
    Send(String),
    /// Send a WebSocket ping.
    Ping,
    /// Check this token and answer [`Input::Verified`].
    Verify {
        /// The token.
        token: Token,
        /// The restaurant it is to be used for, if that is said already: it may be revoked there.
        restaurant_id: Option<String>,
    },
    /// Place a cursor ([`super::Log::place`]) and answer [`Input::Attached`]; once in a session. Take nothing from the
    /// cursor before that: `auth:success` comes first.
    Attach {
        /// The restaurant.
        restaurant_id: String,
        /// Who is placed, for [`super::Log::place`].
        viewer: Box<Viewer>,
        /// The position the client has.
        resume: Option<(Epoch, Seq)>,
        /// Whether it wants a snapshot otherwise.
        sync: bool,
    },
    /// Let the log judge this and answer [`Input::Answered`].
    Submit {
        /// Comes back with the answer.
        number: u64,
        /// Its type on the wire.
        kind: &'static str,
        /// The command.
        command: Box<Command>,
        /// Its id and hash.
        key: Option<Key>,
    },
    /// [`super::Cursor::sync`]; answered by [`Input::Synced`] when complete.
    Sync {
        /// The `sync_id`.
        id: Option<String>,
        /// The client's position; `None` for the whole set.
        position: Option<(Epoch, Seq)>,
    },
    /// [`super::Cursor::account`]: send the frame it gives, if any.
    Account,
    /// [`super::Cursor::filter`]; the position it gives comes back as [`Input::Filtered`].
    Filter {
        /// Comes back with the position.
        number: u64,
        /// The filter.
        filter: Filter,
    },
    /// [`super::Cursor::rescope`]: the renewed token speaks for somebody else.
    Rescope(Scope),
    /// Send this close frame after what was sent before; nothing follows but `Drop` and `Wait`.
    Close(CloseCode, String),
    /// Cut the connection: the peer does not answer.
    Drop,
    /// Nothing more to do; wake it then, and for this reason.
    Wait(Option<(Time, Timer)>),
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// `auth` within 10 s.
    Auth,
    /// The next WebSocket ping.
    Ping,
    /// The token's end and its leeway.
    Expiry,
    /// Progress of a blocked socket.
    Stall,
    /// The peer's close frame after ours; then the connection is cut.
    Linger,
}

#[derive(Debug)]
enum Phase {
    Opening,
    /// `connected` was sent.
    Greeted,
    /// The first token is being checked, or the cursor being placed. Older clients speak on without waiting for
    /// `auth:success`; what they say is kept, as much as one message may hold.
    Admitting {
        auth: Box<AuthRequest>,
        grant: Option<Box<Grant>>,
        early: Vec<String>,
        early_bytes: usize,
    },
    Live(Box<Live>),
    Closing,
    Closed,
}

#[derive(Debug)]
struct Live {
    grant: Grant,
    client: Option<ClientInfo>,
    replies: Replies,
    commands: Rate,
    pings: Rate,
    refused: u32,
    refused_since: Time,
    /// A renewal being checked, with the restaurant it names.
    renewing: Option<Option<String>>,
    renewed: Option<Time>,
    syncing: bool,
    synced: Option<Time>,
    spread_told: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    dialect: Dialect,
    phase: Phase,
    timers: Timers<Timer, 5>,
    out: VecDeque<Output>,
    pings_unanswered: u32,
    /// Frames that wait behind a blocked socket; `None` while it takes everything.
    blocked: Option<usize>,
    hits: Hits,
    /// Of a session that is ending.
    refusals: Refusals,
}

impl Session {
    /// A session for a socket just accepted.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            dialect: Dialect::Plain,
            phase: Phase::Opening,
            timers: Timers::new([
                Timer::Auth,
                Timer::Ping,
                Timer::Expiry,
                Timer::Stall,
                Timer::Linger,
            ]),
            out: VecDeque::new(),
            pings_unanswered: 0,
            blocked: None,
            hits: Hits::default(),
            refusals: Refusals::new(),
        }
    }

    /// Takes one input and decides; the caller then drains [`Session::poll_output`]. `head` is the log's head for
    /// `pong` (anything before [`Input::Attached`]), `spread_ms` the reconnect spread in force.
    pub fn handle(&mut self, input: Input<'_>, at: Moment, head: Seq, spread_ms: u64) {
        let input = match self.phase {
            Phase::Closed => return,
            // The peer may go on speaking until it has read our close frame.
            Phase::Closing if !matches!(input, Input::Closed) => Input::Tick,
            _ => input,
        };
        match input {
            Input::Tick => {}
            Input::Opened { v1 } => self.opened(v1, at),
            Input::Frame(text) => {
                self.pings_unanswered = 0;
                self.frame(text, at, head, spread_ms);
            }
            Input::Pong => self.pings_unanswered = 0,
            Input::Binary => self.close(CloseCode::UNSUPPORTED, "text frames only", at.now),
            Input::TooBig => {
                self.hits.hit(match self.phase {
                    Phase::Live(_) => hit::MESSAGE,
                    _ => hit::MESSAGE_BEFORE_AUTH,
                });
                self.close(CloseCode::TOO_BIG, "message over the limit", at.now);
            }
            Input::Verified(claims) => self.verified(claims, at, spread_ms),
            Input::Attached {
                epoch,
                seq,
                resumed,
            } => self.attached(&epoch, seq, resumed, at, head, spread_ms),
            Input::Answered { number, answer } => {
                if let Phase::Live(live) = &mut self.phase {
                    live.replies.answered(number, answer);
                    self.reply();
                }
            }
            Input::Filtered { number, at, filter } => {
                if let Phase::Live(live) = &mut self.phase {
                    let ack = Ack {
                        at: Some(at),
                        result: Some(filter),
                    };
                    live.replies.answered(number, Answer::Ack(Arc::new(ack)));
                    self.reply();
                }
            }
            Input::Synced => {
                if let Phase::Live(live) = &mut self.phase {
                    live.syncing = false;
                }
            }
            Input::Blocked => {
                self.blocked.get_or_insert(0);
                self.timers
                    .set(Timer::Stall, at.now + limits::WRITE_STALL_MS);
            }
            Input::Wrote { empty: true } => {
                self.blocked = None;
                self.timers.clear(Timer::Stall);
            }
            Input::Wrote { empty: false } if self.blocked.is_none() => {}
            Input::Wrote { empty: false } => self
                .timers
                .set(Timer::Stall, at.now + limits::WRITE_STALL_MS),
            Input::Drain { reconnect_after_ms } => {
                self.close(
                    CloseCode::RESTART,
                    &format!("restart; reconnect_after_ms={reconnect_after_ms}"),
                    at.now,
                );
            }
            Input::End(code, reason) => self.close(code, reason, at.now),
            Input::Closed => {
                self.phase = Phase::Closed;
                self.timers.clear_all();
                self.out.clear();
            }
        }
        if self
            .blocked
            .is_some_and(|waiting| waiting > limits::CONTROL_QUEUE)
        {
            self.hits.hit(hit::CONTROL_QUEUE);
            self.close(
                CloseCode::SLOW_CONSUMER,
                "answers are not being read",
                at.now,
            );
        }
        while let Some((_, timer)) = self.timers.take_due(at.now) {
            self.fire(timer, at.now);
        }
    }

    /// The next effect; `Wait` ends every drain and is computed, never queued.
    pub fn poll_output(&mut self) -> Output {
        match self.out.pop_front() {
            Some(output) => output,
            None => {
                // An idle connection keeps no room for what it does not say: a kilobyte of it.
                self.out = VecDeque::new();
                Output::Wait(self.timers.soonest())
            }
        }
    }

    /// Limits it met since the last time, for the driver to count.
    pub fn hits(&mut self) -> &mut Hits {
        &mut self.hits
    }

    /// Who it is, once authenticated.
    pub fn identity(&self) -> Option<Identity<'_>> {
        let Phase::Live(live) = &self.phase else {
            return None;
        };
        Some(Identity {
            scope: &live.grant.scope,
            restaurant_id: &live.grant.restaurant_id,
            issued_at_ms: live.grant.issued_at_ms,
            client: live.client.as_ref(),
        })
    }

    /// How often which kind of frame was refused without asking the log, since this was last asked.
    pub fn take_refusals(&mut self) -> Refusals {
        let now = match &mut self.phase {
            Phase::Live(live) => std::mem::take(&mut live.replies.refusals),
            _ => Refusals::new(),
        };
        let mut all = std::mem::take(&mut self.refusals);
        for (what, times) in now {
            *all.entry(what).or_default() += times;
        }
        all
    }

    /// The dialect in force.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether it sent a close frame or the socket is gone: nothing is to be taken from its cursor any more.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Closed)
    }

    fn opened(&mut self, v1: bool, at: Moment) {
        if !matches!(self.phase, Phase::Opening) {
            return;
        }
        if v1 {
            self.dialect = Dialect::V1;
        }
        let max = self.config.limits.max_message;
        self.send(server_frame::connected(
            self.config.heartbeat_ms,
            max,
            &rfc3339(at.wall_ms),
        ));
        self.timers.set(Timer::Auth, at.now + limits::AUTH_MS);
        self.timers
            .set(Timer::Ping, at.now + self.config.heartbeat_ms);
        self.phase = Phase::Greeted;
    }

    fn fire(&mut self, timer: Timer, now: Time) {
        match timer {
            Timer::Auth => {
                self.hits.hit(hit::AUTH_TIME);
                self.close(CloseCode::AUTH_TIMEOUT, "no auth in time", now);
            }
            Timer::Ping if self.pings_unanswered >= PINGS_UNANSWERED => self.cut(),
            Timer::Ping => {
                self.pings_unanswered += 1;
                self.out.push_back(Output::Ping);
                self.out.push_back(Output::Account);
                self.timers.set(Timer::Ping, now + self.config.heartbeat_ms);
            }
            Timer::Expiry => self.close(CloseCode::TOKEN_EXPIRED, "token expired", now),
            Timer::Stall => {
                self.hits.hit(hit::WRITE_STALL);
                self.close(CloseCode::SLOW_CONSUMER, "no write progress", now);
            }
            Timer::Linger => self.cut(),
        }
    }

    fn frame(&mut self, text: &str, at: Moment, head: Seq, spread_ms: u64) {
        match &mut self.phase {
            Phase::Live(_) => match request::parse(text, self.dialect == Dialect::V1) {
                Err(refused) => self.refuse(refused, at),
                Ok(requests) => {
                    for request in requests {
                        match request {
                            Ok(request) => self.request(request, at, head, spread_ms),
                            Err(refused) => self.refuse(refused, at),
                        }
                    }
                }
            },
            Phase::Greeted => self.first(text, at),
            Phase::Admitting {
                early, early_bytes, ..
            } => {
                *early_bytes += text.len();
                if *early_bytes > limits::MAX_MESSAGE_BEFORE_AUTH {
                    self.hits.hit(hit::MESSAGE_BEFORE_AUTH);
                    self.close(CloseCode::TOO_BIG, "wait for auth:success", at.now);
                } else {
                    early.push(text.to_owned());
                }
            }
            Phase::Opening | Phase::Closing | Phase::Closed => {}
        }
    }

    /// The first message must be `auth`.
    fn first(&mut self, text: &str, at: Moment) {
        if text.len() > limits::MAX_MESSAGE_BEFORE_AUTH {
            self.hits.hit(hit::MESSAGE_BEFORE_AUTH);
            return self.close(CloseCode::TOO_BIG, "message over the limit", at.now);
        }
        let first = request::parse(text, false).map(|mut requests| requests.pop());
        if let Err(Refused {
            limit: Some(limit), ..
        }) = &first
        {
            self.hits.hit(limit);
        }
        let Ok(Some(Ok(Request::Auth(auth)))) = first else {
            return self.close(CloseCode::POLICY, "the first message must be auth", at.now);
        };
        self.out.push_back(Output::Verify {
            token: Token(auth.token.clone()),
            restaurant_id: auth.restaurant_id.clone(),
        });
        self.phase = Phase::Admitting {
            auth: Box::new(auth),
            grant: None,
            early: Vec::new(),
            early_bytes: 0,
        };
    }

    fn verified(&mut self, claims: Result<Claims, AuthCode>, at: Moment, spread_ms: u64) {
        match &mut self.phase {
            Phase::Admitting { auth, grant, .. } if grant.is_none() => {
                let wanted = auth.restaurant_id.as_deref();
                match claims.and_then(|claims| Grant::admit(claims, wanted, at.now)) {
                    Err(code) => self.auth_refused(code, at),
                    Ok(granted) => {
                        if auth.v1 {
                            self.dialect = Dialect::V1;
                        }
                        let v1 = self.dialect == Dialect::V1;
                        // `subscribe`, `resume` and `sync` belong to v1.
                        let filter = match &auth.subscribe {
                            Some(Ok(filter)) if v1 => filter.clone(),
                            _ => Filter::default(),
                        };
                        let viewer = Viewer::new(self.dialect, granted.scope.clone(), filter);
                        self.out.push_back(Output::Attach {
                            restaurant_id: granted.restaurant_id.clone(),
                            viewer: Box::new(viewer),
                            resume: auth.resume.take().filter(|_| v1),
                            sync: auth.sync && v1,
                        });
                        *grant = Some(Box::new(granted));
                        // The client did its part in time; what it waits for now is ours.
                        self.timers.clear(Timer::Auth);
                    }
                }
            }
            Phase::Live(live) => {
                let Some(restaurant_id) = live.renewing.take() else {
                    return;
                };
                match live.grant.renew(claims, restaurant_id.as_deref(), at.now) {
                    Ok(granted) => {
                        let changed = granted.scope != live.grant.scope;
                        live.grant = granted;
                        live.spread_told = spread_ms;
                        self.timers
                            .set(Timer::Expiry, live.grant.expires + limits::TOKEN_LEEWAY_MS);
                        let frame = self.success(None, at, spread_ms);
                        self.send(frame);
                        if changed && let Phase::Live(live) = &self.phase {
                            self.out
                                .push_back(Output::Rescope(live.grant.scope.clone()));
                        }
                    }
                    // Never closes: the token in use is still good.
                    Err(code) => self.send(grant::refusal(code, true, at.wall_ms)),
                }
            }
            _ => {}
        }
    }

    fn auth_refused(&mut self, code: AuthCode, at: Moment) {
        self.send(grant::refusal(code, false, at.wall_ms));
        self.close(grant::close_code(code), code.as_str(), at.now);
    }

    fn attached(
        &mut self,
        epoch: &Epoch,
        seq: Seq,
        resumed: bool,
        at: Moment,
        head: Seq,
        spread_ms: u64,
    ) {
        let Phase::Admitting { grant, .. } = &self.phase else {
            return;
        };
        if grant.is_none() {
            return;
        }
        let Phase::Admitting {
            auth,
            grant: Some(grant),
            early,
            ..
        } = std::mem::replace(&mut self.phase, Phase::Opening)
        else {
            return;
        };
        self.timers.clear(Timer::Auth);
        self.timers
            .set(Timer::Expiry, grant.expires + limits::TOKEN_LEEWAY_MS);
        let rate = self.config.limits;
        self.phase = Phase::Live(Box::new(Live {
            grant: *grant,
            client: auth.client,
            replies: Replies::default(),
            commands: Rate::new(rate.rate_per_s, rate.burst),
            pings: Rate::new(limits::PINGS_PER_S, limits::PINGS_PER_S * 2),
            refused: 0,
            refused_since: at.now,
            renewing: None,
            renewed: None,
            syncing: self.dialect == Dialect::V1 && auth.sync && !resumed,
            synced: None,
            spread_told: spread_ms,
        }));
        let frame = self.success(
            Some(Place {
                epoch,
                seq,
                resumed,
            }),
            at,
            spread_ms,
        );
        self.send(frame);
        if let Some(Err(message)) = auth.subscribe.filter(|_| self.dialect == Dialect::V1) {
            self.send(server_frame::error(
                NackCode::Invalid,
                &message,
                None,
                Some("subscribe"),
            ));
        }
        for text in early {
            self.frame(&text, at, head, spread_ms);
        }
    }

    fn success(&self, place: Option<Place<'_>>, at: Moment, spread_ms: u64) -> String {
        let Phase::Live(live) = &self.phase else {
            return String::new();
        };
        let terms = Terms {
            v1: self.dialect == Dialect::V1,
            renewal: place.is_none(),
            place,
            limits: self.config.limits,
            spread_ms,
        };
        live.grant.success(&terms, at.now, at.wall_ms)
    }

    fn request(&mut self, request: Request, at: Moment, head: Seq, spread_ms: u64) {
        let v1 = self.dialect == Dialect::V1;
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        match request {
            Request::Ping { timestamp } => {
                if live.pings.take(at.now).is_ok() {
                    let changed = std::mem::replace(&mut live.spread_told, spread_ms) != spread_ms;
                    let (seq, spread) = (v1.then_some(head), changed.then_some(spread_ms));
                    // The pong confirms the head to a client whose position is there.
                    self.out.push_back(Output::Account);
                    self.send(server_frame::pong(
                        timestamp.as_deref(),
                        at.wall_ms,
                        seq,
                        spread,
                    ));
                } else {
                    self.hits.hit(hit::PING_RATE);
                }
            }
            Request::Auth(auth) => {
                let wait = live.renewed.map_or(0, |last| {
                    limits::RENEWAL_EVERY_MS.saturating_sub(at.now - last)
                });
                if wait > 0 || live.renewing.is_some() {
                    self.hits.hit(hit::RENEWAL_RATE);
                    return self.too_soon(
                        None,
                        "auth",
                        "a token is renewed at most every 10 s",
                        wait.max(1_000),
                        at.now,
                    );
                }
                live.renewed = Some(at.now);
                live.renewing = Some(auth.restaurant_id);
                self.out.push_back(Output::Verify {
                    token: Token(auth.token),
                    restaurant_id: Some(live.grant.restaurant_id.clone()),
                });
            }
            Request::Sync { id, position } => {
                let wait = live.synced.map_or(0, |last| {
                    limits::SYNC_EVERY_MS.saturating_sub(at.now - last)
                });
                if wait > 0 || live.syncing {
                    self.hits.hit(hit::SYNC_RATE);
                    let (id, message) = (
                        id.filter(|_| v1),
                        "one sync at a time, and at most every 5 s",
                    );
                    return self.too_soon(id, "orders:sync", message, wait.max(1_000), at.now);
                }
                live.syncing = true;
                live.synced = Some(at.now);
                if let Some(id) = id.as_deref().filter(|_| v1) {
                    self.send(server_frame::ack(id, None, None));
                }
                self.out.push_back(Output::Sync { id, position });
            }
            Request::Command { kind, key, command } => {
                let id = key.as_ref().map(|key| key.id.clone());
                if let Some(number) = self.expect(id, kind, at.now) {
                    self.out.push_back(Output::Submit {
                        number,
                        kind,
                        command: Box::new(command),
                        key,
                    });
                }
            }
            Request::Subscribe { id, filter } => self.subscribe(id, "subscribe", filter, at),
            Request::Unsubscribe { id } => {
                self.subscribe(id, "unsubscribe", Filter::default(), at);
            }
        }
    }

    /// A command that is within the rates is answered under this number; one that is not is refused.
    fn expect(&mut self, id: Option<String>, kind: &'static str, now: Time) -> Option<u64> {
        let v1 = self.dialect == Dialect::V1;
        let Phase::Live(live) = &mut self.phase else {
            return None;
        };
        let id = id.filter(|_| v1);
        if live.grant.scope.role != Role::Service
            && let Err(wait) = live.commands.take(now)
        {
            self.over_rate(id, kind, wait, now);
            return None;
        }
        if live.replies.len() >= limits::CONTROL_QUEUE {
            self.hits.hit(hit::CONTROL_QUEUE);
            let mut nack = Nack::new(
                NackCode::Overloaded,
                "too many commands wait for their answer",
            );
            nack.retry_after_ms = Some(1_000);
            let frame = super::replies::nack(id.as_deref(), Some(kind), &nack);
            self.send(frame);
            return None;
        }
        Some(live.replies.expect(id, kind))
    }

    fn subscribe(&mut self, id: Option<String>, kind: &'static str, filter: Filter, at: Moment) {
        let Some(number) = self.expect(id, kind, at.now) else {
            return;
        };
        if self.dialect == Dialect::V1 {
            return self.out.push_back(Output::Filter { number, filter });
        }
        if let Phase::Live(live) = &mut self.phase {
            let message =
                "filters are for tautline.v1; a plain connection is sent all its role sees";
            let nack = Nack::new(NackCode::Invalid, message);
            live.replies.answered(number, Answer::Nack(nack));
            self.reply();
        }
    }

    /// A frame that cannot be used counts against the command rate like one that can.
    fn refuse(&mut self, refused: Refused, at: Moment) {
        if let Some(limit) = refused.limit {
            self.hits.hit(limit);
        }
        let v1 = self.dialect == Dialect::V1;
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let id = refused.id.filter(|_| v1);
        let kind = refused.ref_type.unwrap_or_default();
        if let Err(wait) = live.commands.take(at.now) {
            return self.over_rate(id, &kind, wait, at.now);
        }
        live.replies
            .refused(id, &kind, Nack::new(refused.code, refused.message));
        self.reply();
    }

    /// Refused by a rate of its own, and counted against the command rate: a refusal costs as much as a command.
    fn too_soon(&mut self, id: Option<String>, kind: &str, message: &str, wait: u64, now: Time) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if let Err(wait) = live.commands.take(now) {
            return self.over_rate(id, kind, wait, now);
        }
        let mut nack = Nack::new(NackCode::RateLimited, message);
        nack.retry_after_ms = Some(wait);
        live.replies.refused(id, kind, nack);
        self.reply();
    }

    fn over_rate(&mut self, id: Option<String>, kind: &str, wait: u64, now: Time) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        self.hits.hit(hit::COMMAND_RATE);
        if now - live.refused_since > limits::REFUSED_WINDOW_MS {
            live.refused_since = now;
            live.refused = 0;
        }
        live.refused += 1;
        if live.refused >= limits::REFUSED_MOST {
            self.hits.hit(hit::COMMAND_REFUSALS);
            return self.close(CloseCode::RATE_LIMIT, "over the rate for too long", now);
        }
        let mut nack = Nack::new(NackCode::RateLimited, "over the rate in limits");
        nack.retry_after_ms = Some(wait);
        live.replies.refused(id, kind, nack);
        self.reply();
    }

    /// Sends what is answered, in the order it was asked.
    fn reply(&mut self) {
        while let Phase::Live(live) = &mut self.phase {
            match live.replies.next(self.dialect) {
                None => break,
                Some(Some(frame)) => self.send(frame),
                Some(None) => {}
            }
        }
    }

    fn send(&mut self, frame: String) {
        if let Some(waiting) = &mut self.blocked {
            *waiting += 1;
        }
        self.out.push_back(Output::Send(frame));
    }

    fn close(&mut self, code: CloseCode, reason: &str, now: Time) {
        if self.is_ending() {
            return;
        }
        self.out.push_back(Output::Close(code, reason.to_owned()));
        self.refusals = self.take_refusals();
        self.phase = Phase::Closing;
        self.blocked = None;
        self.timers.clear_all();
        self.timers.set(Timer::Linger, now + limits::LINGER_MS);
    }

    fn cut(&mut self) {
        self.out.push_back(Output::Drop);
        self.phase = Phase::Closed;
        self.timers.clear_all();
    }
}
