//! How a connection comes about: stages, timeouts, numbered attempts, waiters, disconnect, the page's life.

use crate::support::{Driver, Success, closed, command, token, with_token};
use serde_json::json;
use tautline_machine::client::{
    AttemptId, Config, ConnectionState, Head, Input, Notice, Output, PageEvent, Timer, TokenAnswer,
    TokenReason,
};
use tautline_protocol::{Dialect, ErrorCode, Stage};

#[test]
fn an_attempt_goes_url_token_socket_auth() {
    let mut d = Driver::new(Config {
        restaurant_id: Some("grow".to_owned()),
        client: Some(r#"{"name":"kds"}"#.to_owned()),
        ..with_token()
    });
    let waiter = d.connect();
    assert!(matches!(
        d.outputs()[..],
        [
            Output::Tell(Notice::State(ConnectionState::Connecting)),
            Output::ResolveUrl(AttemptId(1), 0)
        ]
    ));
    d.url();
    assert!(matches!(
        d.outputs()[..],
        [Output::FetchToken {
            attempt: AttemptId(1),
            reason: TokenReason::Connect,
            number: 1
        }]
    ));
    d.token("secret");
    assert!(matches!(d.outputs()[..], [Output::Open(AttemptId(1))]));
    d.open();
    assert!(d.outputs().is_empty(), "the server speaks first");
    d.greet(true);
    assert_eq!(
        d.sent(),
        [
            json!({"type":"auth","token":"secret","restaurant_id":"grow","protocol":"tautline.v1","client":{"name":"kds"}})
        ]
    );
    assert_eq!(d.client.state(), ConnectionState::Connecting);
    d.frame(Success::at(3).head(false));
    assert_eq!(d.settled_waiters(), [(waiter, Ok(()))]);
    assert_eq!(
        d.notices(),
        [Notice::State(ConnectionState::Connected), Notice::Connected]
    );
    assert_eq!(
        (d.client.dialect(), d.client.position()),
        (Some(Dialect::V1), Some(3))
    );
    assert_eq!(d.client.stats(d.now).connects, 1);
}

#[test]
fn concurrent_connects_join_one_attempt() {
    let mut d = Driver::new(with_token());
    let (first, second) = (d.connect(), d.connect());
    assert_eq!(d.dials(), 1);
    d.come_up(&Success::default());
    assert_eq!(d.settled_waiters(), [(first, Ok(())), (second, Ok(()))]);
    let third = d.connect();
    assert_eq!(d.settled_waiters(), [(third, Ok(()))]);
    assert_eq!(d.dials(), 0);
}

#[test]
fn a_waiter_that_gave_up_is_not_settled() {
    let mut d = Driver::new(with_token());
    let (gone, kept) = (d.connect(), d.connect());
    d.input(Input::Abandon(gone));
    d.come_up(&Success::default());
    assert_eq!(d.settled_waiters(), [(kept, Ok(()))]);
}

#[test]
fn inputs_of_an_older_attempt_are_dropped() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.dial_to_auth();
    let old = d.attempt;
    d.close(1006);
    d.until(Timer::Backoff);
    assert_ne!(d.attempt, old);
    d.forget();
    let late = [
        Input::Url(old, true),
        Input::Token(old, token("late")),
        Input::Opened(old),
        Input::Frame(old, Success::default().head(false)),
        Input::Malformed(old),
        Input::Closed(old, closed(4003, "")),
        Input::Writable(old, false),
    ];
    let count = late.len() as u64;
    for input in late {
        d.input(input);
        assert!(d.outputs().is_empty());
    }
    assert_eq!(d.client.stats(d.now).stale_inputs, count);
    d.come_up(&Success::default());
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn the_same_inputs_twice_are_taken_once() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    d.url();
    assert_eq!(d.asked_token(), Some(TokenReason::Connect));
    d.token("a");
    d.token("b");
    assert_eq!(d.opens().len(), 1);
    d.open();
    d.open();
    d.greet(true);
    d.greet(true);
    let auths = d.sent();
    assert_eq!((auths.len(), &auths[0]["token"]), (1, &json!("a")));
}

