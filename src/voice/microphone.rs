//! The microphone in use, the one being asked for, and the page's own.

use super::Driver;
use super::browser::Mic;
use super::line::Carrier;
use super::waits::Step;
use crate::guard::{Listener, Resource};
use crate::ledger::Kind;
use js_sys::Array;
use std::cell::{Cell, RefCell};
use tautline_machine::client::voice::{Input, MicId};
use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

/// The number of a stream of the page's.
const LENT: MicId = MicId(0);

enum Held {
    Own(MicId, Resource<Mic>),
    Lent(Mic),
}

impl Held {
    fn id(&self) -> MicId {
        match self {
            Self::Own(id, _) => *id,
            Self::Lent(_) => LENT,
        }
    }

    fn mic(&self) -> &Mic {
        match self {
            Self::Own(_, mic) => mic,
            Self::Lent(mic) => mic,
        }
    }
}

#[derive(Default)]
pub(super) struct Microphones {
    held: RefCell<Option<Held>>,
    opening: RefCell<Option<(MicId, Resource<Mic>)>>,
    /// Of the track in use, and of the devices.
    listeners: RefCell<Vec<Listener>>,
    /// The device to come back to.
    wanted: RefCell<JsValue>,
    open: Cell<bool>,
}

impl Microphones {
    fn mic(&self) -> Option<Mic> {
        self.held.borrow().as_ref().map(|held| held.mic().clone())
    }

    pub(super) fn stream(&self) -> JsValue {
        self.mic()
            .and_then(|mic| mic.stream().ok())
            .unwrap_or(JsValue::UNDEFINED)
    }

    pub(super) fn want(&self, device: &str) {
        self.wanted.replace(device.into());
    }

    /// Whether the wanted device is one of these.
    pub(super) fn is_among(&self, devices: &Array) -> bool {
        devices.includes(&self.wanted.borrow(), 0)
    }
}

fn stop(mic: &Mic) {
    if let Some(stop) = mic
        .mic_stop()
        .ok()
        .and_then(|stop| stop.dyn_into::<js_sys::Function>().ok())
    {
        let _ = stop.call0(mic);
    }
}

impl Driver {
    pub(super) fn open_microphone(&self, id: MicId, any: bool) {
        let wanted = self.microphones.wanted.borrow().clone();
        let opened = self.rtc.microphone(&wanted, any).and_then(|mic| {
            let ready = mic.ready()?;
            let stop = mic.mic_stop()?;
            let mic = Resource::new(Kind::MediaTrack, mic, &stop);
            let before = self.microphones.opening.replace(Some((id, mic)));
            drop(before);
            Ok(ready)
        });
        self.wait(Step::Microphone(id), opened);
    }

    /// What was asked for is there, or is not to be had.
    pub(super) fn microphone_came(&self, id: MicId, is_there: bool) {
        let came = self
            .microphones
            .opening
            .borrow_mut()
            .take_if(|(opening, _)| *opening == id);
        let Some((id, mic)) = came.filter(|_| is_there) else {
            return;
        };
        let device = mic.device().unwrap_or(JsValue::UNDEFINED);
        if self.microphones.wanted.borrow().is_undefined() {
            self.microphones.wanted.replace(device);
        }
        self.hold(Held::Own(id, mic));
    }

    /// `setMicrophoneStream()`.
    pub(super) fn lend(&self, stream: &JsValue) -> Result<(), JsValue> {
        let mic = self.rtc.borrow(stream)?;
        let gone = self.microphones.opening.take();
        drop(gone);
        self.hold(Held::Lent(mic));
        Ok(())
    }

    fn hold(&self, held: Held) {
        let _ = held.mic().gate(self.microphones.open.get());
        let before = self.microphones.held.replace(Some(held));
        self.attach();
        if let Some(Held::Lent(mic)) = &before {
            stop(mic);
        }
        drop(before);
        let before = self.microphones.listeners.take();
        drop(before);
        self.listen_to_microphone();
    }

    fn listen_to_microphone(&self) {
        let held = self.microphones.held.borrow();
        let found = held.as_ref().map(|held| (held.id(), held.mic().track()));
        drop(held);
        let Some((id, Ok(Some(track)))) = found else {
            return;
        };
        let mut listeners = Vec::new();
        let mut on = |target: &EventTarget, event, then: fn(&Self, MicId)| {
            let weak = self.me.clone();
            let listener = Listener::new(target, event, move |_| {
                if let Some(driver) = weak.upgrade() {
                    then(&driver, id);
                }
            });
            listeners.extend(listener.ok());
        };
        on(&track, "ended", |driver, id| {
            driver.input(Input::MicrophoneEnded(id))
        });
        on(&track, "mute", |driver, id| {
            driver.input(Input::MicrophoneMuted(id, true))
        });
        on(&track, "unmute", |driver, id| {
            driver.input(Input::MicrophoneMuted(id, false))
        });
        if let Ok(Some(devices)) = self.rtc.device_target() {
            on(&devices, "devicechange", |driver, _| {
                driver.wait(Step::Devices, driver.rtc.devices().map(JsValue::from));
            });
        }
        self.microphones.listeners.replace(listeners);
    }

    /// The microphone's track is the call's, if there are both; its level is measured.
    pub(super) fn attach(&self) {
        let mic = self.microphones.mic();
        // A page's stream that was used in an earlier call.
        if mic.is_some() && self.microphones.listeners.borrow().is_empty() {
            self.listen_to_microphone();
        }
        let stream = self.microphones.stream();
        let open = self.microphones.open.get();
        let peer = self.in_use(|line| match &line.carrier {
            Carrier::Media(media) => Some(media.peer.clone()),
            Carrier::Socket(rung) => {
                rung.listen(&stream);
                rung.gate(open);
                // Who lets the page hear lets it be heard: browsers take a microphone for a gesture.
                rung.resume();
                None
            }
        });
        if let Some(peer) = peer.flatten() {
            let mic = mic.map_or(JsValue::UNDEFINED, JsValue::from);
            let _ = self.rtc.attach(&peer, &mic);
        }
        self.measure_levels();
    }

    pub(super) fn gate(&self, open: bool) {
        self.microphones.open.set(open);
        if let Some(mic) = self.microphones.mic() {
            let _ = mic.gate(open);
        }
        self.in_use(|line| match &line.carrier {
            Carrier::Socket(rung) => rung.gate(open),
            Carrier::Media(_) => {}
        });
    }

    pub(super) fn release_microphone(&self) {
        self.waits.end_microphone();
        let gone = (
            self.microphones.listeners.take(),
            self.microphones.opening.take(),
        );
        drop(gone);
        let held = self.microphones.held.take();
        if let Some(Held::Lent(mic)) = &held {
            stop(mic);
            self.microphones.held.replace(held);
        }
    }

    /// `setMicrophoneStream(null)`.
    pub(super) fn take_back(&self) {
        let held = self
            .microphones
            .held
            .borrow_mut()
            .take_if(|held| matches!(held, Held::Lent(_)));
        if let Some(Held::Lent(mic)) = &held {
            stop(mic);
            let gone = self.microphones.listeners.take();
            drop(gone);
            self.attach();
        }
    }
}
