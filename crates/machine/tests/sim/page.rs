//! A page: the browser driver's part around the real client machine and the real order set.

use crate::check::Watch;
use crate::net::{Down, Link, Up};
use crate::relay::Disk;
use crate::wire::{SimOrder, head};
use crate::world::Tally;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tautline_machine::client::{
    Answer, AttemptId, Change, Client, Closed, Command, Config, ConnectionState, Input, Notice,
    Output, PageEvent, Patch, Token, TokenAnswer, WaiterId,
};
use tautline_machine::{Rng, Time};
use tautline_protocol::CloseCode;

/// Something that reaches the page; held back while it is frozen.
#[derive(Debug)]
pub enum Arrival {
    Net(u32, Down),
    Token(u32, TokenAnswer),
    Life(PageEvent),
}

pub struct Page {
    pub index: usize,
    pub client: Client,
    pub orders: Orders,
    pub want_set: bool,
    frame: Value,
    kept: BTreeSet<String>,
    wake: Option<u64>,
    /// The machine's clock runs ahead of the world's by this.
    pub clock_ahead: u64,
    pub frozen_until: Option<u64>,
    pub cached_until: Option<u64>,
    backlog: Vec<Arrival>,
    pub links: BTreeMap<u32, u32>,
    tokens_due: Vec<(u64, u32)>,
    dial: Vec<u32>,
    waiters: u32,
    settled_waiters: BTreeSet<u32>,
    pub sent: BTreeSet<String>,
    pub watch: Watch,
    pub disposed: bool,
    pub tally: Tally,
}

type Orders = tautline_machine::client::Orders<SimOrder>;

impl Page {
    pub fn new(index: usize, seed: u64, want_set: bool, now: u64, rng: &mut Rng) -> Self {
        let config = Config {
            restaurant_id: Some(crate::relay::RESTAURANT.to_owned()),
            has_token: true,
            outbox_ttl_ms: rng.between(5_000, 120_000),
            ..Config::default()
        };
        let mut page = Self {
            index,
            client: Client::new(config, seed, Time::from_ms(now)),
            orders: Orders::new(),
            want_set,
            frame: Value::Null,
            kept: BTreeSet::new(),
            wake: None,
            clock_ahead: 0,
            frozen_until: None,
            cached_until: None,
            backlog: Vec::new(),
            links: BTreeMap::new(),
            tokens_due: Vec::new(),
            dial: Vec::new(),
            waiters: 0,
            settled_waiters: BTreeSet::new(),
            sent: BTreeSet::new(),
            watch: Watch::default(),
            disposed: false,
            tally: Tally::default(),
        };
        page.watch.told_gap();
        if want_set {
            page.client
                .handle(Input::WantOrders(true), Time::from_ms(now));
        }
        page
    }

    pub fn runs(&self) -> bool {
        self.frozen_until.is_none() && self.cached_until.is_none()
    }

    fn time(&self, now: u64) -> Time {
        Time::from_ms(now + self.clock_ahead)
    }

    pub fn next_at(&self) -> Option<u64> {
        let tokens = self.tokens_due.iter().map(|&(at, _)| at).min();
        let wake = self.wake.filter(|_| self.runs());
        tokens
            .into_iter()
            .chain(wake)
            .chain(self.frozen_until)
            .chain(self.cached_until)
            .min()
    }

    pub fn connect(&mut self, now: u64, env: &mut Env<'_>) {
        self.waiters += 1;
        self.input(Input::Connect(WaiterId(self.waiters)), now, env);
    }

    /// Whatever is due.
    pub fn tick(&mut self, now: u64, env: &mut Env<'_>) {
        if self.frozen_until.is_some_and(|at| at <= now) {
            self.frozen_until = None;
            // The browser may say `resume` before or after what was waiting.
            let first = env.rng.between(0, 1) == 0;
            if first {
                self.arrive(Arrival::Life(PageEvent::Resumed), now, env);
            }
            for arrival in std::mem::take(&mut self.backlog) {
                self.arrive(arrival, now, env);
            }
            if !first {
                self.arrive(Arrival::Life(PageEvent::Resumed), now, env);
            }
        }
        if self.cached_until.is_some_and(|at| at <= now) {
            self.cached_until = None;
            for arrival in std::mem::take(&mut self.backlog) {
                self.arrive(arrival, now, env);
            }
            self.arrive(Arrival::Life(PageEvent::Shown), now, env);
        }
        let (due, later): (Vec<_>, Vec<_>) = self
            .tokens_due
            .iter()
            .copied()
            .partition(|&(at, _)| at <= now);
        self.tokens_due = later;
        for (_, attempt) in due {
            let answer = env.token(self.index, now);
            self.arrive(Arrival::Token(attempt, answer), now, env);
        }
        if self.runs() && self.wake.is_some_and(|at| at <= now) {
            self.input(Input::Tick, now, env);
        }
    }

