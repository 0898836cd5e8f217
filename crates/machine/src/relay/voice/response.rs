//! One response, made step by step: its events in the order clients rely on, its end told exactly once.

use super::adapter::Edge;
use super::audio::{Rate, Sound, chime};
use super::conversation::{Conversation, Place};
use super::format::Format;
use super::item::{Item, Kind, Part, Spoken};
use super::playback::Playback;
use super::settings::Modality;
use super::wire::Wire;
use crate::Time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Time between two steps, and the sound one of them makes: ten times as fast as it is heard, so that a client has
/// it early and can still interrupt.
const STEP_MS: u64 = 20;
const STEP_SOUND_MS: u64 = 200;
/// Words of one step where there is no sound.
const STEP_WORDS: usize = 6;

/// What a response will be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Planned {
    /// Words, and the sound they come with when it is more than words.
    Say { text: String, sound: Option<Sound> },
    /// A function call.
    Call { name: String, arguments: String },
}

/// How a response is put out.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// `conversation:"none"`: it adds no items.
    pub(super) out_of_band: bool,
    pub(super) modality: Modality,
    pub(super) format: Format,
    pub(super) voice: Value,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) metadata: Value,
    /// What was there to be answered: words, and milliseconds of sound.
    pub(super) input: (u64, u64),
}

/// A call that was put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) call_id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// How a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    /// Whole but for what the bound on its length cut off.
    TooLong,
    Cancelled(&'static str),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) id: String,
    pub(super) shape: Shape,
    conversation_id: String,
    plan: VecDeque<Planned>,
    speaking: Option<Speaking>,
    output: Vec<Value>,
    next: Time,
    too_long: bool,
    words: u64,
    sound_ms: u64,
}

/// The message being put out.
#[derive(Debug)]
struct Speaking {
    item_id: String,
    previous: Option<String>,
    words: Vec<String>,
    said: usize,
    sound: Option<Sound>,
    /// The sound as it is sent.
    bytes: Vec<u8>,
    bytes_per_ms: usize,
    made_ms: u64,
}

impl Response {
    /// Tells `response.created`.
    pub(super) fn begin(
        conversation_id: &str,
        plan: Vec<Planned>,
        shape: Shape,
        wire: &mut Wire,
        now: Time,
    ) -> Self {
        let mut this = Self {
            id: wire.id("resp"),
            shape,
            conversation_id: conversation_id.to_owned(),
            plan: plan.into(),
            speaking: None,
            output: Vec::new(),
            next: now,
            too_long: false,
            words: 0,
            sound_ms: 0,
        };
        this.bound();
        wire.emit(
            "response.created",
            json!({"response": this.to_value("in_progress", Value::Null, Value::Null)}),
        );
        this
    }

    /// When there is more to do.
    pub(super) fn due(&self) -> Time {
        self.next
    }

    /// Whether it is speaking that item.
    pub(super) fn speaks(&self, item_id: &str) -> bool {
        self.speaking
            .as_ref()
            .is_some_and(|speaking| speaking.item_id == item_id)
    }

    /// A word counts as a token, so that the bound means something here, too.
    fn bound(&mut self) {
        let Some(most) = self.shape.max_output_tokens else {
            return;
        };
        let mut left = usize::try_from(most).unwrap_or(usize::MAX);
        let mut kept = VecDeque::new();
        for planned in self.plan.drain(..) {
            match planned {
                Planned::Say { text, sound } => {
                    let words: Vec<&str> = text.split(' ').collect();
                    let take = words.len().min(left);
                    if take < words.len() {
                        self.too_long = true;
                        if take > 0 {
                            let sound = sound.map(|mut sound| {
                                sound.cut(sound.ms() * take as u64 / words.len() as u64);
                                sound
                            });
                            let text = words.get(..take).unwrap_or_default().join(" ");
                            kept.push_back(Planned::Say { text, sound });
                        }
                        break;
                    }
                    left -= take;
                    kept.push_back(Planned::Say { text, sound });
                }
                // Half a call is no call.
                call @ Planned::Call { .. } => kept.push_back(call),
            }
        }
        self.plan = kept;
    }

