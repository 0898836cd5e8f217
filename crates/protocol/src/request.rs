//! The frames and bodies a client sends, as the relay reads them (`docs/protocol.md` §1).
//!
//! Only the outer shape is parsed; a payload stays text ([`serde_json::value::RawValue`]) until the one function that
//! wants it reads it.

use crate::filter::Filter;
use crate::limits::{self, hit};
use crate::order::{NewOrder, Order};
use crate::{
    Epoch, ItemStatus, NackCode, OrderStatus, Seq, event, is_command_id, is_event_type,
    is_reserved_type, scan,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Something a restaurant's log is asked to do, by whatever transport.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make an order.
    Create(Box<NewOrder>),
    /// Change an order's state; `cancelled` is judged as [`Command::Cancel`].
    Status {
        /// Which order.
        order_id: String,
        /// Its new state.
        status: OrderStatus,
        /// The state it must have.
        expected: Option<OrderStatus>,
    },
    /// Change an item's state.
    ItemStatus {
        /// Which order.
        order_id: String,
        /// Which of its items.
        item_id: String,
        /// Its new state.
        status: ItemStatus,
        /// The state it must have.
        expected: Option<ItemStatus>,
    },
    /// Call an order off.
    Cancel {
        /// Which order.
        order_id: String,
        /// Why.
        reason: Option<String>,
    },
    /// Take an order out of the live set (`DELETE …/orders/{id}`).
    Delete {
        /// Which order.
        order_id: String,
    },
    /// State a fact about orders (`service`): shapes are checked, transitions are not.
    Fact(Box<Fact>),
    /// Publish anything else; the payload goes out as it came in.
    Publish {
        /// The event's type.
        kind: String,
        /// JSON text.
        payload: String,
    },
}

/// What a back end says has happened to an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// `order:created`.
    Created(Order),
    /// `order:updated`: replaced whole.
    Updated(Order),
    /// `order:deleted`.
    Deleted {
        /// Which order.
        order_id: String,
        /// Why.
        reason: Option<String>,
    },
    /// `order:status_changed`.
    Status {
        /// Which order.
        order_id: String,
        /// Its new state.
        status: OrderStatus,
        /// The one before, when the back end says.
        previous: Option<OrderStatus>,
        /// Who did it, when the back end says.
        updated_by: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// `order:item_status_changed`.
    ItemStatus {
        /// Which order.
        order_id: String,
        /// Which of its items.
        item_id: String,
        /// Its new state.
        status: ItemStatus,
        /// The one before, when the back end says.
        previous: Option<ItemStatus>,
        /// Who did it, when the back end says.
        updated_by: Option<String>,
    },
}

/// A command's id (or `Idempotency-Key`) and the hash of what it says: the key of the duplicate memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The client's id.
    pub id: String,
    /// [`hash`] of type and payload.
    pub hash: u128,
}

/// One usable frame.
#[derive(Debug)]
pub enum Request {
    /// `auth`.
    Auth(AuthRequest),
    /// `ping`; the timestamp is given back as it came.
    Ping {
        /// JSON text of a number.
        timestamp: Option<String>,
    },
    /// `orders:sync`.
    Sync {
        /// Becomes the `sync_id`.
        id: Option<String>,
        /// What the client has; `None` asks for the whole set.
        position: Option<(Epoch, Seq)>,
    },
    /// A command for the log.
    Command {
        /// Its type, for `ref_type`.
        kind: &'static str,
        /// Its id and hash.
        key: Option<Key>,
        /// What it asks.
        command: Command,
    },
    /// `subscribe`.
    Subscribe {
        /// For the answer.
        id: Option<String>,
        /// In place of the one before.
        filter: Filter,
    },
    /// `unsubscribe`.
    Unsubscribe {
        /// For the answer.
        id: Option<String>,
    },
}

/// `auth` as it came; the token is checked by the relay's verifier.
pub struct AuthRequest {
    /// The JWT.
    pub token: String,
    /// The restaurant, unless the token names exactly one.
    pub restaurant_id: Option<String>,
    /// Whether it offers [`crate::V1`].
    pub v1: bool,
    /// The position to resume from.
    pub resume: Option<(Epoch, Seq)>,
    /// Whether a snapshot is wanted where the position cannot be resumed.
    pub sync: bool,
    /// The filter to begin with, or what is wrong with it: that is no reason to refuse the connection.
    pub subscribe: Option<Result<Filter, String>>,
    /// What the client calls itself, for the sessions view.
    pub client: Option<ClientInfo>,
}

