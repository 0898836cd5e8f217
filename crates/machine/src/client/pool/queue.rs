//! The pool's commands until they are answered: waiting for a member, or with one.

use super::super::{Command, Failure};
use super::io::{MemberId, Priority};
use crate::Time;
use crate::sorted::{SortedMap, SortedSet};
use tautline_protocol::{ErrorCode, Outcome, is_command_id};

/// Bits of a command's number; its priority is above them.
const NUMBER_BITS: u32 = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Waiting,
    With(MemberId),
    /// Asked back from a member.
    Leaving,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) command: Command,
    pub(super) at: At,
    deadline: Time,
    /// Given up by its caller while a member had it.
    pub(super) aborted: bool,
    /// When the member that has it got it.
    given_at: Time,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.command.kind.len() + self.command.payload.len()
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self.command.sent_at {
            Some(_) => Outcome::Unknown,
            None => Outcome::NotSent,
        }
    }
}

/// Keys are the commands' places in line: their priority, then their order of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: SortedMap<u64, Entry>,
    by_id: SortedMap<String, u64>,
    waiting: SortedSet<u64>,
    deadlines: SortedSet<(Time, u64)>,
    waiting_count: usize,
    waiting_bytes: usize,
    taken: u64,
}

impl Queue {
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting_count
    }

    pub(super) fn holds(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Takes a command that has an id.
    pub(super) fn push(
        &mut self,
        command: Command,
        id: &str,
        priority: Priority,
        deadline: Time,
        limits: (usize, usize),
    ) -> Result<(), Failure> {
        let entry = Entry {
            command,
            at: At::Waiting,
            deadline,
            aborted: false,
            given_at: Time::default(),
        };
        let refusal = if !is_command_id(id) {
            Some((
                ErrorCode::InvalidArgument,
                "an id has 1 to 64 of the letters A-Z a-z 0-9 . _ ~ -",
            ))
        } else if self.holds(id) {
            Some((
                ErrorCode::InvalidArgument,
                "a message with this id is on its way already; use another id",
            ))
        } else if self.waiting_count >= limits.0 || self.waiting_bytes + entry.bytes() > limits.1 {
            Some((
                ErrorCode::OutboxFull,
                "the queue is full; wait for a connection, or raise messageQueueSize",
            ))
        } else {
            None
        };
        if let Some((code, message)) = refusal {
            return Err(super::super::core::failure(code, message));
        }
        let key = ((priority as u64) << NUMBER_BITS) | self.taken;
        self.taken += 1;
        self.by_id.insert(id.to_owned(), key);
        self.entries.insert(key, entry);
        self.line_up(key);
        Ok(())
    }

    fn line_up(&mut self, key: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.at = At::Waiting;
            self.waiting_count += 1;
            self.waiting_bytes += entry.bytes();
            self.deadlines.insert((entry.deadline, key));
            self.waiting.insert(key);
        }
    }

    fn step_out(&mut self, key: u64) {
        if let Some(entry) = self.entries.get(&key)
            && entry.at == At::Waiting
        {
            self.waiting_count -= 1;
            self.waiting_bytes -= entry.bytes();
            self.deadlines.remove(&(entry.deadline, key));
            self.waiting.remove(&key);
        }
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.entries.get_mut(self.by_id.get(id)?)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Entry> {
        let key = self.by_id.remove(id)?;
        self.step_out(key);
        self.entries.remove(&key)
    }

    /// The first in line, for that member.
    pub(super) fn give(&mut self, to: MemberId, now: Time) -> Option<Command> {
        let key = *self.waiting.first()?;
        self.step_out(key);
        let entry = self.entries.get_mut(&key)?;
        entry.at = At::With(to);
        entry.given_at = now;
        Some(entry.command.clone())
    }

    /// The ids of what a member has not answered; they are on their way back.
    pub(super) fn leave(&mut self, from: MemberId) -> Vec<String> {
        let mut ids = Vec::new();
        for (_, entry) in self.entries.iter_mut() {
            if entry.at == At::With(from) {
                entry.at = At::Leaving;
                ids.extend(entry.command.id.clone());
            }
        }
        ids
    }

    /// It is back; one that its caller gave up meanwhile is over.
    pub(super) fn back(&mut self, id: &str, outcome: Outcome) -> Option<Entry> {
        let key = *self.by_id.get(id)?;
        let entry = self.entries.get_mut(&key)?;
        if outcome != Outcome::NotSent {
            entry.command.sent_at.get_or_insert(entry.given_at);
        }
        if entry.aborted {
            return self.remove(id);
        }
        self.line_up(key);
        None
    }

    /// When the first of those that wait has waited long enough.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// One whose time is over.
    pub(super) fn expired(&mut self, now: Time) -> Option<Entry> {
        let &(at, key) = self.deadlines.first()?;
        let id = self.entries.get(&key)?.command.id.clone()?;
        if at > now { None } else { self.remove(&id) }
    }
}
