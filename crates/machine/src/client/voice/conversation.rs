//! What was said: keyed by item, ordered by `previous_item_id`, whatever order the events come in; of an answer that
//! was cut off, what was heard of it. And how a new call is told of it.

use super::io::{Event, Item, ItemKind, Role};
use std::collections::VecDeque;
use tautline_protocol::JsonWriter;
use tautline_protocol::limits::CLIENT_CONVERSATION_ITEMS;

/// How much of an answer is heard in a second, in characters. The words come with no times: this is an unhurried
/// voice, so that the page shows rather too little than what nobody heard.
const HEARD_CHARS_PER_S: u64 = 14;
/// Parts of one item that are told apart.
const PARTS: usize = 16;
/// In place of words that are not known, when a new call is told of the conversation.
const NOT_HEARD: &str = "(interrupted)";
/// The same for the user's.
const NOT_UNDERSTOOD: &str = "(not understood)";

/// An item of the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The item's id.
    pub id: String,
    /// Whose words.
    pub role: Role,
    /// The words; `None` while nothing is known of them.
    pub text: Option<String>,
    /// How far they are known.
    pub state: LineState,
    /// Cut off: `text` is what was heard.
    pub interrupted: bool,
}

/// How far an item's words are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// Not at all yet.
    Pending,
    /// They are still coming.
    Partial,
    /// They stay as they are.
    Final,
    /// They could not be transcribed.
    Failed,
}

impl LineState {
    /// Its name in a `TranscriptItem`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Partial => "partial",
            Self::Final => "final",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Default)]
struct Part {
    text: String,
    done: bool,
}

#[derive(Debug)]
enum What {
    /// Named by another item, or announced without its content.
    Unknown,
    Message(Role),
    Call {
        call_id: String,
        name: String,
        arguments: String,
    },
    CallOutput {
        call_id: String,
        output: String,
    },
    Other,
}

#[derive(Debug)]
struct Entry {
    id: String,
    /// `None` until an event says; `Some(None)`: the first.
    previous: Option<Option<String>>,
    what: What,
    parts: Vec<Part>,
    failed: bool,
    incomplete: bool,
    /// Its words came all at once, with the item.
    whole: bool,
    /// How much of it was heard, by the server's account.
    truncated_ms: Option<u64>,
    response: Option<String>,
    /// Kept only because others come after it.
    gone: bool,
}

/// The conversation so far, over all calls of one connection.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    entries: Vec<Entry>,
    /// Answers cut off, and how much of each was heard by our own clock.
    cut: VecDeque<(String, u64)>,
    /// Calls that were told to the page.
    told: VecDeque<String>,
}

