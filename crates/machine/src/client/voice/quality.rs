//! How a call is doing: a score from one-second statistics, and alarms for what is wrong without anybody saying so.

use super::io::Alarm;
use std::collections::VecDeque;

/// Seconds that losses are averaged over.
const SECONDS: usize = 4;
/// Packets below which a second says nothing of losses.
const PACKETS: u64 = 10;
/// A piece of what is spoken, ms.
const PIECE_MS: u64 = 40;
/// Seconds in a row that raise an alarm.
const ALARM_AFTER: u8 = 3;
/// Seconds in a row that a worse, or better, call takes to show.
const HOLD: u8 = 2;

/// What the browser counted by now; `None` where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Round trip of the path.
    pub rtt_ms: Option<u64>,
    /// Of what comes in.
    pub jitter_ms: Option<u64>,
    /// Audio packets that came.
    pub received: u64,
    /// Audio packets that did not.
    pub lost: u64,
    /// What the other side reports lost of ours, in thousandths.
    pub lost_out: u64,
    /// Samples played.
    pub played: u64,
    /// Of these, made up for lost packets.
    pub concealed: u64,
    /// Bytes that came.
    pub bytes_in: u64,
    /// Audio packets that left.
    pub sent: u64,
    /// Bytes that left.
    pub bytes_out: u64,
    /// Energy of what the microphone gave, in any unit.
    pub energy: Option<u64>,
    /// Anything at all that came over the path.
    pub heard: u64,
    /// Bytes in the data channel's buffer.
    pub buffered: usize,
    /// How packets travel: 0 unknown, 1 UDP, 2 TCP, 3 through a TURN relay, 4 on a socket.
    pub path: u8,
    /// Time in which an answer on a socket had holes.
    pub starved_ms: u64,
}

/// How a call did over its last second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// From 0 to 5.
    pub score: Option<u8>,
    /// Round trip.
    pub rtt_ms: Option<u64>,
    /// Jitter.
    pub jitter_ms: Option<u64>,
    /// Lost of what was sent to us, in thousandths.
    pub loss: Option<u64>,
    /// Played sound that was made up, in thousandths.
    pub concealed: Option<u64>,
    /// Bits a second.
    pub bitrate_in: u64,
    /// Bits a second.
    pub bitrate_out: u64,
    /// As in [`Sample`].
    pub path: u8,
    /// From the end of the user's turn to the first sound of the answer.
    pub first_audio_ms: Option<u64>,
    /// What is wrong now.
    pub alarms: Vec<Alarm>,
    /// Calls that took a lost one's place.
    pub reconnects: u32,
    /// Holes in answers, on a socket.
    pub underruns: u64,
    /// Pieces of what was spoken that could not leave a socket in time.
    pub unsent: u64,
}

/// What is expected of the call in this second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The microphone is open.
    pub(super) mic_open: bool,
    /// The answer is said to be playing.
    pub(super) playing: bool,
    /// Something leaves all the time, spoken or not.
    pub(super) sends: bool,
}

/// One call's seconds.
#[derive(Debug, Default)]
pub(super) struct Quality {
    last: Option<Sample>,
    /// Received and lost of the last seconds.
    losses: VecDeque<(u64, u64)>,
    /// Holes in these seconds, ms.
    holes: VecDeque<u64>,
    /// Pieces of what was spoken that were given up.
    pub(super) unsent: u64,
    unsent_before: u64,
    /// Seconds in which nothing came.
    silent: u8,
    score: Option<u8>,
    worse: u8,
    better: u8,
    /// Seconds in a row in which each alarm's condition held.
    wrong: [u8; 3],
}

