//! Outputs, performed.

use super::browser::Meter;
use super::waits::Step;
use super::{Driver, Metering};
use crate::guard::{Resource, Timer};
use crate::ledger::Kind;
use js_sys::Array;
use tautline_machine::client::TokenReason;
use tautline_machine::client::voice::{
    Alarm, CallId, Input, Notice, Output, TranscriptLine, Transport,
};
use tautline_protocol::limits::CLIENT_LEVEL_MS;
use wasm_bindgen::prelude::*;

/// The transcript as the page has it: an unchanged item is the same object, and so is an unchanged list.
#[derive(Default)]
pub(super) struct Transcript {
    items: Vec<(String, JsValue)>,
    list: Option<Array>,
}

impl Driver {
    pub(super) fn perform(&self, output: Output) {
        match output {
            Output::FetchToken {
                call,
                reason,
                number,
            } => self.fetch_token(call, reason, number),
            Output::Open(call, over) => self.open(call, over),
            Output::Use(call) => self.use_line(call),
            Output::Exchange(call) => self.exchange(call),
            Output::Dial(call) => self.dial(call),
            Output::Accept(call) => self.accept(call),
            Output::Send(call, text) => self.write(call, &text),
            Output::Look(call) => self.input(Input::Writable(call, self.buffered(call))),
            Output::Hear(call, cushion) => self.hear(call, cushion),
            Output::Silence(call) => self.silence(call),
            Output::HangUp(call) => self.hang_up(call),
            Output::OpenMicrophone { id, any } => self.open_microphone(id, any),
            Output::ReleaseMicrophone => self.release_microphone(),
            Output::OpenGate(open) => self.gate(open),
            Output::Duck(quiet) => self.duck(quiet),
            Output::Meter(on) => self.meter(on),
            Output::Measure(call) => self.measure(call),
            Output::Settle(waiter, result) => self.settle(waiter, result),
            Output::Tell(notice) => self.say(notice),
            Output::Wait(_) => {}
        }
    }

    fn fetch_token(&self, call: CallId, reason: TokenReason, number: u32) {
        // A connect begins here: what went wrong before is not its cause.
        let earlier = self.cause.take();
        drop(earlier);
        let given = self.given.take().filter(|_| reason == TokenReason::Connect);
        let answer = match (given, &self.get_token) {
            (Some(token), _) => Ok(token.into()),
            (None, Some(get_token)) => {
                let request =
                    self.object("reason attempt", &[reason.as_str().into(), number.into()]);
                get_token.call1(&JsValue::UNDEFINED, &request)
            }
            // The one that was handed over for the call before.
            (None, None) => Ok(self
                .token
                .borrow()
                .as_deref()
                .map_or(JsValue::NULL, JsValue::from)),
        };
        self.wait(Step::Token(call), answer);
    }

    fn meter(&self, on: bool) {
        let before = self.meter.replace(on.then(Metering::default));
        drop(before);
        self.next_level();
    }

    /// An audio context takes milliseconds to make, which a connect does not wait for: it comes with the first level.
    fn level(&self) {
        let is_new = matches!(&*self.meter.borrow(), Some(metering) if metering.meter.is_none());
        if is_new {
            let made = self.rtc.meter().and_then(|meter| {
                let stop = meter.meter_stop()?;
                Ok(Resource::new(Kind::AudioContext, meter, &stop))
            });
            let mut metering = self.meter.borrow_mut();
            let unwanted = match metering.as_mut() {
                Some(metering) => std::mem::replace(&mut metering.meter, made.ok()),
                None => made.ok(),
            };
            drop(metering);
            drop(unwanted);
            self.measure_levels();
        }
        let levels = self
            .with_meter(|meter| meter.meter_read())
            .and_then(Result::ok);
        if let Some(levels) = levels {
            self.tell("level", &levels);
            self.next_level();
        }
    }

    fn with_meter<T>(&self, act: impl FnOnce(&Meter) -> T) -> Option<T> {
        let metering = self.meter.borrow();
        metering.as_ref()?.meter.as_deref().map(act)
    }

    /// What there is to be measured.
    pub(super) fn measure_levels(&self) {
        self.with_meter(|meter| {
            let _ = meter.meter_listen("input", &self.microphones.stream());
            let _ = meter.meter_listen("output", &self.remote());
        });
    }

    pub(super) fn resume_meter(&self) {
        self.with_meter(|meter| {
            let _ = meter.resume();
        });
    }

    fn next_level(&self) {
        let weak = self.me.clone();
        let timer = Timer::new("level", CLIENT_LEVEL_MS, move || {
            if let Some(driver) = weak.upgrade() {
                driver.level();
            }
        });
        let mut metering = self.meter.borrow_mut();
        let before = metering
            .as_mut()
            .and_then(|metering| metering.next.replace(timer.ok()?));
        drop(metering);
        drop(before);
    }

