//! The connection to an upstream, as the machine that holds a conversation over it sees it.

use crate::Time;
use tautline_protocol::CloseCode;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is there.
    Up,
    /// A message.
    Said(String),
    /// It is gone: with what the upstream closed it, or broken off.
    Closed(Option<(CloseCode, String)>),
    /// It did not come about.
    Failed(Failed),
}

/// Why a connection did not come about. Nothing of it is the upstream's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What a program tells it by.
    pub code: &'static str,
    /// What a person reads.
    pub message: String,
    /// It may come about another time.
    pub passes: bool,
}

/// What is to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Let go of the one before, and dial.
    Dial(u64),
    Send(String),
    HangUp,
}

/// Who is at the far end. What it does not say at once comes by [`super::Adapter::heard`].
pub trait Upstream {
    /// Lets go of a connection that is there, and begins one under this number.
    fn dial(&mut self, number: u64, now: Time);

    /// Sends a client's event.
    fn send(&mut self, event: String, now: Time);

    /// Lets go of the connection, with a goodbye.
    fn hang_up(&mut self);

    /// Time passed.
    fn timeout(&mut self, _now: Time) {}

    /// What it says at once.
    fn says(&mut self) -> Option<(u64, Heard)> {
        None
    }

    /// When [`Upstream::timeout`] is wanted.
    fn due(&self) -> Option<Time> {
        None
    }
}
