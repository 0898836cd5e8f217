//! The page's life (`pkg/README.md`, page lifecycle): one set of listeners for all services and calls, there from the
//! first live one to the last. Never `unload` or `beforeunload`: they would keep the page out of the back/forward cache.

use crate::guard::Listener;
use crate::{host, js};
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use tautline_machine::client::PageEvent;
use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

#[wasm_bindgen]
extern "C" {
    /// A `pagehide` or `pageshow` event.
    type Transition;

    #[wasm_bindgen(method, getter, catch)]
    fn persisted(this: &Transition) -> Result<JsValue, JsValue>;

    /// `document`.
    type Page;

    #[wasm_bindgen(method, getter, catch, js_name = visibilityState)]
    fn visibility_state(this: &Page) -> Result<JsValue, JsValue>;
}

/// What lives in a page and is told of its life.
pub(crate) trait Alive {
    /// The page's life changed.
    fn page(&self, event: PageEvent);
    /// The page goes for good: everything is released.
    fn end(&self);
}

#[derive(Default)]
struct Life {
    alive: Vec<Weak<dyn Alive>>,
    listeners: Vec<Listener>,
}

thread_local! {
    static LIFE: RefCell<Life> = RefCell::default();
}

/// It lives from now on.
pub(crate) fn join(one: Weak<dyn Alive>) {
    let first = LIFE.with(|life| {
        let mut life = life.borrow_mut();
        life.alive.push(one);
        life.listeners.is_empty()
    });
    if first {
        let listeners = listen();
        let before =
            LIFE.with(|life| std::mem::replace(&mut life.borrow_mut().listeners, listeners));
        drop(before);
    }
}

/// It does not any more.
pub(crate) fn leave(one: *const ()) {
    let gone = LIFE.with(|life| {
        let mut life = life.borrow_mut();
        life.alive
            .retain(|other| !std::ptr::addr_eq(other.as_ptr(), one));
        if life.alive.is_empty() {
            std::mem::take(&mut life.listeners)
        } else {
            Vec::new()
        }
    });
    drop(gone);
}

fn alive() -> Vec<Rc<dyn Alive>> {
    LIFE.with(|life| {
        life.borrow()
            .alive
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    })
}

fn tell(event: PageEvent) {
    if host::is_dead() {
        return;
    }
    for one in alive() {
        one.page(event);
    }
}

/// In a page all of them, in a worker those it has, under Node none.
fn listen() -> Vec<Listener> {
    let global = js::global();
    let Ok(window) = global.clone().dyn_into::<EventTarget>() else {
        return Vec::new();
    };
    let mut listeners = Vec::new();
    let mut add = |target: &EventTarget, event, then: fn(JsValue)| {
        listeners.extend(Listener::new(target, event, then).ok())
    };
    add(&window, "online", |_| tell(PageEvent::Online));
    add(&window, "offline", |_| tell(PageEvent::Offline));
    let document: Option<EventTarget> = global
        .document()
        .ok()
        .and_then(|document| document.dyn_into().ok());
    if let Some(document) = document {
        add(&window, "pagehide", |event| {
            if kept(event) {
                tell(PageEvent::Suspended)
            } else {
                end()
            }
        });
        add(&window, "pageshow", |event| {
            if kept(event) {
                tell(PageEvent::Shown);
            }
        });
        add(&document, "visibilitychange", |_| {
            tell(if is_hidden() {
                PageEvent::Hidden
            } else {
                PageEvent::Visible
            })
        });
        add(&document, "resume", |_| tell(PageEvent::Resumed));
    }
    listeners
}

/// Whether the page goes into the back/forward cache, or comes out of it.
fn kept(event: JsValue) -> bool {
    event
        .unchecked_into::<Transition>()
        .persisted()
        .is_ok_and(|persisted| persisted.is_truthy())
}

fn is_hidden() -> bool {
    let state = js::global()
        .document()
        .and_then(|document| document.unchecked_into::<Page>().visibility_state());
    state.is_ok_and(|state| state.as_string().is_some_and(|state| state == "hidden"))
}

fn end() {
    if host::is_dead() {
        return;
    }
    for one in alive() {
        one.end();
    }
}
