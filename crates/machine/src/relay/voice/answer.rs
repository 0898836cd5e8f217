//! What the peer answers: what it heard, what a script says, what of a text is on the menu.

use super::cart::{self, Cart, Line};
use super::item::{Item, Kind};
use super::matching;
use super::measure::Facts;
use super::menu::{ADD_TO_ORDER, SUBMIT_ORDER};
use super::policy::Policy;
use super::response::Planned;
use serde_json::Value;

/// The most characters of somebody else's words in an answer.
const QUOTE: usize = 300;

/// What the peer knows of the order being taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    cart: Cart,
    /// The text that was last taken as an order: asked about again, it is not taken again.
    taken: Option<String>,
    /// What was asked for and is not on the menu, to be said when the call before it is answered.
    unsaid: Vec<String>,
}

/// What an answer is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct With<'a> {
    pub(super) policy: &'a Policy,
    pub(super) tools: &'a [Value],
    pub(super) tool_choice: &'a Value,
}

impl With<'_> {
    fn has(&self, name: &str) -> bool {
        self.tool_choice != "none"
            && self
                .tools
                .iter()
                .any(|tool| tool.get("name").is_some_and(|known| known == name))
    }

    /// The function that has to be called, whatever is said.
    fn forced(&self) -> Option<&str> {
        match self.tool_choice {
            Value::Object(choice) => choice.get("name").and_then(Value::as_str),
            Value::String(choice) if choice == "required" => self
                .tools
                .iter()
                .find_map(|tool| tool.get("name").and_then(Value::as_str)),
            _ => None,
        }
        .filter(|name| self.has(name))
    }
}

impl Answers {
    /// Those lines are being sent. What comes now is another order, unless they come back.
    pub(super) fn send(&mut self, lines: &[Line]) -> Vec<Line> {
        if self.cart.lines() == lines {
            self.cart.take()
        } else {
            Vec::new()
        }
    }

    /// Those lines were added before this session began.
    pub(super) fn add(&mut self, lines: &[Line]) {
        self.cart.add(lines);
    }

    /// No order was made of what was sent.
    pub(super) fn restore(&mut self, lines: &[Line]) {
        self.cart.add(lines);
    }

    /// The answer to the last of those items that asks for one.
    pub(super) fn answer(&mut self, items: &[&Item], with: With<'_>) -> Vec<Planned> {
        let asked = items.iter().rev().find(|item| match &item.kind {
            Kind::Message { role, .. } => *role == "user",
            Kind::CallOutput { .. } => true,
            Kind::Call { .. } => false,
        });
        let Some(asked) = asked else {
            return vec![say(
                "There is nothing to answer yet: say or write something.",
            )];
        };
        if let Kind::CallOutput { call_id, output } = &asked.kind {
            return vec![say(self.called(items, call_id, output))];
        }
        if let Some(text) = asked.text() {
            if self.taken.as_ref() == Some(&asked.id) {
                return vec![say(self.so_far(&[]))];
            }
            let before = self.cart.lines().to_vec();
            let planned = self.read(&text, with);
            if self.cart.lines() != before {
                self.taken = Some(asked.id.clone());
            }
            return planned;
        }
        if let Some(sound) = asked.heard() {
            if let Some(planned) = script(with.policy, |when| when == "speech") {
                return planned;
            }
            return vec![Planned::Say {
                text: format!("I heard {}", Facts::of(sound).sentence()),
                sound: Some(sound.clone()),
            }];
        }
        vec![say(
            "There is neither text nor sound in that which I can answer.",
        )]
    }

