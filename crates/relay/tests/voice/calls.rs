//! Calls: they come about, talk, make orders, end, and leave nothing.

use crate::caller::{Caller, tone};
use crate::sockets::Session;
use crate::support::*;
use crate::{code, none_left, post, relay, secret, sessions};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

#[tokio::test(flavor = "current_thread")]
async fn a_call_comes_about_and_acknowledges_its_settings() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call(&relay, &key).await;
    caller.send(json!({"type":"session.update","event_id":"mine","session":{"type":"realtime","instructions":"Be brief."}}));
    let updated = caller.until("session.updated").await;
    assert_eq!(updated["session"]["instructions"], "Be brief.");
    assert_eq!(sessions(&relay).await, 1.0);
    let path = format!("/calls/{}/hangup", caller.id);
    let hung_up = post(&relay, &path, &key, "application/json", "").await;
    assert_eq!(hung_up.status, 200);
    caller.until_closed().await;
    none_left(&relay).await;
    // A client that hangs up a call whose end was seen already has done nothing wrong; to others it is not there.
    let again = post(&relay, &path, &key, "application/json", "").await;
    assert_eq!(again.status, 200);
    let other = secret(&relay, "server").await;
    let others = post(&relay, &path, &other, "application/json", "").await;
    assert_eq!(
        (others.status, code(&others).as_str()),
        (404, "call_not_found")
    );
    let ended = relay
        .metric("tautline_voice_ended_total{reason=\"hangup\"}")
        .await;
    assert_eq!(ended, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_spoken_turn_is_heard_and_said_back() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call(&relay, &key).await;
    caller.speak(tone(50, 100));
    caller.until("input_audio_buffer.speech_started").await;
    caller.until("input_audio_buffer.speech_stopped").await;
    caller.until("input_audio_buffer.committed").await;
    caller.until("output_audio_buffer.started").await;
    let done = caller.until("response.done").await;
    assert_eq!(done["response"]["status"], "completed", "{done}");
    let loud = |caller: &Caller| {
        let loud = |frame: &Vec<u8>| frame.iter().filter(|&&b| b & 0x7f < 0x50).count() > 40;
        caller.heard.iter().filter(|frame| loud(frame)).count()
    };
    caller
        .run("the sound back", |caller| loud(caller) >= 25)
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_text_turn_becomes_an_order_of_the_sessions_own_role_and_sub() {
    let relay = relay(&[]);
    let token = relay
        .token_for("restaurant_id=demo&role=kiosk&sub=kiosk-7")
        .await;
    let mut caller = Caller::call(&relay, &token).await;
    caller.say("two bacon burgers no pickles and a cola").await;
    let called = |done: &Value, name: &str| {
        let output = done["response"]["output"].as_array().unwrap().clone();
        output
            .into_iter()
            .find(|item| item["type"] == "function_call" && item["name"] == name)
    };
    caller.events.clear();
    let done = caller.say("that's all, submit").await;
    assert!(called(&done, "submit_order").is_some(), "{done}");
    let manager = relay.token("manager").await;
    let mut orders = Value::Null;
    for _ in 0..500 {
        orders = relay.http().await.get(ORDERS, &manager).await.json()["orders"].take();
        if orders.as_array().is_some_and(|orders| !orders.is_empty()) {
            break;
        }
        caller.run_for(Duration::from_millis(10)).await;
    }
    let order = &orders[0];
    assert_eq!(order["created_by"], "kiosk-7", "{orders}");
    let names = order["items"].to_string().to_lowercase();
    assert!(
        names.contains("bacon burger") && names.contains("cola"),
        "{names}"
    );
}

/// Two megabytes, four times what the channel's buffer holds.
#[tokio::test(flavor = "current_thread")]
async fn events_that_the_channel_has_no_room_for_wait_and_come_in_order() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call(&relay, &key).await;
    let long = "x".repeat(20_000);
    caller.send(json!({"type":"session.update","session":{"type":"realtime","instructions":long}}));
    caller.until("session.updated").await;
    for n in 0..100 {
        caller.send(json!({"type":"session.update","session":{"type":"realtime","max_output_tokens":n + 1}}));
        caller.run_for(Duration::from_millis(1)).await;
    }
    for n in 0..100 {
        let updated = caller.until("session.updated").await;
        assert_eq!(updated["session"]["max_output_tokens"], n + 1);
        assert_eq!(
            updated["session"]["instructions"].as_str().unwrap().len(),
            20_000
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn offers_that_cannot_be_answered_say_what_to_do() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let (_, offer) = Caller::new().await;
    let refused = async |kind: &str, body: &str| {
        let answer = post(&relay, "/calls", &key, kind, body).await;
        (answer.status, code(&answer))
    };
    let bad = |code: &str| (400, code.to_owned());
    assert_eq!(
        refused("application/sdp", "hello").await,
        bad("invalid_offer")
    );
    let silent = offer.replace("m=audio", "m=video");
    assert_eq!(
        refused("application/sdp", &silent).await,
        bad("invalid_offer")
    );
    let torn: String = offer.chars().take(offer.len() / 3).collect();
    assert_eq!(
        refused("application/sdp", &torn).await,
        bad("invalid_offer")
    );
    let nobody = offer.replace("a=fingerprint", "a=no-fingerprint");
    assert_eq!(
        refused("application/sdp", &nobody).await,
        bad("invalid_offer")
    );
    assert_eq!(refused("text/plain", &offer).await.0, 415);
    assert_eq!(sessions(&relay).await, 0.0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_form_brings_the_session_with_the_offer() {
    let relay = relay(&[]);
    let token = relay.token("manager").await;
    let (mut caller, offer) = Caller::new().await;
    let session =
        json!({"type":"realtime","instructions":"Out of the form.","output_modalities":["text"]});
    let form = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"session\"\r\nContent-Type: application/json\r\n\r\n{session}\r\n--XX\r\nContent-Disposition: form-data; name=\"sdp\"; filename=\"offer.sdp\"\r\n\r\n{offer}\r\n--XX--\r\n"
    );
    let kind = "multipart/form-data; boundary=XX";
    let answer = post(&relay, "/calls", &token, kind, &form).await;
    caller.answered(&answer);
    let created = caller.until("session.created").await;
    assert_eq!(created["session"]["instructions"], "Out of the form.");
    assert_eq!(created["session"]["output_modalities"], json!(["text"]));
}

#[tokio::test(flavor = "current_thread")]
async fn where_udp_is_closed_a_call_takes_tcp() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call_by_tcp(&relay, &key).await;
    let done = caller.say("a cola").await;
    assert_eq!(done["response"]["status"], "completed");
    caller.speak(tone(40, 60));
    caller.until("input_audio_buffer.speech_started").await;
    let files = relay.descriptors();
    let path = format!("/calls/{}/hangup", caller.id);
    post(&relay, &path, &key, "application/json", "").await;
    // With the call, not when its peer has been silent for too long: that is 10 s.
    tokio::time::timeout(Duration::from_secs(5), none_left(&relay))
        .await
        .unwrap();
    relay
        .until("its connection let go", || async {
            relay.descriptors() < files
        })
        .await;
}

/// Throws at the first response asked for.
const PANICS: &str = r#"
[[step]]
on = "response.create"
then = [{ fault = { panic = {} } }]
"#;

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_panics_is_found_by_nothing_any_more_and_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("panics.toml");
    std::fs::write(&script, PANICS).unwrap();
    let relay = relay(&["--upstream", &format!("script:{}", script.display())]);
    let token = relay.token("server").await;
    let (mut one, other) = (
        Caller::call(&relay, &token).await,
        Caller::call(&relay, &token).await,
    );
    one.send(json!({"type": "response.create"}));
    for _ in 0..500 {
        if sessions(&relay).await == 1.0 {
            break;
        }
        one.run_for(Duration::from_millis(20)).await;
    }
    assert_eq!(relay.metric("tautline_session_panics_total").await, 1.0);
    for index in ["calls", "names"] {
        let gauge = format!("tautline_voice_index{{index=\"{index}\"}}");
        assert_eq!(relay.metric(&gauge).await, 1.0, "{index}");
    }
    let path = format!("/calls/{}/hangup", other.id);
    let answer = post(&relay, &path, &token, "application/json", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn fifty_calls_at_once_each_with_its_own_answers() {
    let relay = relay(&[]);
    let token = relay.token("server").await;
    let mut callers = join_all((0..50).map(|_| Caller::call(&relay, &token))).await;
    assert_eq!(sessions(&relay).await, 50.0);
    let answers = join_all(callers.iter_mut().enumerate().map(async |(n, caller)| {
        let marker = format!("Be number {n}.");
        caller.send(
            json!({"type":"session.update","session":{"type":"realtime","instructions":marker}}),
        );
        let updated = caller.until("session.updated").await;
        assert_eq!(updated["session"]["instructions"], marker);
        let done = caller.say("a cola").await;
        done["response"]["status"] == "completed"
    }))
    .await;
    assert!(answers.into_iter().all(|completed| completed));
    let manager = relay.token("manager").await;
    let view = relay
        .http()
        .await
        .get("/api/v1/sessions", &manager)
        .await
        .json();
    let voices = view["sessions"].as_array().unwrap();
    assert_eq!(
        voices.iter().filter(|one| one["kind"] == "voice").count(),
        50
    );
    let hang_up = async |id: &str| {
        let path = format!("/api/v1/sessions/{id}");
        let mut http = relay.http().await;
        http.send("DELETE", &path, &manager, &[], "")
            .await
            .unwrap()
            .status
    };
    for caller in &callers {
        assert_eq!(hang_up(&caller.id).await, 204);
    }
    none_left(&relay).await;
}

/// Nothing that lets somebody in, and nothing that anybody said.
#[tokio::test(flavor = "current_thread")]
async fn the_most_verbose_log_has_no_secret_and_no_word() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let relay = Relay::start_logging(Path::new(":memory:"), &log, "trace");
    let token = relay.token("kiosk").await;
    let key = secret(&relay, "kiosk").await;
    let (mut caller, offer) = Caller::new().await;
    let answer = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    caller.answered(&answer);
    caller.until("session.created").await;
    let mut secrets: Vec<String> = vec![token, key.clone()];
    for sdp in [&offer, &answer.body] {
        for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
            let value = sdp
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap();
            secrets.push(value.to_owned());
        }
    }
    caller.send(json!({"type":"session.update","session":{"type":"realtime","instructions":"whispered instructions"}}));
    caller.say("two bacon burgers no pickles and a cola").await;
    caller.say("that's all, submit").await;
    caller.send_text("not an event: zanzibar");
    caller.until("error").await;
    let offered = format!("realtime, openai-insecure-api-key.{key}");
    let mut session = Session::open(&relay, "", None, Some(&offered))
        .await
        .unwrap();
    session.until("session.created").await;
    let path = format!("/calls/{}/hangup", caller.id);
    post(&relay, &path, &key, "application/json", "").await;
    caller.until_closed().await;
    drop(session);
    none_left(&relay).await;
    secrets.extend(["bacon", "whispered", "zanzibar", "ek_", "I heard"].map(String::from));
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("voice session ends") && log.contains(&caller.id));
    for secret in secrets {
        assert!(
            !log.to_lowercase().contains(&secret.to_lowercase()),
            "{secret}"
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn three_hundred_calls_leave_nothing() {
    let relay = relay(&["--rate-limit", "1000/s,burst=1000"]);
    let token = relay.token("manager").await;
    let files = relay.descriptors();
    let memory = async || relay.metric("process_resident_memory_bytes").await;
    let mut settled = 0.0;
    for n in 0..300 {
        if n == 150 {
            // As many at once have been there by then as will be: what an allocator keeps for the next is not counted.
            none_left(&relay).await;
            settled = memory().await;
        }
        let mut caller = Caller::call(&relay, &token).await;
        if n % 3 == 0 {
            let path = format!("/calls/{}/hangup", caller.id);
            let answer = post(&relay, &path, &token, "application/json", "").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            caller.until_closed().await;
        }
    }
    // Those that were not hung up go for their silence.
    none_left(&relay).await;
    let metrics = relay.http().await.get("/metrics", "").await.body;
    assert!(!metrics.contains("reason=\"panic\"} 1"));
    relay
        .until("every file", || async { relay.descriptors() <= files + 2 })
        .await;
    let grown = memory().await - settled;
    println!("{grown} bytes more after 150 calls");
    // What one call takes up is about 200 KB: a tenth of that a call would be a leak.
    assert!(grown < 150.0 * 20_000.0, "{grown}");
    for gauge in ["calls", "names", "sources", "deadlines", "half_open"] {
        let name = format!("tautline_voice_index{{index=\"{gauge}\"}}");
        assert_eq!(relay.metric(&name).await, 0.0, "{gauge}");
    }
}
