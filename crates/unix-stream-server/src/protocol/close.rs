//! The end of a server: its name goes under the lock, while its listener still keeps the inode from reuse; its queue is
//! dropped or handed out; nobody stays blocked in connect().

use std::time::Duration;

use rustix::io::Errno;

use super::lock::{Lock, Purpose};
use super::{Options, Protocol};
use crate::Status;
use crate::error::{Error, Result};
use crate::sys::{FileId, Sys};

/// How long the end of a life lock waits for the short one, at most.
const END_TIMEOUT: Duration = Duration::from_millis(100);

/// The end of a server whose queue is still to be handed out.
#[derive(Debug)]
pub(crate) struct Retired {
    /// What stood at the name.
    pub(crate) status: Result<Status>,
    /// At the end of its queue accept() fails, where it would wait for ever otherwise.
    pub(crate) is_shut: bool,
}

impl<S: Sys> Protocol<'_, S> {
    /// The end of a server that drops who is still queued. Says what stood at the name just before.
    pub(crate) fn close(&self, socket: S::Fd, id: FileId, life: Option<Lock<S::Fd>>) -> Result<Status> {
        match self.lock(Purpose::Lock) {
            Ok(locks) => {
                let status = self.remove(id);
                self.shut(&socket);
                drop(socket);
                let life = life.filter(|_| !is_left_behind(&status)); // else as in `end_life`
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
        // A path that is another's, or gone, is not to be removed, and so needs no lock.
        let status = self.status(id);
        if status.is_stolen() {
            return Retired { status: Ok(status), is_shut: self.shut(socket) };
        }
        let (status, lock) = match self.lock(Purpose::Lock) {
            Ok(locks) => (self.remove(id), Some(locks.lock)),
            Err(error) => (self.without_lock(id, error), None),
        };
        let is_shut = self.shut(socket);
        if let Some(lock) = lock {
            self.unlock(lock);
        }
        Retired { status, is_shut }
    }

    /// Takes the name back without touching the socket; `id` is kept alive by the caller's pin.
    pub(crate) fn unpublish(&self, id: FileId) -> Result<Status> {
        match self.lock(Purpose::Lock) {
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
    pub(super) fn shut(&self, socket: &S::Fd) -> bool {
        let is_shut = self.sys.shut(socket).is_ok(); // no Linux refuses it, but a security module may
        let _ = self.sys.listen(socket, 0);
        let _ = self.sys.listen(socket, i32::MAX);
        is_shut
    }

    /// Gives the life lock back, under the lock. Where that is not had soon the file stays, for the next start to find:
    /// the flock is gone with us, and that is what counts. It stays, too, beside a socket of ours that had to be `left_behind`:
    /// there it proves the death, which a refusal does not do everywhere.
    pub(crate) fn end_life(&self, life: Option<Lock<S::Fd>>, left_behind: bool) {
        let Some(life) = life.filter(|_| !left_behind) else { return };
        let lock_timeout = self.options.lock_timeout.min(END_TIMEOUT);
        let options = Options { lock_timeout, ..self.options.clone() };
        if let Ok(locks) = (Protocol { options: &options, ..*self }).lock(Purpose::Lock) {
            self.unlock_both(locks.lock, Some(life));
        }
    }

    pub(super) fn unlock_both(&self, lock: Lock<S::Fd>, life: Option<Lock<S::Fd>>) {
        if let Some(life) = life {
            self.unlock(life);
        }
        self.unlock(lock);
    }
}

/// Our socket may be at its name still.
pub(crate) fn is_left_behind(status: &Result<Status>) -> bool {
    matches!(status, Err(_) | Ok(Status::Unknown { .. }))
}

impl Error {
    /// Adds to the error of a close what it leaves behind.
    fn left_behind(self) -> Self {
        let why = format!("{}; a dead socket stays at the path, and the next start there replaces it", self.reason());
        Error::new(self.kind(), self.operation(), self.path(), Errno::from_raw_os_error(self.raw_os_error()), why)
            .with_peer(self.peer())
    }
}
