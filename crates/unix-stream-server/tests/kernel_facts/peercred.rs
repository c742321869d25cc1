//! SO_PEERCRED, read raw.
//!
//! rustix's `socket_peercred` stores the process id in a type that cannot be 0, and 0 is one of the answers here.
#![expect(unsafe_code, reason = "getsockopt(SO_PEERCRED) has no safe wrapper that allows process id 0")]

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// The process, user and group at the other end of `socket`, as the kernel puts them.
pub(crate) fn peercred(socket: impl AsFd) -> (i32, u32, u32) {
    let mut cred = libc::ucred { pid: -7, uid: 7, gid: 7 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `cred` and `len` outlive the call, and `len` is the size of `cred`, of which any bytes are a valid value.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &raw mut len,
        )
    };
    assert_eq!((done, len as usize), (0, size_of::<libc::ucred>()), "getsockopt(SO_PEERCRED)");
    (cred.pid, cred.uid, cred.gid)
}
