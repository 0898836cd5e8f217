//! The browser's side of Tautline: drivers for the client machines of `tautline-machine`, and what they are to
//! JavaScript. The public classes are the TypeScript layer's (`pkg/src`), which holds the ones exported here.
//!
//! - [`WebSocketService`], [`ConnectionManager`], [`OrderUpdates`]: a file each, handles on one core a service.
//! - `core`: the driver. One door for inputs, a turn that takes them one by one, the outputs performed.
//! - `pool`: [`WebSocketPool`]'s driver, over several of those.
//! - `voice`: [`VoiceConnection`] and its driver, of the same shape; left out of the module that has no voice.
//! - `guard`, `ledger`: owning is the only way to have a browser resource, and each is on the ledger.
//! - `frame`, `orders`: what is read of received objects, which stay the engine's own.
//! - `lifecycle`: what the page tells of itself. `host`: what the layer lends to this module.

#![cfg(target_family = "wasm")]

mod connection_manager;
mod convert;
mod core;
mod error;
mod frame;
mod guard;
mod host;
mod js;
mod ledger;
mod lifecycle;
mod options;
mod order_updates;
mod orders;
mod pool;
#[cfg(feature = "voice")]
mod voice;
mod websocket_pool;
mod websocket_service;

pub use connection_manager::ConnectionManager;
pub use core::{receive_begin, receive_end, receive_event, receive_other, receive_rest};
pub use host::{Host, install_host, memory_bytes, provoke_trap};
pub use order_updates::OrderUpdates;
#[cfg(feature = "voice")]
pub use voice::{Rtc, VoiceConnection};
pub use websocket_pool::WebSocketPool;
pub use websocket_service::WebSocketService;
