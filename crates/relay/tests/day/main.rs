//! A day in minutes: the relay's clock hurried, a day of restaurants before it, and everything it holds looked at each hour.
//!
//! A short day here; `cargo xtask day --write` has one of 24 hours, `cargo xtask soak` one at a clock's own pace.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod guest;
mod kiosk;
mod line;
mod plan;
mod screen;
#[path = "../relay/support.rs"]
#[allow(dead_code, reason = "the tests beside these use the rest")]
mod support;
mod watch;

use plan::{Plan, Visit};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::{DEADLINE, Relay};
use tautline_machine::Rng;
use tokio::task::{JoinSet, LocalSet};

const RESTAURANTS: [&str; 4] = ["grow", "bar", "demo", "night-owl"];
/// Hours in a day, whatever a test makes of them.
const HOURS: u32 = 24;

/// The day, as everybody in it knows it.
pub(crate) struct Day {
    relay: Relay,
    data: PathBuf,
    plan: Plan,
    began: Instant,
    rng: RefCell<Rng>,
    /// Screens go home.
    closed: Cell<bool>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    /// What no client may ever see.
    faults: RefCell<Vec<String>>,
    /// What each screen shows.
    boards: RefCell<BTreeMap<(&'static str, usize), screen::Board>>,
}

impl Day {
    fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    fn counted(&self, what: &str) -> u64 {
        self.counts.borrow().get(what).copied().unwrap_or(0)
    }

    fn chance(&self, low: u64, high: u64) -> u64 {
        self.rng.borrow_mut().between(low, high)
    }

    /// What so many minutes of the relay's take.
    fn takes(&self, minutes: f64) -> Duration {
        Duration::from_secs_f64(minutes.max(0.0) * 60.0 / f64::from(self.plan.pace))
    }

    /// Waits for what people take minutes for.
    async fn minutes(&self, minutes: f64) {
        tokio::time::sleep(self.takes(self.plan.of_people(minutes))).await;
    }

    /// Minutes of the day that are over.
    fn minute(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * f64::from(self.plan.pace) / 60.0
    }
}

/// Whoever panicked takes the test along.
fn look_at(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn live(day: Rc<Day>, visit: Visit, restaurant: &'static str, number: u64) {
    day.count(visit.name());
    match visit {
        Visit::Guest => guest::by_socket(&day, restaurant, number).await,
        Visit::Request => guest::by_request(&day, restaurant, number).await,
        Visit::Voice => kiosk::visit(&day, restaurant, number).await,
    }
}

/// Customers come by the day's curve, hour after hour; each hour everything is looked at.
async fn hours(day: &Rc<Day>) -> Vec<watch::Sample> {
    let mut visitors = JoinSet::new();
    let (mut samples, mut owed, mut number) = (Vec::new(), 0.0, 0);
    for hour in 0..HOURS {
        let end = day.plan.minutes * f64::from(hour + 1) / f64::from(HOURS);
        let mut before = day.minute();
        while before < end {
            day.minutes(1.0).await;
            let now = day.minute();
            owed += (now - before) * day.plan.visits_a_minute(hour);
            before = now;
            while owed >= 1.0 {
                owed -= 1.0;
                number += 1;
                let restaurant = RESTAURANTS[day.chance(0, 3) as usize];
                let visit = day.plan.visit(hour, day.chance(0, 99));
                visitors.spawn_local(live(Rc::clone(day), visit, restaurant, number));
            }
            while let Some(ended) = visitors.try_join_next() {
                look_at(ended);
            }
        }
        samples.push(watch::look(day, visitors.len()).await);
    }
    while let Some(ended) = visitors.join_next().await {
        look_at(ended);
    }
    samples
}

async fn day(plan: Plan) {
    let folder = tempfile::tempdir().unwrap();
    let flags = plan.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let relay = Relay::start(folder.path(), &flags);
    let day = Rc::new(Day {
        relay,
        data: folder.path().into(),
        plan,
        began: Instant::now(),
        rng: RefCell::new(Rng::new(1)),
        closed: Cell::new(false),
        counts: RefCell::default(),
        faults: RefCell::default(),
        boards: RefCell::default(),
    });
    let start = watch::look(&day, 0).await;
    let mut screens = JoinSet::new();
    for restaurant in RESTAURANTS {
        for number in 0..screen::ROLES.len() {
            screens.spawn_local(screen::run(Rc::clone(&day), restaurant, number));
        }
    }
    let samples = hours(&day).await;
    assert!(day.faults.borrow().is_empty(), "{:#?}", day.faults.borrow());
    screen::all_agree(&day).await;
    day.closed.set(true);
    while let Some(ended) = screens.join_next().await {
        look_at(ended);
    }
    assert!(day.faults.borrow().is_empty(), "{:#?}", day.faults.borrow());
    watch::is_back(&day, &start).await;
    watch::report(&day, &samples);
    watch::is_bounded(&day, &samples);
    watch::was_a_day(&day);
}

#[tokio::test(flavor = "current_thread")]
async fn a_day_leaves_nothing_and_nothing_grows_with_it() {
    let plan = Plan::asked();
    // Until the last customer has gone, and what nobody uses has left memory.
    let minutes = plan.minutes + plan.of_people(60.0) + 10.0;
    let limit = DEADLINE * 4 + Duration::from_secs_f64(minutes * 60.0 / f64::from(plan.pace));
    let all = LocalSet::new();
    let ended = tokio::time::timeout(limit, all.run_until(day(plan))).await;
    assert!(ended.is_ok(), "it does not end");
}
