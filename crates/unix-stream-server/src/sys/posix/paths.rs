//! How a file is reached: by its path alone, which has to fit an address.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, DirEntry, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::{ADDRESS_MAX, Handle, os};
use crate::sys::{Stat, uninterrupted};

/// No name is bound to behind a descriptor.
pub(crate) const NAME_BEHIND_DESCRIPTOR_MAX: usize = ADDRESS_MAX;

/// There is none.
pub(crate) fn way_around(_dir: &Handle) -> Result<(), String> {
    Err("is not to be had on this system; give a short absolute path".to_owned())
}

/// There is none.
pub(crate) fn long_address(_path: &Path) -> Result<(SocketAddrUnix, Handle), Errno> {
    Err(Errno::NAMETOOLONG)
}

/// A pin of what a path leads to, which is connected to by that path.
pub(crate) fn pin_following(path: &Path) -> Result<Handle, Errno> {
    let real = std::fs::canonicalize(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let name = real.file_name().ok_or(Errno::ISDIR).and_then(|name| c_string(name.as_bytes()))?;
    let dir = open_directory(real.parent().unwrap_or(Path::new("/")))?;
    dir.pin_by(&name, Some(c_string(path.as_os_str().as_bytes())?), true)
}

/// A directory, to look things up in.
pub(crate) fn open_directory(path: &Path) -> Result<Handle, Errno> {
    let flags = os::SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = uninterrupted(|| fs::open(path, flags, Mode::empty()))?;
    Ok(directory(fd, path))
}

/// The same by a name in a directory, where a symbolic link is none.
pub(crate) fn open_directory_at(dir: &Handle, name: &CStr) -> Result<Handle, Errno> {
    let flags = os::SEARCH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match uninterrupted(|| fs::openat(dir, name, flags, Mode::empty())) {
        Err(errno) if os::NO_PLAIN_FILE.contains(&errno) => Err(Errno::LOOP),
        opened => opened.map(|fd| Handle::directory(fd, dir.path_of(name).ok())),
    }
}

/// A directory in a directory, to be read: not a link to one, and not one that another file system is mounted on
/// (`EXDEV`). Into one that is the same file system, mounted there once more, it goes.
pub(crate) fn open_below(parent: &Handle, name: &CStr) -> Result<Handle, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match uninterrupted(|| fs::openat(parent, name, flags, Mode::empty())) {
        Err(errno) if os::NO_PLAIN_FILE.contains(&errno) => return Err(Errno::LOOP),
        opened => opened?,
    };
    let below = Stat::from(&fs::fstat(&fd)?);
    if parent.stat()?.id.dev != below.id.dev {
        return Err(Errno::XDEV);
    }
    Ok(Handle::directory(fd, parent.path_of(name).ok()))
}

/// An open directory, as a place for names.
pub(crate) fn directory(dir: OwnedFd, path: &Path) -> Handle {
    // A relative path would lead elsewhere after a chdir.
    let path = if path.is_absolute() { c_string(path.as_os_str().as_bytes()).ok() } else { None };
    Handle::directory(dir, path)
}

/// What an entry says of its kind, which a file system may leave open. illumos has no room for it.
#[cfg_attr(target_os = "illumos", expect(unused_variables, reason = "it says nothing"))]
pub(crate) fn entry_type(entry: &DirEntry) -> FileType {
    #[cfg(target_os = "illumos")]
    return FileType::Unknown;
    #[cfg(not(target_os = "illumos"))]
    entry.file_type()
}

/// One more of the same.
pub(crate) fn duplicate(handle: &Handle) -> Result<Handle, Errno> {
    handle.duplicate()
}

fn c_string(bytes: &[u8]) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::INVAL)
}
