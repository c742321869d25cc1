//! The directories and symbolic links on the way to the path: who may exchange what is there, and who gets through.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::{Metadata, symlink_metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, accessat, statx};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::patient::Patient;
use super::report::{Report, Severity};
use super::rights::{PASS, Rights, WRITE, Who, list};
use super::shell::quote;
use crate::message::reason;

const STICKY: u32 = 0o1000;
/// As many as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;

/// What was passed on the way, in its order: each directory, and what the next step took from it.
struct Step {
    dir: PathBuf,
    data: Metadata,
    rights: Rights,
    entry: PathBuf,
}

impl Step {
    fn new(dir: &Path, entry: PathBuf) -> Option<Self> {
        let data = symlink_metadata(dir).ok()?;
        Some(Step { dir: dir.to_owned(), rights: Rights::of(dir, &data), data, entry })
    }

    fn is_open(&self) -> bool {
        changes(self.rights.of_others())
    }

    fn is_open_to_group(&self) -> bool {
        changes(self.rights.of_group())
    }

    /// Those that the list lets write, beside root and the server.
    fn named_writers(&self, patient: &Patient) -> Vec<Who> {
        let named = self.rights.of_named().iter().filter(|&&(_, rights)| changes(rights)).map(|&(who, _)| who);
        named.filter(|who| ![Who::User(0), Who::User(patient.server)].contains(who)).collect()
    }

    /// Many may make files in it, each of which is its owner's alone.
    fn is_shared(&self, patient: &Patient) -> bool {
        let open = self.is_open() || self.is_open_to_group() || !self.named_writers(patient).is_empty();
        self.data.mode() & STICKY != 0 && open
    }
}

/// Whoever has these rights to a directory can make and remove names in it.
fn changes(rights: u16) -> bool {
    rights & (WRITE | PASS) == WRITE | PASS
}

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    let (steps, end) = walk(patient, report);
    for step in &steps {
        judge_directory(patient, step, report);
        judge_entry(patient, step, report);
    }
    judge_unknown_owners(patient, &steps, report);
    match (end, steps.last()) {
        (End::Reached, Some(parent)) => {
            judge_parent(patient, parent, report);
            judge_passage(patient, &steps, report);
        }
        (End::Missing { first, all }, last) => judge_missing(patient, last, &first, &all, report),
        _ => {}
    }
}

/// How the way ended.
enum End {
    /// At the directory where a server is, or would be.
    Reached,
    /// The first directory that is not there, and the path to the last one.
    Missing { first: PathBuf, all: PathBuf },
    /// By something that was reported.
    Broken,
}

impl End {
    fn missing(first: PathBuf, ahead: &VecDeque<OsString>) -> Self {
        let directories = ahead.iter().take(ahead.len().saturating_sub(1)).take_while(|&name| name != "..");
        let all = directories.fold(first.clone(), |dir, name| dir.join(name));
        End::Missing { first, all }
    }
}

/// From the root to where a server is, or would be: behind the links.
fn walk(patient: &Patient, report: &mut Report) -> (Vec<Step>, End) {
    let mut ahead = components(&patient.path);
    let (mut at, mut steps, mut links, mut told) = (PathBuf::from("/"), Vec::new(), 0, HashSet::new());
    let mut is_behind = false;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let (entry, is_end) = (at.join(&name), ahead.is_empty());
        steps.extend(Step::new(&at, entry.clone()));
        let data = match symlink_metadata(&entry) {
            Ok(data) => data,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let end = match (is_end, is_behind) {
                    (true, _) => End::Reached,
                    // Of a link that leads nowhere the look at the path tells.
                    (false, true) => End::Broken,
                    (false, false) => End::missing(entry, &ahead),
                };
                return (steps, end);
            }
            Err(error) => {
                no_way(&entry, &error, report);
                return (steps, End::Broken);
            }
        };
        if data.is_symlink() {
            links += 1;
            let target = std::fs::read_link(&entry).unwrap_or_default();
            if links > LINKS {
                report.error("symlink-loop", &entry, "symbolic links lead round in circles", "remove one of them");
                return (steps, End::Broken);
            }
            // Of a loop, each once; of the one at the end the look at the path tells.
            if told.insert(entry.clone()) && entry != patient.path {
                let target = target.display();
                let why = format!("it is a symbolic link to {target}: whoever changes it leads clients elsewhere");
                report.note("symlink-on-the-way", &entry, why, "give the server and its clients the path behind it");
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            is_behind |= is_end;
            components(&target).into_iter().rev().for_each(|name| ahead.push_front(name));
        } else if is_end {
            break;
        } else if data.is_dir() {
            at = entry;
        } else {
            let why = "it is on the way to the path, and no directory";
            report.error("parent-not-directory", &entry, why, "choose another path, or move the file away");
            return (steps, End::Broken);
        }
    }
    (steps, End::Reached)
}

fn components(path: &Path) -> VecDeque<OsString> {
    let is_step = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).map(|part| part.as_os_str().to_owned()).collect()
}

fn no_way(entry: &Path, error: &io::Error, report: &mut Report) {
    if error.kind() == ErrorKind::PermissionDenied {
        let dir = entry.parent().unwrap_or(entry);
        let why = "you may not pass it (no x), so that what is behind it cannot be told";
        report.error("directory-closed-to-you", dir, why, "ask as the server's user, or as root");
    } else {
        report.error("parent-unreadable", entry, reason(error), "see to the file system, and ask again");
    }
}

