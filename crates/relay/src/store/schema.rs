//! Opening the database: settings, schema steps, the check after an unclean stop.

use super::backup;
use super::files::Partial;
use crate::Fatal;
use crate::config::Durability;
use rusqlite::{Connection, OpenFlags};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Each step brings a database from its number to the next; a step once shipped is never edited.
///
/// `event.position` is `restaurant.key << 40 | seq`: one b-tree in log order, without a second index. `event.about` says
/// whom it concerns, for visibility at a replay. `past_order` holds orders that left the live set. `revocation.sub` is
/// empty where every token of the restaurant is meant, and its times are milliseconds since 1970.
const STEPS: &[&str] = &["
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE restaurant (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL, head INTEGER NOT NULL);
    CREATE TABLE event (position INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL, frame TEXT NOT NULL);
    CREATE TABLE live_order (restaurant INTEGER NOT NULL, id TEXT NOT NULL, changed_ms INTEGER NOT NULL, body TEXT NOT NULL,
                             PRIMARY KEY (restaurant, id));
    CREATE TABLE command (restaurant INTEGER NOT NULL, sub TEXT NOT NULL, id TEXT NOT NULL, hash BLOB NOT NULL, at_ms INTEGER NOT NULL,
                          epoch TEXT, seq INTEGER, result TEXT, PRIMARY KEY (restaurant, sub, id));
    CREATE INDEX command_age ON command (at_ms);
", "
    ALTER TABLE event ADD COLUMN about TEXT;
    CREATE TABLE past_order (restaurant INTEGER NOT NULL, id TEXT NOT NULL, left_ms INTEGER NOT NULL, body TEXT NOT NULL,
                             PRIMARY KEY (restaurant, id));
    CREATE INDEX past_order_age ON past_order (restaurant, left_ms, id);
    CREATE TABLE revocation (restaurant TEXT NOT NULL, sub TEXT NOT NULL, iat_before INTEGER NOT NULL, until_ms INTEGER NOT NULL,
                             PRIMARY KEY (restaurant, sub)) WITHOUT ROWID;
"];

/// The first with a history, a reason for each event and revocations.
pub(super) const WITH_HISTORY: usize = 2;

fn cannot(path: &Path, error: impl std::fmt::Display) -> Fatal {
    Fatal::new(format!(
        "the store {} cannot be opened: {error}",
        path.display()
    ))
}

pub(super) fn open_memory() -> Result<Connection, Fatal> {
    let path = Path::new(":memory:");
    let mut connection = Connection::open_in_memory().map_err(|error| cannot(path, error))?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

pub(super) fn open_file(path: &Path, durability: Durability) -> Result<Connection, Fatal> {
    backup::finish_restore(path)?;
    let existed = path.exists();
    // Made by us first, so that SQLite's own files inherit the mode.
    std::fs::File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| cannot(path, error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| cannot(path, error))?;
    let mut connection = Connection::open(path).map_err(|error| cannot(path, error))?;
    let settings = || {
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What is written on the way in is synced whatever the durability: that the store is in use must be on the disk
        // before anything is that may be lost.
        connection.pragma_update(None, "synchronous", "full")?;
        // Checkpoints are the writer's own, at a moment of its choosing.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.busy_timeout(std::time::Duration::from_millis(50))
    };
    settings().map_err(|error| damaged_or(path, &error))?;
    if existed && !closed_cleanly(&connection).map_err(|error| damaged_or(path, &error))? {
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| damaged_or(path, &error))?;
        if verdict != "ok" {
            return Err(damaged(path, &verdict));
        }
        tracing::info!("the store was not closed cleanly; checked, sound");
    }
    migrate(&mut connection, path)?;
    begin(&connection, durability).map_err(|error| cannot(path, error))?;
    if durability == Durability::Normal {
        connection
            .pragma_update(None, "synchronous", "normal")
            .map_err(|error| cannot(path, error))?;
    }
    Ok(connection)
}

/// The next start need not check what it finds.
pub(super) fn mark_closed(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute("INSERT OR REPLACE INTO meta VALUES ('clean', 1)", [])
        .map(|_| ())
}

/// Every restaurant gets another history: positions in the old one are void, so its events go. Orders, the duplicate memory
/// and the count stay.
pub(super) fn begin_epochs(change: &Connection) -> rusqlite::Result<()> {
    change.execute("DELETE FROM event", [])?;
    change
        .execute(
            "UPDATE restaurant SET epoch = lower(hex(randomblob(16)))",
            [],
        )
        .map(|_| ())
}

/// Marks the store as in use. Without full durability a machine that went down under it may have lost what was
/// acknowledged, and nobody can tell: then every history gets another name (`docs/protocol.md` §1, Epoch).
fn begin(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let unproven: bool = connection.query_row(
        "SELECT coalesce((SELECT value FROM meta WHERE name = 'clean'), 1) = 0
            AND coalesce((SELECT value FROM meta WHERE name = 'durability'), 'full') <> 'full'
            AND coalesce((SELECT value FROM meta WHERE name = 'boot'), '') <> ?1",
        [&boot],
        |row| row.get(0),
    )?;
    let change = connection.unchecked_transaction()?;
    if unproven {
        tracing::error!(
            "the machine went down under --durability normal: every restaurant begins a new epoch"
        );
        metrics::counter!("tautline_epochs_total").increment(1);
        begin_epochs(&change)?;
    }
    let durability = match durability {
        Durability::Full => "full",
        Durability::Normal => "normal",
    };
    // The count makes it a change, always: what a killed relay wrote and had no time to sync was found in the system's cache
    // and is about to be served, so it is synced with this.
    change.execute(
        "INSERT OR REPLACE INTO meta VALUES ('clean', 0), ('durability', ?1), ('boot', ?2),
            ('starts', coalesce((SELECT value FROM meta WHERE name = 'starts'), 0) + 1)",
        [durability, &boot],
    )?;
    change.commit()
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, Fatal> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| cannot(path, error))?;
    connection
        .busy_timeout(std::time::Duration::from_secs(1))
        .map_err(|error| cannot(path, error))?;
    Ok(connection)
}

