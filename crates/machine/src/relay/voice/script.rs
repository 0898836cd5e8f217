//! A recorded conversation, for tests and demos: `--upstream script:FILE`. It stands where an upstream does, so what it
//! does wrong on purpose is met with what an upstream's mistakes are met with.

use super::format::Format;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};
use tautline_protocol::CloseCode;

/// The most steps, and the most that one does.
const STEPS: usize = 10_000;
const ACTS: usize = 10_000;
/// The longest wait, and the longest tone.
const LONGEST_MS: u64 = 3_600_000;
const TONE_MS: u64 = 60_000;

/// The event that brings sound.
pub(super) const DELTA: &str = "response.output_audio.delta";
/// What a step may wait for besides a client's event: a connection, and sound.
pub(super) const START: &str = "start";
pub(super) const AUDIO: &str = "audio";

/// A script, as its file has it. Read it, then [`Script::check`] it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What the sound in it is written in: `pcm16`, `g711_ulaw`, `g711_alaw`. A session is given it in its own format.
    #[serde(default = "pcm")]
    pub format: String,
    /// What is done, each once.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
}

/// What one thing that happens sets off.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `start` (each connection), `audio`, or the type of a client's event.
    pub on: String,
    /// The how-manieth of those; unless given, the first one that no earlier step has taken.
    #[serde(default)]
    pub nth: Option<u32>,
    /// Of `audio`: once so much sound has come.
    #[serde(default)]
    pub ms: Option<u64>,
    /// What is done then, in order.
    pub then: Vec<Act>,
}

/// One thing that is done: an event, or a fault.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// After what is before it.
    #[serde(default)]
    pub after_ms: u64,
    /// Says this server event. In one of type `response.output_audio.delta`, `tone = { hz, ms }` may stand for `delta`.
    #[serde(default)]
    pub event: Option<Map<String, Value>>,
    /// Does something wrong.
    #[serde(default)]
    pub fault: Option<Fault>,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An `error` event.
    Error {
        /// Its code.
        code: String,
        /// Its message.
        message: String,
    },
    /// The connection is closed; 1006 breaks it off without a word.
    Close {
        /// The close code.
        code: u16,
        /// The close reason.
        #[serde(default)]
        reason: String,
    },
    /// Nothing is heard and nothing is said for so long; for ever, unless given.
    Stall {
        /// How long.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// A message that is no event.
    Malformed {
        /// What it is.
        text: String,
    },
    /// From here on there is so much time between two events at least.
    Slow {
        /// How much.
        ms: u64,
    },
    /// Whatever handles the session panics, as a bug of the relay's would have it.
    Panic {},
}

fn pcm() -> String {
    "pcm16".into()
}

impl Script {
    /// What its sound is written in.
    pub(super) fn sound(&self) -> Option<Format> {
        Format::parse(&Value::String(self.format.clone()))
    }

    /// Whether it can be played; the message says what to change.
    pub fn check(&self) -> Result<(), String> {
        if self.sound().is_none() {
            return Err("format: pcm16, g711_ulaw or g711_alaw".into());
        }
        if self.steps.len() > STEPS {
            return Err(format!("step: at most {STEPS}"));
        }
        for (n, step) in self.steps.iter().enumerate() {
            step.check()
                .map_err(|why| format!("step {}: {why}", n + 1))?;
        }
        Ok(())
    }
}

impl Step {
    fn check(&self) -> Result<(), String> {
        if self.on.is_empty() {
            return Err(
                "on: \"start\", \"audio\" or the type of a client's event, such as \"response.create\""
                    .into(),
            );
        }
        if self.nth == Some(0) {
            return Err("nth: 1 is the first".into());
        }
        if (self.on == AUDIO) != self.ms.is_some() {
            return Err("ms: goes with on = \"audio\", and that goes with ms".into());
        }
        if self.then.is_empty() || self.then.len() > ACTS {
            return Err(format!("then: 1 to {ACTS} entries"));
        }
        for (n, act) in self.then.iter().enumerate() {
            act.check()
                .map_err(|why| format!("then, entry {}: {why}", n + 1))?;
        }
        Ok(())
    }
}

