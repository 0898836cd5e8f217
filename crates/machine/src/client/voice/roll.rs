//! Long calls: servers end a session after an hour or less. Before that another is opened beside it, silent, and takes
//! its place between two turns, with its conversation; the page goes on as if nothing had been.

use super::call::{Phase, Voice};
use super::dial::{Dial, SECOND_MS};
use super::io::{CallId, Event, Notice, Output, Timer};
use super::line::Line;
use crate::Time;
use tautline_protocol::Stage;

/// How long before a session's end the next is opened; half-way where it is shorter.
const AHEAD_MS: u64 = 90_000;
/// So long before the end the turn is not waited for any more.
const LAST_MS: u64 = 3_000;
/// After something the page has sent: what comes of it is known by then.
const QUIET_MS: u64 = 1_000;
/// After the user's turn ended: an answer to it has begun by then, or will not.
const ANSWER_MS: u64 = 5_000;

/// The session that takes the place of the one that runs out.
#[derive(Debug, Default)]
pub(super) enum Roll {
    /// None yet.
    #[default]
    None,
    /// It is being opened.
    Dialling(Dial, Line),
    /// It waits for a turn's end.
    Ready {
        call: CallId,
        line: Line,
        /// Its own end.
        ends: Option<Time>,
    },
}

impl Voice {
    pub(super) fn is_roll(&self, call: CallId) -> bool {
        self.rolling() == Some(call)
    }

    /// The call that is to take the other's place.
    pub(super) fn rolling(&self) -> Option<CallId> {
        match &self.roll {
            Roll::None => None,
            Roll::Dialling(dial, _) => Some(dial.call),
            Roll::Ready { call, .. } => Some(*call),
        }
    }

    /// The queue of that call's channel.
    pub(super) fn line_of(&mut self, call: CallId) -> Option<&mut Line> {
        if self.call() == Some(call) {
            return Some(&mut self.line);
        }
        match &mut self.roll {
            Roll::Dialling(dial, line) if dial.call == call => Some(line),
            Roll::Ready {
                call: ready, line, ..
            } if *ready == call => Some(line),
            _ => None,
        }
    }

    /// So much is left of the session, by a clock that may be wrong: of one that is over by it nothing is believed.
    pub(super) fn plan_roll(&mut self, left_ms: u64, now: Time) {
        if left_ms == 0 || self.ends.is_some() {
            return;
        }
        self.ends = Some(now + left_ms);
        let ahead = AHEAD_MS.min(left_ms / 2);
        self.timers.set(Timer::Roll, now + (left_ms - ahead));
    }

    /// The server warns.
    pub(super) fn expiring(&mut self, left_ms: u64, now: Time) {
        if !self.is_live() {
            return;
        }
        self.ends = Some(now + left_ms);
        if matches!(self.roll, Roll::None) {
            self.begin_roll(now);
        }
    }

    pub(super) fn roll_due(&mut self, now: Time) {
        match &self.roll {
            Roll::None => self.begin_roll(now),
            // It had its time.
            Roll::Dialling(..) => self.roll_failed(now),
            Roll::Ready { .. } => self.swap(now),
        }
    }

    fn begin_roll(&mut self, now: Time) {
        if !self.is_live() {
            return;
        }
        let mut dial = self.new_dial();
        // The microphone is the call's that goes on until it is over.
        dial.mark(Stage::Microphone);
        let call = dial.call;
        self.roll = Roll::Dialling(dial, Line::default());
        self.timers
            .set(Timer::Roll, now + self.config.connect_timeout_ms);
        self.open(call);
    }

    /// The next session could not be had: once more while there is time. If it is not to be had at all the call ends as
    /// one that is lost.
    pub(super) fn roll_failed(&mut self, now: Time) {
        self.drop_roll();
        let left = self.ends.map_or(0, |ends| ends - now);
        if left > 2 * LAST_MS {
            self.timers.set(Timer::Roll, now + left / 2);
        }
    }

    pub(super) fn drop_roll(&mut self) {
        self.timers.clear(Timer::Roll);
        if let Some(call) = self.rolling() {
            self.out.push_back(Output::HangUp(call));
        }
        self.roll = Roll::None;
    }

    pub(super) fn roll_event(&mut self, call: CallId, event: Event, now: Time) {
        let Roll::Dialling(dial, _) = &self.roll else {
            return;
        };
        let is_ours = |about: &Option<String>| about.is_some() && *about == dial.settings_sent;
        match event {
            Event::Updated {
                confirms: true,
                left_ms,
                ..
            } if dial.settings_sent.is_some() => {
                let Roll::Dialling(_, line) = std::mem::take(&mut self.roll) else {
                    return;
                };
                let ends = left_ms.filter(|&ms| ms > 0).map(|ms| now + ms);
                self.roll = Roll::Ready { call, line, ends };
                let last = self.ends.map_or(now, |ends| {
                    Time::from_ms(ends.as_ms().saturating_sub(LAST_MS)).max(now)
                });
                self.timers.set(Timer::Roll, last);
            }
            Event::Updated {
                confirms: false, ..
            } => self.roll_failed(now),
            Event::Error { about, .. } if is_ours(&about) => self.roll_failed(now),
            _ => {}
        }
    }

    /// Whether nobody says or waits for anything, so that a swap is not heard.
    fn is_between_turns(&self, now: Time) -> bool {
        self.turns.is_idle(now, ANSWER_MS)
            && self.playback.is_empty()
            && now - self.said >= QUIET_MS
            && !self.conversation.awaits_output()
    }

    /// The next session takes this one's place, if it is there and the turn is over.
    pub(super) fn roll_on(&mut self, now: Time) {
        if matches!(self.roll, Roll::Ready { .. }) && self.is_between_turns(now) {
            self.swap(now);
        }
    }

    pub(super) fn swap(&mut self, now: Time) {
        let Roll::Ready { call, line, ends } = std::mem::take(&mut self.roll) else {
            return;
        };
        if let Some(before) = self.call() {
            self.out.push_back(Output::HangUp(before));
        }
        self.phase = Phase::Live(call);
        self.line = line;
        self.ends = None;
        for timer in [Timer::Roll, Timer::Path, Timer::Tail, Timer::Create] {
            self.timers.clear(timer);
        }
        self.timers.set(Timer::Second, now + SECOND_MS);
        self.turns.carry_over();
        self.playback = Default::default();
        self.quality.restart();
        self.heard = (0, now);
        self.seed();
        self.out.push_back(Output::Use(call));
        self.out.push_back(Output::Duck(false));
        self.speaking();
        if let Some(ends) = ends {
            self.plan_roll(ends - now, now);
        }
        self.tell(Notice::RolledOver);
        self.next_create(now);
    }
}
