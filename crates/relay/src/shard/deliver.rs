//! Turns: from a cursor straight to its socket.

use super::conn::{Conn, ConnId};
use super::restaurant::NotLoaded;
use super::seat::{Gauges, Tally};
use super::wire::Wire;
use super::{Shard, task};
use rustix::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use tautline_machine::relay::Taken;
use tautline_machine::relay::session::Input;
use tautline_protocol::{CloseCode, Seq, limits};

/// Events asked of the store at once for one position.
const READ_EVENTS: usize = 1024;

/// What a turn came to.
enum Turn {
    /// Something to write; there may be more of it after that.
    Out {
        synced: bool,
        more: bool,
    },
    /// At the head.
    Rest,
    /// The store has what comes after this.
    Read(Seq),
    TooSlow,
}

impl Shard {
    /// It is this connection's turn soon.
    pub(super) fn ready(&mut self, conn: &mut Conn) {
        if !std::mem::replace(&mut conn.ready, true) {
            self.ready.push_back(conn.id);
            self.bell.notify_one();
        }
    }

    /// Up to `turns` turns; whether there are more at hand.
    pub(super) fn walk_some(&mut self, turns: usize) -> bool {
        for restaurant in std::mem::take(&mut self.rung) {
            for id in &restaurant.borrow().subscribers {
                if let Some(conn) = self.conns.get_mut(id)
                    && !std::mem::replace(&mut conn.ready, true)
                {
                    self.ready.push_back(*id);
                }
            }
        }
        let wall_ms = crate::clock::wall_ms();
        let mut more = true;
        for _ in 0..turns {
            let Some(id) = self.ready.pop_front() else {
                more = false;
                break;
            };
            self.deliver(id, wall_ms);
        }
        self.tally.tell(&self.gauges);
        more
    }

