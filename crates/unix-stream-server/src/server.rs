//! The listening socket that owns its path.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::heal::OldQueue;
use crate::ownership::Ownership;
use crate::place::Place;
use crate::protocol::{Options, Published};
use crate::sys::Handle;
use crate::{Builder, Drain, Status, UntilReplaced, Watch};

/// A listening Unix stream socket that owns its path.
///
/// [`create`](Self::create) puts it there without ever taking the path from a live server, [`status`](Self::status)
/// tells whether it still leads here, and [`close`](Self::close) or [`drain`](Self::drain) take it away again, never
/// anybody else's.
///
/// # Dropping
///
/// Dropping it removes the path under the lock, if it still leads here, and closes the listener: best effort, silent,
/// waiting at most 100 ms for the lock (200 ms if it has a life lock). Queued clients are reset. Use [`drain`](Self::drain) to lose nobody.
///
/// # Fork
///
/// A forked child that drops, closes or drains its copy changes nothing on disk and does not end its parent's server.
/// It should still not keep the copy: while it does, the kernel counts the server as alive.
pub struct ServerSocket {
    // The order is that of the drops: the name goes while the listener still keeps the inode from reuse.
    ownership: Ownership,
    listener: UnixListener,
}

impl ServerSocket {
    pub(crate) fn new(place: Place<Handle>, options: Options, published: Published<Handle>) -> Self {
        let Published { socket, id, life } = published;
        ServerSocket { ownership: Ownership::new(place, options, id, life), listener: UnixListener::from(socket) }
    }

    pub(crate) fn from_parts(ownership: Ownership, listener: UnixListener) -> Self {
        ServerSocket { ownership, listener }
    }

    pub(crate) fn take_apart(self) -> (Ownership, UnixListener) {
        (self.ownership, self.listener)
    }

    #[cfg(feature = "tokio1")]
    pub(crate) fn is_replaceable(&self) -> bool {
        self.ownership.is_replaceable()
    }

