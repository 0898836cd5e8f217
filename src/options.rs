//! The options of a service, checked.

use crate::convert::{is_record, optional_whole, text};
use crate::core::{Core, Heard};
use crate::error::Error;
use crate::js;
use js_sys::{Array, Function};
use tautline_machine::client::Config;
use tautline_protocol::{JsonWriter, is_restaurant_id};
use wasm_bindgen::prelude::*;
use web_sys::Url;

#[wasm_bindgen]
extern "C" {
    /// What is data among the options, as the layer has checked it (`pkg/README.md`, WebSocketService). Read by getters:
    /// serde's way in costs 9 KB of brotli, for the one object that comes in (`docs/decisions`). The layer made this
    /// object itself, without accessors, so its getters cannot throw.
    #[derive(Clone)]
    type Given;

    #[wasm_bindgen(method, getter, js_name = restaurantId)]
    fn restaurant_id(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = reconnectInterval)]
    fn reconnect_interval(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = maxReconnectDelay)]
    fn max_reconnect_delay(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = maxReconnectAttempts)]
    fn max_reconnect_attempts(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = connectTimeout)]
    fn connect_timeout(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = heartbeatInterval)]
    fn heartbeat_interval(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = pongTimeoutMs)]
    fn pong_timeout_ms(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = outboxLimit)]
    fn outbox_limit(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = outboxTtlMs)]
    fn outbox_ttl_ms(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = outboxStored)]
    fn outbox_stored(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = authProbeInterval)]
    fn auth_probe_interval(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = staleAfter)]
    fn stale_after(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = client)]
    fn client(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = name)]
    fn name(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = version)]
    fn version(this: &Given) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = subprotocol)]
    fn subprotocol(this: &Given) -> JsValue;
}

/// What the driver decides by; the machine's part is in `machine`.
pub(crate) struct ServiceOptions {
    pub(crate) machine: Config,
    pub(crate) url: UrlOption,
    pub(crate) get_token: Option<Function>,
    pub(crate) subprotocol: bool,
    /// Makes sockets in the browser's place.
    pub(crate) make_socket: Option<Function>,
    /// Tells the layer of an event; it does not throw.
    pub(crate) emit: Function,
    /// Tells the pool that it is a member of, of everything but messages.
    pub(crate) pool: Option<ToPool>,
}

pub(crate) type ToPool = Box<dyn Fn(&Core, Heard<'_>)>;

impl ServiceOptions {
    /// # Errors
    /// `invalid_argument`, saying what the option takes.
    pub(crate) fn new(
        config: JsValue,
        url: JsValue,
        get_token: Option<Function>,
        emit: Function,
    ) -> Result<Self, JsValue> {
        if !is_record(&config) {
            return Err(Error::invalid("the options of a WebSocketService are an object").make());
        }
        let given: Given = config.unchecked_into();
        let restaurant_id = text(&given.restaurant_id());
        if restaurant_id
            .as_deref()
            .is_some_and(|id| !is_restaurant_id(id))
        {
            return Err(Error::invalid(
                "restaurantId takes 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -",
            )
            .make());
        }
        let usual = Config::default();
        let ms = |given: JsValue, usual: u64, name: &str| {
            whole_of(&given, name).map(|ms| ms.unwrap_or(usual))
        };
        let machine = Config {
            restaurant_id,
            has_token: get_token.is_some(),
            addresses: url.dyn_ref::<Array>().map_or(1, Array::length) as usize,
            reconnect_interval_ms: ms(
                given.reconnect_interval(),
                usual.reconnect_interval_ms,
                "reconnectInterval",
            )?,
            max_reconnect_delay_ms: ms(
                given.max_reconnect_delay(),
                usual.max_reconnect_delay_ms,
                "maxReconnectDelay",
            )?,
            max_reconnect_attempts: whole_of(
                &given.max_reconnect_attempts(),
                "maxReconnectAttempts",
            )?
            .map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
            connect_timeout_ms: ms(
                given.connect_timeout(),
                usual.connect_timeout_ms,
                "connectTimeout",
            )?,
            heartbeat_interval_ms: ms(
                given.heartbeat_interval(),
                usual.heartbeat_interval_ms,
                "heartbeatInterval",
            )?,
            pong_timeout_ms: ms(
                given.pong_timeout_ms(),
                usual.pong_timeout_ms,
                "pongTimeoutMs",
            )?,
            outbox_limit: whole_of(&given.outbox_limit(), "outboxLimit")?
                .map_or(usual.outbox_limit, |limit| limit as usize),
            outbox_bytes: usual.outbox_bytes,
            outbox_ttl_ms: ms(given.outbox_ttl_ms(), usual.outbox_ttl_ms, "outboxTtlMs")?,
            outbox_stored: given.outbox_stored().is_truthy(),
            auth_probe_interval_ms: ms(
                given.auth_probe_interval(),
                usual.auth_probe_interval_ms,
                "authProbeInterval",
            )?,
            stale_after_ms: whole_of(&given.stale_after(), "staleAfter")?,
            client: client(given.client()),
        };
        let url = UrlOption {
            given: url,
            restaurant_id: machine.restaurant_id.clone(),
        };
        Ok(Self {
            machine,
            url,
            get_token,
            subprotocol: given.subprotocol().is_truthy(),
            make_socket: None,
            emit,
            pool: None,
        })
    }
}

/// A whole number, or none.
fn whole_of(given: &JsValue, name: &str) -> Result<Option<u64>, JsValue> {
    optional_whole(given).map_err(|()| {
        let mut message = String::from(name);
        message.push_str(" takes a whole number of at least 0");
        Error::invalid(&message).make()
    })
}

/// `{name, version}` as JSON.
fn client(given: JsValue) -> Option<String> {
    let given: Given = is_record(&given).then(|| given.unchecked_into())?;
    let name = text(&given.name())?;
    let version = text(&given.version());
    Some(
        JsonWriter::object()
            .str("name", &name)
            .opt_str("version", version.as_deref())
            .end(),
    )
}

/// The `url` option: text, a list of it, a function that gives it, or nothing.
pub(crate) struct UrlOption {
    given: JsValue,
    restaurant_id: Option<String>,
}

impl UrlOption {
    /// What the option gives now, of a list the address of that number: text, or a promise of it.
    pub(crate) fn ask(&self, address: usize) -> Result<JsValue, JsValue> {
        if let Some(function) = self.given.dyn_ref::<Function>() {
            return function.call0(&JsValue::UNDEFINED);
        }
        let listed = self.given.dyn_ref::<Array>();
        Ok(listed.map_or_else(|| self.given.clone(), |list| list.get(address as u32)))
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
