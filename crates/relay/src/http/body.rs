use super::problem::Problem;
use crate::clock;
use crate::limit;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use std::time::Duration;
use tautline_protocol::limits::{self, hit};
use tautline_protocol::scan;

const MAX: usize = limits::REQUEST_BODY;
const TIME: Duration = Duration::from_millis(limits::REQUEST_BODY_MS);

/// A body as text, whole, within its limits, and of a shape that a parser may be given.
pub(super) struct Text(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        // Not even identity: what is not sent cannot be a bomb.
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_encoding",
                "send the body without compression",
            ));
        }
        let too_large = || {
            limit::hit(hit::REQUEST_BODY);
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("a body has at most {MAX} bytes"),
            )
        };
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|len| len.to_str().ok())
            .and_then(|len| len.parse::<usize>().ok());
        if announced.is_some_and(|len| len > MAX) {
            return Err(too_large());
        }
        let bytes = clock::timeout(TIME, axum::body::to_bytes(request.into_body(), MAX))
            .await
            .map_err(|_| {
                limit::hit(hit::REQUEST_BODY_TIME);
                Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "timeout",
                    "the body did not come in time",
                )
            })?
            .map_err(|_| too_large())?;
        let text = String::from_utf8(bytes.into())
            .map_err(|_| Problem::invalid("the body is not UTF-8"))?;
        scan::check(&text).map_err(|breach| {
            limit::hit(hit::MESSAGE_SHAPE);
            Problem::invalid(format!("body: {breach}"))
        })?;
        Ok(Self(text))
    }
}
