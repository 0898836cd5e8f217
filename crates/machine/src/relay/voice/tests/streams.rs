//! One connection of the voice socket: each event of its own, each error, and no order of them that does harm.

use super::super::super::session::{Claims, Config};
use super::super::super::{Moment, Token};
use super::super::error::ApiError;
use super::super::menu::Menu;
use super::super::stream::{Denied, Stream, StreamInput, StreamOutput, Unstarted};
use super::*;
use proptest::prelude::*;
use tautline_protocol::{AuthCode, CloseCode};

struct Socket {
    stream: Stream,
    now: u64,
    menu: Menu,
    sessions: usize,
}

fn claims() -> Claims {
    Claims {
        sub: "post-1".into(),
        restaurants: Some(vec!["grow".into()]),
        role: "kiosk".into(),
        order_ids: Vec::new(),
        expires_at: "X".into(),
        expires_in_ms: 3_600_000,
        issued_at_ms: None,
    }
}

fn sent(outputs: &[StreamOutput]) -> Vec<Value> {
    outputs
        .iter()
        .filter_map(|output| match output {
            StreamOutput::Send(text) => Some(serde_json::from_str(text).unwrap()),
            _ => None,
        })
        .collect()
}

impl Socket {
    fn new() -> Self {
        let mut socket = Self {
            stream: Stream::new(Arc::new(Config::default()), 5),
            now: 1_000,
            menu: Menu::demo(),
            sessions: 0,
        };
        let opened = socket.tell(StreamInput::Opened);
        assert_eq!(sent(&opened)[0]["type"], "connected");
        socket
    }

