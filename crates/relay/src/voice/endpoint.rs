//! The thread that owns voice sessions, and the two sockets that every call shares. A datagram finds its call by the
//! name on it or by where it came from: two look-ups, however many calls there are.

use super::address::Addresses;
use super::board::{Board, Seat, call_id};
use super::call::{Call, Network, NotTaken, Now};
use super::offer::Offer;
use super::paths::Moved;
use super::strangers::Strangers;
use super::stun::{self, Kind};
use super::talk::{Talk, Terms};
use super::tcp::{self, Incoming, Writer};
use super::{Answering, Control, Ending, Full, Line, Who};
use crate::clock::Clock;
use crate::config::Voice;
use crate::http::Desk;
use crate::ids::random_id;
use crate::{Fatal, limit};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::change::SdpOffer;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::ice::IceCreds;
use str0m::net::Protocol;
use str0m::{Input, Rtc, RtcConfig};
use tautline_machine::relay::voice::{Edge, Settings};
use tautline_protocol::limits::{self, hit};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

/// Datagrams read before timers and jobs get their turn.
const AT_ONCE: usize = 64;
/// Nothing of ours is longer; what is, is cut, and fails its checks.
const DATAGRAM: usize = 2048;
/// Bytes on their way on a data channel: room for the largest event, and one that follows.
const IN_FLIGHT: usize = 2 * limits::VOICE_CHANNEL_MESSAGE;

/// Bytes of the largest message that the stack takes off a data channel: more than may be sent, because the stack gives up
/// a channel on which more than it takes arrives, and the relay answers and goes on. It has as much room for it anyway.
const TAKEN: u32 = 1024 * 1024;

/// What the thread is made of.
pub(crate) struct Parts {
    pub(crate) voice: Voice,
    pub(crate) board: Arc<Board>,
    pub(crate) desk: Desk,
    pub(crate) terms: Terms,
    pub(crate) answering: Answering,
}

type Job = Box<dyn FnOnce(&mut Endpoint) + Send>;

/// How other threads reach it.
#[derive(Clone)]
pub(crate) struct Handle {
    jobs: mpsc::UnboundedSender<Job>,
    clock: Clock,
}

/// A call that has been answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) id: String,
    pub(crate) sdp: String,
}

/// Why a call is not answered.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There are as many as may be.
    Full(Full),
    /// Nobody could reach the relay.
    NoAddress,
    /// The offer, and what to do about it.
    Offer(&'static str),
    /// The relay goes down.
    Gone,
}

impl Handle {
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Answers an offer.
    pub(crate) async fn call(
        &self,
        offer: String,
        who: Who,
        settings: Settings,
    ) -> Result<Answered, Refused> {
        let offer = Offer::read(&offer).map_err(|unfit| Refused::Offer(unfit.0))?;
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |endpoint| {
            let _ = done.send(endpoint.open(&offer, who, settings));
        });
        if self.jobs.send(job).is_err() {
            return Err(Refused::Gone);
        }
        answer.await.unwrap_or(Err(Refused::Gone))
    }

    /// Runs a session's task on the thread.
    pub(crate) fn run<F: Future<Output = ()> + 'static>(
        &self,
        task: impl FnOnce() -> F + Send + 'static,
    ) {
        let job: Job = Box::new(|_| {
            tokio::task::spawn_local(task());
        });
        // The relay goes down; so does whoever asked.
        let _ = self.jobs.send(job);
    }
}

