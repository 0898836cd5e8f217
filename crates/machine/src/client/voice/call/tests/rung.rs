//! Calls over a socket, and how one comes to be.

use super::*;

fn falling_back() -> Config {
    Config {
        falls_back: true,
        ..Config::default()
    }
}

fn over_socket(muted: bool) -> Config {
    Config {
        transport: Transport::WebSocket,
        muted,
        ..Config::default()
    }
}

/// What a connect over a socket goes through.
const SOCKET_STAGES: [Stage; 5] = [
    Stage::Token,
    Stage::Microphone,
    Stage::Offer,
    Stage::Channel,
    Stage::Settings,
];

impl Page {
    fn on_socket(muted: bool) -> Self {
        let mut page = Self::new(over_socket(muted));
        let waiter = page.connect();
        SOCKET_STAGES
            .into_iter()
            .for_each(|stage| page.stage(stage));
        assert!(page.settled(waiter).unwrap().is_ok());
        page.outputs.clear();
        page.sent.clear();
        page
    }

    /// The rest of a connect over a socket whose microphone is there.
    fn socket_opens(&mut self) {
        for stage in [Stage::Token, Stage::Offer, Stage::Channel, Stage::Settings] {
            self.stage(stage);
        }
    }

    /// A call that held for a while is lost, and another is made.
    fn is_lost(&mut self) {
        self.pass(10_000);
        self.give(Input::ChannelClosed(self.id()));
        self.pass(600);
    }

    fn fallbacks(&self) -> Vec<(ErrorCode, Option<Stage>, Option<u64>)> {
        let of = self
            .notices()
            .into_iter()
            .filter_map(|notice| match notice {
                Notice::Fallback(failure) => {
                    Some((failure.code, failure.stage, failure.timeout_ms))
                }
                _ => None,
            });
        of.collect()
    }

    fn sound(&mut self, response: &str, item: &str, ms: u64) {
        self.hear(Event::Sound {
            response: response.into(),
            item: item.into(),
            part: 0,
            samples: ms * 24,
        });
    }

    fn plays(&mut self, epoch: u32, ms: u64, state: Playing) {
        let report = Played {
            epoch,
            samples: ms * 24,
            state,
        };
        self.give(Input::Played(self.id(), report));
    }
}

#[test]
fn what_webrtc_does_not_carry_in_its_third_is_made_over_a_socket() {
    let reached = [
        Stage::Token,
        Stage::Microphone,
        Stage::Offer,
        Stage::Exchange,
        Stage::Answer,
        Stage::Ice,
    ];
    // Stuck in the offer, the exchange, the answer, ice, the channel.
    for done in 2..=reached.len() {
        let mut page = Page::new(falling_back());
        let waiter = page.connect();
        reached[..done].iter().for_each(|&stage| page.stage(stage));
        page.pass(4_999);
        assert_eq!(page.fallbacks(), []);
        page.pass(1);
        let stuck = STAGES[done];
        assert_eq!(
            page.fallbacks(),
            [(ErrorCode::ConnectTimeout, Some(stuck), Some(5_000))]
        );
        assert!(page.says(&Output::HangUp(CallId(1))));
        assert!(page.says(&Output::Open(CallId(2), Transport::WebSocket)));
        assert_eq!(
            count(&page, |output| matches!(
                output,
                Output::OpenMicrophone { .. }
            )),
            1
        );
        page.socket_opens();
        assert!(page.says(&Output::Dial(CallId(2))), "{stuck:?}");
        assert!(page.settled(waiter).unwrap().is_ok());
        assert_eq!(page.voice.state(), State::Connected);
    }
}

