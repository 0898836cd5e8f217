use super::*;
use crate::Rng;

fn message(id: &str, role: Role, text: Option<&str>) -> Item {
    Item {
        id: id.into(),
        kind: ItemKind::Message {
            role,
            text: text.map(Into::into),
        },
        incomplete: false,
    }
}

fn after(id: Option<&str>) -> Option<Option<String>> {
    Some(id.map(String::from))
}

fn words(item: &str, role: Role, text: &str, done: bool) -> Event {
    let response = (role == Role::Assistant).then(|| format!("resp_{item}"));
    let (item, text) = (String::from(item), String::from(text));
    if done {
        Event::Text {
            role,
            item,
            part: 0,
            response,
            text,
        }
    } else {
        Event::Delta {
            role,
            item,
            part: 0,
            response,
            text,
        }
    }
}

/// An evening at the drive-through: spoken and typed turns, transcripts that come late, fail, or never come, a call
/// of a function, an answer cut off, one cancelled before it was heard.
fn log() -> Vec<Event> {
    use Role::{Assistant, User};
    let item = |item, previous| Event::Item { item, previous };
    let mut events = vec![
        Event::Committed {
            item: "u1".into(),
            previous: after(None),
        },
        item(message("u1", User, None), after(None)),
        words("u1", User, "two bacon", false),
        words("u1", User, " burgers", false),
        words("u1", User, "Two bacon burgers.", true),
        item(message("a1", Assistant, None), after(Some("u1"))),
        words("a1", Assistant, "Two bacon", false),
        words("a1", Assistant, " burgers, with", false),
        words(
            "a1",
            Assistant,
            "Two bacon burgers, with pickles or without them today?",
            true,
        ),
        Event::Truncated {
            item: "a1".into(),
            audio_end_ms: 1_500,
        },
        Event::Committed {
            item: "u2".into(),
            previous: after(Some("a1")),
        },
        item(message("u2", User, None), after(Some("a1"))),
        Event::Unheard { item: "u2".into() },
        item(message("u3", User, Some("and a cola")), after(Some("u2"))),
        Event::Item {
            item: Item {
                id: "c1".into(),
                kind: ItemKind::Call {
                    call_id: "call_1".into(),
                    name: "add_to_order".into(),
                    arguments: "{\"n\":2}".into(),
                },
                incomplete: false,
            },
            previous: after(Some("u3")),
        },
        Event::Item {
            item: Item {
                id: "o1".into(),
                kind: ItemKind::CallOutput {
                    call_id: "call_1".into(),
                    output: "ok".into(),
                },
                incomplete: false,
            },
            previous: after(Some("c1")),
        },
        item(message("a2", Assistant, None), after(Some("o1"))),
        words("a2", Assistant, "Anything else?", true),
        Event::Committed {
            item: "u4".into(),
            previous: after(Some("a2")),
        },
        item(message("u4", User, None), after(Some("a2"))),
        Event::Item {
            item: Item {
                incomplete: true,
                ..message("a3", Assistant, None)
            },
            previous: after(Some("u4")),
        },
        item(message("u5", User, Some("wrong button")), after(Some("a3"))),
        Event::Deleted { item: "u5".into() },
        item(message("u6", User, Some("that is all")), after(Some("u5"))),
    ];
    // What is done is told again, as the API does.
    events.push(item(
        message("a2", Assistant, Some("Anything else?")),
        after(Some("o1")),
    ));
    events
}

fn fed(events: impl IntoIterator<Item = Event>) -> Conversation {
    let mut conversation = Conversation::default();
    events.into_iter().for_each(|event| {
        conversation.take(event);
    });
    conversation
}

#[test]
fn five_hundred_permuted_logs_give_one_transcript() {
    let straight = fed(log());
    let seen: Vec<_> = straight
        .lines()
        .into_iter()
        .map(|line| (line.id, line.text, line.state, line.interrupted))
        .collect();
    let line = |id: &str, text: Option<&str>, state, interrupted| {
        (String::from(id), text.map(String::from), state, interrupted)
    };
    assert_eq!(
        seen,
        [
            line("u1", Some("Two bacon burgers."), LineState::Final, false),
            line("a1", Some("Two bacon burgers,"), LineState::Final, true),
            line("u2", None, LineState::Failed, false),
            line("u3", Some("and a cola"), LineState::Final, false),
            line("a2", Some("Anything else?"), LineState::Final, false),
            line("u4", None, LineState::Pending, false),
            line("a3", None, LineState::Final, true),
            line("u6", Some("that is all"), LineState::Final, false),
        ]
    );
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut events = log();
        for n in (1..events.len()).rev() {
            events.swap(n, rng.between(0, n as u64) as usize);
        }
        let shuffled = fed(events.clone());
        assert_eq!(
            shuffled.lines(),
            straight.lines(),
            "seed {seed}: {events:?}"
        );
        assert_eq!(shuffled.seeds(), straight.seeds(), "seed {seed}");
    }
}

