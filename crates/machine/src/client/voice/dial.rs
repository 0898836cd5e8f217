//! The stages of a connect, under one deadline: token, microphone, offer, exchange, answer, ice, channel, settings.

use super::call::{Phase, Voice};
use super::io::{
    CallId, EndReason, Event, Exchange, Failure, Notice, Output, Path, State, Timer, TokenResult,
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
    /// The offer has left.
    pub(super) exchanging: bool,
}

impl Dial {
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
        let wants_microphone = self.config.microphone && !self.mic.is_there() && !does_without;
        if !wants_microphone {
            dial.mark(Stage::Microphone);
        }
        self.phase = Phase::Dialling(dial);
        self.timers
            .set(Timer::Connect, now + self.config.connect_timeout_ms);
        self.set_state(if self.again {
            State::Reconnecting
        } else {
            State::Connecting
        });
        // Microphone, token and offer do not wait for each other. The microphone takes the longest.
        if wants_microphone && !self.mic.is_opening() {
            self.open_microphone(false);
        }
        self.out.push_back(Output::FetchToken {
            call,
            reason: TokenReason::Connect,
            number: self.calls,
        });
        self.out.push_back(Output::Open(call));
    }

    pub(super) fn token(&mut self, call: CallId, result: TokenResult, now: Time) {
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

    pub(super) fn offered(&mut self, call: CallId, made: bool, now: Time) {
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
    pub(super) fn done(&mut self, call: CallId, stage: Stage) {
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

    pub(super) fn exchanged(&mut self, call: CallId, exchange: Exchange, now: Time) {
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

    pub(super) fn accepted(&mut self, call: CallId, taken: bool, now: Time) {
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

    pub(super) fn path(&mut self, call: CallId, path: Path, now: Time) {
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

    pub(super) fn channel_opened(&mut self, call: CallId, max_message: usize, now: Time) {
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

    pub(super) fn channel_closed(&mut self, call: CallId, now: Time) {
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

    pub(super) fn event(&mut self, call: CallId, event: Event, now: Time) {
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

    pub(super) fn connected(&mut self, call: CallId, now: Time) {
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
}

/// What a connect was stuck in.
pub(super) fn late(stage: Stage) -> &'static str {
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
