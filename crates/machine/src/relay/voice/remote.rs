//! A session that an upstream holds: the conversation over a connection that may break, and whoever is at its far end.

use super::adapter::{Adapter, Edge, Output};
use super::error::ApiError;
use super::exchange::Exchange;
use super::far::{Heard, Reach, Upstream};
use super::settings::Settings;
use crate::Time;

/// See the module.
#[derive(Debug)]
pub struct Remote<U> {
    exchange: Exchange,
    upstream: U,
}

impl<U: Upstream> Remote<U> {
    /// A session that begins: the upstream is dialled.
    pub fn new(edge: Edge, seed: u64, settings: Settings, upstream: U, now: Time) -> Self {
        let mut remote = Self {
            exchange: Exchange::new(edge, seed, settings, now),
            upstream,
        };
        remote.settle(now);
        remote
    }

    /// Carries what the two have for one another.
    fn settle(&mut self, now: Time) {
        loop {
            if let Some(reach) = self.exchange.reach() {
                match reach {
                    Reach::Dial(number) => self.upstream.dial(number, now),
                    Reach::Send(event) => self.upstream.send(event, now),
                    Reach::HangUp => self.upstream.hang_up(),
                }
            } else if let Some((number, heard)) = self.upstream.says() {
                self.exchange.heard(number, heard, now);
            } else {
                return;
            }
        }
    }
}

impl<U: Upstream> Adapter for Remote<U> {
    fn event(&mut self, text: &str, now: Time) {
        self.exchange.event(text, now);
        self.settle(now);
    }

    fn audio(&mut self, ulaw: &[u8], now: Time) {
        self.exchange.audio(ulaw, now);
        self.settle(now);
    }

    fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time) {
        self.exchange.ordered(call_id, result, now);
        self.settle(now);
    }

    fn heard(&mut self, number: u64, heard: Heard, now: Time) {
        self.exchange.heard(number, heard, now);
        self.settle(now);
    }

    fn timeout(&mut self, now: Time) {
        self.upstream.timeout(now);
        self.exchange.timeout(now);
        self.settle(now);
    }

    fn error(&mut self, error: &ApiError) {
        self.exchange.error(error);
    }

    fn greeting(&mut self) -> Option<String> {
        self.exchange.greeting()
    }

    fn active_at(&self) -> Time {
        self.exchange.active_at()
    }

    fn poll_output(&mut self) -> Output {
        match self.exchange.next() {
            Output::Wait(at) => Output::Wait(at.into_iter().chain(self.upstream.due()).min()),
            output => output,
        }
    }
}
