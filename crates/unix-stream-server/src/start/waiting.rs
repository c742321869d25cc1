//! A server that creates its socket itself, and is waited for.

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::job::job;
use super::{
    START, StartCommand, Stdio, connect_if_alive, failed, is_over, lock_if_nobody_lives, lock_timeout, not_in_time,
    wait,
};
use crate::ServerSocket;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::job::{Descriptors, Report};
use crate::sys::spawn::{Starting, spawn};

/// The start lock of a starter that has no end.
const FAR: Duration = Duration::from_secs(3600);

/// Starts the server and connects to it. The inner error: somebody else is at it.
pub(super) fn start(path: &Path, command: &StartCommand, deadline: Option<Instant>) -> Result<Result<UnixStream>> {
    let job = job(path, command, None)?;
    let stdio = Stdio::open(path, command)?;
    let lock = match lock_if_nobody_lives(path)? {
        ControlFlow::Continue(lock) => lock,
        ControlFlow::Break(attempt) => return Ok(attempt),
    };
    match ServerSocket::builder().lock_timeout(lock_timeout(deadline)).remove_dead(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::InUse => return Ok(Err(error)),
        Err(error) => return Err(error),
    }
    let with = Descriptors {
        input: stdio.null.as_fd(),
        output: stdio.output().as_fd(),
        listener: None,
        keep: Some((lock.as_fd(), deadline.unwrap_or_else(|| Instant::now() + FAR))),
    };
    let starting = spawn(&job, &with).map_err(|errno| Error::system(START, path, "clone", errno))?;
    drop(stdio);
    let stream = follow(path, command, deadline, &starting);
    // First the watcher, who has a copy of the lock, then the lock.
    drop(starting);
    drop(lock);
    stream.map(Ok)
}

fn follow(path: &Path, command: &StartCommand, deadline: Option<Instant>, starting: &Starting) -> Result<UnixStream> {
    let begin = Instant::now();
    let mut watched = Some(starting);
    loop {
        // Before the look at the path: a server that has put itself into the background listens before it says so.
        let report = watched.and_then(Starting::report);
        match connect_if_alive(path, Some(Instant::now())) {
            Ok(Some(stream)) => return Ok(stream),
            // It listens, and its backlog is full already.
            Err(error) if error.kind() == ErrorKind::TimedOut => match connect_if_alive(path, deadline)? {
                Some(stream) => return Ok(stream),
                None => continue,
            },
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        match report {
            None => {}
            Some(Report::Lost) => watched = None,
            Some(report) => return Err(failed(path, command, report)),
        }
        if is_over(deadline) {
            return Err(not_in_time(path, command));
        }
        wait(watched, begin, deadline);
    }
}
