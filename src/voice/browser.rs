//! A call's browser objects as `pkg/src/rtc.js` lends them.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, EventTarget};

#[wasm_bindgen]
extern "C" {
    /// The browser side of one connection.
    #[derive(Clone, Debug)]
    pub type Rtc;

    #[wasm_bindgen(method, catch)]
    pub(super) fn open(this: &Rtc) -> Result<Peer, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn channel(this: &Rtc, peer: &Peer, low: f64) -> Result<Channel, JsValue>;
    #[wasm_bindgen(method, catch, js_name = maxMessage)]
    pub(super) fn max_message(this: &Rtc, peer: &Peer) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn offer(this: &Rtc, peer: &Peer) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn post(
        this: &Rtc,
        token: &str,
        sdp: &JsValue,
        signal: &AbortSignal,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn hangup(this: &Rtc, token: &str, call: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn answer(this: &Rtc, peer: &Peer, sdp: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn attach(this: &Rtc, peer: &Peer, microphone: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn microphone(this: &Rtc, device: &JsValue, any: bool) -> Result<Mic, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn borrow(this: &Rtc, stream: &JsValue) -> Result<Mic, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn devices(this: &Rtc) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = deviceTarget)]
    pub(super) fn device_target(this: &Rtc) -> Result<Option<EventTarget>, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn player(this: &Rtc) -> Result<Player, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn meter(this: &Rtc) -> Result<Meter, JsValue>;
    #[wasm_bindgen(method, catch, js_name = socketUrl)]
    pub(super) fn socket_url(this: &Rtc) -> Result<String, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn protocols(this: &Rtc, token: &str) -> Result<Array, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn sound(this: &Rtc) -> Result<Sound, JsValue>;
    #[wasm_bindgen(method, catch, js_name = streamOf)]
    pub(super) fn stream_of(this: &Rtc, track: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = trackOf)]
    pub(super) fn track_of(this: &Rtc, stream: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn session(this: &Rtc) -> Result<String, JsValue>;
    #[wasm_bindgen(method, catch, js_name = setSession)]
    pub(super) fn set_session(this: &Rtc, session: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn read(this: &Rtc, event: &JsValue) -> Result<Option<Array>, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn stats(this: &Rtc, peer: &Peer) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn object(this: &Rtc, keys: &str, values: &Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn report(this: &Rtc, numbers: &[f64]) -> Result<JsValue, JsValue>;

    /// `RTCPeerConnection`.
    #[derive(Clone, Debug)]
    pub(super) type Peer;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn close(this: &Peer) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = connectionState)]
    pub(super) fn connection_state(this: &Peer) -> Result<JsValue, JsValue>;

    /// `RTCDataChannel`.
    #[derive(Clone, Debug)]
    pub(super) type Channel;
    #[wasm_bindgen(method, getter, catch, js_name = close)]
    pub(super) fn channel_close(this: &Channel) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn send(this: &Channel, text: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = bufferedAmount)]
    pub(super) fn buffered_amount(this: &Channel) -> Result<f64, JsValue>;

    /// A microphone from the moment it is asked for.
    #[derive(Clone, Debug)]
    pub(super) type Mic;
    #[wasm_bindgen(method, getter, catch, js_name = stop)]
    pub(super) fn mic_stop(this: &Mic) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn ready(this: &Mic) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn stream(this: &Mic) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn track(this: &Mic) -> Result<Option<EventTarget>, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn device(this: &Mic) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn gate(this: &Mic, open: bool) -> Result<(), JsValue>;

    /// What plays the answer.
    #[derive(Clone, Debug)]
    pub(super) type Player;
    #[wasm_bindgen(method, getter, catch, js_name = stop)]
    pub(super) fn player_stop(this: &Player) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn play(
        this: &Player,
        stream: &JsValue,
        device: &JsValue,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn sink(this: &Player, device: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn duck(this: &Player, quiet: bool) -> Result<(), JsValue>;

    /// What measures levels.
    #[derive(Clone, Debug)]
    pub(super) type Meter;
    #[wasm_bindgen(method, getter, catch, js_name = stop)]
    pub(super) fn meter_stop(this: &Meter) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = listen)]
    pub(super) fn meter_listen(this: &Meter, side: &str, stream: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = read)]
    pub(super) fn meter_read(this: &Meter) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn resume(this: &Meter) -> Result<Promise, JsValue>;

    /// What a call over a socket hears and speaks with.
    #[derive(Clone, Debug)]
    pub(super) type Sound;
    #[wasm_bindgen(method, getter, catch, js_name = stop)]
    pub(super) fn sound_stop(this: &Sound) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = ready)]
    pub(super) fn sound_ready(this: &Sound) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = stream)]
    pub(super) fn sound_stream(this: &Sound) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = running)]
    pub(super) fn sound_running(this: &Sound) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn energy(this: &Sound) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn capture(this: &Sound) -> Result<Worklet, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn playback(this: &Sound) -> Result<Worklet, JsValue>;
    #[wasm_bindgen(method, catch, js_name = listen)]
    pub(super) fn sound_listen(
        this: &Sound,
        capture: &Worklet,
        stream: &JsValue,
    ) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn encode(this: &Sound, buffer: &JsValue) -> Result<String, JsValue>;
    #[wasm_bindgen(method, catch, js_name = resume)]
    pub(super) fn sound_resume(this: &Sound) -> Result<(), JsValue>;

    /// One of its worklets.
    #[derive(Clone, Debug)]
    pub(super) type Worklet;
    #[wasm_bindgen(method, getter, catch, js_name = stop)]
    pub(super) fn worklet_stop(this: &Worklet) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn port(this: &Worklet) -> Result<EventTarget, JsValue>;
    #[wasm_bindgen(method, catch, js_name = gate)]
    pub(super) fn worklet_gate(this: &Worklet, open: bool) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn hear(this: &Worklet, delta: &JsValue, cushion: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn silence(this: &Worklet) -> Result<(), JsValue>;

    /// An error of the browser's, or anything else that was thrown.
    pub(super) type Thrown;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn name(this: &Thrown) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn message(this: &Thrown) -> Result<JsValue, JsValue>;

    /// A `track` or `message` event, or an event of the server's.
    pub(super) type Told;
    #[wasm_bindgen(method, getter, catch, js_name = track)]
    pub(super) fn told_track(this: &Told) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn data(this: &Told) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    pub(super) fn delta(this: &Told) -> Result<JsValue, JsValue>;
}
