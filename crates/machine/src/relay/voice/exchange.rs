//! The conversation with an upstream, over a connection that may break: what goes which way, what the relay adds and
//! keeps for itself, and what is made good after a loss.
//!
//! After a loss the upstream is dialled again, later each time; its new session gets the old one's settings and what was
//! said, as items. A turn under way is lost, and the client is told so.

mod history;
mod loss;
mod turn;

use super::adapter::{Edge, Output, Over};
use super::error::ApiError;
use super::far::{Heard, Reach};
use super::playback::Playback;
use super::settings::Settings;
use super::watch::{Ended, PREFIX, Watch, WatchOutput};
use super::wire::Wire;
use crate::{Rng, Time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use history::History;
use loss::passes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::VecDeque;
use tautline_protocol::limits;
use turn::Turn;

/// The events that set a new connection up are named like that, and what is said of them is not the client's.
const SEED: &str = "tautline_seed_";
const SESSION: &str = "tautline_session";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Dialling,
    Up(Time),
    /// Until it is dialled again.
    Waiting(Time),
    Over,
}

/// See the module.
pub(super) struct Exchange {
    wire: Wire,
    rng: Rng,
    watch: Watch,
    state: State,
    /// The last connection's.
    number: u64,
    /// Failed ones in a row.
    tries: u32,
    /// There was one that came about.
    has_been_up: bool,
    /// `session.updated` still to come for our own `session.update` of this connection.
    own_updates: u32,
    /// What the client sent while there was no connection.
    held: VecDeque<String>,
    held_bytes: usize,
    /// The client was told that no more is held.
    told_full: bool,
    /// As the upstream last said it.
    session: Option<Map<String, Value>>,
    history: History,
    turn: Turn,
    playback: Playback,
    reach: VecDeque<Reach>,
    active_at: Time,
}

impl std::fmt::Debug for Exchange {
    /// What was said in it is nobody's to print.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("state", &self.state)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// What is read of a client's event; the rest is the upstream's to judge.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

fn kind_of(text: &str) -> Cow<'_, str> {
    serde_json::from_str::<Head<'_>>(text).map_or(Cow::Borrowed(""), |head| head.kind)
}

fn text_at<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

impl Exchange {
    /// A session that begins: to dial is the first thing to do.
    pub(super) fn new(edge: Edge, seed: u64, mut settings: Settings, now: Time) -> Self {
        if edge == Edge::Rtc {
            settings.over_rtp();
        }
        let mut rng = Rng::new(seed);
        Self {
            wire: Wire::new(edge, rng.next_u64()),
            rng,
            watch: Watch::without_end(settings),
            state: State::Dialling,
            number: 1,
            tries: 0,
            has_been_up: false,
            own_updates: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            told_full: false,
            session: None,
            history: History::default(),
            turn: Turn::default(),
            playback: Playback::default(),
            reach: VecDeque::from([Reach::Dial(1)]),
            active_at: now,
        }
    }

    /// What is to be done with the connection.
    pub(super) fn reach(&mut self) -> Option<Reach> {
        self.reach.pop_front()
    }

    /// The next output for the client.
    pub(super) fn next(&mut self) -> Output {
        if let Some(output) = self.wire.next() {
            return output;
        }
        let again = match self.state {
            State::Waiting(at) => Some(at),
            State::Over => return Output::Wait(None),
            State::Dialling | State::Up(_) => None,
        };
        Output::Wait(again.into_iter().chain(self.playback.due()).min())
    }

    pub(super) fn active_at(&self) -> Time {
        self.active_at
    }

    pub(super) fn error(&mut self, error: &ApiError) {
        self.wire.error(error);
    }

    pub(super) fn greeting(&mut self) -> Option<String> {
        let session = self.session.clone()?;
        let fields = json!({"session": session});
        Some(self.wire.event("session.created", fields))
    }

    pub(super) fn event(&mut self, text: &str, now: Time) {
        self.timeout(now);
        let kind = kind_of(text);
        if kind != "input_audio_buffer.append" {
            self.active_at = now;
        }
        match (self.wire.edge, &*kind) {
            (Edge::Rtc, "output_audio_buffer.clear") => self.clear_output(),
            (Edge::Rtc, "session.update") => self.send(without_formats(text)),
            _ => self.send(text.to_owned()),
        }
    }

    pub(super) fn audio(&mut self, ulaw: &[u8], now: Time) {
        self.timeout(now);
        // What is spoken into a gap is not kept: over RTP nothing waits.
        if self.wire.edge == Edge::Rtc && matches!(self.state, State::Up(_)) {
            let audio = STANDARD.encode(ulaw);
            let event = json!({"type": "input_audio_buffer.append", "audio": audio});
            self.send(event.to_string());
        }
    }

