//! `clean`: removes what the dead left, and says so.

use std::io::{self, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use unix_stream_server::{CleanEvent, CleanOptions, Error, Leftover, Outcome};

use crate::json::{self, PathKeys, errno_name};
use crate::message::{one_line, reason, say};
use crate::{cli, exit};

/// The exit status: the highest of all that happened.
pub(crate) fn run(args: &cli::Clean) -> u8 {
    let options = CleanOptions::new().dry_run(args.dry_run).recursive(args.recursive).lock_timeout(args.lock_timeout);
    let mut report = Report { json: args.json, bar: progress(), highest: exit::DONE, output: Output::Open };
    for path in &args.paths {
        // What concerns the path itself; a problem in a directory has been told as it came.
        if let Err(error) = options.run(path, |event| report.take(event)) {
            report.fail(&error);
        }
    }
    report.bar.finish_and_clear();
    report.highest
}

struct Report {
    json: bool,
    bar: ProgressBar,
    highest: u8,
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Open,
    /// Whoever read us has gone, or the disk is full. The cleaning goes on: it is what we were called for.
    Closed,
}

impl Report {
    fn take(&mut self, event: CleanEvent<'_>) {
        match event {
            CleanEvent::Directory { entries, .. } => {
                self.bar.inc_length(u64::try_from(entries).unwrap_or(0));
            }
            CleanEvent::Looked => self.bar.inc(1),
            CleanEvent::Found { path, what, outcome } => self.found(path, what, &outcome),
            _ => {}
        }
    }

    fn found(&mut self, path: &Path, what: Leftover, outcome: &Outcome) {
        if self.json {
            self.print(&json::line(&Line::new(path, what, outcome)));
        }
        match outcome {
            Outcome::Removed if !self.json => self.print(&one_line(&format!("removed {}, a {what}", path.display()))),
            Outcome::WouldRemove if !self.json => {
                self.print(&one_line(&format!("would remove {}, a {what}", path.display())));
            }
            Outcome::Young if !self.json => {
                let why = "it has changed within a second, and its server may be about to listen";
                self.print(&one_line(&format!("left {} alone: {why}", path.display())));
            }
            Outcome::Failed(error) => self.fail(error),
            _ => {}
        }
    }

    fn fail(&mut self, error: &Error) {
        self.highest = self.highest.max(exit::of_server(error));
        self.bar.suspend(|| say(error));
    }

    fn print(&mut self, line: &str) {
        if self.output == Output::Closed {
            return;
        }
        let written = self.bar.suspend(|| io::stdout().lock().write_all(format!("{line}\n").as_bytes()));
        match written {
            Ok(()) => {}
            Err(error) => {
                self.output = Output::Closed;
                if error.kind() != io::ErrorKind::BrokenPipe {
                    say(format_args!("cannot write standard output: {}; cleaning all the same", reason(&error)));
                    self.highest = self.highest.max(exit::FAILED);
                }
            }
        }
    }
}

/// On a terminal; elsewhere indicatif hides it.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} entries") {
        bar.set_style(style);
    }
    bar
}

/// The line of `--json`.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    about: PathKeys,
    kind: &'static str,
    outcome: &'static str,
    errno: Option<String>,
    error: Option<String>,
}

impl Line {
    fn new(path: &Path, what: Leftover, outcome: &Outcome) -> Self {
        let error = match outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        };
        Line {
            about: PathKeys::of(path),
            kind: match what {
                Leftover::Socket => "socket",
                Leftover::Temporary => "temporary",
                Leftover::Lock => "lock",
                Leftover::LifeLock => "life_lock",
                _ => "directory",
            },
            outcome: match outcome {
                Outcome::Removed => "removed",
                Outcome::WouldRemove => "would_remove",
                Outcome::InUse => "in_use",
                Outcome::Young => "young",
                Outcome::MountPoint => "mount_point",
                _ => "failed",
            },
            errno: error.map(|error| errno_name(error.raw_os_error())),
            error: error.map(|error| error.reason().to_owned()),
        }
    }
}
