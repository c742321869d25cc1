//! The exit statuses: the one place that says which error ends with which.

use rustix::io::Errno;
use unix_stream_server::{Error, ErrorKind};

pub(crate) const DONE: u8 = 0;
pub(crate) const FAILED: u8 = 1;
/// clap's own.
pub(crate) const USAGE: u8 = 2;
/// Starting: somebody else serves the path, or is about to.
pub(crate) const IN_USE: u8 = 3;
/// Asking: nobody lives there.
pub(crate) const NOBODY: u8 = 3;
pub(crate) const CANNOT_TELL: u8 = 4; // also the wrong peer
/// Served, but the path was taken or deleted meanwhile.
pub(crate) const LOST: u8 = 5;
pub(crate) const CANNOT_RUN: u8 = 126;
pub(crate) const NOT_FOUND: u8 = 127;

/// Of a server that was not to be, and of a path that was not cleaned.
pub(crate) fn of_server(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::InUse | ErrorKind::Locked => IN_USE,
        ErrorKind::NotASocket | ErrorKind::CannotTell => CANNOT_TELL,
        _ => FAILED,
    }
}

/// Of a client that was not let in.
pub(crate) fn of_client(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::NotASocket => NOBODY,
        ErrorKind::CannotTell | ErrorKind::WrongPeer => CANNOT_TELL,
        ErrorKind::System => match Errno::from_raw_os_error(error.raw_os_error()) {
            Errno::NOENT | Errno::CONNREFUSED => NOBODY,
            // Somebody lives there, who is not for us.
            Errno::PROTOTYPE => FAILED,
            // No permission, no descriptors, a directory that cannot be passed: it may be alive, it may not.
            _ => CANNOT_TELL,
        },
        _ => FAILED,
    }
}

/// What a shell says of a program that a signal ended.
pub(crate) fn of_signal(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128))
}

/// What a shell says of a program that could not be started.
pub(crate) fn of_start(error: &std::io::Error) -> u8 {
    if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
}
