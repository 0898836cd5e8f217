//! The rows and rules of the orders socket that hold on `/voice-stream` too: a token's end and renewal, sessions in all and of
//! one restaurant, connections that have not said who they are.

use crate::stream::{Post, ended};
use crate::support::*;
use crate::{none_left, relay, sessions};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tautline_protocol::limits::{self, hit};

async fn lives(relay: &Relay, sub: &str, ttl: &str) -> String {
    let query = format!("restaurant_id=demo&role=kiosk&sub={sub}&ttl={ttl}");
    relay.token_for(&query).await
}

fn loopback() -> Value {
    json!({"loopback": true})
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_that_runs_out_ends_its_session_and_a_renewed_one_does_not() {
    // Half a minute and the leeway pass in three seconds.
    let relay = relay(&["--pace", "20", "--session-idle", "30m"]);
    let short = lives(&relay, "ann", "30s").await;
    let (mut renewed, id) = Post::start(&relay, &short, loopback()).await;
    renewed.auth(&lives(&relay, "ann", "12h").await).await;
    let success = renewed.until("auth:success").await;
    assert_eq!(success["renewal"], true, "{success}");
    let short = lives(&relay, "bob", "30s").await;
    let (mut post, _) = Post::start(&relay, &short, loopback()).await;
    // The other one reads on: pings are answered by those who read.
    let reading = async {
        loop {
            renewed.next().await;
        }
    };
    let (code, reason) = tokio::select! {
        closed = post.closed() => closed,
        never = reading => never,
    };
    assert_eq!(code, 4001, "{reason}");
    relay
        .until("its session has gone", || async {
            sessions(&relay).await == 1.0
        })
        .await;
    assert_eq!(ended(&relay, "expired").await, 1.0);
    // The other's first token ran out before that.
    renewed.send(json!({"type": "heartbeat"})).await;
    let heartbeat = renewed.until("heartbeat").await;
    assert_eq!(heartbeat["session_id"], id.as_str(), "the same session");
    renewed.close().await;
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_refused_renewal_leaves_the_session_alone() {
    let relay = relay(&[]);
    let (mut post, _) = Post::start(&relay, &lives(&relay, "ann", "1h").await, loopback()).await;
    post.auth(&lives(&relay, "bob", "1h").await).await;
    let failed = post.until("auth:failed").await;
    assert_eq!(
        (&failed["renewal"], &failed["code"]),
        (&json!(true), &json!("identity_changed"))
    );
    assert_eq!(met(&relay, hit::RENEWAL_RATE).await, 0.0);
    // The next one within 10 s is not looked at.
    post.auth(&lives(&relay, "ann", "2h").await).await;
    assert_eq!(post.error().await["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(met(&relay, hit::RENEWAL_RATE).await, 1.0);
    post.send(json!({"type": "heartbeat"})).await;
    post.until("heartbeat").await;
    assert_eq!(sessions(&relay).await, 1.0);
}

/// Those made before then; else all that there are.
async fn revoke(relay: &Relay, sub: &str, before_s: Option<u64>) {
    let manager = relay.token("manager").await;
    let mut body = json!({"sub": sub});
    if let Some(before_s) = before_s {
        body["iat_before"] = before_s.into();
    }
    let body = body.to_string();
    let path = "/api/v1/restaurants/demo/revoke";
    let answer = relay.http().await.post(path, &manager, &body).await;
    assert_eq!(answer.status / 100, 2, "{answer:?}");
}

/// When a token was made, in seconds.
fn issued_at(token: &str) -> u64 {
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).unwrap())
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["iat"].as_u64().unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn a_revoked_token_begins_no_session_and_a_newer_one_keeps_its_own() {
    let relay = relay(&["--pace", "20", "--session-idle", "30m"]);
    let old = lives(&relay, "ann", "1h").await;
    let mut without = Post::open_in(&relay, &old, "demo").await;
    let (mut renewed, _) = Post::start(&relay, &old, loopback()).await;
    // Tokens tell seconds apart.
    let newer = loop {
        let newer = lives(&relay, "ann", "2h").await;
        if issued_at(&newer) > issued_at(&old) {
            break newer;
        }
    };
    renewed.auth(&newer).await;
    renewed.until("auth:success").await;
    revoke(&relay, "ann", Some(issued_at(&newer))).await;
    without
        .send(json!({"type": "session.start", "session_config": loopback()}))
        .await;
    let (code, reason) = without.closed().await;
    assert_eq!(code, 4001, "{reason}");
    renewed.send(json!({"type": "heartbeat"})).await;
    renewed.until("heartbeat").await;
    assert_eq!(sessions(&relay).await, 1.0);
    revoke(&relay, "ann", None).await;
    assert_eq!(renewed.closed().await.0, 4001);
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn sessions_of_a_restaurant_and_in_all() {
    let relay = relay(&[]);
    let token = async |restaurant: &str| {
        let query = format!("restaurant_id={restaurant}&role=manager");
        relay.token_for(&query).await
    };
    let begin = async |token: &str, restaurant: &str| {
        let mut post = Post::open_in(&relay, token, restaurant).await;
        post.send(json!({"type": "session.start", "session_config": loopback()}))
            .await;
        loop {
            let event = post.next().await;
            match event["type"].as_str().unwrap() {
                "session.started" => return Ok(post),
                "error" => return Err(event["error"]["code"].as_str().unwrap().to_owned()),
                _ => {}
            }
        }
    };
    let full = || Some("RATE_LIMIT_EXCEEDED".to_owned());
    let (one, other) = (token("one").await, token("other").await);
    let mut held = Vec::new();
    for _ in 0..limits::VOICE_RESTAURANT {
        held.push(begin(&one, "one").await.unwrap());
    }
    assert_eq!(met(&relay, hit::VOICE_RESTAURANT).await, 0.0);
    assert_eq!(begin(&one, "one").await.err(), full());
    assert_eq!(met(&relay, hit::VOICE_RESTAURANT).await, 1.0);
    for _ in limits::VOICE_RESTAURANT..limits::VOICE_SESSIONS {
        held.push(begin(&other, "other").await.unwrap());
    }
    assert_eq!(met(&relay, hit::VOICE_SESSIONS).await, 0.0);
    let third = token("third").await;
    assert_eq!(begin(&third, "third").await.err(), full());
    assert_eq!(met(&relay, hit::VOICE_SESSIONS).await, 1.0);
    // Each of the two is given back with the session that took it.
    let mut gone = held.swap_remove(0);
    gone.send(json!({"type": "session.stop"})).await;
    relay
        .until("there is room again", || async {
            sessions(&relay).await < limits::VOICE_SESSIONS as f64
        })
        .await;
    assert!(begin(&one, "one").await.is_ok());
    drop(held);
    none_left(&relay).await;
}

#[tokio::test(flavor = "current_thread")]
async fn of_those_that_do_not_say_who_they_are_the_oldest_go() {
    let relay = relay(&[]);
    let token = relay.token("kiosk").await;
    let (mut known, _) = Post::start(&relay, &token, loopback()).await;
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..limits::UNAUTHENTICATED {
        waiting.push_back(Post::connect(&relay).await.unwrap());
    }
    assert_eq!(met(&relay, hit::UNAUTHENTICATED).await, 0.0);
    waiting.push_back(Post::connect(&relay).await.unwrap());
    let mut first = waiting.pop_front().unwrap();
    let (code, reason) = first.closed().await;
    assert_eq!(code, 1013, "{reason}");
    assert_eq!(met(&relay, hit::UNAUTHENTICATED).await, 1.0);
    // Whoever has said so stays, and the last to come may still.
    known.send(json!({"type": "heartbeat"})).await;
    known.until("heartbeat").await;
    let mut last = waiting.pop_back().unwrap();
    assert_eq!(last.next().await["type"], "connected");
    last.auth(&token).await;
    assert_eq!(last.next().await["type"], "auth:success");
}
