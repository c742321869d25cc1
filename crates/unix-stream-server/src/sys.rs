//! The seam: every call by which the protocol touches the world, one method a system call.
//!
//! The shipping protocol runs over [`linux::Linux`]; in the unit tests the same code runs over a simulated kernel
//! (`crate::sim`), which tries every schedule and every crash. No method here decides anything.

pub(crate) mod bound;
pub(crate) mod diag;
pub(crate) mod fork_mark;
pub(crate) mod inherited;
pub(crate) mod linux;
pub(crate) mod overflow;
pub(crate) mod peercred;
pub(crate) mod queue;
pub(crate) mod spawn;

use std::ffi::CStr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::{FileKind, PeerCredentials};

/// A file, as long as something keeps it from being freed: inode numbers are reused at once (field fact, see
/// `kernel_facts`), so an id is compared only while a listener, a lock or a pin holds its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

/// What stat(2) says, as far as the protocol asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stat {
    pub(crate) id: FileId,
    pub(crate) kind: FileKind,
    /// The permission bits with set-id and sticky: `mode & 0o7777`.
    pub(crate) mode: u32,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) uid: u32,
    /// st_ctime in seconds and nanoseconds; with the id it tells one file from the next of the same number.
    pub(crate) changed: (i64, u64),
}

/// What `/proc/locks` says of a flock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FlockHolder {
    Process(u32),
    /// The list was read and nobody that we can see holds it.
    Nobody,
    /// The list could not be read.
    Unknown,
}

/// How far a file system reaches: what a refused connection, and a flock, prove there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// Every listener and every flock on it are this kernel's.
    Local,
    /// Listeners may be other kernels', and their flocks are seen here.
    SharedWithLocks,
    /// Anything may be another kernel's, unseen.
    Unknown,
}

pub(crate) trait Sys {
    /// An open descriptor; dropping it closes it.
    type Fd;

    /// `openat(dir, name, O_CREAT|O_EXCL|O_NOFOLLOW, 01400)`
    fn create_lock(&self, dir: &Self::Fd, name: &CStr) -> Result<Self::Fd, Errno>;
    /// `openat(dir, name, O_RDONLY|O_NONBLOCK|O_NOCTTY|O_NOFOLLOW)`
    fn open_lock(&self, dir: &Self::Fd, name: &CStr) -> Result<Self::Fd, Errno>;
    /// `flock(file, LOCK_EX|LOCK_NB)`
    fn flock(&self, file: &Self::Fd) -> Result<(), Errno>;
    /// `fstat(file)`
    fn stat(&self, file: &Self::Fd) -> Result<Stat, Errno>;
    /// `fstatat(dir, name, AT_SYMLINK_NOFOLLOW)`
    fn stat_at(&self, dir: &Self::Fd, name: &CStr) -> Result<Stat, Errno>;
    /// `lstat(path)`
    fn stat_path(&self, path: &CStr) -> Result<Stat, Errno>;
    /// `unlinkat(dir, name)`
    fn unlink(&self, dir: &Self::Fd, name: &CStr) -> Result<(), Errno>;
    /// `renameat2(dir, from, dir, to, RENAME_NOREPLACE)`
    fn rename(&self, dir: &Self::Fd, from: &CStr, to: &CStr) -> Result<(), Errno>;
    /// `renameat2(dir, one, dir, other, RENAME_EXCHANGE)`
    fn exchange(&self, dir: &Self::Fd, one: &CStr, other: &CStr) -> Result<(), Errno>;
    /// `renameat(dir, from, dir, to)`
    fn rename_over(&self, dir: &Self::Fd, from: &CStr, to: &CStr) -> Result<(), Errno>;

    /// `openat(dir, name, O_PATH|O_NOFOLLOW)`
    fn pin(&self, dir: &Self::Fd, name: &CStr) -> Result<Self::Fd, Errno>;
    /// `chmod("/proc/thread-self/fd/<pin>", mode)`
    fn chmod(&self, pin: &Self::Fd, mode: u32) -> Result<(), Errno>;
    /// `fchownat(pin, "", AT_EMPTY_PATH)`
    fn chown(&self, pin: &Self::Fd, owner: Option<u32>, group: Option<u32>) -> Result<(), Errno>;
    /// `fstatfs(file)`: who else may serve sockets on this file system?
    fn reach(&self, file: &Self::Fd) -> Result<Reach, Errno>;

    /// `socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC)`
    fn socket(&self) -> Result<Self::Fd, Errno>;
    /// `fchmod(file, mode)`
    fn fchmod(&self, file: &Self::Fd, mode: u32) -> Result<(), Errno>;
    /// `bind(socket)` to `name` in `dir`: by `path` where given, else through the directory's descriptor
    fn bind(&self, socket: &Self::Fd, dir: &Self::Fd, name: &CStr, path: Option<&CStr>) -> Result<(), Errno>;
    /// `listen(socket, backlog)`
    fn listen(&self, socket: &Self::Fd, backlog: i32) -> Result<(), Errno>;
    /// `shutdown(socket, SHUT_RD)`
    fn shut(&self, socket: &Self::Fd) -> Result<(), Errno>;
    /// A new non-blocking socket, connected to the socket that `pin` holds
    fn connect(&self, pin: &Self::Fd) -> Result<Self::Fd, Errno>;
    /// The same by a path, which is followed if it is a symbolic link
    fn connect_path(&self, path: &CStr) -> Result<Self::Fd, Errno>;
    /// `getsockopt(socket, SO_PEERCRED)`
    fn peer(&self, socket: &Self::Fd) -> Option<PeerCredentials>;

    /// `geteuid()`
    fn euid(&self) -> u32;
    /// Who holds the flock on a file, from `/proc/locks`
    fn flock_holder(&self, file: FileId) -> FlockHolder;
    /// The monotonic clock
    fn now(&self) -> Instant;
    /// Sleep for a random time of at most `most` and at least half of it
    fn pause(&self, most: Duration);
}
