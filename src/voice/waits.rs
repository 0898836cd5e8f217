//! What is waited for: the browser's promises, and the page's own promises that hang on them.

use super::heard::Heard;
use super::{Driver, thrown};
use crate::convert::text;
use crate::core::Signal;
use crate::error::Error;
use crate::guard::{Awaited, Listener, Settle};
use js_sys::{Array, Promise};
use std::cell::{Cell, RefCell};
use tautline_machine::client::WaiterId;
use tautline_machine::client::voice::{
    self, CallId, Exchange, Failure, Input, MicId, TokenResult, Trouble,
};
use tautline_protocol::ErrorCode;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// What a promise of the browser's, or of `getToken`, is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Token(CallId),
    Offer(CallId),
    /// What a socket's sound needs.
    Sound(CallId),
    Exchange(CallId),
    Accept(CallId),
    Stats(CallId),
    Microphone(MicId),
    Devices,
    Play,
    /// `resumeAudio()`.
    Resume(WaiterId),
}

impl Step {
    fn call(self) -> Option<CallId> {
        match self {
            Self::Token(call)
            | Self::Offer(call)
            | Self::Sound(call)
            | Self::Exchange(call)
            | Self::Accept(call)
            | Self::Stats(call) => Some(call),
            _ => None,
        }
    }
}

/// A call of the page's that is not answered yet.
struct Waiter {
    id: WaiterId,
    settle: Settle,
    /// It is answered with the microphone's stream.
    wants_stream: bool,
    _abort: Option<Listener>,
}

#[derive(Default)]
pub(super) struct Waits {
    steps: RefCell<Vec<(u32, Step, Awaited)>>,
    waiters: RefCell<Vec<Waiter>>,
    last: Cell<u32>,
}

impl Waits {
    /// Everything: what is not answered is rejected `disposed`.
    pub(super) fn take(&self) -> impl Sized {
        (self.steps.take(), self.waiters.take())
    }

    /// Nothing of that call is waited for any more.
    pub(super) fn end(&self, call: CallId) {
        let steps = self.steps.take();
        let (gone, kept): (Vec<_>, Vec<_>) = steps
            .into_iter()
            .partition(|(_, step, _)| step.call() == Some(call));
        self.steps.replace(kept);
        drop(gone);
    }

    /// Nor any microphone.
    pub(super) fn end_microphone(&self) {
        let is_mic = |step: &Step| matches!(step, Step::Microphone(_) | Step::Devices);
        let steps = self.steps.take();
        let (gone, kept): (Vec<_>, Vec<_>) =
            steps.into_iter().partition(|(_, step, _)| is_mic(step));
        self.steps.replace(kept);
        drop(gone);
    }

    fn waiter(&self, id: WaiterId) -> Option<Waiter> {
        let mut waiters = self.waiters.borrow_mut();
        let at = waiters.iter().position(|waiter| waiter.id == id)?;
        Some(waiters.swap_remove(at))
    }

    fn number(&self) -> u32 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }
}

impl Driver {
    /// A promise for the page, and the number that it is answered under; none where its signal was aborted already.
    pub(super) fn promise(
        &self,
        signal: Option<AbortSignal>,
        wants_stream: bool,
    ) -> (Promise, Option<WaiterId>) {
        let (promise, settle) = Settle::promise();
        let signal = signal.map(Signal::new);
        if let Some(reason) = signal.as_ref().and_then(Signal::aborted) {
            settle.settle(Err(reason));
            return (promise, None);
        }
        let id = WaiterId(self.waits.number());
        let weak = self.me.clone();
        let given = signal.clone();
        let _abort = signal.and_then(|signal| {
            signal.listen(move || {
                let Some(driver) = weak.upgrade() else { return };
                let waiter = driver.waits.waiter(id);
                if let (Some(waiter), Some(signal)) = (waiter, &given) {
                    driver.input(Input::Abandon(id));
                    waiter.settle.settle(Err(signal.reason()));
                }
            })
        });
        self.waits.waiters.borrow_mut().push(Waiter {
            id,
            settle,
            wants_stream,
            _abort,
        });
        (promise, Some(id))
    }

    /// A promise that the machine answers.
    pub(super) fn ask(
        &self,
        signal: Option<AbortSignal>,
        wants_stream: bool,
        input: fn(WaiterId) -> Input,
    ) -> Promise {
        let (promise, id) = self.promise(signal, wants_stream);
        if let Some(id) = id {
            self.input(input(id));
        }
        promise
    }

    pub(super) fn settle(&self, id: WaiterId, result: Result<(), Box<Failure>>) {
        let Some(Waiter {
            settle,
            wants_stream,
            _abort,
            ..
        }) = self.waits.waiter(id)
        else {
            return;
        };
        drop(_abort);
        settle.settle(match result {
            Ok(()) if wants_stream => Ok(self.microphones.stream()),
            Ok(()) => Ok(JsValue::UNDEFINED),
            Err(failure) => Err(self.error(&failure)),
        });
    }

