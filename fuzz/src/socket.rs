//! An orders socket: any frames in any order through the parser and the session's machine, over a real log, with
//! the driver's part played as the relay's shard plays it.

use crate::kit::{Kit, at, publish};
use crate::{number, steps};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tautline_machine::relay::session::{Claims, Config, Input, Output, Session};
use tautline_machine::relay::{Answer, By, Cursor, Judged, Place, Taken, Waiter};
use tautline_protocol::request::{self, Request};
use tautline_protocol::{AuthCode, CloseCode, Dialect, Seq, limits};

/// Lines: `f` a frame, `a` how the next tokens are answered (a role or an error code), `t` milliseconds that pass,
/// `c` the store commits, `x` it refuses, `n` somebody else publishes, `r` the socket takes a turn, `k`/`w`/`e` it
/// blocks, takes some, takes all, `p` a pong, `b` a binary message, `B` one over the limit, `d` the relay drains, `E`
/// it ends the session, `q` the socket is gone, `v` (first) the subprotocol was offered.
pub(crate) fn run(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let _ = request::parse(&script, true);
    let mut peer = Peer::new();
    let v1 = script.starts_with('v');
    peer.input(Input::Opened { v1 });
    for (step, text) in steps(&script).take(200) {
        peer.step(step, text);
    }
    peer.end();
}

struct Peer {
    session: Session,
    kit: Kit,
    cursor: Option<Cursor>,
    answer: Result<String, AuthCode>,
    submitted: BTreeMap<Waiter, u64>,
    /// How often an id may be answered at most, and must be, and was.
    asked: BTreeMap<String, usize>,
    owed: BTreeMap<String, usize>,
    answered: BTreeMap<String, usize>,
    authenticated: bool,
    closed: bool,
    dropped: bool,
    position: Option<Seq>,
}

impl Peer {
    fn new() -> Self {
        let config = Config {
            heartbeat_ms: 15_000,
            ..Config::default()
        };
        let mut kit = Kit::new();
        kit.order();
        Self {
            session: Session::new(Arc::new(config)),
            kit,
            cursor: None,
            answer: Ok("kitchen".into()),
            submitted: BTreeMap::new(),
            asked: BTreeMap::new(),
            owed: BTreeMap::new(),
            answered: BTreeMap::new(),
            authenticated: false,
            closed: false,
            dropped: false,
            position: None,
        }
    }

    fn step(&mut self, step: char, text: &str) {
        match step {
            'f' => self.frame(text),
            'a' => {
                self.answer = match AuthCode::parse(text) {
                    Some(code) => Err(code),
                    None => Ok(text.to_owned()),
                }
            }
            't' => {
                self.kit.ms += number(text, 86_400_000);
                self.input(Input::Tick);
            }
            'c' => {
                let answers = self.kit.commit();
                self.answers(answers);
            }
            'x' => {
                let answers = self.kit.log.failed();
                self.answers(answers);
            }
            'n' => {
                let _ = self.kit.judge(&publish("kds:update", "{}"));
                let answers = self.kit.commit();
                self.answers(answers);
            }
            'r' => self.turn(),
            'k' => self.input(Input::Blocked),
            'w' => self.input(Input::Wrote { empty: false }),
            'e' => self.input(Input::Wrote { empty: true }),
            'p' => self.input(Input::Pong),
            'b' => self.input(Input::Binary),
            'B' => self.input(Input::TooBig),
            'd' => self.input(Input::Drain {
                reconnect_after_ms: number(text, u64::MAX),
            }),
            'E' => self.input(Input::End(CloseCode::TRY_LATER, "overloaded")),
            'q' => {
                self.input(Input::Closed);
                self.dropped = true;
            }
            _ => {}
        }
    }

    fn frame(&mut self, text: &str) {
        if self.dropped {
            return;
        }
        let v1 = self.session.dialect() == Dialect::V1;
        if self.authenticated && v1 {
            for request in request::parse(text, true).into_iter().flatten() {
                let id = match request {
                    Ok(Request::Command { key, .. }) => key.map(|key| key.id),
                    Ok(
                        Request::Sync { id, .. }
                        | Request::Subscribe { id, .. }
                        | Request::Unsubscribe { id, .. },
                    ) => id,
                    Ok(_) => None,
                    Err(refused) => refused.id,
                };
                if let Some(id) = id {
                    *self.asked.entry(id.clone()).or_default() += 1;
                    *self.owed.entry(id).or_default() += 1;
                }
            }
        } else if let Ok(value) = serde_json::from_str::<Value>(text) {
            // Frames before `auth:success` wait for it: what they ask is not known to be asked before it is read.
            collect_ids(&value, &mut self.asked);
        }
        self.input(Input::Frame(text));
    }

