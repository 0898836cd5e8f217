//! A session that an upstream holds: what goes which way, and what is made good after a loss.

use super::super::adapter::{Adapter, Over};
use super::super::far::{Failed, Heard, Upstream};
use super::super::remote::Remote;
use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use tautline_protocol::CloseCode;

/// What a session does with its connections.
#[derive(Clone, Debug, PartialEq)]
enum Did {
    Dialled(u64),
    Sent(Value),
    HungUp,
}

/// An upstream that only listens; what it says, the test says.
#[derive(Clone, Debug, Default)]
struct Far(Rc<RefCell<Vec<Did>>>);

impl Upstream for Far {
    fn dial(&mut self, number: u64, _now: Time) {
        self.0.borrow_mut().push(Did::Dialled(number));
    }

    fn send(&mut self, event: String, _now: Time) {
        let event = serde_json::from_str(&event).unwrap_or(Value::String(event));
        self.0.borrow_mut().push(Did::Sent(event));
    }

    fn hang_up(&mut self) {
        self.0.borrow_mut().push(Did::HungUp);
    }
}

struct Held {
    remote: Remote<Far>,
    far: Far,
    now: Time,
    number: u64,
    wait: Option<Time>,
}

fn settings(policy: Policy) -> Settings {
    Settings::new(&Arc::new(policy), None, &Defaults::default()).unwrap()
}

impl Held {
    fn new(edge: Edge) -> Self {
        let (far, now) = (Far::default(), Time::from_ms(5_000));
        let remote = Remote::new(edge, 7, settings(Policy::demo()), far.clone(), now);
        Self {
            remote,
            far,
            now,
            number: 1,
            wait: None,
        }
    }

    /// One that is there, and what its session is.
    fn up(edge: Edge) -> Self {
        let mut held = Self::new(edge);
        held.hear(Heard::Up);
        let session = json!({"type": "realtime", "id": "sess_up", "instructions": "Be brief.",
            "audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": true}}}});
        held.say(json!({"type": "session.created", "session": {"id": "sess_up"}}));
        held.say(json!({"type": "session.updated", "session": session}));
        held.did();
        held
    }

    fn drain(&mut self) -> Vec<Output> {
        let mut all = Vec::new();
        for _ in 0..10_000 {
            match self.remote.poll_output() {
                Output::Wait(at) => {
                    self.wait = at;
                    return all;
                }
                output => all.push(output),
            }
        }
        panic!("a drain without end");
    }

    fn hear(&mut self, heard: Heard) -> Vec<Output> {
        self.remote.heard(self.number, heard, self.now);
        self.drain()
    }

    fn say(&mut self, event: Value) -> Vec<Output> {
        self.hear(Heard::Said(event.to_string()))
    }

    fn send(&mut self, event: Value) -> Vec<Output> {
        self.remote.event(&event.to_string(), self.now);
        self.drain()
    }

    /// Until it wants to be woken.
    fn wake(&mut self) -> Vec<Output> {
        self.now = self.wait.expect("it waits for something");
        self.remote.timeout(self.now);
        self.drain()
    }

    /// What was done with the connection since this was last asked.
    fn did(&mut self) -> Vec<Did> {
        std::mem::take(&mut *self.far.0.borrow_mut())
    }

    /// Dials again after a loss, and is there.
    fn back(&mut self) -> Vec<Did> {
        assert_eq!(self.wake(), []);
        self.number += 1;
        assert_eq!(self.did(), [Did::Dialled(self.number)]);
        assert_eq!(self.hear(Heard::Up), []);
        self.did()
    }
}

fn events(outputs: &[Output]) -> Vec<Value> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Event(text) => Some(serde_json::from_str(text).unwrap()),
            _ => None,
        })
        .collect()
}

fn unreachable() -> Heard {
    Heard::Failed(Failed {
        code: "upstream_unreachable",
        message: "The upstream cannot be reached.".into(),
        passes: true,
    })
}

fn item(id: &str, previous: Option<&str>, item: Value) -> [Value; 2] {
    let mut item = item;
    item["id"] = json!(id);
    ["conversation.item.added", "conversation.item.done"]
        .map(|kind| json!({"type": kind, "previous_item_id": previous, "item": item}))
}

