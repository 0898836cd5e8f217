//! What happens while a connection holds: frames, heartbeat, renewal, sync, the outbox's flush
//! (`docs/protocol.md` §1, Life of a connection).

use super::core::{Client, DialStage, Live, Phase, Renewal, failure};
use super::feed::{Authenticated, PartVerdict, Verdict};
use super::io::{
    Adopted, AttemptId, ConnectionState, EpochRef, Failure, Head, Notice, Output, Timer, Token,
    TokenAnswer, TokenReason,
};
use crate::Time;
use tautline_protocol::client_frame::{self, Auth};
use tautline_protocol::limits::RENEWAL_EVERY_MS;
use tautline_protocol::{CloseCode, Dialect, Epoch, ErrorCode, NackCode, Seq, Stage};

/// How long a connection must hold for the backoff to start over.
const SETTLED_MS: u64 = 10_000;
/// How long the ping after a sign of waking may go unanswered.
const PROBE_MS: u64 = 3_000;
/// A timer that fires later than this says the page did not run: the wait is begun anew.
const SLEPT_MS: u64 = 5_000;
/// Between two renewals: the relay's bound and a little for clocks that differ and a network that bunches up.
const RENEWAL_PAUSE_MS: u64 = RENEWAL_EVERY_MS + 250;
/// A renewal that has no answer by then gets none.
const UNANSWERED_MS: u64 = 30_000;
/// How long a snapshot's next part may take.
const SNAPSHOT_PART_MS: u64 = tautline_protocol::limits::CLIENT_SNAPSHOT_PART_MS;

impl Client {
    /// One frame of the current connection.
    pub(super) fn frame(&mut self, attempt: AttemptId, head: Head, now: Time) {
        if !self.is_current(attempt) {
            return;
        }
        match &mut self.phase {
            Phase::Live(live) => {
                let v1 = live.dialect == Dialect::V1;
                if live.probing.is_some_and(|sent| !answers(&head, sent)) {
                    // What the page slept through is handed over first, even by a socket that died meanwhile.
                    self.timers.set(Timer::Pong, now + PROBE_MS);
                } else {
                    live.probing = None;
                    self.timers.clear(Timer::Pong);
                }
                self.live_frame(head, v1, now);
                self.after_frame(now);
            }
            Phase::Dialling(_) => self.dial_frame(attempt, head, now),
            _ => {}
        }
    }

    fn dial_frame(&mut self, attempt: AttemptId, head: Head, now: Time) {
        match head {
            Head::Connected {
                auth_required,
                heartbeat_ms,
                max_message,
            } => {
                self.server.heartbeat_ms = heartbeat_ms.or(self.server.heartbeat_ms);
                self.server.max_message = max_message.unwrap_or(self.server.max_message);
                self.greeted(auth_required, now);
            }
            Head::AuthSuccess {
                v1,
                epoch,
                seq,
                resumed,
                view,
                expires_in_ms,
                dedupe_ms,
                limits,
                reconnect_spread_ms,
                ..
            } => {
                if !matches!(&self.phase, Phase::Dialling(dial) if dial.stage == DialStage::Auth) {
                    return;
                }
                if let Some(limits) = limits {
                    self.server.max_message = limits.max_message;
                    self.outbox.pace().limits(limits);
                }
                if let Some(ms) = dedupe_ms {
                    self.outbox.set_dedupe_ms(ms);
                }
                self.server.spread_ms = reconnect_spread_ms.or(self.server.spread_ms);
                if !v1 {
                    return self.connected_plain(attempt, now);
                }
                self.connected_v1(attempt, epoch, seq.unwrap_or(0), resumed, view, now);
                if let Some(life) = expires_in_ms {
                    self.arm_renewal(life, now);
                }
                // `setToken` came when another one had left already.
                if self.tokens.has_another()
                    && let Some(token) = self.tokens.given(!self.config.has_token)
                {
                    self.send_renewal(token, now);
                }
            }
            Head::AuthFailed { code, .. } => {
                if let Phase::Dialling(dial) = &mut self.phase
                    && dial.stage == DialStage::Auth
                {
                    dial.refused = Some(code);
                }
            }
            _ => {}
        }
    }

    pub(super) fn connected_plain(&mut self, attempt: AttemptId, now: Time) {
        self.live(attempt, Dialect::Plain);
        self.feed.plain(now);
        self.outbox.stop_waiting(&mut self.out);
        self.filters.plain(&mut self.out);
        self.now_connected(now);
        if self.feed.want_set {
            self.feed.need_sync(true);
            self.sync_if_due(now);
        }
        self.start_flush(Dialect::Plain, now);
    }

