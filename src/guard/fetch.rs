use crate::js::Methods;
use crate::ledger::{Entry, Kind, bound};
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, AbortSignal};

/// The life of an HTTP request: dropping it aborts the request.
#[must_use = "the request is aborted when this is dropped"]
pub(crate) struct Fetch {
    controller: AbortController,
    _entry: Entry,
}

impl Fetch {
    /// A life for a request to come; `owner` says what it is for.
    pub(crate) fn new(owner: &str) -> Result<Self, JsValue> {
        let controller = AbortController::new()?;
        let abort = controller.unchecked_ref::<Methods>().abort()?;
        let _entry = Entry::new(Kind::Fetch, owner, &bound(&abort, &controller, None, None));
        Ok(Self { controller, _entry })
    }

    /// What the request is to listen to.
    pub(crate) fn signal(&self) -> AbortSignal {
        self.controller.signal()
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        // Of a request that has ended this does nothing.
        self.controller.abort();
    }
}
