//! A call that an upstream answers, followed over its sideband.

use super::settings::Settings;
use crate::Time;
use std::collections::VecDeque;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum WatchOutput {
    /// Send this client event on the sideband.
    Send(String),
    /// Make this order as the session's role and `sub`, and say what became of it: [`Watch::ordered`].
    Submit {
        /// Names the call; the same call is the same order.
        call_id: String,
        /// A new order, as `POST …/orders` takes it.
        order: String,
    },
    /// The policy's length is reached in 60 s: tell the client if it can be told.
    Warn,
    /// The policy's length is reached: hang up.
    End,
    /// Nothing more to do; call [`Watch::timeout`] then.
    Wait(Option<Time>),
}

/// See the module. Every call is followed by a drain of [`Watch::poll_output`] until it says [`WatchOutput::Wait`].
#[derive(Debug)]
pub struct Watch {
    settings: Settings,
    ends: Time,
    out: VecDeque<WatchOutput>,
}

impl Watch {
    /// A call that begins with those settings, of at most `length_ms` (a policy's shorter one wins).
    pub fn new(settings: Settings, length_ms: u64, now: Time) -> Self {
        let most = settings.policy().max_length_s.saturating_mul(1_000);
        Self {
            settings,
            ends: now + length_ms.min(most),
            out: VecDeque::new(),
        }
    }

    /// A server event of the upstream's, as JSON text.
    pub fn event(&mut self, text: &str, now: Time) {
        let _ = (text, now);
    }

    /// What became of a [`WatchOutput::Submit`]: the order as JSON, or why there is none.
    pub fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time) {
        let _ = (call_id, result, now);
    }

    /// Time passed.
    pub fn timeout(&mut self, now: Time) {
        let _ = now;
    }

    /// The settings that hold.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The next output; [`WatchOutput::Wait`] ends every drain.
    pub fn poll_output(&mut self) -> WatchOutput {
        self.out
            .pop_front()
            .unwrap_or(WatchOutput::Wait(Some(self.ends)))
    }
}
