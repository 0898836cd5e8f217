//! The pool's rules, one by one.

mod random;

use super::*;
use std::collections::BTreeMap;
use tautline_protocol::limits::CLIENT_IN_FLIGHT;
use tautline_protocol::{Epoch, Outcome};

const QUEUE: usize = 8;
const CHECK: u64 = 5_000;

fn config(members: usize) -> PoolConfig {
    PoolConfig {
        members,
        max_connections: 5,
        balancing: Balancing::HealthBased,
        failover: true,
        check_interval_ms: CHECK,
        queue_limit: QUEUE,
        queue_bytes: 10_000,
        ttl_ms: 60_000,
    }
}

fn command() -> Command {
    Command {
        kind: "kds:update".to_owned(),
        payload: "{}".to_owned(),
        id: None,
        ttl_ms: None,
        timeout_ms: None,
        until_shown: false,
        sent_at: None,
    }
}

fn place(epoch: &str, seq: Seq) -> Place {
    Place {
        history: 1,
        epoch: Epoch::new(epoch),
        seq,
    }
}

fn m(n: u32) -> MemberId {
    MemberId(n)
}

/// A pool and its clock; performs nothing.
struct Rig {
    pool: Pool,
    now: Time,
    wait: Option<Time>,
}

impl Rig {
    fn new(config: PoolConfig) -> Self {
        Self {
            pool: Pool::new(config, 7),
            now: Time::from_ms(1_000),
            wait: None,
        }
    }

    /// Of that many members, connected, in a log at 10.
    fn connected(config: PoolConfig) -> Self {
        let members = config.members as u32;
        let mut rig = Self::new(config);
        rig.input(PoolInput::Connect(WaiterId(1)));
        for n in 0..members {
            rig.input(PoolInput::Up(m(n), Some(place("e1", 10))));
        }
        rig
    }

    fn drain(&mut self) -> Vec<PoolOutput> {
        let mut out = Vec::new();
        for _ in 0..10_000 {
            match self.pool.poll_output() {
                PoolOutput::Wait(at) => {
                    self.wait = at;
                    return out;
                }
                output => out.push(output),
            }
        }
        panic!("the pool never waits");
    }

    fn input(&mut self, input: PoolInput) -> Vec<PoolOutput> {
        self.pool.handle(input, self.now);
        self.drain()
    }

    fn pass(&mut self, ms: u64) -> Vec<PoolOutput> {
        let mut out = Vec::new();
        let end = self.now + ms;
        while let Some(at) = self.wait.filter(|&at| at <= end) {
            self.now = self.now.max(at);
            out.extend(self.input(PoolInput::Tick));
        }
        self.now = end;
        out
    }

    /// Sends, and says to whom it was given, if it was.
    fn send(&mut self, priority: Priority) -> (String, Option<u32>) {
        let id = self
            .pool
            .send(command(), priority, self.now)
            .expect("taken");
        let out = self.drain();
        (id.clone(), given(&out).get(&id).copied())
    }

    fn views(&self) -> Vec<MemberView> {
        self.pool.views(self.now).collect()
    }

    fn primary(&self) -> Option<usize> {
        self.views().iter().position(|view| view.primary)
    }

    fn pongs(&mut self, members: &[(u32, u64)]) {
        for &(n, rtt) in members {
            self.input(PoolInput::Pong(m(n), rtt));
        }
    }
}

fn given(out: &[PoolOutput]) -> BTreeMap<String, u32> {
    let gave = |output: &PoolOutput| match output {
        PoolOutput::Give(to, command) => Some((command.id.clone()?, to.0)),
        _ => None,
    };
    out.iter().filter_map(gave).collect()
}

fn in_order(out: &[PoolOutput]) -> Vec<String> {
    let gave = |output: &PoolOutput| match output {
        PoolOutput::Give(_, command) => command.id.clone(),
        _ => None,
    };
    out.iter().filter_map(gave).collect()
}

fn opened(out: &[PoolOutput]) -> Vec<(u32, Option<Seq>)> {
    let open = |output: &PoolOutput| match output {
        PoolOutput::Open(id, from) => Some((id.0, from.as_ref().map(|&(_, seq)| seq))),
        _ => None,
    };
    out.iter().filter_map(open).collect()
}

