//! Connections up to the point where events may come: the handshake, and with a relay its auth.

use crate::Failure;
use crate::frames;
use crate::server::Server;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Connections that shake hands at the same time.
const AT_ONCE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection and what has come on it that nobody has taken yet.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) early: Vec<u8>,
}

impl Socket {
    pub(crate) fn open(server: &Server) -> Result<Self, Failure> {
        let stream = TcpStream::connect(server.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            early: Vec::new(),
        })
    }

    /// Waits for more bytes.
    fn grow(&mut self) -> Result<(), Failure> {
        let mut some = [0; 4096];
        loop {
            match self.stream.read(&mut some) {
                Ok(0) => return Err("the server closed a connection too early".into()),
                Ok(n) => {
                    self.early
                        .extend_from_slice(some.get(..n).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the server says nothing ({error})").into()),
            }
        }
    }

    /// The head of an HTTP answer.
    pub(crate) fn head(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.early.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.early.drain(..end + 4).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            self.grow()?;
        }
    }

    /// The next message of the server's.
    fn message(&mut self) -> Result<String, Failure> {
        loop {
            if let Some((message, used)) = frames::whole(&self.early) {
                let message = String::from_utf8_lossy(message).into_owned();
                self.early.drain(..used);
                return Ok(message);
            }
            self.grow()?;
        }
    }
}

/// Opens `count` connections that listen.
pub(crate) fn listeners(server: &Server, count: usize) -> Result<Vec<Socket>, Failure> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let mut some = shaken(server, AT_ONCE.min(count - all.len()), "listen")?;
        authenticate(server, &mut some)?;
        all.append(&mut some);
    }
    Ok(all)
}

/// Opens a connection that only speaks, for servers that pass on what they hear.
pub(crate) fn speaker(server: &Server) -> Result<Socket, Failure> {
    Ok(shaken(server, 1, "speak")?
        .pop()
        .ok_or("a connection that was opened is not there")?)
}

fn shaken(server: &Server, count: usize, what: &str) -> Result<Vec<Socket>, Failure> {
    let mut opened = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = Socket::open(server)?;
        write!(
            socket.stream,
            "GET /ws?{what} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address
        )?;
        opened.push(socket);
    }
    for socket in &mut opened {
        let head = socket.head()?;
        if !head.starts_with("HTTP/1.1 101") {
            return Err(format!("no WebSocket: {head}").into());
        }
    }
    Ok(opened)
}

fn authenticate(server: &Server, sockets: &mut [Socket]) -> Result<(), Failure> {
    let Some(relay) = &server.relay else {
        return Ok(());
    };
    let protocol = if relay.v1 {
        r#","protocol":"tautline.v1""#
    } else {
        ""
    };
    let auth = format!(
        r#"{{"type":"auth","token":"{}","restaurant_id":"{}"{protocol}}}"#,
        relay.token, relay.restaurant
    );
    let mut frame = Vec::new();
    frames::text(&mut frame, &auth, [7, 77, 177, 17]);
    for socket in &mut *sockets {
        socket.stream.write_all(&frame)?;
    }
    for socket in sockets {
        loop {
            let message = socket.message()?;
            if message.starts_with(r#"{"type":"auth:success""#) {
                break;
            }
            if !message.starts_with(r#"{"type":"connected""#) {
                return Err(format!("not let in: {message}").into());
            }
        }
    }
    Ok(())
}
