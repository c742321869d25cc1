//! Clients: in bounded time, at any path, and told the truth about a refusal.

pub mod support;

use std::fs;
use std::io::{self, ErrorKind as IoErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libc::{EACCES, EADDRINUSE, ECONNREFUSED, ENOENT, ENOTSOCK, EPROTOTYPE, ETIMEDOUT};
use rustix::process::Signal;
use support::child::{self, Program, whole_process};
use support::dir::{Dir, chmod, put_file};
use support::sockets::{assert_connected, assert_serves, bound, busy, fill, put_dead};
use support::wait::{Worker, within};
use support::{PATIENCE, assert_error};
use unix_stream_server::{
    ErrorKind, PathState, ServerSocket, connect, connect_timeout, peer_credentials, probe, queued_clients,
};

#[test]
fn a_full_backlog_times_out() {
    let dir = Dir::new();
    let short = dir.join("s");
    let (_server, _clients) = busy(&short);
    let long = dir.join("l".repeat(150));
    fs::rename(&short, &long).expect("rename");
    symlink(&long, &short).expect("symlink");
    for path in [short, long] {
        for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(100)] {
            let at = path.clone();
            let start = Instant::now();
            let error = within(PATIENCE, move || connect_timeout(at, timeout)).expect_err("full");
            assert!(start.elapsed() >= timeout, "it gave up early");
            assert_error(&error, ErrorKind::TimedOut, ETIMEDOUT);
        }
    }
}

/// Each stop and continue interrupts a connect() that has a timeout, whose time then counts anew (signal(7)).
#[test]
fn a_full_backlog_times_out_however_many_signals_come() {
    let test = this_test!();
    if child::role().is_some() {
        child::say("begun");
        let error = connect_timeout(child::dir().join("s"), Duration::from_millis(300)).expect_err("full");
        assert_error(&error, ErrorKind::TimedOut, ETIMEDOUT);
        return;
    }
    let dir = Dir::new();
    let _busy = busy(&dir.join("s"));
    let mut client = Program::new(&test, "client").dir(&dir).start();
    client.hear("begun");
    // To its end, or until an end by the count of interruptions would have come.
    for _ in 0..2_000 {
        if client.has_ended() {
            break;
        }
        // The pauses give the signals a rate, nothing more.
        for signal in [Signal::STOP, Signal::CONT] {
            client.signal(signal);
            thread::sleep(Duration::from_millis(2));
        }
    }
    client.finish();
}

#[test]
fn a_client_waits_on_a_full_backlog_until_it_is_let_in() {
    let dir = Dir::new();
    let path = dir.join("s");
    for timeout in [None, Some(PATIENCE), Some(Duration::MAX)] {
        let server = ServerSocket::builder().backlog(1).create(&path).expect("create");
        let queued = fill(&path);
        let at = path.clone();
        let client = Worker::start(move || match timeout {
            None => connect(at),
            Some(timeout) => connect_timeout(at, timeout),
        });
        client.until_in(libc::SYS_connect);
        for _ in &queued {
            server.accept().expect("accept");
        }
        let client = client.result().expect("let in");
        assert_connected(client, server.accept().expect("accept").0);
        server.close().expect("close");
    }
}

#[test]
fn with_no_time_a_client_is_let_in_if_that_can_be_done_at_once() {
    let dir = Dir::new();
    let server = ServerSocket::create(dir.join("s")).expect("create");
    let client = connect_timeout(dir.join("s"), Duration::ZERO).expect("connect");
    // It blocks like any other from then on.
    let flags = rustix::fs::fcntl_getfl(&client).expect("fcntl");
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    assert_eq!(client.write_timeout().expect("getsockopt"), None);
    assert_connected(client, server.accept().expect("accept").0);
    let client = connect_timeout(dir.join("s"), PATIENCE).expect("connect");
    assert_eq!(client.write_timeout().expect("getsockopt"), None);
}

