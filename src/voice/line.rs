//! What a call has in the browser: what carries it, and what plays the answer. There may be two for a moment, when one
//! session takes another's place; one of them is in use.

use super::browser::{Player, Told};
use super::media::Media;
use super::rung::Rung;
use super::waits::Step;
use super::{Arrival, Driver, parse};
use crate::guard::{Fetch, Listener, Resource};
use crate::ledger::Kind;
use crate::{host, js};
use tautline_machine::client::voice::{CallId, Transport};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::EventTarget;

/// Dropping it ends the call; in this order.
pub(super) struct Line {
    id: CallId,
    pub(super) player: Option<Resource<Player>>,
    pub(super) carrier: Carrier,
    /// What the answer is heard by.
    remote: JsValue,
}

/// What carries a call.
pub(super) enum Carrier {
    /// A peer connection.
    Media(Media),
    /// A WebSocket.
    Socket(Rung),
}

impl Driver {
    pub(super) fn with_line<T>(
        &self,
        call: CallId,
        then: impl FnOnce(&mut Line) -> T,
    ) -> Option<T> {
        let mut lines = self.lines.borrow_mut();
        lines.iter_mut().find(|line| line.id == call).map(then)
    }

    /// The line that is spoken into and heard.
    pub(super) fn in_use<T>(&self, then: impl FnOnce(&mut Line) -> T) -> Option<T> {
        self.using.get().and_then(|call| self.with_line(call, then))
    }

    pub(super) fn open(&self, call: CallId, over: Transport) {
        match over {
            Transport::WebRtc => self.open_media(call),
            Transport::WebSocket => self.open_sound(call),
        }
    }

    pub(super) fn add_line(&self, id: CallId, carrier: Carrier) {
        // Without a document there is nobody to hear it.
        let player = self.rtc.player().and_then(|player| {
            let stop = player.player_stop()?;
            Ok(Resource::new(Kind::AudioElement, player, &stop))
        });
        self.lines.borrow_mut().push(Line {
            id,
            player: player.ok(),
            carrier,
            remote: JsValue::UNDEFINED,
        });
    }

    /// This call is spoken into and heard from now on.
    pub(super) fn use_line(&self, call: CallId) {
        self.using.set(Some(call));
        self.attach();
        self.play(Step::Play);
    }

    /// The call's answer is this stream's only track.
    pub(super) fn heard_by(&self, call: CallId, stream: &JsValue, track: &JsValue) {
        self.with_line(call, |line| line.remote = stream.clone());
        if self.using.get() == Some(call) {
            self.play(Step::Play);
        }
        self.tell("track.received", track);
    }

    /// A message of the server's came.
    pub(super) fn said(&self, call: CallId, event: &JsValue) {
        let data = event.unchecked_ref::<Told>().data();
        if let Some(value) = data.ok().and_then(|data| parse(&data)) {
            self.arrived(Arrival::Message(call, value));
        }
    }

    pub(super) fn remote(&self) -> JsValue {
        self.in_use(|line| line.remote.clone()).unwrap_or_default()
    }

    pub(super) fn duck(&self, quiet: bool) {
        self.in_use(|line| line.player.as_ref().map(|player| player.duck(quiet)));
    }

    /// Plays the answer, if there is one.
    pub(super) fn play(&self, step: Step) {
        let player = self.in_use(|line| {
            line.resume_sound();
            let player = line.player.as_ref()?;
            Some(((**player).clone(), line.remote.clone()))
        });
        let device = self.output.borrow().clone();
        let promise = match player.flatten() {
            Some((player, stream)) => player.play(&stream, &device).map(JsValue::from),
            None => Ok(JsValue::UNDEFINED),
        };
        self.wait(step, promise);
        self.resume_meter();
    }

