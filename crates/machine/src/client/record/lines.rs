//! One line an input or output: an array, an input's beginning with its time, an output's with its name.

use super::{PlainEvent, hash};
use crate::Time;
use crate::client::io::{
    Answer, Command, Config, EpochRef, Failure, Head, Input, Notice, Output, PageEvent, Token,
    TokenAnswer,
};
use std::collections::VecDeque;
use tautline_protocol::{CloseCode, Epoch, JsonList, JsonWriter, is_command_id};

/// Tokens told apart; more than the client remembers as refused.
const TOKENS: usize = 64;
/// As long as a type or an epoch is shown.
const SHOWN: usize = 64;

/// What stands for tokens, ids and other text that is not ours to show.
#[derive(Debug)]
pub(super) struct Names {
    verbatim: bool,
    /// What the client's own ids begin with: they are shown.
    own: String,
    /// Hashes of tokens, the newest last; a token's name is its number of all that came.
    tokens: VecDeque<u64>,
    forgotten: u64,
}

impl Names {
    pub(super) fn new(verbatim: bool, own: String) -> Self {
        Self {
            verbatim,
            own,
            tokens: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// An id: told apart, not shown. What is no id stays no id.
    pub(super) fn hidden(&self, id: &str) -> String {
        if self.verbatim || id.starts_with("sync-") || id.starts_with(&self.own) {
            id.to_owned()
        } else if is_command_id(id) {
            self.told_apart(id)
        } else {
            String::new()
        }
    }

    /// A snapshot's id: the number of a sync that we asked for is shown, it decides what the snapshot counts for.
    fn snapshot(&self, sync_id: &str) -> String {
        let number = sync_id.strip_prefix("sync-").unwrap_or_default();
        if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) {
            sync_id.to_owned()
        } else {
            self.told_apart(sync_id)
        }
    }

    pub(super) fn told_apart(&self, text: &str) -> String {
        if self.verbatim {
            return text.to_owned();
        }
        let mut name = String::from("~");
        let mut rest = hash(text);
        while rest > 0 {
            name.push(char::from(b'a' + (rest % 26) as u8));
            rest /= 26;
        }
        name
    }

    /// A filter: told apart, not shown.
    fn filter(&self, filter: Option<&str>) -> Option<String> {
        filter.map(|filter| self.filter_named(filter))
    }

    pub(super) fn filter_named(&self, filter: &str) -> String {
        if self.verbatim {
            return filter.to_owned();
        }
        let mut list = JsonList::default();
        list.u64(Some(hash(filter) >> 12));
        list.end()
    }

    /// A token's number.
    pub(super) fn token(&mut self, token: &Token) -> u64 {
        if self.verbatim {
            let digits = token.text().trim_matches(['[', ']']);
            return digits.parse().unwrap_or_default();
        }
        self.token_hashed(hash(token.text()))
    }

    pub(super) fn token_hashed(&mut self, hash: u64) -> u64 {
        if let Some(at) = self.tokens.iter().position(|&known| known == hash) {
            return self.forgotten + at as u64;
        }
        if self.tokens.len() == TOKENS {
            self.tokens.pop_front();
            self.forgotten += 1;
        }
        self.tokens.push_back(hash);
        self.forgotten + self.tokens.len() as u64 - 1
    }
}

/// A line being written. Its methods are called from a hundred places: inlined they would be twice the code.
struct Line(JsonList);

impl Line {
    fn output() -> Self {
        Self(JsonList::default())
    }

    fn input(now: Time) -> Self {
        let mut line = Self::output();
        line.n(now.as_ms());
        line
    }

    fn n(&mut self, number: impl Into<u64>) -> &mut Self {
        self.o(Some(number.into()))
    }

    #[inline(never)]
    fn o(&mut self, number: Option<u64>) -> &mut Self {
        self.0.u64(number);
        self
    }

    #[inline(never)]
    fn b(&mut self, yes: bool) -> &mut Self {
        self.o(Some(u64::from(yes)))
    }

    #[inline(never)]
    fn s(&mut self, text: &str) -> &mut Self {
        self.t(Some(text))
    }

    #[inline(never)]
    fn t(&mut self, text: Option<&str>) -> &mut Self {
        self.0.str(text);
        self
    }

