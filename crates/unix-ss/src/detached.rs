//! A supervisor in the background: what it tells the `ensure` that has started it, and where its output goes.
//!
//! `ensure` has the reading end of our standard output: a byte says what has come of it, the end of the file without
//! one that we end, with the exit status that `ensure` is to pass on. Standard error is `ensure`'s until then, so that its
//! user reads why.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;
use unix_stream_server::{ErrorKind, StartLock};

use crate::exit;
use crate::message::{failed, reason, say};

/// Something lives there, through us.
pub(crate) const READY: u8 = b'\n';
/// Somebody else is, or was, at it.
pub(crate) const BUSY: u8 = b'B';
/// PROG runs, and nothing lived there in time.
pub(crate) const LATE: u8 = b'L';

pub(crate) struct Detached {
    log: File,
}

impl Detached {
    /// Leaves the session that we were started in.
    pub(crate) fn enter(log: Option<&Path>) -> Result<Self, u8> {
        // Fails only for the leader of a process group, which one that was started by `ensure` is not.
        rustix::process::setsid()
            .map_err(|errno| failed(format_args!("cannot leave the session: {}", reason(&errno.into()))))?;
        let file = log.unwrap_or(Path::new("/dev/null"));
        // A fifo that nobody reads shall not hang us, and a terminal not become ours.
        let create = if log.is_some() { OFlags::CREATE } else { OFlags::empty() };
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | create;
        let opened = rustix::fs::open(file, flags, Mode::from_raw_mode(0o666));
        let opened = opened.and_then(|log| rustix::io::ioctl_fionbio(&log, false).map(|()| File::from(log)));
        match opened {
            Ok(log) => Ok(Detached { log }),
            Err(errno) => {
                Err(failed(format_args!("cannot open the log {}: {}", file.display(), reason(&errno.into()))))
            }
        }
    }

    /// What PROG gets for its output.
    pub(crate) fn output(&self) -> io::Result<Stdio> {
        Ok(Stdio::from(self.log.try_clone()?))
    }

    /// Tells `ensure`, and lets go of it: from here on we write to the log. If it has gone, so be it.
    pub(crate) fn tell(&self, word: u8) {
        let _ = io::stdout().write_all(&[word]).and_then(|()| io::stdout().flush());
        let _ = stdio::dup2_stdout(&self.log);
        let _ = stdio::dup2_stderr(&self.log);
    }
}

/// `PATH.start`, or `ensure` hears that somebody else is at it.
pub(crate) fn take_start_lock(path: &Path, detached: &Detached) -> Result<StartLock, u8> {
    StartLock::try_take(path).map_err(|error| {
        // Held, and not left behind by another user.
        if error.kind() == ErrorKind::Locked && error.raw_os_error() == Errno::EXIST.raw_os_error() {
            detached.tell(BUSY);
        } else {
            say(&error);
        }
        exit::of_server(&error)
    })
}

/// How a hidden half of ours tells that it could not become PROG: by an errno in a pipe that exec closes.
pub(crate) struct ExecReport(OwnedFd);

impl ExecReport {
    /// The reading end, and the writing one for the other process.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((ExecReport(read), write))
    }

    /// Waits until it has become PROG, or says why not. The writing end must be closed here.
    pub(crate) fn wait(self) -> io::Result<()> {
        let mut errno = [0; 4];
        match File::from(self.0).read_exact(&mut errno) {
            Ok(()) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
            Err(_) => Ok(()), // the end of the file
        }
    }
}

/// The other end: why PROG could not be run.
pub(crate) fn report_exec(to: Option<OwnedFd>, error: &io::Error) -> bool {
    let Some(to) = to else { return false };
    let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
    File::from(to).write_all(&errno.to_ne_bytes()).is_ok()
}
