/// A WebSocket close code (RFC 6455 §7.4) with the meaning `docs/protocol.md` §1 gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Normal closure.
    pub const NORMAL: Self = Self(1000);
    /// Page or server going away.
    pub const GOING_AWAY: Self = Self(1001);
    /// Protocol error.
    pub const PROTOCOL: Self = Self(1002);
    /// Unsupported data: a binary frame.
    pub const UNSUPPORTED: Self = Self(1003);
    /// No status in the close frame (never sent).
    pub const NO_STATUS: Self = Self(1005);
    /// The connection fell without a close frame (never sent).
    pub const ABNORMAL: Self = Self(1006);
    /// Not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// The first auth was refused, or the first message was not `auth`.
    pub const POLICY: Self = Self(1008);
    /// A message over the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// The relay's own error.
    pub const INTERNAL: Self = Self(1011);
    /// The relay restarts; the reason carries `reconnect_after_ms=N`.
    pub const RESTART: Self = Self(1012);
    /// Overloaded, try later.
    pub const TRY_LATER: Self = Self(1013);
    /// The token ran out on an open connection, or was revoked.
    pub const TOKEN_EXPIRED: Self = Self(4001);
    /// Restaurant or role not allowed.
    pub const FORBIDDEN: Self = Self(4003);
    /// Slow consumer: beyond the tail.
    pub const SLOW_CONSUMER: Self = Self(4008);
    /// No auth in time.
    pub const AUTH_TIMEOUT: Self = Self(4009);
    /// Rate limit.
    pub const RATE_LIMIT: Self = Self(4029);
    /// Client: heartbeat lost.
    pub const HEARTBEAT_LOST: Self = Self(4100);
    /// Client: protocol error.
    pub const CLIENT_PROTOCOL: Self = Self(4101);
    /// Client: connect timeout.
    pub const CONNECT_TIMEOUT: Self = Self(4102);
    /// Client: page hidden for the back/forward cache.
    pub const PAGE_HIDDEN: Self = Self(4103);
    /// Client: the connection that tabs share is another one now (never sent, and not for a server to say).
    pub const HANDED_OVER: Self = Self(4104);

    /// What the client does after this code (`docs/protocol.md` §1, Close codes).
    pub fn action(self) -> CloseAction {
        match self {
            Self::POLICY => CloseAction::AuthRefused,
            Self::FORBIDDEN => CloseAction::Forbidden,
            Self::TOKEN_EXPIRED => CloseAction::TokenExpired,
            Self::RESTART => CloseAction::Restart,
            Self::TRY_LATER => CloseAction::Backoff { at_least_ms: 5_000 },
            Self::SLOW_CONSUMER => CloseAction::SlowConsumer,
            Self::RATE_LIMIT => CloseAction::Backoff {
                at_least_ms: 10_000,
            },
            Self::TOO_BIG
            | Self::PROTOCOL
            | Self::UNSUPPORTED
            | Self::INVALID_DATA
            | Self(1010) => CloseAction::Report,
            _ => CloseAction::Backoff { at_least_ms: 0 },
        }
    }

    /// Whether the connection fell without the server saying why: then clients spread their return.
    pub fn is_abnormal(self) -> bool {
        matches!(self, Self::NO_STATUS | Self::ABNORMAL)
    }
}

/// What a close code asks of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseAction {
    /// Reconnect with backoff, never sooner than this.
    Backoff {
        /// The least wait in milliseconds.
        at_least_ms: u64,
    },
    /// Report the protocol error, then back off.
    Report,
    /// 1008: after `auth:failed` one more try with a fresh token; without it backoff of at least 30 s.
    AuthRefused,
    /// 4003: state `error`, `auth_forbidden`.
    Forbidden,
    /// 4001: fetch a new token, the first attempt at once.
    TokenExpired,
    /// 1012: after the wait in the reason, plus up to a quarter.
    Restart,
    /// 4008: resume after at least 2 s, doubling while it repeats.
    SlowConsumer,
}

impl CloseCode {
    /// The wait that a 1012 close's reason carries as `reconnect_after_ms=N`, at most a minute.
    pub fn reconnect_after_ms(reason: &str) -> Option<u64> {
        // By bytes: the standard library's search for text is 3 KB of the browser's module.
        let name: &[u8] = b"reconnect_after_ms=";
        let at = reason
            .as_bytes()
            .windows(name.len())
            .position(|bytes| bytes == name)?;
        let digits = reason.as_bytes().iter().skip(at + name.len());
        let digits = digits.take_while(|byte| byte.is_ascii_digit());
        digits
            .map(|byte| u64::from(byte - b'0'))
            .reduce(|ms, digit| ms.saturating_mul(10).saturating_add(digit))
            .map(|ms| ms.min(60_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_reason_carries_a_bounded_wait() {
        assert_eq!(
            CloseCode::reconnect_after_ms("restart; reconnect_after_ms=1500"),
            Some(1500)
        );
        assert_eq!(
            CloseCode::reconnect_after_ms("reconnect_after_ms=99999999, bye"),
            Some(60_000)
        );
        assert_eq!(CloseCode::reconnect_after_ms("bye"), None);
        assert_eq!(CloseCode::reconnect_after_ms("reconnect_after_ms=x"), None);
    }
}
