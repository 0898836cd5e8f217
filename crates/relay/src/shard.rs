//! The thread that owns logs and connections (`docs/architecture.md`).
//!
//! Everything here is one thread's: no lock is held and no future runs while a machine decides. Other threads come
//! in by [`Handle::ask`], which runs a closure here.

mod admission;
#[cfg(test)]
mod bounds_tests;
mod commands;
mod conn;
mod deliver;
mod holdings;
mod journal;
mod outgoing;
mod peers;
mod reader;
mod restaurant;
mod seat;
mod several;
mod snapshots;
mod task;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use admission::Bounds;
pub(crate) use commands::Author;
pub(crate) use holdings::{Holdings, Owner};
pub(crate) use peers::{SessionView, Trouble};

use crate::clock::{self, Clock};
use crate::load::Pressure;
use crate::peer::Visit;
use crate::revoked::Revocations;
use crate::socket::Detached;
use crate::store::{Report, Store};
use crate::token::Keys;
use crate::ws::Opened;
use conn::{Conn, ConnId};
use restaurant::{Restaurant, Slot};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tautline_machine::Time;
use tautline_machine::relay::{Answer, session};
use tautline_protocol::limits;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::Instant;

/// From the end of a walk to the next, so that what becomes durable meanwhile joins the same pass: worth a factor of
/// two against waking every subscriber for each event.
const COLLECT: Duration = Duration::from_millis(1);
/// Turns between two looks at the sockets' other side and the timers.
const TURNS_A_SLICE: usize = 64;
/// Jobs after which what was judged leaves for the store, though there are more.
const JOBS_A_BATCH: usize = 256;
/// How often logs archive and idle restaurants are unloaded.
const TICK: Duration = Duration::from_secs(10);

/// What a shard is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) revoked: Arc<Revocations>,
    pub(crate) session: Arc<session::Config>,
    pub(crate) restaurants: Option<Vec<String>>,
    pub(crate) keep_final: Duration,
    pub(crate) bounds: Bounds,
    pub(crate) pressure: Arc<Pressure>,
    /// Told once, when the store can no longer be believed.
    pub(crate) broken: mpsc::UnboundedSender<String>,
}

type Job = Box<dyn FnOnce(&mut Shard) + Send>;

/// How other threads reach the shard.
#[derive(Clone)]
pub(crate) struct Handle {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Handle {
    /// Of a shard that has ended.
    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        let (jobs, _) = mpsc::unbounded_channel();
        Self { jobs }
    }

    /// Runs a closure on the shard's thread; it answers through the sender, now or later. `None` when the shard or
    /// whoever was to answer has gone.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Shard, oneshot::Sender<T>) + Send + 'static,
    ) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.tell(move |shard| f(shard, done));
        answer.await.ok()
    }

    /// What a closure makes of the shard; `None` when it has gone.
    pub(crate) async fn get<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> Option<T> {
        self.ask(|shard, done| {
            // Whoever asked may have gone meanwhile.
            let _ = done.send(f(shard));
        })
        .await
    }

    /// What a closure makes of a restaurant; `None` when the store cannot give it now.
    pub(crate) async fn restaurant<T: Send + 'static>(
        &self,
        name: &str,
        f: impl FnOnce(&Restaurant) -> T + Send + 'static,
    ) -> Option<T> {
        let name = name.to_owned();
        self.ask(move |shard, done| {
            shard.with_restaurant(&name, move |_, loaded| {
                if let Ok(restaurant) = loaded {
                    let _ = done.send(f(&restaurant.borrow()));
                }
            });
        })
        .await
    }

    /// Runs a closure on the shard's thread.
    pub(crate) fn tell(&self, f: impl FnOnce(&mut Shard) + Send + 'static) {
        // A shard that has ended has no connections left to do it for.
        let _ = self.jobs.send(Box::new(f));
    }

    /// Hands over a socket that has left the HTTP server, with the bytes read after its request's head.
    pub(crate) fn admit(
        &self,
        socket: impl Into<Detached>,
        early: bytes::Bytes,
        opened: Opened,
        visit: Visit,
    ) {
        let socket = socket.into();
        self.tell(move |shard| shard.admit(socket, early, opened, visit));
    }
}

/// Who waits for a command's answer.
enum Asker {
    Conn(ConnId, u64),
    Http(oneshot::Sender<Answer>),
    Several(Rc<several::Several>, usize),
}

