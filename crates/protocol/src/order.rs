//! Orders as the relay checks, keeps and sends them (`docs/protocol.md` §1, Order, items, states).
//!
//! Amounts are [`Cents`] read from the decimal text. `customer_phone` is in the stored form only: the wire form,
//! which events, snapshots and acks are made of, leaves it out.

use crate::json::{push_u64, quote};
use crate::time::is_rfc3339;
use crate::{Cents, ItemStatus, JsonWriter, OrderStatus, limits};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// JSON kept as the text it came in: an order's `metadata`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// A choice that changes an item and its price.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Modifier {
    /// The menu's id.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// What people read.
    pub name: String,
    /// What it adds to the item's price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Cents>,
    /// What it is grouped under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
}

/// One line of an order. What a back end that publishes facts left out stays absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Names it within the order.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// The menu's id.
    #[serde(
        default,
        deserialize_with = "opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub menu_item_id: Option<String>,
    /// What people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    /// Of one, without modifiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Cents>,
    /// Of all of them, with modifiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtotal: Option<Cents>,
    /// Choices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<Modifier>,
    /// Wishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub special_instructions: Option<String>,
    /// Where it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// Its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ItemStatus>,
}

/// An order of the live set. What a back end that publishes facts left out stays absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Names it.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restaurant_id: Option<String>,
    /// What is called out.
    #[serde(
        default,
        deserialize_with = "opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub order_number: Option<String>,
    /// `dine-in`, `takeout` and the like.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its state.
    pub status: OrderStatus,
    /// Its lines.
    #[serde(default)]
    pub items: Vec<Item>,
    /// Sum of the lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtotal: Option<Cents>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<Cents>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<Cents>,
    /// `subtotal`, `tax` and `tip` together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Cents>,
    /// `pending` until a back end says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_status: Option<String>,
    /// As a back end says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
    /// `false` for what the relay made: it has no menu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_verified: Option<bool>,
    /// Where it goes.
    #[serde(
        default,
        deserialize_with = "opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub table_number: Option<String>,
    /// Where at the table.
    #[serde(
        default,
        deserialize_with = "opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub seat_number: Option<String>,
    /// Who ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_name: Option<String>,
    /// Never on the wire; see [`Order::stored`].
    #[serde(default, deserialize_with = "opt_text", skip_serializing)]
    pub customer_phone: Option<String>,
    /// For the kitchen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// The publisher's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RawJson>,
    /// When it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_pickup_time: Option<String>,
    /// Whether it is wanted later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_scheduled: Option<bool>,
    /// As a back end says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_ready_time: Option<String>,
    /// The `sub` that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// When it was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
}

/// What the relay adds to a [`NewOrder`].
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// The order's id.
    pub id: &'a str,
    /// The restaurant.
    pub restaurant_id: &'a str,
    /// The `sub` that makes it.
    pub created_by: &'a str,
    /// Now, RFC 3339.
    pub at: &'a str,
    /// The number called out unless one was given.
    pub number: u64,
}

/// A checked order to be made, its sums computed.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOrder(Order);

impl NewOrder {
    /// Reads and checks one; the message says what to change.
    pub fn parse(json: &str) -> Result<Self, String> {
        let draft: Draft = serde_json::from_str(json).map_err(|e| format!("order: {e}"))?;
        draft.check().map(Self)
    }

    /// The order it becomes.
    pub fn into_order(self, made: Made<'_>) -> Order {
        let mut order = self.0;
        for (n, item) in order.items.iter_mut().enumerate() {
            item.id.push_str(made.id);
            item.id.push('.');
            push_u64(&mut item.id, n as u64 + 1);
        }
        order.id.push_str(made.id);
        order.restaurant_id = Some(made.restaurant_id.to_owned());
        order
            .order_number
            .get_or_insert_with(|| format!("{:03}", made.number));
        order.created_by = Some(made.created_by.to_owned());
        order.created_at = Some(made.at.to_owned());
        order.updated_at = Some(made.at.to_owned());
        order
    }
}

