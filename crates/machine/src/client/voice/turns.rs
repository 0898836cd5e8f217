//! Whose turn it is: one response at a time, push-to-talk, barge-in, and which refusals are the price of a race.

use super::call::Voice;
use super::io::{CallId, Event, Failure, ItemKind, Notice, Output, Played, Timer, Transport};
use super::playback::Heard;
use crate::Time;
use std::collections::VecDeque;
use tautline_protocol::{ErrorCode, JsonWriter, Stage};

/// A hold shorter than this was a slip; the API refuses to commit less.
const SLIP_MS: u64 = 100;
/// What was spoken arrives after the event that ends it would: packets take longer than the channel.
pub(super) const TAIL_MS: u64 = 120;
/// How long a response may stay unanswered before the next is asked for.
pub(super) const UNANSWERED_MS: u64 = 5_000;
/// After a refusal because of a response that we know nothing of.
const AGAIN_MS: u64 = 500;
/// Refusals of one request in a row.
const TRIES: u8 = 6;

/// A `response.create` of ours.
#[derive(Debug)]
struct Create {
    id: String,
    text: String,
    tries: u8,
}

/// The turns of one call.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The response under way.
    active: Option<String>,
    /// Its cancellation was asked for.
    cancelling: bool,
    waiting: VecDeque<Create>,
    /// Sent, and neither begun nor refused.
    in_flight: Option<Create>,
    /// A response began after this was sent: probably this one, or else it will be refused.
    begun: Option<Create>,
    user: bool,
    /// Since when the answer has been playing, and whose it is.
    playing: Option<(Option<String>, Time)>,
    held: Option<Time>,
    /// Spoken, not committed yet.
    spoken: bool,
    /// When the user's last turn ended, until the answer begins.
    turn_ended: Option<Time>,
    pub(super) first_audio_ms: Option<u64>,
}

impl Turns {
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// Whether nobody says anything, and no answer is under way; `answer_ms`: so long after the user's turn one may
    /// still begin.
    pub(super) fn is_idle(&self, now: Time, answer_ms: u64) -> bool {
        let responds =
            self.active.is_some() || self.in_flight.is_some() || !self.waiting.is_empty();
        let speaks = self.user || self.held.is_some() || self.spoken || self.playing.is_some();
        let is_due = self.turn_ended.is_some_and(|ended| now - ended < answer_ms);
        !(responds || speaks || is_due)
    }

    /// Another session goes on where this one was: what was asked for and has not begun is asked for there.
    pub(super) fn carry_over(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        if let Some(create) = self.in_flight.take() {
            waiting.push_front(create);
        }
        *self = Self {
            waiting,
            held: self.held.take(),
            first_audio_ms: self.first_audio_ms,
            ..Self::default()
        };
    }

    fn create(&mut self) -> Option<Create> {
        self.in_flight.take().or_else(|| self.begun.take())
    }
}

impl Voice {
    /// Takes an event for a `response.create` of the page's, which waits for its turn.
    pub(super) fn queue_create(&mut self, id: String, text: String, now: Time) {
        let tries = 0;
        self.turns.waiting.push_back(Create { id, text, tries });
        self.next_create(now);
    }

    pub(super) fn next_create(&mut self, now: Time) {
        let turns = &mut self.turns;
        let free = turns.active.is_none() && turns.in_flight.is_none();
        // A pause after a refusal runs on the same timer.
        if !free || self.timers.get(Timer::Create).is_some() {
            return;
        }
        let Some(create) = turns.waiting.pop_front() else {
            return;
        };
        self.line.push(create.text.clone());
        turns.in_flight = Some(create);
        self.timers.set(Timer::Create, now + UNANSWERED_MS);
    }

    pub(super) fn create_due(&mut self, now: Time) {
        self.turns.in_flight = None;
        self.next_create(now);
    }

    /// `interrupt()`.
    pub(super) fn interrupt(&mut self) {
        if !self.line.is_open() {
            return;
        }
        let active = self.turns.active.clone();
        if let Some(response) = active.filter(|_| !self.turns.cancelling) {
            self.turns.cancelling = true;
            self.say("response.cancel", |frame| {
                frame.str("response_id", &response)
            });
        }
        match self.over {
            Transport::WebRtc => {
                self.say("output_audio_buffer.clear", |frame| frame);
            }
            Transport::WebSocket => self.silence(),
        }
    }

    /// On a socket the answer is ours to stop; what was heard of it comes back with [`Voice::played`].
    fn silence(&mut self) {
        let active = self.turns.active.clone();
        if self.playback.silence(active.as_deref())
            && let Some(call) = self.call()
        {
            self.out.push_back(Output::Silence(call));
        }
        if self.turns.playing.take().is_some() {
            self.quiet();
        }
    }

