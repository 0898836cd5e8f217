//! What is heard of the answers on a socket. The player plays what it is given in order and counts the samples; whose
//! they are, what was heard of an answer that is cut off, and when somebody is heard at all, is kept here.

use super::io::{Played, Playing};
use crate::Time;
use std::collections::VecDeque;

/// Samples of a millisecond: PCM16 at 24 kHz, one channel.
pub(super) const SAMPLES_PER_MS: u64 = 24;
/// What the player gathers before it begins, and by how much more after each hole, up to the last: sound comes faster
/// than it is heard, so this is latency only while an answer begins.
const CUSHION_MS: u64 = 60;
const CUSHION_MOST_MS: u64 = 300;

/// The sound of an item, as far as it came.
#[derive(Debug)]
struct Track {
    response: String,
    item: String,
    part: usize,
    samples: u64,
    /// Nothing will be added.
    ended: bool,
}

/// Who begins or ceases to be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// That response.
    Started(String),
    /// The one that was.
    Stopped,
}

/// What was heard of an answer that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) response: String,
    pub(super) item: String,
    pub(super) part: usize,
    pub(super) ms: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Playback {
    /// How often the player was silenced.
    epoch: u32,
    /// What is not heard to its end, in order.
    tracks: VecDeque<Track>,
    /// Samples of the tracks of this epoch that have left.
    left: u64,
    /// Samples that the player has played, of this epoch.
    played: u64,
    /// Of all of them.
    pub(super) total: u64,
    /// Who is heard.
    playing: Option<String>,
    /// Since when the player has had nothing, in the middle of an answer.
    dry: Option<Time>,
    /// Silenced, and how much of it was heard is not known yet.
    cutting: Option<(VecDeque<Track>, u64)>,
    /// What still comes of this one is not to be heard.
    silenced: Option<String>,
    /// Holes in answers.
    pub(super) underruns: u64,
    /// How long they were.
    pub(super) starved_ms: u64,
}

impl Playback {
    /// A piece of sound came; whether it is to be heard.
    pub(super) fn sound(
        &mut self,
        response: String,
        item: String,
        part: usize,
        samples: u64,
        now: Time,
    ) -> bool {
        if self.silenced.as_deref() == Some(&response) {
            return false;
        }
        let last = self.tracks.back_mut();
        match last.filter(|track| track.item == item && track.part == part) {
            Some(track) => {
                track.samples += samples;
                if let Some(since) = self.dry.take() {
                    self.underruns += 1;
                    self.starved_ms += now - since;
                }
            }
            None => {
                if let Some(before) = self.tracks.back_mut() {
                    before.ended = true;
                }
                self.tracks.push_back(Track {
                    response,
                    item,
                    part,
                    samples,
                    ended: false,
                });
            }
        }
        true
    }

    /// What the player is to gather before it begins, in samples.
    pub(super) fn cushion(&self) -> u64 {
        (CUSHION_MS * (1 + self.underruns)).min(CUSHION_MOST_MS) * SAMPLES_PER_MS
    }

    /// All of those tracks' sound has come.
    fn end(&mut self, ends: impl Fn(&Track) -> bool) -> Vec<Heard> {
        for track in &mut self.tracks {
            track.ended |= ends(track);
        }
        self.advance()
    }

    /// All of an item's sound has come.
    pub(super) fn item_done(&mut self, item: &str) -> Vec<Heard> {
        self.end(|track| track.item == item)
    }

    /// A response is over.
    pub(super) fn response_done(&mut self, response: &str) -> Vec<Heard> {
        if self.silenced.as_deref() == Some(response) {
            self.silenced = None;
        }
        self.end(|track| track.response == response)
    }

    /// The player has come so far.
    pub(super) fn played(&mut self, report: Played, now: Time) -> Vec<Heard> {
        if report.epoch != self.epoch || report.state == Playing::Silenced {
            return Vec::new();
        }
        self.total += report.samples.saturating_sub(self.played);
        self.played = self.played.max(report.samples);
        let heard = self.advance();
        let waits = report.state == Playing::Dry && self.tracks.front().is_some();
        self.dry = waits.then_some(now);
        heard
    }

