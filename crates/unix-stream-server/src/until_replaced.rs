//! The life of a server that may be replaced.

use std::io;
use std::iter::FusedIterator;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::drain::accept;
use crate::{Drain, ServerSocket};

/// How often the path is looked at while nobody comes. A successor wakes us; only one that was killed just before it
/// could, or a thief, is noticed this late.
const LOOK: Duration = Duration::from_secs(1);

/// The clients of a server until it has been replaced, or has lost its path in another way, and then those who are
/// left; from [`ServerSocket::until_replaced`].
///
/// A server that has been replaced goes on accepting for a grace time, shuts, hands out who is queued, and ends. It has
/// nothing to remove, since the path is its successor's. Dropped earlier, it ends as [`ServerSocket`] does: use
/// [`into_server`](Self::into_server) and [`ServerSocket::drain`] to end it for another reason.
#[derive(Debug)]
#[must_use = "dropping it ends the server"]
pub struct UntilReplaced {
    stage: Stage,
    grace: Duration,
}

#[derive(Debug)]
enum Stage {
    /// Its listener may block still.
    New(ServerSocket),
    Serving(ServerSocket),
    /// Replaced; until then it goes on accepting.
    /// Until then; for ever, if the clock does not reach so far.
    Grace(ServerSocket, Option<Instant>),
    Draining(Drain),
    Ended,
}

impl UntilReplaced {
    /// How long a server that has been replaced goes on accepting, if nothing else is said: 100 ms.
    ///
    /// A client may have found its socket just before, and be on the way into its queue. That takes microseconds, unless
    /// the client is not scheduled for a while.
    pub const GRACE: Duration = Duration::from_millis(100);

    pub(crate) fn new(server: ServerSocket) -> Self {
        UntilReplaced { stage: Stage::New(server), grace: Self::GRACE }
    }

    /// How long to go on accepting after being replaced. Default: [`GRACE`](Self::GRACE).
    ///
    /// A client that looks the path up just before the successor takes it, and is then not scheduled for so long, is
    /// refused (`ECONNREFUSED`).
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// The server, to end it for another reason.
    ///
    /// # Errors
    ///
    /// It has been replaced already, and is handed back: go on until its clients are all served.
    pub fn into_server(self) -> Result<ServerSocket, Box<Self>> {
        match self.stage {
            Stage::New(server) | Stage::Serving(server) => Ok(server),
            stage => Err(Box::new(UntilReplaced { stage, ..self })),
        }
    }

    /// The next client; `None` once the time is over, which it never is if the clock does not reach so far.
    fn accept(server: &ServerSocket, until: Option<Instant>) -> io::Result<Option<UnixStream>> {
        loop {
            // Not by std, whose clients inherit on macOS that the listener does not block.
            match accept(server) {
                Ok(client) => return Ok(Some(client.into())),
                Err(Errno::AGAIN) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            wait_for_client(server.as_fd(), left)?;
        }
    }
}

impl Iterator for UntilReplaced {
    type Item = io::Result<UnixStream>;

    /// The next client, waiting for one; `None` when the server has been replaced and everybody was handed out.
    ///
    /// An error, such as `EMFILE`, loses nobody: the client is still queued, and the next call tries again.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Ended) {
                Stage::New(server) => match server.set_nonblocking(true) {
                    Ok(()) => self.stage = Stage::Serving(server),
                    Err(error) => {
                        self.stage = Stage::New(server);
                        return Some(Err(error));
                    }
                },
                Stage::Serving(server) => {
                    let accepted = Self::accept(&server, Instant::now().checked_add(LOOK));
                    let lost = server.was_stolen();
                    self.stage = if lost {
                        Stage::Grace(server, Instant::now().checked_add(self.grace))
                    } else {
                        Stage::Serving(server)
                    };
                    match accepted {
                        // The one that woke us only to tell.
                        Ok(Some(client)) if lost && has_hung_up(&client) => {}
                        Ok(Some(client)) => return Some(Ok(client)),
                        Ok(None) => {}
                        Err(error) => return Some(Err(error)),
                    }
                }
                Stage::Grace(server, until) => match Self::accept(&server, until) {
                    Ok(Some(client)) => {
                        self.stage = Stage::Grace(server, until);
                        if !has_hung_up(&client) {
                            return Some(Ok(client));
                        }
                    }
                    Ok(None) => match server.drain() {
                        Ok(drain) => self.stage = Stage::Draining(drain),
                        Err(error) => return Some(Err(error.into())),
                    },
                    Err(error) => {
                        self.stage = Stage::Grace(server, until);
                        return Some(Err(error));
                    }
                },
                Stage::Draining(mut drain) => {
                    let client = drain.next()?;
                    self.stage = Stage::Draining(drain);
                    return Some(client);
                }
                Stage::Ended => return None,
            }
        }
    }
}

impl FusedIterator for UntilReplaced {}

fn wait_for_client(listener: BorrowedFd<'_>, time: Option<Duration>) -> io::Result<()> {
    let timeout = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut [PollFd::from_borrowed_fd(listener, PollFlags::IN)], timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Has this client gone without having sent a byte?
pub(crate) fn has_hung_up(client: &impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(client, PollFlags::IN)];
    let hung_up = poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
    hung_up && !matches!(recv(client, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1.., _)))
}
