//! Tautline's relay (`docs/architecture.md`): a restaurant is a log, a connection is a cursor.
//!
//! Four kinds of thread: one answers HTTP and lets sockets go after their handshake, one (the shard) owns logs and
//! connections, one owns voice sessions, two belong to the store. Decisions are `tautline-machine`'s; what is here drives them.

mod clock;
pub mod config;
mod fatal;
mod http;
mod ids;
mod limit;
mod load;
mod measures;
mod memory;
mod parse;
mod peer;
mod revoked;
mod run;
mod secret;
mod shard;
mod shutdown;
mod socket;
pub mod store;
mod tls;
pub mod token;
pub mod upkeep;
mod voice;
mod watch;
pub mod ws;

pub use fatal::{Fatal, say};
pub use parse::{Rate, ReachedAt};
pub use peer::Net;
pub use revoked::Revocation;
pub use run::serve;
pub use secret::Secret;

/// Reads a time like `500ms`, `15s`, `12h` or `30d`.
///
/// # Errors
/// A sentence that says what such a time looks like.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    parse::duration(text)
}