    fn connected_v1(
        &mut self,
        attempt: AttemptId,
        epoch: Option<Epoch>,
        head: Seq,
        resumed: bool,
        view: Option<String>,
        now: Time,
    ) {
        self.live(attempt, Dialect::V1);
        let had_set = self.feed.has_set();
        let of_another = self.feed.viewed_as(view);
        let outcome = self.feed.authenticated(epoch, head, resumed, now);
        self.now_connected(now);
        self.filters.authenticated(&mut self.out);
        match outcome {
            Authenticated::Resumed { from } => {
                self.counters.resumes += 1;
                self.tell(Notice::Resumed { from, to: head });
                if of_another {
                    self.out.push_back(Output::OrdersStale);
                }
                self.feed.need_set();
            }
            Authenticated::Anew { void } => {
                if let Some(from) = void {
                    self.counters.gaps += 1;
                    self.tell(Notice::Gap { from, to: head });
                }
                if had_set {
                    self.out.push_back(Output::OrdersStale);
                }
                // `initialize` may have come after `auth` had left.
                if !self.feed.is_syncing() {
                    self.feed.need_set();
                }
            }
        }
        if self.filters.is_due() {
            self.feed.filter_changed();
        }
        self.reached();
        self.start_flush(Dialect::V1, now);
        self.sync_if_due(now);
        self.arm_sync_deadline(now);
    }

    fn live(&mut self, attempt: AttemptId, dialect: Dialect) {
        let previous = std::mem::replace(
            &mut self.phase,
            Phase::Live(Live {
                attempt,
                dialect,
                probing: None,
            }),
        );
        if let Phase::Dialling(dial) = previous {
            self.tokens.in_use = dial.token;
        }
        for timer in [Timer::Attempt, Timer::Greeting, Timer::Token] {
            self.timers.clear(timer);
        }
    }

    fn now_connected(&mut self, now: Time) {
        self.timers.set(Timer::Settled, now + SETTLED_MS);
        self.timers.set(Timer::Heartbeat, now + self.heartbeat_ms());
        self.tokens.asked_after_rejection = false;
        self.tokens.expired = false;
        self.renewal = Renewal {
            last: self.renewal.last,
            ..Renewal::default()
        };
        self.was_connected = true;
        self.unopened = 0;
        self.counters.connects += 1;
        self.set_state(ConnectionState::Connected);
        self.tell(Notice::Connected);
        self.settle_waiters(&Ok(()));
        self.confirmed(now);
        if !self.stale && self.timers.get(Timer::Stale).is_none() {
            self.timers.set(Timer::Stale, now + self.stale_after_ms());
        }
    }

    fn start_flush(&mut self, dialect: Dialect, now: Time) {
        let before = self.outbox.len();
        self.outbox.ask(&mut self.out);
        self.outbox
            .connected(dialect, self.server.max_message, now, &mut self.out);
        let moved = self.flush(now) || self.outbox.len() != before;
        self.arm_outbox();
        if moved {
            self.tell(Notice::Outbox);
        }
    }

