//! Whether a database holds what the log rests on: read only, so that it may be asked beside a running relay.

use super::rows::seq_at;
use super::schema::{self, WITH_HISTORY};
use super::{DATABASE, backup, lock};
use crate::Fatal;
use rusqlite::{Connection, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use tautline_protocol::order::Order;
use tautline_protocol::{Seq, limits};

/// Problems spelled out; the others are counted.
const SPELLED_OUT: usize = 20;

/// What a store holds and what is wrong with it.
#[derive(Debug, Default)]
pub struct Found {
    /// The schema it is of.
    pub schema: usize,
    /// Restaurants.
    pub restaurants: u64,
    /// Events kept for resume.
    pub events: u64,
    /// Orders in the live sets.
    pub live: u64,
    /// Orders that left them.
    pub past: u64,
    /// Commands remembered.
    pub commands: u64,
    /// The process that has the folder, if one has.
    pub holder: Option<String>,
    /// A sentence each; none when all is well.
    pub problems: Vec<String>,
    more: usize,
}

impl Found {
    fn problem(&mut self, what: String) {
        if self.problems.len() < SPELLED_OUT {
            self.problems.push(what);
        } else {
            self.more += 1;
        }
    }

    /// What it holds, in a line.
    pub fn summary(&self) -> String {
        format!(
            "schema {}, {} restaurants, {} events, {} live orders, {} past orders, {} commands remembered",
            self.schema, self.restaurants, self.events, self.live, self.past, self.commands
        )
    }
}

/// Looks at the store of a data folder; a running relay is not disturbed.
///
/// # Errors
/// There is none, it cannot be read, or it is of a newer relay.
pub fn check(folder: &Path) -> Result<Found, Fatal> {
    let path = folder.join(DATABASE);
    backup::no_restore_under_way(folder)?;
    if !path.exists() {
        return Err(Fatal::new(format!(
            "there is no store in {}",
            folder.display()
        )));
    }
    let mut found = inspect_file(&path)?;
    found.holder = lock::holder(folder);
    Ok(found)
}

/// Looks at a database file.
pub(super) fn inspect_file(path: &Path) -> Result<Found, Fatal> {
    let db = schema::open_reader(path)?;
    let schema = schema::known_version(&db, path)?;
    if schema == 0 {
        return Err(Fatal::new(format!(
            "{} is not a store of this relay",
            path.display()
        )));
    }
    inspect(&db, schema).map_err(|error| schema::damaged_or(path, &error))
}

/// Everything at one moment.
pub(super) fn inspect(db: &Connection, schema: usize) -> Result<Found> {
    let view = db.unchecked_transaction()?;
    let mut found = Found {
        schema,
        ..Found::default()
    };
    let mut verdicts = view.prepare("PRAGMA quick_check(10)")?;
    for verdict in verdicts.query_map([], |row| row.get::<_, String>(0))? {
        let verdict = verdict?;
        if verdict != "ok" {
            found.problem(format!("the database is damaged: {verdict}"));
        }
    }
    if !found.problems.is_empty() {
        // What the pages say cannot be believed.
        return Ok(found);
    }
    let restaurants: BTreeMap<i64, Restaurant> = view
        .prepare("SELECT key, id, epoch, head FROM restaurant")?
        .query_map([], |row| {
            Ok((
                row.get(0)?,
                Restaurant {
                    id: row.get(1)?,
                    epoch: row.get(2)?,
                    head: row.get::<_, i64>(3)?.unsigned_abs(),
                    last: None,
                },
            ))
        })?
        .collect::<Result<_>>()?;
    found.restaurants = restaurants.len() as u64;
    events(&view, restaurants.clone(), &mut found)?;
    let live = orders(&view, "live_order", "live", &restaurants, &mut found)?;
    for (key, count) in &live {
        if *count > limits::LIVE_ORDERS as u64
            && let Some(restaurant) = restaurants.get(key)
        {
            found.problem(format!(
                "restaurant {}: {count} live orders, more than {}",
                restaurant.id,
                limits::LIVE_ORDERS
            ));
        }
    }
    found.live = live.values().sum();
    if schema >= WITH_HISTORY {
        found.past = orders(&view, "past_order", "past", &restaurants, &mut found)?
            .values()
            .sum();
    }
    commands(&view, &restaurants, &mut found)?;
    if found.more > 0 {
        let more = format!("and {} more", found.more);
        found.problems.push(more);
    }
    Ok(found)
}

#[derive(Clone, Debug)]
struct Restaurant {
    id: String,
    epoch: String,
    head: Seq,
    /// The last event seen on the walk.
    last: Option<Seq>,
}

/// What a frame says of itself.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    seq: Seq,
    epoch: String,
    restaurant_id: String,
}

