//! The page's side: [`Client`] composes the connection, its outbox and its feed; [`Orders`] is the order set over
//! opaque handles; [`Leases`] counts holders; [`Pool`] uses several connections as one. `voice` is a call to a voice model.

mod addresses;
mod backoff;
mod core;
mod dial;
mod feed;
mod filter;
mod io;
mod lease;
mod live;
mod orders;
mod outbox;
mod pace;
mod pool;
mod record;
#[cfg(feature = "voice")]
pub mod voice;

pub use self::core::{Client, Freshness, Stats};
pub use io::{
    Adopted, Answer, AttemptId, Closed, Command, Config, ConnectionState, EpochRef, Failure, Head,
    Input, Notice, Output, PageEvent, Timer, Token, TokenAnswer, TokenReason, WaiterId,
};
pub use lease::{LeaseId, LeaseInput, LeaseOutput, Leases};
pub use orders::{Change, OrderView, Orders, Patch, Source, Update, UpdateAction};
pub use outbox::{EntryState, EntryView};
pub use pool::{
    Balancing, MemberId, MemberView, Place, Pool, PoolConfig, PoolInput, PoolNotice, PoolOutput,
    PoolStats, Priority,
};
pub use record::StateCell;
