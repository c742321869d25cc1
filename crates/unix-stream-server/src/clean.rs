//! Removing what dead servers and killed starters left behind, at one path or in whole directories.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::protocol::Options;
use crate::{Builder, PathState};

mod directory;
mod tree;

/// What a cleaning is to do: [`run`](Self::run) removes dead sockets, and what our own killed starters left beside
/// them; never a live server's socket, and nothing foreign.
///
/// # What goes
///
/// - **A socket**, if no open socket of this kernel is bound to it by the kernel's own list (`NETLINK_SOCK_DIAG`, asked
///   once); its last change (`ctime`) was more than a second before that; and, under its lock, connecting to it is
///   refused, on a file system where that is death. The list spares live servers the connection. A server of another
///   network namespace is not on it: that one is found alive by connecting to it, and notices.
/// - **A lock** `NAME.lock`, `NAME.owner` or `NAME.start` of ours (by its mark), whose flock can be had, so that its
///   holder is dead.
/// - **A temporary name** of ours, under which a socket with a long name was to be bound.
///
/// All of it as careful as [`Builder::create`](crate::Builder::create), under the same lock; the protocol is the
/// same.
///
/// # What stays
///
/// What is no socket and no such lock; symbolic links, which are not followed; another program's lock and the socket that
/// it guards; a socket that is younger, as that of a program between bind and listen; what cannot be told. Mounted
/// directories are not entered.
///
/// # Race condition
///
/// Everything is done relative to directories that were opened without following links, and judged by what was opened;
/// so who changes a directory meanwhile can lead it nowhere else. Two limits: no system call removes a name only if it
/// is still that file's, so a program that takes the name of a dead socket *without the lock*, between our last look and
/// the unlink, loses what it has put there; and where the kernel does not list sockets, a program that ignores the lock
/// and waits longer than a second between bind and listen looks dead.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use unix_stream_server::{CleanEvent, CleanOptions, Outcome};
///
/// CleanOptions::new().dry_run(true).recursive(true).run(dir.path(), |event| {
///     if let CleanEvent::Found { path, what, outcome: Outcome::WouldRemove } = event {
///         println!("{}: a {what} that nobody needs", path.display());
///     }
/// })?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `run`"]
pub struct CleanOptions {
    dry_run: bool,
    recursive: bool,
    options: Options,
}

/// What a cleaning tells while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum CleanEvent<'a> {
    /// A directory has been read: so many entries are to be looked at.
    Directory {
        /// Which.
        path: &'a Path,
        /// How many.
        entries: usize,
    },
    /// One of those entries has been looked at.
    Looked,
    /// Something that the dead may have left, and what came of it.
    Found {
        /// Where.
        path: &'a Path,
        /// What.
        what: Leftover,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What the dead leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Leftover {
    /// A socket.
    Socket,
    /// A socket under the temporary name of a long one.
    Temporary,
    /// The lock of a name, `<name>.lock` or `<name>.start`.
    Lock,
    /// The life lock of a server, `<name>.owner`.
    LifeLock,
    /// Not left by anybody: a directory that was to be looked through.
    Directory,
}

/// What came of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It is gone.
    Removed,
    /// It would be gone, but for [`dry_run`](CleanOptions::dry_run).
    WouldRemove,
    /// Left alone: somebody uses it.
    InUse,
    /// Left alone: it has changed within the last second.
    Young,
    /// Left alone: another file system is mounted there.
    MountPoint,
    /// Left alone: it cannot be told dead, its lock was not had, or it could not be removed. The error says which.
    Failed(Error),
}

impl Default for CleanOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl CleanOptions {
    /// Removes; does not descend into directories of the directory; tries each lock once.
    pub fn new() -> Self {
        CleanOptions {
            dry_run: false,
            recursive: false,
            options: Options { lock_timeout: Duration::ZERO, ..Builder::new().into_options() },
        }
    }

    /// Changes nothing, and takes no lock: says what would be removed.
    ///
    /// Of a socket whose owner may not write to it, only a real run by its owner can tell: here it is `CannotTell`. What a
    /// real run would be refused is told of each file, as far as permissions and owners tell; capabilities are not asked.
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// Also cleans the directories in a directory, to a depth of 100, but for those that something is mounted on.
    pub fn recursive(mut self, yes: bool) -> Self {
        self.recursive = yes;
        self
    }

    /// How long to wait for each lock. Default: zero, to try once; whoever holds it is at work there.
    ///
    /// In a directory that others may write, each of their locks can cost all of it.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.options.lock_timeout = timeout;
        self
    }

    /// Takes a refused connection for death on every file system. See
    /// [`Builder::assume_local`](crate::Builder::assume_local) for the hazard.
    pub fn assume_local(mut self, yes: bool) -> Self {
        self.options.assume_local = yes;
        self
    }

    /// Cleans a path: a socket and what is left beside it, or a directory. Tells `each` what it does, as it does it.
    ///
    /// A path that ends in a slash is a directory, through a link too. Where nothing is at the path there is nothing to
    /// do, but for locks that may be left beside it.
    ///
    /// # Errors
    ///
    /// What cannot be cleaned *in* a directory is an [`Outcome`]. An error is what concerns the path itself:
    ///
    /// | [`ErrorKind`](crate::ErrorKind) | when |
    /// |---|---|
    /// | `InUse` | a server lives at the path |
    /// | `NotASocket` | something else is there, a symbolic link included |
    /// | `CannotTell`, `Locked` | whether its server is dead; its lock was not had |
    /// | `PathTooLong`, `Invalid` | it can name no socket and no directory |
    /// | `System` | the directory cannot be opened or read (`EACCES`), is missing (`ENOENT`), was removed meanwhile |
    pub fn run(&self, path: impl AsRef<Path>, mut each: impl FnMut(CleanEvent<'_>)) -> Result<()> {
        tree::clean(self, path.as_ref(), &mut each)
    }
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Leftover::Socket => "dead socket",
            Leftover::Temporary => "temporary socket of a killed starter",
            Leftover::Lock => "lock of a killed starter",
            Leftover::LifeLock => "life lock of a killed server",
            Leftover::Directory => "directory",
        })
    }
}

pub(crate) const CLEAN: &str = "clean";

type Each<'a> = &'a mut dyn FnMut(CleanEvent<'_>);

fn found(each: Each<'_>, path: PathBuf, what: Leftover, outcome: Outcome) {
    each(CleanEvent::Found { path: &path, what, outcome });
}

/// Dead, but too young to go.
fn is_young(state: PathState, removed: bool) -> bool {
    state == PathState::Dead && !removed
}
