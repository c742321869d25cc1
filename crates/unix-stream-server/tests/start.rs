//! Start on demand: one server however many clients come, and all are answered; nothing is stuck, leaked or left.

pub mod support;

use std::fs;
use std::io::{ErrorKind as IoErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use libc::{EACCES, ECONNRESET, EEXIST, EINVAL, ENOENT, ENOTDIR, ENOTSOCK, ETIMEDOUT};
use rustix::process::Signal;
use support::child::{self, Program, whole_process};
use support::dir::{names, put_file};
use support::sockets::put_dead;
use support::start::{Household, answer, is_alive, play, serve, server};
use support::unshared::with_children_in_pid_namespaces;
use support::wait::{Worker, until, within};
use support::{PATIENCE, assert_error, is_root, not_tried};
use unix_stream_server::{
    ErrorKind, PathState, ServerSocket, StartCommand, StartLock, connect, connect_or_start, probe,
};

/// So many processes, each with so many threads, are 200 clients.
const PROCESSES: usize = 20;
const THREADS: usize = 10;

/// What is left in a household's directory but for its own things.
fn left(home: &Household) -> Vec<String> {
    let own = ["about", "life", "log", "started", "word"];
    names(home.dir.path()).into_iter().filter(|name| !own.contains(&name.as_str())).collect()
}

/// The part of a process with many clients: each connects at the word, and all tell who answered.
fn be_clients(test: &str) {
    let dir = child::dir();
    let command = server(test, &child::value("SERVER"), &dir).wait_listen(child::value("WAIT") == "yes");
    let path = dir.join("s");
    child::say("ready");
    assert_eq!(child::listen(), "go");
    let answers: Vec<i32> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| answer(connect_or_start(&path, &command).expect("a server"))))
            .collect();
        clients.into_iter().map(|client| client.join().expect("answered")).collect()
    });
    child::say(&format!("answered {}", answers.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")));
}

/// 200 clients at the same moment: the server that answered them all.
#[track_caller]
fn flood(test: &str, role: &str, wait: bool, home: &Household) -> i32 {
    let mut processes: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let process = Program::new(test, "clients").dir(&home.dir).value("SERVER", role);
            process.value("WAIT", if wait { "yes" } else { "no" }).start()
        })
        .collect();
    for process in &mut processes {
        process.hear("ready");
    }
    for process in &mut processes {
        process.tell("go");
    }
    let mut answers = Vec::new();
    for mut process in processes {
        let heard = process.hear("answered");
        answers.extend(heard.split(' ').map(|pid| pid.parse::<i32>().expect("a pid")));
        process.finish();
    }
    assert_eq!(answers.len(), PROCESSES * THREADS);
    let one = answers[0];
    assert!(answers.iter().all(|&answer| answer == one), "several servers: {answers:?}");
    assert_eq!(home.started(), [one], "more were started than answered");
    one
}

/// On a free path, and over a dead socket.
fn one_server_for_200(test: &str, role: &str, wait: bool) {
    match child::role().as_deref() {
        None => {}
        Some("clients") => return be_clients(test),
        Some(role) => serve(role),
    }
    for dead in [false, true] {
        let mut home = Household::new(test);
        if dead {
            put_dead(&home.path());
        }
        let pid = flood(test, role, wait, &home);
        assert_eq!(left(&home), ["s"], "locks are left");
        // Once more, and nobody new.
        assert_eq!(flood(test, role, wait, &home), pid);
        home.end();
    }
}

#[test]
fn of_200_clients_at_once_one_starts_the_server_and_all_are_answered() {
    one_server_for_200(&this_test!(), "serve", false);
}

#[test]
fn so_they_do_with_a_program_that_makes_its_socket_itself() {
    one_server_for_200(&this_test!(), "own", true);
}

