//! What ends a call that nobody ends.

use crate::caller::Caller;
use crate::support::*;
use crate::{code, none_left, post, relay, secret, sessions};
use serde_json::json;
use tautline_protocol::limits::{self, hit};

async fn ended(relay: &Relay, reason: &str) -> f64 {
    let name = format!("tautline_voice_ended_total{{reason=\"{reason}\"}}");
    relay.metric(&name).await
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_is_never_set_up_is_gone() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let (_, offer) = Caller::new().await;
    let answer = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    assert_eq!(answer.status, 201);
    assert_eq!(sessions(&relay).await, 1.0);
    none_left(&relay).await;
    assert_eq!(ended(&relay, "setup").await, 1.0);
    assert_eq!(met(&relay, hit::VOICE_SETUP).await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn calls_that_are_being_set_up_are_bounded() {
    let relay = relay(&["--rate-limit", "1000/s,burst=1000"]);
    let token = relay.token("manager").await;
    let (_, offer) = Caller::new().await;
    for n in 0..limits::VOICE_HALF_OPEN {
        let answer = post(&relay, "/calls", &token, "application/sdp", &offer).await;
        assert_eq!(answer.status, 201, "{n} {answer:?}");
    }
    assert_eq!(met(&relay, hit::VOICE_HALF_OPEN).await, 0.0);
    let over = post(&relay, "/calls", &token, "application/sdp", &offer).await;
    assert_eq!(
        (over.status, code(&over).as_str()),
        (429, "rate_limit_exceeded")
    );
    assert!(over.header("retry-after").is_some());
    assert_eq!(met(&relay, hit::VOICE_HALF_OPEN).await, 1.0);
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_that_falls_silent_is_gone() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let caller = Caller::call(&relay, &key).await;
    // Held, but not run: as a page that was killed.
    none_left(&relay).await;
    drop(caller);
    assert_eq!(ended(&relay, "silence").await, 1.0);
    assert_eq!(met(&relay, hit::VOICE_SILENCE).await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_has_a_longest_duration_and_is_told_before() {
    let relay = relay(&["--session-max", "3s"]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call(&relay, &key).await;
    let warned = caller.until("tautline.session.expiring").await;
    assert!(warned["remaining_ms"].as_u64().unwrap() <= 1500, "{warned}");
    let error = caller.until("error").await;
    assert_eq!(error["error"]["code"], "session_expired");
    caller.until_closed().await;
    none_left(&relay).await;
    assert_eq!(ended(&relay, "length").await, 1.0);
    assert_eq!(met(&relay, hit::VOICE_LENGTH).await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_in_which_nobody_does_anything_ends() {
    let relay = relay(&["--session-idle", "2s"]);
    let key = secret(&relay, "kiosk").await;
    let mut caller = Caller::call(&relay, &key).await;
    let error = caller.until("error").await;
    assert_eq!(error["error"]["code"], "session_idle");
    caller.until_closed().await;
    none_left(&relay).await;
    assert_eq!(ended(&relay, "idle").await, 1.0);
    assert_eq!(met(&relay, hit::VOICE_IDLE).await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_customer_has_two_and_a_restaurant_s_server_more() {
    let relay = relay(&[]);
    let key = secret(&relay, "customer").await;
    let one = Caller::call(&relay, &key).await;
    let _two = Caller::call(&relay, &key).await;
    let (_, offer) = Caller::new().await;
    assert_eq!(met(&relay, hit::VOICE_PERSON).await, 0.0);
    let over = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    assert_eq!(
        (over.status, code(&over).as_str()),
        (429, "rate_limit_exceeded")
    );
    assert_eq!(met(&relay, hit::VOICE_PERSON).await, 1.0);
    let hang_up = format!("/calls/{}/hangup", one.id);
    post(&relay, &hang_up, &key, "application/json", "").await;
    relay
        .until("one place", || async { sessions(&relay).await == 1.0 })
        .await;
    Caller::call(&relay, &key).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_revoked_token_ends_its_calls_and_a_shutdown_all() {
    let mut relay = relay(&[]);
    let token = relay
        .token_for("restaurant_id=demo&role=kiosk&sub=ann")
        .await;
    let mut caller = Caller::call(&relay, &token).await;
    let key = crate::mint(&relay, &token, json!({})).await.json()["value"]
        .as_str()
        .unwrap()
        .to_owned();
    // A token's `iat` has whole seconds: what is revoked is what was made before the next.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let manager = relay.token("manager").await;
    let revoked = relay
        .http()
        .await
        .post(
            "/api/v1/restaurants/demo/revoke",
            &manager,
            r#"{"sub":"ann"}"#,
        )
        .await;
    assert_eq!(revoked.json()["closed"], 1, "{revoked:?}");
    caller.until_closed().await;
    none_left(&relay).await;
    let (_, offer) = Caller::new().await;
    let with = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    assert_eq!(
        (with.status, code(&with).as_str()),
        (401, "invalid_api_key")
    );
    let mut other = Caller::call(&relay, &manager).await;
    relay.signal(rustix::process::Signal::TERM);
    other.until_closed().await;
    assert_eq!(relay.ended().await.code(), Some(0));
}
