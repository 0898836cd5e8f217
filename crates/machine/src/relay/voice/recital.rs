//! A script as it is played: the far end of a session's connection. What the script does not speak of is as little as an
//! official client needs: a session that takes what it is asked to be, items that are there.

use super::audio::sine;
use super::convert::Converter;
use super::far::{Heard, Upstream};
use super::format::Format;
use super::script::{AUDIO, Act, DELTA, Fault, START, Script, tone};
use crate::Time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tautline_protocol::CloseCode;

/// Whether anything is heard and said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// With so much between two events.
    Apart(u64),
    /// Not before then, or not at all any more; then with so much between two events again.
    Stalled(Option<Time>, u64),
}

/// A connection that is there.
#[derive(Debug)]
struct Line {
    number: u64,
    session: Value,
    /// Sound that came, thousandths of a millisecond.
    heard_us: u64,
    /// What is to be done, in order.
    due: VecDeque<(Time, Act)>,
    pace: Pace,
    said_at: Time,
    /// Items whose sound is being said.
    sounds: BTreeMap<String, Converter>,
}

/// See the module.
#[derive(Debug)]
pub struct Recital {
    script: Arc<Script>,
    /// Which steps are done.
    done: Vec<bool>,
    /// How often what has happened.
    counts: BTreeMap<String, u32>,
    line: Option<Line>,
    says: VecDeque<(u64, Heard)>,
    /// What ids are made of.
    ids: u64,
}

impl Recital {
    /// From its beginning. The script has been checked.
    pub fn new(script: Arc<Script>) -> Self {
        Self {
            done: vec![false; script.steps.len()],
            script,
            counts: BTreeMap::new(),
            line: None,
            says: VecDeque::new(),
            ids: 0,
        }
    }

    fn say(&mut self, mut event: Value, now: Time) {
        let Some(line) = &mut self.line else { return };
        line.said_at = now;
        if let Value::Object(event) = &mut event {
            self.ids += 1;
            let id = format!("event_script{}", self.ids);
            event.entry("event_id").or_insert_with(|| json!(id));
        }
        self.says
            .push_back((line.number, Heard::Said(event.to_string())));
    }

    /// Something happened: the first step that waits for it begins.
    fn set_off(&mut self, what: &str, now: Time) {
        let count = self.counts.entry(what.to_owned()).or_default();
        *count += 1;
        let count = *count;
        let heard_ms = self.line.as_ref().map_or(0, |line| line.heard_us / 1_000);
        let script = Arc::clone(&self.script);
        let next = script
            .steps
            .iter()
            .zip(&self.done)
            .position(|(step, done)| {
                !done
                    && step.on == what
                    && step.nth.is_none_or(|nth| nth == count)
                    && step.ms.is_none_or(|ms| ms <= heard_ms)
            });
        match next {
            Some(at) => {
                if let (Some(done), Some(step), Some(line)) =
                    (self.done.get_mut(at), script.steps.get(at), &mut self.line)
                {
                    *done = true;
                    let mut time = now;
                    for act in &step.then {
                        time = time + act.after_ms;
                        let place = line.due.partition_point(|(at, _)| *at <= time);
                        line.due.insert(place, (time, act.clone()));
                    }
                }
            }
            // Whoever asks for an answer is not left to wait for one.
            None if what == "response.create" => {
                let error = json!({
                    "type": "invalid_request_error",
                    "code": "script_over",
                    "message": "The script has no step left for response.create.",
                    "param": null,
                    "event_id": null,
                });
                self.say(json!({"type": "error", "error": error}), now);
            }
            None => {}
        }
    }

    /// Everything that is due.
    fn run(&mut self, now: Time) {
        while let Some(line) = &mut self.line {
            if let Pace::Stalled(until, apart) = line.pace {
                if until.is_none_or(|until| now < until) {
                    return;
                }
                line.pace = Pace::Apart(apart);
            }
            if line.next_at().is_none_or(|at| at > now) {
                return;
            }
            let Some((_, act)) = line.due.pop_front() else {
                return;
            };
            if let Some(event) = act.event {
                self.perform(event, now);
            } else if let Some(fault) = act.fault {
                self.fault(fault, now);
            }
        }
    }

