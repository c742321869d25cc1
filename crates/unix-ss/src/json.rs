//! What all objects of `--json` have in common. Keys are only ever added, and null is what is not known.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use serde::Serialize;

/// The object in one line, without its end.
pub(crate) fn line(object: &impl Serialize) -> String {
    // Only maps with keys that are no strings, and failing writers, make this fail.
    serde_json::to_string(object).unwrap_or_default()
}

/// Which path an object is about.
#[derive(Serialize)]
pub(crate) struct PathKeys {
    pub(crate) path: String,
    /// Only of a path that is not UTF-8, which `path` cannot show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_hex: Option<String>,
}

impl PathKeys {
    pub(crate) fn of(path: &Path) -> Self {
        PathKeys { path: path.to_string_lossy().into_owned(), path_hex: path.to_str().is_none().then(|| hex(path)) }
    }
}

fn hex(path: &Path) -> String {
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a String takes everything
        hex
    })
}

/// The name of an errno, as `EACCES`; of those that no look at a path gives, the number.
pub(crate) fn errno_name(errno: i32) -> String {
    let known = [
        (Errno::ACCESS, "EACCES"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::ADDRINUSE, "EADDRINUSE"),
        (Errno::BADF, "EBADF"),
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::CONNRESET, "ECONNRESET"),
        (Errno::EXIST, "EEXIST"),
        (Errno::HOSTDOWN, "EHOSTDOWN"),
        (Errno::INTR, "EINTR"),
        (Errno::INVAL, "EINVAL"),
        (Errno::IO, "EIO"),
        (Errno::ISDIR, "EISDIR"),
        (Errno::LOOP, "ELOOP"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NAMETOOLONG, "ENAMETOOLONG"),
        (Errno::NFILE, "ENFILE"),
        (Errno::NOBUFS, "ENOBUFS"),
        (Errno::NODEV, "ENODEV"),
        (Errno::NOENT, "ENOENT"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::NOTCONN, "ENOTCONN"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::NOTSOCK, "ENOTSOCK"),
        (Errno::NXIO, "ENXIO"),
        (Errno::OPNOTSUPP, "EOPNOTSUPP"),
        (Errno::OVERFLOW, "EOVERFLOW"),
        (Errno::PERM, "EPERM"),
        (Errno::PROTOTYPE, "EPROTOTYPE"),
        (Errno::ROFS, "EROFS"),
        (Errno::STALE, "ESTALE"),
        (Errno::TIMEDOUT, "ETIMEDOUT"),
    ];
    let name = known.iter().find(|(known, _)| known.raw_os_error() == errno).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| format!("errno {errno}"))
}
