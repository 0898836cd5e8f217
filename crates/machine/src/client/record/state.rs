//! A client's state as a list of numbers and names, and back: one walk over its fields serves both ways.
//!
//! Only of a client that has nothing unanswered ([`Client::may_be_saved`]): then what is left is numbers.

use super::lines::Names;
use super::{hash, token_named};
use crate::client::core::{Client, Live, Phase};
use crate::client::io::{AttemptId, Config, ConnectionState, Output, Timer, Token};
use crate::{Rng, Time};
use tautline_protocol::{Dialect, Epoch, JsonList};

/// One value of a saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateCell {
    /// Nothing.
    None,
    /// A number.
    Number(u64),
    /// A name.
    Text(String),
}

/// What walks over the fields: it reads each or replaces it.
pub(in crate::client) trait Fields {
    fn number(&mut self, value: &mut Option<u64>);
    fn text(&mut self, value: &mut Option<String>);
    /// A name that is told apart, not shown.
    fn name(&mut self, value: &mut Option<String>);
    /// Hidden text: a filter.
    fn filter(&mut self, value: &mut Option<String>);
    fn token(&mut self, value: &mut Option<Token>);
    /// The hash of a token.
    fn token_hash(&mut self, value: &mut u64);

    fn n(&mut self, value: &mut u64) {
        let mut number = Some(*value);
        self.number(&mut number);
        *value = number.unwrap_or_default();
    }

    fn small(&mut self, value: &mut u32) {
        let mut number = u64::from(*value);
        self.n(&mut number);
        *value = u32::try_from(number).unwrap_or_default();
    }

    fn flag(&mut self, value: &mut bool) {
        let mut number = u64::from(*value);
        self.n(&mut number);
        *value = number != 0;
    }

    fn at(&mut self, value: &mut Option<Time>) {
        let mut number = value.map(Time::as_ms);
        self.number(&mut number);
        *value = number.map(Time::from_ms);
    }

    fn time(&mut self, value: &mut Time) {
        let mut at = Some(*value);
        self.at(&mut at);
        *value = at.unwrap_or_default();
    }

    fn epoch(&mut self, value: &mut Option<Epoch>) {
        let mut name = value.as_ref().map(|epoch| epoch.as_str().to_owned());
        self.text(&mut name);
        *value = name.as_deref().map(Epoch::new);
    }
}

struct Saver<'a> {
    list: JsonList,
    names: &'a mut Names,
}

impl Fields for Saver<'_> {
    fn number(&mut self, value: &mut Option<u64>) {
        self.list.u64(*value);
    }

    fn text(&mut self, value: &mut Option<String>) {
        self.list.str(value.as_deref());
    }

    fn name(&mut self, value: &mut Option<String>) {
        let name = value.as_deref().map(|name| self.names.told_apart(name));
        self.list.str(name.as_deref());
    }

    fn filter(&mut self, value: &mut Option<String>) {
        let name = value
            .as_deref()
            .map(|filter| self.names.filter_named(filter));
        self.list.str(name.as_deref());
    }

    fn token(&mut self, value: &mut Option<Token>) {
        let number = value.as_ref().map(|token| self.names.token(token));
        self.list.u64(number);
    }

    fn token_hash(&mut self, value: &mut u64) {
        let number = self.names.token_hashed(*value);
        self.list.u64(Some(number));
    }
}

struct Loader<'a> {
    cells: std::slice::Iter<'a, StateCell>,
    complete: bool,
}

impl Loader<'_> {
    fn cell(&mut self) -> StateCell {
        let cell = self.cells.next().cloned();
        self.complete &= cell.is_some();
        cell.unwrap_or(StateCell::None)
    }
}

impl Fields for Loader<'_> {
    fn number(&mut self, value: &mut Option<u64>) {
        *value = match self.cell() {
            StateCell::Number(number) => Some(number),
            _ => None,
        };
    }

    fn text(&mut self, value: &mut Option<String>) {
        *value = match self.cell() {
            StateCell::Text(text) => Some(text),
            _ => None,
        };
    }

    fn name(&mut self, value: &mut Option<String>) {
        self.text(value);
    }

    fn filter(&mut self, value: &mut Option<String>) {
        self.text(value);
    }

    fn token(&mut self, value: &mut Option<Token>) {
        let mut number = None;
        self.number(&mut number);
        *value = number.map(token_named);
    }

    fn token_hash(&mut self, value: &mut u64) {
        let mut number = 0;
        self.n(&mut number);
        *value = hash(token_named(number).text());
    }
}

/// Every kind of timer, in an order that stays.
const TIMERS: [Timer; 14] = [
    Timer::Attempt,
    Timer::Greeting,
    Timer::Token,
    Timer::Backoff,
    Timer::Heartbeat,
    Timer::Pong,
    Timer::Settled,
    Timer::Renew,
    Timer::Stale,
    Timer::Sync,
    Timer::SnapshotPart,
    Timer::Outbox,
    Timer::Pace,
    Timer::AuthProbe,
];

