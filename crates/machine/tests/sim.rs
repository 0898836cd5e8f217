//! The simulation: real client machines and real relay machines under one simulated clock and a hostile network.
//!
//! Each schedule comes from one seed. `cargo test -p tautline-machine --test sim` plays 2 400 of them;
//! `TAUTLINE_SEED=<n>` replays one with its story on stderr, `TAUTLINE_SCHEDULES=<n>` plays that many, `TAUTLINE_FIRST=<n>`
//! begins at another seed. What must hold after every step is in `sim/check.rs`.

#![cfg(all(feature = "client", feature = "relay"))]
#![expect(unreachable_pub, reason = "the modules of one test")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a schedule fails by panicking"
)]

#[path = "sim/check.rs"]
mod check;
#[path = "sim/net.rs"]
mod net;
#[path = "sim/page.rs"]
mod page;
#[path = "sim/relay.rs"]
mod relay;
#[path = "sim/wire.rs"]
mod wire;
#[path = "sim/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use world::{Tally, World};

/// Schedules of one `npm test`.
const SCHEDULES: u64 = 2_400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
}

#[test]
fn every_schedule_keeps_its_promises() {
    if let Some(seed) = number("TAUTLINE_SEED") {
        let tally = World::new(seed, true).run();
        eprintln!("seed {seed}: {tally:?}");
        return;
    }
    let first = number("TAUTLINE_FIRST").unwrap_or(1);
    let schedules = number("TAUTLINE_SCHEDULES").unwrap_or(SCHEDULES);
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let tallies = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut sum = Tally::default();
                    while !failed.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + schedules {
                            break;
                        }
                        match catch_unwind(AssertUnwindSafe(|| World::new(seed, false).run())) {
                            Ok(tally) => sum.add(&tally),
                            Err(_) => {
                                failed.store(true, Ordering::Relaxed);
                                eprintln!("\nseed {seed} fails; replay it with\n  TAUTLINE_SEED={seed} cargo test -p tautline-machine --test sim\n");
                            }
                        }
                    }
                    sum
                })
            })
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().ok())
            .collect::<Vec<_>>()
    });
    assert!(
        !failed.load(Ordering::Relaxed),
        "a schedule failed; its seed is above"
    );
    let mut sum = Tally::default();
    for tally in &tallies {
        sum.add(tally);
    }
    println!("{schedules} schedules: {sum:#?}");
    if schedules >= 500 {
        sum.assert_everything_happened();
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
