//! The live set at one position (`docs/protocol.md` §1, Sync).

use std::sync::Arc;
use tautline_protocol::{Epoch, Seq};

/// Immutable, shared by every connection that needs the same one.
#[derive(Debug)]
pub struct Snapshot {
    /// The epoch it belongs to.
    pub epoch: Epoch,
    /// The position it is the state at.
    pub seq: Seq,
    /// `[Order,…]` each, so that a frame is at most 128 KiB; at least one part.
    pub parts: Vec<Arc<str>>,
}
