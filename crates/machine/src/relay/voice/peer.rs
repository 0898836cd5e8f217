//! The relay's own end of a call: a session of the Realtime API, turn by turn.

mod commands;
mod echo;

use super::adapter::{Adapter, Edge, Output};
use super::answer::{Answers, With};
use super::audio::{Rate, Sound};
use super::cart::{self, Line};
use super::conversation::{Conversation, Place};
use super::error::ApiError;
use super::format::Format;
use super::input::{Heard, Input};
use super::item::{Item, Kind, Part, Spoken};
use super::measure::Facts;
use super::menu::SUBMIT_ORDER;
use super::playback::Playback;
use super::policy::Policy;
use super::request::{Asked, Request};
use super::response::{Called, Planned, Response, Shape};
use super::settings::{Modality, Settings};
use super::turn_detection::TurnDetection;
use super::wire::Wire;
use crate::Time;
use echo::Echo;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Sound of a WebRTC client that waits for push-to-talk: it streams whether anybody speaks or not.
const RTC_WAITING_MS: usize = 60_000;

/// What a session begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How the client is connected.
    pub edge: Edge,
    /// What the ids are made from.
    pub seed: u64,
    /// The settings, with the policy they are under.
    pub settings: Settings,
    /// `sess_…`.
    pub session_id: String,
    /// When it ends at the latest, seconds since 1970.
    pub expires_at_s: u64,
}

/// See the module.
pub struct Peer {
    wire: Wire,
    settings: Settings,
    session_id: String,
    expires_at_s: u64,
    conversation_id: String,
    conversation: Conversation,
    input: Input,
    /// The item that the turn under way will be.
    turn: Option<String>,
    /// Those under way; at most one of them is the conversation's.
    responses: Vec<Response>,
    /// A turn ended, or an order was made, while a response was under way: another one follows it.
    owed: bool,
    playback: Playback,
    answers: Answers,
    /// The guest was told what the tones are.
    explained: bool,
    /// Calls of `submit_order` that the driver is asked about, with what they took out of the cart.
    ordering: BTreeMap<String, Vec<Line>>,
    /// A response that was asked for before there was anything new to answer but an order under way.
    deferred: Option<Asked>,
    /// Since when nobody speaks, once the peer has spoken.
    quiet_since: Option<Time>,
    active_at: Time,
    /// It says back at once what it hears, and nothing else.
    echo: Option<Echo>,
}

impl std::fmt::Debug for Peer {
    /// What was said in it is nobody's to print.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// A session that begins: `session.created` is the first output.
    pub fn new(setup: Setup, now: Time) -> Self {
        let mut wire = Wire::new(setup.edge, setup.seed);
        let conversation_id = wire.id("conv");
        let rate = match setup.edge {
            Edge::Rtc => Rate::Narrow,
            Edge::Socket => setup.settings.input_format.rate(),
        };
        wire.emit(
            "session.created",
            json!({"session": setup.settings.to_session(&setup.session_id, setup.expires_at_s)}),
        );
        wire.emit(
            "conversation.created",
            json!({"conversation": {"id": conversation_id, "object": "realtime.conversation"}}),
        );
        Self {
            wire,
            settings: setup.settings,
            session_id: setup.session_id,
            expires_at_s: setup.expires_at_s,
            conversation_id,
            conversation: Conversation::default(),
            input: Input::new(rate),
            turn: None,
            responses: Vec::new(),
            owed: false,
            playback: Playback::default(),
            answers: Answers::default(),
            explained: false,
            ordering: BTreeMap::new(),
            deferred: None,
            quiet_since: None,
            active_at: now,
            echo: None,
        }
    }

    /// The same, as `loopback:true` of a voice socket wants it: sound is said back as it comes, a transcript of what was
    /// measured comes for each second of speech and at its end, and nothing is answered.
    #[must_use]
    pub fn echoing(mut self) -> Self {
        self.echo = Some(Echo::new(self.wire.id("resp"), self.wire.id("item")));
        self
    }

    /// The settings that hold.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The policy that holds.
    pub fn policy(&self) -> &Policy {
        self.settings.policy()
    }

