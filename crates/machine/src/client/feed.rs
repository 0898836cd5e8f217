//! Where the page is in the restaurant's log: duplicates, gaps, resume, snapshots, freshness
//! (`docs/protocol.md` §1, Events and Sync). It decides what a frame is; the client performs it.

use super::io::EpochRef;
use super::record::Fields;
use crate::Time;
use tautline_protocol::{Epoch, NackCode, Seq};

/// What an event is to this page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    /// The next one: deliver it.
    Next,
    /// Seen already.
    Duplicate,
    /// Something is missing before it.
    Gap {
        /// The last position.
        from: Seq,
    },
    /// Nothing can be said before the snapshot that is on its way.
    Void,
}

/// What a part of a snapshot is to this page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum PartVerdict {
    /// Collect it; `first` begins anew.
    Collect { first: bool },
    /// Collect it and install the set; `skipped_from` is the position that the snapshot jumped from.
    Install {
        first: bool,
        skipped_from: Option<Seq>,
    },
    /// Of no snapshot that can be installed: drop what was collected and ask once more.
    Broken,
}

#[derive(Debug, Default)]
enum Sync {
    #[default]
    None,
    /// Wanted as soon as the rate allows; `full` = a snapshot whatever the position.
    Wanted { full: bool },
    /// Asked for, or promised by `auth`.
    Asked { id: Option<String>, full: bool },
    /// Parts are coming.
    Collecting {
        sync_id: String,
        epoch: Epoch,
        seq: Seq,
        next: u32,
        parts: u32,
    },
}

