//! The credentials of a connected peer: `getsockopt(SO_PEERCRED)`.
//!
//! Our own call, because the kernel answers pid 0 for a peer outside our pid namespace and (0, -1, -1) for a peer that
//! was never reached, and a type that holds a non-zero pid cannot carry either.
//!
//! # Safety
//!
//! The one unsafe call hands the kernel a pointer to a local `libc::ucred`, which is plain integers for which every
//! bit pattern is valid, with its exact size. The kernel writes at most that many bytes (socket(7), SO_PEERCRED) and
//! keeps no pointer.
#![expect(unsafe_code, reason = "getsockopt has no safe wrapper that can express pid 0")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::PeerCredentials;

/// `Ok(None)` where the kernel knows nobody at the other end.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Option<PeerCredentials>> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let size = mem::size_of::<libc::ucred>();
    let mut length = libc::socklen_t::try_from(size).unwrap_or(0);
    // SAFETY: see the head of this file; `credentials` and `length` outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if credentials.uid == u32::MAX {
        return Ok(None);
    }
    Ok(Some(PeerCredentials {
        pid: u32::try_from(credentials.pid).ok().filter(|&pid| pid != 0),
        uid: credentials.uid,
        gid: credentials.gid,
    }))
}
