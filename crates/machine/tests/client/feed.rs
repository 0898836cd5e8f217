//! The place in the log: duplicates, gaps, cursor frames, resume, snapshots in parts, resets, the plain dialect.

use crate::support::{Driver, Success, with_token};
use serde_json::json;
use tautline_machine::client::{Config, EpochRef, Head, Input, Notice, Timer};
use tautline_protocol::{Dialect, Epoch, ErrorCode, NackCode};

fn cursor(from: u64, to: u64) -> Head {
    Head::Cursor {
        epoch: EpochRef::Current,
        from,
        to,
    }
}

fn synced(seq: u64) -> Head {
    Head::SyncResumed {
        epoch: Epoch::new("e1"),
        seq,
    }
}

#[test]
fn events_are_delivered_once_and_in_order() {
    let mut d = Driver::live();
    for seq in [1, 2, 2, 1, 3] {
        d.event(seq);
    }
    assert_eq!(d.delivered(), [Some(1), Some(2), Some(3)]);
    let stats = d.client.stats(d.now);
    assert_eq!((stats.events, stats.duplicates), (3, 2));
    assert_eq!(stats.last_seq, Some(3));
}

#[test]
fn a_gap_asks_for_what_is_missing_once() {
    let mut d = Driver::live();
    d.event(1);
    d.forget();
    d.event(4);
    assert!(d.delivered().is_empty());
    let sync = d.sent_of("orders:sync");
    assert_eq!(sync.len(), 1);
    assert_eq!(sync[0]["payload"], json!({"epoch":"e1","seq":1}));
    assert_eq!(d.notices(), [Notice::Gap { from: 1, to: 4 }]);
    d.event(5);
    assert!(d.sent().is_empty() && d.notices().is_empty());
    for seq in 2..=5 {
        d.event(seq);
    }
    d.frame(synced(5));
    assert_eq!(
        d.delivered(),
        [Some(2), Some(3), Some(4), Some(5)],
        "all of them, once"
    );
    d.event(6);
    assert_eq!(d.delivered(), [Some(6)]);
    assert!(d.sent_of("orders:sync").is_empty());
    assert_eq!(d.client.stats(d.now).gaps, 1);
}

#[test]
fn a_sync_that_did_not_bring_all_is_followed_by_a_snapshot() {
    let mut d = Driver::live();
    d.event(3);
    d.forget();
    d.event(1);
    d.frame(synced(3));
    d.until(Timer::Sync);
    assert_eq!(
        d.sent_of("orders:sync")[0]["payload"],
        json!({"request_full_sync":true})
    );
}

#[test]
fn a_cursor_frame_explains_a_jump() {
    let mut d = Driver::live();
    d.event(1);
    d.frame(cursor(1, 4));
    d.event(5);
    assert_eq!(d.delivered(), [Some(1), Some(5)]);
    assert!(d.sent_of("orders:sync").is_empty());
    d.frame(cursor(3, 5));
    assert_eq!(d.client.position(), Some(5));
    d.frame(cursor(5, 9));
    assert_eq!(d.client.position(), Some(9));
    d.frame(cursor(11, 12));
    assert_eq!(d.client.position(), Some(9));
    assert_eq!(d.sent_of("orders:sync").len(), 1, "it begins after a gap");
}

#[test]
fn an_event_of_another_epoch_is_a_gap() {
    let mut d = Driver::live();
    d.event_of(1, EpochRef::Other(Epoch::new("e2")), None);
    assert!(d.delivered().is_empty());
    assert_eq!(d.sent_of("orders:sync").len(), 1);
}

#[test]
fn resume_goes_on_where_the_last_connection_ended() {
    let mut d = Driver::live_with_set(7);
    d.event(8);
    d.close(1006);
    d.until(Timer::Backoff);
    d.forget();
    d.dial_to_auth();
    let auth = d.sent_of("auth").remove(0);
    assert_eq!(auth["resume"], json!({"epoch":"e1","seq":8}));
    assert_eq!(auth["sync"], json!(true));
    d.frame(Success::resumed(10).head(false));
    assert!(d.notices().contains(&Notice::Resumed { from: 8, to: 10 }));
    assert!(d.sent_of("orders:sync").is_empty() && d.set_steps().is_empty());
    d.event(9);
    d.event(10);
    assert_eq!(d.delivered(), [Some(9), Some(10)]);
    assert_eq!(d.client.stats(d.now).resumes, 1);
}