#[test]
fn success_without_auth_is_not_believed() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    d.token("a");
    d.open();
    d.frame(Success::default().head(false));
    assert_eq!(d.client.state(), ConnectionState::Connecting);
}

#[test]
fn a_server_without_greeting_gets_auth_all_the_same() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.url();
    d.token("a");
    d.open();
    assert_eq!(d.until(Timer::Greeting), 2_000);
    assert_eq!(d.sent_of("auth").len(), 1);
}

#[test]
fn a_server_that_asks_for_nothing_is_used_without_auth() {
    for greets in [true, false] {
        let mut d = Driver::new(Config::default());
        let waiter = d.connect();
        d.url();
        d.open();
        if greets {
            d.greet(false);
        } else {
            d.until(Timer::Greeting);
        }
        assert_eq!(d.settled_waiters(), [(waiter, Ok(()))]);
        assert!(d.sent().is_empty());
        assert_eq!(d.client.dialect(), Some(Dialect::Plain));
    }
}

#[test]
fn a_greeting_that_comes_too_late_still_asks_for_the_token() {
    let mut d = Driver::new(Config::default());
    d.connect();
    d.url();
    d.open();
    d.until(Timer::Greeting);
    d.forget();
    d.greet(true);
    assert_eq!(d.closes(), [(d.attempt, 1000)]);
    assert_eq!(d.errors()[0].code, ErrorCode::AuthFailed);
    assert_eq!(d.client.state(), ConnectionState::Error);
}

#[test]
fn each_stage_has_its_timeout_and_says_which() {
    type Step = fn(&mut Driver);
    let stages: [(Stage, &[Step]); 4] = [
        (Stage::Url, &[]),
        (Stage::Token, &[Driver::url]),
        (Stage::Socket, &[Driver::url, |d| d.token("a")]),
        (
            Stage::Auth,
            &[
                Driver::url,
                |d| d.token("a"),
                Driver::open,
                |d| d.greet(true),
            ],
        ),
    ];
    for (stage, steps) in stages {
        let mut d = Driver::new(with_token());
        d.connect();
        let attempt = d.attempt;
        for step in steps {
            step(&mut d);
        }
        let after = if stage == Stage::Token {
            d.until(Timer::Token)
        } else {
            d.until(Timer::Attempt)
        };
        assert_eq!(
            after,
            if stage == Stage::Token {
                10_000
            } else {
                15_000
            }
        );
        let error = d.errors().remove(0);
        assert_eq!(
            (error.code, error.stage),
            (ErrorCode::ConnectTimeout, Some(stage))
        );
        if matches!(stage, Stage::Url | Stage::Token) {
            assert_eq!((d.drops(), d.closes()), (vec![attempt], vec![]));
        } else {
            assert_eq!((d.drops(), d.closes()), (vec![], vec![(attempt, 4102)]));
        }
        assert!(d.delay() >= 100);
    }
}

#[test]
fn a_url_or_token_that_cannot_be_had_is_tried_again() {
    let mut d = Driver::new(with_token());
    d.connect();
    d.input(Input::Url(d.attempt, false));
    assert_eq!(d.errors()[0].stage, Some(Stage::Url));
    for answer in [TokenAnswer::None, TokenAnswer::Failed] {
        d.until(Timer::Backoff);
        d.url();
        d.input(Input::Token(d.attempt, answer));
        let error = d.errors().remove(0);
        assert_eq!(
            (error.code, error.stage),
            (ErrorCode::ConnectFailed, Some(Stage::Token))
        );
        assert_eq!(d.client.state(), ConnectionState::Reconnecting);
    }
}

