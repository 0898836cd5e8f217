//! Every metric there is: its name, what it counts, and the buckets of those that spread (`docs/operations.md`,
//! Metrics). No label has values that a client can make up, and none names a restaurant.

use crate::Fatal;
use crate::config::{Config, DataDir, Durability};
use crate::voice;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tautline_protocol::limits;

enum Kind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}
use Kind::{Counter, Gauge, Histogram};

/// A write to a disk: a fast one syncs in half a millisecond, a laptop's in ten, and one of a second sheds load.
const COMMIT: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// From an event's time (whole milliseconds) to its bytes leaving for one screen.
const LAG: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0,
];
/// Up to `limits::TURN_EVENTS`.
const TURN: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 48.0, 64.0];
/// Up to `limits::COMMIT_APPENDS`.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Label sets that are there, at zero, before anything happened: a rate over what is absent alarms nobody.
type Present = (&'static str, &'static [&'static str]);
const UNLABELLED: Present = ("", &[]);

const ALL: &[(&str, Kind, Present, &str)] = &[
    (
        "tautline_append_queue",
        Gauge,
        UNLABELLED,
        "Writes that wait for the store.",
    ),
    (
        "tautline_batch_events",
        Histogram(TURN),
        UNLABELLED,
        "Events in one turn of a connection.",
    ),
    (
        "tautline_build_info",
        Gauge,
        UNLABELLED,
        "Always 1; the labels say which version runs.",
    ),
    (
        "tautline_bytes_sent_total",
        Counter,
        UNLABELLED,
        "Bytes written to orders sockets.",
    ),
    (
        "tautline_closes_total",
        Counter,
        (
            "code",
            &[
                "1000", "1001", "1006", "1008", "1011", "1012", "1013", "4001", "4003", "4008",
                "4009", "4029",
            ],
        ),
        "Orders sockets that ended, by close code; 1006 without one, other for codes that the protocol does not name.",
    ),
    (
        "tautline_commands_total",
        Counter,
        UNLABELLED,
        "Commands and HTTP writes, by type and by ack or nack code.",
    ),
    (
        "tautline_commit_batch",
        Histogram(BATCH),
        UNLABELLED,
        "Records in one commit of the store.",
    ),
    (
        "tautline_commit_seconds",
        Histogram(COMMIT),
        UNLABELLED,
        "Time one commit of the store took.",
    ),
    (
        "tautline_connections",
        Gauge,
        UNLABELLED,
        "Orders sockets open now; dialect and role are none before auth.",
    ),
    (
        "tautline_connects_total",
        Counter,
        (
            "result",
            &["ok", "draining", "limit", "not_a_websocket", "overloaded"],
        ),
        "Attempts to open an orders socket.",
    ),
    (
        "tautline_cursor_lag_events",
        Gauge,
        UNLABELLED,
        "Events that the connection furthest behind has not been sent.",
    ),
    (
        "tautline_delivery_lag_seconds",
        Histogram(LAG),
        UNLABELLED,
        "From an event's time to its being written to one connection, replays left out.",
    ),
    (
        "tautline_epochs_total",
        Counter,
        UNLABELLED,
        "New epochs begun because the history could not be trusted.",
    ),
    (
        "tautline_events_appended_total",
        Counter,
        UNLABELLED,
        "Events stored.",
    ),
    (
        "tautline_events_delivered_total",
        Counter,
        UNLABELLED,
        "Events sent, once for each connection.",
    ),
    (
        "tautline_http_requests_total",
        Counter,
        UNLABELLED,
        "HTTP requests answered, by status.",
    ),
    (
        "tautline_limit_hits_total",
        Counter,
        ("limit", limits::hit::ROWS),
        "Times a limit was met, by limit.",
    ),
    (
        "tautline_overload_stage",
        Gauge,
        UNLABELLED,
        "What is refused now: 0 nothing, 1 new sockets, 2 slow screens too, 3 commands too.",
    ),
    (
        "tautline_ready",
        Gauge,
        UNLABELLED,
        "1 while /readyz says ready.",
    ),
    (
        "tautline_restaurants",
        Gauge,
        UNLABELLED,
        "Restaurants in memory.",
    ),
    (
        "tautline_resumes_total",
        Counter,
        ("result", &["resumed", "refused", "none"]),
        "First auths, by what became of the position they named.",
    ),
    (
        "tautline_session_panics_total",
        Counter,
        UNLABELLED,
        "Sessions ended by a bug of the relay's.",
    ),
    (
        "tautline_snapshots_total",
        Counter,
        UNLABELLED,
        "Snapshots of a live set sent.",
    ),
    (
        "tautline_store_errors_total",
        Counter,
        ("kind", &["full", "io", "other", "read"]),
        "Failures of the store.",
    ),
    (
        "tautline_store_info",
        Gauge,
        UNLABELLED,
        "Always 1; the labels say which store, and how durable it is.",
    ),
    (
        "tautline_tasks",
        Gauge,
        UNLABELLED,
        "Tasks of the thread that owns the connections.",
    ),
    (
        "tautline_udp_dropped_total",
        Counter,
        ("reason", voice::DROPPED),
        "Datagrams of calls that were not taken or not sent, by reason.",
    ),
    (
        "tautline_voice_ended_total",
        Counter,
        ("reason", voice::Ending::REASONS),
        "Voice sessions that ended, by reason.",
    ),
    (
        "tautline_voice_index",
        Gauge,
        UNLABELLED,
        "Entries by which calls are found, by index; 0 in each when there is no call.",
    ),
    (
        "tautline_voice_sessions",
        Gauge,
        UNLABELLED,
        "Voice sessions now, by transport.",
    ),
    (
        "process_max_fds",
        Gauge,
        UNLABELLED,
        "File descriptors the process may have open.",
    ),
    (
        "process_open_fds",
        Gauge,
        UNLABELLED,
        "File descriptors the process has open.",
    ),
    (
        "process_resident_memory_bytes",
        Gauge,
        UNLABELLED,
        "Memory of the process in RAM.",
    ),
    (
        "process_start_time_seconds",
        Gauge,
        UNLABELLED,
        "When the process was started, seconds since 1970.",
    ),
];

/// The recorder of this process.
pub(crate) fn install(config: &Config) -> Result<PrometheusHandle, Fatal> {
    let recorder = || {
        ALL.iter()
            .try_fold(
                PrometheusBuilder::new(),
                |builder, (name, kind, ..)| match kind {
                    Histogram(buckets) => {
                        builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)
                    }
                    Counter | Gauge => Ok(builder),
                },
            )?
            .install_recorder()
    };
    let handle = recorder()
        .map_err(|error: BuildError| Fatal::new(format!("metrics cannot be kept: {error}")))?;
    describe();
    let store = if config.data_dir == DataDir::Memory {
        "memory"
    } else {
        "sqlite"
    };
    let durability = match (&config.data_dir, config.durability) {
        (DataDir::Memory, _) => "none",
        (_, Durability::Full) => "full",
        (_, Durability::Normal) => "normal",
    };
    metrics::gauge!("tautline_store_info", "store" => store, "durability" => durability).set(1.0);
    metrics::gauge!("tautline_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let began = SystemTime::now().duration_since(UNIX_EPOCH);
    metrics::gauge!("process_start_time_seconds").set(began.map_or(0.0, |time| time.as_secs_f64()));
    Ok(handle)
}

fn describe() {
    for (name, kind, (label, values), help) in ALL {
        match kind {
            Counter => metrics::describe_counter!(*name, *help),
            Gauge => metrics::describe_gauge!(*name, *help),
            Histogram(_) => metrics::describe_histogram!(*name, *help),
        }
        for value in *values {
            metrics::counter!(*name, *label => *value).increment(0);
        }
    }
    for name in [
        "tautline_bytes_sent_total",
        "tautline_epochs_total",
        "tautline_events_appended_total",
        "tautline_events_delivered_total",
        "tautline_session_panics_total",
        "tautline_snapshots_total",
    ] {
        metrics::counter!(name).increment(0);
    }
    for transport in voice::TRANSPORTS {
        metrics::gauge!("tautline_voice_sessions", "transport" => *transport).set(0.0);
    }
    for index in voice::INDEXES {
        metrics::gauge!("tautline_voice_index", "index" => *index).set(0.0);
    }
}

/// What is recorded waits in memory until it is gathered, and nobody may ever ask for `/metrics`.
pub(crate) async fn keep(metrics: PrometheusHandle) {
    let mut every = crate::clock::interval(Duration::from_secs(5));
    loop {
        every.tick().await;
        metrics.run_upkeep();
    }
}

/// Sets what the system knows of this process.
pub(crate) fn measure_process() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| -> Option<f64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    if let Some(bytes) = crate::memory::resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Some(most) = after(&read("/proc/self/limits"), "Max open files") {
        metrics::gauge!("process_max_fds").set(most);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(open.count() as f64);
    }
}
