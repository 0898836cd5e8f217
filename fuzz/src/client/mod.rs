//! A hostile server: any frames at any time against the client's machine and its order set. Nothing panics, no event
//! is handed over twice or out of order, nothing grows without bound, nothing is settled twice or forgotten.

mod head;

use crate::{number, steps};
use head::head;
use serde_json::Value;
use std::collections::BTreeSet;
use tautline_machine::Time;
use tautline_machine::client::{
    AttemptId, Change, Client, Closed, Command, Config, Input, Notice, OrderView, Orders, Output,
    PageEvent, Patch, Timer, Token, TokenAnswer, WaiterId,
};
use tautline_protocol::{CloseCode, Epoch, Seq};

/// Lines: `f` a frame, `u` the way up to the server's greeting, `z` a close with its code and reason, `t` milliseconds
/// that pass, `T` time up to the next timer, `s` a command is sent, `S` one that waits until it is shown, `w` and `W`
/// an order set is not wanted, is wanted, `y` a sync is asked for, `p` a sign of the page's life, `g` how `getToken`
/// answers, `h` `/healthz` answers, `b` the socket is full or not, `F` a filter, `c` connect, `D` disconnect, `r`
/// reconnect now.
pub(crate) fn run(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut page = Page::new();
    page.input(Input::Connect(WaiterId(0)));
    page.waiters.insert(0);
    for (step, text) in steps(&script).take(150) {
        page.step(step, text);
    }
    page.end();
}

/// An order as the page holds it: whatever the server called one.
#[derive(Clone, Debug)]
struct Order(Value);

impl OrderView for Order {
    fn id(&self) -> Option<String> {
        self.0["id"].as_str().map(str::to_owned)
    }

    fn says_the_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn patched(&self, patch: &Patch, at: Option<&str>) -> Self {
        let mut order = self.clone();
        let Some(fields) = order.0.as_object_mut() else {
            return order;
        };
        if let Patch::Status(status) = patch {
            fields.insert("status".into(), status.as_str().into());
        }
        if let Some(at) = at {
            fields.insert("updated_at".into(), at.into());
        }
        order
    }
}

struct Page {
    client: Client,
    orders: Orders<Order>,
    now: Time,
    wait: Option<(Time, Timer)>,
    attempt: AttemptId,
    token: Option<String>,
    frame: Value,
    socket: Option<AttemptId>,
    open: bool,
    waiters: BTreeSet<u32>,
    next_waiter: u32,
    commands: BTreeSet<String>,
    kept: BTreeSet<String>,
    sent: u32,
    /// The last event handed over, in the history in force.
    last: Option<(Epoch, Seq)>,
    dialling: Vec<Input>,
    collected: usize,
}

const CONFIG_OUTBOX: usize = 20;

impl Page {
    fn new() -> Self {
        let now = Time::from_ms(1_000_000);
        let config = Config {
            has_token: true,
            outbox_limit: CONFIG_OUTBOX,
            ..Config::default()
        };
        Self {
            client: Client::new(config, 7, now),
            orders: Orders::new(),
            now,
            wait: None,
            attempt: AttemptId(0),
            token: Some("t".into()),
            frame: Value::Null,
            socket: None,
            open: false,
            waiters: BTreeSet::new(),
            next_waiter: 1,
            commands: BTreeSet::new(),
            kept: BTreeSet::new(),
            sent: 0,
            last: None,
            dialling: Vec::new(),
            collected: 0,
        }
    }

