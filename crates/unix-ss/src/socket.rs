//! The server socket that the options ask for, and the word that it is there.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use unix_stream_server::{Builder, LockScope, PathState, PeerCredentials, ServerSocket, inspect, notify};

use crate::cli::{Scope, Serve};
use crate::identity::Identity;
use crate::message::{failed, reason, say};
use crate::{exit, fenced, users};

/// Who waits to hear that we listen: `--ready-fd`. Without a word, an end of file tells that it came to nothing.
pub(crate) struct Ready {
    fd: Option<OwnedFd>,
    /// We may have taken over from the process that the service manager knows.
    replaces: bool,
}

impl Ready {
    /// To be called first of all: see [`fenced::inherited`].
    pub(crate) fn take(args: &Serve) -> Result<Self, u8> {
        let replaces = args.replace;
        let Some(number) = args.ready_fd else { return Ok(Ready { fd: None, replaces }) };
        match fenced::inherited(number) {
            Ok(fd) => Ok(Ready { fd: Some(fd), replaces }),
            Err(error) => Err(failed(format_args!(
                "cannot use descriptor {number} for --ready-fd: {}; open it, as in `{number}>ready`",
                reason(&error)
            ))),
        }
    }

    /// A newline, and the end of the file; and the service manager is told.
    pub(crate) fn announce(self) {
        let states = [notify::State::Ready, notify::State::MainPid(std::process::id())];
        told(notify::send(if self.replaces { &states } else { &states[..1] }));
        let Some(fd) = self.fd else { return };
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

/// Tells the service manager, if there is one, that the end has begun.
pub(crate) fn announce_end() {
    told(notify::stopping());
}

/// The same of a server that has been replaced: the service goes on with another process, which is named where the kernel
/// tells which.
pub(crate) fn announce_successor(path: &Path) {
    // Only if there is a manager: the question may reach the successor as a client that leaves at once.
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let successor = match inspect(path).map(|inspection| inspection.state) {
        Ok(PathState::Live { peer: Some(PeerCredentials { pid: Some(pid), .. }) }) => pid,
        _ => return,
    };
    told(notify::main_pid(successor));
}

/// The clients matter more than the one who was to be told.
fn told(result: unix_stream_server::Result<bool>) {
    if let Err(error) = result {
        say(format_args!("{error}; serving all the same"));
    }
}

/// Creates the socket, or says why not and with which status to end.
pub(crate) fn create(args: &Serve) -> Result<ServerSocket, u8> {
    builder(args)?.create(&args.path).map_err(|error| {
        say(&error);
        exit::of_server(&error)
    })
}

/// The socket that the options ask for.
pub(crate) fn builder(args: &Serve) -> Result<Builder, u8> {
    let mut builder = ServerSocket::builder().mode(args.socket.mode).lock_timeout(args.lock_timeout);
    if let Some(clients) = args.socket.backlog {
        builder = builder.backlog(clients);
    }
    if let Some(owner) = &args.socket.owner {
        builder = builder.owner(users::uid(owner).map_err(|why| no_such("--owner", &why))?);
    }
    if let Some(group) = &args.socket.group {
        builder = builder.group(users::gid(group).map_err(|why| no_such("--group", &why))?);
    }
    if matches!(args.lock_scope, Scope::Lifetime) {
        builder = builder.lock_scope(LockScope::Lifetime);
    }
    Ok(builder.replaceable(args.replaceable || args.replace).take_over(args.replace))
}

fn no_such(option: &str, why: &str) -> u8 {
    failed(format_args!("cannot use {option}: {why}"))
}
