//! Who a token speaks for.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use tautline_machine::relay;
use tautline_protocol::{AuthCode, Role, is_restaurant_id};

/// The restaurants a token names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scope {
    /// One; `"*"` stands for all and is `service`'s alone.
    One(String),
    /// Several, at most 64.
    Several(Vec<String>),
}

/// Who a token speaks for, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject.
    pub sub: String,
    /// The role.
    pub role: Role,
    /// The restaurants.
    pub scope: Scope,
    /// The end of the token, ms since 1970, without leeway.
    pub expires_at_ms: u64,
    /// When it was issued, ms since 1970, if it says so.
    pub issued_at_ms: Option<u64>,
    /// Orders that are its own beside those it created.
    pub order_ids: Arc<[String]>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The restaurant served: the one asked for if the token names it, the token's only one if none is asked for.
    ///
    /// # Errors
    /// `restaurant_required` or `restaurant_forbidden`.
    pub fn restaurant<'a>(&'a self, wanted: Option<&'a str>) -> Result<&'a str, AuthCode> {
        let named = match (&self.scope, wanted) {
            (Scope::One(all), Some(wanted)) if all == "*" => Some(wanted),
            (Scope::One(all), None) if all == "*" => return Err(AuthCode::RestaurantRequired),
            (Scope::One(one), None) => Some(one.as_str()),
            (Scope::One(one), Some(wanted)) => (one == wanted).then_some(wanted),
            (Scope::Several(several), Some(wanted)) => {
                several.iter().any(|one| one == wanted).then_some(wanted)
            }
            (Scope::Several(several), None) => match several.as_slice() {
                [one] => Some(one.as_str()),
                _ => return Err(AuthCode::RestaurantRequired),
            },
        };
        named
            .filter(|id| is_restaurant_id(id))
            .ok_or(AuthCode::RestaurantForbidden)
    }

    /// Whom it speaks for, as the logs judge it.
    pub fn speaks_for(&self) -> relay::Scope {
        relay::Scope {
            order_ids: Arc::new(self.order_ids.iter().cloned().collect()),
            ..relay::Scope::new(&self.sub, self.role)
        }
    }

    /// Whether the token stands for every restaurant.
    pub fn is_wildcard(&self) -> bool {
        matches!(&self.scope, Scope::One(all) if all == "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: &str) -> Scope {
        Scope::One(id.into())
    }

    #[test]
    fn the_restaurant_is_named_by_one_of_the_two() {
        let identity = |scope, role| Identity {
            sub: "s".into(),
            role,
            scope,
            expires_at_ms: 0,
            issued_at_ms: None,
            order_ids: Arc::default(),
        };
        let both = identity(Scope::Several(vec!["a".into(), "b".into()]), Role::Manager);
        assert_eq!(both.restaurant(None), Err(AuthCode::RestaurantRequired));
        assert_eq!(both.restaurant(Some("b")), Ok("b"));
        let all = identity(one("*"), Role::Service);
        assert_eq!(all.restaurant(None), Err(AuthCode::RestaurantRequired));
        assert_eq!(all.restaurant(Some("any")), Ok("any"));
        assert_eq!(
            all.restaurant(Some("*")),
            Err(AuthCode::RestaurantForbidden)
        );
        assert_eq!(
            identity(Scope::Several(vec!["a".into()]), Role::Server).restaurant(None),
            Ok("a")
        );
    }
}
