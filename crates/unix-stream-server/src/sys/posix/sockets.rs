//! Making sockets, and asking what one is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType};

use super::os;

/// A Unix socket, close-on-exec.
pub(crate) fn new_socket(kind: SocketType, blocks: bool) -> Result<OwnedFd, Errno> {
    os::new_socket(kind, blocks)
}

/// The next client, close-on-exec. It blocks, also where the listener does not.
pub(crate) fn accept(listener: impl AsFd) -> Result<OwnedFd, Errno> {
    os::accept(listener.as_fd())
}

/// No system but Linux has abstract names.
pub(crate) fn abstract_address(_name: &[u8]) -> Result<SocketAddrUnix, Errno> {
    Err(Errno::AFNOSUPPORT)
}

/// By the form of its name: not all have SO_DOMAIN.
pub(crate) fn family(socket: BorrowedFd<'_>) -> Result<AddressFamily, Errno> {
    net::getsockname(socket).map(|name| name.address_family())
}

pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    os::is_listening(socket)
}
