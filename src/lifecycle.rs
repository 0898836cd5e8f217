//! The page's life (`pkg/README.md`, page lifecycle): one set of listeners for all services, there from the first live
//! one to the last. Never `unload` or `beforeunload`: they would keep the page out of the back/forward cache.

use crate::core::Core;
use crate::guard::Listener;
use crate::{host, js};
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use tautline_machine::client::{Input, PageEvent};
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

#[derive(Default)]
struct Life {
    services: Vec<Weak<Core>>,
    listeners: Vec<Listener>,
}

thread_local! {
    static LIFE: RefCell<Life> = RefCell::default();
}

/// The service lives from now on.
pub(crate) fn join(core: &Rc<Core>) {
    let first = LIFE.with(|life| {
        let mut life = life.borrow_mut();
        life.services.push(Rc::downgrade(core));
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
pub(crate) fn leave(core: &Core) {
    let gone = LIFE.with(|life| {
        let mut life = life.borrow_mut();
        life.services
            .retain(|service| !std::ptr::eq(service.as_ptr(), core));
        if life.services.is_empty() {
            std::mem::take(&mut life.listeners)
        } else {
            Vec::new()
        }
    });
    drop(gone);
}

fn services() -> Vec<Rc<Core>> {
    LIFE.with(|life| {
        life.borrow()
            .services
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    })
}

fn tell(event: PageEvent) {
    if host::is_dead() {
        return;
    }
    for service in services() {
        service.input(Input::Page(event));
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

/// The page goes for good: everything is released.
fn end() {
    if host::is_dead() {
        return;
    }
    for service in services() {
        service.dispose();
    }
}
