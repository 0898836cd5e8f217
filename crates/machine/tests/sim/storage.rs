//! A browser's storage under a page: writes take their time and end in their order, some fail, and what is written outlives
//! the page.

use std::collections::{BTreeSet, VecDeque};
use tautline_machine::client::{Adopted, Client, Input};
use tautline_machine::{Rng, Time};

#[derive(Clone)]
struct Row {
    entry: Adopted,
    made_at: u64,
    sent_at: Option<u64>,
    /// The page that answers for it, of those that were here one after the other; `None`: set aside.
    owner: Option<u32>,
}

enum Write {
    Put(Row),
    Remove(String),
    SetAside(String),
    Adopt,
}

/// Of one page, and of those that come after it.
#[derive(Default)]
pub struct Storage {
    /// In the order in which they were first written.
    rows: Vec<Row>,
    writes: VecDeque<(u64, Write)>,
    owner: u32,
    /// What memory has to do for.
    memory: BTreeSet<String>,
    pub adopted: u64,
    pub failed: u64,
}

impl Storage {
    pub fn next_at(&self) -> Option<u64> {
        self.writes.front().map(|&(at, _)| at)
    }

    /// Whether the page may send a command.
    pub fn may_send(&self, id: &str) -> bool {
        self.memory.contains(id) || self.row(id).is_some_and(|row| row.sent_at.is_some())
    }

    /// Whether a page that comes after this one is to answer for it.
    pub fn has(&self, id: &str) -> bool {
        self.row(id).is_some_and(|row| row.owner.is_some())
    }

    /// How many those are.
    pub fn left(&self) -> usize {
        self.rows.iter().filter(|row| row.owner.is_some()).count()
    }

    pub fn is_in_memory(&self, id: &str) -> bool {
        self.memory.contains(id)
    }

    fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.entry.id == id)
    }

    /// Writes an entry of the machine's, unless that is gone again.
    pub fn put(
        &mut self,
        client: &Client,
        id: &str,
        sent: bool,
        (time, now): (Time, u64),
        rng: &mut Rng,
    ) {
        let Some(entry) = client.entry(id, time) else {
            return;
        };
        let row = Row {
            entry: Adopted {
                id: id.to_owned(),
                kind: entry.kind.to_owned(),
                payload: entry.payload.to_owned(),
                ttl_ms: entry.ttl_ms,
                age_ms: 0,
                sent_age_ms: None,
            },
            made_at: now.saturating_sub(entry.age_ms),
            sent_at: sent.then(|| now.saturating_sub(entry.sent_age_ms.unwrap_or_default())),
            owner: Some(self.owner),
        };
        self.write(Write::Put(row), now, rng);
    }

    pub fn remove(&mut self, id: String, now: u64, rng: &mut Rng) {
        self.write(Write::Remove(id), now, rng);
    }

    pub fn set_aside(&mut self, id: String, now: u64, rng: &mut Rng) {
        self.write(Write::SetAside(id), now, rng);
    }

    pub fn adopt(&mut self, now: u64, rng: &mut Rng) {
        self.write(Write::Adopt, now, rng);
    }

    fn write(&mut self, write: Write, now: u64, rng: &mut Rng) {
        let before = self.writes.back().map_or(0, |&(at, _)| at);
        let slow = if rng.between(0, 19) == 0 { 900 } else { 12 };
        let at = before.max(now + rng.between(0, slow));
        self.writes.push_back((at, write));
    }

    /// What the page hears of the writes that have ended, one by one. `rough`: some fail.
    pub fn tick(&mut self, rough: bool, now: u64, rng: &mut Rng) -> Option<Input> {
        while let Some((_, write)) = self.writes.pop_front_if(|(at, _)| *at <= now) {
            let fails = rough && matches!(write, Write::Put(_)) && rng.between(0, 39) == 0;
            let heard = self.perform(write, fails, now);
            if heard.is_some() {
                return heard;
            }
        }
        None
    }

    fn perform(&mut self, write: Write, fails: bool, now: u64) -> Option<Input> {
        match write {
            Write::Put(row) => {
                let (id, sent) = (row.entry.id.clone(), row.sent_at.is_some());
                let place = self.rows.iter().position(|known| known.entry.id == id);
                match place {
                    _ if fails => {
                        self.failed += 1;
                        self.memory.insert(id.clone());
                        self.rows.retain(|known| known.entry.id != id);
                    }
                    Some(place) => self.rows[place] = row,
                    None => self.rows.push(row),
                }
                Some(Input::Stored {
                    id,
                    sent,
                    kept: !fails,
                })
            }
            Write::Remove(id) => {
                self.rows.retain(|row| row.entry.id != id);
                None
            }
            Write::SetAside(id) => {
                let row = self.rows.iter_mut().find(|row| row.entry.id == id);
                if let Some(row) = row {
                    row.owner = None;
                }
                None
            }
            Write::Adopt => {
                let owner = self.owner;
                let left = |row: &&mut Row| row.owner.is_some_and(|theirs| theirs != owner);
                let entries = self.rows.iter_mut().filter(left).map(|row| {
                    row.owner = Some(owner);
                    Adopted {
                        age_ms: now.saturating_sub(row.made_at),
                        sent_age_ms: row.sent_at.map(|at| now.saturating_sub(at)),
                        ..row.entry.clone()
                    }
                });
                let entries: Vec<Adopted> = entries.collect();
                self.adopted += entries.len() as u64;
                Some(Input::Adopted {
                    answer: true,
                    entries,
                    lost: Vec::new(),
                })
            }
        }
    }

    /// The page dies; of what it has asked for some is done.
    pub fn crash(&mut self, now: u64, rng: &mut Rng) {
        let done = rng.between(0, self.writes.len() as u64);
        for _ in 0..done {
            if let Some((_, write)) = self.writes.pop_front()
                && !matches!(write, Write::Adopt)
            {
                self.perform(write, false, now);
            }
        }
        self.writes.clear();
        self.memory.clear();
        self.owner += 1;
    }
}