    /// The rate that sound comes in at.
    fn rate(&self) -> Rate {
        match self.wire.edge {
            Edge::Rtc => Rate::Narrow,
            Edge::Socket => self.settings.input_format.rate(),
        }
    }

    fn session(&self) -> Value {
        self.settings
            .to_session(&self.session_id, self.expires_at_s)
    }

    fn listen(&mut self, sound: &Sound, now: Time) {
        let turns = self.settings.turn_detection.clone();
        for heard in self.input.push(&sound.samples, turns.as_ref()) {
            let Some(turns) = &turns else { continue };
            match heard {
                Heard::Started { at_ms } => self.turn_began(at_ms, turns, now),
                Heard::Stopped { at_ms, sound } => self.turn_ended(at_ms, sound, turns, now),
            }
        }
        if self.input.speaking() {
            self.active_at = now;
            self.quiet_since = None;
        }
    }

    fn turn_began(&mut self, at_ms: u64, turns: &TurnDetection, now: Time) {
        let id = self.wire.id("item");
        self.wire.emit(
            "input_audio_buffer.speech_started",
            json!({"audio_start_ms": at_ms, "item_id": id}),
        );
        self.turn = Some(id);
        if turns.interrupt_response {
            self.interrupt(now);
        }
    }

    /// Somebody speaks over the answer: it ends, and of its sound stays what was heard.
    fn interrupt(&mut self, now: Time) {
        self.owed = false;
        self.deferred = None;
        let cuts = self.playback.clear(&mut self.wire);
        if let Some(at) = self.speaking_response() {
            self.cancel(at, "turn_detected", now);
        }
        for cut in cuts {
            self.cut(&cut.item_id, cut.content_index, cut.played_ms);
        }
    }

    fn turn_ended(&mut self, at_ms: u64, sound: Sound, turns: &TurnDetection, now: Time) {
        self.wire.emit(
            "input_audio_buffer.speech_stopped",
            json!({"audio_end_ms": at_ms, "item_id": self.turn}),
        );
        self.commit(sound);
        self.quiet_since = Some(now);
        if turns.create_response {
            self.owed = true;
        }
    }

    /// Sound becomes an item, and what can be said of it its transcript.
    fn commit(&mut self, sound: Sound) {
        let id = self.turn.take().unwrap_or_else(|| self.wire.id("item"));
        let facts = Facts::of(&sound);
        let seconds = sound.ms() as f64 / 1_000.0;
        let spoken = Spoken {
            transcript: None,
            sound: Some(sound),
        };
        let item = Item::message(id.clone(), "user", vec![Part::InputAudio(spoken)]);
        let value = item.to_value(None);
        // Its id is new, so it has its place.
        let previous = self.conversation.last_id().map(str::to_owned);
        if self.conversation.insert(item, &Place::End).is_err() {
            return;
        }
        self.wire.emit(
            "input_audio_buffer.committed",
            json!({"previous_item_id": previous, "item_id": id}),
        );
        self.told_item(&value, previous.as_deref());
        if self.settings.transcription.is_null() {
            return;
        }
        let transcript = facts.sentence();
        let in_seconds = self.echo.is_some();
        self.conversation.change(&id, |item| {
            if let Kind::Message { content, .. } = &mut item.kind
                && let Some(Part::InputAudio(spoken)) = content.first_mut()
            {
                spoken.transcript = Some(transcript.clone());
            }
        });
        if !in_seconds {
            self.wire.emit(
                "conversation.item.input_audio_transcription.delta",
                json!({"item_id": id, "content_index": 0, "delta": transcript}),
            );
        }
        self.wire.emit(
            "conversation.item.input_audio_transcription.completed",
            json!({
                "item_id": id,
                "content_index": 0,
                "transcript": transcript,
                "usage": {"type": "duration", "seconds": seconds},
            }),
        );
    }

    fn told_item(&mut self, item: &Value, previous: Option<&str>) {
        for kind in ["conversation.item.added", "conversation.item.done"] {
            self.wire
                .emit(kind, json!({"previous_item_id": previous, "item": item}));
        }
    }

    /// An item keeps what was heard of it.
    fn cut(&mut self, id: &str, content_index: usize, ms: u64) {
        if self.conversation.get(id).is_none() {
            return;
        }
        self.conversation.truncate(id, ms);
        self.wire.emit(
            "conversation.item.truncated",
            json!({"item_id": id, "content_index": content_index, "audio_end_ms": ms}),
        );
    }

