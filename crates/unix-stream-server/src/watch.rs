//! Being told the moment a path is lost, or is back.

mod path;
#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "watch/linux.rs")]
#[cfg_attr(
    any(target_os = "macos", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"),
    path = "watch/kqueue.rs"
)]
#[cfg_attr(any(target_os = "illumos", windows), path = "watch/clock.rs")]
mod platform;
mod source;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::process::Process;
use crate::protocol::status_of;
use crate::sys::{FileId, Handle, Reach, Sys, System};
use crate::{Status, place::Place, trace};

pub use path::{PathEvent, PathReport, PathWatch};
use source::{Native, Source};

pub(crate) const WATCH: &str = "watch the socket at";

/// How often it looks where the system does not tell.
const INTERVAL: Duration = Duration::from_millis(200);
/// The smallest there is: at once.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// Says at once when a server's path is lost, and when it is back: from [`ServerSocket::watch`](crate::ServerSocket::watch)
/// and [`Ownership::watch`](crate::Ownership::watch).
///
/// It tells of changes of the [`Status`]: [`Gone`](Status::Gone), [`Replaced`](Status::Replaced),
/// [`Ours`](Status::Ours) again, and [`Unknown`](Status::Unknown) where it could not look. What has come and gone again
/// between two looks is not told. A chmod, or whatever happens to other names in the directory, is no change.
///
/// It owns all that it needs, and stays true after the listener has gone into a runtime or has been closed: the inode
/// stays pinned, so that no other file is ever taken for the socket. It may be used in any thread.
///
/// # Which wait do I use?
///
/// | I have | call |
/// |---|---|
/// | a thread for it | [`wait`](Self::wait), [`wait_timeout`](Self::wait_timeout) |
/// | an event loop | wait until [`as_fd`](AsFd::as_fd) is readable, then [`check`](Self::check) |
/// | a loop of my own, that comes round often enough | [`check`](Self::check) |
///
/// It has three descriptors of its own, and shares the server's directory and, with an
/// [`Ownership`](crate::Ownership), its pin; a fourth is the pin where there is none yet. The one that [`as_fd`](AsFd::as_fd)
/// gives is readable as long as there is something for `check` to take, which takes all: it serves level- and
/// edge-triggered loops alike.
///
/// # How it knows
///
/// On Linux: inotify(7) on the socket's file and, when that has lost its name, on the directory. Where the file may not be read (its
/// mode lacks the read bit) the directory is listened to, whose events for other names cost no look. Where neither may be,
/// where there is no inotify to be had (a user has 128 instances), and where other hosts change the directory unseen
/// (NFS, FUSE), it looks once in a while instead: five times a second, or as [`set_interval`](Self::set_interval) says.
/// [`is_polling`](Self::is_polling) tells.
///
/// On macOS and the BSDs kqueue(2) tells of every change of the directory, each of which costs one look; on illumos it
/// looks once in a while.
///
/// # Hazards
///
/// - A file system mounted over the path makes no event: it is found at the next look.
/// - It is about one socket. After [`ServerSocket::heal`](crate::ServerSocket::heal) there is another, and to a watch of
///   the old one the path is [`Replaced`](Status::Replaced), by ourselves: make a new one.
/// - Dropping it blocks for some milliseconds (8 to 10 were seen): the kernel waits for a grace period of its own before an
///   inotify instance that still listens is closed. In an event loop that matters, and a thread may drop it.
/// - A forked child has the parent's queue of events, and would steal from it: there it only says
///   [`Forked`](crate::ErrorKind::Forked).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?; let path = dir.path().join("s");
/// use unix_stream_server::{ServerSocket, Status};
///
/// let server = ServerSocket::create(&path)?;
/// let mut watch = server.watch()?;
/// std::fs::remove_file(&path)?;
/// assert_eq!(watch.wait()?, Status::Gone);
/// # Ok(()) }
/// ```
pub struct Watch {
    /// The server's, which may be gone: descriptors are few.
    place: Arc<Place<Handle>>,
    /// Meaningful because the pin keeps the number from reuse.
    id: FileId,
    _pin: Arc<Handle>,
    process: Process,
    source: Native,
    hears_file: bool,
    hears_name: bool,
    /// Nobody changes the directory without this kernel.
    is_local: bool,
    interval: Duration,
    polling: bool,
    last: Status,
}

impl Watch {
    /// Of the socket `id` at the place; `pin` holds it.
    pub(crate) fn new(place: Arc<Place<Handle>>, id: FileId, pin: Arc<Handle>) -> Result<Self> {
        let failed = |call, errno| Error::system(WATCH, &place.shown, call, errno);
        let mut source = Native::new().map_err(|errno| failed("epoll, timerfd", errno))?;
        let mut watch = Watch {
            place: Arc::clone(&place),
            id,
            process: Process::current(),
            hears_file: source.hear_file(&pin).is_ok(),
            hears_name: false,
            is_local: matches!(System.reach(&pin), Ok(Reach::Local | Reach::LocalBusyRefuses)),
            source,
            _pin: pin,
            interval: INTERVAL,
            polling: false,
            // What it is for whoever has just made it; if it is not any more, that is news.
            last: Status::Ours,
        };
        if watch.look() != Status::Ours {
            watch.source.tick(AT_ONCE, watch.rhythm()).map_err(|errno| failed("timerfd", errno))?;
        }
        Ok(watch)
    }

