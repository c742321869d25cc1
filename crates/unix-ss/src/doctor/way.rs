//! The directories and symbolic links on the way to the path: who may exchange what is there, and who gets through.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::{Metadata, symlink_metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;

use super::acl::{Acl, PASS, WRITE, Who};
use super::patient::Patient;
use super::report::{Report, Severity};
use super::shell::quote;
use crate::message::reason;

const STICKY: u32 = 0o1000;
const OTHERS_WRITE: u32 = 0o002;
/// As many as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;

/// What was passed on the way, in its order: each directory, and what the next step took from it.
struct Step {
    dir: PathBuf,
    data: Metadata,
    acl: Option<Acl>,
    entry: PathBuf,
}

impl Step {
    fn new(dir: &Path, entry: PathBuf) -> Option<Self> {
        let data = symlink_metadata(dir).ok()?;
        Some(Step { dir: dir.to_owned(), data, acl: Acl::of(dir), entry })
    }

    fn group_has(&self, right: u16) -> bool {
        Acl::group_rights(self.acl.as_ref(), self.data.mode()) & right != 0
    }

    /// Those that the list lets write, beside root and the server.
    fn named_writers(&self, patient: &Patient) -> Vec<Who> {
        let is_other = |who: &Who| ![Who::User(0), Who::User(patient.server)].contains(who);
        Acl::with(self.acl.as_ref(), WRITE).filter(is_other).collect()
    }

    /// Many may make files in it, each of which is its owner's alone.
    fn is_shared(&self, patient: &Patient) -> bool {
        let mode = self.data.mode();
        let open = mode & OTHERS_WRITE != 0 || self.group_has(WRITE) || !self.named_writers(patient).is_empty();
        mode & STICKY != 0 && open
    }
}

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    let Some(steps) = walk(patient, report) else { return };
    for step in &steps {
        judge_directory(patient, step, report);
        judge_entry(patient, step, report);
    }
    if let Some(parent) = steps.last() {
        judge_parent(patient, parent, report);
    }
    judge_passage(patient, &steps, report);
}

/// From the root to the parent; `None` if there is no way, which is reported.
fn walk(patient: &Patient, report: &mut Report) -> Option<Vec<Step>> {
    let mut ahead = components(patient.parent());
    let (mut at, mut steps, mut links, mut told) = (PathBuf::from("/"), Vec::new(), 0, HashSet::new());
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(&name);
        let data = match symlink_metadata(&entry) {
            Ok(data) => data,
            Err(error) => {
                no_way(&entry, &error, report);
                return None;
            }
        };
        steps.extend(Step::new(&at, entry.clone()));
        if data.is_symlink() {
            links += 1;
            let target = std::fs::read_link(&entry).unwrap_or_default();
            if links > LINKS {
                report.error("symlink-loop", &entry, "symbolic links lead round in circles", "remove one of them");
                return None;
            }
            // Of a loop, each once.
            if told.insert(entry.clone()) {
                let target = target.display();
                let why = format!("it is a symbolic link to {target}: whoever changes it leads clients elsewhere");
                report.note("symlink-on-the-way", &entry, why, "give the server and its clients the path behind it");
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            components(&target).into_iter().rev().for_each(|name| ahead.push_front(name));
        } else if data.is_dir() {
            at = entry;
        } else {
            let why = "it is on the way to the path, and no directory";
            report.error("parent-not-directory", &entry, why, "choose another path, or move the file away");
            return None;
        }
    }
    let entry = patient.path.file_name().map_or_else(|| at.clone(), |name| at.join(name));
    steps.extend(Step::new(&at, entry));
    Some(steps)
}

fn components(path: &Path) -> VecDeque<OsString> {
    let is_step = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).map(|part| part.as_os_str().to_owned()).collect()
}

fn no_way(entry: &Path, error: &std::io::Error, report: &mut Report) {
    match error.kind() {
        ErrorKind::NotFound => {
            let remedy = format!("make it: mkdir -m 700 {}, as the server's user", quote(entry));
            report.error("parent-missing", entry, "the directory is not there, so no socket can be", remedy);
        }
        ErrorKind::PermissionDenied => {
            let dir = entry.parent().unwrap_or(entry);
            let why = "you may not pass it (no x), so that what is behind it cannot be told";
            report.error("directory-closed-to-you", dir, why, "ask as the server's user, or as root");
        }
        _ => report.error("parent-unreadable", entry, reason(error), "see to the file system, and ask again"),
    }
}

