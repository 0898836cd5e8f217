//! Tokens that no longer count though they have not run out: in the store for restarts, here for every look-up
//! (`docs/operations.md`, Tokens).

use crate::clock::wall_ms;
use crate::token::{Identity, Scope};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use tautline_protocol::limits;
use tokio::sync::watch;

/// Tokens of a restaurant, and of one `sub` or all, that were made before a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The restaurant.
    pub restaurant: String,
    /// Whose; empty for everyone's.
    pub sub: String,
    /// What was made before this counts no more; ms since 1970.
    pub iat_before_ms: u64,
    /// By then every such token has run out by itself; ms since 1970.
    pub until_ms: u64,
}

impl Revocation {
    /// Kept until a token made just before that moment cannot live any more.
    pub(crate) fn new(restaurant: String, sub: String, iat_before_ms: u64) -> Self {
        let longest = limits::TOKEN_MAX_LIFE_MS + limits::TOKEN_LEEWAY_MS;
        Self {
            restaurant,
            sub,
            iat_before_ms,
            until_ms: iat_before_ms.saturating_add(longest),
        }
    }

    /// Whether it means this token. One that does not say when it was made may be as old as any.
    pub(crate) fn means(&self, restaurant: &str, sub: &str, issued_at_ms: Option<u64>) -> bool {
        self.restaurant == restaurant
            && (self.sub.is_empty() || self.sub == sub)
            && issued_at_ms.is_none_or(|issued| issued < self.iat_before_ms)
    }
}

/// By restaurant, then by `sub`.
type Known = HashMap<String, HashMap<String, Revocation>>;

/// All that is in force.
#[derive(Debug)]
pub(crate) struct Revocations {
    known: RwLock<Known>,
    changed: watch::Sender<()>,
}

impl Revocations {
    /// What the store holds.
    pub(crate) fn new(stored: Vec<Revocation>) -> Self {
        let revocations = Self {
            known: RwLock::default(),
            changed: watch::Sender::new(()),
        };
        stored.into_iter().for_each(|one| revocations.add(one));
        revocations
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// In force from here on.
    pub(crate) fn add(&self, revocation: Revocation) {
        let now = wall_ms();
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, subs| {
                subs.retain(|_, one| one.until_ms > now);
                !subs.is_empty()
            });
            let subs = known.entry(revocation.restaurant.clone()).or_default();
            let one = subs
                .entry(revocation.sub.clone())
                .or_insert_with(|| revocation.clone());
            one.iat_before_ms = one.iat_before_ms.max(revocation.iat_before_ms);
            one.until_ms = one.until_ms.max(revocation.until_ms);
        }
        self.changed.send_replace(());
    }

    /// How many are in force.
    pub(crate) fn count(&self) -> usize {
        let now = wall_ms();
        let known = self.known();
        let all = known.values().flat_map(|subs| subs.values());
        all.filter(|one| one.until_ms > now).count()
    }

    /// Whether there is room for one more of this restaurant.
    pub(crate) fn has_room(&self, restaurant: &str, sub: &str) -> bool {
        self.known().get(restaurant).is_none_or(|subs| {
            subs.contains_key(sub) || sub.is_empty() || subs.len() < limits::REVOCATIONS
        })
    }

    /// Whether this token counts no more in this restaurant: two look-ups.
    pub(crate) fn is_revoked(
        &self,
        restaurant: &str,
        sub: &str,
        issued_at_ms: Option<u64>,
    ) -> bool {
        let known = self.known();
        let Some(subs) = known.get(restaurant) else {
            return false;
        };
        let now = wall_ms();
        ["", sub]
            .into_iter()
            .filter_map(|whose| subs.get(whose))
            .any(|one| one.until_ms > now && one.means(restaurant, sub, issued_at_ms))
    }

    /// The same for an identity.
    pub(crate) fn revokes(&self, identity: &Identity, restaurant: &str) -> bool {
        self.is_revoked(restaurant, &identity.sub, identity.issued_at_ms)
    }

    /// Whether nothing is left of what the token names.
    pub(crate) fn revokes_all(&self, identity: &Identity) -> bool {
        match &identity.scope {
            Scope::One(all) if all == "*" => false,
            Scope::One(one) => self.revokes(identity, one),
            Scope::Several(several) => several.iter().all(|one| self.revokes(identity, one)),
        }
    }

    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_tokens_of_whom_it_means_and_no_others() {
        let now = wall_ms();
        let of = |sub: &str, before| Revocation::new("grow".into(), sub.into(), before);
        let revocations = Revocations::new(vec![of("ann", now)]);
        let is = |restaurant, sub, issued| revocations.is_revoked(restaurant, sub, issued);
        assert!(is("grow", "ann", Some(now - 1)));
        assert!(is("grow", "ann", None), "it may be as old as any");
        assert!(!is("grow", "ann", Some(now)));
        assert!(!is("grow", "bob", Some(now - 1)));
        assert!(!is("other", "ann", Some(now - 1)));
        revocations.add(of("", now - 500));
        assert!(is("grow", "bob", Some(now - 501)));
        assert!(!is("grow", "bob", Some(now - 500)));
        revocations.add(of("ann", now - 900));
        assert!(is("grow", "ann", Some(now - 1)), "never taken back");
    }

    #[test]
    fn it_goes_when_all_it_means_has_run_out() {
        let now = wall_ms();
        let past = Revocation {
            until_ms: now - 1,
            ..Revocation::new("grow".into(), String::new(), now)
        };
        let revocations = Revocations::new(vec![past]);
        assert!(!revocations.is_revoked("grow", "ann", None));
        revocations.add(Revocation::new("other".into(), String::new(), now));
        assert_eq!(revocations.known().len(), 1);
    }

    #[test]
    fn a_restaurant_has_room_for_so_many() {
        let revocations = Revocations::new(Vec::new());
        for n in 0..limits::REVOCATIONS {
            assert!(revocations.has_room("grow", &n.to_string()));
            let one = Revocation::new("grow".into(), n.to_string(), wall_ms());
            revocations
                .known
                .write()
                .unwrap()
                .entry("grow".into())
                .or_default()
                .insert(n.to_string(), one);
        }
        assert!(!revocations.has_room("grow", "one more"));
        assert!(revocations.has_room("grow", "7") && revocations.has_room("grow", ""));
        assert!(revocations.has_room("other", "one more"));
    }
}
