//! The items of a conversation and their order.

use super::error::ApiError;
use super::item::{Item, Kind};
use std::collections::VecDeque;
use tautline_protocol::limits;

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

    /// The arguments of that call, if it is one of that function.
    pub(super) fn arguments(&self, wanted: &str, function: &str) -> Option<&str> {
        self.items.iter().find_map(|item| match &item.kind {
            Kind::Call {
                call_id,
                name,
                arguments,
            } if call_id == wanted && name == function => Some(arguments.as_str()),
            _ => None,
        })
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

    /// Keeps to the bounds: the oldest sound goes first, then the oldest items. The last item keeps its sound, however
    /// long: it is about to be answered.
    fn forget(&mut self) {
        let mut at = 0;
        while self.sound_bytes > limits::VOICE_KEPT_BYTES
            && at + 1 < self.items.len()
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
    use super::super::audio::chime;
    use super::super::format::Format;
    use super::super::item::{Part, Spoken};
    use super::*;

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
        sound.samples.resize(limits::VOICE_WAITING_BYTES / 2, 1);
        let spoken = Spoken {
            transcript: None,
            sound: Some(sound),
        };
        let item = Item::message("d".into(), "user", vec![Part::InputAudio(spoken)]);
        it.insert(item, &Place::End).unwrap();
        assert!(it.get("c").unwrap().heard().is_none());
        assert!(it.get("d").unwrap().heard().is_some());
        it.insert(text("e"), &Place::End).unwrap();
        assert_eq!(it.sound_bytes, 0);
    }
}
