//! The stages of a connect, under one deadline: token, microphone, offer, exchange, answer, ice, channel, settings. Over a
//! socket there is nothing to exchange, and the socket is the channel. What a connect over WebRTC fails by may be had
//! over a socket all the same, within the same deadline.

use super::call::{Phase, Voice};
use super::io::{
    CallId, EndReason, Event, Exchange, Failure, Notice, Output, Path, State, Timer, TokenResult,
    Transport,
};
use super::quality::Quality;
use crate::Time;
use crate::client::TokenReason;
use tautline_protocol::{ErrorCode, Stage};

/// How long the settings may stay unconfirmed before the page is told.
pub(super) const SETTINGS_MS: u64 = 5_000;
/// How long packets may stay away, once the browser has noticed, before another call takes this one's place.
const PATH_MS: u64 = 5_000;
/// The same from the last second in which a packet came, noticed or not: Chromium notices after five to seven. A healthy
/// path has an answered ICE check every 2.5 s at the latest.
pub(super) const UNHEARD_MS: u64 = 5_000;
/// A call that held for so long starts the backoff over.
const SETTLED_MS: u64 = 10_000;
pub(super) const SECOND_MS: u64 = 1_000;
/// What part of a connect WebRTC has, counted from when token and microphone are there, before a socket is tried; and
/// when it was not to be had the last time. At most half of what is left.
const WEBRTC_SHARE: u64 = 3;
const WEBRTC_SHARE_AGAIN: u64 = 12;

/// The stages of a connect, in the order in which they are named.
pub(super) const STAGES: [Stage; 8] = [
    Stage::Token,
    Stage::Microphone,
    Stage::Offer,
    Stage::Exchange,
    Stage::Answer,
    Stage::Ice,
    Stage::Channel,
    Stage::Settings,
];

#[derive(Debug)]
pub(super) struct Dial {
    pub(super) call: CallId,
    pub(super) done: [bool; STAGES.len()],
    /// The offer has left, or the socket is being opened.
    exchanging: bool,
    /// `getToken({reason: 'rejected'})` was tried.
    asked_again: bool,
    /// The `event_id` of the `session.update` that is to be confirmed.
    pub(super) settings_sent: Option<String>,
}

impl Dial {
    fn new(call: CallId, over: Transport) -> Self {
        let mut dial = Self {
            call,
            done: [false; STAGES.len()],
            exchanging: false,
            asked_again: false,
            settings_sent: None,
        };
        if over == Transport::WebSocket {
            for stage in [Stage::Exchange, Stage::Answer, Stage::Ice] {
                dial.mark(stage);
            }
        }
        dial
    }

    /// The first that is not done: what a connect that takes too long has stuck in.
    pub(super) fn stage(&self) -> Stage {
        let open = STAGES.iter().zip(self.done).find(|(_, done)| !done);
        open.map_or(Stage::Settings, |(&stage, _)| stage)
    }

    pub(super) fn mark(&mut self, stage: Stage) {
        for (slot, &name) in self.done.iter_mut().zip(&STAGES) {
            *slot |= name == stage;
        }
    }

    pub(super) fn is_done(&self, stage: Stage) -> bool {
        STAGES
            .iter()
            .zip(self.done)
            .any(|(&name, done)| name == stage && done)
    }
}

impl Voice {
    pub(super) fn dial(&mut self, now: Time) {
        self.over = self.config.transport;
        self.begin(now + self.config.connect_timeout_ms);
    }

    /// A call, to be had by then.
    fn begin(&mut self, by: Time) {
        let mut dial = self.new_dial();
        // One that was lost in the middle of a call does not keep the next from being made.
        let does_without = self.again && self.mic.fallback;
        let wants_microphone = self.config.microphone && !self.mic.is_there() && !does_without;
        if !wants_microphone {
            dial.mark(Stage::Microphone);
        }
        let call = dial.call;
        self.phase = Phase::Dialling(dial);
        self.timers.set(Timer::Connect, by);
        self.set_state(if self.again {
            State::Reconnecting
        } else {
            State::Connecting
        });
        // Microphone, token and offer do not wait for each other. The microphone takes the longest.
        if wants_microphone && !self.mic.is_opening() {
            self.open_microphone(false);
        }
        self.open(call);
        self.out.push_back(Output::Use(call));
    }

    pub(super) fn new_dial(&mut self) -> Dial {
        self.last_call += 1;
        self.calls += 1;
        Dial::new(CallId(self.last_call), self.over)
    }

    pub(super) fn open(&mut self, call: CallId) {
        self.out.push_back(Output::FetchToken {
            call,
            reason: TokenReason::Connect,
            number: self.calls,
        });
        self.out.push_back(Output::Open(call, self.over));
    }

    /// That call could not be had; perhaps it can over a socket.
    pub(super) fn failed(&mut self, call: CallId, failure: Box<Failure>, now: Time) {
        if self.is_roll(call) {
            return self.roll_failed(now);
        }
        match self.timers.get(Timer::Connect) {
            Some(by) if self.falls_back(&failure) => {
                self.avoids_webrtc = true;
                self.end_call();
                self.tell(Notice::Fallback(failure));
                self.over = Transport::WebSocket;
                self.begin(by);
            }
            _ => self.fail(failure, now),
        }
    }