fn closed(out: &[PoolOutput]) -> Vec<u32> {
    let close = |output: &PoolOutput| match output {
        PoolOutput::Close(id) => Some(id.0),
        _ => None,
    };
    out.iter().filter_map(close).collect()
}

fn told(out: &[PoolOutput]) -> Vec<PoolNotice> {
    let tell = |output: &PoolOutput| match output {
        PoolOutput::Tell(notice) => Some(*notice),
        _ => None,
    };
    out.iter().filter_map(tell).collect()
}

fn settled(out: &[PoolOutput]) -> Vec<(String, Answer)> {
    let settle = |output: &PoolOutput| match output {
        PoolOutput::Settled(id, answer) => Some((id.clone(), answer.clone())),
        _ => None,
    };
    out.iter().filter_map(settle).collect()
}

fn waiter(out: &[PoolOutput]) -> Option<Result<(), ErrorCode>> {
    out.iter().find_map(|output| match output {
        PoolOutput::Settle(_, result) => Some(result.clone().map_err(|failure| failure.code)),
        _ => None,
    })
}

fn refused(code: ErrorCode) -> Failure {
    failure(code, "refused")
}

#[test]
fn connected_is_one_that_is_connected() {
    let mut rig = Rig::new(config(3));
    let out = rig.input(PoolInput::Connect(WaiterId(1)));
    assert_eq!(opened(&out), [(0, None), (1, None), (2, None)]);
    assert_eq!(told(&out), [PoolNotice::State(ConnectionState::Connecting)]);
    assert_eq!(waiter(&rig.input(PoolInput::Down(m(0)))), None);
    let out = rig.input(PoolInput::Up(m(1), Some(place("e1", 10))));
    assert_eq!(waiter(&out), Some(Ok(())));
    assert_eq!(rig.primary(), Some(1));
    assert_eq!(rig.pool.state(), ConnectionState::Connected);
    assert_eq!(
        waiter(&rig.input(PoolInput::Connect(WaiterId(2)))),
        Some(Ok(()))
    );
    rig.input(PoolInput::Down(m(1)));
    assert_eq!(rig.pool.state(), ConnectionState::Reconnecting);
}

#[test]
fn all_refused_is_refused_with_the_reason() {
    let mut rig = Rig::new(config(2));
    rig.input(PoolInput::Connect(WaiterId(1)));
    rig.input(PoolInput::GaveUp(m(0)));
    let out = rig.input(PoolInput::Refused(m(0), refused(ErrorCode::AuthFailed)));
    assert_eq!(waiter(&out), None, "the other may yet be had");
    rig.input(PoolInput::GaveUp(m(1)));
    let out = rig.input(PoolInput::Refused(m(1), refused(ErrorCode::AuthForbidden)));
    assert_eq!(waiter(&out), Some(Err(ErrorCode::AuthForbidden)));
    assert_eq!(rig.pool.state(), ConnectionState::Error);
    let out = rig.input(PoolInput::Connect(WaiterId(2)));
    assert_eq!(
        opened(&out),
        [(0, None), (1, None)],
        "connect() begins anew"
    );
    assert_eq!(rig.pool.state(), ConnectionState::Connecting);
}

#[test]
fn disconnect_is_final_and_keeps_what_waits() {
    let mut rig = Rig::connected(config(2));
    let (id, with) = rig.send(Priority::Normal);
    let out = rig.input(PoolInput::Disconnect);
    assert!(
        matches!(&out[0], PoolOutput::Withdraw(from, what) if Some(from.0) == with && *what == id)
    );
    assert_eq!(closed(&out), [0, 1]);
    assert_eq!(rig.wait, None, "no timer");
    rig.input(PoolInput::Withdrawn(id.clone(), Outcome::NotSent));
    assert_eq!(
        settled(&rig.pass(3_600_000)),
        [],
        "nor is it given up by one"
    );
    let out = rig.input(PoolInput::Connect(WaiterId(2)));
    assert_eq!(settled(&out), []);
    let out = rig.input(PoolInput::Up(m(0), Some(place("e1", 10))));
    let late = Answer::Failed {
        code: ErrorCode::OutboxExpired,
        outcome: Outcome::NotSent,
    };
    assert_eq!(
        settled(&out),
        [(id, late)],
        "but it is too old for the next connection"
    );
    assert_eq!(opened(&rig.input(PoolInput::Down(m(1)))), []);
}

