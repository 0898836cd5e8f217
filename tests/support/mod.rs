//! What every browser test needs: the host, the servers' addresses, and the exported classes for scenarios written
//! in JavaScript, the language that the promises are made in.

use js_sys::{Array, Function, Object, Promise, Reflect};
use tautline::{ConnectionManager, OrderUpdates, VoiceConnection, WebSocketPool, WebSocketService};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(module = "/tests/support/load.js")]
extern "C" {
    fn load(sources: &Array) -> Promise;
    fn begin(relay: &str, plain: &str) -> tautline::Host;
    #[wasm_bindgen(js_name = play)]
    fn begin_play(name: &str, classes: &JsValue) -> Promise;
}

/// What traps, called from JavaScript: then the trap is the browser's to see.
type Trap = Closure<dyn Fn()>;

/// How much memory the module has.
type Memory = Closure<dyn Fn() -> f64>;

/// The scenarios' modules, those that others import first.
const SOURCES: [(&str, &str); 21] = [
    ("audience.js", include_str!("../../pkg/src/audience.js")),
    ("emitter.js", include_str!("../../pkg/src/emitter.js")),
    ("receiver.js", include_str!("../../pkg/src/receiver.js")),
    ("same.js", include_str!("../../pkg/src/same.js")),
    ("database.js", include_str!("../../pkg/src/database.js")),
    ("storage.js", include_str!("../../pkg/src/storage.js")),
    ("worklet.js", include_str!("../../pkg/src/worklet.js")),
    ("sound.js", include_str!("../../pkg/src/sound.js")),
    ("rtc.js", include_str!("../../pkg/src/rtc.js")),
    ("host.js", include_str!("host.js")),
    ("peer.js", include_str!("peer.js")),
    ("server.js", include_str!("server.js")),
    ("script.js", include_str!("script.js")),
    ("plain.js", include_str!("../browser/plain.js")),
    ("orders.js", include_str!("../browser/orders.js")),
    ("lifetime.js", include_str!("../browser/lifetime.js")),
    ("stored.js", include_str!("../browser/stored.js")),
    ("pool.js", include_str!("../browser/pool.js")),
    ("voice.js", include_str!("../browser/voice.js")),
    ("rung.js", include_str!("../browser/rung.js")),
    ("trap.js", include_str!("../browser/trap.js")),
];

/// Plays a scenario to its end. A missing server is a failure.
pub(crate) async fn play(name: &str) -> Result<(), JsValue> {
    let (Some(relay), Some(plain)) = (
        option_env!("TAUTLINE_TEST_RELAY"),
        option_env!("TAUTLINE_TEST_PLAIN"),
    ) else {
        return Err(JsValue::from(
            "built without TAUTLINE_TEST_RELAY (a relay in --dev) and TAUTLINE_TEST_PLAIN (tests/servers/plain.mjs)",
        ));
    };
    let sources = SOURCES
        .iter()
        .map(|&(name, text)| JsValue::from(Array::of2(&name.into(), &text.into())));
    JsFuture::from(load(&sources.collect())).await?;
    tautline::install_host(begin(relay, plain))?;
    let trap: Trap = Closure::new(tautline::provoke_trap);
    let memory: Memory = Closure::new(tautline::memory_bytes);
    let classes = classes(&trap, &memory)?;
    JsFuture::from(begin_play(name, &classes)).await.map(drop)
}

/// The classes as JavaScript has them, the function that traps and the one that measures.
#[expect(
    clippy::disallowed_methods,
    reason = "a class is found through an instance, once a test"
)]
fn classes(trap: &Trap, memory: &Memory) -> Result<JsValue, JsValue> {
    let emit = Function::new_no_args("");
    let service = WebSocketService::new(
        Object::new().into(),
        JsValue::UNDEFINED,
        None,
        emit.clone(),
        None,
    )?;
    let manager = ConnectionManager::new(&service, None);
    let orders = OrderUpdates::new(&service, emit.clone());
    let none = Array::new();
    let pool = WebSocketPool::new(
        Object::new().into(),
        &none,
        None,
        emit.clone(),
        &none,
        1,
        0,
        true,
        5_000.0,
        1,
    )?;
    let rtc = Object::new();
    Reflect::set(
        &rtc,
        &"session".into(),
        &Function::new_no_args("return '{}'"),
    )?;
    let voice = VoiceConnection::new(
        rtc.unchecked_into(),
        emit,
        None,
        false,
        false,
        None,
        None,
        false,
        false,
    )?;
    let classes = Object::new();
    for (name, instance) in [
        ("ConnectionManager", JsValue::from(manager)),
        ("OrderUpdates", JsValue::from(orders)),
        ("VoiceConnection", JsValue::from(voice)),
        ("WebSocketPool", JsValue::from(pool)),
        ("WebSocketService", JsValue::from(service)),
    ] {
        let class = Reflect::get(&instance, &"constructor".into())?;
        Reflect::set(&classes, &name.into(), &class)?;
        for method in ["dispose", "free"] {
            let method = Reflect::get(&instance, &method.into())?;
            method.unchecked_into::<Function>().call0(&instance)?;
        }
    }
    Reflect::set(&classes, &"provokeTrap".into(), trap.as_ref())?;
    Reflect::set(&classes, &"memoryBytes".into(), memory.as_ref())?;
    Ok(classes.into())
}

/// A test for each scenario, by its name in JavaScript.
macro_rules! scenarios {
    ($($name:ident = $scenario:literal,)*) => {
        $(
            #[wasm_bindgen_test::wasm_bindgen_test]
            async fn $name() -> Result<(), wasm_bindgen::JsValue> {
                $crate::support::play($scenario).await
            }
        )*
    };
}
