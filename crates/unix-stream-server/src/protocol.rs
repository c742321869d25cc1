//! The protocol: the one place that changes a name.
//!
//! One rule carries it: **every change of the name (bind, unlink, rename) happens under the path's lock.** The steps
//! below have the numbers of DESIGN.md. It is written over the seam [`Sys`], so that the code that ships is also the
//! code that runs on the simulated kernel under every schedule and every crash (`crate::sim`).

mod close;
mod heal;
mod judge;
mod lock;
mod start;
mod sweep;
mod take_over;

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, Route};
use crate::sys::{FileId, STICKY_NEEDS_ROOT, Stat, Sys};
use crate::{FileKind, LockScope, PathState, Status, trace};

pub(crate) use close::{Retired, is_left_behind};
pub(crate) use heal::Healed;
use judge::Verdict;
pub(crate) use judge::{Found, Proof, glance, judge_pin, proof_beside};
pub(crate) use lock::{Lock, is_mark};
use lock::{Locks, Purpose};
pub(crate) use sweep::{Left, Sweep, Swept};
use take_over::REPLACEABLE;

/// How often a name is cleared for us and taken again by somebody who ignores the lock, before we give up.
const ATTEMPTS: usize = 16;

/// The permission bits that bind(2) gives of itself, before the umask takes its part.
const BIND_MODE: u32 = 0o777;

/// What the caller chose.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) backlog: i32,
    /// `None`: what the umask leaves of 0777, as bind(2) has it.
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) lock_timeout: Duration,
    /// Ends the wait for the lock of a path that is not ours yet.
    pub(crate) lock_interrupt: Option<Arc<AtomicBool>>,
    pub(crate) scope: LockScope,
    pub(crate) assume_local: bool,
    /// A successor that asks for it may take the path over.
    pub(crate) replaceable: bool,
    /// Take the path over from a live server that is replaceable.
    pub(crate) take_over: bool,
}

impl Options {
    fn is_interrupted(&self) -> bool {
        self.lock_interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::SeqCst))
    }

    /// The mark of the replaceable for the socket's file, or none. Not before the life lock is had: of two successors
    /// that wait for it, the later one might get it first.
    fn marks(&self, life: bool) -> u32 {
        if self.replaceable && (life || self.scope == LockScope::Startup) { REPLACEABLE } else { 0 }
    }
}

/// A socket that listens at its path.
#[derive(Debug)]
pub(crate) struct Published<Fd> {
    pub(crate) socket: Fd,
    /// The socket's file. Meaningful as long as `socket` is open: a bound socket keeps its inode from reuse.
    pub(crate) id: FileId,
    pub(crate) life: Option<Lock<Fd>>,
}

/// The name, once it has been tried.
enum Name<Fd> {
    /// It was free, and has been taken.
    Free,
    /// A live server has it, and has said that a successor may take it over.
    Yields { pin: Fd, id: FileId },
}

/// A server at the name, and the pin of the live one that it has replaced, if there was one.
struct Publication<Fd> {
    server: Published<Fd>,
    replaced: Option<Fd>,
}

/// A path that is ours to publish at.
#[derive(Debug)]
pub(crate) struct Claimed<Fd> {
    /// Held between claim and listen, unless the life lock does that duty.
    pub(crate) lock: Option<Lock<Fd>>,
    pub(crate) life: Option<Lock<Fd>>,
    /// Absent or dead.
    pub(crate) state: PathState,
    /// Of the dead socket, whose number it keeps from reuse.
    judged: Option<(Fd, FileId)>,
}

#[derive(Debug)]
pub(crate) struct Protocol<'a, S: Sys> {
    pub(crate) sys: &'a S,
    pub(crate) place: &'a Place<S::Fd>,
    pub(crate) options: &'a Options,
    /// What to call it in an error: "create a server socket at".
    pub(crate) operation: &'static str,
}

