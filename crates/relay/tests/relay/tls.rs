//! https and wss: the same relay, one task further away.

use crate::support::*;
use futures_util::future::join_all;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;

/// A certificate of the test's own making.
struct Pair {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

impl Pair {
    fn new() -> Self {
        let names = vec!["127.0.0.1".into(), "localhost".into()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        Self {
            certificate: cert.der().clone(),
            certificate_pem: cert.pem(),
            key_pem: signing_key.serialize_pem(),
        }
    }
}

/// A client that believes these, and speaks these protocols over TLS.
fn client(pairs: &[&Pair], protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for pair in pairs {
        roots.add(pair.certificate.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    Arc::new(config).into()
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(folder: &Path, pair: &Pair) -> Self {
        let files = Self {
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        std::fs::write(&files.certificate, &pair.certificate_pem).unwrap();
        std::fs::write(&files.key, &pair.key_pem).unwrap();
        files
    }

    fn args(&self) -> [&str; 4] {
        let (certificate, key) = (self.certificate.to_str(), self.key.to_str());
        [
            "--tls-cert",
            certificate.unwrap(),
            "--tls-key",
            key.unwrap(),
        ]
    }
}

fn start(data: &Path, pair: &Pair, more: &[&str]) -> Relay {
    let files = Files::new(data, pair);
    let args = [&files.args()[..], more].concat();
    let mut relay = Relay::start(&data.join("store"), &args);
    relay.tls = Some(client(&[pair], &["http/1.1"]));
    relay
}

async fn connect(
    relay: &Relay,
    connector: &TlsConnector,
    socket: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::IpAddress(relay.address.ip().into());
    connector.connect(name, socket).await
}

async fn plain(relay: &Relay) -> TcpStream {
    TcpStream::connect(relay.address).await.unwrap()
}

/// A client whose kernel keeps little for it.
async fn narrow(relay: &Relay) -> Box<dyn Line> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let socket = socket.connect(relay.address).await.unwrap();
    let connector = relay.tls.clone().unwrap();
    Box::new(connect(relay, &connector, socket).await.unwrap())
}

#[tokio::test]
async fn https_and_wss_speak_http_1_and_know_their_own_origin() {
    let data = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    let relay = start(data.path(), &pair, &[]);
    let token = relay.token("service").await;
    let mut http = relay.http().await;
    assert_eq!(http.post(ORDERS, &token, &burger("1")).await.status, 201);
    let (mut screen, _) = Client::v1(&relay, &token, json!({"sync": true})).await;
    screen.until("sync_complete").await;
    assert_eq!(http.post(ORDERS, &token, &burger("2")).await.status, 201);
    screen.until("order:created").await;
    screen.ping().await;

    let both = client(&[&pair], &["h2", "http/1.1"]);
    let stream = connect(&relay, &both, plain(&relay).await).await.unwrap();
    let agreed = stream.get_ref().1.alpn_protocol();
    assert_eq!(agreed, Some(&b"http/1.1"[..]));
    let only_h2 = client(&[&pair], &["h2"]);
    assert!(
        connect(&relay, &only_h2, plain(&relay).await)
            .await
            .is_err()
    );
    let none = client(&[&pair], &[]);
    assert!(connect(&relay, &none, plain(&relay).await).await.is_ok());

    // In the clear there is nothing here.
    let mut clear = plain(&relay).await;
    clear
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let mut said = Vec::new();
    let _ = clear.read_to_end(&mut said).await;
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/"));

    for (scheme, status) in [("https", 200), ("http", 403)] {
        let origin = format!("{scheme}://{}", relay.address);
        let headers = [("origin", origin.as_str())];
        let answer = http.send("GET", "/healthz", "", &headers, "").await;
        assert_eq!(answer.unwrap().status, status, "{origin}");
    }
}

/// Which certificate a new connection is shown.
async fn shown(relay: &Relay) -> CertificateDer<'static> {
    let connector = relay.tls.clone().unwrap();
    let stream = connect(relay, &connector, plain(relay).await)
        .await
        .unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_connections_go_on() {
    let data = tempfile::tempdir().unwrap();
    let (old, new) = (Pair::new(), Pair::new());
    let (secret, log) = (data.path().join("secret"), data.path().join("log"));
    std::fs::write(&secret, "k".repeat(32)).unwrap();
    let files = Files::new(data.path(), &old);
    let mut args = files.args().to_vec();
    args.extend(["--jwt-secret-file", secret.to_str().unwrap()]);
    let mut relay = Relay::start_bare_logged(&data.path().join("store"), &log, &args);
    relay.tls = Some(client(&[&old, &new], &[]));
    let token = crate::signer::Signer::secret("k").token("kitchen", "cook");
    let (mut open, _) = Client::v1(&relay, &token, json!({})).await;
    assert_eq!(shown(&relay).await, old.certificate);
    let logged = |text: &str| std::fs::read_to_string(&log).unwrap().matches(text).count();

    // Half of the pair: it belongs to nothing yet.
    std::fs::write(&files.certificate, &new.certificate_pem).unwrap();
    relay
        .until("the half was seen", || async {
            logged("do not belong together") > 0
        })
        .await;
    assert_eq!(shown(&relay).await, old.certificate);
    std::fs::write(&files.key, &new.key_pem).unwrap();
    relay
        .until("the new one is shown", || async {
            shown(&relay).await == new.certificate
        })
        .await;
    open.ping().await;

    // Broken, then asked for once more.
    std::fs::write(&files.key, "nonsense").unwrap();
    relay.signal(Signal::HUP);
    relay
        .until("the broken key was seen", || async {
            logged("no PRIVATE KEY in PEM in it; the certificate read before stays in use") > 0
        })
        .await;
    assert_eq!(shown(&relay).await, new.certificate);
    open.ping().await;
    assert_eq!(logged("PRIVATE KEY-----"), 0, "no key in the log");
}

#[tokio::test]
async fn a_large_snapshot_passes_a_narrow_line_while_the_log_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path(), &Pair::new(), &["--durability", "normal"]);
    let token = relay.token("service").await;
    let order = json!({"type":"dine-in","items":[{"menu_item_id":"b","name":"Burger","quantity":1,"price":9.5,
        "special_instructions":"x".repeat(400)}],"metadata":{"text":"y".repeat(3_900)}})
    .to_string();
    let made = (0..8).map(|_| async {
        let (mut http, mut ids) = (relay.http().await, Vec::new());
        for _ in 0..75 {
            let answer = http.post(ORDERS, &token, &order).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            ids.push(answer.json()["id"].as_str().unwrap().to_owned());
        }
        ids
    });
    let ids: BTreeSet<String> = join_all(made).await.into_iter().flatten().collect();

    let mut screen = Client::over(narrow(&relay).await, relay.address).await;
    screen.expect("connected").await;
    screen
        .send(json!({"type":"auth","token":token,"protocol":"tautline.v1","sync":true}))
        .await;
    // More than all buffers on the way hold, before a word of it is read.
    let mut http = relay.http().await;
    let note = json!({"type":"menu:updated","payload":{"text":"z".repeat(20_000)}}).to_string();
    for _ in 0..100 {
        assert_eq!(http.post(EVENTS, &token, &note).await.status, 202);
    }
    assert!(relay.metric("tautline_cursor_lag_events").await > 0.0);
    screen.expect("auth:success").await;
    let (mut seen, mut bytes) = (BTreeSet::new(), 0);
    loop {
        let part = screen.expect("sync_complete").await;
        let payload = &part["payload"];
        bytes += payload.to_string().len();
        seen.extend(
            payload["orders"]
                .as_array()
                .unwrap()
                .iter()
                .map(|order| order["id"].as_str().unwrap().to_owned()),
        );
        if payload["part"] == payload["parts"] {
            break;
        }
    }
    assert_eq!(seen, ids);
    assert!(bytes > 2_000_000, "{bytes}");
    let mut seqs = Vec::new();
    while seqs.last() != Some(&700) {
        let event = screen.expect("menu:updated").await;
        seqs.push(event["seq"].as_u64().unwrap());
    }
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{seqs:?}"
    );
}

#[tokio::test]
async fn closes_of_both_sides_arrive() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = start(data.path(), &Pair::new(), &[]);
    let token = relay.token("kitchen").await;
    let manager = relay.token("manager").await;
    let authed = async || Client::v1(&relay, &token, json!({})).await.0;