#[test]
fn disconnect_is_one_close_frame_and_no_timer() {
    let mut d = Driver::live();
    d.input(Input::Disconnect);
    assert_eq!(d.closes(), [(d.attempt, 1000)]);
    assert_eq!(d.wait, None);
    assert!(d.notices().contains(&Notice::Disconnected {
        closed: closed(1000, "Client disconnect"),
        will_reconnect: false
    }));
    d.input(Input::Disconnect);
    d.close(1000);
    d.page(PageEvent::Online);
    assert!(d.outputs().is_empty());
}

#[test]
fn disconnect_aborts_connects_at_every_stage() {
    type Step = fn(&mut Driver);
    let steps: [Step; 5] = [
        Driver::url,
        |d| d.token("a"),
        Driver::open,
        |d| d.greet(true),
        |d| d.close(1006),
    ];
    for count in 0..=steps.len() {
        let mut d = Driver::new(with_token());
        let waiter = d.connect();
        for step in &steps[..count] {
            step(&mut d);
        }
        d.forget();
        d.input(Input::Disconnect);
        let settled = d.settled_waiters();
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].0, waiter);
        assert_eq!(
            settled[0].1.as_ref().map_err(|failure| failure.code),
            Err(ErrorCode::Aborted)
        );
        let (closes, drops) = (d.closes(), d.drops());
        assert_eq!(closes.len(), usize::from((2..5).contains(&count)));
        assert_eq!(drops.len(), usize::from(count < 2));
        assert_eq!(d.wait, None);
        assert_eq!(d.client.state(), ConnectionState::Disconnected);
    }
}

#[test]
fn connect_after_disconnect_starts_anew_and_resumes() {
    let mut d = Driver::live();
    d.event(1);
    d.input(Input::Disconnect);
    d.forget();
    d.connect();
    d.dial_to_auth();
    let auth = d.sent_of("auth").remove(0);
    assert_eq!(auth["resume"], json!({"epoch":"e1","seq":1}));
}

#[test]
fn dispose_answers_everybody_and_takes_nothing_more() {
    let mut d = Driver::new(with_token());
    let waiter = d.connect();
    let id = d.send(command("order:create")).expect("room");
    d.dial_to_auth();
    d.forget();
    d.input(Input::Dispose);
    assert_eq!(d.closes(), [(d.attempt, 1000)]);
    let waiters = d.settled_waiters();
    assert_eq!(
        waiters[0].1.as_ref().map_err(|failure| failure.code),
        Err(ErrorCode::Disposed)
    );
    assert_eq!((waiters.len(), waiters[0].0), (1, waiter));
    let settled = d.settled();
    assert_eq!((settled.len(), &settled[0].0), (1, &id));
    assert_eq!(d.wait, None);
    d.forget();
    d.frame(Success::default().head(false));
    d.input(Input::Dispose);
    d.page(PageEvent::Shown);
    assert!(d.outputs().is_empty());
    let late = d.connect();
    let settled = d.settled_waiters();
    assert_eq!(settled[0].0, late);
    assert!(settled[0].1.is_err());
    assert_eq!(
        d.send(command("order:create"))
            .map_err(|failure| failure.code),
        Err(ErrorCode::Disposed)
    );
    assert!(!d.cancel(&id));
    assert_eq!(d.wait, None);
}

#[test]
fn three_sockets_that_never_open_ask_healthz_once() {
    let mut d = Driver::new(Config::default());
    d.connect();
    for failure in 1..=3 {
        d.url();
        d.close(1006);
        assert_eq!(d.healths(), usize::from(failure == 3));
        if failure < 3 {
            d.until(Timer::Backoff);
        }
    }
    d.forget();
    d.input(Input::Health(d.attempt, true));
    let refused = d.errors().remove(0);
    d.input(Input::Health(d.attempt, false));
    let down = d.errors().remove(0);
    assert_eq!(refused.code, ErrorCode::ConnectFailed);
    assert_ne!(refused.message, down.message);
    assert_eq!(d.healths(), 0);
}

#[test]
fn one_that_opened_starts_the_count_for_healthz_over() {
    let mut d = Driver::new(Config::default());
    d.connect();
    for opens in [false, false, true, false, false] {
        d.url();
        if opens {
            d.open();
        }
        d.close(1006);
        assert_eq!(d.healths(), 0);
        d.until(Timer::Backoff);
    }
}

