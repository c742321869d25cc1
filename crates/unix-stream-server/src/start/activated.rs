//! The socket first, then the server that gets it.

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::job::{Activation, job};
use super::{
    START, StartCommand, Stdio, failed, is_nobody, is_over, lock_if_nobody_lives, lock_timeout, not_in_time, wait,
};
use crate::connect::connect_until;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::job::{Descriptors, Report};
use crate::sys::queue;
use crate::sys::spawn::{Starting, spawn};
use crate::{Builder, ServerSocket};

/// How long it is waited for to be told whether the server has accepted us. A server that serves one client after the other
/// may have done so, and now wait for a request that only our caller can send.
const UNTOLD: Duration = Duration::from_secs(1);

/// Starts the server and connects to it. The inner error: somebody else was first.
pub(super) fn start(path: &Path, command: &StartCommand, deadline: Option<Instant>) -> Result<Result<UnixStream>> {
    // What can be wrong with the command is found out before anything is created.
    let stdio = Stdio::open(path, command)?;
    job(path, command, Some(&Activation { owned: None }))?;
    // The path's lock would do to make one starter of many. But those who do not get it look who has the path, by
    // connecting, and a server that has just been started would see a crowd of clients without a word. So, while the
    // socket is made, there is the start lock as well, for which nobody looks.
    let lock = match lock_if_nobody_lives(path)? {
        ControlFlow::Continue(lock) => lock,
        ControlFlow::Break(attempt) => return Ok(attempt),
    };
    let server = match socket(command, deadline).create(path) {
        Ok(server) => server,
        Err(error) if error.kind() == ErrorKind::InUse => return Ok(Err(error)),
        Err(error) => return Err(error),
    };
    // From here on every return either closes the server or leaves the path to the program. No lock is held.
    // First in the queue, before there is a server that could come and go without us.
    let client = match connect_now(path) {
        Ok(client) => client,
        Err(error) if is_nobody(&error) => return Ok(Err(error)), // somebody has deleted the path meanwhile
        Err(error) => return Err(error),
    };
    drop(lock);
    let starting = {
        let owned = server.local_path();
        let activation = Activation { owned: owned.is_absolute().then_some(owned) };
        let job = job(path, command, Some(&activation))?;
        let with = Descriptors {
            input: stdio.null.as_fd(),
            output: stdio.output().as_fd(),
            listener: Some(server.as_fd()),
            keep: None,
        };
        spawn(&job, &with).map_err(|errno| Error::system(START, path, "clone", errno))?
    };
    drop(stdio);
    Start { path, command, deadline, server, client, untold_since: None }.follow(&starting).map(Ok)
}

fn socket(command: &StartCommand, deadline: Option<Instant>) -> Builder {
    let builder = ServerSocket::builder().mode(command.mode).lock_timeout(lock_timeout(deadline));
    match command.backlog {
        Some(clients) => builder.backlog(clients),
        None => builder,
    }
}

/// Never a connect() that sleeps: on a full backlog, our own listener would keep it asleep if the server ends. `None`: so
/// many clients are here that there is no room.
fn connect_now(path: &Path) -> Result<Option<UnixStream>> {
    match connect_until(path, Some(Instant::now())) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

/// A server that is being started. Our listener is kept until it has accepted us, or ended.
struct Start<'a> {
    path: &'a Path,
    command: &'a StartCommand,
    deadline: Option<Instant>,
    server: ServerSocket,
    client: Option<UnixStream>,
    /// Since when it cannot be told whether our connection has been accepted.
    untold_since: Option<Instant>,
}

impl Start<'_> {
    fn follow(mut self, starting: &Starting) -> Result<UnixStream> {
        let begin = Instant::now();
        let mut watched = Some(starting);
        loop {
            // In this order: a server that let us in and then ended has served us.
            let accepted = self.was_accepted();
            match watched.and_then(Starting::report) {
                None => {}
                Some(Report::Lost) => watched = None,
                Some(report) => {
                    let (path, command) = (self.path, self.command);
                    return self.ended(accepted).ok_or_else(|| failed(path, command, report));
                }
            }
            let is_enough = match accepted {
                Some(is_accepted) => {
                    self.untold_since = None;
                    is_accepted
                }
                None => self.is_untold_for_long(),
            };
            match self.client.take() {
                Some(stream) if is_enough => {
                    self.leave();
                    return Ok(stream);
                }
                client => self.client = client,
            }
            if is_over(self.deadline) {
                // It may still come, and others are queued for it.
                let error = not_in_time(self.path, self.command);
                self.leave();
                return Err(error);
            }
            if self.client.is_none() {
                match connect_now(self.path) {
                    Ok(client) => self.client = client,
                    Err(error) => {
                        self.leave(); // somebody has deleted the path, or the server has given it up
                        return Err(error);
                    }
                }
            }
            wait(watched, begin, self.deadline);
        }
    }

    /// Has our connection been accepted? `None` if that cannot be told now.
    fn was_accepted(&self) -> Option<bool> {
        let client = self.client.as_ref()?;
        let mut listener = [PollFd::new(&self.server, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut listener, Some(&now)) == Ok(0) {
            return Some(true); // we were in the queue, and it is empty
        }
        // Others are in it, perhaps behind us. Where the kernel does not list them, an empty queue is waited for, a while.
        let queued = queue::queued(self.server.as_fd()).ok()?;
        Some(!queued.contains(&queue::number_of(client.as_fd()).ok()?))
    }

    /// Then we are in the queue, or past it, and go on like any other client.
    fn is_untold_for_long(&mut self) -> bool {
        if self.client.is_none() {
            return false;
        }
        let since = *self.untold_since.get_or_insert_with(Instant::now);
        since.elapsed() >= UNTOLD || is_over(self.deadline)
    }

    /// The path and the duty to remove it are the server's from now on; our copy of the listener goes.
    fn leave(self) {
        drop(self.server.into_listener());
    }

    /// The server has ended, and its socket goes: whoever is queued is reset. Our connection, if it had been accepted.
    fn ended(self, accepted: Option<bool>) -> Option<UnixStream> {
        // Between that look and its end it may have let us in, and have answered. Now it lets in nobody any more.
        let accepted = if accepted == Some(true) { accepted } else { self.was_accepted() };
        let _ = self.server.close(); // at the worst a dead socket stays for the next start
        let client = self.client?;
        let accepted = accepted.unwrap_or_else(|| {
            // Of those in the queue a closed listener says so; those who were accepted see an end of file.
            matches!(client.take_error(), Ok(None))
        });
        accepted.then_some(client)
    }
}
