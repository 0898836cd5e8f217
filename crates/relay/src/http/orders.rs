//! Orders by HTTP: the same commands, the same judge, the same memory as the socket's.

use super::App;
use super::auth::Caller;
use super::body::Text;
use super::past;
use super::problem::Problem;
use super::rate::Writes;
use crate::revoked::Revocations;
use crate::shard::{Author, Handle};
use crate::store::PastFrom;
use crate::token::Identity;
use crate::voice::{Control, Line, Who};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tautline_machine::relay::{Ack, Answer, Class, Scope};
use tautline_protocol::order::Order;
use tautline_protocol::permission::Operation;
use tautline_protocol::request::{Command, Key, http};
use tautline_protocol::server_frame::public_order;
use tautline_protocol::{JsonWriter, OrderStatus, Seq, is_command_id, limits, rfc3339_ms};
use tokio::sync::watch;

/// Orders of one page unless asked otherwise, and at most.
const PAGE: usize = 200;
const PAGE_MAX: usize = 1000;
/// How long `min_seq` waits for the log to get there.
const CATCH_UP: Duration = Duration::from_secs(2);

type Answered = Result<Response, Problem>;

pub(super) fn json(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

/// Has a write judged and waits until its answer is durable.
pub(super) async fn submit(
    app: &App,
    caller: Identity,
    restaurant: String,
    headers: &HeaderMap,
    read: Result<(Command, u128), String>,
) -> Result<Arc<Ack>, Problem> {
    app.admit(&caller, &restaurant)?;
    app.writes.take(&caller)?;
    let (command, hash) = read.map_err(Problem::invalid)?;
    let key = match headers.get("idempotency-key") {
        None => None,
        Some(id) => Some(
            id.to_str()
                .ok()
                .filter(|id| is_command_id(id))
                .ok_or_else(|| {
                    Problem::invalid("Idempotency-Key: 1 to 64 of A-Z a-z 0-9 . _ ~ -")
                })?,
        ),
    };
    let key = key.map(|id| Key {
        id: id.to_owned(),
        hash,
    });
    app.desk.judged(&caller, restaurant, key, command).await
}

/// Where the orders of requests and of voice sessions are handed in: one judge, one memory, one rate.
#[derive(Clone)]
pub(crate) struct Desk {
    shard: Handle,
    writes: Arc<Writes>,
    revoked: Arc<Revocations>,
}

impl Desk {
    pub(crate) fn new(shard: Handle, writes: Arc<Writes>, revoked: Arc<Revocations>) -> Self {
        Self {
            shard,
            writes,
            revoked,
        }
    }

    async fn judged(
        &self,
        caller: &Identity,
        restaurant: String,
        key: Option<Key>,
        command: Command,
    ) -> Result<Arc<Ack>, Problem> {
        let author = Author {
            scope: caller.speaks_for(),
            key,
        };
        let answer = self
            .shard
            .ask(move |shard, done| shard.submit_http(&restaurant, author, command, done))
            .await;
        match answer {
            Some(Answer::Ack(ack)) => Ok(ack),
            Some(Answer::Nack(nack)) => Err(nack.into()),
            None => Err(Problem::unanswered()),
        }
    }

    /// An order of a voice session's; its id is the command's, so that a call that is repeated makes one order.
    async fn order(&self, who: &Who, call_id: &str, order: &str) -> Result<String, String> {
        if self.revoked.revokes(&who.identity, &who.restaurant) {
            return Err("the token was revoked".into());
        }
        if !is_command_id(call_id) {
            return Err("the function call has no id that an order can be made under".into());
        }
        let detail = |problem: Problem| problem.detail().to_owned();
        self.writes.take(&who.identity).map_err(detail)?;
        let (command, hash) = http::create(order)?;
        let key = Key {
            id: call_id.to_owned(),
            hash,
        };
        let ack = self
            .judged(&who.identity, who.restaurant.clone(), Some(key), command)
            .await
            .map_err(detail)?;
        let made: Option<Made<'_>> = ack
            .result
            .as_deref()
            .and_then(|result| serde_json::from_str(result).ok());
        made.map(|made| made.order.get().to_owned())
            .ok_or_else(|| "this function call's id belongs to another command".into())
    }

    /// Hands an order in and tells its session what became of it. On the thread of the sessions.
    pub(crate) fn place(&self, who: &Who, call_id: String, order: String, line: Line) {
        let (desk, who) = (self.clone(), who.clone());
        tokio::task::spawn_local(async move {
            let result = desk.order(&who, &call_id, &order).await;
            tracing::debug!(made = result.is_ok(), "a voice session hands in an order");
            line(Control::Ordered { call_id, result });
        });
    }
}

/// What an order's ack holds.
#[derive(Deserialize)]
struct Made<'a> {
    #[serde(borrow)]
    order: &'a RawValue,
}

