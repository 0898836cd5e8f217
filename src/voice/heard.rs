//! The lists that `pkg/src/rtc.js` makes of events and statistics, as the machine reads them.

use crate::convert::text;
use js_sys::Array;
use tautline_machine::client::voice::List;

/// One of them.
pub(super) struct Heard<'a>(pub(super) &'a Array);

impl List for Heard<'_> {
    fn text(&self, at: usize) -> Option<String> {
        text(&self.0.get(at as u32))
    }

    fn float(&self, at: usize) -> Option<f64> {
        self.0.get(at as u32).as_f64()
    }

    fn is(&self, at: usize) -> bool {
        self.0.get(at as u32).is_truthy()
    }

    fn is_absent(&self, at: usize) -> bool {
        self.0.get(at as u32).is_undefined()
    }
}
