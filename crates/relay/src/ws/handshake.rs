use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};
use tautline_protocol::V1;

/// What a lawful upgrade request asks for.
#[derive(Debug)]
pub struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: HeaderValue,
    /// Whether the subprotocol `tautline.v1` was offered; it is then echoed.
    pub v1: bool,
}

/// Why a request is not an upgrade we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The answer's status.
    pub status: StatusCode,
    /// One sentence for the problem document.
    pub detail: &'static str,
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// Reads the upgrade request (RFC 6455 §4.2.1).
///
/// # Errors
/// Says what is missing; version other than 13 is 426.
pub fn handshake(headers: &HeaderMap) -> Result<Handshake, Refused> {
    let bad = |detail| Refused {
        status: StatusCode::BAD_REQUEST,
        detail,
    };
    if !has_token(headers, header::CONNECTION, "upgrade")
        || !has_token(headers, header::UPGRADE, "websocket")
    {
        return Err(Refused {
            status: StatusCode::UPGRADE_REQUIRED,
            detail: "this address speaks WebSocket only",
        });
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Refused {
            status: StatusCode::UPGRADE_REQUIRED,
            detail: "WebSocket version 13 only",
        });
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or(bad("Sec-WebSocket-Key is missing"))?;
    if BASE64_STANDARD
        .decode(key.as_bytes())
        .map(|nonce| nonce.len())
        != Ok(16)
    {
        return Err(bad("Sec-WebSocket-Key is not 16 bytes of base64"));
    }
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let accept = HeaderValue::from_str(&BASE64_STANDARD.encode(digest))
        .map_err(|_| bad("Sec-WebSocket-Key is not usable"))?;
    Ok(Handshake {
        accept,
        v1: has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, V1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut HeaderMap)) -> Result<Handshake, Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::CONNECTION, "keep-alive, Upgrade"),
            (header::UPGRADE, "WebSocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        change(&mut headers);
        handshake(&headers)
    }

    #[test]
    fn accepts_as_the_rfcs_own_example() {
        let shaken = request(|h| {
            h.insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static("chat, tautline.v1"),
            );
        })
        .unwrap();
        assert_eq!(shaken.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(shaken.v1);
        assert!(!request(|_| {}).unwrap().v1);
    }

    #[test]
    fn says_what_is_missing() {
        assert_eq!(
            request(|h| {
                h.remove(header::UPGRADE);
            })
            .unwrap_err()
            .status,
            426
        );
        assert_eq!(
            request(|h| {
                h.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8"));
            })
            .unwrap_err()
            .status,
            426
        );
        assert_eq!(
            request(|h| {
                h.remove(header::SEC_WEBSOCKET_KEY);
            })
            .unwrap_err()
            .status,
            400
        );
        assert_eq!(
            request(|h| {
                h.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("short"));
            })
            .unwrap_err()
            .status,
            400
        );
    }
}
