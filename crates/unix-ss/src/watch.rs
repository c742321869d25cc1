//! `watch`: a line for each change of owner or state at a path.

use std::fmt;
use std::os::fd::AsFd;
use std::time::{Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::stdio;
use serde::Serialize;
use unix_stream_server::{PathEvent, PathReport, PathWatch};

use crate::cli::Watch;
use crate::message::{failed, one_line, reason};
use crate::output::{Reader, print};
use crate::signals::{NO_MEMORY, Signals};
use crate::status::Report;
use crate::{exit, json};

/// Prints until told to end; the exit status.
pub(crate) fn run(args: &Watch) -> u8 {
    match watch(args) {
        Ok(()) => exit::DONE,
        Err(status) => status,
    }
}

fn watch(args: &Watch) -> Result<(), u8> {
    // No time so far away is a deadline.
    let deadline = args.timeout.and_then(|time| Instant::now().checked_add(time));
    // Caught first, so that whoever has read the first line can end us as promised.
    let signals = Signals::catch(&[Signal::INT, Signal::TERM])?;
    let mut watch = PathWatch::new(&args.path).map_err(failed)?;
    loop {
        if let Some(report) = watch.check().map_err(failed)? {
            if print(&line(args, &report))? == Reader::Gone {
                return Ok(());
            }
        }
        if sleep(&watch, &signals, deadline)? == Wake::End {
            return Ok(());
        }
    }
}

fn line(args: &Watch, report: &PathReport) -> String {
    let line = Line::new(args, report);
    let line = if args.json { json::line(&line) } else { one_line(&line.to_string()).into_owned() };
    line + "\n"
}

#[derive(PartialEq, Eq)]
enum Wake {
    /// There may be something to see.
    Look,
    /// A signal, the end of the time, or nobody reads us any more.
    End,
}

fn sleep(watch: &PathWatch, signals: &Signals, deadline: Option<Instant>) -> Result<Wake, u8> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let out = stdio::stdout();
    let mut fds = [
        PollFd::new(watch, PollFlags::IN),
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        // Of a pipe whose reader has gone: an error. Else `watch | head -1` would stay until the next change.
        PollFd::new(&out, PollFlags::empty()),
    ];
    match poll(&mut fds, left.and_then(|left| Timespec::try_from(left).ok()).as_ref()) {
        Ok(_) => {
            let unread = fds[2].revents().intersects(PollFlags::ERR | PollFlags::HUP);
            let over = left.is_some_and(|left| left.is_zero());
            let ended = !signals.take().is_empty();
            Ok(if unread || over || ended { Wake::End } else { Wake::Look })
        }
        Err(Errno::INTR) => Ok(Wake::Look),
        // No memory for it: that passes.
        Err(Errno::NOMEM | Errno::AGAIN) => {
            std::thread::sleep(NO_MEMORY);
            Ok(Wake::Look)
        }
        Err(errno) => Err(failed(format_args!("cannot wait for changes: {}", reason(&errno.into())))),
    }
}

/// What is printed: a moment, what happened, and what `status` would say.
#[derive(Serialize)]
struct Line {
    time: String,
    event: &'static str,
    #[serde(flatten)]
    report: Report,
}

impl Line {
    fn new(args: &Watch, PathReport { event, inspection, .. }: &PathReport) -> Self {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Line { time, event: PathEvent::as_str(*event), report: Report::of(&args.path, inspection) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.time, self.event, self.report)
    }
}
