//! Who a checked token lets in, and for which restaurant: the same on every socket (`docs/protocol.md` §1, Life of a
//! connection).

use super::session::Claims;
use super::view::Scope;
use crate::Time;
use std::sync::Arc;
use tautline_protocol::limits::Limits;
use tautline_protocol::server_frame::{self, AuthSuccess, Place};
use tautline_protocol::{AuthCode, CloseCode, Role, is_restaurant_id, rfc3339};

/// Who a checked token says it is.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) scope: Scope,
    pub(super) restaurant_id: String,
    pub(super) issued_at_ms: Option<u64>,
    expires_at: String,
    /// The token's end, leeway not counted.
    pub(super) expires: Time,
}

impl Grant {
    /// Whether a checked token may have this restaurant.
    pub(super) fn admit(claims: Claims, wanted: Option<&str>, now: Time) -> Result<Self, AuthCode> {
        let role = Role::parse(&claims.role).ok_or(AuthCode::RoleUnknown)?;
        let restaurant_id = match (wanted, &claims.restaurants) {
            (Some(wanted), Some(named)) if !named.iter().any(|id| id == wanted) => {
                return Err(AuthCode::RestaurantForbidden);
            }
            (Some(wanted), _) if is_restaurant_id(wanted) => wanted.to_owned(),
            (Some(_), _) => return Err(AuthCode::RestaurantForbidden),
            (None, Some(named)) => match named.as_slice() {
                [one] => one.clone(),
                _ => return Err(AuthCode::RestaurantRequired),
            },
            (None, None) => return Err(AuthCode::RestaurantRequired),
        };
        Ok(Self {
            scope: Scope {
                order_ids: Arc::new(claims.order_ids.into_iter().collect()),
                ..Scope::new(&claims.sub, role)
            },
            restaurant_id,
            issued_at_ms: claims.issued_at_ms,
            expires_at: claims.expires_at,
            expires: now + claims.expires_in_ms,
        })
    }

    /// A renewal is by the same `sub` for the same restaurant.
    pub(super) fn renew(
        &self,
        claims: Result<Claims, AuthCode>,
        wanted: Option<&str>,
        now: Time,
    ) -> Result<Self, AuthCode> {
        let claims = claims?;
        if *claims.sub != *self.scope.sub
            || wanted.is_some_and(|wanted| wanted != self.restaurant_id)
        {
            return Err(AuthCode::IdentityChanged);
        }
        Self::admit(claims, Some(&self.restaurant_id), now).map_err(|code| match code {
            AuthCode::RestaurantForbidden => AuthCode::IdentityChanged,
            code => code,
        })
    }

    /// `auth:success`.
    pub(super) fn success(&self, terms: &Terms<'_>, now: Time, wall_ms: u64) -> String {
        server_frame::auth_success(AuthSuccess {
            v1: terms.v1,
            restaurant_id: &self.restaurant_id,
            user_id: &self.scope.sub,
            role: self.scope.role,
            view: &self.scope.view(),
            expires_at: &self.expires_at,
            expires_in_ms: self.expires - now,
            renewal: terms.renewal,
            place: terms.place,
            limits: terms.limits,
            reconnect_spread_ms: terms.spread_ms,
            timestamp: &rfc3339(wall_ms),
        })
    }
}

/// What an `auth:success` says besides whose it is.
pub(super) struct Terms<'a> {
    pub(super) v1: bool,
    pub(super) renewal: bool,
    pub(super) place: Option<Place<'a>>,
    pub(super) limits: Limits,
    pub(super) spread_ms: u64,
}

/// `auth:failed`.
pub(super) fn refusal(code: AuthCode, renewal: bool, wall_ms: u64) -> String {
    server_frame::auth_failed(code, why(code), renewal, &rfc3339(wall_ms))
}

/// What a refused first `auth` is closed with.
pub(super) fn close_code(code: AuthCode) -> CloseCode {
    match code {
        AuthCode::TokenInvalid | AuthCode::TokenExpired => CloseCode::POLICY,
        AuthCode::RestaurantForbidden
        | AuthCode::RestaurantRequired
        | AuthCode::RoleUnknown
        | AuthCode::IdentityChanged => CloseCode::FORBIDDEN,
    }
}

fn why(code: AuthCode) -> &'static str {
    match code {
        AuthCode::TokenInvalid => "this is not a token that the relay takes",
        AuthCode::TokenExpired => "the token has run out",
        AuthCode::RestaurantForbidden => "the token is not for this restaurant",
        AuthCode::RestaurantRequired => {
            "the token is not for exactly one restaurant; send restaurant_id"
        }
        AuthCode::RoleUnknown => "the token's role is not one of the relay's",
        AuthCode::IdentityChanged => "a renewal must be by the same sub, for the same restaurant",
    }
}
