//! One try at one lock file.

use std::ffi::CStr;

use rustix::io::Errno;

use super::wait::Holder;
use super::{Lock, Which};
use crate::error::{Error, Result};
use crate::protocol::Protocol;
use crate::sys::{MARK, Stat, Sys};
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

enum Mended {
    Yes,
    Vanished,
    NotOurs(Stat),
}

/// Ours: a regular, empty file, sticky, with no right but the owner's read. git's always has a write bit or no sticky.
/// An odd umask may have taken the read bit, and a kill have kept it: root opens such a file all the same.
pub(crate) fn is_mark(stat: &Stat) -> bool {
    stat.kind == FileKind::Regular && matches!(stat.mode, MARK | MARK_MASKED) && stat.size == 0
}

impl<S: Sys> Protocol<'_, S> {
    pub(super) fn try_lock(&self, which: Which) -> Result<Attempt<S::Fd>> {
        let mut taken = Ok(None);
        for _ in 0..RESTARTS {
            taken = self.try_file(which);
            match &taken {
                Ok(None) => {}
                Err(error) if error.raw_os_error() == GONE.raw_os_error() => {}
                _ => break,
            }
        }
        taken.map(|attempt| attempt.unwrap_or(Attempt::Busy(Holder::Contended)))
    }

    /// One file at the lock's name. `None`: it has gone.
    fn try_file(&self, which: Which) -> Result<Option<Attempt<S::Fd>>> {
        let (dir, name) = (&self.place.dir, self.lock_name(which));
        match self.sys.create_lock(dir, name) {
            Ok(file) => self.take_new(which, file),
            Err(Errno::EXIST) => match self.sys.open_lock(dir, name) {
                Ok(file) => self.take_left(which, file),
                Err(Errno::NOENT) => Ok(None), // given back between the two calls
                Err(Errno::ACCESS | Errno::PERM) => Ok(match self.mend_own(name)? {
                    Mended::Yes | Mended::Vanished => None,
                    Mended::NotOurs(stat) => Some(Attempt::Busy(Holder::Denied(stat))),
                }),
                // A symbolic link (NOFOLLOW), a socket, a device without a driver.
                Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => Ok(Some(Attempt::Busy(Holder::Foreign(None)))),
                Err(errno) => Err(self.failed("open the lock file", errno)),
            },
            Err(errno) => Err(self.failed("create the lock file", errno)),
        }
    }

    /// A lock file that we have just created. `None`: another of ours took it for a dead holder's before we had the
    /// flock, and has unlinked it since.
    fn take_new(&self, which: Which, file: S::Fd) -> Result<Option<Attempt<S::Fd>>> {
        match self.sys.flock(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let stat = self.sys.stat(&file).map_err(|errno| self.failed("fstat the lock file", errno))?;
                return Ok(Some(Attempt::Busy(Holder::Flocked(stat.id))));
            }
            Err(errno) => return Err(self.no_flock(self.lock_name(which), errno)),
        }
        // Whoever unlinks holds the flock, so a file with a link now has it until we are done. That it is at its name
        // needs no second stat: nobody but a stranger renames it, and a stranger could a moment later just as well.
        let stat = self.sys.stat(&file).map_err(|errno| self.failed("fstat the lock file", errno))?;
        if stat.links == 0 {
            return Ok(None);
        }
        if stat.mode != MARK {
            // An odd umask: where it stays so, the owner's next start mends it. Or a file system that takes the sticky bit
            // from a new file (some FUSE): whoever is killed just before this call leaves a file that is not known for ours.
            let _ = self.sys.fchmod(&file, MARK);
        }
        // Ours even where the file system keeps no modes: then nobody takes it over, as nobody takes git's.
        Ok(Some(Attempt::Held(Lock { file, id: stat.id, which, inherited: false, proves: false, confirmed: false })))
    }

    /// A lock file that was there, judged by its descriptor, never by its name. `None`: it is not at its name any more.
    fn take_left(&self, which: Which, file: S::Fd) -> Result<Option<Attempt<S::Fd>>> {
        let stat = self.sys.stat(&file).map_err(|errno| self.failed("fstat the lock file", errno))?;
        if !is_mark(&stat) {
            return Ok(Some(Attempt::Busy(Holder::Foreign(Some(stat.kind)))));
        }
        match self.sys.flock(&file) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Some(Attempt::Busy(Holder::Flocked(stat.id)))),
            Err(errno) => return Err(self.failed("flock the lock file", errno)),
        }
        // Between open and flock its holder may have unlinked it and gone: then we hold an orphan, while others may
        // hold a new file at the name.
        match self.sys.stat_at(&self.place.dir, self.lock_name(which)) {
            Ok(now) if now.id == stat.id && now.links == 1 => {
                trace::dead_lock_taken_over(&self.place.shown, self.lock_name(which));
                Ok(Some(Attempt::Held(Lock {
                    file,
                    id: stat.id,
                    which,
                    inherited: true,
                    proves: true,
                    confirmed: false,
                })))
            }
            Ok(now) if now.id == stat.id => Ok(Some(Attempt::Busy(Holder::Linked))),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("fstatat the lock file", errno)),
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

    /// A umask that takes the owner's read bit leaves a lock that its owner cannot open; whoever was killed before
    /// giving the bit back left it for us, the same user, to mend.
    fn mend_own(&self, name: &CStr) -> Result<Mended> {
        let pin = match self.sys.pin(&self.place.dir, name) {
            Ok(pin) => pin,
            Err(Errno::NOENT) => return Ok(Mended::Vanished),
            Err(errno) => return Err(self.failed("open the lock file", errno)),
        };
        Ok(match self.sys.stat(&pin) {
            Ok(stat)
                if stat.kind == FileKind::Regular
                    && stat.mode == MARK_MASKED
                    && stat.size == 0
                    && stat.uid == self.sys.euid()
                    && self.sys.chmod(&pin, MARK).is_ok() =>
            {
                Mended::Yes
            }
            Ok(stat) => Mended::NotOurs(stat),
            Err(Errno::NOENT) => Mended::Vanished,
            Err(errno) => return Err(self.failed("fstat the lock file", errno)),
        })
    }
}
