//! The driver of a pool's machine, over the drivers of its members: the same door and turn as a service's
//! (`core/mod.rs`). A member is a whole service without handles; what it would tell the page it tells the pool.

use crate::core::{Core, Heard, Signal, Waiters, now};
use crate::error::{Error, of_answer};
use crate::guard::{Listener, Settle, Wake};
use crate::host;
use crate::lifecycle;
use crate::options::ServiceOptions;
use js_sys::{Array, Function, Promise};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use tautline_machine::client::{
    Answer, Command, ConnectionState, Input, MemberId, Notice, PageEvent, Place, Pool as Machine,
    PoolConfig, PoolInput, PoolNotice, PoolOutput, Priority,
};
use tautline_protocol::{Dialect, ErrorCode, Outcome};
use wasm_bindgen::prelude::*;

/// A command of the page's without an answer.
struct Held {
    id: String,
    /// Unless a member has it.
    settle: Option<Settle>,
    signal: Option<Signal>,
    _abort: Option<Listener>,
}

/// One pool, and all of its connections.
pub(crate) struct Pool {
    me: Weak<Self>,
    emit: Function,
    machine: RefCell<Machine>,
    members: Vec<Rc<Core>>,
    inbox: RefCell<VecDeque<PoolInput>>,
    turning: Cell<bool>,
    disposed: Cell<bool>,
    wake: Wake,
    waiters: Waiters,
    held: RefCell<Vec<Held>>,
}

impl Pool {
    /// A pool at rest. `emit` is told its events, each member's own `emit` its messages.
    pub(crate) fn new(
        config: PoolConfig,
        members: Vec<ServiceOptions>,
        emit: Function,
    ) -> Rc<Self> {
        let seed = js_sys::Math::random().to_bits();
        Rc::new_cyclic(|me: &Weak<Self>| {
            // Before its members: what the page's life does to them is no failure.
            lifecycle::join(me.clone());
            let mut cores = Vec::new();
            for (n, mut options) in members.into_iter().enumerate() {
                let weak = me.clone();
                options.pool = Some(Box::new(move |core, heard| {
                    if let Some(pool) = weak.upgrade() {
                        pool.hear(MemberId(n as u32), core, heard);
                    }
                }));
                cores.push(Core::new(options));
            }
            Self {
                me: me.clone(),
                emit,
                members: cores,
                machine: RefCell::new(Machine::new(config, seed)),
                inbox: RefCell::default(),
                turning: Cell::new(false),
                disposed: Cell::new(false),
                wake: Wake::default(),
                waiters: Waiters::default(),
                held: RefCell::default(),
            }
        })
    }

    fn input(&self, input: PoolInput) {
        self.inbox.borrow_mut().push_back(input);
        self.turn();
    }

    fn turn(&self) {
        if host::is_dead() || self.turning.replace(true) {
            return;
        }
        let _alive = self.me.upgrade();
        self.drain();
        loop {
            let input = self.inbox.borrow_mut().pop_front();
            let Some(input) = input else { break };
            self.machine.borrow_mut().handle(input, now());
            self.drain();
        }
        self.turning.set(false);
    }

    fn drain(&self) {
        loop {
            let output = self.machine.borrow_mut().poll_output();
            match output {
                PoolOutput::Wait(at) => {
                    let weak = self.me.clone();
                    return self.wake.set("pool", at, now(), move || {
                        if let Some(pool) = weak.upgrade() {
                            let done = pool.wake.take();
                            pool.input(PoolInput::Tick);
                            drop(done);
                        }
                    });
                }
                effect => self.perform(effect),
            }
        }
    }

    fn member(&self, id: MemberId) -> Option<&Rc<Core>> {
        self.members.get(id.0 as usize)
    }

    fn perform(&self, output: PoolOutput) {
        match output {
            PoolOutput::Open(id, from) => {
                if let Some(core) = self.member(id) {
                    if let Some((epoch, seq)) = from {
                        core.input(Input::ResumeFrom(epoch, seq));
                    }
                    core.open_for_pool();
                }
            }
            PoolOutput::Close(id) => {
                if let Some(core) = self.member(id) {
                    core.disconnect();
                }
            }
            PoolOutput::Give(to, command) => self.give(to, command),
            PoolOutput::Withdraw(from, id) => {
                if let Some(core) = self.member(from) {
                    core.withdraw(&id);
                }
            }
            PoolOutput::Settled(id, answer) => self.settled(&id, &answer),
            PoolOutput::Settle(waiter, result) => {
                let result = result.map(|()| JsValue::UNDEFINED);
                let result = result.map_err(|failure| Error::failure(&failure).make());
                self.waiters.answer(waiter, result);
            }
            PoolOutput::Tell(notice) => self.tell(notice),
            PoolOutput::Wait(_) => {}
        }
    }

