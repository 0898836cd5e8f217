//! A call that the upstream answers: its sound goes past the relay, which follows it on the sideband, runs its orders,
//! keeps what the policy locks, and hangs up.

use super::client::{Client, Socket};
use crate::voice::sideband::Sidebands;
use crate::voice::{Context, Control, Ending, warning};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::voice::{Ended, Watch, WatchOutput};
use tautline_protocol::limits;
use tokio_tungstenite::tungstenite::Message;

/// What it takes to follow a call.
pub(crate) struct Watched {
    pub(crate) client: Arc<Client>,
    /// The upstream's name for it.
    pub(crate) upstream_id: String,
    pub(crate) context: Context,
}

impl Watched {
    /// Follows it to its end, and hangs up unless the upstream has.
    pub(crate) async fn run(mut self) {
        let query = format!("call_id={}", self.upstream_id);
        let ending = match self.client.socket(&query).await {
            Ok(socket) => self.follow(socket).await,
            Err(trouble) => {
                // What cannot be followed cannot be held to its policy.
                tracing::warn!(call = %self.context.seat.id(), why = trouble.code(), "an upstream call cannot be followed, and is hung up");
                Ending::UPSTREAM
            }
        };
        let Self {
            client,
            upstream_id,
            context: Context { mut seat, .. },
        } = self;
        seat.ends(ending);
        let id = Arc::clone(seat.id());
        // The place is held until the upstream has let go of the call, too.
        if let Err(trouble) = client.hang_up(&upstream_id).await {
            tracing::warn!(call = %id, why = trouble.code(), "an upstream call could not be hung up");
        }
    }

    async fn follow(&mut self, mut socket: Socket) -> Ending {
        let length_ms = self.context.terms.length_ms(&self.context.settings);
        let began = self.context.clock.now();
        let mut watch = Watch::new(self.context.settings.clone(), length_ms, began);
        let mut sidebands = Sidebands::default();
        let mut active_at = began;
        loop {
            let wake: Option<Time> = loop {
                match watch.poll_output() {
                    WatchOutput::Send(event) => {
                        if socket.send(Message::text(event)).await.is_err() {
                            return Ending::UPSTREAM;
                        }
                    }
                    WatchOutput::Submit { call_id, order } => {
                        self.context.submit(call_id, order);
                    }
                    WatchOutput::Warn => {
                        sidebands.send(&warning(limits::VOICE_WARNING_MS));
                    }
                    WatchOutput::End(Ended::Length) => return Ending::LENGTH,
                    WatchOutput::End(Ended::Policy) => return Ending::POLICY,
                    WatchOutput::Wait(at) => break at,
                }
            };
            let idle = active_at + self.context.terms.idle_ms;
            let wake = wake.map_or(idle, |at| at.min(idle));
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        active_at = self.context.clock.now();
                        self.context.seat.heard();
                        watch.event(&text, active_at);
                        sidebands.send(&text);
                    }
                    Some(Ok(Message::Close(_))) | None | Some(Err(_)) => return Ending::UPSTREAM,
                    Some(Ok(_)) => {}
                },
                control = self.context.controls.recv() => match control {
                    Some(Control::End(ending)) => return ending,
                    Some(Control::Event(text)) => {
                        active_at = self.context.clock.now();
                        if socket.send(Message::text(text)).await.is_err() {
                            return Ending::UPSTREAM;
                        }
                    }
                    Some(Control::Join(joined)) => {
                        sidebands.join(joined);
                    }
                    Some(Control::Ordered { call_id, result }) => {
                        let result = result.as_deref().map_err(String::as_str);
                        watch.ordered(&call_id, result, self.context.clock.now());
                    }
                    // It has no line of that kind.
                    Some(Control::Upstream(..)) => {}
                    None => return Ending::TRANSPORT,
                },
                () = tokio::time::sleep_until(self.context.clock.instant(wake)) => {
                    let now = self.context.clock.now();
                    if now - active_at >= self.context.terms.idle_ms {
                        return Ending::IDLE;
                    }
                    watch.timeout(now);
                }
            }
        }
    }
}
