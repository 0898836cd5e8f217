//! A restaurant's log: judged on speculative state, shown only when committed, remembered once
//! (`docs/protocol.md` §1, Commands, Once; Storage, embedded).
#![cfg(feature = "relay")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod relay_kit;

use proptest::prelude::*;
use relay_kit::{Kit, at, create, item_status, publish, status, viewer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tautline_machine::relay::{Answer, Class, Place, Taken, Viewer};
use tautline_protocol::request::Command;
use tautline_protocol::{Dialect, Epoch, ItemStatus, NackCode, OrderStatus, Outcome, Role, limits};

fn code(answer: &Answer) -> NackCode {
    match answer {
        Answer::Nack(nack) => nack.code,
        Answer::Ack(ack) => panic!("{ack:?}"),
    }
}

fn seq(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Ack(ack) => ack.at.as_ref().map(|(_, seq)| *seq),
        Answer::Nack(nack) => panic!("{nack:?}"),
    }
}

#[test]
fn nothing_is_shown_or_answered_before_it_is_durable() {
    let mut kit = Kit::new();
    let (waiter, now) = kit.judge(&create());
    assert!(now.is_none());
    let batch = kit.log.take_batch(512, 1 << 20);
    assert_eq!(
        (batch.len(), kit.log.head(), kit.log.orders().count()),
        (1, 0, 0)
    );
    assert!(kit.log.event(1).is_none());
    let answers = kit.log.committed(batch[0].ticket, at(1));
    assert_eq!(
        (answers.len(), answers[0].0, seq(&answers[0].1)),
        (1, waiter, Some(1))
    );
    assert_eq!((kit.log.head(), kit.log.orders().count()), (1, 1));
}

#[test]
fn commands_are_judged_on_what_is_pending_before_them() {
    let mut kit = Kit::new();
    let _ = kit.judge(&create());
    let _ = kit.judge(&status("o1", OrderStatus::Completed));
    let (late, now) = kit.judge(&status("o1", OrderStatus::Ready));
    assert!(
        now.is_none(),
        "a refusal that rests on something pending waits for it"
    );
    let answers = kit.commit();
    assert_eq!(
        answers.iter().map(|(w, _)| w.0).collect::<Vec<_>>(),
        [1, 2, 3],
        "answered in the order of judging"
    );
    assert_eq!(
        (answers[2].0, code(&answers[2].1)),
        (late, NackCode::InvalidTransition)
    );
}

/// Found by the simulation: `updated_at` and status are how a page tells two versions of an order apart.
#[test]
fn two_changes_of_an_order_never_share_a_millisecond() {
    let mut kit = Kit::new();
    let order = kit.order();
    let item = format!("{order}.1");
    let mut stamps = BTreeSet::new();
    for to in [ItemStatus::Preparing, ItemStatus::Ready, ItemStatus::Served] {
        kit.ms = 500;
        let _ = kit.judge(&item_status(&order, &item, to));
        kit.commit();
        let updated = kit.log.order(&order).unwrap().updated_at.clone().unwrap();
        assert!(
            kit.log
                .event(kit.log.head())
                .unwrap()
                .stored()
                .contains(&updated)
        );
        stamps.insert(updated);
    }
    assert_eq!(stamps.len(), 3, "{stamps:?}");
}

#[test]
fn a_failed_commit_nacks_all_that_was_judged_after_it_and_judging_starts_over() {
    let mut kit = Kit::new();
    let order = kit.order();
    let _ = kit.judge(&status(&order, OrderStatus::Ready));
    let batch = kit.log.take_batch(512, 1 << 20);
    assert_eq!(batch.len(), 1);
    let _ = kit.judge(&status(&order, OrderStatus::Completed));
    let _ = kit.judge_as("bob", Some(("k", 1)), &create());
    let answers = kit.log.failed();
    assert_eq!(answers.len(), 3);
    for (_, answer) in &answers {
        let Answer::Nack(nack) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (nack.code, nack.outcome),
            (NackCode::Unavailable, Outcome::NotApplied)
        );
    }
    assert_eq!((kit.log.pending(), kit.log.head()), (0, 1));
    assert!(
        kit.log.committed(batch[0].ticket, at(9)).is_empty(),
        "a late report for what failed does nothing"
    );
    assert_eq!(kit.log.order(&order).unwrap().status, OrderStatus::New);
    assert_eq!(
        seq(&kit.done(&status(&order, OrderStatus::Ready))),
        Some(2),
        "no hole in the numbers"
    );
    let (_, now) = kit.judge_as("bob", Some(("k", 1)), &create());
    assert!(now.is_none(), "a nacked command is not remembered");
    assert_eq!(seq(&kit.commit()[0].1), Some(3));
}

