//! Odd places: directories in which nothing can be made, full or read-only; a container whose root is read-only; an overlay;
//! other pid namespaces. A clear error where nothing can be done, and everything as ever where it can.

pub mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libc::{ENOSPC, EROFS};
use support::child::{self, Program};
use support::dir::{Dir, exists, names};
use support::sockets::{assert_serves, next_client, put_dead, stranger};
use support::{assert_error, is_root, not_tried};
use unix_stream_server::{
    Builder, CleanOptions, ErrorKind, LockScope, PathState, ServerSocket, Status, connect, inspect, peer_credentials,
    probe, runtime_dir,
};

fn hasty() -> Builder {
    ServerSocket::builder().lock_timeout(Duration::from_millis(20))
}

/// Runs this test once more, with another file system mounted on the directory.
fn on_a_file_system_of_its_own(test: &str, options: &str) {
    let dir = Dir::new();
    let namespace = if is_root() { "-m" } else { "-rm" };
    let mounted = |script: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o {options} none \"$UNIX_STREAM_SERVER_TEST_DIR\" && {script}");
        command.args([namespace, "sh", "-c", &script, "sh"]);
        command
    };
    let works = mounted("exit 0").env("UNIX_STREAM_SERVER_TEST_DIR", dir.path()).output();
    if works.is_ok_and(|output| output.status.success()) {
        let mut command = mounted("exec \"$@\"");
        command.arg(std::env::current_exe().expect("this program"));
        Program::with(command, test, "there").dir(&dir).run();
    } else {
        not_tried("a file system of its own: unshare and mount do not work here");
    }
}

fn remount(dir: &Path, options: &str) {
    let mut mount = Command::new("mount");
    let status = mount.args(["-o", &format!("remount,bind,{options}")]).arg(dir).status().expect("mount");
    assert!(status.success());
}

#[test]
fn in_a_full_directory_nothing_is_made_and_nothing_is_lost() {
    let test = this_test!();
    if child::role().is_none() {
        // Its root, and so many files.
        return on_a_file_system_of_its_own(&test, "nr_inodes=4");
    }
    let dir = child::dir();
    let (live, dead, free) = (dir.join("live"), dir.join("dead"), dir.join("free"));
    let server = stranger(&live);
    put_dead(&dead);
    // There is room for the lock, and for nothing under it.
    let error = hasty().create(&free).expect_err("full");
    assert_error(&error, ErrorKind::System, ENOSPC);
    assert!(error.to_string().contains("bind: no space left"), "{error}");
    assert_eq!(names(&dir), ["dead", "live"]);
    // What is dead makes room for who comes after it.
    let next = hasty().create(&dead).expect("in the place of the dead one");
    assert_serves(&next, &dead);
    // No room for a lock either: a live server is still known for one, and nobody is harmed.
    std::fs::write(dir.join("filler"), "").expect("the last file");
    assert_error(&hasty().create(&free).expect_err("full"), ErrorKind::System, ENOSPC);
    let error = hasty().create(&live).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert_serves(&server, &live);
    assert_error(&next.close().expect_err("no lock to be had"), ErrorKind::System, ENOSPC);
    assert_eq!(probe(&dead).expect("a path"), PathState::Dead);
    assert_eq!(names(&dir), ["dead", "filler", "live"]);
    std::fs::remove_file(dir.join("filler")).expect("unlink");
    hasty().create(&dead).expect("there is room again").close().expect("close");
}

