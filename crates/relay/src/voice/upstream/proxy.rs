//! A WebSocket session that the upstream holds: frame by frame through the relay, which holds it to its policy and its
//! limits.

use super::client::{Client, Socket};
use crate::voice::gate::Gate;
use crate::voice::sideband::Sidebands;
use crate::voice::wire::{Heard, Wire};
use crate::voice::{Context, Control, Ending, error_event, warning};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tautline_machine::Time;
use tautline_machine::relay::voice::{ApiError, Ended, Watch, WatchOutput};
use tautline_protocol::{CloseCode, limits};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as UpstreamCode;

/// For the upstream to take a frame, and for the goodbye.
const PATIENCE: Duration = Duration::from_millis(limits::WRITE_STALL_MS);

/// What it takes to hold one.
pub(crate) struct Proxied {
    pub(crate) client: Arc<Client>,
    pub(crate) wire: Wire,
    pub(crate) context: Context,
}

/// How it ends: for the counts, and as the client is told.
struct End {
    ending: Ending,
    code: CloseCode,
    reason: String,
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        Self {
            ending,
            code: ending.code,
            reason: ending.text.into(),
        }
    }
}

async fn send(socket: &mut Socket, text: String) -> Result<(), End> {
    let sent = tokio::time::timeout(PATIENCE, socket.send(Message::text(text))).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        _ => Err(Ending::UPSTREAM.into()),
    }
}

impl Proxied {
    /// Holds it to its end.
    pub(crate) async fn run(mut self) {
        let model = self.context.settings.model();
        let model: String = model
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                byte => format!("%{byte:02X}"),
            })
            .collect();
        let end = match self.client.socket(&format!("model={model}")).await {
            Ok(mut socket) => {
                let end = self.hold(&mut socket).await.err();
                let end = end.unwrap_or_else(|| Ending::CLIENT.into());
                let frame = CloseFrame {
                    code: UpstreamCode::Normal,
                    reason: "".into(),
                };
                let _ = tokio::time::timeout(PATIENCE, socket.close(Some(frame))).await;
                end
            }
            Err(trouble) => {
                let error = ApiError::server(trouble.code(), trouble.message());
                let _ = self.wire.send(&error_event(&error));
                End {
                    reason: trouble.code().into(),
                    ..Ending::UPSTREAM.into()
                }
            }
        };
        let Self {
            wire,
            context: Context { mut seat, .. },
            ..
        } = self;
        seat.ends(end.ending);
        // A shutdown waits for the goodbye.
        let seat = (end.ending == Ending::SHUTDOWN).then_some(seat);
        wire.close(end.code, &end.reason).await;
        drop(seat);
    }

    /// Never `Ok`: it is held until something ends it.
    async fn hold(&mut self, socket: &mut Socket) -> Result<(), End> {
        let began = self.context.clock.now();
        let length_ms = self.context.terms.length_ms(&self.context.settings);
        let mut watch = Watch::new(self.context.settings.clone(), length_ms, began);
        let mut gate = Gate::new(self.context.terms.rate, began);
        let mut sidebands = Sidebands::default();
        let mut active_at = began;
        // The restaurant's session comes before anything of the client's.
        let session = self.context.settings.to_value();
        send(
            socket,
            json!({"type": "session.update", "session": session}).to_string(),
        )
        .await?;
        loop {
            let wake = self.perform(&mut watch, socket, &mut sidebands).await?;
            let idle = active_at + self.context.terms.idle_ms;
            let wake = wake.map_or(idle, |at| at.min(idle));
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        active_at = self.context.clock.now();
                        watch.event(&text, active_at);
                        self.tell(&mut sidebands, text.as_str())?;
                    }
                    Some(Ok(Message::Close(frame))) => {
                        return Err(frame.map_or_else(|| Ending::UPSTREAM.into(), |frame| End {
                            ending: Ending::UPSTREAM,
                            code: CloseCode(frame.code.into()),
                            reason: frame.reason.to_string(),
                        }));
                    }
                    None | Some(Err(_)) => return Err(Ending::UPSTREAM.into()),
                    Some(Ok(_)) => {}
                },
                heard = self.wire.recv() => {
                    let now = self.context.clock.now();
                    active_at = now;
                    self.context.seat.heard();
                    let (event, admitted) = match heard {
                        Heard::Text(text) => {
                            let admitted = gate.message(&text, now);
                            (Ok(text), admitted)
                        }
                        Heard::Unfit(error) => (Err(error), gate.message("", now)),
                        Heard::Gone(ending) => return Err(ending.into()),
                    };
                    match (event, admitted) {
                        (Ok(text), Ok(())) => send(socket, text).await?,
                        (Err(error), Ok(())) => self.tell(&mut sidebands, &error_event(&error))?,
                        (_, Err(over)) => {
                            if let Some(error) = over.error {
                                self.tell(&mut sidebands, &error_event(&error))?;
                            }
                            if over.ends {
                                return Err(Ending::RATE.into());
                            }
                        }
                    }
                }
                control = self.context.controls.recv() => match control {
                    Some(Control::End(ending)) => return Err(ending.into()),
                    Some(Control::Event(text)) => {
                        active_at = self.context.clock.now();
                        send(socket, text).await?;
                    }
                    Some(Control::Join(joined)) => {
                        sidebands.join(joined);
                    }
                    Some(Control::Ordered { call_id, result }) => {
                        let result = result.as_deref().map_err(String::as_str);
                        watch.ordered(&call_id, result, self.context.clock.now());
                    }
                    None => return Err(Ending::TRANSPORT.into()),
                },
                () = tokio::time::sleep_until(self.context.clock.instant(wake)) => {
                    let now = self.context.clock.now();
                    if now - active_at >= self.context.terms.idle_ms {
                        return Err(Ending::IDLE.into());
                    }
                    watch.timeout(now);
                }
            }
        }
    }

    /// Carries out what the machine says; when it wants to be woken.
    async fn perform(
        &mut self,
        watch: &mut Watch,
        socket: &mut Socket,
        sidebands: &mut Sidebands,
    ) -> Result<Option<Time>, End> {
        loop {
            match watch.poll_output() {
                WatchOutput::Send(event) => send(socket, event).await?,
                WatchOutput::Submit { call_id, order } => {
                    self.context.submit(call_id, order);
                }
                WatchOutput::Warn => self.tell(sidebands, &warning(limits::VOICE_WARNING_MS))?,
                WatchOutput::End(Ended::Length) => return Err(Ending::LENGTH.into()),
                WatchOutput::End(Ended::Policy) => return Err(Ending::POLICY.into()),
                WatchOutput::Wait(at) => return Ok(at),
            }
        }
    }

    /// Tells the client and those who follow.
    fn tell(&mut self, sidebands: &mut Sidebands, event: &str) -> Result<(), End> {
        if !self.wire.send(event) {
            return Err(Ending::SLOW.into());
        }
        sidebands.send(event);
        Ok(())
    }
}
