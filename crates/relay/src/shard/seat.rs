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

/// Handles of what is counted for each delivery; looking one up by name costs more than a delivery.
#[derive(Debug)]
pub(super) struct Gauges {
    pub(super) delivered: Counter,
    pub(super) bytes: Counter,
    pub(super) batch: Histogram,
    pub(super) lag: Histogram,
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
