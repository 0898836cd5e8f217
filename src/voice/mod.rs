//! The driver of one call machine: its one door, its turn, its clock. As `core` does it: an input goes in, the machine
//! decides, the outputs are performed with nothing borrowed, and only then comes the next input.

mod browser;
mod connection;
mod heard;
mod line;
mod media;
mod microphone;
mod perform;
mod rung;
mod waits;

pub use browser::Rtc;
pub use connection::VoiceConnection;

use self::heard::Heard;
use crate::core::now;
use crate::error::Error;
use crate::guard::{Listener, Resource, Timer, Wake};
use crate::{host, js, lifecycle};
use browser::Meter;
use js_sys::{Array, Function};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use tautline_machine::Time;
use tautline_machine::client::PageEvent;
use tautline_machine::client::voice::{self, CallId, Config, Failure, Input, Output, Voice};
use tautline_protocol::{ErrorCode, Stage};
use wasm_bindgen::prelude::*;

/// One connection, behind its handle and its browser objects' listeners.
pub(crate) struct Driver {
    me: Weak<Self>,
    rtc: Rtc,
    /// Tells the layer of an event; it does not throw.
    emit: Function,
    get_token: Option<Function>,
    timeout_ms: u64,
    machine: RefCell<Voice>,
    inbox: RefCell<VecDeque<Arrival>>,
    turning: Cell<bool>,
    disposed: Cell<bool>,
    wake: Wake,
    waits: waits::Waits,
    lines: RefCell<Vec<line::Line>>,
    /// The one that is spoken into and heard.
    using: Cell<Option<CallId>>,
    /// The event that the machine looks at, whose sound is to be played perhaps.
    sound: RefCell<JsValue>,
    microphones: microphone::Microphones,
    meter: RefCell<Option<Metering>>,
    /// What any click mends: the answer is not played yet.
    gesture: RefCell<Vec<Listener>>,
    /// Where the answer is played.
    output: RefCell<JsValue>,
    token: RefCell<Option<String>>,
    /// `connect(token)`: for the next call only.
    given: RefCell<Option<String>>,
    /// What was thrown last, at this stage.
    cause: RefCell<JsValue>,
    transcript: RefCell<perform::Transcript>,
}

/// Levels, measured while a call is there.
#[derive(Default)]
struct Metering {
    meter: Option<Resource<Meter>>,
    next: Option<Timer>,
}

enum Arrival {
    Input(Input),
    /// An event of the server's, parsed.
    Message(CallId, JsValue),
}

impl Driver {
    fn new(rtc: Rtc, emit: Function, get_token: Option<Function>, config: Config) -> Rc<Self> {
        let seed =
            js_sys::Math::random().to_bits() ^ js_sys::Math::random().to_bits().rotate_left(32);
        let driver = Rc::new_cyclic(|me| Self {
            me: me.clone(),
            rtc,
            emit,
            get_token,
            timeout_ms: config.connect_timeout_ms,
            machine: RefCell::new(Voice::new(config, seed)),
            inbox: RefCell::default(),
            turning: Cell::new(false),
            disposed: Cell::new(false),
            wake: Wake::default(),
            waits: waits::Waits::default(),
            lines: RefCell::default(),
            using: Cell::new(None),
            sound: RefCell::default(),
            microphones: microphone::Microphones::default(),
            meter: RefCell::new(None),
            gesture: RefCell::default(),
            output: RefCell::default(),
            token: RefCell::default(),
            given: RefCell::default(),
            cause: RefCell::default(),
            transcript: RefCell::default(),
        });
        let weak = driver.me.clone();
        lifecycle::join(weak);
        driver
    }

    /// The only door.
    fn input(&self, input: Input) {
        self.arrived(Arrival::Input(input));
    }

    fn arrived(&self, arrival: Arrival) {
        self.inbox.borrow_mut().push_back(arrival);
        self.turn();
    }

