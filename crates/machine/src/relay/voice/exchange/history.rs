//! What was said, as items that another session of the upstream's can be given: words, not sound.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tautline_protocol::limits;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History {
    items: Vec<Item>,
    bytes: usize,
    /// Items that this connection was given, and has not said yet that it has them.
    seeds: BTreeSet<String>,
}

#[derive(Debug)]
struct Item {
    id: String,
    value: Value,
    bytes: usize,
}

fn id_of(item: &Value) -> &str {
    text(item, "id")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl History {
    fn position(&self, id: &str) -> Option<usize> {
        self.items.iter().position(|item| item.id == id)
    }

    fn remove(&mut self, at: usize) {
        self.bytes -= self.items.remove(at).bytes;
    }

    /// A new one, after that one; the last where nothing is said of it.
    pub(super) fn added(&mut self, item: &Value, previous: Option<&Value>) {
        let id = id_of(item);
        if id.is_empty() || self.position(id).is_some() {
            return;
        }
        let at = match previous {
            Some(Value::Null) => 0,
            Some(Value::String(previous)) => self
                .position(previous)
                .map_or(self.items.len(), |before| before + 1),
            _ => self.items.len(),
        };
        let mut value = item.clone();
        drop_sound(&mut value);
        let bytes = value.to_string().len();
        self.bytes += bytes;
        let item = Item {
            id: id.to_owned(),
            value,
            bytes,
        };
        self.items.insert(at, item);
        while self.items.len() > limits::VOICE_ITEMS || self.bytes > limits::VOICE_KEPT_BYTES {
            self.remove(0);
        }
    }

    /// It is as it stays.
    pub(super) fn done(&mut self, item: &Value, previous: Option<&Value>) {
        let Some(at) = self.position(id_of(item)) else {
            return self.added(item, previous);
        };
        self.change(at, |value| {
            *value = item.clone();
            drop_sound(value);
        });
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Value)) {
        if let Some(item) = self.items.get_mut(at) {
            change(&mut item.value);
            let bytes = item.value.to_string().len();
            self.bytes = self.bytes - item.bytes + bytes;
            item.bytes = bytes;
        }
    }

    fn change_content(&mut self, id: &str, change: impl Fn(&mut Map<String, Value>)) {
        if let Some(at) = self.position(id) {
            self.change(at, |value| {
                if let Some(Value::Array(content)) = value.get_mut("content") {
                    content
                        .iter_mut()
                        .filter_map(Value::as_object_mut)
                        .for_each(change);
                }
            });
        }
    }

    /// What somebody said in it.
    pub(super) fn transcribed(&mut self, id: &str, transcript: &str) {
        self.change_content(id, |part| {
            part.insert("transcript".into(), json!(transcript));
        });
    }

    /// It was cut short; which of its words were heard nobody knows.
    pub(super) fn truncated(&mut self, id: &str) {
        self.change_content(id, |part| {
            part.insert("transcript".into(), Value::Null);
        });
    }

    pub(super) fn deleted(&mut self, id: &str) {
        if let Some(at) = self.position(id) {
            self.remove(at);
        }
    }

    /// What was being made is not going to be.
    pub(super) fn broken_off(&mut self) {
        self.seeds.clear();
        self.items
            .retain(|item| text(&item.value, "status") != "in_progress");
        self.bytes = self.items.iter().map(|item| item.bytes).sum();
    }

    /// What another connection is given, in order. It will say of each that it has it.
    pub(super) fn seeds(&mut self) -> Vec<Value> {
        let mut calls = BTreeSet::new();
        let mut seeds = Vec::new();
        for item in &self.items {
            let Some(seed) = seed(&item.value) else {
                continue;
            };
            match text(&seed, "type") {
                "function_call" => {
                    calls.insert(text(&seed, "call_id").to_owned());
                }
                // An output without its call is refused.
                "function_call_output" if !calls.contains(text(&seed, "call_id")) => continue,
                _ => {}
            }
            self.seeds.insert(item.id.clone());
            seeds.push(seed);
        }
        seeds
    }

    /// Whether this is one that the connection was given.
    pub(super) fn is_seed(&self, item: &Value) -> bool {
        self.seeds.contains(id_of(item))
    }

    /// The same, and that was the last that is said of it.
    pub(super) fn seeded(&mut self, item: &Value) -> bool {
        self.seeds.remove(id_of(item))
    }
}

/// Sound is not kept: no session takes it back.
fn drop_sound(item: &mut Value) {
    if let Some(Value::Array(content)) = item.get_mut("content") {
        for part in content.iter_mut().filter_map(Value::as_object_mut) {
            part.remove("audio");
            part.remove("image_url");
        }
    }
}

/// The words of a message's content.
fn words(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten();
    let words = parts.filter_map(|part| {
        let text = part.get("text").or_else(|| part.get("transcript"));
        text.and_then(Value::as_str)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// An item as a client may create it; `None` where nothing can be said of it in words.
fn seed(item: &Value) -> Option<Value> {
    let id = item.get("id")?;
    match text(item, "type") {
        "message" => {
            let words = words(item.get("content")?);
            let role = text(item, "role");
            let kind = if role == "assistant" {
                "output_text"
            } else {
                "input_text"
            };
            (!words.is_empty()).then(|| {
                json!({"id": id, "type": "message", "role": role, "content": [{"type": kind, "text": words}]})
            })
        }
        "function_call" => Some(json!({
            "id": id,
            "type": "function_call",
            "call_id": item.get("call_id")?,
            "name": item.get("name")?,
            "arguments": item.get("arguments")?,
        })),
        "function_call_output" => Some(json!({
            "id": id,
            "type": "function_call_output",
            "call_id": item.get("call_id")?,
            "output": item.get("output")?,
        })),
        _ => None,
    }
}
