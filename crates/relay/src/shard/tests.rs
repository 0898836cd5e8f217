//! A session ended in each of the ways there are; afterwards nothing of it is left.

use super::*;
use crate::config::{DataDir, Durability};
use crate::store::Keep;
use crate::store::Running;
use crate::token::Scope;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tautline_protocol::{CloseCode, Role};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role as Side;

pub(super) type Client = WebSocketStream<tokio::net::TcpStream>;

pub(super) struct Rig {
    pub(super) handle: Handle,
    pub(super) pressure: Arc<Pressure>,
    pub(super) store: Store,
    keys: Arc<Keys>,
    running: Option<Running>,
    _broken: mpsc::UnboundedReceiver<String>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.close();
        }
    }
}

impl Rig {
    fn new() -> Self {
        Self::with(Bounds::default())
    }

    pub(super) fn with(bounds: Bounds) -> Self {
        let pressure = Arc::<Pressure>::default();
        let (store, running, reports) = Store::open(
            &DataDir::Memory,
            Durability::Full,
            Keep::usual(Duration::from_secs(3600)),
        )
        .unwrap();
        let keys = Arc::new(Keys::new(&[7; 32], None, None));
        let (broken, broken_in) = mpsc::unbounded_channel();
        let parts = Parts {
            store: store.clone(),
            reports,
            keys: Arc::clone(&keys),
            revoked: Arc::new(Revocations::new(Vec::new())),
            session: Arc::default(),
            restaurants: None,
            keep_final: Duration::from_secs(60),
            bounds,
            pressure: Arc::clone(&pressure),
            broken,
        };
        let (handle, _) = start(parts).unwrap();
        Self {
            handle,
            pressure,
            store,
            keys,
            running: Some(running),
            _broken: broken_in,
        }
    }

    /// A client that is authenticated and at its place.
    async fn client(&self) -> Client {
        let mut client = self.asking("grow", Role::Kitchen, json!({})).await;
        loop {
            let text = client.next().await.unwrap().unwrap().into_text().unwrap();
            if text.contains("auth:success") {
                return client;
            }
        }
    }

    /// One that has sent its `auth`, with `more` in it.
    pub(super) async fn asking(
        &self,
        restaurant: &str,
        role: Role,
        more: serde_json::Value,
    ) -> Client {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        for socket in [&ours, &theirs] {
            socket.set_nonblocking(true).unwrap();
        }
        self.handle.admit(
            ours,
            bytes::Bytes::new(),
            Opened {
                v1: false,
                from_page: false,
            },
            crate::peer::Visit::nobody(),
        );
        let theirs = tokio::net::TcpStream::from_std(theirs).unwrap();
        let mut client = WebSocketStream::from_raw_socket(theirs, Side::Client, None).await;
        let token = self
            .keys
            .issue(
                "cook",
                role,
                Scope::One(restaurant.into()),
                Duration::from_secs(60),
            )
            .unwrap();
        let mut auth = json!({"type":"auth","token":token,"protocol":"tautline.v1"});
        for (key, value) in more.as_object().unwrap() {
            auth[key] = value.clone();
        }
        client.send(Message::text(auth.to_string())).await.unwrap();
        client
    }

    async fn only_conn(&self) -> ConnId {
        self.handle
            .get(|shard| *shard.conns.keys().next().unwrap())
            .await
            .unwrap()
    }

