//! The protocol: the one place that changes a name.
//!
//! One rule carries it: **every change of the name (bind, unlink, rename) happens under the path's lock.** The steps
//! below have the numbers of DESIGN.md. It is written over the seam [`Sys`], so that the code that ships is also the
//! code that runs on the simulated kernel under every schedule and every crash (`crate::sim`).

mod judge;
mod lock;
mod sweep;

use std::ffi::CStr;
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, Route};
use crate::sys::{FileId, Stat, Sys};
use crate::{FileKind, LockScope, PathState, Status};

use judge::Verdict;
pub(crate) use judge::{Proof, judge_pin};
pub(crate) use lock::{Lock, is_mark};
use lock::{Locks, Purpose};
pub(crate) use sweep::{Left, Sweep, Swept};

/// How often a name is cleared for us and taken again by somebody who ignores the lock, before we give up.
const ATTEMPTS: usize = 16;

/// How long the end of a life lock waits for the short one, at most.
const END_TIMEOUT: Duration = Duration::from_millis(100);

/// What the caller chose.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) backlog: i32,
    /// `None`: what the umask leaves of 0777, as bind(2) has it.
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) lock_timeout: Duration,
    pub(crate) scope: LockScope,
    pub(crate) assume_local: bool,
}

/// A socket that listens at its path.
#[derive(Debug)]
pub(crate) struct Published<Fd> {
    pub(crate) socket: Fd,
    /// The socket's file. Meaningful as long as `socket` is open: a bound socket keeps its inode from reuse.
    pub(crate) id: FileId,
    pub(crate) life: Option<Lock<Fd>>,
}

/// The end of a server whose queue is still to be handed out.
#[derive(Debug)]
pub(crate) struct Retired {
    /// What stood at the name.
    pub(crate) status: Result<Status>,
    /// At the end of its queue accept() fails, where it would wait for ever otherwise.
    pub(crate) is_shut: bool,
}

/// A path that is ours to publish at.
#[derive(Debug)]
pub(crate) struct Claimed<Fd> {
    /// Held between claim and listen, unless the life lock does that duty.
    pub(crate) lock: Option<Lock<Fd>>,
    pub(crate) life: Option<Lock<Fd>>,
    /// Absent or dead.
    pub(crate) state: PathState,
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
    /// A new server socket at the path, or the reason why not.
    pub(crate) fn create(&self) -> Result<Published<S::Fd>> {
        self.look()?; //                                          0 a live server needs no lock to be recognised
        let Locks { lock, life } = self.lock(Purpose::Publish)?; // 1
        let published = self.publish(life); //                   2-6
        self.unlock(lock); //                                    7
        published
    }

    /// The path and the verdict first; nothing is removed or bound until [`publish_claim`](Self::publish_claim).
    pub(crate) fn claim(&self) -> Result<Claimed<S::Fd>> {
        self.look()?;
        let Locks { lock, life } = self.lock(Purpose::Publish)?;
        let state = match self.judge(&self.place.name, life.as_ref()) {
            Verdict::Absent => Ok(PathState::Absent),
            Verdict::Dead(_) => Ok(PathState::Dead),
            Verdict::Other(state) => Err(self.in_the_way(&self.place.name, state)),
        };
        match (state, life) {
            // The life lock keeps every other start away from here on, so that the short one, which git respects
            // too, need not be held while the caller prepares.
            (Ok(state), Some(life)) => {
                self.unlock(lock);
                Ok(Claimed { lock: None, life: Some(life), state })
            }
            (Ok(state), None) => Ok(Claimed { lock: Some(lock), life: None, state }),
            (Err(error), life) => {
                self.unlock_both(lock, life);
                Err(error)
            }
        }
    }

    pub(crate) fn publish_claim(&self, claimed: Claimed<S::Fd>) -> Result<Published<S::Fd>> {
        let Claimed { lock, life, .. } = claimed;
        let lock = match lock {
            Some(lock) => lock,
            None => match self.lock(Purpose::PublishClaim) {
                Ok(locks) => locks.lock,
                Err(error) => {
                    self.end_life(life);
                    return Err(error);
                }
            },
        };
        let published = self.publish(life);
        self.unlock(lock);
        published
    }

    pub(crate) fn abandon_claim(&self, claimed: Claimed<S::Fd>) {
        match claimed.lock {
            Some(lock) => self.unlock_both(lock, claimed.life),
            None => self.end_life(claimed.life),
        }
    }

    /// Under the lock: a listening socket at the name. On an error the name is as it was, or a dead socket is gone.
    fn publish(&self, life: Option<Lock<S::Fd>>) -> Result<Published<S::Fd>> {
        let listening = self.socket().and_then(|socket| {
            self.bind(&socket, life.as_ref())?; //     2 bind, 3 judge, 4 clear
            let id = self.listen_at_name(&socket)?; // 5 identity, 6 listen
            Ok((socket, id))
        });
        match listening {
            Ok((socket, id)) => Ok(Published { socket, id, life }),
            Err(error) => {
                if let Some(life) = life {
                    self.unlock(life);
                }
                Err(error)
            }
        }
    }

