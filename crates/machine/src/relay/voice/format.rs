//! The audio formats of a session.

use serde_json::{Value, json};

/// How audio is written in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// 16 bit, little endian, 24 kHz.
    Pcm,
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
}

impl Format {
    /// Reads the object, or the string that older clients send.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        let name = match value {
            Value::String(name) => name.as_str(),
            Value::Object(object) => {
                let name = object.get("type")?.as_str()?;
                let rate = object.get("rate").filter(|rate| !rate.is_null());
                let wanted = if name == "audio/pcm" { 24_000 } else { 8_000 };
                if rate.is_some_and(|rate| rate.as_u64() != Some(wanted)) {
                    return None;
                }
                name
            }
            _ => return None,
        };
        match name {
            "audio/pcm" | "pcm16" => Some(Self::Pcm),
            "audio/pcmu" | "g711_ulaw" => Some(Self::Pcmu),
            "audio/pcma" | "g711_alaw" => Some(Self::Pcma),
            _ => None,
        }
    }

    /// The object.
    pub(super) fn to_value(self) -> Value {
        match self {
            Self::Pcm => json!({"type": "audio/pcm", "rate": 24_000}),
            Self::Pcmu => json!({"type": "audio/pcmu"}),
            Self::Pcma => json!({"type": "audio/pcma"}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_older_names_mean_the_same() {
        for (format, name) in [
            (Format::Pcm, "pcm16"),
            (Format::Pcmu, "g711_ulaw"),
            (Format::Pcma, "g711_alaw"),
        ] {
            assert_eq!(Format::parse(&json!(name)), Some(format));
            assert_eq!(Format::parse(&format.to_value()), Some(format));
        }
        assert_eq!(
            Format::parse(&json!({"type": "audio/pcm"})),
            Some(Format::Pcm)
        );
        for wrong in [
            json!({"type": "audio/pcm", "rate": 16_000}),
            json!("opus"),
            json!(7),
            json!({}),
        ] {
            assert_eq!(Format::parse(&wrong), None, "{wrong}");
        }
    }
}
