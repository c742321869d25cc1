//! A supervisor in the background: what it tells the `ensure` that has started it, and where its output goes.
//!
//! `ensure` has the reading end of our standard output: a byte says what has come of it, the end of the file without
//! one that we end, with the exit status that `ensure` is to pass on. Standard error is `ensure`'s until then, so that its
//! user reads why.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::stdio;
use unix_stream_server::{Error, ErrorKind, StartLock};

use super::lives;
use crate::exit;
use crate::message::{About, failed, reason, say};

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
        // Started by /proc/self/exe, it would be `exe` to ps(1) and to `status`; it has no reason to fail.
        let _ = rustix::thread::set_name(c"unix-ss");
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
                let (name, why) = (file.display(), reason(&errno.into()));
                Err(failed(About(file, Some(errno.raw_os_error()), format_args!("cannot open the log {name}: {why}"))))
            }
        }
    }

    /// What PROG gets for its output.
    pub(crate) fn output(&self) -> io::Result<Stdio> {
        Ok(Stdio::from(self.log.try_clone()?))
    }

    /// `PATH.start`, with nobody living at the path; or `ensure` hears that somebody else is at it.
    pub(crate) fn take_start_lock(&self, path: &Path) -> Result<StartLock, u8> {
        let lock = StartLock::try_take(path).map_err(|error| {
            // Held, and not left behind by another user.
            let busy = error.kind() == ErrorKind::Locked && error.raw_os_error() == Errno::EXIST.raw_os_error();
            self.cannot_start(&error, busy)
        })?;
        // Between the look of `ensure` and the lock somebody may have started it.
        if lives(path)? {
            self.tell(BUSY);
            return Err(exit::IN_USE);
        }
        Ok(lock)
    }

    /// Tells `ensure` that somebody has the path, or says what else is in the way; the exit status.
    pub(crate) fn refused(&self, error: &Error) -> u8 {
        self.cannot_start(error, error.kind() == ErrorKind::InUse)
    }

    fn cannot_start(&self, error: &Error, busy: bool) -> u8 {
        if busy {
            self.tell(BUSY);
        } else {
            say(error);
        }
        exit::of_server(error)
    }

    /// Tells `ensure`, and lets go of it: from here on we write to the log. If it has gone, so be it.
    pub(crate) fn tell(&self, word: u8) {
        let _ = io::stdout().write_all(&[word]).and_then(|()| io::stdout().flush());
        let _ = stdio::dup2_stdout(&self.log);
        let _ = stdio::dup2_stderr(&self.log);
    }
}
