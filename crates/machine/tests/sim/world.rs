//! One schedule: pages, relays, a back end, users, and trouble, then quiet, then the reckoning.

use crate::check::{self, holds};
use crate::disk::Disk;
use crate::net::{Down, Link, Up, has_events};
use crate::old::Old;
use crate::page::{Arrival, Home, Page};
use crate::relay::Relay;
use crate::storage::Storage;
use crate::tally::Tally;
use crate::till::Till;
use std::collections::{BTreeMap, BTreeSet};
use tautline_machine::client::{ConnectionState, Input, PageEvent};
use tautline_machine::{Rng, Time};

pub struct World {
    pub now: u64,
    pub rng: Rng,
    /// The first restaurant's relay, its standby where there is one, the second restaurant's relay where there is one.
    pub relays: Vec<Relay>,
    /// Where the first restaurant's standby is, until it has taken over.
    pub standby: Option<usize>,
    pub backup: Option<Disk>,
    /// The relay that each restaurant's back end talks to.
    pub houses: Vec<usize>,
    pub pages: Vec<Page>,
    pub old: Vec<Old>,
    pub links: BTreeMap<u32, Link>,
    pub next_link: u32,
    pub till: Till,
    pub rough: bool,
    pub story: bool,
    pub tally: Tally,
}

/// Runs something of a page with everything else of the world within reach.
macro_rules! with_env {
    ($world:ident, |$env:ident| $body:expr) => {{
        let mut env = $crate::page::Env {
            now: $world.now,
            rng: &mut $world.rng,
            links: &mut $world.links,
            next_link: &mut $world.next_link,
            relays: &$world.relays,
            rough: $world.rough,
            story: $world.story,
        };
        let $env = &mut env;
        $body
    }};
}
macro_rules! with_page {
    ($world:ident, $index:expr, |$page:ident, $env:ident| $body:expr) => {{
        let $page = &mut $world.pages[$index];
        with_env!($world, |$env| $body)
    }};
}
/// Runs something of a relay.
macro_rules! with_relay {
    ($world:ident, $site:expr, |$relay:ident, $net:ident| $body:expr) => {{
        let $relay = &mut $world.relays[$site];
        let mut net = $crate::relay::Net {
            now: $world.now,
            links: &mut $world.links,
            rng: &mut $world.rng,
        };
        let $net = &mut net;
        $body
    }};
}
pub(crate) use {with_env, with_page, with_relay};

pub const ROLES: [&str; 5] = ["kitchen", "manager", "server", "customer", "kiosk"];

