//! A restaurant from one store to another, as lines of JSON (`docs/operations.md`, Moving a restaurant).

use super::files::Partial;
use super::lock::FolderLock;
use super::{DATABASE, backup, schema};
use crate::Fatal;
use crate::config::Durability;
use crate::ids::random_id;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use tautline_protocol::order::Order;
use tautline_protocol::{JsonWriter, is_restaurant_id, limits, rfc3339};

/// The format written, and the only one read.
const FORMAT: u64 = 1;

/// How much of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Counts {
    /// Orders of the live set.
    pub orders: u64,
    /// Orders that left it.
    pub past: u64,
    /// Commands remembered.
    pub commands: u64,
    /// Revocations of tokens.
    pub revocations: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} live orders, {} past orders, {} commands remembered, {} revocations",
            self.orders, self.past, self.commands, self.revocations
        )
    }
}

/// Writes a restaurant as it is at one moment, to a file (whole or not at all) or to standard output. A relay may run on the
/// folder meanwhile.
///
/// # Errors
/// There is no such restaurant, the store cannot be read, or the file cannot be written.
pub fn export(folder: &Path, restaurant: &str, to: Option<&Path>) -> Result<Counts, Fatal> {
    backup::no_restore_under_way(folder)?;
    let path = folder.join(DATABASE);
    if !path.exists() {
        return Err(Fatal::new(format!(
            "there is no store in {}",
            folder.display()
        )));
    }
    let db = schema::open_reader(&path)?;
    let schema = schema::known_version(&db, &path)?;
    match to {
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            write(&db, schema, restaurant, &mut out)
        }
        Some(to) => {
            let partial = Partial::begin(to)?;
            let mut out = BufWriter::new(partial.file());
            let counts = write(&db, schema, restaurant, &mut out)?;
            drop(out);
            partial.finish()?;
            Ok(counts)
        }
    }
}

fn write(
    db: &Connection,
    schema: usize,
    restaurant: &str,
    out: &mut dyn Write,
) -> Result<Counts, Fatal> {
    // One view of the rows, whatever is committed meanwhile.
    let view = db.unchecked_transaction().map_err(unreadable)?;
    let found = view
        .query_row(
            "SELECT key, epoch, head FROM restaurant WHERE id = ?1",
            [restaurant],
            |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?.unsigned_abs(),
                ))
            },
        )
        .optional()
        .map_err(unreadable)?;
    let Some((key, epoch, head)) = found else {
        return Err(Fatal::new(format!(
            "there is no restaurant {restaurant} in this store"
        )));
    };
    let mut lines = Lines { out };
    lines.put(
        JsonWriter::object()
            .u64("tautline_export", FORMAT)
            .str("restaurant", restaurant)
            .str("epoch", &epoch)
            .u64("head", head)
            .str("exported_at", &rfc3339(crate::clock::wall_ms())),
    )?;
    let mut counts = Counts {
        orders: lines.orders(&view, "live_order", "order", "changed_ms", key)?,
        ..Counts::default()
    };
    if schema >= schema::WITH_HISTORY {
        counts.past = lines.orders(&view, "past_order", "past", "left_ms", key)?;
    }
    counts.commands = lines.commands(&view, key)?;
    if schema >= schema::WITH_HISTORY {
        counts.revocations = lines.revocations(&view, restaurant)?;
    }
    let end = JsonWriter::object()
        .u64("orders", counts.orders)
        .u64("past", counts.past)
        .u64("commands", counts.commands)
        .u64("revocations", counts.revocations)
        .end();
    lines.put(JsonWriter::object().raw("end", &end))?;
    lines.out.flush().map_err(unwritable)?;
    Ok(counts)
}

fn unreadable(error: rusqlite::Error) -> Fatal {
    Fatal::new(format!("the store cannot be read: {error}"))
}

fn unwritable(error: std::io::Error) -> Fatal {
    Fatal::new(format!("the export cannot be written: {error}"))
}

struct Lines<'a> {
    out: &'a mut dyn Write,
}

