//! One call's browser objects: the peer connection, its channel, what plays the answer.

use super::browser::{Channel, Peer, Player, Told};
use super::waits::Step;
use super::{Arrival, Driver, parse};
use crate::guard::{Fetch, Listener, Resource};
use crate::ledger::Kind;
use crate::{host, js};
use tautline_machine::client::voice::{CallId, Input, Path};
use tautline_protocol::limits::CLIENT_CHANNEL_LOW;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::EventTarget;

/// Dropping it ends the call; in this order.
pub(super) struct Line {
    id: CallId,
    _fetch: Option<Fetch>,
    _listeners: Vec<Listener>,
    channel: Resource<Channel>,
    pub(super) player: Option<Resource<Player>>,
    pub(super) peer: Resource<Peer>,
    pub(super) offer: JsValue,
    pub(super) answer: JsValue,
    /// The call's own address, where the server tells it.
    pub(super) location: Option<JsValue>,
    /// What the answer is heard by.
    pub(super) remote: JsValue,
}

impl Driver {
    pub(super) fn with_line<T>(
        &self,
        call: CallId,
        then: impl FnOnce(&mut Line) -> T,
    ) -> Option<T> {
        let mut line = self.line.borrow_mut();
        line.as_mut().filter(|line| line.id == call).map(then)
    }

    fn peer(&self, call: CallId) -> Option<Peer> {
        self.with_line(call, |line| line.peer.clone())
    }

    pub(super) fn open(&self, call: CallId) {
        let promise = self.make_line(call).and_then(|line| {
            let peer = line.peer.clone();
            self.line.replace(Some(line));
            self.attach();
            self.rtc.offer(&peer)
        });
        self.wait(Step::Offer(call), promise.map(JsValue::from));
    }

    fn make_line(&self, call: CallId) -> Result<Line, JsValue> {
        let peer = self.rtc.open()?;
        let close = peer.close()?;
        let peer = Resource::new(Kind::PeerConnection, peer, &close);
        let channel = self.rtc.channel(&peer, CLIENT_CHANNEL_LOW as f64)?;
        let close = channel.channel_close()?;
        let channel = Resource::new(Kind::DataChannel, channel, &close);
        // Without a document there is nobody to hear it.
        let player = self.rtc.player().and_then(|player| {
            let stop = player.player_stop()?;
            Ok(Resource::new(Kind::AudioElement, player, &stop))
        });
        let mut listeners = Vec::new();
        let mut on = |target: &EventTarget, event, then: fn(&Self, CallId, &JsValue)| {
            let weak = self.me.clone();
            let listener = Listener::new(target, event, move |event| {
                if let Some(driver) = weak.upgrade() {
                    then(&driver, call, &event);
                }
            });
            listener.map(|listener| listeners.push(listener))
        };
        on(target(&peer), "connectionstatechange", |driver, call, _| {
            driver.path(call)
        })?;
        on(target(&peer), "track", |driver, call, event| {
            driver.track(call, event)
        })?;
        on(target(&channel), "open", |driver, call, _| {
            let most = driver
                .peer(call)
                .and_then(|peer| driver.rtc.max_message(&peer).ok());
            // A float is cut off, never out of range: `as` saturates.
            driver.input(Input::ChannelOpened(
                call,
                most.unwrap_or_default() as usize,
            ));
        })?;
        on(target(&channel), "close", |driver, call, _| {
            driver.input(Input::ChannelClosed(call))
        })?;
        on(target(&channel), "bufferedamountlow", |driver, call, _| {
            driver.input(Input::Writable(call, driver.buffered(call)));
        })?;
        on(target(&channel), "message", |driver, call, event| {
            let data = event.unchecked_ref::<Told>().data();
            if let Some(value) = data.ok().and_then(|data| parse(&data)) {
                driver.arrived(Arrival::Message(call, value));
            }
        })?;
        Ok(Line {
            id: call,
            _fetch: None,
            _listeners: listeners,
            channel,
            player: player.ok(),
            peer,
            offer: JsValue::UNDEFINED,
            answer: JsValue::UNDEFINED,
            location: None,
            remote: JsValue::UNDEFINED,
        })
    }

