//! The lock of those who start servers that create their sockets by themselves.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use crate::error::Result;
use crate::place::Place;
use crate::process::Process;
use crate::protocol::{Lock, Options, Protocol};
use crate::sys::{Handle, System};
use crate::{Builder, ErrorKind};

const START: &str = "start the server of";

/// `<path>.start`: held while a server is started that creates its socket by itself, so that of many starters one
/// starts it. Not the path's lock, which the server needs.
///
/// For programs that start servers by other means than [`connect_or_start`](crate::connect_or_start), which does all
/// this: take it, look once more whether a server lives at the path, start it, wait until it lives, give the lock back.
/// It is an flock on a file of the same kind as `<path>.lock`, so a killed holder's is taken over. Dropping it removes the
/// file. A copy of its descriptor that another process has keeps it held.
#[derive(Debug)]
#[must_use = "dropping it gives the lock back"]
pub struct StartLock {
    place: Place<Handle>,
    options: Options,
    lock: Option<Lock<Handle>>,
    process: Process,
}

impl StartLock {
    /// Tries once. [`ErrorKind::Locked`] if somebody has it; wait a little, and look at the path again.
    ///
    /// # Errors
    ///
    /// [`Locked`](ErrorKind::Locked): another starter has it (`EEXIST`), or another user left it behind (`EACCES`).
    /// [`Invalid`](ErrorKind::Invalid) or [`PathTooLong`](ErrorKind::PathTooLong): the path can name no socket.
    /// [`System`](ErrorKind::System): the directory is missing, not writable, full.
    pub fn try_take(path: impl AsRef<Path>) -> Result<Self> {
        let place = Place::open(path.as_ref(), START)?.of_start();
        let options = Builder::new().into_options();
        let lock = protocol(&place, &options).try_start_lock()?;
        Ok(StartLock { place, options, lock: Some(lock), process: Process::current() })
    }

    /// The same, where somebody else who has it is no error.
    pub(crate) fn try_take_if_free(path: &Path) -> Result<Result<Self, crate::Error>> {
        match Self::try_take(path) {
            Ok(lock) => Ok(Ok(lock)),
            Err(error) if error.kind() == ErrorKind::Locked => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for StartLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.lock {
            Some(lock) => lock.file().as_fd(),
            None => self.place.dir.as_fd(), // only while it is being dropped
        }
    }
}

impl Drop for StartLock {
    fn drop(&mut self) {
        if let (Some(lock), true) = (self.lock.take(), self.process.is_current()) {
            protocol(&self.place, &self.options).end_start_lock(lock);
        }
    }
}

fn protocol<'a>(place: &'a Place<Handle>, options: &'a Options) -> Protocol<'a, System> {
    Protocol { sys: &System, place, options, operation: START }
}
