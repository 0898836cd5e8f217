//! The sound that waits to become an item: everything for push-to-talk, the turn under way otherwise.

use super::audio::{Rate, Sound};
use super::hearing::{Change, FRAME_MS, Hearing, ONSET_FRAMES};
use super::measure::level_db;
use super::turn_detection::TurnDetection;

/// Kept from before a turn besides its padding, for a client that commits by itself.
const SPARE_MS: u64 = 1_000;
/// A turn ends here at the latest.
const TURN_MS: u64 = 60_000;

/// What was heard in what came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A turn began; ms of all sound ever written.
    Started { at_ms: u64 },
    /// It ended, and this was it.
    Stopped { at_ms: u64, sound: Sound },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Input {
    sound: Sound,
    /// Samples ever written before [`Self::sound`], at its rate.
    before: u64,
    /// Samples of [`Self::sound`] that were listened to.
    framed: usize,
    hearing: Hearing,
}

impl Input {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            sound: Sound::empty(rate),
            before: 0,
            framed: 0,
            hearing: Hearing::default(),
        }
    }

    /// Whether a turn is under way.
    pub(super) fn speaking(&self) -> bool {
        self.hearing.speaking()
    }

    /// What waits.
    pub(super) fn waiting_ms(&self) -> u64 {
        self.sound.ms()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.sound.bytes()
    }

    /// The end of all sound ever written, ms.
    pub(super) fn end_ms(&self) -> u64 {
        self.ms(self.before + self.sound.samples.len() as u64)
    }

    /// What of it is between those two, ms of all sound ever written.
    pub(super) fn between(&self, from_ms: u64, to_ms: u64) -> Sound {
        let rate = self.sound.rate;
        let at = |ms: u64| {
            let samples = (ms * rate.per_ms() as u64).saturating_sub(self.before);
            usize::try_from(samples).unwrap_or(usize::MAX)
        };
        let to = at(to_ms).min(self.sound.samples.len());
        let samples = self.sound.samples.get(at(from_ms).min(to)..to);
        Sound {
            rate,
            samples: samples.unwrap_or_default().to_vec(),
        }
    }

    /// Takes what waits.
    pub(super) fn take(&mut self) -> Sound {
        self.before += self.sound.samples.len() as u64;
        self.framed = 0;
        self.hearing.reset();
        let rate = self.sound.rate;
        std::mem::replace(&mut self.sound, Sound::empty(rate))
    }

    /// The session's format or turn detection changed: a turn under way is no turn any more.
    pub(super) fn changed(&mut self, rate: Rate) {
        self.hearing.reset();
        if rate != self.sound.rate {
            let end_ms = self.end_ms();
            self.sound = Sound::empty(rate);
            self.before = end_ms * rate.per_ms() as u64;
            self.framed = 0;
        }
    }

    /// Leaves at most so many of the latest bytes.
    pub(super) fn keep(&mut self, bytes: usize) {
        let excess = self.sound.samples.len().saturating_sub(bytes / 2);
        if excess > 0 {
            self.drop_front(excess);
        }
    }

    /// Adds sound of its own rate, and listens for turns unless it is push-to-talk.
    pub(super) fn push(&mut self, sound: &[i16], turns: Option<&TurnDetection>) -> Vec<Heard> {
        self.sound.samples.extend_from_slice(sound);
        let mut heard = Vec::new();
        let Some(turns) = turns else {
            self.framed = self.sound.samples.len();
            return heard;
        };
        let per_ms = self.sound.rate.per_ms();
        let frame = per_ms * usize::try_from(FRAME_MS).unwrap_or(10);
        while let Some(samples) = self.sound.samples.get(self.framed..self.framed + frame) {
            let change = self.hearing.frame(level_db(samples), turns);
            self.framed += frame;
            match change {
                Some(Change::Started) => {
                    let back = (turns.prefix_ms() + ONSET_FRAMES * FRAME_MS) as usize * per_ms;
                    self.drop_front(self.framed.saturating_sub(back));
                    heard.push(Heard::Started {
                        at_ms: self.ms(self.before),
                    });
                }
                Some(Change::Stopped) => heard.push(self.stopped()),
                None if self.speaking() && self.framed >= TURN_MS as usize * per_ms => {
                    self.hearing.reset();
                    heard.push(self.stopped());
                }
                None => {}
            }
            if !self.speaking() {
                let most = (turns.prefix_ms() + SPARE_MS) as usize * per_ms;
                // Not at each frame: what is behind has to be moved up.
                if self.framed > 2 * most {
                    self.drop_front(self.framed - most);
                }
            }
        }
        heard
    }

    fn stopped(&mut self) -> Heard {
        let rest = self.sound.samples.split_off(self.framed);
        let samples = std::mem::replace(&mut self.sound.samples, rest);
        self.before += samples.len() as u64;
        self.framed = 0;
        Heard::Stopped {
            at_ms: self.ms(self.before),
            sound: Sound {
                rate: self.sound.rate,
                samples,
            },
        }
    }

    fn drop_front(&mut self, samples: usize) {
        let samples = samples.min(self.sound.samples.len());
        self.sound.samples.drain(..samples);
        self.before += samples as u64;
        self.framed = self.framed.saturating_sub(samples);
    }

    fn ms(&self, samples: u64) -> u64 {
        samples / self.sound.rate.per_ms() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beep(ms: usize) -> Vec<i16> {
        (0..ms * 8)
            .map(|i| ((i as f64 * 0.314).sin() * 8_000.0) as i16)
            .collect()
    }

    #[test]
    fn positions_count_all_sound_ever_written() {
        let turns = TurnDetection::default();
        let mut input = Input::new(Rate::Narrow);
        assert_eq!(input.push(&vec![0; 8 * 5_000], Some(&turns)), []);
        let started = input.push(&beep(100), Some(&turns));
        assert_eq!(started, [Heard::Started { at_ms: 4_700 }]);
        let stopped = input.push(&vec![0; 8 * 500], Some(&turns));
        let [Heard::Stopped { at_ms, sound }] = &stopped[..] else {
            panic!("{stopped:?}");
        };
        assert_eq!((*at_ms, sound.ms()), (5_300, 600));
        assert_eq!(input.end_ms(), 5_600);
        // Another rate: time goes on from where it was.
        input.changed(Rate::Wide);
        input.push(&[0; 2_400], Some(&turns));
        assert_eq!(input.end_ms(), 5_700);
    }

    #[test]
    fn silence_does_not_pile_up() {
        let turns = TurnDetection::default();
        let mut input = Input::new(Rate::Narrow);
        for _ in 0..10_000 {
            input.push(&[0; 160], Some(&turns));
        }
        assert!(input.waiting_ms() <= 2 * 1_300 + 20);
        assert_eq!(input.end_ms(), 200_000);
    }

    #[test]
    fn a_turn_without_end_is_ended() {
        let turns = TurnDetection::default();
        let mut input = Input::new(Rate::Narrow);
        let mut stopped = 0;
        for _ in 0..7_000 {
            for heard in input.push(&beep(20), Some(&turns)) {
                stopped += usize::from(matches!(heard, Heard::Stopped { .. }));
            }
        }
        assert!(stopped >= 1);
        assert!(input.waiting_ms() <= TURN_MS + 20);
    }

    #[test]
    fn push_to_talk_keeps_all_up_to_a_bound() {
        let mut input = Input::new(Rate::Narrow);
        input.push(&beep(2_000), None);
        assert_eq!(input.waiting_ms(), 2_000);
        input.keep(8_000 * 2);
        assert_eq!((input.waiting_ms(), input.end_ms()), (1_000, 2_000));
        assert_eq!(input.take().ms(), 1_000);
        assert_eq!((input.waiting_ms(), input.end_ms()), (0, 2_000));
    }
}