    /// The microphone gave a piece of sound for a socket. One that was under way when push-to-talk ended still counts.
    pub(super) fn spoken(&mut self, call: CallId, sound: &str) {
        let is_let = self.gate_open || self.timers.get(Timer::Tail).is_some();
        if self.over != Transport::WebSocket || self.call() != Some(call) || !is_let {
            return;
        }
        let frame = JsonWriter::with_capacity(sound.len() + 64)
            .str("type", "input_audio_buffer.append")
            .str("audio", sound);
        self.quality.unsent += self.line.push_sound(frame.end());
        self.spoken += 1;
    }

    /// A socket's player has come so far, or was silenced.
    pub(super) fn played(&mut self, call: CallId, report: Played, now: Time) {
        if self.call() != Some(call) {
            return;
        }
        let heard = self.playback.played(report, now);
        self.hear(heard, now);
        let Some(cut) = self.playback.cut(report) else {
            return;
        };
        self.say("conversation.item.truncate", |frame| {
            frame
                .str("item_id", &cut.item)
                .u64("content_index", cut.part as u64)
                .u64("audio_end_ms", cut.ms)
        });
        let changed = self.conversation.cut(cut.response, cut.ms);
        self.changed(changed);
    }

    /// What a socket's player plays is told as a server tells it of a call.
    fn hear(&mut self, heard: Vec<Heard>, now: Time) {
        for heard in heard {
            match heard {
                Heard::Started(response) => self.heard(
                    Event::Started {
                        response: Some(response),
                    },
                    now,
                ),
                Heard::Stopped => self.heard(Event::Stopped, now),
            }
        }
    }

    /// `startTalking()` and `stopTalking()`.
    pub(super) fn talk(&mut self, held: bool, now: Time) {
        if held {
            if self.turns.held.is_some() || !self.is_live() {
                return;
            }
            if self.turns.active.is_some() || self.turns.is_playing() {
                self.interrupt();
            }
            if self.turns.spoken {
                self.commit(now);
            } else {
                self.say("input_audio_buffer.clear", |frame| frame);
            }
            self.turns.held = Some(now);
            self.gate();
            return;
        }
        let Some(since) = self.turns.held.take() else {
            return;
        };
        self.gate();
        if now - since < SLIP_MS {
            self.say("input_audio_buffer.clear", |frame| frame);
        } else {
            self.turns.spoken = true;
            self.turns.turn_ended = Some(now);
            self.timers.set(Timer::Tail, now + TAIL_MS);
        }
    }

    /// What was spoken has arrived: it is a turn, and wants an answer.
    pub(super) fn commit(&mut self, now: Time) {
        self.timers.clear(Timer::Tail);
        if !std::mem::take(&mut self.turns.spoken) {
            return;
        }
        self.say("input_audio_buffer.commit", |frame| frame);
        let id = self.ids.next();
        let text = JsonWriter::object()
            .str("event_id", &id)
            .str("type", "response.create")
            .end();
        self.queue_create(id, text, now);
    }

    /// A small event of our own.
    pub(super) fn say(&mut self, kind: &str, rest: impl Fn(JsonWriter) -> JsonWriter) -> String {
        let (id, frame) = self.event_of(kind);
        self.line.push(rest(frame).end());
        id
    }

    /// The first of all, and its id.
    pub(super) fn settings_event(&mut self) -> (String, String) {
        let (id, frame) = self.event_of("session.update");
        let text = frame.raw("session", &self.config.settings).end();
        (id, text)
    }

    fn event_of(&mut self, kind: &str) -> (String, JsonWriter) {
        let id = self.ids.next();
        let frame = JsonWriter::object().str("event_id", &id).str("type", kind);
        (id, frame)
    }

