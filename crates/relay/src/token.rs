//! Tokens: the algorithm comes from the key, never from the token (`docs/operations.md`, Tokens).

mod admit;
mod identity;
mod jwks;
mod public;
mod secret;

pub(crate) use admit::admit;
pub use identity::{Identity, Scope};

use crate::Fatal;
use crate::clock::wall_ms;
use crate::config::{DataDir, KeyArgs};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tautline_protocol::{AuthCode, Role, limits};

/// The issuer of development tokens.
pub const DEV_ISSUER: &str = "tautline-dev";

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    restaurant_id: Scope,
    role: String,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
}

/// What is read of a token that somebody else made.
#[derive(Deserialize)]
struct Heard {
    sub: String,
    restaurant_id: Scope,
    role: String,
    exp: u64,
    /// A NumericDate, which may have a fraction (RFC 7519 §2).
    iat: Option<f64>,
    nbf: Option<f64>,
    #[serde(default)]
    order_ids: Vec<String>,
}

/// A key, the one algorithm it is for, and the rules of the claims.
struct Check {
    key: DecodingKey,
    validation: Validation,
}

/// Where a token's key is found.
enum Source {
    One(Arc<Check>),
    Jwks(jwks::File),
}

/// The keys and the rules that tokens are made and checked by.
pub struct Keys {
    source: Source,
    /// Only who has a secret can sign.
    signer: Option<EncodingKey>,
    rules: Rules,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys([redacted])")
    }
}

/// What a token must name beside its subject.
#[derive(Clone, Debug, Default)]
struct Rules {
    issuer: Option<String>,
    audience: Option<String>,
}

impl Rules {
    /// The check of tokens with one key.
    fn check(&self, key: DecodingKey, algorithm: Algorithm) -> Check {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Its times are judged by our clock: [`Heard::in_time`].
        validation.validate_exp = false;
        match &self.issuer {
            Some(issuer) => {
                validation.set_issuer(&[issuer]);
                validation.required_spec_claims.insert("iss".into());
            }
            None => validation.iss = None,
        }
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".into());
            }
            None => validation.validate_aud = false,
        }
        Check { key, validation }
    }
}

/// Whether a key can be used with an algorithm: of its kind, and a point of its curve.
fn is_usable(key: &DecodingKey, algorithm: Algorithm) -> bool {
    jsonwebtoken::crypto::verify("", b"", key, algorithm).is_ok()
}

impl Keys {
    /// Finds the keys that the configuration names. `--dev` makes a secret in the data folder the first time.
    ///
    /// # Errors
    /// None or several are named, the file cannot be read, or what it holds is too weak or of no known kind.
    pub fn load(args: &KeyArgs, data_dir: &DataDir) -> Result<Self, Fatal> {
        let named = [
            args.dev,
            args.jwt_secret.is_some(),
            args.jwt_secret_file.is_some(),
            args.jwt_public_key.is_some(),
            args.jwks_file.is_some(),
        ];
        if named.iter().filter(|&&named| named).count() != 1 {
            return Err(Fatal::usage(
                "name exactly one of --jwt-secret-file, --jwt-secret, --jwt-public-key, --jwks-file and --dev: it says how tokens are checked",
            ));
        }
        let issuer = args
            .jwt_issuer
            .clone()
            .or_else(|| args.dev.then(|| DEV_ISSUER.into()));
        let rules = Rules {
            issuer,
            audience: args.jwt_audience.clone(),
        };
        if let Some(path) = &args.jwt_public_key {
            let check = public::from_file(path, &rules)?;
            return Ok(Self {
                source: Source::One(Arc::new(check)),
                signer: None,
                rules,
            });
        }
        if let Some(path) = &args.jwks_file {
            return Ok(Self {
                source: Source::Jwks(jwks::File::open(path, &rules)?),
                signer: None,
                rules,
            });
        }
        let secret = if let Some(path) = &args.jwt_secret_file {
            secret::from_file(path)?
        } else if let Some(secret) = &args.jwt_secret {
            tracing::warn!(
                "--jwt-secret is visible to other users of this machine; prefer --jwt-secret-file"
            );
            secret.expose().as_bytes().to_vec()
        } else {
            secret::of_development(data_dir)?
        };
        let secret = secret::long_enough(secret)?;
        Ok(Self::new(&secret, rules.issuer, rules.audience))
    }

    /// HS256 with this secret.
    pub fn new(secret: &[u8], issuer: Option<String>, audience: Option<String>) -> Self {
        let rules = Rules { issuer, audience };
        let check = rules.check(DecodingKey::from_secret(secret), Algorithm::HS256);
        Self {
            source: Source::One(Arc::new(check)),
            signer: Some(EncodingKey::from_secret(secret)),
            rules,
        }
    }

