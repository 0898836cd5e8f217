//! A page: the browser driver's part around the real client machine and the real order set.

use crate::check::{Watch, holds};
use crate::holder::Holders;
use crate::net::{Down, Link, Up};
use crate::oracle::Wanted;
use crate::relay::{Disk, Relay};
use crate::storage::Storage;
use crate::tally::Tally;
use crate::wire::{SimOrder, head};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tautline_machine::client::{
    Answer, AttemptId, Change, Client, Closed, Config, ConnectionState, Input, LeaseInput,
    LeaseOutput, Notice, Output, PageEvent, Patch, TokenAnswer, TokenReason, WaiterId,
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

/// Who a page signs in as, and where it may find a relay.
#[derive(Clone, Debug)]
pub struct Home {
    pub restaurant: &'static str,
    /// The relays of its restaurant, in the order of its list of URLs.
    pub sites: Vec<usize>,
    pub role: &'static str,
    pub ids: BTreeSet<String>,
}

pub struct Page {
    pub index: usize,
    pub home: Home,
    /// Which address of its list the attempt under way goes to.
    address: usize,
    /// The relay that each attempt went to.
    sites: BTreeMap<u32, usize>,
    pub wanted: Wanted,
    /// Those who hold the connection, on a page where it is shared by leases.
    pub holders: Option<Holders>,
    lease_waiter: Option<u32>,
    lease_inputs: Vec<LeaseInput>,
    config: Config,
    /// Where its outbox outlives it.
    pub storage: Option<Storage>,
    /// Crashed; loaded again then.
    pub down_until: Option<u64>,
    /// The relay did not take its last renewal (its clock is ahead of the token's end, say): it stays who it was.
    pub refused: bool,
    pub client: Client,
    pub orders: Orders,
    pub want_set: bool,
    frame: Rc<Value>,
    kept: BTreeSet<String>,
    wake: Option<u64>,
    /// The machine's clock runs ahead of the world's by this.
    pub clock_ahead: u64,
    pub frozen_until: Option<u64>,
    pub cached_until: Option<u64>,
    backlog: Vec<Arrival>,
    pub links: BTreeMap<u32, u32>,
    tokens_due: Vec<(u64, u32, TokenReason)>,
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
    pub fn new(index: usize, seed: u64, want_set: bool, home: Home, rng: &mut Rng) -> Self {
        let now = 0;
        let outbox_limit = if rng.between(0, 2) == 0 {
            rng.between(2, 20) as usize
        } else {
            1_000
        };
        let storage = (rng.between(0, 1) == 0).then(Storage::default);
        let config = Config {
            outbox_stored: storage.is_some(),
            restaurant_id: Some(home.restaurant.to_owned()),
            has_token: true,
            addresses: home.sites.len(),
            outbox_limit,
            outbox_ttl_ms: rng.between(5_000, 120_000),
            ..Config::default()
        };
        let mut page = Self {
            index,
            home,
            address: 0,
            sites: BTreeMap::new(),
            wanted: Wanted::default(),
            holders: (!want_set).then(Holders::default),
            lease_waiter: None,
            lease_inputs: Vec::new(),
            refused: false,
            client: Client::new(config.clone(), seed, Time::from_ms(now)),
            config,
            storage,
            down_until: None,
            orders: Orders::new(),
            want_set,
            frame: Rc::default(),
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
        self.frozen_until.is_none() && self.cached_until.is_none() && self.down_until.is_none()
    }

    pub fn time(&self, now: u64) -> Time {
        Time::from_ms(now + self.clock_ahead)
    }

    pub fn next_at(&self) -> Option<u64> {
        let tokens = self.tokens_due.iter().map(|&(at, ..)| at).min();
        let leases = self.holders.as_ref().and_then(Holders::wake);
        let leases = leases.filter(|_| self.runs());
        let wake = self.wake.filter(|_| self.runs());
        let written = self.storage.as_ref().and_then(Storage::next_at);
        let written = written.filter(|_| self.runs());
        tokens
            .into_iter()
            .chain(wake)
            .chain(leases)
            .chain(written)
            .chain(self.frozen_until)
            .chain(self.cached_until)
            .chain(self.down_until)
            .min()
    }

    pub fn connect(&mut self, now: u64, env: &mut Env<'_>) {
        if let Some(holders) = &mut self.holders {
            let acquire = holders.acquire();
            return self.lease(acquire, now, env);
        }
        self.waiters += 1;
        self.input(Input::Connect(WaiterId(self.waiters)), now, env);
    }

    /// Lets the connection go, and asserts that nothing keeps a timer.
    pub fn disconnect(&mut self, now: u64, env: &mut Env<'_>) {
        if self.holders.is_some() {
            self.lease(LeaseInput::Force, now, env);
        } else {
            self.input(Input::Disconnect, now, env);
        }
        self.assert_at_rest();
    }

    /// Somebody takes the connection or lets go of it.
    pub fn lease(&mut self, input: LeaseInput, now: u64, env: &mut Env<'_>) {
        let Some(holders) = &mut self.holders else {
            return;
        };
        let mut outputs = holders.handle(input, now);
        outputs.reverse();
        while let Some(output) = outputs.pop() {
            match output {
                LeaseOutput::Connect => {
                    self.waiters += 1;
                    self.lease_waiter = Some(self.waiters);
                    self.input(Input::Connect(WaiterId(self.waiters)), now, env);
                }
                LeaseOutput::Disconnect => {
                    self.lease_waiter = None;
                    self.input(Input::Disconnect, now, env);
                }
                _ => {}
            }
        }
        for input in std::mem::take(&mut self.lease_inputs) {
            self.lease(input, now, env);
        }
    }

    /// Between steps.
    pub fn looks(&self, now: u64) {
        let stats = self.client.stats(self.time(now));
        // What dead pages left is taken over whatever is here.
        let adopted = self.storage.as_ref().map_or(0, |storage| storage.adopted);
        let most = self.config.outbox_limit + adopted as usize;
        holds!(
            "bounded",
            stats.outbox_len <= most,
            "an outbox of {} where {most} are the most",
            stats.outbox_len
        );
        if let Some(holders) = self
            .holders
            .as_ref()
            .filter(|_| self.runs() && !self.disposed)
        {
            holders.looks(now, self.client.state());
        }
    }

    /// Whatever is due.
    pub fn tick(&mut self, now: u64, env: &mut Env<'_>) {
        if self.down_until.is_some_and(|at| at <= now) {
            self.down_until = None;
            self.load(now, env);
        }
        while self.runs()
            && let Some(storage) = &mut self.storage
            && let Some(input) = storage.tick(env.rough, now, env.rng)
        {
            if let Input::Adopted { entries, .. } = &input {
                for entry in entries {
                    self.watch.taken_over(&entry.id);
                }
            }
            self.input(input, now, env);
        }
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
            .partition(|&(at, ..)| at <= now);
        self.tokens_due = later;
        for (_, attempt, reason) in due {
            let answer = self.token(reason, env);
            self.arrive(Arrival::Token(attempt, answer), now, env);
        }
        if self.runs() && self.wake.is_some_and(|at| at <= now) {
            self.input(Input::Tick, now, env);
        }
        let lease = |holders: &Holders| holders.wake().is_some_and(|at| at <= now);
        if self.runs() && self.holders.as_ref().is_some_and(lease) {
            self.lease(LeaseInput::Tick, now, env);
        }
    }

    pub fn arrive(&mut self, arrival: Arrival, now: u64, env: &mut Env<'_>) {
        if !self.runs() {
            if self.down_until.is_none() {
                self.backlog.push(arrival);
            }
            return;
        }
        match arrival {
            Arrival::Token(attempt, answer) => {
                self.input(Input::Token(AttemptId(attempt), answer), now, env)
            }
            Arrival::Life(event) => self.input(Input::Page(event), now, env),
            Arrival::Net(attempt, Down::Opened) => {
                self.input(Input::Opened(AttemptId(attempt)), now, env)
            }
            Arrival::Net(attempt, Down::Frames(frames, _)) => {
                for frame in frames.iter() {
                    self.received(attempt, frame, now, env);
                }
            }
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

    fn received(&mut self, attempt: u32, frame: &Rc<Value>, now: u64, env: &mut Env<'_>) {
        let head = head(frame, self.client.epoch());
        if frame["type"] == "cursor" && self.links.contains_key(&attempt) {
            self.tally.cursor_frames += 1;
            self.watch.accounted(frame);
        }
        if self.links.contains_key(&attempt) {
            match frame["type"].as_str() {
                Some("auth:failed") => self.refused = true,
                Some("auth:success") => self.refused = false,
                _ => {}
            }
        }
        self.frame.clone_from(frame);
        self.input(Input::Frame(AttemptId(attempt), head), now, env);
    }

    pub fn input(&mut self, input: Input, now: u64, env: &mut Env<'_>) {
        if env.story {
            eprintln!("{now:>7} page {} <- {input:?}", self.index);
        }
        self.client.handle(input, self.time(now));
        self.drain(now, env);
        for input in std::mem::take(&mut self.lease_inputs) {
            self.lease(input, now, env);
        }
    }

    pub fn drain(&mut self, now: u64, env: &mut Env<'_>) {
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
        panic!("[bounded] a client that never waits");
    }

    fn perform(&mut self, output: Output, now: u64, env: &mut Env<'_>) {
        match output {
            Output::ResolveUrl(AttemptId(attempt), address) => {
                self.address = address;
                self.dial.push(attempt);
            }
            Output::FetchToken {
                attempt, reason, ..
            } => {
                let slow = if env.rough && env.rng.between(0, 40) == 0 {
                    15_000
                } else {
                    80
                };
                self.tokens_due
                    .push((now + env.rng.between(0, slow), attempt.0, reason));
            }
            Output::Open(AttemptId(attempt)) => {
                let site = self.home.sites[self.address];
                let id = env.open(self.index, attempt, site, now);
                self.sites.insert(attempt, site);
                self.links.insert(attempt, id);
            }
            Output::Send(AttemptId(attempt), text) => {
                let id = *self
                    .links
                    .get(&attempt)
                    .expect("sends only on a socket it has");
                self.sends(&text);
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
            Output::Settle(waiter, result) => {
                holds!(
                    "answered",
                    self.settled_waiters.insert(waiter.0),
                    "a connect() was settled twice"
                );
                if self.lease_waiter == Some(waiter.0) {
                    self.lease_waiter = None;
                    self.lease_inputs.push(match result {
                        Ok(()) => LeaseInput::Connected,
                        Err(_) => LeaseInput::Failed,
                    });
                }
            }
            Output::Deliver { seq } => self.deliver(seq, env),
            Output::CollectSnapshot { first } => {
                let orders = self.frame["payload"]["orders"]
                    .as_array()
                    .cloned()
                    .expect("a part has orders");
                self.orders.collect(
                    first,
                    orders.into_iter().map(|order| SimOrder(Rc::new(order))),
                );
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
                self.watch.answered(&id, &answer, &env.disks(&self.home));
            }
            Output::Store { id, sent } => {
                let times = (self.time(now), now);
                if let Some(storage) = &mut self.storage {
                    storage.put(&self.client, &id, sent, times, env.rng);
                }
            }
            Output::Unstore(id) => {
                if let Some(storage) = &mut self.storage {
                    storage.remove(id, now, env.rng);
                }
            }
            Output::SetAside(id, _) => {
                if let Some(storage) = &mut self.storage {
                    storage.set_aside(id, now, env.rng);
                }
            }
            Output::Adopt => {
                if let Some(storage) = &mut self.storage {
                    storage.adopt(now, env.rng);
                }
            }
            Output::Tell(notice) => self.told(&notice),
            Output::Wait(_) => unreachable!("handled by the caller"),
        }
    }

    fn sends(&self, text: &str) {
        let Some(storage) = &self.storage else {
            return;
        };
        let frame: Value = serde_json::from_str(text).unwrap();
        let is_command = frame["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("order:"));
        if let (true, Some(id)) = (is_command, frame["id"].as_str()) {
            holds!(
                "outlives",
                storage.may_send(id),
                "{id} is sent and not in storage as what may be"
            );
        }
    }

    /// The page is gone in the middle of whatever it does; what it has written stays.
    pub fn crash(&mut self, back_at: u64, now: u64, env: &mut Env<'_>) {
        self.tally.crashes += 1;
        for id in std::mem::take(&mut self.links).into_values() {
            env.close(id, now);
            if let Some(link) = env.links.get_mut(&id) {
                link.dead = true;
                link.down.clear();
            }
        }
        (self.frozen_until, self.cached_until) = (None, None);
        self.down_until = Some(back_at);
        self.wake = None;
        self.sites.clear();
        self.tokens_due.clear();
        self.backlog.clear();
        self.kept.clear();
        self.dial.clear();
        let open = self.watch.crashed(&self.sent);
        let mut storage = self.storage.take();
        let in_memory: Vec<bool> = open
            .iter()
            .map(|id| {
                storage
                    .as_ref()
                    .is_none_or(|storage| storage.is_in_memory(id))
            })
            .collect();
        if let Some(storage) = &mut storage {
            storage.crash(now, env.rng);
        }
        for (id, in_memory) in open.into_iter().zip(in_memory) {
            if storage.as_ref().is_some_and(|storage| storage.has(&id)) {
                continue;
            }
            self.sent.remove(&id);
            // Of what was in memory alone nothing is promised.
            if !in_memory {
                self.tally.unborn += 1;
                self.watch.unborn(id);
            }
        }
        self.storage = storage;
    }

    /// The page is loaded again, and knows nothing.
    fn load(&mut self, now: u64, env: &mut Env<'_>) {
        self.client = Client::new(self.config.clone(), env.rng.next_u64(), self.time(now));
        self.orders = Orders::new();
        self.wanted = Wanted::default();
        self.refused = false;
        self.lease_waiter = None;
        self.lease_inputs.clear();
        if let Some(holders) = &mut self.holders {
            let granted = holders.granted;
            *holders = Holders::default();
            holders.granted = granted;
        }
        if self.want_set {
            self.input(Input::WantOrders(true), now, env);
        }
        self.connect(now, env);
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

    /// The relay of the newest attempt.
    pub fn site(&self) -> Option<usize> {
        self.sites.values().next_back().copied()
    }

    fn deliver(&mut self, seq: Option<u64>, env: &Env<'_>) {
        assert_eq!(seq, self.frame["seq"].as_u64());
        let site = self.site().unwrap();
        self.watch.delivered(&self.frame, &env.relays[site].disk);
        self.tally.events += 1;
        if !self.want_set {
            return;
        }
        let frame = Rc::clone(&self.frame);
        let payload = &frame["payload"];
        let id = payload["order_id"].as_str().unwrap_or_default().to_owned();
        let at = self.frame["timestamp"].as_str().map(str::to_owned);
        let status = payload["status"].as_str().unwrap_or_default().to_owned();
        let change = match self.frame["type"].as_str().unwrap() {
            "order:created" => Change::Created(SimOrder(Rc::new(payload["order"].clone()))),
            "order:updated" => Change::Updated(SimOrder(Rc::new(payload["order"].clone()))),
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

    pub fn state(&self) -> ConnectionState {
        self.client.state()
    }

    /// Nothing is left of a page that was let go.
    pub fn assert_at_rest(&mut self) {
        let waits = self.client.poll_output();
        holds!(
            "rest",
            matches!(waits, Output::Wait(None)),
            "page {} keeps a timer: {waits:?}",
            self.index
        );
        holds!(
            "rest",
            self.links.is_empty(),
            "page {} keeps a socket",
            self.index
        );
    }
}

/// What a page can reach.
pub struct Env<'a> {
    pub now: u64,
    pub rng: &'a mut Rng,
    pub links: &'a mut BTreeMap<u32, Link>,
    pub next_link: &'a mut u32,
    pub relays: &'a [Relay],
    /// Trouble with tokens is allowed.
    pub rough: bool,
    pub story: bool,
}

impl Env<'_> {
    /// The disks of a page's restaurant.
    pub fn disks(&self, home: &Home) -> Vec<&Disk> {
        home.sites
            .iter()
            .map(|&site| &self.relays[site].disk)
            .collect()
    }

    /// The clock of whoever makes its tokens: with the relay whose clock is ahead.
    pub fn wall(&self, home: &Home) -> u64 {
        let walls = home
            .sites
            .iter()
            .map(|&site| self.relays[site].wall(self.now));
        walls.max().unwrap_or_default()
    }

    pub fn open(&mut self, page: usize, attempt: u32, site: usize, now: u64) -> u32 {
        *self.next_link += 1;
        let slow = if self.rng.between(0, 5) == 0 { 900 } else { 40 };
        let latency = self.rng.between(1, slow);
        let mut link = Link::new(page, attempt, site, latency);
        link.send_up(now, 0, Up::Handshake);
        // Some attempts get nowhere, and nobody says so.
        link.half_open = self.rough && self.rng.between(0, 24) == 0;
        self.links.insert(*self.next_link, link);
        *self.next_link
    }

    pub fn up(&mut self, id: u32, now: u64, what: Up) {
        let jitter = self.rng.between(0, 5);
        if let Some(link) = self.links.get_mut(&id) {
            link.send_up(now, jitter, what);
        }
    }

    pub fn close(&mut self, id: u32, now: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.send_up(now, 0, Up::Close);
            link.page_closed = true;
        }
    }
}
