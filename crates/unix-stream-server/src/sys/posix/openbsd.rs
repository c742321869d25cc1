//! OpenBSD: SO_PEERCRED with a `struct sockpeercred`, MAP_INHERIT_ZERO; and no time of birth: of a number that was given
//! again it cannot tell.
//!
//! # Safety
//!
//! [`peer`] hands the kernel a pointer to a value of plain integers, for which every bit pattern is valid, with its exact
//! size. The kernel writes at most that many bytes and keeps no pointer. [`wipe_on_fork`] changes nothing in this process.
#![expect(unsafe_code, reason = "getsockopt has no safe wrapper for SO_PEERCRED here, nor has minherit")]

use std::ffi::{CStr, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self as sysfs, OFlags};
use rustix::io::Errno;

use super::Handle;
use super::peercred::pid;
use crate::PeerCredentials;

pub(crate) use super::usual::SEND_QUIETLY;
pub(super) use super::usual::{accept, exchange, is_listening, new_socket, rename_exclusive};

/// `sizeof sun_path` less the NUL (unix(4)).
pub(crate) const ADDRESS_MAX: usize = 103;
/// Without the right to read it a directory cannot be opened.
pub(super) const SEARCH: OFlags = OFlags::RDONLY;
/// What open() says of what it does not open.
pub(super) const NO_PLAIN_FILE: &[Errno] = &[Errno::LOOP, Errno::OPNOTSUPP];

/// A socket's file cannot be opened.
pub(super) fn hold(_dir: BorrowedFd<'_>, _name: &CStr) -> Option<OwnedFd> {
    None
}

/// Not told: there is a field, which the kernel leaves at zero.
pub(crate) fn born(_stat: &sysfs::Stat) -> (i64, i64) {
    (0, 0)
}

/// File systems on which every listener lives in this kernel.
pub(super) fn is_local(file: &Handle) -> Result<bool, Errno> {
    Ok(super::is_one_of(&sysfs::fstatfs(file)?.f_fstypename, &["ffs", "mfs", "tmpfs"]))
}

/// In a forked child the page is to be all zeros.
///
/// # Safety
///
/// `page` is a mapping of the caller's own, of this size.
pub(crate) unsafe fn wipe_on_fork(page: *mut c_void, size: usize) -> bool {
    // SAFETY: by the caller's word; it changes nothing in this process.
    unsafe { libc::minherit(page, size, libc::MAP_INHERIT_ZERO) == 0 }
}

/// Of a server: whoever called bind(), and not listen().
pub(super) fn peer(socket: BorrowedFd<'_>) -> io::Result<Option<PeerCredentials>> {
    let mut value = MaybeUninit::<libc::sockpeercred>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockpeercred>()).unwrap_or(0);
    let option = libc::SO_PEERCRED;
    // SAFETY: see the head of this file; `value` and `length` outlive the call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, and whatever the kernel has written is valid.
    let peer = unsafe { value.assume_init() };
    Ok(Some(PeerCredentials { pid: pid(peer.pid), uid: peer.uid, gid: peer.gid }))
}

/// Not told.
pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    peer(socket).map(|_| Vec::new())
}
