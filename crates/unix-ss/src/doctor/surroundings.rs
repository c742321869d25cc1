//! What is around the path: the file system, the session, the container.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, CWD, FlockOperation, StatVfs, StatVfsMountFlags, StatxAttributes, StatxFlags, accessat, flock,
    major, minor, statvfs, statx,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use unix_stream_server::{PathState, is_local};

use super::patient::Patient;
use super::report::{Report, Severity};
use super::shell::{as_user, quote};
use crate::users;

/// Types of file systems whose flocks are seen by all who share them, so that a life lock proves a death.
const SHARES_LOCKS: [&str; 4] = ["nfs", "ceph", "gfs2", "ocfs2"];

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    judge_file_system(patient, report);
    judge_session(patient, report);
    judge_namespaces(patient, report);
}

fn judge_file_system(patient: &Patient, report: &mut Report) {
    let Some(parent) = patient.directory().ancestors().find(|dir| dir.exists()) else { return };
    let data = statvfs(parent);
    // Below a mount that is not, some are so in parts; and who may not write hears of that first.
    let is_mounted_so = data.as_ref().is_ok_and(|data| data.f_flag.contains(StatVfsMountFlags::RDONLY));
    if is_mounted_so || accessat(CWD, parent, Access::WRITE_OK, AtFlags::EACCESS) == Err(Errno::ROFS) {
        let why = "the file system is read-only: neither a socket nor its lock can be made there, or removed";
        let severity = if patient.is_alive() { Severity::Note } else { Severity::Error };
        let remedy = "use a directory that can be written to, as /run".to_owned();
        report.add(severity, "file-system-read-only", parent, why.to_owned(), remedy);
    } else if let Ok(data) = data {
        judge_room(patient, parent, &data, report);
    }
    let kind = file_system(parent).unwrap_or_else(|| "unknown".to_owned());
    if is_local(parent).is_ok_and(|local| !local) {
        let why = format!(
            "it is on a file system (type {kind}) that other kernels may serve sockets on: a live server of theirs refuses \
             like a dead one, so a dead socket is an error there, and not replaced"
        );
        let shares_locks = SHARES_LOCKS.contains(&kind.as_str());
        let or_life = if shares_locks { ", or --lock-scope lifetime" } else { "" };
        report.warning("file-system-not-local", parent, why, format!("use a local directory, as /run{or_life}"));
        // On a local one it works; and nobody's lock there is to be disturbed.
        if kind == "nfs4" || has_no_flock(parent) {
            let why = format!("the file system (type {kind}) has no flock for our locks: no server can start there");
            report.error("file-system-without-flock", parent, why, "use another directory, as /run");
        }
    }
    if kind == "overlay" {
        let why = "it is on an overlay: a server bound through another layer, or another overlay of it, refuses";
        report.note("file-system-overlay", parent, why, "server and clients use one view, best a tmpfs or a volume");
    }
}

fn judge_room(patient: &Patient, dir: &Path, data: &StatVfs, report: &mut Report) {
    // The lock and the socket. A total of 0: it sets no limit. What is free for all is less than what is free for root.
    let (severity, why) = if data.f_files != 0 && data.f_favail < 2 {
        let severity = if patient.is_alive() { Severity::Warning } else { Severity::Error };
        (severity, "the file system has no inodes left for a socket and its lock (ENOSPC)")
    } else if data.f_blocks != 0 && data.f_bavail == 0 {
        let why = "the file system has no block left: where a directory has to grow for a name, that fails (ENOSPC)";
        (Severity::Note, why)
    } else {
        return;
    };
    let remedy =
        format!("delete what nobody needs (df -h {dir}; df -i {dir}), or use another directory", dir = quote(dir));
    report.add(severity, "file-system-full", dir, why.to_owned(), remedy);
}

/// Of any kind: a file can be one. Links are not followed.
pub(super) fn is_mount_point(path: &Path) -> bool {
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::empty())
        .is_ok_and(|data| data.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn has_no_flock(dir: &Path) -> bool {
    let Ok(dir) = File::open(dir) else { return false };
    // Shared, and given back at the end of this function.
    let tried = flock(&dir, FlockOperation::NonBlockingLockShared);
    matches!(tried, Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL))
}

