//! The store under faults: the real binary killed, its power cut, its disk full or broken, its files damaged.
//!
//! `cargo xtask faults` runs it longer; a seed in a failure's message plays it again with `TAUTLINE_SEED`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod copies;
mod disk;
mod files;
mod kill;
mod layer;
mod load;
mod power;
mod rng;
mod sick;
#[path = "../relay/support.rs"]
#[expect(dead_code, reason = "shared with tests that use the rest of it")]
mod support;
