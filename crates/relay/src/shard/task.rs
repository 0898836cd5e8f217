use metrics::gauge;
use std::cell::Cell;
use std::future::Future;
use tokio::task::{AbortHandle, spawn_local};

/// A task of this thread that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(AbortHandle);

thread_local! {
    static TASKS: Cell<usize> = const { Cell::new(0) };
}

/// How many tasks this thread has.
pub(super) fn count() -> usize {
    TASKS.get()
}

/// On the gauge of tasks while the future lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        TASKS.set(TASKS.get() + 1);
        gauge!("tautline_tasks").increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        TASKS.set(TASKS.get().saturating_sub(1));
        gauge!("tautline_tasks").decrement(1.0);
    }
}

pub(super) fn spawn(run: impl Future<Output = ()> + 'static) -> Task {
    Task(detached(run))
}

/// One that ends by itself: a read of the store that others may wait for too.
pub(super) fn detached(run: impl Future<Output = ()> + 'static) -> AbortHandle {
    let counted = Counted::new();
    let task = spawn_local(async move {
        let _counted = counted;
        run.await;
    });
    task.abort_handle()
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
