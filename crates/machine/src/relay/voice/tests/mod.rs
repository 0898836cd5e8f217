//! The peer from outside: what a client sends, what it gets.

mod echoes;
mod orders;
mod properties;
mod remote;
mod rules;
mod scripts;
mod settings;
mod streams;
mod turns;

use super::adapter::{Adapter, Edge, Output};
use super::audio::{Rate, Sound};
use super::format::Format;
use super::peer::{Peer, Setup};
use super::policy::Policy;
use super::settings::{Defaults, Settings};
use crate::Time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One call, its clock, and all that came out of it.
struct Call {
    edge: Edge,
    peer: Peer,
    now: Time,
    events: Vec<Value>,
    /// When each 20 ms left, and what it was.
    played: Vec<(Time, Vec<u8>)>,
    submitted: Vec<(String, String)>,
    wait: Option<Time>,
}

impl Call {
    fn new(edge: Edge) -> Self {
        Self::with(edge, Policy::demo(), None)
    }

    fn with(edge: Edge, policy: Policy, asked: Option<&Value>) -> Self {
        let settings = Settings::new(&Arc::new(policy), asked, &Defaults::default()).unwrap();
        let now = Time::from_ms(5_000);
        let peer = Peer::new(
            Setup {
                edge,
                seed: 7,
                settings,
                session_id: "sess_1".into(),
                expires_at_s: 1_800_000_000,
            },
            now,
        );
        let mut call = Self {
            edge,
            peer,
            now,
            events: Vec::new(),
            played: Vec::new(),
            submitted: Vec::new(),
            wait: None,
        };
        call.drain();
        call
    }

    fn drain(&mut self) {
        for _ in 0..100_000 {
            match self.peer.poll_output() {
                Output::Event(text) => {
                    if self.edge == Edge::Rtc {
                        assert!(text.len() <= 256 * 1024);
                    }
                    self.events.push(serde_json::from_str(&text).unwrap());
                }
                Output::Play(frame) => {
                    assert_eq!(frame.len(), 160);
                    self.played.push((self.now, frame));
                }
                Output::Submit { call_id, order } => self.submitted.push((call_id, order)),
                Output::End(over) => panic!("{over:?}"),
                Output::Wait(at) => {
                    self.wait = at;
                    return;
                }
            }
        }
        panic!("a drain without end");
    }

    /// Sends an event and gives what came of it at once.
    fn send(&mut self, event: Value) -> Vec<Value> {
        self.send_text(&event.to_string())
    }

    fn send_text(&mut self, text: &str) -> Vec<Value> {
        let from = self.events.len();
        self.peer.event(text, self.now);
        self.drain();
        self.events[from..].to_vec()
    }

    /// Sends an event that is refused with that code and the event's own id.
    #[track_caller]
    fn refused(&mut self, mut event: Value, code: &str) -> Value {
        event["event_id"] = json!("mine");
        let got = self.send(event.clone());
        let error = got
            .iter()
            .find(|event| event["type"] == "error")
            .unwrap_or_else(|| panic!("{event} was not refused: {got:?}"));
        assert_eq!(error["error"]["code"], code, "{error}");
        assert_eq!(error["error"]["event_id"], "mine");
        assert!(error["event_id"].is_string());
        error.clone()
    }

    /// Lets time pass, waking the peer when it wants to be.
    fn run(&mut self, ms: u64) -> Vec<Value> {
        let from = self.events.len();
        let end = self.now + ms;
        for _ in 0..100_000 {
            match self.wait {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.peer.timeout(self.now);
                    self.drain();
                }
                _ => {
                    self.now = end;
                    return self.events[from..].to_vec();
                }
            }
        }
        panic!("it never rests");
    }

    /// 20 ms frames over RTP, at their pace.
    fn hear(&mut self, samples: &[i16]) -> Vec<Value> {
        let from = self.events.len();
        for frame in samples.chunks(160) {
            let sound = Sound {
                rate: Rate::Narrow,
                samples: frame.to_vec(),
            };
            self.peer.audio(&sound.encode(Format::Pcmu), self.now);
            self.drain();
            self.run(20);
        }
        self.events[from..].to_vec()
    }

    /// One append over a socket.
    fn append(&mut self, sound: &Sound, format: Format) -> Vec<Value> {
        let audio = STANDARD.encode(sound.encode(format));
        self.send(json!({"type": "input_audio_buffer.append", "audio": audio}))
    }

    /// Writes a text and asks for the answer.
    fn ask(&mut self, text: &str) -> Vec<Value> {
        let from = self.events.len();
        self.send(user(text));
        self.send(json!({"type": "response.create"}));
        self.run(20_000);
        self.events[from..].to_vec()
    }

    fn all(&self, kind: &str) -> Vec<&Value> {
        of(&self.events, kind)
    }

    fn last(&self, kind: &str) -> &Value {
        self.all(kind).last().unwrap_or_else(|| panic!("no {kind}"))
    }
}

