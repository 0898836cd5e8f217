//! Whatever comes, in whatever order: every drain ends, nothing is left after `disconnect` and `dispose`, everybody is
//! answered once, and the same seed and inputs give the same outputs.

use crate::support::{Success, closed, token, with_token};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tautline_machine::Time;
use tautline_machine::client::{
    Adopted, AttemptId, Client, Command, Config, ConnectionState, EpochRef, Head, Input, Output,
    PageEvent, Timer, Token, TokenAnswer, WaiterId,
};
use tautline_protocol::{AuthCode, Epoch, NackCode, Outcome};

#[derive(Clone, Debug)]
enum Step {
    /// Of the current attempt, or `back` attempts ago.
    Input(Kind, u32),
    Send(u8, bool, Option<u64>),
    Cancel(u8),
    Pass(u64),
}

#[derive(Clone, Debug)]
enum Kind {
    Connect,
    Abandon(u32),
    Disconnect,
    ReconnectNow,
    SetToken(u8),
    Url(bool),
    Token(u8),
    Opened,
    Frame(Box<Head>),
    Malformed,
    Closed(u16),
    Health(bool),
    Page(PageEvent),
    WantOrders(bool),
    RequestSync,
    SetFilter(Option<u8>),
    /// The server's answer to the last change of filter: `None` takes it.
    FilterAnswer(Option<NackCode>),
    ResumeFrom(u64),
    Writable(bool),
    /// The oldest write to storage ends, well or not.
    Stored(bool),
    /// Storage hands over: which, how old, sent how long ago.
    Adopted(Vec<(u8, u64, Option<u64>)>),
    /// Another page has taken over what this one had.
    Lost(u8),
}

fn epoch() -> impl Strategy<Value = Epoch> {
    prop_oneof![4 => Just("e1"), 1 => Just("e2")].prop_map(Epoch::new)
}

fn epoch_ref() -> impl Strategy<Value = EpochRef> {
    prop_oneof![
        6 => Just(EpochRef::Current),
        1 => Just(EpochRef::None),
        1 => epoch().prop_map(EpochRef::Other)
    ]
}

fn id() -> impl Strategy<Value = String> {
    (0u8..6).prop_map(|n| format!("c{n}"))
}

fn success() -> impl Strategy<Value = Head> {
    let life = prop::option::of(0u64..200_000);
    (
        any::<bool>(),
        any::<bool>(),
        0u64..12,
        prop::bool::weighted(0.1),
        life,
        prop::sample::select(vec![None, Some("ann"), Some("bob")]),
    )
        .prop_map(|(v1, resumed, seq, renewal, expires_in_ms, view)| {
            Success {
                v1,
                resumed,
                seq,
                expires_in_ms,
                view,
                ..Success::default()
            }
            .head(renewal)
        })
}

fn head() -> impl Strategy<Value = Head> {
    prop_oneof![
        3 => any::<bool>().prop_map(|auth_required| Head::Connected { auth_required, heartbeat_ms: Some(15_000), max_message: None }),
        5 => success(),
        1 => (0usize..6, any::<bool>()).prop_map(|(i, renewal)| Head::AuthFailed { code: AuthCode::ALL[i], renewal }),
        2 => (prop::option::of(0u64..2_000_000), prop::option::of(0u64..12))
            .prop_map(|(timestamp, seq)| Head::Pong { timestamp, seq, reconnect_spread_ms: None }),
        6 => (prop::option::of(0u64..12), epoch_ref(), prop::option::of(id()))
            .prop_map(|(seq, epoch, command_id)| Head::Event { seq, epoch, command_id }),
        1 => (epoch_ref(), 0u64..12, 0u64..12).prop_map(|(epoch, from, to)| Head::Cursor { epoch, from, to }),
        3 => (id(), prop::option::of(0u64..12), epoch_ref()).prop_map(|(id, seq, epoch)| Head::Ack { id, seq, epoch }),
        2 => (id(), 0usize..9, prop::option::of(0u64..5_000)).prop_map(|(id, i, retry_after_ms)| Head::Nack {
            id, code: NackCode::ALL[i], outcome: Outcome::NotApplied, retry_after_ms,
        }),
        1 => (epoch(), 0u64..12).prop_map(|(epoch, seq)| Head::SyncResumed { epoch, seq }),
        3 => (0u8..2, epoch(), 0u64..12, 0u32..4, 0u32..4).prop_map(|(n, epoch, seq, part, parts)| Head::SnapshotPart {
            sync_id: format!("sync-{n}"), epoch, seq, part, parts,
        }),
        1 => any::<bool>().prop_map(|has_orders| Head::PlainSync { has_orders }),
        1 => Just(Head::SyncAborted),
        1 => (epoch(), 0u64..12).prop_map(|(epoch, seq)| Head::Reset { epoch, seq }),
        1 => (0usize..9, prop::option::of(0u64..5_000), any::<bool>()).prop_map(|(i, retry_after_ms, sync)| Head::Refused {
            code: NackCode::ALL[i], retry_after_ms, ref_type: sync.then(|| "orders:sync".to_owned()),
        }),
        1 => Just(Head::Degraded { since: None }),
    ]
}

