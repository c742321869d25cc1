//! `doctor`: each thing that is wrong or risky is found, with its remedy, and nothing is changed.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::users::{NOBODY, copy, is_root};
use common::{Place, Running, eventually, put_dead, run, status_of, text, unix_ss};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Signal, geteuid};
use serde_json::Value;

/// What was found: the exit status, and an object for each finding.
#[derive(Debug)]
struct Findings {
    status: i32,
    all: Vec<Value>,
}

impl Findings {
    fn ids(&self) -> Vec<&str> {
        self.all.iter().map(|finding| finding["finding"].as_str().expect("a name")).collect()
    }

    /// Of this severity, about this file, and with all that belongs to it.
    #[track_caller]
    fn has(&self, severity: &str, id: &str, about: &Path) -> &Value {
        let about = about.to_str().expect("UTF-8");
        let is_it = |finding: &&Value| finding["finding"] == id && finding["about"] == about;
        let found = self.all.iter().find(is_it).unwrap_or_else(|| panic!("no {id} about {about}: {self:#?}"));
        assert_eq!(found["severity"], severity, "{found}");
        found
    }

    #[track_caller]
    fn has_not(&self, id: &str) {
        assert!(!self.ids().contains(&id), "{self:#?}");
    }

    /// None but notes.
    #[track_caller]
    fn is_well(&self) {
        assert!(self.status == 0 && self.all.iter().all(|finding| finding["severity"] == "note"), "{self:#?}");
    }
}

/// By a command that is `doctor --json PATH`, as whoever runs it.
#[track_caller]
fn found(command: &mut Command) -> Findings {
    let output = run(command);
    let said = text(&output.stdout);
    let all: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for finding in &all {
        let mut keys: Vec<_> = finding.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.retain(|&key| key != "path_hex");
        assert_eq!(keys, ["about", "finding", "path", "remedy", "severity", "why"], "{finding}");
        assert!(keys.iter().all(|&key| finding[key].as_str().is_some_and(|text| !text.is_empty())), "{finding}");
    }
    let findings = Findings { status: status_of(&output), all };
    assert_eq!(text(&output.stderr), "", "{findings:?}");
    let is_bad = findings.all.iter().any(|finding| finding["severity"] != "note");
    assert!(findings.status == 4 || findings.status == i32::from(is_bad), "{findings:?}");
    findings
}

/// Of a path, with the directory of the test as it was.
#[track_caller]
fn examined(place: &Place, path: &Path) -> Findings {
    let before = files(&place.path(""));
    let findings = found(unix_ss(&["doctor", "--json"]).arg(path));
    assert_eq!(files(&place.path("")), before, "it has changed something");
    findings
}

/// The same once this is among it: what a test gives up, a child of another test may still have until its exec.
#[track_caller]
fn in_the_end(place: &Place, path: &Path, id: &str) -> Findings {
    let mut findings = examined(place, path);
    eventually(id, || {
        findings = examined(place, path);
        findings.ids().contains(&id)
    });
    findings
}

/// All that is there: inode, mode, owner, links, size and time of the last change.
fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        let data = fs::symlink_metadata(&entry).expect("a file");
        let what = (data.ino(), data.mode(), data.uid(), data.nlink(), data.len(), data.ctime(), data.ctime_nsec());
        all.insert(entry.clone(), format!("{what:?}"));
        if data.is_dir() {
            all.extend(files(&entry));
        }
    }
    all
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

fn mark(path: &Path) {
    fs::write(path, "").expect("a file");
    chmod(path, 0o1400);
}

/// `doctor --json` as an ordinary user.
fn as_nobody(place: &Place) -> Command {
    let mut command = Command::new(copy(place));
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    command.args(["doctor", "--json"]);
    command
}

#[test]
fn a_healthy_server_has_nothing_but_notes() {
    let place = Place::new();
    let _server = place.serve(&[], "s", &["cat"]);
    let findings = examined(&place, &place.path("s"));
    findings.is_well();
    let access = findings.has("note", "who-connects", &place.path("s"));
    assert!(access["why"].as_str().is_some_and(|why| why.contains("0600")), "{access}");
    let absent = examined(&place, &place.path("absent"));
    absent.is_well();
    absent.has("note", "absent", &place.path("absent"));
}

#[test]
fn a_healthy_server_gets_no_connection() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).expect("a socket");
    listener.set_nonblocking(true).expect("fcntl");
    let listed = unix_stream_server::lost_listeners(place.path("s")).is_ok();
    examined(&place, &place.path("s"));
    if listed {
        assert!(listener.accept().is_err(), "it connected");
    } else {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: the kernel has no list of listeners");
    }
}

#[test]
fn each_thing_that_stands_there_has_its_finding() {
    let place = Place::new();
    put_dead(&place.path("dead"));
    let _other = UnixDatagram::bind(place.path("other")).expect("a socket");
    fs::write(place.path("file"), "").expect("a file");
    fs::create_dir(place.path("dir")).expect("a directory");
    for (name, severity, id) in [
        ("dead", "warning", "socket-dead"),
        ("other", "error", "socket-of-another-type"),
        ("file", "error", "not-a-socket"),
        ("dir", "error", "not-a-socket"),
    ] {
        let findings = examined(&place, &place.path(name));
        findings.has(severity, id, &place.path(name));
        assert_eq!(findings.status, 1, "{findings:?}");
    }
}

