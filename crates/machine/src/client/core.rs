//! The client: one connection to one restaurant's events, its outbox and its place in the log
//! (`docs/protocol.md` §1). This file holds its state, its door and its answers at once; `dial.rs` how a connection
//! comes about and what its end means, `live.rs` what happens while it holds.

use super::addresses::Addresses;
use super::backoff::Backoff;
use super::feed::Feed;
use super::filter::{Filters, Reach};
use super::io::{
    Answer, AttemptId, Command, Config, ConnectionState, Failure, Input, Notice, Output, PageEvent,
    Timer, Token, WaiterId,
};
use super::outbox::{EntryView, Outbox};
use super::record::{self, Recorder};
use crate::{Rng, Time, Timers};
use std::collections::VecDeque;
use tautline_protocol::limits::MAX_MESSAGE;
use tautline_protocol::{AuthCode, CloseCode, Dialect, Epoch, ErrorCode, Outcome, Seq, Stage};

/// No wait is longer; longer ones are re-armed.
const LONGEST_WAIT_MS: u64 = 3_600_000;

/// A live connection's decisions. Feed it with [`Client::handle`], then drain [`Client::poll_output`] until it says
/// [`Output::Wait`].
#[derive(Debug)]
pub struct Client {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) timers: Timers<Timer, 14>,
    pub(super) out: VecDeque<Output>,
    pub(super) phase: Phase,
    pub(super) state: ConnectionState,
    pub(super) attempts: u32,
    pub(super) waiters: Vec<WaiterId>,
    pub(super) backoff: Backoff,
    pub(super) addresses: Addresses,
    pub(super) tokens: Tokens,
    pub(super) server: Server,
    pub(super) outbox: Outbox,
    pub(super) feed: Feed,
    pub(super) filters: Filters,
    /// Whether a connection has held since it was last wanted.
    pub(super) was_connected: bool,
    pub(super) offline: bool,
    pub(super) stale: bool,
    /// Attempts in a row whose socket never opened.
    pub(super) unopened: u32,
    pub(super) last_cut: Option<Time>,
    pub(super) slow_repeats: u32,
    pub(super) renewal: Renewal,
    pub(super) counters: Counters,
    pub(super) ids: Ids,
    pub(super) recorder: Option<Box<Recorder>>,
    /// When the machine was last handed the time.
    pub(super) now: Time,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Not wanted.
    Idle,
    Dialling(Dial),
    Live(Live),
    /// Waiting for the backoff; a sign of waking may cut it short, but not below `not_before`.
    Waiting {
        not_before: Time,
    },
    /// Auth was refused: only a token not yet refused leads out.
    Refused {
        code: ErrorCode,
        probing: Option<AttemptId>,
    },
    /// The attempts are used up.
    Failed,
    /// The page is in the back/forward cache; a close code's wait goes on.
    Suspended {
        not_before: Time,
    },
    Disposed,
}

#[derive(Debug)]
pub(super) struct Dial {
    pub(super) attempt: AttemptId,
    pub(super) stage: DialStage,
    pub(super) started: Time,
    pub(super) reason: super::TokenReason,
    pub(super) token: Option<Token>,
    pub(super) refused: Option<AuthCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum DialStage {
    Url,
    Token,
    Socket,
    Greeting,
    Auth,
}

impl DialStage {
    pub(super) fn reported(self) -> Stage {
        match self {
            Self::Url => Stage::Url,
            Self::Token => Stage::Token,
            Self::Socket => Stage::Socket,
            Self::Greeting | Self::Auth => Stage::Auth,
        }
    }

    pub(super) fn has_socket(self) -> bool {
        self >= Self::Socket
    }
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) attempt: AttemptId,
    pub(super) dialect: Dialect,
    /// When a ping left because the page woke: its deadline is short and its loss redials at once.
    pub(super) probing: Option<Time>,
}

/// Tokens: the one in use, one given ahead, and the refused ones, kept as hashes.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) preset: Option<Token>,
    pub(super) in_use: Option<Token>,
    refused: VecDeque<u64>,
    /// Whether `getToken({reason: 'rejected'})` was tried since the last `auth:success`.
    pub(super) asked_after_rejection: bool,
    /// Whether the last one ran out (4001) and none has been taken since.
    pub(super) expired: bool,
}

