//! Limits that were met, for the driver to count: a machine keeps no metrics.

/// See the module.
#[derive(Debug, Default)]
pub struct Hits(Vec<(&'static str, u64)>);

impl Hits {
    /// One more of a row of [`tautline_protocol::limits::hit`].
    pub(super) fn hit(&mut self, limit: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == limit) {
            Some((_, count)) => *count += 1,
            None => self.0.push((limit, 1)),
        }
    }

    /// What was met since the last time.
    pub fn drain(&mut self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.drain(..)
    }

    /// Whether there is nothing to count.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