impl Lines<'_> {
    fn put(&mut self, line: JsonWriter) -> Result<(), Fatal> {
        writeln!(self.out, "{}", line.end()).map_err(unwritable)
    }

    /// One line for each row of a query.
    fn rows(
        &mut self,
        db: &Connection,
        sql: &str,
        of: impl rusqlite::Params,
        line: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<JsonWriter>,
    ) -> Result<u64, Fatal> {
        let mut statement = db.prepare(sql).map_err(unreadable)?;
        let mut rows = statement.query(of).map_err(unreadable)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(unreadable)? {
            self.put(line(row).map_err(unreadable)?)?;
            count += 1;
        }
        Ok(count)
    }

    fn orders(
        &mut self,
        db: &Connection,
        table: &str,
        name: &str,
        time: &str,
        key: i64,
    ) -> Result<u64, Fatal> {
        let sql =
            format!("SELECT body, {time} FROM {table} WHERE restaurant = ?1 ORDER BY {time}, id");
        self.rows(db, &sql, [key], |row| {
            Ok(JsonWriter::object()
                .raw(name, row.get_ref(0)?.as_str()?)
                .u64(time, row.get::<_, i64>(1)?.unsigned_abs()))
        })
    }

    fn commands(&mut self, db: &Connection, key: i64) -> Result<u64, Fatal> {
        let sql = "SELECT sub, id, lower(hex(hash)), at_ms, epoch, seq, result FROM command WHERE restaurant = ?1 ORDER BY at_ms, rowid";
        self.rows(db, sql, [key], |row| {
            let command = JsonWriter::object()
                .str("sub", row.get_ref(0)?.as_str()?)
                .str("id", row.get_ref(1)?.as_str()?)
                .str("hash", row.get_ref(2)?.as_str()?)
                .u64("at_ms", row.get::<_, i64>(3)?.unsigned_abs())
                .opt_str("epoch", row.get_ref(4)?.as_str_or_null()?)
                .opt_u64("seq", row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs))
                .opt_str("result", row.get_ref(6)?.as_str_or_null()?);
            Ok(JsonWriter::object().raw("command", &command.end()))
        })
    }

    fn revocations(&mut self, db: &Connection, restaurant: &str) -> Result<u64, Fatal> {
        let sql =
            "SELECT sub, iat_before, until_ms FROM revocation WHERE restaurant = ?1 ORDER BY sub";
        self.rows(db, sql, [restaurant], |row| {
            let revocation = JsonWriter::object()
                .str("sub", row.get_ref(0)?.as_str()?)
                .u64("iat_before", row.get::<_, i64>(1)?.unsigned_abs())
                .u64("until_ms", row.get::<_, i64>(2)?.unsigned_abs());
            Ok(JsonWriter::object().raw("revocation", &revocation.end()))
        })
    }
}

#[derive(Deserialize)]
struct Head {
    tautline_export: u64,
    restaurant: String,
    head: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    order: Option<&'a RawValue>,
    changed_ms: Option<u64>,
    #[serde(borrow)]
    past: Option<&'a RawValue>,
    left_ms: Option<u64>,
    command: Option<CommandRow>,
    revocation: Option<Revocation>,
    end: Option<Counts>,
}

#[derive(Deserialize)]
struct CommandRow {
    sub: String,
    id: String,
    hash: String,
    at_ms: u64,
    epoch: Option<String>,
    seq: Option<u64>,
    result: Option<String>,
}

#[derive(Deserialize)]
struct Revocation {
    sub: String,
    iat_before: u64,
    until_ms: u64,
}

/// What came in.
#[derive(Debug)]
pub struct Imported {
    /// The restaurant.
    pub restaurant: String,
    /// How much of it.
    pub counts: Counts,
}

/// Takes a restaurant in, all of it or nothing; it begins a new epoch. With `replace` it takes the place of the restaurant of
/// that name.
///
/// # Errors
/// The file is not a whole export, the restaurant exists, the folder is a running relay's or cannot be written.
pub fn import(from: &Path, folder: &Path, replace: bool) -> Result<Imported, Fatal> {
    let file = File::open(from)
        .map_err(|error| Fatal::new(format!("--from {}: {error}", from.display())))?;
    let wrong = |line: u64, what: String| {
        Fatal::new(format!(
            "--from {}, line {line}: {what}; nothing was imported",
            from.display()
        ))
    };
    let mut lines = BufReader::new(file).lines();
    let first = lines
        .next()
        .transpose()
        .map_err(|error| wrong(1, error.to_string()))?
        .unwrap_or_default();
    let head: Head = serde_json::from_str(&first)
        .map_err(|_| wrong(1, "not the first line of a tautline-relay export".into()))?;
    if head.tautline_export != FORMAT {
        return Err(wrong(
            1,
            format!(
                "format {}, this relay reads {FORMAT}; export again with this version",
                head.tautline_export
            ),
        ));
    }
    if !is_restaurant_id(&head.restaurant) {
        return Err(wrong(1, "\"restaurant\" is not a restaurant id".into()));
    }
    let _lock = FolderLock::take(folder)?;
    let path = folder.join(DATABASE);
    let db = schema::open_file(&path, Durability::Full)?;
    let cannot = |error: rusqlite::Error| {
        Fatal::new(format!(
            "the store {} cannot be written: {error}; nothing was imported",
            path.display()
        ))
    };
    let change = db.unchecked_transaction().map_err(cannot)?;
    let key = begin(&change, &head, replace).map_err(cannot)?;
    let Some(key) = key else {
        drop(change);
        close(&db);
        return Err(Fatal::new(format!(
            "the store holds a restaurant {} already; import over it with --replace",
            head.restaurant
        )));
    };
    let counts = (|| {
        let mut counts = Counts::default();
        let mut number = 1;
        for line in lines {
            number += 1;
            let line = line.map_err(|error| wrong(number, error.to_string()))?;
            // The error's own words could quote an order.
            let line: Line<'_> = serde_json::from_str(&line).map_err(|error| {
                wrong(
                    number,
                    format!("not a line of an export (column {})", error.column()),
                )
            })?;
            if let Some(end) = line.end {
                return if end == counts {
                    Ok(counts)
                } else {
                    Err(wrong(
                        number,
                        format!("it should have {end}, it has {counts}"),
                    ))
                };
            }
            take(&change, key, &head.restaurant, &line, &mut counts)
                .map_err(cannot)?
                .map_err(|what| wrong(number, what))?;
        }
        Err(wrong(
            number,
            "the file ends before its last line: it is not whole".into(),
        ))
    })();
    match counts {
        Ok(counts) => {
            change.commit().map_err(cannot)?;
            close(&db);
            Ok(Imported {
                restaurant: head.restaurant,
                counts,
            })
        }
        Err(fatal) => {
            drop(change);
            close(&db);
            Err(fatal)
        }
    }
}

