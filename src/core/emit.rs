//! Events and messages, told to whoever listens.

use super::{Core, Current, now};
use crate::convert::{to_js, to_js_null};
use crate::error::Error;
use crate::{host, js};
use js_sys::{Array, Function, Promise};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tautline_machine::client::Notice;
use tautline_protocol::ErrorCode;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Listeners of one event past which somebody has probably forgotten to take them off.
const MANY: usize = tautline_protocol::limits::CLIENT_LISTENERS;

/// Which messages a subscription wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    All,
    /// The text before `*`.
    Prefix(String),
    Exact(String),
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some("") => Self::All,
            Some(prefix) => Self::Prefix(String::from(prefix)),
            None => Self::Exact(String::from(text)),
        }
    }

    fn takes(&self, kind: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => kind.starts_with(prefix.as_str()),
            Self::Exact(exact) => kind == exact,
        }
    }
}

enum Topic {
    Event(String),
    /// `onOutbox`.
    Outbox,
    /// `subscribe`.
    Messages(Pattern),
}

impl Topic {
    /// Whether messages of that type are told under it.
    fn takes(&self, kind: &str) -> bool {
        match self {
            Self::Messages(pattern) => pattern.takes(kind),
            Self::Event(name) => name.strip_prefix("message").is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix(':').is_some_and(|exact| exact == kind)
            }),
            Self::Outbox => false,
        }
    }
}

struct Registered {
    id: u32,
    topic: Topic,
    callback: Function,
    once: bool,
    /// Taken off; an emit under way passes it by.
    off: Cell<bool>,
}

/// Everyone who listens to one service.
#[derive(Default)]
pub(super) struct Emitter {
    list: RefCell<Vec<Rc<Registered>>>,
    last: Cell<u32>,
}

impl Emitter {
    fn add(&self, topic: Topic, callback: Function, once: bool) -> u32 {
        let id = self.last.get() + 1;
        self.last.set(id);
        self.list.borrow_mut().push(Rc::new(Registered {
            id,
            topic,
            callback,
            once,
            off: Cell::new(false),
        }));
        id
    }

    /// Takes off whoever matches.
    fn remove(&self, matches: impl Fn(&Registered) -> bool) -> Vec<Rc<Registered>> {
        let mut gone = Vec::new();
        self.list.borrow_mut().retain(|listener| {
            let goes = matches(listener);
            if goes {
                listener.off.set(true);
                gone.push(Rc::clone(listener));
            }
            !goes
        });
        gone
    }

    /// Who is told now: a listener added meanwhile is first called next time.
    fn snapshot(&self, wants: impl Fn(&Topic) -> bool) -> Vec<Rc<Registered>> {
        self.list
            .borrow()
            .iter()
            .filter(|listener| wants(&listener.topic))
            .cloned()
            .collect()
    }

