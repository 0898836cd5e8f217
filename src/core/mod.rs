//! The driver of one client machine: its one door, its turn, its clock.
//!
//! An input goes in, the machine decides, the outputs are performed, and only then comes the next input. Nothing is
//! borrowed while the page's code runs, so a callback may call anything: what it calls appends to the inbox, which
//! the turn below it on the stack goes on with.

mod commands;
mod dial;
mod emit;
mod http;
mod orders;
mod perform;
mod receive;
mod stored;
mod waiters;

pub(crate) use commands::{Outcome, Sending};
pub(crate) use orders::Observer;
pub use receive::{receive_begin, receive_end, receive_event, receive_other, receive_rest};
pub(crate) use waiters::{Signal, Waiters};

use crate::frame::{EpochCache, Frame};
use crate::guard::{Settle, Timer, Wake};
use crate::host;
use crate::js::now_ms;
use crate::lifecycle;
use crate::options::ServiceOptions;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use tautline_machine::Time;
use tautline_machine::client::{
    AttemptId, Client, Closed, Failure, Input, Notice, Output, PageEvent,
};
use tautline_protocol::{Epoch, Outcome as Became};
use wasm_bindgen::prelude::*;

/// How long one turn delivers before the rest is left to a new task, ms.
const TURN_MS: u64 = 8;

/// One service, behind every handle the page has to it.
pub(crate) struct Core {
    me: Weak<Self>,
    number: receive::Number,
    receiver: OnceCell<Option<host::Receiver>>,
    options: ServiceOptions,
    machine: RefCell<Client>,
    /// What the page and the clock say; taken first.
    inbox: RefCell<VecDeque<Input>>,
    /// What sockets said, in their order.
    arrivals: RefCell<VecDeque<Arrival>>,
    turning: Cell<bool>,
    /// When the receiver's turn began.
    began: Cell<Time>,
    disposed: Cell<bool>,
    wake: Wake,
    rest: RefCell<Option<Timer>>,
    epochs: RefCell<EpochCache>,
    /// The epoch that the receiver knows.
    epoch_told: RefCell<Option<String>>,
    connection: RefCell<dial::Connection>,
    waiters: waiters::Waiters,
    commands: commands::Commands,
    orders: orders::OrderBook,
    requests: http::Requests,
    leases: waiters::LeaseBook,
}

/// Something a socket said.
struct Arrival {
    attempt: AttemptId,
    what: Said,
}

enum Said {
    Opened,
    /// A parsed value: a frame, or something in a frame's place.
    Frame(JsValue),
    /// Text that is no JSON, or no text at all.
    Garbage,
    Closed(Closed),
}

/// What the pool hears of a service that is a member of it, in the page's place.
pub(crate) enum Heard<'a> {
    Notice(Notice),
    /// Why it could not connect.
    Refused(Failure),
    /// A command is settled.
    Answered(&'a str),
    /// A command is taken back: its promise, and whether it had been written.
    Withdrawn(&'a str, Settle, Became),
}

/// The frame being handled, for the outputs it causes.
#[derive(Clone, Copy)]
struct Current<'a> {
    frame: &'a Frame,
    kind: &'a str,
}

impl Core {
    pub(crate) fn new(options: ServiceOptions) -> Rc<Self> {
        let seed =
            js_sys::Math::random().to_bits() ^ js_sys::Math::random().to_bits().rotate_left(32);
        let mut machine = Client::new(options.machine.clone(), seed, now());
        machine.record(false);
        let core = Rc::new_cyclic(|me| Self {
            me: me.clone(),
            number: receive::Number::new(me.clone()),
            receiver: OnceCell::new(),
            options,
            machine: RefCell::new(machine),
            inbox: RefCell::default(),
            arrivals: RefCell::default(),
            turning: Cell::new(false),
            began: Cell::new(Time::default()),
            disposed: Cell::new(false),
            wake: Wake::default(),
            rest: RefCell::new(None),
            epochs: RefCell::default(),
            epoch_told: RefCell::default(),
            connection: RefCell::default(),
            waiters: waiters::Waiters::default(),
            commands: commands::Commands::default(),
            orders: orders::OrderBook::default(),
            requests: http::Requests::default(),
            leases: waiters::LeaseBook::default(),
        });
        let weak = core.me.clone();
        lifecycle::join(weak);
        core
    }

    /// The only door.
    pub(crate) fn input(&self, input: Input) {
        self.inbox.borrow_mut().push_back(input);
        self.turn();
    }

    /// The only door for what sockets say.
    fn arrived(&self, attempt: AttemptId, what: Said) {
        self.arrivals
            .borrow_mut()
            .push_back(Arrival { attempt, what });
    }

    /// Takes everything that waits at the doors. Called from inside a turn it does nothing: the turn below on the
    /// stack takes it.
    fn turn(&self) {
        if !self.turning.get() {
            self.turn_since(now());
        }
    }

