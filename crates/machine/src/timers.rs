use crate::Time;

/// A closed table of deadlines, one slot a kind of timer: nothing can be forgotten on close, and the soonest is a
/// minimum over a handful of slots.
#[derive(Debug)]
pub struct Timers<K, const N: usize> {
    at: [Option<Time>; N],
    kinds: [K; N],
}

impl<K: Copy + PartialEq, const N: usize> Timers<K, N> {
    /// An empty table over those kinds.
    pub fn new(kinds: [K; N]) -> Self {
        Self {
            at: [None; N],
            kinds,
        }
    }

    fn slot(&mut self, kind: K) -> Option<&mut Option<Time>> {
        self.kinds
            .iter()
            .position(|&k| k == kind)
            .and_then(|i| self.at.get_mut(i))
    }

    /// Arms `kind` for `at`, in place of an earlier deadline.
    pub fn set(&mut self, kind: K, at: Time) {
        if let Some(slot) = self.slot(kind) {
            *slot = Some(at);
        }
    }

    /// Disarms `kind`.
    pub fn clear(&mut self, kind: K) {
        if let Some(slot) = self.slot(kind) {
            *slot = None;
        }
    }

    /// Disarms everything.
    pub fn clear_all(&mut self) {
        self.at = [None; N];
    }

    /// When `kind` is due, if it is armed.
    pub fn get(&self, kind: K) -> Option<Time> {
        self.kinds
            .iter()
            .position(|&k| k == kind)
            .and_then(|i| self.at.get(i).copied().flatten())
    }

    /// The earliest deadline and whose it is.
    pub fn soonest(&self) -> Option<(Time, K)> {
        self.at
            .iter()
            .zip(&self.kinds)
            .filter_map(|(at, &kind)| at.map(|at| (at, kind)))
            .min_by_key(|&(at, _)| at)
    }

    /// The earliest deadline that has passed, taken off the table before anyone acts on it, so a handler that fails
    /// cannot find itself due for ever.
    pub fn take_due(&mut self, now: Time) -> Option<(Time, K)> {
        let (at, kind) = self.soonest()?;
        if at > now {
            return None;
        }
        self.clear(kind);
        Some((at, kind))
    }
}
