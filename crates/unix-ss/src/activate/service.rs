//! What outlives each PROG: the socket that PROGs accept from, its path, which is ours, and the word that it is all to end.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use unix_stream_server::{ErrorKind, Ownership, Status};

use super::leaving::Leaving;
use super::reap::told_to_end;
use crate::cli::Serve;
use crate::clients::has_clients;
use crate::ensure::detached::Detached;
use crate::message::{About, failed, say};
use crate::signals::{ENDING, Signals};
use crate::{announce, exit, lost, socket};

pub(super) struct Service {
    /// Kept beside PROG's, so that whoever is left in the queue at the end can be counted.
    pub(super) listener: UnixListener,
    pub(super) ownership: Ownership,
    /// A successor may take the path over.
    pub(super) replaceable: bool,
    /// The path has been seen to be another's, or nobody's.
    pub(super) lost: bool,
    /// A successor has been seen there. It may have gone as well by the time that we do.
    pub(super) replaced: bool,
    /// What came of the path, once it has been given up.
    path_status: Option<u8>,
    /// It is all to end, and those who are queued have their time until then.
    pub(super) ending: Option<Ending>,
    /// Shared with each [`super::replay`] that has not connected yet, and is in no queue.
    pub(super) replays: Arc<()>,
}

/// A word for PROG that it is to end, kept until it has accepted those who are queued: it may have just been started, and
/// the signal would end it before it can catch that. And for the next PROG, if this one serves one client each time.
pub(super) struct Ending {
    pub(super) signal: Signal,
    pub(super) leaving: Leaving,
}

impl Ending {
    pub(super) fn by(signal: Signal) -> Self {
        Ending { signal, leaving: Leaving::new() }
    }
}

