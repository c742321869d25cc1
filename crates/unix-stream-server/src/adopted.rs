//! A listening socket that somebody else made.

mod listener;
mod located;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::ownership::Ownership;
use crate::process::Process;
use crate::sys::bound;
use crate::{Builder, Drain, ServerSocket, Status};

pub(crate) use listener::{Fault, check, refresh};
use located::Located;

pub(crate) const ADOPT: &str = "adopt";
const OWN: &str = "take over the duty to remove";

/// A listening socket that was handed in: by a service manager ([`from_env`](crate::from_env)) or by a parent or peer
/// ([`adopt`]).
///
/// Whoever made it has a copy, as a rule, goes on listening when this one ends, and has the path. So nothing here unlinks
/// it or shuts it down, **unless the duty to remove it was handed over as well**: by [`own_path`](Self::own_path), or by
/// the starter in `UNIX_SS_OWNED_PATH` ([`from_env`](crate::from_env) tells how). With the duty it is a [`ServerSocket`]
/// in all but its origin, and [`into_server`](Self::into_server) makes it one.
///
/// | | without the duty | with it |
/// |---|---|---|
/// | drop, [`close`](Self::close) | our copy is closed; the path and the queue stay | the path is removed, under its lock |
/// | [`drain`](Self::drain) | as `close`: the queue is handed back | as [`ServerSocket::drain`] |
///
/// # Credentials
///
/// A client that asks who serves (`SO_PEERCRED`) is told who called listen(2) last. Adopting calls it once more, with
/// the same backlog, so that this is we and not the manager; the queue stays as it is. A program that gives up privileges
/// later calls [`refresh_credentials`](Self::refresh_credentials) after that.
///
/// NetBSD and OpenBSD go on telling of whoever called bind(2), and nothing changes that.
///
/// # Hazards
///
/// - `O_NONBLOCK` belongs to the socket and not to the copy: it is as the maker left it, and
///   [`set_nonblocking`](Self::set_nonblocking) sets it for everybody who has a copy.
/// - If *nobody* else has a copy (`systemd-socket-activate` becomes the program that it starts, and keeps none), then
///   there is nobody to hand the queue back to: who is in it when the last copy is closed is reset. No system call tells
///   how many copies there are. Where you know that yours is the last, use [`own_path`](Self::own_path), or
///   [`drain_all_copies`](Self::drain_all_copies).
pub struct AdoptedSocket {
    // The order is that of the drops: the name goes while the listener still keeps the inode from reuse.
    path: Known,
    listener: UnixListener,
    name: Option<String>,
    process: Process,
}

/// What is known of the path.
enum Known {
    /// None leads to it, as far as can be seen: an abstract or relative name, or one through a descriptor.
    Nowhere,
    /// Where it was bound.
    Located(Located),
    /// The same, and it is ours to remove.
    Owned(Ownership),
    /// It was, and is no more.
    Left(Ownership),
}

/// Takes a listening socket over that came by other means than the environment: over another socket (`SCM_RIGHTS`), or
/// inherited under a number that was agreed on.
///
/// It is made close-on-exec, and listen(2) is called on it with the backlog it has: see [`AdoptedSocket`].
///
/// # Errors
///
/// [`NotAListener`](ErrorKind::NotAListener) if it is anything else than a listening Unix stream socket, or
/// [`System`](ErrorKind::System). The descriptor comes back in the error, as it was.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
/// use std::os::unix::net::UnixListener;
/// use unix_stream_server::{adopt, connect};
///
/// let made_by_somebody = UnixListener::bind(&path)?;
/// let socket = adopt(made_by_somebody)?;
/// let _client = connect(&path)?;
/// socket.accept()?;
/// drop(socket);
/// assert!(path.exists(), "it was not ours to remove");
/// # Ok(()) }
/// ```
pub fn adopt(fd: impl Into<OwnedFd>) -> Result<AdoptedSocket, AdoptError> {
    let fd = fd.into();
    let number = fd.as_raw_fd();
    let refused = |fault: Fault| fault.into_error(number, None);
    let adopted = check(fd.as_fd()).map_err(refused).and_then(|()| {
        let bound = refresh(fd.as_fd()).map_err(|errno| failed(number, "listen", errno))?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).map_err(|errno| failed(number, "fcntl", errno))?;
        Ok(bound)
    });
    match adopted {
        Ok(bound) => Ok(AdoptedSocket::new(UnixListener::from(fd), None, bound)),
        Err(error) => Err(AdoptError { error, fd }),
    }
}