    fn step(&mut self, step: char, text: &str) {
        match step {
            'f' => self.frame(text),
            'u' => {
                if let Some(attempt) = self.socket
                    && !self.open
                {
                    self.open = true;
                    self.input(Input::Opened(attempt));
                }
            }
            'z' => {
                let code = number(text, 65_535) as u16;
                let reason = text.trim_start_matches(|c: char| c.is_ascii_digit());
                if let Some(attempt) = self.socket.take() {
                    self.open = false;
                    let closed = Closed {
                        code: CloseCode(code),
                        reason: reason.chars().take(123).collect(),
                        was_clean: code != 1006,
                    };
                    self.input(Input::Closed(attempt, closed));
                }
            }
            't' => self.pass(number(text, 86_400_000)),
            'T' => {
                if let Some((at, _)) = self.wait {
                    self.now = self.now.max(at);
                    self.input(Input::Tick);
                }
            }
            's' | 'S' => {
                self.sent += 1;
                let command = Command {
                    kind: "order:create".into(),
                    payload: "{}".into(),
                    id: Some(format!("c{}", self.sent)),
                    ttl_ms: None,
                    timeout_ms: (!text.is_empty()).then(|| number(text, 100_000)),
                    until_shown: step == 'S',
                    sent_at: None,
                };
                if let Ok(id) = self.client.send(command, self.now) {
                    self.commands.insert(id);
                }
                self.input(Input::Tick);
            }
            'W' => self.input(Input::WantOrders(true)),
            'w' => {
                self.input(Input::WantOrders(false));
                self.orders.clear();
            }
            'y' => self.input(Input::RequestSync),
            'p' => {
                const EVENTS: [PageEvent; 7] = [
                    PageEvent::Online,
                    PageEvent::Offline,
                    PageEvent::Visible,
                    PageEvent::Hidden,
                    PageEvent::Resumed,
                    PageEvent::Suspended,
                    PageEvent::Shown,
                ];
                self.input(Input::Page(EVENTS[number(text, 6) as usize]));
            }
            'g' => self.token = (!text.is_empty()).then(|| text.to_owned()),
            'h' => self.input(Input::Health(self.attempt, text == "1")),
            'b' => self.input(Input::Writable(self.attempt, text == "1")),
            'F' => self.input(Input::SetFilter(
                (!text.is_empty()).then(|| "{\"events\":[\"order:*\"]}".to_owned()),
            )),
            'c' => {
                self.waiters.insert(self.next_waiter);
                let waiter = WaiterId(self.next_waiter);
                self.next_waiter += 1;
                self.input(Input::Connect(waiter));
            }
            'D' => self.input(Input::Disconnect),
            'r' => self.input(Input::ReconnectNow),
            _ => {}
        }
    }

