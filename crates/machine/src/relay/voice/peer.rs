//! The relay's own end of a call: a session of the Realtime API, turn by turn.

use super::answer::{Answers, With};
use super::audio::{Rate, Sound};
use super::cart;
use super::conversation::{Conversation, Item, Kind, Part, Place, Spoken, decode};
use super::error::ApiError;
use super::format::Format;
use super::input::{Heard, Input};
use super::measure::Facts;
use super::menu::SUBMIT_ORDER;
use super::playback::Playback;
use super::policy::Policy;
use super::request::{Request, response_shape};
use super::response::{Called, Response, Shape};
use super::settings::{Modality, Settings};
use super::turn_detection::TurnDetection;
use super::wire::Wire;
use crate::Time;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tautline_protocol::limits;

/// The least sound that is an item.
const COMMIT_MS: u64 = 100;
/// Sound of a WebRTC client that waits for push-to-talk: it streams whether anybody speaks or not.
const RTC_WAITING_MS: usize = 60_000;
/// Responses at once, those outside the conversation counted.
const RESPONSES: usize = 8;

/// How the client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// WebRTC: sound is G.711 µ-law over RTP, events go over the data channel.
    Rtc,
    /// WebSocket: sound is base64 in events.
    Socket,
}

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

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this event to every control connection: data channel, socket, sideband.
    Event(String),
    /// Send this as the next 20 ms of G.711 µ-law. They are put out at the pace they are to be sent at.
    Play(Vec<u8>),
    /// Make this order as the session's role and `sub`, and say what became of it: [`Peer::ordered`].
    Submit {
        /// Names the call; the same call is the same order.
        call_id: String,
        /// A new order, as `POST …/orders` takes it.
        order: String,
    },
    /// Nothing more to do; call [`Peer::timeout`] then.
    Wait(Option<Time>),
}

