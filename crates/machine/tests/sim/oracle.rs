//! What the papers say of visibility, filters, permission and the live set, computed from the disk's frames alone: it
//! calls nothing of what it judges (`docs/protocol.md`: §1, Events, Filters, Sync; Who may do what).

use crate::check::holds;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A filter as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    events: Option<Vec<String>>,
    tables: Vec<String>,
    stations: Vec<String>,
    statuses: Vec<String>,
    ids: Vec<String>,
}

impl Wanted {
    pub fn read(subscribe: &Value) -> Self {
        let list = |value: &Value| -> Vec<String> {
            let texts = value.as_array().into_iter().flatten();
            texts
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect()
        };
        let filters = &subscribe["filters"];
        Self {
            events: subscribe["events"]
                .is_array()
                .then(|| list(&subscribe["events"])),
            tables: list(&filters["table_number"]),
            stations: list(&filters["station"]),
            statuses: list(&filters["statuses"]),
            ids: list(&filters["order_ids"]),
        }
    }

    /// Whether both want the same, one perhaps saying "every type" in words.
    pub fn is(&self, other: &Self) -> bool {
        let every =
            |events: &Option<Vec<String>>| events.clone().unwrap_or_else(|| vec!["*".to_owned()]);
        let plain = |wanted: &Self| Self {
            events: Some(every(&wanted.events)),
            ..wanted.clone()
        };
        plain(self) == plain(other)
    }

    fn kind(&self, kind: &str) -> bool {
        let Some(patterns) = &self.events else {
            return true;
        };
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => pattern == kind,
        };
        patterns.iter().any(matches) || (kind == "orders:archived" && self.orders())
    }

    /// Whether it wants anything of orders, and so to hear that some are archived.
    fn orders(&self) -> bool {
        let of_orders = |pattern: &String| pattern == "*" || pattern.starts_with("order:");
        self.events
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(of_orders))
    }

    fn order(&self, order: &Value) -> bool {
        let among = |wanted: &[String], has: &Value| {
            wanted.is_empty() || wanted.iter().any(|one| has == one.as_str())
        };
        let items = order["items"].as_array().map_or(&[][..], Vec::as_slice);
        among(&self.tables, &order["table_number"])
            && among(&self.statuses, &order["status"])
            && among(&self.ids, &order["id"])
            && (self.stations.is_empty()
                || items.iter().any(|item| {
                    self.stations
                        .iter()
                        .any(|one| item["station"] == one.as_str())
                }))
    }
}

/// Who looks, and at what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eyes {
    pub role: String,
    pub sub: String,
    pub ids: BTreeSet<String>,
    pub wanted: Wanted,
    pub plain: bool,
}

impl Eyes {
    fn is_public(&self) -> bool {
        matches!(self.role.as_str(), "customer" | "kiosk")
    }

    pub fn owns(&self, order: &Value) -> bool {
        order["created_by"] == self.sub.as_str()
            || order["id"].as_str().is_some_and(|id| self.ids.contains(id))
    }

    fn sees(&self, order: &Value) -> bool {
        !self.is_public() || self.owns(order)
    }

    /// An order of the live set, as these eyes get it.
    fn shown(&self, order: &Rc<Value>) -> Option<Rc<Value>> {
        let shown = self.wanted.orders() && self.sees(order) && self.wanted.order(order);
        shown.then(|| {
            if self.is_public() {
                Rc::new(self.encoded(order))
            } else {
                Rc::clone(order)
            }
        })
    }

    /// An order without what is not for the public.
    fn encoded(&self, order: &Value) -> Value {
        let mut order = order.clone();
        if self.is_public()
            && let Some(Value::Object(metadata)) = order.get_mut("metadata")
        {
            metadata.remove("private");
        }
        order
    }
}

struct Recorded {
    frame: Rc<Value>,
    /// Whose change it is, where it is one order's.
    order: Option<String>,
}

/// An order right after an event; `None` when that took it away.
type Version = (u64, Option<Rc<Value>>);

/// Everything that a disk ever held, and each order as it was at each event.
#[derive(Default, Clone)]
pub struct History {
    events: Vec<Rc<Recorded>>,
    versions: BTreeMap<String, Vec<Version>>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} events", self.events.len())
    }
}

impl History {
    pub fn head(&self) -> u64 {
        self.events.len() as u64
    }