    pub fn arrive(&mut self, arrival: Arrival, now: u64, env: &mut Env<'_>) {
        if !self.runs() {
            return self.backlog.push(arrival);
        }
        match arrival {
            Arrival::Token(attempt, answer) => {
                self.input(Input::Token(AttemptId(attempt), answer), now, env)
            }
            Arrival::Life(event) => self.input(Input::Page(event), now, env),
            Arrival::Net(attempt, Down::Opened) => {
                self.input(Input::Opened(AttemptId(attempt)), now, env)
            }
            Arrival::Net(attempt, Down::Text(text)) => self.received(attempt, &text, now, env),
            Arrival::Net(attempt, Down::Close(code, reason)) => {
                let closed = Closed {
                    code: CloseCode(code),
                    reason,
                    was_clean: true,
                };
                self.input(Input::Closed(AttemptId(attempt), closed), now, env);
            }
            Arrival::Net(attempt, Down::Broken) => {
                let closed = Closed {
                    code: CloseCode::ABNORMAL,
                    reason: String::new(),
                    was_clean: false,
                };
                self.input(Input::Closed(AttemptId(attempt), closed), now, env);
            }
            Arrival::Net(_, Down::Ping) => unreachable!("the browser answers pings by itself"),
        }
    }

    fn received(&mut self, attempt: u32, text: &str, now: u64, env: &mut Env<'_>) {
        let frame: Value =
            serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"));
        let frames = match frame {
            Value::Array(frames) => frames,
            frame => vec![frame],
        };
        for frame in frames {
            let head = head(&frame, self.client.epoch());
            self.frame = frame;
            self.input(Input::Frame(AttemptId(attempt), head), now, env);
        }
    }

    pub fn input(&mut self, input: Input, now: u64, env: &mut Env<'_>) {
        if env.story {
            eprintln!("{now:>7} page {} <- {input:?}", self.index);
        }
        self.client.handle(input, self.time(now));
        self.drain(now, env);
    }

    fn drain(&mut self, now: u64, env: &mut Env<'_>) {
        for _ in 0..10_000 {
            let output = self.client.poll_output();
            if let Output::Wait(wake) = output {
                let ahead = self.clock_ahead;
                self.wake = wake.map(|(at, _)| at.as_ms().saturating_sub(ahead).max(now));
                for attempt in std::mem::take(&mut self.dial) {
                    self.input(Input::Url(AttemptId(attempt), true), now, env);
                }
                return;
            }
            if env.story {
                eprintln!("{now:>7} page {}    -> {output:?}", self.index);
            }
            self.perform(output, now, env);
        }
        panic!("a client that never waits");
    }

