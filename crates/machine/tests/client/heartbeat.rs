//! Whether the other side still lives: pings, time in which the page could run, the probe after waking, freshness.

use crate::support::{Driver, Success, with_token};
use tautline_machine::client::{AttemptId, Config, ConnectionState, Head, Notice, PageEvent};

#[test]
fn the_server_lowers_the_heartbeat() {
    for (own, theirs, expected) in [
        (30_000, Some(15_000), 15_000),
        (5_000, Some(15_000), 5_000),
        (30_000, None, 30_000),
    ] {
        let mut d = Driver::new(Config {
            heartbeat_interval_ms: own,
            stale_after_ms: Some(1_000_000),
            ..with_token()
        });
        d.connect();
        d.url();
        d.token("a");
        d.open();
        d.frame(Head::Connected {
            auth_required: true,
            heartbeat_ms: theirs,
            max_message: None,
        });
        d.frame(Success::default().head(false));
        let start = d.now;
        while d.sent_of("ping").is_empty() {
            let (at, _) = d.wait.expect("a timer");
            d.pass(at - d.now);
        }
        assert_eq!(d.now - start, expected);
    }
}

#[test]
fn a_ping_carries_the_clock_and_its_pong_tells_the_round_trip() {
    let mut d = Driver::live();
    d.pass(15_000);
    let ping = d.sent_of("ping").remove(0);
    let sent = d.now.as_ms();
    assert_eq!(ping["payload"]["timestamp"], sent);
    d.pass(42);
    d.frame(Head::Pong {
        timestamp: Some(sent),
        seq: Some(0),
        reconnect_spread_ms: None,
    });
    assert!(d.notices().contains(&Notice::Latency { rtt_ms: 42 }));
    assert_eq!(d.client.stats(d.now).rtt_ms, Some(42));
}

#[test]
fn a_pong_may_change_the_spread() {
    let mut longest = 0;
    for seed in 0..40 {
        let mut d = Driver::seeded(with_token(), seed);
        d.connect();
        d.come_up(&Success::default());
        d.frame(Head::Pong {
            timestamp: None,
            seq: Some(0),
            reconnect_spread_ms: Some(9_000),
        });
        d.pass(10_000);
        d.forget();
        d.close(1006);
        longest = d.delay().max(longest);
    }
    assert!((5_000..=9_000).contains(&longest));
}

#[test]
fn an_unanswered_ping_ends_the_connection() {
    let mut d = Driver::live();
    d.pass(15_000);
    d.pass(9_999);
    assert_eq!(d.client.state(), ConnectionState::Connected);
    d.pass(1);
    assert_eq!(d.closes(), [(d.attempt, 4100)]);
    assert_eq!(d.client.state(), ConnectionState::Reconnecting);
    assert!(d.delay() >= 100);
}

