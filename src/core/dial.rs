//! The attempt's url, token and socket; the look at `/healthz`.

use super::{Core, Said};
use crate::convert::text;
use crate::guard::{Awaited, Fetch, Listener, Socket, SocketEvent, Timer};
use crate::host;
use js_sys::Array;
use serde::Serialize;
use tautline_machine::client::{AttemptId, Closed, Input, Token, TokenAnswer, TokenReason};
use tautline_protocol::{CloseCode, V1};
use wasm_bindgen::prelude::*;

/// Bytes written and not taken by the network past which the outbox keeps the rest.
const BUFFERED_MAX: u32 = tautline_protocol::limits::CLIENT_BUFFERED_BYTES;
/// How often to look whether the network has taken them; browsers have no event for it.
const BUFFERED_EVERY_MS: u64 = 50;

/// What belongs to the attempt or connection under way.
#[derive(Default)]
pub(super) struct Connection {
    url: Option<String>,
    /// Which of the addresses that the `url` option lists was last gone to.
    address: usize,
    url_wait: Option<Awaited>,
    token_wait: Option<Awaited>,
    socket: Option<(AttemptId, Socket)>,
    /// Looks at what the network has taken, while it has not taken enough.
    full: Option<Timer>,
    health: Option<Fetch>,
    /// The last token given, for HTTP.
    token: Option<String>,
    /// What the page threw when it was asked for the url or a token.
    cause: Option<JsValue>,
}

#[derive(Serialize)]
struct TokenRequest {
    reason: &'static str,
    attempt: u32,
}

impl Core {
    pub(super) fn resolve_url(&self, attempt: AttemptId, address: usize) {
        self.connection.borrow_mut().address = address;
        let weak = self.me.clone();
        let wait = self.ask_url().map(|url| {
            Awaited::new("url", &url, move |settled| {
                if let Some(core) = weak.upgrade() {
                    let done = core.connection.borrow_mut().url_wait.take();
                    let url = settled.and_then(|url| core.options.url.socket(&url));
                    core.url_resolved(attempt, url);
                    drop(done);
                }
            })
        });
        match wait {
            // The page may have disposed of the service when it was asked: then nothing is waited for.
            _ if self.is_disposed() => {}
            Ok(wait) => drop(self.connection.borrow_mut().url_wait.replace(wait)),
            Err(error) => self.url_resolved(attempt, Err(error)),
        }
    }

    /// What the `url` option gives for the address in use.
    pub(super) fn ask_url(&self) -> Result<JsValue, JsValue> {
        let address = self.connection.borrow().address;
        self.options.url.ask(address)
    }

    fn url_resolved(&self, attempt: AttemptId, url: Result<String, JsValue>) {
        let mut connection = self.connection.borrow_mut();
        let usable = url.is_ok();
        match url {
            Ok(url) => connection.url = Some(url),
            Err(cause) => connection.cause = Some(cause),
        }
        drop(connection);
        self.input(Input::Url(attempt, usable));
    }

    pub(super) fn fetch_token(&self, attempt: AttemptId, reason: TokenReason, number: u32) {
        let weak = self.me.clone();
        let wait = self.ask_token(reason, number).map(|token| {
            Awaited::new("getToken", &token, move |settled| {
                if let Some(core) = weak.upgrade() {
                    let done = core.connection.borrow_mut().token_wait.take();
                    core.token_answered(attempt, settled);
                    drop(done);
                }
            })
        });
        match wait {
            _ if self.is_disposed() => {}
            Ok(wait) => drop(self.connection.borrow_mut().token_wait.replace(wait)),
            Err(error) => self.token_answered(attempt, Err(error)),
        }
    }

    /// Calls `getToken`.
    pub(super) fn ask_token(&self, reason: TokenReason, number: u32) -> Result<JsValue, JsValue> {
        let Some(get_token) = &self.options.get_token else {
            return Ok(JsValue::NULL);
        };
        let request = TokenRequest {
            reason: reason.as_str(),
            attempt: number,
        };
        get_token.call1(&JsValue::UNDEFINED, &crate::convert::to_js(&request))
    }

    fn token_answered(&self, attempt: AttemptId, settled: Result<JsValue, JsValue>) {
        let answer = match settled {
            Ok(value) if value.is_null() || value.is_undefined() => TokenAnswer::None,
            Ok(value) => match text(&value).filter(|token| !token.is_empty()) {
                Some(token) => {
                    self.connection.borrow_mut().token = Some(token.clone());
                    TokenAnswer::Token(Token::new(token))
                }
                None => TokenAnswer::Failed,
            },
            Err(cause) => {
                self.connection.borrow_mut().cause = Some(cause);
                TokenAnswer::Failed
            }
        };
        self.input(Input::Token(attempt, answer));
    }

    /// The address that the socket was opened to.
    pub(super) fn socket_url(&self) -> Option<String> {
        self.connection.borrow().url.clone()
    }

    pub(super) fn last_token(&self) -> Option<String> {
        self.connection.borrow().token.clone()
    }

    pub(super) fn remember_token(&self, token: Option<String>) {
        self.connection.borrow_mut().token = token;
    }

    /// `setToken()`.
    pub(crate) fn set_token(&self, token: String) {
        self.remember_token(Some(token.clone()));
        self.input(Input::SetToken(Token::new(token)));
    }

