//! One orders client, from upgrade to the end. Dropping it is the clean-up, by whatever path.

use super::journal::{self, By};
use super::outgoing::Outgoing;
use super::restaurant::{Attach, Restaurant};
use super::seat::Seat;
use super::snapshots::Wanted;
use super::{Shard, reader, task};
use crate::ids::random_id;
use crate::limit;
use crate::peer::Visit;
use crate::socket::{Detached, Socket};
use crate::token::admit;
use crate::ws;
use bytes::Bytes;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use tautline_machine::Time;
use tautline_machine::relay::session::{self, Claims, Input, Output};
use tautline_machine::relay::{Cursor, Scope, Session};
use tautline_protocol::{AuthCode, CloseCode, Seq, limits};
use tokio::sync::Notify;

pub(super) type ConnId = u64;

/// See the module.
pub(super) struct Conn {
    pub(super) id: ConnId,
    /// What operators and the development page call it by.
    pub(super) name: String,
    pub(super) session: Session,
    pub(super) socket: Rc<Socket>,
    pub(super) out: Outgoing,
    /// The position in the log, once placed.
    pub(super) at: Option<(Cursor, Rc<RefCell<Restaurant>>)>,
    /// In the queue of those whose turn it is.
    pub(super) ready: bool,
    /// Bytes wait for the socket; the task rings when it takes more.
    pub(super) blocked: Option<task::Task>,
    /// The session's next deadline.
    pub(super) wake: Option<Time>,
    /// `/dev/trouble`: nothing passes either way until then.
    pub(super) stalled: Option<task::Task>,
    pub(super) unstalled: Rc<Notify>,
    /// The handshake had an `Origin`.
    from_page: bool,
    /// When it last said something itself: pongs are its browser's word, not its page's.
    pub(super) last_frame: Time,
    /// When its page last sent a `ping`, and how long after the one before.
    pub(super) beat: Option<(Time, u64)>,
    /// When bytes last went out, while some wait.
    pub(super) waiting_since: Option<Time>,
    /// The oldest WebSocket ping that it has not answered.
    pub(super) pinged: Option<Time>,
    pub(super) last_pong: Time,
    pub(super) rtt_ms: Option<u64>,
    /// Nothing more comes of it; it goes when the borrow ends.
    pub(super) gone: bool,
    /// Our close frame is out and our half of the connection shut.
    pub(super) shut: bool,
    /// Its end has been counted.
    pub(super) ended: bool,
    pub(super) since: Time,
    /// The log's head when it was placed: what is older is replay.
    pub(super) live_from: Seq,
    seat: Seat,
    visit: Visit,
    _reader: task::Task,
}

impl Conn {
    /// The log's head, for `pong`.
    fn head(&self) -> Seq {
        self.at
            .as_ref()
            .map_or(0, |(_, restaurant)| restaurant.borrow().log.head())
    }

    pub(super) fn attached(&mut self, cursor: Cursor, restaurant: Rc<RefCell<Restaurant>>) {
        self.seat = Seat::authenticated(cursor.viewer());
        self.live_from = restaurant.borrow().log.head();
        self.at = Some((cursor, restaurant));
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Bytes of the largest message it may send now.
    pub(super) fn message_limit(&self, config: &session::Config) -> usize {
        if self.session.identity().is_some() {
            config.limits.max_message as usize
        } else {
            limits::MAX_MESSAGE_BEFORE_AUTH.min(config.limits.max_message as usize)
        }
    }
}

/// What a connection is called: its number, by which it is found, and chance, so that no other start's is taken for it.
fn name_of(id: ConnId) -> String {
    let mut name = random_id();
    name.insert_str(0, &format!("{id:x}-"));
    name
}

impl Shard {
    /// The connection of that name.
    pub(super) fn named(&self, name: &str) -> Option<&Conn> {
        let (number, _) = name.split_once('-')?;
        let id = ConnId::from_str_radix(number, 16).ok()?;
        self.conns
            .get(&id)
            .map(Box::as_ref)
            .filter(|conn| conn.name == name)
    }