    fn turn_since(&self, began: Time) {
        if host::is_dead() || self.turning.replace(true) {
            return;
        }
        // The page may let go of its last handle in a callback; the turn is finished all the same.
        let _alive = self.me.upgrade();
        self.drain(None);
        loop {
            let input = self.inbox.borrow_mut().pop_front();
            if let Some(input) = input {
                self.handle(input, now());
                continue;
            }
            if self.arrivals.borrow().is_empty() {
                self.orders_changed();
                if self.inbox.borrow().is_empty() {
                    break;
                }
                continue;
            }
            // The clock is asked once an arrival: that is a tenth of what one costs.
            let at = now();
            if at - began >= TURN_MS {
                self.orders_changed();
                if self.inbox.borrow().is_empty() {
                    self.leave_rest();
                    break;
                }
                continue;
            }
            let arrival = self.arrivals.borrow_mut().pop_front();
            if let Some(arrival) = arrival {
                self.take(arrival, at);
            }
        }
        self.turning.set(false);
    }

    /// Leaves what has arrived to a new task, so that the page can paint.
    fn leave_rest(&self) {
        let weak = self.me.clone();
        let timer = Timer::new("turn", 0, move || {
            if let Some(core) = weak.upgrade() {
                let done = core.rest.take();
                core.turn();
                drop(done);
            }
        });
        self.rest.replace(timer.ok());
    }

    fn take(&self, Arrival { attempt, what }: Arrival, at: Time) {
        match what {
            Said::Opened => self.handle(Input::Opened(attempt), at),
            Said::Garbage => self.handle(Input::Malformed(attempt), at),
            Said::Closed(closed) => self.handle(Input::Closed(attempt, closed), at),
            Said::Frame(value) => {
                let Some((frame, kind)) = Frame::of(value) else {
                    return self.handle(Input::Malformed(attempt), at);
                };
                let head = crate::frame::head(
                    &frame,
                    &kind,
                    &mut self.epochs.borrow_mut(),
                    self.machine.borrow().epoch(),
                );
                let Some(head) = head else {
                    return self.handle(Input::Malformed(attempt), at);
                };
                self.machine
                    .borrow_mut()
                    .handle(Input::Frame(attempt, head), at);
                self.drain(Some(Current {
                    frame: &frame,
                    kind: &kind,
                }));
                self.tell_epoch();
            }
        }
    }

    /// The receiver compares each event's epoch with the one in force.
    fn tell_epoch(&self) {
        let machine = self.machine.borrow();
        let name = machine.epoch().map(Epoch::as_str);
        if self.epoch_told.borrow().as_deref() != name
            && let Some(receiver) = self.receiver()
        {
            receiver.set_epoch(&name.map_or(JsValue::UNDEFINED, JsValue::from));
            self.epoch_told.replace(name.map(String::from));
        }
    }

    fn handle(&self, input: Input, at: Time) {
        self.machine.borrow_mut().handle(input, at);
        self.drain(None);
    }

    fn drain(&self, current: Option<Current<'_>>) {
        loop {
            let output = self.machine.borrow_mut().poll_output();
            match output {
                Output::Wait(wait) => return self.arm(wait.map(|(at, _)| at)),
                effect => self.perform(effect, current),
            }
        }
    }

    /// Wakes the machine at that time. A timer that is set for earlier stays: it wakes, finds nothing due, and the
    /// drain after it arms the right one. So a deadline that moves with every frame costs nothing.
    fn arm(&self, at: Option<Time>) {
        let weak = self.me.clone();
        self.wake.set("wake", at, now(), move || {
            if let Some(core) = weak.upgrade() {
                let done = core.wake.take();
                core.input(Input::Tick);
                drop(done);
            }
        });
    }

    /// Ends everything, now: what is on the ledger for this service leaves it before this returns, even inside one of
    /// its own callbacks.
    pub(crate) fn dispose(&self) {
        if self.disposed.replace(true) {
            return;
        }
        lifecycle::leave(std::ptr::from_ref(self).cast());
        self.arrivals.borrow_mut().clear();
        self.inbox.borrow_mut().clear();
        // The machine is never borrowed while the page's code runs, so this may be inside a turn: what it has still
        // to say is said here.
        let turning = self.turning.replace(true);
        self.machine.borrow_mut().handle(Input::Dispose, now());
        self.drain(None);
        self.end_leases();
        self.end_requests(None);
        self.end_orders();
        let gone = (
            self.rest.take(),
            self.wake.take(),
            self.connection.take(),
            self.waiters.end(),
        );
        drop(gone);
        self.turning.set(turning);
    }

    fn to_pool(&self, heard: Heard<'_>) {
        if let Some(pool) = &self.options.pool {
            pool(self, heard);
        }
    }

    pub(crate) fn is_disposed(&self) -> bool {
        self.disposed.get()
    }

    /// `recording()`, as JSON.
    pub(crate) fn recording(&self) -> Option<String> {
        self.machine.borrow_mut().recording()
    }

    /// Looks at the machine; it is not borrowed afterwards.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Client) -> T) -> T {
        question(&self.machine.borrow())
    }
}

impl lifecycle::Alive for Core {
    fn page(&self, event: PageEvent) {
        self.input(Input::Page(event));
    }

    fn end(&self) {
        self.dispose();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // The last handle may go without `dispose`; the guards fall with their fields.
        lifecycle::leave(std::ptr::from_ref(self).cast());
    }
}

/// Now, on the machine's clock.
pub(crate) fn now() -> Time {
    Time::from_ms(now_ms())
}
