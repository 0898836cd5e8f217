//! What the relay says it holds: true, back to where it was when everybody has gone, and nobody else's names.

use crate::support::*;
use serde_json::{Value, json};

const DIAGNOSTICS: &str = "/api/v1/diagnostics";

async fn told(relay: &Relay, token: &str) -> Value {
    let answer = relay.http().await.get(DIAGNOSTICS, token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn what_is_held_is_counted_and_named_to_whom_it_concerns() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let elsewhere = relay.token_for("role=manager&restaurant_id=other").await;
    let start = told(&relay, &token).await;
    assert_eq!(start["counts"]["connections"], 0);

    let named = |name: &str| json!({"client":{"name":name}});
    let mut clients = Vec::new();
    for name in ["kds", "kds", "till"] {
        clients.push(Client::v1(&relay, &token, named(name)).await.0);
    }
    clients.push(
        Client::v1(&relay, &elsewhere, named("their screen"))
            .await
            .0,
    );
    clients.push(Client::open(&relay).await);

    let full = told(&relay, &token).await;
    let counts = &full["counts"];
    assert_eq!(counts["connections"], 5);
    assert_eq!(counts["unauthenticated"], 1);
    assert_eq!(counts["restaurants"], 2);
    assert_eq!(counts["voice_sessions"], 0);
    for kind in ["timers", "tasks", "descriptors", "threads"] {
        assert!(counts[kind].as_u64().unwrap() > 0, "{kind}: {counts}");
    }
    let owners: Vec<_> = full["owners"].as_array().unwrap().iter().collect();
    let of = |owner: &Value| (owner["name"].clone(), owner["count"].clone());
    assert_eq!(
        owners.iter().map(|owner| of(owner)).collect::<Vec<_>>(),
        [(json!("kds"), json!(2)), (json!("till"), json!(1))],
        "the largest first, and nobody of the other restaurant"
    );
    assert!(!full.to_string().contains("their screen") && !full.to_string().contains("other"));
    assert_eq!(full["logs"][0]["restaurant_id"], "demo");
    assert!(full["memory"]["resident_bytes"].as_u64().unwrap() > 1_000_000);
    assert_eq!(full["memory"]["trend"], "unknown", "after a second");
    assert_eq!(full["memory"]["leak_warning"], false);
    assert!(full["memory"]["evidence"]["samples"].as_u64().unwrap() >= 1);

    drop(clients);
    relay
        .until("everything has gone", || async {
            let now = told(&relay, &token).await["counts"].clone();
            [
                "connections",
                "unauthenticated",
                "timers",
                "tasks",
                "descriptors",
                "answers_waiting",
            ]
            .iter()
            .all(|&kind| now[kind] == start["counts"][kind])
        })
        .await;
}
