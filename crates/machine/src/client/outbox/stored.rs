//! The outbox that outlives its page: what is written to storage and when, what is taken over from pages that are dead.

use super::{Entry, EntryState, Kept, Key, Outbox, WINDOW};
use crate::Time;
use crate::client::io::{Adopted, Answer, Output};
use std::collections::VecDeque;
use tautline_protocol::{Dialect, ErrorCode};

/// Whether the server, or time, said no for good: the page may look at it, mend it and try again.
pub(super) fn is_for_good(answer: &Answer) -> bool {
    match answer {
        Answer::Nacked { code, .. } => !code.retryable(),
        Answer::Failed { code, .. } => {
            matches!(code, ErrorCode::OutboxExpired | ErrorCode::MessageTooLarge)
        }
        Answer::Acked { .. } | Answer::Confirmed { .. } | Answer::Written => false,
    }
}

impl Outbox {
    /// Storage is asked for what dead pages left: nothing leaves before it has answered.
    pub(in crate::client) fn ask(&mut self, out: &mut VecDeque<Output>) {
        if self.stored {
            self.asked += 1;
            out.push_back(Output::Adopt);
        }
    }

    pub(in crate::client) fn answered(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }

    /// Has written down what may leave soon as what may have left: first of all, and what is marked already.
    pub(super) fn mark(&mut self, out: &mut VecDeque<Output>) {
        let room = WINDOW.saturating_sub(self.in_flight);
        for key in self.queued.iter().take(room) {
            if let Some(entry) = self.entries.get_mut(key)
                && !matches!(
                    entry.kept,
                    Kept::No | Kept::Writing(true) | Kept::Written(true)
                )
            {
                write(entry, true, out);
            }
        }
    }

    /// Has the newest written down, unless that is under way.
    pub(in crate::client) fn write_newest(&mut self, out: &mut VecDeque<Output>) {
        if let Some(entry) = self.entries.get_mut(&(self.next - 1))
            && entry.kept == Kept::New
        {
            write(entry, false, out);
        }
    }

    /// A write has ended. `kept`: it is there; else memory has to do for this one.
    pub(in crate::client) fn stored(&mut self, id: &str, sent: bool, kept: bool) {
        if let Some(entry) = self.by_id.get(id).and_then(|key| self.entries.get_mut(key))
            && entry.kept == Kept::Writing(sent)
        {
            entry.kept = if kept { Kept::Written(sent) } else { Kept::No };
        }
    }

    /// Another page has taken it over while this one was away: it may have sent it.
    pub(in crate::client) fn lost(&mut self, id: &str, now: Time) {
        if let Some(entry) = self.by_id.get(id).and_then(|key| self.entries.get_mut(key))
            && entry.kept != Kept::No
            && entry.state != EntryState::Acked
        {
            entry.kept = Kept::New;
            entry.first_sent.get_or_insert(now);
            entry.copy_abroad = true;
        }
    }

    /// Takes over what dead pages left, in their order and before all that is here. On a connection (its dialect and the
    /// largest message it takes) what came too late, or is too large for it, is given up at once.
    pub(in crate::client) fn adopt(
        &mut self,
        adopted: Vec<Adopted>,
        live: Option<(Dialect, u32)>,
        now: Time,
        out: &mut VecDeque<Output>,
    ) {
        let first = self.entries.keys().next().copied().unwrap_or(self.next);
        let count = Key::try_from(adopted.len()).unwrap_or_default();
        for (key, given) in (first - count..).zip(adopted) {
            if self.by_id.contains_key(&given.id) {
                continue;
            }
            self.insert(key, Entry::adopted(given, now));
            if let Some((dialect, max_message)) = live {
                self.judge(key, dialect, max_message, now, out);
            }
        }
    }
}

fn write(entry: &mut Entry, sent: bool, out: &mut VecDeque<Output>) {
    entry.kept = Kept::Writing(sent);
    out.push_back(Output::Store {
        id: entry.id.clone(),
        sent,
    });
}

impl Entry {
    fn adopted(given: Adopted, now: Time) -> Self {
        let was_sent = given.sent_age_ms.is_some();
        Self {
            id: given.id,
            kind: given.kind,
            payload: given.payload,
            queued_at: now,
            earlier_ms: given.age_ms,
            ttl_ms: given.ttl_ms,
            deadline: None,
            until_shown: false,
            state: EntryState::Queued,
            first_sent: was_sent.then_some(now),
            sent_earlier_ms: given.sent_age_ms.unwrap_or_default(),
            kept: Kept::Written(was_sent),
            adopted: true,
            copy_abroad: was_sent,
            seen: None,
            waits_for: None,
        }
    }
}
