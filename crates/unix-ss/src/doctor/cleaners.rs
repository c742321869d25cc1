//! Programs that delete what is old.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::length::ADDRESS_MAX;
use super::patient::Patient;
use super::report::{Report, Severity};
use super::tmpfiles::{Rule, exclusion, rule_for};

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    judge(patient, &patient.path, report);
    if patient.home != patient.path {
        judge(patient, &patient.home, report);
    }
}

/// Of the path, and of what it leads to.
fn judge(patient: &Patient, given: &Path, report: &mut Report) {
    // As a cleaner comes to it.
    let real = given.parent().and_then(|parent| std::fs::canonicalize(parent).ok());
    let real = real.and_then(|parent| given.file_name().map(|name| parent.join(name)));
    let path = real.unwrap_or_else(|| given.to_owned());
    if let Some(Rule { file, path: directory, age }) = rule_for(&path) {
        let seen = is_seen(patient, &path);
        let directory = directory.display();
        let (severity, spares) = if seen {
            (Severity::Note, "it spares a socket whose server it sees in its own network namespace, and our locks")
        } else {
            (Severity::Warning, "and it would not see that a server lives there, which is bound by another name")
        };
        let why =
            format!("systemd-tmpfiles deletes what is older than {age} in {directory} ({}); {spares}", file.display());
        let remedy = format!(
            "exclude it by a file in /etc/tmpfiles.d that reads `{}`, or use another directory",
            exclusion(&path)
        );
        report.add(severity, "tmp-cleaner", given, why, remedy);
    }
    if let Some(temporary) = temporary_directory(&path) {
        let why = format!(
            "{} is for temporary files: they may go at the next boot, or by a cleaner (systemd-tmpfiles, tmpreaper, cron) \
             that knows no sockets",
            temporary.display()
        );
        let remedy = "use /run/NAME for daemons or $XDG_RUNTIME_DIR for users; or watch the path and heal it";
        report.note("temporary-directory", given, why, remedy);
    }
}

/// Does a cleaner that comes to this path see that a server lives there? It looks for it in `/proc/net/unix`.
fn is_seen(patient: &Patient, path: &Path) -> bool {
    let list = if patient.is_alive() { std::fs::read("/proc/net/unix").ok() } else { None };
    let Some(list) = list else {
        // One that is started here will be bound by this name, if it fits.
        return path.as_os_str().len() <= ADDRESS_MAX && path == patient.path;
    };
    let end = [b" ", path.as_os_str().as_bytes()].concat();
    list.split(|&byte| byte == b'\n').any(|line| line.ends_with(&end))
}

fn temporary_directory(path: &Path) -> Option<PathBuf> {
    let chosen = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let chosen = chosen.and_then(|dir| std::fs::canonicalize(dir).ok());
    let known = ["/tmp", "/var/tmp"].map(PathBuf::from);
    known.into_iter().chain(chosen).find(|dir| path.starts_with(dir))
}
