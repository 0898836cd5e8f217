//! Every metric of `docs/operations.md`, after a load whose counts are known.

use crate::support::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// `/metrics`, read.
struct Scrape {
    kinds: BTreeMap<String, String>,
    helped: BTreeSet<String>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Scrape {
    async fn of(relay: &Relay) -> Self {
        let answer = relay.http().await.get("/metrics", "").await;
        assert_eq!(answer.status, 200);
        Self::read(&answer.body)
    }

    fn read(text: &str) -> Self {
        let mut scrape = Self {
            kinds: BTreeMap::new(),
            helped: BTreeSet::new(),
            samples: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, what) = help.split_once(' ').unwrap();
                assert!(what.len() > 10 && what.ends_with('.'), "{line}");
                scrape.helped.insert(name.into());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                scrape.kinds.insert(name.into(), kind.into());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels = labels
                    .trim_end_matches('}')
                    .split(',')
                    .filter_map(|label| label.split_once('='))
                    .map(|(label, value)| (label.into(), value.trim_matches('"').into()))
                    .collect();
                scrape
                    .samples
                    .push((name.into(), labels, value.parse().unwrap()));
            }
        }
        scrape
    }

    /// The one sample with exactly these labels.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: BTreeMap<String, String> = labels
            .iter()
            .map(|(label, value)| ((*label).into(), (*value).into()))
            .collect();
        let found: Vec<f64> = self
            .samples
            .iter()
            .filter(|(known, labels, _)| known == name && *labels == wanted)
            .map(|(.., value)| *value)
            .collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0]
    }

    fn sum(&self, name: &str) -> f64 {
        let of_name = self.samples.iter().filter(|(known, ..)| known == name);
        of_name.map(|(.., value)| value).sum()
    }

    /// The bounds of a histogram without labels, its count and its sum; cumulative as they must be.
    fn histogram(&self, name: &str) -> (Vec<f64>, f64, f64) {
        assert_eq!(
            self.kinds.get(name).map(String::as_str),
            Some("histogram"),
            "{name}"
        );
        let buckets: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|(known, ..)| *known == format!("{name}_bucket"))
            .map(|(_, labels, value)| (labels["le"].parse().unwrap(), *value))
            .collect();
        assert!(
            buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
            "{name}: {buckets:?}"
        );
        let (bounds, counts): (Vec<f64>, Vec<f64>) = buckets.into_iter().unzip();
        let (count, sum) = (
            self.value(&format!("{name}_count"), &[]),
            self.value(&format!("{name}_sum"), &[]),
        );
        assert_eq!(counts.last(), Some(&count), "{name}: +Inf holds all");
        (bounds, count, sum)
    }
}

async fn create(relay: &Relay, service: &str, times: usize) -> Vec<String> {
    let mut http = relay.http().await;
    let mut ids = Vec::new();
    for n in 0..times {
        let made = http.post(ORDERS, service, &burger(&n.to_string())).await;
        assert_eq!(made.status, 201, "{made:?}");
        ids.push(made.json()["id"].as_str().unwrap().to_owned());
    }
    ids
}

async fn close(client: &mut Client, code: u16) {
    let frame = CloseFrame {
        code: code.into(),
        reason: "".into(),
    };
    client.message(Message::Close(Some(frame))).await;
}

/// One command; `ack`, or the code of its `nack`.
async fn command(client: &mut Client, kind: &str, id: &str, payload: Value) -> String {
    client
        .send(json!({"type":kind,"id":id,"payload":payload}))
        .await;
    loop {
        let frame = client.next().await;
        match frame["type"].as_str() {
            Some("ack") => return "ack".into(),
            Some("nack") => return frame["error"]["code"].as_str().unwrap().into(),
            _ => {}
        }
    }
}