    /// One turn of one connection. A panic on the way ends this connection and no other.
    fn deliver(&mut self, id: ConnId, wall_ms: u64) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.ready = false;
        if conn.blocked.is_some() || conn.is_stalled() {
            return;
        }
        let taken = catch_unwind(AssertUnwindSafe(|| {
            Self::take_turn(conn, &mut self.tally, &self.gauges, wall_ms)
        }));
        let Ok(turn) = taken else {
            if let Some(conn) = self.conns.remove(&id) {
                self.panicked(*conn);
            }
            return;
        };
        match turn {
            Turn::Out { synced, more } => {
                // The usual end of a turn: everything taken, the session not disturbed.
                let wrote = conn.out.write(&conn.socket);
                match wrote {
                    Ok(bytes) if conn.out.is_empty() && !synced => {
                        self.tally.wrote(bytes);
                        if more {
                            conn.ready = true;
                            self.ready.push_back(id);
                        }
                    }
                    wrote => self.with_conn(id, |shard, conn| {
                        if synced {
                            shard.tell(conn, Input::Synced);
                        }
                        shard.wrote(conn, wrote);
                        if conn.blocked.is_none() {
                            shard.ready(conn);
                        }
                    }),
                }
            }
            Turn::Rest => {}
            Turn::Read(after) => self.read_for(id, after),
            Turn::TooSlow => self.input(
                id,
                Input::End(
                    CloseCode::SLOW_CONSUMER,
                    "fell behind the log's tail; resume",
                ),
            ),
        }
    }

    /// Takes the next turn from the cursor unless bytes still wait.
    fn take_turn(conn: &mut Conn, tally: &mut Tally, gauges: &Gauges, wall_ms: u64) -> Turn {
        if conn.out.is_closing() || conn.gone {
            return Turn::Rest;
        }
        let Some((cursor, restaurant)) = &mut conn.at else {
            return Turn::Rest;
        };
        let mut held = restaurant.borrow_mut();
        let held = &mut *held;
        let readers = held.subscribers.len();
        let shared = cursor.take_shared(&held.log, &mut held.turns, |messages| {
            Wire::new(messages, readers)
        });
        let (events, turn) = match shared {
            Some(turn) => {
                let (events, more) = (turn.events, cursor.at() < held.log.head());
                conn.out.shared(turn);
                let synced = false;
                (events, Turn::Out { synced, more })
            }
            None => match cursor.take(&held.log) {
                Taken::Turn {
                    messages,
                    events,
                    synced,
                } => {
                    conn.out.turn(messages);
                    (events, Turn::Out { synced, more: true })
                }
                Taken::Idle => return Turn::Rest,
                Taken::Read { after } => return Turn::Read(after),
                Taken::TooSlow => return Turn::TooSlow,
            },
        };
        if events > 0 {
            // What a resume catches up with is as old as the absence, not as the delivery is slow.
            let lag_ms = (cursor.at() > conn.live_from)
                .then(|| held.log.event(cursor.at()))
                .flatten()
                .map(|last| wall_ms.saturating_sub(last.at_ms));
            tally.turn(events, lag_ms, gauges);
        }
        tracing::trace!(session = %conn.name, events, "turn out");
        turn
    }

    /// Writes what waits and tells the session what it must know.
    pub(super) fn write(&mut self, conn: &mut Conn) {
        if conn.is_stalled() {
            return;
        }
        let wrote = conn.out.write(&conn.socket);
        self.wrote(conn, wrote);
    }

    fn wrote(&mut self, conn: &mut Conn, wrote: std::io::Result<usize>) {
        let Ok(bytes) = wrote else {
            self.tell(conn, Input::Closed);
            conn.gone = true;
            return;
        };
        self.tally.wrote(bytes);
        let (was, empty) = (conn.blocked.is_some(), conn.out.is_empty());
        if empty {
            conn.waiting_since = None;
        } else if !was || bytes > 0 {
            conn.waiting_since = Some(self.clock.now());
        }
        if empty {
            conn.blocked = None;
            if was {
                self.tell(conn, Input::Wrote { empty: true });
            }
            if conn.out.is_closing() && !std::mem::replace(&mut conn.shut, true) {
                // The peer sees our close and then the end; what it still sends is read and dropped.
                let _ = rustix::net::shutdown(&*conn.socket, Shutdown::Write);
            }
        } else if !was {
            self.tell(conn, Input::Blocked);
        } else if bytes > 0 {
            self.tell(conn, Input::Wrote { empty: false });
        }
        if !empty {
            let (me, id, socket) = (self.me.clone(), conn.id, Rc::clone(&conn.socket));
            conn.blocked = Some(task::spawn(async move {
                let _ = socket.writable().await;
                if let Some(shard) = me.upgrade() {
                    shard.borrow_mut().writable(id);
                }
            }));
        }
        self.perform(conn);
    }

    /// The socket takes bytes again.
    fn writable(&mut self, id: ConnId) {
        self.with_conn(id, |shard, conn| {
            shard.write(conn);
            if conn.blocked.is_none() && !conn.gone {
                shard.ready(conn);
            }
        });
    }

    /// Fetches events that are in the store only; connections at the same place share one read.
    fn read_for(&mut self, id: ConnId, after: Seq) {
        let Some((_, restaurant)) = self.conns.get(&id).and_then(|conn| conn.at.as_ref()) else {
            return;
        };
        let restaurant = Rc::clone(restaurant);
        let (name, first) = {
            let mut held = restaurant.borrow_mut();
            let waiting = held.reads.entry(after).or_default();
            waiting.push(id);
            let first = waiting.len() == 1;
            (Arc::clone(&held.name), first)
        };
        if !first {
            return;
        }
        let (me, store) = (self.me.clone(), self.store.clone());
        task::detached(async move {
            let read = store
                .stretch(name, after, READ_EVENTS, limits::READ_CHUNK_BYTES)
                .await;
            let Some(shard) = me.upgrade() else { return };
            let mut shard = shard.borrow_mut();
            let waiting = restaurant
                .borrow_mut()
                .reads
                .remove(&after)
                .unwrap_or_default();
            match read {
                Ok(stretch) => {
                    let events: Arc<[_]> = stretch.events.into();
                    for id in waiting {
                        shard.with_conn(id, |shard, conn| {
                            if let (Some((cursor, _)), Some(epoch)) = (&mut conn.at, &stretch.epoch)
                            {
                                cursor.supply(epoch, Arc::clone(&events));
                            }
                            shard.ready(conn);
                        });
                    }
                }
                Err(_) => waiting
                    .into_iter()
                    .for_each(|id| shard.cannot_place(id, NotLoaded::Unreadable)),
            }
        });
    }
}
