//! Step 1 and its end: `<name>.lock`, and the life lock `<name>.owner`, which is the same kind of file.
//!
//! Two truths meet in it. Among our own, the flock is the lock and the file is only where it lives, so that a killed
//! holder's file is taken over and is never "stale". Towards git's protocol the file's existence is the lock. The mark
//! of ours, mode 01400, is set in the same call that creates the file: there is no moment, however short, in which a
//! crash leaves a file that cannot be told apart, and no other user can open it to hold its flock.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Protocol;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::MARK;
use crate::sys::{FileId, FlockHolder, Stat, Sys};
use crate::{FileKind, LockScope, trace};

/// How often a lock file that vanishes under our hands is tried again at once.
const RESTARTS: usize = 8;
/// The mark after a umask has taken the owner's read bit away, until the creator gives it back.
const MARK_MASKED: u32 = MARK & !0o400;
/// How long another user's lock that nobody seems to hold is given, in case its owner is between open and flock.
const DENIED_GRACE: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A lock file that is flocked by us, has one link and stands at its name.
#[derive(Debug)]
pub(crate) struct Lock<Fd> {
    file: Fd,
    id: FileId,
    which: Which,
    inherited: bool,
    /// It has just been seen at its name.
    confirmed: bool,
}

impl<Fd> Lock<Fd> {
    pub(crate) fn file(&self) -> &Fd {
        &self.file
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
    /// The same, by one who holds the life lock already, or wants none.
    PublishClaim,
    /// To remove our own node. Who lives at the path is no matter: it is us.
    Remove,
    /// To have the life lock as well, by one who has published already.
    Succeed,
}

impl Purpose {
    /// The path is wanted, so a live server there ends the wait.
    fn wants_path(self) -> bool {
        matches!(self, Purpose::Publish | Purpose::PublishClaim)
    }

