//! What a client has been through, kept small enough to be kept always: its last inputs and outputs without payloads,
//! tokens or addresses, and a state to play them from again.
//!
//! It is written in two segments. When the second is half of what is kept and the machine is at rest in what it does
//! (nothing unanswered), the first is dropped and a new one begins with the machine's state. So a recording begins at a
//! point from which the same machine can be built, however long the page has been open; if no such point came for too
//! long, it says that it is not complete.

mod lines;
mod state;

use super::core::Client;
use super::io::{AttemptId, Command, EpochRef, Head, Input, Output, Token};
use crate::Time;
use lines::Names;
pub(super) use state::Fields;
pub use state::StateCell;
use std::collections::VecDeque;
use tautline_protocol::{JsonList, JsonWriter, Seq};

/// Inputs and outputs kept.
const KEPT: usize = 1_000;

/// Events that came one after the other and caused nothing but their delivery.
#[derive(Debug)]
struct Run {
    attempt: AttemptId,
    first: Option<Seq>,
    count: u64,
    began: Time,
    last: Time,
}

impl Run {
    /// Whether this event is the next one of it.
    fn goes_on(&self, attempt: AttemptId, seq: Option<Seq>) -> bool {
        self.attempt == attempt && self.first.map(|first| first + self.count) == seq
    }

    fn line(&self) -> String {
        let mut line = JsonList::default();
        line.u64(Some(self.began.as_ms()));
        line.str(Some("events"));
        line.u64(Some(u64::from(self.attempt.0)));
        line.u64(self.first);
        line.u64(Some(self.count));
        line.u64(Some(self.last.as_ms()));
        line.end()
    }
}

/// What an event's line says, kept until it is known whether it needs one.
struct PlainEvent {
    attempt: AttemptId,
    seq: Option<Seq>,
    current: bool,
    command: Option<String>,
}

#[derive(Debug)]
struct Segment {
    /// The machine at its beginning; `None` when that was lost.
    state: Option<String>,
    lines: VecDeque<String>,
}

#[derive(Debug)]
pub(super) struct Recorder {
    names: Names,
    old: Option<Segment>,
    new: Segment,
    run: Option<Run>,
}

impl Recorder {
    /// The line of a call of `send`.
    pub(super) fn send(&self, command: &Command, now: Time) -> String {
        lines::send(command, now, &self.names)
    }

    /// The line of a call of `cancel`.
    pub(super) fn cancel(&self, id: &str, now: Time) -> String {
        lines::cancel(id, now, &self.names)
    }

    /// The line of a call of `set_filter`.
    pub(super) fn set_filter(&self, filter: Option<&str>, now: Time) -> String {
        lines::set_filter(filter, now, &self.names)
    }

    fn push(&mut self, line: String) {
        self.end_run();
        self.new.lines.push_back(line);
    }

    fn extend_run(&mut self, event: &PlainEvent, now: Time) {
        if let Some(run) = self.run.as_mut()
            && run.goes_on(event.attempt, event.seq)
        {
            run.count += 1;
            run.last = now;
            return;
        }
        self.end_run();
        self.run = Some(Run {
            attempt: event.attempt,
            first: event.seq,
            count: 1,
            began: now,
            last: now,
        });
    }

    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.new.lines.push_back(run.line());
        }
    }

    /// Keeps what is kept to its bound.
    fn trim(&mut self) {
        let kept = self.old.as_ref().map_or(0, |old| old.lines.len()) + self.new.lines.len();
        if kept > KEPT {
            self.old = None;
        }
        while self.new.lines.len() > KEPT {
            self.new.lines.pop_front();
            self.new.state = None;
        }
    }
}

