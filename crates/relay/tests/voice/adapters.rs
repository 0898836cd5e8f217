//! Sessions that somebody else holds: an upstream that breaks, and scripts.

use crate::caller::Caller;
use crate::fake::{Fake, KEY, Plan};
use crate::sockets::Session;
use crate::support::*;
use crate::{none_left, relay, secret};
use serde_json::json;
use std::path::Path;

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/examples/voice-script.toml"
);

pub(crate) fn front(fake: &Fake, args: &[&str]) -> Relay {
    let log = std::fs::File::create(fake.folder.path().join("log")).unwrap();
    let mut command = command();
    command
        .env("OPENAI_API_KEY", KEY)
        .env("OPENAI_BASE_URL", &fake.base)
        .stderr(log);
    let mut all = vec![
        "--upstream",
        "openai",
        "--upstream-ca",
        &fake.ca,
        "--log-level",
        "trace",
    ];
    all.extend(args);
    Relay::spawn(command, Path::new(":memory:"), &all)
}

async fn session(relay: &Relay) -> Session {
    let key = secret(relay, "kiosk").await;
    Session::open(relay, "?model=gpt-realtime", Some(&key), None)
        .await
        .unwrap()
}

async fn say(session: &mut Session, text: &str) {
    let item =
        json!({"type":"message","role":"user","content":[{"type":"input_text","text":text}]});
    session
        .send(json!({"type":"conversation.item.create","item":item}))
        .await;
    session.send(json!({"type":"response.create"})).await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_upstream_that_breaks_in_a_turn_is_reached_again_and_given_what_was_said() {
    let fake = Fake::start(&[Plan::BreakInTurn, Plan::Refuse, Plan::Serve]).await;
    let front = front(&fake, &[]);
    let mut session = session(&front).await;
    session.until("session.updated").await;
    say(&mut session, "a cola").await;
    session.until("response.created").await;
    let done = session.until("response.done").await;
    assert_eq!(done["response"]["status"], "failed");
    let lost = session.until("error").await;
    assert_eq!(lost["error"]["code"], "upstream_turn_lost");
    session.send(json!({"type":"response.create"})).await;
    // Nothing of the new session is told twice: the next word is the answer.
    let created = session.next_event().await;
    assert_eq!(created["type"], "response.created", "{created}");
    let done = session.until("response.done").await;
    assert_eq!(done["response"]["status"], "completed");
    assert_eq!(fake.dialled(), 3);
    assert_eq!(
        fake.kinds(2),
        [
            "session.update",
            "conversation.item.create",
            "response.create"
        ]
    );
    let words = fake.heard.lock().unwrap()[2][1]["item"]["content"][0]["text"].clone();
    assert_eq!(words, "a cola");
    drop(session);
    none_left(&front).await;
    front
        .until("the upstream let go", || async { !fake.is_open() })
        .await;
    let log = std::fs::read_to_string(fake.folder.path().join("log")).unwrap();
    assert!(!log.contains(KEY) && !log.contains("a cola"));
}

#[tokio::test(flavor = "current_thread")]
async fn an_upstream_that_stays_away_is_given_up_with_a_clear_error() {
    let fake = Fake::start(&[Plan::BreakInTurn, Plan::Refuse]).await;
    let front = front(&fake, &[]);
    let mut session = session(&front).await;
    session.until("session.updated").await;
    say(&mut session, "a cola").await;
    session.until("response.done").await;
    session.until("error").await;
    let error = session.until("error").await;
    assert_eq!(error["error"]["code"], "upstream_lost");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("5 tries"), "{message}");
    assert_eq!(session.closed().await, (1011, "upstream_lost".into()));
    assert_eq!(fake.dialled(), 6);
    none_left(&front).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_sideband_of_an_upstreams_session_is_told_what_it_is_and_may_speak() {
    let fake = Fake::start(&[Plan::Serve]).await;
    let front = front(&fake, &[]);
    let mut session = session(&front).await;
    session.until("session.updated").await;
    let manager = front.token("manager").await;
    let mut http = front.http().await;
    let view = http.get("/api/v1/sessions", &manager).await.json();
    let query = format!("?call_id={}", view["sessions"][0]["id"].as_str().unwrap());
    let mut side = Session::open(&front, &query, Some(&manager), None)
        .await
        .unwrap();
    let created = side.until("session.created").await;
    assert_eq!(created["session"]["id"], "sess_far");
    side.send(json!({"type":"response.create"})).await;
    session.until("response.done").await;
    side.until("response.done").await;
    drop(session);
    assert_eq!(side.closed().await.0, 1000);
    none_left(&front).await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_upstream_that_ends_a_session_is_not_dialled_again() {
    let fake = Fake::start(&[Plan::Close(1000)]).await;
    let front = front(&fake, &[]);
    let mut session = session(&front).await;
    session.send(json!({"type":"response.create"})).await;
    assert_eq!(session.closed().await, (1000, "far end".into()));
    assert_eq!(fake.dialled(), 1);
    none_left(&front).await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_example_script_is_played_over_a_websocket_and_survives_its_break() {
    let relay = relay(&["--upstream", &format!("script:{EXAMPLE}")]);
    let mut session = session(&relay).await;
    session.until("session.updated").await;
    session.send(crate::second_of_speech()).await;
    let heard = session
        .until("conversation.item.input_audio_transcription.completed")
        .await;
    assert_eq!(heard["transcript"], "Two colas, please.");
    session.until("response.output_audio.delta").await;
    let output = session.until("conversation.item.done").await;
    assert!(
        output["item"]["output"]
            .as_str()
            .unwrap()
            .contains("\"ok\":true"),
        "{output}"
    );
    // The relay asks for the answer to that, and the script has one.
    session.until("response.created").await;
    session.until("response.done").await;
    let manager = relay.token("manager").await;
    let orders = relay.http().await.get(ORDERS, &manager).await.json();
    assert_eq!(orders["orders"][0]["items"][0]["quantity"], 2, "{orders}");
    session.send(json!({"type":"response.create"})).await;
    session.until("response.created").await;
    let done = session.until("response.done").await;
    assert_eq!(done["response"]["status"], "failed");
    let lost = session.until("error").await;
    assert_eq!(lost["error"]["code"], "upstream_turn_lost");
    session.send(json!({"type":"response.create"})).await;
    assert_eq!(session.until("error").await["error"]["code"], "script_over");
    drop(session);
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_plays_the_script_over_rtp() {
    let relay = relay(&["--upstream", &format!("script:{EXAMPLE}")]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call(&relay, &key).await;
    caller.speak(crate::caller::tone(60, 0));
    caller.until("output_audio_buffer.started").await;
    caller.until("output_audio_buffer.stopped").await;
    // 600 ms of sound at its pace; a datagram may be lost.
    assert!(caller.heard.len() >= 25, "{}", caller.heard.len());
    assert!(
        !caller
            .events
            .iter()
            .any(|event| event["type"] == "response.output_audio.delta")
    );
    drop(caller);
    none_left(&relay).await;
}

/// Each fault, as a client of `/v1/realtime` sees it.
#[tokio::test(flavor = "current_thread")]
async fn a_script_does_wrong_what_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.toml");
    let at = format!("script:{}", path.display());
    for (fault, expected) in [
        (
            r#"{ error = { code = "server_error", message = "x" } }"#,
            "server_error",
        ),
        (r#"{ malformed = { text = "{" } }"#, "upstream_malformed"),
        (r#"{ close = { code = 1006 } }"#, "upstream_turn_lost"),
        (
            r#"{ close = { code = 4000, reason = "beta" } }"#,
            "closed 4000 beta",
        ),
        (r#"{ stall = { ms = 300 } }"#, "late"),
        (r#"{ slow = { ms = 300 } }"#, "late"),
    ] {
        let script = format!(
            "[[step]]\non = \"response.create\"\nthen = [{{ event = {{ type = \"before\" }} }}, {{ fault = {fault} }}, {{ event = {{ type = \"after\" }} }}]\n"
        );
        std::fs::write(&path, script).unwrap();
        let relay = relay(&["--upstream", &at]);
        let mut session = session(&relay).await;
        session.until("session.updated").await;
        session.send(json!({"type":"response.create"})).await;
        session.until("before").await;
        let began = std::time::Instant::now();
        match expected.split_once(' ') {
            Some(("closed", _)) => {
                let (code, reason) = session.closed().await;
                assert_eq!(format!("closed {code} {reason}"), expected);
            }
            _ if expected == "late" => {
                session.until("after").await;
                assert!(began.elapsed().as_millis() >= 250, "{fault}");
                drop(session);
            }
            _ => {
                let error = session.until("error").await;
                assert_eq!(error["error"]["code"], expected, "{fault}");
                drop(session);
            }
        }
        none_left(&relay).await;
    }
}

#[test]
fn a_script_that_cannot_be_played_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.toml");
    let at = format!("script:{}", path.display());
    let (status, _, error) = run(&[
        "serve",
        "--dev",
        "--data-dir",
        ":memory:",
        "--upstream",
        &at,
    ]);
    assert_eq!(status, 2, "{error}");
    std::fs::write(&path, "[[step]]\non = \"start\"\nthen = [{}]\n").unwrap();
    let (status, _, error) = run(&[
        "serve",
        "--dev",
        "--data-dir",
        ":memory:",
        "--upstream",
        &at,
    ]);
    assert_eq!(status, 2, "{error}");
    assert!(
        error.contains("step 1: then, entry 1: event or fault"),
        "{error}"
    );
    let (status, _, error) = run(&[
        "serve",
        "--dev",
        "--data-dir",
        ":memory:",
        "--upstream",
        "nobody",
    ]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("script:FILE"), "{error}");
}
