//! The outbox that outlives its page: nothing is sent that is not in storage, what dead pages left comes first, what fails
//! for good is set aside (`docs/decisions/0041-an-outbox-that-outlives-the-tab.md`).

use crate::support::{Driver, Success, command, with_token};
use tautline_machine::client::{
    Adopted, Answer, Command, Config, EntryState, Input, Output, PageEvent, Timer,
};
use tautline_protocol::limits::{CLIENT_IN_FLIGHT, DEDUPE_MS};
use tautline_protocol::{ErrorCode, NackCode, Outcome};

fn stored() -> Config {
    Config {
        outbox_stored: true,
        ..with_token()
    }
}

fn named(id: &str) -> Command {
    Command {
        id: Some(id.to_owned()),
        ..command("order:create")
    }
}

fn left(id: &str, age_ms: u64, sent_age_ms: Option<u64>) -> Adopted {
    Adopted {
        id: id.to_owned(),
        kind: "order:create".to_owned(),
        payload: "{}".to_owned(),
        ttl_ms: 60_000,
        age_ms,
        sent_age_ms,
    }
}

fn failed(code: ErrorCode, outcome: Outcome) -> Answer {
    Answer::Failed { code, outcome }
}

/// What storage is told to do: `+a` write, `!a` write as one that may be sent, `-a` take out, `#a` set aside, `?` adopt.
fn told(outputs: &[Output]) -> Vec<String> {
    let told = outputs.iter().filter_map(|output| match output {
        Output::Store { id, sent: false } => Some(format!("+{id}")),
        Output::Store { id, sent: true } => Some(format!("!{id}")),
        Output::Unstore(id) => Some(format!("-{id}")),
        Output::SetAside(id, _) => Some(format!("#{id}")),
        Output::Adopt => Some("?".to_owned()),
        _ => None,
    });
    told.collect()
}

