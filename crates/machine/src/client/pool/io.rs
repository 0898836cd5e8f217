//! What goes into the pool's machine and what comes out of it.

use super::super::{Answer, Command, ConnectionState, Failure, WaiterId};
use crate::Time;
use tautline_protocol::{Epoch, Outcome, Seq};

/// One of the pool's connections, by its place among the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u32);

/// Which connection a command is given to, among those that are healthy and have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// The one that answers soonest and failed least.
    HealthBased,
    /// Each in its turn.
    RoundRobin,
    /// The one with the fewest commands unanswered.
    LeastPending,
}

/// Who goes first among the commands that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before all others.
    High,
    /// As they came.
    Normal,
    /// After all others.
    Low,
}

/// What the pool decides by; all times in milliseconds (`pkg/README.md`, WebSocketPool).
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// How many addresses there are.
    pub members: usize,
    /// How many of them are connected to at once; the rest are spare.
    pub max_connections: usize,
    /// Which connection a command is given to.
    pub balancing: Balancing,
    /// Whether commands, the primary's part and places move away from what fails.
    pub failover: bool,
    /// Between two checks of health; the connections ping as often.
    pub check_interval_ms: u64,
    /// Commands that may wait.
    pub queue_limit: usize,
    /// Bytes of theirs.
    pub queue_bytes: usize,
    /// How long a command may wait for a connection.
    pub ttl_ms: u64,
}

/// Something that happened, told to the pool.
#[derive(Clone, Debug)]
pub enum PoolInput {
    /// Time passed; also implied by every other input.
    Tick,
    /// `connect()` was called.
    Connect(WaiterId),
    /// A waiter gave up; the driver has settled it already.
    Abandon(WaiterId),
    /// `disconnect()` was called.
    Disconnect,
    /// `dispose()` was called.
    Dispose,
    /// Whether the page is in the back/forward cache, where its members have no connections and none may be opened.
    Suspended(bool),
    /// A member is connected and authenticated. Where in which history it begins; `None` in the plain dialect.
    Up(MemberId, Option<Place>),
    /// A member is at another place than its events lead to: what lies between it does not bring.
    Moved(MemberId, Place),
    /// A member's connection or attempt failed; it tries again by itself.
    Down(MemberId),
    /// A member has given up.
    GaveUp(MemberId),
    /// Why a member could not connect.
    Refused(MemberId, Failure),
    /// A member's ping was answered after that time.
    Pong(MemberId, u64),
    /// A member has said what became of a command, or could not take it; the driver has settled it already.
    Answered(String),
    /// The answer to [`PoolOutput::Withdraw`]: whether it had been written.
    Withdrawn(String, Outcome),
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the member's histories ([`super::super::Client::history`]).
    pub history: u32,
    /// What that history is called.
    pub epoch: Epoch,
    /// The last number that counts as known.
    pub seq: Seq,
}

/// Something for the pool's driver to do.
#[derive(Clone, Debug)]
pub enum PoolOutput {
    /// Connect a member; what it resumes from, where that is known.
    Open(MemberId, Option<(Epoch, Seq)>),
    /// Disconnect a member; nothing more is heard from it.
    Close(MemberId),
    /// Send this by a member.
    Give(MemberId, Command),
    /// Take a command back from a member that has not answered it; answer with [`PoolInput::Withdrawn`], or not at all
    /// if it was answered.
    Withdraw(MemberId, String),
    /// Settle a command that no member has.
    Settled(String, Answer),
    /// Settle a `connect()`.
    Settle(WaiterId, Result<(), Failure>),
    /// Tell the page.
    Tell(PoolNotice),
    /// Nothing more to do until then; ends every drain.
    Wait(Option<Time>),
}

/// Something the page may listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolNotice {
    /// `stateChange`.
    State(ConnectionState),
    /// `failover`: another member is the primary now.
    Failover {
        /// The one before.
        from: MemberId,
        /// The one now.
        to: MemberId,
    },
    /// `health`: a member became usable, or ceased to be.
    Health(MemberId),
    /// `gap`: the events between were missed.
    Gap {
        /// The last that was delivered.
        from: Seq,
        /// The place from which it goes on.
        to: Seq,
    },
}

/// A member as `getHealthStatus()` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its connection; `Disconnected` for a spare.
    pub state: ConnectionState,
    /// Whether it can be relied on.
    pub healthy: bool,
    /// Whether it is the primary.
    pub primary: bool,
    /// The moving average of its round trips.
    pub latency_ms: Option<u64>,
    /// Failures of the last minute.
    pub failures: usize,
    /// Pings in a row without an answer.
    pub missed_pings: u32,
    /// Commands it has not answered.
    pub pending: usize,
}

/// `getStatistics()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Commands taken.
    pub sent: u64,
    /// Commands that were answered or given up.
    pub settled: u64,
    /// Commands that wait for a connection.
    pub queued: usize,
    /// Commands that a member has not answered.
    pub pending: usize,
    /// Commands taken back from a member that failed.
    pub moved: u64,
    /// Times that another member became the primary.
    pub failovers: u64,
    /// Numbered events delivered.
    pub events: u64,
    /// Those that another member had brought already.
    pub duplicates: u64,
}