#[test]
fn a_failure_of_webrtcs_own_does_not_wait_for_its_time() {
    type Fails = fn(CallId) -> Input;
    let cases: [(usize, Fails, ErrorCode); 4] = [
        (
            2,
            |call| Input::Offered(call, false),
            ErrorCode::ConnectFailed,
        ),
        (
            3,
            |call| Input::Exchanged(call, refused(404)),
            ErrorCode::SdpExchangeFailed,
        ),
        (
            4,
            |call| Input::Accepted(call, false),
            ErrorCode::SdpExchangeFailed,
        ),
        (
            5,
            |call| Input::Path(call, Path::Failed),
            ErrorCode::IceFailed,
        ),
    ];
    for (done, fails, code) in cases {
        let mut page = Page::new(falling_back());
        let waiter = page.connect();
        STAGES
            .into_iter()
            .take(done)
            .for_each(|stage| page.stage(stage));
        let call = page.id();
        page.give(fails(call));
        assert_eq!(page.fallbacks(), [(code, Some(STAGES[done]), None)]);
        page.socket_opens();
        assert!(page.settled(waiter).unwrap().is_ok());
    }
}

#[test]
fn token_microphone_and_a_servers_no_do_not_fall_back() {
    type Fails = fn(&mut Page);
    let cases: [Fails; 6] = [
        |page| page.give(Input::Token(page.id(), TokenResult::None)),
        |page| page.give(Input::Microphone(page.mic_id(), Err(Trouble::Denied))),
        |page| {
            STAGES
                .into_iter()
                .take(3)
                .for_each(|stage| page.stage(stage));
            page.give(Input::Exchanged(page.id(), refused(403)));
        },
        |page| {
            STAGES
                .into_iter()
                .take(3)
                .for_each(|stage| page.stage(stage));
            page.give(Input::Exchanged(page.id(), Exchange::Unreachable));
        },
        // The channel is open: WebRTC carries it.
        |page| {
            STAGES
                .into_iter()
                .take(7)
                .for_each(|stage| page.stage(stage));
            page.pass(15_000);
        },
        // Nobody has answered the question for the microphone.
        |page| {
            page.stage(Stage::Token);
            page.stage(Stage::Offer);
            page.pass(15_000);
        },
    ];
    for (n, fails) in cases.into_iter().enumerate() {
        let mut page = Page::new(falling_back());
        let waiter = page.connect();
        fails(&mut page);
        assert_eq!(page.fallbacks(), [], "case {n}");
        assert!(page.settled(waiter).unwrap().is_err(), "case {n}");
        assert_eq!(page.wait, None, "case {n}");
    }
    // Nor anything where the page does not want it.
    let mut page = Page::new(Config::default());
    page.connect();
    STAGES
        .into_iter()
        .take(5)
        .for_each(|stage| page.stage(stage));
    page.pass(14_000);
    assert_eq!(page.fallbacks(), []);
}

#[test]
fn a_late_answer_to_the_microphones_question_leaves_time_for_both() {
    let mut page = Page::new(falling_back());
    let waiter = page.connect();
    page.stage(Stage::Token);
    page.stage(Stage::Offer);
    page.pass(12_000);
    page.stage(Stage::Microphone);
    page.pass(1_499);
    assert_eq!(page.fallbacks(), []);
    page.pass(1);
    assert_eq!(page.fallbacks().len(), 1);
    // One deadline over all of it.
    page.pass(1_500);
    let failure = page.settled(waiter).unwrap().unwrap_err();
    assert_eq!(
        (failure.code, failure.stage, failure.timeout_ms),
        (ErrorCode::ConnectTimeout, Some(Stage::Token), Some(15_000))
    );
    assert_eq!(page.wait, None);
}

#[test]
fn webrtc_is_tried_first_again_but_not_for_as_long_until_it_carries_a_call() {
    let mut page = Page::new(falling_back());
    page.connect();
    [Stage::Token, Stage::Microphone, Stage::Offer]
        .into_iter()
        .for_each(|stage| page.stage(stage));
    page.pass(5_000);
    page.socket_opens();
    for round in 0..2 {
        page.is_lost();
        assert!(
            page.says(&Output::Open(page.id(), Transport::WebRtc)),
            "first"
        );
        page.stage(Stage::Token);
        page.stage(Stage::Offer);
        page.outputs.clear();
        page.pass(1_250);
        let failed = (
            ErrorCode::ConnectTimeout,
            Some(Stage::Exchange),
            Some(1_250),
        );
        assert_eq!(page.fallbacks(), [failed], "round {round}");
        page.socket_opens();
        assert_eq!(page.voice.state(), State::Connected);
        page.outputs.clear();
    }
    // It carries one: next time it has its whole time.
    page.is_lost();
    page.dial_again();
    page.is_lost();
    page.stage(Stage::Token);
    page.stage(Stage::Offer);
    page.pass(4_900);
    assert_eq!(page.fallbacks(), []);
    page.pass(100);
    assert_eq!(page.fallbacks().len(), 1);
}