    fn perform(&mut self, output: Output, now: u64, env: &mut Env<'_>) {
        match output {
            Output::ResolveUrl(AttemptId(attempt)) => self.dial.push(attempt),
            Output::FetchToken { attempt, .. } => {
                let slow = if env.rough && env.rng.between(0, 40) == 0 {
                    15_000
                } else {
                    80
                };
                self.tokens_due
                    .push((now + env.rng.between(0, slow), attempt.0));
            }
            Output::Open(AttemptId(attempt)) => {
                let id = env.open(self.index, attempt, now);
                self.links.insert(attempt, id);
            }
            Output::Send(AttemptId(attempt), text) => {
                let id = *self
                    .links
                    .get(&attempt)
                    .expect("sends only on a socket it has");
                env.up(id, now, Up::Text(text));
            }
            Output::Close(AttemptId(attempt), ..) => {
                let id = self
                    .links
                    .remove(&attempt)
                    .expect("closes only a socket it has");
                env.close(id, now);
            }
            Output::Drop(AttemptId(attempt)) => {
                if let Some(id) = self.links.remove(&attempt) {
                    env.close(id, now);
                }
            }
            Output::ProbeHealth(_) => self.tally.health_probes += 1,
            Output::Settle(waiter, _) => assert!(
                self.settled_waiters.insert(waiter.0),
                "a connect() was settled twice"
            ),
            Output::Deliver { seq } => self.deliver(seq, env),
            Output::CollectSnapshot { first } => {
                let orders = self.frame["payload"]["orders"]
                    .as_array()
                    .cloned()
                    .expect("a part has orders");
                self.orders.collect(first, orders.into_iter().map(SimOrder));
            }
            Output::InstallSnapshot { seq } => {
                let epoch = self.frame["payload"]["epoch"].as_str().unwrap();
                self.watch.installed(epoch, seq.unwrap());
                let updates = self.orders.install();
                self.watch.updates(&updates);
                self.tally.snapshots += 1;
            }
            Output::DiscardSnapshot => self.orders.discard(),
            Output::OrdersStale => self.orders.mark_stale(),
            Output::Keep(id) => assert!(self.kept.insert(id), "kept twice"),
            Output::Settled(id, answer) => {
                self.kept.remove(&id);
                self.orders.settle(&id);
                self.tally.answered(&answer);
                if let Answer::Acked { seq: Some(seq) } = answer
                    && self.want_set
                    && let Some(position) = self.client.position()
                {
                    self.tally.acks_shown += u64::from(position >= seq);
                }
                self.watch.answered(&id, &answer, env.disk);
            }
            Output::Tell(notice) => self.told(&notice),
            Output::Wait(_) => unreachable!("handled by the caller"),
        }
    }

    fn told(&mut self, notice: &Notice) {
        match notice {
            Notice::Gap { .. } => {
                self.tally.gaps += 1;
                if !self.want_set {
                    self.watch.told_gap();
                }
            }
            Notice::Resumed { .. } => self.tally.resumes += 1,
            Notice::Stale => self.tally.stale += 1,
            Notice::Fresh => self.tally.fresh += 1,
            _ => {}
        }
    }

    fn deliver(&mut self, seq: Option<u64>, env: &Env<'_>) {
        assert_eq!(seq, self.frame["seq"].as_u64());
        self.watch.delivered(&self.frame, env.disk);
        self.tally.events += 1;
        if !self.want_set {
            return;
        }
        let payload = &self.frame["payload"];
        let id = payload["order_id"].as_str().unwrap_or_default().to_owned();
        let at = self.frame["timestamp"].as_str().map(str::to_owned);
        let status = payload["status"].as_str().unwrap_or_default().to_owned();
        let change = match self.frame["type"].as_str().unwrap() {
            "order:created" => Change::Created(SimOrder(payload["order"].clone())),
            "order:updated" => Change::Updated(SimOrder(payload["order"].clone())),
            "order:deleted" => Change::Deleted { id },
            "order:status_changed" => Change::Patched {
                id,
                patch: Patch::Status(status),
                at,
            },
            "order:item_status_changed" => {
                let item_id = payload["item_id"].as_str().unwrap().to_owned();
                Change::Patched {
                    id,
                    patch: Patch::ItemStatus { item_id, status },
                    at,
                }
            }
            "orders:archived" => {
                let ids = payload["order_ids"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|id| id.as_str().unwrap().to_owned())
                    .collect();
                Change::Archived { ids }
            }
            _ => return,
        };
        let updates = self.orders.apply(change);
        self.watch.updates(&updates);
    }

