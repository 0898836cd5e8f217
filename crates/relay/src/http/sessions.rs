use super::App;
use super::auth::Caller;
use super::orders::json;
use super::problem::Problem;
use crate::clock;
use crate::shard::SessionView;
use crate::voice::Ending;
use crate::voice::board::View;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use tautline_protocol::permission::Operation;
use tautline_protocol::{JsonWriter, limits};
use tokio::time::Instant;

/// How often answers are looked for.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Serialize)]
#[serde(untagged)]
enum AnySession<'a> {
    Orders(&'a SessionView),
    Voice(&'a View),
}

/// `GET /api/v1/sessions`: which screen is there, and how far behind.
pub(super) async fn list(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Response, Problem> {
    App::permit(&caller, Operation::Sessions)?;
    // Who is quiet is asked, and given the time to answer: the view is of now, not of the last heartbeat.
    let until = clock::after(Duration::from_millis(limits::STALLED_MS + 100));
    loop {
        let (own, caller) = (app.clone(), caller.clone());
        let asked = app
            .shard
            .get(move |shard| shard.probe(|restaurant| own.may_use(&caller, restaurant)))
            .await;
        if asked.unwrap_or(0) == 0 || Instant::now() >= until {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let voice = app
        .voice
        .board
        .views(|restaurant| app.may_use(&caller, restaurant));
    let own = app.clone();
    let orders = app
        .shard
        .get(move |shard| shard.sessions(|restaurant| own.may_use(&caller, restaurant)))
        .await;
    let Some(orders) = orders else {
        return Err(Problem::unavailable("the relay is going down"));
    };
    let sessions: Vec<_> = orders
        .iter()
        .map(AnySession::Orders)
        .chain(voice.iter().map(AnySession::Voice))
        .collect();
    let views = serde_json::to_string(&sessions)
        .map_err(|_| Problem::unavailable("the sessions cannot be written down"))?;
    Ok(json(
        StatusCode::OK,
        JsonWriter::object()
            .raw("sessions", &views)
            .u64("count", sessions.len() as u64)
            .end(),
    ))
}

/// `DELETE /api/v1/sessions/{id}`: closed 1000.
pub(super) async fn close(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    App::permit(&caller, Operation::Sessions)?;
    let may_see = |restaurant: &str| app.may_use(&caller, restaurant);
    if app.voice.board.close(&id, Ending::OPERATOR, may_see) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let own = app.clone();
    let closed = app
        .shard
        .get(move |shard| shard.close_session(&id, |restaurant| own.may_use(&caller, restaurant)))
        .await;
    if closed == Some(true) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found("no such session"))
    }
}