fn frames(outputs: &[Output]) -> Vec<String> {
    let frames = outputs.iter().filter_map(|output| match output {
        Output::Send(_, text) => serde_json::from_str::<serde_json::Value>(text).ok(),
        _ => None,
    });
    let commands = frames.filter(|frame| frame["type"] == "order:create");
    commands
        .map(|frame| frame["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// What storage was told and what was sent since this was last asked.
fn since(d: &mut Driver) -> (Vec<String>, Vec<String>) {
    let outputs = d.outputs();
    (told(&outputs), frames(&outputs))
}

fn both(told: &[&str], sent: &[&str]) -> (Vec<String>, Vec<String>) {
    let own = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
    (own(told), own(sent))
}

fn written(d: &mut Driver, id: &str, sent: bool) {
    d.input(Input::Stored {
        id: id.to_owned(),
        sent,
        kept: true,
    });
}

fn refused(d: &mut Driver, id: &str, sent: bool) {
    d.input(Input::Stored {
        id: id.to_owned(),
        sent,
        kept: false,
    });
}

fn adopts(d: &mut Driver, entries: &[Adopted]) {
    d.input(Input::Adopted {
        answer: true,
        entries: entries.to_vec(),
        lost: Vec::new(),
    });
}

/// Connected, and storage has handed over what there was.
fn up(success: &Success, entries: &[Adopted]) -> Driver {
    let mut d = Driver::live_with(stored(), success);
    adopts(&mut d, entries);
    d
}

#[test]
fn nothing_is_sent_before_it_is_in_storage() {
    let mut d = up(&Success::default(), &[]);
    d.forget();
    d.send(named("a")).expect("room");
    d.send(named("b")).expect("room");
    // Connected and next in line: the first write carries the mark.
    assert_eq!(since(&mut d), both(&["!a", "!b"], &[]));
    written(&mut d, "b", true);
    assert_eq!(since(&mut d), both(&[], &[]), "b goes behind a");
    written(&mut d, "a", true);
    assert_eq!(since(&mut d), both(&[], &["a", "b"]));
    d.ack("a", Some(1));
    assert_eq!(since(&mut d), both(&["-a"], &[]));
}

#[test]
fn what_waits_for_a_connection_is_marked_before_its_first_send() {
    let mut d = Driver::new(stored());
    d.send(named("a")).expect("room");
    d.send(named("b")).expect("room");
    assert_eq!(since(&mut d), both(&["+a", "+b"], &[]));
    written(&mut d, "a", false);
    d.connect();
    d.come_up(&Success::default());
    adopts(&mut d, &[]);
    assert_eq!(since(&mut d), both(&["?", "!a", "!b"], &[]));
    // The first write of b ends late: that is not the mark.
    written(&mut d, "a", true);
    written(&mut d, "b", false);
    assert_eq!(since(&mut d), both(&[], &["a"]));
    written(&mut d, "b", true);
    assert_eq!(since(&mut d), both(&[], &["b"]));
}

#[test]
fn no_more_is_marked_than_may_be_on_the_wire() {
    let mut d = up(&Success::default(), &[]);
    d.forget();
    for n in 0..CLIENT_IN_FLIGHT + 2 {
        d.send(named(&format!("c{n}"))).expect("room");
    }
    let (told, _) = since(&mut d);
    let marked = told.iter().filter(|one| one.starts_with('!')).count();
    assert_eq!(
        (marked, told.len()),
        (CLIENT_IN_FLIGHT, CLIENT_IN_FLIGHT + 2)
    );
    for n in 0..CLIENT_IN_FLIGHT {
        written(&mut d, &format!("c{n}"), true);
    }
    assert_eq!(since(&mut d).1.len(), CLIENT_IN_FLIGHT);
    d.ack("c0", None);
    let next = format!("!c{CLIENT_IN_FLIGHT}");
    assert_eq!(since(&mut d), both(&["-c0", &next], &[]));
}

#[test]
fn an_entry_that_storage_refuses_is_sent_from_memory() {
    let mut d = up(&Success::default(), &[]);
    d.forget();
    d.send(named("a")).expect("room");
    d.send(named("b")).expect("room");
    refused(&mut d, "a", true);
    written(&mut d, "b", true);
    assert_eq!(since(&mut d), both(&["!a", "!b"], &["a", "b"]));
    d.ack("a", None);
    // Whatever is there of it goes all the same.
    assert_eq!(since(&mut d), both(&["-a"], &[]));
}

#[test]
fn what_dead_pages_left_goes_first_and_in_its_order() {
    let mut d = Driver::new(stored());
    d.send(named("new")).expect("room");
    written(&mut d, "new", false);
    d.connect();
    d.come_up(&Success::default());
    d.forget();
    // Nothing leaves before storage has answered.
    d.send(named("newer")).expect("room");
    assert_eq!(since(&mut d), both(&["+newer"], &[]));
    adopts(
        &mut d,
        &[left("old", 9_000, Some(8_000)), left("older", 7_000, None)],
    );
    for id in ["newer", "new", "older"] {
        written(&mut d, id, true);
    }
    let (told, sent) = since(&mut d);
    assert_eq!(told, ["!older", "!new", "!newer"]);
    assert_eq!(sent, ["old", "older", "new", "newer"]);
    let entries: Vec<_> = d
        .client
        .entries(d.now)
        .map(|entry| {
            (
                entry.id.to_owned(),
                entry.age_ms,
                entry.adopted,
                entry.state,
            )
        })
        .collect();
    assert_eq!(
        entries[0],
        ("old".to_owned(), 9_000, true, EntryState::Sent)
    );
    assert_eq!(entries[2], ("new".to_owned(), 0, false, EntryState::Sent));
}

#[test]
fn an_id_that_is_here_is_not_taken_over() {
    let mut d = Driver::new(stored());
    d.send(named("a")).expect("room");
    written(&mut d, "a", false);
    d.connect();
    d.come_up(&Success::default());
    adopts(&mut d, &[left("a", 9_000, None)]);
    assert_eq!(d.client.entries(d.now).count(), 1);
}

#[test]
fn what_a_later_death_leaves_is_taken_over_too() {
    let mut d = up(&Success::default(), &[]);
    d.send(named("mine")).expect("room");
    d.forget();
    let entries = vec![left("theirs", 1_000, Some(1_000))];
    d.input(Input::Adopted {
        answer: false,
        entries,
        lost: Vec::new(),
    });
    assert_eq!(since(&mut d), both(&[], &["theirs"]));
}

#[test]
fn two_connections_are_answered_twice() {
    let mut d = Driver::live_with(stored(), &Success::default());
    d.close(1006);
    d.until(Timer::Backoff);
    d.come_up(&Success::default());
    d.forget();
    adopts(&mut d, &[left("a", 0, Some(0))]);
    assert_eq!(
        since(&mut d),
        both(&[], &[]),
        "this was the first one's answer"
    );
    adopts(&mut d, &[]);
    assert_eq!(since(&mut d), both(&[], &["a"]));
}

#[test]
fn what_is_too_old_is_set_aside_and_never_sent() {
    let mut d = Driver::live_with(stored(), &Success::default());
    d.forget();
    let forgotten = Adopted {
        ttl_ms: 2 * DEDUPE_MS,
        ..left("forgotten", DEDUPE_MS + 1, Some(DEDUPE_MS + 1))
    };
    let unsent = Adopted {
        ttl_ms: 2 * DEDUPE_MS,
        ..left("unsent", DEDUPE_MS + 1, None)
    };
    adopts(
        &mut d,
        &[
            forgotten,
            unsent,
            left("late", 60_001, None),
            left("sent", 60_001, Some(59_000)),
        ],
    );
    let settled = d.settled();
    let expired = |id: &str, outcome| (id.to_owned(), failed(ErrorCode::OutboxExpired, outcome));
    assert_eq!(
        settled,
        [
            expired("forgotten", Outcome::Unknown),
            expired("late", Outcome::NotSent),
            expired("sent", Outcome::Unknown),
        ]
    );
    assert_eq!(
        since(&mut d),
        both(&["#forgotten", "#late", "#sent", "!unsent"], &[])
    );
}

#[test]
fn the_clock_of_what_was_left_goes_on() {
    let mut d = Driver::new(stored());
    d.input(Input::Adopted {
        answer: false,
        entries: vec![left("a", 59_000, None)],
        lost: Vec::new(),
    });
    d.pass(1_001);
    d.connect();
    d.come_up(&Success::default());
    assert_eq!(
        d.settled(),
        [(
            "a".to_owned(),
            failed(ErrorCode::OutboxExpired, Outcome::NotSent)
        )]
    );
}

#[test]
fn a_plain_server_is_given_nothing_twice() {
    let mut d = Driver::live_with(stored(), &Success::plain());
    d.forget();
    adopts(&mut d, &[left("sent", 5, Some(5)), left("waits", 5, None)]);
    assert_eq!(
        d.settled(),
        [(
            "sent".to_owned(),
            failed(ErrorCode::OutboxExpired, Outcome::Unknown)
        )]
    );
    written(&mut d, "waits", true);
    assert_eq!(
        since(&mut d),
        both(&["#sent", "!waits", "-waits"], &["waits"])
    );
}

#[test]
fn what_is_refused_for_good_is_set_aside_and_what_may_pass_is_not() {
    let mut d = up(&Success::default(), &[]);
    for id in ["poison", "busy", "slow"] {
        d.send(named(id)).expect("room");
        written(&mut d, id, true);
    }
    d.forget();
    d.nack("poison", NackCode::Invalid, None);
    d.nack("busy", NackCode::Overloaded, Some(500));
    d.nack("slow", NackCode::RateLimited, Some(500));
    assert_eq!(since(&mut d), both(&["#poison", "-busy"], &[]));
    assert_eq!(d.client.entries(d.now).count(), 1);
}

#[test]
fn what_nobody_waits_for_is_tried_again_where_that_may_help() {
    let mut d = up(
        &Success::default(),
        &[left("a", 0, Some(0)), left("b", 0, Some(0))],
    );
    d.forget();
    d.nack("a", NackCode::Unavailable, Some(2_000));
    d.nack("b", NackCode::Forbidden, None);
    assert_eq!(since(&mut d), both(&["#b"], &[]));
    d.pass(2_000);
    assert_eq!(since(&mut d), both(&[], &["a"]));
}

#[test]
fn a_disposed_service_leaves_what_waits_to_the_next() {
    let mut d = up(&Success::default(), &[]);
    d.send(named("waits")).expect("room");
    d.send(named("refused")).expect("room");
    refused(&mut d, "refused", true);
    d.forget();
    d.input(Input::Dispose);
    assert_eq!(
        d.settled(),
        [
            (
                "waits".to_owned(),
                failed(ErrorCode::Disposed, Outcome::Unknown)
            ),
            (
                "refused".to_owned(),
                failed(ErrorCode::Disposed, Outcome::NotSent)
            ),
        ]
    );
    assert_eq!(since(&mut d), both(&[], &[]));
}

#[test]
fn a_caller_who_gives_up_takes_it_out() {
    let mut d = up(&Success::default(), &[]);
    d.send(named("a")).expect("room");
    d.forget();
    assert!(d.cancel("a"));
    assert_eq!(since(&mut d), both(&["-a"], &[]));
    written(&mut d, "a", true);
    assert_eq!(since(&mut d), both(&[], &[]));
}

/// Back from the back/forward cache: another tab was given what this one had.
#[test]
fn what_another_page_took_over_may_have_been_sent() {
    for (success, sent) in [(Success::default(), true), (Success::plain(), false)] {
        let mut d = Driver::new(stored());
        d.connect();
        d.send(named("a")).expect("room");
        written(&mut d, "a", false);
        d.page(PageEvent::Suspended);
        d.page(PageEvent::Shown);
        d.come_up(&success);
        d.forget();
        d.input(Input::Adopted {
            answer: true,
            entries: Vec::new(),
            lost: vec!["a".to_owned()],
        });
        if sent {
            written(&mut d, "a", true);
            assert_eq!(since(&mut d), both(&["!a"], &["a"]));
        } else {
            written(&mut d, "a", true);
            assert_eq!(
                d.settled(),
                [(
                    "a".to_owned(),
                    failed(ErrorCode::OutboxExpired, Outcome::Unknown)
                )]
            );
        }
    }
}

#[test]
fn without_the_option_storage_is_not_spoken_of() {
    let mut d = Driver::live();
    d.send(named("a")).expect("room");
    d.ack("a", None);
    d.send(named("b")).expect("room");
    d.nack("b", NackCode::Invalid, None);
    d.input(Input::Dispose);
    assert_eq!(since(&mut d), both(&[], &["a", "b"]));
}
