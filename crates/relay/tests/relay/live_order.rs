use crate::support::*;
use serde_json::json;

#[tokio::test]
async fn an_order_posted_arrives_in_both_dialects() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let (mut v1, success) = Client::v1(&relay, &token, json!({"sync": true})).await;
    assert_eq!(
        (&success["protocol"], &success["seq"], &success["resumed"]),
        (&json!("tautline.v1"), &json!(0), &json!(false))
    );
    assert_eq!(
        success["limits"],
        json!({"rate_per_s":20,"burst":100,"max_message":65536})
    );
    let snapshot = v1.expect("sync_complete").await;
    assert_eq!(snapshot["payload"]["orders"], json!([]));

    // An older browser client: it has never heard of `protocol`, `seq` or acks.
    let mut plain = Client::open(&relay).await;
    plain.expect("connected").await;
    plain.send(json!({"type":"auth","token":token,"restaurant_id":"demo","timestamp":"2026-01-01T00:00:00Z"})).await;
    assert_eq!(plain.expect("auth:success").await["protocol"], json!(null));
    plain
        .send(json!({"type":"orders:sync","payload":{"requestFullSync":true}}))
        .await;
    plain.expect("sync_complete").await;

    let mut http = relay.http().await;
    let posted = http.post(ORDERS, &token, &burger("7")).await;
    assert_eq!(posted.status, 201, "{posted:?}");
    let order = posted.json();
    assert_eq!(
        posted.header("location"),
        Some(format!("{ORDERS}/{}", order["id"].as_str().unwrap()).as_str())
    );
    for client in [&mut v1, &mut plain] {
        let event = client.expect("order:created").await;
        assert_eq!(
            (&event["seq"], &event["payload"]["order"]),
            (&json!(1), &order)
        );
        assert_eq!(event["epoch"], success["epoch"]);
    }

    plain.send(json!({"type":"order:update_status","payload":{"orderId":order["id"],"status":"confirmed"}})).await;
    let event = plain.expect("order:status_changed").await;
    assert_eq!(
        event["payload"]["orderId"], order["id"],
        "the camelCase twin"
    );
    assert_eq!(event["payload"]["previousStatus"], "new");
    let event = v1.expect("order:status_changed").await;
    assert_eq!(
        event["payload"],
        json!({"order_id":order["id"],"status":"confirmed","previous_status":"new","updated_by":"dev-manager"})
    );
}

#[tokio::test]
async fn a_resume_brings_the_missed_events_and_no_snapshot() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let mut http = relay.http().await;
    for table in 0..10 {
        assert_eq!(
            http.post(ORDERS, &token, &burger(&table.to_string()))
                .await
                .status,
            201
        );
    }
    let (client, success) = Client::v1(&relay, &token, json!({})).await;
    drop(client);
    assert_eq!(success["seq"], 10);
    for table in 10..47 {
        assert_eq!(
            http.post(ORDERS, &token, &burger(&table.to_string()))
                .await
                .status,
            201
        );
    }
    let position = json!({"epoch": success["epoch"], "seq": 10});
    let (mut client, success) =
        Client::v1(&relay, &token, json!({"resume": position, "sync": true})).await;
    assert_eq!(
        (&success["resumed"], &success["seq"]),
        (&json!(true), &json!(47))
    );
    let frames = client.frames;
    for seq in 11..=47 {
        assert_eq!(client.expect("order:created").await["seq"], seq);
    }
    assert_eq!(client.frames - frames, 1, "one array holds them all");
    client
        .send(json!({"type":"ping","payload":{"timestamp":5}}))
        .await;
    let pong = client.expect("pong").await;
    assert_eq!(
        (&pong["payload"]["timestamp"], &pong["payload"]["seq"]),
        (&json!(5), &json!(47)),
        "and nothing else came"
    );
}

#[tokio::test]
async fn more_than_memory_holds_is_resumed_from_the_store() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let (first, success) = Client::v1(&relay, &token, json!({})).await;
    drop(first);
    let mut http = relay.http().await;
    let big = json!({"type":"menu:updated","payload":{"text":"x".repeat(30_000)}}).to_string();
    for _ in 0..80 {
        assert_eq!(http.post(EVENTS, &token, &big).await.status, 202);
    }
    let (mut client, success) = Client::v1(
        &relay,
        &token,
        json!({"resume": {"epoch": success["epoch"], "seq": 0}}),
    )
    .await;
    assert_eq!(success["resumed"], true);
    for seq in 1..=80 {
        assert_eq!(client.expect("menu:updated").await["seq"], seq);
    }
}

