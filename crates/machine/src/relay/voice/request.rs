//! What a client asks for: its events, read and checked for their shape.

use super::conversation::Place;
use super::error::ApiError;
use super::field;
use super::response::Shape;
use super::settings::{Modality, Settings};
use serde_json::{Map, Value, json};
use tautline_protocol::limits;

/// The longest id that is echoed.
const EVENT_ID: usize = 512;
/// Pairs of `metadata`, and the bytes of a key and a value.
const METADATA: (usize, usize, usize) = (16, 64, 512);
/// Items of `response.input`.
const INPUT_ITEMS: usize = 100;

/// One event. What it carries is checked where it is used.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Update(Value),
    Append(Value),
    Commit,
    Clear,
    ClearOutput,
    Create {
        item: Value,
        place: Place,
    },
    Retrieve(String),
    Truncate {
        item_id: String,
        content_index: usize,
        audio_end_ms: u64,
    },
    Delete(String),
    Respond(Value),
    Cancel(Option<String>),
}

type EventId = Option<String>;

impl Request {
    /// Reads an event; the id comes with the error, so that it can be echoed.
    pub(super) fn read(text: &str) -> Result<(EventId, Self), (EventId, ApiError)> {
        let invalid = |message: &str| ApiError::invalid("invalid_event", message);
        let Ok(Value::Object(mut event)) = serde_json::from_str(text) else {
            return Err((None, invalid("An event is one JSON object.")));
        };
        let event_id = match event.get("event_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if id.len() <= EVENT_ID => Some(id.clone()),
            Some(_) => {
                let error = ApiError::value(
                    "event_id",
                    format!("event_id is a string of at most {EVENT_ID} bytes."),
                );
                return Err((None, error));
            }
        };
        let Some(Value::String(kind)) = event.remove("type") else {
            return Err((
                event_id,
                invalid("An event has a type, a string.").at("type"),
            ));
        };
        match Self::of(&kind, &mut event) {
            Ok(request) => Ok((event_id, request)),
            Err(error) => Err((event_id, error)),
        }
    }

    fn of(kind: &str, event: &mut Map<String, Value>) -> Result<Self, ApiError> {
        Ok(match kind {
            "session.update" => Self::Update(taken(event, "session")?),
            "input_audio_buffer.append" => Self::Append(taken(event, "audio")?),
            "input_audio_buffer.commit" => Self::Commit,
            "input_audio_buffer.clear" => Self::Clear,
            "output_audio_buffer.clear" => Self::ClearOutput,
            "conversation.item.create" => Self::Create {
                place: match event.get("previous_item_id") {
                    None | Some(Value::Null) => Place::End,
                    Some(_) => match id(event, "previous_item_id")? {
                        root if root == "root" => Place::Root,
                        id => Place::After(id),
                    },
                },
                item: taken(event, "item")?,
            },
            "conversation.item.retrieve" => Self::Retrieve(id(event, "item_id")?),
            "conversation.item.delete" => Self::Delete(id(event, "item_id")?),
            "conversation.item.truncate" => Self::Truncate {
                item_id: id(event, "item_id")?,
                content_index: match event.get("content_index") {
                    None | Some(Value::Null) => 0,
                    Some(_) => {
                        usize::try_from(whole(event, "content_index")?).unwrap_or(usize::MAX)
                    }
                },
                audio_end_ms: whole(event, "audio_end_ms")?,
            },
            "response.create" => Self::Respond(event.remove("response").unwrap_or(Value::Null)),
            "response.cancel" => Self::Cancel(match event.get("response_id") {
                None | Some(Value::Null) => None,
                Some(_) => Some(id(event, "response_id")?),
            }),
            _ => {
                return Err(ApiError::invalid(
                    "invalid_event",
                    "There is no client event of that type.",
                )
                .at("type"));
            }
        })
    }
}

fn taken(event: &mut Map<String, Value>, key: &str) -> Result<Value, ApiError> {
    event
        .remove(key)
        .filter(|value| !value.is_null())
        .ok_or_else(|| ApiError::missing(key))
}

