//! Hostile input. A target is a door that strangers reach, and a function that sends any bytes through it and panics
//! when something does not hold. `cargo xtask fuzz` runs them under libFuzzer, guided by coverage; `tests/corpus.rs`
//! replays what is kept in `corpus/` in every `cargo test`.
//!
//! Most inputs are scripts, one step a line, so that real frames are seeds as they are and a failing input can be read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what must hold is said by panicking"
)]

mod auth;
mod client;
mod commands;
mod http;
#[path = "../../crates/machine/tests/relay_kit/mod.rs"]
mod kit;
mod peer;
mod socket;
mod voice;
mod watch;
mod ws;

/// One door.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is its folder's in `corpus/`.
    pub name: &'static str,
    /// Sends this through it.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "socket",
        run: socket::run,
    },
    Target {
        name: "auth",
        run: auth::run,
    },
    Target {
        name: "commands",
        run: commands::run,
    },
    Target {
        name: "http",
        run: http::run,
    },
    Target {
        name: "ws",
        run: ws::run,
    },
    Target {
        name: "client",
        run: client::run,
    },
    Target {
        name: "voice",
        run: voice::run,
    },
    Target {
        name: "peer",
        run: peer::run,
    },
    Target {
        name: "watch",
        run: watch::run,
    },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

/// The steps of a script: each line's first character and the rest.
fn steps(script: &str) -> impl Iterator<Item = (char, &str)> {
    script.split('\n').filter_map(|line| {
        let mut rest = line.chars();
        Some((rest.next()?, rest.as_str()))
    })
}

/// The number that a step carries, at most `most`.
fn number(text: &str, most: u64) -> u64 {
    text.bytes()
        .take_while(u8::is_ascii_digit)
        .fold(0u64, |n, digit| {
            n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        })
        .min(most)
}

/// What becomes of an order in a call: step `o` makes it, any other does not.
fn made(step: char) -> Result<&'static str, &'static str> {
    match step {
        'o' => Ok("{\"id\":\"o1\"}"),
        _ => Err("the kitchen is closed"),
    }
}
