//! `serve --activate`, `--on-demand`, `ensure`: a PROG that cannot be started is told once, with its path and the reason,
//! and to nobody as running; nothing is left of it.

mod common;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use common::users::{NOBODY, is_root};
use common::{Place, Running, client, eventually, run, status_of, text};

const ACTIVATE: [&str; 2] = ["serve", "--activate"];
const ON_DEMAND: [&str; 3] = ["serve", "--activate", "--on-demand"];

/// What was said, and the exit status, of a start that fails; a client makes one on demand begin.
#[track_caller]
fn start(place: &Place, before: &[&str], options: &[&str], program: &str) -> (String, i32) {
    let said = place.path("said");
    let command = [before, &[env!("CARGO_BIN_EXE_unix-ss")], options].concat();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 3>ready; exec \"$@\"", "sh"]).args(&command);
    if !options.contains(&"ensure") {
        shell.args(["--ready-fd", "3"]);
    }
    shell.args([&place.name("s"), "--", program, &place.name("started")]).current_dir(place.path(""));
    shell.stdin(Stdio::null()).stderr(File::create(&said).expect("a file"));
    let _ = fs::remove_file(place.path("ready"));
    let mut server = Running::of(shell);
    let guest = options.contains(&"--on-demand").then(|| {
        eventually("it serves", || is_announced(place));
        let mut stream = client(&place.path("s"));
        stream.write_all(b"who?\n").expect("sent");
        stream
    });
    let status = server.wait();
    drop(guest);
    let said = fs::read_to_string(said).expect("a file");
    // Of one on demand, its client is spoken of as well.
    let said = said.replace("unix-ss: 1 client was still queued at the end, and was not served\n", "");
    assert!(!place.path("started").exists(), "{said}");
    for name in ["s", "s.lock", "s.start"] {
        assert!(fs::symlink_metadata(place.path(name)).is_err(), "{name} is left: {said}");
    }
    (said, status)
}

fn is_announced(place: &Place) -> bool {
    fs::read(place.path("ready")).is_ok_and(|word| word == b"\n")
}

fn put(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn one_that_cannot_be_run_is_told_with_its_path_and_the_reason() {
    let place = Place::new();
    put(&place.path("data"), "not a program", 0o644);
    put(&place.path("orphan"), "#!/no/such/interpreter\n", 0o755);
    for options in [&ACTIVATE[..], &ON_DEMAND, &["ensure"], &["ensure", "--wait-listen"]] {
        for (name, status, why) in [
            ("data", 126, "permission denied"),
            ("data/below", 126, "not a directory"),
            ("orphan", 127, "no such file or directory"),
            ("none", 127, "no such file or directory"),
        ] {
            let program = place.name(name);
            let expected = (format!("unix-ss: cannot run {program}: {why}\n"), status);
            assert_eq!(start(&place, &[], options, &program), expected, "{options:?}");
        }
    }
}

#[test]
fn one_that_the_user_may_not_run_is_told_so() {
    if !is_root("another user's processes") {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(""), Permissions::from_mode(0o755)).expect("chmod");
    put(&place.path("secret"), "#!/bin/sh\n", 0o700);
    let program = place.name("secret");
    let user = format!("{NOBODY}:{NOBODY}");
    for mode in [&ACTIVATE[..], &ON_DEMAND] {
        let options = [mode, &["--run-as", &user]].concat();
        let expected = (format!("unix-ss: cannot run {program}: permission denied\n"), 126);
        assert_eq!(start(&place, &[], &options, &program), expected, "{options:?}");
        assert_eq!(is_announced(&place), mode == ON_DEMAND, "only who is to serve on demand is, before PROG runs");
    }
}

#[test]
fn a_user_that_it_cannot_become_is_told_once() {
    // A user namespace of one user, in which nobody may set the groups.
    let unshare = ["unshare", "--user", "--map-root-user"];
    let works = Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
    if !works.is_ok_and(|output| output.status.success()) {
        let _ = writeln!(std::io::stderr(), "NOT TRIED: a user that cannot be become: unshare does not work here");
        return;
    }
    let place = Place::new();
    for mode in [&ACTIVATE[..], &ON_DEMAND] {
        let options = [mode, &["--run-as", "0:0"]].concat();
        let why = "cannot become the user of --run-as and listen: operation not permitted";
        let expected = (format!("unix-ss: cannot run touch: {why}\n"), 126);
        assert_eq!(start(&place, &unshare, &options, "touch"), expected, "{options:?}");
        assert_eq!(is_announced(&place), mode == ON_DEMAND, "only who is to serve on demand is, before PROG runs");
    }
}

/// By the hidden half alone: it lacks a descriptor sooner than its starter only where it is started by hand.
#[test]
fn a_socket_that_cannot_be_handed_over_is_reported_or_said() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).expect("bind");
    let begin = |limit: &str, options: &[&str]| {
        let script = format!("{limit}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_unix-ss"), "__activate-exec", "--fd-name", "x"]);
        command.args(options).args(["--", "touch", "started"]).current_dir(place.path(""));
        run(command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener.try_clone().expect("a descriptor")))))
    };
    let output = begin("ulimit -n 4", &[]);
    assert_eq!(text(&output.stderr), "unix-ss: cannot hand the socket to touch: too many open files\n");
    assert_eq!(status_of(&output), 1);
    // With nothing in the report, PROG would be taken for running.
    let output = begin("exec 4>report; ulimit -n 5", &["--report-fd", "4"]);
    assert_eq!(text(&output.stderr), "", "its starter says it");
    assert!(!fs::read(place.path("report")).expect("a file").is_empty());
    assert!(!output.status.success() && !place.path("started").exists());
}
