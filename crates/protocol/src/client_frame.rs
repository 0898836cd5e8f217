//! The frames a client sends, written field by field (`docs/protocol.md` §1).

use crate::{Epoch, JsonWriter, Seq, V1};

/// What `auth` carries; everything but the token is optional.
#[derive(Clone, Copy, Debug, Default)]
pub struct Auth<'a> {
    /// The JWT.
    pub token: &'a str,
    /// The restaurant, unless the token names exactly one.
    pub restaurant_id: Option<&'a str>,
    /// The position to resume from.
    pub resume: Option<(&'a Epoch, Seq)>,
    /// Whether a snapshot is wanted where the position cannot be resumed.
    pub sync: bool,
    /// `{"events":[…],"filters":{…}}`, as JSON.
    pub subscribe: Option<&'a str>,
    /// `{"name":…,"version":…,"instance_id":…}`, as JSON.
    pub client: Option<&'a str>,
}

/// `auth`, the first message of a connection and its renewals; always offers [`V1`].
pub fn auth(auth: Auth<'_>) -> String {
    let resume = auth.resume.map(|(epoch, seq)| {
        JsonWriter::object()
            .str("epoch", epoch.as_str())
            .u64("seq", seq)
            .end()
    });
    let frame = JsonWriter::object()
        .str("type", "auth")
        .str("token", auth.token)
        .opt_str("restaurant_id", auth.restaurant_id)
        .str("protocol", V1)
        .opt_raw("resume", resume.as_deref());
    let frame = if auth.sync {
        frame.bool("sync", true)
    } else {
        frame
    };
    frame
        .opt_raw("subscribe", auth.subscribe)
        .opt_raw("client", auth.client)
        .end()
}

/// A heartbeat; the relay answers with the same timestamp.
pub fn ping(timestamp_ms: u64) -> String {
    let payload = JsonWriter::object().u64("timestamp", timestamp_ms).end();
    JsonWriter::object()
        .str("type", "ping")
        .raw("payload", &payload)
        .end()
}

/// A request for the whole order set, or for what was missed since a position.
pub fn sync(id: Option<&str>, position: Option<(&Epoch, Seq)>) -> String {
    let payload = match position {
        None => JsonWriter::object().bool("request_full_sync", true).end(),
        Some((epoch, seq)) => JsonWriter::object()
            .str("epoch", epoch.as_str())
            .u64("seq", seq)
            .end(),
    };
    JsonWriter::object()
        .str("type", "orders:sync")
        .opt_str("id", id)
        .raw("payload", &payload)
        .end()
}

/// Any other message; `payload` is JSON text.
pub fn command(kind: &str, id: Option<&str>, payload: &str) -> String {
    JsonWriter::object()
        .str("type", kind)
        .opt_str("id", id)
        .raw("payload", payload)
        .end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn auth_carries_only_what_it_has() {
        assert_eq!(
            parsed(&auth(Auth {
                token: "t",
                ..Auth::default()
            })),
            json!({"type":"auth","token":"t","protocol":"tautline.v1"})
        );
        let epoch = Epoch::new("e\"1");
        let full = Auth {
            token: "t",
            restaurant_id: Some("grow"),
            resume: Some((&epoch, 41)),
            sync: true,
            subscribe: Some(r#"{"events":["order:*"]}"#),
            client: Some(r#"{"name":"kds"}"#),
        };
        assert_eq!(
            parsed(&auth(full)),
            json!({"type":"auth","token":"t","restaurant_id":"grow","protocol":"tautline.v1",
                   "resume":{"epoch":"e\"1","seq":41},"sync":true,"subscribe":{"events":["order:*"]},"client":{"name":"kds"}})
        );
    }

    #[test]
    fn sync_asks_for_all_or_for_what_was_missed() {
        assert_eq!(
            parsed(&sync(None, None)),
            json!({"type":"orders:sync","payload":{"request_full_sync":true}})
        );
        let epoch = Epoch::new("e");
        assert_eq!(
            parsed(&sync(Some("s1"), Some((&epoch, 4)))),
            json!({"type":"orders:sync","id":"s1","payload":{"epoch":"e","seq":4}})
        );
    }
}
