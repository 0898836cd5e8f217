//! Errors in the shape of the Realtime API: `{type, code, message, param}`.

use serde_json::{Value, json};

/// `type` of what the caller got wrong.
pub const INVALID_REQUEST: &str = "invalid_request_error";
/// `type` of what the relay could not do.
pub const SERVER: &str = "server_error";

/// Why something was refused, and what to do instead. It never quotes what it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// `type`: [`INVALID_REQUEST`], [`SERVER`], or what an endpoint calls its own.
    pub kind: &'static str,
    /// What a program tells errors apart by.
    pub code: &'static str,
    /// What a person reads.
    pub message: String,
    /// The field at fault, as a path such as `session.audio.input.turn_detection.threshold`.
    pub param: Option<String>,
}

impl ApiError {
    /// An error of the caller's.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: INVALID_REQUEST,
            code,
            message: message.into(),
            param: None,
        }
    }

    /// An error of the relay's.
    pub fn server(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: SERVER,
            code,
            message: message.into(),
            param: None,
        }
    }

    /// A field that may not have that value.
    pub fn value(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid("invalid_value", message).at(param)
    }

    /// A field that is missing.
    pub fn missing(param: impl Into<String>) -> Self {
        let param = param.into();
        Self::invalid(
            "missing_required_parameter",
            format!("{param} is required."),
        )
        .at(param)
    }

    /// The same error at that field.
    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The `error` event: its own id, and the id of the client's event it answers, if that had one.
    pub fn to_event(&self, event_id: &str, client_event_id: Option<&str>) -> String {
        let mut error = self.to_value();
        if let Value::Object(error) = &mut error {
            error.insert("event_id".into(), json!(client_event_id));
        }
        json!({"type": "error", "event_id": event_id, "error": error}).to_string()
    }

    /// The body of an HTTP answer.
    pub fn to_body(&self) -> String {
        json!({"error": self.to_value()}).to_string()
    }

    fn to_value(&self) -> Value {
        json!({"type": self.kind, "code": self.code, "message": self.message, "param": self.param})
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_what_it_answers() {
        let error = ApiError::value("session.model", "no");
        let event: Value = serde_json::from_str(&error.to_event("event_1", Some("mine"))).unwrap();
        assert_eq!(event["event_id"], "event_1");
        assert_eq!(event["error"]["event_id"], "mine");
        assert_eq!(event["error"]["param"], "session.model");
        assert_eq!(event["error"]["type"], INVALID_REQUEST);
        let body: Value = serde_json::from_str(&error.to_body()).unwrap();
        assert_eq!(body["error"]["code"], "invalid_value");
        assert!(body["error"].get("event_id").is_none());
    }
}
