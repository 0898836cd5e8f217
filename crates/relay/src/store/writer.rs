//! The one thread that writes: group commit, checkpoints at quiet moments, what to do when the disk says no.

use super::history;
use super::read::{self, Read};
use super::revoke::{self, Revoke};
use super::rows::Known;
use super::{Job, Report};
use crate::clock::Clock;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tautline_machine::Time;
use tautline_machine::relay::{Record, Stored, Ticket};
use tautline_protocol::{Epoch, limits};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// Pages of the WAL (4 KiB each) after which a checkpoint no longer waits for a quiet moment.
const WAL_PAGES: u32 = 1024;
/// Quiet time after which a checkpoint is free.
const IDLE: Duration = Duration::from_secs(1);
/// How often what is out of date is looked for, at most.
const TIDY_EVERY_MS: u64 = 600_000;
/// Rows of a kind removed at one quiet moment, so that a write that comes meanwhile does not wait long.
const TIDY_AT_ONCE: usize = 2_000;
/// Rows of a kind removed after a commit where no quiet moment comes: more than a batch brings, so it gets through.
const TIDY_BETWEEN: usize = 2 * limits::COMMIT_APPENDS;
/// A commit that takes longer is worth a word.
const SLOW: Duration = Duration::from_millis(500);
/// How often a full disk is tried again.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How long a removal that failed waits for the next try.
const TIDY_AGAIN_MS: u64 = 5_000;

pub(super) struct Writer {
    db: Connection,
    in_memory: bool,
    reports: UnboundedSender<Report>,
    known: BTreeMap<Arc<str>, Known>,
    /// Appends of this generation and older were judged on state that was never stored.
    void: Option<u64>,
    full: bool,
    /// Records in the batch before: a measure of how many are on their way.
    last_batch: usize,
    /// Whether the WAL holds what the database does not.
    unsettled: bool,
    /// Pages in the WAL since it last began anew, as SQLite says at each commit.
    wal_pages: Arc<AtomicU32>,
    /// The WAL is checkpointed in the middle of work when it holds more than this.
    wal_limit: u32,
    history: Duration,
    /// When what is out of date is removed next.
    tidy_at: Time,
    clock: Clock,
}

/// What becomes of the WAL once all of it is in the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    /// The file stays as long as it is and is written over from its start: under load, growing it anew costs a sixteenth of
    /// a commit.
    Restart,
    /// It shrinks to nothing.
    Truncate,
}

impl Checkpoint {
    fn pragma(self) -> &'static str {
        match self {
            Self::Restart => "PRAGMA wal_checkpoint(RESTART)",
            Self::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        }
    }
}

type Append = (Arc<str>, Vec<Arc<Record>>);

/// What interrupts the collecting of a batch.
enum Next {
    Create {
        restaurant: Arc<str>,
        epoch: Epoch,
        done: oneshot::Sender<Result<Stored, String>>,
    },
    Read(Read),
    Revoke(Revoke),
    Close,
}