impl Conversation {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes what an event says of an item; the id of an item whose line has changed.
    pub(super) fn take(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Item { item, previous } => self.item(item, previous),
            Event::Output { item } => self.item(item, None),
            Event::Committed { item, previous } => {
                let entry = self.entry(&item, Some(Role::User));
                entry.previous = previous.or(entry.previous.take());
                Some(item)
            }
            Event::Deleted { item } => {
                self.entry(&item, None).gone = true;
                Some(item)
            }
            Event::Delta {
                role,
                item,
                part,
                response,
                text,
            } => self.words(role, item, part, response, &text, false),
            Event::Text {
                role,
                item,
                part,
                response,
                text,
            } => self.words(role, item, part, response, &text, true),
            Event::Unheard { item } => {
                self.entry(&item, Some(Role::User)).failed = true;
                Some(item)
            }
            Event::Truncated { item, audio_end_ms } => {
                let entry = self.entry(&item, Some(Role::Assistant));
                entry.truncated_ms = Some(audio_end_ms);
                Some(item)
            }
            _ => None,
        }
    }

    /// The answer of that response was cut off after so much of it was played.
    pub(super) fn cut(&mut self, response: String, played_ms: u64) -> Option<String> {
        let item = self
            .entries
            .iter()
            .rev()
            .find(|entry| entry.response.as_deref() == Some(&response));
        let item = item.map(|entry| entry.id.clone());
        if self.cut.len() == CLIENT_CONVERSATION_ITEMS {
            self.cut.pop_front();
        }
        self.cut.push_back((response, played_ms));
        item
    }

    /// Whether a function's output has still to come.
    pub(super) fn awaits_output(&self) -> bool {
        let has_output = |id: &str| {
            let is_it = |entry: &Entry| matches!(&entry.what, What::CallOutput { call_id, .. } if call_id == id);
            self.entries.iter().any(is_it)
        };
        self.entries
            .iter()
            .any(|entry| matches!(&entry.what, What::Call { call_id, .. } if !entry.gone && !has_output(call_id)))
    }

    /// Whether that call is new to the page.
    pub(super) fn is_new_call(&mut self, call_id: &str) -> bool {
        if self.told.iter().any(|told| told == call_id) {
            return false;
        }
        if self.told.len() == CLIENT_CONVERSATION_ITEMS {
            self.told.pop_front();
        }
        self.told.push_back(String::from(call_id));
        true
    }

    /// One line of the transcript, if that item is one.
    pub(super) fn line(&self, id: &str) -> Option<Line> {
        let entry = self.entries.iter().find(|entry| entry.id == id)?;
        self.line_of(entry)
    }

    /// The transcript, in order.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.ordered()
            .into_iter()
            .filter_map(|entry| self.line_of(entry))
            .collect()
    }

    /// Its items as a new call is told of them, one `item` object each. Their ids stay, so that what is already here
    /// is recognised when the server names it.
    pub(super) fn seeds(&self) -> Vec<String> {
        self.ordered()
            .into_iter()
            .filter_map(|entry| self.seed(entry))
            .collect()
    }

    fn item(&mut self, item: Item, previous: Option<Option<String>>) -> Option<String> {
        let entry = self.entry(&item.id, None);
        entry.previous = previous.or(entry.previous.take());
        entry.incomplete |= item.incomplete;
        match item.kind {
            ItemKind::Message { role, text } => {
                entry.what = What::Message(role);
                // What the server was told in place of words comes back as if it were words.
                if let Some(text) = text.filter(|text| text != NOT_HEARD && text != NOT_UNDERSTOOD)
                    && !text.is_empty()
                {
                    entry.parts.clear();
                    entry.set(0, &text, true);
                    entry.whole = true;
                }
            }
            ItemKind::Call {
                call_id,
                name,
                arguments,
            } => {
                // Announced before its arguments are there.
                if !arguments.is_empty() || !matches!(entry.what, What::Call { .. }) {
                    entry.what = What::Call {
                        call_id,
                        name,
                        arguments,
                    };
                }
            }
            ItemKind::CallOutput { call_id, output } => {
                entry.what = What::CallOutput { call_id, output };
            }
            ItemKind::Other => {
                if matches!(entry.what, What::Unknown) {
                    entry.what = What::Other;
                }
            }
        }
        Some(item.id)
    }

    fn words(
        &mut self,
        role: Role,
        item: String,
        part: usize,
        response: Option<String>,
        text: &str,
        done: bool,
    ) -> Option<String> {
        let entry = self.entry(&item, Some(role));
        entry.response = response.or(entry.response.take());
        if !entry.whole {
            entry.set(part, text, done);
        }
        Some(item)
    }

    /// The entry of that id, made if there is none.
    fn entry(&mut self, id: &str, role: Option<Role>) -> &mut Entry {
        let at = self.entries.iter().rposition(|entry| entry.id == id);
        let at = at.unwrap_or_else(|| {
            if self.entries.len() == CLIENT_CONVERSATION_ITEMS {
                self.entries.remove(0);
            }
            self.entries.push(Entry {
                id: String::from(id),
                previous: None,
                what: What::Unknown,
                parts: Vec::new(),
                failed: false,
                incomplete: false,
                whole: false,
                truncated_ms: None,
                response: None,
                gone: false,
            });
            self.entries.len() - 1
        });
        let entry = &mut self.entries[at];
        if let (What::Unknown, Some(role)) = (&entry.what, role) {
            entry.what = What::Message(role);
        }
        entry
    }

    /// By `previous_item_id`. What names nothing, or something never heard of, keeps its place of arrival after
    /// everything that is placed.
    fn ordered(&self) -> Vec<&Entry> {
        let mut placed: Vec<&Entry> = Vec::with_capacity(self.entries.len());
        let is_known = |id: &str| self.entries.iter().any(|entry| entry.id == id);
        let mut after: Vec<(&str, &Entry)> = Vec::new();
        // Those that begin a chain, in order of arrival: first the one that says it is the first.
        let mut heads: Vec<&Entry> = Vec::new();
        let mut loose: Vec<&Entry> = Vec::new();
        for entry in &self.entries {
            match &entry.previous {
                Some(None) => heads.push(entry),
                Some(Some(previous)) if is_known(previous) => after.push((previous, entry)),
                Some(Some(_)) | None => loose.push(entry),
            }
        }
        heads.append(&mut loose);
        // Depth first: what follows an item stays with it.
        let mut open: Vec<&Entry> = heads.into_iter().rev().collect();
        while let Some(entry) = open.pop() {
            placed.push(entry);
            // A later one with the same predecessor was put in between.
            let followers = after.iter().filter(|(previous, _)| *previous == entry.id);
            open.extend(followers.map(|(_, follower)| *follower));
        }
        placed
    }

    fn heard_ms(&self, entry: &Entry) -> Option<u64> {
        entry.truncated_ms.or_else(|| {
            let response = entry.response.as_deref()?;
            let cut = self.cut.iter().rev().find(|(cut, _)| cut == response);
            cut.map(|&(_, ms)| ms)
        })
    }

    fn line_of(&self, entry: &Entry) -> Option<Line> {
        let What::Message(role) = entry.what else {
            return None;
        };
        if entry.gone {
            return None;
        }
        let heard_ms = self.heard_ms(entry).filter(|_| role == Role::Assistant);
        let interrupted = role == Role::Assistant && (entry.incomplete || heard_ms.is_some());
        let all = entry.text();
        let text = match (all, heard_ms) {
            (Some(text), Some(ms)) => Some(String::from(heard(&text, ms))),
            (text, _) => text,
        };
        let done = !entry.parts.is_empty() && entry.parts.iter().all(|part| part.done);
        let state = if done || interrupted {
            LineState::Final
        } else if entry.failed {
            LineState::Failed
        } else if text.is_some() {
            LineState::Partial
        } else {
            LineState::Pending
        };
        Some(Line {
            id: entry.id.clone(),
            role,
            text,
            state,
            interrupted,
        })
    }

    fn seed(&self, entry: &Entry) -> Option<String> {
        if entry.gone {
            return None;
        }
        let item = JsonWriter::object().str("id", &entry.id);
        match &entry.what {
            What::Unknown | What::Other => None,
            What::Call {
                call_id,
                name,
                arguments,
            } => Some(
                item.str("type", "function_call")
                    .str("call_id", call_id)
                    .str("name", name)
                    .str("arguments", arguments)
                    .end(),
            ),
            What::CallOutput { call_id, output } => Some(
                item.str("type", "function_call_output")
                    .str("call_id", call_id)
                    .str("output", output)
                    .end(),
            ),
            What::Message(role) => {
                let line = self.line_of(entry)?;
                let (kind, nothing) = match role {
                    Role::Assistant => ("output_text", NOT_HEARD),
                    Role::User | Role::System => ("input_text", NOT_UNDERSTOOD),
                };
                // An item without words would be refused, and one left out would change what follows what.
                let text = line.text.filter(|text| !text.is_empty());
                let content = JsonWriter::object()
                    .str("type", kind)
                    .str("text", text.as_deref().unwrap_or(nothing))
                    .end();
                let mut list = String::from("[");
                list.push_str(&content);
                list.push(']');
                Some(
                    item.str("type", "message")
                        .str("role", role.as_str())
                        .raw("content", &list)
                        .end(),
                )
            }
        }
    }
}

