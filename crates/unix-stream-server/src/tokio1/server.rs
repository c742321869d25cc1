//! The server socket in tokio's reactor.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::net::unix::SocketAddr;
use tokio::task::{JoinError, spawn_blocking};

use super::register::{errno_of, register};
use super::watch::Changes;
use super::{Clients, Drain};
use crate::error::{Error, ErrorKind, Result};
use crate::ownership::CLOSE;
use crate::{IntoPartsError, Status};

const INTO_TOKIO: &str = "give to tokio the server socket at";

/// A [`ServerSocket`](crate::ServerSocket) in tokio's reactor: from [`into_tokio`](crate::ServerSocket::into_tokio).
///
/// Dropping it removes the path, as dropping the other does, and resets who is queued: see
/// [`clients_until`](Self::clients_until) and [`drain`](Self::drain) to lose nobody. It may be dropped inside of a
/// runtime and outside.
pub struct ServerSocket {
    io: AsyncFd<crate::ServerSocket>,
}

impl crate::ServerSocket {
    /// The server socket as one of tokio's, made non-blocking. Feature `tokio1`.
    ///
    /// `O_NONBLOCK` belongs to all copies of the descriptor, those of other processes included.
    ///
    /// # Errors
    ///
    /// The socket is handed back if there is no tokio runtime here (`EINVAL`), or the reactor cannot take it: epoll's
    /// limit (`ENOSPC`).
    ///
    /// # Panics
    ///
    /// tokio panics in a runtime without I/O: build it with `enable_io` or `enable_all`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
    /// use unix_stream_server::{ServerSocket, tokio1};
    ///
    /// let server = ServerSocket::create(&path)?.into_tokio()?;
    /// let (client, accepted) = tokio::join!(tokio1::connect(&path), server.accept());
    /// # drop(client?); drop(accepted?);
    /// server.close().await?;
    /// # assert!(!path.exists()); Ok(()) }) }
    /// ```
    pub fn into_tokio(self) -> Result<ServerSocket, IntoPartsError> {
        // tokio#7172: a blocking descriptor would stop the runtime at the first accept that has nobody.
        if let Err(error) = self.set_nonblocking(true) {
            let error = Error::system(INTO_TOKIO, self.local_path(), "ioctl", errno_of(&error));
            return Err(IntoPartsError { error, server: Box::new(self) });
        }
        match register(self, INTO_TOKIO, Self::local_path) {
            Ok(io) => Ok(ServerSocket { io }),
            Err((server, error)) => Err(IntoPartsError { error, server: Box::new(server) }),
        }
    }
}

impl TryFrom<crate::ServerSocket> for ServerSocket {
    type Error = IntoPartsError;

    fn try_from(server: crate::ServerSocket) -> Result<Self, IntoPartsError> {
        server.into_tokio()
    }
}

