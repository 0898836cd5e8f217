//! A call's state and its one door; what ends it, and what takes its place when it is lost. `dial.rs` is how it comes
//! about.

use super::conversation::{Conversation, Line as TranscriptLine};
use super::dial::{Dial, SECOND_MS, UNHEARD_MS, late};
use super::io::{
    Alarm, CallId, Config, EndReason, Failure, Input, Notice, Output, State, Timer, Transport,
};
use super::line::Line;
use super::microphone::Microphone;
use super::playback::Playback;
use super::quality::{Expected, Quality, Report, Sample};
use super::roll::Roll;
use super::turns::Turns;
use crate::client::WaiterId;
use crate::client::backoff::Backoff;
use crate::client::core::Ids;
use crate::{Rng, Time, Timers};
use std::collections::VecDeque;
use tautline_protocol::limits::CLIENT_CHANNEL_LOW;
use tautline_protocol::{ErrorCode, JsonWriter};

/// The first step of the backoff between new calls, and its cap.
const BACKOFF_MS: (u64, u64) = (200, 5_000);
/// Between two looks at a full socket, which does not say when its buffer has run low.
const DRAIN_MS: u64 = 50;

/// A call's decisions. Feed it with [`Voice::handle`], then drain [`Voice::poll_output`] until it says
/// [`Output::Wait`].
#[derive(Debug)]
pub struct Voice {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) timers: Timers<Timer, 11>,
    /// When something last came in.
    pub(super) now: Time,
    pub(super) out: VecDeque<Output>,
    pub(super) phase: Phase,
    pub(super) state: State,
    pub(super) last_call: u32,
    /// What carries the call there is.
    pub(super) over: Transport,
    /// WebRTC was not to be had the last time.
    pub(super) avoids_webrtc: bool,
    /// The time that it had, or has.
    pub(super) webrtc_ms: u64,
    /// When the session runs out, where that is known; and the one that takes its place.
    pub(super) ends: Option<Time>,
    pub(super) roll: Roll,
    /// What is being made takes a lost call's place.
    pub(super) again: bool,
    /// Calls begun since `connect()`.
    pub(super) calls: u32,
    pub(super) waiters: Vec<WaiterId>,
    pub(super) mic_waiters: Vec<WaiterId>,
    pub(super) backoff: Backoff,
    pub(super) ids: Ids,
    pub(super) conversation: Conversation,
    pub(super) line: Line,
    pub(super) turns: Turns,
    /// What is heard of the answers on a socket.
    pub(super) playback: Playback,
    /// The server ends an answer when somebody speaks.
    pub(super) interrupts: bool,
    /// When the page last sent something.
    pub(super) said: Time,
    /// Who was last said to be heard: the user, the answer.
    pub(super) spoke: (bool, bool),
    pub(super) mic: Microphone,
    pub(super) muted: bool,
    pub(super) gate_open: bool,
    pub(super) quality: Quality,
    pub(super) report: Report,
    pub(super) reconnects: u32,
    /// What came over the path by the last sample, and when that last grew.
    pub(super) heard: (u64, Time),
    /// Pieces of sound that left over a socket.
    pub(super) spoken: u64,
}

