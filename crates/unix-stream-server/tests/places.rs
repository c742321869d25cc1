//! Directories in which nothing can be made: full, or read-only. A clear error, and nothing is lost.

pub mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libc::{ENOSPC, EROFS};
use support::child::{self, Program};
use support::dir::{Dir, names};
use support::sockets::{assert_serves, put_dead, stranger};
use support::{assert_error, is_root, not_tried};
use unix_stream_server::{Builder, ErrorKind, PathState, ServerSocket, probe};

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