#[test]
fn a_full_backlog_is_found() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).expect("a socket");
    rustix::net::listen(&listener, 0).expect("listen");
    let _client = common::client(&place.path("s"));
    examined(&place, &place.path("s")).has("warning", "server-busy", &place.path("s"));
}

#[test]
fn a_path_that_can_name_no_socket_or_is_long_is_told_with_its_length() {
    let place = Place::new();
    let invalid = examined(&place, &place.path("sub/.."));
    assert_eq!((invalid.status, invalid.ids()), (4, vec!["path-invalid"]));
    let name = "x".repeat(256);
    let too_long = examined(&place, &place.path(&name));
    assert_eq!((too_long.status, too_long.ids()), (4, vec!["path-too-long"]));
    let deep = place.path(&"d".repeat(110));
    fs::create_dir(&deep).expect("a directory");
    let findings = examined(&place, &deep.join("s"));
    let long = findings.has("warning", "path-long", &deep.join("s"));
    assert!(long["why"].as_str().is_some_and(|why| why.contains("107")), "{long}");
    examined(&place, &place.path(&"n".repeat(252))).has("note", "name-long", &place.path(&"n".repeat(252)));
}

#[test]
fn what_is_missing_or_no_directory_on_the_way_is_named() {
    let place = Place::new();
    let findings = examined(&place, &place.path("no/such/s"));
    findings.has("error", "parent-missing", &place.path("no"));
    fs::write(place.path("file"), "").expect("a file");
    let findings = examined(&place, &place.path("file/s"));
    findings.has("error", "parent-not-directory", &place.path("file"));
    assert_eq!(findings.status, 1, "nothing can be there: {findings:?}");
    symlink("loop", place.path("loop")).expect("a link");
    assert_eq!(examined(&place, &place.path("loop")).status, 4, "what is there cannot be told");
}

#[test]
fn directories_that_others_may_write_to_are_found_wherever_they_are() {
    let place = Place::new();
    for dir in ["open", "open/sub", "group", "shared"] {
        fs::create_dir(place.path(dir)).expect("a directory");
        chmod(&place.path(dir), 0o755);
    }
    examined(&place, &place.path("open/sub/s")).is_well();
    chmod(&place.path("open"), 0o757);
    examined(&place, &place.path("open/sub/s")).has("error", "directory-open-to-all", &place.path("open"));
    chmod(&place.path("open"), 0o1757);
    let sticky = examined(&place, &place.path("open/sub/s"));
    sticky.is_well(); // what is in it is its owner's to move
    chmod(&place.path("shared"), 0o1777);
    examined(&place, &place.path("shared/s")).has("warning", "directory-shared", &place.path("shared"));
    chmod(&place.path("group"), 0o775);
    let group = examined(&place, &place.path("group/s"));
    let data = fs::metadata(place.path("group")).expect("a directory");
    // A group of the user's own number is his alone.
    let severity = if data.uid() == data.gid() { "note" } else { "warning" };
    group.has(severity, "directory-open-to-group", &place.path("group"));
}

/// The command in a remedy, up to the comma, as a shell does it.
#[track_caller]
fn done_by_shell(finding: &Value, up_to: &str) {
    let remedy = finding["remedy"].as_str().expect("a remedy");
    let command = remedy.split_once(up_to).map_or(remedy, |(command, _)| command);
    let output = run(Command::new("bash").args(["-c", command]).current_dir("/"));
    assert_eq!((status_of(&output), text(&output.stderr)), (0, String::new()), "{command}");
}

#[test]
fn a_remedy_does_what_it_says_whatever_the_directory_is_called() {
    let place = Place::new();
    for name in ["my dir", "$(echo x >pwned)", "`id`;'\"", "-x", "new\nline", "a%b*?["] {
        let dir = place.path(name);
        fs::create_dir(&dir).expect("a directory");
        chmod(&dir, 0o757);
        let findings = examined(&place, &dir.join("s"));
        let open = findings.has("error", "directory-open-to-all", &dir);
        assert!(!open["remedy"].as_str().is_some_and(|remedy| remedy.contains('\n')), "{open}");
        done_by_shell(open, ", or ");
        examined(&place, &dir.join("s")).is_well();
        let missing = dir.join(name).join("s");
        let findings = examined(&place, &missing);
        let remedy = findings.has("error", "parent-missing", &dir.join(name)).clone();
        let remedy = Value::from(remedy["remedy"].as_str().expect("a remedy").trim_start_matches("make it: "));
        done_by_shell(&serde_json::json!({ "remedy": remedy }), ", as the server's");
        examined(&place, &missing).is_well();
        assert!(!dir.join("pwned").exists() && !Path::new("/pwned").exists());
    }
}

#[test]
fn other_users_with_a_say_on_the_way_are_found() {
    if !is_root("directories of other users") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    for dir in ["theirs", "shared", "shared/theirs", "group"] {
        fs::create_dir(place.path(dir)).expect("a directory");
    }
    chown(place.path("theirs"), Some(NOBODY), None).expect("chown");
    examined(&place, &place.path("theirs/s")).has("warning", "directory-of-another-user", &place.path("theirs"));
    chmod(&place.path("shared"), 0o1777);
    chown(place.path("shared/theirs"), Some(NOBODY), None).expect("chown");
    let findings = examined(&place, &place.path("shared/theirs/s"));
    findings.has("warning", "entry-of-another-user", &place.path("shared/theirs"));
    chmod(&place.path("group"), 0o775);
    chown(place.path("group"), None, Some(NOBODY)).expect("chown");
    examined(&place, &place.path("group/s")).has("warning", "directory-open-to-group", &place.path("group"));
}

