//! What happens while a connection holds: frames, heartbeat, renewal, sync, the outbox's flush
//! (`docs/protocol.md` §1, Life of a connection).

use super::core::{Client, DialStage, Live, Phase, Renewal, failure};
use super::dial::LONGEST_TIMER_MS;
use super::feed::{Authenticated, PartVerdict, Verdict};
use super::io::{
    AttemptId, ConnectionState, EpochRef, Failure, Head, Notice, Output, Timer, Token, TokenAnswer,
    TokenReason,
};
use crate::Time;
use tautline_protocol::client_frame::{self, Auth};
use tautline_protocol::limits::RENEWAL_EVERY_MS;
use tautline_protocol::{CloseCode, Dialect, Epoch, ErrorCode, Seq, Stage};

/// How long a connection must hold for the backoff to start over.
const SETTLED_MS: u64 = 10_000;
/// How long the ping after a sign of waking may go unanswered.
const PROBE_MS: u64 = 3_000;
/// A timer that fires later than this says the page did not run: the wait is begun anew.
const SLEPT_MS: u64 = 5_000;
/// How long a snapshot's next part may take.
const SNAPSHOT_PART_MS: u64 = 30_000;

impl Client {
    /// One frame of the current connection.
    pub(super) fn frame(&mut self, attempt: AttemptId, head: Head, now: Time) {
        if !self.is_current(attempt) {
            return;
        }
        match &mut self.phase {
            Phase::Live(live) => {
                live.probing = false;
                let v1 = live.dialect == Dialect::V1;
                self.timers.clear(Timer::Pong);
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
                expires_in_ms,
                dedupe_ms,
                limits,
                reconnect_spread_ms,
                ..
            } => {
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
                self.connected_v1(attempt, epoch, seq.unwrap_or(0), resumed, now);
                if let Some(life) = expires_in_ms {
                    self.arm_renewal(life, now);
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
        self.feed.pong(None, now);
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
        now: Time,
    ) {
        self.live(attempt, Dialect::V1);
        let had_set = self.feed.has_set();
        let outcome = self.feed.authenticated(epoch, head, resumed, now);
        self.now_connected(now);
        match outcome {
            Authenticated::Resumed { from } => {
                self.counters.resumes += 1;
                self.tell(Notice::Resumed { from, to: head });
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
        self.sync_if_due(now);
        self.reached();
        self.start_flush(Dialect::V1, now);
    }

    fn live(&mut self, attempt: AttemptId, dialect: Dialect) {
        let previous = std::mem::replace(
            &mut self.phase,
            Phase::Live(Live {
                attempt,
                dialect,
                probing: false,
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
    }

    fn start_flush(&mut self, dialect: Dialect, now: Time) {
        let before = self.outbox.len();
        self.outbox.connected(dialect, now, &mut self.out);
        if self.outbox.len() != before {
            self.tell(Notice::Outbox);
        }
        self.flush(now);
        self.arm_outbox();
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
                // An ack of another history than the position's says nothing about when it is shown.
                let place = self
                    .feed
                    .place()
                    .filter(|_| self.feed.has_set() && !matches!(epoch, EpochRef::Other(_)));
                self.outbox.acked(&id, seq, place, &mut self.out);
                self.outbox_moved(now);
            }
            Head::Nack {
                id,
                code,
                outcome,
                retry_after_ms,
            } => {
                if !self.feed.sync_refused(Some(&id), retry_after_ms, now) {
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
            }
            Head::Reset { epoch, seq } => {
                if let Some(from) = self.feed.position() {
                    self.counters.gaps += 1;
                    self.tell(Notice::Gap { from, to: seq });
                }
                self.out.push_back(Output::DiscardSnapshot);
                self.out.push_back(Output::OrdersStale);
                self.feed.reset(epoch, seq);
            }
            Head::Refused {
                code,
                retry_after_ms,
                ref_type,
            } => {
                let sync = ref_type.as_deref() == Some("orders:sync")
                    && self.feed.sync_refused(None, retry_after_ms, now);
                if !sync && code != tautline_protocol::NackCode::RateLimited {
                    self.tell(Notice::Error(failure(
                        ErrorCode::Protocol,
                        "the server could not use a message of ours",
                    )));
                }
            }
            Head::Degraded => self.tell(Notice::Degraded),
            Head::AuthSuccess {
                renewal: true,
                expires_in_ms,
                ..
            } => {
                if let Some(token) = self.renewal.pending.take() {
                    self.tokens.in_use = Some(token);
                }
                self.renewal.rejected = false;
                if let Some(life) = expires_in_ms {
                    self.arm_renewal(life, now);
                }
            }
            Head::AuthFailed { renewal: true, .. } => self.renewal_refused(now),
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
            && let Some((history, seq)) = self.feed.place()
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
        if self.feed.confirmed_at() == Some(now) {
            self.confirmed(now);
        }
        self.sync_if_due(now);
        if self.feed.is_syncing() {
            self.timers.set(Timer::SnapshotPart, now + SNAPSHOT_PART_MS);
        } else {
            self.timers.clear(Timer::SnapshotPart);
        }
    }

    fn confirmed(&mut self, now: Time) {
        if self.feed.confirmed_at().is_none() {
            return;
        }
        self.timers.set(
            Timer::Stale,
            now + self.stale_after_ms().min(LONGEST_TIMER_MS),
        );
        if std::mem::take(&mut self.stale) {
            self.tell(Notice::Fresh);
        }
    }

    pub(super) fn gone_stale(&mut self, now: Time) {
        let Some(at) = self.feed.confirmed_at() else {
            return;
        };
        let due = at + self.stale_after_ms();
        if now < due {
            return self.timers.set(Timer::Stale, due);
        }
        if !std::mem::replace(&mut self.stale, true) {
            self.tell(Notice::Stale);
        }
    }

    pub(super) fn malformed(&mut self, attempt: AttemptId) {
        if self.is_current(attempt) {
            self.tell(Notice::Error(Failure {
                stage: None,
                ..failure(
                    ErrorCode::Protocol,
                    "the server sent a frame that is no JSON object with a type",
                )
            }));
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
        if std::mem::replace(&mut live.probing, true) {
            return;
        }
        self.timers.set(Timer::Pong, now + PROBE_MS);
        self.ping(now);
    }

    pub(super) fn pong_late(&mut self, late_ms: u64, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        let probing = live.probing;
        if late_ms > SLEPT_MS {
            // The page did not run; what the socket had to say may still be waiting behind this timer.
            if probing {
                self.timers.set(Timer::Pong, now + PROBE_MS);
            }
            return self.ping(now);
        }
        self.hang_up(CloseCode::HEARTBEAT_LOST, "heartbeat lost");
        if probing {
            self.backoff.count();
            return self.dial(TokenReason::Connect, None, now);
        }
        self.retry(0, self.server.spread_ms, now);
    }

    // Renewal

    fn arm_renewal(&mut self, life_ms: u64, now: Time) {
        let lead = if life_ms < 60_000 {
            life_ms / 2
        } else {
            (life_ms / 10).max(30_000)
        };
        let mut at = now + (life_ms - lead);
        if let Some(last) = self.renewal.last {
            at = at.max(last + RENEWAL_EVERY_MS);
        }
        self.renew_at(at, now);
    }

    fn renew_at(&mut self, at: Time, now: Time) {
        self.renewal.at = Some(at);
        self.timers
            .set(Timer::Renew, at.min(now + LONGEST_TIMER_MS));
    }

    pub(super) fn renew(&mut self, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        let attempt = live.attempt;
        match self.renewal.at {
            Some(at) if now < at => return self.renew_at(at, now),
            None => return,
            Some(_) => {}
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
            // Close 4001 comes when the old one runs out; until then another try now and again.
            _ => self.renew_at(now + RENEWAL_EVERY_MS, now),
        }
    }

    pub(super) fn send_renewal(&mut self, token: Token, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
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
        self.tell(Notice::Error(Failure {
            stage: Some(Stage::Auth),
            ..failure(
                ErrorCode::AuthFailed,
                "the server refused the new token; the connection ends with the old one",
            )
        }));
        if !std::mem::replace(&mut self.renewal.rejected, true) {
            self.renew_at(now + RENEWAL_EVERY_MS, now);
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
        self.feed.want_set = true;
        if self.is_live() {
            self.feed.need_set();
            self.sync_if_due(now);
        }
    }

    pub(super) fn sync_if_due(&mut self, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        if !self.feed.wants_sync() {
            return self.timers.clear(Timer::Sync);
        }
        let (attempt, dialect) = (live.attempt, live.dialect);
        let at = self.feed.sync_not_before();
        if at > now {
            return self.timers.set(Timer::Sync, at);
        }
        let frame = match dialect {
            Dialect::Plain => {
                self.feed.asked_plain();
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

    pub(super) fn set_filter(&mut self, filter: Option<String>, now: Time) {
        if self.filter == filter {
            return;
        }
        let frame = match &filter {
            Some(filter) => client_frame::command("subscribe", Some(&self.ids.next()), filter),
            None => client_frame::command("unsubscribe", Some(&self.ids.next()), "{}"),
        };
        self.filter = filter;
        if let Phase::Live(live) = &self.phase
            && live.dialect == Dialect::V1
        {
            // Both are taken up in order: the snapshot that follows is of the new filter.
            self.out.push_back(Output::Send(live.attempt, frame));
            if self.feed.want_set {
                self.feed.need_sync(true);
                self.sync_if_due(now);
            }
        }
    }

    fn outbox_moved(&mut self, now: Time) {
        self.flush(now);
        self.arm_outbox();
        self.tell(Notice::Outbox);
    }

    pub(super) fn flush(&mut self, now: Time) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        let (attempt, dialect) = (live.attempt, live.dialect);
        let mut frames = Vec::new();
        let more_at = self
            .outbox
            .flush(dialect, now, |frame| frames.push(frame), &mut self.out);
        self.out
            .extend(frames.into_iter().map(|frame| Output::Send(attempt, frame)));
        match more_at {
            Some(at) => self.timers.set(Timer::Pace, at),
            None => self.timers.clear(Timer::Pace),
        }
    }

    pub(super) fn arm_outbox(&mut self) {
        match self.outbox.next_deadline() {
            Some(at) => self.timers.set(Timer::Outbox, at),
            None => self.timers.clear(Timer::Outbox),
        }
    }
}
