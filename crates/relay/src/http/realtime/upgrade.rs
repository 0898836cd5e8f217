//! `GET /v1/realtime`: a session of its own, or a second connection to one that runs (`call_id`).

use super::super::App;
use super::super::problem::Problem;
use super::super::upgrade::{Taken, leave};
use super::Failure;
use super::visitor::{For, Shown, Visitor};
use crate::peer::{Peer, Visit};
use crate::voice::sideband;
use crate::voice::socket::Session;
use crate::voice::wire::Wire;
use crate::ws;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use std::collections::HashMap;
use std::sync::Arc;
use tautline_machine::relay::voice::ApiError;

/// The subprotocol that is spoken.
const REALTIME: &str = "realtime";
/// How a browser, which cannot set a header, sends its secret. Never echoed, never logged.
const KEY: &str = "openai-insecure-api-key.";

fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Which session is asked for.
enum Wanted<'a> {
    /// A new one.
    New { model: Option<&'a str> },
    /// One that runs.
    Running(&'a str),
}

fn wanted(query: &HashMap<String, String>) -> Result<Wanted<'_>, Failure> {
    let given = |name: &str| query.get(name).map(String::as_str);
    if given("intent").is_some() {
        return Err(ApiError::value(
            "intent",
            "Sessions that only transcribe are not held here; name a model.",
        )
        .into());
    }
    match (given("model"), given("call_id")) {
        (Some(_), Some(_)) => {
            Err(ApiError::value("call_id", "Name model or call_id, not both.").into())
        }
        (model, None) => Ok(Wanted::New { model }),
        (None, Some(id)) => Ok(Wanted::Running(id)),
    }
}

/// Answers 101 and hands the socket to the thread of the sessions.
pub(in crate::http) async fn upgrade(
    State(app): State<App>,
    query: Query<HashMap<String, String>>,
    mut request: Request,
) -> Result<Response, Failure> {
    app.takes_sessions()?;
    let shaken = ws::handshake(request.headers())
        .map_err(|no| Failure::invalid(no.status, "websocket_required", no.detail))?;
    let Some(peer) = request.extensions_mut().remove::<Peer>() else {
        return Err(Problem::unavailable("nobody is at the other end").into());
    };
    let headers = request.headers();
    let wanted = wanted(&query)?;
    let key = super::auth::bearer(headers)
        .or_else(|| offered(headers).find_map(|item| item.strip_prefix(KEY)));
    let shown = Shown {
        headers,
        peer: Some(&peer),
        key,
        restaurant: query.get("restaurant_id").map(String::as_str),
    };
    let comes = match wanted {
        Wanted::New { .. } => For::Start,
        Wanted::Running(_) => For::Reach,
    };
    let visitor = app.visitor(&shown, comes)?;
    let visit = peer.visit(headers).map_err(Problem::from)?;
    let echo = offered(headers).any(|item| item == REALTIME);
    let begin = match wanted {
        Wanted::New { model } => new_session(&app, visitor, model)?,
        Wanted::Running(id) => follow(&app, &visitor, id)?,
    };
    let protocol = echo.then_some(REALTIME);
    Ok(leave(request, &shaken, protocol, move |taken| {
        begin(taken, visit)
    }))
}

type Begin = Box<dyn FnOnce(Taken, Visit) + Send>;

/// A session of its own; its place is taken before the handshake, so that there being none is an answer and not a close.
fn new_session(app: &App, visitor: Visitor, model: Option<&str>) -> Result<Begin, Failure> {
    let settings = match model {
        Some(model) => visitor.settings.with_model(model)?,
        None => visitor.settings,
    };
    let voice = Arc::clone(&app.voice);
    let id = format!("sess_{}", crate::ids::random_id());
    let context = voice.context(&id, visitor.who, settings, voice.answering.transport())?;
    Ok(Box::new(move |taken, visit| {
        let (handle, max_message) = (voice.handle.clone(), voice.max_message);
        handle.run(move || async move {
            let _visit = visit;
            let Ok(wire) = Wire::new(taken.socket, &taken.early, max_message) else {
                return;
            };
            let session = Session::begin(wire, context, &voice.answering);
            session.run().await;
        });
    }))
}

fn follow(app: &App, visitor: &Visitor, id: &str) -> Result<Begin, Failure> {
    app.reached(id, visitor)?;
    let line = app.voice.board.line(id).ok_or_else(super::no_such_call)?;
    let voice = Arc::clone(&app.voice);
    Ok(Box::new(move |taken, visit| {
        let (rate, max_message) = (voice.rate, voice.max_message);
        let clock = voice.handle.clock();
        voice.handle.run(move || async move {
            let _visit = visit;
            if let Ok(wire) = Wire::new(taken.socket, &taken.early, max_message) {
                sideband::follow(wire, line, rate, clock).await;
            }
        });
    }))
}