#[test]
fn it_goes_on_where_another_connection_was() {
    let mut d = Driver::new(with_token());
    d.input(Input::ResumeFrom(Epoch::new("e1"), 8));
    d.connect();
    d.dial_to_auth();
    assert_eq!(
        d.sent_of("auth")[0]["resume"],
        json!({"epoch":"e1","seq":8})
    );
    d.frame(Success::resumed(10).head(false));
    d.input(Input::ResumeFrom(Epoch::new("e1"), 20));
    d.event(9);
    assert_eq!(d.delivered(), [Some(9)], "not while there is a connection");
}

#[test]
fn not_resumed_keeps_the_orders_marked_and_waits_for_the_snapshot() {
    for (epoch, head) in [("e1", 90), ("e2", 3)] {
        let mut d = Driver::live_with_set(7);
        d.close(1006);
        d.until(Timer::Backoff);
        d.forget();
        d.come_up(&Success {
            epoch,
            ..Success::at(head)
        });
        assert_eq!(d.set_steps(), ["S"]);
        assert!(d.notices().contains(&Notice::Gap { from: 7, to: head }));
        assert_eq!(d.client.position(), None);
        d.event(head + 1);
        assert!(
            d.delivered().is_empty(),
            "nothing can be said before the snapshot"
        );
        d.snapshot("relay.1", epoch, head);
        assert_eq!(d.set_steps(), ["C1", format!("I{head}").as_str()]);
        d.event(head + 1);
        assert_eq!(d.delivered(), [Some(head + 1)]);
        assert!(d.sent_of("orders:sync").is_empty(), "`auth` asked for it");
    }
}

#[test]
fn without_a_set_events_go_on_from_the_head() {
    let mut d = Driver::live();
    d.event(1);
    d.close(1006);
    d.until(Timer::Backoff);
    d.dial_to_auth();
    assert_eq!(d.sent_of("auth").last().expect("auth").get("sync"), None);
    d.forget();
    d.frame(
        Success {
            epoch: "e2",
            ..Success::at(5)
        }
        .head(false),
    );
    assert!(d.notices().contains(&Notice::Gap { from: 1, to: 5 }));
    assert!(d.set_steps().is_empty());
    d.event(6);
    assert_eq!(d.delivered(), [Some(6)]);
}

#[test]
fn an_order_set_wanted_later_is_asked_for() {
    let mut d = Driver::live();
    d.input(Input::WantOrders(true));
    let sync = d.sent_of("orders:sync").remove(0);
    assert_eq!(sync["payload"], json!({"request_full_sync":true}));
    let id = sync["id"].as_str().expect("an id").to_owned();
    d.snapshot(&id, "e1", 0);
    assert_eq!(d.set_steps(), ["C1", "I0"]);
    d.input(Input::WantOrders(true));
    assert!(d.sent().is_empty());
}

#[test]
fn an_order_set_wanted_after_auth_left_is_asked_for() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.dial_to_auth();
    d.input(Input::WantOrders(true));
    d.forget();
    d.frame(Success::at(3).head(false));
    assert_eq!(d.sent_of("orders:sync").len(), 1);
}

#[test]
fn a_snapshot_is_installed_when_all_its_parts_are_there() {
    let mut d = Driver::new(with_token());
    d.input(Input::WantOrders(true));
    d.connect();
    d.come_up(&Success::at(6));
    d.part("relay.1", "e1", 6, 1, 3);
    d.part("relay.1", "e1", 6, 2, 3);
    assert_eq!(d.set_steps(), ["C1", "C"]);
    assert_eq!(d.client.position(), None);
    d.part("relay.1", "e1", 6, 3, 3);
    assert_eq!(d.set_steps(), ["C", "I6"]);
    assert_eq!(d.client.position(), Some(6));
    assert_eq!(d.client.stats(d.now).snapshots, 1);
}

#[test]
fn broken_parts_are_discarded_and_asked_for_once_more() {
    let broken = [
        ("one is missing", ("a", "e1", 6, 3, 3)),
        ("one comes twice", ("a", "e1", 6, 2, 3)),
        ("of another snapshot", ("b", "e1", 6, 2, 3)),
        ("of another epoch", ("a", "e2", 6, 2, 3)),
        ("at another position", ("a", "e1", 7, 2, 3)),
        ("of another length", ("a", "e1", 6, 2, 4)),
        ("beyond the end", ("a", "e1", 6, 4, 3)),
    ];
    for (why, (id, epoch, at, part, parts)) in broken {
        let mut d = Driver::new(with_token());
        d.input(Input::WantOrders(true));
        d.connect();
        d.come_up(&Success::at(6));
        d.part("a", "e1", 6, 1, 3);
        if why == "one comes twice" {
            d.part("a", "e1", 6, 2, 3);
        }
        d.forget();
        d.part(id, epoch, at, part, parts);
        assert_eq!(d.set_steps(), ["D"], "{why}");
        d.part("a", "e1", 6, 3, 3);
        assert!(!d.set_steps().contains(&"I6".to_owned()), "{why}");
        d.pass(6_000);
        assert_eq!(d.sent_of("orders:sync").len(), 1, "{why}");
        d.snapshot("sync-1", "e1", 8);
        assert!(d.set_steps().contains(&"I8".to_owned()), "{why}");
    }
}

