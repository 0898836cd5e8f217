//! What a subscriber wants to see of what its role may see (`docs/protocol.md` §1, Filters).

use crate::event::OrderEvent;
use crate::order::Order;
use crate::{JsonWriter, OrderStatus, limits};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

/// A filter as a client asks for it; the default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exact names, `prefix:*`, or `*`; `None` is every type.
    events: Option<Vec<String>>,
    tables: Vec<String>,
    stations: Vec<String>,
    statuses: Vec<OrderStatus>,
    order_ids: Vec<String>,
}

/// What filters and visibility look at in an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// `created_by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The stations of its items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stations: Vec<String>,
    /// Its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<OrderStatus>,
}

impl Traits {
    /// Of an order.
    pub fn of(order: &Order) -> Self {
        let mut stations: Vec<String> = Vec::new();
        for station in order.items.iter().filter_map(|item| item.station.as_ref()) {
            if !stations.contains(station) {
                stations.push(station.clone());
            }
        }
        Self {
            owner: order.created_by.clone(),
            table: order.table_number.clone(),
            stations,
            status: Some(order.status),
        }
    }
}

/// One value or several.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Values {
        None(()),
        Number(u64),
        One(String),
        Many(Vec<Value>),
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Number(u64),
        Text(String),
    }
    Ok(match Values::deserialize(from)? {
        Values::None(()) => Vec::new(),
        Values::Number(number) => vec![number.to_string()],
        Values::One(one) => vec![one],
        Values::Many(many) => many
            .into_iter()
            .map(|value| match value {
                Value::Number(number) => number.to_string(),
                Value::Text(text) => text,
            })
            .collect(),
    })
}

#[derive(Deserialize)]
struct Asked {
    events: Option<Vec<String>>,
    filters: Option<Fields>,
}

#[derive(Default, Deserialize)]
struct Fields {
    #[serde(default, alias = "tableNumber", deserialize_with = "one_or_many")]
    table_number: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    station: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    statuses: Vec<String>,
    #[serde(default, alias = "orderIds", deserialize_with = "one_or_many")]
    order_ids: Vec<String>,
}

