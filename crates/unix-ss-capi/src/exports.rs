//! The functions of the header. Each takes C's arguments apart, calls safe code, and tells C what came of it.
//!
//! # Safety
//!
//! C is trusted in what the header asks of it, and in nothing more: a pointer is NULL or as its type says, strings end
//! in NUL, and a `struct unix_ss_socket *` is one that `unix_ss_create` gave and `unix_ss_free` has not had yet. Behind
//! it stands a `Handle`, whose head is that struct. No reference to a Handle is made: C may read the public part at any
//! time, so only the private part is borrowed, and shared: it is made for several threads.
#![expect(unsafe_code, reason = "this is the border to C")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_long};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use unix_stream_server::{PathState, connect, probe};

use crate::cancel::NoCancel;
use crate::failure::{Failure, UNKNOWN, describe};
use crate::memory::{OwnCStr, Room, take_back};
use crate::server::{DEFAULT_TIMEOUT, Server, builder, check_length, timeout};
use crate::types::{ListenOpts, Peer, Socket, State};

/// What `unix_ss_create` allocates.
#[repr(C)]
struct Handle {
    public: Socket,
    server: Server,
}

/// See the header.
///
/// # Safety
///
/// As for the whole file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unix_ss_create(
    path: *const c_char,
    opts: *const ListenOpts,
    timeout_ms: c_long,
    server_socket: *mut *mut Socket,
) -> c_int {
    entry(|| {
        if server_socket.is_null() {
            return Err(Failure::null("server_socket"));
        }
        // SAFETY: not NULL, hence a place for a pointer.
        unsafe { server_socket.write(std::ptr::null_mut()) };
        // SAFETY: NULL or a string.
        let given = unsafe { string(path) }?;
        // SAFETY: NULL or options.
        let opts = unsafe { opts.as_ref() }.ok_or_else(|| Failure::null("opts"))?;
        let path = as_path(given);
        // Memory first: its lack must not cost the path anything.
        let (room, path_socket) = (Room::<Handle>::new()?, OwnCStr::copy(given)?);
        let builder = builder(path, *opts)?.lock_timeout(timeout(timeout_ms));
        let (server, fd_socket, st_socket) = Server::create(&builder, path)?;
        let public = Socket { path_socket: path_socket.into_raw(), st_socket, fd_socket };
        let handle = room.fill(Handle { public, server });
        // SAFETY: as above. The struct is the head of the handle (repr(C)).
        unsafe { server_socket.write(handle.cast()) };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
///
/// As for the whole file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unix_ss_free(server_socket: *mut Socket) {
    quietly((), || {
        if server_socket.is_null() {
            return;
        }
        // SAFETY: a handle of ours, and nobody uses it any more.
        let Handle { public, server } = unsafe { take_back(server_socket.cast::<Handle>()) };
        // SAFETY: from `unix_ss_create`, and now nobody's.
        drop(unsafe { OwnCStr::from_raw(public.path_socket) });
        server.close();
    });
}

/// See the header.
///
/// # Safety
///
/// As for the whole file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unix_ss_was_stolen(server_socket: *mut Socket) -> c_int {
    // SAFETY: NULL or a handle of ours.
    quietly(0, || unsafe { server(server_socket) }.map_or(0, |server| server.was_stolen().into()))
}

/// See the header.
///
/// # Safety
///
/// As for the whole file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unix_stream_connect(path: *const c_char, disallow_chdir: c_int) -> c_int {
    entry(|| {
        // SAFETY: NULL or a string.
        let path = as_path(unsafe { string(path) }?);
        check_length(path, disallow_chdir != 0)?;
        Ok(connect(path).map_err(|error| Failure::from(error).plain())?.into_raw_fd())
    })
}

/// See the header.
///
/// # Safety
///
/// As for the whole file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unix_stream_listen(path: *const c_char, opts: *const ListenOpts) -> c_int {
    entry(|| {
        // SAFETY: NULL or a string.
        let path = as_path(unsafe { string(path) }?);
        // SAFETY: NULL or options.
        let opts = unsafe { opts.as_ref() }.ok_or_else(|| Failure::null("opts"))?;
        let created = builder(path, *opts)?.lock_timeout(DEFAULT_TIMEOUT).create(path);
        Ok(created.map_err(|error| Failure::from(error).plain())?.into_listener().into_raw_fd())
    })
}

/// See the header.
///
/// # Safety
///
/// As for the whole file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unix_ss_probe(path: *const c_char, peer: *mut Peer) -> c_int {
    entry(|| {
        let tell = |who: Peer| {
            if !peer.is_null() {
                // SAFETY: not NULL, hence a place for a peer.
                unsafe { peer.write(who) };
            }
        };
        tell(Peer::UNKNOWN);
        // SAFETY: NULL or a string.
        let path = as_path(unsafe { string(path) }?);
        let state = match probe(path)? {
            PathState::Absent => State::Absent,
            PathState::Dead => State::Dead,
            PathState::Live { peer } => {
                tell(peer.map_or(Peer::UNKNOWN, Peer::from));
                State::Live
            }
            PathState::Busy => State::Busy,
            PathState::OtherType => State::OtherType,
            PathState::NotASocket { .. } => State::NotASocket,
            PathState::CannotTell { errno } => return Err(Failure::cannot_tell(path, errno)),
            _ => return Err(Failure::cannot_tell(path, libc::ENOTSUP)),
        };
        Ok(state as c_int)
    })
}

/// See the header.
///
/// # Safety
///
/// As for the whole file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unix_ss_drain(server_socket: *mut Socket) -> c_int {
    entry(|| {
        // SAFETY: NULL or a handle of ours.
        let server = unsafe { server(server_socket) }.ok_or_else(|| Failure::null("server_socket"))?;
        server.drain()
    })
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn unix_ss_strerror(result: c_int, error: c_int) -> *const c_char {
    quietly(UNKNOWN.as_ptr(), || describe(result, error))
}

/// Whatever happens in it, C sees a result and errno, and no unwinding.
fn entry(work: impl FnOnce() -> Result<c_int, Failure>) -> c_int {
    let _no_cancel = NoCancel::new();
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => result,
        Ok(Err(failure)) => failure.report(),
        Err(_) => Failure::panicked().report(),
    }
}

/// The same for functions that cannot fail, and leave errno alone.
fn quietly<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    let _no_cancel = NoCancel::new();
    let errno = errno::errno();
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise);
    errno::set_errno(errno);
    result
}

/// # Safety
///
/// NULL or a string, which lives as long as the result is used.
unsafe fn string<'a>(text: *const c_char) -> Result<&'a CStr, Failure> {
    if text.is_null() {
        return Err(Failure::null("path"));
    }
    // SAFETY: by our caller's word.
    Ok(unsafe { CStr::from_ptr(text) })
}

fn as_path(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

/// # Safety
///
/// NULL or a handle of ours that is not freed as long as the result is used.
unsafe fn server<'a>(server_socket: *mut Socket) -> Option<&'a Server> {
    if server_socket.is_null() {
        return None;
    }
    // SAFETY: by our caller's word; only the private part is borrowed.
    Some(unsafe { &(*server_socket.cast::<Handle>()).server })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_for_c_and_nothing_more() {
        // As if anything below had a bug. The hook's words on standard error are the harness's to show.
        assert_eq!(entry(|| panic!("a bug")), -1);
        assert_eq!(errno::errno().0, libc::ENOTRECOVERABLE);
        errno::set_errno(errno::Errno(libc::ELIBBAD));
        assert_eq!(quietly(7, || panic!("a bug")), 7);
        assert_eq!(errno::errno().0, libc::ELIBBAD);
    }
}
