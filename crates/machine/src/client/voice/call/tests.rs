use super::*;
use crate::Rng;
use crate::client::TokenReason;
use crate::client::voice::dial::{SETTINGS_MS, STAGES};
use crate::client::voice::turns::{TAIL_MS, UNANSWERED_MS};
use crate::client::voice::{
    Event, Exchange, MicId, Path, Played, Playing, TokenResult, Transport, Trouble,
};
use crate::client::voice::{Item, ItemKind, Role};
use proptest::prelude::*;
use tautline_protocol::Stage;

/// A call, and what it has asked for.
struct Page {
    voice: Voice,
    now: Time,
    outputs: Vec<Output>,
    sent: Vec<serde_json::Value>,
    /// The call each of them was sent in.
    sent_in: Vec<CallId>,
    wait: Option<(Time, Timer)>,
    waiters: u32,
}

impl Page {
    fn new(config: Config) -> Self {
        Self {
            voice: Voice::new(config, 7),
            now: Time::from_ms(1_000),
            outputs: Vec::new(),
            sent: Vec::new(),
            sent_in: Vec::new(),
            wait: None,
            waiters: 0,
        }
    }

    fn give(&mut self, input: Input) {
        self.voice.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..10_000 {
            match self.voice.poll_output() {
                Output::Wait(wait) => {
                    self.wait = wait;
                    return;
                }
                Output::Send(call, text) => {
                    self.sent.push(serde_json::from_str(&text).unwrap());
                    self.sent_in.push(call);
                }
                output => self.outputs.push(output),
            }
        }
        panic!("the drain does not end");
    }

    /// Lets time pass, waking the machine as it asks.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some((at, _)) = self.wait.filter(|&(at, _)| at <= end) {
            self.now = at.max(self.now);
            self.give(Input::Tick);
        }
        self.now = end;
    }

    fn connect(&mut self) -> WaiterId {
        self.waiters += 1;
        let waiter = WaiterId(self.waiters);
        self.give(Input::Connect(waiter));
        waiter
    }

    fn id(&self) -> CallId {
        CallId(self.voice.last_call)
    }

    fn mic_id(&self) -> MicId {
        self.outputs
            .iter()
            .rev()
            .find_map(|output| match output {
                Output::OpenMicrophone { id, .. } => Some(*id),
                _ => None,
            })
            .unwrap()
    }

    /// The inputs of a connect, one a stage.
    fn stage(&mut self, stage: Stage) {
        let call = self.id();
        let input = match stage {
            Stage::Token => Input::Token(call, TokenResult::Given),
            Stage::Microphone => Input::Microphone(self.mic_id(), Ok(())),
            Stage::Offer => Input::Offered(call, true),
            Stage::Exchange => Input::Exchanged(call, Exchange::Answered),
            Stage::Answer => Input::Accepted(call, true),
            Stage::Ice => Input::Path(call, Path::Connected),
            Stage::Channel => Input::ChannelOpened(call, 262_144),
            _ => Input::Event(call, updated(true)),
        };
        self.give(input);
    }

    fn connected() -> Self {
        Self::connected_with(Config::default())
    }

    fn connected_with(config: Config) -> Self {
        let mut page = Self::new(config);
        let waiter = page.connect();
        STAGES.into_iter().for_each(|stage| page.stage(stage));
        assert_eq!(page.voice.state(), State::Connected);
        assert!(page.settled(waiter).unwrap().is_ok());
        page.outputs.clear();
        page
    }

    /// A new call in the place of the last.
    fn dial_again(&mut self) {
        for stage in STAGES {
            if stage != Stage::Microphone {
                self.stage(stage);
            }
        }
        assert_eq!(self.voice.state(), State::Connected);
    }

    fn hear(&mut self, event: Event) {
        let call = self.id();
        self.give(Input::Event(call, event));
    }

    fn settled(&self, waiter: WaiterId) -> Option<Result<(), Box<Failure>>> {
        let mut settled = self.outputs.iter().filter_map(|output| match output {
            Output::Settle(id, result) if *id == waiter => Some(result.clone()),
            _ => None,
        });
        let first = settled.next();
        assert!(settled.next().is_none(), "settled twice");
        first
    }

    fn says(&self, output: &Output) -> bool {
        self.outputs.contains(output)
    }

    fn notices(&self) -> Vec<&Notice> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Tell(notice) => Some(notice),
                _ => None,
            })
            .collect()
    }

    fn types(&self) -> Vec<&str> {
        self.sent
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect()
    }

    fn errors(&self) -> usize {
        self.notices()
            .iter()
            .filter(|notice| matches!(notice, Notice::Error(_)))
            .count()
    }
}