    fn advance(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Some(track) = self.tracks.front() {
            if self.played > self.left && self.playing.as_deref() != Some(&track.response) {
                if self.playing.is_some() {
                    heard.push(Heard::Stopped);
                }
                self.playing = Some(track.response.clone());
                heard.push(Heard::Started(track.response.clone()));
            }
            if !track.ended || self.played < self.left + track.samples {
                break;
            }
            self.left += track.samples;
            self.tracks.pop_front();
        }
        let goes_on = |track: &Track| self.playing.as_deref() == Some(&track.response);
        if self.playing.is_some() && !self.tracks.iter().any(goes_on) {
            self.playing = None;
            heard.push(Heard::Stopped);
        }
        heard
    }

    /// Nothing more of what came so far is to be heard, nor what still comes of that response. Answers whether the
    /// player has anything to be silenced.
    pub(super) fn silence(&mut self, response: Option<&str>) -> bool {
        let current = self.tracks.back().filter(|track| !track.ended);
        let whose = current.map(|track| track.response.clone());
        self.silenced = response
            .map(String::from)
            .or(whose)
            .or(self.silenced.take());
        self.playing = None;
        self.dry = None;
        if self.tracks.is_empty() {
            return false;
        }
        self.epoch += 1;
        self.cutting = Some((std::mem::take(&mut self.tracks), self.left));
        (self.left, self.played) = (0, 0);
        true
    }

    /// The player is silent: what was heard of which answer, if anything was of one that had more.
    pub(super) fn cut(&mut self, report: Played) -> Option<Cut> {
        if report.epoch + 1 != self.epoch || report.state != Playing::Silenced {
            return None;
        }
        let (tracks, mut left) = self.cutting.take()?;
        for track in tracks {
            let heard = report.samples.saturating_sub(left);
            if heard < track.samples || !track.ended {
                let ms = heard.min(track.samples) / SAMPLES_PER_MS;
                return (ms > 0).then_some(Cut {
                    response: track.response,
                    item: track.item,
                    part: track.part,
                    ms,
                });
            }
            left += track.samples;
        }
        None
    }

