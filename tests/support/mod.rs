//! What every browser test needs: the host, the servers' addresses, and the exported classes for scenarios written
//! in JavaScript, the language that the promises are made in.

use js_sys::{Array, Object, Promise, Reflect};
use tautline::{ConnectionManager, OrderUpdates, WebSocketService};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(module = "/tests/support/load.js")]
extern "C" {
    fn load(sources: &Array) -> Promise;
    fn begin(relay: &str, plain: &str) -> tautline::Host;
    #[wasm_bindgen(js_name = play)]
    fn begin_play(name: &str, classes: &JsValue) -> Promise;
}

/// The scenarios' modules, those that others import first.
const SOURCES: [(&str, &str); 6] = [
    ("host.js", include_str!("host.js")),
    ("server.js", include_str!("server.js")),
    ("plain.js", include_str!("../browser/plain.js")),
    ("orders.js", include_str!("../browser/orders.js")),
    ("lifetime.js", include_str!("../browser/lifetime.js")),
    ("trap.js", include_str!("../browser/trap.js")),
];

/// Plays a scenario to its end. A missing server is a failure.
pub(crate) async fn play(name: &str) -> Result<(), JsValue> {
    let sources = SOURCES.iter().map(|&(name, text)| JsValue::from(Array::of2(&name.into(), &text.into())));
    JsFuture::from(load(&sources.collect())).await?;
    let relay = option_env!("TAUTLINE_TEST_RELAY").expect("TAUTLINE_TEST_RELAY: the address of a relay in --dev");
    let plain = option_env!("TAUTLINE_TEST_PLAIN").expect("TAUTLINE_TEST_PLAIN: the address of tests/servers/plain.mjs");
    tautline::install_host(begin(relay, plain))?;
    let (classes, _trap) = classes();
    JsFuture::from(begin_play(name, &classes)).await.map(drop)
}

/// The classes and functions as JavaScript has them.
#[expect(clippy::disallowed_methods, reason = "a class is found through an instance, once a test")]
fn classes() -> (JsValue, Closure<dyn Fn()>) {
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
    // Called from JavaScript, so that the trap is the browser's to see.
    let trap = Closure::<dyn Fn()>::new(tautline::provoke_trap);
    Reflect::set(&classes, &"provokeTrap".into(), trap.as_ref()).unwrap();
    (classes.into(), trap)
}