/// Without holes, up to the head, each what its row says.
fn events(
    db: &Connection,
    mut restaurants: BTreeMap<i64, Restaurant>,
    found: &mut Found,
) -> Result<()> {
    let mut statement =
        db.prepare("SELECT position, kind, size, frame FROM event ORDER BY position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        found.events += 1;
        let position: i64 = row.get(0)?;
        let (key, seq) = (position >> 40, seq_at(position));
        let Some(restaurant) = restaurants.get_mut(&key) else {
            found.problem(format!("event {seq} is of no restaurant (key {key})"));
            continue;
        };
        let id = &restaurant.id;
        if let Some(last) = restaurant.last.replace(seq)
            && last + 1 != seq
        {
            found.problem(format!(
                "restaurant {id}: no event between {last} and {seq}"
            ));
        }
        let (kind, frame) = (row.get_ref(1)?.as_str()?, row.get_ref(3)?.as_str()?);
        if row.get::<_, i64>(2)? != frame.len() as i64 {
            found.problem(format!("restaurant {id}: event {seq} has another size"));
        }
        let fits = serde_json::from_str::<Frame<'_>>(frame).is_ok_and(|frame| {
            frame.kind == kind
                && frame.seq == seq
                && frame.epoch == restaurant.epoch
                && frame.restaurant_id == *id
        });
        if !fits {
            found.problem(format!(
                "restaurant {id}: event {seq} is not what its place says"
            ));
        }
    }
    for Restaurant { id, head, last, .. } in restaurants.values() {
        if let Some(last) = last
            && last != head
        {
            found.problem(format!(
                "restaurant {id}: the last event is {last}, the head {head}"
            ));
        }
    }
    Ok(())
}

/// Each can be read and is what its row says; how many a restaurant has.
fn orders(
    db: &Connection,
    table: &str,
    what: &str,
    restaurants: &BTreeMap<i64, Restaurant>,
    found: &mut Found,
) -> Result<BTreeMap<i64, u64>> {
    let mut counts = BTreeMap::new();
    let mut statement = db.prepare(&format!("SELECT restaurant, id, body FROM {table}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: i64 = row.get(0)?;
        let (id, body) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
        *counts.entry(key).or_default() += 1;
        let Some(restaurant) = restaurants.get(&key) else {
            found.problem(format!(
                "the {what} order {id} is of no restaurant (key {key})"
            ));
            continue;
        };
        match Order::from_stored(body) {
            Ok(order) if order.id == id => {}
            Ok(order) => found.problem(format!(
                "restaurant {}: the {what} order {id} says it is {}",
                restaurant.id, order.id
            )),
            // The error's own words could quote the order.
            Err(error) => found.problem(format!(
                "restaurant {}: the {what} order {id} cannot be read (column {})",
                restaurant.id,
                error.column()
            )),
        }
    }
    Ok(counts)
}

fn commands(
    db: &Connection,
    restaurants: &BTreeMap<i64, Restaurant>,
    found: &mut Found,
) -> Result<()> {
    let mut statement = db.prepare(
        "SELECT restaurant, id, length(hash), (epoch IS NULL) = (seq IS NULL), result FROM command",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        found.commands += 1;
        let (key, id): (i64, String) = (row.get(0)?, row.get(1)?);
        let Some(restaurant) = restaurants.get(&key) else {
            found.problem(format!("the command {id} is of no restaurant (key {key})"));
            continue;
        };
        let result = match row.get_ref(4)?.as_str_or_null()? {
            Some(result) => serde_json::from_str::<serde::de::IgnoredAny>(result).is_ok(),
            None => true,
        };
        if row.get::<_, i64>(2)? != 16 || !row.get::<_, bool>(3)? || !result {
            found.problem(format!(
                "restaurant {}: what was answered to the command {id} cannot be read",
                restaurant.id
            ));
        }
    }
    Ok(())
}
