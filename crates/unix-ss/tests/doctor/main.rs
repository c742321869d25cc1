//! `doctor`: each thing that is wrong or risky is found, with its remedy, and nothing is changed.

mod cleaners;
#[path = "../common/mod.rs"]
mod common;
#[path = "../../../unix-stream-server/tests/support/filter.rs"]
pub mod filter;
mod listeners;
mod locks;
mod rights;
mod surroundings;
mod way;

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
use rustix::fs::{FlockOperation, IFlags, flock};
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
        keys.retain(|&key| !["path_hex", "about_hex"].contains(&key));
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

/// If not, that is said.
fn lists_listeners() -> bool {
    let listed = unix_stream_server::lost_listeners("/s");
    if let Err(error) = &listed {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: the kernel has no list of listeners: {error}");
    }
    listed.is_ok()
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
fn a_socket_that_is_bound_and_does_not_listen_is_not_called_dead() {
    let place = Place::new();
    if !lists_listeners() {
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
fn a_relative_path_leads_nowhere_from_a_deleted_directory() {
    let place = Place::new();
    let script = "mkdir d && cd d && rmdir ../d && exec \"$1\" doctor --json s";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_unix-ss")]).current_dir(place.path(""));
    let findings = found(&mut command);
    findings.has("error", "parent-missing", Path::new("s"));
    assert_eq!(findings.status, 1);
}

/// Can namespaces be had here? Not everybody who is root in a container may.
fn unshares(flags: &[&str]) -> bool {
    let works = Command::new("unshare").args(flags).arg("true").output().is_ok_and(|output| output.status.success());
    if !works {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: namespaces: unshare does not work here");
    }
    works
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
