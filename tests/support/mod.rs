//! What every browser test needs: the host, the servers' addresses, and the exported classes for scenarios written
//! in JavaScript, the language that the promises are made in.

use js_sys::{Object, Promise, Reflect};
use tautline::{ConnectionManager, OrderUpdates, WebSocketService};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(module = "/tests/support/host.js")]
extern "C" {
    #[wasm_bindgen(js_name = makeHost)]
    fn make_host() -> tautline::Host;
    fn remembered(classes: &JsValue) -> JsValue;
    fn cleared() -> Promise;
}

#[wasm_bindgen(module = "/tests/support/server.js")]
extern "C" {
    fn servers(relay: &str, plain: &str);
}

/// Installs the host and tells the scenarios where the servers are. A missing server is a failure.
pub(crate) fn ready() {
    let relay = option_env!("TAUTLINE_TEST_RELAY").expect("TAUTLINE_TEST_RELAY: the address of a relay in --dev");
    let plain = option_env!("TAUTLINE_TEST_PLAIN").expect("TAUTLINE_TEST_PLAIN: the address of tests/servers/plain.mjs");
    servers(relay, plain);
    tautline::install_host(make_host()).unwrap();
}

/// The classes as JavaScript has them.
#[expect(clippy::disallowed_methods, reason = "a class is found through an instance, once a test")]
pub(crate) fn classes() -> JsValue {
    let service = WebSocketService::new(Object::new().into(), JsValue::UNDEFINED, None).unwrap();
    let manager = ConnectionManager::new(&service, None);
    let orders = OrderUpdates::new(&service);
    let classes = Object::new();
    for (name, instance) in [
        ("ConnectionManager", JsValue::from(manager)),
        ("OrderUpdates", JsValue::from(orders)),
        ("WebSocketService", JsValue::from(service)),
    ] {
        let class = Reflect::get(&instance, &"constructor".into()).unwrap();
        Reflect::set(&classes, &name.into(), &class).unwrap();
        for method in ["dispose", "free"] {
            let method: js_sys::Function = Reflect::get(&instance, &method.into()).unwrap().unchecked_into();
            method.call0(&instance).unwrap();
        }
    }
    remembered(&classes)
}

/// Runs a scenario to its end; one that fails leaves nothing to the next.
pub(crate) async fn play(scenario: Promise) -> Result<(), JsValue> {
    let ended = JsFuture::from(scenario).await;
    JsFuture::from(cleared()).await?;
    ended.map(drop)
}
