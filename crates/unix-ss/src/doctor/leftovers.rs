//! The locks beside the path, and what killed servers and starters have left there.

use std::ffi::OsStr;
use std::fs::{Metadata, symlink_metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::geteuid;
use unix_stream_server::{Leftover, LockState};

use super::held::{holder, tried_holder};
use super::patient::{Found, Patient};
use super::report::{Report, Severity};
use super::shell::{as_user, quote};
use crate::message::reason;

const AGAIN: Duration = Duration::from_millis(100);

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    let (lock, others) = (patient.lock(), [".owner", ".start"].map(|suffix| patient.beside(suffix)));
    let twice = Twice::look(patient, [&lock].into_iter().chain(&others));
    judge_lock(patient, &lock, twice.stays(&lock, |now| now.inspection.lock == patient.inspection.lock), report);
    for lock in others.iter().filter(|lock| twice.stays(lock, |_| true)) {
        judge_other_lock(patient, lock, report);
    }
    for found in &patient.swept.found {
        if twice.stays(&found.path, |now| now.swept.found.contains(found)) {
            judge_found(patient, found, report);
        }
    }
    judge_temporary(patient, report);
    // What looked for leftovers ended at a socket that is not to be touched, before the lock that says so.
    let is_told = patient.swept.found.iter().any(|found| found.what == Leftover::LifeLock);
    if patient.is_kept_by_life_lock() && !is_told {
        judge_held_life_lock(&patient.beside(".owner"), report);
    }
}

/// A start that is under way has its locks for less than a millisecond, and between two of its steps they look like some that
/// were left. So what is there counts if it is there a moment later: the same files, in the same state.
struct Twice {
    before: Vec<(PathBuf, FileId)>,
    now: Option<Patient>,
}

/// By its number and its last change: numbers are soon used again.
type FileId = (u64, u64, i64, i64);

fn id(path: &Path) -> Option<FileId> {
    let data = symlink_metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.ctime(), data.ctime_nsec()))
}

impl Twice {
    fn look<'a>(patient: &'a Patient, locks: impl Iterator<Item = &'a PathBuf>) -> Self {
        let all = locks.chain(patient.swept.found.iter().map(|found| &found.path));
        let before: Vec<_> = all.filter_map(|path| Some((path.clone(), id(path)?))).collect();
        // Where there is none, nobody is asked once more.
        let now = if before.is_empty() {
            None
        } else {
            std::thread::sleep(AGAIN);
            Patient::new(&patient.given).ok()
        };
        Twice { before, now }
    }

    fn stays(&self, path: &Path, is_same: impl FnOnce(&Patient) -> bool) -> bool {
        let mut before = self.before.iter().filter(|(other, _)| other == path);
        before.any(|(_, before)| id(path) == Some(*before)) && self.now.as_ref().is_some_and(is_same)
    }
}

fn judge_lock(patient: &Patient, lock: &Path, stays: bool, report: &mut Report) {
    match patient.inspection.lock {
        LockState::Held { pid, uid } => {
            let (who, end) = match pid {
                Some(pid) => {
                    (format!("process {pid}"), format!("end it: kill {pid}, and kill -CONT {pid} if it is stopped"))
                }
                None => {
                    let who = format!("a process that cannot be seen (uid {uid})");
                    (who, "ask as root, outside of any container, who it is, and end it".to_owned())
                }
            };
            let why = format!("{who} is changing the path, or is stuck in it: others wait up to their timeout");
            let remedy = format!("ask again; if it stays, {end}; the next start takes the lock over");
            // Whoever prepares under a claim has it for long.
            report.add(if stays { Severity::Warning } else { Severity::Note }, "lock-held", lock, why, remedy);
        }
        LockState::Left { .. } | LockState::Foreign { .. } if !stays => {}
        LockState::Left { uid } if patient.may_open(uid) => {
            let why = "a starter of ours was killed while it held the lock; the next start takes it over";
            report.warning("lock-left", lock, why, format!("nothing, or {}", as_user(uid, &patient.clean())));
        }
        LockState::Left { uid } => left_by_another(patient, lock, uid, Severity::Error, report),
        LockState::Foreign { uid } => foreign(patient, lock, uid, report),
        LockState::Unknown { errno } => unknown(lock, Errno::from_raw_os_error(errno), report),
        _ => {}
    }
}