/// The type of the file system, as mount(8) says it. A line reads `36 35 98:0 /mnt1 /mnt2 rw - ext4 /dev/sda rw`.
fn file_system(dir: &Path) -> Option<String> {
    let dev = fs::metadata(dir).ok()?.dev();
    let number = format!("{}:{}", major(dev), minor(dev));
    // Of any bytes: it has the names of mount points.
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    let mounts = String::from_utf8_lossy(&mounts);
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
    Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())
}

fn judge_session(patient: &Patient, report: &mut Report) {
    let set = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    if let Some(dir) = set.as_ref().filter(|dir| patient.path.starts_with(dir) || patient.given.starts_with(dir)) {
        let unfit = match fs::metadata(dir) {
            _ if !dir.is_absolute() => Some("is no absolute path".to_owned()),
            Err(error) => Some(format!("cannot be looked at: {}", crate::message::reason(&error))),
            Ok(data) if !data.is_dir() => Some("is no directory".to_owned()),
            Ok(data) if data.uid() != patient.server => {
                Some(format!("is of uid {}, and the server of uid {}", data.uid(), patient.server))
            }
            Ok(data) if data.mode() & 0o077 != 0 => {
                Some(format!("has mode {:04o}, and not 0700", data.mode() & 0o7777))
            }
            Ok(_) => None,
        };
        if let Some(unfit) = unfit {
            let why =
                format!("XDG_RUNTIME_DIR leads here, but it {unfit}: programs that look at the rules pass it over");
            report.warning(
                "xdg-runtime-dir-unfit",
                dir,
                why,
                "log in anew (not by su or sudo), or set it to a directory of mode 0700",
            );
        }
    }
    let Some(user) = session_of(&patient.path) else { return };
    let dir = PathBuf::from(format!("/run/user/{user}"));
    let account = users::account(&user.to_string()).ok().and_then(|account| account.name);
    let name = account.map_or_else(|| user.to_string(), quote);
    let why = format!("{} goes, with all that is in it, when the last session of uid {user} ends", dir.display());
    report.note(
        "session-directory",
        &dir,
        why,
        format!("for a daemon use /run/NAME; or: loginctl enable-linger {name}"),
    );
    if set.is_none() {
        let why = "XDG_RUNTIME_DIR is not set, as under su, sudo and cron: clients that go by it do not come here";
        let export = format!("export XDG_RUNTIME_DIR={}", dir.display());
        let is_ours = user == geteuid().as_raw();
        let remedy = if is_ours { export } else { format!("in the shell of {name}, not in yours: {export}") };
        // Of another user's session there is none to be seen.
        let severity = if is_ours { Severity::Warning } else { Severity::Note };
        report.add(severity, "xdg-runtime-dir-unset", &dir, why.to_owned(), remedy);
    }
}

/// The user in `/run/user/UID/...`.
pub(super) fn session_of(path: &Path) -> Option<u32> {
    path.strip_prefix("/run/user").ok()?.components().next()?.as_os_str().to_str()?.parse().ok()
}

fn judge_namespaces(patient: &Patient, report: &mut Report) {
    /// That of the initial pid namespace (linux/proc_ns.h).
    const INITIAL: &str = "pid:[4026531836]";
    let namespace = |process: &str, kind: &str| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
    match namespace("self", "pid") {
        None => {
            let why = "there is no /proc: who holds a lock, who listens and who has lost the path cannot be told";
            report.warning("no-proc", Path::new("/proc"), why, as_user(0, "mount -t proc proc /proc"));
        }
        Some(pids) if pids.as_os_str() != INITIAL => {
            let why = "this is a pid namespace (a container): of processes outside, neither locks nor servers can be seen, so \
                that theirs may be told as left or dead";
            report.note("pid-namespace", patient.directory(), why, "ask outside as well, if the directory is shared");
        }
        Some(_) => {}
    }
    let PathState::Live { peer: Some(peer) } = patient.inspection.state else { return };
    let Some(pid) = peer.pid.map(|pid| pid.to_string()) else { return };
    if let (Some(ours), Some(its)) = (namespace("self", "mnt"), namespace(&pid, "mnt")) {
        if ours != its {
            let why = format!(
                "the server, process {pid}, has a mount namespace of its own: there the path may lead elsewhere"
            );
            report.note("other-mount-namespace", &patient.path, why, "compare: unix-ss status, in both");
        }
    }
}
