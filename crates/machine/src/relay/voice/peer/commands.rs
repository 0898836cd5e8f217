//! What a client asks of its session, one method an event.

use super::super::adapter::Edge;
use super::super::audio::Sound;
use super::super::cart;
use super::super::conversation::Place;
use super::super::error::ApiError;
use super::super::item::{Item, Kind, Part, decode};
use super::super::menu::{ADD_TO_ORDER, SUBMIT_ORDER};
use super::super::request::{Request, response_shape};
use super::Peer;
use crate::Time;
use serde_json::{Value, json};
use tautline_protocol::limits;

/// The least sound that is an item.
const COMMIT_MS: u64 = 100;
/// Responses at once, those outside the conversation counted.
const RESPONSES: usize = 8;

impl Peer {
    /// Does what a client asks for, or says why not.
    pub(super) fn handle(&mut self, request: &Request, now: Time) -> Result<(), ApiError> {
        match request {
            Request::Update(session) => {
                let turns = self.settings.turn_detection.clone();
                let rate = self.rate();
                self.settings.update(session)?;
                if rate != self.rate() || turns != self.settings.turn_detection {
                    self.input.changed(self.rate());
                    self.turn = None;
                }
                // Before the settings that hold: a client that knows only these goes on with them.
                if let Some(error) = self.settings.overruled(session) {
                    self.wire.error(&error);
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
                    "At most {} bytes of sound wait; commit or clear first, and append less at once.",
                    limits::VOICE_WAITING_BYTES
                ),
            ));
        }
        if self.echo.is_some() {
            self.echo_back(audio, &sound, now);
        } else {
            self.listen(&sound, now);
        }
        Ok(())
    }

    fn create_item(&mut self, item: &Value, place: &Place, now: Time) -> Result<(), ApiError> {
        let format = self.settings.input_format;
        let wire = &mut self.wire;
        let item = Item::read("item", item, format, || wire.id("item"))?;
        if let Kind::CallOutput { call_id, .. } = &item.kind {
            let wrong = |message| {
                Err(ApiError::invalid("invalid_tool_call_id", message).at("item.call_id"))
            };
            if self.ordering.contains_key(call_id) {
                return wrong("The relay runs this call itself and adds its output.");
            }
            match self.conversation.call(call_id) {
                None => return wrong("There is no call of that id."),
                Some(true) => return wrong("That call has its output already."),
                Some(false) => {}
            }
        }
        let value = item.to_value(None);
        let kind = item.kind.clone();
        let previous = self.conversation.insert(item, place)?;
        self.told_item(&value, previous.as_deref());
        self.retold(&kind);
        self.active_at = now;
        Ok(())
    }

    /// A call of an earlier session's, whose conversation goes on in this one: so does the order it was about.
    fn retold(&mut self, kind: &Kind) {
        let menu = &self.settings.policy().menu;
        match kind {
            Kind::Call {
                name, arguments, ..
            } if name == ADD_TO_ORDER => {
                if let Ok(lines) = cart::read(arguments, menu) {
                    self.answers.add(&lines);
                }
            }
            Kind::CallOutput { call_id, output } if cart::was_made(output) => {
                let arguments = self.conversation.arguments(call_id, SUBMIT_ORDER);
                if let Some(Ok(lines)) = arguments.map(|arguments| cart::read(arguments, menu)) {
                    self.answers.send(&lines);
                }
            }
            _ => {}
        }
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
        if asked.input.is_none() && !asked.shape.out_of_band && self.awaits_order() {
            // Clients ask as soon as the call is there, and the answer is what became of the order.
            if self.deferred.is_some() {
                return Err(ApiError::invalid(
                    "conversation_already_has_active_response",
                    "A response is asked for already and follows the order that is being made. Wait until it is done, then send response.create again.",
                ));
            }
            self.deferred = Some(asked);
            return Ok(());
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
}

fn unknown_item(code: &'static str) -> ApiError {
    ApiError::invalid(code, "There is no item of that id in the conversation.").at("item_id")
}