impl ServerSocket {
    /// The next client.
    ///
    /// # Errors
    ///
    /// Those of accept(2). `EMFILE` and `ENFILE` leave the client queued: pause before the next call, or it spins.
    /// `ENOSPC` and `ENOMEM` where the reactor cannot take the client, which has been accepted and is closed.
    ///
    /// # Cancel safety
    ///
    /// A client is taken from the queue in the very poll that returns it, so a future that is dropped (in `select!`, by
    /// a timeout) has lost nobody.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (client, address) = self.io.async_io(Interest::READABLE, |server| server.accept()).await?;
        Ok((into_tokio(client)?, address.into()))
    }

    /// [`accept`](Self::accept) for those who write futures by hand. Only the task that polled last is woken.
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        loop {
            let mut ready = ready!(self.io.poll_read_ready(cx))?;
            // Nobody there after all: the readiness is cleared, and asked for again.
            let Ok(accepted) = ready.try_io(|server| server.get_ref().accept()) else { continue };
            return Poll::Ready(accepted.and_then(|(client, address)| Ok((into_tokio(client)?, address.into()))));
        }
    }

    /// The clients until `shutdown` is ready, then those still queued, then the end: nobody is lost.
    ///
    /// See [`Clients`], which tells what else ends them.
    pub fn clients_until(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Clients {
        Clients::new(self, Box::pin(shutdown))
    }

    /// Does the path, now, lead to this socket? Costs one stat.
    #[must_use]
    pub fn status(&self) -> Status {
        self.get_ref().status()
    }

    /// Waits until the path no longer leads to this socket, and says what it leads to:
    /// [`Gone`](Status::Gone) or [`Replaced`](Status::Replaced). Never on a doubt.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time: each call begins with a look.
    ///
    /// # Hazard
    ///
    /// Each call makes a watch, and when its future is dropped the thread is blocked for some milliseconds: see the hazards
    /// of [`Watch`](crate::Watch). In a loop around `select!` that is once for each client. There, pin one future before
    /// the loop, or have a [`Watch`](super::Watch):
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
    /// use unix_stream_server::{ServerSocket, tokio1};
    ///
    /// let server = ServerSocket::create(&path)?.into_tokio()?;
    /// # let _client = tokio1::connect(&path).await?;
    /// let mut stolen = std::pin::pin!(server.stolen());
    /// loop {
    ///     tokio::select! {
    ///         client = server.accept() => drop(client?), // serve it
    ///         _ = &mut stolen => break,
    ///     }
    /// #   std::fs::remove_file(&path)?;
    /// }
    /// # Ok(()) }) }
    /// ```
    pub async fn stolen(&self) -> Status {
        self.until(Status::is_stolen).await
    }

    /// Waits until something else stands at the path: a successor, or a thief. A path that is merely gone is not
    /// waited for, since it may come back.
    ///
    /// # Cancel safety
    ///
    /// As for [`stolen`](Self::stolen).
    ///
    /// # Hazard
    ///
    /// That of [`stolen`](Self::stolen).
    pub async fn replaced(&self) {
        self.until(|status| status == Status::Replaced).await;
    }

    async fn until(&self, is_it: impl Fn(Status) -> bool) -> Status {
        let mut changes = Changes::of(self.get_ref());
        loop {
            let status = self.status();
            if is_it(status) {
                return status;
            }
            poll_fn(|cx| changes.poll(cx)).await;
        }
    }

    /// The path, absolute where the working directory was known.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        self.get_ref().local_path()
    }

    /// Ends the server and removes its path: see [`ServerSocket::close`](crate::ServerSocket::close).
    ///
    /// # Errors
    ///
    /// Those, and `ECANCELED` if the runtime shut down before it was done; then the path was removed as by a drop.
    ///
    /// # Cancel safety
    ///
    /// From the first poll on the server ends, whether or not the future is polled to its end.
    pub async fn close(self) -> Result<Status> {
        let server = self.into_inner();
        let path = server.local_path().to_owned();
        spawn_blocking(|| server.close()).await.unwrap_or_else(|error| Err(unfinished(&path, error)))
    }

    /// Ends the server gracefully: removes the path, lets no new client in, wakes those still blocked in `connect`, and
    /// gives the clients that were queued. See [`ServerSocket::drain`](crate::ServerSocket::drain).
    ///
    /// # Errors
    ///
    /// Those, and `ECANCELED` if the runtime shut down before it was done; then the queued clients were reset.
    ///
    /// # Cancel safety
    ///
    /// None: from the first poll on the server ends, and if the future is dropped then, its queued clients are reset.
    /// [`Clients`] can be polled on and on instead.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
    /// use tokio::io::AsyncWriteExt;
    /// use unix_stream_server::{ServerSocket, tokio1};
    ///
    /// let server = ServerSocket::create(&path)?.into_tokio()?;
    /// let _client = tokio1::connect(&path).await?;
    /// let mut queued = server.drain().await?;
    /// assert!(!path.exists());
    /// while let Some(client) = queued.next().await {
    ///     client?.write_all(b"served in time\n").await?;
    /// }
    /// # Ok(()) }) }
    /// ```
    pub async fn drain(self) -> Result<Drain> {
        let server = self.into_inner();
        let path = server.local_path().to_owned();
        let drain = spawn_blocking(|| server.drain()).await.unwrap_or_else(|error| Err(unfinished(&path, error)))?;
        Ok(Drain::new(drain))
    }

    /// The server socket itself.
    #[must_use]
    pub fn get_ref(&self) -> &crate::ServerSocket {
        self.io.get_ref()
    }

    /// The server socket, out of the reactor. It is still non-blocking.
    #[must_use]
    pub fn into_inner(self) -> crate::ServerSocket {
        self.io.into_inner()
    }
}

/// The clients, one after the other, for ever.
impl Stream for ServerSocket {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.poll_accept(cx));
        Poll::Ready(Some(accepted.map(|(client, _)| client)))
    }
}

impl AsFd for ServerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl fmt::Debug for ServerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}

/// An accepted client as one of tokio's.
pub(super) fn into_tokio(client: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    client.set_nonblocking(true)?;
    UnixStream::from_std(client)
}

/// Why there is no result from the pool for what blocks.
pub(super) fn unfinished(path: &Path, error: JoinError) -> Error {
    let why = format!("the runtime was shut down before it was done: {error}");
    Error::new(ErrorKind::System, CLOSE, path, Errno::CANCELED, why)
}
