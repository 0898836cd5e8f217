//! ICE over TCP, passive (RFC 6544): datagrams in frames of two bytes of length (RFC 4571). A connection lives as long as
//! the endpoint holds its [`Writer`].

use crate::clock;
use crate::limit;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tautline_protocol::limits::{self, hit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// No datagram of ICE, DTLS or G.711 is longer; a peer that says otherwise is no peer.
const LARGEST: usize = 4096;
/// Datagrams that wait for a peer's TCP; more are lost, as on any network.
const WAITING: usize = 128;
/// Datagrams of all connections that wait for the endpoint; whoever sends more waits.
pub(super) const INCOMING: usize = 256;
/// For the first datagram, and between two.
const QUIET: Duration = Duration::from_millis(limits::VOICE_SETUP_MS);

/// What happens on a connection.
#[derive(Debug)]
pub(super) enum Incoming {
    Opened(SocketAddr, Writer),
    Datagram(SocketAddr, Vec<u8>),
    Closed(SocketAddr),
}

/// The way to a peer. Dropping it ends the connection.
#[derive(Debug)]
pub(super) struct Writer(mpsc::Sender<Vec<u8>>);

impl Writer {
    /// Sends a datagram, or loses it.
    pub(super) fn send(&self, datagram: Vec<u8>) -> bool {
        self.0.try_send(datagram).is_ok()
    }
}

/// A connection's place among all.
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Takes connections for as long as it is run.
pub(super) async fn accept(listener: TcpListener, incoming: mpsc::Sender<Incoming>) {
    let open = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((_, _)) if open.get() >= limits::VOICE_TCP_CONNECTIONS => {
                limit::hit(hit::VOICE_TCP);
            }
            Ok((socket, peer)) => {
                open.set(open.get() + 1);
                let place = Place(Rc::clone(&open));
                let incoming = incoming.clone();
                tokio::task::spawn_local(async move {
                    let _place = place;
                    connection(socket, peer, incoming).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an ICE connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, peer: SocketAddr, incoming: mpsc::Sender<Incoming>) {
    let _ = socket.set_nodelay(true);
    let (from_peer, to_peer) = socket.into_split();
    let (writer, queue) = mpsc::channel(WAITING);
    if incoming
        .send(Incoming::Opened(peer, Writer(writer)))
        .await
        .is_err()
    {
        return;
    }
    tokio::select! {
        () = read(from_peer, peer, &incoming) => {}
        () = write(to_peer, queue) => {}
    }
    let _ = incoming.send(Incoming::Closed(peer)).await;
}

async fn read(mut socket: OwnedReadHalf, peer: SocketAddr, incoming: &mpsc::Sender<Incoming>) {
    while let Ok(Some(datagram)) = clock::timeout(QUIET, frame(&mut socket)).await {
        let told = incoming.send(Incoming::Datagram(peer, datagram)).await;
        if told.is_err() {
            return;
        }
    }
}

async fn frame(socket: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let len = usize::from(socket.read_u16().await.ok()?);
    if len > LARGEST {
        return None;
    }
    let mut datagram = vec![0; len];
    socket.read_exact(&mut datagram).await.ok()?;
    Some(datagram)
}

async fn write(mut socket: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(datagram) = queue.recv().await {
        let Ok(len) = u16::try_from(datagram.len()) else {
            continue;
        };
        let mut frame = Vec::with_capacity(2 + datagram.len());
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&datagram);
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}
