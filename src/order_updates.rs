//! `OrderUpdates` as the layer holds it.

use crate::core::{Core, Observer, Outcome, Sending, Signal};
use crate::error::Error;
use crate::websocket_service::WebSocketService;
use js_sys::{Array, Function, Promise};
use std::cell::Cell;
use std::rc::Rc;
use tautline_machine::client::{Command, Input, Patch};
use tautline_protocol::JsonWriter;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// The restaurant's live orders, kept equal to the server's through every disconnect.
///
/// ```js
/// const orders = new OrderUpdates(service, (event, value) => event === 'orders' && render(value));
/// orders.initialize();
/// ```
#[wasm_bindgen]
pub struct OrderUpdates {
    core: Rc<Core>,
    observer: Rc<Observer>,
    /// The array shown while there is no set: always the same one.
    none: Array,
    disposed: Cell<bool>,
}

#[wasm_bindgen]
impl OrderUpdates {
    /// Watches nothing yet. `emit` is told `update` and a change, if asked to ([`Self::watch`]), and `orders` and all of
    /// them when they have changed, once a turn.
    #[wasm_bindgen(constructor)]
    pub fn new(service: &WebSocketService, emit: Function) -> Self {
        let core = Rc::clone(service.core());
        let observer = core.observe(emit);
        Self {
            core,
            observer,
            none: Array::new(),
            disposed: Cell::new(false),
        }
    }

    /// Starts to keep the set: asks for a snapshot now or at the next connect. Twice does nothing.
    ///
    /// # Errors
    /// `disposed`.
    pub fn initialize(&self) -> Result<(), JsValue> {
        self.live()?;
        self.core.want_orders(&self.observer);
        Ok(())
    }

    /// Stops keeping the set and empties it; callbacks stay.
    pub fn cleanup(&self) {
        self.core.leave_orders(&self.observer);
    }

    /// Whether every change is to be told.
    pub fn watch(&self, changes: bool) {
        self.observer.watch(changes);
    }

    /// The live orders: the same array until something has changed.
    pub fn orders(&self) -> Array {
        self.core
            .orders_of(&self.observer)
            .unwrap_or_else(|| self.none.clone())
    }

    /// Asks the server what was missed.
    ///
    /// # Errors
    /// `disposed`.
    #[wasm_bindgen(js_name = requestSync)]
    pub fn request_sync(&self) -> Result<(), JsValue> {
        self.live()?;
        self.core.input(Input::RequestSync);
        Ok(())
    }

    /// Moves an order; resolves when the server has it and `orders()` shows it.
    #[wasm_bindgen(js_name = updateOrderStatus)]
    pub fn update_order_status(
        &self,
        order_id: String,
        status: String,
        expected_status: Option<String>,
        optimistic: bool,
    ) -> Promise {
        let payload = object(&[
            ("order_id", Some(&order_id)),
            ("status", Some(&status)),
            ("expected_status", expected_status.as_deref()),
        ]);
        self.change("order:update_status", payload, Outcome::Nothing, |id| {
            if optimistic {
                self.core.optimistic(id, &order_id, Patch::Status(status));
            }
        })
    }

    /// Moves an item; resolves when the server has it and `orders()` shows it.
    #[wasm_bindgen(js_name = updateItemStatus)]
    pub fn update_item_status(
        &self,
        order_id: String,
        item_id: String,
        status: String,
        expected_status: Option<String>,
        optimistic: bool,
    ) -> Promise {
        let payload = object(&[
            ("order_id", Some(&order_id)),
            ("item_id", Some(&item_id)),
            ("status", Some(&status)),
            ("expected_status", expected_status.as_deref()),
        ]);
        self.change(
            "order:update_item_status",
            payload,
            Outcome::Nothing,
            |id| {
                if optimistic {
                    self.core
                        .optimistic(id, &order_id, Patch::ItemStatus { item_id, status });
                }
            },
        )
    }

    /// Makes an order from JSON text; resolves with it.
    #[wasm_bindgen(js_name = createOrder)]
    pub fn create_order(&self, order: &str) -> Promise {
        let payload = JsonWriter::object().raw("order", order).end();
        self.change("order:create", payload, Outcome::Order, |_| ())
    }

    /// Cancels an order; resolves with it.
    #[wasm_bindgen(js_name = cancelOrder)]
    pub fn cancel_order(&self, order_id: &str, reason: Option<String>) -> Promise {
        let payload = object(&[("order_id", Some(order_id)), ("reason", reason.as_deref())]);
        self.change("order:cancel", payload, Outcome::Order, |_| ())
    }

    /// One page of the server's orders over HTTP, as the server answers it; `query` is a query string.
    #[wasm_bindgen(js_name = fetchOrders)]
    pub fn fetch_orders(&self, query: &str, signal: Option<AbortSignal>) -> Promise {
        let mut path = String::from("/orders");
        if !query.is_empty() {
            path.push('?');
            path.push_str(query);
        }
        self.get(&path, signal)
    }

    /// One order over HTTP.
    #[wasm_bindgen(js_name = fetchOrder)]
    pub fn fetch_order(&self, order_id: &str, signal: Option<AbortSignal>) -> Promise {
        let mut path = String::from("/orders/");
        path.push_str(&String::from(js_sys::encode_uri_component(order_id)));
        self.get(&path, signal)
    }

    /// Ends the object; the service stays.
    pub fn dispose(&self) {
        if !self.disposed.replace(true) {
            self.core.forget_observer(&self.observer);
        }
    }
}

/// A payload of strings; what is `None` is left out.
fn object(fields: &[(&str, Option<&str>)]) -> String {
    fields
        .iter()
        .fold(JsonWriter::object(), |object, (name, value)| {
            object.opt_str(name, *value)
        })
        .end()
}

impl OrderUpdates {
    fn live(&self) -> Result<(), JsValue> {
        if self.disposed.get() || self.core.is_disposed() {
            Err(Error::disposed().make())
        } else {
            Ok(())
        }
    }

    fn change(
        &self,
        kind: &str,
        payload: String,
        outcome: Outcome,
        taken: impl FnOnce(&str),
    ) -> Promise {
        if let Err(error) = self.live() {
            return Promise::reject(&error);
        }
        let kind = String::from(kind);
        let command = Command {
            kind,
            payload,
            id: None,
            ttl_ms: None,
            timeout_ms: None,
            until_shown: true,
            sent_at: None,
        };
        self.core.send_for(
            Sending {
                command,
                outcome,
                signal: None,
                owner: self.observer.number(),
            },
            taken,
        )
    }

    fn get(&self, path: &str, signal: Option<AbortSignal>) -> Promise {
        if let Err(error) = self.live() {
            return Promise::reject(&error);
        }
        self.core
            .get(path, signal.map(Signal::new), self.observer.number())
    }
}

impl Drop for OrderUpdates {
    fn drop(&mut self) {
        self.dispose();
    }
}