    /// Does what is due; the calls that were put out, and whether this was the end.
    pub(super) fn advance(
        &mut self,
        wire: &mut Wire,
        conversation: &mut Conversation,
        playback: &mut Playback,
        now: Time,
    ) -> (Vec<Called>, bool) {
        let mut called = Vec::new();
        while self.next <= now {
            if let Some(mut speaking) = self.speaking.take() {
                if self.speak(&mut speaking, wire, playback, now) {
                    self.close(speaking, true, wire, conversation);
                } else {
                    self.speaking = Some(speaking);
                }
            } else {
                match self.plan.pop_front() {
                    Some(Planned::Say { text, sound }) => {
                        self.open(text, sound, wire, conversation);
                        continue;
                    }
                    Some(Planned::Call { name, arguments }) => {
                        called.push(self.call(name, arguments, wire, conversation));
                    }
                    None => {
                        let end = if self.too_long {
                            End::TooLong
                        } else {
                            End::Completed
                        };
                        self.done(end, wire, playback);
                        return (called, true);
                    }
                }
            }
            // A driver that comes late goes on from there.
            let late = now - self.next > 10 * STEP_MS;
            self.next = if late { now } else { self.next } + STEP_MS;
        }
        (called, false)
    }

    /// Ends it here; every `.done` is told that was not yet.
    pub(super) fn cancel(
        mut self,
        reason: &'static str,
        wire: &mut Wire,
        conversation: &mut Conversation,
        playback: &mut Playback,
    ) {
        if let Some(speaking) = self.speaking.take() {
            self.close(speaking, false, wire, conversation);
        }
        self.done(End::Cancelled(reason), wire, playback);
    }

    fn open(
        &mut self,
        text: String,
        sound: Option<Sound>,
        wire: &mut Wire,
        conversation: &mut Conversation,
    ) {
        let words: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        let format = match wire.edge {
            Edge::Rtc => Format::Pcmu,
            Edge::Socket => self.shape.format,
        };
        let sound = match self.shape.modality {
            Modality::Text => None,
            Modality::Audio => Some(sound.unwrap_or_else(|| chime(words.len(), format.rate()))),
        };
        let item_id = wire.id("item");
        let item = Item {
            id: item_id.clone(),
            status: "in_progress",
            kind: Kind::Message {
                role: "assistant",
                content: Vec::new(),
            },
        };
        let previous = self.added(item, wire, conversation);
        wire.emit(
            "response.content_part.added",
            self.at(&item_id, json!({"part": self.part("")})),
        );
        self.speaking = Some(Speaking {
            item_id,
            previous,
            words,
            said: 0,
            bytes: sound
                .as_ref()
                .map(|sound| sound.encode(format))
                .unwrap_or_default(),
            bytes_per_ms: match format.rate() {
                Rate::Wide => 48,
                Rate::Narrow => 8,
            },
            sound,
            made_ms: 0,
        });
    }

