//! `--jwks-file`: keys by their `kid`, replaced while tokens are being checked.
//!
//! A file that cannot be used never takes the place of one that could: whoever writes it may be half done.

use super::public::rsa_bits;
use super::secret::SECRET_BYTES;
use super::{Check, Rules, is_usable};
use crate::Fatal;
use crate::clock::Clock;
use crate::watch::Files;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tautline_machine::Time;

/// Least time between two readings for an unknown `kid`: those who make tokens up do not set the pace.
const UNKNOWN_EVERY_MS: u64 = 10_000;
/// Bytes of the file.
const MAX_BYTES: u64 = 1024 * 1024;

/// The file and the keys that were last found in it.
pub(super) struct File {
    path: PathBuf,
    rules: Rules,
    watched: Files,
    keys: RwLock<Arc<Set>>,
    /// When it was last read for an unknown `kid`.
    asked: Mutex<Option<Time>>,
    clock: Clock,
}

#[derive(Default)]
struct Set {
    by_id: HashMap<String, Arc<Check>>,
    /// The key of a file that holds one only, for tokens that name none.
    only: Option<Arc<Check>>,
}

impl Set {
    fn find(&self, kid: Option<&str>) -> Option<Arc<Check>> {
        match kid {
            Some(kid) => self.by_id.get(kid).cloned(),
            None => self.only.clone(),
        }
    }
}

impl File {
    /// Reads it for the first time.
    pub(super) fn open(path: &Path, rules: &Rules) -> Result<Self, Fatal> {
        let watched = Files::new(&[path]);
        let keys = read(path, rules)
            .map_err(|why| Fatal::new(format!("--jwks-file {}: {why}", path.display())))?;
        Ok(Self {
            path: path.to_owned(),
            rules: rules.clone(),
            watched,
            keys: RwLock::new(Arc::new(keys)),
            asked: Mutex::default(),
            clock: Clock::start(),
        })
    }

    /// The key a token names; one not known is looked for in the file, at most every 10 s.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<Arc<Check>> {
        if let Some(found) = self.keys().find(kid) {
            return Some(found);
        }
        let now = self.clock.now();
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.is_some_and(|at| now - at < UNKNOWN_EVERY_MS) {
                return None;
            }
            *asked = Some(now);
        }
        self.refresh(true);
        self.keys().find(kid)
    }

    fn keys(&self) -> Arc<Set> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }

    pub(super) fn refresh(&self, in_any_case: bool) {
        // Looked at first: what changes while it is read is seen the next time.
        if !self.watched.changed() && !in_any_case {
            return;
        }
        match read(&self.path, &self.rules) {
            Ok(keys) => {
                tracing::info!(kids = ?keys.by_id.keys(), "the JWKS file was read");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(why) => tracing::error!(
                "--jwks-file {}: {why}; the keys it held before stay in use",
                self.path.display()
            ),
        }
    }
}

fn read(path: &Path, rules: &Rules) -> Result<Set, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    // Anything else, a pipe for example, could keep whoever reads it waiting.
    if !about.is_file() || about.len() > MAX_BYTES {
        return Err("not a file of at most 1 MiB".into());
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    parse(&text, rules)
}

/// Every key that can check tokens; what is there for something else is passed over.
fn parse(text: &[u8], rules: &Rules) -> Result<Set, String> {
    let jwks: JwkSet =
        serde_json::from_slice(text).map_err(|error| format!("not a JWKS ({error})"))?;
    let mut set = Set::default();
    let mut several = false;
    for (number, jwk) in jwks.keys.iter().enumerate() {
        let kid = jwk.common.key_id.as_deref();
        let (key, algorithm) = match usable(jwk) {
            Ok(key) => key,
            Err(why) => {
                tracing::warn!(number, kid, "a key of the JWKS file is not used: {why}");
                continue;
            }
        };
        let check = Arc::new(rules.check(key, algorithm));
        several |= set.only.is_some();
        set.only = Some(Arc::clone(&check));
        if let Some(kid) = kid
            && set.by_id.insert(kid.to_owned(), check).is_some()
        {
            return Err(format!("two keys have the kid \"{kid}\""));
        }
    }
    if set.only.is_none() {
        return Err("no key in it can be used".into());
    }
    if several {
        set.only = None;
    }
    Ok(set)
}

