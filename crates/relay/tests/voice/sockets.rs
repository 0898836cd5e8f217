//! Sessions over a WebSocket, and sidebands.

use crate::caller::Caller;
use crate::support::*;
use crate::{none_left, relay, secret, sessions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tautline_protocol::limits::hit;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// A client of `/v1/realtime`.
pub(crate) struct Session {
    socket: WebSocketStream<Box<dyn Line>>,
    pub(crate) protocol: Option<String>,
}

impl Session {
    /// With a bearer token, or with subprotocols; `Err` is the status of the refusal.
    pub(crate) async fn open(
        relay: &Relay,
        query: &str,
        bearer: Option<&str>,
        protocols: Option<&str>,
    ) -> Result<Self, u16> {
        let url = format!("ws://{}/v1/realtime{query}", relay.address);
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        if let Some(token) = bearer {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        if let Some(protocols) = protocols {
            headers.insert("sec-websocket-protocol", protocols.parse().unwrap());
        }
        match client_async(request, relay.line().await).await {
            Ok((socket, answer)) => Ok(Self {
                socket,
                protocol: answer
                    .headers()
                    .get("sec-websocket-protocol")
                    .map(|value| value.to_str().unwrap().to_owned()),
            }),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn send(&mut self, event: Value) {
        self.send_text(event.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        assert!(self.try_send(text).await, "it cannot be sent");
    }

    /// Whether it could be sent.
    pub(crate) async fn try_send(&mut self, text: String) -> bool {
        self.socket.send(Message::text(text)).await.is_ok()
    }

    async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(DEADLINE, self.socket.next()).await;
        next.unwrap().unwrap().unwrap()
    }

    /// The next event.
    pub(crate) async fn next_event(&mut self) -> Value {
        loop {
            match self.next().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next event of that type; those before it are passed over.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next_event().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Until it ends, however it does.
    pub(crate) async fn is_over(&mut self) {
        let ends = async {
            while let Some(Ok(message)) = self.socket.next().await {
                if message.is_close() {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, ends).await.unwrap();
    }

    /// Code and reason of the close; events before it are passed over.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(Some(frame)) = self.next().await {
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_browser_says_who_it_is_in_the_subprotocol_and_only_realtime_is_echoed() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let offered = format!("realtime, openai-insecure-api-key.{key}, openai-agents-sdk.0.20.0");
    let mut session = Session::open(&relay, "?model=gpt-realtime", None, Some(&offered))
        .await
        .unwrap();
    assert_eq!(session.protocol.as_deref(), Some("realtime"));
    let created = session.until("session.created").await;
    assert_eq!(created["session"]["model"], "gpt-realtime");
    let server = Session::open(&relay, "?model=gpt-realtime", Some(&key), None).await;
    assert_eq!(server.unwrap().protocol, None);
    for (query, bearer, status) in [
        ("?model=gpt-realtime", Some("ek_made-up"), 401),
        ("?model=gpt-realtime", None, 401),
        ("?intent=transcription", Some(key.as_str()), 400),
        ("?model=m&call_id=rtc_1", Some(key.as_str()), 400),
        ("?call_id=rtc_nobody", Some(key.as_str()), 404),
    ] {
        let refused = Session::open(&relay, query, bearer, None).await;
        assert_eq!(refused.err(), Some(status), "{query}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn sound_goes_in_and_comes_back_in_events() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut session = Session::open(&relay, "?model=gpt-realtime", Some(&key), None)
        .await
        .unwrap();
    let update = json!({"type":"session.update","session":{"type":"realtime","audio":{"input":{"turn_detection":null}}}});
    session.send(update).await;
    session.until("session.updated").await;
    let samples = (0..24_000).map(|n| ((f64::from(n) * 0.1).sin() * 9_000.0) as i16);
    let bytes: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    for chunk in bytes.chunks(9_600) {
        let audio = BASE64_STANDARD.encode(chunk);
        session
            .send(json!({"type":"input_audio_buffer.append","audio":audio}))
            .await;
    }
    session
        .send(json!({"type":"input_audio_buffer.commit"}))
        .await;
    session.until("input_audio_buffer.committed").await;
    session.send(json!({"type":"response.create"})).await;
    let delta = session.until("response.output_audio.delta").await;
    assert!(
        !BASE64_STANDARD
            .decode(delta["delta"].as_str().unwrap())
            .unwrap()
            .is_empty()
    );
    let done = session.until("response.done").await;
    assert_eq!(done["response"]["status"], "completed");
}

#[tokio::test(flavor = "current_thread")]
async fn a_sideband_sees_a_call_and_may_speak_for_it() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call(&relay, &key).await;
    let manager = relay.token("manager").await;
    let stranger = relay
        .token_for("restaurant_id=demo&role=kiosk&sub=bob")
        .await;
    let query = format!("?call_id={}", caller.id);
    let refused = Session::open(&relay, &query, Some(&stranger), None).await;
    assert_eq!(refused.err(), Some(403));
    let mut side = Session::open(&relay, &query, Some(&manager), None)
        .await
        .unwrap();
    let created = side.until("session.created").await;
    assert!(
        created["session"]["id"]
            .as_str()
            .unwrap()
            .starts_with("sess_")
    );
    caller.say("a cola").await;
    side.until("response.done").await;
    side.send(json!({"type":"session.update","session":{"type":"realtime","instructions":"From the side."}}))
        .await;
    let updated = caller.until("session.updated").await;
    assert_eq!(updated["session"]["instructions"], "From the side.");
    side.until("session.updated").await;
    assert_eq!(sessions(&relay).await, 1.0, "a sideband is no session");
    let path = format!("/calls/{}/hangup", caller.id);
    crate::post(&relay, &path, &manager, "application/json", "").await;
    assert_eq!(side.closed().await, (1000, "the session has ended".into()));
    caller.until_closed().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_session_ends_1001_with_a_reason_at_its_longest_duration() {
    let relay = relay(&["--session-max", "1s"]);
    let key = secret(&relay, "kiosk").await;
    let mut session = Session::open(&relay, "", Some(&key), None).await.unwrap();
    session.until("tautline.session.expiring").await;
    let (code, reason) = session.closed().await;
    assert_eq!(code, 1001);
    assert!(reason.contains("duration"), "{reason}");
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_flood_is_told_so_and_closed_4029() {
    let relay = relay(&["--voice-rate", "10/s,burst=20"]);
    let key = secret(&relay, "kiosk").await;
    let mut session = Session::open(&relay, "", Some(&key), None).await.unwrap();
    session.until("session.created").await;
    let closed = async {
        let mut told = false;
        loop {
            session
                .socket
                .send(Message::text(r#"{"type":"input_audio_buffer.clear"}"#))
                .await
                .ok();
            let wait =
                tokio::time::timeout(std::time::Duration::from_millis(2), session.socket.next());
            match wait.await {
                Ok(Some(Ok(Message::Text(text)))) => told |= text.contains("rate_limit_exceeded"),
                Ok(Some(Ok(Message::Close(Some(frame))))) => return (told, u16::from(frame.code)),
                Ok(None | Some(Err(_))) => panic!("it ends without a word"),
                _ => {}
            }
        }
    };
    let closed = tokio::time::timeout(DEADLINE, closed).await.unwrap();
    assert_eq!(closed, (true, 4029));
    assert!(met(&relay, hit::VOICE_MESSAGES).await > 0.0);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_event_is_answered() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut session = Session::open(&relay, "", Some(&key), None).await.unwrap();
    session.socket.send(Message::text("{")).await.unwrap();
    assert_eq!(
        session.until("error").await["error"]["code"],
        "invalid_event"
    );
    session.socket.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(
        session.until("error").await["error"]["code"],
        "invalid_event"
    );
    session
        .socket
        .send(Message::Ping(vec![7].into()))
        .await
        .unwrap();
    loop {
        if let Message::Pong(payload) = session.next().await {
            assert_eq!(payload[..], [7]);
            break;
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_closes_leaves_nothing() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut session = Session::open(&relay, "", Some(&key), None).await.unwrap();
    session.until("session.created").await;
    session.socket.close(None).await.unwrap();
    none_left(&relay).await;
    let session = Session::open(&relay, "", Some(&key), None).await.unwrap();
    drop(session);
    none_left(&relay).await;
    let ended = relay
        .metric("tautline_voice_ended_total{reason=\"client\"}")
        .await;
    assert_eq!(ended, 2.0);
}
