//! The relay as a client of the upstream: a connection for each request, over TLS, within its time, no redirect followed.

use super::Trouble;
use crate::config::Origin;
use crate::ids::random_id;
use crate::{Fatal, Secret};
use axum::http::{Request, Response, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tautline_machine::relay::voice::Settings;
use tautline_protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// For the connection with its TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// For a request, from its first byte to the last of its answer.
const ANSWER: Duration = Duration::from_secs(10);

/// What the upstream is spoken to over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// See the module.
pub(crate) struct Client {
    key: Secret,
    base: Origin,
    /// None where the base is `http`, which is for loopback only.
    tls: Option<TlsConnector>,
}

/// A call that the upstream has answered.
#[derive(Debug)]
pub(crate) struct Call {
    /// The upstream's name for it.
    pub(crate) id: String,
    pub(crate) sdp: String,
}

impl Client {
    /// Reads the authorities.
    ///
    /// # Errors
    /// The file cannot be read or has no certificate in it.
    pub(crate) fn new(key: Secret, base: Origin, ca: Option<&Path>) -> Result<Self, Fatal> {
        let mut roots = RootCertStore::empty();
        match ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let wrong =
                    |why: &str| Fatal::usage(format!("--upstream-ca {}: {why}", path.display()));
                let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|_| wrong("not PEM"))?;
                    roots
                        .add(certificate)
                        .map_err(|_| wrong("a certificate in it cannot be used"))?;
                }
                if roots.is_empty() {
                    return Err(wrong("no CERTIFICATE in PEM in it"));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Fatal::new(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            key,
            tls: base.tls.then(|| Arc::new(config).into()),
            base,
        })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Trouble> {
        let connect = async {
            let socket = TcpStream::connect((self.base.host.as_str(), self.base.port))
                .await
                .map_err(|_| Trouble::Unreachable)?;
            let _ = socket.set_nodelay(true);
            let Some(tls) = &self.tls else {
                return Ok(Box::new(socket) as Box<dyn Stream>);
            };
            let name =
                ServerName::try_from(self.base.host.clone()).map_err(|_| Trouble::Unreachable)?;
            let stream = tls.connect(name, socket).await.map_err(|error| {
                // What TLS itself takes exception to is invalid data; anything else is the network's.
                match error.kind() {
                    io::ErrorKind::InvalidData => Trouble::Tls,
                    _ => Trouble::Unreachable,
                }
            })?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        };
        tokio::time::timeout(CONNECT, connect)
            .await
            .unwrap_or(Err(Trouble::Timeout))
    }

    async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Response<Bytes>, Trouble> {
        let request = Request::post(format!("{}{path}", self.base.path))
            .header(header::HOST, &self.base.authority)
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.key.expose()),
            )
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| Trouble::Malformed)?;
        let answer = async {
            let stream = self.connect().await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|_| Trouble::Unreachable)?;
            // It ends with this future, whichever way that goes.
            let (done, stop) = oneshot::channel::<()>();
            tokio::spawn(async move {
                tokio::select! {
                    _ = connection => {}
                    _ = stop => {}
                }
            });
            let answer = sender.send_request(request).await.map_err(|error| {
                if error.is_parse() {
                    Trouble::Malformed
                } else {
                    Trouble::Unreachable
                }
            })?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, limits::REALTIME_FORM)
                .collect()
                .await
                .map_err(|error| {
                    if error.is::<http_body_util::LengthLimitError>() {
                        Trouble::Malformed
                    } else {
                        Trouble::Unreachable
                    }
                })?;
            drop(done);
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answer = tokio::time::timeout(ANSWER, answer)
            .await
            .unwrap_or(Err(Trouble::Timeout))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after_s = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        Err(Trouble::of(answer.status().as_u16(), retry_after_s))
    }

    /// Has an offer answered, with the session that the policy makes of it.
    pub(crate) async fn call(&self, offer: &str, settings: &Settings) -> Result<Call, Trouble> {
        // Of 128 bits of chance, so in neither of the parts.
        let boundary = format!("tautline-{}", random_id());
        let session = settings.to_value();
        let form = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"sdp\"\r\nContent-Type: application/sdp\r\n\r\n{offer}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"session\"\r\nContent-Type: application/json\r\n\r\n{session}\r\n\
             --{boundary}--\r\n"
        );
        let kind = format!("multipart/form-data; boundary={boundary}");
        let answer = self.post("/realtime/calls", &kind, form).await?;
        let id = answer
            .headers()
            .get(header::LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| location.split(['?', '#']).next()?.rsplit('/').next())
            .filter(|id| tautline_protocol::is_command_id(id))
            .ok_or(Trouble::Malformed)?
            .to_owned();
        let sdp = String::from_utf8(answer.into_body().into()).map_err(|_| Trouble::Malformed)?;
        if !sdp.starts_with("v=0") {
            return Err(Trouble::Malformed);
        }
        Ok(Call { id, sdp })
    }

    /// Hangs up.
    pub(crate) async fn hang_up(&self, id: &str) -> Result<(), Trouble> {
        let path = format!("/realtime/calls/{id}/hangup");
        let hung_up = self.post(&path, "application/json", String::new()).await;
        match hung_up {
            // It has ended meanwhile.
            Ok(_) | Err(Trouble::Refused(404)) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// A WebSocket of the upstream's, by its query.
    pub(super) async fn socket(&self, query: &str) -> Result<Socket, Trouble> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let url = format!(
            "{scheme}://{}{}/realtime?{query}",
            self.base.authority, self.base.path
        );
        let mut request = url.into_client_request().map_err(|_| Trouble::Malformed)?;
        let bearer = format!("Bearer {}", self.key.expose());
        let bearer = bearer.parse().map_err(|_| Trouble::Auth)?;
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits::REALTIME_MESSAGE))
            .max_frame_size(Some(limits::REALTIME_MESSAGE))
            .max_write_buffer_size(limits::VOICE_QUEUE_BYTES + limits::REALTIME_MESSAGE);
        let open = async {
            let stream = self.connect().await?;
            match client_async_with_config(request, stream, Some(config)).await {
                Ok((socket, _)) => Ok(socket),
                Err(tungstenite::Error::Http(answer)) => {
                    Err(Trouble::of(answer.status().as_u16(), None))
                }
                Err(tungstenite::Error::Io(_)) => Err(Trouble::Unreachable),
                Err(_) => Err(Trouble::Malformed),
            }
        };
        tokio::time::timeout(ANSWER, open)
            .await
            .unwrap_or(Err(Trouble::Timeout))
    }
}
