//! Who is shown what: roles, own orders, filters, cursor frames, the two classes of encoding
//! (`docs/protocol.md`, Who may do what; §1, Cursor frames, Filters).
#![cfg(feature = "relay")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod relay_kit;

use proptest::prelude::*;
use relay_kit::{Kit, at, create, publish, status, viewer};
use serde_json::{Value, json};
use std::sync::Arc;
use tautline_machine::relay::{Answer, Cursor, Place, Scope, Taken, Viewer};
use tautline_protocol::filter::Filter;
use tautline_protocol::request::{Command, http};
use tautline_protocol::{Dialect, NackCode, OrderStatus, Role, limits};

fn place(kit: &Kit, viewer: Viewer, sync: bool) -> Cursor {
    match kit.log.place(viewer, None, sync) {
        Place::At { cursor, .. } => cursor,
        Place::HistoryLost => panic!("no history was lost"),
    }
}

/// Every frame of the turns at hand, batches taken apart.
fn frames(kit: &Kit, cursor: &mut Cursor) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        match cursor.take(&kit.log) {
            Taken::Turn { messages, .. } => {
                for message in messages {
                    match serde_json::from_str(&message.text()).unwrap() {
                        Value::Array(batch) => all.extend(batch),
                        one => all.push(one),
                    }
                }
            }
            Taken::Idle => return all,
            Taken::Read { after } => {
                let epoch = kit.log.epoch().clone();
                cursor.supply(&epoch, kit.disk.read(after, 100));
            }
            Taken::TooSlow => panic!("too slow"),
        }
    }
}

fn kinds(frames: &[Value]) -> Vec<(&str, u64)> {
    frames
        .iter()
        .map(|frame| {
            (
                frame["type"].as_str().unwrap(),
                frame["seq"].as_u64().unwrap_or_default(),
            )
        })
        .collect()
}

fn filter(json: &Value) -> Filter {
    Filter::parse(&json.to_string()).unwrap()
}

/// A fact of the back end's, about an order of an owner.
fn fact(id: &str, owner: &str, more: &Value) -> Command {
    let mut order = json!({"id":id,"status":"new","created_by":owner,"items":[]});
    order
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    publish("order:updated", &json!({"order":order}).to_string())
}