#[tokio::test]
async fn each_metric_counts_what_it_says() {
    const ORDERS_MADE: usize = 10;
    let data = tempfile::tempdir().unwrap();
    let args = ["--rate-limit", "1/s,burst=8", "--heartbeat", "60s"];
    let mut relay = Relay::start(data.path(), &args);
    let service = relay.token("service").await;

    // Four screens, three of them with a snapshot.
    let mut screens = Vec::new();
    let mut position = Value::Null;
    for role in ["kitchen", "server", "manager"] {
        let token = relay.token(role).await;
        let (mut client, success) = Client::v1(&relay, &token, json!({"sync":true})).await;
        client.until("sync_complete").await;
        position = json!({"epoch":success["epoch"],"seq":success["seq"]});
        screens.push(client);
    }
    let mut plain = Client::open(&relay).await;
    let token = relay.token("kitchen").await;
    plain.send(json!({"type":"auth","token":token})).await;
    plain.until("auth:success").await;
    screens.push(plain);

    let ids = create(&relay, &service, ORDERS_MADE).await;
    for client in &mut screens {
        for _ in 0..ORDERS_MADE {
            client.until("order:created").await;
        }
    }
    let scrape = Scrape::of(&relay).await;
    for (dialect, role) in [
        ("tautline.v1", "kitchen"),
        ("tautline.v1", "server"),
        ("tautline.v1", "manager"),
        ("plain", "kitchen"),
    ] {
        let open = scrape.value(
            "tautline_connections",
            &[("dialect", dialect), ("role", role)],
        );
        assert_eq!(open, 1.0, "{dialect} {role}");
    }
    assert_eq!(
        scrape.value("tautline_connects_total", &[("result", "ok")]),
        4.0
    );
    assert_eq!(
        scrape.value("tautline_events_appended_total", &[]),
        ORDERS_MADE as f64
    );
    assert_eq!(
        scrape.value("tautline_events_delivered_total", &[]),
        (ORDERS_MADE * 4) as f64
    );
    assert_eq!(scrape.value("tautline_snapshots_total", &[]), 3.0);
    assert_eq!(
        scrape.value("tautline_resumes_total", &[("result", "none")]),
        4.0
    );
    assert_eq!(scrape.value("tautline_cursor_lag_events", &[]), 0.0);
    assert_eq!(scrape.value("tautline_append_queue", &[]), 0.0);
    assert_eq!(scrape.value("tautline_restaurants", &[]), 1.0);
    assert_eq!(scrape.value("tautline_ready", &[]), 1.0);
    assert_eq!(
        scrape.value(
            "tautline_store_info",
            &[("store", "sqlite"), ("durability", "full")]
        ),
        1.0
    );
    // Each event is over 300 bytes on the wire, whatever else was said.
    let bytes = scrape.value("tautline_bytes_sent_total", &[]);
    assert!((300.0 * 40.0..200_000.0).contains(&bytes), "{bytes}");
    let (bounds, turns, events) = scrape.histogram("tautline_batch_events");
    assert_eq!(
        (bounds[0], bounds[bounds.len() - 2]),
        (1.0, 64.0),
        "up to a whole turn"
    );
    assert_eq!(events, 40.0);
    assert!((4.0..=40.0).contains(&turns), "{turns}");
    let (bounds, count, sum) = scrape.histogram("tautline_delivery_lag_seconds");
    assert!(
        bounds[0] <= 0.002 && bounds.contains(&1.0) && bounds.contains(&60.0),
        "{bounds:?}"
    );
    assert_eq!(count, turns);
    assert!(sum < 30.0 * count, "{sum}");
    let (_, commits, records) = scrape.histogram("tautline_commit_batch");
    assert!((1.0..=10.0).contains(&commits), "{commits}");
    assert_eq!(records, ORDERS_MADE as f64);
    let (bounds, count, sum) = scrape.histogram("tautline_commit_seconds");
    assert!(
        bounds[0] <= 0.001 && bounds.contains(&0.5) && bounds.contains(&1.0),
        "{bounds:?}"
    );
    assert_eq!(count, commits);
    assert!(sum > 0.0 && sum < 30.0 * count, "{sum}");
    assert_eq!(
        scrape.value(
            "tautline_commands_total",
            &[("type", "create"), ("result", "ack")]
        ),
        ORDERS_MADE as f64
    );

    // Commands of each result, by the one connection that has 8 of them.
    let manager = &mut screens[2];
    let to = |id: &str, status: &str| json!({"order_id":id,"status":status});
    let (first, status) = (ids[0].as_str(), "order:update_status");
    assert_eq!(
        command(manager, status, "c1", to(first, "ready")).await,
        "ack"
    );
    assert_eq!(
        command(manager, status, "c1", to(first, "ready")).await,
        "ack",
        "remembered"
    );
    assert_eq!(
        command(manager, status, "c1", to(first, "completed")).await,
        "id_reused"
    );
    assert_eq!(
        command(manager, status, "c2", to(first, "new")).await,
        "invalid_transition"
    );
    assert_eq!(
        command(manager, status, "c3", to("nobody", "ready")).await,
        "not_found"
    );
    let expects = json!({"order_id":first,"status":"completed","expected_status":"new"});
    assert_eq!(command(manager, status, "c4", expects).await, "conflict");
    assert_eq!(command(manager, status, "c5", json!({})).await, "invalid");
    assert_eq!(
        command(manager, "order:cancel", "c6", json!({"order_id":ids[1]})).await,
        "ack"
    );
    let mut over = 0.0;
    while command(manager, status, &format!("r{over}"), to(first, "completed")).await
        != "rate_limited"
    {
        // A machine that took a second over the eight has one more.
        over += 1.0;
        assert!(over < 20.0, "a rate that does not limit");
    }
    let scrape = Scrape::of(&relay).await;
    for (result, times) in [
        ("id_reused", 1.0),
        ("invalid_transition", 1.0),
        ("not_found", 1.0),
        ("conflict", 1.0),
        ("invalid", 1.0),
        ("rate_limited", 1.0),
    ] {
        let count = scrape.value(
            "tautline_commands_total",
            &[("type", "status"), ("result", result)],
        );
        assert!(count >= times, "{result}: {count}");
    }
    assert!(
        scrape.value(
            "tautline_commands_total",
            &[("type", "status"), ("result", "ack")]
        ) >= 2.0
    );
    assert_eq!(
        scrape.value(
            "tautline_commands_total",
            &[("type", "cancel"), ("result", "ack")]
        ),
        1.0
    );

    // A limit by HTTP: a role has its burst of writes, then 429.
    let server = relay.token("server").await;
    let mut http = relay.http().await;
    while http.post(ORDERS, &server, &burger("7")).await.status != 429 {}
    assert!(Scrape::of(&relay).await.sum("tautline_limit_hits_total") >= 1.0);

    // The kitchen goes, misses two, comes back where it was; another names a history that never was.
    let before = Scrape::of(&relay)
        .await
        .value("tautline_events_appended_total", &[]);
    close(&mut screens[0], 1000).await;
    screens[0].closed().await;
    position["seq"] = json!(before as u64);
    create(&relay, &service, 2).await;
    relay
        .until("the others have them", || async {
            relay.metric("tautline_cursor_lag_events").await == 0.0
        })
        .await;
    let lags = Scrape::of(&relay)
        .await
        .histogram("tautline_delivery_lag_seconds")
        .1;
    let kitchen = relay.token("kitchen").await;
    let (mut back, success) = Client::v1(&relay, &kitchen, json!({"resume":position})).await;
    assert_eq!(success["resumed"], true);
    for _ in 0..2 {
        back.until("order:created").await;
    }
    let unknown = json!({"resume":{"epoch":"never","seq":3}});
    let (mut lost, success) = Client::v1(&relay, &kitchen, unknown).await;
    assert_eq!(success["resumed"], false);

    // Ends: an unheard-of code, no code at all, a token that is none.
    close(&mut lost, 4999).await;
    lost.closed().await;
    drop(screens.pop());
    let mut liar = Client::open(&relay).await;
    liar.send(json!({"type":"auth","token":"a.b.c"})).await;
    assert_eq!(liar.closed().await.0, 1008);
    drop((lost, liar));
    relay
        .until("they are gone", || async {
            relay.metric("tautline_connections").await == 3.0
        })
        .await;
    let scrape = Scrape::of(&relay).await;
    for (code, times) in [
        ("1000", 1.0),
        ("other", 1.0),
        ("1006", 1.0),
        ("1008", 1.0),
        ("4008", 0.0),
    ] {
        assert_eq!(
            scrape.value("tautline_closes_total", &[("code", code)]),
            times,
            "{code}"
        );
    }
    assert_eq!(
        scrape.sum("tautline_connects_total") - scrape.sum("tautline_closes_total"),
        scrape.sum("tautline_connections"),
        "who came and has not gone is there"
    );
    assert_eq!(
        scrape.value("tautline_resumes_total", &[("result", "resumed")]),
        1.0
    );
    assert_eq!(
        scrape.value("tautline_resumes_total", &[("result", "refused")]),
        1.0
    );
    assert_eq!(scrape.value("tautline_snapshots_total", &[]), 3.0);
    let (_, after, _) = scrape.histogram("tautline_delivery_lag_seconds");
    assert_eq!(after, lags, "a replay is no slow delivery");
    for kind in ["full", "io", "other", "read"] {
        assert_eq!(
            scrape.value("tautline_store_errors_total", &[("kind", kind)]),
            0.0
        );
    }
    assert_eq!(scrape.value("tautline_epochs_total", &[]), 0.0);
    assert_eq!(scrape.value("tautline_session_panics_total", &[]), 0.0);
    assert!(scrape.value("tautline_tasks", &[]) >= 3.0);
    assert!(scrape.value("tautline_http_requests_total", &[("status", "201")]) >= 12.0);
    assert!(scrape.value("tautline_http_requests_total", &[("status", "101")]) == 7.0);
    assert!(scrape.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(scrape.value("process_open_fds", &[]) > 5.0);
    assert!(scrape.value("process_max_fds", &[]) >= 256.0);
    assert!(scrape.value("process_start_time_seconds", &[]) > 1.7e9);
    described(&scrape);

    // A new process counts from nothing, and what it kept is what it stored.
    drop((screens, back));
    relay.signal(rustix::process::Signal::TERM);
    assert!(relay.ended().await.success());
    let relay = Relay::start(data.path(), &args);
    let scrape = Scrape::of(&relay).await;
    assert_eq!(scrape.value("tautline_events_delivered_total", &[]), 0.0);
    assert_eq!(scrape.sum("tautline_connections"), 0.0);
    let (mut again, success) = Client::v1(&relay, &kitchen, json!({"resume":position})).await;
    assert_eq!(success["resumed"], true);
    for _ in 0..2 {
        again.until("order:created").await;
    }
    let scrape = Scrape::of(&relay).await;
    assert_eq!(scrape.value("tautline_events_delivered_total", &[]), 2.0);
    assert_eq!(
        scrape.value("tautline_resumes_total", &[("result", "resumed")]),
        1.0
    );
}

/// Each has a description, a type that is not a summary, and labels with few values, none of them a restaurant.
fn described(scrape: &Scrape) {
    let mut labels = BTreeMap::<(&str, &str), BTreeSet<&str>>::new();
    for (name, of, _) in &scrape.samples {
        let family = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                (scrape.kinds.get(family)? == "histogram").then_some(family)
            })
            .unwrap_or(name);
        assert!(scrape.helped.contains(family), "{family} has no HELP");
        assert_ne!(
            scrape.kinds.get(family).map(String::as_str),
            Some("summary"),
            "{family}"
        );
        for (label, value) in of {
            assert!(
                !label.contains("restaurant") && value != "demo",
                "{name}{{{label}}}"
            );
            labels.entry((name, label)).or_default().insert(value);
        }
    }
    for (label, values) in labels {
        assert!(values.len() <= 64, "{label:?} has {values:?}");
    }
}

