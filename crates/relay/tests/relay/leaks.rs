use crate::support::*;
use serde_json::json;

#[tokio::test]
async fn ten_thousand_visits_leave_nothing_behind() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let cycle = || async {
        let visits = (0..50).map(|n| {
            let (relay, token) = (&relay, &token);
            async move {
                let (mut client, _) = Client::v1(relay, token, json!({"sync": true})).await;
                // Some say goodbye, some just go, some stay until they have their snapshot.
                match n % 3 {
                    0 => drop(client),
                    1 => {
                        client
                            .message(tokio_tungstenite::tungstenite::Message::Close(None))
                            .await;
                        client.closed().await;
                    }
                    _ => drop(client.until("sync_complete").await),
                }
            }
        });
        futures_util::future::join_all(visits).await;
    };
    cycle().await;
    relay
        .until("all have gone", || async {
            relay.metric("tautline_connections").await == 0.0
        })
        .await;
    let (descriptors, tasks) = (relay.descriptors(), relay.metric("tautline_tasks").await);
    for _ in 0..200 {
        cycle().await;
    }
    relay
        .until("all have gone again", || async {
            relay.metric("tautline_connections").await == 0.0
        })
        .await;
    relay
        .until("tasks are back", || async {
            relay.metric("tautline_tasks").await == tasks
        })
        .await;
    relay
        .until("descriptors are back", || async {
            relay.descriptors() <= descriptors
        })
        .await;
    let service = relay.token_for("restaurant_id=demo&role=manager").await;
    assert_eq!(
        relay
            .http()
            .await
            .get("/api/v1/sessions", &service)
            .await
            .json()["count"],
        0
    );
}

#[tokio::test]
async fn a_slow_consumer_harms_nobody_and_resumes() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let (mut slow, _) = Client::v1(&relay, &token, json!({})).await;
    let (mut quick, _) = Client::v1(&relay, &token, json!({})).await;
    let mut http = relay.http().await;
    let big = json!({"type":"menu:updated","payload":{"text":"x".repeat(50_000)}}).to_string();
    // More than the sockets' buffers hold, so the slow one is certainly blocked.
    for seq in 1..=200 {
        assert_eq!(http.post(EVENTS, &token, &big).await.status, 202);
        assert_eq!(
            quick.expect("menu:updated").await["seq"],
            seq,
            "the quick one has each at once"
        );
    }
    assert!(relay.metric("tautline_cursor_lag_events").await > 0.0);
    for seq in 1..=200 {
        assert_eq!(
            slow.expect("menu:updated").await["seq"],
            seq,
            "and the slow one misses none"
        );
    }
}

#[tokio::test]
async fn who_falls_behind_the_tail_is_told_to_resume() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &["--durability", "normal"]);
    let token = relay.token("service").await;
    let (mut slow, _) = Client::v1(&relay, &token, json!({})).await;
    // More than the 64 MiB that are kept, while it reads nothing.
    let big = json!({"type":"menu:updated","payload":{"text":"x".repeat(60_000)}}).to_string();
    let writers = (0..4).map(|_| {
        let (relay, token, big) = (&relay, &token, &big);
        async move {
            let mut http = relay.http().await;
            for _ in 0..325 {
                assert_eq!(http.post(EVENTS, token, big).await.status, 202);
            }
        }
    });
    futures_util::future::join_all(writers).await;
    assert_eq!(slow.closed().await.0, 4008);
}
