//! The items of a conversation and their order.

use super::audio::Sound;
use super::error::ApiError;
use super::format::Format;
use super::settings::{object, string};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::VecDeque;
use tautline_protocol::limits;

/// The longest id of an item.
const ID_BYTES: usize = 64;

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) status: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Message {
        role: &'static str,
        content: Vec<Part>,
    },
    Call {
        call_id: String,
        name: String,
        arguments: String,
    },
    CallOutput {
        call_id: String,
        output: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    InputText(String),
    InputAudio(Spoken),
    /// As it came: an image is passed on, not looked at.
    InputImage(Value),
    OutputText(String),
    OutputAudio(Spoken),
}

/// Sound and what it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spoken {
    pub(super) transcript: Option<String>,
    /// `None` once it is forgotten.
    pub(super) sound: Option<Sound>,
}

impl Item {
    pub(super) fn message(id: String, role: &'static str, content: Vec<Part>) -> Self {
        Self {
            id,
            status: "completed",
            kind: Kind::Message { role, content },
        }
    }

    /// The item as events show it; with its sound when it was asked for.
    pub(super) fn to_value(&self, sound: Option<Format>) -> Value {
        let mut value = match &self.kind {
            Kind::Message { role, content } => {
                let content: Vec<Value> = content.iter().map(|part| part.to_value(sound)).collect();
                json!({"type": "message", "role": role, "content": content})
            }
            Kind::Call {
                call_id,
                name,
                arguments,
            } => {
                json!({"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments})
            }
            Kind::CallOutput { call_id, output } => {
                json!({"type": "function_call_output", "call_id": call_id, "output": output})
            }
        };
        if let Value::Object(value) = &mut value {
            value.insert("id".into(), json!(self.id));
            value.insert("object".into(), json!("realtime.item"));
            value.insert("status".into(), json!(self.status));
        }
        value
    }

    /// Reads an item that a client made; `fresh` names it if it has no name.
    pub(super) fn read(
        at: &str,
        value: &Value,
        format: Format,
        fresh: impl FnOnce() -> String,
    ) -> Result<Self, ApiError> {
        let item = object(at, value)?;
        let text = |key: &str| -> Result<String, ApiError> {
            let here = format!("{at}.{key}");
            match item.get(key) {
                None | Some(Value::Null) => Err(ApiError::missing(here)),
                Some(value) => Ok(string(&here, value, limits::VOICE_ITEM_BYTES)?.to_owned()),
            }
        };
        let id = match item.get("id") {
            None | Some(Value::Null) => fresh(),
            Some(_) => text("id")?,
        };
        if id.is_empty() || id.len() > ID_BYTES || id == "root" {
            return Err(ApiError::value(
                format!("{at}.id"),
                format!("{at}.id has 1 to {ID_BYTES} bytes and is not \"root\"."),
            ));
        }
        let kind = match text("type")?.as_str() {
            "message" => {
                let role = match text("role")?.as_str() {
                    "system" => "system",
                    "user" => "user",
                    "assistant" => "assistant",
                    _ => {
                        return Err(ApiError::value(
                            format!("{at}.role"),
                            format!("{at}.role is \"system\", \"user\" or \"assistant\"."),
                        ));
                    }
                };
                Kind::Message {
                    role,
                    content: content(at, role, item.get("content"), format)?,
                }
            }
            "function_call" => Kind::Call {
                call_id: text("call_id")?,
                name: text("name")?,
                arguments: text("arguments")?,
            },
            "function_call_output" => Kind::CallOutput {
                call_id: text("call_id")?,
                output: text("output")?,
            },
            _ => {
                return Err(ApiError::value(
                    format!("{at}.type"),
                    format!(
                        "{at}.type is \"message\", \"function_call\" or \"function_call_output\"."
                    ),
                ));
            }
        };
        let item = Self {
            id,
            status: "completed",
            kind,
        };
        if item.size() > limits::VOICE_ITEM_BYTES {
            return Err(ApiError::invalid(
                "item_too_large",
                format!(
                    "An item has at most {} bytes besides its sound.",
                    limits::VOICE_ITEM_BYTES
                ),
            )
            .at(at));
        }
        Ok(item)
    }

    /// Bytes as JSON, without sound.
    fn size(&self) -> usize {
        self.to_value(None).to_string().len()
    }

    /// The texts a person wrote.
    pub(super) fn text(&self) -> Option<String> {
        let Kind::Message { content, .. } = &self.kind else {
            return None;
        };
        let texts: Vec<&str> = content
            .iter()
            .filter_map(|part| match part {
                Part::InputText(text) | Part::OutputText(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        (!texts.is_empty()).then(|| texts.join(" "))
    }

    /// The sound a person made.
    pub(super) fn heard(&self) -> Option<&Sound> {
        self.spoken().find_map(|spoken| spoken.sound.as_ref())
    }

    fn spoken(&self) -> impl Iterator<Item = &Spoken> {
        let content: &[Part] = match &self.kind {
            Kind::Message { content, .. } => content,
            _ => &[],
        };
        content.iter().filter_map(|part| match part {
            Part::InputAudio(spoken) | Part::OutputAudio(spoken) => Some(spoken),
            _ => None,
        })
    }

    fn spoken_mut(&mut self) -> impl Iterator<Item = &mut Spoken> {
        let content: &mut [Part] = match &mut self.kind {
            Kind::Message { content, .. } => content,
            _ => &mut [],
        };
        content.iter_mut().filter_map(|part| match part {
            Part::InputAudio(spoken) | Part::OutputAudio(spoken) => Some(spoken),
            _ => None,
        })
    }

    fn sound_bytes(&self) -> usize {
        self.spoken()
            .filter_map(|spoken| spoken.sound.as_ref())
            .map(Sound::bytes)
            .sum()
    }
}

impl Part {
    fn to_value(&self, sound: Option<Format>) -> Value {
        // A transcript that is not there is null and never missing: clients fail on a missing one.
        let spoken = |kind: &str, spoken: &Spoken| {
            let mut part = json!({"type": kind, "transcript": spoken.transcript});
            if let (Some(format), Some(sound), Value::Object(part)) =
                (sound, &spoken.sound, &mut part)
            {
                part.insert("audio".into(), json!(STANDARD.encode(sound.encode(format))));
            }
            part
        };
        match self {
            Self::InputText(text) => json!({"type": "input_text", "text": text}),
            Self::InputAudio(audio) => spoken("input_audio", audio),
            Self::InputImage(image) => image.clone(),
            Self::OutputText(text) => json!({"type": "output_text", "text": text}),
            Self::OutputAudio(audio) => spoken("output_audio", audio),
        }
    }
}

fn content(
    at: &str,
    role: &str,
    value: Option<&Value>,
    format: Format,
) -> Result<Vec<Part>, ApiError> {
    let at = format!("{at}.content");
    let list = value
        .and_then(Value::as_array)
        .ok_or_else(|| ApiError::value(&at, format!("{at} is a list of parts.")))?;
    list.iter()
        .enumerate()
        .map(|(n, part)| {
            let at = format!("{at}[{n}]");
            let kind = object(&at, part)?.get("type").and_then(Value::as_str);
            let text = || -> Result<String, ApiError> {
                let here = format!("{at}.text");
                let text = part.get("text").unwrap_or(&Value::Null);
                Ok(string(&here, text, limits::VOICE_ITEM_BYTES)?.to_owned())
            };
            match (role, kind) {
                ("system" | "user", Some("input_text")) => Ok(Part::InputText(text()?)),
                ("user", Some("input_image")) => Ok(Part::InputImage(part.clone())),
                ("user", Some("input_audio")) => {
                    let here = format!("{at}.audio");
                    let sound = decode(&here, part.get("audio").unwrap_or(&Value::Null), format)?;
                    Ok(Part::InputAudio(Spoken {
                        transcript: part
                            .get("transcript")
                            .and_then(Value::as_str)
                            .map(str::to_owned),
                        sound: Some(sound),
                    }))
                }
                ("assistant", Some("output_text" | "text")) => Ok(Part::OutputText(text()?)),
                ("assistant", Some("output_audio" | "audio")) => Err(ApiError::value(
                    &at,
                    "What the assistant said cannot be made by a client; send its words as output_text.",
                )),
                _ => Err(ApiError::value(
                    format!("{at}.type"),
                    format!("{at}.type is not a part that a {role} message has."),
                )),
            }
        })
        .collect()
}

/// Sound from base64.
pub(super) fn decode(at: &str, value: &Value, format: Format) -> Result<Sound, ApiError> {
    let text = value
        .as_str()
        .ok_or_else(|| ApiError::value(at, format!("{at} is base64.")))?;
    if text.len() / 4 * 3 > limits::VOICE_APPEND_BYTES {
        return Err(ApiError::value(
            at,
            format!("{at} has at most {} bytes.", limits::VOICE_APPEND_BYTES),
        ));
    }
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| ApiError::invalid("invalid_value", format!("{at} is not base64.")).at(at))?;
    Sound::decode(format, &bytes)
        .ok_or_else(|| ApiError::value(at, format!("{at} ends within a sample.")))
}

/// Where a new item goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// After the last.
    End,
    /// Before the first.
    Root,
    /// After that one.
    After(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    items: VecDeque<Item>,
    /// The item that was last in the order when the oldest ones were forgotten, should nothing be left.
    last: Option<String>,
    sound_bytes: usize,
    text_bytes: usize,
}

impl Conversation {
    /// Puts an item in its place and gives the id of the one before it.
    pub(super) fn insert(&mut self, item: Item, place: &Place) -> Result<Option<String>, ApiError> {
        if self.get(&item.id).is_some() {
            return Err(ApiError::invalid(
                "item_create_duplicate_item_id",
                "There is an item of that id already; choose another, or none.",
            )
            .at("item.id"));
        }
        let at = match place {
            Place::End => self.items.len(),
            Place::Root => 0,
            Place::After(id) => {
                1 + self.position(id).ok_or_else(|| {
                    ApiError::invalid(
                        "item_create_invalid_previous_item_id",
                        "There is no item of that id; leave previous_item_id out to append.",
                    )
                    .at("previous_item_id")
                })?
            }
        };
        let previous = match at.checked_sub(1) {
            Some(before) => self.items.get(before).map(|item| item.id.clone()),
            None if *place == Place::End => self.last.clone(),
            None => None,
        };
        self.sound_bytes += item.sound_bytes();
        self.text_bytes += item.size();
        if at == self.items.len() {
            self.last = Some(item.id.clone());
        }
        self.items.insert(at, item);
        self.forget();
        Ok(previous)
    }

    /// The item before the end.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// The item of that id.
    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.id == id)
    }

    /// All items, in order.
    pub(super) fn items(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.items.iter()
    }

    /// Takes an item out; `false` when there is none.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(item) = self.position(id).and_then(|at| self.items.remove(at)) else {
            return false;
        };
        self.sound_bytes = self.sound_bytes.saturating_sub(item.sound_bytes());
        self.text_bytes = self.text_bytes.saturating_sub(item.size());
        self.last = self.items.back().map(|item| item.id.clone());
        true
    }

