//! How the hidden half tells ours why it could not become PROG: by a step and an errno in a pipe that exec closes. Ours
//! says it then: standard error of the other may be a log that nobody reads yet.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::exit;
use crate::message::{About, failed, reason, say};
use crate::prog::{cannot_run, split};

/// What the hidden half has to do.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// The socket to its place.
    Socket = 1,
    /// The user of `--run-as`.
    User,
    Exec,
}

/// Why it could not become PROG.
pub(super) struct NoProgram {
    pub(super) step: Step,
    pub(super) error: io::Error,
}

impl NoProgram {
    /// Says why; the exit status.
    pub(super) fn say(&self, prog: &[OsString]) -> u8 {
        let path = Path::new(split(prog).0);
        let (program, why, errno) = (path.display(), reason(&self.error), self.error.raw_os_error());
        match self.step {
            Step::Socket => failed(About(path, errno, format_args!("cannot hand the socket to {program}: {why}"))),
            Step::User => {
                let why = format_args!("cannot become the user of --run-as and listen: {why}");
                say(About(path, errno, format_args!("cannot run {program}: {why}")));
                exit::CANNOT_RUN
            }
            Step::Exec => cannot_run(prog, &self.error),
        }
    }

    /// To our half. False if that does not hear it.
    pub(super) fn report(&self, to: Option<OwnedFd>) -> bool {
        let Some(to) = to else { return false };
        let errno = self.error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
        let [a, b, c, d] = errno.to_ne_bytes();
        File::from(to).write_all(&[self.step as u8, a, b, c, d]).is_ok()
    }
}

/// Our end.
pub(super) struct ExecReport(OwnedFd);

impl ExecReport {
    /// The reading end, and the writing one for the other process.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((ExecReport(read), write))
    }

    /// Waits until it has become PROG, or says why not. The writing end must be closed here.
    pub(super) fn wait(self) -> Result<(), NoProgram> {
        let mut word = [0; 5];
        if File::from(self.0).read_exact(&mut word).is_err() {
            return Ok(()); // the end of the file
        }
        let [step, a, b, c, d] = word;
        let step = [Step::Socket, Step::User].into_iter().find(|&known| known as u8 == step).unwrap_or(Step::Exec);
        Err(NoProgram { step, error: io::Error::from_raw_os_error(i32::from_ne_bytes([a, b, c, d])) })
    }
}
