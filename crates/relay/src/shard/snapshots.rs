//! Snapshots being sent, and connections that wait until there may be one more (`docs/protocol.md`, Limits).

use super::conn::ConnId;
use super::restaurant::Attach;
use super::{Shard, task};
use crate::clock;
use crate::limit;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tautline_machine::Time;
use tautline_machine::relay::BeingSent;
use tautline_machine::relay::session::Input;
use tautline_protocol::limits::hit;
use tautline_protocol::{CloseCode, Epoch, Seq};

/// How often those who wait are looked at.
const EVERY: Duration = Duration::from_millis(50);

/// What a connection wants a snapshot for.
pub(super) enum Wanted {
    Place(Arc<str>, Box<Attach>),
    Sync(Option<String>, Option<(Epoch, Seq)>),
}

#[derive(Default)]
pub(super) struct Snapshots {
    pub(super) being_sent: BeingSent,
    /// In the order in which they came, with the end of their patience.
    waiting: VecDeque<(ConnId, Time, Wanted)>,
    _look: Option<task::Task>,
}

impl Shard {
    /// Whether one more snapshot may be sent now.
    pub(super) fn has_snapshot(&mut self) -> bool {
        self.snapshots.being_sent.has_room(self.bounds.snapshots)
    }

    pub(super) fn wait_for_snapshot(&mut self, id: ConnId, wanted: Wanted) {
        limit::hit(hit::SNAPSHOTS);
        let until = self.clock.now() + self.bounds.snapshot_wait_ms;
        self.snapshots.waiting.push_back((id, until, wanted));
        if self.snapshots.waiting.len() > 1 {
            return;
        }
        let me = self.me.clone();
        self.snapshots._look = Some(task::spawn(async move {
            loop {
                clock::sleep(EVERY).await;
                let Some(shard) = me.upgrade() else { return };
                if shard.borrow_mut().serve_waiting() {
                    return;
                }
            }
        }));
    }

    /// Those who may go on do, those who have waited for too long go; whether nobody waits any more.
    fn serve_waiting(&mut self) -> bool {
        let now = self.clock.now();
        while let Some((_, until, _)) = self.snapshots.waiting.front() {
            let late = now > *until;
            if !late && !self.has_snapshot() {
                return false;
            }
            let Some((id, _, wanted)) = self.snapshots.waiting.pop_front() else {
                break;
            };
            if late {
                let why = "overloaded: too many snapshots are being sent";
                self.input(id, Input::End(CloseCode::TRY_LATER, why));
                continue;
            }
            self.with_conn(id, |shard, conn| match wanted {
                Wanted::Place(name, attach) => shard.attach(conn, &name, *attach),
                Wanted::Sync(id, position) => shard.sync(conn, id, position),
            });
        }
        true
    }
}
