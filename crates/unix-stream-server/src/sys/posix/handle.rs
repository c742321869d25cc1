//! What stands for a file: a descriptor of it, or, where none can be had, its name.
//!
//! A socket's file cannot be opened here (EOPNOTSUPP; FreeBSD can since 14, `O_PATH`). So a pin is a name in a directory
//! and what was seen there. What it does goes by the name, and only if the same file is still there; what that file is,
//! is told by device, number and time of birth, since a number alone may be given again. OpenBSD and illumos tell no birth:
//! there a file that got the number of a pinned one is taken for it.
//!
//! # Race condition
//!
//! Between the look and the call the name can be given to another file by whoever may rename in that directory and ignores
//! the path's lock. A connection is made between two looks and believed only if both saw the pinned file. A chmod or
//! chown cannot be taken back: in a directory that others may write, and that is not sticky, it may hit a file of ours
//! that they put there in just that moment. Linux has no such window.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::fs::{self as sysfs, AtFlags, CWD, Gid, Mode, Uid};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::os;
use crate::sys::Stat;

#[derive(Debug)]
pub(crate) struct Handle {
    /// The file; of a pin, its directory.
    fd: OwnedFd,
    what: What,
}

#[derive(Debug)]
enum What {
    /// An open file, or a socket.
    Open,
    /// A directory to look names up in, and its path where that is known: the only way to an address.
    Directory(Option<CString>),
    Pin(Pin),
}

/// A file that was seen at a name in a directory.
#[derive(Debug)]
struct Pin {
    name: CString,
    /// The way by which connect() gets there.
    path: Option<CString>,
    /// Whether that way may end in a symbolic link.
    follows: bool,
    seen: Stat,
    /// What keeps its number from reuse, where the system has such a descriptor.
    held: Option<OwnedFd>,
}

impl Handle {
    pub(super) fn directory(fd: OwnedFd, path: Option<CString>) -> Self {
        Handle { fd, what: What::Directory(path) }
    }

    /// What stands at a name in this directory.
    pub(super) fn pin(&self, name: &CStr) -> Result<Self, Errno> {
        self.pin_by(name, self.path_of(name).ok(), false)
    }

    /// The same, to be connected to by another path, which is followed.
    pub(super) fn pin_by(&self, name: &CStr, path: Option<CString>, follows: bool) -> Result<Self, Errno> {
        // The descriptor first: if it is of the file that is seen after, the number was that file's all the while.
        let held = os::hold(self.fd.as_fd(), name);
        let seen = stat_at(&self.fd, name)?;
        let is_it = |held: &OwnedFd| sysfs::fstat(held).is_ok_and(|stat| Stat::from(&stat).id == seen.id);
        let pin = Pin { name: name.to_owned(), path, follows, seen, held: held.filter(is_it) };
        Ok(Handle { fd: fcntl_dupfd_cloexec(&self.fd, 3)?, what: What::Pin(pin) })
    }

    pub(super) fn duplicate(&self) -> Result<Self, Errno> {
        let what = match &self.what {
            What::Open => What::Open,
            What::Directory(path) => What::Directory(path.clone()),
            What::Pin(Pin { name, path, follows, seen, held }) => {
                let held = held.as_ref().map(|held| fcntl_dupfd_cloexec(held, 3)).transpose()?;
                What::Pin(Pin { name: name.clone(), path: path.clone(), follows: *follows, seen: *seen, held })
            }
        };
        Ok(Handle { fd: fcntl_dupfd_cloexec(&self.fd, 3)?, what })
    }

    /// The path of a name in this directory, for an address.
    pub(super) fn path_of(&self, name: &CStr) -> Result<CString, Errno> {
        let What::Directory(Some(path)) = &self.what else { return Err(Errno::NAMETOOLONG) };
        let mut path = path.as_bytes().to_vec();
        if path.last().is_some_and(|&byte| byte != b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        CString::new(path).map_err(|_| Errno::INVAL)
    }

    /// The file as it is now. A pinned one that is not at its name any more: as it was, without a link.
    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        let What::Pin(pin) = &self.what else { return sysfs::fstat(&self.fd).map(|stat| Stat::from(&stat)) };
        match (&pin.held, stat_at(&self.fd, &pin.name)) {
            (Some(held), _) => sysfs::fstat(held).map(|stat| Stat::from(&stat)),
            (None, Ok(now)) if now.id == pin.seen.id => Ok(now),
            (None, Ok(_) | Err(Errno::NOENT)) => Ok(Stat { links: 0, ..pin.seen }),
            (None, Err(errno)) => Err(errno),
        }
    }

    pub(super) fn chmod(&self, mode: u32) -> Result<(), Errno> {
        const STICKY: u32 = 0o1000;
        let bits = Mode::from_raw_mode(mode as _);
        match self.pinned_name()? {
            Some(name) => sysfs::chmodat(&self.fd, name, bits, AtFlags::SYMLINK_NOFOLLOW)?,
            None => sysfs::fchmod(&self.fd, bits)?,
        }
        // illumos leaves the bit out without a word, where others refuse it to who is not root.
        if mode & STICKY != 0 && self.stat()?.mode & STICKY == 0 {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    pub(super) fn chown(&self, owner: Option<Uid>, group: Option<Gid>) -> Result<(), Errno> {
        match self.pinned_name()? {
            Some(name) => sysfs::chownat(&self.fd, name, owner, group, AtFlags::SYMLINK_NOFOLLOW),
            None => sysfs::fchown(&self.fd, owner, group),
        }
    }

    /// The name of a pinned file, if that is still there; `ESTALE` if not.
    fn pinned_name(&self) -> Result<Option<&CStr>, Errno> {
        let What::Pin(pin) = &self.what else { return Ok(None) };
        if stat_at(&self.fd, &pin.name)?.id == pin.seen.id { Ok(Some(&pin.name)) } else { Err(Errno::STALE) }
    }

    /// What `connect` says of the pinned file, if the path led to it before and after.
    pub(super) fn connect_by<T>(&self, connect: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
        let What::Pin(pin) = &self.what else { return Err(Errno::OPNOTSUPP) };
        let path = pin.path.as_deref().ok_or(Errno::NAMETOOLONG)?;
        let flags = if pin.follows { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        let leads_there = || sysfs::statat(CWD, path, flags).is_ok_and(|stat| Stat::from(&stat).id == pin.seen.id);
        if !leads_there() {
            return Err(Errno::STALE);
        }
        let connected = connect(path);
        if leads_there() { connected } else { Err(Errno::STALE) }
    }
}

fn stat_at(dir: &OwnedFd, name: &CStr) -> Result<Stat, Errno> {
    sysfs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Stat::from(&stat))
}

/// An open descriptor, as the protocol takes it.
pub(crate) fn handle(fd: OwnedFd) -> Handle {
    Handle { fd, what: What::Open }
}

/// Of a pin it is its directory's: what there is to ask of its file system.
impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Handle> for UnixListener {
    fn from(socket: Handle) -> Self {
        UnixListener::from(socket.fd)
    }
}