    /// One whose client is known.
    fn live() -> Self {
        let mut socket = Self::new();
        let outputs = socket.frame(r#"{"type":"auth","token":"t","restaurant_id":"grow"}"#);
        let [StreamOutput::Verify { token, .. }] = &outputs[..] else {
            panic!("{outputs:?}");
        };
        assert_eq!(token, &Token::new("t".into()));
        let outputs = socket.tell(StreamInput::Verified(Ok(claims())));
        let success = &sent(&outputs)[0];
        assert_eq!(success["type"], "auth:success");
        assert_eq!(success["user_id"], "post-1");
        for key in ["epoch", "seq", "resumed", "renewal"] {
            assert_eq!(success.get(key), None, "{success}");
        }
        socket
    }

    /// One with a session.
    fn started(config: Value) -> Self {
        let mut socket = Self::live();
        socket.start(config);
        socket
    }

    fn start(&mut self, config: Value) -> Vec<StreamOutput> {
        let event = json!({"type": "session.start", "session_config": config});
        let outputs = self.frame(&event.to_string());
        assert!(
            matches!(outputs.last(), Some(StreamOutput::Start(_))),
            "{outputs:?}"
        );
        self.sessions += 1;
        let id = format!("sess_{}", self.sessions);
        let begun = self.tell(StreamInput::Started(Ok(id)));
        assert_eq!(sent(&begun)[0]["type"], "session.started");
        outputs
    }

    fn tell(&mut self, input: StreamInput<'_>) -> Vec<StreamOutput> {
        let at = Moment {
            now: Time::from_ms(self.now),
            wall_ms: 1_700_000_000_000 + self.now,
        };
        self.stream.handle(input, at);
        self.drain()
    }

    fn drain(&mut self) -> Vec<StreamOutput> {
        let mut all = Vec::new();
        for _ in 0..1_000 {
            match self.stream.poll_output() {
                StreamOutput::Wait(_) => return all,
                output => all.push(output),
            }
        }
        panic!("a drain without end");
    }

    fn frame(&mut self, text: &str) -> Vec<StreamOutput> {
        self.tell(StreamInput::Frame(text))
    }

    fn say(&mut self, event: Value) -> Vec<StreamOutput> {
        let menu = self.menu.clone();
        self.tell(StreamInput::Said(&event.to_string(), &menu))
    }

    /// An event that is answered by that error.
    #[track_caller]
    fn refused(&mut self, event: Value, code: &str) -> Value {
        let outputs = self.frame(&event.to_string());
        let told = sent(&outputs);
        assert_eq!(told.len(), 1, "{outputs:?}");
        assert_eq!(told[0]["error"]["code"], code, "{}", told[0]);
        told[0]["error"].clone()
    }
}

#[test]
fn every_event_has_its_id_and_its_time() {
    let mut socket = Socket::started(json!({}));
    let told = sent(&socket.frame(r#"{"type":"heartbeat"}"#));
    assert_eq!(told[0]["session_id"], "sess_1");
    assert!(told[0]["event_id"].as_str().unwrap().starts_with("event_"));
    assert_eq!(told[0]["timestamp"], 1_700_000_001_000_u64);
}

#[test]
fn who_is_not_let_in_is_told_why_and_closed() {
    let outcome = |verified| {
        let mut socket = Socket::new();
        socket.frame(r#"{"type":"auth","token":"t","restaurant_id":"grow"}"#);
        let outputs = socket.tell(StreamInput::Verified(verified));
        let told = sent(&outputs);
        assert_eq!(told[0]["type"], "auth:failed");
        let Some(StreamOutput::Close(code, _)) = outputs.last() else {
            panic!("{outputs:?}");
        };
        (told[0]["code"].as_str().unwrap().to_owned(), *code)
    };
    for (code, name, close) in [
        (AuthCode::TokenInvalid, "token_invalid", CloseCode::POLICY),
        (AuthCode::TokenExpired, "token_expired", CloseCode::POLICY),
        (AuthCode::RoleUnknown, "role_unknown", CloseCode::FORBIDDEN),
    ] {
        assert_eq!(outcome(Err(Denied::Auth(code))), (name.into(), close));
    }
    let forbidden = ("restaurant_forbidden".to_owned(), CloseCode::FORBIDDEN);
    assert_eq!(outcome(Err(Denied::Role)), forbidden);
    let other = Claims {
        restaurants: Some(vec!["other".into()]),
        ..claims()
    };
    assert_eq!(outcome(Ok(other)), forbidden);
    let mut socket = Socket::new();
    let outputs = socket.frame(r#"{"type":"session.start"}"#);
    assert!(matches!(
        outputs[..],
        [StreamOutput::Close(CloseCode::POLICY, _)]
    ));
    let mut socket = Socket::new();
    socket.now += 10_000;
    let outputs = socket.tell(StreamInput::Tick);
    assert!(matches!(
        outputs[..],
        [StreamOutput::Close(CloseCode::AUTH_TIMEOUT, _)]
    ));
}

#[test]
fn a_token_is_renewed_and_runs_out() {
    let mut socket = Socket::started(json!({}));
    let renew = r#"{"type":"auth","token":"t2"}"#;
    assert!(matches!(
        socket.frame(renew)[..],
        [StreamOutput::Verify { .. }]
    ));
    let other = Claims {
        sub: "somebody".into(),
        ..claims()
    };
    let told = sent(&socket.tell(StreamInput::Verified(Ok(other))));
    assert_eq!(
        (&told[0]["code"], &told[0]["renewal"]),
        (&json!("identity_changed"), &json!(true))
    );
    let soon: Value = serde_json::from_str(renew).unwrap();
    socket.refused(soon, "RATE_LIMIT_EXCEEDED");
    socket.now += 10_000;
    socket.frame(renew);
    let told = sent(&socket.tell(StreamInput::Verified(Ok(claims()))));
    assert_eq!(told[0]["renewal"], true);
    socket.now += 3_600_000 + 30_000;
    let outputs = socket.tell(StreamInput::Tick);
    assert!(
        matches!(
            outputs[..],
            [StreamOutput::Close(CloseCode::TOKEN_EXPIRED, _)]
        ),
        "{outputs:?}"
    );
    assert!(!socket.stream.has_session());
}

#[test]
fn before_a_session_there_is_none() {
    let mut socket = Socket::live();
    for kind in ["audio", "session.stop", "heartbeat", "made-up"] {
        let error = socket.refused(
            json!({"type": kind, "event_id": "mine"}),
            "SESSION_NOT_FOUND",
        );
        assert_eq!(error["details"]["event_id"], "mine");
    }
    assert!(!socket.stream.has_session());
}

#[test]
fn what_cannot_be_read_is_answered_and_the_socket_stays() {
    let mut socket = Socket::started(json!({}));
    for text in [
        "",
        "[]",
        "{",
        "7",
        r#"{"type":7}"#,
        r#"{"a":1,"a":2,"type":"audio"}"#,
    ] {
        let told = sent(&socket.frame(text));
        assert_eq!(told[0]["error"]["code"], "UNKNOWN_ERROR", "{text}");
        assert!(
            told[0]["error"]["details"]["reason"].is_string(),
            "{}",
            told[0]
        );
        assert_eq!(told[0]["error"]["session_id"], "sess_1");
    }
    socket.refused(json!({"type": "made-up"}), "UNKNOWN_ERROR");
    let told = sent(&socket.tell(StreamInput::TooBig));
    assert_eq!(told[0]["error"]["code"], "UNKNOWN_ERROR");
    assert!(socket.stream.has_session());
    let outputs = socket.tell(StreamInput::Binary);
    assert!(matches!(
        outputs[..],
        [StreamOutput::Close(CloseCode::UNSUPPORTED, _)]
    ));
}

#[test]
fn three_formats_are_taken_and_no_other() {
    for (config, format) in [
        (json!({}), "audio/pcm"),
        (
            json!({"audio_format": "pcm16", "sample_rate": 24000}),
            "audio/pcm",
        ),
        (json!({"audio_format": "g711_ulaw"}), "audio/pcmu"),
        (
            json!({"audio_format": "g711_alaw", "sample_rate": 8000}),
            "audio/pcma",
        ),
    ] {
        let mut socket = Socket::live();
        let outputs = socket.start(config);
        let Some(StreamOutput::Start(start)) = outputs.last() else {
            panic!("{outputs:?}");
        };
        let audio = &start.session["audio"];
        assert_eq!(audio["input"]["format"]["type"], format);
        assert_eq!(audio["output"]["format"]["type"], format);
        assert!(audio["input"]["transcription"].is_object());
        Settings::new(
            &Arc::new(Policy::demo()),
            Some(&start.session),
            &Defaults::default(),
        )
        .unwrap();
    }
    let mut socket = Socket::live();
    for config in [
        json!({"audio_format": "opus"}),
        json!({"audio_format": 7}),
        json!({"audio_format": "pcm16", "sample_rate": 16000}),
        json!({"audio_format": "g711_ulaw", "sample_rate": 24000}),
        json!({"sample_rate": "24000"}),
    ] {
        let event = json!({"type": "session.start", "session_config": config});
        let error = socket.refused(event, "INVALID_AUDIO_FORMAT");
        assert_eq!(error["details"]["taken"].as_array().unwrap().len(), 3);
    }
    for config in [
        json!({"restaurant_id": "other"}),
        json!({"loopback": "yes"}),
        json!(7),
    ] {
        let event = json!({"type": "session.start", "session_config": config});
        socket.refused(event, "UNKNOWN_ERROR");
    }
}

#[test]
fn a_second_session_ends_the_first_and_a_refused_start_leaves_it() {
    let mut socket = Socket::started(json!({"restaurant_id": "grow"}));
    let bad = json!({"type": "session.start", "session_config": {"audio_format": "opus"}});
    socket.refused(bad, "INVALID_AUDIO_FORMAT");
    assert!(socket.stream.has_session());
    let outputs = socket.start(json!({}));
    assert!(matches!(outputs[0], StreamOutput::Stop));
    let told = &sent(&outputs)[0]["error"];
    assert_eq!(told["code"], "SESSION_NOT_FOUND");
    assert_eq!(
        (&told["session_id"], &told["details"]["reason"]),
        (&json!("sess_1"), &json!("replaced"))
    );
    socket.frame(r#"{"type":"session.start"}"#);
    let full = Unstarted::Full("There are 2 already.".into());
    let told = sent(&socket.tell(StreamInput::Started(Err(full))));
    assert_eq!(told[0]["error"]["code"], "RATE_LIMIT_EXCEEDED");
    assert!(!socket.stream.has_session());
}

#[test]
fn sound_goes_on_whole_and_comes_back() {
    let mut socket = Socket::started(json!({}));
    let audio = STANDARD.encode([1, 2, 3, 4]);
    let outputs = socket.frame(&json!({"type": "audio", "audio": audio}).to_string());
    let [StreamOutput::Pass(event)] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!(
        event,
        json!({"type": "input_audio_buffer.append", "audio": audio})
    );
    for audio in [
        json!("AAA"),
        json!("!"),
        json!(7),
        Value::Null,
        json!(STANDARD.encode([1])),
    ] {
        socket.refused(
            json!({"type": "audio", "audio": audio}),
            "AUDIO_PROCESSING_FAILED",
        );
    }
    let told = sent(&socket.say(json!({"type": "response.output_audio.delta", "delta": audio})));
    assert_eq!(
        (&told[0]["type"], &told[0]["audio"]),
        (&json!("audio"), &json!(audio))
    );
}

#[test]
fn what_was_said_comes_in_parts_and_whole() {
    let mut socket = Socket::started(json!({}));
    let kind = |kind: &str| format!("conversation.item.input_audio_transcription.{kind}");
    let mut say = |event: Value| {
        let told = sent(&socket.say(event));
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    };
    let one = say(json!({"type": kind("delta"), "item_id": "i", "delta": "two "}));
    assert_eq!(
        (&one["transcript"], &one["is_final"]),
        (&json!("two "), &json!(false))
    );
    let two = say(json!({"type": kind("delta"), "item_id": "i", "delta": "colas"}));
    assert_eq!(two["transcript"], "two colas");
    let whole = say(
        json!({"type": kind("completed"), "item_id": "i", "transcript": "Two colas.",
        "logprobs": [{"logprob": 0.0}, {"logprob": 0.0}]}),
    );
    assert_eq!(
        (&whole["transcript"], &whole["is_final"]),
        (&json!("Two colas."), &json!(true))
    );
    assert_eq!(whole["confidence"], 1.0);
    let failed = say(
        json!({"type": kind("failed"), "item_id": "i", "error": {"code": "x", "message": "m"}}),
    );
    assert_eq!(failed["error"]["code"], "TRANSCRIPT_FAILED");
}

fn call(name: &str, arguments: &str) -> Value {
    json!({"type": "response.output_item.done", "response_id": "r1", "item": {"type": "function_call",
        "status": "completed", "id": "f1", "call_id": "c1", "name": name, "arguments": arguments}})
}

#[test]
fn an_order_is_detected_and_what_is_nobody_elses_call_is_answered() {
    let mut socket = Socket::started(json!({}));
    let order = r#"{"items":[{"menu_item_id":"cola","quantity":2}]}"#;
    let told = sent(&socket.say(call("submit_order", order)));
    assert_eq!(told[0]["type"], "order.detected");
    assert_eq!(
        told[0]["order"],
        json!({"items": [{"name": "Cola", "quantity": 2, "price": 2.8, "modifiers": ["small"]}], "total": 5.6, "confidence": 1})
    );
    // The relay says what became of it.
    let output = json!({"type": "function_call_output", "call_id": "c1", "output": r#"{"ok":false,"error":"closed"}"#});
    let told = sent(&socket.say(json!({"type": "conversation.item.added", "item": output})));
    assert_eq!(told[0]["error"]["code"], "ORDER_PARSING_FAILED");
    assert_eq!(told[0]["error"]["details"]["reason"], "closed");
    // In the middle of a response: the answer is asked for after it.
    socket.say(json!({"type": "response.created", "response": {"id": "r1"}}));
    let outputs = socket.say(call("add_to_order", order));
    let [StreamOutput::Send(_), StreamOutput::Pass(output)] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert!(output.contains("function_call_output"));
    let outputs = socket.say(json!({"type": "response.done", "response": {"id": "r1"}}));
    assert!(
        matches!(&outputs[..], [StreamOutput::Pass(event)] if event.contains("response.create"))
    );
    let outputs = socket.say(call("unknown", "{}"));
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    // Without a menu nobody else makes an order.
    socket.menu = Menu::default();
    let outputs = socket.say(call("submit_order", order));
    assert!(
        matches!(&outputs[0], StreamOutput::Pass(event) if event.contains("not on the menu")),
        "{outputs:?}"
    );
}

#[test]
fn errors_of_the_session_have_codes_of_the_sockets() {
    let mut socket = Socket::started(json!({}));
    for (code, param, expected) in [
        ("rate_limit_exceeded", Value::Null, "RATE_LIMIT_EXCEEDED"),
        (
            "input_audio_buffer_full",
            Value::Null,
            "AUDIO_PROCESSING_FAILED",
        ),
        ("invalid_value", json!("audio"), "AUDIO_PROCESSING_FAILED"),
        ("invalid_value", json!("session"), "UNKNOWN_ERROR"),
        (
            "upstream_turn_lost",
            Value::Null,
            "OPENAI_CONNECTION_FAILED",
        ),
        ("made_up", Value::Null, "UNKNOWN_ERROR"),
    ] {
        let error = json!({"code": code, "message": "m", "param": param});
        let told = sent(&socket.say(json!({"type": "error", "error": error})));
        assert_eq!(told[0]["error"]["code"], expected, "{code}");
        assert_eq!(told[0]["error"]["details"]["code"], code);
    }
    let dropped = ApiError::invalid("rate_limit_exceeded", "Too many messages; send fewer.");
    let told = sent(&socket.tell(StreamInput::Dropped(&dropped)));
    assert_eq!(told[0]["error"]["code"], "RATE_LIMIT_EXCEEDED");
}

#[test]
fn an_end_that_the_client_did_not_ask_for_is_said_once() {
    for (reason, code) in [
        ("idle", "SESSION_NOT_FOUND"),
        ("length", "SESSION_NOT_FOUND"),
        ("operator", "SESSION_NOT_FOUND"),
        ("upstream", "OPENAI_CONNECTION_FAILED"),
        ("rate", "RATE_LIMIT_EXCEEDED"),
        ("panic", "UNKNOWN_ERROR"),
    ] {
        let mut socket = Socket::started(json!({}));
        let told = sent(&socket.tell(StreamInput::Ended {
            reason,
            text: "words",
        }));
        assert_eq!(told[0]["error"]["code"], code, "{reason}");
        assert_eq!(told[0]["error"]["session_id"], "sess_1");
        assert_eq!(told[0]["error"]["details"]["reason"], reason);
        assert!(!socket.stream.has_session());
        assert_eq!(
            socket.tell(StreamInput::Ended {
                reason,
                text: "words"
            }),
            []
        );
    }
    // What whoever answers said of it is the better word, and is not told twice.
    let mut socket = Socket::started(json!({}));
    let error = json!({"code": "upstream_lost", "message": "It could not be reached again."});
    assert_eq!(socket.say(json!({"type": "error", "error": error})), []);
    let told = sent(&socket.tell(StreamInput::Ended {
        reason: "upstream",
        text: "words",
    }));
    let message = told[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("could not be reached again"), "{message}");
    assert_eq!(told[0]["error"]["details"]["code"], "upstream_lost");
    let mut socket = Socket::started(json!({}));
    assert_eq!(
        socket.frame(r#"{"type":"session.stop"}"#),
        [StreamOutput::Stop]
    );
    assert_eq!(
        socket.tell(StreamInput::Ended {
            reason: "client",
            text: ""
        }),
        []
    );
}

#[derive(Clone, Debug)]
enum Step {
    Frame(String),
    Say(Value),
    Verified(bool),
    Started(bool),
    Ended(u8),
    Wait(u32),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let frame = prop::sample::select(vec![
        r#"{"type":"auth","token":"t"}"#,
        r#"{"type":"session.start"}"#,
        r#"{"type":"session.start","session_config":{"audio_format":"g711_alaw","loopback":true}}"#,
        r#"{"type":"session.start","session_config":{"sample_rate":1}}"#,
        r#"{"type":"audio","audio":"AAAA"}"#,
        r#"{"type":"audio","audio":"A"}"#,
        r#"{"type":"session.stop"}"#,
        r#"{"type":"heartbeat"}"#,
        r#"{"type":"x"}"#,
        "{",
    ]);
    let said = prop::sample::select(vec![
        json!({"type": "response.created", "response": {"id": "r1"}}),
        json!({"type": "response.done", "response": {"id": "r1"}}),
        json!({"type": "error", "error": {"code": "upstream_lost", "message": "m"}}),
        json!({"type": "conversation.item.input_audio_transcription.delta", "item_id": "i", "delta": "x"}),
        call("add_to_order", r#"{"items":[{"name":"cola"}]}"#),
        call("submit_order", "{"),
        json!({"type": "response.output_audio.delta"}),
        json!([]),
    ]);
    let step = prop_oneof![
        6 => frame.prop_map(|text| Step::Frame(text.into())),
        3 => said.prop_map(Step::Say),
        3 => prop::bool::weighted(0.9).prop_map(Step::Verified),
        3 => prop::bool::weighted(0.8).prop_map(Step::Started),
        1 => (0..5u8).prop_map(Step::Ended),
        1 => (0..4_000_000u32).prop_map(Step::Wait),
        1 => Just(Step::Close),
        1 => "\\PC{0,30}".prop_map(Step::Frame),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The driver's account of the sessions, from what it is told to do, is the machine's; and a close leaves none.
    #[test]
    fn no_order_of_things_leaves_a_session(steps in steps()) {
        let mut socket = Socket::new();
        let (mut running, mut closed, mut made) = (false, false, 0);
        for step in steps {
            let outputs = match step {
                Step::Frame(text) => socket.frame(&text),
                Step::Say(event) => socket.say(event),
                Step::Verified(true) => socket.tell(StreamInput::Verified(Ok(claims()))),
                Step::Verified(false) => {
                    socket.tell(StreamInput::Verified(Err(Denied::Auth(AuthCode::TokenInvalid))))
                }
                Step::Started(ok) => {
                    made += 1;
                    let started = if ok { Ok(format!("s{made}")) } else { Err(Unstarted::Full("x".into())) };
                    let outputs = socket.tell(StreamInput::Started(started));
                    running |= sent(&outputs).iter().any(|event| event["type"] == "session.started");
                    outputs
                }
                Step::Ended(which) => {
                    let reason = ["idle", "upstream", "panic", "client", "rate"][usize::from(which)];
                    running = false;
                    socket.tell(StreamInput::Ended { reason, text: "x" })
                }
                Step::Wait(ms) => {
                    socket.now += u64::from(ms);
                    socket.tell(StreamInput::Tick)
                }
                Step::Close => socket.tell(StreamInput::End(CloseCode::NORMAL, "x")),
            };
            prop_assert!(!closed || outputs.is_empty(), "{outputs:?}");
            for output in &outputs {
                match output {
                    StreamOutput::Stop => {
                        prop_assert!(running);
                        running = false;
                    }
                    StreamOutput::Close(..) => {
                        closed = true;
                        running = false;
                    }
                    StreamOutput::Pass(_) => prop_assert!(running),
                    _ => {}
                }
            }
            prop_assert_eq!(running, socket.stream.has_session());
        }
    }
}
