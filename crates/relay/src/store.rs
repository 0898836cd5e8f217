//! The store: `append`, `read`, `load`, and nothing of SQLite beyond this folder (`docs/operations.md`, Storage).
//!
//! One thread writes, in groups; another reads. Appends are answered by [`Report`]s, in the order they were given.

mod backup;
mod check;
mod files;
mod history;
mod lock;
mod read;
mod revoke;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod transfer;
#[cfg(test)]
mod upkeep_tests;
mod writer;

pub use backup::{backup, restore};
pub use check::{Found, check};
pub(crate) use files::write_whole;
pub use history::{From as PastFrom, Past};
pub use transfer::{Counts, Imported, export, import};

use crate::Fatal;
use crate::config::{DataDir, Durability};
use crate::revoked::Revocation;
use lock::FolderLock;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tautline_machine::relay::{Event, Record, Stored, Ticket};
use tautline_protocol::{Epoch, Seq};
use tokio::sync::{mpsc as async_mpsc, oneshot};

/// The database's name in the data folder.
const DATABASE: &str = "tautline.db";

/// What became of appends.
#[derive(Debug)]
pub enum Report {
    /// Durable: for each restaurant in the batch everything up to its ticket.
    Committed(Vec<(Arc<str>, Ticket)>),
    /// Nothing of the batch is in the store, nor will anything be that was appended before the next
    /// [`Store::restart`]. `full`: there is no room; [`Report::Recovered`] says when there is again.
    Failed {
        /// No room on the disk.
        full: bool,
    },
    /// There is room again.
    Recovered,
    /// Nobody knows what the disk holds: the process must end and read it anew.
    Broken(String),
}

/// A stretch of a restaurant's log.
#[derive(Debug, Default)]
pub struct Stretch {
    /// The epoch it is of; `None` for a restaurant never seen.
    pub epoch: Option<Epoch>,
    /// The last event's position.
    pub head: Seq,
    /// The oldest position still held; `head + 1` when there is none.
    pub oldest: Seq,
    /// Events after the position asked for, without holes; empty when those right after it are gone.
    pub events: Vec<Arc<Event>>,
}

enum Job {
    Append {
        restaurant: Arc<str>,
        generation: u64,
        records: Vec<Arc<Record>>,
    },
    Create {
        restaurant: Arc<str>,
        epoch: Epoch,
        done: oneshot::Sender<Result<Stored, String>>,
    },
    Read(read::Read),
    /// A test holds the writer up for as long as the other end lives.
    #[cfg(test)]
    Hold(mpsc::Receiver<()>),
    Revoke(revoke::Revoke),
    Close,
}

/// A handle; clones share the threads, which end with [`Running::close`].
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    reads: Option<mpsc::Sender<read::Read>>,
    generation: Arc<AtomicU64>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// The threads behind a [`Store`] and the lock on its folder; one per process.
#[derive(Debug)]
pub struct Running {
    store: Store,
    threads: Vec<JoinHandle<()>>,
    _lock: Option<FolderLock>,
}