impl Filter {
    /// Reads the payload of `subscribe`, or the field of that name in `auth`; the message says what to change.
    pub fn parse(json: &str) -> Result<Self, String> {
        let asked: Asked = serde_json::from_str(json).map_err(|e| format!("subscribe: {e}"))?;
        if let Some(events) = &asked.events {
            if events.len() > limits::FILTER_PATTERNS {
                return Err(format!(
                    "events: at most {} patterns",
                    limits::FILTER_PATTERNS
                ));
            }
            if let Some(bad) = events.iter().find(|pattern| !is_pattern(pattern)) {
                let shown: String = bad.chars().take(limits::FILTER_PATTERN_CHARS).collect();
                return Err(format!(
                    "events: {shown:?} is neither a type's name nor \"prefix:*\", of at most {} characters",
                    limits::FILTER_PATTERN_CHARS
                ));
            }
        }
        let fields = asked.filters.unwrap_or_default();
        for (name, values) in [
            ("table_number", &fields.table_number),
            ("station", &fields.station),
            ("statuses", &fields.statuses),
            ("order_ids", &fields.order_ids),
        ] {
            if values.len() > limits::FILTER_VALUES {
                return Err(format!("{name}: at most {} values", limits::FILTER_VALUES));
            }
            if values
                .iter()
                .any(|value| value.chars().count() > limits::FILTER_PATTERN_CHARS)
            {
                return Err(format!(
                    "{name}: values have at most {} characters",
                    limits::FILTER_PATTERN_CHARS
                ));
            }
        }
        let statuses = fields
            .statuses
            .iter()
            .map(|name| {
                OrderStatus::parse(name).ok_or_else(|| {
                    format!(
                        "statuses: each one of {}",
                        OrderStatus::ALL.map(OrderStatus::as_str).join(", ")
                    )
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            events: asked.events,
            tables: fields.table_number,
            stations: fields.station,
            statuses,
            order_ids: fields.order_ids,
        })
    }

    /// The filter in force, as `ack` tells it; also what equal filters have in common.
    pub fn json(&self) -> String {
        fn list(out: JsonWriter, name: &str, values: &[String]) -> JsonWriter {
            if values.is_empty() {
                out
            } else {
                out.strs(name, values.iter().map(String::as_str))
            }
        }
        let filters = list(JsonWriter::object(), "table_number", &self.tables);
        let filters = list(filters, "station", &self.stations);
        let filters = if self.statuses.is_empty() {
            filters
        } else {
            filters.strs("statuses", self.statuses.iter().map(|s| s.as_str()))
        };
        let filters = list(filters, "order_ids", &self.order_ids).end();
        let events: Vec<&str> = match &self.events {
            Some(events) => events.iter().map(String::as_str).collect(),
            None => vec!["*"],
        };
        JsonWriter::object()
            .strs("events", events)
            .raw("filters", &filters)
            .end()
    }

    /// Whether nothing is left out.
    pub fn passes_all(&self) -> bool {
        let every_type = |events: &Vec<String>| events.iter().any(|pattern| pattern == "*");
        self.events.as_ref().is_none_or(every_type) && !self.looks_at_orders()
    }

    /// Whether it looks into orders.
    fn looks_at_orders(&self) -> bool {
        !(self.tables.is_empty()
            && self.stations.is_empty()
            && self.statuses.is_empty()
            && self.order_ids.is_empty())
    }

    /// Whether events of this type pass, whatever they are about. Who wants anything of orders also hears that orders
    /// were archived, or its set would hold them for ever.
    pub fn passes_kind(&self, kind: &str) -> bool {
        let Some(events) = &self.events else {
            return true;
        };
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => pattern == kind,
        };
        events.iter().any(matches)
            || (OrderEvent::parse(kind) == Some(OrderEvent::Archived) && self.wants_orders())
    }

    /// Whether any pattern names something of orders.
    fn wants_orders(&self) -> bool {
        self.events.as_ref().is_none_or(|events| {
            events
                .iter()
                .any(|pattern| pattern == "*" || pattern.starts_with("order:"))
        })
    }

    /// Whether an order passes, for snapshots.
    pub fn passes_order(&self, id: &str, traits: &Traits) -> bool {
        fn among<T: PartialEq>(wanted: &[T], has: impl Fn(&T) -> bool) -> bool {
            wanted.is_empty() || wanted.iter().any(has)
        }
        self.wants_orders()
            && among(&self.tables, |table| traits.table.as_ref() == Some(table))
            && among(&self.stations, |station| traits.stations.contains(station))
            && among(&self.statuses, |status| traits.status == Some(*status))
            && among(&self.order_ids, |wanted| wanted == id)
    }

    /// Whether an event about an order passes: the order matches before or after the change. What is not known of it
    /// holds nothing back.
    pub fn passes_change(&self, id: &str, before: Option<&Traits>, after: Option<&Traits>) -> bool {
        if !self.looks_at_orders() || (before.is_none() && after.is_none()) {
            return true;
        }
        [before, after]
            .into_iter()
            .flatten()
            .any(|traits| self.passes_order(id, traits))
    }
}

fn is_pattern(pattern: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    if pattern.chars().count() > limits::FILTER_PATTERN_CHARS {
        return false;
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => prefix
            .strip_suffix(':')
            .is_some_and(crate::id::is_event_type),
        None => crate::id::is_event_type(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(json: &str) -> Filter {
        Filter::parse(json).unwrap()
    }

    fn traits(table: &str, station: &str, status: OrderStatus) -> Traits {
        Traits {
            owner: None,
            table: Some(table.into()),
            stations: vec![station.into()],
            status: Some(status),
        }
    }

    #[test]
    fn several_filters_are_anded_several_values_ored() {
        let both = filter(
            r#"{"events":["order:*"],"filters":{"table_number":["4","5"],"station":"grill"}}"#,
        );
        let at = |table, station| both.passes_order("o", &traits(table, station, OrderStatus::New));
        assert!(at("4", "grill") && at("5", "grill"));
        assert!(!at("6", "grill") && !at("4", "bar"));
        assert_eq!(
            filter(r#"{"filters":{"table_number":4}}"#),
            filter(r#"{"filters":{"tableNumber":["4"]}}"#)
        );
    }

    #[test]
    fn a_change_passes_when_the_order_matched_before_or_after() {
        let open = filter(r#"{"filters":{"statuses":["new","preparing"]}}"#);
        let (new, ready) = (
            traits("1", "g", OrderStatus::New),
            traits("1", "g", OrderStatus::Ready),
        );
        assert!(open.passes_change("o", Some(&new), Some(&ready)));
        assert!(open.passes_change("o", Some(&ready), Some(&new)));
        assert!(!open.passes_change("o", Some(&ready), Some(&ready)));
        assert!(
            open.passes_change("o", None, None),
            "nothing is known of it"
        );
    }

    #[test]
    fn patterns_are_names_or_prefixes() {
        let some = filter(r#"{"events":["order:*","table:updated"]}"#);
        for (kind, passes) in [
            ("order:created", true),
            ("order:x:y", true),
            ("orders:archived", true),
            ("table:updated", true),
            ("table:moved", false),
            ("menu:updated", false),
        ] {
            assert_eq!(some.passes_kind(kind), passes, "{kind}");
        }
        assert!(!filter(r#"{"events":["menu:*"]}"#).passes_kind("orders:archived"));
        assert!(!filter(r#"{"events":[]}"#).passes_kind("order:created"));
        assert!(filter("{}").passes_all() && filter(r#"{"events":["*"]}"#).passes_all());
        assert!(!some.passes_all());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let many = vec!["order:*"; limits::FILTER_PATTERNS + 1];
        let long = format!("a:{}", "b".repeat(limits::FILTER_PATTERN_CHARS));
        for (json, part) in [
            (
                format!(r#"{{"events":{}}}"#, serde_json::to_string(&many).unwrap()),
                "at most 32",
            ),
            (format!(r#"{{"events":["{long}"]}}"#), "at most 64"),
            (r#"{"events":["order*"]}"#.into(), "prefix:*"),
            (r#"{"events":["Order:x"]}"#.into(), "prefix:*"),
            (r#"{"filters":{"statuses":["done"]}}"#.into(), "picked-up"),
            (r#"{"filters":{"station":{}}}"#.into(), "subscribe"),
            (r#"[]"#.into(), "subscribe"),
            (
                format!(
                    r#"{{"filters":{{"order_ids":{}}}}}"#,
                    serde_json::to_string(&vec!["o"; limits::FILTER_VALUES + 1]).unwrap()
                ),
                "order_ids: at most",
            ),
        ] {
            let error = Filter::parse(&json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_told_is_what_was_asked() {
        let asked = filter(
            r#"{"events":["order:*"],"filters":{"table_number":"4","station":["bar"],"statuses":["new"],"order_ids":["x"]}}"#,
        );
        assert_eq!(filter(&asked.json()), asked);
        assert_eq!(Filter::default().json(), r#"{"events":["*"],"filters":{}}"#);
    }
}
