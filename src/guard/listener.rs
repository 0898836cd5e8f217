use crate::host;
use crate::js::Methods;
use crate::ledger::{Entry, Kind, bound};
use js_sys::Function;
use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

/// An event listener, removed when dropped.
#[must_use = "the listener is removed when this is dropped"]
pub(crate) struct Listener {
    target: EventTarget,
    event: &'static str,
    function: Function,
    _closure: Option<Closure<dyn Fn(JsValue)>>, // `Fn`: the browser may re-enter it synchronously
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
        let function = host::shield(closure.as_ref());
        Self::listen(target, event, function, Some(closure))
    }

    /// The same with a function that needs no freeing.
    pub(crate) fn of(
        target: &EventTarget,
        event: &'static str,
        function: &Function,
    ) -> Result<Self, JsValue> {
        Self::listen(target, event, host::shield(function), None)
    }

    fn listen(
        target: &EventTarget,
        event: &'static str,
        function: Function,
        _closure: Option<Closure<dyn Fn(JsValue)>>,
    ) -> Result<Self, JsValue> {
        let remove = target.unchecked_ref::<Methods>().remove_event_listener()?;
        let release = bound(&remove, target, Some(&event.into()), Some(&function));
        let _entry = Entry::new(Kind::Listener, event, &release);
        target.add_event_listener_with_callback(event, &function)?;
        Ok(Self {
            target: target.clone(),
            event,
            function,
            _closure,
            _entry,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Detach first: a closure called after it is freed throws into the page.
        let _ = self
            .target
            .remove_event_listener_with_callback(self.event, &self.function);
    }
}
