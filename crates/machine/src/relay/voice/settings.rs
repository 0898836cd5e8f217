//! A session's settings: what the caller asked for, merged under what the policy says.

use super::error::ApiError;
use super::field::{
    format, kept, max_output_tokens, object, object_or_null, string, tool_choice, tools, voice,
};
use super::format::Format;
use super::policy::{Allow, Policy};
use super::turn_detection::TurnDetection;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The longest instructions, bytes: a session has to fit a data channel's message.
const INSTRUCTIONS: usize = 64 * 1024;

/// What a session has that neither the caller nor the policy speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The model.
    pub model: String,
    /// The voice.
    pub voice: String,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            model: "gpt-realtime".into(),
            voice: "marin".into(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modality {
    Audio,
    Text,
}

impl Modality {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Text => "text",
        }
    }

    /// Reads `output_modalities`; the two are never had at once.
    pub(super) fn parse(param: &str, value: &Value) -> Result<Self, ApiError> {
        let names: Option<Vec<&str>> = value
            .as_array()
            .map(|names| names.iter().filter_map(Value::as_str).collect());
        match names.as_deref() {
            Some(["audio"]) => Ok(Self::Audio),
            Some(["text"]) => Ok(Self::Text),
            _ => Err(ApiError::value(
                param,
                format!(
                    "{param} is [\"audio\"] (which brings its transcript) or [\"text\"], not both."
                ),
            )),
        }
    }
}

/// A session's settings. See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    policy: Arc<Policy>,
    model: String,
    /// Somebody asked for it: from then on it stays.
    model_asked: bool,
    /// The assistant has spoken: from then on its voice stays.
    pub(super) voice_used: bool,
    pub(super) modality: Modality,
    pub(super) instructions: String,
    pub(super) tools: Vec<Value>,
    pub(super) tool_choice: Value,
    pub(super) parallel_tool_calls: Option<bool>,
    /// `None` is `"inf"`.
    pub(super) max_output_tokens: Option<u64>,
    pub(super) reasoning: Value,
    pub(super) truncation: Value,
    pub(super) prompt: Value,
    pub(super) tracing: Value,
    pub(super) include: Value,
    pub(super) input_format: Format,
    pub(super) transcription: Value,
    pub(super) noise_reduction: Value,
    pub(super) turn_detection: Option<TurnDetection>,
    pub(super) output_format: Format,
    pub(super) voice: Value,
    pub(super) speed: f64,
}

impl Settings {
    /// The settings of a new session: the policy's, then what the caller asked for, then `defaults`.
    pub fn new(
        policy: &Arc<Policy>,
        asked: Option<&Value>,
        defaults: &Defaults,
    ) -> Result<Self, ApiError> {
        let first = policy.models.first().unwrap_or(&defaults.model).clone();
        let model = if permits(policy, &defaults.model) {
            defaults.model.clone()
        } else {
            first
        };
        let settings = Self {
            model,
            model_asked: false,
            voice_used: false,
            modality: Modality::Audio,
            instructions: policy.instructions.clone().unwrap_or_default(),
            tools: policy.tools.clone().unwrap_or_else(|| policy.menu.tools()),
            tool_choice: json!("auto"),
            parallel_tool_calls: None,
            max_output_tokens: None,
            reasoning: Value::Null,
            truncation: json!("auto"),
            prompt: Value::Null,
            tracing: Value::Null,
            include: Value::Null,
            input_format: Format::Pcm,
            transcription: Value::Null,
            noise_reduction: Value::Null,
            turn_detection: Some(TurnDetection::default()),
            output_format: Format::Pcm,
            voice: json!(defaults.voice),
            speed: 1.0,
            policy: policy.clone(),
        };
        match asked {
            Some(asked) => settings.with(asked),
            None => Ok(settings),
        }
    }

    /// These settings, with what a caller asks for before the session begins: the model may still be chosen.
    pub fn with(&self, asked: &Value) -> Result<Self, ApiError> {
        let mut next = self.clone();
        next.model_asked = false;
        next.merge(asked)?;
        next.model_asked |= self.model_asked;
        Ok(next)
    }

    /// These settings with the model of a WebSocket's query.
    pub fn with_model(&self, model: &str) -> Result<Self, ApiError> {
        self.with(&json!({"type": "realtime", "model": model}))
    }

    /// `session.update`: a merge of the fields that are present, all of them or none.
    pub fn update(&mut self, asked: &Value) -> Result<(), ApiError> {
        let mut next = self.clone();
        next.merge(asked)?;
        *self = next;
        Ok(())
    }

