//! What stands behind a `struct unix_ss_socket`.

use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use unix_stream_server::{Builder, Drain, Process, ServerSocket, Status};

use crate::failure::{Failure, words};
use crate::types::{ListenOpts, Stat};

/// git's default; also what `unix_stream_listen` waits.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(100);
/// `sizeof sun_path`: from here on, git's functions call chdir().
const SUN_PATH: usize = size_of::<libc::sockaddr_un>() - std::mem::offset_of!(libc::sockaddr_un, sun_path);

/// A server, and what becomes of it. Everything but the end may be done by several threads at once.
#[derive(Debug)]
pub(crate) struct Server {
    /// Until it is drained. Held only for what takes no time, so that `was_stolen` never waits for anybody.
    listening: Mutex<Option<ServerSocket>>,
    /// From then on. Held by whoever drains, who may wait for the path's lock.
    draining: Mutex<Option<Drain>>,
    /// The path had been lost before it was given up.
    was_lost: AtomicBool,
    process: Process,
}

/// What the options come to. C's default mode is the umask's.
pub(crate) fn builder(path: &Path, opts: ListenOpts) -> Result<Builder, Failure> {
    check_length(path, opts.disallows_chdir())?;
    let builder = ServerSocket::builder().mode_from_umask();
    Ok(match u32::try_from(opts.listen_backlog_size) {
        Ok(clients @ 1..) => builder.backlog(clients),
        _ => builder,
    })
}

/// Longer paths would work, but whoever says `disallow_chdir` counts on this error.
pub(crate) fn check_length(path: &Path, disallow_chdir: bool) -> Result<(), Failure> {
    let length = path.as_os_str().len();
    if !disallow_chdir || length < SUN_PATH {
        return Ok(());
    }
    let limit = SUN_PATH - 1;
    let why = format!(
        "{} has {length} bytes, more than the {limit} of a socket address; shorten it, or do not set disallow_chdir: \
         nothing here calls chdir",
        path.display()
    );
    Err(Failure::new(libc::ENAMETOOLONG, why))
}

/// Negative: the default.
pub(crate) fn timeout(milliseconds: std::ffi::c_long) -> Duration {
    u64::try_from(milliseconds).map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

impl Server {
    pub(crate) fn create(builder: &Builder, path: &Path) -> Result<(Self, RawFd, Stat), Failure> {
        let server = builder.create(path)?;
        let (fd, stat) = (server.as_raw_fd(), stat(&server));
        let server = Server {
            listening: Mutex::new(Some(server)),
            draining: Mutex::new(None),
            was_lost: AtomicBool::new(false),
            process: Process::current(),
        };
        Ok((server, fd, stat))
    }

    pub(crate) fn was_stolen(&self) -> bool {
        let Some(listening) = self.lock_unless_forked(&self.listening) else { return false };
        match &*listening {
            Some(server) => server.was_stolen(),
            None => self.was_lost.load(Ordering::Relaxed),
        }
    }

    /// The next of the clients that were queued when this was first called.
    pub(crate) fn drain(&self) -> Result<RawFd, Failure> {
        // First of all: in a forked child a thread that is not there may hold any mutex.
        if !self.process.is_current() {
            return Err(Failure::new(libc::EPERM, "cannot drain the server socket: this is a forked child"));
        }
        let mut draining = lock(&self.draining);
        if draining.is_none() {
            let server = {
                let mut listening = lock(&self.listening);
                let server = listening.take().ok_or_else(|| Failure::new(libc::EAGAIN, "this server has ended"))?;
                self.was_lost.store(server.was_stolen(), Ordering::Relaxed);
                server
            };
            let drain = server.drain()?;
            // Looked at again, under the lock, just before the path was given up.
            if drain.status().is_ok_and(Status::is_stolen) {
                self.was_lost.store(true, Ordering::Relaxed);
            }
            *draining = Some(drain);
        }
        match draining.as_mut().and_then(Iterator::next) {
            Some(Ok(client)) => Ok(client.into_raw_fd()),
            Some(Err(error)) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                Err(Failure::new(errno, format!("cannot accept a client, who is still queued: {}", words(errno))))
            }
            None => Err(Failure::new(libc::EAGAIN, "no more clients are queued")),
        }
    }

    /// Removes the path, if it is ours, and closes. In a forked child only closes.
    pub(crate) fn close(self) {
        if let Some(server) = self.listening.into_inner().unwrap_or_else(PoisonError::into_inner) {
            // What went wrong has nobody to be told: the function is void, and a dead socket harms nobody.
            let _ = server.close();
        }
    }

    /// In a forked child `None` where a thread held it that the child does not have.
    fn lock_unless_forked<'a, T>(&self, mutex: &'a Mutex<T>) -> Option<MutexGuard<'a, T>> {
        if self.process.is_current() {
            return Some(lock(mutex));
        }
        match mutex.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// What a panic has left is still a server, and has to be ended.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The socket's file as it is now; if it has lost its path already, what is known of it.
fn stat(server: &ServerSocket) -> Stat {
    let id = server.device_and_inode();
    let data = std::fs::symlink_metadata(server.local_path());
    let ours = data.ok().filter(|data| (data.dev(), data.ino()) == id);
    crate::memory::stat(ours.as_ref(), id)
}
