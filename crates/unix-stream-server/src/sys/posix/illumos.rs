//! illumos: getpeerucred(3C), and no time of birth: of a number that was given again it cannot tell.
//!
//! # Safety
//!
//! getpeerucred() allocates a `ucred_t`, whose address it writes to a local, and which [`Peer`] frees once. The getters
//! only read it, and what ucred_getgroups() points to lives as long as it. fstatvfs() fills in a value of plain integers.
#![expect(unsafe_code, reason = "neither getpeerucred nor f_basetype has a safe wrapper")]

use std::ffi::{CStr, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::fs::{self as sysfs, OFlags};
use rustix::io::Errno;

use super::Handle;
use super::peercred::pid;
use crate::PeerCredentials;

pub(crate) use super::usual::SEND_QUIETLY;
pub(super) use super::usual::{accept, exchange, is_listening, new_socket, rename_exclusive};

/// `sizeof sun_path` less the NUL (unix(4P)).
pub(crate) const ADDRESS_MAX: usize = 107;
/// No right to read it is needed (open(2)).
pub(super) const SEARCH: OFlags = OFlags::from_bits_retain(libc::O_SEARCH as u32);
/// What open() says of what it does not open.
pub(super) const NO_PLAIN_FILE: &[Errno] = &[Errno::LOOP, Errno::OPNOTSUPP, Errno::NXIO];

/// A socket's file cannot be opened.
pub(super) fn hold(_dir: BorrowedFd<'_>, _name: &CStr) -> Option<OwnedFd> {
    None
}

/// Not told.
pub(crate) fn born(_stat: &sysfs::Stat) -> (i64, i64) {
    (0, 0)
}

/// File systems on which every listener lives in this kernel.
pub(super) fn is_local(file: &Handle) -> Result<bool, Errno> {
    let mut value = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: see the head of this file.
    if unsafe { libc::fstatvfs(file.as_fd().as_raw_fd(), value.as_mut_ptr()) } != 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    // SAFETY: zeroed, and whatever the kernel has written is valid.
    let value = unsafe { value.assume_init() };
    Ok(super::is_one_of(&value.f_basetype, &["zfs", "ufs", "tmpfs"]))
}

/// There is memcntl(2) with MC_INHERIT_ZERO, which the libc crate does not know.
///
/// # Safety
///
/// `page` is a mapping of the caller's own, of this size.
pub(crate) unsafe fn wipe_on_fork(_page: *mut c_void, _size: usize) -> bool {
    false
}

/// What getpeerucred() has allocated.
struct Peer(*mut libc::ucred_t);

impl Peer {
    fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let mut credentials = ptr::null_mut();
        // SAFETY: a null pointer asks it to allocate.
        match unsafe { libc::getpeerucred(socket.as_raw_fd(), &raw mut credentials) } {
            0 => Ok(Peer(credentials)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SAFETY: allocated by getpeerucred(), and freed here alone.
        unsafe { libc::ucred_free(self.0) };
    }
}

pub(super) fn peer(socket: BorrowedFd<'_>) -> io::Result<Option<PeerCredentials>> {
    let peer = Peer::of(socket)?;
    // SAFETY: it lives until the end of this function.
    let (number, uid, gid) =
        unsafe { (libc::ucred_getpid(peer.0), libc::ucred_geteuid(peer.0), libc::ucred_getegid(peer.0)) };
    Ok(Some(PeerCredentials { pid: pid(number), uid, gid }))
}

pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let peer = Peer::of(socket)?;
    let mut groups = ptr::null();
    // SAFETY: it lives until the end of this function, and what `groups` points to as long.
    let count = unsafe { libc::ucred_getgroups(peer.0, &raw mut groups) };
    match usize::try_from(count) {
        // SAFETY: so many groups are there.
        Ok(count @ 1..) if !groups.is_null() => Ok(unsafe { std::slice::from_raw_parts(groups, count) }.to_vec()),
        Ok(_) => Ok(Vec::new()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
