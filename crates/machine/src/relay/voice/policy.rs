//! What a restaurant lets voice sessions be and do.

use super::menu::Menu;
use serde::Deserialize;
use serde_json::Value;
use tautline_protocol::Role;
use tautline_protocol::limits;

/// A restaurant's voice policy, as its table of the policy file has it. Read it, then [`Policy::check`] it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Who may hold a call, besides managers and services.
    pub roles: Vec<Role>,
    /// The models that may be asked for; the first is taken when none is. Empty: any.
    pub models: Vec<String>,
    /// Locked when given: the caller's are dropped.
    pub instructions: Option<String>,
    /// Locked when given: the caller's are dropped.
    pub tools: Option<Vec<Value>>,
    /// The longest call, seconds.
    pub max_length_s: u64,
    /// A secret starts one session only.
    pub single_use: bool,
    /// `type` of the orders made.
    pub order_type: String,
    /// What text is matched against and orders are priced by.
    pub menu: Menu,
    /// What the relay's own peer says and calls, tried before the menu.
    pub script: Vec<Line>,
    /// What the caller may set beyond the rest.
    pub allow: Vec<Allow>,
}

/// Fields of a session that cost or reach outside, so that a policy has to name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allow {
    /// Tools of `type:"mcp"`.
    Mcp,
    /// `prompt`.
    Prompt,
    /// `tracing`.
    Tracing,
}

/// One line of a script: what is heard, what is said and called.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Words that the text has in a row, in any case, or `speech` for a spoken turn.
    pub when: String,
    /// What is answered.
    #[serde(default)]
    pub say: Option<String>,
    /// The function called, after what is said.
    #[serde(default)]
    pub call: Option<Call>,
}

/// A function call of a script.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The function's name.
    pub name: String,
    /// An object.
    #[serde(default)]
    pub arguments: serde_json::Map<String, Value>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            roles: vec![Role::Kiosk, Role::Server],
            models: Vec::new(),
            instructions: None,
            tools: None,
            max_length_s: limits::VOICE_LENGTH_MS / 1_000,
            single_use: false,
            order_type: "takeout".into(),
            menu: Menu::default(),
            script: Vec::new(),
            allow: Vec::new(),
        }
    }
}

impl Policy {
    /// What `--dev` brings: every role that may hold a call at all, any model, a burger bar's menu.
    pub fn demo() -> Self {
        Self {
            roles: vec![Role::Customer, Role::Kiosk, Role::Server],
            menu: Menu::demo(),
            ..Self::default()
        }
    }

    /// Whether a role may hold a call. A kitchen display may not, whatever a policy says.
    pub fn admits(&self, role: Role) -> bool {
        match role {
            Role::Manager | Role::Service => true,
            Role::Kitchen => false,
            Role::Customer | Role::Kiosk | Role::Server => self.roles.contains(&role),
        }
    }

    /// Whether the caller may set that.
    pub fn allows(&self, what: Allow) -> bool {
        self.allow.contains(&what)
    }

    /// Whether it can be used; the message says what to change.
    pub fn check(&self) -> Result<(), String> {
        self.menu.check()?;
        if self.roles.contains(&Role::Kitchen) {
            return Err("roles: a kitchen display cannot hold a call; leave it out".into());
        }
        if !(1..=limits::VOICE_LENGTH_MS / 1_000).contains(&self.max_length_s) {
            return Err(format!(
                "max_length_s: 1 to {}",
                limits::VOICE_LENGTH_MS / 1_000
            ));
        }
        if self.order_type.is_empty() || self.order_type.chars().count() > 32 {
            return Err("order_type: 1 to 32 characters, for example \"takeout\"".into());
        }
        for line in &self.script {
            if line.when.trim().is_empty() {
                return Err("script.when: words, or \"speech\"".into());
            }
            if line.say.is_none() && line.call.is_none() {
                return Err("script: a line needs say, call, or both".into());
            }
            if line
                .say
                .as_ref()
                .is_some_and(|say| say.chars().count() > 2_000)
            {
                return Err("script.say: at most 2000 characters".into());
            }
        }
        super::settings::check_locked(self).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_holds_together() {
        Policy::demo().check().unwrap();
        assert!(Policy::demo().admits(Role::Customer));
        assert!(!Policy::default().admits(Role::Customer));
        assert!(!Policy::demo().admits(Role::Kitchen));
    }

    #[test]
    fn unknown_fields_are_refused_with_their_name() {
        let error = serde_json::from_str::<Policy>(r#"{"instrutions":"x"}"#).unwrap_err();
        assert!(error.to_string().contains("instrutions"));
    }

    #[test]
    fn what_cannot_be_used_says_what_to_change() {
        for (json, word) in [
            (r#"{"roles":["kitchen"]}"#, "kitchen"),
            (r#"{"max_length_s":0}"#, "max_length_s"),
            (r#"{"max_length_s":99999}"#, "max_length_s"),
            (r#"{"order_type":""}"#, "order_type"),
            (r#"{"script":[{"when":"hi"}]}"#, "script"),
            (r#"{"script":[{"when":" ","say":"x"}]}"#, "script.when"),
            (r#"{"tools":[{"type":"function"}]}"#, "name"),
        ] {
            let policy: Policy = serde_json::from_str(json).unwrap();
            assert!(policy.check().unwrap_err().contains(word), "{json}");
        }
    }
}
