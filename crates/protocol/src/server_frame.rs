//! The frames the relay sends, written field by field (`docs/protocol.md` §1).

use crate::json::quote;
use crate::limits::{self, Limits};
use crate::{AuthCode, Epoch, JsonWriter, NackCode, Outcome, Role, Seq, V1, event};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The first frame of every connection.
pub fn connected(heartbeat_ms: u64, max_message: u32, timestamp: &str) -> String {
    JsonWriter::object()
        .str("type", "connected")
        .bool("auth_required", true)
        .u64("heartbeat_ms", heartbeat_ms)
        .u64("max_message", u64::from(max_message))
        .str("timestamp", timestamp)
        .end()
}

/// What every `auth:success` carries.
#[derive(Clone, Copy, Debug)]
pub struct AuthSuccess<'a> {
    /// Whether v1 was offered and is spoken from here on.
    pub v1: bool,
    /// The restaurant.
    pub restaurant_id: &'a str,
    /// The token's `sub`.
    pub user_id: &'a str,
    /// The token's role.
    pub role: Role,
    /// Stands for what the token lets it see: another one than that of a set of orders says that the set is another's.
    pub view: &'a str,
    /// `exp`.
    pub expires_at: &'a str,
    /// How long the token lives yet.
    pub expires_in_ms: u64,
    /// It renews what is there already.
    pub renewal: bool,
    /// Where the connection begins; absent from a renewal, and where there is no log.
    pub place: Option<Place<'a>>,
    /// What to pace by.
    pub limits: Limits,
    /// The window that clients return in after an abnormal close.
    pub reconnect_spread_ms: u64,
    /// Now.
    pub timestamp: &'a str,
}

/// Where a connection begins.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The history in force.
    pub epoch: &'a Epoch,
    /// The head.
    pub seq: Seq,
    /// Whether the missed events follow.
    pub resumed: bool,
}

/// `auth:success`, of a connection or a renewal.
pub fn auth_success(auth: AuthSuccess<'_>) -> String {
    let limits = JsonWriter::object()
        .u64("rate_per_s", u64::from(auth.limits.rate_per_s))
        .u64("burst", u64::from(auth.limits.burst))
        .u64("max_message", u64::from(auth.limits.max_message))
        .end();
    let frame = JsonWriter::object()
        .str("type", "auth:success")
        .opt_str("protocol", auth.v1.then_some(V1))
        .str("restaurant_id", auth.restaurant_id)
        .str("user_id", auth.user_id)
        .str("role", auth.role.as_str())
        .opt_str("view", auth.v1.then_some(auth.view))
        .str("expires_at", auth.expires_at)
        .u64("expires_in_ms", auth.expires_in_ms);
    let frame = match auth.place {
        Some(place) => frame
            .str("epoch", place.epoch.as_str())
            .u64("seq", place.seq)
            .bool("resumed", place.resumed),
        None => frame,
    };
    let frame = if auth.renewal {
        frame.bool("renewal", true)
    } else {
        frame
    };
    frame
        .u64("dedupe_ms", limits::DEDUPE_MS)
        .raw("limits", &limits)
        .u64("reconnect_spread_ms", auth.reconnect_spread_ms)
        .str("timestamp", auth.timestamp)
        .end()
}

/// `auth:failed`, of a connection or a renewal.
pub fn auth_failed(code: AuthCode, message: &str, renewal: bool, timestamp: &str) -> String {
    let frame = JsonWriter::object()
        .str("type", "auth:failed")
        .str("code", code.as_str())
        .str("error", message);
    let frame = if renewal {
        frame.bool("renewal", true)
    } else {
        frame
    };
    frame.str("timestamp", timestamp).end()
}

/// `pong`; `timestamp` is the ping's, JSON text. `seq` is for v1 only, the spread for when it has changed.
pub fn pong(
    timestamp: Option<&str>,
    server_time_ms: u64,
    seq: Option<Seq>,
    reconnect_spread_ms: Option<u64>,
) -> String {
    let payload = JsonWriter::object()
        .opt_raw("timestamp", timestamp)
        .u64("server_time", server_time_ms)
        .opt_u64("seq", seq)
        .opt_u64("reconnect_spread_ms", reconnect_spread_ms)
        .end();
    JsonWriter::object()
        .str("type", "pong")
        .raw("payload", &payload)
        .end()
}