#[test]
fn a_slow_server_is_started_once_and_its_clients_queue() {
    let test = this_test!();
    play();
    let mut home = Household::new(&test);
    let (path, command) = (home.path(), home.server("late"));
    let first = {
        let (path, command) = (path.clone(), command.clone());
        Worker::start(move || connect_or_start(&path, &command).map(answer))
    };
    until("the server was started", || home.started().len() == 1);
    // It sleeps until it hears a word, be it seconds; all these are queued at once and start nothing.
    let queued: Vec<_> = (0..20).map(|_| connect_or_start(&path, &command).expect("queued")).collect();
    assert!(first.is_done().is_none(), "the server has not accepted yet");
    home.say();
    let pid = first.result().expect("a server");
    for stream in queued {
        assert_eq!(answer(stream), pid);
    }
    assert_eq!(home.started(), [pid]);
    home.end();
}

#[test]
fn nor_is_a_slow_one_that_makes_its_socket_itself() {
    let test = this_test!();
    play();
    let mut home = Household::new(&test);
    let start = |home: &Household| {
        let (path, command) = (home.path(), home.server("own-late").wait_listen(true));
        Worker::start(move || connect_or_start(&path, &command).map(answer))
    };
    let clients: Vec<_> = (0..20).map(|_| start(&home)).collect();
    until("a server was started", || !home.started().is_empty());
    // Everybody has tried for the start lock meanwhile, many times.
    let late = connect_or_start(home.path(), &home.server("own").wait_listen(true).timeout(Duration::from_millis(300)));
    assert_eq!(late.expect_err("nobody listens").kind(), ErrorKind::Locked);
    home.say();
    let answers: Vec<_> = clients.into_iter().map(|client| client.result().expect("a server")).collect();
    assert!(home.started() == [answers[0]] && answers.iter().all(|&answer| answer == answers[0]));
    home.end();
    assert_eq!(left(&home), ["s"], "the lock is left");
}

#[test]
fn a_server_that_dies_while_starting_is_told_with_its_status_and_its_clients_are_reset() {
    let test = this_test!();
    play();
    whole_process(&test, || {
        let home = Household::new(&test);
        let (path, command) = (home.path(), home.server("die"));
        let starter = Worker::start(move || connect_or_start(&path, &command));
        until("the server was started", || home.started().len() == 1);
        let mut queued = connect(home.path()).expect("queued");
        home.say();
        let error = starter.result().expect_err("it has died");
        assert_error(&error, ErrorKind::StartFailed, ECONNRESET);
        assert_eq!(error.exit_status().and_then(|status| status.code()), Some(3), "{error}");
        queued.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
        assert_eq!(queued.read(&mut [0]).expect_err("reset").kind(), IoErrorKind::ConnectionReset);
        assert!(left(&home).is_empty(), "{:?}", left(&home));
    });
}

/// The lock is waited for by whoever is to remove what is dead.
#[test]
fn with_the_lock_held_by_another_the_start_takes_no_longer_than_its_time() {
    let home = Household::new("none");
    let claim = ServerSocket::builder().claim(home.path()).expect("claim");
    put_dead(&home.path());
    for wait in [true, false] {
        let command = StartCommand::new("true").wait_listen(wait).timeout(Duration::from_millis(100));
        let begin = Instant::now();
        let error = connect_or_start(home.path(), &command).expect_err("locked");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(begin.elapsed() < Duration::from_secs(5), "the builder's own time, of 5 s");
    }
    drop(claim);
}

/// Who waits for a server looks at the path meanwhile, not at the lock.
#[test]
fn the_lock_of_a_start_is_tried_once_and_not_waited_for() {
    let home = Household::new("none");
    let held = StartLock::try_take(home.path()).expect("free");
    let error = StartLock::try_take(home.path()).expect_err("held");
    assert_error(&error, ErrorKind::Locked, EEXIST);
    assert!(error.to_string().contains(".start; wait for it"), "for no time: {error}");
    drop(held);
    drop(StartLock::try_take(home.path()).expect("free"));
    assert!(left(&home).is_empty(), "{:?}", left(&home));
}

