//! Several addresses of one server: which of them is dialled, and when.

use crate::support::{Driver, Success, with_token};
use tautline_machine::client::{Config, ConnectionState, Notice, Timer};
use tautline_protocol::AuthCode;

fn listing(addresses: usize) -> Driver {
    let mut d = Driver::new(Config {
        addresses,
        ..with_token()
    });
    d.connect();
    d
}

#[test]
fn one_that_cannot_be_reached_is_followed_by_the_next_at_once() {
    let mut d = listing(3);
    assert_eq!(d.addresses(), [0]);
    d.dial_to_socket();
    d.close(1006);
    assert_eq!(d.addresses(), [1]);
    d.dial_to_socket();
    d.close(1006);
    assert_eq!(d.addresses(), [2]);
    d.dial_to_socket();
    d.close(1006);
    assert_eq!(d.addresses(), [] as [usize; 0], "each has had its turn");
    assert!(d.until(Timer::Backoff) > 0);
    assert_eq!(d.addresses(), [0], "they failed alike: the first");
}

#[test]
fn one_that_takes_too_long_is_followed_by_the_next_at_once() {
    let mut d = listing(2);
    d.dial_to_socket();
    d.forget();
    d.until(Timer::Attempt);
    assert_eq!(d.addresses(), [1]);
    d.come_up(&Success::default());
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn an_unreachable_round_is_one_failure_of_the_backoff() {
    let mut d = listing(2);
    for _ in 0..2 {
        d.dial_to_socket();
        d.close(1006);
    }
    let reconnecting: Vec<_> = d
        .notices()
        .into_iter()
        .filter(|notice| matches!(notice, Notice::Reconnecting { .. }))
        .collect();
    assert!(
        matches!(reconnecting[..], [Notice::Reconnecting { attempt: 1, .. }]),
        "{reconnecting:?}"
    );
}

#[test]
fn one_that_is_lost_is_left_after_the_wait() {
    for code in [1006, 1001, 1012, 1013] {
        let mut d = listing(2);
        d.come_up(&Success::default());
        d.forget();
        d.close(code);
        assert_eq!(d.addresses(), [] as [usize; 0], "{code}: clients spread");
        assert!(d.until(Timer::Backoff) > 0, "{code}");
        assert_eq!(d.addresses(), [1], "{code}");
    }
}

#[test]
fn a_connection_that_held_makes_its_address_good_again() {
    let mut d = listing(2);
    d.come_up(&Success::default());
    d.close(1006);
    d.until(Timer::Backoff);
    d.come_up(&Success::default());
    d.until(Timer::Settled);
    d.forget();
    // The first is bad still, the second was lost only now: once each.
    d.close(1006);
    d.until(Timer::Backoff);
    assert_eq!(d.addresses(), [0]);
}

#[test]
fn what_is_not_the_address_s_fault_does_not_count_against_it() {
    let mut d = listing(2);
    d.dial_to_auth();
    d.auth_failed(AuthCode::TokenInvalid);
    d.close(1008);
    assert_eq!(d.addresses(), [0, 0], "the same, with another token");

    let mut d = listing(2);
    d.url();
    d.forget();
    d.until(Timer::Token);
    d.until(Timer::Backoff);
    assert_eq!(d.addresses(), [0], "getToken took too long");

    let mut d = listing(2);
    d.come_up(&Success::default());
    d.forget();
    d.close(4001);
    assert_eq!(d.addresses(), [0], "the token ran out");
}
