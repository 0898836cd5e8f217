//! Tautline's wire protocol (`docs/protocol.md`), compiled by the browser client and the relay alike:
//! frame shapes, close codes, error codes, limits, order states, money.
//!
//! Nothing here does I/O. Without the `json` feature nothing here parses JSON either: the browser's own
//! engine does that, and the client only writes the few frames it sends ([`client_frame`]).

pub mod client_frame;
mod close;
mod code;
pub mod event;
#[cfg(feature = "json")]
pub mod filter;
mod id;
mod json;
pub mod limits;
#[cfg(feature = "json")]
pub mod permission;
mod role;
mod state;
#[cfg(feature = "json")]
mod time;

mod cents;
#[cfg(feature = "json")]
pub mod order;
#[cfg(feature = "json")]
pub mod request;
#[cfg(feature = "json")]
pub mod scan;
#[cfg(feature = "json")]
pub mod server_frame;

pub use cents::Cents;
pub use close::{CloseAction, CloseCode};
pub use code::{AuthCode, ErrorCode, NackCode, Outcome, Stage};
pub use id::{Epoch, Seq, is_command_id, is_event_type, is_reserved_type, is_restaurant_id};
pub use json::{JsonList, JsonWriter};
pub use role::Role;
pub use state::{ItemStatus, OrderStatus};
#[cfg(feature = "json")]
pub use time::{is_rfc3339, rfc3339, rfc3339_ms};

/// The name of the dialect with `seq`, acks, resume and cursor frames (`docs/protocol.md` §1, Two dialects).
pub const V1: &str = "tautline.v1";

/// Which of the two dialects a connection speaks, agreed in `auth` and `auth:success`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// One object a frame, no acks, a full sync after each connect.
    Plain,
    /// `tautline.v1`: batches, acks, resume, cursor frames.
    V1,
}

impl Dialect {
    /// The label used in metrics and the sessions view.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::V1 => V1,
        }
    }
}
