//! What carries a call over a WebSocket: the socket, and the worklets that take and play its sound.

use super::Driver;
use super::browser::{Sound, Told, Worklet};
use super::heard::Heard;
use super::line::Carrier;
use super::waits::Step;
use crate::guard::{Listener, Resource, Socket, SocketEvent};
use crate::ledger::Kind;
use std::cell::Cell;
use tautline_machine::client::voice::{CallId, Input, List, Played, Playing, Sample};
use tautline_protocol::limits::CLIENT_SOCKET_MESSAGE;
use wasm_bindgen::prelude::*;

/// In a [`Sample`]: on a socket.
const PATH: u8 = 4;

/// Dropped in this order.
pub(super) struct Rung {
    socket: Option<Socket>,
    _listeners: Vec<Listener>,
    capture: Option<Resource<Worklet>>,
    playback: Option<Resource<Worklet>>,
    sound: Resource<Sound>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
}

impl Rung {
    pub(super) fn write(&self, text: &str) -> bool {
        self.bytes_out.set(self.bytes_out.get() + text.len() as u64);
        self.socket.as_ref().is_some_and(|socket| socket.send(text))
    }

    pub(super) fn buffered(&self) -> usize {
        let socket = self.socket.as_ref();
        socket.map_or(0, |socket| socket.buffered() as usize)
    }

    pub(super) fn resume(&self) {
        let _ = self.sound.sound_resume();
    }

    /// What is spoken is this stream's.
    pub(super) fn listen(&self, stream: &JsValue) {
        let capture = self.capture.as_ref();
        let _ = capture.map(|capture| self.sound.sound_listen(capture, stream));
    }

    pub(super) fn gate(&self, open: bool) {
        let _ = self.capture.as_ref().map(|node| node.worklet_gate(open));
    }
}

impl Driver {
    pub(super) fn with_rung<T>(
        &self,
        call: CallId,
        then: impl FnOnce(&mut Rung) -> T,
    ) -> Option<T> {
        self.with_line(call, |line| match &mut line.carrier {
            Carrier::Socket(rung) => Some(then(rung)),
            Carrier::Media(_) => None,
        })
        .flatten()
    }

    /// Loads the worklets.
    pub(super) fn open_sound(&self, call: CallId) {
        let promise = self.rtc.sound().and_then(|sound| {
            let stop = sound.sound_stop()?;
            let sound = Resource::new(Kind::AudioContext, sound, &stop);
            let ready = sound.sound_ready();
            let rung = Rung {
                socket: None,
                _listeners: Vec::new(),
                capture: None,
                playback: None,
                sound,
                bytes_in: Cell::new(0),
                bytes_out: Cell::new(0),
            };
            self.add_line(call, Carrier::Socket(rung));
            ready
        });
        self.wait(Step::Sound(call), promise);
    }

    /// They are loaded: makes them.
    pub(super) fn make_worklets(&self, call: CallId) -> Result<(), JsValue> {
        let sound = self.with_rung(call, |rung| rung.sound.clone());
        let Some(sound) = sound else { return Ok(()) };
        let node = |node: Worklet| {
            let stop = node.worklet_stop()?;
            Ok::<_, JsValue>(Resource::new(Kind::Worklet, node, &stop))
        };
        let capture = node(sound.capture()?)?;
        let playback = node(sound.playback()?)?;
        let on = |worklet: &Worklet, then: fn(&Self, CallId, &JsValue)| {
            let weak = self.me.clone();
            Listener::new(&worklet.port()?, "message", move |event| {
                if let Some(driver) = weak.upgrade()
                    && let Ok(data) = event.unchecked_ref::<Told>().data()
                {
                    then(&driver, call, &data);
                }
            })
        };
        let listeners = vec![
            on(&capture, |driver, call, buffer| driver.spoken(call, buffer))?,
            on(&playback, |driver, call, report| {
                let input = played(&Heard(report.unchecked_ref()));
                if let Some(report) = input {
                    driver.input(Input::Played(call, report));
                }
            })?,
        ];
        self.with_rung(call, |rung| {
            rung.capture = Some(capture);
            rung.playback = Some(playback);
            rung._listeners = listeners;
        });
        let stream = sound.sound_stream()?;
        let track = self.rtc.track_of(&stream)?;
        self.heard_by(call, &stream, &track);
        if self.using.get() == Some(call) {
            self.attach();
        }
        Ok(())
    }

