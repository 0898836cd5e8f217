//! What the end of a connection means: close codes, backoff, attempts used up, waking.

use crate::support::{Driver, Success, closed, with_token};
use tautline_machine::client::{
    Closed, Config, ConnectionState, Input, Notice, PageEvent, Timer, TokenReason,
};
use tautline_protocol::ErrorCode;

/// Connected for long enough that the next failure is the first.
fn settled() -> Driver {
    let mut d = Driver::live();
    d.pass(10_000);
    d.forget();
    d
}

fn seeded(seed: u64) -> Driver {
    let mut d = Driver::seeded(with_token(), seed);
    d.connect();
    d.come_up(&Success::default());
    d.pass(10_000);
    d.forget();
    d
}

#[test]
fn any_close_we_did_not_ask_for_reconnects() {
    for code in [1000, 1001, 1005, 1006, 1011, 4009, 3000, 4999] {
        let mut d = settled();
        d.close(code);
        assert!(
            d.notices().contains(&Notice::Disconnected {
                closed: closed(code, ""),
                will_reconnect: true
            }),
            "{code}"
        );
        assert_eq!(d.client.state(), ConnectionState::Reconnecting);
        let took = d.until(Timer::Backoff);
        assert!((100..=2_000).contains(&took), "{code}: {took}");
        assert_eq!(d.dials(), 1);
    }
}

#[test]
fn an_abnormal_close_returns_within_the_relays_spread() {
    for seed in 0..50 {
        let mut d = seeded(seed);
        d.close(1006);
        assert!((100..=500).contains(&d.delay()));
    }
}

#[test]
fn waits_are_drawn_over_the_whole_step() {
    let delays: Vec<u64> = (0..200)
        .map(|seed| {
            let mut d = seeded(seed);
            d.close(1011);
            d.delay()
        })
        .collect();
    assert!(delays.iter().all(|ms| (100..=2_000).contains(ms)));
    let low = delays.iter().filter(|&&ms| ms < 700).count();
    let high = delays.iter().filter(|&&ms| ms > 1_400).count();
    assert!(low > 30 && high > 30, "{low} low, {high} high of 200");
}

#[test]
fn steps_double_up_to_the_cap() {
    let mut longest = [0u64; 8];
    for seed in 0..100 {
        let mut d = seeded(seed);
        d.close(1011);
        for slot in &mut longest {
            let delay = d.delay();
            *slot = (*slot).max(delay);
            d.pass(delay);
            d.url();
            d.token("x");
            d.close(1006);
        }
    }
    for (i, (&longest, bound)) in longest
        .iter()
        .zip([2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000])
        .enumerate()
    {
        assert!(
            longest <= bound && longest > bound * 9 / 10,
            "step {i}: {longest}"
        );
    }
}

#[test]
fn the_step_counter_holds_until_ten_seconds_authenticated() {
    let mut longest = (0, 0);
    for seed in 0..60 {
        for (hold, longest) in [(9_999, &mut longest.0), (10_000, &mut longest.1)] {
            let mut d = seeded(seed);
            for _ in 0..4 {
                d.close(1011);
                d.until(Timer::Backoff);
                d.forget();
            }
            d.come_up(&Success::resumed(0));
            d.pass(hold);
            d.forget();
            d.close(1011);
            *longest = d.delay().max(*longest);
        }
    }
    assert!(longest.0 > 10_000 && longest.1 <= 2_000, "{longest:?}");
}

#[test]
fn codes_with_a_least_wait_keep_it_and_spread_it() {
    for (code, least, most) in [
        (1013, 5_000, 6_250),
        (4029, 10_000, 12_500),
        (4008, 2_000, 2_500),
        (1008, 30_000, 37_500),
    ] {
        let delays: Vec<u64> = (0..40)
            .map(|seed| {
                let mut d = seeded(seed);
                d.close(code);
                d.delay()
            })
            .collect();
        assert!(
            delays.iter().all(|ms| (least..=most).contains(ms)),
            "{code}: {delays:?}"
        );
        assert!(delays.iter().max() > delays.iter().min(), "{code}");
    }
}

#[test]
fn a_slow_consumer_waits_twice_as_long_each_time() {
    let mut d = settled();
    let mut least = 2_000;
    for _ in 0..5 {
        d.close(4008);
        assert!(d.delay() >= least, "{least}");
        least *= 2;
        d.until(Timer::Backoff);
        d.come_up(&Success::default());
        d.pass(5_000);
        d.forget();
    }
    d.pass(10_000);
    d.forget();
    d.close(4008);
    assert!(d.delay() <= 2_500);
}

