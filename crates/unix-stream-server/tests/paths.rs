//! Any path: beyond the 107 bytes of a socket address, up to the limits of the file system, and every odd one refused
//! before anything is changed; and any mode, owner and group.

pub mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libc::{EACCES, EADDRINUSE, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTSOCK, EPERM, ESTALE};
use rustix::fs::Mode;
use rustix::process::umask;
use support::child::{self, Program, ordinary_user, whole_process};
use support::dir::{Dir, beside, chmod, exists, file, mode, names, put_file};
use support::sockets::{assert_serves, put_dead, stranger};
use support::{PATIENCE, assert_error, is_root, not_tried};
use unix_stream_server::{
    Builder, Error, ErrorKind, PathState, ServerSocket, Status, connect, connect_timeout, inspect, probe,
};

fn hasty() -> Builder {
    ServerSocket::builder().lock_timeout(Duration::from_millis(20))
}

/// A directory below another whose path has just so many bytes.
fn deep(dir: &Path, bytes: usize) -> PathBuf {
    let mut path = dir.to_owned();
    loop {
        let missing = bytes - path.as_os_str().len();
        if missing == 0 {
            break;
        }
        // A slash and a name each; no single byte may be left, which could not be both.
        let step = if missing <= 200 { missing } else { 200.min(missing - 2) };
        path.push("d".repeat(step - 1));
    }
    fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{bytes} bytes: {error}"));
    assert_eq!(path.as_os_str().len(), bytes);
    path
}

/// A whole life at a path, which leaves nothing in its directory.
#[track_caller]
fn assert_lives(path: &Path) {
    let parent = path.parent().expect("a directory");
    let bytes = path.as_os_str().len();
    assert_eq!(probe(path).expect("a path"), PathState::Absent, "{bytes} bytes");
    for after_death in [false, true] {
        let server = hasty().create(path).unwrap_or_else(|error| panic!("{bytes} bytes: {error}"));
        assert_eq!(names(parent), [path.file_name().expect("a name").to_string_lossy()], "{bytes} bytes");
        assert_eq!(mode(path), 0o600);
        assert_eq!((server.status(), server.local_path()), (Status::Ours, path));
        assert!(matches!(probe(path).expect("a path"), PathState::Live { peer: Some(_) }));
        assert_eq!(inspect(path).expect("a path").inode, Some(file(path).inode));
        assert_serves(&server, path);
        assert_error(&hasty().create(path).expect_err("lives"), ErrorKind::InUse, EADDRINUSE);
        assert_error(&hasty().claim(path).expect_err("lives"), ErrorKind::InUse, EADDRINUSE);
        let _client = connect(path).expect("connect");
        if after_death {
            let drain = server.drain().expect("drain");
            assert_eq!(drain.status().expect("the lock was had"), Status::Ours);
            assert_eq!(drain.filter(Result::is_ok).count() % 3, 0, "two probes of the creators, and the client");
        } else {
            // A dead socket, for the next turn: closed without the lock.
            let claim = lock_of(&server);
            put_file(&claim, b"", 0o644);
            assert_eq!(server.close().expect_err("locked").kind(), ErrorKind::Locked);
            fs::remove_file(&claim).expect("unlink");
            assert_eq!(probe(path).expect("a path"), PathState::Dead);
            assert_eq!(hasty().claim(path).expect("claim").state(), PathState::Dead);
        }
    }
    assert_eq!(names(parent), [""; 0], "{bytes} bytes");
}

/// The lock's name: `<name>.lock`, or made from a hash where that is longer than a name may be.
fn lock_of(server: &ServerSocket) -> PathBuf {
    let path = server.local_path();
    let name = path.file_name().expect("a name");
    if name.len() + ".lock".len() <= 255 { beside(path, ".lock") } else { path.with_file_name(hashed(name, ".lock")) }
}

/// A hidden name from the FNV-1a hash (128 bits) of a long one: a contract between all versions that meet at a path.
fn hashed(name: &OsStr, suffix: &str) -> String {
    let hash = name.as_bytes().iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, &byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!(".{hash:032x}{suffix}")
}

