//! What goes into the client's machine and what comes out of it.

use crate::Time;
use std::fmt;
use tautline_protocol::limits::Limits;
use tautline_protocol::{AuthCode, CloseCode, Epoch, ErrorCode, NackCode, Outcome, Seq, Stage};

/// One connection attempt: its URL, token, socket, timers. An input of another attempt than the current one is
/// dropped at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u32);

/// Someone waiting for `connect()`; numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u32);

/// A JWT; prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps a token's text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The options that the machine decides by; all times in milliseconds (`pkg/README.md`, WebSocketService).
#[derive(Clone, Debug)]
pub struct Config {
    /// Sent in `auth`.
    pub restaurant_id: Option<String>,
    /// Whether the page gave a `getToken`.
    pub has_token: bool,
    /// How many addresses the `url` option lists; one where it is no list.
    pub addresses: usize,
    /// First backoff step.
    pub reconnect_interval_ms: u64,
    /// Cap of a backoff step.
    pub max_reconnect_delay_ms: u64,
    /// Attempts in a row before state `error`; `None` = no end.
    pub max_reconnect_attempts: Option<u32>,
    /// The whole attempt: url, token, socket, auth.
    pub connect_timeout_ms: u64,
    /// Between pings; the server's `heartbeat_ms` may lower it.
    pub heartbeat_interval_ms: u64,
    /// How long a ping may go without a frame after it.
    pub pong_timeout_ms: u64,
    /// Messages the outbox keeps.
    pub outbox_limit: usize,
    /// Bytes the outbox keeps.
    pub outbox_bytes: usize,
    /// How long a message may wait for a connection.
    pub outbox_ttl_ms: u64,
    /// Whether the outbox outlives the page: the driver has storage for it.
    pub outbox_stored: bool,
    /// Between tries for a new token after auth was refused; 0 = never.
    pub auth_probe_interval_ms: u64,
    /// Without a confirmed position until `stale`; `None` = two heartbeats.
    pub stale_after_ms: Option<u64>,
    /// `{"name":…}` for operators, as JSON.
    pub client: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            restaurant_id: None,
            has_token: false,
            addresses: 1,
            reconnect_interval_ms: 2_000,
            max_reconnect_delay_ms: 30_000,
            max_reconnect_attempts: None,
            connect_timeout_ms: 15_000,
            heartbeat_interval_ms: 30_000,
            pong_timeout_ms: 10_000,
            outbox_limit: 1_000,
            outbox_bytes: 1024 * 1024,
            outbox_ttl_ms: 60_000,
            outbox_stored: false,
            auth_probe_interval_ms: 300_000,
            stale_after_ms: None,
            client: None,
        }
    }
}

/// Something that happened, told to the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed; also implied by every other input.
    Tick,
    /// `connect()` was called.
    Connect(WaiterId),
    /// A waiter gave up (its signal or its time); the driver has settled it already.
    Abandon(WaiterId),
    /// `disconnect()` was called.
    Disconnect,
    /// `reconnectNow()` was called.
    ReconnectNow,
    /// `dispose()` was called.
    Dispose,
    /// `setToken()` was called.
    SetToken(Token),
    /// The `url` option answered; `false` when it threw or gave nothing usable. The text stays with the driver.
    Url(AttemptId, bool),
    /// `getToken` answered.
    Token(AttemptId, TokenAnswer),
    /// The socket opened.
    Opened(AttemptId),
    /// A frame came; the driver keeps the payload and performs [`Output::Deliver`] and the like with it.
    Frame(AttemptId, Head),
    /// A frame came that is no JSON object with a `type`.
    Malformed(AttemptId),
    /// The socket closed, or could not be made (code 1006).
    Closed(AttemptId, Closed),
    /// `GET /healthz` answered (`true`: reachable).
    Health(AttemptId, bool),
    /// The page's life changed.
    Page(PageEvent),
    /// An order set is wanted (`initialize`) or not any more (`cleanup`).
    WantOrders(bool),
    /// `requestSync()` was called.
    RequestSync,
    /// [`super::Client::set_filter`] where nobody waits for its answer.
    SetFilter(Option<String>),
    /// What a connection is to go on from, while there is none: everything up to there is known already.
    ResumeFrom(Epoch, Seq),
    /// Whether the socket takes more now (`bufferedAmount` under its bound).
    Writable(AttemptId, bool),
    /// An [`Output::Store`] has ended.
    Stored {
        /// Which entry.
        id: String,
        /// Whether it was written as one that may be sent.
        sent: bool,
        /// Whether it is in storage; else memory has to do for it.
        kept: bool,
    },
    /// What pages that are dead have left in storage.
    Adopted {
        /// Whether this answers an [`Output::Adopt`]; else a page has died since.
        answer: bool,
        /// It, oldest first.
        entries: Vec<Adopted>,
        /// Entries of this page that another has taken over while it was away.
        lost: Vec<String>,
    },
}