impl<S: Sys> Protocol<'_, S> {
    /// A new server socket at the path, or the reason why not. For all three that begin here step 0 has been done:
    /// [`glance`], or [`look`](Self::look), which `found` this.
    pub(crate) fn create(&self, found: Found) -> Result<Published<S::Fd>> {
        let Locks { mut lock, life } = self.lock(Purpose::Publish)?; // 1
        let published = self.publish(&mut lock, life, found); //        2-6
        self.end_of_publish(lock, published) //                         7
    }

    /// The path and the verdict first; nothing is removed or bound until [`publish_claim`](Self::publish_claim).
    pub(crate) fn claim(&self) -> Result<Claimed<S::Fd>> {
        let Locks { lock, life } = self.lock(Purpose::Publish)?;
        let judged = match self.judge(&self.place.name, life.as_ref()) {
            Verdict::Absent => Ok(None),
            Verdict::Dead(pin) => match self.sys.stat(&pin) {
                Ok(dead) => Ok(Some((pin, dead.id))),
                Err(errno) => Err(self.failed("fstat", errno)),
            },
            // Whoever takes over publishes first and prepares later: `create` does that.
            Verdict::Replaceable { state, .. } | Verdict::Other(state) => Err(self.in_the_way(&self.place.name, state)),
        };
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => {
                self.unlock_unused(life, &lock, &error);
                self.unlock(lock);
                return Err(error);
            }
        };
        let state = if judged.is_some() { PathState::Dead } else { PathState::Absent };
        let lock = match life {
            None => Some(lock),
            // It keeps every other start away from here on, so that the short lock, which git respects too, need not be
            // held while the caller prepares.
            Some(_) => {
                self.unlock(lock);
                None
            }
        };
        Ok(Claimed { lock, life, state, judged })
    }

    pub(crate) fn publish_claim(&self, claimed: Claimed<S::Fd>) -> Result<Published<S::Fd>> {
        let Claimed { lock, mut life, judged, .. } = claimed;
        // Somebody may have deleted the lock while the caller prepared, and others have it by now.
        let kept = lock.filter(|lock| self.is_at_name(lock));
        let mut lock = match kept {
            Some(lock) => lock,
            None => match self.lock(Purpose::Path) {
                Ok(locks) => locks.lock,
                Err(error) => {
                    self.end_claimed_life(life, judged.filter(|_| error.kind() != ErrorKind::InUse));
                    return Err(error);
                }
            },
        };
        let published = match self.keep_life(&mut life, judged) {
            Ok(()) => self.publish(&mut lock, life, Found::Nothing),
            Err(error) => {
                self.unlock_unused(life, &lock, &error);
                Err(error)
            }
        };
        self.end_of_publish(lock, published)
    }

    /// Under the short lock: the life lock of a claim keeps others out still, or another in its place, and proves no other
    /// death than the one that it did when the path was claimed.
    fn keep_life(&self, life: &mut Option<Lock<S::Fd>>, judged: Option<(S::Fd, FileId)>) -> Result<()> {
        let Some(held) = life else { return Ok(()) };
        let is_there = self.is_there(judged.as_ref());
        let is_proven = held.proves_a_death() && is_there == Ok(true);
        held.prove(is_proven);
        is_there.map_err(|errno| self.failed("fstatat", errno))?;
        if self.is_at_name(held) {
            return Ok(());
        }
        if !is_proven && !self.may_make_life()? {
            *life = None;
            return Ok(());
        }
        self.renew_life(life)?;
        if let Some(new) = life.as_mut().filter(|_| is_proven) {
            new.prove(true); // nothing that is dead lives again
        }
        Ok(())
    }

    pub(crate) fn abandon_claim(&self, claimed: Claimed<S::Fd>) {
        match claimed.lock {
            Some(lock) => self.unlock_both(lock, claimed.life),
            None => self.end_claimed_life(claimed.life, claimed.judged),
        }
    }

    /// As [`unlock_unused`](Self::unlock_unused), by one who has not the short lock.
    fn end_claimed_life(&self, life: Option<Lock<S::Fd>>, judged: Option<(S::Fd, FileId)>) {
        match life {
            Some(life) if life.proves_a_death() && self.is_there(judged.as_ref()) == Ok(true) => drop(life),
            life => self.end_life(life, false),
        }
    }

    /// Is what was judged dead at the name still? Looked for twice, since a proof that is not compared is given up, for
    /// good.
    fn is_there(&self, judged: Option<&(S::Fd, FileId)>) -> Result<bool, Errno> {
        let look = || match self.sys.stat_at(&self.place.dir, &self.place.name) {
            Ok(now) => Ok(judged.is_some_and(|(_, dead)| *dead == now.id)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        };
        look().or_else(|_| look())
    }

    /// Under the lock: a listening socket at the name. On an error the name is as it was, or a dead socket is gone.
    fn publish(&self, lock: &mut Lock<S::Fd>, life: Option<Lock<S::Fd>>, found: Found) -> Result<Publication<S::Fd>> {
        let marks = self.options.marks(life.is_some());
        let listening = self.socket(marks).and_then(|socket| {
            let name = self.bind(&socket, life.as_ref(), found)?; //          2 bind, 3 judge, 4 clear
            match name {
                Name::Free => {
                    let id = self.listen_at_name(&socket, lock, life.as_ref(), marks)?; // 5 identity, 6 listen
                    Ok((socket, id, None))
                }
                Name::Yields { pin, id: old } => {
                    let id = self.take_over(&socket, (&pin, old), marks, lock, life.as_ref())?;
                    Ok((socket, id, Some(pin)))
                }
            }
        });
        match listening {
            Ok((socket, id, replaced)) => Ok(Publication { server: Published { socket, id, life }, replaced }),
            Err(error) => {
                self.unlock_unused(life, lock, &error);
                Err(error)
            }
        }
    }

    /// Step 7; and whoever has been replaced is told.
    fn end_of_publish(&self, lock: Lock<S::Fd>, published: Result<Publication<S::Fd>>) -> Result<Published<S::Fd>> {
        self.unlock(lock);
        let Publication { server, replaced } = published?;
        trace::published(&self.place.shown, replaced.is_some());
        if let Some(predecessor) = replaced {
            self.knock(&predecessor);
        }
        Ok(server)
    }

    fn socket(&self, marks: u32) -> Result<S::Fd> {
        let socket = self.sys.socket().map_err(|errno| self.failed("socket", errno))?;
        let mode = match (self.options.mode, marks) {
            (Some(mode), marks) => Some(mode | marks),
            (None, 0) => None,
            (None, marks) => Some(BIND_MODE | marks),
        };
        if let Some(mode) = mode {
            // Before bind, so that the node is born with it; the umask still takes its part (step 5 gives it back).
            self.sys.fchmod(&socket, mode).map_err(|errno| self.failed("fchmod", errno))?;
        }
        Ok(socket)
    }

    /// Steps 2 to 4: the socket gets the name, over a dead one if need be. Or a live server has it that yields it.
    fn bind(&self, socket: &S::Fd, life: Option<&Lock<S::Fd>>, found: Found) -> Result<Name<S::Fd>> {
        let Place { dir, name, beside, .. } = self.place;
        if self.place.route != Route::Beside {
            let bind = || self.sys.bind(socket, dir, name, self.place.bind_path());
            return self.occupy(name, life, found, |errno| self.failed("bind", errno), bind);
        }
        self.bind_beside(socket, life)?;
        let bound = self.sys.stat_at(dir, beside).map(|stat| stat.id);
        let renamed = self.rename_to_name(life, found);
        if let (Err(_), Ok(id)) = (&renamed, bound) {
            self.withdraw(beside, id);
        }
        renamed
    }

    /// From the temporary name to the one that clients know, which has to be free.
    fn rename_to_name(&self, life: Option<&Lock<S::Fd>>, found: Found) -> Result<Name<S::Fd>> {
        let Place { dir, name, beside, .. } = self.place;
        let refused = |errno| self.not_renamed("rename", errno);
        self.occupy(name, life, found, refused, || self.sys.rename(dir, beside, name))
    }

    /// The error for a rename of our socket at the temporary name.
    fn not_renamed(&self, call: &str, errno: Errno) -> Error {
        match errno {
            Errno::NOENT => self.moved(), // deleted there
            // A sticky directory, and the socket at the name is another user's.
            Errno::PERM => self.naming_owner(&self.place.name, self.failed(call, errno)),
            errno => self.failed(call, errno),
        }
    }

    /// To the temporary name, which is the same for every start, and which nobody uses without the lock: what is there
    /// was left by a killed one, and a refusal says so on file systems where it proves nothing elsewhere.
    fn bind_beside(&self, socket: &S::Fd, life: Option<&Lock<S::Fd>>) -> Result<()> {
        let Place { dir, beside, .. } = self.place;
        let path = self.place.bind_path_beside();
        for _ in 0..ATTEMPTS {
            let bind = || self.sys.bind(socket, dir, beside, path.as_deref());
            match self.occupy(beside, life, Found::Nothing, |errno| self.failed("bind", errno), bind)? {
                Name::Free => return Ok(()),
                // The last name of a server that was replaced by one that was killed right then: no client knows it.
                Name::Yields { pin: left, .. } => self.clear(beside, &left)?,
            }
        }
        Err(self.taken_away())
    }

    /// Tries to put something at a name until it works, clearing away dead sockets, and only those. Where step 0 has
    /// found one the first try would fail, so it is judged first.
    fn occupy(
        &self,
        name: &CStr,
        life: Option<&Lock<S::Fd>>,
        found: Found,
        refused: impl Fn(Errno) -> Error,
        attempt: impl Fn() -> Result<(), Errno>,
    ) -> Result<Name<S::Fd>> {
        let mut life = life;
        for time in 0..ATTEMPTS {
            let is_taken = time == 0 && found == Found::Socket;
            match if is_taken { Err(Errno::EXIST) } else { attempt() } {
                Ok(()) => return Ok(Name::Free),
                // bind says ADDRINUSE of a name of any kind; some systems, and renameat2, say EXIST
                Err(Errno::ADDRINUSE | Errno::EXIST) => {}
                Err(errno) => return Err(refused(errno)),
            }
            match self.judge(name, life) {
                Verdict::Absent => {} // gone between the two calls: again
                Verdict::Dead(pin) => {
                    self.clear(name, &pin)?;
                    life = None; // it has proven the death that it could
                }
                Verdict::Replaceable { pin, id, .. } => return Ok(Name::Yields { pin, id }),
                // What was pinned has gone from the name, where a pin is no more than that: again, as if it were absent.
                Verdict::Other(PathState::CannotTell { errno })
                    if errno == Errno::STALE.raw_os_error() && time + 1 < ATTEMPTS => {}
                Verdict::Other(state) => return Err(self.in_the_way(name, state)),
            }
        }
        Err(self.taken_away())
    }

    fn taken_away(&self) -> Error {
        let why = format!("the name was taken {ATTEMPTS} times by a program that ignores the lock; find and stop it");
        Error::new(ErrorKind::InUse, self.operation, &self.place.shown, Errno::ADDRINUSE, why)
    }

    /// Step 4: removes the socket that `pin` holds, dead or without any other name, if it is still the one at the name.
    fn clear(&self, name: &CStr, pin: &S::Fd) -> Result<()> {
        let dead = self.sys.stat(pin).map_err(|errno| self.failed("fstat", errno))?;
        match self.sys.stat_at(&self.place.dir, name) {
            Ok(now) if now.id == dead.id => match self.sys.unlink(&self.place.dir, name) {
                Ok(()) => {
                    trace::cleared(&self.place.shown, name);
                    Ok(())
                }
                Err(Errno::NOENT) => Ok(()),
                // A sticky directory, and the socket is another user's.
                Err(errno @ (Errno::PERM | Errno::ACCESS)) => {
                    Err(self.naming_owner(name, self.failed("unlink the dead socket", errno)))
                }
                Err(errno) => Err(self.failed("unlink the dead socket", errno)),
            },
            // Somebody was there between: what is there now is judged anew.
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("fstatat", errno)),
        }
    }

    /// Steps 5 and 6. Nobody can connect before listen, so nothing here has a window.
    fn listen_at_name(
        &self,
        socket: &S::Fd,
        lock: &mut Lock<S::Fd>,
        life: Option<&Lock<S::Fd>>,
        marks: u32,
    ) -> Result<FileId> {
        let node = self.identify(lock)?;
        self.left_without_life_lock(lock.file(), life)
            .and_then(|another| self.listen(socket, &self.place.name, &node, marks | another))
            .inspect_err(|_| self.withdraw(&self.place.name, node.id))?;
        Ok(node.id)
    }

    /// Step 6, at either name: first the rights, since from listen on clients get in.
    fn listen(&self, socket: &S::Fd, name: &CStr, node: &Stat, marks: u32) -> Result<()> {
        self.apply_rights(name, node, marks)?;
        self.sys.listen(socket, self.options.backlog).map_err(|errno| self.failed("listen", errno))
    }

    /// Step 5: the name is a new socket's, seen through the directory, and the path leads to that directory.
    fn identify(&self, lock: &mut Lock<S::Fd>) -> Result<Stat> {
        let Place { dir, name, .. } = self.place;
        let node = match self.sys.stat_at(dir, name) {
            Ok(node) if node.kind == FileKind::Socket => node,
            _ => return Err(self.moved()),
        };
        if self.leads_here(lock, node.id) {
            return Ok(node);
        }
        // A symbolic link or directory above was changed while we were at it. Bound through the descriptor, under the lock,
        // the node in our directory is ours. Bound by the path, ours may be elsewhere and this one somebody's: it stays.
        if self.place.bind_path().is_none() && self.is_at_name(lock) {
            self.withdraw(name, node.id);
        }
        Err(self.moved())
    }

    /// Does the path lead to our directory, where `id` is at the name, and is no other's lock there?
    fn leads_here(&self, lock: &mut Lock<S::Fd>, id: FileId) -> bool {
        match (self.confirm(lock), &self.place.path) {
            // Another's: we have lost ours, to somebody who deleted it or to NFS, where a file that is open is renamed when
            // it is unlinked, so that its links do not tell.
            (Some(is_ours), _) => is_ours,
            // The working directory is unknown, or somebody deleted the lock.
            (None, Some(path)) => self.sys.stat_path(path).is_ok_and(|through| through.id == id),
            (None, None) => true,
        }
    }

    fn moved(&self) -> Error {
        let why = "a directory or symbolic link above it changed while the socket was made, or somebody deleted the \
            socket or its lock at once; try again when that has settled (a socket that nobody listens on may be left where the path led)";
        Error::new(ErrorKind::Moved, self.operation, &self.place.shown, Errno::STALE, why)
    }

    /// Owner first, since chown may take bits away; then the bits that the umask took.
    fn apply_rights(&self, name: &CStr, node: &Stat, marks: u32) -> Result<()> {
        let Options { mode, owner, group, .. } = *self.options;
        // Without a mode of the caller's, what is missing at the most is a mark: where a socket had no mode before bind,
        // or what was seen only after it.
        let mode = match mode {
            Some(mode) => Some(mode | marks),
            None => Some(node.mode | marks).filter(|&mode| mode != node.mode),
        };
        let new_owner = owner.is_some() || group.is_some();
        let new_mode = mode.filter(|&mode| new_owner || mode != node.mode);
        if !new_owner && new_mode.is_none() {
            return Ok(());
        }
        let pin = self.pin_own(name)?;
        if self.sys.stat(&pin).map(|stat| stat.id) != Ok(node.id) {
            return Err(self.moved());
        }
        if new_owner {
            self.sys.chown(&pin, owner, group).map_err(|errno| self.failed("chown", errno))?;
        }
        if let Some(mode) = new_mode {
            self.sys.chmod(&pin, mode).map_err(|errno| match errno {
                // The pin holds the file, so what is missing is the way through /proc.
                Errno::NOENT | Errno::NOTDIR => {
                    let why = "chmod: the umask takes bits of the mode that was asked for, and giving them back needs \
                        /proc; mount it, or ask for a mode within the umask";
                    Error::new(ErrorKind::System, self.operation, &self.place.shown, errno, why)
                }
                errno if marks & REPLACEABLE != 0 && STICKY_NEEDS_ROOT => {
                    self.failed("chmod, to say that it may be replaced, as only root can on this system", errno)
                }
                errno => self.failed("chmod", errno),
            })?;
        }
        Ok(())
    }

    /// What we have just bound; a cleaner may have come already.
    fn pin_own(&self, name: &CStr) -> Result<S::Fd> {
        self.sys.pin(&self.place.dir, name).map_err(|errno| match errno {
            Errno::NOENT => self.moved(),
            errno => self.failed("open", errno),
        })
    }

    /// Takes back a name that we gave to our own socket, which is still open and so keeps its inode.
    fn withdraw(&self, name: &CStr, id: FileId) {
        if self.sys.stat_at(&self.place.dir, name).is_ok_and(|now| now.id == id) {
            let _ = self.sys.unlink(&self.place.dir, name); // best effort: no client has come by it
        }
    }

    /// Does the name lead to the file `id`, which the caller keeps alive? One stat.
    pub(crate) fn status(&self, id: FileId) -> Status {
        status_of(self.sys, &self.place.dir, &self.place.name, id)
    }

    /// Removes a dead socket, and nothing else: dead, if there was one; absent, if nothing was there.
    pub(crate) fn remove_dead(&self) -> Result<PathState> {
        let locks = self.lock(Purpose::Path)?;
        let name = &self.place.name;
        let state = match self.judge(name, None) {
            Verdict::Absent => Ok(PathState::Absent),
            Verdict::Dead(pin) => self.clear(name, &pin).map(|()| PathState::Dead),
            Verdict::Replaceable { state, .. } | Verdict::Other(state) => Err(self.in_the_way(name, state)),
        };
        self.unlock(locks.lock);
        state
    }

    fn failed(&self, call: &str, errno: Errno) -> Error {
        Error::system(self.operation, &self.place.shown, call, errno)
    }
}

/// Does a name in a directory lead to the file `id`, which the caller keeps alive?
pub(crate) fn status_of<S: Sys>(sys: &S, dir: &S::Fd, name: &CStr, id: FileId) -> Status {
    match sys.stat_at(dir, name) {
        Ok(now) if now.id == id => Status::Ours,
        Ok(_) => Status::Replaced,
        Err(Errno::NOENT) => Status::Gone,
        Err(errno) => Status::Unknown { errno: errno.raw_os_error() },
    }
}
