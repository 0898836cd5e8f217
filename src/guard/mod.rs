//! Guards: the only way a browser resource exists here. Each is on the ledger from birth and lets go in `Drop`:
//! closures detached before they are freed, timers cleared, sockets closed, fetches aborted.

mod fetch;
mod listener;
mod promise;
#[cfg(feature = "voice")]
mod resource;
mod socket;
mod timer;
mod wake;

pub(crate) use fetch::Fetch;
pub(crate) use listener::Listener;
pub(crate) use promise::{Awaited, Settle};
#[cfg(feature = "voice")]
pub(crate) use resource::Resource;
pub(crate) use socket::{Socket, SocketEvent};
pub(crate) use timer::Timer;
pub(crate) use wake::Wake;
