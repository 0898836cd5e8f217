//! An echo server on the relay's own WebSocket layer, for the conformance cases (`npm test -- autobahn`). Handshake,
//! frames in and frames out are `tautline_relay::ws`; the order of things at the end of a connection is the shard's.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::BytesMut;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::time::Duration;
use tautline_relay::ws::{self, Decoder, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The cases send messages of up to 128 KiB.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Time for the peer's close frame after ours.
const LINGER: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the line that programs wait for")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let router = Router::new().fallback(get(upgrade));
    loop {
        let (socket, _) = listener.accept().await?;
        let _ = socket.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades(),
        );
    }
}

async fn upgrade(mut request: Request) -> Response {
    let shaken = match ws::handshake(request.headers()) {
        Ok(shaken) => shaken,
        Err(no) => return (no.status, no.detail).into_response(),
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else {
            return;
        };
        if let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() {
            // Peers that break off are no news.
            let _ = echo(parts.io.into_inner(), &parts.read_buf).await;
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, shaken.accept);
    response
}

async fn echo(mut socket: TcpStream, early: &[u8]) -> io::Result<()> {
    let mut decoder = Decoder::new(MAX_MESSAGE).with_binary();
    if answered(&mut decoder, &mut socket, early).await? {
        return Ok(());
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = socket.read(&mut buffer).await?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if read == 0 || answered(&mut decoder, &mut socket, bytes).await? {
            return Ok(());
        }
    }
}

/// Answers every message in the bytes; `true` when the connection is over.
async fn answered(
    decoder: &mut Decoder,
    socket: &mut TcpStream,
    mut bytes: &[u8],
) -> io::Result<bool> {
    loop {
        match decoder.next(&mut bytes) {
            Ok(None) => return Ok(false),
            Ok(Some(Message::Text(text))) => {
                socket.write_all(&data(text.as_bytes(), false)).await?;
            }
            Ok(Some(Message::Binary(bytes))) => socket.write_all(&data(&bytes, true)).await?,
            Ok(Some(Message::Ping(payload))) => {
                socket.write_all(&ws::pong_frame(&payload)).await?;
            }
            Ok(Some(Message::Pong | Message::TooBig)) => {}
            Ok(Some(Message::Close(code))) => {
                socket.write_all(&ws::close_frame(code, "")).await?;
                return Ok(true);
            }
            Err(violation) => {
                let close = ws::close_frame(violation.code, violation.reason);
                socket.write_all(&close).await?;
                // What follows cannot be understood. It is still read, so that the close frame is not lost to a reset.
                socket.shutdown().await?;
                let mut nowhere = tokio::io::sink();
                let rest = tokio::io::copy(socket, &mut nowhere);
                let _ = tokio::time::timeout(LINGER, rest).await;
                return Ok(true);
            }
        }
    }
}

fn data(payload: &[u8], binary: bool) -> BytesMut {
    let mut frame = BytesMut::new();
    ws::data_header(&mut frame, payload.len());
    if binary && let Some(first) = frame.first_mut() {
        // The relay writes text only; a binary frame's header differs in its opcode.
        *first += 1;
    }
    frame.extend_from_slice(payload);
    frame
}
