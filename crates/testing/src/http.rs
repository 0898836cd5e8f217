//! The routes that a page calls, as `crates/relay/src/http` answers them: orders, their changes, events, health.

use crate::relay::Relay;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use tautline_machine::relay::{Ack, Answer, Class, Nack, Scope};
use tautline_protocol::order::Order;
use tautline_protocol::permission::{Operation, may};
use tautline_protocol::request::{Command, http};
use tautline_protocol::server_frame::public_order;
use tautline_protocol::{
    AuthCode, JsonWriter, NackCode, OrderStatus, Seq, is_command_id, rfc3339_ms,
};

/// Orders of one page unless asked otherwise, and at most.
const PAGE: usize = 200;
const PAGE_MAX: usize = 1000;
const RESTAURANTS: &str = "/api/v1/restaurants/";

/// A request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// Without the query.
    pub(crate) path: &'a str,
    /// The query's parameters, an object of texts.
    pub(crate) query: &'a str,
    pub(crate) body: &'a str,
    /// `Idempotency-Key`.
    pub(crate) key: Option<&'a str>,
}

/// Its answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Reply {
    fn json_of(status: u16, body: String) -> Self {
        let kind = "application/json";
        Self { status, kind, body }
    }

    fn problem(status: u16, code: &str, detail: &str) -> Self {
        let body = JsonWriter::object().str("code", code).str("detail", detail);
        Self {
            status,
            kind: "application/problem+json",
            body: body.end(),
        }
    }

    fn invalid(detail: &str) -> Self {
        Self::problem(422, NackCode::Invalid.as_str(), detail)
    }

    fn no_route() -> Self {
        let detail = "the test relay does not have this route";
        Self::problem(404, NackCode::NotFound.as_str(), detail)
    }

    pub(crate) fn unauthorized(code: AuthCode) -> Self {
        let (status, detail) = match code {
            AuthCode::TokenInvalid | AuthCode::IdentityChanged => {
                (401, "the token is not one this relay takes")
            }
            AuthCode::TokenExpired => (401, "the token has run out"),
            AuthCode::RestaurantForbidden | AuthCode::RestaurantRequired => {
                (403, "the token is not for this restaurant")
            }
            AuthCode::RoleUnknown => (403, "no such role"),
        };
        Self::problem(status, code.as_str(), detail)
    }

    pub(crate) fn json(&self) -> String {
        JsonWriter::object()
            .u64("status", u64::from(self.status))
            .str("type", self.kind)
            .str("body", &self.body)
            .end()
    }
}

impl From<Nack> for Reply {
    fn from(nack: Nack) -> Self {
        let body = JsonWriter::object()
            .str("code", nack.code.as_str())
            .str("detail", &nack.message)
            .str("outcome", nack.outcome.as_str())
            .opt_u64("retry_after_ms", nack.retry_after_ms);
        Self {
            status: nack.code.status(),
            kind: "application/problem+json",
            body: body.end(),
        }
    }
}

/// What an order's ack holds.
#[derive(Deserialize)]
struct Made<'a> {
    #[serde(borrow)]
    order: &'a RawValue,
}

impl<'a> Asked<'a> {
    /// The restaurant it is for.
    pub(crate) fn restaurant(&self) -> Option<&'a str> {
        let rest = self.path.strip_prefix(RESTAURANTS)?;
        rest.split('/').next()
    }

    /// What follows the restaurant.
    fn parts(&self) -> Vec<&'a str> {
        let rest = self.path.strip_prefix(RESTAURANTS).unwrap_or_default();
        rest.split('/').skip(1).collect()
    }

    /// A request that is for no restaurant.
    pub(crate) fn outside(&self) -> Reply {
        let said = match self.path {
            "/healthz" => "ok",
            "/readyz" => "ready",
            _ => return Reply::no_route(),
        };
        Reply {
            status: 200,
            kind: "text/plain",
            body: said.to_owned(),
        }
    }
}

impl Relay {
    /// Answers a request of somebody's.
    pub(crate) fn ask(&mut self, scope: &Scope, asked: &Asked<'_>) -> Reply {
        let Some(restaurant) = asked.restaurant() else {
            return Reply::no_route();
        };
        let read = match (asked.method, asked.parts().as_slice()) {
            ("GET", ["orders"]) => return self.list(restaurant, scope, asked.query),
            ("GET", ["orders", id]) => return self.one(restaurant, scope, id),
            ("GET", ["events"]) => return self.log(restaurant, scope),
            ("POST", ["orders"]) => http::create(asked.body),
            ("PATCH", ["orders", id, "status"]) => http::status(id, asked.body),
            ("PATCH", ["orders", id, "items", item, "status"]) => {
                http::item_status(id, item, asked.body)
            }
            ("DELETE", ["orders", id]) => Ok(http::delete(id)),
            ("POST", ["events"]) => http::publish(restaurant, asked.body),
            _ => return Reply::no_route(),
        };
        let (command, hash) = match read {
            Ok(read) => read,
            Err(why) => return Reply::invalid(&why),
        };
        let key = asked.key.map(|key| (key, hash));
        if key.is_some_and(|(key, _)| !is_command_id(key)) {
            return Reply::invalid("Idempotency-Key: 1 to 64 of A-Z a-z 0-9 . _ ~ -");
        }
        match self.judged(restaurant, scope, &command, key) {
            Answer::Ack(ack) => done(&command, &ack),
            Answer::Nack(nack) => nack.into(),
        }
    }

