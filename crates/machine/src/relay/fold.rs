//! The live set as the events make it, and what each command does to it (`docs/protocol.md` §1, Commands, Order,
//! items, states).

use super::about::About;
use super::record::Nack;
use super::snapshot::Snapshot;
use super::view::{Class, Scope, Viewer};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tautline_protocol::order::{Made, Order, order_payload};
use tautline_protocol::permission::{Case, Operation, Rule, rule};
use tautline_protocol::request::{Command, Fact};
use tautline_protocol::server_frame::public_order;
use tautline_protocol::{Epoch, ItemStatus, JsonWriter, NackCode, OrderStatus, Seq, event, limits};

#[derive(Debug)]
struct Entry {
    order: Arc<Order>,
    changed_ms: u64,
    /// Made when the first snapshot needs it; an order that does not change is not encoded again.
    wire: OnceLock<String>,
}

/// The committed live set.
#[derive(Debug, Default)]
pub(super) struct Live {
    orders: BTreeMap<String, Entry>,
}

impl Live {
    pub(super) fn put(&mut self, order: Arc<Order>, changed_ms: u64) {
        self.orders.insert(
            order.id.clone(),
            Entry {
                order,
                changed_ms,
                wire: OnceLock::new(),
            },
        );
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.orders.remove(id);
    }

    pub(super) fn get(&self, id: &str) -> Option<&Arc<Order>> {
        self.orders.get(id).map(|entry| &entry.order)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Order>> {
        self.orders.values().map(|entry| &entry.order)
    }

    /// Final orders and when they last changed.
    pub(super) fn finals(&self) -> impl Iterator<Item = (u64, &Arc<Order>)> {
        self.orders
            .values()
            .filter(|entry| entry.order.status.is_final())
            .map(|entry| (entry.changed_ms, &entry.order))
    }

    /// What a viewer is shown of it.
    pub(super) fn snapshot(&self, epoch: Epoch, seq: Seq, viewer: &Viewer) -> Snapshot {
        // Room for the head of the frame and the longest sync_id.
        const BODY: usize = limits::SNAPSHOT_PART_BYTES - 512;
        let mut parts: Vec<Arc<str>> = Vec::new();
        let mut part = String::from("[");
        let public = viewer.scope().class() == Class::Public;
        let every = viewer.shows_every_order();
        for entry in self.orders.values() {
            if !every && !viewer.shows(&entry.order) {
                continue;
            }
            let wire = entry.wire.get_or_init(|| entry.order.wire());
            let stripped = public.then(|| public_order(wire)).flatten();
            let wire = stripped.as_ref().unwrap_or(wire);
            if part.len() > 1 && part.len() + wire.len() + 2 > BODY {
                part.push(']');
                parts.push(std::mem::replace(&mut part, String::from("[")).into());
            }
            if part.len() > 1 {
                part.push(',');
            }
            part.push_str(wire);
        }
        part.push(']');
        parts.push(part.into());
        Snapshot::new(epoch, seq, parts)
    }
}

/// What a command comes to, before it has a place in the log.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// The event's type and payload; `None` when nothing changes.
    pub(super) event: Option<(String, String)>,
    /// Orders written or removed.
    pub(super) orders: Vec<(String, Option<Arc<Order>>)>,
    /// The order that the event is about without changing it.
    pub(super) about: Option<String>,
    /// The ack's `result`.
    pub(super) result: Option<String>,
}

/// What judging looks at: the speculative state, and who asks when.
pub(super) struct View<'a> {
    pub(super) find: &'a dyn Fn(&str) -> Option<Arc<Order>>,
    pub(super) restaurant_id: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) fresh_id: &'a str,
    pub(super) seq: Seq,
    pub(super) at: &'a str,
}