impl Entry {
    /// More words of a part, or all of them; what comes after all of them is late.
    fn set(&mut self, part: usize, text: &str, done: bool) {
        if part >= PARTS {
            return;
        }
        while self.parts.len() <= part {
            self.parts.push(Part::default());
        }
        let Some(slot) = self.parts.get_mut(part) else {
            return;
        };
        if done {
            slot.text.clear();
        } else if slot.done {
            return;
        }
        slot.text.push_str(text);
        slot.done |= done;
    }

    fn text(&self) -> Option<String> {
        if self.parts.is_empty() {
            return None;
        }
        let mut all = String::new();
        self.parts.iter().for_each(|part| all.push_str(&part.text));
        Some(all)
    }
}

/// The words that were heard in that time: whole ones.
fn heard(text: &str, ms: u64) -> &str {
    let most = (ms.saturating_mul(HEARD_CHARS_PER_S) / 1_000) as usize;
    let Some((end, _)) = text.char_indices().nth(most) else {
        return text;
    };
    let prefix = text.get(..end).unwrap_or_default();
    let next_is_space = text.as_bytes().get(end) == Some(&b' ');
    let last_space = prefix.bytes().rposition(|byte| byte == b' ');
    let end = if next_is_space {
        end
    } else {
        last_space.unwrap_or(0)
    };
    let whole = text.get(..end).unwrap_or_default();
    let trimmed = whole
        .bytes()
        .rposition(|byte| byte != b' ')
        .map_or(0, |at| at + 1);
    whole.get(..trimmed).unwrap_or(whole)
}

#[cfg(test)]
mod tests;