    /// What a client is told of an update that was taken, but for a field that the policy has fixed: without a word it
    /// would wait for settings that never come. Not of `tracing`, which official clients ask for in every session and none
    /// waits for.
    pub fn overruled(&self, asked: &Value) -> Option<ApiError> {
        let asks = |key: &str| asked.get(key).filter(|value| !value.is_null());
        let differs = [
            (
                "instructions",
                asks("instructions").is_some_and(|asked| *asked != json!(self.instructions)),
            ),
            (
                "tools",
                asks("tools").is_some_and(|asked| *asked != json!(self.tools)),
            ),
            ("prompt", asks("prompt").is_some() && self.prompt.is_null()),
        ];
        let fields = differs.iter().filter(|(_, differs)| *differs);
        let fields: Vec<String> = fields.map(|(key, _)| format!("session.{key}")).collect();
        let first = fields.first()?;
        Some(
            ApiError::invalid(
                "fixed_by_policy",
                format!(
                    "The restaurant's voice policy fixes {}; leave it out. The rest of the update holds.",
                    fields.join(" and ")
                ),
            )
            .at(first),
        )
    }

    /// The formats of a session whose sound goes over RTP.
    pub(super) fn over_rtp(&mut self) {
        self.input_format = Format::Pcmu;
        self.output_format = Format::Pcmu;
    }

    /// The policy that holds.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The fields a client may send, as an upstream takes them; what is unset is left out.
    pub fn to_value(&self) -> Value {
        let mut session = json!({
            "type": "realtime",
            "model": self.model,
            "output_modalities": [self.modality.as_str()],
            "instructions": self.instructions,
            "tools": self.tools,
            "tool_choice": self.tool_choice,
            "max_output_tokens": match self.max_output_tokens {
                Some(tokens) => json!(tokens),
                None => json!("inf"),
            },
            "truncation": self.truncation,
            "audio": {
                "input": {
                    "format": self.input_format.to_value(),
                    "transcription": self.transcription,
                    "noise_reduction": self.noise_reduction,
                    "turn_detection": self.turn_detection.as_ref().map(TurnDetection::to_value),
                },
                "output": {
                    "format": self.output_format.to_value(),
                    "voice": self.voice,
                    "speed": self.speed,
                },
            },
        });
        if let Value::Object(session) = &mut session {
            for (key, value) in [
                ("prompt", self.prompt.clone()),
                ("tracing", self.tracing.clone()),
                ("include", self.include.clone()),
                ("reasoning", self.reasoning.clone()),
                ("parallel_tool_calls", json!(self.parallel_tool_calls)),
            ] {
                if !value.is_null() {
                    session.insert(key.into(), value);
                }
            }
        }
        session
    }

    /// The whole session object, as events and the answer to `client_secrets` show it. `expires_at_s` is 0 until the
    /// session runs.
    pub fn to_session(&self, session_id: &str, expires_at_s: u64) -> Value {
        let mut session = self.to_value();
        if let Value::Object(session) = &mut session {
            session.insert("id".into(), json!(session_id));
            session.insert("object".into(), json!("realtime.session"));
            session.insert("expires_at".into(), json!(expires_at_s));
            for key in ["prompt", "tracing", "include"] {
                session.entry(key).or_insert(Value::Null);
            }
        }
        session
    }

    fn merge(&mut self, asked: &Value) -> Result<(), ApiError> {
        let asked = object("session", asked)?;
        match asked.get("type").filter(|kind| !kind.is_null()) {
            None => return Err(ApiError::missing("session.type")),
            Some(kind) if kind == "realtime" => {}
            Some(_) => {
                return Err(ApiError::value(
                    "session.type",
                    "session.type is \"realtime\"; transcription sessions are not held here.",
                ));
            }
        }
        for (key, value) in asked {
            self.merge_field(key, value)?;
        }
        Ok(())
    }

