//! Sessions that take the place of those that run out.

use super::*;

impl Page {
    /// A call whose session has so much left.
    fn with_left(left_ms: u64, transport: Transport) -> Self {
        let mut page = Self::new(Config {
            has_token: true,
            transport,
            ..Config::default()
        });
        page.connect();
        STAGES
            .into_iter()
            .take(7)
            .for_each(|stage| page.stage(stage));
        page.hear(Event::Updated {
            confirms: true,
            interrupts: true,
            left_ms: Some(left_ms),
        });
        assert_eq!(page.voice.state(), State::Connected);
        page.outputs.clear();
        page.sent.clear();
        page.sent_in.clear();
        page
    }

    /// The connect of the session that is to take the other's place.
    fn next_is_ready(&mut self, left_ms: u64) {
        for stage in STAGES {
            if !matches!(stage, Stage::Microphone | Stage::Settings) {
                self.stage(stage);
            }
        }
        self.hear(Event::Updated {
            confirms: true,
            interrupts: true,
            left_ms: Some(left_ms),
        });
    }

    fn said(&mut self, id: &str, text: &str) {
        let previous = None;
        let item = Item {
            id: id.into(),
            kind: ItemKind::Message {
                role: Role::User,
                text: Some(text.into()),
            },
            incomplete: false,
        };
        self.hear(Event::Item { item, previous });
    }

    fn hear_in(&mut self, call: CallId, event: Event) {
        self.give(Input::Event(call, event));
    }
}

const HOUR: u64 = 3_600_000;