impl Client {
    /// The client that a recording begins with; `None` for what is no such state.
    pub fn restored(config: Config, state: &[StateCell]) -> Option<Self> {
        let mut client = Self::new(config, 0, Time::default());
        let mut loader = Loader {
            cells: state.iter(),
            complete: true,
        };
        client.fields(&mut loader);
        (loader.complete && loader.cells.next().is_none()).then_some(client)
    }

    pub(super) fn save(&mut self, names: &mut Names) -> String {
        let mut saver = Saver {
            list: JsonList::default(),
            names,
        };
        self.fields(&mut saver);
        saver.list.end()
    }

    /// Whether nothing is unanswered, so that [`Client::save`] holds all there is.
    pub(super) fn may_be_saved(&self) -> bool {
        let rests = match &self.phase {
            Phase::Idle | Phase::Waiting { .. } | Phase::Failed => true,
            Phase::Live(live) => live.probing.is_none(),
            _ => false,
        };
        // What is being delivered is of the state before.
        let delivered = self
            .out
            .iter()
            .all(|output| !matches!(output, Output::Settle(..) | Output::Settled(..)));
        rests
            && delivered
            && self.waiters.is_empty()
            && self.outbox.len() == 0
            && !self.outbox.is_held()
            && !self.feed.awaits_answer()
            && self.filters.is_settled()
            && self.renewal.pending.is_none()
            && self.renewal.next.is_none()
            && !self.renewal.fetching
    }

    fn fields(&mut self, f: &mut impl Fields) {
        self.rng_fields(f);
        let mut instance = Some(std::mem::take(&mut self.ids.instance));
        f.text(&mut instance);
        self.ids.instance = instance.unwrap_or_default();
        f.n(&mut self.ids.count);
        for timer in TIMERS {
            let mut at = self.timers.get(timer);
            f.at(&mut at);
            match at {
                Some(at) => self.timers.set(timer, at),
                None => self.timers.clear(timer),
            }
        }
        self.phase_fields(f);
        f.small(&mut self.attempts);
        self.backoff.fields(f);
        self.addresses.fields(f);
        f.token(&mut self.tokens.preset);
        f.token(&mut self.tokens.in_use);
        self.tokens.refused_fields(f);
        f.flag(&mut self.tokens.asked_after_rejection);
        f.flag(&mut self.tokens.expired);
        f.number(&mut self.server.heartbeat_ms);
        f.small(&mut self.server.max_message);
        f.number(&mut self.server.spread_ms);
        self.outbox.fields(f);
        self.feed.fields(f);
        self.filters.fields(f);
        for flag in [
            &mut self.was_connected,
            &mut self.offline,
            &mut self.stale,
            &mut self.renewal.rejected,
        ] {
            f.flag(flag);
        }
        f.small(&mut self.unopened);
        f.at(&mut self.last_cut);
        f.small(&mut self.slow_repeats);
        f.at(&mut self.renewal.ends);
        f.at(&mut self.renewal.last);
        let c = &mut self.counters;
        for counter in [
            &mut c.connects,
            &mut c.resumes,
            &mut c.gaps,
            &mut c.duplicates,
            &mut c.snapshots,
            &mut c.events,
            &mut c.stale_inputs,
        ] {
            f.n(counter);
        }
        f.number(&mut c.rtt_ms);
        f.time(&mut self.now);
    }

    /// A seed in two halves: JSON's numbers hold 53 bits.
    fn rng_fields(&mut self, f: &mut impl Fields) {
        let state = self.rng.state();
        let (mut high, mut low) = (state >> 32, state & 0xffff_ffff);
        f.n(&mut high);
        f.n(&mut low);
        self.rng = Rng::new(high << 32 | low);
    }

    fn phase_fields(&mut self, f: &mut impl Fields) {
        let (mut kind, mut detail) = match &self.phase {
            Phase::Waiting { not_before } => (1, not_before.as_ms()),
            Phase::Failed => (2, 0),
            Phase::Live(live) if live.dialect == Dialect::Plain => (3, u64::from(live.attempt.0)),
            Phase::Live(live) => (4, u64::from(live.attempt.0)),
            _ => (0, 0),
        };
        f.n(&mut kind);
        f.n(&mut detail);
        let live = |dialect| {
            Phase::Live(Live {
                attempt: AttemptId(u32::try_from(detail).unwrap_or_default()),
                dialect,
                probing: None,
            })
        };
        (self.phase, self.state) = match kind {
            1 => (
                Phase::Waiting {
                    not_before: Time::from_ms(detail),
                },
                ConnectionState::Reconnecting,
            ),
            2 => (Phase::Failed, ConnectionState::Error),
            3 => (live(Dialect::Plain), ConnectionState::Connected),
            4 => (live(Dialect::V1), ConnectionState::Connected),
            _ => (Phase::Idle, ConnectionState::Disconnected),
        };
    }
}