#[test]
fn an_applied_command_is_answered_again_with_the_same_ack() {
    let mut kit = Kit::new();
    let (_, _) = kit.judge_as("ann", Some(("k", 7)), &create());
    let (_, second) = kit.judge_as("ann", Some(("k", 7)), &create());
    assert!(
        second.is_none(),
        "while the first is being stored the second waits"
    );
    let answers = kit.commit();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].1, answers[1].1);
    let (_, again) = kit.judge_as("ann", Some(("k", 7)), &create());
    assert_eq!(again.as_ref(), Some(&answers[0].1));
    let (_, other) = kit.judge_as("ann", Some(("k", 8)), &create());
    assert_eq!(code(&other.unwrap()), NackCode::IdReused);
    assert_eq!((kit.log.head(), kit.log.orders().count()), (1, 1));
    let (_, theirs) = kit.judge_as("bob", Some(("k", 7)), &create());
    assert!(theirs.is_none(), "another sub's id is another command");
    kit.commit();
    assert_eq!(kit.log.head(), 2);
}

#[test]
fn the_memory_outlives_a_restart_and_ends_after_its_time() {
    let mut kit = Kit::new();
    let _ = kit.judge_as("ann", Some(("k", 7)), &create());
    let first = kit.commit().remove(0).1;
    kit.log = kit.disk.load(1, 8, at(1_000));
    kit.ms = 1_000;
    let (_, again) = kit.judge_as("ann", Some(("k", 7)), &create());
    assert_eq!(again, Some(first));
    kit.ms = limits::DEDUPE_MS + 2_000;
    let _ = kit.judge_as("ann", Some(("other", 7)), &create());
    kit.commit();
    assert_eq!(
        (kit.log.remembered(), kit.disk.dedupe.len()),
        (1, 1),
        "forgotten in memory and store alike"
    );
}

#[test]
fn the_memory_is_bounded_by_number_oldest_out() {
    let mut kit = Kit::new();
    let over = 10;
    for n in 0..limits::DEDUPE_COMMANDS + over {
        let _ = kit.judge_as(
            "ann",
            Some((&format!("k{n}"), 1)),
            &publish("kds:update", "1"),
        );
        if kit.log.pending() > 2_000 {
            kit.commit();
        }
    }
    kit.commit();
    assert_eq!(kit.log.remembered(), limits::DEDUPE_COMMANDS);
    assert_eq!(kit.log.remembered(), kit.disk.dedupe.len());
    let newest = format!("k{}", limits::DEDUPE_COMMANDS + over - 1);
    let (_, now) = kit.judge_as("ann", Some((&newest, 2)), &publish("kds:update", "1"));
    assert_eq!(code(&now.unwrap()), NackCode::IdReused);
}

#[test]
fn setting_the_state_it_has_is_acked_without_an_event_and_remembered() {
    let mut kit = Kit::new();
    let order = kit.order();
    let (_, now) = kit.judge_as("ann", Some(("k", 1)), &status(&order, OrderStatus::New));
    assert!(now.is_none());
    let answer = kit.commit().remove(0).1;
    assert_eq!((seq(&answer), kit.log.head()), (None, 1));
    assert_eq!(kit.disk.dedupe.len(), 1);
}

#[test]
fn refusals_say_which_rule() {
    let mut kit = Kit::new();
    let order = kit.order();
    let item = format!("{order}.1");
    assert_eq!(
        code(&kit.done(&status("none", OrderStatus::Ready))),
        NackCode::NotFound
    );
    assert_eq!(
        code(&kit.done(&item_status(&order, "none", ItemStatus::Ready))),
        NackCode::NotFound
    );
    let expected = Command::Status {
        order_id: order.clone(),
        status: OrderStatus::Ready,
        expected: Some(OrderStatus::Confirmed),
    };
    assert_eq!(code(&kit.done(&expected)), NackCode::Conflict);
    assert!(matches!(
        kit.done(&item_status(&order, &item, ItemStatus::Served)),
        Answer::Ack(_)
    ));
    assert_eq!(
        code(&kit.done(&item_status(&order, &item, ItemStatus::Ready))),
        NackCode::InvalidTransition
    );
    assert!(matches!(
        kit.done(&status(&order, OrderStatus::PickedUp)),
        Answer::Ack(_)
    ));
    let cancel = Command::Cancel {
        order_id: order.clone(),
        reason: None,
    };
    assert_eq!(code(&kit.done(&cancel)), NackCode::InvalidTransition);
}