    pub fn frame(&self, seq: u64) -> Option<&Value> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.events.get(index).map(|event| &*event.frame)
    }

    pub fn frames(&self) -> impl Iterator<Item = &Value> {
        self.events.iter().map(|event| &*event.frame)
    }

    /// An order as it was right after an event.
    pub fn order_at(&self, id: &str, seq: u64) -> Option<&Rc<Value>> {
        let versions = self.versions.get(id)?;
        let next = versions.partition_point(|&(at, _)| at <= seq);
        versions.get(next.checked_sub(1)?)?.1.as_ref()
    }

    pub fn push(&mut self, text: &str) {
        let frame: Value = serde_json::from_str(text).expect("the disk holds JSON");
        let seq = self.head() + 1;
        holds!(
            "durable",
            frame["seq"].as_u64() == Some(seq),
            "event {} is stored after {}",
            frame["seq"],
            seq - 1
        );
        let payload = &frame["payload"];
        let at = &frame["timestamp"];
        let named = payload["order_id"].as_str().map(str::to_owned);
        let mut order = named.clone();
        let mut put = |id: &str, order: Option<Value>| {
            let versions = self.versions.entry(id.to_owned()).or_default();
            versions.push((seq, order.map(Rc::new)));
        };
        match frame["type"].as_str().unwrap_or_default() {
            "order:created" | "order:updated" => {
                let id = payload["order"]["id"].as_str().expect("orders have ids");
                order = Some(id.to_owned());
                put(id, Some(payload["order"].clone()));
            }
            "order:deleted" => put(&named.unwrap(), None),
            "orders:archived" => {
                for id in payload["order_ids"].as_array().unwrap() {
                    put(id.as_str().unwrap(), None);
                }
            }
            kind @ ("order:status_changed" | "order:item_status_changed") => {
                let id = named.unwrap();
                let next = self.order_at(&id, seq).map(|order| Value::clone(order));
                let Some(mut next) = next else {
                    panic!("[applied] event {seq} changes {id}, which is not there");
                };
                let status = payload["status"].clone();
                if kind == "order:status_changed" {
                    if status == "completed" {
                        next["completed_at"] = at.clone();
                    }
                    next["status"] = status;
                } else {
                    for item in next["items"].as_array_mut().into_iter().flatten() {
                        if item["id"] == payload["item_id"] {
                            item["status"] = status.clone();
                        }
                    }
                }
                next["updated_at"] = at.clone();
                let versions = self.versions.entry(id).or_default();
                versions.push((seq, Some(Rc::new(next))));
            }
            _ => {}
        }
        self.events.push(Rc::new(Recorded {
            frame: Rc::new(frame),
            order,
        }));
    }

    /// The live set right after an event, as these eyes get it.
    pub fn set_at(&self, seq: u64, eyes: &Eyes) -> BTreeMap<String, Rc<Value>> {
        let orders = self.versions.keys().filter_map(|id| {
            let order = eyes.shown(self.order_at(id, seq)?)?;
            Some((id.clone(), order))
        });
        orders.collect()
    }

    /// An event as these eyes get it; `None` when it is not for them.
    pub fn shown(&self, seq: u64, eyes: &Eyes) -> Option<Rc<Value>> {
        let event = self
            .events
            .get(usize::try_from(seq.checked_sub(1)?).ok()?)?;
        let kind = event.frame["type"].as_str()?;
        let around = |id: &str| [self.order_at(id, seq - 1), self.order_at(id, seq)];
        let of_orders = kind.starts_with("order:") || kind == "orders:archived";
        let payment = kind.starts_with("payment:");
        if !eyes.wanted.kind(kind) {
            return None;
        }
        let mut only = None;
        let mut left = false;
        if eyes.is_public() && (of_orders || payment) {
            if kind == "orders:archived" {
                let mut ids = event.frame["payload"]["order_ids"].as_array()?.clone();
                ids.retain(|id| {
                    let [before, _] = around(id.as_str().unwrap());
                    before.is_some_and(|order| eyes.owns(order))
                });
                if ids.is_empty() {
                    return None;
                }
                only = Some(ids);
            } else {
                let id = event.order.as_deref()?;
                let [before, after] = around(id);
                let owns = |order: Option<&Rc<Value>>| order.is_some_and(|order| eyes.owns(order));
                let named = eyes.ids.contains(id);
                if !(owns(before) || owns(after) || named) {
                    return None;
                }
                left = !owns(after) && after.is_some() && !named;
            }
        } else if eyes.is_public() {
            if !kind.starts_with("menu:") {
                return None;
            }
        } else if eyes.role == "kitchen" && payment {
            return None;
        }
        if kind.starts_with("order:")
            && let Some(id) = event.order.as_deref()
        {
            let mut known = around(id).into_iter().flatten().peekable();
            if known.peek().is_some() && !known.any(|order| eyes.wanted.order(order)) {
                return None;
            }
        }
        if !eyes.is_public() && !eyes.plain {
            return Some(Rc::clone(&event.frame));
        }
        let mut frame = (*event.frame).clone();
        if let Some(ids) = only {
            frame["payload"]["order_ids"] = Value::Array(ids);
        }
        if left {
            frame["type"] = json!("order:deleted");
            frame["payload"] = json!({"order_id": event.order, "reason": "not_visible"});
        }
        if eyes.is_public()
            && let Some(Value::Object(payload)) = frame.get_mut("payload")
        {
            payload.remove("updated_by");
            if let Some(order) = payload.get_mut("order") {
                *order = eyes.encoded(order);
            }
        }
        if eyes.plain {
            let kind = frame["type"].as_str()?.to_owned();
            let twins = matches!(
                kind.as_str(),
                "order:deleted"
                    | "order:status_changed"
                    | "order:item_status_changed"
                    | "orders:archived"
            );
            if let Some(payload) = frame["payload"].as_object_mut().filter(|_| twins) {
                for (snake, camel) in [
                    ("order_id", "orderId"),
                    ("item_id", "itemId"),
                    ("previous_status", "previousStatus"),
                    ("updated_by", "updatedBy"),
                    ("order_ids", "orderIds"),
                ] {
                    if let Some(value) = payload.get(snake).cloned() {
                        payload.insert(camel.to_owned(), value);
                    }
                }
            }
        }
        Some(Rc::new(frame))
    }

    /// The set of somebody who was given the live set at `from` and every event for these eyes since.
    pub fn followed(&self, from: u64, eyes: &Eyes) -> BTreeMap<String, Rc<Value>> {
        let mut set = self.set_at(from, eyes);
        for seq in from + 1..=self.head() {
            if let Some(frame) = self.shown(seq, eyes) {
                follow(&mut set, &frame);
            }
        }
        set
    }
}