#[derive(Debug)]
pub(super) enum Phase {
    Idle,
    Dialling(Dial),
    Live(CallId),
    /// For the backoff.
    Waiting,
    Failed,
    Disposed,
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
                Timer::Fallback,
                Timer::Drain,
                Timer::Roll,
            ]),
            now: Time::default(),
            out: VecDeque::new(),
            phase: Phase::Idle,
            state: State::Disconnected,
            last_call: 0,
            over: config.transport,
            avoids_webrtc: false,
            webrtc_ms: 0,
            ends: None,
            roll: Roll::default(),
            again: false,
            calls: 0,
            waiters: Vec::new(),
            mic_waiters: Vec::new(),
            backoff: Backoff::new(BACKOFF_MS.0, BACKOFF_MS.1),
            ids: Ids {
                instance: rng.name(),
                count: 0,
            },
            conversation: Conversation::default(),
            line: Line::default(),
            turns: Turns::default(),
            playback: Playback::default(),
            interrupts: true,
            said: Time::default(),
            spoke: (false, false),
            mic: Microphone::default(),
            muted: config.muted,
            gate_open: false,
            quality: Quality::default(),
            report: Report::default(),
            reconnects: 0,
            heard: (0, Time::default()),
            spoken: 0,
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
        self.now = now;
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
                let is_low = self.over == Transport::WebRtc || bytes <= CLIENT_CHANNEL_LOW;
                if let Some(line) = self.line_of(call).filter(|_| is_low) {
                    line.drained(bytes);
                }
            }
            Input::Spoken(call, sound) => self.spoken(call, &sound),
            Input::Played(call, report) => self.played(call, report, now),
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
            Input::Transport(transport) => self.config.transport = transport,
        }
        // After every input, not only `Tick`: a hidden page's timers may come late.
        while let Some((_, timer)) = self.timers.take_due(now) {
            self.fire(timer, now);
        }
        self.roll_on(now);
    }

    /// The next effect; [`Output::Wait`] ends every drain. After [`Output::Send`] the driver calls
    /// [`Voice::buffered`] before it asks for the next.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        for call in [self.call(), self.rolling()].into_iter().flatten() {
            let line = self.line_of(call);
            if let Some(text) = line.and_then(Line::next) {
                return Output::Send(call, text);
            }
        }
        let looks = self.over == Transport::WebSocket && self.line.is_full();
        if looks && self.timers.get(Timer::Drain).is_none() {
            self.timers.set(Timer::Drain, self.now + DRAIN_MS);
        }
        Output::Wait(self.timers.soonest())
    }

    /// What the buffer of that call's channel holds now.
    pub fn buffered(&mut self, call: CallId, bytes: usize) {
        if let Some(line) = self.line_of(call) {
            line.buffered(bytes);
        }
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
        (self.now, self.said) = (now, now);
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
        report.underruns = self.playback.underruns;
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
    pub(super) fn call(&self) -> Option<CallId> {
        match &self.phase {
            Phase::Dialling(dial) => Some(dial.call),
            Phase::Live(call) => Some(*call),
            _ => None,
        }
    }

    /// The connect under way, if that call is its.
    pub(super) fn dial_of(&mut self, call: CallId) -> Option<&mut Dial> {
        match (&mut self.phase, &mut self.roll) {
            (Phase::Dialling(dial), _) | (_, Roll::Dialling(dial, _)) if dial.call == call => {
                Some(dial)
            }
            _ => None,
        }
    }

    /// Whether a call is there, being made, or waited for.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(
            self.phase,
            Phase::Dialling(_) | Phase::Live(_) | Phase::Waiting
        )
    }

    pub(super) fn set_state(&mut self, state: State) {
        if std::mem::replace(&mut self.state, state) != state {
            self.tell(Notice::State(state));
        }
    }

    pub(super) fn settle(&mut self, waiter: WaiterId, result: Result<(), Box<Failure>>) {
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

    fn fire(&mut self, timer: Timer, now: Time) {
        match timer {
            Timer::Connect => {
                let Phase::Dialling(dial) = &self.phase else {
                    return;
                };
                let stage = dial.stage();
                self.tell(Notice::TimedOut(stage));
                let message = late(stage, self.over);
                let mut failure = Failure::new(ErrorCode::ConnectTimeout, message).at(stage);
                failure.timeout_ms = Some(self.config.connect_timeout_ms);
                self.fail(failure, now);
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
            Timer::Fallback => self.fallback_due(now),
            Timer::Drain => {
                if let Some(call) = self.call() {
                    self.out.push_back(Output::Look(call));
                }
            }
            Timer::Roll => self.roll_due(now),
        }
    }

    /// A call could not be had.
    pub(super) fn fail(&mut self, failure: Box<Failure>, now: Time) {
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
    pub(super) fn lost(&mut self, reason: EndReason, now: Time) {
        if matches!(self.roll, Roll::Ready { .. }) {
            // The next one is there already.
            return self.swap(now);
        }
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
    pub(super) fn end_call(&mut self) {
        self.drop_roll();
        if let Some(call) = self.call() {
            self.out.push_back(Output::HangUp(call));
        }
        if self.is_live() {
            self.out.push_back(Output::Meter(false));
        }
        self.phase = Phase::Idle;
        self.line.close();
        self.ends = None;
        self.playback = Playback::default();
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

    fn sample(&mut self, call: CallId, mut sample: Sample, now: Time) {
        if !matches!(self.phase, Phase::Live(live) if live == call) {
            return;
        }
        self.line.look(sample.buffered);
        let over_socket = self.over == Transport::WebSocket;
        if over_socket {
            (sample.received, sample.sent) = (self.playback.total, self.spoken);
            sample.starved_ms = self.playback.starved_ms;
        }
        // On a socket nothing may have to be said; what was written and does not leave is the sign.
        let idle = over_socket && sample.buffered == 0;
        if sample.heard != self.heard.0 || idle {
            self.heard = (sample.heard, now);
        } else if sample.heard > 0 && now - self.heard.1 >= UNHEARD_MS {
            // A browser that counts nothing says nothing by it.
            return self.lost(EndReason::Network, now);
        }
        let expected = Expected {
            mic_open: self.gate_open && self.mic.is_there(),
            playing: self.turns.is_playing(),
            sends: !over_socket || self.gate_open && self.mic.is_there(),
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

#[cfg(test)]
mod tests;
