//! Many screens at one place: each gets everything, in order, whatever way its bytes are kept; and several events of
//! one request.

use crate::support::{Client, EVENTS, Relay};
use serde_json::{Value, json};

fn events(from: usize, count: usize, pad: usize) -> String {
    let pad = "x".repeat(pad);
    let events: Vec<Value> = (from..from + count)
        .map(|n| json!({"type": "kds:update", "payload": {"n": n, "pad": pad}}))
        .collect();
    Value::Array(events).to_string()
}

/// Turns of 40 KiB to 40 screens of both dialects: the path of a file in memory; small ones take the other.
#[tokio::test]
async fn large_and_small_turns_arrive_whole_and_in_order() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let service = relay.token("service").await;
    let kitchen = relay.token("kitchen").await;
    let mut http = relay.http().await;
    let mut screens = Vec::new();
    for n in 0..40 {
        screens.push(if n % 2 == 0 {
            Client::v1(&relay, &kitchen, json!({})).await.0
        } else {
            let mut plain = Client::open(&relay).await;
            plain.until("connected").await;
            plain.send(json!({"type": "auth", "token": kitchen})).await;
            plain.until("auth:success").await;
            plain
        });
    }
    let mut published = 0;
    for (count, pad) in [(40, 1000), (1, 10), (2, 30_000), (60, 900), (3, 5)] {
        let body = events(published, count, pad);
        let answer = http.post(EVENTS, &service, &body).await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        published += count;
    }
    for screen in &mut screens {
        for n in 0..published {
            let event = screen.until("kds:update").await;
            assert_eq!(event["payload"]["n"], json!(n));
            assert_eq!(event["seq"], json!(n + 1));
        }
    }
}

#[tokio::test]
async fn several_events_in_one_request() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let mut http = relay.http().await;
    let answer = http.post(EVENTS, &token, &events(0, 100, 10)).await;
    let places = answer.json();
    assert_eq!(answer.status, 202);
    let seqs: Vec<u64> = places
        .as_array()
        .unwrap()
        .iter()
        .map(|place| place["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=100).collect::<Vec<u64>>());
    assert!(places[0]["epoch"].is_string());

    // What cannot be read is refused as a whole.
    for (body, detail) in [
        ("[]".to_owned(), "1 to 100 events"),
        (events(0, 101, 1), "1 to 100 events"),
        (
            r#"[{"type":"kds:update"},{"type":"ack"}]"#.to_owned(),
            "event 2: type",
        ),
        ("[{}]".to_owned(), "event 1: type: required"),
        ("[1]".to_owned(), "event 1: body"),
    ] {
        let answer = http.post(EVENTS, &token, &body).await;
        let problem = answer.json();
        assert_eq!(answer.status, 422, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(detail),
            "{problem}"
        );
    }
    let keyed = http
        .send(
            "POST",
            EVENTS,
            &token,
            &[("idempotency-key", "k")],
            &events(0, 2, 1),
        )
        .await
        .unwrap();
    assert_eq!(keyed.status, 422);

    // Each is judged by itself: what the log refuses is said in its place, the others are stored.
    let body = r#"[{"type":"kds:update"},{"type":"menu:updated"},
        {"type":"order:status_changed","payload":{"order_id":"none","status":"ready"}},{"type":"kds:update"}]"#;
    let answer = http.post(EVENTS, &token, body).await;
    let said = answer.json();
    assert_eq!(answer.status, 207, "{said}");
    assert_eq!(
        (&said[1]["seq"], &said[2]["code"], &said[3]["seq"]),
        (&json!(102), &json!("not_found"), &json!(103)),
        "{said}"
    );
    let page = http
        .get(&format!("{EVENTS}?after=100"), &token)
        .await
        .json();
    assert_eq!(page["seq"], json!(103));

    // Who may not publish one may not publish several.
    let manager = relay.token("manager").await;
    let answer = http.post(EVENTS, &manager, &events(0, 2, 1)).await;
    assert_eq!(answer.status, 403, "{}", answer.json());
}
