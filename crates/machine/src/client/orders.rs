//! The live order set over opaque handles, with optimistic changes as an overlay.
//!
//! In the browser a handle is the engine's own object, in the simulation a plain Rust order; the set only asks for
//! ids, compares orders and makes patched copies.

use crate::sorted::SortedMap;

/// What the set asks of a handle.
pub trait OrderView: Clone {
    /// The order's id; `None` for something that is no order.
    fn id(&self) -> Option<String>;
    /// Whether `other` says the same, all of it: a back end may state two versions of an order under one `updated_at`.
    fn says_the_same(&self, other: &Self) -> bool;
    /// A new object with the change in it. `at` is the event's `timestamp`, which becomes `updated_at`.
    #[must_use]
    fn patched(&self, patch: &Patch, at: Option<&str>) -> Self;
}

/// A change of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch {
    /// The order's status.
    Status(String),
    /// An item's status.
    ItemStatus {
        /// Which item.
        item_id: String,
        /// Its new status.
        status: String,
    },
}

/// An event as the set sees it.
#[derive(Clone, Debug)]
pub enum Change<H> {
    /// `order:created`.
    Created(H),
    /// `order:updated`.
    Updated(H),
    /// `order:deleted`.
    Deleted {
        /// Which order.
        id: String,
    },
    /// `order:status_changed` and `order:item_status_changed`.
    Patched {
        /// Which order.
        id: String,
        /// What changed.
        patch: Patch,
        /// The event's `timestamp`.
        at: Option<String>,
    },
    /// `orders:archived`.
    Archived {
        /// Which orders.
        ids: Vec<String>,
    },
}

/// Where an update comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An event.
    Event,
    /// The difference that a snapshot made.
    Snapshot {
        /// The first set of this page.
        initial: bool,
    },
}

/// `OrderUpdate.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateAction {
    /// New in the set.
    Created,
    /// Replaced.
    Updated,
    /// Gone from the set.
    Deleted,
    /// Its status changed.
    StatusChanged,
    /// An item's status changed.
    ItemStatusChanged,
}

impl UpdateAction {
    /// Its name in `OrderUpdate.action`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::StatusChanged => "status_changed",
            Self::ItemStatusChanged => "item_status_changed",
        }
    }
}

/// One difference of the set, as callbacks hear of it.
#[derive(Clone, Debug)]
pub struct Update<H> {
    /// What happened.
    pub action: UpdateAction,
    /// To which order.
    pub id: String,
    /// The order now; `None` when it is gone or was never in the set.
    pub order: Option<H>,
    /// The order before.
    pub previous: Option<H>,
    /// Where it comes from.
    pub source: Source,
}

#[derive(Clone, Debug)]
struct Entry<H> {
    base: H,
    /// Base and overlay together, where an overlay concerns the order.
    shown: Option<H>,
    /// Changed while the set was behind: a change before it may be missing, whatever its version says.
    doubtful: bool,
}

impl<H> Entry<H> {
    fn new(base: H) -> Self {
        Self {
            base,
            shown: None,
            doubtful: false,
        }
    }

    fn view(&self) -> &H {
        self.shown.as_ref().unwrap_or(&self.base)
    }
}

#[derive(Clone, Debug)]
struct Overlay {
    command: String,
    order: String,
    patch: Patch,
}

/// The order set of one page, in order of arrival.
#[derive(Clone, Debug)]
pub struct Orders<H> {
    entries: SortedMap<u64, Entry<H>>,
    ranks: SortedMap<String, u64>,
    next_rank: u64,
    overlays: Vec<Overlay>,
    collected: Vec<H>,
    version: u64,
    installed: bool,
    stale: bool,
}

impl<H: OrderView> Default for Orders<H> {
    fn default() -> Self {
        Self {
            entries: SortedMap::new(),
            ranks: SortedMap::new(),
            next_rank: 0,
            overlays: Vec::new(),
            collected: Vec::new(),
            version: 0,
            installed: false,
            stale: false,
        }
    }
}

