//! From an HTTP request to a bare WebSocket, for those that leave for the thread of the voice sessions.

use crate::socket::{Detached, Socket};
use crate::ws::Handshake;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;

/// A socket after its handshake, with what came early.
pub(super) struct Taken {
    pub(super) socket: Detached,
    pub(super) early: bytes::Bytes,
}

/// Answers 101, with that subprotocol if there is one, and hands the socket on when it is there.
pub(super) fn leave(
    mut request: Request,
    shaken: &Handshake,
    protocol: Option<&'static str>,
    begin: impl FnOnce(Taken) + Send + 'static,
) -> Response {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match detach(upgraded).await {
            Ok(taken) => begin(taken),
            Err(error) => tracing::debug!(error, "a socket was lost during its handshake"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, shaken.accept.clone());
    if let Some(protocol) = protocol {
        let protocol = HeaderValue::from_static(protocol);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

async fn detach(upgraded: hyper::upgrade::OnUpgrade) -> Result<Taken, String> {
    let parts = upgraded
        .await
        .map_err(|error| error.to_string())?
        .downcast::<TokioIo<Socket>>()
        .map_err(|_| "not a socket of ours")?;
    let socket = parts.io.into_inner().detach();
    Ok(Taken {
        socket: socket.map_err(|error| error.to_string())?,
        early: parts.read_buf,
    })
}