impl Service {
    pub(super) fn create(args: &Serve, detached: Option<&Detached>, signals: &Signals) -> Result<Self, u8> {
        let told_to_end = signals.flag(&ENDING)?;
        let server = match detached {
            None => socket::create(args, told_to_end)?,
            Some(detached) => {
                // Without it, each of many supervisors would look who has the path by connecting, which PROG would see.
                let _lock = detached.take_start_lock(&args.path)?;
                let builder = socket::builder(args)?.lock_interrupt(told_to_end);
                builder.create(&args.path).map_err(|error| detached.refused(&error))?
            }
        };
        let (listener, ownership) = server.into_parts().map_err(|error| failed(&error.error))?;
        Ok(Service {
            listener,
            ownership,
            replaceable: args.is_replaceable(),
            lost: false,
            replaced: false,
            path_status: None,
            ending: None,
            replays: Arc::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.ownership.local_path()
    }

    pub(super) fn has_path(&self) -> bool {
        self.path_status.is_none()
    }

    /// Has the path become another's, or nobody's?
    pub(super) fn has_lost_path(&mut self) -> Option<Status> {
        // Asked once: a second answer might differ.
        let status = self.ownership.status();
        self.lost = status.is_stolen();
        // A successor that has gone is remembered, unless the path is ours again.
        self.replaced = self.lost && (self.replaced || lost::is_replaced(self.replaceable, Ok(status)));
        self.lost.then_some(status)
    }

    /// What there is to say of the path: a successor that was seen there has had it.
    pub(super) fn seen<E>(&self, status: Result<Status, E>) -> Result<Status, E> {
        if self.replaced { Ok(Status::Replaced) } else { status }
    }

    /// Waits until the server that was replaced has ended. False if we are told to end before that; if we have been told
    /// already, when it is due, or we are told once more.
    pub(super) fn predecessor_ends(&mut self, signals: &Signals) -> bool {
        const INTERVAL: Duration = Duration::from_millis(20);
        let mut complained = false;
        loop {
            match self.ownership.wait_for_predecessor(INTERVAL) {
                Ok(()) => return true,
                Err(error) if [ErrorKind::InUse, ErrorKind::Locked].contains(&error.kind()) => {}
                Err(error) => {
                    if !complained {
                        let errno = Some(error.raw_os_error());
                        say(About(error.path(), errno, format_args!("{error}; trying again")));
                    }
                    complained = true;
                    std::thread::sleep(INTERVAL);
                }
            }
            if told_to_end(signals) || self.ending_is_due() {
                return false;
            }
        }
    }

    /// New clients, and a successor, shall find the path free. The socket itself is left alone, since PROG may go on
    /// accepting from it, and so is a life lock. What there is to say of the path is said.
    pub(super) fn unpublish(&mut self) {
        let status = self.ownership.unpublish();
        let status = status.as_ref().copied();
        self.replaced |= lost::is_replaced(self.replaceable, status);
        self.path_status = Some(lost::report(self.replaceable, self.path(), self.seen(status), ""));
    }

    /// Told to end while no PROG runs; one may be started for those who are queued.
    pub(super) fn end_idle(&mut self) {
        self.unpublish();
        announce::end(self.path(), self.replaced);
        self.ending = Some(Ending::by(Signal::TERM));
    }

    /// Those who were queued when we were told to end have been accepted, or have had their time.
    pub(super) fn ending_is_due(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.leaving.is_over(&self.listener))
    }

    /// Hangs up on those who are queued; the exit status.
    pub(super) fn end_unserved(self) -> u8 {
        let unconnected = unconnected(&self.replays);
        say_left(count(&self.listener).map(|clients| clients + unconnected));
        self.path_status.unwrap_or(exit::DONE)
    }

    /// The same, where PROG could not be started for them.
    pub(super) fn end_unstarted(self) -> u8 {
        let somebody_waits = unconnected(&self.replays) > 0 || has_clients(&self.listener);
        let status = self.end_unserved();
        if somebody_waits { exit::CANNOT_RUN } else { status }
    }

    /// No PROG runs any more: the path goes, if it has not yet, and whoever is queued is hung up on. The exit status, which
    /// is the one given if the loss of the path has been `reported`.
    pub(super) fn close(self, reported: Option<u8>) -> u8 {
        if !self.has_path() {
            return self.end_unserved();
        }
        let path = self.path().to_owned();
        let mut replaced = self.replaced;
        // Of a socket that is shut, that is not known where there is no descriptor.
        let somebody_waits = has_clients(&self.listener);
        let (path_status, left) = match self.ownership.drain(self.listener) {
            Ok(mut drain) => {
                replaced |= lost::is_replaced(self.replaceable, drain.status());
                // It may have gone as well since it was seen.
                let status = if replaced { Ok(Status::Replaced) } else { drain.status() };
                let path_status = reported.unwrap_or_else(|| lost::report(self.replaceable, &path, status, ""));
                let unconnected = unconnected(&self.replays);
                let queued = drain.try_fold(0, |clients, client| client.is_ok().then_some(clients + 1));
                // accept() says that there is no descriptor also of a queue that is empty.
                let queued = queued.or((!somebody_waits).then_some(0));
                (path_status, queued.map(|clients| clients + unconnected))
            }
            Err(error) => (failed(error), Some(0)),
        };
        announce::end(&path, replaced);
        say_left(left);
        path_status
    }
}

/// How many wait whose words are to be repeated by a connection that is not made yet. To be asked before those are counted who
/// are queued: it may be made meanwhile.
fn unconnected(replays: &Arc<()>) -> usize {
    Arc::strong_count(replays) - 1
}

/// How many clients are still in the queue; they are hung up on. `None`: some, who cannot be counted.
fn count(listener: &UnixListener) -> Option<usize> {
    // Its copies are not accepted from any more, so it may be non-blocking for all of them.
    listener.set_nonblocking(true).ok()?;
    let clients = listener.incoming().map_while(Result::ok).count();
    (!has_clients(listener)).then_some(clients)
}

fn say_left(clients: Option<usize>) {
    match clients {
        Some(0) => {}
        Some(1) => say("1 client was still queued at the end, and was not served"),
        Some(n) => say(format_args!("{n} clients were still queued at the end, and were not served")),
        None => say("clients were still queued at the end, and were not served"),
    }
}
