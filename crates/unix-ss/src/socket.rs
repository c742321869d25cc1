//! The server socket that the options ask for.

use unix_stream_server::{Builder, LockScope, ServerSocket};

use crate::cli::{Scope, Serve};
use crate::message::{failed, say};
use crate::{exit, users};

/// Creates the socket, or says why not and with which status to end.
pub(crate) fn create(args: &Serve) -> Result<ServerSocket, u8> {
    builder(args)?.create(&args.path).map_err(|error| {
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
