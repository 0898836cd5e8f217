//! A log with its store in memory, for the tests of the relay's machines.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::{
    Answer, By, Dedupe, Event, Judged, Log, Moment, Record, Stored, Waiter,
};
use tautline_protocol::order::Order;
use tautline_protocol::request::{Command, http};
use tautline_protocol::{Dialect, Epoch, ItemStatus, OrderStatus, Seq};

pub(crate) fn at(ms: u64) -> Moment {
    Moment {
        now: Time::from_ms(ms),
        wall_ms: 1_790_000_000_000 + ms,
    }
}

pub(crate) fn create() -> Command {
    create_with("")
}

pub(crate) fn create_with(notes: &str) -> Command {
    let body = format!(
        r#"{{"type":"dine-in","items":[{{"menu_item_id":"m","name":"Soup","quantity":1,"price":5}}],"notes":"{notes}","customer_phone":"0791234567"}}"#
    );
    http::create(&body).unwrap().0
}

pub(crate) fn status(order_id: &str, status: OrderStatus) -> Command {
    Command::Status {
        order_id: order_id.into(),
        status,
        expected: None,
    }
}

pub(crate) fn item_status(order_id: &str, item_id: &str, status: ItemStatus) -> Command {
    Command::ItemStatus {
        order_id: order_id.into(),
        item_id: item_id.into(),
        status,
        expected: None,
    }
}

pub(crate) fn publish(kind: &str, payload: &str) -> Command {
    http::publish(
        "grow",
        &format!(r#"{{"type":"{kind}","payload":{payload}}}"#),
    )
    .unwrap()
    .0
}

/// What a store keeps of the records it was given.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) events: Vec<(Seq, String, u64, Arc<str>)>,
    pub(crate) orders: BTreeMap<String, (String, u64)>,
    pub(crate) dedupe: Vec<Dedupe>,
}

impl Disk {
    pub(crate) fn write(&mut self, record: &Record) {
        if let Some(epoch) = &record.epoch {
            self.epoch = Some(epoch.clone());
            self.events.clear();
        }
        if let Some(event) = &record.event {
            self.events.push((
                event.seq,
                event.kind.clone(),
                event.at_ms,
                Arc::clone(event.frame(Dialect::V1)),
            ));
        }
        for row in &record.orders {
            match &row.order {
                Some(order) => self
                    .orders
                    .insert(row.id.clone(), (order.stored(), row.changed_ms)),
                None => self.orders.remove(&row.id),
            };
        }
        self.dedupe.extend(record.dedupe.clone());
        self.dedupe.retain(|row| {
            !record
                .forgotten
                .iter()
                .any(|(sub, id)| *sub == row.sub && *id == row.id)
        });
    }

    pub(crate) fn read(&self, after: Seq, most: usize) -> Arc<[Arc<Event>]> {
        let rows = self
            .events
            .iter()
            .filter(|(seq, ..)| *seq > after)
            .take(most);
        rows.map(|(seq, kind, at, frame)| {
            Arc::new(Event::new(*seq, kind.clone(), *at, Arc::clone(frame)))
        })
        .collect()
    }

    /// A log as a restart finds it, with the newest `in_memory` events in memory.
    pub(crate) fn load(&self, head: Seq, in_memory: usize, at: Moment) -> Log {
        let epoch = self.epoch.clone().unwrap_or_else(|| Epoch::new("e1"));
        let first = self.events.len().saturating_sub(in_memory);
        let event = |(seq, kind, at, frame): &(Seq, String, u64, Arc<str>)| {
            Event::new(*seq, kind.clone(), *at, Arc::clone(frame))
        };
        let stored = Stored {
            epoch: Some(epoch.clone()),
            head,
            tail: self.events[first..].iter().map(event).collect(),
            sizes: self
                .events
                .iter()
                .map(|(.., frame)| frame.len() as u32)
                .collect(),
            orders: self
                .orders
                .values()
                .map(|(json, ms)| (Order::from_stored(json).unwrap(), *ms))
                .collect(),
            dedupe: self.dedupe.clone(),
        };
        Log::load("grow", epoch, stored, at)
    }
}

/// A log and its store; time moves by a millisecond a command.
pub(crate) struct Kit {
    pub(crate) log: Log,
    pub(crate) disk: Disk,
    pub(crate) ms: u64,
    orders: u64,
    waiters: u64,
}

impl Kit {
    pub(crate) fn new() -> Self {
        let disk = Disk::default();
        Self {
            log: disk.load(0, 0, at(0)),
            disk,
            ms: 0,
            orders: 0,
            waiters: 0,
        }
    }

    /// Judges; the waiter's number, and the answer if it came at once.
    pub(crate) fn judge_as(
        &mut self,
        sub: &str,
        key: Option<(&str, u128)>,
        command: &Command,
    ) -> (Waiter, Option<Answer>) {
        self.ms += 1;
        self.orders += 1;
        self.waiters += 1;
        let waiter = Waiter(self.waiters);
        let by = By { sub, key, waiter };
        let answer = match self
            .log
            .judge(command, by, &format!("o{}", self.orders), at(self.ms))
        {
            Judged::Queued => None,
            Judged::Now(answer) => Some(answer),
        };
        (waiter, answer)
    }

    pub(crate) fn judge(&mut self, command: &Command) -> (Waiter, Option<Answer>) {
        self.judge_as("ann", None, command)
    }

    /// Writes and commits everything pending.
    pub(crate) fn commit(&mut self) -> Vec<(Waiter, Answer)> {
        let mut answers = Vec::new();
        while self.log.has_batch() {
            let batch = self.log.take_batch(512, 1 << 20);
            batch.iter().for_each(|record| self.disk.write(record));
            answers.extend(
                self.log
                    .committed(batch.last().unwrap().ticket, at(self.ms)),
            );
        }
        answers
    }

    /// Judges and commits; the answer.
    pub(crate) fn done(&mut self, command: &Command) -> Answer {
        let (waiter, now) = self.judge(command);
        let answers = self.commit();
        now.unwrap_or_else(|| {
            answers
                .into_iter()
                .find(|(w, _)| *w == waiter)
                .expect("answered")
                .1
        })
    }

    /// Makes an order; its id.
    pub(crate) fn order(&mut self) -> String {
        assert!(matches!(self.done(&create()), Answer::Ack(_)));
        format!("o{}", self.orders)
    }

    pub(crate) fn fill(&mut self, events: usize) {
        for n in 0..events {
            let _ = self.judge(&publish("kds:update", &format!("{{\"n\":{n}}}")));
            if self.log.pending() > 100 {
                self.commit();
            }
        }
        self.commit();
    }
}
