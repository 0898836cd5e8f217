use super::realtime::{self, Failure};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tautline_machine::relay::voice::{self, ApiError};
use tautline_machine::relay::{Nack, Refusal};
use tautline_protocol::limits::hit;
use tautline_protocol::{AuthCode, JsonWriter, NackCode, Outcome};

/// An error under `/api`: `application/problem+json` with a stable `code` (`docs/operations.md`, HTTP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    outcome: Option<Outcome>,
    retry_after_ms: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            outcome: None,
            retry_after_ms: None,
        }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            NackCode::Invalid.as_str(),
            detail,
        )
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, NackCode::Forbidden.as_str(), detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, NackCode::NotFound.as_str(), detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self {
            retry_after_ms: Some(1000),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                NackCode::Unavailable.as_str(),
                detail,
            )
        }
    }

    /// A write that may have been applied or not.
    pub(crate) fn unanswered() -> Self {
        Self {
            outcome: Some(Outcome::Unknown),
            ..Self::unavailable(
                "the relay is going down and cannot say whether this was applied; ask again under the same Idempotency-Key",
            )
        }
    }

    pub(crate) fn unreadable() -> Self {
        Self::unavailable("the store cannot be read now")
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// As this path's clients read errors: those of `/v1/realtime` know another shape.
    pub(super) fn answer(self, path: &str) -> Response {
        if realtime::is_path(path) {
            Failure::from(self).into_response()
        } else {
            self.into_response()
        }
    }

    pub(crate) fn retry_after_ms(self, ms: u64) -> Self {
        Self {
            retry_after_ms: Some(ms),
            ..self
        }
    }
}

impl From<Nack> for Problem {
    fn from(nack: Nack) -> Self {
        let status =
            StatusCode::from_u16(nack.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            code: nack.code.as_str(),
            detail: nack.message,
            outcome: Some(nack.outcome),
            retry_after_ms: nack.retry_after_ms,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code, detail) = match refusal.limit {
            hit::CONNECTIONS => (
                StatusCode::SERVICE_UNAVAILABLE,
                NackCode::Overloaded,
                "the relay has as many connections as it takes",
            ),
            hit::AUTH_FAILURES => (
                StatusCode::TOO_MANY_REQUESTS,
                NackCode::RateLimited,
                "too many refused tokens from this address",
            ),
            _ => (
                StatusCode::TOO_MANY_REQUESTS,
                NackCode::RateLimited,
                "too many connections from this address",
            ),
        };
        Self::new(status, code.as_str(), detail).retry_after_ms(refusal.retry_after_ms)
    }
}

impl From<AuthCode> for Problem {
    fn from(code: AuthCode) -> Self {
        let (status, detail) = match code {
            AuthCode::TokenInvalid | AuthCode::IdentityChanged => (
                StatusCode::UNAUTHORIZED,
                "the token is not one this relay takes",
            ),
            AuthCode::TokenExpired => (StatusCode::UNAUTHORIZED, "the token has run out"),
            AuthCode::RestaurantForbidden => (
                StatusCode::FORBIDDEN,
                "the token is not for this restaurant",
            ),
            AuthCode::RestaurantRequired => {
                (StatusCode::FORBIDDEN, "the token names several restaurants")
            }
            AuthCode::RoleUnknown => (StatusCode::FORBIDDEN, "no such role"),
        };
        Self::new(status, code.as_str(), detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = JsonWriter::object()
            .str("type", "about:blank")
            .str("title", self.status.canonical_reason().unwrap_or("Error"))
            .u64("status", u64::from(self.status.as_u16()))
            .str("code", self.code)
            .str("detail", &self.detail)
            .opt_str("outcome", self.outcome.map(Outcome::as_str))
            .opt_u64("retry_after_ms", self.retry_after_ms)
            .end();
        let mut response = (
            self.status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        response
    }
}

/// The path is known, the method is not.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{method} is not for {}", uri.path()),
    )
    .answer(uri.path())
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let kind = if problem.status.is_server_error() {
            voice::SERVER
        } else {
            voice::INVALID_REQUEST
        };
        let error = ApiError {
            kind,
            code: problem.code,
            message: problem.detail,
            param: None,
        };
        let failure = Self::new(problem.status, error);
        match problem.retry_after_ms {
            Some(ms) => failure.retry_after_ms(ms),
            None => failure,
        }
    }
}