#[test]
fn one_that_dies_before_it_listens_by_itself_is_told_with_its_status() {
    let home = Household::new("none");
    for (script, status) in [("exit 4", 4), ("exit 0", 0), ("sh -c 'exit 0' & exit 0", 0)] {
        let command = StartCommand::new("sh").args(["-c", script]).wait_listen(true).timeout(PATIENCE);
        let error = connect_or_start(home.path(), &command).expect_err("nobody listens");
        assert_error(&error, ErrorKind::StartFailed, ECONNRESET);
        assert_eq!(error.exit_status().and_then(|status| status.code()), Some(status), "{error}");
        assert!(left(&home).is_empty(), "{:?}", left(&home));
    }
}

/// A process whose first thread is dead may have another that is still dying, and keeps the listener open.
#[track_caller]
fn until_ended(home: &Household, pid: i32) {
    until("it has ended", || !is_alive(pid) && matches!(probe(home.path()), Ok(PathState::Dead | PathState::Absent)));
}

#[test]
fn one_that_serves_a_single_client_and_ends_has_served_it() {
    let test = this_test!();
    play();
    let home = Household::new(&test);
    for round in 1..=5 {
        let pid = answer(connect_or_start(home.path(), &home.server("once")).expect("a server"));
        until_ended(&home, pid);
        assert_eq!((home.started().len(), home.started().last()), (round, Some(&pid)));
    }
}

#[test]
fn one_that_goes_into_the_background_is_waited_for_until_nobody_is_left() {
    let test = this_test!();
    play();
    let mut home = Household::new(&test);
    // Its parent ends at once and well, long before it listens.
    let script = format!("\"$0\" --exact {test} --nocapture --include-ignored & exit 0");
    let command = StartCommand::new("sh").args(["-c", &script]).arg(std::env::current_exe().expect("a path"));
    let command =
        command.env("UNIX_STREAM_SERVER_TEST_ROLE", "own-late").env("UNIX_STREAM_SERVER_TEST_DIR", home.dir.path());
    let (path, command) = (home.path(), command.wait_listen(true).timeout(PATIENCE));
    let starter = Worker::start(move || connect_or_start(&path, &command).map(answer));
    until("it runs", || home.started().len() == 1);
    home.say();
    assert_eq!(starter.result().expect("a server"), home.started()[0]);
    home.end();
}

#[test]
fn a_server_that_never_accepts_is_an_error_at_the_deadline_and_nobody_is_lost() {
    let test = this_test!();
    play();
    let mut home = Household::new(&test);
    let begin = Instant::now();
    let error = connect_or_start(home.path(), &home.server("late").timeout(Duration::from_millis(500)));
    assert_error(&error.expect_err("it sleeps"), ErrorKind::TimedOut, ETIMEDOUT);
    assert!(begin.elapsed() >= Duration::from_millis(500));
    // The server has the socket, and who comes is queued.
    let queued = connect_or_start(home.path(), &home.server("serve")).expect("queued");
    until("the server was started", || home.started().len() == 1);
    home.say();
    assert_eq!([answer(queued)], *home.started());
    home.end();
    // Where the server makes its socket itself, nobody can queue.
    let home = Household::new(&test);
    let command = StartCommand::new("sleep").arg("1").wait_listen(true).timeout(Duration::from_millis(50));
    let error = connect_or_start(home.path(), &command).expect_err("it sleeps");
    assert_error(&error, ErrorKind::TimedOut, ETIMEDOUT);
}

#[test]
fn a_full_backlog_keeps_the_starter_from_nothing() {
    let test = this_test!();
    play();
    let mut home = Household::new(&test);
    let command = home.server("late").backlog(0);
    let start = || {
        let (path, command) = (home.path(), command.clone());
        Worker::start(move || connect_or_start(&path, &command).map(answer))
    };
    let clients: Vec<_> = (0..5).map(|_| start()).collect();
    until("a server was started", || home.started().len() == 1);
    home.say();
    for client in clients {
        assert_eq!([client.result().expect("a server")], *home.started());
    }
    home.end();
}

