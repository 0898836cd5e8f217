//! Commands to the log, records to the store, answers back.

use super::conn::{Conn, ConnId};
use super::restaurant::{Restaurant, Slot};
use super::{Asker, Shard};
use crate::ids::random_id;
use crate::limit;
use crate::load;
use crate::store::Report;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tautline_machine::relay::session::Input;
use tautline_machine::relay::{Answer, By, Judged, Log, Nack, Scope, Ticket, Waiter};
use tautline_protocol::request::{Command, Key};
use tautline_protocol::{CloseCode, NackCode, limits};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Who wants a command applied.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) scope: Scope,
    /// The id it is remembered under, and the hash of what it says.
    pub(crate) key: Option<Key>,
}

fn kind(command: &Command) -> &'static str {
    match command {
        Command::Create(_) => "create",
        Command::Status { .. } => "status",
        Command::ItemStatus { .. } => "item_status",
        Command::Cancel { .. } => "cancel",
        Command::Delete { .. } => "delete",
        Command::Fact(_) => "fact",
        Command::Publish { .. } => "publish",
    }
}

/// Commands of a kind that came to the same.
pub(super) fn count(kind: &'static str, result: &'static str, times: u64) {
    metrics::counter!("tautline_commands_total", "type" => kind, "result" => result)
        .increment(times);
}

impl Shard {
    /// A connection's command.
    pub(super) fn submit(
        &mut self,
        conn: &mut Conn,
        number: u64,
        command: &Command,
        key: Option<Key>,
    ) {
        let (Some(identity), Some((_, restaurant))) = (conn.session.identity(), &conn.at) else {
            return;
        };
        let (author, restaurant) = (
            Author {
                scope: identity.scope.clone(),
                key,
            },
            Rc::clone(restaurant),
        );
        if let Some(answer) = self.judge(&restaurant, command, &author, || {
            Asker::Conn(conn.id, number)
        }) {
            self.tell(conn, Input::Answered { number, answer });
        }
    }

    /// A command by HTTP.
    pub(crate) fn submit_http(
        &mut self,
        restaurant: &str,
        author: Author,
        command: Command,
        done: oneshot::Sender<Answer>,
    ) {
        self.with_restaurant(restaurant, move |shard, loaded| {
            let restaurant = match loaded {
                Ok(restaurant) => restaurant,
                Err(why) => return drop(done.send(Answer::Nack(why.nack()))),
            };
            let mut done = Some(done);
            let answer = shard.judge(&restaurant, &command, &author, || {
                Asker::Http(done.take().unwrap_or_else(|| oneshot::channel().0))
            });
            if let (Some(answer), Some(done)) = (answer, done) {
                let _ = done.send(answer);
            }
        });
    }

    /// Judges a command; the answer if it is there at once, else it comes after the commit to whoever `asker` says.
    pub(super) fn judge(
        &mut self,
        restaurant: &Rc<RefCell<Restaurant>>,
        command: &Command,
        author: &Author,
        asker: impl FnOnce() -> Asker,
    ) -> Option<Answer> {
        let refused = if self.full {
            Some(Nack::new(
                NackCode::Unavailable,
                "the store has no room; try again later",
            ))
        } else if self.pending >= limits::APPEND_QUEUE {
            Some(Nack {
                retry_after_ms: Some(1000),
                ..Nack::over(
                    limits::hit::APPEND_QUEUE,
                    NackCode::Overloaded,
                    "too many writes wait for the store",
                )
            })
        } else {
            self.overloaded()
        };
        if let Some(nack) = refused {
            return Some(Self::counted(kind(command), Answer::Nack(nack)));
        }
        let (at, waiter) = (self.clock.moment(), self.next_id());
        let key = author.key.as_ref().map(|key| (key.id.as_str(), key.hash));
        let by = By {
            scope: &author.scope,
            key,
            waiter: Waiter(waiter),
        };
        // Asked of the system only where an order is made.
        let fresh_id = match command {
            Command::Create(_) => random_id(),
            _ => String::new(),
        };
        let mut judged = None;
        self.judging(restaurant, |log| {
            judged = Some(log.judge(command, by, &fresh_id, at))
        });
        match judged {
            Some(Judged::Now(answer)) => Some(Self::counted(kind(command), answer)),
            Some(Judged::Queued) | None => {
                self.askers.insert(waiter, (kind(command), asker()));
                None
            }
        }
    }

    fn counted(kind: &'static str, answer: Answer) -> Answer {
        let result = match &answer {
            Answer::Ack(_) => "ack",
            Answer::Nack(nack) => {
                nack.limit.into_iter().for_each(limit::hit);
                nack.code.as_str()
            }
        };
        count(kind, result, 1);
        answer
    }

