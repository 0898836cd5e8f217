//! What the shard holds, for `GET /api/v1/diagnostics`: by kind of everything, by owner of what the caller may see.

use super::restaurant::Slot;
use super::{Shard, task};
use serde::Serialize;
use std::collections::BTreeMap;

/// Counts by kind. Each comes back to where it was when everybody has gone.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Holdings {
    connections: usize,
    unauthenticated: usize,
    restaurants: usize,
    /// Of the events kept in memory, all restaurants.
    log_bytes: usize,
    /// Of the live sets, all restaurants.
    orders: usize,
    /// Applied commands that would be known again.
    commands_remembered: usize,
    /// Records with the store.
    appends_waiting: usize,
    /// Who waits for the answer to a command.
    answers_waiting: usize,
    timers: usize,
    tasks: usize,
}

/// Somebody, and how much of one kind is theirs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Owner {
    pub(crate) kind: &'static str,
    pub(crate) restaurant_id: String,
    /// What the client calls itself, else its role.
    pub(crate) name: String,
    pub(crate) count: usize,
    /// Events that those of its connections have not been sent yet, together.
    pub(crate) lag: u64,
}

impl Shard {
    /// Counts by kind.
    pub(crate) fn holdings(&self) -> Holdings {
        let (mut orders, mut commands_remembered) = (0, 0);
        for slot in self.restaurants.values() {
            if let Slot::Loaded(restaurant) = slot {
                let log = &restaurant.borrow().log;
                orders += log.orders().count();
                commands_remembered += log.remembered();
            }
        }
        Holdings {
            orders,
            commands_remembered,
            connections: self.conns.len(),
            unauthenticated: self.in_use.unauthenticated(),
            restaurants: self.restaurants.len(),
            log_bytes: self.in_use.tail_memory(),
            appends_waiting: self.pending,
            answers_waiting: self.askers.len(),
            timers: self.deadlines.len(),
            tasks: task::count(),
        }
    }

    /// Who holds connections, of the restaurants that `may_see` allows.
    pub(crate) fn owners(&self, may_see: impl Fn(&str) -> bool) -> Vec<Owner> {
        let mut owners = BTreeMap::<(&str, &str), Owner>::new();
        for conn in self.conns.values() {
            let Some(identity) = conn.session.identity() else {
                continue;
            };
            if !may_see(identity.restaurant_id) {
                continue;
            }
            let client = identity.client.and_then(|client| client.name.as_deref());
            let name = client.unwrap_or(identity.scope.role.as_str());
            let owner = owners
                .entry((identity.restaurant_id, name))
                .or_insert_with(|| Owner {
                    kind: "orders",
                    restaurant_id: identity.restaurant_id.to_owned(),
                    name: name.to_owned(),
                    count: 0,
                    lag: 0,
                });
            owner.count += 1;
            owner.lag += conn.at.as_ref().map_or(0, |(cursor, restaurant)| {
                restaurant.borrow().log.head().saturating_sub(cursor.at())
            });
        }
        owners.into_values().collect()
    }

    /// Restaurants in memory that `may_see` allows, and the bytes of their events.
    pub(crate) fn logs(&self, may_see: impl Fn(&str) -> bool) -> Vec<(String, usize)> {
        let loaded = self.restaurants.values().filter_map(|slot| match slot {
            Slot::Loaded(restaurant) => {
                let held = restaurant.borrow();
                may_see(&held.name).then(|| (held.name.to_string(), held.log.memory_bytes()))
            }
            Slot::Loading(_) => None,
        });
        loaded.collect()
    }
}