fn user(text: &str) -> Value {
    json!({"type": "conversation.item.create", "item": {
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}})
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["type"] == kind)
        .collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect()
}

fn tone(rate: Rate, hz: f64, ms: usize) -> Sound {
    Sound {
        rate,
        samples: (0..ms * rate.per_ms())
            .map(|i| {
                (8_231.0 * (2.0 * std::f64::consts::PI * hz * i as f64 / rate.hz()).sin()) as i16
            })
            .collect(),
    }
}

fn silence(rate: Rate, ms: usize) -> Sound {
    Sound {
        rate,
        samples: vec![0; ms * rate.per_ms()],
    }
}

/// What holds for any session, whatever happened in it: ids, order within a response, one end each, the chain of
/// items, and what each kind of connection never gets.
fn check(events: &[Value], edge: Edge) {
    let mut ids = BTreeSet::new();
    let mut stage: BTreeMap<&str, u32> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut previous: BTreeMap<String, Value> = BTreeMap::new();
    for event in events {
        let kind = event["type"].as_str().unwrap();
        assert!(ids.insert(event["event_id"].as_str().unwrap()), "{event}");
        assert!(
            event["event_id"].as_str().unwrap().starts_with("event_"),
            "{event}"
        );
        match edge {
            Edge::Socket => assert!(!kind.starts_with("output_audio_buffer"), "{event}"),
            Edge::Rtc => assert_ne!(kind, "response.output_audio.delta"),
        }
        for item in event["item"]["content"].as_array().into_iter().flatten() {
            if item["type"] == "input_audio" {
                assert!(item.get("transcript").is_some(), "{event}");
            }
        }
        let item = event["item"]["id"].as_str();
        match kind {
            "response.created" => {
                let id = event["response"]["id"].as_str().unwrap();
                assert_eq!(event["response"]["status"], "in_progress");
                assert_eq!(stage.insert(id, 1), None, "{event}");
            }
            "response.done" => {
                let id = event["response"]["id"].as_str().unwrap();
                assert_eq!(stage.insert(id, 2), Some(1), "{event}");
                assert_ne!(event["response"]["status"], "in_progress");
                assert!(event["response"]["usage"]["input_token_details"]["text_tokens"].is_u64());
            }
            "conversation.item.added" => {
                let before = event["previous_item_id"].as_str();
                let at = match before {
                    None => 0,
                    Some(before) => {
                        1 + order
                            .iter()
                            .position(|id| id == before)
                            .expect("a known one before")
                    }
                };
                order.insert(at, item.unwrap().to_owned());
                previous.insert(item.unwrap().to_owned(), event["previous_item_id"].clone());
            }
            "conversation.item.done" => {
                assert_eq!(
                    previous[item.unwrap()],
                    event["previous_item_id"],
                    "{event}"
                );
            }
            "conversation.item.deleted" => {
                order.retain(|id| *id != event["item_id"].as_str().unwrap());
            }
            "response.output_item.added" => {
                assert_eq!(event["item"]["status"], "in_progress", "{event}");
            }
            _ => {}
        }
        if kind.starts_with("response.")
            && let Some(id) = event["response_id"].as_str()
        {
            assert_eq!(stage.get(id), Some(&1), "{event} outside its response");
        }
    }
    for (id, stage) in stage {
        assert_eq!(stage, 2, "{id} never ended");
    }
}
