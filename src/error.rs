//! `TautlineError`s, built here and made by the layer.

use crate::host;
use serde::Serialize;
use tautline_machine::client::{Answer, Failure};
use tautline_protocol::{ErrorCode, NackCode, Outcome, Stage};
use wasm_bindgen::prelude::*;

/// An error on its way to the page.
#[must_use]
pub(crate) struct Error<'a> {
    code: ErrorCode,
    message: &'a str,
    fields: Fields,
}

/// What goes onto the error beside its code and message; absent ones are `undefined`.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Fields {
    retryable: Option<bool>,
    outcome: Option<&'static str>,
    nack_code: Option<&'static str>,
    close_code: Option<u16>,
    close_reason: Option<String>,
    status: Option<u16>,
    timeout_ms: Option<f64>,
    retry_after_ms: Option<f64>,
    stage: Option<&'static str>,
    server_code: Option<String>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    cause: JsValue,
}

impl<'a> Error<'a> {
    pub(crate) fn new(code: ErrorCode, message: &'a str) -> Self {
        Self {
            code,
            message,
            fields: Fields::default(),
        }
    }

    /// An argument is not what the method takes; `message` says what it takes.
    pub(crate) fn invalid(message: &'a str) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    pub(crate) fn disposed() -> Self {
        Self::new(
            ErrorCode::Disposed,
            "this object was disposed; make a new one",
        )
    }

    pub(crate) fn failure(failure: &'a Failure) -> Self {
        let mut error = Self::new(failure.code, failure.message);
        error.fields.stage = failure.stage.map(Stage::as_str);
        if let Some(close) = &failure.close {
            error.fields.close_code = Some(close.code.0);
            error.fields.close_reason = Some(close.reason.clone());
        }
        error
    }

    pub(crate) fn nack(
        code: NackCode,
        message: &'a str,
        outcome: Outcome,
        retry_after_ms: Option<u64>,
    ) -> Self {
        let mut error = Self::new(ErrorCode::Nack, message).outcome(outcome);
        error.fields.nack_code = Some(code.as_str());
        error.fields.retryable = Some(code.retryable());
        error.fields.retry_after_ms = retry_after_ms.map(|ms| ms as f64);
        error
    }

    pub(crate) fn outcome(mut self, outcome: Outcome) -> Self {
        self.fields.outcome = Some(outcome.as_str());
        self
    }

    pub(crate) fn cause(mut self, cause: JsValue) -> Self {
        self.fields.cause = cause;
        self
    }

    pub(crate) fn status(mut self, status: u16, retryable: bool) -> Self {
        self.fields.status = Some(status);
        self.fields.retryable = Some(retryable);
        self
    }

    pub(crate) fn nack_code(mut self, code: Option<NackCode>) -> Self {
        self.fields.nack_code = code.map(NackCode::as_str);
        self
    }

    #[cfg(feature = "voice")]
    pub(crate) fn stage(mut self, stage: Option<Stage>) -> Self {
        self.fields.stage = stage.map(Stage::as_str);
        self
    }

    /// What a server said of a refusal.
    #[cfg(feature = "voice")]
    pub(crate) fn server(
        mut self,
        status: Option<u16>,
        code: Option<String>,
        retryable: bool,
    ) -> Self {
        self.fields.status = status;
        self.fields.server_code = code;
        self.fields.retryable = Some(retryable);
        self
    }

    pub(crate) fn timeout_ms(mut self, ms: Option<u64>) -> Self {
        self.fields.timeout_ms = ms.map(|ms| ms as f64);
        self
    }

    /// The error itself.
    pub(crate) fn make(self) -> JsValue {
        host::make_error(
            self.code.as_str(),
            self.message,
            &crate::convert::to_js(&self.fields),
        )
    }
}

/// What a command's promise is rejected with; `None` when the command succeeded.
pub(crate) fn of_answer(
    answer: &Answer,
    said: Option<String>,
    timeout_ms: Option<u64>,
    is_filter: bool,
) -> Option<JsValue> {
    match answer {
        Answer::Acked { .. } | Answer::Confirmed { .. } | Answer::Written => None,
        Answer::Nacked {
            code,
            outcome,
            retry_after_ms,
        } => {
            let message = said.unwrap_or_else(|| String::from("the server refused the command"));
            Some(Error::nack(*code, &message, *outcome, *retry_after_ms).make())
        }
        Answer::Failed { code, outcome } => {
            let timeout = (*code == ErrorCode::RequestTimeout)
                .then_some(timeout_ms)
                .flatten();
            Some(
                Error::new(*code, explained(*code, is_filter))
                    .outcome(*outcome)
                    .timeout_ms(timeout)
                    .make(),
            )
        }
    }
}

fn explained(code: ErrorCode, is_filter: bool) -> &'static str {
    match code {
        ErrorCode::Aborted if is_filter => {
            "another setFilter(), or disconnect(), came before the server had taken this filter"
        }
        ErrorCode::Protocol if is_filter => {
            "this server speaks the plain dialect, which has no filters; it is remembered for one that has"
        }
        ErrorCode::OutboxExpired => {
            "the message waited too long for a connection and was taken back"
        }
        ErrorCode::RequestTimeout => {
            "no answer came in time; `outcome` says whether the message was sent"
        }
        ErrorCode::Aborted => "given up by the caller; `outcome` says whether the message was sent",
        ErrorCode::Disposed => "the service was disposed",
        ErrorCode::MessageTooLarge => "the message is larger than the server takes",
        _ => "the message could not be delivered",
    }
}
