//! Voice sessions (`docs/protocol.md` §3): calls over WebRTC, sessions over a WebSocket, and those that an upstream
//! answers.
//!
//! One thread, `voice`, owns them all; others come in by [`Handle`]. What a conversation says is
//! [`tautline_machine::relay::voice`]'s to decide, what one session may take up [`talk`]'s. A session is one value: its
//! seat on the [`board`] is a field of it, so every way it can end takes it off the counts.

mod address;
pub(crate) mod answering;
pub(crate) mod board;
mod call;
mod context;
mod ending;
mod endpoint;
mod gate;
mod guests;
mod offer;
mod pace;
mod paths;
pub(crate) mod policies;
pub(crate) mod secrets;
pub(crate) mod sideband;
pub(crate) mod socket;
mod strangers;
pub(crate) mod stream;
mod stun;
pub(crate) mod talk;
mod tcp;
pub(crate) mod upstream;
pub(crate) mod wire;

pub(crate) use answering::Answering;
pub(crate) use board::{Full, Who};
pub(crate) use context::Context;
pub(crate) use ending::{End, Ending};
pub(crate) use endpoint::{Answered, Handle, Parts, Refused, start};
pub(crate) use guests::Guests;
pub(crate) use talk::Terms;

use crate::ids::random_id;
use serde_json::json;
use std::sync::Arc;
use tautline_machine::relay::voice::{ApiError, Heard};

/// What others do to a session.
#[derive(Debug)]
pub(crate) enum Control {
    /// End it.
    End(Ending),
    /// A client's event, from a sideband.
    Event(String),
    /// A sideband is there.
    Join(sideband::Joined),
    /// What came of the connection to its upstream, by that one's number.
    Upstream(u64, Heard),
    /// What became of an order.
    Ordered {
        call_id: String,
        result: Result<String, String>,
    },
}

/// How a session is reached; whoever it leads to may have gone.
pub(crate) type Line = Arc<dyn Fn(Control) + Send + Sync>;

/// The event that says how long a session still lasts. Official clients pass over what they do not know, where an
/// `error` could end a call that is fine.
pub(crate) fn warning(remaining_ms: u64) -> String {
    let expires_at = (crate::clock::wall_ms() + remaining_ms).div_ceil(1000);
    json!({
        "type": "tautline.session.expiring",
        "event_id": format!("event_{}", random_id()),
        "expires_at": expires_at,
        "remaining_ms": remaining_ms,
    })
    .to_string()
}

/// An `error` event of the relay's own.
pub(crate) fn error_event(error: &ApiError) -> String {
    error.to_event(&format!("event_{}", random_id()), None)
}

/// How a session is held; the labels of `tautline_voice_sessions`.
pub(crate) const TRANSPORTS: &[&str] = &[
    "webrtc",
    "websocket",
    "upstream_webrtc",
    "upstream_websocket",
    "voice_stream",
];

/// Why a datagram is not taken, or not sent; the labels of `tautline_udp_dropped_total`.
pub(crate) const DROPPED: &[&str] = &[
    "amplification",
    "ignored",
    "integrity",
    "malformed",
    "no_check",
    "not_checked",
    "not_sent",
    "paths",
    "unknown_name",
    "unknown_source",
];

/// What calls are found by; the labels of `tautline_voice_index`.
pub(crate) const INDEXES: &[&str] = &["calls", "deadlines", "half_open", "names", "sources", "tcp"];