    /// Lets time pass, woken as the machine asked.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        for _ in 0..200 {
            match self.wait {
                Some((at, _)) if at <= end => {
                    self.now = self.now.max(at);
                    self.input(Input::Tick);
                }
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    /// A message of the server's, as `src/core/dial.rs` takes it: an object, or an array of them.
    fn frame(&mut self, text: &str) {
        let (Some(attempt), true) = (self.socket, self.open) else {
            return;
        };
        let frames = match serde_json::from_str(text) {
            Ok(Value::Array(frames)) => frames,
            Ok(frame) => vec![frame],
            Err(_) => return self.input(Input::Malformed(attempt)),
        };
        for frame in frames {
            let input = match head(&frame, self.client.epoch()) {
                Some(head) => Input::Frame(attempt, head),
                None => Input::Malformed(attempt),
            };
            self.frame = frame;
            self.input(input);
        }
    }

    fn input(&mut self, input: Input) {
        self.one(input);
        // What the page answers at once: the URL and `getToken`.
        for _ in 0..100 {
            let Some(input) = self.dialling.pop() else {
                return;
            };
            self.one(input);
        }
        panic!("it dials without end");
    }

    fn one(&mut self, input: Input) {
        self.client.handle(input, self.now);
        for _ in 0..3_000 {
            match self.client.poll_output() {
                Output::Wait(wait) => {
                    if let Some((at, timer)) = wait {
                        assert!(at > self.now, "{timer:?} is due and did not fire");
                        assert!(at - self.now <= 3_600_000, "{timer:?} is too long");
                    }
                    self.wait = wait;
                    // Another history: a server that goes back to an earlier one has made that a new one.
                    if self
                        .last
                        .as_ref()
                        .is_some_and(|(of, _)| self.client.epoch() != Some(of))
                    {
                        self.last = None;
                    }
                    let stats = self.client.stats(self.now);
                    assert_eq!(stats.outbox_len, self.commands.len());
                    assert!(stats.outbox_len <= CONFIG_OUTBOX);
                    return;
                }
                output => self.perform(output),
            }
        }
        panic!("outputs without end");
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::ResolveUrl(attempt, _) => {
                self.attempt = attempt;
                self.dialling.push(Input::Url(attempt, true));
            }
            Output::FetchToken { attempt, .. } => {
                self.attempt = attempt;
                let answer = match &self.token {
                    Some(text) => TokenAnswer::Token(Token::new(text.clone())),
                    None => TokenAnswer::None,
                };
                self.dialling.push(Input::Token(attempt, answer));
            }
            Output::Open(attempt) => {
                assert!(self.socket.is_none(), "two sockets");
                self.socket = Some(attempt);
                self.open = false;
            }
            Output::Send(attempt, text) => {
                assert_eq!(self.socket, Some(attempt), "writes to no socket");
                assert!(self.open, "writes before it is open");
                assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
            }
            Output::Close(attempt, ..) => {
                assert_eq!(self.socket.take(), Some(attempt), "closes what is not open");
                self.open = false;
            }
            Output::Drop(attempt) => {
                if self.socket == Some(attempt) {
                    self.socket = None;
                    self.open = false;
                }
            }
            Output::ProbeHealth(_) => {}
            Output::Settle(WaiterId(waiter), _) => {
                assert!(self.waiters.remove(&waiter), "a connect() settled twice");
            }
            Output::Deliver { seq } => self.deliver(seq),
            Output::CollectSnapshot { first } => {
                let orders = self.frame["payload"]["orders"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                if first {
                    self.collected = 0;
                }
                self.collected += orders.len();
                self.orders.collect(first, orders.into_iter().map(Order));
            }
            Output::InstallSnapshot { seq } => {
                if let (Some(seq), Some((epoch, last))) = (seq, &self.last) {
                    let same = self.client.epoch() == Some(epoch);
                    assert!(!same || seq >= *last, "a snapshot of the past");
                }
                self.orders.install();
                assert!(self.orders.len() <= self.collected);
            }
            Output::DiscardSnapshot => self.orders.discard(),
            Output::OrdersStale => self.orders.mark_stale(),
            Output::Keep(id) => assert!(self.kept.insert(id), "kept twice"),
            Output::Settled(id, _) => {
                self.kept.remove(&id);
                self.orders.settle(&id);
                assert!(self.commands.remove(&id), "{id} settled twice");
            }
            Output::Tell(Notice::Connected) => {
                // `resumed:false` voids the position; what comes is another placement.
                if self.frame["resumed"] != true || self.frame["protocol"] != "tautline.v1" {
                    self.last = None;
                }
            }
            Output::Tell(_) => {}
            Output::Store { .. } | Output::Unstore(_) | Output::SetAside(..) | Output::Adopt => {
                unreachable!("its outbox is in memory")
            }
            Output::Wait(_) => unreachable!("handled by the caller"),
        }
    }

    fn deliver(&mut self, seq: Option<Seq>) {
        if let (Some(seq), Some(epoch)) = (seq, self.client.epoch()) {
            if let Some((of, last)) = &self.last
                && of == epoch
            {
                assert!(seq > *last, "{seq} after {last}");
            }
            self.last = Some((epoch.clone(), seq));
        }
        let payload = &self.frame["payload"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, status) = (text(&payload["order_id"]), text(&payload["status"]));
        let at = self.frame["timestamp"].as_str().map(str::to_owned);
        let change = match self.frame["type"].as_str().unwrap_or_default() {
            "order:created" => Change::Created(Order(payload["order"].clone())),
            "order:updated" => Change::Updated(Order(payload["order"].clone())),
            "order:deleted" => Change::Deleted { id },
            "order:status_changed" => Change::Patched {
                id,
                patch: Patch::Status(status),
                at,
            },
            _ => return,
        };
        let _ = self.orders.apply(change);
    }

    fn end(&mut self) {
        self.input(Input::Dispose);
        assert_eq!(self.wait, None);
        assert!(self.socket.is_none(), "a socket is left");
        assert!(self.waiters.is_empty(), "a waiter is left");
        assert!(self.commands.is_empty(), "a command is left");
    }
}
