//! How a connection comes about, and what its end means (`docs/protocol.md` §1, Close codes, Backoff).

use super::core::{Client, Dial, DialStage, Phase, failure};
use super::io::{
    AttemptId, Closed, ConnectionState, Failure, Notice, Output, Timer, Token, TokenAnswer,
    TokenReason, WaiterId,
};
use crate::Time;
use tautline_protocol::client_frame::{self, Auth};
use tautline_protocol::{AuthCode, CloseAction, CloseCode, Dialect, ErrorCode, Stage};

/// How long `getToken` may take.
const TOKEN_MS: u64 = 10_000;
/// How long a server may take to say `connected`; then `auth` is sent all the same.
const GREETING_MS: u64 = 2_000;
/// Between two backoffs cut short by a sign of waking.
const CUT_EVERY_MS: u64 = 5_000;
/// A dial older than this is begun anew when the page wakes: what it waits for may have slept too.
const STALE_DIAL_MS: u64 = 3_000;

impl Client {
    /// `connect()`.
    pub(super) fn wanted(&mut self, waiter: WaiterId, now: Time) {
        match &self.phase {
            Phase::Live(_) => self.out.push_back(Output::Settle(waiter, Ok(()))),
            Phase::Dialling(_) | Phase::Waiting { .. } | Phase::Suspended { .. } => {
                self.waiters.push(waiter)
            }
            Phase::Idle | Phase::Failed => {
                self.waiters.push(waiter);
                self.backoff.reset();
                self.dial(TokenReason::Connect, None, now);
            }
            Phase::Refused { .. } => {
                self.waiters.push(waiter);
                self.probe_token(now);
            }
            Phase::Disposed => {}
        }
    }

    /// Begins an attempt: url, token (unless given), socket, auth.
    pub(super) fn dial(&mut self, reason: TokenReason, token: Option<Token>, now: Time) {
        for timer in [Timer::Backoff, Timer::AuthProbe, Timer::Token] {
            self.timers.clear(timer);
        }
        let reason = match reason {
            TokenReason::Connect if self.tokens.expired => TokenReason::Expired,
            reason => reason,
        };
        self.attempts += 1;
        let attempt = AttemptId(self.attempts);
        self.phase = Phase::Dialling(Dial {
            attempt,
            stage: DialStage::Url,
            started: now,
            reason,
            token,
            refused: None,
        });
        self.timers
            .set(Timer::Attempt, now + self.config.connect_timeout_ms);
        let again = self.was_connected || self.backoff.failures() > 0;
        self.set_state(if again {
            ConnectionState::Reconnecting
        } else {
            ConnectionState::Connecting
        });
        let address = self.addresses.choose(now);
        self.out.push_back(Output::ResolveUrl(attempt, address));
    }

    pub(super) fn url_resolved(&mut self, attempt: AttemptId, usable: bool, now: Time) {
        if !self.is_current(attempt) {
            return;
        }
        let Phase::Dialling(dial) = &mut self.phase else {
            return;
        };
        if dial.stage != DialStage::Url {
            return;
        }
        if !usable {
            return self.attempt_failed(
                ErrorCode::ConnectFailed,
                "the url option gave no usable WebSocket URL",
                now,
            );
        }
        if dial.token.is_none() {
            dial.token = self.tokens.given(!self.config.has_token);
        }
        if dial.token.is_some() || !self.config.has_token {
            dial.stage = DialStage::Socket;
            return self.out.push_back(Output::Open(attempt));
        }
        dial.stage = DialStage::Token;
        let reason = dial.reason;
        self.fetch_token(attempt, reason, now);
    }

    pub(super) fn fetch_token(&mut self, attempt: AttemptId, reason: TokenReason, now: Time) {
        self.timers.set(Timer::Token, now + TOKEN_MS);
        self.out.push_back(Output::FetchToken {
            attempt,
            reason,
            number: self.backoff.failures() + 1,
        });
    }