#[test]
fn a_snapshot_behind_the_position_is_not_installed() {
    let mut d = Driver::live_with_set(7);
    d.event(8);
    d.input(Input::RequestSync);
    d.forget();
    d.snapshot("sync-1", "e1", 7);
    assert_eq!(d.set_steps(), ["D"]);
    d.until(Timer::Sync);
    d.forget();
    d.part("sync-2", "e1", 8, 1, 2);
    d.event(9);
    d.part("sync-2", "e1", 8, 2, 2);
    assert_eq!(
        d.set_steps(),
        ["C1", "D"],
        "overtaken by an event between its parts"
    );
    assert_eq!(d.client.position(), Some(9));
}

#[test]
fn a_set_wanted_in_the_middle_of_a_snapshot_gets_a_whole_one() {
    let mut d = Driver::live_with_set(7);
    d.input(Input::RequestSync);
    d.input(Input::WantOrders(false));
    d.forget();
    d.part("sync-1", "e1", 7, 1, 2);
    d.input(Input::WantOrders(true));
    d.part("sync-1", "e1", 7, 2, 2);
    assert!(!d.set_steps().iter().any(|step| step.starts_with('I')));
    d.pass(6_000);
    assert_eq!(d.sent_of("orders:sync").len(), 1);
    d.snapshot("sync-2", "e1", 7);
    assert_eq!(d.set_steps(), ["C1", "I7"]);
}

#[test]
fn a_set_not_wanted_any_more_keeps_the_position() {
    let mut d = Driver::live_with_set(7);
    d.input(Input::WantOrders(false));
    d.event(8);
    assert_eq!(d.delivered(), [Some(8)]);
    d.snapshot("relay.9", "e1", 12);
    assert!(d.set_steps().is_empty());
    assert_eq!(d.client.position(), Some(12));
}

#[test]
fn a_reset_forgets_the_old_history() {
    let mut d = Driver::live_with_set(7);
    d.frame(Head::Reset {
        epoch: Epoch::new("e2"),
        seq: 2,
    });
    assert!(d.set_steps().contains(&"S".to_owned()));
    assert!(d.notices().contains(&Notice::Gap { from: 7, to: 2 }));
    d.event(3);
    assert!(d.delivered().is_empty());
    d.snapshot("relay.2", "e2", 2);
    assert_eq!(d.set_steps(), ["C1", "I2"]);
    d.event(3);
    assert_eq!(d.delivered(), [Some(3)]);
    assert_eq!(d.client.epoch(), Some(&Epoch::new("e2")));
    assert!(d.sent_of("orders:sync").is_empty(), "it comes unasked");
}

#[test]
fn a_reset_within_one_history_hands_nothing_over_twice() {
    let mut d = Driver::live();
    d.event(1);
    d.event(2);
    d.forget();
    d.frame(Head::Reset {
        epoch: Epoch::new("e1"),
        seq: 0,
    });
    assert_eq!(d.client.position(), Some(2));
    d.event(1);
    d.event(2);
    assert!(d.delivered().is_empty());
    assert_eq!(
        d.sent_of("orders:sync").len(),
        1,
        "asked what is the matter"
    );
}

#[test]
fn an_aborted_snapshot_is_followed_by_another() {
    let mut d = Driver::live_with_set(7);
    d.input(Input::RequestSync);
    d.part("sync-1", "e1", 7, 1, 2);
    d.forget();
    d.frame(Head::SyncAborted);
    assert_eq!(d.set_steps(), ["D"]);
    d.frame(Head::Reset {
        epoch: Epoch::new("e2"),
        seq: 0,
    });
    d.forget();
    d.snapshot("sync-1", "e2", 0);
    assert_eq!(d.set_steps(), ["C1", "I0"]);
}

#[test]
fn parts_that_stop_coming_are_asked_for_again_whatever_else_comes() {
    let mut d = Driver::new(with_token());
    d.input(Input::WantOrders(true));
    d.connect();
    d.come_up(&Success::at(6));
    d.part("relay.1", "e1", 6, 1, 3);
    d.pass(20_000);
    d.part("relay.1", "e1", 6, 2, 3);
    d.forget();
    let start = d.now;
    while d.sent_of("orders:sync").is_empty() {
        d.pass(1_000);
        d.pong(Some(6));
        assert!(d.now - start <= 31_000, "pongs are no parts");
    }
    assert!(d.now - start >= 30_000);
    assert_eq!(d.set_steps(), ["D"]);
}

