//! The server socket that the options ask for.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::io::Errno;
use unix_stream_server::{Builder, ErrorKind, LockScope, ServerSocket};

use crate::cli::{Scope, Serve};
use crate::message::{failed, say};
use crate::{exit, users};

/// Creates the socket, or says why not and with which status to end. Told to end while it waits for the lock, it ends well,
/// as a server does. (Told a moment later it has the socket, and whoever has called it ends that.)
pub(crate) fn create(args: &Serve, told_to_end: Arc<AtomicBool>) -> Result<ServerSocket, u8> {
    builder(args)?.lock_interrupt(told_to_end).create(&args.path).map_err(|error| {
        if error.raw_os_error() == Errno::INTR.raw_os_error() && error.kind() == ErrorKind::Locked {
            return exit::DONE;
        }
        say(&error);
        exit::of_server(&error)
    })
}

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
    Ok(builder.replaceable(args.is_replaceable()).take_over(args.replace))
}

fn no_such(option: &str, why: &str) -> u8 {
    failed(format_args!("cannot use {option}: {why}"))
}
