//! Flags of voice sessions: who answers a call, under which policy, where its peers reach the relay, how long it lasts.

use crate::parse::{Rate, ReachedAt, duration, rate, reached_at};
use crate::{Fatal, Secret};
use axum::http::Uri;
use clap::Args;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tautline_protocol::limits;

/// As given; open fields may be filled by the file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct VoiceArgs {
    /// Who answers calls: `loopback`, the relay's own test peer, `openai` (OPENAI_API_KEY, OPENAI_BASE_URL), or `script:FILE`, a recorded conversation [default: loopback]
    #[arg(
        long,
        env = "TAUTLINE_UPSTREAM",
        value_name = "loopback|openai|script:FILE"
    )]
    upstream: Option<Kind>,
    /// PEM file with the authorities that the upstream's certificate is checked by, instead of the usual ones
    #[arg(long, env = "TAUTLINE_UPSTREAM_CA", value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// TOML file with a table per restaurant, or "*": who may call, what is locked, the menu
    #[arg(long, env = "TAUTLINE_VOICE_POLICY", value_name = "FILE")]
    voice_policy: Option<PathBuf>,
    /// UDP address for every call [default with --dev: 127.0.0.1:0]
    #[arg(long, env = "TAUTLINE_VOICE_UDP", value_name = "ADDR")]
    voice_udp: Option<SocketAddr>,
    /// TCP address for the calls of those whose network lets no UDP through [default with --dev: 127.0.0.1:0]
    #[arg(long, env = "TAUTLINE_VOICE_TCP", value_name = "ADDR")]
    voice_tcp: Option<SocketAddr>,
    /// Where peers reach those two; with a port where a NAT or a proxy changes it. May be repeated
    #[arg(
        long,
        env = "TAUTLINE_VOICE_PUBLIC_IP",
        value_name = "IP|IP:PORT",
        value_delimiter = ',',
        value_parser = reached_at
    )]
    voice_public_ip: Vec<ReachedAt>,
    /// Bytes of one message on /v1/realtime [default: 16777216]
    #[arg(long, env = "TAUTLINE_REALTIME_MAX_MESSAGE", value_name = "BYTES")]
    realtime_max_message: Option<usize>,
    /// Messages of one voice session [default: 100/s,burst=200]
    #[arg(long, env = "TAUTLINE_VOICE_RATE", value_name = "N/s,burst=N", value_parser = rate)]
    voice_rate: Option<Rate>,
    /// A voice session ends when nobody says or does anything for so long [default: 5m]
    #[arg(long, env = "TAUTLINE_SESSION_IDLE", value_name = "TIME", value_parser = duration)]
    #[serde(deserialize_with = "crate::parse::duration_field")]
    session_idle: Option<Duration>,
    /// The longest voice session; a policy may say less [default: 1h]
    #[arg(long, env = "TAUTLINE_SESSION_MAX", value_name = "TIME", value_parser = duration)]
    #[serde(deserialize_with = "crate::parse::duration_field")]
    session_max: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Kind {
    Loopback,
    Openai,
    Script(PathBuf),
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "loopback" => Ok(Self::Loopback),
            None if text == "openai" => Ok(Self::Openai),
            Some(("script", path)) if !path.is_empty() => Ok(Self::Script(path.into())),
            _ => Err("loopback, openai or script:FILE".into()),
        }
    }
}

/// Voice, settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// Who answers calls.
    pub upstream: Upstream,
    /// The policy file.
    pub policy: Option<PathBuf>,
    /// The UDP socket's address.
    pub udp: Option<SocketAddr>,
    /// The TCP listener's.
    pub tcp: Option<SocketAddr>,
    /// Where peers reach them.
    pub public: Vec<ReachedAt>,
    /// Bytes of one message on `/v1/realtime`.
    pub max_message: usize,
    /// Messages of one session.
    pub rate: Rate,
    /// The longest silence.
    pub idle: Duration,
    /// The longest session.
    pub longest: Duration,
}

/// Who answers calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The relay itself.
    Loopback,
    /// A recorded conversation, in this file.
    Script(PathBuf),
    /// Somebody who speaks the Realtime API.
    Openai {
        /// What its requests are authorised by.
        key: Secret,
        /// Where it is.
        base: Origin,
        /// Whom its certificate is checked by, unless the usual authorities.
        ca: Option<PathBuf>,
    },
}

/// The base of an API's addresses, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `https`, not `http`.
    pub tls: bool,
    /// As in `Host`.
    pub authority: String,
    /// Name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What every path begins with, without a slash at its end.
    pub path: String,
}