    fn path(&self, call: CallId) {
        let state = self
            .peer(call)
            .and_then(|peer| peer.connection_state().ok());
        let path = match state.and_then(|state| state.as_string()).as_deref() {
            Some("connected") => Path::Connected,
            Some("disconnected") => Path::Disconnected,
            Some("failed") => Path::Failed,
            _ => return,
        };
        self.input(Input::Path(call, path));
    }

    fn track(&self, call: CallId, event: &JsValue) {
        let Ok(track) = event.unchecked_ref::<Told>().told_track() else {
            return;
        };
        // Not the event's own stream: an answer may name none.
        let Ok(stream) = self.rtc.stream_of(&track) else {
            return;
        };
        self.with_line(call, |line| line.remote = stream.clone());
        self.play(Step::Play);
        self.tell("track.received", &track);
    }

    /// Plays the answer, if there is one.
    pub(super) fn play(&self, step: Step) {
        let line = self.line.borrow();
        let player = line.as_ref().and_then(|line| {
            let player = line.player.as_ref()?;
            Some(((**player).clone(), line.remote.clone()))
        });
        drop(line);
        let device = self.output.borrow().clone();
        let promise = match player {
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

    pub(super) fn exchange(&self, call: CallId) {
        let promise = Fetch::new("calls").and_then(|fetch| {
            let signal = fetch.signal();
            let offer = self.with_line(call, |line| {
                line._fetch = Some(fetch);
                line.offer.clone()
            });
            let token = self.token.borrow().clone().unwrap_or_default();
            self.rtc.post(&token, &offer.unwrap_or_default(), &signal)
        });
        self.wait(Step::Exchange(call), promise.map(JsValue::from));
    }

    pub(super) fn accept(&self, call: CallId) {
        let line = self.with_line(call, |line| {
            let fetch = line._fetch.take();
            (line.peer.clone(), line.answer.clone(), fetch)
        });
        if let Some((peer, answer, fetch)) = line {
            drop(fetch);
            let promise = self.rtc.answer(&peer, &answer);
            self.wait(Step::Accept(call), promise.map(JsValue::from));
        }
    }

    pub(super) fn measure(&self, call: CallId) {
        if let Some(peer) = self.peer(call) {
            self.wait(Step::Stats(call), self.rtc.stats(&peer).map(JsValue::from));
        }
    }

    /// Writes to the channel; what its buffer holds then is the machine's next concern.
    pub(super) fn write(&self, call: CallId, text: &str) {
        let channel = self.with_line(call, |line| line.channel.clone());
        if let Some(channel) = channel {
            // One that is closing takes nothing; its `close` event tells the machine.
            let _ = channel.send(text);
        }
        let buffered = self.buffered(call);
        self.machine.borrow_mut().buffered(buffered);
    }

    pub(super) fn buffered(&self, call: CallId) -> usize {
        let channel = self.with_line(call, |line| line.channel.clone());
        let amount = channel.and_then(|channel| channel.buffered_amount().ok());
        amount.unwrap_or_default() as usize
    }

    /// Lets go of the call, and says so to the server where it can be told.
    pub(super) fn hang_up(&self, call: CallId) {
        self.waits.end(call);
        self.played();
        let line = self.line.borrow_mut().take_if(|line| line.id == call);
        let location = line.as_ref().and_then(|line| line.location.clone());
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
        let line = self.line.borrow();
        line.as_ref()
            .map_or(JsValue::UNDEFINED, |line| (*line.channel).clone().into())
    }

    pub(super) fn peer_connection(&self) -> JsValue {
        let line = self.line.borrow();
        line.as_ref()
            .map_or(JsValue::UNDEFINED, |line| (*line.peer).clone().into())
    }
}

/// What its events are heard from.
fn target<T: JsCast>(object: &Resource<T>) -> &EventTarget {
    (**object).unchecked_ref()
}
