use crate::ledger::{Entry, Kind, bound};
use js_sys::Function;
use wasm_bindgen::prelude::*;

/// A browser object that one method of its own lets go of: called when this is dropped, and by the ledger's twin after
/// a trap.
#[must_use = "the object is let go of when this is dropped"]
pub(crate) struct Resource<T> {
    object: T,
    release: Function,
    _entry: Entry,
}

impl<T: JsCast> Resource<T> {
    /// Puts `object` on the ledger; `end` is the method that lets go of it.
    pub(crate) fn new(kind: Kind, object: T, end: &JsValue) -> Self {
        let release = bound(end, object.as_ref(), None, None);
        let _entry = Entry::new(kind, "voice", &release);
        Self {
            object,
            release,
            _entry,
        }
    }
}

impl<T> std::ops::Deref for Resource<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T> Drop for Resource<T> {
    fn drop(&mut self) {
        // Of what has ended by itself this does nothing.
        let _ = self.release.call0(&JsValue::UNDEFINED);
    }
}