#[test]
fn in_a_read_only_directory_nothing_is_made_and_nothing_is_lost() {
    let test = this_test!();
    if child::role().is_none() {
        return on_a_file_system_of_its_own(&test, "size=64k");
    }
    let dir = child::dir();
    let (live, dead) = (dir.join("live"), dir.join("dead"));
    let server = hasty().create(&live).expect("create");
    put_dead(&dead);
    remount(&dir, "ro");
    for path in [&dead, &dir.join("free")] {
        assert_error(&hasty().create(path).expect_err("read-only"), ErrorKind::System, EROFS);
        assert_error(&hasty().take_over(true).create(path).expect_err("read-only"), ErrorKind::System, EROFS);
    }
    let error = hasty().create(&live).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert_serves(&server, &live);
    assert_error(&server.close().expect_err("read-only"), ErrorKind::System, EROFS);
    assert_eq!(names(&dir), ["dead", "live"]);
    remount(&dir, "rw");
    hasty().create(&live).expect("writable again").close().expect("close");
}

/// A whole life of servers at a place, which leaves nothing.
fn everything_works_in(dir: &Path) {
    let path = dir.join("s");
    put_dead(&path);
    let mut server = hasty().replaceable(true).create(&path).expect("in the place of the dead one");
    assert_serves(&server, &path);
    let error = hasty().create(&path).expect_err("in use");
    assert_eq!((error.kind(), error.peer().and_then(|peer| peer.pid)), (ErrorKind::InUse, Some(std::process::id())));
    assert!(matches!(inspect(&path).expect("a path").state, PathState::Live { .. }));
    let mut watch = server.watch().expect("watch");
    std::fs::remove_file(&path).expect("a cleaner");
    assert_eq!(watch.wait_timeout(support::PATIENCE).expect("watch"), Some(Status::Gone));
    drop(server.heal().expect("heal"));
    assert_serves(&server, &path);
    let next = hasty().take_over(true).create(&path).expect("take over");
    drop(next_client(&server)); // who has knocked
    assert_eq!((server.status(), next.status()), (Status::Replaced, Status::Ours));
    let queued = connect(&path).expect("connect");
    assert_eq!(next.drain().expect("drain").filter(Result::is_ok).count(), 1);
    drop((queued, server));
    let claim = hasty().lock_scope(LockScope::Lifetime).claim(&path).expect("claim");
    claim.listen().expect("listen").close().expect("close");
    assert_eq!(names(dir), [""; 0]);
}

