//! The relay of `tautline/testing`: the machines that the real one runs (`crates/machine`), over a store in memory that
//! commits at once, with tokens that it makes itself. What is left to `pkg/src/testing` is sockets, the clock and which fault
//! is in force; the time is said before each call, so that it is virtual when the test's is.
//!
//! It is a third driver of those machines beside `crates/relay` and the simulation, and decides as little.

mod effect;
mod http;
mod relay;
mod restaurant;
mod tokens;

#[cfg(test)]
mod tests;

use relay::{Refusal, Relay};
use tautline_machine::Time;
use tautline_machine::relay::Moment;
use tautline_protocol::{NackCode, Role};
use wasm_bindgen::prelude::*;

/// One relay with its restaurants, as JavaScript holds it. It calls nobody: what is to be done is asked for by `poll`.
#[wasm_bindgen]
#[derive(Debug)]
pub struct TestRelay {
    relay: Relay,
}

#[wasm_bindgen]
impl TestRelay {
    /// A relay without restaurants; `heartbeat_ms` is what it announces.
    #[wasm_bindgen(constructor)]
    pub fn new(heartbeat_ms: f64) -> Self {
        Self {
            relay: Relay::new(heartbeat_ms as u64),
        }
    }

    /// What time it is: milliseconds of a clock that only goes on, and since 1970.
    pub fn clock(&mut self, now_ms: f64, wall_ms: f64) {
        self.relay.clock(Moment {
            now: Time::from_ms(now_ms as u64),
            wall_ms: wall_ms as u64,
        });
    }

    /// When it wants to be woken by `tick`, on the clock that only goes on.
    #[wasm_bindgen(js_name = wakeAt)]
    pub fn wake_at(&self) -> Option<f64> {
        self.relay.wake_at().map(|at| at.as_ms() as f64)
    }

    /// Time has passed.
    pub fn tick(&mut self) {
        self.relay.tick();
    }

    /// The next thing to do, as JSON (`effect.rs`).
    pub fn poll(&mut self) -> Option<String> {
        self.relay.poll()
    }

    /// A socket is open; `v1` when the subprotocol was offered.
    pub fn open(&mut self, connection: u32, v1: bool) {
        self.relay.open(connection, v1);
    }

    /// A text message of a socket's.
    pub fn text(&mut self, connection: u32, text: &str) {
        self.relay.text(connection, text);
    }

    /// A binary message.
    pub fn binary(&mut self, connection: u32) {
        self.relay.binary(connection);
    }

    /// The browser answered a ping.
    pub fn pong(&mut self, connection: u32) {
        self.relay.pong(connection);
    }

    /// A socket is closed, by whomever.
    pub fn closed(&mut self, connection: u32) {
        self.relay.closed(connection);
    }

    /// The authenticated connections, as JSON.
    pub fn connections(&self) -> String {
        self.relay.connections()
    }

    /// A token for `{sub, restaurants, role, orderIds, ttlMs}`.
    ///
    /// # Errors
    /// What is wrong with the claims.
    pub fn token(&mut self, claims: &str) -> Result<String, String> {
        self.relay.issue(claims)
    }

    /// Tokens of that `sub`, or all, are taken no more, and their connections closed 4001.
    pub fn revoke(&mut self, sub: Option<String>) {
        self.relay.refuse_tokens(Refusal::Revoked, sub.as_deref());
    }

    /// The same as if they had run out.
    pub fn expire(&mut self, sub: Option<String>) {
        self.relay.refuse_tokens(Refusal::RanOut, sub.as_deref());
    }

    /// An HTTP request with the token that it shows; the answer as JSON `{status, body, type}`. `query` is an object of texts.
    pub fn request(
        &mut self,
        token: Option<String>,
        method: &str,
        path: &str,
        query: &str,
        body: &str,
        key: Option<String>,
    ) -> String {
        let asked = http::Asked {
            method,
            path,
            query,
            body,
            key: key.as_deref(),
        };
        self.relay.request(token.as_deref(), &asked).json()
    }

    /// The same by the test itself, in a role.
    pub fn act(&mut self, role: &str, method: &str, path: &str, body: &str) -> String {
        let asked = http::Asked {
            method,
            path,
            query: "{}",
            body,
            key: None,
        };
        let role = Role::parse(role).unwrap_or(Role::Service);
        self.relay.act(role, &asked).json()
    }

    /// The live set of a restaurant, JSON.
    pub fn orders(&mut self, restaurant: &str) -> String {
        self.relay.orders(restaurant)
    }

    /// The events of a restaurant's history in force, JSON.
    pub fn events(&mut self, restaurant: &str) -> String {
        self.relay.events(restaurant)
    }

    /// The next command (of that type, where one is said) is refused and changes nothing.
    #[wasm_bindgen(js_name = nackNext)]
    pub fn nack_next(
        &mut self,
        code: &str,
        message: &str,
        retry_after_ms: Option<f64>,
        kind: Option<String>,
    ) {
        let code = NackCode::parse(code).unwrap_or(NackCode::Invalid);
        let wait = retry_after_ms.map(|ms| ms as u64);
        self.relay.nack_next(code, message, wait, kind);
    }

    /// The next command that is applied (of that type, where one is said) takes its connection with it before anything is
    /// answered.
    #[wasm_bindgen(js_name = loseNextAck)]
    pub fn lose_next_ack(&mut self, kind: Option<String>) {
        self.relay.lose_next_ack(kind);
    }

    /// Forgets what `nack_next` and `lose_next_ack` are still waiting to do.
    #[wasm_bindgen(js_name = forgetFaults)]
    pub fn forget_faults(&mut self) {
        self.relay.forget_faults();
    }

    /// Whether commands and requests are answered `overloaded`.
    pub fn overload(&mut self, overloaded: bool) {
        self.relay.overload(overloaded);
    }

    /// The process ends: announced by 1012 with that wait, or without a word. What it stored is there afterwards, or is lost.
    pub fn restart(&mut self, reconnect_after_ms: Option<f64>, lost: bool) {
        self.relay
            .restart(reconnect_after_ms.map(|ms| ms as u64), lost);
    }
}