fn damaged(path: &Path, what: &str) -> Fatal {
    Fatal::new(format!(
        "the store {} is damaged ({what}); put a copy of its folder back, put a backup back with `tautline-relay restore --force`, or move the folder away to begin with an empty store",
        path.display()
    ))
}

pub(super) fn damaged_or(path: &Path, error: &rusqlite::Error) -> Fatal {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            damaged(path, &error.to_string())
        }
        _ => cannot(path, error),
    }
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection
        .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        .map(|version| usize::try_from(version).unwrap_or(usize::MAX))
}

fn closed_cleanly(connection: &Connection) -> rusqlite::Result<bool> {
    if version(connection)? == 0 {
        return Ok(true);
    }
    connection.query_row(
        "SELECT coalesce((SELECT value FROM meta WHERE name = 'clean'), 0) = 1",
        [],
        |row| row.get(0),
    )
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Fatal> {
    let have = known_version(connection, path)?;
    if have > 0 && have < STEPS.len() {
        // A copy stays beside it, whole or not at all: there is no way back from a newer schema.
        let copy = Partial::begin(&path.with_extension(format!("schema-{have}.db")))?;
        copy_into(connection, &copy)?;
        copy.finish()?;
    }
    for (step, sql) in STEPS.iter().enumerate().skip(have) {
        let apply = |connection: &mut Connection| {
            let change = connection.transaction()?;
            change.execute_batch(sql)?;
            change.pragma_update(None, "user_version", step as i64 + 1)?;
            change.commit()
        };
        apply(connection).map_err(|error| cannot(path, error))?;
    }
    Ok(())
}

/// Its schema, if this relay knows it; 0 for an empty file.
pub(super) fn known_version(connection: &Connection, path: &Path) -> Result<usize, Fatal> {
    let have = version(connection).map_err(|error| damaged_or(path, &error))?;
    if have > STEPS.len() {
        return Err(Fatal::new(format!(
            "the store {} was written by a newer relay (schema {have}, this one knows {}); run that version",
            path.display(),
            STEPS.len()
        )));
    }
    Ok(have)
}

/// All that is committed now, as a database of one file.
pub(super) fn copy_into(from: &Connection, copy: &Partial) -> Result<(), Fatal> {
    from.execute("VACUUM INTO ?1", [copy.path.to_string_lossy()])
        .map(|_| ())
        .map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => Fatal::new(format!(
                "the store is damaged ({error}) and cannot be copied"
            )),
            _ => cannot(&copy.path, error),
        })
}
