//! Restaurants in memory: loaded on first need, unloaded when nobody is there.

use super::snapshots::Wanted;
use super::wire::Wire;
use super::{Shard, conn::ConnId};
use crate::ids::random_id;
use crate::limit;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::{Log, Nack, Turns, Viewer, budget, session};
use tautline_protocol::limits::hit;
use tautline_protocol::{CloseCode, Epoch, NackCode, Seq};
use tokio::sync::watch;

/// A restaurant's log and who hangs on it.
pub(crate) struct Restaurant {
    pub(super) name: Arc<str>,
    pub(crate) log: Log,
    pub(super) turns: Turns<Wire>,
    pub(super) subscribers: BTreeSet<ConnId>,
    /// Connections that wait for a new epoch to be stored before they can be placed.
    pub(super) unplaced: Vec<(ConnId, Attach)>,
    /// Store reads under way, by position, and who waits for them.
    pub(super) reads: HashMap<Seq, Vec<ConnId>>,
    /// The head, for those outside the shard.
    pub(crate) head: watch::Sender<Seq>,
    pub(super) last_used: Time,
    /// Bytes of its events in memory, as they are in the sum of all.
    pub(super) weighed: usize,
}

impl Restaurant {
    /// Whether a new epoch is on its way.
    pub(super) fn is_changing(&self) -> bool {
        !self.unplaced.is_empty()
    }

    /// Whether nobody hangs on it and nothing of it is on its way.
    pub(super) fn is_unused(&self) -> bool {
        self.subscribers.is_empty()
            && self.unplaced.is_empty()
            && self.reads.is_empty()
            && self.log.pending() == 0
            && self.head.receiver_count() == 0
    }
}

/// What a session asked for with its first auth.
#[derive(Clone, Debug)]
pub(super) struct Attach {
    pub(super) viewer: Viewer,
    pub(super) resume: Option<(Epoch, Seq)>,
    pub(super) sync: bool,
}

/// Why a restaurant is not to be had.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotLoaded {
    /// The store cannot be read now.
    Unreadable,
    /// As many as may be are in memory, and all in use.
    TooMany,
}

impl NotLoaded {
    /// As an answer.
    pub(super) fn nack(self) -> Nack {
        match self {
            Self::Unreadable => Nack::new(NackCode::Unavailable, self.why()),
            Self::TooMany => Nack::new(NackCode::Overloaded, self.why()),
        }
    }

    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Unreadable => "the store cannot be read now",
            Self::TooMany => "overloaded: too many restaurants are in use",
        }
    }
}

type Loaded = Result<Rc<RefCell<Restaurant>>, NotLoaded>;
type Then = Box<dyn FnOnce(&mut Shard, Loaded)>;

pub(super) enum Slot {
    Loading(Vec<Then>),
    Loaded(Rc<RefCell<Restaurant>>),
}

impl Shard {
    /// The restaurant if it is in memory.
    pub(super) fn loaded(&mut self, name: &str) -> Option<Rc<RefCell<Restaurant>>> {
        let now = self.clock.now();
        match self.restaurants.get(name)? {
            Slot::Loaded(restaurant) => {
                restaurant.borrow_mut().last_used = now;
                Some(Rc::clone(restaurant))
            }
            Slot::Loading(_) => None,
        }
    }

    /// Calls `then` with the restaurant, now or when the store has given it.
    pub(crate) fn with_restaurant(
        &mut self,
        name: &str,
        then: impl FnOnce(&mut Self, Loaded) + 'static,
    ) {
        if let Some(restaurant) = self.loaded(name) {
            return then(self, Ok(restaurant));
        }
        if let Some(Slot::Loading(waiting)) = self.restaurants.get_mut(name) {
            waiting.push(Box::new(then));
            return;
        }
        if !self.has_room_for_restaurant() {
            // Later, like the store's answers: whoever asks for a connection has taken it out of the table now.
            let me = self.me.clone();
            super::task::detached(async move {
                if let Some(shard) = me.upgrade() {
                    then(&mut shard.borrow_mut(), Err(NotLoaded::TooMany));
                }
            });
            return;
        }
        let name: Arc<str> = name.into();
        self.restaurants
            .insert(Arc::clone(&name), Slot::Loading(vec![Box::new(then)]));
        let (store, me, wall_ms) = (
            self.store.clone(),
            self.me.clone(),
            self.clock.moment().wall_ms,
        );
        // Not tied to any connection: others may wait for it by the time it is here.
        super::task::detached(async move {
            let stored = store
                .load(Arc::clone(&name), Epoch::new(&random_id()), wall_ms)
                .await;
            let Some(shard) = me.upgrade() else { return };
            let mut shard = shard.borrow_mut();
            let at = shard.clock.moment();
            let loaded = stored.and_then(|stored| {
                let epoch = stored.epoch.clone().ok_or("the store gave no epoch")?;
                let mut log = Log::load(&name, epoch, stored, at);
                log.keep_final(shard.keep_final_ms);
                log.keep_tail(shard.bounds.tail_events);
                let head = watch::Sender::new(log.head());
                Ok(Rc::new(RefCell::new(Restaurant {
                    name: Arc::clone(&name),
                    log,
                    turns: Turns::default(),
                    subscribers: BTreeSet::new(),
                    unplaced: Vec::new(),
                    reads: HashMap::new(),
                    head,
                    last_used: at.now,
                    weighed: 0,
                })))
            });
            let loaded = loaded.map_err(|_| NotLoaded::Unreadable);
            if let Ok(restaurant) = &loaded {
                shard.weigh(restaurant);
            }
            let before = match &loaded {
                Ok(restaurant) => shard
                    .restaurants
                    .insert(Arc::clone(&name), Slot::Loaded(Rc::clone(restaurant))),
                Err(_) => shard.restaurants.remove(&name),
            };
            if let Some(Slot::Loading(waiting)) = before {
                for then in waiting {
                    then(&mut shard, loaded.clone());
                }
            }
        });
    }

