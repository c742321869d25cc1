//! The server socket that the options ask for, and the word that it is there.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use unix_stream_server::{LockScope, ServerSocket};

use crate::cli::{Scope, Serve};
use crate::identity::Identity;
use crate::message::{reason, say};
use crate::{exit, fenced, users};

/// Who waits to hear that we listen: `--ready-fd`. Without a word, an end of file tells that it came to nothing.
pub(crate) struct Ready(Option<OwnedFd>);

impl Ready {
    /// To be called first of all: see [`fenced::inherited`].
    pub(crate) fn take(args: &Serve) -> Result<Self, u8> {
        let Some(number) = args.ready_fd else { return Ok(Ready(None)) };
        match fenced::inherited(number) {
            Ok(fd) => Ok(Ready(Some(fd))),
            Err(error) => {
                say(format_args!(
                    "cannot use descriptor {number} for --ready-fd: {}; open it, as in `{number}>ready`",
                    reason(&error)
                ));
                Err(exit::FAILED)
            }
        }
    }

    /// A newline, and the end of the file.
    pub(crate) fn announce(self) {
        let Some(fd) = self.0 else { return };
        if let Err(error) = File::from(fd).write_all(b"\n") {
            // The clients matter more than the one who was to be told.
            say(format_args!("cannot write to the descriptor of --ready-fd: {}; serving all the same", reason(&error)));
        }
    }
}

/// Who PROG is to be; to be called before there is a socket.
pub(crate) fn identity(args: &Serve) -> Result<Option<Identity>, u8> {
    let identity = args.run_as.as_deref().map(Identity::find).transpose();
    identity.map_err(|why| no_such("--run-as", &why))
}

/// Creates the socket, or says why not and with which status to end.
pub(crate) fn create(args: &Serve) -> Result<ServerSocket, u8> {
    let mut builder = ServerSocket::builder().mode(args.mode).lock_timeout(args.lock_timeout);
    if let Some(clients) = args.backlog {
        builder = builder.backlog(clients);
    }
    if let Some(owner) = &args.owner {
        builder = builder.owner(users::uid(owner).map_err(|why| no_such("--owner", &why))?);
    }
    if let Some(group) = &args.group {
        builder = builder.group(users::gid(group).map_err(|why| no_such("--group", &why))?);
    }
    if matches!(args.lock_scope, Scope::Lifetime) {
        builder = builder.lock_scope(LockScope::Lifetime);
    }
    builder.create(&args.path).map_err(|error| {
        say(&error);
        exit::of_server(&error)
    })
}

fn no_such(option: &str, why: &str) -> u8 {
    say(format_args!("cannot use {option}: {why}"));
    exit::FAILED
}
