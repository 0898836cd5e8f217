//! The Realtime API's server events, told to a voice socket's client in the events of its own.

use super::super::cart;
use super::super::menu::{ADD_TO_ORDER, Menu, SUBMIT_ORDER};
use super::{Code, Told};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tautline_protocol::limits;

/// Items whose transcript is under way; far more than one session has at once.
const PARTIALS: usize = 16;

/// What is done about an event.
pub(super) enum Answer {
    /// Tell the client.
    Event(&'static str, Value),
    /// Tell it an error.
    Error(Told),
    /// Hand the session a client event.
    Pass(Value),
}

/// What is kept between two events.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What was transcribed so far, by item.
    partial: BTreeMap<String, String>,
    /// The conversation's response under way.
    responding: Option<String>,
    /// A call was answered, and the answer to that is to be asked for.
    is_owed: bool,
    /// Why it is about to end, by whoever answers: its code and its words.
    last_words: Option<(String, String)>,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Said {
    /// What whoever answers said of the end.
    pub(super) fn last_words(&self) -> Option<(&str, &str)> {
        let (code, message) = self.last_words.as_ref()?;
        Some((code, message))
    }

    /// Takes an event.
    pub(super) fn hear(&mut self, event: &Value, menu: &Menu, answers: &mut Vec<Answer>) {
        match text(event, "type") {
            "conversation.item.input_audio_transcription.delta" => {
                self.delta(text(event, "item_id"), text(event, "delta"), answers);
            }
            "conversation.item.input_audio_transcription.segment" => {
                answers.push(transcript(text(event, "text"), false, None));
            }
            "conversation.item.input_audio_transcription.completed" => {
                self.partial.remove(text(event, "item_id"));
                let said = text(event, "transcript");
                answers.push(transcript(said, true, confidence(event)));
            }
            "conversation.item.input_audio_transcription.failed" => {
                self.partial.remove(text(event, "item_id"));
                let error = event.get("error").unwrap_or(&Value::Null);
                let told = Told::new(Code::Transcript, "What was said could not be transcribed.");
                answers.push(Answer::Error(told.with(details(error))));
            }
            "response.output_audio.delta" => {
                let audio = text(event, "delta");
                answers.push(Answer::Event("audio", json!({"audio": audio})));
            }
            "response.created" => {
                let response = event.get("response").unwrap_or(&Value::Null);
                if response
                    .get("conversation_id")
                    .is_none_or(|conversation| !conversation.is_null())
                {
                    self.responding = Some(text(response, "id").to_owned());
                }
            }
            "response.done" => {
                let response = event.get("response").unwrap_or(&Value::Null);
                if self.responding.as_deref() == Some(text(response, "id")) {
                    self.responding = None;
                }
                self.ask(answers);
            }
            "response.output_item.done" => {
                let item = event.get("item").unwrap_or(&Value::Null);
                if text(item, "type") == "function_call"
                    && matches!(text(item, "status"), "completed" | "")
                {
                    self.called(item, menu, answers);
                }
            }
            "conversation.item.added" => {
                let item = event.get("item").unwrap_or(&Value::Null);
                if text(item, "type") == "function_call_output" {
                    refused(text(item, "output"), answers);
                }
            }
            "error" => self.error(event.get("error").unwrap_or(&Value::Null), answers),
            _ => {}
        }
    }

    fn delta(&mut self, item_id: &str, delta: &str, answers: &mut Vec<Answer>) {
        let partial = self.partial.entry(item_id.to_owned()).or_default();
        if partial.len() + delta.len() <= limits::VOICE_ITEM_BYTES {
            partial.push_str(delta);
        }
        answers.push(transcript(partial, false, None));
        // Of items that never end, the oldest go.
        while self.partial.len() > PARTIALS {
            self.partial.pop_first();
        }
    }

    /// A function call: those of the order are told, and one that is nobody else's to answer is answered here.
    fn called(&mut self, item: &Value, menu: &Menu, answers: &mut Vec<Answer>) {
        let name = text(item, "name");
        // Without a menu there is no order that the relay could make.
        let runs = name == SUBMIT_ORDER && !menu.is_empty();
        let output = if matches!(name, SUBMIT_ORDER | ADD_TO_ORDER) {
            match cart::read(text(item, "arguments"), menu) {
                Ok(lines) => {
                    let order = cart::detected(&lines);
                    answers.push(Answer::Event("order.detected", json!({"order": order})));
                    json!({"ok": true})
                }
                // It is told when the call's output is there, whoever gives that.
                Err(why) => json!({"ok": false, "error": why}),
            }
        } else {
            json!({"error": "there is no such function on a voice socket"})
        };
        if !runs {
            answers.push(Answer::Pass(json!({
                "type": "conversation.item.create",
                "item": {
                    "type": "function_call_output",
                    "call_id": text(item, "call_id"),
                    "output": output.to_string(),
                },
            })));
            self.is_owed = true;
            self.ask(answers);
        }
    }

    /// Asks for the answer that is owed, once none is under way.
    fn ask(&mut self, answers: &mut Vec<Answer>) {
        if self.responding.is_none() && std::mem::take(&mut self.is_owed) {
            answers.push(Answer::Pass(json!({"type": "response.create"})));
        }
    }

    fn error(&mut self, error: &Value, answers: &mut Vec<Answer>) {
        let (code, message) = (text(error, "code"), text(error, "message"));
        let passes = matches!(
            code,
            "upstream_turn_lost" | "upstream_unavailable" | "upstream_malformed"
        );
        let is_last = matches!(code, "session_expired" | "session_idle")
            || (code.starts_with("upstream_") && !passes);
        if is_last {
            // Told with the end, which follows.
            self.last_words = Some((code.to_owned(), message.to_owned()));
            return;
        }
        let ours = match code {
            "rate_limit_exceeded" => Code::Rate,
            "input_audio_buffer_full" | "input_audio_buffer_commit_empty" => Code::Audio,
            "invalid_value" if text(error, "param") == "audio" => Code::Audio,
            _ if passes => Code::Upstream,
            _ => Code::Unknown,
        };
        answers.push(Answer::Error(Told::new(ours, message).with(details(error))));
    }
}

fn transcript(said: &str, is_final: bool, confidence: Option<f64>) -> Answer {
    let mut fields = json!({"transcript": said, "is_final": is_final});
    if let Some(confidence) = confidence {
        fields["confidence"] = json!(confidence);
    }
    Answer::Event("transcript", fields)
}

/// How sure whoever transcribed it was, where that is told: the mean of the tokens' probabilities' logarithms.
fn confidence(event: &Value) -> Option<f64> {
    let tokens = event.get("logprobs")?.as_array()?;
    let logs: Option<Vec<f64>> = tokens
        .iter()
        .map(|token| token.get("logprob")?.as_f64())
        .collect();
    let logs = logs.filter(|logs| !logs.is_empty())?;
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    Some(mean.exp().clamp(0.0, 1.0))
}

/// An order that the relay did not make.
fn refused(output: &str, answers: &mut Vec<Answer>) {
    let output: Value = serde_json::from_str(output).unwrap_or_default();
    if output.get("ok") == Some(&Value::Bool(false)) {
        let what = "What was said could not be made an order.";
        let why = json!({"reason": text(&output, "error")});
        answers.push(Answer::Error(Told::new(Code::Order, what).with(why)));
    }
}

fn details(error: &Value) -> Value {
    json!({"code": text(error, "code"), "message": text(error, "message")})
}