impl Quality {
    /// Takes a second's sample.
    pub(super) fn take(&mut self, sample: Sample, expected: Expected) -> Report {
        let is_first = self.last.is_none();
        let before = self.last.replace(sample).unwrap_or(sample);
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let received = since(sample.received, before.received);
        let lost = since(sample.lost, before.lost);
        if self.losses.len() == SECONDS {
            self.losses.pop_front();
        }
        self.losses.push_back((received, lost));
        if self.holes.len() == SECONDS {
            self.holes.pop_front();
        }
        // A piece that was not sent is a hole of that length for the other side.
        let unsent = self.unsent - std::mem::replace(&mut self.unsent_before, self.unsent);
        self.holes
            .push_back(since(sample.starved_ms, before.starved_ms) + unsent * PIECE_MS);
        let holes: u64 = self.holes.iter().sum();
        self.silent = match since(sample.heard, before.heard) {
            0 if !is_first => self.silent.saturating_add(1),
            _ => 0,
        };
        let sums = self
            .losses
            .iter()
            .fold((0, 0), |(r, l), &(received, lost)| (r + received, l + lost));
        let loss = thousandths(sums.1, sums.0 + sums.1);
        let raw = raw_score(
            &sample,
            loss.unwrap_or(0)
                .max(sample.lost_out)
                .max(holes / SECONDS as u64),
        );
        self.settle(if self.silent >= ALARM_AFTER { 0 } else { raw });
        let mute = sample.energy.is_some() && sample.energy == before.energy;
        for (alarm, wrong) in [
            (Alarm::MicSilent, expected.mic_open && mute),
            (
                Alarm::NoRtpOut,
                expected.sends && sample.sent == before.sent,
            ),
            (Alarm::NoAudioIn, expected.playing && received == 0),
        ] {
            // The first sample has nothing to be compared with.
            self.judge(alarm, wrong && !is_first);
        }
        Report {
            score: self.score,
            rtt_ms: sample.rtt_ms,
            jitter_ms: sample.jitter_ms,
            loss,
            concealed: thousandths(
                since(sample.concealed, before.concealed),
                since(sample.played, before.played),
            ),
            bitrate_in: since(sample.bytes_in, before.bytes_in) * 8,
            bitrate_out: since(sample.bytes_out, before.bytes_out) * 8,
            path: sample.path,
            unsent: self.unsent,
            alarms: Alarm::ALL
                .into_iter()
                .filter(|&alarm| self.is_raised(alarm))
                .collect(),
            ..Report::default()
        }
    }

    /// Another session's counts follow.
    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    fn is_raised(&self, alarm: Alarm) -> bool {
        self.wrong[alarm as usize] >= ALARM_AFTER
    }

    fn judge(&mut self, alarm: Alarm, wrong: bool) {
        let slot = &mut self.wrong[alarm as usize];
        *slot = if wrong { slot.saturating_add(1) } else { 0 };
    }

    /// Falls at once by what two seconds agree on, rises one step at a time: a number that flickers says nothing.
    fn settle(&mut self, raw: u8) {
        let Some(score) = self.score else {
            self.score = Some(raw);
            return;
        };
        self.worse = if raw < score { self.worse + 1 } else { 0 };
        self.better = if raw > score { self.better + 1 } else { 0 };
        if self.worse >= HOLD {
            self.score = Some(raw);
            self.worse = 0;
        } else if self.better >= HOLD {
            self.score = Some(score + 1);
            self.better = 0;
        }
    }
}

fn thousandths(part: u64, of: u64) -> Option<u64> {
    (of >= PACKETS).then(|| part * 1_000 / of)
}

