//! What is read on standard output.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::exit;
use crate::message::{failed, reason};

/// Whoever reads standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Here,
    /// It has seen enough, as `head` has: no failure, and nobody is left to tell.
    Gone,
}

/// Whole lines, in one write, so that each is read as a whole or not at all. Why it failed is told here; the error is the
/// exit status.
pub(crate) fn print(lines: &str) -> Result<Reader, u8> {
    match io::stdout().lock().write_all(lines.as_bytes()) {
        Ok(()) => Ok(Reader::Here),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(failed(format_args!("cannot write standard output: {}", reason(&error)))),
    }
}

/// What `look` finds to say of each path, with an exit status; the highest of these.
pub(crate) fn print_each(paths: &[PathBuf], look: impl Fn(&Path) -> (String, u8)) -> u8 {
    let mut highest = exit::DONE;
    for path in paths {
        let (lines, status) = look(path);
        highest = highest.max(status);
        match print(&lines) {
            Ok(Reader::Here) => {}
            Ok(Reader::Gone) => return highest,
            Err(status) => return status,
        }
    }
    highest
}
