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