    fn read(&mut self, text: &str, with: With<'_>) -> Vec<Planned> {
        if let Some(planned) = script(with.policy, |when| matching::contains(text, when)) {
            return planned;
        }
        if let Some(call) = commanded(text, with) {
            return vec![call];
        }
        let asked = matching::read(text, &with.policy.menu);
        if let Some(name) = with.forced() {
            let arguments = match name {
                ADD_TO_ORDER => {
                    self.cart.add(&asked.lines);
                    cart::arguments(&asked.lines)
                }
                SUBMIT_ORDER => {
                    self.cart.add(&asked.lines);
                    cart::arguments(self.cart.lines())
                }
                _ => "{}".into(),
            };
            return vec![Planned::Call {
                name: name.to_owned(),
                arguments,
            }];
        }
        let mut planned = Vec::new();
        let refused = self.cart.add(&asked.lines);
        let mut unknown = asked.unknown;
        unknown.extend(refused.iter().map(|line| format!("more {}", line.name)));
        if !asked.lines.is_empty() {
            if with.has(ADD_TO_ORDER) {
                self.unsaid = unknown;
                planned.push(Planned::Call {
                    name: ADD_TO_ORDER.into(),
                    arguments: cart::arguments(&asked.lines),
                });
            } else if !asked.submit {
                planned.push(say(self.so_far(&unknown)));
            }
        }
        if asked.submit {
            planned.push(if self.cart.lines().is_empty() {
                say("There is nothing in the order yet, so nothing was sent.")
            } else if with.has(SUBMIT_ORDER) {
                Planned::Call {
                    name: SUBMIT_ORDER.into(),
                    arguments: cart::arguments(self.cart.lines()),
                }
            } else {
                say(format!(
                    "This session has no tool {SUBMIT_ORDER}, so the order was not sent: {}.",
                    cart::describe(self.cart.lines())
                ))
            });
        }
        if planned.is_empty() {
            let quoted = quote(text);
            planned.push(say(if with.policy.menu.is_empty() {
                format!("I read: \u{201c}{quoted}\u{201d}.")
            } else {
                format!("I read: \u{201c}{quoted}\u{201d}. Nothing of it is on the menu.")
            }));
        }
        planned
    }

    /// What became of a call.
    fn called(&mut self, items: &[&Item], wanted: &str, output: &str) -> String {
        let name = items.iter().rev().find_map(|item| match &item.kind {
            Kind::Call { call_id, name, .. } if call_id == wanted => Some(name.as_str()),
            _ => None,
        });
        match name {
            Some(SUBMIT_ORDER) => submitted(output),
            Some(ADD_TO_ORDER) => {
                let unknown = std::mem::take(&mut self.unsaid);
                self.so_far(&unknown)
            }
            Some(name) => format!("{name} answered: {}", quote(output)),
            None => format!("The answer is: {}", quote(output)),
        }
    }

    fn so_far(&self, unknown: &[String]) -> String {
        let mut text = if self.cart.lines().is_empty() {
            "The order is empty.".to_owned()
        } else {
            let mut text = format!("The order so far: {}.", cart::describe(self.cart.lines()));
            if let Some(total) = self.cart.total() {
                text.push_str(&format!(" Together {}.", total.to_decimal()));
            }
            text
        };
        if !unknown.is_empty() {
            text.push_str(&format!(
                " Not on the menu: {}.",
                quote(&unknown.join(", "))
            ));
        }
        if !self.cart.lines().is_empty() {
            text.push_str(" Say \u{201c}that\u{2019}s all\u{201d} to send it.");
        }
        text
    }
}

fn submitted(output: &str) -> String {
    let output: Value = serde_json::from_str(output).unwrap_or_default();
    let order = output.get("order");
    let field = |key: &str| {
        order
            .and_then(|order| order.get(key))
            .map(|value| match value {
                Value::String(text) => quote(text),
                other => other.to_string(),
            })
    };
    match (field("order_number"), output.get("error")) {
        (Some(number), _) => {
            let total = order
                .and_then(|order| order.get("total"))
                .and_then(Value::as_f64)
                .map(|total| format!(" Together {total:.2}."))
                .unwrap_or_default();
            format!("Order {number} went to the kitchen.{total}")
        }
        (None, Some(Value::String(why))) => format!("The order was not made: {}", quote(why)),
        (None, _) => "The order went to the kitchen.".into(),
    }
}

/// The first line of the script that matches.
fn script(policy: &Policy, matches: impl Fn(&str) -> bool) -> Option<Vec<Planned>> {
    let line = policy.script.iter().find(|line| matches(&line.when))?;
    let call = line.call.as_ref().map(|call| Planned::Call {
        name: call.name.clone(),
        arguments: Value::Object(call.arguments.clone()).to_string(),
    });
    Some(
        line.say
            .as_deref()
            .map(say)
            .into_iter()
            .chain(call)
            .collect(),
    )
}

/// `call NAME` or `call NAME {…}`: any tool of the session, called by a text that says so.
fn commanded(text: &str, with: With<'_>) -> Option<Planned> {
    let rest = text.trim().strip_prefix("call ")?.trim();
    let (name, arguments) = rest.split_once(' ').unwrap_or((rest, "{}"));
    if !with.has(name)
        || !serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object())
    {
        return None;
    }
    Some(Planned::Call {
        name: name.to_owned(),
        arguments: arguments.trim().to_owned(),
    })
}

fn say(text: impl Into<String>) -> Planned {
    Planned::Say {
        text: text.into(),
        sound: None,
    }
}

fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTE).collect();
    if quoted.len() < text.len() {
        quoted.push('\u{2026}');
    }
    quoted
}
