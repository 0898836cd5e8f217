//! Flags, their environment twins and the TOML file, resolved into one [`Config`].
//! A flag wins over the environment, which wins over the file, which wins over the default.

mod edge;
mod voice;

pub use edge::{Edge, EdgeArgs, PublicUrl};
pub use voice::{Origin, Upstream, Voice, VoiceArgs};

use crate::parse::{Rate, duration, rate};
use crate::peer::Net;
use crate::{Fatal, Secret};
use clap::Args;
use clap::builder::FalseyValueParser;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tautline_protocol::limits;

/// What `serve` takes. Every field is optional here so that the file can fill what flags and environment leave open.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ServeArgs {
    /// A TOML file with the same names as these flags
    #[arg(long, env = "TAUTLINE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Address to listen on; other than loopback with --tls-cert and --tls-key, or --behind-proxy [default: 127.0.0.1:8787]
    #[arg(long, env = "TAUTLINE_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// What the relay's edge is made of
    #[command(flatten)]
    #[serde(flatten)]
    edge: EdgeArgs,
    /// Voice sessions
    #[command(flatten)]
    #[serde(flatten)]
    voice: VoiceArgs,
    /// Folder of the store; `:memory:` keeps nothing [default: ./data]
    #[arg(long, env = "TAUTLINE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// `full`: an answer means it is on the disk. `normal`: a power cut may take the last second [default: full]
    #[arg(long, env = "TAUTLINE_DURABILITY", value_enum)]
    durability: Option<Durability>,
    /// How tokens are checked
    #[command(flatten)]
    #[serde(flatten)]
    keys: KeyArgs,
    /// `any`, or a file with one restaurant id per line [default: any]
    #[arg(long, env = "TAUTLINE_RESTAURANTS", value_name = "any|FILE")]
    restaurants: Option<String>,
    /// A further browser origin that may connect; `*` stands for the port of a loopback origin. May be repeated
    #[arg(
        long,
        env = "TAUTLINE_ALLOWED_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    allowed_origin: Vec<String>,
    /// Folder of static files to serve at `/`
    #[arg(long, env = "TAUTLINE_WWW", value_name = "DIR")]
    www: Option<PathBuf>,
    /// Commands and writes of one connection or token [default: 20/s,burst=100]
    #[arg(long, env = "TAUTLINE_RATE_LIMIT", value_name = "N/s,burst=N", value_parser = rate)]
    rate_limit: Option<Rate>,
    /// Sockets at once; fewer where the limit of open files leaves no room for them [default: 10000]
    #[arg(long, env = "TAUTLINE_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,
    /// Connections of one restaurant [default: 10000]
    #[arg(long, env = "TAUTLINE_MAX_PER_RESTAURANT", value_name = "N")]
    max_per_restaurant: Option<usize>,
    /// Connections of one address; loopback and trusted proxies themselves are exempt [default: 200]
    #[arg(long, env = "TAUTLINE_MAX_PER_ADDRESS", value_name = "N")]
    max_per_address: Option<usize>,
    /// A proxy whose X-Forwarded-For is believed: an address or a network like 10.0.0.0/8. May be repeated
    #[arg(
        long,
        env = "TAUTLINE_TRUSTED_PROXY",
        value_name = "NET",
        value_delimiter = ','
    )]
    trusted_proxy: Vec<String>,
    /// Events kept for clients that resume, at most [default: 10000]
    #[arg(long, env = "TAUTLINE_LOG_TAIL", value_name = "EVENTS")]
    log_tail: Option<usize>,
    /// Bytes of one message from a client [default: 65536]
    #[arg(long, env = "TAUTLINE_MAX_MESSAGE", value_name = "BYTES")]
    max_message: Option<u32>,
    /// How often clients are asked to ping, and are pinged [default: 15s]
    #[arg(long, env = "TAUTLINE_HEARTBEAT", value_name = "TIME", value_parser = duration)]
    #[serde(deserialize_with = "crate::parse::duration_field")]
    heartbeat: Option<Duration>,
    /// The longest a shutdown may take [default: 10s]
    #[arg(long, env = "TAUTLINE_DRAIN", value_name = "TIME", value_parser = duration)]
    #[serde(deserialize_with = "crate::parse::duration_field")]
    drain: Option<Duration>,
    /// How long completed and cancelled orders stay in the live set [default: 4h]
    #[arg(long, env = "TAUTLINE_KEEP_FINAL", value_name = "TIME", value_parser = duration)]
    #[serde(deserialize_with = "crate::parse::duration_field")]
    keep_final: Option<Duration>,
    /// How long orders that left the live set are kept in the history [default: 30d]
    #[arg(long, env = "TAUTLINE_HISTORY", value_name = "TIME", value_parser = duration)]
    #[serde(deserialize_with = "crate::parse::duration_field")]
    history: Option<Duration>,
    /// Format of the log [default: text on a terminal, else json]
    #[arg(long, env = "TAUTLINE_LOG", value_enum)]
    log: Option<LogFormat>,
    /// Least level of the log: error, warn, info, debug or trace [default: info]
    #[arg(long, env = "TAUTLINE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<String>,
    /// Seconds that pass in one: a day in minutes, for tests (`docs/decisions/0036-a-day-in-minutes.md`)
    #[arg(long, env = "TAUTLINE_PACE", hide = true, value_parser = clap::value_parser!(u32).range(1..=3600))]
    #[serde(skip)]
    pace: Option<u32>,
}

