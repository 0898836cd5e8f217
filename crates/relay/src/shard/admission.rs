//! What all connections and restaurants of a shard share, and who goes when there is too much of it
//! (`docs/protocol.md`, Limits). The choices are [`budget`]'s and [`load`]'s.

use super::Shard;
use super::conn::{Conn, ConnId};
use super::restaurant::{Restaurant, Slot};
use crate::limit;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use tautline_machine::relay::budget::{self, Tail};
use tautline_machine::relay::session::Input;
use tautline_machine::relay::{Nack, Stage, load};
use tautline_protocol::limits::{self, hit};
use tautline_protocol::{CloseCode, NackCode};

/// The bounds of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) per_restaurant: usize,
    pub(crate) unauthenticated: usize,
    pub(crate) restaurants: usize,
    pub(crate) restaurant_idle_ms: u64,
    pub(crate) tail_events: usize,
    pub(crate) tail_memory: usize,
    pub(crate) snapshots: usize,
    pub(crate) snapshot_wait_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            per_restaurant: limits::RESTAURANT_CONNECTIONS,
            unauthenticated: limits::UNAUTHENTICATED,
            restaurants: limits::RESTAURANTS,
            restaurant_idle_ms: limits::RESTAURANT_IDLE_MS,
            tail_events: limits::TAIL_EVENTS,
            tail_memory: limits::TAIL_MEMORY_ALL_BYTES,
            snapshots: limits::SNAPSHOTS,
            snapshot_wait_ms: limits::SNAPSHOT_WAIT_MS,
        }
    }
}

/// What is in use.
#[derive(Debug, Default)]
pub(super) struct Use {
    /// Connections that have not said who they are; the first is the oldest.
    unauthenticated: BTreeSet<ConnId>,
    /// Bytes of events in memory, all restaurants.
    tail_memory: usize,
}

impl Use {
    pub(super) fn unauthenticated(&self) -> usize {
        self.unauthenticated.len()
    }

    pub(super) fn tail_memory(&self) -> usize {
        self.tail_memory
    }
}

impl Shard {
    /// A connection is here and has not said who it is: one too many, and the oldest of them goes.
    pub(super) fn arrived(&mut self, id: ConnId) {
        self.in_use.unauthenticated.insert(id);
        if self.in_use.unauthenticated.len() > self.bounds.unauthenticated
            && let Some(oldest) = self.in_use.unauthenticated.pop_first()
        {
            limit::hit(hit::UNAUTHENTICATED);
            self.input(
                oldest,
                Input::End(CloseCode::TRY_LATER, "too many wait to authenticate"),
            );
            // Its place is wanted: a crowd that never answers a close would soon hold them all.
            self.with_conn(oldest, |_, conn| conn.gone |= conn.out.is_empty());
        }
    }

    /// It has, or it goes.
    pub(super) fn settled(&mut self, id: ConnId) {
        self.in_use.unauthenticated.remove(&id);
    }

    /// Counts what the session met.
    pub(super) fn count_hits(&self, conn: &mut Conn) {
        let hits = conn.session.hits();
        if !hits.is_empty() {
            limit::hits(hits);
        }
    }

    /// Whether the restaurant takes one more connection.
    pub(super) fn has_place(&self, restaurant: &Restaurant) -> bool {
        let has = restaurant.subscribers.len() < self.bounds.per_restaurant;
        if !has {
            limit::hit(hit::RESTAURANT_CONNECTIONS);
        }
        has
    }

    /// Whether one more restaurant may be loaded; where there are too many, one that nobody hangs on leaves.
    pub(super) fn has_room_for_restaurant(&mut self) -> bool {
        if !budget::is_full(self.restaurants.len(), self.bounds.restaurants) {
            return true;
        }
        limit::hit(hit::RESTAURANTS);
        let idle = self.restaurants.values().filter_map(|slot| match slot {
            Slot::Loaded(restaurant) => {
                let held = restaurant.borrow();
                held.is_unused()
                    .then(|| (held.last_used, Arc::clone(&held.name)))
            }
            Slot::Loading(_) => None,
        });
        let Some((_, oldest)) = idle.min() else {
            return false;
        };
        self.unload(&oldest);
        true
    }

    /// Lets go of a restaurant.
    pub(super) fn unload(&mut self, name: &str) {
        if let Some(Slot::Loaded(restaurant)) = self.restaurants.remove(name) {
            self.in_use.tail_memory -= std::mem::take(&mut restaurant.borrow_mut().weighed);
        }
    }

    /// What a restaurant's log met and holds in memory; over the bound of all, some leave memory.
    pub(super) fn weigh(&mut self, restaurant: &Rc<RefCell<Restaurant>>) {
        let mut held = restaurant.borrow_mut();
        if !held.log.hits().is_empty() {
            limit::hits(held.log.hits());
        }
        let now = held.log.memory_bytes();
        let before = std::mem::replace(&mut held.weighed, now);
        self.in_use.tail_memory = self.in_use.tail_memory + now - before;
        drop(held);
        if self.in_use.tail_memory > self.bounds.tail_memory {
            self.forget_tails();
        }
    }

    fn forget_tails(&mut self) {
        let loaded: Vec<_> = self
            .restaurants
            .values()
            .filter_map(|slot| match slot {
                Slot::Loaded(restaurant) => Some(Rc::clone(restaurant)),
                Slot::Loading(_) => None,
            })
            .collect();
        let tails = loaded.iter().enumerate().map(|(key, restaurant)| {
            let held = restaurant.borrow();
            Tail {
                key,
                bytes: held.weighed,
                last_used: held.last_used,
            }
        });
        for key in budget::to_forget(tails.collect(), self.bounds.tail_memory) {
            let Some(restaurant) = loaded.get(key) else {
                continue;
            };
            limit::hit(hit::TAIL_MEMORY_ALL);
            let mut held = restaurant.borrow_mut();
            held.log.forget_memory();
            self.in_use.tail_memory -= std::mem::take(&mut held.weighed);
        }
    }

    /// Whether commands are refused because the relay does not keep up.
    pub(super) fn overloaded(&self) -> Option<Nack> {
        (self.pressure.stage() >= Stage::Commands).then(|| Nack {
            retry_after_ms: Some(limits::OVERLOAD_MS),
            ..Nack::over(
                hit::OVERLOAD,
                NackCode::Overloaded,
                "the relay does not keep up; try again",
            )
        })
    }

    /// Ends the connections that are furthest behind: the relay does not keep up.
    pub(crate) fn end_slowest(&mut self) {
        let mut behind: Vec<_> = self
            .conns
            .values()
            .filter_map(|conn| {
                let (cursor, restaurant) = conn.at.as_ref()?;
                let lag = restaurant.borrow().log.head().saturating_sub(cursor.at());
                (lag > 0).then_some((Reverse(lag), conn.id))
            })
            .collect();
        behind.sort_unstable();
        behind.truncate(load::cursors_to_end(self.conns.len()));
        for (_, id) in behind {
            limit::hit(hit::OVERLOAD);
            self.input(
                id,
                Input::End(CloseCode::TRY_LATER, "overloaded, and furthest behind"),
            );
        }
    }

    /// How long records wait for their commit, now or lately; nothing when none does.
    pub(crate) fn commit_delay_ms(&self) -> u64 {
        self.handed.front().map_or(0, |at| {
            crate::load::ms(at.elapsed()).max(self.last_commit_ms)
        })
    }
}
