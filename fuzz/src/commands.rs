//! Lists of commands, commits, failures and restarts against one restaurant's log, beside a page that follows it.

use crate::http::shown;
use crate::kit::{Kit, at, create_with, item_status, publish, viewer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tautline_machine::relay::{Ack, Answer, Cursor, Place, Taken, Viewer, Waiter};
use tautline_protocol::request::{Command, Fact, hash, http};
use tautline_protocol::{Dialect, Epoch, ItemStatus, OrderStatus, Role, limits};

const STATUSES: [&str; 8] = [
    "new",
    "pending",
    "confirmed",
    "preparing",
    "ready",
    "picked-up",
    "completed",
    "cancelled",
];
const ITEM_STATUSES: [&str; 5] = ["pending", "preparing", "ready", "served", "cancelled"];

/// Steps of a byte and its arguments; what is missing at the end is 0.
pub(crate) fn run(data: &[u8]) {
    let mut world = World::new();
    let mut bytes = Bytes(data);
    for _ in 0..200 {
        if bytes.0.is_empty() {
            break;
        }
        world.step(&mut bytes);
    }
    world.end();
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.next()) % n
    }

    fn order(&mut self) -> String {
        format!("o{}", 1 + self.below(12))
    }

    /// An item's id: one that the log made, one that a fact has, one that is nobody's.
    fn item(&mut self, order: &str) -> String {
        match self.below(4) {
            0 | 1 => format!("{order}.1"),
            2 => "i1".to_owned(),
            _ => "i9".to_owned(),
        }
    }
}

struct World {
    kit: Kit,
    open: BTreeSet<Waiter>,
    /// What each keyed command was acked with.
    acked: BTreeMap<(String, u128), Arc<Ack>>,
    keyed: BTreeMap<Waiter, (String, u128)>,
    last_keyed: Option<(String, u128, Command)>,
    epochs: u32,
    page: Page,
}

/// Someone who sees everything.
fn manager() -> Viewer {
    viewer(Dialect::V1, Role::Manager)
}

/// A client of the dialect with numbers, at its cursor.
struct Page {
    cursor: Option<Cursor>,
    position: u64,
    epoch: Option<String>,
    expects_snapshot: bool,
}

