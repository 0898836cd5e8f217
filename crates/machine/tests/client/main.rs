//! The promises that the client's machine makes (`docs/protocol.md` §1, `pkg/README.md`), one test each.

#![cfg(feature = "client")]
#![allow(
    clippy::expect_used,
    reason = "outside `#[test]` functions too, an expectation that fails is the test's failure"
)]

mod addresses;
mod auth;
mod close_codes;
mod connects;
mod feed;
mod filter;
mod heartbeat;
mod lease;
mod orders;
mod outbox;
mod pacing;
mod properties;
mod renewal;
#[path = "../replay_kit/mod.rs"]
mod replay_kit;
mod stored;
mod support;
mod viewer;
