//! Every decision of Tautline as plain state machines (`docs/architecture.md`).
//!
//! A machine knows no browser, no socket, no clock and no randomness but what it is handed:
//! `handle(input, now)` in, `poll_output()` out. Drivers perform the outputs. So the browser client and the relay
//! run together in one native test under a simulated clock and a hostile simulated network (`tests/sim.rs`).
//!
//! - [`client`]: what a page runs: the connection, its outbox and position, the order set, leases.
//! - [`relay`]: what the relay runs: a restaurant's log, a connection's cursor, the peer's session.

mod rng;
#[cfg(feature = "client")]
mod sorted;
mod time;
mod timers;
pub mod trend;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "relay")]
pub mod relay;

pub use rng::Rng;
pub use time::Time;
pub use timers::Timers;