    /// Members by number, which the layer knows by address.
    fn tell(&self, notice: PoolNotice) {
        let pair = |one: f64, other: f64| Array::of2(&one.into(), &other.into()).into();
        let (event, value): (_, JsValue) = match notice {
            PoolNotice::State(state) => ("stateChange", state.as_str().into()),
            PoolNotice::Health(id) => ("health", id.0.into()),
            PoolNotice::Failover { from, to } => ("failover", pair(from.0.into(), to.0.into())),
            PoolNotice::Gap { from, to } => ("gap", pair(from as f64, to as f64)),
        };
        self.emit(event, &value);
    }

    fn emit(&self, event: &str, value: &JsValue) {
        let _ = self.emit.call2(&JsValue::UNDEFINED, &event.into(), value);
    }

    /// What a member tells.
    fn hear(&self, id: MemberId, core: &Core, heard: Heard<'_>) {
        let input = match heard {
            Heard::Notice(Notice::Connected) => PoolInput::Up(id, place(core)),
            // A connection lost is told by the state, attempts that fail one after the other are not.
            Heard::Notice(
                Notice::State(ConnectionState::Reconnecting)
                | Notice::Reconnecting { attempt: 2.., .. },
            ) => PoolInput::Down(id),
            Heard::Notice(Notice::State(ConnectionState::Error)) => PoolInput::GaveUp(id),
            Heard::Notice(Notice::Latency { rtt_ms }) => PoolInput::Pong(id, rtt_ms),
            Heard::Notice(Notice::Gap { to, .. }) => match place(core) {
                // Else what is missing comes yet.
                Some(place) if place.seq == to => PoolInput::Moved(id, place),
                _ => return,
            },
            Heard::Notice(Notice::Error(failure)) => {
                return self.emit("error", &core.failure(&failure));
            }
            Heard::Notice(_) => return,
            Heard::Refused(failure) => match failure.code {
                // By the pool itself.
                ErrorCode::Aborted | ErrorCode::Disposed => return,
                _ => PoolInput::Refused(id, failure),
            },
            Heard::Answered(command) => {
                drop(self.take(command));
                PoolInput::Answered(command.to_owned())
            }
            Heard::Withdrawn(command, settle, outcome) => {
                let mut held = self.held.borrow_mut();
                if let Some(held) = held.iter_mut().find(|held| held.id == command) {
                    held.settle = Some(settle);
                }
                drop(held);
                PoolInput::Withdrawn(command.to_owned(), outcome)
            }
        };
        self.input(input);
    }

    /// `connect()`.
    pub(crate) fn connect(&self, signal: Option<Signal>, timeout_ms: Option<u64>) -> Promise {
        let weak = self.me.clone();
        let gives_up = move |id, timeout_ms| {
            if let Some(pool) = weak.upgrade()
                && pool.waiters.give_up(id, timeout_ms)
            {
                pool.input(PoolInput::Abandon(id));
            }
        };
        let (promise, id) = self.waiters.call(signal, timeout_ms, Rc::new(gives_up));
        if let Some(id) = id {
            self.input(PoolInput::Connect(id));
        }
        promise
    }

    /// `disconnect()`.
    pub(crate) fn disconnect(&self) {
        self.input(PoolInput::Disconnect);
    }

    /// Takes a command; the promise of what becomes of it, whoever brings it there.
    pub(crate) fn send(
        &self,
        command: Command,
        priority: Priority,
        signal: Option<Signal>,
    ) -> Promise {
        if let Some(reason) = signal.as_ref().and_then(Signal::aborted) {
            return Promise::reject(&reason);
        }
        let sent = self.machine.borrow_mut().send(command, priority, now());
        let id = match sent {
            Ok(id) => id,
            Err(failure) => {
                let error = Error::failure(&failure).outcome(Outcome::NotSent);
                return Promise::reject(&error.make());
            }
        };
        let (promise, settle) = Settle::promise();
        let (weak, name) = (self.me.clone(), id.clone());
        let _abort = signal.as_ref().and_then(|signal| {
            signal.listen(move || {
                if let Some(pool) = weak.upgrade() {
                    pool.machine.borrow_mut().cancel(&name);
                    pool.turn();
                }
            })
        });
        self.held.borrow_mut().push(Held {
            id,
            settle: Some(settle),
            signal,
            _abort,
        });
        self.turn();
        promise
    }