    /// Whether nothing is being played, nor waits to be.
    pub(super) fn is_empty(&self) -> bool {
        self.tracks.is_empty() && self.cutting.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Time = Time::from_ms(0);

    fn on(epoch: u32, ms: u64, state: Playing) -> Played {
        Played {
            epoch,
            samples: ms * SAMPLES_PER_MS,
            state,
        }
    }

    fn sound(playback: &mut Playback, response: &str, item: &str, ms: u64) -> bool {
        playback.sound(response.into(), item.into(), 0, ms * SAMPLES_PER_MS, NOW)
    }

    #[test]
    fn who_is_heard_is_told_by_what_was_played() {
        let mut playback = Playback::default();
        assert!(sound(&mut playback, "r1", "a", 100));
        assert_eq!(playback.played(on(0, 0, Playing::On), NOW), []);
        assert_eq!(
            playback.played(on(0, 20, Playing::On), NOW),
            [Heard::Started("r1".into())]
        );
        sound(&mut playback, "r1", "a", 100);
        assert_eq!(playback.item_done("a"), []);
        sound(&mut playback, "r2", "b", 100);
        assert_eq!(
            playback.played(on(0, 210, Playing::On), NOW),
            [Heard::Stopped, Heard::Started("r2".into())]
        );
        // All of it is heard before its end is known: it is over when that comes.
        assert_eq!(playback.played(on(0, 300, Playing::Dry), NOW), []);
        assert_eq!(playback.response_done("r2"), [Heard::Stopped]);
        assert!(playback.is_empty());
        assert_eq!(playback.underruns, 0);
    }

    #[test]
    fn a_hole_in_an_answer_is_counted_and_makes_the_cushion_thicker() {
        let mut playback = Playback::default();
        let before = playback.cushion();
        sound(&mut playback, "r", "a", 100);
        playback.played(on(0, 100, Playing::Dry), Time::from_ms(100));
        playback.sound("r".into(), "a".into(), 0, 2_400, Time::from_ms(340));
        assert_eq!((playback.underruns, playback.starved_ms), (1, 240));
        assert_eq!(playback.cushion(), 2 * before);
        playback.underruns = 100;
        assert_eq!(playback.cushion(), CUSHION_MOST_MS * SAMPLES_PER_MS);
    }

    #[test]
    fn what_was_heard_is_counted_to_the_sample_and_the_rest_is_not_heard() {
        let mut playback = Playback::default();
        sound(&mut playback, "r", "a", 5_000);
        playback.played(on(0, 940, Playing::On), NOW);
        assert!(playback.silence(None));
        // A report that was under way says nothing of what comes now; what still comes of the answer is not heard.
        assert_eq!(playback.played(on(0, 980, Playing::On), NOW), []);
        assert!(!sound(&mut playback, "r", "a", 200));
        let cut = playback.cut(Played {
            epoch: 0,
            samples: 24_017,
            state: Playing::Silenced,
        });
        let (response, item) = ("r".into(), "a".into());
        assert_eq!(
            cut,
            Some(Cut {
                response,
                item,
                part: 0,
                ms: 1_000
            })
        );
        assert!(playback.is_empty());
        playback.response_done("r");
        assert!(sound(&mut playback, "r2", "b", 20));
        assert_eq!(
            playback.played(on(1, 5, Playing::On), NOW),
            [Heard::Started("r2".into())]
        );
    }

    #[test]
    fn of_what_was_not_heard_or_heard_to_its_end_nothing_is_cut() {
        let mut playback = Playback::default();
        assert!(!playback.silence(Some("r0")));
        assert!(!sound(&mut playback, "r0", "z", 100));
        sound(&mut playback, "r", "a", 100);
        assert!(playback.silence(None));
        assert_eq!(playback.cut(on(0, 0, Playing::Silenced)), None);
        playback.response_done("r");
        sound(&mut playback, "s", "b", 100);
        playback.item_done("b");
        assert!(playback.silence(None));
        assert_eq!(playback.cut(on(1, 100, Playing::Silenced)), None);
    }

    proptest! {
        /// Whatever was given, and whenever it is cut: one item at most, and never more of it than came.
        #[test]
        fn a_cut_is_within_what_came(
            pieces in prop::collection::vec((0u8..3, 1u64..4_000), 1..30),
            played in 0u64..130_000,
            done: bool,
        ) {
            let mut playback = Playback::default();
            let mut order: Vec<(String, u64)> = Vec::new();
            let mut item = 0;
            for (more, samples) in pieces {
                item += u32::from(more == 0);
                let id = format!("i{item}");
                let taken = playback.sound(format!("r{item}"), id.clone(), 0, samples, NOW);
                prop_assert!(taken);
                match order.last_mut().filter(|(last, _)| *last == id) {
                    Some((_, sum)) => *sum += samples,
                    None => order.push((id, samples)),
                }
                if more == 0 { playback.item_done(&format!("i{}", item - 1)); }
            }
            if done { playback.item_done(&format!("i{item}")); }
            let all: u64 = order.iter().map(|(_, samples)| samples).sum();
            let played = played.min(all);
            playback.played(Played { epoch: 0, samples: played / 2, state: Playing::On }, NOW);
            let silenced = playback.silence(None);
            let cut = playback.cut(Played { epoch: 0, samples: played, state: Playing::Silenced });
            prop_assert!(silenced || cut.is_none());
            if let Some(cut) = cut {
                let at = order.iter().position(|(id, _)| *id == cut.item).unwrap();
                let before: u64 = order.iter().take(at).map(|(_, samples)| samples).sum();
                prop_assert!(cut.ms * SAMPLES_PER_MS <= order[at].1 && cut.ms > 0);
                prop_assert!(played >= before && (played - before) / SAMPLES_PER_MS == cut.ms);
            }
        }
    }
}