#[test]
fn a_call_may_begin_on_a_socket_and_be_switched_with_its_conversation() {
    let mut page = Page::on_socket(false);
    let item = Item {
        id: "i".into(),
        kind: ItemKind::Message {
            role: Role::User,
            text: Some("a cola".into()),
        },
        incomplete: false,
    };
    page.hear(Event::Item {
        item,
        previous: Some(None),
    });
    page.give(Input::Transport(Transport::WebRtc));
    page.give(Input::Reconnect(WaiterId(50)));
    assert!(page.says(&Output::Open(CallId(2), Transport::WebRtc)));
    page.dial_again();
    assert!(page.settled(WaiterId(50)).unwrap().is_ok());
    assert_eq!(page.sent.last().unwrap()["item"]["id"], "i");
}

#[test]
fn a_socket_that_is_stuck_or_refused_is_named() {
    for (done, stuck) in [(2, Stage::Offer), (3, Stage::Channel), (4, Stage::Settings)] {
        let mut page = Page::new(over_socket(false));
        let waiter = page.connect();
        SOCKET_STAGES[..done]
            .iter()
            .for_each(|&stage| page.stage(stage));
        page.pass(15_000);
        let failure = page.settled(waiter).unwrap().unwrap_err();
        assert_eq!(
            (failure.code, failure.stage),
            (ErrorCode::ConnectTimeout, Some(stuck))
        );
        assert_eq!(page.wait, None);
    }
    let mut page = Page::new(over_socket(false));
    let waiter = page.connect();
    SOCKET_STAGES[..3]
        .iter()
        .for_each(|&stage| page.stage(stage));
    page.give(Input::ChannelClosed(page.id()));
    let failure = page.settled(waiter).unwrap().unwrap_err();
    assert_eq!(
        (failure.code, failure.stage),
        (ErrorCode::ConnectFailed, Some(Stage::Channel))
    );
}

#[test]
fn nothing_spoken_is_sent_while_muted_and_push_to_talk_loses_nothing() {
    let mut page = Page::on_socket(true);
    let speak = |page: &mut Page| page.give(Input::Spoken(page.id(), "AAAA".into()));
    speak(&mut page);
    assert_eq!(page.types(), Vec::<&str>::new());
    page.give(Input::Talk(true));
    speak(&mut page);
    page.pass(200);
    page.give(Input::Talk(false));
    // What the worklet had of a piece comes after the gate has closed.
    speak(&mut page);
    page.pass(TAIL_MS);
    speak(&mut page);
    assert_eq!(
        page.types(),
        [
            "input_audio_buffer.clear",
            "input_audio_buffer.append",
            "input_audio_buffer.append",
            "input_audio_buffer.commit",
            "response.create"
        ]
    );
    assert_eq!(page.sent[1]["audio"], "AAAA");
    // A slip, and what it left in the worklet.
    page.sent.clear();
    page.hear(Event::Created {
        response: "r".into(),
    });
    page.hear(Event::Done {
        response: "r".into(),
    });
    page.give(Input::Talk(true));
    page.pass(50);
    page.give(Input::Talk(false));
    speak(&mut page);
    page.give(Input::Mute(false));
    speak(&mut page);
    page.give(Input::Mute(true));
    speak(&mut page);
    let slip = "input_audio_buffer.clear";
    assert_eq!(page.types(), [slip, slip, "input_audio_buffer.append"]);
}