    fn list(&mut self, restaurant: &str, scope: &Scope, query: &str) -> Reply {
        let wanted = match Wanted::read(query) {
            Ok(wanted) => wanted,
            Err(why) => return Reply::invalid(&why),
        };
        let log = &self.restaurant(restaurant).log;
        if log.head() < wanted.min_seq {
            let why = format!("this relay has not seen seq {} yet", wanted.min_seq);
            return Reply::problem(503, NackCode::Unavailable.as_str(), &why);
        }
        let mut orders: Vec<&Arc<Order>> = log
            .orders()
            .filter(|order| scope.sees(order) && wanted.shows(order))
            .collect();
        orders.sort_by_key(|order| place(order));
        let next = (orders.len() > wanted.limit)
            .then(|| orders.get(wanted.limit - 1))
            .flatten()
            .map(|last| place(last));
        let page: Vec<String> = orders
            .iter()
            .take(wanted.limit)
            .map(|order| for_class(scope.class(), order.wire()))
            .collect();
        let body = JsonWriter::object()
            .raw("orders", &format!("[{}]", page.join(",")))
            .opt_str("next_cursor", next.as_deref());
        Reply::json_of(200, body.end())
    }

    fn one(&mut self, restaurant: &str, scope: &Scope, id: &str) -> Reply {
        let log = &self.restaurant(restaurant).log;
        let Some(order) = log.order(id).filter(|order| scope.sees(order)) else {
            return Reply::problem(404, NackCode::NotFound.as_str(), "no such order");
        };
        let json = if scope.may_with(Operation::SeePhone, order) {
            order.stored()
        } else {
            order.wire()
        };
        Reply::json_of(200, for_class(scope.class(), json))
    }

    fn log(&mut self, restaurant: &str, scope: &Scope) -> Reply {
        if !may(scope.role, Operation::ReadLog) {
            let why = "only manager and service read the log";
            return Reply::problem(403, NackCode::Forbidden.as_str(), why);
        }
        let events = self.events(restaurant);
        let log = &self.restaurant(restaurant).log;
        let body = JsonWriter::object()
            .str("epoch", log.epoch().as_str())
            .u64("seq", log.head())
            .raw("events", &events);
        Reply::json_of(200, body.end())
    }
}

/// What is said of a command that holds.
fn done(command: &Command, ack: &Ack) -> Reply {
    let result = ack.result.as_deref().unwrap_or("{}");
    match command {
        Command::Create(_) => {
            let made: Option<Made<'_>> = serde_json::from_str(result).ok();
            let order = made.map_or(result, |made| made.order.get());
            Reply::json_of(201, order.to_owned())
        }
        Command::Delete { .. } => Reply::json_of(204, String::new()),
        Command::Fact(_) | Command::Publish { .. } => {
            let (epoch, seq) = (ack.at.as_ref())
                .map(|(epoch, seq)| (epoch.as_str(), *seq))
                .unzip();
            let body = JsonWriter::object()
                .opt_u64("seq", seq)
                .opt_str("epoch", epoch);
            Reply::json_of(202, body.end())
        }
        Command::Status { .. } | Command::ItemStatus { .. } | Command::Cancel { .. } => {
            Reply::json_of(200, result.to_owned())
        }
    }
}

/// Where a page ends and the next begins: by time of creation, then id. It is the cursor, too.
fn place(order: &Order) -> String {
    let created = order.created_at.as_deref().unwrap_or_default();
    format!("{created} {}", order.id)
}

fn for_class(class: Class, json: String) -> String {
    let public = match class {
        Class::Staff => None,
        Class::Public => public_order(&json),
    };
    public.unwrap_or(json)
}

struct Wanted {
    status: Option<Vec<OrderStatus>>,
    since: Option<i64>,
    limit: usize,
    after: Option<String>,
    min_seq: Seq,
}

impl Wanted {
    fn read(query: &str) -> Result<Self, String> {
        let mut query: BTreeMap<String, String> =
            serde_json::from_str(query).map_err(|error| error.to_string())?;
        let number = |text: Option<String>, name: &str| {
            let number = text.map(|text| text.parse::<u64>());
            number.transpose().map_err(|_| format!("{name}: a number"))
        };
        if query.get("past").is_some_and(|past| past == "true") {
            return Err("past: the test relay keeps no orders that have left the live set".into());
        }
        let status = |names: String| {
            let one = |name: &str| {
                OrderStatus::parse(name.trim())
                    .ok_or_else(|| format!("status: \"{name}\" is not a state"))
            };
            names.split(',').map(one).collect::<Result<Vec<_>, _>>()
        };
        let since = |since: String| rfc3339_ms(&since).ok_or("since: an RFC 3339 time");
        let limit = number(query.remove("limit"), "limit")?;
        let limit = limit.map_or(PAGE, |limit| usize::try_from(limit).unwrap_or(PAGE_MAX));
        Ok(Self {
            status: query.remove("status").map(status).transpose()?,
            since: query.remove("since").map(since).transpose()?,
            limit: limit.clamp(1, PAGE_MAX),
            after: query.remove("cursor"),
            min_seq: number(query.remove("min_seq"), "min_seq")?.unwrap_or(0),
        })
    }

    fn shows(&self, order: &Order) -> bool {
        let status = self.status.as_ref();
        status.is_none_or(|statuses| statuses.contains(&order.status))
            && self
                .after
                .as_ref()
                .is_none_or(|after| place(order) > *after)
            && self
                .since
                .is_none_or(|since| order.updated_at.as_deref().and_then(rfc3339_ms) >= Some(since))
    }
}
