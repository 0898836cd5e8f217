//! Scripts as they are played, each fault among them.

use super::super::adapter::{Adapter, Over};
use super::super::recital::Recital;
use super::super::remote::Remote;
use super::super::script::Script;
use super::*;
use tautline_protocol::CloseCode;

struct Played {
    remote: Remote<Recital>,
    now: Time,
    wait: Option<Time>,
}

impl Played {
    fn new(edge: Edge, script: Value) -> Self {
        Self::asked(edge, script, None)
    }

    fn asked(edge: Edge, script: Value, asked: Option<&Value>) -> Self {
        let script: Script = serde_json::from_value(script).unwrap();
        script.check().unwrap();
        let settings =
            Settings::new(&Arc::new(Policy::demo()), asked, &Defaults::default()).unwrap();
        let now = Time::from_ms(1_000);
        let recital = Recital::new(Arc::new(script));
        let remote = Remote::new(edge, 3, settings, recital, now);
        Self {
            remote,
            now,
            wait: None,
        }
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

    fn send(&mut self, event: Value) -> Vec<Output> {
        self.remote.event(&event.to_string(), self.now);
        self.drain()
    }

    /// Lets so much time pass, waking it when it wants to be.
    fn run(&mut self, ms: u64) -> Vec<(u64, Output)> {
        let (from, until) = (self.now, self.now + ms);
        let mut all = Vec::new();
        while let Some(at) = self.wait.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.remote.timeout(self.now);
            let outputs = self.drain();
            all.extend(outputs.into_iter().map(|output| (self.now - from, output)));
        }
        self.now = until;
        all
    }
}

fn kind(output: &Output) -> String {
    match output {
        Output::Event(text) => {
            let event: Value = serde_json::from_str(text).unwrap();
            let kind = event["type"].as_str().unwrap();
            match event["error"]["code"].as_str() {
                Some(code) => format!("{kind} {code}"),
                None => kind.into(),
            }
        }
        Output::Play(_) => "play".into(),
        Output::Submit { .. } => "submit".into(),
        Output::End(_) => "end".into(),
        Output::Wait(_) => "wait".into(),
    }
}

fn of_kinds(outputs: &[(u64, Output)]) -> Vec<(u64, String)> {
    outputs
        .iter()
        .map(|(at, output)| (*at, kind(output)))
        .collect()
}

fn at(ms: u64, kind: &str) -> (u64, String) {
    (ms, kind.into())
}

#[test]
fn steps_follow_what_happens_each_once_in_its_time() {
    let mut played = Played::new(
        Edge::Socket,
        json!({"step": [
            {"on": "start", "then": [{"after_ms": 100, "event": {"type": "one"}}]},
            {"on": "response.create", "then": [
                {"after_ms": 50, "event": {"type": "two"}}, {"after_ms": 25, "event": {"type": "three"}}]},
            {"on": "response.create", "nth": 2, "then": [{"event": {"type": "four"}}]},
            {"on": "audio", "ms": 20, "then": [{"event": {"type": "five"}}]},
        ]}),
    );
    let begun: Vec<String> = played.drain().iter().map(kind).collect();
    assert_eq!(begun, ["session.created", "session.updated"]);
    assert_eq!(of_kinds(&played.run(500)), [at(100, "one")]);
    assert_eq!(played.send(json!({"type": "response.create"})), []);
    assert_eq!(of_kinds(&played.run(500)), [at(50, "two"), at(75, "three")]);
    let outputs = played.send(json!({"type": "response.create"}));
    assert_eq!(kind(&outputs[0]), "four");
    let outputs = played.send(json!({"type": "response.create"}));
    assert_eq!(kind(&outputs[0]), "error script_over");
    let ten_ms = STANDARD.encode([0; 480]);
    let append = json!({"type": "input_audio_buffer.append", "audio": ten_ms});
    assert_eq!(played.send(append.clone()), []);
    let outputs = played.send(append);
    assert_eq!(outputs.iter().map(kind).collect::<Vec<_>>(), ["five"]);
}