fn unknown(lock: &Path, errno: Errno, report: &mut Report) {
    let unknown = "the lock cannot be looked at";
    match errno {
        // Where there is no directory, there is no lock; and of what is on the way is told.
        Errno::NOTDIR | Errno::LOOP => {}
        Errno::ACCESS => report.warning("lock-unknown", lock, unknown, "ask as the server's user, or as root"),
        errno => {
            let why = format!("{unknown}: {}", reason(&io::Error::from(errno)));
            report.warning("lock-unknown", lock, why, "see to that, and ask again");
        }
    }
}

/// Only its owner, and root, can open a lock of ours.
fn left_by_another(patient: &Patient, lock: &Path, uid: u32, severity: Severity, report: &mut Report) {
    let user = patient.server;
    let why = format!("uid {uid} has left it, and uid {user} may not open it: {}", kept_out(lock));
    let remedy = format!("let {}root do it: {}", by(patient, uid), patient.clean());
    report.add(severity, "lock-left-by-another-user", lock, why, remedy);
}

/// The owner of a file can only remove it if its directory lets him.
fn by(patient: &Patient, owner: u32) -> &'static str {
    if patient.lets(owner) { "that user, or " } else { "" }
}

/// Who is, by a lock that is not had.
fn kept_out(lock: &Path) -> &'static str {
    match lock.extension().and_then(OsStr::to_str) {
        Some("owner") => "a server with a life lock (--lock-scope lifetime) does not start as long as it exists",
        Some("start") => "no client starts a server here as long as it exists",
        _ => "it counts as held as long as it exists",
    }
}

fn foreign(patient: &Patient, lock: &Path, uid: u32, report: &mut Report) {
    let kept_out = kept_out(lock);
    // Without the path's own lock nobody starts.
    let is_others = lock.extension().is_some_and(|end| end == "owner" || end == "start");
    let data = symlink_metadata(lock).ok();
    let linked = data.as_ref().is_some_and(|data| is_marked(data) && data.nlink() > 1);
    let severity = match patient.is_alive() {
        // As a rule that server's own, if it is none of this kind.
        true if !linked && uid == patient.server && !patient.is_replaceable() => Severity::Note,
        false if !is_others => Severity::Error,
        _ => Severity::Warning,
    };
    let others = format!(
        "remove the other links (as find {} -samefile {} finds them)",
        quote(lock.parent().unwrap_or(lock)),
        quote(lock)
    );
    // What somebody holds is not to be removed.
    if let Some(holder) = tried_holder(lock) {
        let who = holder.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
        if linked {
            let why = format!("{who} holds it, and somebody has made a second link: once it is left, {kept_out}");
            report.add(
                severity,
                "lock-linked",
                lock,
                why,
                format!("leave the name by which that process has it; {others}"),
            );
            return;
        }
        let why = format!(
            "{who} holds it, and it has not the mark of our locks: of another program, or on a file system that drops the \
             sticky bit, where the locks of the killed stay; {kept_out}"
        );
        let remedy = "leave it; if it is of no other program, use a file system that keeps all of a mode";
        report.add(severity, "lock-unmarked", lock, why, remedy.to_owned());
        return;
    }
    if linked {
        let why = format!(
            "it is one of our locks, to which somebody has made a second link, so that no start takes it over: {kept_out}"
        );
        report.add(severity, "lock-linked", lock, why, format!("{others}, or, if no server is starting, this one"));
    } else if data.is_some_and(|data| !data.is_file()) {
        let why = format!("it is no lock and no regular file, and {kept_out}");
        let remedy = "choose another path, or move it away if nobody needs it";
        report.add(severity, "lock-foreign", lock, why, remedy.to_owned());
    } else {
        let why = format!("it was made by another program (git, say) of uid {uid}, and {kept_out}");
        let remedy = if patient.lets(geteuid().as_raw()) {
            "if no such program runs, remove it"
        } else {
            "if no such program runs, let the owner of the directory, or root, remove it"
        };
        report.add(severity, "lock-foreign", lock, why, remedy.to_owned());
    }
}

