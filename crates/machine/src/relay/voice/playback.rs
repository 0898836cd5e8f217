//! The sound on its way to a WebRTC client: 20 ms at a time, at the pace it is heard.

use super::adapter::Output;
use super::g711::ULAW_SILENCE;
use super::wire::Wire;
use crate::Time;
use serde_json::json;
use std::collections::VecDeque;

/// One frame.
const FRAME_MS: u64 = 20;
const FRAME_BYTES: usize = 160;
/// Frames that a late driver may send at once; what is later still is sent late.
const CATCH_UP: u64 = 5;

/// What was cut off: whose sound, and how much of it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) response_id: String,
    pub(super) item_id: String,
    pub(super) content_index: usize,
    pub(super) played_ms: u64,
}

#[derive(Debug)]
struct Track {
    response_id: String,
    item_id: String,
    content_index: usize,
    bytes: Vec<u8>,
    played: usize,
    /// The response is done: nothing will be added.
    ended: bool,
}

impl Track {
    fn played_ms(&self) -> u64 {
        (self.played.min(self.bytes.len()) / 8) as u64
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Playback {
    tracks: VecDeque<Track>,
    next: Option<Time>,
    ended: Time,
    /// The response whose `output_audio_buffer.started` was told and whose end was not.
    told: Option<String>,
    /// The last response that was played at all.
    last: Option<String>,
}

impl Playback {
    /// Adds µ-law to an item's sound.
    pub(super) fn add(
        &mut self,
        response_id: &str,
        item_id: &str,
        content_index: usize,
        ulaw: &[u8],
        now: Time,
    ) {
        let known = self
            .tracks
            .back_mut()
            .filter(|track| track.item_id == item_id && track.content_index == content_index);
        match known {
            Some(track) => track.bytes.extend_from_slice(ulaw),
            None => self.tracks.push_back(Track {
                response_id: response_id.to_owned(),
                item_id: item_id.to_owned(),
                content_index,
                bytes: ulaw.to_vec(),
                played: 0,
                ended: false,
            }),
        }
        self.next.get_or_insert(now);
    }

    /// The response is done.
    pub(super) fn finish(&mut self, response_id: &str) {
        for track in &mut self.tracks {
            track.ended |= track.response_id == response_id;
        }
    }

    /// Whether anything is being played, or about to be.
    pub(super) fn busy(&self) -> bool {
        !self.tracks.is_empty()
    }

    /// When the next frame is due.
    pub(super) fn due(&self) -> Option<Time> {
        self.next
    }

    /// Puts out what is due.
    pub(super) fn advance(&mut self, wire: &mut Wire, now: Time) {
        while let Some(at) = self.next {
            if at > now {
                return;
            }
            let at = if now - at > CATCH_UP * FRAME_MS {
                now
            } else {
                at
            };
            self.next = self.frame(wire).then_some(at + FRAME_MS);
            self.ended = at;
        }
    }

    /// One frame; `false` when there is nothing left to wait for.
    fn frame(&mut self, wire: &mut Wire) -> bool {
        while let Some(track) = self.tracks.front_mut() {
            let left = track.bytes.len().saturating_sub(track.played);
            if left >= FRAME_BYTES || (left > 0 && track.ended) {
                if self.told.as_ref() != Some(&track.response_id) {
                    wire.emit(
                        "output_audio_buffer.started",
                        json!({"response_id": track.response_id}),
                    );
                    self.told = Some(track.response_id.clone());
                    self.last.clone_from(&self.told);
                }
                let end = (track.played + FRAME_BYTES).min(track.bytes.len());
                let mut frame = track
                    .bytes
                    .get(track.played..end)
                    .unwrap_or_default()
                    .to_vec();
                frame.resize(FRAME_BYTES, ULAW_SILENCE);
                track.played = end;
                wire.push(Output::Play(frame));
                return true;
            }
            if !track.ended {
                // The rest of it is being made.
                return true;
            }
            let done = track.response_id.clone();
            self.tracks.pop_front();
            let more = self.tracks.iter().any(|track| track.response_id == done);
            if !more && self.told.as_ref() == Some(&done) {
                self.told = None;
                wire.emit("output_audio_buffer.stopped", json!({"response_id": done}));
            }
        }
        false
    }

    /// Stops at once, and says whose sound was cut.
    pub(super) fn clear(&mut self, wire: &mut Wire) -> Vec<Cut> {
        self.next = None;
        let cuts: Vec<Cut> = self
            .tracks
            .drain(..)
            .filter(|track| track.played < track.bytes.len() || !track.ended)
            .map(|track| Cut {
                played_ms: track.played_ms(),
                response_id: track.response_id,
                item_id: track.item_id,
                content_index: track.content_index,
            })
            .collect();
        if let Some(response_id) = self.told.take() {
            wire.emit(
                "output_audio_buffer.cleared",
                json!({"response_id": response_id}),
            );
        }
        cuts
    }

    /// Drops the rest of one item: a client cut it itself.
    pub(super) fn cut(&mut self, item_id: &str) {
        for track in &mut self.tracks {
            if track.item_id == item_id {
                track.bytes.truncate(track.played);
            }
        }
    }

    /// Whether a client was told that it hears something.
    pub(super) fn playing(&self) -> bool {
        self.told.is_some()
    }

    /// When the last frame was over.
    pub(super) fn ended(&self) -> Time {
        self.ended
    }

    /// The last response that was played.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }
}