#[test]
fn an_ordinary_user_hears_where_he_may_not_go_or_write() {
    let place = Place::new();
    chmod(&place.path(""), 0o755);
    fs::create_dir(place.path("closed")).expect("a directory");
    fs::create_dir(place.path("unwritable")).expect("a directory");
    chmod(&place.path("unwritable"), 0o555);
    chmod(&place.path("closed"), 0o000);
    let findings = found(as_nobody(&place).arg(place.path("closed/sub/s")));
    findings.has("error", "directory-closed-to-you", &place.path("closed"));
    assert_eq!(findings.status, 4);
    let findings = found(as_nobody(&place).arg(place.path("unwritable/s")));
    findings.has("error", "parent-not-writable", &place.path("unwritable"));
    chmod(&place.path("closed"), 0o700);
    chmod(&place.path("unwritable"), 0o700);
}

#[test]
fn another_users_leftovers_are_told_to_an_ordinary_user() {
    if !is_root("files of other users") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o1777);
    put_dead(&place.path("s"));
    chmod(&place.path("s"), 0o666);
    mark(&place.path("lonely.lock"));
    let findings = found(as_nobody(&place).arg(place.path("s")));
    findings.has("warning", "socket-of-another-user", &place.path("s"));
    let findings = found(as_nobody(&place).arg(place.path("lonely")));
    findings.has("error", "lock-left-by-another-user", &place.path("lonely.lock"));
    chmod(&place.path("s"), 0o600);
    let findings = found(as_nobody(&place).arg(place.path("s")));
    findings.has("error", "cannot-tell", &place.path("s"));
    assert_eq!(findings.status, 4);
}

#[test]
fn symbolic_links_are_named_on_the_way_and_at_the_end() {
    let place = Place::new();
    fs::create_dir(place.path("dir")).expect("a directory");
    let _server = UnixListener::bind(place.path("dir/s")).expect("a socket");
    symlink("dir", place.path("link")).expect("a link");
    symlink(place.path("dir/s"), place.path("end")).expect("a link");
    symlink("nothing", place.path("dangling")).expect("a link");
    let findings = examined(&place, &place.path("link/s"));
    findings.has("note", "symlink-on-the-way", &place.path("link"));
    findings.is_well();
    examined(&place, &place.path("end")).has("warning", "path-is-symlink", &place.path("end"));
    examined(&place, &place.path("dangling")).has("error", "symlink-dangling", &place.path("dangling"));
    symlink("round", place.path("round")).expect("a link");
    let findings = examined(&place, &place.path("round/s"));
    findings.has("error", "symlink-loop", &place.path("round"));
    assert_eq!(findings.ids().iter().filter(|&&id| id == "symlink-on-the-way").count(), 1, "{findings:?}");
    let unknown = findings.has("note", "listeners-unknown", &place.path("round/s"));
    assert!(!unknown["remedy"].as_str().is_some_and(|remedy| remedy.contains("module")), "{unknown}");
}

#[test]
fn who_may_connect_is_told_and_who_is_kept_out_on_the_way() {
    let place = Place::new();
    fs::create_dir(place.path("dir")).expect("a directory");
    chmod(&place.path("dir"), 0o700);
    let _server = UnixListener::bind(place.path("dir/s")).expect("a socket");
    chmod(&place.path("dir/s"), 0o666);
    let findings = examined(&place, &place.path("dir/s"));
    let closed = findings.has("warning", "directory-closed-to-clients", &place.path("dir"));
    let opens =
        |finding: &Value, command: &str| finding["remedy"].as_str().is_some_and(|remedy| remedy.starts_with(command));
    assert!(opens(closed, "chmod o+x /"), "{closed}");
    chmod(&place.path("dir/s"), 0o660);
    let findings = examined(&place, &place.path("dir/s"));
    let closed = findings.has("warning", "directory-closed-to-clients", &place.path("dir"));
    assert!(opens(closed, "chmod g+x /"), "not for all: {closed}");
    chmod(&place.path("dir"), 0o710);
    chmod(&place.path(""), 0o711);
    let gid = fs::metadata(place.path("dir")).expect("a directory").gid();
    assert_eq!(fs::metadata(place.path("dir/s")).expect("a socket").gid(), gid);
    examined(&place, &place.path("dir/s")).has_not("directory-closed-to-clients");
    chmod(&place.path("dir/s"), 0o444);
    examined(&place, &place.path("dir/s")).has("warning", "socket-closed", &place.path("dir/s"));
}

/// What setfacl(1) does: entries of tag, rights and id. False where the file system has no lists.
fn set_acl(path: &Path, entries: &[(u8, u8, u32)]) -> bool {
    let entry = |&(tag, rights, id): &(u8, u8, u32)| [&[tag, 0, rights, 0][..], &id.to_le_bytes()].concat();
    let value = [vec![2, 0, 0, 0], entries.iter().flat_map(entry).collect()].concat();
    match rustix::fs::setxattr(path, "system.posix_acl_access", &value, rustix::fs::XattrFlags::empty()) {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP) => {
            let _ = writeln!(std::io::stderr(), "NOT TRIED: access control lists: the file system has none");
            false
        }
        Err(errno) => panic!("setxattr: {errno}"),
    }
}

