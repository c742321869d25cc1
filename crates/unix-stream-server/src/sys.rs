//! The seam: every call by which the protocol touches the world, one method a system call.
//!
//! The shipping protocol runs over [`System`], the real one of the platform; in the unit tests the same code runs over a
//! simulated kernel (`crate::sim`), which tries every schedule and every crash. No method here decides anything.
//!
//! There are two platforms, with the same items and most of the same files: `linux` (Android too), and `posix`, the
//! systems that have neither `O_PATH` for everything nor a `/proc` of descriptors. Only `linux` has `memory` and `pidfd`,
//! only `posix` has `handle`, `usual` and a file for each system. Which one it is, is chosen here; `watch.rs`, whose
//! systems differ in another way, chooses for itself.

mod calls;
pub(crate) mod fork_mark;
pub(crate) mod inherited;
pub(crate) mod job;
#[cfg(not(target_os = "macos"))] // which has such a call
mod rename;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as platform;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod posix;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use posix as platform;

pub(crate) use calls::uninterrupted;
pub(crate) use platform::{
    ADDRESS_MAX, BUSY_LOOKS_DEAD, FOREIGN_NAMES, Handle, LONGEST_PATH, MARK, NAME_BEHIND_DESCRIPTOR_MAX, PATH_MAX,
    PEER_HAS_LISTENED, RUNTIME_BASE, SEND_QUIETLY, STICKY_NEEDS_ROOT, System, abstract_address, accept, bound, diag,
    directory, duplicate, entry_type, family, handle, is_kernels_own, is_listening, long_address, new_socket,
    open_below, open_directory, open_directory_at, overflow, own_pidfd_id, peercred, pin_following, queue, spawn,
    way_around, wipe_on_fork,
};

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
    /// When the file was made: what tells it from the next one of its number, where no pin can keep that from reuse. Zero
    /// where the system does not say (OpenBSD, illumos).
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) born: (i64, i64),
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

/// What the system says of a flock (`/proc/locks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "only Linux tells who"))]
pub(crate) enum FlockHolder {
    Process(u32),
    /// The list was read and nobody that we can see holds it.
    Nobody,
    /// The list could not be read.
    Unknown,
}

/// How far a file system reaches: what a refused connection, and a flock, prove there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(all(target_os = "linux", test)), expect(dead_code, reason = "each platform has its own of them"))]
pub(crate) enum Reach {
    /// Every listener and every flock on it are this kernel's.
    Local,
    /// The same, but a live listener with a full backlog refuses like a dead one: only a flock proves something.
    LocalBusyRefuses,
    /// Listeners may be other kernels', and their flocks are seen here.
    SharedWithLocks,
    /// Anything may be another kernel's, unseen.
    Unknown,
}

impl Reach {
    /// Where a refusal proves nothing, and a flock that a dead process has let go does.
    pub(crate) fn needs_flock(self) -> bool {
        matches!(self, Reach::LocalBusyRefuses | Reach::SharedWithLocks)
    }
}

pub(crate) trait Sys {
    /// An open descriptor, or what stands for a file that cannot be opened; dropping it closes it.
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
    /// `renameat2(dir, from, dir, to, RENAME_NOREPLACE)`; link and unlink where there is no such call
    fn rename(&self, dir: &Self::Fd, from: &CStr, to: &CStr) -> Result<(), Errno>;
    /// `renameat2(dir, one, dir, other, RENAME_EXCHANGE)`; `ENOSYS` where there is no such call
    fn exchange(&self, dir: &Self::Fd, one: &CStr, other: &CStr) -> Result<(), Errno>;
    /// `renameat(dir, from, dir, to)`
    fn rename_over(&self, dir: &Self::Fd, from: &CStr, to: &CStr) -> Result<(), Errno>;

    /// `openat(dir, name, O_PATH|O_NOFOLLOW)`; or the name, and what `fstatat` says of it
    fn pin(&self, dir: &Self::Fd, name: &CStr) -> Result<Self::Fd, Errno>;
    /// `chmod("/proc/thread-self/fd/<pin>", mode)`
    fn chmod(&self, pin: &Self::Fd, mode: u32) -> Result<(), Errno>;
    /// `fchownat(pin, "", AT_EMPTY_PATH)`
    fn chown(&self, pin: &Self::Fd, owner: Option<u32>, group: Option<u32>) -> Result<(), Errno>;
    /// `fstatfs(file)`: who else may serve sockets on this file system?
    fn reach(&self, file: &Self::Fd) -> Result<Reach, Errno>;

    /// `socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC)`
    fn socket(&self) -> Result<Self::Fd, Errno>;
    /// `fchmod(file, mode)`. Nothing for a socket that has no name yet, where such have no mode
    fn fchmod(&self, file: &Self::Fd, mode: u32) -> Result<(), Errno>;
    /// `bind(socket)` to `name` in `dir`: by `path` where given, else through the directory's descriptor
    fn bind(&self, socket: &Self::Fd, dir: &Self::Fd, name: &CStr, path: Option<&CStr>) -> Result<(), Errno>;
    /// `listen(socket, backlog)`
    fn listen(&self, socket: &Self::Fd, backlog: i32) -> Result<(), Errno>;
    /// `shutdown(socket, SHUT_RD)`; `ENOTCONN` where that shuts no listener
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
