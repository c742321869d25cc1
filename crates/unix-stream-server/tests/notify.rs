//! What a service manager is told, and by whom; and that it is told nothing where there is none.

pub mod support;

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libc::{EACCES, EAFNOSUPPORT, ECONNREFUSED, ENAMETOOLONG, ENOENT, ETIMEDOUT};
use rustix::process::Signal;
use support::child::{self, Program, descriptors, role};
use support::dir::{Dir, chmod};
use support::{NOBODY, PATIENCE, assert_error};
use unix_stream_server::notify::{self, State};
use unix_stream_server::{ErrorKind, Result};

/// A service manager's socket.
fn manager(address: &SocketAddr) -> UnixDatagram {
    let socket = UnixDatagram::bind_addr(address).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
    socket
}

fn heard(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).expect("a message");
    String::from_utf8(buffer[..length].to_vec()).expect("text")
}

/// The test once more, with NOTIFY_SOCKET set.
fn told(test: &str, address: impl AsRef<OsStr>) -> Program {
    let mut command = Command::new("/proc/self/exe");
    command.env("NOTIFY_SOCKET", address);
    Program::with(command, test, "server")
}

#[test]
fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
    if role().is_some() {
        let environment: Vec<_> = std::env::vars_os().collect();
        let open = descriptors();
        let all: [fn() -> Result<bool>; 5] = [
            notify::ready,
            || notify::status("all\nwell"),
            || notify::main_pid(4711),
            || notify::send(&[State::Ready, State::MainPid(std::process::id())]),
            notify::stopping,
        ];
        for tell in all {
            assert!(tell().expect("the manager is there"));
        }
        assert!(notify::reloading().expect("the manager is there"));
        assert_eq!((std::env::vars_os().collect(), descriptors()), (environment, open));
        return;
    }
    let dir = Dir::new();
    let path = dir.join("notify");
    let name = format!("unix-stream-server notify test of {}", std::process::id());
    for (address, text) in [
        (SocketAddr::from_pathname(&path).expect("short"), path.to_str().expect("UTF-8").to_owned()),
        (SocketAddr::from_abstract_name(&name).expect("short"), format!("@{name}")),
    ] {
        let manager = manager(&address);
        let child = told(&this_test!(), text).start();
        let both = format!("READY=1\nMAINPID={}", child.pid());
        for message in ["READY=1", "STATUS=all well", "MAINPID=4711", &both, "STOPPING=1"] {
            assert_eq!(heard(&manager), message);
        }
        let reloading = heard(&manager);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
        assert!(matches!(time, Some(Ok(1..))), "{reloading}");
        child.finish();
    }
}

#[test]
fn without_a_manager_nobody_is_told_and_that_is_no_error() {
    if role().is_some() {
        assert!(!notify::ready().expect("nothing to do") && !notify::stopping().expect("nothing to do"));
        return;
    }
    told(&this_test!(), "").run();
    let mut command = Command::new("/proc/self/exe");
    command.env_remove("NOTIFY_SOCKET");
    Program::with(command, &this_test!(), "server").run();
}

#[test]
fn what_cannot_be_told_is_an_error_with_its_errno() {
    if role().is_some() {
        let kind = match child::value("kind").as_str() {
            "invalid" => ErrorKind::Invalid,
            "timed out" => ErrorKind::TimedOut,
            _ => ErrorKind::System,
        };
        // The queue takes some before it is full.
        let error = (0..1000).find_map(|_| notify::ready().err()).expect("it cannot be told");
        assert_error(&error, kind, child::value("errno").parse().expect("a number"));
        return;
    }
    let dir = Dir::new();
    let (dead, full, closed) = (dir.join("dead"), dir.join("full"), dir.join("closed"));
    let bind = |path| UnixDatagram::bind(path).expect("bind");
    let _managers = (drop(bind(&dead)), bind(&full), bind(&closed));
    chmod(&closed, 0o200);
    if support::is_root() {
        std::os::unix::fs::chown(&closed, Some(1), Some(1)).expect("chown");
    } else {
        chmod(&closed, 0);
    }
    let long = format!("/{}", "x".repeat(200));
    for (address, kind, errno) in [
        (OsStr::new("vsock:2:9999"), "invalid", EAFNOSUPPORT),
        (OsStr::new("relative"), "invalid", EAFNOSUPPORT),
        (OsStr::from_bytes(b"\xff"), "invalid", EAFNOSUPPORT),
        (OsStr::new(&long), "invalid", ENAMETOOLONG),
        (dir.join("nothing").as_os_str(), "system", ENOENT),
        (dead.as_os_str(), "system", ECONNREFUSED),
        (full.as_os_str(), "timed out", ETIMEDOUT),
        (closed.as_os_str(), "system", EACCES),
    ] {
        let program = told(&this_test!(), address).value("kind", kind).value("errno", &errno.to_string());
        // Permissions do not stop root.
        if errno == EACCES { program.ordinary().run() } else { program.run() }
    }
    assert_ne!(NOBODY, 1);
}

/// Each stop and continue interrupts the wait, whose time then counts anew (signal(7)).
#[test]
fn a_manager_that_is_stuck_is_given_up_however_many_signals_come() {
    if role().is_some() {
        child::say("begun");
        let error = (0..1000).find_map(|_| notify::ready().err()).expect("it is full");
        assert_error(&error, ErrorKind::TimedOut, ETIMEDOUT);
        return;
    }
    let dir = Dir::new();
    let _stuck = UnixDatagram::bind(dir.join("stuck")).expect("bind");
    let mut child = told(&this_test!(), dir.join("stuck")).start();
    child.hear("begun");
    let begin = Instant::now();
    while !child.has_ended() {
        assert!(begin.elapsed() < PATIENCE, "it waits for as long as it is interrupted");
        // The pauses give the signals a rate, nothing more.
        for signal in [Signal::STOP, Signal::CONT] {
            child.signal(signal);
            thread::sleep(Duration::from_millis(2));
        }
    }
    child.finish();
}

#[test]
#[ignore = "needs systemd-notify"]
fn it_is_the_same_as_systemd_notify_says() {
    if role().is_some() {
        let all = [State::Ready, State::Status("all well"), State::MainPid(1)];
        assert!(notify::send(&all).expect("the manager is there"));
        return;
    }
    let dir = Dir::new();
    let path = dir.join("notify");
    let manager = manager(&SocketAddr::from_pathname(&path).expect("short"));
    let theirs = Command::new("systemd-notify")
        .args(["--no-block", "--ready", "--status=all well", "--pid=1"])
        .env("NOTIFY_SOCKET", &path)
        .status();
    assert!(theirs.expect("systemd-notify").success());
    let lines = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let theirs = lines(heard(&manager));
    told(&this_test!(), &path).run();
    assert_eq!(lines(heard(&manager)), theirs);
}