#[tokio::test]
async fn a_command_is_applied_once_whoever_repeats_it() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("server").await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    let order = json!({"type":"dine-in","items":[{"menu_item_id":"b","name":"Burger","quantity":1,"price":9.5}]});
    let create = json!({"type":"order:create","id":"c-1","payload":{"order":order}});
    client.send(create.clone()).await;
    let ack = client.until("ack").await;
    client.send(create.clone()).await;
    assert_eq!(
        client.until("ack").await["payload"],
        ack["payload"],
        "the same ack"
    );
    let mut changed = create.clone();
    changed["payload"]["order"]["type"] = json!("takeout");
    client.send(changed).await;
    let nack = client.until("nack").await;
    assert_eq!(
        (&nack["error"]["code"], &nack["error"]["outcome"]),
        (&json!("id_reused"), &json!("not_applied"))
    );

    // The same memory by HTTP: `Idempotency-Key` is a command's id.
    let mut http = relay.http().await;
    let again = http
        .send(
            "POST",
            ORDERS,
            &token,
            &[("idempotency-key", "c-1")],
            &create["payload"]["order"].to_string(),
        )
        .await
        .unwrap();
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(again.json(), ack["payload"]["result"]["order"]);
    let other = http
        .send(
            "POST",
            ORDERS,
            &token,
            &[("idempotency-key", "c-1")],
            &burger("9"),
        )
        .await
        .unwrap();
    assert_eq!(
        (other.status, &other.json()["code"]),
        (422, &json!("id_reused"))
    );
    let listed = http.get(ORDERS, &token).await.json();
    assert_eq!(listed["orders"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn commands_by_socket_are_answered_each_once() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    let order = relay
        .http()
        .await
        .post(ORDERS, &token, &burger("1"))
        .await
        .json();
    let change = |id: &str, status: &str| json!({"type":"order:update_status","id":id,"payload":{"order_id":order["id"],"status":status}});
    client.expect("order:created").await;
    client
        .text(
            json!([
                change("a", "preparing"),
                change("b", "new"),
                change("c", "ready")
            ])
            .to_string(),
        )
        .await;
    let mut answers = Vec::new();
    while answers.len() < 3 {
        let value = client.next().await;
        if value["type"] == "ack" || value["type"] == "nack" {
            answers.push((
                value["id"].as_str().unwrap().to_owned(),
                value["type"].as_str().unwrap().to_owned(),
                value["error"]["code"].clone(),
            ));
        }
    }
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    let ack = |id: &str| (id.to_owned(), "ack".to_owned(), json!(null));
    assert_eq!(
        answers,
        [
            ack("a"),
            ("b".into(), "nack".into(), json!("invalid_transition")),
            ack("c")
        ]
    );
}

#[tokio::test]
async fn a_client_ahead_of_the_store_begins_a_new_epoch() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    let (mut there, success) = Client::v1(&relay, &token, json!({})).await;
    let ahead = json!({"epoch": success["epoch"], "seq": 41});
    let (_, second) = Client::v1(&relay, &token, json!({"resume": ahead, "sync": true})).await;
    assert_eq!(second["resumed"], false);
    assert_ne!(second["epoch"], success["epoch"]);
    let reset = there.expect("reset").await;
    assert_eq!(reset["epoch"], second["epoch"]);
    there.expect("sync_complete").await;
    // It survives a restart, and so does what comes after it.
    let posted = relay.http().await.post(ORDERS, &token, &burger("1")).await;
    assert_eq!(posted.status, 201);
    let seq = there.expect("order:created").await["seq"].clone();
    relay.kill();
    let relay = Relay::start(data.path(), &[]);
    let (_, third) = Client::v1(
        &relay,
        &token,
        json!({"resume": {"epoch": second["epoch"], "seq": seq}}),
    )
    .await;
    assert_eq!(
        (&third["resumed"], &third["epoch"], &third["seq"]),
        (&json!(true), &second["epoch"], &seq)
    );
}
