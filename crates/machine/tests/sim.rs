//! The simulation: real client machines and real relay machines under one simulated clock and a hostile network.
//!
//! Each schedule comes from one seed. `cargo test -p tautline-machine --test sim` plays 2 400 of them;
//! `TAUTLINE_SEED=<n>` replays one with its story on stderr, `TAUTLINE_SCHEDULES=<n>` plays that many, `TAUTLINE_FIRST=<n>`
//! begins at another seed, `TAUTLINE_SECONDS=<n>` ends after that time. What must hold is in `sim/check.rs`; the bugs
//! that show that it is looked at are in `sim/bugs.md`.

#![cfg(all(feature = "client", feature = "relay"))]
#![expect(unreachable_pub, reason = "the modules of one test")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a schedule fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "how long it ran is told; nothing is decided by it but when to stop"
)]

/// A schedule is small blocks made and dropped, and `perf` found a good third of its time in glibc's `malloc`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "sim/check.rs"]
mod check;
#[path = "sim/disk.rs"]
mod disk;
#[path = "sim/hands.rs"]
mod hands;
#[path = "sim/holder.rs"]
mod holder;
#[path = "sim/monitor.rs"]
mod monitor;
#[path = "sim/net.rs"]
mod net;
#[path = "sim/old.rs"]
mod old;
#[path = "sim/oracle.rs"]
mod oracle;
#[path = "sim/page.rs"]
mod page;
#[path = "sim/relay.rs"]
mod relay;
#[path = "sim/storage.rs"]
mod storage;
#[path = "sim/tally.rs"]
mod tally;
#[path = "sim/till.rs"]
mod till;
#[path = "sim/trouble.rs"]
mod trouble;
#[path = "sim/wire.rs"]
mod wire;
#[path = "sim/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use tally::Tally;
use world::World;

/// Schedules of one `npm test`.
const SCHEDULES: u64 = 2_400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
}

/// Time that this process has run on each of its cores: what a clock on the wall says on a machine that does nothing
/// else, and no more on one that does.
fn ran() -> Duration {
    let began = CLOCK.get_or_init(Instant::now);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which ends with a bracket: state is field 3, user and system time are 14 and 15, in ticks of 10 ms.
    match stat.rsplit_once(')') {
        Some((_, rest)) => {
            let times = rest.split_whitespace().skip(11).take(2);
            let ticks: u64 = times.filter_map(|n| n.parse::<u64>().ok()).sum();
            Duration::from_millis(10 * ticks / threads() as u64)
        }
        None => began.elapsed(),
    }
}

static CLOCK: OnceLock<Instant> = OnceLock::new();

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

struct Played {
    schedules: u64,
    /// The first seed that failed, and what it broke.
    failed: Option<(u64, String)>,
    tally: Tally,
}

/// Plays schedules on every core until one fails, the seeds are used up, or the time is.
fn play(first: u64, schedules: u64, most: Option<Duration>) -> Played {
    let (next, played) = (AtomicU64::new(first), AtomicU64::new(0));
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let over = |seed| {
        seed >= first.saturating_add(schedules)
            || most.is_some_and(|most| ran() >= most)
            || failed.lock().unwrap().is_some()
    };
    let run = || {
        let mut sum = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if over(seed) {
                return sum;
            }
            match catch_unwind(AssertUnwindSafe(|| World::new(seed, false).run())) {
                Ok(tally) => {
                    sum.add(&tally);
                    played.fetch_add(1, Ordering::Relaxed);
                }
                Err(cause) => {
                    let text = cause.downcast_ref::<String>().cloned();
                    let text =
                        text.or_else(|| cause.downcast_ref::<&str>().map(|&text| text.to_owned()));
                    let mut failed = failed.lock().unwrap();
                    if failed.as_ref().is_none_or(|&(before, _)| seed < before) {
                        *failed = Some((seed, text.unwrap_or_default()));
                    }
                    return sum;
                }
            }
        }
    };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(run)).collect();
        for worker in workers {
            tally.add(&worker.join().unwrap());
        }
    });
    let failed = failed.lock().unwrap().take();
    Played {
        schedules: played.load(Ordering::Relaxed),
        failed,
        tally,
    }
}

#[test]
fn every_schedule_keeps_its_promises() {
    if let Some(seed) = number("TAUTLINE_SEED") {
        let tally = World::new(seed, true).run();
        eprintln!("seed {seed}: {tally:?}");
        return;
    }
    let first = number("TAUTLINE_FIRST").unwrap_or(1);
    let seconds = number("TAUTLINE_SECONDS");
    let schedules = number("TAUTLINE_SCHEDULES").unwrap_or(match seconds {
        Some(_) => u64::MAX,
        None => SCHEDULES,
    });
    let began = Instant::now();
    let played = play(first, schedules, seconds.map(Duration::from_secs));
    let took = ran();
    if let Some((seed, why)) = played.failed {
        // `cargo xtask bugs` reads this line.
        println!("found: {seed} {} {why}", took.as_millis());
        panic!(
            "seed {seed} fails: {why}\nreplay it with\n  TAUTLINE_SEED={seed} cargo test -p tautline-machine --test sim\n"
        );
    }
    // `cargo xtask sim` and `npm test` read these.
    println!(
        "{} schedules in {} ms, {} ms of each core",
        played.schedules,
        began.elapsed().as_millis(),
        took.as_millis()
    );
    for (what, count) in played.tally.rows() {
        println!("count: {count} {what}");
    }
    if played.schedules >= 1_000 {
        played.tally.assert_everything_happened(schedules);
    }
}

#[test]
fn the_same_seed_gives_the_same_story() {
    for seed in 1..6 {
        assert_eq!(
            World::new(seed, false).run(),
            World::new(seed, false).run(),
            "seed {seed}"
        );
    }
}

/// Each invariant is broken by a bug on the list, so that `cargo xtask bugs` shows that it is alive.
#[test]
fn every_invariant_has_its_bug() {
    let bugs = include_str!("sim/bugs.md");
    for (name, says) in check::INVARIANTS {
        let breaks = format!("Breaks: `{name}`");
        assert!(
            bugs.contains(&breaks),
            "no bug in bugs.md breaks `{name}`: {says}"
        );
    }
}
