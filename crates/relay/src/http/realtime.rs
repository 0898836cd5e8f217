//! `/v1/realtime`: the paths and shapes of the Realtime API (`docs/protocol.md` §3).

mod failure;
mod form;
mod upgrade;
mod visitor;

pub(crate) use failure::Failure;
pub(super) use upgrade::upgrade;

use super::orders::{Desk, json};
use super::{App, auth};
use crate::config::Config;
use crate::limit;
use crate::peer::Peer;
use crate::voice::board::{Board, Reach, call_id, is_id};
use crate::voice::policies::Policies;
use crate::voice::secrets::{Grant, Secrets};
use crate::voice::upstream::{Client, Trouble, Watched};
use crate::voice::{
    self, Answered, Answering, Context, Ending, Full, Guests, Line, Parts, Refused, Terms, Who,
};
use crate::{Fatal, parse::Rate};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tautline_machine::relay::voice::Settings;
use tautline_machine::relay::{Stage, session};
use tautline_protocol::limits::{self, Limits, hit};
use tokio::sync::{mpsc, oneshot};
use visitor::{For, Shown, Visitor};

/// Whether errors on this path have the Realtime API's shape.
pub(super) fn is_path(path: &str) -> bool {
    path == "/v1/realtime" || path.starts_with("/v1/realtime/")
}

/// What voice sessions are begun and ended by.
pub(crate) struct Voices {
    pub(crate) handle: voice::Handle,
    pub(crate) board: Arc<Board>,
    secrets: Secrets,
    pub(super) policies: Policies,
    desk: Desk,
    pub(super) terms: Terms,
    rate: Rate,
    max_message: usize,
    /// What connections of the voice socket are told and bound by.
    pub(super) stream: Arc<session::Config>,
    pub(super) guests: Guests,
    pub(super) answering: Answering,
}

impl Voices {
    /// Reads the policies and starts the thread of the sessions.
    ///
    /// # Errors
    /// The policy file makes no sense, or a socket cannot be had.
    pub(crate) fn start(
        config: &Config,
        desk: Desk,
    ) -> Result<(Self, std::thread::JoinHandle<()>), Fatal> {
        let policies = match &config.voice.policy {
            Some(path) => Policies::open(path, config.keys.dev)?,
            None => Policies::builtin(config.keys.dev),
        };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let terms = Terms {
            rate: config.voice.rate,
            idle_ms: ms(config.voice.idle),
            longest_ms: ms(config.voice.longest),
        };
        let answering = Answering::open(&config.voice.upstream)?;
        let board = Board::new();
        let (handle, thread) = voice::start(Parts {
            voice: config.voice.clone(),
            board: Arc::clone(&board),
            desk: desk.clone(),
            terms,
            answering: answering.clone(),
        })?;
        let service = Self {
            handle,
            board,
            secrets: Secrets::default(),
            policies,
            desk,
            terms,
            rate: config.voice.rate,
            max_message: config.voice.max_message,
            stream: Arc::new(session::Config {
                limits: Limits {
                    rate_per_s: config.voice.rate.per_s,
                    burst: config.voice.rate.burst,
                    max_message: u32::try_from(limits::VOICE_CHANNEL_MESSAGE).unwrap_or(u32::MAX),
                },
                ..session::Config::default()
            }),
            guests: Guests::default(),
            answering,
        };
        Ok((service, thread))
    }

    /// A place for a session that runs on a task of its own, with all it needs.
    pub(super) fn context(
        &self,
        id: &str,
        who: Who,
        settings: Settings,
        transport: &'static str,
    ) -> Result<Context, Full> {
        let (controls, controls_in) = mpsc::unbounded_channel();
        let line: Line = Arc::new(move |control| {
            // It ends by itself, and nobody needs to be told.
            let _ = controls.send(control);
        });
        let seat = self.board.seat(id, &who, transport, Arc::clone(&line))?;
        Ok(Context {
            who,
            settings,
            seat,
            line,
            controls: controls_in,
            desk: self.desk.clone(),
            terms: self.terms,
            clock: self.handle.clock(),
        })
    }

    /// Secrets that have not run out.
    pub(super) fn secrets(&self) -> usize {
        self.secrets.count(crate::clock::wall_ms())
    }

