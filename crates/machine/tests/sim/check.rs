//! What must hold, whatever the network, the clocks and the stores do. A failure says which of these it is:
//! `[once] event 7 after 8 …`. For each there is a bug in `bugs.md` that it finds (`cargo xtask bugs`).

use crate::oracle::{Eyes, History};
use crate::relay::Disk;
use crate::wire::SimOrder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tautline_machine::client::{Answer, Update, UpdateAction};
use tautline_protocol::Outcome;

/// The invariants: names, and what they say.
pub const INVARIANTS: [(&str, &str); 19] = [
    ("once", "no page is given an event twice or out of order"),
    (
        "gap",
        "no page misses an event untold: a jump is a cursor frame's, a snapshot's, or said",
    ),
    (
        "durable",
        "what a connection is sent, events and acks, is on the disk",
    ),
    (
        "created",
        "an order is reported created once, unless it was gone in between",
    ),
    (
        "answered",
        "a command is answered once, and as it really ended",
    ),
    ("applied", "no command is applied twice, or by whom may not"),
    (
        "outlives",
        "where the outbox is stored, a command is sent only when it is there, and one that is there is answered after a crash",
    ),
    (
        "set",
        "after quiet each page shows what the papers make of the disk for its role and filter",
    ),
    (
        "current",
        "after quiet each page is connected, live, at the head, its outbox empty",
    ),
    (
        "rest",
        "after disconnect and dispose no timer and no socket is left, and the relay has no session",
    ),
    (
        "leases",
        "the connection is held exactly while somebody holds it, and each holder is answered once",
    ),
    (
        "bounded",
        "frames, turns, queues and the outbox stay within their limits",
    ),
    (
        "greeting",
        "a connection begins with connected, then auth, then events",
    ),
    (
        "order",
        "on a connection numbers go up by one or by a cursor frame, another history by a reset",
    ),
    (
        "cursor",
        "a cursor frame begins where the client is and skips only what is not for it",
    ),
    (
        "visible",
        "an event is sent to whom role and filter show it, as class and dialect encode it",
    ),
    (
        "snapshot",
        "a snapshot comes whole, in order, at one position, and is the live set there for these eyes",
    ),
    (
        "reply",
        "each frame with an id is answered once on its connection, and the ack tells its event",
    ),
    (
        "close",
        "a connection is closed for a reason that holds, and when there is one",
    ),
];

/// Asserts one of [`INVARIANTS`].
macro_rules! holds {
    ($name:literal, $condition:expr, $($why:tt)+) => {
        assert!($condition, "[{}] {}", $name, format_args!($($why)+))
    };
}
pub(crate) use holds;

/// What one page was shown.
#[derive(Debug, Default)]
pub struct Watch {
    place: Option<(String, u64)>,
    /// How far cursor frames explain what was not sent.
    explained: u64,
    may_jump: bool,
    known: BTreeSet<String>,
    answers: BTreeMap<String, Answer>,
    /// Commands that a crash took before they were in storage.
    unborn: BTreeSet<String>,
    /// The position of the set on screen.
    pub installed: Option<u64>,
}

impl Watch {
    /// A cursor frame came in by the connection in use.
    pub fn accounted(&mut self, frame: &Value) {
        let (from, to) = (
            frame["from"].as_u64().unwrap(),
            frame["seq"].as_u64().unwrap(),
        );
        if let Some((epoch, seq)) = &self.place
            && frame["epoch"] == epoch.as_str()
            && from <= self.explained.max(*seq)
        {
            self.explained = self.explained.max(to);
        }
    }

    pub fn delivered(&mut self, frame: &Value, disk: &Disk) {
        let (epoch, seq) = (
            frame["epoch"].as_str().unwrap().to_owned(),
            frame["seq"].as_u64().unwrap(),
        );
        holds!(
            "durable",
            disk.history
                .frame(seq)
                .is_some_and(|stored| stored["epoch"] == epoch.as_str()),
            "event {seq} is shown and not on the disk"
        );
        if let Some((before_epoch, before)) = &self.place {
            if *before_epoch == epoch {
                holds!("once", seq > *before, "event {seq} after {before}");
                let next = self.explained.max(*before) + 1;
                holds!(
                    "gap",
                    seq == next || self.may_jump,
                    "event {seq} after {before}, explained up to {}",
                    self.explained
                );
            } else {
                holds!("gap", self.may_jump, "another history without a word");
            }
        }
        self.may_jump = false;
        self.arrived(epoch, seq);
    }

    fn arrived(&mut self, epoch: String, seq: u64) {
        self.explained = seq;
        self.place = Some((epoch, seq));
    }

