//! What each row of the table of limits is counted under: `tautline_limit_hits_total{limit}`
//! (`docs/protocol.md`, Limits).

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        $($(#[$doc])* pub const $name: &str = $label;)*

        /// Every row that can be hit, so that a test can ask for each.
        pub const ROWS: &[&str] = &[$($label),*];
    };
}

rows! {
    /// [`super::CONNECTIONS`].
    CONNECTIONS = "connections",
    /// [`super::RESTAURANT_CONNECTIONS`].
    RESTAURANT_CONNECTIONS = "restaurant_connections",
    /// [`super::ADDRESS_CONNECTIONS`].
    ADDRESS_CONNECTIONS = "address_connections",
    /// [`super::ADDRESS_RATE_PER_S`], [`super::ADDRESS_RATE_BURST`].
    ADDRESS_RATE = "address_rate",
    /// [`super::AUTH_FAILURES_PER_MIN`].
    AUTH_FAILURES = "auth_failures",
    /// [`super::UNAUTHENTICATED`].
    UNAUTHENTICATED = "unauthenticated",
    /// [`super::MAX_MESSAGE_BEFORE_AUTH`].
    MESSAGE_BEFORE_AUTH = "message_before_auth",
    /// [`super::REQUEST_HEAD`], [`super::REQUEST_FIELDS`].
    REQUEST_HEAD = "request_head",
    /// [`super::REQUEST_HEAD_MS`].
    REQUEST_HEAD_TIME = "request_head_time",
    /// [`super::REQUEST_BODY`].
    REQUEST_BODY = "request_body",
    /// [`super::REQUEST_BODY_MS`].
    REQUEST_BODY_TIME = "request_body_time",
    /// [`super::AUTH_MS`].
    AUTH_TIME = "auth_time",
    /// [`super::MAX_MESSAGE`].
    MESSAGE = "message",
    /// [`super::MAX_DEPTH`], [`super::OBJECT_KEYS`], keys told twice, numbers without end.
    MESSAGE_SHAPE = "message_shape",
    /// [`super::MAX_BATCH_IN`].
    MESSAGE_ARRAY = "message_array",
    /// [`super::RATE_PER_S`], [`super::RATE_BURST`].
    COMMAND_RATE = "command_rate",
    /// [`super::REFUSED_MOST`] in [`super::REFUSED_WINDOW_MS`].
    COMMAND_REFUSALS = "command_refusals",
    /// The command rate of a token's writes by HTTP.
    HTTP_WRITES = "http_writes",
    /// [`super::PINGS_PER_S`].
    PING_RATE = "ping_rate",
    /// [`super::RENEWAL_EVERY_MS`].
    RENEWAL_RATE = "renewal_rate",
    /// [`super::SYNC_EVERY_MS`].
    SYNC_RATE = "sync_rate",
    /// [`super::CONTROL_QUEUE`].
    CONTROL_QUEUE = "control_queue",
    /// [`super::WRITE_STALL_MS`].
    WRITE_STALL = "write_stall",
    /// [`super::TAIL_EVENTS`].
    TAIL_EVENTS = "tail_events",
    /// [`super::TAIL_BYTES`].
    TAIL_BYTES = "tail_bytes",
    /// [`super::TAIL_MEMORY_BYTES`].
    TAIL_MEMORY = "tail_memory",
    /// [`super::TAIL_MEMORY_ALL_BYTES`].
    TAIL_MEMORY_ALL = "tail_memory_all",
    /// [`super::LIVE_ORDERS`].
    LIVE_ORDERS = "live_orders",
    /// [`super::LIVE_BYTES`].
    LIVE_BYTES = "live_bytes",
    /// [`super::MAX_ORDER`].
    ORDER = "order",
    /// [`super::DEDUPE_COMMANDS`].
    DUPLICATE_MEMORY = "duplicate_memory",
    /// [`super::APPEND_QUEUE`].
    APPEND_QUEUE = "append_queue",
    /// [`super::SNAPSHOTS`].
    SNAPSHOTS = "snapshots",
    /// [`super::RESTAURANT_IDLE_MS`].
    RESTAURANT_IDLE = "restaurant_idle",
    /// [`super::RESTAURANTS`].
    RESTAURANTS = "restaurants",
    /// [`super::REVOCATIONS`].
    REVOCATIONS = "revocations",
    /// [`super::LOOP_DELAY_MS`], [`super::COMMIT_DELAY_MS`]: new sockets refused, cursors ended, commands refused.
    OVERLOAD = "overload",
    /// [`super::VOICE_SESSIONS`].
    VOICE_SESSIONS = "voice_sessions",
    /// [`super::VOICE_RESTAURANT`].
    VOICE_RESTAURANT = "voice_restaurant",
    /// [`super::VOICE_PERSON`].
    VOICE_PERSON = "voice_person",
    /// [`super::VOICE_HALF_OPEN`].
    VOICE_HALF_OPEN = "voice_half_open",
    /// [`super::VOICE_SETUP_MS`].
    VOICE_SETUP = "voice_setup",
    /// [`super::VOICE_SILENCE_MS`].
    VOICE_SILENCE = "voice_silence",
    /// [`super::VOICE_IDLE_MS`].
    VOICE_IDLE = "voice_idle",
    /// [`super::VOICE_LENGTH_MS`].
    VOICE_LENGTH = "voice_length",
    /// [`super::VOICE_MESSAGES_PER_S`], [`super::VOICE_MESSAGES_BURST`].
    VOICE_MESSAGES = "voice_messages",
    /// [`super::VOICE_AUDIO_PER_S`], [`super::VOICE_AUDIO_BURST`].
    VOICE_AUDIO = "voice_audio",
    /// [`super::VOICE_QUEUE_BYTES`], [`super::VOICE_SIDEBAND_EVENTS`].
    VOICE_QUEUE = "voice_queue",
    /// [`super::VOICE_SIDEBANDS`].
    VOICE_SIDEBANDS = "voice_sidebands",
    /// [`super::VOICE_CHANNEL_MESSAGE`].
    VOICE_CHANNEL_MESSAGE = "voice_channel_message",
    /// [`super::VOICE_PATHS`].
    VOICE_PATHS = "voice_paths",
    /// [`super::VOICE_TCP_CONNECTIONS`].
    VOICE_TCP = "voice_tcp",
    /// [`super::REALTIME_MESSAGE`].
    REALTIME_MESSAGE = "realtime_message",
    /// [`super::REALTIME_FORM`].
    REALTIME_FORM = "realtime_form",
    /// [`super::REALTIME_SECRETS`].
    REALTIME_SECRETS = "realtime_secrets",
    /// [`super::UDP_STRANGER_PER_S`].
    UDP_STRANGERS = "udp_strangers",
    /// [`super::UDP_AMPLIFICATION`].
    UDP_AMPLIFICATION = "udp_amplification",
}

#[cfg(test)]
mod tests {
    use super::ROWS;

    #[test]
    fn every_row_has_its_own_label_and_its_line_in_the_table() {
        let table = include_str!("../../../../docs/protocol.md");
        let table = table.split("## Limits").nth(1).expect("the table");
        for (n, row) in ROWS.iter().enumerate() {
            assert!(!ROWS[..n].contains(row), "{row} twice");
            assert!(
                table.contains(&format!("`{row}`")),
                "docs/protocol.md does not name {row}"
            );
        }
    }
}
