//! Between 8 and 24 kHz, by a low-pass filter in three phases.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// How far the rates are apart.
const PHASES: usize = 3;
/// Taps on either side of the middle one, at 24 kHz.
const HALF: usize = 36;
/// Where the filter lets nothing more through, as part of 24 kHz: what 8 kHz can hold, less the filter's slope.
const CUTOFF: f64 = 3_600.0 / 24_000.0;

/// A sinc under a Blackman window; the taps' sum is one.
static TAPS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let width = (2 * HALF) as f64;
    let taps: Vec<f64> = (0..=2 * HALF)
        .map(|n| {
            let x = n as f64 - HALF as f64;
            let sinc = if n == HALF {
                2.0 * CUTOFF
            } else {
                (2.0 * PI * CUTOFF * x).sin() / (PI * x)
            };
            let turn = 2.0 * PI * n as f64 / width;
            sinc * (0.42 - 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos())
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    taps.into_iter().map(|tap| tap / sum).collect()
});

/// Three samples for each.
pub(super) fn up(samples: &[i16]) -> Vec<i16> {
    whole(Stream::new(Way::Up), samples)
}

/// One sample for each three.
pub(super) fn down(samples: &[i16]) -> Vec<i16> {
    whole(Stream::new(Way::Down), samples)
}

fn whole(mut stream: Stream, samples: &[i16]) -> Vec<i16> {
    let mut out = stream.push(samples);
    out.extend(stream.finish());
    out
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From 8 to 24 kHz.
    Up,
    /// From 24 to 8 kHz.
    Down,
}

impl Way {
    /// Samples of the input on either side of the one that an output is at.
    fn reach(self) -> usize {
        match self {
            Self::Up => HALF / PHASES,
            Self::Down => HALF,
        }
    }

    /// How far it goes on in the input for what [`Way::outputs`] gives.
    fn step(self) -> usize {
        match self {
            Self::Up => 1,
            Self::Down => PHASES,
        }
    }

    /// What a window of the input, twice the reach and the middle, gives.
    fn outputs(self, window: &[i16], out: &mut Vec<i16>) {
        let taps = &*TAPS;
        let sum = |phase: usize, step: usize| -> f64 {
            let taps = taps.iter().skip(phase).step_by(step);
            taps.zip(window.iter().rev())
                .map(|(tap, &sample)| tap * f64::from(sample))
                .sum()
        };
        match self {
            // Of the 24 kHz input only every third sample is not zero, so only every third tap counts.
            Self::Up => {
                out.extend((0..PHASES).map(|phase| rounded(sum(phase, PHASES) * PHASES as f64)));
            }
            Self::Down => out.push(rounded(sum(0, 1))),
        }
    }
}

/// A sound that comes in pieces: what is said of it is the same wherever it is cut.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    way: Way,
    /// From the first sample that the next output wants; there is silence before a sound.
    kept: Vec<i16>,
}

impl Stream {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            kept: vec![0; way.reach()],
        }
    }

    /// What can be said of it by now.
    pub(super) fn push(&mut self, samples: &[i16]) -> Vec<i16> {
        self.kept.extend_from_slice(samples);
        let (window, step) = (2 * self.way.reach() + 1, self.way.step());
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(window) = self.kept.get(at..at + window) {
            self.way.outputs(window, &mut out);
            at += step;
        }
        self.kept.drain(..at.min(self.kept.len()));
        out
    }

    /// The rest of it: silence follows.
    pub(super) fn finish(mut self) -> Vec<i16> {
        self.push(&vec![0; self.way.reach()])
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the range of a sample first"
)]
fn rounded(value: f64) -> i16 {
    value
        .round()
        .clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: f64, n: usize) -> Vec<i16> {
        (0..n)
            .map(|i| rounded(10_000.0 * (2.0 * PI * hz * i as f64 / rate).sin()))
            .collect()
    }

    fn level(samples: &[i16]) -> f64 {
        let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
        (middle.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / middle.len() as f64).sqrt()
    }

    #[test]
    fn a_tone_stays_itself_both_ways() {
        for hz in [200.0, 440.0, 1_000.0, 2_500.0] {
            let narrow = tone(hz, 8_000.0, 800);
            let wide = tone(hz, 24_000.0, 2_400);
            for (got, wanted) in [(up(&narrow), wide.clone()), (down(&wide), narrow)] {
                assert_eq!(got.len(), wanted.len());
                let edge = wanted.len() / 8;
                for i in edge..wanted.len() - edge {
                    let off = i32::from(got[i]) - i32::from(wanted[i]);
                    assert!(off.abs() < 200, "{hz} Hz at {i}: {off}");
                }
            }
        }
    }

    #[test]
    fn what_8_khz_cannot_hold_does_not_fold_back() {
        let high = tone(6_000.0, 24_000.0, 4_800);
        assert!(level(&down(&high)) < level(&high) / 300.0);
    }

    #[test]
    fn no_images_above_4_khz() {
        // A tone's image would show as a difference between neighbours that the tone itself has not.
        let wide = up(&tone(1_000.0, 8_000.0, 800));
        let expected = tone(1_000.0, 24_000.0, 2_400);
        let rest: Vec<i16> = wide.iter().zip(&expected).map(|(a, b)| a - b).collect();
        assert!(level(&rest) < 30.0);
    }

    #[test]
    fn a_sound_in_pieces_is_the_same() {
        for (way, sound) in [
            (Way::Down, tone(700.0, 24_000.0, 2_401)),
            (Way::Up, tone(700.0, 8_000.0, 801)),
        ] {
            for piece in [1, 7, 160, 480] {
                let mut stream = Stream::new(way);
                let mut out: Vec<i16> = sound
                    .chunks(piece)
                    .flat_map(|piece| stream.push(piece))
                    .collect();
                out.extend(stream.finish());
                assert_eq!(out, whole(Stream::new(way), &sound), "{way:?} by {piece}");
            }
        }
    }

    #[test]
    fn nothing_gives_nothing_and_odd_ends_are_kept() {
        assert!(up(&[]).is_empty() && down(&[]).is_empty());
        assert_eq!(down(&[0; 4]).len(), 2);
        assert_eq!(up(&[0; 5]).len(), 15);
    }
}