impl World {
    fn new() -> Self {
        let kit = Kit::new();
        let page = Page::placed(&kit);
        Self {
            kit,
            open: BTreeSet::new(),
            acked: BTreeMap::new(),
            keyed: BTreeMap::new(),
            last_keyed: None,
            epochs: 1,
            page,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(16) {
            0 | 1 => {
                let note = "x".repeat(bytes.below(4) * 60);
                self.judge(bytes, &create_with(&note));
            }
            2 | 3 => {
                let command = Command::Status {
                    order_id: bytes.order(),
                    status: order_status(bytes),
                    expected: (bytes.next() & 1 == 1).then(|| order_status(bytes)),
                };
                self.judge(bytes, &command);
            }
            4 => {
                let order = bytes.order();
                let command = item_status(&order, &bytes.item(&order), item_state(bytes));
                self.judge(bytes, &command);
            }
            5 => {
                let command = Command::Cancel {
                    order_id: bytes.order(),
                    reason: (bytes.next() & 1 == 1).then(|| "late".to_owned()),
                };
                self.judge(bytes, &command);
            }
            6 => {
                let (command, _) = http::delete(&bytes.order());
                self.judge(bytes, &command);
            }
            7 => self.judge(bytes, &publish("kds:update", "{\"n\":1}")),
            8 => {
                let fact = fact(bytes);
                self.judge(bytes, &Command::Fact(Box::new(fact)));
            }
            9 => self.commit(1 + bytes.below(8)),
            10 => self.commit(limits::COMMIT_APPENDS),
            11 => {
                let answers = self.kit.log.failed();
                self.answered(answers, true);
                assert_eq!(self.kit.log.pending(), 0);
            }
            12 => self.restart(bytes),
            13 => {
                self.epochs += 1;
                let epoch = Epoch::new(&format!("e{}", self.epochs));
                self.kit.log.begin_epoch(epoch);
            }
            14 => {
                self.kit.ms +=
                    [1, 1_000, 61_000, 3_600_000, 5 * 3_600_000, 25 * 3_600_000][bytes.below(6)];
                self.kit.log.tick(at(self.kit.ms));
            }
            _ => self.again(bytes),
        }
        self.page.follow(&self.kit);
    }

    fn judge(&mut self, bytes: &mut Bytes<'_>, command: &Command) {
        let key = (bytes.next() & 3 != 0).then(|| {
            let id = format!("c{}", bytes.below(24));
            let hash = hash(&id, &[&format!("{command:?}")]);
            (id, hash)
        });
        self.submit(key, command);
    }

    fn submit(&mut self, key: Option<(String, u128)>, command: &Command) {
        let by = key.as_ref().map(|(id, hash)| (id.as_str(), *hash));
        let (waiter, now) = self.kit.judge_as("ann", by, command);
        if let Some(key) = key {
            self.last_keyed = Some((key.0.clone(), key.1, command.clone()));
            self.keyed.insert(waiter, key);
        }
        match now {
            None => assert!(self.open.insert(waiter)),
            Some(answer) => {
                // Nothing but an answer that rests on nothing pending comes at once.
                assert!(self.open.insert(waiter));
                self.answered(vec![(waiter, answer)], false);
            }
        }
        assert!(self.kit.log.pending() <= limits::APPEND_QUEUE + 1);
    }

    /// A resend, or the same id for something else.
    fn again(&mut self, bytes: &mut Bytes<'_>) {
        let Some((id, hash, command)) = self.last_keyed.clone() else {
            return;
        };
        let hash = hash ^ u128::from(bytes.next() & 1);
        self.submit(Some((id, hash)), &command);
    }

    fn commit(&mut self, records: usize) {
        let batch = self.kit.log.take_batch(records, limits::COMMIT_BYTES);
        let Some(last) = batch.last() else {
            return;
        };
        let ticket = last.ticket;
        for record in &batch {
            self.kit.disk.write(record);
        }
        let answers = self.kit.log.committed(ticket, at(self.kit.ms));
        self.answered(answers, false);
    }

    fn answered(&mut self, answers: Vec<(Waiter, Answer)>, failed: bool) {
        for (waiter, answer) in answers {
            assert!(self.open.remove(&waiter), "{waiter:?} answered twice");
            match (answer, self.keyed.remove(&waiter)) {
                (Answer::Ack(ack), key) if failed => {
                    // A resend of what was applied before rests on nothing that failed.
                    let before = key.as_ref().and_then(|key| self.acked.get(key));
                    assert_eq!(before, Some(&ack), "acked by a failure");
                }
                (Answer::Ack(ack), key) => {
                    if let Some((_, seq)) = &ack.at {
                        assert!(*seq <= self.kit.log.head(), "acked before it was shown");
                    }
                    if let Some(key) = key {
                        // Remembered for a day: a resend in that time gets this very ack.
                        self.acked.insert(key, ack);
                    }
                }
                (Answer::Nack(nack), _) => assert!(!nack.message.is_empty()),
            }
        }
    }

    /// The process is gone with all that was pending; the disk is what it was.
    fn restart(&mut self, bytes: &mut Bytes<'_>) {
        let in_memory = bytes.below(40);
        let head = self.kit.log.head();
        self.open.clear();
        self.keyed.clear();
        self.kit.log = self.kit.disk.load(head, in_memory, at(self.kit.ms));
        self.page.resume(&self.kit);
    }

    fn end(mut self) {
        while self.kit.log.has_batch() {
            self.commit(limits::COMMIT_APPENDS);
        }
        assert!(self.open.is_empty(), "never answered: {:?}", self.open);
        self.page.follow(&self.kit);
        shown(&self.kit);
        let log = &self.kit.log;
        let count = log.orders().count();
        assert!(count <= limits::LIVE_ORDERS);
        // What a restart reads is what was shown.
        let again = self.kit.disk.load(log.head(), 10, at(self.kit.ms));
        assert_eq!((again.epoch(), again.head()), (log.epoch(), log.head()));
        let viewer = manager();
        assert_eq!(again.snapshot(&viewer).parts, log.snapshot(&viewer).parts);
        // The numbers have no gap within an epoch.
        let numbers = self.kit.disk.events.iter().map(|(seq, ..)| *seq);
        assert!(
            numbers
                .clone()
                .zip(numbers.skip(1))
                .all(|(a, b)| b == a + 1)
        );
    }
}

impl Page {
    fn placed(kit: &Kit) -> Self {
        let Place::At {
            cursor, seq, epoch, ..
        } = kit.log.place(manager(), None, false)
        else {
            panic!("a client without a position has lost none");
        };
        Self {
            cursor: Some(cursor),
            position: seq,
            epoch: Some(epoch.as_str().to_owned()),
            expects_snapshot: false,
        }
    }