    pub(super) fn token_fetched(&mut self, attempt: AttemptId, answer: TokenAnswer, now: Time) {
        if !self.is_current(attempt) {
            return;
        }
        match &mut self.phase {
            Phase::Live(_) => self.renewal_token(answer, now),
            Phase::Refused { .. } => self.probed(answer, now),
            Phase::Dialling(dial) if dial.stage == DialStage::Token => {
                self.timers.clear(Timer::Token);
                match answer {
                    TokenAnswer::Token(token) if !self.tokens.is_refused(&token) => {
                        dial.token = Some(token);
                        dial.stage = DialStage::Socket;
                        self.out.push_back(Output::Open(attempt));
                    }
                    // The same value as the refused one: it is never sent again, but another may be had once.
                    TokenAnswer::Token(_) if !self.tokens.asked_after_rejection => {
                        self.tokens.asked_after_rejection = true;
                        self.fetch_token(attempt, TokenReason::Rejected, now);
                    }
                    TokenAnswer::Token(_) => {
                        self.out.push_back(Output::Drop(attempt));
                        self.refused(
                            ErrorCode::AuthFailed,
                            "getToken gave a token that the server has refused; sign in again",
                            None,
                            now,
                        );
                    }
                    TokenAnswer::None => {
                        self.attempt_failed(ErrorCode::ConnectFailed, "getToken gave no token", now)
                    }
                    TokenAnswer::Failed => {
                        self.attempt_failed(ErrorCode::ConnectFailed, "getToken failed", now)
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn token_given(&mut self, token: Token, now: Time) {
        if self.tokens.is_refused(&token) {
            return;
        }
        // Should it be refused, that says nothing of what `getToken` gives.
        self.tokens.asked_after_rejection = false;
        if !self.config.has_token {
            // Nobody else will give one: it serves for the next connections too.
            self.tokens.preset = Some(token.clone());
        }
        match &self.phase {
            Phase::Live(live) if live.dialect == Dialect::V1 => {
                if self.config.has_token {
                    // One given before it is not to be taken up after it, nor one that was asked for before.
                    self.tokens.preset = None;
                    self.renewal.fetching = false;
                    self.timers.clear(Timer::Token);
                }
                self.send_renewal(token, now);
            }
            Phase::Refused { probing, .. } => {
                if let Some(attempt) = probing {
                    self.out.push_back(Output::Drop(*attempt));
                }
                self.dial(TokenReason::Connect, Some(token), now);
            }
            _ => self.tokens.preset = Some(token),
        }
    }

    pub(super) fn opened(&mut self, attempt: AttemptId, now: Time) {
        if !self.is_current(attempt) {
            return;
        }
        let Phase::Dialling(dial) = &mut self.phase else {
            return;
        };
        if dial.stage == DialStage::Socket {
            dial.stage = DialStage::Greeting;
            self.unopened = 0;
            self.timers.set(Timer::Greeting, now + GREETING_MS);
        }
    }

    /// The server greeted, or took too long to: sends `auth`, or goes on without where none is asked for.
    pub(super) fn greeted(&mut self, auth_required: bool, now: Time) {
        self.timers.clear(Timer::Greeting);
        let Phase::Dialling(dial) = &mut self.phase else {
            return;
        };
        if dial.stage != DialStage::Greeting {
            return;
        }
        let attempt = dial.attempt;
        if !auth_required {
            return self.connected_plain(attempt, now);
        }
        let Some(token) = &dial.token else {
            self.hang_up(CloseCode::NORMAL, "Client disconnect");
            return self.token_missing(now);
        };
        dial.stage = DialStage::Auth;
        let (resume, sync) = self.feed.for_auth();
        let frame = client_frame::auth(Auth {
            token: token.text(),
            restaurant_id: self.config.restaurant_id.as_deref(),
            resume,
            sync,
            subscribe: self.filters.for_auth(),
            client: self.config.client.as_deref(),
        });
        self.out.push_back(Output::Send(attempt, frame));
    }

    pub(super) fn token_missing(&mut self, now: Time) {
        self.refused(
            ErrorCode::AuthFailed,
            "the server asks for a token; give a getToken option",
            None,
            now,
        );
    }

    pub(super) fn greeting_late(&mut self, now: Time) {
        let has_token = matches!(&self.phase, Phase::Dialling(dial) if dial.token.is_some());
        self.greeted(has_token, now);
    }

    /// The socket closed, or never opened.
    pub(super) fn closed(&mut self, attempt: AttemptId, closed: Closed, now: Time) {
        if !self.is_current(attempt) {
            return;
        }
        self.out.push_back(Output::Drop(attempt));
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Dialling(dial) => self.dial_closed(dial, closed, now),
            Phase::Live(_) => {
                self.connection_over();
                let barred = match closed.code.action() {
                    CloseAction::Forbidden => true,
                    CloseAction::TokenExpired => !self.may_have_another_token(),
                    _ => false,
                };
                self.tell(Notice::Disconnected {
                    closed: closed.clone(),
                    will_reconnect: closed.is_hand_over() || (!barred && !self.attempts_used_up()),
                });
                self.lost(closed, true, now);
            }
            other => self.phase = other,
        }
    }

    fn dial_closed(&mut self, dial: Dial, closed: Closed, now: Time) {
        self.connection_over();
        match dial.refused {
            Some(AuthCode::TokenInvalid | AuthCode::TokenExpired | AuthCode::IdentityChanged) => {
                if let Some(token) = &dial.token {
                    self.tokens.refuse(token);
                }
                if self.config.has_token && !self.tokens.asked_after_rejection {
                    self.tokens.asked_after_rejection = true;
                    self.backoff.count();
                    return self.dial(TokenReason::Rejected, None, now);
                }
                self.refused(
                    ErrorCode::AuthFailed,
                    "the server refused the token; sign in again",
                    Some(closed),
                    now,
                );
            }
            Some(AuthCode::RestaurantForbidden | AuthCode::RoleUnknown) => {
                self.forbid(
                    &dial,
                    closed,
                    "the server does not allow this restaurant or role to this token",
                    now,
                );
            }
            Some(AuthCode::RestaurantRequired) => {
                self.forbid(
                    &dial,
                    closed,
                    "the token names several restaurants; give the restaurantId option",
                    now,
                );
            }
            None => {
                if dial.stage == DialStage::Socket {
                    self.count_unopened(dial.attempt);
                }
                if closed.is_hand_over() {
                    return self.dial(TokenReason::Connect, dial.token, now);
                }
                if closed.code.action() == CloseAction::Forbidden {
                    return self.forbid(
                        &dial,
                        closed,
                        "the server does not allow this restaurant or role to this token",
                        now,
                    );
                }
                if !self.failed_over(now) {
                    self.lost(closed, false, now);
                }
            }
        }
    }

    fn forbid(&mut self, dial: &Dial, closed: Closed, message: &'static str, now: Time) {
        if let Some(token) = &dial.token {
            self.tokens.refuse(token);
        }
        self.refused(ErrorCode::AuthForbidden, message, Some(closed), now);
    }

    /// Three sockets in a row that never opened: one look at `/healthz` tells "down" from "refused".
    fn count_unopened(&mut self, attempt: AttemptId) {
        self.unopened += 1;
        if self.unopened.is_multiple_of(3) {
            self.out.push_back(Output::ProbeHealth(attempt));
        }
    }

    pub(super) fn health(&mut self, attempt: AttemptId, reachable: bool) {
        if attempt.0 > self.attempts || self.unopened < 3 || self.is_live() {
            return;
        }
        let message = if reachable {
            "the server answers, but refuses the WebSocket: check its address, the allowed origins, or a proxy in between"
        } else {
            "the server cannot be reached"
        };
        self.tell(Notice::Error(Failure {
            stage: Some(Stage::Socket),
            ..failure(ErrorCode::ConnectFailed, message)
        }));
    }

    /// A close by the table of `docs/protocol.md` §1.
    fn lost(&mut self, closed: Closed, was_live: bool, now: Time) {
        let spread = self
            .server
            .spread_ms
            .filter(|_| was_live && closed.code.is_abnormal());
        if closed.is_hand_over() {
            // Neither the server nor the token has failed.
            let token = self.tokens.in_use.clone();
            return self.dial(TokenReason::Connect, token, now);
        }
        let action = closed.code.action();
        if was_live && matches!(action, CloseAction::Backoff { .. } | CloseAction::Restart) {
            self.addresses.failed(now);
        }
        match action {
            CloseAction::Backoff { at_least_ms } => self.retry(at_least_ms, spread, now),
            CloseAction::Report => {
                self.tell(Notice::Error(Failure {
                    close: Some(closed),
                    ..failure(
                        ErrorCode::Protocol,
                        "the server closed the connection for what was sent to it",
                    )
                }));
                self.retry(0, None, now);
            }
            CloseAction::AuthRefused => {
                self.tell(Notice::Error(Failure {
                    close: Some(closed),
                    ..failure(ErrorCode::Protocol, "closed by policy (1008) without auth:failed; a proxy or another server may be in between")
                }));
                self.retry(30_000, None, now);
            }
            CloseAction::Forbidden => {
                if let Some(token) = self.tokens.in_use.take() {
                    self.tokens.refuse(&token);
                }
                self.refused(
                    ErrorCode::AuthForbidden,
                    "the server no longer allows this restaurant or role to this token",
                    Some(closed),
                    now,
                );
            }
            CloseAction::TokenExpired => {
                if !self.may_have_another_token() {
                    if let Some(token) = self.tokens.in_use.take() {
                        self.tokens.refuse(&token);
                    }
                    return self.refused(
                        ErrorCode::AuthExpired,
                        "the token ran out; give a new one with setToken(), or a getToken option",
                        Some(closed),
                        now,
                    );
                }
                self.tokens.expired = true;
                if self.backoff.failures() == 0 {
                    return self.redial(now);
                }
                self.retry(0, None, now);
            }
            CloseAction::Restart => match CloseCode::reconnect_after_ms(&closed.reason) {
                Some(after) => {
                    if self.given_up() {
                        return;
                    }
                    self.backoff.count();
                    let delay = after + self.rng.between(0, after / 4);
                    self.wait(delay, after, now);
                }
                None => self.retry(0, self.server.spread_ms, now),
            },
            CloseAction::SlowConsumer => {
                let at_least = 2_000u64 << self.slow_repeats.min(5);
                self.slow_repeats += 1;
                self.retry(at_least, None, now);
            }
        }
    }

    /// Whether a token may be had that is not the one that ran out.
    fn may_have_another_token(&self) -> bool {
        self.config.has_token || self.tokens.has_another()
    }

    pub(super) fn attempts_used_up(&self) -> bool {
        self.config
            .max_reconnect_attempts
            .is_some_and(|max| self.backoff.failures() >= max)
    }

    /// The end of attempts, if they are used up.
    fn given_up(&mut self) -> bool {
        if !self.attempts_used_up() {
            return false;
        }
        self.phase = Phase::Failed;
        self.timers.clear(Timer::Backoff);
        self.set_state(ConnectionState::Error);
        self.tell(Notice::MaxReconnectAttemptsReached);
        self.settle_waiters(&Err(failure(
            ErrorCode::ConnectFailed,
            "all attempts to connect failed; call connect() to start anew",
        )));
        true
    }

    /// The server could not be reached at this address. Where another has not failed of late it is tried at once: how clients
    /// return is spread before the first of them, and each failure leaves one less.
    fn failed_over(&mut self, now: Time) -> bool {
        self.addresses.failed(now);
        let another = self.addresses.has_unfailed(now);
        if another {
            self.dial(TokenReason::Connect, None, now);
        }
        another
    }

    /// Another attempt without a wait.
    pub(super) fn redial(&mut self, now: Time) {
        if !self.given_up() {
            self.backoff.count();
            self.dial(TokenReason::Connect, None, now);
        }
    }

    /// Another attempt after the backoff, or the end of attempts.
    pub(super) fn retry(&mut self, at_least_ms: u64, spread_ms: Option<u64>, now: Time) {
        if self.given_up() {
            return;
        }
        let delay = self.backoff.next_ms(at_least_ms, spread_ms, &mut self.rng);
        self.wait(delay, at_least_ms, now);
    }

    pub(super) fn wait(&mut self, delay_ms: u64, at_least_ms: u64, now: Time) {
        self.phase = Phase::Waiting {
            not_before: now + at_least_ms,
        };
        self.timers.set(Timer::Backoff, now + delay_ms);
        self.set_state(ConnectionState::Reconnecting);
        self.tell(Notice::Reconnecting {
            attempt: self.backoff.failures(),
            delay_ms,
        });
    }

    /// The attempt under way cannot go on; the next one follows.
    pub(super) fn attempt_failed(&mut self, code: ErrorCode, message: &'static str, now: Time) {
        let Phase::Dialling(dial) = &self.phase else {
            return;
        };
        let (attempt, stage, was_refused) = (dial.attempt, dial.stage, dial.refused.is_some());
        self.hang_up(CloseCode::CONNECT_TIMEOUT, "connect timeout");
        if was_refused
            && let Phase::Dialling(dial) = std::mem::replace(&mut self.phase, Phase::Idle)
        {
            // `auth:failed` without the close that should follow it.
            let closed = Closed {
                code: CloseCode::POLICY,
                reason: String::new(),
                was_clean: false,
            };
            return self.dial_closed(dial, closed, now);
        }
        if stage == DialStage::Socket {
            self.count_unopened(attempt);
        }
        self.connection_over();
        self.tell(Notice::Error(Failure {
            stage: Some(stage.reported()),
            ..failure(code, message)
        }));
        if !stage.has_socket() || !self.failed_over(now) {
            self.retry(0, None, now);
        }
    }

    /// State `error` for auth: only a token not yet refused leads out of it.
    pub(super) fn refused(
        &mut self,
        code: ErrorCode,
        message: &'static str,
        close: Option<Closed>,
        now: Time,
    ) {
        self.connection_over();
        self.timers.clear(Timer::Backoff);
        self.phase = Phase::Refused {
            code,
            probing: None,
        };
        self.arm_auth_probe(now);
        let failure = Failure {
            code,
            message,
            stage: Some(Stage::Auth),
            close,
        };
        self.set_state(ConnectionState::Error);
        self.tell(Notice::Error(failure.clone()));
        self.settle_waiters(&Err(failure));
    }

    fn arm_auth_probe(&mut self, now: Time) {
        let interval = self.config.auth_probe_interval_ms;
        if interval > 0 && self.config.has_token {
            self.timers.set(Timer::AuthProbe, now + interval);
        }
    }

    /// Asks for a token again without leaving state `error`.
    pub(super) fn probe_token(&mut self, now: Time) {
        let has_token = self.config.has_token;
        let Phase::Refused { code, probing } = &mut self.phase else {
            return;
        };
        if !has_token {
            let code = *code;
            return self.settle_waiters(&Err(failure(
                code,
                "the server refused; give a token with setToken() or a getToken option",
            )));
        }
        if probing.is_some() {
            return;
        }
        self.attempts += 1;
        let attempt = AttemptId(self.attempts);
        *probing = Some(attempt);
        self.timers.clear(Timer::AuthProbe);
        self.fetch_token(attempt, TokenReason::Rejected, now);
    }

    fn probed(&mut self, answer: TokenAnswer, now: Time) {
        self.timers.clear(Timer::Token);
        let Phase::Refused { code, probing } = &mut self.phase else {
            return;
        };
        *probing = None;
        let code = *code;
        match answer {
            TokenAnswer::Token(token) if !self.tokens.is_refused(&token) => {
                self.dial(TokenReason::Connect, Some(token), now)
            }
            _ => {
                self.arm_auth_probe(now);
                self.settle_waiters(&Err(failure(
                    code,
                    "no token that the server has not refused already; sign in again",
                )));
            }
        }
    }

    /// `getToken` took too long: the same as if it had failed.
    pub(super) fn token_late(&mut self, now: Time) {
        match &self.phase {
            Phase::Refused { probing, .. } => {
                if let Some(attempt) = probing {
                    self.out.push_back(Output::Drop(*attempt));
                }
                self.probed(TokenAnswer::Failed, now);
            }
            Phase::Live(_) => self.renewal_token(TokenAnswer::Failed, now),
            _ => self.attempt_failed(
                ErrorCode::ConnectTimeout,
                "getToken took longer than 10 s",
                now,
            ),
        }
    }

    /// A sign that the page runs again: what may have died meanwhile is probed or begun anew.
    pub(super) fn wake(&mut self, now: Time) {
        match &self.phase {
            Phase::Live(_) => self.probe(now),
            Phase::Waiting { not_before } => {
                let at = *not_before;
                if self.may_cut(now) {
                    self.last_cut = Some(now);
                    if at <= now {
                        self.dial(TokenReason::Connect, None, now)
                    } else {
                        self.timers.set(Timer::Backoff, at)
                    }
                }
            }
            Phase::Dialling(dial) if now - dial.started > STALE_DIAL_MS && self.may_cut(now) => {
                self.last_cut = Some(now);
                let reason = dial.reason;
                self.hang_up(CloseCode::CONNECT_TIMEOUT, "connect timeout");
                self.connection_over();
                self.dial(reason, None, now);
            }
            Phase::Refused { .. } => self.probe_token(now),
            Phase::Idle
            | Phase::Dialling(_)
            | Phase::Failed
            | Phase::Suspended { .. }
            | Phase::Disposed => {}
        }
    }

    fn may_cut(&self, now: Time) -> bool {
        self.last_cut.is_none_or(|at| now - at >= CUT_EVERY_MS)
    }

    /// `reconnectNow()`: the wait is over, whatever it was for.
    pub(super) fn reconnect_now(&mut self, now: Time) {
        match &self.phase {
            Phase::Waiting { .. } | Phase::Failed => self.dial(TokenReason::Connect, None, now),
            Phase::Refused { .. } => self.probe_token(now),
            Phase::Live(_) => self.probe(now),
            Phase::Idle | Phase::Dialling(_) | Phase::Suspended { .. } | Phase::Disposed => {}
        }
    }

    /// A timer's time has come, `late_ms` ago.
    pub(super) fn fire(&mut self, timer: Timer, late_ms: u64, now: Time) {
        match timer {
            Timer::Attempt => self.attempt_failed(
                ErrorCode::ConnectTimeout,
                "connecting took longer than connectTimeout",
                now,
            ),
            Timer::Greeting => self.greeting_late(now),
            Timer::Token => self.token_late(now),
            Timer::Backoff => self.dial(TokenReason::Connect, None, now),
            Timer::Heartbeat => self.ping(now),
            Timer::Pong => self.pong_late(late_ms, now),
            Timer::Settled => {
                self.backoff.reset();
                self.addresses.held();
                self.slow_repeats = 0;
            }
            Timer::Renew => self.renew(now),
            Timer::Stale => self.gone_stale(),
            Timer::Sync => self.sync_if_due(now),
            Timer::SnapshotPart => {
                self.out.push_back(Output::DiscardSnapshot);
                self.feed.sync_lost();
                self.sync_if_due(now);
            }
            Timer::Outbox => {
                self.outbox.expire(now, &mut self.out);
                self.arm_outbox();
                self.tell(Notice::Outbox);
            }
            Timer::Pace => {
                self.flush_on(now);
                self.sync_if_due(now);
            }
            Timer::AuthProbe => self.probe_token(now),
        }
    }
}
