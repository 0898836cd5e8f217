//! Between JavaScript values and Rust ones: results through serde, single values by hand. Nothing received
//! is converted before its type is known: a typed getter on a value of another type may crash the module.

use serde::Serialize;
use wasm_bindgen::prelude::*;

/// The largest integer that a JavaScript number holds exactly.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// A result for the page.
pub(crate) fn to_js<T: Serialize>(value: &T) -> JsValue {
    // Serialising our own structs cannot fail: names, numbers, strings and options of them.
    value
        .serialize(&serde_wasm_bindgen::Serializer::new())
        .unwrap_or(JsValue::UNDEFINED)
}

/// A result for the page in which what is not there is `null`.
pub(crate) fn to_js_null<T: Serialize>(value: &T) -> JsValue {
    value
        .serialize(&serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true))
        .unwrap_or(JsValue::UNDEFINED)
}

/// A string, if it is one.
pub(crate) fn text(value: &JsValue) -> Option<String> {
    value.as_string()
}

/// A whole number of at least 0, if it is one.
pub(crate) fn whole(value: &JsValue) -> Option<u64> {
    let number = value.as_f64()?;
    // A float is cut off, never out of range: checked just before.
    ((0.0..=MAX_SAFE).contains(&number) && number % 1.0 == 0.0).then_some(number as u64)
}

/// A whole number that may be left out: `Err` when there is something else in its place.
pub(crate) fn optional_whole(value: &JsValue) -> Result<Option<u64>, ()> {
    if value.is_undefined() || value.is_null() {
        Ok(None)
    } else {
        whole(value).map(Some).ok_or(())
    }
}

/// Whether it is an object whose properties may be read, and no array.
pub(crate) fn is_record(value: &JsValue) -> bool {
    value.is_object() && !js_sys::Array::is_array(value)
}
