//! How the hidden half tells ours that it could not become PROG: by an errno in a pipe that exec closes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Our end.
pub(super) struct ExecReport(OwnedFd);

impl ExecReport {
    /// The reading end, and the writing one for the other process.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((ExecReport(read), write))
    }

    /// Waits until it has become PROG, or says why not. The writing end must be closed here.
    pub(super) fn wait(self) -> io::Result<()> {
        let mut errno = [0; 4];
        match File::from(self.0).read_exact(&mut errno) {
            Ok(()) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
            Err(_) => Ok(()), // the end of the file
        }
    }
}

/// The other end: why PROG could not be run.
pub(super) fn report_exec(to: Option<OwnedFd>, error: &io::Error) -> bool {
    let Some(to) = to else { return false };
    let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
    File::from(to).write_all(&errno.to_ne_bytes()).is_ok()
}
