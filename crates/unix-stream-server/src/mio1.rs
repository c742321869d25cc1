//! For mio 1: the server socket as an event source. Feature `mio1`.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
//! use std::io::ErrorKind;
//! use mio::{Events, Interest, Poll, Token};
//! use unix_stream_server::ServerSocket;
//!
//! let mut server = ServerSocket::create(&path)?.into_mio()?;
//! let mut poll = Poll::new()?;
//! poll.registry().register(&mut server, Token(0), Interest::READABLE)?;
//! # let _client = unix_stream_server::connect(&path)?;
//! let mut events = Events::with_capacity(64);
//! poll.poll(&mut events, None)?;
//! loop {
//!     match server.accept() {
//!         Ok((_client, _address)) => {} // register it
//!         Err(error) if error.kind() == ErrorKind::WouldBlock => break, // nobody is left: wait for the next event
//!         Err(error) => return Err(error.into()), // EMFILE: try again later, without waiting for an event
//!     }
//! }
//! // The end: whoever is queued by now is served like the others.
//! poll.registry().deregister(&mut server)?;
//! for client in server.drain()? {
//!     let _client = client?;
//! }
//! # assert!(!path.exists()); Ok(()) }
//! ```

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::SocketAddr;

use mio::event::Source;
use mio::net::UnixStream;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::error::{Error, Result};
use crate::{IntoPartsError, Status};

/// A [`ServerSocket`](crate::ServerSocket) that does not block: from [`into_mio`](crate::ServerSocket::into_mio).
///
/// Events are edge-triggered: accept until `WouldBlock`. Dropping it removes the path and resets who is queued: see
/// [`drain`](Self::drain).
pub struct ServerSocket {
    inner: crate::ServerSocket,
}

impl crate::ServerSocket {
    /// The server socket as a source of events for mio, made non-blocking. Feature `mio1`.
    ///
    /// `O_NONBLOCK` belongs to all copies of the descriptor, those of other processes included.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2): none in practice. The socket is handed back.
    pub fn into_mio(self) -> Result<ServerSocket, IntoPartsError> {
        match self.set_nonblocking(true) {
            Ok(()) => Ok(ServerSocket { inner: self }),
            Err(error) => {
                let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL);
                let error = Error::system("give to mio the server socket at", self.local_path(), "ioctl", errno);
                Err(IntoPartsError { error, server: Box::new(self) })
            }
        }
    }
}

impl TryFrom<crate::ServerSocket> for ServerSocket {
    type Error = IntoPartsError;

    fn try_from(server: crate::ServerSocket) -> Result<Self, IntoPartsError> {
        server.into_mio()
    }
}

impl ServerSocket {
    /// The next client.
    ///
    /// # Errors
    ///
    /// Those of accept(2): `WouldBlock` (`EAGAIN`) when nobody is queued. `EMFILE` and `ENFILE` leave the client queued
    /// and bring no new event for it: try again after a pause.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (client, address) = self.inner.accept()?;
        Ok((into_mio(client)?, address))
    }

    /// Ends the server gracefully: see [`ServerSocket::drain`](crate::ServerSocket::drain). Deregister it before. It may
    /// wait for the path's lock.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn drain(self) -> Result<Drain> {
        Ok(Drain { inner: self.inner.drain()? })
    }

    /// Ends the server and removes its path: see [`ServerSocket::close`](crate::ServerSocket::close). Deregister it
    /// before.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn close(self) -> Result<Status> {
        self.inner.close()
    }

    /// The server socket itself: its path and status.
    #[must_use]
    pub fn get_ref(&self) -> &crate::ServerSocket {
        &self.inner
    }

    /// The server socket again. It is still non-blocking; deregister it before.
    #[must_use]
    pub fn into_inner(self) -> crate::ServerSocket {
        self.inner
    }
}

impl Source for ServerSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(registry)
    }
}

/// Readable when it is worth a [`check`](crate::Watch::check), which takes all that there is.
impl Source for crate::Watch {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(registry)
    }
}

impl AsFd for ServerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for ServerSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl fmt::Debug for ServerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The clients whose `connect` had succeeded when the server was closed: [`Drain`](crate::Drain) for mio.
#[derive(Debug)]
#[must_use = "the queued clients are reset when this is dropped"]
pub struct Drain {
    inner: crate::Drain,
}

impl Drain {
    /// What stood at the path just before it was removed: see [`Drain::status`](crate::Drain::status).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn status(&self) -> Result<Status, &Error> {
        self.inner.status()
    }
}

impl Iterator for Drain {
    type Item = io::Result<UnixStream>;

    /// The next client; `None` when all have been handed out. It never waits.
    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().map(|client| client.and_then(into_mio))
    }
}

impl FusedIterator for Drain {}

fn into_mio(client: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    client.set_nonblocking(true)?;
    Ok(UnixStream::from_std(client))
}
