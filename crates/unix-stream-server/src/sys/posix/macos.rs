//! macOS: LOCAL_PEERCRED and LOCAL_PEERPID, renameatx_np; no SOCK_CLOEXEC, no accept4, no memory that is wiped at a fork.
//!
//! # Race condition
//!
//! A socket is made, or accepted, by one call and made close-on-exec by the next: a program that another thread starts
//! in between by fork and exec inherits it, and keeps a listener alive. posix_spawn(2) with
//! `POSIX_SPAWN_CLOEXEC_DEFAULT` does not.
//!
//! # Safety
//!
//! [`getsockopt`] hands the kernel a pointer to a value of plain integers, for which every bit pattern is valid, with its
//! exact size. The kernel writes at most that many bytes and keeps no pointer.
#![expect(unsafe_code, reason = "getsockopt has no safe wrapper for LOCAL_PEERCRED and LOCAL_PEERPID")]

use std::ffi::{CStr, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self as sysfs, OFlags, RenameFlags};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{self, AddressFamily, SendFlags, SocketType, sockopt};

use super::Handle;
use super::peercred::pid;
use crate::PeerCredentials;

/// `sizeof sun_path` less the NUL (unix(4)).
pub(crate) const ADDRESS_MAX: usize = 103;
/// There is no such flag: the sockets that are made here have SO_NOSIGPIPE.
pub(crate) const SEND_QUIETLY: SendFlags = SendFlags::empty();
/// No right to read it is needed (`sys/fcntl.h`, since macOS 11; an older one takes it for `O_RDONLY`, which needs it).
pub(super) const SEARCH: OFlags = OFlags::from_bits_retain(libc::O_SEARCH as u32);
/// What open() says of what it does not open.
pub(super) const NO_PLAIN_FILE: &[Errno] = &[Errno::LOOP, Errno::OPNOTSUPP, Errno::NOTSUP];

/// A socket's file cannot be opened.
pub(super) fn hold(_dir: BorrowedFd<'_>, _name: &CStr) -> Option<OwnedFd> {
    None
}

pub(crate) fn born(stat: &sysfs::Stat) -> (i64, i64) {
    (stat.st_birthtime, stat.st_birthtime_nsec)
}

pub(super) fn new_socket(kind: SocketType, blocks: bool) -> Result<OwnedFd, Errno> {
    let socket = net::socket(AddressFamily::UNIX, kind, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    // As std does for the sockets that it makes: MSG_NOSIGNAL does not exist.
    sockopt::set_socket_nosigpipe(&socket, true)?;
    if !blocks {
        ioctl_fionbio(&socket, true)?;
    }
    Ok(socket)
}

pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let client = net::accept(listener)?;
    fcntl_setfd(&client, FdFlags::CLOEXEC)?;
    // Without accept4() a client does not block if its listener does not (rust-lang/rust#67027).
    ioctl_fionbio(&client, false)?;
    Ok(client)
}

/// SO_ACCEPTCONN is declared and not implemented. One that has a name and no peer counts: whoever adopts it calls listen().
pub(super) fn is_listening(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    match net::getpeername(socket) {
        Ok(_) => Ok(false),
        Err(Errno::NOTCONN | Errno::INVAL) => Ok(true),
        Err(errno) => Err(errno),
    }
}

pub(super) fn rename_exclusive(dir: &Handle, from: &CStr, to: &CStr) -> Result<(), Errno> {
    sysfs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE)
}

pub(super) fn exchange(dir: &Handle, one: &CStr, other: &CStr) -> Result<(), Errno> {
    sysfs::renameat_with(dir, one, dir, other, RenameFlags::EXCHANGE)
}

/// File systems on which every listener lives in this kernel.
pub(super) fn is_local(file: &Handle) -> Result<bool, Errno> {
    Ok(super::is_one_of(&sysfs::fstatfs(file)?.f_fstypename, &["apfs", "hfs", "tmpfs"]))
}

/// Memory can be left out of a child, but not wiped there.
///
/// # Safety
///
/// `page` is a mapping of the caller's own, of this size.
pub(crate) unsafe fn wipe_on_fork(_page: *mut c_void, _size: usize) -> bool {
    false
}

/// Of a server: the user who called listen(), and the process that has used the socket last.
pub(super) fn peer(socket: BorrowedFd<'_>) -> io::Result<Option<PeerCredentials>> {
    let credentials: libc::xucred = getsockopt(socket, libc::LOCAL_PEERCRED)?;
    let number = getsockopt::<libc::pid_t>(socket, libc::LOCAL_PEERPID).ok();
    Ok(Some(PeerCredentials {
        pid: number.and_then(pid),
        uid: credentials.cr_uid,
        // The first of the groups is the effective one.
        gid: groups_of(&credentials).first().copied().unwrap_or(u32::MAX),
    }))
}

pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let credentials: libc::xucred = getsockopt(socket, libc::LOCAL_PEERCRED)?;
    Ok(groups_of(&credentials).to_vec())
}

fn groups_of(credentials: &libc::xucred) -> &[u32] {
    let count = usize::try_from(credentials.cr_ngroups).unwrap_or(0);
    credentials.cr_groups.get(..count).unwrap_or_default()
}

/// A value of plain integers.
///
/// # Safety
///
/// Every bit pattern of it is valid.
unsafe trait Plain: Sized {}
// SAFETY: integers, and an array of such.
unsafe impl Plain for libc::xucred {}
// SAFETY: an integer.
unsafe impl Plain for libc::pid_t {}

fn getsockopt<T: Plain>(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: see the head of this file; `value` and `length` outlive the call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_LOCAL, option, value.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, and whatever the kernel has written is valid.
    Ok(unsafe { value.assume_init() })
}
