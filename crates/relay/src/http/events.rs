//! The log by HTTP: publish, read, follow.

use super::App;
use super::auth::Caller;
use super::body::Text;
use super::orders::{json, reached, submit};
use super::problem::Problem;
use super::told;
use crate::clock::{self, wall_ms};
use crate::shard::Author;
use crate::store::Stretch;
use crate::token::Identity;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tautline_machine::relay::{Ack, Answer, Nack};
use tautline_protocol::permission::{Operation, may};
use tautline_protocol::request::http;
use tautline_protocol::{Epoch, JsonWriter, Seq, limits};
use tokio::sync::watch;

const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;
const PAGE_BYTES: usize = 1024 * 1024;
/// A comment keeps proxies from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `POST …/events`.
pub(super) async fn publish(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(rid): Path<String>,
    headers: HeaderMap,
    Text(body): Text,
) -> Result<Response, Problem> {
    if body.trim_start().starts_with('[') {
        return publish_all(&app, &caller, rid, &headers, &body).await;
    }
    let read = http::publish(&rid, &body);
    let ack = submit(&app, caller, rid, &headers, read).await?;
    Ok(json(StatusCode::ACCEPTED, place(&ack)))
}

/// Several events, each judged by itself: 202 when all are stored, 207 when some are.
async fn publish_all(
    app: &App,
    caller: &Identity,
    rid: String,
    headers: &HeaderMap,
    body: &str,
) -> Result<Response, Problem> {
    app.admit(caller, &rid)?;
    if headers.contains_key("idempotency-key") {
        let detail = "Idempotency-Key: not with several events; send those one at a time";
        return Err(Problem::invalid(detail));
    }
    let commands = http::publish_all(&rid, body).map_err(Problem::invalid)?;
    for _ in &commands {
        app.writes.take(caller)?;
    }
    let author = Author {
        scope: caller.speaks_for(),
        key: None,
    };
    let answers = app
        .shard
        .ask(move |shard, done| shard.submit_all(&rid, author, commands, done))
        .await
        .ok_or_else(|| Problem::unavailable("the relay is going down"))?;
    let (mut said, mut refused) = (Vec::with_capacity(answers.len()), Vec::new());
    for answer in answers {
        match answer {
            Answer::Ack(ack) => said.push(place(&ack)),
            Answer::Nack(nack) => {
                said.push(refusal(&nack));
                refused.push(nack);
            }
        }
    }
    let status = match refused.len() {
        0 => StatusCode::ACCEPTED,
        some if some < said.len() => StatusCode::MULTI_STATUS,
        _ => match refused.into_iter().next() {
            Some(nack) => return Err(nack.into()),
            None => StatusCode::ACCEPTED,
        },
    };
    Ok(json(status, format!("[{}]", said.join(","))))
}

fn refusal(nack: &Nack) -> String {
    JsonWriter::object()
        .str("code", nack.code.as_str())
        .str("detail", &nack.message)
        .str("outcome", nack.outcome.as_str())
        .opt_u64("retry_after_ms", nack.retry_after_ms)
        .end()
}

/// Where an event is.
fn place(ack: &Ack) -> String {
    let (epoch, seq) = ack
        .at
        .as_ref()
        .map(|(epoch, seq)| (epoch.as_str(), *seq))
        .unzip();
    JsonWriter::object()
        .opt_u64("seq", seq)
        .opt_str("epoch", epoch)
        .end()
}

#[derive(Debug, Deserialize)]
struct Wanted {
    after: Option<Seq>,
    limit: usize,
}

fn wanted(query: &HashMap<String, String>) -> Result<Wanted, Problem> {
    let number = |name: &str| {
        query
            .get(name)
            .map(|text| {
                text.parse::<u64>()
                    .map_err(|_| Problem::invalid(format!("{name}: a number")))
            })
            .transpose()
    };
    let limit = number("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(PAGE)
        .clamp(1, PAGE_MAX);
    Ok(Wanted {
        after: number("after")?,
        limit,
    })
}

/// `GET …/events`: a page, or a stream for who accepts `text/event-stream`.
pub(super) async fn list(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(rid): Path<String>,
    query: Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.admit(&caller, &rid)?;
    if !may(caller.role, Operation::ReadLog) {
        return Err(Problem::forbidden("only manager and service read the log"));
    }
    let wanted = wanted(&query)?;
    let restaurant: Arc<str> = rid.into();
    let accepts = |kind| {
        headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains(kind))
    };
    if accepts("text/event-stream") {
        return follow(app, caller, restaurant, wanted.after, &headers).await;
    }
    let first = read(&app, &restaurant, wanted.after.unwrap_or(0), wanted.limit).await?;
    // Unless a position was given, from the oldest that is kept.
    let found = match wanted.after {
        None if first.oldest > 1 => read(&app, &restaurant, first.oldest - 1, wanted.limit).await?,
        Some(after) if after + 1 < first.oldest => return Err(trimmed(first.oldest)),
        _ => first,
    };
    let events: Vec<&str> = found.events.iter().map(|event| &**event.stored()).collect();
    let body = JsonWriter::object()
        .opt_str("epoch", found.epoch.as_ref().map(Epoch::as_str))
        .u64("seq", found.head)
        .raw("events", &format!("[{}]", events.join(",")));
    Ok(json(StatusCode::OK, body.end()))
}