/// `POST …/orders`.
pub(super) async fn create(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(rid): Path<String>,
    headers: HeaderMap,
    Text(body): Text,
) -> Answered {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let ack = submit(&app, caller, rid.clone(), &headers, http::create(&body)).await?;
    let made: Option<Made<'_>> = ack
        .result
        .as_deref()
        .and_then(|result| serde_json::from_str(result).ok());
    let Some(order) = made.map(|made| made.order.get()) else {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "id_reused",
            "this Idempotency-Key belongs to another kind of request",
        ));
    };
    let mut response = json(StatusCode::CREATED, order.to_owned());
    if let Ok(Named { id }) = serde_json::from_str(order)
        && let Ok(location) = format!("/api/v1/restaurants/{rid}/orders/{id}").parse()
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn result(ack: &Ack) -> Response {
    json(
        StatusCode::OK,
        ack.result.clone().unwrap_or_else(|| "{}".into()),
    )
}

/// `PATCH …/orders/{id}/status`.
pub(super) async fn status(
    State(app): State<App>,
    Caller(caller): Caller,
    Path((rid, id)): Path<(String, String)>,
    headers: HeaderMap,
    Text(body): Text,
) -> Answered {
    Ok(result(
        &*submit(&app, caller, rid, &headers, http::status(&id, &body)).await?,
    ))
}

/// `PATCH …/orders/{id}/items/{item}/status`.
pub(super) async fn item_status(
    State(app): State<App>,
    Caller(caller): Caller,
    Path((rid, id, item)): Path<(String, String, String)>,
    headers: HeaderMap,
    Text(body): Text,
) -> Answered {
    Ok(result(
        &*submit(
            &app,
            caller,
            rid,
            &headers,
            http::item_status(&id, &item, &body),
        )
        .await?,
    ))
}

