//! Every bound of the relay's machines, at it and one above it (`docs/protocol.md`, Limits).
#![cfg(feature = "relay")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod relay_kit;

use proptest::prelude::*;
use relay_kit::{Kit, create, publish, status};
use serde_json::{Value, json};
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::admission::Bounds;
use tautline_machine::relay::session::{Claims, Config, Input, Output, Session};
use tautline_machine::relay::{Ack, Address, Admission, Answer, Moment};
use tautline_protocol::limits::{self, hit};
use tautline_protocol::{CloseCode, Epoch, NackCode, OrderStatus};

/// A session, what it sent since the last look, and what it met.
struct Peer {
    session: Session,
    ms: u64,
    /// Numbers of commands not answered yet.
    open: Vec<u64>,
}

#[derive(Debug, Default)]
struct Said {
    frames: Vec<Value>,
    submitted: usize,
    closed: Option<CloseCode>,
    dropped: bool,
    hits: Vec<(&'static str, u64)>,
}

impl Said {
    fn errors(&self, code: NackCode) -> usize {
        let is = |frame: &&Value| frame["error"]["code"] == code.as_str();
        self.frames.iter().filter(is).count()
    }
}

impl Peer {
    fn greeted() -> Self {
        let mut peer = Self {
            session: Session::new(Arc::new(Config::default())),
            ms: 0,
            open: Vec::new(),
        };
        peer.input(Input::Opened { v1: true });
        peer
    }

    fn live() -> Self {
        Self::live_as("kitchen")
    }

    fn live_as(role: &str) -> Self {
        let mut peer = Self::greeted();
        peer.frame(&json!({"type":"auth","token":"t"}));
        peer.input(Input::Verified(Ok(claims(role))));
        peer.input(Input::Attached {
            epoch: Epoch::new("e1"),
            seq: 0,
            resumed: false,
        });
        peer
    }

    fn input(&mut self, input: Input<'_>) -> Said {
        let at = Moment {
            now: Time::from_ms(self.ms),
            wall_ms: 1_790_000_000_000 + self.ms,
        };
        self.session.handle(input, at, 0, 500);
        let mut said = Said::default();
        loop {
            match self.session.poll_output() {
                Output::Send(frame) => said.frames.push(serde_json::from_str(&frame).unwrap()),
                Output::Submit { number, .. } => {
                    said.submitted += 1;
                    self.open.push(number);
                }
                Output::Filter { number, filter } => {
                    let filter = filter.json();
                    let at_seq = (Epoch::new("e1"), 0);
                    let filtered = Input::Filtered {
                        number,
                        at: at_seq,
                        filter,
                    };
                    self.session.handle(filtered, at, 0, 500);
                }
                Output::Close(code, _) => said.closed = Some(code),
                Output::Drop => said.dropped = true,
                Output::Wait(_) => break,
                Output::Ping
                | Output::Verify { .. }
                | Output::Attach { .. }
                | Output::Account
                | Output::Rescope(_)
                | Output::Sync { .. } => {}
            }
        }
        said.hits.extend(self.session.hits().drain());
        said
    }

    fn text(&mut self, text: &str) -> Said {
        self.input(Input::Frame(text))
    }

    fn frame(&mut self, frame: &Value) -> Said {
        self.text(&frame.to_string())
    }

    fn answer_all(&mut self) {
        let ack = Arc::new(Ack {
            at: None,
            result: None,
        });
        for number in std::mem::take(&mut self.open) {
            let answer = Answer::Ack(Arc::clone(&ack));
            self.input(Input::Answered { number, answer });
        }
    }

