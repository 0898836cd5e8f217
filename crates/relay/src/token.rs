//! Tokens: the algorithm comes from the key, never from the token (`docs/operations.md`, Safety).

use crate::Fatal;
use crate::config::{DataDir, KeyArgs};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tautline_machine::relay;
use tautline_protocol::{AuthCode, Role, is_restaurant_id, limits};

/// The issuer of development tokens.
pub const DEV_ISSUER: &str = "tautline-dev";
const DEV_SECRET_FILE: &str = "dev-secret";
const SECRET_BYTES: usize = 32;

/// The restaurants a token names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scope {
    /// One; `"*"` stands for all and is `service`'s alone.
    One(String),
    /// Several, at most 64.
    Several(Vec<String>),
}

/// Who a token speaks for, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject.
    pub sub: String,
    /// The role.
    pub role: Role,
    /// The restaurants.
    pub scope: Scope,
    /// The end of the token, ms since 1970, without leeway.
    pub expires_at_ms: u64,
    /// When it was issued, ms since 1970, if it says so.
    pub issued_at_ms: Option<u64>,
    /// Orders that are its own beside those it created.
    pub order_ids: Arc<[String]>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The restaurant served: the one asked for if the token names it, the token's only one if none is asked for.
    ///
    /// # Errors
    /// `restaurant_required` or `restaurant_forbidden`.
    pub fn restaurant<'a>(&'a self, wanted: Option<&'a str>) -> Result<&'a str, AuthCode> {
        let named = match (&self.scope, wanted) {
            (Scope::One(all), Some(wanted)) if all == "*" => Some(wanted),
            (Scope::One(all), None) if all == "*" => return Err(AuthCode::RestaurantRequired),
            (Scope::One(one), None) => Some(one.as_str()),
            (Scope::One(one), Some(wanted)) => (one == wanted).then_some(wanted),
            (Scope::Several(several), Some(wanted)) => {
                several.iter().any(|one| one == wanted).then_some(wanted)
            }
            (Scope::Several(several), None) => match several.as_slice() {
                [one] => Some(one.as_str()),
                _ => return Err(AuthCode::RestaurantRequired),
            },
        };
        named
            .filter(|id| is_restaurant_id(id))
            .ok_or(AuthCode::RestaurantForbidden)
    }

    /// Whom it speaks for, as the logs judge it.
    pub fn speaks_for(&self) -> relay::Scope {
        relay::Scope {
            order_ids: Arc::new(self.order_ids.iter().cloned().collect()),
            ..relay::Scope::new(&self.sub, self.role)
        }
    }

    /// Whether the token stands for every restaurant.
    pub fn is_wildcard(&self) -> bool {
        matches!(&self.scope, Scope::One(all) if all == "*")
    }
}

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
    #[serde(default)]
    order_ids: Vec<String>,
}

/// The key and the rules that tokens are made and checked by.
pub struct Keys {
    decoding: DecodingKey,
    encoding: EncodingKey,
    validation: Validation,
    issuer: Option<String>,
    audience: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys([redacted])")
    }
}

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

impl Keys {
    /// Finds the secret that the configuration names. `--dev` makes one in the data folder the first time.
    ///
    /// # Errors
    /// None or several are named, the file cannot be read, or the secret is short.
    pub fn load(args: &KeyArgs, data_dir: &DataDir) -> Result<Self, Fatal> {
        let named = usize::from(args.dev)
            + usize::from(args.jwt_secret.is_some())
            + usize::from(args.jwt_secret_file.is_some());
        if named != 1 {
            return Err(Fatal::usage(
                "name exactly one of --jwt-secret-file, --jwt-secret and --dev: it says how tokens are checked",
            ));
        }
        let secret = if let Some(path) = &args.jwt_secret_file {
            let mut secret = std::fs::read(path).map_err(|error| {
                Fatal::new(format!("--jwt-secret-file {}: {error}", path.display()))
            })?;
            while secret
                .last()
                .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
            {
                secret.pop();
            }
            secret
        } else if let Some(secret) = &args.jwt_secret {
            tracing::warn!(
                "--jwt-secret is visible to other users of this machine; prefer --jwt-secret-file"
            );
            secret.clone().into_bytes()
        } else {
            match data_dir {
                DataDir::Memory => random_secret()?,
                DataDir::Folder(folder) => dev_secret(folder)?,
            }
        };
        if secret.len() < SECRET_BYTES {
            return Err(Fatal::new(format!(
                "the secret of the tokens has {} bytes; HS256 needs at least {SECRET_BYTES}",
                secret.len()
            )));
        }
        let issuer = if args.dev {
            Some(args.jwt_issuer.clone().unwrap_or_else(|| DEV_ISSUER.into()))
        } else {
            args.jwt_issuer.clone()
        };
        Ok(Self::new(&secret, issuer, args.jwt_audience.clone()))
    }