fn id(event: &mut Map<String, Value>, key: &str) -> Result<String, ApiError> {
    match taken(event, key)? {
        Value::String(id) => Ok(id),
        _ => Err(ApiError::value(key, format!("{key} is a string."))),
    }
}

/// A whole number; a fraction of a millisecond is refused as the real service does.
fn whole(event: &mut Map<String, Value>, key: &str) -> Result<u64, ApiError> {
    taken(event, key)?
        .as_u64()
        .ok_or_else(|| ApiError::value(key, format!("{key} is a whole number, 0 or more.")))
}

/// What `response.create` asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) shape: Shape,
    /// Instead of the conversation.
    pub(super) input: Option<Vec<Value>>,
    pub(super) tools: Option<Vec<Value>>,
    pub(super) tool_choice: Option<Value>,
}

impl Shape {
    /// As the session has it.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            out_of_band: false,
            modality: settings.modality,
            format: settings.output_format,
            voice: settings.voice.clone(),
            max_output_tokens: settings.max_output_tokens,
            metadata: Value::Null,
            input: (0, 0),
        }
    }
}

/// Reads the options of a response over the session's settings.
pub(super) fn response_shape(options: &Value, settings: &Settings) -> Result<Asked, ApiError> {
    let mut asked = Asked {
        shape: Shape::of(settings),
        input: None,
        tools: None,
        tool_choice: None,
    };
    if options.is_null() {
        return Ok(asked);
    }
    for (key, value) in field::object("response", options)? {
        if value.is_null() {
            continue;
        }
        let at = format!("response.{key}");
        match key.as_str() {
            "conversation" => {
                asked.shape.out_of_band = match value.as_str() {
                    Some("auto") => false,
                    Some("none") => true,
                    _ => {
                        return Err(ApiError::value(
                            &at,
                            format!("{at} is \"auto\" or \"none\"."),
                        ));
                    }
                };
            }
            "output_modalities" => asked.shape.modality = Modality::parse(&at, value)?,
            "max_output_tokens" => {
                asked.shape.max_output_tokens = field::max_output_tokens(&at, value)?;
            }
            "metadata" => asked.shape.metadata = metadata(&at, value)?,
            "instructions" => {
                field::string(&at, value, limits::VOICE_ITEM_BYTES)?;
            }
            "tools" if settings.policy().tools.is_none() => {
                let mcp = settings.policy().allows(super::policy::Allow::Mcp);
                asked.tools = Some(field::tools(&at, value, mcp)?);
            }
            "tool_choice" => asked.tool_choice = Some(field::tool_choice(&at, value)?),
            "input" => {
                let list = value
                    .as_array()
                    .filter(|list| list.len() <= INPUT_ITEMS)
                    .ok_or_else(|| {
                        ApiError::value(
                            &at,
                            format!("{at} is a list of at most {INPUT_ITEMS} items."),
                        )
                    })?;
                asked.input = Some(list.clone());
            }
            "audio" => {
                let output = value.get("output").unwrap_or(&Value::Null);
                if let Some(format) = output.get("format").filter(|format| !format.is_null()) {
                    asked.shape.format = field::format(&format!("{at}.output.format"), format)?;
                }
                if let Some(voice) = output.get("voice").filter(|voice| !voice.is_null()) {
                    asked.shape.voice = field::voice(&format!("{at}.output.voice"), voice)?;
                }
            }
            _ => {}
        }
    }
    Ok(asked)
}

fn metadata(at: &str, value: &Value) -> Result<Value, ApiError> {
    let (pairs, key_bytes, value_bytes) = METADATA;
    let fits = field::object(at, value)?.iter().all(|(key, value)| {
        key.len() <= key_bytes && value.as_str().is_some_and(|text| text.len() <= value_bytes)
    });
    if !fits || value.as_object().is_some_and(|map| map.len() > pairs) {
        return Err(ApiError::value(
            at,
            format!(
                "{at} has at most {pairs} strings, keys of {key_bytes} and values of {value_bytes} bytes."
            ),
        ));
    }
    Ok(json!(value))
}
