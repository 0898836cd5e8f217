//! Messages on their way up: a promise for each, kept until the machine says what became of it.

use super::{Core, Current, Heard, Signal, now};
use crate::convert::to_js;
use crate::error::{Error, of_answer};
use crate::frame::Frame;
use crate::guard::{Listener, Settle};
use crate::orders::Order;
use js_sys::Promise;
use serde::Serialize;
use std::cell::RefCell;
use tautline_machine::client::{Answer, Client, Command, EntryState};
use tautline_protocol::ErrorCode;
use wasm_bindgen::prelude::*;

/// What a message's promise resolves with.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// The whole answer.
    Ack,
    /// Nothing.
    Nothing,
    /// The order that the answer holds.
    Order,
    /// Nothing: it was a filter.
    Filter,
}

/// A message to be sent.
pub(crate) struct Sending {
    pub(crate) command: Command,
    pub(crate) outcome: Outcome,
    pub(crate) signal: Option<Signal>,
    /// Whose call it is; 0: the service's.
    pub(crate) owner: u32,
}

struct Pending {
    id: String,
    owner: u32,
    settle: Settle,
    outcome: Outcome,
    timeout_ms: Option<u64>,
    /// The ack's payload, when its answer is held back; or the payload of the event that the message caused.
    kept: JsValue,
    signal: Option<Signal>,
    _abort: Option<Listener>,
    /// The pool asked for it back.
    withdrawn: bool,
}

/// Messages without an answer.
#[derive(Default)]
pub(super) struct Commands {
    pending: RefCell<Vec<Pending>>,
}

impl Commands {
    fn take(&self, id: &str) -> Option<Pending> {
        let mut pending = self.pending.borrow_mut();
        let at = pending.iter().position(|pending| pending.id == id)?;
        Some(pending.swap_remove(at))
    }

    fn keep(&self, id: &str, payload: JsValue) {
        let mut pending = self.pending.borrow_mut();
        let found = pending.iter_mut().find(|pending| pending.id == id);
        if let Some(found) = found {
            found.kept = payload;
        }
    }
}

/// `Ack` of the page.
#[derive(Serialize)]
struct Acked<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<f64>,
    #[serde(
        with = "serde_wasm_bindgen::preserve",
        skip_serializing_if = "JsValue::is_undefined"
    )]
    result: JsValue,
}

#[derive(Serialize)]
struct OutboxEntry<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    status: &'static str,
    #[serde(rename = "ageMs")]
    age_ms: f64,
    bytes: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    adopted: bool,
}

impl Core {
    /// Takes a message; answers its id and the promise of what becomes of it. `taken` is told the id before the
    /// message is written.
    ///
    /// # Errors
    /// What keeps the outbox from taking it, or the reason of a signal that was aborted already.
    pub(crate) fn send(
        &self,
        sending: Sending,
        taken: impl FnOnce(&str),
    ) -> Result<(String, Promise), JsValue> {
        let Sending {
            command,
            outcome,
            signal,
            owner,
        } = sending;
        if let Some(reason) = signal.as_ref().and_then(Signal::aborted) {
            return Err(reason);
        }
        let timeout_ms = command.timeout_ms;
        let id = self.take_command(command)?;
        let (promise, settle) = Settle::promise();
        let (weak, name) = (self.me.clone(), id.clone());
        let _abort = signal.as_ref().and_then(|signal| {
            signal.listen(move || {
                if let Some(core) = weak.upgrade() {
                    core.cancel(&name);
                }
            })
        });
        let pending = Pending {
            id: id.clone(),
            owner,
            settle,
            outcome,
            timeout_ms,
            kept: JsValue::UNDEFINED,
            signal,
            _abort,
            withdrawn: false,
        };
        self.commands.pending.borrow_mut().push(pending);
        taken(&id);
        self.turn();
        Ok((id, promise))
    }

    /// The same for calls that answer with the promise alone.
    pub(crate) fn send_for(&self, sending: Sending, taken: impl FnOnce(&str)) -> Promise {
        match self.send(sending, taken) {
            Ok((_, promise)) => promise,
            Err(error) => Promise::reject(&error),
        }
    }

    /// `setFilter()`: the promise of what becomes of it.
    pub(crate) fn set_filter(&self, filter: Option<String>) -> Promise {
        let id = self.machine.borrow_mut().set_filter(filter, now());
        let (promise, settle) = Settle::promise();
        self.commands.pending.borrow_mut().push(Pending {
            id,
            owner: 0,
            settle,
            outcome: Outcome::Filter,
            timeout_ms: None,
            kept: JsValue::UNDEFINED,
            signal: None,
            _abort: None,
            withdrawn: false,
        });
        self.turn();
        promise
    }

    fn take_command(&self, command: Command) -> Result<String, JsValue> {
        let sent = self.machine.borrow_mut().send(command, now());
        sent.map_err(|failure| {
            Error::failure(&failure)
                .outcome(tautline_protocol::Outcome::NotSent)
                .make()
        })
    }

    /// Takes a command of the pool's and the end of its promise; `false` if that is settled already, because the outbox
    /// does not take it.
    pub(crate) fn give(&self, command: Command, settle: Settle) -> bool {
        match self.take_command(command) {
            Err(error) => {
                settle.settle(Err(error));
                false
            }
            Ok(id) => {
                self.commands.pending.borrow_mut().push(Pending {
                    id,
                    owner: 0,
                    settle,
                    outcome: Outcome::Ack,
                    timeout_ms: None,
                    kept: JsValue::UNDEFINED,
                    signal: None,
                    _abort: None,
                    withdrawn: false,
                });
                self.turn();
                true
            }
        }
    }