    pub(super) fn heard(&mut self, event: Event, now: Time) {
        match event {
            Event::Speech(user) => {
                self.turns.turn_ended = (!user).then_some(now);
                self.turns.user = user;
                self.out
                    .push_back(Output::Duck(user && self.turns.is_playing()));
                if user && self.interrupts && self.over == Transport::WebSocket {
                    // The server has ended its response; that nothing more of it is heard is our part.
                    self.silence();
                }
                self.speaking();
            }
            Event::Sound {
                response,
                item,
                part,
                samples,
            } => {
                let over_socket = self.over == Transport::WebSocket;
                if over_socket
                    && let Some(call) = self.call()
                    && self.playback.sound(response, item, part, samples, now)
                {
                    let cushion = self.playback.cushion();
                    self.out.push_back(Output::Hear(call, cushion));
                }
            }
            Event::SoundDone { item } => {
                let heard = self.playback.item_done(&item);
                self.hear(heard, now);
            }
            Event::Started { response } => {
                self.turns.playing = Some((response, now));
                if let Some(ended) = self.turns.turn_ended.take() {
                    self.turns.first_audio_ms = Some(now - ended);
                }
                self.speaking();
            }
            Event::Stopped => {
                self.turns.playing = None;
                self.quiet();
            }
            Event::Cleared { response } => {
                if let Some((whose, since)) = self.turns.playing.take()
                    && let Some(response) = response.or(whose)
                {
                    let changed = self.conversation.cut(response, now - since);
                    self.changed(changed);
                }
                self.quiet();
            }
            Event::Created { response } => {
                self.turns.active = Some(response);
                self.turns.cancelling = false;
                self.turns.begun = self.turns.in_flight.take();
                self.timers.clear(Timer::Create);
            }
            Event::Done { response } => {
                let heard = self.playback.response_done(&response);
                self.hear(heard, now);
                if self.turns.active.as_deref() == Some(&response) {
                    self.turns.active = None;
                    self.turns.begun = None;
                    if self.turns.in_flight.is_none() {
                        self.timers.clear(Timer::Create);
                    }
                    self.next_create(now);
                }
            }
            Event::Error {
                about,
                code,
                message,
            } => self.refused(about, code, message, now),
            Event::Output { item } => {
                if let ItemKind::Call {
                    call_id,
                    name,
                    arguments,
                } = &item.kind
                    && self.conversation.is_new_call(call_id)
                {
                    self.out.push_back(Output::Tell(Notice::Tool {
                        call_id: call_id.clone(),
                        name: name.clone(),
                        arguments: arguments.clone(),
                    }));
                }
                let changed = self.conversation.take(Event::Output { item });
                self.changed(changed);
            }
            event => {
                let changed = self.conversation.take(event);
                self.changed(changed);
            }
        }
    }

    fn quiet(&mut self) {
        self.out.push_back(Output::Duck(false));
        self.speaking();
    }

    /// Who is heard may have changed.
    pub(super) fn speaking(&mut self) {
        let now = (self.turns.user, self.turns.is_playing());
        if std::mem::replace(&mut self.spoke, now) != now {
            let (user, assistant) = now;
            self.tell(Notice::Speaking { user, assistant });
        }
    }

    /// The call is over: nobody is heard, nothing waits.
    pub(super) fn end_turns(&mut self) {
        let first_audio_ms = self.turns.first_audio_ms;
        self.turns = Turns {
            first_audio_ms,
            ..Turns::default()
        };
        self.speaking();
    }

    fn changed(&mut self, item: Option<String>) {
        if let Some(id) = item {
            self.tell(Notice::Transcript(id));
        }
    }

    fn refused(&mut self, about: Option<String>, code: Option<String>, message: String, now: Time) {
        let code_is = |name: &str| code.as_deref() == Some(name);
        // The response had ended when the cancellation came: as wished. Silence was held: nothing to answer.
        if code_is("response_cancel_not_active") || code_is("input_audio_buffer_commit_empty") {
            return;
        }
        let is_ours = |create: &Option<Create>| {
            create
                .as_ref()
                .is_some_and(|create| about.as_deref() == Some(&create.id))
        };
        let ours = is_ours(&self.turns.in_flight) || is_ours(&self.turns.begun);
        if code_is("conversation_already_has_active_response")
            && (ours || about.is_none())
            && let Some(mut create) = self.turns.create()
        {
            create.tries += 1;
            if create.tries < TRIES {
                self.turns.waiting.push_front(create);
                match self.turns.active {
                    Some(_) => self.timers.clear(Timer::Create),
                    None => self.timers.set(Timer::Create, now + AGAIN_MS),
                }
                return;
            }
        }
        if ours {
            self.turns.create();
            self.timers.clear(Timer::Create);
        }
        let dial = self.call().and_then(|call| self.dial_of(call));
        let asked = dial.and_then(|dial| dial.settings_sent.as_ref());
        let settings = about.is_some() && about.as_ref() == asked;
        let mut failure = Failure::new(
            ErrorCode::RealtimeError,
            if settings {
                "the server does not take the session's settings"
            } else {
                "the server refused an event of this call"
            },
        );
        failure.server_code = code;
        failure.said = Some(message);
        if settings {
            // They will not be confirmed: what the server said is worth more than the end of the wait.
            return self.fail(failure.at(Stage::Settings), now);
        }
        self.tell(Notice::Error(failure));
        self.next_create(now);
    }
}
