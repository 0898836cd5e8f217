//! Those that take their time: readers, heads, bodies, frames.

use crate::raw::{Raw, TEXT, text};
use crate::support::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, sleep, timeout};

#[tokio::test]
async fn a_reader_of_a_byte_a_second_holds_nobody_up_and_is_sent_away() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let (mut slow, first) = Raw::v1(&relay, &token, Some(4 * 1024)).await;
    let (mut quick, _) = Client::v1(&relay, &token, json!({})).await;
    let reading = tokio::spawn(async move {
        let mut byte = [0];
        let mut second = interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            if !matches!(slow.socket.read(&mut byte).await, Ok(1)) {
                return;
            }
            // What is left in the kernel when the connection is cut is not waited for.
            if !matches!(slow.socket.take_error(), Ok(None)) {
                return;
            }
        }
    });
    let mut http = relay.http().await;
    let big = json!({"type":"menu:updated","payload":{"text":"x".repeat(50_000)}}).to_string();
    let mut seq = 0;
    let closed = async || relay.metric("tautline_closes_total{code=\"4008\"").await;
    // Far more than the sockets' buffers hold, and on until it has been found out.
    let began = Instant::now();
    while seq < 200 || closed().await == 0.0 {
        seq += 1;
        assert_eq!(http.post(EVENTS, &token, &big).await.status, 202);
        assert_eq!(
            quick.expect("menu:updated").await["seq"],
            seq,
            "the others get each event at once"
        );
        if seq >= 200 {
            assert!(began.elapsed() < Duration::from_secs(90), "never found out");
            sleep(Duration::from_millis(100)).await;
        }
    }
    // It does not answer the close frame either: cut.
    relay
        .until("it is cut", || async {
            relay.metric("tautline_connections").await == 1.0
        })
        .await;
    timeout(DEADLINE, reading)
        .await
        .expect("it notices")
        .unwrap();
    // It comes back with the little that it knows and misses nothing.
    let resume = json!({"resume": {"epoch": first["epoch"], "seq": 0}});
    let (mut back, answer) = Client::v1(&relay, &token, resume).await;
    assert_eq!(answer["resumed"], true, "{answer}");
    for missed in 1..=seq {
        assert_eq!(back.until("menu:updated").await["seq"], missed);
    }
}

#[tokio::test]
async fn heads_that_trickle_are_given_up_and_others_are_served() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("kitchen").await;
    relay.http().await.get("/healthz", "").await;
    let before = relay.descriptors();
    let peers: Vec<_> = (0..crate::crowd_of(300))
        .map(|n| {
            let address = relay.address;
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                let mut answer = Vec::new();
                let mut tick = interval(Duration::from_millis(400));
                // A field of no end, or a new field each time.
                let words = if n % 2 == 0 {
                    "GET / HTTP/1.1\r\nx: "
                } else {
                    "GET /ws HTTP/1.1\r\n"
                };
                let _ = socket.write_all(words.as_bytes()).await;
                loop {
                    tokio::select! {
                        read = socket.read_buf(&mut answer) => {
                            if !matches!(read, Ok(1..)) {
                                return answer;
                            }
                        }
                        _ = tick.tick() => {
                            let more: &[u8] = if n % 2 == 0 { b"y" } else { b"x-a: b\r\n" };
                            let _ = socket.write_all(more).await;
                        }
                    }
                }
            })
        })
        .collect();
    // While they trickle.
    for _ in 0..20 {
        assert_eq!(relay.http().await.get("/healthz", "").await.status, 200);
        let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
        client
            .send(json!({"type":"ping","payload":{"timestamp":1}}))
            .await;
        client.until("pong").await;
    }
    for peer in peers {
        let answer = timeout(DEADLINE, peer).await.expect("given up").unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
    relay
        .until("descriptors are back", || async {
            relay.descriptors() <= before + 1
        })
        .await;
}

#[tokio::test]
async fn frames_byte_by_byte_are_frames() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("kitchen").await;
    let mut raw = Raw::open(&relay).await;
    raw.json("connected").await;
    let auth = json!({"type":"auth","token":token,"protocol":"tautline.v1"}).to_string();
    let ping = json!({"type":"ping","payload":{"timestamp":17}}).to_string();
    for byte in [text(&auth), text(&ping)].concat() {
        raw.write(&[byte]).await.unwrap();
    }
    raw.json("auth:success").await;
    assert_eq!(raw.json("pong").await["payload"]["timestamp"], 17);
}

/// Of what a slow reader gets, every frame is whole: what waits is a place in shared bytes, never a piece of a frame
/// with another in its middle.
#[tokio::test]
async fn a_slow_reader_gets_whole_frames_in_order() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let (mut slow, _) = Raw::v1(&relay, &token, Some(4 * 1024)).await;
    let mut http = relay.http().await;
    for n in 0..300 {
        let event = json!({"type":"menu:updated","payload":{"n":n,"text":"κ".repeat(n * 20)}});
        assert_eq!(
            http.post(EVENTS, &token, &event.to_string()).await.status,
            202
        );
        if n % 20 == 0 {
            let ping = json!({"type":"ping","payload":{"timestamp":n}}).to_string();
            slow.write(&text(&ping)).await.unwrap();
        }
    }
    let mut next = 1;
    while next <= 300 {
        let (opcode, payload) = timeout(DEADLINE, slow.frame())
            .await
            .expect("more")
            .unwrap();
        if opcode != TEXT {
            continue;
        }
        let value: Value = serde_json::from_slice(&payload).unwrap();
        let frames = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        for frame in frames {
            if frame["type"] == "menu:updated" {
                assert_eq!(frame["seq"], next);
                assert_eq!(frame["payload"]["n"], next - 1);
                next += 1;
            } else {
                assert_eq!(frame["type"], "pong");
            }
        }
    }
}
