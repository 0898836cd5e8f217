//! What hyper and then the shard speak over: the peer's own socket, or one end of a pair whose other end a task carries
//! to and from TLS ([`crate::tls`]).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

/// Dropping it tells the carrying task that this end is gone for good, which the end of the bytes alone does not say.
pub(crate) type Alive = oneshot::Sender<()>;

/// See the module.
#[derive(Debug)]
pub(crate) enum Socket {
    /// The peer's own.
    Tcp(TcpStream),
    /// One end of a pair.
    Carried(UnixStream, Alive),
}

/// A socket that is no reactor's, on its way from one thread to another.
#[derive(Debug)]
pub(crate) enum Detached {
    Tcp(std::net::TcpStream),
    Carried(std::os::unix::net::UnixStream, Alive),
}

impl From<std::net::TcpStream> for Detached {
    fn from(socket: std::net::TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl Socket {
    pub(crate) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(socket) => Detached::Tcp(socket.into_std()?),
            Self::Carried(socket, alive) => Detached::Carried(socket.into_std()?, alive),
        })
    }

    /// This thread's from here on.
    pub(crate) fn attach(socket: Detached) -> io::Result<Self> {
        Ok(match socket {
            Detached::Tcp(socket) => Self::Tcp(TcpStream::from_std(socket)?),
            Detached::Carried(socket, alive) => Self::Carried(UnixStream::from_std(socket)?, alive),
        })
    }

    /// What has not left by the time it is dropped is thrown away, and the peer is told by a reset. (Whoever carries a
    /// pair learns by its [`Alive`] that this end is gone.)
    pub(crate) fn reset_when_dropped(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_zero_linger(),
            Self::Carried(..) => Ok(()),
        }
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.readable().await,
            Self::Carried(socket, _) => socket.readable().await,
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.writable().await,
            Self::Carried(socket, _) => socket.writable().await,
        }
    }

    pub(crate) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read(into),
            Self::Carried(socket, _) => socket.try_read(into),
        }
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write(bytes),
            Self::Carried(socket, _) => socket.try_write(bytes),
        }
    }

    /// A write of another kind; `WouldBlock` waits for the next time it is writable.
    pub(crate) fn try_write_by<T>(&self, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(socket) => socket.try_io(Interest::WRITABLE, write),
            Self::Carried(socket, _) => socket.try_io(Interest::WRITABLE, write),
        }
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write_vectored(slices),
            Self::Carried(socket, _) => socket.try_write_vectored(slices),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Carried(socket, _) => socket.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, into),
            Self::Carried(socket, _) => Pin::new(socket).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Carried(socket, _) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Carried(socket, _) => Pin::new(socket).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Carried(socket, _) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Carried(socket, _) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
