//! Taking over: a successor that asks for it gets the name of a live server that has allowed it, and the name is never
//! absent on the way.
//!
//! The predecessor allows it by a mark on its socket's file, the sticky bit, which is there from bind on. To take over
//! from any other live server would orphan it, which is the harm that this project exists to end.
//!
//! Beside the name, under the lock: bind to a temporary name; identity; listen; exchange the two names, and look at what
//! came out. Without the lock: knock, so that even a predecessor that sleeps in accept() wakes and looks. It then sees
//! that it has been replaced, goes on accepting for a while, since a client may have found its socket just before, and
//! ends by [`retire`](Protocol::retire) without touching the name.

use std::ffi::CStr;

use rustix::io::Errno;

use super::judge::{Found, Proof, Verdict};
use super::lock::{Lock, Locks, Purpose};
use super::{Name, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, Route};
use crate::sys::{FileId, Stat, Sys};
use crate::{FileKind, LockScope};

/// "I may be replaced": the sticky bit on a socket's file, where it means nothing to the kernel.
pub(super) const REPLACEABLE: u32 = 0o1000;

/// "The life lock beside me is another's": the set-user-ID bit on a socket's file, where it means nothing to the kernel.
/// A successor without life lock says so where that lock, once its predecessor has been killed, would be taken to prove
/// the successor's own death: where a refusal proves nothing, and nowhere else.
pub(super) const LIFE_OF_ANOTHER: u32 = 0o4000;

/// Has the name been taken from whoever was to be replaced?
enum Taken {
    Yes,
    /// Nobody has it any more.
    NotThere,
}

