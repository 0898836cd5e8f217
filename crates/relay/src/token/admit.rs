//! A token that a socket shows: whose it is, and what it says, narrowed to the restaurants served here.

use super::{Identity, Keys, Scope};
use crate::revoked::Revocations;
use tautline_machine::relay::Claims;
use tautline_protocol::{AuthCode, rfc3339};

/// Checks it, for a restaurant if that is said already.
///
/// # Errors
/// What it is refused for.
pub(crate) fn admit(
    keys: &Keys,
    revoked: &Revocations,
    served: Option<&[String]>,
    token: &str,
    wanted: Option<&str>,
    from_page: bool,
) -> Result<(Identity, Claims), AuthCode> {
    let identity = keys.verify(token)?;
    // What the token is not for at all is the session's to say.
    if identity
        .restaurant(wanted)
        .is_ok_and(|restaurant| revoked.revokes(&identity, restaurant))
    {
        return Err(AuthCode::TokenInvalid);
    }
    // A token for every restaurant has no business in a page.
    if from_page && identity.is_wildcard() {
        return Err(AuthCode::RestaurantForbidden);
    }
    let named = match &identity.scope {
        Scope::One(all) if all == "*" => None,
        Scope::One(one) => Some(vec![one.clone()]),
        Scope::Several(several) => Some(several.clone()),
    };
    let restaurants = match (served, named) {
        (None, named) => named,
        (Some(served), None) => Some(served.to_vec()),
        (Some(served), Some(named)) => {
            let both: Vec<String> = named.into_iter().filter(|id| served.contains(id)).collect();
            if both.is_empty() {
                return Err(AuthCode::RestaurantForbidden);
            }
            Some(both)
        }
    };
    let claims = Claims {
        sub: identity.sub.clone(),
        restaurants,
        role: identity.role.as_str().into(),
        order_ids: identity.order_ids.to_vec(),
        expires_at: rfc3339(identity.expires_at_ms),
        expires_in_ms: identity
            .expires_at_ms
            .saturating_sub(crate::clock::wall_ms()),
        issued_at_ms: identity.issued_at_ms,
    };
    Ok((identity, claims))
}
