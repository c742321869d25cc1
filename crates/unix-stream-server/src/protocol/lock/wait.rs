//! A lock that is not had: who has it, how long it is waited for, and the error at the end.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Which;
use crate::FileKind;
use crate::error::{Error, ErrorKind};
use crate::protocol::Protocol;
use crate::sys::{FileId, FlockHolder, Stat, Sys};

/// How long another user's lock that nobody seems to hold is given, in case its owner is between open and flock.
const DENIED_GRACE: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The lock that was not had, and who seems to have it.
#[derive(Clone, Copy)]
pub(super) struct Busy {
    pub(super) which: Which,
    pub(super) holder: Holder,
}

/// Who seems to have the lock.
#[derive(Clone, Copy)]
pub(super) enum Holder {
    /// One of ours: somebody holds the flock. If it is the life lock, that server is preparing or draining.
    Flocked(FileId),
    /// A file that is not our mark; its existence is the lock.
    Foreign(Option<FileKind>),
    /// Our mark, but with more than one link: not provably ours alone.
    Linked,
    /// Another user's, which we may not open; or of our uid, and closed to us all the same: of a user who has no number in
    /// our user namespace, on NFS, or by another kernel's rules.
    Denied(Stat),
    /// It changed hands too fast.
    Contended,
}

impl Holder {
    /// In words, and the file whose flock tells the process.
    pub(super) fn told(self) -> (&'static str, Option<FileId>) {
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
    /// Another user's lock cannot be flocked. A holder is waited for like any other; one that nobody is seen to hold,
    /// twice and for a while, was left behind.
    pub(super) fn is_left_by_another_user(&self, holder: Holder, since: &mut Option<(Stat, Instant)>) -> bool {
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

    /// The error for a wait that was called off.
    pub(super) fn interrupted(&self, which: Which) -> Error {
        let lock = self.place.shown.with_file_name(&*self.lock_name(which).to_string_lossy());
        let why = format!("told to give up while it waited for the lock {}", lock.display());
        Error::new(ErrorKind::Locked, self.operation, &self.place.shown, Errno::INTR, why)
    }

    /// The error for a lock that was not had: who has it, and what to do.
    pub(super) fn not_had(&self, Busy { which, holder }: Busy) -> Error {
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
        let held = |id, of: &str| match which {
            Which::Life => {
                let who = process(id, "a process");
                let why =
                    format!("in use: {who}{of} is preparing or draining and holds {lock}; wait for it, or end it");
                Error::new(ErrorKind::InUse, self.operation, &self.place.shown, Errno::ADDRINUSE, why)
            }
            Which::Short => {
                let who = process(id, "another process");
                locked(Errno::EXIST, format!("{who}{of} held its lock {lock}{time}; wait for it, or end it"))
            }
        };
        match holder {
            Holder::Flocked(id) => held(id, ""),
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
                let who = match self.sys.flock_holder(stat.id) {
                    FlockHolder::Process(_) => return held(stat.id, &format!(" of uid {}", stat.uid)),
                    FlockHolder::Nobody => format!("uid {} seems to have left it behind", stat.uid),
                    FlockHolder::Unknown => format!("it is of uid {}", stat.uid),
                };
                let why = format!(
                    "the lock file {lock} cannot be opened: {who}; that user or root can start here, or remove it"
                );
                locked(Errno::ACCESS, why)
            }
            Holder::Contended => {
                locked(Errno::EXIST, format!("its lock {lock} changed hands all the time{time}; try again"))
            }
        }
    }
}

/// Polls with a growing, jittered pause until a deadline.
pub(super) struct Patience<'a, S> {
    sys: &'a S,
    /// `None`: for ever, because the clock has no such time.
    deadline: Option<Instant>,
    pause: Duration,
}

impl<'a, S: Sys> Patience<'a, S> {
    pub(super) fn new(sys: &'a S, timeout: Duration) -> Self {
        Patience { sys, deadline: sys.now().checked_add(timeout), pause: FIRST_PAUSE }
    }

    /// Sleeps a little, or says that the time is up.
    pub(super) fn pause(&mut self) -> bool {
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
