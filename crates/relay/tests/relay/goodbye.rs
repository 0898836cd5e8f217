use crate::support::*;
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn each_client_gets_its_own_time_to_come_back() {
    let data = tempfile::tempdir().unwrap();
    // It goes when the last client has, and does not wait for its time to run out.
    let mut relay = Relay::start(data.path(), &["--drain", "1h"]);
    let token = relay.token("manager").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::v1(&relay, &token, json!({})).await.0);
    }
    relay.signal(Signal::TERM);
    let mut waits = Vec::new();
    for client in &mut clients {
        let (code, reason) = client.closed().await;
        assert_eq!(code, 1012);
        let wait: u64 = reason
            .split("reconnect_after_ms=")
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        assert!(wait <= 2000, "{wait}");
        waits.push(wait);
    }
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 10, "spread: {waits:?}");
    assert_eq!(relay.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_goes_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(data.path(), &["--drain", "1h"]);
    let token = relay.token("manager").await;
    // One that never answers the close: it keeps the drain waiting.
    let (mut deaf, _) = Client::v1(&relay, &token, json!({})).await;
    assert_eq!(
        relay
            .http()
            .await
            .post("/dev/trouble", "", r#"{"kind":"stall"}"#)
            .await
            .status,
        202
    );
    relay.signal(Signal::INT);
    relay
        .until("the drain has begun", || async {
            tokio::net::TcpStream::connect(relay.address).await.is_err()
        })
        .await;
    relay.signal(Signal::INT);
    assert_eq!(relay.ended().await.code(), Some(0));
    assert_eq!(deaf.closed().await.0, 1006);
}

#[tokio::test]
async fn a_restart_asked_for_by_the_page_ends_with_its_own_status() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(data.path(), &[]);
    assert_eq!(
        relay
            .http()
            .await
            .post("/dev/trouble", "", r#"{"kind":"restart"}"#)
            .await
            .status,
        202
    );
    assert_eq!(relay.ended().await.code(), Some(75));
}

#[tokio::test]
async fn a_stream_of_events_does_not_hold_the_end_up() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(data.path(), &["--drain", "1h"]);
    let token = relay.token("service").await;
    let mut stream = relay.http().await;
    let request = format!(
        "GET {EVENTS} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n",
        relay.address
    );
    stream.raw(&request).await;
    stream.read_until("\r\n\r\n").await;
    relay.signal(Signal::TERM);
    assert_eq!(relay.ended().await.code(), Some(0));
}
