//! Few publish, many listen.

use crate::Failure;
use crate::events;
use crate::frames::{self, Heard, Listener};
use crate::publisher::Publisher;
use crate::server::Server;
use crate::sockets;
use crate::stats::Times;
use memchr::memmem::Finder;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

#[derive(Deserialize)]
pub(crate) struct Plan {
    server: Server,
    subscribers: usize,
    publishers: usize,
    /// Events that one publishing connection may have under way.
    in_flight: usize,
    /// Events that are published and not yet with every subscriber.
    ahead: usize,
    /// Events of one HTTP request.
    batch: usize,
    /// Bytes of an event as it is delivered.
    bytes: usize,
    /// Events a second whatever has arrived; without it as many as `ahead` lets through.
    rate: Option<f64>,
    warm_up_s: f64,
    seconds: f64,
}

/// After the last event, how long it may take until all have it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A published event.
#[derive(Clone, Copy)]
struct Published {
    at: Instant,
    /// Deliveries still to come.
    missing: usize,
    publisher: usize,
}

struct Run<'a> {
    plan: &'a Plan,
    poll: Poll,
    subscribers: Vec<(TcpStream, Listener)>,
    publishers: Vec<Publisher>,
    under_way: Vec<usize>,
    turn: usize,
    /// Every event since the first.
    published: Vec<Published>,
    complete: usize,
    pad: usize,
    lead: Finder<'static>,
    scratch: Vec<u8>,
    tally: Tally,
}

/// What is counted while it is measured.
struct Tally {
    measuring: bool,
    deliveries: u64,
    bytes: u64,
    reads: u64,
    times: Times,
}

pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let mut run = Run::start(plan)?;
    run.fit()?;
    run.go(Duration::from_secs_f64(plan.warm_up_s))?;
    let before = plan.server.cpu_seconds()?;
    let threads_before = plan.server.threads()?;
    let (began, from) = (Instant::now(), run.published.len());
    run.tally.measuring = true;
    run.go(Duration::from_secs_f64(plan.seconds))?;
    run.tally.measuring = false;
    let after = plan.server.cpu_seconds()?;
    let mut threads = plan.server.threads()?;
    for (name, seconds) in &mut threads {
        *seconds -= threads_before.get(name).copied().unwrap_or_default();
    }
    let seconds = began.elapsed().as_secs_f64();
    let published = run.published.len() - from;
    run.settle()?;
    let tally = &run.tally;
    let (user, system) = (after.0 - before.0, after.1 - before.1);
    let line = serde_json::json!({
        "seconds": seconds,
        "events": published,
        "deliveries": tally.deliveries,
        "cpu_s": user + system,
        "user_s": user,
        "system_s": system,
        "per_cpu_s": tally.deliveries as f64 / (user + system),
        "per_s": tally.deliveries as f64 / seconds,
        "bytes_per_delivery": tally.bytes as f64 / tally.deliveries as f64,
        "deliveries_per_read": tally.deliveries as f64 / tally.reads as f64,
        "p50_ms": tally.times.quantile_ms(0.5),
        "p99_ms": tally.times.quantile_ms(0.99),
        "max_ms": tally.times.most_ms(),
        "timed": tally.times.count(),
        "threads": threads,
    });
    println!("{line}");
    Ok(())
}

impl<'a> Run<'a> {
    fn start(plan: &'a Plan) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let v1 = plan.server.relay.as_ref().is_some_and(|relay| relay.v1);
        let lead = Finder::new(events::LEAD);
        let mut subscribers = Vec::with_capacity(plan.subscribers);
        for socket in sockets::listeners(&plan.server, plan.subscribers)? {
            let mut listener = Listener::new(v1);
            listener.take(&socket.early, &lead, |_| {});
            socket.stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(socket.stream);
            poll.registry()
                .register(&mut stream, Token(subscribers.len()), Interest::READABLE)?;
            subscribers.push((stream, listener));
        }
        let mut publishers = Vec::with_capacity(plan.publishers);
        for n in 0..plan.publishers {
            let token = Token(plan.subscribers + n);
            publishers.push(Publisher::open(&plan.server, poll.registry(), token)?);
        }
        Ok(Self {
            plan,
            poll,
            subscribers,
            under_way: vec![0; publishers.len()],
            publishers,
            turn: 0,
            published: Vec::with_capacity(1 << 20),
            complete: 0,
            pad: 16,
            lead,
            scratch: vec![0; 256 * 1024],
            tally: Tally {
                measuring: false,
                deliveries: 0,
                bytes: 0,
                reads: 0,
                times: Times::new(),
            },
        })
    }

    /// Finds the padding with which an event is as long as planned when it arrives, whatever the server adds.
    fn fit(&mut self) -> Result<(), Failure> {
        // The seq of later events has more digits than the first's: let a few go by.
        for _ in 0..12 {
            self.publish(0, 1)?;
            self.settle()?;
        }
        self.tally.measuring = true;
        self.publish(0, 1)?;
        self.settle()?;
        self.tally.measuring = false;
        let arrived = self.tally.bytes as usize / self.subscribers.len();
        let frame = if self.plan.bytes < 126 { 2 } else { 4 };
        let sent = events::bare() + self.pad;
        let added = arrived.saturating_sub(sent + 4);
        self.pad = (self.plan.bytes + 4 - frame)
            .checked_sub(events::bare() + added)
            .ok_or("events cannot be that short")?;
        (self.tally.deliveries, self.tally.bytes, self.tally.reads) = (0, 0, 0);
        self.tally.times = Times::new();
        Ok(())
    }