    /// What has become of the path, if it is something else than was told last (at first: [`Status::Ours`]). Does not
    /// wait. Takes all events; one stat, or none if they were of other names.
    ///
    /// # Errors
    ///
    /// [`Forked`](crate::ErrorKind::Forked) in a forked child.
    pub fn check(&mut self) -> Result<Option<Status>> {
        self.process.check(WATCH, &self.place.shown)?;
        if self.source.take().only_others() {
            return Ok(None);
        }
        let status = self.look();
        if status == self.last {
            return Ok(None);
        }
        self.last = status;
        trace::watched(&self.place.shown, status);
        Ok(Some(status))
    }

    /// Waits until the path's status is something else than was told last, and tells it.
    ///
    /// # Errors
    ///
    /// [`Forked`](crate::ErrorKind::Forked) in a forked child; [`System`](crate::ErrorKind::System) if poll(2) fails
    /// (`ENOMEM`).
    pub fn wait(&mut self) -> Result<Status> {
        loop {
            if let Some(status) = wait_for(self, None, Self::check, Self::local_path)? {
                return Ok(status);
            }
        }
    }

    /// The same for a limited time; `None` when it is over.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, time: Duration) -> Result<Option<Status>> {
        wait_for(self, Instant::now().checked_add(time), Self::check, Self::local_path)
    }

    /// What was told last; [`Status::Ours`] at first.
    #[must_use]
    pub fn last(&self) -> Status {
        self.last
    }

    /// The path, absolute where the working directory was known.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        &self.place.shown
    }

    /// How often to look where the system does not tell: then that is the longest time to being told. Default: 200 ms;
    /// at least one.
    ///
    /// # Errors
    ///
    /// [`System`](crate::ErrorKind::System), `EINVAL`: longer than the clock can say.
    pub fn set_interval(&mut self, interval: Duration) -> Result<()> {
        let interval = interval.max(Duration::from_millis(1));
        let failed = |errno| Error::system(WATCH, &self.place.shown, "timerfd_settime", errno);
        // Also while the clock is not needed: later there is nobody to tell.
        Timespec::try_from(interval).map_err(|_| failed(Errno::INVAL))?;
        if self.polling {
            self.source.tick(interval, interval).map_err(failed)?;
        }
        self.interval = interval;
        Ok(())
    }

    /// True while it looks once in a while, because the system does not tell.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        self.polling
    }

    /// The status, with everything listened to that could change it from here on.
    fn look(&mut self) -> Status {
        let mut status = self.status();
        if self.listen_to(status) {
            status = self.status();
        }
        self.set_rhythm(status);
        status
    }

    fn status(&self) -> Status {
        status_of(&System, &self.place.dir, &self.place.name, self.id)
    }

    /// As long as the name is ours, the file tells all: losing the name, it loses a link or is moved. What becomes of the
    /// name then, only the directory tells, and of every other name too. True if it is to be looked at once more.
    ///
    /// # Race condition
    ///
    /// Between a look and the first event that is heard the path could change unseen. So what is listened to comes first,
    /// and the look, or another one, after it.
    fn listen_to(&mut self, status: Status) -> bool {
        if self.hears_file && status == Status::Ours {
            if !self.hears_name {
                return false;
            }
            self.hears_name = false;
            self.source.leave_name();
            // That is an event too, which nobody should be woken for.
            return !self.source.take().only_others();
        }
        if self.hears_name {
            return false;
        }
        self.hears_name = self.source.hear_name(&self.place.dir, &self.place.name).is_ok();
        self.hears_name
    }

    fn set_rhythm(&mut self, status: Status) {
        let hears_all = self.hears_name || self.hears_file && status == Status::Ours;
        // What kept it from looking may end without an event.
        let polling = !hears_all || !self.is_local || matches!(status, Status::Unknown { .. });
        if polling != self.polling {
            self.polling = polling;
            let _ = self.source.tick(self.rhythm(), self.rhythm()); // of a time that it has taken before
        }
    }

    fn rhythm(&self) -> Duration {
        if self.polling { self.interval } else { Duration::ZERO }
    }
}

/// Checks and sleeps until there is news, or the deadline has passed; without one, until a signal comes at the least.
fn wait_for<W: AsFd, T>(
    watch: &mut W,
    deadline: Option<Instant>,
    check: fn(&mut W) -> Result<Option<T>>,
    path: fn(&W) -> &Path,
) -> Result<Option<T>> {
    loop {
        if let Some(news) = check(watch)? {
            return Ok(Some(news));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        let left = left.and_then(|left| Timespec::try_from(left).ok()); // too long to say: for ever
        match poll(&mut [PollFd::new(&*watch, PollFlags::IN)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system(WATCH, path(watch), "poll", errno)),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("path", &self.place.shown)
            .field("last", &self.last)
            .field("polling", &self.polling)
            .finish_non_exhaustive()
    }
}
