//! The directories and symbolic links on the way to the path: who may exchange what is there, and who gets through.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::{Metadata, symlink_metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, accessat, statx};
use rustix::io::Errno;
use rustix::process::geteuid;

use unix_stream_server::PathState;

use super::patient::Patient;
use super::report::{Report, Severity};
use super::rights::{Change, PASS, Rights, WRITE, Who, list};
use super::shell::{as_user, quote};
use super::surroundings;
use crate::message::reason;

const STICKY: u32 = 0o1000;
/// As many as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;
const OWN_DIRECTORY: &str = "use a directory of the server's own";

/// What was passed on the way, in its order: each directory, and what the next step took from it.
struct Step {
    dir: PathBuf,
    data: Metadata,
    rights: Rights,
    /// `None`: it was left again by `..`.
    entry: Option<PathBuf>,
}

impl Step {
    fn new(dir: &Path, entry: Option<PathBuf>) -> Option<Self> {
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
        let named = self.rights.of_named().filter(|&(_, rights)| changes(rights)).map(|(who, _)| who);
        named.filter(|who| ![Who::User(0), Who::User(patient.server)].contains(who)).collect()
    }

    /// Many may make files in it, each of which is its owner's alone.
    fn is_shared(&self, patient: &Patient) -> bool {
        let open = self.is_open() || self.is_open_to_group() || !self.named_writers(patient).is_empty();
        self.data.mode() & STICKY != 0 && open
    }

    fn is_above(&self, other: &Step) -> bool {
        self.dir != other.dir && other.dir.starts_with(&self.dir)
    }

    /// Nobody else gets through, so that what is behind it is safe from others.
    fn is_private(&self, patient: &Patient) -> bool {
        let is_other = |who| ![Who::User(0), Who::User(patient.server)].contains(&who);
        let mut passes = self.rights.classes().filter(|(_, rights)| rights & PASS != 0);
        self.rights.of_others() & PASS == 0 && !passes.any(|(who, _)| is_other(who))
    }

    fn by_owner(&self, command: &str) -> String {
        as_user(self.data.uid(), command)
    }
}

/// Whoever has these rights to a directory can make and remove names in it.
fn changes(rights: u16) -> bool {
    rights & (WRITE | PASS) == WRITE | PASS
}

pub(super) fn examine(patient: &Patient, report: &mut Report) {
    let (steps, end) = walk(patient, report);
    let count = steps.len();
    for (at, step) in steps.iter().enumerate() {
        let place = match end {
            _ if at + 1 < count => Place::Above,
            End::Broken => Place::Unknown,
            _ => Place::Last,
        };
        let is_hidden = steps.iter().any(|above| above.is_above(step) && above.is_private(patient));
        if let Some(entry) = &step.entry {
            judge_directory(patient, step, place, is_hidden, report);
            judge_entry(patient, step, entry, report);
        }
    }
    judge_unknown_owners(patient, &steps, report);
    match (end, steps.last()) {
        (End::Reached, Some(parent)) => {
            judge_parent(patient, parent, report);
            judge_passage(patient, &steps, report);
        }
        (End::Missing { dirs }, Some(last)) => judge_missing(patient, last, &dirs, report),
        _ => {}
    }
}

/// What a directory is to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is passed.
    Above,
    /// There the server is, or has to make what is missing.
    Last,
    /// What is behind it, and whose, is not known.
    Unknown,
}

/// How the way ended.
enum End {
    /// At the directory where a server is, or would be.
    Reached,
    /// At directories that are not there, each in the one before it.
    Missing { dirs: Vec<PathBuf> },
    /// By something that was reported.
    Broken,
}

impl End {
    fn missing(first: PathBuf, ahead: &VecDeque<OsString>) -> Self {
        let mut dirs = vec![first];
        for name in ahead.iter().take(ahead.len().saturating_sub(1)).take_while(|&name| name != "..") {
            dirs.extend(dirs.last().map(|dir| dir.join(name)));
        }
        End::Missing { dirs }
    }
}

