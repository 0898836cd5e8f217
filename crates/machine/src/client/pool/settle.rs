//! What follows from how the members are: who is open, who is the primary, where in the log the page is, who is relieved of what,
//! and who is given what waits.

use super::super::ConnectionState;
use super::Pool;
use super::io::{Balancing, MemberId, PoolNotice, PoolOutput};
use super::member::{Member, Phase};
use crate::Time;
use tautline_protocol::limits::CLIENT_IN_FLIGHT;

/// The key of a member that has no room.
const FULL: (u64, u64) = (u64::MAX, u64::MAX);

impl Pool {
    /// Everything that follows from how the members are now.
    pub(super) fn settle(&mut self, now: Time) {
        if self.wanted && !self.suspended {
            self.staff(now);
            self.elect(now);
            self.follow(now);
            self.relieve();
            self.place(now);
        }
        self.tell_state();
        for (n, member) in self.members.iter_mut().enumerate() {
            let fit = member.is_fit();
            if std::mem::replace(&mut member.told_fit, fit) != fit {
                let notice = PoolNotice::Health(MemberId(n as u32));
                self.out.push_back(PoolOutput::Tell(notice));
            }
        }
    }

    /// Opens as many as are wanted, and a spare in the place of each that fails. One is not tried again within a minute of
    /// its failure while it is a spare: so they are not run through in circles.
    fn staff(&mut self, now: Time) {
        let open = |member: &&Member| member.phase != Phase::Resting;
        while self.members.iter().filter(open).count() < self.config.max_connections
            && let Some(at) = self.spare(now)
        {
            self.open(at);
        }
        if !self.config.failover {
            return;
        }
        for at in 0..self.members.len() {
            if self.members.get(at).is_some_and(Member::has_failed)
                && let Some(instead) = self.spare(now)
                && (self.members.get(instead)).is_some_and(|spare| spare.failures(now) == 0)
            {
                self.close(at, now);
                self.open(instead);
            }
        }
    }

    /// The spare that failed least.
    fn spare(&self, now: Time) -> Option<usize> {
        let mut least = (usize::MAX, None);
        for (at, member) in self.members.iter().enumerate() {
            let failures = member.failures(now);
            if member.phase == Phase::Resting && failures < least.0 {
                least = (failures, Some(at));
            }
        }
        least.1
    }

    pub(super) fn open(&mut self, at: usize) {
        let place = self.place.as_ref();
        if let Some(member) = self.members.get_mut(at) {
            member.opening(place.map(|place| place.seq));
            let from = place.map(|place| (place.epoch.clone(), place.seq));
            let id = MemberId(at as u32);
            self.out.push_back(PoolOutput::Open(id, from));
        }
    }

    pub(super) fn close(&mut self, at: usize, now: Time) {
        let id = MemberId(at as u32);
        if self.open_one(id).is_some() {
            self.release(at);
            if let Some(member) = self.members.get_mut(at) {
                member.over(Phase::Resting, false, now);
            }
            self.out.push_back(PoolOutput::Close(id));
        }
    }

    /// Takes back what a member has not answered: it waits again, and goes to another under the same id.
    fn release(&mut self, at: usize) {
        let id = MemberId(at as u32);
        if let Some(member) = self.members.get_mut(at) {
            member.pending = 0;
        }
        for command in self.queue.leave(id) {
            self.out.push_back(PoolOutput::Withdraw(id, command));
        }
    }

    /// Whether a member is as good as there is.
    fn serves(member: &Member, any_fit: bool) -> bool {
        member.is_up() && (member.healthy || !any_fit)
    }

    /// Whether what a member brings next follows what was delivered.
    fn follows(&self, member: &Member) -> bool {
        match (&self.place, &member.whole_from) {
            (Some(place), Some(from)) => from.epoch == place.epoch && from.seq <= place.seq,
            (None, _) => true,
            _ => false,
        }
    }

