//! The service's order set and those who watch it.

use super::{Core, Current};
use crate::convert::to_js;
use crate::orders::{Fields, Order, change};
use js_sys::{Array, Function};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use tautline_machine::client::{Input, OrderView, Orders, Patch, Source, Update, UpdateAction};
use tautline_protocol::Seq;
use tautline_protocol::event::OrderEvent;
use wasm_bindgen::prelude::*;

/// The set, shared by everyone who watches it.
#[derive(Default)]
pub(super) struct OrderBook {
    set: RefCell<Orders<Order>>,
    observers: RefCell<Vec<Weak<Observer>>>,
    last: Cell<u32>,
    /// How many observers want the set.
    wanted: Cell<u32>,
    installed: Cell<bool>,
    /// The array last shown, and the version it shows.
    shown: RefCell<Option<(u64, Array)>>,
    /// The version that `onOrders` was last asked about, and the array it was told.
    asked: Cell<u64>,
    told: RefCell<Option<Array>>,
}

/// One `OrderUpdates`: who is told, and whether it wants the set.
pub(crate) struct Observer {
    /// Names it as the owner of calls; 0 is nobody.
    number: u32,
    /// Tells the layer of an event; it does not throw.
    emit: Function,
    active: Cell<bool>,
    /// Wants to be told of each change.
    watches: Cell<bool>,
    /// Came when the set was there already and was not told of it yet.
    late: Cell<bool>,
}

impl Observer {
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn watch(&self, changes: bool) {
        self.watches.set(changes);
    }

    fn wants_changes(&self) -> bool {
        self.active.get() && self.watches.get()
    }

    fn change(&self, update: &JsValue) {
        if self.wants_changes() {
            self.tell("update", update);
        }
    }

    fn orders(&self, orders: &Array) {
        if self.active.get() {
            self.tell("orders", orders);
        }
    }

    fn tell(&self, event: &str, value: &JsValue) {
        let _ = self.emit.call2(&JsValue::UNDEFINED, &event.into(), value);
    }
}

/// `OrderUpdate` of the page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderUpdate<'a> {
    action: &'static str,
    order_id: &'a str,
    seq: JsNumber,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial: Option<bool>,
    #[serde(
        with = "serde_wasm_bindgen::preserve",
        skip_serializing_if = "JsValue::is_undefined"
    )]
    order: JsValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A number, or `null`.
