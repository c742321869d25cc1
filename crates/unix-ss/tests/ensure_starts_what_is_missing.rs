//! `ensure`: one PROG, however many ask for it at once, which outlives them and whose socket goes when it ends.

mod common;

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use common::activated::{Household, is_alive, parent, role, serve, stat, who_answers};
use common::{Place, client, eventually, put_dead, run, status_of, text, unix_ss};
use rustix::process::{Pid, Signal, kill_process};

/// `unix-ss ensure OPTIONS s -- PROG`.
fn ensure(home: &Household, test: &str, role: &str, options: &[&str]) -> std::process::Command {
    let log = home.place.name("log");
    let mut command = unix_ss(&["ensure", "--log", &log]);
    if role.starts_with("own") {
        command.arg("--wait-listen");
    }
    command.args(options).arg(home.place.path("s")).arg("--").args(home.program(test, role));
    command
}

fn log(home: &Household) -> String {
    fs::read_to_string(home.place.path("log")).unwrap_or_default()
}

#[test]
fn of_200_at_once_one_starts_it_and_all_find_it() {
    let test = "of_200_at_once_one_starts_it_and_all_find_it";
    if let Some(role) = role() {
        serve(&role);
    }
    for (role, dead, count) in [("serve", false, 200), ("serve", true, 200), ("own", false, 200), ("own", true, 50)] {
        let mut home = Household::new();
        if dead {
            put_dead(&home.place.path("s"));
        }
        let spawn = |_| ensure(&home, test, role, &[]).stderr(Stdio::piped()).spawn().expect("a process");
        let all: Vec<Child> = (0..count).map(spawn).collect();
        for one in all {
            let output = one.wait_with_output().expect("it ends");
            assert_eq!(status_of(&output), 0, "{} {}", text(&output.stderr), log(&home));
        }
        assert_eq!([who_answers(client(&home.place.path("s")))], *home.started(), "{}", log(&home));
        // Nobody has looked by connecting, where the kernel lists who listens.
        assert_eq!(home.heard().len(), 1, "{:?}", home.heard());
        home.end_all();
        assert!(!home.place.path("s").exists(), "its socket is left");
        assert!(!home.place.path("s.lock").exists() && !home.place.path("s.start").exists());
    }
}

#[test]
fn what_it_starts_is_out_of_reach_of_its_terminal_and_a_signal_to_the_supervisor_ends_it() {
    let test = "what_it_starts_is_out_of_reach_of_its_terminal_and_a_signal_to_the_supervisor_ends_it";
    if let Some(role) = role() {
        serve(&role);
    }
    for role in ["serve", "own"] {
        let home = Household::new();
        let output = run(&mut ensure(&home, test, role, &[]));
        assert_eq!(status_of(&output), 0, "{}", text(&output.stderr));
        let pid = who_answers(client(&home.place.path("s")));
        let supervisor = parent(pid).expect("it has a parent");
        let us = std::process::id().try_into().expect("a pid");
        // Its session is its supervisor's own, which has no terminal and nobody else; init looks after that.
        assert_eq!((stat(pid, 3), stat(pid, 4)), (Some(supervisor), Some(0)));
        assert_eq!(stat(supervisor, 3), Some(supervisor));
        assert_ne!(stat(pid, 3), stat(us, 3));
        assert_ne!(parent(supervisor), Some(us));
        // `run` has seen the end of our pipes, so nobody has kept them; the rest:
        for fd in [0, 1, 2] {
            let leads_to = fs::read_link(format!("/proc/{supervisor}/fd/{fd}")).expect("open");
            let expected = if fd == 0 { "/dev/null".into() } else { home.place.path("log") };
            assert_eq!(leads_to, expected);
        }
        assert_eq!(fs::read_to_string(format!("/proc/{supervisor}/comm")).expect("it lives"), "unix-ss\n");
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).ok(), std::env::current_dir().ok());
        kill_process(Pid::from_raw(supervisor).expect("a pid"), Signal::TERM).expect("it lives");
        eventually("both end", || !is_alive(pid) && !is_alive(supervisor));
        assert!(!home.place.path("s").exists(), "its socket is left");
    }
}