fn page() -> impl Strategy<Value = PageEvent> {
    prop::sample::select(vec![
        PageEvent::Online,
        PageEvent::Offline,
        PageEvent::Visible,
        PageEvent::Hidden,
        PageEvent::Resumed,
        PageEvent::Suspended,
        PageEvent::Shown,
    ])
}

fn code() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![
        1000u16, 1002, 1006, 1006, 1006, 1008, 1012, 1013, 4001, 4003, 4008, 4009, 4029, 4104,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        6 => Just(Kind::Connect),
        1 => (0u32..8).prop_map(Kind::Abandon),
        1 => Just(Kind::Disconnect),
        1 => Just(Kind::ReconnectNow),
        1 => (0u8..4).prop_map(Kind::SetToken),
        8 => prop::bool::weighted(0.9).prop_map(Kind::Url),
        8 => (0u8..8).prop_map(Kind::Token),
        8 => Just(Kind::Opened),
        25 => head().prop_map(|head| Kind::Frame(Box::new(head))),
        1 => Just(Kind::Malformed),
        4 => code().prop_map(Kind::Closed),
        1 => any::<bool>().prop_map(Kind::Health),
        3 => page().prop_map(Kind::Page),
        2 => any::<bool>().prop_map(Kind::WantOrders),
        1 => Just(Kind::RequestSync),
        2 => prop::option::of(0u8..3).prop_map(Kind::SetFilter),
        2 => prop_oneof![Just(None), Just(Some(NackCode::Invalid)), Just(Some(NackCode::RateLimited))]
            .prop_map(Kind::FilterAnswer),
        1 => (0u64..9).prop_map(Kind::ResumeFrom),
        1 => any::<bool>().prop_map(Kind::Writable),
        6 => prop::bool::weighted(0.9).prop_map(Kind::Stored),
        4 => prop::collection::vec((0u8..4, 0u64..80_000, prop::option::of(0u64..90_000_000)), 0..3)
            .prop_map(Kind::Adopted),
        1 => (0u8..6).prop_map(Kind::Lost),
    ];
    prop_oneof![
        10 => (kind, prop_oneof![9 => Just(0u32), 1 => 1u32..3]).prop_map(|(kind, back)| Step::Input(kind, back)),
        2 => (0u8..6, any::<bool>(), prop::option::of(0u64..20_000))
            .prop_map(|(n, until_shown, timeout_ms)| Step::Send(n, until_shown, timeout_ms)),
        1 => (0u8..6).prop_map(Step::Cancel),
        4 => prop_oneof![0u64..50, 0u64..5_000, 0u64..400_000].prop_map(Step::Pass),
    ]
}

/// A path that comes up, for the random steps to begin from.
fn warm() -> Vec<Step> {
    let heads = [
        Head::Connected {
            auth_required: true,
            heartbeat_ms: Some(15_000),
            max_message: None,
        },
        Success::at(3).head(false),
    ];
    let mut steps = vec![
        Step::Input(Kind::Connect, 0),
        Step::Input(Kind::Url(true), 0),
        Step::Input(Kind::Token(7), 0),
        Step::Input(Kind::Opened, 0),
    ];
    steps.extend(
        heads
            .into_iter()
            .map(|head| Step::Input(Kind::Frame(Box::new(head)), 0)),
    );
    steps
}

