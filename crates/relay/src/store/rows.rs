//! One record's rows.

use super::history;
use rusqlite::{Connection, OptionalExtension, Result, params};
use std::sync::Arc;
use tautline_machine::relay::{Dedupe, Event, Record};
use tautline_protocol::{Epoch, Seq, limits};

/// Events beyond the tail that may gather before they are removed together.
const TRIM_SLACK: u64 = 256;

/// The place of a restaurant's event in the one b-tree of events.
pub(super) fn position(key: i64, seq: Seq) -> i64 {
    key << 40 | i64::try_from(seq).unwrap_or(i64::MAX >> 23)
}

/// The seq at a place.
pub(super) fn seq_at(position: i64) -> Seq {
    (position & ((1 << 40) - 1)).unsigned_abs()
}

/// A restaurant's row, and how much tail it holds.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: i64,
    pub(super) head: Seq,
    oldest: Seq,
    bytes: u64,
}

impl Known {
    /// Finds the restaurant; `None` if it was never made.
    pub(super) fn find(db: &Connection, id: &str) -> Result<Option<Self>> {
        let row = db
            .prepare_cached("SELECT key, head FROM restaurant WHERE id = ?1")?
            .query_row([id], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })
            .optional()?;
        let Some((key, head)) = row else {
            return Ok(None);
        };
        let (oldest, bytes): (Option<i64>, i64) = db
            .prepare_cached("SELECT min(position), coalesce(sum(size), 0) FROM event WHERE position BETWEEN ?1 AND ?2")?
            .query_row([position(key, 0), position(key + 1, 0) - 1], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Some(Self {
            key,
            head,
            oldest: oldest.map_or(head + 1, seq_at),
            bytes: bytes.unsigned_abs(),
        }))
    }

    /// Makes the restaurant.
    pub(super) fn create(db: &Connection, id: &str, epoch: &Epoch) -> Result<Self> {
        db.prepare_cached("INSERT INTO restaurant (id, epoch, head) VALUES (?1, ?2, 0)")?
            .execute(params![id, epoch.as_str()])?;
        Ok(Self {
            key: db.last_insert_rowid(),
            head: 0,
            oldest: 1,
            bytes: 0,
        })
    }

    /// Writes records inside the transaction under way.
    pub(super) fn write_all(
        &mut self,
        db: &Connection,
        records: &[Arc<Record>],
        keep: usize,
    ) -> Result<()> {
        let before = self.head;
        for record in records {
            self.write(db, record)?;
        }
        if self.head != before {
            db.prepare_cached("UPDATE restaurant SET head = ?2 WHERE key = ?1")?
                .execute(params![self.key, self.head.cast_signed()])?;
        }
        self.trim(db, keep)
    }

    fn write(&mut self, db: &Connection, record: &Record) -> Result<()> {
        if let Some(epoch) = &record.epoch {
            // The events of the old epoch are nobody's any more; orders, duplicate memory and the count stay.
            db.prepare_cached("DELETE FROM event WHERE position BETWEEN ?1 AND ?2")?
                .execute([position(self.key, 0), position(self.key + 1, 0) - 1])?;
            db.prepare_cached("UPDATE restaurant SET epoch = ?2 WHERE key = ?1")?
                .execute(params![self.key, epoch.as_str()])?;
            (self.oldest, self.bytes) = (self.head + 1, 0);
        }
        if let Some(event) = &record.event {
            self.event(db, event)?;
        }
        for row in &record.orders {
            match &row.order {
                Some(order) => {
                    db.prepare_cached("INSERT OR REPLACE INTO live_order VALUES (?1, ?2, ?3, ?4)")?
                        .execute(params![
                            self.key,
                            row.id,
                            row.changed_ms.cast_signed(),
                            order.stored()
                        ])?;
                }
                None => {
                    history::keep(db, self.key, row)?;
                    db.prepare_cached("DELETE FROM live_order WHERE restaurant = ?1 AND id = ?2")?
                        .execute(params![self.key, row.id])?;
                }
            }
        }
        for (sub, id) in &record.forgotten {
            db.prepare_cached(
                "DELETE FROM command WHERE restaurant = ?1 AND sub = ?2 AND id = ?3",
            )?
            .execute(params![self.key, sub, id])?;
        }
        if let Some(dedupe) = &record.dedupe {
            self.command(db, dedupe)?;
        }
        Ok(())
    }

    fn event(&mut self, db: &Connection, event: &Event) -> Result<()> {
        let frame = event.stored();
        db.prepare_cached(
            "INSERT INTO event (position, at_ms, kind, size, frame, about) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            position(self.key, event.seq),
            event.at_ms.cast_signed(),
            event.kind,
            frame.len() as i64,
            &**frame,
            event.about.stored()
        ])?;
        self.head = event.seq;
        self.bytes += frame.len() as u64;
        Ok(())
    }

    fn command(&self, db: &Connection, dedupe: &Dedupe) -> Result<()> {
        let (epoch, seq) = dedupe
            .ack
            .at
            .as_ref()
            .map(|(epoch, seq)| (epoch.as_str(), seq.cast_signed()))
            .unzip();
        db.prepare_cached(
            "INSERT OR REPLACE INTO command VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            self.key,
            dedupe.sub,
            dedupe.id,
            dedupe.hash.to_be_bytes(),
            dedupe.at_ms.cast_signed(),
            epoch,
            seq,
            dedupe.ack.result
        ])?;
        Ok(())
    }

    /// Removes what is beyond the tail, some at a time.
    fn trim(&mut self, db: &Connection, keep: usize) -> Result<()> {
        let (max_events, max_bytes) = (keep as u64, limits::TAIL_BYTES as u64);
        let held = (self.head + 1).saturating_sub(self.oldest);
        let keep_from = (self.head + 1).saturating_sub(max_events);
        let mut upto = if held > max_events + TRIM_SLACK.min(max_events) {
            keep_from.saturating_sub(1)
        } else {
            0
        };
        if self.bytes > max_bytes + max_bytes / 64 {
            let mut statement = db.prepare_cached("SELECT position, size FROM event WHERE position BETWEEN ?1 AND ?2 ORDER BY position")?;
            let mut rows =
                statement.query([position(self.key, 0), position(self.key + 1, 0) - 1])?;
            let mut left = self.bytes;
            while let Some(row) = rows.next()? {
                if left <= max_bytes {
                    break;
                }
                left -= row.get::<_, i64>(1)?.unsigned_abs();
                upto = upto.max(seq_at(row.get(0)?));
            }
        }
        if upto < self.oldest {
            return Ok(());
        }
        let range = [position(self.key, 0), position(self.key, upto)];
        let gone: i64 = db
            .prepare_cached(
                "SELECT coalesce(sum(size), 0) FROM event WHERE position BETWEEN ?1 AND ?2",
            )?
            .query_row(range, |row| row.get(0))?;
        db.prepare_cached("DELETE FROM event WHERE position BETWEEN ?1 AND ?2")?
            .execute(range)?;
        self.bytes = self.bytes.saturating_sub(gone.unsigned_abs());
        self.oldest = upto + 1;
        Ok(())
    }
}