#[test]
fn killed_at_any_time_it_or_its_supervisor_leaves_the_next_one_a_server() {
    let test = "killed_at_any_time_it_or_its_supervisor_leaves_the_next_one_a_server";
    if let Some(role) = role() {
        serve(&role);
    }
    for role in ["serve", "own"] {
        // `ensure`, after a time that differs; whatever it has come to, the next one finds or makes a server.
        for round in 0..20_u64 {
            let mut home = Household::new();
            let mut first = ensure(&home, test, role, &[]).spawn().expect("a process");
            std::thread::sleep(std::time::Duration::from_micros(400 * round));
            let _ = first.kill();
            let _ = first.wait();
            let output = run(&mut ensure(&home, test, role, &[]));
            assert_eq!(status_of(&output), 0, "{} {}", text(&output.stderr), log(&home));
            let pid = who_answers(client(&home.place.path("s")));
            assert_eq!([pid], *home.started(), "{}", log(&home));
            home.end_all();
            // A supervisor that the first had just started may come only now, with a PROG that ends at once.
            eventually("its socket is gone", || !home.place.path("s").exists());
        }
        // The supervisor: PROG serves on, and what it leaves is replaced.
        let mut home = Household::new();
        assert_eq!(status_of(&run(&mut ensure(&home, test, role, &[]))), 0);
        let first = who_answers(client(&home.place.path("s")));
        let supervisor = Pid::from_raw(parent(first).expect("it has a parent")).expect("a pid");
        kill_process(supervisor, Signal::KILL).expect("it lives");
        assert_eq!(who_answers(client(&home.place.path("s"))), first);
        kill_process(Pid::from_raw(first).expect("a pid"), Signal::KILL).expect("it lives");
        // The supervisor had the listener too: as long as it dies, the path is as good as served.
        let supervisor = supervisor.as_raw_nonzero().get();
        eventually("both have ended", || !is_alive(first) && !is_alive(supervisor));
        assert_eq!(status_of(&run(&mut ensure(&home, test, role, &[]))), 0);
        assert_eq!([first, who_answers(client(&home.place.path("s")))], *home.started());
        home.end_all();
        eventually("its socket is gone", || !home.place.path("s").exists());
    }
}

#[test]
fn a_supervisor_that_is_killed_without_a_word_is_started_again() {
    let test = "a_supervisor_that_is_killed_without_a_word_is_started_again";
    if let Some(role) = role() {
        serve(&role);
    }
    let mut home = Household::new();
    // The first PROG kills its supervisor before it listens.
    let script =
        format!("[ -e '{0}' ] || {{ : >'{0}'; kill -9 $PPID; exit; }}; exec \"$@\"", home.place.name("killed"));
    let mut command = unix_ss(&["ensure", "--wait-listen", "--log", &home.place.name("log")]);
    command.arg(home.place.path("s")).args(["--", "sh", "-c", &script, "sh"]).args(home.program(test, "own"));
    let output = run(&mut command);
    assert_eq!((status_of(&output), text(&output.stderr).as_str()), (0, ""), "{}", log(&home));
    assert!(home.place.path("killed").exists());
    assert_eq!([who_answers(client(&home.place.path("s")))], *home.started());
    home.end_all();
}

#[test]
fn where_something_lives_nothing_is_started_and_nobody_is_disturbed() {
    let place = Place::new();
    let stranger = UnixListener::bind(place.path("s")).expect("bind");
    for options in [&[][..], &["--wait-listen"]] {
        let output = run(unix_ss(&["ensure"]).args(options).arg(place.path("s")).args(["--", "no-such-program"]));
        assert_eq!(status_of(&output), 0, "{}", text(&output.stderr));
    }
    stranger.set_nonblocking(true).expect("fcntl");
    match unix_stream_server::queued_clients(&stranger) {
        Ok(none) => assert!(none.is_empty() && stranger.accept().is_err()),
        Err(error) => eprintln!("NOT TRIED: the kernel does not list who listens: {error}"),
    }
}

