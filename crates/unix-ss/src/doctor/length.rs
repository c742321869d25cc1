//! The path itself: how long, and whether it is a name at all.

use std::os::unix::ffi::OsStrExt;

use unix_stream_server::{Error, ErrorKind};

use super::patient::Patient;
use super::report::Report;

/// What fits `sun_path` with the NUL that other programs expect (unix(7)).
pub(super) const ADDRESS_MAX: usize = 107;
pub(super) const NAME_MAX: usize = 255;

/// A path that can name no socket.
pub(super) fn refused(error: &Error, report: &mut Report) {
    let id = if error.kind() == ErrorKind::PathTooLong { "path-too-long" } else { "path-invalid" };
    report.cannot_tell();
    report.error(id, error.path(), error.reason(), "choose another path");
}

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    let path = &patient.path;
    let length = path.as_os_str().len();
    if length > ADDRESS_MAX {
        let why = format!(
            "it has {length} bytes, and a socket's address has room for {ADDRESS_MAX}: it is bound another way, so that ss, \
             lsof and tmp cleaners know it by another name, and clients in other languages cannot connect to it by this one"
        );
        let remedy = format!("use a path of at most {ADDRESS_MAX} bytes; until then, connect by `unix-ss connect`");
        report.warning("path-long", path, why, remedy);
    }
    let name = path.file_name().map_or(0, |name| name.as_bytes().len());
    if name + ".lock".len() > NAME_MAX {
        let why = format!("the name has {name} bytes, so that NAME.lock is too long: its lock has a hash for its name");
        let remedy = "use a shorter name, if programs with git's lock protocol are to respect the lock";
        report.note("name-long", path, why, remedy);
    }
}
