use super::*;
use proptest::prelude::*;

/// What a client may do.
#[derive(Clone, Debug)]
enum Act {
    Send(usize),
    /// An event about the n-th last item.
    About(usize, usize, u64),
    Speak(u64),
    Quiet(u64),
    Wait(u64),
    Ordered(bool),
    Text(String),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..EVENTS).prop_map(Act::Send),
        3 => (0..3usize, 0..4usize, 0..4_000u64).prop_map(|(a, b, c)| Act::About(a, b, c)),
        3 => (1..60u64).prop_map(|n| Act::Speak(n * 20)),
        3 => (1..30u64).prop_map(|n| Act::Quiet(n * 20)),
        2 => (0..2_000u64).prop_map(Act::Wait),
        1 => any::<bool>().prop_map(Act::Ordered),
        1 => "\\PC{0,40}".prop_map(Act::Text),
    ];
    prop::collection::vec(act, 1..40)
}

const EVENTS: usize = 18;

fn event(n: usize) -> Value {
    let update = |session: Value| json!({"type": "session.update", "session": session});
    match n {
        0 => user("two burgers and a cola"),
        1 => user("that's all"),
        2 => user("hello"),
        3 => json!({"type": "response.create"}),
        4 => json!({"type": "response.create", "response": {"conversation": "none"}}),
        5 => {
            json!({"type": "response.create", "response": {"output_modalities": ["text"], "max_output_tokens": 3}})
        }
        6 => json!({"type": "response.cancel"}),
        7 => json!({"type": "input_audio_buffer.commit"}),
        8 => json!({"type": "input_audio_buffer.clear"}),
        9 => json!({"type": "output_audio_buffer.clear"}),
        10 => update(json!({"type": "realtime", "audio": {"input": {"turn_detection": null}}})),
        11 => update(
            json!({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}),
        ),
        12 => update(
            json!({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}),
        ),
        13 => update(
            json!({"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}),
        ),
        14 => update(
            json!({"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm"},
            "transcription": {"model": "x"}}}}),
        ),
        15 => update(json!({"type": "realtime", "output_modalities": ["text"]})),
        16 => update(
            json!({"type": "realtime", "audio": {"input": {"turn_detection": {
            "type": "server_vad", "interrupt_response": false, "idle_timeout_ms": 5_000}}}}),
        ),
        _ => json!({"type": "conversation.item.create", "previous_item_id": "root", "item": {
            "type": "message", "role": "system", "content": []}}),
    }
}

