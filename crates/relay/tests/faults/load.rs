//! Writers and watchers that keep what they were told, and the question whether it still holds.

use crate::support::*;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// More than any writer here needs: the rate is not what is tested.
pub(crate) const FAST: [&str; 2] = ["--rate-limit", "1000000/s,burst=1000000"];

/// A command and the way it takes.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Http {
        method: &'static str,
        path: String,
        body: String,
    },
    Frame(Value),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Acked(Value),
    Refused(Value),
    /// The connection ended first.
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) id: String,
    ask: Ask,
    answer: Value,
    /// By the clock that the load was given.
    pub(crate) at: u64,
}

/// What writers and watchers saw until their connections broke.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub(crate) acked: Vec<Acked>,
    pub(crate) refused: Vec<Value>,
    pub(crate) unanswered: Vec<(String, Ask)>,
    pub(crate) shown: Vec<(u64, Value)>,
}

impl Witness {
    /// How much was said up to a moment.
    pub(crate) fn said(&self, upto: u64) -> usize {
        let acked = self.acked.iter().filter(|acked| acked.at <= upto).count();
        acked + self.shown.iter().filter(|(at, _)| *at <= upto).count()
    }
}

/// A place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) epoch: String,
    pub(crate) head: u64,
}

/// A socket that says when it is over instead of failing the test.
pub(crate) struct Ws {
    socket: WebSocketStream<TcpStream>,
    waiting: VecDeque<Value>,
}

impl Ws {
    pub(crate) async fn open(address: SocketAddr, token: &str, more: Value) -> (Self, Value) {
        let stream = TcpStream::connect(address).await.unwrap();
        let request = format!("ws://{address}/ws").into_client_request().unwrap();
        let (socket, _) = client_async(request, stream).await.unwrap();
        let mut ws = Self {
            socket,
            waiting: VecDeque::new(),
        };
        let mut auth = json!({"type":"auth","token":token,"protocol":"tautline.v1"});
        for (key, value) in more.as_object().unwrap() {
            auth[key] = value.clone();
        }
        assert!(ws.send(&auth).await);
        loop {
            let frame = ws.next().await.expect("an answer to auth");
            if frame["type"] == "auth:success" {
                return (ws, frame);
            }
            assert_eq!(frame["type"], "connected", "{frame}");
        }
    }

    pub(crate) async fn send(&mut self, frame: &Value) -> bool {
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .is_ok()
    }

    /// The next object; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(value) = self.waiting.pop_front() {
                return Some(value);
            }
            match tokio::time::timeout(DEADLINE, self.socket.next())
                .await
                .expect("a frame in time")
            {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text).unwrap() {
                    Value::Array(values) => self.waiting.extend(values),
                    value => self.waiting.push_back(value),
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }
}

enum Way {
    Http(Http),
    Socket(Box<Ws>),
}

impl Way {
    async fn ask(&mut self, token: &str, id: &str, ask: &Ask) -> Told {
        match (self, ask) {
            (Self::Http(http), Ask::Http { method, path, body }) => {
                let key = [("idempotency-key", id)];
                match http.send(method, path, token, &key, body).await {
                    Ok(answer) if answer.status < 300 => Told::Acked(answer.json()),
                    Ok(answer) => Told::Refused(answer.json()),
                    Err(_) => Told::Nothing,
                }
            }
            (Self::Socket(ws), Ask::Frame(frame)) => {
                if !ws.send(frame).await {
                    return Told::Nothing;
                }
                while let Some(frame) = ws.next().await {
                    if frame["id"] == id {
                        return match frame["type"].as_str() {
                            Some("ack") => Told::Acked(frame["payload"].clone()),
                            _ => Told::Refused(frame["error"].clone()),
                        };
                    }
                }
                Told::Nothing
            }
            _ => unreachable!("each asks its own way"),
        }
    }

    fn create(&self, id: &str) -> Ask {
        let order: Value = serde_json::from_str(&burger(id)).unwrap();
        match self {
            Self::Http(_) => Ask::Http {
                method: "POST",
                path: ORDERS.into(),
                body: order.to_string(),
            },
            Self::Socket(_) => {
                Ask::Frame(json!({"type":"order:create","id":id,"payload":{"order":order}}))
            }
        }
    }

    fn status(&self, id: &str, order: &str, status: &str) -> Ask {
        match self {
            Self::Http(_) => Ask::Http {
                method: "PATCH",
                path: format!("{ORDERS}/{order}/status"),
                body: json!({"status":status}).to_string(),
            },
            Self::Socket(_) => Ask::Frame(
                json!({"type":"order:update_status","id":id,"payload":{"order_id":order,"status":status}}),
            ),
        }
    }
}