fn judge_missing(patient: &Patient, last: Option<&Step>, first: &Path, all: &Path, report: &mut Report) {
    let (missing, dir) = ("the directory is not there, so no socket can be", quote(all));
    if last.is_some_and(|step| may_write(patient.server, step)) {
        report.error("parent-missing", first, missing, format!("make it: mkdir -p -m 700 {dir}, as the server's user"));
    } else {
        let why = format!("{missing}, and uid {} may not make it", patient.server);
        report.error("parent-missing", first, why, format!("as root: install -d -m 700 -o {} {dir}", patient.server));
    }
}

/// A user namespace shows all owners that have no number in it as one (user_namespaces(7)).
fn judge_unknown_owners(patient: &Patient, steps: &[Step], report: &mut Report) {
    let dirs: Vec<_> = steps.iter().filter(|step| patient.is_unknown(step.data.uid())).map(|step| &step.dir).collect();
    let Some(first) = dirs.first() else { return };
    let mut names: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    names.dedup();
    let why = format!(
        "this is a user namespace (a container), in which the owner of {} has no number: who he is cannot be told",
        names.join(", ")
    );
    report.note("owner-unknown", first, why, "ask outside as well");
}

/// Who may take an entry away and put another in its place?
fn judge_directory(patient: &Patient, step: &Step, report: &mut Report) {
    let Step { dir, data, .. } = step;
    let (mode, owner, group) = (data.mode(), data.uid(), data.gid());
    let chmod = |bits: &str| format!("chmod {bits} {}", quote(dir));
    if patient.is_another(owner) {
        let why = format!(
            "it is of uid {owner}, who can put another socket in the place of the one of uid {}",
            patient.server
        );
        report.warning("directory-of-another-user", dir, why, "use a directory of the server's user, or of root");
    }
    if mode & STICKY != 0 {
        return;
    }
    if step.is_open() {
        let why = "every user may write to it, and it is not sticky: each of them can delete what is there, or replace it by \
            a server of his own";
        report.error("directory-open-to-all", dir, why, format!("{}, or {}", chmod("o-w"), chmod("+t")));
    }
    if step.is_open_to_group() {
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
        let who = list(&named, ", ");
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
    if step.is_shared(patient) && patient.is_another(owner) {
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
    let severity = if patient.is_alive() { Severity::Warning } else { Severity::Error };
    judge_attributes(severity, dir, report);
    if !may_write(patient.server, step) {
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
    if user == geteuid().as_raw() {
        let asked = accessat(CWD, &step.dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        return asked != Err(Errno::ACCESS);
    }
    step.rights.lets(Who::User(user), WRITE | PASS)
}

/// What keeps even root from making or removing names (chattr(1)).
fn judge_attributes(severity: Severity, dir: &Path, report: &mut Report) {
    let Ok(data) = statx(CWD, dir, AtFlags::empty(), StatxFlags::empty()) else { return };
    for (attribute, id, why, letter) in [
        (
            StatxAttributes::IMMUTABLE,
            "directory-immutable",
            "it has the attribute immutable: nobody, not even root, may make or remove names in it",
            'i',
        ),
        (
            StatxAttributes::APPEND,
            "directory-append-only",
            "it has the attribute append-only: nobody, not even root, may rename or remove what is in it, neither the lock nor \
                a dead socket",
            'a',
        ),
    ] {
        if data.stx_attributes.contains(attribute) {
            let remedy = format!("as root: chattr -{letter} {}; or use another directory", quote(dir));
            report.add(severity, id, dir, why.to_owned(), remedy);
        }
    }
}

/// Do those who may write to the socket get to it?
fn judge_passage(patient: &Patient, steps: &[Step], report: &mut Report) {
    let Some(socket) = &patient.socket else { return };
    let to_socket = Rights::of(&patient.path, socket);
    let is_for_all = to_socket.of_others() & WRITE != 0;
    for Step { dir, data, rights, .. } in steps {
        // If all may connect: of those that an entry here keeps out. If not: of those that an entry there lets in.
        let classes: Vec<_> =
            if is_for_all { rights.classes() } else { to_socket.classes() }.map(|(who, _)| who).collect();
        let is_kept_out = |who: &Who| to_socket.lets(*who, WRITE) && !rights.lets(*who, PASS);
        let kept_out: Vec<_> = classes.into_iter().filter(is_kept_out).collect();
        let others = is_for_all && rights.of_others() & PASS == 0;
        let why = match (others, kept_out.as_slice()) {
            (true, _) => "every user may connect to the socket, and not all can pass this directory".to_owned(),
            (false, []) => continue,
            (false, who) => format!("{} may connect to the socket, and cannot pass this directory", list(who, ", ")),
        };
        // Of the owner's own group, a mode of 660 may be no more than a habit.
        let remedy = rights.command_to_pass(&kept_out, others, &quote(dir));
        let remedy = format!("{remedy}, or give the socket the mode that is meant");
        report.warning(
            "directory-closed-to-clients",
            dir,
            format!("{why} (mode {:04o})", data.mode() & 0o7777),
            remedy,
        );
    }
}
