//! `WebSocketPool` as the layer holds it.

use crate::core::{Signal, now};
use crate::options::ServiceOptions;
use crate::pool::Pool;
use js_sys::{Array, Function, Promise};
use std::rc::Rc;
use tautline_machine::client::{Balancing, Command, MemberId, PoolConfig, Priority};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// Several connections to one restaurant's log, used as one. Members are numbered by their places among the addresses.
///
/// ```js
/// const pool = new WebSocketPool({ restaurantId: 'grow' }, urls, undefined, told, urls.map(heard), 5, 0, true, 5_000, 100);
/// await pool.connect();
/// ```
#[wasm_bindgen]
pub struct WebSocketPool {
    pool: Rc<Pool>,
}

#[wasm_bindgen]
impl WebSocketPool {
    /// A pool at rest. `config` holds a service's options that are data; `emit` is told each event and its value, and of
    /// `heard` a member's own each message that it brings, which may be one that another has brought.
    ///
    /// # Errors
    /// `invalid_argument`.
    #[wasm_bindgen(constructor)]
    #[expect(
        clippy::too_many_arguments,
        reason = "an object of options costs more than it says"
    )]
    pub fn new(
        config: JsValue,
        urls: &Array,
        get_token: Option<Function>,
        emit: Function,
        heard: &Array,
        max_connections: usize,
        balancing: u32,
        failover: bool,
        check_interval_ms: f64,
        queue_limit: usize,
    ) -> Result<Self, JsValue> {
        let mut members = Vec::new();
        for (url, heard) in urls.iter().zip(heard.iter()) {
            let get_token = get_token.clone();
            let heard = heard.unchecked_into();
            let mut options = ServiceOptions::new(config.clone(), url, get_token, heard)?;
            let machine = &mut options.machine;
            let heartbeat = machine.heartbeat_interval_ms;
            machine.heartbeat_interval_ms = heartbeat.min(check_interval_ms as u64);
            members.push(options);
        }
        let usual = tautline_machine::client::Config::default();
        let config = PoolConfig {
            members: members.len(),
            max_connections,
            balancing: match balancing {
                0 => Balancing::HealthBased,
                1 => Balancing::RoundRobin,
                _ => Balancing::LeastPending,
            },
            failover,
            check_interval_ms: check_interval_ms as u64,
            queue_limit,
            queue_bytes: usual.outbox_bytes,
            ttl_ms: members
                .first()
                .map_or(usual.outbox_ttl_ms, |member| member.machine.outbox_ttl_ms),
        };
        Ok(Self {
            pool: Pool::new(config, members, emit),
        })
    }

    /// Resolves once a member is connected and authenticated.
    pub fn connect(&self, signal: Option<AbortSignal>, timeout_ms: Option<f64>) -> Promise {
        self.pool
            .connect(signal.map(Signal::new), timeout_ms.map(|ms| ms as u64))
    }

    /// Final until the next `connect`; subscriptions and what waits are kept.
    pub fn disconnect(&self) {
        self.pool.disconnect();
    }

    /// Ends the object.
    pub fn dispose(&self) {
        self.pool.dispose();
    }

    /// Takes a message, `payload` being JSON text; 0 is the highest priority, 1 the usual one, 2 the lowest. Resolves with
    /// its answer.
    pub fn send(
        &self,
        kind: String,
        payload: String,
        priority: u32,
        id: Option<String>,
        ttl_ms: Option<f64>,
        signal: Option<AbortSignal>,
    ) -> Promise {
        let command = Command {
            kind,
            payload,
            id,
            ttl_ms: ttl_ms.map(|ms| ms as u64),
            timeout_ms: None,
            until_shown: false,
            sent_at: None,
        };
        let priority = match priority {
            0 => Priority::High,
            1 => Priority::Normal,
            _ => Priority::Low,
        };
        self.pool.send(command, priority, signal.map(Signal::new))
    }

    /// Tells the servers what to send from now on, `filter` being JSON text; absent is everything.
    #[wasm_bindgen(js_name = setFilter)]
    pub fn set_filter(&self, filter: Option<String>) -> Promise {
        self.pool.set_filter(filter)
    }

    /// Whether a message of a member's is to be delivered; `seq` is its number, below 0 where it has none.
    pub fn takes(&self, member: u32, seq: f64) -> bool {
        let seq = (seq >= 0.0).then_some(seq as u64);
        self.pool.takes(MemberId(member), seq)
    }

    /// The pool as the page sees it.
    #[wasm_bindgen(js_name = getConnectionState)]
    pub fn get_connection_state(&self) -> String {
        self.pool
            .ask(|machine| String::from(machine.state().as_str()))
    }

    /// Seven numbers for each member: its state from `ConnectionState`s by their order (0 is `disconnected`), whether it is healthy, whether it is
    /// the primary, its latency (-1: not measured), failures, missed pings, commands pending.
    pub fn health(&self) -> Vec<f64> {
        let mut numbers = Vec::new();
        self.pool.ask(|machine| {
            for view in machine.views(now()) {
                numbers.push(f64::from(view.state as u8));
                numbers.push(f64::from(u8::from(view.healthy)));
                numbers.push(f64::from(u8::from(view.primary)));
                numbers.push(view.latency_ms.map_or(-1.0, |ms| ms as f64));
                numbers.push(view.failures as f64);
                numbers.push(f64::from(view.missed_pings));
                numbers.push(view.pending as f64);
            }
        });
        numbers
    }

    /// Commands sent, settled, queued, pending, moved; failovers; events delivered, duplicates dropped.
    pub fn stats(&self) -> Vec<f64> {
        let stats = self.pool.ask(|machine| machine.stats());
        vec![
            stats.sent as f64,
            stats.settled as f64,
            stats.queued as f64,
            stats.pending as f64,
            stats.moved as f64,
            stats.failovers as f64,
            stats.events as f64,
            stats.duplicates as f64,
        ]
    }
}
