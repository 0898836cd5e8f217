//! A call that an upstream answers, followed over its sideband: the relay runs `submit_order`, puts back what the
//! policy locks, and ends the call in time.
//!
//! `tracing` is not put back: the upstream does not let it be changed once it is on.

use super::cart;
use super::menu::SUBMIT_ORDER;
use super::policy::{Allow, Policy};
use super::settings::Settings;
use crate::{Time, Timers};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, VecDeque};
use tautline_protocol::limits;

/// Times in a row that a locked field is put back; an upstream that does not take it is hung up on.
const CORRECTIONS: u32 = 5;
/// Calls remembered as run; far more than one session makes.
const CALLS: usize = 4_096;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum WatchOutput {
    /// Send this client event on the sideband.
    Send(String),
    /// Make this order as the session's role and `sub`, and say what became of it: [`Watch::ordered`].
    Submit {
        /// Names the call; the same call is the same order.
        call_id: String,
        /// A new order, as `POST …/orders` takes it.
        order: String,
    },
    /// The length is reached in 60 s: tell the client if it can be told.
    Warn,
    /// Hang up; nothing follows but `Wait`.
    End(Ended),
    /// Nothing more to do; call [`Watch::timeout`] then.
    Wait(Option<Time>),
}

/// Why a call is to be hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its length is reached.
    Length,
    /// The upstream does not keep what the policy locks.
    Policy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Warn,
    End,
}

/// See the module. Every call is followed by a drain of [`Watch::poll_output`] until it says [`WatchOutput::Wait`].
#[derive(Debug)]
pub struct Watch {
    settings: Settings,
    timers: Timers<Timer, 2>,
    out: VecDeque<WatchOutput>,
    /// The conversation's response under way.
    active: Option<String>,
    /// A `response.create` is to be sent once nothing is under way.
    owed: bool,
    seen: BTreeSet<String>,
    ordering: BTreeSet<String>,
    corrections: u32,
    sent: u64,
    ended: bool,
}

impl Watch {
    /// A call that begins with those settings, of at most `length_ms` (a policy's shorter one wins).
    pub fn new(settings: Settings, length_ms: u64, now: Time) -> Self {
        let most = settings.policy().max_length_s.saturating_mul(1_000);
        let length_ms = length_ms.min(most);
        let mut watch = Self::without_end(settings);
        watch.timers.set(Timer::End, now + length_ms);
        if length_ms > limits::VOICE_WARNING_MS {
            let warn_at = now + (length_ms - limits::VOICE_WARNING_MS);
            watch.timers.set(Timer::Warn, warn_at);
        }
        watch
    }

    /// The same, where somebody else ends it in time.
    pub(super) fn without_end(settings: Settings) -> Self {
        Self {
            settings,
            timers: Timers::new([Timer::Warn, Timer::End]),
            out: VecDeque::new(),
            active: None,
            owed: false,
            seen: BTreeSet::new(),
            ordering: BTreeSet::new(),
            corrections: 0,
            sent: 0,
            ended: false,
        }
    }

    /// A server event of the upstream's, as JSON text. What cannot be read says nothing.
    pub fn event(&mut self, text: &str, now: Time) {
        self.timeout(now);
        if let Ok(event) = serde_json::from_str::<Value>(text) {
            self.read(&event);
        }
    }

    /// The same, read already.
    pub(super) fn read(&mut self, event: &Value) {
        if self.ended {
            return;
        }
        match event.get("type").and_then(Value::as_str) {
            Some("session.created" | "session.updated") => {
                if let Some(session) = event.get("session").and_then(Value::as_object) {
                    self.check(session);
                }
            }
            Some("response.created") => {
                // One outside the conversation names none, and does not stand in the way.
                let response = event.get("response");
                if response.is_some_and(in_conversation) {
                    self.active = response.and_then(|response| text_of(response, "id"));
                }
            }
            Some("response.output_item.done") => {
                if let Some(item) = event.get("item") {
                    self.called(item);
                }
            }
            Some("response.done") => {
                let response = event.get("response").unwrap_or(&Value::Null);
                if let Some(Value::Array(output)) = response.get("output") {
                    output.iter().for_each(|item| self.called(item));
                }
                if self.active.is_some() && self.active == text_of(response, "id") {
                    self.active = None;
                }
                self.respond();
            }
            Some("error") => {
                let error = event.get("error").unwrap_or(&Value::Null);
                let ours = text_of(error, "event_id").is_some_and(|id| id.starts_with(PREFIX));
                if ours
                    && text_of(error, "code").as_deref()
                        == Some("conversation_already_has_active_response")
                {
                    self.owed = true;
                }
            }
            _ => {}
        }
    }

