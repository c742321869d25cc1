//! What FreeBSD, NetBSD, OpenBSD and illumos have in common, and macOS has not.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};

use super::Handle;
use crate::sys::rename::rename_by_link;

/// A peer that has gone is an error and no signal.
pub(crate) const SEND_QUIETLY: SendFlags = SendFlags::NOSIGNAL;

pub(super) fn new_socket(kind: SocketType, blocks: bool) -> Result<OwnedFd, Errno> {
    let flags = if blocks { SocketFlags::CLOEXEC } else { SocketFlags::CLOEXEC | SocketFlags::NONBLOCK };
    net::socket_with(AddressFamily::UNIX, kind, flags, None)
}

pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    net::accept_with(listener, SocketFlags::CLOEXEC)
}

pub(super) fn is_listening(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    sockopt::socket_acceptconn(socket)
}

/// There is no such call.
pub(super) fn rename_exclusive(dir: &Handle, from: &CStr, to: &CStr) -> Result<(), Errno> {
    rename_by_link(dir.as_fd(), from, to)
}

/// Names cannot change places.
pub(super) fn exchange(_dir: &Handle, _one: &CStr, _other: &CStr) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}