/// `ack`: the command holds and is durable.
pub fn ack(id: &str, at: Option<(&Epoch, Seq)>, result: Option<&str>) -> String {
    let payload = JsonWriter::object()
        .opt_str("epoch", at.map(|(epoch, _)| epoch.as_str()))
        .opt_u64("seq", at.map(|(_, seq)| seq))
        .opt_raw("result", result)
        .end();
    JsonWriter::object()
        .str("type", "ack")
        .str("id", id)
        .raw("payload", &payload)
        .end()
}

/// `nack`: the command was refused.
pub fn nack(
    id: &str,
    code: NackCode,
    message: &str,
    outcome: Outcome,
    retry_after_ms: Option<u64>,
) -> String {
    let error = JsonWriter::object()
        .str("code", code.as_str())
        .str("message", message)
        .str("outcome", outcome.as_str())
        .opt_u64("retry_after_ms", retry_after_ms)
        .end();
    JsonWriter::object()
        .str("type", "nack")
        .str("id", id)
        .raw("error", &error)
        .end()
}

/// `error`: a frame without a usable `id` could not be used.
pub fn error(
    code: NackCode,
    message: &str,
    retry_after_ms: Option<u64>,
    ref_type: Option<&str>,
) -> String {
    let error = JsonWriter::object()
        .str("code", code.as_str())
        .str("message", message)
        .opt_u64("retry_after_ms", retry_after_ms)
        .end();
    JsonWriter::object()
        .str("type", "error")
        .raw("error", &error)
        .opt_str("ref_type", ref_type)
        .end()
}

/// `cursor`: of the events `from+1…to` all that are this connection's have been sent.
pub fn cursor(epoch: &Epoch, from: Seq, to: Seq) -> String {
    JsonWriter::object()
        .str("type", "cursor")
        .str("epoch", epoch.as_str())
        .u64("from", from)
        .u64("seq", to)
        .end()
}

/// `reset`: the log under this connection has another history now; a snapshot follows.
pub fn reset(epoch: &Epoch, seq: Seq) -> String {
    JsonWriter::object()
        .str("type", "reset")
        .str("epoch", epoch.as_str())
        .u64("seq", seq)
        .end()
}

/// `sync_complete` with status `resumed`: nothing is missing up to `seq`.
pub fn sync_resumed(epoch: &Epoch, seq: Seq) -> String {
    let payload = JsonWriter::object()
        .str("status", "resumed")
        .str("epoch", epoch.as_str())
        .u64("seq", seq)
        .end();
    JsonWriter::object()
        .str("type", "sync_complete")
        .raw("payload", &payload)
        .end()
}

/// The beginning of one part of a snapshot: the array of orders and [`SNAPSHOT_END`] complete it. In two pieces,
/// because the orders are shared by all who need them and the `sync_id` is one connection's.
pub fn snapshot_begin(sync_id: &str, epoch: &Epoch, seq: Seq, part: usize, parts: usize) -> String {
    let mut payload = JsonWriter::object()
        .str("status", "snapshot")
        .str("sync_id", sync_id)
        .str("epoch", epoch.as_str())
        .u64("seq", seq)
        .u64("part", part as u64)
        .u64("parts", parts as u64)
        .end();
    payload.pop();
    format!("{{\"type\":\"sync_complete\",\"payload\":{payload},\"orders\":")
}

/// What follows a snapshot part's orders.
pub const SNAPSHOT_END: &str = "}}";

/// `sync_aborted`: the parts sent so far are void, because the log was reset (`epoch`) or a fresh snapshot comes in their
/// place (`replaced`).
pub fn sync_aborted(sync_id: &str, reason: &str) -> String {
    JsonWriter::object()
        .str("type", "sync_aborted")
        .str("sync_id", sync_id)
        .str("reason", reason)
        .end()
}

