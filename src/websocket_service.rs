//! `WebSocketService` as the layer holds it.

use crate::convert::to_js_null;
use crate::core::{Core, Outcome, Sending, Signal, now};
use crate::error::Error;
use crate::options::ServiceOptions;
use js_sys::{Array, Function, Promise};
use serde::Serialize;
use std::rc::Rc;
use tautline_machine::client::{Command, ConnectionState, Input};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// A live connection to a restaurant's events; whatever is made on it shares its core.
///
/// ```js
/// const told = (event, value) => show(event, value);
/// const service = new WebSocketService({ restaurantId: 'grow' }, undefined, () => fetchToken(), told);
/// await service.connect();
/// ```
#[wasm_bindgen]
pub struct WebSocketService {
    core: Rc<Core>,
}

/// A message as the layer hands it out.
#[derive(Serialize)]
struct Sent {
    id: String,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    done: JsValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    connects: f64,
    resumes: f64,
    gaps: f64,
    duplicates: f64,
    snapshots: f64,
    events: f64,
    stale_inputs: f64,
    attempts: u32,
    rtt_ms: Option<f64>,
    next_attempt_in_ms: Option<f64>,
    last_seq: Option<f64>,
    stale: bool,
    offline: bool,
    outbox: OutboxStats,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutboxStats {
    length: usize,
    oldest_ms: Option<f64>,
}

#[wasm_bindgen]
impl WebSocketService {
    /// A service at rest. `config` holds the options that are data; `emit` is told each event and its value: `message` for
    /// a message, `outbox` when the outbox has changed, and with `outboxStored` `store`, `unstore`, `aside` and `adopt` for
    /// whoever keeps it. `make_socket`, given an address and subprotocols, makes a socket or something of its shape; without
    /// it the browser does.
    ///
    /// # Errors
    /// `invalid_argument`.
    #[wasm_bindgen(constructor)]
    pub fn new(
        config: JsValue,
        url: JsValue,
        get_token: Option<Function>,
        emit: Function,
        make_socket: Option<Function>,
    ) -> Result<Self, JsValue> {
        let mut options = ServiceOptions::new(config, url, get_token, emit)?;
        options.make_socket = make_socket;
        Ok(Self {
            core: Core::new(options),
        })
    }

    /// Resolves once connected and authenticated; shares an attempt already under way.
    pub fn connect(&self, signal: Option<AbortSignal>, timeout_ms: Option<f64>) -> Promise {
        self.core
            .connect(signal.map(Signal::new), timeout_ms.map(|ms| ms as u64))
    }

    /// Final until the next `connect`; subscriptions are kept.
    pub fn disconnect(&self) {
        self.core.disconnect();
    }

    /// Ends the object.
    pub fn dispose(&self) {
        self.core.dispose();
    }

    /// Takes a message, `payload` being JSON text; answers `{id, done}`.
    ///
    /// # Errors
    /// `outbox_full`, `message_too_large`, `invalid_argument`, `disposed`, or the reason of an aborted signal.
    pub fn send(
        &self,
        kind: String,
        payload: String,
        id: Option<String>,
        ttl_ms: Option<f64>,
        signal: Option<AbortSignal>,
    ) -> Result<JsValue, JsValue> {
        let command = Command {
            kind,
            payload,
            id,
            ttl_ms: ttl_ms.map(|ms| ms as u64),
            timeout_ms: None,
            until_shown: false,
            sent_at: None,
        };
        let sending = Sending {
            command,
            outcome: Outcome::Ack,
            signal: signal.map(Signal::new),
            owner: 0,
        };
        let (id, done) = self.core.send(sending, |_| ())?;
        Ok(to_js_null(&Sent {
            id,
            done: done.into(),
        }))
    }

