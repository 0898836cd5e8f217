//! A socket that may break at any time, as its owner sees it; and what it may be shown.

use crate::Day;
use crate::support::Http;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// How its owner goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    /// A close frame.
    Close,
    /// The connection breaks.
    Cut,
    /// Nothing at all: out of reach, battery empty. The socket is there, and nobody behind it.
    Vanish,
}

impl Leave {
    pub(crate) fn by(chance: u64) -> Self {
        match chance {
            0..60 => Self::Close,
            60..80 => Self::Cut,
            _ => Self::Vanish,
        }
    }
}

/// See the module.
pub(crate) struct Socket {
    socket: WebSocketStream<TcpStream>,
    waiting: VecDeque<Value>,
}

impl Socket {
    pub(crate) async fn open(day: &Day, path: &str, address: &str) -> Option<Self> {
        let stream = TcpStream::connect(day.relay.address).await.ok()?;
        let url = format!("ws://{}{path}", day.relay.address);
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", address.parse().unwrap());
        let (socket, _) = client_async(request, stream).await.ok()?;
        Some(Self {
            socket,
            waiting: VecDeque::new(),
        })
    }

    /// Opened, greeted and let in; the answer to `auth`.
    pub(crate) async fn enter(
        day: &Day,
        path: &str,
        address: &str,
        auth: Value,
    ) -> Option<(Self, Value)> {
        let mut socket = Self::open(day, path, address).await?;
        socket.send(auth).await?;
        loop {
            let frame = socket.next().await?;
            match frame["type"].as_str()? {
                "connected" => {}
                "auth:success" => return Some((socket, frame)),
                _ => return None,
            }
        }
    }

    pub(crate) async fn send(&mut self, frame: Value) -> Option<()> {
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .ok()
    }

    /// The next object; `None` when the connection has gone. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(value) = self.waiting.pop_front() {
                return Some(value);
            }
            match self.socket.next().await?.ok()? {
                Message::Text(text) => match serde_json::from_str(&text).unwrap() {
                    Value::Array(values) => self.waiting.extend(values),
                    value => self.waiting.push_back(value),
                },
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Its owner goes.
    pub(crate) async fn leave(mut self, day: &Rc<Day>, how: Leave) {
        match how {
            Leave::Close => {
                let _ = self.socket.close(None).await;
                while self.socket.next().await.is_some_and(|next| next.is_ok()) {}
            }
            Leave::Cut => {}
            Leave::Vanish => {
                day.count("devices that vanished");
                // Neither read nor closed until long after the relay must have noticed.
                day.minutes(15.0).await;
            }
        }
    }
}

/// Where a client stands in a restaurant's history: no number twice, none left out but those it is told of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    pub(crate) at: Option<(String, u64)>,
}

impl Position {
    /// What to resume from, for `auth`.
    pub(crate) fn resume(&self) -> Value {
        match &self.at {
            Some((epoch, seq)) => json!({"epoch": epoch, "seq": seq}),
            None => Value::Null,
        }
    }

    /// The answer to `auth`; whether it goes on where it was.
    pub(crate) fn entered(&mut self, success: &Value, wants_snapshot: bool) -> bool {
        let epoch = success["epoch"].as_str().unwrap().to_owned();
        let resumed = success["resumed"] == true;
        if !resumed {
            // Until the snapshot is there nothing is known.
            self.at = (!wants_snapshot).then(|| (epoch, success["seq"].as_u64().unwrap()));
        }
        resumed
    }

    /// An event, a cursor frame or a snapshot's part; whether it is to be taken.
    pub(crate) fn take(&mut self, day: &Day, who: &str, frame: &Value) {
        let fault = |what: &str| {
            let mut faults = day.faults.borrow_mut();
            faults.push(format!("{who}: {what}: {frame}"));
        };
        if frame["type"] == "sync_complete" {
            let of = &frame["payload"];
            let (epoch, seq) = (of["epoch"].as_str().unwrap(), of["seq"].as_u64().unwrap());
            self.at = Some((epoch.to_owned(), seq));
            return;
        }
        let Some(seq) = frame["seq"].as_u64() else {
            return;
        };
        let Some((epoch, at)) = &mut self.at else {
            return fault("before its snapshot");
        };
        if frame["epoch"] != epoch.as_str() {
            return fault("of another history");
        }
        if frame["type"] == "cursor" {
            match frame["from"].as_u64() {
                Some(from) if from <= *at && seq >= *at => *at = seq,
                _ => fault(&format!("a gap at {at}")),
            }
            return;
        }
        day.count("events shown");
        match seq {
            seq if seq == *at + 1 => *at = seq,
            seq if seq <= *at => fault(&format!("a repeat at {at}")),
            _ => fault(&format!("a gap at {at}")),
        }
    }
}

/// A connection for requests; `None` when it breaks.
pub(crate) async fn ask(
    day: &Day,
    method: &str,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<crate::support::Answer> {
    let stream = TcpStream::connect(day.relay.address).await.ok()?;
    let mut http = Http::over(Box::new(stream), day.relay.address);
    http.send(method, path, token, headers, body).await.ok()
}

/// A token; asked for until there is one.
pub(crate) async fn token(day: &Day, query: &str) -> String {
    loop {
        let path = format!("/dev/token?{query}");
        if let Some(answer) = ask(day, "GET", &path, "", &[], "").await {
            assert_eq!(answer.status, 200, "{answer:?}");
            day.count("tokens");
            return answer.json()["token"].as_str().unwrap().to_owned();
        }
        day.count("requests that were cut off");
    }
}

/// An address of its own for everybody.
pub(crate) fn address(number: u64) -> String {
    let [.., a, b, c] = number.to_be_bytes();
    format!("10.{a}.{b}.{c}")
}

pub(crate) fn order(number: u64) -> Value {
    json!({"type": "dine-in", "table_number": (number % 40).to_string(), "items": [
        {"menu_item_id": "b", "name": "Burger", "quantity": 1 + number % 3, "price": 9.5},
        {"menu_item_id": "f", "name": "Fries", "quantity": 1, "price": 3.25},
    ]})
}