    fn input(&mut self, input: Input<'_>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.session
                .handle(input, at(self.kit.ms), self.kit.log.head(), 500);
            self.drain(&mut inputs);
        }
    }

    fn drain(&mut self, inputs: &mut VecDeque<Input<'_>>) {
        for _ in 0..5_000 {
            let output = self.session.poll_output();
            if self.closed {
                assert!(
                    matches!(output, Output::Drop | Output::Wait(_)),
                    "after its close: {output:?}"
                );
            }
            match output {
                Output::Send(text) => self.sent(&text),
                Output::Ping => {}
                Output::Verify { token, .. } => {
                    assert!(token.expose().len() <= limits::MAX_TOKEN);
                    inputs.push_back(Input::Verified(self.claims()));
                }
                Output::Attach {
                    viewer,
                    resume,
                    sync,
                    ..
                } => {
                    assert!(self.cursor.is_none(), "attached twice");
                    assert!(!self.authenticated);
                    let resume = resume.as_ref().map(|(epoch, seq)| (epoch, *seq));
                    let mut place = self.kit.log.place((*viewer).clone(), resume, sync);
                    if matches!(place, Place::HistoryLost) {
                        assert!(viewer.scope().role.is_staff(), "a guest is believed");
                        // Nobody else is there whose commands would wait.
                        let epoch = tautline_protocol::Epoch::new("e2");
                        self.kit.log.begin_epoch(epoch);
                        self.kit.commit();
                        place = self.kit.log.place(*viewer, None, sync);
                    }
                    let Place::At {
                        cursor,
                        epoch,
                        seq,
                        resumed,
                    } = place
                    else {
                        panic!("lost again");
                    };
                    self.cursor = Some(cursor);
                    inputs.push_back(Input::Attached {
                        epoch,
                        seq,
                        resumed,
                    });
                }
                Output::Submit {
                    number,
                    command,
                    key,
                    ..
                } => {
                    self.kit.ms += 1;
                    let waiter = Waiter(1_000_000 + number);
                    let scope = self.session.identity().unwrap().scope.clone();
                    let by = By {
                        scope: &scope,
                        key: key.as_ref().map(|key| (key.id.as_str(), key.hash)),
                        waiter,
                    };
                    let fresh = format!("s{number}");
                    self.submitted.insert(waiter, number);
                    match self.kit.log.judge(&command, by, &fresh, at(self.kit.ms)) {
                        Judged::Queued => {}
                        Judged::Now(answer) => {
                            self.submitted.remove(&waiter);
                            inputs.push_back(Input::Answered { number, answer });
                        }
                    }
                }
                Output::Sync { id, position } => {
                    // It is sent again what it says it has not got.
                    self.position = None;
                    let cursor = self.cursor.as_mut().expect("a sync needs a place");
                    let position = position.as_ref().map(|(epoch, seq)| (epoch, *seq));
                    let _ = cursor.sync(&self.kit.log, id, position);
                }
                Output::Account => {
                    let cursor = self.cursor.as_mut().expect("numbers need a place");
                    if let Some(frame) = cursor.account(&self.kit.log) {
                        self.sent(&frame);
                    }
                }
                Output::Filter { number, filter } => {
                    let cursor = self.cursor.as_mut().expect("a filter needs a place");
                    let told = filter.json();
                    let at = cursor.filter(filter);
                    inputs.push_back(Input::Filtered {
                        number,
                        at,
                        filter: told,
                    });
                }
                Output::Rescope(scope) => {
                    self.position = None;
                    let cursor = self.cursor.as_mut().expect("a scope needs a place");
                    cursor.rescope(&self.kit.log, scope);
                }
                Output::Close(code, reason) => {
                    assert!(!self.closed, "closed twice");
                    assert!(!code.is_abnormal() && reason.len() <= 123);
                    self.closed = true;
                }
                Output::Drop => self.dropped = true,
                Output::Wait(wait) => {
                    if let Some((when, timer)) = wait {
                        assert!(
                            when > at(self.kit.ms).now,
                            "{timer:?} is due and did not fire"
                        );
                    }
                    return;
                }
            }
        }
        panic!("outputs without end");
    }

    fn claims(&self) -> Result<Claims, AuthCode> {
        self.answer.clone().map(|role| Claims {
            sub: "ann".into(),
            restaurants: Some(vec!["grow".into()]),
            role,
            order_ids: vec!["o1".into()],
            issued_at_ms: None,
            expires_at: "2026-11-23T18:00:00Z".into(),
            expires_in_ms: 600_000,
        })
    }

    fn sent(&mut self, text: &str) {
        assert!(text.len() <= limits::MAX_FRAME_OUT);
        let frame: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert!(frame["type"].is_string(), "{text}");
        match frame["type"].as_str().unwrap() {
            "auth:success" if frame["renewal"] != true => {
                assert!(!self.authenticated, "authenticated twice");
                self.authenticated = true;
            }
            "ack" | "nack" => {
                let id = frame["id"].as_str().unwrap().to_owned();
                let asked = self.asked.get(&id).copied().unwrap_or(0);
                let answered = self.answered.entry(id).or_default();
                *answered += 1;
                assert!(*answered <= asked, "answered more often than asked: {text}");
            }
            "connected" | "auth:failed" => {}
            _ => assert!(self.authenticated, "to a stranger: {text}"),
        }
    }

    fn answers(&mut self, answers: Vec<(Waiter, Answer)>) {
        for (waiter, answer) in answers {
            if let Some(number) = self.submitted.remove(&waiter) {
                self.input(Input::Answered { number, answer });
            }
        }
    }

    /// One turn of the cursor.
    fn turn(&mut self) {
        if self.session.is_ending() || !self.authenticated {
            return;
        }
        let Some(cursor) = &mut self.cursor else {
            return;
        };
        match cursor.take(&self.kit.log) {
            Taken::Turn {
                messages, synced, ..
            } => {
                for message in messages {
                    let text = message.text();
                    assert_eq!(text.len(), message.len);
                    assert!(text.len() <= limits::MAX_FRAME_OUT);
                    let value: Value =
                        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                    self.heard(&value);
                }
                if synced {
                    self.input(Input::Synced);
                }
            }
            Taken::Idle => {}
            Taken::Read { after } => {
                let chunk = self.kit.disk.read(after, 20);
                cursor.supply(self.kit.log.epoch(), chunk);
            }
            Taken::TooSlow => self.input(Input::End(CloseCode::SLOW_CONSUMER, "beyond the tail")),
        }
    }

    /// Events of one connection come in order, each once.
    fn heard(&mut self, value: &Value) {
        let one = std::slice::from_ref(value);
        for frame in value.as_array().map_or(one, Vec::as_slice) {
            match frame["type"].as_str().unwrap() {
                "reset" | "sync_complete" | "sync_aborted" => self.position = None,
                _ => {
                    if let Some(seq) = frame["seq"].as_u64() {
                        assert!(self.position.is_none_or(|before| seq > before), "{frame}");
                        self.position = Some(seq);
                    }
                }
            }
        }
    }

    /// Everything that was asked is answered once the store has answered, unless the connection has gone.
    fn end(&mut self) {
        let answers = self.kit.commit();
        self.answers(answers);
        if self.authenticated
            && !self.closed
            && !self.dropped
            && self.session.dialect() == Dialect::V1
        {
            for (id, owed) in &self.owed {
                let answered = self.answered.get(id).copied().unwrap_or(0);
                assert!(
                    answered >= *owed,
                    "{id}: asked {owed} times, answered {answered}"
                );
            }
        }
        self.input(Input::Closed);
        assert!(matches!(self.session.poll_output(), Output::Wait(None)));
    }
}

fn collect_ids(value: &Value, asked: &mut BTreeMap<String, usize>) {
    let one = std::slice::from_ref(value);
    for frame in value.as_array().map_or(one, Vec::as_slice) {
        if let Some(id) = frame["id"].as_str() {
            *asked.entry(id.to_owned()).or_default() += 1;
        }
    }
}
