//! The HTTP side: routes, what guards them, and the way a socket leaves.

mod auth;
mod body;
mod dev;
mod diagnostics;
mod events;
mod guard;
mod health;
mod journal;
pub(crate) mod operators;
mod orders;
mod past;
mod problem;
pub(crate) mod rate;
mod realtime;
mod revoke;
mod sessions;
mod socket;
mod upgrade;
mod voice_stream;
mod www;

pub(crate) use orders::Desk;
pub(crate) use realtime::Voices;
pub(crate) use www::Www;

use crate::clock;
use crate::config::Config;
use crate::limit;
use crate::load::Pressure;
use crate::memory::Monitor;
use crate::peer::{Peer, Peers};
use crate::revoked::Revocations;
use crate::run::End;
use crate::shard::Handle;
use crate::socket::Socket;
use crate::store::Store;
use crate::tls::{self, Tls};
use crate::token::Keys;
use axum::Router;
use axum::middleware;
use axum::routing::{any, delete, get, patch, post};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tautline_protocol::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What every handler may use; clones share it.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) shard: Handle,
    stopping: watch::Receiver<bool>,
    leaving: Arc<AtomicBool>,
    store: Store,
    keys: Arc<Keys>,
    revoked: Arc<Revocations>,
    guard: Arc<guard::Guard>,
    writes: Arc<rate::Writes>,
    desk: Desk,
    pub(crate) voice: Arc<Voices>,
    peers: Arc<Peers>,
    served: Option<Arc<[String]>>,
    www: Option<Arc<Www>>,
    metrics: PrometheusHandle,
    memory: Arc<Monitor>,
    pressure: Arc<Pressure>,
    dev: bool,
    end: watch::Sender<Option<End>>,
}

/// What `serve` made for [`App::new`].
pub(crate) struct Made {
    pub(crate) shard: Handle,
    pub(crate) store: Store,
    pub(crate) keys: Arc<Keys>,
    pub(crate) revoked: Arc<Revocations>,
    pub(crate) writes: Arc<rate::Writes>,
    pub(crate) desk: Desk,
    pub(crate) voice: Voices,
    pub(crate) peers: Arc<Peers>,
    pub(crate) www: Option<Www>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) memory: Arc<Monitor>,
    pub(crate) pressure: Arc<Pressure>,
    /// How a request ends the relay.
    pub(crate) end: watch::Sender<Option<End>>,
    /// Whether it is going down.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl App {
    pub(crate) fn new(config: &Config, address: SocketAddr, made: Made) -> Self {
        Self {
            shard: made.shard,
            stopping: made.stopping,
            leaving: Arc::default(),
            store: made.store,
            keys: made.keys,
            revoked: made.revoked,
            guard: Arc::new(guard::Guard::new(
                address,
                &config.edge,
                &config.allowed_origins,
            )),
            writes: made.writes,
            desk: made.desk,
            voice: Arc::new(made.voice),
            peers: made.peers,
            served: config.restaurants.clone().map(Into::into),
            www: made.www.map(Arc::new),
            metrics: made.metrics,
            memory: made.memory,
            pressure: made.pressure,
            dev: config.keys.dev,
            end: made.end,
        }
    }

    /// From here on `/readyz` says that the relay is going.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.is_stopping()
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// Every route; what is not one is a file of `--www` or 404.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/ws", get(socket::upgrade))
        .route(
            "/api/v1/restaurants/{rid}/orders",
            get(orders::list).post(orders::create),
        )
        .route(
            "/api/v1/restaurants/{rid}/orders/{id}",
            get(orders::one).delete(orders::remove),
        )
        .route(
            "/api/v1/restaurants/{rid}/orders/{id}/status",
            patch(orders::status),
        )
        .route(
            "/api/v1/restaurants/{rid}/orders/{id}/items/{item}/status",
            patch(orders::item_status),
        )
        .route(
            "/api/v1/restaurants/{rid}/events",
            get(events::list).post(events::publish),
        )
        .route("/api/v1/restaurants/{rid}/revoke", post(revoke::revoke))
        .route("/api/v1/diagnostics", get(diagnostics::show))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/sessions/{id}", delete(sessions::close))
        .route("/voice-stream", get(voice_stream::open))
        .route("/v1/realtime", get(realtime::upgrade))
        .route(
            "/v1/realtime/client_secrets",
            post(realtime::client_secrets),
        )
        .route("/v1/realtime/calls", post(realtime::calls))
        .route("/v1/realtime/calls/{id}/hangup", post(realtime::hangup))
        .route("/v1/realtime/{*rest}", any(realtime::unknown));
    if app.dev {
        router = router
            .route("/metrics", get(health::metrics))
            .route("/dev/token", get(dev::token))
            .route("/dev/trouble", post(dev::trouble));
    }
    router
        .fallback(www::file)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), guard::check))
        .layer(middleware::from_fn(journal::request))
        .with_state(app)
}

/// Takes connections until told to stop, then finishes the requests under way.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    peers: Arc<Peers>,
    router: Router,
    stopped: watch::Receiver<bool>,
) {
    let mut ending = stopped.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = told(&mut ending) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    if let Some(peer) = peers.accept(address) {
                        connections.spawn(connection(socket, tls.clone(), peer, router.clone(), stopped.clone()));
                    }
                }
                Err(error) => {
                    // Most likely no descriptor is free: those that end make room.
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Comes when the server is to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|&stopped| stopped).await;
}

async fn connection(
    socket: TcpStream,
    tls: Option<Arc<Tls>>,
    peer: Peer,
    router: Router,
    stopped: watch::Receiver<bool>,
) {
    let _ = socket.set_nodelay(true);
    let Some(tls) = tls else {
        return requests(Socket::Tcp(socket), peer, router, stopped).await;
    };
    let shaken = match tls.accept(socket).await {
        Ok(stream) => tls::pair().map(|(near, far)| (stream, near, far)),
        Err(error) => Err(error),
    };
    match shaken {
        Ok((stream, near, far)) => {
            // It ends with its socket, which the carrying lasts as long as.
            tokio::spawn(requests(near, peer, router, stopped));
            tls::carry(stream, far).await;
        }
        Err(error) => tracing::debug!(%error, "no TLS connection came about"),
    }
}

fn http1() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(clock::takes(Duration::from_millis(limits::REQUEST_HEAD_MS)))
        .max_buf_size(limits::REQUEST_HEAD)
        .max_headers(limits::REQUEST_FIELDS);
    http
}

async fn requests(socket: Socket, peer: Peer, router: Router, mut stopped: watch::Receiver<bool>) {
    let asked = Arc::new(AtomicBool::new(false));
    let router = TowerToHyperService::new(router);
    let service = service_fn({
        let asked = Arc::clone(&asked);
        move |mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer.clone());
            router.call(request)
        }
    });
    let served = http1()
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    tokio::select! {
        served = served.as_mut() => return ended(served, &asked),
        () = told(&mut stopped) => served.as_mut().graceful_shutdown(),
    }
    ended(served.await, &asked);
}

/// Peers that break off are no news, but limits are. hyper has answered 431 by itself; on a head that does not come it
/// closes, as it does on a connection that is kept and not used, which is no limit met.
fn ended(served: hyper::Result<()>, asked: &AtomicBool) {
    match served {
        Err(error) if error.is_parse_too_large() => limit::hit(limits::hit::REQUEST_HEAD),
        Err(error) if error.is_timeout() && !asked.load(Ordering::Relaxed) => {
            limit::hit(limits::hit::REQUEST_HEAD_TIME);
        }
        Ok(()) | Err(_) => {}
    }
}
