//! How far behind the relay is, and what it therefore refuses (`docs/operations.md`, Overload). The decision is
//! [`tautline_machine::relay::Load`]'s; here is the measuring.

use crate::clock::Clock;
use crate::shard::Handle;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tautline_machine::relay::{Load, Sample, Stage};
use tokio::sync::oneshot;

/// How often the delays are looked at.
const EVERY: Duration = Duration::from_millis(100);
/// How often connections that are behind are ended while the stage says so.
const END_EVERY: Duration = Duration::from_secs(1);

/// The stage in force, for every thread.
#[derive(Debug, Default)]
pub(crate) struct Pressure(AtomicU8);

impl Pressure {
    pub(crate) fn stage(&self) -> Stage {
        Stage::of(self.0.load(Ordering::Relaxed))
    }
}

/// Whole milliseconds.
pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A question to the shard: how long it took to get there, and how long records wait for their commit.
struct Asked {
    at: Instant,
    answer: oneshot::Receiver<(u64, u64)>,
}

fn ask(shard: &Handle) -> Asked {
    let (done, answer) = oneshot::channel();
    let at = Instant::now();
    shard.tell(move |shard| {
        // Nobody waits any more when the relay goes down.
        let _ = done.send((ms(at.elapsed()), shard.commit_delay_ms()));
    });
    Asked { at, answer }
}

/// Watches the delays of this thread, the shard's and the store's for as long as it is run.
pub(crate) async fn watch(shard: Handle, pressure: Arc<Pressure>) {
    let clock = Clock::of_work();
    let (mut load, mut commit_ms, mut ended) = (Load::default(), 0, Instant::now());
    let mut asked = ask(&shard);
    loop {
        let due = Instant::now() + EVERY;
        tokio::time::sleep_until(due.into()).await;
        let mut loop_ms = ms(due.elapsed());
        match asked.answer.try_recv() {
            Ok((shard_ms, waiting_ms)) => {
                loop_ms = loop_ms.max(shard_ms);
                commit_ms = waiting_ms;
                asked = ask(&shard);
            }
            Err(oneshot::error::TryRecvError::Empty) => {
                loop_ms = loop_ms.max(ms(asked.at.elapsed()))
            }
            Err(oneshot::error::TryRecvError::Closed) => return,
        }
        let before = load.stage();
        let stage = load.sample(Sample { loop_ms, commit_ms }, clock.now());
        pressure.0.store(stage.number(), Ordering::Relaxed);
        if stage != before {
            metrics::gauge!("tautline_overload_stage").set(f64::from(stage.number()));
            tracing::warn!(?stage, loop_ms, commit_ms, "what is refused has changed");
        }
        if stage >= Stage::Cursors && ended.elapsed() >= END_EVERY {
            ended = Instant::now();
            shard.tell(|shard| shard.end_slowest());
        }
    }
}