#[test]
fn what_can_be_wrong_is_told_before_anything_is_left() {
    whole_process(&this_test!(), || {
        let home = Household::new("none");
        let check = |path: &Path, command: &StartCommand, kind, errno| {
            for wait in [false, true] {
                let error = connect_or_start(path, &command.clone().wait_listen(wait)).expect_err("wrong");
                assert_error(&error, kind, errno);
                assert_eq!(error.exit_status(), None);
            }
        };
        let path = home.path();
        put_file(&home.dir.join("data"), b"not a program", 0o644);
        put_file(&home.dir.join("text"), b"no interpreter", 0o755);
        let run = |program: &str| StartCommand::new(program).timeout(PATIENCE);
        let inside = |name: &str| home.dir.join(name).to_str().expect("text").to_owned();
        // Where PATH has a directory that may not be searched, it is EACCES, as of execvp(3).
        let nowhere = run("no-such-program-anywhere").env("PATH", "/usr/bin:/bin");
        check(&path, &nowhere, ErrorKind::StartFailed, ENOENT);
        check(&path, &run(""), ErrorKind::StartFailed, ENOENT);
        check(&path, &run(&inside("none")), ErrorKind::StartFailed, ENOENT);
        check(&path, &run(&inside("data")), ErrorKind::StartFailed, EACCES);
        check(&path, &run("/"), ErrorKind::StartFailed, EACCES);
        check(&path, &run(&inside("text")), ErrorKind::StartFailed, libc::ENOEXEC);
        check(&path, &run("true").arg("a\0b"), ErrorKind::Invalid, EINVAL);
        check(&path, &run("true").log_file(home.dir.join("none/log")), ErrorKind::System, ENOENT);
        check(&path, &run("true").log_file(home.dir.join("word")), ErrorKind::System, libc::ENXIO);
        check(&home.dir.join("none/s"), &run("true"), ErrorKind::System, ENOENT);
        check(&home.dir.join("data/s"), &run("true"), ErrorKind::System, ENOTDIR);
        check(&home.dir.join("data"), &run("true"), ErrorKind::NotASocket, ENOTSOCK);
        check(Path::new(""), &run("true"), ErrorKind::Invalid, EINVAL);
        assert_eq!(left(&home), ["data", "text"]);
        assert_eq!(fs::read(home.dir.join("data")).expect("a file"), b"not a program");
    });
}

