//! The body of `POST /v1/realtime/calls`: an offer alone, or in a form with the session it is for.

use super::Failure;
use crate::clock;
use crate::limit;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use multer::{Constraints, Multipart, SizeLimit};
use serde_json::Value;
use std::time::Duration;
use tautline_protocol::limits::{self, hit};
use tautline_protocol::scan;

const MOST: usize = limits::REALTIME_FORM;
const TIME: Duration = Duration::from_millis(limits::REQUEST_BODY_MS);

/// An offer, and what was sent with it.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) sdp: String,
    pub(super) session: Option<Value>,
}

fn too_large() -> Failure {
    limit::hit(hit::REALTIME_FORM);
    Failure::invalid(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("The body has at most {MOST} bytes."),
    )
}

fn wrong(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::invalid(StatusCode::BAD_REQUEST, code, message)
}

/// A body as text, whole.
pub(super) async fn text(body: Body) -> Result<String, Failure> {
    let bytes = in_time(async {
        axum::body::to_bytes(body, MOST)
            .await
            .map_err(|_| too_large())
    })
    .await?;
    String::from_utf8(bytes.into()).map_err(|_| wrong("invalid_body", "The body is not UTF-8."))
}

async fn in_time<T>(read: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    clock::timeout(TIME, read).await.unwrap_or_else(|_| {
        limit::hit(hit::REQUEST_BODY_TIME);
        Err(Failure::invalid(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "The body did not come in time.",
        ))
    })
}

/// JSON of a shape that a parser may be given.
pub(super) fn json(text: &str) -> Result<Value, Failure> {
    scan::check(text).map_err(|breach| {
        limit::hit(hit::MESSAGE_SHAPE);
        wrong(
            "invalid_json",
            format!("The JSON cannot be taken: {breach}."),
        )
    })?;
    serde_json::from_str(text).map_err(|error| {
        wrong(
            "invalid_json",
            format!(
                "This is no JSON: line {}, column {}.",
                error.line(),
                error.column()
            ),
        )
    })
}

/// See [`Form`].
pub(super) async fn read(request: Request) -> Result<Form, Failure> {
    let headers = request.headers();
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Failure::invalid(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            "Send the body without compression.",
        ));
    }
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|len| len.to_str().ok())
        .and_then(|len| len.parse::<usize>().ok());
    if announced.is_some_and(|len| len > MOST) {
        return Err(too_large());
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/sdp") {
        return Ok(Form {
            sdp: text(request.into_body()).await?,
            session: None,
        });
    }
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        let boundary = multer::parse_boundary(&kind).map_err(|_| {
            wrong(
                "invalid_form",
                "The form's Content-Type has no boundary; let the HTTP client set it.",
            )
        })?;
        return in_time(parts(request.into_body(), boundary)).await;
    }
    Err(Failure::invalid(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_content_type",
        "Send the offer as application/sdp, or as a form with the parts sdp and session.",
    ))
}

/// Parts by name: with a filename or without, typed or not, in any order.
async fn parts(body: Body, boundary: String) -> Result<Form, Failure> {
    let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(MOST as u64));
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary, limits);
    let broken = |error: multer::Error| match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            too_large()
        }
        _ => wrong(
            "invalid_form",
            "The form cannot be read; it ends early or is not multipart.",
        ),
    };
    let (mut sdp, mut session) = (None, None);
    while let Some(part) = form.next_field().await.map_err(broken)? {
        let name = part.name().unwrap_or_default().to_owned();
        let place = match name.as_str() {
            "sdp" => &mut sdp,
            "session" => &mut session,
            // Of a later API, perhaps.
            _ => continue,
        };
        let bytes = part.bytes().await.map_err(broken)?;
        let text = String::from_utf8(bytes.into())
            .map_err(|_| wrong("invalid_form", format!("The part {name} is not UTF-8.")))?;
        if place.replace(text).is_some() {
            return Err(wrong(
                "invalid_form",
                format!("The part {name} is there twice."),
            ));
        }
    }
    Ok(Form {
        sdp: sdp.ok_or_else(|| wrong("invalid_offer", "The form has no part sdp."))?,
        session: session.as_deref().map(json).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    async fn form(kind: &str, body: &str) -> Result<Form, u16> {
        let request = Request::builder()
            .header("content-type", kind)
            .body(Body::from(body.to_owned()))
            .unwrap();
        read(request)
            .await
            .map_err(|failure| failure.into_response().status().as_u16())
    }

    const MULTIPART: &str = "multipart/form-data; boundary=XX";

    fn part(head: &str, body: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_offer_comes_alone_or_in_a_form() {
        let alone = form("Application/SDP; charset=utf-8", "v=0").await.unwrap();
        assert_eq!((alone.sdp.as_str(), alone.session), ("v=0", None));
        let session = part(
            "name=\"session\"; filename=\"blob\"\r\nContent-Type: application/json",
            r#"{"type":"realtime"}"#,
        );
        let offer = part("name=\"sdp\"", "v=0\r\na=x");
        let more = part("name=\"later\"", "?");
        for body in [
            format!("{session}{more}{offer}--XX--\r\n"),
            format!("{offer}{session}--XX--\r\n"),
        ] {
            let both = form(MULTIPART, &body).await.unwrap();
            assert_eq!(both.sdp, "v=0\r\na=x");
            assert_eq!(both.session.unwrap()["type"], "realtime");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_cannot_be_read_is_refused() {
        let offer = part("name=\"sdp\"", "v=0");
        let refused = async |kind: &str, body: &str| form(kind, body).await.unwrap_err();
        assert_eq!(refused("text/plain", "v=0").await, 415);
        assert_eq!(refused("multipart/form-data", &offer).await, 400);
        assert_eq!(refused(MULTIPART, "--XX--\r\n").await, 400);
        assert_eq!(refused(MULTIPART, &offer).await, 400, "it ends early");
        assert_eq!(
            refused(MULTIPART, &format!("{offer}{offer}--XX--\r\n")).await,
            400
        );
        let bad = part("name=\"session\"", "{\"a\":1,\"a\":2}");
        assert_eq!(
            refused(MULTIPART, &format!("{offer}{bad}--XX--\r\n")).await,
            400
        );
        let large = part("name=\"sdp\"", &"x".repeat(MOST));
        assert_eq!(refused(MULTIPART, &format!("{large}--XX--\r\n")).await, 413);
        assert_eq!(refused("application/sdp", &"x".repeat(MOST + 1)).await, 413);
    }
}