impl std::fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthRequest")
            .field("token", &"[redacted]")
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// What a client calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ClientInfo {
    /// For operators.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// One page's run.
    pub instance_id: Option<String>,
}

/// A frame that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub code: NackCode,
    /// What to do about it.
    pub message: String,
    /// The frame's type, when it had one.
    pub ref_type: Option<String>,
    /// The frame's id, when it had a usable one: then the answer is a `nack`.
    pub id: Option<String>,
    /// The limit it is over ([`limits::hit`]), to be counted.
    pub limit: Option<&'static str>,
}

impl Refused {
    fn invalid(message: impl Into<String>) -> Self {
        Self {
            code: NackCode::Invalid,
            message: message.into(),
            ref_type: None,
            id: None,
            limit: None,
        }
    }

    fn over(limit: &'static str, message: impl Into<String>) -> Self {
        Self {
            limit: Some(limit),
            ..Self::invalid(message)
        }
    }
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    // `auth` has its fields at the top.
    token: Option<String>,
    restaurant_id: Option<String>,
    protocol: Option<String>,
    resume: Option<Position>,
    sync: Option<bool>,
    #[serde(borrow)]
    subscribe: Option<&'a RawValue>,
    #[serde(borrow)]
    client: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Position {
    epoch: Epoch,
    seq: Seq,
}

impl From<Position> for (Epoch, Seq) {
    fn from(position: Position) -> Self {
        (position.epoch, position.seq)
    }
}

/// Reads one message: an object, or where `batch` allows it an array of at most 100 objects.
/// An error is about the message as a whole.
pub fn parse(text: &str, batch: bool) -> Result<Vec<Result<Request, Refused>>, Refused> {
    if let Err(breach) = scan::check(text) {
        return Err(Refused::over(hit::MESSAGE_SHAPE, breach.to_string()));
    }
    if !text.trim_start().starts_with('[') {
        return Ok(vec![one(text)]);
    }
    if !batch {
        return Err(Refused::invalid(
            "an array is for tautline.v1; send one object a message",
        ));
    }
    let frames: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|e| Refused::invalid(format!("not JSON: {e}")))?;
    if frames.len() > limits::MAX_BATCH_IN {
        return Err(Refused::over(
            hit::MESSAGE_ARRAY,
            format!("at most {} frames in one array", limits::MAX_BATCH_IN),
        ));
    }
    Ok(frames.into_iter().map(|frame| one(frame.get())).collect())
}

