//! The published path and the duty to remove it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::heal::{HEAL, succeed};
use crate::place::Place;
use crate::process::Process;
use crate::protocol::{Healed, Lock, Options, Protocol, Retired, is_left_behind};
use crate::sys::{FileId, Handle, Sys, System, handle};
use crate::watch::WATCH;
use crate::{Drain, LockScope, Status, Watch, trace};

pub(crate) const CLOSE: &str = "close the server socket at";
const SUCCEED: &str = "wait for the predecessor at";

/// How long a drop waits for the path's lock: nobody expects a drop to wait for seconds.
pub(crate) const DROP_TIMEOUT: Duration = Duration::from_millis(100);
/// How long a close waits for it at least, also of a server whose start was to try only once: it is held for
/// microseconds, and without it a dead socket stays.
const CLOSE_TIMEOUT: Duration = DROP_TIMEOUT;

/// The published path without its listener, for runtimes that take the listener over: from
/// [`ServerSocket::into_parts`](crate::ServerSocket::into_parts).
///
/// It pins the socket's inode, so that its answers stay true after the listener has gone. Dropping it removes the path
/// under the lock, if it still leads to this socket; best effort and silent, where [`close`](Self::close) tells.
/// A forked child never removes anything.
#[derive(Debug)]
#[must_use = "dropping it removes the path"]
pub struct Ownership {
    /// A watch has it too: it needs no directory of its own.
    place: Arc<Place<Handle>>,
    options: Options,
    id: FileId,
    process: Process,
    life: Option<Lock<Handle>>,
    /// Keeps the inode number from reuse once the listener may be closed. While a `ServerSocket` has the listener it
    /// is that which does so.
    pin: Option<Arc<Handle>>,
    /// The name is still ours to remove.
    armed: bool,
    /// It could not be removed.
    left_behind: bool,
    noticed: trace::Noticed,
}

impl Ownership {
    pub(crate) fn new(place: Place<Handle>, mut options: Options, id: FileId, life: Option<Lock<Handle>>) -> Self {
        options.lock_timeout = options.lock_timeout.max(CLOSE_TIMEOUT);
        let (place, noticed) = (Arc::new(place), trace::Noticed::default());
        let process = Process::current();
        Ownership { place, options, id, process, life, pin: None, armed: true, left_behind: false, noticed }
    }