#[derive(Debug)]
pub(super) struct Feed {
    epoch: Option<Epoch>,
    /// Counts changes of `epoch`, so that positions of different histories are never compared.
    history: u32,
    position: Option<Seq>,
    pub(super) want_set: bool,
    have_set: bool,
    /// What the server calls what is shown to this connection, and to the one that brought the set.
    view: Option<String>,
    set_view: Option<String>,
    auth_asked_sync: bool,
    /// The filter changed: the first sync asked for since then, 0 before that. What comes unasked (a reset, a renewal) or in
    /// answer to an earlier one is of the filter before.
    owed: Option<u32>,
    sync: Sync,
    sync_not_before: Time,
    syncs: u32,
    /// The head that a pong or `auth:success` named and the position has not reached.
    target: Option<Seq>,
    confirmed_at: Option<Time>,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            epoch: None,
            history: 0,
            position: None,
            want_set: false,
            have_set: false,
            view: None,
            set_view: None,
            auth_asked_sync: false,
            owed: None,
            sync: Sync::None,
            sync_not_before: Time::default(),
            syncs: 0,
            target: None,
            confirmed_at: None,
        }
    }

    /// Of one without a sync under way.
    pub(super) fn fields(&mut self, f: &mut impl Fields) {
        f.epoch(&mut self.epoch);
        f.small(&mut self.history);
        f.number(&mut self.position);
        let mut owed = self.owed.is_some();
        for flag in [
            &mut self.want_set,
            &mut self.have_set,
            &mut self.auth_asked_sync,
            &mut owed,
        ] {
            f.flag(flag);
        }
        f.name(&mut self.view);
        f.name(&mut self.set_view);
        let mut sync = match self.sync {
            Sync::Wanted { full } => 1 + u64::from(full),
            _ => 0,
        };
        f.n(&mut sync);
        self.sync = match sync {
            0 => Sync::None,
            wanted => Sync::Wanted { full: wanted == 2 },
        };
        self.owed = owed.then_some(self.owed.unwrap_or(0));
        f.time(&mut self.sync_not_before);
        f.small(&mut self.syncs);
        f.number(&mut self.target);
        f.at(&mut self.confirmed_at);
    }

    pub(super) fn epoch(&self) -> Option<&Epoch> {
        self.epoch.as_ref()
    }

    pub(super) fn position(&self) -> Option<Seq> {
        self.position
    }

    /// The history in force, counted, and the position in it.
    pub(super) fn place(&self) -> (u32, Option<Seq>) {
        (self.history, self.position)
    }

    pub(super) fn has_set(&self) -> bool {
        self.have_set
    }

    pub(super) fn confirmed_at(&self) -> Option<Time> {
        self.confirmed_at
    }

    /// What `auth` says: the position to resume from, and whether a snapshot is wanted otherwise.
    pub(super) fn for_auth(&mut self) -> (Option<(&Epoch, Seq)>, bool) {
        self.auth_asked_sync = self.want_set;
        (self.epoch.as_ref().zip(self.position), self.want_set)
    }

    /// A connection in the plain dialect: its events have no numbers, so that a position would be worth nothing
    /// after it.
    pub(super) fn plain(&mut self, now: Time) {
        self.epoch = None;
        self.view = None;
        self.history += 1;
        self.position = None;
        self.target = None;
        self.confirmed_at = Some(now);
    }

    /// Another connection brought everything up to there: the next one of this client goes on from it.
    pub(super) fn resume_from(&mut self, epoch: Epoch, seq: Seq) {
        if self.epoch.as_ref() != Some(&epoch) {
            self.epoch = Some(epoch);
            self.history += 1;
        }
        self.position = Some(seq);
    }

    /// `auth:success` in v1. Gives the position that was void, if there was one.
    pub(super) fn authenticated(
        &mut self,
        epoch: Option<Epoch>,
        head: Seq,
        resumed: bool,
        now: Time,
    ) -> Authenticated {
        self.sync = Sync::None;
        // `auth` carried the filter; what it did not carry is said to have changed after this.
        self.owed = None;
        let same = epoch.is_some() && epoch == self.epoch;
        let before = self.position;
        if let (true, true, Some(from)) = (resumed, same, before) {
            self.target = Some(head);
            self.check_target(now);
            return Authenticated::Resumed { from };
        }
        if !same {
            self.epoch = epoch;
            self.history += 1;
        }
        self.target = None;
        if self.want_set && self.auth_asked_sync {
            self.position = None;
            self.sync = Sync::Asked {
                id: None,
                full: true,
            };
            self.sync_not_before = now + SYNC_PAUSE_MS;
            self.target = Some(head);
        } else {
            self.position = Some(head);
            self.confirmed_at = Some(now);
        }
        Authenticated::Anew { void: before }
    }

    /// What is shown from here on; the set may be of another viewer. `true` if there is such a set: a position says nothing
    /// of who was at it.
    pub(super) fn viewed_as(&mut self, view: Option<String>) -> bool {
        self.view = view;
        let another = self.have_set && self.set_view != self.view;
        if another {
            self.have_set = false;
        }
        another
    }

    /// A renewal changed what is shown. The server sends its snapshot unasked; a set that came before it is nobody's, should
    /// the connection be lost until then.
    pub(super) fn renewed_as(&mut self, view: Option<String>) {
        if view != self.view {
            self.view = view;
            self.set_view = None;
        }
    }

    fn is_current(&self, epoch: &EpochRef) -> bool {
        match epoch {
            EpochRef::Current => true,
            EpochRef::None => false,
            EpochRef::Other(other) => self.epoch.as_ref() == Some(other),
        }
    }

    /// An event of the log in v1.
    pub(super) fn event(&mut self, seq: Seq, epoch: &EpochRef, now: Time) -> Verdict {
        let Some(position) = self.position else {
            return Verdict::Void;
        };
        if !self.is_current(epoch) {
            return Verdict::Gap { from: position };
        }
        if seq <= position {
            return Verdict::Duplicate;
        }
        if seq != position + 1 {
            return Verdict::Gap { from: position };
        }
        self.advance(seq, now);
        Verdict::Next
    }

    /// A cursor frame: `Next` moved the position.
    pub(super) fn cursor(&mut self, epoch: &EpochRef, from: Seq, to: Seq, now: Time) -> Verdict {
        let Some(position) = self.position else {
            return Verdict::Void;
        };
        if !self.is_current(epoch) || from > position {
            return Verdict::Gap { from: position };
        }
        if to <= position {
            return Verdict::Duplicate;
        }
        self.advance(to, now);
        Verdict::Next
    }

    fn advance(&mut self, seq: Seq, now: Time) {
        self.position = Some(seq);
        // An event in order says that everything before it is here.
        self.confirmed_at = Some(now);
        self.check_target(now);
    }

    fn check_target(&mut self, now: Time) {
        if let (Some(target), Some(position)) = (self.target, self.position)
            && position >= target
        {
            self.target = None;
            self.confirmed_at = Some(now);
        }
    }

    /// A pong names the head: confirmed at once, or when the position gets there.
    pub(super) fn pong(&mut self, head: Option<Seq>, now: Time) {
        match head {
            None => self.confirmed_at = Some(now),
            Some(head) => {
                self.target = Some(head);
                self.check_target(now);
            }
        }
    }

    /// Whether a sync is to be asked for, and may be.
    pub(super) fn wants_sync(&self) -> bool {
        matches!(self.sync, Sync::Wanted { .. })
    }

    /// Whether the server may still answer a sync.
    pub(super) fn awaits_answer(&self) -> bool {
        self.is_syncing() || self.owed.is_some_and(|first| first > 0)
    }

    /// Whether a sync is under way, so that its parts have a deadline.
    pub(super) fn is_syncing(&self) -> bool {
        matches!(self.sync, Sync::Asked { .. } | Sync::Collecting { .. })
    }

    /// The set is wanted. Parts that came while it was not are lost, so what is left of them is no snapshot.
    pub(super) fn want(&mut self) {
        self.want_set = true;
        if matches!(self.sync, Sync::Collecting { .. }) {
            self.sync = Sync::Wanted { full: true };
        }
    }

    /// The filter changed: the set on screen is of the earlier one, and so is a snapshot under way.
    pub(super) fn filter_changed(&mut self) {
        self.have_set = false;
        self.owed = Some(0);
        if self.want_set {
            self.need_sync(true);
        }
    }

    /// A sync is needed; one that is under way serves as well, unless it is only a resume and a snapshot is wanted.
    pub(super) fn need_sync(&mut self, full: bool) {
        match &self.sync {
            Sync::None => self.sync = Sync::Wanted { full },
            Sync::Wanted { full: false } | Sync::Asked { full: false, .. } if full => {
                self.sync = Sync::Wanted { full }
            }
            _ => {}
        }
    }

    /// The set is wanted and missing: sees to it that it comes.
    pub(super) fn need_set(&mut self) {
        if self.want_set && !self.have_set {
            self.need_sync(true);
        }
    }

    /// When a sync may be asked for.
    pub(super) fn sync_not_before(&self) -> Time {
        self.sync_not_before
    }

    /// Takes up the wanted sync: its id, and the position to go on from unless it is a full one.
    pub(super) fn ask(&mut self, now: Time) -> Option<(String, Option<(Epoch, Seq)>)> {
        let Sync::Wanted { full } = self.sync else {
            return None;
        };
        self.syncs += 1;
        if self.owed == Some(0) {
            self.owed = Some(self.syncs);
        }
        let id = sync_id(self.syncs);
        let place = if full {
            None
        } else {
            self.epoch.clone().zip(self.position)
        };
        self.sync = Sync::Asked {
            id: Some(id.clone()),
            full: place.is_none(),
        };
        self.sync_not_before = now + SYNC_PAUSE_MS;
        Some((id, place))
    }

    /// A plain server was asked.
    pub(super) fn asked_plain(&mut self, now: Time) {
        self.sync = Sync::Asked {
            id: None,
            full: true,
        };
        self.owed = None;
        self.sync_not_before = now + SYNC_PAUSE_MS;
    }

    /// The answer to a sync is a refusal: it is wanted again after a pause. `true` if the id was a sync's.
    pub(super) fn sync_refused(
        &mut self,
        id: Option<&str>,
        code: NackCode,
        retry_after_ms: Option<u64>,
        now: Time,
    ) -> bool {
        let Sync::Asked { id: asked, full } = &self.sync else {
            return false;
        };
        if id.is_some() && asked.as_deref() != id {
            return false;
        }
        self.sync = Sync::Wanted { full: *full };
        let pause = if code.retryable() {
            SYNC_PAUSE_MS
        } else {
            SYNC_LONG_PAUSE_MS
        };
        self.sync_not_before =
            now + retry_after_ms.map_or(pause, |ms| ms.clamp(100, SYNC_LONG_PAUSE_MS));
        true
    }

    /// `sync_complete` with `resumed`.
    pub(super) fn resumed(&mut self, epoch: &Epoch, seq: Seq, now: Time) {
        if self.epoch.as_ref() != Some(epoch) {
            return self.need_sync(true);
        }
        if !matches!(self.sync, Sync::Wanted { full: true }) {
            self.sync = Sync::None;
        }
        self.target = Some(seq);
        self.check_target(now);
        if self.target.is_some() {
            // It did not bring all it says.
            self.need_sync(true);
        }
        self.need_set();
    }

    /// One part of a snapshot, asked for or not.
    pub(super) fn part(
        &mut self,
        sync_id: &str,
        epoch: &Epoch,
        seq: Seq,
        part: u32,
        parts: u32,
        now: Time,
    ) -> PartVerdict {
        let first = part == 1;
        // A snapshot behind the position would bring events a second time.
        let behind = self.epoch.as_ref() == Some(epoch)
            && self.position.is_some_and(|position| seq < position);
        if part == 0 || part > parts || behind {
            return self.broken();
        }
        if first {
            self.sync = Sync::Collecting {
                sync_id: sync_id.to_owned(),
                epoch: epoch.clone(),
                seq,
                next: 1,
                parts,
            };
        }
        let Sync::Collecting {
            sync_id: id,
            epoch: of,
            seq: at,
            next,
            parts: n,
        } = &mut self.sync
        else {
            return self.broken();
        };
        if id != sync_id || of != epoch || *at != seq || *next != part || *n != parts {
            return self.broken();
        }
        *next += 1;
        if part < parts {
            return PartVerdict::Collect { first };
        }
        let skipped_from = self
            .position
            .filter(|&position| position < seq && self.epoch.as_ref() == Some(epoch));
        if self.epoch.as_ref() != Some(epoch) {
            self.epoch = Some(epoch.clone());
            self.history += 1;
        }
        self.position = Some(seq);
        self.confirmed_at = Some(now);
        self.check_target(now);
        if self
            .owed
            .is_some_and(|first| first > 0 && sync_number(sync_id) >= first)
        {
            self.owed = None;
        }
        self.set_view.clone_from(&self.view);
        self.synced();
        PartVerdict::Install {
            first,
            skipped_from,
        }
    }

    /// A sync is complete: the set is there, unless the filter changed meanwhile.
    fn synced(&mut self) {
        self.sync = Sync::None;
        self.have_set = self.want_set && self.owed.is_none();
        self.need_set();
    }

    fn broken(&mut self) -> PartVerdict {
        self.sync = Sync::Wanted { full: true };
        PartVerdict::Broken
    }

    /// The parts stopped coming: ask again.
    pub(super) fn sync_lost(&mut self) {
        let full = !matches!(self.sync, Sync::Asked { full: false, .. });
        self.sync = Sync::Wanted { full };
    }

    /// `sync_aborted`: what was collected is void, another snapshot follows by itself.
    pub(super) fn sync_aborted(&mut self) {
        self.sync = Sync::Asked {
            id: None,
            full: true,
        };
    }

    /// A plain server answered the sync.
    pub(super) fn plain_synced(&mut self, now: Time) {
        self.confirmed_at = Some(now);
        self.set_view = None;
        self.synced();
    }

    /// The log under this connection has another history; the relay sends its snapshot unasked.
    pub(super) fn reset(&mut self, epoch: Epoch, seq: Seq) {
        self.epoch = Some(epoch);
        self.history += 1;
        self.target = Some(seq);
        self.position = if self.want_set { None } else { Some(seq) };
        if self.want_set {
            self.sync = Sync::Asked {
                id: None,
                full: true,
            };
        }
    }

    /// The set is not wanted any more.
    pub(super) fn drop_set(&mut self) {
        self.want_set = false;
        self.have_set = false;
        // The position stands on the snapshot that was on its way; without one, events count from the next on.
        if self.position.is_some() {
            self.sync = Sync::None;
        }
    }

    /// The connection is gone, and with it every part that was on its way.
    pub(super) fn disconnected(&mut self) {
        self.sync = Sync::None;
        // The relay counts syncs by connection, and the next `auth` carries the filter in force.
        self.sync_not_before = Time::default();
        self.owed = None;
        self.target = None;
    }
}

/// What `auth:success` meant for the position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authenticated {
    /// What was missed since `from` follows.
    Resumed { from: Seq },
    /// A new start; `void` is the position that is worth nothing now.
    Anew { void: Option<Seq> },
}

/// Between two syncs of a connection: the relay's bound and a little for clocks that differ.
const SYNC_PAUSE_MS: u64 = tautline_protocol::limits::SYNC_EVERY_MS + 250;

/// After a refusal that will hardly pass.
const SYNC_LONG_PAUSE_MS: u64 = 60_000;

/// The number of an id that [`sync_id`] made; 0 of another's.
fn sync_number(id: &str) -> u32 {
    id.strip_prefix("sync-")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

fn sync_id(n: u32) -> String {
    let mut id = String::from("sync-");
    let mut digits = Vec::new();
    let mut n = n;
    loop {
        digits.push(char::from(b'0' + (n % 10) as u8));
        n /= 10;
        if n == 0 {
            break;
        }
    }
    id.extend(digits.iter().rev());
    id
}