    fn live_frame(&mut self, head: Head, v1: bool, now: Time) {
        match head {
            Head::Event {
                seq,
                epoch,
                command_id,
            } => {
                if let Some(id) = &command_id {
                    self.outbox.seen(id, seq);
                }
                self.event(if v1 { seq } else { None }, &epoch, now);
            }
            Head::Cursor { epoch, from, to } => {
                let verdict = self.feed.cursor(&epoch, from, to, now);
                self.heed(verdict, to);
            }
            Head::Pong {
                timestamp,
                seq,
                reconnect_spread_ms,
            } => {
                self.server.spread_ms = reconnect_spread_ms.or(self.server.spread_ms);
                if let Some(sent) = timestamp.map(Time::from_ms).filter(|&sent| sent <= now) {
                    self.counters.rtt_ms = Some(now - sent);
                    self.tell(Notice::Latency { rtt_ms: now - sent });
                }
                self.feed.pong(if v1 { seq } else { None }, now);
            }
            Head::Ack { id, seq, epoch } => {
                if self.filters.acked(&id, &mut self.out) {
                    self.flush_on(now);
                    return;
                }
                // An ack of another history than the position's says nothing about when it is shown.
                let shows = self.feed.want_set && !matches!(epoch, EpochRef::Other(_));
                let place = shows.then(|| self.feed.place());
                self.outbox.acked(&id, seq, place, &mut self.out);
                self.outbox_moved(now);
            }
            Head::Nack {
                id,
                code,
                outcome,
                retry_after_ms,
            } => {
                if self.feed.sync_refused(Some(&id), code, retry_after_ms, now) {
                    self.sync_refused(code);
                } else if self
                    .filters
                    .nacked(&id, code, outcome, retry_after_ms, &mut self.out)
                {
                    self.filter_refused(code, retry_after_ms, now);
                } else {
                    self.outbox
                        .nacked(&id, code, outcome, retry_after_ms, now, &mut self.out);
                    self.outbox_moved(now);
                }
            }
            Head::SyncResumed { epoch, seq } => {
                self.feed.resumed(&epoch, seq, now);
            }
            Head::SnapshotPart {
                sync_id,
                epoch,
                seq,
                part,
                parts,
            } => {
                let verdict = self.feed.part(&sync_id, &epoch, seq, part, parts, now);
                self.timers.clear(Timer::SnapshotPart);
                self.part(verdict, seq);
            }
            Head::PlainSync { has_orders } => {
                self.feed.plain_synced(now);
                if has_orders && self.feed.want_set {
                    self.counters.snapshots += 1;
                    self.out.push_back(Output::CollectSnapshot { first: true });
                    self.out.push_back(Output::InstallSnapshot { seq: None });
                }
            }
            Head::SyncAborted => {
                self.out.push_back(Output::DiscardSnapshot);
                self.feed.sync_aborted();
                self.timers.clear(Timer::SnapshotPart);
            }
            // A reset always brings another history; one that does not would have events handed over twice.
            Head::Reset { epoch, .. } if self.feed.epoch() == Some(&epoch) => {
                self.feed.need_sync(true);
            }
            Head::Reset { epoch, seq } => {
                if let Some(from) = self.feed.position() {
                    self.counters.gaps += 1;
                    self.tell(Notice::Gap { from, to: seq });
                }
                self.out.push_back(Output::DiscardSnapshot);
                self.out.push_back(Output::OrdersStale);
                self.feed.reset(epoch, seq);
                self.timers.clear(Timer::SnapshotPart);
            }
            Head::Refused {
                code,
                retry_after_ms,
                ref_type,
            } => {
                let sync = ref_type.as_deref() == Some("orders:sync")
                    && self.feed.sync_refused(None, code, retry_after_ms, now);
                if sync {
                    self.sync_refused(code);
                } else if ref_type.as_deref() == Some("subscribe") && self.filters.refused_in_auth()
                {
                    self.filter_changed();
                    self.tell(Notice::Error(failure(
                        ErrorCode::Protocol,
                        "the server could not use the filter; everything is shown",
                    )));
                } else if ref_type.as_deref() == Some("auth") && code == NackCode::RateLimited {
                    self.renewal_too_soon(retry_after_ms, now);
                } else if code != NackCode::RateLimited {
                    self.tell(Notice::Error(failure(
                        ErrorCode::Protocol,
                        "the server could not use a message of ours",
                    )));
                }
            }
            Head::Degraded { since } => self.tell(Notice::Degraded { since }),
            Head::AuthSuccess {
                renewal: true,
                view,
                expires_in_ms,
                ..
            } => {
                self.feed.renewed_as(view);
                if let Some(token) = self.renewal.pending.take() {
                    self.tokens.in_use = Some(token);
                }
                self.renewal.rejected = false;
                if let Some(life) = expires_in_ms {
                    self.arm_renewal(life, now);
                } else {
                    self.arm_next_renewal(now);
                }
            }
            Head::AuthFailed { renewal: true, .. } => self.renewal_refused(now),
            // It was taken for a server that asks for nothing, because its greeting came so late.
            Head::Connected {
                auth_required: true,
                ..
            } if self.tokens.in_use.is_none() => {
                self.hang_up(CloseCode::NORMAL, "Client disconnect");
                self.token_missing(now);
            }
            Head::Connected { .. } | Head::AuthSuccess { .. } | Head::AuthFailed { .. } => {}
        }
    }

    fn event(&mut self, seq: Option<Seq>, epoch: &EpochRef, now: Time) {
        let Some(seq) = seq else {
            self.counters.events += 1;
            return self.out.push_back(Output::Deliver { seq: None });
        };
        let verdict = self.feed.event(seq, epoch, now);
        if verdict == Verdict::Next {
            self.counters.events += 1;
            self.out.push_back(Output::Deliver { seq: Some(seq) });
        }
        self.heed(verdict, seq);
    }

