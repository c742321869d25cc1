//! Tidying up: what the dead left at a name, of which nobody wants to serve. The socket, its locks, and the temporary
//! name of a long one, each of them only if it is provably a dead one's, and all of it under the lock.

use std::ffi::CStr;

use rustix::io::Errno;

use super::lock::{Lock, Locks, Purpose};
use super::{Proof, Protocol, Verdict};
use crate::PathState;
use crate::error::{Error, Result};
use crate::sys::{FileId, Sys};

/// What may be removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// False: the socket at the name is in use, and only locks are looked at.
    pub(crate) sockets: bool,
    /// Also a life lock; while it is held, the socket is left alone.
    pub(crate) life: bool,
    /// Also what is at the temporary name.
    pub(crate) temporary: bool,
    /// Sockets that have changed since are left alone: a program that ignores the lock may be between bind and listen.
    pub(crate) changed_before: Option<(i64, u64)>,
}

impl Sweep {
    /// The lock is told of once: that of a temporary name alone has been by its own name.
    pub(crate) fn tells_lock(self) -> bool {
        self.life || !self.temporary
    }
}

/// What was there.
#[derive(Debug)]
pub(crate) struct Swept {
    pub(crate) removed: Vec<Left>,
    /// Beside the name, and could not be.
    pub(crate) kept: Vec<(Left, Error)>,
    /// At the name. Dead, and not among what was removed: too young. Or what is in the way of it.
    pub(crate) state: Result<PathState>,
}

/// What a dead process leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Left {
    Socket,
    Temporary,
    Lock,
    Life,
}

impl Swept {
    /// What came of something beside the name, which was removed or not.
    fn tell(&mut self, left: Left, removed: Result<bool>) {
        match removed {
            Ok(true) => self.removed.push(left),
            Ok(false) => {}
            Err(error) => self.kept.push((left, error)),
        }
    }
}