/// The life lock and the start lock: only whether they are ours.
fn judge_other_lock(patient: &Patient, lock: &Path, report: &mut Report) {
    let Ok(data) = symlink_metadata(lock) else { return };
    if !is_marked(&data) || data.nlink() > 1 {
        foreign(patient, lock, data.uid(), report);
    }
}

/// Ours: see `unix_stream_server`'s DESIGN.md.
fn is_marked(data: &Metadata) -> bool {
    data.is_file() && data.len() == 0 && matches!(data.mode() & 0o7777, 0o1400 | 0o1000)
}

fn judge_found(patient: &Patient, Found { path, what, is_left }: &Found, report: &mut Report) {
    let is_start_lock = path.extension().is_some_and(|extension| extension == "start");
    let owner = symlink_metadata(path).map_or(patient.server, |data| data.uid());
    let clean = as_user(owner, &patient.clean());
    match (what, is_left) {
        (Leftover::LifeLock, true) | (Leftover::Lock, true)
            if !patient.may_open(owner) && (is_start_lock || *what == Leftover::LifeLock) =>
        {
            left_by_another(patient, path, owner, Severity::Warning, report);
        }
        (Leftover::Lock, true) if is_start_lock => {
            let why = "a starter on demand was killed while it held it; the next one takes it over";
            report.warning("start-lock-left", path, why, format!("nothing, or: {clean}"));
        }
        (Leftover::LifeLock, true) => {
            let why = "a server with --lock-scope lifetime was killed, or could not remove its socket; the next one with that option takes it over, and one \
                without it leaves it";
            report.warning("life-lock-left", path, why, clean);
        }
        (Leftover::Temporary, true) if patient.may_open(owner) => {
            let why = "a starter was killed between bind and rename; the next start takes it away";
            report.warning("temporary-left", path, why, format!("nothing, or: {clean}"));
        }
        // Of the socket and its lock the state has told.
        _ => {}
    }
    if (*what, *is_left) == (Leftover::LifeLock, false) && !patient.is_alive() {
        judge_held_life_lock(path, report);
    }
}

/// One of another user cannot be asked, and in a directory that many share not be removed.
fn judge_temporary(patient: &Patient, report: &mut Report) {
    let temporary = patient.temporary();
    let Ok(data) = symlink_metadata(&temporary) else { return };
    let (owner, is_needed) = (data.uid(), "where this name is needed, for a take-over or a path over 107 bytes");
    if !data.file_type().is_socket() {
        let why = format!("it is no socket, and no server can start {is_needed}");
        report.warning("temporary-name-taken", &temporary, why, "move it away, if nobody needs it");
    } else if !patient.may_open(owner) {
        let why = format!(
            "a starter of uid {owner} has it, or was killed and has left it: uid {} cannot start {is_needed}",
            patient.server
        );
        let remedy = format!("let {}root do it: {}", by(patient, owner), patient.clean());
        report.warning("temporary-of-another-user", &temporary, why, remedy);
    }
}

/// Without a live server.
fn judge_held_life_lock(lock: &Path, report: &mut Report) {
    let (who, end) = match holder(lock).and_then(|holder| holder.pid) {
        Some(pid) => (format!("process {pid}"), format!("see what it does; to be rid of it: kill {pid}")),
        None => {
            ("a process that cannot be seen from here, if any,".to_owned(), "ask outside of this container".to_owned())
        }
    };
    let why = format!(
        "{who} holds the life lock: it prepares to serve here or still serves its last clients, and no other server with \
         --lock-scope lifetime starts"
    );
    report.note("life-lock-held", lock, why, format!("wait; {end}"));
}
