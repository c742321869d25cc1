//! Being told who comes and goes at any path, our own or not.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::source::{Heard, Native, Source};
use super::wait_for;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::probe::{Pinned, inspect_pinned};
use crate::process::Process;
use crate::sys::diag::find_listener;
use crate::sys::{FileId, Handle, Stat, Sys, System, duplicate};
use crate::{Inspection, PathState};

const WATCH_PATH: &str = "watch";

/// How often it looks for what makes no event.
const SLOWLY: Duration = Duration::from_secs(1);
/// How often it looks where nothing makes one.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long a new socket that nobody listens on yet is taken for one whose server is about to, and one that listens
/// though its process has ended for one that is about to go.
const DOUBT: Duration = Duration::from_millis(50);
/// How often it is looked at meanwhile.
const CLOSELY: Duration = Duration::from_millis(1);

/// What a change is to the first server that was seen at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathEvent {
    /// It is the first server seen here: from now on the one that the others are compared with.
    Ours,
    /// No server is here: nothing at all, or a socket that nobody listens on any more.
    Gone,
    /// Something else is here than the first server: another server's socket, as after a restart, or another kind of file.
    Replaced,
    /// The first server's socket is here again.
    Back,
}

impl PathEvent {
    /// The event as one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PathEvent::Ours => "ours",
            PathEvent::Gone => "gone",
            PathEvent::Replaced => "replaced",
            PathEvent::Back => "back",
        }
    }
}

impl fmt::Display for PathEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What stands at a path now, and what that is to the first server seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathReport {
    /// What has happened.
    pub event: PathEvent,
    /// What is there.
    pub inspection: Inspection,
}

/// Tells whenever another server, another owner, or none is at a path, which need not exist yet. For those who serve
/// there themselves there is [`Watch`](crate::Watch).
///
/// The first report says what is there now, and comes at once. Symbolic links are followed, as a client would.
///
/// # How soon
///
/// What is done to the name is told at once (inotify(7) on its directory), and so is the end of the process that serves,
/// where it can be seen (pidfd_open(2)). What makes no event is found within a second: a server that ends behind a
/// process of another pid namespace, or that only closes its socket; changes behind a symbolic link, and of a directory
/// further up; the end of the path's own directory, and another in its place. Where the directory may not be read, or no
/// inotify is to be had, it looks five times a second.
///
/// # It disturbs nobody
///
/// It looks into the kernel's list of listeners (sock_diag(7)). Only what is new and not on it, such as a server in
/// another network namespace, is connected to, once, or twice if the process that made it has ended; from then on its end
/// is known by its process and its file alone. So the end of one whose process cannot be seen either (of another network
/// namespace and another pid namespace) is not told before its file goes. Other systems have no such list: there every
/// new server is connected to so, and again when its file has got another mode, owner or name.
pub struct PathWatch {
    path: PathBuf,
    process: Process,
    source: Native,
    dir: Option<Handle>,
    hears: bool,
    interval: Duration,
    /// The first server's file.
    ours: Option<Pinned>,
    /// The file that was seen last.
    seen: Option<Pinned>,
    /// The process whose end is waited for.
    heard: Option<u32>,
    /// A socket that is about to be another thing, and since when.
    doubt: Option<(FileId, Instant)>,
    last: Option<PathReport>,
}

