//! Auth that neither loops nor dies: a refused value is never sent again, and a new one is asked for now and again.

use crate::support::{Driver, Success, token, with_token};
use tautline_machine::client::{
    Config, ConnectionState, Input, PageEvent, Timer, Token, TokenAnswer, TokenReason,
};
use tautline_protocol::{AuthCode, ErrorCode};

fn preset(text: &str) -> Input {
    Input::SetToken(Token::new(text.to_owned()))
}

/// Two tokens refused: state `error`.
fn refused() -> Driver {
    let mut d = Driver::new(with_token());
    d.connect();
    for _ in 0..2 {
        d.dial_to_auth();
        d.auth_failed(AuthCode::TokenExpired);
        d.close(1008);
    }
    d.forget();
    assert_eq!(d.client.state(), ConnectionState::Error);
    d
}

#[test]
fn a_refused_token_is_replaced_once_at_once() {
    let mut d = Driver::new(with_token());
    let waiter = d.connect();
    d.dial_to_auth();
    d.forget();
    d.auth_failed(AuthCode::TokenInvalid);
    d.close(1008);
    assert_eq!(d.dials(), 1, "one retry, without a wait");
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
    d.token("second");
    d.open();
    d.greet(true);
    d.auth_failed(AuthCode::TokenInvalid);
    assert!(d.settled_waiters().is_empty());
    d.close(1008);
    assert_eq!(d.dials(), 0);
    assert_eq!(d.client.state(), ConnectionState::Error);
    assert_eq!(d.errors()[0].code, ErrorCode::AuthFailed);
    let settled = d.settled_waiters();
    assert_eq!((settled.len(), settled[0].0), (1, waiter));
    assert_eq!(
        settled[0].1.as_ref().map_err(|failure| failure.code),
        Err(ErrorCode::AuthFailed)
    );
}

/// Found by the simulation: `getToken` had been asked, its connection failed, and a token given meanwhile was refused.
#[test]
fn a_given_token_that_is_refused_does_not_count_as_what_get_token_gave() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.dial_to_auth();
    d.auth_failed(AuthCode::TokenExpired);
    d.close(1008);
    d.url();
    d.token("asked");
    d.input(preset("given"));
    d.close(1006);
    d.until(Timer::Backoff);
    d.dial_to_auth();
    d.auth_failed(AuthCode::TokenExpired);
    d.close(1008);
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
}

#[test]
fn once_counts_from_the_last_success() {
    let mut d = Driver::new(with_token());
    d.connect();
    for _ in 0..3 {
        d.dial_to_auth();
        d.auth_failed(AuthCode::TokenInvalid);
        d.close(1008);
        d.come_up(&Success::default());
        assert_eq!(d.client.state(), ConnectionState::Connected);
        d.close(1006);
        d.until(Timer::Backoff);
    }
}

#[test]
fn a_refused_value_is_never_sent_again() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    d.token("same");
    d.open();
    d.greet(true);
    d.auth_failed(AuthCode::TokenInvalid);
    d.close(1008);
    d.url();
    d.forget();
    d.token("same");
    assert!(d.opens().is_empty());
    assert_eq!(d.client.state(), ConnectionState::Error);
    d.input(preset("same"));
    assert_eq!(d.dials(), 0);
    d.input(preset("fresh"));
    assert_eq!(d.dials(), 1);
    d.url();
    d.open();
    d.greet(true);
    assert_eq!(d.sent_of("auth")[0]["token"], "fresh");
}

#[test]
fn a_value_given_ahead_and_refused_meanwhile_is_not_sent() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    d.token("same");
    d.input(preset("same"));
    d.open();
    d.greet(true);
    d.auth_failed(AuthCode::TokenInvalid);
    d.close(1008);
    d.forget();
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
}

#[test]
fn a_rejected_value_that_comes_first_may_be_replaced_once() {
    let mut d = refused();
    d.input(preset("ok"));
    d.come_up(&Success::default());
    d.close(1006);
    d.until(Timer::Backoff);
    d.url();
    d.forget();
    d.token("t1");
    assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
    d.token("brand-new");
    assert_eq!(d.opens().len(), 1);
}

#[test]
fn auth_failed_without_a_close_is_ended_by_the_timeout() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.dial_to_auth();
    let first = d.attempt;
    d.auth_failed(AuthCode::TokenInvalid);
    d.forget();
    d.until(Timer::Attempt);
    assert_eq!(d.closes(), [(first, 4102)]);
    assert_eq!(d.dials(), 1);
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
}