#[test]
fn any_frame_after_the_ping_shows_life() {
    let mut d = Driver::live();
    d.pass(15_000);
    d.pass(9_000);
    d.event(1);
    d.pass(5_000);
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn a_timer_that_fires_late_restarts_the_wait() {
    let mut d = Driver::live();
    d.pass(15_000);
    d.forget();
    d.freeze(60_000);
    d.pass(0);
    assert_eq!(d.client.state(), ConnectionState::Connected);
    assert!(!d.sent_of("ping").is_empty());
    d.pass(9_999);
    assert_eq!(d.client.state(), ConnectionState::Connected);
    d.pass(1);
    assert_eq!(d.closes(), [(d.attempt, 4100)]);
}

#[test]
fn throttled_timers_alone_never_end_a_connection() {
    let mut d = Driver::live();
    for _ in 0..30 {
        d.freeze(60_000);
        d.pass(0);
        assert_eq!(d.client.state(), ConnectionState::Connected);
        d.forget();
    }
}

#[test]
fn waking_probes_with_three_seconds_and_redials_at_once() {
    for sign in [
        PageEvent::Visible,
        PageEvent::Online,
        PageEvent::Resumed,
        PageEvent::Shown,
    ] {
        let mut d = Driver::live();
        d.freeze(60_000);
        d.page(sign);
        assert_eq!(d.sent_of("ping").len(), 1, "{sign:?}");
        d.pass(2_999);
        assert_eq!(d.dials(), 0);
        d.pass(1);
        assert_eq!(d.closes(), [(AttemptId(1), 4100)]);
        assert_eq!(d.dials(), 1, "at once, without jitter");
    }
}

#[test]
fn a_probe_that_is_answered_changes_nothing() {
    let mut d = Driver::live();
    d.page(PageEvent::Visible);
    d.pass(100);
    d.pong(Some(0));
    d.pass(14_000);
    assert_eq!(d.client.state(), ConnectionState::Connected);
    assert!(d.closes().is_empty());
}

#[test]
fn frames_from_before_the_sleep_do_not_answer_the_probe() {
    let mut d = Driver::live();
    d.freeze(60_000);
    d.page(PageEvent::Resumed);
    // What the browser had queued while the page was frozen.
    d.event(1);
    d.frame(Head::Pong {
        timestamp: Some(d.now.as_ms() - 55_000),
        seq: Some(1),
        reconnect_spread_ms: None,
    });
    d.forget();
    d.pass(3_000);
    assert_eq!(d.dials(), 1);
}

#[test]
fn a_slow_answer_behind_other_frames_is_waited_for() {
    let mut d = Driver::live();
    d.page(PageEvent::Visible);
    let sent = d.now.as_ms();
    for seq in 1..=4 {
        d.pass(2_000);
        d.event(seq);
    }
    d.frame(Head::Pong {
        timestamp: Some(sent),
        seq: Some(4),
        reconnect_spread_ms: None,
    });
    d.pass(5_000);
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn waking_twice_pings_once() {
    let mut d = Driver::live();
    d.page(PageEvent::Visible);
    d.page(PageEvent::Online);
    assert_eq!(d.sent_of("ping").len(), 1);
}

#[test]
fn freshness_is_what_was_confirmed() {
    let mut d = Driver::live();
    let f = d.client.freshness(d.now);
    assert_eq!((f.seq, f.age_ms, f.live), (Some(0), Some(0), true));
    d.pass(1_000);
    assert_eq!(d.client.freshness(d.now).age_ms, Some(1_000));
    d.pong(Some(2));
    assert_eq!(
        d.client.freshness(d.now).age_ms,
        Some(1_000),
        "the head is at 2, the page is not"
    );
    d.event(1);
    d.event(2);
    assert_eq!(d.client.freshness(d.now).age_ms, Some(0));
    assert_eq!(d.client.freshness(d.now).seq, Some(2));
}

#[test]
fn stale_after_two_heartbeats_and_fresh_again() {
    let mut d = Driver::live_with(
        Config {
            pong_timeout_ms: 100_000,
            ..with_token()
        },
        &Success::default(),
    );
    d.pass(29_999);
    assert!(!d.client.stats(d.now).stale);
    d.pass(1);
    assert!(d.notices().contains(&Notice::Stale));
    assert!(!d.client.freshness(d.now).live);
    d.pong(Some(0));
    assert!(d.notices().contains(&Notice::Fresh));
    assert!(!d.client.stats(d.now).stale);
}

#[test]
fn stale_is_told_once_and_outlasts_the_connection() {
    let mut d = Driver::live();
    d.close(1006);
    d.forget();
    let mut stale = 0;
    for _ in 0..50 {
        d.pass(5_000);
        stale += d
            .notices()
            .iter()
            .filter(|&notice| *notice == Notice::Stale)
            .count();
    }
    assert_eq!(stale, 1);
}

#[test]
fn a_new_connection_is_fresh_only_once_its_position_is_confirmed() {
    let mut d = Driver::live_with_set(3);
    d.close(1006);
    while !d.client.stats(d.now).stale {
        let (at, _) = d.wait.expect("a timer");
        d.pass(at - d.now);
        d.page(PageEvent::Hidden);
    }
    while d.dials() == 0 {
        let (at, _) = d.wait.expect("a timer");
        d.pass(at - d.now);
    }
    d.come_up(&Success::resumed(5));
    assert!(!d.notices().contains(&Notice::Fresh), "4 and 5 are missing");
    assert!(!d.client.freshness(d.now).live);
    d.event(4);
    assert!(d.notices().contains(&Notice::Fresh));
}

#[test]
fn a_connection_that_never_confirms_goes_stale() {
    let mut d = Driver::new(with_token());
    d.input(tautline_machine::client::Input::WantOrders(true));
    d.connect();
    d.come_up(&Success::at(9));
    assert_eq!(d.client.freshness(d.now).age_ms, None);
    d.forget();
    for _ in 0..10 {
        d.pass(5_000);
        d.pong(Some(9));
    }
    assert!(d.notices().contains(&Notice::Stale));
}
