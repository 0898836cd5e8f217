//! What goes wrong in an evening.

use crate::net::{Down, Up};
use crate::page::Arrival;
use crate::relay::Store;
use crate::world::{ROLES, World, with_env, with_page, with_relay};
use std::collections::BTreeSet;
use tautline_machine::client::{Input, PageEvent};
use tautline_protocol::CloseCode;

impl World {
    pub fn make_trouble(&mut self) {
        let now = self.now;
        let index = self.rng.between(0, self.pages.len() as u64 - 1) as usize;
        let link = self.pages[index].links.values().next_back().copied();
        let site = self.some_relay();
        match self.rng.between(0, 32) {
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
                    self.advance(now + 30);
                }
                with_relay!(self, site, |relay, net| relay.kill(back_at, synced, net));
            }
            8 => {
                self.tally.drains += 1;
                with_relay!(self, site, |relay, net| relay.drain(net));
                let grace = now + self.rng.between(1, 500);
                self.advance(grace);
                let back_at = self.now + self.rng.between(100, 3_000);
                with_relay!(self, site, |relay, net| relay.kill(back_at, true, net));
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
                let ms = self.rng.between(500, 40_000);
                self.leave(index, ms);
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
                self.relays[site].wall_skew += jump;
                self.tally.wall_jumps += 1;
            }
            14 => {
                if let Some(id) = link {
                    let at = self.links.get(&id).map_or(site, |link| link.site);
                    self.tally.tokens_ended += 1;
                    with_relay!(self, at, |relay, net| relay.end(
                        id,
                        CloseCode::TOKEN_EXPIRED,
                        net
                    ));
                }
            }
            // Streams do not lose or repeat parts of themselves; proxies and libraries have been seen to.
            15 | 16 => {
                let twice = self.rng.between(0, 1) == 0;
                if let Some(link) = link.and_then(|id| self.links.get_mut(&id)) {
                    link.mangles = Some(twice);
                }
            }
            17 => with_relay!(self, site, |relay, net| relay.new_history(net)),
            18 => self.relays[site].store = Store::Refuses,
            19 => {
                self.relays[site].store = Store::Full(now + self.rng.between(500, 20_000));
            }
            20 => self.relays[site].store = Store::Breaks,
            21 => {
                let keep = self.rng.between(0, 20_000);
                with_relay!(self, site, |relay, net| relay.archive(keep, net));
            }
            22..=24 => self.change_role(index),
            25 | 26 => self.fail_over(),
            27 if self.rng.between(0, 2) == 0 => self.rush(index),
            30..=32 => self.crash(index),
            _ => self.off(index),
        }
    }

    /// A relay that is meant to run.
    fn some_relay(&mut self) -> usize {
        let house = self.rng.between(0, self.houses.len() as u64 - 1) as usize;
        self.houses[house]
    }

    fn change_role(&mut self, index: usize) {
        let now = self.now;
        let page = &self.pages[index];
        if !page.runs() || page.disposed {
            return;
        }
        let role = ROLES[self.rng.between(0, 4) as usize];
        let mut ids = BTreeSet::new();
        if self.rng.between(0, 1) == 0 {
            let history = &self.relays[page.home.sites[0]].disk.history;
            let named = history.orders().filter_map(|order| order["id"].as_str());
            ids = named.take(2).map(str::to_owned).collect();
        }
        with_page!(self, index, |page, env| page.becomes(role, ids, now, env));
    }

    /// The page, or its browser, is killed, mostly in the middle of something; somebody loads it again.
    fn crash(&mut self, index: usize) {
        let page = &self.pages[index];
        if page.disposed || page.down_until.is_some() {
            return;
        }
        if page.runs() {
            for _ in 0..self.rng.between(0, 3) {
                let now = self.now;
                with_page!(self, index, |page, env| page.act(now, env));
            }
            let later = self.now + self.rng.between(0, 60);
            self.advance(later);
        }
        let now = self.now;
        let back_at = now + self.rng.between(100, 20_000);
        with_page!(self, index, |page, env| page.crash(back_at, now, env));
    }

    /// Into the back/forward cache for a while.
    fn leave(&mut self, index: usize, ms: u64) {
        let now = self.now;
        if self.pages[index].runs() {
            let suspended = Arrival::Life(PageEvent::Suspended);
            with_page!(self, index, |page, env| page.arrive(suspended, now, env));
            self.pages[index].cached_until = Some(now + ms);
            self.tally.cached += 1;
        }
    }

    /// More orders at once than a turn may hold, and a page that finds them when it comes back.
    fn rush(&mut self, index: usize) {
        let ms = self.rng.between(2_000, 6_000);
        self.leave(index, ms);
        self.tally.rushes += 1;
        for _ in 0..self.rng.between(80, 120) {
            self.post();
        }
    }

    /// The relay's machine is gone for good; the standby is started from the last backup.
    fn fail_over(&mut self) {
        if self.backup.is_none() || self.rng.between(0, 2) == 0 {
            let disk = &self.relays[self.houses[0]].disk;
            self.backup = Some(disk.clone());
            return;
        }
        let (Some(to), Some(backup)) = (self.standby.take(), self.backup.take()) else {
            return;
        };
        let from = std::mem::replace(&mut self.houses[0], to);
        self.tally.failovers += 1;
        with_relay!(self, from, |relay, net| relay.kill(u64::MAX, true, net));
        self.till.moves(from);
        let relay = &mut self.relays[to];
        relay.restore(&backup);
        relay.down_until = self.now + self.rng.between(100, 5_000);
    }

    fn off(&mut self, index: usize) {
        let now = self.now;
        let page = &self.pages[index];
        if !page.runs() || page.disposed {
            return;
        }
        if self.rng.between(0, 2) == 0 && index > 0 {
            self.tally.disposed_early += 1;
            self.dispose(index);
        } else {
            // Off and on again; the subscriptions and the set stay.
            with_page!(self, index, |page, env| {
                page.disconnect(now, env);
                page.connect(now, env);
            });
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
}
