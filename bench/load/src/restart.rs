//! Real clients, their machine and its backoff included, and a relay that goes away under them.

use crate::Failure;
use crate::frames;
use crate::server::Server;
use crate::wire::head;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tautline_machine::Time;
use tautline_machine::client::{
    AttemptId, Client, Closed, Config, Input, Output, Token as Jwt, TokenAnswer, WaiterId,
};
use tautline_protocol::CloseCode;

#[derive(Deserialize)]
pub(crate) struct Plan {
    server: Server,
    clients: usize,
    /// The event that makes a client say that it is current.
    kind: String,
    /// How long all this may take.
    seconds: f64,
}

/// A socket from its first byte to its last.
struct Socket {
    attempt: AttemptId,
    stream: TcpStream,
    state: State,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Shaking,
    Open,
}

struct Page {
    client: Client,
    socket: Option<Socket>,
    wake: Option<Time>,
    /// Answers to the machine that it is not told while it speaks.
    answers: Vec<Input>,
}

struct Run<'a> {
    plan: &'a Plan,
    token: String,
    began: Instant,
    poll: Poll,
    pages: Vec<Page>,
    timers: BTreeSet<(Time, usize)>,
    connected: BTreeSet<usize>,
    said_ready: bool,
    current: usize,
}

/// Says `ready` when all are connected, then a line for each client that has the event.
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let relay = plan.server.relay.as_ref();
    let mut run = Run {
        plan,
        token: relay
            .ok_or("only a relay is spoken to like this")?
            .token
            .clone(),
        began: Instant::now(),
        poll: Poll::new()?,
        pages: Vec::with_capacity(plan.clients),
        timers: BTreeSet::new(),
        connected: BTreeSet::new(),
        said_ready: false,
        current: 0,
    };
    for n in 0..plan.clients {
        let config = Config {
            restaurant_id: relay.map(|relay| relay.restaurant.clone()),
            has_token: true,
            ..Config::default()
        };
        run.pages.push(Page {
            client: Client::new(config, 0x5eed + n as u64, run.now()),
            socket: None,
            wake: None,
            answers: Vec::new(),
        });
    }
    let end = run.began + Duration::from_secs_f64(plan.seconds);
    let mut events = Events::with_capacity(1024);
    let mut started = 0;
    while run.current < plan.clients {
        let now = Instant::now();
        if now > end {
            let missing = plan.clients - run.current;
            return Err(format!("{missing} clients are not current").into());
        }
        // Not all at once: how they come back is measured, not how they came.
        if started < plan.clients && run.connected.len() + 50 > started {
            run.input(started, Input::Connect(WaiterId(1)))?;
            started += 1;
            run.poll.poll(&mut events, Some(Duration::ZERO))?;
        } else {
            let wait = run.timers.first().map_or(1000, |&(at, _)| at - run.now());
            let wait = Duration::from_millis(wait.min(1000)).min(end - now);
            run.poll.poll(&mut events, Some(wait))?;
        }
        for event in &events {
            let Token(n) = event.token();
            run.socket(n, event.is_writable())?;
        }
        while let Some(&(at, n)) = run.timers.first()
            && at <= run.now()
        {
            run.timers.pop_first();
            if let Some(page) = run.pages.get_mut(n) {
                page.wake = None;
            }
            run.input(n, Input::Tick)?;
        }
    }
    Ok(())
}

