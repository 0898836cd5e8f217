//! The one place where limits that were met are counted.

use tautline_machine::relay::Hits;

/// One more of a row ([`tautline_protocol::limits::hit`]).
pub(crate) fn hit(limit: &'static str) {
    count(limit, 1);
}

/// What a machine met.
pub(crate) fn hits(hits: &mut Hits) {
    for (limit, times) in hits.drain() {
        count(limit, times);
    }
}

fn count(limit: &'static str, times: u64) {
    metrics::counter!("tautline_limit_hits_total", "limit" => limit).increment(times);
}

#[cfg(test)]
pub(crate) mod seen {
    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
    use std::sync::LazyLock;

    static METRICS: LazyLock<PrometheusHandle> =
        LazyLock::new(|| PrometheusBuilder::new().install_recorder().unwrap());

    /// Whether a row was met since this was first asked. Tests of a process share its metrics: each asks for a row that no
    /// other meets.
    pub(crate) fn met(row: &str) -> bool {
        let name = format!("tautline_limit_hits_total{{limit=\"{row}\"}} ");
        let text = METRICS.render();
        let times = text.lines().filter_map(|line| line.strip_prefix(&name));
        times
            .filter_map(|times| times.parse::<f64>().ok())
            .any(|times| times > 0.0)
    }
}