#[test]
fn each_failure_has_its_own_errno() {
    let dir = Dir::new();
    let check = |name: &str, kind, errno| {
        for path in [dir.join(name), dir.join(name.repeat(50))] {
            let _ = fs::rename(dir.join(name), &path);
            for timeout in [None, Some(Duration::ZERO), Some(PATIENCE)] {
                let result = timeout.map_or_else(|| connect(&path), |timeout| connect_timeout(&path, timeout));
                let error = result.expect_err(name);
                assert_error(&error, kind, errno);
                assert_eq!(error.operation(), "connect to");
            }
        }
    };
    check("none", ErrorKind::System, ENOENT);
    put_dead(&dir.join("dead"));
    check("dead", ErrorKind::System, ECONNREFUSED);
    put_file(&dir.join("file"), b"precious", 0o666);
    check("file", ErrorKind::NotASocket, ENOTSOCK);
    fs::create_dir(dir.join("dir")).expect("mkdir");
    check("dir", ErrorKind::NotASocket, ENOTSOCK);
    let fifo = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), rustix::fs::FileType::Fifo, fifo, 0).expect("mkfifo");
    check("fifo", ErrorKind::NotASocket, ENOTSOCK);
    let packets = bound(&dir.join("pack"), rustix::net::SocketType::SEQPACKET);
    rustix::net::listen(&packets, 1).expect("listen");
    check("pack", ErrorKind::System, EPROTOTYPE);
    symlink("nowhere", dir.join("link")).expect("symlink");
    check("link", ErrorKind::System, ENOENT);
}

#[test]
fn a_server_without_write_permission_says_so() {
    support::child::ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let _server = ServerSocket::builder().mode(0o555).create(dir.join("s")).expect("create");
        assert_error(&connect(dir.join("s")).expect_err("not writable"), ErrorKind::System, EACCES);
        chmod(&dir.join("s"), 0o200);
        connect(dir.join("s")).expect("writable");
    });
}

#[test]
fn links_are_followed() {
    let dir = Dir::new();
    fs::create_dir(dir.join("d")).expect("mkdir");
    let server = ServerSocket::create(dir.join("d/s")).expect("create");
    symlink("d", dir.join("up")).expect("symlink");
    symlink("up/s", dir.join("link")).expect("symlink");
    symlink("link", dir.join("l".repeat(200))).expect("symlink");
    for path in ["up/s", "link", &"l".repeat(200)] {
        assert_serves(&server, &dir.join(path));
    }
}

#[test]
fn while_servers_come_and_go_a_client_sees_only_success_absence_or_refusal() {
    let dir = Dir::new();
    for path in [dir.join("s"), dir.join("l".repeat(150))] {
        let end = Arc::new(AtomicBool::new(false));
        let (at, ends) = (path.clone(), Arc::clone(&end));
        let servers = Worker::start(move || {
            let mut servers = 0;
            while !ends.load(Ordering::Relaxed) {
                let server = ServerSocket::create(&at).expect("create");
                server.set_nonblocking(true).expect("fcntl");
                while server.accept().is_ok() {}
                if servers % 2 == 0 {
                    server.close().expect("close");
                } else {
                    server.drain().expect("drain").for_each(drop);
                }
                servers += 1;
            }
            servers
        });
        let mut let_in = 0;
        let start = Instant::now();
        for round in 0.. {
            let result = if round % 2 == 0 { connect(&path) } else { connect_timeout(&path, PATIENCE) };
            match result {
                Ok(_) => let_in += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::System, "{error}");
                    assert!(matches!(error.raw_os_error(), ENOENT | ECONNREFUSED), "{error}");
                }
            }
            if round >= 5_000 && let_in >= 100 {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "let in {let_in} times of {round}");
        }
        end.store(true, Ordering::Relaxed);
        assert!(servers.result() > 1);
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn while_servers_are_replaced_without_a_gap_no_client_is_refused() {
    let dir = Dir::new();
    let path = dir.join("s");
    let first = support::sockets::stranger(&path);
    let end = Arc::new(AtomicBool::new(false));
    let (at, beside, ends) = (path.clone(), dir.join("new"), Arc::clone(&end));
    let replaced = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&replaced);
    let servers = Worker::start(move || {
        let mut server = first;
        while !ends.load(Ordering::Relaxed) {
            // The path is never absent, and its old server refuses from this moment on.
            let successor = support::sockets::stranger(&beside);
            fs::rename(&beside, &at).expect("rename");
            server = successor;
            server.set_nonblocking(true).expect("fcntl");
            while server.accept().is_ok() {}
            counted.fetch_add(1, Ordering::Relaxed);
        }
        drop(server);
    });
    let start = Instant::now();
    for round in 0.. {
        connect_timeout(&path, PATIENCE).unwrap_or_else(|error| panic!("a successor was there: {error}"));
        let replaced = replaced.load(Ordering::Relaxed);
        // Whichever of the two threads has had more of the processors.
        if round >= 5_000 && replaced >= 100 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{replaced} were replaced while {round} connected");
    }
    end.store(true, Ordering::Relaxed);
    let () = servers.result();
}