/// ITU-T G.107's E-model in whole numbers: what delay and loss take from a rating of 93, by steps of 10.
fn raw_score(sample: &Sample, loss: u64) -> u8 {
    // One way, with what a jitter buffer and the codecs add.
    let delay = sample.rtt_ms.unwrap_or(0) / 2 + 2 * sample.jitter_ms.unwrap_or(0) + 40;
    let late = delay * 24 / 1_000 + delay.saturating_sub(177) * 11 / 100;
    // 95 · p / (p + 10) with p in per cent.
    let holes = 95 * loss / (loss + 100);
    match 93_u64.saturating_sub(late + holes) {
        80.. => 5,
        70.. => 4,
        60.. => 3,
        50.. => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALKING: Expected = Expected {
        mic_open: true,
        playing: true,
        sends: true,
    };

    /// A second of 50 packets each way, `lost` of them on the way in.
    fn second(sample: &mut Sample, lost: u64, rtt_ms: u64) {
        sample.rtt_ms = Some(rtt_ms);
        sample.jitter_ms = Some(5);
        sample.received += 50 - lost;
        sample.lost += lost;
        sample.played += 48_000;
        sample.sent += 50;
        sample.heard += 50;
        sample.bytes_in += 8_000;
        sample.energy = Some(sample.energy.unwrap_or(0) + 7);
    }

    /// Seconds until the score is at or past `goal`.
    fn until(
        quality: &mut Quality,
        sample: &mut Sample,
        lost: [u64; 2],
        rtt_ms: u64,
        there: impl Fn(u8) -> bool,
    ) -> usize {
        for n in 1..60 {
            second(sample, lost[n % 2], rtt_ms);
            let report = quality.take(*sample, TALKING);
            if report.score.is_some_and(&there) {
                return n;
            }
        }
        panic!("never there: {quality:?}");
    }

    #[test]
    fn five_per_cent_and_200_ms_show_in_five_seconds_and_go_in_ten() {
        let (mut quality, mut sample) = (Quality::default(), Sample::default());
        until(&mut quality, &mut sample, [0, 0], 20, |score| score == 5);
        for _ in 0..10 {
            second(&mut sample, 0, 20);
            assert_eq!(quality.take(sample, TALKING).score, Some(5));
        }
        assert!(until(&mut quality, &mut sample, [2, 3], 200, |score| score <= 3) <= 5);
        for _ in 0..10 {
            second(&mut sample, 2, 200);
            quality.take(sample, TALKING);
        }
        assert!(until(&mut quality, &mut sample, [0, 0], 20, |score| score == 5) <= 10);
    }

    #[test]
    fn one_bad_second_does_not_show() {
        let (mut quality, mut sample) = (Quality::default(), Sample::default());
        until(&mut quality, &mut sample, [0, 0], 20, |score| score == 5);
        second(&mut sample, 0, 900);
        assert_eq!(quality.take(sample, TALKING).score, Some(5));
        second(&mut sample, 0, 20);
        assert_eq!(quality.take(sample, TALKING).score, Some(5));
    }

    #[test]
    fn each_alarm_comes_after_three_seconds_and_goes_at_once() {
        type Wrong = fn(&mut Sample, &Sample);
        let cases: [(Alarm, Wrong); 3] = [
            (Alarm::MicSilent, |sample, before| {
                sample.energy = before.energy
            }),
            (Alarm::NoRtpOut, |sample, before| sample.sent = before.sent),
            (Alarm::NoAudioIn, |sample, before| {
                sample.received = before.received
            }),
        ];
        for (alarm, wrong) in cases {
            let (mut quality, mut sample) = (Quality::default(), Sample::default());
            until(&mut quality, &mut sample, [0, 0], 20, |_| true);
            for n in 1..=5 {
                let before = sample;
                second(&mut sample, 0, 20);
                wrong(&mut sample, &before);
                assert_eq!(
                    quality.take(sample, TALKING).alarms == [alarm],
                    n >= 3,
                    "{alarm:?} in second {n}"
                );
            }
            second(&mut sample, 0, 20);
            assert_eq!(quality.take(sample, TALKING).alarms, []);
        }
    }

    #[test]
    fn a_muted_microphone_and_a_silent_answer_are_no_alarm() {
        let (mut quality, mut sample) = (Quality::default(), Sample::default());
        for _ in 0..10 {
            sample.sent += 50;
            sample.heard += 1;
            sample.energy = Some(0);
            let report = quality.take(
                sample,
                Expected {
                    mic_open: false,
                    playing: false,
                    sends: true,
                },
            );
            assert_eq!(report.alarms, []);
        }
    }

    #[test]
    fn on_a_socket_holes_show_and_silence_of_a_muted_microphone_does_not() {
        let (mut quality, mut sample) = (Quality::default(), Sample::default());
        let muted = Expected {
            mic_open: false,
            playing: false,
            sends: false,
        };
        for _ in 0..6 {
            sample.heard += 1;
            let report = quality.take(sample, muted);
            assert_eq!((report.score, report.alarms), (Some(5), vec![]));
        }
        for _ in 0..3 {
            sample.heard += 1;
            sample.starved_ms += 300;
            quality.take(sample, muted);
        }
        assert!(quality.score.is_some_and(|score| score <= 3), "{quality:?}");
        let (mut quality, mut sample) = (Quality::default(), Sample::default());
        for _ in 0..6 {
            quality.unsent += 10;
            sample.heard += 1;
            quality.take(sample, muted);
        }
        assert!(quality.score.is_some_and(|score| score <= 3), "{quality:?}");
    }

    #[test]
    fn nothing_at_all_is_zero() {
        let (mut quality, mut sample) = (Quality::default(), Sample::default());
        second(&mut sample, 0, 20);
        let scores: Vec<_> = (0..6)
            .map(|_| quality.take(sample, TALKING).score.unwrap())
            .collect();
        assert_eq!(scores.last(), Some(&0), "{scores:?}");
    }
}