    fn merge_field(&mut self, key: &str, value: &Value) -> Result<(), ApiError> {
        let at = || format!("session.{key}");
        match key {
            "model" if !value.is_null() => self.set_model(value),
            "instructions" => {
                let text = match value {
                    Value::Null => "",
                    value => string(&at(), value, INSTRUCTIONS)?,
                };
                if self.policy.instructions.is_none() {
                    self.instructions = text.to_owned();
                }
                Ok(())
            }
            "output_modalities" if !value.is_null() => {
                self.modality = Modality::parse(&at(), value)?;
                Ok(())
            }
            "tools" => {
                let tools = tools(&at(), value, self.policy.allows(Allow::Mcp))?;
                if self.policy.tools.is_none() {
                    self.tools = tools;
                }
                Ok(())
            }
            "tool_choice" => {
                self.tool_choice = tool_choice(&at(), value)?;
                Ok(())
            }
            "parallel_tool_calls" => {
                self.parallel_tool_calls = match value {
                    Value::Null => None,
                    value => Some(value.as_bool().ok_or_else(|| {
                        ApiError::value(at(), format!("{} is true or false.", at()))
                    })?),
                };
                Ok(())
            }
            "max_output_tokens" => {
                self.max_output_tokens = max_output_tokens(&at(), value)?;
                Ok(())
            }
            "truncation" if !value.is_null() => {
                let known = value == "auto"
                    || value == "disabled"
                    || value
                        .get("type")
                        .is_some_and(|kind| kind == "retention_ratio");
                if !known {
                    return Err(ApiError::value(
                        at(),
                        "session.truncation is \"auto\", \"disabled\" or an object of type \"retention_ratio\".",
                    ));
                }
                self.truncation = kept(&at(), value)?;
                Ok(())
            }
            "reasoning" => {
                self.reasoning = object_or_null(&at(), value)?;
                Ok(())
            }
            "include" => {
                if !(value.is_null() || value.is_array()) {
                    return Err(ApiError::value(at(), "session.include is a list of names."));
                }
                self.include = kept(&at(), value)?;
                Ok(())
            }
            "prompt" if self.policy.allows(Allow::Prompt) => {
                self.prompt = object_or_null(&at(), value)?;
                Ok(())
            }
            "tracing" if self.policy.allows(Allow::Tracing) => {
                if !(value.is_null() || value == "auto" || value.is_object()) {
                    return Err(ApiError::value(
                        at(),
                        "session.tracing is \"auto\", an object or null.",
                    ));
                }
                self.tracing = kept(&at(), value)?;
                Ok(())
            }
            "audio" if !value.is_null() => self.merge_audio(object(&at(), value)?),
            // Server's own, null where null says nothing, and what no policy here knows.
            _ => Ok(()),
        }
    }

    fn set_model(&mut self, value: &Value) -> Result<(), ApiError> {
        let model = string("session.model", value, 128)?;
        if self.model_asked && model != self.model {
            return Err(ApiError::invalid(
                "cannot_update_model",
                "A session keeps the model it began with; begin another one.",
            )
            .at("session.model"));
        }
        if !permits(&self.policy, model) {
            return Err(ApiError::invalid(
                "model_not_found",
                "This restaurant's voice policy does not allow that model; ask for one it names, or for none.",
            )
            .at("session.model"));
        }
        self.model = model.to_owned();
        self.model_asked = true;
        Ok(())
    }

    fn merge_audio(&mut self, audio: &Map<String, Value>) -> Result<(), ApiError> {
        if let Some(input) = audio.get("input").filter(|input| !input.is_null()) {
            for (key, value) in object("session.audio.input", input)? {
                let at = format!("session.audio.input.{key}");
                match key.as_str() {
                    "format" if !value.is_null() => self.input_format = format(&at, value)?,
                    "transcription" => self.transcription = object_or_null(&at, value)?,
                    "noise_reduction" => {
                        let kind = value.get("type").and_then(Value::as_str);
                        if !value.is_null() && !matches!(kind, Some("near_field" | "far_field")) {
                            return Err(ApiError::value(
                                &at,
                                format!(
                                    "{at} has the type \"near_field\" or \"far_field\", or is null."
                                ),
                            ));
                        }
                        self.noise_reduction = kept(&at, value)?;
                    }
                    "turn_detection" => {
                        self.turn_detection = match value {
                            Value::Null => None,
                            value => Some(TurnDetection::merged(
                                self.turn_detection.as_ref(),
                                object(&at, value)?,
                            )?),
                        };
                    }
                    _ => {}
                }
            }
        }
        if let Some(output) = audio.get("output").filter(|output| !output.is_null()) {
            for (key, value) in object("session.audio.output", output)? {
                let at = format!("session.audio.output.{key}");
                match key.as_str() {
                    "format" if !value.is_null() => self.output_format = format(&at, value)?,
                    "voice" if !value.is_null() => {
                        let voice = voice(&at, value)?;
                        if self.voice_used && voice != self.voice {
                            return Err(ApiError::invalid(
                                "cannot_update_voice",
                                "The voice stays once the assistant has spoken; begin another session.",
                            )
                            .at(at));
                        }
                        self.voice = voice;
                    }
                    "speed" if !value.is_null() => {
                        self.speed = value
                            .as_f64()
                            .filter(|speed| (0.25..=1.5).contains(speed))
                            .ok_or_else(|| {
                                ApiError::value(&at, format!("{at} is a number from 0.25 to 1.5."))
                            })?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a policy's locked fields could be a session's.
pub(super) fn check_locked(policy: &Policy) -> Result<(), ApiError> {
    if let Some(locked) = &policy.tools {
        tools("tools", &json!(locked), true)?;
    }
    if policy
        .instructions
        .as_ref()
        .is_some_and(|text| text.len() > INSTRUCTIONS)
    {
        return Err(ApiError::value(
            "instructions",
            format!("instructions: at most {INSTRUCTIONS} bytes"),
        ));
    }
    Ok(())
}

fn permits(policy: &Policy, model: &str) -> bool {
    policy.models.is_empty() || policy.models.iter().any(|allowed| allowed == model)
}
