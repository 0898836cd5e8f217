//! One item of a conversation: what a client may make of it, and what events show of it.

use super::audio::Sound;
use super::error::ApiError;
use super::field::{object, string};
use super::format::Format;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
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
    pub(super) fn size(&self) -> usize {
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

    pub(super) fn spoken(&self) -> impl Iterator<Item = &Spoken> {
        let content: &[Part] = match &self.kind {
            Kind::Message { content, .. } => content,
            _ => &[],
        };
        content.iter().filter_map(|part| match part {
            Part::InputAudio(spoken) | Part::OutputAudio(spoken) => Some(spoken),
            _ => None,
        })
    }

    pub(super) fn spoken_mut(&mut self) -> impl Iterator<Item = &mut Spoken> {
        let content: &mut [Part] = match &mut self.kind {
            Kind::Message { content, .. } => content,
            _ => &mut [],
        };
        content.iter_mut().filter_map(|part| match part {
            Part::InputAudio(spoken) | Part::OutputAudio(spoken) => Some(spoken),
            _ => None,
        })
    }

    pub(super) fn sound_bytes(&self) -> usize {
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
