//! `--verbose` and `--log-format`: what happens, on standard error, for people and for programs; and without them not a
//! word more than before.

mod common;

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use common::{Place, ask, client, eventually, put_dead, run, status_of, text, unix_ss};
use rustix::process::Signal;
use serde_json::Value;

/// Lines of `--log-format json`, each with the keys that are promised.
#[track_caller]
fn lines(said: &str) -> Vec<Value> {
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &lines {
        let keys = line.as_object().expect("an object").keys().map(String::as_str);
        let keys: Vec<_> = keys.filter(|&key| key != "path_hex").collect();
        assert_eq!(keys, ["fields", "level", "message", "path", "target", "time"], "{line}");
        assert!(humantime::parse_rfc3339(line["time"].as_str().expect("a time")).is_ok(), "{line}");
    }
    lines
}

#[track_caller]
fn the<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("no {message:?}: {lines:#?}"))
}

#[test]
fn a_server_tells_of_its_clients_its_progs_and_its_end() {
    let place = Place::new();
    let mut server = place.serve(&["--verbose", "--log-format=json"], "s", &["sh", "-c", "exit 7"]);
    let path = place.path("s");
    ask(client(&path), b"");
    eventually("PROG has ended", || server.errors().contains("PROG ended"));
    assert_eq!(server.end(), 0);
    let lines = lines(&server.errors());
    let listening = the(&lines, "listening");
    assert_eq!((&listening["path"], &listening["level"]), (&place.name("s").into(), &"info".into()));
    assert_eq!(listening["target"], "unix_stream_server::socket");
    assert_eq!(the(&lines, "accepted a client")["fields"]["pid"], std::process::id());
    let started = the(&lines, "started PROG");
    let ended = the(&lines, "PROG ended");
    assert_eq!(started["fields"]["pid"], ended["fields"]["pid"]);
    assert_eq!(ended["fields"]["status"], 7);
    assert_eq!(the(&lines, "got a signal")["fields"]["signal"], Signal::TERM.as_raw());
    let gone = the(&lines, "ended");
    assert_eq!((&gone["fields"]["how"], &gone["fields"]["status"]), (&"drain".into(), &"ours".into()));
    assert_eq!(the(&lines, "every queued client has its PROG")["fields"]["progs"], 0);
    assert!(lines.iter().all(|line| line["level"] != "debug"), "once verbose is no more than that");
}

#[test]
fn a_reader_of_standard_error_that_does_not_read_stops_nobody_and_learns_what_was_left_out() {
    use std::io::Write;
    let place = Place::new();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let (reader, writer) = (File::from(reader), File::from(writer));
    // Full: not a byte more fits in.
    rustix::io::ioctl_fionbio(&writer, true).expect("ioctl");
    while (&writer).write(&[b'\n'; 4096]).is_ok() {}
    while (&writer).write(b"\n").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("ioctl");
    let mut command = unix_ss(&["serve", "-v"]);
    command.arg(place.path("s")).args(["--", "echo", "hello"]).stderr(writer);
    let mut server = common::Running::of(command);
    eventually("it serves", || std::os::unix::net::UnixStream::connect(place.path("s")).is_ok());
    for _ in 0..5 {
        assert_eq!(text(&ask(client(&place.path("s")), b"")), "hello\n");
    }
    let (told, said) = std::sync::mpsc::channel();
    let lines = std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(reader)) {
            let _ = told.send(line.expect("a line"));
        }
    });
    // From here on somebody reads; it is told with the next line that has room, and not while there is nothing to say.
    let mut left_out = None;
    eventually("it says that lines were left out", || {
        assert_eq!(text(&ask(client(&place.path("s")), b"")), "hello\n");
        left_out = said.try_iter().find(|line| line.ends_with("lines were left out here, since nobody read them"));
        left_out.is_some()
    });
    assert!(left_out.is_some_and(|line| line.starts_with("unix-ss: ")));
    assert_eq!(server.end(), 0);
    lines.join().expect("read to the end");
}

