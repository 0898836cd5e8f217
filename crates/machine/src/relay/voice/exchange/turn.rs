//! What of a conversation is under way, and goes with the connection.

use serde_json::{Map, Value, json};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Responses that have begun, as they were told.
    responses: Vec<Value>,
    /// One was asked for, or follows a turn that ended, and has not begun.
    is_owed: bool,
    /// Somebody speaks.
    is_spoken: bool,
    /// Sound was sent that is no item yet.
    is_sent: bool,
}

/// How turns end in that session; `None`: the client ends them.
pub(super) fn detection(session: Option<&Map<String, Value>>) -> Option<&Value> {
    session?
        .get("audio")?
        .get("input")?
        .get("turn_detection")
        .filter(|detection| !detection.is_null())
}

fn id(value: &Value) -> Option<&Value> {
    value.get("id")
}

impl Turn {
    /// The upstream was sent that.
    pub(super) fn sent(&mut self, kind: &str) {
        match kind {
            "response.create" => self.is_owed = true,
            "input_audio_buffer.append" => self.is_sent = true,
            "input_audio_buffer.clear" => self.is_sent = false,
            _ => {}
        }
    }

    /// The upstream said that.
    pub(super) fn heard(
        &mut self,
        kind: &str,
        event: &Value,
        session: Option<&Map<String, Value>>,
    ) {
        let response = event.get("response");
        match kind {
            "response.created" => {
                self.is_owed = false;
                self.responses.extend(response.cloned());
            }
            "response.done" => {
                let done = response.and_then(id);
                self.responses.retain(|response| id(response) != done);
            }
            "input_audio_buffer.speech_started" => self.is_spoken = true,
            "input_audio_buffer.committed" => {
                self.is_spoken = false;
                self.is_sent = false;
                self.is_owed |= detection(session).is_some_and(|detection| {
                    detection.get("create_response") != Some(&json!(false))
                });
            }
            "input_audio_buffer.cleared" => {
                self.is_spoken = false;
                self.is_sent = false;
            }
            "error" => self.is_owed = false,
            _ => {}
        }
    }

    /// It is all gone: the responses that will not end any more, if anything was under way.
    pub(super) fn lost(&mut self, session: Option<&Map<String, Value>>) -> Option<Vec<Value>> {
        let lost = std::mem::take(self);
        // Where the upstream finds the turns, sound in which nobody spoke is none.
        let spoken = lost.is_spoken || (lost.is_sent && detection(session).is_none());
        (spoken || lost.is_owed || !lost.responses.is_empty()).then_some(lost.responses)
    }
}

/// Makes a response one that has failed.
pub(super) fn fail(response: &mut Value) {
    let Value::Object(response) = response else {
        return;
    };
    let none = json!({"text_tokens": 0, "audio_tokens": 0});
    for (key, value) in [
        ("status", json!("failed")),
        (
            "status_details",
            json!({"type": "failed", "error": {"type": "server_error", "code": "upstream_turn_lost"}}),
        ),
        ("output", json!([])),
        (
            "usage",
            json!({
                "total_tokens": 0, "input_tokens": 0, "output_tokens": 0,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 0,
                    "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}},
                "output_token_details": none,
            }),
        ),
    ] {
        response.insert(key.into(), value);
    }
}
