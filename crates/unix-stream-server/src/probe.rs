//! Looking at a path without touching what stands there.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::Result;
use crate::place::{Place, check};
use crate::protocol::{Proof, judge_pin};
use crate::sys::diag::{Listener, find_listener};
use crate::sys::{self, FileId, FlockHolder, Handle, Stat, Sys, System};
use crate::{PathState, trace};

const PROBE: &str = "probe";

/// What stands at a path. Follows symbolic links, as a client would.
///
/// # Hazard
///
/// A probe connects, and a connection is an event for the server: it starts on-demand programs and shows up in logs.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) or [`PathTooLong`](crate::ErrorKind::PathTooLong) for a path that can name
/// no socket. Everything else is a [`PathState`].
pub fn probe(path: impl AsRef<Path>) -> Result<PathState> {
    let path = path.as_ref();
    check(path, PROBE)?;
    Ok(match pin_following(path) {
        Ok(pin) => judge_pin(&System, &pin, Proof::None),
        Err(state) => state,
    })
}

/// What stands at a path, in detail: the answer of [`inspect`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// As of [`probe()`].
    pub state: PathState,
    /// Where the path leads, if it is a symbolic link.
    pub target: Option<PathBuf>,
    /// The permission bits of the file, where there is one.
    pub mode: Option<u32>,
    /// Its inode number.
    pub inode: Option<u64>,
    /// The lock of the path; of the target's path, if it is a symbolic link.
    pub lock: LockState,
    /// The user who made the listening socket, where the kernel lists it (since Linux 5.3): known of other users' servers
    /// too, of which no process can be named. For a socket that was handed out, whoever made it.
    pub listener_uid: Option<u32>,
}

/// What is known of `<path>.lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockState {
    /// There is none: nobody is changing the path.
    None,
    /// One of ours, held at this moment.
    Held {
        /// By this process, where the kernel says.
        pid: Option<u32>,
        /// The owner of the lock file.
        uid: u32,
    },
    /// One of ours, held by nobody that can be seen: a killed starter's. The next start takes it over.
    Left {
        /// The owner of the lock file.
        uid: u32,
    },
    /// Another program's (git's, say), or one of ours that somebody has given a second link: it counts as held as long as
    /// it exists so.
    Foreign {
        /// The owner of the file.
        uid: u32,
    },
    /// It could not be looked at.
    Unknown {
        /// Why: the raw errno.
        errno: i32,
    },
}

/// Everything that can be said of a path without changing it, and without disturbing a live server where the kernel
/// lists its listeners (`NETLINK_SOCK_DIAG`). What it does not list is probed, as by [`probe()`].
///
/// The peer of a live server is then a process that has the listening socket open, if we may see it.
///
/// # Errors
///
/// As for [`probe()`].
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection> {
    inspect_pinned(path.as_ref()).map(|inspected| inspected.0)
}

/// The file that was inspected.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) id: FileId,
    /// When the file was changed last, as it was seen.
    pub(crate) changed: (i64, u64),
    /// Keeps the number from reuse.
    pub(crate) pin: Handle,
    /// The kernel's list has a listener for it: nobody was asked.
    pub(crate) listed: bool,
}

impl Pinned {
    /// Is it still the same file? Where no pin keeps its number from reuse, a file that was changed since may be another.
    pub(crate) fn is_still(&self, now: &Stat) -> bool {
        const PINS_HOLD: bool = cfg!(any(target_os = "linux", target_os = "android"));
        now.id == self.id && (PINS_HOLD || now.changed == self.changed)
    }
}

/// The same, with the file itself where there is one.
pub(crate) fn inspect_pinned(path: &Path) -> Result<(Inspection, Option<Pinned>)> {
    check(path, PROBE)?;
    let (state, stat, listener_uid, pinned) = match pin_following(path) {
        Ok(pin) => {
            let stat = System.stat(&pin).ok();
            let listener = stat.and_then(|stat| find_listener(stat.id));
            let state = listener.map_or_else(|| judge_pin(&System, &pin, Proof::None), listed_state);
            let pinned =
                stat.map(|stat| Pinned { id: stat.id, changed: stat.changed, pin, listed: listener.is_some() });
            (state, stat, listener.and_then(|listener| listener.uid), pinned)
        }
        Err(state) => (state, None, None, None),
    };
    trace::judged(path, c"", &state);
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_symlink());
    let target = if is_link { std::fs::canonicalize(path).or_else(|_| std::fs::read_link(path)).ok() } else { None };
    let inspection = Inspection {
        state,
        mode: stat.map(|stat| stat.mode),
        inode: stat.map(|stat| stat.id.ino),
        // Of the socket that a client would get to.
        lock: lock_state(target.as_deref().unwrap_or(path)),
        target,
        listener_uid,
    };
    Ok((inspection, pinned))
}

/// The state by the kernel's own list.
fn listed_state(listener: Listener) -> PathState {
    match (listener.is_stream, listener.is_full) {
        (false, _) => PathState::OtherType,
        (true, true) => PathState::Busy,
        (true, false) => PathState::Live { peer: listener.holder() },
    }
}

fn pin_following(path: &Path) -> Result<Handle, PathState> {
    match sys::pin_following(path) {
        Ok(pin) => Ok(pin),
        Err(Errno::NOENT) => Err(PathState::Absent),
        Err(errno) => Err(PathState::CannotTell { errno: errno.raw_os_error() }),
    }
}

fn lock_state(path: &Path) -> LockState {
    let place = match Place::open(path, PROBE) {
        Ok(place) => place,
        // No directory, no lock.
        Err(error) if error.raw_os_error() == Errno::NOENT.raw_os_error() => return LockState::None,
        Err(error) => return LockState::Unknown { errno: error.raw_os_error() },
    };
    match System.stat_at(&place.dir, &place.lock) {
        // It went between the lookup of its name and the look at it.
        Ok(stat) if stat.links == 0 => LockState::None,
        Ok(stat) if crate::protocol::is_mark(&stat) && stat.links == 1 => ours(&stat),
        Ok(stat) => LockState::Foreign { uid: stat.uid },
        Err(Errno::NOENT) => LockState::None,
        Err(errno) => LockState::Unknown { errno: errno.raw_os_error() },
    }
}

fn ours(stat: &Stat) -> LockState {
    let uid = stat.uid;
    match System.flock_holder(stat.id) {
        FlockHolder::Process(pid) => LockState::Held { pid: Some(pid), uid },
        FlockHolder::Nobody => LockState::Left { uid },
        FlockHolder::Unknown => LockState::Held { pid: None, uid },
    }
}