impl Tokens {
    pub(super) fn refuse(&mut self, token: &Token) {
        if self.refused.len() == 32 {
            self.refused.pop_front();
        }
        self.refused.push_back(record::hash(token.text()));
    }

    pub(super) fn is_refused(&self, token: &Token) -> bool {
        self.refused.contains(&record::hash(token.text()))
    }

    /// The token given ahead, unless the server has refused it meanwhile. `keep` where no `getToken` can give another.
    pub(super) fn given(&mut self, keep: bool) -> Option<Token> {
        let given = if keep {
            self.preset.clone()
        } else {
            self.preset.take()
        };
        given.filter(|token| !self.is_refused(token))
    }

    pub(super) fn refused_fields(&mut self, f: &mut impl record::Fields) {
        let mut count = self.refused.len() as u64;
        f.n(&mut count);
        self.refused.resize(count.min(32) as usize, 0);
        self.refused.iter_mut().for_each(|hash| f.token_hash(hash));
    }

    /// Whether one was given ahead that is neither the one in use nor refused.
    pub(super) fn has_another(&self) -> bool {
        self.preset
            .as_ref()
            .is_some_and(|token| !self.is_refused(token) && self.in_use.as_ref() != Some(token))
    }
}

/// What the server said of itself.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) heartbeat_ms: Option<u64>,
    pub(super) max_message: u32,
    /// The window that clients return in after an abnormal close.
    pub(super) spread_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// When the token in use runs out.
    pub(super) ends: Option<Time>,
    /// When the last one was sent.
    pub(super) last: Option<Time>,
    /// `getToken` was asked.
    pub(super) fetching: bool,
    /// Sent, not answered.
    pub(super) pending: Option<Token>,
    /// To be sent as soon as the last one is long enough ago.
    pub(super) next: Option<Token>,
    pub(super) rejected: bool,
}

/// Names for commands: an instance's name and a count.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) instance: String,
    pub(super) count: u64,
}

impl Ids {
    pub(super) fn next(&mut self) -> String {
        self.count += 1;
        let mut id = self.instance.clone();
        id.push('-');
        let mut digits = [0u8; 20];
        let (mut n, mut len) = (self.count, 0);
        for slot in &mut digits {
            *slot = b'0' + (n % 10) as u8;
            n /= 10;
            len += 1;
            if n == 0 {
                break;
            }
        }
        id.extend(digits.iter().take(len).rev().map(|&d| char::from(d)));
        id
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) connects: u64,
    pub(super) resumes: u64,
    pub(super) gaps: u64,
    pub(super) duplicates: u64,
    pub(super) snapshots: u64,
    pub(super) events: u64,
    pub(super) stale_inputs: u64,
    pub(super) rtt_ms: Option<u64>,
}

/// `stats()`.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Connections that authenticated.
    pub connects: u64,
    /// Connections that went on where the last one ended.
    pub resumes: u64,
    /// Jumps that nothing explained, and positions that were void.
    pub gaps: u64,
    /// Events that came a second time and were dropped.
    pub duplicates: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Events delivered.
    pub events: u64,
    /// Inputs of attempts that were over.
    pub stale_inputs: u64,
    /// The last round trip.
    pub rtt_ms: Option<u64>,
    /// Attempts begun.
    pub attempts: u32,
    /// The position.
    pub last_seq: Option<Seq>,
    /// Whether `staleAfter` has passed.
    pub stale: bool,
    /// Whether the browser says it is offline.
    pub offline: bool,
    /// Messages in the outbox.
    pub outbox_len: usize,
    /// The age of its oldest.
    pub outbox_oldest_ms: Option<u64>,
    /// Until the next attempt, while one is waited for.
    pub next_attempt_in_ms: Option<u64>,
}

/// `freshness()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The position.
    pub seq: Option<Seq>,
    /// How long ago everything up to it was confirmed; `None` = never yet.
    pub age_ms: Option<u64>,
    /// Connected, and confirmed within `staleAfter`.
    pub live: bool,
}

