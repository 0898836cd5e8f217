//! Counting holders: linger, abort, generations; connected if and only if somebody holds or lingers.

use proptest::prelude::*;
use std::collections::BTreeMap;
use tautline_machine::Time;
use tautline_machine::client::{LeaseId, LeaseInput, LeaseOutput, Leases};

struct Book {
    leases: Leases,
    now: Time,
    wait: Option<Time>,
}

impl Book {
    fn new() -> Self {
        Self {
            leases: Leases::new(),
            now: Time::from_ms(1_000),
            wait: None,
        }
    }

    fn input(&mut self, input: LeaseInput) -> Vec<LeaseOutput> {
        self.leases.handle(input, self.now);
        let mut outputs = Vec::new();
        loop {
            match self.leases.poll_output() {
                LeaseOutput::Wait(at) => {
                    self.wait = at;
                    return outputs;
                }
                output => outputs.push(output),
            }
        }
    }

    fn acquire(&mut self) -> (LeaseId, Vec<LeaseOutput>) {
        let id = self.leases.next_id();
        (id, self.input(LeaseInput::Acquire(id)))
    }

    fn pass(&mut self, ms: u64) -> Vec<LeaseOutput> {
        self.now = self.now + ms;
        self.input(LeaseInput::Tick)
    }
}

#[test]
fn one_connection_for_any_number_of_holders() {
    let mut b = Book::new();
    let (first, out) = b.acquire();
    assert_eq!(out, [LeaseOutput::Connect]);
    let (second, out) = b.acquire();
    assert!(out.is_empty());
    assert_eq!(
        b.input(LeaseInput::Connected),
        [LeaseOutput::Grant(first), LeaseOutput::Grant(second)]
    );
    assert!(b.input(LeaseInput::Release(first, 1_000)).is_empty());
    assert_eq!(b.wait, None);
    assert!(b.input(LeaseInput::Release(first, 1_000)).is_empty());
    assert_eq!(b.leases.count(), 1);
}

#[test]
fn the_last_release_closes_after_its_linger() {
    let mut b = Book::new();
    let (id, _) = b.acquire();
    b.input(LeaseInput::Connected);
    assert!(b.input(LeaseInput::Release(id, 1_000)).is_empty());
    assert_eq!(b.wait, Some(b.now + 1_000));
    assert!(b.pass(999).is_empty());
    assert_eq!(b.pass(1), [LeaseOutput::Disconnect]);
    assert_eq!(b.wait, None);
}

#[test]
fn a_remount_within_the_linger_keeps_the_connection() {
    let mut b = Book::new();
    let (id, _) = b.acquire();
    b.input(LeaseInput::Connected);
    b.input(LeaseInput::Release(id, 1_000));
    let (again, out) = b.acquire();
    assert_eq!(out, [LeaseOutput::Connect], "joins, or is told at once");
    assert_eq!(b.wait, None);
    assert_eq!(b.input(LeaseInput::Connected), [LeaseOutput::Grant(again)]);
    assert!(b.pass(10_000).is_empty());
}

#[test]
fn an_aborted_wait_in_the_linger_changes_nothing() {
    let mut b = Book::new();
    let (id, _) = b.acquire();
    b.input(LeaseInput::Connected);
    b.input(LeaseInput::Release(id, 1_000));
    b.pass(400);
    let (gone, _) = b.acquire();
    assert!(b.input(LeaseInput::Abort(gone)).is_empty());
    assert_eq!(b.wait, Some(b.now + 600));
    assert_eq!(b.pass(600), [LeaseOutput::Disconnect]);
}

#[test]
fn the_attempt_is_dropped_when_nobody_is_left() {
    let mut b = Book::new();
    let (first, _) = b.acquire();
    let (second, _) = b.acquire();
    assert!(b.input(LeaseInput::Abort(first)).is_empty());
    assert_eq!(
        b.input(LeaseInput::Abort(second)),
        [LeaseOutput::Disconnect]
    );
    assert_eq!(b.leases.count(), 0);
    assert!(b.input(LeaseInput::Abort(second)).is_empty());
}

#[test]
fn an_abort_of_a_holder_is_not_a_release() {
    let mut b = Book::new();
    let (id, _) = b.acquire();
    b.input(LeaseInput::Connected);
    assert!(b.input(LeaseInput::Abort(id)).is_empty());
    assert_eq!(b.leases.count(), 1);
}

#[test]
fn a_failure_refuses_those_who_wait_and_leaves_nothing_trying() {
    let mut b = Book::new();
    let (id, _) = b.acquire();
    assert_eq!(
        b.input(LeaseInput::Failed),
        [LeaseOutput::Refuse(id), LeaseOutput::Disconnect]
    );
    let (next, out) = b.acquire();
    assert_eq!(out, [LeaseOutput::Connect]);
    b.input(LeaseInput::Connected);
    let (third, _) = b.acquire();
    assert_eq!(
        b.input(LeaseInput::Failed),
        [LeaseOutput::Refuse(third)],
        "those who hold go on holding"
    );
    assert_eq!(b.leases.count(), 1);
    b.input(LeaseInput::Release(next, 0));
    assert_eq!(b.leases.count(), 0);
}

