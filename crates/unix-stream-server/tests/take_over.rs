//! A live server that has allowed it is replaced by one that asks for it, and no other; the path is never absent.

pub mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use libc::EADDRINUSE;
use support::assert_error;
use support::child::{self, Program, whole_process};
use support::dir::{Dir, exists, inode, mode};
use support::sockets::{assert_serves, busy, put_dead, stranger};
use support::succession::{
    GRACE, NEVER_REPLACED, Onlookers, ask, heir, put_foreign, replaceable, serve, successor, temporary,
};
use unix_stream_server::{Builder, ErrorKind, LockScope, PathState, ServerSocket, Status, probe};

/// One for each way in which a socket gets to its name.
fn paths(dir: &Dir) -> [PathBuf; 3] {
    let long = dir.join("d".repeat(100));
    fs::create_dir_all(&long).expect("mkdir");
    [dir.join("s"), long.join("s"), dir.join("n".repeat(255))]
}

fn files(path: &Path) -> std::collections::BTreeMap<PathBuf, support::dir::File> {
    support::dir::files(path.parent().expect("a directory"))
}

#[test]
fn the_path_is_never_absent_and_no_client_is_turned_away_while_servers_replace_each_other() {
    let dir = Dir::new();
    for path in paths(&dir) {
        let first = replaceable().create(&path).expect("create");
        let mut servers = vec![serve(first, "0", GRACE)];
        assert_eq!(ask(&path), "0");
        let onlookers = if path.as_os_str().len() <= 107 { Some(Onlookers::of(&path)) } else { None };
        for number in 1..=20 {
            let next = successor().create(&path).expect("take over");
            assert_eq!(next.status(), Status::Ours);
            servers.push(serve(next, &number.to_string(), GRACE));
            assert_eq!(ask(&path), number.to_string());
        }
        if let Some(onlookers) = onlookers {
            onlookers.stop();
        }
        let last = successor().create(&path).expect("take over");
        for server in servers {
            assert!(server.result() > 0, "none was served");
        }
        assert_serves(&last, &path);
        assert_eq!(last.close().expect("close"), Status::Ours);
        assert_eq!(
            support::dir::names(path.parent().expect("a directory")).len(),
            usize::from(path.parent() == Some(dir.path()))
        );
    }
}

#[test]
fn where_nothing_lives_it_is_a_create_like_any_other() {
    let dir = Dir::new();
    for path in paths(&dir) {
        let before = files(&path);
        for is_dead in [false, true] {
            if is_dead {
                let staging = dir.join("m");
                put_dead(&staging);
                fs::rename(staging, &path).expect("rename");
            }
            let server = successor().create(&path).expect("create");
            assert_eq!(mode(&path), 0o1600);
            assert!(!exists(&temporary(&path)));
            if path == dir.join("s") {
                // Bound in place, where nobody is replaced: `ss`, `lsof` and tmp cleaners know it by its path.
                let name = UnixListener::from(std::os::fd::AsFd::as_fd(&server).try_clone_to_owned().expect("dup"));
                assert_eq!(name.local_addr().expect("a name").as_pathname(), Some(path.as_path()));
            }
            assert_serves(&server, &path);
            server.close().expect("close");
            assert_eq!(files(&path), before);
        }
    }
}

#[test]
fn a_server_that_has_not_allowed_it_is_in_use_and_untouched() {
    let dir = Dir::new();
    for path in paths(&dir) {
        for scope in [LockScope::Startup, LockScope::Lifetime] {
            let server = ServerSocket::builder().lock_scope(scope).create(&path).expect("create");
            let before = files(&path);
            for builder in [successor(), heir(), ServerSocket::builder().take_over(true)] {
                let error = builder.create(&path).expect_err("in use");
                assert_error(&error, ErrorKind::InUse, EADDRINUSE);
                assert_eq!(error.peer().and_then(|peer| peer.pid), Some(std::process::id()));
                assert_eq!(files(&path), before);
            }
            assert_serves(&server, &path);
            assert_eq!(server.close().expect("close"), Status::Ours);
        }
    }
}

#[test]
fn nor_is_a_strangers_server_however_busy() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = stranger(&path);
    assert_error(&successor().create(&path).expect_err("in use"), ErrorKind::InUse, EADDRINUSE);
    assert_serves(&server, &path);
    fs::remove_file(&path).expect("unlink");
    let (_server, _clients) = busy(&path);
    let before = dir.files();
    assert_error(&successor().create(&path).expect_err("in use"), ErrorKind::InUse, EADDRINUSE);
    assert_eq!(dir.files(), before);
}

#[test]
fn one_that_has_allowed_it_is_in_use_to_all_who_do_not_ask() {
    let dir = Dir::new();
    let path = dir.join("s");
    for builder in [replaceable(), replaceable().lock_scope(LockScope::Lifetime)] {
        let server = builder.create(&path).expect("create");
        let before = dir.files();
        let refused: [(&str, Result<(), unix_stream_server::Error>); 5] = [
            ("create", ServerSocket::create(&path).map(drop)),
            ("create, replaceable", replaceable().create(&path).map(drop)),
            ("create, lifetime", ServerSocket::builder().lock_scope(LockScope::Lifetime).create(&path).map(drop)),
            // Whoever takes over publishes first, and a claim prepares first.
            ("claim", successor().claim(&path).map(drop)),
            ("claim, lifetime", heir().claim(&path).map(drop)),
        ];
        for (what, result) in refused {
            let error = result.expect_err(what);
            assert_error(&error, ErrorKind::InUse, EADDRINUSE);
            assert_eq!(error.peer().and_then(|peer| peer.pid), Some(std::process::id()), "{what}");
        }
        assert_error(&successor().remove_dead(&path).expect_err("it lives"), ErrorKind::InUse, EADDRINUSE);
        assert_eq!(dir.files(), before);
        assert_eq!(server.status(), Status::Ours);
        assert_serves(&server, &path);
        server.close().expect("close");
    }
}