impl World {
    pub fn new(seed: u64, story: bool) -> Self {
        let mut rng = Rng::new(seed);
        // Some relays keep little history, so that some positions cannot be resumed.
        let kept = if rng.between(0, 2) == 0 {
            rng.between(3, 30) as usize
        } else {
            10_000
        };
        let mut relays = vec![Relay::new(0, "grow", kept)];
        relays[0].start(0);
        let (mut sites, mut standby, mut houses) = (vec![0], None, vec![0]);
        if rng.between(0, 2) == 0 {
            // It is there, and nobody has started it.
            relays.push(Relay::new(1, "grow", kept));
            relays[1].down_until = u64::MAX;
            standby = Some(1);
            sites.push(1);
        }
        let mut homes: Vec<(&'static str, Vec<usize>)> = vec![("grow", sites); 3];
        if rng.between(0, 3) == 0 {
            let site = relays.len();
            relays.push(Relay::new(site, "vine", kept));
            relays[site].start(0);
            houses.push(site);
            homes.push(("vine", vec![site]));
        }
        let count = homes.len();
        let home = |(restaurant, sites): (&'static str, Vec<usize>), rng: &mut Rng| {
            let role = if rng.between(0, 1) == 0 {
                ROLES[rng.between(0, 4) as usize]
            } else {
                "manager"
            };
            Home {
                restaurant,
                sites,
                role,
                ids: BTreeSet::new(),
            }
        };
        let pages = homes.iter().cloned().enumerate().map(|(index, house)| {
            let home = home(house, &mut rng);
            let seed = rng.next_u64();
            // One page keeps no order set: it only listens, and shares its connection by leases.
            Page::new(index, seed, index != 2, home, &mut rng)
        });
        let pages = pages.collect();
        let old = if rng.between(0, 1) == 0 {
            vec![Old::new(count, home(homes[0].clone(), &mut rng))]
        } else {
            Vec::new()
        };
        Self {
            now: 0,
            rng,
            relays,
            standby,
            backup: None,
            houses,
            pages,
            old,
            links: BTreeMap::new(),
            next_link: 0,
            till: Till::default(),
            rough: true,
            story,
            tally: Tally::default(),
        }
    }

    pub fn run(mut self) -> Tally {
        self.till.rough = true;
        for index in 0..self.pages.len() {
            let now = self.now;
            with_page!(self, index, |page, env| page.connect(now, env));
        }
        self.evening();
        self.quiet();
        self.reckon();
        self.let_go();
        let mut tally = self.tally;
        for relay in &self.relays {
            tally.add(&relay.tally);
        }
        for page in &self.pages {
            tally.add(&page.tally);
            let stats = page
                .client
                .stats(Time::from_ms(self.now + page.clock_ahead));
            tally.duplicates += stats.duplicates;
            tally.stale_inputs += stats.stale_inputs;
            tally.leases += page.holders.as_ref().map_or(0, |holders| holders.granted);
            if let Some(storage) = &page.storage {
                tally.adopted += storage.adopted;
                tally.unwritten += storage.failed;
            }
        }
        for old in &self.old {
            tally.add(&old.tally);
        }
        tally
    }

    fn evening(&mut self) {
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
        let Some(page) = self.pages.get_mut(index) else {
            return self.post();
        };
        if !page.runs() || page.disposed {
            return;
        }
        if self.rng.between(0, 25) == 0 {
            return with_page!(self, index, |page, env| page.filter(now, env));
        }
        if self.rng.between(0, 5) == 0
            && let Some(holders) = &mut page.holders
        {
            let input = holders.some_input(&mut self.rng);
            return with_page!(self, index, |page, env| page.lease(input, now, env));
        }
        with_page!(self, index, |page, env| page.act(now, env));
    }

    /// Something of a back end's, over HTTP.
    pub fn post(&mut self) {
        let house = self.rng.between(0, self.houses.len() as u64 - 1) as usize;
        let site = self.houses[house];
        self.till
            .act(site, &mut self.relays, self.now, &mut self.rng);
    }

    pub fn dispose(&mut self, index: usize) {
        let now = self.now;
        with_page!(self, index, |page, env| {
            page.disposed = true;
            page.input(Input::Dispose, now, env);
            page.assert_at_rest();
        });
    }

    /// Runs everything that is due up to `until`.
    pub fn advance(&mut self, until: u64) {
        for _ in 0..2_000_000 {
            let links = self.links.values().filter_map(Link::next_at).min();
            let pages = self.pages.iter().filter_map(Page::next_at).min();
            let old = self.old.iter().filter_map(Old::next_at).min();
            let relays = self.relays.iter().filter_map(Relay::next_at).min();
            let next = [links, pages, old, relays, self.till.next_at()];
            match next.into_iter().flatten().min() {
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
        panic!("[bounded] time does not move");
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
        for site in 0..self.relays.len() {
            with_relay!(self, site, |relay, net| relay.tick(net));
        }
        let mut net = crate::relay::Net {
            now,
            links: &mut self.links,
            rng: &mut self.rng,
        };
        self.till.tick(&mut self.relays, now, &mut net);
        for index in 0..self.pages.len() {
            if self.pages[index].next_at().is_some_and(|at| at <= now) {
                with_page!(self, index, |page, env| page.tick(now, env));
            }
            self.pages[index].looks(now);
        }
        for index in 0..self.old.len() {
            let old = &mut self.old[index];
            with_env!(self, |env| old.tick(now, env));
        }
    }

    fn move_bytes(&mut self, id: u32) {
        let now = self.now;
        while let Some(link) = self.links.get_mut(&id) {
            if link.half_open {
                return;
            }
            let site = link.site;
            if let Some((_, what)) = link.up.pop_front_if(|(at, _)| *at <= now) {
                // A relay that was cut off from this end hears nothing but the end.
                let deaf = link.relay_closed && !matches!(what, Up::Close);
                if !deaf {
                    with_relay!(self, site, |relay, net| relay.heard(id, what, net));
                }
                continue;
            }
            let Some((_, what)) = link.down.pop_front_if(|(at, _)| *at <= now) else {
                return;
            };
            if link.dead {
                continue;
            }
            if has_events(&what)
                && let Some(twice) = link.mangles.take()
            {
                if !twice {
                    self.tally.frames_lost += 1;
                    continue;
                }
                self.tally.frames_repeated += 1;
                link.down.push_front((now, what.clone()));
            }
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
                    if page < self.pages.len() {
                        let arrival = Arrival::Net(attempt, what);
                        with_page!(self, page, |page, env| page.arrive(arrival, now, env));
                    } else if let Some(old) = self.old.first_mut() {
                        with_env!(self, |env| old.arrive(attempt, &what, now, env));
                    }
                    if ends && let Some(link) = self.links.get_mut(&id) {
                        link.page_closed = true;
                    }
                }
            }
            with_relay!(self, site, |relay, net| relay.drained(id, net));
        }
    }

    /// The network heals, everyone wakes, and there is time for every timer that leads back.
    fn quiet(&mut self) {
        self.rough = false;
        self.till.rough = false;
        for link in self.links.values_mut() {
            link.mangles = None;
        }
        let now = self.now;
        for relay in &mut self.relays {
            relay.store = crate::relay::Store::Well;
            if relay.down_until < u64::MAX {
                relay.down_until = relay.down_until.min(now + 1);
            }
        }
        for page in &mut self.pages {
            page.frozen_until = page.frozen_until.map(|_| now + 1);
            page.cached_until = page.cached_until.map(|_| now + 1);
            page.down_until = page.down_until.map(|_| now + 1);
        }
        self.advance(now + 5_000);
        for index in 0..self.pages.len() {
            let now = self.now;
            let page = &mut self.pages[index];
            if page.disposed {
                continue;
            }
            if page
                .holders
                .as_ref()
                .is_some_and(crate::holder::Holders::is_idle)
            {
                with_page!(self, index, |page, env| page.connect(now, env));
            }
        }
        self.looked_at();
        let until = self.now + 75_000;
        self.advance(until);
        // The last frame before the quiet may be one that was lost: only a later event shows that.
        for house in 0..self.houses.len() {
            let site = self.houses[house];
            self.till
                .act(site, &mut self.relays, self.now, &mut self.rng);
        }
        // Again: the first time may have met a `getToken` that took too long, after which a refused client would ask by
        // itself only in minutes.
        self.looked_at();
        let until = self.now + 75_000;
        self.advance(until);
    }

    fn looked_at(&mut self) {
        for index in 0..self.pages.len() {
            let now = self.now;
            if !self.pages[index].disposed {
                let visible = Arrival::Life(PageEvent::Visible);
                with_page!(self, index, |page, env| page.arrive(visible, now, env));
            }
        }
    }

    fn reckon(&mut self) {
        for relay in &self.relays {
            relay.settled();
            check::applied_once(&relay.disk.history);
        }
        for page in self.pages.iter().filter(|page| !page.disposed) {
            let who = format!("page {}", page.index);
            holds!(
                "current",
                page.state() == ConnectionState::Connected,
                "{who} did not come back: {:?}",
                page.state()
            );
            let relay = &self.relays[page.site().unwrap()];
            let history = &relay.disk.history;
            holds!(
                "current",
                page.client.position() == Some(history.head()),
                "{who} is at {:?}, not at the head {}",
                page.client.position(),
                history.head()
            );
            let link = page.links.values().next_back().unwrap();
            let eyes = relay.eyes(*link).expect("a connection has its eyes");
            holds!(
                "set",
                eyes.wanted.is(&page.wanted)
                    && (page.refused || (eyes.role == page.home.role && eyes.ids == page.home.ids)),
                "{who} is {:?} and wants {:?}, the relay has {eyes:?}",
                page.home,
                page.wanted
            );
            if page.want_set {
                let shown = page.orders.iter().map(|order| &*order.0);
                let installed = page.watch.installed.expect("a set was installed");
                check::same_set(&who, shown, installed, eyes, history);
                holds!(
                    "set",
                    !page.orders.is_stale(),
                    "{who} still shows a stale set"
                );
            }
            let time = Time::from_ms(self.now + page.clock_ahead);
            holds!(
                "current",
                page.client.entries(time).count() == 0,
                "{who} has unanswered commands"
            );
            let left = page.storage.as_ref().map_or(0, Storage::left);
            holds!("outlives", left == 0, "{who} has left {left} in storage");
            holds!(
                "current",
                page.client.freshness(time).live,
                "{who} is not live: {:?}",
                page.client.freshness(time)
            );
        }
        for old in &self.old {
            let link = old.link.and_then(|link| self.links.get(&link));
            let site = link.map_or_else(|| old.site(), |link| link.site);
            old.settled(&self.relays[site].disk.history);
        }
        self.till.settled(&self.relays);
    }

    fn let_go(&mut self) {
        let now = self.now;
        for index in 0..self.pages.len() {
            if !self.pages[index].disposed {
                self.dispose(index);
            }
            let page = &self.pages[index];
            let disks = page.home.sites.iter().map(|&site| &self.relays[site].disk);
            // What a page that did not live to connect has left is still another's to answer for.
            let left = |id: &String| page.storage.as_ref().is_some_and(|kept| kept.has(id));
            let sent = page.sent.iter().filter(|id| !left(id)).cloned().collect();
            page.watch.settled(&sent, &disks.collect::<Vec<_>>());
        }
        for index in 0..self.old.len() {
            let old = &mut self.old[index];
            with_env!(self, |env| old.let_go(now, env));
        }
        // Two unanswered pings, a stalled write and a close that lingers are the longest that a dead peer is kept.
        let until = self.now + 120_000;
        self.advance(until);
        for relay in &self.relays {
            holds!(
                "rest",
                relay.sessions() == 0,
                "the relay keeps sessions of pages that are gone"
            );
        }
        for page in &mut self.pages {
            page.assert_at_rest();
        }
    }
}
