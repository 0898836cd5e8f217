//! What must hold, whatever the network does:
//!
//! 1. Nobody sees an event twice or out of order, and nobody misses one without being told (a snapshot, or `gap`).
//! 2. What is shown is durable: no event reaches a page that is not on the disk.
//! 3. An order is reported `created` once, unless it was gone in between.
//! 4. A command is answered at most once; an ack means it is on the disk; what was refused or never sent is not.
//! 5. No command is applied twice.
//! 6. After quiet every page's order set equals the log's fold, to the last field.
//! 7. After `disconnect` and `dispose` no timer is left, and the relay has no session.

use crate::relay::Disk;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tautline_machine::client::{Answer, Update, UpdateAction};
use tautline_protocol::Outcome;

use crate::wire::SimOrder;

/// What one page was shown.
#[derive(Debug, Default)]
pub struct Watch {
    place: Option<(String, u64)>,
    may_jump: bool,
    known: BTreeSet<String>,
    answers: BTreeMap<String, Answer>,
}

impl Watch {
    pub fn delivered(&mut self, frame: &Value, disk: &Disk) {
        let (epoch, seq) = (
            frame["epoch"].as_str().unwrap().to_owned(),
            frame["seq"].as_u64().unwrap(),
        );
        let stored = disk
            .event(seq)
            .unwrap_or_else(|| panic!("event {seq} was shown and is not on the disk"));
        assert_eq!(
            serde_json::from_str::<Value>(&stored.4).unwrap(),
            *frame,
            "event {seq} differs from the disk's"
        );
        if let Some((before_epoch, before)) = &self.place {
            if *before_epoch == epoch {
                assert!(
                    seq > *before,
                    "event {seq} after {before}: twice or out of order"
                );
                assert!(
                    seq == before + 1 || self.may_jump,
                    "event {seq} after {before}: some were missed silently"
                );
            } else {
                assert!(self.may_jump, "another history without a word");
            }
        }
        self.may_jump = false;
        self.place = Some((epoch, seq));
    }

    /// A snapshot took the page to this position.
    pub fn installed(&mut self, epoch: &str, seq: u64) {
        if let Some((before_epoch, before)) = &self.place {
            assert!(
                before_epoch != epoch || seq >= *before,
                "a snapshot at {seq} behind event {before}"
            );
        }
        self.place = Some((epoch.to_owned(), seq));
        self.may_jump = false;
    }

    /// The page was told that something is missing.
    pub fn told_gap(&mut self) {
        self.may_jump = true;
    }

    pub fn updates(&mut self, updates: &[Update<SimOrder>]) {
        for update in updates {
            match update.action {
                UpdateAction::Created => assert!(
                    self.known.insert(update.id.clone()),
                    "{} was created twice",
                    update.id
                ),
                UpdateAction::Deleted => {
                    self.known.remove(&update.id);
                }
                UpdateAction::Updated
                | UpdateAction::StatusChanged
                | UpdateAction::ItemStatusChanged => {
                    assert!(
                        self.known.contains(&update.id),
                        "{} changed before it was created",
                        update.id
                    );
                }
            }
        }
    }

    pub fn answered(&mut self, id: &str, answer: &Answer, disk: &Disk) {
        if let Answer::Acked { .. } | Answer::Confirmed { .. } = answer {
            assert!(
                disk.has_command(id),
                "{id} was acked and is not on the disk"
            );
        }
        let before = self.answers.insert(id.to_owned(), answer.clone());
        assert!(
            before.is_none(),
            "{id} was answered twice: {before:?}, then {answer:?}"
        );
    }

    /// At the end: every command was answered, and as it really ended.
    pub fn settled(&self, sent: &BTreeSet<String>, disk: &Disk) {
        for id in sent {
            let answer = self
                .answers
                .get(id)
                .unwrap_or_else(|| panic!("{id} was never answered"));
            match answer {
                Answer::Acked { .. } | Answer::Confirmed { .. } => {
                    assert!(disk.has_command(id), "{id}: acked, then lost")
                }
                Answer::Nacked {
                    outcome: Outcome::NotApplied,
                    ..
                }
                | Answer::Failed {
                    outcome: Outcome::NotSent,
                    ..
                } => {
                    assert!(!disk.has_command(id), "{id}: {answer:?}, yet applied");
                }
                Answer::Nacked { .. } | Answer::Failed { .. } | Answer::Written => {}
            }
        }
    }
}

/// No command is applied twice.
pub fn applied_once(disk: &Disk) {
    let mut seen = BTreeSet::new();
    for (seq, .., frame) in disk.all() {
        let frame: Value = serde_json::from_str(frame).unwrap();
        assert_eq!(frame["seq"].as_u64(), Some(*seq));
        if let Some(id) = frame["command_id"].as_str() {
            assert!(
                seen.insert(id.to_owned()),
                "{id} was applied twice, the second time as event {seq}"
            );
        }
    }
}

/// The set on a page is the log's fold.
pub fn same_set<'a>(
    who: &str,
    page: impl Iterator<Item = &'a SimOrder>,
    log: &BTreeMap<String, Value>,
) {
    let page: BTreeMap<String, &Value> = page
        .map(|order| (order.0["id"].as_str().unwrap().to_owned(), &order.0))
        .collect();
    for (id, order) in log {
        assert_eq!(
            page.get(id).copied(),
            Some(order),
            "{who} shows another {id}"
        );
    }
    assert_eq!(page.len(), log.len(), "{who} shows orders that are gone");
}
