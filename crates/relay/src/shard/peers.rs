//! What operators and the development page ask of connections.

use super::conn::{Conn, ConnId};
use super::{Shard, task};
use crate::ids::random_below;
use crate::revoked::Revocation;
use serde::Serialize;
use std::time::Duration;
use tautline_machine::relay::session::Input;
use tautline_protocol::{CloseCode, limits};
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
    /// Since its last frame.
    last_frame_ms: u64,
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

impl Shard {
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
                })
            })
            .collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    /// Closes one; whether there was one to close.
    pub(crate) fn close_session(&mut self, name: &str, may_see: impl Fn(&str) -> bool) -> bool {
        let found = self
            .conns
            .values()
            .find(|conn| {
                conn.name == name
                    && conn
                        .session
                        .identity()
                        .is_some_and(|identity| may_see(identity.restaurant_id))
            })
            .map(|conn| conn.id);
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
        let met = |conn: &Conn| match session {
            Some(name) => conn.name == name,
            None => conn
                .session
                .identity()
                .is_some_and(|identity| may_see(identity.restaurant_id)),
        };
        let ids: Vec<ConnId> = self
            .conns
            .values()
            .filter(|conn| met(conn))
            .map(|conn| conn.id)
            .collect();
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
                tokio::time::sleep(time).await;
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

    /// Sets the gauges that only a look at everything can tell.
    pub(crate) fn measure(&self) {
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