#[test]
fn the_queue_is_by_priority_and_then_by_arrival_and_bounded() {
    let mut rig = Rig::new(config(1));
    let mut sent = Vec::new();
    for priority in [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Normal,
        Priority::High,
    ] {
        sent.push(rig.send(priority).0);
    }
    for _ in sent.len()..QUEUE {
        rig.send(Priority::Low);
    }
    let full = rig.pool.send(command(), Priority::High, rig.now);
    assert_eq!(full.expect_err("full").code, ErrorCode::OutboxFull);
    rig.input(PoolInput::Connect(WaiterId(1)));
    let out = rig.input(PoolInput::Up(m(0), None));
    let order = [2, 4, 1, 3, 0].map(|n: usize| sent[n].clone());
    assert_eq!(in_order(&out)[..5], order);
    assert_eq!(rig.pool.stats().pending, QUEUE);
    rig.send(Priority::Normal);
}

#[test]
fn bytes_are_bounded_too_and_ids_are_one_commands() {
    let mut rig = Rig::new(config(1));
    let long = Command {
        payload: "x".repeat(9_990),
        id: Some("a".to_owned()),
        ..command()
    };
    rig.pool
        .send(long.clone(), Priority::Normal, rig.now)
        .expect("just fits");
    let more = rig.pool.send(command(), Priority::Normal, rig.now);
    assert_eq!(more.expect_err("full").code, ErrorCode::OutboxFull);
    for id in ["a", "no spaces"] {
        let id = Some(id.to_owned());
        let again = Command { id, ..command() };
        let taken = rig.pool.send(again, Priority::Normal, rig.now);
        assert_eq!(taken.expect_err("no id").code, ErrorCode::InvalidArgument);
    }
    rig.pool.cancel("a");
    rig.pool
        .send(long, Priority::Normal, rig.now)
        .expect("there is room again, and the id is free");
}

#[test]
fn each_strategy_gives_to_whom_it_says() {
    let to = |balancing, sends: usize| {
        let mut rig = Rig::connected(PoolConfig {
            balancing,
            ..config(3)
        });
        rig.pongs(&[(0, 80), (1, 20), (2, 50)]);
        (0..sends)
            .map(|_| rig.send(Priority::Normal).1.expect("given"))
            .collect::<Vec<_>>()
    };
    assert_eq!(to(Balancing::HealthBased, 3), [1, 1, 1]);
    assert_eq!(to(Balancing::RoundRobin, 5), [0, 1, 2, 0, 1]);
    assert_eq!(to(Balancing::LeastPending, 5), [1, 2, 0, 1, 2]);
    let many = to(Balancing::HealthBased, CLIENT_IN_FLIGHT + 1);
    assert_eq!(
        many.last(),
        Some(&2),
        "the next one when the best has enough to do"
    );
}

#[test]
fn an_answer_makes_room_for_the_next() {
    let mut rig = Rig::connected(config(1));
    let sent: Vec<String> = (0..CLIENT_IN_FLIGHT)
        .map(|_| rig.send(Priority::Normal).0)
        .collect();
    let (low, with) = rig.send(Priority::Low);
    assert_eq!(with, None);
    let (high, with) = rig.send(Priority::High);
    assert_eq!(with, None);
    for (answered, next) in sent.iter().zip([high, low]) {
        let out = rig.input(PoolInput::Answered(answered.clone()));
        assert_eq!(in_order(&out), [next]);
    }
    assert_eq!(rig.views()[0].pending, CLIENT_IN_FLIGHT);
}

#[test]
fn a_failure_weighs_against_a_short_way() {
    let mut rig = Rig::connected(config(2));
    rig.pongs(&[(0, 20), (1, 100)]);
    assert_eq!(rig.send(Priority::Normal).1, Some(0));
    rig.input(PoolInput::Down(m(0)));
    rig.input(PoolInput::Up(m(0), Some(place("e1", 10))));
    rig.pongs(&[(0, 20), (0, 20)]);
    assert!(rig.views()[0].healthy);
    assert_eq!(rig.send(Priority::Normal).1, Some(1));
    for _ in 0..12 {
        rig.pass(CHECK);
        rig.pongs(&[(0, 20), (1, 100)]);
    }
    assert_eq!(
        rig.send(Priority::Normal).1,
        Some(0),
        "forgotten after a minute"
    );
}

