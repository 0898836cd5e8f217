use crate::error::Error;
use crate::ledger::{Entry, Kind};
use js_sys::{Array, Function, Promise};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// The end of a promise of ours; dropped unsettled, the promise is rejected with `disposed`.
#[must_use = "the promise is rejected when this is dropped"]
pub(crate) struct Settle {
    ends: Option<(Function, Function)>,
}

impl Settle {
    /// A promise for the page, and the end to settle it by.
    pub(crate) fn promise() -> (Promise, Self) {
        let mut ends = None;
        let promise = Promise::new(&mut |resolve, reject| ends = Some((resolve, reject)));
        (promise, Self { ends })
    }

    /// Settles it. Resolving looks up `then` on the value, so page code may run: nothing is to be borrowed.
    pub(crate) fn settle(mut self, result: Result<JsValue, JsValue>) {
        if let Some((resolve, reject)) = self.ends.take() {
            let _ = match result {
                Ok(value) => resolve.call1(&JsValue::UNDEFINED, &value),
                Err(error) => reject.call1(&JsValue::UNDEFINED, &error),
            };
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if let Some((_, reject)) = self.ends.take() {
            let _ = reject.call1(&JsValue::UNDEFINED, &Error::disposed().make());
        }
    }
}

/// A promise of the page's that is waited for. Dropping this ends the wait: the page's promise may never settle,
/// and nothing of ours hangs on it.
#[must_use = "the wait ends when this is dropped"]
pub(crate) struct Awaited {
    waiting: Rc<Cell<bool>>,
    cancel: Option<Function>,
    _entry: Entry,
}

impl Awaited {
    /// Calls `then` with what `value` (a promise or not) settles to.
    pub(crate) fn new(
        owner: &str,
        value: &JsValue,
        then: impl FnOnce(Result<JsValue, JsValue>) + 'static,
    ) -> Self {
        // After a trap a settled wait only finds `is_dead`: there is nothing to release.
        let _entry = Entry::new(Kind::Closure, owner, &crate::js::nothing());
        // A race against a promise that `Drop` settles: the engine lets go of both closures either way, within a
        // microtask, where dropping them ourselves would leave the page's promise calling freed ones.
        let mut cancel = None;
        let cancelled = Promise::new(&mut |resolve, _| cancel = Some(resolve));
        let race = Promise::race(&Array::of2(value, &cancelled));
        let waiting = Rc::new(Cell::new(true));
        // The page's promise may have settled just before this is dropped: its word comes too late.
        let still = Rc::clone(&waiting);
        spawn_local(async move {
            let settled = JsFuture::from(race).await;
            if still.get() && !crate::host::is_dead() {
                then(settled);
            }
        });
        Self {
            waiting,
            cancel,
            _entry,
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.waiting.set(false);
        if let Some(cancel) = self.cancel.take() {
            let _ = cancel.call0(&JsValue::UNDEFINED);
        }
    }
}
