//! What stands at the path, and who gets in.

use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::process::geteuid;
use unix_stream_server::PathState;

use super::patient::Patient;
use super::report::Report;
use super::rights::{Rights, WRITE, Who, list};
use super::shell::{as_user, quote};
use super::surroundings::is_mount_point;
use crate::message::reason;

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    judge_link(patient, report);
    judge_state(patient, report);
    judge_rights(patient, report);
}

fn judge_link(patient: &Patient, report: &mut Report) {
    let Some(target) = &patient.inspection.target else { return };
    if matches!(patient.inspection.state, PathState::CannotTell { errno } if errno == Errno::LOOP.raw_os_error()) {
        return; // it leads nowhere, as the way has told
    }
    if patient.inspection.state == PathState::Absent {
        let why = format!("it is a symbolic link to {}, which is not there", target.display());
        let remedy =
            "start the server that it leads to, or remove the link, if there is none: no server is put at a link";
        report.error("symlink-dangling", &patient.path, why, remedy);
        return;
    }
    let why = format!(
        "it is a symbolic link to {}: clients follow it, and no server of this kind is put at it",
        target.display()
    );
    report.warning(
        "path-is-symlink",
        &patient.path,
        why,
        "give the server, and this command, the path that it leads to",
    );
}

fn judge_state(patient: &Patient, report: &mut Report) {
    let path = &patient.path;
    match patient.inspection.state {
        PathState::Absent if patient.inspection.target.is_none() => {
            report.note("absent", path, "nothing is there", "start the server, if there is to be one");
        }
        PathState::Dead if patient.is_kept_by_life_lock() => {
            let why = "nobody listens on the socket, and its life lock is held: its server prepares, or drains";
            report.warning("socket-dead", path, why, "wait, or see `life-lock-held`");
        }
        PathState::Dead if patient.swept.in_use => {
            let why = "a process has bound it and does not listen: no client gets in, a start takes it for dead and \
                replaces it, and `unix-ss clean` leaves it alone";
            let remedy =
                "wait, as it may be about to listen; if it stays so, find its program (ss -xap, as root) and end it";
            report.warning("socket-not-listening", path, why, remedy);
        }
        // As a container may have it: mounted from outside.
        PathState::Dead if is_mount_point(&patient.home) => {
            let why =
                "nobody listens on the socket, and it is a mount point: as such it can be neither removed nor replaced";
            let umount = as_user(0, &format!("umount {}", quote(&patient.home)));
            let remedy = format!("{umount}; a server's new socket has to be mounted anew");
            report.error("socket-dead", path, why, remedy);
        }
        PathState::Dead => {
            let why = "nobody listens on the socket: its server was killed, or ended without removing it";
            let remedy = format!("start the server again, which replaces it, or: {}", patient.clean());
            report.warning("socket-dead", path, why, remedy);
        }
        PathState::Busy => {
            let why = "a server lives there, and its backlog is full: whoever connects waits, or is turned away";
            report.warning("server-busy", path, why, "see why it does not accept, and give it a larger backlog");
        }
        PathState::OtherType => {
            let why = "a live datagram or seqpacket socket is there: no client of a stream server gets in";
            report.error("socket-of-another-type", path, why, "choose another path, or end its program");
        }
        PathState::NotASocket { kind } => {
            let why = format!("a {kind} is there, which no server of this kind replaces");
            report.error("not-a-socket", path, why, "choose another path, or move it away if nobody needs it");
        }
        PathState::CannotTell { errno } => cannot_tell(patient, errno, report),
        _ => {}
    }
    let euid = geteuid().as_raw();
    if patient.inspection.state == PathState::Dead && euid != 0 && patient.server != euid {
        let why = format!("the dead socket is of uid {}, and you may not be able to remove it", patient.server);
        report.warning(
            "socket-of-another-user",
            path,
            why,
            "let that user, or root, start the server or clean the path",
        );
    }
}

fn cannot_tell(patient: &Patient, errno: i32, report: &mut Report) {
    let (error, errno) = (reason(&io::Error::from_raw_os_error(errno)), Errno::from_raw_os_error(errno));
    if errno != Errno::NOTDIR {
        report.cannot_tell();
    }
    let (why, remedy) = match errno {
        // Nothing can be there, and the way has told why.
        Errno::NOTDIR | Errno::LOOP => return,
        Errno::ACCESS => (
            format!("you may not ask it: {error}"),
            "ask as the server's user, or as root; a mode without w keeps you out",
        ),
        Errno::CONNREFUSED => (
            "it refuses connections, but its server may live on another host or in another kernel".to_owned(),
            "see `file-system-not-local`; if nobody else serves there, remove it",
        ),
        _ => (format!("what is there cannot be looked at: {error}"), "see to that, and ask again"),
    };
    report.error("cannot-tell", &patient.path, why, remedy);
}

fn judge_rights(patient: &Patient, report: &mut Report) {
    let Some(socket) = &patient.socket else { return };
    let (path, mode, owner) = (&patient.path, socket.mode() & 0o7777, socket.uid());
    let rights = Rights::of(path, socket);
    let Some(who) = who_connects(&rights) else {
        let why = format!("mode {mode:04o} lets nobody connect but root: connecting takes the right to write");
        let remedy = as_user(owner, &format!("chmod u+w {}, or --mode 600", quote(path)));
        report.warning("socket-closed", path, why, remedy);
        return;
    };
    let by_acl = if rights.has_acl() { " and an access control list (getfacl)" } else { "" };
    let why = format!("mode {mode:04o}{by_acl}: {who} may connect");
    report.note("who-connects", path, why, "--mode, --group and --allow-uid of `unix-ss serve` say who is let in");
    if let Some(listener) = patient.inspection.listener_uid.filter(|&uid| uid != owner && uid != 0) {
        let why = format!("the socket's file is of uid {owner}, and uid {listener} listens on it");
        report.warning(
            "listener-of-another-user",
            path,
            why,
            "see who that is: `unix-ss status`; clients, --expect-uid",
        );
    }
}

/// Who may write to the socket. `None`: nobody, but root.
fn who_connects(rights: &Rights) -> Option<String> {
    let (may, mut not): (Vec<_>, Vec<_>) = rights.classes().partition(|(_, given)| given & WRITE != 0);
    let everybody = rights.of_others() & WRITE != 0;
    // A user whose own entry keeps him out stays out, whatever group he is of; root does not.
    not.retain(|&(who, _)| who != Who::User(0) && (everybody || matches!(who, Who::User(_))));
    let names = |classes: Vec<(Who, u16)>| classes.into_iter().map(|(who, _)| who).collect::<Vec<_>>();
    let (may, not) = (names(may), names(not));
    let but = if not.is_empty() { String::new() } else { format!(" (but not {})", list(&not, ", nor ")) };
    match may.as_slice() {
        _ if everybody => Some(format!("every user who gets to it{but}")),
        [] => None,
        [one] => Some(format!("{one}{but} and root")),
        _ => Some(format!("{}{but}, and root", list(&may, ", "))),
    }
}