#[test]
fn a_snapshot_promised_by_auth_is_asked_for_when_it_does_not_come() {
    let mut d = Driver::new(with_token());
    d.input(Input::WantOrders(true));
    d.connect();
    d.come_up(&Success::at(6));
    d.forget();
    for _ in 0..31 {
        d.pass(1_000);
        d.pong(Some(6));
    }
    assert_eq!(d.sent_of("orders:sync").len(), 1);
}

#[test]
fn syncs_keep_below_the_relays_rate() {
    let mut d = Driver::live_with_set(7);
    d.input(Input::RequestSync);
    assert_eq!(d.sent_of("orders:sync").len(), 0, "`auth` was the first");
    d.pass(5_249);
    assert_eq!(d.sent_of("orders:sync").len(), 0);
    d.pass(1);
    let id = d.sent_of("orders:sync")[0]["id"].clone();
    d.input(Input::RequestSync);
    d.snapshot(id.as_str().expect("an id"), "e1", 7);
    d.input(Input::RequestSync);
    d.pass(5_000);
    assert_eq!(d.sent_of("orders:sync").len(), 0);
    d.pass(250);
    assert_eq!(d.sent_of("orders:sync").len(), 1);
}

#[test]
fn a_refused_sync_is_asked_for_again_in_time() {
    let mut d = Driver::live();
    d.input(Input::WantOrders(true));
    let id = d.sent_of("orders:sync")[0]["id"].clone();
    let id = id.as_str().expect("an id");
    d.nack(id, NackCode::Overloaded, Some(2_000));
    assert!(d.errors().is_empty());
    assert_eq!(d.until(Timer::Sync), 2_000);
    let id = d.sent_of("orders:sync")[0]["id"].clone();
    d.nack(id.as_str().expect("an id"), NackCode::Forbidden, None);
    assert_eq!(d.errors()[0].code, ErrorCode::Protocol);
    d.pass(30_000);
    assert!(
        d.sent_of("orders:sync").is_empty(),
        "what will hardly pass is not hammered"
    );
}

#[test]
fn a_sync_refused_without_an_id_is_known_by_its_type() {
    let mut d = Driver::live_with(with_token(), &Success::plain());
    d.input(Input::WantOrders(true));
    assert_eq!(d.sent_of("orders:sync").len(), 1);
    d.frame(Head::Refused {
        code: NackCode::RateLimited,
        retry_after_ms: Some(3_000),
        ref_type: Some("orders:sync".to_owned()),
    });
    assert_eq!(d.until(Timer::Sync), 3_000);
    assert_eq!(d.sent_of("orders:sync").len(), 1);
    d.frame(Head::Refused {
        code: NackCode::Invalid,
        retry_after_ms: None,
        ref_type: Some("order:creat".to_owned()),
    });
    assert_eq!(d.errors().len(), 1);
    d.frame(Head::Refused {
        code: NackCode::RateLimited,
        retry_after_ms: None,
        ref_type: Some("ping".to_owned()),
    });
    assert!(d.errors().is_empty());
}

#[test]
fn a_plain_server_is_synced_after_each_connect() {
    let mut d = Driver::new(with_token());
    d.input(Input::WantOrders(true));
    d.connect();
    for has_orders in [true, false] {
        d.come_up(&Success::plain());
        assert_eq!(d.client.dialect(), Some(Dialect::Plain));
        assert_eq!(
            d.sent_of("orders:sync"),
            [json!({"type":"orders:sync","payload":{"request_full_sync":true}})]
        );
        d.frame(Head::PlainSync { has_orders });
        let steps = d.set_steps();
        assert_eq!(steps.join(" "), if has_orders { "C1 I" } else { "" });
        d.close(1006);
        d.until(Timer::Backoff);
        d.forget();
    }
}

#[test]
fn a_plain_server_has_no_positions() {
    let mut d = Driver::live_with(with_token(), &Success::plain());
    for seq in [Some(5), Some(3), None] {
        d.frame(Head::Event {
            seq,
            epoch: EpochRef::None,
            command_id: None,
        });
    }
    assert_eq!(d.delivered(), [None, None, None]);
    assert!(d.sent().is_empty());
    assert_eq!(d.client.position(), None);
}