fn updated(confirms: bool) -> Event {
    Event::Updated {
        confirms,
        interrupts: true,
        left_ms: None,
    }
}

fn refused(status: u16) -> Exchange {
    Exchange::Refused {
        status,
        code: None,
        said: None,
    }
}

fn count(page: &Page, matches: impl Fn(&Output) -> bool) -> usize {
    page.outputs.iter().filter(|output| matches(output)).count()
}

#[test]
fn each_stage_that_stalls_is_named_and_nothing_is_left() {
    for (n, stuck) in STAGES.into_iter().enumerate() {
        let mut page = Page::new(Config::default());
        let waiter = page.connect();
        STAGES
            .into_iter()
            .take(n)
            .for_each(|stage| page.stage(stage));
        page.pass(14_999);
        assert!(page.settled(waiter).is_none(), "{stuck:?}");
        page.pass(1);
        let failure = page.settled(waiter).unwrap().unwrap_err();
        assert_eq!(
            (failure.code, failure.stage),
            (ErrorCode::ConnectTimeout, Some(stuck))
        );
        assert!(
            page.says(&Output::HangUp(CallId(1))) && page.says(&Output::ReleaseMicrophone),
            "{stuck:?}"
        );
        assert!(page.says(&Output::Tell(Notice::TimedOut(stuck))));
        assert_eq!((page.voice.state(), page.wait), (State::Error, None));
        // The stalled step completes after all: nothing comes back to life.
        let before = page.outputs.len();
        STAGES
            .into_iter()
            .skip(n)
            .for_each(|stage| page.stage(stage));
        assert_eq!(page.outputs.len(), before, "{stuck:?}");
        assert_eq!((page.voice.state(), page.wait), (State::Error, None));
        assert_eq!(page.types().contains(&"session.update"), n > 6);
    }
}

#[test]
fn stages_may_end_in_any_order_that_is_possible() {
    for first in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut page = Page::new(Config::default());
        let waiter = page.connect();
        for (n, at) in first.into_iter().enumerate() {
            assert_eq!(
                count(&page, |output| matches!(output, Output::Exchange(_))),
                0,
                "after {n}"
            );
            page.stage(STAGES[at]);
        }
        assert_eq!(
            count(&page, |output| matches!(output, Output::Exchange(_))),
            1
        );
        STAGES
            .into_iter()
            .skip(3)
            .for_each(|stage| page.stage(stage));
        assert!(page.settled(waiter).unwrap().is_ok());
    }
}

#[test]
fn an_unconfirmed_session_is_told_and_nothing_is_heard_of_the_microphone() {
    let mut page = Page::new(Config::default());
    let waiter = page.connect();
    STAGES
        .into_iter()
        .take(7)
        .for_each(|stage| page.stage(stage));
    page.pass(SETTINGS_MS);
    assert_eq!(page.voice.state(), State::Unacknowledged);
    assert!(!page.says(&Output::OpenGate(true)));
    assert!(page.settled(waiter).is_none());
    // Late is not never.
    page.stage(Stage::Settings);
    assert!(page.settled(waiter).unwrap().is_ok());
    assert!(page.says(&Output::OpenGate(true)));

    // Another answer than ours is told at once.
    let mut page = Page::new(Config::default());
    page.connect();
    STAGES
        .into_iter()
        .take(7)
        .for_each(|stage| page.stage(stage));
    page.hear(updated(false));
    assert_eq!(page.voice.state(), State::Unacknowledged);
}

