//! Keys of every kind, made by the test that uses them.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Who makes tokens.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    key: EncodingKey,
    /// As it stands in a JWKS.
    pub(crate) jwk: Value,
    /// The public key, of kinds that have one.
    pub(crate) public_pem: String,
    pub(crate) private_pem: String,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

impl Signer {
    pub(crate) fn secret(kid: &str) -> Self {
        let secret: Vec<u8> = kid.bytes().cycle().take(32).collect();
        Self {
            algorithm: Algorithm::HS256,
            kid: Some(kid.into()),
            key: EncodingKey::from_secret(&secret),
            jwk: json!({"kty":"oct","alg":"HS256","kid":kid,"k":b64(&secret)}),
            public_pem: String::new(),
            private_pem: String::new(),
        }
    }

    pub(crate) fn rsa(kid: &str, bits: usize) -> Self {
        let private = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap();
        let public = private.to_public_key();
        let (n, e) = (b64(public.n().to_bytes_be()), b64(public.e().to_bytes_be()));
        Self {
            algorithm: Algorithm::RS256,
            kid: Some(kid.into()),
            key: EncodingKey::from_rsa_der(private.to_pkcs1_der().unwrap().as_bytes()),
            jwk: json!({"kty":"RSA","alg":"RS256","use":"sig","kid":kid,"n":n,"e":e}),
            public_pem: public.to_public_key_pem(LineEnding::LF).unwrap(),
            private_pem: private.to_pkcs8_pem(LineEnding::LF).unwrap().to_string(),
        }
    }

    /// ES256, ES384 or EdDSA.
    pub(crate) fn curve(kid: &str, algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            Algorithm::ES384 => &PKCS_ECDSA_P384_SHA384,
            _ => &PKCS_ED25519,
        };
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let (der, raw) = (pair.serialize_der(), pair.public_key_raw());
        let (key, jwk) = if algorithm == Algorithm::EdDSA {
            let jwk = json!({"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":kid,"x":b64(raw)});
            (EncodingKey::from_ed_der(&der), jwk)
        } else {
            let (x, y) = raw[1..].split_at(raw.len() / 2);
            let curve = if x.len() == 32 { "P-256" } else { "P-384" };
            let jwk = json!({"kty":"EC","crv":curve,"kid":kid,"x":b64(x),"y":b64(y)});
            (EncodingKey::from_ec_der(&der), jwk)
        };
        Self {
            algorithm,
            kid: Some(kid.into()),
            key,
            jwk,
            public_pem: pair.public_key_pem(),
            private_pem: pair.serialize_pem(),
        }
    }

    /// A token of the restaurant `demo` that lives an hour.
    pub(crate) fn token(&self, role: &str, sub: &str) -> String {
        self.sign(&json!({
            "sub": sub, "restaurant_id": "demo", "role": role, "iat": seconds(), "exp": seconds() + 3600,
        }))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.kid);
        self.sign_with(&header, claims)
    }

    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

/// A JWKS with these keys, put in place at once as a careful operator does.
pub(crate) fn write_jwks(path: &Path, signers: &[&Signer]) {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    let aside = path.with_extension("new");
    std::fs::write(&aside, json!({ "keys": keys }).to_string()).unwrap();
    std::fs::rename(aside, path).unwrap();
}

/// PKCS #1, which is not what `openssl pkey -pubout` makes.
pub(crate) fn pkcs1_pem() -> String {
    rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024)
        .unwrap()
        .to_public_key()
        .to_pkcs1_pem(LineEnding::LF)
        .unwrap()
}
