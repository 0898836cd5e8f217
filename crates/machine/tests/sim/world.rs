//! One schedule: pages, a relay, users, and trouble, then quiet, then the reckoning.

use crate::check;
use crate::net::{Down, Link, Up};
use crate::page::{Arrival, Env, Page, new_order};
use crate::relay::Relay;
use serde_json::Value;
use std::collections::BTreeMap;
use tautline_machine::Rng;
use tautline_machine::client::{Answer, ConnectionState, Input, PageEvent};
use tautline_machine::relay::Answer as RelayAnswer;
use tautline_protocol::CloseCode;
use tautline_protocol::request::{Request, parse};

/// How often things happened: a schedule in which nothing did would prove nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub events: u64,
    pub commands: u64,
    pub posts: u64,
    pub posts_again: u64,
    pub acks: u64,
    pub acks_shown: u64,
    pub nacks: u64,
    pub expired: u64,
    pub timed_out: u64,
    pub cuts: u64,
    pub half_opened: u64,
    pub stalls: u64,
    pub freezes: u64,
    pub cached: u64,
    pub clock_jumps: u64,
    pub wall_jumps: u64,
    pub tokens_ended: u64,
    pub restarts_with_last_write: u64,
    pub restarts_without_last_write: u64,
    pub kills: u64,
    pub store_failures: u64,
    pub histories: u64,
    pub drains: u64,
    pub disposed_early: u64,
    pub resumes: u64,
    pub resumed: u64,
    pub not_resumed: u64,
    pub snapshots: u64,
    pub gaps: u64,
    pub stale: u64,
    pub fresh: u64,
    pub duplicates: u64,
    pub stale_inputs: u64,
    pub frames_lost: u64,
    pub frames_repeated: u64,
    pub store_reads: u64,
    pub blocked: u64,
    pub slow_closes: u64,
    pub commits: u64,
    pub commits_of_many: u64,
    pub health_probes: u64,
    pub steps: u64,
}

macro_rules! each {
    ($self:ident, $other:ident: $($field:ident)*) => { $($self.$field += $other.$field;)* };
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        each!(self, other: events commands posts posts_again acks acks_shown nacks expired timed_out cuts half_opened stalls freezes
            cached clock_jumps wall_jumps tokens_ended restarts_with_last_write restarts_without_last_write kills store_failures histories drains
            disposed_early resumes resumed not_resumed snapshots gaps stale fresh duplicates stale_inputs frames_lost frames_repeated store_reads blocked
            slow_closes commits commits_of_many health_probes steps);
    }

    pub fn answered(&mut self, answer: &Answer) {
        use tautline_protocol::ErrorCode;
        match answer {
            Answer::Acked { .. } | Answer::Confirmed { .. } => self.acks += 1,
            Answer::Nacked { .. } => self.nacks += 1,
            Answer::Failed {
                code: ErrorCode::OutboxExpired,
                ..
            } => self.expired += 1,
            Answer::Failed {
                code: ErrorCode::RequestTimeout,
                ..
            } => self.timed_out += 1,
            Answer::Failed { .. } | Answer::Written => {}
        }
    }

    /// Every kind of trouble and every way out of it was taken.
    pub fn assert_everything_happened(&self) {
        for (name, count) in [
            ("events", self.events),
            ("acks", self.acks),
            ("acks shown", self.acks_shown),
            ("nacks", self.nacks),
            ("outbox entries expired", self.expired),
            ("requests timed out", self.timed_out),
            ("cuts", self.cuts),
            ("half-open connections", self.half_opened),
            ("stalls", self.stalls),
            ("freezes", self.freezes),
            ("back/forward cache", self.cached),
            ("clock jumps", self.clock_jumps),
            ("wall clock jumps", self.wall_jumps),
            ("tokens ended", self.tokens_ended),
            (
                "restarts with the last write",
                self.restarts_with_last_write,
            ),
            (
                "restarts without the last write",
                self.restarts_without_last_write,
            ),
            ("orders sent again by the till", self.posts_again),
            ("failed commits", self.store_failures),
            ("new histories under live connections", self.histories),
            ("drains", self.drains),
            ("pages disposed early", self.disposed_early),
            ("resumes", self.resumes),
            ("snapshots", self.snapshots),
            ("gaps", self.gaps),
            ("duplicates dropped", self.duplicates),
            ("lost frames", self.frames_lost),
            ("repeated frames", self.frames_repeated),
            ("stale", self.stale),
            ("fresh", self.fresh),
            ("inputs of old connections", self.stale_inputs),
            ("reads from the store", self.store_reads),
            ("blocked sockets", self.blocked),
            ("commits of several commands", self.commits_of_many),
            ("health probes", self.health_probes),
        ] {
            assert!(
                count > 0,
                "no schedule had any {name}: the simulation has gone blind"
            );
        }
    }
}

