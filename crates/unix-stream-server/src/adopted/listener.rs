//! What a descriptor must be to be served, and listening on it once more.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use rustix::fs::{self, FileType};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketType, sockopt};

use super::{ADOPT, failed, shown};
use crate::error::{Error, ErrorKind};
use crate::sys::bound::{Bound, bound};
use crate::sys::{Sys, System, family, handle, is_listening};

/// Why a descriptor cannot be adopted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is something else than a listening stream Unix socket.
    Foreign {
        errno: Errno,
        /// What it is instead.
        is: String,
    },
    /// It could not be asked.
    Unknown(Errno),
}

impl Fault {
    pub(crate) fn closed() -> Self {
        Fault::new(Errno::BADF, "not open")
    }

    fn new(errno: Errno, is: impl Into<String>) -> Self {
        Fault::Foreign { errno, is: is.into() }
    }

    pub(crate) fn into_error(self, number: RawFd, name: Option<&str>) -> Error {
        let (errno, is) = match self {
            Fault::Foreign { errno, is } => (errno, is),
            Fault::Unknown(errno) => return failed(number, "getsockopt", errno),
        };
        let name = name.map(|name| format!(" (`{name}`)")).unwrap_or_default();
        let why =
            format!("descriptor {number}{name} is {is}, and not a listening stream Unix socket; it was left as it is");
        Error::new(ErrorKind::NotAListener, ADOPT, shown(number), errno, why)
    }
}

/// Is it a listening stream Unix socket? Changes nothing.
pub(crate) fn check(fd: BorrowedFd<'_>) -> Result<(), Fault> {
    match family(fd) {
        Ok(AddressFamily::UNIX) => {}
        Ok(AddressFamily::INET | AddressFamily::INET6) => {
            return Err(Fault::new(Errno::AFNOSUPPORT, "an internet socket"));
        }
        Ok(family) => {
            return Err(Fault::new(Errno::AFNOSUPPORT, format!("a socket of address family {}", family.as_raw())));
        }
        // BADF: it is open, but only as a place in the file system (O_PATH).
        Err(errno @ (Errno::NOTSOCK | Errno::BADF)) => return Err(Fault::new(errno, kind(fd))),
        Err(errno) => return Err(Fault::Unknown(errno)),
    }
    match sockopt::socket_type(fd) {
        Ok(SocketType::STREAM) => {}
        Ok(SocketType::DGRAM) => return Err(Fault::new(Errno::PROTOTYPE, "a datagram socket")),
        Ok(SocketType::SEQPACKET) => return Err(Fault::new(Errno::PROTOTYPE, "a seqpacket socket")),
        Ok(_) => return Err(Fault::new(Errno::PROTOTYPE, "a Unix socket of another type")),
        Err(errno) => return Err(Fault::Unknown(errno)),
    }
    match is_listening(fd) {
        Ok(true) => Ok(()),
        Ok(false) if net::getpeername(fd).is_ok() => Err(Fault::new(Errno::INVAL, "a connected socket")),
        Ok(false) => Err(Fault::new(Errno::INVAL, "a socket that does not listen")),
        Err(errno) => Err(Fault::Unknown(errno)),
    }
}

fn kind(fd: BorrowedFd<'_>) -> &'static str {
    match fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::RegularFile) => "a regular file",
        Ok(FileType::Directory) => "a directory",
        Ok(FileType::Fifo) => "a pipe",
        Ok(FileType::CharacterDevice | FileType::BlockDevice) => "a device",
        Ok(FileType::Socket) => "the file of a socket", // opened with O_PATH
        _ => "no socket",
    }
}

/// listen(2) with the backlog that the socket has; says where it is bound, or why the kernel does not tell.
///
/// Where it does not tell the backlog, the largest that the kernel allows is used: room for more clients harms none.
pub(crate) fn refresh(fd: BorrowedFd<'_>) -> Result<Result<Bound, Errno>, Errno> {
    let bound = bound(fd);
    let backlog = bound.ok().and_then(|bound| bound.backlog).and_then(|backlog| i32::try_from(backlog).ok());
    net::listen(fd, backlog.unwrap_or(i32::MAX))?;
    Ok(bound)
}

/// Nobody gets in any more by any copy, and who is blocked in connect() wakes: as `Protocol::shut` does, and why is
/// told there. The listener's accept() comes to an end.
pub(super) fn shut(listener: UnixListener) -> UnixListener {
    let listener = handle(OwnedFd::from(listener));
    let is_shut = System.shut(&listener).is_ok();
    let _ = System.listen(&listener, 0);
    let _ = System.listen(&listener, i32::MAX);
    let listener = UnixListener::from(listener);
    if !is_shut {
        // Then nothing ends the queue, and accept() would wait for the next client for ever.
        let _ = listener.set_nonblocking(true);
    }
    listener
}