fn one(text: &str) -> Result<Request, Refused> {
    let frame: Frame<'_> = serde_json::from_str(text)
        .map_err(|e| Refused::invalid(format!("not a usable frame: {e}")))?;
    let Some(kind) = frame.kind.as_deref() else {
        return Err(Refused::invalid("a frame needs a \"type\""));
    };
    let id = frame
        .id
        .filter(|id| id.get() != "null")
        .map(|id| serde_json::from_str::<String>(id.get()));
    let (id, bad_id) = match id {
        None => (None, false),
        Some(Ok(id)) if is_command_id(&id) => (Some(id), false),
        Some(_) => (None, true),
    };
    let refuse = |message: String| Refused {
        code: NackCode::Invalid,
        message,
        ref_type: Some(kind.chars().take(64).collect()),
        id: id.clone(),
        limit: None,
    };
    if bad_id {
        return Err(refuse("id: 1 to 64 of A-Z a-z 0-9 . _ ~ -".into()));
    }
    let payload = frame.payload.map_or("{}", RawValue::get);
    let command = |kind: &'static str, command: Result<Command, String>| {
        let key = id.clone().map(|id| Key {
            id,
            hash: hash(kind, &[payload]),
        });
        command
            .map(|command| Request::Command { kind, key, command })
            .map_err(refuse)
    };
    match kind {
        "auth" => {
            let token = frame
                .token
                .ok_or_else(|| refuse("auth: needs a \"token\"".into()))?;
            if token.len() > limits::MAX_TOKEN {
                return Err(refuse(format!(
                    "token: at most {} bytes",
                    limits::MAX_TOKEN
                )));
            }
            Ok(Request::Auth(AuthRequest {
                token,
                restaurant_id: frame.restaurant_id,
                v1: frame.protocol.as_deref() == Some(crate::V1),
                resume: frame.resume.map(Into::into),
                sync: frame.sync.unwrap_or(false),
                subscribe: frame
                    .subscribe
                    .filter(|asked| asked.get() != "null")
                    .map(|asked| Filter::parse(asked.get())),
                client: frame
                    .client
                    .and_then(|client| serde_json::from_str(client.get()).ok()),
            }))
        }
        "ping" => {
            #[derive(Deserialize)]
            struct Ping<'a> {
                #[serde(borrow)]
                timestamp: Option<&'a RawValue>,
            }
            let ping: Option<Ping<'_>> = serde_json::from_str(payload).ok();
            let number = |raw: &&RawValue| {
                raw.get().len() <= 32
                    && raw
                        .get()
                        .starts_with(|c: char| c == '-' || c.is_ascii_digit())
            };
            Ok(Request::Ping {
                timestamp: ping
                    .and_then(|p| p.timestamp)
                    .filter(number)
                    .map(|raw| raw.get().to_owned()),
            })
        }
        "orders:sync" => {
            #[derive(Deserialize, Default)]
            struct Sync {
                #[serde(default, alias = "requestFullSync")]
                request_full_sync: bool,
                epoch: Option<Epoch>,
                seq: Option<Seq>,
            }
            let sync: Option<Sync> =
                serde_json::from_str(payload).map_err(|e| refuse(format!("payload: {e}")))?;
            let sync = sync.unwrap_or_default();
            let position = if sync.request_full_sync {
                None
            } else {
                sync.epoch.zip(sync.seq)
            };
            Ok(Request::Sync { id, position })
        }
        "order:create" => command("order:create", create(payload)),
        "order:update_status" => command("order:update_status", update_status(payload)),
        "order:update_item_status" => {
            command("order:update_item_status", update_item_status(payload))
        }
        "order:cancel" => command("order:cancel", cancel(payload)),
        "subscribe" => Filter::parse(payload)
            .map(|filter| Request::Subscribe {
                id: id.clone(),
                filter,
            })
            .map_err(refuse),
        "unsubscribe" => Ok(Request::Unsubscribe { id }),
        _ => Err(refuse("unknown type".into())),
    }
}

#[derive(Deserialize)]
struct Change {
    #[serde(alias = "orderId")]
    order_id: Option<String>,
    #[serde(alias = "itemId")]
    item_id: Option<String>,
    status: Option<String>,
    #[serde(alias = "expectedStatus")]
    expected_status: Option<String>,
    #[serde(alias = "previousStatus")]
    previous_status: Option<String>,
    #[serde(alias = "updatedBy")]
    updated_by: Option<String>,
    reason: Option<String>,
}

impl Change {
    fn read(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|e| format!("payload: {e}"))
    }

    fn order_id(&mut self) -> Result<String, String> {
        self.order_id
            .take()
            .filter(|id| matches!(id.len(), 1..=256))
            .ok_or_else(|| "order_id: required".into())
    }

    fn item_id(&mut self) -> Result<String, String> {
        self.item_id
            .take()
            .filter(|id| matches!(id.len(), 1..=256))
            .ok_or_else(|| "item_id: required".into())
    }

    fn reason(&mut self) -> Result<Option<String>, String> {
        match self.reason.take() {
            Some(reason) if reason.chars().count() > 500 => {
                Err("reason: at most 500 characters".into())
            }
            reason => Ok(reason),
        }
    }
}

fn order_status(name: &str, value: Option<&str>) -> Result<Option<OrderStatus>, String> {
    let Some(value) = value else { return Ok(None) };
    let parsed = OrderStatus::parse(value);
    parsed.map(Some).ok_or_else(|| {
        format!(
            "{name}: one of {}",
            OrderStatus::ALL.map(OrderStatus::as_str).join(", ")
        )
    })
}