    /// A snapshot took the page to this position.
    pub fn installed(&mut self, epoch: &str, seq: u64) {
        if let Some((before_epoch, before)) = &self.place {
            holds!(
                "once",
                before_epoch != epoch || seq >= *before,
                "a snapshot at {seq} behind event {before}"
            );
        }
        self.arrived(epoch.to_owned(), seq);
        self.installed = Some(seq);
        self.may_jump = false;
    }

    /// The page was told that something is missing.
    pub fn told_gap(&mut self) {
        self.may_jump = true;
    }

    pub fn updates(&mut self, updates: &[Update<SimOrder>]) {
        for update in updates {
            match update.action {
                UpdateAction::Created => holds!(
                    "created",
                    self.known.insert(update.id.clone()),
                    "{} was created twice",
                    update.id
                ),
                UpdateAction::Deleted => {
                    self.known.remove(&update.id);
                }
                // A filter may show the change of an order whose making it did not show.
                UpdateAction::Updated
                | UpdateAction::StatusChanged
                | UpdateAction::ItemStatusChanged => holds!(
                    "created",
                    update.order.is_none() || self.known.contains(&update.id),
                    "{} changed before it was created",
                    update.id
                ),
            }
        }
    }

    pub fn answered(&mut self, id: &str, answer: &Answer, disks: &[&Disk]) {
        if let Answer::Acked { .. } | Answer::Confirmed { .. } = answer {
            holds!(
                "answered",
                disks.iter().any(|disk| disk.has_command(id)),
                "{id} was acked and is on no disk"
            );
        }
        let before = self.answers.insert(id.to_owned(), answer.clone());
        holds!(
            "answered",
            before.is_none(),
            "{id} was answered twice: {before:?}, then {answer:?}"
        );
    }

    /// The page has crashed: what was shown is gone. Answers the commands that nobody answers any more.
    pub fn crashed(&mut self, sent: &BTreeSet<String>) -> Vec<String> {
        self.place = None;
        self.explained = 0;
        self.may_jump = true;
        self.known.clear();
        self.installed = None;
        let open = sent.iter().filter(|id| !self.answers.contains_key(*id));
        open.cloned().collect()
    }

    /// A command that a crash took.
    pub fn unborn(&mut self, id: String) {
        self.unborn.insert(id);
    }

    /// The next page answers for it.
    pub fn taken_over(&mut self, id: &str) {
        self.answers.remove(id);
    }

    /// At the end: every command was answered, and as it really ended.
    pub fn settled(&self, sent: &BTreeSet<String>, disks: &[&Disk]) {
        for id in &self.unborn {
            holds!(
                "outlives",
                !disks.iter().any(|disk| disk.has_command(id)),
                "{id} was applied, and was not in storage when its page crashed"
            );
        }
        for id in sent {
            let Some(answer) = self.answers.get(id) else {
                panic!("[answered] {id} was never answered");
            };
            let applied = disks.iter().any(|disk| disk.has_command(id));
            match answer {
                Answer::Acked { .. } | Answer::Confirmed { .. } => {
                    holds!("answered", applied, "{id}: acked, then lost");
                }
                // Where a backup was restored, the history that is gone may have had it.
                Answer::Nacked {
                    outcome: Outcome::NotApplied,
                    ..
                } if disks.len() > 1 => {}
                Answer::Nacked {
                    outcome: Outcome::NotApplied,
                    ..
                }
                | Answer::Failed {
                    outcome: Outcome::NotSent,
                    ..
                } => {
                    holds!("answered", !applied, "{id}: {answer:?}, yet applied");
                }
                Answer::Nacked { .. } | Answer::Failed { .. } | Answer::Written => {}
            }
        }
    }
}

/// No command is applied twice in a history.
pub fn applied_once(history: &History) {
    let mut seen = BTreeSet::new();
    for frame in history.frames() {
        if let Some(id) = frame["command_id"].as_str() {
            holds!(
                "applied",
                seen.insert(id),
                "{id} was applied twice, the second time as event {}",
                frame["seq"]
            );
        }
    }
}

/// The set on a page is what the papers make of the disk: the live set of its snapshot, and every event for it since.
pub fn same_set<'a>(
    who: &str,
    page: impl Iterator<Item = &'a Value>,
    installed: u64,
    eyes: &Eyes,
    history: &History,
) {
    let page: BTreeMap<&str, &Value> = page
        .map(|order| (order["id"].as_str().unwrap(), order))
        .collect();
    let followed = history.followed(installed, eyes);
    for (id, order) in &followed {
        let shown = page.get(id.as_str());
        holds!(
            "set",
            shown.copied() == Some(order),
            "{who} ({eyes:?}, set of {installed}, head {}) shows {shown:?} in place of {order}, after {:#?}",
            history.head(),
            history.about(id)
        );
    }
    for id in page.keys() {
        holds!(
            "set",
            followed.contains_key(*id),
            "{who} ({eyes:?}, set of {installed}) shows {id}, which is not for it or gone"
        );
    }
}