impl Writer {
    pub(super) fn new(
        mut db: Connection,
        in_memory: bool,
        reports: UnboundedSender<Report>,
        history: Duration,
    ) -> rusqlite::Result<Self> {
        let wal_pages = Arc::new(AtomicU32::new(0));
        let pages = Arc::clone(&wal_pages);
        db.wal_hook(Some(move |_: &mut Wal, now| {
            pages.store(u32::try_from(now).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            db,
            in_memory,
            reports,
            known: BTreeMap::new(),
            void: None,
            full: false,
            last_batch: 0,
            unsettled: false,
            wal_pages,
            wal_limit: WAL_PAGES,
            history,
            tidy_at: Time::from_ms(0),
            clock: Clock::start(),
        })
    }

    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = match jobs.recv_timeout(if self.full { PROBE_EVERY } else { IDLE }) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    if self.full {
                        self.probe()
                    } else {
                        self.settle()
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut batch = Vec::new();
            let next = self.collect(job, jobs, &mut batch);
            if !batch.is_empty() && !self.commit(&batch) {
                return;
            }
            // Where somebody always writes no moment is quiet.
            if self.clock.now() >= self.tidy_at + self.tidy_every_ms() {
                self.tidy_some(TIDY_BETWEEN);
            }
            match next {
                None => {}
                Some(Next::Read(read)) => {
                    read.answer(&self.db);
                }
                Some(Next::Create {
                    restaurant,
                    epoch,
                    done,
                }) => {
                    let _ = done.send(self.create(restaurant, &epoch));
                }
                Some(Next::Revoke(revoke)) => {
                    let goes_on = self.revoke(revoke);
                    if !goes_on {
                        return;
                    }
                }
                Some(Next::Close) => break,
            }
        }
        if let Err(error) = super::schema::mark_closed(&self.db) {
            tracing::warn!(%error, "the store could not be marked as cleanly closed; it is checked at the next start");
        }
        self.checkpoint(Checkpoint::Truncate);
    }

    /// Gathers what waits: 512 records, 1 MiB, or, when the batch before says that more are on their way, as many
    /// as came then or 2 ms (`docs/operations.md`, Limits). Alone, a record does not wait.
    fn collect(
        &mut self,
        first: Job,
        jobs: &Receiver<Job>,
        batch: &mut Vec<Append>,
    ) -> Option<Next> {
        let deadline = Instant::now() + Duration::from_millis(limits::COMMIT_WAIT_MS);
        let (mut records, mut bytes) = (0, 0);
        let mut job = first;
        loop {
            match job {
                Job::Append {
                    restaurant,
                    generation,
                    records: more,
                } => {
                    if self.void.is_none_or(|void| generation > void) {
                        records += more.len();
                        bytes += more.iter().map(|record| record.bytes).sum::<usize>();
                        batch.push((restaurant, more));
                    }
                }
                Job::Create {
                    restaurant,
                    epoch,
                    done,
                } => {
                    return Some(Next::Create {
                        restaurant,
                        epoch,
                        done,
                    });
                }
                Job::Read(read) => return Some(Next::Read(read)),
                Job::Revoke(revoke) => return Some(Next::Revoke(revoke)),
                #[cfg(test)]
                Job::Hold(held) => {
                    let _ = held.recv();
                    return None;
                }
                Job::Close => return Some(Next::Close),
            }
            if records >= limits::COMMIT_APPENDS || bytes >= limits::COMMIT_BYTES {
                return None;
            }
            job = match jobs.try_recv() {
                Ok(job) => job,
                Err(_) if records >= self.last_batch || self.last_batch < 2 => return None,
                Err(_) => {
                    match jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                        Ok(job) => job,
                        Err(_) => return None,
                    }
                }
            };
        }
    }

    /// One transaction; `false` when the process must end.
    fn commit(&mut self, batch: &[Append]) -> bool {
        let started = Instant::now();
        let records: usize = batch.iter().map(|(_, records)| records.len()).sum();
        self.last_batch = records;
        match self.write(batch) {
            Ok(()) => {
                let took = started.elapsed();
                metrics::histogram!("tautline_commit_seconds").record(took.as_secs_f64());
                if took >= SLOW {
                    tracing::warn!(ms = took.as_millis() as u64, records, "slow commit");
                }
                metrics::histogram!("tautline_commit_batch").record(records as f64);
                let mut upto: Vec<(Arc<str>, Ticket)> = Vec::new();
                for (restaurant, records) in batch {
                    let Some(last) = records.last() else { continue };
                    match upto.iter_mut().find(|(known, _)| known == restaurant) {
                        Some((_, ticket)) => *ticket = last.ticket,
                        None => upto.push((Arc::clone(restaurant), last.ticket)),
                    }
                }
                let _ = self.reports.send(Report::Committed(upto));
                self.unsettled = true;
                if self.wal_pages.load(Ordering::Relaxed) >= self.wal_limit {
                    self.checkpoint(Checkpoint::Restart);
                }
                true
            }
            Err(error) => self.refused(&error),
        }
    }

    fn write(&mut self, batch: &[Append]) -> rusqlite::Result<()> {
        let change = self.db.transaction()?;
        for (restaurant, records) in batch {
            if !self.known.contains_key(restaurant) {
                let found = Known::find(&change, restaurant)?
                    .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                self.known.insert(Arc::clone(restaurant), found);
            }
            let Some(known) = self.known.get_mut(restaurant) else {
                continue;
            };
            known.write_all(&change, records)?;
        }
        change.commit()
    }

