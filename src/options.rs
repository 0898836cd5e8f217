//! The options of a service, checked.

use crate::convert::from_js;
use crate::error::Error;
use crate::js;
use js_sys::Function;
use serde::Deserialize;
use tautline_machine::client::Config;
use tautline_protocol::{JsonWriter, is_restaurant_id};
use wasm_bindgen::prelude::*;
use web_sys::Url;

/// What is data among the options, as the layer has checked it (`docs/api.md`, WebSocketService).
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Given {
    restaurant_id: Option<String>,
    reconnect_interval: Option<f64>,
    max_reconnect_delay: Option<f64>,
    max_reconnect_attempts: Option<f64>,
    connect_timeout: Option<f64>,
    heartbeat_interval: Option<f64>,
    pong_timeout_ms: Option<f64>,
    outbox_limit: Option<f64>,
    outbox_ttl_ms: Option<f64>,
    auth_probe_interval: Option<f64>,
    stale_after: Option<f64>,
    client: Option<GivenClient>,
    subprotocol: bool,
    debug: bool,
}

#[derive(Deserialize)]
struct GivenClient {
    name: String,
    version: Option<String>,
}

/// What the driver decides by; the machine's part is in `machine`.
pub(crate) struct ServiceOptions {
    pub(crate) machine: Config,
    pub(crate) url: UrlOption,
    pub(crate) get_token: Option<Function>,
    pub(crate) subprotocol: bool,
    pub(crate) debug: bool,
}

impl ServiceOptions {
    /// # Errors
    /// `invalid_argument`, saying what the option takes.
    pub(crate) fn new(
        config: JsValue,
        url: JsValue,
        get_token: Option<Function>,
    ) -> Result<Self, JsValue> {
        let given: Given = from_js(
            config,
            "the options are not those of a WebSocketService; see `cause`",
        )?;
        if given
            .restaurant_id
            .as_deref()
            .is_some_and(|id| !is_restaurant_id(id))
        {
            return Err(Error::invalid(
                "restaurantId takes 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -",
            )
            .make());
        }
        let usual = Config::default();
        let machine = Config {
            has_token: get_token.is_some(),
            reconnect_interval_ms: ms(given.reconnect_interval, usual.reconnect_interval_ms),
            max_reconnect_delay_ms: ms(given.max_reconnect_delay, usual.max_reconnect_delay_ms),
            // A float is cut off, never out of range: `as` saturates.
            max_reconnect_attempts: given
                .max_reconnect_attempts
                .filter(|max| max.is_finite())
                .map(|max| max as u32),
            connect_timeout_ms: ms(given.connect_timeout, usual.connect_timeout_ms),
            heartbeat_interval_ms: ms(given.heartbeat_interval, usual.heartbeat_interval_ms),
            pong_timeout_ms: ms(given.pong_timeout_ms, usual.pong_timeout_ms),
            outbox_limit: given
                .outbox_limit
                .map_or(usual.outbox_limit, |limit| limit as usize),
            outbox_bytes: usual.outbox_bytes,
            outbox_ttl_ms: ms(given.outbox_ttl_ms, usual.outbox_ttl_ms),
            auth_probe_interval_ms: ms(given.auth_probe_interval, usual.auth_probe_interval_ms),
            stale_after_ms: given.stale_after.map(|after| after as u64),
            client: given.client.map(|client| {
                JsonWriter::object()
                    .str("name", &client.name)
                    .opt_str("version", client.version.as_deref())
                    .end()
            }),
            restaurant_id: given.restaurant_id,
        };
        let url = UrlOption {
            given: url,
            restaurant_id: machine.restaurant_id.clone(),
        };
        Ok(Self {
            machine,
            url,
            get_token,
            subprotocol: given.subprotocol,
            debug: given.debug,
        })
    }
}

fn ms(given: Option<f64>, usual: u64) -> u64 {
    // The layer lets whole numbers of at least 0 through; `as` saturates.
    given.map_or(usual, |ms| ms as u64)
}

/// The `url` option: text, a function that gives it, or nothing.
pub(crate) struct UrlOption {
    given: JsValue,
    restaurant_id: Option<String>,
}

impl UrlOption {
    /// What the option gives now: text, or a promise of it.
    pub(crate) fn ask(&self) -> Result<JsValue, JsValue> {
        match self.given.dyn_ref::<Function>() {
            Some(function) => function.call0(&JsValue::UNDEFINED),
            None => Ok(self.given.clone()),
        }
    }

    /// The socket's address that the option's answer stands for.
    ///
    /// # Errors
    /// `invalid_argument` for what is no address.
    pub(crate) fn socket(&self, answer: &JsValue) -> Result<String, JsValue> {
        const TAKES: &str = "url takes a ws(s):// or http(s):// address, a path on this page's host, or a function that gives one";
        let text = if answer.is_undefined() || answer.is_null() {
            Some(String::from("/ws"))
        } else {
            answer.as_string()
        };
        let url = text
            .and_then(|text| parse(&text).ok())
            .ok_or_else(|| Error::invalid(TAKES).make())?;
        match url.protocol().as_str() {
            "http:" => url.set_protocol("ws:"),
            "https:" => url.set_protocol("wss:"),
            "ws:" | "wss:" => {}
            _ => return Err(Error::invalid(TAKES).make()),
        }
        url.set_hash("");
        if let Some(id) = &self.restaurant_id
            && !url.search_params().has("restaurant_id")
        {
            url.search_params().append("restaurant_id", id);
        }
        Ok(url.href())
    }
}

/// An address, of this page's host when it is only a path.
fn parse(text: &str) -> Result<Url, JsValue> {
    match js::global().location().and_then(|location| location.href()) {
        Ok(base) if base.is_string() => {
            Url::new_with_base(text, &base.as_string().unwrap_or_default())
        }
        _ => Url::new(text),
    }
}

/// The address of a path at the host of a socket's address.
pub(crate) fn http_url(socket: &str, path: &str) -> Result<String, JsValue> {
    let url = Url::new(socket)?;
    let mut address = String::from(if url.protocol() == "wss:" {
        "https://"
    } else {
        "http://"
    });
    address.push_str(&url.host());
    address.push_str(path);
    Ok(address)
}