/// What a run holds the machine to.
struct Run {
    client: Client,
    now: Time,
    attempt: u32,
    waiters: BTreeMap<u32, usize>,
    commands: BTreeMap<String, usize>,
    /// Calls of `set_filter` without an answer.
    filters: BTreeMap<String, usize>,
    /// The last change of filter that was written.
    subscribed: String,
    /// Attempts with a socket: opened, not closed or dropped.
    sockets: Vec<AttemptId>,
    /// What storage has: with the mark that it may be sent, or without.
    rows: BTreeMap<String, bool>,
    /// What memory has to do for.
    memory: BTreeSet<String>,
    /// Writes under way.
    writes: VecDeque<(String, bool)>,
    asked: u32,
    stored: bool,
    log: Vec<String>,
}

impl Run {
    fn new(config: Config, seed: u64) -> Self {
        let now = Time::from_ms(1_000_000);
        Self {
            rows: BTreeMap::new(),
            memory: BTreeSet::new(),
            writes: VecDeque::new(),
            asked: 0,
            stored: config.outbox_stored,
            client: Client::new(config, seed, now),
            now,
            attempt: 0,
            waiters: BTreeMap::new(),
            commands: BTreeMap::new(),
            filters: BTreeMap::new(),
            subscribed: String::new(),
            sockets: Vec::new(),
            log: Vec::new(),
        }
    }

    fn drain(&mut self) -> Result<Option<(Time, Timer)>, TestCaseError> {
        for _ in 0..2_000 {
            let output = self.client.poll_output();
            self.log.push(format!("{output:?}"));
            match output {
                Output::Wait(wait) => {
                    if let Some((at, timer)) = wait {
                        prop_assert!(at > self.now, "{timer:?} is due and was not fired");
                        prop_assert!(at - self.now <= 3_600_000, "{timer:?} is too long");
                        let outlives = !matches!(
                            timer,
                            Timer::Heartbeat
                                | Timer::Pong
                                | Timer::Settled
                                | Timer::Renew
                                | Timer::Sync
                                | Timer::SnapshotPart
                                | Timer::Pace
                        );
                        let connected = self.client.dialect().is_some();
                        prop_assert!(connected || outlives, "{timer:?} without a connection");
                    }
                    prop_assert!(self.sockets.len() <= 1, "two sockets");
                    return Ok(wait);
                }
                Output::ResolveUrl(attempt, _) | Output::FetchToken { attempt, .. } => {
                    self.attempt = attempt.0;
                }
                Output::Open(attempt) => self.sockets.push(attempt),
                Output::Close(attempt, ..) => {
                    prop_assert!(self.sockets.contains(&attempt), "closes what is not open");
                    self.sockets.retain(|&open| open != attempt);
                }
                Output::Drop(attempt) => self.sockets.retain(|&open| open != attempt),
                Output::Send(attempt, text) => {
                    prop_assert!(self.sockets.contains(&attempt), "writes to no socket");
                    let frame = serde_json::from_str::<serde_json::Value>(&text);
                    let frame = frame.map_err(|e| TestCaseError::fail(e.to_string()))?;
                    if let (true, "order:create", Some(id)) = (
                        self.stored,
                        frame["type"].as_str().unwrap_or_default(),
                        frame["id"].as_str(),
                    ) {
                        prop_assert!(self.asked == 0, "{id} leaves before storage has answered");
                        let marked = self.rows.get(id) == Some(&true);
                        prop_assert!(marked || self.memory.contains(id), "{id} is sent unmarked");
                    }
                    if frame["type"] == "subscribe" || frame["type"] == "unsubscribe" {
                        self.subscribed = frame["id"].as_str().unwrap_or_default().to_owned();
                    }
                }
                Output::Settle(WaiterId(waiter), _) => {
                    let left = self.waiters.remove(&waiter);
                    prop_assert!(left.is_some(), "waiter {waiter} settled twice");
                }
                Output::Store { id, sent } => {
                    prop_assert!(self.stored);
                    self.writes.push_back((id, sent));
                }
                Output::Unstore(id) | Output::SetAside(id, _) => {
                    prop_assert!(self.stored && self.commands.contains_key(&id));
                    self.rows.remove(&id);
                }
                Output::Adopt => self.asked += 1,
                Output::Settled(id, _) => {
                    // What is written of it late is not of another that takes its name.
                    self.writes.retain(|(of, _)| *of != id);
                    self.memory.remove(&id);
                    let left = self
                        .commands
                        .remove(&id)
                        .or_else(|| self.filters.remove(&id));
                    prop_assert!(left.is_some(), "{id} settled twice");
                }
                _ => {}
            }
        }
        Err(TestCaseError::fail("a drain without end"))
    }