    /// Ends every session, and waits until they have gone, and the connections of the voice socket with them.
    pub(crate) async fn end_all(&self) {
        let many = self.board.end_all(Ending::SHUTDOWN);
        if many > 0 {
            tracing::info!(many, "voice sessions are ended");
        }
        while self.board.count() + self.guests.count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl From<Full> for Failure {
    fn from(Full(row): Full) -> Self {
        let message = match row {
            hit::VOICE_PERSON => format!(
                "There are {} voice sessions of yours already; end one first.",
                limits::VOICE_PERSON
            ),
            hit::VOICE_RESTAURANT => "The restaurant has as many voice sessions as it may.".into(),
            hit::VOICE_HALF_OPEN => "Too many calls are being set up; try again shortly.".into(),
            _ => "This relay has as many voice sessions as it takes.".into(),
        };
        Self::invalid(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_exceeded",
            message,
        )
        .retry_after_ms(5_000)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full(full) => full.into(),
            Refused::NoAddress => Self::server(
                StatusCode::SERVICE_UNAVAILABLE,
                "calls_not_configured",
                "This relay has no address for calls: start it with --voice-udp or --voice-tcp, and --voice-public-ip. WebSocket sessions work without.",
            ),
            Refused::Offer(why) => Self::invalid(StatusCode::BAD_REQUEST, "invalid_offer", why),
            Refused::Gone => going_down(),
        }
    }
}

fn going_down() -> Failure {
    Failure::server(
        StatusCode::SERVICE_UNAVAILABLE,
        "server_shutting_down",
        "The relay is going down; try again shortly.",
    )
    .retry_after_ms(1_000)
}

impl App {
    /// Whether a new session is taken at all now.
    pub(super) fn takes_sessions(&self) -> Result<(), Failure> {
        if self.is_stopping() {
            return Err(going_down());
        }
        if self.pressure.stage() >= Stage::Sockets {
            limit::hit(hit::OVERLOAD);
            return Err(Failure::server(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "The relay does not keep up; try again later.",
            )
            .retry_after_ms(limits::OVERLOAD_MS));
        }
        Ok(())
    }

