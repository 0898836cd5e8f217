//! Voice: the conversation a call holds, in the events of the Realtime API (`docs/protocol.md` §3).
//!
//! * [`Policy`] says what a restaurant's sessions may be, [`Settings`] what one of them is.
//! * [`Adapter`] is whoever holds the conversation with a session's client, which is one of the two that follow.
//! * [`Peer`] is the relay's own end of a call: it takes turns by energy, says back what it heard, and makes orders
//!   out of text that matches the menu. It recognises no speech: what it says of a sound was measured.
//! * [`Remote`] has an upstream hold it, over a connection that may break; a [`Script`] that is played ([`Recital`]) is one.
//! * [`Stream`] is one connection of the voice socket, whose events are told in those of the Realtime API and back.
//! * [`Watch`] follows a call that an upstream answers, over its sideband: it runs `submit_order` and keeps what the
//!   policy locks.

mod adapter;
mod answer;
mod audio;
mod cart;
mod conversation;
mod convert;
mod error;
mod exchange;
mod far;
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
mod recital;
mod remote;
mod request;
mod resample;
mod response;
mod script;
mod settings;
mod stream;
mod turn_detection;
mod watch;
mod wire;

pub use adapter::{Adapter, Edge, Output, Over};
pub use error::{ApiError, INVALID_REQUEST, SERVER};
pub use far::{Failed, Heard, Upstream};
pub use menu::{ADD_TO_ORDER, Ingredient, Menu, MenuItem, SUBMIT_ORDER, Size};
pub use peer::{Peer, Setup};
pub use policy::{Allow, Call, Line, Policy};
pub use recital::Recital;
pub use remote::Remote;
pub use script::{Act, Fault, Script, Step};
pub use settings::{Defaults, Settings};
pub use stream::{Denied, Start, Stream, StreamInput, StreamOutput, Unstarted};
pub use watch::{Ended, Watch, WatchOutput};

#[cfg(test)]
mod tests;