    fn end(self) -> String {
        self.0.end()
    }
}

/// What the server names as it likes is shown as far as it is short.
fn shown(text: &str) -> &str {
    if text.len() <= SHOWN { text } else { "?" }
}

/// The options that the machine decides by.
pub(super) fn config(config: &Config) -> String {
    JsonWriter::object()
        .bool("has_token", config.has_token)
        .u64("addresses", config.addresses as u64)
        .u64("reconnect_interval_ms", config.reconnect_interval_ms)
        .u64("max_reconnect_delay_ms", config.max_reconnect_delay_ms)
        .opt_u64(
            "max_reconnect_attempts",
            config.max_reconnect_attempts.map(u64::from),
        )
        .u64("connect_timeout_ms", config.connect_timeout_ms)
        .u64("heartbeat_interval_ms", config.heartbeat_interval_ms)
        .u64("pong_timeout_ms", config.pong_timeout_ms)
        .u64("outbox_limit", config.outbox_limit as u64)
        .u64("outbox_bytes", config.outbox_bytes as u64)
        .u64("outbox_ttl_ms", config.outbox_ttl_ms)
        .bool("outbox_stored", config.outbox_stored)
        .u64("auth_probe_interval_ms", config.auth_probe_interval_ms)
        .opt_u64("stale_after_ms", config.stale_after_ms)
        .end()
}

pub(super) fn event(event: &PlainEvent, now: Time) -> String {
    let mut line = Line::input(now);
    line.s("event")
        .n(event.attempt.0)
        .o(event.seq)
        .t(event.current.then_some("="))
        .t(event.command.as_deref());
    line.end()
}

/// A call of `send`: the size of the payload, not what it says.
pub(super) fn send(command: &Command, now: Time, names: &Names) -> String {
    let id = command.id.as_deref().map(|id| names.hidden(id));
    let mut line = Line::input(now);
    line.s("send")
        .s(shown(&command.kind))
        .t(id.as_deref())
        .n(command.payload.len() as u64)
        .o(command.ttl_ms)
        .o(command.timeout_ms)
        .b(command.until_shown);
    if let Some(at) = command.sent_at {
        line.n(at.as_ms());
    }
    line.end()
}

/// A call of `cancel`.
pub(super) fn cancel(id: &str, now: Time, names: &Names) -> String {
    let mut line = Line::input(now);
    line.s("cancel").s(&names.hidden(id));
    line.end()
}

/// A call of `set_filter`.
pub(super) fn set_filter(filter: Option<&str>, now: Time, names: &Names) -> String {
    let mut line = Line::input(now);
    line.s("setFilter").t(names.filter(filter).as_deref());
    line.end()
}

pub(super) fn input(input: &Input, now: Time, names: &mut Names) -> String {
    let mut line = Line::input(now);
    let l = &mut line;
    match input {
        Input::Tick => l.s("tick"),
        Input::Connect(waiter) => l.s("connect").n(waiter.0),
        Input::Abandon(waiter) => l.s("abandon").n(waiter.0),
        Input::Disconnect => l.s("disconnect"),
        Input::ReconnectNow => l.s("reconnectNow"),
        Input::Dispose => l.s("dispose"),
        Input::SetToken(token) => l.s("setToken").n(names.token(token)),
        Input::Url(attempt, usable) => l.s("url").n(attempt.0).b(*usable),
        Input::Token(attempt, answer) => {
            let l = l.s("token").n(attempt.0);
            match answer {
                TokenAnswer::Token(token) => l.n(names.token(token)),
                TokenAnswer::None => l.o(None),
                TokenAnswer::Failed => l.s("failed"),
            }
        }
        Input::Opened(attempt) => l.s("opened").n(attempt.0),
        Input::Frame(attempt, head) => frame(attempt.0, head, l, names),
        Input::Malformed(attempt) => l.s("malformed").n(attempt.0),
        Input::Closed(attempt, closed) => l
            .s("closed")
            .n(attempt.0)
            .n(closed.code.0)
            .o(CloseCode::reconnect_after_ms(&closed.reason))
            .b(closed.was_clean),
        Input::Health(attempt, reachable) => l.s("health").n(attempt.0).b(*reachable),
        Input::Page(event) => l.s("page").s(page(*event)),
        Input::WantOrders(want) => l.s("wantOrders").b(*want),
        Input::RequestSync => l.s("requestSync"),
        Input::SetFilter(filter) => l.s("filter").t(names.filter(filter.as_deref()).as_deref()),
        Input::ResumeFrom(epoch, seq) => l.s("resumeFrom").s(epoch_name(epoch)).n(*seq),
        Input::Writable(attempt, writable) => l.s("writable").n(attempt.0).b(*writable),
        Input::Stored { id, sent, kept } => l.s("stored").s(&names.hidden(id)).b(*sent).b(*kept),
        Input::Adopted {
            answer,
            entries,
            lost,
        } => {
            l.s("adopted").b(*answer).n(lost.len() as u64);
            for id in lost {
                l.s(&names.hidden(id));
            }
            for entry in entries {
                l.s(&names.hidden(&entry.id))
                    .s(shown(&entry.kind))
                    .n(entry.payload.len() as u64)
                    .n(entry.ttl_ms)
                    .n(entry.age_ms)
                    .o(entry.sent_age_ms);
            }
            l
        }
    };
    line.end()
}

fn page(event: PageEvent) -> &'static str {
    match event {
        PageEvent::Online => "online",
        PageEvent::Offline => "offline",
        PageEvent::Visible => "visible",
        PageEvent::Hidden => "hidden",
        PageEvent::Resumed => "resumed",
        PageEvent::Suspended => "suspended",
        PageEvent::Shown => "shown",
    }
}

