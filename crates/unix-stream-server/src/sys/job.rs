//! What a server is started with, and what is heard of it: the words of each platform's `spawn`.

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::io::Errno;

/// A program to be started, prepared to the last byte.
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "none is started there"))]
pub(crate) struct Job {
    /// Where the program may be, in the order of PATH.
    pub(crate) candidates: Vec<CString>,
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// Give it `LISTEN_PID` with its own process id.
    pub(crate) listen_pid: bool,
}

/// What the server gets.
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "none is started there"))]
pub(crate) struct Descriptors<'a> {
    pub(crate) input: BorrowedFd<'a>,
    pub(crate) output: BorrowedFd<'a>,
    /// To be descriptor 3.
    pub(crate) listener: Option<BorrowedFd<'a>>,
    /// Not for the server: a lock that the watcher keeps if we die, until the server has ended or the deadline is over.
    pub(crate) keep: Option<(BorrowedFd<'a>, Instant)>,
}

/// How a start went wrong, or a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "none is started there"))]
pub(crate) enum Report {
    /// It has ended, and so has everything that it had started if its status was 0: as of wait(2).
    Exited(i32),
    /// The program could not be run.
    NotRun(Errno),
    /// There was no process for it, or no descriptor.
    NotStarted(Errno),
    /// The watcher was killed: nothing will be heard of it any more.
    Lost,
}