    fn spoken(&self, call: CallId, buffer: &JsValue) {
        let sound = self.with_rung(call, |rung| rung.sound.clone());
        if let Some(text) = sound.and_then(|sound| sound.encode(buffer).ok()) {
            self.input(Input::Spoken(call, text));
        }
    }

    /// Opens the socket.
    pub(super) fn dial(&self, call: CallId) {
        let token = self.token.borrow().clone().unwrap_or_default();
        let (messages, events) = (self.me.clone(), self.me.clone());
        let on_message = move |socket: &_| {
            Listener::new(socket, "message", move |event| {
                if let Some(driver) = messages.upgrade() {
                    driver.with_rung(call, |rung| rung.count(&event));
                    driver.said(call, &event);
                }
            })
        };
        let on_event = move |event| {
            if let Some(driver) = events.upgrade() {
                driver.input(match event {
                    SocketEvent::Opened => Input::ChannelOpened(call, CLIENT_SOCKET_MESSAGE),
                    SocketEvent::Closed { .. } => Input::ChannelClosed(call),
                });
            }
        };
        let socket = (self.rtc.socket_url()).and_then(|url| {
            let protocols = self.rtc.protocols(&token)?;
            Socket::open(&url, &protocols, None, on_message, on_event)
        });
        match socket {
            Ok(socket) => {
                let before = self.with_rung(call, |rung| rung.socket.replace(socket));
                drop(before);
            }
            Err(cause) => {
                let before = self.cause.replace(cause);
                drop(before);
                self.input(Input::ChannelClosed(call));
            }
        }
    }

    /// Has the sound of the event at hand played.
    pub(super) fn hear(&self, call: CallId, cushion: u64) {
        let event = self.sound.borrow().clone();
        let playback = self.with_rung(call, |rung| rung.playback.as_deref().cloned());
        if let Some(playback) = playback.flatten()
            && let Ok(delta) = event.unchecked_ref::<Told>().delta()
        {
            let _ = playback.hear(&delta, cushion as f64);
        }
    }

    pub(super) fn silence(&self, call: CallId) {
        let playback = self.with_rung(call, |rung| rung.playback.as_deref().cloned());
        let _ = playback.flatten().map(|playback| playback.silence());
    }

    pub(super) fn measure_socket(&self, call: CallId) {
        let buffered = self.buffered(call);
        let measured = self.with_rung(call, |rung| {
            let (bytes_in, bytes_out) = (rung.bytes_in.get(), rung.bytes_out.get());
            let sample = Sample {
                bytes_in,
                bytes_out,
                // What was written and has left moves as what comes in does.
                heard: (bytes_in + bytes_out).saturating_sub(buffered as u64),
                energy: rung.sound.energy().ok().map(|energy| energy as u64),
                path: PATH,
                buffered,
                ..Sample::default()
            };
            let running = rung.sound.sound_running().is_ok_and(|yes| yes.is_truthy());
            (sample, running)
        });
        if let Some((sample, running)) = measured {
            self.input(Input::Sample(call, sample));
            if !running {
                self.needs_gesture();
            }
        }
    }
}

impl Rung {
    fn count(&self, event: &JsValue) {
        let data = event.unchecked_ref::<Told>().data();
        let length = data.ok().and_then(|data| {
            data.dyn_ref::<js_sys::JsString>()
                .map(js_sys::JsString::length)
        });
        let length = u64::from(length.unwrap_or_default());
        self.bytes_in.set(self.bytes_in.get() + length);
    }
}

/// A report of the player's: how often it was silenced, samples since, what it does.
fn played(list: &Heard<'_>) -> Option<Played> {
    let number = |at| list.float(at).filter(|number| *number >= 0.0);
    Some(Played {
        // A float is cut off, never out of range: `as` saturates.
        epoch: number(0)? as u32,
        samples: number(1)? as u64,
        state: match number(2)? as u8 {
            1 => Playing::Dry,
            2 => Playing::Silenced,
            _ => Playing::On,
        },
    })
}