/// Where the key of tokens comes from; shared by `serve` and `token`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct KeyArgs {
    /// File with the secret of HS256 tokens, at least 32 bytes
    #[arg(long, env = "TAUTLINE_JWT_SECRET_FILE", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// The secret itself; others on this machine can read it, prefer the file
    #[arg(
        long,
        env = "TAUTLINE_JWT_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub jwt_secret: Option<Secret>,
    /// PEM file with the public key of tokens: RSA (RS256), EC P-256 or P-384 (ES256, ES384), Ed25519 (EdDSA)
    #[arg(long, env = "TAUTLINE_JWT_PUBLIC_KEY", value_name = "FILE")]
    pub jwt_public_key: Option<PathBuf>,
    /// JWKS file with the keys of tokens, each with its `alg` and `kid`; read again when it changes
    #[arg(long, env = "TAUTLINE_JWKS_FILE", value_name = "FILE")]
    pub jwks_file: Option<PathBuf>,
    /// Development: tokens from /dev/token with a secret kept in the data folder
    #[arg(long, env = "TAUTLINE_DEV", value_parser = FalseyValueParser::new())]
    pub dev: bool,
    /// Issuer a token must name
    #[arg(long, env = "TAUTLINE_JWT_ISSUER", value_name = "ISS")]
    pub jwt_issuer: Option<String>,
    /// Audience a token must name
    #[arg(long, env = "TAUTLINE_JWT_AUDIENCE", value_name = "AUD")]
    pub jwt_audience: Option<String>,
}

/// When a commit counts as stored.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Synced to the disk before it is shown or answered.
    Full,
    /// Left to the system; survives the process, not the power.
    Normal,
}

/// How log lines look.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where the store lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDir {
    /// In this process only.
    Memory,
    /// In this folder.
    Folder(PathBuf),
}

impl From<Option<PathBuf>> for DataDir {
    fn from(path: Option<PathBuf>) -> Self {
        match path {
            Some(path) if path.as_os_str() == ":memory:" => Self::Memory,
            Some(path) => Self::Folder(path),
            None => Self::Folder(PathBuf::from("./data")),
        }
    }
}

/// Everything `serve` runs by.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// TLS, proxies, and what operators look at.
    pub edge: Edge,
    /// Voice sessions.
    pub voice: Voice,
    /// Where the store lives.
    pub data_dir: DataDir,
    /// When a commit counts as stored.
    pub durability: Durability,
    /// Where the key of tokens comes from.
    pub keys: KeyArgs,
    /// The restaurants served; `None` is any.
    pub restaurants: Option<Vec<String>>,
    /// Origins beside the relay's own.
    pub allowed_origins: Vec<String>,
    /// Static files.
    pub www: Option<PathBuf>,
    /// Commands and writes of one connection or token.
    pub rate: Rate,
    /// Sockets at once.
    pub max_connections: usize,
    /// Connections of one restaurant.
    pub max_per_restaurant: usize,
    /// Connections of one address.
    pub max_per_address: usize,
    /// Proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Net>,
    /// Events kept for clients that resume.
    pub log_tail: usize,
    /// Bytes of one message from a client.
    pub max_message: u32,
    /// The heartbeat.
    pub heartbeat: Duration,
    /// The longest a shutdown may take.
    pub drain: Duration,
    /// How long final orders stay in the live set.
    pub keep_final: Duration,
    /// How long orders that left the live set are kept.
    pub history: Duration,
    /// How log lines look; by the terminal when open.
    pub log: Option<LogFormat>,
    /// Least level of the log.
    pub log_level: tracing::Level,
    /// Seconds that pass in one.
    pub pace: u32,
}