#[test]
fn a_restart_names_its_window() {
    for seed in 0..40 {
        let mut d = seeded(seed);
        d.close_saying(1012, "restart; reconnect_after_ms=4000");
        assert!((4_000..=5_000).contains(&d.delay()));
    }
    let mut d = settled();
    d.close(1012);
    assert!((100..=500).contains(&d.delay()));
}

#[test]
fn a_connection_that_is_handed_over_goes_on_at_once_with_the_same_token() {
    let config = Config {
        max_reconnect_attempts: Some(0),
        addresses: 2,
        ..with_token()
    };
    let mut d = Driver::live_with(config, &Success::default());
    let handed = closed(4104, "");
    for _ in 0..20 {
        d.forget();
        d.input(Input::Closed(d.attempt, handed.clone()));
        assert!(d.notices().contains(&Notice::Disconnected {
            closed: handed.clone(),
            will_reconnect: true
        }));
        assert_eq!(d.addresses(), [0], "no address has failed");
        d.url();
        assert_eq!(d.asked_token(), None);
        d.open();
        // And once more before it has come up.
        d.input(Input::Closed(d.attempt, handed.clone()));
        assert_eq!(d.addresses().last(), Some(&0));
        d.url();
        assert_eq!(d.asked_token(), None);
        d.open();
        d.greet(true);
        let auth = d.sent_of("auth").remove(0);
        assert_eq!(auth["token"], "t1");
        d.frame(Success::resumed(0).head(false));
        assert_eq!(d.client.state(), ConnectionState::Connected);
    }
}

#[test]
fn a_server_that_says_it_is_handed_over_is_backed_off_from() {
    let mut d = settled();
    d.input(Input::Closed(
        d.attempt,
        Closed {
            was_clean: true,
            ..closed(4104, "")
        },
    ));
    assert_eq!((d.dials(), d.delay() >= 100), (0, true));
}

#[test]
fn protocol_codes_are_reported_and_tried_again() {
    for code in [1002, 1003, 1007, 1009, 1010] {
        let mut d = settled();
        d.close(code);
        let error = d.errors().remove(0);
        assert_eq!(error.code, ErrorCode::Protocol);
        assert_eq!(error.close, Some(closed(code, "")));
        assert!(d.delay() <= 2_000);
    }
}

#[test]
fn a_policy_close_without_auth_failed_is_somebody_elses() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.dial_to_auth();
    d.forget();
    d.close(1008);
    assert_eq!(d.errors()[0].code, ErrorCode::Protocol);
    assert_eq!(d.client.state(), ConnectionState::Reconnecting);
    assert!(d.until(Timer::Backoff) >= 30_000);
    d.come_up(&Success::default());
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn forbidden_ends_in_error_and_its_token_is_not_sent_again() {
    let mut d = settled();
    d.close(4003);
    assert!(d.notices().contains(&Notice::Disconnected {
        closed: closed(4003, ""),
        will_reconnect: false
    }));
    assert_eq!(d.client.state(), ConnectionState::Error);
    assert_eq!(d.dials(), 0);
    let waiter = d.connect();
    assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
    d.token("t1");
    let settled = d.settled_waiters().remove(0);
    assert_eq!(settled.0, waiter);
    assert_eq!(
        settled.1.map_err(|failure| failure.code),
        Err(ErrorCode::AuthForbidden)
    );
    d.connect();
    d.token("another");
    assert_eq!(d.dials(), 1);
}

#[test]
fn forbidden_before_auth_ends_in_error_too() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    d.token("a");
    d.open();
    d.close(4003);
    assert_eq!(d.client.state(), ConnectionState::Error);
    assert_eq!(
        d.settled_waiters()[0].1.as_ref().map_err(|f| f.code),
        Err(ErrorCode::AuthForbidden)
    );
}

#[test]
fn a_token_that_ran_out_is_replaced_at_once() {
    let mut d = settled();
    d.close(4001);
    assert_eq!(d.dials(), 1, "without a wait");
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Expired));
    d.input(Input::Token(
        d.attempt,
        tautline_machine::client::TokenAnswer::None,
    ));
    assert!(d.delay() >= 100, "further ones with backoff");
    d.until(Timer::Backoff);
    d.url();
    assert_eq!(
        d.asked_token(),
        Some(TokenReason::Expired),
        "until one succeeds"
    );
    d.token("new");
    d.open();
    d.greet(true);
    d.frame(Success::resumed(0).head(false));
    d.forget();
    d.close(4001);
    assert_eq!(d.dials(), 0, "not twice within ten seconds");
    assert!(d.delay() >= 100);
}