    /// What the page threw when it was last asked.
    pub(super) fn take_cause(&self) -> JsValue {
        self.connection
            .borrow_mut()
            .cause
            .take()
            .unwrap_or(JsValue::UNDEFINED)
    }

    pub(super) fn open(&self, attempt: AttemptId) {
        let url = self.connection.borrow().url.clone().unwrap_or_default();
        let weak = self.me.clone();
        let protocols: Array = (self.options.subprotocol.then_some(V1).into_iter())
            .map(JsValue::from)
            .collect();
        let listener = match self.receiver() {
            Some(receiver) => receiver.listener(attempt.0),
            None => Err(JsValue::UNDEFINED),
        };
        let socket = listener.and_then(|on_message| {
            let on_message = |socket: &_| Listener::of(socket, "message", &on_message);
            let make = self.options.make_socket.as_ref();
            Socket::open(&url, &protocols, make, on_message, move |event| {
                if host::is_dead() {
                    return;
                }
                if let Some(core) = weak.upgrade() {
                    core.said(attempt, event);
                }
            })
        });
        match socket {
            Ok(socket) => {
                let before = self
                    .connection
                    .borrow_mut()
                    .socket
                    .replace((attempt, socket));
                drop(before);
            }
            Err(cause) => {
                self.connection.borrow_mut().cause = Some(cause);
                let closed = Closed {
                    code: CloseCode::ABNORMAL,
                    reason: String::new(),
                    was_clean: false,
                };
                self.arrived(attempt, Said::Closed(closed));
            }
        }
    }

    fn said(&self, attempt: AttemptId, event: SocketEvent) {
        match event {
            SocketEvent::Opened => self.arrived(attempt, Said::Opened),
            SocketEvent::Closed {
                code,
                reason,
                was_clean,
            } => {
                self.arrived(
                    attempt,
                    Said::Closed(Closed {
                        code: CloseCode(code),
                        reason,
                        was_clean,
                    }),
                );
            }
        }
        self.turn();
    }

    pub(super) fn write(&self, attempt: AttemptId, text: &str) {
        let connection = self.connection.borrow();
        let Some((open, socket)) = &connection.socket else {
            return;
        };
        // A socket that is closing already takes nothing; its `close` event tells the machine.
        if *open != attempt || !socket.send(text) {
            return;
        }
        let full = socket.buffered() > BUFFERED_MAX && connection.full.is_none();
        drop(connection);
        if full {
            self.input(Input::Writable(attempt, false));
            self.look_at_buffer(attempt);
        }
    }

    fn look_at_buffer(&self, attempt: AttemptId) {
        let weak = self.me.clone();
        let timer = Timer::new("buffer", BUFFERED_EVERY_MS, move || {
            let Some(core) = weak.upgrade() else { return };
            let connection = core.connection.borrow();
            let Some((_, socket)) = connection
                .socket
                .as_ref()
                .filter(|(open, _)| *open == attempt)
            else {
                return;
            };
            let waits = socket.buffered() > BUFFERED_MAX / 2;
            drop(connection);
            if waits {
                return core.look_at_buffer(attempt);
            }
            let done = core.connection.borrow_mut().full.take();
            core.input(Input::Writable(attempt, true));
            drop(done);
        });
        let done = timer
            .ok()
            .and_then(|timer| self.connection.borrow_mut().full.replace(timer));
        drop(done);
    }

    pub(super) fn close(&self, attempt: AttemptId, code: CloseCode, reason: &'static str) {
        if let Some(socket) = self.take_socket(attempt) {
            socket.close(code.0, reason);
        }
    }

    /// The attempt is over: what it waited for is let go of.
    pub(super) fn hang_up(&self, attempt: AttemptId) {
        let gone = (self.take_socket(attempt), self.stop_waiting());
        drop(gone);
    }

    /// Nothing is waited for any more: no url, no token.
    pub(super) fn stop_waiting(&self) -> impl Sized {
        let mut connection = self.connection.borrow_mut();
        (connection.url_wait.take(), connection.token_wait.take())
    }

    fn take_socket(&self, attempt: AttemptId) -> Option<Socket> {
        let mut connection = self.connection.borrow_mut();
        let full = connection.full.take();
        let socket = connection.socket.take_if(|(open, _)| *open == attempt);
        drop(connection);
        drop(full);
        socket.map(|(_, socket)| socket)
    }

    /// Three sockets in a row did not open: is the server down, or does it refuse them?
    pub(super) fn probe_health(&self, attempt: AttemptId) {
        let url = self
            .connection
            .borrow()
            .url
            .as_deref()
            .and_then(|url| crate::options::http_url(url, "/healthz").ok());
        let (Some(url), Ok(fetch)) = (url, Fetch::new("healthz")) else {
            return self.input(Input::Health(attempt, false));
        };
        let signal = fetch.signal();
        let before = self.connection.borrow_mut().health.replace(fetch);
        drop(before);
        let weak = self.me.clone();
        wasm_bindgen_futures::spawn_local(async move {
            let answer = gloo_net::http::Request::get(&url)
                .abort_signal(Some(&signal))
                .send()
                .await;
            if host::is_dead() || signal.aborted() {
                return;
            }
            if let Some(core) = weak.upgrade() {
                let done = core.connection.borrow_mut().health.take();
                core.input(Input::Health(
                    attempt,
                    answer.is_ok_and(|answer| answer.ok()),
                ));
                drop(done);
            }
        });
    }
}