#[test]
fn force_ends_the_generation() {
    let mut b = Book::new();
    let (held, _) = b.acquire();
    b.input(LeaseInput::Connected);
    let (waits, _) = b.acquire();
    assert_eq!(
        b.input(LeaseInput::Force),
        [LeaseOutput::Cancel(waits), LeaseOutput::Disconnect]
    );
    let (next, _) = b.acquire();
    b.input(LeaseInput::Connected);
    assert!(b.input(LeaseInput::Release(held, 0)).is_empty());
    assert!(b.input(LeaseInput::Release(waits, 0)).is_empty());
    assert_eq!(b.leases.count(), 1);
    assert_eq!(
        b.input(LeaseInput::Release(next, 0)),
        [LeaseOutput::Disconnect]
    );
}

#[derive(Clone, Debug)]
enum Step {
    Acquire,
    Abort(usize),
    Release(usize, u64),
    Force,
    /// The service answers a `Connect`.
    Answer(bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Acquire),
        2 => (0usize..8).prop_map(Step::Abort),
        3 => (0usize..8, prop_oneof![Just(0u64), Just(1_000)]).prop_map(|(i, ms)| Step::Release(i, ms)),
        1 => Just(Step::Force),
        4 => any::<bool>().prop_map(Step::Answer),
        2 => (0u64..1_500).prop_map(Step::Pass),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    Waits,
    Holds,
}

proptest! {
    /// Against the plainest model: a map of who waits and who holds, and what the service was last told.
    #[test]
    fn random_lives_never_count_below_zero_and_leave_nothing(steps in prop::collection::vec(step(), 0..80)) {
        let mut b = Book::new();
        let mut model: BTreeMap<LeaseId, Holder> = BTreeMap::new();
        let mut ids: Vec<LeaseId> = Vec::new();
        let (mut wanted, mut asked) = (false, false);
        let mut told: BTreeMap<LeaseId, usize> = BTreeMap::new();
        for step in steps {
            let outputs = match step {
                Step::Acquire => {
                    let (id, outputs) = b.acquire();
                    model.insert(id, Holder::Waits);
                    ids.push(id);
                    outputs
                }
                Step::Abort(i) => match ids.get(i % ids.len().max(1)) {
                    Some(&id) => {
                        if model.get(&id) == Some(&Holder::Waits) {
                            model.remove(&id);
                        }
                        b.input(LeaseInput::Abort(id))
                    }
                    None => continue,
                },
                Step::Release(i, linger) => match ids.get(i % ids.len().max(1)) {
                    Some(&id) => {
                        model.remove(&id);
                        b.input(LeaseInput::Release(id, linger))
                    }
                    None => continue,
                },
                Step::Force => {
                    model.clear();
                    b.input(LeaseInput::Force)
                }
                Step::Answer(ok) if asked => {
                    asked = false;
                    b.input(if ok { LeaseInput::Connected } else { LeaseInput::Failed })
                }
                Step::Answer(_) => continue,
                Step::Pass(ms) => b.pass(ms),
            };
            for output in outputs {
                match output {
                    LeaseOutput::Connect => {
                        prop_assert!(!asked, "asked twice");
                        (wanted, asked) = (true, true);
                    }
                    LeaseOutput::Disconnect => (wanted, asked) = (false, false),
                    LeaseOutput::Grant(id) => {
                        prop_assert_eq!(model.insert(id, Holder::Holds), Some(Holder::Waits));
                        *told.entry(id).or_default() += 1;
                    }
                    LeaseOutput::Refuse(id) => {
                        prop_assert_eq!(model.remove(&id), Some(Holder::Waits));
                        *told.entry(id).or_default() += 1;
                    }
                    LeaseOutput::Cancel(id) => *told.entry(id).or_default() += 1,
                    LeaseOutput::Wait(_) => unreachable!("ends the drain"),
                }
            }
            prop_assert_eq!(b.leases.count(), model.len());
            prop_assert_eq!(b.leases.is_connecting(), model.values().any(|&holder| holder == Holder::Waits));
            prop_assert_eq!(wanted, !model.is_empty() || b.wait.is_some(), "connected iff somebody holds or lingers");
            prop_assert!(b.wait.is_none_or(|at| at > b.now));
            prop_assert!(told.values().all(|&times| times == 1));
        }
        b.input(LeaseInput::Force);
        prop_assert_eq!(b.leases.count(), 0);
        prop_assert_eq!(b.wait, None);
    }
}
