//! What is spoken to, and the kernel's count of what it costs.

use crate::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A server under test.
#[derive(Clone, Deserialize)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// A relay: connections authenticate with this, and events are published by HTTP. Without it the server sends
    /// what one socket says to all others.
    pub(crate) relay: Option<Relay>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Relay {
    pub(crate) restaurant: String,
    /// Of a screen.
    pub(crate) token: String,
    /// Of a back end, for publishing.
    pub(crate) service: String,
    /// Whether screens speak `tautline.v1`.
    pub(crate) v1: bool,
}

/// User and kernel seconds of a `stat` file, and the name in it.
fn times(stat: &str) -> Result<(String, f64, f64), Failure> {
    // `USER_HZ`, which is 100 on every Linux that Rust runs on.
    const TICKS: f64 = 100.0;
    let unexpected = "/proc/…/stat is not as expected";
    // The name in brackets may hold spaces.
    let (name, rest) = stat.rsplit_once(") ").ok_or(unexpected)?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |n: usize| {
        fields
            .get(n)
            .and_then(|text| text.parse::<f64>().ok())
            .ok_or(unexpected)
    };
    let name = name.split_once('(').map_or(name, |(_, name)| name);
    Ok((name.to_owned(), field(11)? / TICKS, field(12)? / TICKS))
}

impl Server {
    /// CPU seconds so far: its own, and the kernel's on its behalf.
    pub(crate) fn cpu_seconds(&self) -> Result<(f64, f64), Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .map_err(|error| format!("the server has ended ({error})"))?;
        let (_, user, system) = times(&stat)?;
        Ok((user, system))
    }

    /// CPU seconds of its threads, by name.
    pub(crate) fn threads(&self) -> Result<BTreeMap<String, f64>, Failure> {
        let mut all = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // One that ends meanwhile has nothing to say.
            if let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) {
                let (name, user, system) = times(&stat)?;
                *all.entry(name).or_default() += user + system;
            }
        }
        Ok(all)
    }
}
