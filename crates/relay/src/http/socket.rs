//! `GET /ws`: the handshake is HTTP's; after it the socket leaves for the shard.

use super::App;
use super::problem::Problem;
use crate::limit;
use crate::peer::Peer;
use crate::socket::Socket;
use crate::ws;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use tautline_machine::relay::Stage;
use tautline_protocol::{NackCode, V1, limits};

/// Answers 101 and hands the bare socket over.
pub(super) async fn upgrade(
    State(app): State<App>,
    mut request: Request,
) -> Result<Response, Problem> {
    let refused = |result: &'static str| {
        metrics::counter!("tautline_connects_total", "result" => result).increment(1)
    };
    if app.is_stopping() {
        refused("draining");
        return Err(Problem::unavailable("the relay is going down"));
    }
    if app.pressure.stage() >= Stage::Sockets {
        refused("overloaded");
        limit::hit(limits::hit::OVERLOAD);
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            NackCode::Overloaded.as_str(),
            "the relay does not keep up; try again later",
        )
        .retry_after_ms(limits::OVERLOAD_MS));
    }
    let shaken = ws::handshake(request.headers()).map_err(|no| {
        refused("not_a_websocket");
        Problem::new(no.status, "websocket_required", no.detail)
    })?;
    let peer = request.extensions_mut().remove::<Peer>();
    let Some(peer) = peer else {
        return Err(Problem::unavailable("nobody is at the other end"));
    };
    let visit = peer
        .visit(request.headers())
        .inspect_err(|_| refused("limit"))?;
    let from_page = request.headers().contains_key(header::ORIGIN);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let taken = async {
            let parts = upgraded
                .await
                .map_err(|error| error.to_string())?
                .downcast::<TokioIo<Socket>>()
                .map_err(|_| "not a socket of ours")?;
            let socket = parts
                .io
                .into_inner()
                .detach()
                .map_err(|error| error.to_string())?;
            Ok::<_, String>((socket, parts.read_buf))
        };
        match taken.await {
            Ok((socket, early)) => {
                metrics::counter!("tautline_connects_total", "result" => "ok").increment(1);
                app.shard.admit(
                    socket,
                    early,
                    ws::Opened {
                        v1: shaken.v1,
                        from_page,
                    },
                    visit,
                );
            }
            Err(error) => tracing::debug!(error, "a socket was lost during its handshake"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, shaken.accept);
    if shaken.v1 {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(V1));
    }
    Ok(response)
}