#[test]
fn back_forward_cache_keeps_position_and_returns_at_once() {
    let mut d = Driver::live_with_set(4);
    d.event(5);
    let old = d.attempt;
    let id = d.send(command("order:create")).expect("room");
    d.forget();
    d.page(PageEvent::Suspended);
    assert_eq!(d.closes(), [(old, 4103)]);
    assert!(d.notices().contains(&Notice::Disconnected {
        closed: closed(4103, "page hidden"),
        will_reconnect: true
    }));
    d.freeze(60_000);
    d.page(PageEvent::Shown);
    assert_eq!(d.dials(), 1);
    d.input(Input::Closed(old, closed(1006, "")));
    assert!(d.drops().is_empty(), "the old socket's close says nothing");
    d.dial_to_auth();
    let auth = d.sent_of("auth").remove(0);
    assert_eq!(auth["resume"], json!({"epoch":"e1","seq":5}));
    d.frame(Success::resumed(5).head(false));
    assert_eq!(d.sent_of("order:create")[0]["id"], json!(id));
}

#[test]
fn a_page_out_of_the_cache_keeps_to_the_wait_of_a_close_code() {
    let mut d = Driver::live();
    d.close(4029);
    d.page(PageEvent::Suspended);
    assert_eq!(d.client.state(), ConnectionState::Reconnecting);
    d.freeze(2_000);
    d.page(PageEvent::Shown);
    assert_eq!(d.dials(), 0);
    assert_eq!(d.until(Timer::Backoff), 8_000);
    assert_eq!(d.dials(), 1);
}

#[test]
fn nothing_is_suspended_that_is_not_wanted() {
    let mut d = Driver::new(with_token());
    d.page(PageEvent::Suspended);
    d.page(PageEvent::Shown);
    assert!(d.outputs().is_empty());
    assert_eq!(d.client.state(), ConnectionState::Disconnected);
}

#[test]
fn disconnect_in_the_cache_holds_when_the_page_comes_back() {
    let mut d = Driver::live();
    d.page(PageEvent::Suspended);
    d.input(Input::Disconnect);
    d.forget();
    d.page(PageEvent::Shown);
    assert!(d.outputs().is_empty());
    assert_eq!(d.wait, None);
}

#[test]
fn offline_only_marks() {
    let mut d = Driver::live();
    d.page(PageEvent::Offline);
    assert!(d.outputs().is_empty());
    assert!(d.client.stats(d.now).offline);
    d.page(PageEvent::Online);
    assert!(!d.client.stats(d.now).offline);
    assert_eq!(d.sent_of("ping").len(), 1);
}

#[test]
fn frames_that_are_none_are_reported_and_harmless() {
    let mut d = Driver::live();
    d.input(Input::Malformed(d.attempt));
    assert_eq!(d.errors()[0].code, ErrorCode::Protocol);
    let since = Some("2026-11-23T17:08:54Z".to_owned());
    d.frame(Head::Degraded {
        since: since.clone(),
    });
    assert_eq!(d.notices(), [Notice::Degraded { since }]);
    assert_eq!(d.client.state(), ConnectionState::Connected);
}

#[test]
fn no_wait_is_longer_than_an_hour() {
    let mut d = Driver::live_with(
        Config {
            heartbeat_interval_ms: 40 * 24 * 3_600_000,
            stale_after_ms: Some(50 * 24 * 3_600_000),
            ..with_token()
        },
        &Success {
            expires_in_ms: Some(30 * 24 * 3_600_000),
            ..Success::default()
        },
    );
    d.frame(Head::Connected {
        auth_required: true,
        heartbeat_ms: None,
        max_message: None,
    });
    for _ in 0..100 {
        let (at, timer) = d.wait.expect("a timer");
        assert!(at - d.now <= 3_600_000, "{timer:?}");
        d.pass(at - d.now);
        d.pong(None);
    }
}
