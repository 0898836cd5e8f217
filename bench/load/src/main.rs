//! `tautline-load '{"mode":"fanout",…}'`: publishes and listens, then prints one line of JSON.
//!
//! One thread and one epoll; a delivery costs a few comparisons on bytes the kernel had to hand over anyway.

mod calls;
mod events;
mod fanout;
mod frames;
mod idle;
mod publisher;
mod restart;
mod server;
mod sockets;
mod stats;
/// Frames as the client's machine takes them: the simulation's reading of them.
#[path = "../../../crates/machine/tests/sim/wire.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "written for a test crate"
)]
mod wire;

use serde::Deserialize;
use std::process::ExitCode;

/// What went wrong, in a sentence.
type Failure = Box<dyn std::error::Error>;

#[derive(Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
enum Run {
    Calls(calls::Plan),
    Fanout(fanout::Plan),
    Idle(idle::Plan),
    Restart(restart::Plan),
}

fn main() -> ExitCode {
    let plan = std::env::args().nth(1).unwrap_or_default();
    let done = serde_json::from_str(&plan)
        .map_err(|error| format!("the plan cannot be read: {error}").into())
        .and_then(|run| match run {
            Run::Calls(plan) => calls::run(&plan),
            Run::Fanout(plan) => fanout::run(&plan),
            Run::Idle(plan) => idle::run(&plan),
            Run::Restart(plan) => restart::run(&plan),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tautline-load: {error}");
            ExitCode::FAILURE
        }
    }
}