/// `DELETE …/orders/{id}`.
pub(super) async fn remove(
    State(app): State<App>,
    Caller(caller): Caller,
    Path((rid, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answered {
    submit(&app, caller, rid, &headers, Ok(http::delete(&id))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Waits for a restaurant's log to get there; `false` when the shard has gone.
pub(super) async fn reached(head: &mut watch::Receiver<Seq>, seq: Seq) -> bool {
    head.wait_for(|&head| head >= seq).await.is_ok()
}

/// The live set, whoever may see what of it.
async fn live_set(app: &App, restaurant: &str, min_seq: Seq) -> Result<Vec<Arc<Order>>, Problem> {
    let mut head = app
        .shard
        .restaurant(restaurant, |restaurant| restaurant.head.subscribe())
        .await
        .ok_or_else(Problem::unreadable)?;
    if tokio::time::timeout(CATCH_UP, reached(&mut head, min_seq)).await != Ok(true) {
        return Err(Problem::unavailable(format!(
            "this relay has not seen seq {min_seq} yet"
        )));
    }
    drop(head);
    let orders = app
        .shard
        .restaurant(restaurant, |restaurant| {
            restaurant.log.orders().map(Arc::clone).collect()
        })
        .await;
    orders.ok_or_else(Problem::unreadable)
}

#[derive(Debug, Default)]
struct Wanted {
    status: Option<Vec<OrderStatus>>,
    since: Option<i64>,
    limit: usize,
    cursor: Option<String>,
    min_seq: Seq,
    past: bool,
}

/// A page of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) orders: Vec<String>,
    pub(super) next: Option<String>,
}

/// Where a page ends, and the next begins: by time of creation, then id.
pub(super) fn place(order: &Order) -> (&str, &str) {
    (order.created_at.as_deref().unwrap_or_default(), &order.id)
}

/// `GET …/orders`.
pub(super) async fn list(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(rid): Path<String>,
    query: Query<HashMap<String, String>>,
) -> Answered {
    app.admit(&caller, &rid)?;
    let wanted = Wanted::read(&query)?;
    // Every order of a list, live or past, comes through here.
    let scope = caller.speaks_for();
    let shows = |order: &Order| scope.sees(order) && wanted.shows(order);
    let page = if wanted.past {
        let from = match &wanted.cursor {
            Some(cursor) => past::decode(cursor).ok_or_else(not_ours)?,
            None => past::From::Left(PastFrom {
                left_ms: u64::try_from(wanted.since.unwrap_or(0)).unwrap_or(0),
                id: String::new(),
            }),
        };
        let live = live_set(&app, &rid, wanted.min_seq).await?;
        past::page(&app, &rid, from, live, wanted.limit, shows).await?
    } else {
        let after = match &wanted.cursor {
            Some(cursor) => Some(
                decode_cursor(cursor)
                    .and_then(|text| {
                        text.split_once('\n')
                            .filter(|(_, id)| !id.contains('\n'))
                            .map(|(time, id)| (time.to_owned(), id.to_owned()))
                    })
                    .ok_or_else(not_ours)?,
            ),
            None => None,
        };
        let mut orders = live_set(&app, &rid, wanted.min_seq).await?;
        orders.retain(|order| {
            let beyond = after
                .as_ref()
                .is_none_or(|(time, id)| place(order) > (time.as_str(), id.as_str()));
            beyond && shows(order)
        });
        orders.sort_by(|a, b| place(a).cmp(&place(b)));
        let last = (orders.len() > wanted.limit)
            .then(|| orders.get(wanted.limit - 1))
            .flatten();
        Page {
            next: last.map(|last| {
                let (time, id) = place(last);
                encode_cursor(&format!("{time}\n{id}"))
            }),
            orders: orders
                .iter()
                .take(wanted.limit)
                .map(|order| order.wire())
                .collect(),
        }
    };
    let class = scope.class();
    let orders = page.orders.into_iter().map(|json| for_class(class, json));
    let orders: Vec<String> = orders.collect();
    let body = JsonWriter::object()
        .raw("orders", &format!("[{}]", orders.join(",")))
        .opt_str("next_cursor", page.next.as_deref());
    Ok(json(StatusCode::OK, body.end()))
}

impl Wanted {
    fn read(query: &HashMap<String, String>) -> Result<Self, Problem> {
        fn number<T: std::str::FromStr>(
            query: &HashMap<String, String>,
            name: &str,
        ) -> Result<Option<T>, Problem> {
            query
                .get(name)
                .map(|text| {
                    text.parse()
                        .map_err(|_| Problem::invalid(format!("{name}: a number")))
                })
                .transpose()
        }
        let since = |since: &String| {
            rfc3339_ms(since).ok_or_else(|| Problem::invalid("since: an RFC 3339 time"))
        };
        let past = match query.get("past").map(String::as_str) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::invalid("past: true or false")),
        };
        let most = if past { limits::HISTORY_PAGE } else { PAGE_MAX };
        Ok(Self {
            status: query
                .get("status")
                .map(|names| statuses(names))
                .transpose()?,
            since: query.get("since").map(since).transpose()?,
            cursor: query.get("cursor").cloned(),
            limit: number(query, "limit")?.unwrap_or(PAGE).clamp(1, most),
            min_seq: number(query, "min_seq")?.unwrap_or(0),
            past,
        })
    }

    fn shows(&self, order: &Order) -> bool {
        let status = self.status.as_ref();
        status.is_none_or(|statuses| statuses.contains(&order.status))
            && self
                .since
                .is_none_or(|since| order.updated_at.as_deref().and_then(rfc3339_ms) >= Some(since))
    }
}

fn statuses(names: &str) -> Result<Vec<OrderStatus>, Problem> {
    let one = |name: &str| {
        OrderStatus::parse(name.trim())
            .ok_or_else(|| Problem::invalid(format!("status: \"{name}\" is not a state")))
    };
    names.split(',').map(one).collect()
}

fn not_ours() -> Problem {
    Problem::invalid("cursor: not one of ours")
}

pub(super) fn encode_cursor(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

pub(super) fn decode_cursor(cursor: &str) -> Option<String> {
    BASE64_URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
}

/// An order's JSON as a class of callers gets it.
fn for_class(class: Class, json: String) -> String {
    let public = match class {
        Class::Staff => None,
        Class::Public => public_order(&json),
    };
    public.unwrap_or(json)
}

/// An order's JSON as whoever asks for this one gets it.
fn shown(scope: &Scope, order: &Order) -> String {
    let json = if scope.may_with(Operation::SeePhone, order) {
        order.stored()
    } else {
        order.wire()
    };
    for_class(scope.class(), json)
}

/// `GET …/orders/{id}`, from the live set or the history: the only place that shows `customer_phone`, to roles that may
/// see it.
pub(super) async fn one(
    State(app): State<App>,
    Caller(caller): Caller,
    Path((rid, id)): Path<(String, String)>,
) -> Answered {
    app.admit(&caller, &rid)?;
    let wanted = id.clone();
    let live = app
        .shard
        .restaurant(&rid, move |restaurant| {
            restaurant.log.order(&wanted).map(Arc::clone)
        })
        .await
        .ok_or_else(Problem::unreadable)?;
    let scope = caller.speaks_for();
    let none = || Problem::not_found("no such order, neither live nor in the history");
    if let Some(order) = live {
        return if scope.sees(&order) {
            Ok(json(StatusCode::OK, shown(&scope, &order)))
        } else {
            Err(none())
        };
    }
    // It leaves the live set after it is in the history, so it is in one of them.
    let past = app
        .store
        .past_order(rid.into(), id)
        .await
        .map_err(|_| Problem::unreadable())?
        .filter(|past| scope.sees(&past.order))
        .ok_or_else(none)?;
    Ok(json(
        StatusCode::OK,
        past::with_left_at(shown(&scope, &past.order), past.left_ms),
    ))
}
