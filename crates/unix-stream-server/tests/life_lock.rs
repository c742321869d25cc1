//! The life lock, held as long as a server prepares, lives and drains: kept out by it, and recovered from the dead.

pub mod support;

use std::fs;
use std::time::Duration;

use libc::{EADDRINUSE, EEXIST};
use support::child::{self, Program};
use support::dir::{Dir, exists, file, inode, lock_as_git, mode, put_file};
use support::sockets::{assert_serves, put_dead, stranger};
use support::wait::{Worker, within};
use support::{PATIENCE, assert_error};
use unix_stream_server::{Builder, ErrorKind, LockScope, PathState, ServerSocket, connect};

const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// One that does not wait.
fn lifetime() -> Builder {
    ServerSocket::builder().lock_timeout(Duration::ZERO).lock_scope(LockScope::Lifetime)
}

/// Where other kernels serve too, or a busy server refuses, it is the only proof that the server is dead.
#[test]
fn a_claim_given_up_over_a_dead_servers_socket_leaves_that_servers_life_lock() {
    let dir = Dir::new();
    let path = dir.join("s");
    put_dead(&path);
    put_file(&dir.join("s.owner"), b"", 0o1400);
    let before = dir.files();
    let claim = lifetime().claim(&path).expect("claim");
    assert_eq!(claim.state(), PathState::Dead);
    drop(claim);
    assert_eq!(dir.files(), before);
    // Nobody holds it, but perhaps for a moment a child that another test forks, which has the flock too until its exec.
    lifetime().lock_timeout(PATIENCE).create(&path).expect("in the place of the dead one").close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

/// It is the life lock that is in the way, and so it is the life lock that has to go.
#[test]
fn what_is_in_the_way_of_a_life_lock_is_named() {
    let dir = Dir::new();
    put_file(&dir.join("s.owner"), b"precious", 0o644);
    let before = dir.files();
    let error = lifetime().create(dir.join("s")).expect_err("not ours");
    assert_error(&error, ErrorKind::Locked, EEXIST);
    assert!(error.to_string().contains("s.owner (a regular file)"), "{error}");
    assert!(!error.to_string().contains("s.lock"), "{error}");
    assert_eq!(dir.files(), before);
}

/// A drop waits for no longer than a drop may, whatever the timeout of the start.
#[test]
fn a_claim_with_a_life_lock_is_dropped_and_fails_in_time_also_beside_another_programs_lock() {
    let dir = Dir::new();
    let path = dir.join("s");
    let claim = lifetime().lock_timeout(NEVER).claim(&path).expect("claim");
    put_file(&dir.join("s.lock"), b"", 0o644);
    within(PATIENCE, move || drop(claim));
    // The flock is gone, and with it the claim; the file is the next start's.
    assert_eq!(dir.names(), ["s.lock", "s.owner"]);
    fs::remove_file(dir.join("s.lock")).expect("unlink");
    // Not at once: a child that another test forks just then has the flock too, until its exec.
    lifetime().lock_timeout(PATIENCE).create(&path).expect("free").close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

/// Nor does one that fails at once, because somebody who ignores the lock serves at the path by then.
#[test]
fn a_claim_with_a_life_lock_that_comes_too_late_ends_in_time_also_beside_another_programs_lock() {
    let dir = Dir::new();
    let path = dir.join("s");
    let claim = lifetime().lock_timeout(NEVER).claim(&path).expect("claim");
    put_file(&dir.join("s.lock"), b"", 0o644);
    let listener = stranger(&path);
    let error = within(PATIENCE, move || claim.listen()).expect_err("somebody serves there");
    assert_error(&error, ErrorKind::InUse, EADDRINUSE);
    // As above: the flock is gone, the files are not ours to remove without the lock.
    assert_eq!(dir.names(), ["s", "s.lock", "s.owner"]);
    drop(listener);
}

#[test]
fn a_life_lock_is_there_as_long_as_its_server() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = lifetime().create(&path).expect("create");
    assert_eq!(dir.names(), ["s", "s.owner"]);
    assert_eq!(mode(&dir.join("s.owner")), 0o1400);
    assert_error(&lifetime().create(&path).expect_err("lives"), ErrorKind::InUse, EADDRINUSE);
    server.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);

    drop(lifetime().create(&path).expect("create"));
    assert_eq!(dir.names(), [""; 0]);

    let (listener, ownership) = lifetime().create(&path).expect("create").into_parts().expect("parts");
    assert_eq!(dir.names(), ["s", "s.owner"]);
    let lock = rustix::fs::fstat(ownership.life_lock().expect("it has one")).expect("fstat");
    assert_eq!(lock.st_ino, inode(&dir.join("s.owner")));
    drop(listener);
    ownership.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);

    let (_, ownership) = ServerSocket::create(&path).expect("create").into_parts().expect("parts");
    assert!(ownership.life_lock().is_none());
}

