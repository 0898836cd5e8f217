use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tautline_machine::relay::voice::ApiError;

/// An error under `/v1/realtime`, in the shape of the Realtime API's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    error: ApiError,
    retry_after_ms: Option<u64>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, error: ApiError) -> Self {
        Self {
            status,
            error,
            retry_after_ms: None,
        }
    }

    /// What the caller got wrong.
    pub(crate) fn invalid(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(status, ApiError::invalid(code, message))
    }

    /// What the relay, or whoever answers for it, cannot do now.
    pub(crate) fn server(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(status, ApiError::server(code, message))
    }

    /// What it says, for those who are told otherwise than by HTTP.
    pub(crate) fn into_error(self) -> ApiError {
        self.error
    }

    pub(crate) fn retry_after_ms(self, ms: u64) -> Self {
        Self {
            retry_after_ms: Some(ms),
            ..self
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (
            self.status,
            [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ],
            self.error.to_body(),
        )
            .into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        response
    }
}
