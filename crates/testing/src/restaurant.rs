//! One restaurant: its log, and the store in memory under it, which commits whatever it is handed.

use std::sync::Arc;
use tautline_machine::relay::{Answer, Event, Log, Moment, Stored, Waiter};
use tautline_protocol::{Epoch, Seq, limits};

/// Events handed to a cursor that is behind what the log keeps in memory.
const READ: usize = 256;

#[derive(Debug)]
pub(crate) struct Restaurant {
    pub(crate) log: Log,
    /// The epoch in force, all of it.
    events: Vec<Arc<Event>>,
}

impl Restaurant {
    pub(crate) fn new(name: &str, epoch: Epoch, at: Moment) -> Self {
        Self {
            log: Log::load(name, epoch, Stored::default(), at),
            events: Vec::new(),
        }
    }

    /// Makes what was judged durable; the answers, or `None` when nothing was waiting.
    pub(crate) fn commit(&mut self, at: Moment) -> Option<Vec<(Waiter, Answer)>> {
        let batch = self
            .log
            .take_batch(limits::COMMIT_APPENDS, limits::COMMIT_BYTES);
        let last = batch.last()?.ticket;
        for record in &batch {
            if record.epoch.is_some() {
                self.events.clear();
            }
            self.events.extend(record.event.clone());
        }
        Some(self.log.committed(last, at))
    }

    pub(crate) fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// What follows a position.
    pub(crate) fn read(&self, after: Seq) -> Arc<[Arc<Event>]> {
        let beyond = self.events.iter().filter(|event| event.seq > after);
        beyond.take(READ).cloned().collect()
    }
}