#[test]
fn with_a_life_lock_a_second_starter_is_kept_out_while_the_first_prepares() {
    let dir = Dir::new();
    let path = dir.join("s");
    put_dead(&path);
    let before = file(&path);
    let claim = lifetime().claim(&path).expect("claim");
    assert_eq!(dir.names(), ["s", "s.owner"]);
    for _ in 0..2 {
        let error = lifetime().claim(&path).expect_err("preparing");
        assert_error(&error, ErrorKind::InUse, EADDRINUSE);
        assert!(error.to_string().contains(&format!("process {} ", std::process::id())), "{error}");
        assert_error(&lifetime().create(&path).expect_err("preparing"), ErrorKind::InUse, EADDRINUSE);
    }
    assert_eq!(file(&path), before);
    drop(lock_as_git(&path).expect("git is not disturbed"));
    fs::remove_file(dir.join("s.lock")).expect("unlink");
    let server = claim.listen().expect("listen");
    assert_serves(&server, &path);
    server.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn with_a_life_lock_a_second_starter_is_kept_out_while_the_first_drains() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = lifetime().create(&path).expect("create");
    let _client = connect(&path).expect("connect");
    let mut drain = server.drain().expect("drain");
    assert_eq!(dir.names(), ["s.owner"]);
    assert_error(&lifetime().create(&path).expect_err("draining"), ErrorKind::InUse, EADDRINUSE);
    assert!(drain.next().is_some_and(|client| client.is_ok()));
    assert_error(&lifetime().create(&path).expect_err("draining"), ErrorKind::InUse, EADDRINUSE);
    let at = path.clone();
    let waiting = Worker::start(move || lifetime().lock_timeout(NEVER).create(at));
    waiting.until_in(libc::SYS_clock_nanosleep);
    drop(drain);
    let server = waiting.result().expect("drained");
    assert_eq!(dir.names(), ["s", "s.owner"]);
    assert_serves(&server, &path);
}

#[test]
fn a_killed_life_lock_owner_is_recovered_at_once() {
    let test = this_test!();
    match child::role().as_deref() {
        Some("server") => {
            let _server = lifetime().create(child::dir().join("s")).expect("create");
            child::say("ready");
            child::listen();
            return;
        }
        Some(_) => {
            let _claim = lifetime().claim(child::dir().join("s")).expect("claim");
            child::say("ready");
            child::listen();
            return;
        }
        None => {}
    }
    for role in ["server", "claim"] {
        let dir = Dir::new();
        let path = dir.join("s");
        let mut owner = Program::new(&test, role).dir(&dir).start();
        owner.hear("ready");
        let error = lifetime().create(&path).expect_err("it lives");
        assert_error(&error, ErrorKind::InUse, EADDRINUSE);
        assert!(error.to_string().contains(&format!("process {} ", owner.pid())), "{error}");
        owner.kill();
        assert!(exists(&dir.join("s.owner")));
        let server = lifetime().create(&path).expect("recovered");
        assert_serves(&server, &path);
        server.close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
    }
}