impl Client {
    /// Keeps what happens from now on for [`Client::recording`]. `verbatim` where the names are those of a recording
    /// that is played again, and hide nothing.
    pub fn record(&mut self, verbatim: bool) {
        let mut names = Names::new(verbatim, self.ids.instance.clone());
        let state = self.may_be_saved().then(|| self.save(&mut names));
        self.recorder = Some(Box::new(Recorder {
            names,
            old: None,
            new: Segment {
                state,
                lines: VecDeque::new(),
            },
            run: None,
        }));
    }

    /// What was recorded, as JSON (`docs/decisions/0028-recordings.md`); `None` unless [`Client::record`] was called.
    pub fn recording(&mut self) -> Option<String> {
        let config = lines::config(&self.config);
        let recorder = self.recorder.as_deref_mut()?;
        recorder.end_run();
        let first = recorder.old.as_ref().unwrap_or(&recorder.new);
        let state = first.state.as_deref();
        let mut entries = JsonList::default();
        let old = recorder.old.iter().flat_map(|old| &old.lines);
        for line in old.chain(&recorder.new.lines) {
            entries.raw(line);
        }
        let text = JsonWriter::object()
            .u64("format", 1)
            .bool("complete", state.is_some())
            .raw("config", &config)
            .raw("state", state.unwrap_or("null"))
            .raw("entries", &entries.end())
            .end();
        Some(text)
    }

    /// [`Client::handle`], written down.
    pub(super) fn handle_recorded(&mut self, input: Input, now: Time) {
        let Some(mut recorder) = self.recorder.take() else {
            return self.decide(input, now);
        };
        let before = self.out.len();
        let Some(event) = self.plain_event(&input, &recorder.names) else {
            let line = lines::input(&input, now, &mut recorder.names);
            recorder.push(line);
            self.decide(input, now);
            self.recorder = Some(recorder);
            return self.record_outputs(before);
        };
        self.decide(input, now);
        let only_delivered =
            self.out.len() == before + 1 && matches!(self.out.back(), Some(Output::Deliver { .. }));
        if only_delivered {
            recorder.extend_run(&event, now);
            self.recorder = Some(recorder);
            return;
        }
        recorder.push(lines::event(&event, now));
        self.recorder = Some(recorder);
        self.record_outputs(before);
    }

    /// A call that answers at once, written down with what it put out.
    pub(super) fn record_call(&mut self, before: usize, line: Option<String>) {
        if let (Some(line), Some(recorder)) = (line, self.recorder.as_deref_mut()) {
            recorder.push(line);
            self.record_outputs(before);
        }
    }

    fn record_outputs(&mut self, before: usize) {
        let Some(mut recorder) = self.recorder.take() else {
            return;
        };
        for output in self.out.iter().skip(before) {
            let line = lines::output(output, &recorder.names);
            recorder.push(line);
        }
        if recorder.new.lines.len() >= KEPT / 2 && self.may_be_saved() {
            let state = Some(self.save(&mut recorder.names));
            let new = Segment {
                state,
                lines: VecDeque::new(),
            };
            recorder.old = Some(std::mem::replace(&mut recorder.new, new));
        }
        recorder.trim();
        self.recorder = Some(recorder);
    }

    /// An event that may join a run: of the history in force, and of no command that waits for it.
    fn plain_event(&self, input: &Input, names: &Names) -> Option<PlainEvent> {
        let Input::Frame(
            attempt,
            Head::Event {
                seq,
                epoch: epoch @ (EpochRef::Current | EpochRef::None),
                command_id,
            },
        ) = input
        else {
            return None;
        };
        if command_id.is_some() && self.outbox.len() > 0 {
            return None;
        }
        Some(PlainEvent {
            attempt: *attempt,
            seq: *seq,
            current: *epoch == EpochRef::Current,
            command: command_id.as_deref().map(|id| names.hidden(id)),
        })
    }
}

/// FNV-1a: names are compared, never shown.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The name of a token in a recording.
pub(super) fn token_named(number: u64) -> Token {
    let mut list = JsonList::default();
    list.u64(Some(number));
    Token::new(list.end())
}
