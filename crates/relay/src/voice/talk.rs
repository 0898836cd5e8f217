//! One conversation, whichever edge it is held over and whoever holds it: an adapter, and what a session may take up. The
//! edges carry out what [`Talk::next`] says.

use super::gate::{Gate, Over};
use super::sideband::{Joined, Sidebands};
use super::{End, Ending, Who, error_event, warning};
use crate::limit;
use crate::parse::Rate;
use std::collections::VecDeque;
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::voice::{Adapter, ApiError, Heard, Output, Settings};
use tautline_protocol::limits::{self, hit};

/// What every session of this relay goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) rate: Rate,
    pub(crate) idle_ms: u64,
    pub(crate) longest_ms: u64,
}

impl Terms {
    /// The longest a session under these settings may be.
    pub(crate) fn length_ms(&self, settings: &Settings) -> u64 {
        let policy = settings.policy().max_length_s.saturating_mul(1000);
        self.longest_ms.min(policy)
    }
}

/// What an edge is to do.
#[derive(Debug)]
pub(crate) enum Do {
    /// Send it to the client; sidebands have it already.
    Event(Arc<str>),
    /// The next 20 ms of sound.
    Play(Vec<u8>),
    /// Have it judged, and say what became of it.
    Submit { call_id: String, order: String },
}

/// See the module. Every call is followed by a drain of [`Talk::next`].
pub(crate) struct Talk {
    pub(crate) who: Who,
    adapter: Box<dyn Adapter>,
    /// Bytes of the largest event its client takes.
    largest: usize,
    gate: Gate,
    idle_ms: u64,
    /// When its client last sent a message, where that counts.
    heard_at: Option<Time>,
    warn_at: Option<Time>,
    ends_at: Time,
    wake: Option<Time>,
    sidebands: Sidebands,
    own: VecDeque<String>,
    end: Option<End>,
}

impl Talk {
    /// A session that begins, of at most `length_ms`.
    pub(crate) fn begin(
        adapter: Box<dyn Adapter>,
        who: Who,
        largest: usize,
        terms: Terms,
        length_ms: u64,
        now: Time,
    ) -> Self {
        Self {
            who,
            adapter,
            largest,
            gate: Gate::new(terms.rate, now),
            idle_ms: terms.idle_ms,
            heard_at: None,
            // A session that is shorter than the warning is warned half-way.
            warn_at: Some(now + (length_ms - limits::VOICE_WARNING_MS.min(length_ms / 2))),
            ends_at: now + length_ms,
            wake: None,
            sidebands: Sidebands::default(),
            own: VecDeque::new(),
            end: None,
        }
    }

    /// The same, but that it goes by its client's messages whether anybody does anything.
    pub(crate) fn idle_by_messages(self, now: Time) -> Self {
        Self {
            heard_at: Some(now),
            ..self
        }
    }

    /// A client's event.
    pub(crate) fn message(&mut self, text: &str, now: Time) {
        match self.gate.message(text, now) {
            Ok(()) => self.event(text, now),
            Err(over) => self.refuse(over),
        }
    }

    /// One that somebody else has admitted.
    pub(crate) fn event(&mut self, text: &str, now: Time) {
        self.adapter.event(text, now);
    }

    /// Its client has sent a message.
    pub(crate) fn heard(&mut self, now: Time) {
        self.heard_at = self.heard_at.map(|_| now);
    }

    fn active_at(&self) -> Time {
        self.heard_at.unwrap_or_else(|| self.adapter.active_at())
    }

    /// What came is no event.
    pub(crate) fn unfit(&mut self, error: &ApiError, now: Time) {
        match self.gate.message("", now) {
            Ok(()) => self.adapter.error(error),
            Err(over) => self.refuse(over),
        }
    }

    /// What its microphone heard, over RTP.
    pub(crate) fn audio(&mut self, ulaw: &[u8], now: Time) {
        // As linear samples, which is what is kept of it.
        match self.gate.sound(ulaw.len() as u64 * 2, now) {
            Ok(()) => self.adapter.audio(ulaw, now),
            Err(over) => self.refuse(over),
        }
    }

    fn refuse(&mut self, over: Over) {
        if let Some(error) = over.error {
            self.adapter.error(&error);
        }
        if over.ends {
            self.end(Ending::RATE);
        }
    }

