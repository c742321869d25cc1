//! Whatever a killed successor has left: the next take-over succeeds, and nothing is removed that is not known to be a
//! leftover. Kills at every single step are in `steps`.

pub mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use libc::EADDRINUSE;
use support::assert_error;
use support::child::{self, Program};
use support::dir::{Dir, exists, file, inode};
use support::sockets::{assert_serves, put_dead};
use support::succession::{GRACE, NEVER_REPLACED, ask, heir, put_foreign, replaceable, serve, successor, temporary};
use support::wait::until;
use unix_stream_server::{ErrorKind, LockScope, ServerSocket, Status, connect};

/// A successor in a process of its own, which has the path, and serves nobody.
fn other_process(test: &str, dir: &Dir) -> child::Running {
    let mut other = Program::new(test, "successor").dir(dir).start();
    other.hear("published");
    other
}

fn play_successor() {
    let builder = if child::value("SCOPE") == "lifetime" { heir() } else { successor() };
    let server = builder.create(child::dir().join("s")).expect("take over");
    child::say("published");
    child::listen();
    drop(server);
}

#[test]
fn a_successor_that_is_killed_right_after_costs_its_own_clients_and_no_others() {
    if child::role().is_some() {
        let _server = successor().create(child::dir().join("s")).expect("take over");
        child::say("published");
        child::listen();
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let old = serve(replaceable().create(&path).expect("create"), "old", GRACE);
    let client = connect(&path).expect("connect");
    let mut killed = other_process(&this_test!(), &dir);
    killed.kill();
    assert_eq!(dir.names(), ["s"]);
    // It was not known that it would die: the old one ends, and its clients are served.
    assert_eq!(support::succession::hear(client), "old");
    assert!(old.result() >= 1);
    let third = successor().create(&path).expect("over a dead socket");
    assert_serves(&third, &path);
    third.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn an_old_server_that_is_killed_while_its_successor_waits_gives_way_at_once() {
    if child::role().is_some() {
        let _server = heir().create(child::dir().join("s")).expect("create");
        child::say("published");
        child::listen();
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let mut old = other_process(&this_test!(), &dir);
    let mut new = heir().create(&path).expect("take over");
    let waiting = support::wait::Worker::start(move || new.wait_for_predecessor(support::PATIENCE * 10).map(|()| new));
    waiting.until_in(libc::SYS_clock_nanosleep);
    old.kill();
    let new = waiting.result().expect("its flock died with it");
    assert_eq!(support::dir::mode(&path), 0o1600);
    assert_eq!(dir.names(), ["s", "s.owner"]);
    assert_serves(&new, &path);
    new.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_successor_that_is_killed_while_it_waits_for_the_life_lock_is_replaced_when_the_old_one_has_drained() {
    if child::role().is_some() {
        return play_successor();
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let old = heir().create(&path).expect("create");
    let mut killed = Program::new(&this_test!(), "successor").dir(&dir).value("SCOPE", "lifetime").start();
    killed.hear("published");
    assert_eq!(old.status(), Status::Replaced);
    killed.kill();
    // The old one may drain for long yet, and what it has must not be touched: the third waits for it.
    let error = heir().lock_timeout(std::time::Duration::from_millis(20)).create(&path).expect_err("it drains");
    assert_error(&error, ErrorKind::InUse, EADDRINUSE);
    assert!(error.to_string().contains("s.owner"), "{error}");
    let third = {
        let path = path.clone();
        support::wait::Worker::start(move || heir().lock_timeout(support::PATIENCE * 10).create(path))
    };
    third.until_in(libc::SYS_clock_nanosleep);
    assert_eq!(old.until_replaced().grace(std::time::Duration::ZERO).count(), 0);
    let third = third.result().expect("create");
    assert_eq!((third.status(), support::dir::mode(&path)), (Status::Ours, 0o1600));
    third.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

/// What a successor leaves that was killed before it had the path, and after it, at the temporary name.
#[test]
fn a_dead_socket_at_the_temporary_name_is_cleared_by_the_next_take_over() {
    let dir = Dir::new();
    let path = dir.join("s");
    put_dead(&temporary(&path));
    let old = replaceable().create(&path).expect("create");
    assert!(exists(&temporary(&path)), "a start that needs no second name makes no call for it");
    let new = successor().create(&path).expect("take over");
    assert_eq!(dir.names(), ["s"]);
    assert_eq!((old.status(), new.status()), (Status::Replaced, Status::Ours));
    assert_serves(&new, &path);
}

#[test]
fn a_replaced_server_that_still_lives_at_the_temporary_name_is_cleared_and_serves_on() {
    let dir = Dir::new();
    let path = dir.join("s");
    // Killed between the exchange of the names and the unlink: the old server has the temporary name, and a dead
    // socket the path.
    let old = replaceable().create(&path).expect("create");
    let client = connect(&path).expect("connect");
    fs::rename(&path, temporary(&path)).expect("rename");
    put_dead(&path);
    let next = successor().create(&path).expect("over a dead socket");
    let last = successor().create(&path).expect("take over");
    assert_eq!((next.status(), last.status()), (Status::Replaced, Status::Ours));
    assert_eq!(dir.names(), ["s"]);
    // It was not asked to end by that, nor harmed.
    let served = support::succession::next_that_stays(&old);
    support::sockets::assert_connected(client, served);
    drop((old, next));
    assert_eq!(last.close().expect("close"), Status::Ours);
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn what_is_not_a_leftover_at_the_temporary_name_is_never_removed() {
    for scope in [LockScope::Startup, LockScope::Lifetime] {
        for (what, kind, errno) in NEVER_REPLACED {
            let dir = Dir::new();
            let path = dir.join("s");
            let server = replaceable().lock_scope(scope).create(&path).expect("create");
            let kept = put_foreign(what, &temporary(&path));
            let before = dir.files();
            let error = successor().lock_scope(scope).create(&path).expect_err(what);
            assert_error(&error, kind, errno);
            assert_eq!(dir.files(), before, "{what}");
            assert_eq!(server.status(), Status::Ours);
            assert_serves(&server, &path);
            // A start that needs no second name is not disturbed.
            server.close().expect("close");
            successor().lock_scope(scope).create(&path).expect("a free path").close().expect("close");
            drop(kept);
        }
    }
}

#[test]
fn a_paused_successor_that_holds_the_lock_is_waited_for_and_then_told() {
    if child::role().is_some() {
        let claim = ServerSocket::builder().claim(child::dir().join("other")).expect("claim");
        // The lock of the path, as a successor has it in the middle of its work.
        fs::rename(child::dir().join("other.lock"), child::dir().join("s.lock")).expect("rename");
        child::say("published");
        child::listen();
        drop(claim);
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let server = replaceable().create(&path).expect("create");
    let holder = other_process(&this_test!(), &dir);
    holder.pause();
    let before = dir.files();
    let error = successor().lock_timeout(std::time::Duration::from_millis(20)).create(&path).expect_err("locked");
    assert_error(&error, ErrorKind::Locked, libc::EEXIST);
    assert_eq!(dir.files(), before);
    // Its clients are none the worse for it.
    assert_serves(&server, &path);
    holder.go_on();
    drop(holder); // killed, and its flock gone with it
    let new = successor().create(&path).expect("take over");
    assert_eq!((server.status(), new.status()), (Status::Replaced, Status::Ours));
    drop((server, new));
    until("all is gone", || dir.names().is_empty());
}

#[test]
fn the_temporary_name_is_the_same_for_every_version() {
    let dir = Dir::new();
    let path = dir.join("s");
    let old = replaceable().create(&path).expect("create");
    let before = inode(&path);
    let new = successor().create(&path).expect("take over");
    let listener = UnixListener::from(std::os::fd::AsFd::as_fd(&new).try_clone_to_owned().expect("dup"));
    // What `ss`, `lsof` and tmp cleaners see of it.
    assert_eq!(listener.local_addr().expect("a name").as_pathname(), Some(temporary(&path).as_path()));
    assert_eq!(temporary(Path::new("/run/foobar")), Path::new("/run/.343e1662793c64bf6f0d3597ba446f18.new"));
    assert_ne!(file(&path).inode, before);
    drop((old, new));
    let server = serve(replaceable().create(&path).expect("create"), "hello", std::time::Duration::ZERO);
    assert_eq!(ask(&path), "hello");
    drop(successor().create(&path).expect("take over"));
    assert!(server.result() >= 1);
}