fn item_status(name: &str, value: Option<&str>) -> Result<Option<ItemStatus>, String> {
    let Some(value) = value else { return Ok(None) };
    let parsed = ItemStatus::parse(value);
    parsed.map(Some).ok_or_else(|| {
        format!(
            "{name}: one of {}",
            ItemStatus::ALL.map(ItemStatus::as_str).join(", ")
        )
    })
}

fn required<T>(name: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("{name}: required"))
}

#[derive(Deserialize)]
struct OrderPayload<'a> {
    #[serde(borrow)]
    order: Option<&'a RawValue>,
}

fn inner_order(payload: &str) -> Result<&str, String> {
    let payload: OrderPayload<'_> =
        serde_json::from_str(payload).map_err(|e| format!("payload: {e}"))?;
    required("order", payload.order.map(RawValue::get))
}

fn create(payload: &str) -> Result<Command, String> {
    Ok(Command::Create(Box::new(NewOrder::parse(inner_order(
        payload,
    )?)?)))
}

fn status_command(order_id: String, change: &Change) -> Result<Command, String> {
    let status = required("status", order_status("status", change.status.as_deref())?)?;
    let expected = order_status("expected_status", change.expected_status.as_deref())?;
    Ok(Command::Status {
        order_id,
        status,
        expected,
    })
}

fn item_status_command(
    order_id: String,
    item_id: String,
    change: &Change,
) -> Result<Command, String> {
    let status = required("status", item_status("status", change.status.as_deref())?)?;
    let expected = item_status("expected_status", change.expected_status.as_deref())?;
    Ok(Command::ItemStatus {
        order_id,
        item_id,
        status,
        expected,
    })
}

fn update_status(payload: &str) -> Result<Command, String> {
    let mut change = Change::read(payload)?;
    status_command(change.order_id()?, &change)
}

fn update_item_status(payload: &str) -> Result<Command, String> {
    let mut change = Change::read(payload)?;
    item_status_command(change.order_id()?, change.item_id()?, &change)
}

fn cancel(payload: &str) -> Result<Command, String> {
    let mut change = Change::read(payload)?;
    Ok(Command::Cancel {
        order_id: change.order_id()?,
        reason: change.reason()?,
    })
}

/// The HTTP bodies that mean the same commands (`docs/protocol.md`, HTTP), with the hash of what they say. Errors are
/// what the caller should change.
pub mod http {
    use super::{
        Change, Command, NewOrder, checked_shape, fact_or_publish, hash, item_status_command,
        status_command,
    };
    use crate::limits;
    use serde::Deserialize;
    use serde_json::value::RawValue;

    /// `POST …/orders`.
    pub fn create(body: &str) -> Result<(Command, u128), String> {
        checked_shape(body)?;
        // Hashed like the socket's payload, so that an id means the same thing on both.
        let hash = hash("order:create", &["{\"order\":", body.trim(), "}"]);
        Ok((Command::Create(Box::new(NewOrder::parse(body)?)), hash))
    }

    /// `PATCH …/orders/{id}/status`.
    pub fn status(order_id: &str, body: &str) -> Result<(Command, u128), String> {
        checked_shape(body)?;
        let command = status_command(order_id.to_owned(), &Change::read(body)?)?;
        Ok((
            command,
            hash("PATCH status", &[order_id, "\n", body.trim()]),
        ))
    }

    /// `PATCH …/orders/{id}/items/{item}/status`.
    pub fn item_status(
        order_id: &str,
        item_id: &str,
        body: &str,
    ) -> Result<(Command, u128), String> {
        checked_shape(body)?;
        let command = item_status_command(
            order_id.to_owned(),
            item_id.to_owned(),
            &Change::read(body)?,
        )?;
        Ok((
            command,
            hash(
                "PATCH item status",
                &[order_id, "\n", item_id, "\n", body.trim()],
            ),
        ))
    }

    /// `DELETE …/orders/{id}`.
    pub fn delete(order_id: &str) -> (Command, u128) {
        (
            Command::Delete {
                order_id: order_id.to_owned(),
            },
            hash("DELETE", &[order_id]),
        )
    }

