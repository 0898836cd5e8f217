//! The WebSocket on which an upstream holds a session: a task for each connection, which ends with whoever let it go.

use super::Trouble;
use super::client::{Client, Socket};
use crate::voice::{Control, Line as Session};
use futures_util::{SinkExt, StreamExt};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tautline_machine::Time;
use tautline_machine::relay::voice::{Failed, Heard, Upstream};
use tautline_protocol::{CloseCode, limits};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as UpstreamCode;

/// For the upstream to take a message, and for the goodbye.
const PATIENCE: Duration = Duration::from_millis(limits::WRITE_STALL_MS);
/// From one ping to the next; without a message for two of them the upstream is gone.
const BEAT: Duration = Duration::from_millis(limits::HEARTBEAT_MS);
/// Bytes that wait for an upstream which does not take them: what a session may queue, and one message more.
const WAITING: usize = limits::VOICE_QUEUE_BYTES + limits::REALTIME_MESSAGE;

/// See the module.
pub(crate) struct Line {
    client: Arc<Client>,
    query: String,
    /// Where what comes of it is told.
    session: Session,
    link: Option<Link>,
}

/// A connection's task lives as long as this.
struct Link {
    number: u64,
    out: mpsc::UnboundedSender<String>,
    waiting: Rc<Cell<usize>>,
}

impl Line {
    pub(crate) fn new(client: Arc<Client>, model: &str, session: Session) -> Self {
        let model: String = model
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                byte => format!("%{byte:02X}"),
            })
            .collect();
        Self {
            client,
            query: format!("model={model}"),
            session,
            link: None,
        }
    }
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self {
            code: trouble.code(),
            message: trouble.message(),
            passes: trouble.passes(),
        }
    }
}

impl Upstream for Line {
    fn dial(&mut self, number: u64, _now: Time) {
        let (out, events) = mpsc::unbounded_channel();
        let waiting = Rc::new(Cell::new(0));
        let connection = Connection {
            session: Arc::clone(&self.session),
            number,
            events,
            waiting: Rc::clone(&waiting),
        };
        let (client, query) = (Arc::clone(&self.client), self.query.clone());
        tokio::task::spawn_local(connection.run(client, query));
        self.link = Some(Link {
            number,
            out,
            waiting,
        });
    }

    fn send(&mut self, event: String, _now: Time) {
        let Some(link) = &self.link else { return };
        let waiting = link.waiting.get() + event.len();
        link.waiting.set(waiting);
        // The task's end is told by itself.
        let _ = link.out.send(event);
        if waiting > WAITING {
            (self.session)(Control::Upstream(link.number, Heard::Closed(None)));
            self.link = None;
        }
    }

    fn hang_up(&mut self) {
        self.link = None;
    }
}

/// What the task of one connection has.
struct Connection {
    session: Session,
    number: u64,
    events: mpsc::UnboundedReceiver<String>,
    waiting: Rc<Cell<usize>>,
}

impl Connection {
    fn tell(&self, heard: Heard) {
        (self.session)(Control::Upstream(self.number, heard));
    }

    async fn run(mut self, client: Arc<Client>, query: String) {
        let opened = tokio::select! {
            opened = client.socket(&query) => opened,
            // Nothing is sent before it is there: it was let go.
            _ = self.events.recv() => return,
        };
        let mut socket = match opened {
            Ok(socket) => socket,
            Err(trouble) => {
                tracing::debug!(
                    why = trouble.code(),
                    number = self.number,
                    "an upstream could not be reached"
                );
                return self.tell(Heard::Failed(trouble.into()));
            }
        };
        self.tell(Heard::Up);
        match self.carry(&mut socket).await {
            Some(close) => {
                let code = close.as_ref().map(|(code, _)| code.0);
                tracing::debug!(
                    code,
                    number = self.number,
                    "an upstream's connection is gone"
                );
                self.tell(Heard::Closed(close));
            }
            None => {
                let frame = CloseFrame {
                    code: UpstreamCode::Normal,
                    reason: "".into(),
                };
                let _ = tokio::time::timeout(PATIENCE, socket.close(Some(frame))).await;
            }
        }
    }

    /// Carries both ways until the upstream goes; `None` when it was let go from here.
    async fn carry(&mut self, socket: &mut Socket) -> Option<Option<(CloseCode, String)>> {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let mut quiet = 0;
        loop {
            let message = tokio::select! {
                event = self.events.recv() => {
                    let event = event?;
                    let bytes = event.len();
                    let message = Message::text(event);
                    let sent = tokio::time::timeout(PATIENCE, socket.send(message)).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return Some(None);
                    }
                    self.waiting.set(self.waiting.get().saturating_sub(bytes));
                    continue;
                }
                message = socket.next() => message,
                _ = beat.tick() => {
                    quiet += 1;
                    let ping = Message::Ping(bytes::Bytes::new());
                    let sent = tokio::time::timeout(PATIENCE, socket.send(ping)).await;
                    if quiet > 2 || !matches!(sent, Ok(Ok(()))) {
                        return Some(None);
                    }
                    continue;
                }
            };
            quiet = 0;
            match message {
                Some(Ok(Message::Text(text))) => {
                    self.tell(Heard::Said(text.as_str().to_owned()));
                    // The session takes it before the next one comes.
                    tokio::task::yield_now().await;
                }
                Some(Ok(Message::Close(frame))) => {
                    return Some(
                        frame.map(|frame| (CloseCode(frame.code.into()), frame.reason.to_string())),
                    );
                }
                None | Some(Err(_)) => return Some(None),
                Some(Ok(_)) => {}
            }
        }
    }
}
