//! Who holds the connection (`pkg/README.md`, ConnectionManager): counting with linger, abort and generations.

use crate::Time;
use crate::sorted::SortedMap;
use std::collections::VecDeque;

/// One holder. Ids of an earlier generation mean nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u32);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseInput {
    /// Someone wants the connection; the id comes from [`Leases::next_id`].
    Acquire(LeaseId),
    /// A wait was given up.
    Abort(LeaseId),
    /// A holder lets go; the last one closes after this linger.
    Release(LeaseId, u64),
    /// The connection is there.
    Connected,
    /// The connection cannot be had.
    Failed,
    /// `forceDisconnect()`: ends this generation.
    Force,
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseOutput {
    /// Connect the service; answer with `Connected` or `Failed`.
    Connect,
    /// Disconnect the service. A `Connect` before it is not to be answered any more: its answer would be taken for
    /// the next one's.
    Disconnect,
    /// This holder has its lease.
    Grant(LeaseId),
    /// This holder does not get one: the attempt failed.
    Refuse(LeaseId),
    /// The generation ended while this holder waited.
    Cancel(LeaseId),
    /// Nothing more until then.
    Wait(Option<Time>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Waiting,
    Held,
}

/// The holders of one service, however many managers share it.
#[derive(Debug, Default)]
pub struct Leases {
    holders: SortedMap<LeaseId, Holder>,
    next: u32,
    /// Until when the connection stays without a holder; only a grant takes it back, so that a wait given up meanwhile
    /// changes nothing.
    linger_until: Option<Time>,
    connected: bool,
    asked: bool,
    out: VecDeque<LeaseOutput>,
}

impl Leases {
    /// No holders.
    pub fn new() -> Self {
        Self::default()
    }

    /// An id for the next [`LeaseInput::Acquire`].
    pub fn next_id(&mut self) -> LeaseId {
        self.next += 1;
        LeaseId(self.next)
    }

    /// How many hold or wait.
    pub fn count(&self) -> usize {
        self.holders.len()
    }

    /// Whether somebody waits.
    pub fn is_connecting(&self) -> bool {
        self.holders
            .values()
            .any(|&holder| holder == Holder::Waiting)
    }

    /// Takes one input; drain [`Leases::poll_output`] afterwards.
    pub fn handle(&mut self, input: LeaseInput, now: Time) {
        match input {
            LeaseInput::Acquire(id) => self.acquire(id),
            LeaseInput::Abort(id) => {
                if self.holders.get(&id) == Some(&Holder::Waiting) {
                    self.holders.remove(&id);
                    // It held nothing: there is nothing new to linger for.
                    if self.holders.is_empty() && self.linger_until.is_none() {
                        self.close();
                    }
                }
            }
            LeaseInput::Release(id, linger_ms) => {
                if self.holders.remove(&id).is_some() && self.holders.is_empty() {
                    if self.connected && linger_ms > 0 {
                        self.linger_until = Some(now + linger_ms);
                    } else {
                        self.close();
                    }
                }
            }
            LeaseInput::Connected => {
                self.connected = true;
                self.asked = false;
                if !self.holders.is_empty() {
                    self.linger_until = None;
                }
                for (&id, holder) in self.holders.iter_mut() {
                    if std::mem::replace(holder, Holder::Held) == Holder::Waiting {
                        self.out.push_back(LeaseOutput::Grant(id));
                    }
                }
            }
            LeaseInput::Failed => {
                self.asked = false;
                let waiting: Vec<LeaseId> = self
                    .holders
                    .iter()
                    .filter(|&(_, &holder)| holder == Holder::Waiting)
                    .map(|(&id, _)| id)
                    .collect();
                for id in waiting {
                    self.holders.remove(&id);
                    self.out.push_back(LeaseOutput::Refuse(id));
                }
                if self.holders.is_empty() {
                    self.close();
                }
            }
            LeaseInput::Force => {
                for (id, holder) in std::mem::take(&mut self.holders).into_iter() {
                    if holder == Holder::Waiting {
                        self.out.push_back(LeaseOutput::Cancel(id));
                    }
                }
                self.close();
            }
            LeaseInput::Tick => {}
        }
        if self.closes_at().is_some_and(|at| at <= now) {
            self.close();
        }
    }

    /// The next effect; ends with `Wait`.
    pub fn poll_output(&mut self) -> LeaseOutput {
        self.out
            .pop_front()
            .unwrap_or(LeaseOutput::Wait(self.closes_at()))
    }

    fn closes_at(&self) -> Option<Time> {
        self.linger_until.filter(|_| self.holders.is_empty())
    }

    fn acquire(&mut self, id: LeaseId) {
        self.holders.insert(id, Holder::Waiting);
        // The service joins concurrent connects and answers at once when it is connected already.
        if !std::mem::replace(&mut self.asked, true) {
            self.out.push_back(LeaseOutput::Connect);
        }
    }

    fn close(&mut self) {
        self.linger_until = None;
        self.connected = false;
        self.asked = false;
        self.out.push_back(LeaseOutput::Disconnect);
    }
}