impl ServeArgs {
    fn from_toml(text: &str) -> Result<Self, String> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        // serde cannot refuse unknown names beside a flattened part; clap knows them all.
        let command = Self::augment_args(clap::Command::new("serve"));
        if let Some(unknown) = table.keys().find(|key| {
            !command
                .get_arguments()
                .any(|arg| arg.get_long() == Some(key))
        }) {
            return Err(format!("\"{unknown}\" is not a flag of serve"));
        }
        table
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())
    }

    /// Reads the file, if one is named, and settles every open field.
    ///
    /// # Errors
    /// One sentence that names the flag or the file.
    pub fn resolve(self) -> Result<Config, Fatal> {
        let file = match &self.config {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Fatal::usage(format!("--config {}: {error}", path.display()))
                })?;
                Self::from_toml(&text).map_err(|error| {
                    Fatal::usage(format!("--config {}: {error}", path.display()))
                })?
            }
        };
        let keys = KeyArgs {
            jwt_secret_file: self.keys.jwt_secret_file.or(file.keys.jwt_secret_file),
            jwt_secret: self.keys.jwt_secret.or(file.keys.jwt_secret),
            jwt_public_key: self.keys.jwt_public_key.or(file.keys.jwt_public_key),
            jwks_file: self.keys.jwks_file.or(file.keys.jwks_file),
            dev: self.keys.dev || file.keys.dev,
            jwt_issuer: self.keys.jwt_issuer.or(file.keys.jwt_issuer),
            jwt_audience: self.keys.jwt_audience.or(file.keys.jwt_audience),
        };
        let listen = self
            .listen
            .or(file.listen)
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8787)));
        let edge = self.edge.or(file.edge).resolve(listen, keys.dev)?;
        let voice = self.voice.or(file.voice).resolve(keys.dev)?;
        let max_message = self
            .max_message
            .or(file.max_message)
            .unwrap_or(limits::MAX_MESSAGE);
        if !(1024..=limits::MAX_MESSAGE).contains(&max_message) {
            return Err(Fatal::usage(format!(
                "--max-message {max_message}: from 1024 to {} bytes",
                limits::MAX_MESSAGE
            )));
        }
        let trusted = if self.trusted_proxy.is_empty() {
            file.trusted_proxy
        } else {
            self.trusted_proxy
        };
        let heartbeat = self
            .heartbeat
            .or(file.heartbeat)
            .unwrap_or(Duration::from_millis(limits::HEARTBEAT_MS));
        if heartbeat < Duration::from_millis(100) {
            return Err(Fatal::usage("--heartbeat: at least 100ms"));
        }
        let pace = self.pace.unwrap_or(1);
        if pace > 1 && !keys.dev {
            return Err(Fatal::usage(
                "--pace: with --dev only, for tests; by a hurried clock tokens run out early and records bear times to come",
            ));
        }
        let allowed_origins = if self.allowed_origin.is_empty() {
            file.allowed_origin
        } else {
            self.allowed_origin
        };
        let level = self
            .log_level
            .or(file.log_level)
            .unwrap_or_else(|| "info".into());
        Ok(Config {
            listen,
            edge,
            voice,
            data_dir: self.data_dir.or(file.data_dir).into(),
            durability: self
                .durability
                .or(file.durability)
                .unwrap_or(Durability::Full),
            keys,
            restaurants: restaurants(self.restaurants.or(file.restaurants))?,
            allowed_origins,
            www: self.www.or(file.www),
            rate: self.rate_limit.or(file.rate_limit).unwrap_or_default(),
            max_connections: bounded(
                "--max-connections",
                self.max_connections.or(file.max_connections),
                limits::CONNECTIONS,
                usize::MAX,
            )?,
            max_per_restaurant: bounded(
                "--max-per-restaurant",
                self.max_per_restaurant.or(file.max_per_restaurant),
                limits::RESTAURANT_CONNECTIONS,
                usize::MAX,
            )?,
            max_per_address: bounded(
                "--max-per-address",
                self.max_per_address.or(file.max_per_address),
                limits::ADDRESS_CONNECTIONS,
                usize::MAX,
            )?,
            trusted_proxies: trusted
                .iter()
                .map(|net| net.parse())
                .collect::<Result<_, _>>()
                .map_err(|error| Fatal::usage(format!("--trusted-proxy: {error}")))?,
            log_tail: bounded(
                "--log-tail",
                self.log_tail.or(file.log_tail),
                limits::TAIL_EVENTS,
                limits::TAIL_EVENTS,
            )?,
            max_message,
            heartbeat,
            drain: self.drain.or(file.drain).unwrap_or(Duration::from_secs(10)),
            keep_final: self
                .keep_final
                .or(file.keep_final)
                .unwrap_or(Duration::from_millis(limits::KEEP_FINAL_MS)),
            history: self
                .history
                .or(file.history)
                .unwrap_or(Duration::from_millis(limits::HISTORY_MS)),
            log: self.log.or(file.log),
            log_level: level.parse().map_err(|_| {
                Fatal::usage(format!(
                    "--log-level {level}: one of error, warn, info, debug, trace"
                ))
            })?,
            pace,
        })
    }
}

