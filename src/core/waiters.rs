//! Who waits for the connection: calls of `connect()`, and the holders of leases.

use super::{Core, Heard, now};
use crate::error::Error;
use crate::guard::{Listener, Settle, Timer};
use crate::js;
use crate::ledger::{Entry, Kind};
use js_sys::Promise;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tautline_machine::client::{
    Failure, Input, LeaseId, LeaseInput, LeaseOutput, Leases, WaiterId,
};
use tautline_protocol::ErrorCode;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// The pool's number among those who wait; no caller has it.
const POOL: WaiterId = WaiterId(0);

/// A caller's wish to be able to give up.
#[derive(Clone)]
pub(crate) struct Signal(AbortSignal);

impl Signal {
    pub(crate) fn new(signal: AbortSignal) -> Self {
        Self(signal)
    }

    /// What to reject with, if it was aborted already.
    pub(crate) fn aborted(&self) -> Option<JsValue> {
        self.0.aborted().then(|| self.reason())
    }

    /// The signal's own reason.
    pub(crate) fn reason(&self) -> JsValue {
        let reason = self.0.reason();
        if reason.is_undefined() {
            Error::new(ErrorCode::Aborted, "given up by the caller").make()
        } else {
            reason
        }
    }

    /// Calls `then` when it is aborted; ends with the guard.
    pub(crate) fn listen(&self, then: impl Fn() + 'static) -> Option<Listener> {
        Listener::new(&self.0, "abort", move |_| then()).ok()
    }
}

/// What ends a wait before its time; let go of when the wait is settled.
#[derive(Default)]
struct Limits {
    signal: Option<Signal>,
    _abort: Option<Listener>,
    _timer: Option<Timer>,
}

enum Who {
    Caller(Settle, Limits),
    /// The leases of this service, all together.
    Leases,
}

/// Waiters by number.
#[derive(Default)]
pub(crate) struct Waiters {
    list: RefCell<Vec<(WaiterId, Who)>>,
    last: Cell<u32>,
    /// `connect()` was called and not taken back: then the last lease's end is not the connection's.
    wanted: Cell<bool>,
}

impl Waiters {
    fn add(&self, who: Who) -> WaiterId {
        self.last.set(self.last.get() + 1);
        let id = WaiterId(self.last.get());
        self.list.borrow_mut().push((id, who));
        id
    }

    fn take(&self, id: WaiterId) -> Option<Who> {
        let mut list = self.list.borrow_mut();
        let at = list.iter().position(|(waiter, _)| *waiter == id)?;
        Some(list.swap_remove(at).1)
    }

    /// A caller's promise and its number; `gives_up` is told when its signal, or its time, ends the wait. Without a number
    /// the signal was aborted already.
    pub(crate) fn call(
        &self,
        signal: Option<Signal>,
        timeout_ms: Option<u64>,
        gives_up: Rc<dyn Fn(WaiterId, Option<u64>)>,
    ) -> (Promise, Option<WaiterId>) {
        let (promise, settle) = Settle::promise();
        if let Some(reason) = signal.as_ref().and_then(Signal::aborted) {
            settle.settle(Err(reason));
            return (promise, None);
        }
        let id = self.add(Who::Caller(settle, Limits::default()));
        let aborted = Rc::clone(&gives_up);
        let abort = signal
            .as_ref()
            .and_then(|signal| signal.listen(move || aborted(id, None)));
        let timer = timeout_ms
            .and_then(|ms| Timer::new("connect", ms, move || gives_up(id, Some(ms))).ok());
        self.limit(
            id,
            Limits {
                signal,
                _abort: abort,
                _timer: timer,
            },
        );
        (promise, Some(id))
    }

    /// A caller gave up: by its signal, or because its time is over. `false` if it was answered already.
    pub(crate) fn give_up(&self, id: WaiterId, timeout_ms: Option<u64>) -> bool {
        let Some(Who::Caller(settle, limits)) = self.take(id) else {
            return false;
        };
        let error = match (timeout_ms, &limits.signal) {
            (None, Some(signal)) => signal.reason(),
            _ => Error::new(
                ErrorCode::ConnectTimeout,
                "not connected within timeoutMs; it goes on trying",
            )
            .timeout_ms(timeout_ms)
            .make(),
        };
        drop(limits);
        settle.settle(Err(error));
        true
    }

    /// Everybody: what a call that was made in a callback waits for may never have come to the machine.
    pub(crate) fn end(&self) -> impl Sized + use<> {
        self.list.take()
    }

    /// A caller's answer.
    pub(crate) fn answer(&self, id: WaiterId, result: Result<JsValue, JsValue>) {
        if let Some(Who::Caller(settle, limits)) = self.take(id) {
            drop(limits);
            settle.settle(result);
        }
    }

