//! Frames as the browser's driver reads them (`src/frame.rs`), for values of any shape: the same fields, the same types
//! asked for, the same frames given up as broken.

use serde_json::Value;
use tautline_machine::client::{EpochRef, Head};
use tautline_protocol::limits::Limits;
use tautline_protocol::{AuthCode, Epoch, NackCode, Outcome, Seq, V1};

/// A whole number that JavaScript holds exactly.
fn whole(value: &Value) -> Option<u64> {
    const MAX_SAFE: f64 = 9_007_199_254_740_991.0;
    let number = value.as_f64()?;
    ((0.0..=MAX_SAFE).contains(&number) && number % 1.0 == 0.0).then_some(number as u64)
}

fn small(value: &Value) -> Option<u32> {
    whole(value).and_then(|n| u32::try_from(n).ok())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `Err` when there is something else in its place.
fn seq(frame: &Value) -> Result<Option<Seq>, ()> {
    match &frame["seq"] {
        Value::Null => Ok(None),
        value => whole(value).map(Some).ok_or(()),
    }
}

fn epoch(value: &Value, current: Option<&Epoch>) -> EpochRef {
    match value.as_str() {
        None => EpochRef::None,
        Some(name) if current.is_some_and(|current| current.as_str() == name) => EpochRef::Current,
        Some(name) => EpochRef::Other(Epoch::new(name)),
    }
}

fn nack_code(error: &Value) -> NackCode {
    text(&error["code"])
        .and_then(|code| NackCode::parse(&code))
        .unwrap_or(NackCode::Invalid)
}

/// The head of a frame; `None` for what is no frame.
pub(crate) fn head(frame: &Value, current: Option<&Epoch>) -> Option<Head> {
    let kind = frame.as_object()?.get("type")?.as_str()?;
    if kind.encode_utf16().count() > 64 {
        return None;
    }
    let (payload, error) = (&frame["payload"], &frame["error"]);
    Some(match kind {
        "connected" => Head::Connected {
            auth_required: frame["auth_required"].as_bool().unwrap_or(true),
            heartbeat_ms: whole(&frame["heartbeat_ms"]),
            max_message: small(&frame["max_message"]),
        },
        "auth:success" => {
            let limits = &frame["limits"];
            let limits = || {
                Some(Limits {
                    rate_per_s: small(&limits["rate_per_s"])?,
                    burst: small(&limits["burst"])?,
                    max_message: small(&limits["max_message"])?,
                })
            };
            Head::AuthSuccess {
                v1: frame["protocol"] == V1,
                renewal: frame["renewal"] == true,
                epoch: frame["epoch"].as_str().map(Epoch::new),
                seq: whole(&frame["seq"]),
                resumed: frame["resumed"] == true,
                view: frame["view"].as_str().map(str::to_owned),
                expires_in_ms: whole(&frame["expires_in_ms"]),
                dedupe_ms: whole(&frame["dedupe_ms"]),
                limits: limits(),
                reconnect_spread_ms: whole(&frame["reconnect_spread_ms"]),
            }
        }
        "auth:failed" => Head::AuthFailed {
            code: text(&frame["code"])
                .and_then(|code| AuthCode::parse(&code))
                .unwrap_or(AuthCode::TokenInvalid),
            renewal: frame["renewal"] == true,
        },
        "pong" => Head::Pong {
            timestamp: whole(&payload["timestamp"]),
            seq: whole(&payload["seq"]),
            reconnect_spread_ms: whole(&payload["reconnect_spread_ms"]),
        },
        "cursor" => Head::Cursor {
            epoch: epoch(&frame["epoch"], current),
            from: whole(&frame["from"])?,
            to: whole(&frame["seq"])?,
        },
        "ack" => Head::Ack {
            id: text(&frame["id"])?,
            seq: seq(payload).ok()?,
            epoch: epoch(&payload["epoch"], current),
        },
        "nack" => Head::Nack {
            id: text(&frame["id"])?,
            code: error.is_object().then(|| nack_code(error))?,
            outcome: text(&error["outcome"])
                .and_then(|name| Outcome::parse(&name))
                .unwrap_or(Outcome::Unknown),
            retry_after_ms: whole(&error["retry_after_ms"]),
        },
        "sync_complete" => match payload["status"].as_str() {
            Some("resumed") => Head::SyncResumed {
                epoch: Epoch::new(payload["epoch"].as_str()?),
                seq: whole(&payload["seq"])?,
            },
            Some("snapshot") => {
                payload["orders"].is_array().then_some(())?;
                Head::SnapshotPart {
                    sync_id: text(&payload["sync_id"])?,
                    epoch: Epoch::new(payload["epoch"].as_str()?),
                    seq: whole(&payload["seq"])?,
                    part: small(&payload["part"])?,
                    parts: small(&payload["parts"])?,
                }
            }
            _ => Head::PlainSync {
                has_orders: payload["orders"].is_array(),
            },
        },
        "sync_aborted" => Head::SyncAborted,
        "reset" => Head::Reset {
            epoch: Epoch::new(frame["epoch"].as_str()?),
            seq: whole(&frame["seq"])?,
        },
        "error" => Head::Refused {
            code: error.is_object().then(|| nack_code(error))?,
            retry_after_ms: whole(&error["retry_after_ms"]),
            ref_type: text(&frame["ref_type"]),
        },
        "degraded" => Head::Degraded {
            since: text(&frame["since"]),
        },
        _ => Head::Event {
            seq: seq(frame).ok()?,
            epoch: epoch(&frame["epoch"], current),
            command_id: text(&frame["command_id"]),
        },
    })
}