    fn by_bearer(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        query: &HashMap<String, String>,
        comes: For,
    ) -> Result<Visitor, Failure> {
        let shown = Shown {
            headers,
            peer,
            key: auth::bearer(headers),
            restaurant: query.get("restaurant_id").map(String::as_str),
        };
        let visitor = self.visitor(&shown, comes)?;
        self.writes.take(&visitor.who.identity)?;
        Ok(visitor)
    }
}

/// `POST /v1/realtime/client_secrets`.
pub(super) async fn client_secrets(
    State(app): State<App>,
    query: Query<HashMap<String, String>>,
    request: Request,
) -> Result<Response, Failure> {
    let peer = request.extensions().get::<Peer>();
    let visitor = app.by_bearer(request.headers(), peer, &query, For::Mint)?;
    let origin = request.headers().get(header::ORIGIN);
    let origin = origin
        .and_then(|origin| origin.to_str().ok())
        .map(String::from);
    let body = form::text(request.into_body()).await?;
    let asked = if body.trim().is_empty() {
        Value::Null
    } else {
        form::json(&body)?
    };
    let life_s = life(&asked)?;
    let settings = match asked.get("session").filter(|session| !session.is_null()) {
        Some(session) => visitor.settings.with(session)?,
        None => visitor.settings,
    };
    let now_ms = crate::clock::wall_ms();
    let session = settings.to_session(&format!("sess_{}", crate::ids::random_id()), 0);
    let grant = Grant {
        identity: visitor.who.identity,
        restaurant: visitor.who.restaurant,
        settings,
        origin,
    };
    let secret = app
        .voice
        .secrets
        .mint(grant, life_s, now_ms)
        .ok_or_else(|| {
            Failure::invalid(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_exceeded",
            "There are as many ek_ secrets as this relay keeps; try again when some have run out.",
        )
        .retry_after_ms(10_000)
        })?;
    let answer = json!({
        "value": secret,
        "expires_at": now_ms / 1000 + life_s,
        "session": session,
    });
    Ok(json(StatusCode::OK, answer.to_string()))
}

/// `expires_after`.
fn life(asked: &Value) -> Result<u64, Failure> {
    const RANGE: std::ops::RangeInclusive<u64> =
        limits::REALTIME_SECRET_MIN_S..=limits::REALTIME_SECRET_MAX_S;
    let wrong = |param: &str, message: String| {
        Failure::from(tautline_machine::relay::voice::ApiError::value(
            param, message,
        ))
    };
    if !asked.is_null() && !asked.is_object() {
        return Err(wrong("body", "The body is a JSON object, or empty.".into()));
    }
    let Some(after) = asked.get("expires_after").filter(|after| !after.is_null()) else {
        return Ok(limits::REALTIME_SECRET_S);
    };
    if after
        .get("anchor")
        .is_some_and(|anchor| anchor != "created_at")
    {
        return Err(wrong(
            "expires_after.anchor",
            "expires_after.anchor is \"created_at\".".into(),
        ));
    }
    match after.get("seconds") {
        None => Ok(limits::REALTIME_SECRET_S),
        Some(seconds) => seconds
            .as_u64()
            .filter(|seconds| RANGE.contains(seconds))
            .ok_or_else(|| {
                let message = format!(
                    "expires_after.seconds is a whole number from {} to {}.",
                    RANGE.start(),
                    RANGE.end()
                );
                wrong("expires_after.seconds", message)
            }),
    }
}

/// `POST /v1/realtime/calls`.
pub(super) async fn calls(
    State(app): State<App>,
    query: Query<HashMap<String, String>>,
    request: Request,
) -> Result<Response, Failure> {
    app.takes_sessions()?;
    let peer = request.extensions().get::<Peer>();
    let visitor = app.by_bearer(request.headers(), peer, &query, For::Start)?;
    let form = form::read(request).await?;
    let settings = match &form.session {
        Some(session) => visitor.settings.with(session)?,
        None => visitor.settings,
    };
    let answered = match app.voice.answering.answers_calls() {
        None => {
            let handle = &app.voice.handle;
            handle.call(form.sdp, visitor.who, settings).await?
        }
        Some(client) => forward(&app.voice, client, form.sdp, visitor.who, settings).await?,
    };
    let headers = [
        (header::CONTENT_TYPE, "application/sdp".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (
            header::LOCATION,
            format!("/v1/realtime/calls/{}", answered.id),
        ),
    ];
    Ok((StatusCode::CREATED, headers, answered.sdp).into_response())
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let status = StatusCode::from_u16(trouble.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        let (code, message) = (trouble.code(), trouble.message());
        match trouble {
            Trouble::Rate(retry_after_s) => Self::invalid(status, code, message)
                .retry_after_ms(retry_after_s.unwrap_or(5).saturating_mul(1_000)),
            Trouble::Refused(_) => Self::invalid(status, code, message),
            _ => Self::server(status, code, message),
        }
    }
}

/// Has the upstream answer; the sound goes from the browser to it, and the relay follows the call under a name of its own.
async fn forward(
    voices: &Voices,
    client: &Arc<Client>,
    offer: String,
    who: Who,
    settings: Settings,
) -> Result<Answered, Failure> {
    let id = call_id();
    let mut context = voices.context(&id, who, settings, "upstream_webrtc")?;
    let (done, answer) = oneshot::channel();
    let (client, handle) = (Arc::clone(client), voices.handle.clone());
    // On its own: whoever asked may hang up in the middle, and a call that the upstream made is not to be left there.
    tokio::spawn(async move {
        let call = match client.call(&offer, &context.settings).await {
            Ok(call) => call,
            Err(trouble) => {
                context.seat.ends(Ending::UPSTREAM);
                drop(context);
                let _ = done.send(Err(trouble));
                return;
            }
        };
        if done.is_closed() {
            context.seat.ends(Ending::CLIENT);
            let _ = client.hang_up(&call.id).await;
            return;
        }
        let upstream_id = call.id;
        handle.run(move || {
            Watched {
                client,
                upstream_id,
                context,
            }
            .run()
        });
        let _ = done.send(Ok(call.sdp));
    });
    let sdp = answer.await.map_err(|_| going_down())??;
    Ok(Answered { id, sdp })
}

fn no_such_call() -> Failure {
    Failure::invalid(
        StatusCode::NOT_FOUND,
        "call_not_found",
        "There is no such call; it may have ended.",
    )
}

impl App {
    /// Whether this visitor may end or follow that session.
    fn reached(&self, id: &str, visitor: &Visitor) -> Result<(), Failure> {
        if !is_id(id) {
            return Err(no_such_call());
        }
        match self.voice.board.reach(id, &visitor.who) {
            Reach::May => Ok(()),
            Reach::None => Err(no_such_call()),
            Reach::Forbidden => Err(Failure::invalid(
                StatusCode::FORBIDDEN,
                "forbidden",
                "This is somebody else's call; managers and services may reach it.",
            )),
        }
    }
}

/// `POST /v1/realtime/calls/{id}/hangup`.
pub(super) async fn hangup(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Query<HashMap<String, String>>,
    request: Request,
) -> Result<Response, Failure> {
    let peer = request.extensions().get::<Peer>();
    let visitor = app.by_bearer(request.headers(), peer, &query, For::Reach)?;
    if app.voice.board.is_over(&id, &visitor.who) {
        return Ok(StatusCode::OK.into_response());
    }
    app.reached(&id, &visitor)?;
    if !app.voice.board.close(&id, Ending::HANGUP, |_| true) {
        return Err(no_such_call());
    }
    Ok(StatusCode::OK.into_response())
}

/// What the API has and this relay has not, or nobody has.
pub(super) async fn unknown(uri: Uri) -> Failure {
    Failure::invalid(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("{} is not served here.", uri.path()),
    )
}
