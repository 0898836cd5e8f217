//! A connection that publishes: by HTTP to a relay, by a message to a server that passes on what it hears.

use crate::Failure;
use crate::frames;
use crate::server::Server;
use crate::sockets::{self, Socket};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{ErrorKind, Read, Write};

/// What is said over it.
enum Speech {
    Message,
    /// Keep-alive HTTP/1.1: one request after the other, each answered before the next.
    Http {
        head: String,
        /// Answers that are still to come.
        waiting: usize,
        answers: Vec<u8>,
    },
}

pub(crate) struct Publisher {
    stream: TcpStream,
    speech: Speech,
    out: Vec<u8>,
    masks: u32,
}

impl Publisher {
    pub(crate) fn open(
        server: &Server,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, Failure> {
        let (socket, speech) = match &server.relay {
            None => (sockets::speaker(server)?, Speech::Message),
            Some(relay) => {
                let head = format!(
                    "POST /api/v1/restaurants/{}/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
                     Content-Type: application/json\r\nContent-Length: ",
                    relay.restaurant, server.address, relay.service
                );
                let speech = Speech::Http {
                    head,
                    waiting: 0,
                    answers: Vec::new(),
                };
                (Socket::open(server)?, speech)
            }
        };
        socket.stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            speech,
            out: Vec::new(),
            masks: 0x9e37_79b9,
        })
    }

    /// Whether it may say something now.
    pub(crate) fn is_free(&self) -> bool {
        match &self.speech {
            Speech::Message => true,
            Speech::Http { waiting, .. } => *waiting == 0,
        }
    }

    /// Says some events; [`Publisher::flush`] sends what was said.
    pub(crate) fn publish(&mut self, events: &[String]) {
        match &mut self.speech {
            Speech::Message => {
                for event in events {
                    self.masks ^= self.masks << 13;
                    self.masks ^= self.masks >> 17;
                    self.masks ^= self.masks << 5;
                    frames::text(&mut self.out, event, self.masks.to_be_bytes());
                }
            }
            Speech::Http { head, waiting, .. } => {
                let body = match events {
                    [one] => one.clone(),
                    several => format!("[{}]", several.join(",")),
                };
                self.out.extend_from_slice(head.as_bytes());
                self.out
                    .extend_from_slice(format!("{}\r\n\r\n{body}", body.len()).as_bytes());
                *waiting += 1;
            }
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(format!("a publisher's connection broke ({error})").into());
                }
            }
        }
        Ok(())
    }

    /// Reads answers; what is not 2xx is the end of the run.
    pub(crate) fn heard(&mut self, scratch: &mut [u8]) -> Result<(), Failure> {
        loop {
            let n = match self.stream.read(scratch) {
                Ok(0) => return Err("the server closed a publisher's connection".into()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(format!("a publisher's connection broke ({error})").into());
                }
            };
            let Speech::Http {
                waiting, answers, ..
            } = &mut self.speech
            else {
                continue;
            };
            answers.extend_from_slice(scratch.get(..n).unwrap_or_default());
            while let Some(end) = answer(answers)? {
                answers.drain(..end);
                *waiting -= 1;
            }
        }
    }
}

/// The end of the first whole answer.
fn answer(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok())
        .ok_or("an answer without its length")?;
    if !head.starts_with("http/1.1 2") {
        let text = String::from_utf8_lossy(bytes);
        return Err(format!("an event was refused: {text}").into());
    }
    let end = end + 4 + length;
    Ok((bytes.len() >= end).then_some(end))
}