#[test]
fn paths_around_the_107_bytes_of_an_address_work() {
    for bytes in [106, 107, 108, 109, 200] {
        let dir = Dir::new();
        assert_lives(&deep(dir.path(), bytes - 2).join("s"));
    }
}

#[test]
fn names_up_to_255_bytes_work_in_short_and_long_directories() {
    for length in [80, 84, 85, 86, 90, 91, 92, 93, 94, 107, 108, 200, 249, 250, 251, 255] {
        for parent in [None, Some(107), Some(120), Some(1_000)] {
            let dir = Dir::new();
            let parent = parent.map_or_else(|| dir.path().to_owned(), |bytes| deep(dir.path(), bytes));
            assert_lives(&parent.join("n".repeat(length)));
        }
    }
}

#[test]
fn paths_up_to_4095_bytes_work() {
    for (bytes, name) in [(4_000, 1), (4_000, 255), (4_095, 1), (4_095, 100), (4_095, 255)] {
        let dir = Dir::new();
        let parent = deep(dir.path(), bytes - name - 1);
        let path = parent.join("n".repeat(name));
        let server = hasty().create(&path).unwrap_or_else(|error| panic!("{bytes} bytes, {name} in the name: {error}"));
        assert_eq!(server.status(), Status::Ours);
        assert_serves(&server, &path);
        assert_error(&hasty().create(&path).expect_err("lives"), ErrorKind::InUse, EADDRINUSE);
        assert!(matches!(probe(&path).expect("a path"), PathState::Live { .. }));
        assert_eq!(names(&parent), ["n".repeat(name)]);
        server.close().expect("close");
        assert_eq!(names(&parent), [""; 0]);
    }
}

/// All calls that take a path refuse this one.
#[track_caller]
fn assert_all_refuse(path: &Path, check: impl Fn(&Error)) {
    check(&ServerSocket::create(path).expect_err("create"));
    check(&ServerSocket::builder().claim(path).expect_err("claim"));
    check(&connect(path).expect_err("connect"));
    check(&connect_timeout(path, PATIENCE).expect_err("connect_timeout"));
    check(&probe(path).expect_err("probe"));
    check(&inspect(path).expect_err("inspect"));
}

#[test]
fn a_path_that_names_no_socket_is_invalid_and_nothing_is_changed() {
    let dir = Dir::new();
    fs::create_dir(dir.join("d")).expect("mkdir");
    let server = ServerSocket::create(dir.join("s")).expect("create");
    let before = dir.files();
    let base = dir.path().display();
    let mut paths = vec![String::new(), ".".to_owned(), "..".to_owned(), "/".to_owned()];
    paths.extend(["s/", "d/", "d/.", "d/..", "new/", "new//", "n\0ul", "s\0"].map(|end| format!("{base}/{end}")));
    for path in paths {
        assert_all_refuse(Path::new(&path), |error| {
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Invalid, EINVAL), "{path:?}: {error}");
        });
    }
    assert_eq!(dir.files(), before);
    assert_serves(&server, &dir.join("s"));
}

#[test]
fn no_server_can_be_where_a_take_over_at_another_path_would_replace_it() {
    let dir = Dir::new();
    let beside = dir.join(hashed(OsStr::new("s"), ".new"));
    assert_all_refuse(&beside, |error| {
        assert_error(error, ErrorKind::Invalid, EINVAL);
        assert!(error.to_string().contains("take-overs"), "{error}");
    });
    let builder = ServerSocket::builder().replaceable(true).take_over(true);
    assert_error(&builder.create(&beside).expect_err("it may be replaced"), ErrorKind::Invalid, EINVAL);
    assert_eq!(names(dir.path()), [""; 0]);
    // Of such names those alone are refused.
    let near = dir.join(hashed(OsStr::new("s"), ".news"));
    let server = builder.create(&near).expect("create");
    let first = builder.create(dir.join("s")).expect("create");
    let second = builder.create(dir.join("s")).expect("take over");
    assert_serves(&second, &dir.join("s"));
    assert_serves(&server, &near);
    assert_eq!(first.status(), Status::Replaced);
}

