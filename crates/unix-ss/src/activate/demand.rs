//! `serve --on-demand`: whether there is a client for whom PROG is to be started, without taking it from PROG.
//!
//! To accept a client is to take it from PROG. So the kernel is asked who is queued. Somebody who has sent a byte, or who
//! is still there after a moment, starts PROG and stays in the queue for it. Somebody who has hung up already cannot
//! come back, and only such are accepted here: they are at the head of the queue, and nobody else accepts while no PROG
//! runs. Those who had sent nothing are dropped: a probe. Those who had are replayed to PROG, if of our own user: see [`super::replay`].
//!
//! Where the kernel does not list the queue (no `unix_diag`), every connection starts PROG, as with other superservers.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use unix_stream_server::{QueuedClient, UntilReplaced, queued_clients};

use super::reap::told_to_end;
use super::replay::Replay;
use super::service::Service;
use crate::clients::{has_clients, hung_up, is_shut};
use crate::complaint::Complaint;
use crate::lost;
use crate::message::{reason, say};
use crate::prog::lacks_resources;
use crate::signals::Signals;

/// How long a silent client must have been seen to stay. Who only looks whether we live is gone within microseconds, or
/// within the time that the scheduler takes.
const STAY: Duration = Duration::from_millis(20);
/// How long to leave the queue alone when there are no descriptors, no process or no memory, to accept one who has gone or
/// to start PROG.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Why the wait is over.
pub(super) enum Woken {
    /// PROG is to be started.
    ByClient,
    /// By a signal.
    ToldToEnd,
    /// Nobody can connect any more.
    Shut,
    /// Which has been said, and leads to this exit status.
    PathLost(u8),
}

pub(super) struct Demand {
    /// For whom PROG was started last.
    client: Option<QueuedClient>,
    /// Whom it accepts first.
    head: Option<QueuedClient>,
    /// If nobody can come any more, since PROG has shut the socket: how many were queued.
    last_ones: Option<usize>,
    /// That something is lacking.
    complaint: Complaint,
}

/// What the queue says.
enum Look {
    Nobody,
    /// Somebody silent, who may be gone in a moment.
    Silent(QueuedClient),
    Demand(Option<QueuedClient>),
    /// The one at the head has gone, and cannot be accepted now, or what he has sent not be repeated. That passes, and
    /// he waits.
    Shortage(io::Error),
}

impl Demand {
    pub(super) fn new() -> Self {
        Demand { client: None, head: None, last_ones: None, complaint: Complaint::default() }
    }

    /// Waits for a client. Signals that would end PROG end us; there is nobody to pass the others on to.
    pub(super) fn wait(&mut self, service: &mut Service, signals: &Signals) -> io::Result<Woken> {
        let mut path = lost::Look::new();
        let mut silent: Option<(QueuedClient, Instant)> = None;
        let mut waited = false;
        loop {
            let look = look(service)?;
            match &look {
                Look::Demand(client) => {
                    self.client = *client;
                    return Ok(Woken::ByClient);
                }
                Look::Silent(client) => match silent {
                    Some((same, since)) if same == *client => {
                        if since.elapsed() >= STAY {
                            self.client = Some(same);
                            return Ok(Woken::ByClient);
                        }
                    }
                    _ => silent = Some((*client, Instant::now())),
                },
                Look::Nobody => silent = None,
                Look::Shortage(error) => {
                    silent = None;
                    self.complain(error);
                }
            }
            // After the queue: who was there before the signal is served.
            if told_to_end(signals) {
                return Ok(Woken::ToldToEnd);
            }
            if matches!(look, Look::Nobody) && is_shut(&service.listener) {
                return Ok(Woken::Shut);
            }
            // Whoever has come is served first, be it without a path.
            let may_end = matches!(look, Look::Nobody) && (waited || path.is_due());
            if let Some(status) = may_end.then(|| service.has_lost_path()).flatten() {
                if service.replaceable && !waited {
                    // Somebody may have found our socket just before, and is served before we end.
                    waited = true;
                    std::thread::sleep(UntilReplaced::GRACE);
                    continue;
                }
                let status = service.seen(Ok(status));
                return Ok(Woken::PathLost(lost::report(service.replaceable, service.path(), status, "; ending")));
            }
            match (look, silent) {
                (Look::Shortage(_), _) => signals.wait(None, Some(Instant::now() + PAUSE))?,
                (_, Some((_, since))) => signals.wait(None, Some(since + STAY))?,
                (_, None) => signals.wait(Some(service.listener.as_fd()), Some(path.due()))?,
            }
        }
    }

