//! Servers that listen on a socket that was bound to the path, and has lost it.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::io::Errno;
use unix_stream_server::{LostListener, PathState, PeerCredentials, lost_listeners};

use super::patient::Patient;
use super::report::{Report, Severity};
use crate::status::program;

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    match lost_listeners(&patient.path) {
        Ok(lost) => lost.iter().for_each(|listener| judge(patient, listener, report)),
        Err(error) => {
            let unknown = "whether a server has lost the path cannot be told";
            let (why, remedy) = match Errno::from_raw_os_error(error.raw_os_error()) {
                Errno::ACCESS => ("you may not look at it", "ask as the server's user, or as root"),
                Errno::LOOP => ("symbolic links lead round in circles", "remove one of them"),
                Errno::OPNOTSUPP | Errno::PROTONOSUPPORT => {
                    ("the kernel gives no list of listeners", "load the module unix_diag")
                }
                _ => (error.reason(), "see to that, and ask again"),
            };
            report.note("listeners-unknown", &patient.path, format!("{unknown}: {why}"), remedy);
        }
    }
}

fn judge(patient: &Patient, listener: &LostListener, report: &mut Report) {
    if let Some(pid) = listener.holder.and_then(|holder| holder.pid).filter(|&pid| has_its_own(pid, patient)) {
        let why = format!(
            "process {pid} listens by this name in a mount namespace or root of its own, where its socket is at the path"
        );
        report.note(
            "other-mount-namespace",
            &patient.path,
            why,
            "nothing, if it is to serve there; else share the directory",
        );
        return;
    }
    let its = listener.holder.and_then(|holder| holder.pid);
    if let PathState::Live { peer: Some(PeerCredentials { pid: Some(pid), .. }) } = patient.inspection.state {
        if its == Some(pid) {
            let why = format!(
                "process {pid}, which serves here, still listens on a socket that was at this path before: whoever waits \
                 there is served only if it goes on to accept from that one too"
            );
            report.note(
                "server-lost-path",
                &patient.path,
                why,
                "nothing, if it does; else let its program close that socket",
            );
            return;
        }
    }
    let Some((pid, uid)) = listener.holder.and_then(|holder| holder.pid.map(|pid| (pid, holder.uid))) else {
        // It need not have lost anything: in a mount namespace or a root of its own it may have its own path of this name.
        let why = "a process that cannot be seen from here listens on a socket that was bound to a path of this name, and not \
            on what the path leads to: it has lost the path, or sees other directories than we do";
        report.note("server-lost-path", &patient.path, why, "ask as root, outside of any container");
        return;
    };
    // A service manager's, or of a container: not to be ended for a socket.
    let end = match pid {
        1 => "restart the socket unit that has it (systemctl list-sockets), or the container".to_owned(),
        pid => format!(
            "unless clients get to it by another path, since it was moved or a link on the way was changed, end it (kill {pid}, \
             and kill -CONT {pid} if it is stopped) and start it anew"
        ),
    };
    let name = program(pid).map_or_else(String::new, |name| format!(", {name}"));
    let why = format!(
        "process {pid} (uid {uid}{name}) still listens on a socket that was bound to this path, which leads elsewhere or nowhere by now: \
         no client gets to it by this path"
    );
    if patient.is_replaceable() && patient.is_alive() {
        let why = format!("{why}. It may be the one that was replaced and still serves its last clients");
        report.add(Severity::Note, "server-lost-path", &patient.path, why, format!("wait, or {end}"));
    } else {
        let remedy =
            format!("{end}; then find what deleted, moved or hid the socket: a cleaner, another server, a mount");
        report.add(Severity::Error, "server-lost-path", &patient.path, why, remedy);
    }
}

/// Does the process see another socket at the path than we do? Then it need not have lost anything.
fn has_its_own(pid: u32, patient: &Patient) -> bool {
    let Ok(below) = patient.path.strip_prefix("/") else { return false };
    let its = std::fs::symlink_metadata(Path::new(&format!("/proc/{pid}/root")).join(below));
    let id = |data: &Metadata| (data.dev(), data.ino());
    its.is_ok_and(|its| its.file_type().is_socket() && patient.socket.as_ref().map(id) != Some(id(&its)))
}