const OWNER: u8 = 0x01;
const USER: u8 = 0x02;
const OWN_GROUP: u8 = 0x04;
const GROUP: u8 = 0x08;
const MASK: u8 = 0x10;
const OTHERS: u8 = 0x20;

#[test]
fn an_access_control_list_is_read_where_the_mode_does_not_tell() {
    const NONE: u32 = u32::MAX;
    let place = Place::new();
    fs::create_dir(place.path("dir")).expect("a directory");
    let dir = place.path("dir");
    let named = [(OWNER, 7, NONE), (USER, 7, 65_533), (OWN_GROUP, 0, NONE), (GROUP, 7, 65_531), (MASK, 7, NONE)];
    if !set_acl(&dir, &[&named[..], &[(OTHERS, 0, NONE)]].concat()) {
        return;
    }
    let _server = UnixListener::bind(dir.join("s")).expect("a socket");
    let findings = examined(&place, &dir.join("s"));
    let open = findings.has("warning", "directory-open-by-acl", &dir);
    let says = |finding: &Value, what: &str| finding.to_string().contains(what);
    assert!(says(open, "uid 65533, whoever is in group 65531"), "{open}");
    assert!(says(open, "setfacl -x u:65533,g:65531 /"), "{open}");
    findings.has_not("directory-open-to-group"); // it has nothing: the mode shows the mask
    // The mask leaves nothing to write.
    chmod(&dir, 0o750);
    examined(&place, &dir.join("s")).has_not("directory-open-by-acl");
    chmod(&dir, 0o1770);
    let findings = examined(&place, &dir.join("s"));
    findings.has_not("directory-open-by-acl");
    findings.has("warning", "directory-shared", &dir);

    let named = [(OWNER, 6, NONE), (USER, 6, 65_533), (OWN_GROUP, 0, NONE), (GROUP, 6, 65_531), (MASK, 6, NONE)];
    assert!(set_acl(&dir.join("s"), &[&named[..], &[(OTHERS, 0, NONE)]].concat()));
    let findings = examined(&place, &dir.join("s"));
    let connects = findings.has("note", "who-connects", &dir.join("s"));
    let uid = geteuid().as_raw();
    let who = format!("getfacl): uid {uid}, uid 65533, whoever is in group 65531, and root may connect");
    assert!(says(connects, &who), "{connects}");
}

#[test]
fn who_may_connect_goes_by_the_first_class_that_a_user_is_of() {
    let place = Place::new();
    let _server = UnixListener::bind(place.path("s")).expect("a socket");
    let data = fs::metadata(place.path("s")).expect("a socket");
    let (uid, gid) = (data.uid(), data.gid());
    let but = |whom: &str| {
        let whom = if uid == 0 { whom.replace("uid 0, nor ", "").replace("uid 0", "") } else { whom.to_owned() };
        if whom.is_empty() { whom } else { format!(" (but not {whom})") }
    };
    let group = format!("whoever is in group {gid}");
    for (mode, who) in [
        (0o600, format!("uid {uid} and root may")),
        (0o660, format!("uid {uid}, {group}, and root may")),
        (0o060, format!(": {group}{} and root may", but(&format!("uid {uid}")))),
        (0o020, format!(": {group}{} and root may", but(&format!("uid {uid}")))),
        (0o006, format!(": every user who gets to it{} may", but(&format!("uid {uid}, nor {group}")))),
        (0o666, ": every user who gets to it may".to_owned()),
    ] {
        chmod(&place.path("s"), mode);
        let findings = examined(&place, &place.path("s"));
        let connects = findings.has("note", "who-connects", &place.path("s"));
        assert!(connects["why"].as_str().is_some_and(|why| why.contains(&who)), "{mode:o}: {who}: {connects}");
    }
}

#[test]
fn a_listener_of_another_user_than_the_file_is_found() {
    if !is_root("a server of another user") {
        return;
    }
    let place = Place::new();
    chmod(&place.path(""), 0o777);
    let mut server = Command::new(copy(&place));
    server.arg("serve").arg(place.path("s")).args(["--", "cat"]).uid(NOBODY).gid(NOBODY);
    let mut server = Running::of(server);
    eventually("it listens", || std::os::unix::net::UnixStream::connect(place.path("s")).is_ok());
    chown(place.path("s"), Some(0), None).expect("chown");
    chmod(&place.path(""), 0o755);
    let findings = examined(&place, &place.path("s"));
    findings.has("warning", "listener-of-another-user", &place.path("s"));
    chmod(&place.path(""), 0o777);
    assert_eq!(server.end(), 0);
}

