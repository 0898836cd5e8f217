//! Sockets without end that never say who they are.

use crate::raw::{Raw, text};
use crate::support::*;
use serde_json::json;
use tautline_protocol::limits;
use tokio::time::timeout;

#[tokio::test]
async fn a_crowd_that_does_not_authenticate_makes_room_for_those_who_do() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("kitchen").await;
    let (mut inside, _) = Client::v1(&relay, &token, json!({})).await;
    let before = relay.descriptors();
    // The oldest of over a thousand go, so those that came first are those that are told.
    let many = crate::crowd_of(limits::UNAUTHENTICATED + 500);
    let mut crowd = Vec::new();
    for n in 0..many {
        crowd.push(Raw::open(&relay).await);
        if n % 500 == 250 {
            // In the middle of it somebody comes who may.
            let (mut guest, _) = Client::v1(&relay, &token, json!({})).await;
            guest
                .send(json!({"type":"ping","payload":{"timestamp":n}}))
                .await;
            assert_eq!(guest.until("pong").await["payload"]["timestamp"], n);
        }
    }
    assert!(
        relay.metric("tautline_connections").await <= (limits::UNAUTHENTICATED + 4) as f64,
        "whoever goes makes room"
    );
    let told = relay.metric("tautline_closes_total{code=\"1013\"").await;
    // Some may have run out of their time to authenticate first.
    let late = relay.metric("tautline_closes_total{code=\"4009\"").await;
    assert!(
        told + late >= (many - limits::UNAUTHENTICATED) as f64,
        "{told} {late}"
    );
    inside
        .send(json!({"type":"ping","payload":{"timestamp":1}}))
        .await;
    inside.until("pong").await;
    let oldest = crowd.first_mut().unwrap().ended().await;
    assert!(matches!(oldest, Some(1013 | 4009)), "{oldest:?}");
    // The newest is still listened to.
    let mut newest = crowd.pop().unwrap();
    let auth = json!({"type":"auth","token":token}).to_string();
    newest.write(&text(&auth)).await.unwrap();
    newest.json("connected").await;
    newest.json("auth:success").await;
    drop(newest);
    // All of them run out of time, and nothing of them is left.
    relay
        .until("the crowd has gone", || async {
            relay.metric("tautline_connections").await == 1.0
        })
        .await;
    for peer in crowd.iter_mut().skip(1) {
        let code = timeout(DEADLINE, peer.ended()).await.expect("an end");
        assert!(matches!(code, Some(1013 | 4009)), "{code:?}");
    }
    relay
        .until("descriptors are back", || async {
            relay.descriptors() <= before
        })
        .await;
}
