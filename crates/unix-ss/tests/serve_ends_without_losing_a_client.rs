//! `serve`: how it ends.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use common::activated::{Household, dir, role};
use common::{Place, Running, ask, client, eventually, text, unix_ss};
use rustix::process::{Pid, Resource, Rlimit, Signal, getpgid, getppid, getrlimit, kill_process, prlimit, setpgid};

#[test]
fn the_first_signal_serves_all_who_are_connected_or_queued() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let place = Place::new();
        let mut server = place.serve(&["--max-connections", "3"], "s", &["cat"]);
        let clients: Vec<_> = (0..20).map(|_| client(&place.path("s"))).collect();
        server.signal(signal);
        eventually("the path is gone", || !place.path("s").exists());
        UnixStream::connect(place.path("s")).expect_err("nobody comes in any more");
        for (number, stream) in clients.into_iter().enumerate() {
            let question = format!("client {number}").repeat(1000);
            assert_eq!(text(&ask(stream, question.as_bytes())), question);
        }
        assert_eq!(server.wait(), 0, "{}", server.errors());
        assert_eq!(server.errors(), "");
    }
}

/// Some that start others block what they wait for themselves, and that is inherited.
#[test]
#[ignore = "needs GNU env"]
fn signals_that_its_starter_blocks_end_it_all_the_same() {
    for activate in [false, true] {
        let place = Place::new();
        let mut command = std::process::Command::new("env");
        command.args(["--block-signal=TERM", "--block-signal=CHLD", env!("CARGO_BIN_EXE_unix-ss"), "serve"]);
        command.args(if activate { &["--activate"][..] } else { &["--max-connections", "1"] });
        command.arg(place.path("s")).arg("--").args(if activate { ["sleep", "600"] } else { ["echo", "hello"] });
        let mut server = common::Running::of(command);
        eventually("it serves", || UnixStream::connect(place.path("s")).is_ok());
        if !activate {
            // Each needs the end of the one before to be seen.
            for _ in 0..5 {
                assert_eq!(text(&ask(client(&place.path("s")), b"")), "hello\n");
            }
        }
        let expected = if activate { 128 + Signal::TERM.as_raw() } else { 0 };
        assert_eq!(server.end(), expected);
        assert!(!place.path("s").exists());
    }
}

#[test]
fn told_to_end_while_it_waits_for_the_lock_it_ends_at_once_and_leaves_nothing() {
    let activate = ["--activate", "--on-demand", "--detached"];
    for (options, signal, status) in [
        (&[][..], Signal::TERM, 0),
        (&[], Signal::INT, 0),
        (&[], Signal::HUP, 0),
        (&activate[..1], Signal::TERM, 0),
        (&activate[..2], Signal::QUIT, 0),
        // Of `ensure`, which hears that nothing was started.
        (&["--activate", "--detached"], Signal::TERM, 3),
    ] {
        let place = Place::new();
        std::fs::write(place.path("s.lock"), "").expect("a lock as git makes it");
        let log = place.path("log");
        let mut command = unix_ss(&["--verbose", "serve", "--lock-timeout", "1h"]);
        command.args(options).arg(place.path("s")).args(["--", "touch"]).arg(place.path("started"));
        command.stdout(Stdio::null()).stderr(File::create(&log).expect("a file"));
        let mut server = Running::of(command);
        let said = || std::fs::read_to_string(&log).expect("a file");
        eventually("it waits", || said().contains("waiting for the lock"));
        server.signal(signal);
        assert_eq!(server.wait(), status, "{options:?} {signal:?}: {}", said());
        assert!(said().contains("told to give up"), "{}", said());
        let mut left: Vec<_> = std::fs::read_dir(place.path("")).expect("a directory").collect();
        left.retain(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != "log"));
        assert!(left.len() == 1 && place.path("s.lock").exists(), "{left:?}");
    }
}

/// accept() says so also where nobody is queued.
#[test]
fn told_to_end_it_ends_though_no_descriptor_can_be_had() {
    let place = Place::new();
    let mut server = place.serve(&["--max-connections", "1"], "s", &["cat"]);
    let mut first = client(&place.path("s"));
    first.write_all(b"x").expect("sent");
    first.read_exact(&mut [0]).expect("an echo");
    let mut second = client(&place.path("s"));
    server.signal(Signal::TERM);
    eventually("the path is gone", || !place.path("s").exists());
    let pid = Some(Pid::from_child(&server.child));
    let limit = getrlimit(Resource::Nofile);
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(3), ..limit }).expect("a limit");
    drop(first);
    assert_eq!(server.wait(), 0, "{}", server.errors());
    let said = server.errors();
    let (trying, ending) = ("; trying again\n", "; hanging up on all who are queued\n");
    let line = |end| format!("unix-ss: cannot accept a client: too many open files{end}");
    assert_eq!(said, line(trying) + &line(ending));
    second.read(&mut [0]).expect_err("it is reset");
}

