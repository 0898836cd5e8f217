//! `serve`: from configuration to the last goodbye.

use crate::Fatal;
use crate::Secret;
use crate::clock::{self, Clock};
use crate::config::{Config, DataDir, LogFormat};
use crate::http::rate::Writes;
use crate::http::{self, App, Desk, Made, Voices, operators};
use crate::load::{self, Pressure};
use crate::measures;
use crate::memory::Monitor;
use crate::peer::{Peers, most_connections};
use crate::revoked::Revocations;
use crate::shard::{self, Bounds, Handle, Parts};
use crate::shutdown::{Deadlines, Priority, Shutdown};
use crate::store::{Running, Store};
use crate::tls::{self, Tls};
use crate::token::Keys;
use crate::voice;
use metrics_exporter_prometheus::PrometheusHandle;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tautline_machine::relay::{admission, session};
use tautline_protocol::limits::Limits;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// The status that asks the runner to start the relay again (`/dev/trouble`).
const RESTART: u8 = 75;

/// What the threads get to end in where nobody is waited for.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Why the relay goes down.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// SIGTERM or Ctrl-C.
    Asked,
    /// `/dev/trouble`: as abruptly as a crash.
    Restart,
    /// The store can no longer be believed.
    Broken(String),
}

/// Runs the relay until a signal ends it.
///
/// # Errors
/// It could not start, or its store broke.
pub fn serve(config: Config) -> Result<(), Fatal> {
    clock::hurry(config.pace);
    start_log(&config);
    let metrics = measures::install(&config)?;
    let (store, running, reports) =
        Store::open(&config.data_dir, config.durability, config.history)?;
    let served = start(config, store, reports, metrics);
    close(served, running)
}

/// The threads that served, and how that ended.
struct Ended {
    shard: (Handle, JoinHandle<()>),
    voice: (voice::Handle, JoinHandle<()>),
    gone: Gone,
}

/// How it ended, and by when the rest is to be over.
struct Gone {
    outcome: Result<(), Fatal>,
    deadlines: Deadlines,
}

impl Gone {
    /// Nobody is waited for.
    fn at_once(outcome: Result<(), Fatal>) -> Self {
        Self {
            outcome,
            deadlines: Deadlines::within(AT_ONCE),
        }
    }
}

type Served = Result<Ended, Fatal>;

/// Voice sessions end with their last handle, then the shard with its own, then the store with nobody left to use it.
fn close(served: Served, running: Running) -> Result<(), Fatal> {
    let ended = match served {
        Ok(ended) => ended,
        Err(fatal) => {
            running.close();
            return Err(fatal);
        }
    };
    let Gone { outcome, deadlines } = ended.gone;
    drop(ended.voice.0);
    deadlines.join(Priority::Medium, "voice", ended.voice.1);
    drop(ended.shard.0);
    deadlines.join(Priority::Medium, "shard", ended.shard.1);
    let store = std::thread::spawn(move || running.close());
    deadlines.join(Priority::Low, "store", store);
    outcome
}

