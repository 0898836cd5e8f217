//! A call that an upstream answers, as its sideband tells it: any events at any time. What the relay says is JSON, an
//! order is made once a call, and the call ends once and in time.

use crate::{made, number, steps};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::voice::{Defaults, Policy, Settings, Watch, WatchOutput};
use tautline_protocol::order::NewOrder;

/// The length of the call.
const LENGTH_MS: u64 = 600_000;

/// First a line with a policy, or an empty one; then lines: `e` an event of the upstream's, `t` milliseconds that pass,
/// `o` the last order is made, `n` it is not.
pub(crate) fn run(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let (policy, script) = script.split_once('\n').unwrap_or(("", &script));
    let policy = serde_json::from_str::<Policy>(policy)
        .ok()
        .filter(|policy| policy.check().is_ok())
        .unwrap_or_else(Policy::demo);
    let Ok(settings) = Settings::new(&Arc::new(policy), None, &Defaults::default()) else {
        return;
    };
    let now = Time::from_ms(1_000);
    let mut call = Call {
        watch: Watch::new(settings, LENGTH_MS, now),
        now,
        ordered: BTreeSet::new(),
        ordering: Vec::new(),
        ended: false,
    };
    for (step, text) in steps(script).take(100) {
        call.step(step, text);
    }
    call.now = now + LENGTH_MS;
    call.watch.timeout(call.now);
    call.drain();
    assert!(call.ended, "it outlives its length");
}

struct Call {
    watch: Watch,
    now: Time,
    ordered: BTreeSet<String>,
    ordering: Vec<String>,
    ended: bool,
}

impl Call {
    fn step(&mut self, step: char, text: &str) {
        match step {
            'e' => self.watch.event(text, self.now),
            't' => {
                self.now = self.now + number(text, LENGTH_MS);
                self.watch.timeout(self.now);
            }
            'o' | 'n' => {
                if let Some(call_id) = self.ordering.pop() {
                    self.watch.ordered(&call_id, made(step), self.now);
                }
            }
            _ => {}
        }
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..1_000 {
            let output = self.watch.poll_output();
            assert!(
                !self.ended || matches!(output, WatchOutput::Wait(None)),
                "after its end: {output:?}"
            );
            match output {
                WatchOutput::Wait(at) => {
                    assert!(at.is_none_or(|at| at > self.now), "woken for nothing");
                    return;
                }
                WatchOutput::Send(text) => {
                    let event: Value = serde_json::from_str(&text).expect("JSON");
                    assert!(event["type"].is_string() && event["event_id"].is_string());
                }
                WatchOutput::Submit { call_id, order } => {
                    NewOrder::parse(&order).expect("an order that can be taken");
                    assert!(self.ordered.insert(call_id.clone()), "ordered twice");
                    self.ordering.push(call_id);
                }
                WatchOutput::Warn => {}
                WatchOutput::End(_) => self.ended = true,
            }
        }
        panic!("a drain without end");
    }
}
