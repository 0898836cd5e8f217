//! A connection's position in the log: turns, shared bytes, resumes by the count, snapshots, falling off
//! (`docs/protocol.md` §1, Turns, Sync).
#![cfg(feature = "relay")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod relay_kit;

use relay_kit::{Kit, at, create_with, publish, status, viewer};
use serde_json::Value;
use std::sync::Arc;
use tautline_machine::relay::{Cursor, HistoryLost, Message, Piece, Place, Taken, Viewer};
use tautline_protocol::{Dialect, Epoch, OrderStatus, Role, Seq, limits};

fn place(kit: &Kit, dialect: Dialect, resume: Option<(&Epoch, Seq)>, sync: bool) -> Cursor {
    match kit.log.place(viewer(dialect, Role::Manager), resume, sync) {
        Place::At { cursor, .. } => cursor,
        Place::HistoryLost => panic!("history lost"),
    }
}

/// The messages of one turn.
fn turn(cursor: &mut Cursor, kit: &Kit) -> Vec<Message> {
    match cursor.take(&kit.log) {
        Taken::Turn { messages, .. } => messages,
        other => panic!("{other:?}"),
    }
}

/// Everything up to the head, reading from the store where asked to: the frames as values, one list a message.
fn all(cursor: &mut Cursor, kit: &Kit) -> Vec<Vec<Value>> {
    let mut out = Vec::new();
    for _ in 0..10_000 {
        match cursor.take(&kit.log) {
            Taken::Idle => return out,
            Taken::Read { after } => cursor.supply(kit.log.epoch(), kit.disk.read(after, 100)),
            Taken::TooSlow => panic!("fell off"),
            Taken::Turn { messages, .. } => out.extend(messages.iter().map(|message| {
                assert_eq!(message.len, message.text().len());
                match serde_json::from_str(&message.text()).unwrap() {
                    Value::Array(frames) => frames,
                    frame => vec![frame],
                }
            })),
        }
    }
    panic!("never idle");
}

fn seqs(messages: &[Vec<Value>]) -> Vec<Seq> {
    messages
        .iter()
        .flatten()
        .filter_map(|frame| frame["seq"].as_u64())
        .collect()
}

#[test]
fn a_resume_of_k_missed_events_transfers_those_k_and_no_snapshot() {
    let mut kit = Kit::new();
    kit.fill(300);
    let epoch = kit.log.epoch().clone();
    for missed in [0, 1, 2, 64, 65, 300] {
        let mut cursor = place(&kit, Dialect::V1, Some((&epoch, 300 - missed)), true);
        let messages = all(&mut cursor, &kit);
        assert_eq!(
            seqs(&messages),
            (300 - missed + 1..=300).collect::<Vec<_>>()
        );
        assert_eq!(
            messages.iter().flatten().count() as u64,
            missed,
            "and nothing else"
        );
        assert_eq!(
            messages.len() as u64,
            missed.div_ceil(limits::TURN_EVENTS as u64)
        );
    }
}

#[test]
fn a_turn_is_bounded_in_events_and_bytes_and_never_empty() {
    let mut kit = Kit::new();
    kit.fill(100);
    let epoch = kit.log.epoch().clone();
    let mut cursor = place(&kit, Dialect::V1, Some((&epoch, 0)), false);
    assert_eq!(turn(&mut cursor, &kit).len(), 1, "one array in v1");
    assert_eq!(cursor.at(), 64);
    let mut cursor = place(&kit, Dialect::Plain, None, false);
    kit.fill(100);
    assert_eq!(turn(&mut cursor, &kit).len(), 64, "a frame each in plain");

    let mut kit = Kit::new();
    for _ in 0..5 {
        let _ = kit.done(&publish(
            "kds:update",
            &format!("\"{}\"", "x".repeat(50_000)),
        ));
    }
    let mut cursor = place(&kit, Dialect::V1, Some((&epoch, 0)), false);
    let lengths: Vec<_> = (0..3).map(|_| turn(&mut cursor, &kit)[0].len).collect();
    assert!(
        lengths.iter().all(|&len| len <= limits::TURN_BYTES),
        "{lengths:?}"
    );
    assert_eq!(cursor.at(), 5);
}

