//! A driver in memory: performs what the client's machine puts out by writing it down, on a clock moved by hand.

use serde_json::Value;
use tautline_machine::Time;
use tautline_machine::client::{
    Answer, AttemptId, Client, Closed, Command, Config, EpochRef, Failure, Head, Input, Notice,
    Output, PageEvent, Timer, Token, TokenAnswer, TokenReason, WaiterId,
};
use tautline_protocol::limits::Limits;
use tautline_protocol::{AuthCode, CloseCode, Epoch, NackCode, Outcome, Seq};

/// More outputs or timers in a row than any input can cause: a livelock.
const BOUND: usize = 20_000;

pub(crate) struct Driver {
    pub(crate) client: Client,
    pub(crate) now: Time,
    /// What the last drain ended with.
    pub(crate) wait: Option<(Time, Timer)>,
    /// The attempt that the machine spoke of last.
    pub(crate) attempt: AttemptId,
    waiters: u32,
    log: Vec<Output>,
}

/// An `auth:success`.
#[derive(Clone)]
pub(crate) struct Success {
    pub(crate) v1: bool,
    pub(crate) epoch: &'static str,
    pub(crate) seq: Seq,
    pub(crate) resumed: bool,
    pub(crate) view: Option<&'static str>,
    pub(crate) expires_in_ms: Option<u64>,
    pub(crate) dedupe_ms: Option<u64>,
    pub(crate) limits: Option<Limits>,
    pub(crate) spread_ms: Option<u64>,
}

impl Default for Success {
    fn default() -> Self {
        Self {
            v1: true,
            epoch: "e1",
            seq: 0,
            resumed: false,
            view: None,
            expires_in_ms: None,
            dedupe_ms: None,
            limits: None,
            spread_ms: Some(500),
        }
    }
}

impl Success {
    pub(crate) fn plain() -> Self {
        Self {
            v1: false,
            ..Self::default()
        }
    }

    pub(crate) fn at(seq: Seq) -> Self {
        Self {
            seq,
            ..Self::default()
        }
    }

    pub(crate) fn resumed(seq: Seq) -> Self {
        Self {
            seq,
            resumed: true,
            ..Self::default()
        }
    }

    pub(crate) fn head(&self, renewal: bool) -> Head {
        Head::AuthSuccess {
            v1: self.v1,
            renewal,
            epoch: self.v1.then(|| Epoch::new(self.epoch)),
            seq: self.v1.then_some(self.seq),
            resumed: self.resumed,
            view: self.view.map(str::to_owned),
            expires_in_ms: self.expires_in_ms,
            dedupe_ms: self.dedupe_ms,
            limits: self.limits,
            reconnect_spread_ms: self.spread_ms,
        }
    }
}

pub(crate) fn with_token() -> Config {
    Config {
        has_token: true,
        ..Config::default()
    }
}

pub(crate) fn token(text: &str) -> TokenAnswer {
    TokenAnswer::Token(Token::new(text.to_owned()))
}

pub(crate) fn closed(code: u16, reason: &str) -> Closed {
    Closed {
        code: CloseCode(code),
        reason: reason.to_owned(),
        was_clean: !matches!(code, 1006 | 4104),
    }
}

pub(crate) fn command(kind: &str) -> Command {
    Command {
        kind: kind.to_owned(),
        payload: "{}".to_owned(),
        id: None,
        ttl_ms: None,
        timeout_ms: None,
        until_shown: false,
        sent_at: None,
    }
}

impl Driver {
    pub(crate) fn new(config: Config) -> Self {
        Self::seeded(config, 7)
    }

    pub(crate) fn seeded(config: Config, seed: u64) -> Self {
        let now = Time::from_ms(1_000_000);
        Self {
            client: Client::new(config, seed, now),
            now,
            wait: None,
            attempt: AttemptId(0),
            waiters: 0,
            log: Vec::new(),
        }
    }

    /// A client with a token, connected in v1 at the head of an empty log.
    pub(crate) fn live() -> Self {
        Self::live_with(with_token(), &Success::default())
    }

    /// The same with an order set, whose snapshot is installed at `seq`.
    pub(crate) fn live_with_set(seq: Seq) -> Self {
        let mut d = Self::new(with_token());
        d.input(Input::WantOrders(true));
        d.connect();
        d.come_up(&Success::at(seq));
        d.snapshot("relay.1", "e1", seq);
        d.forget();
        d
    }

    pub(crate) fn live_with(config: Config, success: &Success) -> Self {
        let mut d = Self::new(config);
        d.connect();
        d.come_up(success);
        d.forget();
        d
    }

    // Inputs

    pub(crate) fn input(&mut self, input: Input) {
        self.client.handle(input, self.now);
        self.drain();
    }

    pub(crate) fn connect(&mut self) -> WaiterId {
        self.waiters += 1;
        let waiter = WaiterId(self.waiters);
        self.input(Input::Connect(waiter));
        waiter
    }

