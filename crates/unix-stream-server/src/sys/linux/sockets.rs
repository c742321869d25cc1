//! Making sockets, and asking what one is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};

/// A peer that has gone is an error and no signal.
pub(crate) const SEND_QUIETLY: SendFlags = SendFlags::NOSIGNAL;

/// A Unix socket, close-on-exec.
pub(crate) fn new_socket(kind: SocketType, blocks: bool) -> Result<OwnedFd, Errno> {
    let flags = if blocks { SocketFlags::CLOEXEC } else { SocketFlags::CLOEXEC | SocketFlags::NONBLOCK };
    net::socket_with(AddressFamily::UNIX, kind, flags, None)
}

/// The next client, close-on-exec. It blocks, also where the listener does not.
pub(crate) fn accept(listener: impl AsFd) -> Result<OwnedFd, Errno> {
    net::accept_with(&listener, SocketFlags::CLOEXEC)
}

/// An abstract name (unix(7)), without its leading zero.
pub(crate) fn abstract_address(name: &[u8]) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new_abstract_name(name)
}

pub(crate) fn family(socket: BorrowedFd<'_>) -> Result<AddressFamily, Errno> {
    sockopt::socket_domain(socket)
}

pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    sockopt::socket_acceptconn(socket)
}