fn start(
    config: Config,
    store: Store,
    reports: mpsc::UnboundedReceiver<crate::store::Report>,
    metrics: PrometheusHandle,
) -> Served {
    let keys = Arc::new(Keys::load(&config.keys, &config.data_dir)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fatal::new(format!("no runtime: {error}")))?;
    let (listener, address) = runtime.block_on(listen("--listen", config.listen))?;
    let tls = match &config.edge.tls {
        None => None,
        Some((certificate, key)) => Some(Arc::new(Tls::open(certificate, key)?)),
    };
    let operators = match config.edge.metrics_listen {
        None => None,
        Some(address) => Some(runtime.block_on(listen("--metrics-listen", address))?),
    };
    let metrics_token = match &config.edge.metrics_token_file {
        None => None,
        Some(path) => Some(operators::read_token(path)?),
    };
    let www = config.www.as_deref().map(http::Www::open).transpose()?;
    if config.data_dir == DataDir::Memory {
        tracing::warn!("the store is in memory: nothing is kept when the relay ends");
    }
    let stored = runtime
        .block_on(store.revocations())
        .map_err(|error| Fatal::new(format!("the store cannot be read: {error}")))?;
    let revoked = Arc::new(Revocations::new(stored));
    let (broken, broken_in) = mpsc::unbounded_channel();
    let session = session::Config {
        heartbeat_ms: u64::try_from(config.heartbeat.as_millis()).unwrap_or(u64::MAX),
        limits: Limits {
            rate_per_s: config.rate.per_s,
            burst: config.rate.burst,
            max_message: config.max_message,
        },
    };
    let pressure = Arc::<Pressure>::default();
    let files_each = if tls.is_some() { tls::FILES_EACH } else { 1 };
    let admission = admission::Bounds {
        connections: most_connections(config.max_connections, files_each),
        per_address: config.max_per_address,
    };
    let parts = Parts {
        store: store.clone(),
        reports,
        keys: Arc::clone(&keys),
        revoked: Arc::clone(&revoked),
        session: Arc::new(session),
        restaurants: config.restaurants.clone(),
        keep_final: config.keep_final,
        bounds: Bounds {
            per_restaurant: config.max_per_restaurant,
            tail_events: config.log_tail,
            ..Bounds::default()
        },
        pressure: Arc::clone(&pressure),
        broken,
    };
    let (handle, thread) =
        shard::start(parts).map_err(|error| Fatal::new(format!("no thread: {error}")))?;
    let writes = Arc::new(Writes::new(config.rate));
    let desk = Desk::new(handle.clone(), Arc::clone(&writes), Arc::clone(&revoked));
    let (service, voice_thread) = Voices::start(&config, desk.clone())?;
    let voice_handle = service.handle.clone();
    let (end, ended) = watch::channel(None);
    let (stop, stopping) = watch::channel(false);
    let upkeep = metrics.clone();
    let memory = Arc::new(Monitor::new(Clock::start()));
    let peers = Peers::new(admission, config.trusted_proxies.clone());
    let made = Made {
        peers: Arc::clone(&peers),
        shard: handle.clone(),
        store,
        keys: Arc::clone(&keys),
        revoked,
        writes,
        desk,
        voice: service,
        www,
        metrics,
        memory: Arc::clone(&memory),
        pressure: Arc::clone(&pressure),
        end,
        stopping,
    };
    let app = App::new(&config, address, made);
    let running = Server {
        peers,
        pressure,
        config,
        listener,
        address,
        app,
        followed: Followed { keys, tls },
        operators,
        metrics_token,
        stop,
    };
    let gone = runtime.block_on(async {
        tokio::select! {
            gone = running.run(ended, broken_in) => gone,
            // Neither ever ends.
            () = memory.watch() => Gone::at_once(Ok(())),
            () = measures::keep(upkeep) => Gone::at_once(Ok(())),
        }
    });
    // A thread that still reads a file is not waited for.
    runtime.shutdown_background();
    Ok(Ended {
        shard: (handle, thread),
        voice: (voice_handle, voice_thread),
        gone,
    })
}

/// Listens there; where that came to be when the port was 0.
async fn listen(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Fatal> {
    let bound = TcpListener::bind(address).await;
    bound
        .and_then(|listener| listener.local_addr().map(|at| (listener, at)))
        .map_err(|error| {
            Fatal::new(match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!(
                        "port {} is already in use by another program; stop it, or choose another with {flag} {}:PORT",
                        address.port(),
                        address.ip()
                    )
                }
                _ => format!("cannot listen on {address}: {error}"),
            })
        })
}

/// The HTTP side, ready to serve.
struct Server {
    peers: Arc<Peers>,
    pressure: Arc<Pressure>,
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    app: App,
    followed: Followed,
    /// The second listener.
    operators: Option<(TcpListener, SocketAddr)>,
    metrics_token: Option<Secret>,
    stop: watch::Sender<bool>,
}

impl Server {
    async fn run(
        self,
        ended: watch::Receiver<Option<End>>,
        broken: mpsc::UnboundedReceiver<String>,
    ) -> Gone {
        let until_told = self.until_told(ended, broken).await;
        until_told.unwrap_or_else(|fatal| Gone::at_once(Err(fatal)))
    }

