//! The sessions view names the screen that does not see what it is sent.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};

const SESSIONS: &str = "/api/v1/sessions";

fn named(name: &str) -> Value {
    json!({"client":{"name":name}})
}

/// A screen that goes on: it reads, so that it answers pings, and sends its own.
fn goes_on(mut client: Client) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            client
                .send(json!({"type":"ping","payload":{"timestamp":1}}))
                .await;
            client.until("pong").await;
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    })
}

/// The views by the client's name.
async fn view(relay: &Relay, token: &str) -> impl Fn(&str) -> Value + use<> {
    let answer = relay.http().await.get(SESSIONS, token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let all = answer.json();
    move |name| {
        let sessions = all["sessions"].as_array().unwrap();
        let found = sessions.iter().find(|view| view["client"]["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {all}")).clone()
    }
}

/// Passes bytes on, both ways, until it swallows them.
async fn proxy(to: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, swallows) = (
        listener.local_addr().unwrap(),
        Arc::new(AtomicBool::new(false)),
    );
    let told = Arc::clone(&swallows);
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(to).await.unwrap();
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        for (from, to) in [(near_in, far_out), (far_in, near_out)] {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                loop {
                    from.readable().await.unwrap();
                    let Ok(n) = from.try_read(&mut buffer) else {
                        continue;
                    };
                    if n == 0 {
                        return;
                    }
                    let mut rest = if told.load(Ordering::Relaxed) {
                        &[][..]
                    } else {
                        &buffer[..n]
                    };
                    while !rest.is_empty() {
                        to.writable().await.unwrap();
                        if let Ok(n) = to.try_write(rest) {
                            rest = &rest[n..];
                        }
                    }
                }
            });
        }
    });
    (address, swallows)
}

#[tokio::test]
async fn a_screen_that_is_stalled_is_named_within_a_heartbeat() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let (token, service) = (relay.token("manager").await, relay.token("service").await);
    let (awake, _) = Client::v1(&relay, &token, named("awake")).await;
    let awake = goes_on(awake);
    // Its socket is open and its kernel takes bytes, but nobody reads them any more.
    let (deaf, _) = Client::v1(&relay, &token, named("deaf")).await;
    let (address, swallows) = proxy(relay.address).await;
    let stream = Box::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let mut behind = Client::over(stream, address).await;
    behind.expect("connected").await;
    let auth =
        json!({"type":"auth","token":token,"protocol":"tautline.v1","client":{"name":"behind"}});
    behind.send(auth).await;
    behind.expect("auth:success").await;
    let behind = goes_on(behind);
    relay
        .until("the proxied one is well", || async {
            view(&relay, &token).await("behind")["rtt_ms"].is_u64()
        })
        .await;
    swallows.store(true, Ordering::Relaxed);

    let stalled_at = Instant::now();
    relay
        .until("both are named", || async {
            let view = view(&relay, &token).await;
            view("deaf")["stalled"] == true && view("behind")["stalled"] == true
        })
        .await;
    assert!(stalled_at.elapsed().as_secs() < 15, "within the heartbeat");
    let seen = view(&relay, &token).await;
    assert_eq!(seen("awake")["stalled"], false);
    assert!(seen("awake")["last_frame_ms"].as_u64().unwrap() < 2_000);
    assert!(seen("awake")["rtt_ms"].is_u64() || seen("awake")["unanswered_ms"].is_null());
    for lost in ["deaf", "behind"] {
        assert!(
            seen(lost)["unanswered_ms"].as_u64().unwrap() >= 2_000,
            "{lost}"
        );
        assert_eq!(seen(lost)["lag"], 0, "the kernel has taken what there was");
    }

    // With more to send than the kernel takes, the lag shows too.
    let mut http = relay.http().await;
    let event = json!({"type":"menu:updated","payload":{"text":"x".repeat(60_000)}}).to_string();
    for _ in 0..160 {
        assert_eq!(http.post(EVENTS, &service, &event).await.status, 202);
    }
    relay
        .until("its socket is full", || async {
            view(&relay, &token).await("deaf")["lag"].as_u64() > Some(20)
        })
        .await;
    let seen = view(&relay, &token).await;
    assert!(seen("deaf")["blocked_ms"].is_u64(), "{}", seen("deaf"));
    assert_eq!(seen("awake")["stalled"], false);
    awake.abort();
    behind.abort();
    drop(deaf);
}

#[tokio::test]
async fn a_page_that_has_stopped_is_named_though_its_browser_answers() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &["--heartbeat", "1s"]);
    let token = relay.token("manager").await;
    let (awake, _) = Client::v1(&relay, &token, named("awake")).await;
    let awake = goes_on(awake);
    let (mut frozen, _) = Client::v1(&relay, &token, named("frozen")).await;
    // A plain page that never had a heartbeat is judged by its browser's answers alone.
    let mut plain = Client::open(&relay).await;
    plain
        .send(json!({"type":"auth","token":token,"client":{"name":"plain"}}))
        .await;
    plain.until("auth:success").await;
    // WebSocket pings are answered while it is read from.
    let frozen = tokio::spawn(async move { frozen.closed().await });
    let plain = tokio::spawn(async move { plain.closed().await });
    relay
        .until("it is named", || async {
            view(&relay, &token).await("frozen")["stalled"] == true
        })
        .await;
    let seen = view(&relay, &token).await;
    assert!(seen("frozen")["last_frame_ms"].as_u64().unwrap() >= 3_000);
    assert!(seen("frozen")["unanswered_ms"].as_u64().unwrap_or(0) < 2_000);
    assert_eq!(
        (&seen("awake")["stalled"], &seen("plain")["stalled"]),
        (&json!(false), &json!(false))
    );
    for task in [frozen, plain] {
        task.abort();
    }
    awake.abort();
}

#[tokio::test]
async fn only_managers_and_services_see_it() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    for (role, status) in [
        ("manager", 200),
        ("service", 200),
        ("kitchen", 403),
        ("server", 403),
        ("kiosk", 403),
        ("customer", 403),
    ] {
        let token = relay.token(role).await;
        assert_eq!(
            relay.http().await.get(SESSIONS, &token).await.status,
            status,
            "{role}"
        );
    }
}
