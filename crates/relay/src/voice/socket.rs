//! A session over a WebSocket: sound travels in its events.

use super::board::Seat;
use super::talk::{Do, Talk};
use super::wire::{Heard, Wire};
use super::{Control, Ending, Line};
use crate::clock::Clock;
use crate::http::Desk;
use tokio::sync::mpsc;

/// What a session is made of.
pub(crate) struct Session {
    pub(crate) wire: Wire,
    pub(crate) talk: Talk,
    pub(crate) seat: Seat,
    pub(crate) line: Line,
    pub(crate) controls: mpsc::UnboundedReceiver<Control>,
    pub(crate) desk: Desk,
    pub(crate) clock: Clock,
}

impl Session {
    /// Runs it to its end.
    pub(crate) async fn run(mut self) {
        let ending = loop {
            if let Some(ending) = self.perform() {
                break ending;
            }
            let wake = self.clock.instant(self.talk.wake());
            tokio::select! {
                heard = self.wire.recv() => match heard {
                    Heard::Text(text) => {
                        self.seat.heard();
                        self.talk.message(&text, self.clock.now());
                    }
                    Heard::Unfit(error) => self.talk.unfit(&error, self.clock.now()),
                    Heard::Gone(ending) => break ending,
                },
                control = self.controls.recv() => match control {
                    Some(Control::End(ending)) => break ending,
                    Some(Control::Event(text)) => self.talk.message(&text, self.clock.now()),
                    Some(Control::Join(joined)) => self.talk.join(joined),
                    Some(Control::Ordered { call_id, result }) => {
                        let result = result.as_deref().map_err(String::as_str);
                        self.talk.ordered(&call_id, result, self.clock.now());
                    }
                    None => break Ending::TRANSPORT,
                },
                () = tokio::time::sleep_until(wake) => self.talk.timeout(self.clock.now()),
            }
        };
        let Self {
            wire,
            talk,
            mut seat,
            ..
        } = self;
        seat.ends(ending);
        // Sidebands learn it now, and the place is free: the goodbye may take its time. A shutdown waits for it.
        drop(talk);
        let seat = (ending == Ending::SHUTDOWN).then_some(seat);
        wire.close(ending.code, ending.text).await;
        drop(seat);
    }

    /// Carries out what is to be done; why it ends if it does.
    fn perform(&mut self) -> Option<Ending> {
        while let Some(next) = self.talk.next() {
            match next {
                Do::Event(event) => {
                    if !self.wire.send(&event) {
                        return Some(Ending::SLOW);
                    }
                }
                // Only a call has a place to play it.
                Do::Play(_) => {}
                Do::Submit { call_id, order } => {
                    self.desk
                        .place(&self.talk.who, call_id, order, self.line.clone());
                }
            }
        }
        self.talk.ending()
    }
}
