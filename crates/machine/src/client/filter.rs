//! The server's filter for this page (`docs/protocol.md` §1, Filters): what the page wants, what is in force, and who
//! waits to hear of it.
//!
//! One change is on the wire at a time; of those that come meanwhile only the last one leaves, so that a page which
//! changes its mind with every keystroke stays below any rate.

use super::io::{Answer, Output};
use super::record::Fields;
use std::collections::VecDeque;
use tautline_protocol::{Dialect, ErrorCode, NackCode, Outcome, client_frame};

/// A change that the server has been told of and has not answered.
#[derive(Debug)]
struct Flight {
    /// The frame's; `auth` has none.
    id: Option<String>,
    filter: Option<String>,
    waiters: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Filters {
    /// What the page wants, as JSON; travels in every `auth`. `None` is everything that the role sees.
    wanted: Option<String>,
    /// What the server has taken.
    in_force: Option<String>,
    /// Whether `wanted` has changed since the last `auth` or `subscribe` left.
    due: bool,
    /// Who waits for `wanted` while it has not left.
    waiting: Vec<String>,
    flight: Option<Flight>,
}

/// Where a filter finds the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing is under way: there is no server to ask.
    Idle,
    /// One is being connected to.
    Coming,
    /// Connected.
    Live(Dialect),
}

impl Filters {
    /// The page wants this one; `waiter` waits for it. `true` if that is another one than before.
    pub(super) fn want(
        &mut self,
        filter: Option<String>,
        waiter: Option<String>,
        reach: Reach,
        out: &mut VecDeque<Output>,
    ) -> bool {
        let changed = self.wanted != filter;
        if changed {
            self.wanted = filter;
            give_up(&mut self.waiting, ErrorCode::Aborted, Outcome::NotSent, out);
            self.due = self.flight.is_some()
                || reach != Reach::Live(Dialect::V1)
                || self.wanted != self.in_force;
        }
        let Some(id) = waiter else {
            return changed;
        };
        match (reach, &mut self.flight) {
            (Reach::Idle, _) => settle(id, acked(), out),
            (Reach::Live(Dialect::Plain), _) => settle(id, self.of_plain(), out),
            (_, Some(flight)) if !self.due => flight.waiters.push(id),
            (Reach::Live(Dialect::V1), None) if !self.due => settle(id, acked(), out),
            _ => self.waiting.push(id),
        }
        changed
    }

    /// A plain server has no filters: it gives exactly what is wanted only if that is everything.
    fn of_plain(&self) -> Answer {
        match &self.wanted {
            None => acked(),
            Some(_) => Answer::Failed {
                code: ErrorCode::Protocol,
                outcome: Outcome::NotSent,
            },
        }
    }

    /// Whether nobody waits for an answer.
    pub(super) fn is_settled(&self) -> bool {
        self.flight.is_none() && self.waiting.is_empty()
    }

    /// Of settled ones.
    pub(super) fn fields(&mut self, f: &mut impl Fields) {
        f.filter(&mut self.wanted);
        f.filter(&mut self.in_force);
        f.flag(&mut self.due);
    }

    /// Whether the server is still to be told.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// What `auth` carries.
    pub(super) fn for_auth(&mut self) -> Option<&str> {
        self.leave(None);
        self.wanted.as_deref()
    }

    fn leave(&mut self, id: Option<String>) {
        self.due = false;
        self.flight = Some(Flight {
            id,
            filter: self.wanted.clone(),
            waiters: std::mem::take(&mut self.waiting),
        });
    }

    /// Whether a frame may leave now: the one before it has been answered.
    pub(super) fn may_leave(&self) -> bool {
        self.due && self.flight.is_none()
    }

    /// The frame that tells the server.
    pub(super) fn frame(&mut self, id: String) -> String {
        let frame = match &self.wanted {
            Some(filter) => client_frame::command("subscribe", Some(&id), filter),
            None => client_frame::command("unsubscribe", Some(&id), "{}"),
        };
        self.leave(Some(id));
        frame
    }

