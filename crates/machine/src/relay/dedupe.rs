//! The duplicate memory: applied commands by `(sub, id)` with their acks (`docs/protocol.md` §1, Once).

use super::hits::Hits;
use super::record::{Ack, Dedupe};
use crate::Time;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tautline_protocol::limits::{self, hit};

/// Rows forgotten by one record: more than one, so that a memory that is over its bound shrinks.
const FORGET_AT_ONCE: usize = 4;

#[derive(Debug)]
struct Remembered {
    hash: u128,
    ack: Arc<Ack>,
}

/// What is remembered, all of it durable.
#[derive(Debug, Default)]
pub(super) struct Memory {
    by_key: BTreeMap<Arc<str>, Remembered>,
    /// Oldest first: when each may be forgotten, by the monotonic clock, so that a jump of the wall clock forgets
    /// nothing that a client may still resend.
    oldest: VecDeque<(Time, Arc<str>)>,
    /// How many of the oldest are in records not yet committed.
    leaving: usize,
}

/// A command's id holds no newline, so this is one-to-one.
pub(super) fn key(sub: &str, id: &str) -> String {
    [id, "\n", sub].concat()
}

impl Memory {
    /// Remembers a row that is durable.
    pub(super) fn remember(&mut self, row: &Dedupe, until: Time) {
        let key: Arc<str> = key(&row.sub, &row.id).into();
        let remembered = Remembered {
            hash: row.hash,
            ack: Arc::clone(&row.ack),
        };
        if self.by_key.insert(Arc::clone(&key), remembered).is_none() {
            self.oldest.push_back((until, key));
        }
    }

    /// The hash and ack of a command that was applied.
    pub(super) fn recall(&self, key: &str) -> Option<(u128, &Arc<Ack>)> {
        self.by_key.get(key).map(|row| (row.hash, &row.ack))
    }

    /// `(sub, id)` of rows for the next record to remove: past their time, or over the bound with
    /// those that are coming.
    pub(super) fn leave(
        &mut self,
        now: Time,
        coming: usize,
        hits: &mut Hits,
    ) -> Vec<(String, String)> {
        let over =
            (self.oldest.len() + coming - self.leaving).saturating_sub(limits::DEDUPE_COMMANDS);
        if over > 0 {
            hits.hit(hit::DUPLICATE_MEMORY);
        }
        let rows = self
            .oldest
            .iter()
            .skip(self.leaving)
            .take(FORGET_AT_ONCE)
            .enumerate();
        let rows: Vec<_> = rows
            .take_while(|&(n, &(until, _))| n < over || until <= now)
            .filter_map(|(_, (_, key))| {
                key.split_once('\n')
                    .map(|(id, sub)| (sub.to_owned(), id.to_owned()))
            })
            .collect();
        self.leaving += rows.len();
        rows
    }

    /// A record that removed this many rows is durable.
    pub(super) fn left(&mut self, rows: usize) {
        for (_, key) in self.oldest.drain(..rows.min(self.oldest.len())) {
            self.by_key.remove(&key);
        }
        self.leaving = self.leaving.saturating_sub(rows);
    }

    /// The records that would have removed rows failed.
    pub(super) fn stay(&mut self) {
        self.leaving = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_left_is_known_no_longer() {
        let mut memory = Memory::default();
        for (id, until) in [("a", 10), ("b", 20), ("c", 30)] {
            let row = Dedupe {
                sub: "cook".into(),
                id: id.into(),
                hash: 1,
                ack: Arc::new(Ack {
                    at: None,
                    result: None,
                }),
                at_ms: 0,
            };
            memory.remember(&row, Time::from_ms(until));
        }
        let rows = memory.leave(Time::from_ms(20), 0, &mut Hits::default());
        let cooks = |ids: &[&str]| -> Vec<_> {
            ids.iter()
                .map(|&id| ("cook".to_owned(), id.to_owned()))
                .collect()
        };
        assert_eq!(rows, cooks(&["a", "b"]));
        let known =
            |memory: &Memory| ["a", "b", "c"].map(|id| memory.recall(&key("cook", id)).is_some());
        assert_eq!(known(&memory), [true; 3], "until that is durable");
        memory.left(rows.len());
        assert_eq!(known(&memory), [false, false, true]);
        assert_eq!(memory.len(), 1);
    }
}