#[test]
fn latency_is_an_average_that_takes_in_an_eighth() {
    let mut rig = Rig::connected(config(1));
    assert_eq!(rig.views()[0].latency_ms, None);
    rig.pongs(&[(0, 100)]);
    assert_eq!(rig.views()[0].latency_ms, Some(100));
    rig.pongs(&[(0, 180)]);
    assert_eq!(rig.views()[0].latency_ms, Some(110));
    (0..100).for_each(|_| rig.pongs(&[(0, 20)]));
    assert_eq!(rig.views()[0].latency_ms, Some(20));
}

#[test]
fn two_missed_pings_make_it_unhealthy_and_two_answers_healthy() {
    let mut rig = Rig::connected(config(2));
    let (id, with) = rig.send(Priority::Normal);
    assert_eq!((rig.primary(), with), (Some(0), Some(0)));
    let mut out = Vec::new();
    for _ in 0..2 {
        out.extend(rig.pass(CHECK));
        rig.pongs(&[(1, 30)]);
    }
    assert_eq!(
        (rig.views()[0].missed_pings, told(&out)),
        (1, vec![]),
        "the interval it came up in does not count"
    );
    let out = rig.pass(CHECK);
    rig.pongs(&[(1, 30)]);
    let failover = PoolNotice::Failover {
        from: m(0),
        to: m(1),
    };
    assert_eq!(told(&out), [failover, PoolNotice::Health(m(0))]);
    assert!(out.iter().any(
        |output| matches!(output, PoolOutput::Withdraw(from, what) if from.0 == 0 && *what == id)
    ));
    let out = rig.input(PoolInput::Withdrawn(id.clone(), Outcome::Unknown));
    assert_eq!(
        given(&out).get(&id),
        Some(&1),
        "to the healthy one, under its id"
    );
    assert_eq!(rig.send(Priority::Normal).1, Some(1));
    assert_eq!(told(&rig.input(PoolInput::Pong(m(0), 10))), []);
    assert_eq!(
        told(&rig.input(PoolInput::Pong(m(0), 10))),
        [PoolNotice::Health(m(0))]
    );
    assert_eq!(rig.primary(), Some(1), "nothing is gained by going back");
}

#[test]
fn who_slept_missed_nothing() {
    let mut rig = Rig::connected(config(1));
    rig.pongs(&[(0, 10)]);
    rig.pass(CHECK);
    for _ in 0..4 {
        rig.now = rig.now + 60_000;
        rig.input(PoolInput::Tick);
    }
    assert_eq!(rig.views()[0].missed_pings, 0);
}

#[test]
fn a_command_whose_member_dies_goes_to_another_as_one_that_may_have_arrived() {
    let mut rig = Rig::connected(config(2));
    let (id, with) = rig.send(Priority::Normal);
    assert_eq!(with, Some(0));
    let sent_at = rig.now;
    rig.pass(100);
    let out = rig.input(PoolInput::Down(m(0)));
    assert!(
        out.iter()
            .any(|output| matches!(output, PoolOutput::Withdraw(_, what) if *what == id))
    );
    let out = rig.input(PoolInput::Withdrawn(id.clone(), Outcome::Unknown));
    let again = out.iter().find_map(|output| match output {
        PoolOutput::Give(to, command) => Some((to.0, command.clone())),
        _ => None,
    });
    let (to, again) = again.expect("given again");
    assert_eq!(
        (to, again.id, again.sent_at),
        (1, Some(id.clone()), Some(sent_at))
    );
    rig.input(PoolInput::Answered(id));
    let stats = rig.pool.stats();
    assert_eq!((stats.settled, stats.pending, stats.moved), (1, 0, 1));
}

#[test]
fn one_that_waits_too_long_is_given_up_with_what_is_known() {
    let mut rig = Rig::connected(config(1));
    let (id, _) = rig.send(Priority::Normal);
    rig.input(PoolInput::Down(m(0)));
    rig.input(PoolInput::Withdrawn(id.clone(), Outcome::Unknown));
    let (other, _) = rig.send(Priority::Normal);
    assert_eq!(settled(&rig.pass(59_999)), []);
    let answer = |outcome| Answer::Failed {
        code: ErrorCode::OutboxExpired,
        outcome,
    };
    let out = settled(&rig.pass(1));
    assert_eq!(
        out,
        [
            (id, answer(Outcome::Unknown)),
            (other, answer(Outcome::NotSent))
        ]
    );
}