/// See the module.
pub(crate) struct Shard {
    me: Weak<RefCell<Self>>,
    clock: Clock,
    store: Store,
    keys: Arc<Keys>,
    revoked: Arc<Revocations>,
    session: Arc<session::Config>,
    served: Option<Vec<String>>,
    keep_final_ms: u64,
    conns: HashMap<ConnId, Box<Conn>, foldhash::fast::RandomState>,
    restaurants: HashMap<Arc<str>, Slot>,
    /// Who waits for which kind of command.
    askers: HashMap<u64, (&'static str, Asker)>,
    last_id: u64,
    /// Connections whose turn it is.
    ready: VecDeque<ConnId>,
    /// Restaurants with something new since the last pass.
    rung: Vec<Rc<RefCell<Restaurant>>>,
    bell: Rc<Notify>,
    /// Restaurants with records that have not left for the store.
    unsent: Vec<Rc<RefCell<Restaurant>>>,
    send: Rc<Notify>,
    deadlines: BTreeSet<(Time, ConnId)>,
    alarm: Rc<Notify>,
    /// Records with the store.
    pending: usize,
    full: bool,
    draining: bool,
    /// Told when the last connection has gone.
    drained: Option<oneshot::Sender<()>>,
    broken: mpsc::UnboundedSender<String>,
    gauges: seat::Gauges,
    /// What the walk under way, and what was written outside of one, adds up to.
    tally: seat::Tally,
    bounds: Bounds,
    in_use: admission::Use,
    snapshots: snapshots::Snapshots,
    pressure: Arc<Pressure>,
    /// When each batch with the store was handed over, in order.
    handed: VecDeque<Instant>,
    /// How long the last one took.
    last_commit_ms: u64,
}

/// Runs a shard on a thread of its own; it ends when the last [`Handle`] is dropped.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start(parts: Parts) -> std::io::Result<(Handle, std::thread::JoinHandle<()>)> {
    let (jobs, jobs_in) = mpsc::unbounded_channel();
    let thread = std::thread::Builder::new()
        .name("shard".into())
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = parts.broken.send(format!("no runtime: {error}"));
                    return;
                }
            };
            LocalSet::new().block_on(&runtime, run(parts, jobs_in));
        })?;
    Ok((Handle { jobs }, thread))
}

async fn run(parts: Parts, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let Parts {
        store,
        mut reports,
        keys,
        revoked,
        session,
        restaurants,
        keep_final,
        bounds,
        pressure,
        broken,
    } = parts;
    let (bell, alarm) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
    let send = Rc::new(Notify::new());
    let shard = Rc::new_cyclic(|me| {
        RefCell::new(Shard {
            me: me.clone(),
            clock: Clock::start(),
            store,
            keys,
            revoked,
            session,
            served: restaurants,
            keep_final_ms: u64::try_from(keep_final.as_millis()).unwrap_or(u64::MAX),
            conns: HashMap::default(),
            restaurants: HashMap::new(),
            askers: HashMap::new(),
            last_id: 0,
            ready: VecDeque::new(),
            rung: Vec::new(),
            bell: Rc::clone(&bell),
            unsent: Vec::new(),
            send: Rc::clone(&send),
            deadlines: BTreeSet::new(),
            alarm: Rc::clone(&alarm),
            pending: 0,
            full: false,
            draining: false,
            drained: None,
            broken,
            gauges: seat::Gauges::default(),
            tally: seat::Tally::default(),
            bounds,
            in_use: admission::Use::default(),
            snapshots: snapshots::Snapshots::default(),
            pressure,
            handed: VecDeque::new(),
            last_commit_ms: 0,
        })
    });
    let _walk = task::spawn(walk(Rc::clone(&shard), bell));
    let _wake = task::spawn(wake(Rc::clone(&shard), alarm));
    let mut tick = clock::interval(TICK);
    let mut jobs_since = 0;
    loop {
        tokio::select! {
            biased;
            Some(report) = reports.recv() => shard.borrow_mut().report(report),
            job = jobs.recv() => match job {
                Some(job) => {
                    job(&mut shard.borrow_mut());
                    jobs_since += 1;
                    if jobs_since == JOBS_A_BATCH {
                        jobs_since = 0;
                        shard.borrow_mut().send();
                    }
                }
                None => break,
            },
            // After the jobs that are there: what is judged together leaves together.
            () = send.notified() => {
                jobs_since = 0;
                shard.borrow_mut().send();
            }
            _ = tick.tick() => shard.borrow_mut().tick(),
        }
    }
}

/// A commit rings once, however many subscribe; then every connection at hand gets its turn, round after round.
async fn walk(shard: Rc<RefCell<Shard>>, bell: Rc<Notify>) {
    let mut ended: Option<Instant> = None;
    loop {
        bell.notified().await;
        // After a quiet time at once: there is nothing to collect.
        if let Some(until) = ended.map(|ended| ended + COLLECT)
            && until > Instant::now()
        {
            tokio::time::sleep_until(until).await;
        }
        while shard.borrow_mut().walk_some(TURNS_A_SLICE) {
            tokio::task::yield_now().await;
        }
        ended = Some(Instant::now());
    }
}

/// Wakes sessions at the time they asked for.
async fn wake(shard: Rc<RefCell<Shard>>, alarm: Rc<Notify>) {
    loop {
        let next = shard.borrow_mut().wake_due();
        match next {
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = alarm.notified() => {}
            },
            None => alarm.notified().await,
        }
    }
}

impl Shard {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The window in which clients return after an abnormal close (`docs/protocol.md` §1).
    fn spread_ms(&self) -> u64 {
        limits::RECONNECT_SPREAD_MS.max(self.conns.len() as u64 * 1000 / limits::RECONNECTS_PER_S)
    }

    /// Wakes what is due and says when the next is.
    fn wake_due(&mut self) -> Option<Instant> {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > self.clock.now() {
                return Some(self.clock.instant(at));
            }
            self.deadlines.pop_first();
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.wake = None;
            }
            self.input(id, session::Input::Tick);
        }
        None
    }

    /// Arms the session's next deadline in place of the one before.
    fn arm(&mut self, conn: &mut Conn, at: Option<Time>) {
        if conn.wake == at {
            return;
        }
        if let Some(before) = conn.wake.take() {
            self.deadlines.remove(&(before, conn.id));
        }
        if let Some(at) = at {
            let soonest = self.deadlines.first().is_none_or(|&(first, _)| at < first);
            self.deadlines.insert((at, conn.id));
            conn.wake = Some(at);
            if soonest {
                self.alarm.notify_one();
            }
        }
    }
}