    /// One step of a message; whether it is whole.
    fn speak(
        &mut self,
        speaking: &mut Speaking,
        wire: &mut Wire,
        playback: &mut Playback,
        now: Time,
    ) -> bool {
        let total_ms = speaking.sound.as_ref().map_or(0, Sound::ms);
        let words = speaking.words.len();
        let (to_word, to_ms) = if speaking.sound.is_some() {
            let to_ms = (speaking.made_ms + STEP_SOUND_MS).min(total_ms);
            // The words keep up with the sound.
            let share = (words as u64 * to_ms)
                .checked_div(total_ms)
                .and_then(|share| usize::try_from(share).ok())
                .unwrap_or(words);
            (share.min(words), to_ms)
        } else {
            ((speaking.said + STEP_WORDS).min(words), 0)
        };
        let delta = speaking
            .words
            .get(speaking.said..to_word)
            .unwrap_or_default()
            .concat();
        if !delta.is_empty() {
            let kind = match self.shape.modality {
                Modality::Audio => "response.output_audio_transcript.delta",
                Modality::Text => "response.output_text.delta",
            };
            wire.emit(kind, self.at(&speaking.item_id, json!({"delta": delta})));
        }
        self.words += (to_word - speaking.said) as u64;
        speaking.said = to_word;
        if speaking.sound.is_some() {
            let at = |ms: u64| usize::try_from(ms).unwrap_or(0) * speaking.bytes_per_ms;
            // The last step takes what is left of a millisecond.
            let end = if to_ms == total_ms {
                speaking.bytes.len()
            } else {
                at(to_ms).min(speaking.bytes.len())
            };
            let bytes = speaking
                .bytes
                .get(at(speaking.made_ms)..end)
                .unwrap_or_default();
            if !bytes.is_empty() {
                match wire.edge {
                    Edge::Rtc => playback.add(&self.id, &speaking.item_id, 0, bytes, now),
                    Edge::Socket => wire.emit(
                        "response.output_audio.delta",
                        self.at(&speaking.item_id, json!({"delta": STANDARD.encode(bytes)})),
                    ),
                }
            }
            self.sound_ms += to_ms - speaking.made_ms;
            speaking.made_ms = to_ms;
        }
        speaking.said == words && speaking.made_ms == total_ms
    }

    fn close(
        &mut self,
        speaking: Speaking,
        whole: bool,
        wire: &mut Wire,
        conversation: &mut Conversation,
    ) {
        let id = speaking.item_id;
        let text = speaking
            .words
            .get(..speaking.said)
            .unwrap_or_default()
            .concat();
        let content = match self.shape.modality {
            Modality::Audio => {
                wire.emit("response.output_audio.done", self.at(&id, json!({})));
                wire.emit(
                    "response.output_audio_transcript.done",
                    self.at(&id, json!({"transcript": text})),
                );
                Part::OutputAudio(Spoken {
                    transcript: Some(text.clone()),
                    sound: speaking.sound.map(|mut sound| {
                        if !whole {
                            sound.cut(speaking.made_ms);
                        }
                        sound
                    }),
                })
            }
            Modality::Text => {
                wire.emit(
                    "response.output_text.done",
                    self.at(&id, json!({"text": text})),
                );
                Part::OutputText(text.clone())
            }
        };
        wire.emit(
            "response.content_part.done",
            self.at(&id, json!({"part": self.part(&text)})),
        );
        let item = Item {
            id: id.clone(),
            status: if whole { "completed" } else { "incomplete" },
            kind: Kind::Message {
                role: "assistant",
                content: vec![content],
            },
        };
        self.closed(item, speaking.previous, wire, conversation);
    }

    fn call(
        &mut self,
        name: String,
        arguments: String,
        wire: &mut Wire,
        conversation: &mut Conversation,
    ) -> Called {
        let call_id = wire.id("call");
        let item = |id: &str, status, arguments: &str| Item {
            id: id.to_owned(),
            status,
            kind: Kind::Call {
                call_id: call_id.clone(),
                name: name.clone(),
                arguments: arguments.to_owned(),
            },
        };
        let id = wire.id("item");
        // Told twice as completed, the call would be run twice by the official client.
        let previous = self.added(item(&id, "in_progress", ""), wire, conversation);
        let at = |fields: Value| {
            let mut fields = fields;
            if let Value::Object(fields) = &mut fields {
                fields.insert("response_id".into(), json!(self.id));
                fields.insert("item_id".into(), json!(id));
                fields.insert("output_index".into(), json!(self.output.len()));
                fields.insert("call_id".into(), json!(call_id));
            }
            fields
        };
        wire.emit(
            "response.function_call_arguments.delta",
            at(json!({"delta": arguments})),
        );
        wire.emit(
            "response.function_call_arguments.done",
            at(json!({"name": name, "arguments": arguments})),
        );
        self.words += arguments.split_whitespace().count() as u64;
        self.closed(
            item(&id, "completed", &arguments),
            previous,
            wire,
            conversation,
        );
        Called {
            call_id,
            name,
            arguments,
        }
    }