#[test]
fn the_next_session_is_opened_ahead_and_takes_over_with_what_was_said() {
    for transport in [Transport::WebRtc, Transport::WebSocket] {
        let mut page = Page::with_left(HOUR, transport);
        page.said("a", "one cola");
        page.pass(HOUR - 90_001);
        assert_eq!(page.id(), CallId(1));
        page.pass(1);
        assert!(page.says(&Output::Open(CallId(2), transport)));
        assert!(page.says(&Output::FetchToken {
            call: CallId(2),
            reason: TokenReason::Connect,
            number: 2
        }));
        // Nothing is different for the page, and what is said meanwhile is said in the first.
        page.hear_in(CallId(1), Event::Speech(true));
        page.next_is_ready(HOUR);
        assert!(
            !page.says(&Output::HangUp(CallId(1))),
            "in the middle of a turn"
        );
        assert_eq!(page.types(), ["session.update"]);
        assert_eq!(page.sent_in, [CallId(2)]);
        let id = page
            .voice
            .send(r#"{"type":"x"}"#, None, false, page.now)
            .unwrap();
        page.drain();
        assert_eq!(
            (page.sent_in.last(), &page.sent[1]["event_id"]),
            (Some(&CallId(1)), &id.into())
        );
        page.hear_in(CallId(1), Event::Speech(false));
        page.hear_in(
            CallId(1),
            Event::Created {
                response: "r".into(),
            },
        );
        page.hear_in(
            CallId(1),
            Event::Started {
                response: Some("r".into()),
            },
        );
        page.hear_in(
            CallId(1),
            Event::Done {
                response: "r".into(),
            },
        );
        page.pass(2_000);
        assert!(!page.says(&Output::HangUp(CallId(1))), "it is still heard");
        page.hear_in(CallId(1), Event::Stopped);
        let swapped = [
            Output::HangUp(CallId(1)),
            Output::Use(CallId(2)),
            Output::Tell(Notice::RolledOver),
        ];
        assert!(
            swapped.iter().all(|output| page.says(output)),
            "{:?}",
            page.outputs
        );
        assert_eq!(page.sent.last().unwrap()["item"]["id"], "a");
        assert_eq!(page.sent_in.last(), Some(&CallId(2)));
        assert_eq!(
            (
                page.voice.state(),
                page.voice.report().reconnects,
                page.errors()
            ),
            (State::Connected, 0, 0)
        );
        assert!(
            !page
                .notices()
                .iter()
                .any(|notice| matches!(notice, Notice::State(_) | Notice::Ended { .. }))
        );
        // What the one before still says is late; and the next has a next.
        page.hear_in(
            CallId(1),
            Event::Created {
                response: "late".into(),
            },
        );
        page.pass(HOUR - 90_000);
        assert_eq!(page.id(), CallId(3));
    }
}

#[test]
fn a_short_session_is_followed_half_way_or_when_the_server_says_so() {
    let mut page = Page::with_left(20_000, Transport::WebRtc);
    page.pass(9_999);
    assert_eq!(page.id(), CallId(1));
    page.pass(1);
    assert_eq!(page.id(), CallId(2));

    // By its own clock there was an hour.
    let mut page = Page::with_left(HOUR, Transport::WebRtc);
    page.hear(Event::Expiring { left_ms: 60_000 });
    assert_eq!(page.id(), CallId(2));
    page.hear_in(CallId(1), Event::Expiring { left_ms: 59_000 });
    assert_eq!(page.id(), CallId(2), "once");

    // A clock that says it is over already says nothing.
    let mut page = Page::with_left(0, Transport::WebRtc);
    page.pass(HOUR);
    assert_eq!(page.id(), CallId(1));
}

#[test]
fn nothing_is_swapped_while_something_is_waited_for() {
    type Busy = (fn(&mut Page), fn(&mut Page));
    let first = CallId(1);
    let cases: [Busy; 4] = [
        (
            |page| page.give(Input::Talk(true)),
            |page| {
                page.give(Input::Talk(false));
                page.pass(TAIL_MS);
                page.hear_in(
                    CallId(1),
                    Event::Created {
                        response: "r".into(),
                    },
                );
                page.hear_in(CallId(1), Event::Started { response: None });
                page.hear_in(
                    CallId(1),
                    Event::Done {
                        response: "r".into(),
                    },
                );
                page.hear_in(CallId(1), Event::Stopped);
            },
        ),
        (
            |page| {
                create(page);
            },
            |page| {
                page.hear_in(
                    CallId(1),
                    Event::Created {
                        response: "r".into(),
                    },
                );
                page.hear_in(
                    CallId(1),
                    Event::Done {
                        response: "r".into(),
                    },
                );
            },
        ),
        (
            |page| {
                let kind = ItemKind::Call {
                    call_id: "c".into(),
                    name: "submit_order".into(),
                    arguments: "{}".into(),
                };
                let item = Item {
                    id: "call".into(),
                    kind,
                    incomplete: false,
                };
                page.hear_in(CallId(1), Event::Output { item });
            },
            |page| {
                let kind = ItemKind::CallOutput {
                    call_id: "c".into(),
                    output: "{}".into(),
                };
                let item = Item {
                    id: "out".into(),
                    kind,
                    incomplete: false,
                };
                page.hear_in(
                    CallId(1),
                    Event::Item {
                        item,
                        previous: None,
                    },
                );
            },
        ),
        // The user's turn has just ended: the answer is about to begin.
        (
            |page| {
                page.hear_in(CallId(1), Event::Speech(true));
                page.hear_in(CallId(1), Event::Speech(false));
            },
            |page| page.pass(5_000),
        ),
    ];
    for (n, (begin, end)) in cases.into_iter().enumerate() {
        let mut page = Page::with_left(HOUR, Transport::WebRtc);
        page.hear(Event::Expiring { left_ms: 60_000 });
        begin(&mut page);
        page.next_is_ready(HOUR);
        page.pass(3_000);
        assert!(!page.says(&Output::HangUp(first)), "case {n}");
        end(&mut page);
        page.pass(1_000);
        assert!(page.says(&Output::HangUp(first)), "case {n}");
        assert_eq!(page.voice.state(), State::Connected);
    }
}

#[test]
fn a_turn_without_end_is_cut_just_before_the_session_is() {
    let mut page = Page::with_left(HOUR, Transport::WebRtc);
    page.hear(Event::Expiring { left_ms: 60_000 });
    page.next_is_ready(HOUR);
    // It was idle: swapped at once. The next one's turn does not end.
    assert!(page.says(&Output::HangUp(CallId(1))));
    page.hear(Event::Expiring { left_ms: 60_000 });
    let second = CallId(2);
    page.hear_in(
        second,
        Event::Created {
            response: "r".into(),
        },
    );
    let waiting = create(&mut page);
    page.next_is_ready(HOUR);
    page.pass(56_999);
    assert!(!page.says(&Output::HangUp(second)));
    page.pass(1);
    assert!(page.says(&Output::HangUp(second)));
    assert_eq!(creates(&page), [waiting], "asked for in the next");
    assert_eq!(page.sent_in.last(), Some(&CallId(3)));
}

#[test]
fn one_that_cannot_be_had_is_tried_again_and_the_call_goes_on_without() {
    let mut page = Page::with_left(HOUR, Transport::WebRtc);
    page.hear(Event::Expiring { left_ms: 60_000 });
    page.stage(Stage::Token);
    page.stage(Stage::Offer);
    page.give(Input::Exchanged(page.id(), refused(429)));
    assert!(page.says(&Output::HangUp(CallId(2))));
    page.pass(30_000);
    assert_eq!(page.id(), CallId(3));
    page.pass(15_000);
    assert!(page.says(&Output::HangUp(CallId(3))), "its deadline");
    assert_eq!((page.voice.state(), page.errors()), (State::Connected, 0));
    page.give(Input::Token(CallId(3), TokenResult::Given));
    // Its end is that of a call that is lost.
    page.give(Input::ChannelClosed(CallId(1)));
    assert_eq!(page.voice.state(), State::Reconnecting);
}

#[test]
fn a_call_that_is_lost_while_the_next_is_there_goes_on_at_once() {
    let mut page = Page::with_left(HOUR, Transport::WebSocket);
    page.hear(Event::Expiring { left_ms: 60_000 });
    page.hear_in(CallId(1), Event::Speech(true));
    page.next_is_ready(HOUR);
    page.give(Input::ChannelClosed(CallId(1)));
    assert!(page.says(&Output::Use(CallId(2))));
    assert_eq!(page.voice.state(), State::Connected);
    // And one that goes before it is needed is replaced.
    page.hear(Event::Expiring { left_ms: 60_000 });
    page.hear_in(CallId(2), Event::Speech(true));
    page.next_is_ready(HOUR);
    page.give(Input::ChannelClosed(CallId(3)));
    page.pass(30_000);
    assert_eq!(
        (page.id(), page.voice.state()),
        (CallId(4), State::Connected)
    );
    page.give(Input::Disconnect);
    assert!(page.says(&Output::HangUp(CallId(4))) && page.says(&Output::HangUp(CallId(2))));
    assert_eq!(page.wait, None);
}