    fn socket(&self) -> Result<S::Fd> {
        let socket = self.sys.socket().map_err(|errno| self.failed("socket", errno))?;
        if let Some(mode) = self.options.mode {
            // Before bind, so that the node is born with it; the umask still takes its part (step 5 gives it back).
            self.sys.fchmod(&socket, mode).map_err(|errno| self.failed("fchmod", errno))?;
        }
        Ok(socket)
    }

    /// Steps 2 to 4: the socket gets the name, over a dead one if need be, and over nothing else.
    fn bind(&self, socket: &S::Fd, life: Option<&Lock<S::Fd>>) -> Result<()> {
        let Place { dir, name, .. } = self.place;
        let bind = |name: &CStr| self.sys.bind(socket, dir, name, self.place.bind_path());
        let Route::Beside(temporary) = &self.place.route else {
            return self.occupy(name, life, "bind", || bind(name));
        };
        // The temporary name is the same for every start, and nobody uses it without the lock: one that is there was
        // left by a killed holder.
        self.occupy(temporary, life, "bind", || bind(temporary))?;
        let bound = self.sys.stat_at(dir, temporary).map(|stat| stat.id);
        let renamed = self.occupy(name, life, "rename", || self.sys.rename(dir, temporary, name));
        if let (Err(_), Ok(id)) = (&renamed, bound) {
            self.withdraw(temporary, id);
        }
        renamed
    }

