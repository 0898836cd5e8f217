//! Peers that mean harm, or are merely broken, against the real binary: slow ones, silent ones, crowds, and ten
//! thousand that come back at once. The long forms are asked for by name: `cargo xtask hostile`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod crowd;
mod ends;
mod frames;
#[path = "../../../../fuzz/src/client/head.rs"]
mod head;
mod raw;
mod slow;
mod storm;
#[path = "../relay/support.rs"]
#[allow(dead_code, reason = "the tests beside these use the rest")]
mod support;

/// How many peers a crowd is: few in every run, as many as asked for by `cargo xtask hostile`.
fn crowd_of(few: usize) -> usize {
    std::env::var("TAUTLINE_HOSTILE_PEERS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(few)
}
