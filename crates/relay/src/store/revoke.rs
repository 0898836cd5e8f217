//! Revoked tokens: few rows, looked up in memory, kept here for the next start.

use crate::revoked::Revocation;
use rusqlite::{Connection, Result, params};
use tokio::sync::oneshot;

/// One to be kept.
pub(super) struct Revoke {
    pub(super) revocation: Revocation,
    pub(super) done: oneshot::Sender<std::result::Result<(), String>>,
}

/// A transaction of its own; what was revoked before stays revoked.
pub(super) fn keep(db: &Connection, revocation: &Revocation) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO revocation VALUES (?1, ?2, ?3, ?4) ON CONFLICT (restaurant, sub) DO UPDATE
         SET iat_before = max(iat_before, excluded.iat_before), until_ms = max(until_ms, excluded.until_ms)",
    )?
    .execute(params![
        revocation.restaurant,
        revocation.sub,
        revocation.iat_before_ms.cast_signed(),
        revocation.until_ms.cast_signed()
    ])?;
    Ok(())
}

/// Those whose tokens have run out by themselves are needed no more.
pub(super) fn forget(db: &Connection, now_ms: u64) -> Result<()> {
    db.execute(
        "DELETE FROM revocation WHERE until_ms < ?1",
        [now_ms.cast_signed()],
    )?;
    Ok(())
}

/// All of them.
pub(super) fn all(db: &Connection) -> Result<Vec<Revocation>> {
    db.prepare("SELECT restaurant, sub, iat_before, until_ms FROM revocation")?
        .query_map([], |row| {
            Ok(Revocation {
                restaurant: row.get(0)?,
                sub: row.get(1)?,
                iat_before_ms: row.get::<_, i64>(2)?.unsigned_abs(),
                until_ms: row.get::<_, i64>(3)?.unsigned_abs(),
            })
        })?
        .collect()
}
