//! `ConnectionManager` as the layer holds it.

use crate::convert::to_js;
use crate::core::{Core, Signal};
use crate::host;
use crate::websocket_service::WebSocketService;
use js_sys::Promise;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tautline_machine::client::{ConnectionState, LeaseId};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// How long the connection is kept after its last holder has let go, unless the page says otherwise.
const LINGER_MS: u64 = 1_000;

/// Shares a service's connection among holders; several managers on one service share it too.
///
/// ```js
/// const manager = new ConnectionManager(service, 1000);
/// const lease = await manager.acquire();
/// manager.release(lease);
/// ```
#[wasm_bindgen]
pub struct ConnectionManager {
    core: Rc<Core>,
    linger_ms: u64,
    /// Leases handed out here.
    leases: RefCell<Vec<LeaseId>>,
    /// Holders that came by `connect()`.
    counted: RefCell<Vec<LeaseId>>,
    warned: Cell<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    is_connected: bool,
    is_connecting: bool,
    connection_count: usize,
}

#[wasm_bindgen]
impl ConnectionManager {
    /// A manager without holders.
    #[wasm_bindgen(constructor)]
    pub fn new(service: &WebSocketService, linger_ms: Option<f64>) -> Self {
        Self {
            core: Rc::clone(service.core()),
            linger_ms: linger_ms.map_or(LINGER_MS, |ms| ms as u64),
            leases: RefCell::default(),
            counted: RefCell::default(),
            warned: Cell::new(false),
        }
    }

    /// Resolves with a lease's number once connected.
    pub fn acquire(&self, signal: Option<AbortSignal>) -> Promise {
        let (id, promise) = self.core.acquire(signal.map(Signal::new));
        self.keep(&self.leases, id);
        promise
    }

    /// Lets go of a lease; twice does nothing.
    pub fn release(&self, lease: u32) {
        self.leases.borrow_mut().retain(|known| known.0 != lease);
        self.core.release(LeaseId(lease), self.linger_ms);
    }

    /// Counts a holder and resolves when connected.
    pub fn connect(&self) -> Promise {
        let (id, promise) = self.core.acquire(None);
        self.keep(&self.counted, id);
        promise
    }

    /// Lets go of one `connect()`; without one to match it warns once.
    pub fn disconnect(&self) {
        // A `connect()` that was rejected holds nothing.
        let last = {
            let mut counted = self.counted.borrow_mut();
            counted.retain(|&id| self.core.holds(id));
            counted.pop()
        };
        match last {
            Some(id) => self.core.release(id, self.linger_ms),
            None if !self.warned.replace(true) => {
                host::warn(
                    "tautline: ConnectionManager.disconnect() without a connect() to match; it does nothing",
                );
            }
            None => {}
        }
    }

    /// Closes now, whoever holds it; what they release later does nothing.
    #[wasm_bindgen(js_name = forceDisconnect)]
    pub fn force_disconnect(&self) {
        self.leases.borrow_mut().clear();
        self.counted.borrow_mut().clear();
        self.core.force_disconnect();
    }

    /// `{isConnected, isConnecting, connectionCount}`.
    #[wasm_bindgen(js_name = getStatus)]
    pub fn get_status(&self) -> JsValue {
        let state = self.core.ask(|machine| machine.state());
        to_js(&Status {
            is_connected: state == ConnectionState::Connected,
            is_connecting: matches!(
                state,
                ConnectionState::Connecting | ConnectionState::Reconnecting
            ),
            connection_count: self.core.holders(),
        })
    }

    /// Lets go of all its holders, at once; the service stays.
    pub fn dispose(&self) {
        let mut holders = self.leases.take();
        holders.extend(self.counted.take());
        for id in holders {
            self.core.end_lease(id);
        }
    }
}

impl ConnectionManager {
    fn keep(&self, holders: &RefCell<Vec<LeaseId>>, id: LeaseId) {
        let mut holders = holders.borrow_mut();
        holders.retain(|&id| self.core.holds(id));
        holders.push(id);
    }
}

impl Drop for ConnectionManager {
    fn drop(&mut self) {
        self.dispose();
    }
}