impl PathWatch {
    /// A watch of the path. Its directory must exist.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) or [`PathTooLong`](crate::ErrorKind::PathTooLong) for a path that can name no
    /// socket; [`System`](crate::ErrorKind::System): its directory is missing (`ENOENT`) or none (`ENOTDIR`), may not be
    /// searched (`EACCES`), or there are no descriptors (`EMFILE`).
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let place = Place::open(path, WATCH_PATH)?;
        let source = Native::new().map_err(|errno| Error::system(WATCH_PATH, path, "epoll, timerfd", errno))?;
        let mut watch = PathWatch {
            path: place.shown.clone(),
            process: Process::current(),
            source,
            dir: None,
            hears: false,
            interval: SLOWLY,
            ours: None,
            seen: None,
            heard: None,
            doubt: None,
            last: None,
        };
        watch.listen_at(place);
        // So that the descriptor is readable for the first report.
        let ticks = watch.source.tick(Duration::from_nanos(1), watch.interval);
        ticks.map_err(|errno| Error::system(WATCH_PATH, path, "timerfd_settime", errno))?;
        Ok(watch)
    }

    /// What is there now, if it is not what was told last. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Forked`](crate::ErrorKind::Forked) in a forked child.
    pub fn check(&mut self) -> Result<Option<PathReport>> {
        self.process.check(WATCH_PATH, &self.path)?;
        let heard = self.source.take();
        if heard.ended {
            self.heard = None;
        }
        if self.last.is_some() && (heard.only_others() || self.is_as_before(heard)) {
            return Ok(None);
        }
        if heard.moved || heard.tick {
            self.follow_directory();
        }
        let Some((inspection, file)) = self.look(heard.ended)? else { return Ok(None) };
        let report = PathReport { event: self.event(inspection.state, file.as_ref()), inspection };
        self.remember(report.inspection.state, file);
        if self.last.as_ref().is_some_and(|last| is_same(last, &report)) {
            return Ok(None);
        }
        self.last = Some(report.clone());
        Ok(Some(report))
    }

    /// Waits for the next report.
    ///
    /// # Errors
    ///
    /// [`Forked`](crate::ErrorKind::Forked) in a forked child; [`System`](crate::ErrorKind::System) if poll(2) fails
    /// (`ENOMEM`).
    pub fn wait(&mut self) -> Result<PathReport> {
        loop {
            if let Some(report) = wait_for(self, None, Self::check, Self::path)? {
                return Ok(report);
            }
        }
    }

    /// The same for a limited time; `None` when it is over.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, time: Duration) -> Result<Option<PathReport>> {
        wait_for(self, Instant::now().checked_add(time), Self::check, Self::path)
    }

    /// The path, absolute where the working directory was known.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True while it looks five times a second, because the directory does not tell.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        !self.hears
    }

    /// At the most the clock has called, or some name in the directory has changed, and it is not worth a question: a
    /// server was here, and its file still is. A listener that the kernel lists is looked for there; what it does not list
    /// would have to be connected to.
    fn is_as_before(&self, heard: Heard) -> bool {
        let Some((last, seen)) = self.last.as_ref().zip(self.seen.as_ref()) else { return false };
        !(heard.ours || heard.moved || heard.ended)
            && self.doubt.is_none()
            && is_served(last.inspection.state)
            && self.dir_is_in_place()
            && file_at(&self.path).is_some_and(|now| seen.is_still(&now))
            && (!seen.listed || find_listener(seen.id).is_some())
    }

    /// What is there, and its process's end is heard from now on. `None`: it is in doubt.
    fn look(&mut self, mut ended: bool) -> Result<Option<(Inspection, Option<Pinned>)>> {
        let mut gone = None;
        loop {
            let (inspection, file) = inspect_pinned(&self.path)?;
            if self.is_in_doubt(inspection.state, file.as_ref(), ended) {
                return Ok(None);
            }
            // Ended between this look and now, its process is not heard of again. One that is still known by it after
            // another look was made by a process that has ended, and is served by another.
            match self.hear_end(inspection.state) {
                Err(pid) if gone != Some(pid) => (gone, ended) = (Some(pid), true),
                _ => return Ok(Some((inspection, file))),
            }
        }
    }

    /// Between bind() and listen() a server looks dead, and no event tells of its listen(). And a socket can be
    /// without a process for a moment: the first of its threads has ended and the last has not, or somebody reads
    /// /proc/PID/fd and so has it open too.
    fn is_in_doubt(&mut self, state: PathState, file: Option<&Pinned>, ended: bool) -> bool {
        let Some(id) = file.map(|file| file.id) else {
            self.doubt = None;
            return false;
        };
        let before = self.doubt.filter(|&(doubted, _)| doubted == id);
        let is_new = self.last.is_some() && self.seen.as_ref().is_none_or(|seen| seen.id != id);
        let is_doubtful = match state {
            PathState::Dead => is_new || before.is_some(),
            PathState::Live { peer: None } => ended || self.heard.is_some() || before.is_some(),
            _ => false,
        };
        let since = before.map_or_else(Instant::now, |(_, since)| since);
        let doubt = Some((id, since)).filter(|_| is_doubtful && since.elapsed() < DOUBT);
        if doubt.is_some() || self.doubt.is_some() {
            // Set anew each time: the first of a row is all that is wanted of it.
            let first = if doubt.is_some() { CLOSELY } else { self.interval };
            let _ = self.source.tick(first, self.interval); // of times that it has taken before
        }
        self.doubt = doubt;
        doubt.is_some()
    }

    fn event(&self, state: PathState, file: Option<&Pinned>) -> PathEvent {
        let Some(ours) = &self.ours else {
            return if is_served(state) { PathEvent::Ours } else { PathEvent::Gone };
        };
        let last = self.last.as_ref().map_or(PathEvent::Gone, |last| last.event);
        match (state, file) {
            (PathState::Absent | PathState::Dead, _) => PathEvent::Gone,
            (_, Some(file)) if file.id == ours.id => match last {
                PathEvent::Ours => PathEvent::Ours,
                PathEvent::Gone | PathEvent::Replaced | PathEvent::Back => PathEvent::Back,
            },
            (_, Some(_)) => PathEvent::Replaced,
            // It cannot be looked at: whatever it was.
            (_, None) => last,
        }
    }

    /// The error: the process that it is known by, which is there no more.
    fn hear_end(&mut self, state: PathState) -> Result<(), u32> {
        let pid = match state {
            PathState::Live { peer } => peer.and_then(|peer| peer.pid),
            // As live as before, and its owner was not told.
            PathState::Busy => self.heard,
            _ => None,
        };
        if pid != self.heard {
            self.source.leave_process();
            self.heard = None;
            let Some(pid) = pid else { return Ok(()) };
            match self.source.hear_end(pid) {
                Ok(()) => self.heard = Some(pid),
                Err(Errno::SRCH) => return Err(pid),
                Err(_) => {} // of its end the clock tells, or nobody
            }
        }
        Ok(())
    }

    fn remember(&mut self, state: PathState, file: Option<Pinned>) {
        if self.ours.is_none() && is_served(state) {
            // One more descriptor of it: the other follows what is there.
            let again = file.as_ref().and_then(|file| {
                let pin = duplicate(&file.pin).ok()?;
                Some(Pinned { pin, ..*file })
            });
            self.ours = again;
        }
        self.seen = file;
    }

    fn listen_at(&mut self, place: Place<Handle>) {
        self.source.leave_name();
        self.hears = self.source.hear_name(&place.dir, &place.name).is_ok();
        self.dir = Some(place.dir);
        self.set_rhythm();
    }

    fn set_rhythm(&mut self) {
        self.interval = if self.hears { SLOWLY } else { INTERVAL };
        let _ = self.source.tick(self.interval, self.interval); // of times that it has taken before
    }

    /// The path may lead through another directory by now, or through none.
    fn follow_directory(&mut self) {
        if self.dir_is_in_place() {
            return;
        }
        match Place::open(&self.path, WATCH_PATH) {
            Ok(place) => self.listen_at(place),
            Err(_) => {
                self.source.leave_name();
                self.dir = None;
                self.hears = false;
                self.set_rhythm();
            }
        }
    }

    fn dir_is_in_place(&self) -> bool {
        let opened = self.dir.as_ref().and_then(|dir| System.stat(dir).ok()).map(|stat| stat.id);
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        opened.is_some() && opened == file_at(parent).map(|stat| stat.id)
    }
}

fn is_served(state: PathState) -> bool {
    matches!(state, PathState::Live { .. } | PathState::Busy | PathState::OtherType)
}

/// The file where a path leads.
fn file_at(path: &Path) -> Option<Stat> {
    rustix::fs::stat(path).ok().map(|stat| Stat::from(&stat))
}

/// The same server, or the same lack of one. How full its backlog is, its mode and the path's lock are no news.
fn is_same(last: &PathReport, now: &PathReport) -> bool {
    let (before, after) = (&last.inspection, &now.inspection);
    let same_state = match (before.state, after.state) {
        (PathState::Live { .. }, PathState::Busy) => true,
        (before, after) => before == after,
    };
    same_state && (last.event, before.inode, &before.target) == (now.event, after.inode, &after.target)
}

impl AsFd for PathWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for PathWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for PathWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathWatch").field("path", &self.path).field("last", &self.last).finish_non_exhaustive()
    }
}
