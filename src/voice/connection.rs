//! `VoiceConnection` as the layer holds it.

use super::Driver;
use super::browser::Rtc;
use super::waits::Step;
use crate::core::now;
use crate::error::Error;
use js_sys::{Function, Promise};
use std::rc::Rc;
use tautline_machine::client::voice::{Config, Input, State, Transport};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// A call to a voice model, and those that take its place.
#[wasm_bindgen]
pub struct VoiceConnection {
    driver: Rc<Driver>,
}

#[wasm_bindgen]
impl VoiceConnection {
    /// No call yet. `emit` is told each event and its value.
    ///
    /// # Errors
    /// When `rtc` has no session.
    #[wasm_bindgen(constructor)]
    #[expect(
        clippy::too_many_arguments,
        reason = "what the layer has checked, one by one, costs no reading of an object here"
    )]
    pub fn new(
        rtc: Rtc,
        emit: Function,
        get_token: Option<Function>,
        microphone: bool,
        muted: bool,
        timeout_ms: Option<f64>,
        attempts: Option<f64>,
        over_socket: bool,
        falls_back: bool,
    ) -> Result<Self, JsValue> {
        let usual = Config::default();
        let config = Config {
            has_token: get_token.is_some(),
            microphone,
            muted,
            connect_timeout_ms: timeout_ms.map_or(usual.connect_timeout_ms, |ms| ms as u64),
            max_reconnect_attempts: attempts.map_or(usual.max_reconnect_attempts, |max| max as u32),
            settings: rtc.session()?,
            transport: transport(over_socket),
            falls_back,
        };
        Ok(Self {
            driver: Driver::new(rtc, emit, get_token, config),
        })
    }

    /// Resolves once the settings are confirmed; shares an attempt under way.
    pub fn connect(&self, token: Option<String>, signal: Option<AbortSignal>) -> Promise {
        let driver = &self.driver;
        if token.is_some() {
            driver.given.replace(token);
        }
        let state = driver.machine.borrow().state();
        if matches!(state, State::Disconnected | State::Error) {
            driver.forget_transcript();
        }
        driver.ask(signal, false, Input::Connect)
    }

    /// A new call with the conversation of this one; over a socket, or not, from now on where that is said.
    pub fn reconnect(&self, signal: Option<AbortSignal>, over_socket: Option<bool>) -> Promise {
        if let Some(over_socket) = over_socket {
            self.driver.input(Input::Transport(transport(over_socket)));
        }
        self.driver.ask(signal, false, Input::Reconnect)
    }

    /// Hangs up.
    pub fn disconnect(&self) {
        self.driver.input(Input::Disconnect);
    }

    /// Ends the object.
    pub fn dispose(&self) {
        self.driver.dispose();
    }

    /// Asks for the microphone; resolves with its stream.
    #[wasm_bindgen(js_name = setupMicrophone)]
    pub fn setup_microphone(&self) -> Promise {
        self.driver.ask(None, true, Input::WantMicrophone)
    }

    /// Uses a stream of the page's; none gives it back.
    #[wasm_bindgen(js_name = setMicrophoneStream)]
    pub fn set_microphone_stream(&self, stream: JsValue) -> Promise {
        let driver = &self.driver;
        let done = if driver.disposed.get() {
            Err(Error::disposed().make())
        } else if stream.is_undefined() {
            driver.take_back();
            driver.input(Input::Borrowed(false));
            Ok(())
        } else {
            driver
                .lend(&stream)
                .map(|()| driver.input(Input::Borrowed(true)))
        };
        match done {
            Ok(()) => Promise::resolve(&JsValue::UNDEFINED),
            Err(error) => Promise::reject(&error),
        }
    }

    /// Uses another device, now and from now on.
    #[wasm_bindgen(js_name = setMicrophoneDevice)]
    pub fn set_microphone_device(&self, device: &str) -> Promise {
        self.driver.microphones.want(device);
        self.driver.ask(None, false, Input::ChangeMicrophone)
    }

    /// Plays on another device, now and from now on.
    #[wasm_bindgen(js_name = setOutputDevice)]
    pub fn set_output_device(&self, device: JsValue) -> Promise {
        let driver = &self.driver;
        driver.output.replace(device.clone());
        let player = driver.in_use(|line| line.player.as_deref().cloned());
        match player.flatten().map(|player| player.sink(&device)) {
            None => Promise::resolve(&JsValue::UNDEFINED),
            Some(Ok(promise)) => promise,
            Some(Err(error)) => Promise::reject(&error),
        }
    }

    /// The stream in use.
    #[wasm_bindgen(js_name = getMicrophoneStream)]
    pub fn get_microphone_stream(&self) -> JsValue {
        self.driver.microphones.stream()
    }

    /// Plays what the browser did not play without a gesture.
    #[wasm_bindgen(js_name = resumeAudio)]
    pub fn resume_audio(&self) -> Promise {
        let (promise, id) = self.driver.promise(None, false);
        if let Some(id) = id {
            self.driver.play(Step::Resume(id));
        }
        promise
    }

    /// Mutes or unmutes.
    #[wasm_bindgen(js_name = setMuted)]
    pub fn set_muted(&self, muted: bool) {
        self.driver.input(Input::Mute(muted));
    }

    /// Whether the page has muted the microphone.
    #[wasm_bindgen(js_name = isMuted)]
    pub fn is_muted(&self) -> bool {
        self.driver.machine.borrow().is_muted()
    }

    /// Push-to-talk.
    pub fn talk(&self, held: bool) {
        self.driver.input(Input::Talk(held));
    }

    /// Cuts the answer off.
    pub fn interrupt(&self) {
        self.driver.input(Input::Interrupt);
    }

    /// What calls to come are told, and are to confirm.
    ///
    /// # Errors
    /// What JSON cannot hold.
    #[wasm_bindgen(js_name = setSession)]
    pub fn set_session(&self, session: &JsValue) -> Result<(), JsValue> {
        self.driver.rtc.set_session(session)?;
        self.driver
            .input(Input::Settings(self.driver.rtc.session()?));
        Ok(())
    }

    /// Sends an event, an object as JSON text; answers its id.
    ///
    /// # Errors
    /// `connect_failed`, `message_too_large`, `outbox_full`, `disposed`.
    pub fn send(&self, body: &str, id: Option<String>, turn: bool) -> Result<String, JsValue> {
        let driver = &self.driver;
        let sent = driver.machine.borrow_mut().send(body, id, turn, now());
        let sent = sent.map_err(|failure| driver.error(&failure));
        driver.turn();
        sent
    }

    /// The call as the page sees it.
    #[wasm_bindgen(js_name = getConnectionState)]
    pub fn get_connection_state(&self) -> String {
        String::from(self.driver.machine.borrow().state().as_str())
    }

    /// The call's channel.
    #[wasm_bindgen(js_name = getDataChannel)]
    pub fn get_data_channel(&self) -> JsValue {
        self.driver.channel()
    }

    /// The call's peer connection.
    #[wasm_bindgen(js_name = getPeerConnection)]
    pub fn get_peer_connection(&self) -> JsValue {
        self.driver.peer_connection()
    }

    /// What was said, in order.
    pub fn transcript(&self) -> JsValue {
        self.driver.transcript()
    }

    /// How the call did over its last second.
    pub fn stats(&self) -> JsValue {
        self.driver.stats()
    }
}

fn transport(over_socket: bool) -> Transport {
    if over_socket {
        Transport::WebSocket
    } else {
        Transport::WebRtc
    }
}
