use super::Timer;
use std::cell::RefCell;
use tautline_machine::Time;

/// The one timer that wakes a machine.
#[derive(Default)]
pub(crate) struct Wake(RefCell<Option<(Time, Timer)>>);

impl Wake {
    /// Calls `ring` at that time, where there is one, and at no other. A timer that is set for earlier stays, and finds
    /// nothing due.
    pub(crate) fn set(
        &self,
        owner: &str,
        at: Option<Time>,
        now: Time,
        ring: impl FnOnce() + 'static,
    ) {
        let Some(at) = at else {
            return drop(self.take());
        };
        if self.0.borrow().as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        let timer = Timer::new(owner, at - now, ring);
        let before = self.0.replace(timer.ok().map(|timer| (at, timer)));
        drop(before);
    }

    /// The timer that is set; what rings takes its own, and drops it when it has done.
    #[must_use = "the timer is cleared when this is dropped"]
    pub(crate) fn take(&self) -> impl Sized + use<> {
        self.0.take()
    }
}
