//! A second connection to a session: it gets every event, and may send any. It carries no sound.

use super::pace::Pace;
use super::wire::{Heard, Wire};
use super::{Control, Ending, Line, error_event};
use crate::clock::Clock;
use crate::limit;
use crate::parse::Rate;
use std::sync::Arc;
use tautline_protocol::limits::{self, hit};
use tokio::sync::mpsc;

/// How a session reaches a sideband.
#[derive(Debug)]
pub(crate) struct Joined(mpsc::Sender<Arc<str>>);

impl Joined {
    /// Whether it took it; one that does not keep up is let go.
    pub(super) fn send(&self, event: &Arc<str>) -> bool {
        match self.0.try_send(Arc::clone(event)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                limit::hit(hit::VOICE_QUEUE);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// Those that follow one session.
#[derive(Debug, Default)]
pub(super) struct Sidebands(Vec<Joined>);

impl Sidebands {
    /// One more, where there is a place; otherwise it is let go.
    pub(super) fn join(&mut self, joined: Joined) -> Option<&Joined> {
        self.0.retain(|joined| !joined.0.is_closed());
        if self.0.len() >= limits::VOICE_SIDEBANDS {
            limit::hit(hit::VOICE_SIDEBANDS);
            return None;
        }
        self.0.push(joined);
        self.0.last()
    }

    /// An event for all of them; those that do not keep up are let go.
    pub(super) fn send(&mut self, event: &str) {
        if !self.0.is_empty() {
            let event: Arc<str> = event.into();
            self.0.retain(|joined| joined.send(&event));
        }
    }
}

/// Follows a session until one of the two ends.
pub(crate) async fn follow(mut wire: Wire, line: Line, rate: Rate, clock: Clock) {
    let (joined, mut events) = mpsc::channel(limits::VOICE_SIDEBAND_EVENTS);
    line(Control::Join(Joined(joined)));
    let mut pace = Pace::new(u64::from(rate.per_s), u64::from(rate.burst), clock.now());
    let ending = loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => {
                    if !wire.send(&event) {
                        break Ending::SLOW;
                    }
                }
                // The session has let go of it: it has ended, or has as many as it takes.
                None => break Ending::CLIENT,
            },
            heard = wire.recv() => match heard {
                // A flood is the session's to answer; here it only must not pile up on the way.
                Heard::Gone(ending) => break ending,
                _ if !pace.take(1, clock.now()) => limit::hit(hit::VOICE_MESSAGES),
                Heard::Text(text) => line(Control::Event(text)),
                Heard::Unfit(unfit) => {
                    if !wire.send(&error_event(&unfit.into())) {
                        break Ending::SLOW;
                    }
                }
            },
        }
    };
    let text = if ending == Ending::CLIENT {
        "the session has ended"
    } else {
        ending.text
    };
    wire.close(ending.code, text).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(room: usize) -> (Joined, mpsc::Receiver<Arc<str>>) {
        let (joined, events) = mpsc::channel(room);
        (Joined(joined), events)
    }

    #[test]
    fn so_many_follow_and_who_leaves_makes_room() {
        let mut sidebands = Sidebands::default();
        let mut held = Vec::new();
        for _ in 0..limits::VOICE_SIDEBANDS {
            let (one, events) = joined(1);
            assert!(sidebands.join(one).is_some());
            held.push(events);
        }
        let (over, mut events) = joined(1);
        assert!(sidebands.join(over).is_none());
        assert_eq!(
            events.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
        held.pop();
        let (one, _events) = joined(1);
        assert!(sidebands.join(one).is_some());
    }

    #[test]
    fn one_that_does_not_keep_up_is_let_go_and_the_others_are_told() {
        let mut sidebands = Sidebands::default();
        let (slow, mut unread) = joined(limits::VOICE_SIDEBAND_EVENTS);
        let (quick, mut read) = joined(1);
        sidebands.join(slow);
        sidebands.join(quick);
        for n in 0..limits::VOICE_SIDEBAND_EVENTS {
            sidebands.send("{}");
            assert!(read.try_recv().is_ok(), "{n}");
        }
        assert_eq!(sidebands.0.len(), 2);
        sidebands.send("{}");
        assert!(read.try_recv().is_ok());
        assert_eq!(sidebands.0.len(), 1);
        for _ in 0..limits::VOICE_SIDEBAND_EVENTS {
            assert!(unread.try_recv().is_ok());
        }
        assert_eq!(
            unread.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }
}