    /// The browser plays nothing before the user has touched the page: the next click does.
    pub(super) fn needs_gesture(&self) {
        let document = js::global().document().ok();
        let document = document.and_then(|document| document.dyn_into::<EventTarget>().ok());
        if let Some(document) = document.filter(|_| self.gesture.borrow().is_empty()) {
            let listeners = ["click", "keydown"].into_iter().filter_map(|event| {
                let weak = self.me.clone();
                let then = move |_| {
                    if let Some(driver) = weak.upgrade() {
                        driver.play(Step::Play);
                    }
                };
                Listener::new(&document, event, then).ok()
            });
            let listeners = listeners.collect();
            self.gesture.replace(listeners);
            self.tell("needsGesture", &JsValue::UNDEFINED);
        }
    }

    /// The answer is played, or nobody waits for it any more.
    pub(super) fn played(&self) {
        let done = self.gesture.take();
        drop(done);
    }

    pub(super) fn measure(&self, call: CallId) {
        let is_media = self.with_line(call, |line| matches!(line.carrier, Carrier::Media(_)));
        match is_media {
            Some(true) => self.measure_media(call),
            Some(false) => self.measure_socket(call),
            None => {}
        }
    }

    /// Writes to the channel, or socket; what its buffer holds then is the machine's next concern.
    pub(super) fn write(&self, call: CallId, text: &str) {
        // One that is closing takes nothing; its `close` event tells the machine.
        self.with_line(call, |line| match &line.carrier {
            Carrier::Media(media) => media.channel.send(text).is_ok(),
            Carrier::Socket(rung) => rung.write(text),
        });
        let buffered = self.buffered(call);
        self.machine.borrow_mut().buffered(call, buffered);
    }

    pub(super) fn buffered(&self, call: CallId) -> usize {
        let amount = self.with_line(call, |line| match &line.carrier {
            Carrier::Media(media) => media.channel.buffered_amount().unwrap_or_default() as usize,
            Carrier::Socket(rung) => rung.buffered(),
        });
        amount.unwrap_or_default()
    }

    /// Lets go of the call, and says so to the server where it can be told.
    pub(super) fn hang_up(&self, call: CallId) {
        self.waits.end(call);
        let mut lines = self.lines.borrow_mut();
        let at = lines.iter().position(|line| line.id == call);
        let line = at.map(|at| lines.remove(at));
        drop(lines);
        if self.using.get() == Some(call) {
            self.using.set(None);
            self.played();
        }
        let location = line.as_ref().and_then(|line| match &line.carrier {
            Carrier::Media(media) => media.location.clone(),
            // The end of the socket is the end of the call.
            Carrier::Socket(_) => None,
        });
        drop(line);
        let token = self.token.borrow().clone().unwrap_or_default();
        let (Some(location), Ok(life)) = (location, Fetch::new("hangup")) else {
            return;
        };
        if let Ok(promise) = self.rtc.hangup(&token, &location) {
            // It outlives the connection that made it, for a moment, and is on the ledger until then.
            spawn_local(async move {
                let _ = JsFuture::from(promise).await;
                if !host::is_dead() {
                    drop(life);
                }
            });
        }
    }

    pub(super) fn channel(&self) -> JsValue {
        self.of_media(|media| (*media.channel).clone().into())
    }

    pub(super) fn peer_connection(&self) -> JsValue {
        self.of_media(|media| (*media.peer).clone().into())
    }

    fn of_media(&self, what: impl FnOnce(&Media) -> JsValue) -> JsValue {
        let found = self.in_use(|line| match &line.carrier {
            Carrier::Media(media) => Some(what(media)),
            Carrier::Socket(_) => None,
        });
        found.flatten().unwrap_or_default()
    }
}

impl Line {
    fn resume_sound(&self) {
        if let Carrier::Socket(rung) = &self.carrier {
            rung.resume();
        }
    }
}

/// What its events are heard from.
pub(super) fn target<T: JsCast>(object: &Resource<T>) -> &EventTarget {
    (**object).unchecked_ref()
}
