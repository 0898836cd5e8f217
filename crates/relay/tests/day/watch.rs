//! What the relay holds, hour by hour, and the test of whether it is bounded by what is live.
//!
//! Three things must hold. At each look every count is at most what those who are there can account for, and nothing kept is
//! older than its time. From the twelfth hour on (dinner is at the beginning of that half, so what is live can only sink) no
//! count, nor the memory, nor the label sets of the metrics rise: the floor of each is judged by Theil-Sen and Mann-Kendall
//! (`crates/machine/src/trend.rs`). When the last client has gone every count is what it was before the first.

use crate::line::{ask, token};
use crate::{Day, HOURS, RESTAURANTS, screen};
use std::collections::BTreeMap;
use std::rc::Rc;
use tautline_machine::Time;
use tautline_machine::trend::{Direction, Floor};
use tautline_protocol::limits;

/// Label sets of one family: more than any closed list of values has.
const LABEL_SETS: u64 = 64;
/// Minutes for which each of a kind is kept, whoever is there: only over several times as many can it be said to rise.
const KEPT: [(&str, f64); 2] = [
    ("commands_remembered", limits::DEDUPE_MS as f64 / 60_000.0),
    ("secrets", 10.0),
];
/// Minutes in which what is out of date is removed at the latest, where somebody always writes.
const TIDY: f64 = 30.0;

/// One look.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Customers that are there, those included who vanished and whose sockets still are.
    visitors: u64,
    /// By `GET /api/v1/diagnostics`, and the gauges that are not in it.
    counts: BTreeMap<String, u64>,
    memory: u64,
    disk: u64,
    /// Rows of each table, and the age of the oldest in minutes.
    kept: BTreeMap<&'static str, (u64, f64)>,
    /// Of each family of metrics.
    label_sets: BTreeMap<String, u64>,
}

impl Sample {
    fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    fn all_label_sets(&self) -> u64 {
        self.label_sets.values().sum()
    }
}

/// Rows in the store and how old the oldest is, by the relay's clock.
fn kept(day: &Day, wall_ms: u64) -> BTreeMap<&'static str, (u64, f64)> {
    let db = rusqlite::Connection::open(day.data.join("tautline.db")).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let tables = [
        ("event", "at_ms"),
        ("command", "at_ms"),
        ("live_order", "changed_ms"),
        ("past_order", "left_ms"),
    ];
    let of = |(table, when): (&'static str, &str)| {
        let query = format!("SELECT count(*), coalesce(min({when}), {wall_ms}) FROM {table}");
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let (rows, oldest) = db.query_row(&query, [], row).unwrap();
        let age = (wall_ms as f64 - oldest as f64) / 60_000.0;
        (table, (rows.unsigned_abs(), age))
    };
    tables.map(of).into()
}

/// Looks at everything.
pub(crate) async fn look(day: &Rc<Day>, visitors: usize) -> Sample {
    let token = token(day, "restaurant_id=demo&role=manager&sub=watcher&ttl=24h").await;
    let get = |path: &'static str| {
        let token = token.clone();
        async move {
            loop {
                if let Some(answer) = ask(day, "GET", path, &token, &[], "").await {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    return answer;
                }
            }
        }
    };
    let told = get("/api/v1/diagnostics").await.json();
    let metrics = get("/metrics").await.body;
    let mut counts: BTreeMap<String, u64> = told["counts"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(kind, count)| (kind.clone(), count.as_u64().unwrap()))
        .collect();
    let mut label_sets = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some(name) = line
            .split(['{', ' '])
            .next()
            .filter(|name| !name.is_empty())
        else {
            continue;
        };
        *label_sets.entry(name.to_owned()).or_default() += 1;
        if matches!(name, "tautline_voice_index" | "tautline_connections") {
            let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            *counts.entry(name.to_owned()).or_default() += value as u64;
        }
    }
    let files = std::fs::read_dir(&day.data).unwrap();
    let disk = files.map(|file| file.unwrap().metadata().map_or(0, |is| is.len()));
    let wall_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as f64
        + day.began.elapsed().as_millis() as f64 * f64::from(day.plan.pace - 1);
    Sample {
        visitors: visitors as u64,
        memory: told["memory"]["resident_bytes"].as_u64().unwrap(),
        disk: disk.sum(),
        kept: kept(day, wall_ms as u64),
        counts,
        label_sets,
    }
}

/// What those who are there account for, of each kind.
fn account(kind: &str, sample: &Sample, start: &Sample) -> u64 {
    let screens = (RESTAURANTS.len() * screen::ROLES.len()) as u64;
    // Two more: this look's own connection, and one that is just going.
    let clients = sample.visitors + screens + 2;
    match kind {
        "restaurants" => RESTAURANTS.len() as u64,
        "orders" => sample.kept["live_order"].0 + clients,
        "commands_remembered" => sample.kept["command"].0 + clients,
        "log_bytes" => RESTAURANTS.len() as u64 * limits::TAIL_MEMORY_BYTES as u64,
        // A read and a write each, and the shard's own.
        "tasks" => 2 * clients + 4,
        // Turns that are sent from a file have up to 64 of those.
        "descriptors" => start.count(kind) + clients + 64,
        // Threads that read files end when they were idle for a while.
        "threads" => start.count(kind) + 2,
        // Ten minutes long.
        "secrets" => clients + 64,
        "revocations" => 0,
        _ => clients,
    }
}

