//! Voice: the conversation a call holds, in the events of the Realtime API (`docs/protocol.md` §3).
//!
//! * [`Policy`] says what a restaurant's sessions may be, [`Settings`] what one of them is.
//! * [`Peer`] is the relay's own end of a call: it takes turns by energy, says back what it heard, and makes orders
//!   out of text that matches the menu. It recognises no speech: what it says of a sound was measured.
//! * [`Watch`] follows a call that an upstream answers, over its sideband: it runs `submit_order` and keeps what the
//!   policy locks.

mod answer;
mod audio;
mod cart;
mod conversation;
mod error;
mod field;
mod format;
mod g711;
mod hearing;
mod input;
mod item;
mod matching;
mod measure;
mod menu;
mod peer;
mod playback;
mod policy;
mod request;
mod resample;
mod response;
mod settings;
mod turn_detection;
mod watch;
mod wire;

pub use error::{ApiError, INVALID_REQUEST, SERVER};
pub use menu::{ADD_TO_ORDER, Ingredient, Menu, MenuItem, SUBMIT_ORDER, Size};
pub use peer::{Edge, Output, Peer, Setup};
pub use policy::{Allow, Call, Line, Policy};
pub use settings::{Defaults, Settings};
pub use watch::{Ended, Watch, WatchOutput};

#[cfg(test)]
mod tests;