    /// Whether it was WebRTC that failed, and not the token, the microphone, or the server's will.
    fn falls_back(&self, failure: &Failure) -> bool {
        let by_webrtc = match failure.stage {
            Some(Stage::Offer | Stage::Answer | Stage::Ice | Stage::Channel) => true,
            // Nobody answers the offer, or there is no such endpoint.
            Some(Stage::Exchange) => {
                failure.code == ErrorCode::ConnectTimeout
                    || matches!(failure.status, Some(404 | 405 | 501))
            }
            _ => false,
        };
        by_webrtc && self.config.falls_back && self.over == Transport::WebRtc
    }

    /// WebRTC has had its time.
    pub(super) fn fallback_due(&mut self, now: Time) {
        let Phase::Dialling(dial) = &self.phase else {
            return;
        };
        let (call, stage) = (dial.call, dial.stage());
        let mut failure = Failure::new(ErrorCode::ConnectTimeout, late(stage, self.over)).at(stage);
        failure.timeout_ms = Some(self.webrtc_ms);
        self.failed(call, failure, now);
    }

    pub(super) fn token(&mut self, call: CallId, result: TokenResult, now: Time) {
        if self
            .dial_of(call)
            .is_none_or(|dial| dial.is_done(Stage::Token))
        {
            return;
        }
        let message = match result {
            TokenResult::Given => return self.stage_done(call, Stage::Token, now),
            TokenResult::None => {
                "there is no token for a call: connect(token), or a `getToken` that gives one"
            }
            TokenResult::Failed => "`getToken` failed; what it threw is the cause",
        };
        self.failed(
            call,
            Failure::new(ErrorCode::ConnectFailed, message).at(Stage::Token),
            now,
        );
    }

    pub(super) fn offered(&mut self, call: CallId, made: bool, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        if made {
            return self.stage_done(call, Stage::Offer, now);
        }
        let message = match self.over {
            Transport::WebRtc => "this browser made no offer: is WebRTC switched off?",
            Transport::WebSocket => {
                "what a call's sound needs could not be loaded: is worklet.js served beside the package? See `workletUrl`"
            }
        };
        let failure = Failure::new(ErrorCode::ConnectFailed, message);
        self.failed(call, failure.at(Stage::Offer), now);
    }

    pub(super) fn stage_done(&mut self, call: CallId, stage: Stage, now: Time) {
        if let Some(dial) = self.dial_of(call) {
            dial.mark(stage);
            self.done(call, now);
        }
    }

    /// The offer leaves, or the socket is opened, when there are an offer, a token for it and a microphone behind it.
    fn done(&mut self, call: CallId, now: Time) {
        let over = self.over;
        let Some(dial) = self.dial_of(call) else {
            return;
        };
        let is_ready = |dial: &Dial, stages: &[Stage]| stages.iter().all(|&of| dial.is_done(of));
        let is_let = is_ready(dial, &[Stage::Token, Stage::Microphone]);
        if is_let && is_ready(dial, &[Stage::Offer]) && !dial.exchanging {
            dial.exchanging = true;
            self.out.push_back(match over {
                Transport::WebRtc => Output::Exchange(call),
                Transport::WebSocket => Output::Dial(call),
            });
        }
        if is_let && !self.is_roll(call) {
            self.give_webrtc_its_time(now);
        }
    }

    fn give_webrtc_its_time(&mut self, now: Time) {
        let by = self.timers.get(Timer::Connect);
        let Some(by) = by.filter(|_| self.over == Transport::WebRtc && self.config.falls_back)
        else {
            return;
        };
        if self.timers.get(Timer::Fallback).is_some() || self.line.is_open() {
            return;
        }
        let share = if self.avoids_webrtc {
            WEBRTC_SHARE_AGAIN
        } else {
            WEBRTC_SHARE
        };
        self.webrtc_ms = (self.config.connect_timeout_ms / share).min((by - now) / 2);
        self.timers.set(Timer::Fallback, now + self.webrtc_ms);
    }