#[test]
fn in_error_a_token_is_asked_for_every_five_minutes() {
    let mut d = refused();
    for _ in 0..3 {
        assert_eq!(d.until(Timer::AuthProbe), 300_000);
        assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
        assert_eq!(d.client.state(), ConnectionState::Error);
        d.input(Input::Token(d.attempt, TokenAnswer::None));
        assert!(d.opens().is_empty());
    }
    d.until(Timer::AuthProbe);
    d.token("new");
    assert_eq!(d.dials(), 1);
    d.url();
    d.open();
    d.greet(true);
    d.frame(Success::default().head(false));
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn no_interval_means_no_probe() {
    let mut d = Driver::new(Config {
        auth_probe_interval_ms: 0,
        ..with_token()
    });
    d.connect();
    for _ in 0..2 {
        d.dial_to_auth();
        d.auth_failed(AuthCode::TokenExpired);
        d.close(1008);
    }
    assert_eq!(d.client.state(), ConnectionState::Error);
    assert_eq!(d.wait, None);
}

#[test]
fn in_error_each_wake_and_each_connect_asks_again() {
    let mut d = refused();
    d.page(PageEvent::Online);
    assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
    let waiter = d.connect();
    assert_eq!(d.asked_token(), None, "one asking at a time");
    d.token("t1");
    let settled = d.settled_waiters();
    assert_eq!((settled.len(), settled[0].0), (1, waiter));
    assert!(settled[0].1.is_err());
    d.connect();
    assert_eq!(d.asked_token(), Some(TokenReason::Rejected));
    d.token("new");
    d.url();
    d.open();
    d.greet(true);
    d.frame(Success::default().head(false));
    assert!(d.settled_waiters()[0].1.is_ok());
}

#[test]
fn a_token_that_does_not_come_ends_the_asking() {
    let mut d = refused();
    let waiter = d.connect();
    let asked = d.attempt;
    assert_eq!(d.until(Timer::Token), 10_000);
    assert_eq!(d.drops(), [asked]);
    assert_eq!(d.settled_waiters()[0].0, waiter);
    d.forget();
    d.input(Input::Token(asked, token("late")));
    assert!(d.outputs().is_empty());
    assert_eq!(d.until(Timer::AuthProbe), 300_000);
}

#[test]
fn a_token_given_while_asking_has_its_own_time() {
    let mut d = refused();
    d.connect();
    let asked = d.attempt;
    d.pass(9_000);
    d.forget();
    d.input(preset("given"));
    assert_eq!(d.drops(), [asked]);
    d.url();
    d.pass(2_000);
    assert!(
        d.errors().is_empty(),
        "the asking's time is not this dial's"
    );
    d.open();
    d.greet(true);
    assert_eq!(d.sent_of("auth")[0]["token"], "given");
}

#[test]
fn disconnect_ends_the_asking() {
    let mut d = refused();
    d.connect();
    let asked = d.attempt;
    d.input(Input::Disconnect);
    assert_eq!(d.drops(), [asked]);
    assert_eq!(d.wait, None);
    d.forget();
    d.input(Input::Token(asked, token("late")));
    assert!(d.outputs().is_empty());
}

#[test]
fn a_server_that_asks_where_nobody_can_answer() {
    let mut d = Driver::new(Config::default());
    let waiter = d.connect();
    d.url();
    d.open();
    let attempt = d.attempt;
    d.greet(true);
    assert_eq!(d.closes(), [(attempt, 1000)]);
    assert_eq!(d.settled_waiters()[0].0, waiter);
    assert_eq!(d.errors()[0].code, ErrorCode::AuthFailed);
    assert_eq!(d.wait, None);
    d.connect();
    assert!(d.settled_waiters()[0].1.is_err());
}

#[test]
fn a_given_token_serves_for_the_next_connections_where_nobody_else_can() {
    let mut d = Driver::new(Config::default());
    d.input(preset("given"));
    d.connect();
    for _ in 0..3 {
        d.url();
        d.open();
        d.greet(true);
        assert_eq!(d.sent_of("auth")[0]["token"], "given");
        d.frame(Success::resumed(0).head(false));
        d.close(1006);
        d.until(Timer::Backoff);
    }
}

#[test]
fn a_given_token_is_used_once_where_get_token_is() {
    let mut d = Driver::new(with_token());
    d.input(preset("given"));
    d.connect();
    d.url();
    assert_eq!(d.asked_token(), None);
    d.open();
    d.greet(true);
    assert_eq!(d.sent_of("auth")[0]["token"], "given");
    d.frame(Success::default().head(false));
    d.close(1006);
    d.until(Timer::Backoff);
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Connect));
}

#[test]
fn a_restaurant_not_allowed_ends_in_error_without_a_retry() {
    for code in [
        AuthCode::RestaurantForbidden,
        AuthCode::RestaurantRequired,
        AuthCode::RoleUnknown,
    ] {
        let mut d = Driver::new(with_token());
        d.connect();
        d.dial_to_auth();
        d.forget();
        d.auth_failed(code);
        d.close(4003);
        assert_eq!(d.dials(), 0);
        assert_eq!(d.errors()[0].code, ErrorCode::AuthForbidden);
        assert_eq!(d.client.state(), ConnectionState::Error);
    }
}

#[test]
fn a_token_never_shows_in_debug_output() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    let input = Input::Token(d.attempt, token("very-secret"));
    assert!(!format!("{input:?}").contains("very-secret"));
    d.input(input);
    assert!(!format!("{:?}", d.client).contains("very-secret"));
}