    /// Changes an item in its place.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Item)) {
        let Some(item) = self.position(id).and_then(|at| self.items.get_mut(at)) else {
            return;
        };
        let (sound, text) = (item.sound_bytes(), item.size());
        change(item);
        let (sound_now, text_now) = (item.sound_bytes(), item.size());
        self.sound_bytes = self.sound_bytes.saturating_sub(sound) + sound_now;
        self.text_bytes = self.text_bytes.saturating_sub(text) + text_now;
        self.forget();
    }

    /// Whether there is a call of that id, and whether it has its output.
    pub(super) fn call(&self, wanted: &str) -> Option<bool> {
        let called = self
            .items
            .iter()
            .any(|item| matches!(&item.kind, Kind::Call { call_id, .. } if call_id == wanted));
        let answered = self.items.iter().any(
            |item| matches!(&item.kind, Kind::CallOutput { call_id, .. } if call_id == wanted),
        );
        called.then_some(answered)
    }

    /// Leaves of an assistant's sound what was heard of it. Its words go altogether: nobody knows where in them that
    /// was.
    pub(super) fn truncate(&mut self, id: &str, ms: u64) {
        self.change(id, |item| {
            for spoken in item.spoken_mut() {
                spoken.transcript = None;
                if let Some(sound) = &mut spoken.sound {
                    sound.cut(ms);
                }
            }
        });
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.items.iter().position(|item| item.id == id)
    }

    /// Keeps to the bounds: the oldest sound goes first, then the oldest items.
    fn forget(&mut self) {
        let mut at = 0;
        while self.sound_bytes > limits::VOICE_KEPT_BYTES
            && let Some(item) = self.items.get_mut(at)
        {
            self.sound_bytes = self.sound_bytes.saturating_sub(item.sound_bytes());
            for spoken in item.spoken_mut() {
                spoken.sound = None;
            }
            at += 1;
        }
        while self.items.len() > limits::VOICE_ITEMS
            || (self.text_bytes > limits::VOICE_KEPT_BYTES && self.items.len() > 1)
        {
            if let Some(item) = self.items.pop_front() {
                self.sound_bytes = self.sound_bytes.saturating_sub(item.sound_bytes());
                self.text_bytes = self.text_bytes.saturating_sub(item.size());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::voice::audio::chime;

    fn text(id: &str) -> Item {
        Item::message(id.into(), "user", vec![Part::InputText("x".into())])
    }

    #[test]
    fn items_are_where_they_were_put() {
        let mut it = Conversation::default();
        assert_eq!(it.insert(text("b"), &Place::End).unwrap(), None);
        assert_eq!(
            it.insert(text("c"), &Place::End).unwrap().as_deref(),
            Some("b")
        );
        assert_eq!(it.insert(text("a"), &Place::Root).unwrap(), None);
        let after = Place::After("a".into());
        assert_eq!(it.insert(text("ab"), &after).unwrap().as_deref(), Some("a"));
        let ids: Vec<&str> = it.items().map(|item| item.id.as_str()).collect();
        assert_eq!(ids, ["a", "ab", "b", "c"]);
        assert_eq!(it.last_id(), Some("c"));
        assert!(it.remove("c") && !it.remove("c"));
        assert_eq!(
            it.insert(text("d"), &Place::End).unwrap().as_deref(),
            Some("b")
        );
        assert_eq!(
            it.insert(text("d"), &Place::End).unwrap_err().code,
            "item_create_duplicate_item_id"
        );
        assert_eq!(
            it.insert(text("e"), &Place::After("x".into()))
                .unwrap_err()
                .code,
            "item_create_invalid_previous_item_id"
        );
    }

    #[test]
    fn a_long_conversation_forgets_and_its_chain_goes_on() {
        let mut it = Conversation::default();
        let mut last = None;
        for n in 0..limits::VOICE_ITEMS + 50 {
            let id = format!("i{n}");
            assert_eq!(it.insert(text(&id), &Place::End).unwrap(), last);
            last = Some(id);
        }
        assert_eq!(it.items().count(), limits::VOICE_ITEMS);
        assert!(it.get("i0").is_none());
    }

    #[test]
    fn old_sound_is_forgotten_and_its_item_stays() {
        let mut it = Conversation::default();
        let mut sound = chime(1, Format::Pcm.rate());
        sound.samples.resize(limits::VOICE_KEPT_BYTES / 4, 1);
        for id in ["a", "b", "c"] {
            let spoken = Spoken {
                transcript: None,
                sound: Some(sound.clone()),
            };
            let item = Item::message(id.into(), "user", vec![Part::InputAudio(spoken)]);
            it.insert(item, &Place::End).unwrap();
        }
        assert!(it.get("a").unwrap().heard().is_none());
        assert!(it.get("c").unwrap().heard().is_some());
        assert!(it.sound_bytes <= limits::VOICE_KEPT_BYTES);
    }
}