#[test]
fn the_session_comes_first_and_what_was_sent_meanwhile_after_it() {
    let mut held = Held::new(Edge::Socket);
    assert_eq!(held.drain(), []);
    assert_eq!(held.did(), [Did::Dialled(1)]);
    held.send(user("a cola"));
    held.send(json!({"type": "response.create"}));
    assert_eq!(held.did(), []);
    held.hear(Heard::Up);
    let did = held.did();
    let kinds: Vec<&str> = did
        .iter()
        .map(|did| match did {
            Did::Sent(event) => event["type"].as_str().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "session.update",
            "conversation.item.create",
            "response.create"
        ]
    );
}

#[test]
fn a_turn_under_way_is_lost_with_the_connection_and_said_so_and_the_session_goes_on() {
    let mut held = Held::up(Edge::Socket);
    for event in item(
        "i1",
        None,
        json!({"type": "message", "role": "user", "status": "completed",
        "content": [{"type": "input_audio", "transcript": null}]}),
    ) {
        assert_eq!(events(&held.say(event.clone())), [event]);
    }
    held.say(
        json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "i1",
        "content_index": 0, "transcript": "a cola"}),
    );
    for event in item(
        "i2",
        Some("i1"),
        json!({"type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_audio", "transcript": "One cola."}]}),
    ) {
        held.say(event);
    }
    held.say(
        json!({"type": "response.created", "response": {"id": "r9", "object": "realtime.response",
        "status": "in_progress", "metadata": {"k": "v"}}}),
    );
    let [being_made, _] = item(
        "i3",
        Some("i2"),
        json!({"type": "message", "role": "assistant",
        "status": "in_progress", "content": []}),
    );
    held.say(being_made);
    let told = events(&held.hear(Heard::Closed(None)));
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["type"], "response.done");
    assert_eq!(told[0]["response"]["id"], "r9");
    assert_eq!(told[0]["response"]["status"], "failed");
    assert_eq!(told[0]["response"]["metadata"]["k"], "v");
    assert_eq!(told[1]["error"]["code"], "upstream_turn_lost");
    // What is said into the gap waits.
    held.send(json!({"type": "response.create"}));
    let sent: Vec<Value> = held
        .back()
        .into_iter()
        .map(|did| match did {
            Did::Sent(event) => event,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sent[0]["session"]["instructions"], "Be brief.");
    assert_eq!(sent[0]["session"]["id"], Value::Null);
    assert_eq!(sent[1]["item"]["id"], "i1");
    assert_eq!(
        sent[1]["item"]["content"],
        json!([{"type": "input_text", "text": "a cola"}])
    );
    assert_eq!(
        sent[2]["item"]["content"],
        json!([{"type": "output_text", "text": "One cola."}])
    );
    assert_eq!(sent[3]["type"], "response.create");
    assert_eq!(sent.len(), 4);
    // What the new connection says of all that is no news.
    for event in [
        json!({"type": "session.created", "session": {"id": "sess_2"}}),
        json!({"type": "session.updated", "session": {"id": "sess_2", "instructions": "Be brief."}}),
    ] {
        assert_eq!(held.say(event), []);
    }
    for id in ["i1", "i2"] {
        for event in item(id, None, json!({"type": "message"})) {
            assert_eq!(held.say(event), []);
        }
    }
    let refused =
        json!({"type": "error", "error": {"code": "invalid_value", "event_id": "tautline_seed_0"}});
    assert_eq!(held.say(refused), []);
    let news = json!({"type": "session.updated", "session": {"id": "sess_2"}});
    assert_eq!(events(&held.say(news.clone())), [news]);
}