#[test]
fn cancelling_by_status_is_the_same_as_cancelling() {
    let mut kit = Kit::new();
    let (one, two) = (kit.order(), kit.order());
    assert_eq!(
        seq(&kit.done(&status(&one, OrderStatus::Cancelled))),
        Some(3)
    );
    let Answer::Ack(ack) = kit.done(&Command::Cancel {
        order_id: two,
        reason: Some("gone".into()),
    }) else {
        panic!()
    };
    let result: serde_json::Value = serde_json::from_str(ack.result.as_ref().unwrap()).unwrap();
    assert_eq!(result["order"]["status"], "cancelled");
    let kinds: Vec<_> = (3..=4)
        .map(|seq| kit.log.event(seq).unwrap().kind.clone())
        .collect();
    assert_eq!(kinds, ["order:status_changed"; 2]);
}

#[test]
fn the_phone_number_is_in_the_store_and_in_no_frame() {
    let mut kit = Kit::new();
    let order = kit.order();
    let Answer::Ack(ack) = kit.done(&Command::Cancel {
        order_id: order.clone(),
        reason: None,
    }) else {
        panic!()
    };
    assert!(
        kit.log
            .order(&order)
            .unwrap()
            .stored()
            .contains("0791234567")
    );
    assert!(!ack.result.as_ref().unwrap().contains("0791234567"));
    for (.., frame) in &kit.disk.events {
        assert!(!frame.contains("0791234567"));
    }
    assert!(
        kit.log
            .snapshot(&Viewer::everything(Dialect::V1))
            .parts
            .iter()
            .all(|part| !part.contains("0791234567"))
    );
}

#[test]
fn final_orders_leave_after_their_time_at_most_once_a_minute() {
    let mut kit = Kit::new();
    let (one, two) = (kit.order(), kit.order());
    assert!(matches!(
        kit.done(&status(&one, OrderStatus::Completed)),
        Answer::Ack(_)
    ));
    assert!(!kit.log.tick(at(limits::KEEP_FINAL_MS - 10)));
    kit.ms = limits::KEEP_FINAL_MS + 10;
    assert!(kit.log.tick(at(kit.ms)));
    kit.commit();
    assert_eq!(kit.log.event(4).unwrap().kind, "orders:archived");
    assert!(
        kit.log.order(&one).is_none()
            && kit.log.order(&two).is_some()
            && !kit.disk.orders.contains_key(&one)
    );
    assert!(matches!(
        kit.done(&status(&two, OrderStatus::Completed)),
        Answer::Ack(_)
    ));
    kit.ms += limits::KEEP_FINAL_MS + 1;
    assert!(kit.log.tick(at(kit.ms)) && !kit.log.tick(at(kit.ms + 59_999)));
}

#[test]
fn a_full_live_set_archives_the_oldest_final_ones_then_refuses() {
    let mut kit = Kit::new();
    for _ in 0..limits::LIVE_ORDERS {
        let _ = kit.judge(&create());
        if kit.log.pending() > 1_000 {
            kit.commit();
        }
    }
    kit.commit();
    assert_eq!(code(&kit.done(&create())), NackCode::Overloaded);
    assert!(matches!(
        kit.done(&status("o7", OrderStatus::Completed)),
        Answer::Ack(_)
    ));
    assert!(matches!(kit.done(&create()), Answer::Ack(_)));
    assert!(kit.log.order("o7").is_none());
    assert!(matches!(
        kit.done(&status("o8", OrderStatus::Completed)),
        Answer::Ack(_)
    ));
    assert_eq!(
        code(&kit.done(&create())),
        NackCode::Overloaded,
        "once a minute"
    );
    assert_eq!(kit.log.orders().count(), limits::LIVE_ORDERS);
}

