use super::App;
use super::problem::Problem;
use crate::peer::Peer;
use crate::token::Identity;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use tautline_protocol::permission::{self, Operation};
use tautline_protocol::{AuthCode, NackCode, is_restaurant_id};

/// Who makes this request, by its bearer token.
pub(super) struct Caller(pub(super) Identity);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        app.caller(parts)
    }
}

impl OptionalFromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Problem> {
        let named = parts.headers.contains_key(header::AUTHORIZATION);
        named.then(|| app.caller(parts)).transpose()
    }
}

/// The token of `Authorization`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
}

impl App {
    fn caller(&self, parts: &Parts) -> Result<Caller, Problem> {
        let headers = &parts.headers;
        let Some(token) = bearer(headers) else {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                AuthCode::TokenInvalid.as_str(),
                "send Authorization: Bearer <token>",
            ));
        };
        let peer = parts.extensions.get::<Peer>();
        self.identify(token, headers, peer).map(Caller)
    }

    /// Whose token this is.
    pub(super) fn identify(
        &self,
        token: &str,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Identity, Problem> {
        if let Some(peer) = peer {
            peer.may_try(headers)?;
        }
        let identity = self
            .keys
            .verify(token)
            .and_then(|identity| {
                if self.revoked.revokes_all(&identity) {
                    Err(AuthCode::TokenInvalid)
                } else {
                    Ok(identity)
                }
            })
            .inspect_err(|_| {
                if let Some(peer) = peer {
                    peer.auth_failed(headers);
                }
            })?;
        // A token for every restaurant has no business in a page.
        if identity.is_wildcard() && headers.contains_key(header::ORIGIN) {
            return Err(AuthCode::RestaurantForbidden.into());
        }
        Ok(identity)
    }

    /// Whether this caller may speak for this restaurant, and whether it is served here.
    pub(super) fn may_use(&self, caller: &Identity, restaurant: &str) -> bool {
        is_restaurant_id(restaurant)
            && self
                .served
                .as_ref()
                .is_none_or(|served| served.iter().any(|id| id == restaurant))
            && caller.restaurant(Some(restaurant)).is_ok()
            && !self.revoked.revokes(caller, restaurant)
    }

    /// Operations where nothing but the role matters.
    pub(super) fn permit(caller: &Identity, operation: Operation) -> Result<(), Problem> {
        if permission::may(caller.role, operation) {
            return Ok(());
        }
        let detail = format!("not for the role {}", caller.role.as_str());
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            NackCode::Forbidden.as_str(),
            detail,
        ))
    }

    pub(super) fn admit(&self, caller: &Identity, restaurant: &str) -> Result<(), Problem> {
        if self.may_use(caller, restaurant) {
            Ok(())
        } else if self.revoked.revokes(caller, restaurant) {
            Err(AuthCode::TokenInvalid.into())
        } else {
            Err(AuthCode::RestaurantForbidden.into())
        }
    }
}