    /// Gives a command back to the pool, which hears of it, unless it is answered meanwhile.
    pub(crate) fn withdraw(&self, id: &str) {
        let mut pending = self.commands.pending.borrow_mut();
        if let Some(found) = pending.iter_mut().find(|pending| pending.id == id) {
            found.withdrawn = true;
        }
        drop(pending);
        self.cancel(id);
    }

    /// Whether an event may be what one of our messages caused.
    pub(super) fn has_calls(&self) -> bool {
        !self.commands.pending.borrow().is_empty() || self.ask(Client::has_entries)
    }

    /// Withdraws a message; `false` when it was answered already.
    pub(crate) fn cancel(&self, id: &str) -> bool {
        let there = self.machine.borrow_mut().cancel(id, now());
        self.turn();
        there
    }

    /// What waits, oldest first.
    pub(crate) fn outbox(&self) -> JsValue {
        self.ask(|machine| {
            let entries: Vec<OutboxEntry<'_>> = machine
                .entries(now())
                .map(|entry| OutboxEntry {
                    id: entry.id,
                    kind: entry.kind,
                    status: status(entry.state),
                    age_ms: entry.age_ms as f64,
                    bytes: entry.bytes,
                    adopted: entry.adopted,
                })
                .collect();
            to_js(&entries)
        })
    }

    /// Where a message is, while it is in the outbox.
    pub(crate) fn status(&self, id: &str) -> Option<&'static str> {
        self.ask(|machine| {
            machine
                .entries(now())
                .find(|entry| entry.id == id)
                .map(|entry| status(entry.state))
        })
    }

    /// Calls of an owner that is gone: their promises are rejected, the messages stay on their way.
    pub(super) fn end_calls(&self, owner: u32) {
        let pending = self.commands.pending.take();
        let (gone, kept): (Vec<_>, Vec<_>) = pending
            .into_iter()
            .partition(|pending| pending.owner == owner);
        self.commands.pending.replace(kept);
        drop(gone);
        self.end_requests(Some(owner));
    }

    pub(super) fn keep(&self, id: &str, current: Option<Current<'_>>) {
        if let Some(current) = current {
            self.commands.keep(id, current.frame.payload());
        }
    }

    /// An event that one of our messages caused: should its ack never come, this is its result.
    pub(super) fn caused(&self, frame: &Frame) {
        if self.commands.pending.borrow().is_empty() {
            return;
        }
        if let Some(id) = frame.command_id() {
            let mut pending = self.commands.pending.borrow_mut();
            let found = pending
                .iter_mut()
                .find(|pending| pending.id == id && pending.kept.is_undefined());
            if let Some(found) = found {
                found.kept = frame.payload();
            }
        }
    }

    pub(super) fn settled(&self, id: &str, answer: &Answer, current: Option<Current<'_>>) {
        self.optimistic_over(id);
        let Some(pending) = self.commands.take(id) else {
            return;
        };
        let Pending {
            settle,
            outcome,
            timeout_ms,
            kept,
            signal,
            _abort,
            withdrawn,
            ..
        } = pending;
        drop(_abort);
        let given_back = match answer {
            Answer::Failed {
                code: ErrorCode::Aborted,
                outcome,
            } => Some(*outcome),
            // Its event is here; the answer itself is still to be had.
            Answer::Confirmed { .. } => Some(tautline_protocol::Outcome::Unknown),
            _ => None,
        };
        if let (true, Some(outcome)) = (withdrawn, given_back) {
            return self.to_pool(Heard::Withdrawn(id, settle, outcome));
        }
        let frame = current
            .filter(|current| matches!(current.kind, "ack" | "nack"))
            .map(|current| current.frame);
        let by_signal = matches!(
            answer,
            Answer::Failed {
                code: ErrorCode::Aborted,
                ..
            }
        );
        if let Some(reason) = signal
            .filter(|_| by_signal)
            .and_then(|signal| signal.aborted())
        {
            return settle.settle(Err(reason));
        }
        let is_filter = matches!(outcome, Outcome::Filter);
        let said = frame.and_then(Frame::said);
        match of_answer(answer, said, timeout_ms, is_filter) {
            Some(error) => settle.settle(Err(error)),
            None => {
                let payload = match answer {
                    Answer::Acked { .. } => frame
                        .filter(|frame| frame.answers(id))
                        .map_or(kept, Frame::payload),
                    _ => kept,
                };
                settle.settle(Ok(answered(id, answer, outcome, payload)));
            }
        }
        self.to_pool(Heard::Answered(id));
    }
}

fn status(state: EntryState) -> &'static str {
    match state {
        EntryState::Queued => "queued",
        EntryState::Sent | EntryState::Acked => "sent",
    }
}

/// What the promise resolves with; `payload` is the ack's, or that of the event in its place.
fn answered(id: &str, answer: &Answer, outcome: Outcome, payload: JsValue) -> JsValue {
    let is_ack = matches!(answer, Answer::Acked { .. });
    let (epoch, result) = if is_ack {
        crate::frame::ack_parts(&payload)
    } else {
        (None, payload)
    };
    match outcome {
        Outcome::Nothing | Outcome::Filter => JsValue::UNDEFINED,
        Outcome::Order => Order::inside(&result).map_or(JsValue::UNDEFINED, Order::into_js),
        Outcome::Ack => {
            let seq = match answer {
                Answer::Acked { seq } | Answer::Confirmed { seq } => seq.map(|seq| seq as f64),
                _ => None,
            };
            to_js(&Acked {
                id,
                epoch,
                seq,
                result: if is_ack { result } else { JsValue::UNDEFINED },
            })
        }
    }
}