    /// Called from inside a turn it does nothing: the turn below on the stack goes on.
    fn turn(&self) {
        if host::is_dead() || self.turning.replace(true) {
            return;
        }
        // The page may let go of its handle in a callback; the turn is finished all the same.
        let _alive = self.me.upgrade();
        self.drain();
        loop {
            let arrival = self.inbox.borrow_mut().pop_front();
            let Some(arrival) = arrival else { break };
            let input = match arrival {
                Arrival::Input(input) => Some(input),
                Arrival::Message(call, value) => {
                    let input = self.message(call, &value);
                    let before = self.sound.replace(value);
                    drop(before);
                    input
                }
            };
            if let Some(input) = input {
                self.machine.borrow_mut().handle(input, now());
                self.drain();
            }
            let done = self.sound.take();
            drop(done);
        }
        self.turning.set(false);
    }

    fn drain(&self) {
        loop {
            let output = self.machine.borrow_mut().poll_output();
            match output {
                Output::Wait(wait) => return self.arm(wait.map(|(at, _)| at)),
                effect => self.perform(effect),
            }
        }
    }

    fn arm(&self, at: Option<Time>) {
        let weak = self.me.clone();
        self.wake.set("call", at, now(), move || {
            if let Some(driver) = weak.upgrade() {
                let done = driver.wake.take();
                driver.input(Input::Tick);
                drop(done);
            }
        });
    }

    /// The page hears of an event first, then the machine decides what it means.
    fn message(&self, call: CallId, value: &JsValue) -> Option<Input> {
        self.tell("dataChannelMessage", value);
        let list = self.rtc.read(value).ok().flatten()?;
        voice::event(&Heard(&list)).map(|event| Input::Event(call, event))
    }

    fn tell(&self, event: &str, value: &JsValue) {
        if !self.disposed.get() {
            let _ = self.emit.call2(&JsValue::UNDEFINED, &event.into(), value);
        }
    }

    /// Tells an event whose value is an object of these members.
    fn tell_of(&self, event: &str, keys: &str, values: &[JsValue]) {
        self.tell(event, &self.object(keys, values));
    }

    fn object(&self, keys: &str, values: &[JsValue]) -> JsValue {
        let list = Array::new();
        for value in values {
            list.push(value);
        }
        self.rtc.object(keys, &list).unwrap_or(JsValue::UNDEFINED)
    }

    fn error(&self, failure: &Failure) -> JsValue {
        let mut message = String::from(failure.message);
        if let Some(said) = &failure.said {
            message.push_str(": ");
            message.push_str(said);
        }
        let mut error = Error::new(failure.code, &message)
            .stage(failure.stage)
            .server(
                failure.status,
                failure.server_code.clone(),
                failure.retryable,
            );
        if failure.code == ErrorCode::ConnectTimeout {
            error = error.timeout_ms(failure.timeout_ms);
        } else if failure.status.is_none() && failure.stage.is_some_and(|stage| stage < Stage::Ice)
        {
            error = error.cause(self.cause.take());
        }
        error.make()
    }

    /// Ends everything, now, even inside one of its own callbacks.
    fn dispose(&self) {
        if self.disposed.replace(true) {
            return;
        }
        lifecycle::leave(std::ptr::from_ref(self).cast());
        self.inbox.borrow_mut().clear();
        let turning = self.turning.replace(true);
        self.machine.borrow_mut().handle(Input::Dispose, now());
        self.drain();
        drop(self.waits.take());
        self.turning.set(turning);
    }
}

impl lifecycle::Alive for Driver {
    fn page(&self, event: PageEvent) {
        // A page in the back/forward cache holds no call.
        if event == PageEvent::Suspended {
            self.input(Input::Disconnect);
        }
    }

    fn end(&self) {
        self.dispose();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The handle may go without `dispose`; the guards fall with their fields.
        lifecycle::leave(std::ptr::from_ref(self).cast());
    }
}

/// What an error of the browser's says of itself.
fn thrown(error: &JsValue) -> (String, String) {
    if !error.is_object() {
        return (String::new(), String::new());
    }
    let error: &browser::Thrown = error.unchecked_ref();
    let text = |value: Result<JsValue, JsValue>| {
        value
            .ok()
            .and_then(|value| value.as_string())
            .unwrap_or_default()
    };
    (text(error.name()), text(error.message()))
}

/// `JSON.parse` of what a channel brought, if it is an object.
fn parse(data: &JsValue) -> Option<JsValue> {
    let value = data
        .is_string()
        .then(|| js::json_parse(data).ok())
        .flatten()?;
    crate::convert::is_record(&value).then_some(value)
}
