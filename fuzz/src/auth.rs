//! Tokens: no text is believed that was not signed with the secret, and what is believed keeps the rules for claims.
//! The same texts go through `auth` frames.

use crate::steps;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use tautline_protocol::request::{self, Request};
use tautline_protocol::{AuthCode, Role, is_restaurant_id, limits};
use tautline_relay::token::{Keys, Scope};

const SECRET: [u8; 32] = [7; 32];

/// Lines: `h` a token's header, `s` claims to be signed under it, `r` a token as it is, `w` the restaurant asked for,
/// `f` a frame.
pub(crate) fn run(data: &[u8]) {
    let keys = Keys::new(&SECRET, Some("iss".into()), None);
    let script = String::from_utf8_lossy(data);
    let mut header = r#"{"alg":"HS256","typ":"JWT"}"#.to_owned();
    let mut wanted = None;
    for (step, text) in steps(&script).take(64) {
        match step {
            'h' => header = text.to_owned(),
            'w' => wanted = Some(text.to_owned()),
            's' => {
                let Some(token) = signed(&header, text) else {
                    continue;
                };
                checked(&keys, &token, wanted.as_deref(), Some((&header, text)));
                framed(&token, wanted.as_deref());
            }
            'r' => {
                checked(&keys, text, wanted.as_deref(), None);
                framed(text, wanted.as_deref());
            }
            'f' => {
                if let Ok(Ok(Request::Auth(auth))) =
                    request::parse(text, false).map(|mut requests| requests.pop().unwrap())
                {
                    assert!(auth.token.len() <= limits::MAX_TOKEN);
                    assert!(!format!("{auth:?}").contains("eyJ"), "a token in print");
                    checked(&keys, &auth.token, auth.restaurant_id.as_deref(), None);
                }
            }
            _ => {}
        }
    }
}

fn signed(header: &str, claims: &str) -> Option<String> {
    let message = format!(
        "{}.{}",
        base64(header.as_bytes()),
        base64(claims.as_bytes())
    );
    let signature = sign(&message)?;
    Some(format!("{message}.{signature}"))
}

fn sign(message: &str) -> Option<String> {
    let key = EncodingKey::from_secret(&SECRET);
    crypto::sign(message.as_bytes(), &key, Algorithm::HS256).ok()
}

/// base64url without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word = three
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        for place in 0..=three.len() {
            out.push(char::from(DIGITS[(word >> (18 - 6 * place)) as usize & 63]));
        }
    }
    out
}

fn checked(keys: &Keys, token: &str, wanted: Option<&str>, made_of: Option<(&str, &str)>) {
    let Ok(identity) = keys.verify(token) else {
        return;
    };
    let ours = token
        .rsplit_once('.')
        .is_some_and(|(message, signature)| sign(message).as_deref() == Some(signature));
    assert!(ours, "believed without our signature");
    if let Some((header, claims)) = made_of {
        let header: Value = serde_json::from_str(header).unwrap();
        assert_eq!(header["alg"], json!("HS256"), "the key's algorithm alone");
        let claims: Value = serde_json::from_str(claims).unwrap();
        assert!(claims["exp"].as_u64().is_some(), "believed without an end");
    }
    assert!(matches!(identity.sub.len(), 1..=256));
    match &identity.scope {
        Scope::One(all) if all == "*" => assert_eq!(identity.role, Role::Service),
        Scope::One(_) => {}
        Scope::Several(several) => {
            assert!(matches!(several.len(), 1..=64));
            assert!(identity.role == Role::Service || wanted != Some("*"));
        }
    }
    match identity.restaurant(wanted) {
        Ok(id) => {
            assert!(is_restaurant_id(id), "{id:?} is served");
            if let Some(wanted) = wanted {
                assert_eq!(id, wanted);
            }
        }
        Err(code) => assert!(matches!(
            code,
            AuthCode::RestaurantForbidden | AuthCode::RestaurantRequired
        )),
    }
    assert!(!format!("{identity:?}").contains(&identity.sub) || identity.sub.len() < 9);
}

/// The token in a frame comes out of the parser as it went in, or the frame is refused.
fn framed(token: &str, restaurant: Option<&str>) {
    let frame = json!({"type":"auth","token":token,"restaurant_id":restaurant}).to_string();
    match request::parse(&frame, false).unwrap().pop().unwrap() {
        Ok(Request::Auth(auth)) => {
            assert_eq!(
                (auth.token.as_str(), auth.restaurant_id.as_deref()),
                (token, restaurant)
            );
        }
        Ok(other) => panic!("{other:?}"),
        Err(refused) => assert!(token.len() > limits::MAX_TOKEN, "{refused:?}"),
    }
}
