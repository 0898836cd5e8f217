use crate::ledger::{Entry, Kind, bound};
use crate::{host, js};
use wasm_bindgen::prelude::*;

/// A `setTimeout`, cleared when dropped.
///
/// Not gloo's: that one keeps the timer's id to itself, and the ledger's twin needs it to clear the timer after a
/// trap, when nothing here runs any more (`docs/decisions`).
#[must_use = "the timer is cleared when this is dropped"]
pub(crate) struct Timer {
    id: JsValue,
    _closure: Closure<dyn FnMut()>,
    _entry: Entry,
}

impl Timer {
    /// Calls `then` once, `ms` from now. Browsers keep a delay in 32 bits and fire at once past that, so a longer
    /// one fires early: its caller looks at the clock and arms again.
    pub(crate) fn new(
        owner: &str,
        ms: u64,
        then: impl FnOnce() + 'static,
    ) -> Result<Self, JsValue> {
        let _closure = Closure::once(then);
        let id = js::set_timeout(&host::shield(_closure.as_ref()), clamp(ms))?;
        let clear = js::global().clear_timeout_function()?;
        let _entry = Entry::new(
            Kind::Timer,
            owner,
            &bound(&clear, &JsValue::UNDEFINED, Some(&id), None),
        );
        Ok(Self {
            id,
            _closure,
            _entry,
        })
    }
}

fn clamp(ms: u64) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}

impl Drop for Timer {
    fn drop(&mut self) {
        let _ = js::clear_timeout(&self.id);
    }
}