    pub(super) fn exchanged(&mut self, call: CallId, exchange: Exchange, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        let failure = match exchange {
            Exchange::Answered => {
                self.stage_done(call, Stage::Exchange, now);
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
                if status == 401
                    && self.config.has_token
                    && self.dial_of(call).is_some_and(|dial| !dial.asked_again) =>
            {
                // One more try with another token: this one may have run out on its way.
                if let Some(dial) = self.dial_of(call) {
                    dial.asked_again = true;
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
        self.failed(call, failure.at(Stage::Exchange), now);
    }

    pub(super) fn accepted(&mut self, call: CallId, taken: bool, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        if taken {
            return self.stage_done(call, Stage::Answer, now);
        }
        let failure = Failure::new(
            ErrorCode::SdpExchangeFailed,
            "what the server answered is no answer to the offer",
        );
        self.failed(call, failure.at(Stage::Answer), now);
    }

    pub(super) fn path(&mut self, call: CallId, path: Path, now: Time) {
        let is_live = matches!(self.phase, Phase::Live(live) if live == call);
        if !is_live && self.dial_of(call).is_none() && !self.is_roll(call) {
            return;
        }
        match path {
            Path::Connected => {
                if is_live {
                    self.timers.clear(Timer::Path);
                }
                self.stage_done(call, Stage::Ice, now);
            }
            Path::Disconnected if is_live => {
                self.tell(Notice::Disconnected);
                let until = (self.heard.1 + UNHEARD_MS).min(now + PATH_MS);
                self.timers.set(Timer::Path, until);
            }
            Path::Disconnected => {}
            Path::Failed if is_live => self.lost(EndReason::Network, now),
            Path::Failed => {
                let failure = Failure::new(
                    ErrorCode::IceFailed,
                    "no path for the call's packets: does a firewall keep them back?",
                );
                self.failed(call, failure.at(Stage::Ice), now);
            }
        }
    }

    pub(super) fn channel_opened(&mut self, call: CallId, max_message: usize, now: Time) {
        self.stage_done(call, Stage::Ice, now);
        self.stage_done(call, Stage::Channel, now);
        let (id, text) = self.settings_event();
        let Some(dial) = self.dial_of(call) else {
            return;
        };
        dial.settings_sent = Some(id);
        if let Some(line) = self.line_of(call) {
            line.opened(max_message);
            line.push(text);
        }
        if self.is_roll(call) {
            return;
        }
        self.timers.clear(Timer::Fallback);
        self.tell(Notice::ChannelReady);
        self.seed();
        self.timers.set(Timer::Settings, now + SETTINGS_MS);
    }

    /// Tells the server what was said before.
    pub(super) fn seed(&mut self) {
        for item in self.conversation.seeds() {
            if self.line.admits(item.len() + 128).is_ok() {
                self.say("conversation.item.create", |frame| frame.raw("item", &item));
            }
        }
    }

    pub(super) fn channel_closed(&mut self, call: CallId, now: Time) {
        if matches!(self.phase, Phase::Live(live) if live == call) {
            return self.lost(EndReason::Server, now);
        }
        if self.is_roll(call) {
            return self.roll_failed(now);
        }
        let over = self.over;
        let Some(stage) = self.dial_of(call).map(|dial| dial.stage()) else {
            return;
        };
        let message = match (over, stage) {
            // A browser does not say why.
            (Transport::WebSocket, Stage::Channel) => {
                "the socket did not open: the server refused the token or the call, or a proxy keeps sockets back"
            }
            _ => "the server ended the call before it began",
        };
        let mut failure = Failure::new(ErrorCode::ConnectFailed, message);
        failure.stage = Some(stage);
        self.failed(call, failure, now);
    }

    pub(super) fn event(&mut self, call: CallId, event: Event, now: Time) {
        if self.is_roll(call) {
            return self.roll_event(call, event, now);
        }
        if self.call() != Some(call) {
            return;
        }
        match event {
            Event::Updated {
                confirms,
                interrupts,
                left_ms,
            } => {
                self.interrupts = interrupts;
                let asked = self
                    .dial_of(call)
                    .is_some_and(|dial| dial.settings_sent.is_some());
                if confirms && asked {
                    self.connected(call, now);
                } else {
                    self.unacknowledged();
                }
                if let Some(left_ms) = left_ms.filter(|_| self.is_live()) {
                    self.plan_roll(left_ms, now);
                }
            }
            Event::Expiring { left_ms } => self.expiring(left_ms, now),
            event => self.heard(event, now),
        }
    }

    pub(super) fn connected(&mut self, call: CallId, now: Time) {
        if self.dial_of(call).is_none() {
            return;
        }
        self.phase = Phase::Live(call);
        if self.over == Transport::WebRtc {
            self.avoids_webrtc = false;
        }
        self.timers.clear(Timer::Connect);
        self.timers.clear(Timer::Fallback);
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
}

/// What a connect was stuck in.
pub(super) fn late(stage: Stage, over: Transport) -> &'static str {
    match stage {
        Stage::Token => "not connected in time: `getToken` has not answered",
        Stage::Microphone => {
            "not connected in time: the browser's question for the microphone has not been answered"
        }
        Stage::Offer if over == Transport::WebSocket => {
            "not connected in time: what the call's sound needs has not been loaded"
        }
        Stage::Offer => "not connected in time: the browser has made no offer",
        Stage::Exchange => "not connected in time: the server has not answered the offer",
        Stage::Answer => "not connected in time: the browser has not taken the answer",
        Stage::Ice => {
            "not connected in time: no packet gets through; does a firewall keep them back?"
        }
        Stage::Channel if over == Transport::WebSocket => {
            "not connected in time: the socket has not opened; does a proxy keep it back?"
        }
        Stage::Channel => "not connected in time: the data channel has not opened",
        _ => "not connected in time: the server has not confirmed the session's settings",
    }
}
