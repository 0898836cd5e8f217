//! How a call comes about, stage by stage under one deadline, and what takes its place when it is lost.

use super::conversation::{Conversation, Line as TranscriptLine};
use super::io::{
    Alarm, CallId, Config, EndReason, Event, Exchange, Failure, Input, MicId, Notice, Output, Path,
    State, Timer, TokenResult,
};
use super::line::Line;
use super::microphone::{MicState, Microphone, Trouble};
use super::quality::{Expected, Quality, Report, Sample};
use super::turns::Turns;
use crate::client::backoff::Backoff;
use crate::client::core::Ids;
use crate::client::{TokenReason, WaiterId};
use crate::{Rng, Time, Timers};
use std::collections::VecDeque;
use tautline_protocol::{ErrorCode, JsonWriter, Stage};

/// How long the settings may stay unconfirmed before the page is told.
const SETTINGS_MS: u64 = 5_000;
/// How long packets may stay away, once the browser has noticed, before another call takes this one's place.
const PATH_MS: u64 = 5_000;
/// The same from the last second in which a packet came: Chromium notices after five to seven.
const UNHEARD_MS: u64 = 6_000;
/// The first step of the backoff between new calls, and its cap.
const BACKOFF_MS: (u64, u64) = (200, 5_000);
/// A call that held for so long starts the backoff over.
const SETTLED_MS: u64 = 10_000;
const SECOND_MS: u64 = 1_000;

/// The stages of a connect, in the order in which they are named.
const STAGES: [Stage; 8] = [
    Stage::Token,
    Stage::Microphone,
    Stage::Offer,
    Stage::Exchange,
    Stage::Answer,
    Stage::Ice,
    Stage::Channel,
    Stage::Settings,
];

/// A call's decisions. Feed it with [`Voice::handle`], then drain [`Voice::poll_output`] until it says
/// [`Output::Wait`].
#[derive(Debug)]
pub struct Voice {
    config: Config,
    rng: Rng,
    pub(super) timers: Timers<Timer, 8>,
    pub(super) out: VecDeque<Output>,
    phase: Phase,
    state: State,
    last_call: u32,
    /// What is being made takes a lost call's place.
    again: bool,
    /// Calls begun since `connect()`.
    calls: u32,
    waiters: Vec<WaiterId>,
    mic_waiters: Vec<WaiterId>,
    backoff: Backoff,
    /// `getToken({reason: 'rejected'})` was tried.
    asked_again: bool,
    pub(super) ids: Ids,
    pub(super) conversation: Conversation,
    pub(super) line: Line,
    pub(super) turns: Turns,
    /// Who was last said to be heard: the user, the answer.
    pub(super) spoke: (bool, bool),
    mic: Microphone,
    muted: bool,
    gate_open: bool,
    quality: Quality,
    report: Report,
    reconnects: u32,
    /// What came over the path by the last sample, and when that last grew.
    heard: (u64, Time),
    /// The `event_id` of the `session.update` that is to be confirmed.
    pub(super) settings_sent: Option<String>,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Dialling(Dial),
    Live(CallId),
    /// For the backoff.
    Waiting,
    Failed,
    Disposed,
}

#[derive(Debug)]
struct Dial {
    call: CallId,
    done: [bool; STAGES.len()],
    /// The offer has left.
    exchanging: bool,
}

impl Dial {
    /// The first that is not done: what a connect that takes too long has stuck in.
    fn stage(&self) -> Stage {
        let open = STAGES.iter().zip(self.done).find(|(_, done)| !done);
        open.map_or(Stage::Settings, |(&stage, _)| stage)
    }

    fn mark(&mut self, stage: Stage) {
        for (slot, &name) in self.done.iter_mut().zip(&STAGES) {
            *slot |= name == stage;
        }
    }

    fn is_done(&self, stage: Stage) -> bool {
        STAGES
            .iter()
            .zip(self.done)
            .any(|(&name, done)| name == stage && done)
    }
}