    fn limit(&self, id: WaiterId, limits: Limits) {
        let mut list = self.list.borrow_mut();
        let found = list.iter_mut().find(|(waiter, _)| *waiter == id);
        if let Some((_, Who::Caller(_, slot))) = found {
            *slot = limits;
        }
    }

    /// The leases' wait.
    fn leases(&self) -> Option<WaiterId> {
        self.list
            .borrow()
            .iter()
            .find(|(_, who)| matches!(who, Who::Leases))
            .map(|(id, _)| *id)
    }
}

impl Core {
    /// `connect()`: each call has its own promise on the one attempt.
    pub(crate) fn connect(&self, signal: Option<Signal>, timeout_ms: Option<u64>) -> Promise {
        let weak = self.me.clone();
        let gives_up = move |id, timeout_ms| {
            if let Some(core) = weak.upgrade()
                && core.waiters.give_up(id, timeout_ms)
            {
                core.input(Input::Abandon(id));
            }
        };
        let (promise, id) = self.waiters.call(signal, timeout_ms, Rc::new(gives_up));
        if let Some(id) = id {
            self.waiters.wanted.set(true);
            self.input(Input::Connect(id));
        }
        promise
    }

    /// `connect()` of the pool that this is a member of, which hears of its end.
    pub(crate) fn open_for_pool(&self) {
        self.waiters.wanted.set(true);
        self.input(Input::Connect(POOL));
    }

    /// `disconnect()`.
    pub(crate) fn disconnect(&self) {
        self.waiters.wanted.set(false);
        self.input(Input::Disconnect);
    }

    pub(super) fn settle(&self, id: WaiterId, result: Result<(), Failure>) {
        match self.waiters.take(id) {
            None => {
                if let (POOL, Err(failure)) = (id, result) {
                    self.to_pool(Heard::Refused(failure));
                }
            }
            Some(Who::Caller(settle, limits)) => {
                drop(limits);
                if result.is_err() {
                    self.waiters.wanted.set(false);
                }
                let result = result.map(|()| JsValue::UNDEFINED);
                settle.settle(result.map_err(|failure| self.failure(&failure)));
            }
            Some(Who::Leases) => {
                let input = match result {
                    Ok(()) => LeaseInput::Connected,
                    Err(failure) => {
                        let error = self.failure(&failure);
                        self.leases.refusal.replace(error);
                        LeaseInput::Failed
                    }
                };
                self.lease(input);
            }
        }
    }
}

/// The holders of this service's connection, however many managers share it.
#[derive(Default)]
pub(super) struct LeaseBook {
    machine: RefCell<Leases>,
    holders: RefCell<Vec<Holder>>,
    linger: RefCell<Option<Timer>>,
    /// Why the connection could not be had, for those who are told next.
    refusal: RefCell<JsValue>,
}

struct Holder {
    id: LeaseId,
    /// Until it is granted.
    wait: Option<(Settle, Option<Signal>, Option<Listener>)>,
    _entry: Entry,
}

impl LeaseBook {
    fn take(&self, id: LeaseId) -> Option<Holder> {
        let mut holders = self.holders.borrow_mut();
        let at = holders.iter().position(|holder| holder.id == id)?;
        Some(holders.swap_remove(at))
    }
}

impl Core {
    /// A place among the holders; the promise resolves with its number once connected.
    pub(crate) fn acquire(&self, signal: Option<Signal>) -> (LeaseId, Promise) {
        let (promise, settle) = Settle::promise();
        let id = self.leases.machine.borrow_mut().next_id();
        let refused = match signal.as_ref().and_then(Signal::aborted) {
            Some(reason) => Some(reason),
            None if self.is_disposed() => Some(Error::disposed().make()),
            None => None,
        };
        if let Some(error) = refused {
            settle.settle(Err(error));
            return (id, promise);
        }
        let weak = self.me.clone();
        let abort = signal.as_ref().and_then(|signal| {
            signal.listen(move || {
                if let Some(core) = weak.upgrade() {
                    core.abort_lease(id);
                }
            })
        });
        // Let go of without wasm it does nothing: its socket has a place of its own on the ledger.
        let _entry = Entry::new(Kind::Lease, "lease", &js::nothing());
        self.leases.holders.borrow_mut().push(Holder {
            id,
            wait: Some((settle, signal, abort)),
            _entry,
        });
        self.lease(LeaseInput::Acquire(id));
        (id, promise)
    }

