//! TLS: the pair of certificate and key, replaced while connections go on, and the task that carries a connection's bytes
//! between its TLS stream and the socket that the rest of the relay sees.

use crate::Fatal;
use crate::clock;
use crate::socket::Socket;
use crate::watch::Files;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tautline_protocol::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Bytes carried at once, each way: as much as a TLS record holds is not worth its memory on a quiet connection.
const CHUNK: usize = 8 * 1024;
/// Descriptors of one connection: the peer's socket and the pair.
pub(crate) const FILES_EACH: usize = 3;
/// After the relay's end has gone: time for what it wrote last.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The certificate in use.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    watched: Files,
    config: RwLock<Arc<ServerConfig>>,
}

fn load(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let read = |flag: &str, path: &Path| {
        std::fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_slice_iter(&read("--tls-cert", certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| {
            format!(
                "--tls-cert {}: no CERTIFICATE in PEM in it",
                certificate.display()
            )
        })?;
    let private = PrivateKeyDer::from_pem_slice(&read("--tls-key", key)?)
        .map_err(|_| format!("--tls-key {}: no PRIVATE KEY in PEM in it", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| {
            format!(
                "--tls-cert {} and --tls-key {} do not belong together or cannot be used ({error})",
                certificate.display(),
                key.display()
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl Tls {
    /// Reads the pair.
    ///
    /// # Errors
    /// One of the two cannot be used, or they do not belong together.
    pub(crate) fn open(certificate: &Path, key: &Path) -> Result<Self, Fatal> {
        let watched = Files::new(&[certificate, key]);
        let config = load(certificate, key).map_err(Fatal::new)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            watched,
            config: RwLock::new(Arc::new(config)),
        })
    }

    /// Reads the pair again if a file has changed, or in any case. A pair that cannot be used leaves the one in use:
    /// often one of the two files is simply not there yet.
    pub(crate) fn refresh(&self, in_any_case: bool) {
        if !self.watched.changed() && !in_any_case {
            return;
        }
        match load(&self.certificate, &self.key) {
            Ok(config) => {
                tracing::info!("the certificate was read; new connections get it");
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
            }
            Err(why) => tracing::error!("{why}; the certificate read before stays in use"),
        }
    }

    /// Shakes hands, within its time.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = {
            let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&config)
        };
        let time = Duration::from_millis(limits::TLS_HANDSHAKE_MS);
        clock::timeout(time, TlsAcceptor::from(config).accept(socket)).await?
    }
}

/// The far end of a carried socket.
pub(crate) struct Far {
    pair: UnixStream,
    gone: oneshot::Receiver<()>,
}

/// A socket for the relay, and its far end for [`carry`].
pub(crate) fn pair() -> io::Result<(Socket, Far)> {
    let (near, pair) = UnixStream::pair()?;
    let (alive, gone) = oneshot::channel();
    Ok((Socket::Carried(near, alive), Far { pair, gone }))
}

/// Carries bytes both ways until both sides are done or either is gone. Each way holds one chunk at most, so a side that
/// does not read holds the other up; each way ends for itself, as the two halves of a TCP connection do.
pub(crate) async fn carry(tls: TlsStream<TcpStream>, far: Far) {
    let Far { pair, mut gone } = far;
    let (mut from_peer, mut to_peer) = tokio::io::split(tls);
    let (mut from_relay, mut to_relay) = pair.into_split();
    let down = one_way(&mut from_relay, &mut to_peer);
    let up = one_way(&mut from_peer, &mut to_relay);
    let (mut down, mut up) = (std::pin::pin!(down), std::pin::pin!(up));
    let (mut down_done, mut up_done) = (false, false);
    while !(down_done && up_done) {
        tokio::select! {
            ended = down.as_mut(), if !down_done => match ended {
                Ok(()) => down_done = true,
                Err(_) => return,
            },
            ended = up.as_mut(), if !up_done => match ended {
                Ok(()) => up_done = true,
                Err(_) => return,
            },
            _ = &mut gone => {
                if !down_done {
                    // Time or the peer's end: nobody is left who could be told.
                    let _ = tokio::time::timeout(LAST_WORDS, down).await;
                }
                return;
            }
        }
    }
}

/// Until the end of what there is to read, which is passed on.
async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK].into_boxed_slice();
    loop {
        let n = match from.read(&mut chunk).await {
            Ok(0) => break,
            // The peer left without saying so in TLS: for us the same as without TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        };
        to.write_all(chunk.get(..n).unwrap_or_default()).await?;
        to.flush().await?;
    }
    to.shutdown().await
}