    /// Creates a server socket with the default options: mode 0600, the kernel's largest backlog, 5 seconds for the
    /// lock. See [`Builder::create`] for the errors.
    ///
    /// # Errors
    ///
    /// As for [`Builder::create`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
    /// use unix_stream_server::{ErrorKind, ServerSocket};
    ///
    /// let server = ServerSocket::create(&path)?;
    /// let second = ServerSocket::create(&path).unwrap_err();
    /// assert_eq!(second.kind(), ErrorKind::InUse);
    /// assert_eq!(second.peer().and_then(|peer| peer.pid), Some(std::process::id()));
    /// # server.close()?; Ok(()) }
    /// ```
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().create(path)
    }

    /// Options: backlog, mode, owner, timeouts, lock scope.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The next client, as of [`UnixListener::accept`]: on macOS it does not block either where this server does not.
    ///
    /// # Errors
    ///
    /// Those of accept(2). `EMFILE` and `ENFILE` leave the client queued: pause before the next call, or it spins.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.listener.accept()
    }

    /// The clients, one after the other, for ever: as of [`UnixListener::incoming`].
    pub fn incoming(&self) -> std::os::unix::net::Incoming<'_> {
        self.listener.incoming()
    }

    /// Does the path, now, lead to this socket? Costs one stat.
    #[must_use]
    pub fn status(&self) -> Status {
        self.ownership.status()
    }

    /// True if the path no longer leads to this socket; false if it does, or if that cannot be told.
    #[must_use]
    pub fn was_stolen(&self) -> bool {
        self.ownership.was_stolen()
    }

    /// Being told at once when the path is lost, or back: see [`Watch`].
    ///
    /// # Errors
    ///
    /// [`System`](crate::ErrorKind::System): no descriptors for it (`EMFILE`; it takes four); `ENOENT` if the path has been
    /// lost already, or [`Moved`](crate::ErrorKind::Moved), `ESTALE`, if it leads to something else: [`status`](Self::status)
    /// tells which, and the socket's file cannot be found any more to be watched.
    pub fn watch(&self) -> Result<Watch> {
        self.ownership.watch()
    }

    /// The address that the kernel knows it by. For a long path that is not the path: see the crate's hazards.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2): none in practice.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The path, absolute where the working directory was known.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        self.ownership.local_path()
    }

    /// `st_dev` and `st_ino` of the socket's file: which of the files at a path is, or was, this server's.
    ///
    /// They are this file's only while this value lives; afterwards the file system gives the number to another.
    #[must_use]
    pub fn device_and_inode(&self) -> (u64, u64) {
        self.ownership.device_and_inode()
    }

    /// Makes accept return `WouldBlock` instead of waiting, for event loops.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2): none in practice.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.listener.set_nonblocking(nonblocking)
    }

    /// Ends the server and removes its path, if it still leads here; says what stood there just before. Clients that
    /// wait to be accepted are reset (`ECONNRESET`): see [`drain`](Self::drain).
    ///
    /// # Errors
    ///
    /// [`Locked`](crate::ErrorKind::Locked) if the lock was not had within the timeout, or
    /// [`System`](crate::ErrorKind::System) if the name could not be removed: the server has ended all the same, and a
    /// dead socket stays, for the next start to replace. Where the path has been lost already there is nothing to remove,
    /// and no error. [`Forked`](crate::ErrorKind::Forked) in a forked child, which
    /// changes nothing.
    ///
    /// # Race condition
    ///
    /// Between a check and an unlink a successor could have come, whose socket would be deleted. It cannot here: both
    /// happen under the path's lock, and while the listener is open, so that no inode number is taken for another.
    pub fn close(self) -> Result<Status> {
        self.ownership.close_with(OwnedFd::from(self.listener))
    }

    /// Ends the server gracefully: removes the path, lets no new client in, wakes those still blocked in `connect`, and
    /// hands out the clients that were queued.
    ///
    /// # Errors
    ///
    /// [`Forked`](crate::ErrorKind::Forked) in a forked child; nothing was changed. What else can go wrong is told by
    /// [`Drain::status`], since the clients have to be served whatever happened to the name.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
    /// use std::io::Write;
    /// use unix_stream_server::{ServerSocket, connect};
    ///
    /// let server = ServerSocket::create(&path)?;
    /// let _client = connect(&path)?;
    /// for client in server.drain()? {
    ///     client?.write_all(b"served in time\n")?;
    /// }
    /// assert!(!path.exists());
    /// # Ok(()) }
    /// ```
    pub fn drain(self) -> Result<Drain> {
        self.ownership.drain(self.listener)
    }

    /// After a take-over ([`Builder::take_over`]) with [`LockScope::Lifetime`](crate::LockScope::Lifetime): waits until
    /// the predecessor has drained and given the life lock back, and takes it. Only then touch what the two share.
    /// Clients queue at the new server meanwhile. From then on this server may be replaced in turn, if it allows that.
    ///
    /// Returns at once where there is no life lock to wait for.
    ///
    /// To be called by each such successor. On NFS and its like, and on the BSDs, a server that never has the life lock
    /// cannot be proven dead once it is; until it has it, its socket's file has the set-user-ID bit there (`srwS------`).
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse) if the predecessor has not ended within `timeout`, and others as for
    /// [`Builder::create`]: the server goes on without the life lock, and this may be tried again.
    pub fn wait_for_predecessor(&mut self, timeout: Duration) -> Result<()> {
        self.ownership.wait_for_predecessor(timeout)
    }

    /// The clients until this server has been replaced, or has lost its path in another way, and then those who are
    /// left: the whole life of a server that is [`replaceable`](Builder::replaceable).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
    /// use std::io::Write;
    /// use unix_stream_server::ServerSocket;
    ///
    /// let builder = ServerSocket::builder().replaceable(true).take_over(true);
    /// let first = builder.create(&path)?;
    /// let second = builder.create(&path)?; // another process, in real life
    /// for client in first.until_replaced() {
    ///     client?.write_all(b"hello\n")?;
    /// }
    /// // The first has served all that came to it, and has ended.
    /// # second.close()?; Ok(()) }
    /// ```
    pub fn until_replaced(self) -> UntilReplaced {
        UntilReplaced::new(self)
    }

    /// Puts a new socket at the path if that has been deleted (by a cleaner of old files, by somebody with `rm`), with the
    /// same options, and owns it from then on. `None` if the path still leads to this server: nothing was done. Else the
    /// clients still queued at the old socket, to be served.
    ///
    /// Nothing is replaced: whatever stands at the path by now, be it a dead socket, is left alone, and is an error. A life
    /// lock whose file was deleted as well is made anew. The descriptor is another one: give it to event loops again, and
    /// make a new [`Watch`]. It blocks or not as before; what else was set on the old one by setsockopt(2), set again.
    ///
    /// # Errors
    ///
    /// Everything is as before, and the old socket goes on.
    ///
    /// | [`ErrorKind`](crate::ErrorKind) | errno | when |
    /// |---|---|---|
    /// | `InUse` | `EADDRINUSE` | a server lives at the path, or another has the life lock |
    /// | `Moved` | `ESTALE` | another server's dead socket is there; or the path led elsewhere in the middle of it, or somebody deleted the new socket or its lock at once |
    /// | `NotASocket` | `ENOTSOCK` | something else is there |
    /// | `CannotTell` | that of the look | it could not be looked at |
    /// | `Locked` | `EEXIST`, `EACCES` | the lock was not had in time |
    /// | `Forked` | `EPERM` | in a forked child |
    /// | `System` | its own | the directory is gone or not writable; no descriptors left |
    ///
    /// # Race condition
    ///
    /// A new server may start just then. Both look and bind under the path's lock, so that one of them gets it, and the
    /// other finds it in use.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
    /// use unix_stream_server::{ServerSocket, Status, connect};
    ///
    /// let mut server = ServerSocket::create(&path)?;
    /// let _queued = connect(&path)?;
    /// std::fs::remove_file(&path)?;
    /// assert_eq!(server.status(), Status::Gone);
    /// for client in server.heal()?.into_iter().flatten() {
    ///     drop(client?); // serve it
    /// }
    /// assert_eq!(server.status(), Status::Ours);
    /// connect(&path)?;
    /// # server.close()?; Ok(()) }
    /// ```
    pub fn heal(&mut self) -> Result<Option<OldQueue>> {
        let Some(listener) = self.ownership.heal(&self.listener)? else { return Ok(None) };
        Ok(Some(OldQueue::new(std::mem::replace(&mut self.listener, listener))))
    }

    /// The listener for a runtime that wants to have it, and the ownership of its path.
    ///
    /// # Errors
    ///
    /// The socket is handed back if its inode could not be pinned: no descriptors (`EMFILE`), or the path no longer
    /// leads to it (`ESTALE`, `ENOENT`).
    pub fn into_parts(mut self) -> Result<(UnixListener, Ownership), IntoPartsError> {
        match self.ownership.pin() {
            Ok(()) => Ok((self.listener, self.ownership)),
            Err(error) => Err(IntoPartsError { error, server: Box::new(self) }),
        }
    }

    /// The listener alone, for a program that leaves its path behind on purpose or removes it by other means. A dead
    /// socket stays there once the listener is closed; the next start replaces it. A life lock is given back, so that on file
    /// systems where a refusal proves nothing the next start fails with [`CannotTell`](crate::ErrorKind::CannotTell).
    ///
    /// Where the path is to be removed, use [`into_parts`](Self::into_parts).
    #[must_use]
    pub fn into_listener(self) -> UnixListener {
        self.ownership.leave_path();
        self.listener
    }

    /// Makes this process the one that removes the path: see [`Ownership::move_to_this_process`].
    pub fn move_to_this_process(&mut self) {
        self.ownership.move_to_this_process();
    }
}

impl AsFd for ServerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AsRawFd for ServerSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

impl fmt::Debug for ServerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSocket")
            .field("path", &self.local_path())
            .field("fd", &self.as_raw_fd())
            .finish_non_exhaustive()
    }
}

/// [`ServerSocket::into_parts`] failed; the server is in here, unharmed.
#[derive(Debug)]
pub struct IntoPartsError {
    /// Why.
    pub error: Error,
    /// The server as it was.
    pub server: Box<ServerSocket>,
}

impl fmt::Display for IntoPartsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for IntoPartsError {}

impl From<IntoPartsError> for Error {
    fn from(error: IntoPartsError) -> Self {
        error.error
    }
}
