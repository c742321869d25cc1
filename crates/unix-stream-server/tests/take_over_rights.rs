//! Where rights, a file system or a missing /proc stand in the way of a take-over, it fails and changes nothing; where
//! only the exchange of names is missing, it succeeds.

pub mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use libc::{EACCES, ENOENT, EPERM};
use support::child::{self, Program, ordinary_user, whole_process};
use support::dir::{Dir, chmod, exists, file, mode, put_file};
use support::sockets::assert_serves;
use support::succession::{GRACE, Onlookers, ask, heir, replaceable, serve, successor, temporary};
use support::{assert_error, is_root, not_tried};
use unix_stream_server::{ErrorKind, PathState, Status, probe};

#[test]
fn another_users_server_in_a_sticky_directory_is_an_error_that_names_the_user() {
    if child::role().is_some() {
        let path = child::dir().join("s");
        let before = support::dir::files(&child::dir());
        for builder in [successor(), successor().replaceable(false)] {
            let error = builder.create(&path).expect_err("not ours to rename");
            assert_error(&error, ErrorKind::System, EPERM);
            let words = error.to_string();
            assert!(words.contains(&format!("of uid {}", child::value("OWNER"))), "{words}");
            assert_eq!(support::dir::files(&child::dir()), before);
        }
        return;
    }
    let dir = Dir::new();
    chmod(dir.path(), 0o1777);
    let path = dir.join("s");
    if !is_root() {
        return not_tried("another user's replaceable server: only root can make one");
    }
    let server = replaceable().mode(0o666).owner(12_345).create(&path).expect("create");
    std::os::unix::fs::chown(dir.path(), Some(12_345), None).expect("chown");
    Program::new(&this_test!(), "successor").ordinary().dir(&dir).value("OWNER", "12345").run();
    assert_eq!(server.status(), Status::Ours);
    assert_serves(&server, &path);
    // Root may, and so may the owner.
    let new = successor().create(&path).expect("take over");
    assert_eq!((server.status(), new.status()), (Status::Replaced, Status::Ours));
}

#[test]
fn another_users_leftover_at_the_temporary_name_is_an_error_that_names_the_user() {
    if child::role().is_some() {
        let path = child::dir().join("s");
        let server = replaceable().create(&path).expect("create");
        let before = support::dir::files(&child::dir());
        let error = successor().create(&path).expect_err("not ours to remove");
        assert_eq!(error.kind(), ErrorKind::System, "{error}");
        assert_eq!(error.raw_os_error(), EPERM, "{error}");
        assert!(error.to_string().contains("of uid 0"), "{error}");
        assert_eq!(support::dir::files(&child::dir()), before);
        assert_serves(&server, &path);
        return;
    }
    if !is_root() {
        return not_tried("another user's leftover: only root can make one");
    }
    let dir = Dir::new();
    chmod(dir.path(), 0o1777);
    support::sockets::put_dead(&temporary(&dir.join("s")));
    chmod(&temporary(&dir.join("s")), 0o666);
    Program::new(&this_test!(), "successor").ordinary().dir(&dir).run();
    assert!(exists(&temporary(&dir.join("s"))));
}

#[test]
fn a_server_that_may_not_be_asked_is_not_replaced() {
    if child::role().is_some() {
        let before = support::dir::files(&child::dir());
        let error = successor().create(child::dir().join("s")).expect_err("not to be asked");
        assert_error(&error, ErrorKind::CannotTell, EACCES);
        assert!(error.to_string().contains("of uid 0"), "{error}");
        assert_eq!(support::dir::files(&child::dir()), before);
        return;
    }
    if !is_root() {
        return not_tried("another user's server: only root can make one");
    }
    let dir = Dir::new();
    let server = replaceable().create(dir.join("s")).expect("create");
    Program::new(&this_test!(), "successor").ordinary().dir(&dir).run();
    assert_eq!(server.status(), Status::Ours);
}

#[test]
fn in_a_directory_that_may_not_be_written_nothing_is_replaced() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        for builder in [successor(), heir()] {
            let server = builder.create(&path).expect("create");
            chmod(dir.path(), 0o555);
            let before = dir.files();
            let error = builder.create(&path).expect_err("no lock can be made");
            assert_error(&error, ErrorKind::System, EACCES);
            assert_eq!(dir.files(), before);
            assert_eq!(server.status(), Status::Ours);
            assert_serves(&server, &path);
            chmod(dir.path(), 0o777);
            server.close().expect("close");
            assert_eq!(dir.names(), [""; 0]);
        }
    });
}

#[test]
fn without_proc_nobody_is_replaced() {
    let test = this_test!();
    if child::role().is_some() {
        assert!(!exists(Path::new("/proc/self")));
        let dir = child::dir();
        let before = support::dir::files(&dir);
        // Whoever lives there cannot be asked, and so cannot be known to yield.
        let error = successor().create(dir.join("s")).expect_err("cannot tell");
        assert_error(&error, ErrorKind::CannotTell, ENOENT);
        assert!(error.to_string().contains("mount /proc"), "{error}");
        assert_eq!(support::dir::files(&dir), before);
        let server = successor().create(dir.join("other")).expect("a free path needs no /proc");
        assert_eq!(mode(&dir.join("other")), 0o1600);
        server.close().expect("close");
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let server = replaceable().create(&path).expect("create");
    let covered = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([if is_root() { "-m" } else { "-rm" }, "sh", "-c"]);
        command.args([&format!("mount -t tmpfs none /proc && {script}"), "sh"]);
        command
    };
    if covered("exit 0").output().is_ok_and(|output| output.status.success()) {
        let mut command = covered("exec \"$@\"");
        command.arg(std::env::current_exe().expect("this program"));
        Program::with(command, &test, "without /proc").dir(&dir).run();
    } else {
        not_tried("a process without /proc: unshare and mount do not work here");
    }
    assert_eq!(server.status(), Status::Ours);
    assert_serves(&server, &path);
}

