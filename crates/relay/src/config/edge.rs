//! Flags of the relay's edge: TLS, a proxy in front of it, the address it is known by, the listener of operators.

use crate::Fatal;
use crate::parse::duration;
use axum::http::Uri;
use clap::Args;
use clap::builder::FalseyValueParser;
use serde::{Deserialize, Deserializer, de};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// As given; open fields may be filled by the file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct EdgeArgs {
    /// PEM file with the certificate chain for TLS; read again when it changes
    #[arg(long, env = "TAUTLINE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, env = "TAUTLINE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// A proxy in front of the relay does TLS: other addresses than loopback may be listened on without
    #[arg(long, env = "TAUTLINE_BEHIND_PROXY", value_parser = FalseyValueParser::new())]
    behind_proxy: bool,
    /// The address that browsers know the relay by; pages from there are its own
    #[arg(long, env = "TAUTLINE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<PublicUrl>,
    /// Address of a second listener with /metrics, /healthz and a /readyz that says why [default: none]
    #[arg(long, env = "TAUTLINE_METRICS_LISTEN", value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// File with the bearer token that /metrics and the details of /readyz want
    #[arg(long, env = "TAUTLINE_METRICS_TOKEN_FILE", value_name = "FILE")]
    metrics_token_file: Option<PathBuf>,
    /// After SIGTERM: time in which /readyz fails and new sockets are still taken [default: 0s]
    #[arg(long, env = "TAUTLINE_DRAIN_DELAY", value_name = "TIME", value_parser = duration)]
    #[serde(deserialize_with = "crate::parse::duration_field")]
    drain_delay: Option<Duration>,
}

/// The edge, settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// The files of certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A proxy does TLS.
    pub behind_proxy: bool,
    /// The address that browsers know.
    pub public_url: Option<PublicUrl>,
    /// The second listener.
    pub metrics_listen: Option<SocketAddr>,
    /// The file of its token.
    pub metrics_token_file: Option<PathBuf>,
    /// Between SIGTERM and the refusal of new sockets.
    pub drain_delay: Duration,
}

impl EdgeArgs {
    /// What is open here is taken from there.
    pub(super) fn or(self, file: Self) -> Self {
        Self {
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            behind_proxy: self.behind_proxy || file.behind_proxy,
            public_url: self.public_url.or(file.public_url),
            metrics_listen: self.metrics_listen.or(file.metrics_listen),
            metrics_token_file: self.metrics_token_file.or(file.metrics_token_file),
            drain_delay: self.drain_delay.or(file.drain_delay),
        }
    }

    /// Whether it makes sense together.
    pub(super) fn resolve(self, listen: SocketAddr, dev: bool) -> Result<Edge, Fatal> {
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(Fatal::usage(
                    "--tls-cert and --tls-key go together: name both or none",
                ));
            }
        };
        let loopback = listen.ip().is_loopback();
        if !loopback && tls.is_none() && !self.behind_proxy {
            return Err(Fatal::usage(format!(
                "--listen {listen}: beyond loopback tokens would travel in the clear; give --tls-cert and --tls-key, or --behind-proxy if a proxy in front does TLS"
            )));
        }
        if dev && (!loopback || self.behind_proxy) {
            return Err(Fatal::usage(
                "--dev gives tokens to whoever asks: it goes with a loopback --listen only, and not with --behind-proxy",
            ));
        }
        if self.metrics_token_file.is_some() && self.metrics_listen.is_none() {
            return Err(Fatal::usage(
                "--metrics-token-file is for --metrics-listen, which is not given",
            ));
        }
        Ok(Edge {
            tls,
            behind_proxy: self.behind_proxy,
            public_url: self.public_url,
            metrics_listen: self.metrics_listen,
            metrics_token_file: self.metrics_token_file,
            drain_delay: self.drain_delay.unwrap_or_default(),
        })
    }
}

/// An address as browsers write it in `Origin` and `Host`: lower case, without the port that the scheme has anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    host: String,
}

impl PublicUrl {
    /// `https://pos.example`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// `pos.example`, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not like https://pos.example");
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let (scheme, authority) = url.scheme_str().zip(url.authority()).ok_or_else(wrong)?;
        let usual = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(wrong()),
        };
        if authority.as_str().contains('@') || !matches!(url.path(), "" | "/") {
            return Err(wrong());
        }
        let host = authority.host().to_ascii_lowercase();
        let port = authority.port_u16().filter(|&port| port != usual);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self {
            origin: format!("{scheme}://{host}{port}"),
            host,
        })
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(args: EdgeArgs, listen: &str, dev: bool) -> Result<Edge, Fatal> {
        args.resolve(listen.parse().unwrap(), dev)
    }

    #[test]
    fn beyond_loopback_only_with_tls_or_behind_a_proxy_and_never_for_development() {
        let tls = || EdgeArgs {
            tls_cert: Some("c".into()),
            tls_key: Some("k".into()),
            ..EdgeArgs::default()
        };
        let proxy = || EdgeArgs {
            behind_proxy: true,
            ..EdgeArgs::default()
        };
        let open = EdgeArgs::default;
        for (listen, dev, args, fine) in [
            ("127.0.0.1:80", true, open(), true),
            ("[::1]:80", true, tls(), true),
            ("0.0.0.0:80", false, open(), false),
            ("[::]:80", false, open(), false),
            ("192.168.1.5:80", false, open(), false),
            ("0.0.0.0:80", false, tls(), true),
            ("0.0.0.0:80", false, proxy(), true),
            ("0.0.0.0:80", true, tls(), false),
            ("127.0.0.1:80", true, proxy(), false),
            ("127.0.0.1:80", false, proxy(), true),
        ] {
            let resolved = resolve(args, listen, dev);
            assert_eq!(resolved.is_ok(), fine, "{listen} {dev} {resolved:?}");
        }
        let half = EdgeArgs {
            tls_key: Some("k".into()),
            ..EdgeArgs::default()
        };
        assert!(resolve(half, "127.0.0.1:80", false).is_err());
        let nowhere = EdgeArgs {
            metrics_token_file: Some("t".into()),
            ..EdgeArgs::default()
        };
        assert!(resolve(nowhere, "127.0.0.1:80", false).is_err());
    }

    #[test]
    fn a_public_url_is_an_origin() {
        let read = |text: &str| {
            text.parse::<PublicUrl>()
                .map(|url| (url.origin().to_owned(), url.host().to_owned()))
                .ok()
        };
        let is = |origin: &str, host: &str| Some((origin.to_owned(), host.to_owned()));
        assert_eq!(
            read("https://POS.example/"),
            is("https://pos.example", "pos.example")
        );
        assert_eq!(
            read("https://pos.example:443"),
            is("https://pos.example", "pos.example")
        );
        assert_eq!(
            read("http://pos.example:8080"),
            is("http://pos.example:8080", "pos.example")
        );
        assert_eq!(
            read("https://[::1]:8443"),
            is("https://[::1]:8443", "[::1]")
        );
        for bad in [
            "pos.example",
            "ws://pos.example",
            "https://a:b@pos.example",
            "https://pos.example/relay",
            "https://",
            "",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
