//! The bounds of calls and voice sessions that no other test here meets: at each everything is well, above it is refused
//! and counted.

use crate::caller::Caller;
use crate::sockets::Session;
use crate::support::*;
use crate::{code, mint, none_left, post, relay, secret, sessions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tautline_protocol::limits::{self, hit};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const CLEAR: &str = r#"{"type":"input_audio_buffer.clear"}"#;
const NO_TURNS: &str = r#"{"type":"session.update","session":{"type":"realtime","audio":{"input":{"turn_detection":null}}}}"#;

/// An event of so many bytes that is answered by `input_audio_buffer.cleared`.
fn padded(bytes: usize) -> String {
    spaces_after(CLEAR, bytes)
}

fn spaces_after(text: &str, bytes: usize) -> String {
    format!("{text}{}", " ".repeat(bytes - text.len()))
}

fn append(bytes: usize) -> String {
    let audio = BASE64_STANDARD.encode(vec![0; bytes]);
    json!({"type":"input_audio_buffer.append","audio":audio}).to_string()
}

async fn session(relay: &Relay, token: &str) -> Session {
    let mut session = Session::open(relay, "", Some(token), None).await.unwrap();
    session.until("session.created").await;
    session
}

#[tokio::test(flavor = "current_thread")]
async fn offers_and_bodies() {
    let relay = relay(&[]);
    let token = relay.token("manager").await;
    let most = limits::REALTIME_FORM;
    let taken = mint(&relay, &token, Value::String(String::new())).await;
    assert_eq!(taken.status, 400, "it is read");
    let json = "application/json";
    let body = |bytes: usize| spaces_after("{}", bytes);
    let at = post(&relay, "/client_secrets", &token, json, &body(most)).await;
    assert_eq!(at.status, 200);
    let sdp = "application/sdp";
    let at = post(&relay, "/calls", &token, sdp, &"x".repeat(most)).await;
    assert_eq!((at.status, code(&at).as_str()), (400, "invalid_offer"));
    assert_eq!(met(&relay, hit::REALTIME_FORM).await, 0.0);
    for (path, kind, body) in [
        ("/client_secrets", json, body(most + 1)),
        ("/calls", sdp, "x".repeat(most + 1)),
    ] {
        let over = post(&relay, path, &token, kind, &body).await;
        assert_eq!((over.status, code(&over).as_str()), (413, "body_too_large"));
    }
    assert_eq!(met(&relay, hit::REALTIME_FORM).await, 2.0);
}

#[tokio::test(flavor = "current_thread")]
async fn secrets_in_all() {
    let relay = relay(&["--rate-limit", "100000/s,burst=100000"]);
    let token = relay.token("manager").await;
    let asking = |at_once: usize| {
        let (relay, token) = (&relay, token.as_str());
        join_all((0..at_once).map(move |_| async move {
            let mut http = relay.http().await;
            let mut refused = 0;
            for _ in 0..limits::REALTIME_SECRETS / 10 {
                let answer = http.post("/v1/realtime/client_secrets", token, "").await;
                refused += usize::from(answer.status != 200);
            }
            refused
        }))
    };
    assert_eq!(asking(10).await, [0; 10]);
    assert_eq!(met(&relay, hit::REALTIME_SECRETS).await, 0.0);
    let over = mint(&relay, &token, json!({})).await;
    assert_eq!(
        (over.status, code(&over).as_str()),
        (429, "rate_limit_exceeded")
    );
    assert!(over.header("retry-after").is_some());
    assert_eq!(met(&relay, hit::REALTIME_SECRETS).await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn messages_of_a_socket() {
    let most = 4096;
    let relay = relay(&["--realtime-max-message", "4096"]);
    let key = secret(&relay, "kiosk").await;
    let mut session = session(&relay, &key).await;
    session.send_text(padded(most)).await;
    session.until("input_audio_buffer.cleared").await;
    assert_eq!(met(&relay, hit::REALTIME_MESSAGE).await, 0.0);
    // The session stays, and so does a sideband of it.
    for bytes in [most + 1, 3_000_000] {
        session.send_text(padded(bytes)).await;
        let error = session.until("error").await;
        assert_eq!(error["error"]["code"], "message_too_large");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("4096"), "{message}");
        session.send_text(CLEAR.into()).await;
        session.until("input_audio_buffer.cleared").await;
    }
    assert_eq!(met(&relay, hit::REALTIME_MESSAGE).await, 2.0);
    let caller = Caller::call(&relay, &key).await;
    let query = format!("?call_id={}", caller.id);
    let mut side = Session::open(&relay, &query, Some(&key), None)
        .await
        .unwrap();
    side.until("session.created").await;
    side.send_text(padded(most + 1)).await;
    let error = side.until("error").await;
    assert_eq!(error["error"]["code"], "message_too_large");
    drop(caller);
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_of_the_largest_size_there_is() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut session = session(&relay, &key).await;
    session.send_text(padded(limits::REALTIME_MESSAGE)).await;
    session.until("input_audio_buffer.cleared").await;
    session
        .send_text(padded(limits::REALTIME_MESSAGE + 1))
        .await;
    let error = session.until("error").await;
    assert_eq!(error["error"]["code"], "message_too_large");
}

#[tokio::test(flavor = "current_thread")]
async fn sound_in_messages() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut first = session(&relay, &key).await;
    first.send_text(NO_TURNS.into()).await;
    first.send_text(append(limits::VOICE_AUDIO_BURST)).await;
    first.send_text(CLEAR.into()).await;
    first.until("input_audio_buffer.cleared").await;
    assert_eq!(met(&relay, hit::VOICE_AUDIO).await, 0.0);
    first.send_text(append(limits::VOICE_AUDIO_BURST)).await;
    let error = first.until("error").await;
    assert_eq!(error["error"]["code"], "rate_limit_exceeded");
    assert_eq!(met(&relay, hit::VOICE_AUDIO).await, 1.0);
    first.send_text(CLEAR.into()).await;
    first.until("input_audio_buffer.cleared").await;
    // A recording as one append, in a session that has sent nothing yet.
    let mut second = session(&relay, &key).await;
    second.send_text(NO_TURNS.into()).await;
    second.send_text(append(limits::VOICE_WAITING_BYTES)).await;
    second
        .send_text(r#"{"type":"input_audio_buffer.commit"}"#.into())
        .await;
    second.until("input_audio_buffer.committed").await;
    assert_eq!(met(&relay, hit::VOICE_AUDIO).await, 1.0);
    second
        .send_text(append(limits::VOICE_WAITING_BYTES + 3))
        .await;
    let error = second.until("error").await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("append at most"), "{message}");
    assert_eq!(met(&relay, hit::VOICE_AUDIO).await, 2.0);
}

#[tokio::test(flavor = "current_thread")]
async fn messages_of_a_channel() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let most = limits::VOICE_CHANNEL_MESSAGE;
    let (mut caller, offer) = Caller::new().await;
    let mut answer = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    // What it says is what a browser keeps to; this caller does not.
    let says = format!("a=max-message-size:{most}\r\n");
    assert!(answer.body.contains(&says), "{}", answer.body);
    answer.body = answer.body.replace(&says, "a=max-message-size:2000000\r\n");
    caller.answered(&answer);
    caller.until("session.created").await;
    caller.send_text(&padded(most));
    caller.until("input_audio_buffer.cleared").await;
    assert_eq!(met(&relay, hit::VOICE_CHANNEL_MESSAGE).await, 0.0);
    for bytes in [most + 1, 3 * most] {
        caller.send_text(&padded(bytes));
        let error = caller.until("error").await;
        assert_eq!(error["error"]["code"], "message_too_large");
        caller.send_text(CLEAR);
        caller.until("input_audio_buffer.cleared").await;
    }
    assert_eq!(met(&relay, hit::VOICE_CHANNEL_MESSAGE).await, 2.0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_does_not_read() {
    let relay = relay(&["--voice-rate", "100000/s,burst=100000"]);
    let key = secret(&relay, "kiosk").await;
    let mut session = session(&relay, &key).await;
    let long = "x".repeat(60_000);
    let update = json!({"type":"session.update","session":{"type":"realtime","instructions":long}});
    let ended = "tautline_voice_ended_total{reason=\"slow\"}";
    // As much as may wait, and whatever the two ends of the connection hold themselves.
    let mut asked = 0;
    while relay.metric(ended).await == 0.0 {
        assert!(asked < 64 * 1024 * 1024, "it waits for ever");
        for _ in 0..20 {
            // The relay does not wait for long for who does not even read its goodbye.
            if session.try_send(update.to_string()).await {
                asked += long.len();
            }
        }
    }
    assert!(asked > limits::VOICE_QUEUE_BYTES, "{asked}");
    assert_eq!(met(&relay, hit::VOICE_QUEUE).await, 1.0);
    none_left(&relay).await;
    // Who reads may be told as much, and more.
    let mut session = self::session(&relay, &key).await;
    for _ in 0..2 * limits::VOICE_QUEUE_BYTES / long.len() {
        session.send(update.clone()).await;
        session.until("session.updated").await;
    }
    assert_eq!(met(&relay, hit::VOICE_QUEUE).await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn sessions_in_all() {
    let relay = relay(&[]);
    let token = async |restaurant: &str| {
        let query = format!("restaurant_id={restaurant}&role=manager");
        relay.token_for(&query).await
    };
    let open = async |token: &str| Session::open(&relay, "", Some(token), None).await;
    let (one, other, third) = (
        token("one").await,
        token("other").await,
        token("third").await,
    );
    let mut held = Vec::new();
    for n in 0..limits::VOICE_RESTAURANT {
        let opened = open(&one).await;
        held.push(opened.unwrap_or_else(|status| panic!("{n}: {status}")));
    }
    assert_eq!(met(&relay, hit::VOICE_RESTAURANT).await, 0.0);
    assert_eq!(open(&one).await.err(), Some(429));
    assert_eq!(met(&relay, hit::VOICE_RESTAURANT).await, 1.0);
    for n in limits::VOICE_RESTAURANT..limits::VOICE_SESSIONS {
        let opened = open(&other).await;
        held.push(opened.unwrap_or_else(|status| panic!("{n}: {status}")));
    }
    assert_eq!(met(&relay, hit::VOICE_SESSIONS).await, 0.0);
    assert_eq!(open(&third).await.err(), Some(429));
    let (_, offer) = Caller::new().await;
    let over = post(&relay, "/calls", &third, "application/sdp", &offer).await;
    assert_eq!(
        (over.status, code(&over).as_str()),
        (429, "rate_limit_exceeded")
    );
    assert!(over.header("retry-after").is_some());
    assert_eq!(met(&relay, hit::VOICE_SESSIONS).await, 2.0);
    held.pop();
    relay
        .until("there is room again", || async {
            sessions(&relay).await < limits::VOICE_SESSIONS as f64
        })
        .await;
    assert!(open(&third).await.is_ok());
}

#[tokio::test(flavor = "current_thread")]
async fn sidebands_of_a_session() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call(&relay, &key).await;
    let query = format!("?call_id={}", caller.id);
    let follow = async || {
        let side = Session::open(&relay, &query, Some(&key), None).await;
        side.unwrap()
    };
    let mut sides = Vec::new();
    for _ in 0..limits::VOICE_SIDEBANDS {
        let mut side = follow().await;
        side.until("session.created").await;
        sides.push(side);
    }
    assert_eq!(met(&relay, hit::VOICE_SIDEBANDS).await, 0.0);
    assert_eq!(follow().await.closed().await.0, 1000);
    assert_eq!(met(&relay, hit::VOICE_SIDEBANDS).await, 1.0);
    caller.send_text(CLEAR);
    caller.until("input_audio_buffer.cleared").await;
    for side in &mut sides {
        side.until("input_audio_buffer.cleared").await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn connections_of_ice() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let (_, offer) = Caller::new().await;
    let answer = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    let line = answer
        .body
        .lines()
        .find(|line| line.contains("tcptype passive"))
        .unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let there: SocketAddr = format!("{}:{}", words[4], words[5]).parse().unwrap();
    let mut held = Vec::new();
    for _ in 0..limits::VOICE_TCP_CONNECTIONS {
        held.push(TcpStream::connect(there).await.unwrap());
    }
    relay
        .until("all are taken", || async {
            relay.metric("tautline_voice_index{index=\"tcp\"}").await
                == limits::VOICE_TCP_CONNECTIONS as f64
        })
        .await;
    assert_eq!(met(&relay, hit::VOICE_TCP).await, 0.0);
    let mut over = TcpStream::connect(there).await.unwrap();
    let read = tokio::time::timeout(DEADLINE, over.read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    assert_eq!(met(&relay, hit::VOICE_TCP).await, 1.0);
    assert!(held[0].try_read(&mut [0; 1]).is_err(), "it is held");
    held.pop();
    relay
        .until("there is room again", || async {
            relay.metric("tautline_voice_index{index=\"tcp\"}").await
                < limits::VOICE_TCP_CONNECTIONS as f64
        })
        .await;
    Caller::call_by_tcp(&relay, &key).await;
}