#[derive(Serialize)]
#[serde(transparent)]
struct JsNumber(#[serde(with = "serde_wasm_bindgen::preserve")] JsValue);

impl Core {
    pub(crate) fn observe(&self, emit: Function) -> Rc<Observer> {
        let number = self.orders.last.get() + 1;
        self.orders.last.set(number);
        let observer = Rc::new(Observer {
            number,
            emit,
            active: Cell::new(false),
            watches: Cell::new(false),
            late: Cell::new(false),
        });
        self.orders
            .observers
            .borrow_mut()
            .push(Rc::downgrade(&observer));
        observer
    }

    /// `initialize()`: this observer wants the set.
    pub(crate) fn want_orders(&self, observer: &Rc<Observer>) {
        if observer.active.replace(true) {
            return;
        }
        self.orders.wanted.set(self.orders.wanted.get() + 1);
        self.plain_changed();
        if self.orders.installed.get() {
            observer.late.set(true);
        }
        self.input(Input::WantOrders(true));
    }

    /// `cleanup()`: it does not want it any more; nobody does when the last one does not.
    pub(crate) fn leave_orders(&self, observer: &Rc<Observer>) {
        observer.late.set(false);
        if !observer.active.replace(false) {
            return;
        }
        self.orders.wanted.set(self.orders.wanted.get() - 1);
        if self.orders.wanted.get() == 0 {
            self.plain_changed();
            self.orders.installed.set(false);
            self.orders.set.borrow_mut().clear();
            self.input(Input::WantOrders(false));
        }
    }

    /// The observer is gone; what it waits for is rejected `disposed`.
    pub(crate) fn forget_observer(&self, observer: &Rc<Observer>) {
        self.leave_orders(observer);
        self.orders
            .observers
            .borrow_mut()
            .retain(|known| known.as_ptr() != Rc::as_ptr(observer));
        self.end_calls(observer.number);
    }

    /// `orders()` of an observer: the same array until something has changed.
    pub(crate) fn orders_of(&self, observer: &Observer) -> Option<Array> {
        observer.active.get().then(|| self.shown_orders())
    }

    fn shown_orders(&self) -> Array {
        let set = self.orders.set.borrow();
        let version = set.version();
        let before = self.orders.shown.borrow().clone();
        if let Some((_, array)) = before.as_ref().filter(|(shown, _)| *shown == version) {
            return array.clone();
        }
        // A snapshot that found nothing changed shows the array there was.
        let same = before.as_ref().is_some_and(|(_, array)| {
            array.length() as usize == set.len()
                && set
                    .iter()
                    .zip(array.iter())
                    .all(|(order, shown)| *order.as_js() == shown)
        });
        let array = match before {
            Some((_, array)) if same => array,
            _ => set.iter().map(Order::as_js).collect(),
        };
        drop(set);
        self.orders.shown.replace(Some((version, array.clone())));
        array
    }

    /// Whether events of a type change a set that anybody wants.
    pub(super) fn is_for_orders(&self, kind: &str) -> bool {
        self.orders.wanted.get() > 0 && OrderEvent::parse(kind).is_some()
    }

    /// An event of the log, if it is about orders and anybody wants them.
    pub(super) fn order_event(&self, current: Current<'_>, seq: Option<Seq>) {
        if self.orders.wanted.get() == 0 {
            return;
        }
        let Some(event) = OrderEvent::parse(current.kind) else {
            return;
        };
        let Some(change) = change(event, current.frame) else {
            return;
        };
        let updates = self.orders.set.borrow_mut().apply(change);
        let payload = Fields::of(current.frame.payload());
        for update in updates {
            self.tell_update(&update, seq, payload.as_ref());
        }
    }

    pub(super) fn collect_orders(&self, first: bool, orders: &Array) {
        self.orders
            .set
            .borrow_mut()
            .collect(first, orders.iter().filter_map(Order::of));
    }

    pub(super) fn install_orders(&self, seq: Option<Seq>) {
        if self.orders.wanted.get() == 0 {
            return self.discard_orders();
        }
        self.orders.installed.set(true);
        // Whoever came late is told of the whole set with everybody else.
        for observer in self.observers() {
            observer.late.set(false);
        }
        let updates = self.orders.set.borrow_mut().install();
        for update in updates {
            self.tell_update(&update, seq, None);
        }
    }

    pub(super) fn discard_orders(&self) {
        self.orders.set.borrow_mut().discard();
    }

    pub(super) fn orders_stale(&self) {
        self.orders.set.borrow_mut().mark_stale();
    }

    /// Shows a change before the server has confirmed it.
    pub(crate) fn optimistic(&self, command: &str, order_id: &str, patch: Patch) {
        self.orders
            .set
            .borrow_mut()
            .overlay(String::from(command), String::from(order_id), patch);
    }

    pub(super) fn optimistic_over(&self, command: &str) {
        self.orders.set.borrow_mut().settle(command);
    }

    /// The end of a turn: tells `onOrders` once, however much has changed; and those who came late of the set.
    pub(super) fn orders_changed(&self) {
        for observer in self.observers() {
            if observer.late.replace(false) {
                self.tell_late(&observer);
            }
        }
        let version = self.orders.set.borrow().version();
        if self.orders.asked.replace(version) == version {
            return;
        }
        let array = self.shown_orders();
        let before = self.orders.told.replace(Some(array.clone()));
        if before.is_some_and(|before| before == array) {
            return;
        }
        for observer in self.observers() {
            observer.orders(&array);
        }
    }

    /// `dispose()`: what is pending is settled already; the set goes.
    pub(super) fn end_orders(&self) {
        for observer in self.observers() {
            observer.active.set(false);
        }
        self.orders.wanted.set(0);
        self.orders.set.borrow_mut().clear();
    }

    fn observers(&self) -> Vec<Rc<Observer>> {
        self.orders
            .observers
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn tell_late(&self, observer: &Rc<Observer>) {
        let orders: Vec<Order> = self.orders.set.borrow().iter().cloned().collect();
        for order in orders {
            let Some(id) = order.id() else { continue };
            let source = Source::Snapshot { initial: true };
            let update = Update {
                action: UpdateAction::Created,
                id,
                order: Some(order),
                previous: None,
                source,
            };
            let value = describe(&update, self.ask(|machine| machine.position()), None);
            observer.change(&value);
        }
        observer.orders(&self.shown_orders());
    }

    fn tell_update(&self, update: &Update<Order>, seq: Option<Seq>, payload: Option<&Fields>) {
        let observers = self.observers();
        if !observers.iter().any(|observer| observer.wants_changes()) {
            return;
        }
        let value = describe(update, seq, payload);
        for observer in observers {
            observer.change(&value);
        }
    }
}

/// The update as the page sees it; `payload` is the event's.
fn describe(update: &Update<Order>, seq: Option<Seq>, payload: Option<&Fields>) -> JsValue {
    let (source, initial) = match update.source {
        Source::Event => ("event", None),
        Source::Snapshot { initial } => ("snapshot", initial.then_some(true)),
    };
    // What is gone is shown as it last was.
    let order = update.order.as_ref().or(update.previous.as_ref());
    let mut described = OrderUpdate {
        action: update.action.as_str(),
        order_id: &update.id,
        seq: JsNumber(seq.map_or(JsValue::NULL, |seq| (seq as f64).into())),
        source,
        initial,
        order: order.map_or(JsValue::UNDEFINED, |order| order.as_js().clone()),
        item_id: None,
        status: None,
        previous_status: None,
        updated_by: None,
        reason: payload.and_then(Fields::reason),
    };
    if let Some(payload) = payload
        && matches!(
            update.action,
            UpdateAction::StatusChanged | UpdateAction::ItemStatusChanged
        )
    {
        described.item_id = payload.item_id();
        described.status = payload.status();
        described.updated_by = payload.updated_by();
        let previous = || match &described.item_id {
            Some(item) => update.previous.as_ref()?.item_status(item),
            None => update.previous.as_ref()?.status(),
        };
        described.previous_status = payload.previous_status().or_else(previous);
    }
    to_js(&described)
}
