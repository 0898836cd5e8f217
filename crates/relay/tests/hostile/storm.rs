//! The relay is killed under all its clients and started again: they come back spread out, each by its own machine's
//! backoff, and each is current again.

use crate::head::head;
use crate::raw::{CLOSE, PING, PONG, Raw, TEXT, frame, text};
use crate::support::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tautline_machine::Time;
use tautline_machine::client::{
    AttemptId, Client as Machine, Closed, Config, Input, Notice, Output, Token, TokenAnswer,
    WaiterId,
};
use tautline_protocol::{CloseCode, limits};
use tokio::time::{sleep, timeout};

/// What is counted in one piece, in milliseconds.
const PIECE_MS: u64 = 100;

struct Field {
    began: Instant,
    token: String,
    state: Mutex<State>,
}

struct State {
    /// Where the relay is, or was.
    address: SocketAddr,
    live: usize,
    /// The spread that each client was told last.
    spread: Vec<u64>,
    position: Vec<u64>,
    delivered: Vec<u64>,
    /// When each machine wanted to connect, and when each did, since the kill.
    wanted: Vec<u64>,
    made: Vec<u64>,
    killed: Option<u64>,
}

impl Field {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    async fn until(&self, what: &str, within: Duration, holds: impl Fn(&State) -> bool) {
        let began = Instant::now();
        while !self.with(|state| holds(state)) {
            assert!(
                began.elapsed() < within,
                "in vain: {what}; {} live",
                self.with(|s| s.live)
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A client: the real machine, its outputs performed on a real socket.
struct Page {
    n: usize,
    field: Arc<Field>,
    machine: Machine,
    socket: Option<(AttemptId, Raw)>,
    wake: Option<u64>,
}

impl Page {
    async fn run(mut self) {
        self.input(Input::Connect(WaiterId(0))).await;
        loop {
            let left = self
                .wake
                .map_or(3_600_000, |at| at.saturating_sub(self.field.now()));
            let due = sleep(Duration::from_millis(left));
            let Some((attempt, raw)) = &mut self.socket else {
                due.await;
                self.input(Input::Tick).await;
                continue;
            };
            let attempt = *attempt;
            let frame = tokio::select! {
                frame = raw.frame() => frame,
                () = due => {
                    self.input(Input::Tick).await;
                    continue;
                }
            };
            match frame {
                Ok((TEXT, payload)) => self.message(attempt, &payload).await,
                Ok((PING, payload)) => {
                    let _ = raw.write(&frame_of(PONG, &payload)).await;
                }
                Ok((CLOSE, payload)) => {
                    let (code, reason) = payload.split_first_chunk::<2>().map_or(
                        (CloseCode::NO_STATUS, String::new()),
                        |(code, reason)| {
                            let reason = String::from_utf8_lossy(reason).into_owned();
                            (CloseCode(u16::from_be_bytes(*code)), reason)
                        },
                    );
                    self.closed(attempt, code, reason, true).await;
                }
                Ok(_) => {}
                Err(_) => {
                    self.closed(attempt, CloseCode::ABNORMAL, String::new(), false)
                        .await
                }
            }
        }
    }

    async fn closed(&mut self, attempt: AttemptId, code: CloseCode, reason: String, clean: bool) {
        self.socket = None;
        let closed = Closed {
            code,
            reason,
            was_clean: clean,
        };
        self.input(Input::Closed(attempt, closed)).await;
    }

    async fn message(&mut self, attempt: AttemptId, payload: &[u8]) {
        let value: Value = serde_json::from_slice(payload).unwrap();
        let frames = match value {
            Value::Array(frames) => frames,
            frame => vec![frame],
        };
        for frame in frames {
            let told = [&frame, &frame["payload"]]
                .into_iter()
                .find_map(|object| object["reconnect_spread_ms"].as_u64());
            if let Some(told) = told {
                let n = self.n;
                self.field.with(|state| state.spread[n] = told);
            }
            let head = head(&frame, self.machine.epoch()).expect("the relay's own frames");
            self.input(Input::Frame(attempt, head)).await;
        }
    }

    async fn input(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.machine.handle(input, Time::from_ms(self.field.now()));
            let mut waiting = Vec::new();
            loop {
                match self.machine.poll_output() {
                    Output::Wait(wake) => {
                        self.wake = wake.map(|(at, _)| at.as_ms());
                        break;
                    }
                    output => waiting.push(output),
                }
            }
            for output in waiting {
                if let Some(answer) = self.perform(output).await {
                    assert!(next.is_none(), "one thing at a time");
                    next = Some(answer);
                }
            }
        }
    }

    async fn perform(&mut self, output: Output) -> Option<Input> {
        let n = self.n;
        match output {
            Output::ResolveUrl(attempt, _) => return Some(Input::Url(attempt, true)),
            Output::FetchToken { attempt, .. } => {
                let token = Token::new(self.field.token.clone());
                return Some(Input::Token(attempt, TokenAnswer::Token(token)));
            }
            Output::Open(attempt) => {
                let now = self.field.now();
                let address = self.field.with(|state| {
                    if state.killed.is_some() {
                        state.made.push(now);
                    }
                    state.address
                });
                let opened = timeout(Duration::from_secs(10), Raw::connect(address, None)).await;
                if let Ok(Ok(raw)) = opened {
                    self.socket = Some((attempt, raw));
                    return Some(Input::Opened(attempt));
                }
                return Some(Input::Closed(
                    attempt,
                    Closed {
                        code: CloseCode::ABNORMAL,
                        reason: String::new(),
                        was_clean: false,
                    },
                ));
            }
            Output::Send(_, frame) => {
                if let Some((_, raw)) = &mut self.socket {
                    // That it fails is told by the next read.
                    let _ = raw.write(&text(&frame)).await;
                }
            }
            Output::Close(..) | Output::Drop(_) => self.socket = None,
            Output::Deliver { .. } => self.field.with(|state| state.delivered[n] += 1),
            Output::Tell(Notice::Connected) => self.field.with(|state| state.live += 1),
            Output::Tell(Notice::Disconnected { .. }) => self.field.with(|state| state.live -= 1),
            Output::Tell(Notice::Reconnecting { delay_ms, .. }) => {
                let at = self.field.now() + delay_ms;
                self.field.with(|state| {
                    if state.killed.is_some() {
                        state.wanted.push(at);
                    }
                });
            }
            _ => {}
        }
        if let Some(position) = self.machine.position() {
            self.field.with(|state| state.position[n] = position);
        }
        None
    }
}

fn frame_of(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload)
}

/// The most in any piece.
fn most(times: &[u64], since: u64) -> usize {
    let mut pieces: BTreeMap<u64, usize> = BTreeMap::new();
    for at in times {
        *pieces
            .entry(at.saturating_sub(since) / PIECE_MS)
            .or_default() += 1;
    }
    pieces.into_values().max().unwrap_or(0)
}

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "the figures are the long form's result"
)]
async fn clients_of_a_killed_relay_come_back_spread_out() {
    let data = tempfile::tempdir().unwrap();
    let many = crate::crowd_of(1_000);
    // A few learn the spread soon; of ten thousand the pings alone would be the load.
    let heartbeat = if many > 2_000 { "15s" } else { "2s" };
    let flags = ["--heartbeat", heartbeat, "--log-level", "warn"];
    let relay = Relay::start(data.path(), &flags);
    let field = Arc::new(Field {
        began: Instant::now(),
        token: relay.token("kitchen").await,
        state: Mutex::new(State {
            address: relay.address,
            live: 0,
            spread: vec![0; many],
            position: vec![0; many],
            delivered: vec![0; many],
            wanted: Vec::new(),
            made: Vec::new(),
            killed: None,
        }),
    });
    let mut pages = Vec::new();
    for n in 0..many {
        let config = Config {
            has_token: true,
            ..Config::default()
        };
        let now = Time::from_ms(field.now());
        let page = Page {
            n,
            field: Arc::clone(&field),
            machine: Machine::new(config, n as u64, now),
            socket: None,
            wake: None,
        };
        pages.push(tokio::spawn(page.run()));
        if n % 50 == 49 {
            field
                .until("they connect", DEADLINE, |state| state.live + 25 > n)
                .await;
        }
    }
    let patience = DEADLINE + Duration::from_millis(10 * many as u64);
    field
        .until("all are connected", patience, |state| state.live == many)
        .await;
    let service = relay.token("service").await;
    let event = |n: u32| json!({"type":"kds:update","payload":{"n":n}}).to_string();
    assert_eq!(
        relay
            .http()
            .await
            .post(EVENTS, &service, &event(1))
            .await
            .status,
        202
    );
    let spread = (many as u64 * 1_000 / limits::RECONNECTS_PER_S).max(limits::RECONNECT_SPREAD_MS);
    field
        .until("all know the spread and the event", patience, |state| {
            // Whoever is told is not among those counted.
            state.spread.iter().all(|told| *told + 2 >= spread)
                && state.position.iter().all(|position| *position == 1)
        })
        .await;

    let killed = field.now();
    field.with(|state| state.killed = Some(killed));
    relay.kill();
    let relay = Relay::start(data.path(), &flags);
    let down = field.now() - killed;
    field.with(|state| state.address = relay.address);
    let published = relay.http().await.post(EVENTS, &service, &event(2)).await;
    assert_eq!(published.status, 202);
    field
        .until("all noticed", patience, |state| state.wanted.len() >= many)
        .await;
    field
        .until("all are current again", patience, |state| {
            state.live == many && state.position.iter().all(|position| *position == 2)
        })
        .await;
    let current = field.now() - killed;
    for page in pages {
        page.abort();
    }
    field.with(|state| {
        assert!(state.delivered.iter().all(|events| *events == 2), "each event once, to each");
        let average = many as f64 / (spread as f64 / PIECE_MS as f64);
        // What the machines decided: the test's own process may be late, its clients' clocks are not.
        let (wanted, made) = (most(&state.wanted, killed), most(&state.made, killed));
        println!(
            "storm: {many} clients, spread {:.1} s, relay down {down} ms; connects in {PIECE_MS} ms: \
             {average:.0} on average over the spread, {wanted} decided at most, {made} made at most; \
             {} attempts; all current after {:.1} s",
            spread as f64 / 1_000.0,
            state.made.len(),
            current as f64 / 1_000.0
        );
        assert!(wanted as f64 <= 2.0 * average, "{wanted} in {PIECE_MS} ms, {average} on average");
    });
}
