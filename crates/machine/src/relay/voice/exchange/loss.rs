//! What is made of a connection that is gone: it is dialled again, later each time, or the session ends.

use super::super::adapter::{Output, Over};
use super::super::error::ApiError;
use super::super::far::{Failed, Reach};
use super::{Exchange, State, text_at, turn};
use crate::Time;
use serde_json::{Value, json};
use tautline_protocol::CloseCode;

/// Times that a lost upstream is dialled again.
const TRIES: u32 = 5;
/// The first wait is drawn up to that, each further one up to twice the one before, ms.
const FIRST_MS: u64 = 250;
const LONGEST_MS: u64 = 4_000;
/// Nothing is waited for less, ms.
const LEAST_MS: u64 = 50;
/// A connection that has held for so long was no failed try.
const SETTLED_MS: u64 = 10_000;

impl Exchange {
    /// The connection broke: what was under way is lost.
    pub(super) fn broken_off(&mut self, now: Time) {
        if let State::Up(since) = self.state
            && now - since >= SETTLED_MS
        {
            self.tries = 0;
        }
        if let Some(responses) = self.turn.lost(self.session.as_ref()) {
            for mut response in responses {
                let id = text_at(&response, "id").unwrap_or_default().to_owned();
                turn::fail(&mut response);
                let done = self
                    .wire
                    .event("response.done", json!({"response": response}));
                if let Ok(done) = serde_json::from_str::<Value>(&done) {
                    // Or an answer that is owed would wait for the end of this one.
                    self.watch.read(&done);
                }
                self.wire.push(Output::Event(done));
                self.playback.finish(&id);
            }
            let why = "The connection to the upstream broke, and the turn under way is lost: say it again.";
            self.wire
                .error(&ApiError::server("upstream_turn_lost", why));
        }
        self.history.broken_off();
        let failed = Failed {
            code: "upstream_unreachable",
            message: "The upstream broke off; try again later.".into(),
            passes: true,
        };
        self.again(&failed, now);
        self.follow_watch();
    }

    /// Dials again after a wait, unless that is of no use.
    pub(super) fn again(&mut self, failed: &Failed, now: Time) {
        if failed.passes && self.tries < TRIES {
            let most = FIRST_MS.saturating_mul(1 << self.tries).min(LONGEST_MS);
            self.tries += 1;
            self.state = State::Waiting(now + self.rng.between(LEAST_MS, most));
            return;
        }
        let error = if self.has_been_up {
            let tries = if failed.passes {
                format!(" in {} tries", self.tries)
            } else {
                String::new()
            };
            ApiError::server(
                "upstream_lost",
                format!(
                    "The upstream broke off and could not be reached again{tries} ({}); begin another session.",
                    failed.code
                ),
            )
        } else {
            ApiError::server(failed.code, failed.message.clone())
        };
        self.wire.error(&error);
        self.end(Over::Upstream {
            code: CloseCode::INTERNAL,
            reason: error.code.into(),
        });
    }

    pub(super) fn end(&mut self, over: Over) {
        if self.state != State::Over {
            self.state = State::Over;
            self.reach.clear();
            self.reach.push_back(Reach::HangUp);
            self.held.clear();
            self.wire.push(Output::End(over));
        }
    }
}

/// Whether a close is one that another connection may follow: a restart, an overload, an error. The others are an end.
pub(super) fn passes(code: CloseCode) -> bool {
    matches!(
        code,
        CloseCode::NO_STATUS
            | CloseCode::ABNORMAL
            | CloseCode::INTERNAL
            | CloseCode::RESTART
            | CloseCode::TRY_LATER
    )
}
