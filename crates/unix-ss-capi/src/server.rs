//! What stands behind a `struct unix_ss_socket`.

use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use unix_stream_server::{Builder, Drain, ServerSocket};

use crate::failure::{Failure, words};
use crate::types::{ListenOpts, Stat};

/// git's default; also what `unix_stream_listen` waits.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(100);
/// `sizeof sun_path`: from here on, git's functions call chdir().
const SUN_PATH: usize = 108;

/// A server, and the process whose it is.
#[derive(Debug)]
pub(crate) struct Server {
    stage: Stage,
    process: u32,
}

#[derive(Debug)]
enum Stage {
    Listening(ServerSocket),
    Draining(Drain),
    /// Something went wrong while it was drained: there is nothing left but to free it.
    Ended,
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
    pub(crate) fn create(builder: &Builder, path: &Path) -> Result<(Self, Stat), Failure> {
        let server = builder.create(path)?;
        let stat = stat(&server);
        Ok((Server { stage: Stage::Listening(server), process: std::process::id() }, stat))
    }

    pub(crate) fn fd(&self) -> RawFd {
        match &self.stage {
            Stage::Listening(server) => server.as_raw_fd(),
            Stage::Draining(_) | Stage::Ended => -1,
        }
    }

    pub(crate) fn was_stolen(&self) -> bool {
        match &self.stage {
            Stage::Listening(server) => server.was_stolen(),
            Stage::Draining(drain) => drain.status().is_ok_and(unix_stream_server::Status::is_stolen),
            Stage::Ended => false,
        }
    }

    /// The next of the clients that were queued when this was first called.
    pub(crate) fn drain(&mut self) -> Result<RawFd, Failure> {
        if self.process != std::process::id() {
            // Asked here, since the library's drain consumes the server even where it refuses.
            let why = format!("it belongs to process {}, and this is a forked child", self.process);
            return Err(Failure::new(libc::EPERM, format!("cannot drain the server socket: {why}")));
        }
        self.stage = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Listening(server) => Stage::Draining(server.drain()?),
            stage => stage,
        };
        match &mut self.stage {
            Stage::Draining(drain) => match drain.next() {
                Some(Ok(client)) => Ok(client.into_raw_fd()),
                Some(Err(error)) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    Err(Failure::new(errno, format!("cannot accept a client, who is still queued: {}", words(errno))))
                }
                None => Err(Failure::new(libc::EAGAIN, "no more clients are queued")),
            },
            Stage::Listening(_) | Stage::Ended => Err(Failure::new(libc::EAGAIN, "this server has ended")),
        }
    }

    /// Removes the path, if it is ours, and closes. In a forked child only closes.
    pub(crate) fn close(self) {
        match self.stage {
            // What went wrong has nobody to be told: the function is void, and a dead socket harms nobody.
            Stage::Listening(server) => drop(server.close()),
            Stage::Draining(drain) => drop(drain),
            Stage::Ended => {}
        }
    }
}

/// The socket's file as it is now; if it has lost its path already, what is known of it.
fn stat(server: &ServerSocket) -> Stat {
    let id = server.device_and_inode();
    let data = std::fs::symlink_metadata(server.local_path());
    let ours = data.ok().filter(|data| (data.dev(), data.ino()) == id);
    crate::memory::stat(ours.as_ref(), id)
}
