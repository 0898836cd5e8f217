//! A connection of `GET /voice-stream`: one socket, and at most one session on it. What its frames mean and what is said
//! back is [`machine::Stream`]'s to decide.

use super::gate::Gate;
use super::guests::Guest;
use super::talk::{Do, Talk};
use super::wire::{Heard, Unfit, Wire};
use super::{Context, Control, End, Ending, Terms, Who};
use crate::clock::Clock;
use crate::ids::{random_below, random_seed};
use crate::limit;
use crate::token::Identity;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::voice::{
    self as machine, Denied, StreamInput, StreamOutput, Unstarted,
};
use tautline_machine::relay::{Claims, Config};
use tautline_protocol::CloseCode;
use tautline_protocol::limits::{self, hit};
use tokio::sync::watch;

/// After a restart clients come back within so long: there are no more of them than sessions.
const RETURN_MS: u64 = 2_000;

/// Whom a connection asks: whether a token lets it in, and for a session.
pub(crate) trait Door {
    /// Whose token this is, and what it says.
    fn verify(&self, token: &str, restaurant: Option<&str>) -> Result<(Identity, Claims), Denied>;

    /// Whether the token that let somebody in has been revoked since.
    fn is_revoked(&self, who: &Who) -> bool;

    /// A place for a session, and whoever holds its conversation.
    fn begin(&self, who: Who, start: &machine::Start) -> Result<Session, Unstarted>;
}

/// A session on a connection. Dropping it gives everything back.
pub(crate) struct Session {
    pub(crate) context: Context,
    pub(crate) talk: Talk,
}

/// See the module.
pub(crate) struct Stream {
    wire: Wire,
    machine: machine::Stream,
    door: Box<dyn Door>,
    guest: Guest,
    gate: Gate,
    clock: Clock,
    stopping: watch::Receiver<bool>,
    /// Whose the last token was that was let in.
    identity: Option<Identity>,
    session: Option<Session>,
    wake: Option<Time>,
}

/// What a connection is closed with.
type Close = (CloseCode, String);

impl Stream {
    /// One that has just been accepted; `config` is what it is told and bound by.
    pub(crate) fn new(
        mut wire: Wire,
        config: Arc<Config>,
        door: Box<dyn Door>,
        guest: Guest,
        terms: Terms,
        clock: Clock,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        wire.limit(limits::MAX_MESSAGE_BEFORE_AUTH, hit::MESSAGE_BEFORE_AUTH);
        Self {
            wire,
            machine: machine::Stream::new(config, random_seed()),
            door,
            guest,
            gate: Gate::new(terms.rate, clock.now()),
            clock,
            stopping,
            identity: None,
            session: None,
            wake: None,
        }
    }

    /// Runs it to its end.
    pub(crate) async fn run(mut self) {
        self.tell(StreamInput::Opened);
        let (code, reason) = loop {
            if let Some(close) = self.perform() {
                break close;
            }
            self.step().await;
        };
        let ending = match code {
            CloseCode::TOKEN_EXPIRED => Ending::EXPIRED,
            CloseCode::RATE_LIMIT => Ending::RATE,
            CloseCode::RESTART => Ending::SHUTDOWN,
            CloseCode::SLOW_CONSUMER => Ending::SLOW,
            CloseCode::UNSUPPORTED | CloseCode::PROTOCOL | CloseCode::INVALID_DATA => {
                Ending::PROTOCOL
            }
            _ => Ending::CLIENT,
        };
        self.over(ending);
        self.wire.close(code, &reason).await;
        // Until here a shutdown waits.
        drop(self.guest);
    }

    /// Waits for the next thing that happens, and takes it.
    async fn step(&mut self) {
        let talk = self.session.as_ref().map(|session| session.talk.wake());
        let wake = self.wake.into_iter().chain(talk).min();
        let wake = wake.unwrap_or_else(|| self.clock.now() + limits::HEARTBEAT_MS);
        let wake = self.clock.instant(wake);
        tokio::select! {
            heard = self.wire.recv() => self.heard(heard),
            control = control(self.session.as_mut()) => self.control(control),
            // Once it is known who is there, nobody sends there any more.
            Ok(()) = &mut self.guest.gone, if !self.machine.is_authenticated() => {
                self.tell(StreamInput::End(CloseCode::TRY_LATER, "too many wait to authenticate"));
            }
            () = told(&mut self.stopping) => self.restart(),
            () = tokio::time::sleep_until(wake) => {
                self.with(|session, now| session.talk.timeout(now));
                self.tell(StreamInput::Tick);
            }
        }
    }

