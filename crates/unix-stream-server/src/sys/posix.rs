//! The systems that have neither `O_PATH` for every file nor a `/proc` of descriptors: macOS, FreeBSD, NetBSD, OpenBSD,
//! illumos.
//!
//! What a pin is here, see [`Handle`]. In what these systems differ from each other is in one file for each, with the same
//! items: `os`. None of it was ever run by us (PLATFORM.md).

pub(crate) mod bound;
pub(crate) mod diag;
mod handle;
pub(crate) mod overflow;
mod paths;
pub(crate) mod peercred;
pub(crate) mod queue;
mod sockets;
pub(crate) mod spawn;
#[cfg(not(target_os = "macos"))]
mod usual;

#[cfg_attr(target_os = "macos", path = "posix/macos.rs")]
#[cfg_attr(target_os = "freebsd", path = "posix/freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "posix/netbsd.rs")]
#[cfg_attr(target_os = "openbsd", path = "posix/openbsd.rs")]
#[cfg_attr(target_os = "illumos", path = "posix/illumos.rs")]
#[cfg(not(windows))] // so that the first error there is the one of lib.rs, which says why
mod os;

use std::ffi::{CStr, c_char};
use std::time::{Duration, Instant};

use rustix::fs::{self as sysfs, AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::net::{self, SocketAddrUnix, SocketType};
use rustix::thread::nanosleep;
use rustix::time::Timespec;

use super::calls::{jitter, uninterrupted};
use super::{FileId, FlockHolder, Reach, Stat, Sys};
use crate::PeerCredentials;

pub(crate) use handle::{Handle, handle};
pub(crate) use os::{ADDRESS_MAX, SEND_QUIETLY, born, wipe_on_fork};
pub(crate) use paths::{
    NAME_BEHIND_DESCRIPTOR_MAX, directory, duplicate, entry_type, long_address, open_below, open_directory,
    open_directory_at, pin_following, way_around,
};
pub(crate) use sockets::{abstract_address, accept, family, is_listening, new_socket};

/// A lock file of ours: no right but the owner's read. These systems take the sticky bit from a file that open() makes.
pub(crate) const MARK: u32 = 0o400;
/// `PATH_MAX` less the NUL.
pub(crate) const PATH_MAX: usize = 1023;
/// There is no way to a socket but by an address.
pub(crate) const LONGEST_PATH: usize = ADDRESS_MAX;
/// No name leads through somebody's descriptor but by these.
pub(crate) const FOREIGN_NAMES: &str = "/dev/fd";
/// A listener with a full backlog says ECONNREFUSED, as a dead socket does.
pub(crate) const BUSY_LOOKS_DEAD: bool = true;
/// Of a file that is no directory only root can set the sticky bit.
pub(crate) const STICKY_NEEDS_ROOT: bool = true;
/// On FreeBSD the server that a client is told of is who called listen() last. On NetBSD and OpenBSD it is who called
/// bind(), on macOS who has used the socket last, and of illumos we do not know.
pub(crate) const PEER_HAS_LISTENED: bool = cfg!(target_os = "freebsd");
/// Where root's daemons have their runtime directories.
pub(crate) const RUNTIME_BASE: &str = "/var/run";

#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Sys for System {
    type Fd = Handle;

    fn create_lock(&self, dir: &Handle, name: &CStr) -> Result<Handle, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        uninterrupted(|| sysfs::openat(dir, name, flags, Mode::from_raw_mode(MARK as _))).map(handle)
    }

    fn open_lock(&self, dir: &Handle, name: &CStr) -> Result<Handle, Errno> {
        // NONBLOCK: a fifo would hang us. NOCTTY: a terminal would become ours.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match uninterrupted(|| sysfs::openat(dir, name, flags, Mode::empty())) {
            // Of a symbolic link FreeBSD says EMLINK, NetBSD EFTYPE; of a socket all say EOPNOTSUPP.
            Err(errno) if os::NO_PLAIN_FILE.contains(&errno) => Err(Errno::LOOP),
            opened => opened.map(handle),
        }
    }

    fn flock(&self, file: &Handle) -> Result<(), Errno> {
        uninterrupted(|| sysfs::flock(file, FlockOperation::NonBlockingLockExclusive)).map_err(one_word)
    }

    fn stat(&self, file: &Handle) -> Result<Stat, Errno> {
        file.stat()
    }

    fn stat_at(&self, dir: &Handle, name: &CStr) -> Result<Stat, Errno> {
        sysfs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Stat::from(&stat))
    }

    fn stat_path(&self, path: &CStr) -> Result<Stat, Errno> {
        sysfs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Stat::from(&stat))
    }

    fn unlink(&self, dir: &Handle, name: &CStr) -> Result<(), Errno> {
        sysfs::unlinkat(dir, name, AtFlags::empty())
    }

    fn rename(&self, dir: &Handle, from: &CStr, to: &CStr) -> Result<(), Errno> {
        os::rename_exclusive(dir, from, to)
    }

    fn exchange(&self, dir: &Handle, one: &CStr, other: &CStr) -> Result<(), Errno> {
        os::exchange(dir, one, other).map_err(one_word)
    }

    fn rename_over(&self, dir: &Handle, from: &CStr, to: &CStr) -> Result<(), Errno> {
        sysfs::renameat(dir, from, dir, to)
    }

    fn pin(&self, dir: &Handle, name: &CStr) -> Result<Handle, Errno> {
        dir.pin(name)
    }

    fn chmod(&self, file: &Handle, mode: u32) -> Result<(), Errno> {
        file.chmod(mode)
    }

    fn chown(&self, file: &Handle, owner: Option<u32>, group: Option<u32>) -> Result<(), Errno> {
        file.chown(owner.map(Uid::from_raw), group.map(Gid::from_raw))
    }

    fn reach(&self, file: &Handle) -> Result<Reach, Errno> {
        Ok(if os::is_local(file)? { Reach::LocalBusyRefuses } else { Reach::Unknown })
    }

    fn socket(&self) -> Result<Handle, Errno> {
        new_socket(SocketType::STREAM, true).map(handle)
    }

    fn fchmod(&self, file: &Handle, mode: u32) -> Result<(), Errno> {
        match sysfs::fstat(file) {
            // A socket has no mode here before it has a name, nor by its descriptor after.
            Ok(stat) if sysfs::FileType::from_raw_mode(stat.st_mode as _) == sysfs::FileType::Socket => Ok(()),
            _ => sysfs::fchmod(file, Mode::from_raw_mode(mode as _)),
        }
    }

    fn bind(&self, socket: &Handle, dir: &Handle, name: &CStr, path: Option<&CStr>) -> Result<(), Errno> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => dir.path_of(name)?,
        };
        let address = SocketAddrUnix::new(&*path)?;
        // macOS and NetBSD follow a dangling symbolic link, and would make the socket where it leads. Who puts one there
        // between the two calls, without the path's lock, has it followed: the identity check then says `Moved`.
        match self.stat_path(&path) {
            Err(Errno::NOENT) => net::bind(socket, &address),
            Ok(_) => Err(Errno::ADDRINUSE),
            Err(errno) => Err(errno),
        }
    }

    fn listen(&self, socket: &Handle, backlog: i32) -> Result<(), Errno> {
        net::listen(socket, backlog)
    }

    /// There is nothing to be had by it. macOS and FreeBSD refuse it of a listener (ENOTCONN). NetBSD and OpenBSD do it, and
    /// let clients in as before; then the end of the queue is an ECONNABORTED of accept(), also of one that does not block,
    /// which is said of a client that has gone as well.
    fn shut(&self, _socket: &Handle) -> Result<(), Errno> {
        Err(Errno::NOTCONN)
    }

    fn connect(&self, pin: &Handle) -> Result<Handle, Errno> {
        pin.connect_by(|path| self.connect_path(path))
    }

    fn connect_path(&self, path: &CStr) -> Result<Handle, Errno> {
        let address = SocketAddrUnix::new(path)?;
        let socket = new_socket(SocketType::STREAM, false)?;
        uninterrupted(|| net::connect(&socket, &address))?;
        Ok(handle(socket))
    }

    fn peer(&self, socket: &Handle) -> Option<PeerCredentials> {
        use std::os::fd::AsFd;
        peercred::peer_credentials(socket.as_fd()).ok().flatten()
    }

    fn euid(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// There is no list of locks.
    fn flock_holder(&self, _file: FileId) -> FlockHolder {
        FlockHolder::Unknown
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn pause(&self, most: Duration) {
        // What is left after a signal is left, as on Linux.
        let _ = Timespec::try_from(jitter(most)).map(|pause| nanosleep(&pause));
    }
}

/// Is the name of a file system one of these?
fn is_one_of(name: &[c_char], names: &[&str]) -> bool {
    let is = |known: &str| {
        let known = known.bytes().chain([0]);
        name.iter().map(|&letter| letter as u8).zip(known.clone()).filter(|(is, known)| is == known).count()
            == known.count()
    };
    names.iter().any(|known| is(known))
}

/// Processes have no such number here.
pub(crate) fn own_pidfd_id() -> Option<u64> {
    None
}

/// The kernel tells nothing of files by its own numbers.
pub(crate) fn is_kernels_own(_dev: u64) -> bool {
    false
}

/// "Not supported", which has two numbers on some systems (macOS: ENOTSUP of a file system, EOPNOTSUPP of a socket).
fn one_word(errno: Errno) -> Errno {
    if errno == Errno::NOTSUP { Errno::OPNOTSUPP } else { errno }
}
