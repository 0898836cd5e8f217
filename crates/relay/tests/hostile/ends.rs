//! Connections that should be over: peers that never close, never answer, are not there any more.

use crate::raw::{PING, Raw, frame, text};
use crate::support::*;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Duration, sleep, timeout};

#[tokio::test]
async fn peers_that_never_close_are_cut_and_leave_nothing() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let mut http = relay.http().await;
    http.get("/healthz", "").await;
    let before = relay.descriptors();
    // Each is told to go in another way; none closes, answers or reads before it has to.
    let peers = (0..crate::crowd_of(200)).map(|n| {
        let (relay, token) = (&relay, &token);
        async move {
            if n % 4 == 0 {
                let (mut raw, _) = Raw::v1(relay, token, None).await;
                raw.write(&frame(0x83, b"what")).await.unwrap();
                return raw;
            }
            let mut raw = Raw::open(relay).await;
            raw.json("connected").await;
            let last = match n % 4 {
                1 => text("{\"type\":\"ping\"}"),
                2 => text("{\"type\":\"auth\",\"token\":\"x\"}"),
                _ => frame(0x82, b"binary"),
            };
            raw.write(&last).await.unwrap();
            raw
        }
    });
    let mut peers = join_all(peers).await;
    relay
        .until("all are told", || async {
            relay.metric("tautline_closes_total").await >= peers.len() as f64
        })
        .await;
    relay
        .until("all are cut", || async {
            relay.metric("tautline_connections").await == 0.0
        })
        .await;
    relay
        .until("descriptors are back", || async {
            relay.descriptors() <= before
        })
        .await;
    for (n, peer) in peers.iter_mut().enumerate() {
        let code = peer.ended().await.expect("a close frame before the cut");
        let expected = [1002, 1008, 1008, 1003];
        assert_eq!(Some(&code), expected.get(n % 4), "peer {n}");
    }
}

/// Half open: the peer has gone without a word, its machine asleep or its cable cut. What the relay can see is that
/// nothing answers its pings.
#[tokio::test]
async fn peers_that_are_not_there_any_more_are_found_out() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &["--heartbeat", "1s"]);
    let token = relay.token("kitchen").await;
    let (mut here, _) = Raw::v1(&relay, &token, None).await;
    let mut gone = Vec::new();
    for _ in 0..20 {
        gone.push(Raw::v1(&relay, &token, None).await.0);
    }
    assert_eq!(relay.metric("tautline_connections").await, 21.0);
    // One answers, and stays whatever becomes of the others.
    let answering = tokio::spawn(async move {
        while let Ok((opcode, payload)) = here.frame().await {
            if opcode == PING {
                here.write(&frame(0x8a, &payload)).await.unwrap();
            }
        }
    });
    relay
        .until("those that do not answer are cut", || async {
            relay.metric("tautline_connections").await == 1.0
        })
        .await;
    for mut peer in gone {
        assert_eq!(peer.ended().await, None, "nobody is there to be told why");
    }
    sleep(Duration::from_secs(4)).await;
    assert!(!answering.is_finished(), "who answers stays");
    answering.abort();
    let _ = timeout(DEADLINE, answering).await;
}

/// Their half closed, ours read no more: still the connection is over at once.
#[tokio::test]
async fn half_closed_sockets_are_over() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("kitchen").await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        let (mut raw, _) = Raw::v1(&relay, &token, None).await;
        tokio::io::AsyncWriteExt::shutdown(&mut raw.socket)
            .await
            .unwrap();
        peers.push(raw);
    }
    relay
        .until("all are gone", || async {
            relay.metric("tautline_connections").await == 0.0
        })
        .await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    client
        .send(json!({"type":"ping","payload":{"timestamp":1}}))
        .await;
    client.until("pong").await;
}
