//! Who holds the conversations of this relay: `--upstream`.

use super::upstream::{Client, Line as UpstreamLine};
use super::{Line, Terms};
use crate::Fatal;
use crate::config::Upstream;
use crate::ids::{random_id, random_seed};
use std::path::Path;
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::voice::{
    Adapter, Edge, Peer, Recital, Remote, Script, Settings, Setup,
};

/// See the module.
#[derive(Clone)]
pub(crate) enum Answering {
    /// The relay's own peer.
    Loopback,
    /// A recorded conversation.
    Script(Arc<Script>),
    /// Somebody who speaks the Realtime API.
    Openai(Arc<Client>),
}

impl Answering {
    /// As the flags have it.
    ///
    /// # Errors
    /// The script or the authorities cannot be read.
    pub(crate) fn open(upstream: &Upstream) -> Result<Self, Fatal> {
        Ok(match upstream {
            Upstream::Loopback => Self::Loopback,
            Upstream::Script(path) => Self::Script(Arc::new(read(path)?)),
            Upstream::Openai { key, base, ca } => {
                let client = Client::new(key.clone(), base.clone(), ca.as_deref())?;
                Self::Openai(Arc::new(client))
            }
        })
    }

    /// The label of a WebSocket session that it holds.
    pub(crate) fn transport(&self) -> &'static str {
        match self {
            Self::Loopback => "websocket",
            Self::Script(_) | Self::Openai(_) => "upstream_websocket",
        }
    }

    /// The upstream that answers calls itself, if there is one.
    pub(crate) fn answers_calls(&self) -> Option<&Arc<Client>> {
        match self {
            Self::Openai(client) => Some(client),
            Self::Loopback | Self::Script(_) => None,
        }
    }

    /// One that holds a session which begins. On the thread of the sessions.
    pub(crate) fn adapter(
        &self,
        edge: Edge,
        settings: Settings,
        terms: &Terms,
        line: &Line,
        now: Time,
    ) -> Box<dyn Adapter> {
        match self {
            Self::Loopback => Box::new(peer(edge, settings, terms, now)),
            Self::Script(script) => {
                let recital = Recital::new(Arc::clone(script));
                Box::new(Remote::new(edge, random_seed(), settings, recital, now))
            }
            Self::Openai(client) => {
                let (client, line) = (Arc::clone(client), Arc::clone(line));
                let upstream = UpstreamLine::new(client, settings.model(), line);
                Box::new(Remote::new(edge, random_seed(), settings, upstream, now))
            }
        }
    }
}

/// The relay's own end of a session.
pub(crate) fn peer(edge: Edge, settings: Settings, terms: &Terms, now: Time) -> Peer {
    let expires_at_s = (crate::clock::wall_ms() + terms.length_ms(&settings)).div_ceil(1000);
    let setup = Setup {
        edge,
        seed: random_seed(),
        settings,
        session_id: format!("sess_{}", random_id()),
        expires_at_s,
    };
    Peer::new(setup, now)
}

fn read(path: &Path) -> Result<Script, Fatal> {
    let wrong = |why: String| Fatal::usage(format!("--upstream script:{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let script: Script =
        toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    script.check().map_err(wrong)?;
    Ok(script)
}