    fn resume(&mut self, kit: &Kit) {
        let epoch = Epoch::new(self.epoch.as_deref().unwrap_or_default());
        let place = kit
            .log
            .place(manager(), Some((&epoch, self.position)), true);
        match place {
            Place::At {
                cursor,
                seq,
                epoch: now,
                resumed,
            } => {
                if resumed {
                    assert_eq!(epoch, now);
                    assert!(self.position <= seq);
                } else {
                    self.epoch = Some(now.as_str().to_owned());
                    self.expects_snapshot = true;
                }
                self.cursor = Some(cursor);
            }
            Place::HistoryLost => panic!("the log lost what it had shown"),
        }
    }

    /// Takes all there is, as a client would.
    fn follow(&mut self, kit: &Kit) {
        let Some(mut cursor) = self.cursor.take() else {
            return;
        };
        for _ in 0..10_000 {
            match cursor.take(&kit.log) {
                Taken::Turn { messages, .. } => {
                    for message in messages {
                        let text = message.text();
                        assert_eq!(text.len(), message.len);
                        assert!(text.len() <= limits::MAX_FRAME_OUT);
                        self.message(&text);
                    }
                }
                Taken::Idle => {
                    self.cursor = Some(cursor);
                    if !self.expects_snapshot {
                        assert_eq!(self.position, kit.log.head(), "idle before the head");
                    }
                    return;
                }
                Taken::Read { after } => cursor.supply(kit.log.epoch(), kit.disk.read(after, 50)),
                Taken::TooSlow => {
                    // Closed 4008: the client comes back with its position.
                    return self.resume(kit);
                }
            }
        }
        panic!("a cursor without end");
    }

    fn message(&mut self, text: &str) {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let frames = match value {
            Value::Array(frames) => frames,
            frame => vec![frame],
        };
        for frame in frames {
            let seq = || frame["seq"].as_u64().expect("a number");
            match frame["type"].as_str().expect("a type") {
                "reset" => {
                    assert_ne!(frame["epoch"].as_str(), self.epoch.as_deref());
                    self.epoch = frame["epoch"].as_str().map(str::to_owned);
                    self.position = seq();
                    self.expects_snapshot = true;
                }
                "sync_complete" => {
                    let payload = &frame["payload"];
                    assert_eq!(payload["epoch"].as_str(), self.epoch.as_deref());
                    if payload["part"] == payload["parts"] {
                        self.position = payload["seq"].as_u64().unwrap();
                        self.expects_snapshot = false;
                    }
                }
                "sync_aborted" => self.expects_snapshot = true,
                "cursor" => {
                    assert_eq!(frame["from"].as_u64(), Some(self.position));
                    self.position = seq();
                }
                _ => {
                    assert_eq!(frame["epoch"].as_str(), self.epoch.as_deref());
                    assert_eq!(seq(), self.position + 1, "in order, each once");
                    self.position += 1;
                }
            }
        }
    }
}

fn order_status(bytes: &mut Bytes<'_>) -> OrderStatus {
    OrderStatus::parse(STATUSES[bytes.below(STATUSES.len())]).unwrap()
}

fn item_state(bytes: &mut Bytes<'_>) -> ItemStatus {
    ItemStatus::parse(ITEM_STATUSES[bytes.below(ITEM_STATUSES.len())]).unwrap()
}

fn fact(bytes: &mut Bytes<'_>) -> Fact {
    let id = bytes.order();
    match bytes.below(4) {
        0 | 1 => {
            let body = format!(
                r#"{{"type":"order:created","payload":{{"order":{{"id":"{id}","status":"{}","items":[{{"id":"i1","menu_item_id":"m","name":"Soup","quantity":1,"price":5,"status":"pending"}}]}}}}}}"#,
                STATUSES[bytes.below(STATUSES.len())]
            );
            match http::publish("grow", &body) {
                Ok((Command::Fact(fact), _)) => *fact,
                other => panic!("{other:?}"),
            }
        }
        2 => Fact::Deleted {
            order_id: id,
            reason: None,
        },
        _ => Fact::Status {
            order_id: id,
            status: order_status(bytes),
            previous: None,
            updated_by: None,
            reason: None,
        },
    }
}
