//! What can be said of a sound without understanding it: how long, how loud, how high.

use super::audio::Sound;
use std::f64::consts::PI;

/// Below this a sound counts as silence, dBFS.
const SILENCE_DB: f64 = -55.0;
/// How far under the loudest frame a frame still belongs to the sound, dB.
const RANGE_DB: f64 = 30.0;
/// Frames of the level.
const FRAME_MS: usize = 10;
/// The loudest windows whose spectra are added.
const WINDOWS: usize = 4;

/// Measured facts of a sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Facts {
    /// From its first loud frame to its last; all of it when there is none.
    pub(super) ms: u64,
    /// The loudest sample; `None` for silence.
    pub(super) peak_db: Option<f64>,
    /// Where its spectrum is highest.
    pub(super) hz: Option<f64>,
}

/// The level of a frame, dBFS; very low for none.
pub(super) fn level_db(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return -120.0;
    }
    let power = samples
        .iter()
        .map(|&sample| f64::from(sample).powi(2))
        .sum::<f64>()
        / samples.len() as f64;
    db(power.sqrt())
}

fn db(amplitude: f64) -> f64 {
    (20.0 * (amplitude / 32_768.0).log10()).max(-120.0)
}

impl Facts {
    /// Measures.
    pub(super) fn of(sound: &Sound) -> Self {
        let frame = FRAME_MS * sound.rate.per_ms();
        let levels: Vec<f64> = sound.samples.chunks(frame).map(level_db).collect();
        let top = levels.iter().copied().fold(-120.0, f64::max);
        let silent = Self {
            ms: sound.ms(),
            peak_db: None,
            hz: None,
        };
        if top < SILENCE_DB {
            return silent;
        }
        let least = (top - RANGE_DB).max(SILENCE_DB);
        let loud = |level: &f64| *level >= least;
        let (Some(first), Some(last)) =
            (levels.iter().position(loud), levels.iter().rposition(loud))
        else {
            return silent;
        };
        let peak = sound
            .samples
            .iter()
            .map(|sample| sample.unsigned_abs())
            .max()
            .unwrap_or(0);
        Self {
            ms: ((last + 1 - first) * FRAME_MS) as u64,
            peak_db: Some(db(f64::from(peak))),
            hz: highest(sound),
        }
    }

    /// As a transcript's sentence, after "I heard" or alone.
    pub(super) fn sentence(&self) -> String {
        let seconds = self.ms as f64 / 1_000.0;
        let Some(peak) = self.peak_db else {
            return format!("{seconds:.1} s of silence.");
        };
        let peak = peak.round().abs();
        // A peak of zero has no sign.
        let sign = if peak > 0.0 { "\u{2212}" } else { "" };
        match self.hz {
            Some(hz) => format!(
                "{seconds:.1} s of sound, peak {sign}{peak:.0} dBFS, loudest near {:.0} Hz.",
                (hz / 10.0).round() * 10.0
            ),
            None => format!("{seconds:.1} s of sound, peak {sign}{peak:.0} dBFS."),
        }
    }
}

/// The frequency where the loudest windows have most power.
fn highest(sound: &Sound) -> Option<f64> {
    let size = 128 * sound.rate.per_ms();
    let mut starts: Vec<(f64, usize)> = (0..sound.samples.len())
        .step_by(size / 2)
        .map(|start| {
            let end = (start + size).min(sound.samples.len());
            (
                level_db(sound.samples.get(start..end).unwrap_or_default()),
                start,
            )
        })
        .collect();
    starts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let bins = size.next_power_of_two();
    let mut power = vec![0.0; bins / 2];
    for &(_, start) in starts.iter().take(WINDOWS) {
        let mut wave: Vec<(f64, f64)> = (0..bins)
            .map(|i| {
                let sample = if i < size {
                    sound.samples.get(start + i).copied().unwrap_or(0)
                } else {
                    0
                };
                let hann = 0.5 - 0.5 * (2.0 * PI * i as f64 / size as f64).cos();
                (f64::from(sample) * hann.max(0.0), 0.0)
            })
            .collect();
        transform(&mut wave);
        for (sum, (re, im)) in power.iter_mut().zip(&wave) {
            *sum += re * re + im * im;
        }
    }
    let step = sound.rate.hz() / bins as f64;
    // Hum and offset below 50 Hz are no voice.
    let first = (50.0 / step).ceil();
    let (best, _) = power
        .iter()
        .enumerate()
        .filter(|&(bin, &power)| bin as f64 >= first && power > 0.0)
        .max_by(|a, b| a.1.total_cmp(b.1))?;
    // A parabola through the logarithms finds the top between two bins.
    let log = |bin: usize| power.get(bin).map_or(0.0, |power| power.max(1e-9).ln());
    let (left, middle, right) = (log(best.saturating_sub(1)), log(best), log(best + 1));
    let bend = left - 2.0 * middle + right;
    let shift = if bend < 0.0 {
        (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    } else {
        0.0
    };
    Some((best as f64 + shift) * step)
}

/// Fourier's transform in place, of a power of two of points.
fn transform(wave: &mut [(f64, f64)]) {
    let n = wave.len();
    if n < 2 {
        return;
    }
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            wave.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        let turn = -PI / half as f64;
        for block in wave.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (k, (a, b)) in low.iter_mut().zip(high).enumerate() {
                let (sin, cos) = (turn * k as f64).sin_cos();
                let (re, im) = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                (*a, *b) = ((a.0 + re, a.1 + im), (a.0 - re, a.1 - im));
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::super::audio::Rate;
    use super::*;

    fn tone(hz: f64, amplitude: f64, rate: Rate, ms: usize) -> Sound {
        Sound {
            rate,
            samples: (0..ms * rate.per_ms())
                .map(|i| (amplitude * (2.0 * PI * hz * i as f64 / rate.hz()).sin()) as i16)
                .collect(),
        }
    }

    #[test]
    fn a_tone_is_measured() {
        for rate in [Rate::Narrow, Rate::Wide] {
            for hz in [200.0, 440.0, 1_234.0, 3_000.0] {
                let facts = Facts::of(&tone(hz, 8_231.0, rate, 1_200));
                assert_eq!(facts.ms, 1_200);
                assert!((facts.peak_db.unwrap() + 12.0).abs() < 0.2, "{facts:?}");
                assert!((facts.hz.unwrap() - hz).abs() < 2.0, "{facts:?}");
            }
        }
        assert_eq!(
            Facts::of(&tone(440.0, 8_231.0, Rate::Narrow, 1_200)).sentence(),
            "1.2 s of sound, peak \u{2212}12 dBFS, loudest near 440 Hz."
        );
    }

    #[test]
    fn a_short_beep_in_silence_is_as_long_as_it_is() {
        let mut sound = Sound::empty(Rate::Narrow);
        sound.samples.resize(2_400, 0);
        sound
            .samples
            .extend(tone(400.0, 9_000.0, Rate::Narrow, 20).samples);
        sound.samples.resize(5_000, 0);
        let facts = Facts::of(&sound);
        assert_eq!(facts.ms, 20);
        assert!((facts.hz.unwrap() - 400.0).abs() < 30.0, "{facts:?}");
    }

    #[test]
    fn silence_is_called_so() {
        let mut sound = Sound::empty(Rate::Wide);
        assert_eq!(Facts::of(&sound).sentence(), "0.0 s of silence.");
        sound.samples.resize(24_000, 3);
        assert_eq!(Facts::of(&sound).sentence(), "1.0 s of silence.");
    }
}
