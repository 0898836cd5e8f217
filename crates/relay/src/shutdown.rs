//! How the relay goes down: in one order, each step with a deadline, and a stuck one named and passed by.
//!
//! Who would be missed first goes first. A step that does not end takes the time of its own rank and none of those behind
//! it; one that panics takes nobody with it.

use futures_util::FutureExt;
use futures_util::future::join_all;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Which goes first. Those of one rank go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Somebody is at the other end and has to be told: clients, calls.
    Critical,
    /// Somebody waits for an answer: requests under way.
    High,
    /// What owns logs and the store.
    Medium,
    /// What only watches.
    Low,
}

impl Priority {
    const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// When a rank must be through, in percent of the whole time.
    const fn percent(self) -> u32 {
        match self {
            Self::Critical => 70,
            Self::High => 85,
            Self::Medium => 98,
            Self::Low => 100,
        }
    }
}

const STUCK: &str = "it is stuck";

type Run = Pin<Box<dyn Future<Output = ()>>>;

struct Step {
    priority: Priority,
    name: &'static str,
    run: Run,
}

/// When each rank must be through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    began: Instant,
    within: Duration,
}

impl Deadlines {
    /// All of it is to be over by then, counted from now.
    pub(crate) fn within(within: Duration) -> Self {
        Self {
            began: Instant::now(),
            within,
        }
    }

    fn of(self, priority: Priority) -> Instant {
        self.began + self.within * priority.percent() / 100
    }

    /// Waits for a thread; whether it has ended.
    pub(crate) fn join(
        self,
        priority: Priority,
        name: &'static str,
        thread: JoinHandle<()>,
    ) -> bool {
        let (done, joined) = mpsc::channel();
        let waiting = std::thread::Builder::new().spawn(move || {
            // One that panicked has told so itself, and has ended.
            let _ = thread.join();
            let _ = done.send(());
        });
        let left = self.of(priority).saturating_duration_since(Instant::now());
        let ended = waiting.is_ok() && joined.recv_timeout(left).is_ok();
        if !ended {
            tracing::warn!(step = name, why = STUCK, "going down without it");
        }
        ended
    }
}

/// The steps there are. Nothing happens before [`Shutdown::run`].
pub(crate) struct Shutdown {
    deadlines: Deadlines,
    steps: Vec<Step>,
}

impl Shutdown {
    /// None yet.
    pub(crate) fn by(deadlines: Deadlines) -> Self {
        Self {
            deadlines,
            steps: Vec::new(),
        }
    }

    /// One more.
    #[must_use]
    pub(crate) fn step(
        mut self,
        priority: Priority,
        name: &'static str,
        run: impl Future<Output = ()> + 'static,
    ) -> Self {
        self.steps.push(Step {
            priority,
            name,
            run: Box::pin(run),
        });
        self
    }

    /// Goes through them; the names of those that were passed by.
    pub(crate) async fn run(self) -> Vec<&'static str> {
        let mut steps = self.steps;
        let mut passed_by = Vec::new();
        for priority in Priority::ALL {
            let until = self.deadlines.of(priority);
            let (now, later): (Vec<_>, Vec<_>) = steps
                .into_iter()
                .partition(|step| step.priority == priority);
            steps = later;
            let ended = join_all(now.into_iter().map(|step| async move {
                let done = AssertUnwindSafe(step.run).catch_unwind();
                match timeout_at(until, done).await {
                    Ok(Ok(())) => None,
                    Ok(Err(_)) => Some((step.name, "it panicked")),
                    Err(_) => Some((step.name, STUCK)),
                }
            }));
            for (step, why) in ended.await.into_iter().flatten() {
                tracing::warn!(step, ?priority, why, "going down without it");
                passed_by.push(step);
            }
        }
        passed_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use tokio::sync::oneshot;

    type Told = Rc<RefCell<Vec<&'static str>>>;

    fn telling(told: &Told, name: &'static str) -> impl Future<Output = ()> + 'static {
        let told = Rc::clone(told);
        async move { told.borrow_mut().push(name) }
    }

    #[tokio::test]
    async fn the_most_missed_go_first_whatever_the_order_of_the_calls() {
        let told = Told::default();
        let passed_by = Shutdown::by(Deadlines::within(Duration::from_secs(10)))
            .step(Priority::Low, "metrics", telling(&told, "metrics"))
            .step(Priority::Medium, "store", telling(&told, "store"))
            .step(Priority::Critical, "clients", telling(&told, "clients"))
            .step(Priority::High, "requests", telling(&told, "requests"))
            .run()
            .await;
        assert!(passed_by.is_empty());
        assert_eq!(*told.borrow(), ["clients", "requests", "store", "metrics"]);
    }

    #[tokio::test]
    async fn a_stuck_one_is_named_and_passed_by_and_takes_nobody_elses_time() {
        let told = Told::default();
        let passed_by = Shutdown::by(Deadlines::within(Duration::from_millis(300)))
            .step(Priority::Critical, "calls", std::future::pending())
            .step(Priority::Critical, "clients", telling(&told, "clients"))
            .step(Priority::High, "requests", telling(&told, "requests"))
            .step(Priority::Low, "metrics", std::future::pending())
            .run()
            .await;
        assert_eq!(passed_by, ["calls", "metrics"]);
        assert_eq!(*told.borrow(), ["clients", "requests"]);
    }

    #[tokio::test]
    async fn one_that_panics_is_named_too() {
        let told = Told::default();
        let passed_by = Shutdown::by(Deadlines::within(Duration::from_secs(1)))
            .step(Priority::Critical, "calls", async { panic!("planted") })
            .step(Priority::Critical, "clients", telling(&told, "clients"))
            .step(Priority::Medium, "store", telling(&told, "store"))
            .run()
            .await;
        assert_eq!(passed_by, ["calls"]);
        assert_eq!(*told.borrow(), ["clients", "store"]);
    }

    #[tokio::test]
    async fn a_thread_is_waited_for_until_its_deadline() {
        let soon = Deadlines::within(Duration::from_secs(60));
        let join = |name, thread| soon.join(Priority::Medium, name, thread);
        assert!(join("quick", std::thread::spawn(|| {})));
        assert!(join("panics", std::thread::spawn(|| panic!("planted"))));
        let (release, held) = oneshot::channel::<()>();
        let stuck = std::thread::spawn(move || {
            let _ = held.blocking_recv();
        });
        let now = Deadlines::within(Duration::ZERO);
        assert!(!now.join(Priority::Low, "stuck", stuck));
        drop(release);
    }
}