impl Run<'_> {
    fn now(&self) -> Time {
        Time::from_ms(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Tells a machine something and does what it says.
    fn input(&mut self, n: usize, input: Input) -> Result<(), Failure> {
        let now = self.now();
        let Some(page) = self.pages.get_mut(n) else {
            return Ok(());
        };
        page.client.handle(input, now);
        self.perform(n, None)
    }

    /// `frame` is the one being handled.
    fn perform(&mut self, n: usize, frame: Option<&Value>) -> Result<(), Failure> {
        loop {
            let now = self.now();
            let Some(page) = self.pages.get_mut(n) else {
                return Ok(());
            };
            match page.client.poll_output() {
                Output::ResolveUrl(attempt, _) => page.answers.push(Input::Url(attempt, true)),
                Output::FetchToken { attempt, .. } => {
                    let token = TokenAnswer::Token(Jwt::new(self.token.clone()));
                    page.answers.push(Input::Token(attempt, token));
                }
                Output::Open(attempt) => {
                    let mut stream = TcpStream::connect(self.plan.server.address)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(&mut stream, Token(n), both)?;
                    page.socket = Some(Socket {
                        attempt,
                        stream,
                        state: State::Connecting,
                        inbox: Vec::new(),
                        outbox: Vec::new(),
                    });
                }
                Output::Send(attempt, text) => {
                    if let Some(socket) = page.on(attempt) {
                        frames::text(&mut socket.outbox, &text, [7, 77, 177, 17]);
                        // A connection that breaks is heard of when it is read.
                        let _ = flush(socket);
                    }
                }
                Output::Close(attempt, ..) | Output::Drop(attempt)
                    if page.on(attempt).is_some() =>
                {
                    page.socket = None;
                    self.connected.remove(&n);
                }
                // On loopback whoever takes a connection is there.
                Output::ProbeHealth(attempt) => {
                    let there = std::net::TcpStream::connect(self.plan.server.address).is_ok();
                    page.answers.push(Input::Health(attempt, there));
                }
                Output::Settle(_, settled) => {
                    settled.map_err(|failure| format!("a client cannot connect: {failure:?}"))?;
                }
                Output::Deliver { seq }
                    if frame.is_some_and(|frame| frame["type"] == self.plan.kind.as_str()) =>
                {
                    self.current += 1;
                    println!(
                        r#"{{"client":{n},"seq":{},"at_ms":{}}}"#,
                        seq.unwrap_or(0),
                        wall_ms()
                    );
                }
                Output::Wait(wake) => {
                    if let Some(before) = page.wake.take() {
                        self.timers.remove(&(before, n));
                    }
                    if let Some((at, _)) = wake {
                        page.wake = Some(at);
                        self.timers.insert((at, n));
                    }
                    match page.answers.pop() {
                        None => return Ok(()),
                        Some(answer) => page.client.handle(answer, now),
                    }
                }
                _ => {}
            }
        }
    }

    /// Something happened to a page's socket.
    fn socket(&mut self, n: usize, writable: bool) -> Result<(), Failure> {
        let Some(socket) = self.pages.get_mut(n).and_then(|page| page.socket.as_mut()) else {
            return Ok(());
        };
        let attempt = socket.attempt;
        if writable && socket.state == State::Connecting && socket.stream.peer_addr().is_ok() {
            let _ = socket.stream.set_nodelay(true);
            let hello = format!(
                "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                self.plan.server.address
            );
            socket.outbox.extend_from_slice(hello.as_bytes());
            socket.state = State::Shaking;
        }
        let wrote = flush(socket);
        let ended = read(socket).and(wrote).is_err();
        loop {
            let Some(page) = self.pages.get_mut(n) else {
                return Ok(());
            };
            let Some(socket) = page.on(attempt) else {
                return Ok(());
            };
            match next(socket) {
                Next::Nothing if ended => return self.closed(n, attempt, CloseCode::ABNORMAL, ""),
                Next::Nothing => return Ok(()),
                Next::Refused => return self.closed(n, attempt, CloseCode::ABNORMAL, ""),
                Next::Opened => self.input(n, Input::Opened(attempt))?,
                Next::Ping(payload) => {
                    frames::pong(&mut socket.outbox, &payload, [1, 2, 3, 4]);
                    let _ = flush(socket);
                }
                Next::Closed(code, reason) => {
                    return self.closed(n, attempt, CloseCode(code), &reason);
                }
                Next::Text(text) => self.received(n, attempt, &text)?,
            }
        }
    }

    fn received(&mut self, n: usize, attempt: AttemptId, text: &str) -> Result<(), Failure> {
        let frames = match serde_json::from_str(text)? {
            Value::Array(frames) => frames,
            frame => vec![frame],
        };
        for frame in frames {
            let now = self.now();
            let Some(page) = self.pages.get_mut(n) else {
                return Ok(());
            };
            let head = head(&frame, page.client.epoch());
            page.client.handle(Input::Frame(attempt, head), now);
            self.perform(n, Some(&frame))?;
            if frame["type"] == "auth:success" {
                self.connected.insert(n);
                if self.connected.len() == self.plan.clients && !self.said_ready {
                    self.said_ready = true;
                    println!(r#"{{"ready":{}}}"#, self.plan.clients);
                }
            }
        }
        Ok(())
    }

    fn closed(
        &mut self,
        n: usize,
        attempt: AttemptId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), Failure> {
        if let Some(page) = self.pages.get_mut(n) {
            page.socket = None;
        }
        self.connected.remove(&n);
        let closed = Closed {
            code,
            reason: reason.to_owned(),
            was_clean: code != CloseCode::ABNORMAL,
        };
        self.input(n, Input::Closed(attempt, closed))
    }
}

impl Page {
    fn on(&mut self, attempt: AttemptId) -> Option<&mut Socket> {
        self.socket
            .as_mut()
            .filter(|socket| socket.attempt == attempt)
    }
}

fn wall_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
}

fn flush(socket: &mut Socket) -> std::io::Result<()> {
    if socket.state == State::Connecting {
        return Ok(());
    }
    while !socket.outbox.is_empty() {
        match socket.stream.write(&socket.outbox) {
            Ok(n) => drop(socket.outbox.drain(..n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Everything there is; an error when it was the last.
fn read(socket: &mut Socket) -> std::io::Result<()> {
    let mut some = [0; 16 * 1024];
    loop {
        match socket.stream.read(&mut some) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => socket
                .inbox
                .extend_from_slice(some.get(..n).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

enum Next {
    Nothing,
    Opened,
    /// No 101: the relay is going down or not up yet.
    Refused,
    Text(String),
    Ping(Vec<u8>),
    Closed(u16, String),
}

fn next(socket: &mut Socket) -> Next {
    if socket.state != State::Open {
        let Some(end) = socket.inbox.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Next::Nothing;
        };
        let head: Vec<u8> = socket.inbox.drain(..end + 4).collect();
        if !head.starts_with(b"HTTP/1.1 101") {
            return Next::Refused;
        }
        socket.state = State::Open;
        return Next::Opened;
    }
    let Some((payload, used)) = frames::whole(&socket.inbox) else {
        return Next::Nothing;
    };
    let payload = payload.to_vec();
    let opcode = socket.inbox.first().map_or(0, |first| first & 0x0f);
    socket.inbox.drain(..used);
    match opcode {
        0x1 => Next::Text(String::from_utf8_lossy(&payload).into_owned()),
        0x8 => {
            let (code, reason) = payload
                .split_first_chunk()
                .map_or((1005, &[][..]), |(code, reason)| {
                    (u16::from_be_bytes(*code), reason)
                });
            Next::Closed(code, String::from_utf8_lossy(reason).into_owned())
        }
        0x9 => Next::Ping(payload),
        _ => next(socket),
    }
}
