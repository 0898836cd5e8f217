//! A delivery shares the event's bytes: what is allocated does not grow by an event for each screen.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tautline_relay::config::ServeArgs;

/// Counts what this process allocates: the relay, which runs in it, and what is below.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const DEADLINE: Duration = Duration::from_secs(60);
const EVENT: usize = 8 * 1024;
/// Of one request.
const TOGETHER: usize = 6;
const REQUESTS: usize = 20;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

fn start(folder: &std::path::Path) -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let folder = folder.to_str().unwrap();
    let listen = address.to_string();
    let args = ["relay", "--dev", "--listen", &listen, "--data-dir", folder];
    let config = Cli::parse_from(args).serve.resolve().unwrap();
    std::thread::spawn(move || tautline_relay::serve(config));
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let began = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(socket) => {
                socket.set_read_timeout(Some(DEADLINE)).unwrap();
                socket.set_nodelay(true).unwrap();
                return socket;
            }
            Err(error) => assert!(began.elapsed() < DEADLINE, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// Reads until this stands there; the text so far.
fn until(socket: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let mut one = [0];
    while !read.ends_with(text.as_bytes()) {
        socket.read_exact(&mut one).unwrap();
        read.push(one[0]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn token(address: SocketAddr, role: &str) -> String {
    let mut socket = connect(address);
    write!(
        socket,
        "GET /dev/token?restaurant_id=r&role={role} HTTP/1.1\r\nhost: {address}\r\n\r\n"
    )
    .unwrap();
    until(&mut socket, r#""token":""#);
    until(&mut socket, "\"").trim_end_matches('"').to_owned()
}

fn screen(address: SocketAddr, token: &str, v1: bool) -> TcpStream {
    let mut socket = connect(address);
    write!(
        socket,
        "GET /ws HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    until(&mut socket, "\r\n\r\n");
    let protocol = if v1 {
        r#","protocol":"tautline.v1""#
    } else {
        ""
    };
    let auth = format!(r#"{{"type":"auth","token":"{token}"{protocol}}}"#);
    // A mask of zeros leaves the payload as it is.
    let length = u16::try_from(auth.len()).unwrap().to_be_bytes();
    let mut frame = vec![0x81, 0xfe, length[0], length[1], 0, 0, 0, 0];
    frame.extend_from_slice(auth.as_bytes());
    socket.write_all(&frame).unwrap();
    until(&mut socket, "\"auth:success\"");
    until(&mut socket, "\"timestamp\":\"");
    until(&mut socket, "\"}");
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Publishes and reads it all on every screen; bytes allocated meanwhile.
fn deliver(publisher: &mut TcpStream, request: &[u8], screens: &mut [TcpStream]) -> usize {
    let mut buffer = vec![0; 256 * 1024];
    let mut missing = vec![0; screens.len()];
    let region = Region::new(ALLOCATOR);
    for _ in 0..REQUESTS {
        publisher.write_all(request).unwrap();
        let n = publisher.read(&mut buffer).unwrap();
        assert!(buffer[..n].starts_with(b"HTTP/1.1 202"));
        missing.fill(EVENT * TOGETHER);
        let began = Instant::now();
        while missing.iter().any(|missing| *missing > 0) {
            for (screen, missing) in screens.iter_mut().zip(&mut missing) {
                match screen.read(&mut buffer) {
                    Ok(n) => *missing = missing.saturating_sub(n),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            assert!(began.elapsed() < DEADLINE, "not delivered");
            std::thread::yield_now();
        }
        // What there is beyond the payloads: frames' heads and the like.
        for screen in &mut *screens {
            while screen.read(&mut buffer).is_ok_and(|n| n > 0) {}
        }
    }
    let change = region.change();
    change.bytes_allocated + change.bytes_reallocated.unsigned_abs()
}

#[test]
fn no_event_sized_allocation_per_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let address = start(folder.path());
    let (service, kitchen) = (token(address, "service"), token(address, "kitchen"));
    let event = format!(
        r#"{{"type":"kds:update","payload":"{}"}}"#,
        "x".repeat(EVENT)
    );
    let body = format!("[{}]", vec![event; TOGETHER].join(","));
    let request = format!(
        "POST /api/v1/restaurants/r/events HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {service}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for v1 in [false, true] {
        let mut publisher = connect(address);
        let mut screens: Vec<TcpStream> = (0..10).map(|_| screen(address, &kitchen, v1)).collect();
        // What is made once is not counted.
        deliver(&mut publisher, request.as_bytes(), &mut screens);
        let few = deliver(&mut publisher, request.as_bytes(), &mut screens);
        screens.extend((0..100).map(|_| screen(address, &kitchen, v1)));
        let many = deliver(&mut publisher, request.as_bytes(), &mut screens);
        let deliveries = 100 * REQUESTS * TOGETHER;
        let each = many.saturating_sub(few) / deliveries;
        println!("v1: {v1}: {each} bytes allocated for a further delivery of {EVENT}");
        assert!(
            few > EVENT * TOGETHER * REQUESTS,
            "the events themselves are counted: {few}"
        );
        assert!(each < EVENT / 16, "{each} bytes for each delivery");
    }
}
