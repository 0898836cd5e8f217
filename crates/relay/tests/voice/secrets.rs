//! `ek_` secrets, policies, and who may do what.

use crate::caller::Caller;
use crate::sockets::Session;
use crate::support::*;
use crate::{code, mint, post, relay, secret};
use serde_json::json;

#[tokio::test(flavor = "current_thread")]
async fn a_secret_has_the_apis_shape_and_bounds() {
    let relay = relay(&[]);
    let token = relay.token("kiosk").await;
    let before = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let asked = json!({"expires_after":{"anchor":"created_at","seconds":10},"session":{"type":"realtime","model":"gpt-realtime-2","audio":{"output":{"voice":"cedar"}}}});
    let minted = mint(&relay, &token, asked).await;
    assert_eq!(minted.status, 200, "{minted:?}");
    let minted = minted.json();
    assert!(minted["value"].as_str().unwrap().starts_with("ek_"));
    let expires = minted["expires_at"].as_u64().unwrap();
    assert!((before + 10..before + 30).contains(&expires));
    let session = &minted["session"];
    assert!(session["id"].as_str().unwrap().starts_with("sess_"));
    assert_eq!(session["object"], "realtime.session");
    assert_eq!(session["model"], "gpt-realtime-2");
    assert_eq!(session["audio"]["output"]["voice"], "cedar");
    for seconds in [json!(9), json!(7201), json!(10.5), json!("10"), json!(-1)] {
        let bad = mint(&relay, &token, json!({"expires_after":{"seconds":seconds}})).await;
        assert_eq!((bad.status, code(&bad).as_str()), (400, "invalid_value"));
        assert_eq!(bad.json()["error"]["param"], "expires_after.seconds");
    }
    let bad = mint(&relay, &token, json!({"session":{"model":"x"}})).await;
    assert_eq!(bad.status, 400, "session.type is missing");
    let torn = post(&relay, "/client_secrets", &token, "application/json", "{").await;
    assert_eq!((torn.status, code(&torn).as_str()), (400, "invalid_json"));
    let key = secret(&relay, "kiosk").await;
    let bad = mint(&relay, &key, json!({})).await;
    assert_eq!((bad.status, code(&bad).as_str()), (403, "forbidden"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_secret_that_ran_out_or_is_made_up_is_refused() {
    let relay = relay(&[]);
    let token = relay.token("kiosk").await;
    let (_, offer) = Caller::new().await;
    for key in ["ek_made-up", "not-a-token", ""] {
        let answer = post(&relay, "/calls", key, "application/sdp", &offer).await;
        assert_eq!(answer.status, 401, "{key}");
        code(&answer);
    }
    let minted = mint(&relay, &token, json!({"expires_after":{"seconds":10}}))
        .await
        .json();
    let key = minted["value"].as_str().unwrap();
    let answer = post(&relay, "/calls", key, "application/sdp", &offer).await;
    assert_eq!(answer.status, 201);
    relay
        .until("it has run out", || async {
            let answer = post(&relay, "/calls/none/hangup", key, "application/json", "").await;
            answer.status == 401
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_secret_minted_by_a_page_is_for_pages_of_its_origin() {
    let relay = relay(&["--allowed-origin", "https://a.example,https://b.example"]);
    let token = relay.token("kiosk").await;
    let mut http = relay.http().await;
    let from = |origin| [("origin", origin), ("content-type", "application/sdp")];
    let path = "/v1/realtime/client_secrets";
    let minted = http
        .send("POST", path, &token, &from("https://a.example"), "{}")
        .await
        .unwrap();
    assert_eq!(
        minted.header("access-control-allow-origin"),
        Some("https://a.example")
    );
    let key = minted.json()["value"].as_str().unwrap().to_owned();
    let (_, offer) = Caller::new().await;
    let mut calls = async |origin| {
        let sent = http
            .send("POST", "/v1/realtime/calls", &key, &from(origin), &offer)
            .await;
        let answer = sent.unwrap();
        let exposed = answer
            .header("access-control-expose-headers")
            .unwrap_or_default();
        assert!(exposed.contains("location"), "{answer:?}");
        answer.status
    };
    assert_eq!(calls("https://a.example").await, 201);
    assert_eq!(calls("https://b.example").await, 401);
    let evil = http
        .send("POST", path, &token, &from("https://evil.example"), "{}")
        .await
        .unwrap();
    assert_eq!(
        (evil.status, code(&evil).as_str()),
        (403, "origin_not_allowed")
    );
    let asked = [
        ("origin", "https://a.example"),
        ("access-control-request-headers", "x-openai-agents-sdk"),
    ];
    let preflight = http
        .send("OPTIONS", "/v1/realtime/calls", "", &asked, "")
        .await
        .unwrap();
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("x-openai-agents-sdk") && allowed.contains("authorization"));
}

#[tokio::test(flavor = "current_thread")]
async fn the_policy_says_who_may_and_what_stays() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let policy = "[\"*\"]\nroles = [\"server\"]\n[demo]\nroles = [\"kiosk\"]\ninstructions = \"Ours.\"\nmodels = [\"gpt-realtime\"]\nmax_length_s = 60\nsingle_use = true\n";
    std::fs::write(file.path(), policy).unwrap();
    let relay = relay(&["--voice-policy", file.path().to_str().unwrap()]);
    for (restaurant, role, may) in [
        ("demo", "customer", false),
        ("demo", "kiosk", true),
        ("demo", "server", false),
        ("demo", "kitchen", false),
        ("demo", "manager", true),
        ("demo", "service", true),
        ("other", "customer", false),
        ("other", "kiosk", false),
        ("other", "server", true),
        ("other", "kitchen", false),
    ] {
        let query = format!("restaurant_id={restaurant}&role={role}");
        let token = relay.token_for(&query).await;
        let (_, offer) = Caller::new().await;
        let minted = mint(&relay, &token, json!({})).await;
        let called = post(&relay, "/calls", &token, "application/sdp", &offer).await;
        let expected = if may { (200, 201) } else { (403, 403) };
        assert_eq!(
            (minted.status, called.status),
            expected,
            "{restaurant} {role}"
        );
        let session = Session::open(&relay, "", Some(&token), None).await;
        let expected = if may { None } else { Some(403) };
        assert_eq!(session.err(), expected, "{restaurant} {role}");
    }
    let token = relay.token("kiosk").await;
    let wrong = mint(
        &relay,
        &token,
        json!({"session":{"type":"realtime","model":"gpt-other"}}),
    )
    .await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let asked = json!({"session":{"type":"realtime","instructions":"Mine.","tracing":"auto","prompt":{"id":"p"}}});
    let minted = mint(&relay, &token, asked).await.json();
    assert_eq!(minted["session"]["instructions"], "Ours.");
    assert!(minted["session"]["tracing"].is_null() && minted["session"]["prompt"].is_null());
    let key = mint(&relay, &token, json!({})).await.json()["value"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut caller = Caller::call(&relay, &key).await;
    caller.send(
        json!({"type":"session.update","session":{"type":"realtime","instructions":"Mine."}}),
    );
    let updated = caller.until("session.updated").await;
    assert_eq!(updated["session"]["instructions"], "Ours.");
    let (_, offer) = Caller::new().await;
    let again = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    assert_eq!(again.status, 401, "it was for one session");
}

#[tokio::test(flavor = "current_thread")]
async fn a_policy_that_makes_no_sense_stops_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[demo]\nroles = [\"kitchen\"]\n").unwrap();
    let path = file.path().to_str().unwrap();
    let (status, _, error) = run(&[
        "serve",
        "--dev",
        "--data-dir",
        ":memory:",
        "--voice-policy",
        path,
    ]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("[demo] roles"), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn who_may_hang_up() {
    let relay = relay(&["--rate-limit", "1000/s,burst=1000"]);
    let ann = relay
        .token_for("restaurant_id=demo&role=kiosk&sub=ann")
        .await;
    for (role, sub, restaurant, status) in [
        ("kiosk", "bob", "demo", 403),
        ("customer", "bob", "demo", 403),
        ("server", "bob", "demo", 403),
        ("kitchen", "ann", "demo", 403),
        ("manager", "bob", "other", 404),
        ("manager", "bob", "demo", 200),
        ("service", "bob", "demo", 200),
        ("kiosk", "ann", "demo", 200),
    ] {
        let caller = Caller::call(&relay, &ann).await;
        let query = format!("restaurant_id={restaurant}&role={role}&sub={sub}");
        let token = relay.token_for(&query).await;
        let path = format!("/calls/{}/hangup", caller.id);
        let answer = post(&relay, &path, &token, "application/json", "").await;
        assert_eq!(answer.status, status, "{role} {sub} {restaurant}");
        if status != 200 {
            let path = format!("/calls/{}/hangup", caller.id);
            post(&relay, &path, &ann, "application/json", "").await;
        }
        crate::none_left(&relay).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn without_an_address_calls_are_refused_with_what_to_do() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "correct-horse-battery-staple-0123").unwrap();
    let path = key.path().to_str().unwrap();
    let relay = Relay::start_bare(
        std::path::Path::new(":memory:"),
        &["--jwt-secret-file", path],
    );
    let token = run(&[
        "token",
        "--jwt-secret-file",
        path,
        "--restaurant",
        "demo",
        "--role",
        "manager",
        "--ttl",
        "1h",
    ]);
    let token = token.1.trim().to_owned();
    let (_, offer) = Caller::new().await;
    let answer = post(&relay, "/calls", &token, "application/sdp", &offer).await;
    assert_eq!(
        (answer.status, code(&answer).as_str()),
        (503, "calls_not_configured")
    );
    assert!(answer.body.contains("--voice-udp"));
    for (method, path, status) in [
        ("GET", "/v1/realtime/calls", 405),
        ("POST", "/v1/realtime/calls/rtc_1/accept", 404),
        ("POST", "/v1/realtime/translations/client_secrets", 404),
    ] {
        let answer = relay
            .http()
            .await
            .send(method, path, &token, &[], "")
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{path}");
        code(&answer);
    }
}
