//! Programs that delete what is old.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::length::ADDRESS_MAX;
use super::patient::Patient;
use super::report::{Report, Severity};
use super::tmpfiles::{Rule, Scope, resolve, rules_for};

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    judge(patient, &patient.path, report);
    if patient.home != patient.path {
        judge(patient, &patient.home, report);
    }
}

/// Of the path, and of what it leads to.
fn judge(patient: &Patient, given: &Path, report: &mut Report) {
    let path = match (given.parent(), given.file_name()) {
        (Some(parent), Some(name)) => resolve(parent).join(name),
        _ => given.to_owned(),
    };
    let mut rules = rules_for(&path, Scope::System);
    // Another user's directories are not ours to look for.
    if patient.server == geteuid().as_raw() {
        rules.extend(rules_for(&path, Scope::User));
    }
    let judged = rules.iter().map(|rule| (spares(patient, rule), rule));
    // The worst is told: one that spares nothing, and for sure.
    if let Some((spares, rule)) = judged.min_by_key(|(spares, rule)| (spares.is_some(), !rule.is_sure)) {
        tell(rule, spares, given, report);
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

fn tell(rule: &Rule, spares: Option<&str>, given: &Path, report: &mut Report) {
    let severity = if spares.is_some() { Severity::Note } else { Severity::Warning };
    let why = format!(
        "systemd-tmpfiles{} {} what is older than {} in {} ({}{}); {}",
        if rule.scope == Scope::User { " --user" } else { "" },
        if rule.is_sure { "deletes" } else { "may delete" },
        rule.age,
        rule.directory.display(),
        rule.file.display(),
        if rule.is_sure { "" } else { ", where not every line can be judged from here" },
        spares.map_or_else(
            || format!(
                "as {} it would not see that a server lives there, which is bound by another name",
                rule.name.display()
            ),
            |spared| format!("it spares {spared}, and our locks")
        )
    );
    let what = if rule.first == rule.name {
        "exclude it".to_owned()
    } else {
        format!("exclude {}, so that the directories on the way stay when no server is there,", rule.first.display())
    };
    let remedy = format!(
        "{what} by a file in {} that reads `{}`, or use another directory",
        rule.scope.own_directory().display(),
        rule.exclusion()
    );
    report.add(severity, "tmp-cleaner", given, why, remedy);
}

/// What keeps the cleaner from deleting the socket. It looks for a server in `/proc/net/unix`, by the name it comes by.
fn spares(patient: &Patient, rule: &Rule) -> Option<&'static str> {
    if fs::symlink_metadata(&rule.name).is_ok_and(|data| !data.is_dir() && data.mode() & 0o1000 != 0) {
        return Some("what has the sticky bit, as the socket here");
    }
    let list = if patient.is_alive() { fs::read("/proc/net/unix").ok() } else { None };
    let is_seen = match list {
        Some(list) => list.split(|&byte| byte == b'\n').filter_map(bound_name).any(|name| name == rule.name),
        // One that is started here will be bound by this name, if it fits.
        None => patient.path == rule.name && rule.name.as_os_str().len() <= ADDRESS_MAX,
    };
    is_seen.then_some("a socket whose server it sees in its own network namespace")
}

/// The eighth word of a line, which may have spaces.
fn bound_name(line: &[u8]) -> Option<&Path> {
    let mut rest = line;
    for _ in 0..7 {
        let word = rest.trim_ascii_start();
        rest = word.get(word.iter().position(|&byte| byte == b' ')?..)?;
    }
    Some(Path::new(OsStr::from_bytes(rest.trim_ascii_start())))
}

fn temporary_directory(path: &Path) -> Option<PathBuf> {
    let chosen = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let chosen = chosen.and_then(|dir| fs::canonicalize(dir).ok());
    let known = ["/tmp", "/var/tmp"].map(PathBuf::from);
    known.into_iter().chain(chosen).find(|dir| path.starts_with(dir))
}