impl Running {
    /// Writes what was appended, marks the store as cleanly closed and lets go of the folder.
    pub fn close(self) {
        let Self {
            store,
            threads,
            _lock,
        } = self;
        // Whoever still holds a handle finds the store closed.
        let _ = store.jobs.send(Job::Close);
        if let Some(reads) = &store.reads {
            let _ = reads.send(read::Read::Close);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// How much is kept of what is over.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Orders that left the live set, for so long.
    pub history: Duration,
    /// Events of each restaurant, for those who resume.
    pub events: usize,
}

#[cfg(test)]
impl Keep {
    /// As usual, but for the history.
    pub(crate) fn usual(history: Duration) -> Self {
        let events = tautline_protocol::limits::TAIL_EVENTS;
        Self { history, events }
    }
}

impl Store {
    /// Opens or makes the store. Reports come out of the receiver.
    ///
    /// # Errors
    /// The folder is another relay's, cannot be used, or its content is damaged.
    pub fn open(
        data_dir: &DataDir,
        durability: Durability,
        keep: Keep,
    ) -> Result<(Self, Running, async_mpsc::UnboundedReceiver<Report>), Fatal> {
        let (reports, reports_in) = async_mpsc::unbounded_channel();
        let (jobs, jobs_in) = mpsc::channel();
        let (lock, path) = match data_dir {
            DataDir::Memory => (None, None),
            DataDir::Folder(folder) => {
                (Some(FolderLock::take(folder)?), Some(folder.join(DATABASE)))
            }
        };
        let connection = match &path {
            None => schema::open_memory()?,
            Some(path) => schema::open_file(path, durability)?,
        };
        let mut threads = Vec::new();
        let reads = match &path {
            None => None,
            Some(path) => {
                let (reads, reads_in) = mpsc::channel();
                threads.push(spawn("store-read", reader(path.clone(), reads_in)?)?);
                Some(reads)
            }
        };
        let writer = writer::Writer::new(connection, path.is_none(), reports, keep)
            .map_err(|error| Fatal::new(format!("the store cannot be written: {error}")))?;
        threads.push(spawn("store-write", move || writer.run(&jobs_in))?);
        let store = Self {
            jobs,
            reads,
            generation: Arc::new(AtomicU64::new(0)),
        };
        let running = Running {
            store: store.clone(),
            threads,
            _lock: lock,
        };
        Ok((store, running, reports_in))
    }

    /// Hands records over, to be committed in this order with whatever else waits.
    pub fn append(&self, restaurant: Arc<str>, records: Vec<Arc<Record>>) {
        let generation = self.generation.load(Ordering::Relaxed);
        // A closed store is a relay on its way out: nobody waits for the report any more.
        let _ = self.jobs.send(Job::Append {
            restaurant,
            generation,
            records,
        });
    }

    /// Holds the writer up until what is returned is dropped: a disk that takes its time.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> mpsc::Sender<()> {
        let (held, holds) = mpsc::channel();
        let _ = self.jobs.send(Job::Hold(holds));
        held
    }

    /// After [`Report::Failed`]: what is appended from now on was judged on what the store really holds.
    pub fn restart(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps a revocation, durably.
    ///
    /// # Errors
    /// The store cannot write now.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        let _ = self
            .jobs
            .send(Job::Revoke(revoke::Revoke { revocation, done }));
        answer.await.map_err(|_| closed())?
    }

    /// Every revocation that was kept.
    ///
    /// # Errors
    /// The store cannot answer now.
    pub async fn revocations(&self) -> Result<Vec<Revocation>, String> {
        let (done, answer) = oneshot::channel();
        self.read(read::Read::Revocations(done));
        answer.await.map_err(|_| closed())?
    }

    /// Everything of a restaurant that the log needs. One never seen begins with the given epoch, durably.
    ///
    /// # Errors
    /// The store cannot answer now.
    pub async fn load(
        &self,
        restaurant: Arc<str>,
        fresh: Epoch,
        now_ms: u64,
    ) -> Result<Stored, String> {
        let (done, answer) = oneshot::channel();
        self.read(read::Read::Load {
            restaurant: Arc::clone(&restaurant),
            now_ms,
            done,
        });
        let stored = answer.await.map_err(|_| closed())??;
        if stored.epoch.is_some() {
            return Ok(stored);
        }
        let (done, answer) = oneshot::channel();
        let _ = self.jobs.send(Job::Create {
            restaurant,
            epoch: fresh,
            done,
        });
        answer.await.map_err(|_| closed())?
    }

    /// Committed events after a position, at most `events` of them and about `bytes`.
    ///
    /// # Errors
    /// The store cannot answer now.
    pub async fn stretch(
        &self,
        restaurant: Arc<str>,
        after: Seq,
        events: usize,
        bytes: usize,
    ) -> Result<Stretch, String> {
        let (done, answer) = oneshot::channel();
        self.read(read::Read::Stretch {
            restaurant,
            after,
            events,
            bytes,
            done,
        });
        answer.await.map_err(|_| closed())?
    }

    /// Orders that left the live set, in the order of leaving, at most `most` of them.
    ///
    /// # Errors
    /// The store cannot answer now.
    pub async fn past_orders(
        &self,
        restaurant: Arc<str>,
        from: PastFrom,
        most: usize,
    ) -> Result<Vec<Past>, String> {
        let (done, answer) = oneshot::channel();
        self.read(read::Read::PastOrders {
            restaurant,
            from,
            most,
            done,
        });
        answer.await.map_err(|_| closed())?
    }

    /// An order that left the live set.
    ///
    /// # Errors
    /// The store cannot answer now.
    pub async fn past_order(
        &self,
        restaurant: Arc<str>,
        id: String,
    ) -> Result<Option<Past>, String> {
        let (done, answer) = oneshot::channel();
        self.read(read::Read::PastOrder {
            restaurant,
            id,
            done,
        });
        answer.await.map_err(|_| closed())?
    }

    fn read(&self, read: read::Read) {
        let _ = match &self.reads {
            Some(reads) => reads.send(read).is_ok(),
            // A store in memory is one connection's; it answers between commits.
            None => self.jobs.send(Job::Read(read)).is_ok(),
        };
    }
}

fn closed() -> String {
    "the store is closed".into()
}

fn reader(
    path: PathBuf,
    reads: mpsc::Receiver<read::Read>,
) -> Result<impl FnOnce() + Send + 'static, Fatal> {
    let connection = schema::open_reader(&path)?;
    Ok(
        move || {
            while reads.recv().is_ok_and(|read| read.answer(&connection)) {}
        },
    )
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Fatal> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| Fatal::new(format!("no thread for the store: {error}")))
}
