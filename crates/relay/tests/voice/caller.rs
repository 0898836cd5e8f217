//! A native caller: str0m on a socket of its own.

use crate::support::{Answer, DEADLINE, Relay};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// See the module.
pub(crate) struct Caller {
    rtc: Rtc,
    udp: UdpSocket,
    here: SocketAddr,
    tcp: Option<(TcpStream, Vec<u8>)>,
    tcp_here: Option<SocketAddr>,
    mid: Mid,
    pending: Option<SdpPendingOffer>,
    channel: Option<ChannelId>,
    pub(crate) events: Vec<Value>,
    /// Frames of sound that came.
    pub(crate) heard: Vec<Vec<u8>>,
    pub(crate) closed: bool,
    /// Frames still to be spoken, one every 20 ms.
    speech: VecDeque<Vec<u8>>,
    speak_at: Instant,
    ticks: u64,
    pub(crate) id: String,
}

/// A µ-law sample of a linear one (G.711).
fn ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let exponent = (magnitude >> 7).ilog2();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent as u8) << 4 | mantissa as u8)
}

/// A tone of 440 Hz for so many frames of 20 ms, then so many of silence.
pub(crate) fn tone(frames: usize, silence: usize) -> Vec<Vec<u8>> {
    let sample = |n: usize| {
        let phase = n as f64 * 440.0 * std::f64::consts::TAU / 8000.0;
        ulaw((phase.sin() * 12_000.0) as i16)
    };
    let loud = (0..frames).map(|frame| (0..160).map(|n| sample(frame * 160 + n)).collect());
    loud.chain((0..silence).map(|_| vec![0xff; 160])).collect()
}

impl Caller {
    /// One that has not called yet, and its offer.
    pub(crate) async fn new() -> (Self, String) {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let here = udp.local_addr().unwrap();
        let mut rtc = RtcConfig::new()
            .clear_codecs()
            .enable_pcmu(true, false)
            // So that it can break the rules of messages.
            .set_sctp_max_buffered_amount(2 * 1024 * 1024)
            .build(Instant::now());
        let mut changes = rtc.sdp_api();
        let mid = changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        changes.add_channel("oai-events".into());
        let (offer, pending) = changes.apply().unwrap();
        let caller = Self {
            rtc,
            udp,
            here,
            tcp: None,
            tcp_here: None,
            mid,
            pending: Some(pending),
            channel: None,
            events: Vec::new(),
            heard: Vec::new(),
            closed: false,
            speech: VecDeque::new(),
            speak_at: Instant::now(),
            ticks: 0,
            id: String::new(),
        };
        (caller, offer.to_sdp_string())
    }