    /// Takes a socket in: from here on it is one value of this thread.
    pub(super) fn admit(
        &mut self,
        socket: Detached,
        early: Bytes,
        opened: ws::Opened,
        visit: Visit,
    ) {
        // Its reactor is this thread's.
        let socket = match Socket::attach(socket) {
            Ok(socket) => Rc::new(socket),
            Err(error) => {
                tracing::warn!(%error, "a socket could not be taken over");
                return;
            }
        };
        if self.draining {
            // Too late: refused like one that comes a moment later.
            return;
        }
        let id = self.next_id();
        let conn = Conn {
            id,
            name: name_of(id),
            session: Session::new(std::sync::Arc::clone(&self.session)),
            out: Outgoing::default(),
            at: None,
            ready: false,
            blocked: None,
            wake: None,
            stalled: None,
            unstalled: Rc::default(),
            from_page: opened.from_page,
            last_frame: self.clock.now(),
            beat: None,
            waiting_since: None,
            pinged: None,
            last_pong: self.clock.now(),
            rtt_ms: None,
            gone: false,
            shut: false,
            ended: false,
            since: self.clock.now(),
            live_from: 0,
            seat: Seat::unauthenticated(),
            visit,
            _reader: reader::spawn(self.me.clone(), id, Rc::clone(&socket), early),
            socket,
        };
        journal::connected(&conn, opened.from_page, opened.v1);
        self.conns.insert(id, Box::new(conn));
        self.input(id, Input::Opened { v1: opened.v1 });
        self.arrived(id);
    }

    /// One input for one connection's session, and all that follows from it.
    pub(super) fn input(&mut self, id: ConnId, input: Input<'_>) {
        self.with_conn(id, |shard, conn| shard.tell(conn, input));
    }

    /// Does something with a connection, then performs what its session wants and writes what there is to write.
    /// A panic on the way ends this connection and no other.
    pub(super) fn with_conn(&mut self, id: ConnId, act: impl FnOnce(&mut Self, &mut Conn)) {
        // Taken out, so that nothing done on its behalf can find it half changed.
        let Some(mut conn) = self.conns.remove(&id) else {
            return;
        };
        let done = catch_unwind(AssertUnwindSafe(|| {
            act(self, &mut conn);
            self.perform(&mut conn);
            if !conn.gone && !conn.out.is_empty() && conn.blocked.is_none() {
                self.write(&mut conn);
            }
        }));
        if done.is_err() {
            self.panicked(*conn);
        } else if conn.gone {
            self.release(*conn);
        } else {
            self.conns.insert(id, conn);
        }
    }

    /// A session that panicked is ended, told why if it can be.
    pub(super) fn panicked(&mut self, mut conn: Conn) {
        tracing::error!(session = %conn.name, "a session panicked and was ended");
        metrics::counter!("tautline_session_panics_total").increment(1);
        conn.ends(CloseCode::INTERNAL, By::Relay, "panic");
        conn.out.close(CloseCode::INTERNAL, "internal error");
        let _ = conn.out.write(&conn.socket);
        self.release(conn);
    }

    /// Lets go of everything a connection held.
    pub(super) fn release(&mut self, mut conn: Conn) {
        conn.ends(CloseCode::ABNORMAL, By::Network, "lost");
        tracing::debug!(session = %conn.name, life_ms = self.clock.now() - conn.since, "gone");
        if let Some(at) = conn.wake {
            self.deadlines.remove(&(at, conn.id));
        }
        self.settled(conn.id);
        if let Some((_, restaurant)) = &conn.at {
            restaurant.borrow_mut().subscribers.remove(&conn.id);
        }
        drop(conn);
        if self.conns.is_empty()
            && let Some(done) = self.drained.take()
        {
            let _ = done.send(());
        }
    }

    /// Hands the session an input; its outputs are performed by [`Shard::perform`].
    pub(super) fn tell(&mut self, conn: &mut Conn, input: Input<'_>) {
        let (at, head, spread) = (self.clock.moment(), conn.head(), self.spread_ms());
        conn.session.handle(input, at, head, spread);
    }