#[test]
fn settings_that_are_refused_end_the_connect_with_what_the_server_said() {
    for unconfirmed_first in [false, true] {
        let mut page = Page::new(Config::default());
        let waiter = page.connect();
        STAGES
            .into_iter()
            .take(7)
            .for_each(|stage| page.stage(stage));
        if unconfirmed_first {
            page.hear(updated(false));
        }
        // Of something else: not the settings'.
        page.hear(Event::Error {
            about: Some("another".into()),
            code: None,
            message: String::new(),
        });
        assert!(page.settled(waiter).is_none());
        page.hear(Event::Error {
            about: Some(page.sent[0]["event_id"].as_str().unwrap().into()),
            code: Some("fixed_by_policy".into()),
            message: "The policy fixes session.instructions.".into(),
        });
        let failure = page.settled(waiter).unwrap().unwrap_err();
        assert_eq!(
            (failure.code, failure.stage, failure.retryable),
            (ErrorCode::RealtimeError, Some(Stage::Settings), false)
        );
        assert_eq!(failure.server_code.as_deref(), Some("fixed_by_policy"));
        assert!(failure.said.unwrap().contains("session.instructions"));
        assert_eq!(page.voice.state(), State::Error);
        assert!(page.says(&Output::HangUp(CallId(1))) && page.says(&Output::ReleaseMicrophone));
        page.pass(60_000);
        assert_eq!(page.voice.state(), State::Error);
    }
}

#[test]
fn a_refusal_after_the_connect_is_only_told() {
    let mut page = Page::connected();
    page.hear(Event::Error {
        about: Some(page.sent[0]["event_id"].as_str().unwrap().into()),
        code: Some("invalid_value".into()),
        message: "no such voice".into(),
    });
    assert_eq!((page.voice.state(), page.errors()), (State::Connected, 1));
}

#[test]
fn one_settings_event_goes_first() {
    let page = Page::connected_with(Config {
        settings: r#"{"type":"realtime","instructions":"short"}"#.into(),
        ..Config::default()
    });
    assert_eq!(page.types(), ["session.update"]);
    assert_eq!(page.sent[0]["session"]["instructions"], "short");
}

#[test]
fn an_exchange_that_cannot_heal_stops_and_one_that_can_is_tried_again() {
    for (status, code, retried) in [
        (400, ErrorCode::SdpExchangeFailed, false),
        (401, ErrorCode::AuthFailed, false),
        (403, ErrorCode::AuthForbidden, false),
        (404, ErrorCode::SdpExchangeFailed, false),
        (429, ErrorCode::SdpExchangeFailed, true),
        (500, ErrorCode::SdpExchangeFailed, true),
        (503, ErrorCode::SdpExchangeFailed, true),
    ] {
        // At first it is the page's to try again.
        let mut page = Page::new(Config::default());
        let waiter = page.connect();
        STAGES
            .into_iter()
            .take(3)
            .for_each(|stage| page.stage(stage));
        page.give(Input::Exchanged(page.id(), refused(status)));
        let failure = page.settled(waiter).unwrap().unwrap_err();
        assert_eq!(
            (
                failure.code,
                failure.status,
                failure.stage,
                failure.retryable
            ),
            (code, Some(status), Some(Stage::Exchange), retried)
        );
        assert_eq!((page.voice.state(), page.wait), (State::Error, None));
        // In a lost call's place it is ours.
        let mut page = Page::connected();
        page.give(Input::ChannelClosed(page.id()));
        page.pass(600);
        page.stage(Stage::Token);
        page.stage(Stage::Offer);
        page.give(Input::Exchanged(page.id(), refused(status)));
        let state = if retried {
            State::Reconnecting
        } else {
            State::Error
        };
        assert_eq!(page.voice.state(), state, "{status}");
        assert_eq!(page.wait.is_some(), retried);
    }
}

#[test]
fn a_refused_token_is_replaced_once() {
    let mut page = Page::new(Config {
        has_token: true,
        ..Config::default()
    });
    let waiter = page.connect();
    STAGES
        .into_iter()
        .take(3)
        .for_each(|stage| page.stage(stage));
    page.give(Input::Exchanged(page.id(), refused(401)));
    let rejected = Output::FetchToken {
        call: page.id(),
        reason: TokenReason::Rejected,
        number: 1,
    };
    assert!(page.says(&rejected));
    page.stage(Stage::Token);
    assert_eq!(
        count(&page, |output| matches!(output, Output::Exchange(_))),
        2
    );
    page.give(Input::Exchanged(page.id(), refused(401)));
    assert_eq!(
        page.settled(waiter).unwrap().unwrap_err().code,
        ErrorCode::AuthFailed
    );
}