/// An entry of a page that is dead; its storage is this page's by now.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its payload, JSON text.
    pub payload: String,
    /// How long it may wait for a connection.
    pub ttl_ms: u64,
    /// How long ago it was handed over.
    pub age_ms: u64,
    /// How long ago it may have been sent.
    pub sent_age_ms: Option<u64>,
}

/// What `getToken` came back with.
#[derive(Clone, Debug)]
pub enum TokenAnswer {
    /// A token.
    Token(Token),
    /// `null`: none now, retryable.
    None,
    /// It threw, rejected, or gave something else.
    Failed,
}

/// How a socket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code.
    pub code: CloseCode,
    /// The reason text.
    pub reason: String,
    /// Whether a close frame was exchanged.
    pub was_clean: bool,
}

impl Closed {
    /// Whether the connection that tabs share is another one now. Only the layer below ends a connection with a code and
    /// without a close frame: a server that says 4104 is one of an unknown mind.
    pub(super) fn is_hand_over(&self) -> bool {
        self.code == CloseCode::HANDED_OVER && !self.was_clean
    }
}

/// A sign of the page's life (`pkg/README.md`, page lifecycle).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEvent {
    /// `online`.
    Online,
    /// `offline`.
    Offline,
    /// `visibilitychange` to visible.
    Visible,
    /// `visibilitychange` to hidden.
    Hidden,
    /// `resume` after `freeze`.
    Resumed,
    /// `pagehide` with `persisted`: into the back/forward cache.
    Suspended,
    /// `pageshow` with `persisted`: back out of it.
    Shown,
}

/// The part of a frame that machines look at; the rest stays with the driver.
#[derive(Clone, Debug)]
pub enum Head {
    /// `connected`.
    Connected {
        /// Whether `auth` must follow.
        auth_required: bool,
        /// The server's heartbeat.
        heartbeat_ms: Option<u64>,
        /// Bytes of one message it takes.
        max_message: Option<u32>,
    },
    /// `auth:success`.
    AuthSuccess {
        /// Whether it carries `"protocol":"tautline.v1"`.
        v1: bool,
        /// An answer to a renewal.
        renewal: bool,
        /// The history in force.
        epoch: Option<Epoch>,
        /// The head of the log.
        seq: Option<Seq>,
        /// Whether what was missed follows.
        resumed: bool,
        /// Stands for what is shown to this token, if the server says so.
        view: Option<String>,
        /// The token's remaining life.
        expires_in_ms: Option<u64>,
        /// How long an applied command is remembered.
        dedupe_ms: Option<u64>,
        /// What to pace by.
        limits: Option<Limits>,
        /// The window that clients return in after an abnormal close.
        reconnect_spread_ms: Option<u64>,
    },
    /// `auth:failed`; a code this client does not know is `token_invalid`.
    AuthFailed {
        /// Why.
        code: AuthCode,
        /// An answer to a renewal.
        renewal: bool,
    },
    /// `pong`.
    Pong {
        /// What the ping carried.
        timestamp: Option<u64>,
        /// The head of the log.
        seq: Option<Seq>,
        /// The spread, when it has changed.
        reconnect_spread_ms: Option<u64>,
    },
    /// Anything published: an event of the log, or a message of a plain server (no `seq`).
    Event {
        /// Its number.
        seq: Option<Seq>,
        /// Its history.
        epoch: EpochRef,
        /// The command that caused it.
        command_id: Option<String>,
    },
    /// `cursor`: of the events `from+1…to` all that are ours were sent.
    Cursor {
        /// Its history.
        epoch: EpochRef,
        /// The position it continues.
        from: Seq,
        /// The new position.
        to: Seq,
    },
    /// `ack`.
    Ack {
        /// The command's id.
        id: String,
        /// The event that it made.
        seq: Option<Seq>,
        /// That event's history.
        epoch: EpochRef,
    },
    /// `nack`; a code this client does not know is `invalid`.
    Nack {
        /// The command's id.
        id: String,
        /// Why.
        code: NackCode,
        /// Whether it may have been applied all the same.
        outcome: Outcome,
        /// When to try again.
        retry_after_ms: Option<u64>,
    },
    /// `sync_complete` with status `resumed`: nothing missing up to `seq`.
    SyncResumed {
        /// The history in force.
        epoch: Epoch,
        /// The position reached.
        seq: Seq,
    },
    /// One part of a snapshot.
    SnapshotPart {
        /// Which snapshot.
        sync_id: String,
        /// Its history.
        epoch: Epoch,
        /// Its position.
        seq: Seq,
        /// This part, from 1.
        part: u32,
        /// How many there are.
        parts: u32,
    },
    /// A plain server's `sync_complete`.
    PlainSync {
        /// Whether it carries `orders`.
        has_orders: bool,
    },
    /// `sync_aborted`.
    SyncAborted,
    /// `reset`: the log under this connection has another history now.
    Reset {
        /// The new history.
        epoch: Epoch,
        /// Its head.
        seq: Seq,
    },
    /// `error`: a frame of ours could not be used.
    Refused {
        /// Why.
        code: NackCode,
        /// When to try again.
        retry_after_ms: Option<u64>,
        /// The `type` of the frame that it answers.
        ref_type: Option<String>,
    },
    /// `degraded`: the relay's store is out of reach.
    Degraded {
        /// Since when, as the relay says.
        since: Option<String>,
    },
}