impl Order {
    /// Reads an order that a back end states as a fact: its shape is checked, its contents are its own.
    pub fn from_fact(json: &str, restaurant_id: &str) -> Result<Self, String> {
        let order: Self = serde_json::from_str(json).map_err(|e| format!("order: {e}"))?;
        chars("order.id", &order.id, 64)?;
        for (n, item) in order.items.iter().enumerate() {
            chars(&format!("order.items[{n}].id"), &item.id, 128)?;
            if order.items.iter().take(n).any(|other| other.id == item.id) {
                return Err(format!(
                    "order.items[{n}].id: {:?} is there twice; give each item its own id",
                    item.id
                ));
            }
        }
        if order.items.len() > limits::ORDER_ITEMS {
            return Err(format!(
                "order.items: at most {} items",
                limits::ORDER_ITEMS
            ));
        }
        if order
            .restaurant_id
            .as_deref()
            .is_some_and(|id| id != restaurant_id)
        {
            return Err(
                "order.restaurant_id: another restaurant than the one published to; leave it out"
                    .into(),
            );
        }
        for (name, time) in [
            ("created_at", &order.created_at),
            ("updated_at", &order.updated_at),
            ("completed_at", &order.completed_at),
            ("estimated_ready_time", &order.estimated_ready_time),
            ("scheduled_pickup_time", &order.scheduled_pickup_time),
        ] {
            rfc3339(name, time.as_deref())?;
        }
        metadata(order.metadata.as_ref())?;
        Ok(order)
    }

    /// Reads what [`Order::stored`] wrote.
    pub fn from_stored(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The order as events, snapshots and acks carry it: without the phone number.
    pub fn wire(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "strings, integers and checked JSON always serialise"
        )]
        serde_json::to_string(self).expect("an order serialises")
    }

    /// The order as the store keeps it and `GET …/orders/{id}` shows it: with the phone number.
    pub fn stored(&self) -> String {
        let mut json = self.wire();
        if let Some(phone) = &self.customer_phone {
            json.pop();
            json.push_str(",\"customer_phone\":");
            quote(&mut json, phone);
            json.push('}');
        }
        json
    }

    /// The item of that id.
    pub fn item(&self, id: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.id == id)
    }

    /// The change of an `order:status_changed` event, as every fold makes it: the client's must do the same.
    #[must_use]
    pub fn with_status(&self, status: OrderStatus, at: &str) -> Self {
        let mut order = self.clone();
        order.status = status;
        order.updated_at = Some(at.to_owned());
        if status == OrderStatus::Completed {
            order.completed_at = Some(at.to_owned());
        }
        order
    }

    /// The change of an `order:item_status_changed` event.
    #[must_use]
    pub fn with_item_status(&self, item_id: &str, status: ItemStatus, at: &str) -> Self {
        let mut order = self.clone();
        for item in order.items.iter_mut().filter(|item| item.id == item_id) {
            item.status = Some(status);
        }
        order.updated_at = Some(at.to_owned());
        order
    }
}

/// `{"order": …}` around an order's wire form: the payload of `order:created` and `order:updated`, the result of
/// `order:create` and `order:cancel`.
pub fn order_payload(wire: &str) -> String {
    JsonWriter::object().raw("order", wire).end()
}

#[derive(Deserialize)]
struct Draft {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    items: Vec<DraftItem>,
    #[serde(default, deserialize_with = "opt_text")]
    order_number: Option<String>,
    #[serde(default, deserialize_with = "opt_text")]
    table_number: Option<String>,
    #[serde(default, deserialize_with = "opt_text")]
    seat_number: Option<String>,
    customer_name: Option<String>,
    #[serde(default, deserialize_with = "opt_text")]
    customer_phone: Option<String>,
    notes: Option<String>,
    metadata: Option<RawJson>,
    tip: Option<Cents>,
    tax: Option<Cents>,
    scheduled_pickup_time: Option<String>,
    subtotal: Option<Cents>,
    total: Option<Cents>,
}

