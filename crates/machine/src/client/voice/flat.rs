//! What the machine looks at in a server's event and in the browser's statistics, as a flat list: first a number that
//! says which event it is, then what it has. The list is the driver's (`pkg/src/rtc.js` makes it), whatever its values are
//! made of.

use super::io::{Event, Item, ItemKind, Role};
use super::quality::Sample;

/// A list, read by position; a value of another type than expected is not there.
pub trait List {
    /// A string.
    fn text(&self, at: usize) -> Option<String>;
    /// A number; what is not finite is not there.
    fn float(&self, at: usize) -> Option<f64>;
    /// Whether it is true.
    fn is(&self, at: usize) -> bool;
    /// Whether there is nothing, not even `null`.
    fn is_absent(&self, at: usize) -> bool;
}

/// The most that a number of the other side's counts for (35 years of milliseconds, a year of samples): sums of them stay
/// within a word, however many come.
const MOST: u64 = 1 << 40;

struct Flat<'a, L>(&'a L);

impl<L: List> Flat<'_, L> {
    fn text(&self, at: usize) -> Option<String> {
        self.0.text(at)
    }

    /// A count or a time. A float is cut off, never out of range: `as` saturates.
    fn number(&self, at: usize) -> Option<u64> {
        let number = self.0.float(at)?;
        (number >= 0.0).then_some((number as u64).min(MOST))
    }

    fn is(&self, at: usize) -> bool {
        self.0.is(at)
    }

    /// `previous_item_id`.
    fn previous(&self, at: usize) -> Option<Option<String>> {
        (!self.0.is_absent(at)).then(|| self.text(at))
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

    /// Words of an item: role, item, part, response, words.
    fn words(&self) -> Option<(Role, String, usize, Option<String>, String)> {
        Some((
            self.role(1),
            self.text(2)?,
            self.number(3)? as usize,
            self.text(4),
            self.text(5)?,
        ))
    }
}

/// The event that a list stands for; `None` when something is missing in it.
pub fn event(list: &impl List) -> Option<Event> {
    let flat = Flat(list);
    Some(match flat.number(0)? {
        1 => Event::Updated {
            confirms: flat.is(1),
            interrupts: flat.is(2),
            left_ms: flat.number(3),
        },
        2 => Event::Speech(flat.is(1)),
        3 => Event::Started {
            response: flat.text(1),
        },
        4 => Event::Stopped,
        5 => Event::Cleared {
            response: flat.text(1),
        },
        6 => Event::Created {
            response: flat.text(1)?,
        },
        7 => Event::Done {
            response: flat.text(1)?,
        },
        8 => Event::Item {
            item: flat.item(2)?,
            previous: flat.previous(1),
        },
        9 => Event::Committed {
            item: flat.text(2)?,
            previous: flat.previous(1),
        },
        10 => Event::Deleted {
            item: flat.text(1)?,
        },
        11 => {
            let (role, item, part, response, text) = flat.words()?;
            Event::Delta {
                role,
                item,
                part,
                response,
                text,
            }
        }
        12 => {
            let (role, item, part, response, text) = flat.words()?;
            Event::Text {
                role,
                item,
                part,
                response,
                text,
            }
        }
        13 => Event::Unheard {
            item: flat.text(1)?,
        },
        14 => Event::Truncated {
            item: flat.text(1)?,
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
        17 => Event::Sound {
            response: flat.text(1)?,
            item: flat.text(2)?,
            part: flat.number(3)? as usize,
            samples: flat.number(4)?,
        },
        18 => Event::SoundDone {
            item: flat.text(1)?,
        },
        19 => Event::Expiring {
            left_ms: flat.number(1)?,
        },
        _ => return None,
    })
}

/// A second's statistics.
pub fn sample(list: &impl List, buffered: usize) -> Sample {
    let flat = Flat(list);
    let count = |at| flat.number(at).unwrap_or(0);
    Sample {
        rtt_ms: flat.number(0),
        jitter_ms: flat.number(1),
        received: count(2),
        lost: count(3),
        lost_out: count(4),
        played: count(5),
        concealed: count(6),
        bytes_in: count(7),
        sent: count(8),
        bytes_out: count(9),
        energy: flat.number(10),
        heard: count(11),
        path: count(12) as u8,
        starved_ms: 0,
        buffered,
    }
}
