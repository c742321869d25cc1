//! Who is at the other end of a connection, by the system's own call: see `peer` in each system's file.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::os;
use crate::PeerCredentials;

/// `Ok(None)` where the kernel knows nobody at the other end.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Option<PeerCredentials>> {
    Ok(os::peer(socket)?.filter(|peer| peer.uid != u32::MAX))
}

/// The groups of the peer, as far as the system tells: on macOS and FreeBSD at most 16, on NetBSD and OpenBSD none.
pub(crate) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    os::peer_groups(socket)
}

/// There is no such descriptor here.
pub(crate) fn peer_pidfd(_socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// A process id as the kernel gives it: none where it is no number of a process.
pub(super) fn pid(number: libc::pid_t) -> Option<u32> {
    u32::try_from(number).ok().filter(|&pid| pid != 0)
}