#[test]
fn where_names_cannot_be_exchanged_it_is_a_rename_and_the_path_is_never_absent_either() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        // Whoever looks on is not filtered, and neither is whoever was there before.
        let path = dir.join("s");
        let first = serve(replaceable().create(&path).expect("create"), "0", GRACE);
        assert_eq!(ask(&path), "0");
        let onlookers = Onlookers::of(&path);
        support::filter::without_exchange();
        assert_eq!(
            rustix::fs::renameat_with(
                rustix::fs::CWD,
                &path,
                rustix::fs::CWD,
                &path,
                rustix::fs::RenameFlags::EXCHANGE
            ),
            Err(rustix::io::Errno::INVAL)
        );
        let mut servers = vec![first];
        for number in 1..=10 {
            let next = successor().create(&path).expect("take over");
            assert_eq!((dir.names(), mode(&path)), (vec!["s".to_owned()], 0o1600));
            servers.push(serve(next, &number.to_string(), GRACE));
            assert_eq!(ask(&path), number.to_string());
        }
        onlookers.until_each_has_looked();
        onlookers.stop();
        let last = successor().create(&path).expect("take over");
        assert!(servers.into_iter().all(|server| server.result() > 0));
        last.close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
        // With a life lock, and under a name that is too long to be bound.
        let path = dir.join("n".repeat(255));
        let old = heir().create(&path).expect("create");
        let mut new = heir().create(&path).expect("take over");
        assert_eq!((old.status(), new.status()), (Status::Replaced, Status::Ours));
        drop(old);
        new.wait_for_predecessor(support::PATIENCE).expect("it has ended");
        new.close().expect("close");
        assert_eq!(dir.names(), [""; 0]);
    });
}

#[test]
fn it_works_on_tmpfs_and_through_an_overlay() {
    if child::role().is_some() {
        let path = child::dir().join("s");
        let old = serve(replaceable().create(&path).expect("create"), "old", GRACE);
        assert_eq!(ask(&path), "old");
        let onlookers = Onlookers::of(&path);
        let new = successor().create(&path).expect("take over");
        assert_eq!(mode(&path), 0o1600);
        let new = serve(new, "new", GRACE);
        assert_eq!(ask(&path), "new");
        onlookers.until_each_has_looked();
        onlookers.stop();
        assert!(old.result() > 0);
        let mut heir = heir().create(&path).expect("take over");
        assert!(new.result() > 0);
        heir.wait_for_predecessor(support::PATIENCE).expect("no life lock was held");
        heir.close().expect("close");
        assert_eq!(probe(&path).expect("a path"), PathState::Absent);
        assert_eq!(support::dir::names(&child::dir()), [""; 0]);
        return;
    }
    let dir = Dir::new();
    let tmpfs = "mount -t tmpfs none \"$0\" && chmod 777 \"$0\"";
    let overlay = "mount -t tmpfs none \"$0\" && mkdir -m 777 \"$0/l\" \"$0/u\" \"$0/w\" \"$0/m\" && mount -t overlay \
        none -o lowerdir=\"$0/l\",upperdir=\"$0/u\",workdir=\"$0/w\" \"$0/m\"";
    for (name, script, place) in [("tmpfs", tmpfs, dir.path().to_owned()), ("overlayfs", overlay, dir.join("m"))] {
        let mounted = |rest: &str| {
            let mut command = Command::new("unshare");
            command.args([if is_root() { "-m" } else { "-rm" }, "sh", "-c", &format!("{script} && {rest}")]);
            command.arg(dir.path());
            command
        };
        if mounted("exit 0").output().is_ok_and(|output| output.status.success()) {
            let mut command = mounted("exec \"$@\"");
            command.arg(std::env::current_exe().expect("this program"));
            Program::with(command, &this_test!(), name).dir(&place).run();
        } else {
            not_tried(&format!("{name}: unshare and mount do not work here"));
        }
    }
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn beside_gits_lock_it_waits_and_then_says_so() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = replaceable().create(&path).expect("create");
    put_file(&dir.join("s.lock"), b"", 0o644);
    let before = dir.files();
    let error =
        successor().lock_timeout(std::time::Duration::from_millis(20)).create(&path).expect_err("git is at work");
    assert_error(&error, ErrorKind::Locked, libc::EEXIST);
    assert_eq!(dir.files(), before);
    assert_serves(&server, &path);
    std::fs::remove_file(dir.join("s.lock")).expect("unlink");
    let new = successor().create(&path).expect("take over");
    assert_eq!((server.status(), file(&path).mode & 0o7777), (Status::Replaced, 0o1600));
    assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o1000, 0o1000);
    drop((server, new));
    assert_eq!(dir.names(), [""; 0]);
}