    fn at(&mut self, ms: u64) -> Said {
        self.ms = ms;
        self.input(Input::Tick)
    }
}

fn claims(role: &str) -> Claims {
    Claims {
        sub: "ann".into(),
        restaurants: Some(vec!["grow".into()]),
        role: role.into(),
        expires_at: "2026-11-23T18:00:00Z".into(),
        expires_in_ms: 3_600_000,
        issued_at_ms: None,
        order_ids: Vec::new(),
    }
}

fn cancel() -> Value {
    json!({"type":"order:cancel","payload":{"order_id":"o"}})
}

/// A text message of so many bytes.
fn padded(mut frame: Value, bytes: usize) -> String {
    frame["pad"] = json!("");
    let missing = bytes - frame.to_string().len();
    frame["pad"] = json!("x".repeat(missing));
    frame.to_string()
}

#[test]
fn a_message_before_auth() {
    let auth = json!({"type":"auth","token":"t"});
    let said = Peer::greeted().text(&padded(auth.clone(), limits::MAX_MESSAGE_BEFORE_AUTH));
    assert_eq!((said.closed, said.hits.len()), (None, 0));
    let said = Peer::greeted().text(&padded(auth.clone(), limits::MAX_MESSAGE_BEFORE_AUTH + 1));
    assert_eq!(said.closed, Some(CloseCode::TOO_BIG));
    assert_eq!(said.hits, [(hit::MESSAGE_BEFORE_AUTH, 1)]);
    // What is said between auth and its answer is as much together.
    let mut early = Peer::greeted();
    early.frame(&auth);
    let half = limits::MAX_MESSAGE_BEFORE_AUTH / 2;
    early.text(&padded(cancel(), half));
    assert_eq!(early.text(&padded(cancel(), half)).closed, None);
    assert_eq!(early.text(" ").hits, [(hit::MESSAGE_BEFORE_AUTH, 1)]);
}

#[test]
fn the_time_to_auth() {
    let mut peer = Peer::greeted();
    assert_eq!(peer.at(limits::AUTH_MS - 1).closed, None);
    let said = peer.at(limits::AUTH_MS);
    assert_eq!(said.closed, Some(CloseCode::AUTH_TIMEOUT));
    assert_eq!(said.hits, [(hit::AUTH_TIME, 1)]);
    // Who did so in time is not made to pay for the time that a place in the log takes.
    let mut peer = Peer::greeted();
    peer.ms = limits::AUTH_MS - 1;
    peer.frame(&json!({"type":"auth","token":"t"}));
    peer.input(Input::Verified(Ok(claims("kitchen"))));
    assert_eq!(peer.at(2 * limits::AUTH_MS).closed, None);
}

#[test]
fn a_message_over_its_size() {
    let said = Peer::live().input(Input::TooBig);
    assert_eq!(said.closed, Some(CloseCode::TOO_BIG));
    assert_eq!(said.hits, [(hit::MESSAGE, 1)]);
    assert_eq!(
        Peer::greeted().input(Input::TooBig).hits,
        [(hit::MESSAGE_BEFORE_AUTH, 1)]
    );
}

#[test]
fn the_shape_of_a_message() {
    let keys = |n: usize| {
        let keys = (0..n).map(|n| (format!("k{n}"), json!(n)));
        let keys: serde_json::Map<_, _> = keys.collect();
        json!({"type":"ping","payload":keys}).to_string()
    };
    let deep = |n: usize| {
        format!(
            "{{\"type\":\"ping\",\"payload\":{}{}}}",
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    for good in [keys(limits::OBJECT_KEYS), deep(limits::MAX_DEPTH - 1)] {
        assert_eq!(Peer::live().text(&good).hits, []);
    }
    let twice = r#"{"type":"ping","type":"auth"}"#.to_owned();
    let endless = r#"{"type":"ping","payload":{"timestamp":1e999}}"#.to_owned();
    for bad in [
        keys(limits::OBJECT_KEYS + 1),
        deep(limits::MAX_DEPTH),
        twice,
        endless,
    ] {
        let said = Peer::live().text(&bad);
        assert_eq!(
            (said.closed, said.errors(NackCode::Invalid)),
            (None, 1),
            "{bad}"
        );
        assert_eq!(said.hits, [(hit::MESSAGE_SHAPE, 1)]);
        let said = Peer::greeted().text(&bad);
        assert_eq!(said.hits, [(hit::MESSAGE_SHAPE, 1)], "before auth, too");
    }
    let array = |n: usize| Value::from(vec![json!({"type":"unsubscribe","id":"u"}); n]);
    let said = Peer::live().frame(&array(limits::MAX_BATCH_IN));
    assert_eq!(
        (said.frames.len(), said.hits.len()),
        (limits::MAX_BATCH_IN, 0)
    );
    let said = Peer::live().frame(&array(limits::MAX_BATCH_IN + 1));
    assert_eq!((said.frames.len(), said.errors(NackCode::Invalid)), (1, 1));
    assert_eq!(said.hits, [(hit::MESSAGE_ARRAY, 1)]);
}

#[test]
fn the_rate_of_commands_counts_the_length_of_arrays() {
    let burst = limits::RATE_BURST as usize;
    let mut peer = Peer::live();
    for _ in 0..burst / 10 {
        assert_eq!(peer.frame(&Value::from(vec![cancel(); 10])).hits, []);
    }
    peer.answer_all();
    let said = peer.frame(&cancel());
    assert_eq!((said.submitted, said.errors(NackCode::RateLimited)), (0, 1));
    assert_eq!(said.hits, [(hit::COMMAND_RATE, 1)]);
    // The wait it names is the right one.
    let wait = said.frames[0]["error"]["retry_after_ms"].as_u64().unwrap();
    peer.ms += wait - 1;
    assert_eq!(peer.frame(&cancel()).submitted, 0);
    peer.ms += 1;
    assert_eq!(peer.frame(&cancel()).submitted, 1);
    let mut service = Peer::live_as("service");
    let said = service.frame(&Value::from(vec![cancel(); 100]));
    assert_eq!((said.submitted, said.hits.len()), (100, 0));
    assert_eq!(service.frame(&Value::from(vec![cancel(); 100])).hits, []);
}

#[test]
fn refusals_within_their_time() {
    let most = limits::REFUSED_MOST as usize;
    let spend =
        |peer: &mut Peer| assert_eq!(peer.frame(&Value::from(vec![cancel(); 100])).closed, None);
    let refuse = |peer: &mut Peer, n: usize| {
        let mut last = Said::default();
        for _ in 0..n {
            last = peer.frame(&cancel());
        }
        last
    };
    let mut peer = Peer::live();
    spend(&mut peer);
    assert_eq!(refuse(&mut peer, most - 1).closed, None);
    let said = refuse(&mut peer, 1);
    assert_eq!(said.closed, Some(CloseCode::RATE_LIMIT));
    assert!(said.hits.contains(&(hit::COMMAND_REFUSALS, 1)));
    let mut slower = Peer::live();
    spend(&mut slower);
    assert_eq!(refuse(&mut slower, most - 1).closed, None);
    slower.ms += limits::REFUSED_WINDOW_MS + 1;
    spend(&mut slower);
    assert_eq!(refuse(&mut slower, 100).closed, None, "another ten seconds");
}

#[test]
fn the_rates_of_pings_renewals_and_syncs() {
    let mut peer = Peer::live();
    let ping = json!({"type":"ping","payload":{"timestamp":1}});
    let burst = limits::PINGS_PER_S as usize * 2;
    for _ in 0..burst {
        assert_eq!(peer.frame(&ping).frames.len(), 1);
    }
    let said = peer.frame(&ping);
    assert_eq!(
        (said.frames.len(), &said.hits[..]),
        (0, &[(hit::PING_RATE, 1)][..])
    );
    peer.ms += 1_000 / u64::from(limits::PINGS_PER_S);
    assert_eq!(peer.frame(&ping).frames.len(), 1);

    let mut peer = Peer::live();
    let renewal = json!({"type":"auth","token":"t2"});
    assert_eq!(peer.frame(&renewal).hits, []);
    peer.input(Input::Verified(Ok(claims("kitchen"))));
    peer.ms += limits::RENEWAL_EVERY_MS - 1;
    let said = peer.frame(&renewal);
    assert_eq!(
        (said.errors(NackCode::RateLimited), &said.hits[..]),
        (1, &[(hit::RENEWAL_RATE, 1)][..])
    );
    peer.ms += 1;
    assert_eq!(peer.frame(&renewal).hits, []);

    let mut peer = Peer::live();
    let sync = json!({"type":"orders:sync","id":"s"});
    assert_eq!(peer.frame(&sync).hits, []);
    peer.ms += limits::SYNC_EVERY_MS;
    assert_eq!(
        peer.frame(&sync).hits,
        [(hit::SYNC_RATE, 1)],
        "one outstanding"
    );
    peer.input(Input::Synced);
    assert_eq!(peer.frame(&sync).hits, []);
    peer.input(Input::Synced);
    peer.ms += limits::SYNC_EVERY_MS - 1;
    assert_eq!(peer.frame(&sync).hits, [(hit::SYNC_RATE, 1)]);
}

#[test]
fn answers_that_wait() {
    let mut peer = Peer::live_as("service");
    peer.input(Input::Blocked);
    let unsubscribe = json!({"type":"unsubscribe","id":"u"});
    for _ in 0..limits::CONTROL_QUEUE {
        assert_eq!(peer.frame(&unsubscribe).closed, None);
    }
    let said = peer.frame(&unsubscribe);
    assert_eq!(said.closed, Some(CloseCode::SLOW_CONSUMER));
    assert_eq!(said.hits, [(hit::CONTROL_QUEUE, 1)]);
    // Commands whose answer is not there yet are as many.
    let mut peer = Peer::live_as("service");
    for _ in 0..limits::CONTROL_QUEUE {
        assert_eq!(peer.frame(&cancel()).submitted, 1);
    }
    let said = peer.frame(&cancel());
    assert_eq!((said.submitted, said.errors(NackCode::Overloaded)), (0, 1));
    assert_eq!(said.hits, [(hit::CONTROL_QUEUE, 1)]);
}

#[test]
fn a_socket_without_progress() {
    // Signs of life come, bytes do not leave.
    let mut peer = Peer::live();
    peer.input(Input::Blocked);
    for ms in (0..limits::WRITE_STALL_MS).step_by(5_000) {
        peer.at(ms);
        peer.input(Input::Pong);
    }
    assert_eq!(peer.at(limits::WRITE_STALL_MS - 1).closed, None);
    peer.input(Input::Wrote { empty: false });
    let late = limits::WRITE_STALL_MS - 1 + limits::WRITE_STALL_MS;
    for ms in (limits::WRITE_STALL_MS..late).step_by(5_000) {
        assert_eq!(peer.at(ms).closed, None);
        peer.input(Input::Pong);
    }
    let said = peer.at(late);
    assert_eq!(said.closed, Some(CloseCode::SLOW_CONSUMER));
    assert!(said.hits.contains(&(hit::WRITE_STALL, 1)));
    assert!(!peer.at(late + limits::LINGER_MS - 1).dropped);
    assert!(peer.at(late + limits::LINGER_MS).dropped, "then it is cut");
}

fn hits(kit: &mut Kit) -> Vec<(&'static str, u64)> {
    kit.log.hits().drain().collect()
}

#[test]
fn events_kept_for_resume() {
    let mut kit = Kit::new();
    kit.fill(limits::TAIL_EVENTS);
    assert_eq!(kit.log.oldest(), 0);
    hits(&mut kit);
    kit.fill(1);
    assert_eq!(
        (kit.log.oldest(), hits(&mut kit)),
        (1, vec![(hit::TAIL_EVENTS, 1)])
    );
    kit.log.keep_tail(100);
    assert_eq!(kit.log.oldest(), limits::TAIL_EVENTS as u64 + 1 - 100);
}

#[test]
fn bytes_kept_for_resume_and_in_memory() {
    let mut kit = Kit::new();
    let (mut kept, mut in_memory) = (0, true);
    loop {
        let seq = kit.log.head() + 1;
        assert!(matches!(
            kit.done(&publish(
                "kds:update",
                &format!("\"{}\"", "x".repeat(60_000))
            )),
            Answer::Ack(_)
        ));
        let met = hits(&mut kit);
        kept += kit.log.event(seq).unwrap().stored().len();
        assert!(kit.log.memory_bytes() <= limits::TAIL_MEMORY_BYTES);
        assert_eq!(
            met.iter().any(|(limit, _)| *limit == hit::TAIL_MEMORY),
            kept > limits::TAIL_MEMORY_BYTES
        );
        if std::mem::replace(&mut in_memory, kept <= limits::TAIL_MEMORY_BYTES) {
            assert_eq!(kit.log.event(1).is_some(), in_memory);
        }
        if kept > limits::TAIL_BYTES {
            assert!(met.contains(&(hit::TAIL_BYTES, 1)));
            break;
        }
        assert_eq!(kit.log.oldest(), 0);
    }
    assert_eq!(kit.log.oldest(), 1);
}

/// A fact that makes an order of so many bytes of notes.
fn fact(id: &str, notes: usize) -> tautline_protocol::request::Command {
    let order = json!({"id":id,"status":"new","type":"dine-in","notes":"x".repeat(notes)});
    publish("order:created", &json!({"order":order}).to_string())
}

#[test]
fn one_order() {
    let mut kit = Kit::new();
    assert!(matches!(kit.done(&fact("a", 1_000)), Answer::Ack(_)));
    let around = kit.log.order("a").unwrap().wire().len() - 1_000;
    let full = limits::MAX_ORDER - around;
    assert!(matches!(kit.done(&fact("a", full)), Answer::Ack(_)));
    assert_eq!(kit.log.order("a").unwrap().wire().len(), limits::MAX_ORDER);
    let Answer::Nack(nack) = kit.done(&fact("a", full + 1)) else {
        panic!("taken")
    };
    assert_eq!(
        (nack.code, nack.limit),
        (NackCode::Invalid, Some(hit::ORDER))
    );
}

#[test]
fn the_live_set_in_orders() {
    let mut kit = Kit::new();
    for _ in 0..limits::LIVE_ORDERS - 1 {
        let _ = kit.judge(&create());
        if kit.log.pending() > 1_000 {
            kit.commit();
        }
    }
    kit.commit();
    assert!(
        matches!(kit.done(&create()), Answer::Ack(_)),
        "the last that has room"
    );
    assert_eq!(
        hits(&mut kit)
            .iter()
            .filter(|(limit, _)| *limit == hit::LIVE_ORDERS)
            .count(),
        0
    );
    let Answer::Nack(nack) = kit.done(&create()) else {
        panic!("taken")
    };
    assert_eq!(
        (nack.code, nack.limit),
        (NackCode::Overloaded, Some(hit::LIVE_ORDERS))
    );
    // A final one makes room, which is counted as well.
    assert!(matches!(
        kit.done(&status("o7", OrderStatus::Completed)),
        Answer::Ack(_)
    ));
    assert!(matches!(kit.done(&create()), Answer::Ack(_)));
    assert!(hits(&mut kit).contains(&(hit::LIVE_ORDERS, 1)));
}

#[test]
fn the_live_set_in_bytes() {
    let mut kit = Kit::new();
    let mut made: Vec<String> = Vec::new();
    let nack = loop {
        let id = format!("f{}", made.len());
        match kit.done(&fact(&id, 32_000)) {
            Answer::Ack(_) => made.push(id),
            Answer::Nack(nack) => break nack,
        }
    };
    assert_eq!(
        (nack.code, nack.limit),
        (NackCode::Overloaded, Some(hit::LIVE_BYTES))
    );
    let bytes = |kit: &Kit| {
        kit.log
            .orders()
            .map(|order| order.wire().len())
            .sum::<usize>()
    };
    let one = bytes(&kit) / made.len();
    let room = limits::LIVE_BYTES - bytes(&kit);
    assert!(room < one, "it was full: {room} bytes left");
    // To the byte: an order that just fits, and one that does not.
    let around = one - 32_000;
    assert!(
        matches!(kit.done(&fact("fit1", room - around - 8)), Answer::Ack(_)),
        "{room} {around}"
    );
    assert!(bytes(&kit) <= limits::LIVE_BYTES);
    assert!(matches!(kit.done(&fact("more", 100)), Answer::Nack(_)));
    // States go on, and a smaller order in place of a larger one is no more weight.
    assert!(matches!(
        kit.done(&status(&made[0], OrderStatus::Confirmed)),
        Answer::Ack(_)
    ));
    assert!(matches!(kit.done(&fact(&made[0], 10)), Answer::Ack(_)));
    // It starts where it was: a restart weighs the same, and a failed batch weighs nothing.
    let head = kit.log.head();
    let again = kit.disk.load(head, 0, relay_kit::at(kit.ms));
    assert_eq!(again.orders().count(), kit.log.orders().count());
    let _ = kit.judge(&fact("lost", 31_000));
    let _ = kit.log.take_batch(512, 1 << 20);
    let _ = kit.log.failed();
    assert!(matches!(kit.done(&fact("found", 31_000)), Answer::Ack(_)));
    // Final ones leave for others, oldest first, and only as far as it helps.
    assert!(matches!(
        kit.done(&status(&made[1], OrderStatus::Completed)),
        Answer::Ack(_)
    ));
    let Answer::Ack(_) = kit.done(&fact("new", 31_000)) else {
        panic!("there was one to go")
    };
    assert!(kit.log.order(&made[1]).is_none());
    assert!(hits(&mut kit).contains(&(hit::LIVE_BYTES, 1)));
    assert!(bytes(&kit) <= limits::LIVE_BYTES);
}

#[test]
fn commands_remembered() {
    let mut kit = Kit::new();
    let once = |kit: &mut Kit, n: usize| {
        let _ = kit.judge_as(
            "ann",
            Some((&format!("k{n}"), 1)),
            &publish("kds:update", "1"),
        );
        if kit.log.pending() > 2_000 {
            kit.commit();
        }
    };
    let met = |kit: &mut Kit| {
        hits(kit)
            .iter()
            .any(|(limit, _)| *limit == hit::DUPLICATE_MEMORY)
    };
    (0..limits::DEDUPE_COMMANDS).for_each(|n| once(&mut kit, n));
    kit.commit();
    assert!(!met(&mut kit));
    assert_eq!(kit.log.remembered(), limits::DEDUPE_COMMANDS);
    once(&mut kit, limits::DEDUPE_COMMANDS);
    kit.commit();
    assert!(met(&mut kit));
    assert_eq!(kit.log.remembered(), limits::DEDUPE_COMMANDS);
}

#[test]
fn records_that_wait_for_the_store() {
    let mut kit = Kit::new();
    for _ in 0..limits::APPEND_QUEUE {
        assert!(kit.judge(&publish("kds:update", "1")).1.is_none());
    }
    let Some(Answer::Nack(nack)) = kit.judge(&publish("kds:update", "1")).1 else {
        panic!("taken")
    };
    assert_eq!(
        (nack.code, nack.limit),
        (NackCode::Overloaded, Some(hit::APPEND_QUEUE))
    );
    let batch = kit
        .log
        .take_batch(limits::COMMIT_APPENDS, limits::COMMIT_BYTES);
    assert_eq!(batch.len(), limits::COMMIT_APPENDS);
}

fn limit<T>(result: Result<T, tautline_machine::relay::Refusal>) -> Option<&'static str> {
    result.err().map(|refusal| refusal.limit)
}

#[test]
fn sockets_in_all() {
    let mut all = Admission::new(Bounds::default());
    assert!((0..limits::CONNECTIONS).all(|_| all.opened().is_ok()));
    assert_eq!(limit(all.opened()), Some(hit::CONNECTIONS));
    all.closed();
    assert_eq!(limit(all.opened()), None);
    assert_eq!(all.open(), limits::CONNECTIONS);
}

#[test]
fn connections_of_an_address_at_once_and_over_time() {
    let mut all = Admission::new(Bounds::default());
    let (one, other) = (Address(1), Address(2));
    let at = Time::from_ms;
    // As many at once as a burst lets in.
    for _ in 0..limits::ADDRESS_CONNECTIONS {
        assert_eq!(limit(all.came(one, at(0))), None);
    }
    assert_eq!(
        limit(all.came(one, at(60_000))),
        Some(hit::ADDRESS_CONNECTIONS)
    );
    assert_eq!(limit(all.came(other, at(0))), None);
    all.left(one);
    assert_eq!(limit(all.came(one, at(60_000))), None);
    // Those that leave at once are bounded by the rate.
    let mut all = Admission::new(Bounds::default());
    let mut come = |ms| {
        let came = all.came(one, at(ms));
        if came.is_ok() {
            all.left(one);
        }
        came
    };
    for _ in 0..limits::ADDRESS_RATE_BURST {
        assert_eq!(limit(come(0)), None);
    }
    let refused = come(0).unwrap_err();
    assert_eq!(refused.limit, hit::ADDRESS_RATE);
    assert!(come(refused.retry_after_ms - 1).is_err());
    assert!(come(refused.retry_after_ms).is_ok());
    let a_second = (0..=1_000).filter(|ms| come(10_000 + ms).is_ok()).count();
    assert_eq!(
        a_second,
        (limits::ADDRESS_RATE_BURST + limits::ADDRESS_RATE_PER_S) as usize
    );
}

#[test]
fn refused_tokens_of_an_address() {
    let mut all = Admission::new(Bounds::default());
    let (one, at) = (Address(1), Time::from_ms);
    for n in 0..limits::AUTH_FAILURES_PER_MIN {
        assert_eq!(limit(all.may_try(one, at(0))), None, "{n}");
        all.auth_failed(one, at(0));
    }
    let refused = all.may_try(one, at(0)).unwrap_err();
    assert_eq!(refused.limit, hit::AUTH_FAILURES);
    assert_eq!(limit(all.may_try(Address(2), at(0))), None);
    // Going on trying does not make the wait longer.
    all.auth_failed(one, at(1));
    assert_eq!(limit(all.may_try(one, at(refused.retry_after_ms))), None);
    let minute = |all: &mut Admission| {
        (0..=60_000)
            .filter(|ms| {
                let may = all.may_try(one, at(100_000 + ms)).is_ok();
                if may {
                    all.auth_failed(one, at(100_000 + ms));
                }
                may
            })
            .count()
    };
    assert_eq!(
        minute(&mut all),
        2 * limits::AUTH_FAILURES_PER_MIN as usize,
        "a burst and a minute"
    );
}

#[test]
fn who_came_all_day_long_is_not_known_all_day_long() {
    let mut all = Admission::new(Bounds::default());
    // More than are told apart, but never at once; counting them would be a look for who is gone.
    let minutes = limits::ADDRESSES as u64 / 4 + 1;
    for minute in 0..minutes {
        let now = Time::from_ms(minute * 60_000);
        for n in 0..4 {
            let address = Address(u128::from(minute * 4 + n));
            assert_eq!(all.came(address, now), Ok(address), "an account of its own");
            all.left(address);
        }
    }
    assert!(format!("{all:?}").matches("Account").count() <= 8);
    assert_eq!(all.addresses(Time::from_ms(minutes * 60_000)), 0);
}

#[test]
fn addresses_beyond_those_told_apart_share_one_account_and_nobody_is_forgotten_in_use() {
    let mut all = Admission::new(Bounds::default());
    let now = Time::from_ms(0);
    for n in 0..limits::ADDRESSES as u128 {
        assert_eq!(all.came(Address(n), now), Ok(Address(n)));
    }
    let shared = all.came(Address(1 << 64), now).unwrap();
    assert_eq!(all.came(Address(2 << 64), now), Ok(shared));
    assert!(all.addresses(now) <= limits::ADDRESSES + 1);
    // A minute later those that left are as good as never seen.
    for n in 1..limits::ADDRESSES as u128 {
        all.left(Address(n));
    }
    let later = Time::from_ms(60_000);
    assert_eq!(all.came(Address(3 << 64), later), Ok(Address(3 << 64)));
    assert!(all.addresses(later) < 10);
    for _ in 1..limits::ADDRESS_CONNECTIONS {
        assert_eq!(limit(all.came(Address(0), later)), None);
    }
    assert_eq!(
        limit(all.came(Address(0), later)),
        Some(hit::ADDRESS_CONNECTIONS),
        "the first is still here"
    );
}

proptest! {
    #[test]
    fn what_came_and_left_is_accounted_for(steps in prop::collection::vec((0u128..4, any::<bool>(), 0u64..50), 1..300)) {
        let bounds = Bounds { connections: 20, per_address: 5 };
        let (mut all, mut now) = (Admission::new(bounds), 0);
        let mut open: Vec<Address> = Vec::new();
        for (address, comes, ms) in steps {
            now += ms;
            let here = open.iter().filter(|open| open.0 == address).count();
            if comes {
                match all.came(Address(address), Time::from_ms(now)) {
                    Ok(account) => open.push(account),
                    Err(refusal) => prop_assert!(here >= 5 || refusal.limit == hit::ADDRESS_RATE),
                }
                prop_assert!(open.iter().filter(|open| open.0 == address).count() <= 5);
            } else if let Some(at) = open.iter().position(|open| open.0 == address) {
                all.left(open.swap_remove(at));
            }
        }
    }
}
