//! `session.start`: what a session is asked to be.

use super::super::format::Format;
use super::{Code, Told};
use serde_json::{Map, Value, json};

/// A session that is to begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// What is asked for, merged under the restaurant's policy.
    pub session: Value,
    /// The relay's own peer says back what it hears, whoever answers otherwise.
    pub loopback: bool,
    pub(super) format: Format,
}

impl Start {
    pub(super) fn read(event: &Map<String, Value>, restaurant_id: &str) -> Result<Self, Told> {
        let wrong = |key: &str, what: String| {
            let details = json!({"field": format!("session_config.{key}")});
            Told::new(Code::Unknown, what).with(details)
        };
        let none = Map::new();
        let config = match event.get("session_config") {
            None | Some(Value::Null) => &none,
            Some(Value::Object(config)) => config,
            Some(_) => return Err(wrong("", "session_config is an object.".into())),
        };
        let given = |key: &str| config.get(key).filter(|value| !value.is_null());
        if given("restaurant_id").is_some_and(|asked| asked != restaurant_id) {
            let what = format!(
                "This connection is {restaurant_id}'s; authenticate another one for another restaurant."
            );
            return Err(wrong("restaurant_id", what));
        }
        let format = match given("audio_format") {
            None => Format::Pcm,
            Some(Value::String(name)) if name == "pcm16" => Format::Pcm,
            Some(Value::String(name)) if name == "g711_ulaw" => Format::Pcmu,
            Some(Value::String(name)) if name == "g711_alaw" => Format::Pcma,
            Some(_) => return Err(not_taken("audio_format")),
        };
        let rate = if format == Format::Pcm { 24_000 } else { 8_000 };
        if given("sample_rate").is_some_and(|asked| asked.as_f64() != Some(f64::from(rate))) {
            return Err(not_taken("sample_rate"));
        }
        let loopback = match given("loopback") {
            None => false,
            Some(Value::Bool(loopback)) => *loopback,
            Some(_) => return Err(wrong("loopback", "loopback is true or false.".into())),
        };
        let format_object = format.to_value();
        let mut session = json!({
            "type": "realtime",
            "audio": {
                "input": {
                    "format": format_object,
                    // Or there would be nothing to tell of what was said.
                    "transcription": {"model": "gpt-4o-mini-transcribe"},
                },
                "output": {"format": format_object},
            },
        });
        if loopback {
            session["audio"]["input"]["turn_detection"] = json!({
                "type": "server_vad",
                "create_response": false,
                "interrupt_response": false,
            });
        }
        Ok(Self {
            session,
            loopback,
            format,
        })
    }
}

fn not_taken(field: &str) -> Told {
    let what = "Taken are pcm16 at 24000 samples a second, and g711_ulaw and g711_alaw at 8000."
        .to_owned();
    let details = json!({
        "field": format!("session_config.{field}"),
        "taken": [
            {"audio_format": "pcm16", "sample_rate": 24_000},
            {"audio_format": "g711_ulaw", "sample_rate": 8_000},
            {"audio_format": "g711_alaw", "sample_rate": 8_000},
        ],
    });
    Told::new(Code::Format, what).with(details)
}