    /// Drains the session.
    pub(super) fn perform(&mut self, conn: &mut Conn) {
        loop {
            match conn.session.poll_output() {
                Output::Send(text) => {
                    journal::frame_out(conn, &text);
                    if !conn.out.send(&text) {
                        limit::hit(limits::hit::CONTROL_QUEUE);
                        self.tell(
                            conn,
                            Input::End(CloseCode::SLOW_CONSUMER, "answers are not being read"),
                        );
                    }
                }
                Output::Ping => {
                    conn.pinged.get_or_insert(self.clock.now());
                    conn.out.control(ws::ping_frame(b""));
                }
                Output::Verify {
                    token,
                    restaurant_id,
                } => {
                    let claims =
                        self.verify(token.expose(), restaurant_id.as_deref(), conn.from_page);
                    if claims.is_err() {
                        conn.visit.auth_failed();
                    }
                    journal::authenticated(conn, claims.as_ref().err().copied());
                    self.tell(conn, Input::Verified(claims));
                }
                Output::Attach {
                    restaurant_id,
                    viewer,
                    resume,
                    sync,
                } => {
                    self.settled(conn.id);
                    self.attach(
                        conn,
                        &restaurant_id,
                        Attach {
                            viewer: *viewer,
                            resume,
                            sync,
                        },
                    );
                }
                Output::Submit {
                    number,
                    kind: _,
                    command,
                    key,
                } => self.submit(conn, number, &command, key),
                Output::Sync { id, position } => self.sync(conn, id, position),
                Output::Account => {
                    let frame = conn
                        .at
                        .as_mut()
                        .and_then(|(cursor, restaurant)| cursor.account(&restaurant.borrow().log));
                    if frame.is_some_and(|frame| !conn.out.send(&frame)) {
                        self.tell(
                            conn,
                            Input::End(CloseCode::SLOW_CONSUMER, "answers are not being read"),
                        );
                    }
                }
                Output::Filter { number, filter } => {
                    if let Some((cursor, _)) = &mut conn.at {
                        let told = filter.json();
                        let at = cursor.filter(filter);
                        let filter = told;
                        self.tell(conn, Input::Filtered { number, at, filter });
                    }
                }
                Output::Rescope(scope) => self.rescope(conn, scope),
                Output::Close(code, reason) => {
                    conn.ends(code, By::Relay, &reason);
                    self.settled(conn.id);
                    conn.out.close(code, &reason);
                }
                Output::Drop => {
                    if !conn.out.is_empty() {
                        // Or the system would go on offering what it does not take.
                        let _ = conn.socket.reset_when_dropped();
                    }
                    conn.gone = true;
                }
                Output::Wait(at) => {
                    self.count_hits(conn);
                    for ((kind, code), times) in conn.session.take_refusals() {
                        super::commands::count(kind, code.as_str(), times);
                    }
                    return self.arm(conn, at.map(|(at, _)| at));
                }
            }
        }
    }

    /// Checks a token and narrows it to the restaurants served here.
    fn verify(
        &self,
        token: &str,
        wanted: Option<&str>,
        from_page: bool,
    ) -> Result<Claims, AuthCode> {
        let served = self.served.as_deref();
        let (_, claims) = admit(&self.keys, &self.revoked, served, token, wanted, from_page)?;
        Ok(claims)
    }

    pub(super) fn attach(&mut self, conn: &mut Conn, name: &str, attach: Attach) {
        if let Some(restaurant) = self.loaded(name) {
            return self.place(conn, &restaurant, attach);
        }
        let id = conn.id;
        self.with_restaurant(name, move |shard, loaded| match loaded {
            Ok(restaurant) => {
                shard.with_conn(id, |shard, conn| shard.place(conn, &restaurant, attach))
            }
            Err(why) => shard.cannot_place(id, why),
        });
    }

    /// A renewed token that speaks for somebody else.
    fn rescope(&mut self, conn: &mut Conn, scope: Scope) {
        let Some((cursor, restaurant)) = &mut conn.at else {
            return;
        };
        cursor.rescope(&restaurant.borrow().log, scope);
        self.snapshots.being_sent.note(cursor);
        conn.seat = Seat::authenticated(cursor.viewer());
        metrics::counter!("tautline_snapshots_total").increment(1);
        self.ready(conn);
    }

    pub(super) fn sync(
        &mut self,
        conn: &mut Conn,
        id: Option<String>,
        position: Option<(tautline_protocol::Epoch, Seq)>,
    ) {
        let Some((cursor, restaurant)) = &mut conn.at else {
            return;
        };
        let follows = position
            .as_ref()
            .is_some_and(|(epoch, seq)| restaurant.borrow().log.follows((epoch, *seq)));
        if !follows && !self.has_snapshot() {
            return self.wait_for_snapshot(conn.id, Wanted::Sync(id, position));
        }
        let asked = {
            let held = restaurant.borrow();
            cursor.sync(
                &held.log,
                id,
                position.as_ref().map(|(epoch, seq)| (epoch, *seq)),
            )
        };
        self.snapshots.being_sent.note(cursor);
        let restaurant = Rc::clone(restaurant);
        if position.is_none() {
            metrics::counter!("tautline_snapshots_total").increment(1);
        }
        if asked.is_err() && restaurant.borrow().log.pending() == 0 {
            self.begin_epoch(&restaurant);
        }
        self.ready(conn);
    }
}