    let mut large = authed().await;
    large.text("x".repeat(65_537)).await;
    assert_eq!(large.closed().await.0, 1009);
    assert_eq!(large.closed().await.0, 1006, "and then the end");

    // Pongs it does not read, until they are too many.
    let mut slow = Client::over(narrow(&relay).await, relay.address).await;
    slow.expect("connected").await;
    slow.send(json!({"type":"auth","token":token})).await;
    slow.expect("auth:success").await;
    let payload = vec![7; 125];
    let count = async |code: &str| {
        relay
            .metric(&format!("tautline_closes_total{{code=\"{code}\"}}"))
            .await
    };
    while count("4008").await == 0.0 {
        for _ in 0..2_000 {
            slow.message(Message::Ping(payload.clone().into())).await;
        }
    }
    assert_eq!(slow.closed().await.0, 4008);

    let mut polite = authed().await;
    polite.message(Message::Close(None)).await;
    assert_eq!(polite.closed().await.0, 1005);
    let mut operated = authed().await;
    let mut http = relay.http().await;
    let sessions: Value = http.get("/api/v1/sessions", &manager).await.json();
    let path = format!(
        "/api/v1/sessions/{}",
        sessions["sessions"][0]["id"].as_str().unwrap()
    );
    assert_eq!(
        http.send("DELETE", &path, &manager, &[], "")
            .await
            .unwrap()
            .status,
        204
    );
    assert_eq!(operated.closed().await.0, 1000);