    /// A primary stays as long as it can be relied on: nothing is gained by going back.
    fn elect(&mut self, now: Time) {
        let any_fit = self.any_fit();
        let stays = |id: MemberId| {
            let member = self.members.get(id.0 as usize);
            !self.config.failover || member.is_some_and(|member| Self::serves(member, any_fit))
        };
        if self.primary.is_some_and(stays) {
            return;
        }
        let best = self.best(|member, _| (u64::from(!self.follows(member)), member.score(now)));
        if let Some(at) = best {
            let to = MemberId(at as u32);
            if let Some(from) = self.primary.replace(to) {
                self.stats.failovers += 1;
                self.out
                    .push_back(PoolOutput::Tell(PoolNotice::Failover { from, to }));
            }
        }
    }

    /// The primary's history is the pool's. Where nobody brings what comes next, the primary is asked for it once; else it
    /// was missed, and that is said.
    fn follow(&mut self, now: Time) {
        let Some(at) = self.primary.map(|id| id.0 as usize) else {
            return;
        };
        let Some((member, from)) = self.members.get(at).and_then(|member| {
            let from = member.whole_from.clone()?;
            Some((member, from))
        }) else {
            return;
        };
        let Some(place) = &self.place else {
            self.place = Some(from);
            return;
        };
        let same = place.epoch == from.epoch;
        if same && self.members.iter().any(|member| self.follows(member)) {
            return;
        }
        if same && member.asked != Some(place.seq) {
            self.close(at, now);
            return self.open(at);
        }
        self.out.push_back(PoolOutput::Tell(PoolNotice::Gap {
            from: place.seq,
            to: from.seq,
        }));
        self.place = Some(from);
    }

    /// Nothing stays with a member that may never answer.
    fn relieve(&mut self) {
        let any_fit = self.any_fit();
        for at in 0..self.members.len() {
            let leaves = |member: &Member| member.pending > 0 && !Self::serves(member, any_fit);
            if self.config.failover && self.members.get(at).is_some_and(leaves) {
                self.release(at);
            }
        }
    }

    /// Gives what waits to whoever has room.
    fn place(&mut self, now: Time) {
        while self.queue.waiting() > 0
            && let Some(at) = self.choose(now)
            && let Some(command) = self.queue.give(MemberId(at as u32), now)
        {
            if let Some(member) = self.members.get_mut(at) {
                member.pending += 1;
            }
            self.turn = at + 1;
            self.out
                .push_back(PoolOutput::Give(MemberId(at as u32), command));
        }
    }

    fn choose(&self, now: Time) -> Option<usize> {
        let (count, turn) = (self.members.len(), self.turn);
        self.best(|member, at| {
            let (score, pending) = (member.score(now), member.pending as u64);
            if member.pending >= CLIENT_IN_FLIGHT {
                return FULL;
            }
            match self.config.balancing {
                Balancing::HealthBased => (score, pending),
                Balancing::LeastPending => (pending, score),
                Balancing::RoundRobin => (((at + count - turn) % count) as u64, 0),
            }
        })
    }

    /// The serving member with the lowest key; none of them if that is [`FULL`].
    fn best(&self, key: impl Fn(&Member, usize) -> (u64, u64)) -> Option<usize> {
        let any_fit = self.any_fit();
        let mut best = (FULL, None);
        for (at, member) in self.members.iter().enumerate() {
            if Self::serves(member, any_fit) {
                let key = key(member, at);
                if key < best.0 {
                    best = (key, Some(at));
                }
            }
        }
        best.1
    }

    pub(super) fn tell_state(&mut self) {
        let open = |member: &&Member| member.phase != Phase::Resting;
        let state = if !self.wanted {
            ConnectionState::Disconnected
        } else if self.any_up() {
            ConnectionState::Connected
        } else if self
            .members
            .iter()
            .filter(open)
            .all(|member| member.phase == Phase::Failed)
        {
            ConnectionState::Error
        } else if self.was_connected {
            ConnectionState::Reconnecting
        } else {
            ConnectionState::Connecting
        };
        if std::mem::replace(&mut self.state, state) != state {
            let notice = PoolNotice::State(state);
            self.out.push_back(PoolOutput::Tell(notice));
        }
        if state == ConnectionState::Connected {
            self.settle_waiters(&Ok(()));
        } else if state == ConnectionState::Error
            && let Some(failure) = self.refusal.take()
        {
            self.settle_waiters(&Err(failure));
        }
    }
}
