//! Does a path lead to a socket that somebody else has bound?
//!
//! The one who binds may remember which inode it made; who only gets the descriptor must find out. getsockname(2) says
//! what bind(2) was told, which may be relative to another directory, lead elsewhere in another mount namespace, or name a
//! socket that was replaced since. So a path counts only once the kernel has said that this file is the socket's.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::io::Errno;

use super::listener::refresh;
use crate::error::{Error, ErrorKind, Result, describe};
use crate::place::Place;
use crate::protocol::status_of;
use crate::sys::bound::Bound;
use crate::sys::{FOREIGN_NAMES, FileId, Handle, PEER_HAS_LISTENED, Stat, Sys, System, is_kernels_own};
use crate::{FileKind, Status};

/// A path, and the file there if it was seen to be the socket's.
#[derive(Debug)]
pub(crate) struct Located {
    place: Place<Handle>,
    /// Meaningful as long as the listener is open, which keeps the number from reuse; or why it is not known.
    id: Result<FileId, Errno>,
}

impl Located {
    pub(crate) fn new(place: Place<Handle>, id: FileId) -> Self {
        Located { place, id: Ok(id) }
    }

    pub(super) fn into_parts(self) -> (Place<Handle>, Result<FileId, Errno>) {
        (self.place, self.id)
    }

    pub(super) fn shown(&self) -> &Path {
        &self.place.shown
    }

    /// By the name that it was bound to, if that is one which can be looked at.
    pub(super) fn by_name(listener: &UnixListener, bound: Result<Bound, Errno>) -> Option<Self> {
        let place = bound_place(listener)?;
        let id = file_at(&place).and_then(|(_, stat)| match bound?.is_at(stat.id) {
            Some(true) => Ok(stat.id),
            Some(false) => Err(Errno::STALE),
            None => Err(Errno::OVERFLOW), // 32 bits of its number are not enough
        });
        Some(Located { place, id })
    }

    /// A path that is said to be the socket's and could not be proven to be.
    pub(super) fn unproven(path: &Path) -> Option<Self> {
        Some(Located { place: Place::open(path, super::ADOPT).ok()?, id: Err(Errno::STALE) })
    }

    /// A path that leads to the socket, beyond doubt.
    pub(super) fn proven(listener: &UnixListener, path: &Path, operation: &'static str) -> Result<Self> {
        let place = Place::open(path, operation)?;
        let (pin, stat) = match file_at(&place) {
            Ok(file) => file,
            Err(Errno::STALE) => return Err(elsewhere(operation, &place.shown)),
            Err(errno) => return Err(Error::system(operation, &place.shown, "open", errno)),
        };
        // Refreshed, so that the second question below is answered by this process.
        let bound =
            refresh(listener.as_fd()).map_err(|errno| Error::system(operation, &place.shown, "listen", errno))?;
        match bound.map(|bound| bound.is_at(stat.id)) {
            Ok(Some(true)) => return Ok(Located::new(place, stat.id)),
            // Said of a file system whose device numbers are the kernel's own, that is an answer; else not.
            Ok(Some(false)) if is_kernels_own(stat.id.dev) => {
                return Err(elsewhere(operation, &place.shown));
            }
            _ => {}
        }
        match answers_from_here(listener, &pin, &stat) {
            Ok(true) => Ok(Located::new(place, stat.id)),
            Ok(false) => Err(elsewhere(operation, &place.shown)),
            Err(asked) => {
                // What the kernel said is the cause, and the second question a way around it.
                let told = bound.err().unwrap_or(asked);
                let why = format!(
                    "cannot tell whether it leads to this socket: the kernel does not say where the socket is bound \
                     ({}), nor does an answer of its server ({}); what is there was left alone",
                    describe(told),
                    describe(asked)
                );
                Err(Error::new(ErrorKind::CannotTell, operation, &place.shown, told, why))
            }
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.id {
            Ok(id) => status_of(&System, &self.place.dir, &self.place.name, id),
            Err(errno) => Status::Unknown { errno: errno.raw_os_error() },
        }
    }
}

fn elsewhere(operation: &'static str, path: &Path) -> Error {
    let why = "it does not lead to this socket; what is there was left alone";
    Error::new(ErrorKind::Moved, operation, path, Errno::STALE, why)
}

/// The place of the name that bind(2) was told. None for an abstract or relative name, and for one that leads through
/// a descriptor, since that was another process's.
fn bound_place(listener: &UnixListener) -> Option<Place<Handle>> {
    let address = listener.local_addr().ok()?;
    let path = address.as_pathname().filter(|path| path.is_absolute() && !path.starts_with(FOREIGN_NAMES))?;
    Place::open_bound(path, super::ADOPT).ok()
}

/// The socket's file at the name, pinned. `ESTALE`: there is none, or it is no socket.
fn file_at(place: &Place<Handle>) -> Result<(Handle, Stat), Errno> {
    let pin = System.pin(&place.dir, &place.name).map_err(|errno| match errno {
        Errno::NOENT => Errno::STALE,
        errno => errno,
    })?;
    let stat = System.stat(&pin)?;
    if stat.kind == FileKind::Socket { Ok((pin, stat)) } else { Err(Errno::STALE) }
}

/// The second best proof: the name that the socket was bound to leads to this very file, and who listens there is this
/// process, which has just called listen(2) on it.
///
/// It does not tell apart two sockets that this process listens on and that were bound to one name.
fn answers_from_here(listener: &UnixListener, pin: &Handle, file: &Stat) -> Result<bool, Errno> {
    let named = bound_place(listener).ok_or(Errno::DESTADDRREQ)?; // no name to compare
    match System.stat_at(&named.dir, &named.name) {
        Ok(stat) if stat.id == file.id => {}
        // It may have been renamed since, as after a take-over: then this proof is not to be had.
        Ok(_) | Err(Errno::NOENT) => return Err(Errno::STALE),
        Err(errno) => return Err(errno),
    }
    match System.connect(pin) {
        Ok(client) => match System.peer(&client).and_then(|peer| peer.pid) {
            Some(pid) if pid == std::process::id() => Ok(true),
            Some(_) if PEER_HAS_LISTENED => Ok(false),
            Some(_) => Err(Errno::SRCH), // who has bound the socket, of whom it was handed to us, for one
            None => Err(Errno::SRCH),    // somebody in another pid namespace, who has called listen() just now
        },
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(errno) => Err(errno),
    }
}
