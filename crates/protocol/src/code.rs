macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)* }

        impl $name {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The code of that name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// Why a command was refused (`docs/protocol.md` §1, Commands).
    NackCode {
        /// The order's state does not allow it.
        InvalidTransition = "invalid_transition",
        /// No such order, or not for this role's eyes.
        NotFound = "not_found",
        /// `expected_status` was not what the order has.
        Conflict = "conflict",
        /// This role may not.
        Forbidden = "forbidden",
        /// The frame or its payload is not of the right shape.
        Invalid = "invalid",
        /// The same id with another content.
        IdReused = "id_reused",
        /// Over the rate in `limits`.
        RateLimited = "rate_limited",
        /// The relay has no room now.
        Overloaded = "overloaded",
        /// The store cannot take it now.
        Unavailable = "unavailable",
    }
}

impl NackCode {
    /// Whether the same command may hold later without being changed.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Overloaded | Self::Unavailable
        )
    }

    /// The HTTP status the same refusal has.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidTransition | Self::Conflict => 409,
            Self::NotFound => 404,
            Self::Forbidden => 403,
            Self::Invalid | Self::IdReused => 422,
            Self::RateLimited => 429,
            Self::Overloaded | Self::Unavailable => 503,
        }
    }
}

codes! {
    /// What became of a command that was not acked.
    Outcome {
        /// It certainly changed nothing.
        NotApplied = "not_applied",
        /// It may have been applied.
        Unknown = "unknown",
        /// It never left the outbox (the client's own word).
        NotSent = "not_sent",
    }
}

codes! {
    /// Why `auth` was refused (`docs/protocol.md` §1, Life of a connection).
    AuthCode {
        /// Not a token this relay takes.
        TokenInvalid = "token_invalid",
        /// Its time is over.
        TokenExpired = "token_expired",
        /// Not for this restaurant.
        RestaurantForbidden = "restaurant_forbidden",
        /// The token names several and `auth` none.
        RestaurantRequired = "restaurant_required",
        /// No such role.
        RoleUnknown = "role_unknown",
        /// A renewal with another `sub` or restaurant.
        IdentityChanged = "identity_changed",
    }
}

codes! {
    /// The part of a connection attempt in which it failed.
    Stage {
        /// The `url` option.
        Url = "url",
        /// `getToken`.
        Token = "token",
        /// The WebSocket itself.
        Socket = "socket",
        /// From `connected` to `auth:success`.
        Auth = "auth",
        /// A call's microphone.
        Microphone = "microphone",
        /// A call's offer.
        Offer = "offer",
        /// The offer sent, the answer awaited.
        Exchange = "exchange",
        /// The answer taken.
        Answer = "answer",
        /// A path for the call's packets.
        Ice = "ice",
        /// The call's data channel.
        Channel = "channel",
        /// The call's settings confirmed.
        Settings = "settings",
    }
}

codes! {
    /// The closed set of `TautlineError.code` (`pkg/README.md`, Errors).
    ErrorCode {
        /// Something was used before `init()` had resolved.
        NotInitialized = "not_initialized",
        /// The module trapped; the page must load it again.
        Internal = "internal",
        /// The server refused the token.
        AuthFailed = "auth_failed",
        /// The server refused the restaurant or role.
        AuthForbidden = "auth_forbidden",
        /// The token ran out and no new one was to be had.
        AuthExpired = "auth_expired",
        /// The attempts were used up.
        ConnectFailed = "connect_failed",
        /// The attempt, or the wait for it, took too long.
        ConnectTimeout = "connect_timeout",
        /// The caller gave up.
        Aborted = "aborted",
        /// The object was disposed.
        Disposed = "disposed",
        /// The outbox has no room.
        OutboxFull = "outbox_full",
        /// An entry waited longer than its time.
        OutboxExpired = "outbox_expired",
        /// The outbox cannot be kept in the browser's storage; it is in memory.
        StorageUnavailable = "storage_unavailable",
        /// Larger than the server takes.
        MessageTooLarge = "message_too_large",
        /// The server refused the command.
        Nack = "nack",
        /// No answer in time.
        RequestTimeout = "request_timeout",
        /// The other side broke the protocol.
        Protocol = "protocol",
        /// A buffer of the page's is full.
        Overflow = "overflow",
        /// WebAssembly cannot be had here.
        WasmUnavailable = "wasm_unavailable",
        /// An argument is not what the method takes.
        InvalidArgument = "invalid_argument",
        /// A callback of the page's threw.
        Callback = "callback",
        /// An HTTP call failed.
        HttpFailed = "http_failed",
        /// The user, or the browser's settings, allow no microphone.
        MicrophoneDenied = "microphone_denied",
        /// The user closed the browser's question.
        MicrophoneDismissed = "microphone_dismissed",
        /// There is none.
        MicrophoneMissing = "microphone_missing",
        /// Something else has it.
        MicrophoneInUse = "microphone_in_use",
        /// None is what was asked for.
        MicrophoneOverconstrained = "microphone_overconstrained",
        /// It was unplugged or taken away.
        MicrophoneEnded = "microphone_ended",
        /// It could not be had for another reason.
        MicrophoneFailed = "microphone_failed",
        /// Browsers give microphones to `https:` pages only.
        InsecureContext = "insecure_context",
        /// The offer was not answered with one to it.
        SdpExchangeFailed = "sdp_exchange_failed",
        /// No path for the call's packets.
        IceFailed = "ice_failed",
        /// The browser plays nothing before the user has touched the page.
        NeedsGesture = "needs_gesture",
        /// The server refused something of the conversation.
        RealtimeError = "realtime_error",
    }
}

impl ErrorCode {
    /// Whether trying the same again can help.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::OutboxFull
                | Self::OutboxExpired
                | Self::RequestTimeout
                | Self::AuthExpired
                | Self::HttpFailed
                | Self::MicrophoneDismissed
                | Self::MicrophoneInUse
                | Self::MicrophoneEnded
                | Self::IceFailed
                | Self::NeedsGesture
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_to_one() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
        for &code in NackCode::ALL {
            assert_eq!(NackCode::parse(code.as_str()), Some(code));
        }
    }
}