    /// What became of a [`WatchOutput::Submit`]: the order as JSON, or why there is none.
    pub fn ordered(&mut self, call_id: &str, result: Result<&str, &str>, now: Time) {
        self.timeout(now);
        if self.ordering.remove(call_id) && !self.ended {
            self.tell(call_id, &cart::output(result));
        }
    }

    /// Time passed.
    pub fn timeout(&mut self, now: Time) {
        while let Some((_, timer)) = self.timers.take_due(now) {
            match timer {
                Timer::Warn => self.out.push_back(WatchOutput::Warn),
                Timer::End => self.end(Ended::Length),
            }
        }
    }

    /// The settings that hold.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The next output; [`WatchOutput::Wait`] ends every drain.
    pub fn poll_output(&mut self) -> WatchOutput {
        self.out
            .pop_front()
            .unwrap_or_else(|| WatchOutput::Wait(self.timers.soonest().map(|(at, _)| at)))
    }

    fn end(&mut self, why: Ended) {
        if !std::mem::replace(&mut self.ended, true) {
            self.timers.clear_all();
            self.out.push_back(WatchOutput::End(why));
        }
    }

    fn check(&mut self, session: &Map<String, Value>) {
        let put_back = locked(session, self.settings.policy());
        if put_back.is_empty() {
            self.corrections = 0;
            return;
        }
        self.corrections += 1;
        if self.corrections > CORRECTIONS {
            self.end(Ended::Policy);
            return;
        }
        let mut update = put_back;
        update.insert("type".into(), json!("realtime"));
        self.send("session.update", json!({"session": update}));
    }

    fn called(&mut self, item: &Value) {
        let field = |key: &str| item.get(key).and_then(Value::as_str);
        let ours = field("type") == Some("function_call")
            && field("name") == Some(SUBMIT_ORDER)
            && field("status").is_none_or(|status| status == "completed");
        let (true, Some(call_id), Some(arguments)) = (ours, field("call_id"), field("arguments"))
        else {
            return;
        };
        if self.seen.len() >= CALLS || !self.seen.insert(call_id.to_owned()) {
            return;
        }
        let policy = self.settings.policy();
        match cart::read(arguments, &policy.menu) {
            Ok(lines) => {
                let order = cart::order(&lines, &policy.order_type);
                self.ordering.insert(call_id.to_owned());
                self.out.push_back(WatchOutput::Submit {
                    call_id: call_id.to_owned(),
                    order,
                });
            }
            Err(why) => self.tell(call_id, &cart::output(Err(&why))),
        }
    }

    /// A call's output, and then an answer that says it.
    fn tell(&mut self, call_id: &str, output: &str) {
        self.send(
            "conversation.item.create",
            json!({"item": {"type": "function_call_output", "call_id": call_id, "output": output}}),
        );
        self.owed = true;
        self.respond();
    }

    fn respond(&mut self) {
        if self.owed && self.active.is_none() && !self.ended {
            self.owed = false;
            self.send("response.create", json!({}));
        }
    }

    fn send(&mut self, kind: &str, mut fields: Value) {
        self.sent += 1;
        if let Value::Object(fields) = &mut fields {
            fields.insert("type".into(), json!(kind));
            fields.insert("event_id".into(), json!(format!("{PREFIX}{}", self.sent)));
        }
        self.out.push_back(WatchOutput::Send(fields.to_string()));
    }
}

/// How our own events begin.
pub(super) const PREFIX: &str = "tautline_";

