//! Step 3: is what stands at the name a dead server's socket, or anything else?
//!
//! Only "it is a socket, connect said ECONNREFUSED, and this kernel is the one that would know" is death, and only
//! for a caller that holds the lock. Everything unclear is an answer of its own.

use std::ffi::CStr;

use rustix::io::Errno;

use super::take_over::{LIFE_OF_ANOTHER, REPLACEABLE};
use super::{Lock, Options, Protocol};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::sys::{FileId, NAME_BEHIND_DESCRIPTOR_MAX, Reach, Sys};
use crate::{FileKind, PathState, trace};

pub(crate) enum Verdict<Fd> {
    Absent,
    /// A dead socket, and the pin that holds it.
    Dead(Fd),
    /// A live server that may be replaced, and is to be.
    Replaceable {
        pin: Fd,
        id: FileId,
        state: PathState,
    },
    Other(PathState),
}

impl<Fd> Verdict<Fd> {
    fn state(&self) -> PathState {
        match self {
            Verdict::Absent => PathState::Absent,
            Verdict::Dead(_) => PathState::Dead,
            Verdict::Replaceable { state, .. } | Verdict::Other(state) => *state,
        }
    }
}

impl<S: Sys> Protocol<'_, S> {
    /// Step 0, and again while waiting for the lock: ends a wait, or saves one, where no lock is needed to know the answer: a live server at the path is in use,
    /// and what is not a socket will never be ours.
    ///
    /// # Race condition
    ///
    /// A socket that refused may be one whose server had not called listen() yet, which no look at the file would show
    /// later. So a wait asks again each time, however little the file has changed.
    pub(crate) fn look(&self) -> Result<Found> {
        if self.sys.stat_at(&self.place.dir, &self.place.name).is_err() {
            return Ok(Found::Nothing); // nothing is there: the common case, for one call
        }
        match self.verdict(&self.place.name, Proof::None) {
            // Only with the lock can these be told, or acted on.
            Verdict::Absent => Ok(Found::Nothing),
            Verdict::Dead(_) | Verdict::Replaceable { .. } | Verdict::Other(PathState::CannotTell { .. }) => {
                Ok(Found::Socket)
            }
            Verdict::Other(state) => Err(Error::refused(self.operation, &self.place.shown, state)),
        }
    }

    /// Under the lock: what stands at the name. `life`: our life lock, if we hold one.
    pub(crate) fn judge(&self, name: &CStr, life: Option<&Lock<S::Fd>>) -> Verdict<S::Fd> {
        let proof = if self.options.assume_local {
            Proof::Certain
        } else if name == self.place.beside.as_c_str() {
            proof_beside(self.place)
        } else if life.is_some_and(Lock::proves_a_death) {
            Proof::LifeLock
        } else {
            Proof::None
        };
        match self.verdict(name, proof) {
            Verdict::Other(PathState::CannotTell { errno }) if errno == Errno::ACCESS.raw_os_error() => {
                self.ask_as_owner(name, proof)
            }
            verdict => verdict,
        }
    }

    pub(super) fn verdict(&self, name: &CStr, proof: Proof) -> Verdict<S::Fd> {
        let verdict = match self.sys.pin(&self.place.dir, name) {
            Ok(pin) => {
                let state = judge_pin(self.sys, &pin, proof);
                self.verdict_of(name, pin, state)
            }
            Err(Errno::NOENT) => Verdict::Absent,
            Err(errno) => cannot_tell(errno),
        };
        trace::judged(&self.place.shown, name, &verdict.state());
        verdict
    }

    fn verdict_of(&self, name: &CStr, pin: S::Fd, state: PathState) -> Verdict<S::Fd> {
        match state {
            PathState::Dead => Verdict::Dead(pin),
            state @ (PathState::Live { .. } | PathState::Busy) if self.asks_to_yield(name) => match self.yields(&pin) {
                Ok(Some(id)) => Verdict::Replaceable { pin, id, state },
                Ok(None) => Verdict::Other(state),
                Err(errno) => cannot_tell(errno),
            },
            state => Verdict::Other(state),
        }
    }

    /// connect() asks for the write bit of the owner as well. A socket that has none, because its server was given such
    /// a mode, or was killed before it gave back what an odd umask had taken, would stop every later start of its own
    /// user. So its owner, under the lock, gives it the bit for the question; nobody else gets in by that.
    fn ask_as_owner(&self, name: &CStr, proof: Proof) -> Verdict<S::Fd> {
        const OWNER_WRITES: u32 = 0o200;
        let denied = || cannot_tell(Errno::ACCESS);
        let Ok(pin) = self.sys.pin(&self.place.dir, name) else { return denied() };
        let Ok(stat) = self.sys.stat(&pin) else { return denied() };
        let may_help = stat.kind == FileKind::Socket && stat.mode & OWNER_WRITES == 0 && stat.uid == self.sys.euid();
        if !may_help || self.sys.chmod(&pin, stat.mode | OWNER_WRITES).is_err() {
            return denied();
        }
        let state = judge_pin(self.sys, &pin, proof);
        let _ = self.sys.chmod(&pin, stat.mode); // what it was, for a live server and for a claim that is given up
        trace::judged(&self.place.shown, name, &state);
        self.verdict_of(name, pin, state)
    }

    /// The error for what stands in the way; where it is a matter of rights, with whose it is.
    pub(super) fn in_the_way(&self, name: &CStr, state: PathState) -> Error {
        let error = Error::refused(self.operation, &self.place.shown, state);
        match state {
            PathState::CannotTell { errno } if errno == Errno::ACCESS.raw_os_error() => self.naming_owner(name, error),
            _ => error,
        }
    }

    pub(super) fn naming_owner(&self, name: &CStr, error: Error) -> Error {
        match self.sys.stat_at(&self.place.dir, name) {
            Ok(stat) => {
                error.and(&format!("it is of uid {}: that user or root can start here, or remove it", stat.uid))
            }
            Err(_) => error,
        }
    }
}

