//! When a spoken turn begins and ends, as a session says it.

use super::error::ApiError;
use serde_json::{Map, Value, json};

/// `session.audio.input.turn_detection`.
const AT: &str = "session.audio.input.turn_detection";

/// Settings of turn detection; `None` in a session is push-to-talk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TurnDetection {
    pub(super) kind: Kind,
    /// A turn that ends is answered.
    pub(super) create_response: bool,
    /// A turn that begins ends the answer.
    pub(super) interrupt_response: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Server {
        threshold: f64,
        prefix_padding_ms: u64,
        silence_duration_ms: u64,
        idle_timeout_ms: Option<u64>,
    },
    Semantic(Eagerness),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eagerness {
    Low,
    Medium,
    High,
    Auto,
}

impl Eagerness {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "low" => Some(Self::Low),
            "medium" => Some(Self::Medium),
            "high" => Some(Self::High),
            "auto" => Some(Self::Auto),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Auto => "auto",
        }
    }
}

/// The silence that ends a turn unless a session says otherwise.
const SILENCE_MS: u64 = 200;
/// The sound kept from before a turn.
const PREFIX_MS: u64 = 300;
/// The longest time either may be set to.
const MOST_MS: u64 = 10_000;

impl Default for TurnDetection {
    fn default() -> Self {
        Self {
            kind: Kind::Server {
                threshold: 0.5,
                prefix_padding_ms: PREFIX_MS,
                silence_duration_ms: SILENCE_MS,
                idle_timeout_ms: None,
            },
            create_response: true,
            interrupt_response: true,
        }
    }
}

impl TurnDetection {
    /// 0 to 1: how loud a voice has to be.
    pub(super) fn threshold(&self) -> f64 {
        match self.kind {
            Kind::Server { threshold, .. } => threshold,
            Kind::Semantic(_) => 0.5,
        }
    }

    /// The sound kept from before a turn.
    pub(super) fn prefix_ms(&self) -> u64 {
        match self.kind {
            Kind::Server {
                prefix_padding_ms, ..
            } => prefix_padding_ms,
            Kind::Semantic(_) => PREFIX_MS,
        }
    }

    /// The quiet that ends a turn. Nobody here understands whether a sentence is complete, so an eager session waits
    /// less.
    pub(super) fn silence_ms(&self) -> u64 {
        match self.kind {
            Kind::Server {
                silence_duration_ms,
                ..
            } => silence_duration_ms,
            Kind::Semantic(Eagerness::High) => 200,
            Kind::Semantic(Eagerness::Medium | Eagerness::Auto) => 300,
            Kind::Semantic(Eagerness::Low) => 450,
        }
    }

    /// How long a murmur, too low for a voice and too loud for quiet, may hold a turn open.
    pub(super) fn murmur_ms(&self) -> u64 {
        match self.kind {
            Kind::Server {
                silence_duration_ms,
                ..
            } => silence_duration_ms,
            Kind::Semantic(Eagerness::High) => 2_000,
            Kind::Semantic(Eagerness::Medium | Eagerness::Auto) => 4_000,
            Kind::Semantic(Eagerness::Low) => 8_000,
        }
    }

    /// The quiet after which the peer speaks by itself.
    pub(super) fn idle_ms(&self) -> Option<u64> {
        match self.kind {
            Kind::Server {
                idle_timeout_ms, ..
            } => idle_timeout_ms,
            Kind::Semantic(_) => None,
        }
    }

    /// The object.
    pub(super) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Server {
                threshold,
                prefix_padding_ms,
                silence_duration_ms,
                idle_timeout_ms,
            } => json!({
                "type": "server_vad",
                "threshold": threshold,
                "prefix_padding_ms": prefix_padding_ms,
                "silence_duration_ms": silence_duration_ms,
                "idle_timeout_ms": idle_timeout_ms,
                "create_response": self.create_response,
                "interrupt_response": self.interrupt_response,
            }),
            Kind::Semantic(eagerness) => json!({
                "type": "semantic_vad",
                "eagerness": eagerness.as_str(),
                "create_response": self.create_response,
                "interrupt_response": self.interrupt_response,
            }),
        }
    }

    /// Those settings with the fields that are present; a change of type begins with that type's own.
    pub(super) fn merged(now: Option<&Self>, asked: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut next = now.cloned().unwrap_or_default();
        let kind = asked.get("type").filter(|kind| !kind.is_null());
        match kind.map(Value::as_str) {
            None => {}
            Some(Some("server_vad")) => {
                next.kind = match next.kind {
                    kind @ Kind::Server { .. } => kind,
                    Kind::Semantic(_) => Self::default().kind,
                };
            }
            Some(Some("semantic_vad")) => {
                next.kind = match next.kind {
                    kind @ Kind::Semantic(_) => kind,
                    Kind::Server { .. } => Kind::Semantic(Eagerness::Auto),
                };
            }
            Some(_) => {
                return Err(ApiError::value(
                    format!("{AT}.type"),
                    "Turn detection is \"server_vad\", \"semantic_vad\", or null for push-to-talk.",
                ));
            }
        }
        for (key, value) in asked {
            // Clients send null for what they do not set; only the idle time means something by it.
            if value.is_null() && key != "idle_timeout_ms" {
                continue;
            }
            match (key.as_str(), &mut next.kind) {
                ("create_response", _) => next.create_response = flag(key, value)?,
                ("interrupt_response", _) => next.interrupt_response = flag(key, value)?,
                ("threshold", Kind::Server { threshold, .. }) => {
                    *threshold = value
                        .as_f64()
                        .filter(|value| (0.0..=1.0).contains(value))
                        .ok_or_else(|| wrong(key, "a number from 0 to 1"))?;
                }
                (
                    "prefix_padding_ms",
                    Kind::Server {
                        prefix_padding_ms, ..
                    },
                ) => *prefix_padding_ms = millis(key, value, 0, MOST_MS)?,
                (
                    "silence_duration_ms",
                    Kind::Server {
                        silence_duration_ms,
                        ..
                    },
                ) => *silence_duration_ms = millis(key, value, 20, MOST_MS)?,
                (
                    "idle_timeout_ms",
                    Kind::Server {
                        idle_timeout_ms, ..
                    },
                ) => {
                    *idle_timeout_ms = match value {
                        Value::Null => None,
                        value => Some(millis(key, value, 5_000, 30_000)?),
                    };
                }
                ("eagerness", Kind::Semantic(eagerness)) => {
                    *eagerness = value
                        .as_str()
                        .and_then(Eagerness::parse)
                        .ok_or_else(|| wrong(key, "\"low\", \"medium\", \"high\" or \"auto\""))?;
                }
                // What the other type has.
                (_, _) => {}
            }
        }
        Ok(next)
    }
}

fn wrong(key: &str, what: &str) -> ApiError {
    ApiError::value(format!("{AT}.{key}"), format!("{AT}.{key} is {what}."))
}

fn flag(key: &str, value: &Value) -> Result<bool, ApiError> {
    value.as_bool().ok_or_else(|| wrong(key, "true or false"))
}

fn millis(key: &str, value: &Value, least: u64, most: u64) -> Result<u64, ApiError> {
    value
        .as_u64()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| wrong(key, &format!("a whole number from {least} to {most}")))
}
