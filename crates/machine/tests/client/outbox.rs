//! What waits for an answer: order, resending, expiry, pace, answers held back until they show.

use crate::support::{Driver, Success, command, with_token};
use tautline_machine::client::{
    Answer, Command, Config, EntryState, EpochRef, Head, Input, Notice, Timer,
};
use tautline_protocol::limits::{self, Limits};
use tautline_protocol::{ErrorCode, NackCode, Outcome};

fn named(id: &str) -> Command {
    Command {
        id: Some(id.to_owned()),
        ..command("order:create")
    }
}

fn request(timeout_ms: u64) -> Command {
    Command {
        timeout_ms: Some(timeout_ms),
        ..command("order:create")
    }
}

fn shown(id: &str) -> Command {
    Command {
        until_shown: true,
        ..named(id)
    }
}

fn failed(code: ErrorCode, outcome: Outcome) -> Answer {
    Answer::Failed { code, outcome }
}

fn ids(d: &mut Driver) -> Vec<String> {
    let sent = d.sent_of("order:create");
    sent.iter()
        .map(|frame| frame["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// A connection cut and back.
fn cut(d: &mut Driver, success: &Success) {
    d.close(1006);
    d.until(Timer::Backoff);
    d.forget();
    d.come_up(success);
}

#[test]
fn messages_leave_in_call_order_behind_those_that_wait() {
    let mut d = Driver::new(with_token());
    for id in ["a", "b"] {
        d.send(named(id)).expect("room");
    }
    assert!(ids(&mut d).is_empty());
    d.connect();
    d.come_up(&Success::default());
    d.send(named("c")).expect("room");
    assert_eq!(ids(&mut d), ["a", "b", "c"]);
}

#[test]
fn ids_are_made_where_none_is_given_and_never_twice() {
    let mut d = Driver::live();
    let first = d.send(command("order:create")).expect("room");
    let second = d.send(command("order:create")).expect("room");
    assert_ne!(first, second);
    assert!(tautline_protocol::is_command_id(&first));
    assert_eq!(ids(&mut d), [first, second]);
}

#[test]
fn an_id_in_use_or_of_other_letters_is_refused() {
    let mut d = Driver::live();
    d.send(named("a")).expect("room");
    for id in ["a", "", "a b", "é", &"x".repeat(65)] {
        assert_eq!(
            d.send(named(id)).map_err(|failure| failure.code),
            Err(ErrorCode::InvalidArgument),
            "{id}"
        );
    }
    d.ack("a", None);
    d.send(named("a")).expect("free again");
}

#[test]
fn an_ack_settles_once() {
    let mut d = Driver::live();
    d.send(named("a")).expect("room");
    d.ack("a", Some(4));
    assert_eq!(
        d.settled(),
        [("a".to_owned(), Answer::Acked { seq: Some(4) })]
    );
    d.ack("a", Some(4));
    d.nack("a", NackCode::Conflict, None);
    d.ack("nobody", None);
    assert!(d.settled().is_empty());
    assert_eq!(d.client.stats(d.now).outbox_len, 0);
}

#[test]
fn a_nack_settles_with_what_the_server_said() {
    let mut d = Driver::live();
    d.send(named("a")).expect("room");
    d.nack("a", NackCode::Conflict, Some(5));
    assert_eq!(
        d.settled(),
        [(
            "a".to_owned(),
            Answer::Nacked {
                code: NackCode::Conflict,
                outcome: Outcome::NotApplied,
                retry_after_ms: Some(5)
            }
        )]
    );
}

#[test]
fn a_refusal_of_one_whose_other_copy_may_still_arrive_says_that_nobody_knows() {
    for (code, outcome) in [
        (NackCode::Unavailable, Outcome::Unknown),
        (NackCode::InvalidTransition, Outcome::Unknown),
        (NackCode::Invalid, Outcome::NotApplied),
    ] {
        let mut d = Driver::live();
        d.send(named("a")).expect("room");
        d.close(1006);
        d.until(Timer::Backoff);
        d.come_up(&Success::resumed(0));
        d.nack("a", code, None);
        let answer = Answer::Nacked {
            code,
            outcome,
            retry_after_ms: None,
        };
        assert_eq!(d.settled(), [("a".to_owned(), answer)]);
    }
}

#[test]
fn one_that_was_on_another_connection_is_like_one_that_was_on_this() {
    let again = |d: &Driver| Command {
        sent_at: Some(d.now),
        ..named("a")
    };
    let mut d = Driver::live();
    d.send(again(&d)).expect("room");
    assert_eq!(ids(&mut d), ["a"]);
    d.nack("a", NackCode::InvalidTransition, None);
    let answer = Answer::Nacked {
        code: NackCode::InvalidTransition,
        outcome: Outcome::Unknown,
        retry_after_ms: None,
    };
    assert_eq!(d.settled(), [("a".to_owned(), answer)]);

    // A server that remembers nothing would do it a second time.
    let mut d = Driver::live_with(with_token(), &Success::plain());
    d.send(again(&d)).expect("room");
    assert!(ids(&mut d).is_empty());
    let over = failed(ErrorCode::OutboxExpired, Outcome::Unknown);
    assert_eq!(d.settled(), [("a".to_owned(), over.clone())]);

    // And so would one that has forgotten it.
    let forgetful = Success {
        dedupe_ms: Some(1_000),
        ..Success::default()
    };
    let mut d = Driver::live_with(with_token(), &forgetful);
    let old = again(&d);
    d.pass(1_001);
    d.forget();
    d.send(old).expect("room");
    assert!(ids(&mut d).is_empty());
    assert_eq!(d.settled(), [("a".to_owned(), over)]);
}

#[test]
fn after_a_cut_the_unanswered_leave_again_first_under_the_same_id() {
    let mut d = Driver::live();
    for id in ["a", "b", "c"] {
        d.send(named(id)).expect("room");
    }
    d.ack("b", None);
    d.close(1006);
    d.send(named("d")).expect("room");
    d.until(Timer::Backoff);
    d.forget();
    d.come_up(&Success::resumed(0));
    assert_eq!(ids(&mut d), ["a", "c", "d"]);
}

#[test]
fn what_waited_too_long_is_reported_with_what_may_have_become_of_it() {
    let mut d = Driver::live();
    d.send(named("sent")).expect("room");
    d.close(1006);
    d.forget();
    d.send(named("waiting")).expect("room");
    d.send(Command {
        ttl_ms: Some(600_000),
        ..named("patient")
    })
    .expect("room");
    d.freeze(60_001);
    d.input(Input::Tick);
    assert!(
        d.settled().is_empty(),
        "it is told when the connection is back"
    );
    d.come_up(&Success::default());
    assert_eq!(
        d.settled(),
        [
            (
                "sent".to_owned(),
                failed(ErrorCode::OutboxExpired, Outcome::Unknown)
            ),
            (
                "waiting".to_owned(),
                failed(ErrorCode::OutboxExpired, Outcome::NotSent)
            )
        ]
    );
    assert_eq!(ids(&mut d), ["patient"]);
    assert!(d.notices().contains(&Notice::Outbox));
}

#[test]
fn a_command_older_than_the_server_remembers_is_never_resent() {
    let mut d = Driver::live_with(
        with_token(),
        &Success {
            dedupe_ms: Some(20_000),
            ..Success::default()
        },
    );
    d.send(named("old")).expect("room");
    d.pass(15_000);
    d.pong(Some(0));
    d.send(named("young")).expect("room");
    d.pass(5_001);
    d.pong(Some(0));
    cut(&mut d, &Success::resumed(0));
    assert_eq!(ids(&mut d), ["young"]);
    assert_eq!(
        d.settled(),
        [(
            "old".to_owned(),
            failed(ErrorCode::OutboxExpired, Outcome::Unknown)
        )]
    );
}

#[test]
fn one_that_grows_too_old_while_it_waits_its_turn_is_not_resent_either() {
    let mut d = Driver::live_with(
        with_token(),
        &Success {
            dedupe_ms: Some(20_000),
            ..Success::default()
        },
    );
    d.send(named("a")).expect("room");
    d.nack("a", NackCode::RateLimited, Some(30_000));
    d.forget();
    for _ in 0..4 {
        d.pass(10_000);
        d.pong(Some(0));
    }
    assert!(ids(&mut d).is_empty());
    assert_eq!(
        d.settled(),
        [(
            "a".to_owned(),
            failed(ErrorCode::OutboxExpired, Outcome::Unknown)
        )]
    );
}

#[test]
fn a_request_out_of_time_says_whether_it_left() {
    let mut d = Driver::new(with_token());
    let waiting = d.send(request(10_000)).expect("room");
    assert_eq!(d.until(Timer::Outbox), 10_000);
    assert_eq!(
        d.settled(),
        [(waiting, failed(ErrorCode::RequestTimeout, Outcome::NotSent))]
    );
    assert_eq!(d.client.stats(d.now).outbox_len, 0, "withdrawn");
    d.connect();
    d.come_up(&Success::default());
    assert!(ids(&mut d).is_empty());
    let sent = d.send(request(10_000)).expect("room");
    d.pass(10_000);
    assert_eq!(
        d.settled(),
        [(sent, failed(ErrorCode::RequestTimeout, Outcome::Unknown))]
    );
}

#[test]
fn an_event_with_the_commands_id_confirms_it() {
    let mut d = Driver::live();
    let id = d.send(request(10_000)).expect("room");
    d.event_of(1, EpochRef::Current, Some(&id));
    assert!(d.settled().is_empty(), "the ack has the result");
    d.pass(10_000);
    assert_eq!(d.settled(), [(id, Answer::Confirmed { seq: Some(1) })]);

    let id = d.send(command("order:create")).expect("room");
    d.event_of(2, EpochRef::Current, Some(&id));
    d.ack(&id, Some(2));
    assert_eq!(d.settled(), [(id, Answer::Acked { seq: Some(2) })]);

    let id = d.send(command("order:create")).expect("room");
    d.event_of(3, EpochRef::Current, Some(&id));
    assert!(d.cancel(&id));
    assert_eq!(
        d.settled(),
        [(id, Answer::Confirmed { seq: Some(3) })],
        "it was applied, whatever the caller wants"
    );
}

#[test]
fn a_confirmed_command_is_resent_for_its_result_and_else_confirmed() {
    let mut d = Driver::live();
    d.send(named("a")).expect("room");
    d.event_of(1, EpochRef::Current, Some("a"));
    cut(&mut d, &Success::resumed(1));
    assert_eq!(ids(&mut d), ["a"]);
    d.close(1006);
    d.freeze(60_001);
    d.input(Input::Tick);
    d.come_up(&Success::resumed(1));
    assert_eq!(
        d.settled(),
        [("a".to_owned(), Answer::Confirmed { seq: Some(1) })]
    );
}

#[test]
fn cancel_withdraws() {
    let mut d = Driver::new(with_token());
    d.send(named("a")).expect("room");
    assert!(d.cancel("a"));
    assert!(!d.cancel("a"));
    assert_eq!(
        d.settled(),
        [("a".to_owned(), failed(ErrorCode::Aborted, Outcome::NotSent))]
    );
    d.connect();
    d.come_up(&Success::default());
    assert!(ids(&mut d).is_empty());
    d.send(named("b")).expect("room");
    d.cancel("b");
    assert_eq!(
        d.settled(),
        [("b".to_owned(), failed(ErrorCode::Aborted, Outcome::Unknown))]
    );
}

#[test]
fn past_its_limits_the_outbox_takes_nothing() {
    let mut d = Driver::new(Config {
        outbox_limit: 2,
        outbox_bytes: 100,
        ..with_token()
    });
    d.send(named("a")).expect("room");
    let long = Command {
        payload: format!("\"{}\"", "x".repeat(90)),
        ..named("long")
    };
    assert_eq!(
        d.send(long).map_err(|failure| failure.code),
        Err(ErrorCode::OutboxFull)
    );
    d.send(named("b")).expect("room");
    assert_eq!(
        d.send(named("c")).map_err(|failure| failure.code),
        Err(ErrorCode::OutboxFull)
    );
    d.cancel("a");
    d.send(named("c")).expect("room again");
    for _ in 0..20 {
        d.cancel("c");
        d.send(named("c")).expect("its bytes come back too");
    }
}

#[test]
fn what_the_server_does_not_take_is_refused_at_once() {
    let limits = |max_message| Success {
        limits: Some(Limits {
            max_message,
            ..Limits::default()
        }),
        ..Success::default()
    };
    let big = |id: &str| Command {
        payload: format!("\"{}\"", "x".repeat(2_000)),
        ..named(id)
    };
    let mut d = Driver::live_with(with_token(), &limits(1_000));
    assert_eq!(
        d.send(big("a")).map_err(|failure| failure.code),
        Err(ErrorCode::MessageTooLarge)
    );
    assert!(d.settled().is_empty());

    // Taken for one server, too large for the next.
    let mut d = Driver::live();
    d.send(big("b")).expect("room");
    cut(&mut d, &limits(1_000));
    assert!(ids(&mut d).is_empty());
    assert_eq!(
        d.settled(),
        [(
            "b".to_owned(),
            failed(ErrorCode::MessageTooLarge, Outcome::Unknown)
        )]
    );
}

#[test]
fn a_thousand_flush_in_order_within_the_relays_bucket() {
    let limits = Limits::default();
    let mut d = Driver::new(with_token());
    let queued: Vec<String> = (0..1_000)
        .map(|_| d.send(command("order:create")).expect("room"))
        .collect();
    d.connect();
    d.come_up(&Success {
        limits: Some(limits),
        ..Success::default()
    });
    let (mut bucket, mut seen, start) = (f64::from(limits.burst), d.now, d.now);
    let mut flushed = Vec::new();
    while flushed.len() < 1_000 {
        for id in ids(&mut d) {
            bucket = (bucket + (d.now - seen) as f64 / 1_000.0 * f64::from(limits.rate_per_s))
                .min(f64::from(limits.burst))
                - 1.0;
            seen = d.now;
            assert!(bucket >= 0.0, "refused after {}", flushed.len());
            d.ack(&id, None);
            flushed.push(id);
        }
        let (at, _) = d.wait.expect("a timer");
        d.pass(at - d.now);
        d.pong(Some(0));
    }
    assert_eq!(flushed, queued);
    assert!(seen - start < 55_000, "{} ms", seen - start);
}

#[test]
fn a_cut_ends_the_pace() {
    let mut d = Driver::live();
    for _ in 0..120 {
        d.send(command("order:create")).expect("room");
    }
    // With answers to what is on the wire, it is the pace alone that holds the rest.
    for id in ids(&mut d) {
        d.ack(&id, None);
    }
    assert_eq!(d.wait.map(|(_, timer)| timer), Some(Timer::Pace));
    d.close(1006);
    assert_eq!(d.wait.map(|(_, timer)| timer), Some(Timer::Backoff));
}

#[test]
fn no_more_is_on_the_wire_than_the_relay_queues_answers_for() {
    let mut d = Driver::live_with(
        with_token(),
        &Success {
            limits: Some(Limits {
                rate_per_s: 10_000,
                burst: 10_000,
                max_message: 65_536,
            }),
            ..Success::default()
        },
    );
    d.pass(1_000);
    let sent: Vec<String> = (0..200)
        .map(|_| d.send(command("order:create")).expect("room"))
        .collect();
    assert_eq!(ids(&mut d).len(), limits::CLIENT_IN_FLIGHT);
    d.ack(&sent[0], None);
    assert_eq!(ids(&mut d), [sent[limits::CLIENT_IN_FLIGHT].clone()]);
}

#[test]
fn once_the_flush_has_begun_the_clock_stands_still() {
    let mut d = Driver::new(with_token());
    for _ in 0..1_000 {
        d.send(command("order:create")).expect("room");
    }
    d.pass(59_000);
    d.connect();
    d.come_up(&Success::default());
    d.pass(14_000);
    assert!(d.settled().is_empty());
}

#[test]
fn one_refused_for_its_rate_leaves_again_by_itself() {
    let mut d = Driver::live();
    d.send(named("a")).expect("room");
    d.forget();
    d.nack("a", NackCode::RateLimited, Some(700));
    assert!(d.settled().is_empty());
    d.send(named("b")).expect("room");
    assert!(ids(&mut d).is_empty(), "nothing leaves meanwhile");
    d.pass(699);
    assert!(ids(&mut d).is_empty());
    d.pass(1_000);
    assert_eq!(ids(&mut d), ["a", "b"]);
}

#[test]
fn refused_ones_make_room_on_the_wire() {
    let mut d = Driver::live_with(
        with_token(),
        &Success {
            limits: Some(Limits {
                rate_per_s: 10_000,
                burst: 10_000,
                max_message: 65_536,
            }),
            ..Success::default()
        },
    );
    d.pass(1_000);
    for n in 0..limits::CLIENT_IN_FLIGHT {
        d.send(named(&format!("c{n}"))).expect("room");
    }
    let first = ids(&mut d);
    assert_eq!(first.len(), limits::CLIENT_IN_FLIGHT);
    for id in &first {
        d.nack(id, NackCode::RateLimited, Some(100));
    }
    d.pass(1_000);
    assert_eq!(ids(&mut d), first);
}

#[test]
fn a_full_socket_is_waited_for() {
    let mut d = Driver::live();
    d.input(Input::Writable(d.attempt, false));
    d.send(named("a")).expect("room");
    assert!(ids(&mut d).is_empty());
    d.input(Input::Writable(d.attempt, true));
    assert_eq!(ids(&mut d), ["a"]);
}

#[test]
fn a_plain_server_is_written_to_once() {
    let mut d = Driver::new(with_token());
    d.send(named("a")).expect("room");
    d.connect();
    d.come_up(&Success::plain());
    let outputs = d.outputs();
    let at = |want: &str| {
        outputs
            .iter()
            .position(|output| format!("{output:?}").starts_with(want))
            .expect(want)
    };
    assert!(
        at("Send(AttemptId(1), \"{\\\"type\\\":\\\"order:create") < at("Settled(\"a\", Written"),
        "written before it is said to be"
    );
    cut(&mut d, &Success::plain());
    assert!(ids(&mut d).is_empty());
}

#[test]
fn a_plain_server_is_never_sent_what_another_may_have_applied() {
    let mut d = Driver::live();
    d.send(named("a")).expect("room");
    cut(&mut d, &Success::plain());
    assert!(ids(&mut d).is_empty());
    assert_eq!(
        d.settled(),
        [(
            "a".to_owned(),
            failed(ErrorCode::OutboxExpired, Outcome::Unknown)
        )]
    );
}

#[test]
fn an_answer_is_held_back_until_the_set_shows_it() {
    let mut d = Driver::live_with_set(7);
    d.send(shown("a")).expect("room");
    d.ack("a", Some(9));
    assert!(d.settled().is_empty());
    assert!(
        d.outputs()
            .iter()
            .any(|output| format!("{output:?}") == "Keep(\"a\")")
    );
    assert_eq!(
        d.client.entries(d.now).map(|entry| entry.state).last(),
        Some(EntryState::Acked)
    );
    d.ack("a", Some(9));
    d.event(8);
    assert!(d.settled().is_empty());
    d.event(9);
    assert_eq!(
        d.settled(),
        [("a".to_owned(), Answer::Acked { seq: Some(9) })]
    );

    d.send(shown("b")).expect("room");
    d.event_of(10, EpochRef::Current, Some("b"));
    d.ack("b", Some(10));
    assert_eq!(d.settled().len(), 1, "shown before it was acked");
}

#[test]
fn a_held_answer_waits_for_the_snapshot_that_is_on_its_way() {
    let mut d = Driver::live();
    d.send(shown("a")).expect("room");
    d.input(Input::WantOrders(true));
    d.ack("a", Some(1));
    assert!(d.settled().is_empty());
    d.snapshot("sync-1", "e1", 1);
    let outputs = d.outputs();
    let at = |want: &str| {
        outputs
            .iter()
            .position(|output| format!("{output:?}").starts_with(want))
            .expect(want)
    };
    assert!(at("InstallSnapshot") < at("Settled(\"a\""));
}

#[test]
fn a_held_answer_outlives_a_cut_and_is_not_resent() {
    let mut d = Driver::live_with_set(7);
    d.send(shown("a")).expect("room");
    d.ack("a", Some(8));
    cut(&mut d, &Success::resumed(8));
    assert!(ids(&mut d).is_empty());
    d.event(8);
    assert_eq!(d.settled().len(), 1);
}

#[test]
fn a_held_answer_is_given_when_nothing_can_show_it_any_more() {
    type End = fn(&mut Driver);
    let ends: [(&str, End); 5] = [
        ("cleanup", |d| d.input(Input::WantOrders(false))),
        ("its time", |d| d.pass(10_000)),
        ("disconnect", |d| d.input(Input::Disconnect)),
        ("dispose", |d| d.input(Input::Dispose)),
        ("another history", |d| {
            d.frame(Head::Reset {
                epoch: tautline_protocol::Epoch::new("e2"),
                seq: 1,
            });
            d.snapshot("relay.2", "e2", 1);
        }),
    ];
    for (why, end) in ends {
        let mut d = Driver::live_with_set(7);
        d.send(Command {
            timeout_ms: Some(10_000),
            ..shown("a")
        })
        .expect("room");
        d.ack("a", Some(99));
        end(&mut d);
        assert_eq!(
            d.settled(),
            [("a".to_owned(), Answer::Acked { seq: Some(99) })],
            "{why}"
        );
    }
}

#[test]
fn an_ack_of_another_history_is_not_held() {
    let mut d = Driver::live_with_set(7);
    d.send(shown("a")).expect("room");
    d.frame(Head::Ack {
        id: "a".to_owned(),
        seq: Some(500),
        epoch: EpochRef::Other(tautline_protocol::Epoch::new("e0")),
    });
    assert_eq!(d.settled().len(), 1);
}

#[test]
fn disconnect_keeps_what_may_wait_and_answers_what_has_a_deadline() {
    let mut d = Driver::live();
    d.send(named("kept")).expect("room");
    let asked = d.send(request(10_000)).expect("room");
    d.forget();
    d.input(Input::Disconnect);
    assert_eq!(
        d.settled(),
        [(asked, failed(ErrorCode::Aborted, Outcome::Unknown))]
    );
    assert!(d.notices().contains(&Notice::Outbox));
    assert_eq!(d.wait, None);
    d.connect();
    d.come_up(&Success::resumed(0));
    assert_eq!(ids(&mut d), ["kept"]);
}

#[test]
fn what_the_outbox_shows() {
    let mut d = Driver::new(with_token());
    d.send(named("a")).expect("room");
    d.pass(500);
    d.send(named("b")).expect("room");
    let seen: Vec<(String, EntryState, u64)> = d
        .client
        .entries(d.now)
        .map(|entry| (entry.id.to_owned(), entry.state, entry.age_ms))
        .collect();
    assert_eq!(
        seen,
        [
            ("a".to_owned(), EntryState::Queued, 500),
            ("b".to_owned(), EntryState::Queued, 0)
        ]
    );
    let stats = d.client.stats(d.now);
    assert_eq!((stats.outbox_len, stats.outbox_oldest_ms), (2, Some(500)));
}