/// One event as v1 carries it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its type.
    pub kind: &'a str,
    /// Its position.
    pub seq: Seq,
    /// Its history.
    pub epoch: &'a Epoch,
    /// The restaurant.
    pub restaurant_id: &'a str,
    /// When it was judged, RFC 3339.
    pub timestamp: &'a str,
    /// The command that caused it.
    pub command_id: Option<&'a str>,
    /// JSON text.
    pub payload: &'a str,
}

/// An event's v1 frame.
pub fn event(event: Event<'_>) -> String {
    // All but the payload: names, an epoch, a restaurant, a time.
    const AROUND: usize = 320;
    JsonWriter::with_capacity(event.payload.len() + AROUND)
        .str("type", event.kind)
        .u64("seq", event.seq)
        .str("epoch", event.epoch.as_str())
        .str("restaurant_id", event.restaurant_id)
        .str("timestamp", event.timestamp)
        .opt_str("command_id", event.command_id)
        .raw("payload", event.payload)
        .end()
}

/// The camelCase names that older clients read, beside ours.
const TWINS: [(&str, &str); 5] = [
    ("order_id", "orderId"),
    ("item_id", "itemId"),
    ("previous_status", "previousStatus"),
    ("updated_by", "updatedBy"),
    ("order_ids", "orderIds"),
];

/// An event's v1 frame taken apart, so that another reading of it can be made.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    seq: Seq,
    epoch: Epoch,
    #[serde(borrow)]
    restaurant_id: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    command_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// An object's fields, each as the text it is.
type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

impl<'a> Frame<'a> {
    fn read(v1: &'a str) -> Option<Self> {
        serde_json::from_str(v1).ok()
    }

    /// The payload's fields; `None` when it is not an object.
    fn fields(&self) -> Option<Fields<'a>> {
        serde_json::from_str(self.payload.get()).ok()
    }

    fn with(&self, kind: &str, payload: &str) -> String {
        event(Event {
            kind,
            seq: self.seq,
            epoch: &self.epoch,
            restaurant_id: &self.restaurant_id,
            timestamp: &self.timestamp,
            command_id: self.command_id.as_deref(),
            payload,
        })
    }
}

