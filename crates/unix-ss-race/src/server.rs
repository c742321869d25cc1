//! A server of any strategy, as the workers use it.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use unix_stream_server::{Claim, Error, ErrorKind, LockScope, Ownership, ServerSocket, Status};

use crate::by_hand::{ByHand, Refusal, accept_all, accept_one};
use crate::history::Word;
use crate::recipe::Recipe;

/// How a server gets its path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Library,
    Recipe(Recipe),
}

/// What it is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) mode: u32,
    pub(crate) life: bool,
    pub(crate) backlog: Option<u32>,
    pub(crate) timeout: Duration,
    /// The library: claims first and listens then.
    pub(crate) claims: bool,
    /// The library: listener and ownership apart.
    pub(crate) parts: bool,
    /// A successor may take over from it.
    pub(crate) replaceable: bool,
    /// It takes over from a live server that may be replaced.
    pub(crate) takes_over: bool,
}

#[derive(Debug)]
pub(crate) enum Server {
    Library(ServerSocket),
    Parts(UnixListener, Ownership),
    ByHand(ByHand),
}

impl Server {
    pub(crate) fn create(way: Way, path: &Path, wish: Wish) -> Result<Server, Word> {
        let Wish { mode, life, backlog, timeout, claims, parts, replaceable, takes_over } = wish;
        match way {
            Way::Library => {
                let mut builder = ServerSocket::builder().mode(mode).lock_timeout(timeout);
                builder = builder.replaceable(replaceable).take_over(takes_over);
                if life {
                    builder = builder.lock_scope(LockScope::Lifetime);
                }
                if let Some(clients) = backlog {
                    builder = builder.backlog(clients);
                }
                let server = if claims { builder.claim(path).and_then(Claim::listen) } else { builder.create(path) };
                let server = server.map_err(|error| of_error(&error))?;
                if !parts {
                    return Ok(Server::Library(server));
                }
                match server.into_parts() {
                    Ok((listener, ownership)) => Ok(Server::Parts(listener, ownership)),
                    // Deleted from outside already.
                    Err(error) => Ok(Server::Library(*error.server)),
                }
            }
            Way::Recipe(recipe) => ByHand::create(path, recipe, wish).map(Server::ByHand).map_err(of_refusal),
        }
    }

    pub(crate) fn set_nonblocking(&self) {
        let _ = match self {
            Server::Library(server) => server.set_nonblocking(true),
            Server::Parts(listener, _) => listener.set_nonblocking(true),
            Server::ByHand(server) => server.listener.set_nonblocking(true),
        };
    }

    /// The next client, if one is queued.
    pub(crate) fn accept(&self) -> Option<UnixStream> {
        accept_one(self)
    }

    /// Ends, and serves who is queued; says what was at the path.
    pub(crate) fn drain(self, mut serve: impl FnMut(UnixStream)) -> Word {
        let drain = match self {
            Server::Library(server) => server.drain(),
            Server::Parts(listener, ownership) => ownership.drain(listener),
            Server::ByHand(server) => {
                let (status, listener) = server.end();
                if let Some(listener) = listener {
                    accept_all(&listener, serve);
                }
                return status.map_or_else(of_refusal, of_status);
            }
        };
        let mut drain = match drain {
            Ok(drain) => drain,
            Err(error) => return of_error(&error),
        };
        for client in drain.by_ref() {
            match client {
                Ok(client) => serve(client),
                Err(_) => std::thread::sleep(Duration::from_millis(1)), // no descriptors: that passes
            }
        }
        drain.status().map_or_else(of_error, of_status)
    }

    /// Ends at once.
    pub(crate) fn close(self) -> Word {
        let status = match self {
            Server::Library(server) => server.close(),
            Server::Parts(listener, ownership) => {
                let status = ownership.close();
                drop(listener);
                status
            }
            Server::ByHand(server) => return server.end().0.map_or_else(of_refusal, of_status),
        };
        status.map_or_else(|error| of_error(&error), of_status)
    }

    /// Ends without a word.
    pub(crate) fn drop(self) {
        match self {
            Server::Library(server) => drop(server),
            Server::Parts(listener, ownership) => {
                drop(ownership);
                drop(listener);
            }
            server @ Server::ByHand(_) => drop(server.close()),
        }
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Server::Library(server) => server.as_fd(),
            Server::Parts(listener, _) => listener.as_fd(),
            Server::ByHand(server) => server.listener.as_fd(),
        }
    }
}

fn of_status(status: Status) -> Word {
    match status {
        Status::Ours => Word::StillOurs,
        Status::Gone => Word::Gone,
        Status::Replaced => Word::Replaced,
        _ => Word::Unknown,
    }
}

pub(crate) fn of_error(error: &Error) -> Word {
    let errno = Errno::from_raw_os_error(error.raw_os_error());
    match error.kind() {
        ErrorKind::InUse => Word::InUse,
        ErrorKind::Locked | ErrorKind::System | ErrorKind::CannotTell
            if matches!(errno, Errno::ACCESS | Errno::PERM) =>
        {
            Word::Denied
        }
        ErrorKind::Locked => Word::Locked,
        ErrorKind::NotASocket => Word::NotASocket,
        ErrorKind::CannotTell => Word::CannotTell,
        ErrorKind::Moved => Word::Moved,
        _ => {
            // None that the checker excuses, and the word alone would not say what it was.
            eprintln!("{error}");
            Word::Failed
        }
    }
}

fn of_refusal(refusal: Refusal) -> Word {
    match refusal {
        Refusal::InUse => Word::InUse,
        Refusal::Locked => Word::Locked,
        Refusal::NotASocket => Word::NotASocket,
        Refusal::Other(Errno::ACCESS | Errno::PERM) => Word::Denied,
        Refusal::Other(_) => Word::Failed,
    }
}
