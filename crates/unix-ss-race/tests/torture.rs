//! Under torture no promise breaks; and the judge of that finds every defect that is planted.
//!
//! `UNIX_SS_TORTURE_SECONDS` makes it longer than its 5 seconds, `UNIX_SS_TORTURE_OPERATIONS` goes on until so many
//! have been done, `UNIX_SS_TORTURE_SEED` repeats what the processes chose.

mod common;

use std::fs::{Permissions, set_permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use common::{Killed, eventually, pids_with, processes_with};

/// Each defect has so much time to be found; what it takes is seconds at the most (DESIGN.md).
const FOUND_WITHIN: &str = "60";

fn torture(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unix-ss-torture"));
    command.args(arguments).stdin(Stdio::null());
    command
}

#[track_caller]
fn good(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

/// Two, if there are two file systems to be had without rights.
fn directories() -> Vec<String> {
    let mut all = vec![std::env::temp_dir()];
    let device = |path: &Path| path.metadata().map(|data| data.dev()).ok();
    let shm = Path::new("/dev/shm");
    let is_ours = tempfile::tempdir_in(shm).is_ok();
    if is_ours && device(shm) != device(&all[0]) {
        all.push(shm.to_owned());
    }
    all.iter().flat_map(|dir| ["--dir".to_owned(), dir.to_str().expect("UTF-8").to_owned()]).collect()
}

#[test]
fn no_promise_breaks_under_torture() {
    let wish = |name, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let seconds = wish("UNIX_SS_TORTURE_SECONDS", "5");
    let operations = wish("UNIX_SS_TORTURE_OPERATIONS", "0");
    let mut command = torture(&["--seconds", &seconds, "--operations", &operations]);
    if let Ok(seed) = std::env::var("UNIX_SS_TORTURE_SEED") {
        command.args(["--seed", &seed]);
    }
    let text = good(&command.args(directories()).output().expect("it runs"));
    println!("{text}");
    assert!(text.contains("\n0 violations\n"), "{text}");
    let owners = text.lines().find(|line| line.starts_with("owners: ")).expect("a line");
    let parties = if is_root() { &["Ours", "GitLike", "OtherUser"][..] } else { &["Ours", "GitLike"] };
    assert!(!owners.ends_with(" 0 were replaced"), "nobody was replaced: {text}");
    assert!(parties.iter().all(|party| owners.contains(&format!(" {party}"))), "not all took part: {text}");
}

#[test]
fn two_users_are_told_of_only_where_there_are_two() {
    let [closed, open] = [0o700, 0o755].map(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        set_permissions(dir.path(), Permissions::from_mode(mode)).expect("chmod");
        dir
    });
    let run = |dir: &tempfile::TempDir| {
        good(&torture(&["--seconds", "1", "--dir"]).arg(dir.path()).output().expect("it runs"))
    };
    let text = run(&closed);
    let said = match is_root() {
        true => format!("one user (another cannot enter {})", closed.path().display()),
        false => "one user (root has two, with 5 servers or more)".to_owned(),
    };
    assert!(text.lines().next().is_some_and(|line| line.ends_with(&said)) && !text.contains("OtherUser"), "{text}");
    if is_root() {
        assert!(run(&open).contains(" epochs, two users\n"), "where files are temporary, everybody may go");
    }
}

#[test]
fn every_planted_defect_is_found_by_what_it_breaks() {
    let text = good(&torture(&["--plant", "all", "--seconds", FOUND_WITHIN]).output().expect("it runs"));
    println!("{text}");
    assert_eq!(text.lines().count(), 18, "{text}");
    assert!(!text.contains("nothing found"), "{text}");
}

#[test]
fn careful_servers_beside_which_defects_are_planted_are_found_clean() {
    let text = good(&torture(&["--plant", "none", "--seconds", "3"]).output().expect("it runs"));
    assert!(text.contains("nothing found"), "{text}");
}

#[test]
fn nothing_outlives_a_conductor_that_is_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = dir.path().to_str().expect("UTF-8");
    let mut command = torture(&["--seconds", "60", "--dir", name]);
    let mut conductor = Killed(command.stdout(Stdio::null()).spawn().expect("it runs"));
    let workers = || processes_with(name, conductor.0.id());
    eventually("all workers run", || workers() >= 24);
    let pid = conductor.0.id();
    conductor.0.kill().expect("it is alive");
    conductor.0.wait().expect("a child");
    eventually("they have ended", || processes_with(name, pid) == 0);
}

/// As by a kernel that is out of memory. Servers die by themselves too, so some are tried; a client never does.
#[test]
fn a_worker_that_somebody_else_kills_disturbs_the_run_and_is_no_violation() {
    for of_whom in ["\"party\":null", "\"party\":\"Ours\""] {
        let dir = tempfile::tempdir().expect("a directory");
        let name = dir.path().to_str().expect("UTF-8");
        let mut command = torture(&["--seconds", "60", "--dir", name]);
        let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut conductor = Killed(pipes.spawn().expect("it runs"));
        let pid = conductor.0.id();
        eventually("all workers run", || processes_with(name, pid) >= 24);
        // Whoever has those words may be of another torture: of ours are those who have the name too.
        let ours = pids_with(name, pid);
        let victims = pids_with(of_whom, pid).into_iter().filter(|pid| ours.contains(pid));
        for victim in victims.take(4).filter_map(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            let _ = kill_process(victim, Signal::KILL);
        }
        let mut said = [String::new(), String::new()];
        conductor.0.stdout.take().expect("a pipe").read_to_string(&mut said[0]).expect("UTF-8");
        conductor.0.stderr.take().expect("a pipe").read_to_string(&mut said[1]).expect("UTF-8");
        let status = conductor.0.wait().expect("a child");
        assert_eq!(status.code(), Some(3), "{said:?}");
        assert!(said[0].is_empty() && said[1].contains("the run was disturbed: worker "), "{said:?}");
        assert!(said[1].ends_with(" was killed from outside\n"), "{said:?}");
    }
}

#[test]
fn wrong_arguments_are_told_and_end_with_2() {
    for wrong in [&["--seconds", "x"][..], &["--servers", "3"], &["--clients", "17"], &["--plant", "no-such"], &["x"]] {
        let output = torture(wrong).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}

/// In a mount namespace of its own, over a tmpfs; nothing of it is seen from outside, and all goes with it.
#[test]
#[ignore = "needs root and unshare (util-linux)"]
fn no_promise_breaks_on_overlayfs() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = "set -e; cd \"$1\"; mount -t tmpfs tmpfs .; cd \"$1\"; mkdir lower upper work merged; \
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged; chmod 755 . merged; \
        exec \"$2\" --seconds 5 --dir \"$1/merged\"";
    if !is_root() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "NOT TRIED: overlayfs, which only root can mount");
        return;
    }
    let program = env!("CARGO_BIN_EXE_unix-ss-torture");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .args([dir.path(), Path::new(program)])
        .stdin(Stdio::null())
        .output()
        .expect("unshare");
    let text = good(&output);
    println!("{text}");
    assert!(text.contains("\n0 violations\n"), "{text}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
