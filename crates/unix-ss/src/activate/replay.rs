//! What a client had sent that hung up before PROG ran, to PROG: by a connection of our own that says the same.
//!
//! Only for a client of our own user: PROG judges clients by their user, and what another one sent would look like ours.
//! Nor does a thread of ours take his user on, though it could if we are root: he may then signal it, and a SIGKILL to
//! one thread ends the process. A group of his own it takes on. Process id and supplementary groups are not his, and
//! descriptors that he had sent along are closed.
//!
//! The connection goes by the path. Where that is not ours any more, whoever has it is not to hear what was meant for PROG,
//! but for a successor, as is allowed.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rustix::process::{Gid, Uid, getegid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid};
use unix_stream_server::{connect_timeout, peer_credentials};

use super::service::Service;
use crate::lost;
use crate::message::{reason, say};
use crate::prog::lacks_resources;
use crate::retry::try_within;

/// For a queue that is full just then, or when there is no descriptor; PROG is about to run.
const TIMEOUT: Duration = Duration::from_secs(30);
/// It needs little.
const STACK: usize = 128 * 1024;

/// A thread that waits for what it is to say. It is had before its client is accepted, who would be lost without one.
pub(super) struct Replay(Sender<Said>);

struct Said {
    client: UnixStream,
    gid: Gid,
    path: PathBuf,
    /// Held until it has connected, and so is queued, or is said to be lost.
    unconnected: Arc<()>,
}

impl Replay {
    pub(super) fn prepare() -> io::Result<Self> {
        let (sender, receiver) = channel();
        let work = move || {
            // Otherwise nobody had said anything.
            if let Ok(said) = receiver.recv() {
                repeat(said);
            }
        };
        std::thread::Builder::new().name("replay".to_owned()).stack_size(STACK).spawn(work)?;
        Ok(Replay(sender))
    }

    /// False if there is nothing that PROG is to be started for.
    pub(super) fn start(self, client: UnixStream, service: &mut Service) -> bool {
        let Some(gid) = whose(&client, service) else { return false };
        let path = service.path().to_owned();
        let unconnected = Arc::clone(&service.replays);
        self.0.send(Said { client, gid, path, unconnected }).is_ok()
    }
}

/// The group of a client whose words PROG may hear from us. If it is not to, that is said.
fn whose(client: &UnixStream, service: &mut Service) -> Option<Gid> {
    let status = service.has_lost_path();
    if status.is_some_and(|status| !lost::is_replaced(service.replaceable, Ok(status))) {
        say_lost(format_args!("{} is not ours any more", service.path().display()));
        return None;
    }
    match peer_credentials(client) {
        Ok(Some(peer)) if Uid::from_raw(peer.uid) == geteuid() => return Some(Gid::from_raw(peer.gid)),
        Ok(Some(peer)) => say_lost(format_args!("it was user {}, and PROG would take it for ours", peer.uid)),
        Ok(None) => say_lost(format_args!("its user is not known")),
        Err(error) => say_lost(format_args!("{}", reason(&error))),
    }
    None
}

fn say_lost(why: std::fmt::Arguments<'_>) {
    say(format_args!("a client sent something and hung up before PROG ran, and it is lost: {why}"));
}

fn repeat(Said { mut client, gid, path, unconnected }: Said) {
    let stream = connect_as(gid, &path);
    if stream.is_ok() {
        drop(unconnected);
    }
    let end = stream.and_then(|mut stream| {
        // It has hung up, so this comes to an end.
        io::copy(&mut client, &mut stream)?;
        stream.shutdown(Shutdown::Write)
    });
    end.unwrap_or_else(|error| say_lost(format_args!("{}", reason(&error))));
}

fn connect_as(gid: Gid, path: &Path) -> io::Result<UnixStream> {
    if gid != getegid() {
        // Of this thread alone, which ends with the replay.
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
    }
    try_within(TIMEOUT, |left| connect_timeout(path, left).map_err(io::Error::from), lacks_resources)
}
