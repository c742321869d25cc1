//! What people read on standard error.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use unix_stream_server::Error;

use crate::{exit, log};

/// How long a line waits for somebody who reads standard error, or for somebody to go on who has stopped his terminal.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines that were left out because nobody reads.
static LEFT_OUT: AtomicUsize = AtomicUsize::new(0);

/// What is said in words, and what a program that reads it need not find in them.
pub(crate) trait Said: Display {
    fn path(&self) -> Option<&Path> {
        None
    }

    fn errno(&self) -> Option<i32> {
        None
    }
}

impl Said for fmt::Arguments<'_> {}
impl Said for &str {}
impl Said for String {}

impl Said for Error {
    fn path(&self) -> Option<&Path> {
        Some(Error::path(self))
    }

    fn errno(&self) -> Option<i32> {
        Some(self.raw_os_error())
    }
}

impl<T: Said> Said for &T {
    fn path(&self) -> Option<&Path> {
        (**self).path()
    }

    fn errno(&self) -> Option<i32> {
        (**self).errno()
    }
}

/// Words of our own about a path, and the errno that is behind them.
pub(crate) struct About<'a>(pub(crate) &'a Path, pub(crate) Option<i32>, pub(crate) fmt::Arguments<'a>);

impl Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.2.fmt(f)
    }
}

impl Said for About<'_> {
    fn path(&self) -> Option<&Path> {
        Some(self.0)
    }

    fn errno(&self) -> Option<i32> {
        self.1
    }
}

/// One line on standard error.
pub(crate) fn say(what: impl Said) {
    write(&error_line(&what));
}

fn error_line(what: &impl Said) -> String {
    if log::is_json() { log::error_line(what) } else { format!("unix-ss: {}", one_line(&what.to_string())) }
}

/// A line of standard error, in one write, so that the lines of several processes do not mix.
///
/// Nobody is told if that fails: standard error may be closed or full, which must not end a server (`eprintln!` would
/// panic). Nor must a pipe that nobody reads stop it: then lines are left out, and counted.
pub(crate) fn write(line: &str) {
    // To the end, so that what was free when we asked is not another thread's by then.
    let mut stderr = io::stderr().lock();
    let left_out = LEFT_OUT.load(Ordering::Relaxed);
    // Once nobody reads, no line waits any more.
    if !is_read_within(&stderr, if left_out == 0 { PATIENCE } else { Duration::ZERO }) {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let mut lines = String::new();
    if left_out > 0 {
        let count = LEFT_OUT.swap(0, Ordering::Relaxed);
        lines = error_line(&format_args!("{count} lines were left out here, since nobody read them")) + "\n";
    }
    lines.push_str(line);
    lines.push('\n');
    let _ = stderr.write_all(lines.as_bytes());
}

/// Where it cannot be asked, the write is tried.
fn is_read_within(stderr: &impl AsFd, time: Duration) -> bool {
    let time = Timespec::try_from(time).ok();
    poll(&mut [PollFd::new(stderr, PollFlags::OUT)], time.as_ref()).map_or(true, |ready| ready > 0)
}

/// Says why it failed; the exit status.
pub(crate) fn failed(why: impl Said) -> u8 {
    say(why);
    exit::FAILED
}

/// Without what could forge another line, command a terminal or show text in another order: paths and names have any.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(misleads) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|c| if misleads(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(escaped.collect())
}

/// Control characters; separators of lines; and those that turn the order of what is shown (Unicode's bidirectional ones).
pub(crate) fn misleads(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// An error in the style of the rest of the line: lower case, and without std's "(os error N)".
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" (os error").map_or(text.as_str(), |(text, _)| text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown error".to_owned(),
    }
}