impl<S: Sys> Protocol<'_, S> {
    /// Is a live server at the name to be replaced, if it may be? At the temporary name whoever carries the mark has been
    /// replaced already.
    pub(super) fn asks_to_yield(&self, name: &CStr) -> bool {
        self.options.take_over || name == self.place.beside.as_c_str()
    }

    /// May the live server behind `pin` be replaced? Then its file.
    pub(super) fn yields(&self, pin: &S::Fd) -> Result<Option<FileId>, Errno> {
        self.sys.stat(pin).map(|stat| (stat.mode & REPLACEABLE != 0).then_some(stat.id))
    }

    /// Under the lock: is a live server to be replaced at the name?
    pub(super) fn name_yields(&self) -> bool {
        self.options.take_over && matches!(self.verdict(&self.place.name, Proof::None), Verdict::Replaceable { .. })
    }

    /// Under the lock: the name leads to `socket` instead of to `predecessor`, which lives and yields. On an error the
    /// name is as it was.
    pub(super) fn take_over(
        &self,
        socket: &S::Fd,
        (predecessor, old): (&S::Fd, FileId),
        marks: u32,
        lock: &mut Lock<S::Fd>,
        life: Option<&Lock<S::Fd>>,
    ) -> Result<FileId> {
        if self.place.route != Route::Beside {
            self.bind_beside(socket, None)?;
        }
        let node = self.identify_beside(lock, old)?;
        self.life_of_another(predecessor, life)
            .and_then(|another| self.listen(socket, &self.place.beside, &node, marks | another))
            .and_then(|()| self.take_name(old, node.id, life))
            .inspect_err(|_| self.withdraw(&self.place.beside, node.id))?;
        Ok(node.id)
    }

    /// The name leads to `new`, which listens at the temporary one, instead of to `old`, which is kept from reuse.
    fn take_name(&self, old: FileId, new: FileId, life: Option<&Lock<S::Fd>>) -> Result<()> {
        match self.exchange(old, new)? {
            Taken::Yes => Ok(()),
            // Somebody who ignores the lock, a cleaner, has deleted the predecessor's socket: the name is free, or was.
            Taken::NotThere => match self.rename_to_name(life, Found::Nothing)? {
                Name::Free => Ok(()),
                Name::Yields { .. } => Err(self.changed()),
            },
        }
    }

    fn changed(&self) -> Error {
        let why = "a program that ignores the lock changed it while it was being taken over; try again";
        Error::new(ErrorKind::Moved, self.operation, &self.place.shown, Errno::STALE, why)
    }

    /// The mark of a server without life lock that others may stand beside, or none; by any `file` in the directory.
    pub(super) fn life_of_another(&self, file: &S::Fd, life: Option<&Lock<S::Fd>>) -> Result<u32> {
        if life.is_some() {
            return Ok(0);
        }
        let reach = self.sys.reach(file).map_err(|errno| self.failed("fstatfs", errno))?;
        Ok(if reach.needs_flock() { LIFE_OF_ANOTHER } else { 0 })
    }

    /// The same for one that asked for the life lock and met, on a free name, only who has it: the server that was to be
    /// replaced has lost its path meanwhile.
    pub(super) fn left_without_life_lock(&self, file: &S::Fd, life: Option<&Lock<S::Fd>>) -> Result<u32> {
        match self.options.scope {
            LockScope::Lifetime => self.life_of_another(file, life),
            LockScope::Startup => Ok(0),
        }
    }

    /// The temporary name leads to our new socket, and the path to the directory of the server that is to be replaced.
    fn identify_beside(&self, lock: &mut Lock<S::Fd>, old: FileId) -> Result<Stat> {
        let Place { dir, beside, .. } = self.place;
        let node = match self.sys.stat_at(dir, beside) {
            Ok(node) if node.kind == FileKind::Socket => node,
            _ => return Err(self.moved()),
        };
        let leads_here = self.leads_here(lock, old);
        // From here to the unlock is longer than in a start without predecessor: it looks once more.
        lock.forget_name();
        if leads_here {
            return Ok(node);
        }
        // As in `identify`.
        if self.place.bind_path_beside().is_none() && self.is_at_name(lock) {
            self.withdraw(beside, node.id);
        }
        Err(self.moved())
    }

    /// The two sockets change names, in one step, and the old one loses its new one.
    fn exchange(&self, old: FileId, new: FileId) -> Result<Taken> {
        let Place { dir, name, beside, .. } = self.place;
        match self.sys.exchange(dir, beside, name) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Taken::NotThere),
            // Not every file system can do it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return self.rename_over(old),
            Err(errno) => return Err(self.not_renamed("renameat2", errno)),
        }
        match self.sys.stat_at(dir, beside) {
            Ok(out) if out.id == old => {
                let _ = self.sys.unlink(dir, beside); // one that stays is cleared by the next who needs the name
                Ok(Taken::Yes)
            }
            // A cleaner took it; what counts is that the name is ours.
            Err(Errno::NOENT) => Ok(Taken::Yes),
            Ok(_) => Err(self.give_back(new, None)),
            Err(errno) => Err(self.give_back(new, Some(errno))),
        }
    }

    /// A program that ignores the lock has put something at the name since it was judged, or what it is cannot be seen.
    /// It goes back to its place.
    fn give_back(&self, new: FileId, unseen: Option<Errno>) -> Error {
        let Place { dir, name, beside, shown, .. } = self.place;
        let back = match self.sys.exchange(dir, beside, name) {
            Err(Errno::NOENT) => self.sys.rename(dir, beside, name), // our socket has been deleted there
            back => back,
        };
        match back {
            Ok(()) => self.withdraw(beside, new),
            // Neither is to be given back any more.
            Err(Errno::NOENT) => self.withdraw(name, new),
            Err(errno) => {
                let hidden = shown.with_file_name(&*beside.to_string_lossy());
                return self
                    .failed("renameat2", errno)
                    .and(&format!("what a program that ignores the lock had put there is now {}", hidden.display()));
            }
        }
        if let Some(errno) = unseen {
            return self.failed("fstatat", errno);
        }
        match self.judge(name, None) {
            Verdict::Replaceable { state, .. } | Verdict::Other(state) => self.in_the_way(name, state),
            Verdict::Absent | Verdict::Dead(_) => self.changed(),
        }
    }

    /// Where names cannot be exchanged: over the old one, after one more look at it.
    fn rename_over(&self, old: FileId) -> Result<Taken> {
        let Place { dir, name, beside, .. } = self.place;
        match self.sys.stat_at(dir, name) {
            Ok(now) if now.id == old => {
                self.sys.rename_over(dir, beside, name).map_err(|errno| self.not_renamed("rename", errno))?;
                Ok(Taken::Yes)
            }
            Ok(_) => Err(self.changed()),
            Err(Errno::NOENT) => Ok(Taken::NotThere),
            Err(errno) => Err(self.failed("fstatat", errno)),
        }
    }

    /// Wakes a server that has been replaced, should it sleep in accept(). On a full backlog it is awake.
    pub(super) fn knock(&self, predecessor: &S::Fd) {
        drop(self.sys.connect(predecessor));
    }

    /// After a take-over from a server with a life lock: waits until that one has drained and given it back. Only then
    /// may others take over in turn, and only then is that lock our own.
    pub(crate) fn succeed(&self, id: FileId) -> Result<Option<Lock<S::Fd>>> {
        let Locks { lock, life } = self.lock(Purpose::Succeed)?;
        let marks = self.options.marks(life.is_some());
        let disowns = |node: Stat| node.mode & LIFE_OF_ANOTHER != 0;
        let is_to_change = marks != 0 || self.sys.stat_at(&self.place.dir, &self.place.name).is_ok_and(disowns);
        let marked = if is_to_change { self.mark(id, marks) } else { Ok(()) };
        match marked {
            Ok(()) => {
                self.unlock(lock);
                Ok(life)
            }
            Err(error) => {
                self.unlock_both(lock, life);
                Err(error)
            }
        }
    }

    fn mark(&self, id: FileId, marks: u32) -> Result<()> {
        let pin = match self.sys.pin(&self.place.dir, &self.place.name) {
            Ok(pin) => pin,
            Err(Errno::NOENT) => return Ok(()), // lost, which the status tells
            Err(errno) => return Err(self.failed("open", errno)),
        };
        match self.sys.stat(&pin) {
            Ok(node) if node.id == id => self
                .sys
                .chmod(&pin, node.mode & !LIFE_OF_ANOTHER | marks)
                .map_err(|errno| self.failed("chmod, to say that it has the life lock", errno)),
            Ok(_) => Ok(()),
            Err(errno) => Err(self.failed("fstat", errno)),
        }
    }
}