    /// An output item begins.
    fn added(
        &self,
        item: Item,
        wire: &mut Wire,
        conversation: &mut Conversation,
    ) -> Option<String> {
        let value = item.to_value(None);
        wire.emit(
            "response.output_item.added",
            json!({"response_id": self.id, "output_index": self.output.len(), "item": value}),
        );
        if self.shape.out_of_band {
            return None;
        }
        // Its id is new, so it has its place.
        let previous = conversation.insert(item, &Place::End).ok().flatten();
        wire.emit(
            "conversation.item.added",
            json!({"previous_item_id": previous, "item": value}),
        );
        previous
    }

    /// An output item ends.
    fn closed(
        &mut self,
        item: Item,
        previous: Option<String>,
        wire: &mut Wire,
        conversation: &mut Conversation,
    ) {
        let value = item.to_value(None);
        if !self.shape.out_of_band {
            wire.emit(
                "conversation.item.done",
                json!({"previous_item_id": previous, "item": value}),
            );
            let id = item.id.clone();
            conversation.change(&id, |known| *known = item);
        }
        wire.emit(
            "response.output_item.done",
            json!({"response_id": self.id, "output_index": self.output.len(), "item": value}),
        );
        self.output.push(value);
    }

    fn done(&mut self, end: End, wire: &mut Wire, playback: &mut Playback) {
        let (status, reason) = match end {
            End::Completed => ("completed", None),
            End::TooLong => ("incomplete", Some("max_output_tokens")),
            End::Cancelled(reason) => ("cancelled", Some(reason)),
        };
        let details = reason.map_or(
            Value::Null,
            |reason| json!({"type": status, "reason": reason}),
        );
        wire.emit(
            "response.done",
            json!({"response": self.to_value(status, details, self.usage())}),
        );
        playback.finish(&self.id);
    }

    fn at(&self, item_id: &str, mut fields: Value) -> Value {
        if let Value::Object(fields) = &mut fields {
            fields.insert("response_id".into(), json!(self.id));
            fields.insert("item_id".into(), json!(item_id));
            fields.insert("output_index".into(), json!(self.output.len()));
            fields.insert("content_index".into(), json!(0));
        }
        fields
    }

    fn part(&self, text: &str) -> Value {
        match self.shape.modality {
            Modality::Audio => json!({"type": "audio", "transcript": text}),
            Modality::Text => json!({"type": "text", "text": text}),
        }
    }

    fn usage(&self) -> Value {
        let (text, sound_ms) = self.shape.input;
        // As the real service counts sound: a token each 100 ms heard, each 50 ms made.
        let (heard, made) = (sound_ms.div_ceil(100), self.sound_ms.div_ceil(50));
        json!({
            "total_tokens": text + heard + self.words + made,
            "input_tokens": text + heard,
            "output_tokens": self.words + made,
            "input_token_details": {
                "text_tokens": text,
                "audio_tokens": heard,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": self.words, "audio_tokens": made},
        })
    }

    fn to_value(&self, status: &str, details: Value, usage: Value) -> Value {
        json!({
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": self.output,
            "conversation_id": (!self.shape.out_of_band).then_some(&self.conversation_id),
            "output_modalities": [self.shape.modality.as_str()],
            "max_output_tokens": match self.shape.max_output_tokens {
                Some(tokens) => json!(tokens),
                None => json!("inf"),
            },
            "audio": {"output": {"format": self.shape.format.to_value(), "voice": self.shape.voice}},
            "usage": usage,
            "metadata": self.shape.metadata,
        })
    }
}