/// The names in the relay's source, those it describes, and those of the operators' page are the same.
#[test]
fn the_source_the_descriptions_and_the_page_name_the_same_metrics() {
    fn read(folder: &Path, found: &mut BTreeMap<String, bool>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            if path.ends_with("measures.rs") {
                // The table: names stand alone, as strings.
                let names = text.split('"').skip(1).step_by(2);
                for name in
                    names.filter(|name| name.starts_with("tautline_") && !name.contains(' '))
                {
                    found.insert(name.into(), true);
                }
                continue;
            }
            for of in ["counter!(", "gauge!(", "histogram!("] {
                for after in text.split(of).skip(1) {
                    let name = after
                        .trim_start()
                        .strip_prefix('"')
                        .and_then(|rest| rest.split('"').next());
                    if let Some(name) = name {
                        found.entry(name.into()).or_insert(false);
                    }
                }
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    read(&root.join("src"), &mut found);
    assert!(found.len() > 20, "{found:?}");
    for (name, described) in &found {
        assert!(described, "{name} is not described in measures.rs");
    }
    let page = std::fs::read_to_string(root.join("../../docs/operations.md")).unwrap();
    for name in found.keys() {
        assert!(
            page.contains(&format!("`{name}")),
            "docs/operations.md does not name {name}"
        );
    }
    for named in page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.starts_with("tautline_"))
    {
        let name = named.split(['{', ' ']).next().unwrap();
        assert!(
            found.contains_key(name),
            "docs/operations.md names {named}, which is not there"
        );
    }
}
