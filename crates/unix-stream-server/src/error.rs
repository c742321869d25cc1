//! One error for everything: what failed, on which path, with the raw errno, and what to do next.

use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::io::Errno;

use crate::sys::BUSY_LOOKS_DEAD;
use crate::{FileKind, PathState, PeerCredentials};

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, on which path, with which errno.
///
/// Its message is one lower-case line that names the path, the reason, who is in the way where that is known, and
/// what to do. It converts to [`io::Error`] by the errno alone, so that `raw_os_error()` survives.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    path: PathBuf,
    errno: Errno,
    peer: Option<PeerCredentials>,
    status: Option<ExitStatus>,
    why: String,
}

/// The conditions a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A server lives at the path, or its life lock is held (`EADDRINUSE`). See [`Error::peer`].
    InUse,
    /// The path's lock was not had within the timeout (`EEXIST`), another user left it behind (`EACCES`), or the wait was
    /// called off (`EINTR`).
    Locked,
    /// Something that is not a socket stands at the path; it was not touched (`ENOTSOCK`).
    NotASocket,
    /// Whether a server lives at the path could not be found out, so nothing was changed (the errno of the attempt).
    CannotTell,
    /// The path, or its last component, is longer than the system takes (`ENAMETOOLONG`).
    PathTooLong,
    /// The path is empty, has a NUL, ends in a slash, `.` or `..`, or in `.<32 hex digits>.new`, which is a temporary name of
    /// take-overs; or an option is out of range (`EINVAL`).
    Invalid,
    /// The path led somewhere else than a moment before: a symbolic link or directory above it changed, or the new socket
    /// or its lock was deleted before it was a server's; or it leads to another server's dead socket, where a server wanted its own back (`ESTALE`).
    Moved,
    /// Called in a forked child, which does not own its parent's socket (`EPERM`).
    Forked,
    /// The server's backlog was full, or a server that was being started let nobody in, for the whole time given
    /// (`ETIMEDOUT`).
    TimedOut,
    /// The server is of another user than expected; nothing was sent to it (`EPERM`).
    WrongPeer,
    /// A directory is not ours alone: another user owns it, or may write to it (`EPERM`).
    NotPrivate,
    /// A descriptor that was handed in is not a listening stream Unix socket: closed (`EBADF`), no socket (`ENOTSOCK`), of
    /// another family (`EAFNOSUPPORT`) or type (`EPROTOTYPE`), or not listening (`EINVAL`).
    NotAListener,
    /// What was handed in by the environment has been taken already, by an earlier call or another library (`EALREADY`).
    AlreadyTaken,
    /// A server was started and ended before it let its client in (`ECONNRESET`; see [`Error::exit_status`]), or its
    /// program could not be run (`ENOENT`, `EACCES` and what else execve(2) says).
    StartFailed,
    /// A system call failed; the errno says how.
    System,
}

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        operation: &'static str,
        path: impl Into<PathBuf>,
        errno: Errno,
        why: impl Into<String>,
    ) -> Self {
        Error(Box::new(Inner { kind, operation, path: path.into(), errno, peer: None, status: None, why: why.into() }))
    }

    pub(crate) fn system(operation: &'static str, path: impl Into<PathBuf>, call: &str, errno: Errno) -> Self {
        let why = format!("{call}: {}{}", describe(errno), remedy(errno));
        Error::new(ErrorKind::System, operation, path, errno, why)
    }

    /// The error for a path where a server cannot be put because of what stands there.
    pub(crate) fn refused(operation: &'static str, path: impl Into<PathBuf>, state: PathState) -> Self {
        let path = path.into();
        match state {
            PathState::NotASocket { kind } => {
                let why = format!("a {kind} is there, and it was not touched; {}", remedy_for(kind));
                Error::new(ErrorKind::NotASocket, operation, path, Errno::NOTSOCK, why)
            }
            PathState::CannotTell { errno } => {
                let errno = Errno::from_raw_os_error(errno);
                let why = match errno {
                    Errno::CONNREFUSED if BUSY_LOOKS_DEAD => "cannot tell whether its server is dead: one with a full \
                        backlog would refuse just the same here, and no life lock was left behind that would prove it; \
                        if no server runs, remove the socket"
                        .to_owned(),
                    Errno::CONNREFUSED => "cannot tell whether its server is dead: the file system may be shared with \
                        another kernel, where it would refuse just the same; use a local directory"
                        .to_owned(),
                    Errno::NOENT | Errno::NOTDIR => {
                        "cannot tell whether its server is alive: /proc/thread-self/fd is missing \
                        or belongs to another mount namespace; mount /proc"
                            .to_owned()
                    }
                    errno => format!("cannot tell whether its server is alive: {}{}", describe(errno), remedy(errno)),
                };
                Error::new(ErrorKind::CannotTell, operation, path, errno, why)
            }
            PathState::Live { peer: Some(peer) } => {
                let why = format!("in use by {peer}; stop it or choose another path");
                Error::new(ErrorKind::InUse, operation, path, Errno::ADDRINUSE, why).with_peer(Some(peer))
            }
            PathState::OtherType => {
                let why = "in use by a datagram or seqpacket socket; choose another path";
                Error::new(ErrorKind::InUse, operation, path, Errno::ADDRINUSE, why)
            }
            PathState::Busy => {
                let why = "in use by a server whose backlog is full; stop it or choose another path";
                Error::new(ErrorKind::InUse, operation, path, Errno::ADDRINUSE, why)
            }
            PathState::Live { peer: None } | PathState::Absent | PathState::Dead => {
                let why = "in use by a server; stop it or choose another path";
                Error::new(ErrorKind::InUse, operation, path, Errno::ADDRINUSE, why)
            }
        }
    }

    /// Adds to the reason.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.0.why.push_str("; ");
        self.0.why.push_str(more);
        self
    }

    pub(crate) fn with_peer(mut self, peer: Option<PeerCredentials>) -> Self {
        self.0.peer = peer;
        self
    }

    pub(crate) fn with_exit_status(mut self, status: ExitStatus) -> Self {
        self.0.status = Some(status);
        self
    }

    /// The condition.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The path as given, made absolute where the working directory was known.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What was being done, as a fragment that follows "cannot", such as `create a server socket at`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Why it failed and what to do about it: the message without operation and path.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.why
    }

    /// The raw errno; every error here has one.
    #[must_use]
    pub fn raw_os_error(&self) -> i32 {
        self.0.errno.raw_os_error()
    }

    /// How the server ended that was to be started, for [`ErrorKind::StartFailed`]; `None` if its program could not be
    /// run.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.status
    }

    /// Who holds the path, for [`ErrorKind::InUse`] and [`ErrorKind::WrongPeer`] where the kernel told.
    #[must_use]
    pub fn peer(&self) -> Option<PeerCredentials> {
        self.0.peer
    }

    /// True for [`ErrorKind::InUse`]: somebody else serves this path.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.kind() == ErrorKind::InUse
    }
}