fn bounded(flag: &str, asked: Option<usize>, default: usize, most: usize) -> Result<usize, Fatal> {
    match asked {
        Some(0) => Err(Fatal::usage(format!("{flag} 0: at least 1"))),
        Some(asked) if asked > most => Err(Fatal::usage(format!("{flag} {asked}: at most {most}"))),
        asked => Ok(asked.unwrap_or(default)),
    }
}

fn restaurants(named: Option<String>) -> Result<Option<Vec<String>>, Fatal> {
    let Some(path) = named.filter(|named| named != "any") else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Fatal::usage(format!("--restaurants {path}: {error}")))?;
    let ids: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(String::from)
        .collect();
    if let Some(bad) = ids
        .iter()
        .find(|id| !tautline_protocol::is_restaurant_id(id))
    {
        return Err(Fatal::usage(format!(
            "--restaurants {path}: \"{bad}\" is not a restaurant id (1 to 64 of A-Z a-z 0-9 . _ ~ -)"
        )));
    }
    Ok(Some(ids))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn resolve(args: &[&str]) -> Result<Config, Fatal> {
        Cli::try_parse_from([&["serve"], args].concat())
            .unwrap()
            .serve
            .resolve()
    }

    #[test]
    fn a_flag_wins_over_the_file_which_wins_over_the_default() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "heartbeat = \"2s\"\ndrain = \"3s\"\ndev = true\nallowed-origin = [\"https://a.example\"]\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config = resolve(&["--config", path, "--drain", "4s"]).unwrap();
        assert_eq!(
            (
                config.heartbeat.as_secs(),
                config.drain.as_secs(),
                config.keep_final.as_secs()
            ),
            (2, 4, 14_400)
        );
        assert!(config.keys.dev);
        assert_eq!(config.allowed_origins, ["https://a.example"]);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let config = resolve(&["--jwt-secret", "correct-horse-battery-staple-0123"]).unwrap();
        let printed = format!("{config:?}");
        assert!(printed.contains("[redacted]"), "{printed}");
        assert!(!printed.contains("horse"), "{printed}");
    }

    #[test]
    fn what_makes_no_sense_is_one_sentence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hartbeat = \"2s\"").unwrap();
        let error = resolve(&["--config", file.path().to_str().unwrap()]).unwrap_err();
        assert!(
            error
                .message
                .ends_with("\"hartbeat\" is not a flag of serve"),
            "{error}"
        );
        assert_eq!(error.status, 2);
        assert!(
            resolve(&["--listen", "0.0.0.0:80"])
                .unwrap_err()
                .message
                .contains("loopback")
        );
        assert!(resolve(&["--max-message", "1"]).is_err());
        std::fs::write(file.path(), "# ours\ngrow\n\nbad id\n").unwrap();
        assert!(
            resolve(&["--restaurants", file.path().to_str().unwrap()])
                .unwrap_err()
                .message
                .contains("\"bad id\"")
        );
    }
}