    /// `auth:success` in v1: the filter that `auth` carried is in force.
    pub(super) fn authenticated(&mut self, out: &mut VecDeque<Output>) {
        self.in_force = None;
        self.taken(out);
    }

    fn taken(&mut self, out: &mut VecDeque<Output>) {
        if let Some(flight) = self.flight.take() {
            self.in_force = flight.filter;
            for id in flight.waiters {
                settle(id, acked(), out);
            }
        }
    }

    /// Connected to a plain server.
    pub(super) fn plain(&mut self, out: &mut VecDeque<Output>) {
        self.disconnected(out);
        self.in_force = None;
        self.due = false;
        for id in std::mem::take(&mut self.waiting) {
            settle(id, self.of_plain(), out);
        }
    }

    fn in_flight(&mut self, id: &str) -> Option<Flight> {
        self.flight
            .take_if(|flight| flight.id.as_deref() == Some(id))
    }

    /// An `ack`, if it is the filter's.
    pub(super) fn acked(&mut self, id: &str, out: &mut VecDeque<Output>) -> bool {
        let ours = self.in_flight(id);
        let there = ours.is_some();
        if there {
            self.flight = ours;
            self.taken(out);
        }
        there
    }

    /// A `nack`, if it is the filter's: what is in force stays so, and is what is remembered, unless the page wants yet
    /// another one meanwhile. One refused for its rate leaves again.
    pub(super) fn nacked(
        &mut self,
        id: &str,
        code: NackCode,
        outcome: Outcome,
        retry_after_ms: Option<u64>,
        out: &mut VecDeque<Output>,
    ) -> bool {
        let Some(flight) = self.in_flight(id) else {
            return false;
        };
        if code == NackCode::RateLimited {
            self.back(flight, out);
            self.due = true;
            return true;
        }
        if !self.due {
            self.wanted.clone_from(&self.in_force);
        }
        for id in flight.waiters {
            let answer = Answer::Nacked {
                code,
                outcome,
                retry_after_ms,
            };
            settle(id, answer, out);
        }
        true
    }

    /// The server could not use the filter in `auth`, and says so behind its `auth:success`. `true` if there was one.
    pub(super) fn refused_in_auth(&mut self) -> bool {
        let there = self.in_force.take();
        if !self.due && self.flight.is_none() && self.wanted == there {
            self.wanted = None;
        }
        there.is_some()
    }

    /// The server will not answer any more; who still waits for what is wanted waits for the next connection.
    pub(super) fn disconnected(&mut self, out: &mut VecDeque<Output>) {
        if let Some(flight) = self.flight.take() {
            self.back(flight, out);
        }
    }

    fn back(&mut self, mut flight: Flight, out: &mut VecDeque<Output>) {
        if flight.filter == self.wanted {
            flight.waiters.append(&mut self.waiting);
            self.waiting = flight.waiters;
        } else {
            give_up(
                &mut flight.waiters,
                ErrorCode::Aborted,
                Outcome::Unknown,
                out,
            );
        }
    }

    /// `disconnect()`, `dispose()`: nobody waits any more; what is wanted is remembered.
    pub(super) fn end(&mut self, code: ErrorCode, out: &mut VecDeque<Output>) {
        self.disconnected(out);
        give_up(&mut self.waiting, code, Outcome::NotSent, out);
    }
}

fn acked() -> Answer {
    Answer::Acked { seq: None }
}

fn settle(id: String, answer: Answer, out: &mut VecDeque<Output>) {
    out.push_back(Output::Settled(id, answer));
}

fn give_up(
    waiters: &mut Vec<String>,
    code: ErrorCode,
    outcome: Outcome,
    out: &mut VecDeque<Output>,
) {
    for id in std::mem::take(waiters) {
        settle(id, Answer::Failed { code, outcome }, out);
    }
}
