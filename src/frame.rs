//! What the machines look at in a frame (`docs/protocol.md` §1). The frame itself stays the engine's own object.

use crate::convert::{is_record, optional_whole, text, whole};
use tautline_machine::client::{EpochRef, Head};
use tautline_protocol::limits::Limits;
use tautline_protocol::{AuthCode, Epoch, NackCode, Outcome, Seq, V1};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// A parsed frame, or an object inside one. Its getters answer `JsValue`s: the type of each is checked before
    /// it is converted. They cannot throw: [`is_record`] comes first, and `JSON.parse` makes no accessors.
    #[derive(Clone, Debug)]
    pub(crate) type Frame;

    #[wasm_bindgen(method, getter, js_name = type)]
    fn frame_type(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = payload)]
    fn frame_payload(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = error)]
    fn frame_error(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = id)]
    fn frame_id(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = seq)]
    fn frame_seq(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = epoch)]
    fn frame_epoch(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = command_id)]
    fn frame_command_id(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = from)]
    fn frame_from(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = code)]
    fn frame_code(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = message)]
    fn frame_message(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = outcome)]
    fn frame_outcome(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = retry_after_ms)]
    fn frame_retry_after_ms(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = ref_type)]
    fn frame_ref_type(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = auth_required)]
    fn frame_auth_required(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = heartbeat_ms)]
    fn frame_heartbeat_ms(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = max_message)]
    fn frame_max_message(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = protocol)]
    fn frame_protocol(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = renewal)]
    fn frame_renewal(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = resumed)]
    fn frame_resumed(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = view)]
    fn frame_view(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = expires_in_ms)]
    fn frame_expires_in_ms(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = dedupe_ms)]
    fn frame_dedupe_ms(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = limits)]
    fn frame_limits(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = rate_per_s)]
    fn frame_rate_per_s(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = burst)]
    fn frame_burst(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = reconnect_spread_ms)]
    fn frame_reconnect_spread_ms(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = timestamp)]
    fn frame_timestamp(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = since)]
    fn frame_since(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = status)]
    fn frame_status(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = sync_id)]
    fn frame_sync_id(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = part)]
    fn frame_part(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = parts)]
    fn frame_parts(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = orders)]
    fn frame_orders(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = detail)]
    fn frame_detail(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = title)]
    fn frame_title(this: &Frame) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = result)]
    fn frame_result(this: &Frame) -> JsValue;
}

/// The longest `type` that may mean something; a longer one is nobody's.
const TYPE_MAX: u32 = 64;

impl Frame {
    /// A frame, if that is one: an object with a `type`.
    pub(crate) fn of(value: JsValue) -> Option<(Self, String)> {
        let frame = Self::record(value)?;
        let kind = frame.frame_type();
        let name = kind.dyn_ref::<js_sys::JsString>()?;
        (name.length() <= TYPE_MAX).then(|| (frame.clone(), String::from(name)))
    }

    fn record(value: JsValue) -> Option<Self> {
        is_record(&value).then(|| value.unchecked_into())
    }

    /// `payload`, whatever it is.
    pub(crate) fn payload(&self) -> JsValue {
        self.frame_payload()
    }

    /// The `orders` of a snapshot's part.
    pub(crate) fn orders(&self) -> Option<js_sys::Array> {
        Self::record(self.frame_payload())?
            .frame_orders()
            .dyn_into()
            .ok()
    }

    /// What a `nack` or `error` says in words.
    pub(crate) fn said(&self) -> Option<String> {
        text(&Self::record(self.frame_error())?.frame_message())
    }

    /// When the server made it.
    pub(crate) fn timestamp(&self) -> Option<String> {
        text(&self.frame_timestamp())
    }

    /// The message of ours that caused it.
    pub(crate) fn command_id(&self) -> Option<String> {
        text(&self.frame_command_id())
    }