    fn count(&self, event: &str) -> usize {
        self.list
            .borrow()
            .iter()
            .filter(|listener| matches!(&listener.topic, Topic::Event(name) if name == event))
            .count()
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Detail {
    #[serde(rename_all = "camelCase")]
    Disconnected {
        code: u16,
        reason: String,
        was_clean: bool,
        will_reconnect: bool,
    },
    #[serde(rename_all = "camelCase")]
    Reconnecting {
        attempt: u32,
        delay_ms: f64,
    },
    Span {
        from: f64,
        to: f64,
    },
    #[serde(rename_all = "camelCase")]
    Latency {
        rtt_ms: f64,
    },
    Degraded {
        since: Option<String>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Freshness {
    seq: Option<f64>,
    confirmed_at_ms: Option<f64>,
    age_ms: Option<f64>,
    live: bool,
}

impl Core {
    /// `on` and `once`.
    pub(crate) fn on(&self, event: String, callback: Function, once: bool) -> u32 {
        let many = self.emitter.count(&event) == MANY;
        if many {
            let mut text = String::from("tautline: over 100 listeners of ");
            text.push_str(&event);
            text.push_str("; is one added again and again and never taken off?");
            host::warn(&text);
        }
        self.add(Topic::Event(event), callback, once)
    }

    pub(crate) fn subscribe(&self, pattern: &str, callback: Function) -> u32 {
        self.add(Topic::Messages(Pattern::new(pattern)), callback, false)
    }

    pub(crate) fn on_outbox(&self, callback: Function) -> u32 {
        self.add(Topic::Outbox, callback, false)
    }

    fn add(&self, topic: Topic, callback: Function, once: bool) -> u32 {
        self.takers_changed();
        self.emitter.add(topic, callback, once)
    }

    fn take_off(&self, matches: impl Fn(&Registered) -> bool) {
        let gone = self.emitter.remove(matches);
        if let Some(receiver) = self.receiver() {
            gone.iter().for_each(|listener| receiver.off(listener.id));
        }
    }

    /// The receiver is to ask anew who takes what.
    pub(super) fn takers_changed(&self) {
        if let Some(receiver) = self.receiver() {
            receiver.forget();
        }
    }

    /// Who takes plain events of a type, four values each: id, callback, whether it gets the whole frame first, once.
    /// `None`: the type is the wire's own, or the order set's.
    pub(super) fn takers(&self, kind: &str) -> Option<JsValue> {
        if crate::frame::is_wires_own(kind) || self.is_for_orders(kind) {
            return None;
        }
        let takers = Array::new();
        for taker in self.emitter.snapshot(|topic| topic.takes(kind)) {
            takers.push(&taker.id.into());
            takers.push(&taker.callback);
            takers.push(&(!matches!(taker.topic, Topic::Messages(_))).into());
            takers.push(&taker.once.into());
        }
        Some(takers.into())
    }

    pub(crate) fn unsubscribe(&self, id: u32) {
        self.take_off(|listener| listener.id == id);
    }

    /// Takes a callback off an event, however often it was put on.
    pub(crate) fn off(&self, event: &str, callback: &Function) {
        self.take_off(|listener| {
            matches!(&listener.topic, Topic::Event(name) if name == event)
                && listener.callback == *callback
        });
    }

    pub(crate) fn listener_count(&self, event: &str) -> usize {
        self.emitter.count(event)
    }

    /// Takes off all listeners of one event, or of every one; subscriptions stay.
    pub(crate) fn remove_all_listeners(&self, event: Option<&str>) {
        self.take_off(|listener| match &listener.topic {
            Topic::Event(name) => event.is_none_or(|event| event == name),
            Topic::Outbox | Topic::Messages(_) => false,
        });
    }

    /// Nobody listens any more.
    pub(super) fn silence(&self) {
        self.take_off(|_| true);
    }

    pub(super) fn emit(&self, event: &str, value: &JsValue) {
        if self.options.debug {
            let _ = js::debug("tautline", event, value);
        }
        for listener in self
            .emitter
            .snapshot(|topic| matches!(topic, Topic::Event(name) if name == event))
        {
            self.call(&listener, value, None);
        }
    }

    pub(super) fn outbox_changed(&self) {
        for listener in self
            .emitter
            .snapshot(|topic| matches!(topic, Topic::Outbox))
        {
            self.call(&listener, &JsValue::UNDEFINED, None);
        }
    }

    pub(super) fn emit_detail(&self, notice: Notice) {
        let (event, detail) = match notice {
            Notice::Connected => return self.emit("connected", &JsValue::UNDEFINED),
            Notice::MaxReconnectAttemptsReached => {
                return self.emit("maxReconnectAttemptsReached", &JsValue::UNDEFINED);
            }
            Notice::Disconnected {
                closed,
                will_reconnect,
            } => (
                "disconnected",
                Detail::Disconnected {
                    code: closed.code.0,
                    reason: closed.reason,
                    was_clean: closed.was_clean,
                    will_reconnect,
                },
            ),
            Notice::Reconnecting { attempt, delay_ms } => (
                "reconnecting",
                Detail::Reconnecting {
                    attempt,
                    delay_ms: delay_ms as f64,
                },
            ),
            Notice::Resumed { from, to } => (
                "resumed",
                Detail::Span {
                    from: from as f64,
                    to: to as f64,
                },
            ),
            Notice::Gap { from, to } => (
                "gap",
                Detail::Span {
                    from: from as f64,
                    to: to as f64,
                },
            ),
            Notice::Latency { rtt_ms } => (
                "latency",
                Detail::Latency {
                    rtt_ms: rtt_ms as f64,
                },
            ),
            Notice::Degraded { since } => ("degraded", Detail::Degraded { since }),
            Notice::State(_)
            | Notice::Outbox
            | Notice::Error(_)
            | Notice::Stale
            | Notice::Fresh => return,
        };
        self.emit(event, &to_js(&detail));
    }

    /// `freshness()`.
    pub(crate) fn freshness(&self) -> JsValue {
        let freshness = self.ask(|machine| machine.freshness(now()));
        let age_ms = freshness.age_ms.map(|age| age as f64);
        to_js_null(&Freshness {
            seq: freshness.seq.map(|seq| seq as f64),
            confirmed_at_ms: age_ms.map(|age| js_sys::Date::now() - age),
            age_ms,
            live: freshness.live,
        })
    }

    /// Gives the frame to subscribers: the engine's own object, never copied.
    pub(super) fn publish(&self, current: Current<'_>) {
        let Current { frame, kind } = current;
        let takers = self.emitter.snapshot(|topic| topic.takes(kind));
        if takers.is_empty() {
            return;
        }
        let payload = frame.payload();
        for taker in takers {
            if self.is_disposed() {
                return;
            }
            match taker.topic {
                Topic::Messages(_) => self.call(&taker, &payload, Some(frame)),
                _ => self.call(&taker, frame, None),
            }
        }
    }

    fn call(&self, listener: &Registered, value: &JsValue, second: Option<&JsValue>) {
        if listener.off.get() {
            return;
        }
        if listener.once {
            self.unsubscribe(listener.id);
        }
        let is_error_listener = matches!(&listener.topic, Topic::Event(name) if name == "error");
        self.call_page(&listener.callback, value, second, is_error_listener);
    }

    /// Calls the page. What it throws, or rejects with later, is reported, and delivery goes on.
    pub(super) fn call_page(
        &self,
        callback: &Function,
        value: &JsValue,
        second: Option<&JsValue>,
        told_error: bool,
    ) {
        let answered = match second {
            Some(second) => callback.call2(&JsValue::UNDEFINED, value, second),
            None => callback.call1(&JsValue::UNDEFINED, value),
        };
        match answered {
            Err(thrown) => self.callback_failed(thrown, told_error),
            Ok(answer) if answer.is_object() && answer.is_instance_of::<Promise>() => {
                self.watch(answer.unchecked_into(), told_error);
            }
            Ok(_) => {}
        }
    }

    /// A callback's promise: should it be rejected, that is reported.
    pub(super) fn watch(&self, promise: Promise, told_error: bool) {
        let weak = self.me.clone();
        spawn_local(async move {
            let Err(rejected) = JsFuture::from(promise).await else {
                return;
            };
            match weak.upgrade() {
                Some(core) if !host::is_dead() => core.callback_failed(rejected, told_error),
                _ => host::report(&rejected),
            }
        });
    }

    /// `told_error`: it was an `error` listener that failed; telling it again would not end.
    pub(super) fn callback_failed(&self, cause: JsValue, told_error: bool) {
        let error = Error::new(
            ErrorCode::Callback,
            "a callback failed; its error is the cause",
        )
        .cause(cause)
        .make();
        if told_error {
            host::report(&error)
        } else {
            self.emit_error(&error)
        }
    }

    /// An error that no call of the page's is there to reject with.
    pub(super) fn emit_error(&self, error: &JsValue) {
        if self.emitter.count("error") == 0 {
            return host::report(error);
        }
        self.emit("error", error);
    }
}
