//! FreeBSD: LOCAL_PEERCRED with the process id (since 13), INHERIT_ZERO (since 12), `O_PATH` of sockets (since 14).
//!
//! # Safety
//!
//! [`peer_xucred`] hands the kernel a pointer to a value of plain integers, for which every bit pattern is valid, with its
//! exact size. The kernel writes at most that many bytes and keeps no pointer. [`wipe_on_fork`] changes nothing in this
//! process.
#![expect(unsafe_code, reason = "getsockopt has no safe wrapper for LOCAL_PEERCRED, nor has minherit")]

use std::ffi::{CStr, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self as sysfs, Mode, OFlags};
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
/// What open() says of what it does not open: of a symbolic link EMLINK.
pub(super) const NO_PLAIN_FILE: &[Errno] = &[Errno::MLINK, Errno::LOOP, Errno::OPNOTSUPP];

/// The file itself. Before FreeBSD 14 that is refused of a socket.
pub(super) fn hold(dir: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
    sysfs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()
}

pub(crate) fn born(stat: &sysfs::Stat) -> (i64, i64) {
    (stat.st_birthtime as i64, stat.st_birthtime_nsec as i64)
}

/// File systems on which every listener lives in this kernel.
pub(super) fn is_local(file: &Handle) -> Result<bool, Errno> {
    Ok(super::is_one_of(&sysfs::fstatfs(file)?.f_fstypename, &["ufs", "zfs", "tmpfs"]))
}

/// In a forked child the page is to be all zeros.
///
/// # Safety
///
/// `page` is a mapping of the caller's own, of this size.
pub(crate) unsafe fn wipe_on_fork(page: *mut c_void, size: usize) -> bool {
    // SAFETY: by the caller's word; it changes nothing in this process.
    unsafe { libc::minherit(page, size, libc::INHERIT_ZERO) == 0 }
}

pub(super) fn peer(socket: BorrowedFd<'_>) -> io::Result<Option<PeerCredentials>> {
    let credentials = peer_xucred(socket)?;
    // SAFETY: both fields of the union are as large as a pointer at the most, and zero where the kernel wrote none.
    let number = unsafe { credentials.cr_pid__c_anonymous_union.cr_pid };
    Ok(Some(PeerCredentials {
        pid: pid(number),
        uid: credentials.cr_uid,
        // The first of the groups is the effective one.
        gid: groups_of(&credentials).first().copied().unwrap_or(u32::MAX),
    }))
}

pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    Ok(groups_of(&peer_xucred(socket)?).to_vec())
}

fn groups_of(credentials: &libc::xucred) -> &[u32] {
    let count = usize::try_from(credentials.cr_ngroups).unwrap_or(0);
    credentials.cr_groups.get(..count).unwrap_or_default()
}

fn peer_xucred(socket: BorrowedFd<'_>) -> io::Result<libc::xucred> {
    let mut value = MaybeUninit::<libc::xucred>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::xucred>()).unwrap_or(0);
    let option = libc::LOCAL_PEERCRED;
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