/// It would be killed as soon as it has let us in: with the first process of the namespace, which is its starter.
#[test]
fn nothing_is_started_as_the_first_of_a_pid_namespace() {
    let test = this_test!();
    if !is_root() {
        return not_tried("pid namespaces: only root can make one");
    }
    play();
    whole_process(&test, || {
        let home = Household::new(&test);
        with_children_in_pid_namespaces();
        let error = connect_or_start(home.path(), &home.server("serve")).expect_err("no server");
        assert_error(&error, ErrorKind::System, EINVAL);
        assert!(home.started().is_empty() && left(&home).is_empty(), "{:?}", left(&home));
    });
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_and_starts_nothing() {
    let test = this_test!();
    child::ordinary_user(&test, || {
        let home = Household::new(&test);
        support::dir::chmod(home.dir.path(), 0o555);
        for wait in [false, true] {
            let error = connect_or_start(home.path(), &home.server("serve").log_file("/dev/null").wait_listen(wait));
            assert_error(&error.expect_err("not writable"), ErrorKind::System, EACCES);
        }
        support::dir::chmod(home.dir.path(), 0o700);
        assert!(home.started().is_empty());
    });
}

/// It is no path that somebody has deleted meanwhile, after which another try helps.
#[test]
fn a_socket_that_its_own_starter_may_not_connect_to_is_an_error_at_once_and_starts_nothing() {
    let test = this_test!();
    child::ordinary_user(&test, || {
        let home = Household::new(&test);
        let path = home.path();
        // Its time never ends, so that the error is not the one of a time that is over.
        let command = home.server("serve").mode(0).timeout(Duration::MAX);
        let error = within(PATIENCE, move || connect_or_start(path, &command).expect_err("no right to write"));
        assert_error(&error, ErrorKind::System, EACCES);
        assert!(error.to_string().contains(&*home.path().to_string_lossy()), "{error}");
        assert!(home.started().is_empty() && left(&home).is_empty(), "{:?}", left(&home));
    });
}

#[test]
fn a_server_gets_a_session_the_socket_and_nothing_else_of_ours() {
    let test = this_test!();
    play();
    whole_process(&test, || {
        let mut home = Household::new(&test);
        // Descriptors that exec would pass on, low and high.
        let (pipe, _end) = rustix::pipe::pipe().expect("pipe");
        let _high = rustix::io::fcntl_dupfd_cloexec(&pipe, 200).inspect(|fd| {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).expect("fcntl");
        });
        let command = home.server("describe").env("GIVEN", "yes").env("NOTIFY_SOCKET", "/n").fd_name("web");
        let pid = answer(connect_or_start(home.path(), &command).expect("a server"));
        let about = home.told("about");
        let line = |start: &str| {
            let mut lines = about.lines().filter_map(|line| line.strip_prefix(start));
            (lines.next().unwrap_or_else(|| panic!("no {start}: {about}")).to_owned(), lines.next())
        };
        let id = pid.to_string();
        for what in ["pid ", "group ", "session ", "env LISTEN_PID="] {
            assert_eq!(line(what), (id.clone(), None), "{what}");
        }
        assert_eq!(line("terminal ").0, "0");
        assert_eq!(line("cwd ").0, std::env::current_dir().expect("a directory").display().to_string());
        assert_eq!(line("env GIVEN=").0, "yes");
        assert_eq!(line("env LISTEN_FDS=").0, "1");
        assert_eq!(line("env LISTEN_FDNAMES=").0, "web");
        assert_eq!(line("env UNIX_SS_OWNED_PATH=").0, home.path().display().to_string());
        assert!(!about.contains("NOTIFY_SOCKET"), "{about}");
        // Rust ignores SIGPIPE in its programs, and handles SIGSEGV and SIGBUS; nothing else, and nothing is blocked.
        assert_eq!(line("SigBlk: ").0, "0000000000000000");
        assert_eq!(line("SigIgn: ").0, "0000000000001000");
        let descriptors: Vec<&str> = about.lines().filter_map(|line| line.strip_prefix("fd ")).collect();
        let log = home.dir.join("log").display().to_string();
        let expected = ["0 /dev/null".to_owned(), format!("1 {log}"), format!("2 {log}")];
        assert_eq!(descriptors[..3], expected, "{about}");
        assert!(descriptors[3].starts_with("3 socket:"), "{about}");
        // What it has opened itself since.
        for other in &descriptors[4..] {
            let own =
                ["life", "started"].iter().any(|name| other.ends_with(&home.dir.join(name).display().to_string()));
            assert!(own, "a descriptor of ours: {other}");
        }
        // It is no child of ours.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        let parent = stat.rsplit_once(") ").expect("stat").1.split(' ').nth(1).expect("a pid").to_owned();
        assert_ne!(parent, std::process::id().to_string());
        home.end();
    });
}

#[test]
fn no_descriptor_child_or_zombie_stays_with_the_client_whatever_becomes_of_the_start() {
    let test = this_test!();
    play();
    whole_process(&test, || {
        let mut home = Household::new(&test);
        let before = child::descriptors();
        for round in 0..10 {
            let pid = answer(connect_or_start(home.path(), &home.server("once")).expect("a server"));
            until_ended(&home, pid);
            let wait = round % 2 == 1;
            for program in ["false", "true", "no-such-program-anywhere"] {
                let command = StartCommand::new(program).wait_listen(wait).timeout(PATIENCE);
                connect_or_start(home.path(), &command).expect_err("no server");
            }
            assert_eq!(child::descriptors(), before);
            let children: String = fs::read_dir("/proc/self/task")
                .expect("/proc")
                .map(|task| fs::read_to_string(task.expect("a task").path().join("children")).unwrap_or_default())
                .collect();
            assert_eq!(children, "");
            let none = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
            assert!(matches!(none, Err(rustix::io::Errno::CHILD)), "{none:?}");
        }
        home.end();
    });
}