    fn tell(&mut self, input: StreamInput<'_>) {
        self.machine.handle(input, self.clock.moment());
        for (limit, times) in self.machine.hits().drain() {
            for _ in 0..times {
                limit::hit(limit);
            }
        }
    }

    fn heard(&mut self, heard: Heard) {
        let now = self.clock.now();
        let (text, input) = match &heard {
            Heard::Text(text) => (text.as_str(), StreamInput::Frame(text)),
            Heard::Unfit(Unfit::Binary) => ("", StreamInput::Binary),
            Heard::Unfit(Unfit::TooBig(_)) => ("", StreamInput::TooBig),
            Heard::Gone(ending) => {
                self.over(*ending);
                return self.tell(StreamInput::End(ending.code, ending.text));
            }
        };
        if let Some(session) = &mut self.session {
            session.context.seat.heard();
            session.talk.heard(now);
        }
        match self.gate.message(text, now) {
            Ok(()) => self.tell(input),
            Err(over) => {
                if let Some(error) = &over.error {
                    self.tell(StreamInput::Dropped(error));
                }
                if over.ends {
                    let Ending { code, text, .. } = Ending::RATE;
                    self.tell(StreamInput::End(code, text));
                }
            }
        }
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::End(Ending::SHUTDOWN) => self.restart(),
            // Its token is no good any more, or it is its operator's wish: the connection goes with the session.
            Control::End(ending @ (Ending::REVOKED | Ending::OPERATOR)) => {
                self.ended(ending.into());
                self.tell(StreamInput::End(ending.code, ending.text));
            }
            Control::End(ending) => self.ended(ending.into()),
            control => {
                self.with(|session, now| session.control(control, now));
            }
        }
    }

    /// The relay goes down: each client is told another time to come back at.
    fn restart(&mut self) {
        let after_ms = random_below(RETURN_MS + 1);
        let reason = format!("restart; reconnect_after_ms={after_ms}");
        self.tell(StreamInput::End(CloseCode::RESTART, &reason));
    }

    /// Does something with the session; a panic ends it, and it alone.
    fn with<T>(&mut self, act: impl FnOnce(&mut Session, Time) -> T) -> Option<T> {
        let now = self.clock.now();
        let session = self.session.as_mut()?;
        let made = catch_unwind(AssertUnwindSafe(|| act(session, now)));
        if made.is_err() {
            tracing::error!(call = %session.context.seat.id(), "a session panicked and was ended");
            metrics::counter!("tautline_session_panics_total").increment(1);
            self.ended(Ending::PANIC.into());
        }
        made.ok()
    }

    /// The session is over, and its client is told.
    fn ended(&mut self, end: End) {
        self.over(end.ending);
        self.tell(StreamInput::Ended {
            reason: end.ending.reason,
            text: end.ending.text,
        });
    }

    /// Nothing is left of the session.
    fn over(&mut self, ending: Ending) {
        if let Some(mut session) = self.session.take() {
            session.context.seat.ends(ending);
        }
    }

    /// Carries out what is to be done; what the connection is closed with, if it is.
    fn perform(&mut self) -> Option<Close> {
        loop {
            match self.machine.poll_output() {
                StreamOutput::Send(text) => {
                    if !self.wire.send(&text) {
                        return Some((Ending::SLOW.code, Ending::SLOW.text.into()));
                    }
                }
                StreamOutput::Verify {
                    token,
                    restaurant_id,
                } => self.verify(token.expose(), restaurant_id.as_deref()),
                StreamOutput::Start(start) => self.begin(&start),
                StreamOutput::Pass(event) => {
                    self.with(|session, now| session.talk.event(&event, now));
                }
                StreamOutput::Stop => self.over(Ending::CLIENT),
                StreamOutput::Close(code, reason) => return Some((code, reason)),
                StreamOutput::Wait(at) => {
                    self.wake = at;
                    if !self.converse() {
                        return None;
                    }
                }
            }
        }
    }

    /// Takes one thing that the session wants done; whether there was one.
    fn converse(&mut self) -> bool {
        match self.with(|session, _| session.talk.next()).flatten() {
            Some(Do::Event(event)) => {
                if let Some(session) = &self.session {
                    let policy = Arc::clone(session.context.settings.policy());
                    self.tell(StreamInput::Said(&event, &policy.menu));
                }
                true
            }
            Some(Do::Submit { call_id, order }) => {
                if let Some(session) = &self.session {
                    session.context.submit(call_id, order);
                }
                true
            }
            // Only a call has a place to play it.
            Some(Do::Play(_)) => true,
            None => {
                let session = self.session.as_ref();
                let end = session.and_then(|session| session.talk.ending().cloned());
                let is_over = end.is_some();
                if let Some(end) = end {
                    self.ended(end);
                }
                is_over
            }
        }
    }

    fn verify(&mut self, token: &str, restaurant: Option<&str>) {
        let verified = self.door.verify(token, restaurant);
        let (identity, claims) = match verified {
            Ok((identity, claims)) => (Some(identity), Ok(claims)),
            Err(denied) => (None, Err(denied)),
        };
        self.tell(StreamInput::Verified(claims));
        let Some((identity, (sub, role, restaurant))) = identity.zip(self.machine.who()) else {
            return;
        };
        // A renewal that the machine has refused changes nothing.
        if identity.sub == sub
            && identity.role == role
            && identity.restaurant(Some(restaurant)).is_ok()
        {
            if let Some(session) = &mut self.session {
                // From here on it is the new token that lets it be.
                session.context.seat.renewed(identity.clone());
                session.context.who.identity = identity.clone();
            }
            self.identity = Some(identity);
            self.guest.authenticated();
            self.wire
                .limit(limits::VOICE_CHANNEL_MESSAGE, hit::VOICE_CHANNEL_MESSAGE);
        }
    }

    fn begin(&mut self, start: &machine::Start) {
        let restaurant = self
            .machine
            .who()
            .map(|(_, _, restaurant)| restaurant.to_owned());
        let Some((identity, restaurant)) = self.identity.clone().zip(restaurant) else {
            return;
        };
        let who = Who {
            identity,
            restaurant,
        };
        if self.door.is_revoked(&who) {
            let Ending { code, text, .. } = Ending::REVOKED;
            return self.tell(StreamInput::End(code, text));
        }
        let begun = self.door.begin(who, start).map(|session| {
            let id = session.context.seat.id().to_string();
            self.session = Some(session);
            id
        });
        self.tell(StreamInput::Started(begun));
    }
}

