//! A log with its store in memory, for the tests of the relay's machines.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::{
    About, Answer, By, Dedupe, Event, Judged, Log, Moment, Record, Scope, Stored, Viewer, Waiter,
};
use tautline_protocol::filter::Filter;
use tautline_protocol::order::Order;
use tautline_protocol::request::{Command, http};
use tautline_protocol::{Dialect, Epoch, ItemStatus, OrderStatus, Role, Seq};

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

/// A viewer of a role, called by the role's name, without a filter.
pub(crate) fn viewer(dialect: Dialect, role: Role) -> Viewer {
    Viewer::new(dialect, Scope::new(role.as_str(), role), Filter::default())
}

/// An event as a store keeps it.
pub(crate) type Row = (Seq, String, u64, Option<String>, Arc<str>);

fn event((seq, kind, at, about, frame): &Row) -> Event {
    let about = About::from_stored(about.as_deref());
    Event::new(*seq, kind.clone(), *at, about, Arc::clone(frame))
}

/// What a store keeps of the records it was given.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) events: Vec<Row>,
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
                event.about.stored(),
                Arc::clone(event.stored()),
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
        rows.map(|row| Arc::new(event(row))).collect()
    }

    /// A log as a restart finds it, with the newest `in_memory` events in memory.
    pub(crate) fn load(&self, head: Seq, in_memory: usize, at: Moment) -> Log {
        let epoch = self.epoch.clone().unwrap_or_else(|| Epoch::new("e1"));
        let first = self.events.len().saturating_sub(in_memory);
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
        // Only a service may do whatever the tests do to the log.
        self.judge_in(&Scope::new(sub, Role::Service), key, command)
    }

    /// Judges for whoever this is.
    pub(crate) fn judge_in(
        &mut self,
        scope: &Scope,
        key: Option<(&str, u128)>,
        command: &Command,
    ) -> (Waiter, Option<Answer>) {
        self.ms += 1;
        self.orders += 1;
        self.waiters += 1;
        let waiter = Waiter(self.waiters);
        let by = By { scope, key, waiter };
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
