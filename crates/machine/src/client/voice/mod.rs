//! A call to a voice model (`docs/protocol.md` §3): [`Voice`] decides when its parts are made, what a loss of them
//! means, whose turn it is, and what was said.
//!
//! - `call.rs`: its state, its door, and the ladder after a loss. `dial.rs`: the stages of a connect.
//! - `turns.rs`: one response at a time, push-to-talk, barge-in.
//! - `conversation.rs`: what was said, in order, and how a new call is told of it.
//! - `playback.rs`: what is heard of the answers on a socket. `roll.rs`: the session that takes the place of one that runs
//!   out.
//! - `flat.rs`: what is looked at in a server's event.
//! - `line.rs`: what waits for the data channel. `quality.rs`: the score and the alarms. `microphone.rs`: what became
//!   of asking for one, and what takes an unplugged one's place.

mod call;
mod conversation;
mod dial;
mod flat;
mod io;
mod line;
mod microphone;
mod playback;
mod quality;
mod roll;
mod turns;

pub use call::Voice;
pub use conversation::{Line as TranscriptLine, LineState};
pub use flat::{List, event, sample};
pub use io::{
    Alarm, CallId, Config, EndReason, Event, Exchange, Failure, Input, Item, ItemKind, MicId,
    Notice, Output, Path, Played, Playing, Role, State, Timer, TokenResult, Transport,
};
pub use microphone::Trouble;
pub use quality::{Report, Sample};
