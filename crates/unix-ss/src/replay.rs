//! What a client had sent that hung up before PROG ran, to PROG: by a connection of our own that says the same.
//!
//! A thread makes it, with the client's user and group, so that PROG judges it by these; where we may not become that
//! user, what he sent is not passed on, since it would look like ours. Process id and supplementary groups are not his,
//! and descriptors that he had sent along are closed.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use unix_stream_server::{connect_timeout, peer_credentials};

use crate::message::{reason, say};

/// For a queue that is full just then; PROG is about to run.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn start(client: UnixStream, path: PathBuf) {
    let work = move || {
        if let Err(error) = replay(&client, &path) {
            say(format_args!(
                "a client sent something and hung up before PROG ran, and it is lost: {}",
                reason(&error)
            ));
        }
    };
    if let Err(error) = std::thread::Builder::new().spawn(work) {
        say(format_args!("a client sent something and hung up before PROG ran, and it is lost: {}", reason(&error)));
    }
}

fn replay(mut client: &UnixStream, path: &std::path::Path) -> io::Result<()> {
    let peer = peer_credentials(client)?.ok_or(io::ErrorKind::PermissionDenied)?;
    let (uid, gid) = (Uid::from_raw(peer.uid), Gid::from_raw(peer.gid));
    if (uid, gid) != (geteuid(), getegid()) {
        // Of this thread alone, which ends with the replay.
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    let mut stream = connect_timeout(path, TIMEOUT)?;
    // It has hung up, so this comes to an end.
    io::copy(&mut client, &mut stream)?;
    stream.flush()?;
    stream.shutdown(Shutdown::Write)
}
