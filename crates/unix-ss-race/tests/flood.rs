//! Clients that connect without pause lose nothing by a server's being replaced; and long lives leak nothing.
//!
//! In short; the whole of both is `unix-ss-torture flood` and `unix-ss-torture soak` (DESIGN.md).

mod common;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Killed, eventually, pids_with, processes_with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unix-ss-torture"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What it says, an object each line.
#[track_caller]
fn good(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[track_caller]
fn flood(arguments: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = program(&["flood", "--json", "--seconds", "1", "--clients", "8", "--take-overs", "5"]);
    let outcomes = good(&command.args(arguments).arg("--dir").arg(dir.path()).output().expect("it runs"));
    let number = |key: &str| outcomes[0][key].as_u64().expect("a number");
    assert!(number("take_overs") >= 5 && number("requests") >= 8, "{outcomes:?}");
    assert_eq!(number("requests"), number("answered"));
    for what in ["reset", "absent", "refused", "unanswered", "failed"] {
        assert_eq!(number(what), 0, "{what}");
    }
    assert!(is_empty(dir.path()), "something is left");
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn nobody_is_lost_while_the_server_is_replaced() {
    flood(&[]);
}

#[test]
fn nobody_is_lost_where_the_queue_is_always_full() {
    flood(&["--backlog", "1"]);
}

#[test]
fn nobody_is_lost_where_a_successor_waits_for_the_life_lock() {
    flood(&["--life"]);
}

#[test]
fn a_server_that_lives_long_and_is_replaced_often_leaks_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let arguments =
        ["soak", "--json", "--connections", "10000", "--take-overs", "40", "--returns", "20", "--progs", "0"];
    let lives = good(&program(&arguments).arg("--dir").arg(dir.path()).output().expect("it runs"));
    assert_eq!(lives.len(), 3, "{lives:?}");
    assert!(lives.iter().all(|life| life["after"]["heap"].as_u64() > Some(0)), "{lives:?}");
    assert!(is_empty(dir.path()), "something is left");
}

#[test]
fn nothing_outlives_a_flood_whose_conductor_is_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = dir.path().to_str().expect("UTF-8");
    let mut command = program(&["flood", "--seconds", "60", "--clients", "8", "--dir", name]);
    let mut conductor = Killed(command.stdout(Stdio::null()).spawn().expect("it runs"));
    let pid = conductor.0.id();
    eventually("clients and a server run", || processes_with(name, pid) >= 9);
    conductor.0.kill().expect("it is alive");
    conductor.0.wait().expect("a child");
    eventually("they have ended", || processes_with(name, pid) == 0);
}

#[test]
fn a_server_that_dies_ends_the_soak_with_a_message() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = dir.path().to_str().expect("UTF-8");
    let arguments = ["soak", "--connections", "2", "--take-overs", "2", "--returns", "100000000", "--dir", name];
    let mut soak = Killed(program(&arguments).stderr(Stdio::piped()).spawn().expect("it runs"));
    let servers = || pids_with(&format!("{{\"Returns\":{{\"path\":\"{name}"), 0);
    eventually("two processes replace each other", || servers().len() == 2);
    // The one that was started last: what the other says is waited for already.
    let last = servers().into_iter().max().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
    kill_process(last.expect("a pid"), Signal::KILL).expect("it lives");
    let mut ended = None;
    eventually("the soak ends", || {
        ended = soak.0.try_wait().expect("a child");
        ended.is_some()
    });
    let mut said = String::new();
    soak.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{said}");
    assert!(said.contains(" of two processes, through 100000000 take-overs ended before its time"), "{said}");
    assert!(is_empty(dir.path()), "something is left");
}

#[test]
fn wrong_arguments_are_told_and_end_with_2() {
    for wrong in [&["flood", "--clients", "0"][..], &["flood", "--grace", "1h"], &["soak", "--divide", "0"]] {
        let output = program(wrong).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
    let output = program(&["flood", "--seconds", "1", "--dir", "/nowhere"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
}
