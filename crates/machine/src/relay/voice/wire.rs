//! What every event has in common, and the queue they wait in.

use super::adapter::{Edge, Output};
use super::error::ApiError;
use crate::Rng;
use serde_json::{Value, json};
use std::collections::VecDeque;
use tautline_protocol::limits;

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) edge: Edge,
    rng: Rng,
    out: VecDeque<Output>,
    /// The client's event that is being answered.
    pub(super) answering: Option<String>,
}

impl Wire {
    pub(super) fn new(edge: Edge, seed: u64) -> Self {
        Self {
            edge,
            rng: Rng::new(seed),
            out: VecDeque::new(),
            answering: None,
        }
    }

    /// A new id: `item_…`.
    pub(super) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}_{}", self.rng.name())
    }

    /// Puts out an event with those fields. What a data channel cannot carry becomes an error that can.
    pub(super) fn emit(&mut self, kind: &str, fields: Value) {
        let text = self.event(kind, fields);
        if self.edge == Edge::Rtc && text.len() > limits::VOICE_CHANNEL_MESSAGE {
            let error = ApiError::server(
                "event_too_large",
                format!("A {kind} event is too large for the data channel and was left out."),
            );
            self.error(&error);
        } else {
            self.push(Output::Event(text));
        }
    }

    /// The text of an event.
    pub(super) fn event(&mut self, kind: &str, mut fields: Value) -> String {
        if let Value::Object(fields) = &mut fields {
            fields.insert("type".into(), json!(kind));
            fields.insert("event_id".into(), json!(self.id("event")));
        }
        fields.to_string()
    }

    /// Puts out an `error`, with the id of the client's event that it answers.
    pub(super) fn error(&mut self, error: &ApiError) {
        let id = self.id("event");
        let text = error.to_event(&id, self.answering.as_deref());
        self.push(Output::Event(text));
    }

    pub(super) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(super) fn next(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}
