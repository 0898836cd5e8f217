//! What a session on a task of its own holds, whoever answers it. Dropping it gives its place back.

use super::board::Seat;
use super::{Control, Line, Terms, Who};
use crate::clock::Clock;
use crate::http::Desk;
use std::sync::Arc;
use tautline_machine::relay::voice::Settings;
use tokio::sync::mpsc;

/// See the module.
pub(crate) struct Context {
    pub(crate) who: Who,
    pub(crate) settings: Settings,
    pub(crate) seat: Seat,
    pub(crate) line: Line,
    pub(crate) controls: mpsc::UnboundedReceiver<Control>,
    pub(crate) desk: Desk,
    pub(crate) terms: Terms,
    pub(crate) clock: Clock,
}

impl Context {
    /// Has an order judged; what became of it comes back as a control.
    pub(super) fn submit(&self, call_id: String, order: String) {
        self.desk
            .place(&self.who, call_id, order, Arc::clone(&self.line));
    }
}
