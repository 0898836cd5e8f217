use tautline_machine::Time;
use tautline_machine::relay::Moment;
use tokio::time::Instant;

/// Both clocks, as the machines want them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The monotonic clock.
    pub(crate) fn now(&self) -> Time {
        Time::from_ms(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Both.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            wall_ms: crate::token::wall_ms(),
        }
    }

    /// When the runtime's timer is to fire for a machine's deadline.
    pub(crate) fn instant(&self, at: Time) -> Instant {
        self.origin + std::time::Duration::from_millis(at.as_ms())
    }
}
