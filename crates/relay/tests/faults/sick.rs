//! A disk that is full, or broken.

use crate::layer::Layer;
use crate::load::*;
use crate::support::*;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else_until_there_is_room() {
    let layer = Layer::new();
    let relay = layer.start(&FAST);
    let token = relay.token("service").await;
    let base = position(&relay, &token).await;
    let load = Load::start(&relay, &token, "f", 4, || 0).await;
    load.until_acked(50).await;
    layer.full(true);
    let before = load.refused();
    until("refusals", || load.refused() > before + 20).await;
    let ready = relay.http().await.get("/readyz", "").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready"));
    // Reads go on, connections too, those there and new ones.
    assert_eq!(relay.http().await.get(ORDERS, &token).await.status, 200);
    assert_eq!(relay.http().await.get("/healthz", "").await.status, 200);
    let (mut watcher, success) = Ws::open(relay.address, &token, json!({"sync":true})).await;
    let head = success["seq"].as_u64().unwrap();
    let (refused, acked) = (load.refused(), load.acked());
    until("refusals", || load.refused() > refused + 10).await;
    assert_eq!(load.acked(), acked, "acked without room");
    assert_eq!(position(&relay, &token).await.head, head);
    layer.full(false);
    // The probe finds it, within 5 s and some.
    load.until_acked(acked + 100).await;
    assert_eq!(relay.http().await.get("/readyz", "").await.status, 200);
    while watcher.next().await.unwrap()["seq"].as_u64() < Some(head + 50) {}
    assert!(
        relay
            .metric("tautline_store_errors_total{kind=\"full\"}")
            .await
            >= 1.0
    );
    relay.kill();
    let witness = load.witness().await;
    for error in &witness.refused {
        let (code, outcome) = (&error["code"], &error["outcome"]);
        assert_eq!(
            (code, outcome),
            (&json!("unavailable"), &json!("not_applied")),
            "{error}"
        );
    }
    let relay = layer.start(&FAST);
    let found = audit(&relay, &token, &base, &witness, u64::MAX).await;
    assert!(found.holds(), "{found:?}");
    ask_again(&relay, &token, &base, &witness, u64::MAX).await;
    sound(&layer.data());
    figure(
        "Disk full: commands refused, none of them applied",
        witness.refused.len(),
    );
    figure("… commands acked, all of them kept", found.acked);
}

/// The relay at a disk that breaks in one way: it ends, and the next start serves the truth.
async fn breaks(name: &str, harm: fn(&Layer, bool)) {
    let layer = Layer::new();
    let mut relay = layer.start(&FAST);
    let token = relay.token("service").await;
    let base = position(&relay, &token).await;
    let (mut watcher, _) = Client::v1(&relay, &token, json!({})).await;
    let load = Load::start(&relay, &token, "b", 4, || 0).await;
    load.until_acked(50).await;
    harm(&layer, true);
    assert_eq!(watcher.closed().await.0, 1012);
    drop(watcher);
    assert_eq!(relay.ended().await.code(), Some(1));
    let witness = load.witness().await;
    assert!(
        !witness.unanswered.is_empty(),
        "somebody waited for that commit"
    );
    // As long as it is broken there is no start that pretends.
    let args = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"];
    let ended = layer
        .command()
        .args(args)
        .arg(layer.data())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot be") && said.contains("error"),
        "{said}"
    );
    harm(&layer, false);
    let relay = layer.start(&FAST);
    let found = audit(&relay, &token, &base, &witness, u64::MAX).await;
    assert!(found.holds(), "{found:?}");
    ask_again(&relay, &token, &base, &witness, u64::MAX).await;
    sound(&layer.data());
    figure(
        &format!("{name}: commands acked, all of them kept"),
        found.acked,
    );
}

#[tokio::test]
async fn a_sync_that_fails_ends_the_relay() {
    breaks("I/O error at a sync", Layer::bad_sync).await;
}

#[tokio::test]
async fn a_write_that_fails_ends_the_relay() {
    breaks("I/O error at a write", Layer::bad_write).await;
}

#[tokio::test]
async fn a_write_cut_off_by_the_size_limit_of_files_ends_it_too() {
    // The system's own error, without the layer.
    let data = tempfile::tempdir().unwrap();
    let mut relay = Relay::start_limited(data.path(), 1024);
    let token = relay.token("service").await;
    let base = position(&relay, &token).await;
    let load = Load::start(&relay, &token, "l", 4, || 0).await;
    tokio::time::timeout(Duration::from_secs(60), async {
        assert_eq!(relay.ended().await.code(), Some(1));
    })
    .await
    .unwrap();
    let witness = load.witness().await;
    let relay = Relay::start(data.path(), &FAST);
    let found = audit(&relay, &token, &base, &witness, u64::MAX).await;
    assert!(found.holds() && found.acked > 0, "{found:?}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let data = tempfile::tempdir().unwrap();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = command();
    command.stderr(full);
    let relay = Relay::spawn(command, data.path(), &["--log-level", "trace"]);
    let token = relay.token("service").await;
    let made = relay.http().await.post(ORDERS, &token, &burger("1")).await;
    assert_eq!(made.status, 201);
    let (_, success) = Client::v1(&relay, &token, json!({})).await;
    assert_eq!(success["seq"], 1);
}
