//! One call over WebRTC. It owns all that it takes up; dropping it gives everything back.

use super::board::Seat;
use super::paths::Paths;
use super::stun::{self, Kind};
use super::talk::{Do, Talk};
use super::{Ending, Line, gate};
use crate::limit;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Frequency, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Event, Input, Output, Rtc};
use tautline_machine::Time;
use tautline_protocol::limits::{self, hit};

/// The label of the one channel that counts.
const CHANNEL: &str = "oai-events";
/// Below that many bytes on their way, more of the queue follows.
const LOW_WATER: usize = 64 * 1024;
/// Ticks of G.711's clock in a frame.
const FRAME: u64 = 160;
/// Frames of 20 ms that wait to be played; the machine gives them out at their pace.
const PLAYING: usize = 50;

/// How datagrams leave.
pub(super) trait Network {
    /// Sends one, or loses it.
    fn send(&self, protocol: Protocol, to: SocketAddr, datagram: Vec<u8>);
}

/// Why a datagram is not taken; its label in `tautline_udp_dropped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotTaken(pub(super) &'static str);

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) time: Time,
}

/// See the module.
pub(super) struct Call {
    rtc: Rtc,
    talk: Talk,
    seat: Seat,
    pub(super) line: Line,
    pub(super) ufrag: String,
    pub(super) paths: Paths,
    channel: Option<ChannelId>,
    /// The channel has been there: the call is set up.
    is_set_up: bool,
    queue: VecDeque<Arc<str>>,
    queued: usize,
    /// The channel takes no more for now.
    is_full: bool,
    playing: VecDeque<Vec<u8>>,
    media: Option<(Mid, Option<Pt>)>,
    /// Where the clock of our sound stands.
    ticks: u64,
    began: Instant,
    rtc_wake: Instant,
    set_up_by: Instant,
    heard_by: Instant,
    /// Orders to be judged.
    pub(super) orders: Vec<(String, String)>,
}

impl Call {
    pub(super) fn new(
        rtc: Rtc,
        ufrag: String,
        talk: Talk,
        seat: Seat,
        line: Line,
        now: Instant,
    ) -> Self {
        Self {
            rtc,
            talk,
            seat,
            line,
            ufrag,
            paths: Paths::default(),
            channel: None,
            is_set_up: false,
            queue: VecDeque::new(),
            queued: 0,
            is_full: false,
            playing: VecDeque::new(),
            media: None,
            ticks: 0,
            began: now,
            rtc_wake: now,
            set_up_by: now + Duration::from_millis(limits::VOICE_SETUP_MS),
            heard_by: now + Duration::from_millis(limits::VOICE_SILENCE_MS),
            orders: Vec::new(),
        }
    }

    pub(super) fn talk(&mut self) -> &mut Talk {
        &mut self.talk
    }

    pub(super) fn is_set_up(&self) -> bool {
        self.is_set_up
    }

