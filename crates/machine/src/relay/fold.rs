//! The live set as the events make it, and what each command does to it (`docs/protocol.md` §1, Commands, Order,
//! items, states).

use super::record::Nack;
use super::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tautline_protocol::order::{Made, Order, order_payload};
use tautline_protocol::request::{Command, Fact};
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

    pub(super) fn snapshot(&self, epoch: Epoch, seq: Seq) -> Snapshot {
        // Room for the head of the frame and the longest sync_id.
        const BODY: usize = limits::SNAPSHOT_PART_BYTES - 512;
        let mut parts: Vec<Arc<str>> = Vec::new();
        let mut part = String::from("[");
        for entry in self.orders.values() {
            let wire = entry.wire.get_or_init(|| entry.order.wire());
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
        Snapshot { epoch, seq, parts }
    }
}

/// What a command comes to, before it has a place in the log.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// The event's type and payload; `None` when nothing changes.
    pub(super) event: Option<(String, String)>,
    /// Orders written or removed.
    pub(super) orders: Vec<(String, Option<Arc<Order>>)>,
    /// The ack's `result`.
    pub(super) result: Option<String>,
}

/// What judging looks at: the speculative state, and who asks when.
pub(super) struct View<'a> {
    pub(super) find: &'a dyn Fn(&str) -> Option<Arc<Order>>,
    pub(super) restaurant_id: &'a str,
    pub(super) sub: &'a str,
    pub(super) fresh_id: &'a str,
    pub(super) seq: Seq,
    pub(super) at: &'a str,
}

impl View<'_> {
    fn order(&self, id: &str) -> Result<Arc<Order>, Nack> {
        (self.find)(id)
            .ok_or_else(|| Nack::new(NackCode::NotFound, "no such order in the live set"))
    }

    /// Judges a command: what it does, or why not.
    pub(super) fn judge(&self, command: &Command) -> Result<Effect, Nack> {
        match command {
            Command::Create(new) => {
                let made = Made {
                    id: self.fresh_id,
                    restaurant_id: self.restaurant_id,
                    created_by: self.sub,
                    at: self.at,
                    number: self.seq,
                };
                let order = new.as_ref().clone().into_order(made);
                let payload = order_payload(&checked_size(&order)?);
                Ok(Effect {
                    event: Some((event::ORDER_CREATED.to_owned(), payload.clone())),
                    orders: vec![(order.id.clone(), Some(Arc::new(order)))],
                    result: Some(payload),
                })
            }
            Command::Status {
                order_id,
                status,
                expected,
            } => {
                let order = self.order(order_id)?;
                let result = status_payload(order_id, status.as_str(), order.status.as_str()).end();
                self.to_status(&order, *status, *expected, None, result)
            }
            Command::Cancel { order_id, reason } => {
                let order = self.order(order_id)?;
                let after = if order.status == OrderStatus::Cancelled {
                    order.wire()
                } else {
                    order.with_status(OrderStatus::Cancelled, self.at).wire()
                };
                self.to_status(
                    &order,
                    OrderStatus::Cancelled,
                    None,
                    reason.as_deref(),
                    order_payload(&after),
                )
            }
            Command::ItemStatus {
                order_id,
                item_id,
                status,
                expected,
            } => {
                let order = self.order(order_id)?;
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
                let payload = item_payload(order_id, item_id, *status, before)
                    .str("updated_by", self.sub)
                    .end();
                let after = order.with_item_status(item_id, *status, self.at);
                Ok(Effect {
                    event: Some((event::ORDER_ITEM_STATUS_CHANGED.to_owned(), payload)),
                    orders: vec![(after.id.clone(), Some(Arc::new(after)))],
                    result: Some(result),
                })
            }
            Command::Delete { order_id } => {
                self.order(order_id)?;
                Ok(deleted(order_id, None))
            }
            Command::Fact(fact) => self.fact(fact),
            Command::Publish { kind, payload } => Ok(Effect {
                event: Some((kind.clone(), payload.clone())),
                ..Effect::default()
            }),
        }
    }

    fn to_status(
        &self,
        order: &Order,
        status: OrderStatus,
        expected: Option<OrderStatus>,
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
        let payload = status_payload(&order.id, status.as_str(), before.as_str())
            .str("updated_by", self.sub)
            .opt_str("reason", reason)
            .end();
        Ok(Effect {
            event: Some((event::ORDER_STATUS_CHANGED.to_owned(), payload)),
            orders: vec![(
                order.id.clone(),
                Some(Arc::new(order.with_status(status, self.at))),
            )],
            result: Some(result),
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
            result: None,
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
        result: None,
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
        result: None,
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
