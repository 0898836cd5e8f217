//! What JavaScript is asked to do.

use tautline_protocol::JsonWriter;

/// One thing to do to a socket, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send a text message.
    Send(u32, String),
    /// Send a WebSocket ping.
    Ping(u32),
    /// Send a close frame, after what was sent before.
    Close(u32, u16, String),
    /// Cut it.
    Drop(u32),
}

impl Effect {
    /// `{"kind", "connection", …}`.
    pub(crate) fn json(&self) -> String {
        let of = |kind, connection: &u32| {
            JsonWriter::object()
                .str("kind", kind)
                .u64("connection", u64::from(*connection))
        };
        match self {
            Self::Send(connection, text) => of("send", connection).str("text", text),
            Self::Ping(connection) => of("ping", connection),
            Self::Close(connection, code, reason) => of("close", connection)
                .u64("code", u64::from(*code))
                .str("reason", reason),
            Self::Drop(connection) => of("drop", connection),
        }
        .end()
    }
}
