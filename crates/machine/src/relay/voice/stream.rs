//! One connection of `GET /voice-stream` (`docs/protocol.md` §2): who may, its session, and the two tongues: the events of
//! the voice socket on one side, those of the Realtime API on the other. It hears no sound and holds no session; the driver
//! does both.

mod auth;
mod said;
mod start;

use super::super::Moment;
use super::super::Token;
use super::super::grant::Grant;
use super::super::hits::Hits;
use super::super::session::{Claims, Config};
use super::audio::Sound;
use super::error::ApiError;
use super::format::Format;
use super::menu::Menu;
use crate::{Rng, Time, Timers};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use said::Answer;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use tautline_protocol::limits::hit;
use tautline_protocol::request::Refused;
use tautline_protocol::{AuthCode, CloseCode, Role, scan};

pub use start::Start;

/// What an `error` event is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Format,
    NoSession,
    Rate,
    Upstream,
    Audio,
    Transcript,
    Order,
    Unknown,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Self::Format => "INVALID_AUDIO_FORMAT",
            Self::NoSession => "SESSION_NOT_FOUND",
            Self::Rate => "RATE_LIMIT_EXCEEDED",
            Self::Upstream => "OPENAI_CONNECTION_FAILED",
            Self::Audio => "AUDIO_PROCESSING_FAILED",
            Self::Transcript => "TRANSCRIPT_FAILED",
            Self::Order => "ORDER_PARSING_FAILED",
            Self::Unknown => "UNKNOWN_ERROR",
        }
    }
}

/// What a token is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// As on every socket.
    Auth(AuthCode),
    /// Its role may not hold a call there.
    Role,
}

/// Why a session could not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unstarted {
    /// There are as many as may be; what to do.
    Full(String),
    /// Its settings are not taken, or the relay goes down.
    Error(ApiError),
}

/// What happened.
#[derive(Debug)]
pub enum StreamInput<'a> {
    /// The socket is open.
    Opened,
    /// A text message.
    Frame(&'a str),
    /// A binary message.
    Binary,
    /// A message over the limit; it was passed over.
    TooBig,
    /// A message that was dropped for its rate, and what is said of it.
    Dropped(&'a ApiError),
    /// The answer to [`StreamOutput::Verify`], before anything else.
    Verified(Result<Claims, Denied>),
    /// The answer to [`StreamOutput::Start`], before anything else: the session's id.
    Started(Result<String, Unstarted>),
    /// A server event of the session's, and the menu that its orders are read by.
    Said(&'a str, &'a Menu),
    /// The session is over, for that reason, in words.
    Ended {
        /// Its label in `tautline_voice_ended_total{reason}`.
        reason: &'static str,
        /// What a person reads.
        text: &'a str,
    },
    /// The driver ends the connection.
    End(CloseCode, &'a str),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum StreamOutput {
    /// Send this.
    Send(String),
    /// Check this token and answer [`StreamInput::Verified`].
    Verify {
        /// The token.
        token: Token,
        /// The restaurant it is to be used for, if that is said.
        restaurant_id: Option<String>,
    },
    /// Begin a session and answer [`StreamInput::Started`].
    Start(Box<Start>),
    /// Hand the session this client event.
    Pass(String),
    /// End the session; nothing is told of that any more.
    Stop,
    /// End the session if there is one, and send this close frame; nothing follows but `Wait`.
    Close(CloseCode, String),
    /// Nothing more to do; wake it then.
    Wait(Option<Time>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Auth,
    Expiry,
}

#[derive(Debug)]
enum Phase {
    Opening,
    /// `connected` was sent.
    Greeted,
    /// The first token is being checked, for that restaurant.
    Admitting(Option<String>),
    Live(Box<Live>),
    Closed,
}

#[derive(Debug)]
struct Live {
    grant: Grant,
    /// A renewal being checked, with the restaurant it names.
    renewing: Option<Option<String>>,
    renewed: Option<Time>,
    /// A session that is being begun.
    starting: Option<Format>,
    session: Option<Running>,
}

/// A session that runs.
#[derive(Debug)]
struct Running {
    id: String,
    format: Format,
    said: said::Said,
}

/// See the module. Every call is followed by a drain of [`Stream::poll_output`] until it says [`StreamOutput::Wait`].
#[derive(Debug)]
pub struct Stream {
    config: Arc<Config>,
    phase: Phase,
    timers: Timers<Timer, 2>,
    out: VecDeque<StreamOutput>,
    rng: Rng,
    hits: Hits,
}

/// An error before it is told.
struct Told {
    code: Code,
    message: String,
    details: Value,
}

impl Told {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Value::Null,
        }
    }

    fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }
}

impl Stream {
    /// A connection that has just been accepted.
    pub fn new(config: Arc<Config>, seed: u64) -> Self {
        Self {
            config,
            phase: Phase::Opening,
            timers: Timers::new([Timer::Auth, Timer::Expiry]),
            out: VecDeque::new(),
            rng: Rng::new(seed),
            hits: Hits::default(),
        }
    }

