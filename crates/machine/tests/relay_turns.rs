//! Shared turns: the same bytes as each connection's own, put together once for all at a place.
#![cfg(feature = "relay")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod relay_kit;

use proptest::prelude::*;
use relay_kit::{Kit, create, publish, viewer};
use std::sync::Arc;
use tautline_machine::relay::{Cursor, Message, Place, Scope, SharedTurn, Taken, Turns, Viewer};
use tautline_protocol::filter::Filter;
use tautline_protocol::{Dialect, Epoch, Role, limits};

type Texts = Vec<String>;

fn texts(messages: &[Message]) -> Texts {
    messages.iter().map(Message::text).collect()
}

fn place(kit: &Kit, viewer: Viewer, sync: bool) -> Cursor {
    match kit.log.place(viewer, None, sync) {
        Place::At { cursor, .. } => cursor,
        Place::HistoryLost => panic!("no history was lost"),
    }
}

fn shared(
    cursor: &mut Cursor,
    kit: &Kit,
    turns: &mut Turns<Texts>,
) -> Option<Arc<SharedTurn<Texts>>> {
    cursor.take_shared(&kit.log, turns, texts)
}

/// One turn as the relay takes it: shared if it may be. `None` at the head.
fn turn(cursor: &mut Cursor, kit: &Kit, turns: Option<&mut Turns<Texts>>) -> Option<Texts> {
    if let Some(turn) = turns.and_then(|turns| shared(cursor, kit, turns)) {
        return Some(turn.wire.clone());
    }
    loop {
        match cursor.take(&kit.log) {
            Taken::Turn { messages, .. } => return Some(texts(&messages)),
            Taken::Idle => return None,
            Taken::Read { after } => cursor.supply(kit.log.epoch(), kit.disk.read(after, 100)),
            Taken::TooSlow => panic!("nobody is that slow here"),
        }
    }
}

#[test]
fn a_thousand_at_one_place_share_one_turn() {
    for dialect in [Dialect::Plain, Dialect::V1] {
        let mut kit = Kit::new();
        let mut cursors: Vec<Cursor> = (0..1000)
            .map(|_| place(&kit, viewer(dialect, Role::Kitchen), false))
            .collect();
        let mut turns = Turns::default();
        kit.fill(limits::TURN_EVENTS);
        let (mut made, mut got) = (0, Vec::new());
        for cursor in &mut cursors {
            let turn = cursor.take_shared(&kit.log, &mut turns, |messages| {
                made += 1;
                texts(messages)
            });
            match turn {
                Some(turn) => got.push(turn),
                // The first: nothing is put together for one that is alone.
                None => assert_eq!(
                    match cursor.take(&kit.log) {
                        Taken::Turn { events, .. } => events,
                        other => panic!("{other:?}"),
                    },
                    limits::TURN_EVENTS
                ),
            }
            assert_eq!(cursor.at(), kit.log.head());
        }
        assert_eq!((made, got.len()), (1, 999));
        assert!(got.iter().all(|turn| Arc::ptr_eq(turn, &got[0])));
        assert_eq!(got[0].events, limits::TURN_EVENTS);
    }
}

