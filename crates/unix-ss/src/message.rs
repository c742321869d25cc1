//! What people read on standard error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use crate::{exit, log};

/// One line, in one write, so that the lines of several processes do not mix.
///
/// Nobody is told if that fails: standard error may be closed or full, which must not end a server (`eprintln!` would
/// panic).
pub(crate) fn say(what: impl Display) {
    let line = what.to_string();
    if log::is_json() {
        return log::write_error(&line);
    }
    let _ = io::stderr().write_all(format!("unix-ss: {}\n", one_line(&line)).as_bytes());
}

/// Says why it failed; the exit status.
pub(crate) fn failed(why: impl Display) -> u8 {
    say(why);
    exit::FAILED
}

/// Without control characters, which could forge another line or command a terminal: paths and names have any.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(escaped.collect())
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
