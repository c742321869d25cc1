//! Clients: connecting to a path of any length, in bounded time.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs;
use rustix::io::Errno;
use rustix::net::{self, SocketAddrUnix, SocketType, sockopt};

use crate::FileKind;
use crate::error::{Error, ErrorKind, Result};
use crate::place::{ADDRESS_MAX, check};
use crate::sys::{Stat, long_address, new_socket, uninterrupted};

pub(crate) const CONNECT: &str = "connect to";

/// How often a refused path that has changed hands is tried again.
const ATTEMPTS: usize = 100;

/// Connects to the server at a path of any length, following symbolic links.
///
/// On a full backlog it waits for as long as that takes: see [`connect_timeout`]. (Only on Linux: elsewhere a full backlog
/// refuses, `ECONNREFUSED`, like a dead socket. And there a path has to fit an address.)
///
/// # Errors
///
/// `ENOENT` if nothing is there, `ECONNREFUSED` if nobody listens, [`NotASocket`](ErrorKind::NotASocket) if it is no
/// socket, `EACCES` without write permission for it, `EPROTOTYPE` for a socket of another type.
///
/// # Race condition
///
/// A server that is replaced between the look-up of its name and the connection refuses, although its successor would
/// have answered. A refusal is believed only if the path led to the same file before and after it.
pub fn connect(path: impl AsRef<Path>) -> Result<UnixStream> {
    connect_until(path.as_ref(), None)
}

/// Connects like [`connect()`], within a time; zero: only if it can be done at once.
///
/// # Errors
///
/// Those of [`connect()`], and [`TimedOut`](ErrorKind::TimedOut) (`ETIMEDOUT`) if the backlog was full all the time.
pub fn connect_timeout(path: impl AsRef<Path>, timeout: Duration) -> Result<UnixStream> {
    // A time beyond the clock's end is for ever.
    connect_until(path.as_ref(), Instant::now().checked_add(timeout))
}

pub(crate) fn connect_until(path: &Path, deadline: Option<Instant>) -> Result<UnixStream> {
    check(path, CONNECT)?;
    let failed = |errno| match errno {
        Errno::NOENT => nobody("nothing is there; start its server", path, errno),
        errno => Error::system(CONNECT, path, "connect", errno),
    };
    let mut refused: Option<Stat> = None;
    for _ in 0..ATTEMPTS {
        match attempt(path, deadline) {
            Ok(stream) => return Ok(UnixStream::from(stream)),
            Err(Errno::CONNREFUSED) => {}
            Err(Errno::AGAIN) => {
                let why = "its backlog was full all the time; the server may be stuck or overloaded";
                return Err(Error::new(ErrorKind::TimedOut, CONNECT, path, Errno::TIMEDOUT, why));
            }
            Err(errno) => return Err(failed(errno)),
        }
        let now = fs::stat(path).map(|stat| Stat::from(&stat)).map_err(failed)?;
        if now.kind != FileKind::Socket {
            return Err(Error::refused(CONNECT, path, crate::PathState::NotASocket { kind: now.kind }));
        }
        if refused.replace(now) == Some(now) {
            break;
        }
    }
    Err(nobody("connection refused: nobody listens on it; start its server", path, Errno::CONNREFUSED))
}

fn nobody(why: &str, path: &Path, errno: Errno) -> Error {
    Error::new(ErrorKind::System, CONNECT, path, errno, why)
}

fn attempt(path: &Path, deadline: Option<Instant>) -> Result<OwnedFd, Errno> {
    if path.as_os_str().as_bytes().len() <= ADDRESS_MAX {
        return connect_address(&SocketAddrUnix::new(path)?, deadline);
    }
    // Too long for an address.
    let (address, _pin) = long_address(path)?;
    match connect_address(&address, deadline) {
        // The pin holds the file, so what is missing is /proc.
        Err(Errno::NOENT | Errno::NOTDIR) => Err(Errno::NAMETOOLONG),
        result => result,
    }
}

fn connect_address(address: &SocketAddrUnix, deadline: Option<Instant>) -> Result<OwnedFd, Errno> {
    match deadline {
        None => {
            let socket = new_socket(SocketType::STREAM, true)?;
            // However many signals come: the caller waits for as long as it takes.
            while let Err(errno) = net::connect(&socket, address) {
                if errno != Errno::INTR {
                    return Err(errno);
                }
            }
            Ok(socket)
        }
        Some(deadline) => connect_before(address, deadline),
    }
}

fn connect_before(address: &SocketAddrUnix, deadline: Instant) -> Result<OwnedFd, Errno> {
    let time_left = || deadline.saturating_duration_since(Instant::now());
    if time_left().is_zero() {
        let socket = new_socket(SocketType::STREAM, false)?;
        uninterrupted(|| net::connect(&socket, address))?;
        rustix::io::ioctl_fionbio(&socket, false)?;
        return Ok(socket);
    }
    let socket = new_socket(SocketType::STREAM, true)?;
    loop {
        // SO_SNDTIMEO bounds a blocking connect (socket(7)); a non-blocking one cannot be polled. It counts anew after
        // each signal, so it gets what is left.
        let left = time_left();
        if left.is_zero() {
            return Err(Errno::AGAIN);
        }
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left))?;
        match net::connect(&socket, address) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(()) => break,
        }
    }
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, None)?;
    Ok(socket)
}