fn play(edge: Edge, acts: &[Act]) -> Call {
    let mut call = Call::new(edge);
    for act in acts {
        match act {
            Act::Send(n) => drop(call.send(event(*n))),
            Act::Text(text) => drop(call.send_text(text)),
            Act::About(kind, back, ms) => {
                let items = call.all("conversation.item.added");
                let id = match items.len().checked_sub(back + 1) {
                    Some(at) => items[at]["item"]["id"].clone(),
                    None => json!("nobody"),
                };
                call.send(match kind {
                    0 => json!({"type": "conversation.item.retrieve", "item_id": id}),
                    1 => json!({"type": "conversation.item.truncate", "item_id": id, "audio_end_ms": ms}),
                    _ => json!({"type": "conversation.item.delete", "item_id": id}),
                });
            }
            Act::Speak(ms) | Act::Quiet(ms) => {
                let ms = *ms as usize;
                let sound = |rate| match act {
                    Act::Speak(_) => tone(rate, 440.0, ms),
                    _ => silence(rate, ms),
                };
                match edge {
                    Edge::Rtc => drop(call.hear(&sound(Rate::Narrow).samples)),
                    Edge::Socket => {
                        let format = call.peer.settings().input_format;
                        call.append(&sound(format.rate()), format);
                    }
                }
            }
            Act::Wait(ms) => drop(call.run(*ms)),
            Act::Ordered(ok) => {
                if let Some((id, _)) = call.submitted.last().cloned() {
                    let result = if *ok {
                        Ok(r#"{"order_number":"1"}"#)
                    } else {
                        Err("closed")
                    };
                    call.peer.ordered(&id, result, call.now);
                    call.drain();
                }
            }
        }
    }
    // Whatever runs comes to its end: no further turn, no idling.
    call.send(
        json!({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {
        "turn_detection": null}}}}),
    );
    call.run(120_000);
    assert_eq!(call.wait, None);
    call
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_client_gets_whole_responses_over_rtc(acts in acts()) {
        check(&play(Edge::Rtc, &acts).events, Edge::Rtc);
    }

    #[test]
    fn any_client_gets_whole_responses_over_a_socket(acts in acts()) {
        check(&play(Edge::Socket, &acts).events, Edge::Socket);
    }

    #[test]
    fn the_same_acts_give_the_same_events(acts in acts()) {
        prop_assert_eq!(play(Edge::Rtc, &acts).events, play(Edge::Rtc, &acts).events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A client that interrupts at any moment as the official ones do gets no error.
    #[test]
    fn no_moment_is_wrong_for_an_interruption(at in 0..4_000u64, manual in any::<bool>()) {
        let mut call = Call::new(Edge::Rtc);
        call.hear(&tone(Rate::Narrow, 440.0, 2_000).samples);
        call.hear(&silence(Rate::Narrow, 220).samples);
        call.run(at);
        if manual {
            // It knows of a response between its created and its done.
            if call.all("response.created").len() > call.all("response.done").len() {
                call.send(json!({"type": "response.cancel"}));
            }
            call.send(json!({"type": "output_audio_buffer.clear"}));
        } else {
            call.hear(&tone(Rate::Narrow, 300.0, 100).samples);
            call.hear(&silence(Rate::Narrow, 400).samples);
        }
        call.run(10_000);
        prop_assert!(call.all("error").is_empty());
        for cut in call.all("conversation.item.truncated") {
            prop_assert!(cut["audio_end_ms"].as_u64().unwrap() <= 2_500);
        }
        check(&call.events, Edge::Rtc);
    }

    /// The same over a socket, where the client cuts what it has played itself.
    #[test]
    fn no_moment_is_wrong_for_a_clients_own_truncation(at in 0..400u64, share in 0.0..1.0f64) {
        let mut call = Call::new(Edge::Socket);
        call.append(&tone(Rate::Wide, 440.0, 2_000), Format::Pcm);
        call.append(&silence(Rate::Wide, 300), Format::Pcm);
        call.run(at);
        call.append(&tone(Rate::Wide, 300.0, 100), Format::Pcm);
        let got: usize = call
            .all("response.output_audio.delta")
            .iter()
            .map(|event| STANDARD.decode(event["delta"].as_str().unwrap()).unwrap().len())
            .sum();
        let played = ((got / 48) as f64 * share) as u64;
        if played > 0 {
            let id = call.all("response.output_audio.delta")[0]["item_id"].clone();
            call.send(json!({"type": "conversation.item.truncate", "item_id": id, "content_index": 0,
                "audio_end_ms": played}));
            prop_assert_eq!(&call.last("conversation.item.truncated")["audio_end_ms"], &json!(played));
        }
        call.append(&silence(Rate::Wide, 400), Format::Pcm);
        call.run(10_000);
        prop_assert!(call.all("error").is_empty());
        check(&call.events, Edge::Socket);
    }
}

/// JSON of the names that events are made of, and of values they do not expect.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2.0..2.0f64).prop_map(Value::from),
        prop::sample::select(NAMES).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(NAMES), inner, 0..8).prop_map(|map| {
                Value::Object(
                    map.into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

const NAMES: &[&str] = &[
    "type",
    "session",
    "audio",
    "input",
    "output",
    "format",
    "turn_detection",
    "server_vad",
    "semantic_vad",
    "threshold",
    "eagerness",
    "tools",
    "function",
    "name",
    "tool_choice",
    "model",
    "voice",
    "realtime",
    "item",
    "message",
    "role",
    "user",
    "assistant",
    "content",
    "input_text",
    "input_audio",
    "text",
    "response",
    "conversation",
    "metadata",
    "instructions",
    "id",
    "items",
    "call_id",
    "arguments",
    "audio/pcm",
    "none",
    "auto",
    "output_modalities",
    "response.create",
    "session.update",
    "conversation.item.create",
    "submit_order",
    "status",
    "function_call",
    "completed",
    "session.updated",
    "response.done",
    "response.output_item.done",
    "menu_item_id",
    "cola",
    "quantity",
    "modifiers",
    "previous_item_id",
    "error",
    "event_id",
    "mcp",
    "speed",
    "truncation",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_json_does_harm(kind in prop::sample::select(NAMES), value in json_value()) {
        let mut call = Call::new(Edge::Socket);
        call.send(value.clone());
        for key in ["session", "item", "response", "audio"] {
            for kind in ["session.update", "conversation.item.create", "response.create",
                "input_audio_buffer.append", kind] {
                let mut asked = value.clone();
                if key == "session" && asked.is_object() {
                    asked["type"] = json!("realtime");
                }
                call.send(json!({"type": kind, key: asked}));
            }
        }
        call.run(60_000);
        check(&call.events, Edge::Socket);
    }

    #[test]
    fn no_upstream_does_harm(value in json_value(), kind in prop::sample::select(NAMES)) {
        let settings = Settings::new(&Arc::new(Policy::demo()), None, &Defaults::default()).unwrap();
        let mut watch = super::super::Watch::new(settings, 1_000, Time::from_ms(0));
        watch.event(&value.to_string(), Time::from_ms(1));
        for key in ["session", "item", "response", "error"] {
            watch.event(&json!({"type": kind, key: value}).to_string(), Time::from_ms(2));
        }
        watch.timeout(Time::from_ms(1_000));
        let ended = (0..100).map(|_| watch.poll_output()).find(|output| {
            matches!(output, super::super::WatchOutput::Wait(_))
        });
        prop_assert_eq!(ended, Some(super::super::WatchOutput::Wait(None)));
    }
}
