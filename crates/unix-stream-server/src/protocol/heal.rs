//! A server whose name was deleted, by a cleaner say, puts a new socket there: under the lock, and only where nothing is.
//!
//! An unlinked socket cannot be linked back and a bound one not bound again, so it has to be another socket. The old one
//! is shut when the new one listens, no sooner: whoever slept in connect() on its full backlog looks the name up again,
//! and finds the new one. Those who were let in stay in the old queue, to be served from there.

use rustix::io::Errno;

use super::judge::Verdict;
use super::lock::{Lock, Purpose};
use super::{ATTEMPTS, Proof, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, Route};
use crate::sys::{FileId, Sys};
use crate::{PathState, Status, trace};

const CHURN: &str = "the name was taken, and left, by a program that ignores the lock; try again";

/// A new socket that listens at the name.
#[derive(Debug)]
pub(crate) struct Healed<Fd> {
    pub(crate) socket: Fd,
    pub(crate) id: FileId,
    /// Holds the new socket's file, for an owner that has not the listener.
    pub(crate) pin: Fd,
    /// At the end of the old queue accept() fails, where it would wait for ever otherwise.
    pub(crate) is_shut: bool,
}

impl<S: Sys> Protocol<'_, S> {
    /// A new socket at the name that the listener `old`, with the file `id`, has lost; `None` if it still has it. On an
    /// error everything is as it was, and the old listener goes on.
    pub(crate) fn heal(
        &self,
        old: &S::Fd,
        id: FileId,
        life: &mut Option<Lock<S::Fd>>,
    ) -> Result<Option<Healed<S::Fd>>> {
        if self.status(id) == Status::Ours {
            return Ok(None); // nothing is to be done, which needs no lock to be known
        }
        // Not as a start, which asks each time who lives at the path: that could be we ourselves, moved back.
        let mut locks = match self.lock(Purpose::Lock) {
            Ok(locks) => locks,
            Err(_) if self.status(id) == Status::Ours => return Ok(None),
            Err(error) => {
                self.look()?; // a live server there is the better answer
                return Err(error);
            }
        };
        let healed = self.heal_locked(&mut locks.lock, id, life);
        self.unlock(locks.lock);
        let Some(mut healed) = healed? else { return Ok(None) };
        healed.is_shut = self.shut(old);
        trace::healed(&self.place.shown);
        Ok(Some(healed))
    }

    fn heal_locked(
        &self,
        lock: &mut Lock<S::Fd>,
        lost: FileId,
        life: &mut Option<Lock<S::Fd>>,
    ) -> Result<Option<Healed<S::Fd>>> {
        match self.status(lost) {
            Status::Ours => return Ok(None),
            Status::Gone => {}
            Status::Replaced => self.must_be_vacant()?,
            Status::Unknown { errno } => {
                let state = PathState::CannotTell { errno };
                return Err(Error::refused(self.operation, &self.place.shown, state));
            }
        }
        // Whatever deleted the socket may have deleted that file too; without its name it keeps nobody out.
        self.renew_life(life)?;
        let marks = self.options.marks(life.is_some());
        let socket = self.socket(marks)?;
        self.bind_where_nothing_is(&socket)?;
        let node = self.identify(lock)?;
        let ready = self.pin_node(node.id).and_then(|pin| {
            // Only a successor has that scope and no life lock yet.
            let another = self.left_without_life_lock(&pin, life.as_ref())?;
            self.listen(&socket, &self.place.name, &node, marks | another)?;
            Ok(pin)
        });
        match ready {
            Ok(pin) => Ok(Some(Healed { socket, id: node.id, pin, is_shut: false })),
            Err(error) => {
                self.withdraw(&self.place.name, node.id);
                Err(error)
            }
        }
    }

    /// Nothing is cleared for it, not even what is dead: that is what became of somebody else's server here.
    fn must_be_vacant(&self) -> Result<()> {
        let name = &self.place.name;
        for _ in 0..ATTEMPTS {
            let pin = match self.verdict(name, Proof::None) {
                Verdict::Absent => return Ok(()),
                Verdict::Dead(pin) => pin,
                Verdict::Replaceable { state, .. } | Verdict::Other(state) => {
                    return Err(self.in_the_way(name, state));
                }
            };
            // git closes without the lock: then what was pinned alive is dead when asked, and gone from the name.
            let dead = self.sys.stat(&pin).map_err(|errno| self.failed("fstat", errno))?;
            if self.status(dead.id) == Status::Ours {
                let why = "another server's socket is there, which nobody listens on any more; it was not touched. \
                    Remove it, or start anew";
                return Err(self.moved_by(why));
            }
        }
        Err(self.moved_by(CHURN))
    }

    fn moved_by(&self, why: &str) -> Error {
        Error::new(ErrorKind::Moved, self.operation, &self.place.shown, Errno::STALE, why)
    }

    fn bind_where_nothing_is(&self, socket: &S::Fd) -> Result<()> {
        let Place { dir, name, beside, .. } = self.place;
        if self.place.route != Route::Beside {
            return self
                .put(self.sys.bind(socket, dir, name, self.place.bind_path()), |errno| self.failed("bind", errno));
        }
        self.bind_beside(socket, None)?;
        let bound = self.sys.stat_at(dir, beside).map(|stat| stat.id);
        let renamed = self.put(self.sys.rename(dir, beside, name), |errno| self.not_renamed("rename", errno));
        if let (Err(_), Ok(id)) = (&renamed, bound) {
            self.withdraw(beside, id);
        }
        renamed
    }

    /// The result of a call that gives the name only if it is free.
    fn put(&self, put: Result<(), Errno>, refused: impl Fn(Errno) -> Error) -> Result<()> {
        match put {
            Ok(()) => Ok(()),
            Err(Errno::ADDRINUSE | Errno::EXIST) => {
                self.must_be_vacant()?;
                Err(self.moved_by(CHURN))
            }
            Err(errno) => Err(refused(errno)),
        }
    }

    /// The pin of our new socket, had before anybody can connect.
    fn pin_node(&self, id: FileId) -> Result<S::Fd> {
        let pin = self.pin_own(&self.place.name)?;
        match self.sys.stat(&pin) {
            Ok(stat) if stat.id == id => Ok(pin),
            _ => Err(self.moved()),
        }
    }
}