impl Voice {
    /// No call. `seed` is all the chance it will ever have.
    pub fn new(config: Config, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            timers: Timers::new([
                Timer::Connect,
                Timer::Settings,
                Timer::Path,
                Timer::Backoff,
                Timer::Settled,
                Timer::Second,
                Timer::Tail,
                Timer::Create,
            ]),
            out: VecDeque::new(),
            phase: Phase::Idle,
            state: State::Disconnected,
            last_call: 0,
            again: false,
            calls: 0,
            waiters: Vec::new(),
            mic_waiters: Vec::new(),
            backoff: Backoff::new(BACKOFF_MS.0, BACKOFF_MS.1),
            asked_again: false,
            ids: Ids {
                instance: rng.name(),
                count: 0,
            },
            conversation: Conversation::default(),
            line: Line::default(),
            turns: Turns::default(),
            spoke: (false, false),
            mic: Microphone::default(),
            muted: config.muted,
            gate_open: false,
            quality: Quality::default(),
            report: Report::default(),
            reconnects: 0,
            heard: (0, Time::default()),
            settings_sent: None,
            config,
            rng,
        }
    }

    /// Takes one input and decides; the caller then drains [`Voice::poll_output`].
    pub fn handle(&mut self, input: Input, now: Time) {
        if matches!(self.phase, Phase::Disposed) {
            if let Input::Connect(waiter)
            | Input::Reconnect(waiter)
            | Input::WantMicrophone(waiter)
            | Input::ChangeMicrophone(waiter) = input
            {
                self.settle(waiter, Err(disposed()));
            }
            return;
        }
        match input {
            Input::Tick => {}
            Input::Connect(waiter) => self.wanted(waiter, now),
            Input::Reconnect(waiter) => self.reconnect(waiter, now),
            Input::Abandon(waiter) => self.abandoned(waiter),
            Input::Disconnect => {
                self.rest(&aborted());
                self.set_state(State::Disconnected);
            }
            Input::Dispose => {
                self.rest(&disposed());
                self.phase = Phase::Disposed;
                self.state = State::Disconnected;
            }
            Input::Token(call, result) => self.token(call, result, now),
            Input::Offered(call, made) => self.offered(call, made, now),
            Input::Exchanged(call, exchange) => self.exchanged(call, exchange, now),
            Input::Accepted(call, taken) => self.accepted(call, taken, now),
            Input::Path(call, path) => self.path(call, path, now),
            Input::ChannelOpened(call, most) => self.channel_opened(call, most, now),
            Input::ChannelClosed(call) => self.channel_closed(call, now),
            Input::Writable(call, bytes) => {
                if self.call() == Some(call) {
                    self.line.drained(bytes);
                }
            }
            Input::Event(call, event) => self.event(call, event, now),
            Input::Sample(call, sample) => self.sample(call, sample, now),
            Input::WantMicrophone(waiter) => self.want_microphone(waiter),
            Input::ChangeMicrophone(waiter) => {
                self.mic_waiters.push(waiter);
                self.open_microphone(false);
            }
            Input::Borrowed(lent) => self.borrowed(lent),
            Input::Microphone(id, result) => self.microphone(id, result, now),
            Input::MicrophoneEnded(id) => self.microphone_ended(id),
            Input::MicrophoneMuted(id, muted) => {
                if self.mic.held() == Some(id) {
                    self.tell(Notice::Muted {
                        muted,
                        by_system: true,
                    });
                }
            }
            Input::Devices(wanted) => self.devices(wanted),
            Input::Mute(muted) => {
                if std::mem::replace(&mut self.muted, muted) != muted {
                    self.gate();
                    self.tell(Notice::Muted {
                        muted,
                        by_system: false,
                    });
                }
            }
            Input::Talk(held) => self.talk(held, now),
            Input::Interrupt => self.interrupt(),
            Input::Settings(text) => self.config.settings = text,
        }
        // After every input, not only `Tick`: a hidden page's timers may come late.
        while let Some((_, timer)) = self.timers.take_due(now) {
            self.fire(timer, now);
        }
    }

    /// The next effect; [`Output::Wait`] ends every drain. After [`Output::Send`] the driver calls
    /// [`Voice::buffered`] before it asks for the next.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        if let Some(call) = self.call()
            && let Some(text) = self.line.next()
        {
            return Output::Send(call, text);
        }
        Output::Wait(self.timers.soonest())
    }

    /// What the data channel's buffer holds now.
    pub fn buffered(&mut self, bytes: usize) {
        self.line.buffered(bytes);
    }

    /// Takes an event of the page's, an object as JSON text without its `event_id`, which is answered. `turn`: a
    /// response of the conversation is asked for, which waits until no other is active.
    ///
    /// # Errors
    /// `connect_failed` where there is no call, `message_too_large`, `outbox_full`, `disposed`.
    pub fn send(
        &mut self,
        body: &str,
        id: Option<String>,
        turn: bool,
        now: Time,
    ) -> Result<String, Box<Failure>> {
        if matches!(self.phase, Phase::Disposed) {
            return Err(disposed());
        }
        let id = id.unwrap_or_else(|| self.ids.next());
        let mut text = JsonWriter::with_capacity(body.len() + id.len() + 16)
            .str("event_id", &id)
            .end();
        text.pop();
        let rest = body.get(1..).unwrap_or("}");
        if rest != "}" {
            text.push(',');
        }
        text.push_str(rest);
        self.line.admits(text.len())?;
        if turn {
            self.queue_create(id.clone(), text, now);
        } else {
            self.line.push(text);
        }
        Ok(id)
    }

    /// The call as the page sees it.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the page has muted the microphone.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// The last second's report.
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        report.first_audio_ms = self.turns.first_audio_ms;
        report.reconnects = self.reconnects;
        report
    }

    /// The transcript, in order.
    pub fn transcript(&self) -> Vec<TranscriptLine> {
        self.conversation.lines()
    }

    /// One line of it.
    pub fn line(&self, id: &str) -> Option<TranscriptLine> {
        self.conversation.line(id)
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.out.push_back(Output::Tell(notice));
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// Whether the sound of the microphone may leave: never before the settings are confirmed.
    pub(super) fn gate(&mut self) {
        let open = self.is_live() && (!self.muted || self.turns.is_held());
        if std::mem::replace(&mut self.gate_open, open) != open {
            self.out.push_back(Output::OpenGate(open));
        }
    }

    /// The server has not confirmed what we asked for.
    pub(super) fn unacknowledged(&mut self) {
        self.timers.clear(Timer::Settings);
        if matches!(self.phase, Phase::Dialling(_)) {
            self.set_state(State::Unacknowledged);
        }
    }

    /// The call there is.
    fn call(&self) -> Option<CallId> {
        match &self.phase {
            Phase::Dialling(dial) => Some(dial.call),
            Phase::Live(call) => Some(*call),
            _ => None,
        }
    }

    /// The connect under way, if that call is its.
    fn dial_of(&mut self, call: CallId) -> Option<&mut Dial> {
        match &mut self.phase {
            Phase::Dialling(dial) if dial.call == call => Some(dial),
            _ => None,
        }
    }

    /// Whether a call is there, being made, or waited for.
    fn is_wanted(&self) -> bool {
        matches!(
            self.phase,
            Phase::Dialling(_) | Phase::Live(_) | Phase::Waiting
        )
    }

    fn set_state(&mut self, state: State) {
        if std::mem::replace(&mut self.state, state) != state {
            self.tell(Notice::State(state));
        }
    }

    fn settle(&mut self, waiter: WaiterId, result: Result<(), Box<Failure>>) {
        self.out.push_back(Output::Settle(waiter, result));
    }

    fn wanted(&mut self, waiter: WaiterId, now: Time) {
        match self.phase {
            Phase::Live(_) => return self.settle(waiter, Ok(())),
            Phase::Idle | Phase::Failed => {
                self.conversation.clear();
                self.turns.first_audio_ms = None;
                self.again = false;
                self.start(now);
            }
            Phase::Dialling(_) | Phase::Waiting | Phase::Disposed => {}
        }
        self.waiters.push(waiter);
    }

    fn reconnect(&mut self, waiter: WaiterId, now: Time) {
        self.waiters.push(waiter);
        if matches!(self.phase, Phase::Dialling(_)) {
            return;
        }
        if self.is_live() {
            self.reconnects += 1;
        }
        self.end_call();
        self.again = true;
        self.start(now);
    }

    fn start(&mut self, now: Time) {
        self.backoff.reset();
        self.calls = 0;
        self.reconnects = if self.again { self.reconnects } else { 0 };
        self.dial(now);
    }

    fn dial(&mut self, now: Time) {
        self.last_call += 1;
        self.calls += 1;
        self.asked_again = false;
        let call = CallId(self.last_call);
        let mut dial = Dial {
            call,
            done: [false; STAGES.len()],
            exchanging: false,
        };
        // One that was lost in the middle of a call does not keep the next from being made.
        let does_without = self.again && self.mic.fallback;
        if !self.config.microphone || self.mic.is_there() || does_without {
            dial.mark(Stage::Microphone);
        } else if !self.mic.is_opening() {
            self.open_microphone(false);
        }
        self.phase = Phase::Dialling(dial);
        self.timers
            .set(Timer::Connect, now + self.config.connect_timeout_ms);
        self.set_state(if self.again {
            State::Reconnecting
        } else {
            State::Connecting
        });
        // Token, microphone and offer do not wait for each other.
        self.out.push_back(Output::FetchToken {
            call,
            reason: TokenReason::Connect,
            number: self.calls,
        });
        self.out.push_back(Output::Open(call));
    }

    fn token(&mut self, call: CallId, result: TokenResult, now: Time) {
        if self
            .dial_of(call)
            .is_none_or(|dial| dial.is_done(Stage::Token))
        {
            return;
        }
        let message = match result {
            TokenResult::Given => return self.done(call, Stage::Token),
            TokenResult::None => {
                "there is no token for a call: connect(token), or a `getToken` that gives one"
            }
            TokenResult::Failed => "`getToken` failed; what it threw is the cause",
        };
        self.fail(
            Failure::new(ErrorCode::ConnectFailed, message).at(Stage::Token),
            now,
        );
    }

    fn offered(&mut self, call: CallId, made: bool, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        if made {
            return self.done(call, Stage::Offer);
        }
        let failure = Failure::new(
            ErrorCode::ConnectFailed,
            "this browser made no offer: is WebRTC switched off?",
        );
        self.fail(failure.at(Stage::Offer), now);
    }

    /// A stage is done; the offer leaves when there are an offer, a token for it and a microphone behind it.
    fn done(&mut self, call: CallId, stage: Stage) {
        let Some(dial) = self.dial_of(call) else {
            return;
        };
        dial.mark(stage);
        let ready = [Stage::Token, Stage::Microphone, Stage::Offer];
        if !dial.exchanging && ready.iter().all(|&stage| dial.is_done(stage)) {
            dial.exchanging = true;
            self.out.push_back(Output::Exchange(call));
        }
    }

    fn exchanged(&mut self, call: CallId, exchange: Exchange, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        let failure = match exchange {
            Exchange::Answered => {
                self.done(call, Stage::Exchange);
                self.out.push_back(Output::Accept(call));
                return;
            }
            Exchange::Unreachable => {
                let mut failure = Failure::new(
                    ErrorCode::SdpExchangeFailed,
                    "the server could not be reached",
                );
                failure.retryable = true;
                failure
            }
            Exchange::Refused { status, .. }
                if status == 401 && self.config.has_token && !self.asked_again =>
            {
                // One more try with another token: this one may have run out on its way.
                self.asked_again = true;
                if let Some(dial) = self.dial_of(call) {
                    dial.exchanging = false;
                    dial.done[0] = false;
                }
                let number = self.calls;
                self.out.push_back(Output::FetchToken {
                    call,
                    reason: TokenReason::Rejected,
                    number,
                });
                return;
            }
            Exchange::Refused { status, code, said } => {
                let (kind, message) = match status {
                    401 => (ErrorCode::AuthFailed, "the server refused the token"),
                    403 => (
                        ErrorCode::AuthForbidden,
                        "the server does not allow this caller a call",
                    ),
                    _ => (ErrorCode::SdpExchangeFailed, "the server refused the call"),
                };
                let mut failure = Failure::new(kind, message);
                failure.status = Some(status);
                failure.server_code = code;
                failure.said = said;
                failure.retryable = matches!(status, 408 | 425 | 429 | 500..);
                failure
            }
        };
        self.fail(failure.at(Stage::Exchange), now);
    }

    fn accepted(&mut self, call: CallId, taken: bool, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        if taken {
            return self.done(call, Stage::Answer);
        }
        let failure = Failure::new(
            ErrorCode::SdpExchangeFailed,
            "what the server answered is no answer to the offer",
        );
        self.fail(failure.at(Stage::Answer), now);
    }

    fn path(&mut self, call: CallId, path: Path, now: Time) {
        if self.call() != Some(call) {
            return;
        }
        match path {
            Path::Connected => {
                self.timers.clear(Timer::Path);
                self.done(call, Stage::Ice);
            }
            Path::Disconnected if self.is_live() => {
                self.tell(Notice::Disconnected);
                let until = (self.heard.1 + UNHEARD_MS).min(now + PATH_MS);
                self.timers.set(Timer::Path, until);
            }
            Path::Disconnected => {}
            Path::Failed if self.is_live() => self.lost(EndReason::Network, now),
            Path::Failed => {
                let failure = Failure::new(
                    ErrorCode::IceFailed,
                    "no path for the call's packets: does a firewall keep them back?",
                );
                self.fail(failure.at(Stage::Ice), now);
            }
        }
    }

    fn channel_opened(&mut self, call: CallId, max_message: usize, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        self.done(call, Stage::Ice);
        self.done(call, Stage::Channel);
        self.line.opened(max_message);
        self.tell(Notice::ChannelReady);
        let settings = self.config.settings.clone();
        let id = self.say("session.update", |frame| frame.raw("session", &settings));
        self.settings_sent = Some(id);
        for item in self.conversation.seeds() {
            if self.line.admits(item.len() + 128).is_ok() {
                self.say("conversation.item.create", |frame| frame.raw("item", &item));
            }
        }
        self.timers.set(Timer::Settings, now + SETTINGS_MS);
    }

    fn channel_closed(&mut self, call: CallId, now: Time) {
        if self.call() != Some(call) {
            return;
        }
        if self.is_live() {
            return self.lost(EndReason::Server, now);
        }
        let mut failure = Failure::new(
            ErrorCode::ConnectFailed,
            "the server ended the call before it began",
        );
        failure.stage = self.dial_of(call).map(|dial| dial.stage());
        self.fail(failure, now);
    }

    fn event(&mut self, call: CallId, event: Event, now: Time) {
        if self.call() != Some(call) {
            return;
        }
        match event {
            Event::Updated { confirms: true } if self.settings_sent.is_some() => {
                self.connected(call, now)
            }
            Event::Updated { .. } => self.unacknowledged(),
            event => self.heard(event, now),
        }
    }

    fn connected(&mut self, call: CallId, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        self.phase = Phase::Live(call);
        self.settings_sent = None;
        self.timers.clear(Timer::Connect);
        self.timers.clear(Timer::Settings);
        self.timers.set(Timer::Settled, now + SETTLED_MS);
        self.timers.set(Timer::Second, now + SECOND_MS);
        self.quality = Quality::default();
        self.heard = (0, now);
        self.set_state(State::Connected);
        self.gate();
        self.out.push_back(Output::Meter(true));
        for waiter in std::mem::take(&mut self.waiters) {
            self.settle(waiter, Ok(()));
        }
        self.tell(Notice::Connected);
    }

    fn fire(&mut self, timer: Timer, now: Time) {
        match timer {
            Timer::Connect => {
                let Phase::Dialling(dial) = &self.phase else {
                    return;
                };
                let stage = dial.stage();
                self.tell(Notice::TimedOut(stage));
                self.fail(
                    Failure::new(ErrorCode::ConnectTimeout, late(stage)).at(stage),
                    now,
                );
            }
            Timer::Settings => self.unacknowledged(),
            Timer::Path => self.lost(EndReason::Network, now),
            Timer::Backoff => self.dial(now),
            Timer::Settled => self.backoff.reset(),
            Timer::Second => {
                if let Phase::Live(call) = self.phase {
                    self.out.push_back(Output::Measure(call));
                    self.timers.set(Timer::Second, now + SECOND_MS);
                }
            }
            Timer::Tail => self.commit(now),
            Timer::Create => self.create_due(now),
        }
    }

    /// A call could not be had.
    fn fail(&mut self, failure: Box<Failure>, now: Time) {
        self.end_call();
        if self.again
            && failure.retryable
            && self.backoff.failures() < self.config.max_reconnect_attempts
        {
            self.wait(EndReason::Failed, now);
        } else {
            self.give_up(failure);
        }
    }

    /// A call that was there is gone.
    fn lost(&mut self, reason: EndReason, now: Time) {
        self.end_call();
        self.again = true;
        self.reconnects += 1;
        if self.backoff.failures() < self.config.max_reconnect_attempts {
            return self.wait(reason, now);
        }
        self.tell(Notice::Ended {
            reason,
            delay_ms: None,
        });
        self.give_up(Failure::new(
            ErrorCode::ConnectFailed,
            "the call was lost, and may not be made again by itself",
        ));
    }

    fn wait(&mut self, reason: EndReason, now: Time) {
        let delay = self.backoff.next_ms(0, None, &mut self.rng);
        self.phase = Phase::Waiting;
        self.timers.set(Timer::Backoff, now + delay);
        self.set_state(State::Reconnecting);
        self.tell(Notice::Ended {
            reason,
            delay_ms: Some(delay),
        });
    }

    fn give_up(&mut self, failure: Box<Failure>) {
        self.phase = Phase::Failed;
        self.release_microphone(&failure);
        self.set_state(State::Error);
        if self.again {
            self.tell(Notice::ReconnectNeeded(failure.clone()));
        }
        let waiters = std::mem::take(&mut self.waiters);
        if waiters.is_empty() {
            self.tell(Notice::Error(failure.clone()));
        }
        for waiter in waiters {
            self.settle(waiter, Err(failure.clone()));
        }
    }

    /// Lets go of the call there is; whatever comes next is another.
    fn end_call(&mut self) {
        if let Some(call) = self.call() {
            self.out.push_back(Output::HangUp(call));
        }
        if self.is_live() {
            self.out.push_back(Output::Meter(false));
        }
        self.phase = Phase::Idle;
        self.line.close();
        self.settings_sent = None;
        self.timers.clear_all();
        self.end_turns();
        self.gate();
    }

    /// `disconnect()` and `dispose()`: nothing is left but what was said.
    fn rest(&mut self, failure: &Failure) {
        let was_wanted = self.is_wanted();
        self.end_call();
        self.again = false;
        self.release_microphone(failure);
        for waiter in std::mem::take(&mut self.waiters) {
            self.settle(waiter, Err(Box::new(failure.clone())));
        }
        if was_wanted {
            self.tell(Notice::Ended {
                reason: EndReason::Page,
                delay_ms: None,
            });
        }
    }

    fn abandoned(&mut self, waiter: WaiterId) {
        self.mic_waiters.retain(|&other| other != waiter);
        let before = self.waiters.len();
        self.waiters.retain(|&other| other != waiter);
        // A call that takes a lost one's place is wanted all the same.
        if before > 0
            && self.waiters.is_empty()
            && !self.again
            && matches!(self.phase, Phase::Dialling(_))
        {
            self.rest(&aborted());
            self.set_state(State::Disconnected);
        }
    }

    fn sample(&mut self, call: CallId, sample: Sample, now: Time) {
        if !matches!(self.phase, Phase::Live(live) if live == call) {
            return;
        }
        self.line.look(sample.buffered);
        if sample.heard != self.heard.0 {
            self.heard = (sample.heard, now);
        }
        let expected = Expected {
            mic_open: self.gate_open && self.mic.is_there(),
            playing: self.turns.is_playing(),
        };
        let report = self.quality.take(sample, expected);
        let before = std::mem::replace(&mut self.report, report);
        for alarm in Alarm::ALL {
            let active = self.report.alarms.contains(&alarm);
            if active != before.alarms.contains(&alarm) {
                self.tell(Notice::Alarm(alarm, active));
            }
        }
        self.tell(Notice::Stats);
    }

    fn open_microphone(&mut self, any: bool) {
        let id = self.mic.open(any);
        self.out.push_back(Output::OpenMicrophone { id, any });
    }

    fn release_microphone(&mut self, failure: &Failure) {
        if self.mic.is_there() || self.mic.is_opening() {
            self.out.push_back(Output::ReleaseMicrophone);
        }
        // A stream of the page's stays for the next call.
        if !self.mic.borrowed {
            self.mic.state = MicState::None;
        }
        self.mic.fallback = false;
        for waiter in std::mem::take(&mut self.mic_waiters) {
            self.settle(waiter, Err(Box::new(failure.clone())));
        }
    }

    fn want_microphone(&mut self, waiter: WaiterId) {
        if self.mic.is_there() {
            return self.settle(waiter, Ok(()));
        }
        self.mic_waiters.push(waiter);
        if !self.mic.is_opening() {
            self.open_microphone(false);
        }
    }

    fn borrowed(&mut self, lent: bool) {
        self.mic.borrowed = lent;
        self.mic.fallback = false;
        if lent {
            self.mic.state = MicState::Held(MicId(0));
            return self.microphone_there();
        }
        self.mic.state = MicState::None;
        if self.is_wanted() && self.config.microphone {
            self.open_microphone(false);
        }
    }

    fn microphone_there(&mut self) {
        for waiter in std::mem::take(&mut self.mic_waiters) {
            self.settle(waiter, Ok(()));
        }
        if let Phase::Dialling(dial) = &self.phase {
            let call = dial.call;
            self.done(call, Stage::Microphone);
        }
    }

    fn microphone(&mut self, asked: MicId, result: Result<(), Trouble>, now: Time) {
        let MicState::Opening { id, any, held } = self.mic.state else {
            return;
        };
        if id != asked {
            return;
        }
        let trouble = match result {
            Ok(()) => {
                self.mic.state = MicState::Held(id);
                self.mic.borrowed = false;
                self.mic.fallback = any;
                return self.microphone_there();
            }
            Err(trouble) => trouble,
        };
        self.mic.state = held.map_or(MicState::None, MicState::Held);
        let failure = trouble.failure();
        let waiters = std::mem::take(&mut self.mic_waiters);
        let somebody_waits = !waiters.is_empty();
        for waiter in waiters {
            self.settle(waiter, Err(failure.clone()));
        }
        if held.is_some() {
            // The one in use stays.
            return;
        }
        match &self.phase {
            Phase::Dialling(dial) if !dial.is_done(Stage::Microphone) => {
                self.tell(Notice::MicrophoneDenied(failure.clone()));
                self.fail(failure, now);
            }
            _ if !self.is_wanted() => {
                if somebody_waits {
                    self.tell(Notice::MicrophoneDenied(failure));
                }
            }
            _ if !any => self.open_microphone(true),
            _ => {
                // The call goes on without; the next device that comes is taken.
                self.mic.fallback = true;
                self.tell(Notice::MicrophoneEnded { replaced: false });
                let ended = Failure::new(
                    ErrorCode::MicrophoneEnded,
                    "the microphone is gone and there is no other; plug one in",
                );
                self.tell(Notice::Error(ended));
            }
        }
    }

    fn microphone_ended(&mut self, id: MicId) {
        if self.mic.held() != Some(id) {
            return;
        }
        if self.mic.borrowed {
            return self.tell(Notice::MicrophoneEnded { replaced: false });
        }
        if let MicState::Opening { held, .. } = &mut self.mic.state {
            // Another is asked for already.
            *held = None;
            return;
        }
        self.mic.state = MicState::None;
        if self.is_wanted() {
            self.tell(Notice::MicrophoneEnded { replaced: true });
            self.open_microphone(true);
        }
    }

    /// The wanted microphone is back, or, where there is none, some microphone may be.
    fn devices(&mut self, wanted: bool) {
        if !self.mic.fallback || self.mic.borrowed || self.mic.is_opening() || !self.is_wanted() {
            return;
        }
        if wanted {
            self.open_microphone(false);
        } else if !self.mic.is_there() {
            self.open_microphone(true);
        }
    }
}

fn aborted() -> Box<Failure> {
    Failure::new(ErrorCode::Aborted, "disconnect() was called")
}

fn disposed() -> Box<Failure> {
    Failure::new(
        ErrorCode::Disposed,
        "this object was disposed; make a new one",
    )
}

/// What a connect was stuck in.
fn late(stage: Stage) -> &'static str {
    match stage {
        Stage::Token => "not connected in time: `getToken` has not answered",
        Stage::Microphone => {
            "not connected in time: the browser's question for the microphone has not been answered"
        }
        Stage::Offer => "not connected in time: the browser has made no offer",
        Stage::Exchange => "not connected in time: the server has not answered the offer",
        Stage::Answer => "not connected in time: the browser has not taken the answer",
        Stage::Ice => {
            "not connected in time: no packet gets through; does a firewall keep them back?"
        }
        Stage::Channel => "not connected in time: the data channel has not opened",
        _ => "not connected in time: the server has not confirmed the session's settings",
    }
}

#[cfg(test)]
mod tests;