#[test]
fn a_new_call_is_told_everything_in_order() {
    let conversation = fed(log());
    let seeds: Vec<serde_json::Value> = conversation
        .seeds()
        .iter()
        .map(|seed| serde_json::from_str(seed).unwrap())
        .collect();
    let ids: Vec<_> = seeds
        .iter()
        .map(|seed| seed["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids,
        ["u1", "a1", "u2", "u3", "c1", "o1", "a2", "u4", "a3", "u6"]
    );
    assert_eq!(
        seeds[1]["content"][0],
        serde_json::json!({"type": "output_text", "text": "Two bacon burgers,"})
    );
    assert_eq!(seeds[0]["content"][0]["type"], "input_text");
    assert_eq!(seeds[4]["arguments"], "{\"n\":2}");
    assert_eq!(seeds[5]["output"], "ok");
    // The server names them again: nothing is there twice.
    let mut again = fed(log());
    let before = again.lines();
    for (n, seed) in seeds.iter().enumerate() {
        let previous = n.checked_sub(1).map(|n| ids[n]);
        let kind = match seed["type"].as_str().unwrap() {
            "message" => ItemKind::Message {
                role: Role::User,
                text: None,
            },
            _ => ItemKind::Other,
        };
        if seed["role"] != "user" {
            continue;
        }
        again.take(Event::Item {
            item: Item {
                id: ids[n].into(),
                kind,
                incomplete: false,
            },
            previous: after(previous),
        });
    }
    let (names, earlier): (Vec<_>, Vec<_>) = (
        again.lines().into_iter().map(|line| line.id).collect(),
        before.into_iter().map(|line| line.id).collect(),
    );
    assert_eq!(names, earlier);
}

#[test]
fn an_answer_that_was_cut_off_by_our_own_clock_keeps_what_was_played() {
    let mut conversation = fed([
        Event::Item {
            item: message("a", Role::Assistant, None),
            previous: after(None),
        },
        words("a", Role::Assistant, "One two three four five six", true),
    ]);
    assert_eq!(
        conversation.cut("resp_a".into(), 1_000).as_deref(),
        Some("a")
    );
    assert_eq!(
        conversation.line("a").unwrap().text.as_deref(),
        Some("One two three")
    );
    // The server's account is the better one.
    conversation.take(Event::Truncated {
        item: "a".into(),
        audio_end_ms: 0,
    });
    assert_eq!(conversation.line("a").unwrap().text.as_deref(), Some(""));
}

#[test]
fn a_function_is_told_once() {
    let mut conversation = Conversation::default();
    assert!(conversation.is_new_call("call_1"));
    assert!(!conversation.is_new_call("call_1"));
}

#[test]
fn what_was_heard_ends_with_a_whole_word() {
    assert_eq!(heard("Two bacon burgers", 10_000), "Two bacon burgers");
    assert_eq!(heard("Two bacon burgers", 1_000), "Two bacon");
    assert_eq!(heard("Two bacon burgers", 220), "Two");
    assert_eq!(heard("Two bacon burgers", 100), "");
    assert_eq!(heard("äöü äöü", 250), "äöü");
    assert_eq!(heard("", 0), "");
}

#[test]
fn it_does_not_grow_without_end() {
    let mut conversation = Conversation::default();
    for n in 0..CLIENT_CONVERSATION_ITEMS + 10 {
        let previous = n.checked_sub(1).map(|n| format!("i{n}"));
        conversation.take(Event::Item {
            item: message(&format!("i{n}"), Role::User, Some("x")),
            previous: Some(previous),
        });
    }
    let lines = conversation.lines();
    assert_eq!(lines.len(), CLIENT_CONVERSATION_ITEMS);
    assert_eq!(
        lines.last().unwrap().id,
        format!("i{}", CLIENT_CONVERSATION_ITEMS + 9)
    );
}
