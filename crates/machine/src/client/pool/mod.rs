//! Several connections to one restaurant's log, used as one (`docs/decisions/0039-websocket-pool.md`): which are open, which
//! of them is the primary, who is given a command, what of their events is new.
//!
//! A member is a [`super::Client`] of its own: it dials, authenticates, resumes and reconnects by itself. The pool hears of
//! that and decides only what concerns more than one. After each input everything is looked at anew, in
//! `settle.rs`; this file holds the pool's state, its door and its answers at once.

mod io;
mod member;
mod queue;
mod settle;
#[cfg(test)]
mod tests;

use super::core::{Ids, failure};
use super::{Answer, Command, ConnectionState, Failure, WaiterId};
use crate::{Rng, Time};
pub use io::{
    Balancing, MemberId, MemberView, Place, PoolConfig, PoolInput, PoolNotice, PoolOutput,
    PoolStats, Priority,
};
use member::{Member, Phase};
use queue::{At, Queue};
use std::collections::VecDeque;
use tautline_protocol::{ErrorCode, Seq};

/// A check that comes later than this says the page did not run: nobody missed a ping.
const SLEPT_MS: u64 = 5_000;
/// Pings are no closer than this.
const CHECK_MS: u64 = 1_000;

/// The decisions of one pool. Feed it with [`Pool::handle`], then drain [`Pool::poll_output`] until it says
/// [`PoolOutput::Wait`].
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    members: Vec<Member>,
    primary: Option<MemberId>,
    queue: Queue,
    /// The last event delivered, in the history in force: the primary's.
    place: Option<Place>,
    wanted: bool,
    disposed: bool,
    suspended: bool,
    was_connected: bool,
    state: ConnectionState,
    waiters: Vec<WaiterId>,
    /// Why the last member could not connect.
    refusal: Option<Failure>,
    check_at: Option<Time>,
    /// Whose turn it is.
    turn: usize,
    stats: PoolStats,
    ids: Ids,
    out: VecDeque<PoolOutput>,
}

impl Pool {
    /// A pool at rest. `seed` names its commands.
    pub fn new(config: PoolConfig, seed: u64) -> Self {
        Self {
            members: (0..config.members).map(|_| Member::new()).collect(),
            config,
            primary: None,
            queue: Queue::default(),
            place: None,
            wanted: false,
            disposed: false,
            suspended: false,
            was_connected: false,
            state: ConnectionState::Disconnected,
            waiters: Vec::new(),
            refusal: None,
            check_at: None,
            turn: 0,
            stats: PoolStats::default(),
            ids: Ids {
                instance: Rng::new(seed).name(),
                count: 0,
            },
            out: VecDeque::new(),
        }
    }

    /// Takes one input and decides; the caller then drains [`Pool::poll_output`].
    pub fn handle(&mut self, input: PoolInput, now: Time) {
        if self.disposed {
            if let PoolInput::Connect(waiter) = input {
                let gone = failure(
                    ErrorCode::Disposed,
                    "this object was disposed; make a new one",
                );
                self.out.push_back(PoolOutput::Settle(waiter, Err(gone)));
            }
            return;
        }
        // Before the input: a timer may come behind what it should have come before.
        self.check(now);
        self.expire(now);
        match input {
            PoolInput::Tick => {}
            PoolInput::Connect(waiter) => self.connect(waiter, now),
            PoolInput::Abandon(waiter) => self.waiters.retain(|&w| w != waiter),
            PoolInput::Disconnect => self.rest(now),
            PoolInput::Dispose => {
                self.disposed = true;
                self.rest(now);
            }
            PoolInput::Suspended(suspended) => self.suspended = suspended,
            PoolInput::Up(id, place) => {
                self.was_connected = true;
                if let Some(member) = self.open_one(id) {
                    member.up(place, now);
                }
            }
            PoolInput::Moved(id, place) => {
                if let Some(member) = self.open_one(id).filter(|member| member.is_up()) {
                    member.whole_from = Some(place);
                }
            }
            PoolInput::Down(id) => {
                // The page let go of its connections: nobody failed.
                let failed = !self.suspended;
                if let Some(member) = self.open_one(id) {
                    let phase = if failed { Phase::Down } else { Phase::Opening };
                    member.over(phase, failed, now);
                }
            }
            PoolInput::GaveUp(id) => {
                // The reason follows where somebody waits for it.
                self.refusal = None;
                if let Some(member) = self.open_one(id) {
                    member.over(Phase::Failed, true, now);
                }
            }
            PoolInput::Refused(id, failure) => {
                if let Some(member) = self.open_one(id) {
                    member.over(Phase::Failed, member.phase != Phase::Failed, now);
                    self.refusal = Some(failure);
                }
            }
            PoolInput::Pong(id, rtt_ms) => {
                if let Some(member) = self.open_one(id).filter(|member| member.is_up()) {
                    member.pong(rtt_ms);
                }
            }
            PoolInput::Answered(id) => {
                if let Some(entry) = self.queue.remove(&id)
                    && let At::With(member) = entry.at
                    && let Some(member) = self.member(member)
                {
                    member.pending -= 1;
                }
            }
            PoolInput::Withdrawn(id, outcome) => match self.queue.back(&id, outcome) {
                Some(over) => self.give_up(over, ErrorCode::Aborted),
                None => self.stats.moved += 1,
            },
        }
        self.settle(now);
    }