    /// Waits until no connection is left, then looks whether anything else is.
    async fn nothing_left(&self) {
        for _ in 0..3_000 {
            if self
                .handle
                .get(|shard| shard.conns.is_empty())
                .await
                .unwrap()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left = self
            .handle
            .get(|shard| {
                let subscribers: usize = shard
                    .restaurants
                    .values()
                    .map(|slot| match slot {
                        Slot::Loaded(restaurant) => restaurant.borrow().subscribers.len(),
                        Slot::Loading(waiting) => waiting.len(),
                    })
                    .sum();
                (
                    shard.conns.len(),
                    subscribers,
                    shard.deadlines.len(),
                    shard.askers.len(),
                    shard.pending,
                )
            })
            .await;
        assert_eq!(
            left,
            Some((0, 0, 0, 0, 0)),
            "connections, subscribers, deadlines, askers, records"
        );
    }
}

pub(super) async fn close_code(mut client: Client) -> Option<u16> {
    while let Some(Ok(message)) = client.next().await {
        if let Message::Close(frame) = message {
            return frame.map(|frame| frame.code.into());
        }
    }
    None
}

#[tokio::test]
async fn the_clients_close_and_its_silent_end() {
    let rig = Rig::new();
    let mut polite = rig.client().await;
    polite.close(None).await.unwrap();
    assert_eq!(
        close_code(polite).await,
        None,
        "answered in kind, without a code"
    );
    rig.nothing_left().await;
    drop(rig.client().await);
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_panic_ends_its_session_and_no_other() {
    let rig = Rig::new();
    let unlucky = rig.client().await;
    let id = rig.only_conn().await;
    let mut lucky = rig.client().await;
    rig.handle
        .get(move |shard| shard.with_conn(id, |_, _| panic!("planted")))
        .await;
    assert_eq!(close_code(unlucky).await, Some(1011));
    lucky
        .send(Message::text(
            r#"{"type":"ping","payload":{"timestamp":1}}"#,
        ))
        .await
        .unwrap();
    assert!(
        lucky
            .next()
            .await
            .unwrap()
            .unwrap()
            .into_text()
            .unwrap()
            .contains("pong")
    );
    drop(lucky);
    rig.nothing_left().await;
}

#[tokio::test]
async fn our_close_a_cut_and_the_end_of_the_relay() {
    let rig = Rig::new();
    let client = rig.client().await;
    let id = rig.only_conn().await;
    rig.handle
        .get(move |shard| shard.input(id, session::Input::End(CloseCode::NORMAL, "bye")))
        .await;
    assert_eq!(close_code(client).await, Some(1000));
    rig.nothing_left().await;
    let client = rig.client().await;
    assert_eq!(
        rig.handle
            .get(|shard| shard.trouble(Trouble::Cut, None, |_| true))
            .await,
        Some(1)
    );
    assert_eq!(close_code(client).await, None);
    rig.nothing_left().await;
    let (one, other) = (rig.client().await, rig.client().await);
    let (drained, codes) = tokio::join!(rig.handle.ask(|shard, done| shard.drain(done)), async {
        (close_code(one).await, close_code(other).await)
    },);
    assert_eq!((drained, codes), (Some(()), (Some(1012), Some(1012))));
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_token_revoked_while_its_connection_is_being_placed() {
    let rig = Rig::new();
    let client = rig.client().await;
    let id = rig.only_conn().await;
    rig.handle
        .get(move |shard| {
            let now = crate::clock::wall_ms();
            let all = crate::Revocation::new("grow".into(), String::new(), now);
            // In force, but the look at open connections came before this one was placed.
            shard.revoked.add(all);
            shard.with_conn(id, |shard, conn| shard.end_if_revoked(conn));
        })
        .await;
    assert_eq!(close_code(client).await, Some(4001));
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_breach_of_the_rules_is_told_before_the_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rig = Rig::new();
    let client = rig.client().await;
    let mut raw = client.into_inner();
    // Not masked, and a lot after it that nobody will understand: the close frame arrives all the same.
    raw.write_all(&[0x81, 0x01, b'a']).await.unwrap();
    raw.write_all(&vec![0xff; 300_000]).await.unwrap();
    let mut answer = Vec::new();
    raw.read_to_end(&mut answer).await.unwrap();
    assert_eq!(
        answer
            .get(..4)
            .map(|frame| (frame[0], u16::from_be_bytes([frame[2], frame[3]]))),
        Some((0x88, 1002))
    );
    drop(raw);
    rig.nothing_left().await;
}

#[tokio::test]
async fn a_batch_that_came_to_nothing_is_waited_for_no_longer() {
    let rig = Rig::new();
    let delay_ms = rig
        .handle
        .get(|shard| {
            shard.last_commit_ms = 7;
            shard.handed.push_back(Instant::now());
            let before = shard.commit_delay_ms();
            shard.report(Report::Failed { full: false });
            (before, shard.commit_delay_ms())
        })
        .await;
    assert_eq!(delay_ms, Some((7, 0)));
    rig.nothing_left().await;
}

#[tokio::test]
async fn who_waits_for_a_store_that_broke_is_let_go() {
    let rig = Rig::new();
    let (asked, answer) = oneshot::channel();
    rig.handle
        .get(|shard| {
            shard.askers.insert(1, ("order:create", Asker::Http(asked)));
            shard.report(Report::Broken("it broke".into()));
        })
        .await;
    let waited = tokio::time::timeout(Duration::from_secs(10), answer).await;
    assert!(matches!(waited, Ok(Err(_))), "{waited:?}");
    rig.nothing_left().await;
}