impl View<'_> {
    /// An order it may see: one it may not see is not there for it.
    fn order(&self, id: &str) -> Result<Arc<Order>, Nack> {
        (self.find)(id)
            .filter(|order| self.scope.sees(order))
            .ok_or_else(|| Nack::new(NackCode::NotFound, "no such order in the live set"))
    }

    /// Whether the role may do this at all, to anything.
    fn ever(&self, operation: Operation) -> Result<(), Nack> {
        match rule(self.scope.role, operation) {
            Rule::Never => Err(self.forbidden()),
            _ => Ok(()),
        }
    }

    /// Whether it may do this to this order now.
    fn may(&self, operation: Operation, order: &Order, case: Case) -> Result<(), Nack> {
        let case = Case {
            own: self.scope.owns(&order.id, order.created_by.as_deref()),
            from: Some(order.status),
            ..case
        };
        if rule(self.scope.role, operation).allows(case) {
            Ok(())
        } else {
            Err(self.forbidden())
        }
    }

    fn forbidden(&self) -> Nack {
        Nack::new(
            NackCode::Forbidden,
            format!("the role {} may not do this", self.scope.role.as_str()),
        )
    }

    /// Judges a command: what it does, or why not.
    pub(super) fn judge(&self, command: &Command) -> Result<Effect, Nack> {
        match command {
            Command::Create(new) => {
                self.ever(Operation::Create)?;
                let made = Made {
                    id: self.fresh_id,
                    restaurant_id: self.restaurant_id,
                    created_by: &self.scope.sub,
                    at: self.at,
                    number: self.seq,
                };
                let order = new.as_ref().clone().into_order(made);
                let wire = checked_size(&order)?;
                Ok(Effect {
                    event: Some((event::ORDER_CREATED.to_owned(), order_payload(&wire))),
                    orders: vec![(order.id.clone(), Some(Arc::new(order)))],
                    result: Some(self.order_result(wire)),
                    ..Effect::default()
                })
            }
            Command::Status {
                order_id,
                status: OrderStatus::Cancelled,
                expected,
            } => {
                let order = self.order(order_id)?;
                let result = status_payload(
                    order_id,
                    OrderStatus::Cancelled.as_str(),
                    order.status.as_str(),
                )
                .end();
                self.cancel(&order, *expected, None, result)
            }
            Command::Status {
                order_id,
                status,
                expected,
            } => {
                let order = self.order(order_id)?;
                self.ever(Operation::Forward)?;
                let result = status_payload(order_id, status.as_str(), order.status.as_str()).end();
                let operation = if *status > order.status {
                    Operation::Forward
                } else {
                    Operation::Back
                };
                self.to_status(&order, *status, *expected, operation, None, result)
            }
            Command::Cancel { order_id, reason } => {
                let order = self.order(order_id)?;
                let after = if order.status == OrderStatus::Cancelled {
                    order.wire()
                } else {
                    order.with_status(OrderStatus::Cancelled, self.at).wire()
                };
                let result = self.order_result(after);
                self.cancel(&order, None, reason.as_deref(), result)
            }
            Command::ItemStatus {
                order_id,
                item_id,
                status,
                expected,
            } => {
                let order = self.order(order_id)?;
                self.ever(Operation::ItemStatus)?;
                let before = item_status(&order, item_id)?;
                let result = item_payload(order_id, item_id, *status, before).end();
                if before == *status {
                    return Ok(Effect {
                        result: Some(result),
                        ..Effect::default()
                    });
                }
                if expected.is_some_and(|expected| expected != before) {
                    return Err(Nack::new(
                        NackCode::Conflict,
                        format!("the item is {}", before.as_str()),
                    ));
                }
                if !before.may_become(*status) {
                    return Err(invalid_transition(before.as_str(), status.as_str()));
                }
                let case = Case {
                    item: Some(*status),
                    ..Case::default()
                };
                self.may(Operation::ItemStatus, &order, case)?;
                let payload = item_payload(order_id, item_id, *status, before)
                    .str("updated_by", &self.scope.sub)
                    .end();
                let after = order.with_item_status(item_id, *status, self.at);
                Ok(Effect {
                    event: Some((event::ORDER_ITEM_STATUS_CHANGED.to_owned(), payload)),
                    orders: vec![(after.id.clone(), Some(Arc::new(after)))],
                    result: Some(result),
                    ..Effect::default()
                })
            }
            Command::Delete { order_id } => {
                let order = self.order(order_id)?;
                self.may(Operation::Delete, &order, Case::default())?;
                Ok(deleted(order_id, None))
            }
            Command::Fact(fact) => {
                self.ever(Operation::Publish)?;
                self.fact(fact)
            }
            Command::Publish { kind, payload } => {
                self.ever(Operation::Publish)?;
                Ok(Effect {
                    event: Some((kind.clone(), payload.clone())),
                    about: About::named(kind, payload),
                    ..Effect::default()
                })
            }
        }
    }

    /// `{"order": …}` in the asker's encoding.
    fn order_result(&self, wire: String) -> String {
        let public = match self.scope.class() {
            Class::Staff => None,
            Class::Public => public_order(&wire),
        };
        order_payload(&public.unwrap_or(wire))
    }

    fn cancel(
        &self,
        order: &Order,
        expected: Option<OrderStatus>,
        reason: Option<&str>,
        result: String,
    ) -> Result<Effect, Nack> {
        self.ever(Operation::Cancel)?;
        let to = OrderStatus::Cancelled;
        self.to_status(order, to, expected, Operation::Cancel, reason, result)
    }

    fn to_status(
        &self,
        order: &Order,
        status: OrderStatus,
        expected: Option<OrderStatus>,
        operation: Operation,
        reason: Option<&str>,
        result: String,
    ) -> Result<Effect, Nack> {
        let before = order.status;
        if before == status {
            return Ok(Effect {
                result: Some(result),
                ..Effect::default()
            });
        }
        if expected.is_some_and(|expected| expected != before) {
            return Err(Nack::new(
                NackCode::Conflict,
                format!("the order is {}", before.as_str()),
            ));
        }
        if !before.may_become(status) {
            return Err(invalid_transition(before.as_str(), status.as_str()));
        }
        let case = Case {
            to: Some(status),
            ..Case::default()
        };
        self.may(operation, order, case)?;
        let payload = status_payload(&order.id, status.as_str(), before.as_str())
            .str("updated_by", &self.scope.sub)
            .opt_str("reason", reason)
            .end();
        Ok(Effect {
            event: Some((event::ORDER_STATUS_CHANGED.to_owned(), payload)),
            orders: vec![(
                order.id.clone(),
                Some(Arc::new(order.with_status(status, self.at))),
            )],
            result: Some(result),
            ..Effect::default()
        })
    }

    fn fact(&self, fact: &Fact) -> Result<Effect, Nack> {
        let (kind, payload, id, order) = match fact {
            Fact::Created(order) | Fact::Updated(order) => {
                let kind = if matches!(fact, Fact::Created(_)) {
                    event::ORDER_CREATED
                } else {
                    event::ORDER_UPDATED
                };
                (
                    kind,
                    order_payload(&checked_size(order)?),
                    order.id.clone(),
                    order.clone(),
                )
            }
            Fact::Deleted { order_id, reason } => {
                self.order(order_id)?;
                return Ok(deleted(order_id, reason.as_deref()));
            }
            Fact::Status {
                order_id,
                status,
                previous,
                updated_by,
                reason,
            } => {
                let order = self.order(order_id)?;
                let payload = status_payload(
                    order_id,
                    status.as_str(),
                    previous.unwrap_or(order.status).as_str(),
                )
                .opt_str("updated_by", updated_by.as_deref())
                .opt_str("reason", reason.as_deref())
                .end();
                (
                    event::ORDER_STATUS_CHANGED,
                    payload,
                    order_id.clone(),
                    order.with_status(*status, self.at),
                )
            }
            Fact::ItemStatus {
                order_id,
                item_id,
                status,
                previous,
                updated_by,
            } => {
                let order = self.order(order_id)?;
                let before = previous.map_or_else(|| item_status(&order, item_id), Ok)?;
                item_status(&order, item_id)?;
                let payload = item_payload(order_id, item_id, *status, before)
                    .opt_str("updated_by", updated_by.as_deref())
                    .end();
                let after = order.with_item_status(item_id, *status, self.at);
                (
                    event::ORDER_ITEM_STATUS_CHANGED,
                    payload,
                    order_id.clone(),
                    after,
                )
            }
        };
        Ok(Effect {
            event: Some((kind.to_owned(), payload)),
            orders: vec![(id, Some(Arc::new(order)))],
            ..Effect::default()
        })
    }
}