    /// Takes one input and decides.
    pub fn handle(&mut self, input: StreamInput<'_>, at: Moment) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        match input {
            StreamInput::Opened => self.opened(at),
            StreamInput::Frame(text) => self.frame(text, at),
            StreamInput::Binary => self.close(CloseCode::UNSUPPORTED, "text frames only"),
            StreamInput::TooBig => self.too_big(at),
            StreamInput::Dropped(error) => {
                self.error(Told::new(Code::Rate, error.message.clone()), at);
            }
            StreamInput::Verified(claims) => self.verified(claims, at),
            StreamInput::Started(started) => self.started(started, at),
            StreamInput::Said(text, menu) => self.said(text, menu, at),
            StreamInput::Ended { reason, text } => self.ended(reason, text, at),
            StreamInput::End(code, reason) => self.close(code, reason),
            StreamInput::Tick => {}
        }
        while let Some((_, timer)) = self.timers.take_due(at.now) {
            match timer {
                Timer::Auth => {
                    self.hits.hit(hit::AUTH_TIME);
                    self.close(CloseCode::AUTH_TIMEOUT, "no auth in time");
                }
                Timer::Expiry => self.close(CloseCode::TOKEN_EXPIRED, "token expired"),
            }
        }
    }

    /// The next output; `Wait` ends every drain.
    pub fn poll_output(&mut self) -> StreamOutput {
        self.out
            .pop_front()
            .unwrap_or_else(|| StreamOutput::Wait(self.timers.soonest().map(|(at, _)| at)))
    }

    /// Limits it met since the last time, for the driver to count.
    pub fn hits(&mut self) -> &mut Hits {
        &mut self.hits
    }

    /// Whether it is known who is there.
    pub fn is_authenticated(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// Whether it has a session.
    pub fn has_session(&self) -> bool {
        matches!(&self.phase, Phase::Live(live) if live.session.is_some())
    }

    fn session(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Live(live) => live.session.as_mut(),
            _ => None,
        }
    }

    fn too_big(&mut self, at: Moment) {
        if self.is_authenticated() {
            let most = self.config.limits.max_message;
            let what = format!("A message has at most {most} bytes; send sound in smaller pieces.");
            self.error(Told::new(Code::Unknown, what), at);
        } else {
            self.close(CloseCode::TOO_BIG, "message over the limit");
        }
    }

    fn frame(&mut self, text: &str, at: Moment) {
        match self.phase {
            Phase::Greeted => self.first(text),
            Phase::Live(_) => match read(text) {
                Ok((kind, event)) => self.event(&kind, &event, text, at),
                Err(refused) => {
                    let details = json!({"reason": refused.message});
                    if let Some(limit) = refused.limit {
                        self.hits.hit(limit);
                    }
                    let what = "The event cannot be read; send one JSON object with a type.";
                    self.error(Told::new(Code::Unknown, what).with(details), at);
                }
            },
            // The driver answers for a token before it reads on.
            Phase::Opening | Phase::Admitting(_) | Phase::Closed => {}
        }
    }

    fn event(&mut self, kind: &str, event: &Map<String, Value>, text: &str, at: Moment) {
        match kind {
            "auth" => self.renew(text, at),
            "session.start" => self.start(event, at),
            _ if !self.has_session() => {
                let what = "There is no session on this connection; send session.start first.";
                self.error(Told::new(Code::NoSession, what).with(about(event)), at);
            }
            "audio" => self.audio(event, at),
            "session.stop" => self.stop(),
            "heartbeat" => {
                let id = self.session().map(|session| session.id.clone());
                self.send("heartbeat", json!({"session_id": id}), at);
            }
            _ => {
                let what = "There is no event of that type; send audio, session.stop, session.start or heartbeat.";
                self.error(Told::new(Code::Unknown, what).with(about(event)), at);
            }
        }
    }

    fn start(&mut self, event: &Map<String, Value>, at: Moment) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if live.starting.is_some() {
            return;
        }
        let start = match Start::read(event, &live.grant.restaurant_id) {
            Ok(start) => start,
            // What runs goes on.
            Err(told) => return self.error(told, at),
        };
        live.starting = Some(start.format);
        if let Some(session) = live.session.take() {
            self.out.push_back(StreamOutput::Stop);
            let what = "The session has ended: another one begins on this connection.";
            let told = Told::new(Code::NoSession, what).with(json!({"reason": "replaced"}));
            self.tell(told, Some(&session.id), at);
        }
        self.out.push_back(StreamOutput::Start(Box::new(start)));
    }

    fn started(&mut self, started: Result<String, Unstarted>, at: Moment) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let Some(format) = live.starting.take() else {
            return;
        };
        match started {
            Ok(id) => {
                let fields = json!({"session_id": id});
                live.session = Some(Running {
                    id,
                    format,
                    said: said::Said::default(),
                });
                self.send("session.started", fields, at);
            }
            Err(Unstarted::Full(what)) => self.error(Told::new(Code::Rate, what), at),
            Err(Unstarted::Error(error)) => {
                let details = json!({"code": error.code, "param": error.param});
                self.error(Told::new(Code::Unknown, error.message).with(details), at);
            }
        }
    }

    fn audio(&mut self, event: &Map<String, Value>, at: Moment) {
        let Some(session) = self.session() else {
            return;
        };
        let format = session.format;
        let audio = event.get("audio").and_then(Value::as_str);
        let bytes = audio.and_then(|audio| STANDARD.decode(audio).ok());
        let is_sound = bytes.is_some_and(|bytes| Sound::decode(format, &bytes).is_some());
        match audio.filter(|_| is_sound) {
            Some(audio) => {
                let append = json!({"type": "input_audio_buffer.append", "audio": audio});
                self.out.push_back(StreamOutput::Pass(append.to_string()));
            }
            None => {
                let what = "audio is base64 of whole samples in the session's audio_format.";
                self.error(Told::new(Code::Audio, what).with(about(event)), at);
            }
        }
    }

    fn stop(&mut self) {
        if let Phase::Live(live) = &mut self.phase
            && live.session.take().is_some()
        {
            self.out.push_back(StreamOutput::Stop);
        }
    }

    fn said(&mut self, text: &str, menu: &Menu, at: Moment) {
        let Some(session) = self.session() else {
            return;
        };
        let mut answers = Vec::new();
        match serde_json::from_str::<Value>(text) {
            Ok(event) => session.said.hear(&event, menu, &mut answers),
            Err(_) => answers.push(Answer::Error(Told::new(
                Code::Unknown,
                "Whoever answers said something that cannot be read; it was passed over.",
            ))),
        }
        for answer in answers {
            match answer {
                Answer::Event(kind, fields) => self.send(kind, fields, at),
                Answer::Error(told) => self.error(told, at),
                Answer::Pass(event) => {
                    self.out.push_back(StreamOutput::Pass(event.to_string()));
                }
            }
        }
    }

    fn ended(&mut self, reason: &'static str, text: &str, at: Moment) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let Some(session) = live.session.take() else {
            return;
        };
        let code = match reason {
            "rate" => Code::Rate,
            "upstream" => Code::Upstream,
            "panic" | "policy" | "transport" | "slow" => Code::Unknown,
            _ => Code::NoSession,
        };
        let mut details = json!({"reason": reason});
        // What whoever answered had to say of it is the better word.
        let message = match session.said.last_words() {
            Some((code, message)) => {
                details["code"] = json!(code);
                format!("The session has ended. {message}")
            }
            None => format!("The session has ended: {text}."),
        };
        let told = Told::new(code, message).with(details);
        self.tell(told, Some(&session.id), at);
    }

    fn error(&mut self, told: Told, at: Moment) {
        let id = self.session().map(|session| session.id.clone());
        self.tell(told, id.as_deref(), at);
    }

    fn tell(&mut self, told: Told, session_id: Option<&str>, at: Moment) {
        let mut error = json!({"code": told.code.as_str(), "message": told.message});
        if let Some(id) = session_id {
            error["session_id"] = json!(id);
        }
        if !told.details.is_null() {
            error["details"] = told.details;
        }
        self.send("error", json!({"error": error}), at);
    }

    fn send(&mut self, kind: &'static str, mut fields: Value, at: Moment) {
        fields["type"] = json!(kind);
        fields["event_id"] = json!(format!("event_{}", self.rng.name()));
        fields["timestamp"] = json!(at.wall_ms);
        self.out.push_back(StreamOutput::Send(fields.to_string()));
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        self.out
            .push_back(StreamOutput::Close(code, reason.to_owned()));
        self.phase = Phase::Closed;
        self.timers.clear_all();
    }

    /// Whose it is, once that is known: `sub`, role, restaurant.
    pub fn who(&self) -> Option<(&str, Role, &str)> {
        match &self.phase {
            Phase::Live(live) => Some((
                &live.grant.scope.sub,
                live.grant.scope.role,
                &live.grant.restaurant_id,
            )),
            _ => None,
        }
    }
}

/// Reads an event: its type, and what it holds.
fn read(text: &str) -> Result<(String, Map<String, Value>), Refused> {
    let invalid = |message: String, limit| Refused {
        code: tautline_protocol::NackCode::Invalid,
        message,
        ref_type: None,
        id: None,
        limit,
    };
    scan::check(text).map_err(|breach| invalid(breach.to_string(), Some(hit::MESSAGE_SHAPE)))?;
    let Ok(Value::Object(event)) = serde_json::from_str(text) else {
        return Err(invalid("not a JSON object".into(), None));
    };
    match event.get("type") {
        Some(Value::String(kind)) => Ok((kind.clone(), event)),
        _ => Err(invalid("an event needs a \"type\", a string".into(), None)),
    }
}

/// Which of the client's events an error is about.
fn about(event: &Map<String, Value>) -> Value {
    let short = |key: &str| {
        let text = event.get(key)?.as_str()?;
        Some(text.chars().take(64).collect::<String>())
    };
    json!({"type": short("type"), "event_id": short("event_id")})
}
