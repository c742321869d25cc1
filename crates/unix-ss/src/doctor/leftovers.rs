//! The locks beside the path, and what killed servers and starters have left there.

use std::fs::symlink_metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use unix_stream_server::{CleanEvent, CleanOptions, FileKind, Leftover, LockState, Outcome, PathState};

use super::patient::Patient;
use super::report::Report;

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    let lock = patient.beside(".lock");
    judge_lock(patient, &lock, report);
    for suffix in [".owner", ".start"] {
        judge_other_lock(&patient.beside(suffix), report);
    }
    // A directory would be looked through, and is no socket anyway.
    if patient.inspection.state == (PathState::NotASocket { kind: FileKind::Directory }) {
        return;
    }
    // An error concerns the path itself, of which the others tell.
    let _ = CleanOptions::new().dry_run(true).run(&patient.given, |event| {
        if let CleanEvent::Found { path, what, outcome: Outcome::WouldRemove } = event {
            judge_leftover(patient, path, what, report);
        }
    });
}

fn judge_lock(patient: &Patient, lock: &Path, report: &mut Report) {
    match patient.inspection.lock {
        LockState::Held { pid, uid } => {
            let who = pid
                .map_or_else(|| format!("a process that cannot be seen (uid {uid})"), |pid| format!("process {pid}"));
            let why = format!("{who} is changing the path, or is stuck in it: others wait up to their timeout");
            report.note(
                "lock-held",
                lock,
                why,
                "ask again; if it stays, end that process: the next start takes the lock over",
            );
        }
        LockState::Left { uid } if patient.server == 0 || patient.server == uid => {
            let why = "a starter of ours was killed while it held the lock; the next start takes it over";
            report.warning("lock-left", lock, why, format!("nothing, or: {}", patient.clean()));
        }
        LockState::Left { uid } => {
            let why = format!("uid {uid} has left it: uid {} may not open it, and cannot start there", patient.server);
            report.error(
                "lock-left-by-another-user",
                lock,
                why,
                "let that user, or root, remove it or start the server",
            );
        }
        LockState::Foreign { uid } => foreign(lock, uid, report),
        // Where there is no directory, there is no lock.
        LockState::Unknown { errno } if errno == Errno::NOTDIR.raw_os_error() => {}
        LockState::Unknown { .. } => {
            report.warning(
                "lock-unknown",
                lock,
                "the lock cannot be looked at",
                "ask as the server's user, or as root",
            );
        }
        _ => {}
    }
}

fn foreign(lock: &Path, uid: u32, report: &mut Report) {
    let why =
        format!("it was made by another program (git, say) of uid {uid}, and counts as held as long as it exists");
    report.warning("lock-foreign", lock, why, "if no such program runs, remove it");
}

/// The life lock and the start lock: only whether they are ours.
fn judge_other_lock(lock: &Path, report: &mut Report) {
    let Ok(data) = symlink_metadata(lock) else { return };
    // The mark: see `unix_stream_server`'s DESIGN.md.
    let is_ours = data.is_file() && data.len() == 0 && matches!(data.mode() & 0o7777, 0o1400 | 0o1000);
    if !is_ours {
        foreign(lock, data.uid(), report);
    }
}

fn judge_leftover(patient: &Patient, path: &Path, what: Leftover, report: &mut Report) {
    let clean = patient.clean();
    let is_start_lock = path.extension().is_some_and(|extension| extension == "start");
    match what {
        Leftover::Lock if is_start_lock => {
            let why = "a starter on demand was killed while it held it; the next one takes it over";
            report.warning("start-lock-left", path, why, format!("nothing, or: {clean}"));
        }
        Leftover::LifeLock => {
            let why = "a server with --lock-scope lifetime was killed; the next start takes it over";
            report.warning("life-lock-left", path, why, format!("nothing, or: {clean}"));
        }
        Leftover::Temporary => {
            let why = "a starter was killed between bind and rename; the next start takes it away";
            report.warning("temporary-left", path, why, format!("nothing, or: {clean}"));
        }
        // Of the socket and its lock the state has told.
        _ => {}
    }
}