#[test]
fn a_path_that_is_too_long_is_told_with_its_length_and_the_limit() {
    let dir = Dir::new();
    let parent = deep(dir.path(), 3_900);
    let before = dir.files();
    assert_all_refuse(&dir.join("n".repeat(256)), |error| {
        assert_error(error, ErrorKind::PathTooLong, ENAMETOOLONG);
        assert!(error.to_string().contains("256 bytes, of at most 255; shorten it"), "{error}");
    });
    assert_all_refuse(&parent.join("n".repeat(195)), |error| {
        assert_error(error, ErrorKind::PathTooLong, ENAMETOOLONG);
        assert!(error.to_string().contains("4096 bytes, of at most 4095; shorten it"), "{error}");
    });
    assert_eq!(dir.files(), before);
}

#[test]
fn paths_that_differ_after_the_last_dot_have_locks_that_differ() {
    let dir = Dir::new();
    let first = hasty().claim(dir.join("a.0")).expect("claim");
    let second = hasty().claim(dir.join("a.1")).expect("another path");
    let third = hasty().claim(dir.join("a")).expect("another path");
    assert_eq!(dir.names(), ["a.0.lock", "a.1.lock", "a.lock"]);
    drop((first, second, third));
    let long = |end: &str| dir.join("n".repeat(253) + end);
    let first = hasty().claim(long(".0")).expect("claim");
    let _second = hasty().claim(long(".1")).expect("another path");
    assert_error(&hasty().claim(long(".0")).expect_err("held"), ErrorKind::Locked, libc::EEXIST);
    first.listen().expect("listen").close().expect("close");
}

#[test]
fn a_missing_or_wrong_directory_is_told_with_its_errno() {
    let dir = Dir::new();
    put_file(&dir.join("file"), b"precious", 0o644);
    let before = dir.files();
    for (path, errno) in [("no/s", ENOENT), ("no/such/s", ENOENT), ("file/s", ENOTDIR)] {
        let path = dir.join(path);
        assert_error(&ServerSocket::create(&path).expect_err("create"), ErrorKind::System, errno);
        assert_error(&ServerSocket::builder().claim(&path).expect_err("claim"), ErrorKind::System, errno);
        assert_error(&connect(&path).expect_err("connect"), ErrorKind::System, errno);
    }
    assert_eq!(dir.files(), before);
}

#[test]
fn a_directory_without_write_permission_is_told_with_its_errno() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        put_dead(&dir.join("dead"));
        let before = dir.files();
        chmod(dir.path(), 0o555);
        for path in ["s", "dead"] {
            assert_error(&ServerSocket::create(dir.join(path)).expect_err("create"), ErrorKind::System, EACCES);
        }
        chmod(dir.path(), 0o777);
        assert_eq!(dir.files(), before);
    });
}

#[test]
fn a_killed_starters_temporary_name_is_recovered_and_a_strangers_is_not() {
    let dir = Dir::new();
    let path = dir.join("n".repeat(255));
    let temporary = dir.join(hashed(path.file_name().expect("a name"), ".new"));
    put_dead(&temporary);
    let server = hasty().create(&path).expect("recovered");
    assert_eq!(dir.names(), ["n".repeat(255)]);
    assert_serves(&server, &path);
    server.close().expect("close");

    put_file(&temporary, b"precious", 0o600);
    let before = dir.files();
    assert_error(&hasty().create(&path).expect_err("not ours"), ErrorKind::NotASocket, ENOTSOCK);
    assert_eq!(dir.files(), before);
    fs::remove_file(&temporary).expect("unlink");

    let other = stranger(&temporary);
    let before = dir.files();
    assert_error(&hasty().create(&path).expect_err("not ours"), ErrorKind::InUse, EADDRINUSE);
    assert_eq!(dir.files(), before);
    let client = std::os::unix::net::UnixStream::connect(&temporary); // as the library's connect() does not
    assert!(client.is_ok() && other.accept().is_ok(), "{client:?}");
}