    /// Does the path, now, lead to this socket? Costs one stat.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = self.protocol(&self.options).status(self.id);
        self.noticed.status(&self.place.shown, status, self.options.replaceable);
        status
    }

    /// True if the path no longer leads to this socket; false if it does, or if that cannot be told.
    #[must_use]
    pub fn was_stolen(&self) -> bool {
        self.status().is_stolen()
    }

    /// Being told at once when the path is lost, or back: see [`Watch`].
    ///
    /// # Errors
    ///
    /// [`System`](ErrorKind::System): no descriptors for it (`EMFILE`; it takes three, in a [`ServerSocket`](crate::ServerSocket) four).
    pub fn watch(&self) -> Result<Watch> {
        Watch::new(Arc::clone(&self.place), self.id, self.shared_pin(WATCH)?)
    }

    /// The path, absolute where the working directory was known.
    #[must_use]
    pub fn local_path(&self) -> &Path {
        &self.place.shown
    }

    /// The descriptor of the life lock (`LockScope::Lifetime`). The lock is held as long as any copy of it is open, so a
    /// program that is to serve on after this process gets one along with the listener. The end of this ownership removes the
    /// lock's file, though: from then on the copy keeps nobody out.
    #[must_use]
    pub fn life_lock(&self) -> Option<BorrowedFd<'_>> {
        self.life.as_ref().map(|life| life.file().as_fd())
    }

    /// Waits until a predecessor with a life lock has drained: see
    /// [`ServerSocket::wait_for_predecessor`](crate::ServerSocket::wait_for_predecessor).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_for_predecessor(&mut self, timeout: Duration) -> Result<()> {
        self.process.check(SUCCEED, &self.place.shown)?;
        if self.options.scope == LockScope::Startup || self.life.is_some() {
            return Ok(());
        }
        let options = Options { lock_timeout: timeout, ..self.options.clone() };
        let protocol = Protocol { operation: SUCCEED, ..self.protocol(&options) };
        self.life = protocol.succeed(self.id)?;
        Ok(())
    }

    /// Removes the path, if it still leads to this socket, and says what stood there. The listener is not touched, and
    /// a life lock is kept until this is dropped: for a server that drains by other means.
    ///
    /// # Errors
    ///
    /// As for [`close`](Self::close).
    pub fn unpublish(&mut self) -> Result<Status> {
        self.check_process()?;
        self.armed = false;
        let status = self.protocol(&self.options).unpublish(self.id);
        self.left_behind = is_left_behind(&status);
        trace::ended(&self.place.shown, "unpublish", status.as_ref());
        status
    }

    /// Removes the path, if it still leads to this socket, and says what stood there. The listener is not touched. A
    /// life lock is given back.
    ///
    /// # Errors
    ///
    /// [`Locked`](ErrorKind::Locked) if the lock was not had in time, [`System`](ErrorKind::System) if the name could
    /// not be removed: the socket's file stays, and the next start replaces it once it is dead.
    /// [`Forked`](ErrorKind::Forked) in a forked child.
    pub fn close(mut self) -> Result<Status> {
        let status = self.unpublish()?;
        self.end_life();
        Ok(status)
    }

    /// Ends the server gracefully: see [`ServerSocket::drain`](crate::ServerSocket::drain). `listener` is the one that
    /// came with this ownership.
    ///
    /// # Errors
    ///
    /// [`Forked`](ErrorKind::Forked) in a forked child; nothing was changed.
    pub fn drain(mut self, listener: impl Into<OwnedFd>) -> Result<Drain> {
        self.check_process()?;
        self.armed = false;
        let listener = handle(listener.into());
        let Retired { status, is_shut } = self.protocol(&self.options).retire(&listener, self.id);
        self.left_behind = is_left_behind(&status);
        trace::ended(&self.place.shown, "drain", status.as_ref());
        let listener = UnixListener::from(listener);
        if !is_shut {
            // Then nothing ends the queue, and accept() would wait for the next client for ever.
            let _ = listener.set_nonblocking(true);
        }
        Ok(Drain::new(listener, self, status))
    }

    /// Puts a new socket at the path if that has been deleted, as [`ServerSocket::heal`](crate::ServerSocket::heal) does,
    /// and owns it from then on: `None` if the path still leads to `listener`, the one that came with this ownership.
    ///
    /// What is given is the new listener, for the runtime to accept from. The old one lets nobody in any more: accept from
    /// it until that fails (`EINVAL`, or `EAGAIN` if it does not block), and close it.
    ///
    /// # Errors
    ///
    /// As for [`ServerSocket::heal`](crate::ServerSocket::heal); and [`Invalid`](ErrorKind::Invalid) after
    /// [`unpublish`](Self::unpublish).
    pub fn heal(&mut self, listener: impl AsFd) -> Result<Option<UnixListener>> {
        self.process.check(HEAL, &self.place.shown)?;
        if !self.armed {
            let why = "the path was given up; create a new server";
            return Err(Error::new(ErrorKind::Invalid, HEAL, &self.place.shown, Errno::INVAL, why));
        }
        // The protocol wants to have descriptors, not to borrow them.
        let old = rustix::io::fcntl_dupfd_cloexec(&listener, 3)
            .map(handle)
            .map_err(|errno| Error::system(HEAL, &self.place.shown, "fcntl", errno))?;
        let mut life = self.life.take();
        let protocol = Protocol { sys: &System, place: &self.place, options: &self.options, operation: HEAL };
        let healed = protocol.heal(&old, self.id, &mut life);
        self.life = life;
        let Some(Healed { socket, id, pin, is_shut }) = healed? else { return Ok(None) };
        self.id = id;
        self.pin = Some(Arc::new(pin));
        Ok(Some(succeed(socket, &old, is_shut)))
    }

    /// Makes this process the one that removes the path, after a fork whose parent ends and leaves the server to the
    /// child (as daemons do). To be called in the child, and only if the parent will not close or drop its copy.
    pub fn move_to_this_process(&mut self) {
        self.process = Process::current();
    }

    #[cfg(feature = "tokio1")]
    pub(crate) fn is_replaceable(&self) -> bool {
        self.options.replaceable
    }

    pub(crate) fn device_and_inode(&self) -> (u64, u64) {
        (self.id.dev, self.id.ino)
    }

    /// The same without giving up the answers: what stands at the path can still be asked.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
        if self.process.is_current() {
            self.end_life();
        }
    }

    /// The duty to remove the path ends; what stands there stays.
    pub(crate) fn leave_path(mut self) {
        self.armed = false;
    }

    pub(crate) fn close_with(mut self, listener: OwnedFd) -> Result<Status> {
        self.check_process()?;
        self.armed = false;
        let life = self.life.take();
        let status = self.protocol(&self.options).close(handle(listener), self.id, life);
        trace::ended(&self.place.shown, "close", status.as_ref());
        status
    }

    /// Pins the inode, so that the listener may leave.
    pub(crate) fn pin(&mut self) -> Result<()> {
        if self.pin.is_none() {
            self.pin = Some(self.shared_pin("part the listener from the path")?);
        }
        Ok(())
    }

    /// The pin of the inode, or a new one, by the name as long as that is ours.
    fn shared_pin(&self, operation: &'static str) -> Result<Arc<Handle>> {
        let failed = |call| move |errno| Error::system(operation, &self.place.shown, call, errno);
        if let Some(pin) = &self.pin {
            return Ok(Arc::clone(pin));
        }
        let pin = System.pin(&self.place.dir, &self.place.name).map_err(failed("open"))?;
        if System.stat(&pin).map(|stat| stat.id) != Ok(self.id) {
            let why = "the path no longer leads to this socket";
            return Err(Error::new(ErrorKind::Moved, operation, &self.place.shown, Errno::STALE, why));
        }
        Ok(Arc::new(pin))
    }

    fn check_process(&self) -> Result<()> {
        self.process.check(CLOSE, &self.place.shown)
    }

    fn end_life(&mut self) {
        let life = self.life.take();
        self.protocol(&self.options).end_life(life, self.left_behind);
    }

    fn protocol<'a>(&'a self, options: &'a Options) -> Protocol<'a, System> {
        Protocol { sys: &System, place: &self.place, options, operation: CLOSE }
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        self.options.lock_timeout = DROP_TIMEOUT;
        if self.armed {
            let status = self.protocol(&self.options).unpublish(self.id);
            self.left_behind = is_left_behind(&status);
            trace::ended(&self.place.shown, "drop", status.as_ref()); // nobody else to tell
        }
        self.end_life();
    }
}