#[test]
fn an_activated_prog_is_told_of_too() {
    let place = Place::new();
    let options = ["-v", "--log-format", "json", "--activate"];
    let mut server = place.serve(&options, "s", &["sh", "-c", "trap '' USR1; kill -USR1 $PPID; exec sleep 600"]);
    eventually("the signal has come back", || server.errors().contains("\"got a signal\""));
    assert_eq!(server.end(), 128 + Signal::TERM.as_raw());
    let lines = lines(&server.errors());
    assert_eq!(the(&lines, "started PROG")["fields"]["pid"], the(&lines, "PROG ended")["fields"]["pid"]);
    assert!(the(&lines, "PROG ended")["fields"]["signal"].is_i64());
}

#[test]
fn a_wait_for_the_lock_names_who_holds_it() {
    let place = Place::new();
    let claim = unix_stream_server::ServerSocket::builder().claim(place.path("s")).expect("a claim");
    let arguments = ["-v", "--log-format=json", "serve", "--lock-timeout", "1ms", &place.name("s"), "--", "cat"];
    let output = run(&mut unix_ss(&arguments));
    assert_eq!(status_of(&output), 3);
    let lines = lines(&text(&output.stderr));
    let wait = the(&lines, "waiting for the lock");
    assert_eq!((&wait["fields"]["lock"], &wait["path"]), (&"s.lock".into(), &place.name("s").into()));
    // Where the kernel tells it.
    assert!(wait["fields"]["pid"].is_null() || wait["fields"]["pid"] == std::process::id(), "{wait}");
    assert!(the(&lines, "did not get the lock")["fields"]["waited_us"].is_u64());
    drop(claim);
}

#[test]
fn for_people_it_is_a_line_each_that_begins_as_all_do() {
    let place = Place::new();
    put_dead(&place.path("s"));
    let mut server = place.serve(&["-vv"], "s", &["cat"]);
    assert_eq!(ask(client(&place.path("s")), b"x"), b"x");
    assert_eq!(server.end(), 0);
    let said = server.errors();
    assert!(said.lines().all(|line| line.starts_with("unix-ss: ")), "{said}");
    let path = place.name("s");
    for wanted in [
        format!("unix-ss: info: listening at {path}\n"),
        format!("unix-ss: info: removed the socket that a dead server left at {path} (name s)\n"),
        format!("unix-ss: debug: looked at what stands there at {path} (name s, state dead)\n"),
        format!("unix-ss: info: ended at {path} (how drain, status ours)\n"),
    ] {
        assert!(said.contains(&wanted), "{wanted:?} is not in {said}");
    }
}

#[test]
fn who_only_looks_tells_of_each_look_as_well() {
    let place = Place::new();
    for command in ["status", "doctor"] {
        let output = run(unix_ss(&["-vv", "--log-format=json", command]).arg(place.path("s")));
        let lines = lines(&text(&output.stderr));
        let look = the(&lines, "looked at what stands there");
        assert_eq!((&look["level"], &look["fields"]["state"]), (&"debug".into(), &"absent".into()), "{command}");
        assert_eq!(look["path"].as_str(), Some(&*place.name("s")), "{command}");
        assert_eq!(text(&run(unix_ss(&["-v", command]).arg(place.path("s"))).stderr), "", "once is not so much");
    }
}

#[test]
fn without_it_a_server_says_nothing() {
    let place = Place::new();
    put_dead(&place.path("s"));
    let mut server = place.serve(&[], "s", &["cat"]);
    assert_eq!(ask(client(&place.path("s")), b"x"), b"x");
    assert_eq!(server.end(), 0);
    assert_eq!(server.errors(), "");
}

#[test]
fn errors_are_json_too_if_that_is_asked_for() {
    let place = Place::new();
    std::fs::write(place.path("file"), "").expect("a file");
    let output = run(unix_ss(&["--log-format=json", "serve"]).arg(place.path("file")).args(["--", "cat"]));
    assert_eq!(status_of(&output), 4);
    let lines = lines(&text(&output.stderr));
    assert_eq!((lines.len(), &lines[0]["level"]), (1, &"error".into()), "{lines:?}");
    assert!(lines[0]["message"].as_str().is_some_and(|message| message.contains(&place.name("file"))), "{lines:?}");
    assert_eq!((&lines[0]["path"], &lines[0]["fields"]["errno"]), (&place.name("file").into(), &"ENOTSOCK".into()));
    let plain = run(unix_ss(&["serve"]).arg(place.path("file")).args(["--", "cat"]));
    assert_eq!(text(&plain.stderr), format!("unix-ss: {}\n", lines[0]["message"].as_str().expect("text")));
}