#[test]
fn locks_are_told_apart() {
    let place = Place::new();
    mark(&place.path("left.lock"));
    examined(&place, &place.path("left")).has("warning", "lock-left", &place.path("left.lock"));
    mark(&place.path("life.owner"));
    examined(&place, &place.path("life")).has("warning", "life-lock-left", &place.path("life.owner"));
    mark(&place.path("begun.start"));
    examined(&place, &place.path("begun")).has("warning", "start-lock-left", &place.path("begun.start"));
    for name in ["git.lock", "foreign.owner", "foreign.start"] {
        fs::write(place.path(name), "1").expect("a file");
        let path = place.path(name).with_extension("");
        let findings = examined(&place, &path);
        findings.has("warning", "lock-foreign", &place.path(name));
    }
    let claim = unix_stream_server::ServerSocket::builder().claim(place.path("held")).expect("a claim");
    let findings = examined(&place, &place.path("held"));
    let held = findings.has("note", "lock-held", &place.path("held.lock"));
    let us = std::process::id().to_string();
    assert!(held["why"].as_str().is_some_and(|why| why.contains(&us) || why.contains("cannot be seen")), "{held}");
    drop(claim);
}

#[test]
fn a_lock_that_somebody_holds_is_not_to_be_removed_whatever_its_mode() {
    let place = Place::new();
    // As where the file system drops the sticky bit.
    for name in ["s.lock", "s.owner", "s.start"] {
        let file = fs::File::create(place.path(name)).expect("a file");
        chmod(&place.path(name), 0o400);
        flock(&file, FlockOperation::NonBlockingLockExclusive).expect("a lock");
        let findings = examined(&place, &place.path("s"));
        let held = findings.has("warning", "lock-unmarked", &place.path(name));
        let us = format!("process {}", std::process::id());
        assert!(held["why"].as_str().is_some_and(|why| why.contains(&us) || why.contains("a process")), "{held}");
        assert!(!held["remedy"].as_str().is_some_and(|remedy| remedy.contains("remove")), "{held}");
        drop(file);
        let findings = in_the_end(&place, &place.path("s"), "lock-foreign");
        findings.has("warning", "lock-foreign", &place.path(name));
        fs::remove_file(place.path(name)).expect("removed");
    }
}

/// Made anew, with our mark, and held as long as this lives.
fn held_life_lock(path: &Path) -> fs::File {
    mark(path);
    chmod(path, 0o1400);
    // Its owner may read it.
    let held = fs::File::open(path).expect("a file");
    flock(&held, FlockOperation::NonBlockingLockExclusive).expect("a lock");
    held
}

