//! `--jwt-public-key`: one PEM key, whose type says the algorithm.

use super::{Check, Rules, is_usable};
use crate::Fatal;
use jsonwebtoken::{Algorithm, DecodingKey};
use pkcs1::der::Decode;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use std::path::Path;
use tokio_rustls::rustls::pki_types::pem::{PemObject, SectionKind};

/// Bits of an RSA modulus: below they are too weak, above the library does not take them.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

const NONE: &str = "it does not begin with a PUBLIC KEY in PEM (openssl pkey -pubout makes one)";

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Reads the file.
pub(super) fn from_file(path: &Path, rules: &Rules) -> Result<Check, Fatal> {
    let wrong = |why: String| Fatal::new(format!("--jwt-public-key {}: {why}", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let (key, algorithm) = from_pem(&text).map_err(wrong)?;
    Ok(rules.check(key, algorithm))
}

fn from_pem(text: &[u8]) -> Result<(DecodingKey, Algorithm), String> {
    let (kind, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(text).map_err(|_| NONE)?;
    match kind {
        SectionKind::PublicKey => from_der(&der),
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
            Err("it holds a private key, which has no business here; give the relay the public key only".into())
        }
        _ => Err(NONE.into()),
    }
}

fn from_der(der: &[u8]) -> Result<(DecodingKey, Algorithm), String> {
    let broken = || "the public key in it cannot be read".to_owned();
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| broken())?;
    let bytes = info.subject_public_key.as_bytes().ok_or_else(broken)?;
    let curve = info.algorithm.parameters_oid().ok();
    let (key, algorithm) = match info.algorithm.oid {
        RSA => {
            let rsa = pkcs1::RsaPublicKey::from_der(bytes).map_err(|_| broken())?;
            rsa_bits(rsa.modulus.as_bytes())?;
            (DecodingKey::from_rsa_der(bytes), Algorithm::RS256)
        }
        EC if curve == Some(P256) => (DecodingKey::from_ec_der(bytes), Algorithm::ES256),
        EC if curve == Some(P384) => (DecodingKey::from_ec_der(bytes), Algorithm::ES384),
        ED25519 if bytes.len() == 32 => (DecodingKey::from_ed_der(bytes), Algorithm::EdDSA),
        _ => {
            return Err("its key is none of RSA, EC P-256, EC P-384 and Ed25519".into());
        }
    };
    if is_usable(&key, algorithm) {
        Ok((key, algorithm))
    } else {
        Err(broken())
    }
}

/// Whether a modulus, most significant byte first, is of a length that is taken.
pub(super) fn rsa_bits(modulus: &[u8]) -> Result<(), String> {
    let bits = modulus.iter().position(|&byte| byte != 0).map_or(0, |at| {
        let first = modulus.get(at).map_or(8, |byte| byte.leading_zeros());
        (modulus.len() - at) * 8 - first as usize
    });
    if RSA_BITS.contains(&bits) {
        Ok(())
    } else {
        Err(format!(
            "an RSA key of {bits} bits; from {} to {} are taken",
            RSA_BITS.start(),
            RSA_BITS.end()
        ))
    }
}