impl<H: OrderView> Orders<H> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes with every change of what [`Orders::iter`] gives.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the set may be behind (`OrdersStale`) until the next snapshot.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Marks the set as possibly behind; it stays on screen.
    pub fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// The orders as shown, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = &H> {
        self.entries.values().map(Entry::view)
    }

    /// How many orders there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One order as shown.
    pub fn get(&self, id: &str) -> Option<&H> {
        self.ranks
            .get(id)
            .and_then(|rank| self.entries.get(rank))
            .map(Entry::view)
    }

    /// Applies one event.
    pub fn apply(&mut self, change: Change<H>) -> Vec<Update<H>> {
        let source = Source::Event;
        match change {
            Change::Created(order) => self.put(order, UpdateAction::Created).into_iter().collect(),
            Change::Updated(order) => self.put(order, UpdateAction::Updated).into_iter().collect(),
            Change::Deleted { id } => {
                let previous = self.remove(&id);
                vec![Update {
                    action: UpdateAction::Deleted,
                    id,
                    order: None,
                    previous,
                    source,
                }]
            }
            Change::Archived { ids } => ids
                .into_iter()
                .filter_map(|id| {
                    let previous = self.remove(&id)?;
                    Some(Update {
                        action: UpdateAction::Deleted,
                        id,
                        order: None,
                        previous: Some(previous),
                        source,
                    })
                })
                .collect(),
            Change::Patched { id, patch, at } => {
                let action = match patch {
                    Patch::Status(_) => UpdateAction::StatusChanged,
                    Patch::ItemStatus { .. } => UpdateAction::ItemStatusChanged,
                };
                let mut previous = None;
                if let Some(entry) = self
                    .ranks
                    .get(&id)
                    .and_then(|rank| self.entries.get_mut(rank))
                {
                    let next = entry.base.patched(&patch, at.as_deref());
                    previous = Some(std::mem::replace(&mut entry.base, next));
                    entry.doubtful |= self.stale;
                    self.version += 1;
                    self.show(&id);
                }
                let order = self.get(&id).cloned();
                vec![Update {
                    action,
                    id,
                    order,
                    previous,
                    source,
                }]
            }
        }
    }

    fn put(&mut self, order: H, action: UpdateAction) -> Option<Update<H>> {
        let id = order.id()?;
        self.version += 1;
        let previous = match self
            .ranks
            .get(&id)
            .and_then(|rank| self.entries.get_mut(rank))
        {
            Some(entry) => {
                entry.doubtful = false;
                Some(std::mem::replace(&mut entry.base, order))
            }
            None => {
                self.add(id.clone(), Entry::new(order));
                None
            }
        };
        self.show(&id);
        // What is in the set already is not created a second time, and what was not is new to it: a change may bring an
        // order within the filter.
        let action = match (&previous, action) {
            (Some(_), UpdateAction::Created) => UpdateAction::Updated,
            (None, UpdateAction::Updated) => UpdateAction::Created,
            (_, action) => action,
        };
        Some(Update {
            action,
            order: self.get(&id).cloned(),
            id,
            previous,
            source: Source::Event,
        })
    }

    fn add(&mut self, id: String, entry: Entry<H>) {
        self.ranks.insert(id, self.next_rank);
        self.entries.insert(self.next_rank, entry);
        self.next_rank += 1;
    }

    fn remove(&mut self, id: &str) -> Option<H> {
        let entry = self
            .ranks
            .remove(id)
            .and_then(|rank| self.entries.remove(&rank))?;
        self.version += 1;
        Some(entry.base)
    }

    /// Collects orders of a snapshot's part; `first` discards what was collected before.
    pub fn collect(&mut self, first: bool, orders: impl IntoIterator<Item = H>) {
        if first {
            self.collected.clear();
        }
        self.collected.extend(orders);
    }

    /// Drops what was collected.
    pub fn discard(&mut self) {
        self.collected = Vec::new();
    }

    /// Makes the collected orders the set and gives the difference. An unchanged order keeps its object.
    pub fn install(&mut self) -> Vec<Update<H>> {
        let initial = !std::mem::replace(&mut self.installed, true);
        let source = Source::Snapshot { initial };
        self.stale = false;
        let old = std::mem::take(&mut self.entries);
        let old_ranks = std::mem::take(&mut self.ranks);
        let (mut last_rank, mut moved) = (0, false);
        let mut updates = Vec::new();
        for order in std::mem::take(&mut self.collected) {
            let Some(id) = order.id() else { continue };
            if self.ranks.contains_key(&id) {
                continue;
            }
            let known = old_ranks
                .get(&id)
                .and_then(|&rank| Some((rank, old.get(&rank)?)));
            match known {
                Some((rank, kept)) if !kept.doubtful && kept.base.says_the_same(&order) => {
                    moved |= rank < last_rank;
                    last_rank = rank;
                    self.add(id, kept.clone());
                }
                previous => {
                    let previous = previous.map(|(_, entry)| entry.base.clone());
                    let action = if previous.is_some() {
                        UpdateAction::Updated
                    } else {
                        UpdateAction::Created
                    };
                    self.add(id.clone(), Entry::new(order.clone()));
                    self.show(&id);
                    updates.push(Update {
                        action,
                        order: self.get(&id).cloned(),
                        id,
                        previous,
                        source,
                    });
                }
            }
        }
        for (id, rank) in old_ranks.into_iter() {
            if self.ranks.contains_key(&id) {
                continue;
            }
            updates.push(Update {
                action: UpdateAction::Deleted,
                id,
                order: None,
                previous: old.get(&rank).map(|entry| entry.base.clone()),
                source,
            });
        }
        if initial || moved || !updates.is_empty() {
            self.version += 1;
        }
        updates
    }

    /// Forgets everything (`cleanup`).
    pub fn clear(&mut self) {
        *self = Self {
            version: self.version + 1,
            next_rank: self.next_rank,
            ..Self::default()
        };
    }

    /// Shows a change before the server has confirmed it; gone at [`Orders::settle`].
    pub fn overlay(&mut self, command: String, order: String, patch: Patch) {
        self.overlays.push(Overlay {
            command,
            order: order.clone(),
            patch,
        });
        self.version += 1;
        self.show(&order);
    }

    /// The command was answered: what it really did is in the set, or it did nothing.
    pub fn settle(&mut self, command: &str) {
        let Some(index) = self
            .overlays
            .iter()
            .position(|overlay| overlay.command == command)
        else {
            return;
        };
        let overlay = self.overlays.remove(index);
        self.version += 1;
        self.show(&overlay.order);
    }

    /// Lays the overlays of one order over it again.
    fn show(&mut self, id: &str) {
        let Some(entry) = self
            .ranks
            .get(id)
            .and_then(|rank| self.entries.get_mut(rank))
        else {
            return;
        };
        entry.shown = None;
        for overlay in self.overlays.iter().filter(|overlay| overlay.order == id) {
            entry.shown = Some(entry.view().patched(&overlay.patch, None));
        }
    }
}