fn epoch_name(epoch: &Epoch) -> &str {
    shown(epoch.as_str())
}

/// `=` is the one in force; another has `!` before its name.
fn epoch_ref(epoch: &EpochRef) -> Option<String> {
    match epoch {
        EpochRef::None => None,
        EpochRef::Current => Some(String::from("=")),
        EpochRef::Other(epoch) => {
            let mut name = String::from("!");
            name.push_str(epoch_name(epoch));
            Some(name)
        }
    }
}

fn frame<'a>(attempt: u32, head: &Head, l: &'a mut Line, names: &Names) -> &'a mut Line {
    match head {
        Head::Connected {
            auth_required,
            heartbeat_ms,
            max_message,
        } => l
            .s("connected")
            .n(attempt)
            .b(*auth_required)
            .o(*heartbeat_ms)
            .o(max_message.map(u64::from)),
        Head::AuthSuccess {
            v1,
            renewal,
            epoch,
            seq,
            resumed,
            view,
            expires_in_ms,
            dedupe_ms,
            limits,
            reconnect_spread_ms,
        } => l
            .s("auth:success")
            .n(attempt)
            .b(*v1)
            .b(*renewal)
            .t(epoch.as_ref().map(epoch_name))
            .o(*seq)
            .b(*resumed)
            .t(view
                .as_deref()
                .map(|view| names.told_apart(view))
                .as_deref())
            .o(*expires_in_ms)
            .o(*dedupe_ms)
            .o(limits.map(|limits| limits.rate_per_s.into()))
            .o(limits.map(|limits| limits.burst.into()))
            .o(limits.map(|limits| limits.max_message.into()))
            .o(*reconnect_spread_ms),
        Head::AuthFailed { code, renewal } => {
            l.s("auth:failed").n(attempt).s(code.as_str()).b(*renewal)
        }
        Head::Pong {
            timestamp,
            seq,
            reconnect_spread_ms,
        } => l
            .s("pong")
            .n(attempt)
            .o(*timestamp)
            .o(*seq)
            .o(*reconnect_spread_ms),
        Head::Event {
            seq,
            epoch,
            command_id,
        } => l
            .s("event")
            .n(attempt)
            .o(*seq)
            .t(epoch_ref(epoch).as_deref())
            .t(command_id.as_deref().map(|id| names.hidden(id)).as_deref()),
        Head::Cursor { epoch, from, to } => l
            .s("cursor")
            .n(attempt)
            .t(epoch_ref(epoch).as_deref())
            .n(*from)
            .n(*to),
        Head::Ack { id, seq, epoch } => l
            .s("ack")
            .n(attempt)
            .s(&names.hidden(id))
            .o(*seq)
            .t(epoch_ref(epoch).as_deref()),
        Head::Nack {
            id,
            code,
            outcome,
            retry_after_ms,
        } => l
            .s("nack")
            .n(attempt)
            .s(&names.hidden(id))
            .s(code.as_str())
            .s(outcome.as_str())
            .o(*retry_after_ms),
        Head::SyncResumed { epoch, seq } => {
            l.s("syncResumed").n(attempt).s(epoch_name(epoch)).n(*seq)
        }
        Head::SnapshotPart {
            sync_id,
            epoch,
            seq,
            part,
            parts,
        } => l
            .s("part")
            .n(attempt)
            .s(&names.snapshot(sync_id))
            .s(epoch_name(epoch))
            .n(*seq)
            .n(*part)
            .n(*parts),
        Head::PlainSync { has_orders } => l.s("plainSync").n(attempt).b(*has_orders),
        Head::SyncAborted => l.s("syncAborted").n(attempt),
        Head::Reset { epoch, seq } => l.s("reset").n(attempt).s(epoch_name(epoch)).n(*seq),
        Head::Refused {
            code,
            retry_after_ms,
            ref_type,
        } => l
            .s("refused")
            .n(attempt)
            .s(code.as_str())
            .o(*retry_after_ms)
            .t(ref_type.as_deref().map(shown)),
        Head::Degraded { .. } => l.s("degraded").n(attempt),
    }
}