    fn take(&self, id: &str) -> Option<Held> {
        let mut held = self.held.borrow_mut();
        let at = held.iter().position(|held| held.id == id)?;
        Some(held.swap_remove(at))
    }

    fn give(&self, to: MemberId, command: Command) {
        let id = command.id.clone().unwrap_or_default();
        let mut held = self.held.borrow_mut();
        let found = held.iter_mut().find(|held| held.id == id);
        let settle = found.and_then(|held| held.settle.take());
        drop(held);
        if let (Some(core), Some(settle)) = (self.member(to), settle)
            && !core.give(command, settle)
        {
            drop(self.take(&id));
            self.input(PoolInput::Answered(id));
        }
    }

    fn settled(&self, id: &str, answer: &Answer) {
        let Some(Held {
            settle: Some(settle),
            signal,
            _abort,
            ..
        }) = self.take(id)
        else {
            return;
        };
        drop(_abort);
        let reason = signal.as_ref().and_then(Signal::aborted);
        let error = reason.or_else(|| of_answer(answer, None, None, false));
        settle.settle(error.map_or(Ok(JsValue::UNDEFINED), Err));
    }

    /// `setFilter()`: whoever is connected answers, the others take it to their next connection.
    pub(crate) fn set_filter(&self, filter: Option<String>) -> Promise {
        let answers = Array::new();
        for core in &self.members {
            if core.ask(|machine| machine.state()) == ConnectionState::Connected {
                answers.push(&core.set_filter(filter.clone()));
            } else {
                core.input(Input::SetFilter(filter.clone()));
            }
        }
        Promise::all(&answers)
    }

    /// Whether what a member has brought is to be delivered.
    pub(crate) fn takes(&self, id: MemberId, seq: Option<u64>) -> bool {
        let Some(core) = self.member(id) else {
            return false;
        };
        let (dialect, history) = core.ask(|machine| (machine.dialect(), machine.history()));
        // A plain connection cannot say what it missed: its numbers are worth nothing.
        let seq = seq.filter(|_| dialect == Some(Dialect::V1));
        let known = self.machine.borrow().history(id);
        if let Some(seq) = seq
            && known.is_some_and(|known| known != history)
            && let Some(place) = place(core)
        {
            let before = Place {
                seq: seq.saturating_sub(1),
                ..place
            };
            let moved = PoolInput::Moved(id, before);
            self.machine.borrow_mut().handle(moved, now());
        }
        let takes = self.machine.borrow_mut().event(id, seq);
        self.turn();
        takes
    }

    /// Looks at the machine; it is not borrowed afterwards.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Machine) -> T) -> T {
        question(&self.machine.borrow())
    }

    /// Ends everything, now, as a service's does.
    pub(crate) fn dispose(&self) {
        if self.disposed.replace(true) {
            return;
        }
        lifecycle::leave(std::ptr::from_ref(self).cast());
        self.inbox.borrow_mut().clear();
        let turning = self.turning.replace(true);
        self.machine.borrow_mut().handle(PoolInput::Dispose, now());
        self.drain();
        for core in &self.members {
            core.dispose();
        }
        let gone = (self.wake.take(), self.held.take(), self.waiters.end());
        drop(gone);
        self.turning.set(turning);
    }
}

/// Where a member's events go on.
fn place(core: &Core) -> Option<Place> {
    core.ask(|machine| {
        Some(Place {
            history: machine.history(),
            epoch: machine.epoch()?.clone(),
            seq: machine.position()?,
        })
    })
}

impl lifecycle::Alive for Pool {
    /// The members hear of it themselves, after this.
    fn page(&self, event: PageEvent) {
        match event {
            PageEvent::Suspended => self.input(PoolInput::Suspended(true)),
            PageEvent::Shown => self.input(PoolInput::Suspended(false)),
            _ => {}
        }
    }

    fn end(&self) {
        self.dispose();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The last handle may go without `dispose`; the guards fall with their fields.
        lifecycle::leave(std::ptr::from_ref(self).cast());
    }
}
