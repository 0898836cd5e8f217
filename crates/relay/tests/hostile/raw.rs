//! A WebSocket peer that does as it is told, lawful or not: bytes out as they are, frames in one by one.

use crate::support::{DEADLINE, Relay};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
}

/// A masked frame; `first` is its first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(0x80 | TEXT, text.as_bytes())
}

impl Raw {
    pub(crate) async fn open(relay: &Relay) -> Self {
        Self::connect(relay.address, None).await.unwrap()
    }

    /// Through the handshake. `receive`: bytes that the kernel takes in on its behalf, about.
    pub(crate) async fn connect(address: SocketAddr, receive: Option<usize>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive {
            set_socket_recv_buffer_size(&socket, bytes)?;
        }
        let socket = socket.connect(address).await?;
        socket.set_nodelay(true)?;
        let mut raw = Self {
            socket,
            buffer: Vec::new(),
        };
        let request = format!(
            "GET /ws HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        raw.write(request.as_bytes()).await?;
        let end = loop {
            if let Some(end) = raw.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            raw.more().await?;
        };
        let head = String::from_utf8_lossy(raw.buffer.get(..end).unwrap_or_default()).into_owned();
        raw.buffer.drain(..end);
        if head.starts_with("HTTP/1.1 101 ") {
            Ok(raw)
        } else {
            Err(io::Error::other(head))
        }
    }

    /// Opened and authenticated in v1; the position it was given.
    pub(crate) async fn v1(relay: &Relay, token: &str, receive: Option<usize>) -> (Self, Value) {
        let mut raw = Self::connect(relay.address, receive).await.unwrap();
        raw.json("connected").await;
        let auth = json!({"type":"auth","token":token,"protocol":"tautline.v1"});
        raw.write(&text(&auth.to_string())).await.unwrap();
        let answer = raw.json("auth:success").await;
        (raw, answer)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.socket.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next frame: its opcode and payload. Cancel-safe.
    pub(crate) async fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((opcode, range)) = whole(&self.buffer) {
                let payload = self.buffer.get(range.clone()).unwrap_or_default().to_vec();
                self.buffer.drain(..range.end);
                return Ok((opcode, payload));
            }
            self.more().await?;
        }
    }

    /// The next text frame, which must be an object of this type.
    pub(crate) async fn json(&mut self, kind: &str) -> Value {
        loop {
            let (opcode, payload) = timeout(DEADLINE, self.frame())
                .await
                .expect("a frame in time")
                .unwrap();
            if opcode == TEXT {
                let value: Value = serde_json::from_slice(&payload).unwrap();
                assert_eq!(value["type"], kind, "{value}");
                return value;
            }
        }
    }

    /// Reads until the connection is over: the code of the close frame, if one came.
    pub(crate) async fn ended(&mut self) -> Option<u16> {
        let mut code = None;
        let over = async {
            while let Ok((opcode, payload)) = self.frame().await {
                if opcode == CLOSE {
                    let bytes = payload.first_chunk::<2>();
                    code = Some(bytes.map_or(1005, |bytes| u16::from_be_bytes(*bytes)));
                }
            }
        };
        timeout(DEADLINE, over).await.expect("an end in time");
        code
    }
}

/// Opcode and place of the payload of the first frame, once it is whole. A server's frames are not masked.
fn whole(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let (from, len) = match second & 0x7f {
        126 => (4, u16::from_be_bytes(*rest.first_chunk()?).into()),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (2, short.into()),
    };
    let to = from + usize::try_from(len).ok()?;
    (bytes.len() >= to).then_some((first & 0x0f, from..to))
}
