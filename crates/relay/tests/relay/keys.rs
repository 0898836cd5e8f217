//! Public keys and JWKS: the algorithm comes from the key, and keys change under open connections.

use crate::signer::{Signer, pkcs1_pem, seconds, write_jwks};
use crate::support::*;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustix::process::Signal;
use serde_json::json;
use std::path::Path;

async fn status(relay: &Relay, token: &str) -> u16 {
    relay.http().await.get(ORDERS, token).await.status
}

fn every_kind() -> Vec<Signer> {
    vec![
        Signer::rsa("rsa", 2048),
        Signer::curve("p256", Algorithm::ES256),
        Signer::curve("p384", Algorithm::ES384),
        Signer::curve("ed", Algorithm::EdDSA),
    ]
}

#[tokio::test]
async fn a_public_key_of_each_kind_says_the_algorithm() {
    let data = tempfile::tempdir().unwrap();
    let pem = data.path().join("key.pem");
    for signer in every_kind() {
        std::fs::write(&pem, &signer.public_pem).unwrap();
        let relay = Relay::start_bare(
            &data.path().join("store"),
            &["--jwt-public-key", pem.to_str().unwrap()],
        );
        let kind = signer.algorithm;
        let token = signer.token("server", "s");
        assert_eq!(status(&relay, &token).await, 200, "{kind:?}");
        let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
        client.ping().await;

        let claims = json!({"sub":"s","restaurant_id":"demo","role":"server","exp":seconds() + 60});
        // The public key's own text as a secret: what a relay that believes the token's alg falls for.
        for secret in [
            signer.public_pem.as_bytes(),
            signer.public_pem.trim().as_bytes(),
        ] {
            let key = EncodingKey::from_secret(secret);
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let forged = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap();
                assert_eq!(status(&relay, &forged).await, 401, "{kind:?}");
            }
        }
        // A key that the token brings along, and addresses where one might be.
        let forger = if kind == Algorithm::RS256 {
            Signer::rsa("forger", 2048)
        } else {
            Signer::curve("forger", kind)
        };
        let mut header = Header::new(kind);
        header.jwk = Some(serde_json::from_value(forger.jwk.clone()).unwrap());
        header.jku = Some("http://127.0.0.1:9/jwks.json".into());
        header.x5u = Some("http://127.0.0.1:9/cert.pem".into());
        assert_eq!(
            status(&relay, &forger.sign_with(&header, &claims)).await,
            401,
            "{kind:?}"
        );
        // {"alg":"none"}, with and without the signature of a good token.
        let (body, signature) = token.split_once('.').unwrap().1.split_once('.').unwrap();
        for none in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIn0"] {
            assert_eq!(status(&relay, &format!("{none}.{body}.")).await, 401);
            assert_eq!(
                status(&relay, &format!("{none}.{body}.{signature}")).await,
                401
            );
        }
    }
}

#[test]
fn a_key_that_cannot_be_used_is_one_sentence() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("key");
    let named = |flag: &str, text: &str| {
        std::fs::write(&file, text).unwrap();
        let store = data.path().join("store");
        let (code, _, err) = run(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            store.to_str().unwrap(),
            flag,
            file.to_str().unwrap(),
        ]);
        assert_eq!(code, 1, "{err}");
        assert_eq!(err.trim().lines().count(), 1, "{err}");
        err
    };
    let signer = Signer::curve("k", Algorithm::ES256);
    let public = |text: &str| named("--jwt-public-key", text);
    assert!(public(&Signer::rsa("k", 1024).public_pem).contains("1024 bits"));
    assert!(public(&signer.private_pem).contains("private key"));
    assert!(public(&pkcs1_pem()).contains("openssl pkey -pubout"));
    assert!(public("nonsense").contains("PUBLIC KEY in PEM"));
    assert!(public(&signer.public_pem.replace("\nM", "\nA")).contains("cannot be read"));
    assert!(named("--jwks-file", "{\"keys\":[]}").contains("no key in it can be used"));
    assert!(named("--jwks-file", "{").contains("not a JWKS"));

    std::fs::write(&file, &signer.public_pem).unwrap();
    let key = file.to_str().unwrap();
    let token = |args: &[&str]| {
        let common = ["token", "--restaurant", "demo", "--role", "server"];
        run(&[&common, args].concat())
    };
    let (code, out, err) = token(&["--jwt-public-key", key]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("whoever holds the private key"), "{err}");
    let (code, _, err) = token(&["--jwt-public-key", key, "--jwks-file", key]);
    assert_eq!(code, 2);
    assert!(err.contains("exactly one of"), "{err}");
}