#[test]
#[ignore = "needs GNU env"]
fn its_status_is_told_where_the_starter_ignores_the_end_of_children() {
    let place = Place::new();
    for options in [&[][..], &["--wait-listen"]] {
        let mut command = Command::new("env");
        command.args(["--ignore-signal=CHLD", env!("CARGO_BIN_EXE_unix-ss"), "ensure"]);
        command.args(options).arg(place.path("s")).args(["--", "no-such-program-anywhere"]);
        let output = run(&mut command);
        assert_eq!(status_of(&output), 127, "{}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_started_is_told_and_leaves_nothing() {
    let place = Place::new();
    fs::write(place.path("data"), "not a program").expect("a file");
    let data = place.name("data");
    let check = |path: &str, options: &[&str], program: &[&str], status: i32, says: &str| {
        for wait in [&[][..], &["--wait-listen"]] {
            let mut command = unix_ss(&["ensure", "--timeout", "30s"]);
            let output = run(command.args(wait).args(options).arg(place.path(path)).arg("--").args(program));
            let said = text(&output.stderr);
            assert_eq!(status_of(&output), status, "{program:?}: {said}");
            assert!(said.starts_with("unix-ss: cannot ") && said.lines().count() == 1 && said.contains(says), "{said}");
        }
    };
    check("s", &[], &["no-such-program-anywhere"], 127, "no-such-program-anywhere: no such file");
    check("s", &[], &[&data], 126, "permission denied");
    check("none/s", &[], &["true"], 1, "create the directory first");
    check("data/s", &[], &["true"], 4, "not a directory");
    check("data", &[], &["true"], 4, "a regular file is there");
    check("s", &["--log", &place.name("none/log")], &["true"], 1, "open the log");
    let left: Vec<_> = fs::read_dir(place.path("")).expect("a directory").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read(place.path("data")).expect("a file"), b"not a program");
}

#[test]
fn one_that_makes_its_socket_itself_is_waited_for_and_no_longer_than_the_time() {
    let place = Place::new();
    let check = |program: &[&str], options: &[&str], status: i32, says: &str| {
        let mut command = unix_ss(&["ensure", "--wait-listen"]);
        let output = run(command.args(options).arg(place.path("s")).arg("--").args(program));
        let said = text(&output.stderr);
        assert_eq!(status_of(&output), status, "{program:?}: {said}");
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
    };
    check(&["sh", "-c", "exit 6"], &[], 1, "PROG ended with exit status 6 before it listened");
    check(&["true"], &[], 1, "PROG ended with exit status 0 before it listened");
    check(&["sh", "-c", "kill -9 $$"], &[], 1, "PROG ended by signal 9 before it listened");
    check(&["sleep", "0.3"], &["--timeout", "100ms"], 1, "within the time");
    eventually("the start lock is given back", || !place.path("s.start").exists());
    // Who is still at it keeps others from starting a second.
    let lock = unix_stream_server::StartLock::try_take(place.path("s")).expect("free");
    check(&["true"], &["--timeout", "100ms"], 3, "another start of it went on");
    drop(lock);
}

/// It goes on, and its supervisor keeps nothing of the one who did not wait any longer.
#[test]
fn one_that_is_late_is_looked_after_by_a_supervisor_that_lets_go_of_the_caller() {
    // The second puts something there that is no server yet.
    for first in ["", "echo >s;"] {
        let place = Place::new();
        let script = format!("cd {}; {first} echo $$ >pid; exec sleep 60", place.name(""));
        let mut command = unix_ss(&["ensure", "--wait-listen", "--timeout", "300ms"]);
        // Until the end of its pipes.
        let output = run(command.arg(place.path("s")).args(["--", "sh", "-c", &script]));
        assert_eq!(status_of(&output), 1, "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("within the time"), "{}", text(&output.stderr));
        let pid = || fs::read_to_string(place.path("pid")).ok()?.trim().parse::<i32>().ok();
        eventually("PROG runs", || pid().is_some());
        let pid = pid().expect("a pid");
        assert!(is_alive(pid), "the pipes were kept open until its end");
        let supervisor = parent(pid).expect("it has a parent");
        assert_eq!(stat(pid, 3), Some(supervisor), "it is abandoned");
        kill_process(Pid::from_raw(supervisor).expect("a pid"), Signal::TERM).expect("it lives");
        eventually("both end", || !is_alive(supervisor) && !is_alive(pid));
    }
}

#[test]
fn one_that_goes_into_the_background_and_a_session_of_its_own_hears_of_a_signal_to_the_supervisor() {
    let test = "one_that_goes_into_the_background_and_a_session_of_its_own_hears_of_a_signal_to_the_supervisor";
    if let Some(role) = role() {
        serve(&role);
    }
    let home = Household::new();
    let script = "setsid \"$@\" </dev/null >/dev/null 2>&1 &";
    let mut command = unix_ss(&["ensure", "--wait-listen"]);
    command.arg(home.place.path("s")).args(["--", "sh", "-c", script, "sh"]).args(home.program(test, "own"));
    let output = run(&mut command);
    assert_eq!(status_of(&output), 0, "{}", text(&output.stderr));
    let pid = who_answers(client(&home.place.path("s")));
    let command = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    eventually("the shell has ended", || parent(pid).is_some_and(|parent| command(parent).contains("__wait-listen")));
    let supervisor = parent(pid).expect("it has a parent");
    assert_ne!(stat(pid, 3), Some(supervisor), "it has a session of its own");
    kill_process(Pid::from_raw(supervisor).expect("a pid"), Signal::TERM).expect("it lives");
    eventually("both end", || !is_alive(supervisor) && !is_alive(pid));
    assert!(!home.place.path("s").exists());
}

#[test]
#[ignore = "needs socat"]
fn socat_is_waited_for_in_the_foreground_and_its_socket_goes_with_it() {
    let place = Place::new();
    let listen = format!("UNIX-LISTEN:{},fork", place.name("s"));
    // Killed, it leaves its socket, which the supervisor removes.
    let script = format!("echo $$ >{0}; exec socat {listen} EXEC:cat", place.name("pid"));
    for _ in 0..2 {
        let output = run(unix_ss(&["ensure", "--wait-listen"]).arg(place.path("s")).args(["--", "sh", "-c", &script]));
        assert_eq!(status_of(&output), 0, "{}", text(&output.stderr));
        assert_eq!(common::ask(client(&place.path("s")), b"hello"), b"hello");
        let pid: i32 = fs::read_to_string(place.path("pid")).expect("a file").trim().parse().expect("a pid");
        let supervisor = parent(pid).expect("it has a parent");
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("it lives");
        eventually("both end", || !is_alive(supervisor));
        assert!(!place.path("s").exists());
    }
}

#[test]
#[ignore = "needs python3"]
fn a_python_server_is_given_the_socket() {
    let place = Place::new();
    let script = "import os, socket\ns = socket.socket(fileno=3)\nwhile True:\n  c, _ = s.accept()\n  c.send(b'%d' % os.getpid()); c.close()";
    let ensure = || run(unix_ss(&["ensure"]).arg(place.path("s")).args(["--", "python3", "-c", script]));
    assert_eq!(status_of(&ensure()), 0);
    assert_eq!(status_of(&ensure()), 0);
    let pid: i32 = text(&common::hear(client(&place.path("s")))).parse().expect("a pid");
    let supervisor = parent(pid).expect("it has a parent");
    kill_process(Pid::from_raw(supervisor).expect("a pid"), Signal::TERM).expect("it lives");
    eventually("both end", || !is_alive(supervisor) && !is_alive(pid));
    assert!(!place.path("s").exists());
}
