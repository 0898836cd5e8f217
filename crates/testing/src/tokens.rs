//! Tokens of the test relay. It knows the ones it made by their text, so nothing is signed; they have the shape of a JWT
//! because pages read theirs.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::collections::BTreeMap;
use tautline_machine::relay::{Claims, Scope};
use tautline_protocol::{AuthCode, JsonWriter, Role, limits, rfc3339};

/// What a token is asked to say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    sub: String,
    restaurants: Vec<String>,
    role: String,
    order_ids: Vec<String>,
    ttl_ms: u64,
}

#[derive(Debug)]
struct Issued {
    sub: String,
    /// `None` is `"*"`.
    restaurants: Option<Vec<String>>,
    role: String,
    order_ids: Vec<String>,
    issued_ms: u64,
    expires_ms: u64,
    refused: Option<AuthCode>,
}

#[derive(Debug, Default)]
pub(crate) struct Tokens {
    issued: BTreeMap<String, Issued>,
}

impl Tokens {
    /// A new one.
    pub(crate) fn issue(&mut self, claims: &str, wall_ms: u64) -> Result<String, String> {
        let asked: Asked = serde_json::from_str(claims).map_err(|error| error.to_string())?;
        let expires_ms = wall_ms + asked.ttl_ms;
        let restaurant = match asked.restaurants.as_slice() {
            [one] => JsonWriter::object().str("restaurant_id", one),
            several => {
                JsonWriter::object().strs("restaurant_id", several.iter().map(String::as_str))
            }
        };
        let payload = restaurant
            .str("sub", &asked.sub)
            .str("role", &asked.role)
            .strs("order_ids", asked.order_ids.iter().map(String::as_str))
            .u64("iat", wall_ms / 1_000)
            .u64("exp", expires_ms / 1_000)
            .u64("jti", self.issued.len() as u64 + 1)
            .end();
        let header = JsonWriter::object().str("alg", "none").str("typ", "JWT");
        let part = |json: String| BASE64_URL_SAFE_NO_PAD.encode(json);
        let text = format!("{}.{}.test", part(header.end()), part(payload));
        let all = matches!(asked.restaurants.as_slice(), [one] if one == "*");
        let issued = Issued {
            sub: asked.sub,
            restaurants: (!all).then_some(asked.restaurants),
            role: asked.role,
            order_ids: asked.order_ids,
            issued_ms: wall_ms,
            expires_ms,
            refused: None,
        };
        self.issued.insert(text.clone(), issued);
        Ok(text)
    }

    /// What a token says, if it is taken now.
    pub(crate) fn check(&self, token: &str, wall_ms: u64) -> Result<Claims, AuthCode> {
        let issued = self.issued.get(token).ok_or(AuthCode::TokenInvalid)?;
        if let Some(code) = issued.refused {
            return Err(code);
        }
        if wall_ms > issued.expires_ms + limits::TOKEN_LEEWAY_MS {
            return Err(AuthCode::TokenExpired);
        }
        Ok(Claims {
            sub: issued.sub.clone(),
            restaurants: issued.restaurants.clone(),
            role: issued.role.clone(),
            order_ids: issued.order_ids.clone(),
            expires_at: rfc3339(issued.expires_ms),
            expires_in_ms: issued.expires_ms.saturating_sub(wall_ms),
            issued_at_ms: Some(issued.issued_ms),
        })
    }

    /// Whom a token speaks for at a restaurant.
    pub(crate) fn scope(
        &self,
        token: &str,
        restaurant: &str,
        wall_ms: u64,
    ) -> Result<Scope, AuthCode> {
        let claims = self.check(token, wall_ms)?;
        let names = |names: Vec<String>| names.iter().any(|name| name == restaurant);
        if claims.restaurants.is_some_and(|named| !names(named)) {
            return Err(AuthCode::RestaurantForbidden);
        }
        let role = Role::parse(&claims.role).ok_or(AuthCode::RoleUnknown)?;
        Ok(Scope {
            order_ids: std::sync::Arc::new(claims.order_ids.into_iter().collect()),
            ..Scope::new(&claims.sub, role)
        })
    }

    /// Those made so far, of that `sub` or all, are refused from here on.
    pub(crate) fn refuse(&mut self, code: AuthCode, sub: Option<&str>) {
        let meant = |issued: &&mut Issued| sub.is_none_or(|sub| issued.sub == sub);
        for issued in self.issued.values_mut().filter(meant) {
            issued.refused = Some(code);
        }
    }
}
