use crate::support::*;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_restart_keeps_epoch_position_orders_and_the_memory_of_commands() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(data.path(), &[]);
    let token = relay.token("server").await;
    let (mut client, success) = Client::v1(&relay, &token, json!({})).await;
    let create = json!({"type":"order:create","id":"k-1","payload":{"order":{"type":"dine-in","items":[{"menu_item_id":"b","name":"Burger","quantity":1,"price":9.5}],"customer_phone":"555-0100"}}});
    client.send(create.clone()).await;
    let ack = client.until("ack").await;
    relay.signal(Signal::TERM);
    assert_eq!(relay.ended().await.code(), Some(0));

    let relay = Relay::start(data.path(), &[]);
    // The development secret is in the folder too: the same token still holds.
    let (mut client, again) = Client::v1(
        &relay,
        &token,
        json!({"resume": {"epoch": success["epoch"], "seq": 0}}),
    )
    .await;
    assert_eq!(
        (&again["epoch"], &again["seq"], &again["resumed"]),
        (&success["epoch"], &json!(1), &json!(true))
    );
    assert_eq!(client.expect("order:created").await["seq"], 1);
    client.send(create).await;
    assert_eq!(client.until("ack").await["payload"], ack["payload"]);
    let id = ack["payload"]["result"]["order"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut http = relay.http().await;
    let order = http.get(&format!("{ORDERS}/{id}"), &token).await;
    assert_eq!(
        order.json()["customer_phone"],
        "555-0100",
        "the one place that shows it"
    );
    assert!(!http.get(ORDERS, &token).await.body.contains("555-0100"));
    assert!(!http.get(EVENTS, &token).await.body.contains("555-0100"));
}

#[tokio::test]
async fn a_kill_in_a_rush_loses_nothing_that_was_answered_and_repeats_nothing() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let (mut watcher, _) = Client::v1(&relay, &token, json!({})).await;
    let mut writers = Vec::new();
    for writer in 0..8 {
        let (mut http, token) = (relay.http().await, token.clone());
        writers.push(tokio::spawn(async move {
            let mut answered = Vec::new();
            for n in 0.. {
                let table = format!("{writer}-{n}");
                match http
                    .send(
                        "POST",
                        ORDERS,
                        &token,
                        &[("idempotency-key", &table)],
                        &burger(&table),
                    )
                    .await
                {
                    Ok(answer) if answer.status == 201 => {
                        answered.push(answer.json()["id"].as_str().unwrap().to_owned())
                    }
                    Ok(answer) => panic!("{answer:?}"),
                    Err(_) => return (answered, table),
                }
            }
            unreachable!()
        }));
    }
    let mut shown = Vec::new();
    while shown.len() < 200 {
        shown.push(
            watcher.expect("order:created").await["payload"]["order"]["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    relay.kill();
    let mut answered = BTreeSet::new();
    let mut unanswered = Vec::new();
    for writer in writers {
        let (ids, last) = writer.await.unwrap();
        answered.extend(ids);
        unanswered.push(last);
    }
    let relay = Relay::start(data.path(), &[]);
    let mut http = relay.http().await;
    // Who got no answer asks again under the same key, as a client does.
    for table in &unanswered {
        let answer = http
            .send(
                "POST",
                ORDERS,
                &token,
                &[("idempotency-key", table)],
                &burger(table),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let (mut ids, mut tables, mut path) = (
        BTreeSet::new(),
        BTreeSet::new(),
        format!("{ORDERS}?limit=1000"),
    );
    loop {
        let page = http.get(&path, &token).await.json();
        for order in page["orders"].as_array().unwrap() {
            ids.insert(order["id"].as_str().unwrap().to_owned());
            assert!(
                tables.insert(order["table_number"].as_str().unwrap().to_owned()),
                "twice: {order}"
            );
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{ORDERS}?limit=1000&cursor={cursor}"),
            None => break,
        }
    }
    assert!(answered.is_subset(&ids), "an answered order is gone");
    assert!(
        shown.iter().all(|id| ids.contains(id)),
        "somebody was shown an order that is gone"
    );
    assert!(unanswered.iter().all(|table| tables.contains(table)));
}

#[tokio::test]
async fn writers_at_once_share_commits() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let mut writers = Vec::new();
    for writer in 0..64 {
        let (mut http, token) = (relay.http().await, token.clone());
        writers.push(tokio::spawn(async move {
            for n in 0..20 {
                assert_eq!(
                    http.post(ORDERS, &token, &burger(&format!("{writer}-{n}")))
                        .await
                        .status,
                    201
                );
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let (sum, count) = (
        relay.metric("tautline_commit_batch_sum").await,
        relay.metric("tautline_commit_batch_count").await,
    );
    assert_eq!(sum, 64.0 * 20.0);
    assert!(sum / count > 8.0, "{} records a commit", sum / count);
}

#[tokio::test]
async fn memory_only_forgets_and_says_so_by_its_epoch() {
    let relay = Relay::start(std::path::Path::new(":memory:"), &[]);
    let token = relay.token("manager").await;
    assert_eq!(
        relay
            .http()
            .await
            .post(ORDERS, &token, &burger("1"))
            .await
            .status,
        201
    );
    let (_, first) = Client::v1(&relay, &token, json!({})).await;
    relay.kill();
    let relay = Relay::start(std::path::Path::new(":memory:"), &[]);
    let token = relay.token("manager").await;
    let (_, second) = Client::v1(
        &relay,
        &token,
        json!({"resume": {"epoch": first["epoch"], "seq": 1}}),
    )
    .await;
    assert_eq!(
        (&second["resumed"], &second["seq"]),
        (&json!(false), &json!(0))
    );
    assert_ne!(first["epoch"], second["epoch"]);
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_relay_and_what_was_answered_is_kept() {
    let data = tempfile::tempdir().unwrap();
    // Files may grow to 2 MiB; a write beyond fails as a broken disk's does.
    let mut relay = Relay::start_limited(data.path(), 4096);
    let token = relay.token("service").await;
    let (mut watcher, _) = Client::v1(&relay, &token, json!({})).await;
    let mut http = relay.http().await;
    let big = json!({"type":"menu:updated","payload":{"text":"x".repeat(60_000)}}).to_string();
    let mut answered = 0;
    while let Ok(answer) = http.send("POST", EVENTS, &token, &[], &big).await {
        if answer.status != 202 {
            break;
        }
        answered = answer.json()["seq"].as_u64().unwrap();
    }
    assert!(answered > 10);
    assert_eq!(watcher.closed().await.0, 1012);
    assert_eq!(relay.ended().await.code(), Some(1));
    let relay = Relay::start(data.path(), &[]);
    let page = relay
        .http()
        .await
        .get(&format!("{EVENTS}?limit=1000"), &token)
        .await
        .json();
    assert!(page["seq"].as_u64().unwrap() >= answered);
}
