use tautline_machine::relay::voice::Over;
use tautline_protocol::CloseCode;
use tautline_protocol::limits::hit;

/// Why a session ends: its label in `tautline_voice_ended_total{reason}`, and what its client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The label.
    pub(crate) reason: &'static str,
    /// On a WebSocket.
    pub(crate) code: CloseCode,
    /// The close reason.
    pub(crate) text: &'static str,
    /// The row of the table of limits it stands for.
    pub(crate) limit: Option<&'static str>,
}

/// How one session ends: for the counts, and as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) ending: Ending,
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        Self {
            ending,
            code: ending.code,
            reason: ending.text.into(),
        }
    }
}

impl From<Over> for End {
    fn from(over: Over) -> Self {
        match over {
            Over::Upstream { code, reason } => Self {
                ending: Ending::UPSTREAM,
                code,
                reason,
            },
            Over::Policy => Ending::POLICY.into(),
        }
    }
}

macro_rules! endings {
    ($($(#[$doc:meta])* $name:ident = $reason:literal, $code:ident, $text:literal, $limit:expr;)*) => {
        impl Ending {
            $($(#[$doc])* pub(crate) const $name: Self = Self {
                reason: $reason,
                code: CloseCode::$code,
                text: $text,
                limit: $limit,
            };)*
            /// Every label there is.
            pub(crate) const REASONS: &[&str] = &[$($reason),*];
        }
    };
}

endings! {
    /// The client closed it.
    CLIENT = "client", NORMAL, "closed by the client", None;
    /// `POST …/hangup`.
    HANGUP = "hangup", NORMAL, "hung up", None;
    /// `DELETE /api/v1/sessions/{id}`.
    OPERATOR = "operator", NORMAL, "closed by an operator", None;
    /// Its token was revoked.
    REVOKED = "revoked", TOKEN_EXPIRED, "the token was revoked", None;
    /// Its token ran out.
    EXPIRED = "expired", TOKEN_EXPIRED, "the token ran out", None;
    /// The relay goes down.
    SHUTDOWN = "shutdown", RESTART, "the relay is going down", None;
    /// Its offer could not be answered.
    OFFER = "offer", TRY_LATER, "the offer could not be answered", None;
    /// It did not come about in time.
    SETUP = "setup", TRY_LATER, "the call was not set up in time", Some(hit::VOICE_SETUP);
    /// Nothing came from its peer any more.
    SILENCE = "silence", TRY_LATER, "nothing was heard of the peer", Some(hit::VOICE_SILENCE);
    /// Nobody said or did anything.
    IDLE = "idle", GOING_AWAY, "nobody said or did anything for too long", Some(hit::VOICE_IDLE);
    /// The longest a session may be.
    LENGTH = "length", GOING_AWAY, "the session has reached its longest duration", Some(hit::VOICE_LENGTH);
    /// Over its rates for too long.
    RATE = "rate", RATE_LIMIT, "too many messages, or too much sound, for too long", None;
    /// It did not take what was sent.
    SLOW = "slow", SLOW_CONSUMER, "the client does not take what it is sent", Some(hit::VOICE_QUEUE);
    /// A breach of WebSocket's rules.
    PROTOCOL = "protocol", PROTOCOL, "a breach of the protocol", None;
    /// Its transport failed.
    TRANSPORT = "transport", INTERNAL, "the transport failed", None;
    /// The upstream ended it or went away.
    UPSTREAM = "upstream", INTERNAL, "the upstream ended the session", None;
    /// The upstream does not keep what the policy locks.
    POLICY = "policy", POLICY, "the session does not keep to its policy", None;
    /// A bug of the relay's.
    PANIC = "panic", INTERNAL, "an error of the relay's", None;
}