#[test]
fn a_position_is_not_resumed_across_a_plain_connection() {
    let mut d = Driver::live();
    d.event(1);
    d.close(1006);
    d.until(Timer::Backoff);
    d.come_up(&Success::plain());
    d.frame(Head::Event {
        seq: Some(2),
        epoch: EpochRef::None,
        command_id: None,
    });
    d.close(1006);
    d.until(Timer::Backoff);
    d.forget();
    d.dial_to_auth();
    assert_eq!(
        d.sent_of("auth")[0].get("resume"),
        None,
        "2 was delivered already"
    );
}

#[test]
fn a_filter_travels_in_auth_and_by_subscribe() {
    let filter = r#"{"events":["order:*"]}"#;
    let mut d = Driver::live();
    d.input(Input::SetFilter(Some(filter.to_owned())));
    assert_eq!(
        d.sent_of("subscribe")[0]["payload"],
        json!({"events":["order:*"]})
    );
    d.input(Input::SetFilter(Some(filter.to_owned())));
    assert!(d.sent().is_empty());
    d.close(1006);
    d.until(Timer::Backoff);
    d.forget();
    d.dial_to_auth();
    assert_eq!(
        d.sent_of("auth")[0]["subscribe"],
        json!({"events":["order:*"]})
    );
    d.frame(Success::resumed(0).head(false));
    assert!(d.sent_of("subscribe").is_empty());
    d.input(Input::SetFilter(None));
    assert_eq!(d.sent_of("unsubscribe").len(), 1);
}

#[test]
fn a_filter_changed_after_auth_left_is_sent_behind_it() {
    let mut d = Driver::new(with_token());
    d.input(Input::WantOrders(true));
    d.connect();
    d.dial_to_auth();
    d.input(Input::SetFilter(Some(r#"{"events":["a"]}"#.to_owned())));
    assert!(d.sent_of("subscribe").is_empty());
    d.frame(Success::at(4).head(false));
    assert_eq!(d.sent_of("subscribe").len(), 1);
    d.snapshot("relay.1", "e1", 4);
    d.pass(6_000);
    assert_eq!(
        d.sent_of("orders:sync").len(),
        1,
        "the first snapshot was of the old filter"
    );
}

#[test]
fn a_changed_filter_gets_its_own_snapshot() {
    let change = |d: &mut Driver| {
        d.input(Input::SetFilter(Some(r#"{"events":["a"]}"#.to_owned())));
    };
    // While another is under way.
    let mut d = Driver::live_with_set(7);
    d.pass(6_000);
    d.input(Input::RequestSync);
    d.part("sync-1", "e1", 7, 1, 2);
    d.forget();
    change(&mut d);
    d.part("sync-1", "e1", 7, 2, 2);
    d.pass(6_000);
    assert_eq!(d.sent_of("orders:sync").len(), 1);
    d.snapshot("sync-2", "e1", 7);
    d.pass(20_000);
    assert!(d.sent_of("orders:sync").is_empty());

    // While a gap is filled.
    let mut d = Driver::live_with_set(7);
    d.pass(6_000);
    d.event(9);
    d.forget();
    change(&mut d);
    d.event(8);
    d.event(9);
    d.frame(synced(9));
    d.pass(6_000);
    assert_eq!(
        d.sent_of("orders:sync")[0]["payload"],
        json!({"request_full_sync":true})
    );

    // While there is no connection, and the next one resumes.
    let mut d = Driver::live_with_set(7);
    d.close(1006);
    change(&mut d);
    d.until(Timer::Backoff);
    d.forget();
    d.come_up(&Success::resumed(7));
    assert_eq!(d.sent_of("orders:sync").len(), 1);
}

#[test]
fn the_server_may_send_a_snapshot_unasked() {
    let mut d = Driver::live_with_set(7);
    d.part("relay.7", "e1", 9, 1, 2);
    d.part("relay.7", "e1", 9, 2, 2);
    assert_eq!(d.set_steps(), ["C1", "C", "I9"]);
    d.event(10);
    assert_eq!(d.delivered(), [Some(10)]);
}

#[test]
fn a_new_connection_drops_the_parts_of_the_old() {
    let mut d = Driver::new(Config { ..with_token() });
    d.input(Input::WantOrders(true));
    d.connect();
    d.come_up(&Success::at(6));
    d.part("relay.1", "e1", 6, 1, 2);
    d.forget();
    d.close(1006);
    assert_eq!(d.set_steps(), ["D"]);
    d.until(Timer::Backoff);
    d.come_up(&Success::at(6));
    d.forget();
    d.part("relay.1", "e1", 6, 2, 2);
    assert_eq!(d.set_steps(), ["D"]);
}