    /// Someone touches the screen.
    pub fn act(&mut self, now: u64, env: &mut Env<'_>) {
        let some = self.orders.len();
        let pick = if some > 0 {
            self.orders
                .iter()
                .nth(env.rng.between(0, some as u64 - 1) as usize)
                .cloned()
        } else {
            None
        };
        let (kind, payload, overlay) = match (env.rng.between(0, 9), pick) {
            (0..=4, Some(SimOrder(order))) => {
                let path = [
                    "new",
                    "pending",
                    "confirmed",
                    "preparing",
                    "ready",
                    "picked-up",
                    "completed",
                ];
                let at = path.iter().position(|&s| order["status"] == s).unwrap_or(0);
                let step = [0, 1, 1, 1, 2, 6][env.rng.between(0, 5) as usize];
                let status = path[(at + step).min(6)];
                let id = order["id"].as_str().unwrap().to_owned();
                let mut payload = json!({"order_id": id, "status": status});
                if env.rng.between(0, 1) == 0 {
                    payload["expected_status"] = order["status"].clone();
                }
                (
                    "order:update_status",
                    payload,
                    Some((id, Patch::Status(status.to_owned()))),
                )
            }
            (5 | 6, Some(SimOrder(order))) => {
                let item = order["items"][0]["id"].as_str().unwrap().to_owned();
                let status = ["preparing", "ready", "served"][env.rng.between(0, 2) as usize];
                let id = order["id"].as_str().unwrap().to_owned();
                let payload = json!({"order_id": id, "item_id": item, "status": status});
                (
                    "order:update_item_status",
                    payload,
                    Some((
                        id,
                        Patch::ItemStatus {
                            item_id: item,
                            status: status.to_owned(),
                        },
                    )),
                )
            }
            (7, Some(SimOrder(order))) => (
                "order:cancel",
                json!({"order_id": order["id"], "reason": "gone home"}),
                None,
            ),
            _ => ("order:create", json!({"order": new_order(env.rng)}), None),
        };
        let command = Command {
            kind: kind.to_owned(),
            payload: payload.to_string(),
            id: None,
            ttl_ms: None,
            timeout_ms: (env.rng.between(0, 2) > 0).then(|| env.rng.between(2_000, 20_000)),
            until_shown: self.want_set,
        };
        if let Ok(id) = self.client.send(command, self.time(now)) {
            if let Some((order, patch)) = overlay {
                self.orders.overlay(id.clone(), order, patch);
            }
            assert!(self.sent.insert(id), "an id was made twice");
            self.tally.commands += 1;
        }
        self.drain(now, env);
    }

    pub fn state(&self) -> ConnectionState {
        self.client.state()
    }

    /// Nothing is left of a page that was let go.
    pub fn assert_at_rest(&mut self) {
        assert!(
            matches!(self.client.poll_output(), Output::Wait(None)),
            "page {} keeps a timer",
            self.index
        );
        assert!(self.links.is_empty(), "page {} keeps a socket", self.index);
    }
}

pub fn new_order(rng: &mut Rng) -> Value {
    let items: Vec<Value> = (0..rng.between(1, 3))
        .map(|n| json!({"menu_item_id": format!("m{n}"), "name": "Soup", "quantity": rng.between(1, 4), "price": 5.5}))
        .collect();
    // Large now and then, so that sets come in several parts and sockets fill up.
    let notes = "x".repeat(if rng.between(0, 3) == 0 {
        rng.between(0, 1_800) as usize
    } else {
        0
    });
    json!({"type": "dine-in", "items": items, "notes": notes})
}

/// What a page can reach.
pub struct Env<'a> {
    pub rng: &'a mut Rng,
    pub links: &'a mut BTreeMap<u32, Link>,
    pub next_link: &'a mut u32,
    pub disk: &'a Disk,
    pub relay_wall: u64,
    /// Trouble with tokens is allowed.
    pub rough: bool,
    pub story: bool,
}

impl Env<'_> {
    fn open(&mut self, page: usize, attempt: u32, now: u64) -> u32 {
        *self.next_link += 1;
        let slow = if self.rng.between(0, 5) == 0 { 900 } else { 40 };
        let latency = self.rng.between(1, slow);
        let mut link = Link::new(page, attempt, latency);
        link.send_up(now, 0, Up::Handshake);
        // Some attempts get nowhere, and nobody says so.
        link.half_open = self.rough && self.rng.between(0, 24) == 0;
        self.links.insert(*self.next_link, link);
        *self.next_link
    }

    fn up(&mut self, id: u32, now: u64, what: Up) {
        let jitter = self.rng.between(0, 5);
        if let Some(link) = self.links.get_mut(&id) {
            link.send_up(now, jitter, what);
        }
    }

    fn close(&mut self, id: u32, now: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.send_up(now, 0, Up::Close);
            link.page_closed = true;
        }
    }

    fn token(&mut self, page: usize, _now: u64) -> TokenAnswer {
        let life = if !self.rough {
            3_600_000
        } else {
            match self.rng.between(0, 19) {
                0 => return TokenAnswer::None,
                1 => return TokenAnswer::Failed,
                // A page that cached an old token.
                2 => {
                    return TokenAnswer::Token(Token::new(format!(
                        "page-{page}:{}",
                        self.relay_wall.saturating_sub(60_000)
                    )));
                }
                3..=7 => self.rng.between(8_000, 45_000),
                _ => 3_600_000,
            }
        };
        TokenAnswer::Token(Token::new(format!(
            "page-{page}:{}",
            self.relay_wall + life + self.rng.between(0, 999)
        )))
    }
}