#[test]
fn at_a_long_name_what_is_not_ours_stays() {
    let dir = Dir::new();
    for length in [85, 250, 255] {
        let path = dir.join("n".repeat(length));
        put_file(&path, b"precious", 0o600);
        let before = dir.files();
        assert_error(&hasty().create(&path).expect_err("a file"), ErrorKind::NotASocket, ENOTSOCK);
        assert_eq!(dir.files(), before);
        fs::remove_file(&path).expect("unlink");
        fs::create_dir(&path).expect("mkdir");
        assert_error(&hasty().create(&path).expect_err("a directory"), ErrorKind::NotASocket, ENOTSOCK);
        std::os::unix::fs::symlink("nowhere", dir.join("l".repeat(length))).expect("symlink");
        let error = hasty().create(dir.join("l".repeat(length))).expect_err("a link");
        assert_error(&error, ErrorKind::NotASocket, ENOTSOCK);
        fs::remove_file(dir.join("l".repeat(length))).expect("unlink");
        fs::remove_dir(&path).expect("rmdir");
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn without_proc_nothing_is_taken_for_dead_and_a_long_path_is_refused_before_any_change() {
    let test = this_test!();
    if child::role().is_some() {
        assert!(!exists(Path::new("/proc/self")));
        let dir = child::dir();
        let before = support::dir::files(&dir);
        let error = hasty().create(dir.join("dead")).expect_err("cannot tell");
        assert_error(&error, ErrorKind::CannotTell, ENOENT);
        assert!(error.to_string().contains("mount /proc"), "{error}");
        assert_error(&hasty().create(dir.join("live")).expect_err("in use"), ErrorKind::InUse, EADDRINUSE);
        for name in ["dead", "live"] {
            assert_eq!(probe(dir.join(name)).expect("a path"), PathState::CannotTell { errno: ENOENT });
        }
        for length in [107, 255] {
            let error = hasty().create(dir.join("n".repeat(length))).expect_err("too long");
            assert_error(&error, ErrorKind::PathTooLong, ENAMETOOLONG);
            let bytes = dir.as_os_str().len() + 1 + length;
            assert!(error.to_string().contains(&format!("{bytes} bytes")), "{error}");
            assert!(error.to_string().contains("mount /proc or shorten the path"), "{error}");
        }
        assert_eq!(support::dir::files(&dir), before);
        let server = hasty().create(dir.join("s")).expect("a short and free path needs no /proc");
        assert_eq!(mode(&dir.join("s")), 0o600);
        assert_eq!(server.status(), Status::Ours);
        assert_serves(&server, &dir.join("s"));
        server.close().expect("close");
        assert_eq!(support::dir::files(&dir), before);
        return;
    }
    let dir = Dir::new();
    put_dead(&dir.join("dead"));
    let live = stranger(&dir.join("live"));
    let own_namespace = if is_root() { "-m" } else { "-rm" };
    let covered = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([own_namespace, "sh", "-c", &format!("mount -t tmpfs none /proc && {script}"), "sh"]);
        command
    };
    if covered("exit 0").output().is_ok_and(|output| output.status.success()) {
        let mut command = covered("exec \"$@\"");
        command.arg(std::env::current_exe().expect("this program"));
        Program::with(command, &test, "without /proc").dir(&dir).run();
    } else {
        not_tried("a process without /proc: unshare and mount do not work here");
        assert_eq!(probe(dir.join("dead")).expect("a path"), PathState::Dead);
    }
    assert_eq!(dir.names(), ["dead", "live"]);
    assert_serves(&live, &dir.join("live"));
}

#[test]
fn the_mode_is_the_one_asked_for_whatever_the_umask() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        for mask in [0o077, 0o022, 0o000, 0o777] {
            umask(Mode::from_raw_mode(mask));
            for name in ["s".to_owned(), "n".repeat(100), "n".repeat(255)] {
                let path = dir.join(name);
                for wanted in [0o600, 0o660, 0o666, 0o777, 0o000, 0o620] {
                    let server = hasty().mode(wanted).create(&path).expect("create");
                    assert_eq!(mode(&path), wanted, "umask {mask:o}");
                    server.close().expect("close");
                }
                let server = hasty().create(&path).expect("create");
                assert_eq!(mode(&path), 0o600, "umask {mask:o}");
                server.close().expect("close");
                let server = hasty().mode_from_umask().create(&path).expect("create");
                assert_eq!(mode(&path), 0o777 & !mask);
                server.close().expect("close");
            }
        }
        umask(Mode::from_raw_mode(0o022));
        assert_eq!(dir.names(), [""; 0]);
    });
}