    fn perform(&mut self, mut event: Map<String, Value>, now: Time) {
        let text = |event: &Map<String, Value>, key: &str| {
            let text = event.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let (kind, item_id) = (text(&event, "type"), text(&event, "item_id"));
        if kind == DELTA {
            let bytes = self.sound(&event).unwrap_or_default();
            event.remove("tone");
            event.insert("delta".into(), json!(self.converted(&item_id, &bytes)));
        } else if kind == "response.output_audio.done"
            && let Some(rest) = self
                .line
                .as_mut()
                .and_then(|line| line.sounds.remove(&item_id))
                .map(Converter::finish)
                .filter(|rest| !rest.is_empty())
        {
            let mut last = event.clone();
            last.insert("type".into(), json!(DELTA));
            last.insert("delta".into(), json!(STANDARD.encode(rest)));
            self.say(Value::Object(last), now);
        }
        self.say(Value::Object(event), now);
    }

    /// The sound of an event, in the script's format.
    fn sound(&self, event: &Map<String, Value>) -> Option<Vec<u8>> {
        if let Some(delta) = event.get("delta") {
            return STANDARD.decode(delta.as_str()?).ok();
        }
        let (hz, ms) = tone(event.get("tone")?)?;
        let format = self.script.sound()?;
        Some(sine(hz, ms, format.rate()).encode(format))
    }

    /// A piece of an item's sound, in the session's format.
    fn converted(&mut self, item_id: &str, bytes: &[u8]) -> String {
        let from = self.script.sound().unwrap_or(Format::Pcm);
        let Some(line) = &mut self.line else {
            return String::new();
        };
        let to = line.format("output");
        let converter = line
            .sounds
            .entry(item_id.to_owned())
            .or_insert_with(|| Converter::new(from, to));
        STANDARD.encode(converter.push(bytes).unwrap_or_default())
    }

    fn fault(&mut self, fault: Fault, now: Time) {
        let Some(line) = &mut self.line else { return };
        match fault {
            Fault::Error { code, message } => {
                let error = json!({"type": "server_error", "code": code, "message": message,
                    "param": null, "event_id": null});
                self.say(json!({"type": "error", "error": error}), now);
            }
            Fault::Close { code, reason } => {
                let code = CloseCode(code);
                let close = (code != CloseCode::ABNORMAL).then_some((code, reason));
                self.says.push_back((line.number, Heard::Closed(close)));
                self.line = None;
            }
            Fault::Stall { ms } => {
                let (Pace::Apart(apart) | Pace::Stalled(_, apart)) = line.pace;
                line.pace = Pace::Stalled(ms.map(|ms| now + ms), apart);
            }
            Fault::Malformed { text } => {
                line.said_at = now;
                self.says.push_back((line.number, Heard::Said(text)));
            }
            Fault::Slow { ms } => line.pace = Pace::Apart(ms),
            #[expect(clippy::panic, reason = "the script asks for it")]
            Fault::Panic {} => panic!("a script's panic"),
        }
    }

    fn session(&mut self, kind: &str, now: Time) {
        let session = self.line.as_ref().map(|line| line.session.clone());
        self.say(json!({"type": kind, "session": session}), now);
    }

    fn item(&mut self, event: &Value, now: Time) {
        let mut item = event.get("item").cloned().unwrap_or_default();
        if let Value::Object(item) = &mut item {
            self.ids += 1;
            let id = format!("item_script{}", self.ids);
            item.entry("id").or_insert_with(|| json!(id));
            item.entry("status").or_insert_with(|| json!("completed"));
            item.entry("object")
                .or_insert_with(|| json!("realtime.item"));
        }
        for kind in ["conversation.item.added", "conversation.item.done"] {
            let mut told = json!({"type": kind, "item": item});
            if let (Some(previous), Value::Object(told)) =
                (event.get("previous_item_id"), &mut told)
            {
                told.insert("previous_item_id".into(), previous.clone());
            }
            self.say(told, now);
        }
    }
}

impl Line {
    /// When the next is done, if it is known.
    fn next_at(&self) -> Option<Time> {
        let &(at, _) = self.due.front()?;
        match self.pace {
            Pace::Apart(0) => Some(at),
            Pace::Apart(apart) => Some(at.max(self.said_at + apart)),
            Pace::Stalled(until, _) => until,
        }
    }

    fn format(&self, side: &str) -> Format {
        let format = self.session.pointer(&format!("/audio/{side}/format"));
        format.and_then(Format::parse).unwrap_or(Format::Pcm)
    }

    /// So much sound came.
    fn heard(&mut self, base64: &str) {
        let bytes = (base64.trim_end_matches('=').len() * 3 / 4) as u64;
        let per_ms = match self.format("input") {
            Format::Pcm => 48,
            Format::Pcmu | Format::Pcma => 8,
        };
        self.heard_us += bytes * 1_000 / per_ms;
    }
}

impl Upstream for Recital {
    fn dial(&mut self, number: u64, now: Time) {
        self.line = Some(Line {
            number,
            session: json!({"type": "realtime", "object": "realtime.session", "id": "sess_script", "expires_at": 0}),
            heard_us: 0,
            due: VecDeque::new(),
            pace: Pace::Apart(0),
            said_at: now,
            sounds: BTreeMap::new(),
        });
        self.says.push_back((number, Heard::Up));
        self.session("session.created", now);
        self.set_off(START, now);
        self.run(now);
    }

    fn send(&mut self, event: String, now: Time) {
        self.run(now);
        let Some(line) = &mut self.line else { return };
        if matches!(line.pace, Pace::Stalled(..)) {
            return;
        }
        let event: Value = serde_json::from_str(&event).unwrap_or_default();
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match kind {
            "" => {
                let error = json!({"type": "invalid_request_error", "code": "invalid_event",
                    "message": "An event is one JSON object with a type.", "param": null, "event_id": null});
                self.say(json!({"type": "error", "error": error}), now);
            }
            "session.update" => {
                merge(
                    &mut line.session,
                    event.get("session").unwrap_or(&Value::Null),
                );
                self.session("session.updated", now);
            }
            "conversation.item.create" => self.item(&event, now),
            "input_audio_buffer.append" => {
                line.heard(
                    event
                        .get("audio")
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                );
                self.set_off(AUDIO, now);
            }
            _ => {}
        }
        self.set_off(kind, now);
        self.run(now);
    }

    fn hang_up(&mut self) {
        self.line = None;
    }

    fn timeout(&mut self, now: Time) {
        self.run(now);
    }

    fn says(&mut self) -> Option<(u64, Heard)> {
        self.says.pop_front()
    }

    fn due(&self) -> Option<Time> {
        self.line.as_ref().and_then(Line::next_at)
    }
}

/// Objects are merged, everything else is replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.as_str()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