/// From the root to where a server is, or would be: behind the links.
fn walk(patient: &Patient, report: &mut Report) -> (Vec<Step>, End) {
    let mut ahead = components(&patient.path);
    let (mut at, mut steps, mut links, mut told) = (PathBuf::from("/"), Vec::new(), 0, HashSet::new());
    let mut is_behind = false;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            steps.extend(Step::new(&at, None));
            at.pop();
            continue;
        }
        let (entry, is_end) = (at.join(&name), ahead.is_empty());
        steps.extend(Step::new(&at, Some(entry.clone())));
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
                no_way(patient, &entry, &error, report);
                return (steps, End::Broken);
            }
        };
        if data.is_symlink() {
            if is_magic(&entry) {
                let why = "it leads to what a process has, which no path tells: what is behind it was not looked at";
                report.note("link-of-proc", &entry, why, "ask by a path that does not go through /proc");
                return (steps, End::Broken);
            }
            links += 1;
            let target = std::fs::read_link(&entry).unwrap_or_default();
            if links > LINKS {
                report.error("symlink-loop", &entry, "symbolic links lead round in circles", "remove one of them");
                return (steps, End::Broken);
            }
            // Of a loop, each once; of the one at the end the look at the path tells.
            if told.insert(entry.clone()) && entry != patient.path && !entry.starts_with("/proc") {
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

/// A link of proc(5) that the kernel does not follow by its text: `/proc/PID/root`, `cwd`, `exe`, `fd/N`.
fn is_magic(entry: &Path) -> bool {
    let mut names = entry.strip_prefix("/proc").into_iter().flat_map(Path::components);
    let is_process = names.next().is_some_and(|name| name.as_os_str().as_bytes().iter().all(u8::is_ascii_digit));
    is_process && names.next().is_some()
}

fn components(path: &Path) -> VecDeque<OsString> {
    let is_step = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).map(|part| part.as_os_str().to_owned()).collect()
}

fn no_way(patient: &Patient, entry: &Path, error: &io::Error, report: &mut Report) {
    if error.kind() == ErrorKind::PermissionDenied {
        let dir = entry.parent().unwrap_or(entry);
        let why = "you may not pass it (no x), so that what is behind it cannot be told".to_owned();
        // A relative path need not go that way.
        let is_reached = !matches!(patient.inspection.state, PathState::CannotTell { .. });
        let severity = if is_reached { Severity::Note } else { Severity::Error };
        let is_ours = symlink_metadata(dir).is_ok_and(|data| data.uid() == geteuid().as_raw());
        let remedy = if is_ours {
            format!("chmod u+x {}", quote(dir))
        } else {
            "ask as the server's user, or as root".to_owned()
        };
        report.add(severity, "directory-closed-to-you", dir, why, remedy);
    } else {
        report.error("parent-unreadable", entry, reason(error), "see to the file system, and ask again");
    }
}

fn judge_missing(patient: &Patient, last: &Step, dirs: &[PathBuf], report: &mut Report) {
    let [first, ..] = dirs else { return };
    judge_attributes(Severity::Error, &last.dir, report);
    let missing = "the directory is not there, so no socket can be";
    if let Some(user) = dirs.iter().find_map(|dir| surroundings::session_of(dir)) {
        // What is made there by hand is hidden by the mount that a login makes.
        let remedy = format!("log in as that user, or as root: loginctl enable-linger {user}");
        report.error("parent-missing", first, missing, remedy);
        return;
    }
    if first.starts_with("/proc") {
        report.error("parent-missing", first, missing, "choose another path");
        return;
    }
    // Each by its name: -p would make all but the last as the umask, or the list of the directory above, has it.
    let all = dirs.iter().map(quote).collect::<Vec<_>>().join(" ");
    if may_write(patient.server, last) {
        let user = patient.socket.is_none() && geteuid().is_root();
        let of_another =
            if user { format!("; for another user: install -d -m 700 -o USER {all}") } else { String::new() };
        let remedy = format!("make it: mkdir -m 700 {all}, as the server's user{of_another}");
        report.error("parent-missing", first, missing, remedy);
    } else {
        let why = format!("{missing}, and uid {} may not make it", patient.server);
        report.error("parent-missing", first, why, format!("as root: install -d -m 700 -o {} {all}", patient.server));
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
fn judge_directory(patient: &Patient, step: &Step, place: Place, is_hidden: bool, report: &mut Report) {
    let Step { dir, data, .. } = step;
    let (mode, owner, group) = (data.mode(), data.uid(), data.gid());
    if patient.is_another(owner) && place != Place::Unknown {
        let why = format!(
            "it is of uid {owner}, who can put another socket in the place of the one of uid {}",
            patient.server
        );
        // Whoever was given the socket's file is trusted with it.
        let is_given = patient.socket.as_ref().is_some_and(|socket| socket.uid() == owner);
        let severity = if is_given { Severity::Note } else { Severity::Warning };
        let remedy = "use a directory of the server's user, or of root".to_owned();
        report.add(severity, "directory-of-another-user", dir, why, remedy);
    }
    if mode & STICKY != 0 {
        return;
    }
    // Of the last one, what others have may be what the server needs; and where none is seen, whose it is is not known.
    let needs = |user| !step.rights.lets_by_his_own(user, WRITE | PASS);
    let is_needed = patient.socket.is_none() || needs(patient.server) || patient.heir().is_some_and(needs);
    let can_be_closed = place == Place::Above || !is_needed;
    let without = |who: &[Who], remedy: &str| {
        let command = step.rights.command_to(Change::Take(WRITE), who, &quote(dir));
        if can_be_closed { format!("{}{remedy}", step.by_owner(&command)) } else { format!("{OWN_DIRECTORY}{remedy}") }
    };
    let hidden = |severity| if is_hidden { Severity::Note } else { severity };
    if step.is_open() {
        let why = "every user may write to it, and it is not sticky: each of them can delete what is there, or replace it by \
            a server of his own";
        let sticky = step.by_owner(&format!("chmod +t {}", quote(dir)));
        let remedy = without(&[Who::Others], &format!(", unless another user's server is in there; else {sticky}"));
        report.add(hidden(Severity::Error), "directory-open-to-all", dir, why.to_owned(), remedy);
    }
    if step.is_open_to_group() {
        // A group that has the number of its user is that user's alone, by custom.
        let private = group == owner && [0, patient.server].contains(&owner);
        let severity = if private { Severity::Note } else { hidden(Severity::Warning) };
        let why = format!("whoever is in group {group} can delete what is there, or replace it by a server of his own");
        let remedy = without(&[Who::Group(group)], ", unless you trust the group");
        report.add(severity, "directory-open-to-group", dir, why, remedy);
    }
    let named = step.named_writers(patient);
    if !named.is_empty() {
        let who = list(&named, ", ");
        let why =
            format!("its access control list lets {who} delete what is there, or replace it by a server of his own");
        let remedy = without(&named, &format!(", unless you trust them; getfacl {}", quote(dir)));
        report.add(hidden(Severity::Warning), "directory-open-by-acl", dir, why, remedy);
    }
}

/// In a sticky directory an entry is its owner's to move, beside the directory's owner and root.
fn judge_entry(patient: &Patient, step: &Step, entry: &Path, report: &mut Report) {
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
    // A live one has got there, by whoever started it; and a dead one that was root's to start, if root asks.
    let by_root = geteuid().is_root() && patient.socket.is_some();
    let severity = if patient.is_alive() || by_root { Severity::Note } else { Severity::Error };
    if !may_write(patient.server, step) {
        let why = format!(
            "uid {} may not make or remove names in it, and so neither the socket nor its lock, unless root does it for him",
            patient.server
        );
        let remedy = match data.uid() {
            owner if owner == patient.server => {
                let command = step.rights.command_to(Change::Give(WRITE | PASS), &[Who::User(owner)], &quote(dir));
                step.by_owner(&command)
            }
            0 => {
                let is_passed = step.rights.lets(Who::User(patient.server), PASS);
                let own = quote(if is_passed { dir.join("NAME") } else { PathBuf::from("/run/NAME") });
                format!("use a directory of its own, as root: install -d -m 700 -o {} {own}", patient.server)
            }
            owner if patient.is_unknown(owner) => OWN_DIRECTORY.to_owned(),
            owner => format!("{OWN_DIRECTORY}, or start it as uid {owner}"),
        };
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
    for step in steps {
        let Step { dir, data, rights, .. } = step;
        // If all may connect: of those that an entry here keeps out. If not: of those that an entry there lets in.
        let classes: Vec<_> =
            if is_for_all { rights.classes() } else { to_socket.classes() }.map(|(who, _)| who).collect();
        let is_kept_out = |who: &Who| to_socket.lets(*who, WRITE) && !rights.lets(*who, PASS);
        let kept_out: Vec<_> =
            classes.into_iter().chain(is_for_all.then_some(Who::Others)).filter(is_kept_out).collect();
        let why = match kept_out.as_slice() {
            [] => continue,
            who if who.contains(&Who::Others) => {
                "every user may connect to the socket, and not all can pass this directory".to_owned()
            }
            who => format!("{} may connect to the socket, and cannot pass this directory", list(who, ", ")),
        };
        let command = step.by_owner(&rights.command_to(Change::Give(PASS), &kept_out, &quote(dir)));
        // By a mode that is no more than a habit, and a directory that says who is meant.
        let is_named = kept_out.iter().any(|who| to_socket.of_named().any(|(named, _)| named == *who));
        let is_chosen =
            kept_out.contains(&Who::Group(socket.gid())) && ![data.gid(), patient.server].contains(&socket.gid());
        let (severity, remedy) = if is_named || is_chosen || kept_out.iter().any(|who| matches!(who, Who::User(_))) {
            (Severity::Warning, format!("{command}, or give the socket the mode that is meant"))
        } else {
            (Severity::Note, format!("nothing, if only those are meant whom it lets through; else: {command}"))
        };
        let why = format!("{why} (mode {:04o})", data.mode() & 0o7777);
        report.add(severity, "directory-closed-to-clients", dir, why, remedy);
    }
}