#[test]
fn a_network_that_takes_nothing_keeps_the_newest_of_what_is_spoken_and_is_lost_in_the_end() {
    let mut page = Page::on_socket(false);
    let call = page.id();
    let piece = "A".repeat(2_560);
    let mut left = 0;
    // Nothing leaves the browser's buffer any more.
    for n in 0..200 {
        page.voice
            .handle(Input::Spoken(call, piece.clone()), page.now);
        while let Output::Send(call, text) = page.voice.poll_output() {
            left += text.len();
            page.voice.buffered(call, left);
        }
        if n % 25 == 24 {
            page.pass(1_000);
            let sample = Sample {
                heard: 10,
                buffered: left,
                ..Sample::default()
            };
            page.give(Input::Sample(call, sample));
        }
    }
    assert!(left <= 256 * 1024, "{left}");
    assert!(page.says(&Output::Look(call)));
    assert_eq!(page.voice.state(), State::Reconnecting);
    let ended = Notice::Ended {
        reason: EndReason::Network,
        delay_ms: None,
    };
    assert!(
        page.notices()
            .iter()
            .any(|notice| { std::mem::discriminant(*notice) == std::mem::discriminant(&ended) })
    );
    assert!(page.voice.report().unsent > 0 || page.voice.report().score.is_some());
}