    /// Reads the JWKS file again if it has changed, or in any case; broken, the keys in use stay. Without one there is
    /// nothing to do.
    pub(crate) fn refresh(&self, in_any_case: bool) {
        if let Source::Jwks(file) = &self.source {
            file.refresh(in_any_case);
        }
    }

    /// Whether there is a file to be read again.
    pub(crate) fn follow_a_file(&self) -> bool {
        matches!(self.source, Source::Jwks(_))
    }

    /// Checks a token.
    ///
    /// # Errors
    /// `token_expired`, `role_unknown`, or `token_invalid` for everything else; never why, which would help a forger.
    pub fn verify(&self, token: &str) -> Result<Identity, AuthCode> {
        if token.len() > limits::MAX_TOKEN {
            return Err(AuthCode::TokenInvalid);
        }
        // Of the header only these two are believed: whatever else it names (jku, x5u, jwk, x5c) is never looked at.
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthCode::TokenInvalid)?;
        if header.crit.is_some() {
            return Err(AuthCode::TokenInvalid);
        }
        let check = match &self.source {
            Source::One(check) => Arc::clone(check),
            Source::Jwks(file) => file
                .find(header.kid.as_deref())
                .ok_or(AuthCode::TokenInvalid)?,
        };
        let heard = jsonwebtoken::decode::<Heard>(token, &check.key, &check.validation)
            .map_err(|_| AuthCode::TokenInvalid)?
            .claims;
        heard.in_time(wall_ms())?;
        heard.identity()
    }

    /// Makes a token.
    ///
    /// # Errors
    /// `ttl` is over 30 days, or only a public key is known.
    pub fn issue(
        &self,
        sub: &str,
        role: Role,
        scope: Scope,
        ttl: Duration,
    ) -> Result<String, Fatal> {
        let Some(signer) = &self.signer else {
            return Err(Fatal::usage(
                "a token is signed with a secret (--jwt-secret-file, --jwt-secret or --dev); with --jwt-public-key and --jwks-file whoever holds the private key makes the tokens",
            ));
        };
        if ttl.as_millis() > u128::from(limits::TOKEN_MAX_LIFE_MS) || ttl.as_secs() == 0 {
            return Err(Fatal::usage("a token lives from one second to 30 days"));
        }
        let iat = wall_ms() / 1000;
        let claims = Claims {
            sub: sub.into(),
            restaurant_id: scope,
            role: role.as_str().into(),
            iat,
            exp: iat + ttl.as_secs(),
            iss: self.rules.issuer.clone(),
            aud: self.rules.audience.clone(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, signer)
            .map_err(|_| Fatal::new("the token could not be signed"))
    }
}

impl Heard {
    /// Neither over nor to come, give or take the leeway.
    fn in_time(&self, now_ms: u64) -> Result<(), AuthCode> {
        let leeway_s = limits::TOKEN_LEEWAY_MS / 1000;
        let now_s = now_ms / 1000;
        if self.exp.saturating_add(leeway_s) < now_s {
            return Err(AuthCode::TokenExpired);
        }
        let begins = self.nbf.unwrap_or(0.0);
        if begins > (now_s + leeway_s) as f64 {
            return Err(AuthCode::TokenInvalid);
        }
        Ok(())
    }

    /// The claims, within their bounds.
    fn identity(self) -> Result<Identity, AuthCode> {
        let expires_at_ms = self.exp.saturating_mul(1000);
        // Negative: older than everything.
        let issued_at_ms = self.iat.map(|iat| (iat * 1000.0) as u64);
        // From its making, too: a revocation is kept for as long as what it revokes may live.
        let begins = issued_at_ms.map_or(wall_ms(), |issued| issued.min(wall_ms()));
        let longest = limits::TOKEN_MAX_LIFE_MS + limits::TOKEN_LEEWAY_MS;
        if expires_at_ms > wall_ms().saturating_add(limits::TOKEN_MAX_LIFE_MS)
            || expires_at_ms > begins.saturating_add(longest)
            || self.sub.is_empty()
            || self.sub.len() > limits::TOKEN_SUB
            || self.order_ids.len() > limits::TOKEN_ORDER_IDS
            || self
                .order_ids
                .iter()
                .any(|id| id.chars().count() > limits::TOKEN_ORDER_ID_CHARS)
        {
            return Err(AuthCode::TokenInvalid);
        }
        let role = Role::parse(&self.role).ok_or(AuthCode::RoleUnknown)?;
        match &self.restaurant_id {
            Scope::One(all) if all == "*" && role != Role::Service => {
                return Err(AuthCode::RestaurantForbidden);
            }
            Scope::Several(several) if several.is_empty() || several.len() > 64 => {
                return Err(AuthCode::TokenInvalid);
            }
            _ => {}
        }
        Ok(Identity {
            sub: self.sub,
            role,
            scope: self.restaurant_id,
            expires_at_ms,
            issued_at_ms,
            order_ids: self.order_ids.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new(&[7; 32], Some("iss".into()), None)
    }

    fn one(id: &str) -> Scope {
        Scope::One(id.into())
    }

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3600)
    }

