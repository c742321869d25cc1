//! Who is at the other end of a connection.

use std::io;
use std::os::fd::AsFd;

use crate::PeerCredentials;
use crate::sys::peercred;

/// The credentials of the process at the other end of a connected stream, as of its `connect` (for a client) or its
/// last `listen` (for a server). `None` where the kernel knows nobody.
///
/// # Errors
///
/// `ENOTSOCK` for a descriptor that is no socket.
pub fn peer_credentials(stream: &impl AsFd) -> io::Result<Option<PeerCredentials>> {
    peercred::peer_credentials(stream.as_fd())
}
