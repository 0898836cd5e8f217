use crate::js::Methods;
use crate::ledger::{Entry, Kind, bound};
use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

/// An event listener, removed when dropped.
#[must_use = "the listener is removed when this is dropped"]
pub(crate) struct Listener {
    target: EventTarget,
    event: &'static str,
    closure: Closure<dyn Fn(JsValue)>, // `Fn`: the browser may re-enter it synchronously
    _entry: Entry,
}

impl Listener {
    /// Listens for `event` on `target`.
    pub(crate) fn new(
        target: &EventTarget,
        event: &'static str,
        on_event: impl Fn(JsValue) + 'static,
    ) -> Result<Self, JsValue> {
        let closure: Closure<dyn Fn(JsValue)> = Closure::new(on_event);
        let remove = target.unchecked_ref::<Methods>().remove_event_listener()?;
        let release = bound(&remove, target, Some(&event.into()), Some(closure.as_ref()));
        let _entry = Entry::new(Kind::Listener, event, &release);
        target.add_event_listener_with_callback(event, closure.as_ref().unchecked_ref())?;
        Ok(Self { target: target.clone(), event, closure, _entry })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Detach first: a closure called after it is freed throws into the page.
        let function = self.closure.as_ref().unchecked_ref();
        let _ = self.target.remove_event_listener_with_callback(self.event, function);
    }
}
