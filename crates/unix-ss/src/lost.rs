//! When a server no longer has its path.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use unix_stream_server::{Error, Status};

use crate::exit;
use crate::message::{About, failed, reason, say};

/// How often a server looks whether its path is still there.
const INTERVAL: Duration = Duration::from_secs(1);

/// When the next look is due.
pub(crate) struct Look(Instant);

impl Look {
    pub(crate) fn new() -> Self {
        Look(Instant::now() + INTERVAL)
    }

    pub(crate) fn due(&self) -> Instant {
        self.0
    }

    /// True once each interval.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0 <= now;
        if due {
            self.0 = now + INTERVAL;
        }
        due
    }
}

/// Has a server that may be replaced been so?
pub(crate) fn is_replaced(replaceable: bool, status: Result<Status, &Error>) -> bool {
    replaceable && status.is_ok_and(|status| status == Status::Replaced)
}

/// Says what has become of a path that was closed, or lost; the exit status that follows from it.
pub(crate) fn report(replaceable: bool, path: &Path, status: Result<Status, &Error>, and_now: &str) -> u8 {
    let name = path.display();
    match status {
        // As was allowed.
        Ok(Status::Replaced) if replaceable => {
            say(About(path, None, format_args!("replaced at {name}{and_now}")));
            exit::DONE
        }
        Ok(Status::Gone) => {
            let why = "it was deleted or moved away by somebody";
            say(About(path, None, format_args!("lost the path {name}: {why}{and_now}")));
            exit::LOST
        }
        Ok(Status::Replaced) => {
            let why = "somebody put something else there, which is left alone";
            say(About(path, None, format_args!("lost the path {name}: {why}{and_now}")));
            exit::LOST
        }
        Ok(Status::Unknown { errno }) => {
            let why = reason(&io::Error::from_raw_os_error(errno));
            let so = format!("so it was not removed: {why}{and_now}");
            failed(About(path, Some(errno), format_args!("cannot tell whether {name} is still ours, {so}")))
        }
        Ok(_) => exit::DONE,
        Err(error) => failed(error),
    }
}
