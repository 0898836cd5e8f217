//! `--upstream openai`: this relay's own loopback as the upstream, over TLS, and upstreams that fail in every way.

use crate::caller::Caller;
use crate::sockets::Session;
use crate::support::*;
use crate::{code, none_left, post, secret, sessions};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

const INSTRUCTIONS: &str = "The restaurant's own.";

/// A relay, and the one that answers for it.
struct Pair {
    front: Relay,
    upstream: Relay,
    /// What the front is authorised by.
    key: String,
    folder: TempDir,
}

fn front(key: &str, base: &str, folder: &TempDir, args: &[&str]) -> Relay {
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut command = command();
    command
        .env("OPENAI_API_KEY", key)
        .env("OPENAI_BASE_URL", base);
    command.stderr(log);
    let mut all = vec!["--upstream", "openai", "--log-level", "trace"];
    all.extend(args);
    Relay::spawn(command, Path::new(":memory:"), &all)
}

impl Pair {
    async fn start(front_args: &[&str], upstream_args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = vec!["127.0.0.1".into(), "localhost".into()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (certificate, private) = (
            file("cert.pem", &cert.pem()),
            file("key.pem", &signing_key.serialize_pem()),
        );
        let policy = file(
            "policy.toml",
            &format!("[demo]\nroles = [\"kiosk\"]\ninstructions = \"{INSTRUCTIONS}\"\n"),
        );
        let mut args = vec!["--tls-cert", &certificate, "--tls-key", &private];
        args.extend(upstream_args);
        let mut upstream = Relay::start(Path::new(":memory:"), &args);
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        upstream.tls = Some(Arc::new(tls).into());
        let key = upstream.token("manager").await;
        let base = format!("https://{}/v1", upstream.address);
        let mut args = vec!["--upstream-ca", certificate.as_str()];
        if !front_args.contains(&"--voice-policy") {
            args.extend(["--voice-policy", policy.as_str()]);
        }
        args.extend(front_args);
        let front = front(&key, &base, &folder, &args);
        Self {
            front,
            upstream,
            key,
            folder,
        }
    }

    /// The most verbose log there is has not a word of the key.
    fn keeps_its_key(&self) {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert!(log.contains("voice session begins"));
        assert!(!log.contains(&self.key) && !log.contains("ek_"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_is_answered_elsewhere_under_the_restaurants_session_and_hung_up_from_here() {
    let pair = Pair::start(&[], &[]).await;
    let key = secret(&pair.front, "kiosk").await;
    let mut caller = Caller::call(&pair.front, &key).await;
    assert_eq!(sessions(&pair.upstream).await, 1.0);
    let manager = pair.front.token("manager").await;
    let view = pair
        .front
        .http()
        .await
        .get("/api/v1/sessions", &manager)
        .await
        .json();
    assert_eq!(
        view["sessions"][0]["transport"], "upstream_webrtc",
        "{view}"
    );
    assert_eq!(view["sessions"][0]["id"], caller.id.as_str());
    caller.send(
        json!({"type":"session.update","session":{"type":"realtime","instructions":"Mine."}}),
    );
    // What the caller set, and then what the policy puts back.
    let mut said = Vec::new();
    while said.last().is_none_or(|last| last != INSTRUCTIONS) {
        let updated = caller.until("session.updated").await;
        said.push(
            updated["session"]["instructions"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert!(said.contains(&"Mine.".to_owned()), "{said:?}");
    let path = format!("/calls/{}/hangup", caller.id);
    let hung_up = post(&pair.front, &path, &key, "application/json", "").await;
    assert_eq!(hung_up.status, 200, "{hung_up:?}");
    caller.until_closed().await;
    none_left(&pair.front).await;
    none_left(&pair.upstream).await;
    pair.keeps_its_key();
}

#[tokio::test(flavor = "current_thread")]
async fn an_order_made_in_an_upstream_call_is_in_the_log_here() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    // The session is the front's demo one, with its menu's tools.
    std::fs::write(&policy, "[other]\n").unwrap();
    let pair = Pair::start(&["--voice-policy", policy.to_str().unwrap()], &[]).await;
    let token = pair
        .front
        .token_for("restaurant_id=demo&role=kiosk&sub=post-1")
        .await;
    let mut caller = Caller::call(&pair.front, &token).await;
    caller.say("two colas").await;
    caller.say("that's all, submit").await;
    let manager = pair.front.token("manager").await;
    let mut orders = Value::Null;
    for _ in 0..500 {
        orders = pair.front.http().await.get(ORDERS, &manager).await.json()["orders"].take();
        if orders.as_array().is_some_and(|orders| !orders.is_empty()) {
            break;
        }
        caller.run_for(Duration::from_millis(10)).await;
    }
    assert_eq!(orders.as_array().unwrap().len(), 1, "{orders}");
    assert_eq!(orders[0]["created_by"], "post-1");
}

#[tokio::test(flavor = "current_thread")]
async fn our_own_longest_duration_ends_the_upstreams_call_and_a_shutdown_too() {
    let mut pair = Pair::start(&["--session-max", "2s"], &[]).await;
    let key = secret(&pair.front, "kiosk").await;
    let mut caller = Caller::call(&pair.front, &key).await;
    caller.until_closed().await;
    none_left(&pair.upstream).await;
    none_left(&pair.front).await;
    let ended = pair
        .front
        .metric("tautline_voice_ended_total{reason=\"length\"}")
        .await;
    assert_eq!(ended, 1.0);
    let mut caller = Caller::call(&pair.front, &key).await;
    pair.front.signal(rustix::process::Signal::TERM);
    caller.until_closed().await;
    assert_eq!(pair.front.ended().await.code(), Some(0));
    none_left(&pair.upstream).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_socket_goes_frame_by_frame_and_its_close_is_passed_on() {
    let pair = Pair::start(
        &["--realtime-max-message", "4096"],
        &["--session-max", "3s"],
    )
    .await;
    let key = secret(&pair.front, "kiosk").await;
    let mut session = Session::open(&pair.front, "?model=gpt-realtime", Some(&key), None)
        .await
        .unwrap();
    session.until("session.created").await;
    let updated = session.until("session.updated").await;
    assert_eq!(updated["session"]["instructions"], INSTRUCTIONS);
    session.send(json!({"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"a cola"}]}})).await;
    session.send(json!({"type":"response.create"})).await;
    let done = session.until("response.done").await;
    assert_eq!(done["response"]["status"], "completed");
    // What is too large is answered here, and is nothing that the upstream hears of.
    session.send_text(" ".repeat(5_000)).await;
    let error = session.until("error").await;
    assert_eq!(error["error"]["code"], "message_too_large");
    let (code, reason) = session.closed().await;
    assert_eq!(code, 1001);
    assert!(reason.contains("longest duration"), "{reason}");
    none_left(&pair.front).await;
    let session = Session::open(&pair.front, "?model=gpt-realtime", Some(&key), None)
        .await
        .unwrap();
    drop(session);
    none_left(&pair.front).await;
    none_left(&pair.upstream).await;
    pair.keeps_its_key();
}

/// What a broken upstream answers with, once for every connection.
async fn faulty(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let hung_up = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hung_up);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut request = vec![0; 64 * 1024];
                let n = socket.read(&mut request).await.unwrap();
                let head = String::from_utf8_lossy(&request[..n]).into_owned();
                let key = head
                    .lines()
                    .find(|line| line.to_lowercase().starts_with("authorization"))
                    .unwrap_or_default();
                if head.contains("/hangup") {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                if answer == "slow" {
                    std::future::pending::<()>().await;
                }
                // The worst that an upstream can do with a key: say it back.
                let answer = answer.replace("KEY", key);
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
            });
        }
    });
    (base, hung_up)
}

#[tokio::test(flavor = "current_thread")]
async fn each_way_an_upstream_fails_has_its_own_answer_and_leaves_nothing() {
    const SECRET: &str = "sk-a-secret-of-the-operators";
    for (answer, status, expected) in [
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 70\r\n\r\n{\"error\":{\"message\":\"KEY\"}}",
            502,
            "upstream_auth",
        ),
        (
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
            429,
            "rate_limit_exceeded",
        ),
        (
            "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            502,
            "upstream_failed",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            502,
            "upstream_failed",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            400,
            "upstream_refused",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            502,
            "upstream_redirect",
        ),
        (
            "HTTP/1.1 201 Created\r\nlocation: /v1/realtime/calls/rtc_1\r\ncontent-length: 1000\r\n\r\nv=0",
            502,
            "upstream_unreachable",
        ),
        (
            "HTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\nv=0",
            502,
            "upstream_malformed",
        ),
        (
            "HTTP/1.1 201 Created\r\nlocation: /rtc_1\r\ncontent-length: 5\r\n\r\nhello",
            502,
            "upstream_malformed",
        ),
        ("no HTTP at all\r\n\r\n", 502, "upstream_malformed"),
        ("", 502, "upstream_unreachable"),
        ("slow", 504, "upstream_timeout"),
    ] {
        let (base, _) = faulty(answer).await;
        let folder = tempfile::tempdir().unwrap();
        let front = front(SECRET, &base, &folder, &[]);
        let key = secret(&front, "kiosk").await;
        let (_, offer) = Caller::new().await;
        let got = post(&front, "/calls", &key, "application/sdp", &offer).await;
        assert_eq!(
            (got.status, code(&got).as_str()),
            (status, expected),
            "{answer}"
        );
        if status == 429 {
            assert_eq!(got.header("retry-after"), Some("7"));
        }
        assert!(!got.body.contains(SECRET) && !got.head.contains(SECRET));
        assert_eq!(sessions(&front).await, 0.0);
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(!log.contains(SECRET));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_cannot_be_followed_is_hung_up() {
    let answer = "HTTP/1.1 201 Created\r\nlocation: /v1/realtime/calls/rtc_1\r\ncontent-length: 5\r\n\r\nv=0\r\n";
    let (base, hung_up) = faulty(answer).await;
    let folder = tempfile::tempdir().unwrap();
    let front = front("sk-x", &base, &folder, &[]);
    let key = secret(&front, "kiosk").await;
    let (_, offer) = Caller::new().await;
    let got = post(&front, "/calls", &key, "application/sdp", &offer).await;
    assert_eq!(got.status, 201);
    none_left(&front).await;
    assert_eq!(hung_up.load(Ordering::Relaxed), 1);
    // A socket has nothing but its close to say so.
    let mut session = Session::open(&front, "", Some(&key), None).await.unwrap();
    let error = session.until("error").await;
    assert_eq!(error["error"]["code"], "upstream_malformed", "{error}");
    assert_eq!(session.closed().await.0, 1011);
    none_left(&front).await;
}

#[test]
fn without_a_key_or_over_plain_http_it_does_not_start() {
    let (status, _, error) = run(&["serve", "--dev", "--upstream", "openai"]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("OPENAI_API_KEY"), "{error}");
}