    /// The next effect; [`PoolOutput::Wait`] ends every drain.
    pub fn poll_output(&mut self) -> PoolOutput {
        self.out.pop_front().unwrap_or_else(|| {
            let expiry = self.queue.deadline().filter(|_| self.may_expire());
            PoolOutput::Wait(match (self.check_at, expiry) {
                (Some(check), Some(expiry)) => Some(check.min(expiry)),
                (check, _) => check,
            })
        })
    }

    /// Takes a command and gives its id; drain the outputs afterwards.
    ///
    /// # Errors
    /// `outbox_full`, `invalid_argument` (the id is in use, or is no id), `disposed`.
    pub fn send(
        &mut self,
        mut command: Command,
        priority: Priority,
        now: Time,
    ) -> Result<String, Failure> {
        if self.disposed {
            return Err(failure(
                ErrorCode::Disposed,
                "this object was disposed; make a new one",
            ));
        }
        let id = match &command.id {
            Some(id) => id.clone(),
            None => self.ids.next(),
        };
        command.id = Some(id.clone());
        let deadline = now + command.ttl_ms.unwrap_or(self.config.ttl_ms);
        let limits = (self.config.queue_limit, self.config.queue_bytes);
        self.queue.push(command, &id, priority, deadline, limits)?;
        self.settle(now);
        Ok(id)
    }

    /// The caller gave a command up. Drain the outputs afterwards.
    pub fn cancel(&mut self, id: &str) {
        let Some(entry) = self.queue.get_mut(id) else {
            return;
        };
        match entry.at {
            At::Waiting => {
                if let Some(entry) = self.queue.remove(id) {
                    self.give_up(entry, ErrorCode::Aborted);
                }
            }
            At::With(with) => {
                entry.at = At::Leaving;
                entry.aborted = true;
                self.out
                    .push_back(PoolOutput::Withdraw(with, id.to_owned()));
                if let Some(member) = self.member(with) {
                    member.pending -= 1;
                }
            }
            At::Leaving => entry.aborted = true,
        }
    }

    /// A member brought an event or a message: whether it is to be delivered.
    ///
    /// Numbered ones go by the last that was delivered. One beyond it counts only from a member whose events were whole
    /// since then: another may be ahead, and what it left out would be lost.
    pub fn event(&mut self, id: MemberId, seq: Option<Seq>) -> bool {
        let is_primary = self.primary == Some(id);
        let Some(member) = self.members.get_mut(id.0 as usize) else {
            return false;
        };
        let Some(seq) = seq else {
            return is_primary && member.is_up();
        };
        let (Some(from), Some(place)) = (&mut member.whole_from, &mut self.place) else {
            return false;
        };
        if from.epoch != place.epoch || from.seq > place.seq {
            from.seq = seq;
            return false;
        }
        if seq <= place.seq {
            self.stats.duplicates += 1;
            return false;
        }
        place.seq = seq;
        self.stats.events += 1;
        true
    }