pub(super) fn output(output: &Output, names: &Names) -> String {
    let mut line = Line::output();
    let l = &mut line;
    match output {
        Output::ResolveUrl(attempt, address) => l.s("resolveUrl").n(attempt.0).n(*address as u64),
        Output::FetchToken {
            attempt,
            reason,
            number,
        } => l.s("fetchToken").n(attempt.0).s(reason.as_str()).n(*number),
        Output::Open(attempt) => l.s("open").n(attempt.0),
        Output::Send(attempt, text) => l.s("write").n(attempt.0).s(written(text)),
        Output::Close(attempt, code, _) => l.s("close").n(attempt.0).n(code.0),
        Output::Drop(attempt) => l.s("drop").n(attempt.0),
        Output::ProbeHealth(attempt) => l.s("probeHealth").n(attempt.0),
        Output::Settle(waiter, result) => l.s("settle").n(waiter.0).t(failed(result)),
        Output::Deliver { seq } => l.s("deliver").o(*seq),
        Output::CollectSnapshot { first } => l.s("collect").b(*first),
        Output::InstallSnapshot { seq } => l.s("install").o(*seq),
        Output::DiscardSnapshot => l.s("discard"),
        Output::OrdersStale => l.s("ordersStale"),
        Output::Keep(id) => l.s("keep").s(&names.hidden(id)),
        Output::Settled(id, answer) => answered(l.s("settled").s(&names.hidden(id)), answer),
        Output::Store { id, sent } => l.s("store").s(&names.hidden(id)).b(*sent),
        Output::Unstore(id) => l.s("unstore").s(&names.hidden(id)),
        Output::SetAside(id, answer) => answered(l.s("setAside").s(&names.hidden(id)), answer),
        Output::Adopt => l.s("adopt"),
        Output::Tell(notice) => told(notice, l),
        Output::Wait(_) => l.s("wait"),
    };
    line.end()
}

fn answered<'a>(l: &'a mut Line, answer: &Answer) -> &'a mut Line {
    match answer {
        Answer::Acked { seq } => l.s("acked").o(*seq),
        Answer::Confirmed { seq } => l.s("confirmed").o(*seq),
        Answer::Written => l.s("written"),
        Answer::Nacked { code, .. } => l.s("nacked").s(code.as_str()),
        Answer::Failed { code, outcome } => l.s(code.as_str()).s(outcome.as_str()),
    }
}

/// The type of a frame of ours: the writers begin with it.
fn written(text: &str) -> &str {
    let rest = text.strip_prefix("{\"type\":\"").unwrap_or_default();
    rest.split('"').next().map_or("", shown)
}

fn failed(result: &Result<(), Failure>) -> Option<&'static str> {
    result.as_ref().err().map(|failure| failure.code.as_str())
}

fn told<'a>(notice: &Notice, l: &'a mut Line) -> &'a mut Line {
    match notice {
        Notice::State(state) => l.s("state").s(state.as_str()),
        Notice::Connected => l.s("told").s("connected"),
        Notice::Disconnected {
            closed,
            will_reconnect,
        } => l.s("disconnected").n(closed.code.0).b(*will_reconnect),
        Notice::Reconnecting { attempt, delay_ms } => l.s("reconnecting").n(*attempt).n(*delay_ms),
        Notice::MaxReconnectAttemptsReached => l.s("told").s("maxReconnectAttemptsReached"),
        Notice::Resumed { from, to } => l.s("resumed").n(*from).n(*to),
        Notice::Gap { from, to } => l.s("gap").n(*from).n(*to),
        Notice::Stale => l.s("told").s("stale"),
        Notice::Fresh => l.s("told").s("fresh"),
        Notice::Degraded { .. } => l.s("told").s("degraded"),
        Notice::Latency { rtt_ms } => l.s("latency").n(*rtt_ms),
        Notice::Error(failure) => l.s("error").s(failure.code.as_str()),
        Notice::Outbox => l.s("outbox"),
    }
}
