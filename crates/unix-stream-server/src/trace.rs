//! What the library tells by `tracing`, if that feature is on: else every function here is empty.
//!
//! No line of the protocol depends on it, and it goes past the seam: a simulated kernel has nobody who listens. As long as
//! nobody does, an event costs one comparison and no system call; who holds a lock is looked up only for a listener.

#![cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "nobody is told"))]

use std::ffi::CStr;
use std::path::Path;

#[cfg(feature = "tracing")]
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::error::Error;
use crate::sys::FileId;
use crate::{PathState, Status};

#[cfg(feature = "tracing")]
macro_rules! tell {
    ($level:ident, $target:literal, $($what:tt)+) => {
        tracing::event!(target: $target, tracing::Level::$level, $($what)+)
    };
}
#[cfg(not(feature = "tracing"))]
macro_rules! tell {
    ($($what:tt)+) => {};
}

/// A wait for a lock, from the first time that it was not had.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    #[cfg(feature = "tracing")]
    since: Option<Instant>,
}

impl Wait {
    /// It is held: by `who`, and by the process that has the flock of `file`. Told once a wait.
    pub(crate) fn begin(&mut self, path: &Path, lock: &CStr, who: &'static str, file: Option<FileId>) {
        #[cfg(feature = "tracing")]
        if self.since.is_none() && tracing::enabled!(target: "unix_stream_server::lock", tracing::Level::INFO) {
            use crate::sys::{FlockHolder, Sys, System};
            self.since = Some(Instant::now());
            let pid = file.and_then(|file| match System.flock_holder(file) {
                FlockHolder::Process(pid) => Some(pid),
                FlockHolder::Nobody | FlockHolder::Unknown => None,
            });
            let (path, lock) = (path.display(), lock.to_string_lossy());
            tell!(INFO, "unix_stream_server::lock", %path, %lock, held_by = who, pid, "waiting for the lock");
        }
    }

    pub(crate) fn end(self, path: &Path, error: Option<&Error>) {
        #[cfg(feature = "tracing")]
        if let Some(since) = self.since {
            let waited_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            let path = path.display();
            match error {
                None => tell!(INFO, "unix_stream_server::lock", %path, waited_us, "got the lock"),
                Some(error) => {
                    let error = error.reason();
                    tell!(INFO, "unix_stream_server::lock", %path, waited_us, error, "did not get the lock");
                }
            }
        }
    }
}

pub(crate) fn dead_lock_taken_over(path: &Path, lock: &CStr) {
    tell!(
        INFO,
        "unix_stream_server::lock",
        path = %path.display(),
        lock = %lock.to_string_lossy(),
        "took over the lock that a dead holder left"
    );
}

/// `name`: of the socket, or the temporary one beside it; empty where only the path was looked at.
pub(crate) fn judged(path: &Path, name: &CStr, state: &PathState) {
    tell!(
        DEBUG,
        "unix_stream_server::verdict",
        path = %path.display(),
        name = (!name.is_empty()).then(|| tracing::field::display(name.to_string_lossy())),
        state = %state,
        "looked at what stands there"
    );
}

pub(crate) fn cleared(path: &Path, name: &CStr) {
    tell!(
        INFO,
        "unix_stream_server::socket",
        path = %path.display(),
        name = %name.to_string_lossy(),
        "removed the socket that a dead server left"
    );
}

pub(crate) fn published(path: &Path, took_over: bool) {
    #[cfg(feature = "tracing")]
    if took_over {
        tell!(INFO, "unix_stream_server::socket", path = %path.display(), "took the path over from a live server");
    } else {
        tell!(INFO, "unix_stream_server::socket", path = %path.display(), "listening");
    }
}

pub(crate) fn healed(path: &Path) {
    tell!(INFO, "unix_stream_server::socket", path = %path.display(), "put a new socket where ours was deleted");
}

/// The end of a server, or of its duty to remove the path.
pub(crate) fn ended(path: &Path, how: &'static str, status: Result<&Status, &Error>) {
    #[cfg(feature = "tracing")]
    {
        let path = path.display();
        match status {
            Ok(status) if status.is_stolen() => {
                tell!(WARN, "unix_stream_server::socket", %path, how, %status, "ended; the path was not ours any more");
            }
            Ok(status) => tell!(INFO, "unix_stream_server::socket", %path, how, %status, "ended"),
            Err(error) => {
                let error = error.reason();
                tell!(WARN, "unix_stream_server::socket", %path, how, error, "ended, but the path could not be removed");
            }
        }
    }
}

pub(crate) fn queue_ended(path: &Path) {
    tell!(DEBUG, "unix_stream_server::socket", path = %path.display(), "handed out the last client of the queue");
}

/// A change that a watch tells of.
pub(crate) fn watched(path: &Path, status: Status) {
    #[cfg(feature = "tracing")]
    {
        let path = path.display();
        match status {
            Status::Gone | Status::Replaced => {
                tell!(WARN, "unix_stream_server::status", %path, %status, "the path was lost");
            }
            Status::Ours => tell!(INFO, "unix_stream_server::status", %path, %status, "the path is back"),
            Status::Unknown { .. } => {
                tell!(WARN, "unix_stream_server::status", %path, %status, "cannot tell whether the path is ours");
            }
        }
    }
}

/// Remembers what was told of the path, so that whoever asks again and again is told of a loss once.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    #[cfg(feature = "tracing")]
    lost: AtomicBool,
}

impl Noticed {
    /// `replaceable`: a successor there is what was allowed.
    pub(crate) fn status(&self, path: &Path, status: Status, replaceable: bool) {
        #[cfg(feature = "tracing")]
        {
            let path = path.display();
            match status {
                Status::Ours => self.lost.store(false, Ordering::Relaxed),
                Status::Unknown { .. } => {}
                Status::Gone | Status::Replaced if self.lost.swap(true, Ordering::Relaxed) => {}
                Status::Replaced if replaceable => {
                    tell!(INFO, "unix_stream_server::status", %path, %status, "a successor has the path");
                }
                Status::Gone | Status::Replaced => {
                    tell!(WARN, "unix_stream_server::status", %path, %status, "the path was lost");
                }
            }
        }
    }
}
