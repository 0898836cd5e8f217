//! What `--dev` adds: tokens for the asking, and trouble (`docs/operations.md`, HTTP). The guard has checked the host.

use super::App;
use super::auth::Caller;
use super::body::Text;
use super::orders::json;
use super::problem::Problem;
use crate::run::End;
use crate::shard::Trouble;
use crate::token::Scope;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use std::collections::HashMap;
use std::time::Duration;
use tautline_protocol::{JsonWriter, Role, is_restaurant_id};

/// Time for the answer to leave before the relay does.
const LAST_WORD: Duration = Duration::from_millis(50);

/// `GET /dev/token`.
pub(super) async fn token(
    State(app): State<App>,
    query: Query<HashMap<String, String>>,
) -> Result<Response, Problem> {
    let restaurant = query.get("restaurant_id").map_or("demo", String::as_str);
    let role = query.get("role").map_or("kitchen", String::as_str);
    let role = Role::parse(role)
        .ok_or_else(|| Problem::invalid(format!("role: \"{role}\" is not one")))?;
    if !(is_restaurant_id(restaurant) || (restaurant == "*" && role == Role::Service)) {
        return Err(Problem::invalid(
            "restaurant_id: 1 to 64 of A-Z a-z 0-9 . _ ~ -",
        ));
    }
    let ttl = query
        .get("ttl")
        .map_or(Ok(Duration::from_secs(3600)), |ttl| {
            crate::parse::duration(ttl)
        })
        .map_err(Problem::invalid)?;
    let sub = query
        .get("sub")
        .cloned()
        .unwrap_or_else(|| format!("dev-{}", role.as_str()));
    let token = app
        .keys
        .issue(&sub, role, Scope::One(restaurant.to_owned()), ttl)
        .map_err(|fatal| Problem::invalid(fatal.message))?;
    Ok(json(
        StatusCode::OK,
        JsonWriter::object().str("token", &token).end(),
    ))
}

#[derive(Deserialize)]
struct Wanted {
    kind: String,
    session_id: Option<String>,
    ms: Option<u64>,
}

/// `POST /dev/trouble`: for one connection, for those of the caller's restaurant, or without a token for all.
pub(super) async fn trouble(
    State(app): State<App>,
    caller: Option<Caller>,
    Text(body): Text,
) -> Result<Response, Problem> {
    let wanted: Wanted =
        serde_json::from_str(&body).map_err(|error| Problem::invalid(format!("body: {error}")))?;
    let trouble = match wanted.kind.as_str() {
        "cut" => Trouble::Cut,
        "stall" => Trouble::Stall(Duration::from_millis(
            wanted.ms.unwrap_or(60_000).min(3_600_000),
        )),
        "expire" => Trouble::Expire,
        "restart" => {
            let end = app.end.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LAST_WORD).await;
                let _ = end.send(Some(End::Restart));
            });
            return Ok(json(StatusCode::ACCEPTED, "{}".into()));
        }
        other => {
            return Err(Problem::invalid(format!(
                "kind: \"{other}\" is not cut, stall, expire or restart"
            )));
        }
    };
    let (session, own) = (wanted.session_id, app.clone());
    let met = app
        .shard
        .get(move |shard| {
            let may_see = |restaurant: &str| {
                caller
                    .as_ref()
                    .is_none_or(|Caller(caller)| own.may_use(caller, restaurant))
            };
            shard.trouble(trouble, session.as_deref(), may_see)
        })
        .await;
    Ok(json(
        StatusCode::ACCEPTED,
        JsonWriter::object()
            .u64("sessions", met.unwrap_or(0) as u64)
            .end(),
    ))
}