    fn heed(&mut self, verdict: Verdict, to: Seq) {
        match verdict {
            Verdict::Next => self.reached(),
            Verdict::Duplicate => self.counters.duplicates += 1,
            Verdict::Void => {}
            Verdict::Gap { from } => {
                // Everything behind the gap comes again with the sync: what arrives until then is dropped.
                if !self.feed.is_syncing() && !self.feed.wants_sync() {
                    self.counters.gaps += 1;
                    self.tell(Notice::Gap { from, to });
                    self.feed.need_sync(false);
                }
            }
        }
    }

    fn part(&mut self, verdict: PartVerdict, seq: Seq) {
        match verdict {
            PartVerdict::Collect { first } => {
                if self.feed.want_set {
                    self.out.push_back(Output::CollectSnapshot { first });
                }
            }
            PartVerdict::Install {
                first,
                skipped_from,
            } => {
                if let (Some(from), false) = (skipped_from, self.feed.want_set) {
                    self.counters.gaps += 1;
                    self.tell(Notice::Gap { from, to: seq });
                }
                if self.feed.want_set {
                    self.counters.snapshots += 1;
                    self.out.push_back(Output::CollectSnapshot { first });
                    self.out
                        .push_back(Output::InstallSnapshot { seq: Some(seq) });
                }
                self.reached();
            }
            PartVerdict::Broken => self.out.push_back(Output::DiscardSnapshot),
        }
    }

    fn reached(&mut self) {
        if self.outbox.is_waiting()
            && let (history, Some(seq)) = self.feed.place()
        {
            let before = self.outbox.len();
            self.outbox.reached(history, seq, &mut self.out);
            if self.outbox.len() != before {
                self.tell(Notice::Outbox);
            }
        }
    }

    /// What every frame may have moved: freshness, the sync wanted, the part expected.
    fn after_frame(&mut self, now: Time) {
        if !self.is_live() {
            return;
        }
        self.confirmed(now);
        self.sync_if_due(now);
        self.arm_sync_deadline(now);
    }

    /// A sync under way has a deadline, which only its own parts put off.
    fn arm_sync_deadline(&mut self, now: Time) {
        if !self.feed.is_syncing() {
            self.timers.clear(Timer::SnapshotPart);
        } else if self.timers.get(Timer::SnapshotPart).is_none() {
            self.timers.set(Timer::SnapshotPart, now + SNAPSHOT_PART_MS);
        }
    }

    /// Begins the wait for `stale` anew if everything was confirmed just now.
    fn confirmed(&mut self, now: Time) {
        if self.feed.confirmed_at() != Some(now) {
            return;
        }
        self.timers.set(Timer::Stale, now + self.stale_after_ms());
        if std::mem::take(&mut self.stale) {
            self.tell(Notice::Fresh);
        }
    }

    pub(super) fn gone_stale(&mut self) {
        if !std::mem::replace(&mut self.stale, true) {
            self.tell(Notice::Stale);
        }
    }

    pub(super) fn malformed(&mut self, attempt: AttemptId) {
        if self.is_current(attempt) {
            self.tell(Notice::Error(failure(
                ErrorCode::Protocol,
                "the server sent a frame that is no JSON object with a type",
            )));
        }
    }

    // Heartbeat

    pub(super) fn ping(&mut self, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        self.out
            .push_back(Output::Send(live.attempt, client_frame::ping(now.as_ms())));
        self.timers.set(Timer::Heartbeat, now + self.heartbeat_ms());
        if self.timers.get(Timer::Pong).is_none() {
            self.timers
                .set(Timer::Pong, now + self.config.pong_timeout_ms);
        }
    }