    /// Publishes and listens for a while.
    fn go(&mut self, time: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        let (end, first) = (began + time, self.published.len());
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let wait = match self.plan.rate {
                None => {
                    self.fill()?;
                    end - now
                }
                Some(rate) => {
                    let due = |n: usize| began + Duration::from_secs_f64(n as f64 / rate);
                    while due(self.published.len() - first) <= now {
                        let publisher = self.next_publisher().unwrap_or(0);
                        self.publish(publisher, 1)?;
                    }
                    due(self.published.len() - first).min(end) - now
                }
            };
            self.listen(wait)?;
        }
    }

    /// Waits until everything published has arrived everywhere.
    fn settle(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while self.complete < self.published.len()
            || !self.publishers.iter().all(Publisher::is_free)
        {
            if Instant::now() > end {
                let missing: usize = self.published.iter().map(|event| event.missing).sum();
                return Err(format!("{missing} deliveries are missing").into());
            }
            self.listen(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// As many events as may be ahead.
    fn fill(&mut self) -> Result<(), Failure> {
        loop {
            let room = self.plan.ahead - (self.published.len() - self.complete);
            let batch = self.plan.batch;
            if room < batch {
                return Ok(());
            }
            let Some(publisher) = self.next_publisher() else {
                return Ok(());
            };
            self.publish(publisher, batch)?;
        }
    }

    /// The next in turn of those that may say something.
    fn next_publisher(&mut self) -> Option<usize> {
        let many = self.publishers.len();
        for _ in 0..many {
            self.turn = (self.turn + 1) % many;
            let free = self.publishers.get(self.turn)?.is_free();
            let under_way = *self.under_way.get(self.turn)?;
            if free && under_way + self.plan.batch <= self.plan.in_flight {
                return Some(self.turn);
            }
        }
        None
    }

    fn publish(&mut self, n: usize, count: usize) -> Result<(), Failure> {
        let Some(publisher) = self.publishers.get_mut(n) else {
            return Ok(());
        };
        let first = self.published.len();
        let batch: Vec<String> = (first..first + count)
            .map(|n| events::event(n as u64, self.pad))
            .collect();
        publisher.publish(&batch);
        let event = Published {
            at: Instant::now(),
            missing: self.subscribers.len(),
            publisher: n,
        };
        self.published.resize(first + count, event);
        if let Some(under_way) = self.under_way.get_mut(n) {
            *under_way += count;
        }
        publisher.flush()
    }

    /// Waits for something to read, and reads it.
    fn listen(&mut self, wait: Duration) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        self.poll.poll(&mut events, Some(wait))?;
        for event in &events {
            let Token(n) = event.token();
            if n < self.subscribers.len() {
                self.deliveries(n)?;
            } else if let Some(publisher) = self.publishers.get_mut(n - self.subscribers.len()) {
                if event.is_writable() {
                    publisher.flush()?;
                }
                if event.is_readable() {
                    publisher.heard(&mut self.scratch)?;
                }
            }
        }
        Ok(())
    }

    fn deliveries(&mut self, n: usize) -> Result<(), Failure> {
        let Some((stream, listener)) = self.subscribers.get_mut(n) else {
            return Ok(());
        };
        loop {
            let read = match stream.read(&mut self.scratch) {
                Ok(0) => return Err("the server closed a subscriber's connection".into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(format!("a subscriber's connection broke ({error})").into());
                }
            };
            let now = Instant::now();
            let tally = &mut self.tally;
            if tally.measuring {
                tally.bytes += read as u64;
                tally.reads += 1;
            }
            let (mut pongs, mut closed, mut unknown) = (Vec::new(), None, None);
            let bytes = self.scratch.get(..read).unwrap_or_default();
            listener.take(bytes, &self.lead, |heard| match heard {
                Heard::Event(number) => {
                    let event = usize::try_from(number)
                        .ok()
                        .and_then(|number| self.published.get_mut(number))
                        .filter(|event| event.missing > 0);
                    let Some(event) = event else {
                        unknown = Some(number);
                        return;
                    };
                    event.missing -= 1;
                    if event.missing == 0 {
                        self.complete += 1;
                        if let Some(under_way) = self.under_way.get_mut(event.publisher) {
                            *under_way -= 1;
                        }
                    }
                    if tally.measuring {
                        tally.deliveries += 1;
                        tally.times.record(micros(now - event.at));
                    }
                }
                Heard::Ping(payload) => frames::pong(&mut pongs, &payload, [1, 2, 3, 4]),
                Heard::Closed(payload) => closed = Some(payload),
            });
            if let Some(number) = unknown {
                return Err(format!("event {number} came too often").into());
            }
            if let Some(payload) = closed {
                let text = String::from_utf8_lossy(&payload).into_owned();
                return Err(format!("the server closed a subscriber: {text}").into());
            }
            if !pongs.is_empty() {
                stream.write_all(&pongs)?;
            }
            // Less than was asked for: there is no more now, and epoll tells when there is.
            if read < self.scratch.len() {
                return Ok(());
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