    /// Nothing of the batch holds. Which kind of "no" was it?
    fn refused(&mut self, error: &rusqlite::Error) -> bool {
        self.known.clear();
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        let broken = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        );
        let kind = if full {
            "full"
        } else if broken {
            "io"
        } else {
            "other"
        };
        metrics::counter!("tautline_store_errors_total", "kind" => kind).increment(1);
        tracing::error!(%error, kind, "a batch could not be stored");
        if broken {
            // After a failed sync the system's cache may disagree with the disk: only a new start reads the truth.
            let _ = self.reports.send(Report::Broken(error.to_string()));
            return false;
        }
        self.full = full;
        // Everything appended before the relay hears of this was judged on what is not there.
        self.void = Some(self.void.map_or(0, |void| void + 1));
        let _ = self.reports.send(Report::Failed { full });
        true
    }

    fn create(&mut self, restaurant: Arc<str>, epoch: &Epoch) -> Result<Stored, String> {
        // Two that asked at once: the second finds the first's.
        let stored = read::load(&self.db, &restaurant, 0).map_err(|error| error.to_string())?;
        if stored.epoch.is_some() {
            return Ok(stored);
        }
        let known = Known::create(&self.db, &restaurant, epoch).map_err(|error| {
            tracing::error!(%error, "a restaurant could not be stored");
            error.to_string()
        })?;
        self.known.insert(restaurant, known);
        self.unsettled = true;
        Ok(Stored {
            epoch: Some(epoch.clone()),
            ..Stored::default()
        })
    }

    /// `false` when the process must end.
    fn revoke(&mut self, Revoke { revocation, done }: Revoke) -> bool {
        let kept = revoke::keep(&self.db, &revocation);
        self.unsettled = true;
        let (goes_on, answer) = match kept {
            Ok(()) => (true, Ok(())),
            Err(error) => (self.refused(&error), Err(error.to_string())),
        };
        // Whoever asked may have gone; that is their business.
        let _ = done.send(answer);
        goes_on
    }

    /// Whether there is room again: what is written is taken away at once.
    fn probe(&mut self) {
        let tried = self.db.execute(
            "INSERT OR REPLACE INTO meta VALUES ('probe', zeroblob(262144))",
            [],
        );
        let _ = self.db.execute("DELETE FROM meta WHERE name = 'probe'", []);
        if tried.is_ok() {
            tracing::info!("the disk has room again");
            self.full = false;
            let _ = self.reports.send(Report::Recovered);
        }
    }

    /// A quiet moment: the WAL goes into the database, and now and then what is out of date goes.
    fn settle(&mut self) {
        if self.clock.now() >= self.tidy_at {
            self.tidy_some(TIDY_AT_ONCE);
        }
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        // Restaurants that went quiet need not be known by heart.
        if self.known.len() > 1024 {
            self.known.clear();
        }
        self.checkpoint(Checkpoint::Truncate);
    }

    fn tidy_every_ms(&self) -> u64 {
        let history = u64::try_from(self.history.as_millis()).unwrap_or(u64::MAX);
        TIDY_EVERY_MS.min(history)
    }

    /// One lot, and when the next: whoever writes meanwhile goes first.
    fn tidy_some(&mut self, lot: usize) {
        match self.tidy(lot) {
            Ok(true) => {}
            Ok(false) => self.tidy_at = self.clock.now() + self.tidy_every_ms(),
            Err(error) => {
                tracing::warn!(%error, "what is out of date could not be removed from the store");
                self.tidy_at = self.clock.now() + TIDY_AGAIN_MS;
            }
        }
    }

    /// Removes some commands older than the duplicate memory and some orders older than the history; whether there may be
    /// more.
    fn tidy(&mut self, lot: usize) -> rusqlite::Result<bool> {
        let now = crate::clock::wall_ms();
        let commands = self
            .db
            .prepare_cached("DELETE FROM command WHERE rowid IN (SELECT rowid FROM command WHERE at_ms < ?1 LIMIT ?2)")?
            .execute([
                now.saturating_sub(limits::DEDUPE_MS).cast_signed(),
                lot as i64,
            ])?;
        let history = u64::try_from(self.history.as_millis()).unwrap_or(u64::MAX);
        let orders = history::trim(&self.db, now.saturating_sub(history), lot)?;
        revoke::forget(&self.db, now)?;
        self.unsettled |= commands > 0 || orders > 0;
        Ok(commands == lot || orders == lot)
    }

    fn checkpoint(&mut self, how: Checkpoint) {
        if self.in_memory {
            return;
        }
        let done = self
            .db
            .query_row(how.pragma(), [], |row| row.get::<_, bool>(0));
        match done {
            Ok(false) => {
                self.wal_limit = WAL_PAGES;
                self.wal_pages.store(0, Ordering::Relaxed);
            }
            // A reader in the middle of something, a backup perhaps, keeps the WAL from shrinking. Each try waits for it,
            // so the next comes after as much again, or at a quiet moment.
            Ok(true) => self.wal_limit = self.wal_pages.load(Ordering::Relaxed) + WAL_PAGES,
            Err(error) => tracing::warn!(%error, "checkpoint failed"),
        }
        self.unsettled = how == Checkpoint::Restart || self.wal_limit > WAL_PAGES;
    }
}