    fn input(&mut self, input: Input) -> Result<Option<(Time, Timer)>, TestCaseError> {
        self.client.handle(input, self.now);
        self.drain()
    }

    fn step(&mut self, n: usize, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Pass(ms) => {
                self.now = self.now + *ms;
                self.input(Input::Tick)?;
            }
            Step::Send(id, until_shown, timeout_ms) => {
                let command = Command {
                    kind: "order:create".to_owned(),
                    payload: "{}".to_owned(),
                    id: Some(format!("c{id}")),
                    ttl_ms: None,
                    timeout_ms: *timeout_ms,
                    until_shown: *until_shown,
                    // Every third has been on another connection.
                    sent_at: (id % 3 == 0).then_some(self.now),
                };
                if let Ok(id) = self.client.send(command, self.now) {
                    self.commands.insert(id, n);
                }
                self.drain_after_send()?;
            }
            Step::Cancel(id) => {
                let id = format!("c{id}");
                let there = self.client.cancel(&id, self.now);
                prop_assert_eq!(there, self.commands.contains_key(&id));
                self.drain_after_send()?;
            }
            Step::Input(kind, back) => {
                let attempt = AttemptId(self.attempt.saturating_sub(*back));
                let input = match kind.clone() {
                    Kind::Connect => {
                        let waiter = n as u32;
                        self.waiters.insert(waiter, n);
                        Input::Connect(WaiterId(waiter))
                    }
                    Kind::Abandon(waiter) => {
                        self.waiters.remove(&waiter);
                        Input::Abandon(WaiterId(waiter))
                    }
                    Kind::Disconnect => Input::Disconnect,
                    Kind::ReconnectNow => Input::ReconnectNow,
                    Kind::SetToken(t) => Input::SetToken(Token::new(format!("t{t}"))),
                    Kind::Url(usable) => Input::Url(attempt, usable),
                    Kind::Token(0) => Input::Token(attempt, TokenAnswer::None),
                    Kind::Token(1) => Input::Token(attempt, TokenAnswer::Failed),
                    Kind::Token(t) => Input::Token(attempt, token(&format!("t{t}"))),
                    Kind::Opened => Input::Opened(attempt),
                    Kind::Frame(head) => Input::Frame(attempt, *head),
                    Kind::Malformed => Input::Malformed(attempt),
                    Kind::Closed(code) => {
                        // A socket that closed is gone, whatever the machine makes of it.
                        self.sockets.retain(|&open| open != attempt);
                        Input::Closed(attempt, closed(code, "reconnect_after_ms=900"))
                    }
                    Kind::Health(up) => Input::Health(attempt, up),
                    Kind::Page(event) => Input::Page(event),
                    Kind::WantOrders(want) => Input::WantOrders(want),
                    Kind::RequestSync => Input::RequestSync,
                    Kind::SetFilter(some) => {
                        let filter = some.map(|n| format!(r#"{{"events":["a{n}"]}}"#));
                        let id = self.client.set_filter(filter, self.now);
                        self.filters.insert(id, n);
                        return self.drain_after_send();
                    }
                    Kind::FilterAnswer(answer) => {
                        let id = self.subscribed.clone();
                        Input::Frame(attempt, filter_answer(id, answer))
                    }
                    Kind::ResumeFrom(seq) => Input::ResumeFrom(Epoch::new("e1"), seq),
                    Kind::Writable(writable) => Input::Writable(attempt, writable),
                    Kind::Stored(kept) => {
                        let Some((id, sent)) = self.writes.pop_front() else {
                            return Ok(());
                        };
                        if kept {
                            self.rows.insert(id.clone(), sent);
                        } else {
                            self.memory.insert(id.clone());
                        }
                        Input::Stored { id, sent, kept }
                    }
                    Kind::Adopted(given) => {
                        if !self.stored {
                            return Ok(());
                        }
                        let answer = self.asked > 0;
                        self.asked = self.asked.saturating_sub(1);
                        let mut entries = Vec::new();
                        for (id, age_ms, sent_age_ms) in given {
                            let id = format!("a{id}");
                            if self.commands.insert(id.clone(), n).is_none() {
                                self.rows.insert(id.clone(), sent_age_ms.is_some());
                                entries.push(Adopted {
                                    id,
                                    kind: "order:create".to_owned(),
                                    payload: "{}".to_owned(),
                                    ttl_ms: 60_000,
                                    age_ms,
                                    sent_age_ms,
                                });
                            }
                        }
                        Input::Adopted {
                            answer,
                            entries,
                            lost: Vec::new(),
                        }
                    }
                    Kind::Lost(id) => {
                        let id = format!("c{id}");
                        if self.rows.remove(&id).is_none()
                            || self.writes.iter().any(|(of, _)| *of == id)
                        {
                            return Ok(());
                        }
                        Input::Adopted {
                            answer: false,
                            entries: Vec::new(),
                            lost: vec![id],
                        }
                    }
                };
                let disconnects = matches!(input, Input::Disconnect);
                let wait = self.input(input)?;
                if disconnects {
                    prop_assert_eq!(wait, None);
                    prop_assert!(self.sockets.is_empty() && self.waiters.is_empty());
                    prop_assert_eq!(self.client.state(), ConnectionState::Disconnected);
                }
            }
        }
        prop_assert_eq!(self.client.stats(self.now).outbox_len, self.commands.len());
        Ok(())
    }

    /// `send` and `cancel` answer at once and fire no timers: the next input does.
    fn drain_after_send(&mut self) -> Result<(), TestCaseError> {
        self.input(Input::Tick).map(|_| ())
    }

    fn dispose(&mut self) -> Result<(), TestCaseError> {
        let wait = self.input(Input::Dispose)?;
        prop_assert_eq!(wait, None);
        prop_assert!(self.sockets.is_empty(), "a socket is left");
        prop_assert!(self.waiters.is_empty(), "a waiter is left");
        prop_assert!(self.commands.is_empty(), "a command is left");
        prop_assert!(self.filters.is_empty(), "a change of filter is left");
        Ok(())
    }
}

fn filter_answer(id: String, answer: Option<NackCode>) -> Head {
    match answer {
        None => Head::Ack {
            id,
            seq: Some(3),
            epoch: EpochRef::Current,
        },
        Some(code) => Head::Nack {
            id,
            code,
            outcome: Outcome::NotApplied,
            retry_after_ms: None,
        },
    }
}

fn run(config: Config, seed: u64, steps: &[Step]) -> Result<Vec<String>, TestCaseError> {
    let mut run = Run::new(config, seed);
    for (n, step) in steps.iter().enumerate() {
        run.step(n + 100, step)?;
    }
    run.dispose()?;
    Ok(run.log)
}

fn config() -> impl Strategy<Value = Config> {
    let has_token = any::<bool>();
    (has_token, any::<bool>(), prop::option::of(0u32..4)).prop_map(|(has_token, stored, max)| {
        Config {
            has_token,
            outbox_stored: stored,
            max_reconnect_attempts: max,
            ..with_token()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_inputs_from_rest(config in config(), seed: u64, steps in prop::collection::vec(step(), 0..120)) {
        run(config, seed, &steps)?;
    }

    #[test]
    fn any_inputs_while_connected(seed: u64, stored: bool, steps in prop::collection::vec(step(), 0..120)) {
        let mut all = warm();
        all.extend(steps);
        run(Config { outbox_stored: stored, ..with_token() }, seed, &all)?;
    }

    #[test]
    fn a_recording_plays_again_the_same_way(seed: u64, stored: bool, steps in prop::collection::vec(step(), 0..500), early: bool) {
        let mut run = Run::new(Config { outbox_stored: stored, ..with_token() }, seed);
        let mut all = warm();
        if early {
            run.client.record(false);
        }
        all.extend(steps);
        for (n, step) in all.iter().enumerate() {
            run.step(n + 100, step)?;
            if n == 5 && !early {
                // Connected and at rest: it begins with that state.
                run.client.record(false);
            }
        }
        let text = run.client.recording().unwrap_or_default();
        prop_assert!(!text.contains("\"t7\""), "no token is in it");
        let recording: serde_json::Value = serde_json::from_str(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(recording["entries"].as_array().is_some_and(|entries| entries.len() <= 1_001));
        if recording["complete"] == true {
            crate::replay_kit::play(&text, |_| {}).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        }
    }

    #[test]
    fn the_same_seed_and_inputs_give_the_same_outputs(seed: u64, steps in prop::collection::vec(step(), 0..60)) {
        let mut all = warm();
        all.extend(steps);
        prop_assert_eq!(run(with_token(), seed, &all)?, run(with_token(), seed, &all)?);
    }
}