/// The id of the order that an answer to a creation holds.
fn made(answer: &Value) -> &str {
    let order = answer
        .get("result")
        .map_or(answer, |result| &result["order"]);
    order["id"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// Writers and watchers at work.
pub(crate) struct Load {
    writers: Vec<JoinHandle<Witness>>,
    watchers: Vec<JoinHandle<Vec<(u64, Value)>>>,
    acked: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Load {
    /// Half of the writers by HTTP, half by socket; each makes orders and brings them to their end. `tag` makes the ids
    /// of this load its own. A refused command is given up, and another is tried a little later.
    pub(crate) async fn start(
        relay: &Relay,
        token: &str,
        tag: &str,
        writers: usize,
        moment: impl Fn() -> u64 + Clone + Send + 'static,
    ) -> Self {
        let (acked, refused) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut watching = Vec::new();
        for _ in 0..3 {
            let (mut ws, _) = Ws::open(relay.address, token, json!({})).await;
            let moment = moment.clone();
            watching.push(tokio::spawn(async move {
                let mut shown = Vec::new();
                while let Some(frame) = ws.next().await {
                    if frame["timestamp"].is_string() && frame["seq"].is_u64() {
                        shown.push((moment(), frame));
                    }
                }
                shown
            }));
        }
        let mut writing = Vec::new();
        for writer in 0..writers {
            let mut way = if writer % 2 == 0 {
                Way::Http(relay.http().await)
            } else {
                Way::Socket(Box::new(Ws::open(relay.address, token, json!({})).await.0))
            };
            let (token, name) = (token.to_owned(), format!("{tag}-{writer}"));
            let (acked, refused) = (Arc::clone(&acked), Arc::clone(&refused));
            let moment = moment.clone();
            writing.push(tokio::spawn(async move {
                let mut witness = Witness::default();
                let mut order: Option<(String, &str)> = None;
                for n in 0.. {
                    let id = format!("{name}-{n}");
                    let ask = match &order {
                        None => way.create(&id),
                        Some((order, status)) => way.status(&id, order, status),
                    };
                    match way.ask(&token, &id, &ask).await {
                        Told::Acked(answer) => {
                            order = match &order {
                                None => Some((made(&answer).to_owned(), "preparing")),
                                Some((order, "preparing")) => Some((order.clone(), "completed")),
                                Some(_) => None,
                            };
                            let at = moment();
                            witness.acked.push(Acked {
                                id,
                                ask,
                                answer,
                                at,
                            });
                            acked.fetch_add(1, Ordering::Relaxed);
                        }
                        Told::Refused(error) if error["outcome"] == "unknown" => {
                            witness.unanswered.push((id, ask));
                            break;
                        }
                        Told::Refused(error) => {
                            witness.refused.push(error);
                            refused.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                        Told::Nothing => {
                            witness.unanswered.push((id, ask));
                            break;
                        }
                    }
                }
                witness
            }));
        }
        Self {
            writers: writing,
            watchers: watching,
            acked,
            refused,
        }
    }

    pub(crate) fn acked(&self) -> usize {
        self.acked.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until that many are acked.
    pub(crate) async fn until_acked(&self, many: usize) {
        until("acks", || self.acked() >= many).await;
    }

    /// What they saw; the relay has ended, or is ending.
    pub(crate) async fn witness(self) -> Witness {
        let mut all = Witness::default();
        for writer in self.writers {
            let one = writer.await.unwrap();
            all.acked.extend(one.acked);
            all.refused.extend(one.refused);
            all.unanswered.extend(one.unanswered);
        }
        for watcher in self.watchers {
            all.shown.extend(watcher.await.unwrap());
        }
        all
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Where the history is now.
pub(crate) async fn position(relay: &Relay, token: &str) -> Position {
    let (_, success) = Ws::open(relay.address, token, json!({})).await;
    Position {
        epoch: success["epoch"].as_str().unwrap().into(),
        head: success["seq"].as_u64().unwrap(),
    }
}

/// What is left of what was said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Audit {
    pub(crate) acked: usize,
    /// Acked, and not in the log.
    pub(crate) lost: usize,
    /// More than once in the log.
    pub(crate) doubled: usize,
    pub(crate) shown: usize,
    /// Shown, and not in the log as it was shown.
    pub(crate) gone: usize,
    pub(crate) holes: usize,
    pub(crate) another_epoch: bool,
}

impl Audit {
    pub(crate) fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.shown += other.shown;
        self.gone += other.gone;
        self.holes += other.holes;
    }

    pub(crate) fn holds(&self) -> bool {
        self.lost + self.doubled + self.gone + self.holes == 0 && !self.another_epoch
    }
}

/// The events after a position, as the log has them now.
async fn log(relay: &Relay, token: &str, after: u64) -> (String, u64, Vec<Value>) {
    let (mut http, mut events) = (relay.http().await, Vec::new());
    let mut at = after;
    loop {
        let answer = http
            .get(&format!("{EVENTS}?after={at}&limit=1000"), token)
            .await;
        let page = answer.json();
        let epoch = page["epoch"].as_str().unwrap_or_default().to_owned();
        let head = page["seq"].as_u64().unwrap_or(0);
        let more: Vec<Value> = page["events"].as_array().cloned().unwrap_or_default();
        let last = more.last().and_then(|event| event["seq"].as_u64());
        events.extend(more);
        match last {
            Some(last) => at = last,
            None => return (epoch, head, events),
        }
    }
}

/// Compares what was said up to a moment with the log after `base`.
pub(crate) async fn audit(
    relay: &Relay,
    token: &str,
    base: &Position,
    witness: &Witness,
    upto: u64,
) -> Audit {
    let (epoch, head, events) = log(relay, token, base.head).await;
    let mut commands: BTreeMap<&str, usize> = BTreeMap::new();
    let mut places: BTreeMap<u64, &Value> = BTreeMap::new();
    let mut found = Audit {
        another_epoch: epoch != base.epoch,
        ..Audit::default()
    };
    for (n, event) in events.iter().enumerate() {
        let seq = event["seq"].as_u64().unwrap();
        found.holes += usize::from(seq != base.head + 1 + n as u64);
        places.insert(seq, event);
        if let Some(id) = event["command_id"].as_str() {
            *commands.entry(id).or_default() += 1;
        }
    }
    found.holes += usize::from(head != base.head + events.len() as u64 && !found.another_epoch);
    found.doubled = commands.values().filter(|&&times| times > 1).count();
    for acked in witness.acked.iter().filter(|acked| acked.at <= upto) {
        found.acked += 1;
        found.lost += usize::from(!commands.contains_key(acked.id.as_str()));
    }
    for (_, event) in witness.shown.iter().filter(|(at, _)| *at <= upto) {
        found.shown += 1;
        let seq = event["seq"].as_u64().unwrap();
        found.gone += usize::from(places.get(&seq) != Some(&event));
    }
    found
}

/// Everybody asks again under the same id: who was acked hears the same and nothing happens; who was not is acked now, once.
pub(crate) async fn ask_again(
    relay: &Relay,
    token: &str,
    base: &Position,
    witness: &Witness,
    upto: u64,
) {
    let mut http = Way::Http(relay.http().await);
    let mut socket = Way::Socket(Box::new(Ws::open(relay.address, token, json!({})).await.0));
    let head = position(relay, token).await.head;
    let way = |ask: &Ask| matches!(ask, Ask::Http { .. });
    for acked in witness.acked.iter().filter(|acked| acked.at <= upto) {
        let by = if way(&acked.ask) {
            &mut http
        } else {
            &mut socket
        };
        match by.ask(token, &acked.id, &acked.ask).await {
            Told::Acked(answer) => assert_eq!(answer, acked.answer, "{}", acked.id),
            other => panic!("{} was acked, now {other:?}", acked.id),
        }
    }
    assert_eq!(position(relay, token).await.head, head, "it happened again");
    if upto != u64::MAX {
        return;
    }
    for (id, ask) in &witness.unanswered {
        let by = if way(ask) { &mut http } else { &mut socket };
        let told = by.ask(token, id, ask).await;
        assert!(matches!(told, Told::Acked(_)), "{id}: {told:?}");
    }
    let (_, _, events) = log(relay, token, base.head).await;
    for (id, _) in &witness.unanswered {
        let times = events
            .iter()
            .filter(|event| event["command_id"] == **id)
            .count();
        assert_eq!(times, 1, "{id}");
    }
}

/// The store is sound by the program's own word.
pub(crate) fn sound(data: &Path) {
    let (code, out, err) = run(&["check", "--dev", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
}

/// How often, by the environment or by default.
pub(crate) fn times(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .map_or(default, |times| times.parse().expect("a number"))
}

/// A line that `cargo xtask faults` collects.
pub(crate) fn figure(name: &str, value: impl std::fmt::Display) {
    println!("figure | {name} | {value} |");
}
