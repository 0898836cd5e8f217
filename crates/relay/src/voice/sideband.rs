//! A second connection to a session: it gets every event, and may send any. It carries no sound.

use super::pace::Pace;
use super::wire::{Heard, Wire};
use super::{Control, Ending, Line};
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

    pub(super) fn has_gone(&self) -> bool {
        self.0.is_closed()
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
                Heard::Text(text) if pace.take(1, clock.now()) => line(Control::Event(text)),
                Heard::Text(_) => limit::hit(hit::VOICE_MESSAGES),
                Heard::Binary => break Ending::BINARY,
                Heard::Gone(ending) => break ending,
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