/// The system's own words for an errno, without std's "(os error N)".
pub(crate) fn describe(errno: Errno) -> String {
    let text = io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.rsplit_once(" (os error").map_or(text.as_str(), |(text, _)| text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => format!("errno {}", errno.raw_os_error()),
    }
}

fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "; create the directory first",
        Errno::NOTDIR => "; a part of the path before the last is not a directory",
        Errno::ACCESS | Errno::PERM => "; check the owner and mode of the directory and of what is in it",
        Errno::ROFS => "; choose a directory that can be written",
        Errno::MFILE => "; raise RLIMIT_NOFILE",
        Errno::NFILE => "; the whole system is out of file descriptors",
        Errno::NOSPC | Errno::DQUOT => "; make room on the file system",
        _ => "",
    }
}

fn remedy_for(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Symlink => "give the path it leads to, or remove the link yourself",
        _ => "move it away or choose another path",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.0.path.as_os_str().is_empty() { Path::new("\"\"") } else { &self.0.path };
        let line = format!("cannot {} {}: {}", self.0.operation, path.display(), self.0.why);
        // One line, whatever the path: what it has of control characters could forge another, or command a terminal.
        line.chars().try_for_each(|letter| match letter.is_control() {
            true => write!(f, "{}", letter.escape_default()),
            false => f.write_char(letter),
        })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("path", &self.0.path)
            .field("errno", &self.0.errno)
            .field("peer", &self.0.peer)
            .field("why", &self.0.why)
            .finish()
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    /// Keeps the errno and gives up the message: an `io::Error` cannot hold both.
    fn from(error: Error) -> Self {
        io::Error::from_raw_os_error(error.raw_os_error())
    }
}