/// A key for checking signatures and the algorithm that it names, or that its type has.
fn usable(jwk: &Jwk) -> Result<(DecodingKey, Algorithm), String> {
    let common = &jwk.common;
    let for_signatures = common
        .public_key_use
        .as_ref()
        .is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && common
            .key_operations
            .as_ref()
            .is_none_or(|may| may.contains(&KeyOperations::Verify));
    if !for_signatures {
        return Err("it is not for signatures".into());
    }
    let bytes = |text: &str| {
        BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| "its base64url cannot be read".to_owned())
    };
    use KeyAlgorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
    use KeyAlgorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    let mine: &[KeyAlgorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            rsa_bits(&bytes(&rsa.n)?)?;
            &[RS256, RS384, RS512, PS256, PS384, PS512]
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            if bytes(&pair.x)?.len() != 32 {
                return Err("its x is not 32 bytes".into());
            }
            &[EdDSA]
        }
        AlgorithmParameters::OctetKey(secret) => {
            let len = bytes(&secret.value)?.len();
            if len < SECRET_BYTES {
                return Err(format!(
                    "a secret of {len} bytes; at least {SECRET_BYTES} are needed"
                ));
            }
            &[HS256, HS384, HS512]
        }
        _ => &[],
    };
    let algorithm = match (common.key_algorithm, mine) {
        (_, []) => return Err("its type or curve is not known".into()),
        (Some(named), mine) if mine.contains(&named) => named,
        (Some(named), _) => return Err(format!("its alg {named} is not one of its type's")),
        (None, [first, ..]) => *first,
    };
    let algorithm = Algorithm::try_from(algorithm).map_err(|_| "its alg is not known")?;
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "it cannot be read")?;
    if is_usable(&key, algorithm) {
        Ok((key, algorithm))
    } else {
        Err("it is not a key of its kind".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn secret(kid: &str, bytes: usize) -> Value {
        json!({"kty":"oct","kid":kid,"alg":"HS256","k":BASE64_URL_SAFE_NO_PAD.encode(vec![7; bytes])})
    }

    fn rsa(bytes: usize) -> Value {
        json!({"kty":"RSA","n":BASE64_URL_SAFE_NO_PAD.encode(vec![0xff; bytes]),"e":"AQAB"})
    }

    fn kids(keys: Value) -> Result<Vec<String>, String> {
        let text = json!({ "keys": keys }).to_string();
        let set = parse(text.as_bytes(), &Rules::default())?;
        let mut kids: Vec<_> = set.by_id.into_keys().collect();
        kids.sort();
        Ok(kids)
    }

    #[test]
    fn what_cannot_check_tokens_is_passed_over_and_the_rest_is_used() {
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        let unusable = [
            secret("short", 31),
            with(secret("enc", 32), "use", "enc".into()),
            with(secret("sign", 32), "key_ops", json!(["sign"])),
            with(secret("mixed", 32), "alg", "RS256".into()),
            with(secret("oaep", 32), "alg", "RSA-OAEP".into()),
            with(secret("what", 32), "kty", "new".into()),
            with(secret("k", 32), "k", "***".into()),
            with(rsa(255), "kid", "weak".into()),
            with(
                with(rsa(256), "kid", "confused".into()),
                "alg",
                "HS256".into(),
            ),
            json!({"kty":"EC","kid":"p521","crv":"P-521","x":"AA","y":"AA"}),
            json!({"kty":"EC","kid":"koblitz","crv":"secp256k1","x":"AA","y":"AA"}),
            json!({"kty":"EC","kid":"off the curve","crv":"P-256","x":BASE64_URL_SAFE_NO_PAD.encode([1; 32]),"y":BASE64_URL_SAFE_NO_PAD.encode([1; 32])}),
            json!({"kty":"OKP","kid":"short ed","crv":"Ed25519","x":"AA"}),
        ];
        for key in &unusable {
            assert_eq!(
                kids(json!([key])),
                Err("no key in it can be used".into()),
                "{key}"
            );
        }
        let mut all = unusable.to_vec();
        all.extend([
            with(secret("hs", 32), "alg", "HS512".into()),
            with(rsa(256), "kid", "rs".into()),
            with(with(rsa(256), "kid", "ps".into()), "alg", "PS384".into()),
        ]);
        assert_eq!(
            kids(all.into()),
            Ok(vec!["hs".into(), "ps".into(), "rs".into()])
        );
    }

    #[test]
    fn a_file_that_is_no_set_is_refused_whole() {
        assert!(
            kids(json!([secret("a", 32), secret("a", 33)]))
                .is_err_and(|why| why.contains("two keys"))
        );
        for text in [
            "",
            "{",
            "[]",
            "{\"keys\":[]}",
            "{\"keys\":[{\"kty\":\"oct\",\"k\":",
        ] {
            assert!(parse(text.as_bytes(), &Rules::default()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_that_names_no_key_gets_the_only_one() {
        let set = |keys: Value| {
            parse(
                json!({ "keys": keys }).to_string().as_bytes(),
                &Rules::default(),
            )
            .unwrap()
        };
        assert!(set(json!([secret("a", 32)])).find(None).is_some());
        assert!(set(json!([rsa(256)])).find(None).is_some(), "without a kid");
        assert!(
            set(json!([secret("a", 32), secret("b", 32)]))
                .find(None)
                .is_none()
        );
        assert!(
            set(json!([secret("a", 32), rsa(256)]))
                .find(Some("b"))
                .is_none()
        );
    }

    #[test]
    fn an_unknown_kid_has_the_file_read_again_but_not_for_each_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |kids: &[&str]| {
            let keys: Vec<_> = kids.iter().map(|kid| secret(kid, 32)).collect();
            std::fs::write(file.path(), json!({ "keys": keys }).to_string()).unwrap();
        };
        write(&["a"]);
        let keys = File::open(file.path(), &Rules::default()).unwrap();
        write(&["a", "b"]);
        assert!(keys.find(Some("b")).is_some(), "read again at once");
        write(&["c"]);
        assert!(keys.find(Some("c")).is_none(), "not twice in 10 s");
        assert!(
            keys.find(Some("a")).is_some(),
            "what is known needs no reading"
        );
        keys.refresh(false);
        assert!(keys.find(Some("c")).is_some() && keys.find(Some("a")).is_none());
        std::fs::write(file.path(), "{\"keys\":[{\"kty\"").unwrap();
        keys.refresh(false);
        std::fs::remove_file(file.path()).unwrap();
        keys.refresh(true);
        assert!(keys.find(Some("c")).is_some(), "the last good keys stay");
    }
}
