//! Who may speak to a loopback listener from a browser: the `Host` and `Origin` rules, and CORS
//! (`docs/operations.md`, Safety).

use super::App;
use super::problem::Problem;
use super::realtime;
use crate::config::{Edge, PublicUrl};
use crate::peer::Peer;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};

/// What the Realtime API's official clients send; a `*` would not stand for `authorization`.
const REALTIME_HEADERS: &str = "authorization, content-type, accept, openai-organization, openai-project, openai-safety-identifier, \
    x-openai-agents-sdk, x-stainless-arch, x-stainless-helper-method, x-stainless-lang, x-stainless-os, \
    x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, \
    x-stainless-timeout";

/// The rules for one listener.
#[derive(Debug)]
pub(super) struct Guard {
    address: SocketAddr,
    edge: Edge,
    allowed: Vec<Allowed>,
}

#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    Exactly(String),
    /// A loopback origin with any port: what stands before the port.
    AnyPort(String),
}

/// `host:port` taken apart.
fn host_port(authority: &str) -> Option<(&str, Option<u16>)> {
    Some(match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (authority, None),
    })
}

fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

impl Guard {
    pub(super) fn new(address: SocketAddr, edge: &Edge, origins: &[String]) -> Self {
        let allowed = origins
            .iter()
            .map(|origin| {
                let origin = origin.trim_end_matches('/');
                match origin.strip_suffix(":*") {
                    // A `*` elsewhere is taken literally and matches nothing.
                    Some(before)
                        if before
                            .split_once("://")
                            .is_some_and(|(_, host)| is_loopback_name(host)) =>
                    {
                        Allowed::AnyPort(before.to_ascii_lowercase())
                    }
                    _ => Allowed::Exactly(origin.to_ascii_lowercase()),
                }
            })
            .collect();
        Self {
            address,
            edge: edge.clone(),
            allowed,
        }
    }

    /// A name that points elsewhere may be a page's trick to reach this machine (DNS rebinding). Other machines reach a
    /// listener beyond loopback by whatever name they have for it.
    pub(super) fn host_is_ours(&self, headers: &HeaderMap, port_too: bool) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let usual = if self.edge.tls.is_some() { 443 } else { 80 };
        let public = self.edge.public_url.as_ref().map(PublicUrl::host);
        headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .and_then(host_port)
            .is_some_and(|(host, port)| {
                let ours = port.unwrap_or(usual) == self.address.port();
                is_loopback_name(host) && (!port_too || ours)
                    // A proxy may pass on the name it was asked for.
                    || self.edge.behind_proxy
                        && public.is_some_and(|public| host.eq_ignore_ascii_case(public))
            })
    }

    /// Whether a page of this origin came from the relay itself.
    fn is_own(&self, origin: &str, host: &str) -> bool {
        let public = self.edge.public_url.as_ref().map(PublicUrl::origin);
        if public == Some(origin) {
            return true;
        }
        let scheme = if self.edge.tls.is_some() {
            "https://"
        } else if public.is_some() && !self.address.ip().is_loopback() {
            // Without TLS anyone may give any name to this address.
            return false;
        } else {
            "http://"
        };
        origin
            .strip_prefix(scheme)
            .is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    }

    /// `Ok(Some)`: a page of another origin that may speak to us.
    fn origin<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a HeaderValue>, ()> {
        let Some(value) = headers.get(header::ORIGIN) else {
            return Ok(None);
        };
        let origin = value.to_str().map_err(|_| ())?.to_ascii_lowercase();
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        if self.is_own(&origin, host) {
            return Ok(None);
        }
        let port_of = |before: &str| {
            origin
                .strip_prefix(before)
                .and_then(|port| port.strip_prefix(':'))
                .map(str::parse::<u16>)
        };
        let allowed = self.allowed.iter().any(|allowed| match allowed {
            Allowed::Exactly(exactly) => *exactly == origin,
            Allowed::AnyPort(before) => {
                origin == *before || port_of(before).is_some_and(|port| port.is_ok())
            }
        });
        if allowed { Ok(Some(value)) } else { Err(()) }
    }
}

/// Whether a proxy passed this on: then whoever asked is somewhere else.
fn is_forwarded(headers: &HeaderMap) -> bool {
    let by_others = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    ];
    headers.contains_key(header::FORWARDED)
        || headers.contains_key(header::VIA)
        || by_others.iter().any(|name| headers.contains_key(*name))
}

