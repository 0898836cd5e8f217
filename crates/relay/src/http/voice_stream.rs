//! `GET /voice-stream`: the handshake is HTTP's; after it the socket leaves for the thread of the voice sessions.

use super::App;
use super::problem::Problem;
use super::realtime::Failure;
use super::upgrade::{Taken, leave};
use crate::peer::{Peer, Visit};
use crate::token::{Identity, admit};
use crate::voice::stream::{Door, Session, Stream};
use crate::voice::talk::Talk;
use crate::voice::wire::Wire;
use crate::voice::{Who, answering};
use crate::ws;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use std::sync::Arc;
use tautline_machine::relay::Claims;
use tautline_machine::relay::voice::{Adapter, Defaults, Denied, Edge, Settings, Start, Unstarted};
use tautline_protocol::limits;
use tautline_protocol::permission::{self, Case, Operation};

/// Answers 101 and hands the socket over.
pub(super) async fn open(
    State(app): State<App>,
    mut request: Request,
) -> Result<Response, Failure> {
    app.takes_sessions()?;
    let shaken = ws::handshake(request.headers())
        .map_err(|no| Failure::invalid(no.status, "websocket_required", no.detail))?;
    let Some(peer) = request.extensions_mut().remove::<Peer>() else {
        return Err(Problem::unavailable("nobody is at the other end").into());
    };
    let headers = request.headers();
    let visit = peer.visit(headers).map_err(Problem::from)?;
    let from_page = headers.contains_key(header::ORIGIN);
    Ok(leave(request, &shaken, None, move |taken| {
        let voice = Arc::clone(&app.voice);
        let guest = voice.guests.arrive();
        voice.handle.clone().run(move || async move {
            let Taken { socket, early } = taken;
            let Ok(wire) = Wire::new(socket, &early, limits::VOICE_CHANNEL_MESSAGE) else {
                return;
            };
            let (config, terms) = (Arc::clone(&voice.stream), voice.terms);
            let (clock, stopping) = (voice.handle.clock(), app.stopping.clone());
            let door = Box::new(Front {
                app,
                visit,
                from_page,
            });
            let stream = Stream::new(wire, config, door, guest, terms, clock, stopping);
            stream.run().await;
        });
    }))
}

/// What a connection is let in by.
struct Front {
    app: App,
    visit: Visit,
    from_page: bool,
}

impl Door for Front {
    fn verify(&self, token: &str, restaurant: Option<&str>) -> Result<(Identity, Claims), Denied> {
        let app = &self.app;
        let admitted = admit(
            &app.keys,
            &app.revoked,
            app.served.as_deref(),
            token,
            restaurant,
            self.from_page,
        );
        let (identity, claims) = admitted.map_err(|code| {
            self.visit.auth_failed();
            Denied::Auth(code)
        })?;
        // Which restaurant is meant, if any, is the connection's machine's to say.
        if let Ok(restaurant) = identity.restaurant(restaurant) {
            let case = Case {
                policy: app.voice.policies.of(restaurant).admits(identity.role),
                ..Case::default()
            };
            if !permission::rule(identity.role, Operation::Call).allows(case) {
                return Err(Denied::Role);
            }
        }
        Ok((identity, claims))
    }

    fn is_revoked(&self, who: &Who) -> bool {
        self.app.revoked.revokes(&who.identity, &who.restaurant)
    }

    fn begin(&self, who: Who, start: &Start) -> Result<Session, Unstarted> {
        let voice = &self.app.voice;
        let error = |failure: Failure| Unstarted::Error(failure.into_error());
        self.app.takes_sessions().map_err(error)?;
        let policy = voice.policies.of(&who.restaurant);
        let settings = Settings::new(policy, Some(&start.session), &Defaults::default())
            .map_err(Unstarted::Error)?;
        let id = format!("sess_{}", crate::ids::random_id());
        let context = voice
            .context(&id, who, settings, "voice_stream")
            .map_err(|full| Unstarted::Full(Failure::from(full).into_error().message))?;
        let (settings, terms) = (context.settings.clone(), context.terms);
        let (length_ms, now) = (terms.length_ms(&settings), context.clock.now());
        let adapter: Box<dyn Adapter> = if start.loopback {
            Box::new(answering::peer(Edge::Socket, settings, &terms, now).echoing())
        } else {
            voice
                .answering
                .adapter(Edge::Socket, settings, &terms, &context.line, now)
        };
        let talk = Talk::begin(
            adapter,
            context.who.clone(),
            usize::MAX,
            terms,
            length_ms,
            now,
        );
        Ok(Session {
            context,
            talk: talk.idle_by_messages(now),
        })
    }
}
