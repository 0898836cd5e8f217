//! A new token on an open connection, before the old one runs out.

use crate::support::{Driver, Success, with_token};
use serde_json::json;
use tautline_machine::client::{
    Config, ConnectionState, Head, Input, Timer, Token, TokenAnswer, TokenReason,
};
use tautline_protocol::{AuthCode, ErrorCode, NackCode};

fn expiring(ms: u64) -> Success {
    Success {
        expires_in_ms: Some(ms),
        ..Success::default()
    }
}

fn live(ms: u64) -> Driver {
    let config = Config {
        stale_after_ms: Some(u64::MAX / 4),
        pong_timeout_ms: u64::MAX / 4,
        ..with_token()
    };
    Driver::live_with(config, &expiring(ms))
}

/// Lets time pass until a token is asked for; answers how long that took.
fn until_asked(d: &mut Driver) -> (u64, TokenReason) {
    let start = d.now;
    loop {
        if let Some(reason) = d.asked_token() {
            return (d.now - start, reason);
        }
        let (at, _) = d.wait.expect("a timer");
        d.pass(at - d.now);
    }
}

#[test]
fn the_lead_is_a_tenth_at_least_half_a_minute_or_half_of_a_short_life() {
    for (life, after) in [
        (40_000, 20_000),
        (59_000, 29_500),
        (60_000, 30_000),
        (200_000, 170_000),
        (300_000, 270_000),
        (3_600_000, 3_240_000),
        (86_400_000, 77_760_000),
    ] {
        assert_eq!(
            until_asked(&mut live(life)),
            (after, TokenReason::Renew),
            "{life}"
        );
    }
}

#[test]
fn a_renewal_is_another_auth_and_nothing_else() {
    let mut d = live(60_000);
    until_asked(&mut d);
    d.forget();
    d.token("next");
    assert_eq!(
        d.sent(),
        [json!({"type":"auth","token":"next","protocol":"tautline.v1"})]
    );
    d.frame(expiring(60_000).head(true));
    assert_eq!(d.client.state(), ConnectionState::Connected);
    assert_eq!(d.client.stats(d.now).connects, 1);
    assert_eq!(until_asked(&mut d).0, 30_000);
}

#[test]
fn never_twice_in_ten_seconds() {
    let mut d = live(4_000);
    until_asked(&mut d);
    d.token("a");
    d.frame(expiring(4_000).head(true));
    // The relay's ten seconds, and a little for a network that bunches up.
    assert_eq!(until_asked(&mut d).0, 10_250);
}

#[test]
fn a_given_token_renews_at_once_but_not_twice_in_ten_seconds() {
    let mut d = live(3_600_000);
    let give = |d: &mut Driver, text: &str| d.input(Input::SetToken(Token::new(text.to_owned())));
    give(&mut d, "a");
    assert_eq!(d.sent_of("auth")[0]["token"], "a");
    d.frame(expiring(3_600_000).head(true));
    d.pass(2_000);
    give(&mut d, "b");
    give(&mut d, "c");
    assert!(d.sent_of("auth").is_empty());
    d.pass(8_250);
    let sent = d.sent_of("auth");
    assert_eq!((sent.len(), &sent[0]["token"]), (1, &json!("c")));
}

/// Found by the simulation: the relay heard two renewals a few milliseconds closer together than they were sent, and
/// the second token was lost.
#[test]
fn a_renewal_that_came_too_soon_is_sent_again() {
    let mut d = live(3_600_000);
    d.input(Input::SetToken(Token::new("a".to_owned())));
    d.forget();
    d.frame(Head::Refused {
        code: NackCode::RateLimited,
        retry_after_ms: Some(1_000),
        ref_type: Some("auth".to_owned()),
    });
    d.pass(10_250);
    assert_eq!(d.sent_of("auth")[0]["token"], "a");
}

/// Found by the simulation: the answer to the renewal before it put a given token off until the end of that one's life.
#[test]
fn a_token_given_during_a_renewal_follows_it() {
    let mut d = live(60_000);
    until_asked(&mut d);
    d.token("asked");
    d.input(Input::SetToken(Token::new("given".to_owned())));
    d.forget();
    d.frame(expiring(3_600_000).head(true));
    d.pass(10_250);
    assert_eq!(d.sent_of("auth")[0]["token"], "given");
}

/// Found by the simulation: a token given while `getToken` was slow waited for a try after that one's deadline, minutes
/// later, or gave way to what `getToken` answered in the end.
#[test]
fn a_token_given_while_another_is_asked_for_takes_its_place() {
    let mut d = live(60_000);
    until_asked(&mut d);
    let give = |d: &mut Driver, token: &str| {
        d.input(Input::SetToken(Token::new(token.to_owned())));
    };
    give(&mut d, "a");
    d.frame(expiring(3_600_000).head(true));
    give(&mut d, "b");
    d.forget();
    d.pass(9_000);
    d.token("asked before either");
    d.pass(1_250);
    let sent = d.sent_of("auth");
    assert_eq!((sent.len(), &sent[0]["token"]), (1, &json!("b")));
}

