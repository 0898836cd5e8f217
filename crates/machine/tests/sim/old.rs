//! A page of before `tautline.v1`: the plain dialect, a full sync after each connect, and no idea of gaps.

use crate::check::holds;
use crate::net::{Down, Up};
use crate::oracle::{Eyes, History, Wanted, follow};
use crate::page::{Env, Home};
use crate::relay::token;
use crate::tally::Tally;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub struct Old {
    pub index: usize,
    pub home: Home,
    url: usize,
    attempt: u32,
    pub link: Option<u32>,
    dial_at: Option<u64>,
    /// The set that it shows, and the one that comes in parts.
    set: BTreeMap<String, Rc<Value>>,
    parts: Vec<Value>,
    synced: Option<u64>,
    seen: u64,
    pub tally: Tally,
}

impl Old {
    pub fn new(index: usize, home: Home) -> Self {
        Self {
            index,
            home,
            url: 0,
            attempt: 0,
            link: None,
            dial_at: Some(0),
            set: BTreeMap::new(),
            parts: Vec::new(),
            synced: None,
            seen: 0,
            tally: Tally::default(),
        }
    }

    fn eyes(&self) -> Eyes {
        Eyes {
            role: self.home.role.to_owned(),
            sub: format!("page-{}", self.index),
            ids: BTreeSet::new(),
            wanted: Wanted::default(),
            plain: true,
        }
    }

    pub fn next_at(&self) -> Option<u64> {
        self.dial_at
    }

    pub fn tick(&mut self, now: u64, env: &mut Env<'_>) {
        if self.dial_at.take_if(|at| *at <= now).is_some() {
            self.attempt += 1;
            let site = self.home.sites[self.url % self.home.sites.len()];
            self.link = Some(env.open(self.index, self.attempt, site, now));
            // It gives up on an attempt that gets nowhere.
            self.dial_at = Some(now + 20_000);
        }
    }

    pub fn arrive(&mut self, attempt: u32, what: &Down, now: u64, env: &mut Env<'_>) {
        if attempt != self.attempt {
            return;
        }
        match what {
            Down::Frames(frames, _) => {
                for frame in frames.iter() {
                    self.frame(frame, now, env);
                }
            }
            Down::Close(..) | Down::Broken => self.again(now, env),
            Down::Opened | Down::Ping => {}
        }
    }

    fn again(&mut self, now: u64, env: &mut Env<'_>) {
        if let Some(id) = self.link.take() {
            env.close(id, now);
        }
        self.attempt += 1;
        self.url += 1;
        self.synced = None;
        self.parts.clear();
        self.dial_at = Some(now + env.rng.between(500, 4_000));
    }

    pub fn let_go(&mut self, now: u64, env: &mut Env<'_>) {
        self.again(now, env);
        self.dial_at = None;
    }

    fn say(&self, frame: &Value, now: u64, env: &mut Env<'_>) {
        if let Some(id) = self.link {
            env.up(id, now, Up::Text(frame.to_string()));
        }
    }

    fn frame(&mut self, frame: &Value, now: u64, env: &mut Env<'_>) {
        match frame["type"].as_str().unwrap_or_default() {
            "connected" => {
                let expiry = env.wall(&self.home) + 7_200_000;
                let token = token(
                    &format!("page-{}", self.index),
                    self.home.role,
                    &BTreeSet::new(),
                    expiry,
                );
                self.say(
                    &json!({"type": "auth", "token": token, "restaurant_id": self.home.restaurant}),
                    now,
                    env,
                );
            }
            "auth:success" => {
                self.url = self.url.saturating_sub(1);
                self.url += 1;
                self.dial_at = None;
                self.seen = 0;
                self.say(
                    &json!({"type": "orders:sync", "payload": {"request_full_sync": true}}),
                    now,
                    env,
                );
            }
            "sync_complete" => {
                let payload = &frame["payload"];
                if payload["part"] == 1 {
                    self.parts.clear();
                }
                self.parts
                    .extend(payload["orders"].as_array().into_iter().flatten().cloned());
                if payload["part"] == payload["parts"] {
                    let named =
                        |order: Value| (order["id"].as_str().unwrap().to_owned(), Rc::new(order));
                    self.set = self.parts.drain(..).map(named).collect();
                    self.synced = payload["seq"].as_u64();
                    self.tally.old_syncs += 1;
                }
            }
            _ if crate::monitor::is_event(frame) => {
                let seq = frame["seq"].as_u64().unwrap();
                holds!(
                    "once",
                    seq > self.seen,
                    "event {seq} after {} in plain",
                    self.seen
                );
                self.seen = seq;
                self.tally.old_events += 1;
                follow(&mut self.set, frame);
            }
            _ => {}
        }
    }

    /// After quiet.
    pub fn settled(&self, history: &History) {
        let Some(synced) = self.synced else {
            panic!("[current] plain page {} did not come back", self.index);
        };
        let who = format!("plain page {}", self.index);
        crate::check::same_set(
            &who,
            self.set.values().map(|order| &**order),
            synced,
            &self.eyes(),
            history,
        );
    }

    pub fn site(&self) -> usize {
        self.home.sites[self.url % self.home.sites.len()]
    }
}