#[test]
fn a_held_life_lock_is_told_where_no_server_is() {
    let place = Place::new();
    let held = held_life_lock(&place.path("s.owner"));
    let findings = examined(&place, &place.path("s"));
    let finding = findings.has("note", "life-lock-held", &place.path("s.owner"));
    let us = format!("process {}", std::process::id());
    assert!(
        finding["why"].as_str().is_some_and(|why| why.contains(&us) || why.contains("cannot be seen")),
        "{finding}"
    );
    drop(held);
    let findings = in_the_end(&place, &place.path("s"), "life-lock-left");
    findings.has_not("life-lock-held");
    let left = findings.has("warning", "life-lock-left", &place.path("s.owner"));
    assert!(left["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("unix-ss clean ")), "{left}");
}

/// As of a server that drains, or was killed while its child keeps the lock.
#[test]
fn a_held_life_lock_is_told_beside_a_dead_socket_too() {
    let place = Place::new();
    put_dead(&place.path("s"));
    let _held = held_life_lock(&place.path("s.owner"));
    // The socket is young for a second.
    let findings = in_the_end(&place, &place.path("s"), "life-lock-held");
    findings.has("note", "life-lock-held", &place.path("s.owner"));
    let dead = findings.has("warning", "socket-dead", &place.path("s"));
    assert!(dead["remedy"].as_str().is_some_and(|remedy| remedy.contains("life-lock-held")), "{dead}");
}

/// Their locks have hashes for names.
#[test]
fn of_long_names_the_locks_are_looked_at_too() {
    let place = Place::new();
    let path = place.path(&"n".repeat(250));
    let claim = unix_stream_server::ServerSocket::builder()
        .lock_scope(unix_stream_server::LockScope::Lifetime)
        .claim(&path)
        .expect("a claim");
    let mut names = fs::read_dir(place.path("")).expect("a directory").map(|entry| entry.expect("an entry").path());
    let life_lock = names.find(|path| path.extension().is_some_and(|end| end == "owner")).expect("a lock");
    drop(claim);
    put_dead(&path);
    fs::write(&life_lock, "another's").expect("a file");
    chmod(&life_lock, 0o644);
    let findings = examined(&place, &path);
    findings.has("warning", "lock-foreign", &life_lock);
    fs::remove_file(&life_lock).expect("removed");
    let _held = held_life_lock(&life_lock);
    let findings = in_the_end(&place, &path, "life-lock-held");
    findings.has("note", "life-lock-held", &life_lock);
    findings.has_not("socket-not-listening");
}

#[test]
fn a_live_server_with_a_life_lock_is_well() {
    let place = Place::new();
    let _server = place.serve(&["--lock-scope", "lifetime"], "s", &["cat"]);
    let findings = examined(&place, &place.path("s"));
    findings.is_well();
    findings.has_not("life-lock-held");
}

#[test]
fn a_socket_that_is_bound_and_does_not_listen_is_not_called_dead() {
    let place = Place::new();
    if unix_stream_server::lost_listeners(place.path("s")).is_err() {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: the kernel has no list of listeners");
        return;
    }
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a socket");
    let address = SocketAddrUnix::new(place.path("s")).expect("an address");
    rustix::net::bind(&socket, &address).expect("bind");
    let findings = examined(&place, &place.path("s"));
    findings.has("warning", "socket-not-listening", &place.path("s"));
    findings.has_not("socket-dead");
    drop(socket);
    in_the_end(&place, &place.path("s"), "socket-dead").has("warning", "socket-dead", &place.path("s"));
}

#[test]
fn locks_beside_a_link_are_those_of_what_it_leads_to_and_their_remedy_works() {
    let place = Place::new();
    put_dead(&place.path("dead"));
    mark(&place.path("dead.lock"));
    symlink("dead", place.path("link")).expect("a link");
    let findings = examined(&place, &place.path("link"));
    let left = findings.has("warning", "lock-left", &place.path("dead.lock"));
    let clean = format!("unix-ss clean {}", fs::canonicalize(place.path("dead")).expect("a path").display());
    assert!(left["remedy"].as_str().is_some_and(|remedy| remedy.ends_with(&clean)), "{left}");
}

#[test]
fn what_is_left_is_named_from_the_root_on_and_by_its_own_name() {
    let place = Place::new();
    mark(&place.path("s.owner"));
    mark(&place.path("s.start"));
    let mut command = unix_ss(&["doctor", "--json", "s"]);
    let findings = found(command.current_dir(place.path("")));
    findings.has("warning", "life-lock-left", &place.path("s.owner"));
    findings.has("warning", "start-lock-left", &place.path("s.start"));
    // The lock of a long name has a hash for its name.
    let long = "l".repeat(252);
    let claim = unix_stream_server::ServerSocket::builder().claim(place.path(&long)).expect("a claim");
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lock");
    let lock = files(&place.path("")).into_keys().find(is_lock).expect("a lock");
    let kept = place.path("kept");
    fs::rename(&lock, &kept).expect("renamed");
    drop(claim);
    fs::rename(&kept, &lock).expect("renamed");
    in_the_end(&place, &place.path(&long), "lock-left").has("warning", "lock-left", &lock);
}

#[test]
fn a_server_of_another_network_namespace_is_asked_once() {
    if !is_root("namespaces") || !unshares(&["-n"]) {
        return;
    }
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).expect("a socket");
    listener.set_nonblocking(true).expect("fcntl");
    let mut command = Command::new("unshare");
    found(command.args(["-n", env!("CARGO_BIN_EXE_unix-ss"), "doctor", "--json"]).arg(place.path("s")));
    let asked = std::iter::from_fn(|| listener.accept().ok()).count();
    assert_eq!(asked, 1);
}

#[test]
fn a_temporary_name_of_a_killed_starter_is_found() {
    let place = Place::new();
    // A name that a server is bound beside, since it does not fit: taken by one, and left at its temporary name.
    let name = "t".repeat(120);
    let server = unix_stream_server::ServerSocket::create(place.path(&name)).expect("a server");
    let bound = server.local_addr().expect("an address");
    let temporary = bound.as_pathname().expect("a name").file_name().expect("a name").to_owned();
    drop(server.into_listener());
    fs::rename(place.path(&name), place.path("").join(&temporary)).expect("renamed");
    eventually("it is old enough to be called left", || {
        let findings = examined(&place, &place.path(&name));
        findings.ids().contains(&"temporary-left")
    });
}

#[test]
fn a_server_that_has_lost_its_path_is_found_by_its_process() {
    let place = Place::new();
    if let Err(error) = unix_stream_server::lost_listeners(place.path("s")) {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: the kernel has no list of listeners: {error}");
        return;
    }
    // Another process, whose socket none that a test is just starting has a copy of; and stopped, else it ends by itself.
    let robbed = place.serve(&[], "s", &["cat"]);
    let it = format!("process {} ", robbed.pid());
    examined(&place, &place.path("s")).has_not("server-lost-path");
    robbed.signal(Signal::STOP);
    eventually("it has stopped", || robbed.has_stopped());
    fs::remove_file(place.path("s")).expect("removed");
    let findings = examined(&place, &place.path("s"));
    let lost = findings.has("error", "server-lost-path", &place.path("s"));
    assert!(lost["why"].as_str().is_some_and(|why| why.contains("by this path")), "a moved one has another: {lost}");
    assert!(lost["why"].as_str().is_some_and(|why| why.contains(&it)), "{lost}");
    let thief = UnixListener::bind(place.path("s")).expect("a socket");
    let findings = examined(&place, &place.path("s"));
    findings.has("error", "server-lost-path", &place.path("s"));
    assert_eq!(findings.ids().iter().filter(|&&id| id == "server-lost-path").count(), 1, "{findings:?}");
    drop(robbed);
    eventually("it is closed", || !examined(&place, &place.path("s")).ids().contains(&"server-lost-path"));
    drop(thief);
}

#[test]
fn nobody_is_told_to_end_process_1() {
    if !is_root("namespaces") || !unshares(&["-m", "-p", "-f", "--mount-proc"]) {
        return;
    }
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).expect("a socket");
    fs::remove_file(place.path("s")).expect("removed");
    let mut command = Command::new("unshare");
    // The shell, which is process 1 there, has the socket as its standard input.
    command.args(["-p", "-f", "--mount-proc", "sh", "-c", "\"$1\" doctor --json \"$2\"; exit $?", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_unix-ss")).arg(place.path("s")).stdin(std::os::fd::OwnedFd::from(listener));
    let findings = found(&mut command);
    let lost = findings.has("error", "server-lost-path", &place.path("s"));
    assert!(lost["why"].as_str().is_some_and(|why| why.starts_with("process 1 ")), "{lost}");
    assert!(!lost["remedy"].as_str().is_some_and(|remedy| remedy.contains("kill")), "{lost}");
}

#[test]
fn a_server_in_a_container_has_not_lost_the_path_of_the_same_name_outside() {
    if !is_root("namespaces") || !unshares(&["-m"]) {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("d")).expect("a directory");
    let mut server = Command::new("unshare");
    server.args(["-m", "sh", "-ec", "mount -t tmpfs none \"$2\"; exec \"$1\" serve \"$2/s\" -- cat", "sh"]);
    server.arg(env!("CARGO_BIN_EXE_unix-ss")).arg(place.path("d"));
    let mut server = Running::of(server);
    let inside = PathBuf::from(format!("/proc/{}/root{}", server.pid(), place.name("d/s")));
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&inside).is_ok());
    let findings = examined(&place, &place.path("d/s"));
    findings.has_not("server-lost-path");
    if unix_stream_server::lost_listeners(place.path("d/s")).is_ok() {
        findings.has("note", "other-mount-namespace", &place.path("d/s"));
    }
    assert_eq!(server.end(), 0);
}