#[test]
fn a_call_and_its_output_are_given_again_and_an_order_that_is_made_meanwhile_is_told() {
    let mut held = Held::up(Edge::Socket);
    let call = json!({"type": "function_call", "status": "completed", "call_id": "c1", "name": "submit_order",
        "arguments": r#"{"items":[{"menu_item_id":"cola"}]}"#});
    for event in item("f1", None, call.clone()) {
        held.say(event);
    }
    let done = json!({"type": "response.output_item.done", "response_id": "r1", "item": call});
    let outputs = held.say(done);
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Submit { call_id, .. } if call_id == "c1")),
        "{outputs:?}"
    );
    held.did();
    held.hear(Heard::Closed(Some((CloseCode::RESTART, String::new()))));
    held.remote.ordered("c1", Ok(r#"{"id":"o1"}"#), held.now);
    held.drain();
    let did = format!("{:?}", held.back());
    let (call, output) = (
        did.find("function_call\"").unwrap(),
        did.find("function_call_output").unwrap(),
    );
    assert!(call < output, "{did}");
    assert!(did.contains("o1"), "{did}");
}

#[test]
fn silence_that_was_streamed_is_no_turn() {
    let mut held = Held::up(Edge::Socket);
    held.send(json!({"type": "input_audio_buffer.append", "audio": "AAAA"}));
    held.did();
    assert_eq!(held.hear(Heard::Closed(None)), []);
    held.back();
    held.say(
        json!({"type": "input_audio_buffer.speech_started", "item_id": "i1", "audio_start_ms": 0}),
    );
    let told = events(&held.hear(Heard::Closed(None)));
    assert_eq!(told[0]["error"]["code"], "upstream_turn_lost");
}

#[test]
fn it_gives_up_after_so_many_tries_each_later_than_the_one_before_may_be() {
    let mut held = Held::up(Edge::Socket);
    held.hear(Heard::Closed(None));
    let mut longest = 250;
    for _ in 0..5 {
        let wait = held.wait.unwrap() - held.now;
        assert!((50..=longest).contains(&wait), "{wait} of {longest}");
        longest *= 2;
        held.wake();
        held.number += 1;
        let outputs = held.hear(unreachable());
        if held.wait.is_none() {
            let told = events(&outputs);
            assert_eq!(told[0]["error"]["code"], "upstream_lost");
            let message = told[0]["error"]["message"].as_str().unwrap();
            assert!(message.contains("5 tries"), "{message}");
            let over = Over::Upstream {
                code: CloseCode::INTERNAL,
                reason: "upstream_lost".into(),
            };
            assert_eq!(outputs.last(), Some(&Output::End(over)));
        }
    }
    assert_eq!(held.wait, None, "{:?}", held.remote);
    assert_eq!(held.did().last(), Some(&Did::HungUp));
    assert_eq!(held.send(json!({"type": "response.create"})), []);
}

#[test]
fn a_connection_that_has_held_begins_the_tries_anew() {
    let mut held = Held::up(Edge::Socket);
    for _ in 0..20 {
        held.now = held.now + 10_000;
        assert_eq!(held.hear(Heard::Closed(None)), []);
        held.back();
    }
}

#[test]
fn what_does_not_pass_ends_it_at_once_and_an_end_is_passed_on() {
    let mut held = Held::new(Edge::Socket);
    let refused = Failed {
        code: "upstream_auth",
        message: "The upstream does not take this relay's API key.".into(),
        passes: false,
    };
    let outputs = held.hear(Heard::Failed(refused));
    assert_eq!(events(&outputs)[0]["error"]["code"], "upstream_auth");
    assert!(matches!(outputs.last(), Some(Output::End(_))));
    let mut held = Held::up(Edge::Socket);
    let close = (CloseCode::GOING_AWAY, "the longest duration".to_owned());
    let over = Over::Upstream {
        code: close.0,
        reason: close.1.clone(),
    };
    assert_eq!(held.hear(Heard::Closed(Some(close))), [Output::End(over)]);
    assert_eq!(held.did(), [Did::HungUp]);
}

#[test]
fn an_older_connection_has_nothing_to_say() {
    let mut held = Held::up(Edge::Socket);
    held.hear(Heard::Closed(None));
    held.back();
    let event = json!({"type": "response.created", "response": {"id": "r"}});
    held.remote
        .heard(1, Heard::Said(event.to_string()), held.now);
    assert_eq!(held.drain(), []);
    held.remote.heard(1, Heard::Closed(None), held.now);
    assert_eq!(held.drain(), []);
    assert_eq!(held.wait, None);
}

#[test]
fn what_is_kept_for_an_upstream_that_is_away_is_bounded_and_said_once() {
    let mut held = Held::new(Edge::Socket);
    let much = json!({"type": "input_audio_buffer.append", "audio": "A".repeat(1 << 20)});
    let mut told = Vec::new();
    for _ in 0..20 {
        told.extend(events(&held.send(much.clone())));
    }
    assert_eq!(told.len(), 1, "{}", told.len());
    assert_eq!(told[0]["error"]["code"], "upstream_unavailable");
}

#[test]
fn over_rtp_its_sound_is_played_and_cut_where_somebody_speaks() {
    let mut held = Held::new(Edge::Rtc);
    held.hear(Heard::Up);
    let did = held.did();
    let Some(Did::Sent(update)) = did.get(1) else {
        panic!("{did:?}");
    };
    assert_eq!(
        update["session"]["audio"]["output"]["format"]["type"],
        "audio/pcmu"
    );
    held.send(json!({"type": "session.update", "session": {"type": "realtime",
        "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}, "transcription": null}}}}));
    let did = held.did();
    let [Did::Sent(update)] = &did[..] else {
        panic!("{did:?}");
    };
    assert_eq!(update["session"]["audio"]["input"].get("format"), None);
    held.remote.audio(&[0xff; 160], held.now);
    assert!(
        matches!(&held.did()[..], [Did::Sent(event)] if event["type"] == "input_audio_buffer.append")
    );
    held.say(json!({"type": "response.created", "response": {"id": "r1"}}));
    let delta = STANDARD.encode([7; 1_600]);
    let outputs = held.say(
        json!({"type": "response.output_audio.delta", "response_id": "r1", "item_id": "i1",
        "output_index": 0, "content_index": 0, "delta": delta}),
    );
    assert_eq!(events(&outputs)[0]["type"], "output_audio_buffer.started");
    assert_eq!(outputs.last(), Some(&Output::Play(vec![7; 160])));
    assert_eq!(held.wake(), [Output::Play(vec![7; 160])]);
    let outputs = held.say(
        json!({"type": "input_audio_buffer.speech_started", "item_id": "i2", "audio_start_ms": 5}),
    );
    assert_eq!(
        kinds(&events(&outputs)),
        [
            "input_audio_buffer.speech_started",
            "output_audio_buffer.cleared"
        ]
    );
    let did = held.did();
    let [Did::Sent(cut)] = &did[..] else {
        panic!("{did:?}");
    };
    assert_eq!(
        (&cut["type"], &cut["audio_end_ms"]),
        (&json!("conversation.item.truncate"), &json!(40))
    );
}

proptest! {
    /// Whatever comes from either end, in any order: it rests, a response that was told has one end, and after the
    /// session's end nothing comes.
    #[test]
    fn any_order_of_things_ends_in_a_wait(steps in prop::collection::vec((0..12u8, any::<u8>()), 0..120)) {
        let mut held = Held::new(Edge::Socket);
        let mut open: BTreeMap<String, u32> = BTreeMap::new();
        let mut over = false;
        for (step, more) in steps {
            let id = format!("r{more}");
            let outputs = match step {
                0 => held.hear(Heard::Up),
                1 => held.hear(Heard::Closed(None)),
                2 => held.hear(Heard::Closed(Some((CloseCode(1000 + u16::from(more % 14)), "x".into())))),
                3 => held.hear(unreachable()),
                4 => held.say(json!({"type": "response.created", "response": {"id": id}})),
                5 => held.say(json!({"type": "response.done", "response": {"id": id}})),
                6 => held.send(json!({"type": "response.create"})),
                7 => held.send(user("a cola")),
                8 => held.say(item(&format!("i{more}"), None, json!({"type": "message", "role": "user",
                    "content": [{"type": "input_text", "text": "x"}]}))[usize::from(more % 2)].clone()),
                9 => held.hear(Heard::Said("{".repeat(usize::from(more)))),
                10 => {
                    held.now = held.now + u64::from(more) * 100;
                    held.remote.timeout(held.now);
                    held.drain()
                }
                _ => {
                    held.remote.ordered("c", Ok("{}"), held.now);
                    held.drain()
                }
            };
            for did in held.did() {
                if let Did::Dialled(number) = did {
                    held.number = number;
                }
            }
            prop_assert!(!over || outputs.is_empty(), "{outputs:?} after the end");
            over |= outputs.iter().any(|output| matches!(output, Output::End(_)));
            for event in events(&outputs) {
                let id = event["response"]["id"].as_str().unwrap_or_default().to_owned();
                match event["type"].as_str() {
                    Some("response.created") => *open.entry(id).or_default() += 1,
                    Some("response.done") if event["response"]["status"] == "failed" => {
                        let left = open.get_mut(&id);
                        prop_assert!(left.is_some_and(|left| *left > 0), "{id} had its end");
                        *open.get_mut(&id).unwrap() -= 1;
                    }
                    Some("response.done") => {
                        open.insert(id, 0);
                    }
                    _ => {}
                }
            }
        }
    }
}
