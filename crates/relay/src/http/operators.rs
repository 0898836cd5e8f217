//! The second listener, for those who run the relay: `/metrics`, `/healthz`, and a `/readyz` that says why
//! (`docs/operations.md`, Metrics). It has places of its own: full or overloaded, the relay can still be looked at.

use super::App;
use super::guard::Guard;
use super::health;
use super::orders::json;
use super::problem::Problem;
use crate::Fatal;
use crate::Secret;
use crate::config::{Config, DataDir, Durability, Edge};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tautline_protocol::{JsonWriter, limits};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// The least bytes of the token.
const TOKEN_BYTES: usize = 16;

#[derive(Clone)]
struct Operators {
    app: App,
    guard: Arc<Guard>,
    token: Option<Arc<Secret>>,
    store: &'static str,
    durability: &'static str,
}

/// `--metrics-token-file`.
pub(crate) fn read_token(path: &Path) -> Result<Secret, Fatal> {
    let wrong = |why: String| Fatal::new(format!("--metrics-token-file {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let token = text.trim();
    if token.len() < TOKEN_BYTES {
        return Err(wrong(format!("a token of at least {TOKEN_BYTES} bytes")));
    }
    Ok(token.to_owned().into())
}

/// What is served there.
pub(crate) fn router(
    config: &Config,
    address: SocketAddr,
    app: App,
    token: Option<Secret>,
) -> Router {
    let (store, durability) = match (&config.data_dir, config.durability) {
        (DataDir::Memory, _) => ("memory", "none"),
        (DataDir::Folder(_), Durability::Full) => ("sqlite", "full"),
        (DataDir::Folder(_), Durability::Normal) => ("sqlite", "normal"),
    };
    let operators = Operators {
        app,
        guard: Arc::new(Guard::new(address, &Edge::default(), &[])),
        token: token.map(Arc::new),
        store,
        durability,
    };
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(operators.clone(), check))
        .with_state(operators)
}

/// Takes connections for as long as it is run.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(limits::OPERATOR_CONNECTIONS));
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "an operator's connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            // Peers that break off are no news.
            let _ = super::http1()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

/// Pages have no business here, whatever name they found for this address.
async fn check(State(operators): State<Operators>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) || !operators.guard.host_is_ours(headers, false) {
        let detail = "this listener is for operators, not for pages";
        return Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail).into_response();
    }
    next.run(request).await
}

impl Operators {
    /// Whether the request carries the token, if there is one.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        headers
            .get(header::AUTHORIZATION)
            .map(|value| value.as_bytes())
            .and_then(|value| value.split_at_checked("Bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .is_some_and(|(_, given)| given.ct_eq(token.expose().as_bytes()).into())
    }
}

async fn metrics(
    State(operators): State<Operators>,
    headers: HeaderMap,
) -> Result<String, Problem> {
    if !operators.knows(&headers) {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "token_invalid",
            "send Authorization: Bearer and what --metrics-token-file holds",
        ));
    }
    Ok(health::metrics(State(operators.app)).await)
}

/// The verdict for everyone, the reasons for those who may know.
async fn readyz(State(operators): State<Operators>, headers: HeaderMap) -> Response {
    let app = &operators.app;
    if !operators.knows(&headers) {
        return health::readyz(State(app.clone())).await.into_response();
    }
    let condition = app.shard.get(|shard| shard.condition()).await;
    let writable = condition.as_ref().is_some_and(|of| of.writable);
    let (connections, restaurants) =
        condition.map_or((0, 0), |of| (of.connections, of.restaurants));
    let ready = writable && !app.is_leaving();
    let flag = |is: bool| if is { "true" } else { "false" };
    let store = JsonWriter::object()
        .str("kind", operators.store)
        .str("durability", operators.durability)
        .raw("writable", flag(writable))
        .end();
    let body = JsonWriter::object()
        .raw("ready", flag(ready))
        .raw("draining", flag(app.is_leaving()))
        .raw("store", &store)
        .u64("overload_stage", u64::from(app.pressure.stage().number()))
        .u64("connections", connections as u64)
        .u64("restaurants", restaurants as u64)
        .str("version", env!("CARGO_PKG_VERSION"))
        .end();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, body)
}