/// Binds the sockets and starts the thread; it ends with its last [`Handle`].
///
/// # Errors
/// A socket cannot be had, or no certificate made.
pub(crate) fn start(parts: Parts) -> Result<(Handle, std::thread::JoinHandle<()>), Fatal> {
    let udp = parts.voice.udp.map(|at| {
        let bound = std::net::UdpSocket::bind(at);
        bound
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|error| Fatal::new(format!("--voice-udp {at}: {error}")))
    });
    let tcp = parts.voice.tcp.map(|at| {
        let bound = std::net::TcpListener::bind(at);
        bound
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|error| Fatal::new(format!("--voice-tcp {at}: {error}")))
    });
    let (udp, tcp) = (udp.transpose()?, tcp.transpose()?);
    let addresses = Addresses::new(
        udp.as_ref().and_then(|udp| udp.local_addr().ok()),
        tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()),
        &parts.voice.public,
    );
    let provider = Arc::new(str0m::crypto::from_feature_flags());
    // Once for all calls: a call would be 30 ms slower for making its own.
    let certificate = provider
        .dtls_provider
        .generate_certificate()
        .ok_or_else(|| Fatal::new("no certificate for calls could be made"))?;
    let clock = Clock::start();
    let (jobs, jobs_in) = mpsc::unbounded_channel();
    let handle = Handle {
        jobs: jobs.clone(),
        clock,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fatal::new(format!("no runtime: {error}")))?;
    let weak = jobs.downgrade();
    drop(jobs);
    let thread = std::thread::Builder::new()
        .name("voice".into())
        .spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                let sockets = Sockets::attach(udp, tcp);
                let endpoint = Endpoint {
                    jobs: weak,
                    clock,
                    sockets: Rc::new(Routes {
                        udp: sockets.udp,
                        tcp: RefCell::default(),
                    }),
                    addresses,
                    provider,
                    certificate,
                    board: parts.board,
                    desk: parts.desk,
                    terms: parts.terms,
                    answering: parts.answering,
                    calls: HashMap::new(),
                    by_name: HashMap::new(),
                    by_source: HashMap::new(),
                    deadlines: BTreeSet::new(),
                    half_open: 0,
                    last_key: 0,
                    strangers: Strangers::default(),
                    told: [0; super::INDEXES.len()],
                };
                endpoint.run(sockets.tcp, jobs_in).await;
            });
        })
        .map_err(|error| Fatal::new(format!("no thread: {error}")))?;
    Ok((handle, thread))
}

/// The two, on this thread's reactor.
struct Sockets {
    udp: Option<UdpSocket>,
    tcp: Option<TcpListener>,
}

impl Sockets {
    fn attach(udp: Option<std::net::UdpSocket>, tcp: Option<std::net::TcpListener>) -> Self {
        Self {
            udp: udp.and_then(|socket| UdpSocket::from_std(socket).ok()),
            tcp: tcp.and_then(|socket| TcpListener::from_std(socket).ok()),
        }
    }
}

/// The ways out.
struct Routes {
    udp: Option<UdpSocket>,
    tcp: RefCell<HashMap<SocketAddr, Writer>>,
}

impl Network for Routes {
    fn send(&self, protocol: Protocol, to: SocketAddr, datagram: Vec<u8>) {
        let sent = match protocol {
            Protocol::Udp => self
                .udp
                .as_ref()
                .is_some_and(|udp| udp.try_send_to(&datagram, to).is_ok()),
            _ => {
                let tcp = self.tcp.borrow();
                tcp.get(&to).is_some_and(|writer| writer.send(datagram))
            }
        };
        if !sent {
            dropped("not_sent");
        }
    }
}

fn dropped(reason: &'static str) {
    metrics::counter!("tautline_udp_dropped_total", "reason" => reason).increment(1);
}

type Key = u64;

/// An offer that the WebRTC stack does not answer. Its own words may hold the offer's.
struct Unanswered;

const NOT_SDP: &str =
    "The offer cannot be read or answered: send what createOffer() gave, unchanged.";

/// See the module.
pub(crate) struct Endpoint {
    jobs: mpsc::WeakUnboundedSender<Job>,
    clock: Clock,
    sockets: Rc<Routes>,
    addresses: Addresses,
    provider: Arc<CryptoProvider>,
    certificate: DtlsCert,
    board: Arc<Board>,
    desk: Desk,
    terms: Terms,
    answering: Answering,
    calls: HashMap<Key, Held>,
    by_name: HashMap<String, Key>,
    by_source: HashMap<(Protocol, SocketAddr), Key>,
    deadlines: BTreeSet<(Instant, Key)>,
    half_open: usize,
    last_key: Key,
    strangers: Strangers,
    /// What the metrics were told of each index.
    told: [usize; super::INDEXES.len()],
}

