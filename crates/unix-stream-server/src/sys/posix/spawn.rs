//! Starting a server that outlives its starter is done on Linux only: elsewhere a child without a SIGCHLD, and orphans
//! that come to whoever waits for them, are not to be had by one means for all, and a plain fork() would be seen by the
//! program that we are part of.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;

/// Whether servers can be started here.
pub(crate) const IS_SUPPORTED: bool = false;

/// A program to be started.
#[expect(dead_code, reason = "the same items as on Linux, where it is started")]
pub(crate) struct Job {
    pub(crate) candidates: Vec<CString>,
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) listen_pid: bool,
}

/// What the server would get.
#[expect(dead_code, reason = "the same items as on Linux, where they are handed over")]
pub(crate) struct Descriptors<'a> {
    pub(crate) input: BorrowedFd<'a>,
    pub(crate) output: BorrowedFd<'a>,
    pub(crate) listener: Option<BorrowedFd<'a>>,
    pub(crate) keep: Option<(BorrowedFd<'a>, Instant)>,
}

/// How a start went wrong, or a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "the same items as on Linux, where it is reported")]
pub(crate) enum Report {
    Exited(i32),
    NotRun(Errno),
    NotStarted(Errno),
    Lost,
}

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
