//! What a cleaning would do, found out without a lock, and so only true of this moment.

use std::ffi::CStr;

use rustix::fs::{Access, AtFlags, accessat};
use rustix::io::Errno;

use super::Directory;
use crate::PathState;
use crate::clean::CLEAN;
use crate::error::{Error, ErrorKind, Result};
use crate::place::Place;
use crate::protocol::{Left, Proof, Sweep, Swept, is_mark, judge_pin, proof_beside};
use crate::sys::{FlockHolder, Reach, Stat, Sys, System};

#[cfg(not(target_os = "android"))]
const EFFECTIVE_IDS: AtFlags = AtFlags::EACCESS;
/// It asks for the real ids only.
#[cfg(target_os = "android")]
const EFFECTIVE_IDS: AtFlags = AtFlags::empty();

impl Directory<'_> {
    pub(super) fn would_sweep(&self, sweep: Sweep) -> Swept {
        let mut would = Vec::new();
        let mut state = self.would_remove(sweep, &mut would);
        let (mut removed, mut kept) = (Vec::new(), Vec::new());
        for left in would {
            match self.refusal(left, sweep) {
                // Beside a socket that stays, as what proves its death.
                None if left == Left::Life && sweep.sockets && state.is_err() => {}
                None => removed.push(left),
                Some(error) if left == Left::Socket => state = Err(error),
                Some(error) => kept.push((left, error)),
            }
        }
        Swept { state: state.and_then(|state| self.told(state, &removed)), removed, kept }
    }

    /// What is at the name, and what would be removed by who may remove everything: the socket first.
    fn would_remove(&self, sweep: Sweep, would: &mut Vec<Left>) -> Result<PathState> {
        let Place { dir, name, lock, life, beside, .. } = &self.place;
        let is_left = |name: &CStr| {
            // Without a link it has gone between the lookup of its name and the look at it.
            let stat = System.stat_at(dir, name).ok().filter(|stat| is_mark(stat) && stat.links > 0)?;
            Some(stat.links == 1 && System.flock_holder(stat.id) == FlockHolder::Nobody)
        };
        let left_life = if sweep.life { is_left(life) } else { None };
        let is_held = left_life == Some(false);
        let judge = |name: &CStr, proof| {
            let Ok(pin) = System.pin(dir, name) else { return (PathState::Absent, false) };
            let is_old = System.stat(&pin).is_ok_and(|stat| Some(stat.changed) < sweep.changed_before);
            let state = judge_pin(&System, &pin, proof);
            (state, state == PathState::Dead && is_old)
        };
        let proof = match (self.options.options.assume_local, left_life) {
            (true, _) => Proof::Certain,
            (false, Some(true)) => Proof::LifeLock,
            (false, _) => Proof::None,
        };
        let (state, goes) = if sweep.sockets && !is_held { judge(name, proof) } else { (PathState::Absent, false) };
        would.extend(goes.then_some(Left::Socket));
        if sweep.temporary && !is_held {
            would.extend(judge(beside, proof_beside(&self.place)).1.then_some(Left::Temporary));
        }
        let proves = matches!((state, goes), (PathState::CannotTell { .. }, _) | (PathState::Dead, false))
            || !sweep.sockets && self.is_there(name) && System.reach(dir).is_ok_and(Reach::needs_flock);
        would.extend((left_life == Some(true) && !proves).then_some(Left::Life));
        would.extend((sweep.tells_lock() && is_left(lock) == Some(true)).then_some(Left::Lock));
        if let Some(error) = self.would_be_locked(!would.is_empty()) {
            would.clear();
            return Err(error);
        }
        if is_held {
            let in_use = || Error::refused(CLEAN, &self.place.shown, PathState::Live { peer: None });
            return Err(self.would_be_linked(life).unwrap_or_else(in_use));
        }
        Ok(state)
    }

    fn told(&self, state: PathState, removed: &[Left]) -> Result<PathState> {
        match state {
            PathState::Absent | PathState::Dead => Ok(state),
            state if removed.is_empty() => {
                let error = Error::refused(CLEAN, &self.place.shown, state);
                let asked = self.would_be_asked(&self.place.name, state);
                Err(if asked {
                    error.and("its owner can tell by a real run, which asks under the lock")
                } else {
                    error
                })
            }
            state => Ok(state),
        }
    }

    /// Whoever has the lock, as far as that can be seen: then a real run would remove nothing. A file that is not our
    /// mark keeps only those from it who have something `to_remove`.
    fn would_be_locked(&self, to_remove: bool) -> Option<Error> {
        let Place { name, lock, .. } = &self.place;
        let stat = System.stat_at(&self.place.dir, lock).ok()?;
        let who = match System.flock_holder(stat.id) {
            _ if !is_mark(&stat) && to_remove => "it was made by another program".to_owned(),
            _ if !is_mark(&stat) => return None,
            FlockHolder::Process(pid) => format!("process {pid} holds it"),
            FlockHolder::Nobody => return self.would_be_linked(lock),
            // Nothing that would be removed, and so nothing that is asked for its permissions.
            FlockHolder::Unknown => return self.would_be_linked(lock).or_else(|| self.would_be_closed(lock, name)),
        };
        Some(self.not_had(lock, Errno::EXIST, &who, name))
    }

    fn would_be_linked(&self, lock: &CStr) -> Option<Error> {
        let stat = System.stat_at(&self.place.dir, lock).ok().filter(|stat| is_mark(stat) && stat.links > 1)?;
        let is_held = matches!(System.flock_holder(stat.id), FlockHolder::Process(_));
        (!is_held).then(|| self.not_had(lock, Errno::EXIST, "it has a second link somewhere", &self.place.name))
    }

    /// Another user's lock, without which this file stays. Our own is mended, if a umask has closed it.
    fn would_be_closed(&self, lock: &CStr, file: &CStr) -> Option<Error> {
        let is_another = |stat: &Stat| is_mark(stat) && stat.uid != System.euid();
        let owner = System.stat_at(&self.place.dir, lock).ok().filter(is_another)?.uid;
        let errno = self.refused(lock, Access::READ_OK)?;
        Some(self.not_had(lock, errno, &format!("it is of uid {owner}"), file))
    }

    fn not_had(&self, lock: &CStr, errno: Errno, who: &str, file: &CStr) -> Error {
        let why = format!("its lock {} would not be had: {who}", self.path_of(lock).display());
        Error::new(ErrorKind::Locked, CLEAN, self.path_of(file), errno, why)
    }

    /// Why a real run could not remove it, as far as permissions and owners tell.
    fn refusal(&self, left: Left, sweep: Sweep) -> Option<Error> {
        let Place { dir, lock, life, .. } = &self.place;
        // Without the lock nothing is done, and without the life lock nothing but to give the lock back.
        let asks_life = sweep.life && left != Left::Lock;
        let (file, _) = self.file_of(left);
        let closed_life = || if asks_life { self.would_be_closed(life, &file) } else { None };
        let closed = self.would_be_closed(lock, &file).or_else(closed_life);
        if closed.is_some() {
            return closed;
        }
        let not_unlinked = |errno| Error::system(CLEAN, self.path_of(&file), "unlink", errno);
        if let Some(errno) = self.refused(c".", Access::WRITE_OK | Access::EXEC_OK) {
            return Some(not_unlinked(errno));
        }
        let (directory, stat) = (System.stat(dir).ok()?, System.stat_at(dir, &file).ok()?);
        let is_sticky = directory.mode & 0o1000 != 0; // unlink(2)
        let may_unlink = [0, directory.uid, stat.uid].contains(&System.euid());
        (is_sticky && !may_unlink).then(|| {
            not_unlinked(Errno::PERM).and(&format!("it is of uid {}: that user or root can remove it", stat.uid))
        })
    }

    /// Why we may not do that with a file, by the permissions that we have now.
    fn refused(&self, file: &CStr, access: Access) -> Option<Errno> {
        let error = accessat(&self.place.dir, file, access, EFFECTIVE_IDS).err()?;
        matches!(error, Errno::ACCESS | Errno::PERM | Errno::ROFS).then_some(error)
    }

    /// A socket of our own that has no write bit for us: to ask it, a real run gives it one for a moment.
    fn would_be_asked(&self, name: &CStr, state: PathState) -> bool {
        let denied = PathState::CannotTell { errno: Errno::ACCESS.raw_os_error() };
        state == denied && System.stat_at(&self.place.dir, name).is_ok_and(|stat| stat.uid == System.euid())
    }
}