    pub(super) fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time) {
        self.timeout(now);
        self.active_at = now;
        self.watch.ordered(call_id, result, now);
        self.follow_watch();
    }

    pub(super) fn timeout(&mut self, now: Time) {
        if matches!(self.state, State::Waiting(at) if now >= at) {
            self.number += 1;
            self.state = State::Dialling;
            self.reach.push_back(Reach::Dial(self.number));
        }
        if self.playback.busy() {
            self.playback.advance(&mut self.wire, now);
            self.active_at = now;
        }
    }

    pub(super) fn heard(&mut self, number: u64, heard: Heard, now: Time) {
        self.timeout(now);
        // One that was given up may still speak; it has nothing to say to us.
        if number != self.number || matches!(self.state, State::Over | State::Waiting(_)) {
            return;
        }
        match heard {
            Heard::Up => self.connected(now),
            Heard::Said(text) => self.said(text, now),
            Heard::Closed(close) => match close.filter(|(code, _)| !passes(*code)) {
                Some((code, reason)) => self.end(Over::Upstream { code, reason }),
                None => self.broken_off(now),
            },
            Heard::Failed(failed) => self.again(&failed, now),
        }
    }

    /// There is a connection: the session as it was, what was said in it, and what the client has sent meanwhile.
    fn connected(&mut self, now: Time) {
        if !matches!(self.state, State::Dialling) {
            return;
        }
        self.state = State::Up(now);
        let session = match &self.session {
            Some(session) => asked(session),
            None => self.watch.settings().to_value(),
        };
        self.send(
            json!({"type": "session.update", "event_id": SESSION, "session": session}).to_string(),
        );
        self.own_updates = u32::from(self.has_been_up);
        if std::mem::replace(&mut self.has_been_up, true) {
            for (n, item) in self.history.seeds().into_iter().enumerate() {
                let event_id = format!("{SEED}{n}");
                self.send(
                    json!({"type": "conversation.item.create", "event_id": event_id, "item": item})
                        .to_string(),
                );
            }
        }
        self.held_bytes = 0;
        self.told_full = false;
        for text in std::mem::take(&mut self.held) {
            self.send(text);
        }
        self.follow_watch();
    }

    /// Sends an event, now or when there is a connection again.
    fn send(&mut self, text: String) {
        match self.state {
            State::Up(_) => {
                self.turn.sent(&kind_of(&text));
                self.reach.push_back(Reach::Send(text));
            }
            State::Dialling | State::Waiting(_) => {
                if self.held_bytes + text.len() <= limits::VOICE_QUEUE_BYTES {
                    self.held_bytes += text.len();
                    self.held.push_back(text);
                } else if !std::mem::replace(&mut self.told_full, true) {
                    let why = "The upstream is being reached and no more is kept for it: what you send until then is dropped.";
                    self.wire
                        .error(&ApiError::server("upstream_unavailable", why));
                }
            }
            State::Over => {}
        }
    }

    fn said(&mut self, text: String, now: Time) {
        self.active_at = now;
        let Ok(event) = serde_json::from_str::<Value>(&text) else {
            let why = "The upstream said something that cannot be read; it was passed over.";
            self.wire
                .error(&ApiError::server("upstream_malformed", why));
            return;
        };
        let kind = text_at(&event, "type").unwrap_or_default();
        self.turn.heard(kind, &event, self.session.as_ref());
        if self.is_for_client(kind, &event, now) {
            self.wire.push(Output::Event(text));
        }
        if self.wire.edge == Edge::Rtc {
            match kind {
                "input_audio_buffer.speech_started" if self.may_interrupt() => self.interrupt(),
                "response.done" => {
                    let id = event
                        .get("response")
                        .and_then(|response| text_at(response, "id"));
                    self.playback.finish(id.unwrap_or_default());
                }
                _ => {}
            }
            self.playback.advance(&mut self.wire, now);
        }
        // What a session begins with is not what it was asked to be; that comes with `session.updated`.
        if kind != "session.created" {
            self.watch.read(&event);
        }
        self.follow_watch();
    }

    /// Takes note of an event; whether it is the client's, too.
    fn is_for_client(&mut self, kind: &str, event: &Value, now: Time) -> bool {
        let again = self.number > 1;
        let item = event.get("item").unwrap_or(&Value::Null);
        let item_id = || text_at(event, "item_id").unwrap_or_default();
        match kind {
            "session.created" | "session.updated" => {
                if let Some(Value::Object(session)) = event.get("session") {
                    // What it begins with again is not what held.
                    if kind == "session.updated" || !again {
                        self.session = Some(session.clone());
                    }
                }
                if kind == "session.created" {
                    return !again || !self.has_been_up;
                }
                let own = self.own_updates > 0;
                self.own_updates = self.own_updates.saturating_sub(1);
                !own
            }
            "conversation.created" => !again,
            "conversation.item.added" | "conversation.item.created" => {
                let is_new = !self.history.is_seed(item);
                if is_new {
                    self.history.added(item, event.get("previous_item_id"));
                }
                is_new
            }
            "conversation.item.done" => {
                let is_new = !self.history.seeded(item);
                if is_new {
                    self.history.done(item, event.get("previous_item_id"));
                }
                is_new
            }
            "conversation.item.deleted" => {
                self.history.deleted(item_id());
                true
            }
            "conversation.item.truncated" => {
                self.history.truncated(item_id());
                true
            }
            "conversation.item.input_audio_transcription.completed" => {
                let transcript = text_at(event, "transcript").unwrap_or_default();
                self.history.transcribed(item_id(), transcript);
                true
            }
            "response.output_audio.delta" if self.wire.edge == Edge::Rtc => {
                self.play(event, now);
                false
            }
            "error" => {
                let error = event.get("error").unwrap_or(&Value::Null);
                let id = text_at(error, "event_id").unwrap_or_default();
                if id == SESSION {
                    self.own_updates = self.own_updates.saturating_sub(1);
                }
                // An item that it does not take again is one that it does not know; the conversation goes on.
                !id.starts_with(SEED)
            }
            _ => true,
        }
    }

    fn play(&mut self, event: &Value, now: Time) {
        let delta = text_at(event, "delta").and_then(|delta| STANDARD.decode(delta).ok());
        let index = event.get("content_index").and_then(Value::as_u64);
        if let (Some(ulaw), Some(response_id), Some(item_id)) = (
            delta,
            text_at(event, "response_id"),
            text_at(event, "item_id"),
        ) {
            let index = usize::try_from(index.unwrap_or(0)).unwrap_or(0);
            self.playback.add(response_id, item_id, index, &ulaw, now);
        }
    }

    fn may_interrupt(&self) -> bool {
        turn::detection(self.session.as_ref())
            .and_then(|detection| detection.get("interrupt_response"))
            .is_none_or(|may| may != &Value::Bool(false))
    }

    /// Somebody speaks over the answer: over WebRTC it is the server that stops it, and says how much was heard.
    fn interrupt(&mut self) {
        for cut in self.playback.clear(&mut self.wire) {
            let event = json!({
                "type": "conversation.item.truncate",
                "event_id": format!("{PREFIX}cut"),
                "item_id": cut.item_id,
                "content_index": cut.content_index,
                "audio_end_ms": cut.played_ms,
            });
            self.send(event.to_string());
        }
    }

    fn clear_output(&mut self) {
        let was_playing = self.playback.playing();
        self.interrupt();
        if !was_playing && let Some(last) = self.playback.last() {
            // Clients clear to be sure; they are told that it is so.
            let fields = json!({"response_id": last});
            self.wire.emit("output_audio_buffer.cleared", fields);
        }
    }

    /// Carries out what the policy and the orders want.
    fn follow_watch(&mut self) {
        loop {
            match self.watch.poll_output() {
                WatchOutput::Send(event) => self.send(event),
                WatchOutput::Submit { call_id, order } => {
                    self.wire.push(Output::Submit { call_id, order });
                }
                WatchOutput::End(Ended::Policy) => self.end(Over::Policy),
                // It was given no length.
                WatchOutput::Warn | WatchOutput::End(Ended::Length) => {}
                WatchOutput::Wait(_) => return,
            }
        }
    }
}

/// What a session is asked to be, to be as that one: without what is the upstream's own.
fn asked(session: &Map<String, Value>) -> Value {
    let mut session = session.clone();
    for key in ["id", "object", "expires_at", "client_secret"] {
        session.remove(key);
    }
    json!(session)
}

/// A `session.update` of a client whose sound comes over RTP: what it says of formats is not the upstream's to follow.
fn without_formats(text: &str) -> String {
    let Ok(mut event) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    for side in ["input", "output"] {
        let side = event.pointer_mut(&format!("/session/audio/{side}"));
        if let Some(Value::Object(side)) = side {
            side.remove("format");
        }
    }
    event.to_string()
}