#[test]
fn a_command_can_be_given_up_wherever_it_is() {
    let mut rig = Rig::connected(config(1));
    let aborted = |outcome| Answer::Failed {
        code: ErrorCode::Aborted,
        outcome,
    };
    let (with, _) = rig.send(Priority::Normal);
    rig.pool.cancel(&with);
    assert!(matches!(&rig.drain()[..], [PoolOutput::Withdraw(_, what)] if *what == with));
    let out = rig.input(PoolInput::Withdrawn(with.clone(), Outcome::Unknown));
    assert_eq!(settled(&out), [(with, aborted(Outcome::Unknown))]);
    rig.input(PoolInput::Down(m(0)));
    let (waiting, _) = rig.send(Priority::Normal);
    rig.pool.cancel(&waiting);
    assert_eq!(
        settled(&rig.drain()),
        [(waiting.clone(), aborted(Outcome::NotSent))]
    );
    rig.pool.cancel(&waiting);
    assert_eq!(settled(&rig.drain()), []);
}

#[test]
fn each_event_once_whoever_brings_it_first() {
    let mut rig = Rig::connected(config(2));
    let brought = [
        (0, 11),
        (1, 11),
        (1, 12),
        (1, 13),
        (0, 12),
        (0, 13),
        (0, 14),
        (1, 14),
    ];
    let new: Vec<bool> = brought
        .iter()
        .map(|&(n, seq)| rig.pool.event(m(n), Some(seq)))
        .collect();
    assert_eq!(new, [true, false, true, true, false, false, true, false]);
    assert_eq!(
        (rig.pool.stats().events, rig.pool.stats().duplicates),
        (4, 4)
    );
}

#[test]
fn one_that_is_ahead_leaves_no_hole() {
    let mut rig = Rig::new(config(2));
    rig.input(PoolInput::Connect(WaiterId(1)));
    rig.input(PoolInput::Up(m(0), Some(place("e1", 10))));
    // It began later in the log: 11 to 15 it does not bring.
    rig.input(PoolInput::Up(m(1), Some(place("e1", 15))));
    assert!(!rig.pool.event(m(1), Some(16)));
    for seq in 11..=16 {
        assert!(rig.pool.event(m(0), Some(seq)), "{seq}");
    }
    assert!(rig.pool.event(m(1), Some(17)), "now it is whole");
    // What lies between by the server's word (a filter) is no hole.
    assert!(rig.pool.event(m(1), Some(25)));
    assert!(!rig.pool.event(m(0), Some(25)));
}

#[test]
fn where_nobody_brings_what_comes_next_it_is_asked_for_once() {
    let mut rig = Rig::new(config(2));
    rig.input(PoolInput::Connect(WaiterId(1)));
    rig.input(PoolInput::Up(m(0), Some(place("e1", 10))));
    rig.input(PoolInput::Up(m(1), Some(place("e1", 15))));
    let out = rig.input(PoolInput::Down(m(0)));
    assert_eq!((closed(&out), opened(&out)), (vec![1], vec![(1, Some(10))]));
    let out = rig.input(PoolInput::Up(m(1), Some(place("e1", 10))));
    assert!(
        !told(&out)
            .iter()
            .any(|notice| matches!(notice, PoolNotice::Gap { .. }))
    );
    assert!(rig.pool.event(m(1), Some(11)));

    // The relay could not: what is missing is said, and it goes on.
    rig.input(PoolInput::Down(m(1)));
    rig.input(PoolInput::Up(m(0), Some(place("e1", 30))));
    let out = rig.input(PoolInput::Up(m(0), Some(place("e1", 40))));
    assert!(told(&out).contains(&PoolNotice::Gap { from: 11, to: 40 }));
    assert!(rig.pool.event(m(0), Some(41)));
}

#[test]
fn the_primarys_history_is_the_pools() {
    let mut rig = Rig::connected(config(2));
    assert!(rig.pool.event(m(0), Some(11)));
    rig.input(PoolInput::Moved(m(1), place("e2", 3)));
    assert!(!rig.pool.event(m(1), Some(4)), "another's history");
    let out = rig.input(PoolInput::Moved(m(0), place("e2", 3)));
    assert_eq!(told(&out), [PoolNotice::Gap { from: 11, to: 3 }]);
    assert!(!rig.pool.event(m(1), Some(5)), "4 is missing yet");
    assert!(rig.pool.event(m(0), Some(4)) && rig.pool.event(m(0), Some(5)));
    assert!(rig.pool.event(m(1), Some(6)));
}

