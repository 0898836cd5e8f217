//! Answers from committed rows.

use super::Stretch;
use super::history::{self, From, Past};
use super::rows::{position, seq_at};
use crate::revoked::Revocation;
use rusqlite::{Connection, OptionalExtension, Result, Row};
use std::sync::Arc;
use tautline_machine::relay::{About, Ack, Dedupe, Event, Stored};
use tautline_protocol::order::Order;
use tautline_protocol::{Epoch, Seq, limits};
use tokio::sync::oneshot;

pub(super) enum Read {
    Close,
    Revocations(oneshot::Sender<Result<Vec<Revocation>, String>>),
    Load {
        restaurant: Arc<str>,
        now_ms: u64,
        done: oneshot::Sender<Result<Stored, String>>,
    },
    Stretch {
        restaurant: Arc<str>,
        after: Seq,
        events: usize,
        bytes: usize,
        done: oneshot::Sender<Result<Stretch, String>>,
    },
    PastOrders {
        restaurant: Arc<str>,
        from: From,
        most: usize,
        done: oneshot::Sender<Result<Vec<Past>, String>>,
    },
    PastOrder {
        restaurant: Arc<str>,
        id: String,
        done: oneshot::Sender<Result<Option<Past>, String>>,
    },
}

impl Read {
    /// Answers on this connection; `false` when there is nothing more to answer. Whoever asked may have gone; that
    /// is their business.
    pub(super) fn answer(self, db: &Connection) -> bool {
        match self {
            Self::Close => return false,
            Self::Revocations(done) => {
                let _ = done.send(super::revoke::all(db).map_err(describe));
            }
            Self::Load {
                restaurant,
                now_ms,
                done,
            } => {
                let _ = done.send(load(db, &restaurant, now_ms).map_err(describe));
            }
            Self::Stretch {
                restaurant,
                after,
                events,
                bytes,
                done,
            } => {
                let _ = done.send(stretch(db, &restaurant, after, events, bytes).map_err(describe));
            }
            Self::PastOrders {
                restaurant,
                from,
                most,
                done,
            } => {
                let _ = done.send(history::list(db, &restaurant, &from, most).map_err(describe));
            }
            Self::PastOrder {
                restaurant,
                id,
                done,
            } => {
                let _ = done.send(history::one(db, &restaurant, &id).map_err(describe));
            }
        }
        true
    }
}

fn describe(error: rusqlite::Error) -> String {
    metrics::counter!("tautline_store_errors_total", "kind" => "read").increment(1);
    tracing::error!(%error, "the store cannot be read");
    error.to_string()
}

fn find(db: &Connection, id: &str) -> Result<Option<(i64, Epoch, Seq)>> {
    db.prepare_cached("SELECT key, epoch, head FROM restaurant WHERE id = ?1")?
        .query_row([id], |row| {
            Ok((
                row.get(0)?,
                Epoch::new(&row.get::<_, String>(1)?),
                row.get::<_, i64>(2)?.unsigned_abs(),
            ))
        })
        .optional()
}

fn event(row: &Row<'_>) -> Result<Event> {
    let frame: Arc<str> = row.get::<_, String>(3)?.into();
    Ok(Event::new(
        seq_at(row.get(0)?),
        row.get(2)?,
        row.get::<_, i64>(1)?.unsigned_abs(),
        About::from_stored(row.get_ref(4)?.as_str_or_null()?),
        frame,
    ))
}

/// Everything the log of a restaurant begins with.
pub(super) fn load(db: &Connection, id: &str, now_ms: u64) -> Result<Stored> {
    // One view of the rows, whatever is committed meanwhile.
    let view = db.unchecked_transaction()?;
    let Some((key, epoch, head)) = find(&view, id)? else {
        return Ok(Stored::default());
    };
    let (first, last) = (position(key, 0), position(key + 1, 0) - 1);
    let mut sizes: Vec<u32> = view
        .prepare_cached("SELECT size FROM event WHERE position BETWEEN ?1 AND ?2 ORDER BY position DESC LIMIT ?3")?
        .query_map((first, last, limits::TAIL_EVENTS as i64), |row| row.get(0))?
        .collect::<Result<_>>()?;
    let mut memory = 0usize;
    let in_memory = sizes
        .iter()
        .take_while(|&&size| {
            memory += size as usize;
            memory <= limits::TAIL_MEMORY_BYTES
        })
        .count();
    sizes.reverse();
    let tail_from = (head + 1).saturating_sub(in_memory as u64);
    let tail = view
        .prepare_cached("SELECT position, at_ms, kind, frame, about FROM event WHERE position BETWEEN ?1 AND ?2 ORDER BY position")?
        .query_map([position(key, tail_from), last], event)?
        .collect::<Result<_>>()?;
    let orders = view
        .prepare_cached(
            "SELECT body, changed_ms FROM live_order WHERE restaurant = ?1 ORDER BY id",
        )?
        .query_map([key], |row| {
            let order: Order = Order::from_stored(row.get_ref(0)?.as_str()?).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(
                    0,
                    rusqlite::types::Type::Text,
                    error.into(),
                )
            })?;
            Ok((order, row.get::<_, i64>(1)?.unsigned_abs()))
        })?
        .collect::<Result<_>>()?;
    let dedupe = view
        .prepare_cached("SELECT sub, id, hash, at_ms, epoch, seq, result FROM command WHERE restaurant = ?1 AND at_ms > ?2 ORDER BY at_ms, rowid")?
        .query_map([key, now_ms.saturating_sub(limits::DEDUPE_MS).cast_signed()], |row| {
            let epoch: Option<String> = row.get(4)?;
            let seq: Option<i64> = row.get(5)?;
            let at = epoch.zip(seq).map(|(epoch, seq)| (Epoch::new(&epoch), seq.unsigned_abs()));
            Ok(Dedupe {
                sub: row.get(0)?, id: row.get(1)?, hash: u128::from_be_bytes(row.get(2)?), at_ms: row.get::<_, i64>(3)?.unsigned_abs(),
                ack: Arc::new(Ack { at, result: row.get(6)? }),
            })
        })?
        .collect::<Result<_>>()?;
    Ok(Stored {
        epoch: Some(epoch),
        head,
        tail,
        sizes,
        orders,
        dedupe,
    })
}

fn stretch(db: &Connection, id: &str, after: Seq, events: usize, bytes: usize) -> Result<Stretch> {
    let view = db.unchecked_transaction()?;
    let Some((key, epoch, head)) = find(&view, id)? else {
        return Ok(Stretch::default());
    };
    let last = position(key + 1, 0) - 1;
    let oldest: Option<i64> = view
        .prepare_cached("SELECT min(position) FROM event WHERE position BETWEEN ?1 AND ?2")?
        .query_row([position(key, 0), last], |row| row.get(0))?;
    let mut found = Stretch {
        epoch: Some(epoch),
        head,
        oldest: oldest.map_or(head + 1, seq_at),
        events: Vec::new(),
    };
    if after + 1 < found.oldest || after >= head {
        return Ok(found);
    }
    let mut statement = view.prepare_cached(
        "SELECT position, at_ms, kind, frame, about FROM event WHERE position BETWEEN ?1 AND ?2 ORDER BY position LIMIT ?3",
    )?;
    let mut rows = statement.query((
        position(key, after + 1),
        last,
        i64::try_from(events).unwrap_or(i64::MAX),
    ))?;
    let mut taken = 0;
    while let Some(row) = rows.next()? {
        let event = event(row)?;
        taken += event.stored().len();
        if taken > bytes && !found.events.is_empty() {
            break;
        }
        found.events.push(Arc::new(event));
    }
    Ok(found)
}
