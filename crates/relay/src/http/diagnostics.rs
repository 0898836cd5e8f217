use super::App;
use super::auth::Caller;
use super::orders::json;
use super::problem::Problem;
use crate::memory;
use crate::shard::{Holdings, Owner};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use std::cmp::Reverse;
use tautline_protocol::permission::Operation;

/// Owners told; whoever holds less is not what is looked for.
const OWNERS: usize = 20;

#[derive(Serialize)]
struct Diagnostics {
    counts: Counts,
    memory: memory::Report,
    /// The largest first, of the caller's restaurants only.
    owners: Vec<Owner>,
    logs: Vec<Log>,
    version: &'static str,
}

/// Of the whole process: nothing in it says whose.
#[derive(Serialize)]
struct Counts {
    #[serde(flatten)]
    shard: Holdings,
    voice_sessions: usize,
    /// Connections of the voice socket.
    voice_connections: usize,
    /// `ek_` secrets.
    secrets: usize,
    revocations: usize,
    /// Who has written by HTTP lately.
    writers: usize,
    /// Addresses with an account.
    addresses: usize,
    descriptors: usize,
    threads: usize,
}

#[derive(Serialize)]
struct Log {
    restaurant_id: String,
    memory_bytes: usize,
}

/// `GET /api/v1/diagnostics`: what the relay holds, and whether that only grows.
pub(super) async fn show(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Response, Problem> {
    App::permit(&caller, Operation::Sessions)?;
    let (own, who) = (app.clone(), caller.clone());
    let held = app.shard.get(move |shard| {
        let may_see = |restaurant: &str| own.may_use(&who, restaurant);
        (shard.holdings(), shard.owners(may_see), shard.logs(may_see))
    });
    let Some((shard, mut owners, logs)) = held.await else {
        return Err(Problem::unavailable("the relay is going down"));
    };
    let voice = &app.voice.board;
    owners.extend(voice.owners(|restaurant| app.may_use(&caller, restaurant)));
    owners.sort_by(|a, b| (Reverse(a.count), &a.name).cmp(&(Reverse(b.count), &b.name)));
    owners.truncate(OWNERS);
    let entries = |path| std::fs::read_dir(path).map_or(0, Iterator::count);
    let diagnostics = Diagnostics {
        counts: Counts {
            shard,
            voice_sessions: voice.count(),
            voice_connections: app.voice.guests.count(),
            secrets: app.voice.secrets(),
            revocations: app.revoked.count(),
            writers: app.writes.count(),
            addresses: app.peers.addresses(),
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
        },
        memory: app.memory.report(),
        owners,
        logs: logs
            .into_iter()
            .map(|(restaurant_id, memory_bytes)| Log {
                restaurant_id,
                memory_bytes,
            })
            .collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let body = serde_json::to_string(&diagnostics)
        .map_err(|_| Problem::unavailable("the diagnostics cannot be written down"))?;
    Ok(json(StatusCode::OK, body))
}