/// The series of a quantity in the second half of the day.
fn second_half(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> Floor {
    let mut floor = Floor::new(3_600_000);
    let half = &samples[samples.len() / 2..];
    // Once more: the last stretch is left out as not over.
    for (hour, sample) in half.iter().chain(half.last()).enumerate() {
        floor.sample(of(sample) as f64, Time::from_ms(hour as u64 * 3_600_000));
    }
    floor
}

/// See the module.
pub(crate) fn is_bounded(day: &Day, samples: &[Sample]) {
    let mut wrong = Vec::new();
    let start = samples.first().unwrap();
    for (hour, sample) in samples.iter().enumerate() {
        for (kind, &held) in &sample.counts {
            let most = account(kind, sample, start);
            if held > most {
                wrong.push(format!("hour {hour}: {held} {kind}, {most} accounted for"));
            }
        }
        for (table, most) in [
            ("past_order", day.plan.history),
            ("command", limits::DEDUPE_MS as f64 / 60_000.0),
        ] {
            let (rows, age) = sample.kept[table];
            if age > most + TIDY {
                wrong.push(format!(
                    "hour {hour}: the oldest of {rows} {table} is {age:.0} min old, {most} are kept"
                ));
            }
        }
        let events = sample.kept["event"].0;
        if events > RESTAURANTS.len() as u64 * day.plan.tail() * 2 {
            wrong.push(format!("hour {hour}: {events} events are kept"));
        }
        for (family, &sets) in &sample.label_sets {
            if sets > LABEL_SETS {
                wrong.push(format!("hour {hour}: {family} has {sets} label sets"));
            }
        }
    }
    let half = day.plan.minutes / 2.0;
    let is_still_gathering = |kind: &str| {
        let kept = KEPT.iter().find(|(of, _)| *of == kind);
        kept.is_some_and(|&(_, minutes)| half < 2.0 * minutes)
    };
    let kinds = samples.last().unwrap().counts.keys();
    for kind in kinds.filter(|kind| !is_still_gathering(kind)) {
        let trend = second_half(samples, |sample| sample.count(kind)).trend();
        if trend.direction == Direction::Growing {
            wrong.push(format!("{kind} grows: {trend:?}"));
        }
    }
    let memory = second_half(samples, |sample| sample.memory).trend();
    let labels = second_half(samples, Sample::all_label_sets).trend();
    println!(
        "day: trend memory {} z {:.2}, label sets {} z {:.2}",
        memory.direction.as_str(),
        memory.z,
        labels.direction.as_str(),
        labels.z
    );
    for (what, trend) in [("memory", memory), ("label sets", labels)] {
        if trend.direction == Direction::Growing {
            wrong.push(format!("{what} grows: {trend:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The last client has gone: every count is what it was before the first.
pub(crate) async fn is_back(day: &Rc<Day>, start: &Sample) {
    let began = std::time::Instant::now();
    loop {
        let now = look(day, 0).await;
        let left: Vec<_> = now
            .counts
            .iter()
            .filter(|&(kind, &held)| held > start.count(kind) + u64::from(kind == "threads"))
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(
            began.elapsed() < crate::DEADLINE + day.takes(10.0),
            "left: {left:?}, at the start {start:?}"
        );
        day.minutes(1.0).await;
    }
}

/// Everything that is to happen in a day did.
pub(crate) fn was_a_day(day: &Day) {
    for what in [
        "guests",
        "requests",
        "voice sessions held",
        "devices that vanished",
        "orders by socket",
        "orders by request",
        "moves",
        "renewals",
        "secrets",
        "events shown",
    ] {
        assert!(day.counted(what) > 0, "no {what}");
    }
}

/// For `cargo xtask day`.
pub(crate) fn report(day: &Day, samples: &[Sample]) {
    println!(
        "day: {:.0} minutes of the relay's in {:.0} s",
        day.plan.minutes,
        day.began.elapsed().as_secs_f64()
    );
    for (what, count) in day.counts.borrow().iter() {
        println!("day: count {what}: {count}");
    }
    for (hour, sample) in samples.iter().enumerate() {
        let from = (hour as u32 + 6) % HOURS;
        let kept = |table| sample.kept[table].0;
        println!(
            "day: row {from}–{} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {}",
            from + 1,
            sample.visitors,
            sample.count("connections"),
            sample.count("voice_sessions"),
            sample.count("tasks"),
            sample.count("timers"),
            sample.count("descriptors"),
            sample.count("orders"),
            kept("event"),
            kept("past_order"),
            kept("command"),
            sample.count("addresses") + sample.count("writers") + sample.count("secrets"),
            sample.count("log_bytes") as f64 / 1e6,
            sample.disk as f64 / 1e6,
            sample.memory as f64 / 1e6,
            sample.all_label_sets(),
        );
    }
}