/// An epoch as the driver saw it: compared once by handle, converted only when it is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EpochRef {
    /// No `epoch` in the frame.
    None,
    /// The one [`super::Client::epoch`] names.
    Current,
    /// Another.
    Other(Epoch),
}

/// A message for the outbox.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its type on the wire.
    pub kind: String,
    /// Its payload, JSON text.
    pub payload: String,
    /// An id of the caller's; made here when absent.
    pub id: Option<String>,
    /// How long it may wait for a connection; `None` = the option's.
    pub ttl_ms: Option<u64>,
    /// When to give up on an answer; `None` = never.
    pub timeout_ms: Option<u64>,
    /// Whether its answer is held back until the position has reached its event, so that the order set shows it.
    pub until_shown: bool,
    /// When it was first written to another connection, which had no answer: that copy may yet arrive.
    pub sent_at: Option<Time>,
}

/// What became of a command; a promise is settled by exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Acked (v1). The frame being handled carries the `ack` payload, unless [`Output::Keep`] gave it before.
    Acked {
        /// The event that it made.
        seq: Option<Seq>,
    },
    /// Its event came and its ack never did.
    Confirmed {
        /// The event's number.
        seq: Option<Seq>,
    },
    /// Written to a plain server, which answers nothing.
    Written,
    /// Refused by the server.
    Nacked {
        /// Why; the frame being handled carries the message.
        code: NackCode,
        /// Whether it may have been applied all the same.
        outcome: Outcome,
        /// When to try again.
        retry_after_ms: Option<u64>,
    },
    /// Given up on here: `outbox_expired`, `request_timeout`, `aborted`, `disposed`, `message_too_large`.
    Failed {
        /// Why.
        code: ErrorCode,
        /// Whether it may have been applied.
        outcome: Outcome,
    },
}

/// Why something could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable code.
    pub code: ErrorCode,
    /// What happened and what to do about it.
    pub message: &'static str,
    /// Where in the attempt.
    pub stage: Option<Stage>,
    /// The close that brought it.
    pub close: Option<Closed>,
}

/// Why `getToken` is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenReason {
    /// A new attempt.
    Connect,
    /// Before the token in use runs out.
    Renew,
    /// The token in use ran out.
    Expired,
    /// The last one was refused.
    Rejected,
}

impl TokenReason {
    /// Its name in `getToken({reason})`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Renew => "renew",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }
}

/// The connection as the page sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not wanted.
    Disconnected,
    /// The first attempt.
    Connecting,
    /// Connected and authenticated.
    Connected,
    /// Lost, coming back.
    Reconnecting,
    /// Given up until something changes.
    Error,
}

impl ConnectionState {
    /// Its name in `getConnectionState()`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Error => "error",
        }
    }
}

