//! Servers that listen on a socket that was bound to the path, and has lost it.

use unix_stream_server::{LostListener, lost_listeners};

use super::patient::Patient;
use super::report::{Report, Severity};
use crate::status::program;

/// On a socket's file: a successor may take the path over.
const REPLACEABLE: u32 = 0o1000;

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    match lost_listeners(&patient.path) {
        Ok(lost) => lost.iter().for_each(|listener| judge(patient, listener, report)),
        Err(error) => {
            let why = format!("whether a server has lost the path cannot be told: {}", error.reason());
            report.note("listeners-unknown", &patient.path, why, "mount /proc, and load the module unix_diag");
        }
    }
}

fn judge(patient: &Patient, listener: &LostListener, report: &mut Report) {
    let (who, end) = match listener.holder.and_then(|holder| holder.pid.map(|pid| (pid, holder.uid))) {
        Some((pid, uid)) => {
            let name = program(pid).map_or_else(String::new, |name| format!(", {name}"));
            (format!("process {pid} (uid {uid}{name})"), format!("end it (kill {pid})"))
        }
        None => ("a process that cannot be seen from here".to_owned(), "find it as root, end it".to_owned()),
    };
    let why = format!(
        "{who} still listens on a socket that was bound to this path, which leads elsewhere by now: no client gets to \
         it"
    );
    if patient.inspection.mode.is_some_and(|mode| mode & REPLACEABLE != 0) && patient.is_alive() {
        let why = format!("{why}. It may be the one that was replaced and still serves its last clients");
        report.add(Severity::Note, "server-lost-path", &patient.path, why, format!("wait, or {end}"));
    } else {
        let remedy = format!("{end} and start it anew; then find what deleted the socket, a cleaner or another server");
        report.add(Severity::Error, "server-lost-path", &patient.path, why, remedy);
    }
}