/// What an event makes of a set.
pub fn follow(set: &mut BTreeMap<String, Rc<Value>>, frame: &Value) {
    let payload = &frame["payload"];
    let id = payload["order_id"].as_str().unwrap_or_default();
    match frame["type"].as_str().unwrap_or_default() {
        "order:created" | "order:updated" => {
            let order = &payload["order"];
            let id = order["id"].as_str().unwrap_or_default();
            set.insert(id.to_owned(), Rc::new(order.clone()));
        }
        "order:deleted" => {
            set.remove(id);
        }
        "orders:archived" => {
            for id in payload["order_ids"].as_array().into_iter().flatten() {
                set.remove(id.as_str().unwrap_or_default());
            }
        }
        "order:status_changed" => {
            if let Some(order) = set.get_mut(id).map(Rc::make_mut) {
                order["status"] = payload["status"].clone();
                if payload["status"] == "completed" {
                    order["completed_at"] = frame["timestamp"].clone();
                }
                order["updated_at"] = frame["timestamp"].clone();
            }
        }
        "order:item_status_changed" => {
            if let Some(order) = set.get_mut(id).map(Rc::make_mut) {
                for item in order["items"].as_array_mut().into_iter().flatten() {
                    if item["id"] == payload["item_id"] {
                        item["status"] = payload["status"].clone();
                    }
                }
                order["updated_at"] = frame["timestamp"].clone();
            }
        }
        _ => {}
    }
}

const PATH: [&str; 7] = [
    "new",
    "pending",
    "confirmed",
    "preparing",
    "ready",
    "picked-up",
    "completed",
];

/// Whether somebody may do what a command asks, to an order as it was before it.
pub fn permits(who: &Eyes, command: &Value, before: Option<&Rc<Value>>) -> bool {
    let payload = &command["payload"];
    let role = who.role.as_str();
    let staff = matches!(role, "manager" | "service");
    let kind = match command["type"].as_str().unwrap_or_default() {
        "order:update_status" if payload["status"] == "cancelled" => "order:cancel",
        kind => kind,
    };
    if kind == "order:create" {
        return role != "kitchen";
    }
    let Some(before) = before.filter(|order| who.sees(order)) else {
        return false;
    };
    let rank = |status: &Value| PATH.iter().position(|&one| *status == one).unwrap_or(9);
    let (from, to) = (rank(&before["status"]), rank(&payload["status"]));
    match kind {
        "order:cancel" => {
            from <= match role {
                "customer" | "kiosk" if who.owns(before) => 1,
                "server" => 2,
                "manager" | "service" => 4,
                _ => return false,
            }
        }
        "order:update_status" if to > from => {
            staff || role == "server" || (role == "kitchen" && to <= 5)
        }
        "order:update_status" => {
            role == "manager" || (role == "kitchen" && (2..=4).contains(&from))
        }
        "order:update_item_status" => {
            let to = payload["status"].as_str().unwrap_or_default();
            staff
                || (role == "server" && matches!(to, "served" | "cancelled"))
                || (role == "kitchen" && to != "served")
        }
        _ => false,
    }
}

/// Each order there ever was, as it is now.
pub fn everybody(history: &History, mut look: impl FnMut(&str, Option<&Rc<Value>>)) {
    for id in history.versions.keys() {
        look(id, history.order_at(id, history.head()));
    }
}

impl History {
    /// The events of an order, for a failure's words.
    pub fn about(&self, id: &str) -> Vec<String> {
        let of = self
            .events
            .iter()
            .filter(|event| event.order.as_deref() == Some(id));
        of.map(|event| event.frame.to_string()).collect()
    }

    /// The orders of the live set, as staff sees them.
    pub fn orders(&self) -> impl Iterator<Item = &Rc<Value>> {
        self.versions
            .keys()
            .filter_map(|id| self.order_at(id, self.head()))
    }
}