    /// Nothing was said since a call of `submit_order` whose output is not there yet.
    fn awaits_order(&self) -> bool {
        self.conversation
            .items()
            .rev()
            .find_map(|item| match &item.kind {
                Kind::Call { call_id, .. } => self.ordering.contains_key(call_id).then_some(true),
                Kind::Message { role, .. } => (*role == "user").then_some(false),
                Kind::CallOutput { .. } => Some(false),
            })
            .unwrap_or(false)
    }

    fn speaking_response(&self) -> Option<usize> {
        self.responses
            .iter()
            .position(|response| !response.shape.out_of_band)
    }

    fn cancel(&mut self, at: usize, reason: &'static str, now: Time) {
        let response = self.responses.remove(at);
        response.cancel(
            reason,
            &mut self.wire,
            &mut self.conversation,
            &mut self.playback,
        );
        self.quiet_since = Some(now);
    }

    fn respond(
        &mut self,
        mut shape: Shape,
        given: Option<&[Item]>,
        tools: Option<&[Value]>,
        tool_choice: Option<&Value>,
        now: Time,
    ) {
        let items: Vec<&Item> = match given {
            Some(items) => items.iter().collect(),
            None => self.conversation.items().collect(),
        };
        shape.input = measure(&items);
        let with = With {
            policy: self.settings.policy(),
            tools: tools.unwrap_or(&self.settings.tools),
            tool_choice: tool_choice.unwrap_or(&self.settings.tool_choice),
        };
        let mut plan = if shape.out_of_band {
            // It leaves nothing behind, in the order either.
            self.answers.clone().answer(&items, with)
        } else {
            self.answers.answer(&items, with)
        };
        if shape.modality == Modality::Audio {
            self.settings.voice_used = true;
            self.explain(&mut plan);
        }
        let response = Response::begin(&self.conversation_id, plan, shape, &mut self.wire, now);
        self.responses.push(response);
        self.active_at = now;
        self.quiet_since = None;
    }

    /// Words of its own have no voice here, only tones; a guest is told so once.
    fn explain(&mut self, plan: &mut [Planned]) {
        let own = plan.iter_mut().find_map(|planned| match planned {
            Planned::Say { text, sound: None } => Some(text),
            _ => None,
        });
        if let Some(text) = own
            && !std::mem::replace(&mut self.explained, true)
        {
            text.push_str(" (The tones stand for a voice: this is a test peer.)");
        }
    }

    /// Everything that is due.
    fn run(&mut self, now: Time) {
        self.advance(now);
        self.playback.advance(&mut self.wire, now);
        if self.idle_at().is_some_and(|at| at <= now) {
            self.idle(now);
        }
        // A response that was owed begins at once, and its first step is due at once.
        while self.owed && self.speaking_response().is_none() {
            self.owed = false;
            // The order that it was to follow is told.
            let deferred = self.deferred.take_if(|_| self.ordering.is_empty());
            let (shape, tools, tool_choice) = match deferred {
                Some(asked) => (asked.shape, asked.tools, asked.tool_choice),
                None => (Shape::of(&self.settings), None, None),
            };
            self.respond(shape, None, tools.as_deref(), tool_choice.as_ref(), now);
            self.advance(now);
            self.playback.advance(&mut self.wire, now);
        }
        if self.playback.busy() || !self.responses.is_empty() {
            self.active_at = now;
        }
    }

    fn advance(&mut self, now: Time) {
        let mut at = 0;
        while let Some(response) = self.responses.get_mut(at) {
            let (called, done) = response.advance(
                &mut self.wire,
                &mut self.conversation,
                &mut self.playback,
                now,
            );
            // Without a menu there is no order to make: then the call is the client's, which may be a relay that has one.
            let ours = !response.shape.out_of_band && !self.settings.policy().menu.is_empty();
            if done {
                self.responses.remove(at);
                self.quiet_since = Some(now);
            } else {
                at += 1;
            }
            for call in called {
                if ours && call.name == SUBMIT_ORDER {
                    self.submit(call, now);
                }
            }
        }
    }