#[test]
fn the_second_signal_ends_the_programs() {
    let place = Place::new();
    let mut server = place.serve(&[], "s", &["cat"]);
    let mut stream = client(&place.path("s"));
    stream.write_all(b"x").expect("sent");
    stream.read_exact(&mut [0]).expect("an echo");
    server.signal(Signal::TERM);
    eventually("the path is gone", || !place.path("s").exists());
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), 128 + 15);
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

/// A PROG that has gone to the group of its server, and stays until its client has gone.
fn change_group_and_stay() {
    let ours = getpgid(getppid()).expect("a group");
    setpgid(None, Some(ours)).expect("another group");
    std::fs::write(dir().join("left"), "").expect("written");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn it_ends_a_program_as_well_that_has_left_its_process_group() {
    if role().is_some() {
        return change_group_and_stay();
    }
    let home = Household::new();
    let program = home.program("it_ends_a_program_as_well_that_has_left_its_process_group", "own group");
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let mut server = home.place.serve(&[], "s", &program);
    let _stream = client(&home.place.path("s"));
    eventually("PROG has left its group", || home.place.path("left").exists());
    server.signal(Signal::TERM);
    eventually("the path is gone", || !home.place.path("s").exists());
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), 128 + 15);
}

#[test]
fn the_third_signal_kills_them() {
    let place = Place::new();
    let mut server = place.serve(&[], "s", &["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done"]);
    let mut stream = client(&place.path("s"));
    stream.read_exact(&mut [0]).expect("it has started");
    server.signal(Signal::TERM);
    eventually("the path is gone", || !place.path("s").exists());
    server.signal(Signal::TERM);
    // Two signals that nobody has looked at between are one: so again, until it has been heard.
    eventually("it ends", || {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&server.child), Signal::TERM);
        server.child.try_wait().expect("a child").is_some()
    });
    assert_eq!(server.wait(), 128 + 15);
}

#[test]
fn after_sigkill_the_next_start_works() {
    let place = Place::new();
    for _ in 0..3 {
        let mut server = place.serve(&[], "s", &["cat"]);
        assert_eq!(ask(client(&place.path("s")), b"x"), b"x");
        server.signal(Signal::KILL);
        assert_eq!(server.wait(), 128 + 9);
        assert!(place.path("s").exists());
    }
}

#[test]
fn a_server_that_loses_its_path_serves_who_is_there_and_ends_with_5() {
    let place = Place::new();
    let mut server = place.serve(&[], "s", &["cat"]);
    let stream = client(&place.path("s"));
    std::fs::remove_file(place.path("s")).expect("deleted");
    std::fs::write(place.path("s"), "mine").expect("replaced");
    eventually("it is noticed", || server.errors().contains("lost the path"));
    assert_eq!(ask(stream, b"still here"), b"still here");
    assert_eq!(server.wait(), 5);
    assert_eq!(server.errors().lines().count(), 1, "{}", server.errors());
    assert_eq!(std::fs::read_to_string(place.path("s")).expect("untouched"), "mine");
}

#[test]
fn a_path_lost_just_before_the_signal_is_5_as_well() {
    let place = Place::new();
    let mut server = place.serve(&[], "s", &["cat"]);
    std::fs::remove_file(place.path("s")).expect("deleted");
    assert_eq!(server.end(), 5, "{}", server.errors());
}

#[test]
fn a_path_lost_with_its_directory_is_5_too_and_no_dead_socket_is_spoken_of() {
    let place = Place::new();
    let program = ["sh", "-c", "trap 'exit 0' TERM; echo >up; while :; do sleep 0.01; done"];
    for options in [&[][..], &["--activate"]] {
        std::fs::create_dir(place.path("d")).expect("mkdir");
        let mut server = place.serve(options, "d/s", &program);
        if !options.is_empty() {
            eventually("the program knows what to do with a signal", || place.path("up").exists());
        }
        std::fs::remove_dir_all(place.path("d")).expect("rmdir");
        // The server may have seen its loss by itself, and have ended.
        let _ = kill_process(Pid::from_child(&server.child), Signal::TERM);
        assert_eq!(server.wait(), 5, "{}", server.errors());
        assert!(!server.errors().contains("dead socket"), "{}", server.errors());
    }
}