    /// The history that a member's events are known to be of.
    pub fn history(&self, id: MemberId) -> Option<u32> {
        let place = self.members.get(id.0 as usize)?.whole_from.as_ref()?;
        Some(place.history)
    }

    /// The pool as the page sees it.
    pub fn state(&self) -> ConnectionState {
        self.state
    }

    /// `getHealthStatus()`.
    pub fn views(&self, now: Time) -> impl Iterator<Item = MemberView> {
        self.members
            .iter()
            .zip(0..)
            .map(move |(member, n)| MemberView {
                state: member.state(),
                healthy: member.is_fit(),
                primary: self.primary == Some(MemberId(n)),
                latency_ms: member.latency_ms(),
                failures: member.failures(now),
                missed_pings: member.missed,
                pending: member.pending,
            })
    }

    /// `getStatistics()`.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            sent: self.queue.taken(),
            settled: self.queue.taken() - self.queue.len() as u64,
            queued: self.queue.waiting(),
            pending: self.queue.len() - self.queue.waiting(),
            ..self.stats
        }
    }

    fn member(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.get_mut(id.0 as usize)
    }

    /// The member, unless it is a spare: what one says that was closed comes too late.
    fn open_one(&mut self, id: MemberId) -> Option<&mut Member> {
        self.member(id)
            .filter(|member| member.phase != Phase::Resting)
    }

    fn any_up(&self) -> bool {
        self.members.iter().any(Member::is_up)
    }

    fn any_fit(&self) -> bool {
        self.members.iter().any(Member::is_fit)
    }

    fn may_expire(&self) -> bool {
        self.wanted && !self.suspended && !self.any_up()
    }

    fn give_up(&mut self, entry: queue::Entry, code: ErrorCode) {
        let outcome = entry.outcome();
        if let Some(id) = entry.command.id {
            let answer = Answer::Failed { code, outcome };
            self.out.push_back(PoolOutput::Settled(id, answer));
        }
    }

    fn settle_waiters(&mut self, result: &Result<(), Failure>) {
        for waiter in std::mem::take(&mut self.waiters) {
            self.out
                .push_back(PoolOutput::Settle(waiter, result.clone()));
        }
    }

    fn connect(&mut self, waiter: WaiterId, now: Time) {
        self.waiters.push(waiter);
        if !std::mem::replace(&mut self.wanted, true) {
            self.check_at = Some(now + self.check_interval_ms());
        }
        // One that has given up begins anew; one that only waits tells this waiter too how it ends.
        self.refusal = None;
        for at in 0..self.members.len() {
            if self.members.get(at).is_some_and(Member::has_failed) {
                self.open(at);
            }
        }
    }

    /// `disconnect()` and `dispose()`: no timer left; commands are kept.
    fn rest(&mut self, now: Time) {
        self.wanted = false;
        self.was_connected = false;
        self.check_at = None;
        self.primary = None;
        for at in 0..self.members.len() {
            self.close(at, now);
        }
        self.tell_state();
        self.settle_waiters(&Err(if self.disposed {
            failure(
                ErrorCode::Disposed,
                "the object was disposed before a connection was there",
            )
        } else {
            failure(
                ErrorCode::Aborted,
                "disconnect() was called before a connection was there",
            )
        }));
    }

    fn check_interval_ms(&self) -> u64 {
        self.config.check_interval_ms.max(CHECK_MS)
    }

    fn check(&mut self, now: Time) {
        let Some(at) = self.check_at.filter(|&at| at <= now) else {
            return;
        };
        self.check_at = Some(now + self.check_interval_ms());
        if now - at <= SLEPT_MS {
            self.members.iter_mut().for_each(|member| member.check(now));
        }
    }

    fn expire(&mut self, now: Time) {
        while self.may_expire()
            && let Some(over) = self.queue.expired(now)
        {
            self.give_up(over, ErrorCode::OutboxExpired);
        }
    }
}
