//! Orders that left the live set: kept with the transaction that takes them out, read in the order of leaving, removed when
//! `--history` is over.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use tautline_machine::relay::OrderRow;
use tautline_protocol::order::Order;

/// Bytes of one answer.
const ANSWER_BYTES: usize = 1024 * 1024;

/// An order that left the live set.
#[derive(Debug)]
pub struct Past {
    /// The order as it was then.
    pub order: Order,
    /// The wall clock when it left.
    pub left_ms: u64,
}

/// Where a list begins: with those that left later than that, or then with a greater id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct From {
    /// The wall clock.
    pub left_ms: u64,
    /// The order's id; empty: all that left then.
    pub id: String,
}

/// Takes over an order's row that is about to leave the live set.
pub(super) fn keep(db: &Connection, restaurant: i64, row: &OrderRow) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO past_order (restaurant, id, left_ms, body)
         SELECT restaurant, id, ?3, body FROM live_order WHERE restaurant = ?1 AND id = ?2",
    )?
    .execute(params![restaurant, row.id, row.changed_ms.cast_signed()])?;
    Ok(())
}

/// Removes up to `most` of what left before then; how many it were.
pub(super) fn trim(db: &Connection, before_ms: u64, most: usize) -> Result<usize> {
    db.prepare_cached(
        "DELETE FROM past_order WHERE rowid IN (
            SELECT past_order.rowid FROM restaurant CROSS JOIN past_order
            ON past_order.restaurant = restaurant.key AND past_order.left_ms < ?1 LIMIT ?2)",
    )?
    .execute(params![
        before_ms.cast_signed(),
        i64::try_from(most).unwrap_or(i64::MAX)
    ])
}

fn past(row: &Row<'_>) -> Result<Past> {
    let order = Order::from_stored(row.get_ref(1)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(Past {
        order,
        left_ms: row.get::<_, i64>(0)?.unsigned_abs(),
    })
}

/// Those that left from there on, at most `most` and about a megabyte, but one if there is one. Who came back to the live
/// set is not among them.
pub(super) fn list(
    db: &Connection,
    restaurant: &str,
    from: &From,
    most: usize,
) -> Result<Vec<Past>> {
    let mut statement = db.prepare_cached(
        "SELECT left_ms, body FROM past_order
         WHERE restaurant = (SELECT key FROM restaurant WHERE id = ?1) AND (left_ms, id) > (?2, ?3)
           AND NOT EXISTS (SELECT 1 FROM live_order
                           WHERE live_order.restaurant = past_order.restaurant AND live_order.id = past_order.id)
         ORDER BY left_ms, id LIMIT ?4",
    )?;
    let mut rows = statement.query(params![
        restaurant,
        i64::try_from(from.left_ms).unwrap_or(i64::MAX),
        from.id,
        i64::try_from(most).unwrap_or(i64::MAX)
    ])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(1)?.as_str()?.len();
        if bytes > ANSWER_BYTES && !found.is_empty() {
            break;
        }
        found.push(past(row)?);
    }
    Ok(found)
}

/// One of them.
pub(super) fn one(db: &Connection, restaurant: &str, id: &str) -> Result<Option<Past>> {
    db.prepare_cached(
        "SELECT left_ms, body FROM past_order WHERE restaurant = (SELECT key FROM restaurant WHERE id = ?1) AND id = ?2",
    )?
    .query_row([restaurant, id], past)
    .optional()
}
