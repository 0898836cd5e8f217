//! Fields of a session or a response: each is taken as it should be, or refused with what it should be.

use super::error::ApiError;
use super::format::Format;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The most tools, and the bytes of all of them as JSON.
const TOOLS: usize = 128;
const TOOLS_BYTES: usize = 96 * 1024;
/// Bytes of any other field as JSON.
const FIELD_BYTES: usize = 8 * 1024;

/// An object, or what to send instead.
pub(super) fn object<'a>(at: &str, value: &'a Value) -> Result<&'a Map<String, Value>, ApiError> {
    value
        .as_object()
        .ok_or_else(|| ApiError::value(at, format!("{at} is an object.")))
}

/// A string of at most so many bytes.
pub(super) fn string<'a>(at: &str, value: &'a Value, most: usize) -> Result<&'a str, ApiError> {
    let text = value
        .as_str()
        .ok_or_else(|| ApiError::value(at, format!("{at} is a string.")))?;
    if text.len() > most {
        return Err(ApiError::invalid(
            "string_above_max_length",
            format!("{at} has at most {most} bytes."),
        )
        .at(at));
    }
    Ok(text)
}

pub(super) fn kept(at: &str, value: &Value) -> Result<Value, ApiError> {
    bounded(at, value, FIELD_BYTES)?;
    Ok(value.clone())
}

pub(super) fn bounded(at: &str, value: &Value, most: usize) -> Result<(), ApiError> {
    if value.to_string().len() > most {
        return Err(ApiError::value(
            at,
            format!("{at} has at most {most} bytes of JSON."),
        ));
    }
    Ok(())
}

pub(super) fn object_or_null(at: &str, value: &Value) -> Result<Value, ApiError> {
    if !value.is_null() {
        object(at, value)?;
    }
    kept(at, value)
}

pub(super) fn format(at: &str, value: &Value) -> Result<Format, ApiError> {
    Format::parse(value).ok_or_else(|| {
        ApiError::value(
            at,
            format!("{at} is {{\"type\":\"audio/pcm\",\"rate\":24000}}, {{\"type\":\"audio/pcmu\"}} or {{\"type\":\"audio/pcma\"}}."),
        )
    })
}

pub(super) fn voice(at: &str, value: &Value) -> Result<Value, ApiError> {
    let name = value
        .as_str()
        .or_else(|| value.get("id").and_then(Value::as_str));
    match name {
        Some(name) if !name.is_empty() && name.len() <= 128 => kept(at, value),
        _ => Err(ApiError::value(
            at,
            format!("{at} is a name or {{\"id\"}}."),
        )),
    }
}

pub(super) fn max_output_tokens(at: &str, value: &Value) -> Result<Option<u64>, ApiError> {
    if value.is_null() || value == "inf" {
        return Ok(None);
    }
    value
        .as_u64()
        .filter(|tokens| (1..=4_096).contains(tokens))
        .map(Some)
        .ok_or_else(|| ApiError::value(at, format!("{at} is 1 to 4096, or \"inf\".")))
}

pub(super) fn tool_choice(at: &str, value: &Value) -> Result<Value, ApiError> {
    let known = match value {
        Value::Null => return Ok(json!("auto")),
        Value::String(name) => matches!(name.as_str(), "auto" | "none" | "required"),
        Value::Object(choice) => match choice.get("type").and_then(Value::as_str) {
            Some("function") => choice.get("name").is_some_and(Value::is_string),
            Some("mcp") => choice.get("server_label").is_some_and(Value::is_string),
            _ => false,
        },
        _ => false,
    };
    if !known {
        return Err(ApiError::value(
            at,
            format!(
                "{at} is \"auto\", \"none\", \"required\" or {{\"type\":\"function\",\"name\"}}."
            ),
        ));
    }
    kept(at, value)
}

/// Checked tools; those of `type:"mcp"` only when the policy lets the caller have them.
pub(super) fn tools(at: &str, value: &Value, mcp: bool) -> Result<Vec<Value>, ApiError> {
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err(ApiError::value(at, format!("{at} is a list."))),
    };
    if list.len() > TOOLS {
        return Err(ApiError::value(
            at,
            format!("{at} has at most {TOOLS} entries."),
        ));
    }
    bounded(at, value, TOOLS_BYTES)?;
    let mut names = BTreeSet::new();
    let mut kept = Vec::with_capacity(list.len());
    for (n, tool) in list.iter().enumerate() {
        let here = format!("{at}[{n}]");
        match object(&here, tool)?.get("type").and_then(Value::as_str) {
            Some("function") => {
                let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
                let fits = (1..=64).contains(&name.len())
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                if !fits {
                    return Err(ApiError::value(
                        format!("{here}.name"),
                        format!("{here}.name is 1 to 64 letters, digits, \"_\" or \"-\"."),
                    ));
                }
                if !names.insert(name) {
                    return Err(ApiError::value(
                        format!("{here}.name"),
                        format!("{here}.name is there twice."),
                    ));
                }
                kept.push(tool.clone());
            }
            Some("mcp") => {
                if mcp {
                    kept.push(tool.clone());
                }
            }
            _ => {
                return Err(ApiError::value(
                    format!("{here}.type"),
                    format!("{here}.type is \"function\" or \"mcp\"."),
                ));
            }
        }
    }
    Ok(kept)
}