    /// Places a connection in the log; where its history is one the log never had, a new epoch comes first.
    pub(super) fn place(
        &mut self,
        conn: &mut super::Conn,
        restaurant: &Rc<RefCell<Restaurant>>,
        attach: Attach,
    ) {
        use tautline_machine::relay::Place;
        let mut held = restaurant.borrow_mut();
        if !self.has_place(&held) {
            drop(held);
            let why = "overloaded: too many connections of this restaurant";
            return self.tell(conn, session::Input::End(CloseCode::TRY_LATER, why));
        }
        let resume = attach.resume.as_ref().map(|(epoch, seq)| (epoch, *seq));
        let resumes = resume.is_some_and(|position| held.log.follows(position));
        if attach.sync && !resumes && !self.has_snapshot() {
            let name = Arc::clone(&held.name);
            drop(held);
            return self.wait_for_snapshot(conn.id, Wanted::Place(name, Box::new(attach)));
        }
        match held.log.place(attach.viewer.clone(), resume, attach.sync) {
            Place::At {
                cursor,
                epoch,
                seq,
                resumed,
            } => {
                held.subscribers.insert(conn.id);
                drop(held);
                self.snapshots.being_sent.note(&cursor);
                if attach.sync && !resumed {
                    metrics::counter!("tautline_snapshots_total").increment(1);
                }
                let result = if resumed {
                    "resumed"
                } else if attach.resume.is_some() {
                    "refused"
                } else {
                    "none"
                };
                metrics::counter!("tautline_resumes_total", "result" => result).increment(1);
                tracing::debug!(
                    session = %conn.name,
                    restaurant = %restaurant.borrow().name,
                    role = cursor.viewer().scope().role.as_str(),
                    dialect = cursor.viewer().dialect().as_str(),
                    resume = result,
                    sync = attach.sync,
                    seq,
                    "attached"
                );
                conn.attached(cursor, Rc::clone(restaurant));
                self.tell(
                    conn,
                    session::Input::Attached {
                        epoch,
                        seq,
                        resumed,
                    },
                );
                // Its token may have been revoked while the restaurant was being loaded.
                self.end_if_revoked(conn);
                self.ready(conn);
            }
            Place::HistoryLost => {
                let first = !held.is_changing();
                held.unplaced.push((conn.id, attach));
                drop(held);
                if first {
                    self.begin_epoch(restaurant);
                }
            }
        }
    }

    /// The store was found to hold less than a client was told: the history gets another name.
    pub(super) fn begin_epoch(&mut self, restaurant: &Rc<RefCell<Restaurant>>) {
        tracing::error!(
            restaurant = %restaurant.borrow().name,
            "a client holds events this store does not: a new epoch begins"
        );
        metrics::counter!("tautline_epochs_total").increment(1);
        self.judging(restaurant, |log| log.begin_epoch(Epoch::new(&random_id())));
    }

    /// After a commit: those who waited for the new epoch.
    pub(super) fn place_waiting(&mut self, restaurant: &Rc<RefCell<Restaurant>>) {
        if restaurant.borrow().log.pending() > 0 {
            return;
        }
        let waiting = std::mem::take(&mut restaurant.borrow_mut().unplaced);
        for (id, attach) in waiting {
            let restaurant = Rc::clone(restaurant);
            self.with_conn(id, |shard, conn| shard.place(conn, &restaurant, attach));
        }
    }

    /// Archives, and lets go of restaurants that nobody has used for a while.
    pub(super) fn tick(&mut self) {
        let at = self.clock.moment();
        let loaded: Vec<_> = self
            .restaurants
            .values()
            .filter_map(|slot| match slot {
                Slot::Loaded(restaurant) => Some(Rc::clone(restaurant)),
                Slot::Loading(_) => None,
            })
            .collect();
        for restaurant in loaded {
            if !self.full {
                self.judging(&restaurant, |log| {
                    log.tick(at);
                });
            }
            restaurant.borrow_mut().turns.clear();
            self.weigh(&restaurant);
            let idle = {
                let held = restaurant.borrow();
                let bound = self.bounds.restaurant_idle_ms;
                (held.is_unused() && budget::is_idle(held.last_used, at.now, bound))
                    .then(|| Arc::clone(&held.name))
            };
            if let Some(name) = idle {
                limit::hit(hit::RESTAURANT_IDLE);
                self.unload(&name);
            }
        }
    }

    /// Ends a connection that cannot be placed.
    pub(super) fn cannot_place(&mut self, id: ConnId, why: NotLoaded) {
        self.input(id, session::Input::End(CloseCode::TRY_LATER, why.why()));
    }
}
