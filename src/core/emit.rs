//! Events and messages, told to the layer, which knows who listens (`pkg/src/emitter.js`).

use super::{Core, Current, now};
use crate::convert::{to_js, to_js_null};
use serde::Serialize;
use tautline_machine::client::Notice;
use wasm_bindgen::prelude::*;

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
    /// The layer does not throw: what a listener throws is told as an event of its own.
    pub(super) fn emit(&self, event: &str, value: &JsValue) {
        let _ = self
            .options
            .emit
            .call2(&JsValue::UNDEFINED, &event.into(), value);
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

    /// Gives the frame to whoever takes its type: the engine's own object, never copied.
    pub(super) fn publish(&self, current: Current<'_>) {
        self.emit("message", current.frame);
    }
}