#[test]
fn the_server_survives_its_starter_and_what_is_sent_to_its_session() {
    let test = this_test!();
    match child::role().as_deref() {
        None => {}
        Some("starter") => {
            rustix::process::setsid().expect("setsid");
            let dir = child::dir();
            let pid = answer(connect_or_start(dir.join("s"), &server(&test, "serve", &dir)).expect("a server"));
            child::say(&format!("started {pid}"));
            child::listen();
            return;
        }
        Some(role) => serve(role),
    }
    for signal in [Signal::HUP, Signal::INT, Signal::KILL] {
        let mut home = Household::new(&test);
        let mut starter = Program::new(&test, "starter").dir(&home.dir).start();
        let pid: i32 = starter.hear("started").parse().expect("a pid");
        let group = rustix::process::Pid::from_raw(starter.pid().try_into().expect("a pid")).expect("a pid");
        rustix::process::kill_process_group(group, signal).expect("kill");
        until("the starter has died", || starter.has_ended());
        assert_eq!(answer(connect(home.path()).expect("it lives")), pid);
        assert_eq!(home.started(), [pid]);
        home.end();
    }
}

#[test]
fn a_starter_killed_while_a_server_makes_its_socket_leaves_the_lock_with_it() {
    let test = this_test!();
    match child::role().as_deref() {
        None => {}
        Some("starter") => {
            let dir = child::dir();
            let _ = connect_or_start(dir.join("s"), &server(&test, "own-late", &dir).wait_listen(true));
            return;
        }
        Some(role) => serve(role),
    }
    let mut home = Household::new(&test);
    let mut starter = Program::new(&test, "starter").dir(&home.dir).start();
    until("a server was started", || home.started().len() == 1);
    starter.kill();
    // Nobody starts another: the one that is there is waited for.
    let late = connect_or_start(home.path(), &home.server("own").wait_listen(true).timeout(Duration::from_millis(300)));
    assert_eq!(late.expect_err("nobody listens").kind(), ErrorKind::Locked);
    let (path, command) = (home.path(), home.server("own").wait_listen(true));
    let client = Worker::start(move || connect_or_start(&path, &command).map(answer));
    home.say();
    assert_eq!([client.result().expect("a server")], *home.started());
    home.end();
    // And if it is killed as well, the lock is free at once.
    let mut home = Household::new(&test);
    let mut starter = Program::new(&test, "starter").dir(&home.dir).start();
    until("a server was started", || home.started().len() == 1);
    starter.kill();
    let first = home.started()[0];
    rustix::process::kill_process(rustix::process::Pid::from_raw(first).expect("a pid"), Signal::KILL).expect("kill");
    let second = answer(connect_or_start(home.path(), &home.server("own").wait_listen(true)).expect("a server"));
    assert_eq!(home.started(), [first, second]);
    home.end();
    assert_eq!(left(&home), ["s"], "the lock is left");
}

#[test]
fn a_long_path_and_a_relative_one_are_started_at_too() {
    let test = this_test!();
    play();
    whole_process(&test, || {
        let mut home = Household::new(&test);
        std::env::set_current_dir(home.dir.path()).expect("chdir");
        for name in ["relative", &"n".repeat(200), &format!("{}long", "./".repeat(100))] {
            let command = home.server("describe");
            let pid = answer(connect_or_start(name, &command).expect("a server"));
            let owned = format!("env UNIX_SS_OWNED_PATH={}\n", home.dir.join(name).display());
            assert!(home.told("about").contains(&owned), "{}", home.told("about"));
            assert_eq!(answer(connect(home.dir.join(name)).expect("it lives")), pid);
        }
        home.end();
    });
}
