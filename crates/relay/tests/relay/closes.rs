use crate::support::*;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn who_does_not_authenticate_is_sent_away() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let mut silent = Client::open(&relay).await;
    let mut rude = Client::open(&relay).await;
    rude.send(json!({"type":"ping"})).await;
    assert_eq!(
        rude.closed().await.0,
        1008,
        "a first message that is not auth"
    );
    let mut liar = Client::open(&relay).await;
    liar.expect("connected").await;
    liar.send(json!({"type":"auth","token":"a.b.c"})).await;
    assert_eq!(liar.expect("auth:failed").await["code"], "token_invalid");
    assert_eq!(liar.closed().await.0, 1008);
    let token = relay.token("manager").await;
    let mut stranger = Client::open(&relay).await;
    stranger.expect("connected").await;
    stranger
        .send(json!({"type":"auth","token":token,"restaurant_id":"other"}))
        .await;
    assert_eq!(
        stranger.expect("auth:failed").await["code"],
        "restaurant_forbidden"
    );
    assert_eq!(stranger.closed().await.0, 4003);
    silent.expect("connected").await;
    assert_eq!(silent.closed().await.0, 4009, "nothing within 10 s");
    relay
        .until("all are gone", || async {
            relay.metric("tautline_connections").await == 0.0
        })
        .await;
}

#[tokio::test]
async fn messages_too_large_or_not_text_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    client.text("x".repeat(65_537)).await;
    assert_eq!(client.closed().await.0, 1009);
    let mut early = Client::open(&relay).await;
    early
        .text(format!(
            "{{\"type\":\"auth\",\"token\":\"{}\"}}",
            "x".repeat(16_400)
        ))
        .await;
    assert_eq!(early.closed().await.0, 1009, "16 KiB before auth");
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    client.message(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(client.closed().await.0, 1003);
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    client.text("nonsense".into()).await;
    assert_eq!(client.expect("error").await["error"]["code"], "invalid");
    client
        .send(json!({"type":"ping","payload":{"timestamp":1}}))
        .await;
    client.expect("pong").await;
}

#[tokio::test]
async fn a_token_is_renewed_in_place_or_runs_out() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let query = "restaurant_id=demo&role=manager&sub=cook&ttl=";
    let (mut renewed, first) = Client::v1(
        &relay,
        &relay.token_for(&format!("{query}5s")).await,
        json!({}),
    )
    .await;
    let (mut left, _) = Client::v1(
        &relay,
        &relay.token_for(&format!("{query}1s")).await,
        json!({}),
    )
    .await;
    assert!(first["expires_in_ms"].as_u64().unwrap() <= 5000);
    let longer = relay.token_for(&format!("{query}1h")).await;
    renewed.send(json!({"type":"auth","token":longer})).await;
    let renewal = renewed.expect("auth:success").await;
    assert_eq!(
        (&renewal["renewal"], &renewal["epoch"], &renewal["resumed"]),
        (&json!(true), &json!(null), &json!(null))
    );
    assert!(renewal["expires_in_ms"].as_u64().unwrap() > 3_000_000);
    // The page's own button does not wait for the leeway of 30 s.
    let sessions = relay
        .http()
        .await
        .get("/api/v1/sessions", &relay.token("manager").await)
        .await
        .json();
    assert_eq!(sessions["count"], 2);
    assert_eq!(
        relay
            .http()
            .await
            .post("/dev/trouble", "", r#"{"kind":"expire"}"#)
            .await
            .status,
        202
    );
    assert_eq!(
        (renewed.closed().await.0, left.closed().await.0),
        (4001, 4001)
    );
}

#[tokio::test]
async fn a_token_without_renewal_runs_out_after_its_leeway() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &["--heartbeat", "60s"]);
    let token = relay
        .token_for("restaurant_id=demo&role=manager&ttl=1s")
        .await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    let started = std::time::Instant::now();
    // The client's own patience here is 30 s a frame; pings keep frames coming.
    let code = loop {
        tokio::select! {
            closed = client.closed() => break closed.0,
            () = tokio::time::sleep(std::time::Duration::from_secs(10)) => {
                client.send(json!({"type":"ping","payload":{"timestamp":1}})).await;
            }
        }
    };
    assert_eq!(code, 4001);
    assert!(started.elapsed().as_secs() >= 29);
}

#[tokio::test]
async fn a_peer_that_answers_no_pings_is_dropped() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &["--heartbeat", "200ms"]);
    let token = relay.token("manager").await;
    // Its socket is never read again, so nobody answers the relay's pings.
    let (asleep, _) = Client::v1(&relay, &token, json!({})).await;
    let (mut awake, success) = Client::v1(&relay, &token, json!({})).await;
    assert_eq!(success["type"], "auth:success");
    let awake = tokio::spawn(async move { awake.closed().await });
    relay
        .until("the sleeper is dropped", || async {
            relay.metric("tautline_connections").await == 1.0
        })
        .await;
    assert!(!awake.is_finished(), "who answers stays");
    drop(asleep);
}
