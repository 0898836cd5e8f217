//! What operators and the development page ask of connections.

use super::conn::{Conn, ConnId};
use super::{Shard, task};
use crate::clock;
use crate::ids::random_below;
use crate::revoked::Revocation;
use crate::ws::ping_frame;
use serde::Serialize;
use std::time::Duration;
use tautline_machine::Time;
use tautline_machine::relay::session::Input;
use tautline_protocol::{CloseCode, Dialect, limits};
use tokio::sync::oneshot;

const REVOKED: &str = "the token was revoked";

/// A connection as `GET /api/v1/sessions` shows it: without address or token.
#[derive(Debug, Serialize)]
pub(crate) struct SessionView {
    id: String,
    kind: &'static str,
    restaurant_id: String,
    user_id: String,
    role: &'static str,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ClientView>,
    /// Events it has not been sent yet.
    lag: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<u64>,
    /// Since its page last said something.
    last_frame_ms: u64,
    /// Since a WebSocket ping that it has not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    unanswered_ms: Option<u64>,
    /// Since its socket last took bytes, while some wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_ms: Option<u64>,
    /// Nobody sees there what is sent: it does not answer, does not read, or its page has stopped.
    stalled: bool,
}

#[derive(Debug, Serialize)]
struct ClientView {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
}

/// How the shard is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition {
    /// The store takes writes.
    pub(crate) writable: bool,
    /// Sockets, authenticated or not.
    pub(crate) connections: usize,
    /// In memory.
    pub(crate) restaurants: usize,
}

/// What the development page's buttons do to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The socket is gone, without a word.
    Cut,
    /// Nothing passes either way for that long, and nothing is closed.
    Stall(Duration),
    /// Closed as if the token had run out.
    Expire,
}

impl Conn {
    /// Its page has said something.
    pub(super) fn heard(&mut self, text: &str, now: Time) {
        self.last_frame = now;
        // Not read a second time: a heartbeat is short, and a frame that only looks like one does no harm here.
        if text.len() <= 128 && text.contains(r#""type":"ping""#) {
            let every = self.beat.map_or(0, |(before, _)| now - before);
            self.beat = Some((now, every));
        }
    }

    /// Whether nobody sees there what is sent. A frozen page answers WebSocket pings (its browser does) and takes
    /// bytes for a long time, but its heartbeat stops. In v1 a client has one; a plain one is judged by it if it does.
    fn is_lost(&self, now: Time, heartbeat_ms: u64) -> bool {
        let over = |since: Option<Time>| since.is_some_and(|at| now - at >= limits::STALLED_MS);
        let every = match self.beat {
            Some((_, every)) => Some(every.max(heartbeat_ms)),
            None => (self.session.dialect() == Dialect::V1).then_some(heartbeat_ms),
        };
        let skipped =
            every.is_some_and(|every| now - self.last_frame >= every + limits::STALLED_MS);
        over(self.pinged) || over(self.waiting_since) || skipped
    }
}

impl Shard {
    /// Pings the connections that nothing was heard of for a second, so that the sessions view does not have to wait
    /// for a heartbeat; how many have not answered yet and may still do so in time.
    pub(crate) fn probe(&mut self, may_see: impl Fn(&str) -> bool) -> usize {
        let now = self.clock.now();
        let visible = |conn: &Conn| {
            let identity = conn.session.identity();
            identity.is_some_and(|identity| may_see(identity.restaurant_id))
        };
        let (mut quiet, mut asked) = (Vec::new(), 0);
        for conn in self.conns.values().filter(|conn| visible(conn)) {
            match conn.pinged {
                Some(at) => asked += usize::from(now - at < limits::STALLED_MS),
                None if now - conn.last_frame.max(conn.last_pong) >= 1000 => quiet.push(conn.id),
                None => {}
            }
        }
        for &id in &quiet {
            self.with_conn(id, |_, conn| {
                conn.pinged = Some(now);
                conn.out.control(ping_frame(b""));
            });
        }
        asked + quiet.len()
    }