#[test]
fn a_role_is_shown_what_the_table_says() {
    let mut kit = Kit::new();
    let _ = kit.judge(&fact("a", "customer", &json!({})));
    for kind in ["menu:updated", "table:updated"] {
        let _ = kit.judge(&publish(kind, "{}"));
    }
    let _ = kit.judge(&publish("payment:processed", r#"{"order_id":"a"}"#));
    let _ = kit.judge(&publish("payment:processed", r#"{"order_id":"x"}"#));
    kit.commit();
    for (role, expected) in [
        (Role::Customer, &[1, 2, 4][..]),
        (Role::Kiosk, &[2]),
        (Role::Server, &[1, 2, 3, 4, 5]),
        (Role::Kitchen, &[1, 2, 3]),
        (Role::Manager, &[1, 2, 3, 4, 5]),
        (Role::Service, &[1, 2, 3, 4, 5]),
    ] {
        for dialect in [Dialect::V1, Dialect::Plain] {
            let epoch = kit.log.epoch().clone();
            let Place::At { mut cursor, .. } =
                kit.log
                    .place(viewer(dialect, role), Some((&epoch, 0)), false)
            else {
                panic!("{role:?}");
            };
            let shown: Vec<u64> = frames(&kit, &mut cursor)
                .iter()
                .filter(|frame| frame["type"] != "cursor")
                .map(|frame| frame["seq"].as_u64().unwrap())
                .collect();
            assert_eq!(shown, expected, "{role:?} {dialect:?}");
        }
    }
}

#[test]
fn skipped_numbers_are_accounted_for_before_the_next_event_and_at_the_end_of_a_batch() {
    let mut kit = Kit::new();
    let own = viewer(Dialect::V1, Role::Customer);
    let mut cursor = place(&kit, own, false);
    kit.fill(3);
    assert_eq!(
        frames(&kit, &mut cursor),
        [] as [Value; 0],
        "nothing of its own"
    );
    assert_eq!(cursor.at(), 3);
    let _ = kit.judge(&publish("menu:updated", "{}"));
    kit.fill(2);
    let _ = kit.judge(&publish("menu:updated", "{}"));
    kit.fill(4);
    let shown = frames(&kit, &mut cursor);
    let from: Vec<_> = shown.iter().map(|frame| frame["from"].as_u64()).collect();
    assert_eq!(
        kinds(&shown),
        [
            ("cursor", 3),
            ("menu:updated", 4),
            ("cursor", 6),
            ("menu:updated", 7),
            ("cursor", 11)
        ]
    );
    assert_eq!(from, [Some(0), None, Some(4), None, Some(7)]);
    kit.fill(2);
    assert!(frames(&kit, &mut cursor).is_empty(), "until it is asked");
    let told: Value = serde_json::from_str(&cursor.account(&kit.log).unwrap()).unwrap();
    assert_eq!((&told["from"], &told["seq"]), (&json!(11), &json!(13)));
    assert_eq!(cursor.account(&kit.log), None, "once");
}

#[test]
fn a_pong_that_named_a_head_not_reached_yet_is_followed_by_its_cursor_frame() {
    let mut kit = Kit::new();
    let mut cursor = place(&kit, viewer(Dialect::V1, Role::Customer), false);
    kit.fill(5);
    assert_eq!(cursor.account(&kit.log), None, "it has not looked yet");
    assert_eq!(kinds(&frames(&kit, &mut cursor)), [("cursor", 5)]);
    kit.fill(2);
    assert!(frames(&kit, &mut cursor).is_empty(), "once");
}

#[test]
fn a_plain_connection_gets_no_cursor_frames() {
    let mut kit = Kit::new();
    let mut cursor = place(&kit, viewer(Dialect::Plain, Role::Customer), false);
    kit.fill(3);
    let _ = kit.judge(&publish("menu:updated", "{}"));
    kit.fill(3);
    assert_eq!(kinds(&frames(&kit, &mut cursor)), [("menu:updated", 4)]);
    assert_eq!(cursor.account(&kit.log), None);
}

#[test]
fn an_order_that_is_no_longer_its_own_is_told_once_as_gone() {
    let mut kit = Kit::new();
    let mut cursor = place(&kit, viewer(Dialect::V1, Role::Customer), false);
    let mut plain = place(&kit, viewer(Dialect::Plain, Role::Customer), false);
    for owner in ["customer", "ben", "ben", "customer"] {
        let _ = kit.judge(&fact("a", owner, &json!({})));
    }
    let _ = kit.judge(&publish("order:deleted", r#"{"order_id":"a"}"#));
    kit.commit();
    let shown = frames(&kit, &mut cursor);
    assert_eq!(
        kinds(&shown),
        [
            ("order:updated", 1),
            ("order:deleted", 2),
            ("cursor", 3),
            ("order:updated", 4),
            ("order:deleted", 5)
        ]
    );
    assert_eq!(
        shown[1]["payload"],
        json!({"order_id":"a","reason":"not_visible"})
    );
    assert_eq!(shown[4]["payload"], json!({"order_id":"a"}));
    let shown = frames(&kit, &mut plain);
    assert_eq!(
        shown[1]["payload"],
        json!({"order_id":"a","orderId":"a","reason":"not_visible"})
    );
}

#[test]
fn order_ids_make_orders_ones_own() {
    let mut kit = Kit::new();
    let scope = Scope {
        order_ids: Arc::new(["a".to_owned()].into()),
        ..Scope::new("guest", Role::Customer)
    };
    let mut cursor = place(
        &kit,
        Viewer::new(Dialect::V1, scope.clone(), Filter::default()),
        false,
    );
    let _ = kit.judge(&fact("a", "till", &json!({})));
    let _ = kit.judge(&fact("b", "till", &json!({})));
    kit.commit();
    assert_eq!(
        kinds(&frames(&kit, &mut cursor)),
        [("order:updated", 1), ("cursor", 2)]
    );
    let cancel = |id: &str| Command::Cancel {
        order_id: id.into(),
        reason: None,
    };
    let (_, refused) = kit.judge_in(&scope, None, &cancel("b"));
    assert!(matches!(refused, Some(Answer::Nack(nack)) if nack.code == NackCode::NotFound));
    assert!(kit.judge_in(&scope, None, &cancel("a")).1.is_none());
}

#[test]
fn the_public_encoding_leaves_out_who_did_it_and_what_is_private() {
    let mut kit = Kit::new();
    let more = json!({"metadata":{"private":{"x":1},"color":"red"}});
    let _ = kit.judge(&fact("a", "customer", &more));
    let _ = kit.judge(&status("a", OrderStatus::Ready));
    kit.commit();
    for dialect in [Dialect::V1, Dialect::Plain] {
        let epoch = kit.log.epoch().clone();
        let events = |role| {
            let placed = kit
                .log
                .place(viewer(dialect, role), Some((&epoch, 0)), false);
            let Place::At { mut cursor, .. } = placed else {
                panic!();
            };
            frames(&kit, &mut cursor)
        };
        let (public, staff) = (events(Role::Customer), events(Role::Manager));
        assert_eq!(
            public[0]["payload"]["order"]["metadata"],
            json!({"color":"red"})
        );
        assert_eq!(staff[0]["payload"]["order"]["metadata"], more["metadata"]);
        assert_eq!(public[1]["payload"].get("updated_by"), None);
        assert_eq!(public[1]["payload"].get("updatedBy"), None);
        assert_eq!(staff[1]["payload"]["updated_by"], "ann");
        let snapshot = |role| {
            let mut cursor = place(&kit, viewer(dialect, role), true);
            frames(&kit, &mut cursor).remove(0)["payload"]["orders"].take()
        };
        assert_eq!(
            snapshot(Role::Customer)[0]["metadata"],
            json!({"color":"red"})
        );
        assert_eq!(snapshot(Role::Server)[0]["metadata"], more["metadata"]);
        assert_eq!(snapshot(Role::Kiosk), json!([]));
    }
    let scope = Scope::new("customer", Role::Customer);
    let cancel = Command::Cancel {
        order_id: "a".into(),
        reason: None,
    };
    let _ = kit.judge(&fact("a", "customer", &more));
    kit.commit();
    let (waiter, _) = kit.judge_in(&scope, None, &cancel);
    let answers = kit.commit();
    let Some((_, Answer::Ack(ack))) = answers.iter().find(|(of, _)| *of == waiter) else {
        panic!("{answers:?}");
    };
    assert!(!ack.result.as_deref().unwrap().contains("private"));
}

#[test]
fn encodings_are_made_once_and_shared() {
    let mut kit = Kit::new();
    let _ = kit.judge(&fact("a", "customer", &json!({})));
    let _ = kit.judge(&status("a", OrderStatus::Ready));
    kit.commit();
    let shared = |role, dialect| {
        let epoch = kit.log.epoch().clone();
        let Place::At { mut cursor, .. } =
            kit.log
                .place(viewer(dialect, role), Some((&epoch, 1)), false)
        else {
            panic!();
        };
        let Taken::Turn { messages, .. } = cursor.take(&kit.log) else {
            panic!();
        };
        messages[0].pieces[0].as_str().as_ptr()
    };
    for dialect in [Dialect::V1, Dialect::Plain] {
        for role in [Role::Customer, Role::Manager] {
            assert_eq!(
                shared(role, dialect),
                shared(role, dialect),
                "{role:?} {dialect:?}"
            );
        }
        assert_eq!(
            shared(Role::Kitchen, dialect),
            shared(Role::Manager, dialect)
        );
    }
}

#[test]
fn filters_hold_for_events_and_snapshots_and_from_the_position_named() {
    let mut kit = Kit::new();
    let of_table =
        |table: &str| json!({"table_number":table,"items":[{"id":"i","station":"grill"}]});
    let _ = kit.judge(&fact("a", "ann", &of_table("4")));
    let _ = kit.judge(&fact("b", "ann", &of_table("5")));
    kit.commit();
    let scope = Scope::new("cook", Role::Kitchen);
    let four = filter(&json!({"events":["order:*"],"filters":{"table_number":"4"}}));
    let mut cursor = place(&kit, Viewer::new(Dialect::V1, scope, four), true);
    let snapshot = frames(&kit, &mut cursor);
    assert_eq!(
        snapshot[0]["payload"]["orders"].as_array().unwrap().len(),
        1
    );
    let _ = kit.judge(&status("b", OrderStatus::Ready));
    let _ = kit.judge(&status("a", OrderStatus::Ready));
    let _ = kit.judge(&fact("a", "ann", &of_table("5")));
    let _ = kit.judge(&status("a", OrderStatus::PickedUp));
    let _ = kit.judge(&publish("table:updated", "{}"));
    kit.commit();
    assert_eq!(
        kinds(&frames(&kit, &mut cursor)),
        [
            ("cursor", 3),
            ("order:status_changed", 4),
            ("order:updated", 5),
            ("cursor", 7)
        ],
        "the one that moves away is told, what it does there is not"
    );
    let (_, at) = cursor.filter(filter(&json!({"events":["table:updated"]})));
    assert_eq!(at, 7);
    let _ = kit.judge(&publish("table:updated", "{}"));
    let _ = kit.judge(&create());
    kit.commit();
    assert_eq!(
        kinds(&frames(&kit, &mut cursor)),
        [("table:updated", 8), ("cursor", 9)]
    );
}

#[test]
fn archived_orders_reach_their_owners_only_and_every_filter_for_orders() {
    let mut kit = Kit::new();
    for (id, owner) in [("a", "customer"), ("b", "ben"), ("c", "customer")] {
        let _ = kit.judge(&fact(id, owner, &json!({"table_number":"1"})));
        let _ = kit.judge(&publish(
            "order:status_changed",
            &json!({"order_id":id,"status":"completed"}).to_string(),
        ));
    }
    kit.commit();
    let mut own = place(&kit, viewer(Dialect::Plain, Role::Customer), false);
    let mut other = place(&kit, viewer(Dialect::V1, Role::Kiosk), false);
    let scope = Scope::new("cook", Role::Kitchen);
    let elsewhere = filter(&json!({"events":["order:*"],"filters":{"table_number":"9"}}));
    let mut cook = place(
        &kit,
        Viewer::new(Dialect::V1, scope.clone(), elsewhere),
        false,
    );
    let menus = filter(&json!({"events":["menu:*"]}));
    let mut menu = place(&kit, Viewer::new(Dialect::V1, scope, menus), false);
    assert!(kit.log.tick(at(limits::KEEP_FINAL_MS + 1_000)));
    kit.commit();
    let shown = frames(&kit, &mut own);
    assert_eq!(
        shown[0]["payload"],
        json!({"order_ids":["a","c"],"orderIds":["a","c"]})
    );
    assert!(frames(&kit, &mut other).is_empty());
    assert!(frames(&kit, &mut menu).is_empty());
    assert_eq!(
        frames(&kit, &mut cook)[0]["payload"],
        json!({"order_ids":["a","b","c"]})
    );
}

#[test]
fn a_renewed_scope_is_followed_by_a_snapshot_of_what_is_left() {
    let mut kit = Kit::new();
    let _ = kit.judge(&fact("a", "customer", &json!({})));
    let _ = kit.judge(&fact("b", "ben", &json!({})));
    kit.commit();
    let mut cursor = place(&kit, viewer(Dialect::V1, Role::Manager), false);
    let _ = kit.judge(&publish("menu:updated", "{}"));
    kit.fill(2);
    cursor.rescope(&kit.log, Scope::new("customer", Role::Customer));
    let shown = frames(&kit, &mut cursor);
    assert_eq!(
        kinds(&shown)
            .iter()
            .map(|(kind, _)| *kind)
            .collect::<Vec<_>>(),
        ["menu:updated", "cursor", "sync_complete"],
        "what it missed under the new scope first"
    );
    let orders = shown[2]["payload"]["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0]["id"], "a");
}

#[test]
fn partial_snapshots_are_shared_while_anybody_is_sent_one() {
    let mut kit = Kit::new();
    let _ = kit.judge(&fact("a", "ann", &json!({"table_number":"4"})));
    kit.commit();
    let four = || {
        let scope = Scope::new("cook", Role::Kitchen);
        Viewer::new(
            Dialect::V1,
            scope,
            filter(&json!({"filters":{"table_number":"4"}})),
        )
    };
    let first = kit.log.snapshot(&four());
    assert!(Arc::ptr_eq(&first, &kit.log.snapshot(&four())));
    kit.fill(1);
    assert!(
        !Arc::ptr_eq(&first, &kit.log.snapshot(&four())),
        "the head moved"
    );
}

#[test]
fn a_connection_that_sees_nothing_of_a_long_log_lets_the_others_have_their_turn() {
    let mut kit = Kit::new();
    let epoch = kit.log.epoch().clone();
    kit.fill(3_000);
    let Place::At { mut cursor, .. } = kit.log.place(
        viewer(Dialect::V1, Role::Customer),
        Some((&epoch, 0)),
        false,
    ) else {
        panic!();
    };
    let mut turns = 0;
    loop {
        match cursor.take(&kit.log) {
            Taken::Turn {
                messages, events, ..
            } => assert!(messages.is_empty() && events == 0),
            Taken::Read { after } => cursor.supply(&epoch, kit.disk.read(after, 500)),
            Taken::Idle => break,
            Taken::TooSlow => panic!(),
        }
        turns += 1;
        assert!(turns < 100);
    }
    assert!(turns >= 2);
    let told: Value = serde_json::from_str(&cursor.account(&kit.log).unwrap()).unwrap();
    assert_eq!((&told["from"], &told["seq"]), (&json!(0), &json!(3_000)));
}

proptest! {
    /// Whatever is skipped and whatever is asked in between: numbers rise, and every jump is explained.
    #[test]
    fn every_jump_is_explained(steps in prop::collection::vec((0u8..6, 1usize..90), 1..40)) {
        let mut kit = Kit::new();
        let mut cursor = place(&kit, viewer(Dialect::V1, Role::Customer), false);
        let mut position = 0u64;
        let follow = |position: &mut u64, frame: &Value| {
            let seq = frame["seq"].as_u64().unwrap();
            if frame["type"] == "cursor" {
                assert_eq!(frame["from"].as_u64(), Some(*position));
                assert!(seq > *position);
            } else {
                assert_eq!(seq, *position + 1, "a gap that nothing explains");
            }
            *position = seq;
        };
        for (step, n) in steps {
            match step {
                0 | 1 => kit.fill(n),
                2 => {
                    let _ = kit.judge(&publish("menu:updated", "{}"));
                    kit.commit();
                }
                3 => {
                    let _ = kit.judge_in(&Scope::new("customer", Role::Customer), None, &http::create(
                        r#"{"type":"x","items":[{"menu_item_id":"m","name":"n","quantity":1,"price":1}]}"#,
                    ).unwrap().0);
                    kit.commit();
                }
                4 => for frame in frames(&kit, &mut cursor) { follow(&mut position, &frame) },
                _ => if let Some(frame) = cursor.account(&kit.log) {
                    follow(&mut position, &serde_json::from_str(&frame).unwrap());
                },
            }
        }
        for frame in frames(&kit, &mut cursor) { follow(&mut position, &frame) }
        if let Some(frame) = cursor.account(&kit.log) {
            follow(&mut position, &serde_json::from_str(&frame).unwrap());
        }
        prop_assert_eq!(position, kit.log.head());
    }
}
