//! The end of a server: no client lost, nobody left blocked, nothing left in the directory, nothing foreign removed.

pub mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use libc::{ECONNREFUSED, ECONNRESET, EEXIST, EMFILE, ENOENT};
use support::assert_error;
use support::child::{descriptors, whole_process, with_descriptors};
use support::dir::{Dir, exists, file, put_file};
use support::sockets::{assert_connected, assert_serves, fill, next_client, stranger};
use support::wait::Worker;
use unix_stream_server::{ErrorKind, LockScope, PathState, ServerSocket, Status, connect, probe};

fn hasty() -> unix_stream_server::Builder {
    ServerSocket::builder().lock_timeout(Duration::from_millis(20))
}

#[test]
fn drain_serves_every_client_whose_connect_succeeded() {
    let dir = Dir::new();
    let path = dir.join("s");
    for nonblocking in [false, true] {
        let server = ServerSocket::create(&path).expect("create");
        server.set_nonblocking(nonblocking).expect("fcntl");
        let clients: Vec<_> = (0..50).map(|_| connect(&path).expect("connect")).collect();
        let mut drain = server.drain().expect("drain");
        assert_eq!(drain.status().expect("the lock was had"), Status::Ours);
        assert_eq!(drain.local_path(), path);
        // The path is free before they are served, and no new one gets in.
        assert_eq!(dir.names(), [""; 0]);
        assert_eq!(connect(&path).expect_err("no server").raw_os_error(), ENOENT);
        let successor = ServerSocket::create(&path).expect("the path is free");
        for client in clients {
            let served = drain.next().expect("queued").expect("accept");
            assert_connected(client, served);
        }
        assert!(drain.next().is_none() && drain.next().is_none());
        drop(drain);
        assert_eq!(successor.status(), Status::Ours);
        assert_serves(&successor, &path);
        successor.close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn close_removes_the_path_and_resets_who_is_queued() {
    let dir = Dir::new();
    let path = dir.join("s");
    for scope in [LockScope::Startup, LockScope::Lifetime] {
        let server = hasty().lock_scope(scope).create(&path).expect("create");
        let mut queued = connect(&path).expect("connect");
        assert_eq!(server.close().expect("close"), Status::Ours);
        assert_eq!(dir.names(), [""; 0]);
        assert_eq!(queued.read(&mut [0]).expect_err("reset").raw_os_error(), Some(ECONNRESET));
        assert_eq!(probe(&path).expect("a path"), PathState::Absent);
    }
}

#[test]
fn a_close_waits_for_the_lock_also_where_the_start_was_to_try_only_once() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::builder().lock_timeout(Duration::ZERO).create(&path).expect("create");
    let lock = dir.join("s.lock");
    put_file(&lock, b"", 0o644);
    let closing = Worker::start(move || server.close());
    closing.until_in(libc::SYS_clock_nanosleep);
    fs::remove_file(&lock).expect("unlink");
    // Within the time that a close waits at least, or after it: on a stalled machine the close may have given up.
    match closing.result() {
        Ok(status) => {
            assert_eq!(status, Status::Ours);
            assert_eq!(dir.names(), [""; 0]);
        }
        Err(error) => assert_error(&error, ErrorKind::Locked, EEXIST),
    }
}

#[test]
fn a_listener_whose_path_was_given_up_leaves_it_behind() {
    whole_process(&this_test!(), || {
        for scope in [LockScope::Startup, LockScope::Lifetime] {
            let dir = Dir::new();
            let path = dir.join("s");
            let before = descriptors();
            let server = hasty().lock_scope(scope).create(&path).expect("create");
            let (dev, ino) = server.device_and_inode();
            let listener = server.into_listener();
            assert_eq!(dir.names(), ["s"]);
            assert_eq!((dev, ino), (fs::metadata(&path).expect("stat").dev(), file(&path).inode));
            assert_serves(&listener, &path);
            drop(listener);
            assert_eq!(descriptors(), before);
            assert_eq!(probe(&path).expect("a path"), PathState::Dead);
            hasty().create(&path).expect("the next start replaces it").close().expect("close");
            assert_eq!(dir.names(), [""; 0]);
        }
    });
}

/// A server with a full backlog, of which a copy is open elsewhere, and clients that are blocked in connect().
fn with_blocked_clients(path: &Path) -> (ServerSocket, Vec<Worker<std::io::Result<UnixStream>>>) {
    let server = ServerSocket::builder().backlog(2).create(path).expect("create");
    std::mem::forget(fill(path));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let path = path.to_owned();
            Worker::start(move || UnixStream::connect(path))
        })
        .collect();
    for client in &clients {
        client.until_in(libc::SYS_connect);
    }
    (server, clients)
}