/// As containers are made that are not to change themselves.
#[test]
fn where_the_root_is_read_only_a_tmpfs_for_the_sockets_is_enough() {
    if child::role().is_some() {
        let dir = child::dir();
        let flags = rustix::fs::statvfs("/").expect("statvfs").f_flag;
        assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        let own = runtime_dir("program").expect("a directory of one's own");
        assert_eq!(own, dir.join("run/program"));
        everything_works_in(&own);
        CleanOptions::new().run(&own, |_| {}).expect("clean");
        let error = hasty().create("/unix-stream-server-test").expect_err("read-only, and not ours");
        assert!([EROFS, libc::EACCES].contains(&error.raw_os_error()), "{error}");
        return;
    }
    let dir = Dir::new();
    let mounted = |rest: &str| {
        let mut command = Command::new("unshare");
        let script = format!(
            "mount -t tmpfs -o mode=755 none \"$UNIX_STREAM_SERVER_TEST_DIR\" && \
             mkdir -m 700 \"$UNIX_STREAM_SERVER_TEST_DIR/run\" && mount -o remount,bind,ro / && {rest}"
        );
        command.args([if is_root() { "-m" } else { "-rm" }, "sh", "-c", &script, "sh"]);
        command
    };
    let works = mounted("exit 0").env("UNIX_STREAM_SERVER_TEST_DIR", dir.path()).output();
    if works.is_ok_and(|output| output.status.success()) {
        let mut command = mounted("exec \"$@\"");
        command.arg(std::env::current_exe().expect("this program"));
        Program::with(command, &this_test!(), "inside").dir(&dir).env("XDG_RUNTIME_DIR", dir.join("run")).run();
    } else {
        not_tried("a read-only root: unshare and mount do not work here");
    }
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn on_an_overlay_everything_works_that_goes_through_one_view() {
    if child::role().is_some() {
        return everything_works_in(&child::dir());
    }
    let dir = Dir::new();
    let overlay = "mount -t tmpfs none \"$0\" && mkdir -m 777 \"$0/l\" \"$0/u\" \"$0/w\" \"$0/m\" && mount -t overlay \
        none -o lowerdir=\"$0/l\",upperdir=\"$0/u\",workdir=\"$0/w\" \"$0/m\"";
    let mounted = |rest: &str| {
        let mut command = Command::new("unshare");
        command.args([if is_root() { "-m" } else { "-rm" }, "sh", "-c", &format!("{overlay} && {rest}")]);
        command.arg(dir.path());
        command
    };
    if mounted("exit 0").output().is_ok_and(|output| output.status.success()) {
        let mut command = mounted("exec \"$@\"");
        command.arg(std::env::current_exe().expect("this program"));
        Program::with(command, &this_test!(), "overlayfs").dir(dir.join("m")).run();
    } else {
        not_tried("overlayfs: unshare and mount do not work here");
    }
}

/// A server here and a starter in a container, and the other way round.
#[test]
fn across_pid_namespaces_a_live_server_is_in_use_and_a_killed_one_is_dead() {
    let test = this_test!();
    if child::role().is_some() {
        let dir = child::dir();
        assert_eq!(std::process::id(), 1);
        let error = hasty().create(dir.join("outer")).expect_err("in use");
        let peer = error.peer().expect("its user is known");
        assert_eq!((error.kind(), peer.pid), (ErrorKind::InUse, None), "{error}");
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        // The holder of a lock has no number here either.
        let error = hasty().create(dir.join("claimed outside")).expect_err("locked");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(error.to_string().contains("another process held its lock"), "{error}");
        let server = ServerSocket::create(dir.join("inner")).expect("create");
        let claim = hasty().lock_scope(LockScope::Lifetime).claim(dir.join("claimed inside")).expect("claim");
        child::say("ready");
        assert_serves(&server, &dir.join("inner"));
        child::listen();
        drop(claim); // not reached: it is killed
        return;
    }
    let dir = Dir::new();
    let outer = ServerSocket::create(dir.join("outer")).expect("create");
    let claim = hasty().claim(dir.join("claimed outside")).expect("claim");
    let container = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        if !is_root() {
            command.arg("-r");
        }
        command
    };
    if !container().arg("true").output().is_ok_and(|output| output.status.success()) {
        return not_tried("pid namespaces: unshare does not work here");
    }
    let mut command = container();
    command.arg(std::env::current_exe().expect("this program"));
    let mut inner = Program::with(command, &test, "inside").dir(&dir).start();
    inner.hear("ready");
    let error = hasty().create(dir.join("inner")).expect_err("in use");
    let pid = error.peer().and_then(|peer| peer.pid).expect("it has a number out here");
    assert!(error.kind() == ErrorKind::InUse && pid > 1, "{error}");
    let client = connect(dir.join("inner")).expect("connect");
    assert_eq!(peer_credentials(&client).expect("a socket").and_then(|peer| peer.pid), Some(pid));
    let error = hasty().lock_scope(LockScope::Lifetime).create(dir.join("claimed inside")).expect_err("claimed");
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    // It dies, and its flocks with it.
    inner.kill();
    support::wait::until("its socket is dead", || probe(dir.join("inner")).is_ok_and(|state| state == PathState::Dead));
    ServerSocket::create(dir.join("inner")).expect("in its place").close().expect("close");
    let heir = ServerSocket::builder().lock_scope(LockScope::Lifetime).create(dir.join("claimed inside"));
    heir.expect("its life lock is free").close().expect("close");
    assert_serves(&outer, &dir.join("outer"));
    drop(claim);
    assert!(!exists(&dir.join("claimed outside.lock")));
    outer.close().expect("close");
    assert_eq!(dir.names(), [""; 0]);
}
