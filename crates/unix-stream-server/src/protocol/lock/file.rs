//! One try at one lock file.

use std::ffi::CStr;

use rustix::io::Errno;

use super::wait::Holder;
use super::{Lock, Which};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::Protocol;
use crate::sys::{FlockHolder, MARK, Stat, Sys};
use crate::{FileKind, trace};

/// How often a lock file that vanishes under our hands is tried again at once.
const RESTARTS: usize = 8;
/// What NFS says of an open file that another host has unlinked (nfs(5)).
const GONE: Errno = Errno::STALE;
/// The mark after a umask has taken the owner's read bit away, until the creator gives it back.
const MARK_MASKED: u32 = MARK & !0o400;

/// The end of one attempt.
pub(super) enum Attempt<Fd> {
    Held(Lock<Fd>),
    Busy(Holder),
}

/// Why a look at the file at the lock's name came to nothing.
enum Miss {
    /// It has gone meanwhile: to be looked for anew.
    Gone,
    /// It could not be opened, is of our uid, and should be open to us by now.
    Mended(Stat),
    /// As gone, if it does not stay so.
    Stale(Error),
    Failed(Error),
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        if error.raw_os_error() == GONE.raw_os_error() { Miss::Stale(error) } else { Miss::Failed(error) }
    }
}

/// Ours: a regular, empty file, sticky, with no right but the owner's read. git's always has a write bit or no sticky.
/// An odd umask may have taken the read bit, and a kill have kept it: root opens such a file all the same.
pub(crate) fn is_mark(stat: &Stat) -> bool {
    stat.kind == FileKind::Regular && matches!(stat.mode, MARK | MARK_MASKED) && stat.size == 0
}