#[test]
fn a_lost_call_is_replaced_with_a_new_token_and_the_conversation() {
    let mut page = Page::connected();
    for (n, role) in [Role::User, Role::Assistant, Role::User]
        .into_iter()
        .enumerate()
    {
        let kind = ItemKind::Message {
            role,
            text: Some(format!("line {n}")),
        };
        let previous = n.checked_sub(1).map(|n| format!("item_{n}"));
        page.hear(Event::Item {
            item: Item {
                id: format!("item_{n}"),
                kind,
                incomplete: false,
            },
            previous: Some(previous),
        });
    }
    let call = Item {
        id: "item_3".into(),
        kind: ItemKind::Call {
            call_id: "call_1".into(),
            name: "add_to_order".into(),
            arguments: "{}".into(),
        },
        incomplete: false,
    };
    page.hear(Event::Output { item: call.clone() });
    page.hear(Event::Item {
        item: call.clone(),
        previous: Some(Some("item_2".into())),
    });
    page.sent.clear();
    page.give(Input::ChannelClosed(page.id()));
    assert_eq!(page.voice.state(), State::Reconnecting);
    assert!(page.says(&Output::HangUp(CallId(1))));
    assert!(
        !page.says(&Output::ReleaseMicrophone),
        "the microphone is kept"
    );
    page.pass(600);
    assert!(page.says(&Output::FetchToken {
        call: CallId(2),
        reason: TokenReason::Connect,
        number: 2
    }));
    page.dial_again();
    let seeds: Vec<_> = page
        .sent
        .iter()
        .skip(1)
        .map(|event| {
            (
                event["item"]["id"].as_str().unwrap(),
                event["item"]["content"][0]["type"].as_str(),
            )
        })
        .collect();
    assert_eq!(page.sent[0]["type"], "session.update");
    assert_eq!(
        seeds,
        [
            ("item_0", Some("input_text")),
            ("item_1", Some("output_text")),
            ("item_2", Some("input_text")),
            ("item_3", None)
        ]
    );
    // The same call comes again: it was told.
    page.hear(Event::Output { item: call });
    assert_eq!(
        page.notices()
            .iter()
            .filter(|notice| matches!(notice, Notice::Tool { .. }))
            .count(),
        1
    );
    assert_eq!(page.voice.transcript().len(), 3);
    assert_eq!(page.voice.report().reconnects, 1);
}

#[test]
fn the_ladder_ends() {
    let mut page = Page::connected();
    page.give(Input::ChannelClosed(page.id()));
    for n in 1..=3 {
        page.pass(10_000);
        assert_eq!(page.id(), CallId(1 + n), "attempt {n}");
        page.stage(Stage::Token);
        page.stage(Stage::Offer);
        page.give(Input::Exchanged(page.id(), Exchange::Unreachable));
    }
    assert_eq!((page.voice.state(), page.wait), (State::Error, None));
    assert_eq!(
        page.notices()
            .iter()
            .filter(|notice| matches!(notice, Notice::ReconnectNeeded(_)))
            .count(),
        1
    );
    assert!(page.says(&Output::ReleaseMicrophone));
    // And begins again when the page says so.
    let waiter = WaiterId(90);
    page.give(Input::Reconnect(waiter));
    STAGES.into_iter().for_each(|stage| page.stage(stage));
    assert!(page.settled(waiter).unwrap().is_ok());
}

#[test]
fn packets_may_stay_away_for_a_while() {
    let mut page = Page::connected();
    let sample = Sample {
        heard: 5,
        ..Sample::default()
    };
    page.pass(1_000);
    page.give(Input::Sample(page.id(), sample));
    page.give(Input::Path(page.id(), Path::Disconnected));
    page.pass(4_000);
    page.give(Input::Path(page.id(), Path::Connected));
    page.pass(60_000);
    assert_eq!(page.voice.state(), State::Connected);
    // Nothing came for a minute before the browser noticed: nothing is left to wait for.
    page.give(Input::Path(page.id(), Path::Disconnected));
    page.pass(0);
    assert_eq!(page.voice.state(), State::Reconnecting);
    assert_eq!(page.id(), CallId(1));
}

#[test]
fn a_path_that_gives_nothing_for_five_seconds_is_lost_before_the_browser_notices() {
    let counting = |heard| Sample {
        heard,
        ..Sample::default()
    };
    let mut page = Page::connected();
    let seconds = |page: &mut Page, counts: &[u64]| {
        for &heard in counts {
            page.pass(1_000);
            page.give(Input::Sample(page.id(), counting(heard)));
        }
    };
    seconds(&mut page, &[3, 3, 3, 3, 3, 4, 4, 4, 4, 4]);
    assert_eq!(page.voice.state(), State::Connected);
    seconds(&mut page, &[4]);
    assert_eq!(page.voice.state(), State::Reconnecting);

    // Where the browser counts nothing, its own word is waited for.
    let mut page = Page::connected();
    seconds(&mut page, &[0; 60]);
    assert_eq!(page.voice.state(), State::Connected);
}

