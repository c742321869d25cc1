//! A server whose path was deleted puts a new socket there: nobody lost, nothing replaced, everything else as before.

pub mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use libc::{EACCES, EADDRINUSE, ECONNREFUSED, EEXIST, EINVAL, EMFILE, ENOENT, ENOTSOCK, EPERM, ESTALE};
use support::child::{descriptors, ordinary_user, whole_process, with_descriptors};
use support::dir::{Dir, beside, chmod, exists, inode, mode, put_file};
use support::fork::in_a_forked_child;
use support::sockets::{assert_connected, assert_serves, busy, fill, next_client, put_dead, stranger};
use support::wait::Worker;
use support::{PATIENCE, assert_error};
use unix_stream_server::{Builder, Error, ErrorKind, LockScope, OldQueue, Ownership, ServerSocket, Status, connect};

fn hasty() -> Builder {
    ServerSocket::builder().lock_timeout(Duration::from_millis(20))
}

/// A server whose path a cleaner has deleted.
fn cleaned(builder: &Builder, path: &Path) -> ServerSocket {
    let server = builder.create(path).expect("create");
    fs::remove_file(path).expect("unlink");
    server
}

#[track_caller]
fn healed(server: &mut ServerSocket) -> OldQueue {
    server.heal().expect("a heal").expect("something to heal")
}

/// Nothing was done: the directory and the server are as they were.
#[track_caller]
fn refused(dir: &Dir, server: &mut ServerSocket, kind: ErrorKind, errno: i32) -> Error {
    let before = dir.files();
    let error = server.heal().expect_err("a refusal");
    assert_error(&error, kind, errno);
    assert_eq!(dir.files(), before, "{error}");
    assert_eq!(server.status(), if exists(server.local_path()) { Status::Replaced } else { Status::Gone });
    error
}

#[test]
fn a_deleted_path_leads_to_a_server_again_and_nobody_is_lost() {
    for nonblocking in [false, true] {
        let dir = Dir::new();
        let path = dir.join("s");
        let mut server = ServerSocket::builder().mode(0o640).create(&path).expect("create");
        server.set_nonblocking(nonblocking).expect("fcntl");
        let old = server.device_and_inode();
        let clients: Vec<_> = (0..20).map(|_| connect(&path).expect("connect")).collect();
        fs::remove_file(&path).expect("unlink");
        assert_eq!(connect(&path).expect_err("gone").raw_os_error(), ENOENT);
        let mut queue = healed(&mut server);
        assert_eq!((server.status(), mode(&path), dir.names()), (Status::Ours, 0o640, vec!["s".to_owned()]));
        assert_eq!(server.device_and_inode().1, inode(&path));
        assert_ne!(server.device_and_inode(), old);
        assert_serves(&server, &path);
        for client in clients {
            assert_connected(client, queue.next().expect("queued").expect("accept"));
        }
        assert!(queue.next().is_none() && queue.next().is_none());
        drop(queue);
        if nonblocking {
            assert_eq!(server.accept().expect_err("nobody").kind(), std::io::ErrorKind::WouldBlock);
        }
        let second = ServerSocket::create(&path).expect_err("a live server");
        assert_error(&second, ErrorKind::InUse, EADDRINUSE);
        assert_eq!(server.close().expect("close"), Status::Ours);
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn it_may_be_deleted_and_healed_again_and_again() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = ServerSocket::create(&path).expect("create");
    let before = descriptors_to_sockets();
    for round in 0..50 {
        match round % 2 {
            0 => fs::remove_file(&path).expect("unlink"),
            _ => fs::rename(&path, dir.join("away")).expect("rename"),
        }
        let client = (round % 2 == 1).then(|| UnixStream::connect(dir.join("away")).expect("the old one"));
        let queue = healed(&mut server);
        assert_eq!(queue.count(), usize::from(client.is_some()));
        assert_serves(&server, &path);
        let _ = fs::remove_file(dir.join("away"));
    }
    assert!(descriptors_to_sockets() <= before + 64, "descriptors leak");
    let (listener, ownership) = server.into_parts().expect("parts");
    assert_serves(&listener, &path);
    drop(ownership);
    assert_eq!(dir.names(), [""; 0]);
}

/// Other tests of this process have some too.
fn descriptors_to_sockets() -> usize {
    descriptors().iter().filter(|(_, file)| file.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn a_path_that_is_ours_needs_no_heal() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = hasty().create(&path).expect("create");
    let client = connect(&path).expect("connect");
    let before = dir.files();
    assert!(server.heal().expect("no error").is_none());
    fs::rename(&path, dir.join("away")).expect("rename");
    fs::rename(dir.join("away"), &path).expect("rename back");
    assert!(server.heal().expect("no error").is_none());
    // Nor the lock.
    put_file(&beside(&path, ".lock"), b"", 0o644);
    assert!(server.heal().expect("no error").is_none());
    fs::remove_file(beside(&path, ".lock")).expect("unlink");
    assert_eq!(dir.files(), before);
    assert_connected(client, next_client(&server));
}

/// With a copy of the old listener open elsewhere, which would keep them asleep for ever.
#[test]
fn clients_asleep_in_connect_wake_and_reach_the_new_socket() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = ServerSocket::builder().backlog(2).create(&path).expect("create");
    let copy = server.as_fd().try_clone_to_owned().expect("dup");
    let queued = fill(&path);
    let asleep: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            Worker::start(move || UnixStream::connect(path))
        })
        .collect();
    for client in &asleep {
        client.until_in(libc::SYS_connect);
    }
    fs::remove_file(&path).expect("unlink");
    let queue = healed(&mut server);
    assert_eq!(queue.collect::<Result<Vec<_>, _>>().expect("accept").len(), queued.len());
    // As many at a time as the new backlog takes, in the order in which they come.
    for _ in &asleep {
        next_client(&server).write_all(b"x").expect("write");
    }
    for client in asleep {
        let mut client = client.result().expect("it reaches the new socket");
        client.set_read_timeout(Some(PATIENCE)).expect("setsockopt");
        assert_eq!(client.read(&mut [0]).expect("served"), 1);
    }
    drop(copy);
}

