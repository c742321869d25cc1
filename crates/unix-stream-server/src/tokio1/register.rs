//! A descriptor handed to tokio's reactor, and back again if that fails.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::error::{Error, ErrorKind, Result};

/// `inner` with its readiness to be read, or `inner` and the reason why `operation` on its path failed.
///
/// `inner` must keep its descriptor open, and one and the same, as long as it lives: what we register is a type of this
/// crate that owns its descriptor and never changes it.
pub(super) fn register<T: AsRawFd>(
    inner: T,
    operation: &'static str,
    path: impl Fn(&T) -> &Path,
) -> Result<AsyncFd<T>, (T, Error)> {
    if Handle::try_current().is_err() {
        let why = "there is no tokio runtime here; call it inside one";
        let error = Error::new(ErrorKind::Invalid, operation, path(&inner), Errno::INVAL, why);
        return Err((inner, error));
    }
    #[expect(clippy::allow_attributes, reason = "deprecated by tokio 1.53.3 and not by those before it")]
    #[allow(deprecated, reason = "its unsafe replacement says what the caller must promise: see above")]
    let registered = AsyncFd::try_with_interest(inner, Interest::READABLE);
    registered.map_err(|error| {
        let (inner, error) = error.into_parts();
        let error = Error::system(operation, path(&inner), "epoll_ctl", errno_of(&error));
        (inner, error)
    })
}

/// The errno of an error, for one of ours.
pub(super) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}