    #[derive(Deserialize)]
    struct Publish<'a> {
        #[serde(rename = "type")]
        kind: Option<String>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }

    impl Publish<'_> {
        fn payload(&self) -> &str {
            self.payload.map_or("{}", RawValue::get)
        }

        fn command(&self, restaurant_id: &str) -> Result<Command, String> {
            let kind = self.kind.as_deref().ok_or("type: required")?;
            fact_or_publish(restaurant_id, kind, self.payload())
        }
    }

    fn one(event: &str) -> Result<Publish<'_>, String> {
        checked_shape(event)?;
        serde_json::from_str(event).map_err(|e| format!("body: {e}"))
    }

    /// `POST …/events` with one event.
    pub fn publish(restaurant_id: &str, body: &str) -> Result<(Command, u128), String> {
        let event = one(body)?;
        let command = event.command(restaurant_id)?;
        let kind = event.kind.as_deref().unwrap_or_default();
        Ok((command, hash(kind, &[event.payload()])))
    }

    /// `POST …/events` with several.
    pub fn publish_all(restaurant_id: &str, body: &str) -> Result<Vec<Command>, String> {
        let events: Vec<&RawValue> =
            serde_json::from_str(body).map_err(|e| format!("body: {e}"))?;
        if !(1..=limits::MAX_BATCH_IN).contains(&events.len()) {
            return Err(format!("body: 1 to {} events", limits::MAX_BATCH_IN));
        }
        let commands = events.iter().enumerate().map(|(n, event)| {
            one(event.get())
                .and_then(|event| event.command(restaurant_id))
                .map_err(|error| format!("event {}: {error}", n + 1))
        });
        commands.collect()
    }
}

fn checked_shape(body: &str) -> Result<(), String> {
    scan::check(body).map_err(|breach| format!("body: {breach}"))
}

fn fact_or_publish(restaurant_id: &str, kind: &str, payload: &str) -> Result<Command, String> {
    if !is_event_type(kind) {
        return Err("type: letters, digits, _ and - in at most four parts joined by \":\", at most 64 characters".into());
    }
    if is_reserved_type(kind) {
        return Err(format!("type: {kind} is the wire's own"));
    }
    let fact = match kind {
        event::ORDER_CREATED => {
            Fact::Created(Order::from_fact(inner_order(payload)?, restaurant_id)?)
        }
        event::ORDER_UPDATED => {
            Fact::Updated(Order::from_fact(inner_order(payload)?, restaurant_id)?)
        }
        event::ORDER_DELETED => {
            let mut change = Change::read(payload)?;
            Fact::Deleted {
                order_id: change.order_id()?,
                reason: change.reason()?,
            }
        }
        event::ORDER_STATUS_CHANGED => {
            let mut change = Change::read(payload)?;
            Fact::Status {
                order_id: change.order_id()?,
                status: required("status", order_status("status", change.status.as_deref())?)?,
                previous: order_status("previous_status", change.previous_status.as_deref())?,
                reason: change.reason()?,
                updated_by: change.updated_by,
            }
        }
        event::ORDER_ITEM_STATUS_CHANGED => {
            let mut change = Change::read(payload)?;
            Fact::ItemStatus {
                order_id: change.order_id()?,
                item_id: change.item_id()?,
                status: required("status", item_status("status", change.status.as_deref())?)?,
                previous: item_status("previous_status", change.previous_status.as_deref())?,
                updated_by: change.updated_by,
            }
        }
        _ => {
            return Ok(Command::Publish {
                kind: kind.to_owned(),
                payload: payload.to_owned(),
            });
        }
    };
    Ok(Command::Fact(Box::new(fact)))
}