    fn say(&self, notice: Notice) {
        let number =
            |value: Option<u64>| value.map_or(JsValue::NULL, |value| JsValue::from(value as f64));
        match notice {
            Notice::State(state) => self.tell("connection.change", &state.as_str().into()),
            Notice::Connected => self.tell("connected", &JsValue::UNDEFINED),
            Notice::ChannelReady => self.tell("dataChannelReady", &JsValue::UNDEFINED),
            Notice::Fallback(failure) => self.tell_of(
                "fallback",
                "from to reason",
                &[
                    Transport::WebRtc.as_str().into(),
                    Transport::WebSocket.as_str().into(),
                    self.error(&failure),
                ],
            ),
            Notice::RolledOver => self.tell("rollover", &JsValue::UNDEFINED),
            Notice::Disconnected => self.tell("ice.disconnection", &JsValue::UNDEFINED),
            Notice::Ended { reason, delay_ms } => self.tell_of(
                "disconnection",
                "reason willReconnect delayMs",
                &[
                    reason.as_str().into(),
                    delay_ms.is_some().into(),
                    number(delay_ms),
                ],
            ),
            Notice::ReconnectNeeded(failure) => {
                self.tell("reconnect.needed", &self.error(&failure))
            }
            Notice::TimedOut(stage) => self.tell_of(
                "connection.timeout",
                "stage timeoutMs",
                &[stage.as_str().into(), (self.timeout_ms as f64).into()],
            ),
            Notice::Speaking { user, assistant } => {
                self.tell_of(
                    "speaking",
                    "user assistant",
                    &[user.into(), assistant.into()],
                );
            }
            Notice::Transcript(id) => self.line_changed(&id),
            Notice::Tool {
                call_id,
                name,
                arguments,
            } => self.tell_of(
                "tool.call",
                "callId name arguments",
                &[call_id.into(), name.into(), arguments.into()],
            ),
            Notice::Muted { muted, by_system } => {
                let by = if by_system { "system" } else { "page" };
                self.tell_of("microphone.muted", "muted by", &[muted.into(), by.into()]);
            }
            Notice::MicrophoneEnded { replaced } => {
                self.tell_of("microphone.ended", "replaced", &[replaced.into()]);
            }
            Notice::MicrophoneDenied(failure) => {
                let cause = self.cause.borrow().clone();
                self.tell("microphone.denied", &self.error(&failure));
                // The promise's own error has the same cause.
                self.cause.replace(cause);
            }
            Notice::Stats => self.tell("stats", &self.stats()),
            Notice::Alarm(alarm, active) => {
                self.tell_of(
                    "alarm",
                    "alarm active",
                    &[alarm.as_str().into(), active.into()],
                );
            }
            Notice::Error(failure) => self.tell("error", &self.error(&failure)),
        }
    }

    /// `VoiceStats`.
    pub(super) fn stats(&self) -> JsValue {
        let report = self.machine.borrow().report();
        let number = |value: Option<u64>| value.map_or(f64::NAN, |value| value as f64);
        let share = |value: Option<u64>| number(value) / 1_000.0;
        let alarms = report.alarms.iter().map(|&alarm: &Alarm| 1 << alarm as u32);
        let numbers = [
            number(report.score.map(u64::from)),
            number(report.rtt_ms),
            number(report.jitter_ms),
            share(report.loss),
            share(report.concealed),
            report.bitrate_in as f64,
            report.bitrate_out as f64,
            f64::from(report.path),
            number(report.first_audio_ms),
            f64::from(report.reconnects),
            f64::from(alarms.sum::<u32>()),
            report.underruns as f64,
            report.unsent as f64,
        ];
        self.rtc.report(&numbers).unwrap_or(JsValue::UNDEFINED)
    }

    fn line_changed(&self, id: &str) {
        let line = self.machine.borrow().line(id);
        let mut transcript = self.transcript.borrow_mut();
        transcript.list = None;
        transcript.items.retain(|(other, _)| other != id);
        drop(transcript);
        if let Some(line) = line {
            let item = self.item(&line);
            self.tell("transcript", &item);
        }
    }

    fn item(&self, line: &TranscriptLine) -> JsValue {
        let transcript = self.transcript.borrow();
        let known = transcript.items.iter().find(|(id, _)| *id == line.id);
        let known = known.map(|(_, item)| item.clone());
        drop(transcript);
        known.unwrap_or_else(|| {
            let item = self.object(
                "id role text state interrupted",
                &[
                    line.id.as_str().into(),
                    line.role.as_str().into(),
                    line.text.as_deref().into(),
                    line.state.as_str().into(),
                    line.interrupted.into(),
                ],
            );
            let mut transcript = self.transcript.borrow_mut();
            transcript.items.push((line.id.clone(), item.clone()));
            item
        })
    }

    /// `transcript()`.
    pub(super) fn transcript(&self) -> JsValue {
        let known = self.transcript.borrow().list.clone();
        let list = known.unwrap_or_else(|| {
            let lines = self.machine.borrow().transcript();
            let list: Array = lines.iter().map(|line| self.item(line)).collect();
            self.transcript.borrow_mut().list = Some(list.clone());
            list
        });
        list.into()
    }

    /// What was said in an earlier conversation is not this one's.
    pub(super) fn forget_transcript(&self) {
        let gone = self.transcript.take();
        drop(gone);
    }
}
