use crate::support::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn ids(page: &Value) -> Vec<String> {
    let orders = page["orders"].as_array().unwrap();
    orders
        .iter()
        .map(|order| order["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Those made or gone in the same millisecond come in any order.
fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}

async fn make(http: &mut Http, token: &str, table: &str) -> String {
    let made = http.post(ORDERS, token, &burger(table)).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn leave(http: &mut Http, token: &str, id: &str) {
    let gone = http
        .send("DELETE", &format!("{ORDERS}/{id}"), token, &[], "")
        .await
        .unwrap();
    assert_eq!(gone.status, 204, "{gone:?}");
}

#[tokio::test]
async fn orders_that_left_the_live_set_are_found_again() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let mut http = relay.http().await;
    let mut all = Vec::new();
    for table in 0..10 {
        all.push(make(&mut http, &token, &table.to_string()).await);
    }
    let done = format!("{ORDERS}/{}/status", all[3]);
    let status = r#"{"status":"completed"}"#;
    http.send("PATCH", &done, &token, &[], status)
        .await
        .unwrap();
    for id in &all[2..8] {
        leave(&mut http, &token, id).await;
    }
    let one = http.get(&format!("{ORDERS}/{}", all[3]), &token).await;
    assert_eq!(one.json()["status"], "completed");
    assert!(one.json()["left_at"].is_string());
    // Only the live ones, unless the others are asked for.
    let live = http.get(ORDERS, &token).await.json();
    assert_eq!(
        sorted(&ids(&live)),
        sorted(&[&all[..2], &all[8..]].concat())
    );
    let everything = http
        .get(&format!("{ORDERS}?past=true"), &token)
        .await
        .json();
    assert_eq!(
        sorted(&ids(&everything)),
        sorted(&all),
        "who left just now is at its place yet"
    );
    for order in everything["orders"].as_array().unwrap() {
        let id = order["id"].as_str().unwrap();
        assert_eq!(
            order["left_at"].is_string(),
            all[2..8].iter().any(|past| past == id),
            "{order}"
        );
        assert_eq!(order.get("customer_phone"), None);
    }
    let completed = http
        .get(
            &format!("{ORDERS}?past=true&status=completed,cancelled"),
            &token,
        )
        .await
        .json();
    assert_eq!(ids(&completed), [all[3].clone()]);
    let since = one.json()["updated_at"].as_str().unwrap().to_owned();
    let since = http
        .get(&format!("{ORDERS}?past=true&since={since}"), &token)
        .await
        .json();
    assert!(ids(&since).contains(&all[3]));
    let never = "2999-01-01T00:00:00Z";
    let later = http
        .get(&format!("{ORDERS}?past=true&since={never}"), &token)
        .await
        .json();
    assert_eq!(later["orders"], json!([]));
    // After a restart, an hour later, they come before the others, in the order of leaving.
    drop(http);
    relay.kill();
    let relay = an_hour_later(data.path());
    let mut http = relay.http().await;
    let page = http
        .get(&format!("{ORDERS}?past=true&limit=4"), &token)
        .await
        .json();
    let next = page["next_cursor"].as_str().unwrap();
    let next = http
        .get(&format!("{ORDERS}?past=true&cursor={next}"), &token)
        .await
        .json();
    let both = [ids(&page), ids(&next)].concat();
    assert_eq!(sorted(&both[..6]), sorted(&all[2..8]));
    assert_eq!(sorted(&both[6..]), sorted(&[&all[..2], &all[8..]].concat()));
    let times = page["orders"].as_array().unwrap().iter();
    assert!(times.is_sorted_by_key(|order| order["left_at"].as_str().unwrap()));
    // A cursor of one list is none of the other.
    let cursor = page["next_cursor"].as_str().unwrap();
    let other = http.get(&format!("{ORDERS}?cursor={cursor}"), &token).await;
    assert_eq!(other.status, 422);
}

/// The relay on a folder whose past orders left an hour earlier than they did.
fn an_hour_later(data: &std::path::Path) -> Relay {
    let db = rusqlite::Connection::open(data.join("tautline.db")).unwrap();
    db.execute("UPDATE past_order SET left_ms = left_ms - 3600000", [])
        .unwrap();
    drop(db);
    Relay::start(data, &[])
}

#[tokio::test]
async fn pages_miss_no_order_that_leaves_between_them() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let mut http = relay.http().await;
    let mut all = Vec::new();
    for table in 0..30 {
        all.push(make(&mut http, &token, &table.to_string()).await);
    }
    for id in &all[..10] {
        leave(&mut http, &token, id).await;
    }
    drop(http);
    relay.kill();
    let relay = an_hour_later(data.path());
    let mut http = relay.http().await;
    let (mut seen, mut path, mut pages) = (Vec::new(), format!("{ORDERS}?past=true&limit=4"), 0);
    loop {
        let page = http.get(&path, &token).await.json();
        assert!(ids(&page).len() <= 4);
        seen.extend(ids(&page));
        // Two more leave, from both ends, shown already and not yet.
        leave(&mut http, &token, &all[10 + pages]).await;
        leave(&mut http, &token, &all[29 - pages]).await;
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("{ORDERS}?past=true&limit=4&cursor={cursor}");
    }
    assert_eq!(seen.len(), 30, "once each");
    assert_eq!(
        seen.into_iter().collect::<BTreeSet<_>>(),
        all.into_iter().collect()
    );
}

#[tokio::test]
async fn archived_orders_go_into_the_history_and_leave_it_when_their_time_is_over() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &["--keep-final", "0s", "--history", "2s"]);
    let token = relay.token("service").await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    let mut http = relay.http().await;
    let id = make(&mut http, &token, "1").await;
    let path = format!("{ORDERS}/{id}");
    let status = r#"{"status":"completed"}"#;
    http.send("PATCH", &format!("{path}/status"), &token, &[], status)
        .await
        .unwrap();
    client.until("orders:archived").await;
    let past = relay.http().await.get(&path, &token).await;
    assert!(past.json()["left_at"].is_string(), "{past:?}");
    relay
        .until("the history to end", || async {
            relay.http().await.get(&path, &token).await.status == 404
        })
        .await;
}