impl Client {
    /// A client at rest. `seed` is all the chance it will ever have.
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        use Timer::{
            Attempt, AuthProbe, Backoff as BackoffTimer, Greeting, Heartbeat,
            Outbox as OutboxTimer, Pace, Pong, Renew, Settled, SnapshotPart, Stale, Sync,
            Token as TokenTimer,
        };
        let mut rng = Rng::new(seed);
        Self {
            addresses: Addresses::new(config.addresses),
            backoff: Backoff::new(config.reconnect_interval_ms, config.max_reconnect_delay_ms),
            outbox: Outbox::new(
                config.outbox_limit,
                config.outbox_bytes,
                config.outbox_stored,
                now,
            ),
            ids: Ids {
                instance: rng.name(),
                count: 0,
            },
            timers: Timers::new([
                Attempt,
                Greeting,
                TokenTimer,
                BackoffTimer,
                Heartbeat,
                Pong,
                Settled,
                Renew,
                Stale,
                Sync,
                SnapshotPart,
                OutboxTimer,
                Pace,
                AuthProbe,
            ]),
            config,
            rng,
            out: VecDeque::new(),
            phase: Phase::Idle,
            state: ConnectionState::Disconnected,
            attempts: 0,
            waiters: Vec::new(),
            tokens: Tokens::default(),
            server: Server {
                heartbeat_ms: None,
                max_message: MAX_MESSAGE,
                spread_ms: None,
            },
            feed: Feed::new(),
            filters: Filters::default(),
            was_connected: false,
            offline: false,
            stale: false,
            unopened: 0,
            last_cut: None,
            slow_repeats: 0,
            renewal: Renewal::default(),
            counters: Counters::default(),
            recorder: None,
            now,
        }
    }

    /// Takes one input and decides; the caller then drains [`Client::poll_output`].
    pub fn handle(&mut self, input: Input, now: Time) {
        if self.recorder.is_some() {
            self.handle_recorded(input, now);
        } else {
            self.decide(input, now);
        }
    }

    pub(super) fn decide(&mut self, input: Input, now: Time) {
        self.now = now;
        if matches!(self.phase, Phase::Disposed) {
            if let Input::Connect(waiter) = input {
                self.out.push_back(Output::Settle(
                    waiter,
                    Err(failure(
                        ErrorCode::Disposed,
                        "this object was disposed; make a new one",
                    )),
                ));
            }
            return;
        }
        match input {
            Input::Tick => {}
            Input::Connect(waiter) => self.wanted(waiter, now),
            Input::Abandon(waiter) => self.abandoned(waiter),
            Input::Disconnect => self.rest(),
            Input::ReconnectNow => self.reconnect_now(now),
            Input::Dispose => self.dispose(),
            Input::SetToken(token) => self.token_given(token, now),
            Input::Url(attempt, usable) => self.url_resolved(attempt, usable, now),
            Input::Token(attempt, answer) => self.token_fetched(attempt, answer, now),
            Input::Opened(attempt) => self.opened(attempt, now),
            Input::Frame(attempt, head) => self.frame(attempt, head, now),
            Input::Malformed(attempt) => self.malformed(attempt),
            Input::Closed(attempt, closed) => self.closed(attempt, closed, now),
            Input::Health(attempt, reachable) => self.health(attempt, reachable),
            Input::Page(event) => self.page(event, now),
            Input::WantOrders(want) => self.want_orders(want, now),
            Input::RequestSync => {
                if self.is_live() {
                    self.feed.need_sync(true);
                    self.sync_if_due(now);
                }
            }
            Input::SetFilter(filter) => self.want_filter(filter, None, now),
            Input::ResumeFrom(epoch, seq) => {
                if !self.is_live() {
                    self.feed.resume_from(epoch, seq);
                }
            }
            Input::Writable(attempt, writable) => {
                if self.is_current(attempt) {
                    self.outbox.set_writable(writable);
                    self.flush_on(now);
                }
            }
            Input::Stored { id, sent, kept } => {
                self.outbox.stored(&id, sent, kept);
                self.flush_on(now);
            }
            Input::Adopted {
                answer,
                entries,
                lost,
            } => self.adopted(answer, entries, lost, now),
        }
        // After every input, not only `Tick`: a hidden page's timers may come a minute late.
        while let Some((due, timer)) = self.timers.take_due(now) {
            self.fire(timer, now - due, now);
        }
    }

    /// The next effect; [`Output::Wait`] ends every drain and is computed, never queued. It never names a moment more
    /// than an hour away: a browser's timers overflow, and the `Tick` that comes early asks again.
    pub fn poll_output(&mut self) -> Output {
        let longest = self.now + LONGEST_WAIT_MS;
        self.out.pop_front().unwrap_or_else(|| {
            let soonest = self.timers.soonest();
            Output::Wait(soonest.map(|(at, timer)| (at.min(longest), timer)))
        })
    }

    /// Whether there is an effect to be performed.
    pub fn has_outputs(&self) -> bool {
        !self.out.is_empty()
    }

    /// Takes the next effect if that is [`Output::Deliver`]: for a driver that performs it without looking at the frame.
    pub fn take_delivery(&mut self) -> bool {
        let delivers = matches!(self.out.front(), Some(Output::Deliver { .. }));
        if delivers {
            self.out.pop_front();
        }
        delivers
    }

    /// Takes a message into the outbox and gives its id; drain the outputs afterwards.
    ///
    /// # Errors
    /// `outbox_full`, `message_too_large`, `invalid_argument` (the id is in use, or is no id), `disposed`.
    pub fn send(&mut self, command: Command, now: Time) -> Result<String, Failure> {
        let before = self.out.len();
        let line = self
            .recorder
            .as_deref()
            .map(|recorder| recorder.send(&command, now));
        let sent = self.take_command(command, now);
        self.record_call(before, line);
        sent
    }

    fn take_command(&mut self, command: Command, now: Time) -> Result<String, Failure> {
        self.now = now;
        if matches!(self.phase, Phase::Disposed) {
            return Err(failure(
                ErrorCode::Disposed,
                "this object was disposed; make a new one",
            ));
        }
        let id = match &command.id {
            Some(id) => id.clone(),
            None => self.ids.next(),
        };
        let ttl_ms = command.ttl_ms.unwrap_or(self.config.outbox_ttl_ms);
        self.outbox
            .push(command, id.clone(), ttl_ms, self.server.max_message, now)?;
        self.flush(now);
        self.outbox.write_newest(&mut self.out);
        self.arm_outbox();
        self.tell(Notice::Outbox);
        Ok(id)
    }

    /// Withdraws a message; `false` if it was answered already. Drain the outputs afterwards.
    pub fn cancel(&mut self, id: &str, now: Time) -> bool {
        self.now = now;
        let before = self.out.len();
        let line = self
            .recorder
            .as_deref()
            .map(|recorder| recorder.cancel(id, now));
        let there = self.outbox.cancel(id, &mut self.out);
        if there {
            self.flush(now);
            self.arm_outbox();
            self.tell(Notice::Outbox);
        }
        self.record_call(before, line);
        there
    }

    /// `setFilter()`: the server's filter for this page, as JSON (`{"events":…,"filters":…}`), remembered for every
    /// connection; `None` = all that the role sees. Gives the name under which [`Output::Settled`] tells what became of
    /// it: at once where there is no server to ask (state `disconnected`), else when the server has taken it, by `ack` or
    /// by `auth:success`. A later call takes the place of one that has not left yet. Drain the outputs afterwards.
    pub fn set_filter(&mut self, filter: Option<String>, now: Time) -> String {
        self.now = now;
        let before = self.out.len();
        let line = self
            .recorder
            .as_deref()
            .map(|recorder| recorder.set_filter(filter.as_deref(), now));
        let id = self.ids.next();
        if matches!(self.phase, Phase::Disposed) {
            let answer = Answer::Failed {
                code: ErrorCode::Disposed,
                outcome: Outcome::NotSent,
            };
            self.out.push_back(Output::Settled(id.clone(), answer));
        } else {
            self.want_filter(filter, Some(id.clone()), now);
        }
        self.record_call(before, line);
        id
    }

    fn want_filter(&mut self, filter: Option<String>, waiter: Option<String>, now: Time) {
        let reach = match &self.phase {
            Phase::Idle => Reach::Idle,
            Phase::Live(live) => Reach::Live(live.dialect),
            _ => Reach::Coming,
        };
        if self.filters.want(filter, waiter, reach, &mut self.out) {
            self.filter_changed();
            self.flush_on(now);
            // Both are taken up in order: the snapshot that follows is of the new filter.
            self.sync_if_due(now);
        }
    }

    /// Whether the outbox holds anything.
    pub fn has_entries(&self) -> bool {
        self.outbox.len() > 0
    }

    /// What the outbox holds, oldest first.
    pub fn entries(&self, now: Time) -> impl Iterator<Item = EntryView<'_>> {
        self.outbox.entries(now)
    }

    /// One of them.
    pub fn entry(&self, id: &str, now: Time) -> Option<EntryView<'_>> {
        self.outbox.entries(now).find(|entry| entry.id == id)
    }

    /// The connection as the page sees it.
    pub fn state(&self) -> ConnectionState {
        self.state
    }

    /// The history in force; drivers compare a frame's `epoch` with it ([`super::EpochRef`]).
    pub fn epoch(&self) -> Option<&Epoch> {
        self.feed.epoch()
    }

    /// The connection's dialect, while there is one.
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.phase {
            Phase::Live(live) => Some(live.dialect),
            _ => None,
        }
    }

    /// The position in the log.
    pub fn position(&self) -> Option<Seq> {
        self.feed.position()
    }

    /// How many histories there have been: another number is another [`Client::epoch`].
    pub fn history(&self) -> u32 {
        self.feed.place().0
    }

    /// `freshness()`.
    pub fn freshness(&self, now: Time) -> Freshness {
        let age_ms = self.feed.confirmed_at().map(|at| now - at);
        let live = self.is_live() && age_ms.is_some_and(|age| age < self.stale_after_ms());
        Freshness {
            seq: self.feed.position(),
            age_ms,
            live,
        }
    }

    /// `stats()`.
    pub fn stats(&self, now: Time) -> Stats {
        let c = self.counters;
        Stats {
            connects: c.connects,
            resumes: c.resumes,
            gaps: c.gaps,
            duplicates: c.duplicates,
            snapshots: c.snapshots,
            events: c.events,
            stale_inputs: c.stale_inputs,
            rtt_ms: c.rtt_ms,
            attempts: self.attempts,
            last_seq: self.feed.position(),
            stale: self.stale,
            offline: self.offline,
            outbox_len: self.outbox.len(),
            outbox_oldest_ms: self.outbox.oldest_ms(now),
            next_attempt_in_ms: self.timers.get(Timer::Backoff).map(|at| at - now),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// The attempt whose inputs count.
    pub(super) fn current(&self) -> Option<AttemptId> {
        match &self.phase {
            Phase::Dialling(dial) => Some(dial.attempt),
            Phase::Live(live) => Some(live.attempt),
            Phase::Refused { probing, .. } => *probing,
            _ => None,
        }
    }

    /// The door for stale events: an older attempt may still speak, it has nothing to say to us.
    pub(super) fn is_current(&mut self, attempt: AttemptId) -> bool {
        let current = self.current() == Some(attempt);
        if !current {
            self.counters.stale_inputs += 1;
        }
        current
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.out.push_back(Output::Tell(notice));
    }

    pub(super) fn set_state(&mut self, state: ConnectionState) {
        if self.state != state {
            self.state = state;
            self.tell(Notice::State(state));
        }
    }

    pub(super) fn settle_waiters(&mut self, result: &Result<(), Failure>) {
        for waiter in std::mem::take(&mut self.waiters) {
            self.out.push_back(Output::Settle(waiter, result.clone()));
        }
    }

    pub(super) fn heartbeat_ms(&self) -> u64 {
        let own = self.config.heartbeat_interval_ms;
        self.server
            .heartbeat_ms
            .map_or(own, |theirs| own.min(theirs))
            .max(1_000)
    }

    pub(super) fn stale_after_ms(&self) -> u64 {
        self.config
            .stale_after_ms
            .unwrap_or(2 * self.heartbeat_ms())
    }

    fn abandoned(&mut self, waiter: WaiterId) {
        self.waiters.retain(|&w| w != waiter);
    }

    /// `disconnect()`: final until the next `connect`; one close frame, no timer left.
    fn rest(&mut self) {
        let before = self.outbox.len();
        self.hang_up(CloseCode::NORMAL, "Client disconnect");
        self.timers.clear_all();
        self.phase = Phase::Idle;
        self.backoff.reset();
        self.was_connected = false;
        self.tokens.expired = false;
        self.unopened = 0;
        self.outbox.rest(&mut self.out);
        self.filters.end(ErrorCode::Aborted, &mut self.out);
        if self.outbox.len() != before {
            self.tell(Notice::Outbox);
        }
        self.set_state(ConnectionState::Disconnected);
        self.settle_waiters(&Err(failure(
            ErrorCode::Aborted,
            "disconnect() was called before the connection was there",
        )));
    }

    fn dispose(&mut self) {
        self.hang_up(CloseCode::NORMAL, "Client disconnect");
        self.timers.clear_all();
        self.phase = Phase::Disposed;
        self.outbox.dispose(&mut self.out);
        self.filters.end(ErrorCode::Disposed, &mut self.out);
        self.set_state(ConnectionState::Disconnected);
        self.settle_waiters(&Err(failure(
            ErrorCode::Disposed,
            "the object was disposed before the connection was there",
        )));
    }

    /// Lets go of the attempt under way, with a close frame where it has a socket; tells `disconnected` of a live one.
    pub(super) fn hang_up(&mut self, code: CloseCode, reason: &'static str) {
        match &self.phase {
            Phase::Dialling(dial) if dial.stage.has_socket() => {
                self.out
                    .push_back(Output::Close(dial.attempt, code, reason))
            }
            Phase::Dialling(dial) => self.out.push_back(Output::Drop(dial.attempt)),
            Phase::Live(live) => {
                let attempt = live.attempt;
                self.out.push_back(Output::Close(attempt, code, reason));
                let closed = super::Closed {
                    code,
                    reason: reason.to_owned(),
                    was_clean: true,
                };
                let will_reconnect = match code {
                    CloseCode::NORMAL => false,
                    CloseCode::PAGE_HIDDEN => true,
                    _ => !self.attempts_used_up(),
                };
                self.connection_over();
                self.tell(Notice::Disconnected {
                    closed,
                    will_reconnect,
                });
            }
            Phase::Refused {
                probing: Some(attempt),
                ..
            } => self.out.push_back(Output::Drop(*attempt)),
            _ => {}
        }
    }

    /// What ends with every connection, whoever ended it.
    pub(super) fn connection_over(&mut self) {
        for timer in [
            Timer::Attempt,
            Timer::Greeting,
            Timer::Token,
            Timer::Heartbeat,
            Timer::Pong,
            Timer::Settled,
            Timer::Renew,
            Timer::Sync,
            Timer::SnapshotPart,
            Timer::Pace,
        ] {
            self.timers.clear(timer);
        }
        self.renewal = Renewal {
            last: self.renewal.last,
            ..Renewal::default()
        };
        if self.feed.is_syncing() {
            self.out.push_back(Output::DiscardSnapshot);
        }
        self.feed.disconnected();
        self.outbox.disconnected();
        self.filters.disconnected(&mut self.out);
    }

    fn page(&mut self, event: PageEvent, now: Time) {
        match event {
            PageEvent::Offline => self.offline = true,
            PageEvent::Hidden => {}
            PageEvent::Online => {
                self.offline = false;
                self.wake(now);
            }
            PageEvent::Visible | PageEvent::Resumed => self.wake(now),
            PageEvent::Suspended => self.suspend(),
            PageEvent::Shown => match self.phase {
                Phase::Suspended { not_before } if now < not_before => {
                    self.wait(not_before - now, not_before - now, now)
                }
                Phase::Suspended { .. } => self.dial(super::TokenReason::Connect, None, now),
                _ => self.wake(now),
            },
        }
    }

    /// Into the back/forward cache: sockets would keep the page out of it. Position, outbox and subscriptions stay.
    fn suspend(&mut self) {
        let not_before = match self.phase {
            Phase::Dialling(_) | Phase::Live(_) => Time::default(),
            Phase::Waiting { not_before } => not_before,
            _ => return,
        };
        self.hang_up(CloseCode::PAGE_HIDDEN, "page hidden");
        self.connection_over();
        self.timers.clear(Timer::Backoff);
        self.phase = Phase::Suspended { not_before };
        self.set_state(ConnectionState::Reconnecting);
    }
}

pub(super) fn failure(code: ErrorCode, message: &'static str) -> Failure {
    Failure {
        code,
        message,
        stage: None,
        close: None,
    }
}
