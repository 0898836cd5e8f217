//! Frames as the browser driver sees them: text to a value, a value to a `Head`; and an order as a handle.

use serde_json::{Value, json};
use std::rc::Rc;
use tautline_machine::client::{EpochRef, Head, OrderView, Patch};
use tautline_protocol::limits::Limits;
use tautline_protocol::{AuthCode, Epoch, NackCode, Outcome};

fn epoch(value: &Value, current: Option<&Epoch>) -> EpochRef {
    match value.as_str() {
        None => EpochRef::None,
        Some(name) if current.is_some_and(|current| current.as_str() == name) => EpochRef::Current,
        Some(name) => EpochRef::Other(Epoch::new(name)),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn u32_of(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(0)
}

/// The head of one frame object.
pub fn head(frame: &Value, current: Option<&Epoch>) -> Head {
    let payload = &frame["payload"];
    match frame["type"].as_str().unwrap_or_default() {
        "connected" => Head::Connected {
            auth_required: frame["auth_required"].as_bool().unwrap_or(true),
            heartbeat_ms: frame["heartbeat_ms"].as_u64(),
            max_message: frame["max_message"]
                .as_u64()
                .and_then(|n| u32::try_from(n).ok()),
        },
        "auth:success" => Head::AuthSuccess {
            v1: frame["protocol"] == "tautline.v1",
            renewal: frame["renewal"] == true,
            epoch: frame["epoch"].as_str().map(Epoch::new),
            seq: frame["seq"].as_u64(),
            resumed: frame["resumed"] == true,
            view: frame["view"].as_str().map(str::to_owned),
            expires_in_ms: frame["expires_in_ms"].as_u64(),
            dedupe_ms: frame["dedupe_ms"].as_u64(),
            limits: frame["limits"].is_object().then(|| Limits {
                rate_per_s: u32_of(&frame["limits"]["rate_per_s"]),
                burst: u32_of(&frame["limits"]["burst"]),
                max_message: u32_of(&frame["limits"]["max_message"]),
            }),
            reconnect_spread_ms: frame["reconnect_spread_ms"].as_u64(),
        },
        "auth:failed" => Head::AuthFailed {
            code: AuthCode::parse(&text(&frame["code"])).unwrap_or(AuthCode::TokenInvalid),
            renewal: frame["renewal"] == true,
        },
        "pong" => Head::Pong {
            timestamp: payload["timestamp"].as_u64(),
            seq: payload["seq"].as_u64(),
            reconnect_spread_ms: payload["reconnect_spread_ms"].as_u64(),
        },
        "ack" => Head::Ack {
            id: text(&frame["id"]),
            seq: payload["seq"].as_u64(),
            epoch: epoch(&payload["epoch"], current),
        },
        "nack" => Head::Nack {
            id: text(&frame["id"]),
            code: NackCode::parse(&text(&frame["error"]["code"])).unwrap_or(NackCode::Invalid),
            outcome: Outcome::parse(&text(&frame["error"]["outcome"])).unwrap_or(Outcome::Unknown),
            retry_after_ms: frame["error"]["retry_after_ms"].as_u64(),
        },
        "error" => Head::Refused {
            code: NackCode::parse(&text(&frame["error"]["code"])).unwrap_or(NackCode::Invalid),
            retry_after_ms: frame["error"]["retry_after_ms"].as_u64(),
            ref_type: frame["ref_type"].as_str().map(str::to_owned),
        },
        "cursor" => Head::Cursor {
            epoch: epoch(&frame["epoch"], current),
            from: frame["from"].as_u64().unwrap_or(0),
            to: frame["seq"].as_u64().unwrap_or(0),
        },
        "reset" => Head::Reset {
            epoch: Epoch::new(&text(&frame["epoch"])),
            seq: frame["seq"].as_u64().unwrap_or(0),
        },
        "sync_aborted" => Head::SyncAborted,
        "sync_complete" if payload["status"] == "resumed" => Head::SyncResumed {
            epoch: Epoch::new(&text(&payload["epoch"])),
            seq: payload["seq"].as_u64().unwrap_or(0),
        },
        "sync_complete" => Head::SnapshotPart {
            sync_id: text(&payload["sync_id"]),
            epoch: Epoch::new(&text(&payload["epoch"])),
            seq: payload["seq"].as_u64().unwrap_or(0),
            part: u32_of(&payload["part"]),
            parts: u32_of(&payload["parts"]),
        },
        "" => panic!("a frame without a type: {frame}"),
        _ => Head::Event {
            seq: frame["seq"].as_u64(),
            epoch: epoch(&frame["epoch"], current),
            command_id: frame["command_id"].as_str().map(str::to_owned),
        },
    }
}

/// An order as the page holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct SimOrder(pub Rc<Value>);

impl OrderView for SimOrder {
    fn id(&self) -> Option<String> {
        self.0["id"].as_str().map(str::to_owned)
    }

    fn says_the_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn patched(&self, patch: &Patch, at: Option<&str>) -> Self {
        let mut order = Value::clone(&self.0);
        match patch {
            Patch::Status(status) => {
                order["status"] = json!(status);
                if let (Some(at), "completed") = (at, status.as_str()) {
                    order["completed_at"] = json!(at);
                }
            }
            Patch::ItemStatus { item_id, status } => {
                for item in order["items"].as_array_mut().into_iter().flatten() {
                    if item["id"] == json!(item_id) {
                        item["status"] = json!(status);
                    }
                }
            }
        }
        if let Some(at) = at {
            order["updated_at"] = json!(at);
        }
        Self(Rc::new(order))
    }
}