#[test]
fn what_stands_there_is_left_alone_whatever_it_is() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = cleaned(&hasty(), &path);

    let live = stranger(&path);
    let error = refused(&dir, &mut server, ErrorKind::InUse, EADDRINUSE);
    assert_eq!(error.peer().and_then(|peer| peer.pid), Some(std::process::id()));
    assert_serves(&live, &path);
    drop(live);
    let error = refused(&dir, &mut server, ErrorKind::Moved, ESTALE);
    assert!(error.to_string().contains("nobody listens"), "{error}");
    fs::remove_file(&path).expect("unlink");

    let (server_of_others, clients) = busy(&path);
    refused(&dir, &mut server, ErrorKind::InUse, EADDRINUSE);
    drop((server_of_others, clients));
    fs::remove_file(&path).expect("unlink");

    put_dead(&path);
    refused(&dir, &mut server, ErrorKind::Moved, ESTALE);
    fs::remove_file(&path).expect("unlink");

    put_file(&path, b"precious", 0o600);
    refused(&dir, &mut server, ErrorKind::NotASocket, ENOTSOCK);
    fs::remove_file(&path).expect("unlink");

    symlink("nowhere", &path).expect("symlink");
    refused(&dir, &mut server, ErrorKind::NotASocket, ENOTSOCK);
    fs::remove_file(&path).expect("unlink");

    fs::create_dir(&path).expect("mkdir");
    refused(&dir, &mut server, ErrorKind::NotASocket, ENOTSOCK);
    fs::remove_dir(&path).expect("rmdir");

    // Now that nothing is, it heals.
    drop(healed(&mut server));
    assert_serves(&server, &path);
}

#[test]
fn a_lock_of_another_program_is_waited_for_and_left_alone() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = cleaned(&hasty(), &path);
    put_file(&beside(&path, ".lock"), b"", 0o644);
    refused(&dir, &mut server, ErrorKind::Locked, EEXIST);
    let live = stranger(&path);
    refused(&dir, &mut server, ErrorKind::InUse, EADDRINUSE);
    drop(live);
    fs::remove_file(&path).expect("unlink");
    fs::remove_file(beside(&path, ".lock")).expect("unlink");
    // A killed starter's is taken over.
    put_file(&beside(&path, ".lock"), b"", 0o1400);
    drop(healed(&mut server));
    assert_eq!(dir.names(), ["s"]);
}

#[test]
fn a_life_lock_is_kept_or_made_anew_where_its_file_was_deleted_too() {
    let dir = Dir::new();
    let path = dir.join("s");
    let builder = hasty().lock_scope(LockScope::Lifetime);
    let mut server = cleaned(&builder, &path);
    let life = inode(&beside(&path, ".owner"));
    drop(healed(&mut server));
    assert_eq!(inode(&beside(&path, ".owner")), life);

    fs::remove_file(&path).expect("unlink");
    fs::remove_file(beside(&path, ".owner")).expect("unlink");
    drop(healed(&mut server));
    assert!(exists(&beside(&path, ".owner")));
    let (client, drain) = (connect(&path).expect("connect"), server.drain().expect("drain"));
    // It drains, and keeps its successor out.
    let error = builder.create(&path).expect_err("the life lock is held");
    assert_error(&error, ErrorKind::InUse, EADDRINUSE);
    drop((client, drain));
    assert_eq!(dir.names(), [""; 0]);
    builder.create(&path).expect("the life lock is free").close().expect("close");
}