#[test]
fn a_mode_with_more_than_permission_bits_is_invalid() {
    let dir = Dir::new();
    put_dead(&dir.join("s"));
    let before = dir.files();
    for mode in [0o1600, 0o1000, 0o4755, 0o7777, 0o10_0600, u32::MAX] {
        let error = hasty().mode(mode).create(dir.join("s")).expect_err("more than 777");
        assert_error(&error, ErrorKind::Invalid, EINVAL);
        assert_error(&hasty().mode(mode).claim(dir.join("s")).expect_err("claim"), ErrorKind::Invalid, EINVAL);
    }
    assert_eq!(dir.files(), before);
}

#[test]
fn an_owner_or_group_of_minus_1_is_invalid() {
    let dir = Dir::new();
    for builder in [hasty().owner(u32::MAX), hasty().group(u32::MAX)] {
        assert_error(&builder.create(dir.join("s")).expect_err("nobody"), ErrorKind::Invalid, EINVAL);
    }
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn no_path_makes_a_message_of_more_than_one_line() {
    let dir = Dir::new();
    let path = dir.join("a\nserver: ready\u{1b}[31m");
    put_file(&path, b"", 0o644);
    let error = hasty().create(&path).expect_err("no socket");
    assert_eq!(error.kind(), ErrorKind::NotASocket);
    let message = error.to_string();
    assert!(message.contains("a\\nserver: ready\\u{1b}[31m") && !message.chars().any(char::is_control), "{message}");
}

#[test]
fn owner_and_group_are_set_or_nothing_is_left() {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let dir = Dir::new();
    let path = dir.join("s");
    let server = hasty().group(gid).mode(0o660).create(&path).expect("a group that we are in");
    assert_eq!((path.metadata().expect("stat").gid(), mode(&path)), (gid, 0o660));
    server.close().expect("close");
    let server = hasty().owner(uid).create(&path).expect("ourselves");
    assert_eq!((path.metadata().expect("stat").uid(), mode(&path)), (uid, 0o600));
    server.close().expect("close");
    if is_root() {
        let server = hasty().owner(12_345).group(54_321).mode(0o640).create(&path).expect("create");
        assert_eq!((file(&path).owner, mode(&path)), ((12_345, 54_321), 0o640));
        assert_eq!(server.status(), Status::Ours);
        server.close().expect("close");
    }
    assert_eq!(dir.names(), [""; 0]);
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        for name in ["s".to_owned(), "n".repeat(255)] {
            for builder in [hasty().owner(0), hasty().group(0), hasty().owner(0).group(0)] {
                let error = builder.create(dir.join(&name)).expect_err("no privileges");
                assert_error(&error, ErrorKind::System, EPERM);
                assert_eq!(dir.names(), [""; 0]);
                put_dead(&dir.join("dead"));
                builder.create(dir.join("dead")).expect_err("no privileges");
                // At the worst, what was proven dead is gone.
                let _ = fs::remove_file(dir.join("dead"));
                assert_eq!(dir.names(), [""; 0]);
            }
        }
    });
}

/// Bound through the directory's descriptor it would serve where nobody looks.
#[test]
fn a_directory_that_another_takes_the_place_of_is_noticed_before_it_serves() {
    for name in ["s".to_owned(), "s".repeat(200)] {
        let dir = Dir::new();
        let parent = deep(dir.path(), 300);
        let claim = ServerSocket::builder().claim(parent.join(name)).expect("claim");
        let moved = dir.join("moved");
        fs::rename(&parent, &moved).expect("rename");
        fs::create_dir(&parent).expect("mkdir");
        assert_error(&claim.listen().expect_err("the path leads elsewhere"), ErrorKind::Moved, ESTALE);
        assert_eq!([names(&parent), names(&moved)], [[""; 0], [""; 0]]);
    }
}
