//! What people read on standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// One line, in one write, so that the lines of several processes do not mix.
///
/// Nobody is told if that fails: standard error may be closed or full, which must not end a server (`eprintln!` would
/// panic).
pub(crate) fn say(what: impl Display) {
    let _ = io::stderr().write_all(format!("unix-ss: {what}\n").as_bytes());
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
