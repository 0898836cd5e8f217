//! Plays a recording again: the same client from its state on, the same inputs at the same times; what it writes down of
//! itself must be the recording, line by line.

use serde_json::Value;
use tautline_machine::Time;
use tautline_machine::client::{
    Adopted, AttemptId, Client, Closed, Command, Config, EpochRef, Head, Input, Output, PageEvent,
    StateCell, Token, TokenAnswer, WaiterId,
};
use tautline_protocol::limits::Limits;
use tautline_protocol::{AuthCode, CloseCode, Epoch, NackCode, Outcome};

/// What a replay found.
#[derive(Debug)]
pub(crate) struct Played {
    /// Inputs given.
    pub(crate) inputs: usize,
    /// States told, in order.
    pub(crate) states: Vec<String>,
}

/// One line of a recording: its values from the one after the name on.
struct Line<'a>(&'a [Value]);

impl Line<'_> {
    fn at(&self, n: usize) -> &Value {
        self.0.get(n).unwrap_or(&Value::Null)
    }

    fn number(&self, n: usize) -> Option<u64> {
        self.at(n).as_u64()
    }

    fn n(&self, n: usize) -> u64 {
        self.number(n).unwrap_or_default()
    }

    fn small(&self, n: usize) -> u32 {
        u32::try_from(self.n(n)).unwrap_or_default()
    }

    fn flag(&self, n: usize) -> bool {
        self.n(n) != 0
    }

    fn text(&self, n: usize) -> Option<String> {
        self.at(n).as_str().map(str::to_owned)
    }

    fn s(&self, n: usize) -> String {
        self.text(n).unwrap_or_default()
    }

    fn attempt(&self) -> AttemptId {
        AttemptId(self.small(0))
    }

    fn epoch(&self, n: usize) -> Epoch {
        Epoch::new(&self.s(n))
    }

    fn epoch_ref(&self, n: usize) -> EpochRef {
        match self.text(n) {
            None => EpochRef::None,
            Some(name) => match name.strip_prefix('!') {
                Some(other) => EpochRef::Other(Epoch::new(other)),
                None => EpochRef::Current,
            },
        }
    }

    fn token(&self, n: usize) -> Token {
        Token::new(format!("[{}]", self.n(n)))
    }
}

fn config(given: &Value) -> Config {
    let number = |name: &str| given[name].as_u64();
    let usual = Config::default();
    Config {
        has_token: given["has_token"] == true,
        addresses: number("addresses").unwrap_or(1) as usize,
        reconnect_interval_ms: number("reconnect_interval_ms").unwrap_or_default(),
        max_reconnect_delay_ms: number("max_reconnect_delay_ms").unwrap_or_default(),
        max_reconnect_attempts: number("max_reconnect_attempts").map(|n| n as u32),
        connect_timeout_ms: number("connect_timeout_ms").unwrap_or_default(),
        heartbeat_interval_ms: number("heartbeat_interval_ms").unwrap_or_default(),
        pong_timeout_ms: number("pong_timeout_ms").unwrap_or_default(),
        outbox_limit: number("outbox_limit").unwrap_or_default() as usize,
        outbox_bytes: number("outbox_bytes").unwrap_or_default() as usize,
        outbox_ttl_ms: number("outbox_ttl_ms").unwrap_or_default(),
        outbox_stored: given["outbox_stored"] == true,
        auth_probe_interval_ms: number("auth_probe_interval_ms").unwrap_or_default(),
        stale_after_ms: number("stale_after_ms"),
        ..usual
    }
}

fn cells(state: &Value) -> Option<Vec<StateCell>> {
    let cell = |value: &Value| match value {
        Value::Number(number) => number.as_u64().map_or(StateCell::None, StateCell::Number),
        Value::String(text) => StateCell::Text(text.clone()),
        _ => StateCell::None,
    };
    Some(state.as_array()?.iter().map(cell).collect())
}

