//! The relay's side of the wire: a restaurant is a log, a connection is a cursor, a peer is a session
//! (`docs/architecture.md`). What the driver does with them:
//!
//! * [`Session`] says what one socket's frames mean and what is said back ([`session::Output`]).
//! * [`Log::judge`] takes a command; the driver then hands [`Log::take_batch`] to the store and reports
//!   [`Log::committed`] or [`Log::failed`], which gives the answers ([`Answer`]).
//! * [`Cursor::take`] gives a socket its next turn, as shared bytes.

pub mod about;
pub mod admission;
pub mod budget;
pub mod cursor;
mod dedupe;
mod fold;
mod grant;
pub mod hits;
pub mod load;
pub mod log;
mod rate;
pub mod record;
mod replies;
pub mod session;
pub mod snapshot;
mod turns;
pub mod view;
pub mod voice;

pub use about::About;
pub use admission::{Address, Admission, Refusal};
pub use cursor::{Cursor, HistoryLost, Message, Piece, Taken};
pub use hits::Hits;
pub use load::{Load, Sample, Stage};
pub use log::{By, Judged, Log, Place, Waiter};
pub use record::{Ack, Answer, Dedupe, Event, Nack, OrderRow, Record, Stored, Ticket};
pub use replies::Refusals;
pub use session::{Claims, Config, Identity, Input, Output, Session, Timer};
pub use snapshot::{BeingSent, Snapshot};
pub use turns::{SharedTurn, Turns};
pub use view::{Class, Scope, Viewer};

use crate::Time;

/// Both clocks at one moment: `now` never jumps and drives every deadline, `wall_ms` is what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The monotonic clock.
    pub now: Time,
    /// Milliseconds since 1970, UTC; may jump.
    pub wall_ms: u64,
}

/// The token of an `auth`; its text is only for the verifier, and prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token as it came.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}
