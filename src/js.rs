//! The few JavaScript functions and properties that js-sys and web-sys do not have in the shape needed here.

use js_sys::Function;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `JSON.parse` of a string that stays in the engine (js-sys's takes a `&str`: a copy in and a copy out).
    #[wasm_bindgen(catch, js_namespace = JSON, js_name = parse)]
    pub(crate) fn json_parse(text: &JsValue) -> Result<JsValue, JsValue>;

    /// `JSON.stringify`, which answers `undefined` for what JSON has no word for.
    #[wasm_bindgen(catch, js_namespace = JSON, js_name = stringify)]
    pub(crate) fn json_stringify(value: &JsValue) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch, js_name = setTimeout)]
    pub(crate) fn set_timeout(handler: &JsValue, ms: i32) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch, js_name = clearTimeout)]
    pub(crate) fn clear_timeout(id: &JsValue) -> Result<(), JsValue>;

    /// What is found on `globalThis`, in a page or in a worker.
    pub(crate) type Global;

    #[wasm_bindgen(method, getter, catch, js_name = clearTimeout)]
    pub(crate) fn clear_timeout_function(this: &Global) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, getter, catch)]
    pub(crate) fn document(this: &Global) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, getter, catch)]
    pub(crate) fn performance(this: &Global) -> Result<Clock, JsValue>;

    #[wasm_bindgen(method, getter, catch)]
    pub(crate) fn location(this: &Global) -> Result<Location, JsValue>;

    /// `location`, where there is one.
    pub(crate) type Location;

    #[wasm_bindgen(method, getter, catch)]
    pub(crate) fn href(this: &Location) -> Result<JsValue, JsValue>;

    /// `performance`.
    pub(crate) type Clock;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn now(this: &Clock) -> Result<f64, JsValue>;

    /// The methods that release functions are bound from.
    pub(crate) type Methods;

    #[wasm_bindgen(method, getter, catch)]
    pub(crate) fn close(this: &Methods) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, getter, catch)]
    pub(crate) fn abort(this: &Methods) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, getter, catch, js_name = removeEventListener)]
    pub(crate) fn remove_event_listener(this: &Methods) -> Result<JsValue, JsValue>;
}

/// `globalThis`.
pub(crate) fn global() -> Global {
    js_sys::global().unchecked_into()
}

/// A function that does nothing, without a closure of ours and without `eval`: `clearTimeout` of no timer.
pub(crate) fn nothing() -> Function {
    let clear = global()
        .clear_timeout_function()
        .unwrap_or(JsValue::UNDEFINED);
    clear
        .unchecked_ref::<Function>()
        .bind1(&JsValue::UNDEFINED, &JsValue::UNDEFINED)
        .unchecked_into()
}

/// A monotonic clock, in milliseconds. Looked up each time: fake timers of tests put another `performance` in its place,
/// and the timers that go with it.
pub(crate) fn now_ms() -> u64 {
    let now = global().performance().and_then(|clock| clock.now());
    // A float is cut off, never out of range: `as` saturates.
    now.unwrap_or_else(|_| js_sys::Date::now()) as u64
}
