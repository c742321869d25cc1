//! Starting a server that outlives its starter is done on Linux only: elsewhere a child without a SIGCHLD, and orphans
//! that come to whoever waits for them, are not to be had by one means for all, and a plain fork() would be seen by the
//! program that we are part of.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::sys::job::{Descriptors, Job, Report};

/// Whether servers can be started here.
pub(crate) const IS_SUPPORTED: bool = false;

/// A server that is being started. There is none.
#[derive(Debug)]
pub(crate) struct Starting {
    channel: OwnedFd,
    never: std::convert::Infallible,
}

pub(crate) fn spawn(_job: &Job, _with: &Descriptors<'_>) -> Result<Starting, Errno> {
    Err(Errno::NOSYS)
}

impl Starting {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.channel)
    }

    pub(crate) fn report(&self) -> Option<Report> {
        match self.never {}
    }
}