/// Something for the driver to do. "The frame being handled" is the one of the [`Input::Frame`] just given: a
/// driver drains the outputs of each frame before it gives the next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Ask the `url` option, where it is a list for the address of that number; answer with [`Input::Url`].
    ResolveUrl(AttemptId, usize),
    /// Call `getToken`; answer with [`Input::Token`].
    FetchToken {
        /// The attempt, or the connection whose token is renewed.
        attempt: AttemptId,
        /// Why.
        reason: TokenReason,
        /// The number that `getToken` is told.
        number: u32,
    },
    /// Open a socket to the URL resolved before.
    Open(AttemptId),
    /// Write a frame.
    Send(AttemptId, String),
    /// Close the attempt's socket with this code and reason and let go of it; nothing more is heard from it.
    Close(AttemptId, CloseCode, &'static str),
    /// The attempt is over and its socket (if any) has closed by itself: let go of it.
    Drop(AttemptId),
    /// `GET /healthz` beside the socket's URL; answer with [`Input::Health`].
    ProbeHealth(AttemptId),
    /// Settle a `connect()`.
    Settle(WaiterId, Result<(), Failure>),
    /// Give the frame being handled to subscribers; and to the order set if it is an order event.
    Deliver {
        /// Its number; `None` from a plain server.
        seq: Option<Seq>,
    },
    /// Collect the orders of the snapshot part being handled; `first` discards what was collected before.
    CollectSnapshot {
        /// The first part of a snapshot.
        first: bool,
    },
    /// Install the orders collected as the set at this position, and report the difference.
    InstallSnapshot {
        /// The snapshot's position; `None` from a plain server.
        seq: Option<Seq>,
    },
    /// Drop the orders collected.
    DiscardSnapshot,
    /// The order set on screen may be behind: keep it, marked.
    OrdersStale,
    /// Keep the payload of the frame being handled: it is this command's ack, settled later.
    Keep(String),
    /// Settle a command.
    Settled(String, Answer),
    /// Write that entry ([`super::Client::entry`]) to storage, or write it again; answer with [`Input::Stored`].
    Store {
        /// Which.
        id: String,
        /// As one that may be sent from now on.
        sent: bool,
    },
    /// Take that entry out of storage.
    Unstore(String),
    /// That entry was refused, or came too late, for good: set it aside in storage for the page to look at.
    SetAside(String, Answer),
    /// A connection is there: whatever pages of the same user left that are dead; answer with [`Input::Adopted`].
    Adopt,
    /// Tell the page.
    Tell(Notice),
    /// Nothing more to do until then; ends every drain.
    Wait(Option<(Time, Timer)>),
}

/// Something the page may listen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `stateChange`.
    State(ConnectionState),
    /// `connected`.
    Connected,
    /// `disconnected`.
    Disconnected {
        /// How the socket ended.
        closed: Closed,
        /// Whether another attempt follows by itself.
        will_reconnect: bool,
    },
    /// `reconnecting`.
    Reconnecting {
        /// The coming attempt, from 1.
        attempt: u32,
        /// The wait before it.
        delay_ms: u64,
    },
    /// `maxReconnectAttemptsReached`.
    MaxReconnectAttemptsReached,
    /// `resumed`: what was missed follows.
    Resumed {
        /// The position resumed from.
        from: Seq,
        /// The head at that moment.
        to: Seq,
    },
    /// `gap`: events are missing, or the position was void.
    Gap {
        /// The last position.
        from: Seq,
        /// The event that came, or the head that the server gave.
        to: Seq,
    },
    /// `stale`.
    Stale,
    /// `fresh`.
    Fresh,
    /// `degraded`.
    Degraded {
        /// Since when, as the relay says.
        since: Option<String>,
    },
    /// `latency`.
    Latency {
        /// Round trip of a ping.
        rtt_ms: u64,
    },
    /// `error`.
    Error(Failure),
    /// The outbox changed (`onOutbox`).
    Outbox,
}

/// Why the machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The attempt takes too long.
    Attempt,
    /// The server does not say `connected`.
    Greeting,
    /// `getToken` takes too long.
    Token,
    /// The backoff is over.
    Backoff,
    /// A ping is due.
    Heartbeat,
    /// A ping has gone unanswered.
    Pong,
    /// Authenticated long enough for the backoff to start over.
    Settled,
    /// The token wants renewing.
    Renew,
    /// Nothing confirmed for too long.
    Stale,
    /// A sync may be asked for again.
    Sync,
    /// A snapshot's next part does not come.
    SnapshotPart,
    /// A request's time is over.
    Outbox,
    /// The pace allows another command.
    Pace,
    /// Another try for a token after auth was refused.
    AuthProbe,
}