    /// HS256 with this secret.
    pub fn new(secret: &[u8], issuer: Option<String>, audience: Option<String>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = limits::TOKEN_LEEWAY_MS / 1000;
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_nbf = true;
        match &issuer {
            Some(issuer) => {
                validation.set_issuer(&[issuer]);
                validation.required_spec_claims.insert("iss".into());
            }
            None => validation.iss = None,
        }
        match &audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".into());
            }
            None => validation.validate_aud = false,
        }
        Self {
            decoding: DecodingKey::from_secret(secret),
            encoding: EncodingKey::from_secret(secret),
            validation,
            issuer,
            audience,
        }
    }

    /// Checks a token.
    ///
    /// # Errors
    /// `token_expired`, `role_unknown`, or `token_invalid` for everything else; never why, which would help a forger.
    pub fn verify(&self, token: &str) -> Result<Identity, AuthCode> {
        if token.len() > limits::MAX_TOKEN {
            return Err(AuthCode::TokenInvalid);
        }
        let heard = jsonwebtoken::decode::<Heard>(token, &self.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => AuthCode::TokenExpired,
                _ => AuthCode::TokenInvalid,
            })?
            .claims;
        let expires_at_ms = heard.exp.saturating_mul(1000);
        if expires_at_ms > wall_ms().saturating_add(limits::TOKEN_MAX_LIFE_MS)
            || heard.sub.is_empty()
            || heard.sub.len() > 256
            || heard.order_ids.len() > limits::TOKEN_ORDER_IDS
            || heard
                .order_ids
                .iter()
                .any(|id| id.chars().count() > limits::TOKEN_ORDER_ID_CHARS)
        {
            return Err(AuthCode::TokenInvalid);
        }
        let role = Role::parse(&heard.role).ok_or(AuthCode::RoleUnknown)?;
        match &heard.restaurant_id {
            Scope::One(all) if all == "*" && role != Role::Service => {
                return Err(AuthCode::RestaurantForbidden);
            }
            Scope::Several(several) if several.is_empty() || several.len() > 64 => {
                return Err(AuthCode::TokenInvalid);
            }
            _ => {}
        }
        Ok(Identity {
            sub: heard.sub,
            role,
            scope: heard.restaurant_id,
            expires_at_ms,
            issued_at_ms: heard.iat.map(|iat| (iat * 1000.0) as u64),
            order_ids: heard.order_ids.into(),
        })
    }

    /// Makes a token.
    ///
    /// # Errors
    /// `ttl` is over 30 days.
    pub fn issue(
        &self,
        sub: &str,
        role: Role,
        scope: Scope,
        ttl: Duration,
    ) -> Result<String, Fatal> {
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
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|_| Fatal::new("the token could not be signed"))
    }
}

fn random_secret() -> Result<Vec<u8>, Fatal> {
    let mut secret = vec![0; SECRET_BYTES];
    getrandom::fill(&mut secret)
        .map_err(|error| Fatal::new(format!("the system gives no random bytes: {error}")))?;
    Ok(secret)
}

/// The development secret outlives restarts, so that a page's token does too.
fn dev_secret(folder: &Path) -> Result<Vec<u8>, Fatal> {
    let path = folder.join(DEV_SECRET_FILE);
    let in_the_way = |error: std::io::Error| Fatal::new(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(in_the_way)?;
    match std::fs::read(&path) {
        Ok(secret) => {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                .map_err(in_the_way)?;
            Ok(secret)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = random_secret()?;
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(in_the_way)?;
            file.write_all(&secret).map_err(in_the_way)?;
            Ok(secret)
        }
        Err(error) => Err(in_the_way(error)),
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
        assert_eq!(issued(7.into()), Some(7_000));
        assert_eq!(issued(7.25.into()), Some(7_250));
        assert_eq!(issued((-1).into()), Some(0), "older than everything");
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

    #[test]
    fn the_restaurant_is_named_by_one_of_the_two() {
        let identity = |scope, role| Identity {
            sub: "s".into(),
            role,
            scope,
            expires_at_ms: 0,
            issued_at_ms: None,
            order_ids: Arc::default(),
        };
        let both = identity(Scope::Several(vec!["a".into(), "b".into()]), Role::Manager);
        assert_eq!(both.restaurant(None), Err(AuthCode::RestaurantRequired));
        assert_eq!(both.restaurant(Some("b")), Ok("b"));
        let all = identity(one("*"), Role::Service);
        assert_eq!(all.restaurant(None), Err(AuthCode::RestaurantRequired));
        assert_eq!(all.restaurant(Some("any")), Ok("any"));
        assert_eq!(
            all.restaurant(Some("*")),
            Err(AuthCode::RestaurantForbidden)
        );
        assert_eq!(
            identity(Scope::Several(vec!["a".into()]), Role::Server).restaurant(None),
            Ok("a")
        );
    }

    #[test]
    fn the_development_secret_outlives_a_restart_and_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let args = KeyArgs {
            dev: true,
            ..KeyArgs::default()
        };
        let load = || Keys::load(&args, &DataDir::Folder(folder.path().into())).unwrap();
        let token = load()
            .issue("s", Role::Server, one("grow"), hours(1))
            .unwrap();
        assert!(load().verify(&token).is_ok());
        let mode = std::fs::metadata(folder.path().join(DEV_SECRET_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
