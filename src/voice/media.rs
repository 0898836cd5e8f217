//! What carries a call over WebRTC: the peer connection and its channel.

use super::Driver;
use super::browser::{Channel, Peer, Told};
use super::line::{Carrier, target};
use super::waits::Step;
use crate::guard::{Fetch, Listener, Resource};
use crate::ledger::Kind;
use tautline_machine::client::voice::{CallId, Input, Path};
use tautline_protocol::limits::CLIENT_CHANNEL_LOW;
use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

/// Dropped in this order.
pub(super) struct Media {
    fetch: Option<Fetch>,
    _listeners: Vec<Listener>,
    pub(super) channel: Resource<Channel>,
    pub(super) peer: Resource<Peer>,
    pub(super) offer: JsValue,
    pub(super) answer: JsValue,
    /// The call's own address, where the server tells it.
    pub(super) location: Option<JsValue>,
}

impl Driver {
    fn peer(&self, call: CallId) -> Option<Peer> {
        self.with_media(call, |media| media.peer.clone())
    }

    pub(super) fn with_media<T>(
        &self,
        call: CallId,
        then: impl FnOnce(&mut Media) -> T,
    ) -> Option<T> {
        self.with_line(call, |line| match &mut line.carrier {
            Carrier::Media(media) => Some(then(media)),
            Carrier::Socket(_) => None,
        })
        .flatten()
    }

    pub(super) fn open_media(&self, call: CallId) {
        let promise = self.make_media(call).and_then(|media| {
            let peer = media.peer.clone();
            self.add_line(call, Carrier::Media(media));
            self.rtc.offer(&peer)
        });
        self.wait(Step::Offer(call), promise.map(JsValue::from));
    }

    fn make_media(&self, call: CallId) -> Result<Media, JsValue> {
        let peer = self.rtc.open()?;
        let close = peer.close()?;
        let peer = Resource::new(Kind::PeerConnection, peer, &close);
        let channel = self.rtc.channel(&peer, CLIENT_CHANNEL_LOW as f64)?;
        let close = channel.channel_close()?;
        let channel = Resource::new(Kind::DataChannel, channel, &close);
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
            driver.said(call, event);
        })?;
        Ok(Media {
            fetch: None,
            _listeners: listeners,
            channel,
            peer,
            offer: JsValue::UNDEFINED,
            answer: JsValue::UNDEFINED,
            location: None,
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
        self.heard_by(call, &stream, &track);
    }

    pub(super) fn exchange(&self, call: CallId) {
        let promise = Fetch::new("calls").and_then(|fetch| {
            let signal = fetch.signal();
            let offer = self.with_media(call, |media| {
                media.fetch = Some(fetch);
                media.offer.clone()
            });
            let token = self.token.borrow().clone().unwrap_or_default();
            self.rtc.post(&token, &offer.unwrap_or_default(), &signal)
        });
        self.wait(Step::Exchange(call), promise.map(JsValue::from));
    }

    pub(super) fn accept(&self, call: CallId) {
        let media = self.with_media(call, |media| {
            let fetch = media.fetch.take();
            (media.peer.clone(), media.answer.clone(), fetch)
        });
        if let Some((peer, answer, fetch)) = media {
            drop(fetch);
            let promise = self.rtc.answer(&peer, &answer);
            self.wait(Step::Accept(call), promise.map(JsValue::from));
        }
    }

    pub(super) fn measure_media(&self, call: CallId) {
        if let Some(peer) = self.peer(call) {
            self.wait(Step::Stats(call), self.rtc.stats(&peer).map(JsValue::from));
        }
    }
}