fn head(name: &str, line: &Line<'_>) -> Option<Head> {
    Some(match name {
        "connected" => Head::Connected {
            auth_required: line.flag(1),
            heartbeat_ms: line.number(2),
            max_message: line.number(3).map(|n| n as u32),
        },
        "auth:success" => Head::AuthSuccess {
            v1: line.flag(1),
            renewal: line.flag(2),
            epoch: line.text(3).map(|name| Epoch::new(&name)),
            seq: line.number(4),
            resumed: line.flag(5),
            view: line.text(6),
            expires_in_ms: line.number(7),
            dedupe_ms: line.number(8),
            limits: line.number(9).map(|_| Limits {
                rate_per_s: line.small(9),
                burst: line.small(10),
                max_message: line.small(11),
            }),
            reconnect_spread_ms: line.number(12),
        },
        "auth:failed" => Head::AuthFailed {
            code: AuthCode::parse(&line.s(1))?,
            renewal: line.flag(2),
        },
        "pong" => Head::Pong {
            timestamp: line.number(1),
            seq: line.number(2),
            reconnect_spread_ms: line.number(3),
        },
        "event" => Head::Event {
            seq: line.number(1),
            epoch: line.epoch_ref(2),
            command_id: line.text(3),
        },
        "cursor" => Head::Cursor {
            epoch: line.epoch_ref(1),
            from: line.n(2),
            to: line.n(3),
        },
        "ack" => Head::Ack {
            id: line.s(1),
            seq: line.number(2),
            epoch: line.epoch_ref(3),
        },
        "nack" => Head::Nack {
            id: line.s(1),
            code: NackCode::parse(&line.s(2))?,
            outcome: Outcome::parse(&line.s(3))?,
            retry_after_ms: line.number(4),
        },
        "syncResumed" => Head::SyncResumed {
            epoch: line.epoch(1),
            seq: line.n(2),
        },
        "part" => Head::SnapshotPart {
            sync_id: line.s(1),
            epoch: line.epoch(2),
            seq: line.n(3),
            part: line.small(4),
            parts: line.small(5),
        },
        "plainSync" => Head::PlainSync {
            has_orders: line.flag(1),
        },
        "syncAborted" => Head::SyncAborted,
        "reset" => Head::Reset {
            epoch: line.epoch(1),
            seq: line.n(2),
        },
        "refused" => Head::Refused {
            code: NackCode::parse(&line.s(1))?,
            retry_after_ms: line.number(2),
            ref_type: line.text(3),
        },
        "degraded" => Head::Degraded { since: None },
        _ => return None,
    })
}

fn input(name: &str, line: &Line<'_>) -> Option<Input> {
    let attempt = line.attempt();
    Some(match name {
        "tick" => Input::Tick,
        "connect" => Input::Connect(WaiterId(line.small(0))),
        "abandon" => Input::Abandon(WaiterId(line.small(0))),
        "disconnect" => Input::Disconnect,
        "reconnectNow" => Input::ReconnectNow,
        "dispose" => Input::Dispose,
        "setToken" => Input::SetToken(line.token(0)),
        "url" => Input::Url(attempt, line.flag(1)),
        "token" => Input::Token(
            attempt,
            match line.at(1) {
                Value::Number(_) => TokenAnswer::Token(line.token(1)),
                Value::Null => TokenAnswer::None,
                _ => TokenAnswer::Failed,
            },
        ),
        "opened" => Input::Opened(attempt),
        "malformed" => Input::Malformed(attempt),
        "closed" => Input::Closed(
            attempt,
            Closed {
                code: CloseCode(line.n(1) as u16),
                reason: line
                    .number(2)
                    .map_or_else(String::new, |ms| format!("reconnect_after_ms={ms}")),
                was_clean: line.flag(3),
            },
        ),
        "health" => Input::Health(attempt, line.flag(1)),
        "page" => Input::Page(match line.s(0).as_str() {
            "online" => PageEvent::Online,
            "offline" => PageEvent::Offline,
            "visible" => PageEvent::Visible,
            "hidden" => PageEvent::Hidden,
            "resumed" => PageEvent::Resumed,
            "suspended" => PageEvent::Suspended,
            "shown" => PageEvent::Shown,
            _ => return None,
        }),
        "wantOrders" => Input::WantOrders(line.flag(0)),
        "requestSync" => Input::RequestSync,
        "filter" => Input::SetFilter(line.text(0)),
        "resumeFrom" => Input::ResumeFrom(line.epoch(0), line.n(1)),
        "writable" => Input::Writable(attempt, line.flag(1)),
        "stored" => Input::Stored {
            id: line.s(0),
            sent: line.flag(1),
            kept: line.flag(2),
        },
        "adopted" => adopted(line)?,
        frame => Input::Frame(attempt, head(frame, line)?),
    })
}

