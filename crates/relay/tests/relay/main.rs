//! The real binary, real sockets, real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod cli;
mod closes;
mod diagnostics;
mod durable;
mod fan_out;
mod goodbye;
mod history;
mod http_api;
mod keys;
mod leaks;
mod limits;
mod live_order;
mod logs;
mod metrics;
mod operators;
mod permissions;
mod revoke;
mod sessions;
mod signer;
mod support;
mod tls;
mod upkeep;