    pub(crate) fn url(&mut self) {
        self.input(Input::Url(self.attempt, true));
    }

    pub(crate) fn token(&mut self, text: &str) {
        self.input(Input::Token(self.attempt, token(text)));
    }

    pub(crate) fn open(&mut self) {
        self.input(Input::Opened(self.attempt));
    }

    pub(crate) fn greet(&mut self, auth_required: bool) {
        self.frame(Head::Connected {
            auth_required,
            heartbeat_ms: Some(15_000),
            max_message: None,
        });
    }

    pub(crate) fn frame(&mut self, head: Head) {
        self.input(Input::Frame(self.attempt, head));
    }

    pub(crate) fn auth_failed(&mut self, code: AuthCode) {
        self.frame(Head::AuthFailed {
            code,
            renewal: false,
        });
    }

    pub(crate) fn close(&mut self, code: u16) {
        self.close_saying(code, "");
    }

    pub(crate) fn close_saying(&mut self, code: u16, reason: &str) {
        self.input(Input::Closed(self.attempt, closed(code, reason)));
    }

    pub(crate) fn page(&mut self, event: PageEvent) {
        self.input(Input::Page(event));
    }

    /// From a dial just begun to a socket that opens, with a fresh token where one is asked for.
    pub(crate) fn dial_to_socket(&mut self) {
        self.url();
        if self.asked_token().is_some() {
            let fresh = format!("t{}", self.attempt.0);
            self.token(&fresh);
        }
    }

    /// From a dial just begun to `auth` sent.
    pub(crate) fn dial_to_auth(&mut self) {
        self.dial_to_socket();
        self.open();
        self.greet(true);
    }

    /// From a dial just begun to connected.
    pub(crate) fn come_up(&mut self, success: &Success) {
        self.dial_to_auth();
        self.frame(success.head(false));
    }

    pub(crate) fn event(&mut self, seq: Seq) {
        self.event_of(seq, EpochRef::Current, None);
    }

    pub(crate) fn event_of(&mut self, seq: Seq, epoch: EpochRef, command_id: Option<&str>) {
        self.frame(Head::Event {
            seq: Some(seq),
            epoch,
            command_id: command_id.map(str::to_owned),
        });
    }

    pub(crate) fn part(&mut self, sync_id: &str, epoch: &str, seq: Seq, part: u32, parts: u32) {
        self.frame(Head::SnapshotPart {
            sync_id: sync_id.to_owned(),
            epoch: Epoch::new(epoch),
            seq,
            part,
            parts,
        });
    }

    pub(crate) fn snapshot(&mut self, sync_id: &str, epoch: &str, seq: Seq) {
        self.part(sync_id, epoch, seq, 1, 1);
    }

    pub(crate) fn ack(&mut self, id: &str, seq: Option<Seq>) {
        self.frame(Head::Ack {
            id: id.to_owned(),
            seq,
            epoch: if seq.is_some() {
                EpochRef::Current
            } else {
                EpochRef::None
            },
        });
    }

    pub(crate) fn nack(&mut self, id: &str, code: NackCode, retry_after_ms: Option<u64>) {
        self.frame(Head::Nack {
            id: id.to_owned(),
            code,
            outcome: Outcome::NotApplied,
            retry_after_ms,
        });
    }

    pub(crate) fn pong(&mut self, seq: Option<Seq>) {
        let timestamp = Some(self.now.as_ms());
        self.frame(Head::Pong {
            timestamp,
            seq,
            reconnect_spread_ms: None,
        });
    }

    pub(crate) fn send(&mut self, command: Command) -> Result<String, Failure> {
        let sent = self.client.send(command, self.now);
        self.drain();
        sent
    }

    pub(crate) fn set_filter(&mut self, filter: Option<String>) -> String {
        let id = self.client.set_filter(filter, self.now);
        self.drain();
        id
    }

    pub(crate) fn cancel(&mut self, id: &str) -> bool {
        let there = self.client.cancel(id, self.now);
        self.drain();
        there
    }

    // Time