#[test]
fn each_fault_is_what_it_says() {
    let fault = |fault: Value| {
        let mut played = Played::new(
            Edge::Socket,
            json!({"step": [
                {"on": "response.create", "then": [
                    {"event": {"type": "before"}}, {"fault": fault}, {"event": {"type": "after"}},
                    {"event": {"type": "last"}}]},
            ]}),
        );
        played.drain();
        let mut all: Vec<(u64, Output)> = played
            .send(json!({"type": "response.create"}))
            .into_iter()
            .map(|output| (0, output))
            .collect();
        all.extend(played.run(60_000));
        all
    };
    let error = fault(json!({"error": {"code": "server_error", "message": "x"}}));
    assert_eq!(
        of_kinds(&error),
        [
            at(0, "before"),
            at(0, "error server_error"),
            at(0, "after"),
            at(0, "last")
        ]
    );
    let closed = fault(json!({"close": {"code": 1000, "reason": "bye"}}));
    let over = Over::Upstream {
        code: CloseCode::NORMAL,
        reason: "bye".into(),
    };
    assert_eq!(closed.last(), Some(&(0, Output::End(over))));
    // Broken off: the script is dialled again, and the turn is lost.
    let broken = fault(json!({"close": {"code": 1006}}));
    assert_eq!(
        of_kinds(&broken),
        [at(0, "before"), at(0, "error upstream_turn_lost")]
    );
    let stalled = fault(json!({"stall": {"ms": 700}}));
    assert_eq!(
        of_kinds(&stalled),
        [at(0, "before"), at(700, "after"), at(700, "last")]
    );
    assert_eq!(of_kinds(&fault(json!({"stall": {}}))), [at(0, "before")]);
    let malformed = fault(json!({"malformed": {"text": "{\"type\":"}}));
    assert_eq!(
        of_kinds(&malformed),
        [
            at(0, "before"),
            at(0, "error upstream_malformed"),
            at(0, "after"),
            at(0, "last")
        ]
    );
    let slow = fault(json!({"slow": {"ms": 300}}));
    assert_eq!(
        of_kinds(&slow),
        [at(0, "before"), at(300, "after"), at(600, "last")]
    );
}

#[test]
fn its_sound_is_in_the_sessions_format_and_as_long() {
    let script = json!({"format": "pcm16", "step": [{"on": "response.create", "then": [
        {"event": {"type": "response.created", "response": {"id": "r1"}}},
        {"event": {"type": "response.output_audio.delta", "response_id": "r1", "item_id": "i1", "output_index": 0,
            "content_index": 0, "tone": {"hz": 440, "ms": 100}}},
        {"event": {"type": "response.output_audio.delta", "response_id": "r1", "item_id": "i1", "output_index": 0,
            "content_index": 0, "tone": {"hz": 440, "ms": 100}}},
        {"event": {"type": "response.output_audio.done", "response_id": "r1", "item_id": "i1", "output_index": 0,
            "content_index": 0}},
        {"event": {"type": "response.done", "response": {"id": "r1", "output": []}}},
    ]}]});
    for (format, bytes) in [
        ("audio/pcm", 9_600),
        ("audio/pcmu", 1_600),
        ("audio/pcma", 1_600),
    ] {
        let asked = json!({"type": "realtime", "audio": {"output": {"format": {"type": format}}}});
        let mut played = Played::asked(Edge::Socket, script.clone(), Some(&asked));
        played.drain();
        let outputs = played.send(json!({"type": "response.create"}));
        let sound: usize = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Event(text) => {
                    let event: Value = serde_json::from_str(text).unwrap();
                    assert_eq!(event.get("tone"), None);
                    let delta = event["delta"].as_str()?.to_owned();
                    Some(STANDARD.decode(delta).unwrap().len())
                }
                _ => None,
            })
            .sum();
        assert_eq!(sound, bytes, "{format}");
    }
    // Over RTP it is played at its pace.
    let mut played = Played::new(Edge::Rtc, script);
    played.drain();
    let mut outputs: Vec<Output> = played.send(json!({"type": "response.create"}));
    outputs.extend(played.run(1_000).into_iter().map(|(_, output)| output));
    let kinds: Vec<String> = outputs.iter().map(kind).collect();
    assert_eq!(
        kinds.iter().filter(|kind| *kind == "play").count(),
        10,
        "{kinds:?}"
    );
    assert_eq!(
        kinds.last().map(String::as_str),
        Some("output_audio_buffer.stopped")
    );
    assert!(!kinds.contains(&"response.output_audio.delta".into()));
}

#[test]
fn an_order_of_a_scripts_is_made_and_its_output_can_be_waited_for() {
    let mut played = Played::new(
        Edge::Socket,
        json!({"step": [
            {"on": "response.create", "then": [{"event": {"type": "response.output_item.done", "response_id": "r1",
                "item": {"type": "function_call", "status": "completed", "id": "f1", "call_id": "c1",
                    "name": "submit_order", "arguments": "{\"items\":[{\"name\":\"cola\"}]}"}}}]},
            {"on": "conversation.item.create", "then": [{"event": {"type": "thanks"}}]},
            {"on": "response.create", "then": [{"event": {"type": "good bye"}}]},
        ]}),
    );
    played.drain();
    let outputs = played.send(json!({"type": "response.create"}));
    assert_eq!(
        outputs.iter().map(kind).collect::<Vec<_>>(),
        ["response.output_item.done", "submit"]
    );
    played
        .remote
        .ordered("c1", Ok(r#"{"id":"o1"}"#), played.now);
    let kinds: Vec<String> = played.drain().iter().map(kind).collect();
    assert_eq!(
        kinds,
        [
            "conversation.item.added",
            "conversation.item.done",
            "thanks",
            "good bye"
        ]
    );
}