#[derive(Deserialize)]
struct DraftItem {
    #[serde(default, deserialize_with = "opt_text")]
    menu_item_id: Option<String>,
    name: Option<String>,
    quantity: Option<u32>,
    price: Option<Cents>,
    modifiers: Option<Vec<Modifier>>,
    special_instructions: Option<String>,
    station: Option<String>,
    subtotal: Option<Cents>,
}

impl Draft {
    fn check(self) -> Result<Order, String> {
        let kind = self
            .kind
            .ok_or("order.type: required, for example \"dine-in\" or \"takeout\"")?;
        chars("order.type", &kind, 32)?;
        if self.items.is_empty() || self.items.len() > limits::ORDER_ITEMS {
            return Err(format!(
                "order.items: 1 to {} items, got {}",
                limits::ORDER_ITEMS,
                self.items.len()
            ));
        }
        for (name, value, most) in [
            ("order.order_number", &self.order_number, 32),
            ("order.table_number", &self.table_number, 32),
            ("order.seat_number", &self.seat_number, 32),
            ("order.customer_name", &self.customer_name, 200),
            ("order.customer_phone", &self.customer_phone, 32),
            ("order.notes", &self.notes, 2_000),
        ] {
            if let Some(value) = value {
                at_most(name, value, most)?;
            }
        }
        metadata(self.metadata.as_ref())?;
        rfc3339(
            "order.scheduled_pickup_time",
            self.scheduled_pickup_time.as_deref(),
        )?;

        let mut subtotal = Cents::default();
        let mut items = Vec::with_capacity(self.items.len());
        for (n, item) in self.items.into_iter().enumerate() {
            let item = item.check(n)?;
            subtotal = sum("order.subtotal", subtotal, item.subtotal)?;
            items.push(item);
        }
        let total = sum(
            "order.total",
            sum("order.total", subtotal, self.tax)?,
            self.tip,
        )?;
        given("order.subtotal", self.subtotal, subtotal)?;
        given("order.total", self.total, total)?;

        Ok(Order {
            id: String::new(),
            restaurant_id: None,
            order_number: self.order_number.filter(|number| !number.is_empty()),
            kind: Some(kind),
            status: OrderStatus::New,
            items,
            subtotal: Some(subtotal),
            tax: self.tax,
            tip: self.tip,
            total: Some(total),
            payment_status: Some("pending".into()),
            payment_method: None,
            price_verified: Some(false),
            table_number: self.table_number,
            seat_number: self.seat_number,
            customer_name: self.customer_name,
            customer_phone: self.customer_phone,
            notes: self.notes,
            metadata: self.metadata,
            is_scheduled: self.scheduled_pickup_time.is_some().then_some(true),
            scheduled_pickup_time: self.scheduled_pickup_time,
            estimated_ready_time: None,
            created_by: None,
            created_at: None,
            updated_at: None,
            completed_at: None,
        })
    }
}

