//! Whether somebody speaks, by energy over a noise floor that adapts.

use super::turn_detection::TurnDetection;

/// One frame of sound.
pub(super) const FRAME_MS: u64 = 10;
/// Loud frames in a row that begin a turn: a click is shorter, a beep of 20 ms is not.
pub(super) const ONSET_FRAMES: u64 = 2;
/// A floor to begin with, dBFS.
const QUIET_DB: f64 = -65.0;
/// The floor goes down at once and up slowly: by this part of the distance a frame.
const RISE: f64 = 0.02;
/// While somebody speaks it goes up slower still, so that a steady hum becomes floor in the end.
const RISE_SPEAKING: f64 = 0.0004;
/// A frame this little over the floor is quiet, dB.
const QUIET_OVER_DB: f64 = 4.0;

/// What a frame changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Somebody began to speak, [`ONSET_FRAMES`] ago.
    Started,
    /// And is quiet now.
    Stopped,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hearing {
    floor_db: f64,
    /// Loud frames in a row.
    loud: u64,
    speaking: bool,
    /// Since the last loud frame, ms.
    since_loud: u64,
    /// Of quiet in a row, ms.
    quiet: u64,
}

impl Default for Hearing {
    fn default() -> Self {
        Self {
            floor_db: QUIET_DB,
            loud: 0,
            speaking: false,
            since_loud: 0,
            quiet: 0,
        }
    }
}

impl Hearing {
    /// Whether a turn is under way.
    pub(super) fn speaking(&self) -> bool {
        self.speaking
    }

    /// Ends a turn that something else ended: a commit, a clear. The floor is still what it is.
    pub(super) fn reset(&mut self) {
        *self = Self {
            floor_db: self.floor_db,
            ..Self::default()
        };
    }

    /// One frame's level.
    pub(super) fn frame(&mut self, level_db: f64, settings: &TurnDetection) -> Option<Change> {
        let threshold = settings.threshold();
        // 0.5 asks for 12 dB over the floor and no less than -45 dBFS.
        let over = 4.0 + 16.0 * threshold;
        let loud = level_db >= (self.floor_db + over).max(-55.0 + 20.0 * threshold);
        let quiet = !loud && level_db <= self.floor_db + QUIET_OVER_DB.max(over / 2.0);
        let rise = if self.speaking || loud {
            RISE_SPEAKING
        } else {
            RISE
        };
        if level_db < self.floor_db {
            self.floor_db = level_db.max(-90.0);
        } else {
            self.floor_db += (level_db - self.floor_db) * rise;
        }
        if loud {
            self.loud += 1;
            self.since_loud = 0;
            self.quiet = 0;
        } else {
            self.loud = 0;
            self.since_loud += FRAME_MS;
            self.quiet = if quiet { self.quiet + FRAME_MS } else { 0 };
        }
        if !self.speaking {
            if self.loud < ONSET_FRAMES {
                return None;
            }
            self.speaking = true;
            return Some(Change::Started);
        }
        let silence = settings.silence_ms();
        let over = self.quiet >= silence || self.since_loud >= settings.murmur_ms().max(silence);
        if !over {
            return None;
        }
        self.reset();
        Some(Change::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::super::turn_detection::{Eagerness, Kind};
    use super::*;

    fn run(levels: &[f64], settings: &TurnDetection) -> Vec<(usize, Change)> {
        let mut hearing = Hearing::default();
        levels
            .iter()
            .enumerate()
            .filter_map(|(n, &level)| hearing.frame(level, settings).map(|change| (n, change)))
            .collect()
    }

    #[test]
    fn a_beep_in_silence_is_a_turn() {
        let mut levels = vec![-120.0; 50];
        levels.extend([-20.0; 2]);
        levels.extend([-120.0; 48]);
        let changes = run(&levels, &TurnDetection::default());
        assert_eq!(changes, [(51, Change::Started), (71, Change::Stopped)]);
    }

    #[test]
    fn a_click_is_none() {
        let mut levels = vec![-60.0; 50];
        levels.push(-10.0);
        levels.extend([-60.0; 50]);
        assert_eq!(run(&levels, &TurnDetection::default()), []);
    }

    #[test]
    fn steady_noise_becomes_the_floor_and_a_voice_over_it_is_heard() {
        let mut hearing = Hearing::default();
        let settings = TurnDetection::default();
        for _ in 0..20_000 {
            hearing.frame(-38.0, &settings);
        }
        assert!(!hearing.speaking());
        assert_eq!(hearing.frame(-15.0, &settings), None);
        assert_eq!(hearing.frame(-15.0, &settings), Some(Change::Started));
    }

    #[test]
    fn a_high_threshold_hears_less() {
        let settings = |threshold| TurnDetection {
            kind: Kind::Server {
                threshold,
                prefix_padding_ms: 300,
                silence_duration_ms: 200,
                idle_timeout_ms: None,
            },
            ..TurnDetection::default()
        };
        let levels = [-42.0; 10];
        assert!(!run(&levels, &settings(0.5)).is_empty());
        assert!(run(&levels, &settings(0.9)).is_empty());
    }

    #[test]
    fn eagerness_decides_how_long_a_murmur_holds_a_turn() {
        let stopped = |eagerness| {
            let settings = TurnDetection {
                kind: Kind::Semantic(eagerness),
                ..TurnDetection::default()
            };
            // A murmur between quiet and voice, for ever.
            let mut levels = vec![-20.0; 20];
            levels.extend([-54.0; 1_000]);
            run(&levels, &settings)
                .iter()
                .find(|(_, change)| *change == Change::Stopped)
                .map(|(n, _)| *n)
                .unwrap()
        };
        assert!(stopped(Eagerness::High) < stopped(Eagerness::Medium));
        assert!(stopped(Eagerness::Medium) <= stopped(Eagerness::Low));
        assert!(stopped(Eagerness::Low) <= 20 + 800);
    }
}