/// What step 0 has found at the path, where that is no answer. A hint: all is judged anew under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Socket,
}

/// Step 0 by the path itself, before anything is opened: what [`Protocol::look`] says, for half of the calls.
///
/// # Race condition
///
/// Between the two calls the socket may be replaced by a symbolic link, which connect() follows: then a server that it
/// leads to is said to be in the way, instead of the link. Either way nothing is changed.
pub(crate) fn glance<S: Sys>(sys: &S, path: &CStr, options: &Options) -> Result<Found, PathState> {
    match sys.stat_path(path) {
        Ok(stat) if stat.kind != FileKind::Socket => return Err(PathState::NotASocket { kind: stat.kind }),
        // What it is to be asked for is its place, under the lock.
        Ok(stat) if options.take_over && stat.mode & REPLACEABLE != 0 => return Ok(Found::Socket),
        Ok(_) => {}
        Err(_) => return Ok(Found::Nothing), // nothing is there: the common case, for one call
    }
    match sys.connect_path(path) {
        Ok(probe) => Err(PathState::Live { peer: sys.peer(&probe) }),
        Err(Errno::AGAIN) => Err(PathState::Busy),
        Err(Errno::PROTOTYPE) => Err(PathState::OtherType),
        Err(_) => Ok(Found::Socket), // what it is only the lock can tell
    }
}

/// What says, beside the kernel's own refusal, that a refusal is death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing: only this kernel's word, where it is the only one.
    None,
    /// The life lock, left behind: its holder is dead, if its flock would be seen from here. That is the server at the
    /// name, unless its socket's file says that it is another.
    LifeLock,
    /// The lock, which we hold: whoever needs the name would, if its flock would be seen from here.
    Lock,
    /// On any file system: the caller says that nobody else serves here, or nobody else has a use for the name.
    Certain,
}

/// What says, under the lock, that a socket at the temporary name is dead where it refuses: a starter that lives would
/// hold the lock.
///
/// Where flocks are not seen, one in another kernel may hold it too. But a name that can be bound itself needs the
/// temporary one only to take over, and that only from a server of one's own kernel: others are refused by that
/// server before they come to the temporary name.
pub(crate) fn proof_beside<Fd>(place: &Place<Fd>) -> Proof {
    match place.name.as_bytes().len() {
        0..=NAME_BEHIND_DESCRIPTOR_MAX => Proof::Certain,
        _ => Proof::Lock,
    }
}

/// What the file behind `pin` is.
pub(crate) fn judge_pin<S: Sys>(sys: &S, pin: &S::Fd, proof: Proof) -> PathState {
    let proof = match sys.stat(pin) {
        Ok(stat) if stat.kind == FileKind::Socket => match proof {
            Proof::LifeLock if stat.mode & LIFE_OF_ANOTHER != 0 => Proof::None,
            proof => proof,
        },
        // Asked first: connect() says ECONNREFUSED of a regular file, a directory and a fifo as well.
        Ok(stat) => return PathState::NotASocket { kind: stat.kind },
        Err(errno) => return PathState::CannotTell { errno: errno.raw_os_error() },
    };
    match sys.connect(pin) {
        Ok(probe) => PathState::Live { peer: sys.peer(&probe) },
        // The backlog is full: alive, and a blocking connect would wait for ever.
        Err(Errno::AGAIN) => PathState::Busy,
        // A listening socket of another type, or a connected datagram socket: alive.
        Err(Errno::PROTOTYPE) => PathState::OtherType,
        // Nobody listens, if this is the kernel that would know: through NFS and its like, live servers refuse too; and so
        // do, on some systems, busy ones.
        Err(Errno::CONNREFUSED) if proof == Proof::Certain => PathState::Dead,
        Err(Errno::CONNREFUSED) => match (sys.reach(pin), proof) {
            (Ok(Reach::Local), _) => PathState::Dead,
            (Ok(reach), Proof::LifeLock | Proof::Lock) if reach.needs_flock() => PathState::Dead,
            (Ok(_), _) => PathState::CannotTell { errno: Errno::CONNREFUSED.raw_os_error() },
            (Err(errno), _) => PathState::CannotTell { errno: errno.raw_os_error() },
        },
        // ACCES: live or dead alike. MFILE, NFILE, NOMEM: our own trouble. NOENT: /proc is missing or not ours, not
        // "absent", since the pin holds the file. Anything else: not known, hence not death.
        Err(errno) => PathState::CannotTell { errno: errno.raw_os_error() },
    }
}

fn cannot_tell<Fd>(errno: Errno) -> Verdict<Fd> {
    Verdict::Other(PathState::CannotTell { errno: errno.raw_os_error() })
}
