//! What `serve --activate` does when it has been replaced: PROG, who accepts the clients, is to lose none of them.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use unix_stream_server::UntilReplaced;

/// How long PROG is given to accept those who are queued.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look whether it has.
const INTERVAL: Duration = Duration::from_millis(10);

/// A server that has been replaced, until PROG has accepted everybody who came by the old socket.
pub(crate) struct Leaving {
    since: Instant,
}

impl Leaving {
    pub(crate) fn new() -> Self {
        Leaving { since: Instant::now() }
    }

    pub(crate) fn next_look() -> Instant {
        Instant::now() + INTERVAL
    }

    /// Nobody comes any more, and nobody waits. Or PROG does not accept them.
    pub(crate) fn is_over(&self, listener: &UnixListener) -> bool {
        let time = self.since.elapsed();
        time >= UntilReplaced::GRACE && (!has_clients(listener) || time >= PATIENCE)
    }

    /// Wakes those who sleep in connect() on a full backlog: each looks the path up again, and finds the successor.
    pub(crate) fn wake_blocked_clients(listener: &UnixListener) {
        let _ = rustix::net::listen(listener, 0);
        let _ = rustix::net::listen(listener, i32::MAX);
    }
}

/// Is anybody queued?
pub(crate) fn has_clients(listener: &UnixListener) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}