#[test]
fn a_life_lock_that_another_server_has_by_now_is_in_use() {
    let dir = Dir::new();
    let path = dir.join("s");
    let builder = hasty().lock_scope(LockScope::Lifetime);
    let mut server = cleaned(&builder, &path);
    fs::remove_file(beside(&path, ".owner")).expect("unlink");
    let claim = builder.claim(&path).expect("nobody is seen to be here");
    refused(&dir, &mut server, ErrorKind::InUse, EADDRINUSE);
    drop(claim);
    drop(healed(&mut server));
    assert_error(&builder.create(&path).expect_err("a live server"), ErrorKind::InUse, EADDRINUSE);
}

#[test]
fn beside_a_racing_starter_one_gets_the_path_and_the_other_says_in_use() {
    race(500, |server| server, |server| server.heal().map(|queue| queue.is_some()));
}

#[test]
fn so_it_is_where_the_listener_is_elsewhere() {
    type Parts = (UnixListener, Ownership, Option<UnixListener>);
    let part = |server: ServerSocket| -> Parts {
        let (listener, ownership) = server.into_parts().expect("parts");
        (listener, ownership, None)
    };
    race(500, part, |(old, ownership, new): &mut Parts| {
        *new = ownership.heal(old)?;
        Ok(new.is_some())
    });
}

/// Heals, of a server that was made into something, beside starts.
fn race<T>(rounds: u32, make: impl Fn(ServerSocket) -> T, heal: impl Fn(&mut T) -> Result<bool, Error>) {
    let dir = Dir::new();
    let path = dir.join("s");
    let builder = ServerSocket::builder().lock_timeout(PATIENCE);
    let (mut heals, mut starts) = (0, 0);
    for round in 0..rounds {
        let mut owner = make(builder.create(&path).expect("create"));
        fs::remove_file(&path).expect("unlink");
        let together = Barrier::new(2);
        let (healed, started) = thread::scope(|scope| {
            let starter = scope.spawn(|| {
                together.wait();
                builder.create(&path)
            });
            together.wait();
            (0..round % 8 * 2_000).for_each(|_| std::hint::spin_loop()); // neither comes always first
            let healed = heal(&mut owner);
            (healed, starter.join().expect("no panic"))
        });
        match (healed, &started) {
            (Ok(true), Err(error)) => {
                assert_error(error, ErrorKind::InUse, EADDRINUSE);
                heals += 1;
            }
            (Err(error), Ok(server)) => {
                assert_error(&error, ErrorKind::InUse, EADDRINUSE);
                assert_eq!(server.status(), Status::Ours);
                assert_serves(server, &path);
                starts += 1;
            }
            (healed, started) => panic!("round {round}: {healed:?} and {started:?}"),
        }
        drop((owner, started));
        assert_eq!(dir.names(), [""; 0], "round {round}");
    }
    assert!(heals > 0 && starts > 0, "{heals} heals, {starts} starts: they never met");
}

#[test]
fn an_owner_without_its_listener_heals_and_owns_the_new_socket() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (old, mut ownership) = hasty().mode(0o660).create(&path).expect("create").into_parts().expect("parts");
    old.set_nonblocking(true).expect("fcntl");
    assert!(ownership.heal(&old).expect("no error").is_none());
    let client = connect(&path).expect("connect");
    let mut before = ownership.watch().expect("watch");
    fs::remove_file(&path).expect("unlink");
    assert_eq!(before.wait_timeout(PATIENCE).expect("a wait"), Some(Status::Gone));
    let new = ownership.heal(&old).expect("a heal").expect("a listener");
    assert_eq!((ownership.status(), mode(&path)), (Status::Ours, 0o660));
    assert_serves(&new, &path);
    assert_eq!(new.accept().expect_err("nobody").kind(), std::io::ErrorKind::WouldBlock);
    assert_connected(client, old.accept().expect("queued").0);
    assert!(old.accept().is_err());
    // To a watch of the old socket the new one is another; one that is made now is of the new one.
    assert_eq!(before.wait_timeout(PATIENCE).expect("a wait"), Some(Status::Replaced));
    let mut after = ownership.watch().expect("watch");
    assert_eq!(after.check().expect("a check"), None);
    fs::remove_file(&path).expect("unlink");
    assert_eq!(after.wait_timeout(PATIENCE).expect("a wait"), Some(Status::Gone));
    let newer = ownership.heal(&new).expect("a heal").expect("a listener");
    ownership.unpublish().expect("unpublish");
    assert_eq!(dir.names(), [""; 0]);
    assert_error(&ownership.heal(&newer).expect_err("given up"), ErrorKind::Invalid, EINVAL);
}

