//! Step 1 and its end: `<name>.lock`, and the life lock `<name>.owner`, which is the same kind of file.
//!
//! Two truths meet in it. Among our own, the flock is the lock and the file is only where it lives, so that a killed
//! holder's file is taken over and is never "stale". Towards git's protocol the file's existence is the lock. The mark
//! of ours, mode 01400, is set in the same call that creates the file: there is no moment, however short, in which a
//! crash leaves a file that cannot be told apart, and no other user can open it to hold its flock.

mod file;
mod wait;

use std::ffi::CStr;

use rustix::io::Errno;

use super::judge::{Proof, Verdict};
use super::{ATTEMPTS, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::place::Place;
use crate::sys::{FileId, Sys};
use crate::{FileKind, LockScope, PathState, trace};

use file::Attempt;
pub(crate) use file::is_mark;
use wait::{Busy, Holder, Patience};

/// A lock file that is flocked by us, has one link and stands at its name.
#[derive(Debug)]
pub(crate) struct Lock<Fd> {
    file: Fd,
    id: FileId,
    which: Which,
    /// A dead holder had left it.
    inherited: bool,
    /// And what stands at the name is that one's socket.
    proves: bool,
    /// It has just been seen at its name.
    confirmed: bool,
}

impl<Fd> Lock<Fd> {
    pub(crate) fn file(&self) -> &Fd {
        &self.file
    }

    pub(super) fn prove(&mut self, proves: bool) {
        self.proves = proves;
    }

    /// That of the server whose life lock it was, if a refusal proves nothing.
    pub(super) fn proves_a_death(&self) -> bool {
        self.proves
    }

    /// It is to be looked for once more before its name is unlinked.
    pub(super) fn forget_name(&mut self) {
        self.confirmed = false;
    }

    /// True if a dead holder had left it: whoever that was is gone.
    pub(crate) fn is_inherited(&self) -> bool {
        self.inherited
    }
}

/// Which of a place's two lock files.
#[derive(Clone, Copy, Debug)]
enum Which {
    Short,
    Life,
}

pub(super) struct Locks<Fd> {
    pub(super) lock: Lock<Fd>,
    /// For a publisher of `LockScope::Lifetime`.
    pub(super) life: Option<Lock<Fd>>,
}

/// What the lock is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A server at the path. A live one there ends the wait; the life lock is taken too, if that is the scope.
    Publish,
    /// The path, by one who holds the life lock already or wants none: to publish a claim, to remove what is dead. A live
    /// server there ends the wait.
    Path,
    /// The lock alone: to remove our own node, to heal, to start a server. Who lives at the path is no matter.
    Lock,
    /// To have the life lock as well, by one who has published already.
    Succeed,
}

impl Purpose {
    /// The path is wanted, so a live server there ends the wait.
    fn wants_path(self) -> bool {
        matches!(self, Purpose::Publish | Purpose::Path)
    }

    fn wants_life(self) -> bool {
        matches!(self, Purpose::Publish | Purpose::Succeed)
    }
}

