//! What `serve --activate` does when it has been replaced: PROG, who accepts the clients, is to lose none of them.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use unix_stream_server::UntilReplaced;

use crate::clients::has_clients;

/// How long PROG is given to accept those who are queued.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look whether it has.
const INTERVAL: Duration = Duration::from_millis(10);

/// A server that has been replaced, until PROG has accepted everybody who came by the old socket.
pub(super) struct Leaving {
    since: Instant,
}

impl Leaving {
    pub(super) fn new() -> Self {
        Leaving { since: Instant::now() }
    }

    pub(super) fn next_look() -> Instant {
        Instant::now() + INTERVAL
    }

    /// Nobody comes any more, and nobody waits. Or PROG does not accept them.
    pub(super) fn is_over(&self, listener: &UnixListener) -> bool {
        let time = self.since.elapsed();
        time >= UntilReplaced::GRACE && (!has_clients(listener) || time >= PATIENCE)
    }

    /// Wakes those who sleep in connect() on a full backlog: each looks the path up again, and finds the successor.
    pub(super) fn wake_blocked_clients(listener: &UnixListener) {
        let _ = rustix::net::listen(listener, 0);
        let _ = rustix::net::listen(listener, i32::MAX);
    }
}
