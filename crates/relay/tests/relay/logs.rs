//! What the log says at each level, and what it never says.

use crate::support::*;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;

const NAME: &str = "Wilhelmina Quantrill";
const PHONE: &str = "+49 170 5559183";
const NOTES: &str = "allergic to lupin flour";

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// A screen's evening: it connects, orders, is refused, is closed by an operator, and the relay goes down.
async fn evening(data: &Path, log: &Path, level: &str) -> (String, String) {
    let mut relay = Relay::start_logging(data, log, level);
    let (service, manager) = (relay.token("service").await, relay.token("manager").await);
    let client = json!({"name":NAME,"version":"1"});
    let (mut screen, _) = Client::v1(&relay, &manager, json!({"sync":true,"client":client})).await;
    screen.until("sync_complete").await;
    let mut order: Value = serde_json::from_str(&burger("4")).unwrap();
    order["customer_name"] = json!(NAME);
    order["customer_phone"] = json!(PHONE);
    order["notes"] = json!(NOTES);
    let answer = relay
        .http()
        .await
        .post(ORDERS, &service, &order.to_string())
        .await;
    assert_eq!(answer.status, 201);
    let path = format!("{ORDERS}/{}", answer.json()["id"].as_str().unwrap());
    assert!(
        relay
            .http()
            .await
            .get(&path, &manager)
            .await
            .body
            .contains(PHONE)
    );
    screen
        .send(json!({"type":"order:create","id":"c1","payload":{"order":order}}))
        .await;
    screen.until("ack").await;
    // Refusals repeat what they refuse, to the client and to nobody else.
    screen
        .send(json!({"type":NAME,"id":"c2","payload":{"order":PHONE}}))
        .await;
    screen.until("nack").await;
    screen.text(format!("{NOTES} {manager}")).await;
    screen.until("error").await;
    let query = format!("/{NAME}?token={manager}").replace(' ', "%20");
    relay.http().await.get(&query, &manager).await;
    let mut liar = Client::open(&relay).await;
    liar.send(json!({"type":"auth","token":format!("{manager}x")}))
        .await;
    assert_eq!(liar.closed().await.0, 1008);
    let sessions = relay
        .http()
        .await
        .get("/api/v1/sessions", &manager)
        .await
        .json();
    let id = sessions["sessions"][0]["id"].as_str().unwrap().to_owned();
    let closed = relay
        .http()
        .await
        .send(
            "DELETE",
            &format!("/api/v1/sessions/{id}"),
            &manager,
            &[],
            "",
        )
        .await
        .unwrap();
    assert_eq!(closed.status, 204);
    assert_eq!(screen.closed().await.0, 1000);
    drop((screen, liar));
    relay.signal(Signal::TERM);
    assert!(relay.ended().await.success());
    (id, manager)
}

fn messages(lines: &[Value], level: &str) -> Vec<String> {
    let of_level = lines.iter().filter(|line| line["level"] == level);
    of_level
        .map(|line| line["message"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_most_verbose_log_tells_the_story_and_no_secret() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("log");
    let (session, token) = evening(&data.path().join("store"), &log, "trace").await;
    let lines = lines(&log);
    let story: Vec<&str> = lines
        .iter()
        .filter(|line| line["session"] == session.as_str())
        .map(|line| line["message"].as_str().unwrap())
        .filter(|message| !message.starts_with("frame") && !message.starts_with("turn"))
        .collect();
    assert_eq!(
        story,
        [
            "connected",
            "token checked",
            "attached",
            "connection ends",
            "gone"
        ]
    );
    let end = lines
        .iter()
        .find(|line| line["message"] == "connection ends" && line["session"] == session.as_str())
        .unwrap();
    assert_eq!(
        (&end["level"], &end["code"], &end["by"], &end["restaurant"]),
        (
            &json!("INFO"),
            &json!(1000),
            &json!("relay"),
            &json!("demo")
        )
    );
    let refused = lines
        .iter()
        .find(|line| line["message"] == "token checked" && line["result"] == "token_invalid");
    assert!(refused.is_some(), "the liar");
    let trace = messages(&lines, "TRACE");
    for (message, least) in [("frame in", 5), ("frame out", 6), ("turn out", 2)] {
        let count = trace.iter().filter(|&known| known == message).count();
        assert!(count >= least, "{message}: {count}");
    }
    let types: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["frame"].as_str())
        .collect();
    for frame in [
        "auth",
        "auth:success",
        "auth:failed",
        "order:create",
        "ack",
        "nack",
        "error",
        "other",
        "unreadable",
    ] {
        assert!(types.contains(&frame), "{frame}: {types:?}");
    }
    for line in &lines {
        assert!(
            line["target"]
                .as_str()
                .unwrap()
                .starts_with("tautline_relay"),
            "{line}"
        );
    }

    let text = std::fs::read_to_string(&log).unwrap();
    let secret = std::fs::read(data.path().join("store/dev-secret")).unwrap();
    assert!(secret.len() >= 32);
    let written: [&dyn Fn(&u8) -> String; 3] = [
        &|byte| format!("{byte:02x}"),
        &|byte| format!("{byte}, "),
        &|byte| std::ascii::escape_default(*byte).to_string(),
    ];
    let secrets = written.map(|write| secret.iter().take(8).map(write).collect::<String>());
    let signature = token.rsplit('.').next().unwrap();
    for hidden in [
        "eyJ",
        "earer",
        NAME,
        "Quantrill",
        PHONE,
        "5559183",
        NOTES,
        "lupin",
        &secrets[0],
        &secrets[1],
        &secrets[2],
        signature,
        "Burger",
    ] {
        let line = text.lines().find(|line| line.contains(hidden));
        assert!(line.is_none(), "{hidden} is in the log: {line:?}");
    }
}

#[tokio::test]
async fn at_info_the_relay_speaks_of_what_it_did_itself() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("log");
    evening(&data.path().join("store"), &log, "info").await;
    let lines = lines(&log);
    assert_eq!(
        messages(&lines, "INFO"),
        [
            "ready",
            "connection ends",
            "going down",
            "clients are told when to come back",
            "every client has gone"
        ]
    );
    let ready = &lines[0];
    assert!(
        ready["address"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{ready}"
    );
    assert!(
        ready["config"].as_str().unwrap().contains("heartbeat: 15s"),
        "{ready}"
    );
    assert!(messages(&lines, "DEBUG").is_empty() && messages(&lines, "TRACE").is_empty());
}