#[test]
fn what_has_no_number_comes_from_the_primary() {
    let mut rig = Rig::connected(config(2));
    assert!(rig.pool.event(m(0), None));
    assert!(!rig.pool.event(m(1), None));
    rig.input(PoolInput::Down(m(0)));
    assert!(!rig.pool.event(m(0), None));
    assert!(rig.pool.event(m(1), None));
}

#[test]
fn a_spare_takes_the_place_of_one_that_fails_but_not_in_circles() {
    let mut rig = Rig::new(PoolConfig {
        max_connections: 2,
        ..config(3)
    });
    let out = rig.input(PoolInput::Connect(WaiterId(1)));
    assert_eq!(opened(&out), [(0, None), (1, None)]);
    rig.input(PoolInput::Up(m(1), Some(place("e1", 10))));
    let out = rig.input(PoolInput::Down(m(0)));
    assert_eq!((closed(&out), opened(&out)), (vec![0], vec![(2, Some(10))]));
    let out = rig.input(PoolInput::Down(m(2)));
    assert_eq!(
        (closed(&out), opened(&out)),
        (vec![], vec![]),
        "0 failed just now"
    );
    rig.pongs(&[(1, 10)]);
    let mut out = Vec::new();
    for _ in 0..12 {
        out.extend(rig.pass(CHECK));
        rig.pongs(&[(1, 10)]);
    }
    assert_eq!(
        (closed(&out), opened(&out)),
        (vec![2], vec![(0, Some(10))]),
        "after a minute it is tried again"
    );
}

#[test]
fn a_page_that_is_put_away_opens_nothing_and_nobody_failed() {
    let mut rig = Rig::new(PoolConfig {
        max_connections: 2,
        ..config(3)
    });
    rig.input(PoolInput::Connect(WaiterId(1)));
    for n in 0..2 {
        rig.input(PoolInput::Up(m(n), Some(place("e1", 10))));
    }
    rig.input(PoolInput::Suspended(true));
    for n in 0..2 {
        let out = rig.input(PoolInput::Down(m(n)));
        assert_eq!((closed(&out), opened(&out)), (vec![], vec![]));
    }
    assert_eq!(rig.pool.state(), ConnectionState::Reconnecting);
    let (id, with) = rig.send(Priority::Normal);
    assert_eq!(with, None);
    let out = rig.input(PoolInput::Suspended(false));
    assert_eq!(
        (closed(&out), opened(&out)),
        (vec![], vec![]),
        "they come back by themselves"
    );
    let out = rig.input(PoolInput::Up(m(1), Some(place("e1", 10))));
    assert_eq!(given(&out).get(&id), Some(&1));
    assert!(rig.views()[1].healthy, "without having to prove itself");
}

#[test]
fn without_failover_everything_stays_where_it_is() {
    let mut rig = Rig::connected(PoolConfig {
        failover: false,
        max_connections: 2,
        ..config(3)
    });
    rig.input(PoolInput::Pong(m(0), 5));
    let (_, with) = rig.send(Priority::Normal);
    let out = rig.input(PoolInput::Down(m(0)));
    assert_eq!(
        (with, told(&out)),
        (Some(0), vec![PoolNotice::Health(m(0))])
    );
    assert!(!out.iter().any(|output| matches!(
        output,
        PoolOutput::Withdraw(..) | PoolOutput::Close(_) | PoolOutput::Open(..)
    )));
    assert_eq!(rig.primary(), Some(0));
    assert_eq!(
        rig.send(Priority::Normal).1,
        Some(1),
        "new ones are given to who is there"
    );
}

#[test]
fn what_comes_after_the_end_is_refused() {
    let mut rig = Rig::connected(config(2));
    let out = rig.input(PoolInput::Dispose);
    assert_eq!(closed(&out), [0, 1]);
    assert_eq!(rig.wait, None);
    assert_eq!(
        rig.pool
            .send(command(), Priority::High, rig.now)
            .expect_err("over")
            .code,
        ErrorCode::Disposed
    );
    assert_eq!(
        waiter(&rig.input(PoolInput::Connect(WaiterId(9)))),
        Some(Err(ErrorCode::Disposed))
    );
    assert!(rig.input(PoolInput::Up(m(0), None)).is_empty());
}