    fn raw(claims: serde_json::Value) -> String {
        jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &claims,
            &EncodingKey::from_secret(&[7; 32]),
        )
        .unwrap()
    }

    #[test]
    fn what_is_issued_is_taken() {
        let keys = keys();
        let token = keys
            .issue("cook", Role::Kitchen, one("grow"), hours(1))
            .unwrap();
        let identity = keys.verify(&token).unwrap();
        assert_eq!(
            (
                identity.sub.as_str(),
                identity.role,
                identity.restaurant(None)
            ),
            ("cook", Role::Kitchen, Ok("grow"))
        );
        assert_eq!(
            identity.restaurant(Some("other")),
            Err(AuthCode::RestaurantForbidden)
        );
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let (keys, now) = (keys(), wall_ms() / 1000);
        let claims = |exp: u64| serde_json::json!({"sub":"s","restaurant_id":"grow","role":"kitchen","iss":"iss","exp":exp});
        assert!(
            keys.verify(&raw(claims(now - 20))).is_ok(),
            "30 s of leeway"
        );
        assert_eq!(
            keys.verify(&raw(claims(now - 31))),
            Err(AuthCode::TokenExpired)
        );
        assert_eq!(
            keys.verify(&raw(claims(now + 31 * 86_400))),
            Err(AuthCode::TokenInvalid),
            "over 30 days"
        );
        let mut without = claims(now + 9);
        without.as_object_mut().unwrap().remove("exp");
        assert_eq!(
            keys.verify(&raw(without)),
            Err(AuthCode::TokenInvalid),
            "no exp"
        );
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = claims(now + 9);
            claims[name] = value;
            keys.verify(&raw(claims))
        };
        assert_eq!(with("role", "chef".into()), Err(AuthCode::RoleUnknown));
        assert_eq!(with("iss", "other".into()), Err(AuthCode::TokenInvalid));
        assert_eq!(
            with("restaurant_id", "*".into()),
            Err(AuthCode::RestaurantForbidden)
        );
        assert_eq!(
            with("restaurant_id", serde_json::json!([])),
            Err(AuthCode::TokenInvalid)
        );
        let ids = |n: usize, chars: usize| serde_json::json!(vec!["é".repeat(chars); n]);
        assert_eq!(with("order_ids", ids(65, 1)), Err(AuthCode::TokenInvalid));
        assert_eq!(with("order_ids", ids(1, 65)), Err(AuthCode::TokenInvalid));
        assert_eq!(with("order_ids", "one".into()), Err(AuthCode::TokenInvalid));
        assert_eq!(with("iat", "now".into()), Err(AuthCode::TokenInvalid));
        assert_eq!(with("order_ids", ids(64, 1)).unwrap().order_ids.len(), 64);
        assert!(
            with("order_ids", ids(1, 64)).is_ok(),
            "characters, not bytes"
        );
        let issued = |iat: serde_json::Value| with("iat", iat).unwrap().issued_at_ms;
        assert_eq!(issued(serde_json::Value::Null), None);
        assert_eq!(issued((now - 7).into()), Some((now - 7) * 1000));
        assert_eq!(issued((now as f64 - 6.75).into()), Some(now * 1000 - 6_750));
        assert_eq!(
            with("iat", (now - 31 * 86_400).into()),
            Err(AuthCode::TokenInvalid),
            "lives longer than 30 days"
        );
        assert_eq!(with("iat", (-1).into()), Err(AuthCode::TokenInvalid));
        let mut header = Header::new(Algorithm::HS256);
        header.crit = Some(vec!["exp".into()]);
        let critical = jsonwebtoken::encode(
            &header,
            &claims(now + 9),
            &EncodingKey::from_secret(&[7; 32]),
        );
        assert_eq!(
            keys.verify(&critical.unwrap()),
            Err(AuthCode::TokenInvalid),
            "nothing critical is understood"
        );
        let other = Keys::new(&[8; 32], Some("iss".into()), None)
            .issue("s", Role::Server, one("grow"), hours(1))
            .unwrap();
        assert_eq!(
            keys.verify(&other),
            Err(AuthCode::TokenInvalid),
            "another key"
        );
        assert_eq!(keys.verify(&"x".repeat(9000)), Err(AuthCode::TokenInvalid));
        // {"alg":"none"} with the same claims and an empty signature.
        let payload = raw(claims(now + 9)).split('.').nth(1).unwrap().to_owned();
        assert_eq!(
            keys.verify(&format!("eyJhbGciOiJub25lIn0.{payload}.")),
            Err(AuthCode::TokenInvalid)
        );
    }
}