    /// Takes a message and resolves with its answer, or rejects when none came in time.
    pub fn request(
        &self,
        kind: String,
        payload: String,
        timeout_ms: f64,
        id: Option<String>,
        signal: Option<AbortSignal>,
    ) -> Promise {
        let command = Command {
            kind,
            payload,
            id,
            ttl_ms: None,
            timeout_ms: Some(timeout_ms as u64),
            until_shown: false,
            sent_at: None,
        };
        self.core.send_for(
            Sending {
                command,
                outcome: Outcome::Ack,
                signal: signal.map(Signal::new),
                owner: 0,
            },
            |_| (),
        )
    }

    /// Withdraws a message; `false` when it was answered already.
    pub fn cancel(&self, id: &str) -> bool {
        self.core.cancel(id)
    }

    /// `queued` or `sent` while a message is in the outbox.
    pub fn status(&self, id: &str) -> Option<String> {
        self.core.status(id).map(String::from)
    }

    /// What waits for a connection or an answer, oldest first.
    pub fn outbox(&self) -> JsValue {
        self.core.outbox()
    }

    /// A write that the event `store` asked for has ended.
    pub fn stored(&self, id: String, sent: bool, kept: bool) {
        self.core.input(Input::Stored { id, sent, kept });
    }

    /// What storage has from pages that are dead: the answer to the event `adopt`, or found since.
    pub fn adopted(&self, answer: bool, entries: &Array, lost: &Array) {
        self.core.adopted(answer, entries, lost);
    }

    /// Tells the server what to send from now on, `filter` being JSON text; absent is everything. Resolves when it has
    /// taken it.
    #[wasm_bindgen(js_name = setFilter)]
    pub fn set_filter(&self, filter: Option<String>) -> Promise {
        self.core.set_filter(filter)
    }

    /// The connection as the page sees it.
    #[wasm_bindgen(js_name = getConnectionState)]
    pub fn get_connection_state(&self) -> String {
        self.core
            .ask(|machine| String::from(machine.state().as_str()))
    }

    /// Whether it is connected and authenticated.
    #[wasm_bindgen(js_name = isConnected)]
    pub fn is_connected(&self) -> bool {
        self.core
            .ask(|machine| machine.state() == ConnectionState::Connected)
    }

    /// What the service has been through.
    pub fn stats(&self) -> JsValue {
        let stats = self.core.ask(|machine| machine.stats(now()));
        let ms = |ms: Option<u64>| ms.map(|ms| ms as f64);
        to_js_null(&Stats {
            connects: stats.connects as f64,
            resumes: stats.resumes as f64,
            gaps: stats.gaps as f64,
            duplicates: stats.duplicates as f64,
            snapshots: stats.snapshots as f64,
            events: stats.events as f64,
            stale_inputs: stats.stale_inputs as f64,
            attempts: stats.attempts,
            rtt_ms: ms(stats.rtt_ms),
            next_attempt_in_ms: ms(stats.next_attempt_in_ms),
            last_seq: ms(stats.last_seq),
            stale: stats.stale,
            offline: stats.offline,
            outbox: OutboxStats {
                length: stats.outbox_len,
                oldest_ms: ms(stats.outbox_oldest_ms),
            },
        })
    }

    /// Up to when everything is here for certain.
    pub fn freshness(&self) -> JsValue {
        self.core.freshness()
    }

    /// What the machine was told and answered, as JSON.
    pub fn recording(&self) -> Option<String> {
        self.core.recording()
    }

    /// Cuts a running wait short.
    #[wasm_bindgen(js_name = reconnectNow)]
    pub fn reconnect_now(&self) {
        self.core.input(Input::ReconnectNow);
    }

    /// Hands over a token that `getToken` was not asked for.
    ///
    /// # Errors
    /// `disposed`.
    #[wasm_bindgen(js_name = setToken)]
    pub fn set_token(&self, token: String) -> Result<(), JsValue> {
        if self.core.is_disposed() {
            return Err(Error::disposed().make());
        }
        self.core.set_token(token);
        Ok(())
    }
}

impl WebSocketService {
    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }
}
