//! Who asks for a voice session: an `ek_` secret, or a token of the relay's whose role may.

use super::super::App;
use super::Failure;
use crate::peer::Peer;
use crate::voice::Who;
use crate::voice::secrets::{PREFIX, Refused};
use axum::http::{HeaderMap, StatusCode, header};
use tautline_machine::relay::voice::{Defaults, Settings};
use tautline_protocol::AuthCode;
use tautline_protocol::permission::{self, Case, Operation};

/// What somebody comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// To begin a session.
    Start,
    /// To mint a secret, which is not done with one.
    Mint,
    /// To end or follow one that runs.
    Reach,
}

/// Who asks, and what their sessions begin with.
pub(super) struct Visitor {
    pub(super) who: Who,
    pub(super) settings: Settings,
}

/// What a request shows of whoever makes it.
pub(super) struct Shown<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) peer: Option<&'a Peer>,
    /// The secret or token.
    pub(super) key: Option<&'a str>,
    /// Which restaurant, for a token of several.
    pub(super) restaurant: Option<&'a str>,
}

fn unauthorized(code: &'static str, message: &'static str) -> Failure {
    Failure::invalid(StatusCode::UNAUTHORIZED, code, message)
}

impl App {
    /// See [`Visitor`].
    pub(super) fn visitor(&self, shown: &Shown<'_>, comes: For) -> Result<Visitor, Failure> {
        let Some(key) = shown.key.filter(|key| !key.is_empty()) else {
            return Err(unauthorized(
                "missing_api_key",
                "Send Authorization: Bearer with an ek_ secret or a token of this relay's.",
            ));
        };
        let visitor = if key.starts_with(PREFIX) {
            self.by_secret(key, shown, comes)?
        } else {
            self.by_token(key, shown)?
        };
        let (role, restaurant) = (visitor.who.identity.role, &visitor.who.restaurant);
        let case = Case {
            policy: self.voice.policies.of(restaurant).admits(role),
            ..Case::default()
        };
        if comes != For::Reach && !permission::rule(role, Operation::Call).allows(case) {
            return Err(Failure::invalid(
                StatusCode::FORBIDDEN,
                "forbidden",
                format!(
                    "The role {} may not hold a call here; the voice policy names those that may.",
                    role.as_str()
                ),
            ));
        }
        Ok(visitor)
    }

    fn by_secret(&self, secret: &str, shown: &Shown<'_>, comes: For) -> Result<Visitor, Failure> {
        if comes == For::Mint {
            return Err(Failure::invalid(
                StatusCode::FORBIDDEN,
                "forbidden",
                "An ek_ secret mints no further ones; send a token of this relay's.",
            ));
        }
        if let Some(peer) = shown.peer {
            peer.may_try(shown.headers)
                .map_err(|refusal| Failure::from(super::super::problem::Problem::from(refusal)))?;
        }
        let origin = shown
            .headers
            .get(header::ORIGIN)
            .and_then(|origin| origin.to_str().ok());
        let starts = comes == For::Start;
        let grant = self
            .voice
            .secrets
            .redeem(secret, origin, starts, crate::clock::wall_ms())
            .map_err(|refused| {
                if let Some(peer) = shown.peer {
                    peer.auth_failed(shown.headers);
                }
                match refused {
                    Refused::Unknown => unauthorized(
                        "invalid_api_key",
                        "This ek_ secret is unknown here or has run out; mint a new one.",
                    ),
                    Refused::UsedUp => unauthorized(
                        "invalid_api_key",
                        "This ek_ secret was for one session; mint a new one for each.",
                    ),
                    Refused::Origin => unauthorized(
                        "origin_mismatch",
                        "This ek_ secret is for pages of another origin.",
                    ),
                }
            })?;
        if self.revoked.revokes(&grant.identity, &grant.restaurant) {
            return Err(unauthorized(
                "invalid_api_key",
                "The token that minted this secret was revoked.",
            ));
        }
        Ok(Visitor {
            who: Who {
                identity: grant.identity,
                restaurant: grant.restaurant,
            },
            settings: grant.settings,
        })
    }

    fn by_token(&self, token: &str, shown: &Shown<'_>) -> Result<Visitor, Failure> {
        let identity = self.identify(token, shown.headers, shown.peer)?;
        let restaurant = identity
            .restaurant(shown.restaurant)
            .map_err(|code| match code {
                AuthCode::RestaurantRequired => Failure::invalid(
                    StatusCode::BAD_REQUEST,
                    "restaurant_required",
                    "The token names several restaurants; add ?restaurant_id= to say which.",
                ),
                code => Failure::from(super::super::problem::Problem::from(code)),
            })?
            .to_owned();
        self.admit(&identity, &restaurant)?;
        let policy = self.voice.policies.of(&restaurant);
        let settings = Settings::new(policy, None, &Defaults::default())?;
        Ok(Visitor {
            who: Who {
                identity,
                restaurant,
            },
            settings,
        })
    }
}