    /// Why it is over, if it is.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.seat.ending()
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.seat.ends(ending);
    }

    /// A datagram for it, by name or by address.
    pub(super) fn receive(
        &mut self,
        protocol: Protocol,
        from: SocketAddr,
        to: SocketAddr,
        datagram: &[u8],
        now: Now,
    ) -> Result<(), NotTaken> {
        let contents = Receive::new(protocol, from, to, datagram);
        let input = match contents {
            Ok(contents) => Input::Receive(now.instant, contents),
            Err(_) => return Err(NotTaken("malformed")),
        };
        let is_check = matches!(stun::kind(datagram), Kind::Request { .. });
        if is_check && !self.rtc.accepts(&input) {
            return Err(NotTaken("integrity"));
        }
        let taken = self.paths.received(protocol, from, datagram);
        taken.map_err(NotTaken)?;
        self.heard_by = now.instant + Duration::from_millis(limits::VOICE_SILENCE_MS);
        self.seat.heard();
        if self.rtc.handle_input(input).is_err() {
            self.end(Ending::TRANSPORT);
        }
        Ok(())
    }

    /// A deadline of somebody's may have passed.
    pub(super) fn timeout(&mut self, now: Now) {
        if !self.is_set_up && now.instant >= self.set_up_by {
            self.end(Ending::SETUP);
        } else if self.is_set_up && now.instant >= self.heard_by {
            self.end(Ending::SILENCE);
        }
        self.talk.timeout(now.time);
        if now.instant >= self.rtc_wake
            && self.rtc.handle_input(Input::Timeout(now.instant)).is_err()
        {
            self.end(Ending::TRANSPORT);
        }
    }

    /// When [`Call::timeout`] is wanted; the talk's time is turned into an instant by whoever has the clock.
    pub(super) fn wake(&self, instant: impl Fn(Time) -> Instant) -> Instant {
        let own = if self.is_set_up {
            self.heard_by
        } else {
            self.set_up_by
        };
        self.rtc_wake.min(own).min(instant(self.talk.wake()))
    }

    /// Lets everything that is there run until there is nothing to do but wait. The stack wants each thing done to it
    /// followed by a drain of what comes of it.
    pub(super) fn pump(&mut self, now: Now, network: &impl Network) {
        loop {
            if !self.drain(now, network) {
                return self.end(Ending::CLIENT);
            }
            self.gather();
            if !self.step(now) {
                break;
            }
        }
        if let Some(ending) = self.talk.ending().map(|end| end.ending) {
            self.end(ending);
        }
    }

    /// `false`: the stack is at its end.
    fn drain(&mut self, now: Now, network: &impl Network) -> bool {
        loop {
            if !self.rtc.is_alive() {
                return false;
            }
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.rtc_wake = at;
                    return true;
                }
                Ok(Output::Transmit(transmit)) => self.transmit(transmit, network),
                Ok(Output::Event(event)) => self.event(event, now),
                Err(_) => {
                    self.end(Ending::TRANSPORT);
                    return true;
                }
            }
        }
    }

    /// Sends, where it may: to an address that a valid check came from, and not much before it has answered.
    fn transmit(&mut self, transmit: Transmit, network: &impl Network) {
        let (protocol, to) = (transmit.proto, transmit.destination);
        match self.paths.send(protocol, to, &transmit.contents) {
            Ok(()) => network.send(protocol, to, transmit.contents.into()),
            Err(reason) => {
                metrics::counter!("tautline_udp_dropped_total", "reason" => reason).increment(1);
            }
        }
    }

    fn event(&mut self, event: Event, now: Now) {
        match event {
            Event::ChannelOpen(id, label) if label == CHANNEL && self.channel.is_none() => {
                self.channel = Some(id);
                self.is_set_up = true;
                if let Some(mut channel) = self.rtc.channel(id) {
                    channel.set_buffered_amount_low_threshold(LOW_WATER);
                }
            }
            Event::ChannelData(data) if Some(data.id) == self.channel => {
                if data.data.len() > limits::VOICE_CHANNEL_MESSAGE {
                    limit::hit(hit::VOICE_CHANNEL_MESSAGE);
                    let error = gate::too_large(limits::VOICE_CHANNEL_MESSAGE);
                    return self.talk.unfit(&error, now.time);
                }
                match std::str::from_utf8(&data.data) {
                    Ok(text) if !data.binary => self.talk.message(text, now.time),
                    _ => self.talk.unfit(&gate::not_text(), now.time),
                }
            }
            // Without its channel a call cannot be spoken with, and its page believes it closed.
            Event::ChannelClose(id) if Some(id) == self.channel => {
                self.channel = None;
                self.end(Ending::CLIENT);
            }
            Event::ChannelBufferedAmountLow(_) => self.is_full = false,
            Event::MediaAdded(media) if self.media.is_none() => {
                self.media = Some((media.mid, None));
            }
            Event::MediaData(data) if self.is_set_up && data.params.spec().codec == Codec::PCMU => {
                self.talk.audio(&data.data, now.time);
            }
            Event::Closed => self.end(Ending::CLIENT),
            _ => {}
        }
    }

    /// Takes what the talk wants done.
    fn gather(&mut self) {
        while let Some(next) = self.talk.next() {
            match next {
                Do::Event(event) => {
                    self.queued += event.len();
                    self.queue.push_back(event);
                    if self.queued > limits::VOICE_QUEUE_BYTES {
                        self.end(Ending::SLOW);
                    }
                }
                Do::Play(sound) => {
                    if self.playing.len() >= PLAYING {
                        self.playing.pop_front();
                    }
                    self.playing.push_back(sound);
                }
                Do::Submit { call_id, order } => self.orders.push((call_id, order)),
            }
        }
    }

    /// Does one thing to the stack, if there is one to do.
    fn step(&mut self, now: Now) -> bool {
        if !self.is_full
            && let Some(id) = self.channel
            && let Some(event) = self.queue.front()
            && let Some(mut channel) = self.rtc.channel(id)
        {
            match channel.write(false, event.as_bytes()) {
                Ok(true) => {
                    self.queued = self.queued.saturating_sub(event.len());
                    self.queue.pop_front();
                }
                Ok(false) => self.is_full = true,
                Err(_) => {
                    self.channel = None;
                    self.end(Ending::TRANSPORT);
                }
            }
            return true;
        }
        match self.playing.pop_front() {
            Some(sound) => {
                self.play(sound, now);
                true
            }
            None => false,
        }
    }

    fn play(&mut self, sound: Vec<u8>, now: Now) {
        let Some((mid, known)) = self.media else {
            return;
        };
        // After a silence the clock has gone on; within speech frames follow one another without a gap.
        let elapsed = u64::try_from(now.instant.duration_since(self.began).as_millis())
            .unwrap_or_default()
            * 8;
        let begins = elapsed > self.ticks + FRAME * 4;
        if begins {
            self.ticks = elapsed;
        }
        let ticks = self.ticks;
        self.ticks += sound.len() as u64;
        let Some(writer) = self.rtc.writer(mid) else {
            return;
        };
        let pt = known.or_else(|| {
            let mut codecs = writer.payload_params();
            codecs
                .find(|codec| codec.spec().codec == Codec::PCMU)
                .map(|codec| codec.pt())
        });
        let Some(pt) = pt else { return };
        self.media = Some((mid, Some(pt)));
        let time = MediaTime::new(ticks, Frequency::EIGHT_KHZ);
        let written = writer
            .start_of_talkspurt(begins)
            .write(pt, now.instant, time, sound);
        if written.is_err() {
            tracing::debug!(call = %self.seat.id(), "sound could not be written");
        }
    }

    /// Says goodbye: what is queued goes as far as the channel takes it, then both sides' ends.
    pub(super) fn close(mut self, now: Now, network: &impl Network) {
        if self.rtc.is_alive() {
            // Last words come before the end, where they fit.
            while self.drain(now, network) {
                self.gather();
                if !self.step(now) {
                    break;
                }
            }
            if self.rtc.close().is_ok() {
                let _ = self.drain(now, network);
            }
        }
        self.rtc.disconnect();
    }
}
