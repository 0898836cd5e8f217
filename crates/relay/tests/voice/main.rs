//! Voice sessions against the real binary: a caller made of the same stack as the relay's own end, a WebSocket client,
//! and strangers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod adapters;
mod caller;
mod calls;
mod deadlines;
mod fake;
mod goodbye;
mod limits;
mod posts;
mod predecessor;
mod proxied;
mod rounds;
mod secrets;
mod sockets;
mod strangers;
mod stream;
#[path = "../relay/support.rs"]
#[allow(dead_code, reason = "the tests beside these use the rest")]
mod support;
mod upstream;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use support::{Answer, Relay};

/// A relay with an empty store in memory.
fn relay(args: &[&str]) -> Relay {
    Relay::start(Path::new(":memory:"), args)
}

/// `POST` to `/v1/realtime…`, with a body of that type.
async fn post(relay: &Relay, path: &str, token: &str, kind: &str, body: &str) -> Answer {
    let headers = [("content-type", kind)];
    let path = format!("/v1/realtime{path}");
    let mut http = relay.http().await;
    http.send("POST", &path, token, &headers, body)
        .await
        .unwrap()
}

/// A secret, minted for whoever the token is.
async fn mint(relay: &Relay, token: &str, body: Value) -> Answer {
    post(
        relay,
        "/client_secrets",
        token,
        "application/json",
        &body.to_string(),
    )
    .await
}

async fn secret(relay: &Relay, role: &str) -> String {
    let token = relay.token(role).await;
    let answer = mint(relay, &token, json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["value"].as_str().unwrap().to_owned()
}

/// The code of an error in the Realtime API's shape.
fn code(answer: &Answer) -> String {
    let error = &answer.json()["error"];
    for key in ["type", "code", "message", "param"] {
        assert!(error.get(key).is_some(), "{answer:?}");
    }
    error["code"].as_str().unwrap().to_owned()
}

/// Voice sessions, by the metrics.
async fn sessions(relay: &Relay) -> f64 {
    relay.metric("tautline_voice_sessions").await
}

/// `counts` of the relay's diagnostics.
async fn counts(relay: &Relay, manager: &str) -> Value {
    let answer = relay.http().await.get("/api/v1/diagnostics", manager).await;
    answer.json()["counts"].take()
}

/// By the gauge, and by what a session and a call are found by.
async fn none_left(relay: &Relay) {
    let manager = relay.token("manager").await;
    relay
        .until("every session gone", || async {
            sessions(relay).await == 0.0
                && counts(relay, &manager).await["voice_sessions"] == 0
                && relay.metric("tautline_voice_index").await == 0.0
        })
        .await;
}

/// PCM16 of 440 Hz at 24 kHz.
fn pcm_tone(ms: u32) -> Vec<u8> {
    let sample = |n: u32| {
        let phase = f64::from(n) * 440.0 * std::f64::consts::TAU / 24_000.0;
        (phase.sin() * 9_000.0) as i16
    };
    (0..ms * 24).flat_map(|n| sample(n).to_le_bytes()).collect()
}

/// An append of a second and a bit.
fn second_of_speech() -> Value {
    let audio = BASE64_STANDARD.encode(pcm_tone(1_100));
    json!({"type": "input_audio_buffer.append", "audio": audio})
}