    /// Authenticated connections of the restaurants that `may_see` allows.
    pub(crate) fn sessions(&self, may_see: impl Fn(&str) -> bool) -> Vec<SessionView> {
        let now = self.clock.now();
        let mut views: Vec<_> = self
            .conns
            .values()
            .filter_map(|conn| {
                let identity = conn.session.identity()?;
                if !may_see(identity.restaurant_id) {
                    return None;
                }
                let lag = conn.at.as_ref().map_or(0, |(cursor, restaurant)| {
                    restaurant.borrow().log.head().saturating_sub(cursor.at())
                });
                let client = identity.client.map(|client| ClientView {
                    name: client.name.clone(),
                    version: client.version.clone(),
                    instance_id: client.instance_id.clone(),
                });
                Some(SessionView {
                    id: conn.name.clone(),
                    kind: "orders",
                    restaurant_id: identity.restaurant_id.to_owned(),
                    user_id: identity.scope.sub.to_string(),
                    role: identity.scope.role.as_str(),
                    protocol: conn.session.dialect().as_str(),
                    client,
                    lag,
                    rtt_ms: conn.rtt_ms,
                    last_frame_ms: now - conn.last_frame,
                    unanswered_ms: conn.pinged.map(|at| now - at),
                    blocked_ms: conn.waiting_since.map(|at| now - at),
                    stalled: conn.is_lost(now, self.session.heartbeat_ms),
                })
            })
            .collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    /// Closes one; whether there was one to close.
    pub(crate) fn close_session(&mut self, name: &str, may_see: impl Fn(&str) -> bool) -> bool {
        let found = self.named(name).filter(|conn| {
            let identity = conn.session.identity();
            identity.is_some_and(|identity| may_see(identity.restaurant_id))
        });
        let found = found.map(|conn| conn.id);
        if let Some(id) = found {
            self.input(id, Input::End(CloseCode::NORMAL, "closed by an operator"));
        }
        found.is_some()
    }

    /// Closes the connections of revoked tokens; how many. It is in force already for those that come.
    pub(crate) fn revoke(&mut self, revocation: &Revocation) -> usize {
        let ids: Vec<ConnId> = self
            .conns
            .values()
            .filter(|conn| {
                conn.session.identity().is_some_and(|who| {
                    revocation.means(who.restaurant_id, &who.scope.sub, who.issued_at_ms)
                })
            })
            .map(|conn| conn.id)
            .collect();
        for &id in &ids {
            self.input(id, Input::End(CloseCode::TOKEN_EXPIRED, REVOKED));
        }
        ids.len()
    }

    /// Closes a connection that has just been placed if its token was revoked meanwhile.
    pub(super) fn end_if_revoked(&mut self, conn: &mut Conn) {
        let revoked = conn.session.identity().is_some_and(|who| {
            self.revoked
                .is_revoked(who.restaurant_id, &who.scope.sub, who.issued_at_ms)
        });
        if revoked {
            self.tell(conn, Input::End(CloseCode::TOKEN_EXPIRED, REVOKED));
        }
    }

    /// Makes trouble for one connection, or all of the restaurants that `may_see` allows; how many it met.
    pub(crate) fn trouble(
        &mut self,
        trouble: Trouble,
        session: Option<&str>,
        may_see: impl Fn(&str) -> bool,
    ) -> usize {
        let met = |conn: &Conn| {
            let identity = conn.session.identity();
            identity.is_some_and(|identity| may_see(identity.restaurant_id))
        };
        let ids: Vec<ConnId> = match session {
            Some(name) => self.named(name).map(|conn| conn.id).into_iter().collect(),
            None => self
                .conns
                .values()
                .filter(|conn| met(conn))
                .map(|conn| conn.id)
                .collect(),
        };
        for &id in &ids {
            match trouble {
                Trouble::Cut => self.with_conn(id, |shard, conn| {
                    shard.tell(conn, Input::Closed);
                    conn.gone = true;
                }),
                Trouble::Expire => self.input(
                    id,
                    Input::End(CloseCode::TOKEN_EXPIRED, "the token ran out"),
                ),
                Trouble::Stall(time) => self.stall(id, time),
            }
        }
        ids.len()
    }

    fn stall(&mut self, id: ConnId, time: Duration) {
        let me = self.me.clone();
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.stalled = Some(task::spawn(async move {
                clock::sleep(time).await;
                if let Some(shard) = me.upgrade() {
                    shard.borrow_mut().unstall(id);
                }
            }));
        }
    }

    fn unstall(&mut self, id: ConnId) {
        self.with_conn(id, |shard, conn| {
            conn.stalled = None;
            conn.unstalled.notify_one();
            shard.write(conn);
            shard.ready(conn);
        });
    }

    /// Whether the store takes writes.
    pub(crate) fn is_writable(&self) -> bool {
        !self.full
    }

    /// For `/readyz` with details.
    pub(crate) fn condition(&self) -> Condition {
        Condition {
            writable: self.is_writable(),
            connections: self.conns.len(),
            restaurants: self.restaurants.len(),
        }
    }

    /// Sets the gauges that only a look at everything can tell, and tells what was not told yet.
    pub(crate) fn measure(&mut self) {
        self.tally.tell(&self.gauges);
        let lag = self
            .conns
            .values()
            .filter_map(|conn| conn.at.as_ref())
            .map(|(cursor, restaurant)| restaurant.borrow().log.head().saturating_sub(cursor.at()))
            .max();
        metrics::gauge!("tautline_cursor_lag_events").set(lag.unwrap_or(0) as f64);
        metrics::gauge!("tautline_append_queue").set(self.pending as f64);
        metrics::gauge!("tautline_restaurants").set(self.restaurants.len() as f64);
    }

    /// The relay goes down: every client is told when to come back; `done` when the last has gone.
    pub(crate) fn drain(&mut self, done: oneshot::Sender<()>) {
        self.draining = true;
        let window = (self.conns.len() as u64 * 1000 / limits::RECONNECTS_PER_S).max(2000);
        let ids: Vec<ConnId> = self.conns.keys().copied().collect();
        tracing::info!(
            connections = ids.len(),
            window_ms = window,
            "clients are told when to come back"
        );
        for id in ids {
            self.input(
                id,
                Input::Drain {
                    reconnect_after_ms: random_below(window + 1),
                },
            );
        }
        if self.conns.is_empty() {
            let _ = done.send(());
        } else {
            self.drained = Some(done);
        }
    }
}