    /// Whether it answers that message.
    pub(crate) fn answers(&self, id: &str) -> bool {
        text(&self.frame_id()).is_some_and(|theirs| theirs == id)
    }

    fn seq(&self) -> Result<Option<Seq>, ()> {
        optional_whole(&self.frame_seq())
    }
}

/// The history in force as the engine's own string, so that the usual frame is compared by handle.
#[derive(Default)]
pub(crate) struct EpochCache {
    known: Option<(Epoch, JsValue)>,
}

impl EpochCache {
    fn refer(&mut self, value: JsValue, current: Option<&Epoch>) -> EpochRef {
        if let (Some((name, known)), Some(current)) = (&self.known, current)
            && *known == value
            && name == current
        {
            return EpochRef::Current;
        }
        let Some(name) = value.as_string() else {
            return EpochRef::None;
        };
        let epoch = Epoch::new(&name);
        if current == Some(&epoch) {
            self.known = Some((epoch, value));
            return EpochRef::Current;
        }
        EpochRef::Other(epoch)
    }
}

/// Whether frames of this type are no events.
pub(crate) fn is_wires_own(kind: &str) -> bool {
    matches!(
        kind,
        "connected"
            | "auth:success"
            | "auth:failed"
            | "pong"
            | "cursor"
            | "ack"
            | "nack"
            | "sync_complete"
            | "sync_aborted"
            | "reset"
            | "error"
            | "degraded"
    )
}

/// The head of a frame of this type; `None` for one that breaks the protocol.
pub(crate) fn head(
    frame: &Frame,
    kind: &str,
    epochs: &mut EpochCache,
    current: Option<&Epoch>,
) -> Option<Head> {
    Some(match kind {
        "connected" => Head::Connected {
            auth_required: frame.frame_auth_required().as_bool().unwrap_or(true),
            heartbeat_ms: whole(&frame.frame_heartbeat_ms()),
            max_message: whole(&frame.frame_max_message())
                .and_then(|bytes| u32::try_from(bytes).ok()),
        },
        "auth:success" => auth_success(frame),
        "auth:failed" => Head::AuthFailed {
            code: text(&frame.frame_code())
                .and_then(|code| AuthCode::parse(&code))
                .unwrap_or(AuthCode::TokenInvalid),
            renewal: frame.frame_renewal().as_bool().unwrap_or(false),
        },
        "pong" => {
            let payload = Frame::record(frame.payload());
            let read = |get: fn(&Frame) -> JsValue| {
                payload.as_ref().and_then(|payload| whole(&get(payload)))
            };
            Head::Pong {
                timestamp: read(Frame::frame_timestamp),
                seq: read(Frame::frame_seq),
                reconnect_spread_ms: read(Frame::frame_reconnect_spread_ms),
            }
        }
        "cursor" => Head::Cursor {
            epoch: epochs.refer(frame.frame_epoch(), current),
            from: whole(&frame.frame_from())?,
            to: whole(&frame.frame_seq())?,
        },
        "ack" => {
            let payload = Frame::record(frame.payload());
            Head::Ack {
                id: text(&frame.frame_id())?,
                seq: payload.as_ref().map_or(Ok(None), Frame::seq).ok()?,
                epoch: payload.map_or(EpochRef::None, |payload| {
                    epochs.refer(payload.frame_epoch(), current)
                }),
            }
        }
        "nack" => {
            let error = Frame::record(frame.frame_error())?;
            Head::Nack {
                id: text(&frame.frame_id())?,
                code: nack_code(&error),
                outcome: text(&error.frame_outcome())
                    .and_then(|name| Outcome::parse(&name))
                    .unwrap_or(Outcome::Unknown),
                retry_after_ms: whole(&error.frame_retry_after_ms()),
            }
        }
        "sync_complete" => sync_complete(frame)?,
        "sync_aborted" => Head::SyncAborted,
        "reset" => Head::Reset {
            epoch: Epoch::new(&text(&frame.frame_epoch())?),
            seq: whole(&frame.frame_seq())?,
        },
        "error" => {
            let error = Frame::record(frame.frame_error())?;
            Head::Refused {
                code: nack_code(&error),
                retry_after_ms: whole(&error.frame_retry_after_ms()),
                ref_type: text(&frame.frame_ref_type()),
            }
        }
        "degraded" => Head::Degraded {
            since: text(&frame.frame_since()),
        },
        _ => Head::Event {
            seq: frame.seq().ok()?,
            epoch: epochs.refer(frame.frame_epoch(), current),
            command_id: text(&frame.frame_command_id()),
        },
    })
}