    fn complain(&mut self, error: &io::Error) {
        if self.complaint.is_due() {
            say(format_args!("cannot accept a client yet: {}; trying again", reason(error)));
        }
    }

    /// Has PROG accepted whom it was started for? Where that is not known: all who are queued.
    pub(super) fn is_met(&self, listener: &UnixListener) -> bool {
        match (self.client, queued_clients(listener)) {
            (Some(client), Ok(queue)) => !queue.contains(&client),
            _ => !has_clients(listener),
        }
    }

    /// PROG is to be started for whoever is the first in the queue.
    pub(super) fn is_for_head(&mut self) {
        self.client = self.head;
    }

    /// Before each start of PROG: who is the first in the queue?
    pub(super) fn note_head(&mut self, listener: &UnixListener) {
        let queue = queued_clients(listener).unwrap_or_default();
        // All who have gone look the same.
        self.head = queue.first().copied().filter(|client| !client.is_gone());
        self.last_ones = Some(queue.len()).filter(|&clients| clients > 0 && is_shut(listener));
    }

    /// Has PROG accepted nobody, though somebody was there all the time? Then to start it again would go round in circles.
    /// The one whom it was started for may still be queued behind another, whom it has served.
    pub(super) fn has_met_nobody(&self, listener: &UnixListener) -> bool {
        let Ok(queue) = queued_clients(listener) else { return false };
        let has_head = self.head.is_some_and(|head| queue.contains(&head));
        has_head || self.last_ones.is_some_and(|clients| queue.len() >= clients)
    }
}

fn look(service: &mut Service) -> io::Result<Look> {
    let mut replay = None;
    loop {
        let listener = &service.listener;
        let queue = match queued_clients(listener) {
            Ok(queue) => queue,
            // It polls as readable whether or not somebody is queued.
            Err(error) if is_shut(listener) && lacks_resources(&error) => return Ok(Look::Shortage(error)),
            Err(_) => return Ok(if has_clients(listener) { Look::Demand(None) } else { Look::Nobody }),
        };
        let Some(head) = queue.first() else { return Ok(Look::Nobody) };
        // Nobody can connect any more, a replay neither. PROG can still accept those who have gone.
        if is_shut(listener) {
            return Ok(Look::Demand(Some(*head).filter(|client| !client.is_gone())));
        }
        // Whoever is at the head and has gone is gone for good, so that it is him whom accept() gives.
        if head.is_gone() {
            match take_gone(service, &mut replay)? {
                None => continue,
                Some(look) => return Ok(look),
            }
        }
        let sender = queue.iter().copied().find(|client| client.has_sent() == Some(true));
        return Ok(sender.map_or(Look::Silent(*head), |client| Look::Demand(Some(client))));
    }
}

/// Accepts one who has gone; `None` if the next one is to be looked at. A replay that was not needed serves for that.
fn take_gone(service: &mut Service, spare: &mut Option<Replay>) -> io::Result<Option<Look>> {
    let replay = match spare.take().map_or_else(Replay::prepare, Ok) {
        Err(error) if lacks_resources(&error) => return Ok(Some(Look::Shortage(error))),
        replay => replay?,
    };
    let listener = &service.listener;
    // The flag is the socket's, so PROG's as well; it does not run now, and gets it as it was.
    listener.set_nonblocking(true)?;
    let accepted = listener.accept();
    listener.set_nonblocking(false)?;
    match accepted {
        Ok((client, _)) if hung_up(&client) => {
            *spare = Some(replay);
            Ok(None)
        }
        // What he had said is replayed, which PROG is to be started for.
        Ok((client, _)) => Ok(replay.start(client, service).then_some(Look::Demand(None))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::CONNABORTED | Errno::INTR | Errno::INVAL) => Ok(None),
            _ if lacks_resources(&error) => Ok(Some(Look::Shortage(error))),
            _ => Err(error),
        },
    }
}