/// The error for a descriptor that has no path of its own to be named by.
pub(crate) fn failed(number: RawFd, call: &str, errno: Errno) -> Error {
    Error::system(ADOPT, shown(number), call, errno)
}

pub(crate) fn shown(number: RawFd) -> String {
    format!("/proc/self/fd/{number}")
}

impl AdoptedSocket {
    /// Of a listener that was checked and refreshed, and where the kernel says that it is bound.
    pub(crate) fn new(listener: UnixListener, name: Option<String>, bound: Result<bound::Bound, Errno>) -> Self {
        let path = Located::by_name(&listener, bound).map_or(Known::Nowhere, Known::Located);
        AdoptedSocket { path, listener, name, process: Process::current() }
    }

    /// What the manager calls it (`FileDescriptorName=`, LISTEN_FDNAMES; `unknown` if it gave no names); `None` if it did
    /// not come by the environment.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The next client, as of [`UnixListener::accept`].
    ///
    /// # Errors
    ///
    /// Those of accept(2); `EAGAIN` where the maker left the socket non-blocking.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.listener.accept()
    }

    /// The clients, one after the other, for ever: as of [`UnixListener::incoming`].
    pub fn incoming(&self) -> std::os::unix::net::Incoming<'_> {
        self.listener.incoming()
    }

    /// Makes accept return `WouldBlock` instead of waiting, or wait again: for everybody who has a copy.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2): none in practice.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.listener.set_nonblocking(nonblocking)
    }

    /// The path that it was bound to, or that [`own_path`](Self::own_path) named. `None` where that is no path that could
    /// be looked at: an abstract or relative name, or one that went through a descriptor (`/proc/self/fd/...`).
    #[must_use]
    pub fn local_path(&self) -> Option<&Path> {
        match &self.path {
            Known::Nowhere => None,
            known => Some(known.shown()),
        }
    }

    /// Does the path, now, lead to this socket? `None` without a [path](Self::local_path).
    ///
    /// [`Gone`](Status::Gone) and [`Replaced`](Status::Replaced) are said only of a path that was seen to lead here when
    /// the socket was adopted. One that did not, or where it could not be seen, stays [`Unknown`](Status::Unknown): it
    /// may be one of another mount namespace. Its errno is `ESTALE`, or what the kernel said when it was asked where the
    /// socket is bound (`NETLINK_SOCK_DIAG`).
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match &self.path {
            Known::Nowhere => None,
            Known::Located(located) => Some(located.status()),
            Known::Owned(ownership) | Known::Left(ownership) => Some(ownership.status()),
        }
    }

    /// True if the path no longer leads to this socket; false if it does, or if that cannot be told.
    #[must_use]
    pub fn was_stolen(&self) -> bool {
        self.status().is_some_and(Status::is_stolen)
    }

    /// Calls listen(2) once more, so that new clients see the credentials that this process has *now* (not on NetBSD and
    /// OpenBSD, where they see those of the call of bind(2)). Clients in the
    /// queue stay there, and keep what they saw. The backlog stays what it was, where the kernel tells
    /// (`NETLINK_SOCK_DIAG`), and is the kernel's largest otherwise.
    ///
    /// # Errors
    ///
    /// Those of listen(2): none in practice.
    pub fn refresh_credentials(&self) -> io::Result<()> {
        refresh(self.listener.as_fd()).map(drop)?;
        Ok(())
    }

    /// Calls listen(2) with another backlog, which also refreshes the credentials.
    ///
    /// # Errors
    ///
    /// Those of listen(2): none in practice.
    pub fn set_backlog(&self, clients: u32) -> io::Result<()> {
        Ok(rustix::net::listen(&self.listener, i32::try_from(clients).unwrap_or(i32::MAX))?)
    }

    /// Is the path ours to remove at the end?
    #[must_use]
    pub fn owns_path(&self) -> bool {
        matches!(self.path, Known::Owned(_))
    }

    /// Takes over the duty to remove `path`, which must lead to this socket: from now on closing, draining and dropping
    /// it do what they do with a [`ServerSocket`].
    ///
    /// To be called by the one who is to be the last to serve it, and only if whoever had the duty has given it up: see
    /// "Handing it over" at [`from_env`](crate::from_env).
    ///
    /// That the path leads here is proven, not believed: the kernel names the file that the socket is bound to
    /// (`NETLINK_SOCK_DIAG`). Where it does not (the module is missing, another network namespace, an inode number of over 32
    /// bits, a file system with device numbers of its own), the path is connected to, and the answer must come from a
    /// listener of this process, bound by a name that leads to the same file; that costs one client that leaves without
    /// a word. There, two sockets of one process that were bound to one name are not told apart. On systems other than
    /// Linux and FreeBSD the answer does not tell who listens, so a socket that another process has bound is `CannotTell`.
    ///
    /// # Errors
    ///
    /// The socket is as before.
    ///
    /// | [`ErrorKind`] | errno | when |
    /// |---|---|---|
    /// | `Moved` | `ESTALE` | the path leads to something else, or nowhere |
    /// | `CannotTell` | that of the attempt | it could not be proven either way |
    /// | `Invalid`, `PathTooLong` | `EINVAL`, `ENAMETOOLONG` | it can name no socket; it owns another name already |
    /// | `Forked` | `EPERM` | in a forked child |
    /// | `System` | its own | the directory cannot be opened |
    pub fn own_path(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.process.check(OWN, path)?;
        let located = Located::proven(&self.listener, path, OWN)?;
        if let Known::Owned(ownership) = &self.path {
            if ownership.local_path() == located.shown() {
                return Ok(());
            }
            let why = format!("it is to remove {} already; a socket has one path", ownership.local_path().display());
            return Err(Error::new(ErrorKind::Invalid, OWN, path, Errno::INVAL, why));
        }
        self.path = match located.into_parts() {
            (place, Ok(id)) => Known::Owned(Ownership::new(place, Builder::new().into_options(), id, None)),
            (_, Err(errno)) => return Err(Error::system(OWN, path, "fstat", errno)),
        };
        Ok(())
    }

    /// Takes the duty that a variable of the environment hands over, if the path leads to this socket. Where it does
    /// not, or nobody knows, the path is left to be found dead: too little is removed rather than too much.
    pub(crate) fn own_if_proven(&mut self, path: &Path, is_only_one: bool) {
        if self.own_path(path).is_err() && is_only_one && matches!(self.path, Known::Nowhere) {
            self.path = Located::unproven(path).map_or(Known::Nowhere, Known::Located);
        }
    }

    /// Gives the duty to remove the path up; what stands there stays. Without the duty nothing changes.
    pub fn leave_path(&mut self) {
        self.path = match std::mem::replace(&mut self.path, Known::Nowhere) {
            Known::Owned(mut ownership) => {
                ownership.disarm();
                Known::Left(ownership)
            }
            known => known,
        };
    }

    /// With the duty to remove its path, the server socket that it is; else itself again.
    ///
    /// # Errors
    ///
    /// The socket as it was, if the path is not ours to remove.
    pub fn into_server(self) -> Result<ServerSocket, Box<AdoptedSocket>> {
        match self.path {
            Known::Owned(ownership) => Ok(ServerSocket::from_parts(ownership, self.listener)),
            path => Err(Box::new(AdoptedSocket { path, ..self })),
        }
    }

    /// The listener alone, for a runtime. A duty to remove the path ends: use [`into_server`](Self::into_server) and
    /// [`ServerSocket::into_parts`] to keep it.
    #[must_use]
    pub fn into_listener(mut self) -> UnixListener {
        self.leave_path();
        self.listener
    }

    /// Ends our part. Without the duty our copy is closed, and who is queued waits for whoever has another. With it the
    /// server ends, as by [`ServerSocket::close`]. Says what stood at the path, if there is one.
    ///
    /// # Errors
    ///
    /// Only with the duty, as for [`ServerSocket::close`].
    pub fn close(self) -> Result<Option<Status>> {
        match self.path {
            Known::Owned(ownership) => ownership.close_with(OwnedFd::from(self.listener)).map(Some),
            _ => Ok(self.status()),
        }
    }

    /// Ends our part, and loses no client.
    ///
    /// With the duty to remove the path as [`ServerSocket::drain`]: nobody gets in any more, and who is queued is handed
    /// out. Without it, our copy is closed and nobody is handed out: the queue goes back to whoever else has a copy,
    /// such as a service manager, who sees that there are clients and starts the next server. To shut the socket down,
    /// as a server that owns it does, would shut it for the manager too: every later client would be refused.
    ///
    /// # Errors
    ///
    /// [`Forked`](ErrorKind::Forked) in a forked child; nothing was changed.
    pub fn drain(self) -> Result<Drain> {
        self.check_process()?;
        let status = self.status();
        match self.path {
            Known::Owned(ownership) => ownership.drain(self.listener),
            path => Ok(Drain::handed_back(path.shown(), status)),
        }
    }

    /// Shuts the socket down **for everybody who has a copy**, the service manager included, and hands out who is queued.
    /// The path is removed only with the duty. Without it a dead socket stays there, which its owner, or the next start,
    /// replaces.
    ///
    /// For a program that knows that it has the last copy, or that the service is to end for good.
    ///
    /// # Errors
    ///
    /// [`Forked`](ErrorKind::Forked) in a forked child; nothing was changed.
    pub fn drain_all_copies(self) -> Result<Drain> {
        self.check_process()?;
        let status = self.status();
        match self.path {
            Known::Owned(ownership) => ownership.drain(self.listener),
            path => Ok(Drain::of_shut(listener::shut(self.listener), path.shown(), status)),
        }
    }

    /// Makes this process the one that has the duty: see [`Ownership::move_to_this_process`].
    pub fn move_to_this_process(&mut self) {
        self.process = Process::current();
        if let Known::Owned(ownership) = &mut self.path {
            ownership.move_to_this_process();
        }
    }

    fn check_process(&self) -> Result<()> {
        self.process.check("drain the adopted socket at", self.local_path().unwrap_or(Path::new("(no path)")))
    }
}

impl Known {
    fn shown(&self) -> &Path {
        match self {
            Known::Nowhere => Path::new(""),
            Known::Located(located) => located.shown(),
            Known::Owned(ownership) | Known::Left(ownership) => ownership.local_path(),
        }
    }
}

/// A server that made its own socket, for a program that serves whichever it has.
impl From<ServerSocket> for AdoptedSocket {
    fn from(server: ServerSocket) -> Self {
        let (ownership, listener) = server.take_apart();
        AdoptedSocket { path: Known::Owned(ownership), listener, name: None, process: Process::current() }
    }
}

impl AsFd for AdoptedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AsRawFd for AdoptedSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

impl fmt::Debug for AdoptedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdoptedSocket")
            .field("name", &self.name)
            .field("path", &self.local_path())
            .field("owns_path", &self.owns_path())
            .field("fd", &self.as_raw_fd())
            .finish_non_exhaustive()
    }
}

/// [`adopt`] failed; the descriptor is in here, unharmed.
#[derive(Debug)]
pub struct AdoptError {
    /// Why.
    pub error: Error,
    /// The descriptor as it was.
    pub fd: OwnedFd,
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for AdoptError {}

impl From<AdoptError> for Error {
    fn from(error: AdoptError) -> Self {
        error.error
    }
}