fn text_of(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

fn in_conversation(response: &Value) -> bool {
    response
        .get("conversation_id")
        .is_none_or(|conversation| !conversation.is_null())
}

/// The locked fields of a session that are not the policy's, with the policy's values.
fn locked(session: &Map<String, Value>, policy: &Policy) -> Map<String, Value> {
    let mut put_back = Map::new();
    if let Some(instructions) = &policy.instructions
        && session.get("instructions").and_then(Value::as_str) != Some(instructions)
    {
        put_back.insert("instructions".into(), json!(instructions));
    }
    let there: Vec<&Value> = match session.get("tools") {
        Some(Value::Array(tools)) => tools.iter().collect(),
        _ => Vec::new(),
    };
    if let Some(tools) = &policy.tools {
        let same = there.len() == tools.len()
            && there
                .iter()
                .zip(tools)
                .all(|(there, tool)| holds(there, tool));
        if !same {
            put_back.insert("tools".into(), json!(tools));
        }
    } else if !policy.allows(Allow::Mcp) {
        let kept: Vec<&Value> = there
            .iter()
            .copied()
            .filter(|tool| tool.get("type").is_none_or(|kind| kind != "mcp"))
            .collect();
        if kept.len() < there.len() {
            put_back.insert("tools".into(), json!(kept));
        }
    }
    if !policy.allows(Allow::Prompt)
        && session
            .get("prompt")
            .is_some_and(|prompt| !prompt.is_null())
    {
        put_back.insert("prompt".into(), Value::Null);
    }
    put_back
}

/// Whether an upstream's value is ours; it may have added fields of its own.
fn holds(there: &Value, ours: &Value) -> bool {
    match (there, ours) {
        (Value::Object(there), Value::Object(ours)) => ours.iter().all(|(key, value)| {
            there
                .get(key)
                .map_or(value.is_null(), |there| holds(there, value))
        }),
        (Value::Array(there), Value::Array(ours)) => {
            there.len() == ours.len() && there.iter().zip(ours).all(|(a, b)| holds(a, b))
        }
        (Value::Number(there), Value::Number(ours)) => there.as_f64() == ours.as_f64(),
        (there, ours) => there == ours,
    }
}

#[cfg(test)]
mod tests {
    use super::super::menu::Menu;
    use super::super::settings::Defaults;
    use super::*;
    use std::sync::Arc;

    const START: Time = Time::from_ms(1_000);

    fn watch(policy: Policy) -> Watch {
        let settings = Settings::new(&Arc::new(policy), None, &Defaults::default()).unwrap();
        Watch::new(settings, 3_600_000, START)
    }

    fn drain(watch: &mut Watch) -> Vec<WatchOutput> {
        let mut all = Vec::new();
        loop {
            match watch.poll_output() {
                WatchOutput::Wait(_) => return all,
                output => all.push(output),
            }
        }
    }

    fn sent(outputs: &[WatchOutput]) -> Vec<Value> {
        outputs
            .iter()
            .map(|output| match output {
                WatchOutput::Send(text) => serde_json::from_str(text).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn call(arguments: &str) -> Value {
        json!({"type": "function_call", "id": "item_1", "call_id": "call_1", "name": "submit_order",
            "status": "completed", "arguments": arguments})
    }

    #[test]
    fn an_order_is_made_once_and_told_after_the_response() {
        let mut watch = watch(Policy::demo());
        let tell = |watch: &mut Watch, event: Value| {
            watch.event(&event.to_string(), START);
            drain(watch)
        };
        let created =
            json!({"type": "response.created", "response": {"id": "r1", "conversation_id": "c"}});
        assert_eq!(tell(&mut watch, created), []);
        let item = call(r#"{"items":[{"menu_item_id":"cola","quantity":2}]}"#);
        let done = json!({"type": "response.output_item.done", "response_id": "r1", "item": item});
        let submit = tell(&mut watch, done.clone());
        let [WatchOutput::Submit { call_id, order }] = &submit[..] else {
            panic!("{submit:?}");
        };
        assert_eq!(call_id, "call_1");
        tautline_protocol::order::NewOrder::parse(order).unwrap();
        assert_eq!(tell(&mut watch, done), []);
        watch.ordered("call_1", Ok(r#"{"id":"o1"}"#), START);
        let output = sent(&drain(&mut watch));
        assert_eq!(output.len(), 1);
        assert_eq!(output[0]["type"], "conversation.item.create");
        assert_eq!(
            output[0]["item"]["output"],
            r#"{"ok":true,"order":{"id":"o1"}}"#
        );
        let done = json!({"type": "response.done", "response": {"id": "r1", "output": [item]}});
        let after = sent(&tell(&mut watch, done));
        assert_eq!(after.len(), 1);
        assert_eq!(after[0]["type"], "response.create");
        // Somebody else was faster: it is sent again after theirs.
        let error = json!({"type": "error", "error": {"event_id": after[0]["event_id"],
            "code": "conversation_already_has_active_response"}});
        assert_eq!(tell(&mut watch, error), []);
        let done = json!({"type": "response.done", "response": {"id": "r2", "output": []}});
        assert_eq!(sent(&tell(&mut watch, done))[0]["type"], "response.create");
        // Nothing of it twice.
        watch.ordered("call_1", Ok("{}"), START);
        assert_eq!(drain(&mut watch), []);
    }

    #[test]
    fn what_cannot_be_ordered_is_told_at_once() {
        let mut watch = watch(Policy::demo());
        let item = call(r#"{"items":[{"menu_item_id":"pizza"}]}"#);
        watch.event(
            &json!({"type": "response.output_item.done", "item": item}).to_string(),
            START,
        );
        let sent = sent(&drain(&mut watch));
        assert!(
            sent[0]["item"]["output"]
                .as_str()
                .unwrap()
                .contains("not on the menu")
        );
        assert_eq!(sent[1]["type"], "response.create");
    }

    #[test]
    fn locked_fields_are_put_back_and_a_stubborn_upstream_is_left() {
        let mut watch = watch(Policy {
            instructions: Some("Be brief.".into()),
            tools: Some(Menu::demo().tools()),
            ..Policy::demo()
        });
        let mut session = watch.settings().to_value();
        // What an upstream adds is its own.
        session["tools"][0]["parameters"]["strict"] = json!(false);
        let good = json!({"type": "session.updated", "session": session});
        let bad = json!({"type": "session.updated", "session": {"instructions": "Sing.", "tools": [],
            "prompt": {"id": "p"}}});
        for _ in 0..3 {
            watch.event(&bad.to_string(), START);
            let sent = sent(&drain(&mut watch));
            assert_eq!(sent[0]["session"]["instructions"], "Be brief.");
            assert_eq!(sent[0]["session"]["tools"].as_array().unwrap().len(), 2);
            assert_eq!(sent[0]["session"]["prompt"], Value::Null);
            watch.event(&good.to_string(), START);
            assert_eq!(drain(&mut watch), []);
        }
        for _ in 0..CORRECTIONS {
            watch.event(&bad.to_string(), START);
            assert_eq!(sent(&drain(&mut watch)).len(), 1);
        }
        watch.event(&bad.to_string(), START);
        assert_eq!(drain(&mut watch), [WatchOutput::End(Ended::Policy)]);
        assert_eq!(watch.poll_output(), WatchOutput::Wait(None));
    }

    #[test]
    fn tools_that_reach_outside_are_taken_away() {
        let mut watch = watch(Policy::demo());
        let session = json!({"tools": [{"type": "mcp", "server_label": "x"}, {"type": "function", "name": "f"}]});
        watch.event(
            &json!({"type": "session.updated", "session": session}).to_string(),
            START,
        );
        let sent = sent(&drain(&mut watch));
        assert_eq!(
            sent[0]["session"]["tools"],
            json!([{"type": "function", "name": "f"}])
        );
    }

    #[test]
    fn it_ends_in_time_with_a_warning_before() {
        let mut watch = watch(Policy {
            max_length_s: 120,
            ..Policy::demo()
        });
        assert_eq!(watch.poll_output(), WatchOutput::Wait(Some(START + 60_000)));
        watch.timeout(START + 60_000);
        assert_eq!(drain(&mut watch), [WatchOutput::Warn]);
        watch.timeout(START + 120_000);
        assert_eq!(drain(&mut watch), [WatchOutput::End(Ended::Length)]);
        watch.event("{}", START + 130_000);
        assert_eq!(watch.poll_output(), WatchOutput::Wait(None));
    }

    #[test]
    fn nonsense_says_nothing() {
        let mut watch = watch(Policy::demo());
        for text in [
            "",
            "[]",
            "{",
            r#"{"type":7}"#,
            r#"{"type":"response.done"}"#,
            r#"{"type":"error"}"#,
        ] {
            watch.event(text, START);
        }
        assert_eq!(drain(&mut watch), []);
    }
}