fn adopted(line: &Line<'_>) -> Option<Input> {
    let lost = line.n(1) as usize;
    let entries = line.0.get(2 + lost..)?.chunks(6).map(|values| {
        let entry = Line(values);
        Adopted {
            id: entry.s(0),
            kind: entry.s(1),
            payload: "0".repeat(entry.n(2) as usize),
            ttl_ms: entry.n(3),
            age_ms: entry.n(4),
            sent_age_ms: entry.number(5),
        }
    });
    Some(Input::Adopted {
        answer: line.flag(0),
        entries: entries.collect(),
        lost: (2..2 + lost).map(|n| line.s(n)).collect(),
    })
}

fn command(line: &Line<'_>) -> Command {
    Command {
        kind: line.s(0),
        payload: "0".repeat(line.n(2) as usize),
        id: line.text(1),
        ttl_ms: line.number(3),
        timeout_ms: line.number(4),
        until_shown: line.flag(5),
        sent_at: line.number(6).map(Time::from_ms),
    }
}

/// Performs nothing; what came out is written down already.
fn drain(client: &mut Client) {
    for _ in 0..100_000 {
        if matches!(client.poll_output(), Output::Wait(_)) {
            return;
        }
    }
}

fn give(client: &mut Client, entry: &[Value]) -> Option<()> {
    let now = Time::from_ms(entry.first()?.as_u64()?);
    let name = entry.get(1)?.as_str()?;
    let line = Line(entry.get(2..)?);
    match name {
        "send" => {
            // Refused ones are lines too.
            let _ = client.send(command(&line), now);
        }
        "cancel" => {
            client.cancel(&line.s(0), now);
        }
        "setFilter" => {
            client.set_filter(line.text(0), now);
        }
        "events" => {
            let last = Time::from_ms(line.n(3));
            for n in 0..line.n(2) {
                let seq = line.number(1).map(|first| first + n);
                let epoch = match seq {
                    Some(_) => EpochRef::Current,
                    None => EpochRef::None,
                };
                let head = Head::Event {
                    seq,
                    epoch,
                    command_id: None,
                };
                let at = if n == 0 { now } else { last };
                client.handle(Input::Frame(line.attempt(), head), at);
                drain(client);
            }
        }
        name => client.handle(input(name, &line)?, now),
    }
    drain(client);
    Some(())
}

/// Plays it; `told` is given each line, for a story.
///
/// # Errors
/// What is no recording that can be played, or the first line in which the client went another way.
pub(crate) fn play(text: &str, mut told: impl FnMut(&str)) -> Result<Played, String> {
    let recording: Value = serde_json::from_str(text).map_err(|e| format!("no recording: {e}"))?;
    if recording["format"] != 1 {
        return Err(format!("format {}, where 1 is known", recording["format"]));
    }
    if recording["complete"] != true {
        return Err("not complete: it does not begin with a state".to_owned());
    }
    let state = cells(&recording["state"]).ok_or("no state")?;
    let mut client = Client::restored(config(&recording["config"]), &state)
        .ok_or("the state is not one of this version's")?;
    client.record(true);
    let entries = recording["entries"].as_array().ok_or("no entries")?;
    let mut played = Played {
        inputs: 0,
        states: Vec::new(),
    };
    for entry in entries {
        let values = entry.as_array().ok_or("a line is no array")?;
        told(&entry.to_string());
        if values.first().is_some_and(Value::is_number) {
            give(&mut client, values).ok_or_else(|| format!("unknown line {entry}"))?;
            played.inputs += 1;
        } else if entry[0] == "state" {
            played
                .states
                .push(entry[1].as_str().unwrap_or_default().to_owned());
        }
    }
    let again = client.recording().ok_or("it does not record")?;
    let again: Value = serde_json::from_str(&again).map_err(|e| e.to_string())?;
    let lines = again["entries"].as_array().cloned().unwrap_or_default();
    // What the replay has dropped by now it has dropped from the beginning.
    let dropped = entries.len().saturating_sub(lines.len());
    for (n, (recorded, replayed)) in entries.iter().skip(dropped).zip(&lines).enumerate() {
        if recorded != replayed {
            let n = n + dropped;
            return Err(format!(
                "line {n}: {recorded} was recorded, {replayed} came"
            ));
        }
    }
    if lines.len() > entries.len() {
        return Err(format!(
            "{} lines came, {} were recorded",
            lines.len(),
            entries.len()
        ));
    }
    Ok(played)
}
