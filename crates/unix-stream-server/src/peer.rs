//! Who is at the other end of a connection.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

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

/// The supplementary groups of the process at the other end, as of the same moment as its
/// [credentials](peer_credentials) (`SO_PEERGROUPS`). Its own group, the `gid` of the credentials, need not be among
/// them. Empty where the kernel does not tell: before Linux 4.13.
///
/// # Errors
///
/// `ENOTSOCK` for a descriptor that is no socket.
pub fn peer_groups(stream: &impl AsFd) -> io::Result<Vec<u32>> {
    peercred::peer_groups(stream.as_fd())
}

/// A pidfd of the process at the other end (`SO_PEERPIDFD`): of the one that called `connect`, for a client, or
/// `listen`, for a server. Close-on-exec.
///
/// A pid may be another process's by the time it is looked at; a pidfd never is. It polls readable when the process has
/// ended, and pidfd_send_signal(2) reaches that process or nobody. The process may all the same have handed its end of
/// the connection to another.
///
/// `None` where the kernel has no such thing (before Linux 6.5), or knows nobody there: then the
/// [pid](crate::PeerCredentials::pid) is all there is, and a hint.
///
/// # Errors
///
/// `ESRCH` where the process has ended and been waited for (newer kernels give a pidfd of it all the same), `EMFILE`
/// without a free descriptor, `ENOTSOCK` for a descriptor that is no socket.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
/// # let server = unix_stream_server::ServerSocket::create(&path)?;
/// let client = unix_stream_server::connect(&path)?;
/// match unix_stream_server::peer_pidfd(&client)? {
///     Some(_pidfd) => {} // poll it: readable when the server has ended
///     None => {}         // an older kernel
/// }
/// # server.close()?; Ok(()) }
/// ```
pub fn peer_pidfd(stream: &impl AsFd) -> io::Result<Option<OwnedFd>> {
    peercred::peer_pidfd(stream.as_fd())
}