impl DraftItem {
    fn check(self, n: usize) -> Result<Item, String> {
        let at = |field: &str| format!("order.items[{n}].{field}");
        let menu_item_id = self
            .menu_item_id
            .ok_or_else(|| format!("{}: required", at("menu_item_id")))?;
        chars(&at("menu_item_id"), &menu_item_id, 64)?;
        let name = self
            .name
            .ok_or_else(|| format!("{}: required", at("name")))?;
        chars(&at("name"), &name, 200)?;
        let quantity = self
            .quantity
            .filter(|q| (1..=limits::ITEM_QUANTITY).contains(q))
            .ok_or_else(|| {
                format!(
                    "{}: required, 1 to {}",
                    at("quantity"),
                    limits::ITEM_QUANTITY
                )
            })?;
        let price = self
            .price
            .ok_or_else(|| format!("{}: required, a decimal such as 12.50", at("price")))?;
        let modifiers = self.modifiers.unwrap_or_default();
        if modifiers.len() > limits::ORDER_ITEMS {
            return Err(format!(
                "{}: at most {}",
                at("modifiers"),
                limits::ORDER_ITEMS
            ));
        }
        let mut one = price;
        for (m, modifier) in modifiers.iter().enumerate() {
            chars(&at(&format!("modifiers[{m}].id")), &modifier.id, 64)?;
            chars(&at(&format!("modifiers[{m}].name")), &modifier.name, 200)?;
            if let Some(category) = &modifier.category {
                at_most(&at(&format!("modifiers[{m}].category")), category, 64)?;
            }
            let adds = modifier
                .price
                .ok_or_else(|| format!("{}: required", at(&format!("modifiers[{m}].price"))))?;
            one = sum(&at("subtotal"), one, Some(adds))?;
        }
        let subtotal = one
            .times(quantity)
            .ok_or_else(|| too_much(&at("subtotal")))?;
        given(&at("subtotal"), self.subtotal, subtotal)?;
        if let Some(wishes) = &self.special_instructions {
            at_most(&at("special_instructions"), wishes, 1_000)?;
        }
        if let Some(station) = &self.station {
            at_most(&at("station"), station, 64)?;
        }
        Ok(Item {
            id: String::new(),
            menu_item_id: Some(menu_item_id),
            name: Some(name),
            quantity: Some(quantity),
            price: Some(price),
            subtotal: Some(subtotal),
            modifiers,
            special_instructions: self.special_instructions,
            station: self.station,
            status: Some(ItemStatus::Pending),
        })
    }
}

fn at_most(name: &str, value: &str, most: usize) -> Result<(), String> {
    if value.chars().count() > most {
        return Err(format!("{name}: at most {most} characters"));
    }
    Ok(())
}

fn chars(name: &str, value: &str, most: usize) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("{name}: must not be empty"));
    }
    at_most(name, value, most)
}

fn rfc3339(name: &str, value: Option<&str>) -> Result<(), String> {
    if value.is_some_and(|value| !is_rfc3339(value)) {
        return Err(format!(
            "{name}: must be an RFC 3339 time such as 2026-11-23T17:30:00Z"
        ));
    }
    Ok(())
}

fn metadata(value: Option<&RawJson>) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    if !value.get().starts_with('{') {
        return Err("order.metadata: must be a JSON object".into());
    }
    if value.get().len() > limits::ORDER_METADATA {
        return Err(format!(
            "order.metadata: at most {} bytes of JSON, got {}",
            limits::ORDER_METADATA,
            value.get().len()
        ));
    }
    Ok(())
}

fn too_much(name: &str) -> String {
    format!("{name}: the sum is over {}", Cents::MAX.to_decimal())
}

fn sum(name: &str, a: Cents, b: Option<Cents>) -> Result<Cents, String> {
    a.plus(b.unwrap_or_default()).ok_or_else(|| too_much(name))
}

fn given(name: &str, given: Option<Cents>, computed: Cents) -> Result<(), String> {
    match given {
        Some(given) if given != computed => Err(format!(
            "{name}: {} was given but the items come to {}; leave it out or correct it",
            given.to_decimal(),
            computed.to_decimal()
        )),
        _ => Ok(()),
    }
}

/// A string, or an integer taken as its digits: table numbers come as either.
struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an integer")
    }
    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }
    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(TextVisitor)
}

