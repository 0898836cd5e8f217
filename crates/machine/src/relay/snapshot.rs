//! The live set at one position (`docs/protocol.md` §1, Sync).

use super::Cursor;
use std::sync::{Arc, Weak};
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
    /// One more for each cursor that holds on to it.
    senders: Arc<()>,
}

impl Snapshot {
    pub(super) fn new(epoch: Epoch, seq: Seq, parts: Vec<Arc<str>>) -> Self {
        Self {
            epoch,
            seq,
            parts,
            senders: Arc::default(),
        }
    }

    /// What a cursor keeps while it sends this.
    pub(super) fn sender(&self) -> Arc<()> {
        Arc::clone(&self.senders)
    }

    fn is_being_sent(&self) -> bool {
        Arc::strong_count(&self.senders) > 1
    }
}

/// The snapshots being sent, by all restaurants: how many are in memory depends on the slowest readers, because each
/// holds on to the one it began with.
#[derive(Debug, Default)]
pub struct BeingSent(Vec<Weak<Snapshot>>);

impl BeingSent {
    /// A cursor was placed or asked for a sync; if that made it send a snapshot, it counts once for all who send it.
    pub fn note(&mut self, cursor: &Cursor) {
        if let Some(snapshot) = cursor.sending() {
            let now = Arc::downgrade(snapshot);
            if !self.0.iter().any(|known| known.ptr_eq(&now)) {
                self.0.push(now);
            }
        }
    }

    /// Whether there may be one more.
    pub fn has_room(&mut self, bound: usize) -> bool {
        if self.0.len() >= bound {
            self.0.retain(|known| {
                known
                    .upgrade()
                    .is_some_and(|snapshot| snapshot.is_being_sent())
            });
        }
        self.0.len() < bound
    }
}