    /// What became of an order.
    pub(crate) fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time) {
        self.adapter.ordered(call_id, result, now);
    }

    /// What came of the connection to its upstream.
    pub(crate) fn upstream(&mut self, number: u64, heard: Heard, now: Time) {
        self.adapter.heard(number, heard, now);
    }

    /// One more that follows.
    pub(crate) fn join(&mut self, joined: Joined) {
        if let Some(joined) = self.sidebands.join(joined)
            && let Some(greeting) = self.adapter.greeting()
        {
            joined.send(&greeting.into());
        }
    }

    /// Time passed.
    pub(crate) fn timeout(&mut self, now: Time) {
        if self.warn_at.is_some_and(|at| now >= at) {
            self.warn_at = None;
            self.own.push_back(warning(self.ends_at - now));
        }
        if now >= self.ends_at {
            let why = "The session has reached its longest duration.";
            self.adapter
                .error(&ApiError::invalid("session_expired", why));
            self.end(Ending::LENGTH);
        } else if now - self.active_at() >= self.idle_ms {
            let why = "Nobody said or did anything for too long.";
            self.adapter.error(&ApiError::invalid("session_idle", why));
            self.end(Ending::IDLE);
        } else if self.wake.is_some_and(|at| now >= at) {
            self.wake = None;
            self.adapter.timeout(now);
        }
    }

    fn end(&mut self, end: impl Into<End>) {
        self.end.get_or_insert_with(|| end.into());
    }

    /// Whether it is over, and why.
    pub(crate) fn ending(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// When [`Talk::timeout`] is wanted. Right after a drain.
    pub(crate) fn wake(&self) -> Time {
        let idle = self.active_at() + self.idle_ms;
        [self.wake, self.warn_at, Some(idle)]
            .into_iter()
            .flatten()
            .fold(self.ends_at, Time::min)
    }

    /// What is to be done; `None` ends every drain.
    pub(crate) fn next(&mut self) -> Option<Do> {
        let text = loop {
            if let Some(text) = self.own.pop_front() {
                break text;
            }
            match self.adapter.poll_output() {
                Output::Event(text) => break text,
                Output::Play(sound) => return Some(Do::Play(sound)),
                Output::Submit { call_id, order } => return Some(Do::Submit { call_id, order }),
                Output::End(over) => {
                    self.end(over);
                    continue;
                }
                Output::Wait(at) => {
                    self.wake = at;
                    return None;
                }
            }
        };
        let event: Arc<str> = text.into();
        self.sidebands.send(&event);
        Some(Do::Event(if event.len() > self.largest {
            limit::hit(hit::VOICE_CHANNEL_MESSAGE);
            let why = format!(
                "An event of {} bytes is larger than the {} that this connection takes.",
                event.len(),
                self.largest
            );
            error_event(&ApiError::server("event_too_large", why)).into()
        } else {
            event
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Identity, Scope};
    use crate::voice::answering;
    use serde_json::Value;
    use tautline_machine::relay::voice::{Defaults, Edge, Policy};
    use tautline_protocol::Role;

    fn at(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    fn talk(largest: usize, longest_ms: u64, idle_ms: u64) -> Talk {
        let identity = Identity {
            sub: "ann".into(),
            role: Role::Kiosk,
            scope: Scope::One("grow".into()),
            expires_at_ms: 0,
            issued_at_ms: None,
            order_ids: Arc::default(),
        };
        let settings =
            Settings::new(&Arc::new(Policy::demo()), None, &Defaults::default()).unwrap();
        let who = Who {
            identity,
            restaurant: "grow".into(),
        };
        let terms = Terms {
            rate: Rate {
                per_s: 10,
                burst: 20,
            },
            idle_ms,
            longest_ms,
        };
        let length_ms = terms.length_ms(&settings);
        let peer = answering::peer(Edge::Socket, settings, &terms, at(0));
        Talk::begin(Box::new(peer), who, largest, terms, length_ms, at(0))
    }

    fn events(talk: &mut Talk) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(done) = talk.next() {
            if let Do::Event(text) = done {
                events.push(serde_json::from_str(&text).unwrap());
            }
        }
        events
    }

    fn codes(talk: &mut Talk) -> Vec<String> {
        let events = events(talk).into_iter();
        let code = |event: Value| event["error"]["code"].as_str().map(String::from);
        events.filter_map(code).collect()
    }

    #[test]
    fn a_flood_is_dropped_with_an_error_and_ends_the_session_after_five_seconds() {
        let mut talk = talk(1 << 20, 3_600_000, 300_000);
        events(&mut talk);
        for _ in 0..20 {
            talk.message(r#"{"type":"input_audio_buffer.clear"}"#, at(0));
        }
        assert!(!codes(&mut talk).contains(&"rate_limit_exceeded".to_owned()));
        for _ in 0..100 {
            talk.message(r#"{"type":"input_audio_buffer.clear"}"#, at(1));
        }
        let told = codes(&mut talk);
        assert_eq!(
            told,
            ["rate_limit_exceeded"],
            "one error for a burst of drops"
        );
        for ms in (2..5_001).step_by(2) {
            talk.message(r#"{"type":"input_audio_buffer.clear"}"#, at(ms));
            assert_eq!(talk.ending(), None, "{ms}");
        }
        talk.message(r#"{"type":"input_audio_buffer.clear"}"#, at(5_001));
        talk.message(r#"{"type":"input_audio_buffer.clear"}"#, at(5_001));
        assert_eq!(talk.ending(), Some(&Ending::RATE.into()));
    }

    #[test]
    fn a_second_within_the_rates_forgives() {
        let mut talk = talk(1 << 20, 3_600_000, 300_000);
        for round in 0..20 {
            for _ in 0..40 {
                talk.message("{}", at(round * 2_000));
            }
            talk.message("{}", at(round * 2_000 + 1_500));
            events(&mut talk);
        }
        assert_eq!(talk.ending(), None);
    }

    #[test]
    fn sound_is_counted_as_it_is_decoded() {
        let mut talk = talk(1 << 20, 3_600_000, 300_000);
        let append = |bytes: usize| {
            let base64 = "A".repeat(bytes / 3 * 4);
            format!(r#"{{"audio":"{base64}","type":"input_audio_buffer.append"}}"#)
        };
        talk.message(&append(limits::VOICE_AUDIO_BURST), at(0));
        assert!(codes(&mut talk).is_empty());
        talk.message(&append(3_000), at(1));
        assert_eq!(codes(&mut talk), ["rate_limit_exceeded"]);
        talk.message(&append(3_000), at(1_000));
        assert!(codes(&mut talk).is_empty());
    }

    #[test]
    fn one_append_may_be_more_than_a_burst_and_is_paid_off_before_the_next() {
        let mut talk = talk(1 << 20, 3_600_000, 300_000);
        let append = |bytes: usize| {
            let base64 = "A".repeat(bytes.div_ceil(3) * 4);
            format!(r#"{{"audio":"{base64}","type":"input_audio_buffer.append"}}"#)
        };
        let update = r#"{"type":"session.update","session":{"type":"realtime","audio":{"input":{"turn_detection":null}}}}"#;
        talk.message(update, at(0));
        let most = limits::VOICE_WAITING_BYTES / 6 * 6;
        talk.message(&append(most + 6), at(0));
        assert_eq!(
            codes(&mut talk),
            ["rate_limit_exceeded"],
            "too much at once"
        );
        talk.message(&append(most), at(200));
        assert_eq!(codes(&mut talk), [""; 0]);
        // The rest of it, at the rate.
        let owed = (most - limits::VOICE_AUDIO_BURST + 3_000) as u64;
        let paid = 200 + (owed * 1000).div_ceil(limits::VOICE_AUDIO_PER_S as u64);
        talk.message(&append(3_000), at(400));
        let told = events(&mut talk).pop().unwrap();
        let wait = format!("{} ms", paid - 400);
        assert!(
            told["error"]["message"].as_str().unwrap().contains(&wait),
            "{told} {wait}"
        );
        talk.message(r#"{"type":"input_audio_buffer.commit"}"#, at(500));
        let heard = events(&mut talk);
        assert!(
            heard
                .iter()
                .any(|event| event["type"] == "input_audio_buffer.committed"),
            "{heard:?}"
        );
        talk.message(&append(3_000), at(paid - 1));
        assert_eq!(codes(&mut talk), ["rate_limit_exceeded"]);
        talk.message(&append(3_000), at(paid));
        assert_eq!(codes(&mut talk), [""; 0]);
        assert_eq!(talk.ending(), None);
    }

    #[test]
    fn its_length_is_warned_of_and_kept() {
        let mut talk = talk(1 << 20, 200_000, 300_000);
        events(&mut talk);
        talk.timeout(at(139_999));
        assert!(events(&mut talk).is_empty());
        assert!(talk.wake() <= at(140_000));
        talk.timeout(at(140_000));
        let warned = events(&mut talk);
        assert_eq!(warned[0]["type"], "tautline.session.expiring");
        assert_eq!(warned[0]["remaining_ms"], 60_000);
        talk.message(r#"{"type":"input_audio_buffer.clear"}"#, at(199_000));
        events(&mut talk);
        talk.timeout(at(200_000));
        assert_eq!(codes(&mut talk), ["session_expired"]);
        assert_eq!(talk.ending(), Some(&Ending::LENGTH.into()));
    }

    #[test]
    fn nobody_does_anything_and_it_ends() {
        let mut talk = talk(1 << 20, 3_600_000, 5_000);
        events(&mut talk);
        assert_eq!(talk.wake(), at(5_000));
        talk.timeout(at(5_000));
        assert_eq!(codes(&mut talk), ["session_idle"]);
        assert_eq!(talk.ending(), Some(&Ending::IDLE.into()));
    }

    #[test]
    fn an_event_larger_than_the_client_takes_becomes_an_error() {
        let mut talk = talk(200, 3_600_000, 5_000);
        assert_eq!(codes(&mut talk), ["event_too_large"]);
    }
}