async fn renewed(client: &mut Client, token: &str) -> serde_json::Value {
    client.send(json!({"type":"auth","token":token})).await;
    loop {
        let answer = client.next().await;
        if answer["renewal"] == true {
            return answer;
        }
    }
}

fn logged(log: &Path, text: &str) -> bool {
    std::fs::read_to_string(log).unwrap().contains(text)
}

#[tokio::test]
async fn keys_rotate_under_open_connections() {
    let data = tempfile::tempdir().unwrap();
    let (jwks, log) = (data.path().join("jwks.json"), data.path().join("log"));
    let (old, new) = (
        Signer::rsa("2026-10", 2048),
        Signer::curve("2026-11", Algorithm::ES256),
    );
    write_jwks(&jwks, &[&old]);
    let relay = Relay::start_bare_logged(
        &data.path().join("store"),
        &log,
        &["--jwks-file", jwks.to_str().unwrap()],
    );
    let by_old = old.token("kitchen", "cook");
    assert_eq!(status(&relay, &by_old).await, 200);
    let (mut one, _) = Client::v1(&relay, &by_old, json!({})).await;
    let (mut other, _) = Client::v1(&relay, &by_old, json!({})).await;

    // The overlap: both hold, the new one from its first token on.
    write_jwks(&jwks, &[&old, &new]);
    assert_eq!(status(&relay, &new.token("kitchen", "cook")).await, 200);
    assert_eq!(status(&relay, &by_old).await, 200);

    // Its end: tokens of the old key are refused, whoever came with one stays.
    write_jwks(&jwks, &[&new]);
    relay
        .until("the old key is forgotten", || async {
            status(&relay, &by_old).await == 401
        })
        .await;
    let mut late = Client::open(&relay).await;
    late.expect("connected").await;
    late.send(json!({"type":"auth","token":by_old})).await;
    assert_eq!(late.expect("auth:failed").await["code"], "token_invalid");
    assert_eq!(late.closed().await.0, 1008);
    one.ping().await;
    other.ping().await;
    let refused = renewed(&mut one, &old.token("kitchen", "cook")).await;
    assert_eq!(
        (&refused["type"], &refused["code"]),
        (&json!("auth:failed"), &json!("token_invalid"))
    );
    one.ping().await;
    let taken = renewed(&mut other, &new.token("kitchen", "cook")).await;
    assert_eq!(taken["type"], "auth:success");
    other.ping().await;

    // Half written, then gone: the last good keys stay, and the log says so.
    let whole = std::fs::read_to_string(&jwks).unwrap();
    std::fs::write(&jwks, &whole[..whole.len() / 2]).unwrap();
    relay
        .until("the broken file was seen", || async {
            logged(&log, "the keys it held before stay in use")
        })
        .await;
    assert_eq!(status(&relay, &new.token("kitchen", "cook")).await, 200);
    assert_eq!(status(&relay, &by_old).await, 401);
    std::fs::remove_file(&jwks).unwrap();
    relay.signal(Signal::HUP);
    relay
        .until("the missing file was seen", || async {
            logged(&log, "No such file")
        })
        .await;
    assert_eq!(status(&relay, &new.token("kitchen", "cook")).await, 200);

    // Mended.
    write_jwks(&jwks, &[&old]);
    relay.signal(Signal::HUP);
    relay
        .until("the mended file was read", || async {
            status(&relay, &by_old).await == 200
        })
        .await;
    one.ping().await;
    other.ping().await;
    let text = std::fs::read_to_string(&log).unwrap();
    let secret_part = by_old.rsplit('.').next().unwrap();
    assert!(!text.contains(secret_part), "no token in the log");
}

#[tokio::test]
async fn a_set_with_secrets_and_public_keys_checks_each_by_its_own_algorithm() {
    let data = tempfile::tempdir().unwrap();
    let jwks = data.path().join("jwks.json");
    let mut signers = every_kind();
    signers.push(Signer::secret("shared"));
    write_jwks(&jwks, &signers.iter().collect::<Vec<_>>());
    let relay = Relay::start_bare(
        &data.path().join("store"),
        &["--jwks-file", jwks.to_str().unwrap()],
    );
    for signer in &mut signers {
        assert_eq!(status(&relay, &signer.token("server", "s")).await, 200);
        let kid = signer.kid.take();
        assert_eq!(
            status(&relay, &signer.token("server", "s")).await,
            401,
            "which key is meant?"
        );
        signer.kid = kid;
    }
    // Another key's name.
    let mut confused = Signer::secret("shared");
    confused.kid = Some("rsa".into());
    assert_eq!(status(&relay, &confused.token("server", "s")).await, 401);
}