#[test]
fn what_is_no_server_of_streams_is_never_replaced() {
    let dir = Dir::new();
    let path = dir.join("foreign");
    let live = replaceable().create(dir.join("s")).expect("create");
    for (what, kind, errno) in NEVER_REPLACED {
        let kept = put_foreign(what, &path);
        let before = dir.files();
        for builder in [successor(), heir()] {
            let error = builder.create(&path).expect_err(what);
            assert_error(&error, kind, errno);
            assert_eq!(dir.files(), before, "{what}");
        }
        drop(kept);
        if path.symlink_metadata().expect("there").is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) }
            .expect("remove");
    }
    assert_serves(&live, &dir.join("s"));
}

/// A server that replaces another has just the rights that it was to have, whatever those of the other one.
#[track_caller]
fn is_replaced_with_mode(path: &Path, builder: &Builder, expected: u32) {
    let old = replaceable().mode(0o666).create(path).expect("create");
    assert_eq!(mode(path), 0o1666);
    let before = inode(path);
    let new = builder.create(path).expect("take over");
    assert_eq!((mode(path), old.status()), (expected, Status::Replaced));
    assert_ne!(inode(path), before);
    drop((old, new));
    assert!(!exists(path));
}

#[test]
fn the_mode_is_the_one_asked_for_and_the_mark_is_beside_it_whatever_the_umask() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        for path in paths(&dir) {
            for umask in [0, 0o022, 0o077, 0o277, 0o777] {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
                for mode in [0o600, 0o666, 0o200, 0o777] {
                    is_replaced_with_mode(&path, &successor().mode(mode), 0o1000 | mode);
                    is_replaced_with_mode(&path, &successor().replaceable(false).mode(mode), mode);
                }
                is_replaced_with_mode(&path, &successor().mode_from_umask(), 0o1000 | 0o777 & !umask);
                is_replaced_with_mode(&path, &successor().replaceable(false).mode_from_umask(), 0o777 & !umask);
                assert_eq!(rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask)).as_raw_mode(), umask);
            }
        }
    });
}

#[test]
fn owner_and_group_are_those_asked_for_and_the_mark_survives_the_change() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (owner, group) = if support::is_root() { (12_345, 54_321) } else { (uid, gid) };
    let old = replaceable().create(&path).expect("create");
    let new = successor().owner(owner).group(group).mode(0o660).create(&path).expect("take over");
    assert_eq!(support::dir::file(&path).owner, (owner, group));
    assert_eq!(mode(&path), 0o1660);
    // Who asks for nothing does not inherit it.
    let third = successor().create(&path).expect("take over");
    assert_eq!(support::dir::file(&path).owner, (uid, gid));
    assert_eq!(mode(&path), 0o1600);
    drop((old, new, third));
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_socket_that_its_owner_may_not_connect_to_is_replaced_all_the_same() {
    child::ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let old = replaceable().mode(0).create(&path).expect("create");
        assert_eq!(mode(&path), 0o1000);
        let new = successor().create(&path).expect("take over");
        assert_eq!((old.status(), new.status(), mode(&path)), (Status::Replaced, Status::Ours, 0o1600));
        drop((old, new));
        assert_eq!(dir.names(), [""; 0]);
    });
}

#[test]
fn of_many_successors_at_once_each_gets_its_turn_and_one_is_left() {
    const MANY: usize = 8;
    if child::role().is_some() {
        let path = child::dir().join("s");
        child::say("ready");
        child::listen();
        let server = successor().create(&path).expect("take over");
        let served = serve(server, "one of many", GRACE).result();
        child::say(&format!("ended {served}"));
        return;
    }
    let dir = Dir::new();
    let path = dir.join("s");
    let first = serve(replaceable().create(&path).expect("create"), "first", GRACE);
    let test = this_test!();
    let mut many: Vec<_> = (0..MANY).map(|_| Program::new(&test, "successor").dir(&dir).start()).collect();
    for successor in &mut many {
        successor.hear("ready");
    }
    assert_eq!(ask(&path), "first");
    let onlookers = Onlookers::of(&path);
    for successor in &mut many {
        successor.tell("go");
    }
    // Whoever had been first has gone, and so have all of them but one; and then that one too.
    let first = first.result();
    support::wait::until("all but one have been replaced", || {
        ask(&path) == "one of many"
            && dir.names() == ["s"]
            && many.iter_mut().map(|one| usize::from(!one.has_said("ended"))).sum::<usize>() <= 1
    });
    let last = successor().create(&path).expect("take over");
    let serving = serve(last, "last", GRACE);
    assert_eq!(ask(&path), "last");
    onlookers.stop();
    assert!(first > 0);
    for mut successor in many {
        if !successor.has_said("ended") {
            successor.hear("ended");
        }
        successor.finish();
    }
    let end = replaceable().take_over(true).create(&path).expect("take over");
    assert!(serving.result() > 0);
    assert_eq!(end.close().expect("close"), Status::Ours);
    assert_eq!(probe(&path).expect("a path"), PathState::Absent);
    assert_eq!(dir.names(), [""; 0]);
}
