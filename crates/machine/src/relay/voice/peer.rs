//! The relay's own end of a call.

use super::error::ApiError;
use super::policy::Policy;
use super::settings::Settings;
use crate::Time;
use serde_json::json;
use std::collections::VecDeque;

/// How the client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// WebRTC: sound is G.711 µ-law over RTP, events go over the data channel.
    Rtc,
    /// WebSocket: sound is base64 in events.
    Socket,
}

/// What a session begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How the client is connected.
    pub edge: Edge,
    /// What the ids are made from.
    pub seed: u64,
    /// The settings, with the policy they are under.
    pub settings: Settings,
    /// `sess_…`.
    pub session_id: String,
    /// When it ends at the latest, seconds since 1970.
    pub expires_at_s: u64,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this event to every control connection: data channel, socket, sideband.
    Event(String),
    /// Send this as the next 20 ms of G.711 µ-law. They are put out at the pace they are to be sent at.
    Play(Vec<u8>),
    /// Make this order as the session's role and `sub`, and say what became of it: [`Peer::ordered`].
    Submit {
        /// Names the call; the same call is the same order.
        call_id: String,
        /// A new order, as `POST …/orders` takes it.
        order: String,
    },
    /// Nothing more to do; call [`Peer::timeout`] then.
    Wait(Option<Time>),
}

/// See the module. Every call is followed by a drain of [`Peer::poll_output`] until it says [`Output::Wait`].
#[derive(Debug)]
pub struct Peer {
    settings: Settings,
    session_id: String,
    expires_at_s: u64,
    active_at: Time,
    out: VecDeque<Output>,
}

impl Peer {
    /// A session that begins: `session.created` is the first output.
    pub fn new(setup: Setup, now: Time) -> Self {
        Self {
            settings: setup.settings,
            session_id: setup.session_id,
            expires_at_s: setup.expires_at_s,
            active_at: now,
            out: VecDeque::new(),
        }
    }

    /// A client's event, as JSON text; from the data channel, the socket or a sideband alike.
    pub fn event(&mut self, text: &str, now: Time) {
        let _ = text;
        self.active_at = now;
    }

    /// What the client's microphone heard: G.711 µ-law at 8 kHz, usually 20 ms. Only on [`Edge::Rtc`].
    pub fn audio(&mut self, ulaw: &[u8], now: Time) {
        let _ = (ulaw, now);
    }

    /// What became of an [`Output::Submit`]: the order as JSON, or why there is none.
    pub fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time) {
        let _ = (call_id, result, now);
    }

    /// Time passed.
    pub fn timeout(&mut self, now: Time) {
        let _ = now;
    }

    /// An `error` event of the driver's: a message dropped for its rate, a session about to end.
    pub fn error(&mut self, error: &ApiError) {
        self.out
            .push_back(Output::Event(error.to_event("event_", None)));
    }

    /// `session.created` for a sideband that just joined; send it to that connection only.
    pub fn greeting(&mut self) -> String {
        json!({
            "type": "session.created",
            "event_id": "event_",
            "session": self.settings.to_session(&self.session_id, self.expires_at_s),
        })
        .to_string()
    }

    /// The settings that hold.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The policy that holds.
    pub fn policy(&self) -> &Policy {
        self.settings.policy()
    }

    /// The last time that somebody did something: an event, a voice, an answer. Silence on the wire is nothing.
    pub fn active_at(&self) -> Time {
        self.active_at
    }

    /// The next output; [`Output::Wait`] ends every drain.
    pub fn poll_output(&mut self) -> Output {
        self.out.pop_front().unwrap_or(Output::Wait(None))
    }
}