pub struct World {
    now: u64,
    rng: Rng,
    relay: Relay,
    pages: Vec<Page>,
    links: BTreeMap<u32, Link>,
    next_link: u32,
    /// What the till sent, by its number from 1, and which of them each request was.
    posts: Vec<String>,
    asked: Vec<u64>,
    rough: bool,
    story: bool,
    tally: Tally,
}

/// Runs something of a page with everything else of the world within reach.
macro_rules! with_page {
    ($world:ident, $index:expr, |$page:ident, $env:ident| $body:expr) => {{
        let relay_wall = $world.relay.wall($world.now);
        let $page = &mut $world.pages[$index];
        let mut env = Env {
            rng: &mut $world.rng,
            links: &mut $world.links,
            next_link: &mut $world.next_link,
            disk: &$world.relay.disk,
            relay_wall,
            rough: $world.rough,
            story: $world.story,
        };
        let $env = &mut env;
        $body
    }};
}

impl World {
    pub fn new(seed: u64, story: bool) -> Self {
        let mut rng = Rng::new(seed);
        // Some relays keep little history, so that some positions cannot be resumed.
        let kept = if rng.between(0, 2) == 0 {
            rng.between(3, 30) as usize
        } else {
            10_000
        };
        let mut relay = Relay::new(kept);
        relay.start(0);
        let count = rng.between(3, 4) as usize;
        let pages = (0..count)
            .map(|index| {
                let seed = rng.next_u64();
                // The last page keeps no order set: it only listens.
                Page::new(index, seed, index + 1 < count, 0, &mut rng)
            })
            .collect();
        Self {
            now: 0,
            rng,
            relay,
            pages,
            links: BTreeMap::new(),
            next_link: 0,
            posts: Vec::new(),
            asked: Vec::new(),
            rough: true,
            story,
            tally: Tally::default(),
        }
    }

    pub fn run(mut self) -> Tally {
        for index in 0..self.pages.len() {
            let now = self.now;
            with_page!(self, index, |page, env| page.connect(now, env));
        }
        self.trouble();
        self.quiet();
        self.reckon();
        self.let_go();
        let mut tally = self.tally;
        tally.add(&self.relay.tally);
        for page in &self.pages {
            tally.add(&page.tally);
            let stats = page
                .client
                .stats(tautline_machine::Time::from_ms(self.now + page.clock_ahead));
            tally.duplicates += stats.duplicates;
            tally.stale_inputs += stats.stale_inputs;
        }
        tally
    }

    fn trouble(&mut self) {
        let end = self.rng.between(30_000, 120_000);
        let (act_every, trouble_every) = (
            self.rng.between(100, 1_500),
            self.rng.between(1_500, 12_000),
        );
        let (mut act_at, mut trouble_at) = (0, 1_000);
        while self.now < end {
            let next = act_at.min(trouble_at).min(end);
            self.advance(next);
            if act_at <= self.now {
                act_at = self.now + self.rng.between(1, 2 * act_every);
                self.act();
            }
            if trouble_at <= self.now {
                trouble_at = self.now + self.rng.between(1, 2 * trouble_every);
                self.make_trouble();
            }
        }
    }