#[test]
fn each_end_knows_who_the_other_is() {
    let dir = Dir::new();
    let server = ServerSocket::create(dir.join("s")).expect("create");
    let client = connect(dir.join("s")).expect("connect");
    let (accepted, _) = server.accept().expect("accept");
    for end in [&client, &accepted] {
        let peer = peer_credentials(end).expect("a socket").expect("known");
        assert_eq!(peer.pid, Some(std::process::id()));
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer.gid, rustix::process::getegid().as_raw());
    }
    let file = fs::File::open("/dev/null").expect("open");
    assert_eq!(peer_credentials(&file).expect_err("no socket").raw_os_error(), Some(ENOTSOCK));
}

#[test]
fn accept_incoming_and_set_nonblocking_are_those_of_a_listener() {
    let dir = Dir::new();
    let server = ServerSocket::create(dir.join("s")).expect("create");
    server.set_nonblocking(true).expect("fcntl");
    assert_eq!(server.accept().expect_err("nobody").kind(), IoErrorKind::WouldBlock);
    let mut incoming = server.incoming();
    assert!(incoming.next().expect("endless").is_err_and(|error| error.kind() == IoErrorKind::WouldBlock));
    let client = connect(dir.join("s")).expect("connect");
    assert_connected(client, incoming.next().expect("endless").expect("accept"));
    server.set_nonblocking(false).expect("fcntl");
    let client = connect(dir.join("s")).expect("connect");
    assert_connected(client, server.accept().expect("accept").0);
    assert!(rustix::net::sockopt::socket_acceptconn(server.as_fd()).expect("getsockopt"));
}

#[test]
fn an_error_becomes_an_io_error_with_its_errno() {
    let dir = Dir::new();
    let path = dir.join("s");
    let question = || -> io::Result<()> { Ok(connect(&path).map(drop)?) };
    let error = question().expect_err("nobody");
    assert_eq!((error.kind(), error.raw_os_error()), (IoErrorKind::NotFound, Some(ENOENT)));
    let _server = ServerSocket::create(&path).expect("create");
    let error = io::Error::from(ServerSocket::create(&path).expect_err("in use"));
    assert_eq!((error.kind(), error.raw_os_error()), (IoErrorKind::AddrInUse, Some(EADDRINUSE)));
    let error = ServerSocket::create(&path).expect_err("in use");
    let debug = format!("{error:?}");
    assert!(debug.contains("InUse") && debug.contains("AddrInUse"), "{debug}");
    assert_eq!(error.path(), path);
    let error: Box<dyn std::error::Error + Send + Sync> = error.into();
    assert!(error.to_string().starts_with("cannot create a server socket at "));
}

#[test]
fn who_is_queued_is_listed_without_being_accepted() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let server = ServerSocket::create(&path).expect("create");
        match queued_clients(&server) {
            Ok(none) => assert!(none.is_empty()),
            Err(error) => return support::not_tried(&format!("the kernel lists no queues: {error}")),
        }
        let connect = || connect(&path).expect("connect");
        let (gone, silent, sent) = (connect(), connect(), connect());
        drop(gone);
        std::io::Write::write_all(&mut &sent, b"x").expect("write");
        let queued = queued_clients(&server).expect("listed");
        assert_eq!(queued.iter().map(|client| client.is_gone()).collect::<Vec<_>>(), [true, false, false]);
        let words: Vec<_> = queued.iter().map(|client| client.has_sent()).collect();
        assert_eq!(words, [None, Some(false), Some(true)]);
        drop(silent);
        let again = queued_clients(&server).expect("listed");
        assert!(again[1].is_gone() && again[2] == queued[2]);
        server.accept().expect("accept");
        assert_eq!(queued_clients(&server).expect("listed").len(), 2);
        assert!(matches!(probe(&path).expect("probe"), PathState::Live { .. }));
        within(PATIENCE, move || server.close()).expect("close");
    });
}