#[test]
fn a_token_that_ran_out_with_nobody_to_ask_ends_in_error() {
    let mut d = Driver::new(Config::default());
    d.input(Input::SetToken(tautline_machine::client::Token::new(
        "only".to_owned(),
    )));
    d.connect();
    d.url();
    d.open();
    d.greet(true);
    d.frame(Success::default().head(false));
    d.forget();
    d.close(4001);
    assert!(d.notices().contains(&Notice::Disconnected {
        closed: closed(4001, ""),
        will_reconnect: false
    }));
    assert_eq!(d.client.state(), ConnectionState::Error);
    d.input(Input::SetToken(tautline_machine::client::Token::new(
        "next".to_owned(),
    )));
    d.url();
    d.open();
    d.greet(true);
    assert_eq!(d.sent_of("auth")[0]["token"], "next");
}

#[test]
fn attempts_end_where_the_page_says() {
    let mut d = Driver::new(Config {
        max_reconnect_attempts: Some(3),
        ..with_token()
    });
    let waiter = d.connect();
    for _ in 0..3 {
        d.url();
        d.close(1006);
        assert_eq!(d.client.state(), ConnectionState::Reconnecting);
        d.until(Timer::Backoff);
    }
    d.url();
    d.close(1006);
    assert_eq!(d.client.state(), ConnectionState::Error);
    assert!(d.notices().contains(&Notice::MaxReconnectAttemptsReached));
    let settled = d.settled_waiters();
    assert_eq!((settled.len(), settled[0].0), (1, waiter));
    assert_eq!(d.wait, None);
    d.forget();
    d.connect();
    assert_eq!(d.dials(), 1, "connect() starts anew");
    d.url();
    d.close(1006);
    assert_eq!(d.client.state(), ConnectionState::Reconnecting);
}

#[test]
fn no_attempts_means_none_whatever_the_code() {
    for (code, reason) in [
        (1006, ""),
        (4001, ""),
        (1012, "reconnect_after_ms=5"),
        (4008, ""),
    ] {
        let mut d = Driver::live_with(
            Config {
                max_reconnect_attempts: Some(0),
                ..with_token()
            },
            &Success::default(),
        );
        d.close_saying(code, reason);
        assert_eq!(d.dials(), 0, "{code}");
        assert_eq!(d.client.state(), ConnectionState::Error, "{code}");
        assert!(d.notices().contains(&Notice::Disconnected {
            closed: closed(code, reason),
            will_reconnect: false
        }));
    }
}

#[test]
fn waking_cuts_a_backoff_once_in_five_seconds() {
    let mut d = settled();
    for _ in 0..6 {
        d.close(1011);
        d.until(Timer::Backoff);
    }
    d.close(1011);
    d.forget();
    d.page(PageEvent::Visible);
    assert_eq!(d.dials(), 1);
    d.url();
    d.close(1006);
    let delay = d.delay();
    d.page(PageEvent::Online);
    assert_eq!(d.dials(), 0);
    d.pass(delay.min(4_999));
    d.forget();
    if delay > 5_000 {
        d.pass(1);
        d.page(PageEvent::Online);
        assert_eq!(d.dials(), 1);
    }
}

#[test]
fn waking_keeps_to_the_wait_of_a_close_code() {
    let mut d = settled();
    d.close(4029);
    d.pass(4_000);
    d.page(PageEvent::Online);
    assert_eq!(d.dials(), 0);
    let next = d.client.stats(d.now).next_attempt_in_ms;
    assert_eq!(next, Some(6_000));
    d.until(Timer::Backoff);
    assert_eq!(d.dials(), 1);
}

#[test]
fn waking_begins_an_old_dial_anew() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    d.token("a");
    let old = d.attempt;
    d.forget();
    d.page(PageEvent::Visible);
    assert_eq!(d.dials(), 0, "a young dial is left alone");
    d.freeze(14_000);
    d.page(PageEvent::Resumed);
    assert_eq!(d.closes(), [(old, 4102)]);
    assert_eq!(d.dials(), 1);
    d.come_up(&Success::default());
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn reconnect_now_ends_any_wait() {
    let mut d = settled();
    d.close(4029);
    d.forget();
    d.input(Input::ReconnectNow);
    assert_eq!(d.dials(), 1);
    d.input(Input::ReconnectNow);
    assert_eq!(d.dials(), 0);
}