/// If it cannot be marked the next start checks the store, no more.
fn close(db: &Connection) {
    let _ = schema::mark_closed(db);
}

/// An empty restaurant of a new epoch, counting on from where it was; `None` where there is one that may not be replaced.
fn begin(db: &Connection, head: &Head, replace: bool) -> rusqlite::Result<Option<i64>> {
    let there: Option<i64> = db
        .query_row(
            "SELECT key FROM restaurant WHERE id = ?1",
            [&head.restaurant],
            |row| row.get(0),
        )
        .optional()?;
    let upto = i64::try_from(head.head).unwrap_or(i64::MAX >> 24);
    let Some(key) = there else {
        db.execute(
            "INSERT INTO restaurant (id, epoch, head) VALUES (?1, ?2, ?3)",
            params![head.restaurant, random_id(), upto],
        )?;
        return Ok(Some(db.last_insert_rowid()));
    };
    if !replace {
        return Ok(None);
    }
    for table in ["live_order", "past_order", "command"] {
        db.execute(&format!("DELETE FROM {table} WHERE restaurant = ?1"), [key])?;
    }
    db.execute(
        "DELETE FROM event WHERE position >= ?1 AND position < ?2",
        [
            super::rows::position(key, 0),
            super::rows::position(key + 1, 0),
        ],
    )?;
    // What was revoked here stays revoked, whatever the other store knows of it.
    db.execute(
        "UPDATE restaurant SET epoch = ?2, head = max(head, ?3) WHERE key = ?1",
        params![key, random_id(), upto],
    )?;
    Ok(Some(key))
}

/// One line's row; the inner error is the line's fault.
fn take(
    db: &Connection,
    key: i64,
    restaurant: &str,
    line: &Line<'_>,
    counts: &mut Counts,
) -> rusqlite::Result<Result<(), String>> {
    let order = |json: &RawValue| match Order::from_stored(json.get()) {
        Err(error) => Err(format!(
            "the order cannot be read (column {})",
            error.column()
        )),
        Ok(order)
            if order
                .restaurant_id
                .as_deref()
                .is_some_and(|id| id != restaurant) =>
        {
            Err(format!("the order {} is another restaurant's", order.id))
        }
        Ok(order) => Ok(order.id),
    };
    match line {
        Line {
            order: Some(json),
            changed_ms: Some(at),
            ..
        } => {
            let id = match order(json) {
                Ok(id) => id,
                Err(what) => return Ok(Err(what)),
            };
            counts.orders += 1;
            if counts.orders > limits::LIVE_ORDERS as u64 {
                return Ok(Err(format!(
                    "more than {} live orders",
                    limits::LIVE_ORDERS
                )));
            }
            db.prepare_cached("INSERT INTO live_order VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![key, id, at.cast_signed(), json.get()])?;
        }
        Line {
            past: Some(json),
            left_ms: Some(at),
            ..
        } => {
            let id = match order(json) {
                Ok(id) => id,
                Err(what) => return Ok(Err(what)),
            };
            counts.past += 1;
            db.prepare_cached(
                "INSERT INTO past_order (restaurant, id, left_ms, body) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![key, id, at.cast_signed(), json.get()])?;
        }
        Line {
            command: Some(command),
            ..
        } => {
            let hash = u128::from_str_radix(&command.hash, 16);
            let Some(hash) = hash.ok().filter(|_| command.hash.len() == 32) else {
                return Ok(Err("\"hash\": 32 hexadecimal digits".into()));
            };
            counts.commands += 1;
            db.prepare_cached("INSERT INTO command VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
                .execute(params![
                    key,
                    command.sub,
                    command.id,
                    hash.to_be_bytes(),
                    command.at_ms.cast_signed(),
                    command.epoch,
                    command.seq.map(u64::cast_signed),
                    command.result
                ])?;
        }
        Line {
            revocation: Some(revocation),
            ..
        } => {
            counts.revocations += 1;
            db.prepare_cached(
                "INSERT INTO revocation (restaurant, sub, iat_before, until_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET iat_before = max(iat_before, excluded.iat_before), until_ms = max(until_ms, excluded.until_ms)",
            )?
            .execute(params![
                restaurant,
                revocation.sub,
                revocation.iat_before.cast_signed(),
                revocation.until_ms.cast_signed()
            ])?;
        }
        Line { .. } => {
            return Ok(Err(
                "neither order, past, command, revocation nor end".into()
            ));
        }
    }
    Ok(Ok(()))
}
