//! Who holds the conversation with a session's client: the relay's own [`super::Peer`], a script, or an upstream. Each
//! takes the client's events of the Realtime API and gives the server's; a session does not know which it has.

use super::error::ApiError;
use super::far::Heard;
use crate::Time;
use tautline_protocol::CloseCode;

/// How the client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// WebRTC: sound is G.711 µ-law over RTP, events go over the data channel.
    Rtc,
    /// WebSocket: sound is base64 in events.
    Socket,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this event to every control connection: data channel, socket, sideband.
    Event(String),
    /// Send this as the next 20 ms of G.711 µ-law. They are put out at the pace they are to be sent at.
    Play(Vec<u8>),
    /// Make this order as the session's role and `sub`, and say what became of it: [`Adapter::ordered`].
    Submit {
        /// Names the call; the same call is the same order.
        call_id: String,
        /// A new order, as `POST …/orders` takes it.
        order: String,
    },
    /// The session is over; nothing follows but `Wait`.
    End(Over),
    /// Nothing more to do; call [`Adapter::timeout`] then.
    Wait(Option<Time>),
}

/// Why whoever answers ends a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The upstream closed it, or could not be reached again.
    Upstream {
        /// What it closed with, or what stands for that.
        code: CloseCode,
        /// The close reason.
        reason: String,
    },
    /// It does not keep what the policy locks.
    Policy,
}

/// See the module. Every call is followed by a drain of [`Adapter::poll_output`] until it says [`Output::Wait`].
pub trait Adapter {
    /// A client's event, as JSON text; from the data channel, the socket or a sideband alike. What is wrong with it is
    /// told in an `error` event, and the session goes on.
    fn event(&mut self, text: &str, now: Time);

    /// What the client's microphone heard: G.711 µ-law at 8 kHz, usually 20 ms. Only on [`Edge::Rtc`].
    fn audio(&mut self, ulaw: &[u8], now: Time);

    /// What became of an [`Output::Submit`]: the order as JSON, or why there is none.
    fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time);

    /// Something of the connection to an upstream, by the number it was dialled under. Only where there is one.
    fn heard(&mut self, _number: u64, _heard: Heard, _now: Time) {}

    /// Time passed.
    fn timeout(&mut self, now: Time);

    /// An `error` event of the driver's: a message dropped for its rate, a session about to end.
    fn error(&mut self, error: &ApiError);

    /// `session.created` for a sideband that just joined, if there is a session yet; send it to that connection only.
    fn greeting(&mut self) -> Option<String>;

    /// The last time that somebody did something: an event, a voice, an answer. Silence on the wire is nothing.
    fn active_at(&self) -> Time;

    /// The next output; [`Output::Wait`] ends every drain.
    fn poll_output(&mut self) -> Output;
}
