//! The back end behind the HTTP edge: it makes orders, states facts and publishes, over a network that loses, delays and
//! doubles its requests and their answers, and it asks again under the same key.

use crate::check::holds;
use crate::hands::new_order;
use crate::relay::{Disk, Net, Relay};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;
use tautline_machine::Rng;
use tautline_machine::relay::Answer;
use tautline_protocol::request::{Command, http};
use tautline_protocol::rfc3339;

struct Wish {
    site: usize,
    command: Command,
    hash: u128,
    /// Every answer that was given to it, whether or not it came back.
    answers: Vec<Answer>,
    /// Whether each of its requests was answered or never arrived.
    unanswered: u64,
    came_back: bool,
}

/// On its way.
enum Message {
    Request(usize),
    Answer(usize),
}

#[derive(Default)]
pub struct Till {
    wishes: Vec<Wish>,
    /// Which wish each request at a relay was.
    asked: BTreeMap<u64, usize>,
    requests: u64,
    under_way: Vec<(u64, Message)>,
    pub rough: bool,
}

impl Till {
    pub fn next_at(&self) -> Option<u64> {
        self.under_way.iter().map(|&(at, _)| at).min()
    }

    /// Something happens at the till, or it asks again because no answer came.
    pub fn act(&mut self, site: usize, relays: &mut [Relay], now: u64, rng: &mut Rng) {
        if self.rough || rng.between(0, 1) == 0 {
            self.some(site, relays, now, rng);
        }
        if !self.rough {
            // In quiet something new is sure to happen.
            self.asks(site, http::create(&new_order(rng).to_string()).unwrap());
            self.sends(self.wishes.len() - 1, 1, now, rng);
        }
    }

    fn asks(&mut self, site: usize, (command, hash): (Command, u128)) {
        self.wishes.push(Wish {
            site,
            command,
            hash,
            answers: Vec::new(),
            unanswered: 0,
            came_back: false,
        });
    }

    fn sends(&mut self, wish: usize, copies: u64, now: u64, rng: &mut Rng) {
        for _ in 0..copies {
            let slow = if rng.between(0, 9) == 0 && self.rough {
                8_000
            } else {
                30
            };
            let at = now + rng.between(0, slow);
            self.under_way.push((at, Message::Request(wish)));
        }
    }

    fn some(&mut self, site: usize, relays: &mut [Relay], now: u64, rng: &mut Rng) {
        let open: Vec<usize> = (0..self.wishes.len())
            .rev()
            .take(6)
            .filter(|&n| !self.wishes[n].came_back || rng.between(0, 3) == 0)
            .collect();
        let again = open.len() as u64;
        let wish = if again > 0 && rng.between(0, 3) == 0 {
            relays[site].tally.posts_again += 1;
            open[rng.between(0, again - 1) as usize]
        } else {
            let wanted = wish(&relays[site], now, rng);
            self.asks(site, wanted);
            self.wishes.len() - 1
        };
        let tally = &mut relays[self.wishes[wish].site].tally;
        let copies = match rng.between(0, 9) {
            0 if self.rough => {
                tally.posts_lost += 1;
                0
            }
            1 if self.rough => {
                tally.posts_doubled += 1;
                2
            }
            _ => 1,
        };
        self.sends(wish, copies, now, rng);
    }

    /// Requests arrive, answers leave and arrive.
    pub fn tick(&mut self, relays: &mut [Relay], now: u64, net: &mut Net<'_>) {
        let messages = std::mem::take(&mut self.under_way);
        let (due, later): (Vec<_>, Vec<_>) = messages.into_iter().partition(|&(at, _)| at <= now);
        self.under_way = later;
        for (_, message) in due {
            match message {
                Message::Request(n) => {
                    self.requests += 1;
                    let wish = &mut self.wishes[n];
                    let relay = &mut relays[wish.site];
                    self.asked.insert(self.requests, n);
                    relay.tally.posts += 1;
                    let key = format!("till-{n}");
                    if relay.post(self.requests, &wish.command, Some((&key, wish.hash)), net) {
                        wish.unanswered += 1;
                    }
                }
                Message::Answer(n) => self.wishes[n].came_back = true,
            }
        }
        for relay in relays {
            for (request, answer) in std::mem::take(&mut relay.http) {
                let n = self.asked[&request];
                let wish = &mut self.wishes[n];
                wish.unanswered -= 1;
                let key = format!("till-{n}");
                holds!(
                    "durable",
                    !matches!(answer, Answer::Ack(_)) || relay.disk.has_command(&key),
                    "{key} is answered 2xx and not on the disk"
                );
                wish.answers.push(answer);
                if self.rough && net.rng.between(0, 7) == 0 {
                    relay.tally.answers_lost += 1;
                } else {
                    let at = now + net.rng.between(0, 40);
                    self.under_way.push((at, Message::Answer(n)));
                }
            }
        }
    }

