//! The ledger: every browser resource this module takes is on it until it is let go.

use crate::host;
use js_sys::Function;
use wasm_bindgen::prelude::*;

/// What a resource is (`pkg/README.md`, resources).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An open or opening WebSocket.
    Socket,
    /// A WebSocket let go of, whose `close` event has not come yet.
    SocketClosing,
    /// A share in a connection that another tab of the browser may hold.
    SharedSocket,
    /// A `setTimeout`.
    Timer,
    /// An event listener.
    Listener,
    /// A promise of the page's that is waited for.
    Closure,
    /// An HTTP request under way.
    Fetch,
    /// A holder of a connection.
    Lease,
    /// A call's peer connection.
    #[cfg(feature = "voice")]
    PeerConnection,
    /// Its data channel.
    #[cfg(feature = "voice")]
    DataChannel,
    /// A microphone, from when it is asked for.
    #[cfg(feature = "voice")]
    MediaTrack,
    /// What plays the answer.
    #[cfg(feature = "voice")]
    AudioElement,
    /// What measures levels.
    #[cfg(feature = "voice")]
    AudioContext,
    /// What takes and plays the sound of a call over a socket.
    #[cfg(feature = "voice")]
    Worklet,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::SocketClosing => "socket_closing",
            Self::SharedSocket => "shared_socket",
            Self::Timer => "timer",
            Self::Listener => "listener",
            Self::Closure => "closure",
            Self::Fetch => "fetch",
            Self::Lease => "lease",
            #[cfg(feature = "voice")]
            Self::PeerConnection => "peer_connection",
            #[cfg(feature = "voice")]
            Self::DataChannel => "data_channel",
            #[cfg(feature = "voice")]
            Self::MediaTrack => "media_track",
            #[cfg(feature = "voice")]
            Self::AudioElement => "audio_element",
            #[cfg(feature = "voice")]
            Self::AudioContext => "audio_context",
            #[cfg(feature = "voice")]
            Self::Worklet => "worklet",
        }
    }
}

/// A place on the ledger; leaves it when dropped. In a guard it is the last field, so that the ledger lets go when
/// everything else has.
#[derive(Debug)]
#[must_use = "the resource leaves the ledger when this is dropped"]
pub(crate) struct Entry(Option<f64>);

impl Entry {
    /// Enters a resource. `release` lets go of it without this module, should it trap.
    pub(crate) fn new(kind: Kind, owner: &str, release: &Function) -> Self {
        Self(host::enter(kind.as_str(), owner, release))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(id) = self.0.take() {
            host::leave(id);
        }
    }
}

/// `method.bind(this, …arguments)`: a release function made of the browser's own, which needs no wasm to run.
pub(crate) fn bound(
    method: &JsValue,
    this: &JsValue,
    first: Option<&JsValue>,
    second: Option<&JsValue>,
) -> Function {
    let method: &Function = method.unchecked_ref();
    match (first, second) {
        (Some(first), Some(second)) => method.bind2(this, first, second).unchecked_into(),
        (Some(first), None) => method.bind1(this, first).unchecked_into(),
        _ => method.bind0(this),
    }
}
