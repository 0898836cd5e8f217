//! Those who share a page's connection by leases, and what they were told.

use crate::check::holds;
use std::collections::BTreeSet;
use tautline_machine::client::{ConnectionState, LeaseId, LeaseInput, LeaseOutput, Leases};
use tautline_machine::{Rng, Time};

#[derive(Default)]
pub struct Holders {
    leases: Leases,
    waiting: BTreeSet<LeaseId>,
    held: BTreeSet<LeaseId>,
    wake: Option<u64>,
    pub granted: u64,
}

impl Holders {
    pub fn wake(&self) -> Option<u64> {
        self.wake
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.held.is_empty()
    }

    pub fn acquire(&mut self) -> LeaseInput {
        let id = self.leases.next_id();
        self.waiting.insert(id);
        LeaseInput::Acquire(id)
    }

    /// Somebody comes, goes, or gives up waiting.
    pub fn some_input(&mut self, rng: &mut Rng) -> LeaseInput {
        let pick = |from: &BTreeSet<LeaseId>, rng: &mut Rng| {
            let last = (from.len() as u64).saturating_sub(1);
            from.iter().nth(rng.between(0, last) as usize).copied()
        };
        match rng.between(0, 3) {
            0 => {
                if let Some(id) = pick(&self.waiting, rng) {
                    self.waiting.remove(&id);
                    return LeaseInput::Abort(id);
                }
            }
            1 | 2 => {
                if let Some(id) = pick(&self.held, rng) {
                    self.held.remove(&id);
                    let linger = rng.between(0, 1) * rng.between(1, 5_000);
                    return LeaseInput::Release(id, linger);
                }
            }
            _ => {}
        }
        self.acquire()
    }

    /// What the driver is to do with the service; what concerns holders is noted here.
    pub fn handle(&mut self, input: LeaseInput, now: u64) -> Vec<LeaseOutput> {
        if input == LeaseInput::Force {
            self.held.clear();
        }
        self.leases.handle(input, Time::from_ms(now));
        let mut service = Vec::new();
        loop {
            match self.leases.poll_output() {
                LeaseOutput::Wait(at) => {
                    self.wake = at.map(|at| at.as_ms().max(now));
                    break;
                }
                LeaseOutput::Grant(id) => {
                    holds!(
                        "leases",
                        self.waiting.remove(&id),
                        "{id:?} is granted unasked"
                    );
                    self.held.insert(id);
                    self.granted += 1;
                }
                LeaseOutput::Refuse(id) | LeaseOutput::Cancel(id) => {
                    holds!(
                        "leases",
                        self.waiting.remove(&id),
                        "{id:?} is refused unasked"
                    );
                }
                output => service.push(output),
            }
        }
        service
    }

    pub fn looks(&self, now: u64, state: ConnectionState) {
        holds!(
            "leases",
            self.leases.count() == self.waiting.len() + self.held.len()
                && self.leases.is_connecting() != self.waiting.is_empty(),
            "{} are counted, {} wait and {} hold",
            self.leases.count(),
            self.waiting.len(),
            self.held.len()
        );
        let open = state != ConnectionState::Disconnected;
        holds!(
            "leases",
            self.held.is_empty() || open,
            "somebody holds a connection that nobody keeps"
        );
        let lingers = self.wake.is_some_and(|at| at >= now);
        holds!(
            "leases",
            !self.is_idle() || lingers || !open,
            "nobody holds the connection, and it is {state:?} at {now}, waking at {:?}",
            self.wake
        );
    }
}
