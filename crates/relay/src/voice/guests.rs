//! Connections of the voice socket, those without a session too: a shutdown waits for them, and of those that have not
//! said who they are the oldest go.

use crate::limit;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tautline_protocol::limits::{self, hit};
use tokio::sync::oneshot;

#[derive(Debug, Default)]
struct Known {
    last: u64,
    all: usize,
    /// The first is the oldest.
    unauthenticated: BTreeMap<u64, oneshot::Sender<()>>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guests(Arc<Mutex<Known>>);

/// One of them; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Guest {
    guests: Guests,
    number: u64,
    /// Comes when it has to go for another one.
    pub(super) gone: oneshot::Receiver<()>,
}

impl Guests {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that has just come: one too many, and the oldest that waits to authenticate goes.
    pub(crate) fn arrive(&self) -> Guest {
        let mut known = self.known();
        known.last += 1;
        known.all += 1;
        let number = known.last;
        let (tell, gone) = oneshot::channel();
        known.unauthenticated.insert(number, tell);
        if known.unauthenticated.len() > limits::UNAUTHENTICATED
            && let Some((_, oldest)) = known.unauthenticated.pop_first()
        {
            limit::hit(hit::UNAUTHENTICATED);
            let _ = oldest.send(());
        }
        Guest {
            guests: self.clone(),
            number,
            gone,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known().all
    }
}

impl Guest {
    /// It has said who it is.
    pub(super) fn authenticated(&self) {
        self.guests.known().unauthenticated.remove(&self.number);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut known = self.guests.known();
        known.unauthenticated.remove(&self.number);
        known.all = known.all.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_waits_goes_and_places_are_given_back() {
        let guests = Guests::default();
        let mut waiting: Vec<Guest> = (0..limits::UNAUTHENTICATED)
            .map(|_| guests.arrive())
            .collect();
        waiting[0].authenticated();
        assert!(waiting[1].gone.try_recv().is_err());
        waiting.extend([guests.arrive(), guests.arrive()]);
        // Nobody can tell the first one to go: it has said who it is.
        assert!(waiting[0].gone.try_recv().is_err());
        assert_eq!(waiting[1].gone.try_recv(), Ok(()));
        assert_eq!(
            waiting[2].gone.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        );
        drop(waiting);
        assert_eq!(guests.count(), 0);
        assert!(guests.known().unauthenticated.is_empty());
    }
}
