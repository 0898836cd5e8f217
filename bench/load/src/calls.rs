//! Calls over WebRTC: what one costs the relay while it is held. Every caller speaks for a second and a half and then
//! listens, over and over; the loopback peer says back what it heard, so both directions are always in use.

use crate::Failure;
use crate::server::Server;
use crate::sockets::Socket;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// Until every call is there.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of speech, then of silence: 20 ms each.
const LOUD: u64 = 75;
const QUIET: u64 = 125;
const FRAME: u64 = 160;

#[derive(Deserialize)]
pub(crate) struct Plan {
    server: Server,
    calls: usize,
    /// Spoken before it is measured.
    warm_up_s: f64,
    seconds: f64,
}

/// Says `ready` when every call is there and has spoken a while, and then what it all came to.
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let mut poll = Poll::new()?;
    let mut callers = Vec::with_capacity(plan.calls);
    for n in 0..plan.calls {
        let mut caller = Caller::call(&plan.server, n as u64)?;
        poll.registry()
            .register(&mut caller.udp, Token(n), Interest::READABLE)?;
        callers.push(caller);
        // One after the other, as guests come; the others go on meanwhile.
        let until = Instant::now() + PATIENCE;
        while !callers.last().is_some_and(Caller::is_there) {
            if Instant::now() > until {
                return Err(format!("call {n} is not there in time").into());
            }
            turn(
                &mut poll,
                &mut callers,
                Instant::now() + Duration::from_millis(5),
            )?;
        }
    }
    let speaking = Instant::now();
    for caller in &mut callers {
        caller.speak_from(speaking);
    }
    until(&mut poll, &mut callers, plan.warm_up_s)?;
    println!(r#"{{"ready":{}}}"#, callers.len());
    let before = Counted::of(&plan.server, &callers)?;
    let began = Instant::now();
    until(&mut poll, &mut callers, plan.seconds)?;
    let seconds = began.elapsed().as_secs_f64();
    let after = Counted::of(&plan.server, &callers)?;
    let threads: serde_json::Map<String, Value> = plan
        .server
        .threads()?
        .into_iter()
        .map(|(name, total)| {
            (
                name.clone(),
                json!(total - before.threads.get(&name).copied().unwrap_or(0.0)),
            )
        })
        .collect();
    println!(
        "{}",
        json!({
            "seconds": seconds,
            "cpu_s": after.cpu_s - before.cpu_s,
            "system_s": after.system_s - before.system_s,
            "frames_heard": after.heard - before.heard,
            "frames_spoken": after.spoken - before.spoken,
            "events": after.events - before.events,
            "threads": threads,
        })
    );
    for caller in &mut callers {
        caller.end();
    }
    Ok(())
}

struct Counted {
    cpu_s: f64,
    system_s: f64,
    threads: std::collections::BTreeMap<String, f64>,
    heard: u64,
    spoken: u64,
    events: u64,
}

impl Counted {
    fn of(server: &Server, callers: &[Caller]) -> Result<Self, Failure> {
        let (user, system) = server.cpu_seconds()?;
        let sum = |of: fn(&Caller) -> u64| callers.iter().map(of).sum();
        Ok(Self {
            cpu_s: user + system,
            system_s: system,
            threads: server.threads()?,
            heard: sum(|caller| caller.heard),
            spoken: sum(|caller| caller.spoken),
            events: sum(|caller| caller.events),
        })
    }
}

fn until(poll: &mut Poll, callers: &mut [Caller], seconds: f64) -> Result<(), Failure> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        turn(poll, callers, end)?;
    }
    Ok(())
}

/// Waits for a datagram or whoever is due, and lets them go on.
fn turn(poll: &mut Poll, callers: &mut [Caller], end: Instant) -> Result<(), Failure> {
    let mut events = Events::with_capacity(256);
    let wake = callers
        .iter()
        .map(Caller::wake)
        .min()
        .unwrap_or(end)
        .min(end);
    let wait = wake.saturating_duration_since(Instant::now());
    match poll.poll(&mut events, Some(wait)) {
        Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
        _ => {}
    }
    for event in &events {
        if let Some(caller) = callers.get_mut(event.token().0) {
            caller.read()?;
        }
    }
    let now = Instant::now();
    for caller in callers {
        if caller.wake() <= now {
            caller.due(now)?;
        }
    }
    Ok(())
}

struct Caller {
    rtc: Rtc,
    udp: UdpSocket,
    here: SocketAddr,
    mid: Mid,
    pt: Option<Pt>,
    channel: Option<ChannelId>,
    session: bool,
    rtc_wake: Instant,
    /// When the next frame is due; none before it is told to.
    speak_at: Option<Instant>,
    /// Frames since the call began: which of them are loud.
    frame: u64,
    heard: u64,
    spoken: u64,
    events: u64,
}