/// Who may take an entry away and put another in its place?
fn judge_directory(patient: &Patient, step: &Step, report: &mut Report) {
    let Step { dir, data, .. } = step;
    let (mode, owner, group) = (data.mode(), data.uid(), data.gid());
    let chmod = |bits: &str| format!("chmod {bits} {}", quote(dir));
    if ![0, patient.server].contains(&owner) {
        let why = format!(
            "it is of uid {owner}, who can put another socket in the place of the one of uid {}",
            patient.server
        );
        report.warning("directory-of-another-user", dir, why, "use a directory of the server's user, or of root");
    }
    if mode & STICKY != 0 {
        return;
    }
    if mode & OTHERS_WRITE != 0 {
        let why = "every user may write to it, and it is not sticky: each of them can delete what is there, or replace it by \
            a server of his own";
        report.error("directory-open-to-all", dir, why, format!("{}, or {}", chmod("o-w"), chmod("+t")));
    }
    if step.group_has(WRITE) {
        // A group that has the number of its user is that user's alone, by custom.
        let private = group == owner && [0, patient.server].contains(&owner);
        let severity = if private { Severity::Note } else { Severity::Warning };
        let why = format!("whoever is in group {group} can delete what is there, or replace it by a server of his own");
        report.add(
            severity,
            "directory-open-to-group",
            dir,
            why,
            format!("{}, unless you trust the group", chmod("g-w")),
        );
    }
    let named = step.named_writers(patient);
    if !named.is_empty() {
        let who = named.iter().map(Who::to_string).collect::<Vec<_>>().join(", ");
        let entry = |who: &Who| match who {
            Who::User(uid) => format!("u:{uid}"),
            Who::Group(gid) => format!("g:{gid}"),
        };
        let entries = named.iter().map(entry).collect::<Vec<_>>().join(",");
        let why =
            format!("its access control list lets {who} delete what is there, or replace it by a server of his own");
        let remedy = format!("setfacl -x {entries} {dir}, unless you trust them; getfacl {dir}", dir = quote(dir));
        report.warning("directory-open-by-acl", dir, why, remedy);
    }
}

/// In a sticky directory an entry is its owner's to move, beside the directory's owner and root.
fn judge_entry(patient: &Patient, step: &Step, report: &mut Report) {
    let entry = &step.entry;
    let Ok(entry_data) = symlink_metadata(entry) else { return };
    let owner = entry_data.uid();
    if step.is_shared(patient) && ![0, patient.server].contains(&owner) {
        let why = format!("it is of uid {owner}, who can exchange it, in a directory that many may write to");
        report.warning("entry-of-another-user", entry, why, "use a directory that root or the server's user made");
    }
}

fn judge_parent(patient: &Patient, step: &Step, report: &mut Report) {
    let Step { dir, data, .. } = step;
    if step.is_shared(patient) {
        let why = "others may make files in it: a socket of their own while no server is there, which clients would talk \
            to, or a lock file, which delays each start to its timeout";
        let remedy = "use a directory that only the server's user may write to; until then, clients do well to say \
            --expect-uid";
        report.warning("directory-shared", dir, why, remedy);
    }
    if !may_write(patient.server, step) {
        let severity = if patient.is_alive() { Severity::Warning } else { Severity::Error };
        let why = format!(
            "uid {} may not make or remove names in it, and so neither the socket nor its lock",
            patient.server
        );
        let remedy = format!("start the server as root or as uid {}, or let it have the directory", data.uid());
        report.add(severity, "parent-not-writable", dir, why, remedy);
    }
}

/// Also true where only a look into the list of groups could tell.
fn may_write(user: u32, step: &Step) -> bool {
    let Step { dir, data, acl, .. } = step;
    if user == geteuid().as_raw() {
        let asked = accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        return asked != Err(rustix::io::Errno::ACCESS);
    }
    let both = |rights: u16| rights & (WRITE | PASS) == WRITE | PASS;
    let mode_has = |bits: u32| data.mode() & bits == bits;
    let acl = acl.as_ref();
    if user == 0 || data.uid() == user {
        return user == 0 || mode_has(0o300);
    }
    if let Some(rights) = Acl::rights_of(acl, Who::User(user)) {
        return both(rights);
    }
    let of_groups =
        acl.is_some_and(|acl| acl.named.iter().any(|&(who, rights)| matches!(who, Who::Group(_)) && both(rights)));
    mode_has(0o003) || both(Acl::group_rights(acl, data.mode())) || of_groups
}

/// Do those who may write to the socket get to it?
fn judge_passage(patient: &Patient, steps: &[Step], report: &mut Report) {
    let Some(socket) = &patient.socket else { return };
    let (mode, group) = (socket.mode(), socket.gid());
    let socket_acl = Acl::of(&patient.path);
    let group_connects = Acl::group_rights(socket_acl.as_ref(), mode) & WRITE != 0;
    for step in steps {
        let Step { dir, data, acl, .. } = step;
        let named = Acl::rights_of(acl.as_ref(), Who::Group(group)).is_some_and(|rights| rights & PASS != 0);
        let (all, of_group) = (data.mode() & 0o001 != 0, named || step.group_has(PASS) && data.gid() == group);
        let (kept_out, opened) = match mode {
            mode if mode & OTHERS_WRITE != 0 && !all => {
                ("every user may connect to the socket, and not all".to_owned(), format!("chmod o+x {}", quote(dir)))
            }
            _ if group_connects && !all && !of_group => {
                let who = format!("group {group} may connect to the socket, and not all of the group");
                // To change the directory's group would keep those of its group now out.
                let opened = if data.gid() == group && acl.is_none() {
                    format!("chmod g+x {}", quote(dir))
                } else {
                    format!("setfacl -m g:{group}:x {}", quote(dir))
                };
                (who, opened)
            }
            _ => continue,
        };
        // Of the owner's own group, a mode of 660 may be no more than a habit.
        let why = format!("{kept_out} can pass this directory (mode {:04o})", data.mode() & 0o7777);
        let remedy = format!("{opened}, or give the socket the mode that is meant");
        report.warning("directory-closed-to-clients", dir, why, remedy);
    }
}
