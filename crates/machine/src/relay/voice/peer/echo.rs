//! What `loopback:true` of a voice socket is: each sound is said back as it comes, each second of speech is measured.

use super::super::audio::Sound;
use super::super::hearing::{FRAME_MS, ONSET_FRAMES};
use super::super::measure::Facts;
use super::Peer;
use crate::Time;
use serde_json::{Value, json};

/// What is measured at once.
const SECOND_MS: u64 = 1_000;
/// A second that has less speech in it than that is the end of a turn, and its final transcript says so.
const SPOKEN_MS: u64 = 900;

/// See the module.
#[derive(Debug)]
pub(super) struct Echo {
    /// What is said back is all one answer's.
    response_id: String,
    item_id: String,
    /// Where the turn under way began, ms of all sound ever written.
    onset_ms: Option<u64>,
    /// Seconds of it that were told.
    told: u64,
}

impl Echo {
    pub(super) fn new(response_id: String, item_id: String) -> Self {
        Self {
            response_id,
            item_id,
            onset_ms: None,
            told: 0,
        }
    }

    /// Where the next second of the turn lies, once all of it has come.
    fn second(&mut self, speaking: bool, end_ms: u64) -> Option<u64> {
        if !speaking {
            self.onset_ms = None;
            self.told = 0;
            return None;
        }
        let onset_ms = end_ms.saturating_sub(ONSET_FRAMES * FRAME_MS);
        let from_ms = *self.onset_ms.get_or_insert(onset_ms) + self.told * SECOND_MS;
        if end_ms < from_ms + SECOND_MS {
            return None;
        }
        self.told += 1;
        Some(from_ms)
    }
}

impl Peer {
    /// Says a sound back in its own bytes, and listens to it.
    pub(super) fn echo_back(&mut self, audio: &Value, sound: &Sound, now: Time) {
        let Some(echo) = &self.echo else { return };
        let fields = json!({
            "response_id": echo.response_id,
            "item_id": echo.item_id,
            "output_index": 0,
            "content_index": 0,
            "delta": audio,
        });
        self.wire.emit("response.output_audio.delta", fields);
        // By frames, or the seconds of a turn that begins and ends within one sound would be passed over.
        let frame = sound.rate.per_ms() * usize::try_from(FRAME_MS).unwrap_or(10);
        for samples in sound.samples.chunks(frame) {
            let part = Sound {
                rate: sound.rate,
                samples: samples.to_vec(),
            };
            self.listen(&part, now);
            self.tell_second();
        }
    }

    fn tell_second(&mut self) {
        let (speaking, end_ms) = (self.input.speaking(), self.input.end_ms());
        let Some(echo) = &mut self.echo else { return };
        let Some(from_ms) = echo.second(speaking, end_ms) else {
            return;
        };
        let told = echo.told;
        let facts = Facts::of(&self.input.between(from_ms, from_ms + SECOND_MS));
        if facts.ms < SPOKEN_MS {
            return;
        }
        let fields = json!({
            "item_id": self.turn,
            "content_index": 0,
            "id": format!("seg_{told}"),
            "text": facts.sentence(),
            "speaker": "",
            "start": from_ms as f64 / 1_000.0,
            "end": (from_ms + SECOND_MS) as f64 / 1_000.0,
        });
        let kind = "conversation.item.input_audio_transcription.segment";
        self.wire.emit(kind, fields);
    }
}
