//! The second listener, and a shutdown that gives a load balancer time to look.

use crate::signer::Signer;
use crate::support::*;
use rustix::process::Signal;
use serde_json::json;

fn rig(data: &std::path::Path, more: &[&str]) -> Relay {
    let secret = data.join("secret");
    // As `Signer::secret` makes it.
    std::fs::write(&secret, "k".repeat(32)).unwrap();
    let common = [
        "--jwt-secret-file",
        secret.to_str().unwrap(),
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    Relay::start_bare(&data.join("store"), &[&common, more].concat())
}

#[tokio::test]
async fn metrics_are_on_a_listener_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let relay = rig(data.path(), &[]);
    let token = Signer::secret("k").token("kitchen", "cook");
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    client.ping().await;
    let mut operator = relay.operators().await;
    let metrics = operator.get("/metrics", "").await;
    assert_eq!(metrics.status, 200);
    let seat = "tautline_connections{dialect=\"tautline.v1\",role=\"kitchen\"} 1";
    assert!(metrics.body.contains(seat), "{}", metrics.body);
    let ready = operator.get("/readyz", "").await;
    let details = ready.json();
    assert_eq!(
        (ready.status, &details["ready"], &details["connections"]),
        (200, &json!(true), &json!(1))
    );
    assert_eq!(
        details["store"],
        json!({"kind":"sqlite","durability":"full","writable":true})
    );
    assert_eq!(operator.get("/healthz", "").await.body, "ok");
    for path in [ORDERS, "/ws", "/dev/token", "/"] {
        assert_eq!(operator.get(path, &token).await.status, 404, "{path}");
    }
    for (name, value) in [("host", "evil.example"), ("origin", "http://evil.example")] {
        let answer = operator
            .send("GET", "/metrics", "", &[(name, value)], "")
            .await;
        assert_eq!(answer.unwrap().status, 403, "{name}");
    }
    let mut http = relay.http().await;
    assert_eq!(http.get("/metrics", "").await.status, 404);
    assert_eq!(http.get("/readyz", "").await.body, "ready", "no details");
}

#[tokio::test]
async fn with_a_token_only_the_verdict_is_for_everyone() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("token");
    std::fs::write(&file, "scrape-me-if-you-can\n").unwrap();
    let relay = rig(
        data.path(),
        &["--metrics-token-file", file.to_str().unwrap()],
    );
    let mut operator = relay.operators().await;
    for wrong in ["", "scrape-me-if-you-ca", "scrape-me-if-you-can!", "x"] {
        let answer = operator.get("/metrics", wrong).await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(operator.get("/readyz", wrong).await.body, "ready");
    }
    let known = "scrape-me-if-you-can";
    assert_eq!(operator.get("/metrics", known).await.status, 200);
    assert_eq!(operator.get("/readyz", known).await.json()["ready"], true);

    std::fs::write(&file, "short").unwrap();
    let store = data.path().join("other");
    let (code, _, err) = run(&[
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        store.to_str().unwrap(),
        "--metrics-listen",
        "127.0.0.1:0",
        "--metrics-token-file",
        file.to_str().unwrap(),
    ]);
    assert!(code == 1 && err.contains("at least 16 bytes"), "{err}");
}

#[tokio::test]
async fn after_sigterm_it_is_not_ready_at_once_and_serves_for_the_delay() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = rig(data.path(), &["--drain-delay", "1h"]);
    let token = Signer::secret("k").token("kitchen", "cook");
    let (mut before, _) = Client::v1(&relay, &token, json!({})).await;
    relay.signal(Signal::TERM);
    relay
        .until("it is not ready", || async {
            relay.http().await.get("/readyz", "").await.status == 503
        })
        .await;
    let details = relay.operators().await.get("/readyz", "").await;
    assert_eq!(
        (details.status, &details.json()["draining"]),
        (503, &json!(true))
    );
    assert_eq!(relay.http().await.get("/healthz", "").await.status, 200);
    before.ping().await;
    let (mut meanwhile, _) = Client::v1(&relay, &token, json!({})).await;
    meanwhile.ping().await;
    relay.signal(Signal::TERM);
    assert_eq!(relay.ended().await.code(), Some(0), "a second signal");
}

#[tokio::test]
async fn after_the_delay_clients_are_told_and_readiness_can_still_be_asked() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = rig(data.path(), &["--drain-delay", "100ms", "--drain", "1h"]);
    let token = Signer::secret("k").token("kitchen", "cook");
    let (mut told, _) = Client::v1(&relay, &token, json!({})).await;
    // One that is not done yet keeps the drain waiting.
    let (address, token_of) = (relay.address, &token);
    let mut slow = relay.http().await;
    slow.raw(&format!(
        "POST {ORDERS} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token_of}\r\ncontent-length: 9\r\n\r\n"
    ))
    .await;
    slow.raw("{").await;
    relay.signal(Signal::TERM);
    assert_eq!(told.closed().await.0, 1012);
    relay
        .until("new sockets are refused", || async {
            tokio::net::TcpStream::connect(relay.address).await.is_err()
        })
        .await;
    let details = relay.operators().await.get("/readyz", "").await;
    assert_eq!(details.status, 503);
    slow.raw("\"a\":1}  ").await;
    slow.read_until("HTTP/1.1 4").await;
    assert_eq!(relay.ended().await.code(), Some(0));
}
