//! The relay's own end of a call: any events, any sound, at any time. What it says is the API's, in the API's order: no
//! response ends that did not begin, no two are the conversation's at once, no item follows one that is not there, and
//! an order that it makes is one that the log takes.

use crate::{made, number, steps};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::voice::{
    Adapter, Defaults, Edge, Output, Peer, Policy, Settings, Setup,
};
use tautline_protocol::limits;
use tautline_protocol::order::NewOrder;

/// Outputs that one input may lead to.
const AT_ONCE: usize = 20_000;

/// First byte: `s` for a WebSocket, or else WebRTC. Then lines: `e` a client's event, `l` and `q` milliseconds of a loud
/// or quiet sound, `r` sound as it is, `t` milliseconds that pass, `o` the last order is made, `n` it is not.
pub(crate) fn run(data: &[u8]) {
    let Some((first, script)) = data.split_first() else {
        return;
    };
    let edge = if *first == b's' {
        Edge::Socket
    } else {
        Edge::Rtc
    };
    let script = String::from_utf8_lossy(script);
    let mut call = Call::new(edge);
    for (step, text) in steps(&script).take(60) {
        call.step(step, text);
    }
    call.pass(20_000);
}

struct Call {
    edge: Edge,
    peer: Peer,
    now: Time,
    wait: Option<Time>,
    /// Every `event_id` so far.
    ids: BTreeSet<String>,
    /// In the order that the client knows.
    items: Vec<String>,
    /// Responses under way; whether they are the conversation's.
    responses: BTreeMap<String, bool>,
    ordering: Vec<String>,
}

impl Call {
    fn new(edge: Edge) -> Self {
        let now = Time::from_ms(5_000);
        let settings = Settings::new(&Arc::new(Policy::demo()), None, &Defaults::default());
        let setup = Setup {
            edge,
            seed: 7,
            settings: settings.unwrap(),
            session_id: "sess_1".into(),
            expires_at_s: 1_800_000_000,
        };
        let mut call = Self {
            edge,
            peer: Peer::new(setup, now),
            now,
            wait: None,
            ids: BTreeSet::new(),
            items: Vec::new(),
            responses: BTreeMap::new(),
            ordering: Vec::new(),
        };
        call.drain();
        call
    }

    fn step(&mut self, step: char, text: &str) {
        match step {
            'e' => self.peer.event(text, self.now),
            'l' => self.sound(0x90, number(text, 5_000)),
            'q' => self.sound(0xff, number(text, 5_000)),
            'r' => self.peer.audio(text.as_bytes(), self.now),
            't' => self.pass(number(text, 30_000)),
            'o' | 'n' => {
                if let Some(call_id) = self.ordering.pop() {
                    self.peer.ordered(&call_id, made(step), self.now);
                }
            }
            _ => {}
        }
        self.drain();
    }

    /// As long a sound takes.
    fn sound(&mut self, sample: u8, ms: u64) {
        // Of both signs, or it would be no sound.
        let frame: Vec<u8> = (0..160).map(|at| sample ^ ((at & 8) << 4)).collect();
        for _ in 0..ms / 20 {
            self.peer.audio(&frame, self.now);
            self.drain();
            self.pass(20);
        }
    }

    /// Wakes the peer whenever it wants to be.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.wait.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.peer.timeout(self.now);
            self.drain();
            assert!(
                self.wait.is_none_or(|next| next > self.now),
                "woken for nothing"
            );
        }
        self.now = end;
    }

    fn drain(&mut self) {
        for _ in 0..AT_ONCE {
            match self.peer.poll_output() {
                Output::End(over) => panic!("nobody but it holds the session: {over:?}"),
                Output::Wait(at) => {
                    self.wait = at;
                    return;
                }
                Output::Event(text) => self.said(&text),
                Output::Play(frame) => {
                    assert_eq!((self.edge, frame.len()), (Edge::Rtc, 160));
                }
                Output::Submit { call_id, order } => {
                    NewOrder::parse(&order).expect("an order that can be taken");
                    self.ordering.push(call_id);
                }
            }
        }
        panic!("a drain without end");
    }

    fn said(&mut self, text: &str) {
        if self.edge == Edge::Rtc {
            assert!(text.len() <= limits::VOICE_CHANNEL_MESSAGE, "too long");
        }
        let event: Value = serde_json::from_str(text).expect("JSON");
        let id = event["event_id"].as_str().expect("an event_id").to_owned();
        assert!(self.ids.insert(id), "an event_id twice: {text}");
        match event["type"].as_str().expect("a type") {
            "error" => {
                assert!(
                    event["error"]["message"]
                        .as_str()
                        .is_some_and(|words| !words.is_empty())
                );
                assert!(event["error"]["type"].is_string());
            }
            "conversation.item.added" => self.added(&event),
            "conversation.item.deleted" => {
                let gone = event["item_id"].as_str().unwrap();
                let at = self.items.iter().position(|item| item == gone);
                self.items.remove(at.expect("an item that was there"));
            }
            "response.created" => {
                let response = &event["response"];
                let ours = !response["conversation_id"].is_null();
                assert!(
                    !ours || !self.responses.values().any(|ours| *ours),
                    "two responses of the conversation at once"
                );
                let id = response["id"].as_str().unwrap().to_owned();
                assert!(self.responses.insert(id, ours).is_none());
            }
            "response.done" => {
                let id = event["response"]["id"].as_str().unwrap();
                assert!(self.responses.remove(id).is_some(), "an end of nothing");
            }
            _ => {}
        }
    }

    fn added(&mut self, event: &Value) {
        let id = event["item"]["id"].as_str().unwrap().to_owned();
        assert!(!self.items.contains(&id), "an item twice");
        let at = match event["previous_item_id"].as_str() {
            None => 0,
            Some(previous) => {
                let at = self.items.iter().position(|item| item == previous);
                at.expect("it follows one that is there") + 1
            }
        };
        self.items.insert(at, id);
    }
}
