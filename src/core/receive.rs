//! The module's side of `pkg/src/receiver.js`: numbers in, numbers out, so that an event crosses the border once.
//!
//! The receiver's turn is a turn like any other: what the page says meanwhile is taken before the next event, and the
//! outputs of an event are performed before anything else. Only the parsing and the calls of subscribers happen in
//! JavaScript.

use super::{Arrival, Core, Said, now};
use crate::host::{self, Receiver};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use tautline_machine::Time;
use tautline_machine::client::{AttemptId, EpochRef, Head, Input};
use wasm_bindgen::prelude::*;

// The words of `receiver.js`.
const DROP: u32 = 0;
const DELIVER: u32 = 1;
const DELIVER_FIRST: u32 = 2;
const LOOK: u32 = 3;

const FRAME: u32 = 0;
const QUEUED: u32 = 1;
const GARBAGE: u32 = 2;
const PLAIN: u32 = 3;

thread_local! {
    static CORES: RefCell<Vec<(u32, Weak<Core>)>> = const { RefCell::new(Vec::new()) };
    static LAST: Cell<u32> = const { Cell::new(0) };
}

/// A service's place among those that receivers speak of.
pub(super) struct Number(pub(super) u32);

impl Number {
    pub(super) fn new(core: Weak<Core>) -> Self {
        let number = LAST.get() + 1;
        LAST.set(number);
        CORES.with(|cores| cores.borrow_mut().push((number, core)));
        Self(number)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        CORES.with(|cores| cores.borrow_mut().retain(|(number, _)| *number != self.0));
    }
}

fn core(number: u32) -> Option<Rc<Core>> {
    if host::is_dead() {
        return None;
    }
    CORES.with(|cores| {
        let cores = cores.borrow();
        let (_, core) = cores.iter().find(|(known, _)| *known == number)?;
        core.upgrade()
    })
}

/// Begins a turn of the receiver's; 0 when one is under way or another has left something.
#[wasm_bindgen]
pub fn receive_begin(number: u32, now: f64) -> u32 {
    core(number).map_or(0, |core| u32::from(core.receive_begin(now as u64)))
}

/// An event of the history in force, or (`seq` below 0) without a number: what is to be done with it.
#[wasm_bindgen]
pub fn receive_event(number: u32, attempt: u32, seq: f64, caused: u32, now: f64) -> u32 {
    core(number).map_or(DROP, |core| {
        core.receive_event(AttemptId(attempt), seq, caused != 0, now as u64)
    })
}

/// The event is delivered: what else it causes is performed.
#[wasm_bindgen]
pub fn receive_rest(number: u32) {
    if let Some(core) = core(number) {
        core.drain(None);
    }
}

/// Whatever is no number: `what` says what to make of the receiver's `value`. 1 if it is the type of a plain event, where
/// that is asked.
#[wasm_bindgen]
pub fn receive_other(number: u32, attempt: u32, what: u32) -> u32 {
    core(number).map_or(0, |core| {
        u32::from(core.receive_other(AttemptId(attempt), what))
    })
}

/// Everything is said: ends the receiver's turn, if it is in one (`mine`), and takes what waits.
#[wasm_bindgen]
pub fn receive_end(number: u32, mine: u32) {
    if let Some(core) = core(number) {
        core.receive_end(mine != 0);
    }
}

impl Core {
    /// The receiver, if there is a host to make it.
    pub(super) fn receiver(&self) -> Option<&Receiver> {
        self.receiver
            .get_or_init(|| host::receiver(self.number.0, &self.options.emit))
            .as_ref()
    }

    fn receive_begin(&self, at: u64) -> bool {
        let free = self.inbox.borrow().is_empty() && self.arrivals.borrow().is_empty();
        if !free || self.turning.replace(true) {
            return false;
        }
        self.began.set(Time::from_ms(at));
        true
    }

    fn receive_event(&self, attempt: AttemptId, seq: f64, caused: bool, at: u64) -> u32 {
        self.take_inbox();
        let seq = match seq {
            seq if seq < 0.0 => None,
            seq if seq % 1.0 == 0.0 => Some(seq as u64),
            _ => return LOOK,
        };
        if caused && self.has_calls() {
            return LOOK;
        }
        let head = Head::Event {
            seq,
            epoch: EpochRef::Current,
            command_id: None,
        };
        let mut machine = self.machine.borrow_mut();
        machine.handle(Input::Frame(attempt, head), Time::from_ms(at));
        let delivers = machine.take_delivery();
        let more = machine.has_outputs();
        drop(machine);
        match (delivers, more) {
            (true, true) => DELIVER_FIRST,
            (true, false) => DELIVER,
            (false, more) => {
                if more {
                    self.drain(None);
                }
                DROP
            }
        }
    }

    /// What the page has said since the last event, and what the machine made of it.
    fn take_inbox(&self) {
        if self.machine.borrow().has_outputs() {
            self.drain(None);
        }
        loop {
            let input = self.inbox.borrow_mut().pop_front();
            match input {
                Some(input) => self.handle(input, now()),
                None => return,
            }
        }
    }

    fn receive_other(&self, attempt: AttemptId, what: u32) -> bool {
        let Some(receiver) = self.receiver() else {
            return false;
        };
        let value = receiver.value();
        receiver.set_value(&JsValue::UNDEFINED);
        match what {
            FRAME => {
                self.take_inbox();
                let what = Said::Frame(value);
                self.take(Arrival { attempt, what }, now());
            }
            QUEUED => self.arrived(attempt, Said::Frame(value)),
            GARBAGE => self.arrived(attempt, Said::Garbage),
            PLAIN => return value.as_string().is_some_and(|kind| self.is_plain(&kind)),
            _ => {}
        }
        false
    }

    /// The receiver is to ask anew which events are plain.
    pub(super) fn plain_changed(&self) {
        if let Some(receiver) = self.receiver() {
            receiver.forget();
        }
    }

    /// Whether it is an event that nothing but its subscribers is concerned with: not the wire's own, not the order set's.
    fn is_plain(&self, kind: &str) -> bool {
        !crate::frame::is_wires_own(kind) && !self.is_for_orders(kind)
    }

    fn receive_end(&self, mine: bool) {
        if mine {
            self.turning.set(false);
            self.turn_since(self.began.get());
        } else {
            self.turn();
        }
    }
}