/// Found by the simulation: of two renewals on their way the first was taken and the second refused as too soon; the
/// answer to the first was taken for the second's, which was lost.
#[test]
fn one_renewal_is_on_its_way_at_a_time() {
    let mut d = live(3_600_000);
    let give = |d: &mut Driver, token: &str| {
        d.input(Input::SetToken(Token::new(token.to_owned())));
    };
    give(&mut d, "a");
    d.forget();
    d.pass(6_000);
    give(&mut d, "b");
    d.pass(10_000);
    assert!(d.sent_of("auth").is_empty());
    d.frame(Success::default().head(true));
    d.pass(1);
    assert_eq!(d.sent_of("auth")[0]["token"], "b");
    // One that is never answered does not hold the next for ever.
    d.forget();
    give(&mut d, "c");
    d.pass(30_000);
    assert_eq!(d.sent_of("auth")[0]["token"], "c");
    d.forget();
    give(&mut d, "d");
    d.frame(Head::AuthFailed {
        code: AuthCode::TokenExpired,
        renewal: true,
    });
    d.pass(10_250);
    assert_eq!(d.sent_of("auth")[0]["token"], "d");
}

#[test]
fn a_token_given_while_dialling_renews_as_soon_as_there_is_a_connection() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    d.token("old");
    d.input(Input::SetToken(Token::new("given".to_owned())));
    d.open();
    d.greet(true);
    assert_eq!(d.sent_of("auth")[0]["token"], "old");
    d.frame(Success::default().head(false));
    assert_eq!(d.sent_of("auth")[0]["token"], "given");
}

#[test]
fn a_token_that_cannot_be_had_is_asked_for_more_often_as_the_end_comes() {
    let mut d = live(3_600_000);
    let (mut asked, mut waits) = (0, Vec::new());
    let end = d.now + 3_600_000;
    loop {
        let (took, _) = until_asked(&mut d);
        if d.now >= end {
            break;
        }
        asked += 1;
        waits.push(took);
        d.input(Input::Token(d.attempt, TokenAnswer::Failed));
    }
    assert!((10..60).contains(&asked), "{asked}");
    assert!(waits[1..].iter().all(|&ms| ms >= 10_000));
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn a_late_get_token_is_a_failure_and_its_answer_nothing() {
    let mut d = live(60_000);
    until_asked(&mut d);
    d.pass(10_000);
    d.forget();
    d.token("late");
    assert!(d.sent_of("auth").is_empty());
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn a_refused_renewal_never_closes() {
    for code in [AuthCode::TokenInvalid, AuthCode::IdentityChanged] {
        let mut d = live(600_000);
        until_asked(&mut d);
        d.token("bad");
        d.forget();
        d.frame(Head::AuthFailed {
            code,
            renewal: true,
        });
        assert!(d.closes().is_empty());
        assert_eq!(d.errors()[0].code, ErrorCode::AuthFailed);
        assert_eq!(until_asked(&mut d).1, TokenReason::Rejected);
        d.forget();
        d.token("bad");
        assert!(
            d.sent_of("auth").is_empty(),
            "a refused value is never sent again"
        );
        assert_eq!(d.client.state(), ConnectionState::Connected);
    }
}

#[test]
fn after_a_refused_renewal_the_close_is_an_expiry() {
    let mut d = live(600_000);
    until_asked(&mut d);
    d.token("bad");
    d.frame(Head::AuthFailed {
        code: AuthCode::TokenInvalid,
        renewal: true,
    });
    d.forget();
    d.close(4001);
    assert_eq!(d.dials(), 1);
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Expired));
}

#[test]
fn a_renewal_dies_with_its_connection() {
    let mut d = live(60_000);
    until_asked(&mut d);
    let old = d.attempt;
    d.close(1006);
    d.forget();
    d.input(Input::Token(
        old,
        TokenAnswer::Token(Token::new("late".to_owned())),
    ));
    assert!(d.outputs().is_empty());
    d.until(Timer::Backoff);
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Connect));
}

#[test]
fn without_get_token_nothing_is_asked() {
    let mut d = Driver::new(Config {
        stale_after_ms: Some(u64::MAX / 4),
        pong_timeout_ms: u64::MAX / 4,
        ..Config::default()
    });
    d.input(Input::SetToken(Token::new("only".to_owned())));
    d.connect();
    d.url();
    d.open();
    d.greet(true);
    d.frame(expiring(60_000).head(false));
    d.forget();
    d.pass(120_000);
    assert_eq!(d.asked_token(), None);
    assert!(d.sent_of("auth").is_empty());
}
