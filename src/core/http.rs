//! HTTP calls at the host of the service's url, with its token.

use super::{Core, Signal};
use crate::convert::text;
use crate::error::Error;
use crate::frame::Problem;
use crate::guard::{Fetch, Listener, Settle};
use crate::{host, options};
use js_sys::Promise;
use std::cell::{Cell, RefCell};
use std::rc::Weak;
use tautline_machine::client::TokenReason;
use tautline_protocol::{ErrorCode, NackCode};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::AbortSignal;

/// Calls under way.
#[derive(Default)]
pub(super) struct Requests {
    list: RefCell<Vec<(u32, Call)>>,
    last: Cell<u32>,
}

/// Dropping it aborts the call and rejects its promise.
struct Call {
    owner: u32,
    settle: Settle,
    _fetch: Fetch,
    _abort: Option<Listener>,
}

impl Requests {
    fn take(&self, id: u32) -> Option<Call> {
        let mut list = self.list.borrow_mut();
        let at = list.iter().position(|(call, _)| *call == id)?;
        Some(list.swap_remove(at).1)
    }
}

impl Core {
    /// `GET` of a path below `/api/v1/restaurants/<ours>`; resolves with the parsed answer.
    pub(crate) fn get(&self, path: &str, signal: Option<Signal>, owner: u32) -> Promise {
        let (promise, settle) = Settle::promise();
        if let Some(reason) = signal.as_ref().and_then(Signal::aborted) {
            settle.settle(Err(reason));
            return promise;
        }
        let Some(restaurant) = self
            .options
            .machine
            .restaurant_id
            .as_deref()
            .filter(|_| !self.is_disposed())
        else {
            let disposed = self.is_disposed();
            let error = if disposed {
                Error::disposed()
            } else {
                Error::invalid("HTTP calls need the restaurantId option")
            };
            settle.settle(Err(error.make()));
            return promise;
        };
        let mut full = String::from("/api/v1/restaurants/");
        full.push_str(restaurant);
        full.push_str(path);
        let fetch = match Fetch::new(&full) {
            Ok(fetch) => fetch,
            Err(error) => {
                settle.settle(Err(error));
                return promise;
            }
        };
        let id = self.requests.last.get() + 1;
        self.requests.last.set(id);
        let weak = self.me.clone();
        let abort = signal.and_then(|signal| {
            let given = signal.clone();
            signal.listen(move || {
                let call = weak.upgrade().and_then(|core| core.requests.take(id));
                if let Some(Call {
                    settle,
                    _fetch,
                    _abort,
                    ..
                }) = call
                {
                    drop((_fetch, _abort));
                    settle.settle(Err(given.reason()));
                }
            })
        });
        let life = fetch.signal();
        self.requests.list.borrow_mut().push((
            id,
            Call {
                owner,
                settle,
                _fetch: fetch,
                _abort: abort,
            },
        ));
        let weak = self.me.clone();
        spawn_local(async move {
            let answer = answer(&weak, &full, &life).await;
            let call = weak
                .upgrade()
                .filter(|_| !host::is_dead())
                .and_then(|core| core.requests.take(id));
            if let Some(Call {
                settle,
                _fetch,
                _abort,
                ..
            }) = call
            {
                drop((_fetch, _abort));
                settle.settle(answer);
            }
        });
        promise
    }

    /// Calls under way, of that owner or all, are aborted, their promises rejected `disposed`.
    pub(super) fn end_requests(&self, owner: Option<u32>) {
        let calls = self.requests.list.take();
        let (gone, kept): (Vec<_>, Vec<_>) = calls
            .into_iter()
            .partition(|(_, call)| owner.is_none_or(|owner| call.owner == owner));
        self.requests.list.replace(kept);
        drop(gone);
    }
}

async fn answer(core: &Weak<Core>, path: &str, life: &AbortSignal) -> Result<JsValue, JsValue> {
    let asked = upgrade(core)?.ask_url()?;
    let url = settled(asked).await?;
    let address = options::http_url(&upgrade(core)?.options.url.socket(&url)?, path)?;
    let mut token = upgrade(core)?.last_token();
    if token.is_none() {
        token = ask(core, TokenReason::Connect).await?;
    }
    let response = request(&address, token.as_deref(), life).await?;
    if response.status() != 401 {
        return read(response).await;
    }
    // The token in hand ran out: one more try with another.
    let fresh = ask(core, TokenReason::Rejected).await?;
    if fresh.is_none() || fresh == token {
        return read(response).await;
    }
    read(request(&address, fresh.as_deref(), life).await?).await
}

fn upgrade(core: &Weak<Core>) -> Result<std::rc::Rc<Core>, JsValue> {
    core.upgrade()
        .filter(|core| !core.is_disposed())
        .ok_or_else(|| Error::disposed().make())
}

async fn settled(value: JsValue) -> Result<JsValue, JsValue> {
    JsFuture::from(Promise::resolve(&value)).await
}

async fn ask(core: &Weak<Core>, reason: TokenReason) -> Result<Option<String>, JsValue> {
    let answer = upgrade(core)?.ask_token(reason, 1)?;
    let token = text(&settled(answer).await?).filter(|token| !token.is_empty());
    if token.is_some() {
        upgrade(core)?.remember_token(token.clone());
    }
    Ok(token)
}

async fn request(
    address: &str,
    token: Option<&str>,
    life: &AbortSignal,
) -> Result<web_sys::Response, JsValue> {
    let mut request = gloo_net::http::Request::get(address).abort_signal(Some(life));
    if let Some(token) = token {
        let mut bearer = String::from("Bearer ");
        bearer.push_str(token);
        request = request.header("authorization", &bearer);
    }
    match request.send().await {
        Ok(response) => Ok(response.into()),
        Err(error) => {
            let cause = match error {
                gloo_net::Error::JsError(error) => js_sys::Error::new(&error.message).into(),
                _ => JsValue::UNDEFINED,
            };
            Err(
                Error::new(ErrorCode::HttpFailed, "the server could not be reached")
                    .cause(cause)
                    .make(),
            )
        }
    }
}

async fn read(response: web_sys::Response) -> Result<JsValue, JsValue> {
    let status = response.status();
    let body = match response.json() {
        Ok(body) => JsFuture::from(body).await,
        Err(error) => Err(error),
    };
    if response.ok() {
        return body.map_err(|cause| {
            Error::new(ErrorCode::HttpFailed, "the server's answer is not JSON")
                .status(status, false)
                .cause(cause)
                .make()
        });
    }
    let problem = body.ok().and_then(Problem::of);
    let code = problem
        .as_ref()
        .and_then(|problem| NackCode::parse(&problem.code()?));
    let said = problem
        .as_ref()
        .and_then(Problem::said)
        .unwrap_or_else(|| String::from("the server refused the call"));
    let retryable = status == 429 || status >= 500;
    Err(Error::new(ErrorCode::HttpFailed, &said)
        .status(status, retryable)
        .nack_code(code)
        .make())
}
