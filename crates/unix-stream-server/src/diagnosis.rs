//! What a doctor asks of a path, beyond what stands there: who still listens on a socket that lost it, and whether this
//! kernel alone serves there. Changes nothing and connects to nobody.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs;
use rustix::io::Errno;

use crate::PeerCredentials;
use crate::error::{Error, Result};
use crate::place::{Place, check};
use crate::sys::bound::listeners_named;
use crate::sys::diag::holder_of;
use crate::sys::{Reach, Stat, Sys, System, is_kernels_own, pin_following};

const LOST: &str = "look for lost listeners of";
const LOCAL: &str = "look at the file system of";

/// A socket that listens and was bound to a path that leads elsewhere by now, or nowhere: no new client gets to it. From
/// [`lost_listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostListener {
    /// A process that has it open, if we may see one.
    pub holder: Option<PeerCredentials>,
}

/// The servers that were robbed of a path: those that the kernel lists (sock_diag(7)) as listening by the name of this
/// path, or by the temporary name beside it that a take-over binds, on another file than the one that the path leads to.
///
/// Not found are those of another network namespace, and those bound by another name: a relative one, another way through
/// symbolic links, or a path over 107 bytes. A server that was replaced by a successor is among them until it has shut its
/// socket.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) or [`PathTooLong`](crate::ErrorKind::PathTooLong) for a path that can name no
/// socket. [`System`](crate::ErrorKind::System) if where the path leads cannot be told (`EACCES`), or the kernel gives no
/// list: no sock_diag module (`EOPNOTSUPP`); away from Linux there is none (the same).
pub fn lost_listeners(path: impl AsRef<Path>) -> Result<Vec<LostListener>> {
    let path = path.as_ref();
    check(path, LOST)?;
    let names = names(path);
    // The path is followed, as a client would.
    let now = match fs::stat(path) {
        Ok(stat) => Some(Stat::from(&stat).id),
        Err(Errno::NOENT | Errno::NOTDIR) => None,
        // It may lead to any of them.
        Err(errno) => return Err(Error::system(LOST, path, "stat", errno)),
    };
    let known_dev = now.is_some_and(|now| is_kernels_own(now.dev));
    let is_named = |name: &[u8]| names.iter().any(|known| known.as_os_str().as_bytes() == name);
    let named = listeners_named(is_named).map_err(|errno| Error::system(LOST, path, "sock_diag", errno))?;
    let lost = named
        .into_iter()
        .filter(|(_, bound)| !bound.is_shut && now.is_none_or(|now| bound.is_elsewhere(now, known_dev)));
    Ok(lost.map(|(socket, _)| LostListener { holder: holder_of(socket) }).collect())
}

/// By which a server of the path may have been bound.
fn names(path: &Path) -> Vec<PathBuf> {
    // A relative one is no name of its own: a socket of another directory may have the same.
    let mut names: Vec<_> = path.is_absolute().then(|| path.to_owned()).into_iter().collect();
    names.extend(std::path::absolute(path));
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        names.extend(std::fs::canonicalize(parent).map(|parent| parent.join(name)));
    }
    if let Ok(place) = Place::open(path, LOST) {
        names.extend(place.bind_path_beside().map(|path| PathBuf::from(OsStr::from_bytes(path.as_bytes()))));
    }
    names
}

/// Do all servers behind sockets on the file system of this directory, or file, live in this kernel? If not (NFS, SMB, 9p,
/// virtiofs, FUSE, Ceph, whatever is not known), a refused connection does not prove a server dead: see
/// [`Builder::assume_local`](crate::Builder::assume_local).
///
/// # Errors
///
/// [`System`](crate::ErrorKind::System): it cannot be looked at.
pub fn is_local(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let failed = |call| move |errno| Error::system(LOCAL, path, call, errno);
    let file = pin_following(path).map_err(failed("open"))?;
    System.reach(&file).map(|reach| matches!(reach, Reach::Local | Reach::LocalBusyRefuses)).map_err(failed("fstatfs"))
}