    /// Lets the log decide something, then hands what it wants stored to the store.
    pub(super) fn judging(
        &mut self,
        restaurant: &Rc<RefCell<Restaurant>>,
        act: impl FnOnce(&mut Log),
    ) {
        let mut held = restaurant.borrow_mut();
        let before = held.log.pending();
        act(&mut held.log);
        self.pending += held.log.pending().saturating_sub(before);
        drop(held);
        if !self
            .unsent
            .iter()
            .any(|other| Rc::ptr_eq(other, restaurant))
        {
            self.unsent.push(Rc::clone(restaurant));
            self.send.notify_one();
        }
    }

    /// Hands what was judged to the store.
    pub(super) fn send(&mut self) {
        for restaurant in std::mem::take(&mut self.unsent) {
            let mut held = restaurant.borrow_mut();
            // One batch of a restaurant is out at a time; what is judged meanwhile leaves together when it is back.
            let records = held
                .log
                .take_batch(limits::COMMIT_APPENDS, limits::COMMIT_BYTES);
            if !records.is_empty() {
                self.store.append(Arc::clone(&held.name), records);
                self.handed.push_back(Instant::now());
            }
        }
    }

    /// The store has spoken.
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Committed(restaurants) => {
                // A restaurant has one batch out at a time, so these are as many batches.
                let handed = self
                    .handed
                    .drain(..restaurants.len().min(self.handed.len()));
                if let Some(first) = handed.min() {
                    self.last_commit_ms = load::ms(first.elapsed());
                }
                for (name, upto) in restaurants {
                    if let Some(restaurant) = self.loaded(&name) {
                        self.committed(&restaurant, upto);
                    }
                }
                self.bell.notify_one();
            }
            Report::Failed { full } => {
                self.full = full;
                self.handed.clear();
                self.store.restart();
                self.undo();
            }
            Report::Recovered => self.full = false,
            Report::Broken(why) => {
                self.full = true;
                // Whoever waits is not answered: what they asked for may be on the disk or not. HTTP says so, a socket's
                // client asks again under the same id.
                self.askers.clear();
                let _ = self.broken.send(why);
            }
        }
    }

    fn committed(&mut self, restaurant: &Rc<RefCell<Restaurant>>, upto: Ticket) {
        let at = self.clock.moment();
        let answers = {
            let mut held = restaurant.borrow_mut();
            let (pending, head) = (held.log.pending(), held.log.head());
            let answers = held.log.committed(upto, at);
            self.pending = self.pending.saturating_sub(pending - held.log.pending());
            let now = held.log.head();
            self.gauges.appended.increment(now.saturating_sub(head));
            held.head
                .send_if_modified(|head| std::mem::replace(head, now) != now);
            answers
        };
        self.rung.push(Rc::clone(restaurant));
        self.weigh(restaurant);
        self.judging(restaurant, |_| {});
        self.answer(answers);
        if restaurant.borrow().is_changing() {
            self.place_waiting(restaurant);
        }
    }

    /// Nothing that was pending holds.
    fn undo(&mut self) {
        let loaded: Vec<_> = self
            .restaurants
            .values()
            .filter_map(|slot| match slot {
                Slot::Loaded(restaurant) => Some(Rc::clone(restaurant)),
                Slot::Loading(_) => None,
            })
            .collect();
        for restaurant in loaded {
            let (answers, unplaced): (_, Vec<ConnId>) = {
                let mut held = restaurant.borrow_mut();
                let unplaced = std::mem::take(&mut held.unplaced);
                (
                    held.log.failed(),
                    unplaced.into_iter().map(|(id, _)| id).collect(),
                )
            };
            self.answer(answers);
            for id in unplaced {
                self.input(
                    id,
                    Input::End(CloseCode::TRY_LATER, "the store cannot be written now"),
                );
            }
        }
        self.pending = 0;
    }

    fn answer(&mut self, answers: Vec<(Waiter, Answer)>) {
        for (Waiter(waiter), answer) in answers {
            let Some((kind, asker)) = self.askers.remove(&waiter) else {
                continue;
            };
            let answer = Self::counted(kind, answer);
            match asker {
                Asker::Conn(id, number) => self.input(id, Input::Answered { number, answer }),
                // Whoever asked may have hung up; the command holds all the same.
                Asker::Http(done) => drop(done.send(answer)),
                Asker::Several(several, n) => several.settle(n, answer),
            }
        }
    }
}