#[test]
fn a_relative_path_leads_nowhere_from_a_deleted_directory() {
    let place = Place::new();
    let script = "mkdir d && cd d && rmdir ../d && exec \"$1\" doctor --json s";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_unix-ss")]).current_dir(place.path(""));
    let findings = found(&mut command);
    findings.has("error", "parent-missing", Path::new("s"));
    assert_eq!(findings.status, 1);
}

#[test]
fn nobodys_name_makes_a_server_look_lost() {
    let place = Place::new();
    if unix_stream_server::lost_listeners(place.path("s")).is_err() {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: the kernel has no list of listeners");
        return;
    }
    let _server = UnixListener::bind(place.path("s")).expect("a socket");
    let other = UnixListener::bind(place.path("other")).expect("a socket");
    let number = rustix::fs::fstat(&other).expect("a socket").st_ino;
    // In /proc/net/unix it reads as a line of its own: that the other server listens by the name of this path.
    let forged = format!("\n0: 2 0 00010000 1 1 {number} {}", place.name("s"));
    let forged = SocketAddr::from_abstract_name(forged).expect("a name");
    let _forger = UnixListener::bind_addr(&forged).expect("a socket");
    examined(&place, &place.path("s")).has_not("server-lost-path");
}

#[test]
fn a_lost_server_is_found_whatever_bytes_its_name_has() {
    let place = Place::new();
    if unix_stream_server::lost_listeners(place.path("s")).is_err() {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: the kernel has no list of listeners");
        return;
    }
    let path = place.path("a\nb");
    let _robbed = UnixListener::bind(&path).expect("a socket");
    fs::remove_file(&path).expect("removed");
    examined(&place, &path).has("error", "server-lost-path", &path);
}

#[test]
fn a_file_system_that_others_may_serve_on_is_told() {
    let place = Place::new();
    // Of a type that is not known to be local.
    let findings = examined(&place, Path::new("/proc/self/s"));
    assert!(findings.all.iter().any(|finding| finding["finding"] == "file-system-not-local"), "{findings:#?}");
}

/// Can namespaces be had here? Not everybody who is root in a container may.
fn unshares(flags: &[&str]) -> bool {
    let works = Command::new("unshare").args(flags).arg("true").output().is_ok_and(|output| output.status.success());
    if !works {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: namespaces: unshare does not work here");
    }
    works
}

/// As root with mounts of its own; `script` sees the command as `$1`.
#[track_caller]
fn with_mounts(script: &str, place: &Place) -> Findings {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", script, "sh", env!("CARGO_BIN_EXE_unix-ss")]).arg(place.path(""));
    found(&mut command)
}

