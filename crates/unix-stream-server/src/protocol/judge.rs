//! Step 3: is what stands at the name a dead server's socket, or anything else?
//!
//! Only "it is a socket, connect said ECONNREFUSED, and this kernel is the one that would know" is death, and only
//! for a caller that holds the lock. Everything unclear is an answer of its own.

use std::ffi::CStr;

use rustix::io::Errno;

use super::{Lock, Protocol};
use crate::error::{Error, Result};
use crate::sys::{Stat, Sys};
use crate::{FileKind, PathState};

pub(crate) enum Verdict<Fd> {
    Absent,
    /// A dead socket, and the pin that holds it.
    Dead(Fd),
    Other(PathState),
}

/// The version of the node that was judged last.
pub(super) type Seen = Option<Stat>;

impl<S: Sys> Protocol<'_, S> {
    /// Ends a wait, or saves one, where no lock is needed to know the answer: a live server at the path is in use,
    /// and what is not a socket will never be ours. Looks again only when the node has changed.
    pub(super) fn look(&self, seen: &mut Seen) -> Result<()> {
        let Ok(stat) = self.sys.stat_at(&self.place.dir, &self.place.name) else { return Ok(()) };
        if *seen == Some(stat) {
            return Ok(());
        }
        *seen = Some(stat);
        match self.judge(&self.place.name, None) {
            // Only with the lock can these be told, or acted on.
            Verdict::Absent | Verdict::Dead(_) | Verdict::Other(PathState::CannotTell { .. }) => Ok(()),
            Verdict::Other(state) => Err(Error::refused(self.operation, &self.place.shown, state)),
        }
    }

    /// What stands at the name. `life`: our life lock, if we hold one.
    pub(crate) fn judge(&self, name: &CStr, life: Option<&Lock<S::Fd>>) -> Verdict<S::Fd> {
        let pin = match self.sys.pin(&self.place.dir, name) {
            Ok(pin) => pin,
            Err(Errno::NOENT) => return Verdict::Absent,
            Err(errno) => return cannot_tell(errno),
        };
        // A life lock that a dead server left behind says more than any file system: that server is dead.
        let proven = self.options.assume_local || life.is_some_and(Lock::is_inherited);
        match judge_pin(self.sys, &pin, proven) {
            PathState::Dead => Verdict::Dead(pin),
            state => Verdict::Other(state),
        }
    }
}

/// What the file behind `pin` is. `trust_refused`: a refusal means death on any file system.
pub(crate) fn judge_pin<S: Sys>(sys: &S, pin: &S::Fd, trust_refused: bool) -> PathState {
    match sys.stat(pin) {
        Ok(stat) if stat.kind == FileKind::Socket => {}
        // Asked first: connect() says ECONNREFUSED of a regular file, a directory and a fifo as well.
        Ok(stat) => return PathState::NotASocket { kind: stat.kind },
        Err(errno) => return PathState::CannotTell { errno: errno.raw_os_error() },
    }
    match sys.connect(pin) {
        Ok(probe) => PathState::Live { peer: sys.peer(&probe) },
        // The backlog is full: alive, and a blocking connect would wait for ever.
        Err(Errno::AGAIN) => PathState::Busy,
        // A listening socket of another type, or a connected datagram socket: alive.
        Err(Errno::PROTOTYPE) => PathState::OtherType,
        // Nobody listens, if this is the kernel that would know: through NFS and its like, live servers refuse too.
        Err(Errno::CONNREFUSED) if trust_refused => PathState::Dead,
        Err(Errno::CONNREFUSED) => match sys.is_local(pin) {
            Ok(true) => PathState::Dead,
            Ok(false) => PathState::CannotTell { errno: Errno::CONNREFUSED.raw_os_error() },
            Err(errno) => PathState::CannotTell { errno: errno.raw_os_error() },
        },
        // ACCES: live or dead alike. MFILE, NFILE, NOMEM: our own trouble. NOENT: /proc is missing or not ours, not
        // "absent", since the pin holds the file. Anything else: not known, hence not death.
        Err(errno) => PathState::CannotTell { errno: errno.raw_os_error() },
    }
}

fn cannot_tell<Fd>(errno: Errno) -> Verdict<Fd> {
    Verdict::Other(PathState::CannotTell { errno: errno.raw_os_error() })
}