impl Act {
    fn check(&self) -> Result<(), String> {
        if self.after_ms > LONGEST_MS {
            return Err(format!("after_ms: at most {LONGEST_MS}"));
        }
        match (&self.event, &self.fault) {
            (Some(event), None) => check_event(event),
            (None, Some(Fault::Close { code, .. })) => {
                let code = CloseCode(*code);
                if matches!(code.0, 1000..=1003 | 1006..=1014 | 3000..=4999) {
                    Ok(())
                } else {
                    Err("fault.close.code: one that a WebSocket may be closed with, or 1006".into())
                }
            }
            (None, Some(Fault::Slow { ms } | Fault::Stall { ms: Some(ms) }))
                if *ms > LONGEST_MS =>
            {
                Err(format!("fault: ms is at most {LONGEST_MS}"))
            }
            (None, Some(_)) => Ok(()),
            _ => Err("event or fault, one of the two".into()),
        }
    }
}

fn check_event(event: &Map<String, Value>) -> Result<(), String> {
    let Some(kind) = event.get("type").and_then(Value::as_str) else {
        return Err("event.type: a string is required".into());
    };
    if kind != DELTA {
        return Ok(());
    }
    match (event.get("delta"), event.get("tone")) {
        (Some(delta), None) => delta
            .as_str()
            .and_then(|delta| STANDARD.decode(delta).ok())
            .map(drop)
            .ok_or_else(|| "event.delta: base64".into()),
        (None, Some(tone)) => self::tone(tone)
            .map(drop)
            .ok_or_else(|| format!("event.tone: {{ hz = 20 to 4000, ms = 1 to {TONE_MS} }}")),
        _ => Err("event: delta or tone, one of the two".into()),
    }
}

/// What a tone is: its pitch and its length.
pub(super) fn tone(value: &Value) -> Option<(f64, u64)> {
    let hz = value.get("hz")?.as_f64()?;
    let ms = value.get("ms")?.as_u64()?;
    ((20.0..=4_000.0).contains(&hz) && (1..=TONE_MS).contains(&ms)).then_some((hz, ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_played_says_what_to_change() {
        for (json, word) in [
            (r#"{"format":"mp3"}"#, "format"),
            (r#"{"step":[{"on":"","then":[]}]}"#, "on"),
            (r#"{"step":[{"on":"start","then":[]}]}"#, "then"),
            (r#"{"step":[{"on":"start","nth":0,"then":[{}]}]}"#, "nth"),
            (r#"{"step":[{"on":"audio","then":[{}]}]}"#, "ms"),
            (r#"{"step":[{"on":"start","ms":1,"then":[{}]}]}"#, "ms"),
            (r#"{"step":[{"on":"start","then":[{}]}]}"#, "event or fault"),
            (r#"{"step":[{"on":"start","then":[{"event":{}}]}]}"#, "type"),
            (
                r#"{"step":[{"on":"start","then":[{"event":{"type":"response.output_audio.delta"}}]}]}"#,
                "tone",
            ),
            (
                r#"{"step":[{"on":"start","then":[{"event":{"type":"response.output_audio.delta","tone":{"hz":1,"ms":1}}}]}]}"#,
                "hz",
            ),
            (
                r#"{"step":[{"on":"start","then":[{"fault":{"close":{"code":1005}}}]}]}"#,
                "close",
            ),
            (
                r#"{"step":[{"on":"start","then":[{"after_ms":9999999,"fault":{"stall":{}}}]}]}"#,
                "after_ms",
            ),
        ] {
            let script: Script = serde_json::from_str(json).unwrap();
            let why = script.check().unwrap_err();
            assert!(why.contains(word), "{json}: {why}");
        }
        let error = serde_json::from_str::<Script>(r#"{"steps":[]}"#).unwrap_err();
        assert!(error.to_string().contains("steps"), "{error}");
    }
}