/// FNV-1a, 128 bits: stable across builds and machines, because it is stored. It tells an id used again by mistake
/// from a resend; both come from the same `sub`, so nothing is won by making it collide.
pub fn hash(kind: &str, payload: &[&str]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let payload = payload.iter().flat_map(|part| part.bytes());
    for byte in kind.bytes().chain([0]).chain(payload) {
        hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Request, Refused> {
        parse(text, true).unwrap().pop().unwrap()
    }

    fn command(text: &str) -> Command {
        match parsed(text) {
            Ok(Request::Command { command, .. }) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_our_client_writes_is_read_back() {
        use crate::client_frame::{self, Auth};
        let epoch = Epoch::new("e");
        let auth = client_frame::auth(Auth {
            token: "t",
            restaurant_id: Some("grow"),
            resume: Some((&epoch, 41)),
            sync: true,
            subscribe: None,
            client: Some(r#"{"name":"kds","version":"1"}"#),
        });
        let Ok(Request::Auth(auth)) = parsed(&auth) else {
            panic!()
        };
        assert_eq!(
            (
                auth.token.as_str(),
                auth.restaurant_id.as_deref(),
                auth.v1,
                auth.sync
            ),
            ("t", Some("grow"), true, true)
        );
        assert_eq!(auth.resume, Some((epoch.clone(), 41)));
        assert_eq!(auth.client.unwrap().name.as_deref(), Some("kds"));
        let Ok(Request::Ping { timestamp }) = parsed(&client_frame::ping(17)) else {
            panic!()
        };
        assert_eq!(timestamp.as_deref(), Some("17"));
        let Ok(Request::Sync { id, position }) =
            parsed(&client_frame::sync(Some("s"), Some((&epoch, 3))))
        else {
            panic!()
        };
        assert_eq!((id.as_deref(), position), (Some("s"), Some((epoch, 3))));
        let Ok(Request::Sync { position: None, .. }) = parsed(&client_frame::sync(None, None))
        else {
            panic!()
        };
    }

    #[test]
    fn older_spellings_are_taken() {
        let Ok(Request::Sync { position: None, .. }) =
            parsed(r#"{"type":"orders:sync","payload":{"requestFullSync":true}}"#)
        else {
            panic!()
        };
        let Ok(Request::Sync { position: None, .. }) = parsed(r#"{"type":"orders:sync"}"#) else {
            panic!()
        };
        let expected = Command::Status {
            order_id: "o".into(),
            status: OrderStatus::Ready,
            expected: None,
        };
        assert_eq!(
            command(r#"{"type":"order:update_status","payload":{"orderId":"o","status":"ready"}}"#),
            expected
        );
        let expected = Command::ItemStatus {
            order_id: "o".into(),
            item_id: "i".into(),
            status: ItemStatus::Ready,
            expected: Some(ItemStatus::Pending),
        };
        let text = r#"{"type":"order:update_item_status","payload":{"orderId":"o","itemId":"i","status":"ready","expectedStatus":"pending"}}"#;
        assert_eq!(command(text), expected);
    }

    #[test]
    fn a_refusal_carries_type_and_id() {
        let refused = parsed(r#"{"type":"order:cancel","id":"c1","payload":{}}"#).unwrap_err();
        assert_eq!(
            (
                refused.code,
                refused.id.as_deref(),
                refused.ref_type.as_deref()
            ),
            (NackCode::Invalid, Some("c1"), Some("order:cancel"))
        );
        assert_eq!(refused.message, "order_id: required");
        let refused = parsed(r#"{"type":"dance","id":"c1"}"#).unwrap_err();
        assert_eq!(
            (refused.message.as_str(), refused.id.as_deref()),
            ("unknown type", Some("c1"))
        );
        let refused = parsed(r#"{"type":"order:cancel","id":"no good"}"#).unwrap_err();
        assert_eq!(
            (refused.id, refused.ref_type.as_deref()),
            (None, Some("order:cancel"))
        );
        for text in ["", "{", "null", "7", r#"{"type":7}"#, r#"{"id":"x"}"#] {
            let refused = parsed(text).unwrap_err();
            assert_eq!(
                (refused.code, refused.id, refused.ref_type),
                (NackCode::Invalid, None, None),
                "{text}"
            );
        }
    }

    #[test]
    fn one_bad_frame_of_a_batch_does_not_spoil_the_others() {
        let batch = r#"[{"type":"ping"},{"type":"x","id":"a"},{"type":"order:cancel","payload":{"order_id":"o"}}]"#;
        let requests = parse(batch, true).unwrap();
        assert!(matches!(
            &requests[..],
            [
                Ok(Request::Ping { .. }),
                Err(_),
                Ok(Request::Command { .. })
            ]
        ));
        assert!(parse(batch, false).is_err());
        assert!(parse(&format!("[{}]", vec!["{}"; 101].join(",")), true).is_err());
        assert_eq!(
            parse(&format!("[{}]", vec!["{}"; 100].join(",")), true)
                .unwrap()
                .len(),
            100
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |n: usize| {
            format!(
                r#"{{"type":"ping","payload":{}{}}}"#,
                "[".repeat(n),
                "]".repeat(n)
            )
        };
        assert!(parse(&deep(limits::MAX_DEPTH - 1), true).is_ok());
        assert!(parse(&deep(limits::MAX_DEPTH), true).is_err());
        assert!(
            parse(
                &format!(r#"{{"type":"ping","x":"{}"}}"#, "[".repeat(99)),
                true
            )
            .is_ok(),
            "brackets in a string nest nothing"
        );
    }

    #[test]
    fn the_hash_tells_contents_apart_and_never_changes() {
        assert_eq!(hash("", &[]), hash("", &[""]));
        assert_ne!(hash("a", &["b"]), hash("ab", &[""]));
        assert_ne!(hash("a", &["b"]), hash("a", &["c"]));
        assert_eq!(
            hash("order:create", &["{}"]),
            0xa7d8_69e5_086a_7273_8f07_3bb6_1064_c04d,
            "stored: it may not change"
        );
        let socket = r#"{"type":"order:create","id":"k","payload":{"order":{"type":"x","items":[{"menu_item_id":"m","name":"n","quantity":1,"price":1}]}}}"#;
        let body =
            r#"{"type":"x","items":[{"menu_item_id":"m","name":"n","quantity":1,"price":1}]}"#;
        let Ok(Request::Command { key: Some(key), .. }) = parsed(socket) else {
            panic!()
        };
        assert_eq!(
            http::create(body).unwrap().1,
            key.hash,
            "the same order by either way"
        );
    }

    #[test]
    fn facts_are_checked_by_shape_and_wire_types_are_not_to_be_had() {
        let body =
            |kind: &str, payload: &str| format!(r#"{{"type":"{kind}","payload":{payload}}}"#);
        let publish = |kind: &str, payload: &str| {
            http::publish("grow", &body(kind, payload)).map(|(command, _)| command)
        };
        assert_eq!(
            publish("kds:update", r#"{"a": 1}"#),
            Ok(Command::Publish {
                kind: "kds:update".into(),
                payload: r#"{"a": 1}"#.into()
            })
        );
        for reserved in [
            "ack",
            "auth:success",
            "orders:archived",
            "sync_complete",
            "connected",
        ] {
            assert!(
                publish(reserved, "{}")
                    .unwrap_err()
                    .contains("the wire's own"),
                "{reserved}"
            );
        }
        assert!(publish("No", "{}").is_err());
        let fact = publish(
            "order:status_changed",
            r#"{"orderId":"o","status":"ready","updatedBy":"pos"}"#,
        )
        .unwrap();
        let Command::Fact(fact) = fact else { panic!() };
        assert!(matches!(
            *fact,
            Fact::Status {
                status: OrderStatus::Ready,
                previous: None,
                ..
            }
        ));
        assert!(
            publish("order:created", r#"{"order":{"id":"o"}}"#)
                .unwrap_err()
                .contains("status")
        );
        assert!(
            publish("order:deleted", "{}")
                .unwrap_err()
                .contains("order_id")
        );
    }

    #[test]
    fn a_token_is_never_printed() {
        let printed = format!(
            "{:?}",
            parsed(r#"{"type":"auth","token":"sesame"}"#).unwrap()
        );
        assert!(!printed.contains("sesame"), "{printed}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in any::<String>(), inner in any::<String>()) {
            let _ = parse(&text, true);
            let quoted = serde_json::to_string(&inner).unwrap();
            let _ = parse(&format!(r#"{{"type":{quoted},"id":{quoted},"payload":{quoted}}}"#), true);
            let _ = parse(&format!(r#"[{{"type":"order:create","payload":{{"order":{quoted}}}}}]"#), true);
        }
    }
}