fn trimmed(oldest: Seq) -> Problem {
    Problem::new(
        StatusCode::GONE,
        "trimmed",
        format!("the log begins at seq {oldest} now; read the orders instead"),
    )
}

async fn read(
    app: &App,
    restaurant: &Arc<str>,
    after: Seq,
    limit: usize,
) -> Result<Stretch, Problem> {
    app.store
        .stretch(Arc::clone(restaurant), after, limit, PAGE_BYTES)
        .await
        .map_err(|_| Problem::unreadable())
}

struct Follower {
    app: App,
    caller: Identity,
    /// The end of the caller's token, its leeway passed.
    ends: tokio::time::Instant,
    revoked: watch::Receiver<()>,
    restaurant: Arc<str>,
    epoch: Option<Epoch>,
    at: Seq,
    head: watch::Receiver<Seq>,
}

/// From the position given (or `Last-Event-ID`, `<epoch>.<seq>`), else from now on.
async fn follow(
    app: App,
    caller: Identity,
    restaurant: Arc<str>,
    after: Option<Seq>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let head = app
        .shard
        .restaurant(&restaurant, |restaurant| restaurant.head.subscribe())
        .await
        .ok_or_else(Problem::unreadable)?;
    let now = *head.borrow();
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.rsplit_once('.'));
    let last = last.and_then(|(epoch, seq)| Some((Epoch::new(epoch), seq.parse::<Seq>().ok()?)));
    let found = read(&app, &restaurant, now, 1).await?;
    let at = match last {
        Some((epoch, seq)) if found.epoch.as_ref() == Some(&epoch) => seq,
        Some(_) => return Err(trimmed(found.oldest)),
        None => after.unwrap_or(now),
    };
    if at + 1 < found.oldest {
        return Err(trimmed(found.oldest));
    }
    let left_ms = (caller.expires_at_ms + limits::TOKEN_LEEWAY_MS).saturating_sub(wall_ms());
    let follower = Follower {
        revoked: app.revoked.changes(),
        app,
        caller,
        ends: clock::after(Duration::from_millis(left_ms)),
        restaurant,
        epoch: found.epoch,
        at,
        head,
    };
    let frames = stream::unfold(follower, |mut follower| async move {
        let chunk = follower.next().await?;
        Some((Ok::<_, Infallible>(chunk), follower))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

impl Follower {
    /// The next events, or a sign of life; `None` ends the stream: the reader comes back with `Last-Event-ID`.
    async fn next(&mut self) -> Option<Bytes> {
        if self.app.revoked.revokes(&self.caller, &self.restaurant) {
            return None;
        }
        tokio::select! {
            biased;
            () = told(&mut self.app.stopping) => return None,
            () = tokio::time::sleep_until(self.ends) => return None,
            // Perhaps this one: looked at before the next event.
            _ = self.revoked.changed() => return Some(Bytes::from_static(b":\n\n")),
            there = reached(&mut self.head, self.at + 1) => if !there { return None },
            () = clock::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b":\n\n")),
        }
        let found = read(&self.app, &self.restaurant, self.at, PAGE)
            .await
            .ok()?;
        // Another history, or fallen behind the tail.
        if found.epoch != self.epoch || found.events.is_empty() {
            return None;
        }
        let epoch = self.epoch.as_ref()?.as_str();
        let mut out = String::new();
        for event in &found.events {
            self.at = event.seq;
            out.push_str(&format!(
                "id: {epoch}.{}\ndata: {}\n\n",
                event.seq,
                event.stored()
            ));
        }
        Some(out.into())
    }
}