    /// The back end talks to the standby from now on.
    pub fn moves(&mut self, from: usize) {
        for wish in self.wishes.iter_mut().filter(|wish| wish.site == from) {
            // What was asked of the relay that is gone stays with it: its answers are another history's.
            wish.came_back = true;
        }
        self.under_way.retain(
            |(_, message)| !matches!(message, Message::Request(n) if self.wishes[*n].site == from),
        );
    }

    /// At the end: one answer each, and a true one.
    pub fn settled(&self, relays: &[Relay]) {
        for (n, wish) in self.wishes.iter().enumerate() {
            let disk: &Disk = &relays[wish.site].disk;
            let applied = disk.has_command(&format!("till-{n}"));
            let acks: Vec<_> = wish
                .answers
                .iter()
                .filter_map(|answer| match answer {
                    Answer::Ack(ack) => Some(ack),
                    Answer::Nack(_) => None,
                })
                .collect();
            holds!(
                "answered",
                acks.iter().all(|ack| ack == &acks[0]),
                "till-{n} was answered differently: {acks:?}"
            );
            if !acks.is_empty() {
                holds!("answered", applied, "till-{n} was answered 2xx and is lost");
            } else if wish.unanswered == 0 {
                holds!(
                    "answered",
                    !applied,
                    "till-{n} was refused and is there: {:?}",
                    wish.answers
                );
            }
        }
    }
}

/// What a back end wants of a relay.
fn wish(relay: &Relay, now: u64, rng: &mut Rng) -> (Command, u128) {
    let history = &relay.disk.history;
    let known: Vec<&Rc<Value>> = history.orders().collect();
    let last = (known.len() as u64).saturating_sub(1);
    let some = known.get(rng.between(0, last) as usize).copied();
    let publish = |kind: &str, payload: Value| {
        let body = json!({"type": kind, "payload": payload}).to_string();
        http::publish(relay.restaurant, &body).unwrap()
    };
    match (rng.between(0, 15), some) {
        (0, _) => publish("menu:updated", json!({"version": now})),
        (1, _) => publish("table:updated", json!({"table": 3})),
        (2 | 3, Some(order)) => publish(
            "payment:processed",
            json!({"order_id": order["id"], "updated_by": "bank", "amount": 5}),
        ),
        (4, Some(order)) => publish("order:deleted", json!({"order_id": order["id"]})),
        (5..=7, Some(order)) => {
            let mut order = Value::clone(order);
            match rng.between(0, 2) {
                0 => order["created_by"] = json!(format!("page-{}", rng.between(0, 4))),
                1 => order["table_number"] = json!(rng.between(1, 4).to_string()),
                _ => order["metadata"] = json!({"private": {"cost": now}, "seen": true}),
            }
            // No two of one millisecond, or a snapshot could not tell them apart.
            let stamp = rfc3339(relay.wall(now));
            let stamp = stamp.trim_end_matches('Z');
            order["updated_at"] = json!(format!("{stamp}{:03}Z", history.head() % 1_000));
            publish("order:updated", json!({"order": order}))
        }
        (8, _) => {
            let mut order = json!({"id": format!("fact-{now}-{}", rng.between(0, 99)), "status": "new", "created_at": rfc3339(relay.wall(now))});
            order["created_by"] = json!(format!("page-{}", rng.between(0, 4)));
            order["items"] = json!([{"id": "i1", "name": "Tea", "quantity": 1, "station": "bar", "status": "pending"}]);
            publish("order:created", json!({"order": order}))
        }
        _ => http::create(&new_order(rng).to_string()).unwrap(),
    }
}