impl Caller {
    /// Offers a call and takes its answer.
    fn call(server: &Server, n: u64) -> Result<Self, Failure> {
        let udp = UdpSocket::bind("127.0.0.1:0".parse()?)?;
        let here = udp.local_addr()?;
        let now = Instant::now();
        let mut rtc = RtcConfig::new()
            .clear_codecs()
            .enable_pcmu(true, false)
            .build(now);
        let mut changes = rtc.sdp_api();
        let mid = changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        changes.add_channel("oai-events".into());
        let (offer, pending) = changes.apply().ok_or("no offer")?;
        let answer = exchange(server, &offer.to_sdp_string())?;
        let mut caller = Self {
            rtc,
            udp,
            here,
            mid,
            pt: None,
            channel: None,
            session: false,
            rtc_wake: now,
            speak_at: None,
            // Not all of them at the same time.
            frame: n * 37,
            heard: 0,
            spoken: 0,
            events: 0,
        };
        caller.answered(pending, &answer)?;
        Ok(caller)
    }

    fn answered(&mut self, pending: SdpPendingOffer, answer: &str) -> Result<(), Failure> {
        self.rtc
            .add_local_candidate(Candidate::host(self.here, "udp")?);
        let answer = SdpAnswer::from_sdp_string(answer)?;
        self.rtc.sdp_api().accept_answer(pending, answer)?;
        self.drain()
    }

    fn is_there(&self) -> bool {
        self.session
    }

    fn speak_from(&mut self, at: Instant) {
        self.speak_at = Some(at);
    }

    fn wake(&self) -> Instant {
        self.speak_at
            .map_or(self.rtc_wake, |at| at.min(self.rtc_wake))
    }

    fn read(&mut self) -> Result<(), Failure> {
        let mut datagram = [0; 2048];
        loop {
            let (n, from) = match self.udp.recv_from(&mut datagram) {
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let bytes = datagram.get(..n).unwrap_or_default();
            if let Ok(contents) = Receive::new(Protocol::Udp, from, self.here, bytes) {
                self.rtc
                    .handle_input(Input::Receive(Instant::now(), contents))?;
                self.drain()?;
            }
        }
    }

    fn due(&mut self, now: Instant) -> Result<(), Failure> {
        if let Some(at) = self.speak_at.filter(|at| *at <= now) {
            self.speak_at = Some(at + Duration::from_millis(20));
            self.speak(now)?;
        }
        if self.rtc_wake <= now {
            self.rtc.handle_input(Input::Timeout(now))?;
        }
        self.drain()
    }

    /// A square wave, or silence, of 20 ms.
    fn speak(&mut self, now: Instant) -> Result<(), Failure> {
        let loud = self.frame % (LOUD + QUIET) < LOUD;
        let sample = |n: u64| match (loud, n / 9 % 2) {
            (false, _) => 0xff,
            (true, 0) => 0x90,
            (true, _) => 0x10,
        };
        let sound: Vec<u8> = (0..FRAME).map(sample).collect();
        let time = MediaTime::new(self.frame * FRAME, Frequency::EIGHT_KHZ);
        self.frame += 1;
        let Some(writer) = self.rtc.writer(self.mid) else {
            return Ok(());
        };
        let pt = self
            .pt
            .or_else(|| writer.payload_params().next().map(|params| params.pt()));
        self.pt = pt;
        if let Some(pt) = pt {
            writer.write(pt, now, time, sound)?;
            self.spoken += 1;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Failure> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.rtc_wake = at;
                    return Ok(());
                }
                Output::Transmit(out) => {
                    // What the kernel has no room for is lost, as on any network.
                    let _ = self.udp.send_to(&out.contents, out.destination);
                }
                Output::Event(Event::ChannelOpen(id, _)) => self.channel = Some(id),
                Output::Event(Event::ChannelData(data)) => {
                    self.events += 1;
                    self.session |= data
                        .data
                        .windows(15)
                        .any(|window| window == b"session.created");
                }
                Output::Event(Event::MediaData(_)) => self.heard += 1,
                Output::Event(Event::Closed) => return Err("the relay ended a call".into()),
                Output::Event(_) => {}
            }
        }
    }

    fn end(&mut self) {
        if self.rtc.close().is_ok() {
            let _ = self.drain();
        }
    }
}

/// `POST /v1/realtime/calls`.
fn exchange(server: &Server, offer: &str) -> Result<String, Failure> {
    let relay = server.relay.as_ref().ok_or("calls are for a relay")?;
    let mut socket = Socket::open(server)?;
    let head = format!(
        "POST /v1/realtime/calls HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        server.address,
        relay.token,
        offer.len()
    );
    socket.stream.write_all(head.as_bytes())?;
    socket.stream.write_all(offer.as_bytes())?;
    let head = socket.head()?;
    let mut body = std::mem::take(&mut socket.early);
    socket.stream.read_to_end(&mut body)?;
    let body = String::from_utf8(body)?;
    if !head.starts_with("HTTP/1.1 201") {
        return Err(format!("the offer is refused: {head}{body}").into());
    }
    Ok(body)
}
