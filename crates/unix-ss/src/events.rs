//! What the command tells of itself under `--verbose`, beside the library's events. Without a listener each is one
//! comparison: nothing is asked or written.

use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitStatus};
use tracing::{Level, enabled, info};
use unix_stream_server::peer_credentials;

pub(crate) fn client(client: &UnixStream) {
    if enabled!(target: "unix_ss::serve", Level::INFO) {
        let peer = peer_credentials(client).ok().flatten();
        let (pid, uid) = (peer.and_then(|peer| peer.pid), peer.map(|peer| peer.uid));
        info!(target: "unix_ss::serve", pid, uid, "accepted a client");
    }
}

pub(crate) fn prog_started(pid: Pid) {
    info!(target: "unix_ss::serve", pid = pid.as_raw_nonzero().get(), "started PROG");
}

pub(crate) fn prog_ended(pid: Pid, status: WaitStatus) {
    let pid = pid.as_raw_nonzero().get();
    let (status, signal) = (status.exit_status(), status.terminating_signal());
    info!(target: "unix_ss::serve", pid, status, signal, "PROG ended");
}

/// The same of one that has been activated.
pub(crate) fn prog_exited(pid: u32, status: ExitStatus) {
    info!(target: "unix_ss::serve", pid, status = status.code(), signal = status.signal(), "PROG ended");
}

pub(crate) fn signal(signal: Signal) {
    info!(target: "unix_ss::serve", signal = signal.as_raw(), "got a signal");
}

/// Nobody is queued any more; how many PROGs are still waited for.
pub(crate) fn queue_served(progs: usize) {
    info!(target: "unix_ss::serve", progs, "every queued client has its PROG");
}