/// What archiving these orders comes to.
pub(super) fn archived(ids: Vec<String>) -> Effect {
    let payload = JsonWriter::object()
        .strs("order_ids", ids.iter().map(String::as_str))
        .end();
    Effect {
        event: Some((event::ORDERS_ARCHIVED.to_owned(), payload)),
        orders: ids.into_iter().map(|id| (id, None)).collect(),
        ..Effect::default()
    }
}

fn deleted(order_id: &str, reason: Option<&str>) -> Effect {
    let payload = JsonWriter::object()
        .str("order_id", order_id)
        .opt_str("reason", reason)
        .end();
    Effect {
        event: Some((event::ORDER_DELETED.to_owned(), payload)),
        orders: vec![(order_id.to_owned(), None)],
        ..Effect::default()
    }
}

fn status_payload(order_id: &str, status: &str, previous: &str) -> JsonWriter {
    JsonWriter::object()
        .str("order_id", order_id)
        .str("status", status)
        .str("previous_status", previous)
}

fn item_payload(
    order_id: &str,
    item_id: &str,
    status: ItemStatus,
    previous: ItemStatus,
) -> JsonWriter {
    JsonWriter::object()
        .str("order_id", order_id)
        .str("item_id", item_id)
        .str("status", status.as_str())
        .str("previous_status", previous.as_str())
}

fn item_status(order: &Order, item_id: &str) -> Result<ItemStatus, Nack> {
    let item = order
        .item(item_id)
        .ok_or_else(|| Nack::new(NackCode::NotFound, "no such item in this order"))?;
    Ok(item.status.unwrap_or_default())
}

fn invalid_transition(from: &str, to: &str) -> Nack {
    Nack::new(
        NackCode::InvalidTransition,
        format!("{from} may not become {to}"),
    )
}

fn checked_size(order: &Order) -> Result<String, Nack> {
    let wire = order.wire();
    if wire.len() > limits::MAX_ORDER {
        return Err(Nack::over(
            limits::hit::ORDER,
            NackCode::Invalid,
            format!("an order is at most {} bytes of JSON", limits::MAX_ORDER),
        ));
    }
    Ok(wire)
}