    fn act(&mut self) {
        let now = self.now;
        let index = self.rng.between(0, self.pages.len() as u64) as usize;
        match self.pages.get(index) {
            Some(page) if page.runs() && !page.disposed => {
                with_page!(self, index, |page, env| page.act(now, env))
            }
            Some(_) => {}
            None => self.post(),
        }
    }

    /// An order from the till, over HTTP; now and then one is sent again, though the first may still be on its way.
    fn post(&mut self) {
        let again = self.posts.len() as u64;
        let till = if again > 0 && self.rng.between(0, 3) == 0 {
            self.tally.posts_again += 1;
            again - self.rng.between(0, (again - 1).min(5))
        } else {
            let order = new_order(&mut self.rng);
            let id = again + 1;
            self.posts.push(format!(
                r#"{{"type":"order:create","id":"till-{id}","payload":{{"order":{order}}}}}"#
            ));
            id
        };
        let requests = parse(&self.posts[till as usize - 1], false).unwrap();
        for request in requests {
            let Ok(Request::Command { key, command, .. }) = request else {
                panic!("{request:?}")
            };
            let key = key.unwrap();
            self.asked.push(till);
            self.tally.posts += 1;
            self.relay.post(
                self.asked.len() as u64,
                &command,
                Some((key.id.as_str(), key.hash)),
                self.now,
                &mut self.rng,
            );
        }
    }

    fn make_trouble(&mut self) {
        let now = self.now;
        let index = self.rng.between(0, self.pages.len() as u64 - 1) as usize;
        let link = self.pages[index].links.values().next_back().copied();
        match self.rng.between(0, 20) {
            0..=2 => {
                if let Some(id) = link {
                    self.cut(id);
                }
            }
            3 => {
                if let Some(link) = link.and_then(|id| self.links.get_mut(&id)) {
                    link.half_open = true;
                    self.tally.half_opened += 1;
                }
            }
            4 | 5 => {
                let until = now + self.rng.between(500, 20_000);
                if let Some(link) = link.and_then(|id| self.links.get_mut(&id)) {
                    link.stall(until);
                    self.tally.stalls += 1;
                }
            }
            6 | 7 => {
                let back_at = now + self.rng.between(1, 6_000);
                let synced = self.rng.between(0, 1) == 0;
                self.tally.kills += 1;
                if self.rng.between(0, 1) == 0 {
                    // In the middle of a write.
                    self.post();
                }
                self.relay.kill(now, back_at, synced, &mut self.links);
            }
            8 => {
                self.tally.drains += 1;
                self.relay.drain(now, &mut self.links, &mut self.rng);
                let grace = now + self.rng.between(1, 500);
                self.advance(grace);
                let back_at = self.now + self.rng.between(100, 3_000);
                self.relay.kill(self.now, back_at, true, &mut self.links);
            }
            9 | 10 => {
                let until = now + self.rng.between(1_000, 70_000);
                let page = &mut self.pages[index];
                if page.runs() {
                    page.frozen_until = Some(until);
                    self.tally.freezes += 1;
                }
            }
            11 => {
                let until = now + self.rng.between(500, 40_000);
                if self.pages[index].runs() {
                    with_page!(self, index, |page, env| page.arrive(
                        Arrival::Life(PageEvent::Suspended),
                        now,
                        env
                    ));
                    self.pages[index].cached_until = Some(until);
                    self.tally.cached += 1;
                }
            }
            12 => {
                self.pages[index].clock_ahead += self.rng.between(1_000, 600_000);
                self.tally.clock_jumps += 1;
                if self.pages[index].runs() {
                    with_page!(self, index, |page, env| page.input(Input::Tick, now, env));
                }
            }
            13 => {
                let jump = self.rng.between(0, 7_200_000).cast_signed() - 3_600_000;
                self.relay.wall_skew += jump;
                self.tally.wall_jumps += 1;
            }
            // Streams do not lose or repeat parts of themselves; proxies and libraries have been seen to.
            15 | 16 => {
                let twice = self.rng.between(0, 1) == 0;
                if let Some(link) = link.and_then(|id| self.links.get_mut(&id)) {
                    if twice {
                        self.tally.frames_repeated += u64::from(link.repeat_events());
                    } else {
                        self.tally.frames_lost += u64::from(link.lose_events());
                    }
                }
            }
            17 => self.relay.new_history(now, &mut self.rng),
            18 => self.relay.full = true,
            14 => {
                if let Some(id) = link {
                    self.tally.tokens_ended += 1;
                    self.relay.end(
                        id,
                        CloseCode::TOKEN_EXPIRED,
                        now,
                        &mut self.links,
                        &mut self.rng,
                    );
                }
            }
            _ => {
                let page = &self.pages[index];
                if page.runs() && !page.disposed && self.rng.between(0, 2) == 0 && index > 0 {
                    self.tally.disposed_early += 1;
                    self.dispose(index);
                } else if page.runs() && !page.disposed {
                    // Off and on again; the subscriptions and the set stay.
                    with_page!(self, index, |page, env| {
                        page.input(Input::Disconnect, now, env);
                        page.assert_at_rest();
                        page.connect(now, env);
                    });
                }
            }
        }
    }

