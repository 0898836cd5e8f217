//! What a relay's store has synced, and the same as the papers see it.

use crate::oracle::History;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tautline_machine::relay::{About, Dedupe, Event, Record, Stored};
use tautline_protocol::Epoch;
use tautline_protocol::order::Order;

/// An event as the disk has it: seq, type, time, whom it concerns, frame.
pub type Row = (u64, String, u64, Option<String>, Arc<str>);

pub fn event((seq, kind, at_ms, about, frame): &Row) -> Event {
    let about = About::from_stored(about.as_deref());
    Event::new(*seq, kind.clone(), *at_ms, about, Arc::clone(frame))
}

/// What is on the disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub epoch: Option<Epoch>,
    pub history: History,
    pub events: Vec<Row>,
    /// Events of histories before the one in force.
    pub past: Vec<Row>,
    orders: BTreeMap<String, (String, u64)>,
    dedupe: Vec<Dedupe>,
    /// Ids of every command ever applied.
    commands: BTreeSet<String>,
}

impl Disk {
    pub fn apply(&mut self, record: &Record) {
        if let Some(epoch) = &record.epoch {
            self.epoch = Some(epoch.clone());
            self.past.append(&mut self.events);
        }
        if let Some(event) = &record.event {
            self.history.push(event.stored());
            self.events.push((
                event.seq,
                event.kind.clone(),
                event.at_ms,
                event.about.stored(),
                Arc::clone(event.stored()),
            ));
        }
        for row in &record.orders {
            match &row.order {
                Some(order) => self
                    .orders
                    .insert(row.id.clone(), (order.stored(), row.changed_ms)),
                None => self.orders.remove(&row.id),
            };
        }
        self.dedupe.extend(record.dedupe.clone());
        if !record.forgotten.is_empty() {
            let gone = |row: &Dedupe| {
                let mut keys = record.forgotten.iter();
                keys.any(|(sub, id)| *sub == row.sub && *id == row.id)
            };
            self.dedupe.retain(|row| !gone(row));
        }
        self.commands
            .extend(record.dedupe.iter().map(|row| row.id.clone()));
    }

    /// A copy from a backup begins a history of its own.
    pub fn restored(&self, epoch: Epoch) -> Self {
        let mut disk = self.clone();
        disk.epoch = Some(epoch);
        disk.past.append(&mut disk.events);
        disk
    }

    pub fn epoch(&self) -> &str {
        self.epoch.as_ref().map_or("", Epoch::as_str)
    }

    /// Whether the command was applied.
    pub fn has_command(&self, id: &str) -> bool {
        self.commands.contains(id)
    }

    pub fn load(&self, head: u64, keep: usize) -> Stored {
        let kept = self.events.len().saturating_sub(keep);
        // Less in memory than on the disk, so that some resumes read from the store.
        let in_memory = self.events.len().saturating_sub(keep.min(8));
        Stored {
            epoch: self.epoch.clone(),
            head,
            tail: self.events[in_memory..].iter().map(event).collect(),
            sizes: self.events[kept..]
                .iter()
                .map(|(.., frame)| u32::try_from(frame.len()).unwrap())
                .collect(),
            orders: self
                .orders
                .values()
                .map(|(json, ms)| (Order::from_stored(json).unwrap(), *ms))
                .collect(),
            dedupe: self.dedupe.clone(),
        }
    }
}
