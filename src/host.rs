//! What the TypeScript layer hands to this module: the error class, the ledger's JavaScript twin, the console.
//!
//! The twin lives in JavaScript because it must outlive a trap: then nothing here runs any more, no destructor
//! either, and the twin's release functions are what lets go of sockets, timers, listeners and fetches.

use js_sys::Function;
use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// What [`install_host`] is given; `pkg/src/host.ts` makes it.
    #[derive(Clone, Debug)]
    pub type Host;

    /// Makes a `TautlineError`; `fields` are copied onto it.
    #[wasm_bindgen(method, catch)]
    fn error(this: &Host, code: &str, message: &str, fields: &JsValue) -> Result<JsValue, JsValue>;

    /// The module is about to trap.
    #[wasm_bindgen(method, catch)]
    fn panic(this: &Host, message: &str) -> Result<(), JsValue>;

    /// The function that calls `function` and, should that trap, says so.
    #[wasm_bindgen(method, catch)]
    fn shield(this: &Host, function: &Function) -> Result<Function, JsValue>;

    /// A misuse that harms nothing.
    #[wasm_bindgen(method, catch)]
    fn warn(this: &Host, text: &str) -> Result<(), JsValue>;

    /// Whether two orders say the same; cannot throw: it reads plain data that came from `JSON.parse`.
    #[wasm_bindgen(method)]
    fn same(this: &Host, one: &JsValue, other: &JsValue) -> bool;

    /// What receives the messages of a service; `exports` are this module's functions, `tell` tells those who hear it.
    #[wasm_bindgen(method, catch)]
    fn receiver(
        this: &Host,
        exports: &JsValue,
        number: u32,
        tell: &Function,
    ) -> Result<Receiver, JsValue>;

    /// `pkg/src/receiver.js`. Its methods and properties cannot throw: they are ours, and call nobody.
    #[derive(Clone, Debug)]
    pub(crate) type Receiver;

    /// The `message` listener of an attempt's socket.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn listener(this: &Receiver, attempt: u32) -> Result<Function, JsValue>;

    /// Which events are plain has changed; cannot throw.
    #[wasm_bindgen(method)]
    pub(crate) fn forget(this: &Receiver);

    #[wasm_bindgen(method, getter)]
    pub(crate) fn value(this: &Receiver) -> JsValue;
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_value(this: &Receiver, value: &JsValue);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_epoch(this: &Receiver, epoch: &JsValue);

    #[wasm_bindgen(method, getter, catch)]
    fn twin(this: &Host) -> Result<Twin, JsValue>;

    /// The ledger's JavaScript side.
    #[derive(Clone, Debug)]
    pub(crate) type Twin;

    /// Enters a resource with what lets go of it without wasm; answers its number.
    #[wasm_bindgen(method, catch)]
    fn enter(this: &Twin, kind: &str, owner: &str, release: &JsValue) -> Result<f64, JsValue>;

    /// The resource is let go.
    #[wasm_bindgen(method, catch)]
    fn leave(this: &Twin, id: f64) -> Result<(), JsValue>;
}

thread_local! {
    static HOST: RefCell<Option<(Host, Twin)>> = const { RefCell::new(None) };
    static DEAD: Cell<bool> = const { Cell::new(false) };
}

/// Hands this module its host; called once by the loader, before anything else.
///
/// # Errors
/// When `host` has no `twin`.
#[wasm_bindgen(js_name = installHost)]
pub fn install_host(host: Host) -> Result<(), JsValue> {
    let twin = host.twin()?;
    HOST.with(|cell| cell.replace(Some((host, twin))));
    std::panic::set_hook(Box::new(on_panic));
    Ok(())
}

/// Bytes of WebAssembly memory in use by this module.
#[wasm_bindgen(js_name = memoryBytes)]
pub fn memory_bytes() -> f64 {
    /// Bytes of a WebAssembly page.
    const PAGE: f64 = 65_536.0;
    core::arch::wasm32::memory_size(0) as f64 * PAGE
}

/// A debug hook: traps on purpose, so that a page (and our tests) can see that a trap leaves nothing live.
#[wasm_bindgen(js_name = provokeTrap)]
pub fn provoke_trap() {
    panic!("provoked");
}

/// Whether the module has trapped. A promise or a late event may still come in afterwards; it is turned away.
pub(crate) fn is_dead() -> bool {
    DEAD.with(Cell::get)
}

fn on_panic(info: &PanicHookInfo<'_>) {
    DEAD.with(|dead| dead.set(true));
    let mut message = String::from("tautline trapped");
    if let Some(location) = info.location() {
        message.push_str(" at ");
        message.push_str(location.file());
        message.push(':');
        push_number(&mut message, location.line());
    }
    let text = info.payload().downcast_ref::<&str>().copied();
    let text = text.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str));
    if let Some(text) = text {
        message.push_str(": ");
        message.push_str(text);
    }
    if let Some((host, _)) = get() {
        let _ = host.panic(&message);
    }
}

/// Decimal digits, without the weight of `format!`.
fn push_number(text: &mut String, number: u32) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

fn get() -> Option<(Host, Twin)> {
    // `try_borrow`: the panic being told may have happened inside `install_host`.
    HOST.with(|cell| cell.try_borrow().ok().and_then(|host| host.clone()))
}

/// A `TautlineError` made by the layer, so that its class is the one the page imports.
pub(crate) fn make_error(code: &str, message: &str, fields: &JsValue) -> JsValue {
    let made = get().and_then(|(host, _)| host.error(code, message, fields).ok());
    made.unwrap_or_else(|| js_sys::Error::new(message).into())
}

/// Says a misuse that harms nothing.
pub(crate) fn warn(text: &str) {
    if let Some((host, _)) = get() {
        let _ = host.warn(text);
    }
}

/// What the browser is to call in place of `function`. A panic tells the layer by itself, memory that ran out does
/// not: then the one who called is the first to know, and here that is the browser.
pub(crate) fn shield(function: &JsValue) -> Function {
    let function: &Function = function.unchecked_ref();
    get()
        .and_then(|(host, _)| host.shield(function).ok())
        .unwrap_or_else(|| function.clone())
}

/// Whether two orders say the same.
pub(crate) fn same(one: &JsValue, other: &JsValue) -> bool {
    get().is_some_and(|(host, _)| host.same(one, other))
}

/// Makes the receiver of a service; `None` where there is no host.
pub(crate) fn receiver(number: u32, tell: &Function) -> Option<Receiver> {
    get().and_then(|(host, _)| host.receiver(&wasm_bindgen::exports(), number, tell).ok())
}

/// Enters a resource on the ledger; `None` where there is no host.
pub(crate) fn enter(kind: &str, owner: &str, release: &JsValue) -> Option<f64> {
    get().and_then(|(_, twin)| twin.enter(kind, owner, release).ok())
}

/// Takes a resource off the ledger.
pub(crate) fn leave(id: f64) {
    if let Some((_, twin)) = get() {
        let _ = twin.leave(id);
    }
}
