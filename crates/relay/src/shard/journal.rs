//! What the log and the counters are told of a connection (`docs/operations.md`, Logs): names made here, codes and
//! counts. Never what a frame says: tokens, names, phone numbers and notes have no way in.

use super::conn::Conn;
use serde::Deserialize;
use std::borrow::Cow;
use tautline_protocol::{AuthCode, CloseCode};

/// The types of frames that the protocol names. Any other is a stranger's text, and stays out of the log.
const TYPES: [&str; 24] = [
    "ack",
    "auth",
    "auth:failed",
    "auth:success",
    "connected",
    "cursor",
    "degraded",
    "error",
    "nack",
    "order:cancel",
    "order:create",
    "order:created",
    "order:deleted",
    "order:status_changed",
    "order:update_item_status",
    "order:update_status",
    "orders:sync",
    "ping",
    "pong",
    "reset",
    "subscribe",
    "sync_aborted",
    "sync_complete",
    "unsubscribe",
];

/// Close codes that have a counter of their own; a peer may send any of four thousand.
const CODES: [u16; 21] = [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4001, 4003, 4008, 4009,
    4029, 4100, 4101, 4102, 4103,
];

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Relay,
    Client,
    /// Nobody said so: the socket broke, or its peer was silent for too long.
    Network,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Client => "client",
            Self::Network => "network",
        }
    }
}

/// The first frame's type and how many came in one message.
fn frames(text: &str) -> (&'static str, usize) {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let known = |head: &Head<'_>| {
        let named = TYPES.iter().find(|&&known| known == head.kind);
        named.copied().unwrap_or("other")
    };
    if let Ok(head) = serde_json::from_str::<Head<'_>>(text) {
        return (known(&head), 1);
    }
    match serde_json::from_str::<Vec<Head<'_>>>(text) {
        Ok(heads) => (heads.first().map_or("none", known), heads.len()),
        Err(_) => ("unreadable", 1),
    }
}

pub(super) fn frame_in(conn: &Conn, text: &str) {
    // Reading it a second time is for those who asked for everything.
    if tracing::enabled!(tracing::Level::TRACE) {
        let (frame, count) = frames(text);
        tracing::trace!(session = %conn.name, frame, count, bytes = text.len(), "frame in");
    }
}

pub(super) fn frame_out(conn: &Conn, text: &str) {
    if tracing::enabled!(tracing::Level::TRACE) {
        let (frame, _) = frames(text);
        tracing::trace!(session = %conn.name, frame, bytes = text.len(), "frame out");
    }
}

pub(super) fn connected(conn: &Conn, from_page: bool, v1: bool) {
    tracing::debug!(session = %conn.name, from_page, subprotocol = v1, "connected");
}

pub(super) fn authenticated(conn: &Conn, refused: Option<AuthCode>) {
    let result = refused.map_or("ok", AuthCode::as_str);
    tracing::debug!(session = %conn.name, result, renewal = conn.at.is_some(), "token checked");
}

impl Conn {
    /// It ends, for the first reason given: counted, and told to operators where the relay ends a screen that was
    /// authenticated. (Strangers may be sent away by the thousand; those lines are `debug`.)
    pub(super) fn ends(&mut self, code: CloseCode, by: By, why: &str) {
        if self.ended {
            return;
        }
        self.ended = true;
        let counted = CODES.contains(&code.0);
        let label = if counted {
            code.0.to_string()
        } else {
            "other".into()
        };
        metrics::counter!("tautline_closes_total", "code" => label).increment(1);
        let (code, by) = (code.0, by.as_str());
        let restaurant = self
            .at
            .as_ref()
            .map_or_else(String::new, |(_, held)| held.borrow().name.to_string());
        // A drain says once how many it sends away.
        if by == "relay" && self.at.is_some() && code != CloseCode::RESTART.0 {
            tracing::info!(session = %self.name, restaurant, code, by, why, "connection ends");
        } else {
            tracing::debug!(session = %self.name, restaurant, code, by, why, "connection ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_known_by_its_type_and_a_strangers_text_is_not_repeated() {
        assert_eq!(frames(r#"{"type":"auth","token":"eyJ"}"#), ("auth", 1));
        assert_eq!(frames(r#"{"token":"eyJ","type":"ping"}"#), ("ping", 1));
        let batch = r#"[{"type":"order:create","id":"a"},{"type":"ping"}]"#;
        assert_eq!(frames(batch), ("order:create", 2));
        assert_eq!(frames(r#"{"type":"eyJhbGciOi"}"#), ("other", 1));
        for text in [
            "",
            "[]x",
            "eyJhbGciOi",
            r#"{"type":7}"#,
            r#"{"type":"auth""#,
        ] {
            assert_eq!(frames(text), ("unreadable", 1), "{text}");
        }
        assert_eq!(frames("[]"), ("none", 0));
    }
}
