//! Revoked tokens, on open connections, for new ones, by HTTP and after a restart.

use crate::signer::{Signer, seconds};
use crate::support::*;
use serde_json::{Value, json};

const REVOKE: &str = "/api/v1/restaurants/demo/revoke";

async fn revoke(relay: &Relay, token: &str, body: Value) -> Answer {
    let mut http = relay.http().await;
    http.post(REVOKE, token, &body.to_string()).await
}

async fn status(relay: &Relay, token: &str) -> (u16, Value) {
    let answer = relay.http().await.get(ORDERS, token).await;
    let code = if answer.status == 200 {
        Value::Null
    } else {
        answer.json()["code"].clone()
    };
    (answer.status, code)
}

/// How a first auth ends.
async fn refused(relay: &Relay, token: &str) -> (Value, u16) {
    let mut client = Client::open(relay).await;
    client.expect("connected").await;
    client
        .send(json!({"type":"auth","token":token,"restaurant_id":"demo"}))
        .await;
    let code = client.next().await["code"].clone();
    (code, client.closed().await.0)
}

struct Tokens {
    signer: Signer,
}

impl Tokens {
    fn made(&self, role: &str, sub: &str, restaurants: Value, iat: Option<u64>) -> String {
        let mut claims = json!({
            "sub": sub, "restaurant_id": restaurants, "role": role, "exp": seconds() + 3600,
        });
        if let Some(iat) = iat {
            claims["iat"] = iat.into();
        }
        self.signer.sign(&claims)
    }

    fn of(&self, role: &str, sub: &str) -> String {
        // The whole second before: a revocation of now means it.
        self.made(role, sub, "demo".into(), Some(seconds() - 1))
    }
}

fn rig(data: &std::path::Path) -> (Tokens, Relay) {
    let secret = data.join("secret");
    // As `Signer::secret` makes it.
    std::fs::write(&secret, "k".repeat(32)).unwrap();
    let relay = Relay::start_bare(
        &data.join("store"),
        &["--jwt-secret-file", secret.to_str().unwrap()],
    );
    let signer = Signer::secret("k");
    (Tokens { signer }, relay)
}

#[tokio::test]
async fn it_is_in_force_at_once_and_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (tokens, mut relay) = rig(data.path());
    let manager = tokens.made("manager", "boss", "demo".into(), Some(seconds() + 5));
    let (ann, bob) = (tokens.of("server", "ann"), tokens.of("server", "bob"));
    let (mut of_ann, _) = Client::v1(&relay, &ann, json!({})).await;
    let (mut of_bob, _) = Client::v1(&relay, &bob, json!({})).await;
    let mut streams = Vec::new();
    for token in [tokens.of("service", "ann"), tokens.of("service", "cloud")] {
        let mut stream = relay.http().await;
        let address = relay.address;
        stream
            .raw(&format!("GET {EVENTS} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"))
            .await;
        stream.read_until("text/event-stream").await;
        streams.push(stream);
    }

    let answer = revoke(&relay, &manager, json!({"sub":"ann"})).await;
    assert_eq!((answer.status, &answer.json()["closed"]), (200, &json!(1)));
    assert_eq!(
        of_ann.closed().await,
        (4001, "the token was revoked".into())
    );
    of_bob.ping().await;
    assert!(streams.remove(0).ends().await, "the stream ends too");
    let invalid = (401, json!("token_invalid"));
    assert_eq!(status(&relay, &ann).await, invalid);
    assert_eq!(refused(&relay, &ann).await, (json!("token_invalid"), 1008));
    let without_iat = tokens.made("server", "ann", "demo".into(), None);
    assert_eq!(status(&relay, &without_iat).await, invalid);
    let newer = tokens.made("server", "ann", "demo".into(), Some(seconds() + 1));
    assert_eq!(status(&relay, &newer).await.0, 200);

    // A renewal with what is revoked leaves the connection as it is.
    let (mut of_ann, _) = Client::v1(&relay, &newer, json!({})).await;
    of_ann.send(json!({"type":"auth","token":ann})).await;
    let renewal = of_ann.expect("auth:failed").await;
    assert_eq!(
        (&renewal["code"], &renewal["renewal"]),
        (&json!("token_invalid"), &json!(true))
    );
    of_ann.ping().await;

    // Killed, so that nothing is written on the way out.
    relay.kill();
    relay = rig(data.path()).1;
    assert_eq!(status(&relay, &ann).await, invalid);
    assert_eq!(status(&relay, &newer).await.0, 200);
    assert_eq!(status(&relay, &bob).await.0, 200);

    // Everyone's, the caller's own newer one excepted.
    let (mut of_bob, _) = Client::v1(&relay, &bob, json!({})).await;
    let answer = revoke(&relay, &manager, json!({})).await;
    assert_eq!((answer.status, &answer.json()["closed"]), (200, &json!(1)));
    assert_eq!(of_bob.closed().await.0, 4001);
    assert_eq!(status(&relay, &bob).await, invalid);
    assert_eq!(status(&relay, &manager).await.0, 200);
}

#[tokio::test]
async fn it_means_one_restaurant_and_tokens_made_before() {
    let data = tempfile::tempdir().unwrap();
    let (tokens, relay) = rig(data.path());
    let service = tokens.made("service", "cloud", "*".into(), Some(seconds() + 5));
    let other_service = tokens.made("service", "cloud", "*".into(), Some(seconds() - 9));
    let both = tokens.made(
        "server",
        "ann",
        json!(["demo", "other"]),
        Some(seconds() - 9),
    );
    let other = ORDERS.replace("demo", "other");
    let get = async |token: &str, path: &str| relay.http().await.get(path, token).await.status;

    let an_hour_ago = json!({"iat_before": seconds() - 3600});
    assert_eq!(revoke(&relay, &service, an_hour_ago).await.status, 200);
    assert_eq!(get(&both, ORDERS).await, 200, "made after that");
    assert_eq!(revoke(&relay, &service, json!({})).await.status, 200);
    for token in [&both, &other_service] {
        assert_eq!(get(token, ORDERS).await, 401);
        assert_eq!(get(token, &other).await, 200, "another restaurant's");
        assert_eq!(refused(&relay, token).await, (json!("token_invalid"), 1008));
    }
    assert_eq!(get(&service, ORDERS).await, 200);

    // What is not understood revokes nothing.
    for body in [
        json!({"subject":"ann"}),
        json!({"iat_before":"now"}),
        json!([]),
    ] {
        assert_eq!(revoke(&relay, &service, body).await.status, 422);
    }
}

#[tokio::test]
async fn managers_and_services_only() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    for role in [
        "customer", "kiosk", "server", "kitchen", "manager", "service",
    ] {
        let token = relay.token(role).await;
        let may = matches!(role, "manager" | "service");
        // Long ago: nobody is meant.
        let revoked = revoke(&relay, &token, json!({"iat_before": 1})).await;
        let mut http = relay.http().await;
        let seen = http.get("/api/v1/sessions", &token).await;
        let closed = http
            .send("DELETE", "/api/v1/sessions/none", &token, &[], "")
            .await
            .unwrap();
        let expected = if may {
            (200, 200, 404)
        } else {
            (403, 403, 403)
        };
        assert_eq!(
            (revoked.status, seen.status, closed.status),
            expected,
            "{role}"
        );
        if !may {
            assert_eq!(revoked.json()["code"], "forbidden");
        }
    }
    let elsewhere = relay.token_for("restaurant_id=other&role=manager").await;
    assert_eq!(revoke(&relay, &elsewhere, json!({})).await.status, 403);
}
