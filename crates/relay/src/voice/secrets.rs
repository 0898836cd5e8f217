//! `ek_` secrets: what a browser starts a session with. Kept as hashes; who has the relay's memory has no secret.

use crate::limit;
use crate::token::Identity;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tautline_machine::relay::voice::Settings;
use tautline_protocol::limits::{self, hit};

/// Every secret begins like that, or official clients take it for a key that must not be in a browser.
pub(crate) const PREFIX: &str = "ek_";

type Hash = [u8; 32];

/// What a secret stands for.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// Whoever minted it.
    pub(crate) identity: Identity,
    /// The restaurant.
    pub(crate) restaurant: String,
    /// What its sessions begin with.
    pub(crate) settings: Settings,
    /// The only origin it is taken from.
    pub(crate) origin: Option<String>,
}

#[derive(Debug)]
struct Kept {
    grant: Grant,
    until_ms: u64,
    /// It has started its one session.
    used_up: bool,
}

#[derive(Debug, Default)]
struct Known {
    secrets: HashMap<Hash, Kept>,
    by_end: BTreeSet<(u64, Hash)>,
}

/// Why a secret is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody knows it, or it has run out.
    Unknown,
    /// It was for one session.
    UsedUp,
    /// It is bound to another origin.
    Origin,
}

/// All that have not run out.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    known: Mutex<Known>,
}

fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

impl Known {
    fn forget(&mut self, now_ms: u64) {
        while let Some(&(until, hash)) = self.by_end.first() {
            if until > now_ms {
                break;
            }
            self.by_end.pop_first();
            self.secrets.remove(&hash);
        }
    }
}

impl Secrets {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one, or `None` when there are as many as are kept.
    pub(crate) fn mint(&self, grant: Grant, life_s: u64, now_ms: u64) -> Option<String> {
        let secret = format!("{PREFIX}{}", crate::ids::random_secret());
        let (hash, until_ms) = (hash(&secret), now_ms.saturating_add(life_s * 1000));
        let mut known = self.known();
        known.forget(now_ms);
        if known.secrets.len() >= limits::REALTIME_SECRETS {
            limit::hit(hit::REALTIME_SECRETS);
            return None;
        }
        known.by_end.insert((until_ms, hash));
        known.secrets.insert(
            hash,
            Kept {
                grant,
                until_ms,
                used_up: false,
            },
        );
        Some(secret)
    }

    /// How many there are.
    pub(crate) fn count(&self, now_ms: u64) -> usize {
        let mut known = self.known();
        known.forget(now_ms);
        known.secrets.len()
    }

    /// What it stands for. To start a session uses up one that is for one session.
    pub(crate) fn redeem(
        &self,
        secret: &str,
        origin: Option<&str>,
        starts: bool,
        now_ms: u64,
    ) -> Result<Grant, Refused> {
        let mut known = self.known();
        known.forget(now_ms);
        // By its hash: how long the look-up takes says nothing about the secret.
        let kept = known
            .secrets
            .get_mut(&hash(secret))
            .filter(|kept| kept.until_ms > now_ms)
            .ok_or(Refused::Unknown)?;
        if kept.grant.origin.is_some() && kept.grant.origin.as_deref() != origin {
            return Err(Refused::Origin);
        }
        if starts && kept.grant.settings.policy().single_use {
            if kept.used_up {
                return Err(Refused::UsedUp);
            }
            kept.used_up = true;
        }
        Ok(kept.grant.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Scope;
    use std::sync::Arc;
    use tautline_machine::relay::voice::{Defaults, Policy};
    use tautline_protocol::Role;

    fn grant(policy: Policy, origin: Option<&str>) -> Grant {
        Grant {
            identity: Identity {
                sub: "ann".into(),
                role: Role::Kiosk,
                scope: Scope::One("grow".into()),
                expires_at_ms: 0,
                issued_at_ms: None,
                order_ids: Arc::default(),
            },
            restaurant: "grow".into(),
            settings: Settings::new(&Arc::new(policy), None, &Defaults::default()).unwrap(),
            origin: origin.map(String::from),
        }
    }

    #[test]
    fn it_is_good_until_it_has_run_out_and_for_any_number_of_sessions() {
        let secrets = Secrets::default();
        let secret = secrets.mint(grant(Policy::demo(), None), 10, 0).unwrap();
        assert!(secret.starts_with("ek_") && secret.len() == 3 + 43);
        for _ in 0..3 {
            assert!(secrets.redeem(&secret, None, true, 9_999).is_ok());
        }
        let refused = |secret: &str, at| secrets.redeem(secret, None, true, at).unwrap_err();
        assert_eq!(refused(&secret, 10_000), Refused::Unknown);
        assert_eq!(refused("ek_nobody", 0), Refused::Unknown);
        assert!(secrets.known().secrets.is_empty() && secrets.known().by_end.is_empty());
    }

    #[test]
    fn a_policy_may_want_it_for_one_session() {
        let once = Policy {
            single_use: true,
            ..Policy::demo()
        };
        let secrets = Secrets::default();
        let secret = secrets.mint(grant(once, None), 10, 0).unwrap();
        assert!(secrets.redeem(&secret, None, false, 1).is_ok());
        assert!(secrets.redeem(&secret, None, true, 1).is_ok());
        assert_eq!(
            secrets.redeem(&secret, None, true, 1).unwrap_err(),
            Refused::UsedUp
        );
        assert!(
            secrets.redeem(&secret, None, false, 1).is_ok(),
            "hanging up starts nothing"
        );
    }

    #[test]
    fn one_that_is_bound_to_an_origin_is_taken_from_there_only() {
        let secrets = Secrets::default();
        let bound = grant(Policy::demo(), Some("https://a.example"));
        let secret = secrets.mint(bound, 10, 0).unwrap();
        let from = |origin| secrets.redeem(&secret, origin, true, 1).map(|_| ());
        assert_eq!(from(Some("https://a.example")), Ok(()));
        assert_eq!(from(Some("https://b.example")), Err(Refused::Origin));
        assert_eq!(from(None), Err(Refused::Origin));
    }

    #[test]
    fn there_are_so_many_and_those_that_run_out_make_room() {
        let secrets = Secrets::default();
        let one = grant(Policy::demo(), None);
        for _ in 0..limits::REALTIME_SECRETS {
            assert!(secrets.mint(one.clone(), 10, 0).is_some());
        }
        assert!(secrets.mint(one.clone(), 10, 1).is_none());
        assert!(secrets.mint(one, 10, 10_000).is_some());
        assert_eq!(secrets.known().secrets.len(), 1);
    }

    #[test]
    fn it_is_kept_as_a_hash() {
        let secrets = Secrets::default();
        let secret = secrets.mint(grant(Policy::demo(), None), 10, 0).unwrap();
        let printed = format!("{secrets:?}");
        assert!(!printed.contains(secret.trim_start_matches(PREFIX)));
    }
}
