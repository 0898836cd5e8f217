//! A session over a WebSocket: sound travels in its events.

use super::talk::{Do, Talk};
use super::wire::{Heard, Wire};
use super::{Answering, Context, Control, End, Ending};
use tautline_machine::relay::voice::Edge;

/// See the module.
pub(crate) struct Session {
    wire: Wire,
    talk: Talk,
    context: Context,
}

impl Session {
    /// A session that begins.
    pub(crate) fn begin(wire: Wire, context: Context, answering: &Answering) -> Self {
        let (settings, who, terms) = (context.settings.clone(), context.who.clone(), context.terms);
        let (length_ms, now) = (terms.length_ms(&settings), context.clock.now());
        let adapter = answering.adapter(Edge::Socket, settings, &terms, &context.line, now);
        let talk = Talk::begin(adapter, who, usize::MAX, terms, length_ms, now);
        Self {
            wire,
            talk,
            context,
        }
    }

    /// Runs it to its end.
    pub(crate) async fn run(mut self) {
        let end = loop {
            if let Some(end) = self.perform() {
                break end;
            }
            let wake = self.context.clock.instant(self.talk.wake());
            tokio::select! {
                heard = self.wire.recv() => match heard {
                    Heard::Text(text) => {
                        self.context.seat.heard();
                        self.talk.message(&text, self.context.clock.now());
                    }
                    Heard::Unfit(unfit) => self.talk.unfit(&unfit.into(), self.context.clock.now()),
                    Heard::Gone(ending) => break ending.into(),
                },
                control = self.context.controls.recv() => match control {
                    Some(Control::End(ending)) => break ending.into(),
                    Some(Control::Event(text)) => self.talk.message(&text, self.context.clock.now()),
                    Some(Control::Join(joined)) => self.talk.join(joined),
                    Some(Control::Upstream(number, heard)) => {
                        self.talk.upstream(number, heard, self.context.clock.now());
                    }
                    Some(Control::Ordered { call_id, result }) => {
                        let result = result.as_deref().map_err(String::as_str);
                        self.talk.ordered(&call_id, result, self.context.clock.now());
                    }
                    None => break Ending::TRANSPORT.into(),
                },
                () = tokio::time::sleep_until(wake) => self.talk.timeout(self.context.clock.now()),
            }
        };
        let Self {
            wire,
            talk,
            context: Context { mut seat, .. },
        } = self;
        seat.ends(end.ending);
        // Sidebands learn it now, and the place is free: the goodbye may take its time. A shutdown waits for it.
        drop(talk);
        let seat = (end.ending == Ending::SHUTDOWN).then_some(seat);
        wire.close(end.code, &end.reason).await;
        drop(seat);
    }

    /// Carries out what is to be done; why it ends if it does.
    fn perform(&mut self) -> Option<End> {
        while let Some(next) = self.talk.next() {
            match next {
                Do::Event(event) => {
                    if !self.wire.send(&event) {
                        return Some(Ending::SLOW.into());
                    }
                }
                // Only a call has a place to play it.
                Do::Play(_) => {}
                Do::Submit { call_id, order } => {
                    self.context.submit(call_id, order);
                }
            }
        }
        self.talk.ending().cloned()
    }
}
