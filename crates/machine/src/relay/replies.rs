use super::record::{Answer, Nack};
use std::collections::{BTreeMap, VecDeque};
use tautline_protocol::{Dialect, NackCode, server_frame};

/// How often which kind of frame was refused, and why; kinds are the protocol's own, so it stays small.
pub type Refusals = BTreeMap<(&'static str, NackCode), u64>;

/// A type as it is counted: a client can make up any other.
fn counted(kind: &str) -> &'static str {
    match kind {
        "order:create" => "create",
        "order:update_status" => "status",
        "order:update_item_status" => "item_status",
        "order:cancel" => "cancel",
        "orders:sync" => "sync",
        "auth" => "auth",
        "subscribe" | "unsubscribe" => "subscribe",
        _ => "other",
    }
}

#[derive(Debug)]
struct Reply {
    /// The command's id; without one it is answered only when refused.
    id: Option<String>,
    kind: String,
    answer: Option<Answer>,
}

/// Commands of one connection, answered in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: VecDeque<Reply>,
    /// The number of the first one waiting.
    first: u64,
    /// What was refused without asking the log, since it was last looked at.
    pub(super) refusals: Refusals,
}

impl Replies {
    /// A command goes to the log; the number comes back with its answer.
    pub(super) fn expect(&mut self, id: Option<String>, kind: &str) -> u64 {
        self.waiting.push_back(Reply {
            id,
            kind: kind.to_owned(),
            answer: None,
        });
        self.first + self.waiting.len() as u64 - 1
    }

    /// A frame that is refused without asking the log.
    pub(super) fn refused(&mut self, id: Option<String>, kind: &str, nack: Nack) {
        *self.refusals.entry((counted(kind), nack.code)).or_default() += 1;
        self.waiting.push_back(Reply {
            id,
            kind: kind.to_owned(),
            answer: Some(Answer::Nack(nack)),
        });
    }

    pub(super) fn answered(&mut self, number: u64, answer: Answer) {
        let index = number
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(reply) = index.and_then(|index| self.waiting.get_mut(index)) {
            reply.answer.get_or_insert(answer);
        }
    }

    /// The next one, if it is answered; the inner `None` is one that is answered by its event alone.
    pub(super) fn next(&mut self, dialect: Dialect) -> Option<Option<String>> {
        let reply = self.waiting.pop_front_if(|reply| reply.answer.is_some())?;
        self.first += 1;
        Some(match (reply.answer?, reply.id) {
            (Answer::Ack(ack), Some(id)) if dialect == Dialect::V1 => {
                let at = ack.at.as_ref().map(|(epoch, seq)| (epoch, *seq));
                Some(server_frame::ack(&id, at, ack.result.as_deref()))
            }
            (Answer::Ack(_), _) => None,
            (Answer::Nack(refusal), id) => Some(nack(id.as_deref(), Some(&reply.kind), &refusal)),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// A refusal: `nack` for a frame with an id, else `error`.
pub(super) fn nack(id: Option<&str>, kind: Option<&str>, nack: &Nack) -> String {
    match id {
        Some(id) => server_frame::nack(
            id,
            nack.code,
            &nack.message,
            nack.outcome,
            nack.retry_after_ms,
        ),
        None => server_frame::error(
            nack.code,
            &nack.message,
            nack.retry_after_ms,
            kind.filter(|kind| !kind.is_empty()),
        ),
    }
}
