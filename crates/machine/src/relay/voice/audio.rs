//! Sound in memory: 16 bit samples at the rate they came in, so that what is said back is what was heard.

use super::format::Format;
use super::{g711, resample};

/// Samples a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// 8 kHz.
    Narrow,
    /// 24 kHz.
    Wide,
}

impl Rate {
    /// Samples a millisecond.
    pub(super) fn per_ms(self) -> usize {
        match self {
            Self::Narrow => 8,
            Self::Wide => 24,
        }
    }

    /// Samples a second.
    pub(super) fn hz(self) -> f64 {
        self.per_ms() as f64 * 1_000.0
    }
}

impl Format {
    /// Its rate.
    pub(super) fn rate(self) -> Rate {
        match self {
            Self::Pcm => Rate::Wide,
            Self::Pcmu | Self::Pcma => Rate::Narrow,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sound {
    pub(super) rate: Rate,
    pub(super) samples: Vec<i16>,
}

impl Sound {
    /// No sound.
    pub(super) fn empty(rate: Rate) -> Self {
        Self {
            rate,
            samples: Vec::new(),
        }
    }

    /// Reads bytes; `None` when they end within a sample.
    pub(super) fn decode(format: Format, bytes: &[u8]) -> Option<Self> {
        let samples = match format {
            Format::Pcm => {
                let (pairs, rest) = bytes.as_chunks::<2>();
                if !rest.is_empty() {
                    return None;
                }
                pairs.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
            }
            Format::Pcmu => bytes.iter().map(|&byte| g711::from_ulaw(byte)).collect(),
            Format::Pcma => bytes.iter().map(|&byte| g711::from_alaw(byte)).collect(),
        };
        Some(Self {
            rate: format.rate(),
            samples,
        })
    }

    /// Writes bytes, at the format's rate.
    pub(super) fn encode(&self, format: Format) -> Vec<u8> {
        let there;
        let samples = if self.rate == format.rate() {
            &self.samples
        } else {
            there = self.at(format.rate());
            &there.samples
        };
        match format {
            Format::Pcm => samples.iter().flat_map(|s| s.to_le_bytes()).collect(),
            Format::Pcmu => samples.iter().map(|&s| g711::to_ulaw(s)).collect(),
            Format::Pcma => samples.iter().map(|&s| g711::to_alaw(s)).collect(),
        }
    }

    /// The same sound at another rate.
    pub(super) fn at(&self, rate: Rate) -> Self {
        let samples = match (self.rate, rate) {
            (Rate::Narrow, Rate::Wide) => resample::up(&self.samples),
            (Rate::Wide, Rate::Narrow) => resample::down(&self.samples),
            _ => self.samples.clone(),
        };
        Self { rate, samples }
    }

    /// Whole milliseconds.
    pub(super) fn ms(&self) -> u64 {
        (self.samples.len() / self.rate.per_ms()) as u64
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.samples.len() * 2
    }

    /// Leaves the first milliseconds.
    pub(super) fn cut(&mut self, ms: u64) {
        let samples = usize::try_from(ms)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.rate.per_ms());
        self.samples.truncate(samples);
        self.samples.shrink_to_fit();
    }
}

/// What stands for a voice that a text turn has not got: a short rise of tones, one a word.
pub(super) fn chime(words: usize, rate: Rate) -> Sound {
    const STEPS: [f64; 5] = [523.25, 587.33, 659.25, 783.99, 880.0];
    const WORD_MS: usize = 60;
    let word = WORD_MS * rate.per_ms();
    let mut samples = Vec::with_capacity(words.clamp(1, 40) * word);
    for n in 0..words.clamp(1, 40) {
        let hz = STEPS.get(n % STEPS.len()).copied().unwrap_or(523.25);
        samples.extend((0..word).map(|i| {
            let x = i as f64 / word as f64;
            // Swells and fades, so that no word clicks.
            let swell = (std::f64::consts::PI * x).sin();
            let wave = (2.0 * std::f64::consts::PI * hz * i as f64 / rate.hz()).sin();
            sample(4_000.0 * swell * wave)
        }));
    }
    Sound { rate, samples }
}

/// A tone.
pub(super) fn sine(hz: f64, ms: u64, rate: Rate) -> Sound {
    let samples = ms * rate.per_ms() as u64;
    Sound {
        rate,
        samples: (0..samples)
            .map(|n| {
                let phase = 2.0 * std::f64::consts::PI * hz * n as f64 / rate.hz();
                sample(8_000.0 * phase.sin())
            })
            .collect(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the range of a sample first"
)]
fn sample(value: f64) -> i16 {
    value.clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_is_encoded_again() {
        let bytes: Vec<u8> = (0..=254).filter(|&b| b != 0x7F).collect();
        for format in [Format::Pcm, Format::Pcmu, Format::Pcma] {
            let sound = Sound::decode(format, &bytes).unwrap();
            assert_eq!(sound.encode(format), bytes);
        }
    }

    #[test]
    fn half_a_sample_is_no_sound() {
        assert_eq!(Sound::decode(Format::Pcm, &[0; 3]), None);
    }

    #[test]
    fn rates_change_with_the_format() {
        let sound = chime(3, Rate::Narrow);
        assert_eq!(sound.ms(), 180);
        assert_eq!(sound.encode(Format::Pcm).len(), 180 * 48);
        assert_eq!(chime(3, Rate::Wide).encode(Format::Pcmu).len(), 180 * 8);
    }

    #[test]
    fn cuts_stay_within() {
        let mut sound = chime(2, Rate::Wide);
        sound.cut(30);
        assert_eq!(sound.ms(), 30);
        sound.cut(u64::MAX);
        assert_eq!(sound.ms(), 30);
    }
}
