//! Who is at the other end of a connection: `getsockopt` of SO_PEERCRED, SO_PEERGROUPS and SO_PEERPIDFD.
//!
//! Our own calls, because the kernel answers pid 0 for a peer outside our pid namespace and (0, -1, -1) for a peer that
//! was never reached, and a type that holds a non-zero pid cannot carry either; the other two options have no wrapper.
//!
//! # Safety
//!
//! [`getsockopt`] hands the kernel a pointer to a slice of plain integers, for which every bit pattern is valid, with
//! its exact size in bytes. The kernel writes at most that many (socket(7)) and keeps no pointer. [`peer_pidfd`] takes
//! a descriptor over that this very call has made, so that nobody else owns it.
#![expect(unsafe_code, reason = "getsockopt has no safe wrapper that can express pid 0, groups or a pidfd")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::PeerCredentials;

#[cfg(target_os = "linux")]
use libc::{SO_PEERGROUPS, SO_PEERPIDFD};
/// Of asm-generic/socket.h, as on all that Android runs on; its libc does not have them.
#[cfg(target_os = "android")]
const SO_PEERGROUPS: libc::c_int = 59;
#[cfg(target_os = "android")]
const SO_PEERPIDFD: libc::c_int = 77;

/// `NGROUPS_MAX`, and the group of the process beside them.
const GROUPS_MAX: usize = 65_537;

/// `Ok(None)` where the kernel knows nobody at the other end.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Option<PeerCredentials>> {
    // struct ucred: pid, uid, gid
    let mut credentials = [0_u32; 3];
    getsockopt(socket, libc::SO_PEERCRED, &mut credentials)?;
    let [pid, uid, gid] = credentials;
    if uid == u32::MAX {
        return Ok(None);
    }
    Ok(Some(PeerCredentials { pid: Some(pid).filter(|&pid| pid != 0), uid, gid }))
}

/// The supplementary groups of the peer; none where the kernel does not tell (before Linux 4.13).
pub(crate) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        match getsockopt(socket, SO_PEERGROUPS, &mut groups) {
            Ok(filled) => {
                groups.truncate(filled);
                return Ok(groups);
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ERANGE) if groups.len() < GROUPS_MAX => groups = vec![0; GROUPS_MAX],
                Some(libc::ENOPROTOOPT | libc::ENODATA) => return Ok(Vec::new()),
                _ => return Err(error),
            },
        }
    }
}

/// `Ok(None)` where the kernel has no such option (before Linux 6.5), or knows nobody at the other end.
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut number = [u32::MAX];
    match getsockopt(socket, SO_PEERPIDFD, &mut number) {
        // SAFETY: the kernel has just made this descriptor, close-on-exec, and told it to nobody else.
        Ok(1) => Ok(i32::try_from(number[0]).ok().map(|number| unsafe { OwnedFd::from_raw_fd(number) })),
        Ok(_) => Ok(None),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOPROTOOPT | libc::ENODATA) => Ok(None),
            // Before Linux 6.16, of a process that has ended and has been waited for.
            Some(libc::EINVAL) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            _ => Err(error),
        },
    }
}

/// How many of the values the kernel has filled.
fn getsockopt(socket: BorrowedFd<'_>, option: libc::c_int, values: &mut [u32]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(mem::size_of_val(values)).unwrap_or(0);
    // SAFETY: see the head of this file; `values` and `length` outlive the call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, values.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).unwrap_or(0) / mem::size_of::<u32>())
}