impl<S: Sys> Protocol<'_, S> {
    pub(super) fn try_lock(&self, which: Which) -> Result<Attempt<S::Fd>> {
        let mut missed = Miss::Gone;
        for _ in 0..RESTARTS {
            missed = match self.try_file(which) {
                Ok(attempt) => return Ok(attempt),
                Err(Miss::Failed(error)) => return Err(error),
                Err(miss) => miss,
            }
        }
        match missed {
            Miss::Gone => Ok(Attempt::Busy(Holder::Contended)),
            Miss::Mended(stat) => Ok(Attempt::Busy(Holder::Denied(stat))),
            Miss::Stale(error) | Miss::Failed(error) => Err(error),
        }
    }

    /// One file at the lock's name.
    fn try_file(&self, which: Which) -> Result<Attempt<S::Fd>, Miss> {
        let (dir, name) = (&self.place.dir, self.lock_name(which));
        match self.sys.create_lock(dir, name) {
            Ok(file) => self.take_new(which, file),
            Err(Errno::EXIST) => match self.sys.open_lock(dir, name) {
                Ok(file) => self.take_left(which, file),
                Err(Errno::NOENT) => Err(Miss::Gone), // given back between the two calls
                Err(Errno::ACCESS | Errno::PERM) => self.closed_to_us(name),
                // A symbolic link (NOFOLLOW), a socket, a device without a driver.
                Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => Ok(Attempt::Busy(Holder::Foreign(None))),
                Err(errno) => Err(self.failed("open the lock file", errno).into()),
            },
            Err(errno) => Err(self.failed("create the lock file", errno).into()),
        }
    }

    /// A lock file that we have just created. It has gone if another of ours took it for a dead holder's before we had the
    /// flock, and has unlinked it since.
    fn take_new(&self, which: Which, file: S::Fd) -> Result<Attempt<S::Fd>, Miss> {
        match self.sys.flock(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let stat = self.sys.stat(&file).map_err(|errno| self.failed("fstat the lock file", errno))?;
                return Ok(Attempt::Busy(Holder::Flocked(stat.id)));
            }
            Err(errno) => return Err(self.no_flock(self.lock_name(which), errno).into()),
        }
        // Whoever unlinks holds the flock, so a file with a link now has it until we are done. That it is at its name
        // needs no second stat: nobody but a stranger renames it, and a stranger could a moment later just as well.
        let stat = self.sys.stat(&file).map_err(|errno| self.failed("fstat the lock file", errno))?;
        if stat.links == 0 {
            return Err(Miss::Gone);
        }
        if stat.mode != MARK {
            // An odd umask: where it stays so, the owner's next start mends it. Or a file system that takes the sticky bit
            // from a new file (some FUSE): whoever is killed just before this call leaves a file that is not known for ours.
            let _ = self.sys.fchmod(&file, MARK);
        }
        // Ours even where the file system keeps no modes: then nobody takes it over, as nobody takes git's.
        Ok(Attempt::Held(Lock { file, id: stat.id, which, inherited: false, proves: false, confirmed: false }))
    }

    /// A lock file that was there, judged by its descriptor, never by its name.
    fn take_left(&self, which: Which, file: S::Fd) -> Result<Attempt<S::Fd>, Miss> {
        let stat = self.sys.stat(&file).map_err(|errno| self.failed("fstat the lock file", errno))?;
        if !is_mark(&stat) {
            return Ok(Attempt::Busy(Holder::Foreign(Some(stat.kind))));
        }
        match self.sys.flock(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Attempt::Busy(Holder::Flocked(stat.id))),
            Err(errno) => return Err(self.failed("flock the lock file", errno).into()),
        }
        // Between open and flock its holder may have unlinked it and gone: then we hold an orphan, while others may
        // hold a new file at the name.
        match self.sys.stat_at(&self.place.dir, self.lock_name(which)) {
            Ok(now) if now.id == stat.id && now.links == 1 => {
                trace::dead_lock_taken_over(&self.place.shown, self.lock_name(which));
                Ok(Attempt::Held(Lock { file, id: stat.id, which, inherited: true, proves: true, confirmed: false }))
            }
            Ok(now) if now.id == stat.id => Ok(Attempt::Busy(Holder::Linked)),
            Ok(_) | Err(Errno::NOENT) => Err(Miss::Gone),
            Err(errno) => Err(self.failed("fstatat the lock file", errno).into()),
        }
    }

    /// The error for a lock file of our own that cannot be flocked.
    fn no_flock(&self, name: &CStr, errno: Errno) -> Error {
        // Only where flock is no operation of the file system at all is it certain that nobody else has taken the
        // file over in the meantime. On a passing error it stays, for the next of ours to take over. BADF is NFSv4's answer,
        // which wants a file that is open for writing (flock(2)), as nobody can open one of ours that is left.
        if matches!(errno, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::BADF) {
            let _ = self.sys.unlink(&self.place.dir, name);
        }
        self.failed("flock the lock file", errno)
    }

    /// A lock file that we may not open. A umask that takes the owner's read bit leaves one that its owner cannot open;
    /// whoever was killed before giving the bit back left it for us, the same user, to mend.
    fn closed_to_us(&self, name: &CStr) -> Result<Attempt<S::Fd>, Miss> {
        let pin = match self.sys.pin(&self.place.dir, name) {
            Ok(pin) => pin,
            Err(Errno::NOENT) => return Err(Miss::Gone),
            Err(errno) => return Err(self.failed("open the lock file", errno).into()),
        };
        let stat = match self.sys.stat(&pin) {
            Ok(stat) if stat.links > 0 => stat,
            Ok(_) | Err(Errno::NOENT) => return Err(Miss::Gone),
            Err(errno) => return Err(self.failed("fstat the lock file", errno).into()),
        };
        if !is_mark(&stat) {
            return Ok(Attempt::Busy(Holder::Foreign(Some(stat.kind))));
        }
        if stat.uid != self.sys.euid() {
            return Ok(Attempt::Busy(Holder::Denied(stat)));
        }
        if stat.mode == MARK {
            return Err(Miss::Mended(stat)); // by who has made it, or by another of ours
        }
        match self.sys.chmod(&pin, MARK) {
            Ok(()) => Err(Miss::Mended(stat)),
            Err(_) if matches!(self.sys.flock_holder(stat.id), FlockHolder::Process(_)) => {
                Ok(Attempt::Busy(Holder::Denied(stat)))
            }
            // The pin holds the file, so what is missing is the way through /proc.
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                let why = "chmod the lock file, of which a umask has taken its owner's right to read: that needs /proc; \
                    mount it";
                Err(Error::new(ErrorKind::System, self.operation, &self.place.shown, errno, why).into())
            }
            Err(errno) => Err(self.failed("chmod the lock file", errno).into()),
        }
    }
}
