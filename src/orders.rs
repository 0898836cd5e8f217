//! An order as the order set sees it: the engine's own object, asked for its id and status, never copied into wasm.

use crate::convert::{is_record, text};
use crate::frame::Frame;
use crate::host;
use js_sys::{Array, Object};
use tautline_machine::client::{Change, OrderView, Patch};
use tautline_protocol::OrderStatus;
use tautline_protocol::event::OrderEvent;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// An order, an item, or the payload of an event about them. As with frames the getters answer `JsValue`s, are
    /// asked of records only, and cannot throw.
    #[derive(Clone, Debug)]
    pub(crate) type Fields;

    #[wasm_bindgen(method, getter, js_name = id)]
    fn fields_id(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = status)]
    fn fields_status(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = items)]
    fn fields_items(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = order)]
    fn fields_order(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = order_id)]
    fn fields_order_id(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = orderId)]
    fn fields_order_id_plain(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = item_id)]
    fn fields_item_id(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = itemId)]
    fn fields_item_id_plain(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = order_ids)]
    fn fields_order_ids(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = previous_status)]
    fn fields_previous_status(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = previousStatus)]
    fn fields_previous_status_plain(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = updated_by)]
    fn fields_updated_by(this: &Fields) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = reason)]
    fn fields_reason(this: &Fields) -> JsValue;

    #[wasm_bindgen(method, setter, catch, js_name = status)]
    fn set_status(this: &Fields, status: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, setter, catch, js_name = updated_at)]
    fn set_updated_at(this: &Fields, at: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, setter, catch, js_name = completed_at)]
    fn set_completed_at(this: &Fields, at: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, setter, catch, js_name = items)]
    fn set_items(this: &Fields, items: &Array) -> Result<(), JsValue>;
}

impl Fields {
    pub(crate) fn of(value: JsValue) -> Option<Self> {
        is_record(&value).then(|| value.unchecked_into())
    }

    /// A new object with the same members.
    fn copied(&self) -> Self {
        Object::assign(&Object::new(), self.unchecked_ref()).unchecked_into()
    }

    fn order_id(&self) -> Option<String> {
        text(&self.fields_order_id()).or_else(|| text(&self.fields_order_id_plain()))
    }

    pub(crate) fn item_id(&self) -> Option<String> {
        text(&self.fields_item_id()).or_else(|| text(&self.fields_item_id_plain()))
    }

    pub(crate) fn previous_status(&self) -> Option<String> {
        text(&self.fields_previous_status()).or_else(|| text(&self.fields_previous_status_plain()))
    }

    pub(crate) fn status(&self) -> Option<String> {
        text(&self.fields_status())
    }

    pub(crate) fn updated_by(&self) -> Option<String> {
        text(&self.fields_updated_by())
    }

    pub(crate) fn reason(&self) -> Option<String> {
        text(&self.fields_reason())
    }
}

/// An order: an object with an `id`.
#[derive(Clone)]
pub(crate) struct Order(Fields);

impl Order {
    pub(crate) fn of(value: JsValue) -> Option<Self> {
        let fields = Fields::of(value)?;
        fields.fields_id().is_string().then_some(Self(fields))
    }

    /// The `order` inside a payload or result.
    pub(crate) fn inside(value: &JsValue) -> Option<Self> {
        Self::of(Fields::of(value.clone())?.fields_order())
    }

    pub(crate) fn as_js(&self) -> &JsValue {
        &self.0
    }

    pub(crate) fn into_js(self) -> JsValue {
        self.0.into()
    }

    pub(crate) fn status(&self) -> Option<String> {
        self.0.status()
    }

    /// The status of one of its items.
    pub(crate) fn item_status(&self, item_id: &str) -> Option<String> {
        let items: Array = self.0.fields_items().dyn_into().ok()?;
        let item = items
            .iter()
            .filter_map(Fields::of)
            .find(|item| text(&item.fields_id()).is_some_and(|id| id == item_id));
        item.and_then(|item| item.status())
    }
}

impl OrderView for Order {
    fn id(&self) -> Option<String> {
        text(&self.0.fields_id())
    }

    fn says_the_same(&self, other: &Self) -> bool {
        host::same(self.as_js(), other.as_js())
    }

    fn patched(&self, patch: &Patch, at: Option<&str>) -> Self {
        let copy = self.0.copied();
        // The copy is a plain object of ours: setting its members cannot fail.
        let _ = match patch {
            Patch::Status(status) => copy.set_status(status).and_then(|()| match at {
                Some(at) if *status == OrderStatus::Completed.as_str() => copy.set_completed_at(at),
                _ => Ok(()),
            }),
            Patch::ItemStatus { item_id, status } => {
                match self.0.fields_items().dyn_into::<Array>() {
                    Ok(items) => copy.set_items(&with_item_status(&items, item_id, status)),
                    Err(_) => Ok(()),
                }
            }
        };
        if let Some(at) = at {
            let _ = copy.set_updated_at(at);
        }
        Self(copy)
    }
}

fn with_item_status(items: &Array, item_id: &str, status: &str) -> Array {
    let patched = Array::new();
    for item in items.iter() {
        let found = Fields::of(item.clone())
            .filter(|item| text(&item.fields_id()).is_some_and(|id| id == item_id));
        match found.map(|item| item.copied()) {
            Some(copy) => {
                let _ = copy.set_status(status);
                patched.push(&copy);
            }
            None => {
                patched.push(&item);
            }
        }
    }
    patched
}

/// What an order event does to the set; `None` for one that is not of the protocol's shape.
pub(crate) fn change(event: OrderEvent, frame: &Frame) -> Option<Change<Order>> {
    let payload = Fields::of(frame.payload())?;
    Some(match event {
        OrderEvent::Created => Change::Created(Order::of(payload.fields_order())?),
        OrderEvent::Updated => Change::Updated(Order::of(payload.fields_order())?),
        OrderEvent::Deleted => Change::Deleted {
            id: payload.order_id()?,
        },
        OrderEvent::StatusChanged => Change::Patched {
            id: payload.order_id()?,
            patch: Patch::Status(payload.status()?),
            at: frame.timestamp(),
        },
        OrderEvent::ItemStatusChanged => Change::Patched {
            id: payload.order_id()?,
            patch: Patch::ItemStatus {
                item_id: payload.item_id()?,
                status: payload.status()?,
            },
            at: frame.timestamp(),
        },
        OrderEvent::Archived => {
            let ids: Array = payload.fields_order_ids().dyn_into().ok()?;
            Change::Archived {
                ids: ids.iter().filter_map(|id| text(&id)).collect(),
            }
        }
    })
}
