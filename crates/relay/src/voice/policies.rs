//! The policy file: a table per restaurant, `"*"` for those without one.

use crate::Fatal;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tautline_machine::relay::voice::Policy;
use tautline_protocol::is_restaurant_id;

/// Every restaurant's policy.
#[derive(Debug)]
pub(crate) struct Policies {
    by_restaurant: HashMap<String, Arc<Policy>>,
    /// Of those without one.
    others: Arc<Policy>,
}

impl Policies {
    /// Without a file: `--dev` brings a demo menu, else kiosks and servers may call, and nothing is on the menu.
    pub(crate) fn builtin(dev: bool) -> Self {
        let others = if dev {
            Policy::demo()
        } else {
            Policy::default()
        };
        Self {
            by_restaurant: HashMap::new(),
            others: Arc::new(others),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// One sentence that names the table and the field.
    pub(crate) fn open(path: &Path, dev: bool) -> Result<Self, Fatal> {
        let wrong = |why: String| Fatal::usage(format!("--voice-policy {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::read(&text, dev).map_err(wrong)
    }

    fn read(text: &str, dev: bool) -> Result<Self, String> {
        let file: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        let mut policies = Self::builtin(dev);
        for (restaurant, table) in file {
            let policy: Policy = table
                .try_into()
                .map_err(|error: toml::de::Error| format!("[{restaurant}] {}", error.message()))?;
            policy
                .check()
                .map_err(|why| format!("[{restaurant}] {why}"))?;
            let policy = Arc::new(policy);
            if restaurant == "*" {
                policies.others = policy;
            } else if is_restaurant_id(&restaurant) {
                policies.by_restaurant.insert(restaurant, policy);
            } else {
                return Err(format!(
                    "[{restaurant}] is no restaurant id (1 to 64 of A-Z a-z 0-9 . _ ~ -), nor \"*\""
                ));
            }
        }
        Ok(policies)
    }

    /// The one in force.
    pub(crate) fn of(&self, restaurant: &str) -> &Arc<Policy> {
        self.by_restaurant.get(restaurant).unwrap_or(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tautline_protocol::Role;

    #[test]
    fn a_table_per_restaurant_and_one_for_the_others() {
        let text = "[\"*\"]\nroles = [\"server\"]\n[grow]\nroles = [\"customer\"]\nmax_length_s = 60\ninstructions = \"Be brief.\"\n";
        let policies = Policies::read(text, false).unwrap();
        assert!(policies.of("grow").admits(Role::Customer));
        assert_eq!(policies.of("grow").max_length_s, 60);
        assert!(!policies.of("other").admits(Role::Customer));
        assert!(policies.of("other").admits(Role::Server));
        assert!(!policies.of("other").admits(Role::Kiosk));
    }

    /// The page for operators shows a policy file: it is one.
    #[test]
    fn the_example_in_the_documentation_is_taken() {
        let page = include_str!("../../../../docs/operations.md");
        let example = page.split("```toml\n[\"*\"]").nth(1).unwrap();
        let example = format!("[\"*\"]{}", example.split("```").next().unwrap());
        let policies = Policies::read(&example, false).unwrap();
        let grow = policies.of("grow");
        assert!(grow.single_use && grow.admits(Role::Customer));
        assert_eq!(grow.menu.items.len(), 1);
        assert_eq!(grow.menu.items[0].price.get(), 1150);
    }

    #[test]
    fn what_cannot_be_used_names_its_table() {
        for (text, words) in [
            ("[grow]\nrolls = []\n", "rolls"),
            ("[grow]\nmax_length_s = 0\n", "[grow] max_length_s"),
            ("[\"no id\"]\n", "no restaurant id"),
            ("grow = 1\n", "[grow]"),
            ("[grow", "]"),
        ] {
            let why = Policies::read(text, false).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
