//! A server's event as the browser's driver reads it (`src/voice/heard.rs`), from a list of the same shape.

use serde_json::Value;
use tautline_machine::client::voice::{Event, Item, ItemKind, Role};

struct Flat<'a>(&'a [Value]);

impl Flat<'_> {
    fn value(&self, at: usize) -> &Value {
        self.0.get(at).unwrap_or(&Value::Null)
    }

    fn text(&self, at: usize) -> Option<String> {
        self.value(at).as_str().map(str::to_owned)
    }

    fn number(&self, at: usize) -> Option<u64> {
        let number = self.value(at).as_f64()?;
        (number >= 0.0).then_some(number as u64)
    }

    fn is(&self, at: usize) -> bool {
        self.value(at) == true
    }

    fn previous(&self, at: usize) -> Option<Option<String>> {
        // There is no `undefined` in JSON: `false` stands for it.
        (self.value(at) != false).then(|| self.text(at))
    }

    fn role(&self, at: usize) -> Role {
        match self.text(at).as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            _ => Role::System,
        }
    }

    fn item(&self, at: usize) -> Option<Item> {
        let id = self.text(at)?;
        let kind = match self.text(at + 1).as_deref() {
            Some("message") => ItemKind::Message {
                role: self.role(at + 3),
                text: self.text(at + 4),
            },
            Some("function_call") => ItemKind::Call {
                call_id: self.text(at + 3)?,
                name: self.text(at + 4)?,
                arguments: self.text(at + 5).unwrap_or_default(),
            },
            Some("function_call_output") => ItemKind::CallOutput {
                call_id: self.text(at + 3)?,
                output: self.text(at + 4).unwrap_or_default(),
            },
            _ => ItemKind::Other,
        };
        Some(Item {
            id,
            kind,
            incomplete: self.is(at + 2),
        })
    }
}

/// The event that a list stands for; `None` when something is missing in it.
pub(super) fn event(list: &[Value]) -> Option<Event> {
    let flat = Flat(list);
    let (response, item) = (flat.text(1), flat.text(1));
    Some(match flat.number(0)? {
        1 => Event::Updated {
            confirms: flat.is(1),
        },
        2 => Event::Speech(flat.is(1)),
        3 => Event::Started { response },
        4 => Event::Stopped,
        5 => Event::Cleared { response },
        6 => Event::Created {
            response: response?,
        },
        7 => Event::Done {
            response: response?,
        },
        8 => Event::Item {
            item: flat.item(2)?,
            previous: flat.previous(1),
        },
        9 => Event::Committed {
            item: flat.text(2)?,
            previous: flat.previous(1),
        },
        10 => Event::Deleted { item: item? },
        kind @ (11 | 12) => {
            let (role, item, part) = (flat.role(1), flat.text(2)?, flat.number(3)? as usize);
            let (response, text) = (flat.text(4), flat.text(5)?);
            if kind == 11 {
                Event::Delta {
                    role,
                    item,
                    part,
                    response,
                    text,
                }
            } else {
                Event::Text {
                    role,
                    item,
                    part,
                    response,
                    text,
                }
            }
        }
        13 => Event::Unheard { item: item? },
        14 => Event::Truncated {
            item: item?,
            audio_end_ms: flat.number(2)?,
        },
        15 => Event::Output {
            item: flat.item(2)?,
        },
        16 => Event::Error {
            about: flat.text(1),
            code: flat.text(2),
            message: flat.text(3).unwrap_or_default(),
        },
        _ => return None,
    })
}