/// A call, and when it is to be woken.
struct Held {
    call: Box<Call>,
    wake: Instant,
}

impl Endpoint {
    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            time: self.clock.now(),
        }
    }

    async fn run(mut self, tcp: Option<TcpListener>, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let (incoming, mut from_tcp) = mpsc::channel(tcp::INCOMING);
        let accepting = tcp.map(|tcp| tokio::task::spawn_local(tcp::accept(tcp, incoming)));
        let routes = Rc::clone(&self.sockets);
        let mut datagram = vec![0; DATAGRAM];
        loop {
            let next = self.deadlines.first().map(|&(at, _)| at);
            let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => job(&mut self),
                    None => break,
                },
                Some(incoming) = from_tcp.recv() => self.tcp(incoming),
                ready = readable(routes.udp.as_ref()) => if ready {
                    self.udp(&mut datagram);
                },
                () = tokio::time::sleep_until(next.into()) => {}
            }
            self.wake_due();
            self.tell();
        }
        if let Some(accepting) = accepting {
            accepting.abort();
        }
        let keys: Vec<Key> = self.calls.keys().copied().collect();
        for key in keys {
            self.with(key, |call, _| call.end(Ending::SHUTDOWN));
        }
    }

    /// Tells the metrics how much it holds, where that has changed.
    fn tell(&mut self) {
        let held = [
            self.calls.len(),
            self.deadlines.len(),
            self.half_open,
            self.by_name.len(),
            self.by_source.len(),
            self.sockets.tcp.borrow().len(),
        ];
        for ((index, held), told) in super::INDEXES.iter().zip(held).zip(&mut self.told) {
            if *told != held {
                *told = held;
                metrics::gauge!("tautline_voice_index", "index" => *index).set(held as f64);
            }
        }
    }

    /// Answers an offer with a call of its own.
    fn open(&mut self, offer: &Offer, who: Who, settings: Settings) -> Result<Answered, Refused> {
        if self.addresses.is_empty() {
            return Err(Refused::NoAddress);
        }
        if self.half_open >= limits::VOICE_HALF_OPEN {
            limit::hit(hit::VOICE_HALF_OPEN);
            return Err(Refused::Full(Full(hit::VOICE_HALF_OPEN)));
        }
        let id = call_id();
        self.last_key += 1;
        let key = self.last_key;
        let line = self.line(key);
        let seat = self
            .board
            .seat(&id, &who, "webrtc", Arc::clone(&line))
            .map_err(Refused::Full)?;
        let now = self.now();
        // An offer is a stranger's text: whatever it does to the stack, the other calls go on.
        let answered = catch_unwind(AssertUnwindSafe(|| self.answer(offer, now.instant)));
        let (rtc, name, sdp) = match answered {
            Ok(Ok(answered)) => answered,
            failed => {
                let mut seat: Seat = seat;
                if failed.is_err() {
                    metrics::counter!("tautline_session_panics_total").increment(1);
                    seat.ends(Ending::PANIC);
                }
                seat.ends(Ending::OFFER);
                return Err(Refused::Offer(NOT_SDP));
            }
        };
        let length_ms = self.terms.length_ms(&settings);
        let adapter = self
            .answering
            .adapter(Edge::Rtc, settings, &self.terms, &line, now.time);
        let talk = Talk::begin(
            adapter,
            who,
            offer.max_message,
            self.terms,
            length_ms,
            now.time,
        );
        let call = Call::new(rtc, name.clone(), talk, seat, line, now.instant);
        self.by_name.insert(name, key);
        self.half_open += 1;
        self.deadlines.insert((now.instant, key));
        self.calls.insert(
            key,
            Held {
                call: Box::new(call),
                wake: now.instant,
            },
        );
        Ok(Answered { id, sdp })
    }

    fn answer(&self, offer: &Offer, now: Instant) -> Result<(Rtc, String, String), Unanswered> {
        let offer = SdpOffer::from_sdp_string(&offer.sdp).map_err(|_| Unanswered)?;
        let name = random_id();
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(Arc::clone(&self.provider))
            .set_dtls_cert(self.certificate.clone())
            .set_local_ice_credentials(IceCreds {
                ufrag: name.clone(),
                pass: random_id(),
            })
            .clear_codecs()
            .enable_pcmu(true, false)
            .set_reordering_size_audio(3)
            .set_reordering_timeout_audio(Some(Duration::from_millis(60)))
            .set_sctp_max_buffered_amount(IN_FLIGHT)
            .set_sctp_max_message_size(TAKEN)
            .build(now);
        for candidate in self.addresses.candidates() {
            rtc.add_local_candidate(candidate.map_err(|_| Unanswered)?);
        }
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|_| Unanswered)?;
        // Or no timer of ICE's runs before the first datagram.
        rtc.handle_input(Input::Timeout(now))
            .map_err(|_| Unanswered)?;
        let said = answer.to_sdp_string().replace(
            &format!("a=max-message-size:{TAKEN}\r\n"),
            &format!("a=max-message-size:{}\r\n", limits::VOICE_CHANNEL_MESSAGE),
        );
        Ok((rtc, name, said))
    }

    fn line(&self, key: Key) -> Line {
        let jobs = self.jobs.clone();
        Arc::new(move |control| {
            if let Some(jobs) = jobs.upgrade() {
                let job: Job = Box::new(move |endpoint| endpoint.control(key, control));
                let _ = jobs.send(job);
            }
        })
    }

    fn control(&mut self, key: Key, control: Control) {
        self.with(key, |call, now| match control {
            Control::End(ending) => call.end(ending),
            Control::Event(text) => call.talk().message(&text, now.time),
            Control::Join(joined) => call.talk().join(joined),
            Control::Upstream(number, heard) => call.talk().upstream(number, heard, now.time),
            Control::Ordered { call_id, result } => {
                let result = result.as_deref().map_err(String::as_str);
                call.talk().ordered(&call_id, result, now.time);
            }
        });
    }

    /// Does something to a call, then lets it run; a panic ends that one call.
    fn with<T>(&mut self, key: Key, act: impl FnOnce(&mut Call, Now) -> T) -> Option<T> {
        let Held { mut call, wake } = self.calls.remove(&key)?;
        self.deadlines.remove(&(wake, key));
        let (now, routes) = (self.now(), Rc::clone(&self.sockets));
        let was_set_up = call.is_set_up();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let made = act(&mut call, now);
            if call.ending().is_none() {
                call.pump(now, &*routes);
            }
            (call, made)
        }));
        let Ok((mut call, made)) = ran else {
            // The call went with the panic, and its seat with it. What it was found by is not known any more.
            self.by_name.retain(|_, of| *of != key);
            let sources = self.by_source.iter().filter(|(_, of)| **of == key);
            let sources: Vec<_> = sources.map(|(source, _)| *source).collect();
            self.forget(key, &sources, was_set_up);
            return None;
        };
        for moved in call.paths.moved() {
            match moved {
                Moved::To(protocol, address) => {
                    self.by_source.insert((protocol, address), key);
                }
                Moved::From(protocol, address) => self.leave(key, (protocol, address)),
            }
        }
        if call.is_set_up() && !was_set_up {
            self.half_open = self.half_open.saturating_sub(1);
        }
        for (call_id, order) in std::mem::take(&mut call.orders) {
            let (who, line) = (call.talk().who.clone(), Arc::clone(&call.line));
            self.desk.place(&who, call_id, order, line);
        }
        if call.ending().is_some() {
            let is_set_up = call.is_set_up();
            let sources: Vec<_> = call.paths.addresses().collect();
            self.by_name.remove(&call.ufrag);
            // Counted by its seat, should it panic.
            let _ = catch_unwind(AssertUnwindSafe(|| call.close(now, &*routes)));
            self.forget(key, &sources, is_set_up);
            return Some(made);
        }
        let clock = self.clock;
        let wake = call.wake(|at| clock.instant(at).into_std());
        self.deadlines.insert((wake, key));
        self.calls.insert(key, Held { call, wake });
        Some(made)
    }

    /// A call is not reached there any more, unless that is another's by now.
    fn leave(&mut self, key: Key, source: (Protocol, SocketAddr)) {
        if self.by_source.get(&source) == Some(&key) {
            self.by_source.remove(&source);
            if source.0 != Protocol::Udp {
                self.sockets.tcp.borrow_mut().remove(&source.1);
            }
        }
    }

    /// Nothing is left of a call.
    fn forget(&mut self, key: Key, sources: &[(Protocol, SocketAddr)], was_set_up: bool) {
        for &source in sources {
            self.leave(key, source);
        }
        if !was_set_up {
            self.half_open = self.half_open.saturating_sub(1);
        }
    }

    fn wake_due(&mut self) {
        let now = Instant::now();
        while let Some(&(at, key)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.deadlines.pop_first();
            self.with(key, Call::timeout);
        }
    }

    fn udp(&mut self, datagram: &mut [u8]) {
        let routes = Rc::clone(&self.sockets);
        let Some(udp) = &routes.udp else { return };
        for _ in 0..AT_ONCE {
            match udp.try_recv_from(datagram) {
                Ok((n, from)) => {
                    let datagram = datagram.get(..n).unwrap_or_default();
                    self.datagram(Protocol::Udp, from, datagram);
                }
                // The network's word on an earlier datagram (a port that is closed), or nothing more to read.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    fn tcp(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Opened(from, writer) => {
                self.sockets.tcp.borrow_mut().insert(from, writer);
            }
            Incoming::Datagram(from, datagram) => {
                if !self.datagram(Protocol::Tcp, from, &datagram) {
                    // No call of ours: it is let go.
                    self.sockets.tcp.borrow_mut().remove(&from);
                }
            }
            Incoming::Closed(from) => {
                self.sockets.tcp.borrow_mut().remove(&from);
            }
        }
    }

    /// A datagram from somewhere; whether it was a call's.
    fn datagram(&mut self, protocol: Protocol, from: SocketAddr, datagram: &[u8]) -> bool {
        let known = self.by_source.get(&(protocol, from)).copied();
        let now = self.clock.now();
        let kind = stun::kind(datagram);
        let named = match kind {
            Kind::Request { ufrag } => self.by_name.get(ufrag).copied(),
            _ => None,
        };
        // Many share an address. A call's name opens: only its own peer was told it.
        if known.is_none() && named.is_none() && self.strangers.ignores(from.ip(), now) {
            dropped("ignored");
            return false;
        }
        let taken = match kind {
            Kind::Unknown => Err(NotTaken("malformed")),
            Kind::Request { .. } => named.ok_or(NotTaken("unknown_name")),
            _ => known.ok_or(NotTaken("unknown_source")),
        };
        let taken = taken.and_then(|key| {
            let to = self
                .addresses
                .sent_to(protocol, from)
                .ok_or(NotTaken("unknown_source"))?;
            // A peer may come back from where another call of it was: the check's name decides.
            self.with(key, |call, now| {
                call.receive(protocol, from, to, datagram, now)
            })
            .unwrap_or(Err(NotTaken("unknown_source")))
        });
        match taken {
            Ok(()) => true,
            Err(NotTaken(reason)) => {
                dropped(reason);
                if known.is_none() && self.strangers.add(from.ip(), now) {
                    limit::hit(hit::UDP_STRANGERS);
                }
                false
            }
        }
    }
}

/// Ready to be read; never, where there is none.
async fn readable(udp: Option<&UdpSocket>) -> bool {
    match udp {
        Some(udp) => udp.readable().await.is_ok(),
        None => std::future::pending().await,
    }
}