#[test]
fn a_full_socket_goes_on_when_its_buffer_has_run_low() {
    let mut page = Page::on_socket(false);
    let call = page.id();
    let long = format!(r#"{{"type":"a","x":"{}"}}"#, "x".repeat(200 * 1024));
    for _ in 0..3 {
        page.voice.send(&long, None, false, page.now).unwrap();
    }
    let mut sent = 0;
    let mut drain = |page: &mut Page, held: usize| {
        while let Output::Send(call, _) = page.voice.poll_output() {
            sent += 1;
            page.voice.buffered(call, held);
        }
        sent
    };
    assert_eq!(drain(&mut page, 200 * 1024), 1);
    page.drain();
    page.pass(50);
    assert_eq!(count(&page, |output| *output == Output::Look(call)), 1);
    page.voice
        .handle(Input::Writable(call, 100 * 1024), page.now);
    assert_eq!(drain(&mut page, 0), 1, "not low yet");
    page.drain();
    page.pass(50);
    page.voice
        .handle(Input::Writable(call, 10 * 1024), page.now);
    assert_eq!(drain(&mut page, 0), 3);
}

#[test]
fn who_is_heard_is_what_the_player_plays() {
    let mut page = Page::on_socket(false);
    page.hear(Event::Speech(true));
    page.hear(Event::Speech(false));
    page.pass(300);
    page.hear(Event::Created {
        response: "r".into(),
    });
    page.sound("r", "a", 200);
    assert!(page.says(&Output::Hear(page.id(), 60 * 24)));
    let told = |page: &Page, assistant| {
        page.says(&Output::Tell(Notice::Speaking {
            user: false,
            assistant,
        }))
    };
    assert!(!told(&page, true), "given is not heard");
    page.pass(60);
    page.plays(0, 5, Playing::On);
    assert!(told(&page, true));
    assert_eq!(page.voice.report().first_audio_ms, Some(360));
    page.hear(Event::SoundDone { item: "a".into() });
    page.hear(Event::Done {
        response: "r".into(),
    });
    page.outputs.clear();
    page.plays(0, 190, Playing::On);
    assert!(
        !told(&page, false),
        "the response is over, its sound is not"
    );
    page.plays(0, 200, Playing::Dry);
    assert!(told(&page, false));
}

#[test]
fn who_speaks_into_an_answer_ends_it_and_what_was_heard_is_told() {
    let mut page = Page::on_socket(false);
    page.hear(Event::Created {
        response: "r".into(),
    });
    page.sound("r", "a", 5_000);
    page.hear(Event::Text {
        role: Role::Assistant,
        item: "a".into(),
        part: 0,
        response: Some("r".into()),
        text: "One two three four five six seven eight nine ten".into(),
    });
    page.plays(0, 940, Playing::On);
    page.outputs.clear();
    page.hear(Event::Speech(true));
    assert!(page.says(&Output::Duck(true)) && page.says(&Output::Silence(page.id())));
    assert!(page.says(&Output::Tell(Notice::Speaking {
        user: true,
        assistant: false
    })));
    page.outputs.clear();
    page.sound("r", "a", 400);
    assert!(
        !page.says(&Output::Hear(page.id(), 60 * 24)),
        "what still comes is not heard"
    );
    page.plays(0, 1_000, Playing::Silenced);
    // The server has ended its response by itself.
    assert_eq!(page.types(), ["conversation.item.truncate"]);
    let truncate = &page.sent[0];
    assert_eq!(
        (
            &truncate["item_id"],
            &truncate["content_index"],
            &truncate["audio_end_ms"]
        ),
        (&"a".into(), &0.into(), &1_000.into())
    );
    let line = page.voice.line("a").unwrap();
    assert!(line.interrupted);
    assert_eq!(line.text.as_deref(), Some("One two three"));
    // The next answer is heard.
    page.hear(Event::Done {
        response: "r".into(),
    });
    page.sound("r2", "b", 200);
    assert!(page.says(&Output::Hear(page.id(), 60 * 24)));
}

#[test]
fn an_answer_that_may_not_be_interrupted_is_only_played_quietly() {
    let mut page = Page::on_socket(false);
    page.hear(Event::Updated {
        confirms: true,
        interrupts: false,
        left_ms: None,
    });
    page.sound("r", "a", 5_000);
    page.plays(0, 100, Playing::On);
    page.hear(Event::Speech(true));
    assert!(page.says(&Output::Duck(true)) && !page.says(&Output::Silence(page.id())));
}

#[test]
fn an_interruption_asks_for_the_response_to_end_and_nothing_heard_is_nothing_cut() {
    let mut page = Page::on_socket(true);
    page.hear(Event::Created {
        response: "r".into(),
    });
    page.sound("r", "a", 5_000);
    page.give(Input::Interrupt);
    page.plays(0, 0, Playing::Silenced);
    assert_eq!(page.types(), ["response.cancel"]);
    // Push-to-talk does the same.
    page.hear(Event::Done {
        response: "r".into(),
    });
    page.hear(Event::Created {
        response: "s".into(),
    });
    page.sound("s", "b", 5_000);
    page.plays(1, 300, Playing::On);
    page.sent.clear();
    page.give(Input::Talk(true));
    page.plays(1, 333, Playing::Silenced);
    assert_eq!(
        page.types(),
        [
            "response.cancel",
            "input_audio_buffer.clear",
            "conversation.item.truncate"
        ]
    );
    assert_eq!(page.sent[2]["audio_end_ms"], 333);
}

#[test]
fn two_hundred_interrupt_points_on_a_socket_bring_no_error() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut page = Page::on_socket(false);
        let whole = rng.between(1, 30) * 200;
        let came = rng.between(0, whole / 200) * 200;
        let heard = rng.between(0, came);
        page.hear(Event::Created {
            response: "r".into(),
        });
        for _ in 0..came / 200 {
            page.sound("r", "a", 200);
        }
        let is_done = came == whole && rng.between(0, 1) == 0;
        if is_done {
            page.hear(Event::SoundDone { item: "a".into() });
            page.hear(Event::Done {
                response: "r".into(),
            });
        }
        page.plays(0, heard / 2, Playing::On);
        let by_voice = rng.between(0, 1) == 0;
        page.give(if by_voice {
            Input::Event(page.id(), Event::Speech(true))
        } else {
            Input::Interrupt
        });
        if page.says(&Output::Silence(page.id())) {
            page.plays(0, heard, Playing::Silenced);
        }
        for event in &page.sent {
            if event["type"] == "conversation.item.truncate" {
                let ms = event["audio_end_ms"].as_u64().unwrap();
                assert!(ms > 0 && ms == heard && ms <= came, "seed {seed}");
            }
        }
        let truncates = page
            .types()
            .iter()
            .filter(|kind| kind.ends_with("truncate"))
            .count();
        let expected = heard > 0 && !(is_done && heard == came);
        assert_eq!(truncates, usize::from(expected), "seed {seed}");
        assert_eq!(
            page.types().contains(&"response.cancel"),
            !by_voice && !is_done
        );
        assert_eq!(page.errors(), 0);
    }
}