#[test]
fn nobody_stays_blocked_in_connect_even_if_a_copy_of_the_listener_is_open_elsewhere() {
    type End = fn(ServerSocket) -> Option<unix_stream_server::Drain>;
    let ends: [End; 2] = [
        |server| {
            server.close().expect("close");
            None
        },
        |server| Some(server.drain().expect("drain")),
    ];
    for end in ends {
        let dir = Dir::new();
        let path = dir.join("s");
        let (server, clients) = with_blocked_clients(&path);
        let copy = server.as_fd().try_clone_to_owned().expect("dup");
        let drain = end(server);
        for client in clients {
            match client.result() {
                Ok(_) => panic!("nobody was there to let it in"),
                Err(error) => assert!(matches!(error.raw_os_error(), Some(ENOENT | ECONNREFUSED)), "{error}"),
            }
        }
        // Who had been let in is still served.
        if let Some(drain) = drain {
            let served: Vec<_> = drain.map(|client| client.expect("accept")).collect();
            assert!(served.len() >= 2);
        }
        assert_eq!(dir.names(), [""; 0]);
        drop(copy);
    }
}

#[test]
fn clients_woken_from_a_full_backlog_find_the_successor() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (server, clients) = with_blocked_clients(&path);
    let copy = server.as_fd().try_clone_to_owned().expect("dup");
    fs::remove_file(&path).expect("unlink");
    let successor = stranger(&path);
    let before = dir.files();
    let drain = server.drain().expect("drain");
    assert_eq!(drain.status().expect("the lock was had"), Status::Replaced);
    assert_eq!(dir.files(), before);
    // In the order in which they woke, not in that in which they came.
    let clients: Vec<_> = clients.into_iter().map(|client| client.result().expect("connected")).collect();
    for _ in &clients {
        next_client(&successor).write_all(b"x").expect("write");
    }
    for mut client in clients {
        client.set_read_timeout(Some(support::PATIENCE)).expect("setsockopt");
        assert_eq!(client.read(&mut [0]).expect("served by the successor"), 1);
    }
    drop((drain, copy));
    assert_eq!(dir.files(), before);
}

#[test]
fn after_drain_a_copy_of_the_listener_lets_nobody_in() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    // A second name for the socket, to reach it after its own has gone.
    fs::hard_link(&path, dir.join("other")).expect("link");
    let copy = server.as_fd().try_clone_to_owned().expect("dup");
    let drain = server.drain().expect("drain");
    assert_eq!(connect(dir.join("other")).expect_err("shut").raw_os_error(), ECONNREFUSED);
    assert_eq!(probe(dir.join("other")).expect("a path"), PathState::Dead);
    assert_eq!(drain.count(), 0);
    drop(copy);
}

#[test]
fn without_the_lock_close_leaves_a_dead_socket_and_says_so() {
    let dir = Dir::new();
    let path = dir.join("s");
    for drains in [false, true] {
        let server = hasty().create(&path).expect("create");
        let client = connect(&path).expect("connect");
        put_file(&dir.join("s.lock"), b"", 0o644);
        let before = dir.files();
        let check = |error: &unix_stream_server::Error| {
            assert_error(error, ErrorKind::Locked, EEXIST);
            assert!(error.to_string().contains("a dead socket stays"), "{error}");
        };
        if drains {
            let mut drain = server.drain().expect("drain");
            check(drain.status().expect_err("no lock"));
            assert_connected(client, drain.next().expect("queued").expect("accept"));
        } else {
            check(&server.close().expect_err("no lock"));
        }
        assert_eq!(dir.files(), before);
        assert_eq!(probe(&path).expect("a path"), PathState::Dead);
        assert_eq!(connect(&path).expect_err("shut").raw_os_error(), ECONNREFUSED);
        fs::remove_file(dir.join("s.lock")).expect("unlink");
        let next = hasty().create(&path).expect("the next start replaces it");
        assert_serves(&next, &path);
        next.close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
    }
}