    async fn until_told(
        self,
        mut ended: watch::Receiver<Option<End>>,
        mut broken: mpsc::UnboundedReceiver<String>,
    ) -> Result<Gone, Fatal> {
        let Self {
            peers,
            pressure,
            config,
            listener,
            address,
            app,
            followed,
            operators,
            metrics_token,
            stop,
        } = self;
        let mut signals = Signals::new()?;
        tokio::spawn(follow(hangup()?, followed.clone()));
        let server = tokio::spawn(http::serve(
            listener,
            followed.tls.clone(),
            peers,
            http::router(app.clone()),
            stop.subscribe(),
        ));
        let watch = tokio::spawn(load::watch(app.shard.clone(), pressure));
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            pid = std::process::id(),
            %address,
            config = ?config,
            "ready"
        );
        let metrics_at = operators.as_ref().map(|(_, address)| *address);
        if let Some((listener, at)) = operators {
            if metrics_token.is_none() && !at.ip().is_loopback() {
                tracing::warn!(address = %at, "whoever reaches --metrics-listen reads the metrics; --metrics-token-file asks for a token");
            }
            let router = operators::router(&config, at, app.clone(), metrics_token);
            tokio::spawn(operators::serve(listener, router));
        }
        announce(address, followed.tls.is_some(), metrics_at);
        let mut end = tokio::select! {
            () = signals.next() => End::Asked,
            Some(why) = broken.recv() => End::Broken(why),
            end = ended.wait_for(Option::is_some) => end.ok().and_then(|end| end.clone()).unwrap_or(End::Asked),
        };
        app.leave();
        if matches!(end, End::Asked) && !config.edge.drain_delay.is_zero() {
            tracing::info!("about to go down: not ready, but still serving");
            tokio::select! {
                () = tokio::time::sleep(config.edge.drain_delay) => {}
                Some(why) = broken.recv() => end = End::Broken(why),
                () = signals.next() => {
                    tracing::warn!("a second signal: going at once");
                    return Ok(Gone::at_once(Ok(())));
                }
            }
        }
        let _ = stop.send(true);
        watch.abort();
        match end {
            End::Restart => Err(Fatal {
                message: String::new(),
                status: RESTART,
            }),
            End::Asked => {
                tracing::info!("going down");
                let deadlines = drain(&config, app, server, &mut signals).await;
                Ok(Gone {
                    outcome: Ok(()),
                    deadlines,
                })
            }
            End::Broken(why) => {
                let deadlines = drain(&config, app, server, &mut signals).await;
                let outcome = Err(Fatal::new(format!(
                    "the store failed ({why}); the relay ends so that the next start reads what the disk really holds"
                )));
                Ok(Gone { outcome, deadlines })
            }
        }
    }
}

/// Every client told 1012, requests under way answered; all within `--drain`, or until a second signal. What is left of the time
/// is for the threads.
async fn drain(
    config: &Config,
    app: App,
    server: tokio::task::JoinHandle<()>,
    signals: &mut Signals,
) -> Deadlines {
    let deadlines = Deadlines::within(config.drain);
    let shard = app.shard.clone();
    let down = Shutdown::by(deadlines)
        .step(Priority::Critical, "orders connections", async move {
            // Without a shard there is nobody to be told.
            let _ = shard.ask(|shard, done| shard.drain(done)).await;
        })
        .step(Priority::Critical, "voice sessions", async move {
            app.voice.end_all().await;
        })
        .step(Priority::High, "requests under way", async move {
            let _ = server.await;
        });
    tokio::select! {
        passed_by = down.run() => {
            if passed_by.is_empty() {
                tracing::info!("every client has gone");
            }
            deadlines
        }
        () = signals.next() => {
            tracing::warn!("a second signal: going at once");
            Deadlines::within(AT_ONCE)
        }
    }
}

fn hangup() -> Result<Signal, Fatal> {
    signal(SignalKind::hangup())
        .map_err(|error| Fatal::new(format!("signals cannot be received: {error}")))
}

/// What is read from files that may change while the relay runs.
#[derive(Clone)]
struct Followed {
    keys: Arc<Keys>,
    tls: Option<Arc<Tls>>,
}

/// Has them read again when they change, and at SIGHUP.
async fn follow(mut hangup: Signal, followed: Followed) {
    let mut look = clock::interval(crate::watch::EVERY);
    loop {
        let in_any_case = tokio::select! {
            Some(()) = hangup.recv() => true,
            _ = look.tick() => false,
        };
        if followed.tls.is_none() && !followed.keys.follow_a_file() {
            continue;
        }
        let followed = followed.clone();
        // Not on this thread: a disk may take its time.
        let looked = tokio::task::spawn_blocking(move || {
            followed.keys.refresh(in_any_case);
            if let Some(tls) = &followed.tls {
                tls.refresh(in_any_case);
            }
        });
        let _ = looked.await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Fatal> {
        let on = |kind| {
            signal(kind).map_err(|error| Fatal::new(format!("signals cannot be received: {error}")))
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[expect(clippy::print_stdout, reason = "the line that programs wait for")]
fn announce(address: SocketAddr, tls: bool, metrics: Option<SocketAddr>) {
    let scheme = if tls { "https" } else { "http" };
    let metrics = metrics
        .map(|address| format!("\nmetrics on http://{address}"))
        .unwrap_or_default();
    // In one go: whoever waited for the first line may not read on.
    println!("listening on {scheme}://{address}{metrics}");
}

fn start_log(config: &Config) {
    let format = config.log.unwrap_or(if std::io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    // What others' code would say of a request at `trace` is not ours to promise.
    let others = config.log_level.min(tracing::Level::WARN);
    let filter = format!("{others},tautline_relay={}", config.log_level);
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        // A log that cannot be written (its disk is full, perhaps) is to stop nothing; telling of it by the same way panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Set once a process; a second relay in the same process logs to the first's.
    let _ = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    // A panic's message may hold the text it stumbled over; where it was is enough to find it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current().name().map(String::from);
        tracing::error!(place, thread, "panic");
    }));
}
