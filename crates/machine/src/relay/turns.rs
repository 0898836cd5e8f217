//! Turns that many connections are owed alike: put together once, then the same bytes for all of them.

use super::view::Alike;
use std::collections::VecDeque;
use std::sync::Arc;
use tautline_protocol::Seq;

/// Places remembered at a time; those of a restaurant's connections that keep up are one or two.
const PLACES: usize = 4;

/// Where a connection stands, as far as its next turn depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) alike: Alike,
    pub(super) after: Seq,
    pub(super) told: Seq,
    pub(super) head: Seq,
}

/// One turn as it goes over the wire.
#[derive(Debug)]
pub struct SharedTurn<W> {
    /// What the driver made of its messages.
    pub wire: W,
    /// How many events it holds.
    pub events: usize,
    /// Where it takes the connection.
    pub(super) upto: Seq,
    pub(super) told: Seq,
}

/// The latest shared turns of one log.
///
/// The first connection at a place is written from the events themselves, so nothing is copied for one that is alone;
/// the second is the sign that more may come.
#[derive(Debug)]
pub struct Turns<W> {
    latest: VecDeque<(Place, Option<Arc<SharedTurn<W>>>)>,
}

impl<W> Default for Turns<W> {
    fn default() -> Self {
        Self {
            latest: VecDeque::new(),
        }
    }
}

/// What is known of a place.
pub(super) enum Known<W> {
    /// Nobody was there.
    No,
    /// Somebody was, without a shared turn.
    Once,
    Turn(Arc<SharedTurn<W>>),
}

impl<W> Turns<W> {
    pub(super) fn find(&mut self, place: Place) -> Known<W> {
        match self.latest.iter().rev().find(|(known, _)| *known == place) {
            Some((_, Some(turn))) => Known::Turn(Arc::clone(turn)),
            Some((_, None)) => Known::Once,
            None => {
                if self.latest.len() == PLACES {
                    self.latest.pop_front();
                }
                self.latest.push_back((place, None));
                Known::No
            }
        }
    }

    pub(super) fn keep(&mut self, place: Place, turn: &Arc<SharedTurn<W>>) {
        if let Some((_, kept)) = self.latest.iter_mut().find(|(known, _)| *known == place) {
            *kept = Some(Arc::clone(turn));
        }
    }

    /// Lets go of all of them: at a quiet moment they are only memory.
    pub fn clear(&mut self) {
        self.latest.clear();
    }
}