#[test]
fn the_append_queue_is_bounded() {
    let mut kit = Kit::new();
    for _ in 0..limits::APPEND_QUEUE {
        assert!(kit.judge(&publish("kds:update", "1")).1.is_none());
    }
    assert_eq!(
        code(&kit.judge(&publish("kds:update", "1")).1.unwrap()),
        NackCode::Overloaded
    );
    assert_eq!(kit.commit().len(), limits::APPEND_QUEUE);
}

#[test]
fn batches_are_bounded_and_one_is_out_at_a_time() {
    let mut kit = Kit::new();
    for _ in 0..10 {
        let _ = kit.judge(&publish(
            "kds:update",
            &format!("\"{}\"", "x".repeat(1_000)),
        ));
    }
    let batch = kit.log.take_batch(4, 1 << 20);
    assert_eq!(batch.len(), 4);
    assert!(!kit.log.has_batch() && kit.log.take_batch(4, 1 << 20).is_empty());
    let _ = kit.log.committed(batch[3].ticket, at(20));
    let batch = kit.log.take_batch(512, 3_000);
    assert_eq!(batch.len(), 2, "about so many bytes");
    let _ = kit.log.committed(batch[1].ticket, at(20));
    assert_eq!(kit.log.take_batch(512, 1).len(), 1, "at least one");
}