#[test]
fn an_error_in_json_names_its_path_whoever_says_it_and_whatever_its_bytes() {
    let place = Place::new();
    let mut server = place.serve(&["--log-format=json"], "lost", &["cat"]);
    std::fs::remove_file(place.path("lost")).expect("a socket");
    eventually("it has lost its path", || server.errors().contains("lost the path"));
    let lost = lines(&server.errors());
    assert_eq!((&lost[0]["path"], &lost[0]["fields"]), (&place.name("lost").into(), &serde_json::json!({})));
    assert_eq!(server.end(), 5);
    let path = place.path("").join(std::ffi::OsStr::from_bytes(b"absent\xff"));
    let output = run(unix_ss(&["--log-format=json", "connect"]).arg(&path));
    assert_eq!(status_of(&output), 3);
    let absent = lines(&text(&output.stderr));
    let hex: String = path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&absent[0]["path_hex"], &absent[0]["fields"]["errno"]), (&hex.into(), &"ENOENT".into()));
    assert!(lost[0]["path_hex"].is_null(), "{lost:?}");
    // Of one that is about no path there is none.
    let output = run(&mut unix_ss(&["--log-format=json", "serve", "--run-as", "no such user", "s", "--", "cat"]));
    assert!(lines(&text(&output.stderr))[0]["path"].is_null(), "{output:?}");
}

#[test]
fn the_other_halves_of_the_command_write_in_the_same_format() {
    let place = Place::new();
    // It is the hidden half, which was to become PROG, that says why it cannot.
    let missing = place.name("missing");
    let arguments = ["--log-format=json", "serve", "--activate", &place.name("s"), "--", &missing];
    let output = run(&mut unix_ss(&arguments));
    assert_eq!(status_of(&output), 127);
    let said = lines(&text(&output.stderr));
    assert!(
        said.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("cannot run"))),
        "{said:?}"
    );
    // And the supervisor of `ensure`, which writes to its log.
    let log = place.name("log");
    let arguments = ["ensure", "-v", "--log-format=json", "--log", &log, &place.name("e"), "--", "sleep", "600"];
    assert_eq!(status_of(&run(&mut unix_ss(&arguments))), 0);
    let supervisor = eventually_some(|| {
        let answer = run(&mut unix_ss(&["status", "--json", &place.name("e")]));
        let answer: Value = serde_json::from_str(&text(&answer.stdout)).expect("JSON");
        answer["peer"]["pid"].as_i64()
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(supervisor).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, Signal::TERM).expect("a process");
    eventually("it has told of the end", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("PROG ended")));
    the(&lines(&std::fs::read_to_string(&log).expect("a log")), "got a signal");
}

#[track_caller]
fn eventually_some<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually("it is there", || {
        found = look();
        found.is_some()
    });
    found.expect("found")
}

#[test]
fn no_path_can_forge_a_line() {
    let place = Place::new();
    let path = place.name("s\nunix-ss: info: forged\u{1b}[2J");
    std::fs::write(&path, "").expect("a file");
    let output = run(unix_ss(&["-vv", "serve"]).arg(&path).args(["--", "cat"]));
    assert_eq!(status_of(&output), 4);
    let said = text(&output.stderr);
    assert!(said.lines().all(|line| !line.contains(": forged") || line.contains("\\n")), "{said}");
    assert!(said.contains("\\nunix-ss: info: forged") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_closed_or_full_standard_error_ends_no_server() {
    let place = Place::new();
    for stderr in [Stdio::from(File::options().write(true).open("/dev/full").expect("a device")), closed_pipe()] {
        let path = place.path("s");
        let mut command = unix_ss(&["-vv", "serve"]);
        command.arg(&path).args(["--", "cat"]).stderr(stderr);
        let mut server = common::Running::of(command);
        eventually("it listens", || std::os::unix::net::UnixStream::connect(&path).is_ok());
        assert_eq!(ask(client(&path), b"x"), b"x");
        assert_eq!(server.end(), 0);
    }
}

/// A pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    drop(read);
    Stdio::from(write)
}