#[test]
fn the_gate_is_closed_until_connected_and_follows_the_mute_over_calls() {
    let mut page = Page::new(Config::default());
    page.give(Input::Mute(true));
    page.connect();
    STAGES.into_iter().for_each(|stage| page.stage(stage));
    assert!(
        !page.says(&Output::OpenGate(true)),
        "muted before the connect"
    );
    page.give(Input::Mute(false));
    assert_eq!(
        page.outputs.last(),
        Some(&Output::Tell(Notice::Muted {
            muted: false,
            by_system: false
        }))
    );
    assert!(page.says(&Output::OpenGate(true)));
    page.give(Input::Mute(true));
    page.outputs.clear();
    page.give(Input::ChannelClosed(page.id()));
    page.pass(600);
    page.dial_again();
    assert!(
        !page.says(&Output::OpenGate(true)),
        "muted over a reconnect"
    );
}

#[test]
fn push_to_talk_is_clear_open_close_commit_create() {
    let mut page = Page::connected_with(Config {
        muted: true,
        ..Config::default()
    });
    page.sent.clear();
    page.give(Input::Talk(true));
    assert_eq!(
        (page.types(), page.says(&Output::OpenGate(true))),
        (vec!["input_audio_buffer.clear"], true)
    );
    page.pass(800);
    page.give(Input::Talk(false));
    assert_eq!(page.outputs.last(), Some(&Output::OpenGate(false)));
    page.pass(TAIL_MS);
    assert_eq!(
        page.types(),
        [
            "input_audio_buffer.clear",
            "input_audio_buffer.commit",
            "response.create"
        ]
    );
    // A slip is taken back.
    page.sent.clear();
    page.give(Input::Talk(true));
    page.pass(50);
    page.give(Input::Talk(false));
    page.pass(1_000);
    assert_eq!(
        page.types(),
        ["input_audio_buffer.clear", "input_audio_buffer.clear"]
    );
    // The next hold comes before the last has left: that one is committed, not cleared.
    page.sent.clear();
    page.hear(Event::Created {
        response: "r1".into(),
    });
    page.hear(Event::Done {
        response: "r1".into(),
    });
    page.give(Input::Talk(true));
    page.pass(300);
    page.give(Input::Talk(false));
    page.give(Input::Talk(true));
    assert_eq!(
        page.types(),
        [
            "input_audio_buffer.clear",
            "input_audio_buffer.commit",
            "response.create"
        ]
    );
}

#[test]
fn talking_into_an_answer_cuts_it_off() {
    let mut page = Page::connected_with(Config {
        muted: true,
        ..Config::default()
    });
    page.hear(Event::Created {
        response: "r1".into(),
    });
    page.sent.clear();
    page.give(Input::Talk(true));
    assert_eq!(
        page.types(),
        [
            "response.cancel",
            "output_audio_buffer.clear",
            "input_audio_buffer.clear"
        ]
    );
    assert_eq!(page.sent[0]["response_id"], "r1");
}