#[test]
fn a_fact_makes_changes_and_removes_without_asking_the_state_machine() {
    let mut kit = Kit::new();
    let fact = |kind: &str, payload: &str| publish(kind, payload);
    assert_eq!(
        code(&kit.done(&fact(
            "order:status_changed",
            r#"{"order_id":"x","status":"ready"}"#
        ))),
        NackCode::NotFound
    );
    let made = fact(
        "order:updated",
        r#"{"order":{"id":"x","status":"completed","customer_phone":"079","items":[{"id":"i"}]}}"#,
    );
    assert_eq!(seq(&kit.done(&made)), Some(1));
    assert_eq!(kit.log.event(1).unwrap().kind, "order:updated");
    assert!(
        !kit.disk.events[0].4.contains("079"),
        "a fact's phone number stays off the wire too"
    );
    assert_eq!(
        seq(&kit.done(&fact(
            "order:status_changed",
            r#"{"order_id":"x","status":"new","updated_by":"pos"}"#
        ))),
        Some(2)
    );
    assert!(
        kit.disk.events[1]
            .4
            .contains(r#""previous_status":"completed","updated_by":"pos""#)
    );
    let item = fact(
        "order:item_status_changed",
        r#"{"order_id":"x","item_id":"i","status":"served"}"#,
    );
    assert_eq!(seq(&kit.done(&item)), Some(3));
    assert_eq!(
        kit.log.order("x").unwrap().items[0].status,
        Some(ItemStatus::Served)
    );
    assert_eq!(
        seq(&kit.done(&fact("order:deleted", r#"{"order_id":"x"}"#))),
        Some(4)
    );
    assert_eq!(kit.log.orders().count(), 0);
    assert_eq!(
        code(&kit.done(&Command::Delete {
            order_id: "x".into()
        })),
        NackCode::NotFound
    );
}

#[test]
fn a_published_payload_goes_out_as_it_came_in() {
    let mut kit = Kit::new();
    let payload = r#"{"b":1.50, "a" : [ 1e3 ,"\u00e9"]}"#;
    assert!(matches!(
        kit.done(&publish("menu:updated", payload)),
        Answer::Ack(_)
    ));
    let v1 = kit.log.event(1).unwrap().stored();
    assert!(v1.ends_with(&format!("\"payload\":{payload}}}")), "{v1}");
    assert!(
        Arc::ptr_eq(
            v1,
            kit.log
                .event(1)
                .unwrap()
                .frame(Dialect::Plain, Class::Staff)
        ),
        "one encoding for both dialects"
    );
}

#[test]
fn a_new_epoch_voids_positions_and_goes_on_counting() {
    let mut kit = Kit::new();
    kit.fill(5);
    let old = kit.log.epoch().clone();
    let ahead = kit
        .log
        .place(viewer(Dialect::V1, Role::Kitchen), Some((&old, 6)), true);
    assert!(
        matches!(ahead, Place::HistoryLost),
        "staff ahead of the head is believed"
    );
    let doubted = kit
        .log
        .place(viewer(Dialect::V1, Role::Customer), Some((&old, 6)), true);
    assert!(matches!(doubted, Place::At { resumed: false, .. }));
    kit.log.begin_epoch(Epoch::new("e2"));
    assert_eq!(kit.log.epoch(), &old, "not before it is durable");
    let (_, _) = kit.judge(&publish("kds:update", "1"));
    kit.commit();
    assert_eq!(
        (kit.log.epoch().as_str(), kit.log.head(), kit.log.oldest()),
        ("e2", 6, 5)
    );
    assert!(
        kit.log
            .event(6)
            .unwrap()
            .stored()
            .contains(r#""epoch":"e2""#)
    );
    assert!(matches!(
        kit.log
            .place(viewer(Dialect::V1, Role::Kitchen), Some((&old, 5)), true),
        Place::At { resumed: false, .. }
    ));
    let new = kit.log.epoch().clone();
    assert!(matches!(
        kit.log
            .place(viewer(Dialect::V1, Role::Kitchen), Some((&new, 5)), true),
        Place::At { resumed: true, .. }
    ));
}

#[test]
fn a_resume_is_served_as_far_back_as_the_kept_tail_and_no_further() {
    let mut kit = Kit::new();
    kit.fill(limits::TAIL_EVENTS + 50);
    let epoch = kit.log.epoch().clone();
    assert_eq!(kit.log.oldest(), 50);
    let place = |seq| {
        kit.log.place(
            viewer(Dialect::V1, Role::Kitchen),
            Some((&epoch, seq)),
            true,
        )
    };
    assert!(matches!(place(49), Place::At { resumed: false, .. }));
    let Place::At {
        mut cursor,
        resumed: true,
        ..
    } = place(50)
    else {
        panic!()
    };
    assert!(
        matches!(cursor.take(&kit.log), Taken::Read { after: 50 }),
        "older than what is in memory: from the store"
    );
    let memory: usize = (51..=kit.log.head())
        .filter_map(|seq| kit.log.event(seq))
        .map(|e| e.stored().len())
        .sum();
    assert!(memory > 0 && memory <= limits::TAIL_MEMORY_BYTES);
}

/// One step of a user or the store.
#[derive(Clone, Debug)]
enum Step {
    Judge {
        sub: u8,
        key: Option<(u8, u8)>,
        command: u8,
        order: u8,
    },
    Commit(u8),
    Fail,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let judge = (
        0u8..3,
        proptest::option::of((0u8..12, 0u8..2)),
        0u8..12,
        0u8..8,
    )
        .prop_map(|(sub, key, command, order)| Step::Judge {
            sub,
            key,
            command,
            order,
        });
    let step = prop_oneof![8 => judge, 3 => (1u8..6).prop_map(Step::Commit), 1 => Just(Step::Fail), 1 => Just(Step::Restart)];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    /// Whatever is asked, committed, refused by the disk or interrupted: an ack means it is on the disk, a nack that it
    /// is not, no id is applied twice, the numbers have no holes, and the live set is the fold of the events.
    #[test]
    fn the_log_keeps_its_word(steps in steps()) {
        let mut kit = Kit::new();
        let mut waiting = BTreeMap::new();
        let (mut acked, mut nacked) = (Vec::new(), Vec::new());
        let mut settle = |waiting: &mut BTreeMap<_, Option<(String, String)>>, answers: Vec<(_, Answer)>| {
            for (waiter, answer) in answers {
                let key = waiting.remove(&waiter).expect("answered once");
                match answer {
                    Answer::Ack(ack) => acked.push((key, ack)),
                    Answer::Nack(nack) => nacked.push((key, nack.code)),
                }
            }
        };
        for step in steps {
            match step {
                Step::Judge { sub, key, command, order } => {
                    let sub = format!("sub{sub}");
                    let order = format!("o{order}");
                    let item = format!("{order}.1");
                    let command = match command {
                        0..=2 => create(),
                        3 => status(&order, OrderStatus::Confirmed),
                        4 => status(&order, OrderStatus::Ready),
                        5 => status(&order, OrderStatus::Completed),
                        6 => Command::Cancel { order_id: order, reason: None },
                        7 => item_status(&order, &item, ItemStatus::Ready),
                        8 => item_status(&order, &item, ItemStatus::Served),
                        9 => Command::Delete { order_id: order },
                        10 => publish("order:updated", &format!(r#"{{"order":{{"id":"{order}","status":"ready","items":[{{"id":"{item}"}}]}}}}"#)),
                        _ => publish("kds:update", "{}"),
                    };
                    let key = key.map(|(id, hash)| (format!("k{id}"), u128::from(hash)));
                    let by = key.as_ref().map(|(id, hash)| (id.as_str(), *hash));
                    let (waiter, now) = kit.judge_as(&sub, by, &command);
                    waiting.insert(waiter, key.map(|(id, _)| (sub, id)));
                    settle(&mut waiting, now.map(|answer| (waiter, answer)).into_iter().collect());
                }
                Step::Commit(records) => {
                    let batch = kit.log.take_batch(usize::from(records), 1 << 20);
                    batch.iter().for_each(|record| kit.disk.write(record));
                    if let Some(last) = batch.last() {
                        let answers = kit.log.committed(last.ticket, at(kit.ms));
                        settle(&mut waiting, answers);
                    }
                }
                Step::Fail => {
                    let _ = kit.log.take_batch(3, 1 << 20);
                    let answers = kit.log.failed();
                    settle(&mut waiting, answers);
                    prop_assert!(waiting.is_empty());
                }
                Step::Restart => {
                    kit.log = kit.disk.load(kit.log.head(), 4, at(kit.ms));
                    waiting.clear();
                }
            }
            prop_assert_eq!(kit.log.head(), kit.disk.events.len() as u64);
        }
        let answers = kit.commit();
        settle(&mut waiting, answers);
        prop_assert!(waiting.is_empty());
        for (n, (seq, ..)) in kit.disk.events.iter().enumerate() {
            prop_assert_eq!(*seq, n as u64 + 1);
        }
        for (key, ack) in &acked {
            if let Some((sub, id)) = key {
                let row = kit.disk.dedupe.iter().find(|row| row.sub == *sub && row.id == *id);
                prop_assert!(row.is_some_and(|row| row.ack == *ack), "{} was acked and is not on the disk", id);
            }
            if let Some((_, seq)) = &ack.at {
                prop_assert!(*seq <= kit.log.head());
            }
        }
        let mut applied = BTreeSet::new();
        for row in &kit.disk.dedupe {
            prop_assert!(applied.insert((row.sub.clone(), row.id.clone())), "{} is remembered twice", row.id);
        }
        // The live set is what the rows say and what a fold of the events by another hand makes.
        let live: BTreeMap<String, String> = kit.log.orders().map(|order| (order.id.clone(), order.stored())).collect();
        let rows: BTreeMap<String, String> = kit.disk.orders.iter().map(|(id, (json, _))| (id.clone(), json.clone())).collect();
        prop_assert_eq!(&live, &rows);
        prop_assert_eq!(fold(&kit), kit.log.orders().map(|o| (o.id.clone(), serde_json::from_str(&o.wire()).unwrap())).collect());
        let reloaded = kit.disk.load(kit.log.head(), 4, at(kit.ms));
        prop_assert_eq!(&reloaded.snapshot(&Viewer::everything(Dialect::V1)).parts, &kit.log.snapshot(&Viewer::everything(Dialect::V1)).parts);
    }
}

/// The fold as a client makes it, over JSON.
fn fold(kit: &Kit) -> BTreeMap<String, serde_json::Value> {
    let mut orders = BTreeMap::new();
    for (_, kind, .., frame) in &kit.disk.events {
        let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
        let payload = &frame["payload"];
        let id = payload["order_id"].as_str().unwrap_or_default();
        match kind.as_str() {
            "order:created" | "order:updated" => {
                orders.insert(
                    payload["order"]["id"].as_str().unwrap().to_owned(),
                    payload["order"].clone(),
                );
            }
            "order:deleted" => {
                orders.remove(id);
            }
            "order:status_changed" => {
                let order = orders.get_mut(id).unwrap();
                order["status"] = payload["status"].clone();
                order["updated_at"] = frame["timestamp"].clone();
                if payload["status"] == "completed" {
                    order["completed_at"] = frame["timestamp"].clone();
                }
            }
            "order:item_status_changed" => {
                let order = orders.get_mut(id).unwrap();
                order["updated_at"] = frame["timestamp"].clone();
                for item in order["items"].as_array_mut().unwrap() {
                    if item["id"] == payload["item_id"] {
                        item["status"] = payload["status"].clone();
                    }
                }
            }
            _ => {}
        }
    }
    orders
}
