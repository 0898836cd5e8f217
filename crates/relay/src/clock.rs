//! The relay's time. Deadlines, heartbeats, rates, the life of tokens and of what is kept run by it; what measures work or
//! waits for bytes on their way asks the system (`docs/decisions/0036-a-day-in-minutes.md`, and `xtask`'s list of who does).
//!
//! A process has one time, as it has one recorder of metrics. Tests hurry it, before anything has looked at it; else it is
//! the system's, at the cost of one load.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tautline_machine::Time;
use tautline_machine::relay::Moment;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, Timeout};

/// Where the system's clock and ours parted.
static HURRY: OnceLock<Hurry> = OnceLock::new();

#[derive(Clone, Copy, Debug)]
struct Hurry {
    pace: u32,
    since: Instant,
}

impl Hurry {
    /// How far ahead of the system we are.
    fn ahead(self) -> Duration {
        self.since.elapsed().saturating_mul(self.pace - 1)
    }
}

fn pace() -> u32 {
    HURRY.get().map_or(1, |hurry| hurry.pace)
}

/// From now on so many seconds pass in one. Said once, before the first look at a clock.
pub(crate) fn hurry(pace: u32) {
    if pace > 1 {
        let since = Instant::now();
        // A second relay in this process lives by the first one's time.
        let _ = HURRY.set(Hurry { pace, since });
    }
}

/// What so much of our time takes; never less.
pub(crate) fn takes(time: Duration) -> Duration {
    match pace() {
        1 => time,
        pace => time / pace + Duration::from_nanos(1),
    }
}

/// When so much of our time has passed.
pub(crate) fn after(time: Duration) -> Instant {
    Instant::now() + takes(time)
}

/// Waits for so much of our time.
pub(crate) fn sleep(time: Duration) -> Sleep {
    tokio::time::sleep(takes(time))
}

/// Gives something so much of our time.
pub(crate) fn timeout<F: Future>(time: Duration, future: F) -> Timeout<F> {
    tokio::time::timeout(takes(time), future)
}

/// Ticks at once and then each time so much of our time has passed; late ones are not made up for.
pub(crate) fn interval(time: Duration) -> Interval {
    let mut every = tokio::time::interval(takes(time));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let system = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let ahead = HURRY.get().map_or(Duration::ZERO, |hurry| hurry.ahead());
    u64::try_from((system + ahead).as_millis()).unwrap_or(u64::MAX)
}

/// Both clocks, as the machines want them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    pace: u32,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self::at(pace())
    }

    /// A clock of the system's, for what measures work.
    pub(crate) fn of_work() -> Self {
        Self::at(1)
    }

    fn at(pace: u32) -> Self {
        Self {
            origin: Instant::now(),
            pace,
        }
    }

    /// The monotonic clock.
    pub(crate) fn now(&self) -> Time {
        self.passed(self.origin.elapsed())
    }

    fn passed(&self, real: Duration) -> Time {
        let passed = real.saturating_mul(self.pace);
        Time::from_ms(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    /// Both.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            wall_ms: wall_ms(),
        }
    }

    /// When the runtime's timer is to fire for a machine's deadline; never before it.
    pub(crate) fn instant(&self, at: Time) -> Instant {
        let at = Duration::from_millis(at.as_ms());
        match self.pace {
            1 => self.origin + at,
            pace => self.origin + at / pace + Duration::from_nanos(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hurried_clock_is_that_much_faster_and_its_timers_never_early() {
        for pace in [1, 7, 360, 3600] {
            let clock = Clock::at(pace);
            let quarter = clock.passed(Duration::from_millis(250));
            assert_eq!(quarter, Time::from_ms(250 * u64::from(pace)));
            for ms in [1, 2, 999, 1_000, 86_400_000] {
                let at = clock.passed(clock.instant(Time::from_ms(ms)) - clock.origin);
                assert_eq!(at, Time::from_ms(ms), "at {pace}");
            }
        }
    }

    #[test]
    fn both_clocks_run_alike() {
        let hurry = |since| Hurry { pace: 60, since };
        let now = Instant::now();
        let minute = hurry(now - Duration::from_secs(60)).ahead();
        assert!(
            minute >= Duration::from_secs(59 * 60),
            "and a minute of the system's"
        );
        assert!(hurry(now).ahead() < minute);
    }
}