/// The epoch and the result in the payload of an `ack`.
pub(crate) fn ack_parts(payload: &JsValue) -> (Option<String>, JsValue) {
    match Frame::record(payload.clone()) {
        Some(payload) => (text(&payload.frame_epoch()), payload.frame_result()),
        None => (None, JsValue::UNDEFINED),
    }
}

/// A code this client does not know is `invalid`.
fn nack_code(error: &Frame) -> NackCode {
    text(&error.frame_code())
        .and_then(|code| NackCode::parse(&code))
        .unwrap_or(NackCode::Invalid)
}

fn auth_success(frame: &Frame) -> Head {
    let small = |value: JsValue| whole(&value).and_then(|number| u32::try_from(number).ok());
    let limits = Frame::record(frame.frame_limits()).and_then(|limits| {
        Some(Limits {
            rate_per_s: small(limits.frame_rate_per_s())?,
            burst: small(limits.frame_burst())?,
            max_message: small(limits.frame_max_message())?,
        })
    });
    Head::AuthSuccess {
        v1: text(&frame.frame_protocol()).is_some_and(|name| name == V1),
        renewal: frame.frame_renewal().as_bool().unwrap_or(false),
        epoch: text(&frame.frame_epoch()).map(|name| Epoch::new(&name)),
        seq: whole(&frame.frame_seq()),
        resumed: frame.frame_resumed().as_bool().unwrap_or(false),
        view: text(&frame.frame_view()),
        expires_in_ms: whole(&frame.frame_expires_in_ms()),
        dedupe_ms: whole(&frame.frame_dedupe_ms()),
        limits,
        reconnect_spread_ms: whole(&frame.frame_reconnect_spread_ms()),
    }
}

fn sync_complete(frame: &Frame) -> Option<Head> {
    let Some(payload) = Frame::record(frame.payload()) else {
        return Some(Head::PlainSync { has_orders: false });
    };
    match text(&payload.frame_status()).as_deref() {
        Some("resumed") => Some(Head::SyncResumed {
            epoch: Epoch::new(&text(&payload.frame_epoch())?),
            seq: whole(&payload.frame_seq())?,
        }),
        Some("snapshot") => {
            let small =
                |value: JsValue| whole(&value).and_then(|number| u32::try_from(number).ok());
            js_sys::Array::is_array(&payload.frame_orders()).then_some(())?;
            Some(Head::SnapshotPart {
                sync_id: text(&payload.frame_sync_id())?,
                epoch: Epoch::new(&text(&payload.frame_epoch())?),
                seq: whole(&payload.frame_seq())?,
                part: small(payload.frame_part())?,
                parts: small(payload.frame_parts())?,
            })
        }
        _ => Some(Head::PlainSync {
            has_orders: js_sys::Array::is_array(&payload.frame_orders()),
        }),
    }
}

/// An `application/problem+json` body.
pub(crate) struct Problem(Frame);

impl Problem {
    pub(crate) fn of(value: JsValue) -> Option<Self> {
        Frame::record(value).map(Self)
    }

    pub(crate) fn code(&self) -> Option<String> {
        text(&self.0.frame_code())
    }

    /// What it says in words.
    pub(crate) fn said(&self) -> Option<String> {
        text(&self.0.frame_detail()).or_else(|| text(&self.0.frame_title()))
    }
}
