use super::Listener;
use crate::js::Methods;
use crate::ledger::{Entry, Kind, bound};
use js_sys::{Array, Function};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{CloseEvent, EventTarget, WebSocket};

/// What a socket says.
pub(crate) enum SocketEvent {
    /// It opened.
    Opened,
    /// It closed; the last event.
    Closed {
        /// The close code.
        code: u16,
        /// The reason text.
        reason: String,
        /// Whether a close frame was exchanged.
        was_clean: bool,
    },
}

/// A WebSocket, closed when dropped. Afterwards one listener stays with it, on the ledger as `socket_closing`, until
/// the browser has reported its end.
#[must_use = "the socket is closed when this is dropped"]
pub(crate) struct Socket {
    socket: WebSocket,
    closing: Cell<Option<(u16, &'static str)>>,
    _listeners: [Listener; 3],
    _entry: Entry,
}

impl Socket {
    /// Opens a socket; `protocols` are offered as subprotocols, `on_message` listens for the browser's own events. `make`
    /// gives the socket in the browser's place, or something of its shape (`pkg/src/sharing.ts`).
    pub(crate) fn open(
        url: &str,
        protocols: &Array,
        make: Option<&Function>,
        on_message: impl FnOnce(&EventTarget) -> Result<Listener, JsValue>,
        on_event: impl Fn(SocketEvent) + 'static,
    ) -> Result<Self, JsValue> {
        let (kind, socket) = match make {
            None => (
                Kind::Socket,
                WebSocket::new_with_str_sequence(url, protocols)?,
            ),
            Some(make) => made(make, url, protocols)?,
        };
        // An `error` event says nothing that the `close` after it does not.
        let _entry = enter(kind, &socket)?;
        let on_event = Rc::new(on_event);
        let (opened, closed) = (Rc::clone(&on_event), on_event);
        let _listeners = [
            Listener::new(&socket, "open", move |_| opened(SocketEvent::Opened))?,
            on_message(&socket)?,
            Listener::new(&socket, "close", move |event| {
                let event = event.unchecked_ref::<CloseEvent>();
                closed(SocketEvent::Closed {
                    code: event.code(),
                    reason: event.reason(),
                    was_clean: event.was_clean(),
                });
            })?,
        ];
        Ok(Self {
            socket,
            closing: Cell::new(None),
            _listeners,
            _entry,
        })
    }

    /// Writes a text frame; `false` when the socket is not open (its `close` event follows).
    pub(crate) fn send(&self, text: &str) -> bool {
        self.socket.ready_state() == WebSocket::OPEN && self.socket.send_with_str(text).is_ok()
    }

    /// Bytes written that the network has not taken yet.
    pub(crate) fn buffered(&self) -> u32 {
        self.socket.buffered_amount()
    }

    /// Closes it with this code and reason, and lets go of it.
    pub(crate) fn close(self, code: u16, reason: &'static str) {
        self.closing.set(Some((code, reason)));
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.socket.ready_state() == WebSocket::CLOSED {
            return;
        }
        let (code, reason) = self.closing.take().unwrap_or((1000, "Client disconnect"));
        closing::keep(&self.socket);
        // Throws only for a code or reason outside the standard's range.
        let _ = self.socket.close_with_code_and_reason(code, reason);
    }
}

/// A socket of the browser's, or a share in one: web-sys's methods are looked up by name, on whatever has them.
fn made(make: &Function, url: &str, protocols: &Array) -> Result<(Kind, WebSocket), JsValue> {
    let socket = make.call2(&JsValue::UNDEFINED, &url.into(), protocols)?;
    if socket.is_undefined() {
        return Err(socket);
    }
    let kind = if socket.is_instance_of::<WebSocket>() {
        Kind::Socket
    } else {
        Kind::SharedSocket
    };
    Ok((kind, socket.unchecked_into()))
}

fn enter(kind: Kind, socket: &WebSocket) -> Result<Entry, JsValue> {
    let close = socket.unchecked_ref::<Methods>().close()?;
    Ok(Entry::new(
        kind,
        &socket.url(),
        &bound(&close, socket, None, None),
    ))
}

/// Sockets let go of whose end the browser has not reported yet. They outlive the objects that opened them.
mod closing {
    use super::*;

    struct Closing {
        socket: WebSocket,
        _close: Listener,
        _entry: Entry,
    }

    thread_local! {
        static CLOSING: RefCell<Vec<Closing>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn keep(socket: &WebSocket) {
        let heard = socket.clone();
        let listener = Listener::new(socket, "close", move |_| {
            let ended = CLOSING.with(|list| {
                let mut list = list.borrow_mut();
                let at = list.iter().position(|closing| closing.socket == heard);
                at.map(|at| list.swap_remove(at))
            });
            drop(ended);
        });
        if let (Ok(_close), Ok(_entry)) = (listener, enter(Kind::SocketClosing, socket)) {
            let closing = Closing {
                socket: socket.clone(),
                _close,
                _entry,
            };
            CLOSING.with(|list| list.borrow_mut().push(closing));
        }
    }
}