impl<S: Sys> Protocol<'_, S> {
    /// Removes what dead starters and servers left at the name, and nothing else.
    pub(crate) fn sweep(&self, sweep: Sweep) -> Swept {
        let mut swept = Swept { removed: Vec::new(), kept: Vec::new(), state: Ok(PathState::Absent) };
        swept.state = self.remove_left(sweep, &mut swept);
        swept
    }

    fn remove_left(&self, sweep: Sweep, swept: &mut Swept) -> Result<PathState> {
        if let Some(state) = self.without_need_of_lock(sweep)? {
            return Ok(state);
        }
        // A server that goes live while we wait is the answer; who is listed as one need not be looked at.
        let purpose = if sweep.sockets { Purpose::Path } else { Purpose::Lock };
        let Locks { lock, .. } = self.lock(purpose)?;
        // A lock that a dead holder had left goes with ours: they are the same file.
        let is_left = lock.is_inherited();
        let life = if sweep.life { self.left_life() } else { Ok(None) };
        let state = life.and_then(|life| self.sweep_under(life, sweep, swept));
        let unlinked = self.unlock(lock).map_or(Ok(is_left), |errno| Err(self.failed("unlink the lock file", errno)));
        swept.tell(Left::Lock, unlinked);
        match state? {
            state @ (PathState::Absent | PathState::Dead) => Ok(state),
            state if swept.removed.is_empty() => Err(self.in_the_way(&self.place.name, state)),
            state => Ok(state),
        }
    }

    /// Where nothing is left, or nothing of it can be ours to remove, no lock need be made to know it.
    fn without_need_of_lock(&self, sweep: Sweep) -> Result<Option<PathState>> {
        let verdict = match sweep.sockets {
            true => {
                self.verdict(&self.place.name, if self.options.assume_local { Proof::Certain } else { Proof::None })
            }
            false => Verdict::Absent,
        };
        let state = match verdict {
            Verdict::Replaceable { state, .. } => state,
            Verdict::Dead(pin) if self.is_old(&pin, sweep) => return Ok(None),
            Verdict::Dead(_) => PathState::Dead,
            Verdict::Absent => PathState::Absent,
            Verdict::Other(state) => state,
        };
        let place = self.place;
        if self.is_marked(&place.lock)? || sweep.life && self.is_marked(&place.life)? {
            return Ok(None);
        }
        if sweep.temporary && !matches!(self.sys.stat_at(&place.dir, &place.beside), Err(Errno::NOENT)) {
            return Ok(None);
        }
        match state {
            PathState::Absent | PathState::Dead => Ok(Some(state)),
            // Of one's own socket more can be found out, under the lock.
            PathState::CannotTell { errno } if errno == Errno::ACCESS.raw_os_error() && self.is_own() => Ok(None),
            state => Err(self.in_the_way(&place.name, state)),
        }
    }

    fn is_own(&self) -> bool {
        let Ok(stat) = self.sys.stat_at(&self.place.dir, &self.place.name) else { return false };
        stat.uid == self.sys.euid()
    }

    fn sweep_under(&self, life: Option<Lock<S::Fd>>, sweep: Sweep, swept: &mut Swept) -> Result<PathState> {
        let name = &self.place.name;
        let at_name = match sweep.sockets {
            true => self.clear_if_dead(name, life.as_ref(), sweep).inspect(|&(_, cleared)| {
                swept.removed.extend(cleared.then_some(Left::Socket));
            }),
            false => Ok((PathState::Absent, false)),
        };
        // Nobody uses it without the lock. What else may stand at that name is not ours, or drains.
        if sweep.temporary {
            let cleared = self.clear_if_dead(&self.place.beside, None, sweep).map(|(_, cleared)| cleared);
            swept.tell(Left::Temporary, cleared);
        }
        // On a file system that other kernels share, the life lock of a dead server is what proves its death. It stays as
        // long as that server's socket does; without it, the next start could not tell.
        let socket_stays = match &at_name {
            // Listed as in use, but its server may have been killed since.
            _ if !sweep.sockets => life.as_ref().is_some_and(|life| self.proves_a_death(life)),
            Ok((PathState::Dead, cleared)) => !cleared,
            Ok((state, _)) => matches!(state, PathState::CannotTell { .. }),
            Err(_) => true,
        };
        if let Some(life) = life.filter(|_| !socket_stays) {
            let unlinked = self.unlock(life).map_or(Ok(true), |errno| Err(self.failed("unlink the life lock", errno)));
            swept.tell(Left::Life, unlinked);
        }
        at_name.map(|(state, _)| state)
    }

    /// A refusal proves nothing here, and a socket is at the name, or may be.
    fn proves_a_death(&self, life: &Lock<S::Fd>) -> bool {
        let is_shared = !self.sys.reach(life.file()).is_ok_and(|reach| !reach.needs_flock());
        is_shared && !matches!(self.sys.stat_at(&self.place.dir, &self.place.name), Err(Errno::NOENT))
    }

    /// What stands at a name, and whether it was a dead socket that is now gone.
    fn clear_if_dead(&self, name: &CStr, life: Option<&Lock<S::Fd>>, sweep: Sweep) -> Result<(PathState, bool)> {
        // The owner's question of a socket that its owner may not connect to changes the file's mode, and so its time.
        let before = sweep.changed_before.and_then(|_| self.old_file(name, sweep));
        let was_old = |pin: &S::Fd| {
            before.as_ref().is_some_and(|(_held, id)| self.sys.stat(pin).is_ok_and(|stat| stat.id == *id))
        };
        match self.judge(name, life) {
            Verdict::Absent => Ok((PathState::Absent, false)),
            Verdict::Dead(pin) if self.is_old(&pin, sweep) || was_old(&pin) => {
                self.clear(name, &pin).map(|()| (PathState::Dead, true))
            }
            Verdict::Dead(_) => Ok((PathState::Dead, false)),
            Verdict::Replaceable { state, .. } | Verdict::Other(state) => Ok((state, false)),
        }
    }

    /// What stands at the name, if it is old: held, so that its number is no other file's while it is compared.
    fn old_file(&self, name: &CStr, sweep: Sweep) -> Option<(S::Fd, FileId)> {
        let pin = self.sys.pin(&self.place.dir, name).ok()?;
        let stat = self.sys.stat(&pin).ok()?;
        self.is_old(&pin, sweep).then_some((pin, stat.id))
    }

    fn is_old(&self, pin: &S::Fd, sweep: Sweep) -> bool {
        match sweep.changed_before {
            Some(before) => self.sys.stat(pin).is_ok_and(|stat| stat.changed < before),
            None => true,
        }
    }
}