fn create(page: &mut Page) -> String {
    let id = page
        .voice
        .send(r#"{"type":"response.create"}"#, None, true, page.now)
        .unwrap();
    page.drain();
    id
}

fn creates(page: &Page) -> Vec<String> {
    let of = page
        .sent
        .iter()
        .filter(|event| event["type"] == "response.create");
    of.map(|event| event["event_id"].as_str().unwrap().into())
        .collect()
}

#[test]
fn one_response_at_a_time() {
    let mut page = Page::connected();
    let (first, second) = (create(&mut page), create(&mut page));
    assert_eq!(creates(&page), [first.as_str()]);
    page.hear(Event::Created {
        response: "r1".into(),
    });
    assert_eq!(creates(&page).len(), 1);
    page.hear(Event::Done {
        response: "other".into(),
    });
    assert_eq!(creates(&page).len(), 1);
    page.hear(Event::Done {
        response: "r1".into(),
    });
    assert_eq!(creates(&page), [first, second]);
}

#[test]
fn a_race_with_another_response_is_retried_with_and_without_our_id() {
    for echoed in [true, false] {
        let mut page = Page::connected();
        let ours = create(&mut page);
        let error = Event::Error {
            about: echoed.then(|| ours.clone()),
            code: Some("conversation_already_has_active_response".into()),
            message: String::new(),
        };
        // The other response began first, and we heard of it.
        page.hear(Event::Created {
            response: "theirs".into(),
        });
        page.hear(error.clone());
        assert_eq!(creates(&page).len(), 1);
        page.hear(Event::Done {
            response: "theirs".into(),
        });
        assert_eq!(
            creates(&page),
            [ours.clone(), ours.clone()],
            "echoed: {echoed}"
        );
        // We never heard of it: again, within a second.
        page.hear(error);
        assert_eq!(creates(&page).len(), 2);
        page.pass(1_000);
        assert_eq!(creates(&page).len(), 3);
        assert_eq!(page.errors(), 0);
    }
}

#[test]
fn a_refused_response_does_not_hold_up_the_next() {
    let mut page = Page::connected();
    let (first, second) = (create(&mut page), create(&mut page));
    page.hear(Event::Error {
        about: Some(first.clone()),
        code: Some("invalid_value".into()),
        message: "bad".into(),
    });
    assert_eq!(creates(&page), [first, second]);
    assert_eq!(page.errors(), 1);
    // Nor does one that nobody answers.
    let third = create(&mut page);
    page.pass(UNANSWERED_MS);
    assert_eq!(creates(&page).last(), Some(&third));
}

#[test]
fn a_send_says_why_it_cannot_be() {
    let mut page = Page::new(Config::default());
    let send = |page: &mut Page, body: &str| page.voice.send(body, None, false, page.now);
    assert_eq!(
        send(&mut page, r#"{"type":"a"}"#).unwrap_err().code,
        ErrorCode::ConnectFailed
    );
    let mut page = Page::connected();
    let long = format!(r#"{{"type":"a","x":"{}"}}"#, "x".repeat(300 * 1024));
    assert_eq!(
        send(&mut page, &long).unwrap_err().code,
        ErrorCode::MessageTooLarge
    );
    let id = send(&mut page, r#"{"type":"a","x":1}"#).unwrap();
    page.drain();
    assert_eq!(
        page.sent.last().unwrap(),
        &serde_json::json!({"event_id": id, "type": "a", "x": 1})
    );
    page.give(Input::Dispose);
    assert_eq!(send(&mut page, "{}").unwrap_err().code, ErrorCode::Disposed);
}

#[test]
fn an_unplugged_microphone_is_replaced_and_comes_back() {
    let mut page = Page::connected();
    let first = page.voice.mic.held().unwrap();
    page.give(Input::MicrophoneEnded(first));
    let second = page.mic_id();
    assert!(page.says(&Output::OpenMicrophone {
        id: second,
        any: true
    }));
    page.give(Input::Microphone(second, Ok(())));
    page.outputs.clear();
    page.give(Input::Devices(false));
    assert_eq!(page.outputs, []);
    page.give(Input::Devices(true));
    let third = page.mic_id();
    assert!(page.says(&Output::OpenMicrophone {
        id: third,
        any: false
    }));
    page.give(Input::Microphone(third, Ok(())));
    page.outputs.clear();
    page.give(Input::Devices(true));
    assert_eq!(page.outputs, [], "it is the wanted one");
    assert_eq!(page.voice.state(), State::Connected);

    // None is left: the call goes on, and takes the next that comes.
    page.give(Input::MicrophoneEnded(third));
    page.give(Input::Microphone(page.mic_id(), Err(Trouble::Missing)));
    assert_eq!(page.errors(), 1);
    page.outputs.clear();
    page.give(Input::Devices(false));
    page.give(Input::Microphone(page.mic_id(), Ok(())));
    assert!(page.voice.mic.is_there());
}

#[test]
fn a_microphone_that_is_refused_ends_the_connect_with_its_kind() {
    let mut page = Page::new(Config::default());
    let waiter = page.connect();
    page.stage(Stage::Token);
    page.give(Input::Microphone(page.mic_id(), Err(Trouble::Denied)));
    let failure = page.settled(waiter).unwrap().unwrap_err();
    assert_eq!(
        (failure.code, failure.stage),
        (ErrorCode::MicrophoneDenied, Some(Stage::Microphone))
    );
    assert!(page.says(&Output::HangUp(CallId(1))));
    assert_eq!(page.wait, None);
}

#[test]
fn a_borrowed_stream_stays_for_the_next_call() {
    let mut page = Page::new(Config::default());
    page.give(Input::Borrowed(true));
    for _ in 0..2 {
        let waiter = page.connect();
        assert_eq!(
            count(&page, |output| matches!(
                output,
                Output::OpenMicrophone { .. }
            )),
            0
        );
        for stage in STAGES {
            if stage != Stage::Microphone {
                page.stage(stage);
            }
        }
        assert!(page.settled(waiter).unwrap().is_ok());
        page.give(Input::Disconnect);
        assert_eq!(page.wait, None);
    }
}

#[test]
fn a_device_asked_for_comes_though_the_page_takes_its_stream_back() {
    let mut page = Page::new(Config::default());
    page.give(Input::Borrowed(true));
    let waiter = WaiterId(9);
    page.give(Input::ChangeMicrophone(waiter));
    page.give(Input::Borrowed(false));
    page.give(Input::Microphone(page.mic_id(), Ok(())));
    assert!(page.settled(waiter).unwrap().is_ok());
}

#[test]
fn a_microphone_that_ends_without_a_call_is_let_go_of() {
    let mut page = Page::new(Config::default());
    page.give(Input::WantMicrophone(WaiterId(9)));
    let mic = page.mic_id();
    page.give(Input::Microphone(mic, Ok(())));
    page.give(Input::MicrophoneEnded(mic));
    assert!(page.says(&Output::ReleaseMicrophone));
    assert!(page.says(&Output::Tell(Notice::MicrophoneEnded { replaced: false })));
}

#[test]
fn two_hundred_interrupt_points_bring_no_error() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut page = Page::connected();
        page.sent.clear();
        let events = [
            Event::Created {
                response: "r".into(),
            },
            Event::Started {
                response: Some("r".into()),
            },
            Event::Text {
                role: Role::Assistant,
                item: "a".into(),
                part: 0,
                response: Some("r".into()),
                text: "One two three four five".into(),
            },
            Event::Done {
                response: "r".into(),
            },
            Event::Stopped,
        ];
        let at = rng.between(0, events.len() as u64) as usize;
        // What the server knows when our words arrive: as much, or more.
        let known = rng.between(at as u64, events.len() as u64) as usize;
        events[..at].iter().cloned().for_each(|event| {
            page.pass(300);
            page.hear(event);
        });
        page.give(Input::Interrupt);
        let asked: Vec<String> = page.types().iter().map(ToString::to_string).collect();
        events[at..known]
            .iter()
            .cloned()
            .for_each(|event| page.hear(event));
        let is_active = (1..4).contains(&known);
        for kind in asked {
            match kind.as_str() {
                "response.cancel" if is_active => page.hear(Event::Done {
                    response: "r".into(),
                }),
                "response.cancel" => page.hear(Event::Error {
                    about: None,
                    code: Some("response_cancel_not_active".into()),
                    message: String::new(),
                }),
                "output_audio_buffer.clear" => page.hear(Event::Cleared {
                    response: Some("r".into()),
                }),
                other => panic!("{other}"),
            }
        }
        assert_eq!(page.errors(), 0, "seed {seed}");
        assert_eq!(
            page.types().contains(&"response.cancel"),
            (1..4).contains(&at),
            "only while one is active; seed {seed}"
        );
        // What was not there to be cancelled comes to its end by itself.
        if !page.types().contains(&"response.cancel") {
            events[known..]
                .iter()
                .cloned()
                .for_each(|event| page.hear(event));
        }
        let next = create(&mut page);
        assert_eq!(
            creates(&page),
            [next],
            "seed {seed}: the next answer is not held up"
        );
    }
}

fn any_input() -> impl Strategy<Value = (u8, u8, u64)> {
    (0u8..40, 0u8..4, prop_oneof![Just(0u64), 1u64..20_000])
}

mod roll;
mod rung;

proptest! {
    /// Whatever happens in whatever order, the drain ends, and `disconnect()` leaves nothing.
    #[test]
    fn nothing_is_left_whatever_happens(steps in prop::collection::vec(any_input(), 0..60), dispose: bool, falls_back: bool, over_socket: bool) {
        let transport = if over_socket { Transport::WebSocket } else { Transport::WebRtc };
        let mut page = Page::new(Config { has_token: true, falls_back, transport, ..Config::default() });
        let mut waiters = Vec::new();
        for (what, variant, ms) in steps {
            let ago = u32::from(variant == 3);
            let call = CallId(page.voice.last_call.saturating_sub(ago));
            let mic = page.voice.mic.held().unwrap_or(MicId(u32::from(variant)));
            let asked = page.outputs.iter().rev().find_map(|output| match output { Output::OpenMicrophone { id, .. } => Some(*id), _ => None }).unwrap_or(mic);
            let yes = variant % 2 == 0;
            page.waiters += 1;
            let waiter = WaiterId(page.waiters);
            let id = || String::from(["a", "b", "c", "d"][variant as usize]);
            let input = match what {
                0..=2 => { waiters.push(waiter); Input::Connect(waiter) }
                3 => { waiters.push(waiter); Input::Reconnect(waiter) }
                4 => Input::Disconnect,
                5..=7 => Input::Token(call, if variant < 3 { TokenResult::Given } else { TokenResult::Failed }),
                8..=9 => Input::Offered(call, variant < 3),
                10..=12 => Input::Exchanged(call, match variant { 0 | 1 => Exchange::Answered, 2 => refused(401), _ => Exchange::Unreachable }),
                13..=14 => Input::Accepted(call, variant < 3),
                15 => Input::Path(call, [Path::Connected, Path::Disconnected, Path::Connected, Path::Failed][variant as usize]),
                16..=18 => Input::ChannelOpened(call, 262_144),
                19 => Input::ChannelClosed(call),
                20..=21 => Input::Event(call, updated(variant < 3)),
                22 => Input::Event(call, Event::Created { response: id() }),
                23 => Input::Event(call, Event::Done { response: id() }),
                24 => Input::Event(call, Event::Error { about: None, code: Some("conversation_already_has_active_response".into()), message: String::new() }),
                25..=26 => Input::Microphone(asked, if variant < 3 { Ok(()) } else { Err(Trouble::InUse) }),
                27 => Input::MicrophoneEnded(mic),
                28 => Input::Devices(yes),
                29 => Input::Talk(yes),
                30 => Input::Borrowed(yes),
                31 => Input::Interrupt,
                32 => { waiters.push(waiter); Input::WantMicrophone(waiter) }
                33 => Input::Event(call, Event::Expiring { left_ms: ms }),
                34 => Input::Event(call, Event::Updated { confirms: yes, interrupts: yes, left_ms: Some(ms * 10) }),
                35 => Input::Spoken(call, id()),
                36 => Input::Event(call, Event::Sound { response: id(), item: id(), part: 0, samples: ms }),
                37 => Input::Played(call, Played { epoch: u32::from(variant), samples: ms, state: [Playing::On, Playing::Dry, Playing::Silenced, Playing::On][variant as usize] }),
                38 => Input::Transport(if yes { Transport::WebSocket } else { Transport::WebRtc }),
                _ => Input::Sample(call, Sample { heard: ms, ..Sample::default() }),
            };
            page.give(input);
            page.pass(ms);
            prop_assert!(page.voice.gate_open <= page.voice.is_live());
        }
        page.give(if dispose { Input::Dispose } else { Input::Disconnect });
        prop_assert_eq!(page.wait, None);
        prop_assert_eq!(page.voice.state(), State::Disconnected);
        for waiter in waiters {
            prop_assert!(page.settled(waiter).is_some(), "{waiter:?} waits for ever");
        }
        // Every call that was begun is hung up, once.
        let begun = count(&page, |output| matches!(output, Output::Open(..)));
        let ended = count(&page, |output| matches!(output, Output::HangUp(_)));
        prop_assert_eq!(begun, ended);
        // And no microphone of ours is open.
        let last = page.outputs.iter().rev().find(|output| matches!(output, Output::OpenMicrophone { .. } | Output::ReleaseMicrophone));
        let open = matches!(last, Some(Output::OpenMicrophone { .. }));
        let mic = &page.voice.mic;
        let owned = !mic.borrowed && (mic.is_there() || mic.is_opening());
        prop_assert!(!owned, "a microphone of ours; last asked for: {}", open);
    }
}