impl<S: Sys> Protocol<'_, S> {
    /// Step 1: waits for the lock, at most as long as the caller's timeout.
    pub(super) fn lock(&self, purpose: Purpose) -> Result<Locks<S::Fd>> {
        let mut wait = trace::Wait::default();
        let locks = self.lock_in_time(purpose, &mut wait);
        wait.end(&self.place.shown, locks.as_ref().err());
        locks
    }

    fn lock_in_time(&self, purpose: Purpose, wait: &mut trace::Wait) -> Result<Locks<S::Fd>> {
        let mut patience = Patience::new(self.sys, self.options.lock_timeout);
        let mut denied = None;
        loop {
            let busy = match self.try_locks(purpose)? {
                Ok(locks) => return Ok(locks),
                Err(busy) => busy,
            };
            let (who, file) = busy.holder.told();
            wait.begin(&self.place.shown, self.lock_name(busy.which), who, file);
            if purpose.wants_path() {
                self.look()?;
                // Not of a path that is ours already: a server that is told to end removes it all the same.
                if self.options.is_interrupted() {
                    return Err(self.interrupted(busy.which));
                }
            }
            if self.is_left_by_another_user(busy.holder, &mut denied) {
                return Err(self.not_had(busy));
            }
            if !patience.pause() {
                if purpose.wants_path() {
                    self.look()?; // the last word: it may have begun to listen since it was judged
                }
                return Err(self.not_had(busy));
            }
        }
    }

    /// The lock, and under it the life lock where one is wanted: both or neither.
    fn try_locks(&self, purpose: Purpose) -> Result<Result<Locks<S::Fd>, Busy>> {
        let lock = match self.try_lock(Which::Short) {
            Ok(Attempt::Held(lock)) => lock,
            Ok(Attempt::Busy(holder)) => return Ok(Err(Busy { which: Which::Short, holder })),
            Err(error) => {
                // Where no lock can be made, a live server at the path is still the better answer.
                if purpose.wants_path() {
                    self.look()?;
                }
                return Err(error);
            }
        };
        if !purpose.wants_life() || self.options.scope != LockScope::Lifetime {
            return Ok(Ok(Locks { lock, life: None }));
        }
        if purpose == Purpose::Publish {
            match self.may_make_life() {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(Locks { lock, life: None })),
                Err(error) => {
                    self.unlock(lock);
                    return Err(error);
                }
            }
        }
        let busy = match self.try_lock(Which::Life) {
            Ok(Attempt::Held(life)) => return Ok(Ok(Locks { lock, life: Some(life) })),
            // A live server that yields gives it back when it has drained, and it drains once it has been replaced.
            Ok(Attempt::Busy(Holder::Flocked(_))) if purpose == Purpose::Publish && self.name_yields() => {
                return Ok(Ok(Locks { lock, life: None }));
            }
            Ok(Attempt::Busy(holder)) => Ok(Err(Busy { which: Which::Life, holder })),
            Err(error) => Err(error),
        };
        self.unlock(lock);
        busy
    }

    /// Under the lock: a life lock is not made beside a socket that may be a live server's. Where a refusal proves nothing,
    /// the next start would take it for what that server has left, should we be killed. False: a server that yields is
    /// taken over from without one, as if it had its own still.
    pub(super) fn may_make_life(&self) -> Result<bool> {
        let Place { dir, name, life, .. } = self.place;
        let is_absent = |name| matches!(self.sys.stat_at(dir, name), Err(Errno::NOENT));
        if is_absent(name) || !is_absent(life) {
            return Ok(true);
        }
        for time in 0..ATTEMPTS {
            match self.judge(name, None) {
                Verdict::Absent | Verdict::Dead(_) => return Ok(true),
                Verdict::Replaceable { pin, .. } => {
                    let reach = self.sys.reach(&pin).map_err(|errno| self.failed("fstatfs", errno))?;
                    return Ok(!reach.needs_flock());
                }
                // Gone from the name between two looks, where a pin is no more than the name.
                Verdict::Other(PathState::CannotTell { errno })
                    if errno == Errno::STALE.raw_os_error() && time + 1 < ATTEMPTS => {}
                Verdict::Other(state) => return Err(self.in_the_way(name, state)),
            }
        }
        Err(self.taken_away())
    }

    /// Under the lock: the life lock, if a dead server has left it behind. Held by a living one, it is the answer `InUse`.
    pub(super) fn left_life(&self) -> Result<Option<Lock<S::Fd>>> {
        if !self.is_marked(&self.place.life)? {
            return Ok(None);
        }
        match self.try_lock(Which::Life)? {
            Attempt::Held(life) => Ok(Some(life)),
            Attempt::Busy(holder) => Err(self.not_had(Busy { which: Which::Life, holder })),
        }
    }

    /// Does a lock file of ours stand at this name, whoever holds it?
    pub(super) fn is_marked(&self, name: &CStr) -> Result<bool> {
        match self.sys.stat_at(&self.place.dir, name) {
            Ok(stat) => Ok(is_mark(&stat)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.failed("fstatat the lock file", errno)),
        }
    }

    /// The life lock that we hold keeps others out by its name. Where that has been deleted, another is made.
    pub(super) fn renew_life(&self, life: &mut Option<Lock<S::Fd>>) -> Result<()> {
        let Some(held) = life else { return Ok(()) };
        match self.sys.stat_at(&self.place.dir, &self.place.life) {
            Ok(now) if now.id == held.id => return Ok(()),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.failed("fstatat the lock file", errno)),
        }
        match self.try_lock(Which::Life)? {
            Attempt::Held(lock) => {
                *life = Some(lock); // the file of the other has no name, so that closing it is all
                Ok(())
            }
            Attempt::Busy(holder) => Err(self.not_had(Busy { which: Which::Life, holder })),
        }
    }

    fn lock_name(&self, which: Which) -> &CStr {
        match which {
            Which::Short => &self.place.lock,
            Which::Life => &self.place.life,
        }
    }

    /// Does the path lead to our directory? The lock is in there and is ours, so one look at it by its path tells that.
    /// It tells as well that it is still at its name, which step 7, a moment later, need not ask again. `None`: there is
    /// nothing to be seen there.
    pub(super) fn confirm(&self, lock: &mut Lock<S::Fd>) -> Option<bool> {
        let now = self.sys.stat_path(self.place.lock_path.as_ref()?).ok()?;
        lock.confirmed = now.id == lock.id;
        Some(lock.confirmed)
    }

    /// Step 7: still our file? Unlinked while we hold the flock, then closed. A file that cannot be looked at or unlinked
    /// is left without its flock, so that the next of ours takes it over; then this says why.
    pub(super) fn unlock(&self, lock: Lock<S::Fd>) -> Option<Errno> {
        let name = self.lock_name(lock.which);
        let is_at_name = if lock.confirmed { Ok(true) } else { self.seen_at_name(&lock) };
        let unlinked = match is_at_name {
            Ok(true) => self.sys.unlink(&self.place.dir, name),
            Ok(false) => Ok(()),
            Err(errno) => Err(errno),
        };
        drop(lock.file);
        unlinked.err().filter(|&errno| errno != Errno::NOENT) // deleted before, or since it was looked for
    }

    pub(super) fn is_at_name(&self, lock: &Lock<S::Fd>) -> bool {
        self.seen_at_name(lock) == Ok(true)
    }

    fn seen_at_name(&self, lock: &Lock<S::Fd>) -> Result<bool, Errno> {
        self.sys.stat_at(&self.place.dir, self.lock_name(lock.which)).map(|now| now.id == lock.id)
    }

    /// Under the short lock: a life lock by which nothing was published, because of this. One that a dead server had left
    /// stays with that server's socket, unlocked, as it was found: where a refusal proves nothing, it is what proves the
    /// death. Not if another server has the name, of whom it would prove it falsely.
    pub(super) fn unlock_unused(&self, life: Option<Lock<S::Fd>>, lock: &Lock<S::Fd>, error: &Error) {
        let Some(life) = life else { return };
        let may_be_its_servers = || match self.sys.stat_at(&self.place.dir, &self.place.name) {
            Ok(stat) => stat.kind == FileKind::Socket,
            Err(errno) => errno != Errno::NOENT,
        };
        let proves = match error.kind() {
            // Ours that had been bound when the lock was lost: it stays, and nobody else has this lock.
            ErrorKind::Moved => life.proves || !self.is_at_name(lock) && !self.is_seen_alive(),
            ErrorKind::InUse => false,
            _ => life.proves,
        };
        if proves && may_be_its_servers() {
            drop(life.file);
        } else {
            self.unlock(life);
        }
    }

    fn is_seen_alive(&self) -> bool {
        let verdict = self.verdict(&self.place.name, Proof::None);
        matches!(
            verdict,
            Verdict::Replaceable { .. }
                | Verdict::Other(PathState::Live { .. } | PathState::Busy | PathState::OtherType)
        )
    }
}
