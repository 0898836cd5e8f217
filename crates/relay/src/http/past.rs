//! Orders that left the live set, before those that are in it: one list in pages.

use super::App;
use super::orders::{Page, place};
use super::problem::Problem;
use crate::clock::wall_ms;
use crate::store::{Past, PastFrom};
use std::collections::BTreeSet;
use std::sync::Arc;
use tautline_protocol::order::Order;
use tautline_protocol::rfc3339;

/// Orders read from the store at once.
const CHUNK: usize = 500;
/// Orders looked at for one page, wanted or not: a page then ends early, and its cursor leads on.
const LOOKED_AT: usize = 5_000;

/// Whoever left longer ago than this has its place among those that left; a later one may come before others that are in
/// the store already (in the same millisecond, or judged earlier and still to be committed), so it counts as live yet.
const SETTLED_MS: u64 = 10_000;

/// Where a page of the list begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Among those that left.
    Left(PastFrom),
    /// Among those in the live set and those that left it since: an order that leaves between two pages is not missed.
    Live {
        since: PastFrom,
        after: (String, String),
    },
}

/// An order's JSON with the time it left.
pub(super) fn with_left_at(mut json: String, left_ms: u64) -> String {
    json.pop();
    json.push_str(",\"left_at\":\"");
    json.push_str(&rfc3339(left_ms));
    json.push_str("\"}");
    json
}

/// A page from there on. The live set was read before: whoever leaves it meanwhile is in both, and shown once.
pub(super) async fn page(
    app: &App,
    restaurant: &str,
    from: From,
    live: Vec<Arc<Order>>,
    limit: usize,
    shows: impl Fn(&Order) -> bool,
) -> Result<Page, Problem> {
    let restaurant: Arc<str> = restaurant.into();
    let read = async |from: &PastFrom| {
        app.store
            .past_orders(Arc::clone(&restaurant), from.clone(), CHUNK)
            .await
            .map_err(|_| Problem::unreadable())
    };
    let mut page = Page::default();
    let mut seen = BTreeSet::new();
    let (since, after) = match from {
        From::Live { since, after } => (since, Some(after)),
        From::Left(mut from) => {
            let settled = PastFrom {
                left_ms: wall_ms().saturating_sub(SETTLED_MS).max(from.left_ms),
                id: String::new(),
            };
            let mut looked_at = 0;
            'left: loop {
                let chunk = read(&from).await?;
                if chunk.is_empty() {
                    break;
                }
                looked_at += chunk.len();
                for Past { order, left_ms } in chunk {
                    if left_ms >= settled.left_ms {
                        break 'left;
                    }
                    from = PastFrom {
                        left_ms,
                        id: order.id.clone(),
                    };
                    if shows(&order) {
                        page.orders.push(with_left_at(order.wire(), left_ms));
                        if page.orders.len() == limit {
                            page.next = Some(cursor(&From::Left(from)));
                            return Ok(page);
                        }
                    }
                    seen.insert(order.id);
                }
                if looked_at >= LOOKED_AT {
                    page.next = Some(cursor(&From::Left(from)));
                    return Ok(page);
                }
            }
            (settled, None)
        }
    };
    let mut rest: Vec<(Arc<Order>, Option<u64>)> = Vec::new();
    let mut from = since.clone();
    loop {
        let chunk = read(&from).await?;
        let Some(last) = chunk.last() else { break };
        from = PastFrom {
            left_ms: last.left_ms,
            id: last.order.id.clone(),
        };
        rest.extend(
            chunk
                .into_iter()
                .map(|past| (Arc::new(past.order), Some(past.left_ms))),
        );
    }
    seen.extend(rest.iter().map(|(order, _)| order.id.clone()));
    rest.extend(
        live.into_iter()
            .filter(|order| !seen.contains(&order.id))
            .map(|order| (order, None)),
    );
    rest.retain(|(order, _)| {
        let beyond = after
            .as_ref()
            .is_none_or(|(time, id)| place(order) > (time.as_str(), id.as_str()));
        beyond && shows(order)
    });
    rest.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
    let room = limit - page.orders.len();
    if rest.len() > room
        && let Some((last, _)) = rest.get(room - 1)
    {
        let (time, id) = place(last);
        page.next = Some(cursor(&From::Live {
            since,
            after: (time.to_owned(), id.to_owned()),
        }));
    }
    page.orders
        .extend(rest.into_iter().take(room).map(|(order, left)| match left {
            Some(left_ms) => with_left_at(order.wire(), left_ms),
            None => order.wire(),
        }));
    Ok(page)
}

fn cursor(from: &From) -> String {
    super::orders::encode_cursor(&match from {
        From::Left(from) => format!("left\n{}\n{}", from.left_ms, from.id),
        From::Live { since, after } => format!(
            "live\n{}\n{}\n{}\n{}",
            since.left_ms, since.id, after.0, after.1
        ),
    })
}

/// Where a page's `next_cursor` leads.
pub(super) fn decode(cursor: &str) -> Option<From> {
    let text = super::orders::decode_cursor(cursor)?;
    let parts: Vec<&str> = text.split('\n').collect();
    let since = |left_ms: &str, id: &str| {
        Some(PastFrom {
            left_ms: left_ms.parse().ok()?,
            id: id.to_owned(),
        })
    };
    match parts.as_slice() {
        ["left", left_ms, id] => Some(From::Left(since(left_ms, id)?)),
        ["live", left_ms, left_id, time, id] => Some(From::Live {
            since: since(left_ms, left_id)?,
            after: ((*time).to_owned(), (*id).to_owned()),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_lead_back_to_their_place() {
        let since = PastFrom {
            left_ms: 7,
            id: "o~1".into(),
        };
        for from in [
            From::Left(since.clone()),
            From::Live {
                since,
                after: ("2026-11-23T17:08:54Z".into(), "o2".into()),
            },
        ] {
            assert_eq!(decode(&cursor(&from)), Some(from));
        }
        for bad in ["", "!", "bGVmdAp4Cm8"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