    fn cut(&mut self, id: u32) {
        self.tally.cuts += 1;
        // What was under way is gone on both sides; one side may hear of it much later.
        let longest = if self.rng.between(0, 3) == 0 {
            30_000
        } else {
            50
        };
        let late = self.rng.between(0, longest);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.up.clear();
        link.down.clear();
        link.send_down(self.now, 0, Down::Broken);
        link.up.push_back((self.now + late, Up::Close));
        link.relay_closed = true;
    }

    fn dispose(&mut self, index: usize) {
        let now = self.now;
        with_page!(self, index, |page, env| {
            page.disposed = true;
            page.input(Input::Dispose, now, env);
            page.assert_at_rest();
        });
    }

    /// Runs everything that is due up to `until`.
    fn advance(&mut self, until: u64) {
        for _ in 0..2_000_000 {
            let links = self.links.values().filter_map(Link::next_at).min();
            let pages = self.pages.iter().filter_map(Page::next_at).min();
            let next = links
                .into_iter()
                .chain(pages)
                .chain(self.relay.next_at())
                .min();
            match next {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    self.step();
                }
                _ => {
                    self.now = self.now.max(until);
                    return;
                }
            }
        }
        panic!("time does not move");
    }

    fn step(&mut self) {
        self.tally.steps += 1;
        let now = self.now;
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.move_bytes(id);
        }
        self.links.retain(|_, link| {
            !(link.is_over() && link.up.is_empty() && (link.down.is_empty() || link.half_open))
        });
        self.relay.tick(now, &mut self.links, &mut self.rng);
        for index in 0..self.pages.len() {
            if self.pages[index].next_at().is_some_and(|at| at <= now) {
                with_page!(self, index, |page, env| page.tick(now, env));
            }
            let len = self.pages[index]
                .client
                .stats(tautline_machine::Time::from_ms(now))
                .outbox_len;
            assert!(len <= 1_000, "an outbox of {len}");
        }
    }

    fn move_bytes(&mut self, id: u32) {
        let now = self.now;
        while let Some(link) = self.links.get_mut(&id) {
            if link.half_open {
                return;
            }
            if let Some((_, what)) = link.up.pop_front_if(|(at, _)| *at <= now) {
                // A relay that was cut off from this end hears nothing but the end.
                let deaf = link.relay_closed && !matches!(what, Up::Close);
                if !deaf {
                    self.relay
                        .heard(id, what, now, &mut self.links, &mut self.rng);
                }
                continue;
            }
            let Some((_, what)) = link.down.pop_front_if(|(at, _)| *at <= now) else {
                return;
            };
            let (page, attempt) = (link.page, link.attempt);
            match what {
                Down::Ping => {
                    // The browser answers, even for a page that is frozen.
                    link.send_up(now, 0, Up::Pong);
                }
                what => {
                    if matches!(what, Down::Close(..)) {
                        link.send_up(now, 0, Up::Close);
                    }
                    let ends = matches!(what, Down::Close(..) | Down::Broken);
                    // An older connection's bytes still reach the page; its machine must stop them at the door.
                    with_page!(self, page, |page, env| page.arrive(
                        Arrival::Net(attempt, what),
                        now,
                        env
                    ));
                    if ends && let Some(link) = self.links.get_mut(&id) {
                        link.page_closed = true;
                    }
                }
            }
            self.relay.drained(id, now, &mut self.links, &mut self.rng);
        }
    }

    /// The network heals, everyone wakes, and there is time for every timer that leads back.
    fn quiet(&mut self) {
        self.rough = false;
        self.relay.full = false;
        let now = self.now;
        self.relay.down_until = self.relay.down_until.min(now + 1);
        for page in &mut self.pages {
            page.frozen_until = page.frozen_until.map(|_| now + 1);
            page.cached_until = page.cached_until.map(|_| now + 1);
        }
        self.advance(now + 5_000);
        for index in 0..self.pages.len() {
            let now = self.now;
            if !self.pages[index].disposed {
                with_page!(self, index, |page, env| page.arrive(
                    Arrival::Life(PageEvent::Visible),
                    now,
                    env
                ));
            }
        }
        let until = self.now + 75_000;
        self.advance(until);
        // The last frame before the quiet may be one that was lost: only a later event shows that.
        self.post();
        let until = self.now + 75_000;
        self.advance(until);
    }

    fn reckon(&mut self) {
        let log = self.relay.log.as_ref().expect("the relay is up");
        assert_eq!(log.pending(), 0, "commands wait for a store that is idle");
        let fold: BTreeMap<String, Value> = log
            .orders()
            .map(|order| {
                (
                    order.id.clone(),
                    serde_json::from_str(&order.wire()).unwrap(),
                )
            })
            .collect();
        check::applied_once(&self.relay.disk);
        for page in self.pages.iter().filter(|page| !page.disposed) {
            let who = format!("page {}", page.index);
            assert_eq!(
                page.state(),
                ConnectionState::Connected,
                "{who} did not come back"
            );
            assert_eq!(
                page.client.position(),
                Some(log.head()),
                "{who} is not at the head"
            );
            if page.want_set {
                check::same_set(&who, page.orders.iter(), &fold);
                assert!(!page.orders.is_stale(), "{who} still shows a stale set");
            }
            let time = tautline_machine::Time::from_ms(self.now + page.clock_ahead);
            assert_eq!(
                page.client.entries(time).count(),
                0,
                "{who} has unanswered commands"
            );
            assert!(
                page.client.freshness(time).live,
                "{who} is not live: {:?}",
                page.client.freshness(time)
            );
        }
        for till in 1..=self.posts.len() as u64 {
            let applied = self.relay.disk.has_command(&format!("till-{till}"));
            let requests = self.asked.iter().zip(1..).filter(|&(&of, _)| of == till);
            let answers: Vec<_> = requests.map(|(_, n)| self.relay.http.get(&n)).collect();
            let acks: Vec<_> = answers
                .iter()
                .filter_map(|answer| match answer {
                    Some(RelayAnswer::Ack(ack)) => Some(ack),
                    _ => None,
                })
                .collect();
            assert!(
                acks.iter().all(|ack| ack == &acks[0]),
                "till-{till} was answered differently: {acks:?}"
            );
            if !acks.is_empty() {
                assert!(applied, "till-{till} was answered 201 and is lost");
            } else if answers.iter().all(Option::is_some) {
                assert!(!applied, "till-{till} was refused and is there");
            }
        }
    }

    fn let_go(&mut self) {
        for index in 0..self.pages.len() {
            if !self.pages[index].disposed {
                self.dispose(index);
            }
            let page = &self.pages[index];
            page.watch.settled(&page.sent, &self.relay.disk);
        }
        // Two unanswered pings, a stalled write and a close that lingers are the longest that a dead peer is kept.
        let until = self.now + 120_000;
        self.advance(until);
        assert_eq!(
            self.relay.sessions(),
            0,
            "the relay keeps sessions of pages that are gone"
        );
        for page in &mut self.pages {
            page.assert_at_rest();
        }
    }
}
