//! `POST …/revoke`: tokens that were made before a moment count no more.

use super::App;
use super::auth::Caller;
use super::body::Text;
use super::orders::json;
use super::problem::Problem;
use crate::clock::wall_ms;
use crate::limit;
use crate::revoked::Revocation;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tautline_protocol::permission::Operation;
use tautline_protocol::{JsonWriter, NackCode, limits, rfc3339, rfc3339_ms};

/// A name misspelt must not revoke more than was meant, so none is ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    sub: Option<String>,
    iat_before: Option<Moment>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Moment {
    /// As in a token's `iat`.
    Seconds(f64),
    Text(String),
}

/// What the body means; `now_ms` unless it says otherwise.
fn read(restaurant: String, body: &str, now_ms: u64) -> Result<Revocation, String> {
    let wanted: Wanted = serde_json::from_str(body).map_err(|error| format!("body: {error}"))?;
    let before_ms = match wanted.iat_before {
        None => now_ms,
        Some(Moment::Seconds(seconds)) => (seconds * 1000.0).ceil() as u64,
        Some(Moment::Text(text)) => rfc3339_ms(&text)
            .and_then(|ms| u64::try_from(ms).ok())
            .ok_or("iat_before: an RFC 3339 time or seconds since 1970")?,
    };
    // It would lock out those who come with new tokens.
    if before_ms > now_ms + limits::TOKEN_LEEWAY_MS {
        return Err("iat_before: not in the future".into());
    }
    let sub = match wanted.sub {
        None => String::new(),
        Some(sub) if sub.is_empty() || sub.len() > limits::TOKEN_SUB => {
            return Err(format!("sub: 1 to {} bytes", limits::TOKEN_SUB));
        }
        Some(sub) => sub,
    };
    Ok(Revocation::new(restaurant, sub, before_ms))
}

/// Stored, then in force, then answered.
pub(super) async fn revoke(
    State(app): State<App>,
    Caller(caller): Caller,
    Path(rid): Path<String>,
    Text(body): Text,
) -> Result<Response, Problem> {
    app.admit(&caller, &rid)?;
    App::permit(&caller, Operation::Sessions)?;
    app.writes.take(&caller)?;
    let revocation = read(rid, &body, wall_ms()).map_err(Problem::invalid)?;
    if !app
        .revoked
        .has_room(&revocation.restaurant, &revocation.sub)
    {
        limit::hit(limits::hit::REVOCATIONS);
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            NackCode::Overloaded.as_str(),
            format!(
                "{} revocations are kept for this restaurant; revoke for everyone, without sub",
                limits::REVOCATIONS
            ),
        ));
    }
    if app.store.revoke(revocation.clone()).await.is_err() {
        return Err(Problem::unavailable("the store cannot be written now"));
    }
    app.revoked.add(revocation.clone());
    let before = rfc3339(revocation.iat_before_ms);
    let voice = app.voice.board.revoke(&revocation);
    let closed = app
        .shard
        .get(move |shard| shard.revoke(&revocation))
        .await
        .unwrap_or(0)
        + voice;
    tracing::info!(closed, "tokens were revoked");
    Ok(json(
        StatusCode::OK,
        JsonWriter::object()
            .str("iat_before", &before)
            .u64("closed", closed as u64)
            .end(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_means() {
        let now = 1_800_000_000_000;
        let read = |body: &str| read("grow".into(), body, now);
        let before = |body: &str| read(body).unwrap().iat_before_ms;
        assert_eq!(
            read("{}").unwrap(),
            Revocation::new("grow".into(), String::new(), now)
        );
        assert_eq!(read(r#"{"sub":"ann"}"#).unwrap().sub, "ann");
        assert_eq!(before(r#"{"iat_before":1700000000}"#), 1_700_000_000_000);
        assert_eq!(
            before(r#"{"iat_before":1700000000.0001}"#),
            1_700_000_000_001
        );
        assert_eq!(
            before(r#"{"iat_before":"2023-11-14T22:13:20Z"}"#),
            1_700_000_000_000
        );
        for bad in [
            "",
            "[]",
            r#"{"iat_befor":1}"#,
            r#"{"iat_before":true}"#,
            r#"{"iat_before":"yesterday"}"#,
            r#"{"iat_before":1800000031}"#,
            r#"{"sub":""}"#,
            r#"{"sub":7}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