    // Without a word, in TLS or at all.
    drop(authed().await);
    relay
        .until("all have gone", || async {
            relay.metric("tautline_connections").await == 0.0
        })
        .await;

    let mut last = authed().await;
    relay.signal(Signal::TERM);
    assert_eq!(last.closed().await.0, 1012);
    drop(last);
    assert_eq!(relay.ended().await.code(), Some(0));
}

#[tokio::test]
async fn visits_leave_no_descriptor_behind() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path(), &Pair::new(), &[]);
    let token = relay.token("kitchen").await;
    let visits = async || {
        let visits = (0..20).map(|n| {
            let (relay, token) = (&relay, &token);
            async move {
                let (mut client, _) = Client::v1(relay, token, json!({"sync": true})).await;
                match n % 3 {
                    0 => drop(client),
                    1 => {
                        client.message(Message::Close(None)).await;
                        client.closed().await;
                    }
                    _ => drop(client.until("sync_complete").await),
                }
                // A handshake that is begun and left, and one request.
                let mut begun = plain(relay).await;
                begun.write_all(&[22, 3, 1]).await.unwrap();
                relay.http().await.get("/healthz", "").await;
            }
        });
        join_all(visits).await;
    };
    let settled = async |descriptors: usize| {
        relay
            .until("all have gone", || async {
                relay.metric("tautline_connections").await == 0.0
                    && relay.descriptors() <= descriptors
            })
            .await;
    };
    let before = relay.descriptors();
    visits().await;
    // One for the metric's own connection and its pair.
    settled(before + 3).await;
    let before = relay.descriptors();
    for _ in 0..10 {
        visits().await;
    }
    settled(before + 3).await;
}

#[tokio::test]
async fn a_connection_the_relay_let_go_of_is_gone_whatever_its_client_does() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path(), &Pair::new(), &[]);
    let token = relay.token("kitchen").await;
    let mut http = relay.http().await;
    http.get("/healthz", "").await;
    let before = relay.descriptors();
    let mut deaf = Vec::new();
    for _ in 0..5 {
        deaf.push(Client::v1(&relay, &token, json!({})).await.0);
    }
    assert!(
        relay.descriptors() >= before + 15,
        "a socket and a pair each"
    );
    let cut = http.post("/dev/trouble", "", r#"{"kind":"cut"}"#).await;
    assert_eq!(cut.json()["sessions"], 5);
    // Nobody reads, answers or closes on the other side.
    relay
        .until("their descriptors are back", || async {
            relay.descriptors() <= before
        })
        .await;
    for client in &mut deaf {
        assert_eq!(client.closed().await.0, 1006);
    }
}

#[test]
fn what_cannot_be_used_is_one_sentence() {
    let data = tempfile::tempdir().unwrap();
    let (one, other) = (Pair::new(), Pair::new());
    let files = Files::new(data.path(), &one);
    let store = data.path().join("store");
    let tried = |args: &[&str]| {
        let common = ["serve", "--dev", "--data-dir", store.to_str().unwrap()];
        let (code, _, err) = run(&[&common, args].concat());
        assert_eq!(err.trim().lines().count(), 1, "{err}");
        (code, err)
    };
    let local = ["--listen", "127.0.0.1:0"];
    std::fs::write(&files.key, &other.key_pem).unwrap();
    let (code, err) = tried(&[&local[..], &files.args()].concat());
    assert!(code == 1 && err.contains("do not belong together"), "{err}");
    std::fs::write(&files.certificate, &one.key_pem).unwrap();
    let (code, err) = tried(&[&local[..], &files.args()].concat());
    assert!(code == 1 && err.contains("no CERTIFICATE"), "{err}");
    let (code, err) = tried(&[&local[..], &files.args()[..2]].concat());
    assert!(code == 2 && err.contains("go together"), "{err}");
    let (code, err) = tried(&["--listen", "0.0.0.0:0"]);
    assert!(code == 2 && err.contains("--behind-proxy"), "{err}");
    let (code, err) = tried(&["--listen", "0.0.0.0:0", "--behind-proxy"]);
    assert!(code == 2 && err.contains("--dev"), "{err}");
}
