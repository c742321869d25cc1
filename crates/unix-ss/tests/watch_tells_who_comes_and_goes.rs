//! `watch`: each change of owner or state, as it happens, and an end whenever it is told to.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use common::{BOUND, Place, run, status_of, text, unix_ss};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// `unix-ss watch` at work, its lines as they come.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn new(args: &[&str]) -> Self {
        let mut command = unix_ss(&["watch"]);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().expect("a process");
        let lines = lines_of(child.stdout.take().expect("a pipe"));
        Watching { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(BOUND).expect("a line in time")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.line()).expect("JSON")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process");
    }

    fn status(&mut self) -> Option<i32> {
        let mut status = None;
        common::eventually("it ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(pipe: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

#[test]
fn a_server_that_comes_dies_and_comes_again_is_told_with_its_owner() {
    let place = Place::new();
    let watching = Watching::new(&["--json", &place.name("s")]);
    let first = watching.json();
    assert_eq!((&first["event"], &first["state"], &first["peer"]), (&json!("gone"), &json!("absent"), &Value::Null));
    let mut server = place.serve(&[], "s", &["cat"]);
    let ours = watching.json();
    assert_eq!((&ours["event"], &ours["state"]), (&json!("ours"), &json!("live")), "{ours}");
    assert_eq!((&ours["peer"]["pid"], &ours["peer"]["program"]), (&json!(server.pid()), &json!("unix-ss")));
    server.signal(Signal::KILL);
    server.wait();
    let dead = watching.json();
    assert_eq!((&dead["event"], &dead["state"], &dead["inode"]), (&json!("gone"), &json!("dead"), &ours["inode"]));
    let mut second = place.serve(&[], "s", &["cat"]);
    // The dead one is removed before the new one comes, which may be seen or not.
    let told: Vec<_> = std::iter::from_fn(|| Some(watching.json())).take_while(|it| it["event"] == "gone").collect();
    assert!(told.len() <= 1, "{told:?}");
    assert_eq!(second.end(), 0);
    let absent = watching.json();
    assert_eq!((&absent["event"], &absent["state"]), (&json!("gone"), &json!("absent")), "{absent}");
}

#[test]
fn a_path_that_is_replaced_and_one_that_comes_back_are_told() {
    let place = Place::new();
    let _ours = UnixListener::bind(place.path("s")).expect("a socket");
    let watching = Watching::new(&["--json", &place.name("s")]);
    assert_eq!(watching.json()["event"], "ours");
    std::fs::hard_link(place.path("s"), place.path("kept")).expect("a link");
    let _thief = UnixListener::bind(place.path("thief")).expect("a socket");
    std::fs::rename(place.path("thief"), place.path("s")).expect("renamed over");
    let replaced = watching.json();
    assert_eq!((&replaced["event"], &replaced["state"]), (&json!("replaced"), &json!("live")), "{replaced}");
    std::fs::rename(place.path("kept"), place.path("s")).expect("renamed over");
    assert_eq!(watching.json()["event"], "back");
    std::fs::write(place.path("file"), "").expect("a file");
    std::fs::rename(place.path("file"), place.path("s")).expect("renamed over");
    let file = watching.json();
    assert_eq!((&file["event"], &file["kind"]), (&json!("replaced"), &json!("regular file")), "{file}");
    std::fs::remove_file(place.path("s")).expect("removed");
    assert_eq!(watching.json()["event"], "gone");
}

#[test]
fn the_keys_are_those_of_status_and_two_more() {
    let place = Place::new();
    let _server = UnixListener::bind(place.path("s")).expect("a socket");
    let watching = Watching::new(&["--json", &place.name("s")]);
    let line = watching.json();
    let status = run(unix_ss(&["status", "--json"]).arg(place.path("s")));
    let Value::Object(mut status) = serde_json::from_slice(&status.stdout).expect("JSON") else { panic!("an object") };
    status.insert("event".into(), json!("ours"));
    status.insert("time".into(), line["time"].clone());
    assert_eq!(line, Value::Object(status));
    let time = line["time"].as_str().expect("a string");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "RFC 3339");
}

#[test]
fn for_people_it_is_a_line_each_which_no_path_can_forge() {
    let place = Place::new();
    let name = "s: absent\nforged";
    let _server = UnixListener::bind(place.path(name)).expect("a socket");
    let watching = Watching::new(&[&place.name(name)]);
    let line = watching.line();
    let (time, rest) = line.split_once(' ').expect("a time");
    assert!(time.ends_with('Z'), "{line}");
    let expected = format!("ours: {}\\nforged: live, process {} ", place.name("s: absent"), std::process::id());
    assert!(rest.starts_with(&expected), "{line}");
}

#[test]
fn signals_and_the_end_of_its_time_end_it_well() {
    let place = Place::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut watching = Watching::new(&[&place.name("s")]);
        watching.line();
        watching.signal(signal);
        assert_eq!(watching.status(), Some(0));
    }
    let mut watching = Watching::new(&["--timeout", "30ms", &place.name("s")]);
    watching.line();
    assert_eq!(watching.status(), Some(0));
    let mut watching = Watching::new(&["--timeout", "0", &place.name("s")]);
    watching.line();
    assert_eq!(watching.status(), Some(0), "what is there now is told in any case");
}

/// Not only at the next line, which may never come.
#[test]
fn a_reader_that_has_gone_ends_it_at_once_and_without_a_panic() {
    let place = Place::new();
    let (stderr, mut command) = (place.path("stderr"), unix_ss(&["watch", &place.name("s")]));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&stderr).expect("a file"))
        .spawn()
        .expect("a process");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    reader.read_line(&mut String::new()).expect("a line");
    drop(reader);
    let mut watching = Watching { child, lines: mpsc::channel().1 };
    assert_eq!(watching.status(), Some(0));
    assert_eq!(std::fs::read_to_string(stderr).expect("a file"), "");
}

#[test]
fn a_full_disk_is_an_error_and_no_panic() {
    let place = Place::new();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let child = unix_ss(&["watch", &place.name("s")]).stdout(full).stderr(Stdio::piped()).spawn().expect("a process");
    let output = child.wait_with_output().expect("output");
    assert_eq!(status_of(&output), 1);
    let said = text(&output.stderr);
    assert!(said.starts_with("unix-ss: cannot write standard output: no space left"), "{said}");
}

#[test]
fn a_path_without_a_directory_is_an_error_and_one_without_a_file_is_not() {
    let place = Place::new();
    let output = run(&mut unix_ss(&["watch", &place.name("missing/s")]));
    assert_eq!((status_of(&output), text(&output.stdout)), (1, String::new()));
    let said = text(&output.stderr);
    assert!(said.contains(&place.name("missing/s")) && said.contains("create the directory first"), "{said}");
    let output = run(&mut unix_ss(&["watch", ""]));
    assert_eq!(status_of(&output), 1);
    let output = run(&mut unix_ss(&["watch", "--timeout", "0", &place.name("absent")]));
    assert_eq!(status_of(&output), 0);
    let output = run(&mut unix_ss(&["watch"]));
    assert_eq!(status_of(&output), 2);
}