    /// Tries to put something at a name until it works, clearing away dead sockets, and only those.
    fn occupy(
        &self,
        name: &CStr,
        life: Option<&Lock<S::Fd>>,
        call: &str,
        attempt: impl Fn() -> Result<(), Errno>,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            match attempt() {
                Ok(()) => return Ok(()),
                // bind says ADDRINUSE of a name of any kind; some systems, and renameat2, say EXIST
                Err(Errno::ADDRINUSE | Errno::EXIST) => {}
                Err(errno) => return Err(self.failed(call, errno)),
            }
            match self.judge(name, life) {
                Verdict::Absent => {} // gone between the two calls: again
                Verdict::Dead(pin) => self.clear(name, &pin)?,
                Verdict::Other(state) => return Err(self.in_the_way(name, state)),
            }
        }
        let why = format!("the name was taken {ATTEMPTS} times by a program that ignores the lock; find and stop it");
        Err(Error::new(ErrorKind::InUse, self.operation, &self.place.shown, Errno::ADDRINUSE, why))
    }

    /// Step 4: removes the dead socket that `pin` holds, if it is still the one at the name.
    fn clear(&self, name: &CStr, pin: &S::Fd) -> Result<()> {
        let dead = self.sys.stat(pin).map_err(|errno| self.failed("fstat", errno))?;
        match self.sys.stat_at(&self.place.dir, name) {
            Ok(now) if now.id == dead.id => match self.sys.unlink(&self.place.dir, name) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
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
    fn listen_at_name(&self, socket: &S::Fd) -> Result<FileId> {
        let node = self.identify()?;
        let id = node.id;
        let ready = self
            .apply_rights(&node)
            .and_then(|()| self.sys.listen(socket, self.options.backlog).map_err(|errno| self.failed("listen", errno)));
        match ready {
            Ok(()) => Ok(id),
            Err(error) => {
                self.withdraw(&self.place.name, id);
                Err(error)
            }
        }
    }

    /// Step 5: the name, seen through the directory and through the path, is one and the same new socket.
    fn identify(&self) -> Result<Stat> {
        let Place { dir, name, path, .. } = self.place;
        let node = match self.sys.stat_at(dir, name) {
            Ok(node) if node.kind == FileKind::Socket => node,
            _ => return Err(self.moved()),
        };
        let same = match path {
            Some(path) => self.sys.stat_path(path).is_ok_and(|through| through.id == node.id),
            None => true,
        };
        if same {
            return Ok(node);
        }
        // A symbolic link or directory above was changed while we were at it. Bound through the descriptor, the node in
        // our directory is ours. Bound by the path, ours may be elsewhere and this one somebody's: it stays.
        if self.place.bind_path().is_none() {
            self.withdraw(name, node.id);
        }
        Err(self.moved())
    }

    fn moved(&self) -> Error {
        let why = "a directory or symbolic link above it changed while the socket was made; try again when that has \
            settled (a socket that nobody listens on may be left where the path led)";
        Error::new(ErrorKind::Moved, self.operation, &self.place.shown, Errno::STALE, why)
    }

    /// Owner first, since chown may take bits away; then the bits that the umask took.
    fn apply_rights(&self, node: &Stat) -> Result<()> {
        let Options { mode, owner, group, .. } = *self.options;
        let new_owner = owner.is_some() || group.is_some();
        let new_mode = mode.filter(|&mode| new_owner || mode != node.mode);
        if !new_owner && new_mode.is_none() {
            return Ok(());
        }
        let pin = self.sys.pin(&self.place.dir, &self.place.name).map_err(|errno| self.failed("open", errno))?;
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
                errno => self.failed("chmod", errno),
            })?;
        }
        Ok(())
    }

    /// Takes back a name that we gave to our own socket, which is still open and so keeps its inode.
    fn withdraw(&self, name: &CStr, id: FileId) {
        if self.sys.stat_at(&self.place.dir, name).is_ok_and(|now| now.id == id) {
            let _ = self.sys.unlink(&self.place.dir, name); // best effort: it never listened
        }
    }

    /// Does the name lead to the file `id`, which the caller keeps alive? One stat.
    pub(crate) fn status(&self, id: FileId) -> Status {
        match self.sys.stat_at(&self.place.dir, &self.place.name) {
            Ok(now) if now.id == id => Status::Ours,
            Ok(_) => Status::Replaced,
            Err(Errno::NOENT) => Status::Gone,
            Err(errno) => Status::Unknown { errno: errno.raw_os_error() },
        }
    }

    /// The end of a server that drops who is still queued. Says what stood at the name just before.
    pub(crate) fn close(&self, socket: S::Fd, id: FileId, life: Option<Lock<S::Fd>>) -> Result<Status> {
        match self.lock(Purpose::Remove) {
            Ok(locks) => {
                let status = self.remove(id);
                self.shut(&socket);
                drop(socket);
                self.unlock_both(locks.lock, life);
                status
            }
            Err(error) => {
                let status = self.without_lock(id, error);
                self.shut(&socket);
                status
            }
        }
    }

    /// The graceful end: no new client gets in, nobody stays blocked in connect(), and whoever is queued can still be
    /// accepted from `socket`. The life lock stays with the caller until that is done.
    pub(crate) fn retire(&self, socket: &S::Fd, id: FileId) -> Retired {
        let (status, lock) = match self.lock(Purpose::Remove) {
            Ok(locks) => (self.remove(id), Some(locks.lock)),
            Err(error) => (self.without_lock(id, error), None),
        };
        let is_shut = self.shut(socket);
        if let Some(lock) = lock {
            self.unlock(lock);
        }
        Retired { status, is_shut }
    }

    /// Removes a dead socket, and nothing else: dead, if there was one; absent, if nothing was there.
    pub(crate) fn clean(&self) -> Result<PathState> {
        self.look()?;
        let locks = self.lock(Purpose::PublishClaim)?;
        let name = &self.place.name;
        let state = match self.judge(name, None) {
            Verdict::Absent => Ok(PathState::Absent),
            Verdict::Dead(pin) => self.clear(name, &pin).map(|()| PathState::Dead),
            Verdict::Other(state) => Err(self.in_the_way(name, state)),
        };
        self.unlock(locks.lock);
        state
    }

    /// Takes the name back without touching the socket; `id` is kept alive by the caller's pin.
    pub(crate) fn unpublish(&self, id: FileId) -> Result<Status> {
        match self.lock(Purpose::Remove) {
            Ok(locks) => {
                let status = self.remove(id);
                self.unlock(locks.lock);
                status
            }
            Err(error) => self.without_lock(id, error),
        }
    }

    /// The lock was not had, so the name stays as it is. If it is not ours any more, nothing was to be removed.
    fn without_lock(&self, id: FileId, error: Error) -> Result<Status> {
        match self.status(id) {
            status @ (Status::Gone | Status::Replaced) => Ok(status),
            Status::Ours | Status::Unknown { .. } => Err(error.left_behind()),
        }
    }

    /// Under the lock: the name goes, if it is still ours.
    fn remove(&self, id: FileId) -> Result<Status> {
        let status = self.status(id);
        if status == Status::Ours {
            match self.sys.unlink(&self.place.dir, &self.place.name) {
                Ok(()) => {}
                Err(Errno::NOENT) => return Ok(Status::Gone),
                Err(errno) => return Err(self.failed("unlink", errno).left_behind()),
            }
        }
        Ok(status)
    }

    /// No client gets in any more, and those blocked in connect() on a full backlog wake: they look the path up
    /// again, while SHUT_RD alone leaves them asleep for ever if a copy of the socket is open elsewhere.
    fn shut(&self, socket: &S::Fd) -> bool {
        let is_shut = self.sys.shut(socket).is_ok(); // no Linux refuses it, but a security module may
        let _ = self.sys.listen(socket, 0);
        let _ = self.sys.listen(socket, i32::MAX);
        is_shut
    }

    /// Gives the life lock back, under the lock. Where that is not had soon the file stays, for the next start to find:
    /// the flock is gone with us, and that is what counts.
    pub(crate) fn end_life(&self, life: Option<Lock<S::Fd>>) {
        let Some(life) = life else { return };
        let lock_timeout = self.options.lock_timeout.min(END_TIMEOUT);
        let options = Options { lock_timeout, ..self.options.clone() };
        if let Ok(locks) = (Protocol { options: &options, ..*self }).lock(Purpose::Remove) {
            self.unlock_both(locks.lock, Some(life));
        }
    }

    fn unlock_both(&self, lock: Lock<S::Fd>, life: Option<Lock<S::Fd>>) {
        if let Some(life) = life {
            self.unlock(life);
        }
        self.unlock(lock);
    }

    fn failed(&self, call: &str, errno: Errno) -> Error {
        Error::system(self.operation, &self.place.shown, call, errno)
    }
}