#[test]
fn connections_of_a_dialect_share_the_bytes_of_an_event() {
    let mut kit = Kit::new();
    let order = kit.order();
    let _ = kit.done(&status(&order, OrderStatus::Ready));
    let epoch = kit.log.epoch().clone();
    let shared = |dialect| {
        let mut cursor = place(&kit, dialect, None, false);
        let _ = cursor.sync(&kit.log, None, Some((&epoch, 1)));
        let message = turn(&mut cursor, &kit).remove(0);
        match &message.pieces[..] {
            [Piece::Shared(bytes)] => Arc::clone(bytes),
            other => panic!("{other:?}"),
        }
    };
    assert!(Arc::ptr_eq(&shared(Dialect::V1), &shared(Dialect::V1)));
    assert!(
        Arc::ptr_eq(&shared(Dialect::Plain), &shared(Dialect::Plain)),
        "the twin is made once"
    );
    assert!(shared(Dialect::Plain).contains("orderId") && !shared(Dialect::V1).contains("orderId"));
}

#[test]
fn connections_that_need_the_same_snapshot_share_it() {
    let mut kit = Kit::new();
    kit.order();
    let body = || {
        let mut cursor = place(&kit, Dialect::V1, None, true);
        match &turn(&mut cursor, &kit).remove(0).pieces[..] {
            [Piece::Own(_), Piece::Shared(orders), Piece::Static(_)] => Arc::clone(orders),
            other => panic!("{other:?}"),
        }
    };
    assert!(Arc::ptr_eq(&body(), &body()));
    let before = kit.log.snapshot(&Viewer::everything(Dialect::V1));
    kit.order();
    assert_ne!(
        before.seq,
        kit.log.snapshot(&Viewer::everything(Dialect::V1)).seq
    );
}

#[test]
fn a_snapshot_comes_in_bounded_parts_with_no_event_between_and_goes_on_after_it() {
    let mut kit = Kit::new();
    for n in 0..200 {
        let _ = kit.judge(&create_with(&format!("{n} {}", "y".repeat(1_900))));
    }
    kit.commit();
    let mut cursor = place(&kit, Dialect::V1, None, true);
    let mut frames = Vec::new();
    loop {
        // The log moves all the while.
        let _ = kit.done(&publish("kds:update", "1"));
        let Taken::Turn {
            messages,
            synced,
            events,
        } = cursor.take(&kit.log)
        else {
            panic!()
        };
        assert_eq!((messages.len(), events), (1, 0));
        assert!(messages[0].len <= limits::SNAPSHOT_PART_BYTES);
        frames.push(serde_json::from_str::<Value>(&messages[0].text()).unwrap());
        if synced {
            break;
        }
    }
    assert!(frames.len() > 2);
    let orders: usize = frames
        .iter()
        .map(|frame| frame["payload"]["orders"].as_array().unwrap().len())
        .sum();
    assert_eq!(orders, 200);
    for (n, frame) in frames.iter().enumerate() {
        let payload = &frame["payload"];
        assert_eq!(
            (payload["part"].as_u64(), payload["parts"].as_u64()),
            (Some(n as u64 + 1), Some(frames.len() as u64))
        );
        assert_eq!(
            (payload["seq"].as_u64(), &payload["sync_id"]),
            (Some(200), &frames[0]["payload"]["sync_id"])
        );
    }
    assert_eq!(seqs(&all(&mut cursor, &kit)).first(), Some(&201));
}

#[test]
fn an_empty_set_is_one_empty_part() {
    let kit = Kit::new();
    let frames = all(&mut place(&kit, Dialect::V1, None, true), &kit);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0][0]["payload"]["orders"], serde_json::json!([]));
}

#[test]
fn a_sync_from_a_position_sends_what_was_missed_and_then_says_so() {
    let mut kit = Kit::new();
    kit.fill(100);
    let epoch = kit.log.epoch().clone();
    let mut cursor = place(&kit, Dialect::V1, None, false);
    assert_eq!(
        cursor.sync(&kit.log, Some("s".into()), Some((&epoch, 30))),
        Ok(())
    );
    kit.fill(5);
    let frames: Vec<_> = all(&mut cursor, &kit).into_iter().flatten().collect();
    let complete = frames
        .iter()
        .position(|frame| frame["type"] == "sync_complete")
        .unwrap();
    assert_eq!(
        (complete, frames.len()),
        (70, 76),
        "31 to 100, then the word, then what came since"
    );
    assert_eq!(
        frames[70]["payload"],
        serde_json::json!({"status":"resumed","epoch":"e1","seq":100})
    );
    assert_eq!(
        cursor.sync(&kit.log, None, Some((&epoch, 900))),
        Err(HistoryLost)
    );
}

