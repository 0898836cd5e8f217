//! The driver alone: what JavaScript is asked to do for what comes in.

use crate::TestRelay;
use serde_json::{Value, json};

fn relay() -> TestRelay {
    let mut relay = TestRelay::new(15_000.0);
    relay.clock(0.0, 1_790_000_000_000.0);
    relay
}

/// All that is to be done, in order.
fn effects(relay: &mut TestRelay) -> Vec<Value> {
    std::iter::from_fn(|| relay.poll())
        .map(|effect| serde_json::from_str(&effect).unwrap())
        .collect()
}

/// The frames among them, batches taken apart.
fn frames(relay: &mut TestRelay) -> Vec<Value> {
    let sent = effects(relay);
    let texts = sent.iter().filter_map(|effect| effect["text"].as_str());
    let parsed = texts.map(|text| serde_json::from_str(text).unwrap());
    parsed
        .flat_map(|frame| match frame {
            Value::Array(frames) => frames,
            one => vec![one],
        })
        .collect()
}

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames
        .iter()
        .map(|frame| frame["type"].as_str().unwrap_or_default())
        .collect()
}

fn token(relay: &mut TestRelay, sub: &str, role: &str) -> String {
    let claims = json!({"sub": sub, "restaurants": ["grow"], "role": role, "orderIds": [], "ttlMs": 3_600_000});
    relay.token(&claims.to_string()).unwrap()
}

/// A connection of a manager's, authenticated; what it was sent is gone.
fn connected(relay: &mut TestRelay, id: u32) {
    let token = token(relay, "m", "manager");
    relay.open(id, false);
    let auth = json!({"type": "auth", "token": token, "protocol": "tautline.v1", "sync": true});
    relay.text(id, &auth.to_string());
    assert!(kinds(&frames(relay)).contains(&"auth:success"));
}

const ORDER: &str =
    r#"{"type":"dine-in","items":[{"menu_item_id":"m","name":"n","quantity":1,"price":9.5}]}"#;

fn created(relay: &mut TestRelay) -> Value {
    let said = relay.act("manager", "POST", "/api/v1/restaurants/grow/orders", ORDER);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["status"], 201, "{said}");
    serde_json::from_str(said["body"].as_str().unwrap()).unwrap()
}

