//! A connection's place among the gauges, from admission to its end by whatever path.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tautline_machine::relay::Viewer;

/// Dropping it takes the connection off the gauge it is on.
#[derive(Debug)]
pub(super) struct Seat {
    gauge: Gauge,
}

impl Seat {
    /// A connection that has not said who it is.
    pub(super) fn unauthenticated() -> Self {
        Self::on(gauge!("tautline_connections", "dialect" => "none", "role" => "none"))
    }

    /// One that has; takes the place of the seat before.
    pub(super) fn authenticated(viewer: &Viewer) -> Self {
        let (dialect, role) = (viewer.dialect().as_str(), viewer.scope().role.as_str());
        Self::on(gauge!("tautline_connections", "dialect" => dialect, "role" => role))
    }

    fn on(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self { gauge }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

/// Handles of what is counted; looking one up by name costs more than a delivery.
#[derive(Debug)]
pub(super) struct Gauges {
    delivered: Counter,
    bytes: Counter,
    batch: Histogram,
    lag: Histogram,
    pub(super) appended: Counter,
}

impl Default for Gauges {
    fn default() -> Self {
        Self {
            delivered: counter!("tautline_events_delivered_total"),
            bytes: counter!("tautline_bytes_sent_total"),
            batch: histogram!("tautline_batch_events"),
            lag: histogram!("tautline_delivery_lag_seconds"),
            appended: counter!("tautline_events_appended_total"),
        }
    }
}

/// What deliveries add up to before the metrics are told: those of one walk are alike, and each telling costs as much as a
/// twentieth of a send.
#[derive(Debug, Default)]
pub(super) struct Tally {
    delivered: u64,
    bytes: u64,
    batch: Run,
    lag_ms: Run,
}

impl Tally {
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// A turn of so many events; how old its last was, where that says something.
    pub(super) fn turn(&mut self, events: usize, lag_ms: Option<u64>, gauges: &Gauges) {
        self.delivered += events as u64;
        if let Some((events, turns)) = self.batch.add(events as u64) {
            gauges.batch.record_many(events as f64, turns);
        }
        if let Some((ms, turns)) = lag_ms.and_then(|ms| self.lag_ms.add(ms)) {
            gauges.lag.record_many(ms as f64 / 1000.0, turns);
        }
    }

    /// Tells all of it.
    pub(super) fn tell(&mut self, gauges: &Gauges) {
        let told = std::mem::take(self);
        if told.bytes > 0 {
            gauges.bytes.increment(told.bytes);
        }
        if told.delivered > 0 {
            gauges.delivered.increment(told.delivered);
        }
        if told.batch.times > 0 {
            gauges
                .batch
                .record_many(told.batch.value as f64, told.batch.times);
        }
        if told.lag_ms.times > 0 {
            gauges
                .lag
                .record_many(told.lag_ms.value as f64 / 1000.0, told.lag_ms.times);
        }
    }
}

/// The same value, several times over.
#[derive(Debug, Default)]
struct Run {
    value: u64,
    times: usize,
}

impl Run {
    /// The run that ends by this value, where one does.
    fn add(&mut self, value: u64) -> Option<(u64, usize)> {
        if self.value == value {
            self.times += 1;
            return None;
        }
        let ended = std::mem::replace(self, Self { value, times: 1 });
        (ended.times > 0).then_some((ended.value, ended.times))
    }
}

#[cfg(test)]
mod tests {
    use super::Run;

    #[test]
    fn a_run_ends_by_another_value() {
        let mut run = Run::default();
        let ended: Vec<_> = [0, 0, 3, 3, 3, 1]
            .into_iter()
            .filter_map(|value| run.add(value))
            .collect();
        assert_eq!(ended, [(0, 2), (3, 3)]);
        assert_eq!((run.value, run.times), (1, 1));
    }
}