/// What one sees by a filter, or because it is its own, is nobody else's turn.
#[test]
fn who_sees_less_shares_with_those_who_see_the_same() {
    let mut kit = Kit::new();
    let filtered = Filter::parse(r#"{"events":["menu:*"]}"#).unwrap();
    let by = |role, filter| Viewer::new(Dialect::V1, Scope::new("me", role), filter);
    let mut customer = place(&kit, by(Role::Customer, Filter::default()), false);
    let mut menu = place(&kit, by(Role::Manager, filtered), false);
    let mut manager = place(&kit, by(Role::Manager, Filter::default()), false);
    let mut server = place(&kit, by(Role::Server, Filter::default()), false);
    let mut kitchen = place(&kit, by(Role::Kitchen, Filter::default()), false);
    kit.done(&publish("payment:processed", "{}"));
    kit.done(&publish("menu:updated", "{}"));
    let mut turns = Turns::default();
    for alone in [&mut customer, &mut menu] {
        for _ in 0..3 {
            assert!(shared(alone, &kit, &mut turns).is_none());
        }
    }
    assert!(
        shared(&mut manager, &kit, &mut turns).is_none(),
        "the first"
    );
    assert!(
        shared(&mut kitchen, &kit, &mut turns).is_none(),
        "payments are not for it"
    );
    let both = shared(&mut server, &kit, &mut turns).expect("a server sees what a manager sees");
    assert_eq!(both.events, 2);
}

#[derive(Clone, Debug)]
enum Step {
    Publish(&'static str),
    Create,
    Epoch,
    Take(usize),
    Sync(usize),
    Filter(usize),
    Role(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::sample::select(vec!["menu:updated", "payment:processed", "table:updated"]).prop_map(Step::Publish),
        3 => Just(Step::Create),
        1 => Just(Step::Epoch),
        20 => (0..8usize).prop_map(Step::Take),
        1 => (0..8usize).prop_map(Step::Sync),
        1 => (0..8usize).prop_map(Step::Filter),
        1 => (0..8usize).prop_map(Step::Role),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pairs of the same viewer, one with shared turns and one without, are sent the same text in the same turns.
    #[test]
    fn shared_or_not_the_bytes_are_the_same(steps in prop::collection::vec(step(), 1..150)) {
        let mut kit = Kit::new();
        let roles = [Role::Manager, Role::Kitchen, Role::Customer, Role::Server];
        let who = |n: usize| {
            let dialect = if n.is_multiple_of(2) { Dialect::V1 } else { Dialect::Plain };
            viewer(dialect, roles[n / 2])
        };
        let mut pairs: Vec<(Cursor, Cursor)> =
            (0..8).map(|n| (place(&kit, who(n), n == 3), place(&kit, who(n), n == 3))).collect();
        // A third of each kind, so that there are others at the same place.
        let mut others: Vec<Cursor> = (0..8).map(|n| place(&kit, who(n), false)).collect();
        let mut turns = Turns::default();
        let mut epochs = 0;
        for step in steps {
            match step {
                Step::Publish(kind) => drop(kit.done(&publish(kind, r#"{"a":1}"#))),
                Step::Create => drop(kit.done(&create())),
                Step::Epoch => {
                    epochs += 1;
                    kit.log.begin_epoch(Epoch::new(&format!("epoch-{epochs}")));
                    kit.commit();
                }
                Step::Take(n) => {
                    turn(&mut others[n], &kit, Some(&mut turns));
                    let (with, without) = &mut pairs[n];
                    prop_assert_eq!(turn(with, &kit, Some(&mut turns)), turn(without, &kit, None));
                    prop_assert_eq!(with.at(), without.at());
                }
                Step::Sync(n) => {
                    let (with, without) = &mut pairs[n];
                    let position = (kit.log.epoch().clone(), kit.log.head().saturating_sub(3));
                    let position = Some((&position.0, position.1));
                    prop_assert_eq!(
                        with.sync(&kit.log, None, position).is_ok(),
                        without.sync(&kit.log, None, position).is_ok()
                    );
                }
                Step::Filter(n) => {
                    let (with, without) = &mut pairs[n];
                    let filter = Filter::parse(r#"{"events":["menu:*","order:*"]}"#).unwrap();
                    with.filter(filter.clone());
                    without.filter(filter);
                }
                Step::Role(n) => {
                    let (with, without) = &mut pairs[n];
                    with.rescope(&kit.log, Scope::new("x", Role::Kitchen));
                    without.rescope(&kit.log, Scope::new("x", Role::Kitchen));
                }
            }
        }
        for (with, without) in &mut pairs {
            for _ in 0..1000 {
                let (one, other) = (turn(with, &kit, Some(&mut turns)), turn(without, &kit, None));
                prop_assert_eq!(&one, &other);
                if one.is_none() {
                    break;
                }
            }
            prop_assert_eq!(with.at(), without.at());
        }
    }
}
