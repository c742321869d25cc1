//! Where a listening socket is bound: no system but Linux tells by other means than getsockname(2).

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::sys::FileId;

/// What the kernel says of a listening socket. None says anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// How many clients may wait.
    pub(crate) backlog: Option<u32>,
    pub(crate) is_shut: bool,
    never: std::convert::Infallible,
}

impl Bound {
    pub(crate) fn is_at(&self, _file: FileId) -> Option<bool> {
        match self.never {}
    }

    pub(crate) fn is_elsewhere(&self, _file: FileId, _known_dev: bool) -> bool {
        match self.never {}
    }
}

pub(crate) fn bound(_socket: BorrowedFd<'_>) -> Result<Bound, Errno> {
    Err(Errno::OPNOTSUPP)
}

pub(crate) fn listeners_named(_is_named: impl Fn(&[u8]) -> bool) -> Result<Vec<(u32, Bound)>, Errno> {
    Err(Errno::OPNOTSUPP)
}
