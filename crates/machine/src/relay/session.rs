//! The peer's protocol on one orders socket: what its frames mean and what is said back (`docs/protocol.md` §1, Life
//! of a connection). It never reads the log; the driver carries its commands there and the answers back.
use tautline_protocol::request::Command;
use tautline_protocol::{AuthCode, CloseCode, Dialect, Epoch, Role, Seq};
use super::record::Answer;
use super::Moment;
use crate::Time;

/// What the relay announces and allows; one for all sessions.
#[derive(Clone, Debug)]
pub struct Config {
    /// The heartbeat announced in `connected`, and the interval of WebSocket pings.
    pub heartbeat_ms: u64,
    /// The command rate and message size announced in `auth:success`.
    pub limits: tautline_protocol::limits::Limits,
}

/// What a token says, after its signature, issuer, audience and times were checked by the driver.
#[derive(Clone, Debug)]
pub struct Claims {
    /// Who.
    pub sub: String,
    /// The restaurants it names; `None` is `"*"` (the driver lets only `service` have it).
    pub restaurants: Option<Vec<String>>,
    /// The role's name, known or not.
    pub role: String,
    /// `exp`, RFC 3339.
    pub expires_at: String,
    /// How long it lives yet, leeway not counted; 0 when it is in the leeway.
    pub expires_in_ms: u64,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The socket is open; whether the subprotocol `tautline.v1` was offered and echoed.
    Opened {
        /// Offered and echoed.
        v1: bool,
    },
    /// A text message.
    Frame(&'a str),
    /// A binary message.
    Binary,
    /// A message over the limit (the driver stopped reading it).
    TooBig,
    /// A WebSocket pong (any frame counts as life, too).
    Pong,
    /// The answer to [`Output::Verify`].
    Verified(Result<Claims, AuthCode>),
    /// The answer to [`Output::Attach`]: where the cursor was placed.
    Attached {
        /// The log's epoch.
        epoch: Epoch,
        /// Its head.
        seq: Seq,
        /// Whether the missed events follow.
        resumed: bool,
    },
    /// The answer to [`Output::Submit`].
    Answered {
        /// The number it was submitted under.
        number: u64,
        /// The answer.
        answer: Answer,
    },
    /// A sync is complete ([`super::Taken::Turn`]`::synced`).
    Synced,
    /// Bytes were handed to the socket and wait to be written: from now on it must make progress.
    Blocked,
    /// The socket took some bytes; `empty`: all of them.
    Wrote {
        /// Nothing waits any more.
        empty: bool,
    },
    /// The relay is going down: close 1012 with this wait.
    Drain {
        /// How long this client should wait.
        reconnect_after_ms: u64,
    },
    /// The driver ends it (too slow, overloaded, `/dev/trouble`, the sessions API).
    End(CloseCode, &'static str),
    /// The socket is closed, by whomever.
    Closed,
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Send this frame, before any events not yet written.
    Send(String),
    /// Send a WebSocket ping.
    Ping,
    /// Check this token and answer [`Input::Verified`].
    Verify(super::Token),
    /// Place a cursor ([`super::Log::place`]) and answer [`Input::Attached`]; only once in a session.
    Attach {
        /// The restaurant.
        restaurant_id: String,
        /// The dialect from here on.
        dialect: Dialect,
        /// The role, for [`super::Log::place`].
        role: Role,
        /// The position the client has.
        resume: Option<(Epoch, Seq)>,
        /// Whether it wants a snapshot otherwise.
        sync: bool,
    },
    /// Let the log judge this and answer [`Input::Answered`].
    Submit {
        /// Comes back with the answer.
        number: u64,
        /// The command.
        command: Box<Command>,
        /// Its id and hash.
        key: Option<(String, u128)>,
    },
    /// [`super::Cursor::sync`]; answered by [`Input::Synced`] when complete.
    Sync {
        /// The `sync_id`.
        id: Option<String>,
        /// The client's position; `None` for the whole set.
        position: Option<(Epoch, Seq)>,
    },
    /// Send this close frame after what was sent before; nothing follows but `Wait`.
    Close(CloseCode, String),
    /// Cut the connection: the peer no longer answers.
    Drop,
    /// Nothing more to do; wake it then, and for this reason.
    Wait(Option<(Time, Timer)>),
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// `auth` within 10 s.
    Auth,
    /// The next WebSocket ping.
    Ping,
    /// The token's end and its leeway.
    Expiry,
    /// Progress of a blocked socket.
    Stall,
    /// The peer's close frame after ours; then the connection is cut.
    Linger,
}

/// See the module.
#[derive(Debug)]
pub struct Session { _todo: () }

impl Session {
    /// A session for a socket just accepted.
    pub fn new(_config: std::sync::Arc<Config>) -> Self { todo!() }
    /// Takes one input and decides; the caller then drains [`Session::poll_output`]. `head` is the log's head for
    /// `pong` (0 before attached), `spread_ms` the reconnect spread in force.
    pub fn handle(&mut self, _input: Input<'_>, _at: Moment, _head: Seq, _spread_ms: u64) { todo!() }
    /// The next effect; `Wait` ends every drain.
    pub fn poll_output(&mut self) -> Output { todo!() }
    /// Who it is, once authenticated.
    pub fn identity(&self) -> Option<(&str, &str, Role)> { todo!() }
    /// The dialect in force.
    pub fn dialect(&self) -> Dialect { todo!() }
}