/// Without the lock nothing can be removed; but where the path is lost already, nothing is to be.
#[test]
fn a_server_that_has_lost_its_path_ends_without_the_lock_and_says_so() {
    type End = fn(ServerSocket) -> Status;
    let ends: [End; 2] =
        [|server| server.close().expect("close"), |server| server.drain().expect("drain").status().expect("told")];
    for end in ends {
        let dir = Dir::new();
        let inner = dir.join("d");
        fs::create_dir(&inner).expect("mkdir");
        let server = hasty().create(inner.join("s")).expect("create");
        fs::remove_dir_all(&inner).expect("rmdir");
        assert_eq!(end(server), Status::Gone);
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let (_listener, ownership) = hasty().create(&path).expect("create").into_parts().expect("parts");
    put_file(&dir.join("s.lock"), b"", 0o644);
    fs::remove_file(&path).expect("unlink");
    put_file(&path, b"precious", 0o644);
    assert_eq!(ownership.close().expect("told"), Status::Replaced);
    assert_eq!(fs::read(&path).expect("there"), b"precious");
}

#[test]
fn a_drain_that_runs_out_of_descriptors_loses_nobody() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let server = ServerSocket::create(&path).expect("create");
        let clients: Vec<_> = (0..3).map(|_| connect(&path).expect("connect")).collect();
        let mut drain = server.drain().expect("drain");
        let open = descriptors();
        for _ in 0..3 {
            let error = with_descriptors(0, || drain.next()).expect("queued").expect_err("no descriptors");
            assert_eq!(error.raw_os_error(), Some(EMFILE));
        }
        let (first, none) = with_descriptors(1, || (drain.next(), drain.next()));
        let mut served = vec![first.expect("queued").expect("accept")];
        assert_eq!(none.expect("queued").expect_err("no descriptors").raw_os_error(), Some(EMFILE));
        served.extend(drain.map(|client| client.expect("accept")));
        assert_eq!(served.len(), 3);
        for (client, served) in clients.into_iter().zip(served) {
            assert_connected(client, served);
        }
        assert!(descriptors().len() < open.len());
    });
}

#[test]
fn a_close_that_runs_out_of_descriptors_ends_the_server_and_says_what_it_left() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let server = hasty().create(&path).expect("create");
        let error = with_descriptors(0, || server.close()).expect_err("no descriptors");
        assert_error(&error, ErrorKind::System, EMFILE);
        assert_eq!(dir.names(), ["s"]);
        assert_eq!(probe(&path).expect("a path"), PathState::Dead);
        hasty().create(&path).expect("the next start replaces it").close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
    });
}

#[test]
fn a_drop_is_silent_and_removes_the_path() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        drop(ServerSocket::create(&path).expect("create"));
        assert_eq!(dir.names(), [""; 0]);
        let panicked = std::thread::spawn({
            let path = path.clone();
            move || {
                let _server = ServerSocket::create(path).expect("create");
                std::panic::resume_unwind(Box::new("no message"));
            }
        });
        assert!(panicked.join().is_err());
        assert_eq!(dir.names(), [""; 0]);

        // Without the lock: nothing is removed, nothing waited for that a drop may not wait for.
        let server = ServerSocket::builder().lock_timeout(Duration::MAX).create(&path).expect("create");
        put_file(&dir.join("s.lock"), b"", 0o644);
        let before = dir.files();
        support::wait::within(support::PATIENCE, move || drop(server));
        assert_eq!(dir.files(), before);
        fs::remove_file(dir.join("s.lock")).expect("unlink");
        ServerSocket::create(&path).expect("create").close().expect("close");
    });
}

#[test]
fn a_drop_after_a_theft_deletes_nothing() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    fs::remove_file(&path).expect("unlink");
    put_file(&path, b"precious", 0o600);
    let before = file(&path);
    drop(server);
    assert_eq!(file(&path), before);
    fs::remove_file(&path).expect("unlink");

    let server = ServerSocket::create(&path).expect("create");
    fs::remove_file(&path).expect("unlink");
    let thief = ServerSocket::create(&path).expect("create");
    drop(server);
    assert_eq!(thief.status(), Status::Ours);
    assert_serves(&thief, &path);
    assert!(exists(&path));
}

#[test]
fn a_drain_that_is_dropped_resets_who_is_left() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    let mut clients: Vec<_> = (0..3).map(|_| connect(&path).expect("connect")).collect();
    let mut drain = server.drain().expect("drain");
    assert_connected(clients.remove(0), drain.next().expect("queued").expect("accept"));
    drop(drain);
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).expect_err("reset").raw_os_error(), Some(ECONNRESET));
    }
}
