//! NetBSD: LOCAL_PEEREID, MAP_INHERIT_ZERO.
//!
//! # Safety
//!
//! [`peer`] and [`is_local`] hand the kernel a pointer to a value of plain integers, for which every bit pattern is valid,
//! with its exact size. The kernel writes at most that many bytes and keeps no pointer. [`wipe_on_fork`] changes nothing
//! in this process.
#![expect(unsafe_code, reason = "getsockopt has no safe wrapper for LOCAL_PEEREID, nor have minherit and f_fstypename")]

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self as sysfs, OFlags};
use rustix::io::Errno;

use super::Handle;
use super::peercred::pid;
use crate::PeerCredentials;

pub(crate) use super::usual::SEND_QUIETLY;
pub(super) use super::usual::{accept, exchange, is_listening, new_socket, rename_exclusive};

/// `sizeof sun_path` less the NUL (unix(4)).
pub(crate) const ADDRESS_MAX: usize = 103;
/// No right to read it is needed (open(2)).
pub(super) const SEARCH: OFlags = OFlags::from_bits_retain(libc::O_SEARCH as u32);
/// What open() says of what it does not open: of a symbolic link EFTYPE.
pub(super) const NO_PLAIN_FILE: &[Errno] = &[Errno::FTYPE, Errno::LOOP, Errno::OPNOTSUPP];
/// `SOL_LOCAL` of unix(4).
const SOL_LOCAL: c_int = 0;

/// A socket's file cannot be opened.
pub(super) fn hold(_dir: BorrowedFd<'_>, _name: &CStr) -> Option<OwnedFd> {
    None
}

pub(crate) fn born(stat: &sysfs::Stat) -> (i64, i64) {
    (stat.st_birthtime as i64, stat.st_birthtime_nsec as i64)
}

/// File systems on which every listener lives in this kernel.
pub(super) fn is_local(file: &Handle) -> Result<bool, Errno> {
    let mut value = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: see the head of this file; the C library fills in the whole of it.
    if unsafe { libc::fstatvfs(file.as_fd().as_raw_fd(), value.as_mut_ptr()) } != 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    // SAFETY: zeroed, and whatever the kernel has written is valid.
    let value = unsafe { value.assume_init() };
    Ok(super::is_one_of(&value.f_fstypename, &["ffs", "lfs", "mfs", "tmpfs", "zfs"]))
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
    let mut value = MaybeUninit::<libc::unpcbid>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::unpcbid>()).unwrap_or(0);
    let option = libc::LOCAL_PEEREID;
    // SAFETY: see the head of this file; `value` and `length` outlive the call.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), SOL_LOCAL, option, value.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, and whatever the kernel has written is valid.
    let peer = unsafe { value.assume_init() };
    Ok(Some(PeerCredentials { pid: pid(peer.unp_pid), uid: peer.unp_euid, gid: peer.unp_egid }))
}

/// Not told.
pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    peer(socket).map(|_| Vec::new())
}