fn create(id: &str) -> String {
    format!(r#"{{"type":"order:create","id":"{id}","payload":{{"order":{ORDER}}}}}"#)
}

#[test]
fn an_order_reaches_everybody_and_a_latecomer_by_snapshot() {
    let mut relay = relay();
    connected(&mut relay, 1);
    let order = created(&mut relay);
    let told = frames(&mut relay);
    assert_eq!(kinds(&told), ["order:created"]);
    assert_eq!(told[0]["payload"]["order"]["id"], order["id"]);
    relay.open(2, false);
    let auth = json!({"type": "auth", "token": token(&mut relay, "k", "kitchen"), "protocol": "tautline.v1", "sync": true});
    relay.text(2, &auth.to_string());
    let told = frames(&mut relay);
    assert_eq!(kinds(&told), ["connected", "auth:success", "sync_complete"]);
    assert_eq!(told[2]["payload"]["orders"][0]["id"], order["id"]);
    let connections: Value = serde_json::from_str(&relay.connections()).unwrap();
    assert_eq!(connections[1]["role"], "kitchen");
}

#[test]
fn a_closed_connection_is_gone() {
    let mut relay = relay();
    connected(&mut relay, 1);
    relay.closed(1);
    created(&mut relay);
    assert_eq!(
        (effects(&mut relay), relay.connections()),
        (vec![], "[]".into())
    );
    assert_eq!(relay.wake_at(), None);
}

#[test]
fn a_token_is_known_by_its_text_and_refused_when_it_ran_out_or_was_revoked() {
    let mut relay = relay();
    let good = token(&mut relay, "s", "server");
    let path = "/api/v1/restaurants/grow/orders";
    let status = |relay: &mut TestRelay, token: &str| {
        let said = relay.request(Some(token.into()), "GET", path, "{}", "", None);
        let said: Value = serde_json::from_str(&said).unwrap();
        let body: Value = serde_json::from_str(said["body"].as_str().unwrap()).unwrap();
        (said["status"].clone(), body["code"].clone())
    };
    assert_eq!(status(&mut relay, &good).0, 200);
    assert_eq!(
        status(&mut relay, "guess"),
        (json!(401), json!("token_invalid"))
    );
    // An hour and its leeway later.
    relay.clock(0.0, 1_790_003_630_001.0);
    assert_eq!(
        status(&mut relay, &good),
        (json!(401), json!("token_expired"))
    );
    let revoked = token(&mut relay, "s", "server");
    relay.revoke(Some("s".into()));
    assert_eq!(
        status(&mut relay, &revoked),
        (json!(401), json!("token_invalid"))
    );
    let other = token(&mut relay, "s", "server");
    assert_eq!(status(&mut relay, &other).0, 200);
}

#[test]
fn the_next_command_of_a_type_is_nacked_and_changes_nothing() {
    let mut relay = relay();
    connected(&mut relay, 1);
    relay.nack_next("conflict", "no", None, Some("order:create".into()));
    relay.text(
        1,
        r#"{"type":"order:cancel","id":"c","payload":{"order_id":"x"}}"#,
    );
    relay.text(1, &create("a"));
    relay.text(1, &create("b"));
    let told = frames(&mut relay);
    let answers: Vec<_> = told
        .iter()
        .filter(|frame| frame["id"].is_string())
        .map(|frame| {
            (
                frame["id"].as_str().unwrap(),
                frame["error"]["code"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        answers,
        [
            ("c", Some("not_found")),
            ("a", Some("conflict")),
            ("b", None)
        ]
    );
    let orders: Value = serde_json::from_str(&relay.orders("grow")).unwrap();
    assert_eq!(orders.as_array().unwrap().len(), 1);
}

#[test]
fn a_lost_ack_takes_the_connection_and_the_command_holds_once() {
    let mut relay = relay();
    connected(&mut relay, 1);
    relay.lose_next_ack(None);
    relay.text(
        1,
        r#"{"type":"order:cancel","id":"c","payload":{"order_id":"x"}}"#,
    );
    assert_eq!(kinds(&frames(&mut relay)), ["nack"], "it changed nothing");
    relay.text(1, &create("a"));
    let done = effects(&mut relay);
    assert_eq!(done, [json!({"kind": "drop", "connection": 1})]);
    connected(&mut relay, 2);
    relay.text(2, &create("a"));
    assert_eq!(kinds(&frames(&mut relay)), ["ack"]);
    let events: Value = serde_json::from_str(&relay.events("grow")).unwrap();
    assert_eq!(events.as_array().unwrap().len(), 1);
}

#[test]
fn a_restart_keeps_the_history_or_begins_another() {
    let mut relay = relay();
    connected(&mut relay, 1);
    created(&mut relay);
    effects(&mut relay);
    relay.restart(Some(500.0), false);
    let done = effects(&mut relay);
    assert_eq!(
        (&done[0]["kind"], &done[0]["code"]),
        (&json!("close"), &json!(1012))
    );
    assert_eq!(
        serde_json::from_str::<Value>(&relay.events("grow")).unwrap()[0]["epoch"],
        "epoch-1"
    );
    relay.restart(None, true);
    assert_eq!(relay.orders("grow"), "[]");
    created(&mut relay);
    assert_eq!(
        serde_json::from_str::<Value>(&relay.events("grow")).unwrap()[0]["epoch"],
        "epoch-2"
    );
}

#[test]
fn a_position_that_the_history_never_had_begins_another() {
    let mut relay = relay();
    created(&mut relay);
    let token = token(&mut relay, "m", "manager");
    relay.open(1, false);
    let auth = json!({"type": "auth", "token": token, "protocol": "tautline.v1", "sync": true, "resume": {"epoch": "epoch-1", "seq": 9}});
    relay.text(1, &auth.to_string());
    let told = frames(&mut relay);
    assert_eq!(
        (&told[1]["epoch"], &told[1]["resumed"]),
        (&json!("epoch-2"), &json!(false))
    );
}

#[test]
fn what_is_further_back_than_memory_is_read_from_the_store() {
    let mut relay = relay();
    let long = "x".repeat(60_000);
    for _ in 0..40 {
        let body = json!({"type": "menu:updated", "payload": {"long": long}}).to_string();
        let said = relay.act("service", "POST", "/api/v1/restaurants/grow/events", &body);
        assert!(said.contains("202"), "{said}");
    }
    let token = token(&mut relay, "m", "manager");
    relay.open(1, false);
    let auth = json!({"type": "auth", "token": token, "protocol": "tautline.v1", "resume": {"epoch": "epoch-1", "seq": 1}});
    relay.text(1, &auth.to_string());
    let seqs: Vec<_> = frames(&mut relay)
        .iter()
        .filter(|frame| frame["type"] == "menu:updated")
        .map(|frame| frame["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (2..=40).collect::<Vec<_>>());
}

#[test]
fn pages_of_orders_follow_each_other() {
    let mut relay = relay();
    for _ in 0..5 {
        created(&mut relay);
    }
    let good = token(&mut relay, "s", "server");
    let mut page = |query: Value| -> Value {
        let path = "/api/v1/restaurants/grow/orders";
        let said = relay.request(
            Some(good.clone()),
            "GET",
            path,
            &query.to_string(),
            "",
            None,
        );
        let said: Value = serde_json::from_str(&said).unwrap();
        serde_json::from_str(said["body"].as_str().unwrap()).unwrap()
    };
    let first = page(json!({"limit": "3", "status": "new"}));
    assert_eq!(first["orders"].as_array().unwrap().len(), 3);
    let second = page(json!({"limit": "3", "cursor": first["next_cursor"]}));
    assert_eq!(second["orders"][0]["id"], "order-004");
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(page(json!({"status": "ready"}))["orders"], json!([]));
    assert_eq!(page(json!({"min_seq": "9"}))["code"], "unavailable");
}