/// See the module. Every call is followed by a drain of [`Peer::poll_output`] until it says [`Output::Wait`].
#[derive(Debug)]
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
    /// Calls of `submit_order` that the driver is asked about.
    ordering: BTreeSet<String>,
    /// Since when nobody speaks, once the peer has spoken.
    quiet_since: Option<Time>,
    active_at: Time,
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
            ordering: BTreeSet::new(),
            quiet_since: None,
            active_at: now,
        }
    }

    /// A client's event, as JSON text; from the data channel, the socket or a sideband alike. What is wrong with it is
    /// told in an `error` event, and the session goes on.
    pub fn event(&mut self, text: &str, now: Time) {
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

    /// What the client's microphone heard: G.711 µ-law at 8 kHz, usually 20 ms. Only on [`Edge::Rtc`].
    pub fn audio(&mut self, ulaw: &[u8], now: Time) {
        self.run(now);
        if self.wire.edge == Edge::Rtc
            && let Some(sound) = Sound::decode(Format::Pcmu, ulaw)
        {
            self.listen(&sound, now);
            self.input.keep(RTC_WAITING_MS * 8 * 2);
        }
        self.run(now);
    }

    /// What became of an [`Output::Submit`]: the order as JSON, or why there is none.
    pub fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time) {
        self.run(now);
        if self.ordering.remove(call_id) {
            self.active_at = now;
            if result.is_ok() {
                self.answers.sent();
            }
            self.tell(call_id, cart::output(result), now);
        }
        self.run(now);
    }

    /// Time passed.
    pub fn timeout(&mut self, now: Time) {
        self.run(now);
    }

    /// An `error` event of the driver's: a message dropped for its rate, a session about to end.
    pub fn error(&mut self, error: &ApiError) {
        self.wire.error(error);
    }

    /// `session.created` for a sideband that just joined; send it to that connection only.
    pub fn greeting(&mut self) -> String {
        let session = self.session();
        self.wire
            .event("session.created", json!({"session": session}))
    }

    /// The settings that hold.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The policy that holds.
    pub fn policy(&self) -> &Policy {
        self.settings.policy()
    }

    /// The last time that somebody did something: an event, a voice, an answer. Silence on the wire is nothing.
    pub fn active_at(&self) -> Time {
        self.active_at
    }

    /// The next output; [`Output::Wait`] ends every drain.
    pub fn poll_output(&mut self) -> Output {
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

    fn handle(&mut self, request: &Request, now: Time) -> Result<(), ApiError> {
        match request {
            Request::Update(session) => {
                let turns = self.settings.turn_detection.clone();
                let rate = self.rate();
                self.settings.update(session)?;
                if rate != self.rate() || turns != self.settings.turn_detection {
                    self.input.changed(self.rate());
                    self.turn = None;
                }
                let session = self.session();
                self.wire
                    .emit("session.updated", json!({"session": session}));
                Ok(())
            }
            Request::Append(audio) => self.append(audio, now),
            Request::Commit => {
                let ms = self.input.waiting_ms();
                if ms < COMMIT_MS {
                    return Err(ApiError::invalid(
                        "input_audio_buffer_commit_empty",
                        format!(
                            "A commit needs at least {COMMIT_MS} ms of sound and there are {ms}; send more, or clear."
                        ),
                    ));
                }
                let sound = self.input.take();
                self.commit(sound);
                Ok(())
            }
            Request::Clear => {
                self.input.take();
                self.turn = None;
                self.wire.emit("input_audio_buffer.cleared", json!({}));
                Ok(())
            }
            Request::ClearOutput => self.clear_output(),
            Request::Create { item, place } => self.create_item(item, place, now),
            Request::Retrieve(id) => self.retrieve(id),
            Request::Truncate {
                item_id,
                content_index,
                audio_end_ms,
            } => self.truncate(item_id, *content_index, *audio_end_ms, now),
            Request::Delete(id) => {
                if !self.conversation.remove(id) {
                    return Err(unknown_item("item_delete_invalid_item_id"));
                }
                self.wire
                    .emit("conversation.item.deleted", json!({"item_id": id}));
                Ok(())
            }
            Request::Respond(options) => self.respond_to(options, now),
            Request::Cancel(id) => {
                let found = self.responses.iter().position(|response| match id {
                    Some(id) => response.id == *id,
                    None => !response.shape.out_of_band,
                });
                let Some(at) = found else {
                    return Err(ApiError::invalid(
                        "response_cancel_not_active",
                        "There is no response under way to cancel.",
                    ));
                };
                self.cancel(at, "client_cancelled", now);
                Ok(())
            }
        }
    }

    fn append(&mut self, audio: &Value, now: Time) -> Result<(), ApiError> {
        if self.wire.edge == Edge::Rtc {
            return Err(ApiError::invalid(
                "invalid_event",
                "The sound of this session comes over WebRTC; send it as the call's audio track.",
            ));
        }
        let sound = decode("audio", audio, self.settings.input_format)?;
        if self.input.bytes() + sound.bytes() > limits::VOICE_WAITING_BYTES {
            return Err(ApiError::invalid(
                "input_audio_buffer_full",
                format!(
                    "At most {} bytes of sound wait; commit or clear first.",
                    limits::VOICE_WAITING_BYTES
                ),
            ));
        }
        self.listen(&sound, now);
        Ok(())
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
        self.conversation.change(&id, |item| {
            if let Kind::Message { content, .. } = &mut item.kind
                && let Some(Part::InputAudio(spoken)) = content.first_mut()
            {
                spoken.transcript = Some(transcript.clone());
            }
        });
        self.wire.emit(
            "conversation.item.input_audio_transcription.delta",
            json!({"item_id": id, "content_index": 0, "delta": transcript}),
        );
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

    fn create_item(&mut self, item: &Value, place: &Place, now: Time) -> Result<(), ApiError> {
        let format = self.settings.input_format;
        let wire = &mut self.wire;
        let item = Item::read("item", item, format, || wire.id("item"))?;
        if let Kind::CallOutput { call_id, .. } = &item.kind {
            let wrong = |message| {
                Err(ApiError::invalid("invalid_tool_call_id", message).at("item.call_id"))
            };
            if self.ordering.contains(call_id) {
                return wrong("The relay runs this call itself and adds its output.");
            }
            match self.conversation.call(call_id) {
                None => return wrong("There is no call of that id."),
                Some(true) => return wrong("That call has its output already."),
                Some(false) => {}
            }
        }
        let value = item.to_value(None);
        let previous = self.conversation.insert(item, place)?;
        self.told_item(&value, previous.as_deref());
        self.active_at = now;
        Ok(())
    }

    fn retrieve(&mut self, id: &str) -> Result<(), ApiError> {
        let item = self
            .conversation
            .get(id)
            .ok_or_else(|| unknown_item("item_retrieve_invalid_item_id"))?;
        let format = match item.kind {
            Kind::Message { role: "user", .. } => self.settings.input_format,
            _ => self.settings.output_format,
        };
        let mut value = item.to_value(Some(format));
        // With the event around it; a data channel carries no more.
        if self.wire.edge == Edge::Rtc
            && value.to_string().len() + 256 > limits::VOICE_CHANNEL_MESSAGE
        {
            value = item.to_value(None);
        }
        self.wire
            .emit("conversation.item.retrieved", json!({"item": value}));
        Ok(())
    }

    fn truncate(
        &mut self,
        id: &str,
        content_index: usize,
        ms: u64,
        now: Time,
    ) -> Result<(), ApiError> {
        // An item that is still being made is cut where it is.
        if self.conversation.get(id).is_some()
            && let Some(at) = self
                .responses
                .iter()
                .position(|response| response.speaks(id))
        {
            self.cancel(at, "client_cancelled", now);
        }
        let item = self
            .conversation
            .get(id)
            .ok_or_else(|| unknown_item("item_truncate_invalid_item_id"))?;
        let part = match &item.kind {
            Kind::Message {
                role: "assistant",
                content,
            } => content.get(content_index),
            _ => None,
        };
        let Some(Part::OutputAudio(spoken)) = part else {
            return Err(ApiError::invalid(
                "unsupported_content_type",
                "Only what the assistant has spoken can be truncated, and of that item nothing was.",
            )
            .at("content_index"));
        };
        let length = spoken.sound.as_ref().map_or(0, Sound::ms);
        if length == 0 && ms > 0 {
            return Err(ApiError::invalid(
                "unsupported_content_type",
                "No sound of that item is there to be truncated.",
            )
            .at("item_id"));
        }
        if ms > length {
            return Err(ApiError::value(
                "audio_end_ms",
                format!("Audio content of {length}ms is already shorter than {ms}ms."),
            ));
        }
        self.playback.cut(id);
        self.cut(id, content_index, ms);
        Ok(())
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

    fn clear_output(&mut self) -> Result<(), ApiError> {
        if self.wire.edge == Edge::Socket {
            return Err(ApiError::invalid(
                "invalid_event",
                "Only WebRTC has an output_audio_buffer; stop playing on your side and truncate the item.",
            ));
        }
        let was_playing = self.playback.playing();
        let cuts = self.playback.clear(&mut self.wire);
        if !was_playing && let Some(last) = self.playback.last() {
            // Clients clear to be sure; they are told that it is so.
            let last = last.to_owned();
            self.wire
                .emit("output_audio_buffer.cleared", json!({"response_id": last}));
        }
        for cut in cuts {
            self.cut(&cut.item_id, cut.content_index, cut.played_ms);
        }
        Ok(())
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

    fn respond_to(&mut self, options: &Value, now: Time) -> Result<(), ApiError> {
        let asked = response_shape(options, &self.settings)?;
        if !asked.shape.out_of_band
            && let Some(active) = self
                .speaking_response()
                .and_then(|at| self.responses.get(at))
        {
            return Err(ApiError::invalid(
                "conversation_already_has_active_response",
                format!(
                    "Conversation already has an active response in progress: {}. Wait until it is done, then send response.create again.",
                    active.id
                ),
            ));
        }
        if self.responses.len() >= RESPONSES {
            return Err(ApiError::invalid(
                "rate_limit_exceeded",
                format!("At most {RESPONSES} responses are made at once; wait for one to be done."),
            ));
        }
        let given = match &asked.input {
            None => None,
            Some(list) => Some(self.input_items(list)?),
        };
        self.respond(
            asked.shape,
            given.as_deref(),
            asked.tools.as_deref(),
            asked.tool_choice.as_ref(),
            now,
        );
        Ok(())
    }

    /// `response.input`: items of its own, and references to the conversation's.
    fn input_items(&mut self, list: &[Value]) -> Result<Vec<Item>, ApiError> {
        let mut items = Vec::with_capacity(list.len());
        for (n, value) in list.iter().enumerate() {
            let at = format!("response.input[{n}]");
            if value
                .get("type")
                .is_some_and(|kind| kind == "item_reference")
            {
                let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
                let item = self.conversation.get(id).cloned().ok_or_else(|| {
                    ApiError::value(format!("{at}.id"), "There is no item of that id.")
                })?;
                items.push(item);
            } else {
                let format = self.settings.input_format;
                let wire = &mut self.wire;
                items.push(Item::read(&at, value, format, || wire.id("item"))?);
            }
        }
        Ok(items)
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
        let plan = self.answers.answer(
            &items,
            With {
                policy: self.settings.policy(),
                tools: tools.unwrap_or(&self.settings.tools),
                tool_choice: tool_choice.unwrap_or(&self.settings.tool_choice),
            },
        );
        if shape.modality == Modality::Audio {
            self.settings.voice_used = true;
        }
        let response = Response::begin(&self.conversation_id, plan, shape, &mut self.wire, now);
        self.responses.push(response);
        self.active_at = now;
        self.quiet_since = None;
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
            let shape = Shape::of(&self.settings);
            self.respond(shape, None, None, None, now);
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
            let ours = !response.shape.out_of_band;
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
                self.ordering.insert(call.call_id.clone());
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

fn unknown_item(code: &'static str) -> ApiError {
    ApiError::invalid(code, "There is no item of that id in the conversation.").at("item_id")
}
