//! Every bound of the wire, one constant each (`docs/protocol.md`, Limits).

pub mod hit;

/// What `auth:success` tells a client to pace itself by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Commands a second, sustained.
    pub rate_per_s: u32,
    /// Commands at once.
    pub burst: u32,
    /// Bytes of one message.
    pub max_message: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate_per_s: RATE_PER_S,
            burst: RATE_BURST,
            max_message: MAX_MESSAGE,
        }
    }
}

/// Commands a second and connection.
pub const RATE_PER_S: u32 = 20;
/// Commands at once and connection.
pub const RATE_BURST: u32 = 100;
/// Commands refused for their rate within [`REFUSED_WINDOW_MS`] that end a connection.
pub const REFUSED_MOST: u32 = 200;
/// See [`REFUSED_MOST`], ms.
pub const REFUSED_WINDOW_MS: u64 = 10_000;
/// Sockets open at once; lowered to what the file limit leaves ([`FILES_RESERVED`]).
pub const CONNECTIONS: usize = 10_000;
/// Files that are not connections: the store, requests that are refused, all else.
pub const FILES_RESERVED: usize = 512;
/// Connections over the bound, or of an address over its own, that are told so at once; further ones are cut.
pub const REFUSALS_AT_ONCE: usize = 256;
/// Connections of one restaurant.
pub const RESTAURANT_CONNECTIONS: usize = 10_000;
/// Connections of one address.
pub const ADDRESS_CONNECTIONS: usize = 200;
/// New connections a second and address.
pub const ADDRESS_RATE_PER_S: u32 = 50;
/// New connections at once and address.
pub const ADDRESS_RATE_BURST: u32 = 200;
/// Refused tokens a minute and address.
pub const AUTH_FAILURES_PER_MIN: u32 = 20;
/// Addresses told apart; those beyond share one account.
pub const ADDRESSES: usize = 16_384;
/// Connections that have not authenticated.
pub const UNAUTHENTICATED: usize = 1_000;
/// Bytes of a request's head.
pub const REQUEST_HEAD: usize = 16 * 1024;
/// Fields of a request's head.
pub const REQUEST_FIELDS: usize = 64;
/// Time for a request's head, ms.
pub const REQUEST_HEAD_MS: u64 = 5_000;
/// Bytes of a request's body.
pub const REQUEST_BODY: usize = 64 * 1024;
/// Time for a request's body, ms.
pub const REQUEST_BODY_MS: u64 = 30_000;
/// Bytes of a message in, after reassembly.
pub const MAX_MESSAGE: u32 = 64 * 1024;
/// Bytes of the one message a connection may send before it is authenticated.
pub const MAX_MESSAGE_BEFORE_AUTH: usize = 16 * 1024;
/// Objects in one array a client sends.
pub const MAX_BATCH_IN: usize = 100;
/// Nesting of a message in.
pub const MAX_DEPTH: usize = 32;
/// Keys of one object in a message in.
pub const OBJECT_KEYS: usize = 256;
/// Bytes of a token.
pub const MAX_TOKEN: usize = 8 * 1024;
/// Bytes of a token's `sub`.
pub const TOKEN_SUB: usize = 256;
/// Order ids in a token's `order_ids`.
pub const TOKEN_ORDER_IDS: usize = 64;
/// Characters of one of them.
pub const TOKEN_ORDER_ID_CHARS: usize = 64;
/// Revocations of single subs kept, a restaurant.
pub const REVOCATIONS: usize = 10_000;
/// Connections to the listener of operators.
pub const OPERATOR_CONNECTIONS: usize = 64;
/// Time for a TLS handshake, ms.
pub const TLS_HANDSHAKE_MS: u64 = 5_000;
/// Time a connection has to authenticate, ms.
pub const AUTH_MS: u64 = 10_000;
/// The heartbeat the relay announces, ms.
pub const HEARTBEAT_MS: u64 = 15_000;
/// Without an answer, progress or a heartbeat for that long beyond its time, a session counts as stalled, ms.
pub const STALLED_MS: u64 = 2_000;
/// Leeway after a token's end, ms.
pub const TOKEN_LEEWAY_MS: u64 = 30_000;
/// The longest life of a token, ms.
pub const TOKEN_MAX_LIFE_MS: u64 = 30 * 24 * 3_600_000;
/// Events in one turn of a connection.
pub const TURN_EVENTS: usize = 64;
/// Bytes in one turn of a connection, unless its first event is larger.
pub const TURN_BYTES: usize = 128 * 1024;
/// Bytes of one frame out.
pub const MAX_FRAME_OUT: usize = 256 * 1024;
/// Bytes of one part of a snapshot.
pub const SNAPSHOT_PART_BYTES: usize = 128 * 1024;
/// Fresh snapshots in a row before a connection that cannot keep up is closed 4008.
pub const SNAPSHOTS_IN_A_ROW: u32 = 3;
/// Frames in the queue of acks and pongs of one connection.
pub const CONTROL_QUEUE: usize = 256;
/// Time without write progress while bytes wait, ms.
pub const WRITE_STALL_MS: u64 = 20_000;
/// Time for the peer's close frame after ours; then the connection is cut, ms.
pub const LINGER_MS: u64 = 5_000;
/// Events kept for resume.
pub const TAIL_EVENTS: usize = 10_000;
/// Bytes of events kept for resume.
pub const TAIL_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of events kept in memory, a restaurant.
pub const TAIL_MEMORY_BYTES: usize = 1024 * 1024;
/// Bytes of events kept in memory, all restaurants together.
pub const TAIL_MEMORY_ALL_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of events read from the store at once.
pub const READ_CHUNK_BYTES: usize = 256 * 1024;
/// Orders in the live set of a restaurant.
pub const LIVE_ORDERS: usize = 5_000;
/// Bytes of the live set of a restaurant, as JSON.
pub const LIVE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of one order.
pub const MAX_ORDER: usize = 32 * 1024;
/// Time a final order stays in the live set, ms.
pub const KEEP_FINAL_MS: u64 = 4 * 3_600_000;
/// Least time between two `orders:archived` of a restaurant, ms.
pub const ARCHIVE_EVERY_MS: u64 = 60_000;
/// Time an order that left the live set is kept in the history, ms.
pub const HISTORY_MS: u64 = 30 * 24 * 3_600_000;
/// Orders in one page of the history.
pub const HISTORY_PAGE: usize = 200;
/// Time an applied command is remembered, ms.
pub const DEDUPE_MS: u64 = 24 * 3_600_000;
/// Applied commands remembered, a restaurant.
pub const DEDUPE_COMMANDS: usize = 100_000;
/// Appends waiting for the store.
pub const APPEND_QUEUE: usize = 4_096;
/// Appends in one commit.
pub const COMMIT_APPENDS: usize = 512;
/// Bytes in one commit.
pub const COMMIT_BYTES: usize = 1024 * 1024;
/// Time the writer collects a batch after its first append when others are in flight, ms.
pub const COMMIT_WAIT_MS: u64 = 2;
/// Snapshots in memory because someone is being sent them, all restaurants together.
pub const SNAPSHOTS: usize = 64;
/// Time a connection waits for one of them, ms.
pub const SNAPSHOT_WAIT_MS: u64 = 10_000;
/// Time a restaurant nobody asks for stays in memory, ms.
pub const RESTAURANT_IDLE_MS: u64 = 5 * 60_000;
/// Restaurants in memory.
pub const RESTAURANTS: usize = 5_000;
/// Delay of the event loop beyond which load is shed, ms.
pub const LOOP_DELAY_MS: u64 = 200;
/// Delay of commits beyond which load is shed, ms.
pub const COMMIT_DELAY_MS: u64 = 1_000;
/// Time a delay lasts before load is shed, and before the next stage, ms.
pub const OVERLOAD_MS: u64 = 2_000;
/// Pings a second and connection.
pub const PINGS_PER_S: u32 = 2;
/// Least time between two renewals of a connection, ms.
pub const RENEWAL_EVERY_MS: u64 = 10_000;
/// Least time between two syncs of a connection, ms.
pub const SYNC_EVERY_MS: u64 = 5_000;
/// Patterns in one subscription.
pub const FILTER_PATTERNS: usize = 32;
/// Characters of one pattern.
pub const FILTER_PATTERN_CHARS: usize = 64;
/// Values of one field of a filter.
pub const FILTER_VALUES: usize = 100;
/// Items in one order.
pub const ORDER_ITEMS: usize = 200;
/// The largest quantity of one item.
pub const ITEM_QUANTITY: u32 = 999;
/// Bytes of an order's `metadata`.
pub const ORDER_METADATA: usize = 4 * 1024;
/// The least spread of reconnects after an abnormal close, ms.
pub const RECONNECT_SPREAD_MS: u64 = 500;
/// Reconnects a second that the spread aims at.
pub const RECONNECTS_PER_S: u64 = 500;
/// Requests of a client in flight at once.
pub const CLIENT_IN_FLIGHT: usize = 64;
/// Messages set aside in a browser's storage, an address, restaurant and user.
pub const CLIENT_ASIDE: usize = 100;
/// Time they are kept there, and whatever a page left whose user does not come back, ms.
pub const CLIENT_ASIDE_MS: u64 = 7 * 24 * 3_600_000;
/// Bytes in the browser's own buffer beyond which a client's outbox fills instead.
pub const CLIENT_BUFFERED_BYTES: u32 = 1024 * 1024;
/// Bytes in a data channel's own buffer beyond which a client keeps the rest itself.
pub const CLIENT_CHANNEL_HIGH: usize = 256 * 1024;
/// Bytes in it at which the client goes on.
pub const CLIENT_CHANNEL_LOW: usize = 64 * 1024;
/// Bytes that a client keeps for a data channel.
pub const CLIENT_CHANNEL_QUEUE: usize = 16 * 1024 * 1024;
/// Bytes of sound that a client keeps for a socket, some four seconds of it; the oldest leaves.
pub const CLIENT_SOUND_QUEUE: usize = 256 * 1024;
/// The largest message that a client sends over a call's socket: what the Realtime API takes.
pub const CLIENT_SOCKET_MESSAGE: usize = 15 * 1024 * 1024;
/// Items of a conversation that a client keeps; the oldest leave.
pub const CLIENT_CONVERSATION_ITEMS: usize = 2_000;
/// Time between two measurements of the levels of a call, ms.
pub const CLIENT_LEVEL_MS: u64 = 50;
/// Time a client waits for the next part of a snapshot, ms.
pub const CLIENT_SNAPSHOT_PART_MS: u64 = 30_000;
/// The longest voice session, ms.
pub const VOICE_LENGTH_MS: u64 = 3_600_000;
/// Warning before a voice session ends for its length, ms.
pub const VOICE_WARNING_MS: u64 = 60_000;
/// Bytes of one `input_audio_buffer.append`, decoded.
pub const VOICE_APPEND_BYTES: usize = 15 * 1024 * 1024;
/// Bytes of sound that wait for a commit.
pub const VOICE_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of sound kept with the items of a conversation; of the oldest it is forgotten first.
pub const VOICE_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Items of a conversation; the oldest are forgotten first.
pub const VOICE_ITEMS: usize = 512;
/// Bytes of one item, as JSON, without sound.
pub const VOICE_ITEM_BYTES: usize = 128 * 1024;
/// Bytes of a message on a data channel.
pub const VOICE_CHANNEL_MESSAGE: usize = 256 * 1024;
/// Voice sessions at once.
pub const VOICE_SESSIONS: usize = 500;
/// Voice sessions of one restaurant.
pub const VOICE_RESTAURANT: usize = 250;
/// Voice sessions of one customer or kiosk.
pub const VOICE_PERSON: usize = 2;
/// Calls that are being set up.
pub const VOICE_HALF_OPEN: usize = 100;
/// Time for a call to be set up, ms.
pub const VOICE_SETUP_MS: u64 = 10_000;
/// Time without a datagram of a call's peer, ms.
pub const VOICE_SILENCE_MS: u64 = 6_000;
/// Time in which nobody says or does anything in a voice session, ms.
pub const VOICE_IDLE_MS: u64 = 300_000;
/// Messages a second of a voice session.
pub const VOICE_MESSAGES_PER_S: u32 = 100;
/// Messages at once of a voice session.
pub const VOICE_MESSAGES_BURST: u32 = 200;
/// Bytes of sound a second, decoded, that come in the messages of a voice session.
pub const VOICE_AUDIO_PER_S: usize = 128 * 1024;
/// The same at once.
pub const VOICE_AUDIO_BURST: usize = 512 * 1024;
/// Time over its rates that ends a voice session, ms.
pub const VOICE_OVER_MS: u64 = 5_000;
/// Bytes of events that wait to be sent to one client of a voice session.
pub const VOICE_QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Events that wait to be sent to one sideband.
pub const VOICE_SIDEBAND_EVENTS: usize = 1_024;
/// Sidebands of one voice session.
pub const VOICE_SIDEBANDS: usize = 4;
/// Addresses that one call's peer is tried at.
pub const VOICE_PATHS: usize = 8;
/// ICE connections over TCP at once.
pub const VOICE_TCP_CONNECTIONS: usize = 1_024;
/// Bytes of a message on `/v1/realtime`.
pub const REALTIME_MESSAGE: usize = 16 * 1024 * 1024;
/// Bytes of an offer with its form.
pub const REALTIME_FORM: usize = 1024 * 1024;
/// `ek_` secrets that have not run out.
pub const REALTIME_SECRETS: usize = 10_000;
/// The shortest life of one, s.
pub const REALTIME_SECRET_MIN_S: u64 = 10;
/// The longest life of one, s.
pub const REALTIME_SECRET_MAX_S: u64 = 7_200;
/// Its life unless asked otherwise, s.
pub const REALTIME_SECRET_S: u64 = 600;
/// Datagrams a second of an address that belong to no call.
pub const UDP_STRANGER_PER_S: u32 = 50;
/// Time in which an address that sent more is not listened to, ms.
pub const UDP_STRANGER_IGNORED_MS: u64 = 10_000;
/// Addresses that this is kept for.
pub const UDP_STRANGERS: usize = 4_096;
/// What goes to an address before it has answered, in times of what came from it.
pub const UDP_AMPLIFICATION: u64 = 3;