#[test]
fn mounts_and_cleaners_are_told() {
    if !is_root("mounts") || !unshares(&["-m"]) {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("ro")).expect("a directory");
    let findings = with_mounts("mount -t tmpfs -o ro none $2/ro; exec $1 doctor --json $2/ro/s", &place);
    findings.has("error", "file-system-read-only", &place.path("ro"));
    // The same age for a path that a cleaner sees, and for one that it does not see.
    let rule = "mount -t tmpfs none /run; mkdir /run/tmpfiles.d /run/app; echo 'd /run/app 0755 - - 3d' >/run/tmpfiles.d/a.conf; ";
    let seen = with_mounts(&format!("{rule} exec $1 doctor --json /run/app/s"), &place);
    let cleaner = seen.has("note", "tmp-cleaner", Path::new("/run/app/s"));
    assert!(cleaner["why"].as_str().is_some_and(|why| why.contains("3d") && why.contains("a.conf")), "{cleaner}");
    // The name by which it was bound has the say: a moved one is not seen where it is now.
    let moved = UnixListener::bind(place.path("before")).expect("a socket");
    fs::rename(place.path("before"), place.path("moved")).expect("renamed");
    let own_rule =
        "mount -t tmpfs none /run; mkdir /run/tmpfiles.d; echo \"d '$2' - - - 3d\" >/run/tmpfiles.d/a.conf; ";
    let ask = format!("{own_rule} exec $1 doctor --json $2/moved");
    with_mounts(&ask, &place).has("warning", "tmp-cleaner", &place.path("moved"));
    fs::rename(place.path("moved"), place.path("before")).expect("renamed");
    let ask = format!("{own_rule} exec $1 doctor --json $2/before");
    with_mounts(&ask, &place).has("note", "tmp-cleaner", &place.path("before"));
    drop(moved);
    let long = Path::new("/run/app").join("l".repeat(110));
    let unseen = with_mounts(&format!("{rule} exec $1 doctor --json {}", long.display()), &place);
    unseen.has("warning", "tmp-cleaner", &long);
    let overlay = "mount -t tmpfs none $2/ro; cd $2/ro; mkdir l u w m; \
        mount -t overlay overlay -o lowerdir=$PWD/l,upperdir=$PWD/u,workdir=$PWD/w m; exec $1 doctor --json $PWD/m/s";
    with_mounts(overlay, &place).has("note", "file-system-overlay", &place.path("ro/m"));
    let session = "mount -t tmpfs none /run; mkdir -p -m 700 /run/user/0; unset XDG_RUNTIME_DIR; \
        exec $1 doctor --json /run/user/0/s";
    let findings = with_mounts(session, &place);
    let session = findings.has("note", "session-directory", Path::new("/run/user/0"));
    assert!(session["remedy"].as_str().is_some_and(|remedy| remedy.ends_with("enable-linger root")), "{session}");
    let others = "mount -t tmpfs none /run; mkdir -p -m 700 /run/user/12345; unset XDG_RUNTIME_DIR; \
        exec $1 doctor --json /run/user/12345/s";
    let others = with_mounts(others, &place);
    let unset = others.has("warning", "xdg-runtime-dir-unset", Path::new("/run/user/12345"));
    assert!(unset["remedy"].as_str().is_some_and(|remedy| remedy.contains("in the shell of 12345")), "{unset}");
    findings.has("warning", "xdg-runtime-dir-unset", Path::new("/run/user/0"));
    let findings = with_mounts("umount -l /proc; exec $1 doctor --json $2/s", &place);
    findings.has("warning", "no-proc", Path::new("/proc"));
    findings.has_not("listeners-unknown"); // the list is not in /proc
}

#[test]
fn namespaces_are_told() {
    if !is_root("namespaces") || !unshares(&["-m", "-p", "-f", "--mount-proc"]) {
        return;
    }
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.args(["-p", "-f", "--mount-proc", env!("CARGO_BIN_EXE_unix-ss"), "doctor", "--json"]).arg(place.path("s"));
    let inside = found(&mut command);
    assert!(inside.ids().contains(&"pid-namespace"), "{inside:?}");
    let errors = fs::File::create(place.path("errors")).expect("a file");
    let mut server = Command::new("unshare");
    server.args(["-m", env!("CARGO_BIN_EXE_unix-ss"), "serve"]).arg(place.path("s")).args(["--", "cat"]).stderr(errors);
    let server = Running::of(server);
    eventually("it listens", || std::os::unix::net::UnixStream::connect(place.path("s")).is_ok());
    examined(&place, &place.path("s")).has("note", "other-mount-namespace", &place.path("s"));
    server.signal(Signal::TERM);
    eventually("it is gone", || !place.path("s").exists());
}

#[test]
fn an_unfit_runtime_directory_is_told() {
    let place = Place::new();
    fs::create_dir(place.path("run")).expect("a directory");
    let ask = || {
        let mut command = unix_ss(&["doctor", "--json"]);
        found(command.arg(place.path("run/s")).env("XDG_RUNTIME_DIR", place.path("run")))
    };
    chmod(&place.path("run"), 0o700);
    ask().is_well();
    chmod(&place.path("run"), 0o755);
    ask().has("warning", "xdg-runtime-dir-unfit", &place.path("run"));
}

#[test]
fn a_directory_for_temporary_files_is_told_by_its_variable_too() {
    let place = Place::new();
    let mut command = unix_ss(&["doctor", "--json"]);
    let findings = found(command.arg(place.path("s")).env("TMPDIR", place.path("")));
    findings.has("note", "temporary-directory", &place.path("s"));
}

#[test]
fn for_people_it_is_a_paragraph_each_and_a_summary() {
    let place = Place::new();
    put_dead(&place.path("s"));
    let output = run(unix_ss(&["doctor"]).args([place.path("s"), place.path("absent")]));
    assert_eq!(status_of(&output), 1);
    let said = text(&output.stdout);
    let first = format!("warning: socket-dead: {}\n  why:    nobody listens on the socket", place.name("s"));
    assert!(said.starts_with(&first), "{said}");
    assert!(said.contains(&format!("\n{}: 0 errors, 1 warning, ", place.name("s"))), "{said}");
    assert!(said.contains(&format!("\n{}: nothing is wrong", place.name("absent"))), "{said}");
    let forged = run(unix_ss(&["doctor"]).arg(place.path("s\nerror: x\u{1b}[2J")));
    assert!(!text(&forged.stdout).contains(['\u{1b}']) && !text(&forged.stdout).contains("\nerror: x"));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let place = Place::new();
    let script = "\"$0\" doctor --json \"$1\" | true";
    let output = run(Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_unix-ss")]).arg(place.path("s")));
    assert_eq!(text(&output.stderr), "");
}
