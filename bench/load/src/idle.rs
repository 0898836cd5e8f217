//! Connections that do nothing but stay: what one costs the server in memory.

use crate::Failure;
use crate::events;
use crate::frames::{self, Heard, Listener};
use crate::server::Server;
use crate::sockets;
use memchr::memmem::Finder;
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};
use serde::Deserialize;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

#[derive(Deserialize)]
pub(crate) struct Plan {
    server: Server,
    connections: usize,
    /// How long they stay after the last is there.
    seconds: f64,
}

/// Says `ready` when all are there, then keeps them alive.
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let mut poll = Poll::new()?;
    let mut sockets = Vec::with_capacity(plan.connections);
    for socket in sockets::listeners(&plan.server, plan.connections)? {
        socket.stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.stream);
        poll.registry()
            .register(&mut stream, Token(sockets.len()), Interest::READABLE)?;
        sockets.push((stream, Listener::new(true)));
    }
    println!(r#"{{"ready":{}}}"#, sockets.len());
    let end = Instant::now() + Duration::from_secs_f64(plan.seconds);
    let mut events = mio::Events::with_capacity(1024);
    let mut scratch = vec![0; 16 * 1024];
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        poll.poll(&mut events, Some(left))?;
        for event in &events {
            let Some((stream, listener)) = sockets.get_mut(event.token().0) else {
                continue;
            };
            answer(stream, listener, &mut scratch)?;
        }
    }
    Ok(())
}

/// Reads what there is and answers pings.
fn answer(
    stream: &mut TcpStream,
    listener: &mut Listener,
    scratch: &mut [u8],
) -> Result<(), Failure> {
    let lead = Finder::new(events::LEAD);
    loop {
        let n = match stream.read(scratch) {
            Ok(0) => return Err("the server closed an idle connection".into()),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("an idle connection broke ({error})").into()),
        };
        let mut out = Vec::new();
        listener.take(scratch.get(..n).unwrap_or_default(), &lead, |heard| {
            if let Heard::Ping(payload) = heard {
                frames::pong(&mut out, &payload, [1, 2, 3, 4]);
            }
        });
        stream.write_all(&out)?;
    }
}