    fn wants_life(self) -> bool {
        matches!(self, Purpose::Publish | Purpose::Succeed)
    }
}

/// The end of one attempt.
enum Attempt<Fd> {
    Held(Lock<Fd>),
    Busy(Holder),
}

/// The lock that was not had, and who seems to have it.
#[derive(Clone, Copy)]
struct Busy {
    which: Which,
    holder: Holder,
}

/// Who seems to have the lock.
#[derive(Clone, Copy)]
enum Holder {
    /// One of ours: somebody holds the flock. If it is the life lock, that server is preparing or draining.
    Flocked(FileId),
    /// A file that is not our mark; its existence is the lock.
    Foreign(Option<FileKind>),
    /// Our mark, but with more than one link: not provably ours alone.
    Linked,
    /// A file that we may not open.
    Denied(Stat),
    /// It changed hands too fast.
    Contended,
}

impl Holder {
    /// In words, and the file whose flock tells the process.
    fn told(self) -> (&'static str, Option<FileId>) {
        match self {
            Holder::Flocked(file) => ("a process", Some(file)),
            Holder::Foreign(_) => ("another program", None),
            Holder::Linked => ("nobody, but it has a second link", None),
            Holder::Denied(stat) => ("another user", Some(stat.id)),
            Holder::Contended => ("one after the other", None),
        }
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

    /// Under the lock: the life lock, if a dead server has left it behind. Held by a living one, it is the answer `InUse`.
    pub(super) fn left_life(&self) -> Result<Option<Lock<S::Fd>>> {
        if !self.is_marked(&self.place.life) {
            return Ok(None);
        }
        match self.try_lock(Which::Life)? {
            Attempt::Held(life) => Ok(Some(life)),
            Attempt::Busy(holder) => Err(self.not_had(Busy { which: Which::Life, holder })),
        }
    }

    /// Does a lock file of ours stand at this name, whoever holds it?
    pub(super) fn is_marked(&self, name: &CStr) -> bool {
        self.sys.stat_at(&self.place.dir, name).is_ok_and(|stat| is_mark(&stat))
    }

    fn try_lock(&self, which: Which) -> Result<Attempt<S::Fd>> {
        let (dir, name) = (&self.place.dir, self.lock_name(which));
        for _ in 0..RESTARTS {
            let taken = match self.sys.create_lock(dir, name) {
                Ok(file) => self.take_new(which, file)?,
                Err(Errno::EXIST) => match self.sys.open_lock(dir, name) {
                    Ok(file) => self.take_left(which, file)?,
                    Err(Errno::NOENT) => None, // given back between the two calls
                    Err(Errno::ACCESS | Errno::PERM) => match self.mend_own(name) {
                        Mended::Yes | Mended::Vanished => None,
                        Mended::NotOurs(stat) => Some(Attempt::Busy(Holder::Denied(stat))),
                    },
                    // A symbolic link (NOFOLLOW), a socket, a device without a driver.
                    Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => Some(Attempt::Busy(Holder::Foreign(None))),
                    Err(errno) => return Err(self.failed("open the lock file", errno)),
                },
                Err(errno) => return Err(self.failed("create the lock file", errno)),
            };
            if let Some(attempt) = taken {
                return Ok(attempt);
            }
        }
        Ok(Attempt::Busy(Holder::Contended))
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
        if stat.mode == MARK_MASKED {
            let _ = self.sys.fchmod(&file, MARK); // an odd umask; where it stays so, the owner's next start mends it
        }
        // Ours even where the file system keeps no modes: then nobody takes it over, as nobody takes git's.
        Ok(Some(Attempt::Held(Lock { file, id: stat.id, which, inherited: false, confirmed: false })))
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
                Ok(Some(Attempt::Held(Lock { file, id: stat.id, which, inherited: true, confirmed: false })))
            }
            Ok(now) if now.id == stat.id => Ok(Some(Attempt::Busy(Holder::Linked))),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
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

    /// A umask that takes the owner's read bit leaves a lock that its owner cannot open; whoever was killed before
    /// giving the bit back left it for us, the same user, to mend.
    fn mend_own(&self, name: &CStr) -> Mended {
        let dir = &self.place.dir;
        let Ok(pin) = self.sys.pin(dir, name) else { return Mended::Vanished };
        match self.sys.stat(&pin) {
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
            Err(_) => Mended::Vanished,
        }
    }

    /// Does the path lead to our directory? The lock is in there and is ours, so one look at it by its path tells that.
    /// It tells as well that it is still at its name, which step 7, a moment later, need not ask again.
    pub(super) fn confirm(&self, lock: &mut Lock<S::Fd>) -> bool {
        let Some(path) = &self.place.lock_path else { return false };
        lock.confirmed = self.sys.stat_path(path).is_ok_and(|now| now.id == lock.id);
        lock.confirmed
    }

    /// Step 7: still our file? Unlinked while we hold the flock, then closed. A file that cannot be unlinked is left
    /// without its flock, so that the next of ours takes it over.
    pub(super) fn unlock(&self, lock: Lock<S::Fd>) {
        let (dir, name) = (&self.place.dir, self.lock_name(lock.which));
        if lock.confirmed || self.sys.stat_at(dir, name).is_ok_and(|now| now.id == lock.id) {
            let _ = self.sys.unlink(dir, name);
        }
        drop(lock.file);
    }

    /// Under the short lock: a life lock by which nothing was published. One that a dead server had left stays with that
    /// server's socket, unlocked, as it was found: where a refusal proves nothing, it is what proves the death.
    pub(super) fn unlock_unused(&self, life: Lock<S::Fd>) {
        let is_socket = |stat: Stat| stat.kind == FileKind::Socket;
        if life.inherited && self.sys.stat_at(&self.place.dir, &self.place.name).is_ok_and(is_socket) {
            drop(life.file);
        } else {
            self.unlock(life);
        }
    }

    /// The error for a lock file of our own that cannot be flocked.
    fn no_flock(&self, name: &CStr, errno: Errno) -> Error {
        // Only where flock is no operation of the file system at all is it certain that nobody else has taken the
        // file over in the meantime. On a passing error it stays, for the next of ours to take over.
        if matches!(errno, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) {
            let _ = self.sys.unlink(&self.place.dir, name);
        }
        self.failed("flock the lock file", errno)
    }

    /// Another user's lock cannot be flocked. A holder is waited for like any other; one that nobody is seen to hold,
    /// twice and for a while, was left behind.
    fn is_left_by_another_user(&self, holder: Holder, since: &mut Option<(Stat, Instant)>) -> bool {
        let Holder::Denied(stat) = holder else {
            *since = None;
            return false;
        };
        let now = self.sys.now();
        match since {
            Some((before, first)) if *before == stat => {
                now.saturating_duration_since(*first) >= DENIED_GRACE
                    && self.sys.flock_holder(stat.id) == FlockHolder::Nobody
            }
            _ => {
                *since = Some((stat, now));
                false
            }
        }
    }

    /// The error for a lock that was not had: who has it, and what to do.
    fn not_had(&self, Busy { which, holder }: Busy) -> Error {
        let name = self.lock_name(which).to_string_lossy();
        let lock = self.place.shown.with_file_name(&*name).display().to_string();
        // How long it was waited for; at one try, not at all.
        let time = match self.options.lock_timeout {
            Duration::ZERO => String::new(),
            timeout => format!(" for {timeout:?}"),
        };
        let locked = |errno, why| Error::new(ErrorKind::Locked, self.operation, &self.place.shown, errno, why);
        let process = |id, otherwise: &str| match self.sys.flock_holder(id) {
            FlockHolder::Process(pid) => format!("process {pid}"),
            FlockHolder::Nobody | FlockHolder::Unknown => otherwise.to_owned(),
        };
        match holder {
            Holder::Flocked(id) if matches!(which, Which::Life) => {
                let who = process(id, "a process");
                let why = format!("in use: {who} is preparing or draining and holds {lock}; wait for it, or end it");
                Error::new(ErrorKind::InUse, self.operation, &self.place.shown, Errno::ADDRINUSE, why)
            }
            Holder::Flocked(id) => {
                let who = process(id, "another process");
                locked(Errno::EXIST, format!("{who} held its lock {lock}{time}; wait for it, or end it"))
            }
            Holder::Foreign(kind) => {
                let kind = kind.map_or(String::new(), |kind| format!(" (a {kind})"));
                let why = format!(
                    "{lock}{kind} was made by another program, which may be at work here; it stood there{time}. If no \
                     such program runs, remove it"
                );
                locked(Errno::EXIST, why)
            }
            Holder::Linked => {
                let why = format!("{lock} has a second link somewhere, so it may be someone's; remove it if it is not");
                locked(Errno::EXIST, why)
            }
            Holder::Denied(stat) => {
                // Waited for like any other as long as it is seen held; else it is the other user's to remove.
                let (errno, who) = match self.sys.flock_holder(stat.id) {
                    FlockHolder::Process(pid) => (Errno::EXIST, format!("process {pid} of uid {} holds it", stat.uid)),
                    FlockHolder::Nobody => (Errno::ACCESS, format!("uid {} seems to have left it behind", stat.uid)),
                    FlockHolder::Unknown => (Errno::ACCESS, format!("it is of uid {}", stat.uid)),
                };
                let why = format!(
                    "the lock file {lock} cannot be opened: {who}; that user or root can start here, or remove it"
                );
                locked(errno, why)
            }
            Holder::Contended => {
                locked(Errno::EXIST, format!("its lock {lock} changed hands all the time{time}; try again"))
            }
        }
    }
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

/// Polls with a growing, jittered pause until a deadline.
struct Patience<'a, S> {
    sys: &'a S,
    /// `None`: for ever, because the clock has no such time.
    deadline: Option<Instant>,
    pause: Duration,
}

impl<'a, S: Sys> Patience<'a, S> {
    fn new(sys: &'a S, timeout: Duration) -> Self {
        Patience { sys, deadline: sys.now().checked_add(timeout), pause: FIRST_PAUSE }
    }

    /// Sleeps a little, or says that the time is up.
    fn pause(&mut self) -> bool {
        let left = match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(self.sys.now()),
            None => LONGEST_PAUSE,
        };
        if left.is_zero() {
            return false;
        }
        self.sys.pause(self.pause.min(left));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

impl Error {
    /// Adds to the error of a close what it leaves behind.
    pub(super) fn left_behind(self) -> Self {
        let why = format!("{}; a dead socket stays at the path, and the next start there replaces it", self.reason());
        Error::new(self.kind(), self.operation(), self.path(), Errno::from_raw_os_error(self.raw_os_error()), why)
            .with_peer(self.peer())
    }
}
