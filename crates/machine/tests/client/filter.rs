//! `setFilter()`: who hears what of it, and which filter is remembered (`docs/protocol.md` §1, Filters).

use crate::support::{Driver, Success, with_token};
use serde_json::{Value, json};
use tautline_machine::client::{Answer, Head, Input, Timer};
use tautline_protocol::{Epoch, ErrorCode, NackCode, Outcome};

const ACKED: Answer = Answer::Acked { seq: None };

fn events(name: &str) -> Option<String> {
    Some(format!(r#"{{"events":["{name}"]}}"#))
}

fn failed(code: ErrorCode, outcome: Outcome) -> Answer {
    Answer::Failed { code, outcome }
}

fn nacked(code: NackCode) -> Answer {
    Answer::Nacked {
        code,
        outcome: Outcome::NotApplied,
        retry_after_ms: None,
    }
}

/// Changes of filter that were written: the id and the filter of each.
fn told(d: &mut Driver) -> Vec<(String, Value)> {
    let mut sent = d.sent();
    sent.retain(|frame| frame["type"] == "subscribe" || frame["type"] == "unsubscribe");
    sent.iter()
        .map(|frame| {
            let filter = match frame["type"].as_str() {
                Some("subscribe") => frame["payload"]["events"][0].clone(),
                _ => Value::Null,
            };
            (frame["id"].as_str().expect("an id").to_owned(), filter)
        })
        .collect()
}

fn only(d: &mut Driver) -> (String, Value) {
    let told = told(d);
    assert_eq!(told.len(), 1, "{told:?}");
    told.into_iter().next().expect("one")
}

/// What the next connection's `auth` says of the filter.
fn in_next_auth(d: &mut Driver) -> Value {
    d.close(1006);
    d.until(Timer::Backoff);
    d.sent();
    d.dial_to_auth();
    d.sent_of("auth")[0]
        .get("subscribe")
        .map_or(Value::Null, |filter| filter["events"][0].clone())
}

#[test]
fn it_is_settled_by_its_ack() {
    let mut d = Driver::live();
    let asked = d.set_filter(events("a"));
    let (id, filter) = only(&mut d);
    assert_eq!(filter, "a");
    assert_eq!(d.settled(), []);
    d.ack("another", None);
    assert_eq!(d.settled(), []);
    d.ack(&id, Some(0));
    assert_eq!(d.settled(), [(asked, ACKED)]);

    let again = d.set_filter(events("a"));
    assert_eq!(d.settled(), [(again, ACKED)], "it is in force");
    assert!(told(&mut d).is_empty());
    assert_eq!(in_next_auth(&mut d), "a");
}

#[test]
fn a_refusal_leaves_what_is_in_force() {
    let mut d = Driver::live();
    let first = d.set_filter(events("a"));
    let id = only(&mut d).0;
    d.ack(&id, None);
    let second = d.set_filter(events("b"));
    let id = only(&mut d).0;
    d.nack(&id, NackCode::Invalid, None);
    assert_eq!(
        d.settled(),
        [(first, ACKED), (second, nacked(NackCode::Invalid))]
    );
    assert_eq!(in_next_auth(&mut d), "a");
}

#[test]
fn of_many_at_once_the_last_one_leaves() {
    let mut d = Driver::live();
    let [first, second, third] = ["a", "b", "c"].map(|name| d.set_filter(events(name)));
    let joined = d.set_filter(events("c"));
    let (id, filter) = only(&mut d);
    assert_eq!(filter, "a");
    let superseded = failed(ErrorCode::Aborted, Outcome::NotSent);
    assert_eq!(d.settled(), [(second, superseded)]);
    d.ack(&id, None);
    assert_eq!(d.settled(), [(first, ACKED)]);
    let (id, filter) = only(&mut d);
    assert_eq!(filter, "c");
    d.nack(&id, NackCode::Forbidden, None);
    let refused = nacked(NackCode::Forbidden);
    assert_eq!(d.settled(), [(third, refused.clone()), (joined, refused)]);
    assert_eq!(in_next_auth(&mut d), "a");
}

#[test]
fn one_refused_meanwhile_does_not_take_the_next_with_it() {
    let mut d = Driver::live();
    d.set_filter(events("a"));
    let id = only(&mut d).0;
    let second = d.set_filter(events("b"));
    d.nack(&id, NackCode::Invalid, None);
    d.settled();
    let (id, filter) = only(&mut d);
    assert_eq!(filter, "b");
    d.ack(&id, None);
    assert_eq!(d.settled(), [(second, ACKED)]);
    assert_eq!(in_next_auth(&mut d), "b");
}

#[test]
fn one_refused_for_its_rate_leaves_again() {
    let mut d = Driver::live();
    let asked = d.set_filter(events("a"));
    let id = only(&mut d).0;
    d.nack(&id, NackCode::RateLimited, Some(700));
    assert_eq!(d.settled(), []);
    d.pass(600);
    assert!(told(&mut d).is_empty());
    d.pass(2_000);
    let id = only(&mut d).0;
    d.ack(&id, None);
    assert_eq!(d.settled(), [(asked, ACKED)]);
}

#[test]
fn changes_keep_below_the_rate_and_the_snapshot_waits_for_them() {
    let mut d = Driver::live_with_set(7);
    d.pass(6_000);
    let mut left = 0;
    for n in 0..400 {
        d.set_filter(events(&format!("f{n}")));
        for (id, _) in told(&mut d) {
            d.ack(&id, None);
            left += 1;
        }
    }
    assert!(left < 100, "{left} at once");
    let early = d.sent_of("orders:sync").len();
    d.pass(1_000);
    assert_eq!(only(&mut d).1, "f399");
    assert!(early <= 1);
}

#[test]
fn a_snapshot_that_comes_unasked_before_the_filter_is_known_does_not_count() {
    let mut d = Driver::live_with_set(7);
    d.pass(6_000);
    d.set_filter(events("menu:*"));
    let (id, _) = only(&mut d);
    d.ack(&id, None);
    assert_eq!(d.client.position(), Some(7));
    d.snapshot("sync-1", "e1", 7);
    // The sync for this one has to wait; meanwhile a renewal brings a snapshot, and another comes as the history ends.
    d.set_filter(events("order:*"));
    let (id, _) = only(&mut d);
    d.snapshot("relay.1", "e1", 7);
    d.frame(Head::Reset {
        epoch: Epoch::new("e2"),
        seq: 9,
    });
    d.snapshot("relay.2", "e2", 9);
    d.ack(&id, None);
    d.pass(6_000);
    assert_eq!(d.sent_of("orders:sync").len(), 1);
    // Asked for, and refused while another comes that nobody asked for.
    d.forget();
    d.part("relay.3", "e2", 9, 1, 2);
    d.nack("sync-2", NackCode::RateLimited, Some(3_000));
    d.part("relay.3", "e2", 9, 2, 2);
    d.pass(6_000);
    assert_eq!(d.sent_of("orders:sync")[0]["id"], "sync-3");
    d.forget();
    d.snapshot("sync-3", "e2", 9);
    d.pass(20_000);
    assert!(d.sent_of("orders:sync").is_empty());
}

#[test]
fn before_any_connection_it_is_only_remembered() {
    let mut d = Driver::new(with_token());
    let asked = d.set_filter(events("a"));
    assert_eq!(d.settled(), [(asked, ACKED)], "there is no server to ask");
    d.connect();
    d.dial_to_auth();
    assert_eq!(d.sent_of("auth")[0]["subscribe"], json!({"events":["a"]}));
    d.frame(Success::default().head(false));
    assert!(told(&mut d).is_empty());
}

#[test]
fn while_connecting_it_waits_for_auth_success() {
    let mut d = Driver::new(with_token());
    d.connect();
    let early = d.set_filter(events("a"));
    d.dial_to_auth();
    let late = d.set_filter(events("b"));
    assert_eq!(d.settled(), []);
    d.forget();
    d.frame(Success::default().head(false));
    assert_eq!(d.settled(), [(early, ACKED)], "auth carried it");
    let (id, filter) = only(&mut d);
    assert_eq!(filter, "b");
    d.ack(&id, None);
    assert_eq!(d.settled(), [(late, ACKED)]);
}

#[test]
fn a_lost_connection_loses_nobody() {
    let mut d = Driver::live();
    let (first, last) = (d.set_filter(events("a")), d.set_filter(events("b")));
    assert_eq!(in_next_auth(&mut d), "b");
    assert_eq!(
        d.settled(),
        [(first, failed(ErrorCode::Aborted, Outcome::Unknown))]
    );
    d.frame(Success::resumed(0).head(false));
    assert_eq!(d.settled(), [(last, ACKED)]);
}

#[test]
fn a_plain_server_has_none() {
    let mut d = Driver::new(with_token());
    d.connect();
    let early = d.set_filter(events("a"));
    d.come_up(&Success::plain());
    let protocol = failed(ErrorCode::Protocol, Outcome::NotSent);
    assert_eq!(d.settled(), [(early, protocol.clone())]);
    let late = d.set_filter(events("b"));
    let none = d.set_filter(None);
    assert_eq!(d.settled(), [(late, protocol), (none, ACKED)]);
    d.set_filter(events("c"));
    assert!(told(&mut d).is_empty());
    assert_eq!(in_next_auth(&mut d), "c", "remembered for one that has");
}

#[test]
fn the_end_answers_everybody() {
    let mut d = Driver::live();
    let (first, last) = (d.set_filter(events("a")), d.set_filter(events("b")));
    d.input(Input::Disconnect);
    assert_eq!(
        d.settled(),
        [
            (first, failed(ErrorCode::Aborted, Outcome::Unknown)),
            (last, failed(ErrorCode::Aborted, Outcome::NotSent))
        ]
    );
    d.connect();
    let waits = d.set_filter(events("c"));
    d.input(Input::Dispose);
    let disposed = failed(ErrorCode::Disposed, Outcome::NotSent);
    assert_eq!(d.settled(), [(waits, disposed.clone())]);
    let late = d.set_filter(None);
    assert_eq!(d.settled(), [(late, disposed)]);
}

#[test]
fn one_that_the_server_could_not_use_in_auth_is_forgotten() {
    let mut d = Driver::new(with_token());
    d.input(Input::WantOrders(true));
    d.set_filter(events("a"));
    d.connect();
    d.come_up(&Success::at(4));
    d.snapshot("relay.1", "e1", 4);
    d.forget();
    d.frame(Head::Refused {
        code: NackCode::Invalid,
        retry_after_ms: None,
        ref_type: Some("subscribe".to_owned()),
    });
    assert_eq!(d.errors().len(), 1);
    d.pass(6_000);
    assert_eq!(d.sent_of("orders:sync").len(), 1, "everything is shown now");
    assert_eq!(in_next_auth(&mut d), Value::Null);
}
