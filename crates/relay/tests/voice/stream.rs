//! `GET /voice-stream`: each event and each error of it, what ends its sessions, and that nothing is left of them.

use crate::adapters::front;
use crate::fake::{Fake, Plan};
use crate::support::*;
use crate::{none_left, pcm_tone, relay, sessions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::path::Path;
use tautline_protocol::limits::{self, hit};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const AUDIO_MS: usize = 25;

/// A kiosk's connection.
pub(crate) struct Post {
    socket: WebSocketStream<Box<dyn Line>>,
}

impl Post {
    /// One that has not said who it is.
    pub(crate) async fn connect(relay: &Relay) -> Result<Self, u16> {
        let url = format!("ws://{}/voice-stream", relay.address);
        match client_async(url.into_client_request().unwrap(), relay.line().await).await {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn open(relay: &Relay, token: &str) -> Self {
        Self::open_in(relay, token, "demo").await
    }

    pub(crate) async fn open_in(relay: &Relay, token: &str, restaurant: &str) -> Self {
        let mut post = Self::connect(relay).await.unwrap();
        assert_eq!(post.next().await["type"], "connected");
        post.send(json!({"type": "auth", "token": token, "restaurant_id": restaurant}))
            .await;
        let success = post.next().await;
        assert_eq!(success["type"], "auth:success", "{success}");
        post
    }

    /// One with a session, and that one's id.
    pub(crate) async fn start(relay: &Relay, token: &str, config: Value) -> (Self, String) {
        let mut post = Self::open(relay, token).await;
        let id = post.begin(config).await;
        (post, id)
    }

    pub(crate) async fn auth(&mut self, token: &str) {
        self.send(json!({"type": "auth", "token": token, "restaurant_id": "demo"}))
            .await;
    }

    pub(crate) async fn begin(&mut self, config: Value) -> String {
        self.send(json!({"type": "session.start", "session_config": config}))
            .await;
        let started = self.until("session.started").await;
        started["session_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn send(&mut self, event: Value) {
        self.send_text(event.to_string()).await;
    }

    pub(crate) async fn audio(&mut self, bytes: &[u8]) {
        let audio = BASE64_STANDARD.encode(bytes);
        self.send(json!({"type": "audio", "audio": audio})).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn close(&mut self) {
        self.socket.close(None).await.unwrap();
    }

    async fn message(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.socket.next()).await;
            match next.unwrap().unwrap().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["type"] == kind {
                return event;
            }
            assert_ne!(event["type"], "error", "{event} before {kind}");
        }
    }

    pub(crate) async fn error(&mut self) -> Value {
        loop {
            let mut event = self.next().await;
            if event["type"] == "error" {
                assert!(event["event_id"].is_string() && event["timestamp"].is_u64());
                return event["error"].take();
            }
        }
    }

    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(Some(frame)) = self.message().await {
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

pub(crate) async fn ended(relay: &Relay, reason: &str) -> f64 {
    let name = format!("tautline_voice_ended_total{{reason=\"{reason}\"}}");
    relay.metric(&name).await
}

#[tokio::test(flavor = "current_thread")]
async fn who_is_let_in() {
    let relay = relay(&[]);
    for (role, code) in [
        ("customer", None),
        ("kiosk", None),
        ("server", None),
        ("kitchen", Some("restaurant_forbidden")),
        ("manager", None),
        ("service", None),
    ] {
        let token = relay.token(role).await;
        let mut post = Post::connect(&relay).await.unwrap();
        post.next().await;
        post.auth(&token).await;
        let answer = post.next().await;
        match code {
            None => assert_eq!(answer["type"], "auth:success", "{role}"),
            Some(code) => {
                assert_eq!(answer["code"], code);
                assert!(
                    answer["error"].as_str().unwrap().contains("policy"),
                    "{answer}"
                );
                assert_eq!(post.closed().await.0, 4003);
            }
        }
    }
    let mut post = Post::connect(&relay).await.unwrap();
    post.next().await;
    post.auth("made-up").await;
    assert_eq!(post.next().await["code"], "token_invalid");
    assert_eq!(post.closed().await.0, 1008);
    let mut post = Post::connect(&relay).await.unwrap();
    post.send(json!({"type": "session.start"})).await;
    assert_eq!(post.closed().await.0, 1008);
    let mut post = Post::connect(&relay).await.unwrap();
    let much = json!({"type": "auth", "token": "x".repeat(limits::MAX_MESSAGE_BEFORE_AUTH)});
    post.send(much).await;
    assert_eq!(post.closed().await.0, 1009);
    assert_eq!(met(&relay, hit::MESSAGE_BEFORE_AUTH).await, 1.0);
    let answer = relay.http().await.get("/voice-stream", "").await;
    assert_eq!(answer.status, 426, "{answer:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn no_auth_in_time() {
    let relay = relay(&[]);
    let mut post = Post::connect(&relay).await.unwrap();
    assert_eq!(post.closed().await.0, 4009);
    assert_eq!(met(&relay, hit::AUTH_TIME).await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_loopback_says_back_at_once_and_measures_whoever_answers_otherwise() {
    let fake = Fake::start(&[Plan::Serve]).await;
    let front = front(&fake, &[]);
    let token = front.token("kiosk").await;
    for (format, silence) in [("pcm16", 0_u8), ("g711_ulaw", 0xff), ("g711_alaw", 0xd5)] {
        let (mut post, id) = Post::start(
            &front,
            &token,
            json!({"restaurant_id": "demo", "audio_format": format, "loopback": true}),
        )
        .await;
        let (per_ms, tone) = match format {
            "pcm16" => (48, pcm_tone(2_200)),
            // Two levels of its scale, 500 times a second.
            _ => (
                8,
                (0..2_200 * 8)
                    .map(|n| if n / 8 % 2 == 0 { 0xa0 } else { 0x20 })
                    .collect(),
            ),
        };
        let mut sound = vec![silence; 300 * per_ms];
        sound.extend(tone);
        sound.extend(vec![silence; 600 * per_ms]);
        let (mut back, mut partial, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for piece in sound.chunks(AUDIO_MS * per_ms) {
            post.audio(piece).await;
            // The echo of each comes before anything else is sent.
            let heard = back.len();
            while back.len() < heard + piece.len() {
                let event = post.next().await;
                match event["type"].as_str().unwrap() {
                    "audio" => back.extend(
                        BASE64_STANDARD
                            .decode(event["audio"].as_str().unwrap())
                            .unwrap(),
                    ),
                    "transcript" if event["is_final"] == true => {
                        whole.push(event["transcript"].clone())
                    }
                    "transcript" => partial.push(event["transcript"].clone()),
                    _ => panic!("{event}"),
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(8)).await;
        }
        assert_eq!(back, sound, "{format}");
        post.send(json!({"type": "heartbeat"})).await;
        loop {
            let event = post.next().await;
            if event["type"] == "heartbeat" {
                assert_eq!(event["session_id"], id.as_str());
                break;
            }
            whole.push(event["transcript"].clone());
        }
        assert_eq!(
            (partial.len(), whole.len()),
            (2, 1),
            "{partial:?} {whole:?}"
        );
        assert!(
            partial[0].as_str().unwrap().starts_with("1.0 s of sound"),
            "{partial:?}"
        );
        assert!(
            whole[0].as_str().unwrap().starts_with("2.2 s of sound"),
            "{whole:?}"
        );
        let view = front
            .http()
            .await
            .get("/api/v1/sessions", &front.token("manager").await)
            .await
            .json();
        let mine = view["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|session| session["id"] == id.as_str());
        let mine = mine.unwrap_or_else(|| panic!("{view}"));
        assert_eq!(
            (&mine["transport"], &mine["kind"]),
            (&json!("voice_stream"), &json!("voice"))
        );
        assert_eq!(
            front
                .metric("tautline_voice_sessions{transport=\"voice_stream\"}")
                .await,
            1.0
        );
        post.send(json!({"type": "session.stop"})).await;
        none_left(&front).await;
        post.send(json!({"type": "heartbeat"})).await;
        assert_eq!(post.error().await["code"], "SESSION_NOT_FOUND");
    }
    assert_eq!(fake.dialled(), 0);
    assert_eq!(ended(&front, "client").await, 3.0);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_said_is_answered_and_an_order_is_in_the_log() {
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/examples/voice-script.toml"
    );
    let relay = relay(&["--upstream", &format!("script:{example}")]);
    let token = relay
        .token_for("restaurant_id=demo&role=kiosk&sub=post-1")
        .await;
    let (mut post, _) = Post::start(&relay, &token, json!({"audio_format": "g711_ulaw"})).await;
    for _ in 0..45 {
        post.audio(&[0xff; AUDIO_MS * 8]).await;
    }
    let partial = post.until("transcript").await;
    assert_eq!(
        (&partial["transcript"], &partial["is_final"]),
        (&json!("two colas"), &json!(false))
    );
    let whole = post.until("transcript").await;
    assert_eq!(
        (&whole["transcript"], &whole["is_final"]),
        (&json!("Two colas, please."), &json!(true))
    );
    // In the format that was asked for, whatever the script's: 600 ms.
    let (mut sound, mut order) = (0, Value::Null);
    while order.is_null() {
        let mut event = post.next().await;
        match event["type"].as_str().unwrap() {
            "audio" => {
                sound += BASE64_STANDARD
                    .decode(event["audio"].as_str().unwrap())
                    .unwrap()
                    .len()
            }
            "order.detected" => order = event["order"].take(),
            _ => panic!("{event}"),
        }
    }
    assert_eq!(sound, 600 * 8);
    assert_eq!(
        order,
        json!({"items": [{"name": "Cola", "quantity": 2, "price": 2.8, "modifiers": ["small"]}], "total": 5.6, "confidence": 1})
    );
    // The answer to the order that was made.
    post.until("audio").await;
    let manager = relay.token("manager").await;
    let orders = relay.http().await.get(ORDERS, &manager).await.json();
    assert_eq!(orders["orders"][0]["created_by"], "post-1", "{orders}");
    assert_eq!(orders["orders"][0]["price_verified"], false);
    drop(post);
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn each_error_has_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.toml");
    let script = r#"
[[step]]
on = "start"
then = [
  { event = { type = "conversation.item.input_audio_transcription.failed", item_id = "i1", content_index = 0, error = { code = "x", message = "noise" } } },
  { event = { type = "response.output_item.done", response_id = "r1", item = { type = "function_call", status = "completed", id = "f1", call_id = "c1", name = "submit_order", arguments = '{"items":[{"name":"pizza"}]}' } } },
]

[[step]]
on = "response.create"
then = [{ event = { type = "rate_limits.updated", rate_limits = [] } }]
"#;
    std::fs::write(&path, script).unwrap();
    let relay = relay(&["--upstream", &format!("script:{}", path.display())]);
    let token = relay.token("kiosk").await;
    let mut post = Post::open(&relay, &token).await;
    for kind in ["audio", "session.stop", "heartbeat"] {
        post.send(json!({"type": kind})).await;
        assert_eq!(post.error().await["code"], "SESSION_NOT_FOUND");
    }
    post.send(json!({"type": "session.start", "session_config": {"sample_rate": 16000}}))
        .await;
    assert_eq!(post.error().await["code"], "INVALID_AUDIO_FORMAT");
    let id = post.begin(json!({})).await;
    let failed = post.error().await;
    assert_eq!(failed["code"], "TRANSCRIPT_FAILED");
    let order = post.error().await;
    assert_eq!(
        (&order["code"], &order["session_id"]),
        (&json!("ORDER_PARSING_FAILED"), &json!(id))
    );
    post.send(json!({"type": "audio", "audio": "?"})).await;
    assert_eq!(post.error().await["code"], "AUDIO_PROCESSING_FAILED");
    post.socket.send(Message::text("{")).await.unwrap();
    let malformed = post.error().await;
    assert_eq!(malformed["code"], "UNKNOWN_ERROR");
    assert!(malformed["details"]["reason"].is_string());
    post.socket
        .send(Message::text(" ".repeat(limits::VOICE_CHANNEL_MESSAGE + 1)))
        .await
        .unwrap();
    assert_eq!(post.error().await["code"], "UNKNOWN_ERROR");
    assert_eq!(met(&relay, hit::VOICE_CHANNEL_MESSAGE).await, 1.0);
    assert_eq!(sessions(&relay).await, 1.0, "it goes on");
    post.socket.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(post.closed().await.0, 1003);
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_upstream_that_cannot_be_reached_ends_the_session_and_the_socket_stays() {
    let fake = Fake::start(&[Plan::Refuse]).await;
    let front = front(&fake, &[]);
    let token = front.token("kiosk").await;
    let (mut post, id) = Post::start(&front, &token, json!({})).await;
    let error = post.error().await;
    assert_eq!(
        (&error["code"], &error["session_id"]),
        (&json!("OPENAI_CONNECTION_FAILED"), &json!(id))
    );
    none_left(&front).await;
    assert_eq!(ended(&front, "upstream").await, 1.0);
    // Another one may be begun on the same connection.
    let again = post.begin(json!({"loopback": true})).await;
    assert_ne!(again, id);
    post.send(json!({"type": "session.stop"})).await;
    none_left(&front).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_second_session_ends_the_first_before_it_begins() {
    let fake = Fake::start(&[Plan::Serve]).await;
    let front = front(&fake, &[]);
    let token = front.token("kiosk").await;
    let (mut post, first) = Post::start(&front, &token, json!({})).await;
    front
        .until("the upstream is reached", || async { fake.is_open() })
        .await;
    post.send(json!({"type": "session.start"})).await;
    let over = post.error().await;
    assert_eq!(
        (&over["code"], &over["session_id"]),
        (&json!("SESSION_NOT_FOUND"), &json!(first))
    );
    assert_eq!(over["details"]["reason"], "replaced");
    let second = post.until("session.started").await["session_id"].clone();
    assert_ne!(second, first.as_str());
    assert_eq!(sessions(&front).await, 1.0);
    front
        .until("the first upstream let go", || async {
            fake.dialled() == 2 && fake.open.load(std::sync::atomic::Ordering::Relaxed) == 1
        })
        .await;
    drop(post);
    none_left(&front).await;
    front
        .until("the second let go", || async { !fake.is_open() })
        .await;
}

/// Each way a session ends, with an upstream that has to be let go.
#[tokio::test(flavor = "current_thread")]
async fn each_end_frees_everything() {
    let fake = Fake::start(&[Plan::Serve]).await;
    let front = front(&fake, &["--session-idle", "4s", "--session-max", "6s"]);
    let token = front
        .token_for("restaurant_id=demo&role=server&sub=bob")
        .await;
    let manager = front.token("manager").await;
    let started = || async {
        let (post, id) = Post::start(&front, &token, json!({})).await;
        front
            .until("the upstream is reached", || async { fake.is_open() })
            .await;
        (post, id)
    };
    let gone = || async {
        none_left(&front).await;
        front
            .until("the upstream let go", || async { !fake.is_open() })
            .await;
    };
    // A stop, a close, a socket that breaks.
    let (mut post, _) = started().await;
    post.send(json!({"type": "session.stop"})).await;
    gone().await;
    let (mut post, _) = started().await;
    post.close().await;
    gone().await;
    let (post, _) = started().await;
    drop(post);
    gone().await;
    assert_eq!(ended(&front, "client").await, 3.0);
    // Nobody sends anything.
    let (mut post, _) = started().await;
    assert_eq!(post.error().await["details"]["reason"], "idle");
    gone().await;
    // A client that sends silence is there, and comes to the longest there may be.
    let (mut post, _) = started().await;
    let over = loop {
        post.audio(&[0; 1_200]).await;
        let wait = std::time::Duration::from_millis(200);
        if let Ok(event) = tokio::time::timeout(wait, post.next()).await {
            break event;
        }
    };
    assert_eq!(over["error"]["details"]["reason"], "length", "{over}");
    gone().await;
    // An operator, a hang-up, a revocation.
    let (mut post, id) = started().await;
    let path = format!("/api/v1/sessions/{id}");
    let answer = front
        .http()
        .await
        .send("DELETE", &path, &manager, &[], "")
        .await
        .unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(post.error().await["details"]["reason"], "operator");
    assert_eq!(post.closed().await.0, 1000);
    gone().await;
    let (mut post, id) = started().await;
    let path = format!("/calls/{id}/hangup");
    let answer = crate::post(&front, &path, &token, "application/json", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(post.error().await["details"]["reason"], "hangup");
    gone().await;
    let (mut post, _) = started().await;
    let answer = front
        .http()
        .await
        .post(
            "/api/v1/restaurants/demo/revoke",
            &manager,
            r#"{"sub":"bob"}"#,
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(post.closed().await.0, 4001);
    gone().await;
    for reason in ["idle", "length", "operator", "hangup", "revoked"] {
        assert_eq!(ended(&front, reason).await, 1.0, "{reason}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_shutdown_tells_those_with_a_session_and_those_without() {
    let fake = Fake::start(&[Plan::Serve]).await;
    let mut front = front(&fake, &[]);
    let token = front.token("kiosk").await;
    let (mut post, _) = Post::start(&front, &token, json!({})).await;
    let mut idle = Post::open(&front, &token).await;
    let mut unknown = Post::connect(&front).await.unwrap();
    unknown.next().await;
    front
        .until("the upstream is reached", || async { fake.is_open() })
        .await;
    front.signal(rustix::process::Signal::TERM);
    for post in [&mut post, &mut idle, &mut unknown] {
        let (code, reason) = post.closed().await;
        assert_eq!(code, 1012);
        assert!(reason.contains("reconnect_after_ms="), "{reason}");
    }
    assert_eq!(front.ended().await.code(), Some(0));
    let open = &fake.open;
    for _ in 0..500 {
        if open.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the upstream is still held");
}

#[tokio::test(flavor = "current_thread")]
async fn its_bounds_are_met_and_counted() {
    let relay = relay(&["--voice-rate", "10/s,burst=40"]);
    let token = relay.token("kiosk").await;
    let mut held = Vec::new();
    for _ in 0..limits::VOICE_PERSON {
        held.push(Post::start(&relay, &token, json!({"loopback": true})).await);
    }
    let mut over = Post::open(&relay, &token).await;
    over.send(json!({"type": "session.start"})).await;
    let error = over.error().await;
    assert_eq!(error["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(met(&relay, hit::VOICE_PERSON).await, 1.0);
    // A place that is given back is one.
    held.pop();
    relay
        .until("a place", || async { sessions(&relay).await == 1.0 })
        .await;
    over.begin(json!({"loopback": true})).await;
    // More sound than a burst.
    let piece = vec![0; 96 * 1024];
    let error = loop {
        over.audio(&piece).await;
        let event = over.next().await;
        if event["type"] == "error" {
            break event["error"].clone();
        }
    };
    assert_eq!(error["code"], "RATE_LIMIT_EXCEEDED", "{error}");
    assert!(met(&relay, hit::VOICE_AUDIO).await >= 1.0);
    // Messages, for too long.
    let (mut post, _) = held.pop().unwrap();
    let flood = async {
        loop {
            let _ = post
                .socket
                .send(Message::text(r#"{"type":"heartbeat"}"#))
                .await;
            let wait = std::time::Duration::from_millis(2);
            let message = tokio::time::timeout(wait, post.message()).await;
            if let Ok(Message::Close(Some(frame))) = message {
                return u16::from(frame.code);
            }
        }
    };
    assert_eq!(tokio::time::timeout(DEADLINE, flood).await.unwrap(), 4029);
    assert!(met(&relay, hit::VOICE_MESSAGES).await >= 1.0);
    drop(over);
    none_left(&relay).await;
    assert_eq!(ended(&relay, "rate").await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn the_most_verbose_log_has_no_word_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let relay = Relay::start_logging(Path::new(":memory:"), &log, "trace");
    let token = relay.token("kiosk").await;
    let (mut post, _) = Post::start(&relay, &token, json!({"loopback": true})).await;
    post.audio(&pcm_tone(1_200)).await;
    post.until("transcript").await;
    let audio = BASE64_STANDARD.encode(pcm_tone(20));
    post.close().await;
    none_left(&relay).await;
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("voice session begins"));
    for secret in [token.as_str(), "s of sound", &audio[..40]] {
        assert!(!text.contains(secret));
    }
}