/// Writes an object of fields; the key is quoted because it is somebody else's.
fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (name, value) in fields {
        if out.len() > 1 {
            out.push(',');
        }
        quote(&mut out, name);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

/// An event's frame for the plain dialect, made from its v1 frame; `None` where both are the same text.
pub fn plain_twin(kind: &str, v1: &str) -> Option<String> {
    if !matches!(
        kind,
        event::ORDER_DELETED
            | event::ORDER_STATUS_CHANGED
            | event::ORDER_ITEM_STATUS_CHANGED
            | event::ORDERS_ARCHIVED
    ) {
        return None;
    }
    let frame = Frame::read(v1)?;
    let fields = frame.fields()?;
    let twins = fields.iter().flat_map(|(name, value)| {
        let twin = TWINS.iter().find(|(snake, _)| snake == name);
        [Some(&**name), twin.map(|&(_, twin)| twin)]
            .into_iter()
            .flatten()
            .map(|name| (name, value.get()))
    });
    Some(frame.with(kind, &object(twins)))
}

/// An event's frame for customers and kiosks, without `updated_by` and an order's `metadata.private`; `None` where that
/// is the same text.
pub fn public_twin(v1: &str) -> Option<String> {
    // Most events have neither.
    if !v1.contains("\"updated_by\"") && !v1.contains("\"private\"") {
        return None;
    }
    let frame = Frame::read(v1)?;
    let Some(mut fields) = frame.fields() else {
        // Names that are no Unicode cannot be told apart from those to leave out.
        let object = frame.payload.get().starts_with('{');
        return object.then(|| frame.with(&frame.kind, "{}"));
    };
    let told = fields.remove("updated_by").is_some();
    let order = fields
        .get("order")
        .and_then(|order| public_order(order.get()));
    if !told && order.is_none() {
        return None;
    }
    let payload = object(fields.iter().map(|(name, value)| match (&**name, &order) {
        ("order", Some(order)) => ("order", order.as_str()),
        (name, _) => (name, value.get()),
    }));
    Some(frame.with(&frame.kind, &payload))
}

/// An order's JSON without `metadata.private`; `None` where it has none.
pub fn public_order(wire: &str) -> Option<String> {
    if !wire.contains("\"private\"") {
        return None;
    }
    let fields: Fields<'_> = serde_json::from_str(wire).ok()?;
    let mut metadata: Fields<'_> = serde_json::from_str(fields.get("metadata")?.get()).ok()?;
    metadata.remove("private")?;
    let metadata = object(metadata.iter().map(|(name, value)| (&**name, value.get())));
    Some(object(fields.iter().map(|(name, value)| match &**name {
        "metadata" => ("metadata", metadata.as_str()),
        name => (name, value.get()),
    })))
}

/// What is told of an event to those who saw its order before and may not see it after: it is gone.
pub fn left_twin(v1: &str, order_id: &str) -> Option<String> {
    let payload = JsonWriter::object()
        .str("order_id", order_id)
        .str("reason", "not_visible")
        .end();
    Some(Frame::read(v1)?.with(event::ORDER_DELETED, &payload))
}

/// `orders:archived` as somebody gets it who may see only some of the orders; `frame` is in either dialect.
pub fn archived_twin(frame: &str, ids: &[String]) -> Option<String> {
    let frame = Frame::read(frame)?;
    let mut list = String::from("[");
    for id in ids {
        if list.len() > 1 {
            list.push(',');
        }
        quote(&mut list, id);
    }
    list.push(']');
    let fields = frame.fields()?;
    let payload = object(fields.iter().map(|(name, value)| match &**name {
        name @ ("order_ids" | "orderIds") => (name, list.as_str()),
        name => (name, value.get()),
    }));
    Some(frame.with(&frame.kind, &payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn frames_are_the_papers() {
        let (epoch, limits) = (Epoch::new("e1"), Limits::default());
        assert_eq!(
            parsed(&connected(15_000, 65_536, "T")),
            json!({"type":"connected","auth_required":true,"heartbeat_ms":15000,"max_message":65536,"timestamp":"T"})
        );
        let success = AuthSuccess {
            v1: true,
            restaurant_id: "grow",
            user_id: "ann",
            role: Role::Kitchen,
            view: "5ee",
            expires_at: "X",
            expires_in_ms: 5,
            renewal: false,
            place: Some(Place {
                epoch: &epoch,
                seq: 57,
                resumed: true,
            }),
            limits,
            reconnect_spread_ms: 500,
            timestamp: "T",
        };
        assert_eq!(
            parsed(&auth_success(success)),
            json!({"type":"auth:success","protocol":"tautline.v1","restaurant_id":"grow","user_id":"ann","role":"kitchen",
                "view":"5ee","expires_at":"X","expires_in_ms":5,"epoch":"e1","seq":57,"resumed":true,"dedupe_ms":86_400_000,
                "limits":{"rate_per_s":20,"burst":100,"max_message":65536},"reconnect_spread_ms":500,"timestamp":"T"})
        );
        let renewed = parsed(&auth_success(AuthSuccess {
            renewal: true,
            place: None,
            v1: false,
            ..success
        }));
        assert_eq!(renewed["renewal"], true);
        assert!(
            ["epoch", "seq", "resumed", "protocol", "view"]
                .iter()
                .all(|&name| renewed.get(name).is_none())
        );
        assert_eq!(
            parsed(&auth_failed(AuthCode::TokenExpired, "m", false, "T")),
            json!({"type":"auth:failed","code":"token_expired","error":"m","timestamp":"T"})
        );
        assert_eq!(
            parsed(&pong(Some("1.5"), 9, Some(3), None)),
            json!({"type":"pong","payload":{"timestamp":1.5,"server_time":9,"seq":3}})
        );
        assert_eq!(
            parsed(&ack("c", Some((&epoch, 4)), Some("{}"))),
            json!({"type":"ack","id":"c","payload":{"epoch":"e1","seq":4,"result":{}}})
        );
        assert_eq!(
            parsed(&ack("c", None, None)),
            json!({"type":"ack","id":"c","payload":{}})
        );
        assert_eq!(
            parsed(&nack(
                "c",
                NackCode::RateLimited,
                "m",
                Outcome::NotApplied,
                Some(7)
            )),
            json!({"type":"nack","id":"c","error":{"code":"rate_limited","message":"m","outcome":"not_applied","retry_after_ms":7}})
        );
        assert_eq!(
            parsed(&error(NackCode::Invalid, "m", None, Some("x"))),
            json!({"type":"error","error":{"code":"invalid","message":"m"},"ref_type":"x"})
        );
        assert_eq!(
            parsed(&cursor(&epoch, 1, 5)),
            json!({"type":"cursor","epoch":"e1","from":1,"seq":5})
        );
        assert_eq!(
            parsed(&reset(&epoch, 5)),
            json!({"type":"reset","epoch":"e1","seq":5})
        );
        assert_eq!(
            parsed(&sync_resumed(&epoch, 5)),
            json!({"type":"sync_complete","payload":{"status":"resumed","epoch":"e1","seq":5}})
        );
        assert_eq!(
            parsed(&format!(
                "{}[]{SNAPSHOT_END}",
                snapshot_begin("s", &epoch, 5, 1, 2)
            )),
            json!({"type":"sync_complete","payload":{"status":"snapshot","sync_id":"s","epoch":"e1","seq":5,"part":1,"parts":2,"orders":[]}})
        );
        assert_eq!(
            parsed(&sync_aborted("s", "epoch")),
            json!({"type":"sync_aborted","sync_id":"s","reason":"epoch"})
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_shown_to_the_public() {
        let frame = |payload: &str| {
            event(Event {
                kind: "order:note",
                seq: 3,
                epoch: &Epoch::new("e1"),
                restaurant_id: "grow",
                timestamp: "T",
                command_id: None,
                payload,
            })
        };
        let twin = public_twin(&frame(r#"{"\ud800":1,"updated_by":"ann"}"#)).unwrap();
        assert_eq!(parsed(&twin)["payload"], json!({}));
        let twin = public_twin(&frame(r#"{"a":1,"updated_by":"ann"}"#)).unwrap();
        assert_eq!(parsed(&twin)["payload"], json!({"a":1}));
        assert_eq!(public_twin(&frame(r#"{"a":1}"#)), None);
    }

    #[test]
    fn the_plain_twin_adds_the_camel_case_names() {
        let epoch = Epoch::new("e1");
        let base = Event {
            kind: event::ORDER_ITEM_STATUS_CHANGED,
            seq: 3,
            epoch: &epoch,
            restaurant_id: "grow",
            timestamp: "T",
            command_id: Some("c"),
            payload: r#"{"order_id":"o","item_id":"i","status":"ready","previous_status":"pending","updated_by":"a\"b"}"#,
        };
        let v1 = event(base);
        assert!(v1.starts_with(r#"{"type":"order:item_status_changed","seq":3,"epoch":"e1","restaurant_id":"grow","timestamp":"T","command_id":"c","payload":{"#));
        let twin = parsed(&plain_twin(base.kind, &v1).unwrap());
        assert_eq!(
            twin["payload"],
            json!({"order_id":"o","orderId":"o","item_id":"i","itemId":"i","status":"ready","previous_status":"pending",
                "previousStatus":"pending","updated_by":"a\"b","updatedBy":"a\"b"})
        );
        let mut without = twin;
        without["payload"] = parsed(base.payload);
        assert_eq!(without, parsed(&v1), "all else is the same");
        assert_eq!(
            plain_twin("kds:update", "{}"),
            None,
            "the same bytes serve both dialects"
        );
    }
}