/// Runs before every route.
pub(super) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    if let Some(refusal) = request.extensions().get::<Peer>().and_then(Peer::refused)
        && !matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics")
    {
        let mut response = Problem::from(refusal).answer(request.uri().path());
        // What it takes up is lent.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        return response;
    }
    let headers = request.headers();
    let dev = request.uri().path().starts_with("/dev/");
    if !app.guard.host_is_ours(headers, dev) || (dev && is_forwarded(headers)) {
        let detail = "this relay answers to localhost and loopback addresses only";
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, "host_not_allowed", detail)
            .answer(request.uri().path());
    }
    let Ok(foreign) = app.guard.origin(headers) else {
        let detail = "this origin may not use the relay; --allowed-origin names those that may";
        return Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail)
            .answer(request.uri().path());
    };
    let foreign = foreign.cloned();
    let preflight = request.method() == Method::OPTIONS;
    let realtime = realtime::is_path(request.uri().path());
    let mut response = if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Some(origin) = foreign {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("location, retry-after"),
        );
        if preflight {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, POST, PATCH, DELETE"),
            );
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(if realtime {
                    REALTIME_HEADERS
                } else {
                    "authorization, content-type, idempotency-key, traceparent"
                }),
            );
            headers.insert(
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from_static("600"),
            );
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(
            SocketAddr::from(([127, 0, 0, 1], 8787)),
            &Edge::default(),
            &[
                "https://pos.example".into(),
                "http://127.0.0.1:*".into(),
                "http://pos.example:*".into(),
            ],
        )
    }

    fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn only_loopback_names_and_for_dev_our_port() {
        for host in [
            "localhost:8787",
            "127.0.0.1:8787",
            "[::1]:8787",
            "LOCALHOST:8787",
            "127.8.8.8:8787",
        ] {
            assert!(guard().host_is_ours(&headers(host, None), true), "{host}");
        }
        assert!(
            guard().host_is_ours(&headers("127.0.0.1:9999", None), false),
            "a tunnel of this machine"
        );
        assert!(!guard().host_is_ours(&headers("127.0.0.1:9999", None), true));
        for host in [
            "evil.example:8787",
            "127.0.0.1.evil.example:8787",
            "localhost.evil.example",
            "",
        ] {
            assert!(!guard().host_is_ours(&headers(host, None), false), "{host}");
        }
    }

    #[test]
    fn the_public_url_is_ours_and_behind_a_proxy_its_host() {
        let with = |address: [u8; 4], tls: bool, proxy: bool| {
            let edge = Edge {
                tls: tls.then(|| ("c".into(), "k".into())),
                behind_proxy: proxy,
                public_url: Some("https://pos.example".parse().unwrap()),
                ..Edge::default()
            };
            Guard::new(SocketAddr::from((address, 8787)), &edge, &[])
        };
        let (here, everywhere) = ([127, 0, 0, 1], [0, 0, 0, 0]);
        let public = headers("pos.example", Some("https://pos.example"));
        let rebound = headers("evil.example:8787", Some("http://evil.example:8787"));
        let by_address = headers("10.0.0.5:8787", Some("https://10.0.0.5:8787"));
        let own = headers("127.0.0.1:8787", Some("http://127.0.0.1:8787"));

        let guard = with(here, false, true);
        assert!(guard.host_is_ours(&public, false) && guard.origin(&public).is_ok());
        assert!(!guard.host_is_ours(&rebound, false));
        assert!(guard.host_is_ours(&own, false) && guard.origin(&own).is_ok());
        assert!(
            !with(here, false, false).host_is_ours(&public, false),
            "a proxy must be meant"
        );

        let guard = with(everywhere, false, true);
        assert_eq!(guard.origin(&public), Ok(None));
        assert!(guard.host_is_ours(&rebound, false) && guard.origin(&rebound).is_err());

        let guard = with(everywhere, true, false);
        assert_eq!(guard.origin(&public), Ok(None));
        assert_eq!(
            guard.origin(&by_address),
            Ok(None),
            "the certificate says who we are"
        );
        assert!(guard.origin(&own).is_err(), "not over TLS");
        assert!(
            guard
                .origin(&headers("10.0.0.5:8787", Some("null")))
                .is_err()
        );
    }

    #[test]
    fn what_a_proxy_passed_on_is_known() {
        let mut plain = headers("localhost:8787", None);
        assert!(!is_forwarded(&plain));
        for name in ["forwarded", "via", "x-forwarded-for", "x-real-ip"] {
            let mut passed_on = plain.clone();
            passed_on.insert(name, HeaderValue::from_static("1.2.3.4"));
            assert!(is_forwarded(&passed_on), "{name}");
        }
        plain.insert("x-request-id", HeaderValue::from_static("7"));
        assert!(!is_forwarded(&plain));
    }

    #[test]
    fn origins() {
        let guard = guard();
        let verdict = |origin| {
            guard
                .origin(&headers("127.0.0.1:8787", origin))
                .map(|foreign| foreign.is_some())
        };
        assert_eq!(verdict(None), Ok(false));
        assert_eq!(verdict(Some("http://127.0.0.1:8787")), Ok(false), "our own");
        assert_eq!(verdict(Some("https://pos.example")), Ok(true));
        assert_eq!(
            verdict(Some("http://127.0.0.1:5173")),
            Ok(true),
            "any port of a loopback origin"
        );
        for bad in [
            "null",
            "https://127.0.0.1:8787",
            "http://evil.example",
            "http://127.0.0.1:x",
            "http://127.0.0.1:5173.evil.example",
            "http://pos.example:80",
            "http://localhost:5173",
        ] {
            assert_eq!(verdict(Some(bad)), Err(()), "{bad}");
        }
    }
}