fn opt_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Opt;
    impl<'de> Visitor<'de> for Opt {
        type Value = Option<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or an integer")
        }
        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
            text(d).map(Some)
        }
    }
    deserializer.deserialize_option(Opt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const MADE: Made<'_> = Made {
        id: "o1",
        restaurant_id: "grow",
        created_by: "ann",
        at: "2026-11-23T17:00:00.000Z",
        number: 7,
    };

    fn soup() -> Value {
        json!({"type":"dine-in","items":[{"menu_item_id":"m1","name":"Soup","quantity":2,"price":5.5,
            "modifiers":[{"id":"x","name":"Bread","price":1}]}],"table_number":12,"customer_phone":"+41 79","tip":1.05})
    }

    fn with(path: &str, value: Value) -> String {
        let mut order = soup();
        *order.pointer_mut(path).unwrap() = value;
        order.to_string()
    }

    #[test]
    fn the_relay_adds_ids_sums_and_times() {
        let order = NewOrder::parse(&soup().to_string())
            .unwrap()
            .into_order(MADE);
        let wire: Value = serde_json::from_str(&order.wire()).unwrap();
        assert_eq!(
            wire,
            json!({"id":"o1","restaurant_id":"grow","order_number":"007","type":"dine-in","status":"new",
                "items":[{"id":"o1.1","menu_item_id":"m1","name":"Soup","quantity":2,"price":5.5,"subtotal":13.0,
                    "modifiers":[{"id":"x","name":"Bread","price":1.0}],"status":"pending"}],
                "subtotal":13.0,"tip":1.05,"total":14.05,"payment_status":"pending","price_verified":false,
                "table_number":"12","created_by":"ann","created_at":MADE.at,"updated_at":MADE.at})
        );
        assert!(
            order.wire().contains("\"total\":14.05") && order.wire().contains("\"subtotal\":13.00")
        );
    }

    #[test]
    fn the_phone_number_is_kept_and_never_on_the_wire() {
        let order = NewOrder::parse(&soup().to_string())
            .unwrap()
            .into_order(MADE);
        assert!(!order.wire().contains("phone"));
        assert_eq!(Order::from_stored(&order.stored()).unwrap(), order);
        assert_eq!(order.customer_phone.as_deref(), Some("+41 79"));
    }

    #[test]
    fn a_wire_order_round_trips_to_the_byte() {
        let mut order = NewOrder::parse(&soup().to_string())
            .unwrap()
            .into_order(MADE);
        order.metadata = Some(serde_json::from_str(r#"{"b": [1.50, "x"],  "a":1e3}"#).unwrap());
        let wire = order.wire();
        assert_eq!(Order::from_stored(&wire).unwrap().wire(), wire);
    }

    #[test]
    fn refusals_name_the_field_and_what_to_do() {
        let long = "x".repeat(201);
        for (text, part) in [
            (
                with("/items", json!([])),
                "order.items: 1 to 200 items, got 0",
            ),
            (
                with("/items/0/quantity", json!(0)),
                "order.items[0].quantity: required, 1 to 999",
            ),
            (
                with("/items/0/quantity", json!(1000)),
                "order.items[0].quantity",
            ),
            (with("/items/0/quantity", json!(1.5)), "order: "),
            (with("/items/0/price", json!(-1)), "at most two decimals"),
            (with("/items/0/price", json!(0.001)), "at most two decimals"),
            (
                with("/items/0/name", json!(long)),
                "order.items[0].name: at most 200 characters",
            ),
            (
                with("/items/0/name", Value::Null),
                "order.items[0].name: required",
            ),
            (
                with("/items/0/modifiers/0/price", Value::Null),
                "order.items[0].modifiers[0].price: required",
            ),
            (with("/type", json!("")), "order.type: must not be empty"),
            (with("/tip", json!("1")), "at most two decimals"),
            (r#"{"type":"x"}"#.into(), "order.items: 1 to 200"),
            ("{".into(), "order: "),
        ] {
            let message = NewOrder::parse(&text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_given_sum_must_be_the_computed_one() {
        let mut order = soup();
        order["total"] = json!(14.05);
        order["subtotal"] = json!(13);
        assert!(NewOrder::parse(&order.to_string()).is_ok());
        order["total"] = json!(14);
        let message = NewOrder::parse(&order.to_string()).unwrap_err();
        assert_eq!(
            message,
            "order.total: 14.00 was given but the items come to 14.05; leave it out or correct it"
        );
    }

    #[test]
    fn metadata_is_a_small_object() {
        let mut order = soup();
        order["metadata"] = json!([]);
        assert!(
            NewOrder::parse(&order.to_string())
                .unwrap_err()
                .contains("must be a JSON object")
        );
        order["metadata"] = json!({"x": "y".repeat(limits::ORDER_METADATA - 8)});
        assert!(NewOrder::parse(&order.to_string()).is_ok());
        order["metadata"] = json!({"x": "y".repeat(limits::ORDER_METADATA - 7)});
        assert!(
            NewOrder::parse(&order.to_string())
                .unwrap_err()
                .contains("at most 4096 bytes")
        );
    }

    #[test]
    fn a_fact_keeps_what_it_leaves_out_absent() {
        let order =
            Order::from_fact(r#"{"id":5,"status":"ready","items":[{"id":1}]}"#, "grow").unwrap();
        assert_eq!(
            order.wire(),
            r#"{"id":"5","status":"ready","items":[{"id":"1"}]}"#
        );
        for (fact, part) in [
            (r#"{"id":"","status":"ready"}"#, "must not be empty"),
            (r#"{"status":"ready"}"#, "id"),
            (r#"{"id":"1","status":"burnt"}"#, "burnt"),
            (
                r#"{"id":"1","status":"new","restaurant_id":"other"}"#,
                "another restaurant",
            ),
            (
                r#"{"id":"1","status":"new","items":[{"id":"a"},{"id":"a"}]}"#,
                "is there twice",
            ),
            (
                r#"{"id":"1","status":"new","created_at":"now"}"#,
                "RFC 3339",
            ),
        ] {
            let message = Order::from_fact(fact, "grow").unwrap_err();
            assert!(message.contains(part), "{fact}: {message}");
        }
    }

    #[test]
    fn a_status_change_is_the_fold_of_the_paper() {
        let order = NewOrder::parse(&soup().to_string())
            .unwrap()
            .into_order(MADE);
        let done = order.with_status(OrderStatus::Completed, "later");
        assert_eq!(
            (done.updated_at.as_deref(), done.completed_at.as_deref()),
            (Some("later"), Some("later"))
        );
        let off = order.with_status(OrderStatus::Cancelled, "later");
        assert_eq!(
            (off.updated_at.as_deref(), off.completed_at.as_deref()),
            (Some("later"), None)
        );
        let item = order.with_item_status("o1.1", ItemStatus::Ready, "later");
        assert_eq!(item.item("o1.1").unwrap().status, Some(ItemStatus::Ready));
        assert_eq!(
            (item.status, item.updated_at.as_deref()),
            (OrderStatus::New, Some("later"))
        );
    }

    proptest! {
        #[test]
        fn sums_are_exact(lines in proptest::collection::vec((1u32..=999, 0u64..=100_000, 0u64..=1_000), 1..20)) {
            let items: Vec<String> = lines.iter().map(|(quantity, price, extra)| format!(
                r#"{{"menu_item_id":"m","name":"n","quantity":{quantity},"price":{},"modifiers":[{{"id":"e","name":"e","price":{}}}]}}"#,
                Cents::new(*price).unwrap().to_decimal(), Cents::new(*extra).unwrap().to_decimal())).collect();
            let sum: u64 = lines.iter().map(|(quantity, price, extra)| u64::from(*quantity) * (price + extra)).sum();
            let parsed = NewOrder::parse(&format!(r#"{{"type":"x","items":[{}]}}"#, items.join(",")));
            match Cents::new(sum) {
                Some(total) => prop_assert_eq!(parsed.unwrap().into_order(MADE).total, Some(total)),
                None => prop_assert!(parsed.unwrap_err().contains("the sum is over")),
            }
        }
    }
}
