//! How much one client of a session may send. What is over is dropped with an error; over it for too long ends the
//! session.

use super::pace::Pace;
use crate::limit;
use crate::parse::Rate;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use tautline_machine::Time;
use tautline_machine::relay::voice::ApiError;
use tautline_protocol::limits::{self, hit};

/// Least time between two errors for what was dropped: a flood is not answered by one.
const TELL_EVERY_MS: u64 = 100;
/// Without a refusal for so long, a client is not over its rates any more.
const FORGIVEN_MS: u64 = 1_000;
/// Messages up to that size are not looked into for sound: at the rate of messages they cannot bring too much.
const SMALL: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    messages: Pace,
    sound: Pace,
    /// Since when it is over its rates, and when it last was.
    over: Option<(Time, Time)>,
    told: Option<Time>,
}

/// What is done about something that was dropped.
#[derive(Debug)]
pub(crate) struct Over {
    /// Told to the client.
    pub(crate) error: Option<ApiError>,
    /// The session ends.
    pub(crate) ends: bool,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
}

/// Bytes of sound that an event brings, decoded.
fn sound_in(text: &str) -> u64 {
    if text.len() <= SMALL {
        return 0;
    }
    match serde_json::from_str::<Head<'_>>(text) {
        Ok(Head {
            kind,
            audio: Some(audio),
        }) if matches!(&*kind, "input_audio_buffer.append" | "audio") => {
            let base64 = audio.get().trim_matches('"');
            let sound = base64.trim_end_matches('=');
            let padding = base64.len() - sound.len();
            (base64.len() / 4 * 3).saturating_sub(padding) as u64
        }
        _ => 0,
    }
}

/// What a binary message is answered with.
pub(crate) fn not_text() -> ApiError {
    ApiError::invalid("invalid_event", "Events are JSON in text messages.")
}

/// What a message over the limit is answered with.
pub(crate) fn too_large(most: usize) -> ApiError {
    let what = format!("A message has at most {most} bytes; send it in smaller ones.");
    ApiError::invalid("message_too_large", what)
}

impl Gate {
    pub(crate) fn new(rate: Rate, now: Time) -> Self {
        Self {
            messages: Pace::new(u64::from(rate.per_s), u64::from(rate.burst), now),
            sound: Pace::new(
                limits::VOICE_AUDIO_PER_S as u64,
                limits::VOICE_AUDIO_BURST as u64,
                now,
            ),
            over: None,
            told: None,
        }
    }

    /// One more message.
    pub(crate) fn message(&mut self, text: &str, now: Time) -> Result<(), Over> {
        if !self.messages.take(1, now) {
            let what = "Too many messages; send fewer.".into();
            return Err(self.refuse(hit::VOICE_MESSAGES, what, now));
        }
        self.sound(sound_in(text), now)
    }

    /// So much sound.
    pub(crate) fn sound(&mut self, bytes: u64, now: Time) -> Result<(), Over> {
        let most = limits::VOICE_WAITING_BYTES as u64;
        if bytes > most {
            // Nobody keeps as much: it is not to be paid for.
            let what = format!("Too much sound at once; append at most {most} bytes.");
            return Err(self.refuse(hit::VOICE_AUDIO, what, now));
        }
        if !self.sound.take(bytes, now) {
            let wait_ms = self.sound.wait_ms(bytes, now);
            let what = format!(
                "Too much sound; send it no faster than it is spoken. This is taken in {wait_ms} ms."
            );
            return Err(self.refuse(hit::VOICE_AUDIO, what, now));
        }
        self.forgive(now);
        Ok(())
    }

    fn forgive(&mut self, now: Time) {
        if self.over.is_some_and(|(_, last)| now - last >= FORGIVEN_MS) {
            self.over = None;
        }
    }

    fn refuse(&mut self, row: &'static str, what: String, now: Time) -> Over {
        limit::hit(row);
        self.forgive(now);
        let since = self.over.map_or(now, |(since, _)| since);
        self.over = Some((since, now));
        let tell = self.told.is_none_or(|at| now - at >= TELL_EVERY_MS);
        if tell {
            self.told = Some(now);
        }
        Over {
            error: tell.then(|| ApiError::invalid("rate_limit_exceeded", what)),
            ends: now - since >= limits::VOICE_OVER_MS,
        }
    }
}