    /// Takes an answer, and may be reached over UDP.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        assert_eq!(answer.status, 201, "{answer:?}");
        let location = answer.header("location").unwrap();
        let id = location.strip_prefix("/v1/realtime/calls/").unwrap();
        assert!(id.starts_with("rtc_"));
        self.id = id.to_owned();
        if self.tcp.is_none() {
            let candidate = Candidate::host(self.here, "udp").unwrap();
            self.rtc.add_local_candidate(candidate);
        }
        let sdp = SdpAnswer::from_sdp_string(&answer.body).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, sdp).unwrap();
    }

    /// Calls over UDP, until the session is there.
    pub(crate) async fn call(relay: &Relay, key: &str) -> Self {
        let (mut caller, offer) = Self::new().await;
        let answer = crate::post(relay, "/calls", key, "application/sdp", &offer).await;
        caller.answered(&answer);
        caller.until("session.created").await;
        caller
    }

    /// Calls over TCP only.
    pub(crate) async fn call_by_tcp(relay: &Relay, key: &str) -> Self {
        let (mut caller, offer) = Self::new().await;
        let answer = crate::post(relay, "/calls", key, "application/sdp", &offer).await;
        let line = answer
            .body
            .lines()
            .find(|line| line.starts_with("a=candidate:") && line.contains("tcptype passive"))
            .unwrap_or_else(|| panic!("{}", answer.body));
        let words: Vec<_> = line.split(' ').collect();
        let there = format!("{}:{}", words[4], words[5]);
        let socket = TcpStream::connect(there).await.unwrap();
        let here = socket.local_addr().unwrap();
        let candidate = Candidate::builder()
            .tcp()
            .host(here)
            .tcptype(TcpType::Active)
            .build()
            .unwrap();
        caller.rtc.add_local_candidate(candidate);
        caller.tcp = Some((socket, Vec::new()));
        caller.tcp_here = Some(here);
        caller.answered(&answer);
        caller.until("session.created").await;
        caller
    }

    /// Sends an event.
    pub(crate) fn send(&mut self, event: Value) {
        self.send_text(&event.to_string());
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        let mut channel = self.rtc.channel(self.channel.unwrap()).unwrap();
        assert!(channel.write(false, text.as_bytes()).unwrap());
    }

    /// Speaks from now on.
    pub(crate) fn speak(&mut self, frames: Vec<Vec<u8>>) {
        self.speech.extend(frames);
        self.speak_at = Instant::now();
    }

    /// Goes on until an event of that type has come, and takes it with those before it.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        let is = |event: &Value| event["type"] == kind;
        self.run(kind, |caller| caller.events.iter().any(is)).await;
        let place = self.events.iter().position(is).unwrap();
        self.events.drain(..=place).next_back().unwrap()
    }

    /// Goes on until the relay has closed.
    pub(crate) async fn until_closed(&mut self) {
        self.run("the end", |caller| caller.closed).await;
    }

    /// A text turn: what the answer's function calls and words are.
    pub(crate) async fn say(&mut self, text: &str) -> Value {
        self.send(json!({"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":text}]}}));
        self.send(json!({"type":"response.create"}));
        self.until("response.done").await
    }

    /// Lets time and datagrams in until the condition holds.
    pub(crate) async fn run(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        loop {
            let wake = self.drain().await;
            if holds(self) {
                return;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "in vain: {what}; {:?}",
                self.events
            );
            self.turn(wake).await;
        }
    }

    /// Goes on for a while, whatever comes.
    pub(crate) async fn run_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let wake = self.drain().await;
            self.turn(wake.min(until)).await;
        }
        self.drain().await;
    }

    async fn turn(&mut self, wake: Instant) {
        let wake = if self.speech.is_empty() {
            wake
        } else {
            wake.min(self.speak_at)
        };
        let mut datagram = vec![0; 2048];
        tokio::select! {
            got = self.udp.recv_from(&mut datagram) => {
                if let Ok((n, from)) = got {
                    self.receive(Protocol::Udp, from, self.here, &datagram[..n]);
                }
            }
            frame = frame(&mut self.tcp) => {
                if let (Some((from, frame)), Some(here)) = (frame, self.tcp_here) {
                    self.receive(Protocol::Tcp, from, here, &frame);
                }
            }
            () = tokio::time::sleep_until(wake.into()) => {
                if Instant::now() >= self.speak_at && let Some(frame) = self.speech.pop_front() {
                    self.speak_at += Duration::from_millis(20);
                    self.play(frame);
                } else if self.rtc.is_alive() {
                    self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
                }
            }
        }
    }

    fn play(&mut self, frame: Vec<u8>) {
        let time = MediaTime::new(self.ticks, Frequency::EIGHT_KHZ);
        self.ticks += 160;
        if let Some(writer) = self.rtc.writer(self.mid) {
            let pt = writer.payload_params().next().unwrap().pt();
            writer.write(pt, Instant::now(), time, frame).unwrap();
        }
    }

    fn receive(&mut self, protocol: Protocol, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if let Ok(contents) = Receive::new(protocol, from, to, bytes)
            && self.rtc.is_alive()
        {
            let input = Input::Receive(Instant::now(), contents);
            self.rtc.handle_input(input).unwrap();
        }
    }

    async fn drain(&mut self) -> Instant {
        loop {
            if !self.rtc.is_alive() {
                self.closed = true;
                return Instant::now() + Duration::from_millis(50);
            }
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => return at,
                Output::Transmit(out) => match (&mut self.tcp, out.proto) {
                    (Some((tcp, _)), Protocol::Tcp) => {
                        let mut frame = (out.contents.len() as u16).to_be_bytes().to_vec();
                        frame.extend_from_slice(&out.contents);
                        let _ = tcp.write_all(&frame).await;
                    }
                    (None, Protocol::Udp) => {
                        let _ = self.udp.send_to(&out.contents, out.destination).await;
                    }
                    _ => {}
                },
                Output::Event(event) => self.event(event),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::ChannelOpen(id, _) => self.channel = Some(id),
            Event::ChannelData(data) => {
                assert!(!data.binary);
                self.events
                    .push(serde_json::from_slice(&data.data).unwrap());
            }
            Event::MediaData(data) => self.heard.push(data.data.to_vec()),
            Event::ChannelClose(_) | Event::Closed => self.closed = true,
            _ => {}
        }
    }
}

/// The next frame of a TCP connection (RFC 4571); never, where there is none.
async fn frame(tcp: &mut Option<(TcpStream, Vec<u8>)>) -> Option<(SocketAddr, Vec<u8>)> {
    let Some((socket, buffer)) = tcp else {
        return std::future::pending().await;
    };
    let from = socket.peer_addr().ok()?;
    loop {
        if let Some(len) = buffer.first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*len));
            if buffer.len() >= 2 + len {
                let frame = buffer[2..2 + len].to_vec();
                buffer.drain(..2 + len);
                return Some((from, frame));
            }
        }
        if socket.read_buf(buffer).await.unwrap_or(0) == 0 {
            return std::future::pending().await;
        }
    }
}

impl Caller {
    /// The first check, taken before it leaves.
    pub(crate) async fn first_datagram(&mut self) -> Vec<u8> {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < DEADLINE, "no check is made");
            match self.rtc.poll_output().unwrap() {
                Output::Transmit(out) => return out.contents.to_vec(),
                Output::Event(_) => {}
                Output::Timeout(at) => {
                    tokio::time::sleep_until(at.min(Instant::now() + DEADLINE).into()).await;
                    self.rtc
                        .handle_input(Input::Timeout(Instant::now()))
                        .unwrap();
                }
            }
        }
    }
}