    /// `submit_order` is the relay's own.
    fn submit(&mut self, call: Called, now: Time) {
        let policy = self.settings.policy();
        match cart::read(&call.arguments, &policy.menu) {
            Ok(lines) => {
                let order = cart::order(&lines, &policy.order_type);
                let taken = self.answers.send(&lines);
                self.ordering.insert(call.call_id.clone(), taken);
                self.wire.push(Output::Submit {
                    call_id: call.call_id,
                    order,
                });
            }
            Err(why) => self.tell(&call.call_id, cart::output(Err(&why)), now),
        }
    }

    /// A call's output, and an answer that says it.
    fn tell(&mut self, call_id: &str, output: String, now: Time) {
        let item = Item {
            id: self.wire.id("item"),
            status: "completed",
            kind: Kind::CallOutput {
                call_id: call_id.to_owned(),
                output,
            },
        };
        let value = item.to_value(None);
        if let Ok(previous) = self.conversation.insert(item, &Place::End) {
            self.told_item(&value, previous.as_deref());
        }
        self.active_at = now;
        self.owed = true;
    }

    /// When the peer speaks by itself, if it is to.
    fn idle_at(&self) -> Option<Time> {
        let idle_ms = self.settings.turn_detection.as_ref()?.idle_ms()?;
        let free = self.responses.is_empty() && !self.playback.busy() && !self.input.speaking();
        free.then_some(self.quiet_since?.max(self.playback.ended()) + idle_ms)
    }

    fn idle(&mut self, now: Time) {
        self.quiet_since = Some(now);
        let end_ms = self.input.end_ms();
        let start_ms = end_ms.saturating_sub(self.input.waiting_ms());
        let id = self.wire.id("item");
        self.wire.emit(
            "input_audio_buffer.timeout_triggered",
            json!({"audio_start_ms": start_ms, "audio_end_ms": end_ms, "item_id": id}),
        );
        self.turn = Some(id);
        let sound = self.input.take();
        self.commit(sound);
        self.owed = true;
    }
}

impl Adapter for Peer {
    fn event(&mut self, text: &str, now: Time) {
        self.run(now);
        match Request::read(text) {
            Ok((event_id, request)) => {
                self.wire.answering = event_id;
                if !matches!(request, Request::Append(_)) {
                    self.active_at = now;
                }
                if let Err(error) = self.handle(&request, now) {
                    self.wire.error(&error);
                }
            }
            Err((event_id, error)) => {
                self.wire.answering = event_id;
                self.wire.error(&error);
            }
        }
        self.wire.answering = None;
        self.run(now);
    }

    fn audio(&mut self, ulaw: &[u8], now: Time) {
        self.run(now);
        if self.wire.edge == Edge::Rtc
            && let Some(sound) = Sound::decode(Format::Pcmu, ulaw)
        {
            self.listen(&sound, now);
            self.input.keep(RTC_WAITING_MS * 8 * 2);
        }
        self.run(now);
    }

    fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time) {
        self.run(now);
        if let Some(lines) = self.ordering.remove(call_id) {
            self.active_at = now;
            if result.is_err() {
                self.answers.restore(&lines);
            }
            self.tell(call_id, cart::output(result), now);
        }
        self.run(now);
    }

    fn timeout(&mut self, now: Time) {
        self.run(now);
    }

    fn error(&mut self, error: &ApiError) {
        self.wire.error(error);
    }

    fn greeting(&mut self) -> Option<String> {
        let session = self.session();
        let fields = json!({"session": session});
        Some(self.wire.event("session.created", fields))
    }

    fn active_at(&self) -> Time {
        self.active_at
    }

    fn poll_output(&mut self) -> Output {
        if let Some(output) = self.wire.next() {
            return output;
        }
        let responses = self.responses.iter().map(Response::due);
        Output::Wait(
            responses
                .chain(self.playback.due())
                .chain(self.idle_at())
                .min(),
        )
    }
}

/// What there is to be answered: words, and milliseconds of sound.
fn measure(items: &[&Item]) -> (u64, u64) {
    items.iter().fold((0, 0), |(words, ms), item| {
        let text = item.text().unwrap_or_default();
        (
            words + text.split_whitespace().count() as u64,
            ms + item.heard().map_or(0, Sound::ms),
        )
    })
}
