//! What can be said of a path, of who stands behind it, and of a file's kind.

use std::fmt;

use rustix::io::Errno;

use crate::error::describe;

/// What stands at a path, as far as this kernel can tell. The answer of [`probe`](crate::probe()).
///
/// It is what *was* true: without the path's lock the next system call may find something else. Only
/// [`ServerSocket::create`](crate::ServerSocket::create), which holds the lock while it judges, acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathState {
    /// Nothing: no such name, or a symbolic link to no such name (`ENOENT`).
    Absent,
    /// A socket that nobody listens on (`ECONNREFUSED`), on a file system where this kernel would know.
    ///
    /// A socket between `bind` and `listen`, and one that is being drained, look the same.
    Dead,
    /// A stream server that accepts connections.
    Live {
        /// Who called `listen` on it, where the kernel says.
        peer: Option<PeerCredentials>,
    },
    /// A stream server whose backlog is full (`EAGAIN`): as live as the one above, and its owner is not told.
    Busy,
    /// A live datagram or seqpacket socket (`EPROTOTYPE`).
    OtherType,
    /// Not a socket at all. Nothing here ever touches it.
    NotASocket {
        /// What it is instead.
        kind: FileKind,
    },
    /// The question has no answer: no permission, no descriptors, a file system shared with other hosts.
    CannotTell {
        /// Why, as the raw errno of the call that failed; `ECONNREFUSED` on a file system not known to be local.
        errno: i32,
    },
}

impl fmt::Display for PathState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathState::Absent => f.write_str("absent"),
            PathState::Dead => f.write_str("dead"),
            PathState::Live { peer: Some(peer) } => write!(f, "live, held by {peer}"),
            PathState::Live { peer: None } => f.write_str("live"),
            PathState::Busy => f.write_str("live, with a full backlog"),
            PathState::OtherType => f.write_str("live, but not a stream socket"),
            PathState::NotASocket { kind } => write!(f, "not a socket but a {kind}"),
            PathState::CannotTell { errno } => {
                write!(f, "cannot tell: {}", describe(Errno::from_raw_os_error(*errno)))
            }
        }
    }
}

/// Does the path, now, lead to our socket? The answer of [`ServerSocket::status`](crate::ServerSocket::status).
///
/// The path here is the name in the directory that was opened at creation. A directory that is renamed takes the
/// server along and is no theft; nor is a symbolic link that is flipped somewhere above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It does.
    Ours,
    /// Nothing is there any more: deleted, or moved away.
    Gone,
    /// Something else is there.
    Replaced,
    /// It could not be looked at. Not a theft.
    Unknown {
        /// The raw errno of the look.
        errno: i32,
    },
}

impl Status {
    /// True for [`Gone`](Status::Gone) and [`Replaced`](Status::Replaced), and never on a doubt.
    #[must_use]
    pub fn is_stolen(self) -> bool {
        matches!(self, Status::Gone | Status::Replaced)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Ours => f.write_str("ours"),
            Status::Gone => f.write_str("gone"),
            Status::Replaced => f.write_str("replaced"),
            Status::Unknown { errno } => {
                write!(f, "unknown: {}", describe(Errno::from_raw_os_error(*errno)))
            }
        }
    }
}

/// Who is at the other end, as the kernel recorded it (`SO_PEERCRED`, unix(7)).
///
/// For a server these are the credentials of the last call of `listen`, for a client those of its `connect`. The
/// process may have ended since and its pid may name another: the pid is a hint, the uid is what rules should check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Its process; `None` where it cannot be seen from our pid namespace.
    pub pid: Option<u32>,
    /// Its effective user id at that moment.
    pub uid: u32,
    /// Its effective group id at that moment.
    pub gid: u32,
}

impl fmt::Display for PeerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid} (uid {})", self.uid),
            None => write!(f, "a process that cannot be seen from here (uid {})", self.uid),
        }
    }
}

/// The kind of a file that is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum FileKind {
    Regular,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharacterDevice,
    BlockDevice,
    Unknown,
}

impl FileKind {
    /// The kind as one lower-case word or two, for people and for JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FileKind::Regular => "regular file",
            FileKind::Directory => "directory",
            FileKind::Symlink => "symbolic link",
            FileKind::Fifo => "fifo",
            FileKind::Socket => "socket",
            FileKind::CharacterDevice => "character device",
            FileKind::BlockDevice => "block device",
            FileKind::Unknown => "file of unknown kind",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
