//! How a file is held, and reached again: by a descriptor that was opened `O_PATH`, and by its name in `/proc`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

#[cfg(target_os = "linux")]
use rustix::fs::ResolveFlags;
use rustix::fs::{self, DirEntry, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::{ADDRESS_MAX, Handle};
use crate::error::describe;
use crate::sys::{Stat, uninterrupted};

/// Where a thread's descriptors are files.
const PROC_FD: &str = "/proc/thread-self/fd/";
/// What is left of [`ADDRESS_MAX`] behind [`PROC_FD`] and the longest descriptor number. Not the actual number's
/// length: whoever recovers from a crash must come to the same route.
pub(crate) const NAME_BEHIND_DESCRIPTOR_MAX: usize = ADDRESS_MAX - PROC_FD.len() - "2147483647/".len();

/// `/proc/thread-self/fd/N`, or `.../N/name`: the way to a descriptor's file at any path length.
///
/// Not `/proc/self`, which is the table of the thread group's leader: a thread that has unshared its own
/// (`CLONE_FILES`) would be led to another file of the same number.
pub(crate) fn proc_path(fd: BorrowedFd<'_>, name: Option<&CStr>) -> Result<CString, Errno> {
    let mut path = format!("{PROC_FD}{}", fd.as_raw_fd()).into_bytes();
    if let Some(name) = name {
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
    }
    CString::new(path).map_err(|_| Errno::INVAL)
}

/// Can a name in this directory be bound to and reached, however long its path? Else what it needs, as what follows
/// "the way around".
pub(crate) fn way_around(dir: &Handle) -> Result<(), String> {
    let opened = fs::fstat(dir);
    let through_proc = proc_path(dir.as_fd(), None).and_then(fs::stat);
    match (opened, &through_proc) {
        (Ok(opened), Ok(through)) if (opened.st_dev, opened.st_ino) == (through.st_dev, through.st_ino) => Ok(()),
        _ => Err(format!(
            "needs {PROC_FD}, which is {}; mount /proc or shorten the path",
            through_proc.map_or_else(describe, |_| "another process's".to_owned()),
        )),
    }
}

/// The address of a path that is too long for one, and what it is good with: a pin, which leads to exactly the file that
/// the path led to.
pub(crate) fn long_address(path: &Path) -> Result<(SocketAddrUnix, Handle), Errno> {
    let pin = pin_following(path)?;
    let address = SocketAddrUnix::new(proc_path(pin.as_fd(), None)?)?;
    Ok((address, pin))
}

/// A pin of what a path leads to.
pub(crate) fn pin_following(path: &Path) -> Result<Handle, Errno> {
    uninterrupted(|| fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()))
}

/// A directory, to look things up in: no right to read it is needed.
pub(crate) fn open_directory(path: &Path) -> Result<Handle, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    uninterrupted(|| fs::open(path, flags, Mode::empty()))
}

/// The same by a name in a directory, where a symbolic link is none.
pub(crate) fn open_directory_at(dir: &Handle, name: &CStr) -> Result<Handle, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    uninterrupted(|| fs::openat(dir, name, flags, Mode::empty()))
}

/// A directory in a directory, to be read: not a link to one, and not one that something is mounted on (`EXDEV`).
pub(crate) fn open_below(parent: &Handle, name: &CStr) -> Result<Handle, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match open_on_one_mount(parent, name, flags) {
        // Before Linux 5.6, on Android, or forbidden by a filter that does not know it. Then a bind mount of the same file
        // system is entered.
        Err(Errno::NOSYS | Errno::PERM) => {
            let dir = uninterrupted(|| fs::openat(parent, name, flags, Mode::empty()))?;
            let id = |dir| fs::fstat(dir).map(|stat| Stat::from(&stat).id);
            if id(parent)?.dev == id(&dir)?.dev { Ok(dir) } else { Err(Errno::XDEV) }
        }
        result => result,
    }
}

#[cfg(target_os = "linux")]
fn open_on_one_mount(parent: &Handle, name: &CStr, flags: OFlags) -> Result<Handle, Errno> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    uninterrupted(|| fs::openat2(parent, name, flags, Mode::empty(), resolve))
}

/// Whoever makes this call behind the filter that Android puts before its apps is killed (SIGSYS), and told no error.
#[cfg(target_os = "android")]
fn open_on_one_mount(_parent: &Handle, _name: &CStr, _flags: OFlags) -> Result<Handle, Errno> {
    Err(Errno::NOSYS)
}

/// An open descriptor, as the protocol takes it.
pub(crate) fn handle(fd: OwnedFd) -> Handle {
    fd
}

/// An open directory, as a place for names.
pub(crate) fn directory(dir: OwnedFd, _path: &Path) -> Handle {
    dir
}

/// What an entry says of its kind, which a file system may leave open.
pub(crate) fn entry_type(entry: &DirEntry) -> FileType {
    entry.file_type()
}

/// One more of the same.
pub(crate) fn duplicate(handle: &Handle) -> Result<Handle, Errno> {
    rustix::io::fcntl_dupfd_cloexec(handle, 3)
}