#[test]
fn a_full_sync_brings_the_events_before_its_snapshot_first() {
    let mut kit = Kit::new();
    kit.order();
    let mut cursor = place(&kit, Dialect::Plain, None, false);
    let _ = kit.done(&publish("notification", "\"hello\""));
    assert_eq!(cursor.sync(&kit.log, Some("s".into()), None), Ok(()));
    let _ = kit.done(&publish("notification", "\"later\""));
    let frames: Vec<_> = all(&mut cursor, &kit).into_iter().flatten().collect();
    let kinds: Vec<_> = frames
        .iter()
        .map(|frame| frame["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["notification", "sync_complete", "notification"],
        "none of them is lost to a listener"
    );
    assert_eq!(frames[1]["payload"]["sync_id"], "s");
}

#[test]
fn a_cursor_behind_memory_reads_from_the_store_and_none_falls_between() {
    let mut kit = Kit::new();
    kit.fill(500);
    kit.log = kit.disk.load(500, 7, at(kit.ms));
    let epoch = kit.log.epoch().clone();
    let mut cursor = place(&kit, Dialect::V1, Some((&epoch, 3)), false);
    assert!(matches!(cursor.take(&kit.log), Taken::Read { after: 3 }));
    cursor.supply(&Epoch::new("other"), kit.disk.read(3, 5));
    assert!(
        matches!(cursor.take(&kit.log), Taken::Read { after: 3 }),
        "of another history: not taken"
    );
    cursor.supply(&epoch, kit.disk.read(200, 5));
    assert!(
        matches!(cursor.take(&kit.log), Taken::Read { after: 3 }),
        "of another place: not taken"
    );
    assert_eq!(seqs(&all(&mut cursor, &kit)), (4..=500).collect::<Vec<_>>());
}

#[test]
fn a_cursor_that_falls_off_the_tail_is_too_slow() {
    let mut kit = Kit::new();
    let mut cursor = place(&kit, Dialect::V1, None, false);
    kit.fill(limits::TAIL_EVENTS + 1);
    assert!(matches!(cursor.take(&kit.log), Taken::TooSlow));
    let mut kit = Kit::new();
    kit.fill(20);
    kit.log = kit.disk.load(20, 4, at(0));
    let epoch = kit.log.epoch().clone();
    let mut cursor = place(&kit, Dialect::V1, Some((&epoch, 1)), false);
    assert!(matches!(cursor.take(&kit.log), Taken::Read { .. }));
    cursor.supply(&epoch, Vec::new().into());
    assert!(
        matches!(cursor.take(&kit.log), Taken::TooSlow),
        "the store has them no more"
    );
}

#[test]
fn a_snapshot_that_falls_off_is_begun_anew_three_times_and_then_given_up() {
    let mut kit = Kit::new();
    for _ in 0..200 {
        let _ = kit.judge(&create_with(&"y".repeat(1_900)));
    }
    kit.commit();
    let mut cursor = place(&kit, Dialect::V1, None, true);
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..=limits::SNAPSHOTS_IN_A_ROW {
        let mut next =
            || -> Value { serde_json::from_str(&turn(&mut cursor, &kit)[0].text()).unwrap() };
        if let Some(before) = ids.last() {
            let aborted = next();
            assert_eq!(aborted["type"], "sync_aborted");
            assert_eq!(aborted["sync_id"], before.as_str());
        }
        let frame = next();
        assert_eq!(frame["payload"]["part"], 1);
        ids.push(frame["payload"]["sync_id"].as_str().unwrap().to_owned());
        kit.fill(limits::TAIL_EVENTS + 1);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(
        ids.len() as u32,
        limits::SNAPSHOTS_IN_A_ROW + 1,
        "parts of two snapshots are never under one id"
    );
    assert!(matches!(cursor.take(&kit.log), Taken::TooSlow));
}

#[test]
fn a_reset_log_tells_its_connections_and_gives_them_a_snapshot() {
    let mut kit = Kit::new();
    for _ in 0..200 {
        let _ = kit.judge(&create_with(&"y".repeat(1_900)));
    }
    kit.commit();
    let (mut idle, mut busy, mut plain) = (
        place(&kit, Dialect::V1, None, false),
        place(&kit, Dialect::V1, None, true),
        place(&kit, Dialect::Plain, None, false),
    );
    let first: Value = serde_json::from_str(&turn(&mut busy, &kit)[0].text()).unwrap();
    kit.log.begin_epoch(Epoch::new("e2"));
    kit.commit();
    let kinds = |cursor: &mut Cursor| {
        let frames: Vec<_> = all(cursor, &kit).into_iter().flatten().collect();
        assert_eq!(frames.last().unwrap()["payload"]["epoch"], "e2");
        frames
            .iter()
            .map(|frame| frame["type"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&mut idle)[..2], ["reset", "sync_complete"]);
    let busy = kinds(&mut busy);
    assert_eq!(busy[..3], ["sync_aborted", "reset", "sync_complete"]);
    assert_eq!(first["payload"]["part"], 1);
    assert_eq!(
        kinds(&mut plain)[0],
        "sync_complete",
        "the plain dialect knows no reset"
    );
}
