use crate::support::*;
use serde_json::json;

#[tokio::test]
async fn orders_are_listed_by_page_state_and_time() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let mut http = relay.http().await;
    let mut ids = Vec::new();
    for table in 0..5 {
        ids.push(
            http.post(ORDERS, &token, &burger(&table.to_string()))
                .await
                .json()["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let (mut seen, mut path) = (Vec::new(), format!("{ORDERS}?limit=2&min_seq=5"));
    loop {
        let page = http.get(&path, &token).await.json();
        seen.extend(
            page["orders"]
                .as_array()
                .unwrap()
                .iter()
                .map(|order| order["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("{ORDERS}?limit=2&cursor={cursor}");
    }
    seen.sort();
    ids.sort();
    assert_eq!(seen, ids);

    let one = format!("{ORDERS}/{}", ids[0]);
    let changed = http
        .send(
            "PATCH",
            &format!("{one}/status"),
            &token,
            &[],
            r#"{"status":"ready","expected_status":"new"}"#,
        )
        .await
        .unwrap();
    assert_eq!(
        (changed.status, changed.json()),
        (
            200,
            json!({"order_id":ids[0],"status":"ready","previous_status":"new"})
        )
    );
    let stale = http
        .send(
            "PATCH",
            &format!("{one}/status"),
            &token,
            &[],
            r#"{"status":"completed","expected_status":"new"}"#,
        )
        .await
        .unwrap();
    assert_eq!(
        (stale.status, &stale.json()["code"]),
        (409, &json!("conflict"))
    );
    assert_eq!(
        stale.header("content-type"),
        Some("application/problem+json")
    );
    let item = format!("{one}/items/{}.1/status", ids[0]);
    assert_eq!(
        http.send("PATCH", &item, &token, &[], r#"{"status":"ready"}"#)
            .await
            .unwrap()
            .status,
        200
    );
    let ready = http
        .get(&format!("{ORDERS}?status=ready"), &token)
        .await
        .json();
    assert_eq!(ready["orders"].as_array().unwrap().len(), 1);
    assert_eq!(ready["orders"][0]["items"][0]["status"], "ready");
    let since = ready["orders"][0]["updated_at"].as_str().unwrap();
    // As text the second sorts after its own milliseconds.
    let second = format!("{}Z", &since[..19]);
    for since in [since, second.as_str()] {
        let listed = http
            .get(&format!("{ORDERS}?since={since}"), &token)
            .await
            .json();
        let listed = listed["orders"].as_array().unwrap();
        assert!(listed.iter().any(|order| order["id"] == *ids[0]), "{since}");
    }
    let later = "2999-01-01T00:00:00%2B02:00";
    let listed = http
        .get(&format!("{ORDERS}?since={later}"), &token)
        .await
        .json();
    assert_eq!(listed["orders"], json!([]));
    assert_eq!(
        http.send("DELETE", &one, &token, &[], "")
            .await
            .unwrap()
            .status,
        204
    );
    // Out of the live set, into the history.
    assert!(http.get(&one, &token).await.json()["left_at"].is_string());
    assert_eq!(
        http.send("DELETE", &one, &token, &[], "")
            .await
            .unwrap()
            .status,
        404
    );
    assert_eq!(
        http.get(&format!("{ORDERS}/nobody"), &token).await.status,
        404
    );
    for bad in [
        "status=cold",
        "since=yesterday",
        "limit=many",
        "cursor=!!",
        "past=maybe",
        "past=true&cursor=!!",
    ] {
        assert_eq!(
            http.get(&format!("{ORDERS}?{bad}"), &token).await.status,
            422,
            "{bad}"
        );
    }
    let ahead = http.get(&format!("{ORDERS}?min_seq=99"), &token).await;
    assert_eq!(
        (ahead.status, &ahead.json()["code"]),
        (503, &json!("unavailable"))
    );
}

#[tokio::test]
async fn events_are_published_read_and_followed() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let mut http = relay.http().await;
    let mut stream = relay.http().await;
    let request = format!(
        "GET {EVENTS}?after=0 HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n",
        relay.address
    );
    stream.raw(&request).await;
    let published = http
        .post(
            EVENTS,
            &token,
            r#"{"type":"kds:update","payload":{"station":"grill", "n": 1.50}}"#,
        )
        .await;
    assert_eq!(
        (published.status, &published.json()["seq"]),
        (202, &json!(1))
    );
    let text = stream.read_until("1.50}}\n\n").await;
    let epoch = published.json()["epoch"].as_str().unwrap().to_owned();
    assert!(
        text.contains("text/event-stream") && text.contains(&format!("id: {epoch}.1\n")),
        "{text}"
    );
    assert!(
        text.contains(r#"{"station":"grill", "n": 1.50}"#),
        "the payload goes out as it came in: {text}"
    );
    let page = http
        .get(&format!("{EVENTS}?after=0&limit=10"), &token)
        .await
        .json();
    assert_eq!(
        (&page["seq"], page["events"].as_array().unwrap().len()),
        (&json!(1), 1)
    );
    for (body, status) in [
        (r#"{"type":"ack","payload":{}}"#, 422),
        (r#"{"type":"Bad Type"}"#, 422),
        ("nonsense", 422),
        (
            r#"{"type":"order:status_changed","payload":{"order_id":"none","status":"ready"}}"#,
            404,
        ),
    ] {
        assert_eq!(
            http.post(EVENTS, &token, body).await.status,
            status,
            "{body}"
        );
    }
}

#[tokio::test]
async fn who_may_not_is_told_why() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &["--allowed-origin", "http://127.0.0.1:*"]);
    let token = relay.token("manager").await;
    let mut http = relay.http().await;
    assert_eq!(
        http.get(ORDERS, "").await.header("www-authenticate"),
        Some("Bearer")
    );
    assert_eq!(
        http.get(ORDERS, "x.y.z").await.json()["code"],
        "token_invalid"
    );
    let other = http.get("/api/v1/restaurants/other/orders", &token).await;
    assert_eq!(
        (other.status, &other.json()["code"]),
        (403, &json!("restaurant_forbidden"))
    );
    let invalid = http
        .post(ORDERS, &token, r#"{"type":"dine-in","items":[]}"#)
        .await;
    assert_eq!(
        (invalid.status, &invalid.json()["code"]),
        (422, &json!("invalid"))
    );
    let packed = http
        .send(
            "POST",
            ORDERS,
            &token,
            &[("content-encoding", "gzip")],
            &burger("1"),
        )
        .await
        .unwrap();
    assert_eq!(packed.status, 415);

    let with = |headers: &'static [(&'static str, &'static str)]| {
        let token = token.clone();
        let relay = &relay;
        async move {
            relay
                .http()
                .await
                .send("GET", ORDERS, &token, headers, "")
                .await
                .unwrap()
        }
    };
    assert_eq!(with(&[("host", "evil.example")]).await.status, 421);
    assert_eq!(
        with(&[("origin", "https://evil.example")]).await.status,
        403
    );
    assert_eq!(with(&[("origin", "null")]).await.status, 403);
    let page = with(&[("origin", "http://127.0.0.1:5173")]).await;
    assert_eq!(
        (page.status, page.header("access-control-allow-origin")),
        (200, Some("http://127.0.0.1:5173"))
    );
    let preflight = relay
        .http()
        .await
        .send(
            "OPTIONS",
            ORDERS,
            "",
            &[
                ("origin", "http://127.0.0.1:5173"),
                ("access-control-request-method", "POST"),
            ],
            "",
        )
        .await
        .unwrap();
    assert_eq!(preflight.status, 204);
    assert!(
        preflight
            .header("access-control-allow-headers")
            .unwrap()
            .contains("idempotency-key")
    );
    let all = relay.token_for("restaurant_id=*&role=service").await;
    assert_eq!(http.get(ORDERS, &all).await.status, 200);
    assert_eq!(
        http.send(
            "GET",
            ORDERS,
            &all,
            &[("origin", "http://127.0.0.1:5173")],
            ""
        )
        .await
        .unwrap()
        .status,
        403
    );
    assert_eq!(
        relay
            .http()
            .await
            .send("GET", "/dev/token", "", &[("forwarded", "for=1.2.3.4")], "")
            .await
            .unwrap()
            .status,
        421
    );
}

#[tokio::test]
async fn writes_over_the_rate_are_told_when_to_come_back() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &["--rate-limit", "1/s,burst=3"]);
    let token = relay.token("server").await;
    let mut http = relay.http().await;
    for n in 0..3 {
        assert_eq!(
            http.post(ORDERS, &token, &burger(&n.to_string()))
                .await
                .status,
            201
        );
    }
    let over = http.post(ORDERS, &token, &burger("4")).await;
    assert_eq!(
        (over.status, &over.json()["code"]),
        (429, &json!("rate_limited"))
    );
    assert!(
        over.header("retry-after").is_some()
            && over.json()["retry_after_ms"].as_u64().unwrap() <= 1000
    );
}

#[tokio::test]
async fn sessions_are_seen_and_closed() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let (mut client, _) = Client::v1(
        &relay,
        &token,
        json!({"client":{"name":"kds-2","version":"1.4.0","instance_id":"i"}}),
    )
    .await;
    let mut http = relay.http().await;
    let seen = http.get("/api/v1/sessions", &token).await.json();
    let session = &seen["sessions"][0];
    assert_eq!(
        (
            &seen["count"],
            &session["client"]["name"],
            &session["lag"],
            &session["kind"]
        ),
        (&json!(1), &json!("kds-2"), &json!(0), &json!("orders"))
    );
    assert!(!seen.to_string().contains("127.0.0.1"));
    let elsewhere = relay.token_for("restaurant_id=other&role=manager").await;
    let path = format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!(
        http.get("/api/v1/sessions", &elsewhere).await.json()["count"],
        0
    );
    assert_eq!(
        http.send("DELETE", &path, &elsewhere, &[], "")
            .await
            .unwrap()
            .status,
        404
    );
    assert_eq!(
        http.send("DELETE", &path, &token, &[], "")
            .await
            .unwrap()
            .status,
        204
    );
    assert_eq!(client.closed().await.0, 1000);
}

#[tokio::test]
async fn trouble_cuts_and_stalls() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let (mut cut, _) = Client::v1(&relay, &token, json!({"client":{"name":"cut"}})).await;
    let (mut stalled, _) = Client::v1(&relay, &token, json!({"client":{"name":"stalled"}})).await;
    let mut http = relay.http().await;
    let sessions = http.get("/api/v1/sessions", &token).await.json();
    let id = |name: &str| {
        sessions["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["client"]["name"] == name)
            .unwrap()["id"]
            .clone()
    };
    assert_eq!(
        http.post(
            "/dev/trouble",
            "",
            &json!({"kind":"cut","session_id":id("cut")}).to_string()
        )
        .await
        .json()["sessions"],
        1
    );
    assert_eq!(cut.closed().await.0, 1006);
    assert_eq!(
        http.post(
            "/dev/trouble",
            "",
            &json!({"kind":"stall","session_id":id("stalled"),"ms":700}).to_string()
        )
        .await
        .status,
        202
    );
    let started = std::time::Instant::now();
    assert_eq!(http.post(ORDERS, &token, &burger("1")).await.status, 201);
    stalled
        .send(json!({"type":"ping","payload":{"timestamp":1}}))
        .await;
    stalled.next().await;
    assert!(
        started.elapsed().as_millis() >= 600,
        "nothing passed until the stall was over"
    );
    stalled.next().await;
    assert_eq!(
        http.post("/dev/trouble", "", r#"{"kind":"fire"}"#)
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn the_page_is_served_from_its_folder() {
    let (data, www) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(www.path().join("assets")).unwrap();
    std::fs::write(www.path().join("index.html"), "<!doctype html>").unwrap();
    std::fs::write(
        www.path().join("assets/tautline_bg-BrWm2f9a.wasm"),
        b"\0asm",
    )
    .unwrap();
    std::fs::write(www.path().join(".secret"), "s").unwrap();
    let relay = Relay::start(data.path(), &["--www", www.path().to_str().unwrap()]);
    let mut http = relay.http().await;
    let page = http.get("/?restaurant_id=demo", "").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("script-src 'self' 'wasm-unsafe-eval'")
    );
    let tag = page.header("etag").unwrap().to_owned();
    assert_eq!(
        http.send("GET", "/", "", &[("if-none-match", &tag)], "")
            .await
            .unwrap()
            .status,
        304
    );
    let wasm = http.get("/assets/tautline_bg-BrWm2f9a.wasm", "").await;
    assert_eq!(
        (
            wasm.header("content-type"),
            wasm.header("x-content-type-options")
        ),
        (Some("application/wasm"), Some("nosniff"))
    );
    assert!(wasm.header("cache-control").unwrap().contains("immutable"));
    for bad in [
        "/.secret",
        "/../Cargo.toml",
        "/assets/",
        "/nothing",
        "/api/nothing",
    ] {
        assert_eq!(http.get(bad, "").await.status, 404, "{bad}");
    }
}

#[tokio::test]
async fn health_is_short() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let mut http = relay.http().await;
    assert_eq!(http.get("/healthz", "").await.body, "ok");
    assert_eq!(http.get("/readyz", "").await.body, "ready");
    assert_eq!(http.get("/ws", "").await.status, 426);
    assert_eq!(
        relay
            .metric("tautline_store_info{store=\"sqlite\",durability=\"full\"}")
            .await,
        1.0
    );
}