impl Origin {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("OPENAI_BASE_URL: \"{text}\" is not like https://api.openai.com/v1");
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let (scheme, authority) = url.scheme_str().zip(url.authority()).ok_or_else(wrong)?;
        if authority.as_str().contains('@') || url.query().is_some() {
            return Err(wrong());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let loopback = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        if !tls && !loopback {
            return Err("OPENAI_BASE_URL: http is for loopback only; the key would travel in the clear, use https".into());
        }
        Ok(Self {
            tls,
            authority: authority.as_str().to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            host,
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl VoiceArgs {
    /// What is open here is taken from there.
    pub(super) fn or(self, file: Self) -> Self {
        Self {
            upstream: self.upstream.or(file.upstream),
            upstream_ca: self.upstream_ca.or(file.upstream_ca),
            voice_policy: self.voice_policy.or(file.voice_policy),
            voice_udp: self.voice_udp.or(file.voice_udp),
            voice_tcp: self.voice_tcp.or(file.voice_tcp),
            voice_public_ip: if self.voice_public_ip.is_empty() {
                file.voice_public_ip
            } else {
                self.voice_public_ip
            },
            realtime_max_message: self.realtime_max_message.or(file.realtime_max_message),
            voice_rate: self.voice_rate.or(file.voice_rate),
            session_idle: self.session_idle.or(file.session_idle),
            session_max: self.session_max.or(file.session_max),
        }
    }

    /// Whether it makes sense together.
    pub(super) fn resolve(self, dev: bool) -> Result<Voice, Fatal> {
        let named = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let upstream = match self.upstream.unwrap_or(Kind::Loopback) {
            Kind::Loopback | Kind::Script(_) if self.upstream_ca.is_some() => {
                return Err(Fatal::usage(
                    "--upstream-ca is for --upstream openai, which is not given",
                ));
            }
            Kind::Loopback => Upstream::Loopback,
            Kind::Script(path) => Upstream::Script(path),
            Kind::Openai => Upstream::Openai {
                key: named("OPENAI_API_KEY").map(Secret::from).ok_or_else(|| {
                    Fatal::usage("--upstream openai needs the API key in OPENAI_API_KEY")
                })?,
                base: Origin::read(
                    &named("OPENAI_BASE_URL").unwrap_or_else(|| "https://api.openai.com/v1".into()),
                )
                .map_err(Fatal::usage)?,
                ca: self.upstream_ca,
            },
        };
        let here = dev.then_some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let most = limits::REALTIME_MESSAGE;
        let max_message = self.realtime_max_message.unwrap_or(most);
        if !(1024..=most).contains(&max_message) {
            return Err(Fatal::usage(format!(
                "--realtime-max-message {max_message}: from 1024 to {most} bytes"
            )));
        }
        let time = |flag: &str, asked: Option<Duration>, most_ms: u64| {
            let most = Duration::from_millis(most_ms);
            match asked {
                Some(asked) if asked.is_zero() || asked > most => Err(Fatal::usage(format!(
                    "{flag}: more than 0s, at most {}s",
                    most.as_secs()
                ))),
                asked => Ok(asked.unwrap_or(most)),
            }
        };
        Ok(Voice {
            upstream,
            policy: self.voice_policy,
            udp: self.voice_udp.or(here),
            tcp: self.voice_tcp.or(here),
            public: self.voice_public_ip,
            max_message,
            rate: self.voice_rate.unwrap_or(Rate {
                per_s: limits::VOICE_MESSAGES_PER_S,
                burst: limits::VOICE_MESSAGES_BURST,
            }),
            idle: match self.session_idle {
                None => Duration::from_millis(limits::VOICE_IDLE_MS),
                asked => time("--session-idle", asked, limits::VOICE_LENGTH_MS)?,
            },
            longest: time("--session-max", self.session_max, limits::VOICE_LENGTH_MS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_travels_in_the_clear_on_this_machine_only() {
        let read = |text: &str| Origin::read(text);
        let api = read("https://api.openai.com/v1/").unwrap();
        assert_eq!(
            (api.tls, api.host.as_str(), api.port, api.path.as_str()),
            (true, "api.openai.com", 443, "/v1")
        );
        let here = read("http://[::1]:9/v1").unwrap();
        assert_eq!((here.tls, here.host.as_str(), here.port), (false, "::1", 9));
        assert!(read("http://127.0.0.1:8080").is_ok() && read("http://localhost/v1").is_ok());
        for bad in [
            "http://api.example/v1",
            "http://localhost.evil.example/v1",
            "ws://127.0.0.1/v1",
            "https://u:p@api.example/v1",
            "https://api.example/v1?x=1",
            "api.example",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn with_dev_calls_have_an_address_and_else_none_is_guessed() {
        let dev = VoiceArgs::default().resolve(true).unwrap();
        assert!(dev.udp.is_some() && dev.tcp.is_some());
        let bare = VoiceArgs::default().resolve(false).unwrap();
        assert!(bare.udp.is_none() && bare.tcp.is_none());
        assert_eq!(bare.upstream, Upstream::Loopback);
        let alone = VoiceArgs {
            upstream_ca: Some("ca.pem".into()),
            ..VoiceArgs::default()
        };
        assert!(alone.resolve(true).is_err());
        let never = VoiceArgs {
            session_max: Some(Duration::ZERO),
            ..VoiceArgs::default()
        };
        assert!(never.resolve(true).is_err());
    }
}