impl Session {
    fn control(&mut self, control: Control, now: Time) {
        match control {
            // The connection's.
            Control::End(_) => {}
            Control::Event(text) => self.talk.message(&text, now),
            Control::Join(joined) => self.talk.join(joined),
            Control::Upstream(number, heard) => self.talk.upstream(number, heard, now),
            Control::Ordered { call_id, result } => {
                let result = result.as_deref().map_err(String::as_str);
                self.talk.ordered(&call_id, result, now);
            }
        }
    }
}

/// Comes when the relay goes down.
async fn told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|&stopping| stopping).await;
}

/// The next thing that others do to the session; never, where there is none.
async fn control(session: Option<&mut Session>) -> Control {
    match session {
        Some(session) => match session.context.controls.recv().await {
            Some(control) => control,
            // Its own line is one of those that lead here.
            None => Control::End(Ending::TRANSPORT),
        },
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Desk, rate::Writes};
    use crate::parse::Rate;
    use crate::revoked::Revocations;
    use crate::shard::Handle;
    use crate::socket::Socket;
    use crate::token::Scope;
    use crate::voice::board::Board;
    use crate::voice::{Guests, Line};
    use futures_util::{SinkExt, StreamExt};
    use serde_json::Value;
    use tautline_machine::relay::voice::{Adapter, ApiError, Defaults, Output, Policy, Settings};
    use tautline_protocol::Role;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;
    use tokio::task::LocalSet;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::{Message, protocol::Role as End};

    /// A bug, at the first sound.
    struct Bug;

    impl Adapter for Bug {
        fn event(&mut self, _text: &str, _now: Time) {
            panic!("a bug of the relay's");
        }

        fn audio(&mut self, _ulaw: &[u8], _now: Time) {}

        fn ordered(&mut self, _call_id: &str, _result: Result<&str, &str>, _now: Time) {}

        fn timeout(&mut self, _now: Time) {}

        fn error(&mut self, _error: &ApiError) {}

        fn greeting(&mut self) -> Option<String> {
            None
        }

        fn active_at(&self) -> Time {
            Time::from_ms(0)
        }

        fn poll_output(&mut self) -> Output {
            Output::Wait(None)
        }
    }

    const TERMS: Terms = Terms {
        rate: Rate {
            per_s: 100,
            burst: 200,
        },
        idle_ms: 60_000,
        longest_ms: 60_000,
    };

    struct Open {
        board: Arc<Board>,
        clock: Clock,
    }

    fn ann() -> Identity {
        Identity {
            sub: "ann".into(),
            role: Role::Kiosk,
            scope: Scope::One("grow".into()),
            expires_at_ms: 0,
            issued_at_ms: None,
            order_ids: Arc::default(),
        }
    }

    impl Door for Open {
        fn verify(&self, _: &str, _: Option<&str>) -> Result<(Identity, Claims), Denied> {
            let claims = Claims {
                sub: "ann".into(),
                restaurants: None,
                role: "kiosk".into(),
                order_ids: Vec::new(),
                expires_at: String::new(),
                expires_in_ms: 60_000,
                issued_at_ms: None,
            };
            Ok((ann(), claims))
        }

        fn is_revoked(&self, _: &Who) -> bool {
            false
        }

        fn begin(&self, who: Who, _: &machine::Start) -> Result<Session, Unstarted> {
            let (controls, controls_in) = mpsc::unbounded_channel();
            let line: Line = Arc::new(move |control| {
                let _ = controls.send(control);
            });
            let seat = self
                .board
                .seat("sess_1", &who, "voice_stream", Arc::clone(&line));
            let settings =
                Settings::new(&Arc::new(Policy::demo()), None, &Defaults::default()).unwrap();
            let (writes, revoked) = (
                Arc::new(Writes::new(TERMS.rate)),
                Arc::new(Revocations::new(Vec::new())),
            );
            let now = self.clock.now();
            let talk = Talk::begin(Box::new(Bug), who.clone(), usize::MAX, TERMS, 60_000, now);
            Ok(Session {
                context: Context {
                    who,
                    settings,
                    seat: seat.unwrap(),
                    line,
                    controls: controls_in,
                    desk: Desk::new(Handle::nobody(), writes, revoked),
                    terms: TERMS,
                    clock: self.clock,
                },
                talk,
            })
        }
    }

    async fn next(client: &mut WebSocketStream<TcpStream>) -> Value {
        match client.next().await.unwrap().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_panic_ends_its_session_and_frees_it_and_nothing_else() {
        let run = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let (board, clock, guests) = (Board::new(), Clock::start(), Guests::default());
            let door = Box::new(Open {
                board: Arc::clone(&board),
                clock,
            });
            let detached = Socket::Tcp(socket).detach().unwrap();
            let wire = Wire::new(detached, &[], 1 << 20).unwrap();
            let (_stop, stopping) = watch::channel(false);
            let config = Arc::new(Config::default());
            let stream = Stream::new(wire, config, door, guests.arrive(), TERMS, clock, stopping);
            let running = tokio::task::spawn_local(stream.run());
            let mut client = WebSocketStream::from_raw_socket(client, End::Client, None).await;
            let send = |text: &str| Message::text(text.to_owned());
            for text in [
                r#"{"type":"auth","token":"t","restaurant_id":"grow"}"#,
                r#"{"type":"session.start"}"#,
            ] {
                client.send(send(text)).await.unwrap();
            }
            for kind in ["connected", "auth:success", "session.started"] {
                assert_eq!(next(&mut client).await["type"], kind);
            }
            assert_eq!(board.count(), 1);
            client
                .send(send(r#"{"type":"audio","audio":"AAAAAAAA"}"#))
                .await
                .unwrap();
            let told = next(&mut client).await;
            assert_eq!(told["error"]["code"], "UNKNOWN_ERROR", "{told}");
            assert_eq!(told["error"]["details"]["reason"], "panic");
            assert_eq!(told["error"]["session_id"], "sess_1");
            assert_eq!(board.count(), 0);
            // The connection is as it was: another session may begin on it.
            client
                .send(send(r#"{"type":"session.start"}"#))
                .await
                .unwrap();
            assert_eq!(next(&mut client).await["type"], "session.started");
            client.close(None).await.unwrap();
            running.await.unwrap();
            assert_eq!(board.count() + guests.count(), 0);
        };
        LocalSet::new().run_until(run).await;
    }
}