    /// Lets that much time pass, woken as the machine asked.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        for _ in 0..BOUND {
            match self.wait {
                Some((at, _)) if at <= end => {
                    self.now = self.now.max(at);
                    self.input(Input::Tick);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("timers without end");
    }

    /// The page does not run for that long: no timer fires until it is over.
    pub(crate) fn freeze(&mut self, ms: u64) {
        self.now = self.now + ms;
    }

    /// Lets time pass until that timer has fired; answers how long it took.
    pub(crate) fn until(&mut self, timer: Timer) -> u64 {
        let start = self.now;
        for _ in 0..BOUND {
            let (at, next) = self.wait.expect("a timer");
            self.now = self.now.max(at);
            self.input(Input::Tick);
            if next == timer {
                return self.now - start;
            }
        }
        panic!("{timer:?} never fires");
    }

    // What came of it. Each takes what it looks at off the log.

    fn drain(&mut self) {
        for _ in 0..BOUND {
            let output = self.client.poll_output();
            match &output {
                Output::Wait(wait) => {
                    self.wait = *wait;
                    return;
                }
                Output::ResolveUrl(attempt, _) | Output::FetchToken { attempt, .. } => {
                    self.attempt = *attempt;
                }
                _ => {}
            }
            self.log.push(output);
        }
        panic!("outputs without end");
    }

    pub(crate) fn forget(&mut self) {
        self.log.clear();
    }

    /// Everything put out since it was last asked for.
    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.log)
    }

    fn pick<T>(&mut self, want: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        let (mut picked, mut left) = (Vec::new(), Vec::new());
        for output in std::mem::take(&mut self.log) {
            match want(&output) {
                Some(found) => picked.push(found),
                None => left.push(output),
            }
        }
        self.log = left;
        picked
    }

    pub(crate) fn asked_token(&mut self) -> Option<TokenReason> {
        let asked = self.pick(|output| match output {
            Output::FetchToken { reason, .. } => Some(*reason),
            _ => None,
        });
        asked.last().copied()
    }

    pub(crate) fn dials(&mut self) -> usize {
        self.pick(|output| matches!(output, Output::ResolveUrl(..)).then_some(()))
            .len()
    }

    /// The addresses dialled.
    pub(crate) fn addresses(&mut self) -> Vec<usize> {
        self.pick(|output| match output {
            Output::ResolveUrl(_, address) => Some(*address),
            _ => None,
        })
    }

    pub(crate) fn opens(&mut self) -> Vec<AttemptId> {
        self.pick(|output| match output {
            Output::Open(attempt) => Some(*attempt),
            _ => None,
        })
    }

    pub(crate) fn sent(&mut self) -> Vec<Value> {
        self.pick(|output| match output {
            Output::Send(_, text) => Some(serde_json::from_str(text).expect("JSON")),
            _ => None,
        })
    }

    /// Frames of that type.
    pub(crate) fn sent_of(&mut self, kind: &str) -> Vec<Value> {
        let mut sent = self.sent();
        sent.retain(|frame| frame["type"] == kind);
        sent
    }

    pub(crate) fn closes(&mut self) -> Vec<(AttemptId, u16)> {
        self.pick(|output| match output {
            Output::Close(attempt, code, _) => Some((*attempt, code.0)),
            _ => None,
        })
    }

    pub(crate) fn drops(&mut self) -> Vec<AttemptId> {
        self.pick(|output| match output {
            Output::Drop(attempt) => Some(*attempt),
            _ => None,
        })
    }

    pub(crate) fn healths(&mut self) -> usize {
        self.pick(|output| matches!(output, Output::ProbeHealth(_)).then_some(()))
            .len()
    }

    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        self.pick(|output| match output {
            Output::Tell(notice) => Some(notice.clone()),
            _ => None,
        })
    }

    pub(crate) fn errors(&mut self) -> Vec<Failure> {
        self.pick(|output| match output {
            Output::Tell(Notice::Error(failure)) => Some(failure.clone()),
            _ => None,
        })
    }

    /// The wait that `reconnecting` named last.
    pub(crate) fn delay(&mut self) -> u64 {
        let delays = self.pick(|output| match output {
            Output::Tell(Notice::Reconnecting { delay_ms, .. }) => Some(*delay_ms),
            _ => None,
        });
        *delays.last().expect("a wait before the next attempt")
    }

    pub(crate) fn settled_waiters(&mut self) -> Vec<(WaiterId, Result<(), Failure>)> {
        self.pick(|output| match output {
            Output::Settle(waiter, result) => Some((*waiter, result.clone())),
            _ => None,
        })
    }

    pub(crate) fn settled(&mut self) -> Vec<(String, Answer)> {
        self.pick(|output| match output {
            Output::Settled(id, answer) => Some((id.clone(), answer.clone())),
            _ => None,
        })
    }

    pub(crate) fn delivered(&mut self) -> Vec<Option<Seq>> {
        self.pick(|output| match output {
            Output::Deliver { seq } => Some(*seq),
            _ => None,
        })
    }

    /// What happens to the order set: `C1` collect the first part, `C` another, `I7` install at 7, `D` discard, `S`
    /// stale.
    pub(crate) fn set_steps(&mut self) -> Vec<String> {
        self.pick(|output| match output {
            Output::CollectSnapshot { first } => Some(if *first { "C1" } else { "C" }.to_owned()),
            Output::InstallSnapshot { seq } => Some(match seq {
                Some(seq) => format!("I{seq}"),
                None => "I".to_owned(),
            }),
            Output::DiscardSnapshot => Some("D".to_owned()),
            Output::OrdersStale => Some("S".to_owned()),
            _ => None,
        })
    }
}