    /// The page woke: one ping with a short deadline tells whether the socket did too.
    pub(super) fn probe(&mut self, now: Time) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if live.probing.is_some() {
            return;
        }
        live.probing = Some(now);
        self.timers.set(Timer::Pong, now + PROBE_MS);
        self.ping(now);
    }

    pub(super) fn pong_late(&mut self, late_ms: u64, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        let probing = live.probing.is_some();
        if late_ms > SLEPT_MS {
            // The page did not run; what the socket had to say may still be waiting behind this timer.
            if probing {
                self.timers.set(Timer::Pong, now + PROBE_MS);
            }
            return self.ping(now);
        }
        self.hang_up(CloseCode::HEARTBEAT_LOST, "heartbeat lost");
        if probing {
            return self.redial(now);
        }
        self.retry(0, self.server.spread_ms, now);
    }

    // Renewal

    fn arm_renewal(&mut self, life_ms: u64, now: Time) {
        self.renewal.ends = Some(now + life_ms);
        let lead = if life_ms < 60_000 {
            life_ms / 2
        } else {
            (life_ms / 10).max(30_000)
        };
        // One that was given meanwhile does not wait for the life of the one before it.
        let at = match self.renewal.next {
            Some(_) => now,
            None => now + (life_ms - lead),
        };
        self.timers
            .set(Timer::Renew, at.max(self.renewal_not_before()));
    }

    /// One that waited for the answer to the one before it.
    fn arm_next_renewal(&mut self, now: Time) {
        if self.renewal.next.is_some() {
            let at = now.max(self.renewal_not_before());
            self.timers.set(Timer::Renew, at);
        }
    }

    fn renewal_not_before(&self) -> Time {
        self.renewal
            .last
            .map_or(Time::default(), |last| last + RENEWAL_PAUSE_MS)
    }

    /// The relay counts from when it heard the last one: the same token leaves again.
    fn renewal_too_soon(&mut self, retry_after_ms: Option<u64>, now: Time) {
        if let Some(token) = self.renewal.pending.take() {
            self.renewal.next.get_or_insert(token);
            let wait = retry_after_ms.map_or(RENEWAL_PAUSE_MS, |ms| ms.clamp(100, 60_000));
            self.renewal.last = Some(now);
            self.timers
                .set(Timer::Renew, now + wait.max(RENEWAL_PAUSE_MS));
        }
    }

    /// Another try, more often as the end comes nearer; after it, close 4001 ends the connection.
    fn renew_again(&mut self, now: Time) {
        if self.renewal.next.is_some() {
            return self.arm_next_renewal(now);
        }
        let left = self.renewal.ends.map_or(0, |ends| ends - now);
        self.timers
            .set(Timer::Renew, now + RENEWAL_EVERY_MS.max(left / 10));
    }

    pub(super) fn renew(&mut self, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        let attempt = live.attempt;
        if let Some(token) = self.renewal.next.take() {
            return self.send_renewal(token, now);
        }
        if self.config.has_token && live.dialect == Dialect::V1 && !self.renewal.fetching {
            self.renewal.fetching = true;
            let reason = if self.renewal.rejected {
                TokenReason::Rejected
            } else {
                TokenReason::Renew
            };
            self.fetch_token(attempt, reason, now);
        }
    }

    pub(super) fn renewal_token(&mut self, answer: TokenAnswer, now: Time) {
        self.timers.clear(Timer::Token);
        if !std::mem::take(&mut self.renewal.fetching) {
            return;
        }
        match answer {
            TokenAnswer::Token(token) if !self.tokens.is_refused(&token) => {
                self.send_renewal(token, now)
            }
            _ => self.renew_again(now),
        }
    }

    pub(super) fn send_renewal(&mut self, token: Token, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        // One at a time: an answer does not say which of two it is for.
        let at = match (&self.renewal.pending, self.renewal.last) {
            (Some(_), Some(last)) => last + UNANSWERED_MS,
            _ => self.renewal_not_before(),
        };
        if now < at {
            self.renewal.next = Some(token);
            return self.timers.set(Timer::Renew, at);
        }
        let frame = client_frame::auth(Auth {
            token: token.text(),
            restaurant_id: self.config.restaurant_id.as_deref(),
            ..Auth::default()
        });
        self.out.push_back(Output::Send(live.attempt, frame));
        self.renewal.last = Some(now);
        self.renewal.pending = Some(token);
    }

    fn renewal_refused(&mut self, now: Time) {
        if let Some(token) = self.renewal.pending.take() {
            self.tokens.refuse(&token);
        }
        self.arm_next_renewal(now);
        self.tell(Notice::Error(Failure {
            stage: Some(Stage::Auth),
            ..failure(
                ErrorCode::AuthFailed,
                "the server refused the new token; the connection ends with the old one",
            )
        }));
        if !std::mem::replace(&mut self.renewal.rejected, true) && self.renewal.next.is_none() {
            self.renew_again(now);
        }
    }

    // Sync and outbox

    pub(super) fn want_orders(&mut self, want: bool, now: Time) {
        if want == self.feed.want_set {
            return;
        }
        if !want {
            self.feed.drop_set();
            self.outbox.stop_waiting(&mut self.out);
            return;
        }
        self.feed.want();
        if self.is_live() {
            self.feed.need_set();
            self.sync_if_due(now);
        }
    }

    pub(super) fn sync_if_due(&mut self, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        // A snapshot asked for before the server knows of the filter would be of the old one.
        let too_early = live.dialect == Dialect::V1 && self.filters.is_due();
        if !self.feed.wants_sync() || too_early {
            return self.timers.clear(Timer::Sync);
        }
        let (attempt, dialect) = (live.attempt, live.dialect);
        let at = self.feed.sync_not_before();
        if at > now {
            return self.timers.set(Timer::Sync, at);
        }
        let frame = match dialect {
            Dialect::Plain => {
                self.feed.asked_plain(now);
                client_frame::sync(None, None)
            }
            Dialect::V1 => {
                let Some((id, place)) = self.feed.ask(now) else {
                    return;
                };
                client_frame::sync(Some(&id), place.as_ref().map(|(epoch, seq)| (epoch, *seq)))
            }
        };
        self.out.push_back(Output::Send(attempt, frame));
        self.timers.set(Timer::SnapshotPart, now + SNAPSHOT_PART_MS);
    }

    /// A refusal that may pass is only waited out; another is the page's business.
    fn sync_refused(&mut self, code: NackCode) {
        if !code.retryable() {
            self.tell(Notice::Error(failure(
                ErrorCode::Protocol,
                "the server refused to send the orders",
            )));
        }
    }

    /// The set on screen is of another filter than the one that is wanted now.
    pub(super) fn filter_changed(&mut self) {
        if matches!(&self.phase, Phase::Live(live) if live.dialect == Dialect::Plain) {
            return;
        }
        if self.feed.has_set() {
            self.out.push_back(Output::OrdersStale);
        }
        self.feed.filter_changed();
    }

    /// The set that was asked for behind the filter is of the one in force: nothing more is to be done for it.
    fn filter_refused(&mut self, code: NackCode, retry_after_ms: Option<u64>, now: Time) {
        if code == NackCode::RateLimited {
            self.outbox.pace().wait(retry_after_ms, now);
        }
        self.flush_on(now);
    }

    /// Tells the server of a filter that the connection's `auth` did not carry; `Err`: when that may be.
    fn filter_if_due(&mut self, attempt: AttemptId, now: Time) -> Result<(), Time> {
        if self.filters.may_leave() {
            self.outbox.pace().take(now)?;
            let frame = self.filters.frame(self.ids.next());
            self.out.push_back(Output::Send(attempt, frame));
        }
        Ok(())
    }

    /// Storage has handed over what dead pages left.
    pub(super) fn adopted(
        &mut self,
        answer: bool,
        entries: Vec<Adopted>,
        lost: Vec<String>,
        now: Time,
    ) {
        for id in lost {
            self.outbox.lost(&id, now);
        }
        let live = match &self.phase {
            Phase::Live(live) => Some((live.dialect, self.server.max_message)),
            _ => None,
        };
        self.outbox.adopt(entries, live, now, &mut self.out);
        if answer {
            self.outbox.answered();
        }
        self.outbox_moved(now);
    }

    fn outbox_moved(&mut self, now: Time) {
        self.flush(now);
        self.arm_outbox();
        self.tell(Notice::Outbox);
    }

    /// Writes what may leave now, and says so to the page.
    pub(super) fn flush_on(&mut self, now: Time) {
        if self.flush(now) {
            self.tell(Notice::Outbox);
        }
    }

    /// Writes what may leave now; whether anything did.
    pub(super) fn flush(&mut self, now: Time) -> bool {
        let Phase::Live(live) = &self.phase else {
            return false;
        };
        let (attempt, dialect) = (live.attempt, live.dialect);
        if dialect == Dialect::V1
            && let Err(at) = self.filter_if_due(attempt, now)
        {
            self.timers.set(Timer::Pace, at);
            return false;
        }
        let before = self.out.len();
        match self.outbox.flush(attempt, dialect, now, &mut self.out) {
            Some(at) => self.timers.set(Timer::Pace, at),
            None => self.timers.clear(Timer::Pace),
        }
        self.out.len() != before
    }

    pub(super) fn arm_outbox(&mut self) {
        match self.outbox.next_deadline() {
            Some(at) => self.timers.set(Timer::Outbox, at),
            None => self.timers.clear(Timer::Outbox),
        }
    }
}

/// Whether a frame answers the ping sent then, or a later one.
fn answers(head: &Head, sent: Time) -> bool {
    matches!(head, Head::Pong { timestamp, .. } if timestamp.is_none_or(|at| at >= sent.as_ms()))
}