    fn abort_lease(&self, id: LeaseId) {
        let Some(Holder {
            wait: Some((settle, Some(signal), abort)),
            _entry,
            ..
        }) = self.leases.take(id)
        else {
            return;
        };
        drop((abort, _entry));
        settle.settle(Err(signal.reason()));
        self.lease(LeaseInput::Abort(id));
    }

    /// Lets go of a place; of an unknown or earlier one nothing.
    pub(crate) fn release(&self, id: LeaseId, linger_ms: u64) {
        match self.leases.take(id) {
            Some(Holder {
                wait: Some((settle, ..)),
                ..
            }) => {
                settle.settle(Err(Error::new(
                    ErrorCode::Aborted,
                    "released before it was granted",
                )
                .make()));
                self.lease(LeaseInput::Abort(id));
            }
            Some(_) => self.lease(LeaseInput::Release(id, linger_ms)),
            None => {}
        }
    }

    /// The holder's manager is disposed: its wait is rejected so, its share let go of without a linger.
    pub(crate) fn end_lease(&self, id: LeaseId) {
        match self.leases.take(id) {
            Some(Holder {
                wait: Some((settle, ..)),
                ..
            }) => {
                settle.settle(Err(Error::disposed().make()));
                self.lease(LeaseInput::Abort(id));
            }
            Some(_) => self.lease(LeaseInput::Release(id, 0)),
            None => {}
        }
    }

    /// Ends this generation of holders, and the connection whoever wanted it.
    pub(crate) fn force_disconnect(&self) {
        self.waiters.wanted.set(false);
        self.lease(LeaseInput::Force);
        let gone = self.leases.holders.take();
        drop(gone);
    }

    /// Whether that place is still held or waited for.
    pub(crate) fn holds(&self, id: LeaseId) -> bool {
        self.leases
            .holders
            .borrow()
            .iter()
            .any(|holder| holder.id == id)
    }

    /// How many hold or wait.
    pub(crate) fn holders(&self) -> usize {
        self.leases.machine.borrow().count()
    }

    fn lease(&self, input: LeaseInput) {
        self.leases.machine.borrow_mut().handle(input, now());
        loop {
            let output = self.leases.machine.borrow_mut().poll_output();
            match output {
                LeaseOutput::Connect => {
                    let waiter = self.waiters.add(Who::Leases);
                    self.input(Input::Connect(waiter));
                }
                LeaseOutput::Disconnect => self.nobody_holds(),
                LeaseOutput::Grant(id) => self.granted(id),
                LeaseOutput::Refuse(id) => {
                    let error = self.leases.refusal.borrow().clone();
                    self.refuse_lease(id, error);
                }
                LeaseOutput::Cancel(id) => {
                    self.refuse_lease(
                        id,
                        Error::new(ErrorCode::Aborted, "forceDisconnect() was called").make(),
                    );
                }
                LeaseOutput::Wait(at) => {
                    let weak = self.me.clone();
                    let timer = at.and_then(|at| {
                        let then = move || {
                            if let Some(core) = weak.upgrade() {
                                let done = core.leases.linger.take();
                                core.lease(LeaseInput::Tick);
                                drop(done);
                            }
                        };
                        Timer::new("linger", at - now(), then).ok()
                    });
                    let before = self.leases.linger.replace(timer);
                    return drop(before);
                }
            }
        }
    }

    /// The last holder is gone, and with it the leases' own wait: its answer would be taken for the next one's. A page
    /// that called `connect()` itself keeps the connection, or the attempt.
    fn nobody_holds(&self) {
        if let Some(id) = self.waiters.leases() {
            let gone = self.waiters.take(id);
            drop(gone);
            self.input(Input::Abandon(id));
        }
        if !self.waiters.wanted.get() {
            self.input(Input::Disconnect);
        }
    }

    fn granted(&self, id: LeaseId) {
        let wait = {
            let mut holders = self.leases.holders.borrow_mut();
            holders
                .iter_mut()
                .find(|holder| holder.id == id)
                .and_then(|holder| holder.wait.take())
        };
        if let Some((settle, _, abort)) = wait {
            drop(abort);
            settle.settle(Ok(id.0.into()));
        }
    }

    fn refuse_lease(&self, id: LeaseId, error: JsValue) {
        if let Some(Holder {
            wait: Some((settle, ..)),
            ..
        }) = self.leases.take(id)
        {
            settle.settle(Err(error));
        }
    }

    /// `dispose()`: nobody holds anything any more.
    pub(super) fn end_leases(&self) {
        let holders = self.leases.holders.take();
        let linger = self.leases.linger.take();
        for holder in holders {
            if let Some((settle, ..)) = holder.wait {
                settle.settle(Err(Error::disposed().make()));
            }
        }
        drop(linger);
    }
}