    /// Waits for a promise.
    pub(super) fn wait(&self, step: Step, promise: Result<JsValue, JsValue>) {
        if self.disposed.get() {
            return;
        }
        let promise = match promise {
            Ok(promise) => promise,
            Err(error) => return self.settled(step, Err(error)),
        };
        let number = self.waits.number();
        let weak = self.me.clone();
        let awaited = Awaited::new("voice", &promise, move |settled| {
            let Some(driver) = weak.upgrade() else { return };
            let mut steps = driver.waits.steps.borrow_mut();
            let at = steps.iter().position(|(other, ..)| *other == number);
            let done = at.map(|at| steps.swap_remove(at));
            drop(steps);
            if done.is_some() {
                driver.settled(step, settled);
            }
            drop(done);
        });
        self.waits.steps.borrow_mut().push((number, step, awaited));
    }

    fn settled(&self, step: Step, settled: Result<JsValue, JsValue>) {
        if let Err(cause) = &settled {
            self.cause.replace(cause.clone());
        }
        let is_ok = settled.is_ok();
        match step {
            Step::Token(call) => {
                let token = self.token_of(settled);
                self.input(Input::Token(call, token));
            }
            Step::Offer(call) => {
                let offer = settled.ok().filter(JsValue::is_string);
                let made = offer.is_some();
                self.with_media(call, |media| media.offer = offer.unwrap_or_default());
                self.input(Input::Offered(call, made));
            }
            Step::Sound(call) => {
                let made = settled.and_then(|_| self.make_worklets(call));
                let is_made = made.is_ok();
                if let Err(cause) = made {
                    self.cause.replace(cause);
                }
                self.input(Input::Offered(call, is_made));
            }
            Step::Exchange(call) => {
                let exchange = self.exchange_of(call, settled);
                self.input(Input::Exchanged(call, exchange));
            }
            Step::Accept(call) => self.input(Input::Accepted(call, is_ok)),
            Step::Stats(call) => {
                if let Ok(list) = settled {
                    let buffered = self.buffered(call);
                    let sample = voice::sample(&Heard(list.unchecked_ref()), buffered);
                    self.input(Input::Sample(call, sample));
                }
            }
            Step::Microphone(id) => {
                let result = settled.map(drop).map_err(|error| {
                    let (name, message) = thrown(&error);
                    Trouble::of(&name, &message)
                });
                self.microphone_came(id, result.is_ok());
                self.input(Input::Microphone(id, result));
            }
            Step::Devices => {
                if let Ok(list) = settled {
                    let wanted = self.microphones.is_among(list.unchecked_ref());
                    self.input(Input::Devices(wanted));
                }
            }
            Step::Play => {
                if is_ok {
                    self.played();
                } else if settled.is_err_and(|error| thrown(&error).0 == "NotAllowedError") {
                    self.needs_gesture();
                }
            }
            Step::Resume(waiter) => {
                if is_ok {
                    self.played();
                }
                let waiter = self.waits.waiter(waiter);
                if let Some(waiter) = waiter {
                    waiter
                        .settle
                        .settle(settled.map(|_| JsValue::UNDEFINED).map_err(|cause| {
                            let message =
                                "the browser plays nothing yet; call resumeAudio() from a click";
                            Error::new(ErrorCode::NeedsGesture, message)
                                .cause(cause)
                                .make()
                        }));
                }
            }
        }
    }

    fn token_of(&self, settled: Result<JsValue, JsValue>) -> TokenResult {
        match settled {
            Ok(value) if value.is_null() || value.is_undefined() => TokenResult::None,
            Ok(value) => match text(&value).filter(|token| !token.is_empty()) {
                Some(token) => {
                    self.token.replace(Some(token));
                    TokenResult::Given
                }
                None => TokenResult::Failed,
            },
            Err(_) => TokenResult::Failed,
        }
    }

    fn exchange_of(&self, call: CallId, settled: Result<JsValue, JsValue>) -> Exchange {
        let Ok(list) = settled else {
            return Exchange::Unreachable;
        };
        let list: &Array = list.unchecked_ref();
        let status = list.get(0).as_f64().unwrap_or_default() as u16;
        let (first, second) = (list.get(1), list.get(2));
        if (200..300).contains(&status) {
            self.with_media(call, |media| {
                media.location = Some(first).filter(JsValue::is_string);
                media.answer = second;
            });
            return Exchange::Answered;
        }
        Exchange::Refused {
            status,
            code: text(&first),
            said: text(&second),
        }
    }
}