#[test]
fn a_watch_tells_and_a_heal_cures_as_long_as_the_cleaner_comes() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = ServerSocket::create(&path).expect("create");
    thread::scope(|scope| {
        let path = &path;
        let cleaner = scope.spawn(move || {
            for _ in 0..30 {
                support::wait::until("the socket is there", || exists(path));
                let _ = fs::remove_file(path);
            }
        });
        let mut heals = 0;
        while !cleaner.is_finished() {
            match server.watch().and_then(|mut watch| watch.wait_timeout(Duration::from_millis(50))) {
                Ok(None) => continue,
                Ok(Some(status)) => assert_eq!(status, Status::Gone),
                // It was deleted before it could be watched.
                Err(error) => assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::System, ENOENT)),
            }
            match server.heal() {
                Ok(queue) => heals += usize::from(queue.is_some()),
                // The cleaner came between bind() and the first look at what was bound.
                Err(error) => assert_error(&error, ErrorKind::Moved, ESTALE),
            }
        }
        cleaner.join().expect("no panic");
        assert!(heals > 0);
    });
    drop(server.heal());
    assert_serves(&server, &path);
}

#[test]
fn a_path_of_any_length_is_healed() {
    let dir = Dir::new();
    for (parent, name) in [("d".repeat(90), "s".to_owned()), ("e".to_owned(), "s".repeat(252))] {
        fs::create_dir(dir.join(&parent)).expect("mkdir");
        let path = dir.join(&parent).join(name);
        let mut server = cleaned(&hasty(), &path);
        drop(healed(&mut server));
        assert_serves(&server, &path);
        // Over the temporary name that a killed starter has left, and over nothing at the path.
        fs::remove_file(&path).expect("unlink");
        put_file(&path, b"precious", 0o600);
        assert_error(&server.heal().expect_err("a file"), ErrorKind::NotASocket, ENOTSOCK);
        fs::remove_file(&path).expect("unlink");
        drop(healed(&mut server));
        server.close().expect("close");
        assert_eq!(support::dir::names(&dir.join(parent)), [""; 0]);
    }
}

#[test]
fn a_directory_that_may_not_be_written_or_is_gone_is_told_and_harms_nobody() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let d = dir.join("d");
        fs::create_dir(&d).expect("mkdir");
        let mut server = cleaned(&hasty(), &d.join("s"));
        chmod(&d, 0o555);
        refused(&dir, &mut server, ErrorKind::System, EACCES);
        chmod(&d, 0);
        assert_error(&server.heal().expect_err("no search"), ErrorKind::System, EACCES);
        chmod(&d, 0o755);
        drop(healed(&mut server));
        assert_serves(&server, &d.join("s"));
        fs::remove_dir_all(&d).expect("rm -r");
        refused(&dir, &mut server, ErrorKind::System, ENOENT);
    });
}

#[test]
fn starved_of_descriptors_it_fails_cleanly_until_there_are_enough() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let mut server = cleaned(&hasty(), &path);
        let before = descriptors();
        let mut free = 0;
        loop {
            let healed = with_descriptors(free, || server.heal());
            match healed {
                Ok(queue) => break assert_eq!(queue.expect("something to heal").count(), 0),
                Err(error) => assert_error(&error, ErrorKind::System, EMFILE),
            }
            assert_eq!((descriptors(), dir.names()), (before.clone(), vec![]));
            free += 1;
            assert!(free < 10);
        }
        assert!(free > 0);
        assert_serves(&server, &path);
    });
}

#[test]
fn a_forked_child_heals_nothing() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let mut server = cleaned(&hasty(), &path);
        let status = in_a_forked_child(|| {
            let error = server.heal().expect_err("a child");
            assert_error(&error, ErrorKind::Forked, EPERM);
            dir.names().is_empty()
        });
        assert_eq!(status, 0);
        drop(healed(&mut server));
        assert_serves(&server, &path);
    });
}

#[test]
fn a_queue_that_is_dropped_resets_who_is_left_and_lets_nobody_in() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = ServerSocket::create(&path).expect("create");
    let mut client = connect(&path).expect("connect");
    fs::rename(&path, dir.join("away")).expect("rename");
    let queue = healed(&mut server);
    // Who finds the old one by its other name is refused.
    let error = UnixStream::connect(dir.join("away")).expect_err("it is shut");
    assert_eq!(error.raw_os_error(), Some(ECONNREFUSED));
    drop(queue);
    assert_eq!(client.read(&mut [0]).expect_err("reset").kind(), std::io::ErrorKind::ConnectionReset);
    assert_serves(&server, &path);
    fs::remove_file(dir.join("away")).expect("unlink");
}
